//! The dialogue: greeting, encryption, login, envelope, mail.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use surefoot_connector_api::{CallError, Dialer, ErrorClass, Sent};

use super::HandedOver;
use super::inputs::{Login, Server, Tls};
use super::message::{Message, Part};
use super::wire::{Reply, Wire};
use crate::inputs::invalid;

/// A connection that is ready for a mail.
pub(super) struct Session {
    wire: Wire,
    abilities: Abilities,
}

/// What the server said that it can do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Abilities {
    starttls: bool,
    smtputf8: bool,
    eight_bit: bool,
    /// Whether it wants to hear the length of a mail in advance, and the most that it takes; 0: it does not say.
    size_bytes_max: Option<u64>,
    /// Ways to log in, in capitals.
    logins: Vec<String>,
}

/// Connects, encrypts and logs in, all of it within `server.connect_timeout`. A failure is [`Sent::No`] or
/// [`Sent::Rejected`].
pub(super) async fn open(dialer: &Dialer, server: &Server) -> Result<Session, CallError> {
    let limit = server.connect_timeout;
    let work = async {
        let stream = dialer.connect(&server.hostname, server.port, limit).await?;
        let mut wire = Wire::new(stream)?;
        if server.tls == Tls::Implicit {
            wire = wire.encrypt(&server.hostname, server.server_ca.as_deref()).await?;
        }
        expect(wire.reply().await?, "the connection")?;
        let mut abilities = hello(&mut wire).await?;
        if server.tls == Tls::Starttls {
            wire = start_tls(wire, &abilities, server).await?;
            // What was said before encryption is worth nothing.
            abilities = hello(&mut wire).await?;
        }
        if let Some(login) = &server.login {
            log_in(&mut wire, &abilities, login).await?;
        }
        Ok(Session { wire, abilities })
    };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(CallError::not_sent(
            ErrorClass::Timeout,
            format!("the server was not ready for a mail within {} s; see `connect_timeout`", limit.as_secs_f64()),
        ))
    })
}

impl Session {
    /// Hands the mail over and gives the server's answer. `handed_over` is set before the dot that ends it is sent.
    pub(super) async fn send(mut self, message: Message, handed_over: &HandedOver) -> Result<String, CallError> {
        let from = message.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let parameters = self.mail_parameters(&message)?;
        expect(self.wire.command(&format!("MAIL FROM:<{from}>{parameters}")).await?, "the sender")?;
        self.recipients(&message.recipients).await?;
        let reply = self.wire.command("DATA").await?;
        if reply.code != 354 {
            return Err(reply.refusal("the mail"));
        }
        self.content(message).await?;
        handed_over.set();
        let reply = self.end_of_mail().await.map_err(|error| CallError { sent: Sent::Unknown, ..error })?;
        let response = expect(reply, "the mail")?.text();
        // The mail is the server's now; how the good-bye fares changes nothing.
        let _ = self.wire.write(b"QUIT\r\n").await;
        let _ = self.wire.flush().await;
        Ok(response)
    }

    fn mail_parameters(&self, message: &Message) -> Result<String, CallError> {
        let mut parameters = String::new();
        if let Some(max) = self.abilities.size_bytes_max {
            let size_bytes = message.size_bytes;
            if max > 0 && size_bytes > max {
                let message = format!("the mail has {size_bytes} bytes and the server takes at most {max}");
                return Err(CallError::not_sent(ErrorClass::Refused, message));
            }
            parameters.push_str(&format!(" SIZE={size_bytes}"));
        }
        if message.needs_utf8() {
            if !self.abilities.smtputf8 || !self.abilities.eight_bit {
                return Err(invalid(
                    "an address has letters beyond ASCII, and the server does not take such (SMTPUTF8)",
                ));
            }
            parameters.push_str(" BODY=8BITMIME SMTPUTF8");
        }
        Ok(parameters)
    }

    /// Names the recipients. When one is refused the others are asked for too, so that one error names all.
    async fn recipients(&mut self, recipients: &[Address]) -> Result<(), CallError> {
        let mut refused: Vec<(String, Reply)> = Vec::new();
        for recipient in recipients {
            let reply = self.wire.command(&format!("RCPT TO:<{recipient}>")).await?;
            if !reply.is_positive() {
                refused.push((format!("{recipient} ({})", reply.text()), reply));
            }
        }
        let Some((_, first)) = refused.first() else { return Ok(()) };
        let names: Vec<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
        let mut error = first.refusal("a recipient");
        error.message = format!("the mail was sent to nobody, since the server refused {}", names.join(", "));
        // Without a mail there is nothing to undo; this is for the server's books.
        let _ = self.wire.command("RSET").await;
        let _ = self.wire.command("QUIT").await;
        Err(error)
    }

    /// All of the mail but the dot that ends it.
    async fn content(&mut self, message: Message) -> Result<(), CallError> {
        let mut dots = Dots::default();
        for part in message.into_parts() {
            match part {
                Part::Text(text) => self.wire.write(&dots.double(&text)).await?,
                Part::File(mut file) => {
                    while let Some(lines) = file.next().await? {
                        self.wire.write(&dots.double(&lines)).await?;
                    }
                }
            }
        }
        if !dots.at_line_start {
            self.wire.write(b"\r\n").await?;
        }
        // So that a connection that has broken already is noticed before the dot.
        self.wire.flush().await
    }

