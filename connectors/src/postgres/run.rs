//! Performing a plan on a session: statements, their rows, transactions.

use std::pin::pin;

use futures::TryStreamExt;
use serde_json::Value;
use surefoot_connector_api::{CallError, Sent};
use tokio_postgres::types::ToSql;
use tokio_postgres::{
    Client, Error, GenericClient, IsolationLevel, RowStream, SimpleQueryMessage, Statement as Prepared, Transaction,
};

use super::parameter::{self, Parameter};
use super::statement::{is_atomic, is_single, stays_in_transaction};
use super::{Plan, errors, values};
use crate::inputs::invalid;
use crate::sql::inputs::{Isolation, Job, Statement};
use crate::sql::rows::{self, Rows, Want};
use crate::sql::{self, StatementSent};

/// Performs `plan` and gives the call's output. `read_only`: the server refuses what changes something.
pub(super) async fn run(
    mut client: Client,
    plan: &Plan,
    read_only: bool,
    sent: &StatementSent,
) -> Result<Value, CallError> {
    let result = match &plan.job {
        Job::Transaction(statements) => transaction(&mut client, statements, plan.isolation, sent).await?,
        Job::Single(want, statement) if read_only => {
            let transaction = begin(&mut client, plan.isolation, read_only).await?;
            read(&transaction, plan, statement, *want, sent).await?
        }
        Job::Single(want, statement) => match plan.isolation {
            None => single(&client, plan, statement, *want, sent).await?,
            Some(_) => {
                let transaction = begin(&mut client, plan.isolation, read_only).await?;
                let result = single(&transaction, plan, statement, *want, sent).await?;
                let contained = stays_in_transaction(&statement.sql);
                transaction.commit().await.map_err(|error| failed(&error, contained))?;
                result
            }
        },
    };
    Ok(rows::output(&result))
}

async fn begin(
    client: &mut Client,
    isolation: Option<Isolation>,
    read_only: bool,
) -> Result<Transaction<'_>, CallError> {
    let mut builder = client.build_transaction();
    if let Some(isolation) = isolation {
        builder = builder.isolation_level(match isolation {
            Isolation::ReadUncommitted => IsolationLevel::ReadUncommitted,
            Isolation::ReadCommitted => IsolationLevel::ReadCommitted,
            Isolation::RepeatableRead => IsolationLevel::RepeatableRead,
            Isolation::Serializable => IsolationLevel::Serializable,
        });
    }
    if read_only {
        builder = builder.read_only(true);
    }
    builder.start().await.map_err(|error| errors::before_statement(&error))
}

/// A statement that only reads. The server stops after the rows that are wanted.
async fn read(
    transaction: &Transaction<'_>,
    plan: &Plan,
    statement: &Statement,
    want: Want,
    sent: &StatementSent,
) -> Result<Value, CallError> {
    let failed = |error: Error| failed(&error, true);
    let (prepared, parameters) = prepare(transaction, statement, want).await?;
    sent.set();
    let portal = transaction.bind(&prepared, &references(&parameters)).await.map_err(failed)?;
    let rows_wanted = if want == Want::Rows { plan.rows_max.saturating_add(1) } else { 1 };
    let rows = transaction.query_portal_raw(&portal, i32::try_from(rows_wanted).unwrap_or(i32::MAX));
    collect(rows.await.map_err(failed)?, &prepared, want, plan.rows_max, true).await
}

/// Any statement by itself.
async fn single(
    client: &impl GenericClient,
    plan: &Plan,
    statement: &Statement,
    want: Want,
    sent: &StatementSent,
) -> Result<Value, CallError> {
    if want == Want::Counts && statement.params.is_empty() && !is_single(&statement.sql) {
        return batch(client, &statement.sql, sent).await;
    }
    let atomic = is_atomic(&statement.sql);
    let (prepared, parameters) = prepare(client, statement, want).await?;
    sent.set();
    if want == Want::Counts {
        let count = client.execute_raw(&prepared, references(&parameters)).await;
        return Ok(rows::rows_affected(&[count.map_err(|error| failed(&error, atomic))?]));
    }
    let rows = client.query_raw(&prepared, references(&parameters)).await.map_err(|error| failed(&error, atomic))?;
    collect(rows, &prepared, want, plan.rows_max, atomic).await
}

