//! Streams that are no hello, or not a good one: each is closed, and the board is none the worse.

use std::time::Instant;

use bytes::Bytes;
use roundel::base::limit;
use roundel::proto::session::{Handshake, Step};
use roundel::security::identity::Signer;
use roundel::wire::frame::Frame;
use roundel::wire::peer::{Message, RingCall};

use crate::client::{exchange, parse};
use crate::namespace::alone;
use crate::peer::{Peer, hello, stranger};
use crate::process::{DEADLINE, Daemon};

fn with_board(work: impl FnOnce(&Daemon) + Send) {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let before_bytes = daemon.rss_bytes();
        work(&daemon);
        daemon.assert_small(before_bytes);
        daemon.assert_well();
    });
}

#[test]
fn streams_of_rubbish_are_closed() {
    with_board(|daemon| {
        // Nothing a byte can begin but a letter, a frame or TLS.
        for first in (0..=u8::MAX).filter(|byte| !byte.is_ascii_alphabetic()) {
            if ![0x01, 0x02, 0x16].contains(&first) {
                assert_eq!(exchange(daemon.at, &[first, 0, 0, 0]), b"", "{first:#04x}");
            }
        }
        // An alert of TLS: the record cannot be decoded.
        assert_eq!(
            exchange(daemon.at, b"\x16\0\0\0"),
            b"\x15\x03\x03\0\x02\x02\x32"
        );
        let tls = b"\x16\x03\x01\x00\xc4\x01\x00\x00\xc0\x03\x03";
        assert_eq!(exchange(daemon.at, tls), b"");
        daemon.logs("a TLS client was too slow");
        for nonsense in ["GET", "HELO mail.example\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
            let answer = exchange(daemon.at, format!("{nonsense}\r\n\r\n").as_bytes());
            assert_eq!(parse(&answer).status, 400, "{nonsense}");
        }
    });
}

#[test]
fn frames_that_are_none_close_the_stream() {
    with_board(|daemon| {
        let whole = Message::Hello(hello(&stranger())).encode();
        let mut damaged = whole.to_vec();
        damaged[30] ^= 1;
        let mut too_long = whole.to_vec();
        too_long[2..6].copy_from_slice(&(limit::MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes());
        let mut version_2 = whole.to_vec();
        version_2[0] = 2;
        let cases = [
            (damaged, "frame checksum"),
            (too_long, "at most 1048576 fit"),
            (version_2, "frame version 0x02"),
        ];
        for (bytes, reason) in cases {
            let mut peer = Peer::connect(daemon.at);
            peer.send_bytes(&bytes);
            peer.wait_closed();
            daemon.logs(reason);
        }
    });
}

#[test]
fn a_hello_that_stops_halfway_is_closed_in_time() {
    with_board(|daemon| {
        let whole = Message::Hello(hello(&stranger())).encode();
        let starts: Vec<_> = [1, 7, 8, whole.len() / 2, whole.len()]
            .into_iter()
            .map(|length| {
                let mut peer = Peer::connect(daemon.at);
                peer.send_bytes(&whole[..length]);
                (length, peer)
            })
            .collect();
        let start = Instant::now();
        for (length, mut peer) in starts {
            peer.wait_closed();
            let waited = start.elapsed();
            assert!(waited < DEADLINE / 2, "{length} bytes: {waited:?}");
        }
        // A connection that says nothing at all is closed as well.
        Peer::connect(daemon.at).wait_closed();
    });
}

#[test]
fn a_hello_that_lies_is_refused() {
    with_board(|daemon| {
        let (me, other) = (stranger(), stranger());
        let mut wrong_id = hello(&me);
        wrong_id.contact.id = other.id();
        let mut other_cluster = hello(&me);
        other_cluster.cluster_name = "elsewhere".parse().unwrap();
        let mut newer = hello(&me);
        newer.versions = vec![200];
        let mut no_key = hello(&me);
        no_key.public_key = vec![0x30; 91];
        no_key.contact.id = roundel::base::id::Id::of(&no_key.public_key);
        let cases = [
            (wrong_id, "its id is not the hash of its public key"),
            (other_cluster, "it belongs to cluster 'elsewhere'"),
            (newer, "it speaks versions [200]"),
        ];
        for (hello, reason) in cases {
            let mut peer = Peer::connect(daemon.at);
            peer.send(&Message::Hello(hello));
            peer.wait_closed();
            daemon.logs(reason);
        }
        // The signature of another key; a key that is none; no signature at all.
        for (mine, signer) in [
            (hello(&me), Some(&other)),
            (no_key, Some(&me)),
            (hello(&me), None),
        ] {
            let refused = daemon.logged("its signature does not verify");
            let mut peer = Peer::connect(daemon.at);
            let mut handshake = Handshake::new(mine);
            peer.send(&handshake.first());
            let theirs = peer.receive().expect("it says hello");
            let answer = match signer {
                Some(signer) => match handshake.handle(theirs, signer) {
                    Ok(Step::Send(answer)) => *answer,
                    step => panic!("{step:?}"),
                },
                None => Message::HelloAck { signature: vec![] },
            };
            peer.send(&answer);
            peer.wait_closed();
            assert_eq!(daemon.logged("its signature does not verify"), refused + 1);
        }
    });
}

#[test]
fn what_comes_before_the_hello_is_not_believed() {
    with_board(|daemon| {
        let early = [
            Message::Swim {
                view: 0,
                wall_ms: 0,
                packet: Bytes::from_static(b"x"),
            },
            Message::RingCall {
                call: 1,
                body: RingCall::Join {
                    generation: 1,
                    cluster: None,
                    diskless: false,
                },
            },
            Message::HelloAck { signature: vec![] },
        ];
        for message in early {
            let refused = daemon.logged("a frame came before the hello was complete");
            let mut peer = Peer::connect(daemon.at);
            peer.send(&message);
            peer.wait_closed();
            let since = daemon.logged("a frame came before the hello was complete");
            assert_eq!(since, refused + 1, "{message:?}");
        }
        let (kind, payload) = (0x42, Bytes::new());
        let mut peer = Peer::connect(daemon.at);
        peer.send_bytes(&Frame { kind, payload }.encode());
        peer.wait_closed();
        daemon.logs("frame type 0x42 is not known");
    });
}
