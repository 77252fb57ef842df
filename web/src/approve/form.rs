//! A form from a JSON Schema, and the answer from what a browser sends of it. What fits is decided by the engine, with
//! the schema; here each text becomes a value of its type.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::page::escaped;

/// The name of the only field where the answer is no object.
const WHOLE: &str = "answer";

/// What is to be filled in.
pub(super) struct Form<'a> {
    fields: Vec<Field<'a>>,
    shape: Shape,
}

/// What the fields make together.
enum Shape {
    /// Null: nothing is asked but whether.
    Nothing,
    /// The value of the only field.
    Whole,
    Object,
}

struct Field<'a> {
    name: &'a str,
    schema: &'a Value,
    is_required: bool,
    input: Input<'a>,
}

/// How a value is entered.
enum Input<'a> {
    Line(&'static str),
    Lines,
    Number {
        is_whole: bool,
    },
    Checkbox,
    /// Values with their titles.
    Choice(Vec<(&'a Value, String)>),
    /// Whatever has no form of its own.
    Json,
}

impl<'a> Form<'a> {
    /// The form of a schema; null for none.
    pub(super) fn new(schema: &'a Value) -> Self {
        if schema.is_null() {
            return Self { fields: Vec::new(), shape: Shape::Nothing };
        }
        match schema["properties"].as_object() {
            Some(properties) if type_of(schema).is_none_or(|ty| ty == "object") => {
                let required: Vec<&str> =
                    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                // Those that are needed come first, in the order in which the schema says so.
                let place = |name: &str| required.iter().position(|needed| *needed == name).unwrap_or(required.len());
                let mut all: Vec<_> = properties.iter().collect();
                all.sort_by_key(|(name, _)| place(name));
                let field = |(name, schema): (&'a String, &'a Value)| Field {
                    name,
                    schema,
                    is_required: required.contains(&name.as_str()),
                    input: Input::of(schema),
                };
                Self { fields: all.into_iter().map(field).collect(), shape: Shape::Object }
            }
            _ => {
                let field = Field { name: WHOLE, schema, is_required: true, input: Input::of(schema) };
                Self { fields: vec![field], shape: Shape::Whole }
            }
        }
    }

    /// The fields as HTML, filled with what was entered before.
    pub(super) fn html(&self, values: &[(String, String)]) -> String {
        let mut html = String::new();
        for field in &self.fields {
            let before = values.iter().find(|(name, _)| name == field.name).map(|(_, value)| value.as_str());
            field.write_html(&mut html, before, !values.is_empty());
        }
        html
    }

    /// The answer that was entered, or what is wrong with it.
    pub(super) fn read(&self, values: &[(String, String)]) -> Result<Value, String> {
        if let Some((name, _)) = values.iter().find(|(name, _)| !self.fields.iter().any(|field| field.name == name)) {
            return Err(format!("the form has no field `{}`", name.chars().take(64).collect::<String>()));
        }
        let mut object = Map::new();
        for field in &self.fields {
            let text = values.iter().find(|(name, _)| name == field.name).map(|(_, value)| value.as_str());
            if let Some(value) = field.read(text)? {
                object.insert(field.name.to_owned(), value);
            }
        }
        Ok(match self.shape {
            Shape::Nothing => Value::Null,
            Shape::Whole => object.remove(WHOLE).unwrap_or_default(),
            Shape::Object => Value::Object(object),
        })
    }
}

impl Field<'_> {
    fn read(&self, text: Option<&str>) -> Result<Option<Value>, String> {
        let text = text.unwrap_or_default();
        let wrong = |why: &str| Err(format!("field `{}`: {why}", self.name));
        if let Input::Checkbox = self.input {
            return Ok(Some((!text.is_empty()).into()));
        }
        if text.is_empty() {
            // A text may be empty where one is needed: the schema says whether.
            let is_text = matches!(self.input, Input::Line(_) | Input::Lines);
            return Ok((is_text && self.is_required).then(|| text.into()));
        }
        match &self.input {
            // Browsers end lines with both.
            Input::Line(_) | Input::Lines => Ok(Some(text.replace("\r\n", "\n").into())),
            Input::Number { is_whole } => match serde_json::from_str::<Value>(text.trim()) {
                Ok(value) if value.is_i64() || (value.is_number() && !is_whole) => Ok(Some(value)),
                _ => wrong(if *is_whole { "it is no whole number" } else { "it is no number" }),
            },
            Input::Choice(choices) => match text.parse().ok().and_then(|index: usize| choices.get(index)) {
                Some((value, _)) => Ok(Some(Value::clone(value))),
                None => wrong("it is none of the choices"),
            },
            Input::Json => match serde_json::from_str(text) {
                Ok(value) => Ok(Some(value)),
                Err(error) => wrong(&format!("it is no JSON: {error}")),
            },
            Input::Checkbox => Ok(None),
        }
    }

    fn write_html(&self, html: &mut String, before: Option<&str>, was_sent: bool) {
        let name = escaped(self.name);
        let title = escaped(self.schema["title"].as_str().unwrap_or(self.name));
        let about = self.schema["description"].as_str().map(|text| format!("<small>{}</small>", escaped(text)));
        let about = about.unwrap_or_default();
        let required = if self.is_required { " required" } else { "" };
        let default = &self.schema["default"];
        let value = match before {
            Some(text) => text.to_owned(),
            None if was_sent || default.is_null() => String::new(),
            None => default.as_str().map_or_else(|| default.to_string(), str::to_owned),
        };
        let value = escaped(&value);
        let _ = match &self.input {
            Input::Checkbox => {
                let checked = if value.is_empty() || value == "false" { "" } else { " checked" };
                write!(
                    html,
                    "<label><input type=\"checkbox\" name=\"{name}\" value=\"true\"{checked}>{title}{about}</label>"
                )
            }
            Input::Line(ty) => write!(
                html,
                "<label>{title}{about}<input type=\"{ty}\" name=\"{name}\" value=\"{value}\"{required}></label>"
            ),
            Input::Number { is_whole } => {
                let step = if *is_whole { "1" } else { "any" };
                write!(
                    html,
                    "<label>{title}{about}<input type=\"number\" step=\"{step}\" name=\"{name}\" \
                     value=\"{value}\"{required}></label>"
                )
            }
            Input::Lines | Input::Json => write!(
                html,
                "<label>{title}{about}<textarea rows=\"5\" name=\"{name}\"{required}>\n{value}</textarea></label>"
            ),
            Input::Choice(choices) => {
                let empty = if self.is_required { "" } else { "<option value=\"\"></option>" };
                let options = choices.iter().enumerate().map(|(index, (choice, title))| {
                    let is_chosen = match before {
                        Some(text) => text == index.to_string(),
                        None => *choice == default,
                    };
                    let selected = if is_chosen { " selected" } else { "" };
                    format!("<option value=\"{index}\"{selected}>{}</option>", escaped(title))
                });
                let options: String = options.collect();
                write!(html, "<label>{title}{about}<select name=\"{name}\"{required}>{empty}{options}</select></label>")
            }
        };
    }
}

impl<'a> Input<'a> {
    fn of(schema: &'a Value) -> Self {
        if let Some(values) = schema["enum"].as_array() {
            return Self::Choice(values.iter().map(|value| (value, title_of(value))).collect());
        }
        let titled = |one: &'a Value| {
            let value = one.get("const")?;
            Some((value, one["title"].as_str().map_or_else(|| title_of(value), str::to_owned)))
        };
        if let Some(choices) = schema["oneOf"].as_array().and_then(|all| all.iter().map(titled).collect()) {
            return Self::Choice(choices);
        }
        match (type_of(schema), schema["format"].as_str()) {
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
            _ => Self::Json,
        }
    }
}

