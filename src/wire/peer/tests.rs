//! Properties of every message between boards: read back as written, refused when cut or too long.
//!
//! A variant that is missing from [`any_message`] fails `every_variant_is_drawn`.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::base::item::Value;
use crate::base::member::{Life, Standing};
use crate::base::version::Stamp;
use crate::wire::frame::{FrameError, HEADER_BYTES};

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn id() -> impl Strategy<Value = Id> {
    any::<[u8; 32]>().prop_map(Id::from_bytes)
}

fn name() -> impl Strategy<Value = Name> {
    let characters = prop::sample::select(b"abcXYZ019-_.".to_vec());
    vec(characters, 1..=limit::NAME_BYTES_MAX).prop_map(|bytes| {
        let text = String::from_utf8(bytes).unwrap();
        text.parse().unwrap()
    })
}

fn text(max: usize) -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..max).prop_map(String::from_iter)
}

fn key() -> impl Strategy<Value = Key> {
    // A character has four bytes at most.
    let text = vec(any::<char>(), 1..limit::KEY_BYTES_MAX / 4).prop_map(String::from_iter);
    let short = vec(any::<char>(), 1..9).prop_map(String::from_iter);
    prop_oneof![short, text].prop_map(|text| Key::new(&text).unwrap())
}

fn version() -> impl Strategy<Value = Version> {
    (any::<u64>(), id()).prop_map(|(stamp, node)| Version {
        stamp: Stamp(stamp),
        node,
    })
}

fn record() -> impl Strategy<Value = Record> {
    let value = prop_oneof![
        bytes(300).prop_map(Value::Json),
        bytes(300).prop_map(Value::Binary),
    ];
    (version(), option::of(value)).prop_map(|(version, value)| Record { version, value })
}

fn item() -> impl Strategy<Value = Item> {
    (key(), record()).prop_map(|(key, record)| Item { key, record })
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let copies = 1..=limit::COPIES_MAX as u8;
    let full = (1..=limit::POINTS_PER_BOARD).prop_map(|points| (points, RingMode::Full));
    let ring = prop_oneof![full, Just((1, RingMode::Partial))];
    (any::<[u8; 16]>(), name(), copies, ring).prop_map(|(id, name, copies, (points, mode))| {
        Cluster {
            id: ClusterId(id),
            name,
            copies,
            points,
            mode,
        }
    })
}

fn contact() -> impl Strategy<Value = Contact> {
    let counters = (any::<u64>(), any::<u32>());
    // An IPv6 scope is of one board's links only and does not travel.
    let endpoint = (any::<std::net::IpAddr>(), any::<u16>()).prop_map(Into::into);
    (
        id(),
        name(),
        counters,
        any::<[u8; 16]>(),
        endpoint,
        text(20),
    )
        .prop_map(
            |(id, name, (boot, renewal), life, endpoint, version)| Contact {
                id,
                name,
                boot,
                life: Life(life),
                renewal,
                endpoint,
                version,
            },
        )
}

fn hello() -> impl Strategy<Value = Hello> {
    let fresh = (vec(any::<u8>(), 0..4), any::<[u8; 32]>());
    let doors = vec![
        Door::Shut,
        Door::Closed,
        Door::Asks,
        Door::Window,
        Door::Code,
    ];
    let keys = (
        vec(any::<[u8; 8]>(), 0..4),
        any::<[u8; 32]>(),
        prop::sample::select(doors),
    );
    let ring = (
        option::of(cluster()),
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
    );
    let board = (vec(any::<u8>(), 0..100), name(), contact());
    (fresh, ring, keys, board).prop_map(
        |(
            (versions, nonce),
            (cluster, established_ms, view, stamp, wall_ms),
            (kids, share, door),
            (public_key, name, contact),
        )| {
            Hello {
                versions,
                nonce,
                public_key,
                cluster_name: name,
                cluster,
                established_ms,
                high_water: Stamp(stamp),
                wall_ms,
                view,
                doubtful: view & 1 == 1,
                kids,
                share,
                door,
                contact,
            }
        },
    )
}

