//! The seed's own message form at /chord, over HTTP and HTTPU, and where its replies may go.

use std::time::Duration;

use bytes::Bytes;
use roundel::base::id::Id;
use roundel::service::exchange::{Fields, Request, Transport};
use roundel::wire::httpu;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

use crate::fake::{DEADLINE, Served, Setup, member, served, served_with};

async fn chord(served: &Served, message: Value) -> (u16, Value) {
    let (status, body) = served
        .post("/chord", "application/json", &message.to_string())
        .await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn the_seeds_messages_are_answered_in_the_seeds_form() {
    let served = served().await;
    let from = served.at.to_string();
    let (status, reply) = chord(
        &served,
        json!({"do": "put", "data": {"key": "a key", "value": "a value"}, "id": 7}),
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(
        (&reply["reply"], &reply["id"], &reply["status"]),
        (&json!("put"), &json!(7), &json!("ok"))
    );
    assert_eq!(
        (&reply["from"], &reply["data"]["key"]),
        (&json!(from), &json!("a key"))
    );
    let (_, reply) = chord(&served, json!({"do": "get", "data": {"key": "a key"}})).await;
    assert_eq!(
        (&reply["data"]["value"], &reply["id"]),
        (&json!("a value"), &Value::Null)
    );
    chord(&served, json!({"do": "remove", "data": {"key": "a key"}})).await;
    let (status, reply) = chord(&served, json!({"do": "get", "data": {"key": "a key"}})).await;
    assert_eq!((status, &reply["status"]), (404, &json!("not-found")));
    for message in [
        json!({"do": "join-ring", "sponsoring-node": "tcp://192.0.2.1:5555"}),
        json!({"do": "leave-ring", "mode": "orderly"}),
        json!({"do": "stabilize-ring"}),
        json!({"do": "init-ring-fingers"}),
        json!({"do": "fix-ring-fingers"}),
        json!({"do": "get-ring-fingers"}),
        json!({"do": "find-ring-successor"}),
        json!({"do": "find-ring-predecessor"}),
        json!({"do": "list-items"}),
    ] {
        let (status, reply) = chord(&served, message.clone()).await;
        assert_eq!((status, &reply["status"]), (200, &json!("ok")), "{message}");
        assert_eq!(reply["reply"], message["do"]);
    }
}

#[tokio::test]
async fn messages_that_cannot_be_carried_out_say_why() {
    let served = served().await;
    for (message, http, code) in [
        (json!({"data": {}}), 400, -32600),
        (json!([]), 400, -32600),
        (json!({"do": 7}), 400, -32600),
        (json!({"do": "dance"}), 404, -32601),
        (json!({"do": "get"}), 400, -32602),
        (json!({"do": "get", "data": 7}), 400, -32602),
        (
            json!({"do": "get", "key": "a", "data": {"key": "b"}}),
            400,
            -32602,
        ),
        (
            json!({"do": "get", "data": {"key": "a"}, "reply-to": "nowhere"}),
            400,
            -32602,
        ),
    ] {
        let (status, reply) = chord(&served, message.clone()).await;
        assert_eq!(
            (status, &reply["status"]),
            (http, &json!("error")),
            "{message}"
        );
        assert_eq!(reply["data"]["code"], code, "{message}");
        assert!(reply["data"]["data"]["reason"].is_string(), "{reply}");
    }
    assert_eq!(served.get("/chord").await.0, 405);
    assert_eq!(served.post("/chord", "text/plain", "{}").await.0, 415);
}

#[tokio::test]
async fn a_reply_goes_to_the_senders_own_address_over_tcp() {
    let served = served().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reply_to = listener.local_addr().unwrap().to_string();
    let message = json!({"do": "list-items", "id": "m1", "reply-to": reply_to});
    let (status, body) = chord(&served, message).await;
    assert_eq!((status, body), (202, Value::Null));
    let (mut stream, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
    let mut text = String::new();
    while !text.contains("\"m1\"") {
        let mut buffer = [0; 2_048];
        let read = timeout(DEADLINE, stream.read(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_ne!(read, 0, "{text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    assert!(text.starts_with("POST /chord HTTP/1.1\r\n"), "{text}");
}

#[tokio::test]
async fn a_reply_goes_to_a_member_as_a_datagram_when_it_says_httpu() {
    let served = served().await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = peer.local_addr().unwrap();
    served
        .board
        .state()
        .members
        .push(member(Id::of(b"peer"), at, true));
    let message = json!({"do": "ring-notify", "id": 1, "reply-to": format!("httpu://{at}")});
    assert_eq!(chord(&served, message).await.0, 202);
    let mut buffer = [0; 2_048];
    let read = timeout(DEADLINE, peer.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    let request = httpu::Request::parse(&Bytes::copy_from_slice(&buffer[..read])).unwrap();
    let reply: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        (request.target.as_str(), &reply["status"]),
        ("/chord", &json!("ok"))
    );
    assert_eq!(reply["reply"], "ring-notify");
}

/// The answer to a message of the seed's form from `from`, as the transport would be given it.
async fn answer(
    served: &Served,
    transport: Transport,
    from: &str,
    message: Value,
) -> roundel::service::exchange::Answer {
    served
        .service
        .handle(&Request {
            method: "POST".into(),
            target: "/chord".into(),
            minor: 1,
            fields: Ok(Fields {
                host: Some(served.at.to_string()),
                content_type: Some("application/json".into()),
                ..Fields::default()
            }),
            body: message.to_string().into(),
            from: from.parse().unwrap(),
            local: served.at,
            secure: false,
            transport,
        })
        .await
}

#[tokio::test]
async fn nobody_can_aim_a_reply_at_a_stranger() {
    let served = served().await;
    let victim = "192.0.2.1:9";
    let message = json!({"do": "list-items", "reply-to": victim});
    for (transport, from) in [
        (Transport::Tcp, "192.0.2.2:5000"),
        (Transport::Udp, "192.0.2.2:5000"),
        // Over UDP the source can be forged: not even the sender's own address will do.
        (Transport::Udp, "192.0.2.1:9"),
    ] {
        let answer = answer(&served, transport, from, message.clone()).await;
        assert_eq!(
            (answer.status, answer.post),
            (400, None),
            "{transport:?} from {from}"
        );
    }
    let own = answer(&served, Transport::Tcp, "192.0.2.1:5000", message).await;
    assert_eq!(own.post.unwrap().to.to_string(), victim);
}

#[tokio::test]
async fn a_reply_that_arrives_is_never_answered() {
    let served = served().await;
    let reply = json!({"reply": "get", "id": 1, "status": "ok", "from": "192.0.2.1:1", "data": {}});
    assert_eq!(chord(&served, reply.clone()).await, (204, Value::Null));
    let over_udp = answer(&served, Transport::Udp, "192.0.2.1:1", reply).await;
    assert!(over_udp.silent_over_udp);
}

#[tokio::test]
async fn the_reply_delay_is_exponential_and_the_same_for_the_same_seed() {
    async fn delays() -> Vec<Duration> {
        let served = served_with(Setup {
            facts: Box::new(|facts| facts.reply_delay_mean_ms = 40),
            ..Setup::default()
        })
        .await;
        let mut delays = Vec::new();
        for _ in 0..2_000 {
            let message = json!({"do": "echo", "id": 1});
            delays.push(
                answer(&served, Transport::Udp, "127.0.0.1:1", message)
                    .await
                    .delay,
            );
        }
        delays
    }
    let drawn = delays().await;
    let mean = drawn.iter().sum::<Duration>() / drawn.len() as u32;
    assert!((34..46).contains(&mean.as_millis()), "mean {mean:?}");
    // A third of an exponential distribution lies above its mean: 1/e.
    let above = drawn.iter().filter(|delay| delay.as_millis() >= 40).count();
    assert!(
        (630..840).contains(&above),
        "{above} of 2000 above the mean"
    );
    assert_eq!(drawn, delays().await);
}
