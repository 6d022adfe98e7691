//! The coordinator: a client's put, get or remove carried to the copies and back.
//!
//! Any board coordinates. A put is stamped, sent to the copies of the key, and acknowledged when
//! the write machine says so; a copy that holds a newer version makes it be stamped above that
//! and sent again; a copy whose roster differs makes the two exchange rosters first. What was
//! sent and cannot be confirmed is *unknown*, never *not written*.
//!
//! A read that finds its copies unequal writes the newest version back to them before it answers,
//! so that a later read cannot see less. A remove reads first, and writes a tombstone only where
//! there was a value.

mod answer;
mod elsewhere;
mod outcome;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::copy::told;
use super::gossip::CallPurpose;
use super::{Accepted, Board, LoadPurpose, StorePurpose, Timer};
use crate::base::call::{CallError, CallId, Consistency, Coverage, Reply, WriteOutcome};
use crate::base::id::Id;
use crate::base::item::{Item, Key, Record, Value};
use crate::base::limit;
use crate::base::store::{Load, Loaded, Outcome, StoreError};
use crate::base::time::{Now, Time};
use crate::base::version::{Stamp, Version};
use crate::proto::placement::CopySets;
use crate::proto::replication::read::{self, Read};
use crate::proto::replication::write::{self, Ask, Write};
use crate::wire::peer::{self as wire, Message, ReadResult, ReplicaWrite, WriteResult};

/// A copy that was asked and is still silent after an operation was answered gets a hint kept for
/// it after this.
const STRAGGLER_TIME: Duration = Duration::from_secs(2);
/// A board that let an operation wait is asked last for so long.
const SLOW_TIME: Duration = Duration::from_secs(2);
/// A board that has been down for so long here is down for every reader: hints count in its place.
const DOWN_EVERYWHERE_TIME: Duration = Duration::from_secs(1);
/// A refused operation is tried again after this when nothing else moves it.
const RETRY_TIME: Duration = Duration::from_millis(20);

#[derive(Debug)]
enum Step {
    /// Reading, for a get or as the first half of a remove.
    Reading(Read),
    /// Writing this item; `found` when it writes back what a read found.
    Writing(Box<Writing>),
    /// Waiting for rosters to agree.
    Waiting,
    /// Another board coordinates it; `busy` while that is looked up or at work.
    Elsewhere { busy: bool },
}

#[derive(Debug)]
struct Writing {
    item: Item,
    write: Write,
    found: Option<Coverage>,
    future_ms: Vec<u64>,
    /// The own copy (or hint) waits until another board has taken the stamp: this board's clock
    /// may be wrong, and what it would overwrite cannot be had back.
    own_waits: Option<Ask>,
}

#[derive(Clone, Debug)]
enum Goal {
    Put(Value),
    Get,
    Remove,
}

#[derive(Debug)]
struct Operation {
    call: Option<CallId>,
    goal: Goal,
    key: Key,
    consistency: Consistency,
    step: Step,
    attempt: u32,
    /// Copies that were asked and may have stored it, or may yet: those that refused are not.
    exposed: usize,
    /// Versions that this remove has drawn for its tombstone, one an attempt: it found a value
    /// each time. A tombstone of another version is another's work.
    tombstones: Vec<Version>,
    /// Why the last copy that refused did.
    refusal: Option<String>,
    deadline: Time,
    hedged: bool,
}

/// Operations under way.
#[derive(Debug, Default)]
pub(super) struct Operations {
    running: BTreeMap<u64, Operation>,
    slow: BTreeMap<Id, Time>,
    guests: elsewhere::Guests,
}

impl Operations {
    pub(super) fn check_invariants(&self) {
        assert!(
            self.running.len() <= 2 * limit::OPERATIONS_MAX,
            "operations are bounded"
        );
    }

    pub(super) fn count(&self) -> usize {
        self.running.len()
    }
}

impl Board {
    pub(super) fn put(
        &mut self,
        now: Now,
        call: CallId,
        key: Key,
        value: Option<Value>,
        consistency: Consistency,
    ) -> Result<Option<Reply>, CallError> {
        let Some(value) = value else {
            return Err(CallError::Invalid("a put needs a value".into()));
        };
        let got = value.bytes().len();
        if got > limit::VALUE_BYTES_MAX {
            return Err(CallError::TooLarge {
                what: "the value",
                got,
                max: limit::VALUE_BYTES_MAX,
            });
        }
        self.begin_operation(now, call, Goal::Put(value), key, consistency)
    }

    pub(super) fn get(
        &mut self,
        now: Now,
        call: CallId,
        key: Key,
        consistency: Consistency,
    ) -> Result<Option<Reply>, CallError> {
        self.begin_operation(now, call, Goal::Get, key, consistency)
    }

