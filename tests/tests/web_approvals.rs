//! Questions of flows, answered over real HTTP: by form, by JSON, by those who have an account; through a `kill -9`.

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use surefoot_fixtures::Targets;
use surefoot_tests::command::{surefoot, surefoot_json};
use surefoot_tests::server_process::{SurefootProcess, percent_encoded};

#[path = "../../web/tests/api/conformance.rs"]
mod conformance;

/// The input of a guest that asks, and puts the path of the form into a file.
fn ask(schema: &Value) -> Value {
    let message = "Deploy <b>7</b>\nto production?";
    let ask = json!({"do": "ask", "name": "deploy", "message": message, "schema": schema, "path_file": "path.txt"});
    json!({"mode": "script", "steps": [ask]})
}

fn form() -> Value {
    json!({
        "type": "object",
        "properties": {
            "go": {"type": "boolean", "title": "Deploy"},
            "hosts": {"type": "integer", "minimum": 1},
            "reason": {"type": "string", "minLength": 3},
        },
        "required": ["hosts"],
        "additionalProperties": false,
    })
}

/// The path of the form, once it is there.
async fn path_of_form(server: &SurefootProcess) -> Result<String> {
    server.until(Method::GET, "files/path.txt", None, |status, _| status.is_success()).await?;
    let content = server.request(Method::GET, "files/path.txt/content").send().await?.error_for_status()?;
    Ok(content.text().await?)
}

/// An answer. All are held against the OpenAPI document but pages, which it does not describe.
async fn send(request: reqwest::RequestBuilder) -> Result<(StatusCode, String)> {
    let (client, request) = request.build_split();
    let request = request?;
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await?;
    let (status, headers, text) = (response.status(), response.headers().clone(), response.text().await?);
    if !path.starts_with("/ui/") {
        conformance::check(&method, &path, status, &headers, text.as_bytes());
    }
    Ok((status, text))
}

/// A form as a browser sends it.
fn filled(request: reqwest::RequestBuilder, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let pair = |(name, value): &(&str, &str)| format!("{}={}", percent_encoded(name), percent_encoded(value));
    let pairs: Vec<_> = fields.iter().map(pair).collect();
    request.header("content-type", "application/x-www-form-urlencoded").body(pairs.join("&"))
}

fn is_private(response: &reqwest::Response) -> Result<()> {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ensure!(header("referrer-policy") == "no-referrer" && header("cache-control") == "no-store");
    let policy = header("content-security-policy");
    ensure!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    ensure!(!policy.contains("script") && !policy.contains("unsafe"), "{policy}");
    Ok(())
}

