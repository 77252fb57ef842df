//! Why a call failed, in terms that the engine can act on.

use serde::{Deserialize, Serialize};

/// What kind of failure it was. The text forms are stable: flows and retry rules use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// Connecting, reading or writing failed, or the peer cut the line.
    Network,
    /// The peer refused the credentials.
    Auth,
    /// The target moved or changed; detecting it anew may help.
    StaleTarget,
    /// The peer's certificate or host key is not the one expected.
    Untrusted,
    /// The egress policy refused the address.
    Egress,
    /// What was asked for does not exist at the peer or in the workspace.
    NotFound,
    /// The peer understood and said no.
    Refused,
    /// The peer's answer is not valid in its protocol.
    Protocol,
    /// The inputs cannot be used.
    InvalidInput,
    /// The time ran out.
    Timeout,
    /// The workspace's own file store failed.
    Storage,
}

impl ErrorClass {
    /// The stable text form.
    pub fn code(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Auth => "auth",
            Self::StaleTarget => "stale_target",
            Self::Untrusted => "untrusted",
            Self::Egress => "egress",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Protocol => "protocol",
            Self::InvalidInput => "invalid_input",
            Self::Timeout => "timeout",
            Self::Storage => "storage",
        }
    }
}

/// What is known about the effect of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// Proved: nothing that could change the peer has left. A write may be tried again.
    No,
    /// The peer answered that it did not do it.
    Rejected,
    /// It may or may not have happened.
    Unknown,
}

/// How much of a message is kept, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 1_000;

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct CallError {
    /// What kind of failure.
    pub class: ErrorClass,
    /// What is known about the effect.
    pub sent: Sent,
    /// For people: a fragment in lower case. What a peer said is quoted as it came, whole: see
    /// [`shorten`](Self::shorten).
    pub message: String,
    /// The peer's own code, where it has one: `550`, `208`.
    pub peer_code: Option<String>,
}

impl CallError {
    /// A failure of that class, with nothing sent yet.
    pub fn not_sent(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, sent: Sent::No, message: message.into(), peer_code: None }
    }

    /// A refusal by the peer: it is certain that nothing was done.
    pub fn rejected(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, sent: Sent::Rejected, message: message.into(), peer_code: None }
    }

    /// A failure after something was sent.
    pub fn unknown(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, sent: Sent::Unknown, message: message.into(), peer_code: None }
    }

    /// Puts the message on one line, without control characters. A secret in what a peer said can be recognised only
    /// while nothing of it has been moved or cut, so no connector does this, nor [`shorten`](Self::shorten): the engine
    /// does, and looks for secrets before each.
    pub fn put_on_a_line(&mut self) {
        let line = self.message.split_whitespace().collect::<Vec<_>>().join(" ");
        self.message = line.chars().filter(|character| !character.is_control()).collect();
    }

    /// Cuts the message after 1,000 characters.
    pub fn shorten(&mut self) {
        if let Some((end, _)) = self.message.char_indices().nth(MESSAGE_CHARACTERS_MAX) {
            self.message.truncate(end);
            self.message.push('…');
        }
    }

    /// Adds the peer's own code.
    #[must_use]
    pub fn with_peer_code(mut self, code: impl ToString) -> Self {
        self.peer_code = Some(code.to_string());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_one_short_line() {
        let shortened = |message: &str| {
            let mut error = CallError::not_sent(ErrorClass::Refused, message);
            error.put_on_a_line();
            error.shorten();
            error.message
        };
        assert_eq!(shortened("the server refused it: No\r\n  such \x07file\n"), "the server refused it: No such file");
        let long = shortened(&"é".repeat(MESSAGE_CHARACTERS_MAX + 1));
        assert_eq!(long, "é".repeat(MESSAGE_CHARACTERS_MAX) + "…");
        assert_eq!(shortened(&"é".repeat(MESSAGE_CHARACTERS_MAX)), "é".repeat(MESSAGE_CHARACTERS_MAX));
    }
}
