//! From the end of an execution to the answer for the caller.

use axum::Json;
use axum::body::Body;
use axum::http::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::problem::Problem;

/// What a flow cannot set: what belongs to one connection, and what would hold for the whole origin, which webhooks
/// share with the API.
const DROPPED: [HeaderName; 31] = [
    ALT_SVC,
    CONNECTION,
    CONTENT_LENGTH,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    SET_COOKIE,
    STRICT_TRANSPORT_SECURITY,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("accept-ch"),
    HeaderName::from_static("activate-storage-access"),
    HeaderName::from_static("attribution-reporting-register-source"),
    HeaderName::from_static("attribution-reporting-register-trigger"),
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("critical-ch"),
    HeaderName::from_static("expect-ct"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("observe-browsing-topics"),
    HeaderName::from_static("origin-agent-cluster"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("public-key-pins"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("set-cookie2"),
    HeaderName::from_static("set-login"),
    HeaderName::from_static("speculation-rules"),
    HeaderName::from_static("use-as-dictionary"),
];

/// The answer after an execution, whose row this is, has ended.
pub(crate) fn of_ended(id: &str, row: &Value) -> Response {
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let failed = |code: String, detail: String| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail).execution(id).into_response()
    };
    match row["status"].as_str().unwrap_or_default() {
        "ENDED_SUCCESS" if row["response"].is_null() => Json(&row["output"]).into_response(),
        "ENDED_SUCCESS" => of_document(&row["response"])
            .unwrap_or_else(|reason| failed("invalid_response".to_owned(), format!("the flow's response {reason}"))),
        "ENDED_CANCELLED" => failed("cancelled".to_owned(), "the execution was cancelled".to_owned()),
        _ => failed(text("error_code"), text("error_message")),
    }
}

/// The status of that answer; none before the end.
pub(crate) fn status_of(row: &Value) -> Option<u16> {
    let has_ended = row["ended_at"].is_string() && row["continued_as"].is_null();
    has_ended.then(|| of_ended("", row).status().as_u16())
}

/// A stored response, `{status, headers: [[name, value]], body | body_hex}`; or why it cannot be sent.
fn of_document(document: &Value) -> Result<Response, String> {
    let status = document["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
    let status = StatusCode::from_u16(status).ok().filter(|status| (200..=599).contains(&status.as_u16()));
    let status = status.ok_or_else(|| format!("has status {}, which is not one of 200 to 599", document["status"]))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    for header in document["headers"].as_array().into_iter().flatten() {
        let (name, value) = parse_header(header)?;
        if !DROPPED.contains(&name) {
            response.headers_mut().append(name, value);
        }
    }
    if !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED) {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().entry(CONTENT_TYPE).or_insert(plain);
        *response.body_mut() = body_of(document)?;
    }
    Ok(response)
}

fn parse_header(header: &Value) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = (header[0].as_str().unwrap_or_default(), header[1].as_str().unwrap_or_default());
    match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err(format!("has a header that HTTP does not allow: {name:?}")),
    }
}

