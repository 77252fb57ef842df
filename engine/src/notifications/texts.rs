//! What a notification says: to people as a text, to programs as a document.

use serde_json::{Value, json};

use super::{Subject, plain};
use crate::approvals::HIDDEN_TOKEN;
use crate::clock::Timestamp;
use crate::journal::Status;
use crate::query::Kind;
use crate::store::approvals::Approval;
use crate::store::executions::{Execution, Finish};
use crate::store::notified::Bad;

/// What of a message of somebody else's stands in a notification, characters.
const QUOTED_MAX: usize = 4000;

/// What addresses for people begin with; what follows is an id, or a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// The page of an execution.
    pub execution: String,
    /// The page of a question, for who has an account.
    pub approval: String,
    /// The page that answers a question, for who has its token.
    pub answer: String,
}

/// What there is to tell.
pub(super) enum What<'a> {
    /// A failure, or the first good end after one.
    End {
        subject: &'a Subject,
        execution: &'a Execution,
        finish: &'a Finish,
        bad: Bad,
    },
    Question {
        subject: &'a Subject,
        execution: &'a Execution,
        approval: &'a Approval,
        has_token: bool,
    },
    Trial,
}

impl What<'_> {
    pub(super) fn occasion(&self) -> &'static str {
        match self {
            Self::End { finish, .. } if finish.status == Status::EndedError => "failure",
            Self::End { .. } => "recovery",
            Self::Question { .. } => "approval",
            Self::Trial => "test",
        }
    }

    /// What programs know it by.
    fn ty(&self) -> &'static str {
        match self.occasion() {
            "failure" => "flow.failed",
            "recovery" => "flow.recovered",
            "approval" => "approval.asked",
            _ => "notification.test",
        }
    }

    pub(super) fn execution_id(&self) -> Option<&str> {
        match self {
            Self::End { execution, .. } | Self::Question { execution, .. } => Some(&execution.id),
            Self::Trial => None,
        }
    }

    pub(super) fn approval_id(&self) -> Option<&str> {
        match self {
            Self::Question { approval, .. } => Some(&approval.id),
            _ => None,
        }
    }
}

/// A notification, written down.
pub(super) struct Told {
    /// The name of the execution that delivers it.
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) document: Value,
    /// Whether the address that answers a question stands in it, with what stands for its token.
    pub(super) has_link: bool,
}

impl Told {
    pub(super) fn new(what: &What<'_>, rule: &Value, id: &str, links: Option<&Links>, now: Timestamp) -> Self {
        let rule_name = rule["name"].as_str().unwrap_or_default();
        let mut lines = Lines(String::new());
        let mut data = json!({ "notification": { "id": rule["id"], "name": rule_name } });
        let mut has_link = false;
        let headline = match what {
            What::End { subject, execution, finish, bad } => {
                let headline = end(&mut lines, &mut data, subject, finish, *bad);
                about(&mut lines, &mut data, subject, execution, links);
                headline
            }
            What::Question { subject, execution, approval, has_token } => {
                let is_wanted = *has_token && rule["is_link_sent"] != false;
                let link = links.filter(|_| is_wanted).map(|links| format!("{}{HIDDEN_TOKEN}", links.answer));
                has_link = link.is_some();
                let page = links.map(|links| format!("{}{}", links.approval, approval.id));
                let headline = question(&mut lines, &mut data, subject, approval, (page, link));
                about(&mut lines, &mut data, subject, execution, links);
                headline
            }
            What::Trial => {
                lines.line("This is a test. Whoever reads it gets what the notification has to tell.");
                format!("test of the notification {rule_name}")
            }
        };
        lines.line("");
        lines.line(&format!("Sent by the notification {rule_name}, message {id}."));
        let document = json!({ "type": what.ty(), "timestamp": now.to_string(), "data": data });
        // A name, as the engine wants names: in one line and not long.
        let name: String = format!("{}: {headline}", what.occasion());
        let name: String = name.chars().filter(|sign| !sign.is_control()).take(200).collect();
        let name = name.trim().to_owned();
        Self { name, subject: one_line(&format!("Surefoot: {headline}")), text: lines.0, document, has_link }
    }
}

/// Lines of a text, some with a title.
struct Lines(String);

impl Lines {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn pair(&mut self, title: &str, text: &str) {
        self.line(&format!("{:<12}{text}", format!("{title}:")));
    }
}

fn end(lines: &mut Lines, data: &mut Value, subject: &Subject, finish: &Finish, bad: Bad) -> String {
    let what = format!("{} {}", subject.kind.as_str(), subject.name);
    data["since"] = bad.since.to_string().into();
    data["failures"] = bad.failures.into();
    let is_failure = finish.status == Status::EndedError;
    let headline = if is_failure { format!("{what} failed") } else { format!("{what} works again") };
    lines.line(&format!("The {headline}."));
    lines.line("");
    if is_failure {
        let message = cut(&plain(&finish.message));
        lines.pair("Error", &format!("{}: {message}", finish.code));
        data["error"] = json!({ "code": finish.code, "message": message });
    }
    lines.pair("Ended", &finish.at.to_string());
    match (is_failure, bad.failures) {
        (true, 1) => {}
        (true, failures) => lines.pair("Failures", &format!("{failures} since {}", bad.since)),
        (false, failures) => lines.pair("Before", &format!("{failures} failed since {}", bad.since)),
    }
    data["ended_at"] = finish.at.to_string().into();
    headline
}

fn question(
    lines: &mut Lines,
    data: &mut Value,
    subject: &Subject,
    approval: &Approval,
    (page, link): (Option<String>, Option<String>),
) -> String {
    let (name, message) = (plain(&approval.name), cut(&plain(&approval.question.message)));
    let headline = format!("{} {} asks: {name}", subject.kind.as_str(), subject.name);
    lines.line(&format!("The {headline}"));
    lines.line("");
    if !message.is_empty() {
        lines.line(&message);
        lines.line("");
    }
    if let Some(expires_at) = approval.expires_at {
        lines.pair("Until", &expires_at.to_string());
    }
    if let Some(link) = &link {
        lines.line("Answer here, without an account; whoever has this link can, and the first answer counts:");
        lines.line(link);
        lines.line("");
    }
    let with_account = page.clone().unwrap_or_else(|| format!("surefoot approval answer {}", approval.id));
    lines.line(&format!("With an account: {with_account}"));
    data["approval"] = json!({
        "id": approval.id, "name": name, "message": message,
        "expires_at": approval.expires_at.map(|at| at.to_string()), "url": page, "answer_url": link,
    });
    headline
}

/// Where to look.
fn about(lines: &mut Lines, data: &mut Value, subject: &Subject, execution: &Execution, links: Option<&Links>) {
    let url = links.map(|links| format!("{}{}", links.execution, execution.id));
    data[subject.kind.as_str()] = json!({ "id": subject.id, "name": subject.name });
    if subject.kind != Kind::Flow {
        data["flow"] = json!({ "id": subject.flow_id });
    }
    data["execution"] = json!({ "id": execution.id, "name": execution.name, "url": url });
    lines.pair("Execution", &execution.id);
    lines.pair("Look at it", &url.unwrap_or_else(|| format!("surefoot execution show {}", execution.id)));
}

/// As the headers of mails are.
fn one_line(text: &str) -> String {
    cut(&text.split(char::is_control).collect::<Vec<_>>().join(" "))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}
