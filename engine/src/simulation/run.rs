//! Plays one plan: opens the workspace, lets things happen, starts the machine again after each death, until
//! everything has ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::check::{self, Findings, Journals, starter};
use super::disk::{Disk, Fault};
use super::plan::{Event, LOCKS, Plan, RESIDENTS_MAX, below, lock_name, signal_name};
use super::script::{FLOW, VERSIONS, flows};
use super::vfs;
use super::world::{Probe, World};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::core::Config;
use crate::deadline::Deadline;
use crate::engine::{Engine, EngineError, StartRequest, WriterMode};
use crate::grant::Grant;
use crate::id::Entropy;
use crate::journal::Record;
use crate::key::check_value;
use crate::notifications::NOTIFY;
use crate::people::Role;
use crate::query::Kind;
use crate::restarts::{self, RestartVersion};
use crate::store::executions::{self, Active, ActiveState, Key};
use crate::store::records::{self, OCCASIONS, Saving};
use crate::store::writer::Ending;
use crate::store::{self, Concerns, StoreResult, Urgency, journal, schedules};

/// Simulated start: 2026-01-01.
const START: Timestamp = Timestamp(1_767_225_600_000_000);

/// Steps of the driver in one run, at most. More means that something is stuck.
const STEPS_MAX: u32 = 12_000;

/// Iterations that a schedule has before it is disabled, at least.
const ITERATIONS_MIN: i64 = 3;

const SCHEDULES: [&str; 2] = ["by cron", "by pacer"];

/// The rule that tells of everything, by name and id.
pub(super) const RULE: &str = "told";

/// Of the workspace.
const KEY: [u8; 32] = [7; 32];

/// What one run was like.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    /// Ids and journals, as stored.
    pub(super) journals: Journals,
    pub(super) findings: Findings,
    pub(super) deaths: u32,
    pub(super) syncs: u64,
}

/// Plays a plan, or says what was wrong.
pub(super) fn simulate(plan: &Plan) -> Result<Outcome, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::write(folder.path().join("key"), KEY).map_err(|error| error.to_string())?;
    // The system's own disk has no database, which the engine would take for a loss. This says that there is one.
    let mut header = [0; 100];
    header[63] = u8::try_from(store::FORMAT).map_err(|error| error.to_string())?;
    std::fs::write(folder.path().join("surefoot.db"), header).map_err(|error| error.to_string())?;
    let disk = Disk::new(plan.seed);
    let _mount = vfs::mount(folder.path(), &disk);
    let mut run = Run {
        plan,
        folder: folder.path(),
        world: Arc::default(),
        clock: ManualClock::new(START),
        entropy: Entropy::seeded(plan.seed),
        rng: ChaCha8Rng::seed_from_u64(plan.seed.rotate_left(17)),
        events: plan.events.iter().cloned().collect(),
        requests: BTreeMap::new(),
        roots: BTreeMap::new(),
        step: 0,
        disabled: false,
        writer: None,
        disk,
    };
    let mut deaths = 0;
    while run.process()? == Exit::Died {
        deaths += 1;
        run.disk.start();
        // The machine is down for a while: what was due meanwhile is late, and no time may be taken for what it would
        // have been.
        let down = u64::from(below(&mut run.rng, 3000));
        run.move_clock(down);
    }
    let world = run.world.clone();
    let (findings, journals) = run.within(async |run| {
        run.open().map_err(|error| error.to_string()).and_then(|engine| check::check(&engine, &world, &run.roots, plan))
    })?;
    world.violation()?;
    Ok(Outcome { journals, findings, deaths, syncs: run.disk.syncs() })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// Everything has ended.
    Done,
    Died,
}