    pub(super) fn remove(
        &mut self,
        now: Now,
        call: CallId,
        key: Key,
        consistency: Consistency,
    ) -> Result<Option<Reply>, CallError> {
        self.begin_operation(now, call, Goal::Remove, key, consistency)
    }

    fn begin_operation(
        &mut self,
        now: Now,
        call: CallId,
        goal: Goal,
        key: Key,
        consistency: Consistency,
    ) -> Result<Option<Reply>, CallError> {
        self.check_ring()?;
        if self.operations.running.len() >= limit::OPERATIONS_MAX {
            return Err(CallError::unavailable(
                "the board is busy; try again in a moment",
            ));
        }
        let id = self.out.draw();
        let operation = Operation {
            call: Some(call),
            goal,
            key,
            consistency,
            step: Step::Waiting,
            attempt: 0,
            exposed: 0,
            tombstones: Vec::new(),
            refusal: None,
            deadline: now.time + limit::OPERATION_TIME_MAX,
            hedged: false,
        };
        self.operations.running.insert(id, operation);
        self.pace.note_client(now.time);
        self.arm(now.time + limit::COPY_ANSWER_TIME_MAX, Timer::Operation(id));
        self.start_operation(now, id);
        Ok(None)
    }

    /// Lays the operation out over the roster as it is and asks the first boards.
    fn start_operation(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        let (key, guest) = (operation.key.clone(), self.is_guest(operation.call));
        if !self.knows_copies(&key) {
            match guest {
                true => self.fail(id, 0, 0),
                false => self.start_elsewhere(now, id),
            }
            return;
        }
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        match operation.goal {
            Goal::Put(ref value) => {
                let value = Some(value.clone());
                self.start_write(now, id, value, None);
            }
            Goal::Get | Goal::Remove => self.start_read(now, id),
        }
    }

    fn layout(&mut self, key: &Key) -> Option<(CopySets, Vec<Id>)> {
        let view = self.view()?;
        let point = key.point();
        let sets = view.copy_sets(&point);
        let substitutes = match sets.all().iter().all(|id| self.is_present(id)) {
            true if view.new_boards().len() <= limit::COPIES_MAX => Vec::new(),
            _ => view.substitutes(&point, &sets),
        };
        let live = substitutes.into_iter().filter(|id| self.is_present(id));
        Some((sets, live.take(limit::COPIES_MAX).collect()))
    }

    fn start_read(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        let (key, consistency) = (operation.key.clone(), operation.consistency);
        let Some((sets, substitutes)) = self.layout(&key) else {
            return;
        };
        let absent = self.absent_holders();
        let mut read = Read::new(sets.sets, consistency, substitutes, absent);
        self.operations.slow.retain(|_, until| *until > now.time);
        let asks = read.start(&self.me, |id| self.operations.slow.contains_key(id));
        if let Some(operation) = self.operations.running.get_mut(&id) {
            operation.step = Step::Reading(read);
        }
        self.ask_to_read(now, id, &key, asks);
        self.judge(now, id);
    }

    fn ask_to_read(&mut self, now: Now, id: u64, key: &Key, asks: Vec<Id>) {
        let view = self.agreement([key]);
        for to in asks {
            if to == self.me {
                let load = self.out.load(Load::Item(key.clone()));
                self.loads.insert(load, LoadPurpose::LocalRead(id));
            } else {
                self.send(
                    now,
                    &to,
                    &Message::Read {
                        operation: id,
                        view,
                        key: key.clone(),
                    },
                );
            }
        }
    }

    /// Starts (or starts again, under a new stamp) writing `value`; `found` gives the record a
    /// read found, which is written back as it is.
    /// The operation begins anew in a moment.
    fn operation_waits(&mut self, now: Now, id: u64) {
        if let Some(operation) = self.operations.running.get_mut(&id) {
            operation.step = Step::Waiting;
            self.arm(now.time + RETRY_TIME, Timer::Operation(id));
        }
    }

