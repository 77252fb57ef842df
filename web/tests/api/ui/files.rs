//! Files: uploaded by a form, listed, downloaded, deleted.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tower::ServiceExt as _;

use super::lists::HOSTILE;
use super::{Page, see, see_as, submit};
use crate::remote::{Cookie, Remote};
use crate::support::Server;

const BOUNDARY: &str = "a-line-that-is-in-no-file";

/// A form with a file, as a browser sends it.
fn form(fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.into_bytes());
    }
    if let Some((name, content)) = file {
        let name = name.replace('"', "%22");
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"content\"; filename=\"{name}\"\r\n\
             content-type: text/plain\r\n\r\n"
        );
        body.extend(head.into_bytes());
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    body
}

fn request() -> axum::http::request::Builder {
    let ty = format!("multipart/form-data; boundary={BOUNDARY}");
    Request::builder().method("POST").uri("/ui/files/new").header("content-type", ty).header("host", "localhost")
}

async fn upload(server: &Server, fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> Page {
    let body = form(fields, file);
    let request = request().body(Body::from(body)).unwrap();
    Page::of(server.router.clone().oneshot(request).await.unwrap()).await
}

async fn upload_as(remote: &Remote, session: &Cookie, fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> Page {
    let body = form(fields, file);
    let request = request().header("cookie", &session.cookie).body(Body::from(body)).unwrap();
    Page::of(remote.router.clone().oneshot(request).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_uploaded_shown_and_deleted() {
    let server = Server::local();
    server.create("projects", "shop", json!({})).await;
    let content: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    let path = upload(&server, &[("project_id", "shop")], Some(("report.csv", &content))).await.led().to_owned();
    let page = see(&server, &path).await;
    assert_eq!(page.text("h1"), "report.csv");
    assert!(
        page.text("main dd").contains("300000 bytes") && page.texts("main dd").contains(&"shop".to_owned()),
        "{}",
        page.html
    );
    let download = page.attributes("a[download]", "href").remove(0);
    let got = server.get(&download).await;
    assert_eq!((got.status.as_u16(), &got.body[..]), (200, &content[..]));
    assert_eq!(got.header("content-disposition"), "attachment; filename*=UTF-8''report.csv");

    assert_eq!(upload(&server, &[("name", "report.csv")], Some(("other", b"short"))).await.led(), path);
    let list = see(&server, "/ui/files").await;
    assert_eq!((list.texts("tbody th a"), list.texts("td.number")), (vec!["report.csv".into()], vec!["5 B".into()]));
    assert_eq!(submit(&server, &format!("{path}/delete"), &[]).await.led(), "/ui/files");
    assert_eq!(see(&server, "/ui/files").await.count("tr[data-row]"), 0);
    assert_eq!(see(&server, "/ui/files?trash=1").await.count("tr[data-row]"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_upload_is_told_and_changes_nothing() {
    let server = Server::local();
    for page in [
        upload(&server, &[("name", "kept")], None).await,
        upload(&server, &[("name", "")], Some(("", b"x"))).await,
        submit(&server, "/ui/files/new", &[("name", "kept")]).await,
    ] {
        assert_eq!(page.status, 422);
        assert_eq!(page.text("[role=alert]"), "no file was chosen");
    }
    let page = upload(&server, &[("project_id", "nowhere")], Some(("a", b"x"))).await;
    assert!(page.status == 422 && page.html.contains("nowhere"), "{}", page.html);
    let body = form(&[], Some(("cut", b"half of it")));
    let cut = request().body(Body::from(body[..body.len() - 20].to_vec())).unwrap();
    let page = Page::of(server.router.clone().oneshot(cut).await.unwrap()).await;
    assert!((400..500).contains(&page.status), "{}", page.status);
    let long = "x".repeat(5000);
    assert_eq!(upload(&server, &[("name", &long)], Some(("a", b"x"))).await.status, 413);
    assert_eq!(see(&server, "/ui/files").await.count("tr[data-row]"), 0);
}

/// The token must come before the file: what another site sends is refused before any of it is stored.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_must_come_from_a_page_of_the_session() {
    let remote = Remote::new();
    remote.user("ann", json!({"role": "author"})).await;
    remote.user("vic", json!({"role": "viewer"})).await;
    let session = remote.log_in("ann").await;
    let file = Some(("a", &b"x"[..]));
    for fields in [&[][..], &[("csrf_token", "")], &[("csrf_token", "0000")]] {
        let page = upload_as(&remote, &session, fields, file).await;
        assert_eq!(page.status, 403);
        assert!(page.text("[role=alert]").contains("made for your session"), "{}", page.html);
    }
    assert_eq!(upload_as(&remote, &session, &[], None).await.status, 403);
    assert_eq!(see_as(&remote, &session, "/ui/files").await.count("tr[data-row]"), 0);
    let token = [("csrf_token", session.csrf_token.as_str())];
    upload_as(&remote, &session, &token, file).await.led();
    assert_eq!(see_as(&remote, &session, "/ui/files").await.count("tr[data-row]"), 1);

    let vic = remote.log_in("vic").await;
    assert_eq!(upload_as(&remote, &vic, &[("csrf_token", &vic.csrf_token)], file).await.status, 403);
    let list = see_as(&remote, &vic, "/ui/files").await;
    assert_eq!((list.count("tr[data-row]"), list.count("main .actions a")), (1, 0));
    let page = see_as(&remote, &vic, &list.attributes("tbody th a", "href")[0]).await;
    assert_eq!(page.texts(".actions a"), ["Download"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_files_stay_text() {
    let server = Server::local();
    for text in HOSTILE {
        let path = upload(&server, &[("name", text)], Some(("x", b"x"))).await.led().to_owned();
        see(&server, &path).await.is_clean();
        see(&server, &format!("{path}/delete")).await.is_clean();
    }
    see(&server, "/ui/files").await.is_clean();
}
