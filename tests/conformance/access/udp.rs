//! A keyed cluster over UDP, where a caller's address may be forged.

use bytes::Bytes;
use roundel::runtime::http::{Outgoing, answer_datagram, handle_datagram, read_datagram};
use roundel::wire::httpu::{Headers, Response};

use super::*;

/// The datagram of a request.
fn datagram(request: &Request, more: &[(&str, &str)]) -> Bytes {
    let fields = request.fields.as_ref().unwrap();
    let mut headers = Headers(vec![("Host".into(), fields.host.clone().unwrap())]);
    for (name, value) in [
        ("Content-Type", &fields.content_type),
        ("Authorization", &fields.authorization),
    ] {
        headers
            .0
            .extend(value.clone().map(|value| (name.to_owned(), value)));
    }
    for (name, value) in more {
        headers.0.push(((*name).to_owned(), (*value).to_owned()));
    }
    roundel::wire::httpu::Request {
        method: request.method.clone(),
        target: request.target.clone(),
        minor: 1,
        headers,
        body: request.body.clone(),
    }
    .emit()
    .into()
}

async fn sent(house: &House, bytes: &Bytes) -> Outgoing {
    let (from, at) = (FROM.parse().unwrap(), AT.parse().unwrap());
    handle_datagram(&house.alone.service, bytes, from, at).await
}

/// Every kind of datagram that a stranger can send.
fn of_strangers() -> Vec<Bytes> {
    let long = "x".repeat(500);
    let get_form = "/rpc?jsonrpc=2.0&method=get_node_stats&id=1";
    let mut all: Vec<Bytes> = [
        posted(&put(1, "a")),
        posted(&put(1, &long)),
        posted(&get(1, "a")),
        posted(&get(1, "nothing")),
        posted(&json!({"jsonrpc": "2.0", "id": long, "method": "get_cluster_state"})),
        posted(&json!({"jsonrpc": "2.0", "method": "get_cluster_state"})),
        posted(&json!([put(1, "a"), get(2, "a"), {"jsonrpc": "2.0"}])),
        posted(&json!({"jsonrpc": "2.0", "id": 1, "method": "nothing"})),
        posted(&json!(1)),
        request("POST", "/rpc", &[JSON], "{"),
        request("POST", "/rpc", &[("Content-Type", "text/plain")], "{}"),
        request(
            "POST",
            "/chord",
            &[JSON],
            r#"{"do":"get_ring_fingers","id":1}"#,
        ),
        request(
            "POST",
            "/chord",
            &[JSON],
            r#"{"do":"get","reply-to":"192.0.2.1:38400"}"#,
        ),
        request("GET", get_form, &[], ""),
        request("HEAD", get_form, &[], ""),
        request("GET", "/rnd1", &[], ""),
        request("GET", "/", &[], ""),
        request("GET", "/presentation", &[], ""),
        request("GET", "/presentation/events", &[], ""),
        request("GET", "/description.xml", &[], ""),
        request("GET", "/service/ring/description.xml", &[], ""),
        request("GET", "/healthz", &[], ""),
        request("GET", "/metrics", &[], ""),
        request("GET", "/nothing", &[], ""),
        request("DELETE", "/rpc", &[], ""),
        request("POST", "/service/ring/control", &[], ""),
        request("SUBSCRIBE", "/service/ring/event", &[], ""),
        request("GET", "/", &[("Host", "example.org")], ""),
        request("POST", "/rpc", &[JSON, ("Authorization", "RND1 x")], "{}"),
        request("POST", "/rpc", &[JSON, ("Authorization", "Bearer x")], "{}"),
        request("POST", "/rpc", &[JSON], r#"{"digest":"RND1 x"}"#),
    ]
    .iter()
    .map(|request| datagram(request, &[]))
    .collect();
    for broken in [
        "GET /",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST /rpc HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    ] {
        all.push(broken.into());
    }
    all
}

#[tokio::test]
async fn a_stranger_is_never_sent_more_bytes_than_it_sent() {
    let house = keyed();
    house.answer(&from_here(posted(&put(1, "a")))).await;
    let (mut most, mut answered) = (0.0_f64, 0);
    for bytes in of_strangers() {
        for padding in [0, 20, 60, 100, 200, 400, 800] {
            let filled = match padding {
                0 => bytes.clone(),
                _ => padded(&bytes, padding),
            };
            let outgoing = sent(&house, &filled).await;
            let shown = filled.escape_ascii();
            assert!(outgoing.post.is_none(), "{shown}");
            let answer = outgoing.answer.map_or(0, |answer| answer.len());
            assert!(
                answer <= filled.len(),
                "{answer} for {}: {shown}",
                filled.len()
            );
            most = most.max(answer as f64 / filled.len() as f64);
            answered += usize::from(answer > 0);
        }
    }
    assert!(
        answered > 150,
        "strangers are told something where there is room: {answered}"
    );
    println!("{answered} answers; the largest is {most:.2} of its request");
    assert_eq!(house.writes(), 1);
}

/// The datagram with so many bytes more, in a field of its head.
fn padded(bytes: &Bytes, padding: usize) -> Bytes {
    let text = String::from_utf8_lossy(bytes);
    let field = format!("HTTP/1.1\r\nPadding: {}\r\n", "0".repeat(padding));
    text.replacen("HTTP/1.1\r\n", &field, 1).into_bytes().into()
}

#[tokio::test]
async fn a_stranger_that_pads_its_request_is_answered() {
    let house = keyed();
    house.answer(&from_here(posted(&put(1, "a")))).await;
    let bare = datagram(&posted(&get(1, "a")), &[]);
    let answer = sent(&house, &bare).await.answer.unwrap();
    assert_eq!(Response::parse(&answer).unwrap().status, 413);
    let answer = sent(&house, &padded(&bare, 300)).await.answer.unwrap();
    let answer = Response::parse(&answer).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let refused = sent(&house, &datagram(&posted(&put(1, "a")), &[]))
        .await
        .answer
        .unwrap();
    assert_eq!(Response::parse(&refused).unwrap().status, 401);
}

#[tokio::test]
async fn a_member_over_udp_is_answered_in_full_and_however_many_strangers_there_are() {
    let house = keyed();
    let mut client = Client::begin(&house, &key(1), Transport::Udp).await;
    let (from, at) = (FROM.parse().unwrap(), AT.parse().unwrap());
    let service = &house.alone.service;
    let asked = client.post(&put(1, "a"));
    let bytes = datagram(&asked, &[]);
    // Where strangers are not heard, for there were too many.
    let read = read_datagram(service, &bytes, (from, at), false).unwrap();
    let outgoing = answer_datagram(service, read).await;
    let answer = Response::parse(&outgoing.answer.unwrap()).unwrap();
    assert_eq!(answer.status, 200);
    let proof = answer
        .headers
        .only("Authentication-Info")
        .unwrap()
        .unwrap()
        .to_owned();
    let mut as_told = Answer::json(answer.status, answer.body);
    as_told.headers.push((Seal::FIELD, proof));
    assert!(client.checks(&asked, &as_told));
    for quiet in [bytes, datagram(&posted(&get(1, "a")), &[])] {
        let refused = read_datagram(service, &quiet, (from, at), false).unwrap_err();
        assert_eq!(refused, Outgoing::default(), "a replay is a stranger's");
    }
}
