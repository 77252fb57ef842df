//! From the types of PostgreSQL to JSON.
//!
//! | PostgreSQL | JSON |
//! |---|---|
//! | `bool` | true or false |
//! | `int2`, `int4`, `int8`, `oid` | number; beyond 2^53 some readers of JSON lose digits: cast such a value to text |
//! | `float4`, `float8` | number; NaN and the infinities are an error |
//! | `numeric` | text with all digits of the scale, such as `"12.50"` |
//! | character types, enumerations, `xml`, `citext` | text |
//! | `json`, `jsonb` | the value; numbers beyond 64 bits lose digits |
//! | `uuid` | text in lower case with hyphens |
//! | `bytea` | text in base64 |
//! | `date` | `"2024-02-29"` |
//! | `time`, `timetz` | `"12:34:56.123456"`, `"12:34:56+01:00"` |
//! | `timestamp` | `"2024-02-29T12:34:56.123456"`; no zone, since the server knows none |
//! | `timestamptz` | `"2024-02-29T11:34:56.123456Z"` |
//! | `interval` | `"P1Y2M3DT4H5M6.5S"` |
//! | `inet`, `cidr`, `macaddr`, `bit`, `varbit` | text |
//! | arrays | list, of lists where there are several dimensions |
//! | domains | what they are made of |
//! | `void`, `NULL` | null |
//!
//! `infinity` and `-infinity` stay such in dates and times. Other types are an error that says to cast to text.

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::{DateTime, date};
use jiff::{SignedDuration, ToSpan};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Kind, Type};

use super::numeric;
use crate::sql::rows::{Unshowable, float, short_float};

/// How many dimensions an array has at most.
const DIMENSIONS_MAX: i32 = 6;
/// How many bytes an item of an array has at least.
const ITEM_BYTES_MIN: i64 = 4;
const MICROSECONDS_OF_DAY: i64 = 86_400_000_000;

/// The values of a row, in order.
pub(super) fn of_row(row: &Row) -> impl Iterator<Item = Result<Value, Unshowable>> {
    (0..row.len()).map(|index| match row.try_get::<_, Shown>(index) {
        Ok(shown) => shown.0.map_err(|why| Unshowable { column: index + 1, why }),
        Err(error) => Err(Unshowable { column: index + 1, why: error.to_string() }),
    })
}

/// What domains over domains are made of.
pub(super) fn without_domains(mut kind: &Type) -> &Type {
    while let Kind::Domain(inner) = kind.kind() {
        kind = inner;
    }
    kind
}

/// A value, or why it has none in JSON.
struct Shown(Result<Value, String>);

