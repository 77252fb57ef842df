//! Settings, projects and secrets: empty, made, changed, deleted, restored, and for whom.

use serde_json::json;

use super::lists::HOSTILE;
use super::{see, see_as, submit, submit_as};
use crate::remote::Remote;
use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn empty_pages_teach_the_next_step() {
    let server = Server::local();
    for (path, command) in [
        ("/ui/settings", "surefoot setting set"),
        ("/ui/projects", "surefoot project set"),
        ("/ui/secrets", "surefoot secret set"),
        ("/ui/files", "surefoot file put"),
        ("/ui/notifications", "surefoot notification set"),
        ("/ui/users", "surefoot user create"),
        ("/ui/tokens", "surefoot token create"),
        ("/ui/audit", "surefoot audit list"),
    ] {
        let page = see(&server, path).await;
        assert!(page.text(".empty .command").contains(command), "{path}: {}", page.html);
        assert_eq!(page.attributes("nav a[aria-current=page]", "href"), [path]);
        let filtered = see(&server, &format!("{path}?filter=name%3Dx")).await;
        assert!(path == "/ui/audit" || filtered.text(".empty h2") == "Nothing matches", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_is_made_changed_deleted_and_restored() {
    let server = Server::local();
    server.create("projects", "shop", json!({})).await;
    let form = [("name", "limits"), ("value", "{\"max\": 3}"), ("project_id", "shop"), ("description", "of all")];
    let made = submit(&server, "/ui/settings/new", &form).await;
    let path = made.led().to_owned();
    let page = see(&server, &made.location).await;
    assert_eq!((page.text("h1").as_str(), page.text(".done").as_str()), ("limits", "It was made."));
    assert!(page.text("pre.document").contains("\"max\": 3") && page.texts("main dd").contains(&"shop".to_owned()));

    let edit = see(&server, &format!("{path}/edit")).await;
    assert!(edit.text("textarea").contains("\"max\": 3"), "{}", edit.html);
    assert_eq!(edit.attributes("input[name=project_id]", "value"), ["shop"]);
    let revision = edit.attributes("input[name=revision]", "value").remove(0);
    let form = [("revision", revision.as_str()), ("name", "limits"), ("value", "4")];
    submit(&server, &format!("{path}/edit"), &form).await.led();
    let row = server.get("/api/v1/settings/limits").await.json(200);
    assert_eq!((&row["value"], &row["project_id"], &row["description"]), (&json!(4), &json!(null), &json!(null)));
    let late = submit(&server, &format!("{path}/edit"), &form).await;
    assert_eq!(late.status, 422);
    assert_eq!(late.attributes("input[name=name]", "value"), ["limits"], "what was entered stays: {}", late.html);

    let question = see(&server, &format!("{path}/delete")).await;
    assert!(question.text(".card").contains("limits"), "{}", question.html);
    assert_eq!(submit(&server, &format!("{path}/delete"), &[]).await.led(), "/ui/settings");
    let trash = see(&server, "/ui/settings?trash=1").await;
    let restore = trash.attributes("main form[action$='/restore']", "action");
    assert_eq!(restore, [format!("{path}/restore")]);
    assert_eq!(submit(&server, &restore[0], &[]).await.led(), path);
    assert_eq!(see(&server, "/ui/settings").await.texts("tbody th a"), ["limits"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_setting_stands_beside_it_and_nothing_is_lost() {
    let server = Server::local();
    let page = submit(&server, "/ui/settings/new", &[("name", ""), ("value", "{"), ("description", "mine")]).await;
    assert_eq!((page.status, page.count("[aria-invalid=true]")), (422, 2));
    assert!(page.text("#value-w").contains("no JSON"), "{}", page.html);
    assert_eq!(page.attributes("input[name=description]", "value"), ["mine"]);
    assert_eq!(page.text("textarea").trim(), "{");
    server.create("settings", "there", json!({"value": 1})).await;
    let page = submit(&server, "/ui/settings/new", &[("name", "there"), ("value", "2")]).await;
    assert_eq!(page.status, 422);
    assert!(page.text("[role=alert], .wrong").contains("there"), "{}", page.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_what_they_may_not_do() {
    let remote = Remote::new();
    let shop = remote.server.create("projects", "shop", json!({})).await;
    remote.server.create("settings", "of-all", json!({"value": 1})).await;
    remote.server.create("settings", "of-shop", json!({"value": 1, "project_id": "shop"})).await;
    for (name, role, in_shop) in [("v", "viewer", "viewer"), ("s", "viewer", "author"), ("a", "author", "author")] {
        let roles = json!({shop["id"].as_str().unwrap(): in_shop});
        remote.user(name, json!({"role": role, "project_roles": roles})).await;
        let session = remote.log_in(name).await;
        for (setting, shown) in [("of-all", role == "author"), ("of-shop", in_shop == "author")] {
            let page = see_as(&remote, &session, &format!("/ui/settings/{setting}")).await;
            assert_eq!(page.count(".actions a") == 2, shown, "{name} {setting}");
        }
        let list = see_as(&remote, &session, "/ui/settings").await;
        assert_eq!(
            (list.count("tr[data-row]"), list.count("main .actions a")),
            (2, usize::from(name != "v")),
            "{name}"
        );
        let may_make = see_as(&remote, &session, "/ui/projects").await.count("main .actions a");
        assert_eq!(may_make, usize::from(name == "a"), "{name}");
    }
    let session = remote.log_in("s").await;
    let of_all = [("name", "of-all"), ("value", "2")];
    assert_eq!(submit_as(&remote, &session, "/ui/settings/of-all/edit", &of_all).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_taken_from_nobody_who_has_none() {
    let server = Server::local();
    server.create("settings", "free", json!({"value": 1})).await;
    assert!(see(&server, "/ui/settings/free/unlock").await.text("main").contains("Nobody holds it"));
    let refused = submit(&server, "/ui/settings/free/unlock", &[]).await;
    assert_eq!((refused.status, refused.text("h1").as_str()), (409, "Somebody was faster"));
    assert_eq!(see(&server, "/ui/settings?filter=locked_by%21%3Dnull").await.count("tr[data-row]"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_says_what_is_in_it() {
    let server = Server::local();
    let path =
        submit(&server, "/ui/projects/new", &[("name", "shop"), ("description", "the shop")]).await.led().to_owned();
    server.create("settings", "a", json!({"value": 1, "project_id": "shop"})).await;
    let page = see(&server, &path).await;
    assert!(page.texts(".numbers a").contains(&"1 Settings".to_owned()), "{}", page.html);
    let link = page.attributes(".numbers a[href^='/ui/settings']", "href").remove(0);
    assert_eq!(see(&server, &link).await.texts("tbody th a"), ["a"]);
    submit(&server, &format!("{path}/edit"), &[("name", "store"), ("revision", "1")]).await.led();
    assert_eq!(see(&server, &path).await.text("h1"), "store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_in_and_never_comes_out() {
    let remote = Remote::new();
    remote.user("root", json!({"role": "admin"})).await;
    remote.user("ann", json!({"role": "author"})).await;
    let (root, ann) = (remote.log_in("root").await, remote.log_in("ann").await);
    let form = [("name", "erp"), ("value", "s3cret-one\r\n"), ("description", "of the ERP")];
    let path = submit_as(&remote, &root, "/ui/secrets/new", &form).await.led().to_owned();
    submit_as(&remote, &root, &format!("{path}/rotate"), &[("value", "s3cret-two")]).await.led();
    let wrong = submit_as(&remote, &root, "/ui/secrets/new", &[("name", "no name"), ("value", "s3cret-three")]).await;
    assert_eq!(wrong.status, 422);
    assert!(!wrong.html.contains("s3cret-three"), "{}", wrong.html);
    for below in ["/ui/secrets".to_owned(), path.clone(), format!("{path}/rotate"), "/ui/audit".to_owned()] {
        let page = see_as(&remote, &root, &below).await;
        assert!(page.status == 200 && !page.html.contains("s3cret"), "{below}: {}", page.html);
    }
    let page = see_as(&remote, &root, &path).await;
    assert!(page.text("main").contains("value number 2"), "{}", page.html);
    assert_eq!(see_as(&remote, &ann, "/ui/secrets").await.status, 403);
    assert_eq!(see_as(&remote, &ann, "/ui").await.count("nav a[href='/ui/secrets']"), 0);
    assert_eq!(submit_as(&remote, &root, &format!("{path}/delete"), &[]).await.led(), "/ui/secrets");
    assert_eq!(see_as(&remote, &root, "/ui/secrets").await.count("tr[data-row]"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_values_and_descriptions_stay_text() {
    let server = Server::local();
    for (index, text) in HOSTILE.iter().enumerate() {
        let fields = json!({"value": {"text": text}, "description": text});
        server.create("settings", text, fields).await;
        server.create("projects", text, json!({"description": text})).await;
        server.create("secrets", &format!("s{index}"), json!({"value": "x", "description": text})).await;
    }
    for path in ["/ui/settings", "/ui/projects", "/ui/secrets", "/ui/audit", "/ui/settings/new", "/ui/users/new"] {
        see(&server, path).await.is_clean();
    }
    for kind in ["settings", "projects", "secrets"] {
        for path in see(&server, &format!("/ui/{kind}")).await.attributes("tbody th a", "href") {
            for below in ["", "/edit", "/delete", "/unlock", "/rotate"] {
                let page = see(&server, &format!("{path}{below}")).await;
                if page.status == 200 {
                    page.is_clean();
                }
            }
            submit(&server, &format!("{path}/delete"), &[]).await.led();
        }
        see(&server, &format!("/ui/{kind}?trash=1")).await.is_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_have_pages() {
    let server = Server::local();
    for number in 0..51 {
        server.create("settings", &format!("s{number}"), json!({"value": number})).await;
    }
    let first = see(&server, "/ui/settings").await;
    assert_eq!(first.count("tr[data-row]"), 50);
    let next = first.attributes(".pager a[rel=next]", "href").remove(0);
    assert_eq!(see(&server, &format!("/ui/settings{next}")).await.count("tr[data-row]"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_a_page() {
    let server = Server::local();
    for path in [
        "/ui/settings/x",
        "/ui/settings/x/edit",
        "/ui/projects/x",
        "/ui/secrets/x",
        "/ui/files/x",
        "/ui/users/x",
        "/ui/notifications/x",
        "/ui/approvals/x",
        "/ui/tokens/x/delete",
        "/ui/users/x/reset",
    ] {
        let page = see(&server, path).await;
        assert_eq!((page.status, page.text("h1").as_str()), (404, "This is not here"), "{path}");
    }
}
