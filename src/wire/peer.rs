//! Messages between boards: what the payload of each frame type means.
//!
//! Payloads are postcard (a fixed binary layout: fields in the order declared here, varint
//! integers, length-prefixed sequences; ids and keys as their raw bytes), except 0x12, whose
//! first byte is a subtype: 0 = the digest of the sender's roster (u64 big-endian) and a SWIM
//! packet as `proto/detector` reads it, 2 = a vote that a board
//! is suspect. Types 0x01 and 0x04 to 0x06 are
//! reserved for deltas between sites, consensus and storage.
//!
//! Everything read here is checked for form only; whether it is believed is `proto/session` and
//! above.

pub mod mark;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::Frame;
use crate::base::call::{Consistency, Coverage, WriteOutcome};
use crate::base::cell::Cell;
use crate::base::endpoint::Name;
use crate::base::id::Id;
use crate::base::item::{Item, Key, Record, Value};
use crate::base::limit;
use crate::base::member::{Cluster, ClusterId, Contact, Entry, Incarnation, RingMode};
use crate::base::pointer;
use crate::base::tree::NodeDigest;
use crate::base::version::{Stamp, Version};

const SYNC_REQUEST: u8 = 0x02;
const SYNC_RESPONSE: u8 = 0x03;
const HELLO: u8 = 0x10;
const HELLO_ACK: u8 = 0x11;
const SWIM: u8 = 0x12;
const RING_CALL: u8 = 0x13;
const RING_REPLY: u8 = 0x14;
const REPLICA_WRITE: u8 = 0x15;
const WRITE_ACK: u8 = 0x16;
const READ: u8 = 0x17;
const READ_REPLY: u8 = 0x18;
const RANGE_PAGE: u8 = 0x19;
const REKEY: u8 = 0x1a;
const REKEYED: u8 = 0x1b;
const OWNER: u8 = 0x1c;
const MARK: u8 = 0x1d;
const CODE: u8 = 0x1e;
const ERROR: u8 = 0x1f;

/// A message between boards.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a message is sent or handled at once, never kept"
)]
pub enum Message {
    /// 0x02: two copies compare what both should hold.
    SyncRequest {
        /// The asker's number.
        operation: u64,
        /// What is asked.
        body: SyncRequest,
    },
    /// 0x03.
    SyncResponse {
        /// The asker's number.
        operation: u64,
        /// The answer.
        body: SyncResponse,
    },
    /// 0x10, the first frame of each side of a link.
    Hello(Hello),
    /// 0x11, the second: an ECDSA signature over both hellos, and a MAC under the cluster's key.
    HelloAck {
        /// ASN.1 DER.
        signature: Vec<u8>,
        /// HMAC-SHA256 under the key that both hold; none: they hold none in common.
        mac: Option<[u8; 32]>,
    },
    /// 0x1a: a key of the cluster, sealed for the receiver alone.
    Rekey {
        /// Counts what the sender sealed on this link, keys and credentials, from 0.
        number: u64,
        /// As `security/seal` makes it.
        sealed: Vec<u8>,
    },
    /// 0x1c: the owner's credential, sealed for the receiver alone.
    Owner {
        /// Counts what the sender sealed on this link, keys and credentials, from 0.
        number: u64,
        /// As `security/seal` makes it.
        sealed: Vec<u8>,
    },
    /// 0x1b: the sender holds this key, on stable storage.
    Rekeyed {
        /// Its name.
        kid: [u8; 8],
    },
    /// 0x1e: a step of proving a one-time code, on a link without a key in common.
    Code(CodeStep),
    /// 0x1d: the sender's part of the fingerprint of a ring that its owner has not confirmed.
    Mark(mark::Note),
    /// 0x12 subtype 2: the sender votes a board suspect.
    Suspect(Suspicion),
    /// 0x12 subtype 0.
    Swim {
        /// Digest of the sender's roster, so that a board hears of a change it missed.
        view: u64,
        /// The sender's wall clock, for boards that have none: milliseconds since 1970.
        wall_ms: u64,
        /// What the detectors tell each other.
        packet: Bytes,
    },
    /// 0x13.
    RingCall {
        /// Chosen by the caller, returned in the reply.
        call: u64,
        /// What is asked.
        body: RingCall,
    },
    /// 0x14.
    RingReply {
        /// The caller's number.
        call: u64,
        /// The answer.
        body: RingReply,
    },
    /// 0x15: store this item if it is newer.
    ReplicaWrite(ReplicaWrite),
    /// 0x16.
    WriteAck {
        /// The writer's number.
        operation: u64,
        /// What became of it.
        result: WriteResult,
    },
    /// 0x17: what is under this key?
    Read {
        /// The reader's number.
        operation: u64,
        /// Digest of the reader's roster; another at the copy is refused.
        view: u64,
        /// The key.
        key: Key,
    },
    /// 0x18.
    ReadReply {
        /// The reader's number.
        operation: u64,
        /// What was found.
        result: ReadResult,
    },
    /// 0x19.
    RangePage(RangePage),
    /// 0x1f: the answer to a type that is not known.
    Error {
        /// The type received.
        kind: u8,
        /// For people.
        text: String,
    },
}

