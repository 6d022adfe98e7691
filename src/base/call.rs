//! What can be asked of a board, and what it answers: the values between services and machines.
//!
//! JSON-RPC, SOAP, the page and the CLI all come down to a [`Call`]; names and JSON shapes are
//! theirs (`service/`), meaning is here.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::code::JoinCode;
use super::endpoint::{Name, SocketAddr};
use super::id::Id;
use super::item::{Item, Key, Value};
use super::keys::{CodeView, Digits, Fingerprint, KeyView};
use super::member::{Cluster, ClusterId, RingMode, Standing};
use super::owner::Credential;
use super::version::Version;

/// Names a call until its reply has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// How many copies must agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consistency {
    /// One copy.
    One,
    /// ⌊N/2⌋+1 of the roster's copies; an absent one may be replaced by a durable hint.
    #[default]
    Quorum,
    /// Every copy; hints do not count.
    All,
}

/// How to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveMode {
    /// Hand everything over, then tell the others.
    Orderly,
    /// Stop taking part at once, telling nobody.
    Immediate,
}

/// What a lookup looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A point: the ring of the boards' own ids is asked.
    Id(Id),
    /// A key: who owns it is asked.
    Key(Key),
}

/// A page of items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Keys start with this; may be empty.
    pub prefix: String,
    /// Keys come after this one.
    pub after: Option<Key>,
    /// At most so many items, 1 to 1,000.
    pub limit: usize,
}

/// A request to a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Stores a value. Answered by [`Reply::Written`].
    Put {
        /// The key.
        key: Key,
        /// At most 512 KiB.
        value: Value,
        /// How many copies must have it on stable storage.
        consistency: Consistency,
    },
    /// Reads a value. Answered by [`Reply::Value`].
    Get {
        /// The key.
        key: Key,
        /// How many copies must answer.
        consistency: Consistency,
    },
    /// Removes a key (a tombstone is written). Answered by [`Reply::Written`].
    Remove {
        /// The key.
        key: Key,
        /// As for a put.
        consistency: Consistency,
    },
    /// This board's own bucket. Answered by [`Reply::Page`].
    ListItems(PageRequest),
    /// The whole ring, in key order. Answered by [`Reply::Page`].
    ScanItems(PageRequest),
    /// Chord's find_successor; none: this board's own successor. Answered by [`Reply::Lookup`].
    FindSuccessor(Option<Target>),
    /// Chord's find_predecessor; none: this board's own predecessor. Answered by [`Reply::Lookup`].
    FindPredecessor(Option<Target>),
    /// Predecessor, successors and fingers. Answered by [`Reply::Fingers`].
    Fingers,
    /// Runs one round of stabilisation now. Answered by [`Reply::Stabilized`].
    Stabilize,
    /// Computes every finger anew. Answered by [`Reply::FingersInitialized`].
    InitFingers,
    /// Computes the next finger anew. Answered by [`Reply::FingerFixed`].
    FixFingers,
    /// Somebody believes it is this board's predecessor. Answered by [`Reply::Notified`].
    Notify {
        /// Where it is.
        node: SocketAddr,
    },
    /// Joins the ring of the board at that address. Answered by [`Reply::Joined`].
    Join {
        /// Any member of the ring.
        sponsor: SocketAddr,
    },
    /// Leaves the ring. Answered by [`Reply::Left`].
    Leave(LeaveMode),
    /// Strikes an absent board from the roster for good. Answered by [`Reply::Done`].
    Forget {
        /// Which one.
        id: Id,
    },
    /// How this board stands with the cluster's keys. Answered by [`Reply::Keys`].
    KeyState,
    /// Lets a board in that holds no key of the cluster. Answered by [`Reply::Keys`].
    Accept {
        /// Which one.
        id: Id,
    },
    /// Makes a one-time code with which one board comes in. Answered by [`Reply::Code`].
    MakeCode,
    /// A person entered a one-time code here, of a ring that this board is to join. Answered by
    /// [`Reply::Keys`] once it is in.
    EnterCode {
        /// The code.
        code: JoinCode,
    },
    /// The key that the boards agreed on is the cluster's: whoever has none is a stranger from
    /// here on. Answered by [`Reply::Keys`].
    Confirm {
        /// The fingerprint that was compared; another by now is refused.
        seen: Option<Digits>,
    },
    /// Replaces the cluster's key, once the members that are there hold the next. Answered by
    /// [`Reply::Keys`].
    Rotate {
        /// A board that does not get it, and is struck from the roster.
        without: Option<Id>,
    },
    /// Everything the board knows about itself and its ring. Answered by [`Reply::Overview`].
    Overview,
    /// Hands a JSON-RPC message to the service of another board. Answered by [`Reply::Relayed`].
    Relay {
        /// Which board.
        dest: Id,
        /// The JSON-RPC request, at most 1 MiB less an envelope.
        request: Bytes,
    },
}

