//! What names another record: it names one that is there, and that one stays while what names it is at work.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::Server;

/// A workspace in which everything is used by something.
async fn server() -> Server {
    let server = Server::local();
    server.create("projects", "p", json!({})).await;
    server.create("flows", "f", json!({})).await;
    server.create("flows", "s", json!({})).await;
    server.create("settings", "often", json!({"value": {"cron": "0 3 * * *"}})).await;
    server.create("secrets", "hush", json!({"value": "hunter2"})).await;
    server.create("connectors", "c", json!({"type": "probe", "config": {"password": "secret(hush)"}})).await;
    server.create("schedulers", "own", json!({"flow_id": "s", "project_id": "p"})).await;
    let with_own = json!({"scheduler_id": "own", "flow_id": "s"});
    server.create("schedules", "of-own", with_own).await;
    let fields = json!({"scheduler_id": "cron", "flow_id": "f", "setting_id": "often", "is_enabled": true});
    server.create("schedules", "nightly", fields).await;
    server.create("webhooks", "hook", json!({"flow_id": "f", "is_enabled": true})).await;
    server.create("notifications", "rule", json!({"on": ["failure"], "connector_id": "c", "is_enabled": true})).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn what_something_at_work_names_stays() {
    let server = server().await;
    let used = [
        ("flows/f", "schedule `nightly`, webhook `hook`"),
        ("flows/s", "scheduler `own`"),
        ("settings/often", "schedule `nightly`"),
        ("connectors/c", "notification `rule`"),
        ("secrets/hush", "connector `c`"),
        ("projects/p", "scheduler `own`"),
    ];
    for (path, users) in used {
        for query in ["", "?permanently=true"] {
            let text =
                server.send(Method::DELETE, &format!("/api/v1/{path}{query}"), "").await.problem(409, "conflict");
            assert!(text.contains(&format!("is used by {users}: ")), "{path}: {text}");
        }
        server.get(&format!("/api/v1/{path}")).await.json(200);
    }
    // They are called by these names. Under an id nothing happens to them.
    for path in ["flows/f", "flows/s", "settings/often", "secrets/hush"] {
        let text = server.patch(&format!("/api/v1/{path}"), json!({"name": "other"})).await.problem(409, "conflict");
        assert!(text.contains("by this name"), "{path}: {text}");
    }
    server.patch("/api/v1/projects/p", json!({"name": "other"})).await.json(200);
    server.patch("/api/v1/connectors/c", json!({"name": "other"})).await.json(200);

    // What is disabled is not at work.
    for path in ["schedules/nightly", "webhooks/hook", "notifications/rule"] {
        server.post(&format!("/api/v1/{path}/disable"), Value::Null).await.json(200);
    }
    for path in
        ["schedulers/own", "flows/f", "flows/s", "settings/often", "connectors/other", "secrets/hush", "projects/other"]
    {
        server.send(Method::DELETE, &format!("/api/v1/{path}"), "").await.json(200);
    }
    for path in ["schedules/nightly", "webhooks/hook", "notifications/rule"] {
        let text = server.post(&format!("/api/v1/{path}/enable"), Value::Null).await.problem(422, "invalid");
        assert!(text.contains("_id` of the "), "{path}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_cannot_be_named() {
    let server = server().await;
    for (path, field, word) in [
        ("schedulers", "flow_id", "flow"),
        ("schedules", "flow_id", "flow"),
        ("schedules", "scheduler_id", "scheduler"),
        ("schedules", "setting_id", "setting"),
        ("webhooks", "flow_id", "flow"),
        ("notifications", "connector_id", "connector"),
    ] {
        let mut fields =
            json!({"name": "new", "flow_id": "f", "scheduler_id": "cron", "connector_id": "c", "on": ["failure"]});
        let known = surefoot_engine::query::Kind::parse(path.trim_end_matches('s')).unwrap();
        fields.as_object_mut().unwrap().retain(|name, _| known.field(name).is_ok());
        fields[field] = "nowhere".into();
        let text = server.post(&format!("/api/v1/{path}"), fields).await.problem(422, "invalid");
        assert!(text.contains(field) && text.contains(&format!("there is no {word} `nowhere`")), "{path}: {text}");
    }
    // Built-in flows are there.
    server.create("schedulers", "native", json!({"flow_id": "native:cron"})).await;
    server.post("/api/v1/schedulers", json!({"name": "none", "flow_id": "native:none"})).await.problem(422, "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_scheduler_stays_as_it_is() {
    let server = Server::local();
    for query in ["", "?permanently=true"] {
        server.send(Method::DELETE, &format!("/api/v1/schedulers/cron{query}"), "").await.problem(409, "conflict");
    }
    server.create("projects", "p", json!({})).await;
    server.create("flows", "f", json!({})).await;
    for change in [json!({"name": "other"}), json!({"flow_id": "f"}), json!({"project_id": "p"})] {
        server.patch("/api/v1/schedulers/cron", change).await.problem(409, "conflict");
    }
    server.patch("/api/v1/schedulers/cron", json!({"description": "Ours."})).await.json(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_what_is_built_in_cannot_be_taken() {
    let server = Server::local();
    for name in ["native:cron", "native:mine"] {
        server.post("/api/v1/flows", json!({ "name": name })).await.problem(422, "invalid");
        server.post("/api/v1/flows", json!({"name": "f", "id": name})).await.problem(422, "invalid");
    }
    server.post("/api/v1/connectors", json!({"name": "type:probe", "type": "probe"})).await.problem(422, "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_of_the_trash_has_what_it_names() {
    let server = server().await;
    let id = server.get("/api/v1/schedulers/own").await.json(200)["id"].as_str().unwrap().to_owned();
    let project = server.get("/api/v1/projects/p").await.json(200)["id"].as_str().unwrap().to_owned();
    for path in ["schedulers/own", "projects/p"] {
        server.send(Method::DELETE, &format!("/api/v1/{path}"), "").await.json(200);
    }
    let restore = format!("/api/v1/schedulers/{id}/restore");
    assert!(server.post(&restore, Value::Null).await.problem(409, "conflict").contains(&project));
    server.post(&format!("/api/v1/projects/{project}/restore"), Value::Null).await.json(200);
    server.post(&restore, Value::Null).await.json(200);

    let hook = server.get("/api/v1/webhooks/hook").await.json(200)["id"].as_str().unwrap().to_owned();
    server.post("/api/v1/schedules/nightly/disable", Value::Null).await.json(200);
    for path in ["webhooks/hook", "flows/f"] {
        server.send(Method::DELETE, &format!("/api/v1/{path}"), "").await.json(200);
    }
    let text = server.post(&format!("/api/v1/webhooks/{hook}/restore"), Value::Null).await.problem(422, "invalid");
    assert!(text.contains("there is no flow `f`"), "{text}");
}
