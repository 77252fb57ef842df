//! One field: how its value is entered, read and shown.

use std::fmt::Write as _;

use serde_json::Value;
use surefoot_connector_api::{REDACTED, secret_reference};

use super::{SchemaForm, wrong_with};
use crate::page::escaped;

pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) schema: &'a Value,
    pub(super) is_required: bool,
    /// Whether it is shown without being asked for.
    pub(super) is_at_hand: bool,
    pub(super) input: Input<'a>,
}

/// How a value is entered.
pub(super) enum Input<'a> {
    Line(&'static str),
    Lines,
    /// Texts, one a line.
    List,
    Number {
        is_whole: bool,
    },
    Checkbox,
    /// Values with their titles.
    Choice(Vec<(&'a Value, String)>),
    /// What is not shown again.
    Secret,
    /// A text, or else JSON: what may be one or the other.
    Either,
    /// Whatever has no form of its own.
    Json,
}

const TRUE: &Value = &Value::Bool(true);
const FALSE: &Value = &Value::Bool(false);

/// How a field is to be shown.
pub(super) struct Shown<'a> {
    pub(super) form: &'a SchemaForm<'a>,
    pub(super) index: usize,
    pub(super) before: Option<&'a str>,
    pub(super) was_sent: bool,
    pub(super) wrong: Option<&'a str>,
}

impl Field<'_> {
    pub(super) fn read(&self, text: Option<&str>, is_partial: bool) -> Result<Option<Value>, String> {
        let text = text.unwrap_or_default();
        if let Input::Checkbox = self.input {
            return Ok(Some((!text.is_empty()).into()));
        }
        if text.is_empty() {
            // A text may be empty where one is needed: the schema says whether.
            let is_text = matches!(self.input, Input::Line(_) | Input::Lines);
            return Ok((is_text && self.is_required && !is_partial).then(|| text.into()));
        }
        // Browsers end lines with both.
        let plain = text.replace("\r\n", "\n");
        let json = || serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"));
        match &self.input {
            Input::Line(_) | Input::Lines => Ok(Some(plain.into())),
            Input::List => Ok(Some(plain.lines().filter(|line| !line.trim().is_empty()).collect())),
            Input::Number { is_whole } => match serde_json::from_str::<Value>(text.trim()) {
                Ok(value) if value.is_i64() || (value.is_number() && !is_whole) => Ok(Some(value)),
                _ if *is_whole => Err("it is no whole number".to_owned()),
                _ => Err("it is no number".to_owned()),
            },
            Input::Choice(choices) => match text.parse().ok().and_then(|index: usize| choices.get(index)) {
                Some((value, _)) => Ok(Some(Value::clone(value))),
                None => Err("it is none of the choices".to_owned()),
            },
            Input::Secret if type_of(self.schema) == Some("string") => Ok(Some(plain.into())),
            // What takes the place of a secret, or only names it, is no document.
            Input::Secret if !text.trim_start().starts_with(['{', '[']) => Ok(Some(plain.into())),
            Input::Secret | Input::Json => json().map(Some),
            Input::Either => {
                let fits = |value: &Value| wrong_with(self.schema, value).is_empty();
                let as_text = Value::from(plain);
                match text.trim_start().starts_with(['{', '[']) || !fits(&as_text) {
                    true => json().map(Some),
                    false => Ok(Some(as_text)),
                }
            }
            Input::Checkbox => Ok(None),
        }
    }

    /// How a value stands in the field; none for what is as good as nothing.
    pub(super) fn text(&self, value: &Value) -> Option<String> {
        match (&self.input, value) {
            (_, Value::Null) => None,
            (Input::Checkbox, value) => (*value == true).then(|| "true".to_owned()),
            (Input::Choice(choices), value) => {
                choices.iter().position(|(choice, _)| *choice == value).map(|index| index.to_string())
            }
            (Input::List, Value::Array(items)) => Some(items.iter().map(title_of).collect::<Vec<_>>().join("\n")),
            (Input::Json, value) => serde_json::to_string_pretty(value).ok(),
            (_, value) => Some(title_of(value)),
        }
    }

    pub(super) fn write_html(&self, html: &mut String, shown: &Shown<'_>) {
        let Shown { form, index, wrong, .. } = *shown;
        let id = format!("f-{}{index}", form.prefix.trim_end_matches('.'));
        let name = escaped(&format!("{}{}", form.prefix, self.name));
        let title = escaped(self.schema["title"].as_str().unwrap_or(self.name));
        let about = self.schema["description"].as_str();
        let about = about.map(|text| format!("<small id=\"{id}-a\">{}</small>", with_code(text)));
        let told = wrong.map(|text| format!("<span class=\"wrong\" id=\"{id}-w\">{}</span>", escaped(text)));
        let described: Vec<String> =
            [about.as_ref().map(|_| format!("{id}-a")), told.as_ref().map(|_| format!("{id}-w"))]
                .into_iter()
                .flatten()
                .collect();
        let mut attributes = format!(" id=\"{id}\" name=\"{name}\"");
        if self.is_required && !matches!(self.input, Input::Checkbox) {
            attributes.push_str(" required");
        }
        if wrong.is_some() {
            attributes.push_str(" aria-invalid=\"true\"");
        }
        if !described.is_empty() {
            let _ = write!(attributes, " aria-describedby=\"{}\"", described.join(" "));
        }
        let (about, told) = (about.unwrap_or_default(), told.unwrap_or_default());
        let kind = match self.input {
            Input::Json => " <span class=\"tag\">JSON</span>",
            Input::List => " <span class=\"tag\">one a line</span>",
            _ => "",
        };
        let label = format!("<label for=\"{id}\">{title}{kind}</label>");
        let control = self.control(&attributes, shown);
        let _ = match self.input {
            Input::Checkbox => write!(html, "<p class=\"check\">{control}<span>{label}{about}{told}</span></p>"),
            _ => write!(html, "<p class=\"field\">{label}{about}{control}{told}</p>"),
        };
    }

    fn control(&self, attributes: &str, shown: &Shown<'_>) -> String {
        let default = &self.schema["default"];
        let value = match shown.before {
            Some(text) => text.to_owned(),
            None if shown.was_sent || shown.form.is_partial => String::new(),
            None => self.text(default).unwrap_or_default(),
        };
        let placeholder = match default {
            Value::Null => String::new(),
            default if shown.form.is_partial => format!(" placeholder=\"{}\"", escaped(&title_of(default))),
            _ => String::new(),
        };
        let value = escaped(&value);
        match &self.input {
            Input::Checkbox => {
                let checked = if value.is_empty() || value == "false" { "" } else { " checked" };
                format!("<input type=\"checkbox\"{attributes} value=\"true\"{checked}>")
            }
            Input::Line(ty) => format!("<input type=\"{ty}\"{attributes} value=\"{value}\"{placeholder}>"),
            Input::Either => format!("<input type=\"text\"{attributes} value=\"{value}\"{placeholder}>"),
            // What names a secret, or stands for one, is none.
            Input::Secret => {
                let is_plain = value == REDACTED || secret_reference(&value).is_some();
                let (ty, value) = match is_plain {
                    true if value != REDACTED => ("text", value.as_str()),
                    true => ("password", value.as_str()),
                    false => ("password", ""),
                };
                format!("<input type=\"{ty}\"{attributes} value=\"{value}\" autocomplete=\"off\" spellcheck=\"false\">")
            }
            Input::Number { is_whole } => {
                let step = if *is_whole { "1" } else { "any" };
                let limit = |word: &str, key: &str| match &self.schema[key] {
                    Value::Number(number) => format!(" {word}=\"{number}\""),
                    _ => String::new(),
                };
                let limits = limit("min", "minimum") + &limit("max", "maximum");
                format!("<input type=\"number\" step=\"{step}\"{limits}{attributes} value=\"{value}\"{placeholder}>")
            }
            Input::Lines | Input::Json | Input::List => {
                format!("<textarea rows=\"4\" spellcheck=\"false\"{attributes}>\n{value}</textarea>")
            }
            Input::Choice(choices) => {
                // Nobody answers what he has not chosen.
                let empty = match (self.is_required, value.as_str()) {
                    (true, "") => "<option value=\"\" selected>choose</option>",
                    (true, _) => "",
                    (false, _) => "<option value=\"\"></option>",
                };
                let option = |(index, (_, title)): (usize, &(&Value, String))| {
                    let selected = if value == index.to_string() { " selected" } else { "" };
                    format!("<option value=\"{index}\"{selected}>{}</option>", escaped(title))
                };
                let options: String = choices.iter().enumerate().map(option).collect();
                format!("<select{attributes}>{empty}{options}</select>")
            }
        }
    }
}

