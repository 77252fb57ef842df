//! The connector type `http` against nginx and Python's `http.server`, and against peers that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use surefoot_connector_api::{CallError, Connector, Effect, ErrorClass, Sent};
use surefoot_connectors::http::Http;
use surefoot_tests::connector_harness::{
    CallOptions, MemoryGrowth, TestFiles, call, call_with, generated_sha256, merged, runs_elsewhere, sha256,
};
use surefoot_tests::servers::certificates::TestCertificates;
use surefoot_tests::servers::http::{HttpServer, PASSWORD, USER};
use surefoot_tests::servers::stand_in::{CutAfter, StandIn};
use surefoot_tests::workspace::{Workspace, id};

/// `more` on top of inputs that every test can use.
fn inputs(more: Value) -> Value {
    merged(json!({ "connect_timeout": 10, "socket_timeout": 10 }), more)
}

async fn http(files: &TestFiles, more: Value) -> Result<Value, CallError> {
    call(&Http, files, inputs(more)).await
}

/// Without a file store.
async fn request(more: Value) -> Result<Value, CallError> {
    http(&TestFiles::new(), more).await
}

#[tokio::test]
async fn a_resource_is_put_read_and_deleted_on_nginx() -> Result<()> {
    let tls = TestCertificates::generate()?;
    for (server, ca) in [(HttpServer::nginx(None)?, Value::Null), (HttpServer::nginx(Some(&tls))?, json!(tls.ca))] {
        let trusting = |mut more: Value| {
            let more_inputs = more.as_object_mut().expect("an object");
            more_inputs.extend([("server_ca".to_owned(), ca.clone())].into_iter().filter(|(_, ca)| !ca.is_null()));
            more
        };
        let files = TestFiles::new();
        files.put("a", "content äöü");
        let url = server.url("/files/folder/a%20b");
        let put = trusting(json!({ "method": "PUT", "url": url, "file": "surefoot:a" }));
        let output = http(&files, put.clone()).await.with_context(|| server.log())?;
        assert_eq!((&output["status_code"], &output["size_bytes"]), (&json!(201), &json!(0)), "{output}");
        assert_eq!(std::fs::read(server.www().join("files/folder/a b"))?, "content äöü".as_bytes());
        assert_eq!(http(&files, put).await?["status_code"], 204);

        let base = json!({ "base_url": server.url("/files/"), "path": "folder/a b" });
        let output = http(&files, trusting(base.clone())).await?;
        assert_eq!((&output["text"], &output["size_bytes"]), (&json!("content äöü"), &json!(14)), "{output}");
        assert!(output["headers"]["server"].as_str().is_some_and(|server| server.starts_with("nginx")), "{output}");
        let stored = trusting(json!({ "url": url, "dst": "cloudomation:back" }));
        let output = http(&files, stored).await?;
        assert_eq!(output["sha256"], sha256("content äöü".as_bytes()));
        assert!(output.get("text").is_none(), "{output}");
        assert_eq!(files.get("back").as_deref(), Some("content äöü".as_bytes()));

        let output = http(&files, trusting(json!({ "method": "HEAD", "url": url }))).await?;
        assert_eq!((&output["headers"]["content-length"], &output["size_bytes"]), (&json!("14"), &json!(0)));
        let delete = trusting(json!({ "method": "DELETE", "url": url }));
        assert_eq!(http(&files, delete.clone()).await?["status_code"], 204);
        let error = http(&files, delete).await.expect_err("it is gone");
        assert_eq!((error.class, error.sent), (ErrorClass::NotFound, Sent::Rejected), "{error}");
        assert_eq!(error.peer_code.as_deref(), Some("404"));
    }
    Ok(())
}

