//! What a server takes up while it runs, when it is told to: what of the settings file holds without a restart, and the
//! files of its certificate.

use anyhow::Result;
use surefoot_connector_api::EgressPolicy;

use crate::context::Context;
use crate::logging;
use crate::server::Server;
use crate::settings::{Effective, Flags};

/// See the module.
pub(crate) struct Reload<'a> {
    context: &'a Context,
    flags: &'a Flags,
    /// What the server goes by.
    effective: Effective,
}

impl<'a> Reload<'a> {
    /// Of a server that was started just now with these options.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub(crate) fn new(context: &'a Context, flags: &'a Flags) -> Result<Self> {
        Ok(Self { context, flags, effective: context.effective(flags)? })
    }

    /// Reads everything anew, and says in the log what holds from now on and what does from the next start on.
    ///
    /// # Errors
    /// When something is wrong; nothing is changed then.
    pub(crate) fn all(&mut self, server: &Server) -> Result<()> {
        let read = self.context.effective(self.flags)?;
        let settings = read.settings()?;
        // The one that can fail comes first.
        server.reload_tls(&settings)?;
        server.engine().set_egress(EgressPolicy { allow: settings.egress.allow.clone() });
        server.engine().set_retention(settings.retention.of_engine());
        logging::set_level(settings.log)?;
        let holds = |table: &str| table != "tls" || server.has_tls() == settings.tls.certificate.is_some();
        let changes = self.effective.take_over(read, holds);
        for change in &changes {
            let (key, before, now) = (change.key, &change.before, &change.now);
            match change.holds {
                true => tracing::info!(key, %before, %now, "a setting has changed"),
                false => tracing::warn!(key, %before, %now, "a setting has changed that takes a restart"),
            }
        }
        tracing::info!(changes = changes.len(), "the settings were read anew");
        Ok(())
    }
}
