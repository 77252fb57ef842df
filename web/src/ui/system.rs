//! The server itself: what it is, how it does, what it stores. The plots show what it remembers of the last hour.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use surefoot_engine::{Distribution, Engine, Finding, Role, Severity, Storage};

use super::frame::{Frame, View, page};
use super::plot::{Bar, Bars};
use super::record::Done;
use super::words::{Size, Standing, Took};
use crate::app::App;
use crate::caller::InReach;
use crate::extract::InQuery;
use crate::metrics::history::{INTERVAL, SAMPLES_MAX, Sample};
use crate::operation::Operation;
use crate::problem::Answer;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page("/ui/system", show).workspace_role(Role::Viewer),
        Operation::page("/ui/system/doctor", examine).workspace_role(Role::Admin),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SystemQuery {
    /// `1`: what is stored is counted, which may take seconds.
    counted: Option<String>,
    #[serde(rename = "done")]
    _done: Option<String>,
}

#[derive(Template)]
#[template(path = "system.html")]
struct System {
    frame: Frame,
    version: &'static str,
    /// Whether it takes work, and why not.
    standing: Standing,
    trouble: Option<&'static str>,
    now: Sample,
    commits: Commits,
    plots: Vec<Bars>,
    span: Took,
    interval: Took,
    storage: Option<Storage>,
}

impl View for System {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// How long commits took.
struct Commits {
    count: u64,
    mean: Option<Took>,
    /// No more than one in a hundred took longer.
    most: Option<Took>,
}

impl Commits {
    fn of(commits: &Distribution) -> Self {
        let count = commits.count();
        let mean = (count > 0).then(|| Took(Duration::from_secs_f64(commits.sum / count as f64)));
        let most = commits.buckets.iter().find(|(_, within)| within * 100 >= count * 99).filter(|_| count > 0);
        let most = most.filter(|(end, _)| end.is_finite()).map(|(end, _)| Took(Duration::from_secs_f64(*end)));
        Self { count, mean, most }
    }
}

async fn show(
    State(app): State<App>,
    InReach(engine): InReach,
    frame: Frame,
    InQuery(query): InQuery<SystemQuery>,
) -> Answer<Response> {
    let now = Sample::take(&engine).await?;
    let mut samples = app.options().metrics.history();
    samples.push(now.clone());
    let storage = match query.counted.as_deref() {
        Some("1") => Some(engine.storage().await?),
        _ => None,
    };
    let trouble = super::overview::trouble(&app);
    Ok(page(&System {
        version: env!("CARGO_PKG_VERSION"),
        standing: Standing::of(if trouble.is_none() { "well" } else { "trouble" }),
        trouble,
        commits: Commits::of(&now.figures.commits),
        plots: plots(&samples),
        span: Took(INTERVAL * u32::try_from(SAMPLES_MAX).unwrap_or(u32::MAX)),
        interval: Took(INTERVAL),
        storage,
        now,
        frame,
    }))
}

const MIB: f64 = 1_048_576.0;

/// What the samples show: amounts as they were, counts as what came since the sample before.
fn plots(samples: &[Sample]) -> Vec<Bars> {
    let amounts = |title: &str, series: Vec<(&'static str, &'static str)>, unit, of: &dyn Fn(&Sample) -> Vec<f64>| {
        let bars = samples.iter().map(|sample| Bar { label: label(sample), values: of(sample) });
        Bars { title: title.to_owned(), series, bars: bars.collect(), unit }
    };
    let counts = |title: &str, series, unit, of: &dyn Fn(&Sample, &Sample) -> f64| {
        let bars = samples.windows(2).map(|pair| Bar { label: label(&pair[1]), values: vec![of(&pair[0], &pair[1])] });
        Bars { title: title.to_owned(), series: vec![series], bars: bars.collect(), unit }
    };
    let active = vec![("At work", "accent"), ("Waiting", "neutral"), ("Paused", "paused")];
    vec![
        amounts("Executions that have not ended", active, "", &|sample| {
            let states: [&[&str]; 3] = [&["runnable"], &["parked", "asleep"], &["paused"]];
            states.into_iter().map(|states| sample.active(states) as f64).collect()
        }),
        counts("Records written to journals, a second", ("Records", "accent"), "", &|before, after| {
            let written = after.figures.journal_records.saturating_sub(before.figures.journal_records);
            written as f64 / seconds(before, after)
        }),
        counts("A commit took, mean", ("Mean", "accent"), "ms", &|before, after| {
            let (before, after) = (&before.figures.commits, &after.figures.commits);
            match after.count().saturating_sub(before.count()) {
                0 => 0.0,
                count => (after.sum - before.sum).max(0.0) * 1e3 / count as f64,
            }
        }),
        amounts("Writes that waited for a commit", vec![("Writes", "accent")], "", &|sample| {
            vec![sample.figures.writes_queued as f64]
        }),
        amounts("Store", vec![("Database", "accent"), ("Its log", "neutral")], "MiB", &|sample| {
            vec![sample.figures.database_bytes as f64 / MIB, sample.figures.log_bytes as f64 / MIB]
        }),
        amounts("Memory of the server", vec![("Memory", "accent")], "MiB", &|sample| {
            vec![sample.memory_bytes.unwrap_or_default() as f64 / MIB]
        }),
    ]
}

fn seconds(before: &Sample, after: &Sample) -> f64 {
    after.at.since(before.at).as_secs_f64().max(0.001)
}

/// The minute and the second.
fn label(sample: &Sample) -> String {
    let at = sample.at.to_string();
    format!("{} UTC", at.get(11..19).unwrap_or_default())
}

#[derive(Template)]
#[template(path = "doctor.html")]
struct Doctor {
    frame: Frame,
    is_well: bool,
    findings: Vec<(Standing, Finding)>,
}

impl View for Doctor {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn examine(InReach(engine): InReach, frame: Frame, InQuery(_): InQuery<Done>) -> Answer<Response> {
    let examination = Engine::examine(&engine).await?;
    let is_well = examination.is_well();
    let standing = |finding: &Finding| {
        Standing::of(match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warn",
            Severity::Note => "note",
        })
    };
    let findings = examination.findings.into_iter().map(|finding| (standing(&finding), finding)).collect();
    Ok(page(&Doctor { frame, is_well, findings }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commits_took_is_told_by_the_histogram() {
        let commits = Distribution { buckets: vec![(0.001, 98), (0.01, 99), (f64::INFINITY, 100)], sum: 0.5 };
        let told = Commits::of(&commits);
        assert_eq!((told.count, told.mean), (100, Some(Took(Duration::from_millis(5)))));
        assert_eq!(told.most, Some(Took(Duration::from_millis(10))));
        let none = Commits::of(&Distribution { buckets: vec![(f64::INFINITY, 0)], sum: 0.0 });
        assert_eq!((none.count, none.mean, none.most), (0, None, None));
    }
}