    async fn end_of_mail(&mut self) -> Result<Reply, CallError> {
        self.wire.write(b".\r\n").await?;
        self.wire.flush().await?;
        let reply = self.wire.reply().await?;
        if (300..400).contains(&reply.code) {
            let message = format!("the server's answer to the mail makes no sense: {}", reply.text());
            return Err(CallError::unknown(ErrorClass::Protocol, message));
        }
        Ok(reply)
    }
}

/// Doubles the dot at the start of a line, since a line of one dot ends the mail.
struct Dots {
    at_line_start: bool,
}

impl Default for Dots {
    fn default() -> Self {
        Self { at_line_start: true }
    }
}

impl Dots {
    fn double(&mut self, text: &[u8]) -> Vec<u8> {
        let mut doubled = Vec::with_capacity(text.len() + 16);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if self.at_line_start && line.first() == Some(&b'.') {
                doubled.push(b'.');
            }
            doubled.extend_from_slice(line);
            self.at_line_start = line.last() == Some(&b'\n');
        }
        doubled
    }
}

async fn hello(wire: &mut Wire) -> Result<Abilities, CallError> {
    let reply = expect(wire.command(&format!("EHLO {}", wire.own_name())).await?, "EHLO")?;
    Ok(abilities(&reply))
}

fn abilities(reply: &Reply) -> Abilities {
    let mut found = Abilities::default();
    // The first line is a greeting. Old servers write `AUTH=` for `AUTH `.
    for line in reply.lines.iter().skip(1) {
        let line = line.to_ascii_uppercase().replacen('=', " ", 1);
        let mut words = line.split_whitespace();
        match words.next() {
            Some("STARTTLS") => found.starttls = true,
            Some("SMTPUTF8") => found.smtputf8 = true,
            Some("8BITMIME") => found.eight_bit = true,
            Some("SIZE") => found.size_bytes_max = Some(words.next().and_then(|max| max.parse().ok()).unwrap_or(0)),
            Some("AUTH") => found.logins.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    found
}

async fn start_tls(mut wire: Wire, abilities: &Abilities, server: &Server) -> Result<Wire, CallError> {
    if !abilities.starttls {
        return Err(CallError::not_sent(
            ErrorClass::Untrusted,
            "the server does not offer encryption (STARTTLS); where it must be so, set `tls` to `none`",
        ));
    }
    expect(wire.command("STARTTLS").await?, "STARTTLS")?;
    wire.encrypt(&server.hostname, server.server_ca.as_deref()).await
}

async fn log_in(wire: &mut Wire, abilities: &Abilities, login: &Login) -> Result<(), CallError> {
    let offers = |name: &str| abilities.logins.iter().any(|offered| offered == name);
    let (username, password) = (login.username.as_str(), login.password.reveal());
    let reply = if offers("PLAIN") {
        let both = STANDARD.encode(format!("\0{username}\0{password}"));
        wire.command(&format!("AUTH PLAIN {both}")).await?
    } else if offers("LOGIN") {
        challenge(wire.command("AUTH LOGIN").await?)?;
        challenge(wire.command(&STANDARD.encode(username)).await?)?;
        wire.command(&STANDARD.encode(password)).await?
    } else {
        return Err(CallError::not_sent(
            ErrorClass::Auth,
            "the server offers no login by password (PLAIN or LOGIN) on this connection",
        ));
    };
    if reply.code == 235 {
        return Ok(());
    }
    let mut error = reply.refusal("the login");
    error.class = ErrorClass::Auth;
    Err(error)
}

fn challenge(reply: Reply) -> Result<(), CallError> {
    if reply.code == 334 {
        return Ok(());
    }
    let mut error = reply.refusal("the login");
    error.class = ErrorClass::Auth;
    Err(error)
}

/// The reply, when it is a full yes (2xx).
fn expect(reply: Reply, what: &str) -> Result<Reply, CallError> {
    if (200..300).contains(&reply.code) { Ok(reply) } else { Err(reply.refusal(what)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_at_line_starts_only_also_between_chunks() {
        let mut dots = Dots::default();
        let mut text = Vec::new();
        for chunk in [".a\r\n.", "b.\r\n", "..\r\nc", ".d\r\n", "", "."] {
            text.extend(dots.double(chunk.as_bytes()));
        }
        assert_eq!(String::from_utf8(text).unwrap(), "..a\r\n..b.\r\n...\r\nc.d\r\n..");
        assert!(!dots.at_line_start);
    }

    #[test]
    fn abilities_are_read_whatever_their_case() {
        let lines = ["mail.example", "starttls", "SIZE 1000", "AUTH=PLAIN login", "8BITMIME", "X-STRANGE"];
        let reply = Reply { code: 250, lines: lines.map(str::to_owned).to_vec() };
        let found = abilities(&reply);
        assert_eq!(found.logins, ["PLAIN", "LOGIN"]);
        assert_eq!(found.size_bytes_max, Some(1_000));
        assert!(found.starttls && found.eight_bit && !found.smtputf8);
    }
}