/// How well an operation was covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Copies that have it on stable storage, or that answered.
    pub acks: usize,
    /// Durable hints held on other boards for absent copies.
    pub hinted: usize,
    /// Some copy was absent.
    pub degraded: bool,
}

/// A board as a lookup names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRef {
    /// Its id.
    pub id: Id,
    /// Its name; empty text is never shown.
    pub name: Option<Name>,
    /// Where it is, when known.
    pub endpoint: Option<SocketAddr>,
    /// The detector holds it to be alive.
    pub alive: bool,
}

/// One row of the finger table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finger {
    /// 0 to 255.
    pub index: u32,
    /// This board's id + 2^index.
    pub start: Id,
    /// The successor of `start`.
    pub node: NodeRef,
}

/// The reply to a [`Call`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To what has to do with keys.
    Keys(Box<KeyView>),
    /// To make code.
    Code {
        /// The code.
        code: JoinCode,
        /// How long it holds, and for how many attempts.
        view: CodeView,
    },
    /// To put and remove.
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
    /// To get.
    Value {
        /// As received.
        value: Value,
        /// Its version.
        version: Version,
        /// How well it is covered.
        coverage: Coverage,
    },
    /// To list and scan; tombstones are left out.
    Page {
        /// In key order.
        items: Vec<Item>,
        /// Pass this as `after` for the next page; none: that was all.
        next: Option<Key>,
        /// For a scan: a board was absent, so that some items may be missing.
        degraded: bool,
    },
    /// To the two lookups.
    Lookup {
        /// The answer.
        node: NodeRef,
        /// Boards asked on the way, this one first.
        path: Vec<Id>,
        /// Steps of the path that left this board.
        hops: usize,
        /// For a key: its copies, owner first.
        copies: Vec<NodeRef>,
    },
    /// To fingers.
    Fingers {
        /// The nearest live board before this one.
        predecessor: NodeRef,
        /// The nearest live boards after this one, at most 8.
        successors: Vec<NodeRef>,
        /// 256 rows.
        fingers: Vec<Finger>,
    },
    /// To stabilise.
    Stabilized {
        /// The nearest live boards after this one; this board itself when alone.
        successors: Vec<NodeRef>,
        /// The list differs from the one before.
        changed: bool,
    },
    /// To init fingers.
    FingersInitialized {
        /// Rows computed.
        count: usize,
    },
    /// To fix fingers.
    FingerFixed(Finger),
    /// To notify.
    Notified {
        /// It is the predecessor.
        accepted: bool,
        /// The predecessor.
        predecessor: NodeRef,
    },
    /// To join.
    Joined {
        /// This board.
        id: Id,
        /// Its predecessor in the ring it joined.
        predecessor: NodeRef,
        /// Its successors.
        successors: Vec<NodeRef>,
    },
    /// To leave.
    Left {
        /// Items handed over.
        transferred: u64,
        /// The boards that took them.
        to: Vec<Id>,
    },
    /// To forget.
    Done,
    /// To overview.
    Overview(Box<Overview>),
    /// To relay: the JSON-RPC answer; none for a notification.
    Relayed(Option<Bytes>),
}

/// What became of a write that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteOutcome {
    /// Nothing was written anywhere.
    NotWritten,
    /// It may or may not come to be: some copy may have it.
    Unknown,
}

/// Why a call failed. Services translate it to codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Too few copies answered, there is no ring, or the board is too full or busy; retry later.
    #[error("{reason}")]
    Unavailable {
        /// What was wrong and what to do, a full sentence or two.
        reason: String,
        /// For a write: what became of it.
        outcome: Option<WriteOutcome>,
        /// Copies that answered.
        acks: usize,
        /// Answers that were needed.
        needed: usize,
        /// Absent boards that were asked for.
        absent: Vec<Id>,
    },
    /// The key has no value.
    #[error("no value is stored under this key")]
    NotFound,
    /// No board of that id is in the roster.
    #[error("no board {0} is known; list the boards with `roundel nodes`")]
    UnknownNode(Id),
    /// The caller's argument cannot be carried out.
    #[error("{0}")]
    Invalid(String),
    /// A key or a value is too large.
    #[error("{what} has {got} bytes; at most {max} fit")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its bytes.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// An invariant of ours is broken.
    #[error("{0}")]
    Internal(String),
}

impl CallError {
    /// An [`CallError::Unavailable`] before anything was asked or written.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        CallError::Unavailable {
            reason: reason.into(),
            outcome: None,
            acks: 0,
            needed: 0,
            absent: Vec::new(),
        }
    }
}

/// Round's node states, in so far as a board can be in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Not heard of.
    Unknown,
    /// Left, forgotten or absent.
    Stop,
    /// Starting, or fetching its ranges.
    Activating,
    /// In the ring.
    Active,
    /// Handing over.
    Terminating,
}

impl NodeState {
    /// Round's text.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Unknown => "unknown",
            NodeState::Stop => "stop",
            NodeState::Activating => "activating",
            NodeState::Active => "active",
            NodeState::Terminating => "terminating",
        }
    }
}

