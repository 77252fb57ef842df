//! Executions counted over time, by the database: nobody reads them one by one for a plot.

use std::time::Duration;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};

use super::StoreResult;
use crate::clock::Timestamp;
use crate::query::{Query, Tally, UNSUCCESSFUL, conditions};

/// How those executions of a query went that have rows of their own, in `spans` spans of time of `width` microseconds
/// each, by when they were created. What is later than the last is in the last.
pub(crate) fn of(
    connection: &Connection,
    query: &Query,
    since: Timestamp,
    width: i64,
    spans: u32,
) -> StoreResult<Vec<Tally>> {
    let mut plan = conditions(query);
    let [since, width, last] =
        [since.0, width, i64::from(spans) - 1].map(|number| plan.parameter(Sql::Integer(number)));
    let sql = format!(
        "WITH found AS MATERIALIZED (
             SELECT min((created_at - {since}) / {width}, {last}) AS span, status, ended_at - started_at AS took,
                 coalesce(response_status, 0) >= {UNSUCCESSFUL} AS is_unsuccessful
             FROM executions {conditions} AND created_at >= {since}),
         ranked AS (
             SELECT span, took, row_number() OVER (PARTITION BY span ORDER BY took) AS place,
                 count(*) OVER (PARTITION BY span) AS among
             FROM found WHERE took IS NOT NULL),
         counted AS (
             SELECT span, sum(status = 'ENDED_SUCCESS' AND NOT is_unsuccessful) AS succeeded,
                 sum(status = 'ENDED_ERROR' OR is_unsuccessful) AS failed, count(*) AS among
             FROM found GROUP BY span)
         SELECT counted.span, succeeded, failed, counted.among, took
         FROM counted LEFT JOIN ranked ON ranked.span = counted.span AND place = ranked.among / 2 + 1",
        conditions = plan.sql,
    );
    let mut tallies = vec![Tally::default(); spans as usize];
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(plan.parameters))?;
    while let Some(row) = rows.next()? {
        let Some(tally) = tallies.get_mut(row.get::<_, u32>(0)? as usize) else { continue };
        let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let (succeeded, failed) = (count(1)?, count(2)?);
        let others = count(3)? - succeeded - failed;
        let median = row.get::<_, Option<i64>>(4)?.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs()));
        *tally = Tally { succeeded, failed, others, median };
    }
    Ok(tallies)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::query::Kind;

    /// Far more than a page has, in two of three spans; the one between them has nothing, not even a time.
    #[test]
    fn all_are_counted_and_a_span_without_runs_has_no_median() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _) = crate::store::open_for_writing(&folder.path().join("surefoot.db"), 7).unwrap();
        let insert = "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3999)
             INSERT INTO executions (id, type, name, status, flow_id, version, created_at, created_by, input,
                 started_at, ended_at, response_status)
             SELECT n, 'FLOW', 'x', CASE n % 4 WHEN 3 THEN 'ENDED_ERROR' ELSE 'ENDED_SUCCESS' END,
                 iif(n = 0, 'other', 'mine'), '', 1000 + n + iif(n < 2000, 0, 8000), '', 'null', 10, 10 + n,
                 iif(n % 4 = 2, 500, 200) FROM numbers";
        connection.execute_batch(insert).unwrap();
        let filter = json!({"field": "flow_id", "op": "eq", "value": "mine"});
        let query = Query::parse(Kind::Execution, Some(&filter), None, None, None).unwrap();
        let tallies = of(&connection, &query, Timestamp(1000), 4000, 3).unwrap();
        let micros = |micros: u64| Some(Duration::from_micros(micros));
        let first = Tally { succeeded: 999, failed: 1000, others: 0, median: micros(1000) };
        let last = Tally { succeeded: 1000, failed: 1000, others: 0, median: micros(3000) };
        assert_eq!(tallies, [first, Tally::default(), last]);
    }
}