/// Who has the link needs nothing else; looking uses nothing up, and nothing shown or logged has the token.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_answers_without_an_account_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let data = folder.path().join("data");
    let mut launch = surefoot_tests::server_process::Launch::new(&data);
    launch.log = Some(std::fs::File::create(&log)?);
    let server = launch.start().await?;
    server.deploy("test-guest").await?;
    let id = server.run("test-guest", ask(&form())).await?;
    let path = path_of_form(&server).await?;
    let url = format!("{}{path}", server.url());
    let client = reqwest::Client::builder().no_proxy().build()?;

    for _ in 0..3 {
        let page = client.get(&url).header("accept", "text/html,*/*").send().await?.error_for_status()?;
        is_private(&page)?;
        let page = page.text().await?;
        ensure!(page.contains("<h1>Deploy &lt;b&gt;7&lt;/b&gt;\nto production?</h1>"), "{page}");
        ensure!(page.contains("<form method=\"post\">") && page.contains("name=\"hosts\""), "{page}");
    }
    let (status, page) = send(filled(client.post(&url), &[("hosts", "0"), ("reason", "\"now\"")])).await?;
    ensure!(status == 422 && page.contains("field `hosts`: ") && page.contains("value=\"&quot;now&quot;\""), "{page}");
    let (status, page) = send(filled(client.post(&url), &[("hosts", "many")])).await?;
    ensure!(status == 422 && page.contains("no whole number"), "{page}");
    let (status, _) = send(filled(client.post(format!("{url}0")), &[("hosts", "1")])).await?;
    ensure!(status == 404, "{status}");

    let answer = [("go", "true"), ("hosts", "3"), ("reason", "it is time")];
    let (status, page) = send(filled(client.post(&url), &answer)).await?;
    ensure!(status == 200 && page.contains("Your answer was recorded at "), "{status} {page}");
    let row = server.ended(&id).await?;
    let payload = json!({"go": true, "hosts": 3, "reason": "it is time"});
    ensure!(row["output"] == json!([[payload, "token of deploy"]]), "{row:#}");
    let (status, again) = send(filled(client.post(&url), &answer)).await?;
    ensure!((status.as_u16(), &again) == (200, &page), "the same answer again has the same reply: {again}");
    let (status, page) = send(filled(client.post(&url), &[("hosts", "4")])).await?;
    ensure!(status == 409 && page.contains("answered by token of deploy at "), "{status} {page}");
    let (status, page) = send(client.get(&url)).await?;
    ensure!(status == 200 && page.contains("It was answered by token of deploy at "), "{status} {page}");
    let (status, said) = send(client.get(&url).header("accept", "application/json")).await?;
    ensure!(status == 200 && serde_json::from_str::<Value>(&said)?["status"] == "answered", "{said}");

    let token = path.trim_start_matches("/approve/");
    let journal = json!(server.journal(&id).await?).to_string();
    let lines = server.api(Method::GET, &format!("executions/{id}/log"), None).await?.to_string();
    let row = server.api(Method::GET, &format!("executions/{id}"), None).await?.to_string();
    let list = server.api(Method::GET, "approvals", None).await?.to_string();
    for (what, text) in [("journal", journal), ("log", lines), ("row", row), ("list", list)] {
        ensure!(!text.contains(token), "the {what} has the token: {text}");
    }
    server.kill().await?;
    ensure!(!std::fs::read_to_string(&log)?.contains(token), "the server's log has the token");
    Ok(())
}

/// The token is a function of the workspace's key and of the question: a process that never made it knows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_from_before_a_kill_works_after_it_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = SurefootProcess::start(&data).await?;
    server.deploy("test-guest").await?;
    let id = server.run("test-guest", ask(&json!({"enum": ["yes", "no"]}))).await?;
    let path = path_of_form(&server).await?;
    let token = path.trim_start_matches("/approve/");
    server.kill().await?;

    let server = SurefootProcess::start(&data).await?;
    let shown = surefoot_json(&data, &["approval", "show", token])?;
    ensure!(shown["status"] == "open" && shown["name"] == "deploy", "{shown:#}");
    let wrong = surefoot(&data, &["approval", "answer", token, "--payload", "\"perhaps\""])?;
    ensure!(wrong.code == 64 && wrong.stderr.contains("is not one of"), "{wrong:?}");
    let answered = surefoot_json(&data, &["approval", "answer", token, "--payload", "\"yes\""])?;
    ensure!(answered["status"] == "answered", "{answered:#}");
    // The answer is durable; whoever is to hear of it is killed.
    server.kill().await?;

    let server = SurefootProcess::start(&data).await?;
    let row = server.ended(&id).await?;
    ensure!(row["output"] == json!([["yes", "token of deploy"]]), "{row:#}");
    let again = surefoot_json(&data, &["approval", "answer", token, "--payload", "\"yes\""])?;
    ensure!(again == answered, "{again:#}");
    let other = surefoot(&data, &["approval", "answer", token, "--payload", "\"no\""])?;
    ensure!(other.code == 64 && other.stderr.contains("was answered by token of deploy at"), "{other:?}");
    Ok(())
}

