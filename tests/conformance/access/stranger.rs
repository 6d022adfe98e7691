//! Callers without credentials.

use bytes::Bytes;
use roundel::base::access::{Access, Scope};
use roundel::base::id::Id;
use roundel::wire::jsonrpc::Message;
use serde_json::{Value, json};

use super::*;
use crate::fake::member;

#[tokio::test]
async fn a_stranger_reads_a_keyed_cluster_and_writes_nothing() {
    let house = keyed();
    let state = json!({"jsonrpc": "2.0", "id": 1, "method": "get_node_state"});
    let answer = house.answer(&posted(&state)).await;
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(said["result"]["access"], "keyed");
    let table = roundel::service::method::Table::standard();
    let changing = table.methods().iter().filter(|it| it.scope > Scope::Read);
    for method in changing {
        for name in [method.name].iter().chain(method.aliases) {
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": name, "params": {}});
            let answer = house.answer(&posted(&call)).await;
            assert_unauthorised(&answer);
            assert!(header(&answer, "WWW-Authenticate").is_some());
            let ring = json!({"do": name, "data": {"key": "a", "value": 1}}).to_string();
            let answer = house
                .answer(&request("POST", "/chord", &[JSON], &ring))
                .await;
            assert_eq!(answer.status, 401, "{name}");
        }
    }
    assert_eq!(house.writes(), 0);
}

#[tokio::test]
async fn a_cluster_that_trusts_its_lan_takes_writes_from_there_alone() {
    for access in [Access::Provisional, Access::Open] {
        let house = house(access, None, |_| {});
        assert_eq!(
            house.answer(&posted(&put(1, "a"))).await.status,
            200,
            "{access:?}"
        );
        let leave = json!({"jsonrpc": "2.0", "id": 1, "method": "leave_ring"});
        assert_unauthorised(&house.answer(&posted(&leave)).await);
        assert_eq!(house.answer(&from_here(posted(&leave))).await.status, 200);
    }
    let far = house(Access::Provisional, None, |facts| {
        facts.entrance.on_link = Arc::new(|_| false);
    });
    let answer = far.answer(&posted(&put(1, "a"))).await;
    assert_unauthorised(&answer);
    assert!(refusal(&answer).2.contains("LAN"));
    assert_eq!(far.writes(), 0);
}

#[tokio::test]
async fn a_stranger_changes_the_ring_in_no_state() {
    let table = roundel::service::method::Table::standard();
    let methods = table.methods().iter();
    let changing: Vec<_> = methods.filter(|it| it.scope == Scope::Admin).collect();
    for name in ["join_ring", "leave_ring", "remove_node", "revoke_node"] {
        assert!(changing.iter().any(|it| it.name == name), "{name}");
    }
    for access in [Access::Keyed, Access::Provisional, Access::Open] {
        let house = house(access, None, |_| {});
        for method in &changing {
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": method.name, "params": {}});
            assert_unauthorised(&house.answer(&posted(&call)).await);
        }
        assert_eq!(house.writes(), 0, "{access:?}");
    }
}

#[tokio::test]
async fn loopback_does_what_the_configuration_grants() {
    let writes = json!({"jsonrpc": "2.0", "id": 1, "method": "leave_ring"});
    for (scope, statuses) in [
        (Scope::Admin, [200, 200]),
        (Scope::Write, [200, 401]),
        (Scope::Read, [401, 401]),
    ] {
        let house = house(Access::Keyed, Some(Keyring::new(key(1))), move |facts| {
            facts.entrance.loopback = scope;
        });
        for (call, status) in [put(1, "a"), writes.clone()].iter().zip(statuses) {
            let answer = house.answer(&from_here(posted(call))).await;
            assert_eq!(answer.status, status, "{scope} {call}");
        }
    }
}

#[tokio::test]
async fn a_batch_runs_what_its_caller_may_and_refuses_the_rest() {
    let house = keyed();
    house.answer(&from_here(posted(&put(1, "a")))).await;
    let batch = json!([get(1, "a"), put(2, "a"), get(3, "a"),
        {"jsonrpc": "2.0", "method": "put", "params": {"key": "b", "value": 1}}]);
    let answer = house.answer(&posted(&batch)).await;
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.status, 200);
    let each = said.as_array().unwrap().iter();
    let codes: Vec<_> = each.map(|it| it["error"]["code"].as_i64()).collect();
    assert_eq!(codes, [None, Some(-32002), None]);
    assert_eq!(house.writes(), 1);
}

