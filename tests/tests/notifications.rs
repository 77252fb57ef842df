//! Who is told when a flow fails, works again, or asks: with a real mail server, and a receiver that verifies with the
//! library of Standard Webhooks.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_tests::command::{surefoot, surefoot_json};
use surefoot_tests::leaks::{find_leak, search_data};
use surefoot_tests::server_process::{Launch, SurefootProcess};
use surefoot_tests::servers::smtp::{SmtpServer, SmtpSetup, with};
use surefoot_tests::servers::webhook_receiver::{SECRET, WebhookReceiver};
use surefoot_tests::workspace::{PATIENCE, Workspace};

const ALL: [&str; 3] = ["failure", "recovery", "approval"];

fn failing() -> Value {
    json!({"mode": "fail", "code": "broken", "message": "the disk is on fire"})
}

fn working() -> Value {
    json!({"mode": "get", "field": "name"})
}

/// A connector of type http to the receiver, and a rule `told` that uses it.
async fn with_rule(workspace: &Workspace, receiver: &WebhookReceiver, fields: Value) -> Result<()> {
    let config = json!({"url": receiver.url(), "signing_secret": SECRET});
    workspace.save(Kind::Connector, "hook", json!({"type": "http", "config": config})).await?;
    let rule = json!({"on": ALL, "connector_id": "hook", "is_enabled": true});
    workspace.save(Kind::Notification, "told", with(rule, fields)).await?;
    Ok(())
}

/// The executions that tell something, oldest first.
fn of_notify() -> Value {
    json!({"field": "flow_id", "op": "eq", "value": "native:notify"})
}

/// Waits until so many have ended.
async fn until_told(workspace: &Workspace, count: usize) -> Result<Vec<Value>> {
    let all_ended = |rows: &[Value]| rows.len() == count && rows.iter().all(|row| row["ended_at"].is_string());
    workspace.until_rows("execution", of_notify(), all_ended).await
}

/// What tells of the end of an execution.
async fn notify_of(workspace: &Workspace, ended: &Value) -> Result<String> {
    let tells = |row: &&Value| row["input"]["execution_id"] == ended["id"];
    let rows = workspace.rows("execution", of_notify()).await?;
    let id = rows.iter().find(tells).and_then(|row| row["id"].as_str()).context("it is told with the end")?;
    Ok(id.to_owned())
}

/// Waits until it rests after so many attempts.
async fn until_it_rests(workspace: &Workspace, id: &str, attempts: usize) -> Result<()> {
    let rests = async || Ok((workspace.calls(id, "sleep").await?.len() == attempts).then_some(()));
    workspace.eventually(rests).await.with_context(|| format!("{id} never rested after {attempts} attempts"))
}

fn kinds(bodies: &[Value]) -> Vec<&str> {
    bodies.iter().map(|body| body["type"].as_str().unwrap_or_default()).collect()
}

