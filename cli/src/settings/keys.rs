//! The table of everything that a server can be told. One entry a key; nothing about a key stands elsewhere but the
//! field that takes its value, in [`Settings`](super::Settings).

use std::fmt;

/// How the value of a key is written in text: in an option or a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Any text.
    Text,
    /// Texts: the option is repeated, the variable has commas.
    List,
    /// A whole number.
    Number,
    /// A whole number, or `false` for none.
    Limit,
    /// `true` or `false`; the option alone means `true`.
    Switch,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::List => "list of texts",
            Self::Number => "number",
            Self::Limit => "number or false",
            Self::Switch => "true or false",
        })
    }
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// `table.key` of the file.
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// As it would stand in the file; empty where there is none.
    pub(crate) default: &'static str,
    /// The option's name, where it does not follow from the key's.
    pub(super) flag: Option<&'static str>,
    /// One sentence, with the unit where the name has none.
    pub(crate) about: &'static str,
    /// Whether the value is shown nowhere.
    pub(crate) is_secret: bool,
    /// Whether another value holds when a running server is told to read its settings anew.
    pub(crate) is_live: bool,
}

const fn key(name: &'static str, shape: Shape, default: &'static str, about: &'static str) -> Key {
    Key { name, shape, default, flag: None, about, is_secret: false, is_live: false }
}

const fn live(key: Key) -> Key {
    Key { is_live: true, ..key }
}

const fn flagged(flag: &'static str, key: Key) -> Key {
    Key { flag: Some(flag), ..key }
}

/// Every key, table by table.
#[rustfmt::skip]
pub(crate) const KEYS: &[Key] = &[
    key("server.listen", Shape::Text, "\"127.0.0.1:7070\"",
        "Address and port to listen on; port 0 takes a free one."),
    flagged("allow-host", key("server.hosts", Shape::List, "[]",
        "Names under which callers reach the server, beside localhost: example.com, or with the only port.")),
    key("server.public_url", Shape::Text, "",
        "Address under which people reach the server, such as https://flows.example.com, for links in notifications."),
    key("server.insecure_http", Shape::Switch, "false",
        "Listen beyond the loopback without TLS and without trusted proxies: tokens and keys can be read on the way."),
    flagged("trusted-proxy", key("server.trusted_proxies", Shape::List, "[]",
        "Addresses and networks of proxies that say who calls, such as 10.0.0.5 or 10.0.0.0/8.")),
    key("server.forwarded_header", Shape::Text, "\"x-forwarded\"",
        "The headers in which they say it: x-forwarded (X-Forwarded-For, -Proto, -Host) or forwarded (RFC 7239)."),
    key("server.drain_seconds", Shape::Number, "30",
        "How long requests, and then connector calls, may take to end after the first signal to stop."),
    live(key("tls.certificate", Shape::Text, "",
        "File with the certificate and those above it, PEM; looked at every second and loaded anew when it changes.")),
    live(key("tls.key", Shape::Text, "",
        "File with the certificate's private key, PEM.")),
    key("limits.body_bytes_max", Shape::Number, "16777216",
        "Size of a request's body; components and files have limits of their own."),
    key("limits.head_bytes_max", Shape::Number, "65536",
        "Size of a request's line and headers together."),
    key("limits.headers_max", Shape::Number, "100",
        "Headers of a request."),
    key("limits.idle_seconds_max", Shape::Number, "60",
        "How long a connection may take to send the whole head of its next request."),
    key("limits.write_seconds_max", Shape::Number, "60",
        "How long a caller may take nothing of an answer, or of a stream of events, before it is cut off."),
    key("limits.connections_max", Shape::Number, "16384",
        "Connections at one time; fewer where the system allows fewer open files. More have to wait."),
    key("limits.address_connections_max", Shape::Limit, "512",
        "Connections of one address at one time; more are closed."),
    key("limits.address_requests_per_second_max", Shape::Limit, "100",
        "Requests of one address, with bursts of ten times as many; more are answered with 429."),
    key("limits.loopback", Shape::Switch, "false",
        "Whether the limits for one address are also for those of this machine."),
    key("limits.webhook_seconds_max", Shape::Number, "600",
        "How long the caller of a webhook is kept waiting for the end of its flow."),
    live(key("log.level", Shape::Text, "\"info\"",
        "What is logged: error, warn, info, debug or trace, each with those before it.")),
    key("log.format", Shape::Text, "\"text\"",
        "How it is logged: text, or json with one object a line."),
    live(flagged("allow-egress", key("egress.allow", Shape::List, "[]",
        "Hosts that connectors may reach, such as db.example.com:1433 or 10.0.0.0/8."))),
    live(key("retention.age_days", Shape::Limit, "30",
        "Executions that ended longer ago go to the trash.")),
    live(key("retention.executions_max", Shape::Limit, "1000000",
        "When more have ended, the oldest go to the trash.")),
    live(key("retention.bytes_max", Shape::Limit, "10737418240",
        "When the database holds more, the oldest are deleted for good.")),
    live(key("retention.trash_age_days", Shape::Limit, "7",
        "What was put into the trash longer ago is deleted for good.")),
    live(key("retention.audit_age_days", Shape::Limit, "400",
        "Entries of the audit log that were written longer ago are deleted.")),
    key("secrets.key_file", Shape::Text, "",
        "File with the key of the secrets, in the data folder unless absolute; without one the workspace makes it."),
    key("secrets.key_env", Shape::Text, "",
        "Variable of the environment that holds the key, in place of the file."),
    key("secrets.key_command", Shape::Text, "",
        "Command whose output is the key, in place of the file."),
];

impl Key {
    /// The key of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Its table and its name there.
    pub(crate) fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').expect("every name has a table, which a test sees to")
    }

    /// The option of `serve`, without its dashes. Those of `[server]` need no prefix.
    pub(crate) fn flag(&self) -> String {
        let name = self.name.strip_prefix("server.").unwrap_or(self.name);
        self.flag.map_or_else(|| name.replace(['.', '_'], "-"), str::to_owned)
    }

    /// The variable of the environment.
    pub(crate) fn variable(&self) -> String {
        format!("SUREFOOT_{}", self.name.replace('.', "_").to_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_few_keys_and_each_is_found_by_one_name() {
        assert!(KEYS.len() < 40, "{} keys: which one can be done without?", KEYS.len());
        let (mut names, mut flags) = (BTreeSet::new(), BTreeSet::new());
        for key in KEYS {
            assert!(names.insert(key.name) && flags.insert(key.flag()), "{} is there twice", key.name);
            assert!(key.about.ends_with('.') && !key.parts().1.contains('.'), "{}", key.name);
            assert_eq!(Key::named(key.name).map(|found| found.name), Some(key.name));
        }
    }

    #[test]
    fn options_and_variables_follow_from_the_name() {
        let named = |name| Key::named(name).map(|key| (key.flag(), key.variable())).unwrap();
        assert_eq!(named("server.listen"), ("listen".into(), "SUREFOOT_SERVER_LISTEN".into()));
        assert_eq!(named("tls.key"), ("tls-key".into(), "SUREFOOT_TLS_KEY".into()));
        assert_eq!(named("egress.allow"), ("allow-egress".into(), "SUREFOOT_EGRESS_ALLOW".into()));
    }
}
