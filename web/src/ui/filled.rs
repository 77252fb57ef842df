//! A form as it is shown: what stands in its fields, and beside each what is wrong with it. Nothing that was typed is
//! lost when something is refused.

use std::fmt::Write as _;

use serde_json::Value;

use super::forms::Fields;
use crate::page::escaped;
use crate::problem::{Answer, Problem};
use crate::schema_form::{Entered, FormHtml, Wrong};

/// See the module.
#[derive(Default)]
pub(super) struct Filled {
    entered: Vec<(String, String)>,
    wrong: Vec<Wrong>,
    /// Whether a browser sent it: a box that is not there is not checked then.
    was_sent: bool,
}

impl Filled {
    /// A form with these values.
    pub(super) fn with(values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let entered = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { entered, ..Self::default() }
    }

    /// A form with the values of these fields of a record.
    pub(super) fn of(record: &Value, fields: &[&'static str]) -> Self {
        let text = |value: &Value| match value {
            Value::Null | Value::Bool(false) => String::new(),
            Value::String(text) => text.clone(),
            Value::Object(_) | Value::Array(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
            other => other.to_string(),
        };
        Self::with(fields.iter().map(|field| (*field, text(&record[*field]))))
    }

    /// What was sent.
    pub(super) fn sent(fields: &Fields) -> Self {
        Self { entered: fields.pairs().to_vec(), wrong: Vec::new(), was_sent: true }
    }

    /// The same with more values, such as those of a form of a schema.
    #[must_use]
    pub(super) fn and(mut self, more: Vec<(String, String)>) -> Self {
        self.entered.extend(more);
        self
    }

    pub(super) fn entered(&self) -> &Entered {
        &self.entered
    }

    pub(super) fn wrong(&self) -> &[Wrong] {
        &self.wrong
    }

    pub(super) fn was_sent(&self) -> bool {
        self.was_sent
    }

    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }

    /// What is wrong with a field; with the whole where no field is named.
    pub(super) fn refuse(&mut self, field: &str, reason: impl Into<String>) {
        self.wrong.push(Wrong { field: field.to_owned(), reason: reason.into() });
    }

    pub(super) fn refuse_all(&mut self, wrong: impl IntoIterator<Item = Wrong>) {
        self.wrong.extend(wrong);
    }

    /// What the engine said against it, beside the field that it names first. What is no fault of the form is passed
    /// on.
    pub(super) fn refused(&mut self, problem: Problem) -> Answer<()> {
        if !problem.status().is_client_error() {
            return Err(problem);
        }
        let (detail, mut quoted) = (problem.detail(), problem.detail().split('`').skip(1).step_by(2));
        let named = quoted.find(|name| self.entered.iter().any(|(field, _)| field == name)).unwrap_or_default();
        let advice = problem.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
        self.refuse(named, format!("{detail}{advice}"));
        Ok(())
    }

    /// What stands in a field.
    pub(super) fn value(&self, name: &str) -> &str {
        self.entered.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.as_str())
    }

    /// The same without white space around it, as a record has it: null where nothing is there.
    pub(super) fn text(&self, name: &str) -> Value {
        Some(self.value(name).trim()).filter(|text| !text.is_empty()).into()
    }

    pub(super) fn is_checked(&self, name: &str) -> bool {
        !self.value(name).is_empty()
    }

    /// A field that must not be empty.
    pub(super) fn required(&mut self, name: &str) -> String {
        let text = self.value(name).trim().to_owned();
        if text.is_empty() {
            self.refuse(name, "it is missing");
        }
        text
    }

    /// A whole number, or null where nothing is there.
    pub(super) fn number(&mut self, name: &str) -> Value {
        let text = self.text(name);
        match text.as_str().map(str::parse::<i64>) {
            None => Value::Null,
            Some(Ok(number)) => number.into(),
            Some(Err(_)) => {
                self.refuse(name, "it is no whole number");
                Value::Null
            }
        }
    }

    /// A document, or null where nothing is there.
    pub(super) fn json(&mut self, name: &str) -> Value {
        match self.text(name).as_str().map(serde_json::from_str) {
            None => Value::Null,
            Some(Ok(document)) => document,
            Some(Err(error)) => {
                self.refuse(name, format!("it is no JSON: {error}"));
                Value::Null
            }
        }
    }

    /// What is wrong with none of the `fields` that are shown.
    pub(super) fn trouble(&self) -> Option<String> {
        let all: Vec<_> =
            self.wrong.iter().filter(|wrong| wrong.field.is_empty()).map(|wrong| wrong.reason.as_str()).collect();
        match (all.is_empty(), self.is_right()) {
            (_, true) => None,
            (true, false) => Some("Something here cannot stay as it is: see beside the fields.".to_owned()),
            (false, false) => Some(all.join("; ")),
        }
    }

    /// One line of text.
    pub(super) fn line(&self, name: &str, label: &str, about: &str) -> FormHtml {
        self.input("text", name, label, about, "")
    }

    pub(super) fn whole_number(&self, name: &str, label: &str, about: &str) -> FormHtml {
        self.input("number", name, label, about, " step=\"1\"")
    }

    /// A name of one of these, which are suggested.
    pub(super) fn one_of(&self, name: &str, label: &str, about: &str, known: impl AsRef<[String]>) -> FormHtml {
        let mut html = self.input("text", name, label, about, &format!(" list=\"{name}-known\"")).to_string();
        let option = |one: &String| format!("<option value=\"{}\"></option>", escaped(one));
        let options: String = known.as_ref().iter().map(option).collect();
        let _ = write!(html, "<datalist id=\"{name}-known\">{options}</datalist>");
        FormHtml::of(html)
    }

