//! What pages load: one style, one script, one picture, embedded in the binary. Their addresses have a digest of what
//! is in them, so that browsers keep them for ever.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::extract::InPath;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// Name, media type, content.
const ASSETS: [(&str, &str, &str); 3] = [
    ("surefoot.css", "text/css; charset=utf-8", include_str!("../../assets/surefoot.css")),
    ("surefoot.js", "text/javascript; charset=utf-8", include_str!("../../assets/surefoot.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

/// Of all of them together.
static DIGEST: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    for (_, _, content) in ASSETS {
        digest.update(content);
    }
    hex::encode(&digest.finalize()[..8])
});

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/assets/{digest}/{name}", show)]
}

/// The path of one of them.
pub(super) fn path(name: &str) -> String {
    format!("/assets/{}/{name}", *DIGEST)
}

/// A page of another version may ask for what this one has: it gets it, and may not keep it.
async fn show(InPath((digest, name)): InPath<(String, String)>) -> Answer<Response> {
    let found = ASSETS.iter().find(|(known, ..)| *known == name);
    let (_, media_type, content) = found.ok_or_else(|| Problem::not_found(format!("there is no asset `{name}`")))?;
    let cached = if digest == *DIGEST { "public, max-age=31536000, immutable" } else { "no-store" };
    Ok((StatusCode::OK, [(CONTENT_TYPE, *media_type), (CACHE_CONTROL, cached)], *content).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_script_stays_small() {
        let script = ASSETS.iter().find(|(name, ..)| *name == "surefoot.js").unwrap();
        assert!(script.2.lines().count() < 1000);
    }
}