/// The type of a value; of several the first that is not null.
fn type_of(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(ty) => Some(ty),
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|ty| *ty != "null"),
        _ => None,
    }
}

fn title_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(schema: &Value, values: &[(&str, &str)]) -> Result<Value, String> {
        let values: Vec<_> = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Form::new(schema).read(&values)
    }

    #[test]
    fn what_is_entered_gets_its_type() {
        let schema = json!({
            "type": "object",
            "properties": {
                "go": {"type": "boolean"}, "count": {"type": "integer"}, "share": {"type": "number"},
                "why": {"type": "string"}, "ring": {"enum": ["one", 2, null]}, "more": {"type": "array"},
                "note": {"type": ["null", "string"]}, "size": {"oneOf": [{"const": 1, "title": "small"}]},
            },
            "required": ["why"],
        });
        let entered = [("go", "true"), ("count", "3"), ("share", "0.5"), ("why", "a\r\nb"), ("ring", "1")];
        let expected = json!({"go": true, "count": 3, "share": 0.5, "why": "a\nb", "ring": 2});
        assert_eq!(read(&schema, &entered), Ok(expected));
        let entered = [("more", "[1]"), ("note", ""), ("size", "0"), ("count", "")];
        assert_eq!(read(&schema, &entered), Ok(json!({"go": false, "why": "", "more": [1], "size": 1})));
        for (name, value, why) in [
            ("count", "3.5", "field `count`: it is no whole number"),
            ("share", "x", "field `share`: it is no number"),
            ("ring", "3", "field `ring`: it is none of the choices"),
            ("other", "1", "the form has no field `other`"),
        ] {
            assert_eq!(read(&schema, &[(name, value)]), Err(why.to_owned()));
        }
        assert!(read(&schema, &[("more", "[")]).unwrap_err().starts_with("field `more`: it is no JSON"));
    }

    #[test]
    fn what_is_no_object_has_one_field_or_none() {
        assert_eq!(read(&json!({"enum": ["yes", "no"]}), &[("answer", "1")]), Ok(json!("no")));
        assert_eq!(read(&Value::Null, &[]), Ok(Value::Null));
        assert_eq!(read(&json!(true), &[("answer", "{}")]), Ok(json!({})));
    }

    #[test]
    fn a_form_is_escaped_filled_and_in_order() {
        let schema = json!({
            "type": "object",
            "properties": {
                "a\"b": {"type": "string", "title": "<A>", "default": "'x'"},
                "z": {"enum": ["one", "two"], "default": "two"},
            },
            "required": ["z"],
        });
        let form = Form::new(&schema);
        let html = form.html(&[]);
        assert!(html.starts_with("<label>z<select name=\"z\" required><option value=\"0\">one</option>"), "{html}");
        assert!(html.contains("<option value=\"1\" selected>two</option>"), "{html}");
        assert!(
            html.contains("<label>&lt;A&gt;<input type=\"text\" name=\"a&quot;b\" value=\"&#39;x&#39;\">"),
            "{html}"
        );
        let html = form.html(&[("a\"b".to_owned(), "<".to_owned()), ("z".to_owned(), "0".to_owned())]);
        assert!(html.contains("value=\"&lt;\"") && html.contains("<option value=\"0\" selected>"), "{html}");
    }
}
