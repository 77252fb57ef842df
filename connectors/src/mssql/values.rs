//! Between JSON and the types of SQL Server.
//!
//! | SQL Server | JSON |
//! |---|---|
//! | `bit` | true or false |
//! | `tinyint` to `bigint` | number; beyond 2^53 some readers of JSON lose digits: `CAST` such a value to text |
//! | `real`, `float` | number |
//! | `decimal`, `numeric`, `money`, `smallmoney` | text with all digits of the scale, such as `"12.50"` |
//! | character types, `xml` | text |
//! | `uniqueidentifier` | text in lower case with hyphens |
//! | binary types | text in base64 |
//! | `date` | `"2024-02-29"` |
//! | `time` | `"12:34:56.1234567"`, without a fraction when that is zero |
//! | `datetime`, `datetime2`, `smalldatetime` | `"2024-02-29T12:34:56.123"`; no zone, since the server knows none |
//! | `datetimeoffset` | `"2024-02-29T12:34:56+01:00"` |
//! | `NULL` | null |
//!
//! The driver reads `money` as a floating-point number, so above 900 billion its last digits may be wrong.
//!
//! The other way, for parameters: null, booleans, numbers and text. The server converts text to dates, decimals and
//! identifiers by itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use surefoot_connector_api::CallError;
use tiberius::numeric::Numeric;
use tiberius::time::chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};
use tiberius::{ColumnData, ColumnType, FromSql, Row};

use crate::inputs::invalid;
use crate::sql::rows::{Unshowable, float, short_float};

/// The parameter that a JSON value stands for. `position` counts from 1, as `@P1` does.
pub(super) fn parameter(position: usize, value: &Value) -> Result<ColumnData<'static>, CallError> {
    Ok(match value {
        Value::Null => ColumnData::String(None),
        Value::Bool(value) => ColumnData::Bit(Some(*value)),
        Value::String(value) => ColumnData::String(Some(value.clone().into())),
        Value::Number(value) => match value.as_i64() {
            Some(value) => {
                i32::try_from(value).map_or(ColumnData::I64(Some(value)), |value| ColumnData::I32(Some(value)))
            }
            None if value.is_u64() => {
                return Err(invalid(format!("parameter {position} is too large for a bigint; pass it as text")));
            }
            None => ColumnData::F64(value.as_f64()),
        },
        Value::Array(_) | Value::Object(_) => {
            return Err(invalid(format!(
                "parameter {position} is a list or an object; parameters are null, booleans, numbers or text"
            )));
        }
    })
}

/// The values of a row, in order.
pub(super) fn of_row(row: &Row) -> impl Iterator<Item = Result<Value, Unshowable>> {
    row.cells().enumerate().map(|(index, (column, data))| value(index, column.column_type(), data))
}

