//! Callers that hold the key, and those that only recorded what such a caller sent.

use std::sync::atomic::Ordering;

use roundel::base::id::Id;
use roundel::service::Service;

use super::*;

#[tokio::test]
async fn whoever_holds_the_key_does_everything_and_can_check_the_answers() {
    let house = keyed();
    for transport in [Transport::Tcp, Transport::Udp] {
        let mut client = Client::begin(&house, &key(1), transport).await;
        let leave = json!({"jsonrpc": "2.0", "id": 9, "method": "leave_ring"});
        let batch = json!([put(1, "a"), get(2, "a")]);
        for (call, status) in [
            (put(1, "a"), 200),
            (get(2, "a"), 200),
            (get(3, "nothing"), 404),
            (batch, 200),
            (leave, 200),
        ] {
            let asked = client.post(&call);
            let mut answer = house.answer(&asked).await;
            assert_eq!(answer.status, status, "{call}");
            assert!(client.checks(&asked, &answer), "{call}");
            answer.status ^= 1;
            assert!(!client.checks(&asked, &answer), "another status");
            answer.status ^= 1;
            let mut body = answer.body.to_vec();
            body[0] ^= 1;
            answer.body = body.into();
            assert!(!client.checks(&asked, &answer), "another body");
        }
        let target = "/rpc?jsonrpc=2.0&method=get&id=1&encode=none&params=%5B%22a%22%5D";
        let asked = client.ask("GET", target, "", "");
        let answer = house.answer(&asked).await;
        assert!(answer.status == 200 && client.checks(&asked, &answer));
        let body = json!({"do": "put", "id": 1, "data": {"key": "b", "value": 2}}).to_string();
        let asked = client.ask("PUT", "/chord", "application/json", &body);
        let answer = house.answer(&asked).await;
        assert!(answer.status == 200 && client.checks(&asked, &answer));
    }
}

#[tokio::test]
async fn an_answer_to_another_request_of_the_session_is_not_taken() {
    let house = keyed();
    let mut client = Client::begin(&house, &key(1), Transport::Tcp).await;
    let (first, second) = (client.post(&get(1, "a")), client.post(&get(1, "a")));
    let answer = house.answer(&first).await;
    house.answer(&second).await;
    assert!(client.checks(&first, &answer) && !client.checks(&second, &answer));
}

/// Requests of every kind, as somebody on the LAN records them.
async fn recorded(house: &House) -> Vec<Request> {
    let mut all = Vec::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        let mut client = Client::begin(house, &key(1), transport).await;
        for number in 0..40 {
            all.push(client.post(&put(number, &format!("key-{number}"))));
            all.push(client.post(&get(number, "a")));
        }
        let target = "/rpc?jsonrpc=2.0&method=get&id=1&encode=none&params=%5B%22a%22%5D";
        all.push(client.ask("GET", target, "", ""));
        let body = json!({"do": "put", "data": {"key": "c", "value": 1}}).to_string();
        all.push(client.ask("POST", "/chord", "application/json", &body));
        all.push(with_member(
            &mut client,
            r#"{"jsonrpc":"2.0","id":1,"method":"put","params":["m",1]"#,
        ));
    }
    all
}

/// A document whose credentials are its member `digest`; `open` lacks its last brace.
fn with_member(client: &mut Client, open: &str) -> Request {
    let blank = |text: &str| format!("{open},\"digest\":\"{text}\"}}");
    // The text of credentials has one length as long as the number has as many digits.
    let zeros = "0".repeat(client.text_bytes());
    let shown = client.sign("POST", "/rpc", "application/json", &blank(&zeros));
    assert_eq!(shown.len(), zeros.len());
    let mut request = request("POST", "/rpc", &[JSON], &blank(&shown));
    request.transport = client.transport;
    request
}

