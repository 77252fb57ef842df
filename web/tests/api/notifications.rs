//! Rules of notifications: what is refused, and how one is tried.

use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_tried_whether_or_not_it_is_enabled() {
    let server = Server::local();
    server.create("connectors", "c", json!({"type": "probe"})).await;
    let rule = server.create("notifications", "n", json!({"on": ["failure"], "connector_id": "c"})).await;
    let connector = server.get("/api/v1/connectors/c").await.json(200);
    assert_eq!((&rule["connector_id"], &rule["is_enabled"]), (&connector["id"], &Value::Null), "named by its id");
    let tested = server.post("/api/v1/notifications/n/test", json!({})).await.json(200);
    assert_eq!(
        (&tested["ok"], &tested["output"]["text"]),
        (&json!(true), &json!("Surefoot: test of the notification n"))
    );
    server.patch("/api/v1/connectors/c", json!({"config": {"fail": "not today"}})).await.json(200);
    let tested = server.post("/api/v1/notifications/n/test", json!({})).await.json(200);
    assert_eq!(tested["ok"], false);
    assert_eq!(tested["error"], json!({"code": "refused", "message": "not today"}));
    let id = tested["execution_id"].as_str().unwrap();
    let row = server.get(&format!("/api/v1/executions/{id}")).await.json(200);
    assert_eq!((&row["flow_id"], &row["created_by"]), (&json!("native:notify"), &json!("local")));
    server.post("/api/v1/notifications/m/test", json!({})).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_could_tell_nothing_is_refused() {
    let server = Server::local();
    server.create("connectors", "c", json!({"type": "probe"})).await;
    for (fields, says) in [
        (json!({"connector_id": "c"}), "`on` of a notification is a list of failure, recovery, approval"),
        (json!({"on": "failure", "connector_id": "c"}), "`on` of a notification"),
        (json!({"on": ["failure"]}), "needs a `connector_id`"),
        (json!({"on": ["failure"], "connector_id": "c", "to": []}), "`to` of a notification"),
        (json!({"on": ["failure"], "connector_id": "c", "to": 7}), "`to` of a notification"),
        (json!({"on": ["failure"], "connector_id": "c", "repeat_after_ms": 0}), "`repeat_after_ms`"),
    ] {
        let mut fields = fields;
        fields["name"] = "n".into();
        let said = server.post("/api/v1/notifications", fields.clone()).await.problem(422, "invalid");
        assert!(said.contains(says), "{fields}: {said}");
    }
    let fields = json!({"name": "n", "on": ["failure"], "connector_id": "d"});
    server.post("/api/v1/notifications", fields).await.problem(422, "invalid");
}
