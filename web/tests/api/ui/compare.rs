//! Two runs side by side, what changed since the last good one, and the tree of a run.

use serde_json::{Value, json};

use super::see;
use crate::support::Server;

/// A run of the probe, by that name, that has ended.
async fn ended(server: &Server, inputs: Value) -> String {
    let id = server.start_probe(inputs).await;
    server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_shows_what_changed_since_the_last_good_one() {
    let server = Server::local();
    let good = ended(&server, json!({"text": "a"})).await;
    server.create("settings", "limits", json!({"value": 1})).await;
    let bad = ended(&server, json!({"text": "a", "fail": "no such luck"})).await;
    let page = see(&server, &format!("/ui/executions/{bad}")).await;
    let since = "[aria-labelledby=h-since]";
    assert!(
        page.attributes(&format!("{since} a"), "href").contains(&format!("/ui/executions/{good}")),
        "{}",
        page.html
    );
    let paths = page.texts(&format!("{since} th.mono"));
    assert_eq!(paths, [".inputs.fail"], "{}", page.html);
    assert!(page.text(&format!("{since} .changed")).contains("setting limits"), "{}", page.html);
    assert!(page.texts(&format!("{since} .tag")).contains(&"regressed".to_owned()), "{}", page.html);
    // The good one has nothing to explain.
    assert_eq!(see(&server, &format!("/ui/executions/{good}")).await.count(since), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_are_compared() {
    let server = Server::local();
    let alone = ended(&server, json!({"fail": "first"})).await;
    let page = see(&server, &format!("/ui/compare?b={alone}")).await;
    assert_eq!((page.status, page.text(".empty h2").as_str()), (200, "There is no earlier run that succeeded"));
    let other = ended(&server, json!({"text": "<script>alert(1)</script>"})).await;
    let page = see(&server, &format!("/ui/compare?a={alone}&b={other}")).await;
    assert_eq!((page.status, page.count("script")), (200, 1));
    assert!(page.texts("tr.differs th").iter().any(|text| text.starts_with("Status")), "{}", page.html);
    assert!(page.attributes("option[selected]", "value").contains(&alone), "{}", page.html);
    let same = ended(&server, json!({"text": "<script>alert(1)</script>"})).await;
    let page = see(&server, &format!("/ui/compare?b={same}")).await;
    assert!(page.text("main").contains("Same version, same input"), "{}", page.html);
    // What is equal does not stand under what is different.
    let rows = |part: &str| page.texts(&format!("[aria-labelledby={part}] tbody th"));
    assert_eq!(rows("h-different"), [""; 0], "{}", page.html);
    assert!(rows("h-same").contains(&"Status".to_owned()) && page.count("tr.differs") == 0, "{}", page.html);
    let missing = see(&server, &format!("/ui/compare?a=nothing&b={same}")).await;
    assert_eq!((missing.status, missing.text("h1").as_str()), (404, "This is not here"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_the_tree_of_its_run_above_it() {
    let server = Server::local();
    let id = ended(&server, json!({})).await;
    let path = format!("/ui/executions/{id}");
    let call = see(&server, &path).await.attributes(".timeline tbody a", "href").remove(0);
    for of in [&path, &call] {
        let page = see(&server, &format!("{of}/tree")).await;
        assert_eq!(page.attributes("tbody th a", "href"), [path.as_str()], "{}", page.html);
    }
}
