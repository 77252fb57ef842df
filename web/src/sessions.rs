//! Logging in and out, and who is logged in.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header::{SET_COOKIE, USER_AGENT};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use surefoot_engine::{Engine, Origin, Role, Session};

use crate::app::App;
use crate::caller::{Caller, Credential, InReach};
use crate::cookies;
use crate::extract::{InJson, InPath};
use crate::operation::{Needs, Operation};
use crate::peers::ClientAddress;
use crate::problem::{Answer, Problem};

/// Sessions, and what somebody does for themselves.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/api/v1/sessions", log_in)
            .summary("Log in; the session is a cookie")
            .body::<LoginBody>()
            .answers::<LoggedIn>(StatusCode::CREATED),
        Operation::get("/api/v1/sessions", list)
            .needs(Needs::Known)
            .summary("The newest sessions: one's own; an admin of the workspace sees those of all")
            .answers::<Sessions>(StatusCode::OK),
        Operation::delete("/api/v1/sessions/current", log_out)
            .needs(Needs::Known)
            .summary("Log out")
            .answers::<Ended>(StatusCode::OK),
        Operation::delete("/api/v1/sessions/{id}", end)
            .needs(Needs::Known)
            .summary("End a session: one's own; an admin of the workspace any")
            .answers::<Ended>(StatusCode::OK),
        Operation::delete("/api/v1/users/{key}/sessions", end_all)
            .workspace_role(Role::Admin)
            .summary("End all sessions of a user")
            .answers::<Ended>(StatusCode::OK),
        Operation::get("/api/v1/me", me)
            .needs(Needs::Known)
            .summary("Who asks, and what they may do")
            .answers::<Me>(StatusCode::OK),
        Operation::post("/api/v1/me/password", change_password)
            .needs(Needs::Known)
            .summary("Change one's own password; the other sessions end")
            .body::<PasswordBody>()
            .answers::<PasswordChanged>(StatusCode::OK),
    ]
}

/// A login.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginBody {
    name: String,
    password: String,
}

/// Who is logged in now.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct LoggedIn {
    session: Session,
    /// To be shown as header `X-CSRF-Token` with every request that is not a GET.
    csrf_token: String,
}

/// Sessions.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Sessions {
    rows: Vec<Session>,
}

/// Sessions that were ended.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Ended {
    /// How many.
    ended: usize,
}

async fn log_in(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    InJson(LoginBody { name, password }): InJson<LoginBody>,
) -> Answer<Response> {
    let (answer, cookie) = begin(&app, &headers, &extensions, &name, &password).await?;
    Ok((StatusCode::CREATED, [(SET_COOKIE, cookie)], Json(answer)).into_response())
}

/// Begins a session for who shows that password, with the header that gives it to the browser.
pub(crate) async fn begin(
    app: &App,
    headers: &HeaderMap,
    extensions: &Extensions,
    name: &str,
    password: &str,
) -> Answer<(LoggedIn, HeaderValue)> {
    let client = client(extensions);
    let user_agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let from = client.ip.map(|ip| ip.to_string()).unwrap_or_default();
    admit(app, name, client)?;
    let (user, password) = (name.to_owned(), password.to_owned());
    let origin = Origin { address: from.clone(), user_agent };
    let begin = |engine: Engine| async move { engine.log_in(&user, &password, origin).await };
    let Some((mut session, secret)) = app.complete(app.whole_engine().clone(), begin).await? else {
        if let Some(count) = app.throttle().failed(app.whole_engine().now()) {
            let name = name.to_owned();
            let note = |engine: Engine| async move { engine.note_failed_logins(&name, &from, count).await };
            app.complete(app.whole_engine().clone(), note).await?;
        }
        let problem = Problem::unauthorized("there is no such user, or the password is another one");
        return Err(problem.hint("an admin of this workspace can give you a link to set a new password"));
    };
    app.throttle().succeeded(name, client.ip);
    session.is_current = true;
    let cookie =
        cookies::given(&secret, headers, client.is_https).ok_or_else(|| Problem::internal(&"a secret is no header"))?;
    Ok((LoggedIn { session, csrf_token: cookies::csrf_token(&secret) }, cookie))
}

/// Lets somebody try a password, or says how long to wait.
fn admit(app: &App, name: &str, client: ClientAddress) -> Answer<()> {
    let admitted = app.throttle().admit(name, client.ip, app.whole_engine().now());
    admitted.map_err(|wait| Problem::too_often("there were too many logins that failed", wait))
}

async fn list(State(app): State<App>, caller: Caller) -> Answer<Json<Sessions>> {
    let rows = of_caller(&app, &caller, !is_admin(&caller)).await?;
    Ok(Json(Sessions { rows }))
}

/// The newest sessions: a caller's own, or those of all.
pub(crate) async fn of_caller(app: &App, caller: &Caller, own_alone: bool) -> Answer<Vec<Session>> {
    let own = caller.session();
    let user_id = match (own_alone, own) {
        (false, _) => None,
        (true, Some(session)) => Some(session.user_id()),
        (true, None) => return Err(only_sessions()),
    };
    let mut rows = app.whole_engine().sessions(user_id).await?;
    for row in &mut rows {
        row.is_current = own.is_some_and(|own| own.id == row.id);
    }
    Ok(rows)
}

