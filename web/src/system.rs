//! The workspace as a whole.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::{Examination, Storage};

use crate::Access;
use crate::app::App;
use crate::extract::InOptionalJson;
use crate::problem::{Answer, Problem};

/// The body of a backup.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupBody {
    /// The folder to make, an absolute path on the server's machine; in the data folder when there is none.
    to: Option<PathBuf>,
}

/// `POST /api/v1/system/backup`: `{path, manifest}` once the backup is whole.
///
/// Only for the owner of the workspace, in the same process or on its socket: a backup holds the workspace's key and
/// every secret, and `to` is a path on the server's machine. So it is neither streamed to who has a token, nor written
/// where they say.
pub(crate) async fn backup(
    State(app): State<App>,
    InOptionalJson(body): InOptionalJson<BackupBody>,
) -> Answer<Json<Value>> {
    if !matches!(app.options().access, Access::Local) {
        let hint = "run `surefoot backup` on the server's machine, with `--data` and without `--server`";
        return Err(
            Problem::forbidden("a backup holds every secret: only the workspace's owner can make one").hint(hint)
        );
    }
    let (path, manifest) = app.complete(|engine| async move { engine.backup(body.to).await }).await?;
    Ok(Json(json!({ "path": path, "manifest": manifest })))
}

/// `POST /api/v1/system/resume-restored`: `{resumed}`, how many executions that a restore paused go on.
pub(crate) async fn resume_restored(State(app): State<App>) -> Answer<Json<Value>> {
    let resumed = app.complete(|engine| async move { engine.resume_restored().await }).await?;
    Ok(Json(json!({ "resumed": resumed })))
}

/// `GET /api/v1/system/doctor`: `{is_at_work, findings}`. Looks only; repairing is for a workspace that is not at work.
pub(crate) async fn doctor(State(app): State<App>) -> Answer<Json<Examination>> {
    Ok(Json(app.engine().examine().await?))
}

/// `GET /api/v1/system`: what the workspace takes on the disk, what is in it, and for how long that is kept.
pub(crate) async fn show(State(app): State<App>) -> Answer<Json<Storage>> {
    Ok(Json(app.engine().storage().await?))
}
