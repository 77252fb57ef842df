//! `surefoot approval`: what executions ask, and answering it.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::client::{Call, Client, Method, Path};
use crate::context::Context;
use crate::exit_codes;
use crate::inputs;
use crate::records::{self, Kind, ListArguments, RecordCommand};
use crate::table::{plain, time};

const KIND: Kind = Kind {
    name: "approval",
    plural: "approvals",
    columns: &[
        plain("ID", "id"),
        plain("NAME", "name"),
        plain("STATUS", "status"),
        plain("MESSAGE", "message"),
        plain("EXECUTION", "execution_name"),
        time("ASKED", "created_at"),
        time("UNTIL", "expires_at"),
        plain("ANSWERED BY", "answered_by"),
    ],
};

/// What the tokens begin with that answer without an account.
const TOKEN_PREFIX: &str = "sfa_";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List what executions ask and have asked, newest first
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show what is asked, and what became of it
    Show {
        /// Id, or the token that answers it
        id: String,
    },
    /// Answer; the first answer counts
    Answer {
        /// Id, or the token that answers it without an account
        id: String,
        /// The answer: JSON, `@FILE`, or `-` for standard input
        #[arg(long, value_name = "JSON")]
        payload: Option<String>,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::List(arguments) => records::run(&KIND, RecordCommand::List(arguments), context).await,
        Command::Show { id } => {
            let client = context.existing().await?;
            let shown = match by_token(&id) {
                Some(path) => with_token(client, Call::new(Method::GET, path)).await?,
                None => client.get(Path::api(["approvals", &id])).await?,
            };
            records::show(context.printer, &shown)
        }
        Command::Answer { id, payload } => {
            let body = json!({ "payload": inputs::optional_json(payload.as_deref())? });
            let path = by_token(&id).unwrap_or_else(|| Path::api(["approvals", &id, "answer"]));
            let answered = context.existing().await?.post(path, body).await?;
            if context.printer.is_json() {
                context.printer.json(&answered)?;
            } else {
                let text = |field: &str| answered[field].as_str().unwrap_or_default();
                context.printer.say(format_args!("answered `{}` as {}", text("name"), text("answered_by")));
            }
            Ok(exit_codes::SUCCESS)
        }
    }
}

/// Where what a token answers is, if this is one.
fn by_token(id: &str) -> Option<Path> {
    id.starts_with(TOKEN_PREFIX).then(|| Path::below("/approve", [id]))
}

/// At that place browsers get pages, and who asks for it JSON.
async fn with_token(client: &Client, call: Call) -> Result<Value> {
    client.ask(call.header("accept", "application/json".into())).await
}
