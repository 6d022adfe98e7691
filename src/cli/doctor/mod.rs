//! `roundel doctor`: why does this board see no neighbours?
//!
//! Looks at this machine from outside and from inside: does a board run here and answer, what
//! does it know and hear, and can multicast reach it at all (interfaces, routes, port 1900, the
//! firewall). It changes nothing and joins nothing; what it cannot find out, it does not claim.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::args::ClientArgs;
use super::failure::{Failure, Kind};
use super::out::{Out, Paint, shown};
use super::progress::Progress;
use super::rpc::{Client, RpcError};
use super::shape::{ClusterState, MediumState, NodeState, NodeStats};
use super::target;
use crate::config::valid::PORT_DEFAULT;
use crate::runtime::probe::probe;

mod network;

/// Answers are collected for this: MX 1 and slow devices.
const LISTEN_TIME: Duration = Duration::from_secs(4);

/// Arguments of `roundel doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Run it on the board that sees no neighbours. Ends with exit code 1 when something is wrong.")]
pub struct Args {
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Good,
    /// May be meant so.
    Odd,
    /// A cause for seeing no neighbours.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// How bad it is.
    pub(super) level: Level,
    /// What was found, a sentence.
    pub(super) found: String,
    /// What to do, for what is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

impl Finding {
    pub(super) fn good(found: impl Into<String>) -> Self {
        Finding {
            level: Level::Good,
            found: found.into(),
            next: None,
        }
    }

    pub(super) fn odd(found: impl Into<String>, next: impl Into<String>) -> Self {
        Finding {
            level: Level::Odd,
            found: found.into(),
            next: Some(next.into()),
        }
    }

    pub(super) fn bad(found: impl Into<String>, next: impl Into<String>) -> Self {
        Finding {
            level: Level::Bad,
            found: found.into(),
            next: Some(next.into()),
        }
    }

    fn line(&self, paint: Paint) -> String {
        let sign = match self.level {
            Level::Good => paint.good("ok  "),
            Level::Odd => paint.warn("odd "),
            Level::Bad => paint.bad("bad "),
        };
        match &self.next {
            None => format!("{sign} {}", shown(&self.found)),
            Some(next) => format!(
                "{sign} {}\n       next: {}",
                shown(&self.found),
                shown(next)
            ),
        }
    }
}

/// Says what was found, the board first, then the network.
///
/// # Errors
/// [`Failure`] of kind failed when something is bad; of an address that is none.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let node = args.client.node.as_deref().filter(|node| !node.is_empty());
    let address = match node {
        Some(node) => target::resolve(node).await?,
        None => ([127, 0, 0, 1], PORT_DEFAULT).into(),
    };
    let mut client = target::client(&args.client, address)?;
    let mut findings = board(&mut client).await;
    let interfaces = interfaces(&args.client.interfaces, &mut client).await;
    findings.extend(network_findings(&interfaces).await);
    for finding in &findings {
        if args.client.json {
            let line = serde_json::to_string(finding).expect("a finding is JSON");
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{}", finding.line(out.paint))?;
        }
    }
    match findings.iter().filter(|f| f.level == Level::Bad).count() {
        0 => Ok(()),
        bad => Err(Failure::new(
            Kind::Failed,
            format!(
                "{bad} of {} things are not as they should be",
                findings.len()
            ),
            "do what stands below each of them, then ask again",
        )),
    }
}

/// The interfaces to look at: those named, else those that a board of this machine was told to
/// use; none: all that discovery would choose.
async fn interfaces(named: &[String], client: &mut Client) -> Vec<String> {
    if !named.is_empty() || !client.address().ip().is_loopback() {
        return named.to_vec();
    }
    let config: Result<BoardConfig, RpcError> = client.call_as("get_node_config", &json!({})).await;
    config.map(|config| config.interfaces).unwrap_or_default()
}

