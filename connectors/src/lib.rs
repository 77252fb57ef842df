//! The connector types. Each is one module and knows its protocol and nothing else; what they share is small and named.
//!
//! Invariant: a connector opens connections only through the dialer of its call, and sees no store.
//!
//! A new type is one module, one line in [`all`], and one test file against a real server.

pub mod echo;
pub mod ftp;
pub mod http;
pub mod mssql;
pub mod mysql;
pub mod postgres;
pub mod scp;
pub mod sftp;
pub mod smtp;
pub mod ssh;

pub(crate) mod inputs;
pub(crate) mod remote_files;
pub(crate) mod schema;
pub(crate) mod sql;
pub(crate) mod ssh_session;
pub(crate) mod tally;
pub(crate) mod tls;

use std::sync::Arc;

use surefoot_connector_api::Connector;

/// All connector types, by name.
pub fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(echo::Echo),
        Arc::new(ftp::Ftp),
        Arc::new(http::Http),
        Arc::new(mssql::Mssql),
        Arc::new(mysql::Mysql),
        Arc::new(postgres::Postgres),
        Arc::new(scp::Scp),
        Arc::new(sftp::Sftp),
        Arc::new(smtp::Smtp),
        Arc::new(ssh::Ssh),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_names_every_type() {
        let reference = include_str!("../../docs/reference/connectors.md");
        for connector in super::all() {
            let row = format!("| `{}` | ", connector.type_name());
            assert!(reference.contains(&row), "there is no {row}");
        }
    }
}