/// A failure is told once and not each further one, the first good end after it too, and a cancel is neither. What a
/// parent catches is its own matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_goes_bad_is_told_once_and_so_is_its_recovery() -> Result<()> {
    let (workspace, receiver) = (Workspace::open()?, WebhookReceiver::start()?);
    workspace.deploy(&["test-guest"]).await?;
    with_rule(&workspace, &receiver, json!({})).await?;
    workspace.run("test-guest", working()).await?;
    let first = workspace.run("test-guest", failing()).await?;
    let mut last = Value::Null;
    for _ in 0..3 {
        last = workspace.run("test-guest", failing()).await?;
    }
    let sleeping =
        workspace.start("test-guest", json!({"mode": "script", "steps": [{"do": "sleep", "ms": 3_600_000}]}));
    let sleeping = sleeping.await?;
    workspace.engine.cancel(&sleeping, "test").await?;
    workspace.ended(&sleeping).await?;
    until_told(&workspace, 1).await?;
    workspace.run("test-guest", working()).await?;
    workspace.run("test-guest", working()).await?;
    let caught = json!({"mode": "child", "flow": "test-guest", "inputs": failing()});
    let parent = workspace.run("test-guest", caught).await?;
    assert_eq!(parent["status"], "ENDED_SUCCESS");
    let rows = until_told(&workspace, 2).await?;
    assert!(rows.iter().all(|row| row["status"] == "ENDED_SUCCESS"), "{rows:#?}");
    let received = receiver.received()?;
    assert!(received.iter().all(|call| call.is_verified), "{received:#?}");
    let taken = receiver.taken()?;
    assert_eq!(kinds(&taken), ["flow.failed", "flow.recovered"]);
    let (failed, recovered) = (&taken[0]["data"], &taken[1]["data"]);
    assert_eq!(failed["error"], json!({"code": "broken", "message": "the disk is on fire"}));
    assert_eq!((&failed["execution"]["id"], &failed["failures"]), (&first["id"], &json!(1)));
    assert_eq!((&failed["flow"]["name"], &failed["notification"]["name"]), (&json!("test-guest"), &json!("told")));
    assert_eq!((&recovered["failures"], &recovered["since"]), (&json!(4), &first["ended_at"]));
    assert!(last["ended_at"].as_str() < taken[1]["timestamp"].as_str());
    assert_eq!(rows[0]["id"].as_str(), received[0].id.as_deref());

    // Bad again is new again.
    workspace.run("test-guest", failing()).await?;
    until_told(&workspace, 3).await?;
    assert_eq!(kinds(&receiver.taken()?), ["flow.failed", "flow.recovered", "flow.failed"]);
    Ok(())
}

/// With `repeat_after_ms` what lasts is told again, and in between not.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_lasts_is_told_again_after_a_while() -> Result<()> {
    let (workspace, receiver) = (Workspace::open_in_still_time()?, WebhookReceiver::start()?);
    workspace.deploy(&["test-guest"]).await?;
    with_rule(&workspace, &receiver, json!({"repeat_after_ms": 86_400_000})).await?;
    for (hours, told) in [(0, 1), (12, 1), (12, 2), (1, 2), (24, 3)] {
        workspace.advance(Duration::from_secs(hours * 3600))?;
        workspace.run("test-guest", failing()).await?;
        until_told(&workspace, told).await?;
    }
    let failures: Vec<_> = receiver.taken()?.iter().map(|body| body["data"]["failures"].clone()).collect();
    assert_eq!(failures, [json!(1), json!(3), json!(5)]);
    Ok(())
}

/// A rule tells of its flow, or of what is in its project, and of nothing else; who begins anew is told anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_tells_of_what_it_covers() -> Result<()> {
    let (workspace, receiver) = (Workspace::open()?, WebhookReceiver::start()?);
    for (flow, project) in [("a", "p"), ("b", "p"), ("c", "q")] {
        workspace.save(Kind::Project, project, json!({})).await?;
        workspace.deploy_as(flow, "test-guest").await?;
        workspace.save(Kind::Flow, flow, json!({ "project_id": project })).await?;
    }
    with_rule(&workspace, &receiver, json!({"project_id": "p", "on": ["failure"]})).await?;
    let rule = json!({"on": ["failure"], "connector_id": "hook", "flow_id": "b", "is_enabled": true});
    workspace.save(Kind::Notification, "of b", rule).await?;
    for flow in ["a", "b", "c"] {
        workspace.run(flow, failing()).await?;
    }
    until_told(&workspace, 3).await?;
    let told = |bodies: Vec<Value>| {
        let one = |body: &Value| {
            let text = |what: &str| body["data"][what]["name"].as_str().unwrap_or_default().to_owned();
            format!("{} of {}", text("notification"), text("flow"))
        };
        let mut all: Vec<String> = bodies.iter().map(one).collect();
        all.sort();
        all
    };
    assert_eq!(told(receiver.taken()?), ["of b of b", "told of a", "told of b"]);
    for (fields, says) in [
        (json!({"flow_id": "c"}), "in another one"),
        (json!({"on": []}), "`on` of a notification"),
        (json!({"on": ["failures"]}), "failure, recovery, approval"),
        (json!({"to": ["a@b.c"]}), "leave out `to`"),
        (json!({"repeat_after_ms": 1}), "`repeat_after_ms`"),
        (json!({"connector_id": "none"}), "there is no connector `none`"),
        (json!({"connector_id": null}), "needs a `connector_id`"),
    ] {
        let refused = workspace.save(Kind::Notification, "told", fields).await.unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
    // What is disabled tells nothing, and knows nothing when it comes back.
    workspace.save(Kind::Notification, "told", json!({"is_enabled": false})).await?;
    workspace.run("a", failing()).await?;
    workspace.save(Kind::Notification, "told", json!({"is_enabled": true})).await?;
    workspace.run("a", failing()).await?;
    until_told(&workspace, 4).await?;
    Ok(())
}

