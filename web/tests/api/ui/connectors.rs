//! Connectors: the form from the schema of a type, trying one, and its calls.

use serde_json::json;

use super::lists::HOSTILE;
use super::{see, see_as, submit};
use crate::remote::Remote;
use crate::support::Server;

const NEW: &str = "/ui/connectors/new?type=probe";

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connector_the_list_says_how_to_make_one() {
    let server = Server::local();
    let page = see(&server, "/ui/connectors").await;
    assert_eq!(page.text(".empty h2"), "There is no connector yet");
    assert!(page.text(".empty .command").contains("surefoot connector set"));
    let types = see(&server, "/ui/connectors/new").await;
    assert_eq!(types.attributes(".types a", "href"), [NEW]);
    assert_eq!(see(&server, "/ui/connectors/new?type=nothing").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_comes_from_the_schema_and_secrets_are_shown_to_nobody() {
    let server = Server::local();
    let form = see(&server, NEW).await;
    assert_eq!(form.attributes("[name='in.password']", "type"), ["password"]);
    assert_eq!(form.texts("[name='in.hang'] option"), ["", "yes", "no"]);

    let wrong = [("name", ""), ("in.text", "kept"), ("in.password", "hunter2"), ("timeout_ms", "soon"), ("retry", "{")];
    let page = submit(&server, NEW, &wrong).await;
    assert_eq!(page.status, 422);
    for field in ["name", "timeout_ms", "retry"] {
        assert_eq!(page.count(&format!("#{field}-w")), 1, "{field}");
    }
    assert_eq!(page.attributes("[name='in.text']", "value"), ["kept"]);
    assert!(!page.html.contains("hunter2"), "a secret is typed again");

    let right =
        [("name", "there"), ("in.text", "a"), ("in.password", "hunter2"), ("in.hang", ""), ("timeout_ms", "1m")];
    let made = submit(&server, NEW, &right).await;
    assert_eq!(made.status, 303, "{}", made.html);
    let record = server.get("/api/v1/connectors/there").await.json(200);
    assert_eq!((&record["config"], &record["timeout_ms"]), (&json!({"text": "a", "password": "***"}), &json!(60_000)));
    let page = see(&server, &made.location).await;
    assert!(page.text("[aria-labelledby=h-inputs]").contains("***") && !page.html.contains("hunter2"));
    assert!(page.text("[aria-labelledby=h-around]").contains("1m at most"), "{}", page.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_keeps_the_secret_that_is_stored_and_takes_the_name_of_one() {
    let server = Server::local();
    let fields = json!({"type": "probe", "config": {"text": "a", "password": "hunter2"}});
    server.create("connectors", "there", fields).await;
    let form = see(&server, "/ui/connectors/there/edit").await;
    assert_eq!(form.attributes("[name='in.password']", "value"), ["***"]);
    let revision = form.attributes("[name=revision]", "value").remove(0);
    let change = [("in.text", "b"), ("in.password", "***"), ("revision", &revision)];
    assert_eq!(submit(&server, "/ui/connectors/there/edit", &change).await.status, 303);
    let result = server.post("/api/v1/connectors/there/test", json!({})).await.json(200);
    assert_eq!(result["output"], json!({"text": "b", "has_password": true}));
    let late = submit(&server, "/ui/connectors/there/edit", &change).await;
    assert_eq!((late.status, late.attributes("[name='in.text']", "value")), (422, vec!["b".to_owned()]));

    let revision = see(&server, "/ui/connectors/there/edit").await.attributes("[name=revision]", "value").remove(0);
    let change = [("in.password", "secret(probe-password)"), ("revision", &revision)];
    assert_eq!(submit(&server, "/ui/connectors/there/edit", &change).await.status, 303);
    let form = see(&server, "/ui/connectors/there/edit").await;
    assert_eq!(form.attributes("[name='in.password']", "value"), ["secret(probe-password)"]);
    let record = server.get("/api/v1/connectors/there").await.json(200);
    assert_eq!(record["config"], json!({"password": "secret(probe-password)"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_shows_how_far_the_call_came() {
    let server = Server::local();
    server.create("connectors", "there", json!({"type": "probe", "config": {"text": "stored"}})).await;
    let tried = submit(&server, "/ui/connectors/there/test", &[("in.text", "mine")]).await;
    assert_eq!(tried.status, 303, "{}", tried.html);
    let page = see(&server, &tried.location).await;
    assert_eq!(page.text(".standing .status"), "Succeeded");
    assert_eq!(page.texts(".steps .status"), ["Passed"; 6]);
    assert!(page.text("[aria-labelledby=h-trial] .document").contains("mine"), "{}", page.html);

    let tried = submit(&server, "/ui/connectors/there/test", &[("in.fail", "no such thing")]).await;
    let page = see(&server, &tried.location).await;
    assert_eq!(page.text(".standing .status"), "Failed");
    assert!(page.text(".standing").contains("no such thing"), "{}", page.html);
    assert_eq!(page.texts(".steps .status")[5], "Failed");
    let call = page.attributes(".facts a", "href");
    assert_eq!((call.len(), see(&server, &call[1]).await.status), (2, 200));

    let other = server.start_probe(json!({})).await;
    assert_eq!(see(&server, &format!("/ui/connectors/there/test?run={other}")).await.status, 404);
    assert_eq!(submit(&server, "/ui/connectors/there/test", &[("in.hang", "9")]).await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_listed_with_their_durations_and_failures() {
    let server = Server::local();
    server.create("connectors", "there", json!({"type": "probe"})).await;
    server.create("connectors", "other", json!({"type": "probe"})).await;
    assert_eq!(see(&server, "/ui/connectors/there/calls").await.count("figure.plot"), 0);
    for (name, inputs) in [("there", json!({})), ("there", json!({"fail": "x"})), ("other", json!({}))] {
        server.post(&format!("/api/v1/connectors/{name}/test"), json!({ "inputs": inputs })).await.json(200);
    }
    let page = see(&server, "/ui/connectors/there/calls").await;
    assert_eq!((page.count("tr[data-row]"), page.count("figure.plot")), (2, 2), "{}", page.html);
    assert_eq!(page.texts("[aria-labelledby=h-failures] tbody th"), ["refused"]);
    assert_eq!(page.texts("[aria-labelledby=h-failures] tbody td"), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_what_they_may_not_do() {
    let remote = Remote::new();
    remote.server.create("connectors", "there", json!({"type": "probe"})).await;
    for (role, links) in [("viewer", 0), ("operator", 0), ("author", 2)] {
        remote.user(role, json!({"role": role})).await;
        let session = remote.log_in(role).await;
        let page = see_as(&remote, &session, "/ui/connectors/there").await;
        assert_eq!((page.status, page.count(".head .actions a")), (200, links), "{role}");
        assert_eq!(page.texts(".tabs a").contains(&"Test".to_owned()), role == "author", "{role}");
        let list = see_as(&remote, &session, "/ui/connectors").await;
        assert_eq!(list.count("td a.button") + list.count("a.primary"), links, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_inputs_and_failures_stay_text() {
    let server = Server::local();
    for text in HOSTILE {
        let fields = json!({"type": "probe", "config": {"text": text}, "description": text});
        let id = server.create("connectors", text, fields).await["id"].as_str().unwrap().to_owned();
        let tried = submit(&server, &format!("/ui/connectors/{id}/test"), &[("in.fail", text)]).await;
        see(&server, &tried.location).await.is_plain(text);
        for below in ["", "/edit", "/test", "/calls", "/delete"] {
            see(&server, &format!("/ui/connectors/{id}{below}")).await.is_plain(&format!("{text} {below}"));
        }
        submit(&server, NEW, &[("name", ""), ("in.text", text), ("retry", text)]).await.is_plain(text);
    }
    see(&server, "/ui/connectors").await.is_plain("the list");
}
