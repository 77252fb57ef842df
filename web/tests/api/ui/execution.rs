//! The pages of one execution, and what can be done there.

use serde_json::{Value, json};

use super::flows::{deploy_guest, run};
use super::lists::HOSTILE;
use super::{see, see_as, submit};
use crate::remote::Remote;
use crate::support::Server;

/// A probe that has ended.
async fn ended(server: &Server, inputs: Value) -> String {
    let id = server.start_probe(inputs).await;
    server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cause_of_a_failure_is_on_the_page() {
    let server = Server::local();
    let id = ended(&server, json!({"fail": "no such luck"})).await;
    let page = see(&server, &format!("/ui/executions/{id}")).await;
    assert_eq!((page.status, page.text(".standing .status").as_str()), (200, "Failed"));
    assert!(page.text(".box.problem").contains("no such luck"), "{}", page.html);
    assert!(page.text("#h-input + pre.document").contains("no such luck"), "{}", page.html);
    let calls = page.attributes(".timeline tbody a", "href");
    assert_eq!(calls.len(), 1);
    let connection = see(&server, &calls[0]).await;
    assert_eq!(connection.text(".standing .status"), "Failed");
    assert!(connection.text(".box.problem").contains("no such luck"), "{}", connection.html);
    assert!(connection.attributes(".crumbs a", "href").contains(&format!("/ui/executions/{id}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_shows_calls_and_where_to_restart() {
    let server = Server::local();
    let id = ended(&server, json!({"text": "hello"})).await;
    let journal = see(&server, &format!("/ui/executions/{id}/journal")).await;
    let records = journal.texts("tbody th");
    assert!(records[0].starts_with("started") && records.iter().any(|text| text.starts_with("calls the connector")));
    let restarts = journal.attributes("a.again", "href");
    assert_eq!(restarts, [format!("/ui/executions/{id}/restart?from=1")]);
    assert_eq!(see(&server, &restarts[0]).await.attributes("input[name=from]", "value"), ["1"]);
    let wrong = submit(&server, &format!("/ui/executions/{id}/restart"), &[("from", "99")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text("[role=alert]").contains("99"), "{}", wrong.html);
    assert_eq!(see(&server, &format!("/ui/executions/{id}/journal?after=x")).await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_run_again_with_another_input() {
    let server = Server::local();
    let id = ended(&server, json!({"text": "a"})).await;
    let form = see(&server, &format!("/ui/executions/{id}/rerun")).await;
    assert!(form.text("textarea").contains("\"a\""), "{}", form.html);
    let wrong = submit(&server, &format!("/ui/executions/{id}/rerun"), &[("input", "{\"much\": typed")]).await;
    assert_eq!((wrong.status, wrong.text("#input").as_str()), (422, "{\"much\": typed"), "{}", wrong.html);
    assert!(wrong.text("#input-w").contains("no JSON"), "{}", wrong.html);
    let input = json!({"connector": "type:probe", "inputs": {"text": "b"}}).to_string();
    let started = submit(&server, &format!("/ui/executions/{id}/rerun"), &[("input", &input)]).await;
    assert_eq!(started.status, 303);
    let path = started.location.split('?').next().unwrap();
    let new = path.rsplit('/').next().unwrap();
    let row = server.get(&format!("/api/v1/executions/{new}/wait")).await.json(200);
    assert_eq!(row["output"]["text"], "b", "{row}");
    assert_eq!(see(&server, &started.location).await.text(".done"), "It was started. This page follows it.");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_paused_resumed_and_cancelled_after_a_question() {
    let server = Server::local();
    let id = server.start_probe(json!({"hang": true})).await;
    let path = format!("/ui/executions/{id}");
    assert_eq!(submit(&server, &format!("{path}/pause"), &[]).await.status, 303);
    let page = see(&server, &path).await;
    assert!(page.texts(".actions button").contains(&"Resume".to_owned()), "{}", page.html);
    assert_eq!(submit(&server, &format!("{path}/resume"), &[]).await.status, 303);
    let question = see(&server, &format!("{path}/cancel")).await;
    assert_eq!(question.text("h1"), "Cancel this execution?");
    assert!(question.text(".card").contains(&id), "it names what it ends: {}", question.html);
    assert_eq!(submit(&server, &format!("{path}/cancel"), &[]).await.status, 303);
    let row = server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
    assert_eq!(row["status"], "ENDED_CANCELLED");
    let page = see(&server, &path).await;
    assert_eq!((page.text(".standing .status").as_str(), page.texts("#actions a").len()), ("Cancelled", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_what_they_may_not_do() {
    let remote = Remote::new();
    let id = ended(&remote.server, json!({})).await;
    for (role, shown) in [("viewer", 0), ("operator", 1)] {
        remote.user(role, json!({"role": role})).await;
        let session = remote.log_in(role).await;
        let page = see_as(&remote, &session, &format!("/ui/executions/{id}")).await;
        assert_eq!((page.status, page.count("#actions a")), (200, shown), "{role}");
        let journal = see_as(&remote, &session, &format!("/ui/executions/{id}/journal")).await;
        assert_eq!(journal.count("a.again"), shown, "{role}");
        let form = see_as(&remote, &session, &format!("/ui/executions/{id}/rerun")).await;
        assert_eq!(form.status, if shown == 0 { 403 } else { 200 }, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_outputs_and_errors_stay_text() {
    let server = Server::local();
    for text in HOSTILE {
        for inputs in [json!({"text": text}), json!({"fail": text})] {
            let id = ended(&server, inputs).await;
            for below in ["", "/journal", "/log", "/rerun"] {
                let page = see(&server, &format!("/ui/executions/{id}{below}")).await;
                assert_eq!((page.status, page.count("script")), (200, 1), "{text} {below}");
                assert_eq!(page.count("main img, [onerror], [onmouseover], [onload]"), 0, "{text} {below}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_a_page() {
    let server = Server::local();
    for below in ["", "/journal", "/log", "/cancel", "/rerun"] {
        let page = see(&server, &format!("/ui/executions/nothing{below}")).await;
        assert_eq!((page.status, page.text("h1").as_str()), (404, "This is not here"), "{below}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_sent_and_the_page_offers_commands_to_copy() {
    let server = Server::local();
    let id = server.start_probe(json!({"hang": true})).await;
    let path = format!("/ui/executions/{id}");
    assert!(see(&server, &path).await.attributes(".actions a", "href").contains(&format!("{path}/signal")));
    let wrong = submit(&server, &format!("{path}/signal"), &[("name", ""), ("payload", "{typed")]).await;
    assert_eq!((wrong.status, wrong.text("#payload").as_str()), (422, "{typed"), "{}", wrong.html);
    assert!(
        wrong.text("#name-w").contains("missing") && wrong.text("#payload-w").contains("no JSON"),
        "{}",
        wrong.html
    );
    let wrong = submit(&server, &format!("{path}/signal"), &[("name", "go"), ("payload", "<typed>")]).await;
    assert_eq!((wrong.status, wrong.attributes("#name", "value")), (422, vec!["go".to_owned()]), "{}", wrong.html);
    let sent = submit(&server, &format!("{path}/signal"), &[("name", "go"), ("payload", "{\"a\": 1}")]).await;
    assert_eq!(sent.location, format!("{path}?done=signalled"));
    let page = see(&server, &path).await;
    let commands = page.texts("pre.command");
    assert!(commands.contains(&format!("surefoot execution log {id} --follow")), "{commands:?}");
    assert!(
        commands.iter().any(|command| command.starts_with("surefoot run native:connect --input '{")),
        "{commands:?}"
    );
    assert!(commands.iter().any(|command| command.contains("curl --fail-with-body -X POST")), "{commands:?}");
    submit(&server, &format!("{path}/cancel"), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_shows_when_it_was_at_work() {
    let server = Server::local();
    let id = ended(&server, json!({"fail": "no such luck"})).await;
    let page = see(&server, &format!("/ui/executions/{id}")).await;
    assert_eq!(page.count(".timeline tbody tr"), 1);
    assert_eq!(page.count(".timeline svg.lane rect.bad"), 1, "{}", page.html);
    assert!(page.text(".timeline tbody tr .number:last-child").ends_with(" ms"), "{}", page.html);
    assert!(page.texts("ul.legend li").contains(&"failed".to_owned()), "{}", page.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_has_the_end_of_a_call_with_the_call() {
    let server = Server::local();
    let id = ended(&server, json!({"text": "hello"})).await;
    let journal = see(&server, &format!("/ui/executions/{id}/journal")).await;
    let call = journal.texts("tbody th").into_iter().find(|text| text.starts_with("calls the connector")).unwrap();
    assert!(call.contains("Input") && call.contains("Result, 37 B"), "{call}");
    assert!(!journal.texts("tbody th").iter().any(|text| text.starts_with("end of the call")), "{}", journal.html);
}

/// People read what happened; how it is written down is for who unfolds it.
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_in_words() {
    let server = Server::local();
    let good = ended(&server, json!({"text": "hello"})).await;
    let journal = see(&server, &format!("/ui/executions/{good}/journal")).await;
    let words = journal.texts("tbody th");
    assert!(words[0].contains("type:probe"), "it began with its input: {words:?}");
    let shown = journal.texts("tbody th details").join(" ");
    assert!(!shown.contains("memory_bytes_max") && !shown.contains("\"o\":"), "{shown}");
    assert!(shown.contains("\"has_password\": false"), "{shown}");
    assert!(!shown.contains("As recorded"), "{shown}");
    let raw =
        see(&server, &format!("/ui/executions/{good}/journal{}", journal.attributes("p.note a", "href")[0])).await;
    assert!(raw.text("tbody tr:first-child details:last-of-type").contains("memory_bytes_max"), "{}", raw.html);
    assert_eq!(raw.attributes("p.note a", "href"), ["?"]);
    assert_eq!(journal.texts("tbody td .status").first().map(String::as_str), Some("Success"), "{}", journal.html);
    let bad = ended(&server, json!({"fail": "no such luck"})).await;
    let journal = see(&server, &format!("/ui/executions/{bad}/journal")).await;
    assert_eq!(journal.text("tbody .status"), "Error", "{}", journal.html);
    assert!(journal.text("tbody .reason").contains("no such luck"), "{}", journal.html);
}

/// A page follows what happens, or says of when it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_live_or_says_of_when_it_is() {
    let server = Server::local();
    server.create("settings", "s", json!({"value": 1})).await;
    server.create("connectors", "c", json!({"type": "probe"})).await;
    let id = server.start_probe(json!({"hang": true})).await;
    let live = format!("/ui/executions/{id}/journal");
    let journal = see(&server, &live).await;
    let events = format!("/api/v1/executions/{id}/events?journal=true");
    assert_eq!((journal.attributes("body", "data-live"), journal.count("#journal[data-region]")), (vec![events], 1));
    server.post(&format!("/api/v1/executions/{id}/cancel"), json!({})).await;
    server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
    assert_eq!(see(&server, &live).await.count("body[data-live]"), 0);
    for path in ["/ui/audit?action=create", "/ui/system", "/ui/settings", "/ui/settings/s", "/ui/connectors/c/calls"] {
        let page = see(&server, path).await;
        let note = page.texts(".note").into_iter().find(|note| note.starts_with("As of ")).unwrap_or_default();
        assert!(note.contains("does not follow"), "{path}: {}", page.html);
        assert_eq!(page.attributes(".note a[href='']", "href").len(), 1, "{path}");
    }
}

/// What was not looked at is not said to be without a match.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_stops_says_how_far_it_looked() {
    let server = Server::local();
    deploy_guest(&server, "logs").await;
    let row = run(&server, "logs", json!("log")).await;
    assert_eq!(row["status"], "ENDED_SUCCESS", "{row}");
    let path = format!("/ui/executions/{}/log", row["id"].as_str().unwrap());
    let page = see(&server, &format!("{path}?search=nothing%26like+it&level=info")).await;
    let told = page.text(".box.warning");
    assert!(told.starts_with("No line matches among the 50"), "{}", page.html);
    assert!(!page.texts("#log > p").contains(&"No line matches.".to_owned()), "{}", page.html);
    let further = &page.attributes(".box.warning a", "href")[0];
    let rest = see(&server, &format!("{path}{further}")).await;
    assert_eq!((rest.text("#log > p").as_str(), rest.count(".box.warning")), ("No line matches.", 0), "{}", rest.html);
    assert_eq!(rest.attributes("#search", "value"), ["nothing&like it"]);
    let found = see(&server, &format!("{path}?search=deploy")).await;
    assert_eq!((found.count(".log tbody tr"), found.count(".box.warning")), (300, 0));
}

/// Somebody may be an operator elsewhere: here that is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_elsewhere_shows_no_action_here() {
    let remote = Remote::new();
    for project in ["p", "q"] {
        remote.server.create("projects", project, json!({})).await;
    }
    remote.server.create("connectors", "c", json!({"type": "probe", "project_id": "p"})).await;
    let body = json!({"input": {"connector": "c", "inputs": {}}});
    let started = remote.server.post("/api/v1/flows/native:connect/run", body).await.json(201);
    let id = started["id"].as_str().unwrap().to_owned();
    remote.server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
    for (name, roles, shown) in
        [("ann", json!({"p": "viewer", "q": "operator"}), 0), ("ben", json!({"p": "operator"}), 1)]
    {
        remote.user(name, json!({"project_roles": roles})).await;
        let session = remote.log_in(name).await;
        let page = see_as(&remote, &session, &format!("/ui/executions/{id}")).await;
        assert_eq!((page.status, page.count("#actions a")), (200, shown), "{name}");
    }
}
