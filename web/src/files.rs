//! Contents of files, as streams in both directions.

use std::sync::Mutex;
use std::sync::PoisonError;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::Value;

use crate::app::App;
use crate::extract::{BodyCut, InPath, chunks};
use crate::problem::Answer;

/// `PUT /api/v1/files/NAME/content`: the body, of any length, becomes the file's content. A body that is cut changes
/// nothing.
pub(crate) async fn put(State(app): State<App>, InPath(name): InPath<String>, request: Request) -> Answer<Json<Value>> {
    // The engine cannot tell a body that the caller cut from a store that failed; the caller is told the difference.
    let cut: Mutex<Option<BodyCut>> = Mutex::new(None);
    let content = chunks(request.into_body()).inspect(|chunk| {
        if let Err(reason) = chunk {
            *cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(*reason);
        }
    });
    let stored = app.engine().put_file(&name, content, app.who()).await;
    match cut.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(reason) => Err(reason.into()),
        None => Ok(Json(stored?)),
    }
}

/// `GET /api/v1/files/NAME/content`: the bytes, never to be shown in place: files share the origin of the API.
pub(crate) async fn get(State(app): State<App>, InPath(name): InPath<String>) -> Answer<Response> {
    let (record, content) = app.engine().get_file(&name).await?;
    let name = record["name"].as_str().unwrap_or_default();
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, record["size_bytes"].as_u64().unwrap_or_default().to_string()),
        (CONTENT_DISPOSITION, format!("attachment; filename*=UTF-8''{}", percent_encoded(name))),
        (CONTENT_SECURITY_POLICY, "sandbox".to_owned()),
    ];
    Ok((headers, Body::from_stream(content)).into_response())
}

/// As RFC 8187 wants it in a header: everything but letters, digits, `-`, `.` and `_` in percent form.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'.' | b'_' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
