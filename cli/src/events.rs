//! Reading a stream of server-sent events, as long as somebody wants them: a stream that breaks goes on where it was.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::client::{Answer, Call, Client, Method, Path};
use crate::exit_codes;
use crate::failure::Failure;
use crate::printer::Printer;

/// How long to wait before a server that does not answer is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Events<'a> {
    client: &'a Client,
    printer: Printer,
    path: Path,
    /// The id of the last event.
    last_id: Option<String>,
    stream: Option<Answer>,
    received: Vec<u8>,
}

impl<'a> Events<'a> {
    /// Of the stream at that path, from its beginning.
    pub(crate) fn of(client: &'a Client, printer: Printer, path: Path) -> Self {
        Self { client, printer, path, last_id: None, stream: None, received: Vec::new() }
    }

    /// The next event: its name and document.
    ///
    /// # Errors
    /// When there is no such stream, or never was one.
    pub(crate) async fn next(&mut self) -> Result<(String, Value)> {
        loop {
            if let Some(event) = self.take()? {
                return Ok(event);
            }
            let Some(stream) = &mut self.stream else {
                self.connect().await?;
                continue;
            };
            match stream.chunk().await {
                Ok(Some(chunk)) => self.received.extend_from_slice(&chunk),
                Ok(None) | Err(_) => self.stream = None,
            }
        }
    }

    async fn connect(&mut self) -> Result<()> {
        let mut has_said = false;
        loop {
            let mut call = Call::new(Method::GET, self.path.clone());
            if let Some(id) = &self.last_id {
                call = call.header("last-event-id", id.clone());
            }
            let opened = match self.client.send(call).await {
                Ok(answer) => answer.or_failure().await,
                Err(error) => Err(error),
            };
            match opened {
                Ok(stream) => {
                    self.received.clear();
                    self.stream = Some(stream);
                    return Ok(());
                }
                // One that was there before is waited for.
                Err(error) if self.last_id.is_some() && is_unavailable(&error) => {
                    if !has_said {
                        self.printer.say(format_args!("{error}; trying again"));
                        has_said = true;
                    }
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The first whole event of what was received.
    fn take(&mut self) -> Result<Option<(String, Value)>> {
        while let Some(end) = self.received.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = self.received.drain(..end + 2).collect();
            let event = String::from_utf8(event).context("the server's events are not text")?;
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
            if let Some(id) = field("id:") {
                self.last_id = Some(id.to_owned());
            }
            // Without data it only shows that the stream is alive, and how far it is.
            if let (Some(name), Some(data)) = (field("event:"), field("data:")) {
                let document = serde_json::from_str(data).context("the server's event is not JSON")?;
                return Ok(Some((name.to_owned(), document)));
            }
        }
        Ok(None)
    }
}

fn is_unavailable(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.exit_code == exit_codes::UNAVAILABLE)
}