fn roster_state() -> impl Strategy<Value = RosterState> {
    let standing = prop::sample::select(vec![
        Standing::Joining,
        Standing::Member,
        Standing::Leaving,
        Standing::Left,
        Standing::Forgotten,
        Standing::Diskless,
    ]);
    let entry = (id(), any::<u32>(), standing).prop_map(|(id, generation, standing)| Entry {
        id,
        generation,
        standing,
    });
    let parts = (cluster(), vec(entry, 0..5), vec(contact(), 0..5));
    parts.prop_map(|(cluster, entries, contacts)| RosterState {
        cluster,
        entries,
        contacts,
    })
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    (id(), any::<u64>(), any::<u32>()).prop_map(|(id, boot, renewal)| Incarnation {
        id,
        boot,
        renewal,
    })
}

fn ask() -> impl Strategy<Value = pointer::Request> {
    use pointer::Request;
    prop_oneof![
        Just(Request::Ping),
        Just(Request::State),
        id().prop_map(Request::Step),
        id().prop_map(Request::Confirm),
        Just(Request::Notify),
        (option::of(id()), vec(id(), 0..9)).prop_map(|(predecessor, successors)| {
            Request::Leaving {
                predecessor,
                successors,
            }
        }),
    ]
}

fn told() -> impl Strategy<Value = pointer::Reply> {
    use pointer::Reply;
    prop_oneof![
        Just(Reply::Ok),
        Just(Reply::NotMember),
        (option::of(id()), vec(id(), 0..9)).prop_map(|(predecessor, successors)| Reply::State {
            predecessor,
            successors,
        }),
        (vec(id(), 0..9), vec(id(), 0..33))
            .prop_map(|(owners, closer)| Reply::Step { owners, closer }),
        option::of(id()).prop_map(Reply::Mine),
        id().prop_map(Reply::Earlier),
    ]
}

fn operate() -> impl Strategy<Value = Operate> {
    let goal = prop_oneof![
        bytes(300).prop_map(|bytes| Goal::Put(Value::Json(bytes))),
        Just(Goal::Get),
        Just(Goal::Remove),
    ];
    let consistency = prop::sample::select(vec![
        Consistency::One,
        Consistency::Quorum,
        Consistency::All,
    ]);
    (key(), goal, consistency).prop_map(|(key, goal, consistency)| Operate {
        key,
        goal,
        consistency,
    })
}

fn operated() -> impl Strategy<Value = Operated> {
    let coverage =
        (0..4usize, 0..4usize, any::<bool>()).prop_map(|(acks, hinted, degraded)| Coverage {
            acks,
            hinted,
            degraded,
        });
    let value = bytes(300).prop_map(Value::Binary);
    let outcomes = vec![
        None,
        Some(WriteOutcome::Unknown),
        Some(WriteOutcome::NotWritten),
    ];
    let outcome = prop::sample::select(outcomes);
    let failed = (text(80), outcome, any::<[u32; 2]>(), vec(id(), 0..4));
    prop_oneof![
        (id(), version(), any::<bool>(), coverage.clone()).prop_map(
            |(node, version, existed, coverage)| Operated::Written {
                node,
                version,
                existed,
                coverage,
            }
        ),
        (value, version(), coverage).prop_map(|(value, version, coverage)| Operated::Value {
            value,
            version,
            coverage,
        }),
        Just(Operated::NotFound),
        failed.prop_map(
            |(reason, outcome, [acks, needed], absent)| Operated::Unavailable {
                reason,
                outcome,
                acks,
                needed,
                absent,
            }
        ),
        Just(Operated::Elsewhere),
    ]
}

fn ring_call() -> impl Strategy<Value = RingCall> {
    prop_oneof![
        any::<(u32, Option<[u8; 16]>, bool)>().prop_map(|(generation, cluster, diskless)| {
            RingCall::Join {
                generation,
                cluster: cluster.map(ClusterId),
                diskless,
            }
        }),
        (roster_state(), any::<u64>())
            .prop_map(|(state, digest)| RingCall::Roster { state, digest }),
        any::<u64>().prop_map(RingCall::Digest),
        (text(40), option::of(key()), any::<u32>()).prop_map(|(prefix, after, limit)| {
            RingCall::List {
                prefix,
                after,
                limit,
            }
        }),
        bytes(300).prop_map(RingCall::Relay),
        (id(), any::<u32>()).prop_map(|(board, generation)| RingCall::GiveUp { board, generation }),
        (any::<[u8; 16]>(), ask()).prop_map(|(cluster, request)| RingCall::Ask {
            cluster: ClusterId(cluster),
            request,
        }),
        operate().prop_map(RingCall::Operate),
    ]
}

