//! Settings that executions hold as locks.

use serde_json::Map;

use super::*;
use crate::doctor::Severity;
use crate::restarts::RestartVersion;
use crate::session::QueryCall;

/// Does the steps of its input one after the other, and returns what came of each: `lock NAME [MS]`, `unlock NAME`,
/// `save NAME`, `rename NAME NEW`, `delete NAME`, `save-at-end NAME`, `go` (waits for that signal), `say TEXT`, `fail`,
/// `again` (continues as new with the steps after it).
fn stepper() -> Arc<dyn NativeFlow> {
    flow(|session, input| async move {
        let steps: Vec<String> = serde_json::from_value(input).unwrap();
        let mut results = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let words: Vec<&str> = step.split(' ').collect();
            let fields = |name: &str, value: Value| Map::from_iter([(name.to_owned(), value)]);
            let result = match words[..] {
                ["lock", name] => shown(session.lock(name, None).await?.map(|_| "locked")),
                ["lock", name, ms] => {
                    let timeout = Duration::from_millis(ms.parse().unwrap());
                    shown(session.lock(name, Some(timeout)).await?.map(|_| "locked"))
                }
                ["unlock", name] => shown(session.unlock(name).await?),
                ["save", name] => {
                    let saved = session.record_save("setting", name, fields("value", json!(step))).await?;
                    shown(saved.map(|record| record["locked_by"]["waiters"].clone()))
                }
                ["rename", name, new] => {
                    shown(session.record_save("setting", name, fields("name", json!(new))).await?.map(drop))
                }
                ["delete", name] => shown(session.record_delete("setting", name, true).await?),
                ["save-at-end", name] => {
                    let (kind, fields) = ("setting".into(), json!({ "value": "at the end" }));
                    shown(session.on_end(EndAction::SaveRecord { kind, key: (*name).to_owned(), fields }).await?)
                }
                ["go"] => shown(session.wait_signal("go", None).await?.map(drop)),
                ["say", text] => {
                    session.set_message(text)?;
                    Value::Null
                }
                ["fail"] => return Err(End::Error("failed".into(), "on purpose".into())),
                ["again"] => return Err(End::ContinueAsNew(json!(steps[index + 1..]))),
                _ => unreachable!("{step}"),
            };
            results.push(result);
        }
        Ok(json!(results))
    })
}

fn shown(result: Result<impl serde::Serialize, HostError>) -> Value {
    result.map_or_else(|error| json!(format!("{error:?}")), |value| json!(value))
}

fn flows() -> Vec<(&'static str, Arc<dyn NativeFlow>)> {
    vec![("stepper", stepper())]
}

struct Lab {
    engine: Engine,
    folder: tempfile::TempDir,
}

