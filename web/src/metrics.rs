//! `GET /metrics`: what the engine and this crate have counted, as Prometheus reads it.

pub(crate) mod history;
mod process;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use surefoot_engine::{Engine, Figures, Histogram, Role};

use crate::app::App;
use crate::caller::InReach;
use crate::operation::Operation;
use crate::problem::Answer;
use history::{History, INTERVAL, Sample};
use text::{Family, Text};

/// The media type of Prometheus' text format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/metrics", show)
            .workspace_role(Role::Viewer)
            .summary("Figures of the server, in Prometheus' text format")
            .answers_bytes(StatusCode::OK, MEDIA_TYPE),
    ]
}

/// What is counted of requests. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Shared>);

/// By route, method and status, of each of which there are few.
type Requests = BTreeMap<(String, &'static str, u16), Arc<Histogram>>;

#[derive(Debug, Default)]
struct Shared {
    requests: Mutex<Requests>,
    in_flight: Arc<AtomicU64>,
    streams: Arc<AtomicU64>,
    history: History,
}

/// One of what is counted while it is there, until it is dropped.
pub(crate) struct Counted(Arc<AtomicU64>);

impl Counted {
    fn one_of(all: &Arc<AtomicU64>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Counts a request by the template of its route.
    pub(crate) fn answered(&self, method: &Method, route: &str, status: StatusCode, duration: Duration) {
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (route.to_owned(), method_name(method), status.as_u16());
        requests.entry(key).or_default().observe(duration);
    }

    /// Counts a request until its answer begins.
    pub(crate) fn request(&self) -> Counted {
        Counted::one_of(&self.0.in_flight)
    }

    /// Counts a stream of events as long as it is open.
    pub(crate) fn open_stream(&self) -> Counted {
        Counted::one_of(&self.0.streams)
    }

    /// Remembers how the engine stands, now and every 90 seconds, for the plots of the system page. Never returns; the
    /// server runs it beside its listeners.
    pub async fn remember(&self, engine: &Engine) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match Sample::take(engine).await {
                Ok(sample) => self.0.history.add(sample),
                Err(error) => tracing::debug!(%error, "the figures of the server could not be read"),
            }
        }
    }

    /// What was remembered, the oldest first.
    pub(crate) fn history(&self) -> Vec<Sample> {
        self.0.history.all()
    }

    fn write(&self, text: &mut Text) {
        let requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let about = "Requests by route, method and status, and how long their answers took to begin.";
        let mut family = text.family("surefoot_http_request_duration_seconds", "histogram", about);
        for ((route, method, status), histogram) in requests {
            let status = status.to_string();
            let labels = [("route", route.as_str()), ("method", method), ("status", status.as_str())];
            family.distribution(&labels, &histogram.distribution());
        }
        let count = |all: &AtomicU64| all.load(Ordering::Relaxed);
        let about = "Requests whose answers have not begun, this one included.";
        text.gauge("surefoot_http_requests_in_flight", about, count(&self.0.in_flight));
        text.gauge("surefoot_event_streams", "Streams of events that are open.", count(&self.0.streams));
    }
}

/// Callers make methods up, and their number must stay small.
fn method_name(method: &Method) -> &'static str {
    let known = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

async fn show(State(app): State<App>, InReach(engine): InReach) -> Answer<impl IntoResponse> {
    let figures = engine.figures().await?;
    let mut text = Text::default();
    let about = "The version that runs.";
    text.family("surefoot_build_info", "gauge", about).sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    of_engine(&mut text, &figures);
    app.options().metrics.write(&mut text);
    process::write(&mut text);
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], text.finish()))
}

fn of_engine(text: &mut Text, figures: &Figures) {
    let created = figures.executions_created;
    text.counter("surefoot_executions_created_total", "Executions ever created in this workspace.", created);
    let mut family = text.family("surefoot_executions_ended_total", "counter", "Executions that ended.");
    for ended in &figures.executions_ended {
        family.sample(&[("flow", &ended.flow), ("status", ended.status)], ended.count);
    }
    let mut family = text.family("surefoot_executions_active", "gauge", "Executions that have not ended, by state.");
    for (state, count) in &figures.executions_active {
        family.sample(&[("state", state)], count);
    }
    let in_memory = figures.executions_in_memory;
    text.gauge("surefoot_executions_in_memory", "Executions with an instance or a running call.", in_memory);
    let about = "Connector calls by type and outcome, and how long they took.";
    let mut family = text.family("surefoot_connector_call_duration_seconds", "histogram", about);
    for calls in &figures.calls {
        family.distribution(&[("connector", calls.connector), ("outcome", calls.outcome)], &calls.durations);
    }
    of_store(text, figures);
    let mut family = text.family("surefoot_schedule_run_lag_seconds", "histogram", "How late runs were started.");
    family.distribution(&[], &figures.schedule_runs);
    let about = "Runs of schedules that were skipped because another one was under way.";
    text.counter("surefoot_schedule_runs_skipped_total", about, figures.schedule_runs_skipped);
    let about = "How often a schedule came late and left out times that were missed.";
    text.counter("surefoot_schedule_rounds_late_total", about, figures.schedule_rounds_late);
    let about = "Times of schedules that have no run because nothing could run when they came.";
    text.counter("surefoot_schedule_times_missed_total", about, figures.schedule_times_missed);
}

fn of_store(text: &mut Text, figures: &Figures) {
    let mut commits: Family<'_> = text.family("surefoot_commit_duration_seconds", "histogram", "Commits of the store.");
    commits.distribution(&[], &figures.commits);
    text.counter("surefoot_writes_total", "Writes that were committed.", figures.writes);
    text.gauge("surefoot_writes_queued", "Writes that wait for a commit.", figures.writes_queued);
    let about = "Records of journals: steps of executions.";
    text.counter("surefoot_journal_records_total", about, figures.journal_records);
    text.counter("surefoot_journal_bytes_total", "Their size.", figures.journal_bytes);
    text.gauge("surefoot_database_bytes", "Size of the database's file.", figures.database_bytes);
    text.gauge("surefoot_database_log_bytes", "Size of the database's log.", figures.log_bytes);
    let about = "1 while nothing new is taken because a commit failed.";
    text.gauge("surefoot_degraded", about, u8::from(figures.is_degraded));
    text.gauge("surefoot_disk_full", "1 while the disk of the data folder is full.", u8::from(figures.is_disk_full));
}
