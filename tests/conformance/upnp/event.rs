//! GENA: refusals on the service alone, and events over real connections on loopback.

use std::time::Duration;

use roundel::service::exchange::{Answer, Transport};
use roundel::wire::xml::Element;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{board, header, request};
use crate::fake::{Alone, DEADLINE, Served, served};

const EVENT: &str = "/service/cluster/event";
const NT: (&str, &str) = ("NT", "upnp:event");

async fn ask(board: &Alone, method: &str, fields: &[(&str, &str)]) -> Answer {
    board
        .service
        .handle(&request(method, EVENT, fields, ""))
        .await
}

/// Subscribes for the address the requests come from; the SID.
async fn subscribed(board: &Alone) -> String {
    let fields = [
        NT,
        ("CALLBACK", "<http://192.0.2.7:5000/e>"),
        ("TIMEOUT", "Second-300"),
    ];
    let answer = ask(board, "SUBSCRIBE", &fields).await;
    assert_eq!(answer.status, 200);
    assert_eq!(header(&answer, "Timeout"), Some("Second-300"));
    assert!(header(&answer, "Server").unwrap().contains("UPnP/2.0"));
    header(&answer, "Sid").unwrap().to_owned()
}

#[tokio::test]
async fn subscription_is_granted_renewed_and_cancelled() {
    let board = board();
    let sid = subscribed(&board).await;
    let renewal = [("SID", sid.as_str()), ("TIMEOUT", "Second-60")];
    let answer = ask(&board, "SUBSCRIBE", &renewal).await;
    assert_eq!(
        (answer.status, header(&answer, "Timeout")),
        (200, Some("Second-60"))
    );
    assert_eq!(header(&answer, "Sid"), Some(sid.as_str()));
    let other = "/service/ring/event";
    let elsewhere = request("SUBSCRIBE", other, &renewal, "");
    assert_eq!(board.service.handle(&elsewhere).await.status, 412);
    let cancelled = ask(&board, "UNSUBSCRIBE", &renewal[..1]).await;
    assert_eq!(cancelled.status, 200);
    assert_eq!(ask(&board, "UNSUBSCRIBE", &renewal[..1]).await.status, 412);
    assert_eq!(ask(&board, "SUBSCRIBE", &renewal).await.status, 412);
}

#[tokio::test]
async fn every_wrong_subscription_has_its_status() {
    let board = board();
    let sid = subscribed(&board).await;
    let (sid, own) = (
        ("SID", sid.as_str()),
        ("CALLBACK", "<http://192.0.2.7:5000/e>"),
    );
    let callback = |url| vec![NT, ("CALLBACK", url)];
    for (status, fields) in [
        (400, vec![sid, NT]),
        (400, vec![sid, own]),
        (412, vec![]),
        (412, vec![NT]),
        (412, vec![own]),
        (412, vec![("NT", "upnp:other"), own]),
        (
            412,
            vec![("SID", "uuid:6f1d3c5e-8a1b-4c70-9d52-726f756e6465")],
        ),
        (412, vec![("SID", "mine")]),
        (412, vec![NT, own, ("TIMEOUT", "soon")]),
        (412, callback("http://192.0.2.7:5000/")),
        (412, callback("<https://192.0.2.7:5000/>")),
        (412, callback("<http://board.local:5000/>")),
        (412, callback("<http://192.0.2.8:5000/>")),
        (412, callback("<http://127.0.0.1:22/>")),
        (412, callback("<http://192.0.2.7/><http://192.0.2.8/>")),
        (
            412,
            callback("<http://192.0.2.7/><http://192.0.2.7/><http://192.0.2.7/>"),
        ),
        (421, vec![NT, own, ("Host", "evil.example")]),
        (403, vec![NT, own, ("Origin", "http://evil.example")]),
    ] {
        let answer = ask(&board, "SUBSCRIBE", &fields).await;
        assert_eq!(answer.status, status, "{fields:?}");
        assert!(!answer.body.is_empty(), "it says why: {fields:?}");
    }
    for (method, status) in [("GET", 405), ("POST", 405)] {
        let answer = ask(&board, method, &[]).await;
        assert_eq!(answer.status, status);
        assert_eq!(header(&answer, "Allow"), Some("SUBSCRIBE, UNSUBSCRIBE"));
    }
    let nowhere = request("SUBSCRIBE", "/service/other/event", &[NT, own], "");
    assert_eq!(board.service.handle(&nowhere).await.status, 404);
}

