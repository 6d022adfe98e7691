//! What strangers may send, in any order and at any time, is refused and leaves nothing behind.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::security::key::ClusterKey;
use crate::security::rnd1::body_digest;

const BOARD: Party = [9; 32];
const BOOT: u64 = 4;
const BODY: &[u8] = b"{}";
const ASKED: Asked<'static> = Asked {
    carriage: Carriage::Http,
    method: "POST",
    target: "/rpc",
    host: "a:1",
    content_type: "application/json",
};

fn key(byte: u8) -> ClusterKey {
    ClusterKey::new(0, [byte; 32])
}

fn board() -> Admission {
    Admission::new(BOARD, BOOT, &[5; 32])
}

/// A client's session.
struct Client {
    key: ClusterKey,
    session: Party,
    seq: u64,
}

impl Client {
    fn new(key: ClusterKey, challenge: [u8; CHALLENGE_BYTES], own: u8) -> Self {
        let mut session = [own; 32];
        session[..CHALLENGE_BYTES].copy_from_slice(&challenge);
        Client {
            key,
            session,
            seq: 0,
        }
    }

    fn ask(&mut self) -> Credentials {
        self.seq += 1;
        self.ask_numbered(self.seq)
    }

    fn ask_numbered(&self, seq: u64) -> Credentials {
        let keys = SessionKeys::derive(&self.key, &self.session, &BOARD, BOOT);
        let canonical = Canonical {
            carriage: ASKED.carriage,
            kid: self.key.kid(),
            session: self.session,
            board: BOARD,
            boot: BOOT,
            seq,
            method: ASKED.method,
            target: ASKED.target,
            host: ASKED.host,
            content_type: ASKED.content_type,
            digest: body_digest(BODY),
            status: None,
        };
        Credentials {
            kid: self.key.kid(),
            session: self.session,
            boot: BOOT,
            seq,
            mac: canonical.tag(&keys),
        }
    }
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn admits(board: &mut Admission, now: Time, shown: &Credentials) -> bool {
    let keyring = Keyring::new(key(1));
    let possible = board.may_admit(now, &keyring, shown);
    let admitted = board.admit(now, &keyring, shown, &ASKED, || body_digest(BODY));
    assert!(
        possible || admitted.is_err(),
        "what is admitted is worth reading"
    );
    admitted.is_ok()
}

#[test]
fn many_calls_follow_one_challenge_and_each_is_taken_once() {
    let mut board = board();
    let mut client = Client::new(key(1), board.challenge(at(10)), 7);
    let calls: Vec<_> = (0..100).map(|_| client.ask()).collect();
    for (call, second) in calls.iter().zip(20..) {
        assert!(admits(&mut board, at(second), call));
    }
    for second in [120, 130, 10_000] {
        for call in &calls {
            assert!(!admits(&mut board, at(second), call), "replayed");
        }
    }
    assert!(
        admits(&mut board, at(100_000), &client.ask()),
        "the session goes on"
    );
}

#[test]
fn a_challenge_that_is_old_or_made_up_opens_nothing() {
    let mut board = board();
    let challenge = board.challenge(at(10));
    let late = at(11) + limit::CHALLENGE_TIME_MAX;
    assert!(!admits(
        &mut board,
        late,
        &Client::new(key(1), challenge, 7).ask()
    ));
    assert!(!admits(
        &mut board,
        at(9),
        &Client::new(key(1), challenge, 7).ask()
    ));
    let mut forged = challenge;
    forged[7] ^= 1;
    assert!(!admits(
        &mut board,
        at(11),
        &Client::new(key(1), forged, 7).ask()
    ));
    let foreign = Admission::new(BOARD, BOOT, &[6; 32]).challenge(at(10));
    assert!(!admits(
        &mut board,
        at(11),
        &Client::new(key(1), foreign, 7).ask()
    ));
    assert_eq!(board.sessions(), 0);
}

#[test]
fn a_restart_ends_what_was_recorded_before() {
    let mut before = board();
    let mut client = Client::new(key(1), before.challenge(at(10)), 7);
    let call = client.ask();
    assert!(admits(&mut before, at(11), &call));
    let mut after = Admission::new(BOARD, BOOT + 1, &[6; 32]);
    assert!(!admits(&mut after, at(11), &call));
    // Even if the count of starts were set back.
    let mut after = Admission::new(BOARD, BOOT, &[6; 32]);
    assert!(!admits(&mut after, at(11), &call));
}

#[test]
fn strangers_leave_no_trace() {
    let mut board = board();
    for own in 0..=255 {
        let mut stranger = Client::new(key(2), board.challenge(at(10)), own);
        assert!(
            !admits(&mut board, at(11), &stranger.ask()),
            "a foreign key"
        );
        let mut named = stranger.ask();
        named.kid = key(1).kid();
        assert!(
            !admits(&mut board, at(11), &named),
            "a tag that was made up"
        );
    }
    assert_eq!(board.sessions(), 0);
}

#[test]
fn a_full_table_displaces_the_silent_and_never_the_young() {
    let mut board = board();
    let open = |board: &mut Admission, number: usize, now: Time| {
        let mut client = Client::new(key(1), board.challenge(now), 0);
        client.session[16..24].copy_from_slice(&number.to_be_bytes());
        let first = client.ask();
        (admits(board, now, &first), first)
    };
    let (admitted, first) = open(&mut board, 0, at(1));
    assert!(admitted);
    for number in 1..limit::CLIENT_SESSIONS_MAX {
        assert!(open(&mut board, number, at(2)).0);
    }
    assert!(!open(&mut board, 5_000, at(3)).0, "all are young");
    let later = at(4) + limit::CHALLENGE_TIME_MAX;
    assert!(open(&mut board, 5_001, later).0, "the oldest went");
    assert_eq!(board.sessions(), limit::CLIENT_SESSIONS_MAX);
    assert!(
        !admits(&mut board, later, &first),
        "its first request is not taken again"
    );
}

#[test]
fn a_key_that_was_dropped_ends_its_sessions() {
    let mut board = board();
    let mut client = Client::new(key(1), board.challenge(at(10)), 7);
    assert!(admits(&mut board, at(11), &client.ask()));
    let mut keyring = Keyring::new(key(2));
    keyring.previous = Some(key(1));
    let digest = || body_digest(BODY);
    let call = client.ask();
    assert!(
        board.admit(at(12), &keyring, &call, &ASKED, digest).is_ok(),
        "the overlap"
    );
    keyring.previous = None;
    let call = client.ask();
    assert!(
        board
            .admit(at(13), &keyring, &call, &ASKED, digest)
            .is_err()
    );
}

proptest! {
    #[test]
    fn flipping_any_bit_of_a_request_is_refused(
        field in 0..5_usize, bit in any::<prop::sample::Index>(), text in 0..4_usize,
    ) {
        let mut board = board();
        let mut client = Client::new(key(1), board.challenge(at(10)), 7);
        prop_assert!(admits(&mut board, at(11), &client.ask()));
        let mut shown = client.ask();
        let flip = |bytes: &mut [u8]| {
            let bit = bit.index(8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
        };
        match field {
            0 => flip(&mut shown.kid.0),
            1 => flip(&mut shown.session),
            2 => shown.boot ^= 1 << bit.index(64),
            3 => shown.seq ^= 1 << bit.index(64),
            _ => flip(&mut shown.mac),
        }
        prop_assert!(!admits(&mut board, at(11), &shown));
        let mut texts = [ASKED.method, ASKED.target, ASKED.host, ASKED.content_type]
            .map(|text| text.as_bytes().to_vec());
        let at_bit = bit.index(7 * texts[text].len());
        texts[text][at_bit / 7] ^= 1 << (at_bit % 7);
        let texts = texts.map(|text| String::from_utf8(text).unwrap());
        let [method, target, host, content_type] = texts.each_ref().map(String::as_str);
        let forged = Asked { carriage: Carriage::Http, method, target, host, content_type };
        let (keyring, genuine) = (Keyring::new(key(1)), client.ask());
        let digest = || body_digest(BODY);
        prop_assert!(board.admit(at(11), &keyring, &genuine, &forged, digest).is_err());
        let other = Asked { carriage: Carriage::Httpu, ..ASKED };
        prop_assert!(board.admit(at(11), &keyring, &genuine, &other, digest).is_err());
        let body = || body_digest(b"{ }");
        prop_assert!(board.admit(at(11), &keyring, &genuine, &ASKED, body).is_err());
        prop_assert!(board.admit(at(11), &keyring, &genuine, &ASKED, digest).is_ok());
    }

    #[test]
    fn the_order_of_arrival_does_not_matter_within_the_window(
        order in Just((1..=60_u64).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut board = board();
        let client = Client::new(key(1), board.challenge(at(10)), 7);
        for seq in &order {
            prop_assert!(admits(&mut board, at(11), &client.ask_numbered(*seq)));
        }
        for seq in order {
            prop_assert!(!admits(&mut board, at(11), &client.ask_numbered(seq)));
        }
    }
}
