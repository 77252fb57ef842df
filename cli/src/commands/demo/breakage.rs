//! What the demo can break: the seven things that the flow tests, each in the simplest way.

use anyhow::Result;
use clap::ValueEnum;
use serde_json::json;
use surefoot_fixtures::Targets;

use crate::client::Client;

/// One of them, in the order in which the flow tests them, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Breakable {
    /// The FTP server is down; the copy to the remote host has nothing to copy then
    Ftp,
    /// The remote host is down
    Scp,
    /// The database server is down
    Mssql,
    /// The mail server is down
    Smtp,
    /// The self-built scheduler fails
    Scheduler,
    /// The first critical flow fails
    #[value(name = "flow-1")]
    Flow1,
    /// The second critical flow fails
    #[value(name = "flow-2")]
    Flow2,
    /// All of these
    All,
}

impl Breakable {
    /// As it is written on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Scp => "scp",
            Self::Mssql => "mssql",
            Self::Smtp => "smtp",
            Self::Scheduler => "scheduler",
            Self::Flow1 => "flow-1",
            Self::Flow2 => "flow-2",
            Self::All => "all",
        }
    }
}

/// Each one once, in the flow's order.
pub(super) fn all_of(wanted: &[Breakable]) -> Vec<Breakable> {
    let is_wanted = |one: &Breakable| wanted.contains(one) || wanted.contains(&Breakable::All);
    Breakable::value_variants().iter().copied().filter(|one| *one != Breakable::All && is_wanted(one)).collect()
}

/// Breaks what is wanted: systems are stopped, flows read in their settings that they are to fail.
pub(super) async fn apply(wanted: &[Breakable], targets: &Targets, client: &Client) -> Result<()> {
    for one in all_of(wanted) {
        match one {
            Breakable::Scheduler => set_broken(client, "my-test-setting").await?,
            Breakable::Flow1 => set_broken(client, "my-critical-flow-1").await?,
            Breakable::Flow2 => set_broken(client, "my-critical-flow-2").await?,
            system => targets.break_system(system.name()).await?,
        }
    }
    Ok(())
}

async fn set_broken(client: &Client, setting: &str) -> Result<()> {
    client.save("settings", setting, json!({ "value": { "broken": true } })).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_each_once_and_in_order() {
        assert_eq!(all_of(&[Breakable::All, Breakable::Ftp]).len(), 7);
        assert_eq!(all_of(&[Breakable::Smtp, Breakable::Ftp, Breakable::Smtp]), [Breakable::Ftp, Breakable::Smtp]);
        assert!(all_of(&[]).is_empty());
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for one in Breakable::value_variants() {
            assert_eq!(one.to_possible_value().unwrap().get_name(), one.name());
        }
    }
}
