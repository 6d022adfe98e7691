//! One-time codes: whoever may have one made or entered, and over what.

use bytes::Bytes;
use roundel::base::call::Call;
use roundel::base::id::Id;
use roundel::service::exchange::{Request, Transport};
use serde_json::{Value, json};

use super::{
    Client, House, JSON, assert_unauthorised, from_here, key, keyed, posted, refusal, request,
};
use crate::fake::member;

fn make() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "make_join_code"})
}

fn enter(code: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "enter_join_code", "params": {"code": code}})
}

/// Codes that the board was asked to make or to try.
fn asked(house: &House) -> usize {
    let state = house.alone.board.state();
    let codes = |call: &&Call| matches!(call, Call::MakeCode | Call::EnterCode { .. });
    state.calls.iter().filter(codes).count()
}

async fn result(house: &House, request: &Request) -> Value {
    let answer = house.answer(request).await;
    assert_eq!(answer.status, 200);
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["result"].take()
}

#[tokio::test]
async fn a_code_is_made_and_entered_on_the_board_itself_and_over_tls() {
    let house = keyed();
    let shape = json!({"code": "1234-5678", "left_s": 599, "attempts": 5});
    assert_eq!(result(&house, &from_here(posted(&make()))).await, shape);
    let mut client = Client::begin(&house, &key(1), Transport::Tcp).await;
    let mut secure = client.post(&make());
    secure.secure = true;
    assert_eq!(result(&house, &secure).await, shape);
    let state = result(&house, &from_here(posted(&enter("12345678")))).await;
    assert_eq!(state["kid"], "0011223344556677");
    assert_eq!(state["code"], json!({"left_s": 7, "attempts": 2}));
    let calls = house.alone.board.state().calls.clone();
    let entered = Call::EnterCode {
        code: "1234-5678".parse().unwrap(),
    };
    assert!(calls.contains(&entered));
}

#[tokio::test]
async fn what_is_no_code_is_refused_with_the_form_of_one() {
    let house = keyed();
    for wrong in ["", "1234", "1234-567x", "123456789"] {
        let answer = house.answer(&from_here(posted(&enter(wrong)))).await;
        let (_, code, reason) = refusal(&answer);
        assert_eq!(code, -32602);
        assert!(reason.contains("1234-5678"), "{reason}");
    }
    let mut nothing = enter("");
    nothing["params"] = json!({});
    let answer = house.answer(&from_here(posted(&nothing))).await;
    assert_eq!(refusal(&answer).1, -32602);
    assert_eq!(asked(&house), 0);
}

#[tokio::test]
async fn a_code_crosses_the_lan_in_no_form() {
    let house = keyed();
    // A stranger, whoever holds the key in the clear, and the same in a batch.
    assert_unauthorised(&house.answer(&posted(&make())).await);
    for body in [
        make(),
        enter("1234-5678"),
        json!([super::get(2, "a"), make()]),
    ] {
        for transport in [Transport::Tcp, Transport::Udp] {
            let mut client = Client::begin(&house, &key(1), transport).await;
            let answer = house.answer(&client.post(&body)).await;
            assert_unauthorised(&answer);
            let (_, _, reason) = refusal(&answer);
            assert!(reason.contains("https://"), "{reason}");
        }
    }
    // The seed's form, even on the board itself: its answer may go elsewhere.
    let body = json!({"do": "make_join_code", "id": 1}).to_string();
    let asked_so = from_here(request("POST", "/chord", &[JSON], &body));
    let text = String::from_utf8_lossy(&house.answer(&asked_so).await.body).into_owned();
    assert!(
        text.contains("-32002") && !text.contains("1234-5678"),
        "{text}"
    );
    // GET, which is kept in histories.
    let target = "/rpc?jsonrpc=2.0&method=make_join_code&id=1&encode=none";
    let asked_so = from_here(request("GET", target, &[], ""));
    assert_eq!(house.answer(&asked_so).await.status, 405);
    assert_eq!(asked(&house), 0);
}

#[tokio::test]
async fn a_code_is_passed_on_by_no_board() {
    let (near, far) = (keyed(), keyed());
    let far_id = Id::of(b"far");
    {
        let mut state = near.alone.board.state();
        let far_at = "192.0.2.9:38400".parse().unwrap();
        state.members.push(member(far_id, far_at, true));
        state.others.insert(far_id, far.alone.service.clone());
    }
    let mut call = make();
    (call["dest"], call["forward"]) = (json!(far_id.to_string()), json!(true));
    let answer = near.answer(&from_here(posted(&call))).await;
    assert_unauthorised(&answer);
    // A member that passes it on all the same.
    (call["granted"], call["hops"]) = (json!("admin"), json!(1));
    let relayed = Bytes::from(call.to_string());
    let answer = far.alone.service.handle_relayed(relayed).await.unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.contains("-32002"), "{text}");
    assert_eq!((asked(&near), asked(&far)), (0, 0));
}
