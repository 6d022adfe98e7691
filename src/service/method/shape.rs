//! The JSON shapes of results: how boards, fingers, items and coverage are written.
//!
//! Field names are the wire's; a change here is a change of the protocol.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::access::Access;
use crate::base::call::{Coverage, Finger, MemberView, NodeRef, Overview};
use crate::base::endpoint::{Name, SocketAddr};
use crate::base::id::Id;
use crate::base::item::{Item, Key, Value};
use crate::base::keys::Fingerprint;
use crate::base::member::Standing;
use crate::base::place::Place;
use crate::base::problem::Problem;
use crate::base::version::Version;
use crate::service::update::Image;
use crate::service::{Facts, Failure};
use crate::telemetry::operation::{self, Operation, Operations};
use crate::wire::jsonrpc::Code;

use super::Outcome;

/// Writes a result.
pub(super) fn json(result: &impl Serialize) -> Outcome {
    to_raw_value(result).map_err(|error| {
        Failure::new(
            Code::InternalError,
            format!("the result cannot be written ({error}); please report this"),
        )
    })
}

/// A reply that does not belong to the call: a mistake of ours.
pub(super) fn misplaced() -> Failure {
    Failure::new(
        Code::InternalError,
        "the board answered something else than was asked; please report this with its log",
    )
}

/// A board as lookups and fingers show it.
#[derive(Serialize)]
pub(super) struct Node<'a> {
    id: Id,
    name: Option<&'a str>,
    address: Option<SocketAddr>,
    alive: bool,
}

impl<'a> From<&'a NodeRef> for Node<'a> {
    fn from(node: &'a NodeRef) -> Self {
        Node {
            id: node.id,
            name: node.name.as_ref().map(Name::as_str),
            address: node.endpoint,
            alive: node.alive,
        }
    }
}

/// Several boards.
pub(super) fn nodes(nodes: &[NodeRef]) -> Vec<Node<'_>> {
    nodes.iter().map(Node::from).collect()
}

/// One row of the finger table.
#[derive(Serialize)]
pub(super) struct FingerRow {
    index: u32,
    start: Id,
    id: Id,
    address: Option<SocketAddr>,
}

impl From<&Finger> for FingerRow {
    fn from(finger: &Finger) -> Self {
        FingerRow {
            index: finger.index,
            start: finger.start,
            id: finger.node.id,
            address: finger.node.endpoint,
        }
    }
}

/// Members every result of put, get and remove ends with.
#[derive(Serialize)]
pub(super) struct Covered {
    acks: usize,
    hinted: usize,
    degraded: bool,
}

impl From<Coverage> for Covered {
    fn from(coverage: Coverage) -> Self {
        Covered {
            acks: coverage.acks,
            hinted: coverage.hinted,
            degraded: coverage.degraded,
        }
    }
}

/// `value` as it was stored, or `value_base64`.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content<'a> {
    /// JSON, verbatim.
    Value(&'a RawValue),
    /// Bytes.
    ValueBase64(String),
}

impl<'a> Content<'a> {
    /// # Errors
    /// -32603 when what another board stored as JSON is none.
    pub(super) fn of(value: &'a Value) -> Result<Self, Failure> {
        match value {
            Value::Binary(bytes) => {
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                Ok(Content::ValueBase64(text))
            }
            Value::Json(bytes) => serde_json::from_slice(bytes)
                .map(Content::Value)
                .map_err(|_| {
                    Failure::new(
                        Code::InternalError,
                        "a stored value is not the JSON it is said to be; put it anew",
                    )
                }),
        }
    }
}

/// One item of a page.
#[derive(Serialize)]
pub(super) struct ItemRow<'a> {
    key: &'a Key,
    #[serde(flatten)]
    content: Content<'a>,
    version: Version,
}

/// The items of a page, tombstones left out.
pub(super) fn items(items: &[Item]) -> Result<Vec<ItemRow<'_>>, Failure> {
    items
        .iter()
        .filter_map(|item| Some((item, item.record.value.as_ref()?)))
        .map(|(item, value)| {
            Ok(ItemRow {
                key: &item.key,
                content: Content::of(value)?,
                version: item.record.version,
            })
        })
        .collect()
}

/// Round's node state.
#[derive(Serialize)]
pub(super) struct NodeStateRow<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) version: Option<&'a str>,
    pub(super) cluster: &'a str,
    pub(super) hash: Id,
    pub(super) addr: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) state: &'static str,
    /// Of the board that is asked alone.
    #[serde(flatten)]
    pub(super) own: Option<OwnRow<'a>>,
}

/// What a board says of its own ring.
#[derive(Serialize)]
pub(super) struct OwnRow<'a> {
    /// How far it keeps strangers out.
    pub(super) access: &'static str,
    /// Boards that belong, this one counted.
    pub(super) members: usize,
    #[serde(flatten)]
    pub(super) fingerprint: FingerprintRow,
    /// Where its store lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) medium: Option<&'a Place>,
    /// What was wrong at its start.
    pub(super) problems: &'a [Problem],
    /// Of a board that was started from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<Image>,
}

/// What the boards of a ring that paired show alike.
#[derive(Serialize)]
pub(super) struct FingerprintRow {
    /// `123 456`; null: there is none.
    fingerprint: Option<String>,
    /// Why there is none though it is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint_note: Option<String>,
}

impl FingerprintRow {
    pub(super) fn new(fingerprint: &Fingerprint) -> Self {
        FingerprintRow {
            fingerprint: fingerprint.digits().map(|digits| digits.to_string()),
            fingerprint_note: fingerprint.note(),
        }
    }
}

