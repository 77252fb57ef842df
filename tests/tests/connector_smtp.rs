//! The connector `smtp` against aiosmtpd, and against peers that no real server would be.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use surefoot_connector_api::{CallError, Connector, Effect, ErrorClass, Inputs, Sent};
use surefoot_connectors::smtp::Smtp;
use surefoot_tests::connector_harness::{CallOptions, TestFiles, call, call_with, generated_sha256, sha256};
use surefoot_tests::servers::smtp::{SmtpServer, SmtpSetup, with};
use surefoot_tests::servers::stand_in::{CutAfter, StandIn};

const MB: u64 = 1024 * 1024;

fn mail() -> Value {
    json!({
        "from_": "my-user@my-domain.com",
        "to": ["other-user@my-domain.com"],
        "subject": "smtp connection test",
        "text": "This is a test.",
    })
}

fn mail_to(recipients: Value) -> Value {
    with(mail(), json!({ "to": recipients }))
}

async fn send(inputs: Value) -> Result<Value, CallError> {
    call(&Smtp, &TestFiles::new(), inputs).await
}

#[tokio::test]
async fn sends_a_mail_through_every_kind_of_encryption() {
    for setup in [SmtpSetup::Plain, SmtpSetup::StartTls, SmtpSetup::StartTlsLoginOnly, SmtpSetup::Implicit] {
        let server = SmtpServer::start(setup).unwrap();
        let output = send(with(server.inputs(), mail())).await.unwrap_or_else(|error| panic!("{setup:?}: {error:?}"));
        assert_eq!(output["response"], "250 2.0.0 kept as 0001", "{setup:?}");
        let mails = server.mails().unwrap();
        assert_eq!(mails.len(), 1);
        let received = &mails[0];
        assert_eq!(
            (received.from.as_str(), received.to.as_slice()),
            ("my-user@my-domain.com", &["other-user@my-domain.com".to_owned()][..])
        );
        assert_eq!(received.headers["Subject"], "smtp connection test");
        assert_eq!(received.headers["Message-ID"], output["message_id"]);
        assert!(received.headers.contains_key("Date"));
        assert_eq!(received.parts[0].text.as_deref().map(str::trim_end), Some("This is a test."));
        assert_eq!(received.defects, [""; 0]);
    }
}

#[tokio::test]
async fn everything_that_a_mail_may_have_arrives() {
    let server = SmtpServer::start(SmtpSetup::Plain).unwrap();
    let files = TestFiles::new();
    files.put("reports/bericht äöü.csv", "a;b\n1;2\n".repeat(100)).put("empty.bin", "");
    let inputs = with(
        server.inputs(),
        json!({
            "from": "Sender Ünique <sender@example.com>",
            "to": "a@example.com, Bob <b@example.com>",
            "cc": "c@example.com",
            "bcc": ["hidden@example.com"],
            "reply_to": "answers@example.com",
            "subject": "Grüße, 世界, and a subject that is far longer than one line of a mail may be in any case",
            "text": ".\n..dots at line starts\nA line of text with ümlauts\n.",
            "html": "<p>ümlauts</p>",
            "headers": { "X-Upgrade": "42 → 43" },
            "attachments": ["surefoot:reports/bericht äöü.csv", "cloudomation:empty.bin"],
        }),
    );
    call(&Smtp, &files, inputs).await.unwrap();
    let received = server.mails().unwrap().remove(0);
    assert_eq!(received.defects, [""; 0]);
    assert_eq!(received.to, ["a@example.com", "b@example.com", "c@example.com", "hidden@example.com"]);
    let header = |name: &str| received.headers.get(name).and_then(Value::as_str).unwrap_or_default();
    assert_eq!(
        header("Subject"),
        "Grüße, 世界, and a subject that is far longer than one line of a mail may be in any case"
    );
    assert_eq!(header("From"), "Sender Ünique <sender@example.com>");
    assert_eq!(header("To"), "a@example.com, Bob <b@example.com>");
    assert_eq!(header("Cc"), "c@example.com");
    assert_eq!(header("Reply-To"), "answers@example.com");
    assert_eq!(header("X-Upgrade"), "42 → 43");
    assert!(!received.headers.contains_key("Bcc"), "blind copies are blind");

    let types: Vec<&str> = received.parts.iter().map(|part| part.media_type.as_str()).collect();
    assert_eq!(types, ["text/plain", "text/html", "application/octet-stream", "application/octet-stream"]);
    let text = received.parts[0].text.as_deref().unwrap().replace("\r\n", "\n");
    assert_eq!(text.trim_end_matches('\n'), ".\n..dots at line starts\nA line of text with ümlauts\n.");
    assert_eq!(received.parts[1].text.as_deref().map(str::trim_end), Some("<p>ümlauts</p>"));
    let names: Vec<_> = received.parts[2..].iter().map(|part| part.file_name.as_deref().unwrap_or_default()).collect();
    assert_eq!(names, ["bericht äöü.csv", "empty.bin"]);
    assert_eq!(received.parts[2].sha256, sha256("a;b\n1;2\n".repeat(100).as_bytes()));
    assert_eq!(received.parts[3].size_bytes, 0);
}

