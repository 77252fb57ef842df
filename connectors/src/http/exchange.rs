//! Request and answer, hop after hop, in the task of the call.

use std::error::Error as _;
use std::pin::pin;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use surefoot_connector_api::{CallContext, CallError, ErrorClass};

use super::answer::{self, Answer, HttpOutput};
use super::connection;
use super::fate::Fate;
use super::inputs::Plan;
use super::redirect::Hop;
use super::request;
use crate::tls;

/// How much of a message may stand in memory, in bytes: it bounds the head of an answer, too.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Makes the request, follows redirects, and gives the last answer. `reads`: the call changes nothing, whatever its
/// method.
pub(super) async fn perform(context: &CallContext<'_>, plan: &Plan, reads: bool) -> Result<HttpOutput, CallError> {
    let mut hop = Hop { method: plan.method.clone(), url: plan.url.clone(), with_body: true, trusted: true };
    let mut fate = Fate::new(!reads);
    let mut redirects_left = plan.redirects_max;
    loop {
        match one(context, plan, &hop, &fate, redirects_left > 0).await? {
            Answer::Final(output) => return Ok(output),
            Answer::Elsewhere { status, next } => {
                redirects_left -= 1;
                // A request that became a GET changes nothing any more.
                fate = fate.redirected(status, fate.changes && next.method == hop.method);
                hop = next;
            }
        }
    }
}

async fn one(
    context: &CallContext<'_>,
    plan: &Plan,
    hop: &Hop,
    fate: &Fate,
    may_follow: bool,
) -> Result<Answer, CallError> {
    let request = request::build(context, plan, hop).await.map_err(|error| fate.own(error))?;
    let stream = connection::open(context.dialer, plan, hop, fate.begun()).await.map_err(|error| fate.own(error))?;
    let mut protocol = http1::Builder::new();
    protocol.max_buf_size(BUFFER_BYTES_MAX);
    let shaken = protocol.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| failure(fate, "connecting", &error))?;
    let exchange = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| failure(fate, "waiting for the answer", &error))?;
        answer::receive(context, plan, hop, fate, response, may_follow).await
    };
    let mut exchange = pin!(exchange);
    // The connection is driven by this task, so it ends with the call, however that ends.
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // Whatever it ended with is on its way to the exchange, behind what was received before.
        _ = connection => exchange.await,
    }
}

/// What an error of the protocol means.
pub(super) fn failure(fate: &Fate, doing: &str, error: &hyper::Error) -> CallError {
    let mut source = error.source();
    while let Some(cause) = source {
        // The file that was being sent failed.
        if let Some(own) = cause.downcast_ref::<CallError>() {
            return fate.own(own.clone());
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return io_failure(fate, doing, io);
        }
        source = cause.source();
    }
    if error.is_parse() {
        return fate.lost(ErrorClass::Protocol, format!("the server's answer is not valid HTTP: {error}"));
    }
    if error.is_body_write_aborted() {
        return fate.lost(ErrorClass::Storage, "the file of the workspace ended too early");
    }
    fate.lost(ErrorClass::Network, format!("the connection ended while {doing}"))
}

fn io_failure(fate: &Fate, doing: &str, error: &std::io::Error) -> CallError {
    // A server may refuse the client's certificate only after the handshake.
    if let Some(refused) = tls::failure(error) {
        return fate.lost(refused.class, refused.message);
    }
    match error.kind() {
        std::io::ErrorKind::TimedOut => {
            fate.lost(ErrorClass::Timeout, format!("nothing moved for too long while {doing}; see `socket_timeout`"))
        }
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => {
            fate.lost(ErrorClass::Protocol, format!("the server's answer cannot be understood: {error}"))
        }
        _ => fate.lost(ErrorClass::Network, format!("the connection broke while {doing}: {error}")),
    }
}
