//! Performing a plan on a session: statements, their rows, transactions.

use futures::TryStreamExt;
use serde_json::Value;
use surefoot_connector_api::CallError;
use tiberius::error::Error;
use tiberius::{IsolationLevel, Query, QueryItem};

use super::errors;
use super::inputs::{Isolation, Plan};
use super::session::Session;
use super::statement::{is_atomic, is_plain_select, stays_in_transaction};
use super::values;
use crate::sql::inputs::{Job, Statement};
use crate::sql::rows::{self, Rows, Want};
use crate::sql::{self, StatementSent};

/// "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION": the server has rolled back by itself.
const ALREADY_ROLLED_BACK: u32 = 3903;

/// Performs `plan` and gives the call's output.
pub(super) async fn run(mut session: Session, plan: &Plan, sent: &StatementSent) -> Result<Value, CallError> {
    let result = match &plan.job {
        Job::Transaction(statements) => transaction(&mut session, statements, plan.isolation, sent).await,
        Job::Single(want, statement) => single(&mut session, plan, statement, *want, sent).await,
    };
    match result {
        Ok(result) => {
            // The answer is complete; that the server hears our good-bye changes nothing.
            let _ = session.client.close().await;
            Ok(rows::output(&result))
        }
        Err(error) => Err(session.limit.explain(error)),
    }
}

async fn single(
    session: &mut Session,
    plan: &Plan,
    statement: &Statement,
    want: Want,
    sent: &StatementSent,
) -> Result<Value, CallError> {
    let query = bind(statement)?;
    if let Some(isolation) = plan.isolation {
        set_isolation(session, isolation).await?;
    }
    sent.set();
    let atomic = is_atomic(&statement.sql);
    if want == Want::Counts {
        let counts = query.execute(&mut session.client).await;
        let counts = counts.map_err(|error| failed(error, atomic))?;
        return Ok(rows::rows_affected(counts.rows_affected()));
    }
    // Of a statement that only reads, the rows after the first change nothing, so they need not come. Of any other the
    // answer is read to its end, where an error may wait.
    let first_row_ends_it = want != Want::Rows && is_plain_select(&statement.sql);
    fetch(session, query, want, plan.rows_max, first_row_ends_it, atomic).await
}

/// The rows of the first result set; the later ones are read past.
async fn fetch(
    session: &mut Session,
    query: Query<'_>,
    want: Want,
    rows_max: usize,
    first_row_ends_it: bool,
    atomic: bool,
) -> Result<Value, CallError> {
    let failed = |error| failed(error, atomic);
    let mut items = query.query(&mut session.client).await.map_err(failed)?;
    let mut found: Option<Rows> = None;
    while let Some(item) = items.try_next().await.map_err(failed)? {
        match item {
            QueryItem::Metadata(metadata) if found.is_none() => {
                let columns = metadata.columns().iter().map(|column| column.name());
                found = Some(Rows::new(want, rows_max, columns));
            }
            QueryItem::Row(row) if row.result_index() == 0 => {
                if let Some(found) = &mut found {
                    found.add(values::of_row(&row))?;
                }
                if first_row_ends_it {
                    break;
                }
            }
            QueryItem::Metadata(_) | QueryItem::Row(_) => {}
        }
    }
    found.map(Rows::into_result).ok_or_else(rows::no_result_set)
}

/// Runs the statements in one transaction. A failure rolls all of them back; where the server says that it did, and
/// no statement could have ended the transaction itself, the failure proves that nothing was done.
async fn transaction(
    session: &mut Session,
    statements: &[Statement],
    isolation: Option<Isolation>,
    sent: &StatementSent,
) -> Result<Value, CallError> {
    let queries: Vec<Query<'_>> = statements.iter().map(bind).collect::<Result<_, _>>()?;
    let contained = statements.iter().all(|statement| stays_in_transaction(&statement.sql));
    let level = isolation.map_or(IsolationLevel::Unspecified, Isolation::level);
    session.client.begin_transaction_with_isolation(level).await.map_err(errors::before_statement)?;
    sent.set();
    let mut rows_affected = Vec::with_capacity(queries.len());
    for (position, query) in queries.into_iter().enumerate() {
        match query.execute(&mut session.client).await {
            Ok(counts) => rows_affected.push(counts.total()),
            Err(error) => {
                let undone = contained && roll_back(session, &error).await;
                return Err(sql::in_transaction(position, errors::of_statement(error, undone)));
            }
        }
    }
    session.client.commit_transaction().await.map_err(|error| errors::of_statement(error, false))?;
    Ok(rows::rows_affected(&rows_affected))
}

/// Whether the server confirms that nothing of the transaction is left after `cause`.
async fn roll_back(session: &mut Session, cause: &Error) -> bool {
    if cause.code().is_none() {
        return false;
    }
    match session.client.rollback_transaction().await {
        Ok(()) => true,
        Err(error) => error.code() == Some(ALREADY_ROLLED_BACK) && errors::ends_statement(cause),
    }
}

fn failed(error: Error, atomic: bool) -> CallError {
    let undone = atomic && errors::ends_statement(&error);
    errors::of_statement(error, undone)
}

async fn set_isolation(session: &mut Session, isolation: Isolation) -> Result<(), CallError> {
    // Not through `sp_executesql`, at whose end the server would take the setting back.
    let answer = session.client.simple_query(isolation.sql()).await.map_err(errors::before_statement)?;
    answer.into_results().await.map_err(errors::before_statement)?;
    Ok(())
}

fn bind(statement: &Statement) -> Result<Query<'static>, CallError> {
    let mut query = Query::new(statement.sql.clone());
    for (index, value) in statement.params.iter().enumerate() {
        query.bind(values::parameter(index + 1, value)?);
    }
    Ok(query)
}
