//! The address under which people reach the server, for links in what is sent to them.

use std::str::FromStr;

use axum::http::Uri;
use serde::Deserialize;
use surefoot_engine::Links;

use crate::approve;
use crate::ui;

/// An address such as `https://flows.example.com`, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicUrl {
    base: String,
    host: String,
}

/// What is no public address of a server.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no address such as https://flows.example.com")]
pub struct NoPublicUrl(String);

impl FromStr for PublicUrl {
    type Err = NoPublicUrl;

    fn from_str(text: &str) -> Result<Self, NoPublicUrl> {
        let wrong = || NoPublicUrl(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        match uri.scheme_str() {
            Some("http" | "https") if uri.query().is_none() && !text.contains('#') => {}
            _ => return Err(wrong()),
        }
        Ok(Self { base: text.trim_end_matches('/').to_owned(), host: authority.as_str().to_owned() })
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = NoPublicUrl;

    fn try_from(text: String) -> Result<Self, NoPublicUrl> {
        text.parse()
    }
}

impl PublicUrl {
    /// Host, and port if one is named.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What the links of notifications begin with.
    pub fn links(&self) -> Links {
        let Self { base, .. } = self;
        Links {
            execution: format!("{base}{}/executions/", ui::PATH),
            approval: format!("{base}{}/approvals/", ui::PATH),
            answer: format!("{base}{}", approve::PATH),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_server_is_told_from_others() {
        let url: PublicUrl = "https://flows.example.com:8443/surefoot/".parse().unwrap();
        assert_eq!(url.host(), "flows.example.com:8443");
        assert_eq!(url.links().execution, "https://flows.example.com:8443/surefoot/ui/executions/");
        assert_eq!(url.links().approval, "https://flows.example.com:8443/surefoot/ui/approvals/");
        assert_eq!(url.links().answer, "https://flows.example.com:8443/surefoot/approve/");
        for wrong in
            ["", "flows.example.com", "/approve", "ftp://x", "https://", "https://a@b", "https://b?x", "https://b#x"]
        {
            assert!(wrong.parse::<PublicUrl>().is_err(), "{wrong}");
        }
    }
}
