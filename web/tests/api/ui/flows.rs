//! Flows: the list, one of them, its versions and settings, and the form that runs it.

use axum::http::Method;
use serde_json::{Value, json};

use super::lists::HOSTILE;
use super::{Page, see, see_as, submit};
use crate::remote::Remote;
use crate::support::Server;

/// A component that answers `"ok"`, and tells with what it was made.
fn component() -> Vec<u8> {
    let text = r#"(component
      (core module $module
        (memory (export "memory") 2)
        (data (i32.const 16) "\00\00\00\00\40\00\00\00\04\00\00\00")
        (data (i32.const 64) "\22ok\22")
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "handler") (param i32 i32) (result i32) (i32.const 16))
        (func (export "post-return") (param i32))
        (@producers (language "Rust" "1.92") (sdk "surefoot-sdk" "0.1")))
      (core instance $core (instantiate $module))
      (type $handler (func (param "inputs" string) (result (result string (error string)))))
      (func $lifted (type $handler) (canon lift (core func $core "handler") (memory $core "memory")
        (realloc (func $core "realloc")) (post-return (func $core "post-return"))))
      (export "handler" (func $lifted)))"#;
    wat::parse_str(text).unwrap()
}

/// Deploys a flow that answers, with these fields; its id.
pub(crate) async fn deploy(server: &Server, name: &str, fields: Value) -> String {
    deploy_component(server, name, fields, component()).await
}

/// Deploys a flow that does what its input says, as `guest.wat` has it; its id.
pub(crate) async fn deploy_guest(server: &Server, name: &str) -> String {
    deploy_component(server, name, json!({}), wat::parse_str(include_str!("guest.wat")).unwrap()).await
}

async fn deploy_component(server: &Server, name: &str, fields: Value, component: Vec<u8>) -> String {
    server.create("flows", name, fields).await;
    let encoded = crate::support::percent_encoded(name);
    let flow = server.send(Method::POST, &format!("/api/v1/flows/{encoded}/deploy"), component).await.json(200);
    flow["id"].as_str().unwrap().to_owned()
}

/// Starts a flow; the id of its run.
pub(crate) async fn start(server: &Server, flow: &str, input: Value) -> String {
    let started = server.post(&format!("/api/v1/flows/{flow}/run"), json!({ "input": input })).await.json(201);
    started["id"].as_str().unwrap().to_owned()
}

/// Runs a flow to its end; the row of the run.
pub(crate) async fn run(server: &Server, flow: &str, input: Value) -> Value {
    let id = start(server, flow, input).await;
    server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200)
}

