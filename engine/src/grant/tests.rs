//! What executions reach: every host call with each role, where the execution's flow is, elsewhere, and in no project;
//! and how an execution comes to its rights and hands them on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, Inputs};

use crate::core::Config;
use crate::engine::{Engine, EngineError, StartRequest, WriterMode};
use crate::journal::{CallKind, HostError};
use crate::native::NativeFlow;
use crate::people::{Rights, Role};
use crate::query::Kind;
use crate::scenarios::{ended, flow, until};
use crate::session::{Asking, CallResult, ConnectionOptions, End, EndAction, QueryCall, ReturnWhen, Session};
use crate::store::{Refusal, records};

/// Reads one file of the workspace, or writes one.
struct Copier;

#[async_trait]
impl Connector for Copier {
    fn type_name(&self) -> &'static str {
        "copier"
    }

    fn description(&self) -> &'static str {
        "Reads or writes a file of the workspace."
    }

    fn input_schema(&self) -> Value {
        json!({"type": "object", "properties": {"read": {"type": "string"}, "write": {"type": "string"}}})
    }

    fn output_schema(&self) -> Value {
        json!({"type": "object"})
    }

    fn effect(&self, _inputs: &Inputs) -> Effect {
        Effect::Idempotent
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        if let Some(name) = inputs.get("read").and_then(Value::as_str) {
            drop(context.files.read(name).await?);
        }
        if let Some(name) = inputs.get("write").and_then(Value::as_str) {
            context.files.write(name).await?.finish().await?;
        }
        Ok(json!({}))
    }
}

/// A workspace with the projects a and b, and with the same records in each of them and in none: `KIND-a`, `KIND-b`,
/// `KIND-none`. Its flows do what their input says: `ask-a` in a, `ask-b` in b, `ask-none` in none.
struct World {
    _folder: tempfile::TempDir,
    engine: Engine,
    projects: BTreeMap<&'static str, String>,
}

const PLACES: [&str; 3] = ["a", "b", "none"];

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().expect("an object")
}

fn flows() -> Vec<(String, Arc<dyn NativeFlow>)> {
    let ask = flow(|session, input| async move { act(&session, &input).await });
    let sleeper = flow(|session, _| async move {
        session.sleep(Duration::from_secs(3600), None).await?;
        Ok(Value::Null)
    });
    vec![("ask".into(), ask), ("sleeper".into(), sleeper)]
}

fn open(folder: &std::path::Path) -> Engine {
    let mut config = Config::new(folder);
    config.idle_before_parking = Duration::from_millis(20);
    Engine::open_with(config, vec![Arc::new(Copier)], flows(), WriterMode::Thread).expect("the workspace opens")
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path());
        let mut projects = BTreeMap::new();
        for place in ["a", "b"] {
            let record = engine.create(Kind::Project, place, Map::new(), "test").await.unwrap();
            projects.insert(place, record["id"].as_str().unwrap().to_owned());
        }
        let world = Self { _folder: folder, engine, projects };
        for place in PLACES {
            world.flow(&format!("ask-{place}"), "ask", place).await;
            world.flow(&format!("sleeper-{place}"), "sleeper", place).await;
            world.fill(place).await;
        }
        world
    }

    /// Makes sure that there is one of each.
    async fn fill(&self, place: &str) {
        let name = |kind: &str| format!("{kind}-{place}");
        self.save(Kind::Setting, &name("setting"), place, json!({"value": "untouched"})).await;
        self.save(Kind::Connector, &name("connector"), place, json!({"type": "copier"})).await;
        if self.engine.record(Kind::File, &name("file")).await.is_err() {
            let content = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"untouched"))]);
            let project = self.projects.get(place).cloned();
            self.engine.put_file_in(&name("file"), project, content, "test").await.unwrap();
        }
    }

    async fn save(&self, kind: Kind, name: &str, place: &str, mut fields: Value) -> Value {
        fields["project_id"] = json!(self.projects.get(place));
        self.engine.save(kind, name, object(fields), "test").await.unwrap()
    }

    /// A flow in that place which is the built-in one of that name.
    async fn flow(&self, name: &str, native: &str, place: &str) {
        let record = self.save(Kind::Flow, name, place, json!({})).await;
        let (id, version) = (record["id"].clone(), json!({"version": format!("native:{native}")}));
        let stamp = self.engine.core.stamp("test");
        let set = move |connection: &rusqlite::Connection| {
            records::set_computed(connection, Kind::Flow, id.as_str().unwrap_or_default(), &version, &stamp)
        };
        self.engine.write(set).await.unwrap();
    }

    fn rights_in(&self, place: &str, role: Role) -> Rights {
        match self.projects.get(place) {
            Some(project) => Rights::new(None, BTreeMap::from([(project.clone(), role)])),
            None => Rights::everywhere(role),
        }
    }

    /// Starts a flow on behalf of somebody.
    async fn start(&self, rights: &Rights, flow: &str, input: Value) -> String {
        let engine = self.engine.on_behalf(rights.clone(), Role::Viewer);
        let request = StartRequest { flow: flow.into(), input, by: "test".into(), ..StartRequest::default() };
        engine.start(request).await.expect("the flow starts").0
    }

    /// What a flow says that was started on behalf of somebody.
    async fn run(&self, rights: &Rights, flow: &str, input: Value) -> Value {
        let id = self.start(rights, flow, input).await;
        let row = ended(&self.engine, &id).await;
        assert_eq!(row["error_message"], "", "{row}");
        row["output"].clone()
    }

    async fn value(&self, setting: &str) -> Value {
        self.engine.record(Kind::Setting, setting).await.unwrap()["value"].clone()
    }
}

