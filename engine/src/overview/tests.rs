//! The order of what has changed; where executions are; and a reader against the list that it follows.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::core::Config;
use crate::engine::{Engine, StartRequest, WriterMode};
use crate::native::NativeFlow;
use crate::session::{End, QueryCall, Session};

fn entry(key: i64, size: usize, is_gone: bool) -> Entry {
    let id: Arc<str> = key.to_string().into();
    let row = json!({"id": &*id, "deleted_at": is_gone.then_some("now")});
    Entry { key: Key(key), id, projects: Vec::new(), row, text: Some("x".repeat(size).into()) }
}

fn order(state: &State) -> Vec<(u64, i64)> {
    state.entries.iter().map(|(position, entry)| (*position, entry.key.0)).collect()
}

#[test]
fn of_an_execution_only_the_newest_state_is_kept_where_it_changed_last() {
    let mut state = State::default();
    for (key, size) in [(1, 1), (2, 1), (1, 2), (1, 2)] {
        state.put(entry(key, size, false));
    }
    assert_eq!(order(&state), [(2, 2), (3, 1)], "what is as before is no news");
    for (size, is_gone) in [(3, true), (4, true), (3, false)] {
        state.put(entry(2, size, is_gone));
    }
    assert_eq!(order(&state), [(3, 1), (5, 2)], "it went once, and came back");
    assert_eq!((state.floor, state.positions.len()), (0, 2));
    assert_eq!(state.bytes, state.entries.values().map(|entry| entry.bytes()).sum::<usize>());
}

#[test]
fn what_is_kept_is_bounded_and_who_has_missed_something_is_told() {
    let mut state = State::default();
    let many = i64::try_from(KEPT_BYTES_MAX / ROW_BYTES_MAX).unwrap() * 2;
    for key in 0..many {
        state.put(entry(key, ROW_BYTES_MAX, false));
    }
    assert!(state.bytes <= KEPT_BYTES_MAX && state.entries.len() > 100);
    assert_eq!(state.positions.len(), state.entries.len());
    assert_eq!(state.entries.first_key_value().map(|(position, _)| *position), Some(state.floor + 1));
    state.begin_anew();
    assert!(state.floor > u64::try_from(many).unwrap() && state.entries.is_empty() && state.bytes == 0);
}

#[test]
fn a_place_is_read_as_it_is_written() {
    let place = ListPlace { opening: "019ad-7".into(), position: 12 };
    assert_eq!(place.to_string().parse(), Ok(place));
    for wrong in ["", ".", "a", "a.", ".1", "a.b", "a.-1", "a_.1", "a.1.2"] {
        assert!(wrong.parse::<ListPlace>().is_err(), "{wrong}");
    }
}

/// Both ways to ask where an execution is say the same, of executions of every sort and records of every sort.
#[test]
fn an_execution_is_in_the_projects_whose_lists_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let (connection, _) = crate::store::open_for_writing(&folder.path().join("surefoot.db"), 7).unwrap();
    let record = |kind: &str, id: &str, name: &str, project: Option<&str>, deleted_at: Option<i64>| {
        let insert = "INSERT INTO records (kind, id, name, revision, created_at, created_by, modified_at, modified_by,
             deleted_at, data) VALUES (?1, ?2, ?3, 1, 0, '', 0, '', ?4, ?5)";
        let data = json!({ "project_id": project }).to_string();
        connection.execute(insert, rusqlite::params![kind, id, name, deleted_at, data]).unwrap();
    };
    for (kind, of) in [("flow", "f"), ("schedule", "s"), ("connector", "c")] {
        record(kind, &format!("{of}-a"), &format!("{of} of a"), Some("a"), None);
        record(kind, &format!("{of}-b"), &format!("{of} of b"), Some("b"), Some(1));
        record(kind, &format!("{of}-none"), &format!("{of} of none"), None, None);
        // Its name is the id of another one.
        record(kind, &format!("{of}-odd"), &format!("{of}-a"), Some("b"), None);
    }
    let mut key = 0;
    let mut execution = |ty: &str, flow: &str, schedule: Option<&str>, input: &str| {
        key += 1;
        let insert = "INSERT INTO executions (rowid, id, type, name, status, flow_id, version, created_at, created_by,
             schedule_id, input) VALUES (?1, ?1, ?2, '', 'QUEUED', ?3, '', ?1, '', ?4, ?5)";
        connection.execute(insert, rusqlite::params![key, ty, flow, schedule, input]).unwrap();
    };
    for of in ["a", "b", "none", "odd", "nowhere"] {
        execution("FLOW", &format!("f-{of}"), None, "null");
        execution("FLOW", "native:cron", Some(&format!("s-{of}")), "null");
        execution("SCHEDULE", "f-a", Some(&format!("s-{of}")), "null");
        for named in [format!("c-{of}"), format!("c of {of}")] {
            execution("FLOW", "native:connect", None, &json!({ "connector": named }).to_string());
        }
    }
    for input in ["{", "null", r#"{"connector": null}"#, r#"{"connector": 7}"#] {
        execution("FLOW", "native:connect", None, input);
    }
    let mut found = 0;
    for key in 1..=key {
        let (_, projects) = executions::get_with_projects(&connection, Key(key)).unwrap().unwrap();
        for project in ["a", "b"] {
            let is_in = executions::is_in(&connection, &key.to_string(), &[project.to_owned()]).unwrap();
            let has = projects.iter().flatten().any(|one| one == project);
            assert_eq!(has, is_in, "execution {key} in {project}: {projects:?}");
            found += u32::from(has);
        }
    }
    assert!(found >= 10, "{found}");
}

