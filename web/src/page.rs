//! Pages behind links that are good once: plain HTML, one style, no script. Everything that comes from outside is
//! escaped.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The type of a page.
pub(crate) const HTML: &str = "text/html; charset=utf-8";

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:0 auto;padding:2rem 1rem}\
h1{font-size:1.3rem;white-space:pre-wrap;overflow-wrap:anywhere}\
.field label,.check{display:block;margin-top:1rem}\
label{font-weight:600}\
.wrong{display:block;font-weight:600}\
small{display:block;font-weight:400}\
input,select,textarea,button{font:inherit;padding:.5rem;margin-top:.25rem;width:100%;box-sizing:border-box}\
input[type=checkbox]{width:auto;margin-right:.5rem}\
button{margin-top:1.5rem;width:auto;padding:.5rem 1.5rem}\
.problem{border-left:.25rem solid;padding-left:1rem;font-weight:600}";

/// What a page may load and do: its one style, and a form that goes back to where it came from.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("it is plain ASCII")
});

/// A page: its heading is text, its body HTML.
pub(crate) fn page(status: StatusCode, heading: &str, body: &str) -> Response {
    let heading = escaped(heading);
    let title = heading.lines().next().unwrap_or_default();
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><main><h1>{heading}</h1>{body}</main></body></html>"
    );
    let mut response = (status, [(CONTENT_TYPE, HTML)], html).into_response();
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    private(response)
}

/// With the headers that keep an address that is a secret from others.
pub(crate) fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Text for HTML, also between quotes.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            sign => escaped.push(sign),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escaped(r#"<b a="1" c='2'>&"#), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;");
    }
}
