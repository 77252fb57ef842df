//! What is at the server: MLSD and MLST where it knows them, else the texts of LIST.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use suppaftp::list::ListParser;
use suppaftp::{Encoding, FtpError, Status};
use surefoot_connector_api::{CallError, ErrorClass};
use tokio::io::AsyncReadExt;

use super::failure::{self, Step, within};
use super::session::{Session, is_unknown_command};
use crate::remote_files::{Entry, Kind, Listing, joined, last_part};

/// The longest listing of one directory, in bytes.
const LISTING_BYTES_MAX: usize = 16 << 20;
/// What is in a directory, and, where `recursive`, in those below it; sorted by path.
pub(super) async fn list(session: &mut Session, path: &str, recursive: bool) -> Result<Vec<Entry>, CallError> {
    let mut listing = Listing::new(path, recursive);
    while let Some((directory, depth)) = listing.next() {
        listing.add(depth, list_one(session, &directory).await?)?;
    }
    Ok(listing.finish())
}

/// What `path` is.
pub(super) async fn stat(session: &mut Session, path: &str) -> Result<Entry, CallError> {
    let doing = "asking what the path is";
    match tokio::time::timeout(session.limit, session.ftp.mlst(Some(path))).await {
        Ok(Ok(line)) => match parse_facts(&line) {
            Some(facts) => Ok(facts.entry(path.to_owned())),
            None => Err(CallError::not_sent(ErrorClass::Protocol, "the answer to MLST cannot be understood")),
        },
        Ok(Err(error)) if is_unknown_command(&error) => stat_by_listing(session, path).await,
        Ok(Err(error)) => Err(failure::failure(Step::Reading, doing, error)),
        Err(_) => Err(failure::timed_out(Step::Reading, doing, session.limit)),
    }
}

/// For servers without MLST: what can be entered is a directory; anything else stands in the listing of its directory.
async fn stat_by_listing(session: &mut Session, path: &str) -> Result<Entry, CallError> {
    let entering = tokio::time::timeout(session.limit, session.ftp.cwd(path)).await;
    match entering {
        Ok(Ok(())) => {
            let (name, path) = (last_part(path).to_owned(), path.to_owned());
            return Ok(Entry {
                name,
                path,
                kind: Kind::Directory,
                size_bytes: None,
                modified_at: None,
                permissions: None,
            });
        }
        Ok(Err(error)) if failure::reply_code(&error).is_some_and(|code| code >= 500) => {}
        Ok(Err(error)) => return Err(failure::failure(Step::Reading, "asking what the path is", error)),
        Err(_) => return Err(failure::timed_out(Step::Reading, "asking what the path is", session.limit)),
    }
    let parent = path.strip_suffix(last_part(path)).unwrap_or_default();
    let found = list_one(session, parent).await?.into_iter().find(|entry| entry.path == path);
    found.ok_or_else(|| CallError::rejected(ErrorClass::NotFound, "the path is not in the listing of its directory"))
}

async fn list_one(session: &mut Session, directory: &str) -> Result<Vec<Entry>, CallError> {
    match listing_text(session, "MLSD", directory).await? {
        Ok(text) => entries(&text, directory, parse_mlsd),
        Err(_) => match listing_text(session, "LIST", directory).await? {
            Ok(text) => entries(&text, directory, parse_list),
            Err(error) => Err(failure::failure(Step::Reading, "listing the directory", error)),
        },
    }
}

/// The text of one directory; the inner error where the server does not know the command.
async fn listing_text(
    session: &mut Session,
    command: &str,
    directory: &str,
) -> Result<Result<String, FtpError>, CallError> {
    let doing = "listing the directory";
    let command = if directory.is_empty() { command.to_owned() } else { format!("{command} {directory}") };
    let opened = session.ftp.custom_data_command(command, &[Status::AboutToSend, Status::AlreadyOpen]);
    let mut stream = match tokio::time::timeout(session.limit, opened).await {
        Ok(Ok((_, stream))) => stream,
        Ok(Err(error)) if is_unknown_command(&error) => return Ok(Err(error)),
        Ok(Err(error)) => return Err(failure::failure(Step::Reading, doing, error)),
        Err(_) => return Err(failure::timed_out(Step::Reading, doing, session.limit)),
    };
    let mut text = Vec::new();
    loop {
        match tokio::time::timeout(session.limit, stream.read_buf(&mut text)).await {
            Ok(Ok(0)) => break,
            Ok(Ok(_)) if text.len() > LISTING_BYTES_MAX => {
                return Err(too_much(format!("the listing of one directory has more than {LISTING_BYTES_MAX} bytes")));
            }
            Ok(Ok(_)) => {}
            // A TLS connection that ends without a goodbye: whether that was all, the server's confirmation says.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Ok(Err(error)) => return Err(failure::cut(Step::Reading, doing, &error)),
            Err(_) => return Err(failure::timed_out(Step::Reading, doing, session.limit)),
        }
    }
    within(session.limit, Step::Reading, doing, stream.finish()).await?;
    Ok(Ok(session.encoding.decode(&text)))
}

/// A line of a listing that was understood: an entry, or something that is none.
type Line = Option<Facts>;

fn entries(text: &str, directory: &str, parse: fn(&str) -> Result<Line, ()>) -> Result<Vec<Entry>, CallError> {
    let mut entries = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let Ok(facts) = parse(line) else {
            return Err(CallError::not_sent(ErrorClass::Protocol, "a line of the listing cannot be understood"));
        };
        let Some(facts) = facts.filter(|facts| !matches!(facts.name.as_str(), "." | "..")) else { continue };
        if facts.name.is_empty() || facts.name.contains('/') {
            return Err(CallError::not_sent(ErrorClass::Protocol, "the listing holds an impossible name"));
        }
        let path = joined(directory, &facts.name);
        entries.push(facts.entry(path));
    }
    Ok(entries)
}

