//! What a restore holds still, and what lets it go on.

use rusqlite::{Connection, params};

use super::StoreResult;
use super::executions::{self, Key};
use crate::clock::Timestamp;
use crate::upkeep::RESTORED;

/// How many a restore held.
pub(crate) struct Held {
    pub(crate) executions: usize,
    pub(crate) schedules: usize,
    pub(crate) webhooks: usize,
    pub(crate) notifications: usize,
}

/// Pauses what has not ended, disables what would start something or tell somebody, and logs everybody out. Who was
/// paused before keeps its own reason. A cancel that was asked for would run on through a pause, so it is taken back,
/// and the message says so.
pub(crate) fn hold(connection: &Connection, now: Timestamp) -> StoreResult<Held> {
    let transaction = connection.unchecked_transaction()?;
    let executions = transaction.execute(
        "UPDATE executions SET status = 'PAUSED', message = ?1 || CASE
             WHEN (SELECT cancel FROM active WHERE execution = executions.rowid) THEN '; a cancel had been asked for'
             ELSE '' END
         WHERE rowid IN (SELECT execution FROM active WHERE state <> 2)",
        [RESTORED],
    )?;
    transaction.execute(
        "UPDATE executions SET message = message || '; a cancel had been asked for'
         WHERE rowid IN (SELECT execution FROM active WHERE state = 2 AND cancel)",
        [],
    )?;
    transaction.execute("UPDATE active SET state = 2, cancel = 0, deaths = 0", [])?;
    let disable = |kind: &str| {
        transaction.execute(
            "UPDATE records SET revision = revision + 1, modified_at = ?2, modified_by = 'restore',
                 data = json_set(data, '$.is_enabled', json('false'), '$.disabled_reason', ?3)
             WHERE kind = ?1 AND json_extract(data, '$.is_enabled')",
            params![kind, now.0, RESTORED],
        )
    };
    let (schedules, webhooks, notifications) = (disable("schedule")?, disable("webhook")?, disable("notification")?);
    // What was ended after the backup must not be good again.
    transaction.execute_batch("DELETE FROM sessions; DELETE FROM one_time_links;")?;
    transaction.execute("INSERT OR REPLACE INTO meta VALUES ('restored_at', ?1)", [now.0])?;
    transaction.execute("UPDATE meta SET value = 1 WHERE key = 'clean'", [])?;
    transaction.commit()?;
    Ok(Held { executions, schedules, webhooks, notifications })
}

/// Lets executions go on that a restore holds, the oldest first, at most `limit` of them. An iteration of a schedule
/// goes on with its schedule, when that is enabled.
pub(crate) fn resume_some(connection: &Connection, limit: u32) -> StoreResult<Vec<Key>> {
    let mut statement = connection.prepare_cached(
        "SELECT active.execution FROM active JOIN executions ON executions.rowid = active.execution
         WHERE active.state = 2 AND executions.type <> 'SCHEDULE'
             AND (executions.message = ?1 OR executions.message LIKE ?1 || ';%')
         ORDER BY active.execution LIMIT ?2",
    )?;
    let keys = statement.query_map(params![RESTORED, limit], |row| row.get(0).map(Key))?;
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    for key in &keys {
        executions::set_paused(connection, *key, false, "")?;
    }
    Ok(keys)
}

/// Lets an execution go on, if a restore holds it.
pub(crate) fn resume_one(connection: &Connection, key: Key) -> StoreResult<()> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM executions WHERE rowid = ?1 AND status = 'PAUSED'
             AND (message = ?2 OR message LIKE ?2 || ';%')",
    )?;
    if statement.exists(params![key.0, RESTORED])? {
        executions::set_paused(connection, key, false, "")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::executions::{NewExecution, request_cancel, set_paused};
    use crate::store::open_for_writing;

    #[test]
    fn a_cancel_that_a_restore_takes_back_is_in_the_message() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _) = open_for_writing(&folder.path().join("surefoot.db"), 7).unwrap();
        let [plain, cancelled, paused, both] = ["1", "2", "3", "4"]
            .map(|id| executions::insert(&connection, &NewExecution::sample(id, Timestamp(1)), Timestamp(1)).unwrap());
        for key in [paused, both] {
            set_paused(&connection, key, true, "by hand").unwrap();
        }
        for key in [cancelled, both] {
            request_cancel(&connection, key).unwrap();
        }
        assert_eq!(hold(&connection, Timestamp(2)).unwrap().executions, 2);
        let message = |key: Key| -> String {
            let sql = "SELECT message FROM executions WHERE rowid = ?1";
            connection.query_row(sql, [key.0], |row| row.get(0)).unwrap()
        };
        assert_eq!(message(plain), "restored");
        assert_eq!(message(cancelled), "restored; a cancel had been asked for");
        assert_eq!(message(paused), "by hand");
        assert_eq!(message(both), "by hand; a cancel had been asked for");
        assert_eq!(executions::active(&connection).unwrap().iter().filter(|active| active.cancel).count(), 0);
        assert_eq!(resume_some(&connection, 10).unwrap(), [plain, cancelled]);
    }
}