#[tokio::test]
async fn replaying_every_captured_request_is_accepted_never() {
    let house = keyed();
    let all = recorded(&house).await;
    for request in &all {
        assert_ne!(house.answer(request).await.status, 401);
    }
    let writes = house.writes();
    assert!(writes >= 80);
    let mut accepted = 0;
    for seconds in [0, 5, 61, 100_000] {
        house
            .micros
            .fetch_add(seconds * 1_000_000, Ordering::Relaxed);
        for request in all.iter().chain(all.iter().rev()) {
            accepted += usize::from(house.answer(request).await.status != 401);
            let mut moved = request.clone();
            moved.transport = match request.transport {
                Transport::Tcp => Transport::Udp,
                Transport::Udp => Transport::Tcp,
            };
            accepted += usize::from(house.answer(&moved).await.status != 401);
        }
    }
    assert_eq!((accepted, house.writes()), (0, writes));
    // Nor does the board take them after its next start, or another board of the cluster ever.
    for (boot, id) in [(5, "fake"), (4, "other")] {
        let mut facts = house.alone.service.facts().clone();
        (facts.boot, facts.id, facts.seed) = (boot, Id::of(id.as_bytes()), [7; 32]);
        let service = Service::new(house.alone.board.clone(), facts);
        for request in &all {
            assert_eq!(service.handle(request).await.status, 401, "{boot} {id}");
        }
    }
    assert_eq!(house.writes(), writes);
}

#[tokio::test]
async fn whatever_is_wrong_with_credentials_is_refused_alike() {
    let house = keyed();
    let mut client = Client::begin(&house, &key(1), Transport::Tcp).await;
    let replayed = client.post(&get(1, "a"));
    assert_eq!(house.answer(&replayed).await.status, 404);
    let mut forged = client.post(&get(1, "a"));
    forged.body = get(1, "b").to_string().into();
    let unknown = Client::begin(&house, &key(2), Transport::Tcp)
        .await
        .post(&get(1, "a"));
    let malformed = request("POST", "/rpc", &[JSON, ("Authorization", "RND1 x")], "{}");
    let refused = house.answer(&replayed).await;
    assert_unauthorised(&refused);
    for request in [forged, unknown, malformed] {
        // Also on the board itself, where without credentials all were allowed.
        assert_eq!(house.answer(&request).await, refused);
        assert_eq!(house.answer(&from_here(request)).await, refused);
    }
    let keyless = super::house(Access::Open, None, |_| {});
    assert_eq!(
        keyless.answer(&replayed).await,
        refused,
        "a board without a key"
    );
}

#[tokio::test]
async fn a_changed_part_of_a_request_is_refused() {
    let house = keyed();
    let mut client = Client::begin(&house, &key(1), Transport::Tcp).await;
    let changes: [fn(&mut Request); 7] = [
        |it| it.method = "PUT".into(),
        |it| it.target = "/rpc?".into(),
        |it| it.target = "/chord".into(),
        |it| it.body = put(1, "b").to_string().into(),
        |it| it.fields.as_mut().unwrap().host = Some("192.0.2.1".into()),
        |it| it.fields.as_mut().unwrap().content_type = Some("application/json-rpc".into()),
        |it| it.transport = Transport::Udp,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = client.post(&put(1, "a"));
        change(&mut changed);
        let status = house.answer(&changed).await.status;
        assert_eq!(status, 401, "change {number}");
    }
    assert_eq!(house.writes(), 0);
}

