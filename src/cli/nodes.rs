//! `roundel nodes`: the boards of the cluster; `--forget` strikes one off.

use std::io::Write;

use serde_json::json;

use super::args::ClientArgs;
use super::failure::{Failure, Kind};
use super::out::{Out, Paint, shown, spoken_time, table};
use super::picture::Mark;
use super::shape::{ClusterState, Node, NodeState, short};
use super::target;
use crate::base::id::Id;

/// Arguments of `roundel nodes`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
--forget is for a board that will not come back: its place in the ring is given to the others, \
which then restore the copies it held. To take a board out that still runs, use `roundel leave` \
on it instead.")]
pub struct Args {
    /// Strike this absent board off for good, by id, start of the id, or name.
    #[arg(long, value_name = "ID|NAME")]
    forget: Option<String>,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Lists the boards, or forgets one.
///
/// # Errors
/// [`Failure`] of the target or a call; of kind not found for a board nobody knows.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let mut client = target::connect(&args.client).await?;
    if let Some(called) = &args.forget {
        let state: ClusterState = client.call_as("get_cluster_state", &json!({})).await?;
        let id = pick(&state.cluster.nodes, called)?;
        let result = client.call("remove_node", &json!({"node": id})).await?;
        if args.client.json {
            writeln!(out, "{}", result.get())?;
        } else {
            writeln!(out, "forgotten {} ({})", shown(called), short(&id))?;
        }
        return Ok(());
    }
    if args.client.json {
        let result = client.call("get_cluster_state", &json!({})).await?;
        return Ok(writeln!(out, "{}", result.get())?);
    }
    let this: NodeState = client.call_as("get_node_state", &json!({})).await?;
    let mut state: ClusterState = client.call_as("get_cluster_state", &json!({})).await?;
    state.cluster.nodes.sort_by(|a, b| a.hash.cmp(&b.hash));
    write!(
        out,
        "{}",
        table_of(&state.cluster.nodes, &this.hash, out.paint)
    )?;
    if let Some(caveat) = state.cluster.caveat() {
        writeln!(out, "{caveat}")?;
    }
    Ok(())
}

/// How a board is marked when the board `this` was asked.
pub(super) fn mark(node: &Node, this: &str) -> Mark {
    match (node.hash == this, node.alive, node.suspect) {
        (true, ..) => Mark::This,
        (_, false, _) => Mark::Dead,
        (_, true, true) => Mark::Suspect,
        _ if node.is_diskless() => Mark::Diskless,
        _ => Mark::Alive,
    }
}

/// How a board is, in a word or two.
pub(super) fn standing(node: &Node) -> String {
    match (node.alive, node.suspect, node.standing.as_str()) {
        (false, ..) => match &node.giving_up {
            Some(it) => format!("absent, {}", it.spoken()),
            None => "absent".to_owned(),
        },
        (true, true, _) => "suspected".to_owned(),
        (true, false, "" | "member") => shown(&node.state),
        (true, false, standing) => shown(standing),
    }
}

/// The boards, a row each, numbered in the order they come in.
pub(super) fn table_of(nodes: &[Node], this: &str, paint: Paint) -> String {
    let head = [
        "#", "", "NAME", "ID", "ADDRESS", "STATE", "SINCE", "VERSION",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(nodes.iter().enumerate().map(|(index, node)| {
        let state = match node.alive && !node.suspect && node.is_diskless() {
            true => paint.bad(&standing(node)),
            false => standing(node),
        };
        vec![
            (index + 1).to_string(),
            mark(node, this).sign().to_string(),
            shown(&node.called()),
            short(&node.hash),
            node.address().unwrap_or_else(|| "unknown".to_owned()),
            state,
            spoken_time(node.for_ms),
            node.version.as_deref().map(shown).unwrap_or_default(),
        ]
    }));
    table(&rows, paint)
}

/// The id of the board a person means: a whole id, the start of one, or a name, if only one
/// fits.
fn pick(nodes: &[Node], called: &str) -> Result<String, Failure> {
    if let Ok(id) = called.parse::<Id>() {
        return Ok(id.to_string());
    }
    let lower = called.to_ascii_lowercase();
    let fits = |node: &&Node| {
        node.name.as_deref() == Some(called) || (lower.len() >= 4 && node.hash.starts_with(&lower))
    };
    let mut fitting = nodes.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(node), None) => Ok(node.hash.clone()),
        (None, _) => Err(Failure::new(
            Kind::NotFound,
            format!("no board is called '{}'", shown(called)),
            "`roundel nodes` lists them; give the name, or at least 4 digits of the id",
        )),
        _ => Err(Failure::usage(
            format!("several boards are called '{}'", shown(called)),
            "give more of the id; `roundel nodes --json` shows the ids in full",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, id: char, alive: bool) -> Node {
        serde_json::from_value(json!({
            "name": name, "hash": id.to_string().repeat(64), "addr": "10.0.0.1", "port": 38400,
            "state": if alive { "active" } else { "stop" }, "standing": "member",
            "alive": alive, "for_ms": 5000, "version": "0.1.0",
        }))
        .unwrap()
    }

    #[test]
    fn a_board_is_picked_by_name_or_start_of_id() {
        let nodes = [node("attic", 'a', true), node("cellar", 'b', true)];
        assert_eq!(pick(&nodes, "cellar").unwrap(), "b".repeat(64));
        assert_eq!(pick(&nodes, "AAAA").unwrap(), "a".repeat(64));
        assert_eq!(pick(&nodes, &"C".repeat(64)).unwrap(), "c".repeat(64));
        assert_eq!(pick(&nodes, "aaa").unwrap_err().exit_code(), 3);
        assert_eq!(pick(&nodes, "roof").unwrap_err().exit_code(), 3);
    }

    #[test]
    fn a_name_that_two_boards_share_is_not_guessed_at() {
        let nodes = [node("attic", 'a', true), node("attic", 'b', true)];
        assert_eq!(pick(&nodes, "attic").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_board_without_a_data_partition_is_a_fault_in_colour_and_columns_stay() {
        let mut nodes = [node("attic", 'a', true), node("cellar", 'b', true)];
        nodes[1].standing = "diskless".to_owned();
        let plain = table_of(&nodes, &"a".repeat(64), Paint::PLAIN);
        assert!(
            plain.lines().nth(2).unwrap().starts_with("2  !  cellar"),
            "{plain}"
        );
        let coloured = table_of(&nodes, &"a".repeat(64), Paint::COLOURED);
        let fault = Paint::COLOURED.bad("diskless");
        assert!(coloured.contains(&fault), "{coloured}");
        let since = |text: &str| text.lines().nth(2).unwrap().replace(&fault, "diskless");
        assert_eq!(since(&coloured), since(&plain));
    }

    #[test]
    fn the_table_marks_this_board_and_the_absent() {
        let nodes = [node("attic", 'a', true), node("cellar", 'b', false)];
        let table = table_of(&nodes, &"a".repeat(64), Paint::PLAIN);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].starts_with("1  @  attic"), "{table}");
        assert!(lines[2].starts_with("2  x  cellar"), "{table}");
        assert!(
            lines[2].contains("absent") && lines[2].contains("5 s"),
            "{table}"
        );
    }
}