    fn input(&self, ty: &str, name: &str, label: &str, about: &str, more: &str) -> FormHtml {
        let value = escaped(self.value(name));
        self.field(name, label, about, |attributes| {
            format!(
                "<input type=\"{ty}\"{attributes} value=\"{value}\"{more} autocomplete=\"off\" spellcheck=\"false\">"
            )
        })
    }

    pub(super) fn lines(&self, name: &str, label: &str, about: &str) -> FormHtml {
        let value = escaped(self.value(name));
        self.field(name, label, about, |attributes| {
            format!("<textarea rows=\"6\" spellcheck=\"false\"{attributes}>\n{value}</textarea>")
        })
    }

    /// A text that is not shown, and never filled in. `manager` is what a password manager is told.
    pub(super) fn password(&self, name: &str, label: &str, about: &str, manager: &str) -> FormHtml {
        self.field(name, label, about, |attributes| {
            format!("<input type=\"password\"{attributes} autocomplete=\"{manager}\" required>")
        })
    }

    /// A text of several lines that is not shown again: never filled in.
    pub(super) fn secret(&self, name: &str, label: &str, about: &str) -> FormHtml {
        self.field(name, label, about, |attributes| {
            format!("<textarea rows=\"4\" spellcheck=\"false\" autocomplete=\"off\"{attributes} required></textarea>")
        })
    }

    /// A moment in UTC.
    pub(super) fn moment(&self, name: &str, label: &str, about: &str) -> FormHtml {
        self.input("datetime-local", name, label, about, " step=\"1\"")
    }

    /// A field that nobody sees.
    pub(super) fn hidden(&self, name: &str) -> FormHtml {
        let value = escaped(self.value(name));
        FormHtml::of(format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">"))
    }

    /// One of these: what is sent, and what people read.
    pub(super) fn choice(&self, name: &str, label: &str, about: &str, choices: &[(&str, &str)]) -> FormHtml {
        let option = |(value, label): &(&str, &str)| {
            let selected = if *value == self.value(name) { " selected" } else { "" };
            format!("<option value=\"{}\"{selected}>{}</option>", escaped(value), escaped(label))
        };
        let options: String = choices.iter().map(option).collect();
        self.field(name, label, about, |attributes| format!("<select{attributes}>{options}</select>"))
    }

    pub(super) fn check(&self, name: &str, label: &str, about: &str) -> FormHtml {
        let checked = if self.is_checked(name) { " checked" } else { "" };
        let parts = self.parts(name, label, about);
        FormHtml::of(format!(
            "<p class=\"check\"><input type=\"checkbox\" value=\"true\"{}{checked}><span>{}{}{}</span></p>",
            parts.attributes, parts.label, parts.about, parts.told
        ))
    }

    fn field(&self, name: &str, label: &str, about: &str, control: impl FnOnce(&str) -> String) -> FormHtml {
        let parts = self.parts(name, label, about);
        let control = control(&parts.attributes);
        FormHtml::of(format!("<p class=\"field\">{}{}{control}{}</p>", parts.label, parts.about, parts.told))
    }

    fn parts(&self, name: &str, label: &str, about: &str) -> Parts {
        let wrong = self.wrong.iter().find(|wrong| wrong.field == name);
        let mut attributes = format!(" id=\"{name}\" name=\"{name}\"");
        let described = [(!about.is_empty()).then(|| format!("{name}-a")), wrong.map(|_| format!("{name}-w"))];
        let described: Vec<_> = described.into_iter().flatten().collect();
        if !described.is_empty() {
            let _ = write!(attributes, " aria-describedby=\"{}\"", described.join(" "));
        }
        if wrong.is_some() {
            attributes.push_str(" aria-invalid=\"true\"");
        }
        Parts {
            attributes,
            label: format!("<label for=\"{name}\">{}</label>", escaped(label)),
            about: match about {
                "" => String::new(),
                about => format!("<small id=\"{name}-a\">{}</small>", escaped(about)),
            },
            told: wrong.map_or_else(String::new, |wrong| {
                format!("<span class=\"wrong\" id=\"{name}-w\">{}</span>", escaped(&wrong.reason))
            }),
        }
    }
}

/// What stands around a field. Names of fields are ours.
struct Parts {
    attributes: String,
    label: String,
    about: String,
    told: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_refused_stands_beside_its_field_with_what_was_typed() {
        let mut form = Filled::with([("max", "<3>".to_owned()), ("name", "a".to_owned())]);
        assert_eq!(form.number("max"), Value::Null);
        let html = form.whole_number("max", "At most", "How many").to_string();
        assert!(html.contains("value=\"&lt;3&gt;\"") && html.contains("aria-describedby=\"max-a max-w\""), "{html}");
        assert!(html.contains("<span class=\"wrong\" id=\"max-w\">it is no whole number</span>"), "{html}");
        form.refused(Problem::invalid("`other` and `name` do not go together")).unwrap();
        assert!(form.line("name", "Name", "").to_string().contains("do not go together"));
        assert!(form.trouble().unwrap().contains("beside the fields"));
        form.refused(Problem::invalid("not <now>")).unwrap();
        assert_eq!(form.trouble().as_deref(), Some("not <now>"));
        assert!(form.refused(Problem::stopping()).is_err());
    }

    #[test]
    fn a_record_fills_its_form() {
        let form = Filled::of(&json!({"a": 3, "b": {"c": 1}, "d": true, "e": false}), &["a", "b", "d", "e", "f"]);
        assert_eq!((form.value("a"), form.value("f"), form.text("f")), ("3", "", Value::Null));
        assert!(form.is_checked("d") && !form.is_checked("e"));
        assert!(form.value("b").contains("\"c\": 1"));
    }
}
