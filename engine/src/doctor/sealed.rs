//! Values that are stored encrypted: whether each opens with the key that the workspace has.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::records::of;
use super::{Exam, Finding, Severity};
use crate::id::Entropy;
use crate::key::key_of;
use crate::secrets::{KEY_CHECK, SecretsKey, Vault};
use crate::store::sealed::Place;
use crate::store::{self, StoreResult, sealed};

/// With what they are opened.
pub(super) enum Opener {
    /// As an engine at work does.
    Vault(Arc<Vault>),
    /// With the key that was given.
    Key(SecretsKey),
    /// With none: why.
    Unknown(String),
}

impl Opener {
    /// The key that was given for the workspace in that folder, or the one that it made for itself.
    pub(super) fn of(data: &Path, given: Result<Option<SecretsKey>, String>) -> Self {
        match given {
            Ok(Some(key)) => Self::Key(key),
            Ok(None) => match key_of(data) {
                Some(key) => Self::Key(SecretsKey::of_workspace(&key)),
                None => Self::Unknown("the workspace's own key cannot be read".to_owned()),
            },
            Err(reason) => Self::Unknown(reason),
        }
    }
}

pub(super) fn check(exam: &mut Exam<'_>) -> StoreResult<()> {
    let values = sealed::all(exam.connection)?;
    if values.is_empty() {
        return Ok(());
    }
    let all = |code, severity, message: String, remedy: &str| Finding {
        code,
        severity,
        kind: "workspace",
        id: String::new(),
        message,
        remedy: remedy.to_owned(),
        repaired: None,
    };
    let vault = match &exam.secrets {
        Opener::Vault(vault) => vault.clone(),
        Opener::Key(key) => {
            let known = store::meta(exam.connection, KEY_CHECK)?;
            if known.is_some_and(|known| known != key.check_value()) {
                let message =
                    format!("{} values are encrypted with another key than the one that was given", values.len());
                let remedy = "give that key, see `[secrets]` in surefoot.toml";
                return exam.find(all("secrets_key_wrong", Severity::Error, message, remedy), None);
            }
            Arc::new(Vault::new(key, Entropy::System))
        }
        Opener::Unknown(reason) => {
            let message = format!("whether {} encrypted values can be read is not known: {reason}", values.len());
            let remedy = "make the key available, see `[secrets]` in surefoot.toml, and look again";
            return exam.find(all("secrets_key_missing", Severity::Warning, message, remedy), None);
        }
    };
    for (place, _) in values.iter().filter(|(place, bytes)| vault.open(place, bytes).is_err()) {
        let (name, remedy) = (name_of(exam.connection, place)?, remedy(place));
        let message = format!("`{}` cannot be decrypted", place.name);
        exam.find(of("secret_unreadable", Severity::Error, &place.kind, name, &message, &remedy), None)?;
    }
    Ok(())
}

/// The name of the record to which a value belongs; its id where there is none.
fn name_of(connection: &Connection, place: &Place) -> StoreResult<String> {
    let sql = "SELECT name FROM records WHERE kind = ?1 AND id = ?2";
    let name = connection.query_row(sql, params![place.kind, place.id], |row| row.get(0)).optional()?;
    Ok(name.unwrap_or_else(|| place.id.clone()))
}

fn remedy(place: &Place) -> String {
    let command = match place.kind.as_str() {
        "secret" => "surefoot secret set NAME",
        "connector" => "surefoot connector set NAME INPUT=@FILE",
        _ => "surefoot webhook set NAME --signing-secret @FILE",
    };
    format!("set it again: {command}; or bring the workspace back from a backup")
}
