//! A stranger with a good hello: what it sends may end its link, never the board.

use std::collections::BTreeSet;

use bytes::Bytes;
use roundel::base::id::Id;
use roundel::base::item::{Item, Key, Record, Value};
use roundel::base::limit;
use roundel::base::member::{Cluster, ClusterId, Entry, Incarnation, RingMode, Standing};
use roundel::base::rng::{RngExt, seeded};
use roundel::base::version::{Stamp, Version};
use roundel::security::identity::Signer;
use roundel::wire::frame::HEADER_BYTES;
use roundel::wire::peer::{
    Hello, Message, RangePage, ReadResult, ReplicaWrite, RingCall, RingReply, RosterState,
    Suspicion, WriteResult,
};

use crate::namespace::alone;
use crate::peer::{Peer, give_key, hello, stranger};
use crate::process::{CLUSTER, Daemon};

fn with_board(work: impl FnOnce(&Daemon) + Send) {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        give_key(data.path());
        let mut daemon = Daemon::start(data.path(), &[]);
        daemon.assert_well();
        let before_bytes = daemon.rss_bytes();
        work(&daemon);
        daemon.assert_small(before_bytes);
        daemon.assert_well();
    });
}

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

fn item() -> Item {
    let version = Version {
        stamp: Stamp(7),
        node: Id::of(b"stranger"),
    };
    let value = Some(Value::Json(Bytes::from_static(b"1")));
    let record = Record { version, value };
    Item {
        key: key("k"),
        record,
    }
}

fn cluster(points: u32, copies: u8) -> Cluster {
    Cluster {
        // The lowest id survives a merger.
        id: ClusterId([0; 16]),
        name: CLUSTER.parse().expect("a name"),
        copies,
        points,
        mode: RingMode::Full,
    }
}

/// One of each, in its layout; none of them is an answer to anything.
fn one_of_each(hello: Hello) -> Vec<Message> {
    let record = item().record;
    let body = RingCall::Digest(1);
    let reply = |body| Message::RingReply { call: 9, body };
    let page = Message::RangePage;
    let operation = 9;
    vec![
        Message::Hello(hello),
        Message::HelloAck {
            signature: vec![1],
            mac: None,
        },
        Message::Suspect(Suspicion {
            board: Incarnation {
                id: Id::ZERO,
                boot: 1,
                renewal: 1,
            },
            refuted: 0,
            second: None,
        }),
        Message::Swim {
            view: 0,
            wall_ms: 0,
            packet: Bytes::from_static(b"\xff\xff\xff"),
        },
        Message::RingCall { call: 1, body },
        reply(RingReply::Same),
        reply(RingReply::Items {
            items: vec![item()],
            more: true,
        }),
        reply(RingReply::Relayed(Some(Bytes::from_static(b"{")))),
        Message::ReplicaWrite(ReplicaWrite {
            operation,
            view: 1,
            taken: false,
            hint: true,
            item: item(),
        }),
        Message::WriteAck {
            operation,
            result: WriteResult::Newer(record.version),
        },
        Message::Read {
            operation,
            view: 1,
            key: key("k"),
        },
        Message::ReadReply {
            operation,
            result: ReadResult::Found(Some(record.clone())),
        },
        page(RangePage::Versions {
            operation,
            view: 1,
            items: vec![(key("k"), record.version)],
        }),
        page(RangePage::Missing {
            operation,
            positions: Some(vec![0, u32::MAX]),
        }),
        page(RangePage::Done { operation }),
        Message::Error {
            kind: 1,
            text: "x".into(),
        },
    ]
}

