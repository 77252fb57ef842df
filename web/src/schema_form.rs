//! A form from a JSON Schema, and the value from what a browser sends of it: each text becomes a value of its type.
//! What has no field of its own is written as JSON, so that no schema is too much for a form.
//!
//! Whoever asks with a form shows it again with all that was entered, and beside each field what is wrong with it.

mod field;

use std::fmt::{self, Display, Formatter, Write as _};

use askama::filters::HtmlSafe;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use field::{Field, Input, Shown, type_of};

/// The name of the only field where the value is no object.
const WHOLE: &str = "answer";

/// Fields of a form as a browser sends them: names and texts.
pub(crate) type Entered = [(String, String)];

/// What is to be filled in.
pub(crate) struct SchemaForm<'a> {
    schema: &'a Value,
    fields: Vec<Field<'a>>,
    shape: Shape,
    /// What the names of its fields begin with.
    prefix: &'static str,
    /// Whether a part of the value is enough: nothing is required, and no default is filled in.
    is_partial: bool,
}

/// What is wrong with what was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The name in the schema; empty where it is no single field.
    pub(crate) field: String,
    /// A fragment for people.
    pub(crate) reason: String,
}

/// HTML that was made here, of texts that were escaped.
pub(crate) struct FormHtml(String);

/// What the fields make together.
enum Shape {
    /// Null: nothing is asked but whether.
    Nothing,
    /// The value of the only field.
    Whole,
    Object,
}

impl Display for Wrong {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.reason),
            field => write!(f, "field `{field}`: {}", self.reason),
        }
    }
}

impl FormHtml {
    /// Whoever makes it has escaped what came from outside.
    pub(crate) fn of(html: String) -> Self {
        Self(html)
    }
}

impl HtmlSafe for FormHtml {}

impl Display for FormHtml {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> SchemaForm<'a> {
    /// The form of a schema; null for none.
    pub(crate) fn new(schema: &'a Value) -> Self {
        Self::with(schema, "", None)
    }

    /// The same, as a part of a larger form: the names of its fields begin with that.
    pub(crate) fn within(schema: &'a Value, prefix: &'static str) -> Self {
        Self::with(schema, prefix, None)
    }

    /// A form of which a part is enough. The fields `at_hand` come first, with those that are required or have a value;
    /// the others are shown on demand.
    pub(crate) fn partial(schema: &'a Value, prefix: &'static str, at_hand: &[&str]) -> Self {
        Self::with(schema, prefix, Some(at_hand))
    }

    fn with(schema: &'a Value, prefix: &'static str, at_hand: Option<&[&str]>) -> Self {
        let is_partial = at_hand.is_some();
        let (shape, fields) = match schema["properties"].as_object() {
            _ if schema.is_null() => (Shape::Nothing, Vec::new()),
            Some(properties) if type_of(schema).is_none_or(|ty| ty == "object") => {
                let required: Vec<&str> =
                    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                // Those that are needed come first, in the order in which the schema says so, then those at hand.
                let first: Vec<&str> = required.iter().chain(at_hand.into_iter().flatten()).copied().collect();
                let place = |name: &str| first.iter().position(|one| *one == name).unwrap_or(first.len());
                let mut all: Vec<_> = properties.iter().collect();
                all.sort_by_key(|(name, _)| place(name));
                let field = |(name, schema): (&'a String, &'a Value)| Field {
                    name,
                    schema,
                    is_required: !is_partial && required.contains(&name.as_str()),
                    is_at_hand: !is_partial || first.contains(&name.as_str()),
                    input: Input::of(schema, is_partial),
                };
                (Shape::Object, all.into_iter().map(field).collect())
            }
            _ => {
                let input = Input::of(schema, is_partial);
                let field = Field { name: WHOLE, schema, is_required: true, is_at_hand: true, input };
                (Shape::Whole, vec![field])
            }
        };
        Self { schema, fields, shape, prefix, is_partial }
    }

