//! What people write in a filter bar: the query language, or its short form, which becomes the same documents.
//!
//! The short form is terms with spaces between them, all of which must hold: `status=ENDED_ERROR`, `name~backup`,
//! `priority>0`, `type=FLOW,SCHEDULE`, `parent_id=null`. Of terms with `or` between them one must hold; it binds closer
//! than a space. A word alone is looked for in the name. Values with spaces stand in double quotes. What begins with
//! `{` is the query language itself.

use serde_json::{Value, json};
use surefoot_engine::query::{FieldType, Kind};

/// The comparisons, the longer ones first, with the operation that each is.
const COMPARISONS: [(&str, &str); 7] =
    [("!=", "neq"), ("<=", "lte"), (">=", "gte"), ("=", "eq"), ("<", "lt"), (">", "gt"), ("~", "like")];

/// What stands between two terms of which one must hold.
const OR: &str = "or";

/// The filter that somebody wrote; none where they wrote nothing.
///
/// # Errors
/// What is wrong, for them. Fields and operations are checked by the engine.
pub(super) fn parse(kind: Kind, text: &str) -> Result<Option<Value>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.starts_with('{') {
        return serde_json::from_str(text).map(Some).map_err(|error| format!("this is not JSON: {error}"));
    }
    let mut all: Vec<Vec<Value>> = Vec::new();
    let mut is_other = false;
    for term in terms(text)? {
        match (term.as_str(), all.last_mut()) {
            (OR, Some(_)) if !is_other => is_other = true,
            (term, Some(others)) if is_other => {
                others.push(term_of(kind, term)?);
                is_other = false;
            }
            (term, _) => all.push(vec![term_of(kind, term)?]),
        }
    }
    if is_other {
        return Err(format!("`{OR}` stands between two terms; to look for the word, write name~{OR}"));
    }
    Ok(Some(joined("and", all.into_iter().map(|others| joined("or", others)).collect())))
}

/// All of them, or one, as `how` says; one alone is itself.
fn joined(how: &str, filters: Vec<Value>) -> Value {
    match <[Value; 1]>::try_from(filters) {
        Ok([filter]) => filter,
        Err(filters) => json!({ how: filters }),
    }
}

/// Both hold; one alone where there is no other.
pub(super) fn both(one: Option<Value>, other: Option<Value>) -> Option<Value> {
    match (one, other) {
        (Some(one), Some(other)) => Some(json!({ "and": [one, other] })),
        (one, other) => one.or(other),
    }
}

/// Terms, split at spaces that are not quoted.
fn terms(text: &str) -> Result<Vec<String>, String> {
    let (mut terms, mut term, mut is_quoted) = (Vec::new(), String::new(), false);
    for sign in text.chars() {
        match sign {
            '"' => is_quoted = !is_quoted,
            ' ' | '\t' if !is_quoted => terms.push(std::mem::take(&mut term)),
            sign => term.push(sign),
        }
    }
    if is_quoted {
        return Err("a quote is not closed".to_owned());
    }
    terms.push(term);
    terms.retain(|term| !term.is_empty());
    Ok(terms)
}

fn term_of(kind: Kind, term: &str) -> Result<Value, String> {
    let at = term.find(['=', '<', '>', '~', '!']);
    let Some((field, rest)) = at.map(|at| term.split_at(at)).filter(|(field, _)| !field.is_empty()) else {
        return Ok(json!({"field": "name", "op": "like", "value": containing(term)}));
    };
    let (sign, op) = COMPARISONS.iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(|| {
        format!("`{term}` is no comparison; there are {}", COMPARISONS.map(|(sign, _)| sign).join(" "))
    })?;
    let value = &rest[sign.len()..];
    let ty = kind.field(field).map_err(|error| error.to_string())?.ty;
    let is_null = |negated: bool| {
        let found = json!({"field": field, "op": "is_null", "value": true});
        if negated { json!({ "not": found }) } else { found }
    };
    match (*op, value) {
        ("eq", "null") => Ok(is_null(false)),
        ("neq", "null") => Ok(is_null(true)),
        ("like", value) => Ok(json!({"field": field, "op": "like", "value": containing(value)})),
        ("eq", value) if value.contains(',') => {
            let values: Vec<Value> = value.split(',').map(|value| typed(ty, value)).collect();
            Ok(json!({"field": field, "op": "in", "value": values}))
        }
        (op, value) => Ok(json!({"field": field, "op": op, "value": typed(ty, value)})),
    }
}

/// The pattern of texts that have that in them, whatever signs it has.
fn containing(text: &str) -> String {
    if text.contains('%') { text.to_owned() } else { format!("%{text}%") }
}

/// A value as fields of that type have it. What does not fit stays a text, and is refused by the engine, which says
/// why.
fn typed(ty: FieldType, value: &str) -> Value {
    let text = || Value::from(value);
    match ty {
        FieldType::Integer => value.parse::<i64>().map_or_else(|_| text(), Value::from),
        FieldType::Bool => value.parse::<bool>().map_or_else(|_| text(), Value::from),
        FieldType::Text | FieldType::Time | FieldType::Json => text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Value {
        parse(Kind::Execution, text).unwrap().unwrap()
    }

    #[test]
    fn short_forms_become_documents() {
        assert_eq!(parse(Kind::Execution, "  "), Ok(None));
        assert_eq!(parsed("status=RUNNING"), json!({"field": "status", "op": "eq", "value": "RUNNING"}));
        assert_eq!(parsed("type=FLOW,SCHEDULE"), json!({"field": "type", "op": "in", "value": ["FLOW", "SCHEDULE"]}));
        assert_eq!(parsed("parent_id=null"), json!({"field": "parent_id", "op": "is_null", "value": true}));
        assert_eq!(parsed("ended_at!=null"), json!({"not": {"field": "ended_at", "op": "is_null", "value": true}}));
        assert_eq!(parsed("priority>=5"), json!({"field": "priority", "op": "gte", "value": 5}));
        assert_eq!(parsed("orphan=true"), json!({"field": "orphan", "op": "eq", "value": true}));
        assert_eq!(
            parsed("backup name~\"a b\""),
            json!({"and": [
                {"field": "name", "op": "like", "value": "%backup%"},
                {"field": "name", "op": "like", "value": "%a b%"},
            ]})
        );
    }

    #[test]
    fn one_of_two_terms_is_enough_with_an_or_between() {
        let status = |value: &str| json!({"field": "status", "op": "eq", "value": value});
        assert_eq!(parsed("status=A or status=B"), json!({"or": [status("A"), status("B")]}));
        let priority = json!({"field": "priority", "op": "gt", "value": 0});
        let both = json!({"and": [{"or": [status("A"), status("B"), status("C")]}, priority]});
        assert_eq!(parsed("status=A or status=B or status=C priority>0"), both);
        let named = json!({"field": "name", "op": "like", "value": "%or%"});
        assert_eq!((parsed("or"), parsed("name~or")), (named.clone(), named));
        assert!(parse(Kind::Execution, "status=A or").unwrap_err().contains("between two terms"));
    }

    #[test]
    fn the_language_itself_is_taken_too() {
        assert_eq!(parsed(r#"{"or":[]}"#), json!({"or": []}));
        assert!(parse(Kind::Execution, "{x").unwrap_err().contains("not JSON"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| parse(Kind::Execution, text).unwrap_err();
        assert!(wrong("statsu=RUNNING").contains("did you mean `status`?"));
        assert!(wrong("name!x").contains("no comparison"));
        assert!(wrong("name=\"a").contains("quote"));
    }
}