impl<'a> Input<'a> {
    pub(super) fn of(schema: &'a Value, is_partial: bool) -> Self {
        if schema["writeOnly"] == true {
            return Self::Secret;
        }
        if let Some(values) = schema["enum"].as_array() {
            // Nothing is the choice of what is not there.
            let values = values.iter().filter(|value| !is_partial || !value.is_null());
            return Self::Choice(values.map(|value| (value, title_of(value))).collect());
        }
        let titled = |one: &'a Value| {
            let value = one.get("const")?;
            Some((value, one["title"].as_str().map_or_else(|| title_of(value), str::to_owned)))
        };
        if let Some(choices) = schema["oneOf"].as_array().and_then(|all| all.iter().map(titled).collect()) {
            return Self::Choice(choices);
        }
        match (type_of(schema), schema["format"].as_str()) {
            (Some("boolean"), _) if is_partial => {
                Self::Choice(vec![(TRUE, "yes".to_owned()), (FALSE, "no".to_owned())])
            }
            (Some("boolean"), _) => Self::Checkbox,
            (Some("integer"), _) => Self::Number { is_whole: true },
            (Some("number"), _) => Self::Number { is_whole: false },
            (Some("string"), Some("email")) => Self::Line("email"),
            (Some("string"), Some("date")) => Self::Line("date"),
            (Some("string"), Some("uri")) => Self::Line("url"),
            (Some("string"), Some("password")) => Self::Line("password"),
            (Some("string"), Some("textarea")) => Self::Lines,
            (Some("string"), _) if schema["maxLength"].as_u64().is_some_and(|max| max > 200) => Self::Lines,
            (Some("string"), _) => Self::Line("text"),
            (Some("array"), _) if type_of(&schema["items"]) == Some("string") => Self::List,
            (None, _) if may_be_text(schema) => Self::Either,
            _ => Self::Json,
        }
    }
}

/// A text of a schema, where what stands between two `` ` `` is code.
fn with_code(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let is_code = |index: usize| index % 2 == 1 && index + 1 < parts.len();
    let part = |(index, part): (usize, &&str)| match is_code(index) {
        true => format!("<code>{}</code>", escaped(part)),
        false if index % 2 == 1 => format!("`{}", escaped(part)),
        false => escaped(part),
    };
    parts.iter().enumerate().map(part).collect()
}

/// Whether one of the alternatives is a text.
fn may_be_text(schema: &Value) -> bool {
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    alternatives.into_iter().any(|one| type_of(one) == Some("string") || may_be_text(one))
}

/// The type of a value; of several the first that is not null.
pub(super) fn type_of(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(ty) => Some(ty),
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|ty| *ty != "null"),
        _ => None,
    }
}

fn title_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
