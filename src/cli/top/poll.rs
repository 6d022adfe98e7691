//! What `roundel top` asks a board, in one batch, and what it reads from the answers.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::cli::rpc::{Client, Route, RpcError};
use crate::cli::shape::{BoardStats, Cluster, ClusterState, NodeState, NodeStats};

/// In larger rings only the board that is asked shows its figures: every poll would make it ask
/// all the others.
const BOARDS_ASKED_MAX: usize = 32;

/// The answers to one batch, as the board sent them.
#[derive(Debug)]
pub struct Answers {
    node: Box<RawValue>,
    cluster_state: Box<RawValue>,
    stats: Box<RawValue>,
    boards: Option<Box<RawValue>>,
}

/// The same, read.
#[derive(Clone, Debug)]
pub struct Poll {
    /// The board that was asked.
    pub node: NodeState,
    /// Its cluster, the boards in the order of their ids.
    pub cluster: Cluster,
    /// Its figures.
    pub stats: NodeStats,
    /// Figures by id, of those boards that gave them; the one that was asked among them.
    pub boards: BTreeMap<String, NodeStats>,
}

/// Asks the board; with `every`, for the figures of all the others too.
///
/// # Errors
/// [`RpcError`] without answers to look at. Boards whose figures are missing are no error.
pub async fn ask(client: &mut Client, every: bool) -> Result<Answers, RpcError> {
    let mut calls = vec![
        ("get_node_state", Route::default()),
        ("get_cluster_state", Route::default()),
        ("get_node_stats", Route::default()),
    ];
    if every {
        let all = Route {
            dest: Some("*".to_owned()),
            forward: false,
        };
        calls.push(("get_node_stats", all));
    }
    let mut answers = client.batch(&calls).await?.into_iter();
    let mut next = || answers.next().expect("a batch has a result for every call");
    Ok(Answers {
        node: next()?,
        cluster_state: next()?,
        stats: next()?,
        boards: if every { next().ok() } else { None },
    })
}

impl Answers {
    /// Reads them.
    ///
    /// # Errors
    /// What is not as a board of ours would say it.
    pub fn read(&self) -> Result<Poll, serde_json::Error> {
        let node: NodeState = serde_json::from_str(self.node.get())?;
        let state: ClusterState = serde_json::from_str(self.cluster_state.get())?;
        let stats: NodeStats = serde_json::from_str(self.stats.get())?;
        let entries: Vec<BoardStats> = match &self.boards {
            Some(boards) => serde_json::from_str(boards.get())?,
            None => Vec::new(),
        };
        let given = |entry: BoardStats| Some((entry.dest, entry.result?));
        let mut boards: BTreeMap<_, _> = entries.into_iter().filter_map(given).collect();
        boards.insert(node.hash.clone(), stats.clone());
        let mut cluster = state.cluster;
        cluster.nodes.sort_by(|a, b| a.hash.cmp(&b.hash));
        Ok(Poll {
            node,
            cluster,
            stats,
            boards,
        })
    }

    /// All of them as one JSON object on one line.
    pub fn to_json(&self) -> String {
        let boards = self.boards.as_ref().map_or("null", |boards| boards.get());
        let json = format!(
            "{{\"node\":{},\"cluster_state\":{},\"stats\":{},\"boards\":{boards}}}",
            self.node.get(),
            self.cluster_state.get(),
            self.stats.get()
        );
        json.replace(['\n', '\r'], " ")
    }
}

impl Poll {
    /// The ring is small enough to ask every board for its figures.
    pub fn asks_every(&self) -> bool {
        (2..=BOARDS_ASKED_MAX).contains(&self.cluster.nodes.len())
    }
}