fn ring_reply() -> impl Strategy<Value = RingReply> {
    prop_oneof![
        roster_state().prop_map(RingReply::Roster),
        Just(RingReply::Same),
        (vec(item(), 0..4), any::<bool>())
            .prop_map(|(items, more)| RingReply::Items { items, more }),
        option::of(bytes(300)).prop_map(RingReply::Relayed),
        text(80).prop_map(RingReply::Refused),
        (told(), vec(contact(), 0..3))
            .prop_map(|(reply, contacts)| RingReply::Told { reply, contacts }),
        operated().prop_map(RingReply::Operated),
        contact().prop_map(RingReply::Nearer),
    ]
}

fn write_result() -> impl Strategy<Value = WriteResult> {
    prop_oneof![
        Just(WriteResult::Stored),
        version().prop_map(WriteResult::Newer),
        Just(WriteResult::OtherView),
        any::<u64>().prop_map(|wall_ms| WriteResult::Future { wall_ms }),
        text(80).prop_map(WriteResult::Refused),
        Just(WriteResult::Unknown),
    ]
}

fn read_result() -> impl Strategy<Value = ReadResult> {
    prop_oneof![
        option::of(record()).prop_map(ReadResult::Found),
        option::of(record()).prop_map(ReadResult::Behind),
        Just(ReadResult::OtherView),
        text(80).prop_map(ReadResult::Failed),
        Just(ReadResult::Corrupt),
    ]
}

fn listed() -> impl Strategy<Value = (u64, u64, Vec<(Key, Version)>)> {
    let items = proptest::collection::vec((key(), version()), 0..4);
    (any::<u64>(), any::<u64>(), items)
}

fn sync_request() -> impl Strategy<Value = SyncRequest> {
    let root = (any::<u64>(), any::<[u8; 32]>());
    let cells = proptest::collection::vec((any::<u8>(), any::<[u8; 8]>()), 0..4);
    let blocks = proptest::collection::vec((any::<u8>(), cells), 0..4);
    prop_oneof![
        root.prop_map(|(view, root)| SyncRequest::Root { view, root }),
        (any::<u64>(), any::<bool>(), blocks).prop_map(|(view, repair, blocks)| {
            SyncRequest::Cells {
                view,
                repair,
                blocks,
            }
        }),
    ]
}

fn sync_response() -> impl Strategy<Value = SyncResponse> {
    let blocks = proptest::collection::vec((any::<u8>(), any::<[u8; 8]>()), 0..4);
    let cells = proptest::collection::vec(any::<u16>().prop_map(Cell), 0..4);
    prop_oneof![
        Just(SyncResponse::Same),
        blocks.prop_map(SyncResponse::Blocks),
        cells.prop_map(SyncResponse::Differ),
        Just(SyncResponse::OtherView),
        text(80).prop_map(SyncResponse::Failed),
    ]
}

fn range_page() -> impl Strategy<Value = RangePage> {
    let versions = listed();
    prop_oneof![
        any::<u64>().prop_map(|operation| RangePage::Ask { operation }),
        versions.prop_map(|(operation, view, items)| RangePage::Versions {
            operation,
            view,
            items,
        }),
        (any::<u64>(), option::of(vec(any::<u32>(), 0..20))).prop_map(|(operation, positions)| {
            RangePage::Missing {
                operation,
                positions,
            }
        }),
        any::<u64>().prop_map(|operation| RangePage::Done { operation }),
        listed().prop_map(|(operation, view, items)| RangePage::Tombstones {
            operation,
            view,
            items,
        }),
        listed().prop_map(|(_, view, items)| RangePage::Collect { view, items }),
    ]
}

fn code_step() -> impl Strategy<Value = CodeStep> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(CodeStep::Share),
        any::<[u8; 32]>().prop_map(CodeStep::Tag),
        any::<u8>().prop_map(|left| CodeStep::Refused { left }),
    ]
}

