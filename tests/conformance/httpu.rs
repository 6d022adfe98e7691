//! HTTPU: one datagram each way, the same checks as over TCP, silence where nothing was asked.

use bytes::Bytes;
use roundel::wire::httpu::Response;
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::fake::{DEADLINE, Served, error_of, served};
use crate::http::{ECHO, JSON, post};

/// Sends datagrams in turn and reads the first answer.
async fn datagrams(served: &Served, texts: &[&str]) -> Response {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for text in texts {
        socket.send_to(text.as_bytes(), served.at).await.unwrap();
    }
    let mut buffer = [0; 2_048];
    let read = timeout(DEADLINE, socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    assert!(read <= 1_400, "{read} bytes in a datagram");
    Response::parse(&Bytes::copy_from_slice(&buffer[..read])).unwrap()
}

fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

#[tokio::test]
async fn an_answer_too_large_for_a_datagram_is_413_with_where_to_ask() {
    let served = served().await;
    served
        .result("put", json!({"key": "k", "value": "v".repeat(2_000)}))
        .await;
    let get = r#"{"jsonrpc":"2.0","method":"get","params":["k"],"id":1}"#;
    let response = datagrams(
        &served,
        &[&post("/rpc", &format!("Host: localhost\r\n{JSON}"), get)],
    )
    .await;
    assert_eq!(response.status, 413);
    let location = response.headers.only("location").unwrap().unwrap();
    assert_eq!(location, format!("http://{}/rpc", served.at));
    assert_eq!(error_of(413, text(&response)).1, -32005);
    assert!(
        text(&response).contains("\"id\":1,"),
        "it says which request it answers"
    );
    let (status, body) = served.rpc(get).await;
    assert!(
        status == 200 && body.len() > 2_000,
        "over TCP it is answered"
    );
}

#[tokio::test]
async fn datagrams_meet_the_same_checks_as_connections() {
    let served = served().await;
    for (datagram, expected) in [
        (post("/rpc", "Host: evil.example\r\n", ECHO), 421),
        (post("/rpc", "", ECHO), 400),
        (post("/rpc", "Host: localhost\r\n", ECHO), 415),
        (
            post("/rpc", &format!("Host: localhost\r\n{JSON}"), "{"),
            400,
        ),
        (post("/nothing", "Host: localhost\r\n", ""), 404),
        (
            "GET /rpc?jsonrpc&method=echo&id=1 HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
            200,
        ),
        ("GET /healthz HTTP/1.0\r\n\r\n".into(), 200),
        (
            "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{}".into(),
            400,
        ),
    ] {
        assert_eq!(
            datagrams(&served, &[&datagram]).await.status,
            expected,
            "{datagram}"
        );
    }
    let head = "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let response = datagrams(&served, &[head]).await;
    assert_eq!((response.status, response.body.len()), (200, 0));
}

#[tokio::test]
async fn responses_and_garbage_are_met_with_silence() {
    let served = served().await;
    let marker = "GET /rpc?jsonrpc&method=echo&id=77 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let response = datagrams(
        &served,
        &[
            "HTTP/1.1 200 OK\r\n\r\n",
            "\x01\x02\x03",
            "garbage",
            "",
            marker,
        ],
    )
    .await;
    assert!(
        text(&response).contains("\"id\":77"),
        "the marker is the first to be answered"
    );
}
