//! The boards a shell knows by name, id or address.

use serde::Deserialize;

use crate::cli::failure::{Failure, Kind};
use crate::cli::out::shown;
use crate::cli::shape::{NodeState, address, short};
use crate::cli::target::Found;
use crate::config::valid::PORT_DEFAULT;

/// Start of an id that names a board.
const ID_DIGITS_MIN: usize = 4;

/// A board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What people call it, if somebody has said so.
    pub name: Option<String>,
    /// 64 hex digits.
    pub id: String,
    /// The name of its cluster.
    pub cluster: String,
    /// `ip:port`.
    pub address: Option<String>,
    /// In Round's words.
    pub state: String,
}

/// `get_network_state`.
#[derive(Clone, Debug, Deserialize)]
pub struct NetworkState {
    /// Every cluster the board hears of.
    pub clusters: Vec<Heard>,
}

/// A cluster of the network.
#[derive(Clone, Debug, Deserialize)]
pub struct Heard {
    /// Its boards.
    pub nodes: Vec<NodeState>,
}

/// See the module; in the order of cluster and id.
#[derive(Clone, Debug, Default)]
pub struct Boards(Vec<Known>);

impl Boards {
    /// Takes note of what a board said of its network.
    pub fn learn(&mut self, network: NetworkState) {
        for node in network.clusters.into_iter().flat_map(|it| it.nodes) {
            self.add(Known {
                address: address(node.addr.as_deref(), node.port),
                name: node.name,
                id: node.hash,
                cluster: node.cluster,
                state: node.state,
            });
        }
    }

    /// Takes note of a board that answered a search.
    pub fn found(&mut self, found: &Found) {
        self.add(Known {
            name: None,
            id: found.id.to_string(),
            cluster: found.cluster.clone(),
            address: Some(found.address.to_string()),
            state: "unknown".to_owned(),
        });
    }

    fn add(&mut self, mut board: Known) {
        match self.0.iter_mut().find(|known| known.id == board.id) {
            Some(known) => {
                board.name = board.name.or_else(|| known.name.take());
                board.address = board.address.or_else(|| known.address.take());
                *known = board;
            }
            None => self.0.push(board),
        }
        self.0
            .sort_by(|a, b| (&a.cluster, &a.id).cmp(&(&b.cluster, &b.id)));
    }

    /// All of them.
    pub fn all(&self) -> &[Known] {
        &self.0
    }

    /// The board a person means; none when nobody is called so.
    ///
    /// # Errors
    /// [`Failure`] of usage when several are.
    pub fn pick(&self, called: &str) -> Result<Option<&Known>, Failure> {
        let lower = called.to_ascii_lowercase();
        let with_port = format!("{called}:{PORT_DEFAULT}");
        let fits = |known: &&Known| {
            known.name.as_deref() == Some(called)
                || (lower.len() >= ID_DIGITS_MIN && known.id.starts_with(&lower))
                || known
                    .address
                    .as_ref()
                    .is_some_and(|it| it == called || *it == with_port)
        };
        let mut fitting = self.0.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (found, None) => Ok(found),
            _ => Err(Failure::usage(
                format!("several boards are called '{}'", shown(called)),
                "give the address, or more of the id; `list` shows them",
            )),
        }
    }
}

impl Known {
    /// Its name, else the start of its id.
    pub fn called(&self) -> String {
        self.name.clone().unwrap_or_else(|| short(&self.id))
    }
}

/// Nobody is called so.
pub fn nobody(called: &str) -> Failure {
    Failure::new(
        Kind::NotFound,
        format!("no board is called '{}'", shown(called)),
        "`list` shows the boards that are known, `search` looks for others on the LAN",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boards() -> Boards {
        let node = |name: Option<&str>, digit: &str, port: u16| {
            serde_json::json!({"name": name, "cluster": "home", "hash": digit.repeat(64),
                "addr": "10.0.0.1", "port": port, "state": "active"})
        };
        let nodes = [
            node(Some("roof"), "b", 1),
            node(Some("attic"), "a", 38_400),
            node(Some("attic"), "c", 3),
        ];
        let state = serde_json::json!({"clusters": [{"nodes": nodes}]});
        let mut boards = Boards::default();
        boards.learn(serde_json::from_value(state).unwrap());
        boards
    }

    #[test]
    fn a_board_is_picked_by_name_id_or_address() {
        let boards = boards();
        let id = |called: &str| {
            boards
                .pick(called)
                .unwrap()
                .map(|known| known.id[..1].to_owned())
        };
        assert_eq!(id("roof").as_deref(), Some("b"));
        assert_eq!(id("CCCC").as_deref(), Some("c"));
        assert_eq!(id("10.0.0.1").as_deref(), Some("a"));
        assert_eq!(id("10.0.0.1:3").as_deref(), Some("c"));
        assert_eq!(id("bbb"), None);
        assert_eq!(boards.pick("attic").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_search_does_not_forget_names() {
        let mut boards = boards();
        boards.found(&Found {
            id: "b".repeat(64).parse().unwrap(),
            cluster: "home".to_owned(),
            address: "10.0.0.7:5".parse().unwrap(),
        });
        assert_eq!(boards.all().len(), 3);
        let roof = boards.pick("roof").unwrap().unwrap();
        assert_eq!(roof.address.as_deref(), Some("10.0.0.7:5"));
    }
}
