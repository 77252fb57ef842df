//! Paths of the API, with every part percent-encoded: names may hold slashes and anything else.

use std::fmt::{self, Write as _};

/// The path and query of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    text: String,
    has_query: bool,
}

impl Path {
    /// A path of the API below `/api/v1`.
    pub(crate) fn api<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::below("/api/v1", parts)
    }

    /// A path below a fixed one.
    pub(crate) fn below<'a>(base: &str, parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut text = base.to_owned();
        for part in parts {
            text.push('/');
            encode(&mut text, part);
        }
        Self { text, has_query: false }
    }

    /// With a parameter of the query.
    #[must_use]
    pub(crate) fn query(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        encode(&mut self.text, name);
        self.text.push('=');
        encode(&mut self.text, &value.to_string());
        self
    }

    /// With a parameter of the query, where there is a value.
    #[must_use]
    pub(crate) fn query_if(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// As it stands in a request.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Appends `part` with everything encoded but the unreserved characters of RFC 3986.
fn encode(text: &mut String, part: &str) {
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            _ => write!(text, "%{byte:02X}").expect("a string takes everything"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_parameters_are_encoded() {
        let path = Path::api(["files", "my/test file.txt", "content"]);
        assert_eq!(path.as_str(), "/api/v1/files/my%2Ftest%20file.txt/content");
        let path =
            Path::api(["flows"]).query("filter", r#"{"a":1}"#).query_if("limit", Some(2)).query_if("order", None::<u8>);
        assert_eq!(path.as_str(), "/api/v1/flows?filter=%7B%22a%22%3A1%7D&limit=2");
    }
}