fn told<T>(answer: Result<T, HostError>, to_text: impl FnOnce(T) -> &'static str) -> Value {
    match answer {
        Ok(answer) => to_text(answer).into(),
        Err(HostError::PermissionDenied(text)) => {
            assert!(text.contains("who started it") && text.contains("webhook or schedule"), "{text}");
            "denied".into()
        }
        Err(HostError::NotFound(text)) => {
            assert!(!text.contains("did you mean"), "{text}");
            "not found".into()
        }
        Err(HostError::Conflict(_)) => "conflict".into(),
        Err(error) => error.to_string().into(),
    }
}

fn done<T>(_: T) -> &'static str {
    "done"
}

fn found(is_there: bool) -> &'static str {
    if is_there { "done" } else { "nothing" }
}

/// Calls a connector to its end.
async fn call(session: &Session, connector: &str, inputs: Value) -> CallResult<&'static str> {
    let id = match session.start_connection(connector, object(inputs), ConnectionOptions::default()).await? {
        Ok(id) => id,
        Err(error) => return Ok(Err(error)),
    };
    let ended = session.wait(&[id], ReturnWhen::AllEnded, None).await?.unwrap();
    Ok(Ok(match ended[0].code.as_str() {
        "" => "done",
        "not_found" => "not found",
        "invalid_input" => "denied",
        code => panic!("{code}: {}", ended[0].message),
    }))
}

