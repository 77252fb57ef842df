//! An HTTP server that repeats all that it is told, in every form that there is.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::stand_in::StandIn;
use crate::leaks::forms;

/// Gone when dropped. Below `/fail/` it answers with status 500, below `/binary/` with bytes that are no text.
pub struct EchoServer {
    listener: StandIn,
    told: Arc<Mutex<Vec<String>>>,
}

impl EchoServer {
    /// Starts one on a free port.
    pub fn start() -> Result<Self> {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = told.clone();
        // A client that hangs up gets no answer.
        let listener = StandIn::start(move |stream| drop(answer(&stream, &seen)))?;
        Ok(Self { listener, told })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// All values that it was told, in order: of headers, of the query, of a login, and bodies.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn answer(stream: &TcpStream, told: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut values, mut length) = (String::new(), Vec::new(), 0);
    loop {
        let start = head.len();
        if reader.read_line(&mut head)? <= 2 {
            break;
        }
        let line = head[start..].trim_end();
        match line.split_once(": ") {
            None => values.extend(query_of(line)),
            Some((name, value)) => {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.parse().unwrap_or(0);
                }
                values.push(value.to_owned());
                values.extend(value.split_once(' ').map(|(_, rest)| rest.to_owned()));
                values.extend(value.strip_prefix("Basic ").and_then(login));
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if length > 0 {
        values.push(String::from_utf8_lossy(&body).into_owned());
    }
    let mut text = head.clone();
    for value in &values {
        text.extend(forms(value).into_iter().map(|form| format!("\nyou said {form} to me")));
    }
    let shown = values.iter().map(|value| forms(value)[1].clone()).collect::<Vec<_>>().join("&");
    told.lock().unwrap_or_else(PoisonError::into_inner).extend(values);
    let mut content = text.into_bytes();
    if head.contains("/binary/") {
        content.extend([0xff, 0xfe, 0]);
    }
    let status = if head.contains("/fail/") { "500 no" } else { "200 ok" };
    let header = format!("HTTP/1.1 {status}\r\nx-echo: {shown}\r\ncontent-length: {}\r\n\r\n", content.len());
    (&*stream).write_all(header.as_bytes())?;
    (&*stream).write_all(&content)
}

/// The decoded values of a request line's query.
fn query_of(line: &str) -> Vec<String> {
    let target = line.split(' ').nth(1).unwrap_or_default();
    let query = target.split_once('?').map(|(_, query)| query).unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

/// The password of a login.
fn login(encoded: &str) -> Option<String> {
    let both = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    Some(both.split_once(':')?.1.to_owned())
}
