//! Webhooks over real HTTP.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_fixtures::Targets;
use surefoot_tests::workspace::{BREAKABLE, Workspace, ensure_success, expected_body};

/// The caller gets the status and the body that the example returns: 200 when all is well, 500 with what failed.
#[tokio::test(flavor = "multi_thread")]
async fn c_25_the_caller_gets_the_verdict() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open()?;
    workspace.prepare_upgrade_check(&targets).await?;
    workspace.webhook("upgrade-check", "upgrade-safely", json!({})).await?;
    let server = workspace.serve().await?;
    for (status, labels) in [(StatusCode::OK, vec![]), (StatusCode::INTERNAL_SERVER_ERROR, vec![BREAKABLE[3].1])] {
        let answer = server.webhook(Method::POST, "upgrade-check", "").send().await?;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.text().await?, expected_body(&labels));
        targets.break_system("smtp").await?;
    }
    Ok(())
}

/// Status, headers, content type and body are those of the flow; started without a webhook they are its output.
#[tokio::test(flavor = "multi_thread")]
async fn c_26_a_response_is_sent_or_stored_as_the_output() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    workspace.webhook("respond", "test-guest", json!({})).await?;
    let server = workspace.serve().await?;
    let respond = json!({
        "mode": "respond", "status": 418, "body": "<p>tea</p>", "content_type": "text/html",
        "headers": [["X-Pot", "small"], ["X-Pot", "brown"]],
    });

    let answer = server.webhook(Method::POST, "respond", "").json(&respond).send().await?;
    assert_eq!(answer.status().as_u16(), 418);
    assert_eq!(answer.headers()["content-type"], "text/html");
    let pots: Vec<_> = answer.headers().get_all("x-pot").iter().collect();
    assert_eq!(pots, ["small", "brown"]);
    let called = answer.headers()["x-surefoot-execution"].to_str()?.to_owned();
    assert_eq!(answer.text().await?, "<p>tea</p>");

    let row = workspace.run("test-guest", respond).await?;
    ensure_success(&row)?;
    assert_eq!((&row["output"]["status"], &row["output"]["body"]), (&json!(418), &json!("<p>tea</p>")));
    let by_webhook = workspace.engine.execution(&called).await?;
    assert_eq!((&by_webhook["response"], &by_webhook["output"]), (&row["response"], &row["output"]));
    assert_eq!((&by_webhook["created_by"], &row["created_by"]), (&json!("webhook respond"), &json!("test")));
    Ok(())
}

/// A webhook is disabled after its creation, requires a key, and takes POST alone, unless told otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn c_27_a_new_webhook_is_closed() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["hello"]).await?;
    workspace.save(Kind::Webhook, "new", json!({"flow_id": "hello"})).await?;
    let server = workspace.serve().await?;
    let status = async |method: Method, rest: &str| -> Result<StatusCode> {
        Ok(server.webhook(method, "new", rest).send().await?.status())
    };
    assert_eq!(status(Method::POST, "").await?, StatusCode::NOT_FOUND);
    workspace.save(Kind::Webhook, "new", json!({"is_enabled": true})).await?;
    assert_eq!(status(Method::POST, "").await?, StatusCode::FORBIDDEN, "it requires a key and has none");
    let (engine, key) = (&workspace.engine, surefoot_engine::WebhookCredential::Key);
    engine.set_webhook_credential("new", key, Some("right"), None, "test").await?;
    assert_eq!(status(Method::POST, "").await?, StatusCode::UNAUTHORIZED);
    assert_eq!(status(Method::POST, "?key=wrong").await?, StatusCode::UNAUTHORIZED);
    assert_eq!(status(Method::GET, "?key=right").await?, StatusCode::METHOD_NOT_ALLOWED);
    assert!(workspace.rows("execution", json!({"field": "name", "op": "eq", "value": "hello"})).await?.is_empty());

    assert_eq!(status(Method::POST, "?key=right").await?, StatusCode::OK);
    let in_body = server.webhook(Method::POST, "new", "").json(&json!({"key": "right", "a": 1})).send().await?;
    assert_eq!(in_body.status(), StatusCode::OK);
    let seen: Value = in_body.json().await?;
    assert_eq!(seen["json"], json!({"a": 1}), "the flow does not see the key");
    Ok(())
}

/// All six methods can be used, paths below the webhook and the query reach the flow, and the answer is its output.
#[tokio::test(flavor = "multi_thread")]
async fn c_27_methods_paths_and_queries_reach_the_flow() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["hello"]).await?;
    let methods = [Method::GET, Method::DELETE, Method::HEAD, Method::POST, Method::PUT, Method::PATCH];
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    workspace.webhook("open", "hello", json!({"methods": names})).await?;
    let server = workspace.serve().await?;
    for method in methods {
        let answer = server.webhook(method.clone(), "open", "/below/it?a=1&b=x%20y").send().await?;
        assert_eq!(answer.status(), StatusCode::OK, "{method}");
        let execution = answer.headers()["x-surefoot-execution"].to_str()?.to_owned();
        let body = answer.text().await?;
        let row = workspace.engine.execution(&execution).await?;
        let (input, output) = (&row["input"], &row["output"]);
        assert_eq!((&input["method"], &input["path"]), (&json!(method.as_str()), &json!("below/it")));
        assert_eq!(input["query"], json!({"a": "1", "b": "x y"}));
        match method {
            Method::HEAD => assert_eq!(body, ""),
            _ => assert_eq!(&serde_json::from_str::<Value>(&body)?, output),
        }
    }
    Ok(())
}

/// With `async=1` the caller gets 202 and the id at once, however long the flow takes.
#[tokio::test(flavor = "multi_thread")]
async fn c_27_an_asynchronous_call_returns_at_once() -> Result<()> {
    // Time stands still: an answer that waited for the flow would never come.
    let workspace = Workspace::open_in_still_time()?;
    workspace.deploy(&["long-sleep"]).await?;
    workspace.webhook("sleeper", "long-sleep", json!({})).await?;
    let server = workspace.serve().await?;
    let answer = server.webhook(Method::POST, "sleeper", "?async=1").send().await?;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let id = answer.json::<Value>().await?["id"].as_str().unwrap().to_owned();
    workspace.until(&id, |row| row["status"] == "WAITING").await?;

    let path = format!("executions/{id}/wait?timeout_ms=60000");
    workspace.advance(std::time::Duration::from_secs(3600))?;
    let ended: Value = server.api(Method::GET, &path).send().await?.error_for_status()?.json().await?;
    ensure_success(&ended)?;
    Ok(())
}

/// A body that no reader could read again once it is wrapped is refused, and starts nothing; the deepest one that is
/// taken stays
/// readable.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_nested_too_deep_is_refused_and_starts_nothing() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["hello"]).await?;
    workspace.webhook("deep", "hello", json!({})).await?;
    let server = workspace.serve().await?;
    for depth in 90..130 {
        let body = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let call = server.webhook(Method::POST, "deep", "").header("content-type", "application/json").body(body);
        let status = call.send().await?.status();
        let expected = if depth < 100 {
            status.is_success() || status == StatusCode::BAD_REQUEST
        } else {
            status == StatusCode::BAD_REQUEST
        };
        assert!(expected, "{depth} levels: {status}");
    }
    let list = server.api(Method::GET, "executions").send().await?;
    assert_eq!(list.status(), StatusCode::OK);
    let rows = list.json::<Value>().await?["rows"].as_array().map_or(0, Vec::len);
    assert!((1..100 - 90 + 1).contains(&rows), "{rows} executions were started");
    Ok(())
}