/// By API and command line; a signal of that name is an answer too.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_are_asked_answer_by_api_and_command_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = SurefootProcess::start(&data).await?;
    server.deploy("ask-first").await?;
    let operator = json!({"name": "o", "role": "operator"});
    let operator = server.api(Method::POST, "tokens", Some(operator)).await?["token"].clone();
    let operator = operator.as_str().context("a token")?.to_owned();
    let client = reqwest::Client::builder().no_proxy().build()?;
    for by_signal in [false, true] {
        let id = server.run("ask-first", json!({"version": "7"})).await?;
        let open = "approvals?filter=%7B%22field%22:%22status%22,%22op%22:%22eq%22,%22value%22:%22open%22%7D";
        let has_one = |_, page: &Value| page["rows"].as_array().is_some_and(|rows| rows.len() == 1);
        let (_, page) = server.until(Method::GET, open, None, has_one).await?;
        let asked = &page["rows"][0];
        ensure!(asked["message"] == "Deploy version 7 to production?" && asked["roles"] == json!(["author"]), "{page}");
        let approval = asked["id"].as_str().context("an id")?;
        let answer = format!("{}/api/v1/approvals/{approval}/answer", server.url());
        let payload = json!({"payload": {"go": true, "reason": "it is time"}});
        let (status, said) = send(server.request(Method::GET, &format!("approvals/{approval}"))).await?;
        ensure!(status == 200 && serde_json::from_str::<Value>(&said)? == *asked, "{status} {said}");
        let (status, said) = send(client.post(&answer).bearer_auth(&operator).json(&payload)).await?;
        ensure!(status == 403 && said.contains("token o may not answer"), "{status} {said}");
        let (status, said) = send(server.request(Method::POST, &format!("approvals/{approval}/answer")).json(&json!({
            "payload": {"go": "yes"},
        })))
        .await?;
        ensure!(status == 422 && said.contains("field `go`: "), "{status} {said}");

        let given = payload["payload"].to_string();
        if by_signal {
            surefoot_json(&data, &["execution", "signal", &id, "deploy", "--payload", &given])?;
        } else {
            surefoot_json(&data, &["approval", "answer", approval, "--payload", &given])?;
        }
        let row = server.ended(&id).await?;
        ensure!(row["output"] == json!({"deploy": true, "by": "local", "reason": "it is time"}), "{row:#}");
        let listed = surefoot(&data, &["approvals", "list"])?;
        ensure!(
            listed.code == 0 && listed.stdout.contains("answered") && listed.stdout.contains("deploy"),
            "{listed:?}"
        );
    }
    let id = server.run("ask-first", json!({"seconds": 0.05})).await?;
    let row = server.ended(&id).await?;
    ensure!(row["output"]["reason"] == "nobody answered in time", "{row:#}");
    let late = surefoot(&data, &["execution", "signal", &id, "deploy", "--payload", r#"{"go": true}"#])?;
    ensure!(late.code == 64 && late.stderr.contains("takes no answer: it was open until"), "{late:?}");
    Ok(())
}

/// The page of a question: its form, the answer once more, and who gave it. What does not fit is told, and kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_answers_after_it_has_shown_the_answer_once_more() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = SurefootProcess::start(&folder.path().join("data")).await?;
    server.deploy("test-guest").await?;
    let id = server.run("test-guest", ask(&form())).await?;
    path_of_form(&server).await?;
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let get = |path: &str| client.get(format!("{}{path}", server.url())).bearer_auth(server.token());
    let post = |path: &str, fields: &[(&str, &str)]| {
        filled(client.post(format!("{}{path}", server.url())).bearer_auth(server.token()), fields)
    };
    let asked = server.api(Method::GET, "approvals", None).await?["rows"][0].clone();
    let path = format!("/ui/approvals/{}", asked["id"].as_str().context("an id")?);
    let (_, list) = send(get("/ui/approvals")).await?;
    ensure!(list.contains(&path) && list.contains("Deploy &#60;b&#62;7&#60;/b&#62;"), "{list}");
    let (_, page) = send(get(&path)).await?;
    ensure!(page.contains("name=\"hosts\"") && page.contains("the role operator"), "{page}");

    let (status, page) = send(post(&format!("{path}/confirm"), &[("hosts", "0"), ("reason", "<now>")])).await?;
    ensure!(status == 422 && page.contains("value=\"&lt;now&gt;\""), "{status} {page}");
    let answer = [("go", "true"), ("hosts", "3"), ("reason", "it is time")];
    let (status, page) = send(post(&format!("{path}/confirm"), &answer)).await?;
    ensure!(status == 200 && page.contains("Is this your answer?") && page.contains("&quot;hosts&quot;: 3"), "{page}");
    let (status, page) = send(post(&format!("{path}/change"), &answer)).await?;
    ensure!(status == 200 && page.contains("value=\"it is time\""), "{status} {page}");
    ensure!(server.api(Method::GET, "approvals", None).await?["rows"][0]["status"] == "open", "nothing counts yet");
    let (status, _) = send(post(&format!("{path}/answer"), &answer)).await?;
    ensure!(status == 303, "{status}");
    let row = server.ended(&id).await?;
    ensure!(row["output"] == json!([[{"go": true, "hosts": 3, "reason": "it is time"}, "api"]]), "{row:#}");

    let (_, page) = send(get(&path)).await?;
    ensure!(page.contains("by api") && !page.contains("/confirm\""), "{page}");
    let (status, page) = send(post(&format!("{path}/answer"), &[("hosts", "4")])).await?;
    ensure!(status == 409 && page.contains("was answered by api"), "{status} {page}");
    Ok(())
}

