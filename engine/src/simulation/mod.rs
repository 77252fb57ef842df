//! A seeded simulator: the real engine runs random scripts of host calls under a clock, an entropy and a writer that
//! the seed
//! drives. It crashes before and after commits, fails commits, reopens the workspace, and compares what guests saw
//! and what journals
//! hold with what may be.
//!
//! `SUREFOOT_SIM_SEEDS` says how many seeds; `SUREFOOT_SIM_SEED=N` repeats one.

mod script;
mod world;

use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::Value;

use crate::clock::{Clock, ManualClock, Timestamp};
use crate::core::Config;
use crate::engine::{Engine, WriterMode};
use crate::id::Entropy;
use crate::journal::{Outcome, Record};
use crate::store::writer::Ending;
use crate::store::{Concerns, executions, journal};

use script::{Op, Script};
use world::{Probe, World};

/// Simulated start: 2026-01-01.
const START: Timestamp = Timestamp(1_767_225_600_000_000);

/// Crashes in one run, at most: each run ends.
const CRASHES_MAX: u32 = 12;

/// Steps of the driver in one run, at most. More means that something is stuck.
const STEPS_MAX: u32 = 20_000;

#[test]
fn random_scripts_survive_crashes_at_any_commit() {
    let one =
        std::env::var("SUREFOOT_SIM_SEED").ok().map(|seed| seed.parse::<u64>().expect("SUREFOOT_SIM_SEED is a number"));
    let count = std::env::var("SUREFOOT_SIM_SEEDS")
        .map_or(60, |count| count.parse::<u64>().expect("SUREFOOT_SIM_SEEDS is a number"));
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    };
    let mut totals = Totals::default();
    for seed in seeds {
        let attempt = std::panic::catch_unwind(|| simulate(seed));
        let Ok((journals, run)) = attempt else {
            panic!(
                "seed {seed} failed; repeat it with: SUREFOOT_SIM_SEED={seed} cargo test -p surefoot-engine simulation"
            );
        };
        // Every tenth seed twice: the same seed gives the same journals, byte for byte.
        if seed % 10 == 0 || one.is_some() {
            assert_eq!(journals, simulate(seed).0, "seed {seed} gave two different journals");
        }
        totals.crashes += run.crashes;
        totals.interrupted += run.interrupted;
        totals.calls += run.calls;
    }
    if one.is_none() && count >= 60 {
        assert!(totals.crashes > 60, "the simulation crashes too seldom to prove anything: {totals:?}");
        assert!(totals.interrupted > 3, "no write was ever interrupted: {totals:?}");
        assert!(totals.calls > 1000, "the scripts are too short: {totals:?}");
    }
}

#[derive(Debug, Default)]
struct Totals {
    crashes: u32,
    interrupted: u32,
    calls: u32,
}

/// One seed: runs its script to the end, through crashes, and checks everything. Returns all journals as bytes.
fn simulate(seed: u64) -> (Vec<Vec<u8>>, Totals) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let script = Script::random(&mut rng);
    let world = Arc::new(World::default());
    let clock = ManualClock::new(START);
    let entropy = Entropy::seeded(seed);
    let mut totals = Totals::default();
    let mut started = None;
    loop {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let crashed = runtime.block_on(async {
            let engine = open(folder.path(), &clock, &entropy, &world);
            let id = match &started {
                Some(id) => String::clone(id),
                None => start(&engine, &script).await,
            };
            started = Some(id.clone());
            let may_crash = totals.crashes < CRASHES_MAX;
            drive(&engine, &id, &clock, &mut rng, may_crash).await
        });
        // Dropping the runtime drops every task where it stands: that is the crash.
        drop(runtime);
        if !crashed {
            break;
        }
        totals.crashes += 1;
        // The machine is down for a while: what was due meanwhile is late, and no time may be taken for what it would
        // have been.
        clock.set(Clock::Manual(clock.clone()).now().after(Duration::from_millis(u64::from(rng.next_u32() % 3000))));
    }
    let journals = check(
        folder.path(),
        &clock,
        &entropy,
        &world,
        &script,
        started.as_deref().expect("started above"),
        &mut totals,
    );
    (journals, totals)
}