#[tokio::test]
async fn every_kind_of_body_arrives() -> Result<()> {
    let server = HttpServer::recording()?;
    let files = TestFiles::new();
    files.put("a", "from a file");
    let url = server.url("/echo");
    for (more, content_type, text) in [
        (json!({ "json": { "a": [1, null, "ü"] } }), "application/json", r#"{"a":[1,null,"ü"]}"#),
        (json!({ "text": "hello ü" }), "text/plain; charset=utf-8", "hello ü"),
        (
            json!({ "form": { "a": "b c&ü", "n": [1, 2] } }),
            "application/x-www-form-urlencoded",
            "a=b+c%26%C3%BC&n=1&n=2",
        ),
        (json!({ "file": "surefoot:a" }), "application/octet-stream", "from a file"),
        (json!({ "text": "<a/>", "headers": { "Content-Type": "application/xml" } }), "application/xml", "<a/>"),
    ] {
        let mut more = more;
        more["url"] = json!(url);
        more["method"] = json!("POST");
        let output = http(&files, more).await.with_context(|| server.log())?;
        let echo = &output["json"];
        assert_eq!((&echo["headers"]["content-type"], &echo["text"]), (&json!(content_type), &json!(text)));
        assert_eq!(echo["headers"]["content-length"], text.len().to_string());
    }
    let more = json!({
        "url": server.url("/echo?x=1"), "query": { "y": ["a b", 2] }, "secret_query": { "key": "k/1" },
        "headers": { "X-A": "b" }, "secret_headers": { "X-Api-Key": "the-key" },
    });
    let echo = request(more).await?["json"].clone();
    assert_eq!(echo["path"], "/echo?x=1&y=a+b&y=2&key=k%2F1");
    assert_eq!((&echo["headers"]["x-a"], &echo["headers"]["x-api-key"]), (&json!("b"), &json!("the-key")));
    assert_eq!(echo["headers"]["host"], format!("localhost:{}", server.port()));
    Ok(())
}

#[tokio::test]
async fn every_kind_of_answer_is_understood() -> Result<()> {
    let server = HttpServer::recording()?;
    let get = async |path: &str| request(json!({ "url": server.url(path) })).await;
    assert_eq!(get("/chunked").await?["json"], json!({ "in": "chunks" }));
    assert_eq!(get("/type?type=text/plain;charset=iso-8859-1").await?["text"], "äöü");
    assert_eq!(get("/type?type=image/png").await?["base64"], "5Pb8");
    // What claims to be JSON and is none is given as it came.
    assert_eq!(get("/type?type=application/json").await?["base64"], "5Pb8");
    assert_eq!(get("/cookies").await?["headers"]["set-cookie"], json!(["a=1", "b=2"]));
    let output = get("/nothing").await?;
    assert_eq!((&output["status_code"], &output["size_bytes"]), (&json!(204), &json!(0)));
    assert!(["json", "text", "base64"].iter().all(|kind| output.get(kind).is_none()), "{output}");

    assert_eq!(get("/bytes/1048576").await?["size_bytes"], 1 << 20);
    let error = get("/bytes/1048577").await.expect_err("it is too long");
    assert!(error.message.contains("`response_bytes_max`"), "{error}");
    let less = json!({ "url": server.url("/chunked"), "response_bytes_max": 10 });
    assert_eq!(request(less).await.expect_err("it is too long").class, ErrorClass::InvalidInput);
    Ok(())
}

/// Fields and files, one of them larger than any buffer, read by a library that is not ours.
#[tokio::test]
async fn a_form_with_files_arrives_part_by_part() -> Result<()> {
    const SIZE: u64 = 3 << 20;
    let server = HttpServer::recording()?;
    let files = TestFiles::new();
    files.put_generated("large", SIZE).put("dir/small.txt", "line\r\n--surefoot\r\n");
    let form = |parts: Value| json!({ "method": "POST", "url": server.url("/form"), "multipart": parts });
    let parts = json!([
        { "name": "title", "value": "Report \u{fc}" },
        { "name": "count", "value": 7 },
        { "name": "empty", "value": "" },
        { "name": "large", "file": "surefoot:large", "file_name": "gro\u{df}.bin" },
        { "name": "small", "file": "cloudomation:dir/small.txt", "content_type": "text/plain" },
        { "name": "title", "value": "{}", "content_type": "application/json" },
    ]);
    let output = http(&files, form(parts)).await.with_context(|| server.log())?;
    let part = |name: &str, file_name: Value, content_type: Value, content: &[u8]| {
        json!({
            "name": name, "file_name": file_name, "content_type": content_type,
            "size_bytes": content.len(), "sha256": sha256(content),
        })
    };
    let bytes = json!("application/octet-stream");
    let mut large = part("large", json!("gro\u{df}.bin"), bytes, b"");
    (large["size_bytes"], large["sha256"]) = (json!(SIZE), json!(generated_sha256(SIZE)));
    let expected = json!([
        part("title", Value::Null, Value::Null, "Report \u{fc}".as_bytes()),
        part("count", Value::Null, Value::Null, b"7"),
        part("empty", Value::Null, Value::Null, b""),
        large,
        part("small", json!("dir/small.txt"), json!("text/plain"), b"line\r\n--surefoot\r\n"),
        part("title", Value::Null, json!("application/json"), b"{}"),
    ]);
    assert_eq!(output["json"], json!({ "parts": expected, "defects": [] }), "{output:#}");

    files.put_failing("breaks", vec![b'x'; 300_000]);
    let sent = http(&files, form(json!([{ "name": "f", "file": "surefoot:breaks" }]))).await.expect_err("it breaks");
    assert_eq!((sent.class, sent.sent), (ErrorClass::Storage, Sent::Unknown), "{sent}");
    let missing = json!([{ "name": "a", "value": 1 }, { "name": "f", "file": "surefoot:none" }]);
    let error = http(&files, form(missing)).await.expect_err("no such file");
    assert_eq!((error.class, error.sent), (ErrorClass::NotFound, Sent::No), "{error}");
    Ok(())
}

/// By nginx, as it packs what it serves; to a file, inline, and not where somebody wants something else.
#[tokio::test]
async fn a_packed_answer_is_unpacked() -> Result<()> {
    let server = HttpServer::nginx(None)?;
    let content = "a line of many\n".repeat(20_000);
    std::fs::write(server.www().join("files/lines"), &content)?;
    let files = TestFiles::new();
    let url = server.url("/packed/lines");
    let output = request(json!({ "url": url })).await?;
    assert_eq!((&output["text"], &output["size_bytes"]), (&json!(content), &json!(content.len())));
    let headers = output["headers"].as_object().context("headers")?;
    assert!(!headers.contains_key("content-encoding") && !headers.contains_key("content-length"), "{headers:?}");
    let output = http(&files, json!({ "url": url, "dst": "surefoot:back" })).await?;
    assert_eq!((&output["size_bytes"], &output["sha256"]), (&json!(content.len()), &json!(sha256(content.as_bytes()))));
    assert_eq!(files.get("back").as_deref(), Some(content.as_bytes()));

    let own = request(json!({ "url": url, "headers": { "Accept-Encoding": "gzip" } })).await?;
    assert_eq!(own["headers"]["content-encoding"], "gzip", "who asks for it packed gets it packed");
    assert!(own["base64"].is_string() && own["size_bytes"].as_u64() < Some(10_000), "{}", own["size_bytes"]);
    let plain = request(json!({ "url": url, "headers": { "Accept-Encoding": "identity" } })).await?;
    assert_eq!(plain["headers"]["content-length"], content.len().to_string());
    let part = json!({ "url": url, "headers": { "Range": "bytes=2-5" }, "expect": 206 });
    assert_eq!(request(part).await?["text"], "line");
    Ok(())
}

/// What is packed beyond reason takes neither memory nor room, and what is cut is never taken for the whole.
#[tokio::test]
async fn a_packed_answer_that_is_not_as_it_should_be_is_an_error() -> Result<()> {
    if runs_elsewhere("a_packed_answer_that_is_not_as_it_should_be_is_an_error") {
        return Ok(());
    }
    let server = HttpServer::recording()?;
    let files = TestFiles::new();
    let get = |path: &str, more: Value| merged(json!({ "url": server.url(path) }), more);
    let dst = || json!({ "dst": "surefoot:out" });
    let output = request(get("/packed/100000?members=4", json!({}))).await?;
    assert_eq!((&output["size_bytes"], &output["headers"]["x-asked"]), (&json!(100_000), &json!("gzip")));
    assert_eq!(request(get("/packed/0", json!({}))).await?["size_bytes"], 0);
    let disk = TestFiles::new();
    disk.hash_only();
    let dense = json!({ "dst": "surefoot:dense" });
    assert_eq!(http(&disk, get("/packed/16777216", dense)).await?["size_bytes"], 16 << 20);

    let growth = MemoryGrowth::start();
    let error = request(get("/packed/40000000", json!({}))).await.expect_err("a bomb");
    assert!(error.class == ErrorClass::InvalidInput && error.message.contains("`response_bytes_max`"), "{error}");
    let error = http(&disk, get("/packed/40000000", dst())).await.expect_err("a bomb");
    assert!(error.class == ErrorClass::Protocol && error.message.contains("100 times as long"), "{error}");
    let grown = growth.peak_kib();
    assert!(grown < 40 << 10, "memory has grown by {grown} KiB");
    assert!(disk.stored("out").is_none(), "what failed was stored");

    for path in ["/packed/1000?cut=1", "/packed/1000?cut=9", "/packed/1000?plain=1"] {
        for more in [json!({}), dst()] {
            let error = http(&files, get(path, more)).await.expect_err(path);
            assert_eq!((error.class, error.sent), (ErrorClass::Protocol, Sent::No), "{path}: {error}");
        }
    }
    let write = merged(get("/packed/1000?cut=9", json!({})), json!({ "method": "POST", "json": 1 }));
    assert_eq!(request(write).await.expect_err("it is cut").sent, Sent::Unknown);
    let error = request(get("/packed/1000?status=500", json!({}))).await.expect_err("a failure");
    assert_eq!(error.peer_code.as_deref(), Some("500"));
    assert!(files.stored("out").is_none(), "what failed was stored");
    Ok(())
}

#[tokio::test]
async fn a_repeatable_key_goes_along_with_what_is_not_idempotent() -> Result<()> {
    let server = HttpServer::recording()?;
    let own = json!({ "Idempotency-Key": "mine" });
    for (method, headers, key) in [
        ("POST", json!({}), Some("a test's key")),
        ("PATCH", json!({}), Some("a test's key")),
        ("POST", own, Some("mine")),
        ("PUT", json!({}), None),
        ("GET", json!({}), None),
    ] {
        let echo = request(json!({ "method": method, "url": server.url("/echo"), "headers": headers })).await?;
        assert_eq!(echo["json"]["headers"].get("idempotency-key").and_then(Value::as_str), key, "{method}");
    }
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_an_auth_error() -> Result<()> {
    let server = HttpServer::nginx(None)?;
    let url = server.url("/private/hello");
    let login = json!({ "url": url, "username": USER, "password": PASSWORD });
    assert_eq!(request(login).await?["text"], "hello");
    for more in [
        json!({ "username": USER, "password": "wrong-one" }),
        json!({ "username": "nobody" }),
        json!({ "token": "the-token" }),
        json!({}),
    ] {
        let mut more = more;
        more["url"] = json!(url);
        let error = request(more).await.expect_err("not let in");
        assert_eq!((error.class, error.sent), (ErrorClass::Auth, Sent::Rejected), "{error}");
        assert_eq!(error.peer_code.as_deref(), Some("401"));
    }

    let recording = HttpServer::recording()?;
    let bearer = json!({ "url": recording.url("/echo"), "token": "the-token" });
    assert_eq!(request(bearer).await?["json"]["headers"]["authorization"], "Bearer the-token");
    // What a server repeats of us stands in no error.
    let quoting = json!({
        "url": recording.url("/status/500"), "token": "the-token", "secret_headers": { "X-Api-Key": "the-key" },
    });
    let error = request(quoting).await.expect_err("500");
    assert!(error.message.ends_with("status 500 for you Authorization: Bearer *** X-Api-Key: ***"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_the_client_is_shown_where_it_is_asked_for() -> Result<()> {
    let tls = TestCertificates::generate()?;
    let server = HttpServer::nginx(Some(&tls))?;
    let base = json!({ "url": server.url("/club/"), "server_ca": tls.ca });
    let with = |more: Value| {
        let mut all = base.clone();
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        all
    };
    let identity = json!({ "client_cert": tls.client_certificate, "client_key": tls.client_key });
    assert_eq!(request(with(identity)).await?["text"], "CN=test client");
    let error = request(base.clone()).await.expect_err("members only");
    assert_eq!((error.class, error.peer_code.as_deref()), (ErrorClass::Refused, Some("403")), "{error}");
    for (certificate, key, hint) in [
        ("none", tls.client_key.as_str(), "`client_cert`"),
        (&tls.client_certificate, "no-private-key", "`client_key`"),
        (&tls.client_certificate, &tls.key, "`client_key`"),
    ] {
        let more = with(json!({ "client_cert": certificate, "client_key": key }));
        let error = request(more).await.expect_err(hint);
        assert_eq!((error.class, error.sent), (ErrorClass::InvalidInput, Sent::No), "{error}");
        assert!(error.message.contains(hint), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_must_prove_who_it_is() -> Result<()> {
    let tls = TestCertificates::generate()?;
    let server = HttpServer::nginx(Some(&tls))?;
    let other = TestCertificates::generate()?;
    for (more, class) in [
        (json!({ "url": server.url("/files/") }), ErrorClass::Untrusted),
        (json!({ "url": server.url("/files/"), "cacert": other.ca }), ErrorClass::Untrusted),
        (json!({ "url": server.url("/files/"), "server_ca": "none" }), ErrorClass::InvalidInput),
    ] {
        let error = request(more.clone()).await.expect_err("not trusted");
        assert_eq!((error.class, error.sent), (class, Sent::No), "{more}: {error}");
    }
    let plain = HttpServer::nginx(None)?;
    let more = json!({ "url": plain.url("/").replace("http:", "https:"), "server_ca": tls.ca });
    let error = request(more).await.expect_err("it has no TLS");
    assert_eq!((error.class, error.sent), (ErrorClass::Protocol, Sent::No), "{error}");
    Ok(())
}

#[tokio::test]
async fn statuses_say_what_they_prove() -> Result<()> {
    let server = HttpServer::recording()?;
    let nginx = HttpServer::nginx(None)?;
    std::fs::write(nginx.www().join("files/a"), "not for posting")?;
    let status = |code: u16| server.url(&format!("/status/{code}"));
    for (method, url, class, sent) in [
        ("POST", status(400), ErrorClass::Refused, Sent::Unknown),
        ("POST", status(403), ErrorClass::Refused, Sent::Rejected),
        ("POST", status(429), ErrorClass::Network, Sent::Rejected),
        ("POST", status(500), ErrorClass::Refused, Sent::Unknown),
        ("POST", status(503), ErrorClass::Network, Sent::Unknown),
        ("PUT", status(502), ErrorClass::Network, Sent::Unknown),
        ("GET", status(503), ErrorClass::Network, Sent::Rejected),
        ("POST", status(302), ErrorClass::Refused, Sent::Unknown),
        ("POST", nginx.url("/files/a"), ErrorClass::Refused, Sent::Rejected),
    ] {
        let error = request(json!({ "method": method, "url": url })).await.expect_err("an error");
        assert_eq!((error.class, error.sent), (class, sent), "{method} {url}: {error}");
    }
    // The second one is told so while it is still sending.
    let files = TestFiles::new();
    files.put_generated("large", 8 << 20);
    for body in [json!({ "text": "x".repeat(11) }), json!({ "file": "surefoot:large" })] {
        let put = merged(json!({ "method": "PUT", "url": nginx.url("/small/a") }), body);
        let error = http(&files, put).await.expect_err("too large");
        assert_eq!((error.peer_code.as_deref(), error.sent), (Some("413"), Sent::Rejected), "{error}");
    }

    let expected = json!({ "url": status(404), "expect": ["2xx", 404] });
    assert_eq!(request(expected).await?["status_code"], 404);
    let unexpected = json!({ "method": "POST", "url": server.url("/echo"), "expected_status_code": [201] });
    let error = request(unexpected).await.expect_err("it is 200");
    assert_eq!((error.peer_code.as_deref(), error.sent), (Some("200"), Sent::Unknown), "{error}");
    Ok(())
}

#[tokio::test]
async fn redirects_are_followed_without_the_credentials() -> Result<()> {
    let (here, there) = (HttpServer::recording()?, HttpServer::recording()?);
    let to = |code: u16, target: &str| format!("{}?to={target}", here.url(&format!("/redirect/{code}")));
    let secrets = json!({
        "token": "the-token", "secret_headers": { "x-api-key": "the-key" }, "secret_query": { "q": "the-query" },
        "headers": { "cookie": "c=1", "x-plain": "1" }, "method": "POST", "text": "body",
    });
    let post = async |url: String| {
        let mut more = secrets.clone();
        more["url"] = json!(url);
        request(more).await
    };
    let echo = post(to(307, "/echo")).await?["json"].clone();
    assert_eq!((&echo["method"], &echo["text"]), (&json!("POST"), &json!("body")));
    assert_eq!(echo["headers"]["authorization"], "Bearer the-token");
    assert_eq!(echo["headers"]["idempotency-key"], "a test's key");
    assert_eq!(echo["path"], "/echo");

    let echo = post(to(303, &there.url("/echo"))).await?["json"].clone();
    assert_eq!((&echo["method"], &echo["size_bytes"]), (&json!("GET"), &json!(0)));
    let headers = echo["headers"].as_object().context("headers")?;
    assert_eq!(headers["x-plain"], "1");
    for name in ["authorization", "x-api-key", "cookie", "idempotency-key", "content-type"] {
        assert!(!headers.contains_key(name), "{name} went along");
    }

    let nginx = HttpServer::nginx(None)?;
    std::fs::write(nginx.www().join("files/index.html"), "moved here")?;
    assert_eq!(request(json!({ "url": nginx.url("/moved/") })).await?["text"], "moved here");
    let not_followed = json!({ "url": nginx.url("/moved/"), "allow_redirects": false });
    assert_eq!(request(not_followed).await.expect_err("302").peer_code.as_deref(), Some("302"));
    let expected = json!({ "url": nginx.url("/moved/"), "expect": 302 });
    assert!(request(expected).await?["headers"]["location"].is_string());

    // In a circle, to where the policy does not let us, and to where nobody is after a write that may be done.
    let circle = json!({ "url": to(302, "/redirect/302?to=/redirect/302"), "max_redirects": 1 });
    let error = request(circle).await.expect_err("a circle");
    assert!(error.message.contains("`max_redirects`"), "{error}");
    let error = request(json!({ "url": to(302, "http://169.254.169.254/") })).await.expect_err("never");
    assert_eq!(error.class, ErrorClass::Egress, "{error}");
    let error = post(to(303, "http://localhost:1/")).await.expect_err("nobody is there");
    assert_eq!((error.class, error.sent), (ErrorClass::Network, Sent::Unknown), "{error}");
    let error = post(to(307, "http://localhost:1/")).await.expect_err("nobody is there");
    assert_eq!((error.class, error.sent), (ErrorClass::Network, Sent::No), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_host_that_the_policy_refuses_never_hears_of_us() -> Result<()> {
    let server = HttpServer::recording()?;
    let options = CallOptions { allow: vec!["localhost:1".into()], ..Default::default() };
    let inputs = inputs(json!({ "method": "POST", "url": server.url("/echo") }));
    let error = call_with(&Http, &TestFiles::new(), inputs, &options).await.expect_err("not on the list");
    assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No), "{error}");
    assert!(error.message.contains("add \"localhost\" to allow under [egress] in surefoot.toml"), "{error}");
    assert!(server.requests()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_within_the_configured_time() -> Result<()> {
    let silent = StandIn::silent()?;
    let stalling = StandIn::start(|mut stream| {
        read_head(&stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        // Until the client hangs up.
        let _ = stream.read(&mut [0; 1]);
    })?;
    for (scheme, port, method, sent) in [
        ("https", silent.port(), "POST", Sent::No),
        ("http", silent.port(), "GET", Sent::No),
        ("http", silent.port(), "POST", Sent::Unknown),
        ("http", stalling.port(), "GET", Sent::No),
        ("http", stalling.port(), "POST", Sent::Unknown),
    ] {
        let url = format!("{scheme}://localhost:{port}/");
        let more = json!({ "method": method, "url": url, "connect_timeout": 0.5, "socket_timeout": 0.5 });
        let error = request(more).await.expect_err("it never answers");
        assert_eq!((error.class, error.sent), (ErrorClass::Timeout, sent), "{method} {url}: {error}");
        assert!(error.message.contains("_timeout`"), "{error}");
    }
    // One that reads nothing either: what is sent gets stuck.
    let deaf = StandIn::start(|_stream| std::thread::park_timeout(Duration::from_secs(5)))?;
    let files = TestFiles::new();
    files.put_generated("large", 64 << 20);
    let more = json!({
        "method": "PUT", "url": format!("http://localhost:{}/", deaf.port()), "file": "surefoot:large",
        "socket_timeout": 0.5,
    });
    let error = http(&files, more).await.expect_err("it never reads");
    assert_eq!((error.class, error.sent), (ErrorClass::Timeout, Sent::Unknown), "{error}");
    Ok(())
}

/// Reads the head of a request: who answers before that is another kind of broken.
fn read_head(stream: &TcpStream) {
    // Whatever fails here is a cut answer as well.
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let _head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
}

/// Reads the head of a request, says `words`, and hangs up.
fn answering(words: &'static [u8]) -> Result<StandIn> {
    StandIn::start(move |mut stream| {
        read_head(&stream);
        let _ = stream.write_all(words);
    })
}

#[tokio::test]
async fn an_answer_that_is_malformed_or_cut_is_never_success() -> Result<()> {
    for (words, class) in [
        (&b"220 mail.example ESMTP\r\n"[..], ErrorClass::Protocol),
        (b"HTTP/1.1 2000 OK\r\n\r\n", ErrorClass::Protocol),
        (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", ErrorClass::Protocol),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", ErrorClass::Protocol),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n", ErrorClass::Protocol),
        (b"", ErrorClass::Network),
        (b"HTTP/1.1 200 O", ErrorClass::Network),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", ErrorClass::Network),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", ErrorClass::Network),
    ] {
        let peer = answering(words)?;
        let files = TestFiles::new();
        for (method, sent) in [("GET", Sent::No), ("POST", Sent::Unknown)] {
            let url = format!("http://localhost:{}/", peer.port());
            let more = json!({ "method": method, "url": url, "dst": "surefoot:back" });
            let error = http(&files, more).await.expect_err("it is no answer");
            let words = String::from_utf8_lossy(words);
            assert_eq!((error.class, error.sent), (class, sent), "{method} {words}: {error}");
            assert!(files.stored("back").is_none(), "{words}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_is_cut_is_never_success() -> Result<()> {
    const SIZE: u64 = 16 << 20;
    let tls = TestCertificates::generate()?;
    let server = HttpServer::nginx(Some(&tls))?;
    std::fs::File::create(server.www().join("files/large"))?.set_len(SIZE)?;
    let files = TestFiles::new();
    files.put_generated("large", SIZE).hash_only();
    let address = ([127, 0, 0, 1], server.port()).into();
    for bytes in [10, 1500, 100_000, 8 << 20] {
        for (cut, more) in [
            (CutAfter::Answered(bytes), json!({ "dst": "surefoot:back" })),
            (CutAfter::Asked(bytes), json!({ "method": "PUT", "file": "surefoot:large" })),
        ] {
            if matches!(cut, CutAfter::Answered(_)) && bytes == 1500 {
                // Somewhere in the handshake or behind it, as the certificates turn out.
                continue;
            }
            let proxy = StandIn::cutting(address, cut)?;
            let mut more = more;
            more["url"] = json!(format!("https://localhost:{}/files/large", proxy.port()));
            more["server_ca"] = json!(tls.ca);
            let error = http(&files, more).await.expect_err("it was cut");
            assert!(matches!(error.class, ErrorClass::Network | ErrorClass::Protocol), "{cut:?}: {error:?}");
            assert!(files.stored("back").is_none(), "{cut:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn large_files_pass_through_without_being_held() -> Result<()> {
    if runs_elsewhere("large_files_pass_through_without_being_held") {
        return Ok(());
    }
    const SIZE: u64 = 100 << 20;
    let server = HttpServer::nginx(None)?;
    let files = TestFiles::new();
    files.put_generated("large", SIZE).hash_only();
    let url = server.url("/files/large");

    let growth = MemoryGrowth::start();
    let up = http(&files, json!({ "method": "PUT", "url": url, "file": "surefoot:large" })).await?;
    let down = http(&files, json!({ "url": url, "dst": "surefoot:back" })).await?;
    let grown = growth.peak_kib();
    assert_eq!(up["status_code"], 201);
    assert_eq!((&down["size_bytes"], &down["sha256"]), (&json!(SIZE), &json!(generated_sha256(SIZE))));
    assert_eq!(files.stored("back").context("it was stored")?.size_bytes, SIZE);
    assert!(grown < 40 << 10, "memory has grown by {grown} KiB");
    Ok(())
}

#[tokio::test]
async fn an_upload_whose_source_fails_is_an_error() -> Result<()> {
    let server = HttpServer::nginx(None)?;
    let files = TestFiles::new();
    files.put_failing("a", vec![b'x'; 300_000]);
    let more = json!({ "method": "PUT", "url": server.url("/files/a"), "file": "surefoot:a" });
    let error = http(&files, more).await.expect_err("it breaks");
    assert_eq!((error.class, error.sent), (ErrorClass::Storage, Sent::Unknown), "{error}");
    assert!(!server.www().join("files/a").exists());
    let missing = json!({ "method": "PUT", "url": server.url("/files/a"), "file": "surefoot:none" });
    let error = http(&files, missing).await.expect_err("no such file");
    assert_eq!((error.class, error.sent), (ErrorClass::NotFound, Sent::No), "{error}");
    Ok(())
}

#[test]
fn effects_follow_method_and_wish() {
    for (more, effect) in [
        (json!({}), Effect::Read),
        (json!({ "method": "HEAD" }), Effect::Read),
        (json!({ "method": "PUT" }), Effect::Idempotent),
        (json!({ "method": "DELETE" }), Effect::Idempotent),
        (json!({ "method": "POST" }), Effect::Write),
        (json!({ "method": "PATCH" }), Effect::Write),
        (json!({ "method": "POST", "effect": "read" }), Effect::Read),
        (json!({ "method": 1 }), Effect::Write),
    ] {
        assert_eq!(Http.effect(inputs(more.clone()).as_object().expect("an object")), effect, "{more}");
    }
}

/// What answers 503 twice is asked a third time, by the engine within one call or by the flow in calls of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_back_is_asked_again() -> Result<()> {
    for (mode, attempts_of_last, connections) in [("connect", 2, 1), ("retry-connect", 0, 3)] {
        let asked = AtomicU32::new(0);
        let server = StandIn::start(move |mut stream| {
            let mut head = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut line = String::new();
            while head.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let status = if asked.fetch_add(1, Ordering::SeqCst) < 2 { "503 Service Unavailable" } else { "200 OK" };
            // A caller that hung up has its answer already.
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        })?;
        let workspace = Workspace::open()?;
        workspace.deploy(&["test-guest"]).await?;
        let inputs = json!({ "url": format!("http://{}/", server.address()) });
        let input = json!({ "mode": mode, "connector": "type:http", "inputs": inputs, "attempts": 3 });
        let row = workspace.run("test-guest", input).await?;
        assert_eq!(row["output"]["output"]["status_code"], 200, "{mode}: {row:#}");
        let calls = workspace.connections(id(&row)).await?;
        assert_eq!(calls.len(), connections, "{mode}: {calls:#?}");
        let attempts = calls[0]["attempts"].as_array().context("attempts")?;
        assert_eq!(attempts.len(), attempts_of_last, "{mode}: {calls:#?}");
        assert!(attempts.iter().all(|attempt| attempt["code"] == "network"), "{attempts:#?}");
    }
    Ok(())
}
