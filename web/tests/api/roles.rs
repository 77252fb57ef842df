//! Tokens, and what each role may do: every operation of the API is tried with every role.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::remote::Remote;
use crate::support::Server;

const ROLES: [&str; 4] = ["viewer", "operator", "author", "admin"];

/// Parameters of paths become names that nothing has, so that an operation that is allowed does no harm.
fn path_of(template: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "nothing-has-this-name".to_owned() } else { part.to_owned() };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// An operation of the OpenAPI document, and what it needs.
struct Tried {
    method: Method,
    path: String,
    role: String,
    place: String,
}

impl Tried {
    fn all() -> Vec<Self> {
        let document = surefoot_web::openapi();
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let text = |field: &str| operation[field].as_str().unwrap().to_owned();
                all.push(Self {
                    method: method.to_ascii_uppercase().parse().unwrap(),
                    path: path.clone(),
                    role: text("x-surefoot-role"),
                    place: text("x-surefoot-role-in"),
                });
            }
        }
        assert!(all.len() > 100, "{}", all.len());
        all
    }

    /// The place of the role in [`ROLES`]; none where any role or none will do.
    fn rank(&self) -> Option<usize> {
        ROLES.iter().position(|role| *role == self.role)
    }

    fn is_open(&self) -> bool {
        self.role == "none"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_asks_for_its_role_and_no_other() {
    let remote = Remote::new();
    let project = remote.server.create("projects", "a", json!({})).await["id"].clone();
    let (mut everywhere, mut in_project) = (Vec::new(), Vec::new());
    for role in ROLES {
        everywhere.push(remote.token(role, json!({"role": role})).await);
        in_project.push(remote.token(&format!("{role} of a"), json!({"role": role, "project_id": project})).await);
    }
    for tried in Tried::all().into_iter().filter(|tried| !tried.is_open()) {
        let Tried { method, path, place, .. } = &tried;
        let Some(needed) = tried.rank() else { continue };
        let send = async |token: &str| remote.send(method.clone(), &path_of(path), token, "").await;
        for (rank, role) in ROLES.iter().enumerate() {
            let reply = send(&everywhere[rank]).await;
            // What only the owner may do is refused for another reason, which says so.
            let is_refused = reply.status == 403 && !String::from_utf8_lossy(&reply.body).contains("owner");
            assert_eq!(is_refused, rank < needed, "{method} {path} as {role}: {}", reply.status);
            let is_refused = send(&in_project[rank]).await.status == 403;
            if rank < needed || place == "workspace" {
                assert!(is_refused, "{method} {path} as {role} of a project");
            }
        }
        send("wrong").await.problem(401, "unauthorized");
    }
}

/// A session does what its user may, with the token that only pages of this server know, until it is over.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_asks_a_session_for_its_token_and_whether_it_is_good() {
    let remote = Remote::new();
    for (name, role) in [("viewer", "viewer"), ("root", "admin")] {
        remote.user(name, json!({"role": role})).await;
    }
    let old = remote.log_in("root").await;
    remote.advance(Duration::from_secs(13 * 3600));
    let (good, revoked, viewer) =
        (remote.log_in("root").await, remote.log_in("root").await, remote.log_in("viewer").await);
    remote.server.send(Method::DELETE, &format!("/api/v1/sessions/{}", revoked.id), "").await.json(200);
    for tried in Tried::all().into_iter().filter(|tried| !tried.is_open()) {
        let Tried { method, path, .. } = &tried;
        let context = format!("{method} {path}");
        for nobody in [&old, &revoked] {
            let reply = remote.by_session(method.clone(), &path_of(path), nobody, true, "").await;
            assert!(reply.problem(401, "unauthorized").contains("over"), "{context}");
        }
        let is_change = *method != Method::GET;
        let reply = remote.by_session(method.clone(), &path_of(path), &good, false, "").await;
        let says_token = String::from_utf8_lossy(&reply.body).contains("CSRF token");
        assert_eq!(says_token, is_change && reply.status == 403, "{context}: {}", reply.status);
        assert!(!is_change || says_token, "{context}");
        if let Some(needed) = tried.rank() {
            let reply = remote.by_session(method.clone(), &path_of(path), &viewer, true, "").await;
            assert_eq!(reply.status == 403, needed > 0, "{context} as viewer: {}", reply.status);
        }
    }
}

