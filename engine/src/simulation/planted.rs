//! Each planted bug is found: the simulator's own test.

use super::plan::Plan;
use super::play;
use crate::planted::{Bug, with_planted};

/// Seeds that it may take to find a bug.
const SEEDS_MAX: u64 = 400;

/// Plays seeds until the bug is found.
fn is_found(bug: Bug) {
    let found = with_planted(bug, || (0..SEEDS_MAX).any(|seed| play(&Plan::random(seed)).is_err()));
    assert!(found, "{bug:?} is not found within {SEEDS_MAX} seeds");
}

macro_rules! planted {
    ($($name:ident: $bug:ident,)*) => {
        $(#[test]
        fn $name() {
            is_found(Bug::$bug);
        })*
    };
}

planted! {
    a_skipped_sync_is_found: SyncSkipped,
    a_failed_sync_that_is_tried_again_is_found: FailedSyncRetried,
    an_answer_before_the_commit_is_found: AnsweredBeforeCommit,
    an_epoch_that_nobody_checks_is_found: EpochUnchecked,
    a_lost_wake_up_is_found: WakeLost,
    a_doubled_wake_up_is_found: WakeDoubled,
    a_wait_that_looks_again_at_replay_is_found: WaitAskedAgain,
    a_call_before_the_creation_of_its_execution_is_found: CallBeforeCreation,
    a_write_before_its_intent_is_found: WriteBeforeIntent,
    a_repeated_interrupted_write_is_found: InterruptedRepeated,
    a_forgotten_result_is_found: ResultForgotten,
    a_sleep_that_ends_at_the_present_time_is_found: SleepEndsNow,
    a_childs_random_id_is_found: ChildIdRandom,
    a_signal_used_twice_is_found: SignalUsedTwice,
    a_timeout_that_beats_a_signal_is_found: TimeoutBeatsSignal,
    a_next_iteration_in_another_transaction_is_found: NextIterationApart,
    a_runs_random_id_is_found: RunIdRandom,
    a_time_between_two_iterations_is_found: TimesForgotten,
    a_journal_time_that_goes_back_is_found: ClockFollowedBack,
    a_version_that_changes_under_way_is_found: NewestVersionRun,
    an_ignored_pause_is_found: PauseIgnored,
    an_ignored_cancel_is_found: CancelIgnored,
    lines_of_a_log_with_the_same_key_are_found: LogLinesShareAKey,
    forgotten_rights_are_found: RightsForgotten,
    a_notification_in_another_transaction_is_found: NotificationApart,
    an_ignored_idempotency_key_is_found: IdempotencyIgnored,
    an_end_that_a_restart_leaves_behind_is_found: EndsLeftBehind,
    a_lock_that_is_given_on_after_the_end_is_found: LockGivenOnApart,
    a_lock_that_is_given_twice_is_found: LockGivenTwice,
    a_lock_that_is_taken_at_waking_is_found: LockTakenAtWaking,
    an_ignored_deadline_is_found: DeadlineIgnored,
    an_ignored_place_is_found: PlaceIgnored,
    a_place_that_is_given_on_after_the_end_is_found: PlaceGivenOnApart,
}