fn open(folder: &std::path::Path, clock: &Arc<ManualClock>, entropy: &Entropy, world: &Arc<World>) -> Engine {
    let mut config = Config::new(folder);
    config.reserve_bytes = 0;
    config.clock = Clock::Manual(clock.clone());
    config.entropy = entropy.clone();
    config.idle_before_parking = Duration::from_millis(50);
    let probe = Arc::new(Probe(world.clone()));
    let flow: Arc<dyn crate::NativeFlow> = Arc::new(script::ScriptFlow(world.clone()));
    Engine::open_with(config, vec![probe], vec![("script".to_owned(), flow)], WriterMode::Manual)
        .expect("the workspace opens")
}

async fn start(engine: &Engine, script: &Script) -> String {
    let core = engine.core.clone();
    let (id, input) = (core.new_id(), serde_json::to_value(script).expect("a script is plain JSON"));
    let new_id = id.clone();
    let ticket = engine.core.writer.submit(crate::store::Urgency::Now, Concerns::None, move |connection| {
        let new = core.new_flow_execution(connection, new_id, "native:script", input, "simulation")?;
        executions::insert(connection, &new, core.now())
    });
    engine.core.writer.drain(Ending::Commit);
    let key = ticket.done().await.expect("the start is not refused");
    engine.core.send(crate::core::Event::Wake(key));
    id
}

/// Lets the engine work until everything has ended (false) or the simulated process dies (true).
async fn drive(engine: &Engine, id: &str, clock: &Arc<ManualClock>, rng: &mut ChaCha8Rng, may_crash: bool) -> bool {
    for _ in 0..STEPS_MAX {
        // Paused time advances only when every task is idle, so this returns when the engine has nothing left to do
        // by itself.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if engine.core.writer.has_work() {
            let ending = match rng.next_u32() % 24 {
                0 if may_crash => Ending::CrashBefore,
                1 if may_crash => Ending::CrashAfter,
                2 => Ending::Fail,
                _ => Ending::Commit,
            };
            engine.core.writer.drain(ending);
            if matches!(ending, Ending::CrashBefore | Ending::CrashAfter) {
                return true;
            }
            continue;
        }
        let active = engine.core.readers.read(executions::active).expect("the store can be read");
        if active.is_empty() {
            return false;
        }
        if may_crash && rng.next_u32().is_multiple_of(40) {
            return true;
        }
        resume_suspects(engine);
        clock.set(engine.core.now().after(Duration::from_millis(u64::from(rng.next_u32() % 400) + 1)));
    }
    let active = engine.core.readers.read(executions::active);
    let journal = engine.core.readers.read(|connection| {
        let (key, row) = executions::get(connection, id)?.expect("the execution was started");
        Ok((row["status"].clone(), journal::read(connection, key)?.pop()))
    });
    panic!("stuck after {STEPS_MAX} steps: {journal:?}; not ended: {active:?}");
}

/// An execution that was at work at three deaths in a row is paused; the simulation crashes often enough for that,
/// and resumes it as an operator would.
fn resume_suspects(engine: &Engine) {
    let active = engine.core.readers.read(executions::active).expect("the store can be read");
    for paused in active.into_iter().filter(|active| active.state == executions::ActiveState::Paused) {
        let key = paused.key;
        drop(engine.core.writer.submit(crate::store::Urgency::Now, Concerns::None, move |connection| {
            executions::set_paused(connection, key, false, "")
        }));
        engine.core.writer.drain(Ending::Commit);
        engine.core.send(crate::core::Event::Wake(key));
    }
}

