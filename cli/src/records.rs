//! What is the same for the records of every kind: list, show, remove, restore, and how they are printed.
//!
//! A kind is a [`Kind`], one table of columns; what is special about one is in the file of its command.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Call, Client, Method, Path};
use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;
use crate::inputs;
use crate::printer::Printer;
use crate::table::{self, Column, Shape};

/// Rows that the API gives in one page, at most.
const PAGE_MAX: u32 = 1000;

/// The fields that a person wants to see first.
const LEADING: [&str; 4] = ["name", "id", "type", "status"];

/// One kind of record.
pub(crate) struct Kind {
    /// What one of them is called.
    pub(crate) name: &'static str,
    /// What the API calls them.
    pub(crate) plural: &'static str,
    /// What a list shows.
    pub(crate) columns: &'static [Column],
}

/// What can be done with records of every kind.
#[derive(Subcommand)]
pub(crate) enum RecordCommand {
    /// List them, newest first
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show one
    Show {
        /// Name or id
        key: String,
    },
    /// Move one to the trash
    #[command(visible_alias = "rm")]
    Remove {
        /// Name or id
        key: String,
        /// Delete it for good
        #[arg(long)]
        permanently: bool,
    },
    /// Take one out of the trash
    Restore {
        /// Id; `list --trash` shows it
        id: String,
    },
}

/// Which rows, and how many.
#[derive(Args, Default)]
pub(crate) struct ListArguments {
    /// Only those that match, such as '{"field": "name", "op": "like", "value": "my-%"}'
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// The field to order by; with a leading `-` the largest first
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    order: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Those in the trash
    #[arg(long)]
    trash: bool,
}

/// Does one of the things that all kinds have.
pub(crate) async fn run(kind: &Kind, command: RecordCommand, context: &Context) -> Result<u8> {
    match command {
        RecordCommand::List(arguments) => {
            let filter = arguments.filter.as_deref().map(inputs::json).transpose()?;
            list(
                kind,
                &Wanted { filter, order: arguments.order, limit: arguments.limit, trash: arguments.trash },
                context,
            )
            .await
        }
        RecordCommand::Show { key } => {
            let record = context.existing().await?.get(Path::api([kind.plural, &key])).await?;
            show(context.printer, &record)
        }
        RecordCommand::Remove { key, permanently } => remove(kind, &key, permanently, context).await,
        RecordCommand::Restore { id } => restore(kind, &id, context).await,
    }
}

/// What a list is to hold.
#[derive(Default)]
pub(crate) struct Wanted {
    /// Which rows; none for all.
    pub(crate) filter: Option<Value>,
    /// In which order; none for the newest first.
    pub(crate) order: Option<String>,
    /// How many at most.
    pub(crate) limit: u32,
    /// Those in the trash.
    pub(crate) trash: bool,
}

/// Prints a list: an array of rows, or a table.
pub(crate) async fn list(kind: &Kind, wanted: &Wanted, context: &Context) -> Result<u8> {
    let client = context.existing().await?;
    let (rows, has_more) = fetch(client, kind.plural, wanted).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&Value::Array(rows))?;
    } else if rows.is_empty() {
        let place = if wanted.trash { " in the trash" } else { "" };
        let matching = if wanted.filter.is_some() { " that matches" } else { "" };
        printer.say(format_args!("there is no {}{place}{matching}", kind.name));
    } else {
        let names = names_of_others(client, kind, &rows).await?;
        let header: Vec<_> = kind.columns.iter().map(|column| column.title).collect();
        let cells = |row: &Value| kind.columns.iter().map(|column| table::cell(row, column, &names)).collect();
        printer.table(&header, rows.iter().map(cells).collect())?;
    }
    if has_more {
        printer.say(format_args!("there are more than {}: raise --limit, or narrow them with --filter", wanted.limit));
    }
    Ok(exit_codes::SUCCESS)
}

/// All records of a kind, by what the API calls them, that are not in the trash.
pub(crate) async fn all(client: &Client, plural: &str) -> Result<Vec<Value>> {
    Ok(fetch(client, plural, &Wanted { limit: u32::MAX, ..Wanted::default() }).await?.0)
}