/// Does what the input says, to what is in `place`: a host call by its name, or one of a few longer things.
async fn act(session: &Session, input: &Value) -> Result<Value, End> {
    let (what, place) = (input["do"].as_str().unwrap(), input["place"].as_str().unwrap_or_default());
    let name = |kind: &str| format!("{kind}-{place}");
    let value = |value: &str| object(json!({ "value": value }));
    Ok(match what {
        "record_get" => told(session.record_get("setting", &name("setting")).await?, |it| found(it.is_some())),
        "get an execution" => {
            let id = input["execution"].as_str().unwrap();
            told(session.record_get("execution", id).await?, |it| found(it.is_some()))
        }
        "record_query" => {
            let filter = json!({"field": "name", "op": "eq", "value": name("setting")});
            let query = QueryCall { kind: "setting".into(), filter: Some(filter), ..QueryCall::default() };
            told(session.record_query(&query).await?, |page| found(page.rows.len() == 1))
        }
        "query executions" => {
            let filter = json!({"field": "id", "op": "eq", "value": input["execution"]});
            let query = QueryCall { kind: "execution".into(), filter: Some(filter), ..QueryCall::default() };
            told(session.record_query(&query).await?, |page| found(page.rows.len() == 1))
        }
        "record_save" => told(session.record_save("setting", &name("setting"), value("saved")).await?, done),
        "make" => told(session.record_save("setting", "made", value("made")).await?, done),
        "make elsewhere" => {
            let fields = object(json!({"value": "made", "project_id": place}));
            told(session.record_save("setting", "made", fields).await?, done)
        }
        "record_delete" => told(session.record_delete("setting", &name("setting"), true).await?, found),
        "start_flow" => {
            let child = session.start_flow(&name("sleeper"), json!({}), None, true).await?;
            told(child, done)
        }
        "lock" => told(session.lock(&name("setting"), None).await?, done),
        "unlock" => {
            let _ = session.lock(&name("setting"), None).await?;
            told(session.unlock(&name("setting")).await?, done)
        }
        "cancel" => told(session.cancel(input["execution"].as_str().unwrap()).await?, done),
        "in a child" => {
            let child = input["flow"].as_str().unwrap();
            match session.start_flow(child, input["then"].clone(), None, false).await? {
                Ok(id) => {
                    let ended = session.wait(&[id], ReturnWhen::AllEnded, None).await?.unwrap();
                    ended[0].output.value().into_owned()
                }
                error => told(error, done),
            }
        }
        "after continuing as new" => return Err(End::ContinueAsNew(input["then"].clone())),
        "after a sleep" => {
            session.sleep(Duration::from_millis(input["millis"].as_u64().unwrap()), None).await?;
            return Box::pin(act(session, &input["then"])).await;
        }
        "at the end" => {
            for action in input["actions"].as_array().unwrap() {
                session.on_end(serde_json::from_value::<EndAction>(action.clone()).unwrap()).await?.unwrap();
            }
            Value::Null
        }
        "schedule" => {
            let fields = json!({
                "scheduler_id": "cron", "setting_id": name("setting"), "flow_id": name("ask"), "is_enabled": false,
            });
            told(session.record_save("schedule", "made", object(fields)).await?, done)
        }
        other => on_files_and_connectors(session, other, place).await?,
    })
}

/// The calls on files and connectors.
async fn on_files_and_connectors(session: &Session, what: &str, place: &str) -> Result<Value, End> {
    let name = |kind: &str| format!("{kind}-{place}");
    Ok(match what {
        "file_stat" => told(session.file_stat(&name("file")).await?, |it| found(it.is_some())),
        "file_read" => told(session.file_read(&name("file"), 0, 10).await?, done),
        "file_write" => told(session.file_write(&name("file"), Bytes::from_static(b"written")).await?, done),
        "make a file" => told(session.file_write("made", Bytes::from_static(b"made")).await?, done),
        "file_delete" => told(session.file_delete(&name("file"), true).await?, found),
        "start_connection" => told(call(session, &name("connector"), json!({})).await?, |ended| ended),
        "call a type" => told(call(session, "type:copier", json!({})).await?, |ended| ended),
        "read in a call" => told(call(session, "type:copier", json!({"read": name("file")})).await?, |ended| ended),
        "write in a call" => told(call(session, "type:copier", json!({"write": name("file")})).await?, |ended| ended),
        own => own_call(session, own).await?,
    })
}

