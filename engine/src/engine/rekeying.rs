//! Changing the key of the secrets, of a workspace that is not at work.

use serde_json::{Value, json};

use super::{Engine, EngineError, EngineResult, hold, open_database, workspace_key};
use crate::core::Config;
use crate::query::Kind;
use crate::secrets::{self, SecretsKey, Vault};
use crate::store::StoreResult;
use crate::store::records::{self, Stamp};
use crate::upkeep;

impl Engine {
    /// Encrypts all secrets of the workspace in `config.data` with another key; none is the one that is made from its
    /// file `key`. Returns how many. The next opening needs the new key.
    ///
    /// # Errors
    /// When there is no workspace, or another process holds it, or the key in `config` is not the present one: nothing
    /// is changed then.
    pub fn rekey(config: &Config, new: Option<&SecretsKey>, by: &str) -> EngineResult<usize> {
        let data = &config.data;
        if !upkeep::lost::has_database(data)? {
            return Err(EngineError::Failed(format!("there is no workspace in {}", data.display())));
        }
        let _lock = hold(data)?;
        upkeep::refuse_newer(data)?;
        let key = workspace_key(data, config)?;
        let (connection, epoch) = open_database(&data.join(upkeep::DATABASE), &key, config)?;
        let [old, new] = [config.secrets_key.as_ref(), new]
            .map(|given| given.cloned().unwrap_or_else(|| SecretsKey::of_workspace(&key)))
            .map(|key| (Vault::new(&key, config.entropy.clone()), key));
        let resealed = secrets::reseal(&connection, (&old.1, &old.0), (&new.1, &new.0));
        if resealed.is_ok() {
            note(&connection, config, by)?;
        }
        // As it was found: this was no run.
        let clean = i64::from(epoch.was_clean);
        let sql = "UPDATE meta SET value = ?1 WHERE key = 'clean'";
        connection.execute(sql, [clean]).map_err(crate::store::StoreError::from)?;
        Ok(resealed?)
    }
}

/// What the audit log has of it.
fn note(connection: &rusqlite::Connection, config: &Config, by: &str) -> StoreResult<()> {
    let now = config.clock.now();
    let id = config.entropy.new_id(now);
    let entry = json!({"action": "rekey", "record_kind": Kind::Secret.as_str(), "record_id": "", "record_name": ""});
    let stamp = Stamp { who: by.to_owned(), now, new_id: id.clone(), acts_as: None, execution: None };
    let entry = match &entry {
        Value::Object(entry) => entry,
        _ => unreachable!("made above"),
    };
    records::insert(connection, Kind::Audit, &id, &id, entry, &stamp)
}