fn note() -> impl Strategy<Value = mark::Note> {
    let hashes = any::<([u8; 32], [u8; 8], [u8; 32], Option<[u8; 32]>)>();
    (hashes, any::<(u32, Option<mark::Mark>, bool)>()).prop_map(
        |((set, kid, commitment, outcome), (round, mark, want))| mark::Note {
            set,
            kid,
            round,
            commitment,
            mark,
            outcome,
            want,
        },
    )
}

fn any_message() -> impl Strategy<Value = Message> {
    let write = (any::<u64>(), any::<u64>(), any::<(bool, bool)>(), item());
    prop_oneof![
        hello().prop_map(Message::Hello),
        (vec(any::<u8>(), 0..80), option::of(any::<[u8; 32]>()))
            .prop_map(|(signature, mac)| Message::HelloAck { signature, mac }),
        (any::<u64>(), vec(any::<u8>(), 0..80))
            .prop_map(|(number, sealed)| Message::Rekey { number, sealed }),
        (any::<u64>(), vec(any::<u8>(), 0..80))
            .prop_map(|(number, sealed)| Message::Owner { number, sealed }),
        any::<[u8; 8]>().prop_map(|kid| Message::Rekeyed { kid }),
        code_step().prop_map(Message::Code),
        note().prop_map(Message::Mark),
        (incarnation(), any::<u16>(), option::of(id())).prop_map(|(board, refuted, second)| {
            Message::Suspect(Suspicion {
                board,
                refuted,
                second,
            })
        }),
        (any::<u64>(), any::<u64>(), bytes(300)).prop_map(|(view, wall_ms, packet)| {
            Message::Swim {
                view,
                wall_ms,
                packet,
            }
        }),
        (any::<u64>(), ring_call()).prop_map(|(call, body)| Message::RingCall { call, body }),
        (any::<u64>(), ring_reply()).prop_map(|(call, body)| Message::RingReply { call, body }),
        write.prop_map(|(operation, view, (hint, taken), item)| {
            Message::ReplicaWrite(ReplicaWrite {
                operation,
                view,
                hint,
                taken,
                item,
            })
        }),
        (any::<u64>(), write_result())
            .prop_map(|(operation, result)| Message::WriteAck { operation, result }),
        (any::<u64>(), any::<u64>(), key()).prop_map(|(operation, view, key)| Message::Read {
            operation,
            view,
            key,
        }),
        (any::<u64>(), read_result())
            .prop_map(|(operation, result)| Message::ReadReply { operation, result }),
        range_page().prop_map(Message::RangePage),
        (any::<u64>(), sync_request())
            .prop_map(|(operation, body)| Message::SyncRequest { operation, body }),
        (any::<u64>(), sync_response())
            .prop_map(|(operation, body)| Message::SyncResponse { operation, body }),
        (any::<u8>(), text(80)).prop_map(|(kind, text)| Message::Error { kind, text }),
    ]
}

/// The message's kind, and below it the variant of what it carries; a new one does not compile
/// until it is numbered here.
fn variant(message: &Message) -> (u8, u8) {
    match message {
        Message::Hello(_) => (0, 0),
        Message::HelloAck { .. } => (1, 0),
        Message::Rekey { .. } => (17, 0),
        Message::Owner { .. } => (18, 0),
        Message::Rekeyed { .. } => (19, 0),
        Message::Mark(_) => (20, 0),
        Message::Code(step) => (21, code_step_variant(step)),
        Message::Swim { .. } => (2, 0),
        Message::Suspect(_) => (3, 0),
        Message::RingCall { body, .. } => (4, ring_call_variant(body)),
        Message::RingReply { body, .. } => {
            let which = match body {
                RingReply::Roster(_) => 0,
                RingReply::Same => 1,
                RingReply::Items { .. } => 2,
                RingReply::Relayed(_) => 3,
                RingReply::Refused(_) => 4,
                RingReply::Told { .. } => 5,
                RingReply::Operated(_) => 6,
                RingReply::Nearer(_) => 7,
            };
            (5, which)
        }
        Message::ReplicaWrite(_) => (6, 0),
        Message::WriteAck { result, .. } => {
            let which = match result {
                WriteResult::Stored => 0,
                WriteResult::Newer(_) => 1,
                WriteResult::OtherView => 2,
                WriteResult::Future { .. } => 3,
                WriteResult::Refused(_) => 4,
                WriteResult::Unknown => 5,
            };
            (7, which)
        }
        Message::Read { .. } => (8, 0),
        Message::ReadReply { result, .. } => {
            let which = match result {
                ReadResult::Found(_) => 0,
                ReadResult::OtherView => 1,
                ReadResult::Failed(_) => 2,
                ReadResult::Behind(_) => 3,
                ReadResult::Corrupt => 4,
            };
            (9, which)
        }
        Message::RangePage(page) => (10, range_page_variant(page)),
        Message::Error { .. } => (11, 0),
        Message::SyncRequest { body, .. } => {
            let which = match body {
                SyncRequest::Root { .. } => 0,
                SyncRequest::Cells { .. } => 1,
            };
            (12, which)
        }
        Message::SyncResponse { body, .. } => {
            let which = match body {
                SyncResponse::Same => 0,
                SyncResponse::Blocks(_) => 1,
                SyncResponse::Differ(_) => 2,
                SyncResponse::OtherView => 3,
                SyncResponse::Failed(_) => 4,
            };
            (13, which)
        }
    }
}

