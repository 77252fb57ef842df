//! Section 1: connections to external systems. Each function does one harmless piece of work and returns the
//! evidence.

use surefoot::prelude::*;

use crate::MailOnInterrupt;

const TEST_FILE: &str = "my-test-file.txt";

/// Downloads the test file from the FTP server.
pub(crate) fn download(system: &System, this: &Execution) -> Result<Value> {
    this.on_end().delete_file(TEST_FILE)?;
    // A run that was killed may have left it: the download must be this run's.
    system.file(TEST_FILE).delete(true)?;

    this.connect("my-ftp-connector")
        .name("download from FTP server")
        .input("src", "my/test/file.txt")
        .input("dst", format!("surefoot:{TEST_FILE}"))
        .run()?;

    let stat = system.file(TEST_FILE).stat()?.ok_or_else(|| Error::other("the download brought no file"))?;
    Ok(json!({ "size_bytes": stat.size_bytes, "sha256": stat.sha256 }))
}

/// Moves the test file on to a remote host. Without the download there is nothing to move, and this fails too.
pub(crate) fn upload(system: &System, this: &Execution) -> Result<Value> {
    let moved = this
        .connect("my-scp-connector")
        .name("move to remote")
        .input("src", format!("surefoot:{TEST_FILE}"))
        .input("dst", format!("/path/to/remote/{TEST_FILE}"))
        .run();
    system.file(TEST_FILE).delete(true)?;
    Ok(moved?.output)
}

/// Asks the database for one value.
pub(crate) fn query(this: &Execution) -> Result<Value> {
    let answer = this
        .connect("my-mssql-connector")
        .name("execute MSSQL query")
        .input("fetchval", "SELECT 1 FROM tbl_my_table")
        .run()?;
    Ok(answer.output)
}

/// Sends a mail.
pub(crate) fn mail(this: &Execution, on_interrupt: MailOnInterrupt) -> Result<Value> {
    let sent = this
        .connect("my-smtp-connector")
        .name("send mail")
        .input("from_", "my-user@my-domain.com")
        .input("to", ["other-user@my-domain.com"])
        .input("subject", "smtp connection test")
        .input("text", "This is a test.")
        .on_interrupt(match on_interrupt {
            MailOnInterrupt::Fail => OnInterrupt::Fail,
            MailOnInterrupt::Retry => OnInterrupt::Retry,
        })
        .run()?;
    Ok(sent.output)
}
