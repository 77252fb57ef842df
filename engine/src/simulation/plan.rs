//! What a seed does to the engine: which flows it starts, and what happens when. A plan is data, so that a failing one
//! can be made smaller.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::disk::Fault;
use super::script::{Op, Script};

/// Events come at steps below this. A run has more steps than that.
const EVENT_STEPS: u32 = 160;

/// Instances that may be in memory where that is no scarcity.
pub(super) const RESIDENTS_MAX: usize = 100;

/// Signals have one of that many names, and so have questions.
pub(super) const SIGNAL_NAMES: u32 = 2;

/// Settings that scripts lock.
pub(super) const LOCKS: u32 = 2;

/// Their names.
pub(super) fn lock_name(number: u32) -> String {
    format!("lock-{number}")
}

/// The names of signals: first those that are waited for, then those that are asked for.
pub(super) fn signal_name(number: u32) -> String {
    let kind = if number < SIGNAL_NAMES { "signal" } else { "question" };
    format!("{kind}-{}", number % SIGNAL_NAMES)
}

/// Something that happens at a step of the driver.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A webhook call with an idempotency key starts a script.
    Start {
        key: u32,
        script: Script,
        /// That long after its creation.
        deadline: Option<u64>,
    },
    /// The same call again.
    StartAgain {
        pick: u32,
    },
    /// Somebody sends a signal; perhaps twice, perhaps before anybody waits for it.
    Signal {
        pick: u32,
        name: u32,
        twice: bool,
    },
    Cancel {
        pick: u32,
    },
    Pause {
        pick: u32,
    },
    /// Somebody restarts an execution that has ended from one of its calls.
    Restart {
        pick: u32,
        from: u32,
        newest: bool,
    },
    /// The flow gets its other version.
    Deploy,
    ClockJump {
        millis: i64,
    },
    /// The fault strikes after that many more writes and syncs.
    Disk {
        after: u32,
        fault: Fault,
    },
    /// A commit fails that the disk did not fail.
    CommitFails,
    /// The process dies between two steps. With `again`, the disk has a fault while the next one starts.
    Crash {
        fault: Fault,
        again: Option<(u32, Fault)>,
    },
    /// Another process takes the workspace, whatever the lock says.
    Taken,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Instances that may be in memory.
    pub(super) residents_max: usize,
    pub(super) with_cron: bool,
    pub(super) with_pacer: bool,
    /// Whether somebody is told of failures, recoveries and questions.
    pub(super) with_notifications: bool,
    /// How many executions of the flow may run at one time.
    pub(super) max_concurrent: Option<u32>,
    /// By step.
    pub(super) events: Vec<(u32, Event)>,
}

impl Plan {
    pub(super) fn random(seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let residents_max = if below(rng, 3) == 0 { 1 + below(rng, 3) as usize } else { RESIDENTS_MAX };
        let (with_cron, with_pacer) = (below(rng, 4) == 0, below(rng, 4) == 0);
        let max_concurrent = (below(rng, 3) == 0).then(|| 1 + below(rng, 2));
        // In a crowd everybody wants the same lock first, and waits for it.
        let is_crowd = below(rng, 3) == 0;
        let mut events = Vec::new();
        for key in 0..=below(rng, 4) {
            let step = if key == 0 { 0 } else { below(rng, EVENT_STEPS / 2) };
            let deadline = (below(rng, 4) == 0).then(|| 200 + u64::from(below(rng, 20_000)));
            let mut script = Script::random(rng);
            if is_crowd {
                script.ops.insert(0, Op::Lock { lock: 0, timeout: None });
            }
            events.push((step, Event::Start { key, script, deadline }));
        }
        // Some seeds are calm, some are not.
        for _ in 0..below(rng, 20) {
            events.push((below(rng, EVENT_STEPS), Event::random(rng)));
        }
        // Of a stream of their own: without them a seed's plan is what it was before there were any.
        let rng = &mut ChaCha8Rng::seed_from_u64(seed.rotate_left(29));
        for _ in 0..below(rng, 5) {
            let (pick, from, newest) = (rng.next_u32(), rng.next_u32(), below(rng, 2) == 0);
            events.push((EVENT_STEPS / 4 + below(rng, EVENT_STEPS), Event::Restart { pick, from, newest }));
        }
        events.sort_by_key(|(step, _)| *step);
        let with_notifications = seed % 3 == 1;
        Self { seed, residents_max, with_cron, with_pacer, with_notifications, max_concurrent, events }
    }