impl<'a> FromSql<'a> for Shown {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(value(kind, raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Ok(Value::Null)))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn value(kind: &Type, raw: &[u8]) -> Result<Value, String> {
    let kind = without_domains(kind);
    let mut bytes = Bytes::new(raw);
    Ok(match *kind {
        Type::BOOL => Value::from(bytes.array::<1>()? != [0]),
        Type::INT2 => Value::from(bytes.i16()?),
        Type::INT4 => Value::from(bytes.i32()?),
        Type::INT8 => Value::from(bytes.i64()?),
        Type::OID | Type::XID => Value::from(bytes.u32()?),
        Type::FLOAT4 => short_float(f32::from_be_bytes(bytes.array()?))?,
        Type::FLOAT8 => float(f64::from_be_bytes(bytes.array()?))?,
        Type::NUMERIC => Value::from(numeric::text(&mut bytes)?),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR | Type::UNKNOWN | Type::XML => text(raw)?,
        Type::JSON => json(raw)?,
        Type::JSONB => json(raw.strip_prefix(&[1]).ok_or("an unknown version of jsonb; cast it to text")?)?,
        Type::UUID => Value::from(uuid(bytes.array()?)),
        Type::BYTEA => Value::from(STANDARD.encode(raw)),
        Type::DATE => match bytes.i32()? {
            i32::MAX => Value::from("infinity"),
            i32::MIN => Value::from("-infinity"),
            days => shown(date(2000, 1, 1).checked_add(i64::from(days).days()))?,
        },
        Type::TIME => Value::from(clock(bytes.i64()?)?),
        Type::TIMETZ => Value::from(clock(bytes.i64()?)? + &offset(bytes.i32()?)),
        Type::TIMESTAMP => timestamp(bytes.i64()?, "")?,
        Type::TIMESTAMPTZ => timestamp(bytes.i64()?, "Z")?,
        Type::INTERVAL => Value::from(interval(bytes.i64()?, bytes.i32()?, bytes.i32()?)),
        Type::INET | Type::CIDR => Value::from(network(&mut bytes)?),
        Type::MACADDR => Value::from(raw.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")),
        Type::BIT | Type::VARBIT => Value::from(bits(&mut bytes)?),
        Type::VOID => Value::Null,
        _ => match kind.kind() {
            Kind::Enum(_) => text(raw)?,
            Kind::Array(element) => array(element, &mut bytes)?,
            _ if kind.name() == "citext" => text(raw)?,
            _ => return Err(format!("its type is {kind}; cast it to text")),
        },
    })
}

fn text(raw: &[u8]) -> Result<Value, String> {
    std::str::from_utf8(raw).map(Value::from).map_err(|_| "not valid UTF-8".into())
}

fn json(raw: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(raw).map_err(|error| format!("{error}; cast it to text"))
}

fn uuid(bytes: [u8; 16]) -> String {
    let digits = hex::encode(bytes);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

fn shown(time: Result<impl ToString, jiff::Error>) -> Result<Value, String> {
    time.map(|time| Value::from(time.to_string())).map_err(|_| "a year beyond 9999; cast it to text".into())
}

/// Microseconds since the beginning of 2000.
fn timestamp(microseconds: i64, zone: &str) -> Result<Value, String> {
    let start = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
    match microseconds {
        i64::MAX => Ok(Value::from("infinity")),
        i64::MIN => Ok(Value::from("-infinity")),
        _ => {
            let time = start.checked_add(SignedDuration::from_micros(microseconds));
            shown(time.map(|time| format!("{time}{zone}")))
        }
    }
}

/// Microseconds since midnight; a day may end at 24:00:00.
fn clock(microseconds: i64) -> Result<String, String> {
    if !(0..=MICROSECONDS_OF_DAY).contains(&microseconds) {
        return Err("no time of a day".into());
    }
    let seconds = microseconds / 1_000_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    Ok(format!("{hour:02}:{minute:02}:{second:02}{}", fraction(microseconds % 1_000_000)))
}

/// Millionths with a point before them, or nothing.
fn fraction(microseconds: i64) -> String {
    if microseconds == 0 { String::new() } else { format!(".{microseconds:06}").trim_end_matches('0').to_owned() }
}

/// Seconds west of Greenwich, as the server counts them.
fn offset(west: i32) -> String {
    let (sign, seconds) = (if west > 0 { '-' } else { '+' }, west.unsigned_abs());
    let rest = if seconds % 60 == 0 { String::new() } else { format!(":{:02}", seconds % 60) };
    format!("{sign}{:02}:{:02}{rest}", seconds / 3_600, seconds / 60 % 60)
}

/// A duration of ISO 8601. Each part has a sign of its own, as in the server's output of that style.
fn interval(microseconds: i64, days: i32, months: i32) -> String {
    let part = |number: i64, unit: char| if number == 0 { String::new() } else { format!("{number}{unit}") };
    let (seconds, rest) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let minus = if microseconds < 0 { "-" } else { "" };
    let last = if seconds % 60 == 0 && rest == 0 {
        String::new()
    } else {
        format!("{minus}{}{}S", (seconds % 60).abs(), fraction(rest.abs()))
    };
    let clock = part(seconds / 3_600, 'H') + &part(seconds / 60 % 60, 'M') + &last;
    let days = part((months / 12).into(), 'Y') + &part((months % 12).into(), 'M') + &part(days.into(), 'D');
    match (days.is_empty(), clock.is_empty()) {
        (true, true) => "PT0S".into(),
        (_, true) => format!("P{days}"),
        _ => format!("P{days}T{clock}"),
    }
}

fn network(bytes: &mut Bytes<'_>) -> Result<String, String> {
    let [_family, prefix, is_cidr, length] = bytes.array()?;
    let (address, full) = match length {
        4 => (Ipv4Addr::from(bytes.array::<4>()?).to_string(), 32),
        16 => (Ipv6Addr::from(bytes.array::<16>()?).to_string(), 128),
        _ => return Err("an unknown kind of address; cast it to text".into()),
    };
    Ok(if is_cidr == 0 && prefix == full { address } else { format!("{address}/{prefix}") })
}

fn bits(bytes: &mut Bytes<'_>) -> Result<String, String> {
    let count = usize::try_from(bytes.i32()?).map_err(|_| "a negative length")?;
    let all: String = bytes.0.iter().map(|byte| format!("{byte:08b}")).collect();
    all.get(..count).map(str::to_owned).ok_or_else(|| "a cut value".into())
}

fn array(element: &Type, bytes: &mut Bytes<'_>) -> Result<Value, String> {
    let dimensions = bytes.i32()?;
    let (_has_nulls, _element) = (bytes.i32()?, bytes.u32()?);
    if !(0..=DIMENSIONS_MAX).contains(&dimensions) {
        return Err("an array of too many dimensions".into());
    }
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        lengths.push(bytes.i32()?);
        let _first_index = bytes.i32()?;
    }
    let count = lengths.iter().try_fold(1_i64, |count, length| count.checked_mul((*length).into()));
    match count {
        _ if lengths.is_empty() => Ok(Value::Array(Vec::new())),
        Some(count) if (1..=bytes.0.len() as i64 / ITEM_BYTES_MIN).contains(&count) => items(element, &lengths, bytes),
        _ => Err("a cut value".into()),
    }
}

fn items(element: &Type, lengths: &[i32], bytes: &mut Bytes<'_>) -> Result<Value, String> {
    let Some((length, inner)) = lengths.split_first() else {
        let length = bytes.i32()?;
        return match usize::try_from(length) {
            Ok(length) => value(element, bytes.take(length)?),
            Err(_) => Ok(Value::Null),
        };
    };
    let mut list = Vec::new();
    for _ in 0..*length {
        list.push(items(element, inner, bytes)?);
    }
    Ok(Value::Array(list))
}

/// What is left of a value.
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn new(raw: &'a [u8]) -> Self {
        Self(raw)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("a cut value")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("a cut value")?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, String> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, String> {
        self.array().map(i32::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn intervals_are_durations() {
        for (microseconds, days, months, text) in [
            (14_706_500_000, 3, 14, "P1Y2M3DT4H5M6.5S"),
            (0, 0, 0, "PT0S"),
            (0, 5, 0, "P5D"),
            (-500_000, 0, 0, "PT-0.5S"),
            (-3_661_000_000, 0, -1, "P-1MT-1H-1M-1S"),
        ] {
            assert_eq!(interval(microseconds, days, months), text);
        }
    }

    #[test]
    fn offsets_are_east_of_greenwich() {
        assert_eq!(
            [offset(-3_600), offset(0), offset(12_600), offset(-1)],
            ["+01:00", "+00:00", "-03:30", "+00:00:01"]
        );
    }

    #[test]
    fn what_ends_too_early_is_an_error_and_no_panic() {
        for kind in [
            Type::BOOL,
            Type::INT4,
            Type::INT8,
            Type::NUMERIC,
            Type::JSONB,
            Type::UUID,
            Type::DATE,
            Type::TIMESTAMPTZ,
            Type::INTERVAL,
            Type::INET,
            Type::VARBIT,
            Type::INT4_ARRAY,
        ] {
            assert!(value(&kind, &[]).is_err(), "{kind}");
        }
        // Two billion items are claimed, or as many lists of nothing; none is there.
        let many = [i32::MAX.to_be_bytes(), 1_i32.to_be_bytes()].concat();
        let one = [&1_i32.to_be_bytes()[..], &[0; 8], &many].concat();
        let two = [&2_i32.to_be_bytes()[..], &[0; 8], &many, &[0; 8]].concat();
        assert!(value(&Type::INT4_ARRAY, &one).is_err() && value(&Type::INT4_ARRAY, &two).is_err());
    }

    #[test]
    fn a_type_without_a_form_in_json_says_what_to_do() {
        let error = value(&Type::POINT, &[0; 16]).expect_err("no such type in JSON");
        assert!(error.contains("point") && error.contains("cast it to text"), "{error}");
        assert_eq!(value(&Type::VOID, &[]), Ok(json!(null)));
    }
}
