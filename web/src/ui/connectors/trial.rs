//! Trying a connector: a call of it, as a flow would make it, and how far it came.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::{Engine, Role, StartRequest};

use super::{AT_HAND, Head, Type};
use crate::app::{App, Stopping};
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};
use crate::schema_form::{FormHtml, SchemaForm};
use crate::ui::filled::Filled;
use crate::ui::forms::Fields;
use crate::ui::frame::{Frame, View, page_with};
use crate::ui::overview;
use crate::ui::run::Run;
use crate::ui::words::{Document, Standing, text};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page("/ui/connectors/{key}/test", ask).role(Role::Author),
        Operation::action("/ui/connectors/{key}/test", start).role(Role::Author),
    ]
}

/// For how long the end of the call is waited for before its page is shown, which follows it.
const WAIT: Duration = Duration::from_secs(2);

const PREFIX: &str = "in.";

/// The flow that makes one call.
const CALLER: &str = "native:connect";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrialQuery {
    /// The execution that made the call.
    run: Option<String>,
}

#[derive(Template)]
#[template(path = "connector-test.html")]
struct Ask {
    frame: Frame,
    head: Head,
    form: Filled,
    fields: FormHtml,
    trial: Option<Trial>,
}

impl View for Ask {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Ask {
    fn new(engine: &Engine, frame: Frame, head: Head, form: Filled, trial: Option<Trial>) -> Answer<Self> {
        let ty = Type::find(engine, &head.ty)?;
        // What is stored is not at hand here: a call gives the rest.
        let rest: Vec<&str> = ty.schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .filter(|name| head.row["config"][*name].is_null() && !AT_HAND.contains(name))
            .collect();
        let fields = SchemaForm::partial(&ty.schema, PREFIX, &rest).html(Some(form.entered()), form.wrong());
        Ok(Self { frame, head, form, fields, trial })
    }
}

/// A call that was made to try the connector.
struct Trial {
    run: Run,
    has_ended: bool,
    steps: Vec<Step>,
    output: Value,
    /// The connection, with its inputs.
    connection: Option<String>,
    attempts: usize,
}

/// How far a call came.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    name: &'static str,
    standing: Standing,
}

/// The steps of a call, with the codes of what fails there.
const STEPS: [(&str, &[&str]); 6] = [
    ("Inputs", &["invalid_input", "extra_input"]),
    ("Egress policy", &["egress"]),
    ("Network", &["network"]),
    ("Certificate or host key", &["untrusted"]),
    ("Credentials", &["auth"]),
    ("Answer", &["not_found", "refused", "protocol", "stale_target"]),
];

impl Trial {
    async fn read(engine: &Engine, frame: &Frame, id: &str, connector: &str) -> Answer<Self> {
        let row = engine.execution(id).await?;
        if row["flow_id"] != CALLER || row["input"]["connector"] != connector {
            return Err(Problem::not_found(format!("`{id}` is no call that tried this connector")));
        }
        let of_it = json!({"field": "parent_id", "op": "eq", "value": id});
        let connection = overview::rows(engine, of_it, "created_at", 1).await?.0.into_iter().next();
        Ok(Self {
            has_ended: row["ended_at"].is_string(),
            steps: steps(text(&row, "status"), text(&row, "error_code")),
            output: row["output"].clone(),
            attempts: connection.as_ref().map_or(0, |one| one["attempts"].as_array().map_or(0, Vec::len)),
            connection: connection.map(|one| text(&one, "id").to_owned()),
            run: Run::of(&row, frame.now),
        })
    }
}

/// How far a call came that ended so.
fn steps(status: &str, code: &str) -> Vec<Step> {
    let failed = STEPS.iter().position(|(_, codes)| codes.contains(&code));
    let standing = |place: usize| match (status, failed) {
        ("ENDED_SUCCESS", _) => "pass",
        ("ENDED_ERROR", Some(failed)) if place < failed => "pass",
        ("ENDED_ERROR", Some(failed)) if place == failed => "fail",
        ("ENDED_ERROR", Some(_)) => "skip",
        // Nobody knows how far a call came whose time ran out, or that was cancelled.
        _ => "unknown",
    };
    STEPS.iter().enumerate().map(|(place, (name, _))| Step { name, standing: Standing::of(standing(place)) }).collect()
}

async fn ask(
    InReach(engine): InReach,
    frame: Frame,
    InPath(key): InPath<String>,
    InQuery(query): InQuery<TrialQuery>,
) -> Answer<Response> {
    let head = Head::read(&engine, &key, &frame, "test").await?;
    let trial = match query.run {
        Some(id) => Some(Trial::read(&engine, &frame, &id, &head.id).await?),
        None => None,
    };
    Ok(page_with(StatusCode::OK, &Ask::new(&engine, frame, head, Filled::default(), trial)?))
}

async fn start(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    stopping: Stopping,
    InPath(key): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let head = Head::read(&engine, &key, &frame, "test").await?;
    let ty = Type::find(&engine, &head.ty)?;
    let mut form = Filled::sent(&fields);
    let schema = SchemaForm::partial(&ty.schema, PREFIX, &[]);
    let inputs = match schema.read(form.entered()) {
        Ok(inputs) => {
            form.refuse_all(schema.check(&inputs));
            inputs
        }
        Err(wrong) => {
            form.refuse_all(wrong);
            Value::Null
        }
    };
    if !form.is_right() {
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &Ask::new(&engine, frame, head, form, None)?));
    }
    let request = StartRequest {
        flow: CALLER.to_owned(),
        input: json!({"connector": head.id, "inputs": inputs}),
        name: Some(format!("test of {}", head.name)),
        by: caller.who,
        ..StartRequest::default()
    };
    let (id, _) = app.complete(engine.clone(), |engine| async move { engine.start(request).await }).await?;
    app.wait_ended(&engine, &id, WAIT, &stopping).await?;
    Ok(Redirect::to(&head.path(&format!("/test?run={id}"))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(status: &str, code: &str) -> Vec<&'static str> {
        steps(status, code).iter().map(|step| step.standing.word).collect()
    }

    #[test]
    fn a_call_passed_what_lies_before_its_failure_and_skipped_the_rest() {
        assert_eq!(words("ENDED_SUCCESS", ""), ["Passed"; 6]);
        assert_eq!(words("ENDED_ERROR", "auth"), ["Passed", "Passed", "Passed", "Passed", "Failed", "Skipped"]);
        assert_eq!(words("ENDED_ERROR", "invalid_input")[..2], ["Failed", "Skipped"]);
        for (status, code) in [("ENDED_ERROR", "timeout"), ("ENDED_CANCELLED", ""), ("RUNNING", "")] {
            assert_eq!(words(status, code), ["Unknown"; 6], "{status} {code}");
        }
    }
}