impl<'a> NodeStateRow<'a> {
    pub(super) fn of_member(overview: &'a Overview, member: &'a MemberView) -> Self {
        NodeStateRow {
            name: member.name.as_ref().map(Name::as_str),
            version: member.version.as_deref(),
            cluster: overview.cluster_name.as_str(),
            hash: member.id,
            addr: member.endpoint.map(|endpoint| endpoint.ip().to_string()),
            port: member.endpoint.map(|endpoint| endpoint.port()),
            state: member.state().as_str(),
            own: None,
        }
    }
}

/// A board in the cluster's state: Round's members and ours.
#[derive(Serialize)]
struct MemberRow<'a> {
    #[serde(flatten)]
    node: NodeStateRow<'a>,
    standing: &'static str,
    alive: bool,
    suspect: bool,
    for_ms: u64,
    boot: u64,
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    giving_up: Option<GivingUpRow>,
}

/// How an absent board stands to being given up.
#[derive(Serialize)]
struct GivingUpRow {
    after_ms: u64,
    votes: usize,
    present: usize,
    needed: usize,
}

/// The word of a board's place in the roster.
pub(in crate::service) fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Joining => "joining",
        Standing::Member => "member",
        Standing::Leaving => "leaving",
        Standing::Left => "left",
        Standing::Forgotten => "forgotten",
        Standing::Diskless => "diskless",
    }
}

/// The cluster's state.
#[derive(Serialize)]
pub(super) struct ClusterRow<'a> {
    name: &'a str,
    id: Option<String>,
    settled: bool,
    copies: Option<u8>,
    points: Option<u32>,
    mode: Option<&'static str>,
    access: &'static str,
    nodes: Vec<MemberRow<'a>>,
}

impl<'a> ClusterRow<'a> {
    /// The cluster as its board sees it, in that access state.
    pub(super) fn new(overview: &'a Overview, access: Access) -> Self {
        let cluster = overview.cluster.as_ref();
        ClusterRow {
            name: overview.cluster_name.as_str(),
            id: cluster.map(|cluster| cluster.id.to_string()),
            settled: overview.settled,
            copies: cluster.map(|cluster| cluster.copies),
            points: cluster.map(|cluster| cluster.points),
            mode: cluster.map(|cluster| cluster.mode.as_str()),
            access: access.as_str(),
            nodes: overview
                .members
                .iter()
                .map(|member| MemberRow {
                    node: NodeStateRow::of_member(overview, member),
                    standing: standing(member.standing),
                    alive: member.alive,
                    suspect: member.suspect,
                    for_ms: u64::try_from(member.for_time.as_millis()).unwrap_or(u64::MAX),
                    boot: member.boot,
                    location: member
                        .endpoint
                        .map(|endpoint| format!("http://{endpoint}/description.xml")),
                    giving_up: member.giving_up.map(|it| GivingUpRow {
                        after_ms: u64::try_from(it.after.as_millis()).unwrap_or(u64::MAX),
                        votes: it.votes,
                        present: it.present,
                        needed: it.needed,
                    }),
                })
                .collect(),
        }
    }
}

/// A board's figures.
#[derive(Serialize)]
pub(super) struct StatsRow<'a> {
    hash: Id,
    name: &'a str,
    uptime_ms: u64,
    state: &'static str,
    items: u64,
    tombstones: u64,
    tree_digest: String,
    handover_pending: u64,
    under_replicated: u64,
    safe_to_unplug: bool,
    unplug_reason: &'a str,
    problems: Vec<Cow<'a, str>>,
    store: &'a str,
    counters: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    /// Since the start of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    written_bytes: Option<u64>,
    operations: OperationsRow,
}

/// The operations clients asked of this board since its start, and how long they took.
#[derive(Serialize)]
struct OperationsRow {
    put: u64,
    get: u64,
    remove: u64,
    failed: u64,
    /// Classes that are not empty: upper bound in microseconds (null: none), operations.
    latency_us: Vec<(Option<u64>, u64)>,
}

impl From<Operations> for OperationsRow {
    fn from(operations: Operations) -> Self {
        OperationsRow {
            put: operations.done(Operation::Put),
            get: operations.done(Operation::Get),
            remove: operations.done(Operation::Remove),
            failed: operations.failed(),
            latency_us: operations.latencies().collect(),
        }
    }
}

impl<'a> StatsRow<'a> {
    pub(super) fn new(overview: &'a Overview, facts: &Facts) -> Self {
        let of_start = facts.problems.iter().map(|it| it.to_string().into());
        let health = &overview.health;
        StatsRow {
            hash: overview.id,
            name: overview.name.as_str(),
            uptime_ms: u64::try_from(overview.uptime.as_millis()).unwrap_or(u64::MAX),
            state: overview.state.as_str(),
            items: health.items,
            tombstones: health.tombstones,
            tree_digest: format!("{:032x}", health.tree_digest),
            handover_pending: health.handover_pending,
            under_replicated: health.under_replicated,
            safe_to_unplug: health.safe_to_unplug,
            unplug_reason: &health.unplug_reason,
            problems: of_start
                .chain(health.problems.iter().map(|it| it.as_str().into()))
                .collect(),
            store: &health.store,
            counters: overview.counters.iter().copied().collect(),
            memory_bytes: (facts.memory_bytes)(),
            written_bytes: (facts.written_bytes)(),
            operations: operation::read().into(),
        }
    }
}
