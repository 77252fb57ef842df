//! Records of every kind.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::Server;

const WRITABLE: [(&str, &str); 7] = [
    ("flows", "{}"),
    ("connectors", r#"{"type": "probe"}"#),
    ("schedules", r#"{"scheduler_id": "cron", "flow_id": "x"}"#),
    ("schedulers", r#"{"flow_id": "x"}"#),
    ("settings", r#"{"value": {"a": 1}}"#),
    ("webhooks", r#"{"flow_id": "x"}"#),
    ("projects", "{}"),
];

#[tokio::test(flavor = "multi_thread")]
async fn records_of_every_kind_live_and_die() {
    let server = Server::local();
    server.create("flows", "x", json!({})).await;
    for (kinds, fields_text) in WRITABLE {
        let path = format!("/api/v1/{kinds}/my-record");
        server.get(&path).await.problem(404, "not_found");

        server.send(Method::PATCH, &path, fields_text).await.problem(404, "not_found");

        let fields: Value = serde_json::from_str(fields_text).unwrap();
        let created = server.create(kinds, "my-record", fields.clone()).await;
        let mut again = fields;
        again["name"] = "my-record".into();
        server.post(&format!("/api/v1/{kinds}"), again).await.problem(409, "conflict");
        assert_eq!((&created["name"], &created["created_by"]), (&json!("my-record"), &json!("local")), "{kinds}");
        let described = if kinds == "schedules" { json!({"is_enabled": false}) } else { json!({"description": "new"}) };
        let updated = server.patch(&path, described).await.json(200);
        assert!(updated["revision"].as_i64() > created["revision"].as_i64(), "{kinds}: {updated}");
        assert_eq!(server.get(&path).await.json(200), updated, "{kinds}");
        let id = created["id"].as_str().unwrap();
        assert_eq!(server.get(&format!("/api/v1/{kinds}/{id}")).await.json(200), updated, "{kinds} by id");

        let gone = server.send(Method::DELETE, &path, "").await.json(200);
        assert_eq!(gone, json!({ "deleted": true }));
        server.get(&path).await.problem(404, "not_found");
        let trash = server.get(&format!("/api/v1/{kinds}?deleted=true")).await.json(200);
        assert_eq!(trash["rows"][0]["id"], id, "{kinds}");
        let restored = server.post(&format!("/api/v1/{kinds}/{id}/restore"), Value::Null).await.json(200);
        assert_eq!(restored["name"], "my-record");
        server.post(&format!("/api/v1/{kinds}/{id}/restore"), Value::Null).await.problem(404, "not_found");

        // What is in the trash is deleted for good by its id, and only so.
        server.send(Method::DELETE, &path, "").await.json(200);
        for (key, deleted) in
            [("my-record?permanently=true", false), (id, false), (&format!("{id}?permanently=true"), true)]
        {
            let gone = server.send(Method::DELETE, &format!("/api/v1/{kinds}/{key}"), "").await.json(200);
            assert_eq!(gone, json!({ "deleted": deleted }), "{kinds}: {key}");
        }
        server.post(&format!("/api/v1/{kinds}/{id}/restore"), Value::Null).await.problem(404, "not_found");
        server.create(kinds, "my-record", serde_json::from_str(fields_text).unwrap()).await;

        let gone = server.send(Method::DELETE, &format!("{path}?permanently=true"), "").await.json(200);
        assert_eq!(gone, json!({ "deleted": true }));
        let gone = server.send(Method::DELETE, &path, "").await.json(200);
        assert_eq!(gone, json!({ "deleted": false }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_revision_is_a_conflict() {
    let server = Server::local();
    let first = server.create("settings", "s", json!({"value": 1})).await;
    server.patch("/api/v1/settings/s", json!({"value": 2, "revision": first["revision"]})).await.json(200);
    let stale = server.patch("/api/v1/settings/s", json!({"value": 3, "revision": first["revision"]})).await;
    assert!(stale.problem(409, "conflict").contains("revision"));
    assert_eq!(server.get("/api/v1/settings/s").await.json(200)["value"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_fields_say_which_and_what_there_is() {
    let server = Server::local();
    server.create("flows", "x", json!({})).await;
    let wrong = |mut fields: Value| {
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("name".into(), "w".into());
        }
        server.post("/api/v1/webhooks", fields)
    };
    let near = wrong(json!({"flow_id": "x", "is_enable": true})).await.problem(422, "invalid");
    assert!(near.contains("did you mean `is_enabled`"), "{near}");
    wrong(json!({"flow_id": "x", "is_enabled": "yes"})).await.problem(422, "invalid");
    wrong(json!({"flow_id": "x", "key_sha256": "ab"})).await.problem(422, "invalid");
    wrong(json!({})).await.problem(422, "invalid");
    wrong(json!(["not", "an", "object"])).await.problem(422, "invalid");
    wrong(json!({"flow_id": "x", "revision": 1})).await.problem(422, "invalid");
    server.post("/api/v1/webhooks", json!({"flow_id": "x"})).await.problem(422, "invalid");
    server.send(Method::POST, "/api/v1/webhooks", "{\"flow_id\":").await.problem(400, "invalid");
    server.send(Method::POST, "/api/v1/webhooks", "").await.problem(400, "invalid");
    server.get("/api/v1/webhooks/w").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_order_and_page() {
    let server = Server::local();
    for name in ["c", "a", "b", "other"] {
        server.create("settings", name, json!({ "value": name })).await;
    }
    let filter =
        "%7B%22field%22%3A%22name%22%2C%22op%22%3A%22in%22%2C%22value%22%3A%5B%22a%22%2C%22b%22%2C%22c%22%5D%7D";
    let names = |page: &Value| -> Vec<String> {
        page["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    let page = server.get(&format!("/api/v1/settings?filter={filter}&order=-name&limit=2")).await.json(200);
    assert_eq!(names(&page), ["c", "b"]);
    let cursor = page["next"].as_str().unwrap();
    let path = format!("/api/v1/settings?filter={filter}&order=-name&limit=2&cursor={cursor}");
    let page = server.get(&path).await.json(200);
    assert_eq!((names(&page), &page["next"]), (vec!["a".to_owned()], &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_kept_or_refused() {
    let server = Server::local();
    let kept = server.send(Method::POST, "/api/v1/settings", r#"{"name": "n", "value": 18446744073709551615}"#).await;
    assert!(String::from_utf8_lossy(&kept.body).contains(r#""value":18446744073709551615"#));
    let changed = r#"{"name": "m", "value": {"id": 18446744073709551616}}"#;
    let text = server.send(Method::POST, "/api/v1/settings", changed).await.problem(422, "invalid");
    assert!(text.contains("18446744073709551616 is larger"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_list_is_an_error_and_never_empty() {
    let server = Server::local();
    server.get("/api/v1/flows?filter=%7B").await.problem(400, "invalid");
    let unknown = "/api/v1/flows?filter=%7B%22field%22%3A%22nmae%22%2C%22op%22%3A%22eq%22%2C%22value%22%3A1%7D";
    assert!(server.get(unknown).await.problem(422, "invalid").contains("did you mean `name`"));
    for query in ["flter=1", "order=no_such", "limit=0", "limit=many", "cursor=zz", "deleted=perhaps"] {
        server.get(&format!("/api/v1/flows?{query}")).await.problem(422, "invalid");
    }
    server.send(Method::DELETE, "/api/v1/flows/x?permanent=true", "").await.problem(422, "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_record_says_where_it_is_and_may_choose_its_id() {
    let server = Server::local();
    let reply = server.post("/api/v1/projects", json!({"name": "p", "id": "my/id"})).await;
    assert_eq!((reply.json(201)["id"].clone(), reply.header("location")), (json!("my/id"), "/api/v1/projects/my%2Fid"));
    assert_eq!(server.get(reply.header("location")).await.json(200), reply.json(201));
    server.post("/api/v1/projects", json!({"name": "q", "id": "my/id"})).await.problem(409, "conflict");
    server.patch("/api/v1/projects/p", json!({"id": "other"})).await.problem(422, "invalid");
    let renamed = server.patch("/api/v1/projects/p", json!({"name": "r"})).await.json(200);
    assert_eq!((&renamed["name"], &renamed["id"]), (&json!("r"), &json!("my/id")));
}

/// Whoever could give his record the id of another one as its name, or its name as an id, would get what is meant for
/// that one: the calls of a connector, the values of a secret, the starts of a flow.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_never_the_id_of_another_record() {
    let server = Server::local();
    server.create("flows", "x", json!({})).await;
    let with_secret = WRITABLE.into_iter().chain([("secrets", r#"{"value": "hush"}"#)]);
    for (kinds, fields) in with_secret {
        let (path, fields) = (format!("/api/v1/{kinds}"), serde_json::from_str::<Value>(fields).unwrap());
        let victim = server.create(kinds, "victim", fields.clone()).await;
        let mine = server.create(kinds, "mine", fields.clone()).await;
        let id = victim["id"].as_str().unwrap();

        let named_so = server.patch(&format!("{path}/mine"), json!({ "name": id })).await.problem(409, "conflict");
        assert!(named_so.contains("is the id of another"), "{named_so}");
        let with = |name: &str, id: &str| {
            let mut fields = fields.clone();
            (fields["name"], fields["id"]) = (name.into(), id.into());
            fields
        };
        server.post(&path, with("other", "victim")).await.problem(409, "conflict");
        server.post(&path, with("victim", "other")).await.problem(409, "conflict");
        // A record may have its own id as its name.
        server.post(&path, with("same", "same")).await.json(201);
        assert_eq!(server.get(&format!("{path}/{id}")).await.json(200), victim, "{kinds}");
        assert_eq!(server.get(&format!("{path}/mine")).await.json(200), mine, "{kinds}");

        // What is in the trash keeps its id, and its name only until another one has it.
        server.send(Method::DELETE, &format!("{path}/victim"), "").await.json(200);
        server.patch(&format!("{path}/mine"), json!({ "name": id })).await.problem(409, "conflict");
        server.patch(&format!("{path}/mine"), json!({"name": "victim"})).await.json(200);
        let restore = format!("{path}/{id}/restore");
        let taken = server.post(&restore, Value::Null).await.problem(409, "conflict");
        assert!(taken.contains("named `victim`"), "{taken}");
        server.patch(&format!("{path}/victim"), json!({"name": "mine"})).await.json(200);
        server.post(&path, with("squatter", "victim")).await.json(201);
        server.post(&restore, Value::Null).await.problem(409, "conflict");
        server.send(Method::DELETE, &format!("{path}/squatter?permanently=true"), "").await.json(200);
        assert_eq!(server.post(&restore, Value::Null).await.json(200)["name"], "victim", "{kinds}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_and_webhooks_are_enabled_and_disabled() {
    let server = Server::local();
    server.create("flows", "x", json!({})).await;
    server.create("settings", "often", json!({"value": {"cron": "0 3 * * *"}})).await;
    server.create("flows", "f", json!({})).await;
    let schedule = json!({"scheduler_id": "cron", "flow_id": "f", "setting_id": "often"});
    server.create("webhooks", "record", json!({"flow_id": "x"})).await;
    server.create("schedules", "record", schedule).await;
    for kinds in ["schedules", "webhooks"] {
        for (action, is_enabled) in [("enable", true), ("disable", false), ("disable", false)] {
            let path = format!("/api/v1/{kinds}/record/{action}");
            let reply = server.post(&path, Value::Null).await;
            assert_eq!(reply.json(200)["is_enabled"], is_enabled, "{path}");
        }
        server.post(&format!("/api/v1/{kinds}/nowhere/enable"), Value::Null).await.problem(404, "not_found");
    }
    server.post("/api/v1/settings/often/enable", Value::Null).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_slashes_spaces_and_umlauts() {
    let server = Server::local();
    let saved = server.create("settings", "a/b ü", json!({"value": 1})).await;
    assert_eq!(saved["name"], "a/b ü");
    assert_eq!(server.get("/api/v1/settings/a%2Fb%20%C3%BC").await.json(200), saved);
    server.get("/api/v1/settings/%FF").await.problem(400, "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_not_shown() {
    let server = Server::local();
    server.create("flows", "x", json!({})).await;
    let fields = json!({"type": "probe", "config": {"text": "shown", "password": "hunter2"}});
    server.create("connectors", "c", fields).await;
    let webhook = server.create("webhooks", "w", json!({"flow_id": "x"})).await;
    let keyed = server.post("/api/v1/webhooks/w/key", json!({"key": "hunter2"})).await.json(200);
    assert!(keyed["revision"].as_i64() > webhook["revision"].as_i64(), "{keyed}");
    for path in ["/api/v1/connectors/c", "/api/v1/connectors", "/api/v1/webhooks/w", "/api/v1/webhooks"] {
        let body = server.get(path).await.body;
        let text = String::from_utf8_lossy(&body);
        assert!(!text.contains("hunter2") && !text.contains("key_sha256"), "{text}");
    }
    assert!(!keyed.to_string().contains("sha256"), "{keyed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_webhook_must_be_named() {
    let server = Server::local();
    server.create("flows", "x", json!({})).await;
    server.create("webhooks", "w", json!({"flow_id": "x"})).await;
    server.post("/api/v1/webhooks/w/key", json!({})).await.problem(422, "invalid");
    server.post("/api/v1/webhooks/w/key", json!({"key": ""})).await.problem(422, "invalid");
    server.post("/api/v1/webhooks/w/key", json!({"key": 7})).await.problem(422, "invalid");
    server.post("/api/v1/webhooks/w/key", json!({"key": "k", "hint": "h"})).await.problem(422, "invalid");
    server.post("/api/v1/webhooks/v/key", json!({"key": "k"})).await.problem(404, "not_found");
    server.post("/api/v1/webhooks/w/key", json!({"key": null})).await.json(200);
}
