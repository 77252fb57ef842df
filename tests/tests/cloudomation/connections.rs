//! Connector calls: what they do, what is seen of them, how they fail.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_fixtures::{Break, FTP_FILE, Fault, System, Targets};
use surefoot_tests::workspace::{Workspace, ensure_success, id};

/// A connector call is an execution of type CONNECTION, with a name of its own, under its parent.
#[tokio::test(flavor = "multi_thread")]
async fn c_09_connections_are_executions_of_their_parent() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["parallel", "hello"]).await?;
    let row = workspace.run("parallel", json!({"n": 12})).await?;
    ensure_success(&row)?;
    let numbers: Vec<u32> = (0..12).collect();
    assert_eq!(row["output"], json!({"connections": numbers, "flows": numbers}));
    let connections = workspace.connections(id(&row)).await?;
    let names: Vec<&str> = connections.iter().map(|connection| connection["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        numbers.iter().map(|number| format!("echo {number}")).collect::<Vec<_>>(),
        "in order of their start"
    );
    for connection in &connections {
        assert_eq!((&connection["type"], &connection["parent_id"]), (&json!("CONNECTION"), &row["id"]));
        assert_eq!(connection["status"], "ENDED_SUCCESS");
        assert_eq!(&workspace.engine.execution(id(connection)).await?, connection, "it is found by its id too");
    }
    Ok(())
}

/// Inputs of the call override those that the connector has stored.
#[tokio::test(flavor = "multi_thread")]
async fn c_09_inputs_of_the_call_override_stored_ones() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.save(Kind::Connector, "stored", json!({"type": "echo", "config": {"value": "stored"}})).await?;
    let stored = workspace.connect("stored", json!({})).await?;
    let overridden = workspace.connect("stored", json!({"value": "of the call"})).await?;
    assert_eq!((&stored["output"]["value"], &overridden["output"]["value"]), (&json!("stored"), &json!("of the call")));
    Ok(())
}

/// The value of a query is the output; a missing table is a failure with the server's error number.
#[tokio::test(flavor = "multi_thread")]
async fn c_12_a_value_is_queried_and_a_missing_table_has_its_number() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    workspace.save_connectors(&targets).await?;
    let inputs = json!({"fetchval": "SELECT 1 FROM tbl_my_table"});
    let query = json!({"mode": "connect", "connector": "my-mssql-connector", "inputs": inputs});
    let row = workspace.run("test-guest", query.clone()).await?;
    ensure_success(&row)?;
    assert_eq!(row["output"]["output"], json!({"result": 1}));

    targets.break_with(System::Mssql, Break::DropTable).await?;
    let row = workspace.run("test-guest", query).await?;
    ensure_success(&row)?;
    let failure = &row["output"]["failure"];
    assert_eq!((&failure["status"], &failure["code"]), (&json!("ENDED_ERROR"), &json!("refused")), "{row:#}");
    assert!(failure["message"].as_str().unwrap().contains("error 208"), "{row:#}");
    Ok(())
}

/// A mail arrives once, with sender, recipients, subject and text of the call.
#[tokio::test(flavor = "multi_thread")]
async fn c_13_a_mail_arrives_once() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open()?;
    workspace.save_connectors(&targets).await?;
    let inputs = json!({
        "from_": "my-user@my-domain.com", "to": ["other-user@my-domain.com"], "subject": "smtp connection test",
        "text": "This is a test.",
    });
    ensure_success(&workspace.connect("my-smtp-connector", inputs).await?)?;
    let mails = targets.smtp.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(
        (mails[0].from.as_str(), &mails[0].to[..]),
        ("my-user@my-domain.com", &["other-user@my-domain.com".into()][..])
    );
    assert_eq!(mails[0].header("subject").as_deref(), Some("smtp connection test"));
    assert_eq!(mails[0].body().trim_end(), "This is a test.");
    Ok(())
}

/// A server that dies in the middle of a call is an error that a flow can catch, and whose id the API knows.
#[tokio::test(flavor = "multi_thread")]
async fn c_14_a_server_that_dies_is_an_error_whose_id_resolves() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    workspace.save_connectors(&targets).await?;
    let server = workspace.serve().await?;

    targets.ftp.set_fault(Fault::StallAfter(1));
    let inputs = json!({"src": FTP_FILE, "dst": "surefoot:never"});
    let connect = json!({"mode": "connect", "connector": "my-ftp-connector", "inputs": inputs});
    let parent = workspace.start("test-guest", connect).await?;
    let logged_in = async || Ok((targets.ftp.logins() > 0).then_some(()));
    workspace.eventually(logged_in).await.context("the call never reached the server")?;
    targets.ftp.stop().await;

    let row = workspace.ended(&parent).await?;
    ensure_success(&row)?;
    let failure = &row["output"]["failure"];
    assert_eq!((&failure["status"], &failure["name"]), (&json!("ENDED_ERROR"), &json!("my-ftp-connector")), "{row:#}");
    let path = format!("executions/{}", failure["execution_id"].as_str().unwrap());
    let shown: Value = server.api(Method::GET, &path).send().await?.error_for_status()?.json().await?;
    assert_eq!((&shown["type"], &shown["parent_id"]), (&json!("CONNECTION"), &json!(parent)));
    assert_eq!((&shown["error_code"], &shown["error_message"]), (&failure["code"], &failure["message"]));
    assert!(workspace.record(Kind::File, "never").await.is_err(), "half a file is no file");
    Ok(())
}
