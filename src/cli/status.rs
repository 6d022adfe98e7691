//! `roundel status`: how the board and its data are, in the words of their owner.

use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::args::ClientArgs;
use super::failure::Failure;
use super::key::ring::Code;
use super::out::{Out, Paint, shown, spoken_time};
use super::shape::{ClusterState, NodeState, NodeStats, short};
use super::target;

/// Arguments of `roundel status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Says how the board is, whether everything is replicated, whether it is safe to unplug, what
/// is wrong and what to do.
///
/// # Errors
/// [`Failure`] of the target or a call.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let mut client = target::connect(&args.client).await?;
    let mut answers: Vec<Box<RawValue>> = Vec::new();
    for method in ["get_node_state", "get_cluster_state", "get_node_stats"] {
        answers.push(client.call(method, &serde_json::json!({})).await?);
    }
    if args.client.json {
        let (node, cluster, stats) = (&answers[0], &answers[1], &answers[2]);
        let all = format!(
            "{{\"node\":{},\"cluster_state\":{},\"stats\":{}}}",
            node.get(),
            cluster.get(),
            stats.get()
        );
        return Ok(writeln!(out, "{all}")?);
    }
    let odd = |_| super::rpc::RpcError::Foreign {
        address: client.address(),
        status: 200,
        excerpt: "a state of another shape".to_owned(),
    };
    let node: NodeState = serde_json::from_str(answers[0].get()).map_err(odd)?;
    let cluster: ClusterState = serde_json::from_str(answers[1].get()).map_err(odd)?;
    let stats: NodeStats = serde_json::from_str(answers[2].get()).map_err(odd)?;
    for line in words(&node, &cluster, &stats, out.paint) {
        writeln!(out, "{line}")?;
    }
    // A board that does not know the question has made no code.
    let keys = client.call("get_key_state", &serde_json::json!({})).await;
    let keys = keys.ok().and_then(|it| serde_json::from_str(it.get()).ok());
    if let Some(Keys { code: Some(code) }) = keys {
        writeln!(out, "{:<15} {}", "Join code", code.spoken())?;
    }
    Ok(())
}

/// Of the keys' state, what status says.
#[derive(Deserialize)]
struct Keys {
    code: Option<Code>,
}

fn words(node: &NodeState, state: &ClusterState, stats: &NodeStats, paint: Paint) -> Vec<String> {
    let name = node.name.clone().unwrap_or_else(|| short(&node.hash));
    let at = super::shape::address(node.addr.as_deref(), node.port);
    let mut lines = vec![format!(
        "{} ({}) is {}, up {}{}",
        paint.strong(&shown(&name)),
        short(&node.hash),
        standing(&node.state),
        spoken_time(stats.uptime_ms),
        at.map(|at| format!(", at http://{at}")).unwrap_or_default(),
    )];
    lines.push(format!("{:<15} {}", "Ring", ring(node, state, paint)));
    lines.push(format!(
        "{:<15} {}",
        "Replicated",
        replicated(state, stats, paint)
    ));
    lines.push(format!("{:<15} {}", "Safe to unplug", unplug(stats, paint)));
    lines.push(format!("{:<15} {} (its id)", "Fingerprint", node.hash));
    lines.extend(image(node, paint).map(|(name, words)| format!("{name:<15} {words}")));
    lines.extend(access(state, paint).map(|words| format!("{:<15} {words}", "Access")));
    lines.extend(pairing(node, paint).map(|words| format!("{:<15} {words}", "Pairing")));
    lines.extend(store(node, stats, paint).map(|words| format!("{:<15} {words}", "Store")));
    let mut problems = stats.problems.iter();
    match problems.next() {
        None => lines.push(format!("{:<15} {}", "Wrong", paint.good("nothing"))),
        Some(first) => {
            lines.push(format!("{:<15} {}", "Wrong", paint.bad(&shown(first))));
            lines.extend(problems.map(|p| format!("{:<15} {}", "", paint.bad(&shown(p)))));
        }
    }
    lines
}

/// How its store is, and where; nothing of an older board whose store is open.
fn store(node: &NodeState, stats: &NodeStats, paint: Paint) -> Option<String> {
    let place = node.medium.as_ref().map(|medium| shown(&medium.spoken()));
    if stats.store == "open" {
        return place;
    }
    let state = paint.bad(&shown(&stats.store));
    Some(place.map_or_else(|| state.clone(), |place| format!("{state}, {place}")))
}

