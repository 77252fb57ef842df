//! Files: what is stored, where it came from; uploading, downloading, deleting.

use askama::Template;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use multer::{Field, Multipart};
use serde_json::Value;
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role};

use super::filled::Filled;
use super::forms::{CSRF_FIELD, Fields, check_token};
use super::frame::{Frame, View, page, page_with};
use super::record::{self, Done, Names, done};
use super::table::{ListQuery, Listing};
use super::words::{Size, text};
use crate::caller::{Caller, InReach};
use crate::extract::{BodyCut, InPath, InQuery, chunks, percent_encoded, read_body};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

pub(super) fn operations() -> Vec<Operation> {
    let own = vec![
        Operation::page("/ui/files", list).role(Role::Viewer),
        Operation::page("/ui/files/new", ask_new).role(Role::Author),
        Operation::upload("/ui/files/new", upload).role(Role::Author),
        Operation::page("/ui/files/{key}", show).role(Role::Viewer),
    ];
    own.into_iter().chain(record::operations(Kind::File)).collect()
}

#[derive(Template)]
#[template(path = "files.html")]
struct Files {
    frame: Frame,
    list: Listing,
    names: Names,
}

impl View for Files {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::File, &query, None).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    Ok(page(&Files { frame, list, names }))
}

fn size(row: &Value) -> Size {
    Size(row["size_bytes"].as_u64().unwrap_or_default())
}

#[derive(Template)]
#[template(path = "file.html")]
struct File {
    frame: Frame,
    row: Value,
    names: Names,
    content: String,
}

impl View for File {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn show(
    InReach(engine): InReach,
    frame: Frame,
    InPath(key): InPath<String>,
    InQuery(_): InQuery<Done>,
) -> Answer<Response> {
    let row = engine.record(Kind::File, &key).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    let content = format!("/api/v1/files/{}/content", percent_encoded(text(&row, "id")));
    Ok(page(&File { frame, row, names, content }))
}

#[derive(Template)]
#[template(path = "file-upload.html")]
struct AskUpload {
    frame: Frame,
    projects: Vec<String>,
    filled: Filled,
}

impl View for AskUpload {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn ask_new(InReach(engine): InReach, frame: Frame) -> Answer<Response> {
    form(&engine, frame, Filled::default()).await
}

async fn form(engine: &Engine, frame: Frame, filled: Filled) -> Answer<Response> {
    let projects = Names::read(engine, &[Kind::Project]).await?.all(Kind::Project);
    let status = if filled.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok(page_with(status, &AskUpload { frame, projects, filled }))
}

/// Size of the fields before the content, bytes.
const FIELD_BYTES_MAX: usize = 4096;

/// A form with a file in it: the fields before it are few and short, its content may have any length.
async fn upload(InReach(engine): InReach, caller: Caller, frame: Frame, request: Request) -> Answer<Response> {
    let content_type = request.headers().get("content-type").and_then(|ty| ty.to_str().ok()).unwrap_or_default();
    let Ok(boundary) = multer::parse_boundary(content_type) else {
        let fields = Fields::parse(&read_body(request, FIELD_BYTES_MAX).await?);
        check_token(Some(&caller), fields.get(CSRF_FIELD).unwrap_or_default())?;
        return no_file(&engine, frame, Filled::sent(&fields)).await;
    };
    let mut form_data = Multipart::new(chunks(request.into_body()), boundary);
    let mut entered = Fields::default();
    let mut is_ours = false;
    while let Some(mut field) = form_data.next_field().await.map_err(|error| no_form(&error))? {
        match field.name().unwrap_or_default() {
            "content" => {
                if !is_ours {
                    check_token(Some(&caller), "")?;
                }
                return store(&engine, &caller, frame, &entered, field).await;
            }
            CSRF_FIELD => {
                check_token(Some(&caller), &text_of(&mut field).await?)?;
                is_ours = true;
            }
            name => {
                let name = name.to_owned();
                entered.push(name, text_of(&mut field).await?);
            }
        }
    }
    check_token(Some(&caller), if is_ours { &frame.csrf_token } else { "" })?;
    no_file(&engine, frame, Filled::sent(&entered)).await
}

async fn store(
    engine: &Engine,
    caller: &Caller,
    frame: Frame,
    entered: &Fields,
    field: Field<'static>,
) -> Answer<Response> {
    let mut filled = Filled::sent(entered);
    let name = entered.text("name").or(field.file_name().filter(|name| !name.is_empty())).map(str::to_owned);
    let Some(name) = name else { return no_file(engine, frame, filled).await };
    let project = entered.text("project_id").map(str::to_owned);
    let content = field.map(|chunk: Result<Bytes, multer::Error>| {
        chunk.map_err(|error| {
            tracing::debug!(%error, "the content of a form was cut");
            BodyCut::Broken
        })
    });
    match crate::files::store(engine, &name, project, content, &caller.who).await {
        Ok(row) => Ok(done(Kind::File, &row, "stored")),
        Err(problem) => {
            filled.refused(problem)?;
            form(engine, frame, filled).await
        }
    }
}

async fn no_file(engine: &Engine, frame: Frame, mut filled: Filled) -> Answer<Response> {
    filled.refuse("", "no file was chosen");
    form(engine, frame, filled).await
}

/// A short field.
async fn text_of(field: &mut Field<'static>) -> Answer<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| no_form(&error))? {
        if bytes.len() + chunk.len() > FIELD_BYTES_MAX {
            return Err(Problem::too_large(FIELD_BYTES_MAX));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| Problem::malformed("a field of the form is no text"))
}

fn no_form(error: &multer::Error) -> Problem {
    Problem::malformed(format!("the form cannot be read: {error}"))
}
