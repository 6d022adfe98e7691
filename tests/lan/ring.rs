//! Several nodes at once: starting them, waiting for their ring, filling and checking the bucket.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::node::{Node, RpcError, Start};
use crate::wait;

/// "Too few copies answered": nothing is known of the value's absence.
pub const UNAVAILABLE: i64 = -32_003;
/// "The key has no value": the ring is sure.
pub const NOT_FOUND: i64 = -32_004;
/// A ring of a few nodes has formed, healed or closed its ranks within this.
pub const SETTLED_MAX: Duration = Duration::from_secs(30);

/// Starts nodes on these boards at once; none is ready yet.
pub fn exec(lab: &Lab, boards: impl IntoIterator<Item = usize>) -> Vec<Node<'_>> {
    let start = |board| Node::exec(lab, board, Start::on(board));
    boards.into_iter().map(start).collect()
}

/// Starts nodes on these boards and waits for their ring, until all of them are members: while
/// others join, a ring counts on those alone that were there before.
pub fn form(lab: &Lab, boards: impl IntoIterator<Item = usize>) -> Vec<Node<'_>> {
    let mut nodes = exec(lab, boards);
    nodes.iter_mut().for_each(Node::wait_ready);
    wait_for_ring(&nodes, SETTLED_MAX);
    wait_until_settled(&nodes);
    nodes
}

/// Waits until none of the nodes knows of a board that is joining or leaving.
pub fn wait_until_settled(nodes: &[Node]) {
    let settled = |node: &Node| {
        let state = node.call("get_cluster_state", json!({}));
        let state = state.map_err(|error| format!("{}: {error:?}", node.name))?;
        let settled = state["cluster"]["settled"] == true;
        settled.then_some(()).ok_or_else(|| node.name.clone())
    };
    wait::until("all have settled", SETTLED_MAX, || {
        nodes.iter().try_for_each(settled)
    });
}

/// Ids of the nodes.
pub fn ids<'n, 'a: 'n>(nodes: impl IntoIterator<Item = &'n Node<'a>>) -> Vec<String> {
    nodes.into_iter().map(|node| node.id.clone()).collect()
}

/// Waits until each of the nodes sees exactly all of them alive, and its successor in id order.
/// Asks one at a time, so that asking takes little of the machine.
pub fn wait_for_ring(nodes: &[Node], deadline: Duration) -> Duration {
    let (start, ids) = (Instant::now(), ids(nodes));
    let look = || nodes.iter().try_for_each(|node| node.sees_ring(&ids));
    for node in nodes {
        let left = deadline.saturating_sub(start.elapsed());
        wait::until("the ring", left, || node.sees_ring(&ids));
    }
    let left = deadline
        .saturating_sub(start.elapsed())
        .max(Duration::from_secs(1));
    wait::until("the ring, all at once", left, look);
    start.elapsed()
}

/// Keys that were acknowledged, with what is under them.
#[derive(Default)]
pub struct Bucket {
    acknowledged: BTreeMap<String, String>,
    /// Values that may have been written: their put failed with an unknown outcome.
    uncertain: BTreeMap<String, Vec<String>>,
    puts: usize,
}

impl Bucket {
    /// Puts so many new keys, over the nodes in turn; every put must succeed.
    pub fn fill(&mut self, nodes: &[Node], count: usize) {
        for _ in 0..count {
            let node = &nodes[self.puts % nodes.len()];
            let key = format!("key {}", self.puts);
            if let Err(error) = self.put(node, &key) {
                panic!("{}: put {key:?}: {error:?}", node.name);
            }
        }
    }

    /// Puts a fresh value under a key.
    ///
    /// # Errors
    /// What the node answered; the value may or may not be stored.
    pub fn put(&mut self, node: &Node, key: &str) -> Result<Value, RpcError> {
        self.puts += 1;
        let value = format!("value {} of {}", self.puts, node.name);
        let answer = node.put(key, &value);
        match &answer {
            Ok(_) => {
                self.acknowledged.insert(key.to_owned(), value);
                self.uncertain.remove(key);
            }
            Err(_) => self
                .uncertain
                .entry(key.to_owned())
                .or_default()
                .push(value),
        }
        answer
    }

    /// A key that was removed: it is asked for no more.
    pub fn removed(&mut self, key: &str) {
        self.acknowledged.remove(key);
    }

    /// Keys that must have a value.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.acknowledged.keys()
    }

    /// How many those are.
    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    fn allows(&self, key: &str, value: &str) -> bool {
        let uncertain = self.uncertain.get(key);
        self.acknowledged[key] == value
            || uncertain.is_some_and(|values| values.iter().any(|held| held == value))
    }

    /// Everything acknowledged is read at each of the nodes, at the first try within `deadline`.
    pub fn check(&self, nodes: &[Node], deadline: Duration) {
        let start = Instant::now();
        for (index, key) in self.keys().enumerate() {
            // Every node over the run, each key at two of them.
            for node in [
                &nodes[index % nodes.len()],
                &nodes[(index + 1) % nodes.len()],
            ] {
                let left = deadline.saturating_sub(start.elapsed());
                let what = format!("{} has {key:?}", node.name);
                wait::until(&what, left, || match node.get(key) {
                    Ok(value) if self.allows(key, &value) => Ok(()),
                    Ok(value) => panic!("{what}: it has {value:?}"),
                    Err(error) if error.code == NOT_FOUND => panic!("{what}: {error:?}"),
                    Err(error) => Err(format!("{error:?}")),
                });
            }
        }
    }

    /// A scan over the whole ring gives exactly the acknowledged keys.
    pub fn check_scan(&self, node: &Node) {
        let mut found = Vec::new();
        let mut after = Value::Null;
        loop {
            let mut params = json!({"prefix": "key ", "limit": 50});
            if !after.is_null() {
                params["after"] = after;
            }
            let page = node.call("scan_items", params).expect("a whole ring scans");
            let items = page["items"].as_array().expect("a page has items");
            let key = |item: &Value| item["key"].as_str().unwrap_or_default().to_owned();
            found.extend(items.iter().map(key));
            after = page["next"].clone();
            if after.is_null() {
                break;
            }
        }
        let expected: Vec<_> = self.keys().filter(|key| key.starts_with("key ")).collect();
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            expected,
            "{}: scan",
            node.name
        );
    }
}