/// What the board itself says.
async fn board(client: &mut Client) -> Vec<Finding> {
    let node: NodeState = match client.call_as("get_node_state", &json!({})).await {
        Ok(node) => node,
        Err(error) => return vec![silent(&error)],
    };
    let mut findings = vec![answers(&node, client)];
    findings.extend(node.medium.as_ref().map(medium));
    if let Ok(state) = client.call_as("get_cluster_state", &json!({})).await {
        findings.push(neighbours(&state));
    }
    if let Ok(network) = client.call_as("get_network_state", &json!({})).await {
        findings.push(heard(&node, &network));
    }
    if let Ok(stats) = client
        .call_as::<NodeStats, _>("get_node_stats", &json!({}))
        .await
    {
        findings.extend(
            stats
                .problems
                .iter()
                .map(|problem| Finding::odd(problem.clone(), "`roundel status` tells more")),
        );
    }
    findings
}

fn silent(error: &RpcError) -> Finding {
    let next = match error {
        RpcError::Connect { .. } => {
            "start one with `roundel run`; if one runs on another port, name it with --node"
        }
        RpcError::Silent { .. } | RpcError::Broken { .. } => {
            "its log says what it is doing; a full or failing card is the usual cause"
        }
        RpcError::OtherBoard { .. } => {
            "`roundel status` on the board shows its id; name that one with --tls ID"
        }
        RpcError::Challenge { .. } | RpcError::Unproved { .. } => {
            "ask without --key, on the board itself; its log says more"
        }
        RpcError::Foreign { .. } | RpcError::NoTls { .. } | RpcError::Answer(_) => {
            "another program has the port; name the board with --node 127.0.0.1:PORT"
        }
    };
    Finding::bad(error.to_string(), next)
}

fn answers(node: &NodeState, client: &Client) -> Finding {
    let name = node.name.as_deref().unwrap_or("a board");
    let found = format!(
        "{name} of cluster {} answers at {}, {}",
        node.cluster,
        client.address(),
        node.state
    );
    match node.state.as_str() {
        "active" => Finding::good(found),
        "stop" => Finding::odd(
            found,
            "it is out of its ring: `roundel join HOST:PORT` brings it back, so does a new start",
        ),
        _ => Finding::odd(
            found,
            "wait until it is active; its log says what it waits for",
        ),
    }
}

fn medium(medium: &MediumState) -> Finding {
    let found = format!("its store is {}", medium.spoken());
    match medium.is_memory() {
        true => Finding::odd(
            found,
            "what it keeps is gone when the power is: `roundel status` says why, or name a \
             directory on a disk with --data",
        ),
        false => Finding::good(found),
    }
}

fn neighbours(state: &ClusterState) -> Finding {
    let others = state.cluster.nodes.len().saturating_sub(1);
    let present = state.cluster.nodes.iter().filter(|node| node.alive).count();
    let present = present.saturating_sub(1);
    match (others, present) {
        (0, _) => Finding::bad(
            "its ring has no other board",
            "see below for what it hears; where multicast does not reach, `roundel join HOST:PORT`",
        ),
        (_, 0) => Finding::bad(
            format!("none of the {others} other boards of its ring is reachable"),
            "check the cable or the radio of this board, then the others",
        ),
        (_, present) if present < others => Finding::odd(
            format!("it reaches {present} of the {others} other boards of its ring"),
            "`roundel nodes` shows who is absent",
        ),
        _ => Finding::good(format!("it reaches all {others} other boards of its ring")),
    }
}

/// The part of `get_node_config` that says where to look.
#[derive(Debug, Deserialize)]
struct BoardConfig {
    #[serde(default)]
    interfaces: Vec<String>,
}

/// `get_network_state`.
#[derive(Debug, Deserialize)]
struct NetworkState {
    clusters: Vec<HeardCluster>,
}

#[derive(Debug, Deserialize)]
struct HeardCluster {
    name: String,
    nodes: Vec<HeardNode>,
}

#[derive(Debug, Deserialize)]
struct HeardNode {
    hash: String,
}

fn heard(node: &NodeState, network: &NetworkState) -> Finding {
    let of = |own: bool| {
        network
            .clusters
            .iter()
            .filter(move |cluster| (cluster.name == node.cluster) == own)
    };
    let ours = of(true)
        .flat_map(|cluster| &cluster.nodes)
        .filter(|heard| heard.hash != node.hash)
        .count();
    let foreign: BTreeSet<&str> = of(false).map(|cluster| cluster.name.as_str()).collect();
    let foreign = foreign.into_iter().collect::<Vec<_>>().join(", ");
    match (ours, foreign.is_empty()) {
        (0, true) => Finding::bad(
            "it knows no other board on the LAN, of any cluster",
            "is another one running? Then multicast does not come through: see what follows",
        ),
        (0, false) => Finding::bad(
            format!(
                "it hears boards of other clusters only: {foreign} (its own is {})",
                node.cluster
            ),
            "give both the same name: `roundel run --cluster NAME`",
        ),
        (1, _) => Finding::good("it knows 1 other board of its cluster on the LAN"),
        (ours, _) => Finding::good(format!("it knows {ours} other boards of its cluster")),
    }
}