/// A datagram's source can be forged: events would be sent to a victim.
#[tokio::test]
async fn nobody_subscribes_by_datagram() {
    let board = board();
    let fields = [NT, ("CALLBACK", "<http://192.0.2.7:5000/e>")];
    let mut datagram = request("SUBSCRIBE", EVENT, &fields, "");
    datagram.transport = Transport::Udp;
    assert_eq!(board.service.handle(&datagram).await.status, 400);
}

#[tokio::test]
async fn a_hosts_ninth_subscription_is_refused() {
    let board = board();
    let first = subscribed(&board).await;
    for _ in 1..8 {
        subscribed(&board).await;
    }
    let fields = [NT, ("CALLBACK", "<http://192.0.2.7:5000/e>")];
    let answer = ask(&board, "SUBSCRIBE", &fields).await;
    assert_eq!(answer.status, 503);
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(said.contains("cancel one"), "{said}");
    ask(&board, "UNSUBSCRIBE", &[("SID", &first)]).await;
    subscribed(&board).await;
}

/// A subscriber on loopback, which answers as it is told.
struct Subscriber {
    listener: TcpListener,
}

/// An event as it came.
struct Event {
    head: String,
    values: Vec<(String, String)>,
}

impl Event {
    fn field(&self, name: &str) -> &str {
        let lines = self.head.lines();
        let found = lines.filter_map(|line| line.split_once(": "));
        let mut found = found.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found
            .next()
            .unwrap_or_else(|| panic!("{name} in {}", self.head))
            .1
    }
}

impl Subscriber {
    async fn new() -> Self {
        Subscriber {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    fn url(&self) -> String {
        format!(
            "<http://{}/events?x=1>",
            self.listener.local_addr().unwrap()
        )
    }

    /// The next event; it is answered with this.
    async fn event(&self, answer: &str) -> Event {
        let accepted = timeout(DEADLINE, self.listener.accept()).await;
        let (mut stream, _) = accepted.expect("an event comes").unwrap();
        let (head, body) = read(&mut stream).await;
        let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let root = Element::parse(body.as_bytes()).unwrap();
        let property = |property: Element| {
            let variable = property.children.into_iter().next().unwrap();
            (variable.name, variable.text)
        };
        Event {
            head,
            values: root.children.into_iter().map(property).collect(),
        }
    }

    async fn is_silent(&self, time: Duration) -> bool {
        timeout(time, self.listener.accept()).await.is_err()
    }
}

/// Head and body of a message with a length.
async fn read(stream: &mut TcpStream) -> (String, String) {
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    loop {
        let length = timeout(DEADLINE, stream.read(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert_ne!(length, 0, "the message has an end: {text}");
            continue;
        };
        let lengths = head.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().unwrap())
        });
        if lengths.max().unwrap_or_default() <= body.len() {
            return (head.to_owned(), body.to_owned());
        }
    }
}

/// Subscribes over a connection; status and SID.
async fn subscribe(served: &Served, callback: &str) -> (u16, String) {
    let fields = format!("NT: upnp:event\r\nCALLBACK: {callback}\r\nTIMEOUT: Second-300\r\n");
    exchange(served, "SUBSCRIBE", &fields).await
}

async fn exchange(served: &Served, method: &str, fields: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let request = format!(
        "{method} {EVENT} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n",
        served.at
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let (head, _) = read(&mut stream).await;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let sid = head.lines().find_map(|line| line.strip_prefix("Sid: "));
    (status, sid.unwrap_or_default().to_owned())
}

#[tokio::test]
async fn subscriber_hears_everything_first_and_then_what_changes() {
    let served = served().await;
    let subscriber = Subscriber::new().await;
    let (status, sid) = subscribe(&served, &subscriber.url()).await;
    assert_eq!(status, 200);
    let first = subscriber.event("200 OK").await;
    assert!(
        first.head.starts_with("NOTIFY /events?x=1 HTTP/1.1\r\n"),
        "{}",
        first.head
    );
    assert_eq!(first.field("NT"), "upnp:event");
    assert_eq!(first.field("NTS"), "upnp:propchange");
    assert_eq!(first.field("Content-Type"), "text/xml; charset=\"utf-8\"");
    assert_eq!(
        (first.field("SEQ"), first.field("SID")),
        ("0", sid.as_str())
    );
    let names: Vec<_> = first.values.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["MemberCount", "Layout"]);
    assert_eq!(first.values[0].1, "1");
    let member = served.board.state().members[0].clone();
    served.board.state().members.push(member);
    served.changed.send_replace(());
    let second = subscriber.event("200 OK").await;
    assert_eq!(second.field("SEQ"), "1");
    assert_eq!(second.values[0], ("MemberCount".to_owned(), "2".to_owned()));
    assert_ne!(
        second.values[1], first.values[1],
        "the layout changed with it"
    );
    let cancel = format!("SID: {sid}\r\n");
    assert_eq!(exchange(&served, "UNSUBSCRIBE", &cancel).await.0, 200);
    served.board.state().members.pop();
    served.changed.send_replace(());
    assert!(subscriber.is_silent(Duration::from_millis(500)).await);
}

