//! How a call of a connector gets its secrets: at the last moment, after the journal has what the flow passed.

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value, json};
use surefoot_connector_api::{InputRules, Inputs, REDACTED, secret_reference};

use super::{VALUE, Vault};
use crate::core::Core;
use crate::policy::CallPolicy;
use crate::query::Kind;
use crate::store::executions::Execution;
use crate::store::{StoreError, StoreResult, records, sealed};

/// What a call brings of its own to be kept secret has at most this many bytes: it is searched for in all that comes
/// back.
const BYTES_MAX: usize = 256 << 10;

/// A stored connector, ready to be called: its sealed inputs are opened.
pub(crate) struct OpenConnector {
    /// As it is shown.
    pub(crate) record: Value,
    /// With references to secrets, but no redacted input.
    pub(crate) config: Inputs,
    pub(crate) policy: CallPolicy,
}

impl OpenConnector {
    /// `type:NAME`: a connector type without a stored configuration.
    pub(crate) fn of_type(ty: &str) -> Self {
        let record = json!({"id": "", "name": ty, "type": ty, "revision": 0});
        Self { record, config: Inputs::new(), policy: CallPolicy::default() }
    }
}

/// A secret with its value.
pub(crate) struct OpenSecret {
    pub(crate) project_id: Option<String>,
    pub(crate) value: String,
}

/// Reads the connector with that name or id.
pub(crate) fn open_connector(vault: &Vault, connection: &Connection, key: &str) -> StoreResult<OpenConnector> {
    let record = records::require(connection, Kind::Connector, key)?;
    let mut config = record["config"].as_object().cloned().unwrap_or_default();
    for (place, bytes) in sealed::of(connection, Kind::Connector, record["id"].as_str().unwrap_or_default())? {
        if config.get(&place.name).is_some_and(|value| value == REDACTED) {
            let value = vault.open(&place, &bytes)?;
            config.insert(place.name, value);
        }
    }
    let policy = record.as_object().map(CallPolicy::of).transpose();
    let policy = policy.map_err(|error| StoreError::Damaged(format!("the policy of connector `{key}`: {error}")))?;
    Ok(OpenConnector { record, config, policy: policy.unwrap_or_default() })
}

/// Reads the secret with that name or id.
pub(crate) fn open_secret(vault: &Vault, connection: &Connection, key: &str) -> StoreResult<OpenSecret> {
    let record = records::require(connection, Kind::Secret, key)?;
    let values = sealed::of(connection, Kind::Secret, record["id"].as_str().unwrap_or_default())?;
    let (place, bytes) = values
        .iter()
        .find(|(place, _)| place.name == VALUE)
        .ok_or_else(|| StoreError::Damaged(format!("the secret `{key}` has lost its value; set it again")))?;
    let value = vault.open(place, bytes)?.as_str().unwrap_or_default().to_owned();
    Ok(OpenSecret { project_id: record["project_id"].as_str().map(str::to_owned), value })
}

impl Core {
    /// Replaces the references in the inputs of a call by the values of secrets: what is stored with the connector may
    /// name secrets of the connector's project, what the call passed those of its flow's project, and both those of no
    /// project. Of what the call passed only inputs that are secret count, and no reference that stands in the input of
    /// the execution: anything else may come from whoever called the flow. Returns what is to be redacted in what comes
    /// back.
    ///
    /// # Errors
    /// Refused, when there is no such secret for it.
    pub(crate) fn resolve_secrets(
        &self,
        connector: &OpenConnector,
        rules: &InputRules,
        execution: &Execution,
        passed: &Inputs,
        merged: &mut Inputs,
    ) -> StoreResult<Vec<String>> {
        let mut secrets = Vec::new();
        for (name, value) in merged {
            let (is_passed, is_secret) = (passed.contains_key(name), rules.is_secret(name));
            if is_secret && is_passed && !execution.flow_id.starts_with("native:") {
                refuse_from_input(value, &execution.input)?;
            }
            if is_secret || !is_passed {
                self.resolve(value, &mut |secret| match is_passed {
                    true => self.may_pass(execution, connector, secret),
                    false => Ok(secret.project_id.as_deref() == connector.record["project_id"].as_str()),
                })?;
            }
            if is_secret {
                texts(value, &mut secrets);
            }
        }
        // Others are secrets or inputs of the workspace, and bounded when they are saved.
        let redactor = self.redactor()?;
        let of_call = secrets.iter().filter(|text| !redactor.as_ref().is_some_and(|redactor| redactor.knows(text)));
        match of_call.map(String::len).sum() {
            0..=BYTES_MAX => Ok(secrets),
            bytes => {
                let text = format!("the secret inputs of one call have {bytes} bytes; {BYTES_MAX} are allowed");
                Err(StoreError::invalid(text))
            }
        }
    }

    fn resolve(
        &self,
        value: &mut Value,
        is_allowed: &mut impl FnMut(&OpenSecret) -> StoreResult<bool>,
    ) -> StoreResult<()> {
        match value {
            Value::String(text) => {
                if let Some(name) = secret_reference(text) {
                    let secret = self.secret(name)?;
                    if secret.project_id.is_some() && !is_allowed(&secret)? {
                        let text = format!("the secret `{name}` belongs to another project");
                        return Err(StoreError::invalid(text));
                    }
                    text.clone_from(&secret.value);
                }
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.resolve(item, is_allowed)),
            Value::Object(members) => members.values_mut().try_for_each(|member| self.resolve(member, is_allowed)),
            _ => Ok(()),
        }
    }

    fn secret(&self, name: &str) -> StoreResult<Arc<OpenSecret>> {
        self.secrets.values.require(&self.readers, &self.writer, name)
    }

    /// Who tries a connector is asked for nothing that the connector itself may not use.
    fn may_pass(&self, execution: &Execution, connector: &OpenConnector, secret: &OpenSecret) -> StoreResult<bool> {
        if execution.flow_id.starts_with("native:") {
            return Ok(secret.project_id.as_deref() == connector.record["project_id"].as_str());
        }
        let flow = self.readers.read(|connection| records::by_id(connection, Kind::Flow, &execution.flow_id))?;
        Ok(flow.is_some_and(|flow| secret.project_id.as_deref() == flow["project_id"].as_str()))
    }
}

/// Refuses a reference that whoever called the flow has brought: they would use secrets that are not theirs.
fn refuse_from_input(value: &Value, input: &Value) -> StoreResult<()> {
    match value {
        Value::String(text) if secret_reference(text).is_some() && holds(input, text) => {
            let text = format!(
                "`{text}` stands in the input of the execution; a secret is named by the flow's own code or by \
                 a stored connector, not by who calls the flow"
            );
            Err(StoreError::invalid(text))
        }
        Value::Array(items) => items.iter().try_for_each(|item| refuse_from_input(item, input)),
        Value::Object(members) => members.values().try_for_each(|member| refuse_from_input(member, input)),
        _ => Ok(()),
    }
}

/// Whether a document has that text anywhere.
fn holds(document: &Value, text: &str) -> bool {
    match document {
        Value::String(found) => found.contains(text),
        Value::Array(items) => items.iter().any(|item| holds(item, text)),
        Value::Object(members) => members.iter().any(|(name, member)| name.contains(text) || holds(member, text)),
        _ => false,
    }
}

/// The texts and numbers in a value, which may be an object of secret headers, say. A reference is no secret.
pub(super) fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if secret_reference(text).is_some() => {}
        Value::String(text) => found.push(text.clone()),
        Value::Number(number) => found.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        Value::Null | Value::Bool(_) => {}
    }
}
