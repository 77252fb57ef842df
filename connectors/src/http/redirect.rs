//! Where an answer sends us on to, and what may go along.

use hyper::header::{self, HeaderMap};
use hyper::{Method, StatusCode};
use surefoot_connector_api::ErrorClass;
use url::Url;

/// One request of the chain that a call makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) url: Url,
    /// Whether the body goes along.
    pub(super) with_body: bool,
    /// Whether this is still the host that the call named: only it gets the credentials.
    pub(super) trusted: bool,
}

impl Hop {
    /// The next request, if the answer is a redirect that names a place. A place where we do not go is an error.
    pub(super) fn next(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, (ErrorClass, &'static str)> {
        let Some(location) = headers.get(header::LOCATION).filter(|_| is_redirect(status)) else { return Ok(None) };
        let location = std::str::from_utf8(location.as_bytes()).ok().and_then(|text| self.url.join(text).ok());
        let Some(mut url) = location.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) else {
            return Err((ErrorClass::Protocol, "its place is no address of HTTP"));
        };
        if self.url.scheme() == "https" && url.scheme() == "http" {
            return Err((ErrorClass::Untrusted, "it leads from https to http; if that is right, call that address"));
        }
        // A user or password that the server writes into the address is not ours to send, and it stands in no error.
        if !url.username().is_empty() || url.password().is_some() {
            return Err((ErrorClass::Protocol, "its place holds a user or password"));
        }
        url.set_fragment(None);
        let method = method_after(status, &self.method);
        let with_body = self.with_body && method == self.method;
        let trusted = self.trusted && url.origin() == self.url.origin();
        Ok(Some(Self { method, url, with_body, trusted }))
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// As browsers and the fetch standard do it: what was posted is not posted again, unless the status says so.
fn method_after(status: StatusCode, method: &Method) -> Method {
    let becomes_get = match status.as_u16() {
        301 | 302 => *method == Method::POST,
        303 => *method != Method::HEAD,
        _ => false,
    };
    if becomes_get { Method::GET } else { method.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(method: Method, from: &str, status: u16, to: &str) -> Result<Option<Hop>, (ErrorClass, &'static str)> {
        let hop = Hop { method, url: Url::parse(from).expect("an address"), with_body: true, trusted: true };
        let headers = HeaderMap::from_iter([(header::LOCATION, to.parse().expect("a header"))]);
        hop.next(StatusCode::from_u16(status).expect("a status"), &headers)
    }

    #[test]
    fn the_method_follows_the_status() {
        for (status, method, then) in [
            (301, Method::POST, Method::GET),
            (302, Method::PUT, Method::PUT),
            (303, Method::PUT, Method::GET),
            (303, Method::HEAD, Method::HEAD),
            (307, Method::POST, Method::POST),
            (308, Method::PATCH, Method::PATCH),
        ] {
            let hop = next(method.clone(), "http://h/a", status, "/b").expect("a place").expect("a redirect");
            assert_eq!((&hop.method, hop.with_body), (&then, method == then), "{status} {method}");
            assert_eq!(hop.url.as_str(), "http://h/b");
        }
        for status in [200, 300, 304, 400] {
            assert_eq!(next(Method::GET, "http://h/a", status, "/b"), Ok(None), "{status}");
        }
    }

    #[test]
    fn credentials_stay_with_the_host_that_was_named() {
        for (to, trusted) in [
            ("b?c=d", true),
            ("https://h:443/b", true),
            ("//h/b", true),
            ("https://h:444/", false),
            ("https://other/", false),
            ("https://h.other/", false),
        ] {
            let hop = next(Method::GET, "https://h/a", 302, to).expect("a place").expect("a redirect");
            assert_eq!(hop.trusted, trusted, "{to}");
        }
        // Once lost, trust does not come back.
        let away = next(Method::GET, "https://h/a", 302, "https://other/").expect("a place").expect("a redirect");
        let headers = HeaderMap::from_iter([(header::LOCATION, "https://h/".parse().expect("a header"))]);
        assert!(!away.next(StatusCode::FOUND, &headers).expect("a place").expect("a redirect").trusted);
    }

    #[test]
    fn some_places_are_not_gone_to() {
        for (to, class) in [
            ("http://h/", ErrorClass::Untrusted),
            ("file:///etc/passwd", ErrorClass::Protocol),
            ("https://u:p@h/", ErrorClass::Protocol),
            ("https://", ErrorClass::Protocol),
        ] {
            assert_eq!(next(Method::GET, "https://h/a", 302, to).expect_err(to).0, class, "{to}");
        }
    }
}