    fn start_write(
        &mut self,
        now: Now,
        id: u64,
        value: Option<Value>,
        found: Option<(Record, Coverage)>,
    ) {
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        let (key, mut consistency) = (operation.key.clone(), operation.consistency);
        let exposed = operation.exposed > 0;
        if operation.attempt >= ATTEMPTS_MAX {
            // Another attempt could not be told from the first: it waits for the end of its time.
            self.operation_waits(now, id);
            return;
        }
        if found.is_some() && consistency == Consistency::One {
            consistency = Consistency::Quorum;
        }
        let Some((sets, substitutes)) = self.layout(&key) else {
            return;
        };
        let mut write = Write::new(sets.sets, consistency, substitutes);
        let (record, found) = match found {
            Some((record, coverage)) => (record, Some(coverage)),
            None => {
                if !exposed && !write.is_possible(|id| self.is_present(id)) {
                    self.refuse_write(id);
                    return;
                }
                let unsure = !self.clock.is_set(now.wall) && self.is_behind();
                if unsure && consistency != Consistency::One {
                    // It may have drawn for others what it does not remember: first it hears them.
                    self.operation_waits(now, id);
                    return;
                }
                let enough = self.clocks_that_correct();
                if self.clock.align(now, &self.others, enough) {
                    self.watch.count("clock_corrections");
                }
                let version = Version {
                    stamp: self.clock.draw(now.wall),
                    node: self.me,
                };
                (Record { version, value }, None)
            }
        };
        let asks = write.start(|id| self.is_present(id));
        write.count_hints(|id| self.watch.is_down_for(now.time, id, DOWN_EVERYWHERE_TIME));
        let item = Item { key, record };
        let is_own = found.is_none();
        let writing = Writing {
            item: item.clone(),
            write,
            found,
            future_ms: Vec::new(),
            own_waits: None,
        };
        if let Some(operation) = self.operations.running.get_mut(&id) {
            operation.step = Step::Writing(Box::new(writing));
            operation.attempt += 1;
            if is_own && matches!(operation.goal, Goal::Remove) {
                operation.tombstones.push(item.record.version);
            }
        }
        self.ask_to_write(now, id, &item, asks);
        self.judge(now, id);
    }

    fn ask_to_write(&mut self, now: Now, id: u64, item: &Item, asks: Vec<Ask>) {
        let view = self.agreement([&item.key]);
        let taken = self.is_taken(&item.record.version);
        let counted = self.view.as_ref().map_or(1, |view| view.new_boards().len());
        let mut own = None;
        let mut sent = Vec::new();
        let Some(operation) = self.operations.running.get_mut(&id) else {
            return;
        };
        operation.exposed += asks.len();
        let attempt = operation.attempt;
        let asked = asks.iter().any(|ask| ask.to != self.me);
        // Alone in a larger ring this board can only acknowledge with "one".
        let others = asked || (counted > 1 && operation.consistency != Consistency::One);
        for Ask { to, hint } in asks {
            if to == self.me {
                let stamp = item.record.version.stamp;
                match &mut operation.step {
                    Step::Writing(writing)
                        if others && writing.found.is_none() && self.clock.is_untested(stamp) =>
                    {
                        writing.own_waits = Some(Ask { to, hint });
                    }
                    _ => own = Some(hint),
                }
            } else {
                let operation = tag(id, attempt);
                let write = ReplicaWrite {
                    operation,
                    view,
                    hint,
                    taken,
                    item: item.clone(),
                };
                sent.push((to, Message::ReplicaWrite(write)));
            }
        }
        for (to, message) in sent {
            self.send(now, &to, &message);
        }
        if let Some(hint) = own {
            self.write_own(id, attempt, item.clone(), hint);
        }
    }

    /// Stores an item of an operation here.
    fn write_own(&mut self, operation: u64, attempt: u32, item: Item, hint: bool) {
        let key = item.key.clone();
        let view = self.agreement([&key]);
        let batch = self.item_batch(item);
        let store = self.out.store(batch);
        let purpose = StorePurpose::LocalWrite {
            operation,
            attempt,
            accepted: Accepted { key, hint, view },
        };
        self.stores.insert(store, purpose);
    }

    /// Another board has taken the stamp of an operation: the own copy takes it as well.
    fn stamp_taken(&mut self, id: u64) {
        let Some(operation) = self.operations.running.get_mut(&id) else {
            return;
        };
        let attempt = operation.attempt;
        if let Step::Writing(writing) = &mut operation.step {
            self.clock.prove(writing.item.record.version.stamp);
            if let Some(Ask { hint, .. }) = writing.own_waits.take() {
                let item = writing.item.clone();
                self.write_own(id, attempt, item, hint);
            }
        }
    }
}

const TAG_BITS: u32 = 16;
/// Times one operation is written. Where rosters differ it begins anew with every exchange of them,
/// a hundred times a second and more; a number that came round again would make the answer to an
/// attempt of long ago, whose item may have been overwritten since, one to the last.
const ATTEMPTS_MAX: u32 = (1 << TAG_BITS) - 1;

/// The number a copy returns: which operation, and which attempt of it.
fn tag(operation: u64, attempt: u32) -> u64 {
    operation << TAG_BITS | u64::from(attempt)
}

fn untag(tag: u64) -> (u64, u32) {
    (tag >> TAG_BITS, tag as u32 & ATTEMPTS_MAX)
}