/// A receiver that is down gets what it missed when it is up again, under the same id; and what cannot be delivered is
/// an execution that failed, which nobody is told of.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_is_tried_again_and_never_told_of() -> Result<()> {
    let (workspace, receiver) = (Workspace::open_in_still_time()?, WebhookReceiver::start()?);
    workspace.deploy(&["test-guest"]).await?;
    with_rule(&workspace, &receiver, json!({})).await?;
    receiver.set_down(true)?;
    let failed = workspace.run("test-guest", failing()).await?;
    assert_eq!(failed["error_code"], "broken", "nothing changes for the one that it tells of");
    let first = notify_of(&workspace, &failed).await?;
    for (attempt, seconds) in [(1, 5), (2, 30)] {
        until_it_rests(&workspace, &first, attempt).await?;
        workspace.advance(Duration::from_secs(seconds))?;
    }
    until_it_rests(&workspace, &first, 3).await?;
    receiver.set_down(false)?;
    workspace.advance(Duration::from_secs(120))?;
    let rows = until_told(&workspace, 1).await?;
    assert_eq!(rows[0]["status"], "ENDED_SUCCESS", "{:#}", rows[0]);
    let received = receiver.received()?;
    assert_eq!((received.len(), receiver.taken()?.len()), (4, 1));
    assert!(received.iter().all(|call| call.id == received[0].id && call.is_verified), "{received:#?}");
    assert_eq!(workspace.connections(rows[0]["id"].as_str().context("an id")?).await?.len(), 4);

    // The egress policy holds for notifications as for flows.
    let config = json!({"url": "http://192.0.2.1/", "signing_secret": SECRET});
    workspace.save(Kind::Connector, "hook", json!({"type": "http", "config": config})).await?;
    let recovered = workspace.run("test-guest", working()).await?;
    let second = notify_of(&workspace, &recovered).await?;
    for (attempt, seconds) in [5, 30, 120, 600, 1800, 7200, 21_600, 50_400].into_iter().enumerate() {
        until_it_rests(&workspace, &second, attempt + 1).await?;
        workspace.advance(Duration::from_secs(seconds))?;
    }
    let rows = until_told(&workspace, 2).await?;
    assert_eq!(
        (&rows[1]["status"], &rows[1]["error_code"]),
        (&json!("ENDED_ERROR"), &json!("egress")),
        "{:#}",
        rows[1]
    );
    workspace.run("test-guest", working()).await?;
    assert_eq!(workspace.rows("execution", of_notify()).await?.len(), 2, "it is told once, and its failure never");

    // Sent again by hand it is the same message, and nothing else.
    workspace
        .save(Kind::Connector, "hook", json!({"config": {"url": receiver.url(), "signing_secret": SECRET}}))
        .await?;
    let id = rows[0]["id"].as_str().context("an id")?;
    let again = workspace.engine.rerun(id, None, "test").await?;
    assert_eq!(workspace.ended(&again).await?["status"], "ENDED_SUCCESS");
    assert_eq!((receiver.received()?.len(), receiver.taken()?.len()), (5, 1), "its id is known");
    let refused = workspace.engine.rerun(id, Some(json!({"token_of": "x"})), "test").await.unwrap_err().to_string();
    assert!(refused.contains("sent again as it is"), "{refused}");
    let refused = workspace.start("native:notify", json!({})).await.unwrap_err().to_string();
    assert!(refused.contains("notification test"), "{refused}");
    Ok(())
}

async fn prepare(server: &SurefootProcess, connector: Value, rule: Value) -> Result<()> {
    server.deploy("test-guest").await?;
    server.save("connectors/out", connector).await?;
    let fields = json!({"on": ALL, "connector_id": "out", "is_enabled": true});
    server.save("notifications/told", with(fields, rule)).await?;
    Ok(())
}