/// A board introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Protocol versions spoken, lowest first; the highest common one is used.
    pub versions: Vec<u8>,
    /// Fresh for each link.
    pub nonce: [u8; 32],
    /// DER SubjectPublicKeyInfo; its SHA-256 is the id.
    pub public_key: Vec<u8>,
    /// Only boards of one name go on.
    pub cluster_name: Name,
    /// The cluster it belongs to, if any.
    pub cluster: Option<Cluster>,
    /// Milliseconds it has been in a ring since it started; of two boards with one card the one
    /// that has been in it for longer stays. 0: it has not been in one.
    pub established_ms: u64,
    /// The highest stamp it has drawn or seen: a board whose clock is not set, and that forgot in
    /// a power cut what it drew for copies elsewhere, stamps above what they took.
    pub high_water: Stamp,
    /// Its wall clock, for boards that have none: milliseconds since 1970.
    pub wall_ms: u64,
    /// Digest of its roster; 0 without one.
    pub view: u64,
    /// Its log was damaged: what it holds is its past, and it is in no ring until that is settled.
    pub doubtful: bool,
    /// Names of the cluster keys it accepts, the one it signs with first; at most three.
    pub kids: Vec<[u8; 8]>,
    /// Its X25519 share of this start: what others need to seal a key for it.
    pub share: [u8; 32],
    /// What it does with boards that hold none of its keys.
    pub door: Door,
    /// Where it is, what it is called, its boot, renewal and life.
    pub contact: Contact,
}

/// What a board does with another that shares no key with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Door {
    /// Its owner has confirmed its key: no other is taken, and it is given to whom a member let in.
    Shut,
    /// Its pairing window is over, and it belongs to a ring of several.
    Closed,
    /// It is alone and takes the key of a ring that lets it in.
    Asks,
    /// Its pairing window is open: the two agree on one key.
    Window,
    /// It is alone, a person entered a one-time code there, and it takes the key of the board that
    /// made it.
    Code,
}

/// A step of proving a one-time code, as `security/spake2` makes and reads it. The newcomer sends
/// its share and later its tag first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeStep {
    /// The sender's share.
    Share([u8; 32]),
    /// What shows that the sender has the code.
    Tag([u8; 32]),
    /// The member's: the newcomer is not let in. No one vouches for it.
    Refused {
        /// Attempts that the code has left; 0: it is used up, or there is none.
        left: u8,
    },
}

/// A vote that a board is suspect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// Whom, in which start and renewal.
    pub board: Incarnation,
    /// Suspicions it had refuted within that renewal: a higher count refutes this one.
    pub refuted: u16,
    /// This board votes so as well, and the time to refute is over: the two hold it down.
    pub second: Option<Id>,
}

/// A board's whole knowledge of who belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterState {
    /// Of which cluster.
    pub cluster: Cluster,
    /// Who belongs or belonged.
    pub entries: Vec<Entry>,
    /// Where they are.
    pub contacts: Vec<Contact>,
}

/// Calls of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RingCall {
    /// The sender (as its hello said) wants to join.
    Join {
        /// The generation of its last membership it knows of; it joins with a higher one.
        generation: u32,
        /// The ring it belongs to so far: who moves at the same time admits nobody to its own.
        cluster: Option<ClusterId>,
        /// It has nothing to keep copies on.
        diskless: bool,
    },
    /// Push and pull of the roster; answered by the receiver's state when that differs afterwards.
    Roster {
        /// All of it, or what changed.
        state: RosterState,
        /// Digest of all of it.
        digest: u64,
    },
    /// The digest of the sender's roster; answered by the receiver's state when it differs.
    Digest(u64),
    /// Items of the receiver's bucket, for a scan of the whole ring.
    List {
        /// Keys start with this.
        prefix: String,
        /// Keys come after this.
        after: Option<Key>,
        /// At most so many.
        limit: u32,
    },
    /// A JSON-RPC request for the receiver's service.
    Relay(Bytes),
    /// The sender has missed this board for the grace time and votes to give it up.
    GiveUp {
        /// Whom.
        board: Id,
        /// Of its membership that is to end.
        generation: u32,
    },
    /// Mode `partial`: a question of Zave's rules or of a lookup.
    Ask {
        /// Of which cluster's ring; a member of another is no member to the asker.
        cluster: ClusterId,
        /// The question.
        request: pointer::Request,
    },
    /// Mode `partial`: the receiver, who owns the key or stands in for its owner, is to do this.
    Operate(Operate),
}