/// What a caller asks for, until it is answered.
#[derive(Clone, Debug)]
enum Request {
    Start { key: u32, input: Value, deadline: Option<u64> },
    Signal { id: String, execution: String, name: String, payload: Value },
    Steer { execution: String, what: Steer },
    Restart { execution: String, from: u32, version: RestartVersion },
    Disable { schedule: &'static str },
}

#[derive(Clone, Copy, Debug)]
enum Steer {
    Cancel,
    Pause,
    Resume,
}

/// An answer to request `.0`: the id of what was started.
type Answer = (u64, Result<Option<String>, EngineError>);

struct Run<'a> {
    plan: &'a Plan,
    folder: &'a std::path::Path,
    disk: Disk,
    world: Arc<World>,
    clock: Arc<ManualClock>,
    entropy: Entropy,
    rng: ChaCha8Rng,
    events: VecDeque<(u32, Event)>,
    /// Not answered so far.
    requests: BTreeMap<u64, Request>,
    /// What callers were told about their starts, by idempotency key.
    roots: BTreeMap<u32, (String, Value)>,
    step: u32,
    disabled: bool,
    /// Of the process that runs.
    writer: Option<store::Writer>,
}

/// What a process knows and loses with its death.
struct Process {
    engine: Engine,
    answers: JoinSet<Answer>,
    sent: BTreeSet<u64>,
    /// Calls in the journals of executions that are paused or were asked to end.
    held: BTreeMap<Key, usize>,
    /// What should have ended when there was nothing to do for the last time.
    overdue: BTreeSet<Key>,
    commit_fails: bool,
    taken: bool,
}

