//! A scheduler: decides when a schedule's flow runs.
//!
//! The engine runs it once an iteration, as long as the schedule is enabled, with the ids of the schedule and of what
//! the schedule joins. One iteration sleeps until the next time, starts the flow once, and ends; the engine
//! then starts the next. While it sleeps, its execution is the `SCHEDULED` one of the schedule.
//!
//! The setting says when: `{"interval_seconds": 300}`, at multiples of it since the epoch, or
//! `{"daily_at": "06:30"}`, in UTC. With `"broken": true` it fails at once, to show what that looks like.

mod timetable;

use serde::{Deserialize, Serialize};
use surefoot::prelude::*;

use crate::timetable::Timetable;

/// What the engine gives to a scheduler.
#[derive(Deserialize)]
struct Iteration {
    schedule_id: String,
    setting_id: String,
    flow_id: String,
    #[serde(default)]
    project_id: Option<String>,
}

/// What the iteration did.
#[derive(Serialize)]
struct Fired {
    execution_id: String,
}

#[surefoot::flow]
fn handler(system: &System, this: &Execution, iteration: Iteration) -> Result<Fired> {
    let value: Value = system.setting(&iteration.setting_id).get("value")?;
    ensure!(value.get("broken") != Some(&Value::Bool(true)), "the setting says `broken`");
    let timetable = Timetable::try_from(&value)?;

    this.sleep_until(timetable.next_after(this.now())?, "wait for the next time");

    let started = this
        .flow(&iteration.flow_id)
        .orphan()
        .input("schedule_id", &iteration.schedule_id)
        .input("project_id", &iteration.project_id)
        .start()?;
    info!(execution_id = started.id(); "started the flow");
    Ok(Fired { execution_id: started.id().to_owned() })
}
