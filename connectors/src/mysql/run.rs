//! Performing a plan on a session: statements, their rows, transactions.

use serde_json::Value;
use surefoot_connector_api::CallError;

use super::Plan;
use super::client::{Client, Column, Done, Prepared, Rows as Receiver};
use super::errors::Failure;
use super::statement::{has_nothing_inside, is_single, stays_in_transaction};
use super::values;
use crate::sql::inputs::{Isolation, Job, Statement};
use crate::sql::rows::{self, Rows, Want};
use crate::sql::{self, StatementSent};

/// "Some non-transactional changed tables couldn't be rolled back"
const NOT_ROLLED_BACK: &str = "1196";

/// Performs `plan` and gives the call's output. `read_only`: the server refuses what changes something.
pub(super) async fn run(
    mut client: Client,
    plan: &Plan,
    read_only: bool,
    sent: &StatementSent,
) -> Result<Value, CallError> {
    if let Some(isolation) = plan.isolation {
        set_isolation(&mut client, isolation).await.map_err(Failure::before_statement)?;
    }
    let result = match &plan.job {
        Job::Transaction(statements) => transaction(&mut client, statements, sent).await,
        Job::Single(want, statement) if read_only => read(&mut client, plan, statement, *want, sent).await,
        Job::Single(want, statement) if stays_in_transaction(&statement.sql) => {
            change(&mut client, plan, statement, *want, sent).await
        }
        Job::Single(want, statement) => anything(&mut client, plan, statement, *want, sent).await,
    };
    client.quit().await;
    Ok(rows::output(&result?))
}

/// Of the next transaction, which a single statement is too.
async fn set_isolation(client: &mut Client, isolation: Isolation) -> Result<(), Failure> {
    let level = match isolation {
        Isolation::ReadUncommitted => "READ UNCOMMITTED",
        Isolation::ReadCommitted => "READ COMMITTED",
        Isolation::RepeatableRead => "REPEATABLE READ",
        Isolation::Serializable => "SERIALIZABLE",
    };
    client.query(&format!("SET TRANSACTION ISOLATION LEVEL {level}")).await.map(drop)
}

/// A statement that only reads.
async fn read(
    client: &mut Client,
    plan: &Plan,
    statement: &Statement,
    want: Want,
    sent: &StatementSent,
) -> Result<Value, CallError> {
    client.query("START TRANSACTION READ ONLY").await.map_err(Failure::before_statement)?;
    let prepared = prepare(client, statement).await?;
    sent.set();
    // The rows after the first change nothing, so they need not come.
    let mut found = Found::new(want, plan.rows_max, want != Want::Rows);
    let results = client.execute(prepared, &statement.params, &mut found).await;
    results.map_err(|failure| {
        let refused = failure.is_refusal();
        failure.of_statement(refused)
    })?;
    found.into_result()
}

/// A statement that stays in a transaction, in one of its own.
async fn change(
    client: &mut Client,
    plan: &Plan,
    statement: &Statement,
    want: Want,
    sent: &StatementSent,
) -> Result<Value, CallError> {
    client.query("START TRANSACTION").await.map_err(Failure::before_statement)?;
    let prepared = prepare(client, statement).await?;
    sent.set();
    let mut found = Found::new(want, plan.rows_max, false);
    let results = match client.execute(prepared, &statement.params, &mut found).await {
        Ok(results) => results,
        Err(failure) => return Err(undo(client, failure).await),
    };
    let result = match (want, found.rows) {
        (Want::Counts, _) => counts(&results),
        (_, Some(rows)) => rows.into_result(),
        (_, None) => {
            let why = "the statement gives no result set; use `execute` for such a statement";
            return Err(undo(client, Failure::Misfit(why.into())).await);
        }
    };
    client.query("COMMIT").await.map_err(|failure| failure.of_statement(false))?;
    Ok(result)
}

/// Any statement, or several, as the server takes them.
async fn anything(
    client: &mut Client,
    plan: &Plan,
    statement: &Statement,
    want: Want,
    sent: &StatementSent,
) -> Result<Value, CallError> {
    let before_anything = has_nothing_inside(&statement.sql);
    let failed = |failure: Failure| {
        let undone = before_anything && failure.is_before_anything();
        failure.of_statement(undone)
    };
    if want == Want::Counts && statement.params.is_empty() {
        sent.set();
        // Not every statement can be prepared.
        let single = is_single(&statement.sql);
        let results =
            if single { client.query(&statement.sql).await } else { client.query_several(&statement.sql).await };
        return Ok(counts(&results.map_err(failed)?));
    }
    let prepared = prepare(client, statement).await?;
    sent.set();
    let mut found = Found::new(want, plan.rows_max, false);
    let results = client.execute(prepared, &statement.params, &mut found).await.map_err(failed)?;
    if want == Want::Counts { Ok(counts(&results)) } else { found.into_result() }
}