impl Run<'_> {
    fn within<T>(&mut self, work: impl AsyncFnOnce(&mut Self) -> T) -> T {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let result = runtime.block_on(work(self));
        // Drops every task where it stands: that is the crash.
        drop(runtime);
        self.writer.take().inspect(store::Writer::abandon);
        result
    }

    /// One life of the process.
    fn process(&mut self) -> Result<Exit, String> {
        self.world.process_started();
        self.within(async |run| {
            let engine = match run.open() {
                Ok(engine) => engine,
                Err(error) if run.step > 0 => {
                    tracing::debug!(%error, "the process ends at once");
                    run.disk.die(Fault::Kill);
                    return Ok(Exit::Died);
                }
                Err(error) => return Err(format!("the workspace does not open: {error}")),
            };
            if run.step == 0 {
                run.set_up(&engine).await?;
            }
            let exit = run.drive(engine).await;
            if exit == Ok(Exit::Done) {
                // The check is made on what a restart finds.
                run.disk.die(Fault::PowerLoss);
                run.disk.start();
            }
            exit
        })
    }

    fn open(&mut self) -> Result<Engine, EngineError> {
        let mut config = Config::new(self.folder);
        config.clock = Clock::Manual(self.clock.clone());
        config.entropy = self.entropy.clone();
        config.idle_before_parking = Duration::from_millis(50);
        config.reserve_bytes = 0;
        config.residents_max = self.plan.residents_max;
        let probe = Arc::new(Probe(self.world.clone()));
        let engine = Engine::open_with(config, vec![probe], flows(&self.world), WriterMode::Manual)?;
        self.writer = Some(engine.core.writer.clone());
        Ok(engine)
    }

    /// The records that the run needs.
    async fn set_up(&mut self, engine: &Engine) -> Result<(), String> {
        let core = engine.core.clone();
        let Plan { with_cron, with_pacer, with_notifications, .. } = *self.plan;
        let setting = json!({ "value": self.plan.cron_setting() });
        let limit = json!({ "max_concurrent": self.plan.max_concurrent });
        let ticket = engine.core.writer.submit(Urgency::Now, Concerns::None, move |connection| {
            let save = |kind, name: &str, fields: Value| {
                let fields: Map<_, _> = fields.as_object().cloned().unwrap_or_default();
                let saving = Saving::Either(name.to_owned());
                let saved =
                    Grant::everything().save(&core, connection, kind, &saving, &fields, &core.stamp("simulation"))?;
                StoreResult::Ok(saved.after)
            };
            for lock in 0..LOCKS {
                save(Kind::Setting, &lock_name(lock), json!({}))?;
            }
            let flow = save(Kind::Flow, FLOW, limit)?;
            let id = flow["id"].as_str().unwrap_or_default();
            records::set_computed(
                connection,
                Kind::Flow,
                id,
                &json!({"version": VERSIONS[0]}),
                &core.stamp("simulation"),
            )?;
            if with_notifications {
                save(Kind::Connector, "probe", json!({"type": "probe"}))?;
                let rule = json!({"id": RULE, "on": OCCASIONS, "connector_id": "probe", "is_enabled": true});
                save(Kind::Notification, RULE, rule)?;
            }
            save(Kind::Scheduler, "pacer", json!({"flow_id": "native:pacer"}))?;
            save(Kind::Setting, "often", setting)?;
            let cron = json!({"scheduler_id": "cron", "setting_id": "often", "flow_id": FLOW, "is_enabled": with_cron});
            save(Kind::Schedule, SCHEDULES[0], cron)?;
            let pacer = json!({"scheduler_id": "pacer", "flow_id": FLOW, "is_enabled": with_pacer});
            save(Kind::Schedule, SCHEDULES[1], pacer)
        });
        engine.core.writer.drain(Ending::Commit);
        ticket.done().await.map(drop).map_err(|error| format!("the records cannot be made: {error}"))
    }

    /// Lets the engine work until everything has ended or the process dies.
    async fn drive(&mut self, engine: Engine) -> Result<Exit, String> {
        let (sent, held, overdue) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
        let answers = JoinSet::new();
        let mut process = Process { engine, answers, sent, held, overdue, commit_fails: false, taken: false };
        let mut nap = Duration::from_millis(1);
        loop {
            // Paused time advances only when every task is idle, so this returns when the engine has nothing left to
            // do by itself.
            tokio::time::sleep(nap).await;
            nap = Duration::from_millis(1);
            self.step += 1;
            self.world.violation()?;
            if self.step > STEPS_MAX {
                return Err(self.stuck(&process.engine));
            }
            self.take_answers(&mut process)?;
            while let Some((_, event)) = self.events.pop_front_if(|(step, _)| *step <= self.step) {
                self.happen(event, &mut process);
            }
            self.send_requests(&mut process);
            if self.disk.is_down() {
                return Ok(Exit::Died);
            }
            if process.engine.core.writer.has_work() {
                self.commit(&mut process).await?;
                if self.disk.is_down() {
                    return Ok(Exit::Died);
                }
                continue;
            }
            if self.idle(&mut process)? {
                return Ok(Exit::Done);
            }
            nap = Duration::from_millis(1 + u64::from(below(&mut self.rng, 400)));
        }
    }

    fn stuck(&self, engine: &Engine) -> String {
        let active = engine.core.readers.read(executions::active).unwrap_or_default();
        let journal = |active: &Active| {
            engine.core.readers.read(|connection| {
                let execution = executions::load(connection, active.key)?;
                Ok((execution, journal::read(connection, active.key)?.pop()))
            })
        };
        let first = active.first().map(journal);
        format!("stuck after {STEPS_MAX} steps: {active:?}; requests {:?}; the first: {first:?}", self.requests)
    }

    async fn commit(&mut self, process: &mut Process) -> Result<(), String> {
        if std::mem::take(&mut process.taken) {
            return self.taken(process);
        }
        let writer = &process.engine.core.writer;
        if let Some(open) = writer.begin() {
            // What goes on while a commit is under way: with paused time this returns when nothing can.
            tokio::time::sleep(Duration::from_millis(1)).await;
            writer.end(open, if std::mem::take(&mut process.commit_fails) { Ending::Fail } else { Ending::Commit });
        }
        self.world.committed();
        if below(&mut self.rng, 8) == 0 {
            // A commit takes time: what was asked before it may be late after it.
            let millis = u64::from(below(&mut self.rng, 3000));
            self.move_clock(millis);
        }
        Ok(())
    }

    /// Another process has opened the workspace: what is queued must not be written, and this process must stop.
    fn taken(&mut self, process: &mut Process) -> Result<(), String> {
        let core = &process.engine.core;
        let count = |connection: &rusqlite::Connection| -> StoreResult<i64> {
            Ok(connection.query_row(
                "SELECT (SELECT count(*) FROM journal) + (SELECT count(*) FROM executions)
                    + (SELECT count(*) FROM signals) + (SELECT total(state) FROM active)",
                [],
                |row| row.get::<_, f64>(0),
            )? as i64)
        };
        let other = store::open_for_writing(&self.folder.join("surefoot.db"), check_value(&KEY));
        if let (Ok(other), Ok(before)) = (other, core.readers.read(count)) {
            core.writer.drain(Ending::Commit);
            drop(other);
            if !self.disk.is_down() {
                let after = core.readers.read(count).map_err(|error| error.to_string())?;
                if after != before || !core.stopping.is_cancelled() {
                    return Err("a process wrote after another had taken its workspace".into());
                }
            }
        }
        self.disk.die(Fault::Kill);
        Ok(())
    }

    fn happen(&mut self, event: Event, process: &mut Process) {
        match event {
            Event::Start { key, script, deadline } => {
                let input = serde_json::to_value(script).expect("a script is plain JSON");
                self.ask(Request::Start { key, input, deadline });
            }
            Event::StartAgain { pick } => {
                let known = self.roots.iter().nth(pick as usize % self.roots.len().max(1));
                if let Some((key, (_, input))) = known {
                    self.ask(Request::Start { key: *key, input: input.clone(), deadline: None });
                }
            }
            Event::Signal { pick, name, twice } => {
                if let Some(execution) = self.pick(process, pick) {
                    for _ in 0..=u32::from(twice) {
                        self.signal(&format!("event {} {execution} {name}", self.step), &execution, &signal_name(name));
                    }
                }
            }
            Event::Cancel { pick } => self.steer(process, pick, Steer::Cancel),
            Event::Pause { pick } => self.steer(process, pick, Steer::Pause),
            Event::Restart { pick, from, newest } => {
                if let Some(execution) = self.pick_ended(process, pick) {
                    let version = if newest { RestartVersion::Newest } else { RestartVersion::Same };
                    self.ask(Request::Restart { execution, from, version });
                }
            }
            Event::Deploy => self.deploy(process),
            Event::ClockJump { millis } => {
                let now = Clock::Manual(self.clock.clone()).now();
                self.clock.set(Timestamp(now.0 + millis * 1000));
            }
            Event::Disk { after, fault } => self.disk.arm(after, fault),
            Event::CommitFails => process.commit_fails = true,
            Event::Crash { fault, again } => {
                self.disk.die(fault);
                if let Some((after, fault)) = again {
                    self.disk.arm_at_start(after, fault);
                }
            }
            Event::Taken => process.taken = true,
        }
    }

    fn ask(&mut self, request: Request) {
        let number = self.requests.last_key_value().map_or(0, |(number, _)| number + 1).max(u64::from(self.step) << 8);
        self.requests.insert(number, request);
    }

    fn signal(&mut self, id: &str, execution: &str, name: &str) {
        let payload = json!({ "for": execution, "name": name, "id": id });
        self.world.sending(id, execution, name, &payload);
        let (id, execution, name) = (id.to_owned(), execution.to_owned(), name.to_owned());
        self.ask(Request::Signal { id, execution, name, payload });
    }

    fn steer(&mut self, process: &Process, pick: u32, what: Steer) {
        if let Some(execution) = self.pick(process, pick) {
            self.ask(Request::Steer { execution, what });
        }
    }

    /// One of the executions that have not ended, but no schedule's, no tick and no notification: those must happen.
    fn pick(&self, process: &Process, pick: u32) -> Option<String> {
        let may_be =
            |one: &executions::Execution| !one.is_schedule && one.flow_id != "native:tick" && one.flow_id != NOTIFY;
        let load = |connection: &rusqlite::Connection| {
            let mut ids = Vec::new();
            for active in executions::active(connection)? {
                ids.extend(executions::load(connection, active.key)?.filter(may_be).map(|one| one.id));
            }
            Ok(ids)
        };
        let ids = process.engine.core.readers.read(load).unwrap_or_default();
        ids.get(pick as usize % ids.len().max(1)).cloned()
    }

    /// One of the executions that have ended and ran a script.
    fn pick_ended(&self, process: &Process, pick: u32) -> Option<String> {
        let load = |connection: &rusqlite::Connection| -> StoreResult<Vec<String>> {
            let mut statement = connection.prepare(
                "SELECT id FROM executions
                 WHERE ended_at IS NOT NULL AND type = 'FLOW' AND input ->> '$.ops' IS NOT NULL ORDER BY created_at",
            )?;
            let ids = statement.query_map([], |row| row.get(0))?;
            Ok(ids.collect::<Result<_, _>>()?)
        };
        let ids = process.engine.core.readers.read(load).unwrap_or_default();
        ids.get(pick as usize % ids.len().max(1)).cloned()
    }

    /// The flow's record names the other version. Nobody waits for that.
    fn deploy(&mut self, process: &Process) {
        let stamp = process.engine.core.stamp("simulation");
        drop(process.engine.core.writer.submit(Urgency::Now, Concerns::None, move |connection| {
            let record = records::require(connection, Kind::Flow, FLOW)?;
            let id = record["id"].as_str().unwrap_or_default();
            let version = VERSIONS.iter().find(|version| record["version"] != **version).expect("there are two");
            schedules::add_version(connection, id, version, 0, stamp.now, &stamp.who)?;
            records::set_computed(connection, Kind::Flow, id, &json!({ "version": version }), &stamp)
        }));
    }

    /// Sends what is not answered and not under way: after a crash callers ask again.
    fn send_requests(&mut self, process: &mut Process) {
        for (number, request) in &self.requests {
            if !process.sent.insert(*number) {
                continue;
            }
            let (number, request) = (*number, request.clone());
            let (engine, world) = (process.engine.clone(), self.world.clone());
            process.answers.spawn(async move { (number, perform(&engine, world, request).await) });
        }
    }

    fn take_answers(&mut self, process: &mut Process) -> Result<(), String> {
        while let Some(answer) = process.answers.try_join_next() {
            let (number, result) = answer.map_err(|error| error.to_string())?;
            process.sent.remove(&number);
            let started = match result {
                Ok(started) => started,
                // To be asked again.
                Err(EngineError::Unavailable(_) | EngineError::DiskFull | EngineError::Failed(_)) => continue,
                Err(EngineError::Refused(_)) => None,
                Err(error) => return Err(format!("a request failed: {error}")),
            };
            match self.requests.remove(&number) {
                Some(Request::Start { key, input, .. }) => {
                    let id = started.ok_or("a start was refused")?;
                    let (before, _) = self.roots.entry(key).or_insert_with(|| (id.clone(), input));
                    if *before != id {
                        return Err(format!("the callers with key {key} were told {before} and {id}"));
                    }
                }
                Some(Request::Signal { id, .. }) if started.is_some() => self.world.told(&id),
                // It may have worked since, and be paused again.
                Some(Request::Steer { what: Steer::Resume, .. }) => process.held.clear(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Nothing is queued and nobody works: time goes on, or all is over (true).
    fn idle(&mut self, process: &mut Process) -> Result<bool, String> {
        let core = process.engine.core.clone();
        if core.degraded.load(std::sync::atomic::Ordering::SeqCst) {
            return Ok(false);
        }
        let Ok(active) = core.readers.read(executions::active) else { return Ok(false) };
        self.check_held(process, &active)?;
        self.check_deadlines(process, &active)?;
        self.check_shares(&core.readers)?;
        let working = |active: &&Active| core.readers.read(|connection| executions::load(connection, active.key));
        let flows = active.iter().filter(|one| working(one).ok().flatten().is_none_or(|one| !one.is_schedule)).count();
        if flows == 0 && self.requests.is_empty() {
            match self.events.front() {
                Some((step, _)) => self.step = self.step.max(step.saturating_sub(1)),
                None if active.is_empty() => return Ok(true),
                None if !self.disabled && self.iterated(&core.readers) => {
                    self.disabled = true;
                    SCHEDULES.into_iter().for_each(|schedule| self.ask(Request::Disable { schedule }));
                }
                None => {}
            }
        }
        for (execution, name) in self.world.wanted() {
            if below(&mut self.rng, 4) == 0 {
                self.signal(&format!("wanted {} {execution} {name}", self.step), &execution, &name);
            }
        }
        for paused in active.iter().filter(|one| one.state == ActiveState::Paused) {
            if below(&mut self.rng, 8) == 0
                && let Ok(Some(execution)) = core.readers.read(|connection| executions::load(connection, paused.key))
            {
                process.held.remove(&paused.key);
                self.ask(Request::Steer { execution: execution.id, what: Steer::Resume });
            }
        }
        let now = core.now();
        let next = active.iter().filter_map(|one| one.due).filter(|due| *due > now).min();
        match next {
            Some(due) if below(&mut self.rng, 2) == 0 => self.clock.set(due),
            _ => {
                let millis = u64::from(below(&mut self.rng, 400)) + 1;
                self.move_clock(millis);
            }
        }
        Ok(false)
    }

    fn move_clock(&self, millis: u64) {
        self.clock.set(Clock::Manual(self.clock.clone()).now().after(Duration::from_millis(millis)));
    }

    fn iterated(&self, readers: &store::Readers) -> bool {
        let enabled = [(SCHEDULES[0], self.plan.with_cron), (SCHEDULES[1], self.plan.with_pacer)];
        enabled.into_iter().filter(|(_, enabled)| *enabled).all(|(name, _)| {
            let state = readers.read(|connection| {
                let schedule = records::require(connection, Kind::Schedule, name)?;
                schedules::state(connection, schedule["id"].as_str().unwrap_or_default())
            });
            matches!(state, Ok(Some(state)) if state.iteration > ITERATIONS_MIN)
        })
    }

    /// What executions share: no more of a flow have begun than may run, who has ended has left every lock, and nobody
    /// waits for what is free.
    fn check_shares(&self, readers: &store::Readers) -> Result<(), String> {
        let count = |sql: &str| {
            readers
                .read(|connection| Ok(connection.query_row(sql, [], |row| row.get::<_, u32>(0))?))
                .unwrap_or_default()
        };
        // Who is to end begins for that alone.
        let begun = count(
            "SELECT count(*) FROM active JOIN executions ON executions.rowid = active.execution
             JOIN records ON records.id = executions.flow_id AND records.kind = 'flow'
             WHERE executions.type = 'FLOW' AND started_at IS NOT NULL AND (parent_id IS NULL OR orphan)
                 AND NOT cancel AND active.deadline IS NULL",
        );
        if self.plan.max_concurrent.is_some_and(|max| begun > max) {
            return Err(format!("{begun} executions of the flow run at one time"));
        }
        let places = |place: u32| count(&format!("SELECT count(*) FROM active WHERE place = {place}"));
        if self.plan.max_concurrent.is_some_and(|max| places(1) < max && places(0) > 0) {
            return Err(format!("a place is free, and {} executions wait for one", places(0)));
        }
        let left = count("SELECT count(*) FROM locks WHERE execution NOT IN (SELECT execution FROM active)");
        let lost = count(
            "SELECT count(*) FROM locks AS waiting WHERE place = 0
                 AND NOT EXISTS (SELECT 1 FROM locks WHERE setting = waiting.setting AND place = 1)",
        );
        if left + lost > 0 {
            return Err(format!(
                "who has ended has {left} places in lines for locks; {lost} wait for what nobody holds"
            ));
        }
        Ok(())
    }

    /// What has not ended by its deadline is ended at once, where an instance can be made for that.
    fn check_deadlines(&self, process: &mut Process, active: &[Active]) -> Result<(), String> {
        if self.plan.residents_max < RESIDENTS_MAX {
            return Ok(());
        }
        let now = process.engine.core.now();
        let passed = |one: &&Active| one.deadline.is_some_and(|deadline| deadline <= now);
        let overdue = active.iter().filter(|one| one.state != ActiveState::Paused).filter(passed).map(|one| one.key);
        let overdue: BTreeSet<Key> = overdue.collect();
        match overdue.intersection(&process.overdue).next() {
            Some(key) => Err(format!("{key:?} goes on after its deadline")),
            None => {
                process.overdue = overdue;
                Ok(())
            }
        }
    }

    /// What is paused, was asked to end, or should have ended by now makes no call.
    fn check_held(&self, process: &mut Process, active: &[Active]) -> Result<(), String> {
        let now = process.engine.core.now();
        let must_rest = |one: &Active| {
            one.state == ActiveState::Paused || one.cancel || one.deadline.is_some_and(|deadline| deadline <= now)
        };
        let is_held = |key: &Key| active.iter().any(|one| one.key == *key && must_rest(one));
        process.held.retain(|key, _| is_held(key));
        for one in active.iter().filter(|one| must_rest(one)) {
            let Ok(journal) = process.engine.core.readers.read(|connection| journal::read(connection, one.key)) else {
                continue;
            };
            let calls = journal.iter().filter(|record| !matches!(record, Record::Settled { .. })).count();
            let before = *process.held.entry(one.key).or_insert(calls);
            if calls != before {
                return Err(format!("{:?} was held with {before} records and made {calls}", one.key));
            }
        }
        Ok(())
    }
}

/// Answers one request as the engine does. Of a start the id; of the others something.
async fn perform(engine: &Engine, world: Arc<World>, request: Request) -> Result<Option<String>, EngineError> {
    match request {
        Request::Start { key, input, deadline } => {
            let start = StartRequest {
                flow: FLOW.into(),
                input,
                by: "simulation".into(),
                webhook_id: Some("webhook".into()),
                idempotency_key: Some(key.to_string()),
                deadline: deadline.map(|millis| Deadline::After(Duration::from_millis(millis))),
                ..StartRequest::default()
            };
            engine.on_behalf(starter(), Role::Operator).start(start).await.map(|(id, _)| Some(id))
        }
        Request::Signal { id, execution, name, payload } => {
            engine.signal(&execution, &name, payload, "simulation", Some(id)).await.map(Some)
        }
        Request::Steer { execution, what } => steer(engine, execution, what).await.map(|()| None),
        Request::Restart { execution, from, version } => {
            restart(engine, world, execution, from, version).await.map(Some)
        }
        Request::Disable { schedule } => {
            let fields = json!({"is_enabled": false}).as_object().cloned().unwrap_or_default();
            engine.save(Kind::Schedule, schedule, fields, "simulation").await.map(|_| None)
        }
    }
}

/// Without the answer that the engine's own function reads in another thread, whose timing no seed decides.
async fn steer(engine: &Engine, execution: String, what: Steer) -> Result<(), EngineError> {
    let ticket = engine.core.writer.submit(Urgency::Now, Concerns::None, move |connection| {
        let last = executions::last_of_chain(connection, &execution)?;
        let Some(key) = executions::key_of(connection, &last)? else { return Ok(None) };
        match what {
            Steer::Cancel => executions::request_cancel(connection, key)?,
            Steer::Pause => executions::set_paused(connection, key, true, "paused")?,
            Steer::Resume => executions::set_paused(connection, key, false, "")?,
        };
        Ok(Some(key))
    });
    if let Some(key) = ticket.done().await? {
        engine.core.send(crate::core::Event::Wake(key));
    }
    Ok(())
}

/// Like [`Engine::restart`], which reads the journal in another thread, from a call that `from` picks.
async fn restart(
    engine: &Engine,
    world: Arc<World>,
    execution: String,
    from: u32,
    version: RestartVersion,
) -> Result<String, EngineError> {
    let core = engine.core.clone();
    let ticket = engine.core.writer.submit(Urgency::Now, Concerns::None, move |connection| {
        let (key, row) = executions::get(connection, &execution)?.expect("nothing is deleted");
        let calls = journal::read(connection, key)?.iter().filter(|one| matches!(one, Record::Call { .. })).count();
        let from = 1 + from % u32::try_from(calls.max(1)).expect("they are few");
        let taken = restarts::look(connection, key, &execution, from)?;
        // Each restart does, of several from the same call.
        taken.taken_up().for_each(|connection| world.taken_up(connection));
        let (id, flow) = (core.new_id(), row["flow_id"].as_str().unwrap_or_default());
        let new = core.new_flow_execution(
            connection,
            id.clone(),
            flow,
            row["input"].clone(),
            "simulation",
            &check::starter(),
        )?;
        let key = restarts::begin(&core, connection, &taken, version, new)?;
        Ok((id, key.expect("nothing came in between")))
    });
    let (id, key) = ticket.done().await?;
    engine.core.send(crate::core::Event::Wake(key));
    Ok(id)
}
