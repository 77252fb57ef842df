//! Roles in projects: every operation on a record, with each role where the record is, and with the highest elsewhere.

use axum::http::Method;
use serde_json::{Value, json};

use crate::remote::Remote;
use crate::support::{Reply, Server};

const ROLES: [&str; 4] = ["viewer", "operator", "author", "admin"];

/// Every record of the project has a name that begins so.
const MARK: &str = "in-a";

/// What the others name, and what stays therefore.
const BASE: &str = "in-a-base";

/// A workspace with projects a and b, and a record of every kind in a.
struct World {
    remote: Remote,
    a: Value,
    b: Value,
}

impl World {
    async fn new() -> Self {
        let remote = Remote::new();
        let a = remote.server.create("projects", &name("projects"), json!({})).await["id"].clone();
        let b = remote.server.create("projects", "in-b", json!({})).await["id"].clone();
        let world = Self { remote, a, b };
        world.server().create("flows", BASE, json!({"project_id": world.a})).await;
        world.server().create("connectors", BASE, json!({"type": "probe", "project_id": world.a})).await;
        let hourly = json!({"value": {"cron": "@hourly"}, "project_id": world.a});
        world.server().create("settings", BASE, hourly).await;
        for kinds in [
            "flows",
            "connectors",
            "settings",
            "schedulers",
            "schedules",
            "webhooks",
            "notifications",
            "files",
            "tokens",
        ] {
            world.ensure(kinds).await;
        }
        world
    }

    fn server(&self) -> &Server {
        &self.remote.server
    }

    /// Makes sure that there is the record of that kind; its key. An execution is a new one each time, that has ended.
    async fn ensure(&self, kinds: &str) -> String {
        let name = name(kinds);
        let path = format!("/api/v1/{kinds}/{name}");
        if kinds == "executions" {
            self.ensure_connector().await;
            let run = json!({"input": {"connector": "in-a-connectors", "inputs": {"text": "x"}}, "name": name});
            let started = self.server().post("/api/v1/flows/native:connect/run", run).await.json(201);
            let id = started["id"].as_str().unwrap().to_owned();
            self.server().get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
            return id;
        }
        if self.server().get(&path).await.status == 200 {
            return name;
        }
        if kinds == "projects" {
            let path = format!("/api/v1/projects/{}/restore", self.a.as_str().unwrap());
            self.server().post(&path, json!({})).await.json(200);
            return name;
        }
        if kinds == "files" {
            let path = format!("{path}/content?project=in-a-projects");
            self.server().send(Method::PUT, &path, "content").await.json(200);
            return name;
        }
        let mut fields = match kinds {
            "connectors" => json!({"type": "probe"}),
            "settings" => json!({"value": {"cron": "@hourly"}}),
            "schedulers" => json!({"flow_id": BASE}),
            "schedules" => json!({"scheduler_id": "cron", "flow_id": BASE, "setting_id": BASE}),
            "webhooks" => json!({"flow_id": BASE, "is_key_required": true}),
            "notifications" => json!({"connector_id": BASE, "on": ["failure"]}),
            "tokens" => json!({"role": "viewer"}),
            "secrets" => json!({"value": "kept well"}),
            _ => json!({}),
        };
        fields["project_id"] = self.a.clone();
        fields["name"] = name.clone().into();
        self.server().post(&format!("/api/v1/{kinds}"), fields).await.json(201);
        name
    }

    async fn ensure_connector(&self) {
        Box::pin(self.ensure("connectors")).await;
    }

    async fn token(&self, role: &str, project: &Value) -> String {
        self.remote.token(&format!("{role} in {project}"), json!({"role": role, "project_id": project})).await
    }
}

fn name(kinds: &str) -> String {
    format!("{MARK}-{kinds}")
}

/// What an operation is asked with, so that nothing but the role can refuse it.
fn body(method: &Method, path: &str) -> &'static str {
    match path.rsplit('/').next().unwrap_or_default() {
        _ if method == Method::PATCH => r#"{"description": "changed"}"#,
        "restart" => r#"{"from": 1}"#,
        "key" => r#"{"key": "k"}"#,
        "signing-secret" => r#"{"secret": null}"#,
        "content" | "deploy" => "bytes",
        _ if path.contains("/bulk/") => r#"{"filter": {"and": []}, "dry_run": true}"#,
        _ => "",
    }
}

