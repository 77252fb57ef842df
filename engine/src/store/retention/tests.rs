//! Random forests of executions against a simple model: nothing that has not ended, and nothing that is to be kept, is
//! ever touched; everything that has to go does go; whatever step a crash comes between.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::Value;

use super::*;
use crate::approvals::Question;
use crate::journal::{Outcome, Record, Status};
use crate::store::approvals::{self, Approval, ApprovalStatus};
use crate::store::executions;
use crate::store::executions::{Finish, NewExecution};
use crate::store::logs::{self, LogLine};
use crate::store::signals::{self, Signal};
use crate::store::sizes::{count_active, count_after};
use crate::store::trash::{delete, require_ended, restore};
use crate::store::{Refusal, contents, journal, open_for_writing};

/// What the model knows of an execution.
#[derive(Clone, Debug)]
struct Known {
    key: Key,
    parent: Option<String>,
    ended_at: Option<i64>,
    continued_as: Option<String>,
    journal_rows: usize,
}

/// What the model knows of a tree, by its root.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// When it came into the trash.
    trashed_at: Option<i64>,
    /// When a user took it out of the trash.
    restored_at: Option<i64>,
    /// It must not come back.
    condemned: bool,
}

struct Forest {
    _folder: tempfile::TempDir,
    connection: Connection,
    rng: ChaCha8Rng,
    now: i64,
    known: BTreeMap<String, Known>,
    fates: BTreeMap<String, Fate>,
    next_id: u32,
    sweep: Sweep,
    units: u64,
    restored: u64,
}

const HOUR: i64 = 3_600_000_000;

/// `SUREFOOT_RETENTION_SEEDS` says how many forests; a failure names the one that it was.
#[test]
fn soak_random_forests_lose_nothing_that_stays_and_keep_nothing_that_goes() {
    let (mut trashed, mut purged, mut restored) = (0, 0, 0);
    let seeds = std::env::var("SUREFOOT_RETENTION_SEEDS")
        .map_or(8, |count| count.parse::<u64>().expect("SUREFOOT_RETENTION_SEEDS is a number"));
    for seed in 0..seeds {
        let mut forest = Forest::new(seed);
        for round in 0..40 {
            forest.live();
            let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| forest.pass()));
            assert!(attempt.is_ok(), "forest {seed} failed in round {round}");
        }
        trashed += forest.sweep.done.trashed;
        purged += forest.sweep.done.purged;
        restored += forest.restored;
    }
    assert!(trashed > 300 && purged > 300 && restored > 20, "too little happened: {trashed} {purged} {restored}");
}

/// What only damage can lead to stays, and keeps nothing else from going.
#[test]
fn a_tree_that_may_not_be_purged_is_passed_over() {
    let mut forest = Forest::new(1);
    let [damaged, other, _newest] = [(); 3].map(|()| forest.begin(None));
    for id in [&damaged, &other] {
        forest.end(id);
        assert!(delete(&forest.connection, id, true, Timestamp(forest.now), 1).unwrap());
    }
    let key = forest.known[&damaged].key;
    forest.connection.execute("INSERT INTO active (execution, state) VALUES (?1, 0)", [key.0]).unwrap();
    let rules =
        Rules { now: Timestamp(forest.now), ended_by: None, trashed_by: None, bytes_max: None, step_units: 1000 };
    let mut sweep = Sweep::default();
    while is_due(&forest.connection, &rules, &sweep).unwrap() {
        step(&forest.connection, &rules, &mut sweep, &|_| false).unwrap();
    }
    assert!(forest.is_there(&damaged) && !forest.is_there(&other));
}

