//! Secrets: kept encrypted, used in calls of connectors, taken out of everything else.
//!
//! Reading order: [`vault`] (how values are encrypted), [`saving`] (what is sealed when a record is saved), [`using`]
//! (how a call gets the values), [`redactor`] (how what comes back loses them), [`trying`] (inputs that a connector is
//! tried with), [`signing`] (what webhooks are signed with), [`sweep`] (what an older engine left in clear, and
//! changing the key). Nothing here gives a value to a guest, an answer or a log.

mod encodings;
mod redactor;
mod saving;
pub(crate) mod signing;
mod sweep;
mod trying;
mod using;
mod vault;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use serde_json::Value;

pub use redactor::Redaction;
pub(crate) use redactor::{Redactor, replace_in};
pub(crate) use sweep::{KEY_CHECK, reseal};
pub(crate) use trying::{TRY, open_tried, seal_tried, type_tried};
pub(crate) use using::OpenConnector;
use using::OpenSecret;
pub(crate) use vault::Vault;
pub use vault::{SecretsKey, WeakKey};

use crate::approvals;
use crate::core::{Config, ConnectorTypes, Core, Resident, lock};
use crate::journal::Outcome;
use crate::store::sealed::Place;
use crate::store::{Readers, RecordCache, StoreResult, Writer, sealed};

/// Of a secret, the field and the name of its sealed value.
pub(crate) const VALUE: &str = "value";

/// The secrets of an open workspace.
pub(crate) struct Secrets {
    pub(crate) vault: Arc<Vault>,
    /// Stored connectors, ready to be called.
    pub(crate) connectors: RecordCache<OpenConnector>,
    values: RecordCache<OpenSecret>,
    /// Webhooks, with what their callers must show.
    pub(crate) webhooks: RecordCache,
    redaction: Redaction,
    /// What knows them all, with the changes of what is sealed that it has seen. Locked while another one is made.
    redactor: Mutex<(u64, Arc<Redactor>)>,
    /// The changes that it had seen when there was nothing to redact.
    empty: AtomicU64,
}

/// No number of changes.
const NEVER: u64 = u64::MAX;

impl Secrets {
    /// Opens them with the configured key, or that of the workspace, and encrypts what stands in clear.
    ///
    /// # Errors
    /// `Damaged` when they have another key.
    pub(crate) fn open(
        config: &Config,
        key: &[u8; 32],
        connection: &Connection,
        connectors: &ConnectorTypes,
    ) -> StoreResult<Self> {
        let key = config.secrets_key.clone().unwrap_or_else(|| SecretsKey::of_workspace(key));
        let vault = Arc::new(Vault::new(&key, config.entropy.clone()));
        sweep::settle(connection, &key, &vault, connectors)?;
        let secrets = Self {
            connectors: opened(&vault, using::open_connector),
            values: opened(&vault, using::open_secret),
            webhooks: opened(&vault, signing::open_webhook),
            vault,
            redaction: config.redaction.clone(),
            redactor: Mutex::default(),
            empty: NEVER.into(),
        };
        // As of the first change, which a writer counts from.
        *lock(&secrets.redactor) = (0, secrets.load(0, &sealed::all(connection)?));
        Ok(secrets)
    }

    /// What knows every value that is sealed by now; none when there is none.
    fn redactor(&self, readers: &Readers, writer: &Writer) -> StoreResult<Option<Arc<Redactor>>> {
        if self.empty.load(Ordering::SeqCst) == writer.sealed_changes() {
            return Ok(None);
        }
        let mut redactor = lock(&self.redactor);
        // Read before the values are: a change in between makes the redactor old, not wrong.
        let changes = writer.sealed_changes();
        if redactor.0 != changes {
            *redactor = (changes, self.load(changes, &readers.read(sealed::all)?));
        }
        Ok(Some(redactor.1.clone()))
    }

