//! Files of the file store.

use std::io::{self, BufReader, Read};

use crate::error::{Error, Result};
use crate::host;

/// How much one call of the host reads.
const CHUNK_BYTES: u32 = 1 << 20;

/// What is known about a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// Its name.
    pub name: String,
    /// The size of its content.
    pub size_bytes: u64,
    /// The digest of its content, hexadecimal.
    pub sha256: String,
}

/// A file that may exist or not. Made by [`System::file`](crate::System::file).
///
/// Connectors read and write it under the name `surefoot:NAME`.
///
/// ```no_run
/// # use surefoot::prelude::*;
/// # fn example(system: &System) -> Result<()> {
/// let file = system.file("totals.json");
/// file.write(json!({ "total": 42 }).to_string())?;
/// assert!(file.exists()?);
/// let text = file.read_text()?;
/// file.delete(true)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    name: String,
}

impl File {
    pub(crate) fn new(name: String) -> Self {
        Self { name }
    }

    /// Whether there is such a file.
    ///
    /// # Errors
    /// Those of the host.
    pub fn exists(&self) -> Result<bool> {
        Ok(self.stat()?.is_some())
    }

    /// Size and digest; `None` if there is no such file.
    ///
    /// # Errors
    /// Those of the host.
    pub fn stat(&self) -> Result<Option<FileStat>> {
        host::stat_file(&self.name)
    }

    /// The whole content. For a file that may be larger than the flow's memory use [`reader`](Self::reader).
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such file.
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.chunks()?.read_to_end(&mut content)?;
        Ok(content)
    }

    /// The whole content as text.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such file, [`Error::UnexpectedData`] if it is not UTF-8.
    pub fn read_text(&self) -> Result<String> {
        String::from_utf8(self.read()?)
            .map_err(|error| Error::UnexpectedData(format!("file `{}`: {}", self.name, error.utf8_error())))
    }

    /// Reads the content piece by piece.
    ///
    /// ```no_run
    /// # use surefoot::prelude::*;
    /// # fn example(system: &System) -> Result<()> {
    /// use std::io::BufRead;
    ///
    /// let mut orders = 0;
    /// for line in system.file("orders.csv").reader()?.lines() {
    ///     orders += u64::from(!line?.is_empty());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such file. What goes wrong later comes out of the reader; `?` turns it back
    /// into the host's error.
    pub fn reader(&self) -> Result<BufReader<FileReader>> {
        Ok(BufReader::with_capacity(CHUNK_BYTES as usize, self.chunks()?))
    }

    /// Replaces the whole content, or creates the file.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if the content is too large.
    pub fn write(&self, content: impl AsRef<[u8]>) -> Result<FileStat> {
        host::write_file(&self.name, content.as_ref())
    }

    /// Deletes the file: into the trash, or permanently. Returns whether there was one.
    ///
    /// # Errors
    /// Those of the host; a missing file is none.
    pub fn delete(&self, permanently: bool) -> Result<bool> {
        host::delete_file(&self.name, permanently)
    }

    fn chunks(&self) -> Result<FileReader> {
        let stat = self.stat()?.ok_or_else(|| Error::NotFound(format!("file `{}`", self.name)))?;
        Ok(FileReader { name: self.name.clone(), position: 0, size_bytes: stat.size_bytes })
    }
}

/// Reads a file's content as far as it reached when reading began.
#[derive(Debug)]
pub struct FileReader {
    name: String,
    position: u64,
    size_bytes: u64,
}

impl FileReader {
    fn read_with(&mut self, buffer: &mut [u8], read: impl Fn(&str, u64, u32) -> Result<Vec<u8>>) -> io::Result<usize> {
        let left = self.size_bytes - self.position;
        let most = left.min(u64::from(CHUNK_BYTES)).min(buffer.len() as u64);
        let length = u32::try_from(most).unwrap_or(CHUNK_BYTES);
        if length == 0 {
            return Ok(0);
        }
        let chunk = read(&self.name, self.position, length).map_err(io::Error::other)?;
        let target = buffer.get_mut(..chunk.len()).ok_or(io::ErrorKind::InvalidData)?;
        target.copy_from_slice(&chunk);
        self.position += chunk.len() as u64;
        Ok(chunk.len())
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_with(buffer, host::read_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(content: &[u8], offset: u64, length: u32) -> Vec<u8> {
        let start = content.len().min(offset as usize);
        let end = content.len().min(start + length as usize);
        content[start..end].to_vec()
    }

    #[test]
    fn content_is_read_in_chunks() {
        let content = b"0123456789";
        let mut reader = FileReader { name: "digits".into(), position: 0, size_bytes: 10 };
        let mut seen = Vec::new();
        let mut buffer = [0; 4];
        loop {
            let count = reader.read_with(&mut buffer, |_, offset, length| Ok(slice(content, offset, length))).unwrap();
            if count == 0 {
                break;
            }
            seen.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(seen, content);
        assert_eq!(reader.read_with(&mut buffer, |_, _, _| panic!("read past the end")).unwrap(), 0);
    }

    #[test]
    fn the_hosts_error_comes_back_out() {
        let mut reader = FileReader { name: "digits".into(), position: 0, size_bytes: 10 };
        let denied = Error::PermissionDenied("file `digits`".into());
        let error = reader.read_with(&mut [0; 4], |_, _, _| Err(denied.clone())).unwrap_err();
        assert_eq!(Error::from(error), denied);
    }
}
