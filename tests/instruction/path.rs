//! The hot paths that are counted: each makes ready what it needs and is then repeated.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use roundel::base::call::{Call, Consistency, Reply};
use roundel::base::id::Id;
use roundel::base::item::{Item, Key, Record, Value};
use roundel::base::version::{Stamp, Version};
use roundel::proto::placement::Circle;
use roundel::runtime::http::handle_datagram;
use roundel::security::key::ClusterKey;
use roundel::security::rnd1::Carriage;
use roundel::security::rnd1::client::{ClientSession, Sent};
use roundel::wire::frame::{self, Frame};
use roundel::wire::httpu;
use roundel::wire::jsonrpc::Message as Document;
use roundel::wire::peer::{Message, ReplicaWrite};

use crate::fake::{Setup, alone};
use crate::ring::Ring;

/// A path.
pub struct Path {
    /// Its name in `counts.toml`.
    pub name: &'static str,
    /// How often it is repeated: so often that a whole count is millions.
    pub times: u32,
    /// Makes ready and repeats it so often.
    pub run: fn(u32),
}

/// All of them.
pub const PATHS: [Path; 10] = [
    Path {
        name: "jsonrpc_put_is_parsed",
        times: 1_000,
        run: |times| repeat_parse(&put(0), times),
    },
    Path {
        name: "jsonrpc_get_is_parsed",
        times: 1_000,
        run: |times| repeat_parse(GET, times),
    },
    Path {
        name: "httpu_request_is_parsed",
        times: 1_000,
        run: repeat_httpu_parse,
    },
    Path {
        name: "httpu_put_is_answered",
        times: 200,
        run: |times| repeat_httpu(put, times),
    },
    Path {
        name: "frame_is_written_and_read",
        times: 1_000,
        run: repeat_frame,
    },
    Path {
        name: "replica_write_is_written_and_read",
        times: 1_000,
        run: repeat_replica_write,
    },
    Path {
        name: "request_is_signed",
        times: 500,
        run: repeat_signature,
    },
    Path {
        name: "key_is_placed",
        times: 500,
        run: repeat_placement,
    },
    Path {
        name: "put_goes_through_three_boards",
        times: 200,
        run: repeat_put,
    },
    Path {
        name: "get_goes_through_three_boards",
        times: 200,
        run: repeat_get,
    },
];

/// A value as the load of the bench has it: 98 characters and their quotes.
const VALUE: &str = "\"23456789012345678901234567890123456789012345678901234567890123456789\
                     012345678901234567890123456789\"";

const GET: &str = r#"{"jsonrpc":"2.0","method":"get","params":{"key":"0123456789abcdef"},"id":7}"#;

/// A put of some 210 bytes.
fn put(number: u32) -> String {
    let key = key(number);
    let params = format!(r#"{{"key":"{key}","value":{VALUE},"consistency":"quorum"}}"#);
    format!(r#"{{"jsonrpc":"2.0","method":"put","params":{params},"id":{number}}}"#)
}

fn key(number: u32) -> Key {
    let number = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Key::new(&format!("{number:016x}")).expect("sixteen characters")
}

fn repeat_parse(document: &str, times: u32) {
    for _ in 0..times {
        let parsed = Document::parse(black_box(document.as_bytes()));
        assert!(matches!(black_box(parsed), Ok(Document::Single(Ok(_)))));
    }
}

fn datagram(body: &str) -> Bytes {
    let head = format!(
        "POST /rpc HTTP/1.1\r\nHost: 127.0.0.1:38400\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    Bytes::from(head + body)
}

fn repeat_httpu_parse(times: u32) {
    let datagram = datagram(&put(0));
    for _ in 0..times {
        let parsed = httpu::Request::parse(black_box(&datagram));
        black_box(parsed).expect("it is one");
    }
}

/// From the datagram through the service to the datagram that answers; the board is a map.
fn repeat_httpu(body: fn(u32) -> String, times: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().expect("a runtime without a driver");
    runtime.block_on(async {
        let local = ([127, 0, 0, 1], 38_400).into();
        let from = ([127, 0, 0, 1], 50_000).into();
        let served = alone(Setup::default(), local);
        for number in 0..times {
            let datagram = datagram(&body(number));
            let outgoing = handle_datagram(&served.service, &datagram, from, local).await;
            let answer = outgoing.answer.expect("a call is answered");
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
        }
    });
}

fn repeat_frame(times: u32) {
    let frame = Frame {
        kind: 0x15,
        payload: Bytes::from(vec![7; 200]),
    };
    for _ in 0..times {
        let mut buffer = BytesMut::from(&black_box(&frame).encode()[..]);
        let read = frame::take(&mut buffer).expect("what was written can be read");
        assert!(black_box(read).is_some());
    }
}

fn repeat_replica_write(times: u32) {
    let write = Message::ReplicaWrite(ReplicaWrite {
        operation: 1 << 40,
        view: u64::MAX / 3,
        hint: false,
        taken: false,
        item: Item {
            key: key(1),
            record: Record {
                version: Version {
                    stamp: Stamp(1 << 60),
                    node: Id::of(b"board"),
                },
                value: Some(Value::Json(Bytes::from_static(VALUE.as_bytes()))),
            },
        },
    });
    for _ in 0..times {
        let mut buffer = BytesMut::from(&black_box(&write).encode()[..]);
        let frame = frame::take(&mut buffer).expect("what was written can be read");
        let read = Message::from_frame(&frame.expect("it is whole"));
        black_box(read).expect("it is a message");
    }
}

/// The tag of a request of 200 bytes, as a client that keeps its session makes it.
fn repeat_signature(times: u32) {
    let key = ClusterKey::new(0, [7; 32]);
    let mut session = ClientSession::new(&key, [1; 32], 4, [2; 16], [3; 16]);
    let sent = Sent {
        carriage: Carriage::Http,
        method: "POST",
        target: "/rpc",
        host: "127.0.0.1:38400",
        content_type: "application/json",
    };
    let body = [b'x'; 200];
    for _ in 0..times {
        let credentials = session.sign(black_box(&sent), black_box(&body));
        black_box(credentials.to_string());
    }
}

/// Where the copies of a key are among ten boards of 128 points.
fn repeat_placement(times: u32) {
    let boards = (0..10u8).map(|board| Id::of(&[board])).collect();
    let circle = Circle::new(boards, 128);
    for number in 0..times {
        let copies = circle.copies(&key(number).point(), 3);
        assert_eq!(black_box(copies).len(), 3);
    }
}

fn put_call(number: u32) -> Call {
    Call::Put {
        key: key(number),
        value: Value::Json(Bytes::from_static(VALUE.as_bytes())),
        consistency: Consistency::Quorum,
    }
}

fn repeat_put(times: u32) {
    let mut ring = Ring::formed();
    for number in 0..times {
        let reply = ring.call(number as usize % 3, put_call(number));
        assert!(matches!(reply, Ok(Reply::Written { .. })), "{reply:?}");
    }
}

/// All puts come first, so many as are got in the longer of two runs: they cancel out.
fn repeat_get(times: u32) {
    const KEYS: u32 = 100;
    let mut ring = Ring::formed();
    for number in 0..KEYS {
        let reply = ring.call(0, put_call(number));
        assert!(matches!(reply, Ok(Reply::Written { .. })), "{reply:?}");
    }
    for number in 0..times {
        let call = Call::Get {
            key: key(number % KEYS),
            consistency: Consistency::Quorum,
        };
        let reply = ring.call(number as usize % 3, call);
        assert!(matches!(reply, Ok(Reply::Value { .. })), "{reply:?}");
    }
}
