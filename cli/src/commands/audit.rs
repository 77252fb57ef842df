//! `surefoot audit`: who changed what.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::records::{self, Kind, ListArguments, RecordCommand};
use crate::table::{plain, time};

const KIND: Kind = Kind {
    name: "entry of the audit log",
    plural: "audit",
    columns: &[
        time("WHEN", "created_at"),
        plain("WHO", "created_by"),
        plain("ACTION", "action"),
        plain("KIND", "record_kind"),
        plain("NAME", "record_name"),
        plain("ID", "id"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List its entries, newest first
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show one, with what stood there before and after
    Show {
        /// Id
        id: String,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::List(arguments) => records::run(&KIND, RecordCommand::List(arguments), context).await,
        Command::Show { id } => records::run(&KIND, RecordCommand::Show { key: id }, context).await,
    }
}