#[tokio::test]
async fn the_member_digest_carries_credentials_as_a_header_does() {
    let house = keyed();
    let mut client = Client::begin(&house, &key(1), Transport::Tcp).await;
    let open = r#"{"jsonrpc":"2.0","id":1,"method":"put","params":{"key":"a","value":1}"#;
    let good = with_member(&mut client, open);
    let answer = house.answer(&good).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(header(&answer, Seal::FIELD).is_some());
    assert_unauthorised(&house.answer(&good).await);
    let text = |request: &Request| String::from_utf8(request.body.to_vec()).unwrap();
    let mut changed = with_member(&mut client, open);
    changed.body = text(&changed).replace("\"a\"", "\"b\"").into();
    assert_unauthorised(&house.answer(&changed).await);
    let mut escaped = with_member(&mut client, open);
    escaped.body = text(&escaped).replace("RND1", "\\u0052ND1").into();
    assert_unauthorised(&house.answer(&escaped).await);
    let mut twice = with_member(&mut client, open);
    twice.body = text(&twice)
        .replace("\"id\":1", "\"digest\":\"x\",\"id\":1")
        .into();
    assert_eq!(
        house.answer(&twice).await.status,
        400,
        "a name twice is no JSON of ours"
    );
    let mut both = client.post(&put(1, "a"));
    both.body = text(&with_member(&mut client, open)).into();
    let refused = house.answer(&both).await;
    assert_unauthorised(&refused);
    assert!(refusal(&refused).2.contains("twice"));
    let batch = json!([{"jsonrpc": "2.0", "id": 1, "method": "echo", "digest": "x"}]);
    let answer = house.answer(&posted(&batch)).await;
    assert!(String::from_utf8_lossy(&answer.body).contains("-32602"));
    assert_eq!(house.writes(), 1);
}

#[tokio::test]
async fn a_request_that_is_sent_again_runs_once() {
    let house = keyed();
    let mut client = Client::begin(&house, &key(1), Transport::Tcp).await;
    let first = house.answer(&client.post(&put(1, "a"))).await;
    let again = client.post(&put(1, "a"));
    let second = house.answer(&again).await;
    assert!(client.checks(&again, &second), "under its own number");
    assert_eq!((house.writes(), &first.body), (1, &second.body));
    let asked = [client.post(&put(7, "b")), client.post(&put(7, "b"))];
    let answers = tokio::join!(house.answer(&asked[0]), house.answer(&asked[1]));
    assert_eq!(
        (house.writes(), answers.0.body),
        (2, answers.1.body),
        "side by side"
    );
    house.answer(&client.post(&put(2, "a"))).await;
    house.answer(&client.post(&put(2, "b"))).await;
    house.answer(&client.post(&put(2, "a"))).await;
    assert_eq!(house.writes(), 5, "another request between them");
    let batch = json!([put(3, "a"), put(4, "a")]);
    house.answer(&client.post(&batch)).await;
    house.answer(&client.post(&batch)).await;
    assert_eq!(house.writes(), 7);
    let mut other = Client::begin(&house, &key(1), Transport::Udp).await;
    house.answer(&other.post(&put(1, "a"))).await;
    assert_eq!(house.writes(), 8, "another session");
    house.answer(&from_here(posted(&put(1, "a")))).await;
    house.answer(&from_here(posted(&put(1, "a")))).await;
    assert_eq!(house.writes(), 10, "callers without a session");
}

#[tokio::test]
async fn a_rotation_keeps_sessions_through_its_overlap_and_then_ends_them() {
    let house = keyed();
    let mut client = Client::begin(&house, &key(1), Transport::Tcp).await;
    assert_eq!(house.answer(&client.post(&put(1, "a"))).await.status, 200);
    let mut keyring = Keyring::new(key(2));
    keyring.previous = Some(key(1));
    let rotate = |keyring: &Keyring| {
        house.keys.send_replace(Arc::new(Keys {
            access: Access::Keyed,
            keyring: Some(keyring.clone()),
        }));
    };
    rotate(&keyring);
    assert_eq!(house.answer(&client.post(&put(2, "a"))).await.status, 200);
    let mut late = Client::begin(&house, &key(1), Transport::Tcp).await;
    assert_eq!(house.answer(&late.post(&put(3, "a"))).await.status, 200);
    keyring.previous = None;
    rotate(&keyring);
    assert_unauthorised(&house.answer(&client.post(&put(4, "a"))).await);
    let mut fresh = Client::begin(&house, &key(2), Transport::Tcp).await;
    assert_eq!(house.answer(&fresh.post(&put(5, "a"))).await.status, 200);
}
