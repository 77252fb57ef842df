//! Packets: a length, a number, and content. Knows how they are formed, not what they say.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::errors::Failure;

/// The most that one packet holds; a longer content goes on in the next one.
const CONTENT_BYTES_MAX: usize = 0xFF_FFFF;
/// In the place of a length: no value.
const NULL: u8 = 0xFB;

/// Packets on a stream.
pub(super) struct Wire<S> {
    stream: S,
    /// The number of the next packet, whoever sends it. Starts again with each command.
    number: u8,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// On a fresh stream.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, number: 0 }
    }

    /// The same conversation on another stream, which `replace` makes of this one.
    pub(super) async fn replace<T, E>(self, replace: impl AsyncFnOnce(S) -> Result<T, E>) -> Result<Wire<T>, E> {
        Ok(Wire { stream: replace(self.stream).await?, number: self.number })
    }

    /// Sends what begins a command.
    pub(super) async fn command(&mut self, content: &[u8]) -> Result<(), Failure> {
        self.number = 0;
        self.send(content).await
    }

    /// Sends one content.
    pub(super) async fn send(&mut self, content: &[u8]) -> Result<(), Failure> {
        let mut rest = content;
        loop {
            let (part, after) = rest.split_at(rest.len().min(CONTENT_BYTES_MAX));
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
            self.stream.write_all(&[length[0], length[1], length[2], self.number]).await?;
            self.stream.write_all(part).await?;
            self.number = self.number.wrapping_add(1);
            rest = after;
            // A full packet is followed by another one, if only by an empty one.
            if part.len() < CONTENT_BYTES_MAX {
                break;
            }
        }
        Ok(self.stream.flush().await?)
    }

    /// Reads one content. Room is made as it comes, whatever length is announced.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let mut content = Vec::new();
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header).await?;
            let [low, middle, high, number] = header;
            if number != self.number {
                return Err(Failure::Protocol("packets are not in order".into()));
            }
            self.number = self.number.wrapping_add(1);
            let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
            let before = content.len();
            (&mut self.stream).take(length as u64).read_to_end(&mut content).await?;
            if content.len() - before < length {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if length < CONTENT_BYTES_MAX {
                return Ok(content);
            }
        }
    }
}

/// What is left of a content.
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn new(content: &'a [u8]) -> Self {
        Self(content)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(cut)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Failure> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Failure> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Failure> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of one to nine bytes.
    pub(super) fn length(&mut self) -> Result<u64, Failure> {
        Ok(match self.u8()? {
            0xFC => self.u16()?.into(),
            0xFD => {
                let [low, middle, high] = self.array()?;
                u32::from_le_bytes([low, middle, high, 0]).into()
            }
            0xFE => u64::from_le_bytes(self.array()?),
            NULL | 0xFF => return Err(Failure::Protocol("a length is missing".into())),
            short => short.into(),
        })
    }

    /// Bytes after their length.
    pub(super) fn value(&mut self) -> Result<&'a [u8], Failure> {
        let length = self.length()?;
        self.take(usize::try_from(length).map_err(|_| cut())?)
    }

    /// The same, where there may be no value.
    pub(super) fn optional_value(&mut self) -> Result<Option<&'a [u8]>, Failure> {
        if self.0.first() == Some(&NULL) {
            self.0 = &self.0[1..];
            return Ok(None);
        }
        self.value().map(Some)
    }

    /// Bytes before a zero, or all that is left.
    pub(super) fn until_zero(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let (taken, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + 1..]),
            None => (self.0, &self.0[self.0.len()..]),
        };
        self.0 = rest;
        taken
    }
}

/// Adds a value after its length.
pub(super) fn put_value(content: &mut Vec<u8>, value: &[u8]) {
    let length = value.len() as u64;
    let bytes = length.to_le_bytes();
    match length {
        0..0xFB => content.push(bytes[0]),
        0xFB..=0xFFFF => {
            content.push(0xFC);
            content.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xFF_FFFF => {
            content.push(0xFD);
            content.extend_from_slice(&bytes[..3]);
        }
        _ => {
            content.push(0xFE);
            content.extend_from_slice(&bytes);
        }
    }
    content.extend_from_slice(value);
}

fn cut() -> Failure {
    Failure::Protocol("a packet is too short".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_whatever_their_length() {
        for length in [0, 1, 250, 251, 65_535, 65_536, 0xFF_FFFF, 0x100_0000] {
            let value = vec![7; length];
            let mut content = Vec::new();
            put_value(&mut content, &value);
            assert_eq!(Bytes::new(&content).value().unwrap().len(), length);
        }
    }

    #[test]
    fn what_is_cut_is_an_error_and_no_panic() {
        for content in
            [&b""[..], b"\xFC\x01", b"\xFD\x01\x02", b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", b"\x05abc", b"\xFB"]
        {
            assert!(Bytes::new(content).value().is_err(), "{content:?}");
        }
        assert!(matches!(Bytes::new(b"\xFB").optional_value(), Ok(None)));
        assert_eq!(Bytes::new(b"no zero").until_zero(), b"no zero");
    }

    #[tokio::test]
    async fn a_content_beyond_one_packet_goes_on_in_the_next() {
        for length in [0, 5, CONTENT_BYTES_MAX - 1, CONTENT_BYTES_MAX, CONTENT_BYTES_MAX + 1] {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let (mut ours, mut theirs) = (Wire::new(ours), Wire::new(theirs));
            let content = vec![3; length];
            let (sent, received) = tokio::join!(ours.command(&content), theirs.receive());
            assert!(sent.is_ok());
            assert_eq!(received.ok().map(|content| content.len()), Some(length));
        }
    }

    #[tokio::test]
    async fn packets_out_of_order_are_refused() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(&[1, 0, 0, 9, 0]).await.unwrap();
        assert!(matches!(Wire::new(ours).receive().await, Err(Failure::Protocol(_))));
    }
}
