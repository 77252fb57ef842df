//! Bugs that are planted to prove that the simulator finds them. Each place in the engine that has one asks
//! [`is_planted`], which is a constant `false` but in this crate's own tests: no build of the binary can have one.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The database does not sync its commits.
    SyncSkipped,
    /// Who waits for a commit is answered before it.
    AnsweredBeforeCommit,
    /// A transaction does not look whether the workspace is still ours.
    EpochUnchecked,
    /// What woke an execution while its instance went away is forgotten.
    WakeLost,
    /// A woken execution gets a second instance.
    WakeDoubled,
    /// A wait looks again at replay instead of returning what it returned.
    WaitAskedAgain,
    /// A connector is called for an execution whose creation is not durable.
    CallBeforeCreation,
    /// A write begins before its intent is durable.
    WriteBeforeIntent,
    /// An interrupted write is performed again although the call did not allow it.
    InterruptedRepeated,
    /// What a call did is forgotten when recording it fails once.
    ResultForgotten,
    /// A sleep ends at the present time, which the journal does not have yet.
    SleepEndsNow,
    /// A child's id is not a function of its parent and the call.
    ChildIdRandom,
    /// A signal stays unused after it was taken.
    SignalUsedTwice,
    /// A wait for a signal times out without looking once more.
    TimeoutBeatsSignal,
    /// The next iteration of a schedule begins in a transaction of its own.
    NextIterationApart,
    /// The id of what a schedule starts is not a function of the schedule and the time.
    RunIdRandom,
    /// An iteration of the built-in scheduler does not know which times were dealt with before it.
    TimesForgotten,
    /// Journal time follows a clock that was set back.
    ClockFollowedBack,
    /// An execution runs the newest version of its flow.
    NewestVersionRun,
    /// A paused execution goes on.
    PauseIgnored,
    /// An execution that was asked to end goes on.
    CancelIgnored,
    /// Lines that are logged before the same call have the same key.
    LogLinesShareAKey,
    /// What continues an execution may do everything.
    RightsForgotten,
    /// What tells of an end, or of a question, begins in a transaction of its own.
    NotificationApart,
    /// A repeated webhook call starts a second execution.
    IdempotencyIgnored,
    /// Who restarts from a call does not take over how the connections ended that the calls before it began.
    EndsLeftBehind,
    /// What an execution held is given on in a transaction after its end.
    LockGivenOnApart,
    /// A lock that becomes free is given to two who wait for it.
    LockGivenTwice,
    /// Who waits for a lock holds it whenever it is woken.
    LockTakenAtWaking,
    /// An execution goes on after its deadline.
    DeadlineIgnored,
    /// An execution begins although as many of its flow run as may.
    PlaceIgnored,
    /// A place is given on in a transaction after the end.
    PlaceGivenOnApart,
    /// A failed sync is tried again. This one is in the simulated disk: SQLite itself never does it.
    #[cfg_attr(not(test), expect(dead_code, reason = "its place is in the simulator"))]
    FailedSyncRetried,
}

#[cfg(not(test))]
pub(crate) const fn is_planted(_bug: Bug) -> bool {
    false
}

#[cfg(test)]
pub(crate) use selected::{is_planted, with_planted};

#[cfg(test)]
mod selected {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this thread's engine has that bug.
    pub(crate) fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Runs `work` with a bug in this thread's engine.
    pub(crate) fn with_planted<T>(bug: Bug, work: impl FnOnce() -> T) -> T {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                PLANTED.set(None);
            }
        }
        PLANTED.set(Some(bug));
        let _reset = Reset;
        work()
    }
}
