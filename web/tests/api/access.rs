//! Who may call.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use surefoot_web::{Access, Options};

use crate::support::{Reply, Server};

/// SHA-256 of `right`.
const TOKEN_SHA256: &str = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9";

fn remote() -> Server {
    let hosts = vec!["surefoot.example".to_owned()];
    Server::new(Options::new(Access::Remote { hosts, token_sha256: TOKEN_SHA256.to_owned() }))
}

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Reply {
    let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    server.request(request.body(Body::empty()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_host_is_misdirected_wherever_it_goes() {
    let server = remote();
    let token = ("authorization", "Bearer right");
    for path in ["/healthz", "/api/v1/flows", "/api/latest/webhook/w/call", "/nowhere"] {
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "x@localhost"] {
            let text = get(&server, path, &[("host", host), token]).await.problem(421, "misdirected");
            assert!(text.contains("allowed hosts"), "{text}");
        }
        get(&server, path, &[token]).await.problem(421, "misdirected");
        get(&server, path, &[("host", "localhost"), ("host", "evil.example"), token]).await.problem(421, "misdirected");
        let absolute = format!("http://evil.example{path}");
        get(&server, &absolute, &[("host", "localhost"), token]).await.problem(421, "misdirected");
    }
    for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:9", "surefoot.example", "SUREFOOT.example:443"] {
        assert_eq!(get(&server, "/api/v1/flows", &[("host", host), token]).await.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_needs_the_token_and_the_rest_does_not() {
    let server = remote();
    for path in ["/api/v1", "/api/v1/flows", "/api/v1/flows/x/run", "/api/v1/nowhere", "/api/v1/"] {
        let none = get(&server, path, &[("host", "localhost")]).await;
        assert!(none.problem(401, "unauthorized").contains("Authorization: Bearer"));
        assert_eq!(none.header("www-authenticate"), "Bearer");
        for wrong in ["Bearer wrong", "Bearer ", "Bearer", "Basic right", "right"] {
            let reply = get(&server, path, &[("host", "localhost"), ("authorization", wrong)]).await;
            reply.problem(401, "unauthorized");
        }
    }
    for scheme in ["Bearer right", "bearer right"] {
        get(&server, "/api/v1/flows", &[("host", "localhost"), ("authorization", scheme)]).await.json(200);
    }
    get(&server, "/healthz", &[("host", "localhost")]).await.json(200);
    get(&server, "/api/latest/webhook/w/call", &[("host", "localhost")]).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_fits_when_none_is_set() {
    let server = Server::new(Options::new(Access::Remote { hosts: Vec::new(), token_sha256: String::new() }));
    for token in ["Bearer ", "Bearer x"] {
        let reply = get(&server, "/api/v1/flows", &[("host", "localhost"), ("authorization", token)]).await;
        reply.problem(401, "unauthorized");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_callers_are_not_asked() {
    let server = Server::local();
    get(&server, "/api/v1/flows", &[("host", "evil.example")]).await.json(200);
    get(&server, "/api/v1/flows", &[]).await.json(200);
}

#[test]
fn options_do_not_show_the_digest_of_the_token() {
    let access = Access::Remote { hosts: vec!["a".to_owned()], token_sha256: TOKEN_SHA256.to_owned() };
    assert!(!format!("{:?}", Options::new(access)).contains(TOKEN_SHA256));
}