/// The rows, and whether there are more than were wanted.
pub(crate) async fn fetch(client: &Client, plural: &str, wanted: &Wanted) -> Result<(Vec<Value>, bool)> {
    let mut rows: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let left = wanted.limit - u32::try_from(rows.len()).unwrap_or(u32::MAX).min(wanted.limit);
        let path = Path::api([plural])
            .query("limit", left.min(PAGE_MAX))
            .query_if("filter", wanted.filter.as_ref())
            .query_if("order", wanted.order.as_ref())
            .query_if("deleted", wanted.trash.then_some(true))
            .query_if("cursor", cursor.as_ref());
        let mut page = client.get(path).await?;
        if let Value::Array(more) = page["rows"].take() {
            rows.extend(more);
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() || rows.len() >= wanted.limit as usize {
            return Ok((rows, cursor.is_some()));
        }
    }
}

/// The names of the records that the rows point to, by id.
async fn names_of_others(client: &Client, kind: &Kind, rows: &[Value]) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for column in kind.columns {
        let Shape::NameOf(plural) = column.shape else { continue };
        let ids: BTreeSet<&str> =
            rows.iter().filter_map(|row| row[column.field].as_str()).filter(|id| !id.is_empty()).collect();
        if ids.is_empty() {
            continue;
        }
        let filter = json!({"field": "id", "op": "in", "value": ids});
        let page = client.get(Path::api([plural]).query("filter", filter).query("limit", PAGE_MAX)).await?;
        for record in page["rows"].as_array().into_iter().flatten() {
            if let (Some(id), Some(name)) = (record["id"].as_str(), record["name"].as_str()) {
                names.insert(id.to_owned(), name.to_owned());
            }
        }
    }
    Ok(names)
}

/// Prints one document: JSON, or its fields one a line.
pub(crate) fn show(printer: Printer, record: &Value) -> Result<u8> {
    match record {
        Value::Object(fields) if !printer.is_json() => {
            let shown = |value: &Value| match value {
                Value::Object(_) | Value::Array(_) => format!("{value:#}"),
                other => table::text_of(other),
            };
            let leads = |name: &str| LEADING.iter().position(|leading| *leading == name).unwrap_or(LEADING.len());
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| leads(name));
            printer.pairs(sorted.into_iter().map(|(name, value)| (name.clone(), shown(value))).collect())?;
        }
        other => printer.json(other)?,
    }
    Ok(exit_codes::SUCCESS)
}

/// Says that a record was saved; with JSON it is printed, as it is now.
pub(crate) fn saved(kind: &Kind, printer: Printer, record: &Value, done: &str) -> Result<u8> {
    if printer.is_json() {
        printer.json(record)?;
    } else {
        printer.say(format_args!("{done} {} `{}`", kind.name, record["name"].as_str().unwrap_or_default()));
    }
    Ok(exit_codes::SUCCESS)
}

/// Creates or changes a record and says so.
pub(crate) async fn set(kind: &Kind, key: &str, fields: Value, context: &Context) -> Result<u8> {
    let record = context.client().await?.save(kind.plural, key, fields).await?;
    saved(kind, context.printer, &record, "saved")
}

/// The record, or none where nothing has that name or id.
pub(crate) async fn find(client: &Client, kind: &Kind, key: &str) -> Result<Option<Value>> {
    let answer = client.send(Call::new(Method::GET, Path::api([kind.plural, key]))).await?;
    if answer.status == 404 {
        return Ok(None);
    }
    let bytes = answer.or_failure().await?.bytes().await?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// The id of the record with that name or id.
pub(crate) async fn id_of(client: &Client, plural: &str, key: &str) -> Result<String> {
    let record = client.get(Path::api([plural, key])).await?;
    Ok(record["id"].as_str().unwrap_or(key).to_owned())
}

/// Takes one out of the trash.
pub(crate) async fn restore(kind: &Kind, id: &str, context: &Context) -> Result<u8> {
    let restored = context.existing().await?.post(Path::api([kind.plural, id, "restore"]), json!({})).await?;
    saved(kind, context.printer, &restored, "restored")
}

/// Moves one to the trash, or deletes it for good.
pub(crate) async fn remove(kind: &Kind, key: &str, permanently: bool, context: &Context) -> Result<u8> {
    let path = Path::api([kind.plural, key]).query_if("permanently", permanently.then_some(true));
    let answer = context.existing().await?.ask(Call::new(Method::DELETE, path)).await?;
    if answer["deleted"] != true {
        return Err(Failure::usage(format!("there is no {} `{key}`", kind.name)).into());
    }
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&answer)?;
    } else if permanently {
        printer.say(format_args!("deleted {} `{key}` for good", kind.name));
    } else {
        printer.say(format_args!("moved {} `{key}` to the trash", kind.name));
    }
    Ok(exit_codes::SUCCESS)
}