fn body_of(document: &Value) -> Result<Body, String> {
    match (&document["body"], &document["body_hex"]) {
        (Value::String(text), _) => Ok(Body::from(text.clone())),
        (_, Value::String(text)) => hex::decode(text).map(Body::from).map_err(|_| "has a damaged body".to_owned()),
        _ => Ok(Body::empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn parts(response: Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
        let (status, headers) = (response.status().as_u16(), headers.collect());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, headers, body.to_vec())
    }

    async fn problem(row: Value) -> Value {
        let (status, headers, body) = parts(of_ended("x1", &row)).await;
        assert_eq!(headers[0], ("content-type".to_owned(), "application/problem+json".to_owned()));
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &problem["status"], &problem["execution_id"]), (500, &json!(500), &json!("x1")), "{row}");
        problem
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[tokio::test]
    async fn a_response_is_sent_as_the_flow_wrote_it() {
        let headers = json!([["Content-Type", "text/html"], ["X-A", "1"], ["x-a", "2"]]);
        let row = json!({"status": "ENDED_SUCCESS", "response": {"status": 418, "headers": headers, "body": "tea"}});
        let headers = vec![pair("content-type", "text/html"), pair("x-a", "1"), pair("x-a", "2")];
        assert_eq!(parts(of_ended("x1", &row)).await, (418, headers, b"tea".to_vec()));

        let row = json!({"status": "ENDED_SUCCESS", "response": {"status": 200, "headers": [], "body_hex": "ff00"}});
        let headers = vec![pair("content-type", "text/plain; charset=utf-8")];
        assert_eq!(parts(of_ended("x1", &row)).await, (200, headers, vec![0xff, 0]));

        let row = json!({"status": "ENDED_SUCCESS", "response": {"status": 204, "headers": [], "body": "lost"}});
        assert_eq!(parts(of_ended("x1", &row)).await, (204, vec![], vec![]));
    }

    #[tokio::test]
    async fn an_output_without_a_response_is_json() {
        let row = json!({"status": "ENDED_SUCCESS", "response": null, "output": {"a": 1}});
        let headers = vec![pair("content-type", "application/json")];
        assert_eq!(parts(of_ended("x1", &row)).await, (200, headers, br#"{"a":1}"#.to_vec()));
    }

    #[tokio::test]
    async fn cookies_and_headers_of_the_connection_are_dropped() {
        let of_connection = ["Connection", "transfer-encoding", "Content-Length", "Upgrade"];
        let of_origin = ["Set-Cookie", "Clear-Site-Data", "Set-Login", "Origin-Agent-Cluster", "Reporting-Endpoints"];
        let names = of_connection.iter().chain(&of_origin);
        let headers: Vec<_> = names.map(|name| json!([name, "1"])).collect();
        let row = json!({"status": "ENDED_SUCCESS", "response": {"status": 200, "headers": headers, "body": "x"}});
        let (_, headers, _) = parts(of_ended("x1", &row)).await;
        assert_eq!(headers, [pair("content-type", "text/plain; charset=utf-8")]);
    }

    #[tokio::test]
    async fn what_did_not_end_well_is_no_success() {
        let row = json!({"status": "ENDED_ERROR", "error_code": "limit_exceeded", "error_message": "too much"});
        let found = problem(row).await;
        assert_eq!((&found["code"], &found["detail"]), (&json!("limit_exceeded"), &json!("too much")));
        assert_eq!(problem(json!({"status": "ENDED_CANCELLED"})).await["code"], "cancelled");
        assert_eq!(problem(json!({"status": "SOMETHING_NEW"})).await["code"], "");
        // Even if a response was stored before the end was another one.
        let response = json!({"status": 200, "headers": [], "body": ""});
        problem(json!({"status": "ENDED_ERROR", "response": response, "error_code": "x"})).await;
    }

    #[tokio::test]
    async fn a_response_that_http_cannot_carry_is_an_error() {
        for status in [json!(0), json!(99), json!(100), json!(101), json!(600), json!(65536), json!(-1), json!("200")] {
            let row = json!({"status": "ENDED_SUCCESS", "response": {"status": status, "headers": [], "body": ""}});
            let found = problem(row).await;
            assert_eq!(found["code"], "invalid_response", "{status}");
        }
        for header in [json!(["A B", "1"]), json!(["A", "1\r\nSet-Cookie: x"]), json!(["A"]), json!("A")] {
            let is_allowed = header == json!(["A"]);
            let response = json!({"status": 200, "headers": [header], "body": ""});
            let answer = of_ended("x1", &json!({"status": "ENDED_SUCCESS", "response": response}));
            assert_eq!(answer.status() == 200, is_allowed, "{header}");
        }
        let response = json!({"status": 200, "headers": [], "body_hex": "zz"});
        problem(json!({"status": "ENDED_SUCCESS", "response": response})).await;
    }
}
