//! Log lines with fields, and the macros that write them.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{host, json_text};

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever writes the flow.
    Debug,
    /// What happened.
    Info,
    /// Not as it should be, but the flow goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line; what the macros end in.
#[doc(hidden)]
pub fn write_line<const N: usize>(level: Level, message: &str, fields: [(&str, Value); N]) {
    let fields: Map<String, Value> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    host::log(level, message, &Value::Object(fields).to_string());
}

/// A field's value, or the reason why it cannot be written.
#[doc(hidden)]
pub fn field_value<T: Serialize + ?Sized>(value: &T) -> Value {
    json_text::to_value_or_reason(value)
}

/// Logs a line for whoever writes the flow. See [`info!`](crate::info).
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::__log!($crate::Level::Debug, $($line)+) };
}

/// Logs a line: optional fields, a semicolon, and a text as for `format!`.
///
/// ```no_run
/// use surefoot::prelude::*;
///
/// let (file, rows) = ("orders.csv", 12);
/// info!("imported {rows} rows");
/// info!(file = file, rows = rows; "imported");
/// ```
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::__log!($crate::Level::Info, $($line)+) };
}

/// Logs a line about something that is not as it should be. See [`info!`](crate::info).
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::__log!($crate::Level::Warn, $($line)+) };
}

/// Logs a line about something that failed; the flow goes on. See [`info!`](crate::info).
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::__log!($crate::Level::Error, $($line)+) };
}

/// What the log macros share.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:expr, $($name:ident = $value:expr),+ ; $($text:tt)+) => {
        $crate::__private::write_line(
            $level,
            &::std::format!($($text)+),
            [$((::std::stringify!($name), $crate::__private::field_value(&$value))),+],
        )
    };
    ($level:expr, $($text:tt)+) => {
        $crate::__private::write_line($level, &::std::format!($($text)+), [])
    };
}
