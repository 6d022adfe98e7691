//! Clients that put distinct keys as long as they are let, and remember what was acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::netns::Agent;
use crate::node::{Node, call};
use crate::ring;
use crate::wait;

/// Between two puts of a client.
const PACE: Duration = Duration::from_millis(20);
/// Reads at the end are tried again for this long while too few copies answer.
const READ_TIME_MAX: Duration = Duration::from_secs(60);

/// What a client was told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<(Instant, String)>,
    /// Puts that were not acknowledged, by code.
    refused: BTreeMap<i64, usize>,
}

/// Clients at work, one on each of some boards, each asking the node of its own board.
pub struct Load {
    start: Instant,
    stop: Arc<AtomicBool>,
    clients: Vec<(Agent, mpsc::Receiver<Told>)>,
}

/// What became of a load.
pub struct Outcome {
    /// Acknowledged keys; the value of each is the key.
    pub keys: Vec<String>,
    /// Puts that were not acknowledged, by code; 0 is a node that did not answer.
    pub refused: BTreeMap<i64, usize>,
    /// The longest time in which no client at all had a put acknowledged.
    pub gap_max: Duration,
}

impl Load {
    /// Starts a client beside each of these nodes. `name` tells its keys from those of others.
    pub fn start<'n, 'a: 'n>(name: &str, nodes: impl IntoIterator<Item = &'n Node<'a>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |node: &Node| {
            // Its node's agent has to start and stop that node meanwhile.
            let agent = node.board().visitor();
            let (to, stop) = (node.endpoint(), stop.clone());
            let prefix = format!("{name} {}", node.name);
            let told = agent.begin(move || put_until(&stop, to, &prefix));
            (agent, told)
        };
        let clients = nodes.into_iter().map(client).collect();
        Load {
            start: Instant::now(),
            stop,
            clients,
        }
    }

    /// Ends it.
    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let end = Instant::now();
        let mut outcome = Outcome {
            keys: Vec::new(),
            refused: BTreeMap::new(),
            gap_max: Duration::ZERO,
        };
        let mut times = vec![self.start, end];
        for (_agent, told) in &self.clients {
            let told = told.recv().expect("a client ends");
            for (code, count) in told.refused {
                *outcome.refused.entry(code).or_default() += count;
            }
            for (at, key) in told.acknowledged {
                times.push(at.min(end));
                outcome.keys.push(key);
            }
        }
        times.sort();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        outcome.gap_max = gaps.max().expect("a start and an end are two");
        outcome
    }
}

fn put_until(stop: &AtomicBool, to: SocketAddr, prefix: &str) -> Told {
    let mut told = Told::default();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{prefix} {number}");
        match call(to, "put", json!({"key": key, "value": key})) {
            Ok(_) => told.acknowledged.push((Instant::now(), key)),
            Err(error) => *told.refused.entry(error.code).or_default() += 1,
        }
        thread::sleep(PACE);
    }
    told
}

impl Outcome {
    /// Reads every acknowledged key at two of the nodes; prints what was found.
    ///
    /// # Panics
    /// When one is lost or another value is there, or it cannot be read for long.
    pub fn check(&self, what: &str, nodes: &[Node]) {
        let start = Instant::now();
        let readers: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(at, node)| {
                let turn = |index: usize| (index + at) % nodes.len() < 2;
                let keys = self.keys.iter().enumerate();
                let keys = keys.filter(|(index, _)| turn(*index));
                let keys: Vec<_> = keys.map(|(_, key)| key.clone()).collect();
                let to = node.endpoint();
                node.board().agent().begin(move || {
                    let lost = keys.iter().filter(|key| !holds(to, key));
                    lost.cloned().collect::<Vec<_>>()
                })
            })
            .collect();
        let lost: Vec<String> = readers
            .into_iter()
            .flat_map(|reader| reader.recv().expect("a reader ends"))
            .collect();
        println!(
            "{what}: {} puts acknowledged, {} lost; refused by code {:?}; longest gap between \
             acknowledged puts {:?}; read back in {:?}",
            self.keys.len(),
            lost.len(),
            self.refused,
            self.gap_max,
            start.elapsed()
        );
        assert!(lost.is_empty(), "lost: {lost:?}");
        assert!(!self.keys.is_empty(), "nothing was put");
    }
}

fn holds(to: SocketAddr, key: &str) -> bool {
    let what = format!("{to} has {key:?}");
    wait::until(&what, READ_TIME_MAX, || {
        match call(to, "get", json!({"key": key})) {
            Ok(found) => Ok(found["value"] == key),
            Err(error) if error.code == ring::NOT_FOUND => Ok(false),
            Err(error) => Err(format!("{error:?}")),
        }
    })
    .0
}