    /// The setting of the schedule by cron: each seed has one of the policies.
    pub(super) fn cron_setting(&self) -> Value {
        let (missed, overlap) = match self.seed % 4 {
            0 => ("run_once", "allow"),
            1 => ("skip", "skip"),
            2 => ("run_once", "cancel_old"),
            _ => ("run_all", "queue"),
        };
        json!({"cron": "*/10 * * * * *", "missed": missed, "overlap": overlap})
    }

    /// Plans with one thing less.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        let half = self.events.len() / 2;
        if half > 1 {
            for range in [0..half, half..self.events.len()] {
                let mut plan = self.clone();
                plan.events.drain(range);
                plans.push(plan);
            }
        }
        for index in 0..self.events.len() {
            let mut plan = self.clone();
            plan.events.remove(index);
            plans.push(plan);
        }
        for (index, (_, event)) in self.events.iter().enumerate() {
            let Event::Start { script, .. } = event else { continue };
            for smaller in script.smaller() {
                let mut plan = self.clone();
                if let Event::Start { script, .. } = &mut plan.events[index].1 {
                    *script = smaller;
                }
                plans.push(plan);
            }
        }
        if self.max_concurrent.is_some() {
            plans.push(Self { max_concurrent: None, ..self.clone() });
        }
        if self.with_cron || self.with_pacer {
            plans.push(Self { with_cron: false, with_pacer: false, ..self.clone() });
        }
        if self.with_notifications {
            plans.push(Self { with_notifications: false, ..self.clone() });
        }
        plans
    }
}

impl Event {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        let pick = rng.next_u32();
        match below(rng, 22) {
            0 => Self::StartAgain { pick },
            1..=3 => Self::Signal { pick, name: below(rng, 2 * SIGNAL_NAMES), twice: below(rng, 3) == 0 },
            4 => Self::Cancel { pick },
            5..=6 => Self::Pause { pick },
            7 => Self::Deploy,
            8..=9 => Self::ClockJump { millis: i64::from(below(rng, 120_000)) - 60_000 },
            10..=14 => Self::Disk { after: below(rng, 40), fault: fault(rng) },
            15 => Self::CommitFails,
            16..=20 => {
                let again = (below(rng, 4) == 0).then(|| (below(rng, 12), fault(rng)));
                Self::Crash { fault: death(rng), again }
            }
            _ => Self::Taken,
        }
    }
}

fn death(rng: &mut ChaCha8Rng) -> Fault {
    if below(rng, 2) == 0 { Fault::Kill } else { Fault::PowerLoss }
}

fn fault(rng: &mut ChaCha8Rng) -> Fault {
    match below(rng, 9) {
        0..=3 => death(rng),
        4 => Fault::WriteFails,
        5 => Fault::Full(1 + below(rng, 6)),
        6 => Fault::SyncFailsAndKills,
        _ => Fault::SyncFails { forgotten: below(rng, 2) == 0 },
    }
}

pub(super) fn below(rng: &mut ChaCha8Rng, limit: u32) -> u32 {
    rng.next_u32() % limit
}

/// The scripts that a plan starts.
pub(super) fn scripts(plan: &Plan) -> impl Iterator<Item = &Script> {
    plan.events.iter().filter_map(|(_, event)| match event {
        Event::Start { script, .. } => Some(script),
        _ => None,
    })
}
