//! Webhooks over real HTTP, with real flows: what a flow sees of a call, and what a caller gets at each kind of end.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use surefoot_tests::servers::venv_program;
use surefoot_tests::workspace::{Server, Workspace};

const KEY: &str = "correct-horse";

/// A workspace with the webhook `hook`, which starts that example flow.
async fn workspace(flow: &str, fields: Value) -> Result<Workspace> {
    let workspace = Workspace::open()?;
    workspace.deploy(&[flow]).await?;
    workspace.webhook("hook", flow, fields).await?;
    Ok(workspace)
}

async fn set_key(server: &Server) -> Result<()> {
    let body = json!({ "key": KEY }).to_string();
    server.api(Method::POST, "webhooks/hook/key").body(body).send().await?.error_for_status()?;
    Ok(())
}

fn with_json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

async fn document(answer: Response, status: u16) -> Result<Value> {
    let (found, text) = (answer.status().as_u16(), answer.text().await?);
    ensure!(found == status, "{found} instead of {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

fn execution_of(answer: &Response) -> Result<String> {
    let header = answer.headers().get("x-surefoot-execution").context("no header X-Surefoot-Execution")?;
    Ok(header.to_str()?.to_owned())
}

/// The execution that a call has started, as soon as it waits.
async fn waiting_execution(workspace: &Workspace) -> Result<String> {
    let waits = json!({"field": "status", "op": "eq", "value": "WAITING"});
    let rows = workspace.until_rows("execution", waits, |rows| rows.len() == 1).await?;
    Ok(rows[0]["id"].as_str().context("every row has an id")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_taken_from_six_places_and_left_nowhere() -> Result<()> {
    let workspace = workspace("hello", json!({ "is_key_required": null })).await?;
    let server = workspace.serve().await?;
    set_key(&server).await?;
    let post = |rest: &str| server.webhook(Method::POST, "hook", rest);
    let body = json!({"version": 2});
    let multipart = format!(
        "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n{KEY}\r\n\
         --x\r\nContent-Disposition: form-data; name=\"version\"\r\n\r\n2\r\n--x--\r\n"
    );
    let form = |ty: &str, body: String| post("?a=1").header("Content-Type", ty).body(body);
    let calls = [
        form("application/x-www-form-urlencoded", format!("version=2&key={KEY}")),
        form("multipart/form-data; boundary=x", multipart),
        with_json(post(&format!("?key={KEY}&a=1")), &body),
        with_json(post("?a=1"), &body).header("X-Surefoot-Key", KEY),
        with_json(post("?a=1"), &body).bearer_auth(KEY),
        with_json(post("?a=1"), &json!({"version": 2, "key": KEY})),
        // All at once, and a cookie, which is nobody's business.
        with_json(post(&format!("?key={KEY}&a=1")), &json!({"version": 2, "key": KEY}))
            .header("X-Surefoot-Key", KEY)
            .bearer_auth(KEY)
            .header("Cookie", "session=1"),
    ];
    for call in calls {
        let answer = call.send().await?;
        let id = execution_of(&answer)?;
        let seen = document(answer, 200).await?;
        assert_eq!(seen["query"], json!({"a": "1"}));
        assert!(seen["json"] == body || seen["json"] == json!({"version": "2"}), "{seen}");
        for hidden in ["authorization", "x-surefoot-key", "cookie"] {
            assert!(seen["headers"].get(hidden).is_none(), "{hidden} in {seen}");
        }
        let stored = [workspace.engine.execution(&id).await?, json!(workspace.engine.journal(&id).await?)];
        assert!(stored.iter().all(|shown| !shown.to_string().contains(KEY)), "the key stands in {stored:?}");
    }
    let wrong = with_json(post("?key=battery"), &json!({ "key": "staple" })).bearer_auth("x").send().await?;
    assert_eq!(document(wrong, 401).await?["code"], "unauthorized");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_sees_method_path_query_headers_and_body() -> Result<()> {
    let workspace = workspace("hello", json!({"methods": ["GET", "HEAD", "POST", "PUT"]})).await?;
    let server = workspace.serve().await?;
    let form = server.webhook(Method::POST, "hook", "/jobs/7%20b?x=1&x=2");
    let form = form.header("Content-Type", "application/x-www-form-urlencoded").body("a=1&b=x+y");
    let answer = form.header("X-From", "test").send().await?;
    for (name, value) in [("content-security-policy", "sandbox"), ("x-content-type-options", "nosniff")] {
        assert_eq!(answer.headers()[name], value);
    }
    assert_eq!(answer.headers()["content-type"], "application/json");
    let mut seen = document(answer, 200).await?;
    assert_eq!(seen["headers"]["x-from"], "test");
    seen["headers"].take();
    let expected = json!({
        "method": "POST", "path": "jobs/7 b", "query": {"x": ["1", "2"]}, "headers": null,
        "json": {"a": "1", "b": "x y"}, "body": null, "body_is_base64": false, "files": [],
    });
    assert_eq!(seen, expected);

    let binary = server.webhook(Method::PUT, "hook", "/").body(vec![0xff, 0xfe]).send().await?;
    let seen = document(binary, 200).await?;
    assert_eq!((&seen["path"], &seen["json"], &seen["body"]), (&json!(""), &Value::Null, &json!("//4=")));
    assert_eq!(seen["body_is_base64"], true);

    let head = server.webhook(Method::HEAD, "hook", "").send().await?;
    assert_eq!(head.status(), 200);
    execution_of(&head)?;
    assert!(head.bytes().await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_call_gets_the_id_of_what_runs() -> Result<()> {
    let workspace = workspace("long-sleep", json!({})).await?;
    let server = workspace.serve().await?;
    let answer = server.webhook(Method::POST, "hook", "?async=1").send().await?;
    let header = execution_of(&answer)?;
    assert_eq!(answer.headers()["location"], format!("/api/v1/executions/{header}").as_str());
    let body = document(answer, 202).await?;
    assert_eq!(body, json!({ "id": header, "url": format!("/api/v1/executions/{header}") }));
    let row = workspace.until(&header, |row| row["status"] == "WAITING").await?;
    assert_eq!(row["created_by"], "webhook hook");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_the_caller_is_let_go_and_the_flow_runs_on() -> Result<()> {
    let workspace = workspace("long-sleep", json!({})).await?;
    let server = workspace.serve_with(|options| options.webhook_deadline = Duration::from_millis(300)).await?;
    let call = || server.webhook(Method::POST, "hook", "").header("Idempotency-Key", "release-7");
    let (first, again) = (call().send().await?, call().send().await?);
    let id = execution_of(&first)?;
    assert_eq!(execution_of(&again)?, id, "the second call joined the first");
    let problem = document(first, 504).await?;
    assert_eq!((&problem["code"], &problem["execution_id"]), (&json!("timeout"), &json!(id)));
    let row = workspace.until(&id, |row| row["status"] == "WAITING").await?;
    assert!(row["ended_at"].is_null());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_joined_get_one_answer_and_a_cancelled_run_is_no_success() -> Result<()> {
    let workspace = workspace("long-sleep", json!({})).await?;
    let server = workspace.serve().await?;
    let call = || server.webhook(Method::POST, "hook", "").header("Idempotency-Key", "release-7").send();
    let cancelled = async {
        let id = waiting_execution(&workspace).await?;
        workspace.engine.cancel(&id, "test").await?;
        anyhow::Ok(id)
    };
    let (first, second, id) = tokio::join!(call(), call(), cancelled);
    let (first, second, id) = (first?, second?, id?);
    assert_eq!((execution_of(&first)?, execution_of(&second)?), (id.clone(), id.clone()));
    let problem = document(first, 500).await?;
    assert_eq!((&problem["code"], &problem["execution_id"]), (&json!("cancelled"), &json!(id)));
    assert_eq!(document(second, 500).await?, problem);
    // Also long after the end.
    assert_eq!(document(call().await?, 500).await?, problem);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_stops_nothing() -> Result<()> {
    let workspace = Workspace::open_in_still_time()?;
    workspace.deploy(&["long-sleep"]).await?;
    workspace.webhook("hook", "long-sleep", json!({})).await?;
    let server = workspace.serve().await?;
    let id = tokio::select! {
        answer = server.webhook(Method::POST, "hook", "").send() => panic!("answered before the end: {answer:?}"),
        id = waiting_execution(&workspace) => id?,
    };
    workspace.advance(Duration::from_secs(3600))?;
    let row = workspace.ended(&id).await?;
    assert_eq!((&row["status"], &row["output"]["slept_seconds"]), (&json!("ENDED_SUCCESS"), &json!(3600.0)));
    Ok(())
}

/// A form's files, and a long body that is no text, are files of the workspace, for the flow too; they are named by the
/// execution and go with it.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_form_are_stored_and_a_flow_reads_them() -> Result<()> {
    let workspace = workspace("hello", json!({})).await?;
    workspace.deploy(&["test-guest"]).await?;
    let server = workspace.serve().await?;
    let body = "--x\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nMärz\r\n\
         --x\r\nContent-Disposition: form-data; name=\"report\"; filename=\"../a b.csv\"\r\n\
         Content-Type: text/csv\r\n\r\n1;2\r\n\r\n--x--\r\n";
    let call = || {
        let call = server.webhook(Method::POST, "hook", "").header("Content-Type", "multipart/form-data; boundary=x");
        call.header("Idempotency-Key", "once").body(body).send()
    };
    let answer = call().await?;
    let id = execution_of(&answer)?;
    let seen = document(answer, 200).await?;
    assert_eq!((&seen["json"], &seen["body"]), (&json!({"title": "März"}), &Value::Null));
    let file = &seen["files"][0];
    let expected = json!({
        "field": "report", "file_name": "../a b.csv", "content_type": "text/csv", "size_bytes": 5,
        "name": format!("executions/{id}/1/a b.csv"), "sha256": hex::encode(Sha256::digest("1;2\r\n")),
    });
    assert_eq!(file, &expected);
    let read = json!({"mode": "script", "steps": [{"do": "read", "file": file["name"]}]});
    assert_eq!(workspace.run("test-guest", read).await?["output"], json!(["1;2\r\n"]));

    // Who joins brings nothing.
    assert_eq!(document(call().await?, 200).await?, seen);
    assert_eq!(workspace.rows("file", json!({"field": "name", "op": "like", "value": "executions/%"})).await?.len(), 1);

    let long = vec![0xff; 100_000];
    let long = server.webhook(Method::POST, "hook", "").header("Content-Type", "image/png").body(long).send().await?;
    let seen = document(long, 200).await?;
    assert_eq!((&seen["body"], &seen["files"][0]["field"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&seen["files"][0]["size_bytes"], &seen["files"][0]["content_type"]),
        (&json!(100_000), &json!("image/png"))
    );
    Ok(())
}

/// What the specification's own library for Python signs is let in, once; what it does not sign is not.
#[tokio::test(flavor = "multi_thread")]
async fn the_library_of_standard_webhooks_is_a_caller() -> Result<()> {
    let workspace = workspace("hello", json!({})).await?;
    let server = workspace.serve().await?;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let other = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let set = async |body: Value| {
        let request = server.api(Method::POST, "webhooks/hook/signing-secret").body(body.to_string());
        anyhow::Ok(request.send().await?.error_for_status()?)
    };
    set(json!({ "secret": secret })).await?;
    let sign = async |secret: &str, id: &str, age: i64, body: &str| {
        let mut client = tokio::process::Command::new(venv_program("python")?);
        client.arg(xtask::repo::root().join("tests/servers/standard_webhook.py"));
        let output = client.args([secret, id, &age.to_string(), body]).kill_on_drop(true).output().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        anyhow::Ok(serde_json::from_slice::<HashMap<String, String>>(&output.stdout)?)
    };
    let send = async |headers: &HashMap<String, String>, rest: &str, body: &str| {
        let request = headers
            .iter()
            .fold(server.webhook(Method::POST, "hook", rest), |request, (name, value)| request.header(name, value));
        anyhow::Ok(request.header("content-type", "application/json").body(body.to_owned()).send().await?)
    };

    let body = r#"{"type": "invoice.paid", "näme": "ü"}"#;
    let signed = sign(secret, "msg_1", 0, body).await?;
    let first = send(&signed, "", body).await?;
    let id = execution_of(&first)?;
    let seen = document(first, 200).await?;
    assert_eq!((&seen["json"]["type"], &seen["headers"]["webhook-id"]), (&json!("invoice.paid"), &json!("msg_1")));
    assert!(seen["headers"].get("webhook-signature").is_none(), "{seen}");

    // The same once more, and with what is not signed changed: the first answer, and nothing new.
    let mut overheard = signed.clone();
    overheard.insert("Idempotency-Key".into(), "another".into());
    for (headers, rest) in [(&signed, ""), (&overheard, "/below?x=1")] {
        let again = send(headers, rest, body).await?;
        assert_eq!(execution_of(&again)?, id);
        assert_eq!(document(again, 200).await?, seen);
    }
    let both = format!("{} {}", sign(other, "msg_2", 0, body).await?["webhook-signature"], "v1,AAAA");
    for (headers, body) in [
        (sign(secret, "msg_2", 301, body).await?, body),
        (sign(secret, "msg_2", -310, body).await?, body),
        (sign(secret, "msg_2", 0, body).await?, "{}"),
        (sign(other, "msg_2", 0, body).await?, body),
        (HashMap::from([("webhook-signature".to_owned(), both.clone())]), body),
    ] {
        assert_eq!(document(send(&headers, "", body).await?, 401).await?["code"], "unauthorized");
    }

    // While a secret is replaced both are good, and a sender may sign with both.
    set(json!({"secret": other, "old_seconds": 600})).await?;
    for (id, secret) in [("msg_3", secret), ("msg_4", other)] {
        document(send(&sign(secret, id, 0, body).await?, "", body).await?, 200).await?;
    }
    let (mut headers, old) = (sign(other, "msg_5", 0, body).await?, sign(secret, "msg_5", 0, body).await?);
    let several = format!("{} {}", old["webhook-signature"], headers["webhook-signature"]);
    headers.insert("webhook-signature".into(), several);
    set(json!({ "secret": other })).await?;
    document(send(&headers, "", body).await?, 200).await?;
    document(send(&sign(secret, "msg_6", 0, body).await?, "", body).await?, 401).await?;
    let all = json!({"field": "type", "op": "eq", "value": "FLOW"});
    assert_eq!(workspace.rows("execution", all).await?.len(), 4, "msg_1, 3, 4 and 5");
    Ok(())
}