/// Written down by hand, so that an operation that asks for too little is seen.
#[test]
fn what_the_roles_may_do() {
    let document = surefoot_web::openapi();
    let role = |method: &str, path: &str| document["paths"][path][method]["x-surefoot-role"].clone();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|_| path.starts_with("/api/v1/")) {
            let role = role(method, path);
            let is_about = |about: &[&str]| about.iter().any(|about| path.starts_with(&format!("/api/v1/{about}")));
            let is_for_admins = is_about(&["tokens", "secrets", "audit", "users", "system/"]);
            let is_of_workspace = is_about(&["audit", "users", "system"]);
            let place = &document["paths"][path][method]["x-surefoot-role-in"];
            match (method.as_str(), path.as_str()) {
                ("post", "/api/v1/sessions" | "/api/v1/setup") => assert_eq!(role, "none"),
                _ if is_about(&["sessions", "me"]) => assert_eq!(role, "any", "{method} {path}"),
                _ => assert_eq!(place == "workspace", is_of_workspace, "{method} {path}"),
            }
            match method.as_str() {
                _ if is_about(&["sessions", "me", "setup"]) => {}
                _ if is_for_admins => assert_eq!(role, "admin", "{method} {path}"),
                "get" => assert_eq!(role, "viewer", "{method} {path}"),
                _ => assert_ne!(role, "viewer", "{method} {path}"),
            }
        }
    }
    for path in ["/api/v1/flows", "/api/v1/connectors", "/api/v1/webhooks", "/api/v1/notifications", "/api/v1/settings"]
    {
        assert_eq!(role("post", path), "author");
    }
    for path in [
        "/api/v1/flows/{key}/deploy",
        "/api/v1/webhooks/{key}/key",
        "/api/v1/webhooks/{key}/signing-secret",
        "/api/v1/connectors/{key}/test",
        "/api/v1/notifications/{key}/test",
    ] {
        assert_eq!(role("post", path), "author");
    }
    for path in ["/api/v1/flows/{key}/run", "/api/v1/executions/{id}/cancel", "/api/v1/schedules/{key}/enable"] {
        assert_eq!(role("post", path), "operator");
    }
}

