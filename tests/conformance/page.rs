//! The page over HTTP: its headers, what is refused, and its feed. What it looks like and does is
//! for `tests/browser`.

use std::time::{Duration, Instant};

use roundel::base::call::Event;
use roundel::base::id::Id;
use roundel::base::limit;
use roundel::base::time::{Now, Time, WallTime};
use roundel::service::web;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fake::{DEADLINE, Served, error_of, served};

/// Sends a request without a body and reads until the end.
async fn ask(served: &Served, method: &str, path: &str, fields: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let host = match fields.contains("Host: ") {
        true => String::new(),
        false => format!("Host: {}\r\n", served.at),
    };
    let text = format!("{method} {path} HTTP/1.1\r\n{host}{fields}Connection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
    read.expect("the other side ends").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// A page's stream.
struct Page(BufReader<TcpStream>);

impl Page {
    async fn open(served: &Served) -> Page {
        let mut stream = TcpStream::connect(served.at).await.unwrap();
        let text = format!(
            "GET /presentation/events HTTP/1.1\r\nHost: {}\r\n\r\n",
            served.at
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        Page(BufReader::new(stream))
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(DEADLINE, self.0.read_line(&mut line)).await;
        let count = read.expect("the feed speaks").unwrap_or_default();
        (count > 0).then(|| line.trim_end().to_owned())
    }

    /// The data of the next message of that name.
    async fn next(&mut self, name: &str) -> Value {
        let wanted = format!("event: {name}");
        while self.line().await.expect("the feed goes on") != wanted {}
        let line = self.line().await.expect("a message has data");
        serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap()
    }
}

fn now(ms: u64) -> Now {
    Now {
        time: Time(ms * 1_000),
        wall: WallTime(1_800_000_000_000 + ms),
    }
}

#[tokio::test]
async fn every_part_of_the_page_carries_the_policy() {
    let served = served().await;
    let assets = web::assets().iter().map(|asset| asset.name);
    for name in assets.map(Some).chain([None]) {
        let path = name.map_or_else(
            || "/presentation".to_owned(),
            |it| format!("/presentation/{it}"),
        );
        let (status, head, body) = ask(&served, "GET", &path, "").await;
        assert_eq!(status, 200, "{path}");
        assert!(!body.is_empty(), "{path}");
        let policy = head
            .lines()
            .find_map(|line| line.strip_prefix("content-security-policy: "));
        let policy = policy.unwrap_or_else(|| panic!("{path}: {head}"));
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        for field in [
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
        ] {
            assert!(head.lines().any(|line| line == field), "{path}: {head}");
        }
        let (status, head_only, nothing) = ask(&served, "HEAD", &path, "").await;
        assert_eq!((status, nothing.as_str()), (200, ""), "{path}");
        let length = |head: &str| {
            let found = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            found.map(str::to_owned)
        };
        assert_eq!(length(&head_only), length(&head), "{path}");
        let (status, head, _) = ask(&served, "DELETE", &path, "").await;
        assert_eq!(status, 405, "{path}");
        assert!(head.contains("allow: get, head"), "{head}");
    }
}

#[tokio::test]
async fn an_asset_is_sent_once_and_the_root_leads_to_the_page() {
    let served = served().await;
    let (_, head, _) = ask(&served, "GET", "/presentation/page.js", "").await;
    let etag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap();
    let fields = format!("If-None-Match: {etag}\r\n");
    let (status, _, body) = ask(&served, "GET", "/presentation/page.js", &fields).await;
    assert_eq!((status, body.as_str()), (304, ""));
    let (status, head, _) = ask(&served, "GET", "/", "").await;
    assert_eq!(status, 302);
    assert!(head.contains("location: /presentation"), "{head}");
}

#[tokio::test]
async fn foreign_hosts_and_pages_of_other_sites_are_refused() {
    let served = served().await;
    for path in [
        "/",
        "/presentation",
        "/presentation/page.js",
        "/presentation/events",
    ] {
        let rebound = ask(&served, "GET", path, "Host: evil.example\r\n").await;
        assert_eq!(rebound.0, 421, "{path}");
        assert!(error_of(421, &rebound.2).2.contains("does not answer to"));
        let fields = "Origin: http://evil.example\r\n";
        let foreign = ask(&served, "GET", path, fields).await;
        assert_eq!(foreign.0, 403, "{path}");
    }
}

#[tokio::test]
async fn what_other_boards_say_of_themselves_is_text_in_the_document() {
    let served = served().await;
    served.board.state().members[0].version = Some("<script>alert(1)</script>".into());
    let (_, _, body) = ask(&served, "GET", "/presentation", "").await;
    assert!(
        body.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{body}"
    );
    assert!(!body.contains("<script>"), "{body}");
    assert!(body.contains(">fake (this board)<") && body.contains("1 board, all present"));
    assert!(!body.contains("{{"), "every mark is filled");
}

#[tokio::test]
async fn the_feed_says_what_the_methods_say() {
    let served = served().await;
    served.board.state().patient = true;
    served
        .service
        .happened(now(3), &Event::NodeUp(Id::of(b"other")));
    let mut page = Page::open(&served).await;
    let head = page.line().await.unwrap();
    assert_eq!(head, "HTTP/1.1 200 OK");
    let none = json!({});
    let node = page.next("node").await;
    assert_eq!(node, served.result("get_node_state", none.clone()).await);
    let cluster = page.next("cluster").await;
    assert_eq!(
        cluster,
        served.result("get_cluster_state", none.clone()).await
    );
    let stats = page.next("stats").await;
    assert_eq!(stats, served.result("get_node_stats", none.clone()).await);
    let events = page.next("events").await;
    assert_eq!(events, served.result("get_node_events", none).await);
    assert_eq!(events["events"][0]["event"], "node_up");
    assert_eq!(events["events"][0]["node"], Id::of(b"other").to_string());

    // What happens is told at once, with the ring if it has changed.
    served.board.state().members[0].suspect = true;
    let start = Instant::now();
    served
        .service
        .happened(now(9), &Event::NodeSuspected(Id::of(b"fake")));
    let cluster = page.next("cluster").await;
    let events = page.next("events").await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(cluster["cluster"]["nodes"][0]["suspect"], true);
    assert_eq!(
        events["events"].as_array().unwrap().len(),
        1,
        "only what is new"
    );
    assert_eq!(events["events"][0]["number"], 2);
    let later = served.result("get_node_events", json!({"after": 1})).await;
    assert_eq!(later, events);
}

#[tokio::test]
async fn a_feed_nobody_listens_to_costs_nothing() {
    let served = served().await;
    served.board.state().patient = true;
    let calls = || served.board.state().calls.len();
    let mut page = Page::open(&served).await;
    page.next("stats").await;
    page.next("stats").await;
    assert!(calls() >= 3, "the board is looked at");
    drop(page);
    let start = Instant::now();
    loop {
        let before = calls();
        tokio::time::sleep(limit::FEED_INTERVAL * 3).await;
        if calls() == before {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "it is looked at for nobody");
    }
}

#[tokio::test]
async fn feeds_are_bounded_over_tcp_alone_and_end_with_the_board() {
    let served = served().await;
    served.board.state().patient = true;
    let mut pages = Vec::new();
    for _ in 0..limit::FEED_STREAMS_MAX {
        let mut page = Page::open(&served).await;
        page.next("node").await;
        pages.push(page);
    }
    let (status, _, body) = ask(&served, "GET", "/presentation/events", "").await;
    assert_eq!(status, 503);
    assert!(error_of(503, &body).2.contains("too many pages"));

    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = "GET /presentation/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.send_to(request.as_bytes(), served.at).await.unwrap();
    let mut answer = [0; 2_048];
    let read = timeout(DEADLINE, socket.recv(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 400 "));
    let request = request.replace("/events", "");
    socket.send_to(request.as_bytes(), served.at).await.unwrap();
    let read = timeout(DEADLINE, socket.recv(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer[..read.unwrap().unwrap()]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let location = format!("Location: http://{}/presentation\r\n", served.at);
    assert!(answer.contains(&location), "{answer}");

    served.stop.send(true).unwrap();
    for page in &mut pages {
        while page.line().await.is_some() {}
    }
}