/// Waits for the end of what a form has started.
async fn ended(server: &Server, started: &Page) -> Value {
    assert_eq!(started.status, 303, "{}", started.html);
    let id = started.location.split(['/', '?']).nth(3).unwrap();
    server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200)
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "host": {"type": "string", "description": "What is looked at", "minLength": 2},
            "count": {"type": "integer", "minimum": 1, "default": 3},
            "deep": {"type": "boolean"},
            "more": {"type": "object"},
        },
        "required": ["host"],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_flow_the_list_says_how_to_make_one() {
    let page = see(&Server::local(), "/ui/flows").await;
    assert_eq!((page.status, page.text(".empty h2").as_str()), (200, "There is no flow yet"));
    assert!(page.text(".empty .command").contains("surefoot deploy"));
    assert_eq!(page.attributes("nav a[aria-current=page]", "href"), ["/ui/flows"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_without_a_version_says_how_to_deploy_one() {
    let server = Server::local();
    server.create("flows", "it's new", json!({})).await;
    let list = see(&server, "/ui/flows").await;
    assert_eq!((list.count("tr[data-row]"), list.count("td a.button")), (1, 0));
    let page = see(&server, "/ui/flows/it%27s%20new").await;
    assert_eq!(page.text(".empty h2"), "It has no version yet");
    assert!(page.text(".empty .command").contains("--name 'it'\\''s new'"), "{}", page.html);
    assert_eq!(page.count(".actions a.primary"), 0);
    assert_eq!(see(&server, "/ui/flows/it%27s%20new/versions").await.text(".empty h2"), "It has no version yet");
    let refused = submit(&server, "/ui/flows/it%27s%20new/run", &[("input", "{}")]).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text("[role=alert]").contains("deploy it"), "{}", refused.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_is_made_from_the_schema_and_loses_nothing() {
    let server = Server::local();
    let id = deploy(&server, "looks", json!({ "input_schema": schema() })).await;
    let path = format!("/ui/flows/{id}/run");
    let form = see(&server, &path).await;
    assert_eq!(
        form.texts("form.stack > .field label, form.stack > .check label"),
        ["host", "count", "deep", "more JSON"]
    );
    assert_eq!(form.attributes("[name='in.count']", "value"), ["3"]);
    assert_eq!(form.attributes("[name='in.host']", "aria-describedby"), ["f-in0-a"]);

    let wrong = [("in.host", "x"), ("in.count", "0"), ("in.more", "{"), ("name", "mine"), ("deadline", "soon")];
    let page = submit(&server, &path, &wrong).await;
    assert_eq!(page.status, 422);
    assert!(
        page.text("#f-in3-w").contains("no JSON") && page.text("#deadline-w").contains("no deadline"),
        "{}",
        page.html
    );
    for (name, value) in [("in.host", "x"), ("in.count", "0"), ("name", "mine"), ("deadline", "soon")] {
        assert_eq!(page.attributes(&format!("[name='{name}']"), "value"), [value]);
    }
    assert_eq!(page.text("[name='in.more']"), "{");

    let page = submit(&server, &path, &[("in.host", "x"), ("in.count", "0")]).await;
    assert_eq!((page.status, page.count(".field .wrong")), (422, 2), "{}", page.html);
    let missing = submit(&server, &path, &[("in.count", "2")]).await;
    assert_eq!(missing.status, 422, "{}", missing.html);

    let right = [("in.host", "h1"), ("in.count", "2"), ("in.more", "{\"a\": 1}"), ("priority", "7"), ("name", "mine")];
    let row = ended(&server, &submit(&server, &path, &right).await).await;
    assert_eq!(row["input"], json!({"host": "h1", "count": 2, "deep": false, "more": {"a": 1}}));
    assert_eq!((&row["name"], &row["priority"], &row["output"]), (&json!("mine"), &json!(7), &json!("ok")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_input_may_be_written_as_json() {
    let server = Server::local();
    let id = deploy(&server, "looks", json!({ "input_schema": schema() })).await;
    let path = format!("/ui/flows/{id}/run?raw=1");
    assert_eq!(see(&server, &path).await.count("textarea[name=input]"), 1);
    for (input, why) in [("{", "no JSON"), ("{\"count\": 1}", "field `host`: it is missing")] {
        let page = submit(&server, &path, &[("input", input)]).await;
        assert_eq!((page.status, page.text("textarea[name=input]").as_str()), (422, input));
        assert!(page.text("#input-w").contains(why), "{}", page.html);
    }
    let row = ended(&server, &submit(&server, &path, &[("input", "{\"host\": \"h1\"}")]).await).await;
    assert_eq!(row["input"], json!({"host": "h1"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_shows_its_runs_versions_and_what_starts_it() {
    let server = Server::local();
    let id = deploy(&server, "looks", json!({"description": "Looks at things", "max_concurrent": 2})).await;
    server.create("webhooks", "w", json!({ "flow_id": id })).await;
    server.create("settings", "often", json!({"value": {"every": "1h"}})).await;
    let fields = json!({"flow_id": "looks", "scheduler_id": "cron", "setting_id": "often"});
    server.create("schedules", "s", fields).await;
    assert_eq!(see(&server, &format!("/ui/flows/{id}")).await.text(".empty h2"), "It has not run yet");
    for _ in 0..2 {
        ended(&server, &submit(&server, &format!("/ui/flows/{id}/run"), &[("input", "{}")]).await).await;
    }
    let page = see(&server, "/ui/flows/looks").await;
    assert_eq!((page.text("h1").as_str(), page.count("tr[data-row]"), page.count("figure.plot")), ("looks", 2, 2));
    assert_eq!(page.texts("[aria-labelledby=h-started] li a"), ["s", "w"]);
    assert!(page.text(".facts").contains("at most 2 at one time"), "{}", page.html);
    let list = see(&server, "/ui/flows").await;
    assert_eq!(list.texts("tbody .status"), ["Succeeded"]);
    assert!(list.text("tbody .reason").contains("Looks at things"));
    let versions = see(&server, "/ui/flows/looks/versions").await;
    assert_eq!(versions.texts("tbody .tag"), ["present"]);
    assert_eq!(versions.texts("[aria-labelledby=h-makers] dd"), ["Rust 1.92", "surefoot-sdk 0.1"]);
    assert_eq!(versions.text("tbody th").split(' ').next().unwrap().len(), 64, "{}", versions.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_changed_and_what_is_wrong_stands_beside_its_field() {
    let server = Server::local();
    let id = deploy(&server, "looks", json!({"max_concurrent": 2, "deadline_ms": 900_000})).await;
    server.create("projects", "shop", json!({})).await;
    let path = format!("/ui/flows/{id}/settings");
    let form = see(&server, &path).await;
    assert_eq!(form.attributes("[name=deadline]", "value"), ["15m"]);
    let revision = form.attributes("[name=revision]", "value").remove(0);
    let wrong = [
        ("max_concurrent", "0"),
        ("priority", "high"),
        ("deadline", "2030-01-31T12:00:00Z"),
        ("project_id", "shpo"),
        ("input_schema", "{\"type\": 3}"),
        ("revision", &revision),
    ];
    let page = submit(&server, &path, &wrong).await;
    assert_eq!(page.status, 422);
    assert!(page.text("#priority-w").contains("whole number") && page.text("#deadline-w").contains("duration"));
    let page = submit(&server, &path, &[("max_concurrent", "0"), ("revision", &revision)]).await;
    assert!(page.text("#max_concurrent-w").contains("1 to"), "{}", page.html);
    let page = submit(&server, &path, &[("input_schema", "{\"type\": 3}"), ("revision", &revision)]).await;
    assert!(page.text("#input_schema-w").contains("no JSON Schema"), "{}", page.html);

    let right = [("deadline", "1h 30m"), ("project_id", "shop"), ("role", "viewer"), ("revision", &revision)];
    let done = submit(&server, &path, &right).await;
    assert_eq!(
        (done.status, done.location.as_str()),
        (303, format!("/ui/flows/{id}?done=saved").as_str()),
        "{}",
        done.html
    );
    let flow = server.get(&format!("/api/v1/flows/{id}")).await.json(200);
    assert_eq!((&flow["deadline_ms"], &flow["role"]), (&json!(5_400_000), &json!("viewer")));
    assert!(flow["max_concurrent"].is_null() && flow["project_id"].is_string(), "{flow}");
    let late = submit(&server, &path, &right).await;
    assert_eq!((late.status, late.count("[role=alert]")), (422, 1), "somebody else was faster: {}", late.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_deleted_after_a_question_that_names_what_needs_it() {
    let server = Server::local();
    let id = deploy(&server, "looks", json!({})).await;
    server.create("webhooks", "w", json!({ "flow_id": id })).await;
    let question = see(&server, &format!("/ui/flows/{id}/delete")).await;
    assert!(question.text(".card").contains("looks") && question.text(".warning").contains("w"), "{}", question.html);
    let gone = submit(&server, &format!("/ui/flows/{id}/delete"), &[]).await;
    assert_eq!(gone.location, "/ui/flows?done=deleted");
    assert_eq!(see(&server, &gone.location).await.text(".done"), "It is in the trash.");
    assert_eq!(see(&server, &format!("/ui/flows/{id}")).await.status, 404);
    let trash = see(&server, "/ui/flows?trash=1").await;
    assert_eq!(trash.texts("tbody th"), ["looks"]);
    let back = submit(&server, &format!("/ui/flows/{id}/restore"), &[]).await;
    assert_eq!(back.location, format!("/ui/flows/{id}?done=restored"));
    let gone = submit(&server, &format!("/ui/flows/{id}/delete"), &[("permanently", "1")]).await;
    assert_eq!(see(&server, &gone.location).await.text(".done"), "It was deleted for good.");
    assert_eq!(see(&server, "/ui/flows?trash=1").await.text("#flows .none"), "Nothing is in the trash.");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_what_they_may_not_do() {
    let remote = Remote::new();
    let id = deploy(&remote.server, "looks", json!({})).await;
    for (role, actions) in
        [("viewer", &[][..]), ("operator", &["Run"]), ("author", &["Run", "Delete"]), ("admin", &["Run", "Delete"])]
    {
        remote.user(role, json!({"role": role})).await;
        let session = remote.log_in(role).await;
        let page = see_as(&remote, &session, &format!("/ui/flows/{id}")).await;
        assert_eq!(page.texts(".head .actions a"), actions, "{role}");
        assert_eq!(page.texts(".tabs a").contains(&"Settings".to_owned()), actions.len() == 2, "{role}");
        let list = see_as(&remote, &session, "/ui/flows").await;
        assert_eq!(list.count("td a.button"), usize::from(role != "viewer"), "{role}");
    }
    // A role in one project is none for what is outside.
    let project = remote.server.create("projects", "shop", json!({})).await["id"].as_str().unwrap().to_owned();
    let inside = deploy(&remote.server, "inside", json!({ "project_id": project })).await;
    remote.user("joe", json!({"role": "viewer", "project_roles": {project: "author"}})).await;
    let session = remote.log_in("joe").await;
    for (flow, count) in [(&id, 0), (&inside, 2)] {
        let page = see_as(&remote, &session, &format!("/ui/flows/{flow}")).await;
        assert_eq!(page.count(".head .actions a"), count, "{}", page.html);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_descriptions_and_schemas_stay_text() {
    let server = Server::local();
    for text in HOSTILE {
        let schema =
            json!({"type": "object", "properties": {text: {"type": "string", "title": text, "default": text}}});
        let id = deploy(&server, text, json!({"description": text, "input_schema": schema})).await;
        let field = format!("in.{text}");
        let refused = submit(&server, &format!("/ui/flows/{id}/run"), &[(&field, text), ("deadline", text)]).await;
        refused.is_plain(text);
        for below in ["", "/versions", "/run", "/run?raw=1", "/settings", "/delete"] {
            see(&server, &format!("/ui/flows/{id}{below}")).await.is_plain(&format!("{text} {below}"));
        }
    }
    let list = see(&server, "/ui/flows").await;
    list.is_plain("the list");
    assert_eq!(list.count("tr[data-row]"), HOSTILE.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_flows_have_pages() {
    let server = Server::local();
    for number in 0..52 {
        server.create("flows", &format!("f{number:02}"), json!({})).await;
    }
    let first = see(&server, "/ui/flows").await;
    assert_eq!(first.count("tr[data-row]"), 50);
    let next = first.attributes(".pager a[rel=next]", "href").remove(0);
    assert_eq!(see(&server, &format!("/ui/flows{next}")).await.count("tr[data-row]"), 2);
    assert_eq!(see(&server, "/ui/flows?filter=f51").await.texts("tbody th a"), ["f51"]);
}
