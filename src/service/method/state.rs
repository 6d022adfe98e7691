//! The methods that show state: echo, node, cluster and network state, configuration and figures.
//!
//! Names and shapes are Round's, with members of ours added.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::base::call::{Call, Overview, Reply};
use crate::base::endpoint::{Name, SocketAddr};
use crate::base::id::Id;
use crate::service::Facts;
use crate::service::journal::Entry;

use super::argument::Args;
use super::shape::{ClusterRow, FingerprintRow, NodeStateRow, OwnRow, StatsRow, json, misplaced};
use super::{Method, Outcome, Param, Run, Scope, Takes};

/// A method that reads the overview and takes nothing.
const fn view(
    name: &'static str,
    aliases: &'static [&'static str],
    result: &'static str,
    doc: &'static str,
    show: fn(&Facts, &Args<'_>, Reply) -> Outcome,
) -> Method {
    Method {
        name,
        aliases,
        reads: true,
        scope: Scope::Read,
        takes: Takes::Params(&[]),
        result,
        doc,
        run: Run::Board {
            call: |_| Ok(Call::Overview),
            result: show,
        },
    }
}

/// See the module.
pub(super) const METHODS: &[Method] = &[
    Method {
        name: "echo",
        aliases: &[],
        reads: true,
        scope: Scope::Read,
        takes: Takes::Anything,
        result: "the parameters",
        doc: "Answers its parameters as they were sent.",
        run: Run::Here(|_, args| {
            Ok(args
                .text()
                .map_or_else(|| RawValue::NULL.to_owned(), |params| params.to_raw()))
        }),
    },
    view(
        "get_node_state",
        &["get-node-state"],
        "{name, version, cluster, hash, addr, port, state, access, members, fingerprint, \
         medium?, problems, image?}",
        "Shows this board.",
        |facts, _, reply| with_overview(reply, |overview| shown("node", facts, overview)),
    ),
    view(
        "get_cluster_state",
        &["get-cluster-state"],
        "{cluster: {name, id, settled, copies, points, mode, access, nodes: […]}}",
        "Shows the boards of this board's cluster.",
        |facts, _, reply| with_overview(reply, |overview| shown("cluster", facts, overview)),
    ),
    view(
        "get_network_state",
        &["get-network-state"],
        "{clusters: [{name, nodes: […]}]}",
        "Shows every cluster this board hears of on the LAN.",
        |facts, _, reply| with_overview(reply, |overview| network(overview, &(facts.discovered)())),
    ),
    view(
        "get_node_stats",
        &["get-node-stats"],
        "{hash, name, uptime_ms, state, items, …, safe_to_unplug, problems, store, counters}",
        "Shows this board's figures and what is wrong with it.",
        |facts, _, reply| with_overview(reply, |overview| shown("stats", facts, overview)),
    ),
    Method {
        name: "get_node_events",
        aliases: &["get-node-events"],
        reads: true,
        scope: Scope::Read,
        takes: Takes::Params(&[Param::optional("after", "the number of an event")]),
        result: "{events: [{number, uptime_ms, time_ms, event, node, text}]}",
        doc: "Shows what happened to the ring lately, as this board saw it since its start.",
        run: Run::Here(|facts, args| {
            let after = args.number("after", 0, usize::MAX)?;
            events(&facts.journal.after(after.unwrap_or_default() as u64))
        }),
    },
    Method {
        name: "get_node_config",
        aliases: &["get-node-config"],
        reads: true,
        scope: Scope::Read,
        takes: Takes::Params(&[]),
        result: "the configuration",
        doc: "Shows the configuration this board runs with.",
        run: Run::Here(|facts, _| Ok(facts.config.clone())),
    },
];

/// What `get_node_state`, `get_cluster_state` and `get_node_stats` answer, by the middle of
/// their names.
///
/// # Panics
/// Of another name: a mistake of the caller.
pub(in crate::service) fn shown(name: &str, facts: &Facts, overview: &Overview) -> Outcome {
    #[derive(Serialize)]
    struct State<'a> {
        cluster: ClusterRow<'a>,
    }
    let access = facts.entrance.keys.borrow().access;
    match name {
        "node" => json(&NodeStateRow {
            own: Some(OwnRow {
                access: access.as_str(),
                members: overview.members.len().max(1),
                fingerprint: FingerprintRow::new(&overview.fingerprint),
                medium: facts.medium.as_ref(),
                problems: &facts.problems,
                image: facts.installer.image(),
            }),
            ..node_state(overview)
        }),
        "cluster" => json(&State {
            cluster: ClusterRow::new(overview, access),
        }),
        "stats" => json(&StatsRow::new(overview, facts)),
        other => panic!("there is no view {other}"),
    }
}

/// What `get_node_events` answers.
pub(in crate::service) fn events(entries: &[Entry]) -> Outcome {
    #[derive(Serialize)]
    struct Events<'a> {
        events: &'a [Entry],
    }
    json(&Events { events: entries })
}

fn with_overview(reply: Reply, show: impl FnOnce(&Overview) -> Outcome) -> Outcome {
    match reply {
        Reply::Overview(overview) => show(&overview),
        _ => Err(misplaced()),
    }
}

fn node_state(overview: &Overview) -> NodeStateRow<'_> {
    let this = overview.members.iter().find(|m| m.id == overview.id);
    NodeStateRow {
        name: Some(overview.name.as_str()),
        version: Some(
            this.and_then(|member| member.version.as_deref())
                .unwrap_or(env!("CARGO_PKG_VERSION")),
        ),
        cluster: overview.cluster_name.as_str(),
        hash: overview.id,
        addr: Some(overview.endpoint.ip().to_string()),
        port: Some(overview.endpoint.port()),
        state: overview.state.as_str(),
        own: None,
    }
}

/// This board's own cluster first, then the others in the order of their names.
fn network(overview: &Overview, discovered: &[(Name, Id, SocketAddr)]) -> Outcome {
    #[derive(Serialize)]
    struct Network<'a> {
        clusters: Vec<Cluster<'a>>,
    }
    #[derive(Serialize)]
    struct Cluster<'a> {
        name: &'a str,
        nodes: Vec<NodeStateRow<'a>>,
    }
    let mut nodes: Vec<_> = overview
        .members
        .iter()
        .map(|member| NodeStateRow::of_member(overview, member))
        .collect();
    if nodes.is_empty() {
        nodes.push(node_state(overview));
    }
    let mut clusters = vec![Cluster {
        name: overview.cluster_name.as_str(),
        nodes,
    }];
    let mut heard: Vec<_> = discovered.iter().collect();
    heard.sort();
    for (cluster, id, endpoint) in heard {
        let at = clusters
            .iter()
            .position(|known| known.name == cluster.as_str())
            .unwrap_or_else(|| {
                clusters.push(Cluster {
                    name: cluster.as_str(),
                    nodes: Vec::new(),
                });
                clusters.len() - 1
            });
        if clusters[at].nodes.iter().any(|node| node.hash == *id) {
            continue;
        }
        clusters[at].nodes.push(NodeStateRow {
            name: None,
            version: None,
            cluster: cluster.as_str(),
            hash: *id,
            addr: Some(endpoint.ip().to_string()),
            port: Some(endpoint.port()),
            state: "unknown",
            own: None,
        });
    }
    json(&Network { clusters })
}