async fn log_out(State(app): State<App>, caller: Caller) -> Answer<Response> {
    let (answer, cookie) = end_current(&app, &caller).await?;
    Ok(([(SET_COOKIE, cookie)], Json(answer)).into_response())
}

/// Ends the session by which the caller is known, with the header that takes it back from the browser.
pub(crate) async fn end_current(app: &App, caller: &Caller) -> Answer<(Ended, HeaderValue)> {
    let session = caller.session().ok_or_else(only_sessions)?;
    let (id, who) = (session.id.clone(), caller.who.clone());
    let end = |engine: Engine| async move { engine.end_session(&id, None, "logout", &who).await };
    let ended = app.complete(app.whole_engine().clone(), end).await?;
    Ok((Ended { ended: ended.into() }, cookies::taken_back()))
}

async fn end(State(app): State<App>, caller: Caller, InPath(id): InPath<String>) -> Answer<Json<Ended>> {
    let user_id = match (is_admin(&caller), caller.session()) {
        (true, _) => None,
        (false, Some(session)) => Some(session.user_id().to_owned()),
        (false, None) => return Err(only_sessions()),
    };
    let end =
        |engine: Engine| async move { engine.end_session(&id, user_id.as_deref(), "end_session", &caller.who).await };
    let ended = app.complete(app.whole_engine().clone(), end).await?;
    Ok(Json(Ended { ended: ended.into() }))
}

async fn end_all(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
) -> Answer<Json<Ended>> {
    let end = |engine: Engine| async move { engine.end_sessions(&key, &caller.who).await };
    Ok(Json(Ended { ended: app.complete(engine, end).await? }))
}

/// Who asks.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Me {
    /// As it stands in the audit log.
    who: String,
    /// By what they are known: `owner`, `file_token`, `token` or `session`.
    credential: &'static str,
    /// The role in the whole workspace.
    role: Option<String>,
    /// Roles in projects, by the id of the project.
    project_roles: BTreeMap<String, String>,
    /// Of a session: the id of the user.
    user_id: Option<String>,
    /// Of a session: the name of the user.
    user_name: Option<String>,
    /// Of a session: what to send as header `X-CSRF-Token` with every request that is not a GET.
    csrf_token: Option<String>,
}

async fn me(caller: Caller) -> Json<Me> {
    let Caller { who, rights, credential, .. } = &caller;
    let session = caller.session();
    Json(Me {
        who: who.clone(),
        credential: match credential {
            Credential::Owner => "owner",
            Credential::FileToken => "file_token",
            Credential::Token(_) => "token",
            Credential::Session(_) => "session",
        },
        role: rights.in_workspace().map(|role| role.to_string()),
        project_roles: rights.in_projects().map(|(id, role)| (id.to_owned(), role.to_string())).collect(),
        user_id: session.map(|session| session.user_id().to_owned()),
        user_name: session.map(|session| session.user_name().to_owned()),
        csrf_token: session.map(|session| session.csrf_token.clone()),
    })
}

/// A change of one's own password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    /// The present one.
    pub(crate) password: String,
    /// 12 characters or more.
    pub(crate) new_password: String,
}

/// A password that was changed.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct PasswordChanged {
    changed: bool,
}

/// The present password is tried like that of a login: who has found a session open does not get to guess it.
async fn change_password(
    State(app): State<App>,
    caller: Caller,
    extensions: Extensions,
    InJson(body): InJson<PasswordBody>,
) -> Answer<Json<PasswordChanged>> {
    change(&app, &caller, &extensions, body).await?;
    Ok(Json(PasswordChanged { changed: true }))
}

/// Changes a caller's own password.
pub(crate) async fn change(app: &App, caller: &Caller, extensions: &Extensions, body: PasswordBody) -> Answer<()> {
    let PasswordBody { password, new_password } = body;
    let session = caller.session().ok_or_else(only_sessions)?;
    let name = session.user_name();
    let client = client(extensions);
    admit(app, name, client)?;
    let (user_id, id) = (session.user_id().to_owned(), session.id.clone());
    let change =
        |engine: Engine| async move { engine.change_password(&user_id, &password, &new_password, Some(&id)).await };
    let changed = app.complete(app.whole_engine().clone(), change).await?;
    if !changed {
        return Err(Problem::forbidden("that is not your present password"));
    }
    app.throttle().succeeded(name, client.ip);
    Ok(())
}

fn client(extensions: &Extensions) -> ClientAddress {
    extensions.get().copied().unwrap_or_default()
}

fn is_admin(caller: &Caller) -> bool {
    caller.rights.in_workspace() == Some(Role::Admin)
}

fn only_sessions() -> Problem {
    Problem::forbidden("only who is logged in has a session").hint("log in: POST /api/v1/sessions")
}
