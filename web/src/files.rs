//! Contents of files, as streams in both directions.

use std::sync::Mutex;
use std::sync::PoisonError;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role};

use crate::caller::{Caller, InReach};
use crate::extract::{BodyCut, InPath, InQuery, chunks, percent_encoded};
use crate::openapi;
use crate::operation::{ANY_BYTES, Operation};
use crate::problem::Answer;

/// The contents of files.
pub(crate) fn operations() -> Vec<Operation> {
    let path = "/api/v1/files/{name}/content";
    vec![
        Operation::put(path, put)
            .role(Role::Author)
            .summary("Store a file; a body that is cut changes nothing")
            .query::<PutQuery>()
            .bytes_body(ANY_BYTES)
            .answers_of(StatusCode::OK, || openapi::record_reference(Kind::File)),
        Operation::get(path, get)
            .role(Role::Viewer)
            .summary("Read a file; what comes is what was stored, or the answer is cut")
            .answers_bytes(StatusCode::OK, ANY_BYTES),
    ]
}

/// The query of a file that is stored.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutQuery {
    /// Name or id of the project that it is in from now on; without one it stays where it is.
    project: Option<String>,
}

/// The body may have any length.
async fn put(
    InReach(engine): InReach,
    caller: Caller,
    InPath(name): InPath<String>,
    InQuery(PutQuery { project }): InQuery<PutQuery>,
    request: Request,
) -> Answer<Json<Value>> {
    store(&engine, &name, project, chunks(request.into_body()), &caller.who).await.map(Json)
}

/// Stores a file of which the content comes from a caller; its record.
pub(crate) async fn store(
    engine: &Engine,
    name: &str,
    project: Option<String>,
    content: impl Stream<Item = Result<Bytes, BodyCut>> + Send,
    who: &str,
) -> Answer<Value> {
    // The engine cannot tell a body that the caller cut from a store that failed; the caller is told the difference.
    let cut: Mutex<Option<BodyCut>> = Mutex::new(None);
    let content = content.inspect(|chunk| {
        if let Err(reason) = chunk {
            *cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(*reason);
        }
    });
    let stored = engine.put_file_in(name, project, content, who).await;
    match cut.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(reason) => Err(reason.into()),
        None => Ok(stored?),
    }
}

/// The bytes are never to be shown in place: files share the origin of the API.
async fn get(InReach(engine): InReach, InPath(name): InPath<String>) -> Answer<Response> {
    let (record, content) = engine.get_file(&name).await?;
    let name = record["name"].as_str().unwrap_or_default();
    let headers = [
        (CONTENT_TYPE, ANY_BYTES.to_owned()),
        (CONTENT_LENGTH, record["size_bytes"].as_u64().unwrap_or_default().to_string()),
        (CONTENT_DISPOSITION, format!("attachment; filename*=UTF-8''{}", percent_encoded(name))),
        (CONTENT_SECURITY_POLICY, "sandbox".to_owned()),
    ];
    Ok((headers, Body::from_stream(content)).into_response())
}