#[test]
fn a_filter_says_of_what_lasts_whether_it_can_ever_match() {
    let lasts = |field: &Field| LASTING.contains(&field.name);
    let may = |filter: Value, row: Value| Filter::parse(Kind::Execution, &filter).unwrap().may_match(&row, &lasts);
    let leaf = |field: &str, value: &str| json!({"field": field, "op": "eq", "value": value});
    let row = || json!({"name": "n", "status": "RUNNING"});
    let (named, other) = (leaf("name", "n"), leaf("name", "other"));
    let waiting = leaf("status", "WAITING");
    for (filter, expected) in [
        (named.clone(), true),
        (other.clone(), false),
        (waiting.clone(), true),
        (json!({"not": waiting}), true),
        (json!({"not": named}), false),
        (json!({"and": [waiting, other]}), false),
        (json!({"and": [waiting, named]}), true),
        (json!({"or": [waiting, other]}), true),
        (json!({"or": [other, {"not": {"and": []}}]}), false),
        (json!({"not": {"or": [waiting, named]}}), false),
        (json!({"not": {"and": [waiting, other]}}), true),
    ] {
        assert_eq!(may(filter.clone(), row()), expected, "{filter}");
    }
}

/// Says something now and then.
struct Talker;

#[async_trait]
impl NativeFlow for Talker {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        for _ in 0..input["times"].as_u64().unwrap_or(0) {
            session.sleep(Duration::from_millis(1), None).await?;
        }
        Ok("x".repeat(usize::try_from(input["bytes"].as_u64().unwrap_or(0)).unwrap()).into())
    }
}

/// The list of executions that match, by id.
async fn list(engine: &Engine, filter: &Value) -> BTreeMap<String, Value> {
    let filter = Some(filter.clone());
    let call = QueryCall { kind: "execution".into(), filter, limit: Some(1000), ..Default::default() };
    let rows = engine.query(call).await.unwrap().rows.into_iter();
    rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row)).collect()
}

/// Follows a list as it is told to, until all has ended; what it shows then.
async fn read(engine: &Engine, filter: &Value) -> BTreeMap<String, Value> {
    let mut shown = BTreeMap::new();
    let mut watch = engine.watch_list(Some(filter), None).unwrap();
    let mut heard = 0;
    // All that will be have ended when this one has.
    let is_last = |entry: &Entry| entry.row["name"] == "even last" && entry.row["ended_at"].is_string();
    loop {
        let Some((place, news)) = engine.next_of_list(&mut watch).await.unwrap() else {
            if engine.core.overview.read().entries.values().any(|entry| is_last(entry)) {
                return shown;
            }
            watch.rung().await;
            continue;
        };
        heard += 1;
        match news {
            ListNews::Reset => shown = list(engine, filter).await,
            ListNews::Row(row) => {
                let row: Value = serde_json::from_str(&row).unwrap();
                shown.insert(row["id"].as_str().unwrap().to_owned(), row);
            }
            ListNews::Gone(id) => drop(shown.remove(&*id)),
            ListNews::Passed => {}
        }
        if heard % 7 == 0 {
            let place: ListPlace = place.to_string().parse().unwrap();
            watch = engine.watch_list(Some(filter), Some(&place)).unwrap();
        }
    }
}

/// Executions that come, end, go to the trash, are deleted, and come back.
async fn work(engine: &Engine) {
    let start = async |name: String, input: Value| {
        let flow = "native:talker".to_owned();
        let request = StartRequest { flow, name: Some(name), input, by: "test".into(), ..Default::default() };
        engine.start(request).await.unwrap().0
    };
    let mut ids = Vec::new();
    for number in 0..60 {
        let name = format!("{} {number}", if number % 2 == 0 { "even" } else { "odd" });
        // One is longer than what is kept of a row.
        let bytes = if number == 6 { ROW_BYTES_MAX } else { 1 };
        ids.push(start(name, json!({"times": number % 5, "bytes": bytes})).await);
    }
    for id in &ids {
        engine.wait_ended(id, None).await.unwrap();
    }
    for (number, id) in ids.iter().enumerate().take(12) {
        engine.delete(Kind::Execution, id, number % 3 == 0, "test").await.unwrap();
    }
    engine.restore(Kind::Execution, &ids[1], "test").await.unwrap();
    let last = start("even last".into(), json!({})).await;
    engine.wait_ended(&last, None).await.unwrap();
}

/// Whoever does as they are told shows the list as it is in the end, wherever they began and whatever broke.
#[tokio::test(flavor = "multi_thread")]
async fn readers_show_the_list_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let flows = vec![("talker".to_owned(), Arc::new(Talker) as Arc<dyn NativeFlow>)];
    let engine = Engine::open_with(Config::new(folder.path()), Vec::new(), flows, WriterMode::Thread).unwrap();
    let filters = [
        json!({"and": []}),
        json!({"field": "ended_at", "op": "is_null"}),
        json!({"field": "name", "op": "like", "value": "even%"}),
    ];
    let readers = futures::future::join_all(filters.iter().map(|filter| read(&engine, filter)));
    let ((), shown) = tokio::join!(work(&engine), readers);
    for (filter, shown) in filters.iter().zip(shown) {
        assert_eq!(shown, list(&engine, filter).await, "{filter}");
    }
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}
