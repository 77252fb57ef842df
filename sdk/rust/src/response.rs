//! What a webhook's caller gets.

use serde::Serialize;

use crate::error::Result;
use crate::json_text;

/// An answer for the caller of a webhook, for [`Execution::respond`](crate::Execution::respond).
///
/// ```
/// use surefoot::Response;
///
/// let response = Response::html(503, "<h1>Later, please</h1>").header("Retry-After", "60");
/// assert_eq!(response.headers[0], ("Content-Type".to_owned(), "text/html; charset=utf-8".to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a response is sent when it is given to `respond`"]
pub struct Response {
    /// The HTTP status, 200 to 599.
    pub status: u16,
    /// Names and values in the order in which they are sent; a name may occur more than once.
    pub headers: Vec<(String, String)>,
    /// The body as it is sent.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer without a body and without headers.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// An answer of plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status).content("text/plain; charset=utf-8", text.into())
    }

    /// An answer that a browser shows as a page.
    pub fn html(status: u16, html: impl Into<String>) -> Self {
        Self::new(status).content("text/html; charset=utf-8", html.into())
    }

    /// A JSON answer.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if the value cannot be written as JSON.
    pub fn json(status: u16, value: &impl Serialize) -> Result<Self> {
        Ok(Self::new(status).content("application/json", json_text::encode("the response", value)?))
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body and says of what type it is.
    pub fn content(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self.header("Content-Type", content_type) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_answers_say_so() {
        let response = Response::json(202, &json!({ "ok": true })).unwrap();
        assert_eq!(response.status, 202);
        assert_eq!(response.headers, [("Content-Type".to_owned(), "application/json".to_owned())]);
        assert_eq!(response.body, br#"{"ok":true}"#);
    }
}
