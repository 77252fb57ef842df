//! What is known about the effect of a request when something fails.
//!
//! HTTP has no word for "I did not do it": only a few statuses prove it. All others leave it open whether a request
//! that changes something has done so, and so does a connection that breaks once a byte of the request has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::StatusCode;
use surefoot_connector_api::{CallError, ErrorClass, Sent};

/// What is known about the effect of a call so far.
#[derive(Clone)]
pub(super) struct Fate {
    /// Whether the request under way may change something.
    pub(super) changes: bool,
    /// Whether a request before it, which was redirected, may have changed something.
    performed: bool,
    /// Whether a byte of the request under way has left.
    begun: Begun,
}

/// Set when the first byte leaves.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<AtomicBool>);

impl Begun {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Fate {
    /// Before the first request.
    pub(super) fn new(changes: bool) -> Self {
        Self { changes, performed: false, begun: Begun::default() }
    }

    /// After an answer that sends us on to another place. 307 and 308 say that nothing was done yet; the others come
    /// also when all was done.
    pub(super) fn redirected(&self, status: StatusCode, changes: bool) -> Self {
        let performed = self.performed || (self.changes && !asks_to_repeat(status));
        Self { changes, performed, begun: Begun::default() }
    }

    /// To be set when the first byte of the request leaves.
    pub(super) fn begun(&self) -> Begun {
        self.begun.clone()
    }

    /// The error when nobody has answered, or not in a way that makes sense.
    pub(super) fn lost(&self, class: ErrorClass, message: impl Into<String>) -> CallError {
        let open = self.performed || (self.changes && self.begun.get());
        let sent = if open { Sent::Unknown } else { Sent::No };
        CallError { class, sent, message: message.into(), peer_code: None }
    }

    /// The error when the server has answered with a status that was not expected.
    pub(super) fn refused(&self, class: ErrorClass, status: StatusCode, message: String) -> CallError {
        let proved = !self.performed && (!self.changes || proves_that_nothing_was_done(status));
        let sent = if proved { Sent::Rejected } else { Sent::Unknown };
        CallError { class, sent, message, peer_code: Some(status.as_str().to_owned()) }
    }

    /// An error of our own, on this side of the connection.
    pub(super) fn own(&self, error: CallError) -> CallError {
        CallError { peer_code: error.peer_code, ..self.lost(error.class, error.message) }
    }
}

/// Whether the server wants the same request at another place, and so has not done it.
pub(super) fn asks_to_repeat(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// By the meaning that RFC 9110 (and 6585, 8470) give to the status, the request was turned down before it could have
/// an effect. 400, 409 and 422 are not among them: servers say so also half-way. Neither is 503, which a gateway says
/// also of a request that it has passed on.
fn proves_that_nothing_was_done(status: StatusCode) -> bool {
    asks_to_repeat(status)
        || matches!(
            status.as_u16(),
            // Who are you; pay; you may not; not here; not this method; not in a form that you want; ask the proxy.
            401..=407
            // Gone; no length; the condition does not hold; too large; too long; not this form; not this range.
            | 410..=417
            // Wrong server; locked; too early; other protocol; a condition is needed; too often; large headers; law.
            | 421 | 423 | 425 | 426 | 428 | 429 | 431 | 451
            // The server does not know the method, or the version of HTTP; log in to the network.
            | 501 | 505 | 511
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(fate: &Fate, status: u16) -> Sent {
        fate.refused(ErrorClass::Refused, StatusCode::from_u16(status).expect("a status"), String::new()).sent
    }

    #[test]
    fn only_some_refusals_prove_that_nothing_was_done() {
        let write = Fate::new(true);
        for status in [401, 403, 404, 405, 410, 412, 413, 415, 428, 429, 501, 307, 308] {
            assert_eq!(sent(&write, status), Sent::Rejected, "{status}");
        }
        for status in [200, 301, 302, 303, 400, 408, 409, 422, 424, 500, 502, 503, 504, 507] {
            assert_eq!(sent(&write, status), Sent::Unknown, "{status}");
            assert_eq!(sent(&Fate::new(false), status), Sent::Rejected, "a read: {status}");
        }
    }

    #[test]
    fn a_lost_write_is_open_from_its_first_byte_on() {
        let write = Fate::new(true);
        assert_eq!(write.lost(ErrorClass::Network, "").sent, Sent::No);
        write.begun().set();
        assert_eq!(write.lost(ErrorClass::Network, "").sent, Sent::Unknown);
        let read = Fate::new(false);
        read.begun().set();
        assert_eq!(read.lost(ErrorClass::Network, "").sent, Sent::No);
    }

    #[test]
    fn a_redirect_may_mean_that_all_was_done() {
        let write = Fate::new(true);
        write.begun().set();
        let result = write.redirected(StatusCode::SEE_OTHER, false);
        assert_eq!((result.lost(ErrorClass::Network, "").sent, sent(&result, 404)), (Sent::Unknown, Sent::Unknown));
        let again = write.redirected(StatusCode::TEMPORARY_REDIRECT, true);
        assert_eq!((again.lost(ErrorClass::Network, "").sent, sent(&again, 404)), (Sent::No, Sent::Rejected));
        let read = Fate::new(false).redirected(StatusCode::FOUND, false);
        assert_eq!(sent(&read, 404), Sent::Rejected);
    }
}