/// The calls that reach nothing but the execution itself.
async fn own_call(session: &Session, what: &str) -> Result<Value, End> {
    Ok(match what {
        "get" => told(session.get("name").await?, done),
        "check" | "metric" | "section" => {
            session.note(what.parse().unwrap(), json!({"name": "n", "outcome": "pass", "value": 1}))?;
            "done".into()
        }
        "sleep" => {
            session.sleep(Duration::from_millis(1), None).await?;
            "done".into()
        }
        "sleep_until" => {
            session.sleep_until(session.now(), None).await?;
            "done".into()
        }
        "wait" => told(session.wait(&[], ReturnWhen::AllEnded, None).await?, done),
        "wait_signal" => match session.wait_signal("none", Some(Duration::from_millis(1))).await? {
            Err(HostError::SignalTimeout(_)) => "done".into(),
            other => told(other, done),
        },
        "ask" => told(session.ask("question", Asking::default()).await?, done),
        "wait_answer" => {
            let asking = Asking { timeout: Some(Duration::from_millis(1)), ..Asking::default() };
            let asked = session.ask("question", asking).await?.unwrap();
            match session.wait_answer(&asked.id).await? {
                Err(HostError::SignalTimeout(_)) => "done".into(),
                other => told(other, done),
            }
        }
        "on_end" => {
            let action = EndAction::DeleteRecord { kind: "setting".into(), key: "nothing".into() };
            told(session.on_end(action).await?, done)
        }
        other => panic!("nobody knows how to {other}"),
    })
}

