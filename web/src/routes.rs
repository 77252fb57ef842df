//! The one table of routes, and what is answered where there is none.

use axum::extract::{Request, State};

use crate::app::App;
use crate::operation::Operation;
use crate::problem::Problem;
use crate::{
    approvals, approve, bulk, connectors, events, executions, files, flows, health, metrics, notifications, openapi,
    records, schedules, sessions, settings, setup, system, tokens, ui, users, webhooks,
};

/// Everything that can be asked for.
pub(crate) fn operations() -> Vec<Operation> {
    [
        approvals::operations(),
        approve::operations(),
        bulk::operations(),
        connectors::operations(),
        events::operations(),
        executions::operations(),
        files::operations(),
        flows::operations(),
        health::operations(),
        metrics::operations(),
        notifications::operations(),
        openapi::operations(),
        records::operations(),
        schedules::operations(),
        sessions::operations(),
        settings::operations(),
        setup::operations(),
        system::operations(),
        tokens::operations(),
        ui::operations(),
        users::operations(),
        webhooks::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
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
    near.dedup();
    near.into_iter().take(3).map(|(_, template)| template).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::operation::Needs;

    fn near_in_table(path: &str) -> Vec<String> {
        let paths: Vec<String> = operations().into_iter().map(|operation| operation.path).collect();
        near(path, &paths).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn near_routes_are_named() {
        assert_eq!(near_in_table("/api/v1/flow"), ["/api/v1/flows", "/api/v1/files"]);
        assert_eq!(near_in_table("/api/v1/flows/hello/rnu"), ["/api/v1/flows/{key}/run"]);
        assert_eq!(near_in_table("/api/v1/flows/"), ["/api/v1/flows", "/api/v1/files"]);
        assert_eq!(near_in_table("/something/else"), [""; 0]);
    }

    /// Callers must be known under two prefixes; whatever lies outside is open on purpose, and nothing within but what
    /// somebody begins with.
    #[test]
    fn only_health_webhooks_and_what_one_begins_with_are_open() {
        let outside = |path: &str| {
            ["/", "/login", "/assets/{digest}/{name}", "/healthz", "/readyz", "/setup/{token}", "/approve/{token}"]
                .contains(&path)
                || path.starts_with("/api/latest/webhook/")
        };
        let begins = |operation: &Operation| {
            let is_named = ["/api/v1/sessions", "/api/v1/setup"].contains(&operation.path.as_str());
            is_named && operation.methods == [Method::POST]
        };
        for operation in operations() {
            let path = &operation.path;
            let is_open = outside(path) || begins(&operation);
            assert_eq!(operation.needs == Needs::Nothing, is_open, "{path}");
            assert_eq!(crate::access::is_guarded(path), !outside(path), "{path}");
        }
    }

    #[test]
    fn each_operation_is_described_once() {
        let mut seen = std::collections::BTreeSet::new();
        for operation in operations() {
            assert!(operation.is_page || !operation.summary.is_empty(), "{}", operation.path);
            for method in &operation.methods {
                assert!(seen.insert((operation.path.clone(), method.to_string())), "{method} {}", operation.path);
            }
        }
    }
}
