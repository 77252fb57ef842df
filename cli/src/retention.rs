//! The table `[retention]` of the settings file.

use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use surefoot_engine::Retention;

/// What is kept of what has ended. A key that is missing has its default; `false` switches a limit off.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Executions that ended longer ago go to the trash.
    age_days: Option<Limit>,
    /// When more have ended, the oldest go to the trash.
    executions_max: Option<Limit>,
    /// When the database holds more, bytes, the oldest are deleted for good.
    bytes_max: Option<Limit>,
    /// What was put into the trash longer ago is deleted for good.
    trash_age_days: Option<Limit>,
}

impl Settings {
    /// As the engine takes it.
    pub(crate) fn retention(&self) -> Retention {
        let defaults = Retention::default();
        let number = |limit: &Option<Limit>, default| limit.as_ref().map_or(default, |limit| limit.0);
        let days = |limit: &Option<Limit>, default| match limit {
            Some(limit) => limit.0.map(|days| Duration::from_secs(days.saturating_mul(24 * 60 * 60))),
            None => default,
        };
        Retention {
            age: days(&self.age_days, defaults.age),
            executions_max: number(&self.executions_max, defaults.executions_max),
            bytes_max: number(&self.bytes_max, defaults.bytes_max),
            trash_age: days(&self.trash_age_days, defaults.trash_age),
            ..defaults
        }
    }
}

/// A number, or none for `false`.
#[derive(Debug)]
struct Limit(Option<u64>);

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
                    true => Err(E::invalid_value(serde::de::Unexpected::Bool(true), &self)),
                    false => Ok(Limit(None)),
                }
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Limit, E> {
                let number = u64::try_from(value);
                let wrong = |_| E::invalid_value(serde::de::Unexpected::Signed(value), &self);
                number.map(|number| Limit(Some(number))).map_err(wrong)
            }
        }

        deserializer.deserialize_any(NumberOrFalse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Retention, toml::de::Error> {
        toml::from_str::<Settings>(text).map(|settings| settings.retention())
    }

    #[test]
    fn limits_are_numbers_or_switched_off() {
        assert_eq!(read("").unwrap(), Retention::default());
        let retention = read("age_days = 2\nexecutions_max = 10\nbytes_max = false\ntrash_age_days = 0\n").unwrap();
        assert_eq!(retention.age, Some(Duration::from_secs(2 * 86_400)));
        assert_eq!((retention.executions_max, retention.bytes_max), (Some(10), None));
        assert_eq!(retention.trash_age, Some(Duration::ZERO));
        for wrong in ["age_days = true", "age_days = -1", "age_days = \"1d\"", "executions_max = 0.5", "age = 1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