/// What a host call takes.
enum Takes {
    /// Nothing: it is about the execution itself.
    Nothing,
    /// That role where it reaches; elsewhere it hears this.
    Role(Role, &'static str),
}

/// A row for each host call: one without does not compile.
fn takes(kind: CallKind) -> Takes {
    use CallKind::*;
    match kind {
        Get | Check | Metric | Section | Sleep | SleepUntil | Poll | Wait | WaitSignal | OnEnd | Ask | WaitAnswer => {
            Takes::Nothing
        }
        RecordGet | RecordQuery | FileStat => Takes::Role(Role::Viewer, "nothing"),
        FileRead => Takes::Role(Role::Viewer, "not found"),
        StartConnection | StartFlow | Cancel | Lock | Unlock => Takes::Role(Role::Operator, "not found"),
        RecordDelete | FileDelete => Takes::Role(Role::Author, "nothing"),
        // The name is in use, which is all that is told.
        RecordSave | FileWrite => Takes::Role(Role::Author, "conflict"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_call_takes_a_role_where_it_reaches() {
    let world = World::new().await;
    let mut tried = 0;
    for kind in (0..=u8::MAX).filter_map(CallKind::from_repr) {
        // Made by a guest's own runtime alone.
        if kind == CallKind::Poll {
            continue;
        }
        let what: &str = kind.into();
        for (role, place) in Role::ALL.into_iter().flat_map(|role| PLACES.map(|place| (role, place))) {
            world.fill(place).await;
            let execution = world.start(&Rights::everywhere(Role::Admin), &format!("sleeper-{place}"), json!({})).await;
            let input = json!({"do": what, "place": place, "execution": execution});
            let heard = world.run(&world.rights_in("a", role), "ask-a", input).await;
            let expected = match takes(kind) {
                Takes::Nothing => "done",
                Takes::Role(needed, _) if place == "a" => {
                    if role >= needed {
                        "done"
                    } else {
                        "denied"
                    }
                }
                Takes::Role(_, elsewhere) => elsewhere,
            };
            assert_eq!(heard, expected, "{what} as {role} in a, what is in {place}");
            let is_untouched = expected != "done" || matches!(takes(kind), Takes::Role(Role::Viewer, _));
            if is_untouched {
                assert_eq!(world.value(&format!("setting-{place}")).await, "untouched", "{what} as {role}");
                let cancelled = world.engine.execution(&execution).await.unwrap()["status"] == "ENDED_CANCELLED";
                assert!(!cancelled, "{what} as {role}");
            }
            tried += 1;
        }
    }
    assert_eq!(tried, 24 * 4 * 3);
}

/// Calls that reach in other ways than a name.
#[tokio::test(flavor = "multi_thread")]
async fn connectors_executions_and_what_is_made_are_held_to_the_same_rights() {
    let world = World::new().await;
    let everywhere = Rights::everywhere(Role::Admin);
    for place in PLACES {
        let is_own = place == "a";
        let execution = world.start(&everywhere, &format!("sleeper-{place}"), json!({})).await;
        for (role, what, own, elsewhere) in [
            (Role::Viewer, "get an execution", "done", "nothing"),
            (Role::Viewer, "query executions", "done", "nothing"),
            (Role::Viewer, "call a type", "denied", "denied"),
            (Role::Operator, "call a type", "done", "done"),
            (Role::Operator, "read in a call", "done", "not found"),
            (Role::Operator, "write in a call", "denied", "denied"),
            (Role::Author, "write in a call", "done", "denied"),
        ] {
            let input = json!({"do": what, "place": place, "execution": execution});
            let heard = world.run(&world.rights_in("a", role), "ask-a", input).await;
            assert_eq!(heard, if is_own { own } else { elsewhere }, "{what} as {role} in a, what is in {place}");
        }
    }
    // What does not say where it is to be is in the flow's project.
    let author = world.rights_in("a", Role::Author);
    for what in ["make", "make a file"] {
        assert_eq!(world.run(&author, "ask-a", json!({"do": what})).await, "done");
    }
    let project = json!(world.projects["a"]);
    for kind in [Kind::Setting, Kind::File] {
        assert_eq!(world.engine.record(kind, "made").await.unwrap()["project_id"], project);
    }
    world.engine.delete(Kind::Setting, "made", true, "test").await.unwrap();
    let elsewhere = json!({"do": "make elsewhere", "place": world.projects["b"]});
    assert_eq!(world.run(&author, "ask-a", elsewhere).await, "denied");
    assert!(world.engine.record(Kind::Setting, "made").await.is_err());
    // A flow in no project has the rights of its starter wherever they are.
    let both = Rights::new(Some(Role::Operator), BTreeMap::from([(world.projects["b"].clone(), Role::Author)]));
    for (place, heard) in [("a", "denied"), ("b", "done"), ("none", "denied")] {
        assert_eq!(world.run(&both, "ask-none", json!({"do": "record_save", "place": place})).await, heard, "{place}");
    }
}

/// Who writes a flow of a project does not get at the rest through somebody who may do more and starts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_flow_caps_the_rights_of_its_starter() {
    let world = World::new().await;
    let everywhere = Rights::everywhere(Role::Admin);
    let save = |place: &str| json!({"do": "record_save", "place": place});
    assert_eq!(world.run(&everywhere, "ask-a", save("a")).await, "done");
    assert_eq!(world.run(&everywhere, "ask-a", save("b")).await, "conflict");
    for place in PLACES {
        assert_eq!(world.run(&everywhere, "ask-none", save(place)).await, "done", "{place}");
    }
    for (role, heard) in [("viewer", "denied"), ("operator", "denied"), ("author", "done")] {
        world.save(Kind::Flow, "ask-a", "a", json!({"role": role})).await;
        world.save(Kind::Flow, "ask-none", "none", json!({"role": role})).await;
        assert_eq!(world.run(&everywhere, "ask-a", save("a")).await, heard, "{role}");
        assert_eq!(world.run(&everywhere, "ask-none", save("b")).await, heard, "{role}");
    }
    for role in ["admin", "owner"] {
        let saved = world.engine.save(Kind::Flow, "ask-a", object(json!({"role": role})), "test").await;
        assert!(matches!(saved, Err(EngineError::Refused(Refusal::Invalid(_)))), "{saved:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_what_continues_and_actions_at_the_end_have_the_same_rights() {
    let world = World::new().await;
    let everywhere = Rights::everywhere(Role::Admin);
    let operator = world.rights_in("a", Role::Operator);
    let save = |place: &str| json!({"do": "record_save", "place": place});
    let in_a_child = |flow: &str, then: Value| json!({"do": "in a child", "flow": flow, "then": then});
    let continued = |then: Value| json!({"do": "after continuing as new", "then": then});
    for (rights, input, heard) in [
        (&operator, in_a_child("ask-a", save("a")), "denied"),
        (&operator, in_a_child("ask-b", save("b")), "not found"),
        (&operator, in_a_child("ask-none", save("a")), "not found"),
        (&operator, continued(save("a")), "denied"),
        (&operator, continued(json!({"do": "record_get", "place": "b"})), "nothing"),
        (&operator, in_a_child("ask-a", continued(save("a"))), "denied"),
        // Of a parent that may do more, its child gets what its own flow lets it.
        (&everywhere, continued(save("a")), "done"),
        (&everywhere, continued(save("b")), "conflict"),
    ] {
        assert_eq!(world.run(rights, "ask-a", input.clone()).await, heard, "{input}");
    }
    for (flow, place, heard) in [("ask-a", "a", "done"), ("ask-a", "b", "conflict"), ("ask-b", "b", "done")] {
        let input = in_a_child(flow, save(place));
        assert_eq!(world.run(&everywhere, "ask-none", input).await, heard, "{flow} {place}");
    }
    // What is refused at the end stands in the log; the rest is done.
    let at_the_end = |place: &str| {
        let name = |kind: &str| format!("{kind}-{place}");
        json!({"do": "at the end", "actions": [
            {"save_record": {"kind": "setting", "key": name("setting"), "fields": {"value": "at the end"}}},
            {"delete_record": {"kind": "connector", "key": name("connector")}},
            {"start_flow": {"flow": name("sleeper"), "inputs": {}}},
        ]})
    };
    let author = world.rights_in("a", Role::Author);
    // An undo of what is not there, as far as it can be seen, is none.
    for (rights, place, refused, value) in [
        (&operator, "a", vec!["the role author", "the role author"], "untouched"),
        (&author, "b", vec!["there is no flow"], "untouched"),
        (&author, "none", vec!["there is no flow"], "untouched"),
        (&author, "a", vec![], "at the end"),
    ] {
        for place in PLACES {
            world.fill(place).await;
        }
        let id = world.start(rights, "ask-a", at_the_end(place)).await;
        ended(&world.engine, &id).await;
        let log = world.engine.log(&id, None, 100).await.unwrap();
        let said: Vec<_> = log.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(said.len(), refused.len(), "{place}: {said:?}");
        for text in refused {
            assert!(said.iter().any(|line| line.contains(text)), "{place}: {said:?}");
        }
        assert_eq!(world.value(&format!("setting-{place}")).await, value, "{place}");
        let is_gone = world.engine.record(Kind::Connector, &format!("connector-{place}")).await.is_err();
        assert_eq!(is_gone, value == "at the end", "{place}");
    }
}

/// What is decided at the start holds to the end: whatever becomes of the flow, and after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn rights_are_those_of_the_start() {
    let world = World::new().await;
    let author = world.rights_in("a", Role::Author);
    let later = json!({"do": "after a sleep", "millis": 1500, "then": {"do": "record_save", "place": "a"}});
    let before = world.start(&author, "ask-a", later.clone()).await;
    until(&world.engine, &before, "WAITING").await;
    world.save(Kind::Flow, "ask-a", "a", json!({"role": "viewer"})).await;
    let after = world.start(&author, "ask-a", later).await;
    until(&world.engine, &after, "WAITING").await;
    let World { _folder: folder, engine, projects } = world;
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
    let world = World { engine: open(folder.path()), _folder: folder, projects };
    assert_eq!(ended(&world.engine, &before).await["output"], "done");
    assert_eq!(ended(&world.engine, &after).await["output"], "denied");
    let journal = world.engine.journal(&after).await.unwrap();
    assert_eq!(journal[0]["acts_as"], json!({"projects": {&world.projects["a"]: "viewer"}}), "for people to see");
}

/// A schedule acts as who saved it, not as who enabled it, and starts nothing that it could not be saved with.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_acts_as_who_saved_it() {
    let world = World::new().await;
    world.save(Kind::Setting, "times", "a", json!({"value": {"every": "1s"}})).await;
    let author = world.engine.on_behalf(world.rights_in("a", Role::Author), Role::Author);
    let schedule = json!({"scheduler_id": "cron", "setting_id": "times", "flow_id": "sleeper-a", "is_enabled": false,
        "project_id": world.projects["a"]});
    let saved = author.create(Kind::Schedule, "ticks", object(schedule), "test").await.unwrap();
    assert!(saved.get("acts_as").is_none(), "nobody's business");
    let rights = async |name: &'static str| {
        let read = move |connection: &rusqlite::Connection| records::require(connection, Kind::Schedule, name);
        Rights::of_saved(&world.engine.write(read).await.unwrap())
    };
    assert_eq!(rights("ticks").await, world.rights_in("a", Role::Author));
    let operator = world.engine.on_behalf(world.rights_in("a", Role::Operator), Role::Operator);
    operator.update(Kind::Schedule, "ticks", object(json!({"is_enabled": true})), "test").await.unwrap();
    assert_eq!(rights("ticks").await, world.rights_in("a", Role::Author), "enabling is not saving");
    let run = first_run(&world.engine, &saved["id"]).await;
    let journal = world.engine.journal(&run).await.unwrap();
    assert_eq!(journal[0]["acts_as"], json!(world.rights_in("a", Role::Author)));

    // Its flow stays where it reaches it. And if it does not: what it could not have been saved with it does not start.
    let elsewhere = object(json!({ "project_id": world.projects["b"] }));
    let refused = world.engine.save(Kind::Flow, "sleeper-a", elsewhere, "test").await;
    assert!(matches!(refused, Err(EngineError::Refused(Refusal::Conflict(_)))), "{refused:?}");
    let b = world.projects["b"].clone();
    let moved = "UPDATE records SET data = json_set(data, '$.project_id', ?1) WHERE name = 'sleeper-a'";
    world.engine.write(move |connection| Ok(connection.execute(moved, [b])?)).await.unwrap();
    let filter = json!({"and": [
        {"field": "schedule_id", "op": "eq", "value": saved["id"]},
        {"field": "status", "op": "eq", "value": "ENDED_ERROR"},
    ]});
    let iteration = first(&world.engine, filter).await;
    assert_eq!(iteration["error_message"], "there is no flow `sleeper-a`");

    // What a flow saves acts as that execution does.
    assert_eq!(
        world.run(&world.rights_in("a", Role::Operator), "ask-a", json!({"do": "schedule", "place": "a"})).await,
        "denied"
    );
    assert_eq!(
        world.run(&Rights::everywhere(Role::Admin), "ask-a", json!({"do": "schedule", "place": "b"})).await,
        "not found"
    );
    world.save(Kind::Flow, "ask-a", "a", json!({})).await;
    assert_eq!(
        world.run(&Rights::everywhere(Role::Admin), "ask-a", json!({"do": "schedule", "place": "a"})).await,
        "done"
    );
    assert_eq!(rights("made").await, world.rights_in("a", Role::Author));
    // Who saves what names something out of their reach would make it act without it.
    world.save(Kind::Setting, "setting-a", "b", json!({})).await;
    let described = object(json!({"description": "x"}));
    let refused = author.update(Kind::Schedule, "made", described, "test").await;
    assert!(matches!(refused, Err(EngineError::Refused(Refusal::NotFound(_)))), "{refused:?}");
}

async fn first_run(engine: &Engine, schedule_id: &Value) -> String {
    let filter = json!({"and": [
        {"field": "schedule_id", "op": "eq", "value": schedule_id}, {"field": "type", "op": "eq", "value": "FLOW"},
    ]});
    first(engine, filter).await["id"].as_str().unwrap().to_owned()
}

/// The first execution that the filter finds, once there is one.
async fn first(engine: &Engine, filter: Value) -> Value {
    let mut changes = engine.changes();
    let look = async {
        loop {
            let query = QueryCall { kind: "execution".into(), filter: Some(filter.clone()), ..QueryCall::default() };
            if let Some(row) = engine.query(query).await.unwrap().rows.first() {
                return row.clone();
            }
            let _ = tokio::time::timeout(Duration::from_millis(100), changes.recv()).await;
        }
    };
    match tokio::time::timeout(crate::scenarios::PATIENCE, look).await {
        Ok(row) => row,
        Err(_) => {
            let all = QueryCall { kind: "execution".into(), ..QueryCall::default() };
            panic!("nothing matches {filter}: {:#?}", engine.query(all).await.unwrap().rows)
        }
    }
}
