//! HTTP around JSON-RPC: connections, heads, refusals, the GET form, other paths.

use std::time::{Duration, Instant};

use bytes::Bytes;
use roundel::base::call::NodeState;
use roundel::base::limit;
use roundel::runtime::client::Connection;
use roundel::runtime::http::Options;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fake::{DEADLINE, Served, Setup, error_of, served, served_with};

pub const ECHO: &str = r#"{"jsonrpc":"2.0","method":"echo","params":[1],"id":1}"#;

/// Writes bytes to a fresh connection and reads until the other side closes it.
async fn raw(served: &Served, text: &str) -> String {
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is as good an end as any.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("the other side ends");
    String::from_utf8(answer).unwrap()
}

pub fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: \
            {length}\r\n{headers}\r\n{body}"
    )
}

fn status(answer: &str) -> u16 {
    let line = answer.lines().next().unwrap_or_default();
    line.split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("no status in {answer:?}"))
        .parse()
        .unwrap()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

pub const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn requests_of_one_connection_are_answered_in_order_even_when_pipelined() {
    let served = served().await;
    let mut text = String::new();
    for id in 0..20 {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"echo","id":{id}}}"#);
        let close = if id == 19 { "close" } else { "keep-alive" };
        let length = body.len();
        text.push_str(&format!(
            "POST /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: \
                {close}\r\n{JSON}Content-Length: {length}\r\n\r\n{body}"
        ));
    }
    let answer = raw(&served, &text).await;
    let ids: Vec<&str> = answer
        .split("\"id\":")
        .skip(1)
        .map(|rest| rest.split(',').next().unwrap())
        .collect();
    let expected: Vec<String> = (0..20).map(|id| id.to_string()).collect();
    assert_eq!(ids, expected);
    assert!(
        answer.contains("\r\nContent-Type: application/json\r\n"),
        "title case: {answer}"
    );
}

#[tokio::test]
async fn a_kept_connection_serves_many_requests_and_survives_bad_ones() {
    let served = served().await;
    let mut connection = Connection::new(served.at);
    for (body, expected) in [
        (ECHO, 200),
        ("{", 400),
        (ECHO, 200),
        ("[]", 400),
        (ECHO, 200),
    ] {
        let body = Bytes::from_static(body.as_bytes());
        let answer = connection
            .post("/rpc", "application/json", body, DEADLINE)
            .await
            .unwrap();
        assert_eq!(answer.0, expected);
    }
}