/// One board in an [`Overview`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its id.
    pub id: Id,
    /// What people call it.
    pub name: Option<Name>,
    /// Last known address.
    pub endpoint: Option<SocketAddr>,
    /// Its software version, when known.
    pub version: Option<String>,
    /// Where it stands in the roster.
    pub standing: Standing,
    /// The detector holds it to be alive (true for this board).
    pub alive: bool,
    /// The detector suspects it.
    pub suspect: bool,
    /// Since when the present state of `alive` holds.
    pub for_time: Duration,
    /// Its durable count of starts.
    pub boot: u64,
    /// It is absent: what becomes of its place.
    pub giving_up: Option<GivingUp>,
}

/// How an absent board stands to being given up, as one board counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivingUp {
    /// The grace time is over after this; zero: it is over.
    pub after: Duration,
    /// Boards that vote to give it up.
    pub votes: usize,
    /// Boards that are there and may vote: those that hold copies.
    pub present: usize,
    /// Votes that give it up: a majority of the boards that hold copies, the absent counted.
    pub needed: usize,
}

impl MemberView {
    /// The state in Round's words.
    pub fn state(&self) -> NodeState {
        match (self.alive, self.standing) {
            (false, _) | (_, Standing::Left | Standing::Forgotten) => NodeState::Stop,
            (true, Standing::Joining) => NodeState::Activating,
            (true, Standing::Leaving) => NodeState::Terminating,
            (true, Standing::Member | Standing::Diskless) => NodeState::Active,
        }
    }
}

/// What an owner asks about the data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Live items in this board's store.
    pub items: u64,
    /// Tombstones in this board's store.
    pub tombstones: u64,
    /// The sum of the digests of all items, tombstones included: equal on boards that hold the same
    /// versions of the same keys (`base/tree.rs`).
    pub tree_digest: u128,
    /// Items here that wait to be handed to their copies (hints among them).
    pub handover_pending: u64,
    /// Items here one of whose copies is absent or has not confirmed its range.
    pub under_replicated: u64,
    /// The board can be unplugged and every acknowledged write stays readable.
    pub safe_to_unplug: bool,
    /// Why not; empty when it is.
    pub unplug_reason: String,
    /// What is wrong and what to do, a sentence each; empty when all is well.
    pub problems: Vec<String>,
    /// The store's state: "open", "diskless", "starting", "read-only", "closed".
    pub store: String,
}

/// Everything a board knows about itself and its ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// This board.
    pub id: Id,
    /// What people call it.
    pub name: Name,
    /// Where it is.
    pub endpoint: SocketAddr,
    /// Its cluster's name.
    pub cluster_name: Name,
    /// The cluster, once founded or joined.
    pub cluster: Option<Cluster>,
    /// In Round's words.
    pub state: NodeState,
    /// Durable count of starts.
    pub boot: u64,
    /// Since the start.
    pub uptime: Duration,
    /// Every board that belongs, this one included, in id order.
    pub members: Vec<MemberView>,
    /// What all of them show, if they paired by themselves.
    pub fingerprint: Fingerprint,
    /// The roster is settled: nobody is joining or leaving.
    pub settled: bool,
    /// The nearest live boards after this one in id order.
    pub successors: Vec<Id>,
    /// The nearest live board before this one in id order.
    pub predecessor: Id,
    /// The data.
    pub health: Health,
    /// Named counters since the start, for stats and metrics.
    pub counters: Vec<(&'static str, u64)>,
}

/// Something a person may want to know happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This board founded a cluster.
    Founded(ClusterId),
    /// This board joined one.
    Joined(ClusterId),
    /// The ring this board joined runs in another mode than this board would found one in.
    ModeAdopted(RingMode),
    /// Two rings became one.
    Merged {
        /// The id that survives.
        survivor: ClusterId,
        /// The one that ended.
        ended: ClusterId,
    },
    /// A board came into the roster.
    NodeAdded(Id),
    /// A board left the roster.
    NodeRemoved(Id),
    /// The detector suspects a board.
    NodeSuspected(Id),
    /// The detector declared a board down.
    NodeDown(Id),
    /// A board is back, or was seen for the first time.
    NodeUp(Id),
    /// Another board runs with this board's card.
    ClonedCard {
        /// Where it answers.
        endpoint: SocketAddr,
        /// This board has the lower life and must stop.
        yields: bool,
    },
    /// A key was written on both sides of a split: the later write stands.
    Conflict {
        /// The key.
        key: Key,
        /// The version that stands.
        kept: Version,
        /// The version that was lost.
        lost: Version,
    },
    /// Another board told a newer credential of the owner, or this board's own counts for less
    /// in the ring it joined: it is to be kept.
    OwnerChanged(Credential),
    /// The boards of a ring that paired show these digits from now on, each and all.
    Fingerprint {
        /// To be compared.
        digits: Digits,
        /// Boards that show them.
        members: usize,
    },
    /// This board left; the process may end.
    Departed,
}