#[tokio::test]
async fn the_get_form_writes_nothing() {
    let house = keyed();
    let target = "/rpc?jsonrpc=2.0&method=put&id=1&encode=none&params=%5B%22a%22%2C1%5D";
    assert_eq!(
        house.answer(&request("GET", target, &[], "")).await.status,
        405
    );
    assert_eq!(house.writes(), 0);
}

#[tokio::test]
async fn a_member_launders_no_call_by_passing_it_on() {
    let (near, far) = (keyed(), keyed());
    let far_id = Id::of(b"far");
    {
        let mut state = near.alone.board.state();
        state
            .members
            .push(member(far_id, "192.0.2.9:38400".parse().unwrap(), true));
        state.others.insert(far_id, far.alone.service.clone());
    }
    for dest in [far_id.to_string(), "*".to_owned(), "?".to_owned()] {
        let mut call = put(1, "a");
        (call["dest"], call["forward"]) = (json!(dest), json!(true));
        for _ in 0..8 {
            let answer = near.answer(&posted(&call)).await;
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(
                body.contains("-32002") && !body.contains("version"),
                "{body}"
            );
        }
    }
    let mut claimed = put(1, "a");
    claimed["granted"] = json!("admin");
    let answer = near.answer(&posted(&claimed)).await;
    assert_eq!(
        refusal(&answer).1,
        -32602,
        "only boards say what was granted"
    );
    assert_eq!((near.writes(), far.writes()), (0, 0));
}

#[tokio::test]
async fn a_board_runs_for_another_what_that_boards_caller_may() {
    let house = keyed();
    let relayed = |granted: Option<&str>| {
        let mut call = put(1, "a");
        (call["hops"], call["forward"]) = (json!(1), json!(true));
        if let Some(granted) = granted {
            call["granted"] = json!(granted);
        }
        Bytes::from(call.to_string())
    };
    for granted in [None, Some("read")] {
        let answer = house
            .alone
            .service
            .handle_relayed(relayed(granted))
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.contains("-32002"), "{granted:?}: {text}");
    }
    assert_eq!(house.writes(), 0);
    house
        .alone
        .service
        .handle_relayed(relayed(Some("write")))
        .await
        .unwrap();
    assert_eq!(house.writes(), 1);
    let text = relayed(Some("write"));
    assert!(matches!(Message::parse(&text), Ok(Message::Single(Ok(_)))));
}

#[tokio::test]
async fn soap_changes_nothing_unless_it_is_configured() {
    let house = house(Access::Provisional, None, |facts| {
        facts.entrance.soap_writes = false
    });
    let soap = |action: &str, arguments: &str| {
        let kind = "urn:roundel-org:service:Bucket:1";
        let body = format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
             <u:{action} xmlns:u=\"{kind}\">{arguments}</u:{action}></s:Body></s:Envelope>"
        );
        let named = format!("\"{kind}#{action}\"");
        let fields = [("Content-Type", "text/xml"), ("SOAPACTION", named.as_str())];
        from_here(request("POST", "/service/bucket/control", &fields, &body))
    };
    let put =
        "<Key>a</Key><Value>1</Value><ValueBytes></ValueBytes><Consistency>quorum</Consistency>";
    let answer = house.answer(&soap("Put", put)).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status == 500 && text.contains(">606<"), "{text}");
    assert!(text.contains("soap_writes = true"), "{text}");
    let list = "<Prefix></Prefix><After></After><Limit>0</Limit>";
    assert_eq!(house.answer(&soap("ListItems", list)).await.status, 200);
    assert_eq!(house.writes(), 0);
}

#[tokio::test]
async fn a_keyed_cluster_sends_a_strangers_reply_nowhere_else() {
    let house = keyed();
    let ask = |to: &str| {
        let body = json!({"do": "get", "id": 1, "data": {"key": "a"}, "reply-to": to}).to_string();
        request("POST", "/chord", &[JSON], &body)
    };
    let answer = house.answer(&ask(AT)).await;
    assert!(
        answer.status == 401 && answer.post.is_none(),
        "a member's address"
    );
    let own = format!("{}:9", FROM.split(':').next().unwrap());
    assert!(
        house.answer(&ask(&own)).await.post.is_some(),
        "its own, over TCP"
    );
    let mut over_udp = ask(&own);
    over_udp.transport = Transport::Udp;
    assert!(house.answer(&over_udp).await.post.is_none());
}