/// Several statements without parameters, which the server does in one transaction unless they say otherwise.
async fn batch(client: &impl GenericClient, sql: &str, sent: &StatementSent) -> Result<Value, CallError> {
    sent.set();
    let answers = client.simple_query(sql).await.map_err(|error| failed(&error, false))?;
    let counts = answers.iter().filter_map(|answer| match answer {
        SimpleQueryMessage::CommandComplete(count) => Some(*count),
        _ => None,
    });
    Ok(rows::rows_affected(&counts.collect::<Vec<_>>()))
}

/// Reads the answer to its end, where an error may wait: what a constraint says at the commit comes after the rows.
async fn collect(
    rows: RowStream,
    prepared: &Prepared,
    want: Want,
    rows_max: usize,
    atomic: bool,
) -> Result<Value, CallError> {
    let mut rows = pin!(rows);
    let mut found = Rows::new(want, rows_max, prepared.columns().iter().map(|column| column.name()));
    while let Some(row) = rows.try_next().await.map_err(|error| failed(&error, atomic))? {
        found.add(values::of_row(&row))?;
    }
    Ok(found.into_result())
}

/// Runs the statements in one transaction. A server's error ends it, and where no statement could have done so before,
/// the error proves that nothing was done.
async fn transaction(
    client: &mut Client,
    statements: &[Statement],
    isolation: Option<Isolation>,
    sent: &StatementSent,
) -> Result<Value, CallError> {
    let contained = statements.iter().all(|statement| stays_in_transaction(&statement.sql));
    let transaction = begin(client, isolation, false).await?;
    let mut counts = Vec::with_capacity(statements.len());
    let mut last: Option<(&str, Prepared)> = None;
    for (position, statement) in statements.iter().enumerate() {
        let (prepared, parameters) = match &last {
            Some((sql, prepared)) if *sql == statement.sql => {
                (prepared.clone(), convert(prepared, statement).map_err(|error| sql::in_transaction(position, error))?)
            }
            _ => {
                let result = prepare(&transaction, statement, Want::Counts).await;
                result.map_err(|error| sql::in_transaction(position, after(position, contained, error)))?
            }
        };
        sent.set();
        let count = transaction.execute_raw(&prepared, references(&parameters)).await;
        counts.push(count.map_err(|error| sql::in_transaction(position, failed(&error, contained)))?);
        last = Some((&statement.sql, prepared));
    }
    transaction.commit().await.map_err(|error| failed(&error, contained))?;
    Ok(rows::rows_affected(&counts))
}

/// What a failure to prepare a statement proves when others came before it.
fn after(position: usize, contained: bool, error: CallError) -> CallError {
    if position == 0 || (contained && error.sent == Sent::Rejected) {
        return error;
    }
    CallError { sent: Sent::Unknown, ..error }
}

/// Has the server read the statement, which performs nothing, and converts its parameters.
async fn prepare(
    client: &impl GenericClient,
    statement: &Statement,
    want: Want,
) -> Result<(Prepared, Vec<Parameter>), CallError> {
    let prepared = client.prepare(&statement.sql).await.map_err(|error| match errors::ends_statement(&error) {
        true => errors::of_statement(&error, true),
        false => errors::before_statement(&error),
    })?;
    if want != Want::Counts && prepared.columns().is_empty() {
        return Err(invalid("the statement gives no result set; use `execute` for such a statement"));
    }
    let parameters = convert(&prepared, statement)?;
    Ok((prepared, parameters))
}

fn convert(prepared: &Prepared, statement: &Statement) -> Result<Vec<Parameter>, CallError> {
    let (wanted, given) = (prepared.params().len(), statement.params.len());
    if wanted != given {
        return Err(invalid(format!("the statement has {wanted} parameters, and {given} are given")));
    }
    let both = prepared.params().iter().zip(&statement.params).enumerate();
    both.map(|(index, (kind, value))| parameter::convert(index + 1, kind, value)).collect()
}

fn references(parameters: &[Parameter]) -> Vec<&(dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| parameter as &(dyn ToSql + Sync)).collect()
}

fn failed(error: &Error, atomic: bool) -> CallError {
    errors::of_statement(error, atomic && errors::ends_statement(error))
}