/// What can be seen of the network from this machine.
async fn network_findings(interfaces: &[String]) -> Vec<Finding> {
    let looking = Progress::new("listening", "", None);
    match looking.during(probe(interfaces, LISTEN_TIME)).await {
        Ok(report) => network::findings(&report, interfaces),
        Err(error) => vec![network::unseen(&error)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(state: &str) -> NodeState {
        serde_json::from_value(json!({"name": "attic", "cluster": "home", "hash": "aa",
            "addr": null, "port": null, "state": state}))
        .unwrap()
    }

    fn network_of(clusters: serde_json::Value) -> NetworkState {
        serde_json::from_value(json!({"clusters": clusters})).unwrap()
    }

    #[test]
    fn boards_of_another_cluster_are_named_as_the_cause() {
        let own = json!({"name": "home", "nodes": [{"hash": "aa"}]});
        let other = json!({"name": "hoem", "nodes": [{"hash": "bb"}]});
        let finding = heard(&node("active"), &network_of(json!([own, other])));
        assert_eq!(finding.level, Level::Bad);
        assert!(finding.found.contains("hoem"), "{finding:?}");
        assert!(finding.next.unwrap().contains("--cluster"));
    }

    #[test]
    fn a_lone_board_is_bad_and_a_heard_one_good() {
        let own = json!({"name": "home", "nodes": [{"hash": "aa"}]});
        assert_eq!(
            heard(&node("active"), &network_of(json!([own]))).level,
            Level::Bad
        );
        let own = json!({"name": "home", "nodes": [{"hash": "aa"}, {"hash": "bb"}]});
        assert_eq!(
            heard(&node("active"), &network_of(json!([own]))).level,
            Level::Good
        );
    }

    #[test]
    fn a_store_in_memory_is_odd_and_one_on_a_disk_good() {
        let of = |device: &str, file_system: &str| {
            medium(&MediumState {
                path: "/data/store".into(),
                device: device.into(),
                file_system: file_system.into(),
            })
        };
        let disk = of("/dev/sda1", "ext4");
        assert_eq!(disk.level, Level::Good);
        assert_eq!(disk.found, "its store is on /dev/sda1 (ext4), /data/store");
        let memory = of("none", "tmpfs");
        assert_eq!(memory.level, Level::Odd);
        assert!(memory.next.unwrap().contains("--data"));
    }

    #[test]
    fn everything_that_is_not_good_says_what_to_do() {
        let line = Finding::odd("a\u{1b}b", "do it").line(Paint::PLAIN);
        assert_eq!(line, "odd  a\\u{1b}b\n       next: do it");
        assert_eq!(
            answers(&node("active"), &Client::new(([127, 0, 0, 1], 1).into())).next,
            None
        );
        assert!(
            answers(
                &node("activating"),
                &Client::new(([127, 0, 0, 1], 1).into())
            )
            .next
            .is_some()
        );
    }

    #[test]
    fn absent_boards_are_told_from_none_at_all() {
        let state = |alive: &[bool]| -> ClusterState {
            let nodes: Vec<_> = alive
                .iter()
                .map(|alive| {
                    json!({"name": "n", "hash": "x", "addr": null, "port": null,
                    "state": "active", "alive": alive})
                })
                .collect();
            serde_json::from_value(json!({"cluster": {"name": "home", "nodes": nodes}})).unwrap()
        };
        assert_eq!(neighbours(&state(&[true])).level, Level::Bad);
        assert_eq!(neighbours(&state(&[true, false])).level, Level::Bad);
        assert_eq!(neighbours(&state(&[true, true, false])).level, Level::Odd);
        assert_eq!(neighbours(&state(&[true, true])).level, Level::Good);
    }
}