    fn load(&self, changes: u64, values: &[(Place, Vec<u8>)]) -> Arc<Redactor> {
        let mut secrets = Vec::new();
        for (place, bytes) in values {
            match self.vault.open(place, bytes) {
                Ok(value) => using::texts(&value, &mut secrets),
                // Nobody can use it, so nothing can tell it.
                Err(error) => tracing::warn!(%error, "a secret is damaged"),
            }
        }
        let redactor = Arc::new(Redactor::new(secrets));
        self.redaction.set(redactor.clone());
        if redactor.is_empty() {
            self.empty.store(changes, Ordering::SeqCst);
        }
        redactor
    }
}

/// A cache of records whose secrets are opened.
fn opened<T: 'static>(vault: &Arc<Vault>, open: fn(&Vault, &Connection, &str) -> StoreResult<T>) -> RecordCache<T> {
    let vault = vault.clone();
    RecordCache::of(move |connection, key| open(&vault, connection, key))
}

impl Core {
    /// What takes the workspace's secrets out of what is stored; none when there is none.
    pub(crate) fn redactor(&self) -> StoreResult<Option<Arc<Redactor>>> {
        self.secrets.redactor(&self.readers, &self.writer)
    }

    /// Everything that is taken out of what is stored and shown of an execution, and of a call made with these secrets.
    pub(crate) fn redactions(&self, resident: &Resident, of_call: &[String]) -> StoreResult<Redactions> {
        Ok(Redactions { redactors: self.redactors(of_call)?, hides_tokens: resident.may_hold_token() })
    }

    /// What takes the secrets of the workspace out, and those that a call was made with.
    fn redactors(&self, of_call: &[String]) -> StoreResult<Vec<Arc<Redactor>>> {
        let of_workspace = self.redactor()?;
        let is_new = |secret: &&String| !of_workspace.as_ref().is_some_and(|redactor| redactor.knows(secret));
        let mut new = of_call.iter().filter(is_new).cloned().peekable();
        let of_call = new.peek().is_some().then(|| Arc::new(Redactor::new(new)));
        Ok(of_workspace.into_iter().chain(of_call).collect())
    }
}

/// What is taken out of what an execution stores and shows: secrets, and the tokens of its questions.
pub(crate) struct Redactions {
    redactors: Vec<Arc<Redactor>>,
    hides_tokens: bool,
}

impl Redactions {
    pub(crate) fn text(&self, text: &mut String) {
        self.redactors.iter().for_each(|redactor| redactor.replace(text));
        if self.hides_tokens
            && let Cow::Owned(hidden) = approvals::text_without_tokens(text)
        {
            *text = hidden;
        }
    }

    pub(crate) fn value(&self, value: &mut Value) {
        self.redactors.iter().for_each(|redactor| redactor.value(value));
        if self.hides_tokens {
            approvals::hide_tokens(value);
        }
    }

    /// What a call came to.
    pub(crate) fn outcome(&self, outcome: &mut Outcome) {
        match outcome {
            // One that nothing is taken out of is not copied.
            Outcome::Success(_) if self.redactors.is_empty() && !self.hides_tokens => {}
            Outcome::Success(output) => {
                let output = output.value_mut();
                self.value(output);
                if output["truncated"] == true {
                    self.redactors.iter().for_each(|redactor| redactor.ends(output));
                }
            }
            Outcome::Failed(error) => {
                self.text(&mut error.message);
                error.peer_code.iter_mut().for_each(|code| self.text(code));
                // A connector keeps no more than the beginning of a long answer.
                self.redactors.iter().for_each(|redactor| redactor.end(&mut error.message));
                error.put_on_a_line();
                // What white space and control characters stood in.
                self.text(&mut error.message);
                error.shorten();
            }
            Outcome::Interrupted | Outcome::Cancelled => {}
        }
    }

    /// A webhook's response. In a body that is no text secrets are looked for, too.
    pub(crate) fn response(&self, response: &mut Value) {
        if let Some(mut body) = response["body_hex"].as_str().and_then(|text| hex::decode(text).ok()) {
            self.redactors.iter().for_each(|redactor| body = redactor.bytes(&body).into_owned());
            response["body_hex"] = hex::encode(body).into();
        }
        self.value(response);
    }
}
