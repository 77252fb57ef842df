//! Filters: parsing, and matching a row in memory.

use std::cmp::Ordering;

use serde_json::Value;

use super::QueryError;
use super::kind::{Field, FieldType, Kind};
use crate::clock::Timestamp;

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is documented in the module's head")]
pub enum Op {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
    Like,
    In,
    IsNull,
}

const OPS: [(&str, Op); 9] = [
    ("eq", Op::Eq),
    ("neq", Op::Neq),
    ("lt", Op::Lt),
    ("lte", Op::Lte),
    ("gt", Op::Gt),
    ("gte", Op::Gte),
    ("like", Op::Like),
    ("in", Op::In),
    ("is_null", Op::IsNull),
];

/// How deep `and`, `or`, `not` may be nested.
const DEPTH_MAX: usize = 32;
/// Nodes and list values in one filter.
const TERMS_MAX: usize = 400;
/// Length of a pattern, bytes.
const PATTERN_BYTES_MAX: usize = 1000;

/// A checked filter. Times stand in it as microseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of them.
    And(Vec<Filter>),
    /// One of them.
    Or(Vec<Filter>),
    /// Not it.
    Not(Box<Filter>),
    /// A comparison.
    Leaf {
        /// Of this field.
        field: &'static Field,
        /// In this way.
        op: Op,
        /// With this.
        value: Value,
    },
}

impl Filter {
    /// Parses a filter and checks it against the fields of `kind`.
    pub fn parse(kind: Kind, json: &Value) -> Result<Self, QueryError> {
        let mut terms = 0;
        parse(kind, json, 0, &mut terms)
    }

    /// Whether `row`, as users see it, matches.
    pub fn matches(&self, row: &Value) -> bool {
        match self {
            Self::And(all) => all.iter().all(|filter| filter.matches(row)),
            Self::Or(any) => any.iter().any(|filter| filter.matches(row)),
            Self::Not(filter) => !filter.matches(row),
            Self::Leaf { field, op, value } => leaf_matches(field, *op, value, &row[field.name]),
        }
    }

    /// Whether `row` matches, or could before or later, when only the fields that `lasts` names stay as they are.
    pub(crate) fn may_match(&self, row: &Value, lasts: &dyn Fn(&Field) -> bool) -> bool {
        self.outlook(row, lasts) != Some(false)
    }

    /// Whether it matches whatever happens, or whatever happens not; none where that depends.
    fn outlook(&self, row: &Value, lasts: &dyn Fn(&Field) -> bool) -> Option<bool> {
        // One that decides decides; else all must be decided.
        let joined = |filters: &[Self], decides: bool| {
            let mut outlook = Some(!decides);
            for filter in filters {
                match filter.outlook(row, lasts) {
                    Some(decided) if decided == decides => return Some(decides),
                    Some(_) => {}
                    None => outlook = None,
                }
            }
            outlook
        };
        match self {
            Self::And(all) => joined(all, false),
            Self::Or(any) => joined(any, true),
            Self::Not(filter) => filter.outlook(row, lasts).map(|outlook| !outlook),
            Self::Leaf { field, .. } => lasts(field).then(|| self.matches(row)),
        }
    }

    /// The value that `field` must equal for anything to match, if the filter says so at its top level.
    pub fn required_value(&self, field: &str) -> Option<&Value> {
        match self {
            Self::And(all) => all.iter().find_map(|filter| filter.required_value(field)),
            Self::Leaf { field: leaf, op: Op::Eq, value } if leaf.name == field => Some(value),
            _ => None,
        }
    }

    /// Whether the filter mentions that field at all.
    pub fn mentions(&self, name: &str) -> bool {
        match self {
            Self::And(filters) | Self::Or(filters) => filters.iter().any(|filter| filter.mentions(name)),
            Self::Not(filter) => filter.mentions(name),
            Self::Leaf { field, .. } => field.name == name,
        }
    }
}

