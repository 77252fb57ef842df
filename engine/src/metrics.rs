//! What is counted while the engine works, for who watches it. Counting is a few additions to atomics: no lock, no
//! allocation and nothing to read on the way of a step; an execution's end alone takes a lock. What the store knows
//! anyway is not counted a second time, but read when somebody asks.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::core::lock;
use crate::engine::{Engine, EngineResult};
use crate::journal::{Outcome, Status};
use crate::query::Kind;
use crate::store::executions::ActiveState;
use crate::store::{StoreResult, records, sizes};
use crate::upkeep::DATABASE;

/// Upper ends of a histogram's buckets, microseconds. What takes longer has a bucket of its own.
const BOUNDS_MICROS: [u64; 14] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    100_000,
    500_000,
    1_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
];

/// Flows that are counted by themselves. What more there are is counted together.
const FLOWS_MAX: usize = 200;

/// Stands for the flows that are more than [`FLOWS_MAX`].
const OTHER_FLOWS: &str = "(other)";

/// Counts durations.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

/// What a histogram has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Upper ends in seconds, the last one infinite, and how many were not longer: cumulative, as Prometheus has it.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all, seconds.
    pub sum: f64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn distribution(&self) -> Distribution {
        let bounds = BOUNDS_MICROS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count.load(Ordering::Relaxed);
            Some(*sum)
        });
        let sum = self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6;
        Distribution { buckets: bounds.zip(counts).collect(), sum }
    }
}

impl Distribution {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }
}

/// What the writer counts, once for each commit.
#[derive(Debug, Default)]
pub(crate) struct OfWriter {
    pub(crate) commits: Histogram,
    pub(crate) writes: AtomicU64,
    pub(crate) journal_records: AtomicU64,
    pub(crate) journal_bytes: AtomicU64,
}

/// What is counted of one connector type: the durations of its calls by outcome.
#[derive(Debug, Default)]
pub(crate) struct OfConnector([Histogram; CALL_OUTCOMES.len()]);

/// How calls end.
const CALL_OUTCOMES: [&str; 4] = ["success", "error", "interrupted", "cancelled"];

impl OfConnector {
    pub(crate) fn ended(&self, outcome: &Outcome, duration: Duration) {
        let index = match outcome {
            Outcome::Success(_) => 0,
            Outcome::Failed(_) => 1,
            Outcome::Interrupted => 2,
            Outcome::Cancelled => 3,
        };
        self.0[index].observe(duration);
    }
}

/// What the parts of the core count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By flow: how many succeeded, failed, were cancelled.
    ended: Mutex<BTreeMap<String, [u64; 3]>>,
    /// How late the runs of schedules were started.
    pub(crate) schedule_runs: Histogram,
    pub(crate) schedule_runs_skipped: AtomicU64,
    pub(crate) schedule_rounds_late: AtomicU64,
    pub(crate) schedule_times_missed: AtomicU64,
}

const END_STATUSES: [Status; 3] = [Status::EndedSuccess, Status::EndedError, Status::EndedCancelled];

impl Counters {
    /// An execution of that flow has ended.
    pub(crate) fn ended(&self, flow_id: &str, status: Status) {
        let Some(index) = END_STATUSES.iter().position(|known| *known == status) else { return };
        let mut ended = lock(&self.ended);
        let is_counted = ended.len() < FLOWS_MAX || ended.contains_key(flow_id);
        ended.entry(if is_counted { flow_id } else { OTHER_FLOWS }.to_owned()).or_default()[index] += 1;
    }
}

/// How many executions of a flow ended in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The flow's name, or its id when it is gone.
    pub flow: String,
    /// Such as `ENDED_SUCCESS`.
    pub status: &'static str,
    /// How many, since the engine was opened.
    pub count: u64,
}

/// Calls of one connector type that ended in one way, by their durations.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls {
    /// The type's name.
    pub connector: &'static str,
    /// `success`, `error`, `interrupted` or `cancelled`.
    pub outcome: &'static str,
    /// How long they took.
    pub durations: Distribution,
}

/// Figures of an engine, since it was opened where they are counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Executions that were ever created in this workspace.
    pub executions_created: u64,
    /// Executions that have not ended, by what they do: `runnable`, `parked`, `paused`, `asleep`.
    pub executions_active: Vec<(&'static str, u64)>,
    /// Executions that are in memory, with an instance or a running call.
    pub executions_in_memory: usize,
    /// Executions that have ended.
    pub executions_ended: Vec<Ended>,
    /// Calls of connectors.
    pub calls: Vec<Calls>,
    /// Commits, by their durations.
    pub commits: Distribution,
    /// Writes that were committed, and that wait for it.
    pub writes: u64,
    /// See `writes`.
    pub writes_queued: usize,
    /// Records that were written to journals by themselves: calls, waits, ends of calls. Those that are written
    /// together with a change of the store are not among them.
    pub journal_records: u64,
    /// Their size.
    pub journal_bytes: u64,
    /// Runs of schedules, by how late they were started.
    pub schedule_runs: Distribution,
    /// Runs that were skipped because one was under way.
    pub schedule_runs_skipped: u64,
    /// How often a schedule came late, and left times out.
    pub schedule_rounds_late: u64,
    /// Times of schedules that were left out because nothing could run when they came.
    pub schedule_times_missed: u64,
    /// Size of the database's file.
    pub database_bytes: u64,
    /// Size of its log.
    pub log_bytes: u64,
    /// Whether nothing new is taken, because a commit failed.
    pub is_degraded: bool,
    /// Whether the disk is full.
    pub is_disk_full: bool,
}

