//! How rows become the output `result`: their shape, the names of their columns, the limit of their number.

use serde_json::{Value, json};
use surefoot_connector_api::{CallError, ErrorClass};

/// What of a statement's answer is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// The first value of the first row.
    Value,
    /// The first row.
    Row,
    /// All rows.
    Rows,
    /// How many rows were changed.
    Counts,
}

/// A value that JSON cannot say.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} holds a value that cannot be shown: {why}")]
pub(crate) struct Unshowable {
    /// Position of the column, from 1.
    pub(crate) column: usize,
    /// What is wrong with it, and what to do.
    pub(crate) why: String,
}

/// The rows of one result set, as far as they are wanted.
pub(crate) struct Rows {
    want: Want,
    rows_max: usize,
    names: Vec<String>,
    found: Vec<Value>,
}

impl Rows {
    /// No row yet, of columns with these names; see [`column_names`].
    pub(crate) fn new<'a>(want: Want, rows_max: usize, columns: impl IntoIterator<Item = &'a str>) -> Self {
        Self { want, rows_max, names: column_names(columns), found: Vec::new() }
    }

    /// Takes the next row into account. One more than `rows_max` is [`ErrorClass::InvalidInput`], a value that cannot
    /// be shown [`ErrorClass::Protocol`].
    pub(crate) fn add(&mut self, mut values: impl Iterator<Item = Result<Value, Unshowable>>) -> Result<(), CallError> {
        if self.want == Want::Rows && self.found.len() == self.rows_max {
            return Err(CallError::unknown(
                ErrorClass::InvalidInput,
                format!("the result has more than {} rows; ask for less, or raise `rows_max`", self.rows_max),
            ));
        }
        if self.want == Want::Rows || self.found.is_empty() {
            let row = match self.want {
                Want::Value => values.next().unwrap_or(Ok(Value::Null)),
                _ => self.names.iter().cloned().zip(values).map(named).collect::<Result<_, _>>().map(Value::Object),
            };
            self.found.push(row.map_err(|error| CallError::unknown(ErrorClass::Protocol, error.to_string()))?);
        }
        Ok(())
    }

    /// What the call gives back.
    pub(crate) fn into_result(self) -> Value {
        match self.want {
            Want::Rows => Value::Array(self.found),
            _ => self.found.into_iter().next().unwrap_or_default(),
        }
    }
}

/// The result of statements that change rows.
pub(crate) fn rows_affected(counts: &[u64]) -> Value {
    json!({ "rows_affected": counts })
}

/// A `fetch…` of a statement that gives no rows at all, and has been performed.
pub(crate) fn no_result_set() -> CallError {
    let message = "the statement was performed but gives no result set; use `execute` for such a statement";
    CallError::unknown(ErrorClass::InvalidInput, message)
}

/// The output of a call.
pub(crate) fn output(result: &Value) -> Value {
    json!({ "result": result })
}

fn named((name, value): (String, Result<Value, Unshowable>)) -> Result<(String, Value), Unshowable> {
    Ok((name, value?))
}

/// The names under which the columns of one result appear: a column without a name is `column_1`, by its position, and
/// a name that came before gets its position too, as in `id_3`.
fn column_names<'a>(columns: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (index, column) in columns.into_iter().enumerate() {
        // PostgreSQL's name for a column without one.
        let nameless = column.is_empty() || column == "?column?";
        let mut name = if nameless { format!("column_{}", index + 1) } else { column.to_owned() };
        while names.contains(&name) {
            name = format!("{name}_{}", index + 1);
        }
        names.push(name);
    }
    names
}

/// A floating-point number, unless JSON lacks it.
pub(crate) fn float(number: f64) -> Result<Value, String> {
    serde_json::Number::from_f64(number).map(Value::Number).ok_or_else(|| "not a finite number".to_owned())
}

/// The same through text, so that 1.1 stays 1.1 and does not become 1.100000023841858.
pub(crate) fn short_float(number: f32) -> Result<Value, String> {
    number.to_string().parse().map_err(|_| "not a finite number".to_owned()).and_then(float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[i32]) -> impl Iterator<Item = Result<Value, Unshowable>> {
        values.iter().map(|value| Ok(json!(value)))
    }

    #[test]
    fn columns_without_a_name_of_their_own_get_their_position() {
        let names = column_names(["id", "", "id", "?column?"]);
        assert_eq!(names, ["id", "column_2", "id_3", "column_4"]);
    }

    #[test]
    fn what_is_wanted_is_kept() {
        for (want, result) in [
            (Want::Value, json!(1)),
            (Want::Row, json!({ "a": 1, "b": 2 })),
            (Want::Rows, json!([{ "a": 1, "b": 2 }, { "a": 3, "b": 4 }])),
        ] {
            let mut rows = Rows::new(want, 2, ["a", "b"]);
            rows.add(row(&[1, 2])).unwrap();
            rows.add(row(&[3, 4])).unwrap();
            assert_eq!(rows.into_result(), result);
        }
        assert_eq!(Rows::new(Want::Rows, 2, ["a"]).into_result(), json!([]));
        assert_eq!(Rows::new(Want::Row, 2, ["a"]).into_result(), Value::Null);
    }

    #[test]
    fn rows_stop_at_their_limit_only_where_all_are_wanted() {
        let mut rows = Rows::new(Want::Rows, 1, ["a"]);
        rows.add(row(&[1])).unwrap();
        assert_eq!(rows.add(row(&[2])).expect_err("one too many").class, ErrorClass::InvalidInput);
        let mut first = Rows::new(Want::Row, 1, ["a"]);
        first.add(row(&[1])).unwrap();
        first.add(row(&[2])).unwrap();
    }

    #[test]
    fn a_value_that_cannot_be_shown_names_its_column() {
        let unshowable = || Unshowable { column: 2, why: "a secret of the database".into() };
        let error = Rows::new(Want::Row, 1, ["a", "b"]).add([Ok(json!(1)), Err(unshowable())].into_iter());
        assert!(error.expect_err("unshowable").message.contains("column 2"));
    }

    #[test]
    fn floats_keep_their_digits_and_must_be_finite() {
        assert_eq!(short_float(1.1), Ok(json!(1.1)));
        assert_eq!(float(-0.25), Ok(json!(-0.25)));
        assert!(float(f64::NAN).is_err() && short_float(f32::INFINITY).is_err());
    }
}