/// What must hold when all has ended.
fn check(
    folder: &std::path::Path,
    clock: &Arc<ManualClock>,
    entropy: &Entropy,
    world: &Arc<World>,
    script: &Script,
    id: &str,
    totals: &mut Totals,
) -> Vec<Vec<u8>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let engine = open(folder, clock, entropy, world);
        let read = |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare("SELECT id FROM executions ORDER BY created_at")?;
            let ids = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            let mut journals = Vec::new();
            for id in ids {
                let (key, row) = executions::get(connection, &id)?.expect("listed above");
                journals.push((row, journal::read(connection, key)?));
            }
            Ok(journals)
        };
        let journals = engine.core.readers.read(read).expect("the store can be read");
        let root = journals.iter().find(|(row, _)| row["id"] == id).expect("the root is there");
        assert_eq!(root.0["status"], "ENDED_SUCCESS", "{}", root.0);
        assert_eq!(journals.len(), 1 + script.children(), "each child is started once");
        let observed = root.0["output"]["results"].as_array().expect("the script's results");
        assert_eq!(observed.len(), script.ops.len(), "every operation has one result");
        for (row, journal) in &journals {
            totals.calls += well_formed(row, journal);
            totals.interrupted += writes_happened_once(row, journal, world);
        }
        journals.iter().map(|(_, journal)| journal.iter().flat_map(crate::journal::encode).collect()).collect()
    })
}

/// Calls stand in order, each with at most one answer; each connection ends at most once; time does not go back.
/// Returns the number of calls.
fn well_formed(row: &Value, journal: &[Record]) -> u32 {
    let (mut calls, mut answered, mut settled) =
        (0, std::collections::HashSet::new(), std::collections::HashSet::new());
    let mut clock = Timestamp(0);
    for (seq, record) in journal.iter().enumerate() {
        match record {
            Record::Started(_) => assert_eq!(seq, 0, "only the first record is a start"),
            Record::Call { n, at, reply, .. } => {
                assert_eq!(*n, calls, "calls stand in order in {}", row["id"]);
                assert!(*at >= clock, "journal time went back in {}", row["id"]);
                clock = *at;
                calls += 1;
                if reply.is_some() {
                    assert!(answered.insert(*n), "call {n} is answered once");
                }
            }
            Record::Reply { n, at, .. } => {
                assert!(*n < calls && answered.insert(*n), "call {n} is made, and answered once");
                assert!(*at >= clock, "journal time went back in {}", row["id"]);
                clock = *at;
            }
            Record::Settled { n, .. } => {
                assert!(*n < calls && settled.insert(*n), "connection {n} is started, and ends once")
            }
        }
    }
    calls
}

/// A write that is recorded as done was done once; one recorded as interrupted at most once. Returns how many were
/// interrupted.
fn writes_happened_once(row: &Value, journal: &[Record], world: &World) -> u32 {
    let mut interrupted = 0;
    for record in journal {
        let Record::Call { n, connection: Some(start), .. } = record else { continue };
        if start.effect != surefoot_connector_api::Effect::Write {
            continue;
        }
        let times = world.performed(row["id"].as_str().expect("an id"), *n);
        let outcome = journal.iter().find_map(|record| match record {
            Record::Settled { n: of, outcome, .. } if of == n => Some(outcome),
            _ => None,
        });
        match outcome.map(|outcome| &**outcome) {
            Some(Outcome::Interrupted) => {
                interrupted += 1;
                assert!(times <= 1, "an interrupted write was performed {times} times");
            }
            Some(Outcome::Success(_)) if start.retry_on_interrupt => {
                assert!(times >= 1, "a write was recorded and never performed")
            }
            Some(Outcome::Success(_)) => assert_eq!(times, 1, "write {n} of {}", row["id"]),
            other => panic!("write {n} of {} ended as {other:?}", row["id"]),
        }
    }
    interrupted
}

#[test]
fn scripts_reach_every_operation() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let script = Script::random(&mut ChaCha8Rng::seed_from_u64(seed));
        seen.extend(script.ops.iter().map(Op::name));
    }
    assert_eq!(seen.len(), Op::NAMES, "{seen:?}");
}
