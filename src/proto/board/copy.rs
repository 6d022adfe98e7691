//! The copy's side: what other boards may write and read here, and how they are brought up to
//! date.
//!
//! A write or read that was laid out over another roster than this board's is refused
//! (`OtherView`), so that two operations on one key always share a copy; the two boards then
//! exchange rosters and the operation is tried again. A stamp too far ahead of this board's clock
//! is refused before it can drag the cluster's clock along.

use std::collections::BTreeMap;

use super::{Accepted, Board, LoadPurpose, Phase, StorePurpose};
use crate::base::id::Id;
use crate::base::item::{Key, Record};
use crate::base::store::{Batch, Change, Load, Loaded, Outcome, StoreError};
use crate::base::time::Now;
use crate::base::version::Version;
use crate::wire::peer::{Message, RangePage, ReadResult, ReplicaWrite, WriteResult};

/// A comparison of a holder's list with what is here.
#[derive(Debug)]
struct Compare {
    from: Id,
    operation: u64,
    /// Nothing but these very versions may be here, though they need not be.
    exact: bool,
    items: Vec<(Key, Version)>,
    missing: Vec<u32>,
    left: usize,
    failed: bool,
}

/// Comparisons under way.
#[derive(Debug, Default)]
pub(super) struct Compares {
    tasks: BTreeMap<u64, Compare>,
}

/// What the store made of a write, as it is told to whoever wrote.
pub(super) fn told(result: Result<Outcome, StoreError>) -> WriteResult {
    match result {
        Ok(Outcome::Stored) => WriteResult::Stored,
        Ok(Outcome::Newer(version)) => WriteResult::Newer(version),
        Err(error) if error.is_clean() => WriteResult::Refused(error.to_string()),
        Err(_) => WriteResult::Unknown,
    }
}

impl Board {
    /// A message of a board whose hello was believed.
    pub(super) fn handle_message(&mut self, now: Now, from: Id, message: Message) {
        match message {
            Message::RingCall { call, body } => self.answer_ring_call(now, from, call, body),
            Message::RingReply { call, body } => self.ring_reply(now, from, call, body),
            Message::ReplicaWrite(write) => self.write_for(now, from, write),
            Message::WriteAck { operation, result } => {
                self.write_answered(now, from, operation, result);
            }
            Message::Read {
                operation,
                view,
                key,
            } => self.read_for(now, from, operation, view, key),
            Message::ReadReply { operation, result } => {
                self.read_answered(now, from, operation, result);
            }
            Message::RangePage(RangePage::Ask { operation }) => self.asked(now, from, operation),
            Message::RangePage(RangePage::Versions {
                operation,
                view,
                items,
            }) => {
                self.compare(now, from, operation, (view, false), items);
            }
            Message::RangePage(RangePage::Tombstones {
                operation,
                view,
                items,
            }) => {
                self.compare(now, from, operation, (view, true), items);
            }
            Message::RangePage(RangePage::Collect { view, items }) => {
                self.collect_told(&from, view, items);
            }
            Message::SyncRequest { operation, body } => self.sync_asked(from, operation, body),
            Message::SyncResponse { operation, body } => {
                self.sync_answered(now, from, operation, body);
            }
            Message::RangePage(RangePage::Missing {
                operation,
                positions,
            }) => {
                if !self.tombstones_answered(now, from, operation, positions.as_deref()) {
                    self.compared_there(now, from, operation, positions);
                }
            }
            Message::RangePage(RangePage::Done { operation }) => {
                self.holder_done(now, from, operation);
            }
            Message::Error { kind, text } => {
                tracing::debug!(peer = %from.short(), kind, text, "frame refused by its receiver");
                self.watch.count("frames_refused");
            }
            Message::Swim { .. }
            | Message::Suspect(_)
            | Message::Mark(_)
            | Message::Hello(_)
            | Message::HelloAck { .. }
            | Message::Rekey { .. }
            | Message::Rekeyed { .. }
            | Message::Code(_)
            | Message::Owner { .. } => {
                self.watch.count("frames_misplaced");
            }
        }
    }

    /// The batch every write of an item becomes, here and for others.
    pub(super) fn item_batch(&self, item: crate::base::item::Item) -> Batch {
        Batch {
            changes: vec![Change::Merge(item)],
            high_water: Some(self.clock.high_water()),
        }
    }

    fn write_for(&mut self, now: Now, from: Id, write: ReplicaWrite) {
        let operation = write.operation;
        let refused = if write.hint && self.handover.is_full_of_hints() {
            let reason = "this board keeps as many writes for absent ones as it may";
            Some(WriteResult::Refused(reason.into()))
        } else if self.phase != Phase::Joined
            || write.view != self.agreement([&write.item.key])
            || !(write.hint || self.knows_copies(&write.item.key))
        {
            Some(WriteResult::OtherView)
        } else if !write.taken && self.is_future(now, write.item.record.version.stamp) {
            self.watch.count("stamps_refused");
            let told_ms = self.clock.told_ms(now, &self.others);
            let wall_ms = told_ms.unwrap_or(now.wall.0);
            Some(WriteResult::Future { wall_ms })
        } else {
            None
        };
        if let Some(result) = refused {
            self.send(now, &from, &Message::WriteAck { operation, result });
            return;
        }
        self.clock.observe(write.item.record.version.stamp);
        let accepted = Accepted {
            key: write.item.key.clone(),
            hint: write.hint,
            view: write.view,
        };
        let batch = self.item_batch(write.item);
        let store = self.out.store(batch);
        let purpose = StorePurpose::PeerWrite {
            from,
            operation,
            accepted,
        };
        self.stores.insert(store, purpose);
    }

