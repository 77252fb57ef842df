//! `surefoot connector`: stored configurations of connector types, and the types.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::client::{Client, Path};
use crate::context::Context;
use crate::failure::Failure;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{self, name_of, plain, time};
use crate::{exit_codes, inputs};

const KIND: Kind = Kind {
    name: "connector",
    plural: "connectors",
    columns: &[
        plain("NAME", "name"),
        plain("TYPE", "type"),
        name_of("PROJECT", "project_id", "projects"),
        time("MODIFIED", "modified_at"),
        plain("DESCRIPTION", "description"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or change one
    Set(SetArguments),
    /// Call one, once, as a flow would
    Test {
        /// Name or id; `type:TYPE` for a type without a stored configuration
        key: String,
        /// Inputs of the call, over the stored ones
        #[arg(value_name = "KEY=VALUE")]
        inputs: Vec<String>,
    },
    /// List the types, or the inputs of one
    Types {
        /// The type
        name: Option<String>,
    },
    #[command(flatten)]
    Record(RecordCommand),
}

#[derive(Args)]
pub(crate) struct SetArguments {
    /// Name or id
    key: String,
    /// The connector type; `surefoot connector types` lists them
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// The whole configuration: JSON, `@FILE`, or `-` for standard input; without it the stored one is changed
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// The longest duration of one attempt of a call, in milliseconds
    #[arg(long, value_name = "N")]
    timeout_ms: Option<u64>,
    /// When a failed attempt is followed by another: JSON, such as '{"attempts": 5}', or `null`
    #[arg(long, value_name = "JSON")]
    retry: Option<String>,
    /// How old the result of an equal call may be that serves in place of a new one, in milliseconds
    #[arg(long, value_name = "N")]
    cache_ms: Option<u64>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// The project it belongs to
    #[arg(long, value_name = "NAME|ID")]
    project: Option<String>,
    /// Single values of the configuration; `KEY=@FILE` and `KEY=-` read them, so that a password need not be typed here
    #[arg(value_name = "KEY=VALUE")]
    values: Vec<String>,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Set(arguments) => set(arguments, context).await,
        Command::Test { key, inputs } => test(&key, &inputs, context).await,
        Command::Types { name } => types(name.as_deref(), context).await,
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}

async fn set(arguments: SetArguments, context: &Context) -> Result<u8> {
    let client = context.client().await?;
    let present = records::find(client, &KIND, &arguments.key).await?.unwrap_or_default();
    let Some(ty) = arguments.r#type.as_deref().or_else(|| present["type"].as_str()) else {
        let failure =
            Failure::usage(format!("there is no connector `{}` yet, and a new one needs a type", arguments.key));
        return Err(failure.hint("Pass --type; `surefoot connector types` lists them.").into());
    };
    let schema = input_schema(client, ty).await?;
    let mut fields = Map::new();
    fields.insert("type".into(), ty.into());
    if let Some(revision) = present.get("revision").filter(|_| arguments.config.is_none()) {
        // The stored configuration is read, changed and written: nobody else may have changed it meanwhile.
        fields.insert("revision".into(), revision.clone());
    }
    let mut config = match &arguments.config {
        Some(config) => inputs::object(config)?,
        None => present["config"].as_object().cloned().unwrap_or_default(),
    };
    config.extend(typed(&schema, &arguments.values)?);
    fields.insert("config".into(), Value::Object(config));
    let retry = arguments.retry.as_deref().map(inputs::json).transpose()?;
    let optional = [
        ("timeout_ms", arguments.timeout_ms.map(Value::from)),
        ("retry", retry),
        ("cache_ms", arguments.cache_ms.map(Value::from)),
        ("description", arguments.description.map(Value::from)),
    ];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if let Some(project) = arguments.project {
        fields.insert("project_id".into(), records::id_of(client, "projects", &project).await?.into());
    }
    records::set(&KIND, &arguments.key, Value::Object(fields), context).await
}

async fn test(key: &str, values: &[String], context: &Context) -> Result<u8> {
    let client = context.client().await?;
    let inputs = match values {
        [] => Map::new(),
        values => {
            let ty = match key.strip_prefix("type:") {
                Some(ty) => ty.to_owned(),
                None => {
                    let record = client.get(Path::api([KIND.plural, key])).await?;
                    record["type"].as_str().unwrap_or_default().to_owned()
                }
            };
            typed(&input_schema(client, &ty).await?, values)?
        }
    };
    let answer = client.post(Path::api([KIND.plural, key, "test"]), json!({ "inputs": inputs })).await?;
    let (printer, ok) = (context.printer, answer["ok"] == true);
    let duration = answer["duration_ms"].as_u64().unwrap_or_default();
    if printer.is_json() {
        printer.json(&answer)?;
    } else if ok {
        printer.say(format_args!("connector `{key}` answered within {duration} ms"));
        printer.json(&answer["output"])?;
    } else {
        let text = |field: &str| answer["error"][field].as_str().unwrap_or_default();
        printer.error(format_args!("connector `{key}` failed ({}): {}", text("code"), text("message")), None);
    }
    Ok(if ok { exit_codes::SUCCESS } else { exit_codes::RUN_FAILED })
}

async fn types(name: Option<&str>, context: &Context) -> Result<u8> {
    let (client, printer) = (context.client().await?, context.printer);
    let rows = all_types(client).await?;
    let Some(name) = name else {
        if printer.is_json() {
            printer.json(&Value::Array(rows))?;
        } else {
            let cells = |row: &Value| vec![table::text_of(&row["type"]), table::text_of(&row["description"])];
            printer.table(&["TYPE", "DESCRIPTION"], rows.iter().map(cells).collect())?;
        }
        return Ok(exit_codes::SUCCESS);
    };
    let ty = named(rows, name)?;
    if printer.is_json() {
        printer.json(&ty)?;
    } else {
        printer.table(&["INPUT", "TYPE", "REQUIRED", "SECRET", "DESCRIPTION"], input_rows(&ty["input_schema"]))?;
    }
    Ok(exit_codes::SUCCESS)
}

async fn all_types(client: &Client) -> Result<Vec<Value>> {
    let mut answer = client.get(Path::api(["connector-types"])).await?;
    Ok(match answer["rows"].take() {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    })
}

/// The schema of the inputs of a type.
pub(crate) async fn input_schema(client: &Client, ty: &str) -> Result<Value> {
    Ok(named(all_types(client).await?, ty)?["input_schema"].take())
}

fn named(types: Vec<Value>, name: &str) -> Result<Value> {
    let known: Vec<String> = types.iter().filter_map(|ty| ty["type"].as_str().map(str::to_owned)).collect();
    types.into_iter().find(|ty| ty["type"] == name).ok_or_else(|| {
        let failure = Failure::usage(format!("there is no connector type `{name}`"));
        failure.hint(format!("Types are {}.", known.join(", "))).into()
    })
}

/// The values, each in the type that the schema wants: `port=21` is a number, `password=21` a text.
fn typed(schema: &Value, values: &[String]) -> Result<Map<String, Value>> {
    let mut typed = Map::new();
    for text in values {
        let (key, value) = inputs::pair(text)?;
        let wants_text = type_names(&schema["properties"][key]).contains(&"string");
        let value = match serde_json::from_str(&value) {
            Ok(parsed) if !wants_text => parsed,
            _ => Value::String(value),
        };
        typed.insert(key.to_owned(), value);
    }
    Ok(typed)
}

/// The names of the types that a property may have; its enumeration counts as text.
fn type_names(property: &Value) -> Vec<&str> {
    match &property["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ if property["enum"].is_array() => vec!["string"],
        _ => Vec::new(),
    }
}

fn input_rows(schema: &Value) -> Vec<Vec<String>> {
    let is_required =
        |name: &str| schema["required"].as_array().is_some_and(|required| required.iter().any(|one| one == name));
    let row = |(name, property): (&String, &Value)| {
        let secret = property["writeOnly"] == true;
        vec![
            name.clone(),
            type_names(property).join(" | "),
            table::text_of(&is_required(name).into()),
            table::text_of(&secret.into()),
            table::text_of(&property["description"]).replace('\n', " "),
        ]
    };
    schema["properties"].as_object().into_iter().flatten().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_type_of_the_schema() {
        let schema = json!({"properties": {
            "port": {"type": "integer"}, "password": {"type": "string"}, "tls": {"enum": ["none"]},
            "to": {"type": ["string", "array"]},
        }});
        let values = ["port=21", "password=21", "tls=none", "to=[\"a\"]", "other=true", "text=a b"].map(str::to_owned);
        let expected =
            json!({"port": 21, "password": "21", "tls": "none", "to": "[\"a\"]", "other": true, "text": "a b"});
        assert_eq!(Value::Object(typed(&schema, &values).unwrap()), expected);
    }
}
