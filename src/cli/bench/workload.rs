//! What the clients of a load do at a board: put, get or both, on keys of their own.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::connection::{Connection, Way};
use super::load::{Kind, Operation};
use crate::cli::args::Consistency;
use crate::cli::rpc::RpcError;

/// Characters of values: every value differs from the last under its key.
const LETTERS: &[u8; 16] = b"abcdefghijklmnop";
/// Letters of a value that change from one put to the next.
const CHANGING: usize = 16;
/// A board's code for a key that it does not have.
const CODE_NOT_FOUND: i64 = -32_004;

/// What the operations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mix {
    /// Puts.
    Put,
    /// Gets.
    Get,
    /// As many puts as gets, in no order.
    Mixed,
}

/// What all clients of a load have in common.
#[derive(Debug)]
pub struct Plan {
    prefix: String,
    digits: usize,
    value_bytes: usize,
    consistency: Option<&'static str>,
    /// Keys that were put, or may have been.
    put: Vec<AtomicBool>,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Random keys.
    Random(Mix),
    /// Every key once, in order: the number of the operation is the key's.
    Fill,
    /// The same, removed if it was put.
    Remove,
}

/// A client of a board.
pub struct Client {
    connection: Connection,
    plan: Arc<Plan>,
    task: Task,
    random: StdRng,
    document: Vec<u8>,
    calls: u64,
}

impl Plan {
    /// Keys are `prefix` and a number of `digits` digits or more, `keys` of them.
    pub fn new(prefix: String, digits: usize, keys: usize, value_bytes: usize) -> Self {
        Plan {
            prefix,
            digits,
            value_bytes,
            consistency: None,
            put: std::iter::repeat_with(AtomicBool::default)
                .take(keys)
                .collect(),
        }
    }

    /// Each call asks for so many copies.
    pub fn with_consistency(mut self, consistency: Option<Consistency>) -> Self {
        self.consistency = consistency.map(|it| match it {
            Consistency::One => "one",
            Consistency::Quorum => "quorum",
            Consistency::All => "all",
        });
        self
    }

    /// How many keys.
    pub fn keys(&self) -> u64 {
        self.put.len() as u64
    }

    /// What all keys begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How many keys were put, or may have been, and were not removed.
    pub fn left(&self) -> u64 {
        let put = |key: &&AtomicBool| key.load(Ordering::Relaxed);
        self.put.iter().filter(put).count() as u64
    }
}

impl Client {
    /// A client that reaches the board this way; `seed` makes its choices.
    pub fn new(way: Way, plan: Arc<Plan>, task: Task, seed: u64) -> Self {
        Client {
            connection: Connection::new(way),
            plan,
            task,
            random: StdRng::seed_from_u64(seed),
            document: Vec::new(),
            calls: 0,
        }
    }

    /// The same client and connection, for something else.
    pub fn for_task(mut self, task: Task) -> Self {
        self.task = task;
        self
    }

    async fn put(&mut self, key: usize) -> Result<Kind, RpcError> {
        self.begin("put", key);
        self.document.extend_from_slice(b",\"value\":\"");
        let (changing, letters) = (self.random.random::<u64>(), self.plan.value_bytes);
        let letter = |index: usize| {
            let shift = 4 * (index % CHANGING);
            LETTERS[(changing >> shift) as usize % LETTERS.len()]
        };
        self.document.extend((0..letters).map(letter));
        self.document.push(b'"');
        self.plan.put[key].store(true, Ordering::Relaxed);
        self.end().await?;
        Ok(Kind::Write)
    }

    async fn get(&mut self, key: usize) -> Result<Kind, RpcError> {
        self.begin("get", key);
        self.end().await?;
        Ok(Kind::Read)
    }

    async fn remove(&mut self, key: usize) -> Result<Kind, RpcError> {
        if self.plan.put[key].load(Ordering::Relaxed) {
            self.begin("remove", key);
            match self.end().await {
                Err(RpcError::Answer(answer)) if answer.code == CODE_NOT_FOUND => {}
                other => other?,
            }
            self.plan.put[key].store(false, Ordering::Relaxed);
        }
        Ok(Kind::Write)
    }

    /// Begins the document of a call on a key.
    fn begin(&mut self, method: &str, key: usize) {
        self.calls += 1;
        self.document.clear();
        let Plan { prefix, digits, .. } = &*self.plan;
        write!(
            self.document,
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"{method}\",\
             \"params\":{{\"key\":\"{prefix}{key:0digits$}\"",
            self.calls,
        )
        .expect("memory takes all bytes");
    }

    /// Ends and sends it.
    async fn end(&mut self) -> Result<(), RpcError> {
        if let Some(consistency) = self.plan.consistency {
            write!(self.document, ",\"consistency\":\"{consistency}\"")
                .expect("memory takes all bytes");
        }
        self.document.extend_from_slice(b"}}");
        self.connection.call(&self.document).await
    }
}

impl Operation for Client {
    type Error = RpcError;

    async fn once(&mut self, number: u64) -> Result<Kind, RpcError> {
        let keys = self.plan.put.len();
        let in_order = usize::try_from(number).unwrap_or(usize::MAX) % keys;
        let mix = match self.task {
            Task::Fill => return self.put(in_order).await,
            Task::Remove => return self.remove(in_order).await,
            Task::Random(mix) => mix,
        };
        let key = self.random.random_range(0..keys);
        match mix {
            Mix::Put => self.put(key).await,
            Mix::Get => self.get(key).await,
            Mix::Mixed if self.random.random() => self.put(key).await,
            Mix::Mixed => self.get(key).await,
        }
    }
}
