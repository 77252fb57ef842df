//! What users write, and the plan that follows from it. Second names, defaults and what excludes what are resolved
//! here and nowhere else.

use std::collections::BTreeMap;
use std::time::Duration;

use lettre::message::{Mailbox, Mailboxes};
use schemars::JsonSchema;
use serde::Deserialize;
use surefoot_connector_api::{CallError, workspace_file_name};

use crate::inputs::{either, invalid};
use crate::schema::{Seconds, Secret};

const CONNECT_TIMEOUT: Seconds = Seconds(30.0);
const TOTAL_TIMEOUT: Seconds = Seconds(120.0);
const ATTACHMENTS_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// More than servers take in one mail (RFC 5321 asks them for 100), so that a loop that ran wild is noticed here.
const RECIPIENTS_MAX: usize = 1_000;

/// Inputs of a call.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SmtpInputs {
    /// Name or address of the mail server.
    hostname: Option<String>,
    /// The same as `hostname`.
    host: Option<String>,
    /// The same as `hostname`.
    smtp_host: Option<String>,
    /// TCP port of the mail server; by default 587 with `starttls`, 465 with `implicit`, 25 with `none`.
    port: Option<u16>,
    /// The same as `port`.
    smtp_port: Option<u16>,
    /// How the connection is encrypted: `starttls` (default): at once after the greeting, or the call fails;
    /// `implicit`: from the first byte; `none`: not at all, the password included.
    tls: Option<Tls>,
    /// The same as `tls`: true is `starttls`, false is `none`.
    use_tls: Option<bool>,
    /// Certificates, as PEM text, that are trusted instead of those of this machine.
    server_ca: Option<String>,
    /// User name at the mail server; absent: no login.
    username: Option<String>,
    /// The same as `username`.
    login: Option<String>,
    /// Password of the user.
    password: Option<Secret>,
    /// Address of the sender: `name@example.com` or `Name <name@example.com>`.
    from: Option<String>,
    /// The same as `from`.
    from_: Option<String>,
    /// Addresses of the recipients: a list, or one text with commas.
    to: Option<OneOrMany>,
    /// Addresses of recipients of a copy.
    cc: Option<OneOrMany>,
    /// Addresses of recipients that the others do not see.
    bcc: Option<OneOrMany>,
    /// Addresses that answers go to.
    reply_to: Option<OneOrMany>,
    /// Subject of the mail.
    subject: Option<String>,
    /// Body of the mail as plain text.
    text: Option<String>,
    /// Body of the mail as HTML; with `text` beside it, readers choose.
    html: Option<String>,
    /// Further headers, by name.
    headers: Option<BTreeMap<String, String>>,
    /// Files of the workspace to attach: `surefoot:NAME`.
    attachments: Option<Vec<String>>,
    /// How many bytes the attachments may have together; 10 MiB by default. More are an error.
    #[schemars(range(max = 104_857_600))]
    attachments_bytes_max: Option<u64>,
    /// How long connecting, encrypting and logging in may take, in seconds; 30 by default.
    connect_timeout: Option<Seconds>,
    /// How long the whole call may take, in seconds; 120 by default.
    total_timeout: Option<Seconds>,
}

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    None,
    #[default]
    Starttls,
    Implicit,
}

/// One address, or several with commas, or a list of such.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Where to connect, and as whom.
pub(super) struct Server {
    pub(super) hostname: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) server_ca: Option<String>,
    pub(super) login: Option<Login>,
    pub(super) connect_timeout: Duration,
}

/// Who logs in.
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: Secret,
}

/// What is sent, and to whom.
pub(super) struct Mail {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    pub(super) bcc: Vec<Mailbox>,
    pub(super) reply_to: Vec<Mailbox>,
    pub(super) subject: Option<String>,
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
    pub(super) headers: BTreeMap<String, String>,
    /// Names of files of the workspace.
    pub(super) attachments: Vec<String>,
    pub(super) attachments_bytes_max: u64,
}

/// A call, ready to be performed.
pub(super) struct Plan {
    pub(super) server: Server,
    pub(super) mail: Mail,
    pub(super) total_timeout: Duration,
}

