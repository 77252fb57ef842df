//! The system page: what the server is, how it does, and what is found when it is looked at.

use std::time::Duration;

use serde_json::json;
use surefoot_web::{Access, Metrics, Options};

use super::{Page, see, see_as};
use crate::remote::Remote;
use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_how_it_does() {
    let server = Server::local();
    server.create("settings", "s", json!({"value": 1})).await;
    let page = see(&server, "/ui/system").await;
    assert_eq!(page.text(".standing .status"), "Takes work");
    assert!(page.texts("main dd").contains(&env!("CARGO_PKG_VERSION").to_owned()), "{}", page.html);
    assert_eq!((page.count("figure.plot"), page.count("figure.plot svg[aria-label]")), (6, 6));
    assert_eq!(page.count("figure.plot details table"), 6, "a table behind each");
    assert!(page.text("#h-stored").contains("What is stored") && !page.text("main").contains("Contents of files"));
    let counted = see(&server, "/ui/system?counted=1").await;
    assert!(counted.text("main").contains("Contents of files"), "{}", counted.html);
}

/// As a server that remembers: how it stood before, and now.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_is_a_column_of_each_plot() {
    let server = Server::local();
    let metrics = Metrics::default();
    let router = server.with(Options { metrics: metrics.clone(), ..Options::new(Access::Local) });
    let page = async || {
        let request = axum::http::Request::builder().uri("/ui/system").body(axum::body::Body::empty()).unwrap();
        Page::of(tower::ServiceExt::oneshot(router.clone(), request).await.unwrap()).await
    };
    assert_eq!(page().await.count("figure.plot:first-child g.column"), 1, "only now");
    let engine = server.engine().clone();
    let mut remembers = tokio::task::JoinSet::new();
    remembers.spawn(async move { metrics.remember(&engine).await });
    let until = tokio::time::timeout(Duration::from_secs(60), async {
        while page().await.count("figure.plot:first-child g.column") < 2 {
            tokio::task::yield_now().await;
        }
    });
    until.await.expect("it remembers");
    let page = page().await;
    assert_eq!(page.count("figure.plot:nth-child(3) g.column"), 1, "what came between two samples");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_examination_says_what_was_found() {
    let server = Server::local();
    let page = see(&server, "/ui/system/doctor").await;
    assert_eq!(page.status, 200);
    let expected = server.get("/api/v1/system/doctor").await.json(200)["findings"].as_array().unwrap().len();
    assert_eq!(page.count("tr[data-row]"), expected, "{}", page.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_for_those_of_the_whole_workspace() {
    let remote = Remote::new();
    let shop = remote.server.create("projects", "shop", json!({})).await;
    remote.user("s", json!({"project_roles": {shop["id"].as_str().unwrap(): "admin"}})).await;
    remote.user("v", json!({"role": "viewer"})).await;
    let (s, v) = (remote.log_in("s").await, remote.log_in("v").await);
    assert_eq!(see_as(&remote, &s, "/ui/system").await.status, 403);
    assert_eq!(see_as(&remote, &s, "/ui").await.count("nav a[href='/ui/system']"), 0);
    let page = see_as(&remote, &v, "/ui/system").await;
    assert_eq!((page.status, page.count(".actions a")), (200, 0));
    assert_eq!(see_as(&remote, &v, "/ui/system/doctor").await.status, 403);
}