/// What a server told about one entry.
struct Facts {
    name: String,
    kind: Kind,
    size_bytes: Option<u64>,
    modified_at: Option<String>,
    permissions: Option<String>,
}

impl Facts {
    fn entry(self, path: String) -> Entry {
        let size_bytes = self.size_bytes.filter(|_| self.kind == Kind::File);
        let name = last_part(&path).to_owned();
        Entry { name, path, kind: self.kind, size_bytes, modified_at: self.modified_at, permissions: self.permissions }
    }
}

fn parse_mlsd(line: &str) -> Result<Line, ()> {
    parse_facts(line).map(Some).ok_or(())
}

/// One line of MLSD or MLST (RFC 3659, 7.2): `fact=value;fact=value; name`.
fn parse_facts(line: &str) -> Option<Facts> {
    let (text, name) = line.trim_start().split_once(' ')?;
    let mut facts =
        Facts { name: name.to_owned(), kind: Kind::Other, size_bytes: None, modified_at: None, permissions: None };
    for fact in text.split(';').filter(|fact| !fact.is_empty()) {
        let (key, value) = fact.split_once('=')?;
        match key.to_ascii_lowercase().as_str() {
            "type" => facts.kind = kind(value, &mut facts.name),
            "size" => facts.size_bytes = Some(value.parse().ok()?),
            "unix.mode" => facts.permissions = Some(format!("{value:0>4}")),
            "modify" => facts.modified_at = Some(timestamp(value)?),
            _ => {}
        }
    }
    Some(facts)
}

fn kind(value: &str, name: &mut String) -> Kind {
    let value = value.to_ascii_lowercase();
    match value.as_str() {
        "file" => Kind::File,
        "dir" => Kind::Directory,
        "cdir" => {
            // The directory itself; servers give it as a path or as a dot.
            *name = ".".into();
            Kind::Directory
        }
        "pdir" => {
            *name = "..".into();
            Kind::Directory
        }
        _ if value.contains("link") => Kind::Link,
        _ => Kind::Other,
    }
}

/// `20261121224354.123` (UTC, the fraction optional) as `2026-11-21T22:43:54Z`.
fn timestamp(value: &str) -> Option<String> {
    let seconds = value.split('.').next()?;
    let time = DateTime::strptime("%Y%m%d%H%M%S", seconds).ok()?;
    Offset::UTC.to_timestamp(time).ok().map(|time| time.to_string())
}

/// One line of LIST, as Unix and DOS servers write it. Its times are in the server's own zone, so they are left out.
fn parse_list(line: &str) -> Result<Line, ()> {
    if line.strip_prefix("total ").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit())) {
        return Ok(None);
    }
    let file = ListParser::parse_posix(line).or_else(|_| ListParser::parse_dos(line)).map_err(|_| ())?;
    let kind = if file.is_directory() {
        Kind::Directory
    } else if file.is_symlink() {
        Kind::Link
    } else {
        Kind::File
    };
    // LIST of a file gives the path that was asked for.
    let name = last_part(file.name()).to_owned();
    Ok(Some(Facts { name, kind, size_bytes: Some(file.size() as u64), modified_at: None, permissions: None }))
}

fn too_much(message: String) -> CallError {
    CallError::not_sent(ErrorClass::Protocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_real_servers() {
        let text = "modify=20261121224354.123;perm=flcdmpe;type=cdir;UNIX.mode=0755; .\r\n\
                    modify=20261121224354;perm=adfrw;size=12;type=file;UNIX.mode=0644; a; b.txt\r\n\
                    type=dir;modify=20260101000000; sub\r\n\
                    type=OS.unix=symlink;size=9; to a\r\n";
        let found = entries(text, "in", parse_mlsd).expect("every line is understood");
        let expected = |name: &str, kind, size_bytes, modified_at: Option<&str>, permissions: Option<&str>| Entry {
            name: name.into(),
            path: format!("in/{name}"),
            kind,
            size_bytes,
            modified_at: modified_at.map(str::to_owned),
            permissions: permissions.map(str::to_owned),
        };
        assert_eq!(
            found,
            [
                expected("a; b.txt", Kind::File, Some(12), Some("2026-11-21T22:43:54Z"), Some("0644")),
                expected("sub", Kind::Directory, None, Some("2026-01-01T00:00:00Z"), None),
                expected("to a", Kind::Link, None, None, None),
            ]
        );
    }

    #[test]
    fn lists_of_unix_and_dos_servers() {
        let text = "total 8\r\n\
                    -rw-r--r--   1 user  group    1234 Nov 05 13:46 a b.txt\r\n\
                    drwxr-xr-x   2 user  group    4096 Nov 05  2024 sub\r\n\
                    10-19-20  03:19PM       <DIR>          pub\r\n";
        let found = entries(text, "/", parse_list).expect("every line is understood");
        let short: Vec<_> = found.iter().map(|e| (e.path.as_str(), e.kind, e.size_bytes)).collect();
        assert_eq!(
            short,
            [("/a b.txt", Kind::File, Some(1234)), ("/sub", Kind::Directory, None), ("/pub", Kind::Directory, None)]
        );
    }

    #[test]
    fn nonsense_is_an_error() {
        for (text, parse) in [
            ("type=file;size=x; a", parse_mlsd as fn(&str) -> _),
            ("type=file;modify=2026; a", parse_mlsd),
            ("nonsense", parse_mlsd),
            ("type=file; ../../etc/passwd", parse_mlsd),
            ("nonsense", parse_list),
        ] {
            let error = entries(text, "", parse).expect_err(text);
            assert_eq!(error.class, ErrorClass::Protocol);
        }
    }
}