/// An operation on one key, for the board that coordinates it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operate {
    /// The key.
    pub key: Key,
    /// What is to be done.
    pub goal: Goal,
    /// How many copies must agree.
    pub consistency: Consistency,
}

/// What is to be done with a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// Store this.
    Put(Value),
    /// Read it.
    Get,
    /// Remove it.
    Remove,
}

/// What became of an [`Operate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operated {
    /// A put or remove was acknowledged.
    Written {
        /// The board that owns the key.
        node: Id,
        /// The version written.
        version: Version,
        /// For a remove: a value was there.
        existed: bool,
        /// How well it is covered.
        coverage: Coverage,
    },
    /// This is stored.
    Value {
        /// As it was put.
        value: Value,
        /// Its version.
        version: Version,
        /// How well it is covered.
        coverage: Coverage,
    },
    /// Nothing is stored.
    NotFound,
    /// Too few copies answered.
    Unavailable {
        /// For people.
        reason: String,
        /// For a write: what became of it.
        outcome: Option<WriteOutcome>,
        /// Copies that answered.
        acks: u32,
        /// Answers that were needed.
        needed: u32,
        /// Absent boards that were asked for.
        absent: Vec<Id>,
    },
    /// The receiver holds no copy of this key; nothing was done.
    Elsewhere,
}

/// Replies to [`RingCall`]s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RingReply {
    /// To join: admitted; and to roster.
    Roster(RosterState),
    /// To roster: the same digest here, now durable. To a vote: heard.
    Same,
    /// To list.
    Items {
        /// In key order, tombstones included.
        items: Vec<Item>,
        /// There are more.
        more: bool,
    },
    /// To relay: the answer, none for a notification.
    Relayed(Option<Bytes>),
    /// It cannot be done, for people.
    Refused(String),
    /// To ask.
    Told {
        /// The answer.
        reply: pointer::Reply,
        /// Where the boards it names are, as far as the sender knows.
        contacts: Vec<Contact>,
    },
    /// To operate.
    Operated(Operated),
    /// To join, in mode `partial`: this board is nearer to the joiner's place.
    Nearer(Contact),
}

/// Store this item if it is newer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaWrite {
    /// The writer's number.
    pub operation: u64,
    /// Digest of the writer's roster; another at the copy is refused.
    pub view: u64,
    /// The receiver is no copy: it keeps the item for an absent one.
    pub hint: bool,
    /// Another board than the one that drew it has taken a stamp as late: the receiver takes it,
    /// too, whatever its clock says.
    pub taken: bool,
    /// The item.
    pub item: Item,
}

/// What became of a [`ReplicaWrite`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteResult {
    /// It is on stable storage and is the newest here.
    Stored,
    /// A newer one was here and stays.
    Newer(Version),
    /// The roster differs; nothing was written.
    OtherView,
    /// The stamp is too far ahead of this board's clock; nothing was written.
    Future {
        /// This board's wall clock, ms since 1970.
        wall_ms: u64,
    },
    /// Nothing was written, for people.
    Refused(String),
    /// It may or may not have been written.
    Unknown,
}

/// What a [`Message::Read`] found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadResult {
    /// What is under the key: a value, a tombstone or nothing at all.
    Found(Option<Record>),
    /// The same, but this copy was away and may have missed writes: not to be counted on.
    Behind(Option<Record>),
    /// The roster differs.
    OtherView,
    /// The store could not be read, for people.
    Failed(String),
    /// The record under the key failed its check: it is not served, and wants to be written anew.
    Corrupt,
}

/// A block and its cells with items: the low bytes of their numbers, and the first eight bytes of
/// their digests.
pub type BlockCells = (u8, Vec<(u8, [u8; 8])>);