fn code_step_variant(step: &CodeStep) -> u8 {
    match step {
        CodeStep::Share(_) => 0,
        CodeStep::Tag(_) => 1,
        CodeStep::Refused { .. } => 2,
    }
}

fn ring_call_variant(call: &RingCall) -> u8 {
    match call {
        RingCall::Join { .. } => 0,
        RingCall::Roster { .. } => 1,
        RingCall::Digest(_) => 2,
        RingCall::List { .. } => 3,
        RingCall::Relay(_) => 4,
        RingCall::GiveUp { .. } => 5,
        RingCall::Ask { .. } => 6,
        RingCall::Operate(_) => 7,
    }
}

fn range_page_variant(page: &RangePage) -> u8 {
    match page {
        RangePage::Ask { .. } => 0,
        RangePage::Versions { .. } => 1,
        RangePage::Missing { .. } => 2,
        RangePage::Done { .. } => 3,
        RangePage::Tombstones { .. } => 4,
        RangePage::Collect { .. } => 5,
    }
}

fn frame(message: &Message) -> Frame {
    Frame::from_datagram(&message.encode()).expect("a frame of ours is whole")
}

#[test]
fn every_variant_is_drawn() {
    let mut runner = TestRunner::deterministic();
    let strategy = any_message();
    let draw = |_| variant(&strategy.new_tree(&mut runner).unwrap().current());
    let drawn: std::collections::BTreeSet<_> = (0..1_000).map(draw).collect();
    assert_eq!(drawn.len(), 18 + 7 + 7 + 5 + 4 + 5 + 1 + 4 + 3, "{drawn:?}");
}

#[test]
fn a_length_of_four_thousand_million_is_refused_and_not_allocated() {
    // A varint of 2^32 - 1 where a count is expected.
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for (kind, before) in [
        (HELLO, &[][..]),
        (HELLO_ACK, &[]),
        (SWIM, &[1]),
        (RING_CALL, &[0, 4]),
        (RING_REPLY, &[0, 2]),
        (READ, &[0, 0]),
        (RANGE_PAGE, &[1, 0, 0]),
        (ERROR, &[0]),
    ] {
        let payload = [before, &huge].concat().into();
        let refused = Message::from_frame(&Frame { kind, payload });
        assert_eq!(refused, Err(MessageError::Payload { kind }));
    }
}

#[test]
fn a_key_that_is_empty_or_too_long_is_refused() {
    for key in ["".to_owned(), "k".repeat(limit::KEY_BYTES_MAX + 1)] {
        let payload = write(&(0u64, 0u64, key)).into();
        let refused = Message::from_frame(&Frame {
            kind: READ,
            payload,
        });
        assert_eq!(refused, Err(MessageError::Payload { kind: READ }));
    }
}

