//! Rules of notifications: made, tried, enabled, changed, deleted.

use serde_json::json;

use super::lists::HOSTILE;
use super::{see, see_as, submit};
use crate::remote::Remote;
use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_made_tried_enabled_and_changed() {
    let server = Server::local();
    server.create("connectors", "mail", json!({"type": "probe"})).await;
    let new = see(&server, "/ui/notifications/new").await;
    assert_eq!(new.count("input[type=checkbox][checked]"), 3);
    let form = [
        ("name", "ops"),
        ("failure", "true"),
        ("connector_id", "mail"),
        ("to", "a@example.com\r\n b@example.com \r\n"),
        ("repeat_minutes", "90"),
    ];
    let path = submit(&server, "/ui/notifications/new", &form).await.led().to_owned();
    let row = server.get("/api/v1/notifications/ops").await.json(200);
    assert_eq!((&row["on"], &row["to"]), (&json!(["failure"]), &json!(["a@example.com", "b@example.com"])));
    assert_eq!((&row["repeat_after_ms"], &row["is_link_sent"]), (&json!(5_400_000), &json!(false)));
    let page = see(&server, &path).await;
    assert_eq!(page.text(".standing .status"), "Disabled");
    assert!(page.texts("main dd").contains(&"a@example.com, b@example.com".to_owned()), "{}", page.html);
    assert!(page.texts("main dd").iter().any(|text| text.contains("1 h 30 min")), "{}", page.html);

    let tried = submit(&server, &format!("{path}/test"), &[]).await;
    assert!(tried.led().starts_with("/ui/executions/"), "{}", tried.location);
    assert_eq!(submit(&server, &format!("{path}/enable"), &[]).await.led(), path);
    assert_eq!(see(&server, &path).await.text(".standing .status"), "Enabled");

    let edit = see(&server, &format!("{path}/edit")).await;
    assert_eq!(edit.attributes("input[type=checkbox][checked]", "name"), ["failure"]);
    assert_eq!(edit.attributes("input[name=repeat_minutes]", "value"), ["90"]);
    assert_eq!(edit.text("textarea"), "a@example.com b@example.com");
    let revision = edit.attributes("input[name=revision]", "value").remove(0);
    let form = [("revision", revision.as_str()), ("name", "ops"), ("recovery", "true"), ("connector_id", "mail")];
    submit(&server, &format!("{path}/edit"), &form).await.led();
    let row = server.get("/api/v1/notifications/ops").await.json(200);
    assert_eq!((&row["on"], &row["to"], &row["is_enabled"]), (&json!(["recovery"]), &json!(null), &json!(true)));
    assert_eq!(submit(&server, &format!("{path}/delete"), &[]).await.led(), "/ui/notifications");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_tell_nothing_is_refused_beside_its_field() {
    let server = Server::local();
    server.create("connectors", "mail", json!({"type": "probe"})).await;
    let page = submit(&server, "/ui/notifications/new", &[("name", "ops"), ("connector_id", "mail")]).await;
    assert!(page.status == 422 && page.text("#failure-w").contains("at least one"), "{}", page.html);
    let page = submit(&server, "/ui/notifications/new", &[("name", "ops"), ("failure", "true")]).await;
    assert!(page.status == 422 && page.text("#connector_id-w").contains("missing"), "{}", page.html);
    let form = [("name", "ops"), ("failure", "true"), ("connector_id", "nothing")];
    let page = submit(&server, "/ui/notifications/new", &form).await;
    assert!(page.status == 422 && page.html.contains("nothing"), "{}", page.html);
    assert_eq!(page.attributes("input[name=name]", "value"), ["ops"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what() {
    let remote = Remote::new();
    remote.server.create("connectors", "mail", json!({"type": "probe"})).await;
    remote.server.create("notifications", "ops", json!({"on": ["failure"], "connector_id": "mail"})).await;
    for (role, actions) in [("viewer", 0), ("operator", 1), ("author", 4)] {
        remote.user(role, json!({"role": role})).await;
        let session = remote.log_in(role).await;
        let page = see_as(&remote, &session, "/ui/notifications/ops").await;
        assert_eq!(page.count(".actions button, .actions a"), actions, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_stay_text() {
    let server = Server::local();
    for text in HOSTILE {
        server.create("connectors", text, json!({"type": "probe"})).await;
        let fields = json!({"on": ["failure"], "connector_id": text, "to": [text], "description": text});
        let rule = server.create("notifications", text, fields).await;
        let path = format!("/ui/notifications/{}", rule["id"].as_str().unwrap());
        for below in ["", "/edit", "/delete"] {
            see(&server, &format!("{path}{below}")).await.is_clean();
        }
    }
    see(&server, "/ui/notifications").await.is_clean();
}
