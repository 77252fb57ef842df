//! `surefoot deploy`: a component, or a folder that is built first, becomes the present version of a flow.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::client::{self, Call, Client, Content, Method};
use crate::context::Context;
use crate::failure::Failure;
use crate::guest::{self, Component};
use crate::printer::Printer;
use crate::{exit_codes, table};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The flow's folder, which is built first, or its component
    #[arg(value_name = "DIR|FILE.wasm", default_value = ".")]
    source: PathBuf,
    /// The flow's name; without it the package's, or the file's without `.wasm`
    #[arg(long)]
    name: Option<String>,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<u8> {
    let printer = context.printer;
    let component = component(&arguments.source, printer).await?;
    let name = arguments.name.unwrap_or(component.flow);
    let record = upload(context.client().await?, &name, &component.path).await?;
    if printer.is_json() {
        printer.json(&record)?;
    } else {
        printer.say(deployed(&record));
    }
    Ok(exit_codes::SUCCESS)
}

/// The component that a path means: its file, or what is built from the folder.
pub(crate) async fn component(source: &Path, printer: Printer) -> Result<Component> {
    if !is_component(source) {
        return guest::build(source, printer).await;
    }
    let flow = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Component { flow, path: source.to_owned() })
}

/// Whether a path names a component and not a folder.
pub(crate) fn is_component(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm") && !path.is_dir()
}

/// Deploys a component's file. Returns the flow's record.
pub(crate) async fn upload(client: &Client, flow: &str, component: &Path) -> Result<Value> {
    let bytes = tokio::fs::read(component)
        .await
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", component.display())))?;
    let path = client::Path::api(["flows", flow, "deploy"]);
    client.ask(Call::new(Method::POST, path).content(Content::Bytes(bytes.into()))).await
}

/// The sentence that says what was deployed.
pub(crate) fn deployed(record: &Value) -> String {
    let version: String = table::text_of(&record["version"]).chars().take(12).collect();
    format!("deployed flow `{}`, version {version}", table::text_of(&record["name"]))
}
