//! The rows of executions: that what stands in them can be read. What cannot is shown as null, or ends its execution.

use rusqlite::types::ValueRef;
use serde::de::IgnoredAny;

use super::Exam;
use super::journals::of;
use crate::store::StoreResult;

/// Columns that hold documents.
const DOCUMENTS: [&str; 3] = ["input", "output", "response"];

pub(super) fn check(exam: &mut Exam<'_>) -> StoreResult<()> {
    let mut statement = exam.connection.prepare("SELECT * FROM executions")?;
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let id = statement.column_index("id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        for (index, column) in columns.iter().enumerate() {
            let ValueRef::Text(bytes) = row.get_ref(index)? else { continue };
            let is_document = DOCUMENTS.contains(&column.as_str());
            let Some(problem) = problem(bytes, is_document) else { continue };
            let id = String::from_utf8_lossy(row.get_ref(id)?.as_bytes().unwrap_or_default()).into_owned();
            let remedy = "one that has not ended ends with the code `internal`; bring the workspace back from a backup";
            let message = format!("its {column} cannot be read: {problem}");
            exam.find(of("execution_damaged", &id, message, remedy), None)?;
        }
    }
    Ok(())
}

fn problem(bytes: &[u8], is_document: bool) -> Option<String> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Some(error.to_string()),
    };
    let document = is_document.then(|| serde_json::from_str::<IgnoredAny>(text));
    Some(document?.err()?.to_string())
}
