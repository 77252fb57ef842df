//! Questions to people and programs outside, and the signals that answer them.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::host::{self, Question, SignalReceived};
use crate::json_text;

/// A signal that came.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal<T> {
    /// Its id.
    pub id: String,
    /// Who sent it, as far as known; otherwise empty.
    pub sender: String,
    /// What it says.
    pub payload: T,
}

impl<T: DeserializeOwned> Signal<T> {
    pub(crate) fn received(name: &str, received: SignalReceived) -> Result<Self> {
        let payload = json_text::decode(&format!("the payload of signal `{name}`"), &received.payload)?;
        Ok(Self { id: received.id, sender: received.sender, payload })
    }
}

/// A question to be asked. Nothing happens until [`open`](Self::open) or [`wait`](Self::wait).
#[derive(Debug)]
#[must_use = "nobody is asked until `open` or `wait` is called"]
pub struct Ask {
    name: String,
    question: Question,
    schema: Option<Value>,
    /// The first thing that cannot be asked.
    error: Option<Error>,
}

impl Ask {
    pub(crate) fn new(name: String) -> Self {
        let question = Question {
            message: String::new(),
            schema: None,
            roles: Vec::new(),
            users: Vec::new(),
            timeout_ms: None,
            with_token: false,
        };
        Self { name, question, schema: None, error: None }
    }

    /// What people read above the form.
    pub fn message(mut self, text: impl Into<String>) -> Self {
        self.question.message = text.into();
        self
    }

    /// JSON Schema (2020-12) that the answer must fit; a form is made from it. Without one any answer fits.
    pub fn schema(mut self, schema: impl Serialize) -> Self {
        match json_text::to_value(|| "the schema".to_owned(), schema) {
            Ok(schema) => self.schema = Some(schema),
            Err(error) => drop(self.error.get_or_insert(error)),
        }
        self
    }

    /// Adds a field that the answer, an object, must have; `schema` describes its value.
    pub fn field(self, name: &str, schema: impl Serialize) -> Self {
        self.with_field(name, schema, true)
    }

    /// Adds a field that the answer may have.
    pub fn optional_field(self, name: &str, schema: impl Serialize) -> Self {
        self.with_field(name, schema, false)
    }

    fn with_field(mut self, name: &str, schema: impl Serialize, required: bool) -> Self {
        let schema = match json_text::to_value(|| format!("the schema of field `{name}`"), schema) {
            Ok(schema) => schema,
            Err(error) => {
                self.error.get_or_insert(error);
                return self;
            }
        };
        let empty = || json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false});
        let Value::Object(whole) = self.schema.get_or_insert_with(empty) else {
            self.error.get_or_insert(Error::InvalidInput("only a schema that is an object can have fields".into()));
            return self;
        };
        if let Value::Object(properties) = whole.entry("properties").or_insert_with(|| Map::new().into()) {
            properties.insert(name.to_owned(), schema);
        }
        if required && let Value::Array(all) = whole.entry("required").or_insert_with(|| json!([])) {
            all.push(name.into());
        }
        self
    }

    /// Who has one of these roles, or a higher one, may answer: `operator`, `author`, `admin`. With neither roles nor
    /// [`users`](Self::users) every operator may.
    pub fn roles<R: Into<String>>(mut self, roles: impl IntoIterator<Item = R>) -> Self {
        self.question.roles.extend(roles.into_iter().map(Into::into));
        self
    }

    /// These may answer too, by the names that the audit log has.
    pub fn users<U: Into<String>>(mut self, users: impl IntoIterator<Item = U>) -> Self {
        self.question.users.extend(users.into_iter().map(Into::into));
        self
    }

    /// From now until then it can be answered; without it for as long as the execution runs.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.question.timeout_ms = Some(host::millis(timeout));
        self
    }

    /// With a token: whoever shows it may answer once, without an account. It is a secret; see [`Asked::path`].
    pub fn token(mut self) -> Self {
        self.question.with_token = true;
        self
    }

    /// Asks, and goes on. It can be answered from now on.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a schema or role that is none, [`Error::Conflict`] if the execution asks under this
    /// name already, [`Error::LimitExceeded`] with too many open questions.
    pub fn open(mut self) -> Result<Asked> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.question.schema = self.schema.map(|schema| json_text::encode("the schema", &schema)).transpose()?;
        let asked = host::ask(&self.name, &self.question)?;
        Ok(Asked { id: asked.id, token: asked.token, name: self.name })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and of [`Asked::wait`].
    pub fn wait<T: DeserializeOwned>(self) -> Result<Signal<T>> {
        self.open()?.wait()
    }
}

/// A question that is open.
pub struct Asked {
    id: String,
    token: Option<String>,
    name: String,
}

/// Without the token.
impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Asked {
    /// Its id, by which the API and the command line know it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The path, on the server, of the page where whoever was told it answers; none without
    /// [`token`](Ask::token). What Surefoot shows of this execution has `***` in its place.
    pub fn path(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("/approve/{token}"))
    }

    /// The address of that page, on the server at `base`, such as `https://surefoot.example`.
    pub fn link(&self, base: &str) -> Option<String> {
        self.path().map(|path| format!("{}{path}", base.trim_end_matches('/')))
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// [`Error::SignalTimeout`] when nobody answered in time; [`Error::UnexpectedData`] if the answer is of another
    /// shape than `T`, which a schema prevents.
    pub fn wait<T: DeserializeOwned>(self) -> Result<Signal<T>> {
        Signal::received(&self.name, host::wait_answer(&self.id)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_make_a_schema() {
        let ask = Ask::new("deploy".into())
            .field("go", json!({"type": "boolean"}))
            .optional_field("why", json!({"type": "string"}))
            .roles(["author"])
            .timeout(Duration::from_micros(1500));
        let expected = json!({
            "type": "object",
            "properties": {"go": {"type": "boolean"}, "why": {"type": "string"}},
            "required": ["go"],
            "additionalProperties": false,
        });
        assert_eq!(ask.schema, Some(expected));
        assert_eq!((ask.question.timeout_ms, ask.question.roles), (Some(2), vec!["author".to_owned()]));
        let error = Ask::new("deploy".into()).schema(true).field("go", json!({})).open().unwrap_err();
        assert_eq!(error.to_string(), "invalid input: only a schema that is an object can have fields");
    }

    #[test]
    fn a_link_is_a_path_on_a_server() {
        let asked = Asked { id: "i".into(), token: Some("sfa_1".into()), name: "n".into() };
        assert_eq!(asked.link("https://surefoot.example/").unwrap(), "https://surefoot.example/approve/sfa_1");
        assert_eq!(format!("{asked:?}"), r#"Asked { id: "i", name: "n", .. }"#);
    }
}
