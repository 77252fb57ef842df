//! Whether an execution may start one more child flow: how many it has at one time, and how deep they stand.

use super::{End, HostError, Session};
use crate::core::lock;
use crate::store::executions;

impl Session {
    /// Why no child may be started now; none when one may. What it answers depends on when it is asked: the answer
    /// belongs into the journal.
    pub(super) fn refused_child(&self) -> Result<Option<HostError>, End> {
        let started = &self.resident.started;
        let (children_max, depth_max) = (started.limits.children_max, started.limits.depth_max);
        if started.depth + 1 >= depth_max {
            let text = format!("depth_max: {depth_max} executions stand above one another; start no more children");
            return Ok(Some(HostError::LimitExceeded(text)));
        }
        // Counting takes time with their number: it is done once for as many starts as there is room for.
        let mut room = lock(&self.state).room_for_children;
        if room == 0 {
            let unended =
                self.core.readers.read(|connection| executions::unended_children(connection, &self.execution().id));
            room = children_max.saturating_sub(unended.map_err(|_| End::dropped())?);
        }
        if room == 0 {
            let text = format!("children_max: {children_max} child flows have not ended; wait for some of them first");
            return Ok(Some(HostError::LimitExceeded(text)));
        }
        lock(&self.state).room_for_children = room - 1;
        Ok(None)
    }
}