    /// A write is on flash: a hint, or an item whose place moved meanwhile, is to be handed over.
    /// A pass made before would not have seen it.
    pub(super) fn item_stored(&mut self, now: Now, accepted: Accepted) {
        if accepted.view != self.agreement([&accepted.key]) {
            self.want_handover(now);
        }
        if accepted.hint {
            self.hint_kept(now, &accepted.key);
        }
    }

    pub(super) fn answer_write(
        &mut self,
        now: Now,
        from: Id,
        operation: u64,
        result: Result<Outcome, StoreError>,
    ) {
        let result = told(result);
        self.send(now, &from, &Message::WriteAck { operation, result });
    }

    /// What this copy says of a key: while it has not caught up it says so.
    pub(super) fn vote(&self, record: Option<Record>) -> ReadResult {
        match self.is_behind() {
            true => ReadResult::Behind(record),
            false => ReadResult::Found(record),
        }
    }

    fn read_for(&mut self, now: Now, from: Id, operation: u64, view: u64, key: Key) {
        if self.phase != Phase::Joined || view != self.agreement([&key]) {
            let result = ReadResult::OtherView;
            self.send(now, &from, &Message::ReadReply { operation, result });
            return;
        }
        self.pace.note_client(now.time);
        let load = self.out.load(Load::Item(key));
        self.loads
            .insert(load, LoadPurpose::PeerRead { from, operation });
    }

    pub(super) fn answer_read(
        &mut self,
        now: Now,
        from: Id,
        operation: u64,
        result: Result<Loaded, StoreError>,
    ) {
        let result = match result {
            Ok(Loaded::Item(record)) => self.vote(record),
            Ok(_) => ReadResult::Failed("the store did not answer an item".into()),
            Err(StoreError::Corrupt(_)) => ReadResult::Corrupt,
            Err(error) => ReadResult::Failed(error.to_string()),
        };
        self.send(now, &from, &Message::ReadReply { operation, result });
    }

    /// A holder lists what should be here; the answer names what is not, or with `exact` under
    /// which keys there is something else.
    fn compare(
        &mut self,
        now: Now,
        from: Id,
        operation: u64,
        (view, exact): (u64, bool),
        items: Vec<(Key, Version)>,
    ) {
        let keys = items.iter().map(|(key, _)| key);
        let known = items.iter().all(|(key, _)| self.knows_copies(key));
        let mine = self.phase == Phase::Joined && known && view == self.agreement(keys);
        if !mine || items.is_empty() {
            let positions = mine.then(Vec::new);
            let message = Message::RangePage(RangePage::Missing {
                operation,
                positions,
            });
            self.send(now, &from, &message);
            if !mine {
                self.exchange(now, &from);
            }
            return;
        }
        let task = self.out.draw();
        for (position, (key, _)) in items.iter().enumerate() {
            let load = self.out.load(Load::Item(key.clone()));
            let position = position as u32;
            self.loads
                .insert(load, LoadPurpose::Compare { task, position });
        }
        let left = items.len();
        let compare = Compare {
            from,
            operation,
            exact,
            items,
            missing: vec![],
            left,
            failed: false,
        };
        self.compares.tasks.insert(task, compare);
    }

    pub(super) fn compared(
        &mut self,
        now: Now,
        task: u64,
        position: u32,
        result: Result<Loaded, StoreError>,
    ) {
        let Some(compare) = self.compares.tasks.get_mut(&task) else {
            return;
        };
        compare.left -= 1;
        let (key, wanted) = compare.items[position as usize].clone();
        if let Ok(Loaded::Item(Some(record))) = &result {
            self.note_versions(&key, record.version, wanted);
        }
        let Some(compare) = self.compares.tasks.get_mut(&task) else {
            return;
        };
        match result {
            Ok(Loaded::Item(None)) if compare.exact => {}
            Ok(Loaded::Item(Some(record))) if record.version == wanted => {}
            Ok(Loaded::Item(Some(record))) if !compare.exact && record.version > wanted => {}
            Ok(Loaded::Item(_)) | Err(StoreError::Corrupt(_)) => compare.missing.push(position),
            Ok(_) | Err(_) => compare.failed = true,
        }
        if compare.left > 0 {
            return;
        }
        let Some(mut compare) = self.compares.tasks.remove(&task) else {
            return;
        };
        compare.missing.sort_unstable();
        let positions = (!compare.failed).then_some(compare.missing);
        let operation = compare.operation;
        let message = Message::RangePage(RangePage::Missing {
            operation,
            positions,
        });
        self.send(now, &compare.from, &message);
    }
}
