//! The options of `serve` and `config`, made from the table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::keys::{KEYS, Key, Shape};

/// The option that names the settings file.
const FILE: &str = "settings_file";

/// What the command line says.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    file: Option<PathBuf>,
    /// By the names of the keys.
    given: BTreeMap<&'static str, Vec<String>>,
}

impl Flags {
    /// The settings file.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What was given for a key; more than one of a list only.
    pub(super) fn of(&self, key: &Key) -> Option<&[String]> {
        self.given.get(key.name).map(Vec::as_slice)
    }

    #[cfg(test)]
    pub(super) fn with(given: &[(&'static str, &str)]) -> Self {
        let given = given.iter().map(|(name, value)| (*name, vec![(*value).to_owned()]));
        Self { file: None, given: given.collect() }
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE).long("config").value_name("FILE").value_parser(value_parser!(PathBuf));
        let file = file.help("Settings file [env: SUREFOOT_CONFIG=] [default: surefoot.toml in the data folder]");
        KEYS.iter().fold(command.arg(file), |command, key| command.arg(argument(key)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |key: &Key| Some(matches.get_many::<String>(key.name)?.cloned().collect());
        let given = KEYS.iter().filter_map(|key| Some((key.name, given(key)?))).collect();
        Ok(Self { file: matches.get_one::<PathBuf>(FILE).cloned(), given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let more = Self::from_arg_matches(matches)?;
        self.file = more.file.or(self.file.take());
        self.given.extend(more.given);
        Ok(())
    }
}

fn argument(key: &Key) -> Arg {
    let about = key.about.trim_end_matches('.');
    let default = match (key.shape, key.default) {
        (_, "" | "[]" | "false") => String::new(),
        (_, default) => format!(" [default: {}]", default.trim_matches('"')),
    };
    let argument = Arg::new(key.name).long(key.flag()).help_heading(format!("Settings: {}", key.parts().0));
    let argument = argument.help(format!("{about}{default}"));
    match key.shape {
        Shape::Text => argument.value_name("TEXT"),
        Shape::Number | Shape::Limit => argument.value_name("NUMBER"),
        Shape::List => argument.value_name("TEXT").action(ArgAction::Append).help(format!("{about}; may be repeated")),
        Shape::Switch => argument.value_name("BOOL").num_args(0..=1).require_equals(true).default_missing_value("true"),
    }
}