/// What somebody is told for whom the record is not there, or who may not put one there.
fn is_out_of_reach(reply: &Reply) -> bool {
    let is_deleted = serde_json::from_slice::<Value>(&reply.body).ok().map(|answer| answer["deleted"].clone());
    // A flow that is there and was never deployed has no component, and an execution that is there is no delivery.
    let text = String::from_utf8_lossy(&reply.body);
    let is_seen = text.contains("no component yet") || text.contains("is no delivery of the webhook");
    (reply.status == 404 && !is_seen) || reply.status == 403 || is_deleted == Some(json!(false))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_on_a_record_asks_for_the_role_where_the_record_is() {
    let world = World::new().await;
    let remote = &world.remote;
    let mut in_a = Vec::new();
    for role in ROLES {
        in_a.push(world.token(role, &world.a).await);
    }
    let elsewhere = world.token("admin", &world.b).await;
    let mut tried = 0;
    for (path, item) in surefoot_web::openapi()["paths"].as_object().unwrap() {
        let parts: Vec<&str> = path.split('/').collect();
        let ["", "api", "v1", kinds, parameter, ..] = parts[..] else { continue };
        for (method, operation) in item.as_object().unwrap() {
            // The executions here are of the built-in flow that calls a connector, which only authors start.
            let is_start = path.ends_with("/rerun") || path.ends_with("/restart");
            let role = if is_start { &json!("author") } else { &operation["x-surefoot-role"] };
            let Some(needed) = ROLES.iter().position(|name| role == name) else { continue };
            // Only a flow asks; `tests/tests/web_approvals.rs` has one.
            // And a project that has records is not deleted, so that it cannot be restored.
            let is_of_project = path == "/api/v1/projects/{key}/restore";
            if is_of_project
                || !parameter.starts_with('{')
                || operation["x-surefoot-role-in"] == "workspace"
                || kinds == "approvals"
            {
                continue;
            }
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let ask = async |token: &str| {
                let mut key = world.ensure(kinds).await;
                if path.ends_with("/restore") {
                    let record = format!("/api/v1/{kinds}/{key}");
                    key = world.server().get(&record).await.json(200)["id"].as_str().unwrap().to_owned();
                    world.server().send(Method::DELETE, &record, "").await.json(200);
                }
                let mut path = path.replacen(parameter, &key, 1).replace("{name}", "x");
                if path.contains("{id}") {
                    path = path.replace("{id}", &world.ensure("executions").await);
                }
                let reply = remote.send(method.clone(), &path, token, body(&method, &path)).await;
                if path.ends_with("/restore") {
                    world.server().post(&path, json!({})).await;
                }
                reply
            };
            let context = format!("{method} {path}");
            for (rank, token) in in_a.iter().enumerate() {
                let reply = ask(token).await;
                let text = String::from_utf8_lossy(&reply.body);
                match rank < needed {
                    true => assert_eq!(reply.status, 403, "{context} as {}: {text}", ROLES[rank]),
                    false => assert!(!is_out_of_reach(&reply), "{context} as {}: {} {text}", ROLES[rank], reply.status),
                }
            }
            let reply = ask(&elsewhere).await;
            let text = String::from_utf8_lossy(&reply.body);
            assert!(is_out_of_reach(&reply), "{context} from another project: {} {text}", reply.status);
            assert!(!text.contains("did you mean"), "{context} from another project: {text}");
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}

/// Whoever asks for many gets those of their projects, and nothing of the others.
#[tokio::test(flavor = "multi_thread")]
async fn lists_show_what_one_may_look_at_and_nothing_else() {
    let world = World::new().await;
    let id = world.ensure("executions").await;
    let (of_a, of_b) = (world.token("admin", &world.a).await, world.token("admin", &world.b).await);
    let mut listed = 0;
    for (path, item) in surefoot_web::openapi()["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|_| path.starts_with("/api/v1/") && !path.contains('{')) {
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let ask = async |token: &str| {
                let reply = world.remote.send(method.clone(), path, token, body(&method, path)).await;
                (reply.status, String::from_utf8_lossy(&reply.body).into_owned())
            };
            let (_, text) = ask(&of_b).await;
            assert!(!text.contains(MARK) && !text.contains(world.a.as_str().unwrap()), "{method} {path}: {text}");
            if path.contains("/bulk/") {
                assert!(text.contains("\"matched\":0"), "{method} {path}: {text}");
            }
            let (status, text) = ask(&of_a).await;
            listed += usize::from(method == Method::GET && status == 200 && text.contains(MARK));
        }
    }
    assert_eq!(listed, 11, "every kind that may be in a project, projects and executions");
    let children = json!({"field": "parent_id", "op": "eq", "value": id});
    let connections = json!({"field": "type", "op": "eq", "value": "CONNECTION"});
    for filter in [children, connections] {
        let path = format!("/api/v1/executions?filter={}", crate::support::encoded(&filter));
        let rows = async |token| world.remote.send(Method::GET, &path, token, "").await.json(200)["rows"].clone();
        assert_eq!(rows(&of_b).await, json!([]));
        assert_eq!(rows(&of_a).await.as_array().unwrap().len(), 1, "{filter}");
    }
    let dry = json!({"from": "2030-01-01T00:00:00Z", "to": "2030-01-01T02:00:00Z"});
    world.server().patch("/api/v1/schedules/in-a-schedules", json!({"description": "x"})).await.json(200);
    let named = json!({"from": dry["from"], "to": dry["to"], "schedules": ["in-a-schedules"]}).to_string();
    let ask = async |token| world.remote.send(Method::POST, "/api/v1/schedule-dry-run", token, &named).await;
    assert!(ask(&of_a).await.json(200).to_string().contains("in-a-schedules"));
    ask(&of_b).await.problem(404, "not_found");
}

/// A record is made, and moved, only where one has the role; and names only what is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_or_moved_needs_the_role_on_both_sides() {
    let world = World::new().await;
    let (a, b) = (&world.a, &world.b);
    let remote = &world.remote;
    remote.user("ada", json!({"project_roles": {"in-a-projects": "author", "in-b": "viewer"}})).await;
    let ada = remote.log_in("ada").await;
    let ask = async |method: Method, path: &str, body: Value| {
        remote.by_session(method, path, &ada, true, &body.to_string()).await
    };
    let me = ask(Method::GET, "/api/v1/me", Value::Null).await.json(200);
    assert_eq!(me["project_roles"], json!({a.as_str().unwrap(): "author", b.as_str().unwrap(): "viewer"}));

    for (project, status) in [(a.clone(), 201), (json!("in-a-projects"), 201), (b.clone(), 403), (Value::Null, 403)] {
        let body = json!({"name": format!("s{status}{project}"), "value": 1, "project_id": project});
        let reply = ask(Method::POST, "/api/v1/settings", body).await;
        assert_eq!(reply.status, status, "{project}");
    }
    world.server().create("settings", "of-b", json!({"value": 1, "project_id": b})).await;
    world.server().create("settings", "of-none", json!({"value": 1})).await;
    ask(Method::GET, "/api/v1/settings/of-b", Value::Null).await.json(200);
    ask(Method::GET, "/api/v1/settings/of-none", Value::Null).await.problem(404, "not_found");
    ask(Method::PATCH, "/api/v1/settings/of-b", json!({"project_id": a})).await.problem(403, "forbidden");
    ask(Method::PATCH, "/api/v1/settings/in-a-settings", json!({"project_id": b})).await.problem(403, "forbidden");
    ask(Method::PATCH, "/api/v1/settings/in-a-settings", json!({"project_id": null})).await.problem(403, "forbidden");
    assert_eq!(world.server().get("/api/v1/settings/in-a-settings").await.json(200)["project_id"], *a);
    ask(Method::POST, "/api/v1/projects", json!({"name": "c"})).await.problem(403, "forbidden");

    // Otherwise a schedule or a webhook of mine would start what I may not start.
    world.server().create("flows", "f-of-b", json!({"project_id": b})).await;
    world.server().create("flows", "f-of-none", json!({})).await;
    world.server().create("connectors", "c-of-b", json!({"type": "probe", "project_id": b})).await;
    for (flow, status) in
        [("in-a-flows", 201), ("f-of-b", 403), ("f-of-none", 404), ("native:connect", 403), ("native:cron", 403)]
    {
        let body = json!({"name": format!("w-{flow}"), "flow_id": flow, "project_id": a});
        assert_eq!(ask(Method::POST, "/api/v1/webhooks", body).await.status, status, "{flow}");
        let path = format!("/api/v1/flows/{flow}/run");
        let expected = if status == 201 { 422 } else { status };
        let run = ask(Method::POST, &path, json!({})).await;
        assert_eq!(run.status, expected, "{flow}: {}", String::from_utf8_lossy(&run.body));
    }
    for (flow, connector, status) in
        [("in-a-flows", "in-a-connectors", 201), ("f-of-b", "in-a-connectors", 403), ("in-a-flows", "c-of-b", 403)]
    {
        let body = json!({"name": format!("n-{flow}-{connector}"), "on": ["failure"], "flow_id": flow,
            "connector_id": connector, "project_id": a});
        let reply = ask(Method::POST, "/api/v1/notifications", body).await;
        assert_eq!(reply.status, status, "{flow} {connector}: {}", String::from_utf8_lossy(&reply.body));
    }
    ask(Method::POST, "/api/v1/flows/new/deploy", json!("no component")).await.problem(403, "forbidden");
    ask(Method::PUT, "/api/v1/files/new/content", json!("x")).await.problem(403, "forbidden");
    ask(Method::PUT, "/api/v1/files/new/content?project=in-b", json!("x")).await.problem(403, "forbidden");
    ask(Method::PUT, "/api/v1/files/new/content?project=in-a-projects", json!("x")).await.json(200);
    let run = json!({"input": {"connector": "type:probe"}});
    ask(Method::POST, "/api/v1/flows/native:connect/run", run).await.problem(403, "forbidden");
}
