//! The thread that writes: opens the database, makes groups of batches durable with one sync
//! each, and brings the store back after a failed commit.
//!
//! What a group comes to is worked out by `group`; how full the medium may be is `space`.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use crate::base::limit;
use crate::base::store::{Batch, Outcome, StoreError, StoreId};
use crate::base::version::Stamp;

use super::format;
use super::group::{self, Group, GroupChange};
use super::medium::{self, Medium, OpenError};
use super::space::{Kind, Space};
use super::{Opened, Options, Shared, State, StoreReply};

/// Times a dropped database is opened anew after one failure.
const REOPENINGS_MAX: u32 = 3;
/// Between two of them.
const REOPENING_PAUSE: Duration = Duration::from_millis(100);
/// A store that stopped for want of room looks for room no more often than this.
const REVIVAL_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of the medium are counted no more often than this: it looks at every file of the store.
const MEASURE_INTERVAL: Duration = Duration::from_secs(2);

/// Takes batches until the handle is gone.
pub(super) struct Committer {
    path: PathBuf,
    keep_format: bool,
    space: Space,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<(StoreId, Batch)>,
    replies: UnboundedSender<StoreReply>,
    /// Did not fit the last group.
    carried: Option<(StoreId, Batch)>,
    /// As it is on the medium.
    high_water: Option<Stamp>,
    failures_in_a_row: u32,
    /// When it stopped for want of room.
    stopped_full: Option<Instant>,
    measured: Option<Instant>,
    /// Something was written since.
    measured_late: bool,
    /// Opened last, its log was found damaged.
    fell_back: bool,
}

impl Committer {
    pub fn new(
        path: &Path,
        options: Options,
        shared: Arc<Shared>,
        queue: mpsc::Receiver<(StoreId, Batch)>,
        replies: &UnboundedSender<StoreReply>,
    ) -> Self {
        Committer {
            path: path.to_owned(),
            keep_format: options.keep_format,
            space: Space::new(path.to_owned(), options.free_space),
            shared,
            queue,
            replies: replies.clone(),
            carried: None,
            high_water: None,
            failures_in_a_row: 0,
            stopped_full: None,
            measured: None,
            measured_late: false,
            fell_back: false,
        }
    }

    pub fn run(mut self) {
        match self.open() {
            Ok(opened) => {
                self.measure();
                self.shared.status().state = State::Open;
                self.reply(StoreReply::Opened(Ok(opened)));
            }
            Err(error) => {
                self.stop(State::Closed, error.to_string());
                self.reply(StoreReply::Opened(Err(error)));
            }
        }
        // The first load is answered after that.
        self.shared.opening_ended();
        while let Some(batches) = self.next_batches() {
            self.commit(batches);
        }
        self.set_medium(None);
    }

    /// Waits for a batch and takes those that wait behind it, as far as they fit one group.
    fn next_batches(&mut self) -> Option<Vec<(StoreId, Batch)>> {
        let first = match self.carried.take() {
            Some(carried) => carried,
            None => self.next_batch()?,
        };
        let (mut writes, mut bytes) = group::size(&first.1);
        let mut batches = vec![first];
        while let Ok(next) = self.queue.try_recv() {
            let next = self.dequeue(next);
            let (more_writes, more_bytes) = group::size(&next.1);
            writes += more_writes;
            bytes += more_bytes;
            if writes > limit::COMMIT_WRITES_MAX || bytes > limit::COMMIT_BYTES_MAX {
                self.carried = Some(next);
                break;
            }
            batches.push(next);
        }
        Some(batches)
    }