/// Elsewhere nobody learns that something is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_in_reach_where_its_flow_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = SurefootProcess::start(&folder.path().join("data")).await?;
    server.deploy("test-guest").await?;
    let mut tokens = Vec::new();
    for project in ["a", "b"] {
        let made = server.api(Method::POST, "projects", Some(json!({"name": project}))).await?;
        let token = json!({"name": format!("of {project}"), "role": "operator", "project_id": made["id"]});
        let token = server.api(Method::POST, "tokens", Some(token)).await?;
        tokens.push(token["token"].as_str().context("a token")?.to_owned());
        if project == "a" {
            server.save("flows/test-guest", json!({"project_id": made["id"]})).await?;
        }
    }
    let id = server.run("test-guest", ask(&form())).await?;
    path_of_form(&server).await?;
    let asked = server.api(Method::GET, "approvals", None).await?["rows"][0].clone();
    let path = format!("/api/v1/approvals/{}", asked["id"].as_str().context("an id")?);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = |path: &str| format!("{}{path}", server.url());
    for (token, there) in [(&tokens[1], false), (&tokens[0], true)] {
        let (status, listed) = send(client.get(url("/api/v1/approvals")).bearer_auth(token)).await?;
        let rows = serde_json::from_str::<Value>(&listed)?["rows"].as_array().map(Vec::len);
        ensure!((status.as_u16(), rows) == (200, Some(usize::from(there))), "{status} {listed}");
        let (status, said) = send(client.get(url(&path)).bearer_auth(token)).await?;
        ensure!(status == if there { 200 } else { 404 }, "{status} {said}");
        let answer = json!({"payload": {"hosts": 2}});
        let request = client.post(url(&format!("{path}/answer"))).bearer_auth(token).json(&answer);
        let (status, said) = send(request).await?;
        ensure!(status == if there { 200 } else { 404 }, "{status} {said}");
    }
    ensure!(server.ended(&id).await?["output"][0][1] == "token of a");
    Ok(())
}

/// The link arrives, whole, in a mail; what the journal shows of the mail has no token.
#[tokio::test(flavor = "multi_thread")]
async fn a_mailed_link_answers() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = surefoot_tests::workspace::Workspace::open()?;
    workspace.save_connectors(&targets).await?;
    workspace.deploy(&["ask-first"]).await?;
    let input = json!({"version": "7", "mail_to": "boss@example.com", "server": "http://surefoot.example/"});
    let id = workspace.start("ask-first", input).await?;
    let mail = workspace.eventually(async || Ok(targets.smtp.mails().pop())).await?;
    // Long lines are cut for the way.
    let text = mail.body().replace("=\r\n", "");
    let after =
        text.split_once("http://surefoot.example/approve/").with_context(|| format!("there is no link in {text}"))?.1;
    let token: String = after.chars().take_while(|sign| sign.is_ascii_alphanumeric() || *sign == '_').collect();
    workspace.engine.answer_by_token(&token, json!({"go": false, "reason": "not today"})).await?;
    let row = workspace.ended(&id).await?;
    ensure!(row["output"]["reason"] == "not today" && row["output"]["by"] == "token of deploy", "{row:#}");
    let journal = json!(workspace.engine.journal(&id).await?).to_string();
    ensure!(journal.contains("surefoot.example/approve/sfa_***") && !journal.contains(&token), "{journal}");
    Ok(())
}
