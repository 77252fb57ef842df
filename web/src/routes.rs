//! The one table of routes, and what is answered where there is none.

use axum::extract::{Request, State};
use axum::routing::{MethodRouter, any, delete, get, post, put};
use surefoot_engine::query::Kind;

use crate::app::App;
use crate::problem::Problem;
use crate::{connectors, executions, files, flows, health, records, system, webhooks};

/// A path template, and a handler for each of its methods.
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) handlers: MethodRouter<App>,
}

/// Every route that there is.
pub(crate) fn table() -> Vec<Route> {
    let mut table = vec![
        route("/healthz", get(health::health)),
        route("/api/latest/webhook/{name}/call", any(webhooks::call)),
        route("/api/latest/webhook/{name}/call/", any(webhooks::call)),
        route("/api/latest/webhook/{name}/call/{*path}", any(webhooks::call)),
        route("/api/v1/connector-types", get(connectors::types)),
        route("/api/v1/connectors/{key}/test", post(connectors::test)),
        route("/api/v1/executions/{id}/cancel", post(executions::cancel)),
        route("/api/v1/executions/{id}/journal", get(executions::journal)),
        route("/api/v1/executions/{id}/log", get(executions::log)),
        route("/api/v1/executions/{id}/pause", post(executions::pause)),
        route("/api/v1/executions/{id}/resume", post(executions::resume)),
        route("/api/v1/executions/{id}/signals/{name}", post(executions::signal)),
        route("/api/v1/executions/{id}/wait", get(executions::wait)),
        route("/api/v1/files/{name}/content", put(files::put).get(files::get)),
        route("/api/v1/flows/{key}/deploy", post(flows::deploy)),
        route("/api/v1/flows/{key}/run", post(flows::run)),
        route("/api/v1/flows/{key}/versions", get(flows::versions)),
        route("/api/v1/system", get(system::show)),
        route("/api/v1/system/backup", post(system::backup)),
        route("/api/v1/system/doctor", get(system::doctor)),
        route("/api/v1/system/resume-restored", post(system::resume_restored)),
        route("/api/v1/webhooks/{key}/key", post(webhooks::set_key)),
    ];
    table.extend(Kind::ALL.iter().flat_map(|(kind, ..)| routes_of_kind(*kind)));
    table
}

/// What every kind of record has. Executions are started, not saved; files are written through their content.
fn routes_of_kind(kind: Kind) -> Vec<Route> {
    let all = format!("/api/v1/{}s", kind.as_str());
    let one = format!("{all}/{{key}}");
    let list = get(move |app, query| records::list(kind, app, query));
    let mut handlers = match kind {
        Kind::Execution => get(executions::show),
        kind => get(move |app, key| records::show(kind, app, key)),
    }
    .merge(delete(move |app, key, query| records::delete(kind, app, key, query)));
    if !matches!(kind, Kind::Execution | Kind::File) {
        handlers = handlers.put(move |app, key, fields| records::save(kind, app, key, fields));
    }
    let restore = post(move |app, id| records::restore(kind, app, id));
    vec![route(format!("{one}/restore"), restore), route(one, handlers), route(all, list)]
}

fn route(path: impl Into<String>, handlers: MethodRouter<App>) -> Route {
    Route { path: path.into(), handlers }
}

/// Where there is no route: the ones that are near.
pub(crate) async fn not_found(State(app): State<App>, request: Request) -> Problem {
    let path = request.uri().path();
    let hint = match near(path, app.paths()).as_slice() {
        [] => "the API is under /api/v1: /api/v1/flows, /api/v1/executions, …".to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    Problem::not_found(format!("there is nothing at {path}")).hint(hint)
}

/// Where there is a route without that method. The router adds the header `Allow`.
pub(crate) async fn method_not_allowed(request: Request) -> Problem {
    let detail =
        format!("{} has no method {}; the header `Allow` names those it has", request.uri().path(), request.method());
    Problem::method_not_allowed(detail, None)
}

/// The templates that `path` may have meant: as many segments, few letters different, parameters aside.
fn near<'a>(path: &str, templates: &'a [String]) -> Vec<&'a str> {
    let given: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let mut near: Vec<(usize, &str)> = templates
        .iter()
        .filter_map(|template| {
            let wanted: Vec<&str> = template.split('/').collect();
            if wanted.len() != given.len() {
                return None;
            }
            let pairs = wanted.iter().zip(&given).filter(|(wanted, _)| !wanted.starts_with('{'));
            let distance = pairs.map(|(wanted, given)| strsim::damerau_levenshtein(wanted, given)).sum::<usize>();
            (distance <= 3).then_some((distance, template.as_str()))
        })
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, template)| template).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near_in_table(path: &str) -> Vec<String> {
        let paths: Vec<String> = table().into_iter().map(|route| route.path).collect();
        near(path, &paths).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn near_routes_are_named() {
        assert_eq!(near_in_table("/api/v1/flow"), ["/api/v1/flows", "/api/v1/files"]);
        assert_eq!(near_in_table("/api/v1/flows/hello/rnu"), ["/api/v1/flows/{key}/run"]);
        assert_eq!(near_in_table("/api/v1/flows/"), ["/api/v1/flows", "/api/v1/files"]);
        assert_eq!(near_in_table("/something/else"), [""; 0]);
    }

    /// The token is asked for under one prefix; whatever lies outside is open on purpose.
    #[test]
    fn only_health_and_webhooks_are_open() {
        let is_open = |path: &str| !path.starts_with(&format!("{}/", crate::access::API));
        let open: Vec<String> = table().into_iter().map(|route| route.path).filter(|path| is_open(path)).collect();
        assert!(open.iter().all(|path| path == "/healthz" || path.starts_with("/api/latest/webhook/")), "{open:?}");
        assert_eq!(open.len(), 4);
    }
}