#[test]
fn malformed_payloads_end_the_link_and_nothing_else() {
    with_board(|daemon| {
        let me = stranger();
        let mut rng = seeded([1; 32], 1);
        let mut seen = BTreeSet::new();
        for message in one_of_each(hello(&me)) {
            let whole = message.encode();
            let (kind, payload) = (whole[1], &whole[HEADER_BYTES..]);
            let (cut, longer) = (&payload[..payload.len() - 1], [payload, b"\0"].concat());
            let mut cases: Vec<Vec<u8>> = vec![vec![], vec![0xff; 12]];
            if !matches!(message, Message::Swim { .. }) {
                cases.extend([cut.to_vec(), longer]);
            }
            for case in cases {
                let closed = daemon.logged("is malformed");
                let mut peer = Peer::greet(daemon.at, &me, hello(&me));
                peer.send_payload(kind, &case);
                peer.wait_closed();
                let reason = format!("payload of frame type {kind:#04x} is malformed");
                daemon.logs(&reason);
                assert_eq!(
                    daemon.logged("is malformed"),
                    closed + 1,
                    "{kind:#04x} {case:?}"
                );
            }
            seen.insert(kind);
            let mut peer = Peer::greet(daemon.at, &me, hello(&me));
            for _ in 0..40 {
                let length = rng.random_range(0..200);
                let noise: Vec<u8> = (0..length).map(|_| rng.random()).collect();
                peer.send_payload(kind, &noise);
            }
            // What it made of that is in the log once it has answered or closed the link.
            peer.send_payload(0x2a, b"");
            peer.receive_until(|message| matches!(message, Message::Error { .. }));
        }
        assert_eq!(seen.len(), 11, "{seen:?}");
    });
}

#[test]
fn answers_nobody_asked_for_are_passed_over() {
    with_board(|daemon| {
        let me = stranger();
        let mut peer = Peer::greet(daemon.at, &me, hello(&me));
        for message in one_of_each(hello(&me)) {
            peer.send(&message);
        }
        // The link is up still: an unknown type is answered.
        peer.send_payload(0x2a, b"");
        let answer = peer.receive_until(|message| matches!(message, Message::Error { .. }));
        assert!(
            matches!(answer, Some(Message::Error { kind: 0x2a, .. })),
            "{answer:?}"
        );
    });
}

#[test]
fn unknown_frame_types_are_answered_and_the_link_stays() {
    with_board(|daemon| {
        let me = stranger();
        let mut peer = Peer::greet(daemon.at, &me, hello(&me));
        for kind in [0x00, 0x01, 0x06, 0x0f, 0x20, 0xff] {
            peer.send_payload(kind, b"anything");
            let answer = peer.receive_until(|message| matches!(message, Message::Error { .. }));
            let text = format!("frame type {kind:#04x} is not known here");
            assert_eq!(answer, Some(Message::Error { kind, text }));
        }
    });
}

#[test]
fn rosters_of_impossible_clusters_are_refused() {
    // A board lays out every point of every board: so many would take all of its memory.
    let many = limit::POINTS_PER_BOARD * 8_192;
    with_board(|daemon| {
        for (points, copies) in [(many, 3), (0, 3), (128, 0), (128, u8::MAX)] {
            let me = stranger();
            // The lower cluster survives a merger, so the board asks to join this one.
            let mut mine = hello(&me);
            (mine.cluster, mine.established_ms) = (Some(cluster(128, 3)), 1);
            let mut peer = Peer::greet(daemon.at, &me, mine);
            let asked = peer.receive_until(|message| match message {
                Message::RingCall { body, .. } => matches!(body, RingCall::Join { .. }),
                _ => false,
            });
            let Some(Message::RingCall { call, .. }) = asked else {
                panic!("the board asks to join: {asked:?}");
            };
            let members = [me.id(), daemon.id];
            let state = RosterState {
                cluster: cluster(points, copies),
                entries: members
                    .map(|id| Entry {
                        id,
                        generation: 100,
                        standing: Standing::Member,
                    })
                    .to_vec(),
                contacts: vec![],
            };
            let body = RingReply::Roster(state);
            let refused = daemon.logged("is malformed");
            peer.send(&Message::RingReply { call, body });
            peer.wait_closed();
            assert_eq!(
                daemon.logged("is malformed"),
                refused + 1,
                "{points} {copies}"
            );
        }
    });
}
