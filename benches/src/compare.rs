//! `surefoot-bench load`: loads several servers in turn with the same calls, and says how they compare. For the peers:
//! each is set up by a script, and loaded from here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::load::{self, Target, Until};
use crate::machine::Machine;
use crate::pairs::median;
use crate::report::{Figure, Report};
use crate::scale::Scale;

#[derive(Args)]
pub(crate) struct Arguments {
    /// A server: its name, the address to post to, the JSON to post. The first is compared with each of the others
    #[arg(long, required = true, num_args = 3, value_names = ["NAME", "URL", "JSON"])]
    target: Vec<String>,
    /// Callers at one time, each on a connection of its own
    #[arg(long, default_value_t = 32)]
    callers: u64,
    /// How long one server is loaded in one round
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often the servers take turns
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What one server did, round by round.
#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    medians: Vec<f64>,
    highs: Vec<f64>,
    processors: Vec<f64>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.rounds > 0 && arguments.callers > 0, "at least one round and one caller are needed");
    let lasting = Duration::try_from_secs_f64(arguments.seconds)?;
    let servers: Vec<(&str, Target)> = arguments
        .target
        .chunks_exact(3)
        .map(|words| Ok((words[0].as_str(), Target::new(&words[1], words[2].clone())?)))
        .collect::<Result<_>>()?;
    let mut report = Report::new(Machine::look_at(&std::env::temp_dir())?, Scale::Full, arguments.rounds);
    report.print_head();
    for (_, target) in &servers {
        // Once, not counted: what is compiled or cached at the first call is not the question.
        load::call(target, arguments.callers, Until::Calls(arguments.callers)).await?;
    }
    let mut rounds: BTreeMap<&str, Rounds> = BTreeMap::new();
    for round in 0..arguments.rounds {
        let first = round % servers.len();
        for (name, target) in servers[first..].iter().chain(&servers[..first]) {
            let load = load::call(target, arguments.callers, Until::Elapsed(lasting)).await?;
            let of = rounds.entry(name).or_default();
            of.rates.push(load.rate());
            of.medians.push(load.latency(50.0));
            of.highs.push(load.latency(99.0));
            of.processors.push(load.processors());
        }
    }
    report.add(figures(&servers, &rounds));
    report.print_table();
    arguments.json.as_ref().map_or(Ok(()), |path| report.write_json(path))
}

fn figures(servers: &[(&str, Target)], rounds: &BTreeMap<&str, Rounds>) -> Vec<Figure> {
    let own = &rounds[servers[0].0].rates;
    let mut figures = Vec::new();
    for (name, _) in servers {
        let of = &rounds[name];
        let processors = format!("load generator: {:.2} processors", median(&of.processors));
        figures.push(Figure::new(format!("{name}-executions"), median(&of.rates), "/s").note(processors));
        figures.push(Figure::new(format!("{name}-p50"), median(&of.medians), "ms"));
        figures.push(Figure::new(format!("{name}-p99"), median(&of.highs), "ms"));
    }
    for (name, _) in &servers[1..] {
        let ratios: Vec<f64> = own.iter().zip(&rounds[name].rates).map(|(own, other)| own / other).collect();
        figures.push(Figure::new(format!("{}-by-{name}", servers[0].0), median(&ratios), "×"));
    }
    figures
}