fn parse(kind: Kind, json: &Value, depth: usize, terms: &mut usize) -> Result<Filter, QueryError> {
    if depth > DEPTH_MAX {
        return Err(QueryError(format!("the filter is nested more than {DEPTH_MAX} deep")));
    }
    *terms += 1;
    if *terms > TERMS_MAX {
        return Err(QueryError(format!("the filter has more than {TERMS_MAX} terms")));
    }
    let object = json.as_object().ok_or_else(|| {
        QueryError(r#"a filter is {"field","op","value"}, {"and":[…]}, {"or":[…]} or {"not":…}"#.into())
    })?;
    let mut list = |value: &Value| -> Result<Vec<Filter>, QueryError> {
        let items = value.as_array().ok_or_else(|| QueryError("`and` and `or` take a list of filters".into()))?;
        items.iter().map(|item| parse(kind, item, depth + 1, terms)).collect()
    };
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    match keys.as_slice() {
        ["and"] => Ok(Filter::And(list(&object["and"])?)),
        ["or"] => Ok(Filter::Or(list(&object["or"])?)),
        ["not"] => Ok(Filter::Not(Box::new(parse(kind, &object["not"], depth + 1, terms)?))),
        ["field", "op", "value"] => leaf(kind, &object["field"], &object["op"], &object["value"], terms),
        ["field", "op"] if object["op"] == "is_null" => {
            leaf(kind, &object["field"], &object["op"], &Value::Bool(true), terms)
        }
        other => Err(QueryError(format!(
            "a filter has the keys field, op and value, or one of and, or, not; this one has {}",
            if other.is_empty() { "none".into() } else { other.join(", ") }
        ))),
    }
}

fn leaf(kind: Kind, field: &Value, op: &Value, value: &Value, terms: &mut usize) -> Result<Filter, QueryError> {
    let name = field.as_str().ok_or_else(|| QueryError("`field` must be a text".into()))?;
    let field = kind.field(name)?;
    let op_name = op.as_str().ok_or_else(|| QueryError("`op` must be a text".into()))?;
    let op = OPS.iter().find(|(candidate, _)| *candidate == op_name).map(|(_, op)| *op).ok_or_else(|| {
        QueryError(format!("there is no op `{op_name}`; ops are {}", OPS.map(|(name, _)| name).join(", ")))
    })?;
    *terms += value.as_array().map_or(0, Vec::len);
    if *terms > TERMS_MAX {
        return Err(QueryError(format!("the filter has more than {TERMS_MAX} terms")));
    }
    let value = match op {
        Op::IsNull => match value {
            Value::Bool(_) => value.clone(),
            _ => return Err(QueryError(format!("`is_null` on `{name}` takes true or false"))),
        },
        Op::In => {
            let items = value.as_array().ok_or_else(|| QueryError(format!("`in` on `{name}` takes a list")))?;
            Value::Array(items.iter().map(|item| operand(field, item)).collect::<Result<_, _>>()?)
        }
        Op::Like if field.ty != FieldType::Text => {
            return Err(QueryError(format!("`like` works on texts, and `{name}` is none")));
        }
        Op::Like if value.as_str().is_some_and(|pattern| pattern.len() > PATTERN_BYTES_MAX) => {
            return Err(QueryError(format!("the pattern for `{name}` is longer than {PATTERN_BYTES_MAX} bytes")));
        }
        _ => operand(field, value)?,
    };
    Ok(Filter::Leaf { field, op, value })
}

/// `value` as the field stores it.
fn operand(field: &Field, value: &Value) -> Result<Value, QueryError> {
    let wrong = |wanted: &str| Err(QueryError(format!("`{}` is compared with {wanted}, not with {value}", field.name)));
    match (field.ty, value) {
        (FieldType::Text, Value::String(_)) | (FieldType::Bool, Value::Bool(_)) => Ok(value.clone()),
        (FieldType::Integer, Value::Number(number)) if number.is_i64() => Ok(value.clone()),
        (FieldType::Time, Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(timestamp) => Ok(Value::from(timestamp.0)),
            Err(_) => wrong("a time such as 2026-01-31T12:00:00Z"),
        },
        (_, Value::Null) => Err(QueryError(format!("compare `{}` with null by op is_null", field.name))),
        (FieldType::Text, _) => wrong("a text"),
        (FieldType::Integer, _) => wrong("a whole number"),
        (FieldType::Bool, _) => wrong("true or false"),
        (FieldType::Time, _) => wrong("a time such as 2026-01-31T12:00:00Z"),
        (FieldType::Json, _) => Err(QueryError(format!("`{}` is a document; only is_null works on it", field.name))),
    }
}

fn leaf_matches(field: &Field, op: Op, value: &Value, found: &Value) -> bool {
    let found = match (field.ty, found) {
        (FieldType::Time, Value::String(text)) => text.parse::<Timestamp>().map_or(Value::Null, |at| Value::from(at.0)),
        _ => found.clone(),
    };
    let order = compare(&found, value);
    match op {
        Op::IsNull => found.is_null() == (*value == Value::Bool(true)),
        Op::Eq => order == Some(Ordering::Equal),
        Op::Neq => order != Some(Ordering::Equal),
        Op::Lt => order == Some(Ordering::Less),
        Op::Lte => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Op::Gt => order == Some(Ordering::Greater),
        Op::Gte => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        Op::In => value.as_array().is_some_and(|items| items.contains(&found)),
        Op::Like => match (found.as_str(), value.as_str()) {
            (Some(found), Some(pattern)) => {
                like(&found.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>())
            }
            _ => false,
        },
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => Some(left.as_i64()?.cmp(&right.as_i64()?)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// SQL's LIKE, case-sensitive. Goes back to the last `%` on a mismatch, so its cost is at most the product of the
/// lengths.
fn like(text: &[char], pattern: &[char]) -> bool {
    let (mut at, mut want) = (0, 0);
    let mut resume: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(want) {
            Some('%') => {
                resume = Some((want + 1, at));
                want += 1;
            }
            Some(&c) if c == '_' || c == text[at] => {
                at += 1;
                want += 1;
            }
            _ => match resume {
                Some((after, from)) => {
                    resume = Some((after, from + 1));
                    want = after;
                    at = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[want..].iter().all(|c| *c == '%')
}