/// Steps of a comparison of two hash trees (`base/tree.rs`), over the cells that both boards
/// should hold by the roster whose digest is `view`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncRequest {
    /// Is your root the same?
    Root {
        /// What both must agree on to find the same shared cells.
        view: u64,
        /// The asker's root.
        root: NodeDigest,
    },
    /// Which of these blocks' cells differ from yours?
    Cells {
        /// What both must agree on to find the same shared cells.
        view: u64,
        /// The asked board is to offer what it holds in cells that differ, as the asker does.
        repair: bool,
        /// Some of the asker's blocks.
        blocks: Vec<BlockCells>,
    },
}

/// Answers to [`SyncRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncResponse {
    /// The roots are equal.
    Same,
    /// They are not: the answering board's blocks with items, and the first eight bytes of their
    /// digests.
    Blocks(Vec<(u8, [u8; 8])>),
    /// Cells that differ.
    Differ(Vec<Cell>),
    /// The roster differs, or boards are joining or leaving.
    OtherView,
    /// The store could not be read, for people.
    Failed(String),
}

/// How a copy is brought up to date: it asks, the holder lists what the copy should have, the copy
/// names what it lacks, the holder sends those as [`ReplicaWrite`]s, and at the end says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RangePage {
    /// The sender wants every item it should hold.
    Ask {
        /// The asker's number, returned in [`RangePage::Done`].
        operation: u64,
    },
    /// The receiver should hold these.
    Versions {
        /// The holder's number.
        operation: u64,
        /// Digest of the holder's roster.
        view: u64,
        /// In key order.
        items: Vec<(Key, Version)>,
    },
    /// Positions of a [`RangePage::Versions`] that are missing or older here.
    Missing {
        /// The holder's number.
        operation: u64,
        /// Ascending; none: the roster differs, or the store could not be read.
        positions: Option<Vec<u32>>,
    },
    /// Everything the asker should hold has been confirmed.
    Done {
        /// The asker's number.
        operation: u64,
    },
    /// Does the receiver hold anything but these tombstones under their keys? Answered by
    /// [`RangePage::Missing`]: positions where it does.
    Tombstones {
        /// The asker's number.
        operation: u64,
        /// Digest of the asker's roster.
        view: u64,
        /// In key order.
        items: Vec<(Key, Version)>,
    },
    /// Every board holds these tombstones or nothing under their keys, and has for long enough:
    /// the receiver may drop them.
    Collect {
        /// Digest of the asker's roster.
        view: u64,
        /// In key order.
        items: Vec<(Key, Version)>,
    },
}

/// Why a frame is not a message; the peer is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A type we do not know; it is answered with an error frame.
    #[error("frame type {kind:#04x} is not known")]
    Kind {
        /// The type byte.
        kind: u8,
    },
    /// The payload does not have the layout of its type.
    #[error("payload of frame type {kind:#04x} is malformed")]
    Payload {
        /// The type byte.
        kind: u8,
    },
}

impl Message {
    /// Reads a frame's payload.
    ///
    /// # Errors
    /// Any [`MessageError`].
    pub fn from_frame(frame: &Frame) -> Result<Message, MessageError> {
        let kind = frame.kind;
        let malformed = MessageError::Payload { kind };
        let payload = &frame.payload[..];
        let message = match kind {
            SYNC_REQUEST => {
                let (operation, body) = read(payload, kind)?;
                Message::SyncRequest { operation, body }
            }
            SYNC_RESPONSE => {
                let (operation, body) = read(payload, kind)?;
                Message::SyncResponse { operation, body }
            }
            HELLO => Message::Hello(read(payload, kind)?),
            HELLO_ACK => {
                let (signature, mac) = read(payload, kind)?;
                Message::HelloAck { signature, mac }
            }
            REKEY => {
                let (number, sealed) = read(payload, kind)?;
                Message::Rekey { number, sealed }
            }
            OWNER => {
                let (number, sealed) = read(payload, kind)?;
                Message::Owner { number, sealed }
            }
            CODE => Message::Code(read(payload, kind)?),
            REKEYED => Message::Rekeyed {
                kid: read(payload, kind)?,
            },
            MARK => Message::Mark(read(payload, kind)?),
            SWIM => read_swim(&frame.payload, kind)?,
            RING_CALL => {
                let (call, body) = read(payload, kind)?;
                Message::RingCall { call, body }
            }
            RING_REPLY => {
                let (call, body) = read(payload, kind)?;
                Message::RingReply { call, body }
            }
            REPLICA_WRITE => Message::ReplicaWrite(read(payload, kind)?),
            WRITE_ACK => {
                let (operation, result) = read(payload, kind)?;
                Message::WriteAck { operation, result }
            }
            READ => {
                let (operation, view, key) = read(payload, kind)?;
                Message::Read {
                    operation,
                    view,
                    key,
                }
            }
            READ_REPLY => {
                let (operation, result) = read(payload, kind)?;
                Message::ReadReply { operation, result }
            }
            RANGE_PAGE => Message::RangePage(read(payload, kind)?),
            ERROR => {
                let (kind, text) = read(payload, kind)?;
                Message::Error { kind, text }
            }
            kind => return Err(MessageError::Kind { kind }),
        };
        match message.cluster() {
            Some(cluster) if !is_possible(cluster) => Err(malformed),
            _ => Ok(message),
        }
    }

