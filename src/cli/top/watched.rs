//! The board that is asked: the one that was named, until it goes away; then another of its ring.
//!
//! The first failure may be a restart and is only told. At the second the boards that were present
//! at the last answer are asked in turn, and the first that answers for the same cluster is asked
//! from then on. While none does, the one asked last is tried again first.

use std::net::SocketAddr;
use std::time::Duration;

use super::poll::{self, Poll};
use crate::cli::rpc::{Client, RpcError};

/// Failures in a row after which other boards are asked.
const FAILURES_MAX: u32 = 2;
/// Other boards asked before the named one is tried again.
const OTHERS_MAX: usize = 8;
/// Another board answers the first time within this.
const OTHER_TIME_MAX: Duration = Duration::from_secs(2);

/// What a look came to.
#[derive(Debug)]
pub enum Look {
    /// The board answered.
    Answered(Box<Poll>),
    /// Another one is asked from now on, and this is what it answered.
    Moved(SocketAddr, Box<Poll>),
    /// Nobody answered; why the board that is asked did not.
    Lost(String),
}

/// See the module.
pub struct Watched {
    client: Client,
    answer_time_max: Duration,
    /// The ring is small enough to ask every board for its figures.
    every: bool,
    failures: u32,
    /// Where the others were at the last answer, and of which cluster they are.
    others: Vec<SocketAddr>,
    cluster: String,
}

impl Watched {
    /// Nothing was asked yet.
    pub fn new(client: Client, answer_time_max: Duration) -> Self {
        Watched {
            client: client.with_answer_time_max(answer_time_max),
            answer_time_max,
            every: false,
            failures: 0,
            others: Vec::new(),
            cluster: String::new(),
        }
    }

    /// Asks the board, and others when it has gone away.
    pub async fn look(&mut self) -> Look {
        match ask(&mut self.client, self.every).await {
            Ok(poll) => {
                self.heard(&poll);
                Look::Answered(Box::new(poll))
            }
            Err(error) => {
                self.failures += 1;
                match self.failures >= FAILURES_MAX {
                    true => self.look_elsewhere(&error).await,
                    false => Look::Lost(error.to_string()),
                }
            }
        }
    }

    async fn look_elsewhere(&mut self, error: &RpcError) -> Look {
        for _ in 0..self.others.len().min(OTHERS_MAX) {
            // Each in turn, also over several looks.
            self.others.rotate_left(1);
            let to = *self.others.last().expect("it was counted");
            let mut client = Client::new(to).with_answer_time_max(OTHER_TIME_MAX);
            let Ok(poll) = ask(&mut client, false).await else {
                continue;
            };
            if poll.node.cluster == self.cluster {
                self.client = client.with_answer_time_max(self.answer_time_max);
                self.heard(&poll);
                return Look::Moved(to, Box::new(poll));
            }
        }
        Look::Lost(error.to_string())
    }

    fn heard(&mut self, poll: &Poll) {
        self.failures = 0;
        self.every = poll.asks_every();
        self.others = others(poll);
        self.cluster.clone_from(&poll.node.cluster);
    }
}

/// Where the boards are that are present, but for the one that answered.
fn others(poll: &Poll) -> Vec<SocketAddr> {
    let nodes = poll.cluster.nodes.iter();
    let present = nodes.filter(|node| node.alive && node.hash != poll.node.hash);
    present
        .filter_map(|node| node.address()?.parse().ok())
        .collect()
}

async fn ask(client: &mut Client, every: bool) -> Result<Poll, RpcError> {
    let answers = poll::ask(client, every).await?;
    answers.read().map_err(|error| RpcError::Foreign {
        address: client.address(),
        status: 200,
        excerpt: error.to_string(),
    })
}
