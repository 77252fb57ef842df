//! The body of an answer, chunk by chunk: unpacked, where it comes packed with gzip because we asked for that.
//!
//! What is packed may be a thousand times as long as it looks. It is unpacked in small pieces, so that whoever takes
//! them can stop, and what grows beyond reason is refused.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap};
use surefoot_connector_api::{CallError, ErrorClass};

use super::exchange::failure;
use super::fate::Fate;

/// How many packed bytes are unpacked at a time: to 4 MiB at most.
const PIECE_BYTES: usize = 4 * 1024;

/// Up to that length a body may be packed as densely as it likes, in bytes.
const DENSE_BYTES_MAX: u64 = 16 << 20;

/// A longer one is refused that is more than so many times as long as it came.
const DENSITY_MAX: u64 = 100;

/// See the module.
pub(super) struct Content {
    body: Incoming,
    unpacker: Option<Unpacker>,
}

impl Content {
    /// The body of an answer with these headers. Where it is unpacked, they lose what is said of its packed form.
    pub(super) fn of(body: Incoming, headers: &mut HeaderMap, may_be_packed: bool) -> Self {
        let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
        let is_gzip = |value: &[u8]| value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip");
        let is_packed = encodings.next().is_some_and(|value| is_gzip(value.as_bytes())) && encodings.next().is_none();
        let unpacker = (may_be_packed && is_packed).then(|| {
            headers.remove(header::CONTENT_ENCODING);
            headers.remove(header::CONTENT_LENGTH);
            Unpacker { decoder: MultiGzDecoder::new(Vec::new()), packed: Bytes::new(), came: 0, unpacked: 0 }
        });
        Self { body, unpacker }
    }

    /// A length that it has at least, in bytes.
    pub(super) fn size_bytes_min(&self) -> u64 {
        match self.unpacker {
            None => self.body.size_hint().lower(),
            Some(_) => 0,
        }
    }

    /// The next chunk; none after the last.
    pub(super) async fn next(&mut self, fate: &Fate) -> Result<Option<Bytes>, CallError> {
        let broken = |message| fate.lost(ErrorClass::Protocol, message);
        loop {
            if let Some(chunk) = self.unpacker.as_mut().map_or(Ok(None), Unpacker::next).map_err(broken)? {
                // Nothing is waited for while much is unpacked.
                tokio::task::yield_now().await;
                return Ok(Some(chunk));
            }
            let Some(frame) = self.body.frame().await else {
                let rest = self.unpacker.take().map_or(Ok(Bytes::new()), Unpacker::finish).map_err(broken)?;
                return Ok(Some(rest).filter(|rest| !rest.is_empty()));
            };
            let frame = frame.map_err(|error| failure(fate, "receiving the answer", &error))?;
            // What is no data are trailers, which nobody asked for.
            let Ok(chunk) = frame.into_data() else { continue };
            match &mut self.unpacker {
                None => return Ok(Some(chunk)),
                Some(unpacker) => unpacker.packed = chunk,
            }
        }
    }
}

struct Unpacker {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// What came and is not unpacked yet.
    packed: Bytes,
    /// Bytes that were unpacked, and what they became.
    came: u64,
    unpacked: u64,
}

impl Unpacker {
    /// What the next piece becomes; none when all that came is unpacked.
    fn next(&mut self) -> Result<Option<Bytes>, String> {
        while !self.packed.is_empty() {
            let piece = self.packed.split_to(self.packed.len().min(PIECE_BYTES));
            self.came += piece.len() as u64;
            self.decoder.write_all(&piece).map_err(|error| broken(&error))?;
            let unpacked = self.taken()?;
            if !unpacked.is_empty() {
                return Ok(Some(unpacked));
            }
        }
        Ok(None)
    }

    /// What is left at the end, which must be one.
    fn finish(mut self) -> Result<Bytes, String> {
        if self.came > 0 {
            self.decoder.try_finish().map_err(|error| broken(&error))?;
        }
        self.taken()
    }

    fn taken(&mut self) -> Result<Bytes, String> {
        let unpacked = std::mem::take(self.decoder.get_mut());
        self.unpacked += unpacked.len() as u64;
        if self.unpacked > DENSE_BYTES_MAX && self.unpacked > self.came.saturating_mul(DENSITY_MAX) {
            return Err(format!(
                "the body of the answer is more than {DENSITY_MAX} times as long as it came, packed with gzip; ask for \
                 it as it is with the header `Accept-Encoding: identity`"
            ));
        }
        Ok(unpacked.into())
    }
}

fn broken(error: &std::io::Error) -> String {
    format!("the body of the answer is not what gzip makes, or is cut: {error}")
}
