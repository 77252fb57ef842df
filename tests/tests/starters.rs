//! Executions act with the role of who started them, capped by their flow: with the real binary and a real component.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use surefoot_tests::command::{surefoot, surefoot_json};
use surefoot_tests::server_process::{SurefootProcess, answer};

/// A server with the projects shop and site, the same flow in each of them and in none, and tokens for shop.
struct World {
    server: SurefootProcess,
    data: tempfile::TempDir,
    operator: String,
    author: String,
}

impl World {
    async fn new() -> Result<Self> {
        let data = tempfile::tempdir()?;
        let server = SurefootProcess::start(data.path()).await?;
        let component = std::fs::read(xtask::flows::component("test-guest")?)?;
        for project in ["shop", "site"] {
            server.save(&format!("projects/{project}"), json!({})).await?;
            let flow = format!("{project}-flow");
            server.deploy_component(&flow, component.clone()).await?;
            server.save(&format!("flows/{flow}"), json!({"project_id": project})).await?;
            let setting = json!({"value": "untouched", "project_id": project});
            server.save(&format!("settings/{project}-setting"), setting).await?;
            let connector = json!({"type": "echo", "project_id": project});
            server.save(&format!("connectors/{project}-echo"), connector).await?;
            let path = format!("files/{project}-file/content?project={project}");
            server.request(Method::PUT, &path).body("untouched").send().await?.error_for_status()?;
        }
        server.deploy_component("shared-flow", component).await?;
        let token = async |role: &str| -> Result<String> {
            let fields = json!({"name": role, "role": role, "project_id": "shop"});
            let made = server.api(Method::POST, "tokens", Some(fields)).await?;
            Ok(made["token"].as_str().context("a token")?.to_owned())
        };
        Ok(Self { operator: token("operator").await?, author: token("author").await?, server, data })
    }

    /// Calls the API as who has that token.
    async fn ask(&self, token: &str, path: &str, body: Value) -> Result<Value> {
        let request =
            reqwest::Client::builder().no_proxy().build()?.post(format!("{}/api/v1/{path}", self.server.url()));
        let (status, said) = answer(request.bearer_auth(token).json(&body)).await?;
        ensure!(status.is_success(), "{path} answered {status}: {said}");
        Ok(said)
    }

    /// How the flow of the shop ends that somebody starts.
    async fn run(&self, token: &str, steps: Value) -> Result<Value> {
        let started = self.ask(token, "flows/shop-flow/run", json!({"input": script(steps)})).await?;
        self.server.ended(started["id"].as_str().context("an id")?).await
    }

    async fn value(&self, setting: &str) -> Result<Value> {
        Ok(self.server.api(Method::GET, &format!("settings/{setting}"), None).await?["value"].clone())
    }
}

fn script(steps: Value) -> Value {
    json!({"mode": "script", "steps": steps})
}

fn save(setting: &str) -> Value {
    json!({"do": "save", "setting": setting, "value": "saved"})
}