    /// Waits for a batch; counts the medium's bytes meanwhile if the last commits were not. An
    /// idle store sleeps.
    fn next_batch(&mut self) -> Option<(StoreId, Batch)> {
        while self.measured_late {
            let since = self.measured.map_or(MEASURE_INTERVAL, |at| at.elapsed());
            let wait = MEASURE_INTERVAL.saturating_sub(since);
            match self.queue.recv_timeout(wait) {
                Ok(batch) => return Some(self.dequeue(batch)),
                Err(mpsc::RecvTimeoutError::Timeout) => self.measure(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
        Some(self.dequeue(self.queue.recv().ok()?))
    }

    fn dequeue(&self, batch: (StoreId, Batch)) -> (StoreId, Batch) {
        self.shared.commits_waiting.fetch_sub(1, Ordering::AcqRel);
        batch
    }

    /// Answers every batch, most of them after one sync.
    fn commit(&mut self, batches: Vec<(StoreId, Batch)>) {
        self.revive();
        let mut admitted = Vec::with_capacity(batches.len());
        for (id, batch) in batches {
            match self
                .writable()
                .and_then(|()| self.space.admit(group::kind(&batch)))
            {
                Ok(()) => admitted.push((id, batch)),
                Err(error) => self.reply(StoreReply::Stored(id, Err(error))),
            }
        }
        if admitted.is_empty() {
            return;
        }
        let (answers, change, failure) = self.write(admitted);
        self.end(answers, change, failure);
    }

    /// Works a group out and makes it durable.
    fn write(
        &self,
        batches: Vec<(StoreId, Batch)>,
    ) -> (Vec<Answer>, GroupChange, Option<fjall::Error>) {
        let medium = self
            .shared
            .medium
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let medium = medium.as_ref().expect("a writable store has a medium");
        let mut group = Group::new(medium, &self.shared, self.high_water);
        let mut answers = Vec::with_capacity(batches.len());
        for (id, batch) in batches {
            answers.push((id, group.add(batch)));
        }
        let failure = group.write().err();
        let change = group.change;
        let failure = failure.or_else(|| {
            let lost = change.tree_lost.then(|| self.renew_tree(medium).err());
            lost.flatten()
        });
        (answers, change, failure)
    }

    /// Works the hash tree out anew from what can be read.
    fn renew_tree(&self, medium: &Medium) -> fjall::Result<()> {
        let tree = medium.scan_tree();
        medium.write_tree(&tree)?;
        *self.shared.tree() = tree;
        Ok(())
    }

    /// Answers a group that was written, or was not.
    fn end(&mut self, answers: Vec<Answer>, change: GroupChange, failure: Option<fjall::Error>) {
        if let Some(error) = failure {
            let text = error.to_string();
            for (id, _) in answers {
                let unknown = Err(StoreError::Indeterminate(text.clone()));
                self.reply(StoreReply::Stored(id, unknown));
            }
            self.recover(&error);
            return;
        }
        self.high_water = change.high_water;
        if !change.tree_lost {
            let mut tree = self.shared.tree();
            for (cell, digest) in &change.cells {
                tree.set(*cell, *digest);
            }
        }
        if change.dirty {
            self.failures_in_a_row = 0;
            self.space.note_written(change.bytes);
        }
        let mut status = self.shared.status();
        status.items = status.items.saturating_add_signed(change.items);
        status.tombstones = status.tombstones.saturating_add_signed(change.tombstones);
        status.batches += answers.iter().filter(|(_, answer)| answer.is_ok()).count() as u64;
        if change.dirty {
            status.groups += 1;
            status.degraded = false;
            status.reason.clear();
        }
        drop(status);
        for (id, answer) in answers {
            self.reply(StoreReply::Stored(id, answer));
        }
        if change.dirty {
            self.measure();
        }
    }

    fn writable(&self) -> Result<(), StoreError> {
        let status = self.shared.status();
        match status.state {
            State::Open => Ok(()),
            State::ReadOnly => Err(StoreError::ReadOnly(status.reason.clone())),
            State::Starting | State::Closed => Err(StoreError::Closed(status.reason.clone())),
        }
    }

    /// Opens the database and reads what the store keeps for itself.
    fn open(&mut self) -> Result<Opened, OpenError> {
        let medium = Medium::open(&self.path, self.keep_format)?;
        self.fell_back = medium.is_newly_damaged;
        let damaged = |source| OpenError::Damaged {
            path: self.path.clone(),
            source,
        };
        let mut metas = Vec::new();
        for guard in medium.metas.iter() {
            let (name, value) = guard.into_inner().map_err(damaged)?;
            let name = String::from_utf8_lossy(&name).into_owned();
            if !name.starts_with(format::OWN_NOTE) {
                metas.push((name, Bytes::copy_from_slice(&value)));
            }
        }
        let note = medium.note(format::HIGH_WATER).map_err(damaged)?;
        let high_water = note.and_then(|bytes| format::decode_u64(&bytes)).map(Stamp);
        let note = medium.note(format::COUNTS).map_err(damaged)?;
        let (items, tombstones) = match note.and_then(|bytes| format::decode_counts(&bytes)) {
            Some(counts) => counts,
            None => medium.count(),
        };
        let mut status = self.shared.status();
        (status.items, status.tombstones) = (items, tombstones);
        drop(status);
        *self.shared.tree() = medium.tree().map_err(damaged)?;
        self.high_water = high_water;
        self.set_medium(Some(medium));
        Ok(Opened { metas, high_water })
    }

    /// After a failed commit: drops the database, opens it anew, and lets it take writes again if
    /// a probe becomes durable and this was the first failure in a row.
    fn recover(&mut self, error: &fjall::Error) {
        self.failures_in_a_row += 1;
        self.space.forget();
        let full = medium::is_full(error) || self.space.admit(Kind::Remove).is_err();
        tracing::warn!(%error, full, "a commit failed: the store is opened anew");
        let mut status = self.shared.status();
        status.degraded = true;
        status.reason = format!("a commit failed ({error}); the store was opened anew");
        drop(status);
        self.set_medium(None);
        let reopened = self.reopen();
        if let Err(error @ OpenError::FellBack(_)) = reopened {
            self.stop(State::Closed, error.to_string());
            self.reply(StoreReply::Opened(Err(error)));
            return;
        }
        if let Err(error) = reopened {
            self.stopped_full = full.then(Instant::now);
            let advice = "check the medium (`dmesg`) and restart this board";
            self.stop(
                State::Closed,
                format!("the store does not open: {error}; {advice}"),
            );
            return;
        }
        if self.failures_in_a_row < 2 && self.probe().is_ok() {
            return;
        }
        self.stopped_full = full.then(Instant::now);
        let reason = match full {
            true => format!("the medium is full ({error}); free some space"),
            false => format!("commits fail ({error}); the card may be worn out: replace it"),
        };
        // After a failed probe the database is poisoned; its reads still serve.
        self.stop(State::ReadOnly, reason);
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        self.shared.status().reopened += 1;
        let mut attempts = 1;
        loop {
            match self.open() {
                Ok(_) if self.fell_back => {
                    self.set_medium(None);
                    return Err(OpenError::FellBack(self.path.clone()));
                }
                Ok(_) => return Ok(()),
                Err(error) if attempts == REOPENINGS_MAX => return Err(error),
                Err(_) => attempts += 1,
            }
            thread::sleep(REOPENING_PAUSE);
        }
    }

    /// A store that stopped because the medium was full comes back when there is room.
    fn revive(&mut self) {
        if self
            .stopped_full
            .is_none_or(|at| at.elapsed() < REVIVAL_INTERVAL)
        {
            return;
        }
        self.stopped_full = Some(Instant::now());
        self.space.forget();
        if self.space.admit(Kind::Remove).is_err() {
            return;
        }
        self.set_medium(None);
        if self.reopen().is_ok() && self.probe().is_ok() {
            self.stopped_full = None;
            self.failures_in_a_row = 0;
            let mut status = self.shared.status();
            status.state = State::Open;
            "the medium was full; the store was opened anew".clone_into(&mut status.reason);
        }
    }

    /// Makes a few bytes durable.
    fn probe(&self) -> fjall::Result<()> {
        let medium = self
            .shared
            .medium
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let medium = medium
            .as_ref()
            .expect("a store that was just opened has a medium");
        let mut batch = medium.batch();
        batch.insert(&medium.metas, format::PROBE, [1]);
        batch.commit()
    }

    fn stop(&self, state: State, reason: String) {
        tracing::warn!(state = state.as_str(), %reason, "the store stopped taking writes");
        let mut status = self.shared.status();
        status.state = state;
        status.reason = reason;
    }

    /// Puts a database in place, or drops the present one once nobody reads from it.
    fn set_medium(&self, medium: Option<Medium>) {
        let mut place = self
            .shared
            .medium
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *place = medium;
    }

    /// Brings the byte counts of the status up to date.
    fn measure(&mut self) {
        if self
            .measured
            .is_some_and(|at| at.elapsed() < MEASURE_INTERVAL)
        {
            self.measured_late = true;
            return;
        }
        self.measured_late = false;
        self.measured = Some(Instant::now());
        let medium = self
            .shared
            .medium
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let disk_bytes = medium.as_ref().map_or(0, Medium::disk_bytes);
        drop(medium);
        let free_bytes = self.space.free_bytes().unwrap_or(0);
        let mut status = self.shared.status();
        (status.disk_bytes, status.free_bytes) = (disk_bytes, free_bytes);
    }

    fn reply(&self, reply: StoreReply) {
        // The driver may have gone first; nobody is left to tell.
        let _ = self.replies.send(reply);
    }
}

/// A batch's answer, ready but for the sync.
type Answer = (StoreId, Result<Vec<Outcome>, StoreError>);