#[tokio::test]
async fn a_large_attachment_arrives_unchanged() {
    let server = SmtpServer::start(SmtpSetup::StartTls).unwrap();
    let files = TestFiles::new();
    files.put_generated("large.bin", 5 * MB + 1);
    let inputs = with(with(server.inputs(), mail()), json!({ "attachments": ["surefoot:large.bin"] }));
    call(&Smtp, &files, inputs).await.unwrap();
    let received = server.mails().unwrap().remove(0);
    assert_eq!(received.parts[1].size_bytes, 5 * MB + 1);
    assert_eq!(received.parts[1].sha256, generated_sha256(5 * MB + 1));
}

#[tokio::test]
async fn attachments_beyond_the_limit_or_missing_send_nothing() {
    let server = SmtpServer::start(SmtpSetup::Plain).unwrap();
    let files = TestFiles::new();
    files.put_generated("a.bin", 6 * MB).put_generated("b.bin", 6 * MB).put_failing("broken.bin", "only this");
    let base = with(server.inputs(), mail());
    for (attachments, class, words) in [
        (json!(["surefoot:a.bin", "surefoot:b.bin"]), ErrorClass::InvalidInput, "attachments_bytes_max"),
        (json!(["surefoot:missing.bin"]), ErrorClass::NotFound, "missing.bin"),
        (json!(["/etc/passwd"]), ErrorClass::InvalidInput, "surefoot:NAME"),
        (json!(["surefoot:broken.bin"]), ErrorClass::Storage, "the disk is broken"),
    ] {
        let inputs = with(base.clone(), json!({ "attachments": attachments }));
        let error = call(&Smtp, &files, inputs).await.expect_err("not sendable");
        assert_eq!((error.class, error.sent), (class, Sent::No), "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    let raised = json!({ "attachments": ["surefoot:a.bin", "surefoot:b.bin"], "attachments_bytes_max": 12 * MB });
    call(&Smtp, &files, with(base, raised)).await.unwrap();
    assert_eq!(server.mails().unwrap().len(), 1);
}

#[tokio::test]
async fn a_mail_that_the_server_finds_too_large_is_not_begun() {
    let server = SmtpServer::start(SmtpSetup::PlainSmall).unwrap();
    send(with(server.inputs(), mail())).await.unwrap();
    let error =
        send(with(with(server.inputs(), mail()), json!({ "text": "long ".repeat(500) }))).await.expect_err("too large");
    assert_eq!((error.class, error.sent), (ErrorClass::Refused, Sent::No));
    assert!(error.message.contains("at most 1000"), "{error}");
}

#[tokio::test]
async fn one_refused_recipient_refuses_the_mail_for_all() {
    let server = SmtpServer::start(SmtpSetup::StartTls).unwrap();
    for (recipients, code, class) in [
        (json!(["unknown@example.com"]), "550", ErrorClass::Refused),
        (json!(["later@example.com"]), "451", ErrorClass::Refused),
        (json!(["fine@example.com", "unknown@example.com", "later@example.com"]), "550", ErrorClass::Refused),
    ] {
        let error = send(with(server.inputs(), mail_to(recipients.clone()))).await.expect_err("refused");
        assert_eq!((error.class, error.sent, error.peer_code.as_deref()), (class, Sent::Rejected, Some(code)));
        for name in recipients.as_array().unwrap().iter().filter_map(Value::as_str) {
            assert_eq!(error.message.contains(name), name != "fine@example.com", "{error}");
        }
    }
    assert_eq!(server.mails().unwrap().len(), 0);
}

#[tokio::test]
async fn a_refusal_of_the_whole_mail_is_a_refusal() {
    let server = SmtpServer::start(SmtpSetup::Plain).unwrap();
    let error = send(with(server.inputs(), mail_to(json!("refuse-mail@example.com")))).await.expect_err("refused");
    assert_eq!((error.class, error.sent), (ErrorClass::Refused, Sent::Rejected));
    assert_eq!(error.peer_code.as_deref(), Some("554"));
    assert!(error.message.contains("this mail is not wanted"), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    for setup in [SmtpSetup::StartTls, SmtpSetup::StartTlsLoginOnly, SmtpSetup::Implicit] {
        let server = SmtpServer::start(setup).unwrap();
        let wrong = with(with(server.inputs(), mail()), json!({ "password": "a wrong password" }));
        let error = send(wrong).await.expect_err("wrong password");
        assert_eq!((error.class, error.sent), (ErrorClass::Auth, Sent::Rejected), "{setup:?} {error}");
        assert_eq!(error.peer_code.as_deref(), Some("535"));
    }
    let server = SmtpServer::start(SmtpSetup::StartTls).unwrap();
    let mut without = with(server.inputs(), mail());
    without.as_object_mut().unwrap().retain(|name, _| name != "username" && name != "password");
    let error = send(without).await.expect_err("no login");
    assert_eq!((error.class, error.peer_code.as_deref()), (ErrorClass::Auth, Some("530")), "{error}");
}

#[tokio::test]
async fn only_the_right_certificate_is_trusted() {
    let stranger = SmtpServer::start(SmtpSetup::Implicit).unwrap();
    for setup in [SmtpSetup::StartTls, SmtpSetup::Implicit] {
        let server = SmtpServer::start(setup).unwrap();
        let inputs = with(with(server.inputs(), mail()), json!({ "server_ca": stranger.ca() }));
        let error = send(inputs).await.expect_err("another authority");
        assert_eq!((error.class, error.sent), (ErrorClass::Untrusted, Sent::No), "{setup:?} {error}");
        assert!(error.message.contains("server_ca"), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_starttls_gets_no_password_and_no_mail() {
    let server = SmtpServer::start(SmtpSetup::Plain).unwrap();
    let login = json!({ "tls": "starttls", "username": "app", "password": "smtp-Pw1!" });
    let error = send(with(with(server.inputs(), mail()), login)).await.expect_err("no encryption");
    assert_eq!((error.class, error.sent), (ErrorClass::Untrusted, Sent::No));
    assert!(error.message.contains("STARTTLS"), "{error}");
}

#[tokio::test]
async fn hosts_outside_of_the_policy_are_not_reached() {
    let server = SmtpServer::start(SmtpSetup::Plain).unwrap();
    let options = CallOptions { allow: vec!["mail.example.com".into()], ..CallOptions::default() };
    let error = call_with(&Smtp, &TestFiles::new(), with(server.inputs(), mail()), &options).await.expect_err("denied");
    assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No));
    assert!(error.message.contains("127.0.0.1"), "{error}");
    assert_eq!(server.mails().unwrap().len(), 0);
}

#[tokio::test]
async fn silence_before_the_mail_proves_that_nothing_was_sent() {
    let silent = StandIn::silent().unwrap();
    let inputs = json!({ "hostname": "127.0.0.1", "port": silent.port(), "tls": "none" });
    for limit in ["connect_timeout", "total_timeout"] {
        let error = send(with(with(inputs.clone(), mail()), json!({ limit: 0.2 }))).await.expect_err("silence");
        assert_eq!((error.class, error.sent), (ErrorClass::Timeout, Sent::No));
        assert!(error.message.contains(limit), "{error}");
    }
}

#[tokio::test]
async fn after_the_end_of_the_mail_silence_and_a_cut_leave_the_outcome_open() {
    let server = SmtpServer::start(SmtpSetup::StartTls).unwrap();
    for (recipient, class, count) in
        [("silent@example.com", ErrorClass::Timeout, 1), ("hang-up@example.com", ErrorClass::Network, 2)]
    {
        let inputs = with(with(server.inputs(), mail_to(json!(recipient))), json!({ "total_timeout": 3 }));
        let error = send(inputs).await.expect_err("no answer");
        assert_eq!((error.class, error.sent), (class, Sent::Unknown), "{error}");
        assert_eq!(server.mails().unwrap().len(), count, "the mail did arrive");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_within_the_mail_proves_that_nothing_was_sent() {
    let server = SmtpServer::start(SmtpSetup::Plain).unwrap();
    let files = TestFiles::new();
    files.put_generated("large.bin", 2 * MB);
    let inputs = with(with(server.inputs(), mail()), json!({ "attachments": ["surefoot:large.bin"] }));
    for bytes in [0, 30, 1_000, 1_000_000] {
        let proxy = StandIn::cutting(server.address(), CutAfter::Asked(bytes)).unwrap();
        let cut = with(inputs.clone(), json!({ "port": proxy.port() }));
        let error = call(&Smtp, &files, cut).await.expect_err("cut");
        assert_eq!((error.class, error.sent), (ErrorClass::Network, Sent::No), "after {bytes} bytes: {error}");
    }
    assert_eq!(server.mails().unwrap().len(), 0);
}

/// Answers each line of the client with the next of `answers`; after the last it hangs up.
fn scripted(answers: &'static [&'static str]) -> StandIn {
    let serve = move |mut stream: TcpStream| -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        stream.write_all(answers[0].as_bytes())?;
        for answer in &answers[1..] {
            let Some(mut line) = lines.next().transpose()? else { return Ok(()) };
            // The mail itself gets one answer.
            while answers.contains(&"354 go\r\n") && answer.starts_with("2after") && line != "." {
                let Some(next) = lines.next().transpose()? else { return Ok(()) };
                line = next;
            }
            stream.write_all(answer.trim_start_matches("2after").as_bytes())?;
        }
        Ok(())
    };
    // An error here means that the client hung up first.
    StandIn::start(move |stream| drop(serve(stream))).unwrap()
}

#[tokio::test]
async fn cut_and_malformed_answers_are_never_success() {
    let cases: [(&[&str], ErrorClass, Sent); 12] = [
        (&[""], ErrorClass::Network, Sent::No),
        (&["220 no line end"], ErrorClass::Network, Sent::No),
        (&["HTTP/1.1 400 Bad Request\r\n"], ErrorClass::Protocol, Sent::No),
        (&["554 no service here\r\n"], ErrorClass::Refused, Sent::Rejected),
        (&["421 busy\r\n"], ErrorClass::Network, Sent::Rejected),
        (&["220 a\r\n", "250-one\r\n"], ErrorClass::Network, Sent::No),
        (&["220 a\r\n", "250-one\r\n550 two\r\n"], ErrorClass::Protocol, Sent::No),
        (
            &["220 a\r\n", "250 b\r\n", "250 ok\r\n", "250 ok\r\n", "250 and not 354\r\n"],
            ErrorClass::Refused,
            Sent::Rejected,
        ),
        (&["220 a\r\n", "250 b\r\n", "250 ok\r\n", "250 ok\r\n"], ErrorClass::Network, Sent::No),
        (
            &["220 a\r\n", "250 b\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "2after"],
            ErrorClass::Network,
            Sent::Unknown,
        ),
        (
            &["220 a\r\n", "250 b\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "2after25"],
            ErrorClass::Network,
            Sent::Unknown,
        ),
        (
            &["220 a\r\n", "250 b\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "2after{}\r\n"],
            ErrorClass::Protocol,
            Sent::Unknown,
        ),
    ];
    for (answers, class, sent) in cases {
        let peer = scripted(answers);
        let inputs = json!({ "hostname": "127.0.0.1", "port": peer.port(), "tls": "none", "total_timeout": 10 });
        let error = send(with(inputs, mail())).await.expect_err("not an answer");
        assert_eq!((error.class, error.sent), (class, sent), "{answers:?}: {error}");
    }
}

#[tokio::test]
async fn the_same_call_sends_the_same_message_id_and_another_call_another() {
    let server = SmtpServer::start(SmtpSetup::Plain).unwrap();
    let inputs = with(server.inputs(), mail());
    let first = send(inputs.clone()).await.unwrap();
    let again = send(inputs.clone()).await.unwrap();
    let options = CallOptions { idempotency_key: "another call's key".into(), ..CallOptions::default() };
    let other = call_with(&Smtp, &TestFiles::new(), inputs, &options).await.unwrap();
    assert_eq!(first["message_id"], again["message_id"]);
    assert_ne!(first["message_id"], other["message_id"]);
    assert!(!first["message_id"].as_str().unwrap().contains("key"), "the key is a secret");
    let ids: Vec<_> = server.mails().unwrap().iter().map(|mail| mail.headers["Message-ID"].clone()).collect();
    assert_eq!(ids, [first["message_id"].clone(), again["message_id"].clone(), other["message_id"].clone()]);
}

#[tokio::test]
async fn addresses_beyond_ascii_need_a_server_that_takes_them() {
    let server = SmtpServer::start(SmtpSetup::Plain).unwrap();
    send(with(server.inputs(), mail_to(json!("jörg@example.com")))).await.unwrap();
    assert_eq!(server.mails().unwrap()[0].to, ["jörg@example.com"]);
    let plain = scripted(&["220 a\r\n", "250 b\r\n", "250 ok\r\n"]);
    let inputs = json!({ "hostname": "127.0.0.1", "port": plain.port(), "tls": "none" });
    let error = send(with(inputs, mail_to(json!("jörg@example.com")))).await.expect_err("not taken");
    assert_eq!((error.class, error.sent), (ErrorClass::InvalidInput, Sent::No));
}

#[tokio::test]
async fn a_dropped_call_ends_its_connection() {
    let server = SmtpServer::start(SmtpSetup::Plain).unwrap();
    let options = CallOptions { timeout: Duration::from_millis(500), ..CallOptions::default() };
    let inputs = with(server.inputs(), mail_to(json!("silent@example.com")));
    let error = call_with(&Smtp, &TestFiles::new(), inputs, &options).await.expect_err("dropped");
    assert_eq!(error.class, ErrorClass::Timeout);
    send(with(server.inputs(), mail())).await.unwrap();
}

#[test]
fn sending_is_a_write() {
    assert_eq!(Smtp.effect(&Inputs::new()), Effect::Write);
}
