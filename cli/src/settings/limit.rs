//! A limit that may be switched off: a number, or `false`.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// None: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<u64>);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrFalse;

        impl Visitor<'_> for NumberOrFalse {
            type Value = Limit;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number, or false to switch the limit off")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Limit, E> {
                match value {
                    true => Err(E::invalid_value(Unexpected::Bool(true), &self)),
                    false => Ok(Limit(None)),
                }
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Limit, E> {
                let number = u64::try_from(value);
                let wrong = |_| E::invalid_value(Unexpected::Signed(value), &self);
                number.map(|number| Limit(Some(number))).map_err(wrong)
            }
        }

        deserializer.deserialize_any(NumberOrFalse)
    }
}
