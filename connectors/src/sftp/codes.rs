//! Status codes that version 3 of SFTP does not have.
//!
//! Servers that speak later versions, too, use theirs in version 3 as well: ProFTPD says 11 for a file that exists. The
//! library takes such an answer for the end of the connection. So they become the general failure on their way to it;
//! the server's text stays.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The type of a packet that holds a status.
const STATUS: u8 = 101;
/// The highest code of version 3, and the one for any failure.
const CODE_MAX: u8 = 8;
const FAILURE: u8 = 4;
/// Where the code begins in a packet: behind its length (4 bytes), type (1) and id (4).
const CODE_AT: usize = 9;
const CODE_END: usize = CODE_AT + 4;

/// A stream whose status codes are all of version 3.
pub(super) struct KnownCodes<S> {
    stream: S,
    packet: Packet,
}

/// How far the packet that is under way has come.
#[derive(Default)]
struct Packet {
    /// How many of its bytes have passed.
    position: usize,
    /// How many bytes follow its length.
    length: usize,
    is_status: bool,
    /// One of the upper bytes of the code was not 0.
    is_large: bool,
}

impl<S> KnownCodes<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, packet: Packet::default() }
    }
}

impl Packet {
    /// Looks at the next bytes of the stream, and changes codes among them.
    fn pass(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let mut passed = 1;
            match self.position {
                0..4 => self.length = self.length << 8 | usize::from(bytes[0]),
                4 => self.is_status = bytes[0] == STATUS,
                CODE_AT..CODE_END if self.is_status => self.pass_code(&mut bytes[0]),
                CODE_END.. => passed = bytes.len().min(self.length + 4 - self.position),
                _ => {}
            }
            self.position += passed;
            bytes = &mut bytes[passed..];
            if self.position >= 4 && self.position == self.length + 4 {
                *self = Self::default();
            }
        }
    }

    fn pass_code(&mut self, byte: &mut u8) {
        if self.position < CODE_END - 1 {
            self.is_large |= *byte != 0;
            *byte = 0;
        } else if self.is_large || *byte > CODE_MAX {
            *byte = FAILURE;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for KnownCodes<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.packet.pass(&mut buffer.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for KnownCodes<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u32) -> Vec<u8> {
        let mut packet = vec![0, 0, 0, 14, STATUS, 0, 0, 0, 7];
        packet.extend(code.to_be_bytes());
        packet.extend(*b"\0\0\0\x01\xff");
        packet
    }

    #[test]
    fn unknown_codes_become_failures_however_the_stream_is_cut() {
        let data = [0, 0, 0, 10, 103, 0, 0, 0, 1, 9, 9, 9, 9, 9];
        let sent = [&status(11)[..], &data, &status(2), &[0, 0, 0, 0], &status(0), &status(256), &status(8)].concat();
        let wanted = [&status(4)[..], &data, &status(2), &[0, 0, 0, 0], &status(0), &status(4), &status(8)].concat();
        for size in 1..sent.len() {
            let (mut packet, mut passed) = (Packet::default(), sent.clone());
            passed.chunks_mut(size).for_each(|chunk| packet.pass(chunk));
            assert_eq!(passed, wanted, "in pieces of {size}");
        }
    }
}
