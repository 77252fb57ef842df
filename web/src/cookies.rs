//! The cookie of a session, and the token that goes with it against requests that other sites forge.

use axum::http::header::{COOKIE, FORWARDED};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

/// The name of the cookie.
pub(crate) const SESSION: &str = "surefoot_session";

/// The header that shows the token.
pub(crate) const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// The secret of the session that a request shows.
pub(crate) fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    let mut pairs = cookies.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == SESSION).map(|(_, value)| value)
}

/// The header that gives a browser the secret of a session. It is a cookie of the browser's session: how long it is
/// good is decided here and not there.
pub(crate) fn given(secret: &str, headers: &HeaderMap, is_https: bool) -> Option<HeaderValue> {
    let secure = if is_https || a_proxy_has_https(headers) { "; Secure" } else { "" };
    let text = format!("{SESSION}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).ok()
}

/// The header that takes it back.
pub(crate) fn taken_back() -> HeaderValue {
    const TAKEN: &str = "surefoot_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";
    HeaderValue::from_static(TAKEN)
}

/// The token of a session. It follows from the secret, and tells nothing of it.
pub(crate) fn csrf_token(secret: &str) -> String {
    let mut digest = Sha256::new_with_prefix("surefoot csrf ");
    digest.update(secret);
    hex::encode(digest.finalize())
}

/// Whether the browser speaks HTTPS to a proxy, trusted or not: who lies about that spoils their own cookie.
fn a_proxy_has_https(headers: &HeaderMap) -> bool {
    let says = |name: HeaderName, text: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| {
            let first = value.split(',').next().unwrap_or_default();
            first.split(';').any(|part| part.trim().eq_ignore_ascii_case(text))
        })
    };
    says(HeaderName::from_static("x-forwarded-proto"), "https") || says(FORWARDED, "proto=https")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        assert_eq!(session(&headers(&[("cookie", "a=b; surefoot_session=s; c=d")])), Some("s"));
        assert_eq!(session(&headers(&[("cookie", "xsurefoot_session=s")])), None);
        assert_eq!(session(&headers(&[])), None);
    }

    #[test]
    fn the_cookie_is_secure_where_the_browser_speaks_https() {
        let given = |pairs: &[_]| given("s", &headers(pairs), false).unwrap().to_str().unwrap().to_owned();
        assert_eq!(given(&[]), "surefoot_session=s; Path=/; HttpOnly; SameSite=Strict");
        for pair in [("x-forwarded-proto", "https"), ("forwarded", "for=1.2.3.4;proto=https, for=10.0.0.1")] {
            assert!(given(&[pair]).ends_with("; Secure"), "{pair:?}");
        }
        assert!(!given(&[("forwarded", "for=1.2.3.4;proto=http")]).ends_with("; Secure"));
    }

    #[test]
    fn tokens_follow_from_secrets() {
        assert_eq!(csrf_token("a"), csrf_token("a"));
        assert_ne!(csrf_token("a"), csrf_token("b"));
        assert_eq!(csrf_token("a").len(), 64);
    }
}