impl Engine {
    /// What the engine has counted, and what the store knows without counting much.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn figures(&self) -> EngineResult<Figures> {
        self.read(|core, connection| {
            let ended = lock(&core.counters.ended).clone();
            let writer = core.writer.metrics();
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let size = |file: &str| std::fs::metadata(core.config.data.join(file)).map_or(0, |found| found.len());
            let calls = core.connectors.iter().flat_map(|(connector, ty)| {
                let outcomes = CALL_OUTCOMES.iter().zip(&ty.metrics.0);
                outcomes.map(move |(outcome, calls)| Calls { connector, outcome, durations: calls.distribution() })
            });
            let active = sizes::count_active_by_state(connection)?.into_iter();
            Ok(Figures {
                executions_created: u64::try_from(sizes::newest_number(connection)?).unwrap_or(0),
                executions_active: active.map(|(state, count)| (state_name(state), count)).collect(),
                executions_in_memory: lock(&core.residents).len(),
                executions_ended: by_name(connection, ended)?,
                calls: calls.filter(|calls| calls.durations.count() > 0).collect(),
                commits: writer.commits.distribution(),
                writes: count(&writer.writes),
                writes_queued: core.writer.queued(),
                journal_records: count(&writer.journal_records),
                journal_bytes: count(&writer.journal_bytes),
                schedule_runs: core.counters.schedule_runs.distribution(),
                schedule_runs_skipped: count(&core.counters.schedule_runs_skipped),
                schedule_rounds_late: count(&core.counters.schedule_rounds_late),
                schedule_times_missed: count(&core.counters.schedule_times_missed),
                database_bytes: size(DATABASE),
                log_bytes: size(&format!("{DATABASE}-wal")),
                is_degraded: core.degraded.load(Ordering::SeqCst),
                is_disk_full: core.reserve.is_disk_full(),
            })
        })
        .await
    }
}

fn state_name(state: ActiveState) -> &'static str {
    match state {
        ActiveState::Runnable => "runnable",
        ActiveState::Parked => "parked",
        ActiveState::Paused => "paused",
        ActiveState::Asleep => "asleep",
    }
}

/// Flows of one name, of which one is in the trash, are counted together.
fn by_name(connection: &rusqlite::Connection, ended: BTreeMap<String, [u64; 3]>) -> StoreResult<Vec<Ended>> {
    let mut named = BTreeMap::<String, [u64; 3]>::new();
    for (id, counts) in ended {
        let record = records::get(connection, Kind::Flow, &id)?;
        let name = record.and_then(|record| record["name"].as_str().map(str::to_owned)).unwrap_or(id);
        named.entry(name).or_default().iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let all = named.into_iter().flat_map(|(flow, counts)| {
        let each = END_STATUSES.into_iter().zip(counts).filter(|(_, count)| *count > 0);
        each.map(move |(status, count)| Ended { flow: flow.clone(), status: status.as_str(), count })
    });
    Ok(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_up_to_their_bucket() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 5_000, u64::MAX / 2] {
            histogram.observe(Duration::from_micros(micros));
        }
        let Distribution { buckets, .. } = histogram.distribution();
        let at = |seconds: f64| buckets.iter().find(|(bound, _)| *bound == seconds).unwrap().1;
        assert_eq!((at(0.0001), at(0.00025), at(0.0025), at(0.005), at(600.0)), (2, 3, 3, 4, 4));
        assert_eq!(histogram.distribution().count(), 5);
    }

    #[test]
    fn the_number_of_flows_is_bounded() {
        let counters = Counters::default();
        for n in 0..10 * FLOWS_MAX {
            counters.ended(&format!("flow {n}"), Status::EndedError);
        }
        counters.ended("flow 0", Status::EndedSuccess);
        counters.ended("flow 0", Status::Running);
        let ended = lock(&counters.ended);
        assert_eq!((ended.len(), ended["flow 0"]), (FLOWS_MAX + 1, [1, 1, 0]));
        assert_eq!(ended[OTHER_FLOWS], [0, 9 * FLOWS_MAX as u64, 0]);
    }
}
