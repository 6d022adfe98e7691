//! The flash store: keeps what the machines ask to be kept, and answers what they ask to read.
//!
//! A handle with two threads behind it, since fjall must never be called from an async one:
//!
//! - start: [`Store::open`] returns at once. The committer opens the database (a second after
//!   heavy use) and reports [`StoreReply::Opened`]; what was asked before that waits.
//! - steady state: the committer takes every batch that waits, up to one group, compares and
//!   writes it with one sync and answers each; the next group gathers during the sync, so one
//!   client alone never waits for others. The reader serves loads meanwhile. With nothing asked
//!   neither wakes, and nothing is written.
//! - distress: a medium that fills up refuses puts, then removes, before they touch the database.
//!   A failed commit is never tried again: its batches are indeterminate, the database is dropped,
//!   opened anew and probed, and the store says `degraded` until a group has succeeded. A second
//!   failure in a row makes it read-only, until a restart, or until there is room again when that
//!   was the cause.
//! - end: [`Store::close`], or dropping the handle, commits what waits and joins the threads.
//!
//! ```text
//! starting ──► open ◄──────────┐
//!    │          │ commit failed│probe succeeded
//!    │          ▼              │
//!    │       reopening ────────┘
//!    │          │ probe failed, or a second failure in a row
//!    ▼          ▼
//!  closed    read-only
//! ```
//!
//! It knows nothing of copies, hints or the ring. The contract is `base/store.rs`; settings and
//! levels come from measurements of fjall 3.1 on boards (see `medium`, `space`).

mod committer;
mod format;
mod group;
mod journal;
mod manifest;
mod medium;
mod reader;
mod space;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use crate::base::limit;
use crate::base::store::{Batch, Load, LoadId, Loaded, Outcome, StoreError, StoreId};
use crate::base::tree::Tree;
use crate::base::version::Stamp;

use committer::Committer;
pub use format::STORE_FORMAT;
use medium::Medium;
pub use medium::OpenError;
use reader::Reader;
pub use space::FreeSpaceLevels;

/// What the store tells the driver.
#[derive(Debug)]
pub enum StoreReply {
    /// Once, after [`Store::open`]: what was kept, or why there is no store.
    Opened(Result<Opened, OpenError>),
    /// To [`Store::load`].
    Loaded(LoadId, Result<Loaded, StoreError>),
    /// To [`Store::commit`]: an outcome for each change of the batch, in its order.
    Stored(StoreId, Result<Vec<Outcome>, StoreError>),
}

/// What a store held when it opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Every named value, by name.
    pub metas: Vec<(String, Bytes)>,
    /// The highest stamp that any batch carried.
    pub high_water: Option<Stamp>,
}

/// How a store is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Below how many free bytes writes are refused.
    pub free_space: FreeSpaceLevels,
    /// A store of another format is refused: the image is on trial, and what was before it has to
    /// read the store still.
    pub keep_format: bool,
}

/// Where a store is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The database is being opened.
    #[default]
    Starting,
    /// It serves.
    Open,
    /// It serves loads alone.
    ReadOnly,
    /// There is no database.
    Closed,
}

impl State {
    /// The word people are shown.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Open => "open",
            State::ReadOnly => "read-only",
            State::Closed => "closed",
        }
    }
}

/// A snapshot of the store for people and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Where it is in its life.
    pub state: State,
    /// The last commit failed and none has succeeded since.
    pub degraded: bool,
    /// Why it is degraded, read-only or closed; empty when all is well.
    pub reason: String,
    /// Keys with a value.
    pub items: u64,
    /// Keys that were removed.
    pub tombstones: u64,
    /// Bytes of tables and journals, as of the last group.
    pub disk_bytes: u64,
    /// Free bytes of the medium at the last look.
    pub free_bytes: u64,
    /// Records and blocks that could not be read since the start.
    pub corrupt: u64,
    /// Groups made durable since the start, a sync each.
    pub groups: u64,
    /// Batches answered with success since the start.
    pub batches: u64,
    /// Times the database was opened anew after a failure.
    pub reopened: u64,
}

/// The handle. Its calls never block; answers come over the channel given to [`Store::open`].
pub struct Store {
    shared: Arc<Shared>,
    commits: Option<mpsc::Sender<(StoreId, Batch)>>,
    loads: Option<mpsc::Sender<(LoadId, Load)>>,
    threads: Vec<JoinHandle<()>>,
    replies: UnboundedSender<StoreReply>,
}

