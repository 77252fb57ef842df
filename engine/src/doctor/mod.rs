//! `doctor`: compares what a workspace holds with itself, names what is damaged, and what stands still and why.
//!
//! One check a file, each a line of [`CHECKS`]. Every finding has a code that never changes. A check repairs only what
//! can be made anew from what is there, and never touches a journal. A workspace that is at work is looked at and not
//! repaired: what looks wrong there may be on its way.

mod active;
mod contents;
mod database;
mod folder;
mod journals;
mod locks;
mod looking;
mod records;
mod rows;
mod schedules;
mod sealed;
mod waiting;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, OpenFlags};
use schemars::JsonSchema;
use serde::Serialize;

use self::looking::Held;
use self::sealed::Opener;
use crate::clock::{Clock, Timestamp};
use crate::engine::{Engine, EngineResult, hold};
use crate::secrets::SecretsKey;
use crate::store::{self, StoreError, StoreResult};
use crate::upkeep::{DATABASE, lost};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something is lost or cannot be read.
    Error,
    /// Something does not go on, and somebody should look.
    Warning,
    /// As it may well be meant to be.
    Note,
}

/// Something that was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Finding {
    /// Stable; listed in the reference.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `workspace`, `file`, or a kind of record.
    pub kind: &'static str,
    /// Which: an id, or a path in the data folder.
    pub id: String,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// What was done about it.
    pub repaired: Option<String>,
}

/// What an examination found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Examination {
    /// Whether an engine was at work meanwhile.
    pub is_at_work: bool,
    /// All findings, the worst first.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// Whether nothing is left that somebody should look at.
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note || finding.repaired.is_some())
    }
}

/// One examination under way.
struct Exam<'a> {
    data: &'a Path,
    connection: &'a Connection,
    now: Timestamp,
    is_at_work: bool,
    is_repairing: bool,
    secrets: Opener,
    findings: Vec<Finding>,
    /// Of each code how many there were, and how many of those that are not shown were not repaired.
    counts: BTreeMap<&'static str, Count>,
}

#[derive(Default)]
struct Count {
    found: usize,
    left: usize,
}

/// Findings of one code that are shown one by one. A hundred thousand executions may wait for signals.
const SHOWN_MAX: usize = 100;

type Check = fn(&mut Exam<'_>) -> StoreResult<()>;

/// All checks of a database in this engine's format, in order: what a check repairs, the later ones see repaired.
const CHECKS: [Check; 10] = [
    database::check,
    database::bookkeeping,
    records::check,
    sealed::check,
    rows::check,
    active::check,
    locks::check,
    journals::check,
    schedules::check,
    contents::check,
];

impl Exam<'_> {
    /// Notes a finding. `repair` is what makes it good, where that is known and safe, and says what it did.
    fn find(&mut self, mut finding: Finding, repair: Option<Repair<'_>>) -> StoreResult<()> {
        if let (true, Some(repair)) = (self.is_repairing, repair) {
            finding.repaired = Some(repair(self.connection)?);
        }
        let count = self.counts.entry(finding.code).or_default();
        count.found += 1;
        if count.found <= SHOWN_MAX {
            self.findings.push(finding);
        } else {
            count.left += usize::from(finding.repaired.is_none());
        }
        Ok(())
    }

    /// One finding for all of a code that are not shown.
    fn count_the_rest(&mut self) {
        let first = |code| self.findings.iter().find(|finding| finding.code == code);
        let rest = |(code, count): (&&'static str, &Count)| {
            let like = first(*code).filter(|_| count.found > SHOWN_MAX)?;
            Some(Finding {
                id: String::new(),
                message: format!("{} more like these", count.found - SHOWN_MAX),
                remedy: "see to those that are shown, then look again".into(),
                repaired: (count.left == 0).then(|| "as those that are shown".into()),
                ..like.clone()
            })
        };
        let rest: Vec<_> = self.counts.iter().filter_map(rest).collect();
        self.findings.extend(rest);
    }
}

type Repair<'a> = &'a dyn Fn(&Connection) -> StoreResult<String>;

/// Looks at the workspace in `data`, which nobody may have open, and with `repair` mends what is safe to mend. The key
/// of the secrets is the one with which the workspace is opened, see [`Config`](crate::Config), or why it is not known.
///
/// # Errors
/// When there is no workspace, or another process has it open. Damage is no error but a finding.
pub fn examine(
    data: &Path,
    repair: bool,
    clock: &Clock,
    secrets_key: Result<Option<SecretsKey>, String>,
) -> EngineResult<Examination> {
    let database = data.join(DATABASE);
    let format = store::format_of(&database);
    let lost = match format {
        Ok(None | Some(0)) => match lost::what_is_lost(data)? {
            None => return Err(StoreError::not_found("workspace", &data.display().to_string()).into()),
            lost => lost,
        },
        _ => None,
    };
    let held = if repair { Held::Ours(hold(data)?) } else { looking::hold(data)? };
    let connection = match held {
        // SQLite would remove the log of a database that is empty.
        _ if lost.is_some() => Connection::open_in_memory().map_err(StoreError::from)?,
        Held::Ours(_) if repair => looking::open(&database, OpenFlags::SQLITE_OPEN_READ_WRITE)?,
        Held::Ours(_) => looking::open(&database, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        Held::ByNobodyHere(_) => looking::open_unchanging(&database)?,
    };
    let mut exam = Exam {
        data,
        connection: &connection,
        now: clock.now(),
        is_at_work: false,
        is_repairing: repair,
        secrets: Opener::of(data, secrets_key),
        findings: Vec::new(),
        counts: BTreeMap::new(),
    };
    folder::check(&mut exam)?;
    if let Held::ByNobodyHere(_) = held {
        folder::read_only(&mut exam)?;
    }
    match (lost, format) {
        (Some(lost), _) => database::lost(&mut exam, lost)?,
        (None, Ok(Some(found))) if found == store::FORMAT => exam.run(&CHECKS)?,
        (None, Ok(found)) => database::of_another_format(&mut exam, found)?,
        (None, Err(error)) => database::unreadable(&mut exam, &error)?,
    }
    Ok(exam.done())
}

impl Engine {
    /// Looks at this workspace while it is at work. Nothing is repaired.
    ///
    /// # Errors
    /// When the store cannot be read at all.
    pub async fn examine(&self) -> EngineResult<Examination> {
        let now = self.core.now();
        self.read(move |core, connection| {
            // What is collected meanwhile would look as if it were missing.
            let _kept = core.contents_lock.blocking_read();
            let data = core.config.data.as_path();
            let (findings, counts) = (Vec::new(), BTreeMap::new());
            let secrets = Opener::Vault(core.secrets.vault.clone());
            let mut exam =
                Exam { data, connection, now, is_at_work: true, is_repairing: false, secrets, findings, counts };
            folder::check(&mut exam)?;
            if core.degraded.load(Ordering::SeqCst) {
                database::takes_no_writes(&mut exam, core.reserve.is_disk_full())?;
            }
            exam.run(&CHECKS)?;
            Ok(exam.done())
        })
        .await
    }
}

impl Exam<'_> {
    /// Runs checks; one that the database fails under does not keep the others from looking.
    fn run(&mut self, checks: &[Check]) -> StoreResult<()> {
        for check in checks {
            match check(self) {
                Ok(()) => {}
                Err(error) => database::unreadable(self, &error)?,
            }
        }
        Ok(())
    }

    fn done(mut self) -> Examination {
        self.count_the_rest();
        self.findings.sort_by_key(|finding| finding.severity);
        Examination { is_at_work: self.is_at_work, findings: self.findings }
    }
}