fn to_receiver(receiver: &WebhookReceiver) -> Value {
    json!({"type": "http", "config": {"url": receiver.url(), "signing_secret": SECRET}})
}

async fn until_taken(receiver: &WebhookReceiver, count: usize) -> Result<Vec<Value>> {
    let looking = async {
        loop {
            let taken = receiver.taken()?;
            if taken.len() >= count {
                return Ok(taken);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.context("it is not told")?
}

/// A failure and what tells of it are one: `kill -9` while the flow fails loses nothing, and who looks at ids is told
/// of nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_a_failure_and_its_notification_loses_and_doubles_nothing() -> Result<()> {
    let (folder, receiver) = (tempfile::tempdir()?, WebhookReceiver::start()?);
    let data = folder.path().join("data");
    let mut server = SurefootProcess::start(&data).await?;
    prepare(&server, to_receiver(&receiver), json!({})).await?;
    // Nobody takes it until it was killed: the process dies with the message under way, or before.
    for round in 0..4 {
        receiver.set_down(true)?;
        let (input, ty) = match round % 2 {
            0 => (failing(), "flow.failed"),
            _ => (working(), "flow.recovered"),
        };
        let id = server.run("test-guest", input).await?;
        if round < 2 {
            server.ended(&id).await?;
        }
        server.kill().await?;
        receiver.set_down(false)?;
        server = SurefootProcess::start(&data).await?;
        server.ended(&id).await?;
        let taken = until_taken(&receiver, round + 1).await?;
        assert_eq!(taken.len(), round + 1, "{taken:#?}");
        assert_eq!((&taken[round]["type"], &taken[round]["data"]["execution"]["id"]), (&json!(ty), &json!(id)));
    }
    server.kill().await
}

/// Asks, and writes the path of its form into a file.
fn asking() -> Value {
    let ask = json!({"do": "ask", "name": "deploy", "message": "Deploy 7\nto production?", "path_file": "path.txt"});
    json!({"mode": "script", "steps": [ask]})
}

/// A mail has the link that answers; nothing else has its token: neither what is stored, nor what is shown or logged.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_has_the_link_that_answers_and_nothing_else_has_its_token() -> Result<()> {
    let (folder, smtp) = (tempfile::tempdir()?, SmtpServer::start(SmtpSetup::StartTls)?);
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let mut launch = Launch::new(&data).with(&["--public-url", "http://flows.example.com"]);
    launch.log = Some(std::fs::File::create(&log)?);
    launch.variables.push(("SUREFOOT_LOG".to_owned(), "trace".to_owned()));
    let server = launch.start().await?;
    let config = with(smtp.inputs(), json!({"from": "surefoot@example.com"}));
    prepare(&server, json!({"type": "smtp", "config": config}), json!({"to": ["ada@example.com"]})).await?;
    let run = server.run("test-guest", asking()).await?;
    let notify =
        format!("executions?filter={}", surefoot_tests::server_process::percent_encoded(&of_notify().to_string()));
    let has_ended = |_: StatusCode, page: &Value| page["rows"][0]["ended_at"].is_string();
    let (_, page) = server.until(Method::GET, &notify, None, has_ended).await?;
    let told = &page["rows"][0];
    ensure!(told["status"] == "ENDED_SUCCESS", "{told:#}");
    let mails = smtp.mails()?;
    assert_eq!(mails.len(), 1);
    let text = mails[0].parts[0].text.clone().context("a text")?.replace("\r\n", "\n");
    assert_eq!(mails[0].headers["Subject"], "Surefoot: flow test-guest asks: deploy");
    assert_eq!(mails[0].headers["Auto-Submitted"], "auto-generated");
    assert!(text.contains("Deploy 7\nto production?"), "{text}");
    let (_, path) = text.split_once("http://flows.example.com").context("a link")?;
    let path = path.lines().next().context("a line")?;
    let token = path.strip_prefix("/approve/").context("the link of a form")?.to_owned();
    assert!(token.starts_with("sfa_") && token.len() > 20, "{path}");

    // As somebody with the link alone does it, through the public name.
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.post(format!("{}{path}", server.url())).header("host", "flows.example.com");
    let answer = answer.json(&json!({"payload": "yes"})).send().await?.error_for_status()?.text().await?;
    let row = server.ended(&run).await?;
    assert_eq!(row["output"], json!([["yes", "token of deploy"]]), "{row:#}");

    let mut shown = answer + &page.to_string() + &row.to_string();
    for (kind, ..) in Kind::ALL {
        shown += &server.api(Method::GET, &format!("{}?limit=1000", kind.plural()), None).await?.to_string();
    }
    let id = told["id"].as_str().context("an id")?;
    for what in ["", "/journal", "/log"] {
        shown += &server.api(Method::GET, &format!("executions/{id}{what}"), None).await?.to_string();
    }
    assert!(shown.contains("/approve/sfa_***"), "the search looks at the right things");
    server.kill().await?;
    shown += &std::fs::read_to_string(&log)?;
    let secrets = [token];
    assert_eq!(find_leak(shown.as_bytes(), &secrets), None);
    assert!(search_data(&data, &secrets)? > 10_000);
    Ok(())
}

/// Without a public address a mail names the command; where the rule says so no link is sent; and who has answered in
/// the meantime is asked no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_told_as_long_as_it_is_open() -> Result<()> {
    let (workspace, receiver) = (
        Workspace::open_with(|config| {
            let link = |path: &str| format!("https://flows.example.com{path}");
            let links =
                surefoot_engine::Links { execution: link("/e/"), approval: link("/a/"), answer: link("/approve/") };
            config.links = Some(links);
            let start = "2026-01-01T00:00:00Z".parse().expect("a time");
            config.clock = surefoot_engine::Clock::Manual(surefoot_engine::ManualClock::new(start));
        })?,
        WebhookReceiver::start()?,
    );
    workspace.deploy(&["test-guest"]).await?;
    with_rule(&workspace, &receiver, json!({"on": ["approval"]})).await?;
    let answer = async |run: &str| -> Result<()> {
        let open = json!({"field": "execution_id", "op": "eq", "value": run});
        let rows = workspace.until_rows("approval", open, |rows| rows.len() == 1).await?;
        workspace.engine.answer(rows[0]["id"].as_str().context("an id")?, json!("yes"), "test").await?;
        Ok(())
    };
    let first = workspace.start("test-guest", asking()).await?;
    until_told(&workspace, 1).await?;
    let body = receiver.taken()?.remove(0);
    let approval = &body["data"]["approval"];
    assert_eq!((&body["type"], &approval["name"]), (&json!("approval.asked"), &json!("deploy")));
    let url = approval["answer_url"].as_str().context("a link")?;
    let token = url.strip_prefix("https://flows.example.com/approve/").context("the link of a form")?;
    let asked = workspace.engine.approval_of_token(token).await?;
    assert_eq!((&asked["id"], &asked["execution_id"]), (&approval["id"], &json!(first)));
    assert_eq!(body["data"]["execution"]["url"], format!("https://flows.example.com/e/{first}"));
    assert_eq!(approval["url"], format!("https://flows.example.com/a/{}", asked["id"].as_str().context("an id")?));
    answer(&first).await?;

    workspace.save(Kind::Notification, "told", json!({"is_link_sent": false})).await?;
    let second = workspace.start("test-guest", asking()).await?;
    until_told(&workspace, 2).await?;
    assert_eq!(receiver.taken()?[1]["data"]["approval"]["answer_url"], Value::Null);
    answer(&second).await?;

    receiver.set_down(true)?;
    let third = workspace.start("test-guest", asking()).await?;
    let of_third = workspace.until_rows("execution", of_notify(), |rows| rows.len() == 3).await?;
    until_it_rests(&workspace, of_third[2]["id"].as_str().context("an id")?, 1).await?;
    answer(&third).await?;
    receiver.set_down(false)?;
    workspace.advance(Duration::from_secs(5))?;
    let rows = until_told(&workspace, 3).await?;
    assert!(rows[2]["error_message"].as_str().is_some_and(|said| said.contains("answered meanwhile")), "{:#}", rows[2]);
    assert_eq!(receiver.taken()?.len(), 2);
    Ok(())
}

