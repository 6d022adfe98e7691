//! The shapes of a board's answers, as far as the verbs look into them.
//!
//! Members a verb does not need are not read, so that a newer board can say more.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// A board as a lookup names it.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeRef {
    /// 64 hex digits.
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// `ip:port`.
    pub address: Option<String>,
}

/// `get_node_state`.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeState {
    /// What people call it.
    pub name: Option<String>,
    /// The cluster's name.
    pub cluster: String,
    /// Its id.
    pub hash: String,
    /// Its address, without the port.
    pub addr: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// In Round's words.
    pub state: String,
    /// Boards of its ring, this one counted.
    #[serde(default)]
    pub members: Option<usize>,
    /// What all of them show, when they paired by themselves: `123 456`.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Why they show nothing.
    #[serde(default)]
    pub fingerprint_note: Option<String>,
    /// Of a board that was started from an image.
    #[serde(default)]
    pub image: Option<ImageState>,
    /// Where its store lies, when the board says so.
    #[serde(default)]
    pub medium: Option<MediumState>,
}

/// Where a board's store lies.
#[derive(Clone, Debug, Deserialize)]
pub struct MediumState {
    /// The directory.
    pub path: String,
    /// What is mounted there.
    pub device: String,
    /// Its kind.
    pub file_system: String,
}

impl MediumState {
    /// It is gone when the power is.
    pub fn is_memory(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }

    /// In words, after "the store is".
    pub fn spoken(&self) -> String {
        match self.is_memory() {
            true => format!("in memory, {}", self.path),
            false => format!("on {} ({}), {}", self.device, self.file_system, self.path),
        }
    }
}

/// What a board says of its image.
#[derive(Clone, Debug, Deserialize)]
pub struct ImageState {
    /// The board's name, as `image/build.sh` takes it.
    pub board: String,
    /// The image's version.
    pub version: String,
    /// Its commit.
    pub commit: String,
    /// The slot it was started from.
    pub slot: String,
    /// It is tried, and not found good yet.
    #[serde(default)]
    pub trial: bool,
    /// How the last update went.
    #[serde(default)]
    pub last_update: Option<LastUpdate>,
}

/// How an update went.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LastUpdate {
    /// `waiting`, `trying`, `good`, `back` or `refused`.
    pub outcome: String,
    /// Its version.
    pub version: String,
    /// Why it fell back or was refused.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `get_cluster_state`.
#[derive(Clone, Debug, Deserialize)]
pub struct ClusterState {
    /// The only member.
    pub cluster: Cluster,
}

/// A cluster as one of its boards sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its id, once founded or joined.
    #[serde(default)]
    pub id: Option<String>,
    /// Nobody is joining or leaving.
    #[serde(default)]
    pub settled: bool,
    /// Copies of an item.
    #[serde(default)]
    pub copies: Option<usize>,
    /// "full": `nodes` are all boards; "partial": the neighbourhood of the board asked.
    #[serde(default)]
    pub mode: Option<String>,
    /// How far strangers are kept out: "keyed", "provisional" or "open".
    #[serde(default)]
    pub access: Option<String>,
    /// Every board of the roster.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// What is to be said below a list of the boards; none when it is the whole ring.
    pub fn caveat(&self) -> Option<&'static str> {
        (self.mode.as_deref() == Some("partial")).then_some(
            "ring mode partial: these are the boards next to the one asked, not the whole ring",
        )
    }
}

/// A board of the roster.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// What people call it.
    pub name: Option<String>,
    /// Its software version.
    #[serde(default)]
    pub version: Option<String>,
    /// Its id.
    pub hash: String,
    /// Its address, without the port.
    pub addr: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// In Round's words.
    pub state: String,
    /// `joining`, `member`, `leaving` or `diskless`.
    #[serde(default)]
    pub standing: String,
    /// The detector holds it to be alive.
    pub alive: bool,
    /// The detector suspects it.
    #[serde(default)]
    pub suspect: bool,
    /// Since when it is alive or not.
    #[serde(default)]
    pub for_ms: u64,
    /// It is absent: what becomes of its place.
    #[serde(default)]
    pub giving_up: Option<GivingUp>,
}

impl Node {
    /// It belongs, but has nothing to keep copies on.
    pub fn is_diskless(&self) -> bool {
        self.standing == "diskless"
    }
}

/// How an absent board stands to being given up.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct GivingUp {
    /// The grace time is over after this.
    pub after_ms: u64,
    /// Boards that are there.
    pub present: usize,
    /// Votes that give it up.
    pub needed: usize,
}

impl GivingUp {
    /// In words, after "absent".
    pub fn spoken(&self) -> String {
        match (self.present < self.needed, self.after_ms) {
            (true, _) => format!("kept: {} of {} votes", self.present, self.needed),
            (false, 0) => "being given up".to_owned(),
            (false, ms) => format!("given up in {}", super::out::spoken_time(ms)),
        }
    }
}

