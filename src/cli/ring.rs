//! `roundel ring`: a picture of the ring, and the table that goes with it.

use std::io::Write;

use serde_json::json;

use super::args::ClientArgs;
use super::failure::Failure;
use super::nodes;
use super::out::{Out, shown};
use super::picture::{self, Board};
use super::shape::{Cluster, ClusterState, Node, NodeState};
use super::target;

/// More boards than these are labelled by their number in the table.
const NAMES_MAX: usize = 20;

/// Arguments of `roundel ring`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Boards stand at their ids, clockwise from the top: @ the board that was asked, o alive, \
? suspected, ! without a data partition, x absent. Each id on the circle belongs to the next board \
clockwise.")]
pub struct Args {
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Draws the ring as one board sees it.
///
/// # Errors
/// [`Failure`] of the target or a call.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let mut client = target::connect(&args.client).await?;
    if args.client.json {
        let result = client.call("get_cluster_state", &json!({})).await?;
        return Ok(writeln!(out, "{}", result.get())?);
    }
    let this: NodeState = client.call_as("get_node_state", &json!({})).await?;
    let mut state: ClusterState = client.call_as("get_cluster_state", &json!({})).await?;
    state.cluster.nodes.sort_by(|a, b| a.hash.cmp(&b.hash));
    let nodes = &state.cluster.nodes;
    let (boards, centre) = places(&state.cluster, &this.hash);
    for line in picture::draw(&boards, &centre, out.width().min(100), out.paint) {
        writeln!(out, "{line}")?;
    }
    writeln!(out)?;
    write!(out, "{}", nodes::table_of(nodes, &this.hash, out.paint))?;
    if let Some(caveat) = state.cluster.caveat() {
        writeln!(out, "{caveat}")?;
    }
    Ok(())
}

/// What the picture of a cluster shows, asked of the board `this`: the boards, in the order of the
/// cluster's list, and the words in the middle.
pub(super) fn places(cluster: &Cluster, this: &str) -> (Vec<Board>, [String; 2]) {
    let nodes = &cluster.nodes;
    let boards = nodes.iter().enumerate().map(|(index, node)| Board {
        turn: picture::turn_of(&node.hash),
        mark: nodes::mark(node, this),
        label: label(node, index, nodes.len()),
    });
    let present = nodes.iter().filter(|node| node.alive).count();
    let centre = [
        shown(&cluster.name),
        format!("{present} of {} present", nodes.len()),
    ];
    (boards.collect(), centre)
}

fn label(node: &Node, index: usize, boards: usize) -> String {
    if boards <= NAMES_MAX {
        super::out::shortened(&shown(&node.called()), 20)
    } else {
        (index + 1).to_string()
    }
}