    /// The parameters it tells the receiver, who may adopt them.
    fn cluster(&self) -> Option<&Cluster> {
        match self {
            Message::Hello(hello) => hello.cluster.as_ref(),
            Message::RingCall {
                body: RingCall::Roster { state, .. },
                ..
            }
            | Message::RingReply {
                body: RingReply::Roster(state),
                ..
            } => Some(&state.cluster),
            _ => None,
        }
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Bytes {
        let (kind, payload) = match self {
            Message::SyncRequest { operation, body } => (SYNC_REQUEST, write(&(operation, body))),
            Message::SyncResponse { operation, body } => (SYNC_RESPONSE, write(&(operation, body))),
            Message::Hello(hello) => (HELLO, write(hello)),
            Message::HelloAck { signature, mac } => (HELLO_ACK, write(&(signature, mac))),
            Message::Rekey { number, sealed } => (REKEY, write(&(number, sealed))),
            Message::Owner { number, sealed } => (OWNER, write(&(number, sealed))),
            Message::Code(step) => (CODE, write(step)),
            Message::Rekeyed { kid } => (REKEYED, write(kid)),
            Message::Mark(note) => (MARK, write(note)),
            Message::Swim {
                view,
                wall_ms,
                packet,
            } => {
                let mut payload = vec![0];
                payload.extend(view.to_be_bytes());
                payload.extend(wall_ms.to_be_bytes());
                payload.extend_from_slice(packet);
                (SWIM, payload)
            }
            Message::Suspect(suspicion) => {
                let mut payload = vec![2];
                payload.extend(write(suspicion));
                (SWIM, payload)
            }
            Message::RingCall { call, body } => (RING_CALL, write(&(call, body))),
            Message::RingReply { call, body } => (RING_REPLY, write(&(call, body))),
            Message::ReplicaWrite(it) => (REPLICA_WRITE, write(it)),
            Message::WriteAck { operation, result } => (WRITE_ACK, write(&(operation, result))),
            Message::Read {
                operation,
                view,
                key,
            } => (READ, write(&(operation, view, key))),
            Message::ReadReply { operation, result } => (READ_REPLY, write(&(operation, result))),
            Message::RangePage(page) => (RANGE_PAGE, write(page)),
            Message::Error { kind, text } => (ERROR, write(&(kind, text))),
        };
        Frame {
            kind,
            payload: payload.into(),
        }
        .encode()
    }
}

/// A ring can be laid out with these parameters: no points are no ring, and as many as a u32 holds
/// would take all of a board's memory.
fn is_possible(cluster: &Cluster) -> bool {
    (1..=limit::POINTS_PER_BOARD).contains(&cluster.points)
        && (1..=limit::COPIES_MAX).contains(&usize::from(cluster.copies))
        && (cluster.mode == RingMode::Full || cluster.points == RingMode::Partial.points())
}

fn read_swim(payload: &Bytes, kind: u8) -> Result<Message, MessageError> {
    let malformed = MessageError::Payload { kind };
    match payload.first() {
        Some(2) => Ok(Message::Suspect(read(&payload[1..], kind)?)),
        Some(0) => match payload[1..].as_chunks() {
            ([view, wall_ms, ..], _) => Ok(Message::Swim {
                view: u64::from_be_bytes(*view),
                wall_ms: u64::from_be_bytes(*wall_ms),
                packet: payload.slice(17..),
            }),
            _ => Err(malformed),
        },
        _ => Err(malformed),
    }
}

fn read<'a, T: Deserialize<'a>>(payload: &'a [u8], kind: u8) -> Result<T, MessageError> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        _ => Err(MessageError::Payload { kind }),
    }
}

fn write<T: Serialize>(value: &T) -> Vec<u8> {
    let bytes = postcard::to_allocvec(value).expect("values of ours have known lengths");
    assert!(
        bytes.len() <= limit::MESSAGE_BYTES_MAX,
        "machines page before they send"
    );
    bytes
}

#[cfg(test)]
mod tests;
