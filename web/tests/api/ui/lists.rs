//! Lists: the overview and the executions, with nothing, something, too much and hostile things in them.

use serde_json::json;

use super::see;
use crate::support::Server;

/// Names, texts and outputs that a browser must not take for anything but text.
pub(crate) const HOSTILE: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{7*7}}</title></textarea></pre><svg onload=alert(1)>",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_workspace_teaches_the_first_step() {
    let server = Server::local();
    for path in ["/ui", "/ui/executions"] {
        let page = see(&server, path).await;
        assert_eq!(page.text(".empty h2"), "Nothing has run here yet", "{path}");
        assert!(page.text(".empty .command").contains("surefoot run"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_with_their_status_and_reason() {
    let server = Server::local();
    let good = server.start_probe(json!({"text": "a"})).await;
    let bad = server.start_probe(json!({"fail": "no such luck"})).await;
    for id in [&good, &bad] {
        server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
    }
    let page = see(&server, "/ui/executions").await;
    assert_eq!(page.texts("tbody .status"), ["Failed", "Succeeded"]);
    assert!(page.text("tbody .reason").contains("no such luck"), "{}", page.html);
    let failed = see(&server, "/ui/executions?filter=status%3DENDED_ERROR").await;
    assert_eq!(failed.attributes("tbody th a", "href"), [format!("/ui/executions/{bad}")]);
    let overview = see(&server, "/ui").await;
    assert_eq!(overview.count("figure.plot"), 2);
    assert!(overview.texts("section h2").contains(&"Failed last".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_filter_is_told_beside_it() {
    let server = Server::local();
    let page = see(&server, "/ui/executions?filter=statsu%3DRUNNING").await;
    assert_eq!(page.status, 200);
    assert!(page.text("#filter-wrong").contains("did you mean `status`?"), "{}", page.html);
    assert_eq!(page.attributes("#filter", "value"), ["statsu=RUNNING"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_filters_stay_text() {
    let server = Server::local();
    for text in HOSTILE {
        let body = json!({"input": {"connector": "type:probe", "inputs": {"fail": text}}, "name": text});
        let started = server.post("/api/v1/flows/native:connect/run", body).await.json(201);
        let id = started["id"].as_str().unwrap();
        server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
        let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        for path in ["/ui".to_owned(), "/ui/executions".to_owned(), format!("/ui/executions?filter={encoded}")] {
            let page = see(&server, &path).await;
            assert_eq!(page.count("script"), 1, "{path}");
            assert_eq!(page.count("img, [onerror], [onmouseover], [onload], a[href^='javascript:']"), 0, "{path}");
        }
    }
    let page = see(&server, "/ui/executions").await;
    assert!(page.texts("tbody th a").iter().any(|name| name.starts_with("<script>")), "{}", page.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_have_pages() {
    let server = Server::local();
    for _ in 0..51 {
        server.start_probe(json!({})).await;
    }
    let first = see(&server, "/ui/executions").await;
    assert_eq!(first.count("tr[data-row]"), 50);
    let next = first.attributes(".pager a[rel=next]", "href");
    let second = see(&server, &format!("/ui/executions{}", next[0])).await;
    assert_eq!((second.count("tr[data-row]"), second.count(".pager a[rel=next]")), (1, 0));
    assert_eq!(second.attributes(".pager a[rel=first]", "href"), ["?"]);
}