#[test]
fn reserved_and_unassigned_types_are_reported_by_number() {
    let known: Vec<u8> = (HELLO..=MARK)
        .chain([SYNC_REQUEST, SYNC_RESPONSE, CODE, ERROR])
        .collect();
    for kind in 0..=u8::MAX {
        let payload = Bytes::new();
        let refused = Message::from_frame(&Frame { kind, payload }).unwrap_err();
        let expected = match known.contains(&kind) {
            true => MessageError::Payload { kind },
            false => MessageError::Kind { kind },
        };
        assert_eq!(refused, expected);
    }
}

proptest! {
    #[test]
    fn clusters_that_cannot_be_laid_out_are_refused(
        cluster in cluster(),
        mut hello in hello(),
        (copies, points) in prop_oneof![
            (prop_oneof![Just(0), 4..=u8::MAX], Just(128u32)),
            (Just(3u8), prop_oneof![Just(0), 129..=u32::MAX]),
        ],
    ) {
        let cluster = Cluster { copies, points, ..cluster };
        let state = RosterState { cluster, entries: vec![], contacts: vec![] };
        hello.cluster = Some(state.cluster.clone());
        let body = RingCall::Roster { state: state.clone(), digest: 1 };
        let messages = [
            Message::Hello(hello),
            Message::RingCall { call: 1, body },
            Message::RingReply { call: 1, body: RingReply::Roster(state) },
        ];
        for message in messages {
            let frame = frame(&message);
            let refused = Err(MessageError::Payload { kind: frame.kind });
            prop_assert_eq!(Message::from_frame(&frame), refused);
        }
    }

    #[test]
    fn messages_are_read_back_as_written(message in any_message()) {
        prop_assert_eq!(Message::from_frame(&frame(&message)), Ok(message));
    }

    #[test]
    fn truncated_payloads_are_refused(message in any_message(), cut: prop::sample::Index) {
        let Frame { kind, payload } = frame(&message);
        let payload = payload.slice(..cut.index(payload.len()));
        let read = Message::from_frame(&Frame { kind, payload: payload.clone() });
        match message {
            // What a detector's packet holds is the detector's to check.
            Message::Swim { view, wall_ms, packet } if payload.len() >= 17 => {
                let packet = packet.slice(..payload.len() - 17);
                prop_assert_eq!(read, Ok(Message::Swim { view, wall_ms, packet }));
            }
            _ => prop_assert_eq!(read, Err(MessageError::Payload { kind })),
        }
    }

    #[test]
    fn payloads_with_something_after_them_are_refused(
        message in any_message(),
        more in vec(any::<u8>(), 1..20),
    ) {
        let Frame { kind, payload } = frame(&message);
        let payload = Bytes::from([&payload[..], &more].concat());
        let read = Message::from_frame(&Frame { kind, payload: payload.clone() });
        match message {
            Message::Swim { view, wall_ms, .. } => {
                let packet = payload.slice(17..);
                prop_assert_eq!(read, Ok(Message::Swim { view, wall_ms, packet }));
            }
            _ => prop_assert_eq!(read, Err(MessageError::Payload { kind })),
        }
    }

    #[test]
    fn truncated_datagrams_are_refused(message in any_message(), cut: prop::sample::Index) {
        let bytes = message.encode();
        let bytes = bytes.slice(..cut.index(bytes.len()));
        let refused = Frame::from_datagram(&bytes).unwrap_err();
        prop_assert!(matches!(refused, FrameError::Length { .. }), "{refused}");
    }

    #[test]
    fn any_payload_of_any_type_is_a_message_or_an_error(
        kind in prop_oneof![HELLO..=OWNER, Just(ERROR), any::<u8>()],
        payload in bytes(400),
    ) {
        if let Ok(message) = Message::from_frame(&Frame { kind, payload }) {
            prop_assert_eq!(Message::from_frame(&frame(&message)), Ok(message));
        }
    }

    #[test]
    fn messages_with_a_few_bytes_changed_are_survived(
        message in any_message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = message.encode()[HEADER_BYTES..].to_vec();
        for (position, byte) in changes {
            if !bytes.is_empty() {
                let position = position.index(bytes.len());
                bytes[position] = byte;
            }
        }
        let changed = Frame { kind: frame(&message).kind, payload: bytes.into() };
        if let Ok(message) = Message::from_frame(&changed) {
            prop_assert_eq!(Message::from_frame(&frame(&message)), Ok(message));
        }
    }
}
