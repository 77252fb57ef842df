//! A content on its way out, compared with the digest that is its name.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::Result;
use sha2::{Digest, Sha256};

/// How much of a content is held back until all of it was compared, bytes. A content that is not longer is given out
/// only when it is right.
const HELD_BYTES: usize = 1 << 20;

/// The bytes on the disk are not those that were stored.
#[derive(Debug, thiserror::Error)]
#[error("it is damaged: its bytes are not those that were stored, whose SHA-256 is {0}")]
struct Damaged(String);

/// The same content; the last of it comes only when all of it is what the digest says, and an error in its place
/// otherwise.
pub(super) fn verified(
    sha256: String,
    content: BoxStream<'static, Result<Bytes>>,
) -> BoxStream<'static, Result<Bytes>> {
    let reading =
        Reading { content, sha256, hasher: Sha256::new(), held: VecDeque::new(), held_bytes: 0, is_right: false };
    let next = async |mut reading: Reading| Ok(reading.next().await?.map(|chunk| (chunk, reading)));
    futures::stream::try_unfold(reading, next).boxed()
}

struct Reading {
    content: BoxStream<'static, Result<Bytes>>,
    sha256: String,
    hasher: Sha256,
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// It was read to the end, and compared.
    is_right: bool,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.is_right && (self.held_bytes <= HELD_BYTES || self.held.len() < 2) {
            match self.content.try_next().await? {
                Some(chunk) => {
                    self.hasher.update(&chunk);
                    self.held_bytes += chunk.len();
                    self.held.push_back(chunk);
                }
                None => self.compare()?,
            }
        }
        let chunk = self.held.pop_front();
        self.held_bytes -= chunk.as_ref().map_or(0, Bytes::len);
        Ok(chunk)
    }

    fn compare(&mut self) -> Result<()> {
        if hex::encode(std::mem::take(&mut self.hasher).finalize()) == self.sha256 {
            self.is_right = true;
            return Ok(());
        }
        tracing::error!(sha256 = self.sha256, "a stored content is damaged; `surefoot doctor` says whose it is");
        Err(object_store::Error::Generic { store: "surefoot", source: Box::new(Damaged(self.sha256.clone())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::sha256_hex;

    async fn read(sha256: &str, content: &[u8], chunk_bytes: usize) -> (Vec<u8>, bool) {
        let chunks: Vec<Result<Bytes>> =
            content.chunks(chunk_bytes).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let mut stream = verified(sha256.to_owned(), futures::stream::iter(chunks).boxed());
        let mut read = Vec::new();
        loop {
            match stream.try_next().await {
                Ok(Some(chunk)) => read.extend_from_slice(&chunk),
                Ok(None) => return (read, true),
                Err(_) => return (read, false),
            }
        }
    }

    #[tokio::test]
    async fn the_last_of_a_content_comes_only_when_all_of_it_is_right() {
        for (length, chunk_bytes) in [(0, 1), (7, 3), (HELD_BYTES, 8192), (3 * HELD_BYTES + 5, 8192), (9, 9)] {
            let content = vec![7; length];
            let sha256 = sha256_hex(&content);
            assert_eq!(read(&sha256, &content, chunk_bytes).await, (content.clone(), true), "{length}");
            let mut longer = content.clone();
            longer.push(7);
            let mut other = content.clone();
            if let Some(byte) = other.first_mut() {
                *byte = 8;
            }
            let damaged = [&other[..], &content[..length.saturating_sub(1)], &longer].into_iter();
            for damaged in damaged.filter(|damaged| **damaged != content) {
                let (read, is_whole) = read(&sha256, damaged, chunk_bytes).await;
                assert!(!is_whole && read.len() <= damaged.len().saturating_sub(HELD_BYTES - chunk_bytes), "{length}");
            }
        }
    }
}
