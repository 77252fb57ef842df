//! What calls and child flows come to: documents that the engine hands on and seldom looks into.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// A document: as it was made, or, from the journal, as the text that a guest gets.
#[derive(Clone, Debug)]
pub enum Output {
    /// As it was made.
    Value(Arc<Value>),
    /// As JSON text.
    Text(Arc<str>),
}

impl Output {
    /// As JSON text. It is the same for a document that was made just now and for the one that the journal has of it.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Value(value) => value.to_string().into(),
            Self::Text(text) => (&**text).into(),
        }
    }

    /// To be looked into.
    pub fn value(&self) -> Cow<'_, Value> {
        match self {
            Self::Value(value) => Cow::Borrowed(value),
            Self::Text(text) => Cow::Owned(serde_json::from_str(text).expect("it was written as JSON")),
        }
    }

    /// To be changed.
    pub(crate) fn value_mut(&mut self) -> &mut Value {
        if let Self::Text(_) = self {
            *self = self.value().into_owned().into();
        }
        match self {
            Self::Value(value) => Arc::make_mut(value),
            Self::Text(_) => unreachable!("it was read"),
        }
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::Text("null".into())
    }
}

impl From<Value> for Output {
    fn from(value: Value) -> Self {
        Self::Value(value.into())
    }
}

impl PartialEq for Output {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

/// Makes the text without making the document.
impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Vec::with_capacity(128);
        serde_transcode::transcode(deserializer, &mut serde_json::Serializer::new(&mut text))
            .map_err(de::Error::custom)?;
        Ok(Self::Text(String::from_utf8(text).map_err(de::Error::custom)?.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A flow may compute with the text.
    #[test]
    fn the_text_is_the_same_from_the_journal() {
        for value in [
            json!(null),
            json!([true, "", -1, u64::MAX, i64::MIN, 0.1, 1e300, -0.0, 5.0]),
            json!({"b": {"\u{0} \"ü\n": []}, "a": {}, "": "\u{2028}😀"}),
        ] {
            let made = Output::from(value.clone());
            let stored = rmp_serde::to_vec_named(&made).unwrap();
            let read: Output = rmp_serde::from_slice(&stored).unwrap();
            assert!(matches!(read, Output::Text(_)));
            assert_eq!(read.text(), made.text());
            assert_eq!(*read.value(), value);
            assert_eq!(rmp_serde::to_vec_named(&read).unwrap(), stored);
        }
    }
}
