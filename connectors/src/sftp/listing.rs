//! What is at the server.

use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, StatusCode};
use surefoot_connector_api::{CallError, ErrorClass};

use super::client::{Client, at};
use super::failure::{Step, within};
use crate::remote_files::{Entry, Kind, Listing, joined, last_part, time_text};

/// The part of the mode that says what a file is, and its values.
const KIND_MASK: u32 = 0o170_000;
const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// What is in a directory, and, where `recursive`, in those below it; sorted by path.
pub(super) async fn list(client: &Client, path: &str, recursive: bool) -> Result<Vec<Entry>, CallError> {
    let mut listing = Listing::new(path, recursive);
    while let Some((directory, depth)) = listing.next() {
        list_one(client, &directory, depth, &mut listing).await?;
    }
    Ok(listing.finish())
}

/// What `path` is.
pub(super) async fn stat(client: &Client, path: &str) -> Result<Entry, CallError> {
    let attributes = client.attributes(path).await?;
    Ok(entry(path.to_owned(), &attributes))
}

async fn list_one(client: &Client, directory: &str, depth: usize, listing: &mut Listing) -> Result<(), CallError> {
    let doing = "listing the directory";
    let handle = within(client.limit, Step::Reading, doing, client.raw.opendir(at(directory))).await?.handle;
    loop {
        let part = async {
            match client.raw.readdir(handle.as_str()).await {
                Ok(names) => Ok(Some(names.files)),
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(files) = within(client.limit, Step::Reading, doing, part).await? else { break };
        let mut entries = Vec::new();
        for file in files.iter().filter(|file| !matches!(file.filename.as_str(), "." | "..")) {
            if file.filename.is_empty() || file.filename.contains('/') {
                return Err(CallError::not_sent(ErrorClass::Protocol, "the listing holds an impossible name"));
            }
            entries.push(entry(joined(directory, &file.filename), &file.attrs));
        }
        listing.add(depth, entries)?;
    }
    within(client.limit, Step::Reading, doing, client.raw.close(handle)).await.map(|_| ())
}

fn entry(path: String, attributes: &FileAttributes) -> Entry {
    let kind = match attributes.permissions.map(|mode| mode & KIND_MASK) {
        Some(FILE) => Kind::File,
        Some(DIRECTORY) => Kind::Directory,
        Some(LINK) => Kind::Link,
        _ => Kind::Other,
    };
    Entry {
        name: last_part(&path).to_owned(),
        path,
        kind,
        size_bytes: attributes.size.filter(|_| kind == Kind::File),
        modified_at: attributes.mtime.and_then(|seconds| time_text(seconds.into())),
        permissions: attributes.permissions.map(|mode| format!("{:04o}", mode & 0o7777)),
    }
}