impl Lab {
    /// With the settings `a`, `b` and `c`.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path(), flows());
        for name in ["a", "b", "c"] {
            engine.save(Kind::Setting, name, Map::new(), "test").await.unwrap();
        }
        Self { engine, folder }
    }

    async fn start(&self, steps: &[&str]) -> String {
        start(&self.engine, "stepper", json!(steps)).await
    }

    /// Starts it, and waits until it waits.
    async fn start_waiting(&self, steps: &[&str]) -> String {
        let id = self.start(steps).await;
        until(&self.engine, &id, "WAITING").await;
        id
    }

    async fn go(&self, id: &str) {
        self.engine.signal(id, "go", Value::Null, "test", None).await.unwrap();
    }

    /// The results of one that has succeeded.
    async fn results(&self, id: &str) -> Value {
        let row = ended(&self.engine, id).await;
        assert_eq!(row["status"], "ENDED_SUCCESS", "{row:#}");
        row["output"].clone()
    }

    async fn message(&self, id: &str) -> Value {
        self.engine.execution(id).await.unwrap()["message"].clone()
    }

    /// Waits until it says that.
    async fn until_message(&self, id: &str, text: &str) {
        let mut changes = self.engine.changes();
        let wait = async {
            while self.message(id).await != text {
                let _ = tokio::time::timeout(Duration::from_millis(100), changes.recv()).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{id} never said `{text}`"));
    }

    async fn locked_by(&self, setting: &str) -> Value {
        self.engine.record(Kind::Setting, setting).await.unwrap()["locked_by"].clone()
    }

    async fn assert_held(&self, setting: &str, id: &str, waiters: u32) {
        let locked_by = self.locked_by(setting).await;
        assert_eq!((&locked_by["execution_id"], &locked_by["waiters"]), (&json!(id), &json!(waiters)), "{locked_by}");
    }

    /// Nobody holds anything, nobody waits, and doctor has nothing to say.
    async fn assert_free(&self) {
        let left = |connection: &rusqlite::Connection| {
            Ok(connection.query_row("SELECT count(*) FROM locks", [], |row| row.get::<_, i64>(0))?)
        };
        assert_eq!(self.engine.core.readers.read(left).unwrap(), 0);
        let findings = self.engine.examine().await.unwrap().findings;
        assert!(findings.iter().all(|finding| !finding.code.contains("lock")), "{findings:#?}");
    }
}

fn contains(value: &Value, text: &str) -> bool {
    value.as_str().is_some_and(|value| value.contains(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_first_has_it_first_also_after_a_restart() {
    let mut lab = Lab::new().await;
    let first = lab.start_waiting(&["lock a", "go", "save a", "unlock a", "go"]).await;
    let mut line = Vec::new();
    for _ in 0..3 {
        line.push(lab.start_waiting(&["say busy", "lock a", "save a", "go"]).await);
    }
    lab.assert_held("a", &first, 3).await;
    assert_eq!(lab.message(&line[1]).await, "waits for the lock `a`");
    // Who is paused keeps its turn, and who is resumed says again what it waits for.
    lab.engine.pause(&line[1], "test").await.unwrap();
    assert_eq!(lab.message(&line[1]).await, "paused");
    lab.engine.resume(&line[1], "test").await.unwrap();
    lab.until_message(&line[1], "waits for the lock `a`").await;
    until(&lab.engine, &line[1], "WAITING").await;
    lab.engine = reopen(lab.engine, lab.folder.path(), flows()).await;
    lab.assert_held("a", &first, 3).await;
    lab.go(&first).await;
    for (index, id) in line.iter().enumerate() {
        // It has it, and waits for its signal by now.
        let mut changes = lab.engine.changes();
        while lab.locked_by("a").await["execution_id"] != json!(id) || lab.message(id).await != json!("busy") {
            let _ = tokio::time::timeout(Duration::from_millis(100), changes.recv()).await;
        }
        lab.go(id).await;
        let waiters = 2 - index;
        assert_eq!(lab.results(id).await, json!([null, "locked", waiters, null]), "{index}");
    }
    lab.go(&first).await;
    assert_eq!(lab.results(&first).await, json!(["locked", null, 3, null, null]));
    lab.assert_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_held_once_more_and_a_wrong_unlock_is_refused() {
    let lab = Lab::new().await;
    let steps = ["unlock a", "lock a", "lock a 0", "unlock a", "save a", "unlock a", "unlock a", "lock x", "unlock x"];
    let results = lab.results(&lab.start(&steps).await).await;
    assert!(contains(&results[0], "Conflict") && contains(&results[0], "nobody does"), "{results:#}");
    assert_eq!(
        results.as_array().unwrap()[1..6],
        [json!("locked"), json!("locked"), Value::Null, json!(0), Value::Null]
    );
    assert!(contains(&results[6], "has unlocked it already"), "{results:#}");
    assert!(contains(&results[7], "NotFound") && contains(&results[7], "save the setting before"), "{results:#}");
    assert!(contains(&results[8], "NotFound"), "{results:#}");
    lab.assert_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_has_its_own_error_at_its_end() {
    let lab = Lab::new().await;
    let holder = lab.start_waiting(&["lock a", "go"]).await;
    for ms in ["0", "30"] {
        let step = format!("lock a {ms}");
        let results = lab.results(&lab.start(&["say here", &step, "lock b"]).await).await;
        assert!(contains(&results[1], "LockTimeout") && contains(&results[1], &holder), "{results:#}");
        assert_eq!(results[2], "locked");
    }
    lab.assert_held("a", &holder, 0).await;
    lab.go(&holder).await;
    lab.results(&holder).await;
    lab.assert_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_close_a_circle_is_refused_and_the_others_go_on() {
    let lab = Lab::new().await;
    let steps =
        |own: &str, other: &str| [format!("lock {own}"), "go".into(), format!("lock {other}"), format!("save {own}")];
    let mut ids = Vec::new();
    for (own, other) in [("a", "b"), ("b", "c"), ("c", "a")] {
        let steps = steps(own, other);
        ids.push(lab.start_waiting(&steps.each_ref().map(String::as_str)).await);
    }
    for (id, awaited) in [(&ids[0], "b"), (&ids[1], "c")] {
        lab.go(id).await;
        let mut changes = lab.engine.changes();
        while lab.locked_by(awaited).await["waiters"] != json!(1) {
            let _ = tokio::time::timeout(Duration::from_millis(100), changes.recv()).await;
        }
    }
    lab.go(&ids[2]).await;
    let results = lab.results(&ids[2]).await;
    assert!(contains(&results[2], "Deadlock"), "{results:#}");
    let way = format!("execution {} waits for `b`, whose holder execution {} waits for `c`", ids[0], ids[1]);
    assert!(contains(&results[2], &way), "{results:#}");
    for id in &ids[..2] {
        assert_eq!(lab.results(id).await[2], "locked");
    }
    lab.assert_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_end_is_the_lock_goes_on_to_the_next() {
    let lab = Lab::new().await;
    let next = |holder: String| {
        let lab = &lab;
        async move {
            let next = lab.start_waiting(&["lock a", "save a"]).await;
            lab.assert_held("a", &holder, 1).await;
            (holder, next)
        }
    };
    let (failing, waiting) = next(lab.start_waiting(&["lock a", "go", "fail"]).await).await;
    lab.go(&failing).await;
    assert_eq!(lab.results(&waiting).await[0], "locked");
    assert_eq!(ended(&lab.engine, &failing).await["status"], "ENDED_ERROR");

    let (cancelled, waiting) = next(lab.start_waiting(&["lock a", "save-at-end a", "go"]).await).await;
    // Somebody who waits and is cancelled leaves the line; who holds it gives it on, after its own last change.
    let left = lab.start_waiting(&["lock a"]).await;
    lab.engine.cancel(&left, "test").await.unwrap();
    assert_eq!(ended(&lab.engine, &left).await["status"], "ENDED_CANCELLED");
    lab.assert_held("a", &cancelled, 1).await;
    lab.engine.cancel(&cancelled, "test").await.unwrap();
    assert_eq!(lab.results(&waiting).await, json!(["locked", 0]));
    let log = lab.engine.log(&cancelled, None, 10).await.unwrap();
    assert!(log.is_empty(), "the action at its end was refused: {log:?}");

    // Paused, it keeps what it holds.
    let (paused, waiting) = next(lab.start_waiting(&["lock a", "go"]).await).await;
    lab.engine.pause(&paused, "test").await.unwrap();
    lab.go(&paused).await;
    lab.assert_held("a", &paused, 1).await;
    lab.engine.resume(&paused, "test").await.unwrap();
    lab.results(&waiting).await;
    lab.assert_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_continues_as_new_takes_its_locks_along() {
    let lab = Lab::new().await;
    let steps = ["lock a", "lock a", "lock b", "again", "go", "save a", "lock a 0", "unlock a", "unlock b", "go"];
    let id = lab.start(&steps).await;
    let held = |name: &'static str| {
        let lab = &lab;
        async move { lab.locked_by(name).await["execution_id"].as_str().unwrap_or_default().to_owned() }
    };
    let mut changes = lab.engine.changes();
    // One look at a time: between two of them the lock may have been taken.
    let new = loop {
        let holder = held("b").await;
        if !holder.is_empty() && holder != id {
            break holder;
        }
        let _ = tokio::time::timeout(Duration::from_millis(100), changes.recv()).await;
    };
    let waiting = lab.start_waiting(&["lock a", "lock b"]).await;
    lab.assert_held("a", &new, 1).await;
    lab.go(&id).await;
    assert_eq!(lab.results(&waiting).await, json!(["locked", "locked"]), "one unlock was enough");
    lab.go(&id).await;
    assert_eq!(lab.results(&id).await, json!([null, 1, "locked", null, null, null]));
    lab.assert_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_holder_changes_what_is_locked() {
    let lab = Lab::new().await;
    let holder = lab.start_waiting(&["lock a", "save a", "go", "rename a z", "unlock z", "delete z"]).await;
    let steps = ["save a", "rename a y", "delete a"];
    let results = lab.results(&lab.start(&steps).await).await;
    for result in results.as_array().unwrap() {
        assert!(
            contains(result, "Conflict") && contains(result, &format!("is locked by execution {holder}")),
            "{result}"
        );
    }
    let refused = lab.engine.update(Kind::Setting, "a", Map::new(), "test").await.unwrap_err().to_string();
    assert!(refused.contains("surefoot setting unlock a"), "{refused}");
    assert!(lab.engine.delete(Kind::Setting, "a", false, "test").await.is_err());
    lab.go(&holder).await;
    assert_eq!(lab.results(&holder).await, json!(["locked", 0, null, null, null, true]));

    // What others wait for is not deleted under them; what nobody waits for goes with its lock.
    let holder = lab.start_waiting(&["lock b", "go", "delete b", "lock c", "delete c"]).await;
    let waiting = lab.start_waiting(&["lock b"]).await;
    lab.go(&holder).await;
    let results = lab.results(&holder).await;
    assert!(contains(&results[2], "1 executions wait for its lock"), "{results:#}");
    assert_eq!(results[4], true);
    lab.results(&waiting).await;
    lab.assert_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_taken_away_is_given_on_and_its_holder_hears_of_it() {
    let lab = Lab::new().await;
    assert!(lab.engine.unlock("a", "test").await.unwrap_err().to_string().contains("not locked"));
    let holder = lab.start_waiting(&["lock a", "go", "save a", "unlock a"]).await;
    let next = lab.start_waiting(&["lock a", "go"]).await;
    let notes: Vec<_> = lab.engine.examine().await.unwrap().findings;
    let waits = notes.iter().find(|finding| finding.code == "waiting_for_lock").expect("doctor names who waits");
    assert!(waits.severity == Severity::Note && waits.message.contains(&holder) && waits.id == next, "{waits:?}");
    let after = lab.engine.unlock("a", "ada").await.unwrap();
    assert_eq!(after["locked_by"]["execution_id"], next);
    lab.go(&holder).await;
    let results = lab.results(&holder).await;
    assert!(contains(&results[2], &format!("is locked by execution {next}")), "{results:#}");
    assert!(contains(&results[3], "somebody took the lock away"), "{results:#}");
    lab.go(&next).await;
    lab.results(&next).await;
    let filter = Some(json!({"field": "action", "op": "eq", "value": "unlock"}));
    let audit = QueryCall { kind: "audit".into(), filter, ..QueryCall::default() };
    let entry = lab.engine.query(audit).await.unwrap().rows.remove(0);
    assert_eq!((&entry["action"], &entry["created_by"]), (&json!("unlock"), &json!("ada")));
    assert_eq!(entry["before"]["locked_by"]["execution_id"], holder);
    lab.assert_free().await;
}

/// What was given up at the end is not held by who goes on from the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_from_a_call_in_between_does_not_believe_to_hold_a_lock() {
    let lab = Lab::new().await;
    let restart = async |id: &str, from| lab.engine.restart(id, from, RestartVersion::Same, "test").await;
    let id = lab.start(&["lock a", "lock a", "unlock a", "save a", "unlock a", "lock b 0", "save b"]).await;
    lab.results(&id).await;
    for (from, named) in [(1, "call 0 locked `a`"), (4, "restart from call 0"), (6, "call 5 locked `b`")] {
        let refused = restart(&id, from).await.unwrap_err().to_string();
        assert!(refused.contains(named), "{refused}");
    }
    let again = restart(&id, 5).await.unwrap();
    assert_eq!(lab.results(&again).await, lab.results(&id).await);
    let steps = ["lock a", "again", "save a", "save a", "unlock a", "save b"];
    let last = ended(&lab.engine, &lab.start(&steps).await).await["id"].as_str().unwrap().to_owned();
    let refused = restart(&last, 1).await.unwrap_err().to_string();
    assert!(refused.contains("from its beginning"), "{refused}");
    lab.results(&restart(&last, 3).await.unwrap()).await;
    lab.assert_free().await;
}
