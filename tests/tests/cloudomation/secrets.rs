//! Passwords of connectors are shown nowhere.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_fixtures::{System, Targets};
use surefoot_tests::leaks::search_data;
use surefoot_tests::workspace::{Server, Workspace, id, response};

/// No list, record, journal or log shows a password, nor does a byte of the data folder, be it right or wrong, neither
/// in a call that succeeds nor in one that fails.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_shown_nowhere() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open_in_still_time()?;
    workspace.prepare_upgrade_check(&targets).await?;
    let server = workspace.serve().await?;
    let mut secrets = Vec::new();
    for system in System::ALL {
        let config = targets.connection(system)?;
        secrets.push(config["password"].as_str().context("every system has one")?.to_owned());
    }
    assert_eq!(response(&workspace.run_upgrade_check().await?)?.0, 200);

    for system in System::ALL {
        let wrong = format!("wrong-{system}-password");
        let mut config = targets.connection(system)?;
        config["password"] = json!(wrong);
        workspace.save(Kind::Connector, &format!("my-{system}-connector"), json!({"config": config})).await?;
        secrets.push(wrong);
    }
    assert_eq!(response(&workspace.run_upgrade_check().await?)?.0, 500);

    let shown = everything(&workspace, &server).await?;
    assert!(shown.contains("my-smtp-connector") && shown.contains("send mail"), "the search looks at the right things");
    for secret in &secrets {
        assert!(!shown.contains(secret.as_str()), "{secret} is shown: {}", around(&shown, secret));
    }
    search_data(workspace.data(), &secrets)?;
    Ok(())
}

/// A password that is tried in the test of a connector is not kept in the execution that tries it.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_tried_is_not_kept() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open()?;
    workspace.save_connectors(&targets).await?;
    let server = workspace.serve().await?;
    let secret = "a-password-to-be-tried";
    let body = json!({"inputs": {"fetchval": "SELECT 1", "password": secret}});
    let tried = server.api(Method::POST, "connectors/my-mssql-connector/test").json(&body).send().await?.text().await?;
    assert!(tried.contains("\"auth\""), "{tried}");
    let shown = tried + &everything(&workspace, &server).await?;
    assert!(!shown.contains(secret), "it is shown: {}", around(&shown, secret));
    search_data(workspace.data(), &[secret.to_owned()])?;
    Ok(())
}

/// All that the API shows of records, executions, connections, journals and logs, as text.
async fn everything(workspace: &Workspace, server: &Server) -> Result<String> {
    let get = async |path: String| -> Result<String> {
        Ok(server.api(Method::GET, &path).send().await?.error_for_status().context(path)?.text().await?)
    };
    let mut shown = String::new();
    for (kind, ..) in Kind::ALL {
        shown += &get(format!("{}?limit=1000", kind.plural())).await?;
    }
    for connector in workspace.rows("connector", json!({"field": "name", "op": "like", "value": "%"})).await? {
        shown += &get(format!("connectors/{}", id(&connector))).await?;
    }
    for execution in workspace.rows("execution", json!({"field": "type", "op": "neq", "value": "CONNECTION"})).await? {
        let execution = id(&execution).to_owned();
        for what in ["", "/journal", "/log"] {
            shown += &get(format!("executions/{execution}{what}")).await?;
        }
        let connections: Vec<Value> = workspace.connections(&execution).await?;
        shown += &serde_json::to_string(&connections)?;
        shown += &format!("{:?}", workspace.engine.log(&execution, None, 1000).await?);
    }
    Ok(shown)
}

fn around<'a>(text: &'a str, word: &str) -> &'a str {
    let at = text.find(word).unwrap_or_default();
    let (start, end) = (at.saturating_sub(300), (at + word.len() + 100).min(text.len()));
    text.get(start..end).unwrap_or_default()
}
