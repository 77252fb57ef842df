//! The workspace as a whole.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use surefoot_engine::{Examination, Manifest, Role, Storage};

use crate::Access;
use crate::app::App;
use crate::caller::InReach;
use crate::extract::InOptionalJson;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// What concerns the workspace as a whole.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/system", show)
            .workspace_role(Role::Viewer)
            .summary("What the workspace takes on the disk, what is in it, and for how long that is kept")
            .answers::<Storage>(StatusCode::OK),
        Operation::post("/api/v1/system/backup", backup)
            .workspace_role(Role::Admin)
            .summary("Make a backup; only for the workspace's owner, on the server's machine")
            .optional_body::<BackupBody>()
            .answers::<Backup>(StatusCode::OK),
        Operation::get("/api/v1/system/doctor", doctor)
            .workspace_role(Role::Admin)
            .summary("Look for damage, and for what is stuck; repairs nothing")
            .answers::<Examination>(StatusCode::OK),
        Operation::post("/api/v1/system/resume-restored", resume_restored)
            .workspace_role(Role::Admin)
            .summary("Let the executions go on that a restore paused")
            .answers::<Resumed>(StatusCode::OK),
    ]
}

/// A backup that was made.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Backup {
    /// The folder, on the server's machine.
    path: PathBuf,
    manifest: Manifest,
}

/// What goes on.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Resumed {
    /// How many executions.
    resumed: usize,
}

/// The body of a backup.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupBody {
    /// The folder to make, an absolute path on the server's machine; in the data folder when there is none.
    to: Option<PathBuf>,
}

/// Only for the owner of the workspace, in the same process or on its socket: a backup holds the workspace's key and
/// every secret, and `to` is a path on the server's machine. So it is neither streamed to who has a token, nor written
/// where they say.
async fn backup(
    State(app): State<App>,
    InReach(engine): InReach,
    InOptionalJson(body): InOptionalJson<BackupBody>,
) -> Answer<Json<Backup>> {
    if !matches!(app.options().access, Access::Local) {
        let hint = "run `surefoot backup` on the server's machine, with `--data` and without `--server`";
        return Err(
            Problem::forbidden("a backup holds every secret: only the workspace's owner can make one").hint(hint)
        );
    }
    let (path, manifest) = app.complete(engine, |engine| async move { engine.backup(body.to).await }).await?;
    Ok(Json(Backup { path, manifest }))
}

async fn resume_restored(State(app): State<App>, InReach(engine): InReach) -> Answer<Json<Resumed>> {
    let resumed = app.complete(engine, |engine| async move { engine.resume_restored().await }).await?;
    Ok(Json(Resumed { resumed }))
}

async fn doctor(InReach(engine): InReach) -> Answer<Json<Examination>> {
    Ok(Json(engine.examine().await?))
}

async fn show(InReach(engine): InReach) -> Answer<Json<Storage>> {
    Ok(Json(engine.storage().await?))
}