/// A schedule that cannot start its flow is told of, too, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_cannot_start_its_flow_is_told_of() -> Result<()> {
    let (workspace, receiver) = (Workspace::open_in_still_time()?, WebhookReceiver::start()?);
    workspace.deploy(&["test-guest"]).await?;
    let flow = workspace.record(Kind::Flow, "test-guest").await?;
    with_rule(&workspace, &receiver, json!({"flow_id": "test-guest"})).await?;
    workspace.deploy_as("planner", "test-guest").await?;
    let scheduler = workspace.save(Kind::Scheduler, "planner", json!({"flow_id": "planner"})).await?;
    let schedule = json!({"scheduler_id": scheduler["id"], "flow_id": flow["id"], "is_enabled": true});
    workspace.save(Kind::Schedule, "nightly", schedule).await?;
    until_told(&workspace, 1).await?;
    let body = receiver.taken()?.remove(0);
    assert_eq!((&body["type"], &body["data"]["schedule"]["name"]), (&json!("flow.failed"), &json!("nightly")));
    assert_eq!(body["data"]["flow"]["id"], flow["id"]);
    let iterations = json!({"field": "type", "op": "eq", "value": "SCHEDULE"});
    workspace.advance(Duration::from_secs(3600))?;
    let failed = |rows: &[Value]| rows.iter().filter(|row| row["status"] == "ENDED_ERROR").count() >= 2;
    workspace.until_rows("execution", iterations, failed).await?;
    assert_eq!(workspace.rows("execution", of_notify()).await?.len(), 1);
    Ok(())
}

