//! Between JSON and the types of MySQL and MariaDB.
//!
//! | MySQL, MariaDB | JSON |
//! |---|---|
//! | `TINYINT` to `BIGINT`, `YEAR` | number; beyond 2^53 some readers of JSON lose digits: `CAST` it to text |
//! | `BOOLEAN` | 1 or 0, since it is a `TINYINT` to the server |
//! | `FLOAT`, `DOUBLE` | number |
//! | `DECIMAL` | text with all digits of the scale, such as `"12.50"` |
//! | character types, `ENUM`, `SET` | text |
//! | `JSON` | MySQL: the value; MariaDB: text, since it is text to the server |
//! | `BINARY`, `VARBINARY`, `BLOB`s, `GEOMETRY` | text in base64 |
//! | `BIT` | number |
//! | `DATE` | `"2024-02-29"`; `"0000-00-00"` stays such |
//! | `TIME` | `"12:34:56.123456"`; a duration, so there is `"-100:00:00"` too |
//! | `DATETIME`, `TIMESTAMP` | `"2024-02-29T12:34:56.123456"`; no zone: a `TIMESTAMP` is in that of the session |
//! | `NULL` | null |
//!
//! The other way, for parameters: null, booleans, numbers and text; lists and objects as JSON text. The server converts
//! text to dates and decimals by itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::client::Column;
use super::errors::Failure;
use super::packet::{Bytes, put_value};
use crate::sql::rows::{Unshowable, float, short_float};

const DECIMAL: u8 = 0;
const TINY: u8 = 1;
const SHORT: u8 = 2;
const LONG: u8 = 3;
const FLOAT: u8 = 4;
const DOUBLE: u8 = 5;
const NOTHING: u8 = 6;
const TIMESTAMP: u8 = 7;
const LONG_LONG: u8 = 8;
const INT_24: u8 = 9;
const DATE: u8 = 10;
const TIME: u8 = 11;
const DATETIME: u8 = 12;
const YEAR: u8 = 13;
const BIT: u8 = 16;
const JSON: u8 = 245;
const NEW_DECIMAL: u8 = 246;
const VAR_STRING: u8 = 253;
const GEOMETRY: u8 = 255;
/// Beside the type of a parameter.
const UNSIGNED: u8 = 0x80;

/// Adds the parameters to a command: which are null, their types, the others' values.
pub(super) fn put_parameters(content: &mut Vec<u8>, params: &[Value]) {
    if params.is_empty() {
        return;
    }
    let nulls = content.len();
    content.resize(nulls + params.len().div_ceil(8), 0);
    for (index, _) in params.iter().enumerate().filter(|(_, value)| value.is_null()) {
        content[nulls + index / 8] |= 1 << (index % 8);
    }
    // The types follow.
    content.push(1);
    let mut values = Vec::new();
    for value in params {
        content.extend_from_slice(&put_parameter(&mut values, value));
    }
    content.append(&mut values);
}

/// Adds one value, and gives its type and sign.
fn put_parameter(values: &mut Vec<u8>, value: &Value) -> [u8; 2] {
    match value {
        Value::Null => [NOTHING, 0],
        Value::Bool(value) => {
            values.push((*value).into());
            [TINY, 0]
        }
        Value::Number(number) => {
            if let Some(number) = number.as_i64() {
                values.extend_from_slice(&number.to_le_bytes());
                [LONG_LONG, 0]
            } else if let Some(number) = number.as_u64() {
                values.extend_from_slice(&number.to_le_bytes());
                [LONG_LONG, UNSIGNED]
            } else {
                values.extend_from_slice(&number.as_f64().unwrap_or_default().to_le_bytes());
                [DOUBLE, 0]
            }
        }
        Value::String(text) => {
            put_value(values, text.as_bytes());
            [VAR_STRING, 0]
        }
        Value::Array(_) | Value::Object(_) => {
            put_value(values, value.to_string().as_bytes());
            [VAR_STRING, 0]
        }
    }
}

/// The values of a row of a prepared statement, in order.
pub(super) fn of_row(columns: &[Column], row: &[u8]) -> Result<Vec<Result<Value, Unshowable>>, Failure> {
    let mut bytes = Bytes::new(row);
    bytes.u8()?;
    // The first two bits stand for nothing.
    let nulls = bytes.take((columns.len() + 2).div_ceil(8))?;
    let mut values = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        let bit = index + 2;
        let is_null = nulls[bit / 8] & 1 << (bit % 8) != 0;
        let value = if is_null { Ok(Value::Null) } else { value(column, &mut bytes)? };
        values.push(value.map_err(|why| Unshowable { column: index + 1, why }));
    }
    Ok(values)
}

/// A value; or why JSON cannot say it; or that it is not formed as it should be, and nothing after it can be read.
fn value(column: &Column, bytes: &mut Bytes<'_>) -> Result<Result<Value, String>, Failure> {
    Ok(Ok(match column.kind {
        TINY => integer(column, bytes.array::<1>()?),
        SHORT | YEAR => integer(column, bytes.array::<2>()?),
        LONG | INT_24 => integer(column, bytes.array::<4>()?),
        LONG_LONG => integer(column, bytes.array::<8>()?),
        FLOAT => return Ok(short_float(f32::from_le_bytes(bytes.array()?))),
        DOUBLE => return Ok(float(f64::from_le_bytes(bytes.array()?))),
        NOTHING => Value::Null,
        DATE => Value::from(date_and_time(bytes)?.0),
        DATETIME | TIMESTAMP => {
            let (date, clock) = date_and_time(bytes)?;
            Value::from(format!("{date}T{clock}"))
        }
        TIME => Value::from(duration(bytes)?),
        BIT => match bytes.value()? {
            bits if bits.len() <= 8 => Value::from(bits.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte))),
            _ => return Ok(Err("more bits than a number has".into())),
        },
        JSON => return Ok(json(bytes.value()?)),
        DECIMAL | NEW_DECIMAL => return Ok(text(bytes.value()?)),
        GEOMETRY => Value::from(STANDARD.encode(bytes.value()?)),
        _ if column.binary => Value::from(STANDARD.encode(bytes.value()?)),
        _ => return Ok(text(bytes.value()?)),
    }))
}

