//! Recovery from a failed commit: who waits hears of what it left behind, and damage stays where it is.

use serde_json::Value;
use tokio::sync::Semaphore;

use super::*;
use crate::calls::tests::with_a_call_under_way;
use crate::scenarios::{PATIENCE, ended, start};

/// What a commit that failed has left in the database all the same.
fn behind_its_back(core: &Core, sql: &str) {
    let path = core.config.data.join(crate::upkeep::DATABASE);
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

async fn fail_a_commit(core: &Core) {
    let failing = |_: &rusqlite::Connection| Err::<(), _>(StoreError::Failed("simulated".into()));
    assert!(core.writer.submit(Urgency::Now, Concerns::None, failing).done().await.is_err());
}

/// A commit may fail and be there after the recovery: its end was told to nobody then.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_end_hears_of_one_that_a_failed_commit_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, resident) = with_a_call_under_way(folder.path(), &Arc::new(Semaphore::new(0))).await;
    let (waiting, id) = (engine.clone(), resident.execution.id.clone());
    let waiter = engine.core.tasks.spawn(async move { ended(&waiting, &id).await });
    while !engine.core.ended.is_awaited(&resident.execution.id) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let sql = "UPDATE executions SET status = 'ENDED_SUCCESS', ended_at = 1 WHERE ended_at IS NULL; DELETE FROM active";
    behind_its_back(&engine.core, sql);
    fail_a_commit(&engine.core).await;
    assert_eq!(waiter.await.unwrap()["status"], "ENDED_SUCCESS");
    engine.shutdown(Duration::ZERO).await.unwrap();
}

/// Only the execution whose journal is damaged ends by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_keeps_no_engine_from_recovering() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let (engine, resident) = with_a_call_under_way(folder.path(), &gate).await;
    behind_its_back(&engine.core, "UPDATE journal SET records = x'01c1' WHERE id = (SELECT max(id) FROM journal)");
    fail_a_commit(&engine.core).await;
    let recovered = async {
        while engine.core.writer.submit(Urgency::Now, Concerns::None, |_| Ok(())).done().await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, recovered).await.expect("the engine recovers");
    let other = start(&engine, "other", Value::Null).await;
    assert_eq!(ended(&engine, &other).await["status"], "ENDED_SUCCESS");
    gate.add_permits(1);
    assert_eq!(ended(&engine, &resident.execution.id).await["error_code"], "internal");
    engine.shutdown(PATIENCE).await.unwrap();
}

/// It can neither run nor wait for a better time: it ends, and a cancel would not have been needed.
#[tokio::test(flavor = "multi_thread")]
async fn an_execution_whose_row_cannot_be_read_ends() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let (engine, resident) = with_a_call_under_way(folder.path(), &gate).await;
    behind_its_back(&engine.core, "UPDATE executions SET input = '{bad' WHERE ended_at IS NULL");
    let found = engine.examine().await.unwrap().findings;
    let of_it = |finding: &&crate::Finding| finding.id == resident.execution.id;
    assert_eq!(found.iter().find(of_it).map(|finding| finding.code), Some("execution_damaged"), "{found:#?}");
    gate.add_permits(1);
    let row = ended(&engine, &resident.execution.id).await;
    assert_eq!(row["error_code"], "internal");
    assert!(row["error_message"].as_str().unwrap().contains("its input cannot be read"), "{row:#}");
    engine.shutdown(PATIENCE).await.unwrap();
}
