//! Callers with a token.

use std::sync::atomic::Ordering;

use roundel::security::token::Token;

use super::*;

fn with_token(token: &str, call: &Value) -> Request {
    let shown = format!("Bearer {token}");
    request(
        "POST",
        "/rpc",
        &[JSON, ("Authorization", &shown)],
        &call.to_string(),
    )
}

fn leave() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "leave_ring"})
}

fn token(byte: u8, scope: Scope, expires: Option<u64>) -> String {
    Token::new(&key(byte), [7; 8], scope, expires).to_text()
}

#[tokio::test]
async fn a_token_grants_its_scope_and_no_more() {
    let house = keyed();
    for (scope, allowed) in [
        (Scope::Read, [true, false, false]),
        (Scope::Write, [true, true, false]),
        (Scope::Admin, [true, true, true]),
    ] {
        let token = token(1, scope, Some(SET_MS / 1_000 + 60));
        for (call, allowed) in [get(1, "a"), put(2, "a"), leave()].iter().zip(allowed) {
            // On the board itself, where without the token everything were allowed.
            let here = from_here(with_token(&token, call));
            let mut secure = with_token(&token, call);
            secure.secure = true;
            for request in [here, secure] {
                let status = house.answer(&request).await.status;
                assert_eq!(status != 401, allowed, "{scope}: {call}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_of_another_cluster_is_refused() {
    let house = keyed();
    let foreign = token(2, Scope::Admin, None);
    for request in [get(1, "a"), put(1, "a")].map(|call| from_here(with_token(&foreign, &call))) {
        assert_unauthorised(&house.answer(&request).await);
    }
    for text in ["", "x", "roundel-token-1.", "roundel-token-1.AAAA"] {
        let answer = house
            .answer(&from_here(with_token(text, &get(1, "a"))))
            .await;
        assert_unauthorised(&answer);
    }
}

#[tokio::test]
async fn an_expired_token_is_refused_and_so_is_one_on_a_board_without_a_clock() {
    let house = keyed();
    let expiring = token(1, Scope::Write, Some(SET_MS / 1_000 + 60));
    let said = async |ms: u64| {
        house.wall_ms.store(ms, Ordering::Relaxed);
        house
            .answer(&from_here(with_token(&expiring, &put(1, "a"))))
            .await
    };
    assert_eq!(said(SET_MS).await.status, 200);
    for (ms, word) in [
        (SET_MS + 60_000, "has expired"),
        // 2038.
        (2_145_916_800_000, "has expired"),
        // 1970.
        (5_000, "clock is not set"),
    ] {
        let answer = said(ms).await;
        assert_unauthorised(&answer);
        assert!(
            refusal(&answer).2.contains(word),
            "{ms}: {}",
            refusal(&answer).2
        );
    }
}

#[tokio::test]
async fn a_token_in_the_clear_is_refused_and_not_even_checked() {
    let house = keyed();
    let good = token(1, Scope::Admin, None);
    let refused = house.answer(&with_token(&good, &put(1, "a"))).await;
    assert_unauthorised(&refused);
    assert!(refusal(&refused).2.contains("TLS"));
    let nonsense = house.answer(&with_token("nonsense", &put(1, "a"))).await;
    assert_eq!(
        refused, nonsense,
        "whoever listens learns nothing of the token"
    );
    assert_eq!(house.writes(), 0);
}

#[tokio::test]
async fn an_authorization_of_another_scheme_is_refused() {
    let house = keyed();
    for shown in ["Basic eDp5", "Bearer", "RND1", "rnd1 kid=", ""] {
        let call = put(1, "a").to_string();
        let request = request("POST", "/rpc", &[JSON, ("Authorization", shown)], &call);
        assert_unauthorised(&house.answer(&from_here(request)).await);
    }
    assert_eq!(house.writes(), 0);
}