/// Nothing of another project, and nothing that takes a higher role: not by itself, not by a child, not by continuing
/// as new, not at the end.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_of_a_project_starts_stays_in_it_and_changes_nothing() -> Result<()> {
    let world = World::new().await?;
    let child = |flow: &str, step: Value| json!({"do": "child", "flow": flow, "inputs": script(json!([step]))});
    let read = |file: &str| json!({"do": "read", "file": file});
    let connect = |connector: &str| json!({"do": "connect", "connector": connector, "inputs": {}});
    for (step, code) in [
        (read("shop-file"), ""),
        (read("site-file"), "not_found"),
        (connect("shop-echo"), ""),
        (connect("site-echo"), "not_found"),
        (connect("type:echo"), ""),
        (child("shop-flow", read("shop-file")), ""),
        (child("site-flow", read("site-file")), "not_found"),
        (child("shared-flow", read("shop-file")), "not_found"),
        (save("shop-setting"), "permission_denied"),
        (save("site-setting"), "conflict"),
        (json!({"do": "write", "file": "shop-file", "content": "x"}), "permission_denied"),
        (json!({"do": "continue-as-new", "inputs": script(json!([save("shop-setting")]))}), "permission_denied"),
        (json!({"do": "on-end", "setting": "shop-setting", "value": "saved"}), ""),
        (json!({"do": "on-end", "setting": "site-setting", "value": "saved"}), ""),
    ] {
        let row = world.run(&world.operator, json!([step])).await?;
        assert_eq!(row["error_code"], code, "{step}: {row:#}");
    }
    let row = world.run(&world.operator, json!([child("shop-flow", save("shop-setting"))])).await?;
    assert_eq!(row["output"][0]["failure"]["code"], "permission_denied", "{row:#}");
    let row = world.run(&world.operator, json!([save("shop-setting")])).await?;
    let said = row["error_message"].as_str().context("a message")?;
    assert!(said.contains("the role author") && said.contains("webhook or schedule"), "{said}");
    for setting in ["shop-setting", "site-setting"] {
        assert_eq!(world.value(setting).await?, "untouched", "{setting}");
    }

    // An author of the project may, there; so may the owner's start, and no more: the flow is the project's.
    for (row, who) in [
        (world.run(&world.author, json!([save("shop-setting")])).await?, "author"),
        (world.run(world.server.token(), json!([save("shop-setting")])).await?, "owner"),
    ] {
        assert_eq!(row["error_code"], "", "{who}: {row:#}");
    }
    assert_eq!(world.run(world.server.token(), json!([read("site-file")])).await?["error_code"], "not_found");
    // What it makes is in its project.
    world.run(&world.author, json!([{"do": "write", "file": "new", "content": "x"}, save("new")])).await?;
    for record in ["files/new", "settings/new"] {
        let shop = world.server.api(Method::GET, "projects/shop", None).await?["id"].clone();
        assert_eq!(world.server.api(Method::GET, record, None).await?["project_id"], shop, "{record}");
    }
    // The flow says what its executions may do, whoever starts them.
    surefoot_json(world.data.path(), &["flow", "set", "shop-flow", "--role", "operator"])?;
    let row = world.run(&world.author, json!([save("shop-setting")])).await?;
    assert_eq!(row["error_code"], "permission_denied", "{row:#}");
    let refused = surefoot(world.data.path(), &["flow", "set", "shop-flow", "--role", "admin"])?;
    ensure!(refused.code == 64, "{}", refused.stderr);
    Ok(())
}

/// Who calls a webhook has no role; what it starts acts as who saved the webhook.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_acts_as_who_saved_it() -> Result<()> {
    let world = World::new().await?;
    let hook = json!({
        "name": "hook", "flow_id": "shop-flow", "project_id": "shop", "is_key_required": false, "is_enabled": true,
    });
    world.ask(&world.author, "webhooks", hook).await?;
    let call = async |webhook: &str, step: Value| {
        world.server.call_webhook(webhook, &format!("{webhook}{step}"), &script(json!([step]))).await
    };
    call("hook", save("shop-setting")).await?;
    assert_eq!(world.value("shop-setting").await?, "saved");
    for record in ["webhooks/hook", "webhooks"] {
        assert!(!world.server.api(Method::GET, record, None).await?.to_string().contains("acts_as"));
    }
    // Who may only enable it takes nothing from it.
    world.ask(&world.operator, "webhooks/hook/disable", json!({})).await?;
    world.ask(&world.operator, "webhooks/hook/enable", json!({})).await?;
    world.server.save("settings/shop-setting", json!({"value": "untouched"})).await?;
    call("hook", json!({"do": "save", "setting": "shop-setting", "value": "once more"})).await?;
    assert_eq!(world.value("shop-setting").await?, "once more");
    assert!(call("hook", json!({"do": "read", "file": "site-file"})).await.is_err());

    // One that the workspace's owner saved starts a flow in no project, and that reaches all.
    let wide = json!({"name": "wide", "flow_id": "shared-flow", "is_key_required": false, "is_enabled": true});
    world.server.api(Method::POST, "webhooks", Some(wide)).await?;
    call("wide", save("site-setting")).await?;
    assert_eq!(world.value("site-setting").await?, "saved");

    // The flow goes, and another project makes one of that name: it is not started.
    world.server.api(Method::POST, "webhooks/hook/disable", None).await?;
    world.server.api(Method::DELETE, "flows/shop-flow?permanently=true", None).await?;
    let component = std::fs::read(xtask::flows::component("test-guest")?)?;
    world.server.deploy_component("shop-flow", component).await?;
    world.server.save("flows/shop-flow", json!({"project_id": "site"})).await?;
    world.server.api(Method::POST, "webhooks/hook/enable", None).await?;
    assert!(call("hook", json!({"do": "log", "message": "x"})).await.is_err());
    let filter = json!({"field": "created_by", "op": "eq", "value": "webhook hook"}).to_string();
    let path = format!("executions?filter={}", surefoot_tests::server_process::percent_encoded(&filter));
    let rows = world.server.api(Method::GET, &path, None).await?["rows"].as_array().context("rows")?.len();
    assert_eq!(rows, 3, "as many as before");
    Ok(())
}
