//! What every command gets: where the workspace is, how to reach it, how to print.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::sync::OnceCell;

use crate::cli::Global;
use crate::client::Client;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::settings::{Effective, Flags, Settings, Sources};
use crate::workspace;

/// The data folder where nobody says otherwise.
const DATA_DEFAULT: &str = "./surefoot-data";

/// See the module.
pub(crate) struct Context {
    /// Writes data and talk.
    pub(crate) printer: Printer,
    data: Option<PathBuf>,
    server: Option<String>,
    token: Option<String>,
    client: OnceCell<Client>,
}

impl Context {
    /// From the options that all commands share.
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            printer: Printer::new(global.output),
            data: global.data.clone(),
            server: global.server.clone(),
            token: global.token.clone(),
            client: OnceCell::new(),
        }
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        let from_environment =
            || std::env::var_os("SUREFOOT_DATA").filter(|value| !value.is_empty()).map(PathBuf::from);
        self.data.clone().or_else(from_environment).unwrap_or_else(|| DATA_DEFAULT.into())
    }

    /// Every setting with its value and its source, with these options of the command line.
    ///
    /// # Errors
    /// When the settings file cannot be read, or has a key that does not exist.
    pub(crate) fn effective(&self, flags: &Flags) -> Result<Effective> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let chosen = flags.file().map(Path::to_owned).or_else(|| variable("SUREFOOT_CONFIG").map(PathBuf::from));
        let is_chosen = chosen.is_some();
        let file = chosen.unwrap_or_else(|| self.data().join("surefoot.toml"));
        Effective::load(&Sources { file: &file, is_chosen, flags, variable: &variable })
    }

    /// The settings, with these options of the command line.
    ///
    /// # Errors
    /// When one is wrong, or there is none of that name.
    pub(crate) fn settings(&self, flags: &Flags) -> Result<Settings> {
        self.effective(flags)?.settings()
    }

    /// The data folder of the command line, and of nothing else.
    #[cfg_attr(
        not(feature = "demo"),
        expect(dead_code, reason = "only the demo must not take over a workspace by default")
    )]
    pub(crate) fn data_option(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// The server of the command line or the environment.
    pub(crate) fn server_option(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// The way to the workspace, opened when it is first asked for.
    pub(crate) async fn client(&self) -> Result<&Client> {
        let settings = || self.settings(&Flags::default());
        let open = || Client::open(self.data(), settings, self.server.as_deref(), self.token.as_deref());
        self.client.get_or_try_init(open).await
    }

    /// The way to a workspace that is there already. Who only looks would make an empty one otherwise, where the data
    /// folder is mistyped, and find nothing in it.
    pub(crate) async fn existing(&self) -> Result<&Client> {
        let data = self.data();
        if self.client.get().is_none() && !workspace::is_there(&data) && self.server().await?.is_none() {
            let failure = Failure::usage(format!("there is no workspace at {}", data.display()));
            let hint = "Name its folder with --data; what is saved or deployed there makes a new one.";
            return Err(failure.hint(hint).into());
        }
        self.client().await
    }

    /// The way to the server, if one runs; the workspace is not opened.
    pub(crate) async fn server(&self) -> Result<Option<Client>> {
        Client::of_server(&self.data(), self.server.as_deref(), self.token.as_deref()).await
    }

    /// Leaves the workspace in order, if a command opened it.
    pub(crate) async fn close(self) -> Result<()> {
        match self.client.into_inner() {
            Some(client) => client.close().await,
            None => Ok(()),
        }
    }
}