/// A number of `N` bytes, with or without a sign.
fn integer<const N: usize>(column: &Column, bytes: [u8; N]) -> Value {
    let negative = !column.unsigned && bytes[N - 1] & 0x80 != 0;
    let mut all = if negative { [0xFF; 8] } else { [0; 8] };
    all[..N].copy_from_slice(&bytes);
    if negative { Value::from(i64::from_le_bytes(all)) } else { Value::from(u64::from_le_bytes(all)) }
}

fn text(bytes: &[u8]) -> Result<Value, String> {
    std::str::from_utf8(bytes).map(Value::from).map_err(|_| "not valid UTF-8; cast it to binary".into())
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("{error}; cast it to text"))
}

/// Date and clock; parts that are zero are not sent.
fn date_and_time(bytes: &mut Bytes<'_>) -> Result<(String, String), Failure> {
    let length = bytes.u8()?;
    let mut bytes = Bytes::new(bytes.take(length.into())?);
    let (year, [month, day]) = if length >= 4 { (bytes.u16()?, bytes.array()?) } else { (0, [0, 0]) };
    let [hour, minute, second] = if length >= 7 { bytes.array()? } else { [0; 3] };
    let microseconds = if length >= 11 { bytes.u32()? } else { 0 };
    let clock = format!("{hour:02}:{minute:02}:{second:02}{}", fraction(microseconds));
    Ok((format!("{year:04}-{month:02}-{day:02}"), clock))
}

fn duration(bytes: &mut Bytes<'_>) -> Result<String, Failure> {
    let length = bytes.u8()?;
    let mut bytes = Bytes::new(bytes.take(length.into())?);
    let (negative, days) = if length >= 8 { (bytes.u8()?, bytes.u32()?) } else { (0, 0) };
    let [hour, minute, second] = if length >= 8 { bytes.array()? } else { [0; 3] };
    let microseconds = if length >= 12 { bytes.u32()? } else { 0 };
    let sign = if negative == 0 { "" } else { "-" };
    let hours = u64::from(days) * 24 + u64::from(hour);
    Ok(format!("{sign}{hours:02}:{minute:02}:{second:02}{}", fraction(microseconds)))
}

/// Millionths with a point before them, or nothing.
fn fraction(microseconds: u32) -> String {
    if microseconds == 0 { String::new() } else { format!(".{microseconds:06}").trim_end_matches('0').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn column(kind: u8, unsigned: bool) -> Column {
        Column { name: "a".into(), kind, unsigned, binary: false }
    }

    fn shown(column: &Column, bytes: &[u8]) -> Value {
        value(column, &mut Bytes::new(bytes)).unwrap().unwrap()
    }

    #[test]
    fn integers_have_their_sign() {
        assert_eq!(shown(&column(TINY, false), &[0xFF]), json!(-1));
        assert_eq!(shown(&column(TINY, true), &[0xFF]), json!(255));
        assert_eq!(shown(&column(SHORT, false), &[0x00, 0x80]), json!(-32_768));
        assert_eq!(shown(&column(LONG_LONG, true), &[0xFF; 8]), json!(u64::MAX));
    }

    #[test]
    fn times_without_parts_are_zero() {
        assert_eq!(shown(&column(DATE, false), &[0]), json!("0000-00-00"));
        assert_eq!(shown(&column(DATETIME, false), &[4, 0xE8, 7, 2, 29]), json!("2024-02-29T00:00:00"));
        assert_eq!(shown(&column(TIME, false), &[0]), json!("00:00:00"));
        assert_eq!(shown(&column(TIME, false), &[8, 1, 4, 0, 0, 0, 4, 0, 0]), json!("-100:00:00"));
    }

    #[test]
    fn json_is_read_and_bits_are_numbers() {
        assert_eq!(shown(&column(JSON, false), b"\x08{\"a\":[]}"), json!({ "a": [] }));
        assert_eq!(shown(&column(BIT, false), &[2, 1, 2]), json!(258));
        assert!(value(&column(BIT, false), &mut Bytes::new(&[9; 10])).unwrap().is_err());
    }

    #[test]
    fn what_is_cut_is_an_error_and_no_panic() {
        for kind in 0..=255 {
            if kind != NOTHING {
                assert!(value(&column(kind, false), &mut Bytes::new(&[])).is_err(), "{kind}");
            }
        }
        assert!(of_row(&[column(LONG, false)], &[0]).is_err());
        for bytes in [&[3, 1, 2, 3][..], &[5, 1, 2, 3, 4, 5], &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            for kind in [DATE, DATETIME, TIME] {
                assert!(value(&column(kind, false), &mut Bytes::new(bytes)).is_ok(), "{kind} {bytes:?}");
            }
        }
    }

    #[test]
    fn parameters_have_types_and_nulls() {
        let mut content = Vec::new();
        put_parameters(&mut content, &[json!(null), json!(true), json!(-2), json!(u64::MAX), json!(1.5), json!([1])]);
        assert_eq!(content[..2], [0b1, 1]);
        assert_eq!(content[2..14], [NOTHING, 0, TINY, 0, LONG_LONG, 0, LONG_LONG, UNSIGNED, DOUBLE, 0, VAR_STRING, 0]);
        assert_eq!(content[14], 1);
        assert!(content.ends_with(b"\x03[1]"));
    }
}