impl Plan {
    /// Resolves second names and defaults; what contradicts itself is refused.
    pub(super) fn new(inputs: SmtpInputs) -> Result<Self, CallError> {
        let use_tls = inputs.use_tls.map(|wanted| if wanted { Tls::Starttls } else { Tls::None });
        let tls = either([("tls", inputs.tls), ("use_tls", use_tls)])?.unwrap_or_default();
        let username = either([("username", inputs.username), ("login", inputs.login)])?;
        let server = Server {
            hostname: either([("hostname", inputs.hostname), ("host", inputs.host), ("smtp_host", inputs.smtp_host)])?
                .ok_or_else(|| invalid("input `hostname` is missing"))?,
            port: either([("port", inputs.port), ("smtp_port", inputs.smtp_port)])?.unwrap_or(tls.port()),
            tls,
            server_ca: inputs.server_ca,
            login: login(username, inputs.password)?,
            connect_timeout: inputs.connect_timeout.unwrap_or(CONNECT_TIMEOUT).duration(),
        };
        let from = either([("from", inputs.from), ("from_", inputs.from_)])?;
        let from = from.ok_or_else(|| invalid("input `from` is missing"))?;
        let mail = Mail {
            from: from.parse().map_err(|error| invalid(format!("input `from`: `{from}` is no address: {error}")))?,
            to: mailboxes("to", inputs.to)?,
            cc: mailboxes("cc", inputs.cc)?,
            bcc: mailboxes("bcc", inputs.bcc)?,
            reply_to: mailboxes("reply_to", inputs.reply_to)?,
            subject: inputs.subject,
            text: inputs.text,
            html: inputs.html,
            headers: inputs.headers.unwrap_or_default(),
            attachments: attachments(inputs.attachments.unwrap_or_default())?,
            attachments_bytes_max: inputs.attachments_bytes_max.unwrap_or(ATTACHMENTS_BYTES_MAX),
        };
        match mail.to.len() + mail.cc.len() + mail.bcc.len() {
            0 => return Err(invalid("the mail has no recipient; give `to`, `cc` or `bcc`")),
            1..=RECIPIENTS_MAX => {}
            count => {
                return Err(invalid(format!("the mail has {count} recipients; at most {RECIPIENTS_MAX} are taken")));
            }
        }
        Ok(Self { server, mail, total_timeout: inputs.total_timeout.unwrap_or(TOTAL_TIMEOUT).duration() })
    }
}

impl Tls {
    fn port(self) -> u16 {
        match self {
            Self::None => 25,
            Self::Starttls => 587,
            Self::Implicit => 465,
        }
    }
}

fn login(username: Option<String>, password: Option<Secret>) -> Result<Option<Login>, CallError> {
    match (username, password) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => Ok(Some(Login { username, password })),
        (Some(_), None) => Err(invalid("input `username` is given without `password`")),
        (None, Some(_)) => Err(invalid("input `password` is given without `username`")),
    }
}

fn mailboxes(input: &str, addresses: Option<OneOrMany>) -> Result<Vec<Mailbox>, CallError> {
    let texts = match addresses {
        None => return Ok(Vec::new()),
        Some(OneOrMany::One(text)) => vec![text],
        Some(OneOrMany::Many(texts)) => texts,
    };
    let mut found = Vec::with_capacity(texts.len());
    for text in texts {
        let mailboxes: Mailboxes =
            text.parse().map_err(|error| invalid(format!("input `{input}`: `{text}` is no address: {error}")))?;
        found.extend(mailboxes);
    }
    Ok(found)
}

fn attachments(locations: Vec<String>) -> Result<Vec<String>, CallError> {
    let name = |location: String| match workspace_file_name(&location) {
        Some(name) => Ok(name.to_owned()),
        None => Err(invalid(format!("attachment `{location}` is no file of the workspace; write `surefoot:NAME`"))),
    };
    locations.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn plan(inputs: Value) -> Result<Plan, CallError> {
        let mut all = json!({ "hostname": "h", "from": "a@b.c", "to": "d@e.f" });
        for (name, value) in inputs.as_object().unwrap() {
            all[name] = value.clone();
        }
        Plan::new(serde_json::from_value(all).unwrap())
    }

    fn refusal(inputs: Value) -> String {
        plan(inputs).err().expect("refused").message
    }

    #[test]
    fn the_port_follows_the_encryption() {
        for (inputs, tls, port) in [
            (json!({}), Tls::Starttls, 587),
            (json!({ "tls": "implicit" }), Tls::Implicit, 465),
            (json!({ "tls": "none" }), Tls::None, 25),
            (json!({ "use_tls": true }), Tls::Starttls, 587),
            (json!({ "use_tls": false, "smtp_port": 2525 }), Tls::None, 2525),
        ] {
            let server = plan(inputs).unwrap().server;
            assert_eq!((server.tls, server.port), (tls, port));
        }
    }

    #[test]
    fn addresses_come_as_text_and_as_lists() {
        let mail = plan(json!({ "to": ["a@b.c", "Dora <d@e.f>"], "cc": "g@h.i, j@k.l" })).unwrap().mail;
        assert_eq!(mail.to.len(), 2);
        assert_eq!(mail.to[1].name.as_deref(), Some("Dora"));
        assert_eq!(mail.cc[1].email.to_string(), "j@k.l");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name() {
        assert!(refusal(json!({ "to": [] })).contains("no recipient"));
        assert!(refusal(json!({ "to": "nobody" })).contains("`to`: `nobody`"));
        assert!(refusal(json!({ "from": "x" })).contains("`from`"));
        assert!(refusal(json!({ "from_": "a@b.c" })).contains("`from` and `from_`"));
        assert!(refusal(json!({ "to": vec!["a@b.c"; 1_001] })).contains("1001 recipients"));
        assert!(refusal(json!({ "username": "u" })).contains("`password`"));
        assert!(refusal(json!({ "attachments": ["/etc/passwd"] })).contains("surefoot:NAME"));
    }
}