    /// The fields, filled with what was entered before, or with defaults; beside each what is wrong with it.
    pub(crate) fn html(&self, entered: Option<&Entered>, wrong: &[Wrong]) -> FormHtml {
        let (mut html, mut more) = (String::new(), String::new());
        for (index, field) in self.fields.iter().enumerate() {
            let before = entered.and_then(|entered| self.value(entered, field));
            let wrong = wrong.iter().find(|wrong| wrong.field == field.name).map(|wrong| wrong.reason.as_str());
            let is_at_hand = field.is_at_hand || before.is_some_and(|text| !text.is_empty()) || wrong.is_some();
            let shown = Shown { form: self, index, before, was_sent: entered.is_some(), wrong };
            field.write_html(if is_at_hand { &mut html } else { &mut more }, &shown);
        }
        if !more.is_empty() {
            let _ = write!(
                html,
                "<details class=\"more\"><summary>More</summary><div class=\"stack\">{more}</div></details>"
            );
        }
        FormHtml(html)
    }

    /// The value that was entered, or what is wrong with it: of what can be read, also what the schema says.
    pub(crate) fn read(&self, entered: &Entered) -> Result<Value, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let is_known = |name: &str| self.fields.iter().any(|field| field.name == name);
        let own = entered.iter().filter_map(|(name, _)| name.strip_prefix(self.prefix));
        // Of a part of a larger form the other names are somebody else's.
        for name in own.filter(|name| !is_known(name)) {
            let reason = format!("the form has no field `{}`", name.chars().take(64).collect::<String>());
            wrong.push(Wrong { field: String::new(), reason });
        }
        let mut object = Map::new();
        for field in &self.fields {
            match field.read(self.value(entered, field), self.is_partial) {
                Ok(Some(value)) => drop(object.insert(field.name.to_owned(), value)),
                Ok(None) => {}
                Err(reason) => wrong.push(Wrong { field: field.name.to_owned(), reason }),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(match self.shape {
            Shape::Nothing => Value::Null,
            Shape::Whole => object.remove(WHOLE).unwrap_or_default(),
            Shape::Object => Value::Object(object),
        })
    }

    /// What the schema says against a value that was read, by field. Of a part of a value each field is looked at
    /// alone.
    pub(crate) fn check(&self, value: &Value) -> Vec<Wrong> {
        if !self.is_partial {
            return wrong_with(self.schema, value);
        }
        let of_field = |field: &Field<'_>| {
            let value = value.get(field.name).filter(|_| !matches!(field.input, Input::Secret))?;
            let first = wrong_with(field.schema, value).into_iter().next()?;
            Some(Wrong { field: field.name.to_owned(), ..first })
        };
        self.fields.iter().filter_map(of_field).collect()
    }

    /// What stands in the fields of a form for a value that is there already.
    pub(crate) fn entered(&self, value: &Value) -> Vec<(String, String)> {
        let text = |field: &Field<'_>| {
            let value = match self.shape {
                Shape::Object => value.get(field.name)?,
                Shape::Whole | Shape::Nothing => value,
            };
            Some((format!("{}{}", self.prefix, field.name), field.text(value)?))
        };
        self.fields.iter().filter_map(text).collect()
    }

    fn value<'t>(&self, entered: &'t Entered, field: &Field<'_>) -> Option<&'t str> {
        let is_it = |name: &str| name.strip_prefix(self.prefix) == Some(field.name);
        entered.iter().find(|(name, _)| is_it(name)).map(|(_, value)| value.as_str())
    }
}

/// What a schema says against a value. Values are not quoted: they may be secret, or long.
pub(crate) fn wrong_with(schema: &Value, value: &Value) -> Vec<Wrong> {
    let options = jsonschema::options().should_validate_formats(true);
    let rules = match options.build(schema) {
        Ok(rules) => rules,
        Err(error) => {
            let reason = format!("the schema is not valid: {}", error.masked());
            return vec![Wrong { field: String::new(), reason }];
        }
    };
    let to_wrong = |error: jsonschema::ValidationError<'_>| {
        let at = error.instance_path().to_string();
        let mut parts = at.trim_start_matches('/').splitn(2, '/');
        let field = parts.next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
        match (error.kind(), parts.next()) {
            (ValidationErrorKind::Required { property }, None) if field.is_empty() => {
                Wrong { field: property.as_str().unwrap_or_default().to_owned(), reason: "it is missing".to_owned() }
            }
            (_, below) => {
                let place = below.map(|below| format!("at `{below}`: ")).unwrap_or_default();
                Wrong { field, reason: format!("{place}{}", error.masked_with("the value")) }
            }
        }
    };
    rules.iter_errors(value).map(to_wrong).collect()
}

/// All of what is wrong, in one text.
pub(crate) fn in_one_text(wrong: &[Wrong]) -> String {
    wrong.iter().map(Wrong::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
