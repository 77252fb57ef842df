//! Whether SQLite can read its own file.

use super::{Exam, Finding, Severity, folder};
use crate::key::{BRING_IT_BACK, check_value_of};
use crate::store::{self, StoreError, StoreResult};
use crate::upkeep::{DATABASE, KEY, lost};

/// Lines of SQLite's own verdict that are shown.
const LINES_MAX: u32 = 20;

pub(super) const FROM_A_BACKUP: &str = "restore a backup: surefoot restore BACKUP --data NEW-FOLDER";

/// SQLite's own check. Beside an engine at work the short one, which does not compare indexes with tables: a read
/// transaction keeps the log from being used again.
pub(super) fn check(exam: &mut Exam<'_>) -> StoreResult<()> {
    let check = if exam.is_at_work { "quick_check" } else { "integrity_check" };
    let lines: Vec<String> = {
        let mut statement = exam.connection.prepare(&format!("PRAGMA {check}({LINES_MAX})"))?;
        statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
    };
    for line in lines.into_iter().filter(|line| line != "ok") {
        exam.find(of("database_damaged", Severity::Error, line, FROM_A_BACKUP), None)?;
    }
    Ok(())
}

/// What the workspace keeps of itself: nothing opens it without.
pub(super) fn bookkeeping(exam: &mut Exam<'_>) -> StoreResult<()> {
    for key in ["epoch", "clean"] {
        if store::meta(exam.connection, key)?.is_none() {
            let message = format!("its table `meta` has no `{key}`");
            exam.find(of("database_damaged", Severity::Error, message, FROM_A_BACKUP), None)?;
        }
    }
    let (known, found) = (store::meta(exam.connection, "key_check")?, check_value_of(exam.data));
    if known.is_some() && found.is_some() && known != found {
        let message = "it is not the key of this workspace".to_owned();
        exam.find(folder::of("key_wrong", Severity::Error, KEY, message, BRING_IT_BACK), None)?;
    }
    Ok(())
}

/// A database that cannot be read far enough to check it.
pub(super) fn unreadable(exam: &mut Exam<'_>, error: &StoreError) -> StoreResult<()> {
    exam.find(of("database_damaged", Severity::Error, error.to_string(), FROM_A_BACKUP), None)
}

/// No database at all, where there was one.
pub(super) fn lost(exam: &mut Exam<'_>, message: String) -> StoreResult<()> {
    let remedy = lost::way_back(exam.data);
    exam.find(of("database_missing", Severity::Error, message, &remedy), None)
}

/// A commit of the engine at work failed, and it could not go on since.
pub(super) fn takes_no_writes(exam: &mut Exam<'_>, is_disk_full: bool) -> StoreResult<()> {
    let (message, remedy) = match is_disk_full {
        true => ("nothing can be written: the disk is full", "make room on it; all goes on by itself then"),
        false => ("nothing can be written at the moment", "look at the server's log; it tries again by itself"),
    };
    exam.find(of("store_degraded", Severity::Warning, message.to_owned(), remedy), None)
}

/// A database of another version: what it holds is that version's business.
pub(super) fn of_another_format(exam: &mut Exam<'_>, found: Option<i64>) -> StoreResult<()> {
    check(exam)?;
    let (found, newest) = (found.unwrap_or(0), store::FORMAT);
    let message = format!("the database has format {found}, this version's is {newest}: nothing else was looked at");
    let finding = if found > newest {
        of("database_newer", Severity::Error, message, "use the version of surefoot that wrote it")
    } else {
        of("database_older", Severity::Note, message, "open it with this version: it is backed up and migrated")
    };
    exam.find(finding, None)
}

fn of(code: &'static str, severity: Severity, message: String, remedy: &str) -> Finding {
    let (id, remedy) = (DATABASE.to_owned(), remedy.to_owned());
    Finding { code, severity, kind: "workspace", id, message, remedy, repaired: None }
}