/// The image it was started from, and how the last update went.
fn image(node: &NodeState, paint: Paint) -> impl Iterator<Item = (&'static str, String)> {
    let own = node.image.as_ref().map(|image| {
        let tried = if image.trial { ", on trial" } else { "" };
        let (version, board) = (shown(&image.version), shown(&image.board));
        let (commit, slot) = (shown(&short(&image.commit)), shown(&image.slot));
        (
            "Image",
            format!("{version} ({commit}) for {board}, slot {slot}{tried}"),
        )
    });
    let last = node
        .image
        .as_ref()
        .and_then(|image| image.last_update.as_ref());
    let last = last.map(|last| {
        let version = shown(&last.version);
        let reason = last.reason.as_deref().map(shown).unwrap_or_default();
        let words = match last.outcome.as_str() {
            "good" => paint.good(&format!("{version} was found good")),
            "back" => paint.bad(&format!(
                "{version} was tried, and the board fell back: {reason}"
            )),
            "refused" => paint.bad(&format!("{version} was refused: {reason}")),
            "waiting" => format!("{version} is about to be tried"),
            _ => format!("{version} is being tried"),
        };
        ("Last update", words)
    });
    own.into_iter().chain(last)
}

/// How far the cluster keeps strangers out, and what its owner can do.
fn access(state: &ClusterState, paint: Paint) -> Option<String> {
    Some(match state.cluster.access.as_deref()? {
        "keyed" => paint.good("keyed: strangers may read, and nothing else"),
        "provisional" => paint.warn(
            "provisional: whoever is on this LAN may read and write until you confirm it: `roundel \
             key confirm`",
        ),
        "open" => paint.bad("open: whoever is on this LAN may join, read and write"),
        other => shown(other),
    })
}

/// What every board of a ring that paired shows, and what to do with it.
fn pairing(node: &NodeState, paint: Paint) -> Option<String> {
    let boards = match node.members {
        Some(1) => "1 board".to_owned(),
        Some(count) => format!("{count} boards"),
        None => return None,
    };
    match (&node.fingerprint, &node.fingerprint_note) {
        (Some(digits), _) => Some(format!(
            "fingerprint {}, {boards}; compare both on every board, then `roundel key confirm`",
            paint.strong(&shown(digits))
        )),
        (None, Some(note)) => Some(format!("fingerprint {}, {boards}", shown(note))),
        (None, None) => None,
    }
}

/// A state in the words of somebody who does not know Round's.
fn standing(state: &str) -> String {
    let words = match state {
        "activating" => "not in a ring yet",
        "terminating" => "leaving its ring",
        "stop" => "out of its ring",
        other => return shown(other),
    };
    words.to_owned()
}

fn ring(node: &NodeState, state: &ClusterState, paint: Paint) -> String {
    if node.state == "stop" {
        return paint.warn(&format!("none; its cluster is {}", shown(&node.cluster)));
    }
    let nodes = &state.cluster.nodes;
    let absent: Vec<String> = nodes
        .iter()
        .filter(|node| !node.alive)
        .map(|node| {
            let since = format!("{} for {}", shown(&node.called()), spoken_time(node.for_ms));
            match &node.giving_up {
                Some(it) => format!("{since} ({})", it.spoken()),
                None => since,
            }
        })
        .collect();
    let boards = if nodes.len() == 1 { "board" } else { "boards" };
    let near = match state.cluster.caveat() {
        Some(_) => " (this one and its neighbours: ring mode partial)",
        None => "",
    };
    let all = format!(
        "{} {boards} of cluster {}{near}",
        nodes.len(),
        shown(&node.cluster)
    );
    match (absent.is_empty(), state.cluster.settled) {
        (false, _) => format!(
            "{all}; {}",
            paint.warn(&format!("absent: {}", absent.join(", ")))
        ),
        (true, false) => format!("{all}, all present; boards are joining or leaving"),
        (true, true) if nodes.len() == 1 => {
            format!(
                "{all}; {}",
                paint.warn("no neighbour found, `roundel doctor` says why")
            )
        }
        (true, true) => format!("{all}, all present"),
    }
}