/// With inputs of its own a built-in flow sends what a connector keeps secret wherever it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn built_in_flows_are_run_by_those_who_may_try_connectors() {
    let remote = Remote::new();
    let run = json!({"input": {"connector": "type:probe", "inputs": {"text": "a"}}}).to_string();
    let path = "/api/v1/flows/native:connect/run";
    let token = async |role: &str| remote.token(role, json!({"role": role})).await;
    let (operator, author) = (token("operator").await, token("author").await);
    remote.send(Method::POST, path, &operator, &run).await.problem(403, "forbidden");
    let id = remote.send(Method::POST, path, &author, &run).await.json(201)["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/executions/{id}/rerun");
    remote.send(Method::POST, &path, &operator, &run).await.problem(403, "forbidden");
    remote.send(Method::POST, &path, &author, &run).await.json(201);
    let path = format!("/api/v1/executions/{id}");
    remote.send(Method::GET, &format!("{path}/wait"), &operator, "").await.json(200);
    let (restart, from) = (format!("{path}/restart"), r#"{"from": 1}"#);
    remote.send(Method::POST, &restart, &operator, from).await.problem(403, "forbidden");
    remote.send(Method::POST, &restart, &author, from).await.json(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_and_good_until_it_ends_or_goes() {
    let remote = Remote::new();
    let token = remote.token("ci", json!({"role": "viewer"})).await;
    let list = async |token: &str| remote.send(Method::GET, "/api/v1/flows", token, "").await;
    list(&token).await.json(200);
    let (first, rest) = token.split_at(token.len() - 1);
    list(&format!("{first}{}", if rest == "0" { "1" } else { "0" })).await.problem(401, "unauthorized");
    list(&format!("{token}0")).await.problem(401, "unauthorized");
    for wrong in ["sft_", "sft_x", "sft_ci_", "ci", "sft_nothing_0"] {
        list(wrong).await.problem(401, "unauthorized");
    }
    for path in ["/api/v1/tokens", "/api/v1/tokens/ci", "/api/v1/audit"] {
        let text = String::from_utf8(remote.server.get(path).await.body.to_vec()).unwrap();
        assert!(!text.contains("sha256") && !text.contains(&token[45..]), "{path}: {text}");
    }

    remote.server.send(Method::DELETE, "/api/v1/tokens/ci", "").await.json(200);
    list(&token).await.problem(401, "unauthorized");
    let trash = remote.server.get("/api/v1/tokens?deleted=true").await.json(200);
    assert_eq!(trash["rows"], json!([]), "a token that was taken back cannot come back");
    let soon = remote.server.post(
        "/api/v1/tokens",
        json!({
            "name": "soon", "role": "viewer", "expires_at": remote.in_a_minute(),
        }),
    );
    let soon = soon.await.json(201)["token"].as_str().unwrap().to_owned();
    list(&soon).await.json(200);
    remote.advance(Duration::from_secs(60));
    assert!(list(&soon).await.problem(401, "unauthorized").contains("expired at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_would_be_none_is_refused() {
    let server = Server::local();
    for wrong in [
        json!({"name": "t"}),
        json!({"name": "t", "role": "owner"}),
        json!({"name": "", "role": "viewer"}),
        json!({"name": "t", "role": "viewer", "expires_at": "tomorrow"}),
        json!({"name": "t", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"name": "t", "role": "viewer", "secret_sha256": "00"}),
    ] {
        server.post("/api/v1/tokens", wrong).await.problem(422, "invalid");
    }
    server.post("/api/v1/tokens", json!({"name": "t", "role": "viewer"})).await.json(201);
    server.post("/api/v1/tokens", json!({"name": "t", "role": "admin"})).await.problem(409, "conflict");
    server.patch("/api/v1/tokens/t", json!({"role": "admin"})).await.problem(405, "method_not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changed_what_is_in_the_audit_log() {
    let remote = Remote::new();
    let token = remote.token("robot", json!({"role": "author"})).await;
    let as_robot =
        async |method: Method, path: &str, body: Value| remote.send(method, path, &token, &body.to_string()).await;
    let config = json!({"type": "probe", "config": {"text": "a", "password": "hunter2"}, "name": "c"});
    as_robot(Method::POST, "/api/v1/connectors", config).await.json(201);
    as_robot(Method::PATCH, "/api/v1/connectors/c", json!({"description": "new"})).await.json(200);
    as_robot(Method::PATCH, "/api/v1/connectors/c", json!({"type": "no such"})).await.problem(422, "invalid");
    as_robot(Method::DELETE, "/api/v1/connectors/c", Value::Null).await.json(200);
    as_robot(Method::PUT, "/api/v1/files/f/content", json!("content")).await.json(200);
    let run = json!({"input": {"connector": "type:probe", "inputs": {"hang": true}}});
    let id = as_robot(Method::POST, "/api/v1/flows/native:connect/run", run).await.json(201)["id"].clone();
    let cancel = format!("/api/v1/executions/{}/cancel", id.as_str().unwrap());
    as_robot(Method::POST, &cancel, Value::Null).await.json(200);

    let audit = remote.server.get("/api/v1/audit?order=created_at").await.json(200);
    let entries: Vec<&Value> = audit["rows"].as_array().unwrap().iter().collect();
    let told: Vec<String> = entries
        .iter()
        .map(|entry| format!("{} {} {}", entry["created_by"], entry["action"], entry["record_kind"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "local create token",
            "token robot create connector",
            "token robot update connector",
            "token robot delete connector",
            "token robot write file",
            "token robot cancel execution",
        ]
    );
    let update = entries[2];
    assert_eq!((&update["record_name"], &update["before"]["description"]), (&json!("c"), &Value::Null));
    assert_eq!(update["after"]["description"], "new");
    assert_eq!(update["after"]["config"], json!({"text": "a", "password": "***"}));
    assert_eq!((&entries[5]["record_id"], &entries[3]["after"]), (&id, &Value::Null));
    assert!(!audit.to_string().contains("hunter2"));

    let of_robot = crate::support::encoded(&json!({"field": "created_by", "op": "eq", "value": "token robot"}));
    let page = remote.server.get(&format!("/api/v1/audit?filter={of_robot}&limit=2")).await.json(200);
    assert_eq!(page["rows"][0], *entries[5]);
    let next = page["next"].as_str().unwrap();
    let page = remote.server.get(&format!("/api/v1/audit?filter={of_robot}&limit=2&cursor={next}")).await.json(200);
    assert_eq!(page["rows"][0], *entries[3]);
    let one = format!("/api/v1/audit/{}", entries[0]["id"].as_str().unwrap());
    assert_eq!(remote.server.get(&one).await.json(200), *entries[0]);
    remote.server.send(Method::DELETE, &one, "").await.problem(405, "method_not_allowed");
}
