//! `surefoot file`: the workspace's files. Contents are streamed, whatever their size.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::client::{Answer, Call, Content, Method, Path};
use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{Column, Shape, name_of, plain, time};

const KIND: Kind = Kind {
    name: "file",
    plural: "files",
    columns: &[
        plain("NAME", "name"),
        Column { title: "SIZE", field: "size_bytes", shape: Shape::Bytes },
        Column { title: "SHA-256", field: "sha256", shape: Shape::Digest },
        name_of("PROJECT", "project_id", "projects"),
        time("MODIFIED", "modified_at"),
        plain("ID", "id"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Store one
    Put {
        /// Its name
        name: String,
        /// Where its content is; `-` is standard input
        path: PathBuf,
    },
    /// Fetch the content of one
    Get {
        /// Name or id
        name: String,
        /// Where to write it; without it, or with `-`, standard output
        path: Option<PathBuf>,
    },
    #[command(flatten)]
    Record(RecordCommand),
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Put { name, path } => put(&name, &path, context).await,
        Command::Get { name, path } => get(&name, path, context).await,
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}

async fn put(name: &str, path: &std::path::Path, context: &Context) -> Result<u8> {
    let content = if path.as_os_str() == "-" {
        Content::Stdin
    } else {
        if path.is_dir() {
            return Err(Failure::usage(format!("{} is a folder; put its files one by one", path.display())).into());
        }
        let opened = File::open(path).await;
        Content::File(opened.map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?)
    };
    let call = Call::new(Method::PUT, Path::api([KIND.plural, name, "content"])).content(content);
    let record = context.client().await?.ask(call).await?;
    records::saved(&KIND, context.printer, &record, "stored")
}

async fn get(name: &str, path: Option<PathBuf>, context: &Context) -> Result<u8> {
    let call = Call::new(Method::GET, Path::api([KIND.plural, name, "content"]));
    let mut answer = context.existing().await?.send(call).await?.or_failure().await?;
    let printer = context.printer;
    match path.filter(|path| path.as_os_str() != "-") {
        None => {
            while let Some(chunk) = answer.chunk().await? {
                printer.bytes(&chunk)?;
            }
        }
        Some(path) => save(&mut answer, &path, printer).await?,
    }
    Ok(exit_codes::SUCCESS)
}

/// Writes beside the wanted place first: what stands there is a whole content, old or new.
async fn save(answer: &mut Answer, path: &std::path::Path, printer: Printer) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let cannot = |error: std::io::Error| Failure::place("write", path, &error);
    let written = async {
        let mut file = File::create(&partial).await.map_err(cannot)?;
        let mut length = 0;
        while let Some(chunk) = answer.chunk().await? {
            file.write_all(&chunk).await.map_err(cannot)?;
            length += chunk.len();
        }
        file.flush().await.map_err(cannot)?;
        tokio::fs::rename(&partial, path).await.map_err(cannot)?;
        Ok(length)
    };
    match written.await {
        Ok(length) => {
            printer.say(format_args!("wrote {length} bytes to {}", path.display()));
            Ok(())
        }
        Err(error) => {
            // The first error is the one to tell; the rest may not even exist.
            let _ = tokio::fs::remove_file(&partial).await;
            Err(error)
        }
    }
}