#[tokio::test]
async fn http_1_0_needs_no_host_and_http_1_1_does() {
    let served = served().await;
    let answer = raw(&served, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert_eq!(status(&answer), 200, "{answer}");
    let answer = raw(
        &served,
        "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(status(&answer), 400);
    assert!(error_of(400, body(&answer)).2.contains("Host"));
}

#[tokio::test]
async fn head_is_answered_like_get_without_the_body() {
    let served = served().await;
    let host = "Host: localhost\r\nConnection: close\r\n\r\n";
    let answer = raw(&served, &format!("HEAD /healthz HTTP/1.1\r\n{host}")).await;
    assert_eq!((status(&answer), body(&answer)), (200, ""));
    let get = raw(&served, &format!("GET /healthz HTTP/1.1\r\n{host}")).await;
    let length = format!("Content-Length: {}\r\n", body(&get).len());
    assert!(answer.contains(&length), "{answer}");
}

#[tokio::test]
async fn put_means_the_same_as_post() {
    let served = served().await;
    let text = post("/rpc", &format!("Host: localhost\r\n{JSON}"), ECHO).replacen("POST", "PUT", 1);
    let answer = raw(&served, &text).await;
    assert_eq!(status(&answer), 200);
    assert!(body(&answer).contains(r#""result":[1]"#));
}

#[tokio::test]
async fn only_our_own_names_are_answered() {
    let served = served().await;
    let at = served.at;
    for (host, expected) in [
        (at.to_string(), 200),
        (at.ip().to_string(), 200),
        ("localhost".into(), 200),
        ("LOCALHOST:9000".into(), 200),
        ("[::1]:38400".into(), 200),
        ("kitchen.local".into(), 200),
        ("kitchen.local.:38400".into(), 200),
        ("boards.example".into(), 200),
        ("fake".into(), 200),
        ("evil.example".into(), 421),
        ("evil.example:38400".into(), 421),
        (".local".into(), 421),
        ("notlocal".into(), 421),
        ("192.0.2.1".into(), 421),
        ("localhost.evil.example".into(), 421),
        ("user@localhost".into(), 421),
        ("".into(), 421),
    ] {
        let answer = raw(
            &served,
            &post("/rpc", &format!("Host: {host}\r\n{JSON}"), ECHO),
        )
        .await;
        assert_eq!(status(&answer), expected, "{host}");
        if expected == 421 {
            assert_eq!(error_of(421, body(&answer)).1, -32600);
        }
    }
    let twice = format!("Host: localhost\r\nHost: localhost\r\n{JSON}");
    assert_eq!(
        status(&raw(&served, &post("/rpc", &twice, ECHO)).await),
        400
    );
    let absolute = post(
        "http://evil.example/rpc",
        &format!("Host: localhost\r\n{JSON}"),
        ECHO,
    );
    assert_eq!(status(&raw(&served, &absolute).await), 421);
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let served = served().await;
    for (origin, expected) in [
        ("http://localhost:38400", 200),
        ("http://LOCALHOST:38400", 200),
        ("http://localhost", 403),
        ("https://localhost:38400", 403),
        ("http://evil.example", 403),
        ("null", 403),
    ] {
        let headers = format!("Host: localhost:38400\r\nOrigin: {origin}\r\n{JSON}");
        let answer = raw(&served, &post("/rpc", &headers, ECHO)).await;
        assert_eq!(status(&answer), expected, "{origin}");
    }
    let preflight = "OPTIONS /rpc HTTP/1.1\r\nHost: localhost\r\nOrigin: \
        http://evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&raw(&served, preflight).await), 403);
}

#[tokio::test]
async fn bodies_that_are_not_json_are_refused_as_415() {
    let served = served().await;
    for kind in [
        "text/plain",
        "application/bson",
        "application/x-www-form-urlencoded",
    ] {
        let (got, answer) = served.post("/rpc", kind, ECHO).await;
        assert_eq!((got, error_of(got, &answer).1), (415, -32600), "{kind}");
    }
    let none = raw(&served, &post("/rpc", "Host: localhost\r\n", ECHO)).await;
    assert_eq!(status(&none), 415);
    assert!(
        none.contains("\r\nAccept: application/json, application/json-rpc\r\n"),
        "{none}"
    );
    for kind in ["application/json-rpc", "application/json; charset=utf-8"] {
        assert_eq!(served.post("/rpc", kind, ECHO).await.0, 200, "{kind}");
    }
    let bson = format!("Host: localhost\r\nAccept: application/bson\r\n{JSON}");
    assert_eq!(status(&raw(&served, &post("/rpc", &bson, ECHO)).await), 406);
}

#[tokio::test]
async fn answers_to_elsewhere_are_not_supported_and_say_so() {
    let served = served().await;
    for header in ["X-Async-Location", "X-Aync-Location"] {
        let headers = format!("Host: localhost\r\n{header}: http://192.0.2.1:9\r\n{JSON}");
        let answer = raw(&served, &post("/rpc", &headers, ECHO)).await;
        assert_eq!(status(&answer), 400);
        assert_eq!(error_of(400, body(&answer)).1, -32602);
    }
}

#[tokio::test]
async fn the_get_form_asks_methods_that_read() {
    let served = served().await;
    served
        .result("put", json!({"key": "k", "value": {"a": 1}}))
        .await;
    // {"key":"k"} in base64, and URL-encoded.
    for query in [
        "jsonrpc&method=get&params=eyJrZXkiOiJrIn0%3D&id=1",
        "jsonrpc=2.0&method=get&params=%7B%22key%22%3A%22k%22%7D&encode=none&id=1",
        "jsonrpc&method=_get&params=eyJrZXkiOiJrIn0&id=1",
    ] {
        let (status, answer) = served.get(&format!("/rpc?{query}")).await;
        assert_eq!(status, 200, "{query}: {answer}");
        assert!(answer.contains(r#""value":{"a":1},"#), "{answer}");
        assert!(answer.contains(r#""id":1"#), "{answer}");
    }
    let (status, answer) = served
        .get("/rpc?jsonrpc&method=get_node_state&ts=5&dest=.")
        .await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        (status, &answer["ts"], &answer["id"]),
        (200, &json!(7), &Value::Null)
    );
}

#[tokio::test]
async fn the_get_form_refuses_what_changes_something() {
    let served = served().await;
    for method in ["put", "remove", "leave-ring", "_join_ring", "remove_node"] {
        let (status, answer) = served
            .get(&format!("/rpc?jsonrpc&method={method}&id=1"))
            .await;
        assert_eq!(
            (status, error_of(status, &answer).1),
            (405, -32600),
            "{method}"
        );
    }
    assert!(served.board.state().calls.is_empty());
    for (query, expected) in [
        ("", 400),
        ("?method=get", 400),
        ("?jsonrpc&method=nothing", 404),
        ("?jsonrpc&method=get&params=!!!", 400),
        ("?jsonrpc&method=get_node_state&cond=1", 400),
    ] {
        let (status, answer) = served.get(&format!("/rpc{query}")).await;
        assert_eq!(status, expected, "{query}: {answer}");
        error_of(status, &answer);
    }
}

#[tokio::test]
async fn other_paths_and_methods_have_their_answers() {
    let served = served().await;
    let (status_, document) = served.get("/description.xml").await;
    assert_eq!(
        (status_, document),
        (200, format!("<root>{}</root>", served.at))
    );
    for path in [
        "/nothing",
        "/presentations",
        "/presentation/nothing",
        "/rpc/",
    ] {
        let (status, answer) = served.get(path).await;
        assert_eq!(
            (status, error_of(status, &answer).1),
            (404, -32600),
            "{path}"
        );
    }
    let delete = "DELETE /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = raw(&served, delete).await;
    assert_eq!(status(&answer), 405);
    assert!(
        answer.contains("\r\nAllow: GET, HEAD, POST, PUT\r\n"),
        "{answer}"
    );
    let answer = raw(&served, &post("/metrics", "Host: localhost\r\n", "")).await;
    assert_eq!(status(&answer), 405);
    assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
}

#[tokio::test]
async fn health_tells_live_from_ready() {
    let served = served().await;
    let health = async || {
        let (status, body) = served.get("/healthz").await;
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let ready = json!({"live": true, "ready": true, "state": "active", "problems": 0,
        "store": "open", "boards": 1});
    assert_eq!(health().await, (200, ready));
    served.board.state().store = "starting".into();
    served.board.state().state = NodeState::Activating;
    let starting = json!({"live": true, "ready": false, "state": "activating", "problems": 0,
        "store": "starting", "boards": 1});
    assert_eq!(health().await, (503, starting.clone()));
    let failure = roundel::base::call::CallError::unavailable("starting; wait");
    served.board.state().failure = Some(failure);
    assert_eq!(health().await, (503, starting));
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    roundel::telemetry::install();
    let served = served().await;
    served.result("echo", json!([])).await;
    let (status, page) = served.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "roundel_frames_sent_total 12",
        "roundel_members 1",
        "# TYPE roundel_items gauge",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is not in {page}");
    }
    assert!(
        page.contains(r#"roundel_rpc_requests_total{method="echo",outcome="ok"}"#),
        "{page}"
    );
    for line in page
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        assert!(
            line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_request_over_1_mib_is_refused_and_the_listener_lives_on() {
    let served = served().await;
    let declared = "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
        application/json\r\nContent-Length: 1048577\r\n\r\n";
    let answer = raw(&served, declared).await;
    assert_eq!(status(&answer), 413, "{answer}");
    assert_eq!(error_of(413, body(&answer)).1, -32005);

    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let head = "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
        application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    for _ in 0..20 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = read_to_end(&mut stream).await;
    // The answer may be lost to the reset that unread bytes cause; more than that must not be.
    assert!(answer.is_empty() || status(&answer) == 413, "{answer}");
    assert_eq!(served.rpc(ECHO).await.0, 200);
}

#[tokio::test]
async fn a_request_of_1_mib_is_taken() {
    let served = served().await;
    let padding = " ".repeat(1_024 * 1_024 - ECHO.len());
    assert_eq!(served.rpc(&format!("{ECHO}{padding}")).await.0, 200);
}

fn quick_limits() -> Setup {
    let mut options = Options::new(|_| false);
    options.header_time_max = Duration::from_millis(200);
    Setup {
        options,
        ..Setup::default()
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let served = served_with(quick_limits()).await;
    for text in ["", "P", "POST /rpc HTTP/1.1\r\nHost: loc"] {
        let start = Instant::now();
        let answer = raw(&served, text).await;
        assert!(
            answer.is_empty() || status(&answer) == 408,
            "{text:?}: {answer}"
        );
        assert!(start.elapsed() < DEADLINE);
    }
    assert_eq!(served.rpc(ECHO).await.0, 200);
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_refused_as_408() {
    let served = served_with(quick_limits()).await;
    let head =
        format!("POST /rpc HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 50\r\n\r\n{{");
    let answer = raw(&served, &head).await;
    assert_eq!(status(&answer), 408, "{answer}");
    error_of(408, body(&answer));
}

#[tokio::test]
async fn a_head_too_long_or_of_too_many_fields_is_refused() {
    let served = served().await;
    let ask = async |fields: String| {
        let text = format!(
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"
        );
        status(&raw(&served, &text).await)
    };
    let few = |count: usize| (0..count).map(|n| format!("X{n}: 1\r\n")).collect();
    assert_eq!(ask(few(limit::HEADERS_MAX - 2)).await, 200);
    assert_eq!(ask(few(limit::HEADERS_MAX + 1)).await, 431);
    let long = |bytes: usize| format!("X: {}\r\n", "x".repeat(bytes));
    assert_eq!(ask(long(limit::HEAD_BYTES_MAX - 200)).await, 200);
    assert_eq!(ask(long(limit::HEAD_BYTES_MAX)).await, 431);
    assert_eq!(served.rpc(ECHO).await.0, 200);
}

#[tokio::test]
async fn garbage_and_tls_end_their_connection_only() {
    let served = served().await;
    for text in [
        "\x16\x03\x01\x02\x00",
        "\x7f\x00",
        "\r\n\r\n",
        "GET\r\n\r\n",
        "get / http\r\n\r\n",
    ] {
        let answer = raw(&served, text).await;
        assert!(
            answer.is_empty() || status(&answer) == 400,
            "{text:?}: {answer}"
        );
    }
    let huge = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let answer = raw(&served, &huge).await;
    assert!(answer.is_empty() || status(&answer) == 431, "{answer}");
    assert_eq!(served.rpc(ECHO).await.0, 200);
}

#[tokio::test]
async fn a_frame_connection_is_handed_over_whole() {
    let mut served = served().await;
    for first in [1_u8, 2] {
        let mut stream = TcpStream::connect(served.at).await.unwrap();
        stream.write_all(&[first, 0x10, 9]).await.unwrap();
        let connection = timeout(DEADLINE, served.frames.recv()).await;
        let mut connection = connection.unwrap().unwrap();
        assert_eq!(connection.from, stream.local_addr().unwrap());
        let taken = &mut connection.stream;
        let mut bytes = [0; 3];
        timeout(DEADLINE, taken.read_exact(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(bytes, [first, 0x10, 9]);
    }
}

#[tokio::test]
async fn one_source_has_so_many_connections_and_no_more() {
    let mut setup = Setup::default();
    setup.options.loopback_is_exempt = false;
    setup.options.connections_per_source_max = 2;
    let served = served_with(setup).await;
    let mut first = Connection::new(served.at);
    let mut second = Connection::new(served.at);
    for connection in [&mut first, &mut second] {
        assert_eq!(connection.get("/healthz", DEADLINE).await.unwrap().0, 200);
    }
    let mut refused = TcpStream::connect(served.at).await.unwrap();
    let mut told = Vec::new();
    tokio::time::timeout(DEADLINE, refused.read_to_end(&mut told))
        .await
        .expect("it is closed at once")
        .unwrap();
    let told = String::from_utf8(told).unwrap();
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: 1"));
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["code"], -32003);
    drop(first);
    // The place is free once the server has seen the end.
    let start = Instant::now();
    loop {
        let answer = Connection::new(served.at).get("/healthz", DEADLINE).await;
        if matches!(answer, Ok((200, ..))) {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "the place was never given back");
    }
}

#[tokio::test]
async fn told_to_stop_it_takes_no_more_connections() {
    let served = served().await;
    assert_eq!(served.rpc(ECHO).await.0, 200);
    served.stop.send(true).unwrap();
    let start = Instant::now();
    while TcpStream::connect(served.at).await.is_ok() {
        assert!(start.elapsed() < DEADLINE, "it still listens");
        tokio::task::yield_now().await;
    }
}