/// `get_node_stats`.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeStats {
    /// Since the start.
    pub uptime_ms: u64,
    /// Live items in its store.
    pub items: u64,
    /// Items that wait to be handed to their copies.
    #[serde(default)]
    pub handover_pending: u64,
    /// Items of its store that lack a copy.
    pub under_replicated: u64,
    /// Every acknowledged write stays readable without it.
    pub safe_to_unplug: bool,
    /// Why not.
    #[serde(default)]
    pub unplug_reason: String,
    /// What is wrong and what to do.
    #[serde(default)]
    pub problems: Vec<String>,
    /// `open`, `starting`, `read-only` or `closed`.
    pub store: String,
    /// Memory it takes, when the board says so.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Bytes written to its medium since the start, when the board says so.
    #[serde(default)]
    pub written_bytes: Option<u64>,
    /// What clients asked of it since the start, when the board says so.
    #[serde(default)]
    pub operations: Option<Operations>,
}

/// The operations clients asked of a board since its start.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Operations {
    /// Values stored.
    #[serde(default)]
    pub put: u64,
    /// Values read.
    #[serde(default)]
    pub get: u64,
    /// Keys removed.
    #[serde(default)]
    pub remove: u64,
    /// Those that ended with an error.
    #[serde(default)]
    pub failed: u64,
    /// Latency classes: upper bound in microseconds (none: no bound), operations.
    #[serde(default)]
    pub latency_us: Vec<(Option<u64>, u64)>,
}

/// A board's part of a `get_node_stats` that asked every one.
#[derive(Clone, Debug, Deserialize)]
pub struct BoardStats {
    /// Its id.
    pub dest: String,
    /// Its answer, if it gave one.
    #[serde(default)]
    pub result: Option<NodeStats>,
}

/// `get`.
#[derive(Clone, Debug, Deserialize)]
pub struct Got {
    /// The value when it is JSON, as it was stored.
    #[serde(default, deserialize_with = "present")]
    pub value: Option<Box<RawValue>>,
    /// The value when it is bytes.
    #[serde(default)]
    pub value_base64: Option<String>,
    /// A copy was absent.
    #[serde(default)]
    pub degraded: bool,
}

/// `put`.
#[derive(Clone, Debug, Deserialize)]
pub struct Written {
    /// The board that owns the key.
    pub node: String,
    /// Copies that have it on stable storage.
    #[serde(default)]
    pub acks: usize,
    /// Hints that stand in for absent copies.
    #[serde(default)]
    pub hinted: usize,
    /// A copy was absent.
    #[serde(default)]
    pub degraded: bool,
}

/// `remove`.
#[derive(Clone, Debug, Deserialize)]
pub struct Removed {
    /// A value was there.
    pub removed: bool,
}

/// `list_items` and `scan_items`.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    /// In key order.
    pub items: Vec<Item>,
    /// The key to go on after.
    pub next: Option<String>,
    /// A board was absent: items may be missing.
    #[serde(default)]
    pub degraded: bool,
}

/// An item of a page, and a line of an export.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Item {
    /// The key.
    pub key: String,
    /// The value when it is JSON, as it was stored.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub value: Option<Box<RawValue>>,
    /// The value when it is bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// `join_ring`.
#[derive(Clone, Debug, Deserialize)]
pub struct Joined {
    /// The board before it.
    pub predecessor: NodeRef,
    /// The boards after it.
    pub successors: Vec<NodeRef>,
}

/// `leave_ring`.
#[derive(Clone, Debug, Deserialize)]
pub struct Left {
    /// Items handed over.
    pub transferred: u64,
    /// The boards that took them.
    pub to: Vec<String>,
}

impl Item {
    /// The item on one line: JSON has line ends only between its tokens, where a blank is as
    /// good.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self)
            .expect("an item is JSON")
            .replace(['\n', '\r'], " ")
    }
}

impl Node {
    /// `ip:port`, when both are known.
    pub fn address(&self) -> Option<String> {
        address(self.addr.as_deref(), self.port)
    }

    /// Its name, else the start of its id.
    pub fn called(&self) -> String {
        self.name.clone().unwrap_or_else(|| short(&self.hash))
    }
}

impl NodeRef {
    /// Its name, else the start of its id.
    pub fn called(&self) -> String {
        self.name.clone().unwrap_or_else(|| short(&self.id))
    }
}

/// `ip:port`, with brackets around an IPv6 address.
pub fn address(addr: Option<&str>, port: Option<u16>) -> Option<String> {
    let (addr, port) = (addr?, port?);
    Some(match addr.parse() {
        Ok(ip) => std::net::SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{addr}:{port}"),
    })
}

/// The start of an id, for people.
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// Reads a member that is there, `null` included.
pub fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_null_is_a_value() {
        let got: Got = serde_json::from_str("{\"key\":\"k\",\"value\":null}").unwrap();
        assert_eq!(got.value.unwrap().get(), "null");
        let got: Got = serde_json::from_str("{\"value_base64\":\"\"}").unwrap();
        assert!(got.value.is_none());
    }

    #[test]
    fn an_item_over_several_lines_becomes_one() {
        let item: Item =
            serde_json::from_str("{\"key\":\"k\",\"value\":{\n \"a\": 1.50\r\n}}").unwrap();
        assert_eq!(
            item.to_line(),
            "{\"key\":\"k\",\"value\":{  \"a\": 1.50  }}"
        );
    }

    #[test]
    fn an_ipv6_address_is_put_in_brackets() {
        assert_eq!(address(Some("::1"), Some(80)).unwrap(), "[::1]:80");
        assert_eq!(address(Some("10.0.0.1"), Some(80)).unwrap(), "10.0.0.1:80");
        assert_eq!(address(None, Some(80)), None);
    }
}