fn value(index: usize, column_type: ColumnType, data: &ColumnData<'static>) -> Result<Value, Unshowable> {
    let unshowable = |why: String| Unshowable { column: index + 1, why };
    let failed = |error: tiberius::error::Error| unshowable(error.to_string());
    Ok(match data {
        ColumnData::U8(number) => Value::from(*number),
        ColumnData::I16(number) => Value::from(*number),
        ColumnData::I32(number) => Value::from(*number),
        ColumnData::I64(number) => Value::from(*number),
        ColumnData::Bit(bit) => Value::from(*bit),
        ColumnData::F32(None) | ColumnData::F64(None) => Value::Null,
        ColumnData::F64(Some(amount)) if matches!(column_type, ColumnType::Money | ColumnType::Money4) => {
            Value::from(format!("{amount:.4}"))
        }
        ColumnData::F64(Some(number)) => float(*number).map_err(unshowable)?,
        ColumnData::F32(Some(number)) => short_float(*number).map_err(unshowable)?,
        ColumnData::String(text) => text.as_deref().map_or(Value::Null, Value::from),
        ColumnData::Guid(guid) => guid.map_or(Value::Null, |guid| Value::from(guid.to_string())),
        ColumnData::Binary(bytes) => bytes.as_deref().map_or(Value::Null, |bytes| Value::from(STANDARD.encode(bytes))),
        ColumnData::Numeric(number) => number.map_or(Value::Null, |number| Value::from(decimal(number))),
        ColumnData::Xml(xml) => xml.as_deref().map_or(Value::Null, |xml| Value::from(xml.to_string())),
        ColumnData::Date(_) => {
            NaiveDate::from_sql(data).map_err(failed)?.map_or(Value::Null, |date| Value::from(date.to_string()))
        }
        ColumnData::Time(_) => {
            NaiveTime::from_sql(data).map_err(failed)?.map_or(Value::Null, |time| Value::from(clock(time)))
        }
        ColumnData::DateTime(Some(time)) => {
            let clock = clock_of_300ths(time.seconds_fragments());
            NaiveDateTime::from_sql(data)
                .map_err(failed)?
                .map_or(Value::Null, |time| Value::from(format!("{}T{clock}", time.date())))
        }
        ColumnData::DateTime(None) => Value::Null,
        ColumnData::SmallDateTime(_) | ColumnData::DateTime2(_) => {
            NaiveDateTime::from_sql(data).map_err(failed)?.map_or(Value::Null, |time| Value::from(date_and_time(time)))
        }
        ColumnData::DateTimeOffset(_) => DateTime::<FixedOffset>::from_sql(data)
            .map_err(failed)?
            .map_or(Value::Null, |time| Value::from(date_and_time(time.naive_local()) + &time.offset().to_string())),
    })
}

fn date_and_time(time: NaiveDateTime) -> String {
    format!("{}T{}", time.date(), clock(time.time()))
}

fn clock(time: NaiveTime) -> String {
    shortened(time.format("%H:%M:%S%.f").to_string())
}

/// A `datetime` counts in 300ths of a second and is shown in milliseconds: .003, .007, .010.
fn clock_of_300ths(count: u32) -> String {
    let milliseconds = (count * 20 + 3) / 6;
    let seconds = milliseconds / 1_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    shortened(format!("{hour:02}:{minute:02}:{second:02}.{:03}", milliseconds % 1_000))
}

/// Without the zeros at the end of a fraction, and without a fraction of zeros.
fn shortened(clock: String) -> String {
    if clock.contains('.') { clock.trim_end_matches('0').trim_end_matches('.').to_owned() } else { clock }
}