fn replicated(state: &ClusterState, stats: &NodeStats, paint: Paint) -> String {
    let holders = state.cluster.nodes.iter().filter(|n| !n.is_diskless());
    let copies = state
        .cluster
        .copies
        .unwrap_or(1)
        .min(holders.count())
        .max(1);
    if stats.store == "diskless" {
        let words = format!("not here: each key is on {copies} of the other boards");
        return paint.warn(&words);
    }
    let pending = match stats.handover_pending {
        0 => String::new(),
        n => format!("; {n} wait to be handed to other boards"),
    };
    if stats.under_replicated > 0 {
        let words = format!(
            "no: {} of {} keys here lack a copy{pending}",
            stats.under_replicated, stats.items
        );
        return paint.warn(&words);
    }
    let words = match copies {
        1 => format!("no: {} keys, on this board only; add a board", stats.items),
        _ => format!(
            "yes: {} keys here, each on {copies} boards{pending}",
            stats.items
        ),
    };
    if copies == 1 {
        paint.warn(&words)
    } else {
        paint.good(&words)
    }
}

fn unplug(stats: &NodeStats, paint: Paint) -> String {
    if stats.safe_to_unplug {
        return paint.good("yes");
    }
    match stats.unplug_reason.as_str() {
        "" => paint.bad("no"),
        reason => paint.bad(&format!("no: {}", shown(reason))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(nodes: serde_json::Value, stats: serde_json::Value) -> String {
        said_in("full", nodes, stats)
    }

    fn said_in(mode: &str, nodes: serde_json::Value, stats: serde_json::Value) -> String {
        let id = "ab".repeat(32);
        let node = json!({"name": "calm-heron", "version": "0.1.0", "cluster": "home", "hash": id,
            "addr": "10.0.0.1", "port": 38400, "state": "active"});
        let cluster = json!({"cluster": {"name": "home", "id": null, "settled": true,
            "copies": 3, "points": 128, "mode": mode, "nodes": nodes}});
        let mut all = json!({"uptime_ms": 65000, "items": 7, "handover_pending": 0,
            "under_replicated": 0, "safe_to_unplug": true, "unplug_reason": "",
            "problems": [], "store": "open"});
        for (key, value) in stats.as_object().unwrap() {
            all[key] = value.clone();
        }
        let read = |value| serde_json::from_value(value).unwrap();
        let cluster: ClusterState = serde_json::from_value(cluster).unwrap();
        let stats: NodeStats = serde_json::from_value(all).unwrap();
        let node: NodeState = read(node);
        words(&node, &cluster, &stats, Paint::PLAIN).join("\n")
    }

    fn node(name: &str, alive: bool) -> serde_json::Value {
        json!({"name": name, "hash": name, "addr": null, "port": null, "state": "active",
            "alive": alive, "for_ms": 3000})
    }

    #[test]
    fn who_may_write_is_said_plainly() {
        let of = |access: Option<&str>| {
            let mut cluster = json!({"cluster": {"name": "home", "nodes": []}});
            cluster["cluster"]["access"] = json!(access);
            super::access(&serde_json::from_value(cluster).unwrap(), Paint::PLAIN)
        };
        assert!(of(Some("keyed")).unwrap().contains("strangers may read"));
        assert!(
            of(Some("provisional"))
                .unwrap()
                .contains("may read and write until you confirm")
        );
        assert!(of(Some("open")).unwrap().contains("may join"));
        assert_eq!(of(None), None, "an older board says nothing");
    }

    #[test]
    fn store_is_said_with_its_medium() {
        let of = |state: &str, medium: serde_json::Value| {
            let node =
                json!({"cluster": "home", "hash": "ab", "state": "active", "medium": medium});
            let stats = json!({"uptime_ms": 1, "items": 0, "under_replicated": 0,
                "safe_to_unplug": true, "store": state});
            let stats = serde_json::from_value(stats).unwrap();
            super::store(&serde_json::from_value(node).unwrap(), &stats, Paint::PLAIN)
        };
        let disk = json!({"path": "/data/store", "device": "/dev/sda1", "file_system": "ext4"});
        let said = of("open", disk.clone());
        assert_eq!(said.as_deref(), Some("on /dev/sda1 (ext4), /data/store"));
        let said = of("read-only", disk);
        assert_eq!(
            said.as_deref(),
            Some("read-only, on /dev/sda1 (ext4), /data/store")
        );
        let memory = json!({"path": "/run/r", "device": "none", "file_system": "tmpfs"});
        assert_eq!(
            of("diskless", memory).as_deref(),
            Some("diskless, in memory, /run/r")
        );
        assert_eq!(of("closed", json!(null)).as_deref(), Some("closed"));
        assert_eq!(of("open", json!(null)), None, "an older board says nothing");
    }

    #[test]
    fn an_image_is_said_with_how_its_last_update_went() {
        let of = |image: serde_json::Value| {
            let node = json!({"cluster": "home", "hash": "ab", "state": "active", "image": image});
            let node = serde_json::from_value(node).unwrap();
            let lines = super::image(&node, Paint::PLAIN).map(|(name, it)| format!("{name}: {it}"));
            lines.collect::<Vec<_>>()
        };
        let mut image = json!({"board": "rpi4", "version": "0.2.0", "commit": "c".repeat(40),
            "slot": "a", "trial": true});
        assert_eq!(
            of(image.clone()),
            ["Image: 0.2.0 (cccccccc) for rpi4, slot a, on trial"]
        );
        image["last_update"] = json!({"outcome": "back", "version": "0.3.0", "reason": "a panic"});
        let said = of(image)[1].clone();
        assert_eq!(
            said,
            "Last update: 0.3.0 was tried, and the board fell back: a panic"
        );
        assert_eq!(of(json!(null)).len(), 0, "it was not started from one");
    }

    #[test]
    fn fingerprint_is_said_with_the_number_of_boards_or_why_there_is_none() {
        let of = |more: serde_json::Value| {
            let mut node = json!({"cluster": "home", "hash": "ab", "state": "active"});
            for (name, value) in more.as_object().unwrap() {
                node[name] = value.clone();
            }
            super::pairing(&serde_json::from_value(node).unwrap(), Paint::PLAIN)
        };
        assert_eq!(
            of(json!({"members": 3, "fingerprint": "012 345"})).as_deref(),
            Some(
                "fingerprint 012 345, 3 boards; compare both on every board, then `roundel key \
                 confirm`"
            )
        );
        assert_eq!(
            of(json!({"members": 2, "fingerprint": null, "fingerprint_note": "waits for b"})),
            Some("fingerprint waits for b, 2 boards".to_owned())
        );
        assert_eq!(of(json!({"members": 3, "fingerprint": null})), None);
        assert_eq!(of(json!({})), None, "an older board says nothing");
    }

    #[test]
    fn a_ring_that_is_well_says_so() {
        let said = said(json!([node("a", true), node("b", true)]), json!({}));
        assert!(
            said.contains("up 1 min 5 s, at http://10.0.0.1:38400"),
            "{said}"
        );
        assert!(
            said.contains("2 boards of cluster home, all present"),
            "{said}"
        );
        assert!(
            said.contains("yes: 7 keys here, each on 2 boards"),
            "{said}"
        );
        assert!(said.contains("Safe to unplug  yes"), "{said}");
        assert!(said.contains("Wrong           nothing"), "{said}");
    }

    #[test]
    fn a_neighbourhood_is_not_taken_for_the_ring() {
        let said = said_in(
            "partial",
            json!([node("a", true), node("b", true)]),
            json!({}),
        );
        let near = "2 boards of cluster home (this one and its neighbours: ring mode partial)";
        assert!(said.contains(near), "{said}");
    }

    #[test]
    fn what_is_wrong_comes_with_its_reason() {
        let said = said(
            json!([node("a", true), node("b", false)]),
            json!({"under_replicated": 3, "safe_to_unplug": false, "unplug_reason": "b is absent",
                "problems": ["b is absent; bring it back", "disk full"], "store": "read-only"}),
        );
        assert!(said.contains("absent: b for 3 s"), "{said}");
        assert!(said.contains("no: 3 of 7 keys here lack a copy"), "{said}");
        assert!(said.contains("no: b is absent"), "{said}");
        assert!(
            said.contains("disk full") && said.contains("read-only"),
            "{said}"
        );
    }

    #[test]
    fn a_board_without_a_data_partition_claims_no_copies() {
        let mut diskless = node("c", true);
        diskless["standing"] = json!("diskless");
        let nodes = json!([node("a", true), node("b", true), diskless]);
        let own = said(
            nodes.clone(),
            json!({"store": "diskless", "problems": ["No data partition."]}),
        );
        assert!(
            own.contains("not here: each key is on 2 of the other boards"),
            "{own}"
        );
        assert!(own.contains("Store           diskless"), "{own}");
        assert!(own.contains("Safe to unplug  yes"), "{own}");
        let other = said(nodes, json!({}));
        assert!(other.contains("each on 2 boards"), "{other}");
    }

    #[test]
    fn a_lone_board_does_not_claim_copies() {
        let said = said(json!([node("a", true)]), json!({}));
        assert!(said.contains("on this board only"), "{said}");
        assert!(said.contains("roundel doctor"), "{said}");
    }
}
