//! Section 2: the self-built scheduler.

use surefoot::prelude::*;

use crate::Request;

const TEST_SCHEDULE: &str = "my-test-schedule";

/// Enables a schedule and looks whether the scheduler has an execution waiting for it; then disables it again.
pub(crate) fn starts(system: &System, this: &Execution, request: &Request) -> Result<Value> {
    let fields = json!({
        "scheduler_id": system.scheduler(&request.scheduler).get::<String>("id")?,
        "setting_id": system.setting(&request.setting).get::<String>("id")?,
        "flow_id": system.flow(&request.flow).get::<String>("id")?,
        "project_id": system.project(&request.project).get::<String>("id")?,
        "is_enabled": true,
    });
    // Registered before it is enabled: a cancel may come at any call.
    this.on_end().disable_schedule(TEST_SCHEDULE)?;
    let schedule = system.schedule(TEST_SCHEDULE).save(fields)?;

    let patience = Duration::from_secs(request.schedule_wait_seconds);
    this.sleep(patience, "give the system time to create schedule");
    let found = waiting_execution(system, this, schedule.id());

    schedule.save(json!({ "is_enabled": false }))?;
    let execution = found?.ok_or_else(|| Error::other("the schedule has no execution that waits for its time"))?;
    Ok(json!({ "schedule_id": schedule.id(), "execution_id": execution.id() }))
}

/// The newest execution of the schedule that is younger than this test and waits for its time.
fn waiting_execution(system: &System, this: &Execution, schedule_id: &str) -> Result<Option<Record>> {
    system
        .executions()
        .filter(
            field("type").eq("SCHEDULE")
                & field("schedule_id").eq(schedule_id)
                & field("created_at").gt(this.get::<String>("created_at")?)
                & field("status").eq("SCHEDULED"),
        )
        .order("-created_at")
        .first()
}