/// All digits of the scale, and no point when there are none.
fn decimal(number: Numeric) -> String {
    let scale = usize::from(number.scale());
    let digits = format!("{:0width$}", number.value().unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if number.value() < 0 { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use surefoot_connector_api::ErrorClass;
    use tiberius::Uuid;
    use tiberius::time::{Date, DateTime as SqlDateTime, DateTime2, DateTimeOffset, SmallDateTime, Time};

    fn shown(column_type: ColumnType, data: ColumnData<'static>) -> Value {
        value(0, column_type, &data).unwrap()
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(shown(ColumnType::Bitn, ColumnData::Bit(Some(true))), json!(true));
        assert_eq!(shown(ColumnType::Int1, ColumnData::U8(Some(200))), json!(200));
        assert_eq!(shown(ColumnType::Int8, ColumnData::I64(Some(i64::MAX))), json!(i64::MAX));
        assert_eq!(shown(ColumnType::Float4, ColumnData::F32(Some(1.1))), json!(1.1));
        assert_eq!(shown(ColumnType::Float8, ColumnData::F64(Some(-0.25))), json!(-0.25));
        assert_eq!(shown(ColumnType::Money, ColumnData::F64(Some(12.5))), json!("12.5000"));
        for (value, scale, text) in
            [(-1_999, 2, "-19.99"), (5, 4, "0.0005"), (-5, 1, "-0.5"), (42, 0, "42"), (100, 2, "1.00"), (0, 2, "0.00")]
        {
            let data = ColumnData::Numeric(Some(Numeric::new_with_scale(value, scale)));
            assert_eq!(shown(ColumnType::Decimaln, data), json!(text));
        }
    }

    #[test]
    fn a_float_that_json_lacks_is_an_error() {
        assert!(value(2, ColumnType::Float8, &ColumnData::F64(Some(f64::NAN))).is_err_and(|error| error.column == 3));
    }

    #[test]
    fn text_bytes_and_nothing() {
        assert_eq!(shown(ColumnType::NVarchar, ColumnData::String(Some("grüße".into()))), json!("grüße"));
        assert_eq!(shown(ColumnType::BigVarBin, ColumnData::Binary(Some(vec![0xDE, 0xAD].into()))), json!("3q0="));
        let guid = Uuid::parse_str("6F9619FF-8B86-D011-B42D-00C04FC964FF").unwrap();
        assert_eq!(
            shown(ColumnType::Guid, ColumnData::Guid(Some(guid))),
            json!("6f9619ff-8b86-d011-b42d-00c04fc964ff")
        );
        for nothing in [ColumnData::I32(None), ColumnData::String(None), ColumnData::Date(None), ColumnData::F32(None)]
        {
            assert_eq!(shown(ColumnType::Null, nothing), Value::Null);
        }
    }

    #[test]
    fn times_are_iso() {
        // Days since 0001-01-01 and tenths of microseconds since midnight; `datetime` counts from 1900-01-01.
        let date = Date::new(738_944);
        let time = Time::new(452_961_234_567, 7);
        assert_eq!(shown(ColumnType::Daten, ColumnData::Date(Some(date))), json!("2024-02-29"));
        assert_eq!(shown(ColumnType::Timen, ColumnData::Time(Some(time))), json!("12:34:56.1234567"));
        assert_eq!(
            shown(ColumnType::Datetime2, ColumnData::DateTime2(Some(DateTime2::new(date, Time::new(45_296, 0))))),
            json!("2024-02-29T12:34:56")
        );
        assert_eq!(
            shown(ColumnType::Datetimen, ColumnData::DateTime(Some(SqlDateTime::new(45_349, 301)))),
            json!("2024-02-29T00:00:01.003")
        );
        assert_eq!(
            shown(ColumnType::Datetime4, ColumnData::SmallDateTime(Some(SmallDateTime::new(45_349, 61)))),
            json!("2024-02-29T01:01:00")
        );
        let offset = DateTimeOffset::new(DateTime2::new(date, Time::new(0, 0)), 60);
        assert_eq!(
            shown(ColumnType::DatetimeOffsetn, ColumnData::DateTimeOffset(Some(offset))),
            json!("2024-02-29T01:00:00+01:00")
        );
    }

    #[test]
    fn parameters_keep_their_type() {
        assert_eq!(parameter(1, &json!(7)).unwrap(), ColumnData::I32(Some(7)));
        assert_eq!(parameter(1, &json!(1_i64 << 40)).unwrap(), ColumnData::I64(Some(1 << 40)));
        assert_eq!(parameter(1, &json!(1.5)).unwrap(), ColumnData::F64(Some(1.5)));
        assert_eq!(parameter(1, &json!(true)).unwrap(), ColumnData::Bit(Some(true)));
        assert_eq!(parameter(1, &json!("x")).unwrap(), ColumnData::String(Some("x".into())));
        assert_eq!(parameter(1, &Value::Null).unwrap(), ColumnData::String(None));
        for unusable in [json!(u64::MAX), json!([1]), json!({ "a": 1 })] {
            let error = parameter(2, &unusable).expect_err("unusable");
            assert_eq!(error.class, ErrorClass::InvalidInput);
            assert!(error.message.contains("parameter 2"), "{error}");
        }
    }
}
