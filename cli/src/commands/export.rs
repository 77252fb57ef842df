//! `surefoot export`: the configuration of a workspace as files.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use surefoot_engine::query::Kind;

use crate::client::{Call, Method, Path};
use crate::configuration::{self, KINDS, Workspace};
use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder, which is made where there is none
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write over an earlier export; files of records that are gone are deleted
    #[arg(long)]
    overwrite: bool,
    /// Leave out the components of flows
    #[arg(long)]
    no_components: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<u8> {
    let (client, printer) = (context.existing().await?, context.printer);
    let workspace = Workspace::read(client).await?;
    for kind in KINDS {
        let folder = arguments.folder.join(kind.plural());
        if !folder.exists() {
            continue;
        }
        if !arguments.overwrite {
            let failure = Failure::usage(format!("{} is there already", folder.display()));
            return Err(failure.hint("Name another folder, or pass --overwrite.").into());
        }
        std::fs::remove_dir_all(&folder).map_err(|error| Failure::place("replace", &folder, &error))?;
    }
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).map_err(|error| Failure::place("make", folder, &error))?;
    let items = workspace.items();
    if !workspace.has_users {
        printer.warn("users and their roles are left out: only admins of the workspace see them");
    }
    for item in &items {
        let component = match item.kind {
            Kind::Flow if !arguments.no_components => {
                let path = Path::api(["flows", &item.name, "component"]);
                Some(client.send(Call::new(Method::GET, path)).await?.or_failure().await?.bytes().await?)
            }
            _ => None,
        };
        configuration::write(&arguments.folder, item, component.as_deref())?;
    }
    if printer.is_json() {
        printer.json(&json!({ "records": items.len() }))?;
    } else {
        printer.say(format_args!("wrote {} records to {}", items.len(), arguments.folder.display()));
    }
    Ok(exit_codes::SUCCESS)
}