impl Store {
    /// Starts the threads of a store below the directory `path`; [`StoreReply::Opened`] follows.
    ///
    /// # Panics
    /// When the system gives no thread.
    pub fn open(path: &Path, options: Options, replies: UnboundedSender<StoreReply>) -> Self {
        let shared = Arc::new(Shared::default());
        let (commits, commit_queue) = mpsc::channel();
        let (loads, load_queue) = mpsc::channel();
        let committer = Committer::new(path, options, shared.clone(), commit_queue, &replies);
        let reader = Reader::new(shared.clone(), load_queue, replies.clone());
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .stack_size(THREAD_STACK_BYTES)
                .spawn(run)
                .expect("the system gives a thread at start")
        };
        Store {
            shared,
            commits: Some(commits),
            loads: Some(loads),
            threads: vec![
                start("store commit", Box::new(move || committer.run())),
                start("store read", Box::new(move || reader.run())),
            ],
            replies,
        }
    }

    /// A store without a medium: says so once and refuses everything.
    pub fn absent(replies: UnboundedSender<StoreReply>) -> Self {
        let shared = Arc::new(Shared::default());
        *shared.status() = Status {
            state: State::Closed,
            reason: OpenError::NoMedium.to_string(),
            ..Status::default()
        };
        let _ = replies.send(StoreReply::Opened(Err(OpenError::NoMedium)));
        Store {
            shared,
            commits: None,
            loads: None,
            threads: Vec::new(),
            replies,
        }
    }

    /// Asks for a read; [`StoreReply::Loaded`] follows. It sees every batch answered before.
    pub fn load(&self, id: LoadId, load: Load) {
        let queued = self.loads.as_ref().is_some_and(|queue| {
            reserve(&self.shared.loads_waiting) && queue.send((id, load)).is_ok()
        });
        if !queued {
            let error = self.shared.refusal();
            let _ = self.replies.send(StoreReply::Loaded(id, Err(error)));
        }
    }

    /// Asks for a batch to be made durable; [`StoreReply::Stored`] follows. Batches take effect in
    /// the order of these calls.
    ///
    /// # Panics
    /// On the committer, when a meta's name begins with a dot: those are the store's own.
    pub fn commit(&self, id: StoreId, batch: Batch) {
        let queued = self.commits.as_ref().is_some_and(|queue| {
            reserve(&self.shared.commits_waiting) && queue.send((id, batch)).is_ok()
        });
        if !queued {
            let error = self.shared.refusal();
            let _ = self.replies.send(StoreReply::Stored(id, Err(error)));
        }
    }

    /// Where the store is and what it holds, without touching the medium.
    pub fn status(&self) -> Status {
        self.shared.status().clone()
    }

    /// What [`Tree::total`] says of everything that is durable.
    pub fn tree_digest(&self) -> u128 {
        self.shared.tree().total()
    }

    /// Commits what waits, closes the database and joins the threads. Blocks for a sync or two:
    /// not for an async thread. Dropping the handle does the same.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.commits = None;
        self.loads = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.shared.status().state = State::Closed;
    }
}

/// Bytes of a store thread's stack: the deepest path, a compaction's start, is far below it.
const THREAD_STACK_BYTES: usize = 512 * 1_024;

/// What the handle and both threads share.
#[derive(Default)]
struct Shared {
    /// None while it is being opened (anew), and when there is none.
    medium: RwLock<Option<Medium>>,
    opening_ended: Mutex<bool>,
    opening_ended_signal: Condvar,
    status: Mutex<Status>,
    /// As it is on the medium.
    tree: Mutex<Tree>,
    loads_waiting: AtomicUsize,
    commits_waiting: AtomicUsize,
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing is read or written at the moment.
    fn refusal(&self) -> StoreError {
        let status = self.status();
        StoreError::Closed(match status.state {
            State::Closed => status.reason.clone(),
            _ => format!("{} requests wait already", limit::STORE_QUEUE_MAX),
        })
    }

    fn opening_ended(&self) {
        let mut ended = self
            .opening_ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *ended = true;
        self.opening_ended_signal.notify_all();
    }

    fn wait_for_opening(&self) {
        let ended = self
            .opening_ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waited = self.opening_ended_signal.wait_while(ended, |ended| !*ended);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn note_corrupt(&self, what: &dyn std::fmt::Display, error: &dyn std::fmt::Display) {
        self.status().corrupt += 1;
        tracing::warn!(%what, %error, "a record on flash cannot be read");
    }
}

/// Takes a place in a queue; false when it is full.
fn reserve(waiting: &AtomicUsize) -> bool {
    let free = |count| (count < limit::STORE_QUEUE_MAX).then_some(count + 1);
    let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
    waiting.fetch_update(set, fetch, free).is_ok()
}