#[tokio::test]
async fn board_is_not_looked_at_while_nobody_subscribes() {
    let served = served().await;
    let looks = || served.board.state().calls.len();
    served.changed.send_replace(());
    let subscriber = Subscriber::new().await;
    let (_, sid) = subscribe(&served, &subscriber.url()).await;
    subscriber.event("200 OK").await;
    assert_eq!(looks(), 1, "the first look is for the first subscriber");
    exchange(&served, "UNSUBSCRIBE", &format!("SID: {sid}\r\n")).await;
    for _ in 0..5 {
        served.changed.send_replace(());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(looks(), 1);
}

#[tokio::test]
async fn many_changes_are_few_events_and_few_looks() {
    let served = served().await;
    let subscriber = Subscriber::new().await;
    subscribe(&served, &subscriber.url()).await;
    subscriber.event("200 OK").await;
    let before = served.board.state().calls.len();
    let member = served.board.state().members[0].clone();
    for _ in 0..50 {
        served.board.state().members.push(member.clone());
        served.changed.send_replace(());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut events = 0;
    loop {
        let event = subscriber.event("200 OK").await;
        events += 1;
        assert_eq!(event.field("SEQ"), events.to_string());
        if event.values[0].1 == "51" {
            break;
        }
    }
    assert!(events <= 5, "{events} events in about 0.6 s");
    let looks = served.board.state().calls.len() - before;
    assert!(looks <= 6, "{looks} looks");
}

/// Whoever subscribes and cancels in turn would otherwise leave a connection behind each time.
#[tokio::test]
async fn event_on_its_way_is_given_up_when_the_subscription_ends() {
    let served = served().await;
    let subscriber = Subscriber::new().await;
    let (_, sid) = subscribe(&served, &subscriber.url()).await;
    let accepted = timeout(DEADLINE, subscriber.listener.accept()).await;
    let (mut stream, _) = accepted.expect("an event comes").unwrap();
    read(&mut stream).await;
    exchange(&served, "UNSUBSCRIBE", &format!("SID: {sid}\r\n")).await;
    let ended = timeout(DEADLINE, stream.read(&mut [0; 1])).await;
    assert_eq!(ended.expect("it is given up").unwrap_or(0), 0);
}

#[tokio::test]
async fn event_goes_to_the_second_url_when_the_first_fails() {
    let served = served().await;
    let closed = Subscriber::new().await;
    let first = closed.url();
    drop(closed);
    let subscriber = Subscriber::new().await;
    let both = format!("{first}{}", subscriber.url());
    assert_eq!(subscribe(&served, &both).await.0, 200);
    assert_eq!(subscriber.event("200 OK").await.field("SEQ"), "0");
}

#[tokio::test]
async fn redirects_are_not_followed_and_failures_end_the_subscription() {
    let served = served().await;
    let (subscriber, target) = (Subscriber::new().await, Subscriber::new().await);
    let (_, sid) = subscribe(&served, &subscriber.url()).await;
    let location = target.url();
    let location = location.trim_matches(['<', '>']);
    let moved = format!("307 Temporary Redirect\r\nLocation: {location}");
    let member = served.board.state().members[0].clone();
    for seq in 0..3 {
        assert_eq!(subscriber.event(&moved).await.field("SEQ"), seq.to_string());
        served.board.state().members.push(member.clone());
        served.changed.send_replace(());
    }
    assert!(
        subscriber.is_silent(Duration::from_millis(600)).await,
        "it was dropped"
    );
    assert!(
        target.is_silent(Duration::from_millis(1)).await,
        "nothing went there"
    );
    let renewal = format!("SID: {sid}\r\n");
    assert_eq!(exchange(&served, "SUBSCRIBE", &renewal).await.0, 412);
}