/// Runs the statements in one transaction. A failure rolls all of them back; where the server says that it did, and
/// no statement could have ended the transaction itself, the failure proves that nothing was done.
async fn transaction(client: &mut Client, statements: &[Statement], sent: &StatementSent) -> Result<Value, CallError> {
    let contained = statements.iter().all(|statement| stays_in_transaction(&statement.sql));
    client.query("START TRANSACTION").await.map_err(Failure::before_statement)?;
    let mut affected = Vec::with_capacity(statements.len());
    let mut last: Option<(&str, Prepared)> = None;
    for (position, statement) in statements.iter().enumerate() {
        let at_position = |error| sql::in_transaction(position, error);
        let known = last.filter(|(sql, _)| *sql == statement.sql).map(|(_, prepared)| prepared);
        let result = perform(client, statement, known, sent).await;
        match result {
            Ok((prepared, results)) => {
                affected.push(results.iter().map(|done| done.rows).sum());
                last = prepared.map(|prepared| (statement.sql.as_str(), prepared));
            }
            Err(failure) if contained => return Err(at_position(undo(client, failure).await)),
            Err(failure) => return Err(at_position(failure.of_statement(false))),
        }
    }
    client.query("COMMIT").await.map_err(|failure| failure.of_statement(false))?;
    Ok(rows::rows_affected(&affected))
}

/// One statement of a transaction.
async fn perform(
    client: &mut Client,
    statement: &Statement,
    known: Option<Prepared>,
    sent: &StatementSent,
) -> Result<(Option<Prepared>, Vec<Done>), Failure> {
    if statement.params.is_empty() {
        sent.set();
        return Ok((None, client.query(&statement.sql).await?));
    }
    let prepared = match known {
        Some(prepared) => prepared,
        None => client.prepare(&statement.sql).await?,
    };
    check_parameters(prepared, statement)?;
    sent.set();
    let results = client.execute_for_counts(prepared, &statement.params).await?;
    Ok((Some(prepared), results))
}

/// Rolls the transaction back and gives the error that `failure` is: with the proof that nothing was done, if the
/// server gives it. Tables without transactions keep what was done to them, and the server says so in a warning: of the
/// rollback, or of the failed statement where that has rolled back by itself, as in a deadlock.
async fn undo(client: &mut Client, failure: Failure) -> CallError {
    let undone = failure.leaves_connection() && is_undone(client).await;
    failure.of_statement(undone)
}

async fn is_undone(client: &mut Client) -> bool {
    let Ok(warnings) = client.text_rows("SHOW WARNINGS").await else { return false };
    // Level, number, text.
    if warnings.iter().any(|warning| warning.get(1).is_some_and(|number| number == NOT_ROLLED_BACK)) {
        return false;
    }
    client.query("ROLLBACK").await.is_ok_and(|results| results.iter().all(|done| done.warnings == 0))
}

/// Has the server read the statement, which performs nothing.
async fn prepare(client: &mut Client, statement: &Statement) -> Result<Prepared, CallError> {
    let prepared = client.prepare(&statement.sql).await.map_err(|failure| match failure.is_refusal() {
        true => failure.of_statement(true),
        false => failure.before_statement(),
    })?;
    check_parameters(prepared, statement).map_err(Failure::before_statement)?;
    Ok(prepared)
}

fn check_parameters(prepared: Prepared, statement: &Statement) -> Result<(), Failure> {
    let (wanted, given) = (usize::from(prepared.parameters), statement.params.len());
    if wanted == given {
        return Ok(());
    }
    Err(Failure::Misfit(format!("the statement has {wanted} parameters, and {given} are given")))
}

fn counts(results: &[Done]) -> Value {
    rows::rows_affected(&results.iter().map(|done| done.rows).collect::<Vec<_>>())
}

/// The rows of the first result; the later ones are read past.
struct Found {
    want: Want,
    rows_max: usize,
    first_row_ends_it: bool,
    results: usize,
    rows: Option<Rows>,
}

impl Found {
    fn new(want: Want, rows_max: usize, first_row_ends_it: bool) -> Self {
        Self { want, rows_max, first_row_ends_it, results: 0, rows: None }
    }

    fn into_result(self) -> Result<Value, CallError> {
        self.rows.map(Rows::into_result).ok_or_else(rows::no_result_set)
    }
}

impl Receiver for Found {
    fn columns(&mut self, columns: &[Column]) {
        self.results += 1;
        if self.results == 1 && self.want != Want::Counts {
            let names = columns.iter().map(|column| column.name.as_str());
            self.rows = Some(Rows::new(self.want, self.rows_max, names));
        }
    }

    fn row(&mut self, columns: &[Column], row: &[u8]) -> Result<bool, Failure> {
        if self.results == 1
            && let Some(rows) = &mut self.rows
        {
            rows.add(values::of_row(columns, row)?.into_iter())?;
            return Ok(!self.first_row_ends_it);
        }
        Ok(true)
    }
}