impl Forest {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _) = open_for_writing(&folder.path().join("surefoot.db"), 7).unwrap();
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let units = 20 + u64::from(rng.next_u32() % 300);
        Self {
            _folder: folder,
            connection,
            rng,
            now: 1_000 * HOUR,
            known: BTreeMap::new(),
            fates: BTreeMap::new(),
            next_id: 0,
            sweep: Sweep::default(),
            units,
            restored: 0,
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.next_u32() % 100 < percent
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.next_u32() as usize % bound
    }

    /// One of those that `wanted` likes.
    fn one(&mut self, wanted: impl Fn(&str, &Known) -> bool) -> Option<String> {
        let ids: Vec<_> = self.known.iter().filter(|(id, known)| wanted(id, known)).map(|(id, _)| id.clone()).collect();
        if ids.is_empty() { None } else { Some(ids[self.below(ids.len())].clone()) }
    }

    /// Executions begin, work, start others, continue as new and end; users delete and restore.
    fn live(&mut self) {
        for _ in 0..6 {
            self.now += i64::from(self.rng.next_u32() % 1000) * HOUR / 1000;
            let unended = self.one(|_, known| known.ended_at.is_none());
            match (self.rng.next_u32() % 10, unended) {
                (0..=2, _) | (_, None) => drop(self.begin(None)),
                (3..=4, Some(parent)) => drop(self.begin(Some(parent))),
                (5, Some(id)) => self.work(&id),
                (6, Some(id)) => self.continue_as_new(&id),
                (_, Some(id)) => self.end(&id),
            }
        }
        if self.chance(20) {
            self.user_deletes();
        }
        if self.chance(20) {
            self.user_restores();
        }
    }

    fn begin(&mut self, parent: Option<String>) -> String {
        self.next_id += 1;
        let id = format!("e{}", self.next_id);
        let new = NewExecution {
            parent_id: parent.clone(),
            orphan: self.chance(30),
            ..NewExecution::sample(&id, Timestamp(self.now))
        };
        let key = executions::insert(&self.connection, &new, Timestamp(self.now)).unwrap();
        let known = Known { key, parent, ended_at: None, continued_as: None, journal_rows: 1 };
        self.known.insert(id.clone(), known);
        id
    }

    fn work(&mut self, id: &str) {
        let key = self.known[id].key;
        for n in 0..self.rng.next_u32() % 40 {
            let outcome = Outcome::Success(Value::Null.into()).into();
            let (began, at, attempts) = (Timestamp(1), Timestamp(2), Vec::new());
            let record = Record::Settled { n, began, at, outcome, attempts, cached_at: None };
            journal::append(&self.connection, key, &record).unwrap();
            self.known.get_mut(id).unwrap().journal_rows += 1;
        }
        let call = self.rng.next_u32();
        for line in 0..self.rng.next_u32() % 30 {
            let (at, text) = (Timestamp(1), "x".repeat(self.below(9000)));
            let (level, source) = ("info".into(), "log".into());
            let line = LogLine { call, line, at, level, source, message: text, fields: Value::Null };
            logs::insert(&self.connection, key, &line).unwrap();
        }
        let signal = Signal { id: format!("s{call}"), payload: Value::Null, sender: "x".into() };
        signals::insert(&self.connection, key, "go", &signal, None, Timestamp(self.now)).unwrap();
        let question =
            Question { message: "x".repeat(self.below(9000)), schema: None, roles: Vec::new(), users: Vec::new() };
        let (id, name, status) = (format!("a{call}"), "go".into(), ApprovalStatus::Answered);
        let approval = Approval { id, key, name, question, status, expires_at: None, signal: None };
        approvals::insert(&self.connection, &approval, None, Timestamp(self.now)).unwrap();
        contents::note_read(&self.connection, key, &format!("{:064}", call % 7)).unwrap();
    }

    fn end(&mut self, id: &str) {
        let known = self.known.get_mut(id).unwrap();
        let finish = Finish {
            cancels_children: false,
            status: Status::EndedSuccess,
            code: String::new(),
            message: String::new(),
            output: Value::Null,
            response: None,
            at: Timestamp(self.now),
        };
        assert!(executions::finish(&self.connection, known.key, &finish).unwrap().is_some());
        known.ended_at = Some(self.now);
    }

    fn continue_as_new(&mut self, id: &str) {
        let next = self.begin(self.known[id].parent.clone());
        self.end(id);
        let known = self.known.get_mut(id).unwrap();
        known.continued_as = Some(next.clone());
        executions::set_continued_as(&self.connection, known.key, &next).unwrap();
        executions::move_children(&self.connection, id, &next).unwrap();
        for child in self.known.values_mut() {
            if child.parent.as_deref() == Some(id) && child.ended_at.is_none() {
                child.parent = Some(next.clone());
            }
        }
    }

    fn members(&self, root: &str) -> Vec<String> {
        let mut members = vec![root.to_owned()];
        let mut next = 0;
        while next < members.len() {
            let parent = members[next].clone();
            members.extend(
                self.known.iter().filter(|(_, k)| k.parent.as_deref() == Some(&parent)).map(|(id, _)| id.clone()),
            );
            next += 1;
        }
        members
    }

    fn roots(&self) -> Vec<String> {
        self.known.iter().filter(|(_, known)| known.parent.is_none()).map(|(id, _)| id.clone()).collect()
    }

    /// When a tree ended, and the chain that it is the head of; none when something has not.
    fn end_of(&self, root: &str) -> Option<i64> {
        let ends = self.members(root).iter().map(|id| self.known[id].ended_at).collect::<Option<Vec<_>>>()?;
        let mut end = ends.into_iter().max()?;
        let is_head = !self.known.values().any(|known| known.continued_as.as_deref() == Some(root));
        let mut last = root;
        while let Some(next) = self.known[last].continued_as.as_deref().filter(|_| is_head) {
            last = next;
        }
        end = end.max(self.known[last].ended_at?);
        Some(end.max(self.fates.get(root).and_then(|fate| fate.restored_at).unwrap_or(i64::MIN)))
    }

    fn user_deletes(&mut self) {
        let Some(id) = self.one(|_, _| true) else { return };
        let permanently = self.chance(30);
        let ended = require_ended(&self.connection, &id).is_ok();
        assert_eq!(ended, self.end_of(&id).is_some(), "{id}");
        if !ended {
            return;
        }
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let deleted = delete(&self.connection, &id, permanently, Timestamp(self.now), self.units);
        self.connection.execute_batch("COMMIT").unwrap();
        self.sweep.forget_work();
        if self.known[&id].parent.is_some() {
            assert!(matches!(deleted, Err(StoreError::Refused(Refusal::Conflict(_)))), "{deleted:?}");
            return;
        }
        let fate = self.fates.entry(id).or_default();
        assert_eq!(deleted.unwrap(), permanently || fate.trashed_at.is_none());
        fate.trashed_at.get_or_insert(self.now);
        fate.condemned |= permanently;
    }

    fn user_restores(&mut self) {
        let trashed: Vec<_> = self.fates.iter().filter(|(_, fate)| fate.trashed_at.is_some()).collect();
        let Some((id, fate)) = trashed.first().map(|(id, fate)| ((*id).clone(), **fate)) else { return };
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let restored = restore(&self.connection, &id, Timestamp(self.now), self.units);
        self.connection.execute_batch("COMMIT").unwrap();
        self.sweep.forget_work();
        assert_eq!(restored.is_ok(), !fate.condemned, "{restored:?}");
        if restored.is_ok() {
            self.restored += 1;
            self.fates.insert(id, Fate { restored_at: Some(self.now), ..Fate::default() });
        }
    }

    /// One pass under random rules, with crashes, and then without until nothing is left to do.
    fn pass(&mut self) {
        self.now += 1; // later than what users did
        let hours = |n: u32| Timestamp(self.now - i64::from(n) * HOUR);
        let choices: Vec<u32> = (0..4).map(|_| self.rng.next_u32()).collect();
        let rules = Rules {
            now: Timestamp(self.now),
            ended_by: (!choices[0].is_multiple_of(3)).then(|| hours(choices[0] % 50)),
            trashed_by: (!choices[1].is_multiple_of(3)).then(|| hours(choices[1] % 30)),
            bytes_max: choices[2].is_multiple_of(20).then_some(1),
            step_units: self.units,
        };
        let max = if choices[3].is_multiple_of(3) { u64::from(choices[3] % 40) } else { u64::MAX };
        loop {
            let excess = i64::try_from(max).ok().map(|max| i64::try_from(self.outside()).unwrap() - max);
            self.sweep = Sweep { done: self.sweep.done, ..Sweep::of_excess(excess) };
            loop {
                let is_due = is_due(&self.connection, &rules, &self.sweep).unwrap();
                let before = self.connection.total_changes();
                self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
                let more = step(&self.connection, &rules, &mut self.sweep, &|_| false).unwrap();
                let changed = self.connection.total_changes() - before;
                assert!(changed <= self.units + 60, "{changed} rows in a step of {} units", self.units);
                assert!(is_due || changed == 0, "a step had work that nobody knew of");
                if self.chance(10) {
                    self.connection.execute_batch("ROLLBACK").unwrap();
                    break;
                }
                self.connection.execute_batch("COMMIT").unwrap();
                self.learn(&rules);
                if !more {
                    return self.check_finished(&rules, max);
                }
                if self.chance(10) {
                    break; // a crash after the commit: what was in memory is gone
                }
            }
        }
    }

    /// Ended executions outside of the trash.
    fn outside(&self) -> u64 {
        let (all, _) = count_after(&self.connection, None).unwrap();
        all - count_active(&self.connection).unwrap()
    }

    /// Compares what is there with the model after a step, and lets the model know what went.
    fn learn(&mut self, rules: &Rules) {
        let mut statement = self.connection.prepare("SELECT root, state, deleted_at FROM trash").unwrap();
        let rows = statement.query_map([], |row| Ok((Key(row.get(0)?), (row.get(1)?, row.get(2)?)))).unwrap();
        let trash: BTreeMap<Key, (i64, i64)> = rows.collect::<Result<_, _>>().unwrap();
        drop(statement);
        for root in self.roots() {
            let state = trash.get(&self.known[&root].key).copied();
            let end = self.end_of(&root);
            let there: Vec<String> = self.members(&root).into_iter().filter(|id| self.is_there(id)).collect();
            let whole = there.len() == self.members(&root).len();
            match state {
                None if there.is_empty() => {
                    let was_trashed = self.fates.get(&root).is_some_and(|fate| fate.trashed_at.is_some());
                    let at_once = rules.bytes_max.is_some() || rules.trashed_by >= Some(rules.now);
                    assert!(end.is_some(), "{root} went and had not ended");
                    assert!(was_trashed || at_once, "{root} went without having been in the trash");
                    self.members(&root).iter().for_each(|id| drop(self.known.remove(id)));
                    self.fates.remove(&root);
                    for known in self.known.values_mut() {
                        if known.continued_as.as_deref() == Some(&root) {
                            known.continued_as = None;
                        }
                    }
                    self.relink();
                    continue;
                }
                None => {
                    assert!(whole, "{root} lost members outside of the trash");
                    assert!(there.iter().all(|id| !self.is_marked(id)), "{root} is marked and not in the trash");
                    there.iter().for_each(|id| self.check_whole(id));
                }
                Some((state, at)) => {
                    assert!(end.is_some(), "{root} went into the trash and has not ended");
                    assert!(whole || state == PURGING, "{root} lost members and can be restored");
                    assert!(state != INSIDE || there.iter().all(|id| self.is_marked(id)), "{root} is partly marked");
                    if state != PURGING {
                        there.iter().for_each(|id| self.check_whole(id));
                    }
                    let fate = self.fates.entry(root).or_default();
                    fate.condemned |= state == PURGING;
                    if state != LEAVING {
                        fate.trashed_at = Some(at);
                    }
                }
            }
        }
        let stray = "SELECT (SELECT count(*) FROM journal WHERE execution NOT IN (SELECT rowid FROM executions))
             + (SELECT count(*) FROM logs WHERE execution NOT IN (SELECT rowid FROM executions))
             + (SELECT count(*) FROM signals WHERE execution NOT IN (SELECT rowid FROM executions))
             + (SELECT count(*) FROM approvals WHERE execution NOT IN (SELECT rowid FROM executions))
             + (SELECT count(*) FROM content_reads WHERE execution NOT IN (SELECT rowid FROM executions))";
        assert_eq!(self.connection.query_row(stray, [], |row| row.get::<_, i64>(0)).unwrap(), 0, "something was left");
    }

    /// The model's chains, as the database tells them after one of their members is gone.
    fn relink(&mut self) {
        for (id, known) in &mut self.known {
            known.continued_as = self
                .connection
                .query_row("SELECT continued_as FROM executions WHERE id = ?1", [id], |row| row.get(0))
                .optional()
                .unwrap()
                .flatten();
        }
    }

    fn is_there(&self, id: &str) -> bool {
        executions::key_of(&self.connection, id).unwrap().is_some()
    }

    fn is_marked(&self, id: &str) -> bool {
        let sql = "SELECT deleted_at IS NOT NULL FROM executions WHERE id = ?1";
        self.connection.query_row(sql, [id], |row| row.get(0)).unwrap()
    }

    /// The journal is complete.
    fn check_whole(&self, id: &str) {
        let known = &self.known[id];
        assert_eq!(journal::row_ids(&self.connection, known.key).unwrap().len(), known.journal_rows, "{id}");
    }

    /// After a pass that was not cut short: what had to go is gone, and nothing else.
    fn check_finished(&mut self, rules: &Rules, max: u64) {
        let newest = newest_root_id(&self.connection);
        let trees: Vec<_> = self.roots().into_iter().map(|root| (self.end_of(&root), root)).collect();
        let is_trashed = |root: &String| self.fates.get(root).is_some_and(|fate| fate.trashed_at.is_some());
        let retained: Vec<_> = trees.iter().filter(|(_, root)| !is_trashed(root)).collect();
        for (end, root) in &retained {
            let over = rules.ended_by.is_some_and(|by| end.is_some_and(|end| end <= by.0 && end < rules.now.0));
            assert!(!over, "{root} ended at {end:?} and is still there");
        }
        for (_, root) in trees.iter().filter(|(_, root)| is_trashed(root) && Some(root) != newest.as_ref()) {
            let fate = self.fates[root];
            assert!(!fate.condemned, "{root} should be gone");
            let over = rules.trashed_by.is_some_and(|by| fate.trashed_at.unwrap() <= by.0);
            assert!(!over && rules.bytes_max.is_none(), "{root} is still in the trash");
        }
        // By age alone nothing goes that ended later; the others take the oldest first.
        let came_now: Vec<_> = trees
            .iter()
            .filter(|(_, root)| self.fates.get(root).is_some_and(|fate| fate.trashed_at == Some(rules.now.0)))
            .collect();
        let youngest = retained.iter().filter_map(|(end, _)| *end).min();
        for (end, root) in came_now {
            let by_age = rules.ended_by.is_some_and(|by| end.unwrap() <= by.0);
            let by_count = max != u64::MAX && youngest.is_none_or(|youngest| end.unwrap() <= youngest);
            let by_bytes = rules.bytes_max.is_some();
            assert!(by_age || by_count || by_bytes, "{root} came into the trash for nothing");
        }
        if self.outside() > max {
            let left = retained.iter().filter(|(end, _)| end.is_some_and(|end| end < rules.now.0)).count();
            assert_eq!(left, 0, "there are too many, and some could go");
        }
    }
}

fn newest_root_id(connection: &Connection) -> Option<String> {
    let key = trees::newest_root(connection).unwrap()?;
    Some(trees::root_of(connection, key).unwrap().1)
}