/// The command line sets, lists and tries rules, and says how it went.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_set_and_tried_on_the_command_line() -> Result<()> {
    let (folder, smtp, receiver) =
        (tempfile::tempdir()?, SmtpServer::start(SmtpSetup::Plain)?, WebhookReceiver::start()?);
    let data = folder.path().join("data");
    let server = SurefootProcess::start(&data).await?;
    server.deploy("test-guest").await?;
    let config = with(smtp.inputs(), json!({"from": "surefoot@example.com"}));
    server.save("connectors/mail", json!({"type": "smtp", "config": config})).await?;
    server.save("connectors/hook", to_receiver(&receiver)).await?;
    let refused = surefoot(&data, &["notification", "set", "by-mail", "--on", "failure", "--connector", "mail"])?;
    assert!(refused.code != 0 && refused.stderr.contains("a mail needs `to`"), "{}", refused.stderr);
    let set = ["notification", "set", "by-mail", "--on", "failure,recovery", "--connector", "mail"];
    let set = [&set[..], &["--to", "ada@example.com,bob@example.com", "--flow", "test-guest", "--enable"]].concat();
    assert_eq!(surefoot(&data, &set)?.code, 0);
    assert_eq!(surefoot(&data, &["notification", "set", "by-http", "--on", "failure", "--connector", "hook"])?.code, 0);
    let listed = surefoot(&data, &["notification", "list"])?.stdout;
    assert!(listed.contains("by-mail") && listed.contains("by-http") && listed.contains("test-guest"), "{listed}");
    let tested = surefoot(&data, &["notification", "test", "by-mail"])?;
    assert_eq!(tested.code, 0, "{}", tested.stderr);
    let mails = smtp.mails()?;
    assert_eq!(mails[0].to, ["ada@example.com", "bob@example.com"]);
    assert_eq!(mails[0].headers["Subject"], "Surefoot: test of the notification by-mail");
    let tested = surefoot_json(&data, &["notification", "test", "by-http"])?;
    assert_eq!((&tested["ok"], &tested["output"]["status_code"]), (&json!(true), &json!(204)), "{tested:#}");
    assert_eq!(kinds(&receiver.taken()?), ["notification.test"]);
    receiver.set_down(true)?;
    let tested = surefoot(&data, &["notification", "test", "by-http"])?;
    assert!(tested.code == 1 && tested.stderr.contains("503"), "{} {}", tested.code, tested.stderr);
    server.kill().await
}
