//! What a group of batches comes to: compared and joined in memory on top of what the database
//! holds, then written as one batch of fjall.
//!
//! fjall gives all writes of a batch one sequence number, so a key is written once a group. It
//! answers nobody and recovers from nothing; the committer does.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::base::cell::Cell;
use crate::base::item::{Item, Key};
use crate::base::store::{Batch, Change, Outcome, StoreError};
use crate::base::tree::item_digest;
use crate::base::version::{Stamp, Version};

use super::medium::Medium;
use super::space::Kind;
use super::{Shared, format};

/// Sealed memtables at which a commit waits for the worker: fjall itself waits at four, forever
/// when the worker has died.
const SEALED_MEMTABLES_MAX: usize = 3;
/// Between two looks at the sealed memtables.
const SEALED_MEMTABLES_PAUSE: Duration = Duration::from_millis(2);

/// Writes and bytes of a batch.
pub(super) fn size(batch: &Batch) -> (usize, usize) {
    let bytes = |change: &Change| match change {
        Change::Merge(Item { key, record }) => {
            key.as_str().len() + record.value.as_ref().map_or(0, |value| value.bytes().len())
        }
        Change::Drop { key, .. } => key.as_str().len(),
        Change::Meta { value, .. } => value.as_ref().map_or(0, Bytes::len),
    };
    (batch.changes.len(), batch.changes.iter().map(bytes).sum())
}

/// Whether a batch stores values.
pub(super) fn kind(batch: &Batch) -> Kind {
    let puts =
        |change: &Change| matches!(change, Change::Merge(item) if item.record.value.is_some());
    if batch.changes.iter().any(puts) {
        Kind::Put
    } else {
        Kind::Remove
    }
}

/// What is under a key, as far as comparisons and counts go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    /// Counts as an item; anything may take its place.
    Unreadable,
    Record(format::Head),
}

impl Held {
    fn version(self) -> Option<Version> {
        match self {
            Held::Record(head) => Some(head.version),
            Held::Nothing | Held::Unreadable => None,
        }
    }

    /// How it counts: (items, tombstones).
    fn counts(self) -> (i64, i64) {
        match self {
            Held::Nothing => (0, 0),
            Held::Record(head) if head.tombstone => (0, 1),
            Held::Unreadable | Held::Record(_) => (1, 0),
        }
    }
}

/// A key's place in a group.
struct Slot {
    before: Held,
    after: Held,
    /// The record to write; none with a changed `after` removes it.
    bytes: Option<Vec<u8>>,
    changed: bool,
}

/// What a group comes to.
pub(super) struct GroupChange {
    /// There is something to write.
    pub dirty: bool,
    /// Bytes of keys and records written.
    pub bytes: u64,
    /// Change of the count of live items.
    pub items: i64,
    /// Change of the count of tombstones.
    pub tombstones: i64,
    /// The mark that goes with it.
    pub high_water: Option<Stamp>,
    /// Cells of the hash tree and their digests after it.
    pub cells: BTreeMap<Cell, u128>,
    /// A record that cannot be read gave way: the tree counts it, nobody knows how.
    pub tree_lost: bool,
}

/// The changes of one group, worked out in memory.
pub(super) struct Group<'a> {
    medium: &'a Medium,
    shared: &'a Shared,
    slots: BTreeMap<Key, Slot>,
    metas: BTreeMap<&'static str, Option<Bytes>>,
    pub change: GroupChange,
}

impl<'a> Group<'a> {
    pub fn new(medium: &'a Medium, shared: &'a Shared, high_water: Option<Stamp>) -> Self {
        Group {
            medium,
            shared,
            slots: BTreeMap::new(),
            metas: BTreeMap::new(),
            change: GroupChange {
                dirty: false,
                bytes: 0,
                items: 0,
                tombstones: 0,
                high_water,
                cells: BTreeMap::new(),
                tree_lost: false,
            },
        }
    }

    /// Adds a batch whole.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the medium cannot be read: nothing of the batch was added.
    pub fn add(&mut self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        for change in &batch.changes {
            if let Change::Merge(Item { key, .. }) | Change::Drop { key, .. } = change {
                self.look_up(key)?;
            }
        }
        let dirty_before = std::mem::replace(&mut self.change.dirty, batch.changes.is_empty());
        let mut outcomes = Vec::with_capacity(batch.changes.len());
        for change in batch.changes {
            outcomes.push(match change {
                Change::Merge(item) => self.merge(item),
                Change::Drop { key, version } => self.drop_record(&key, version),
                Change::Meta { name, value } => self.set_meta(name, value),
            });
        }
        // What changed nothing needs no sync, for its high-water mark neither: the store holds
        // something newer, which came with a mark at least as high.
        if self.change.dirty && batch.high_water > self.change.high_water {
            self.change.high_water = batch.high_water;
        } else if outcomes.is_empty() {
            self.change.dirty = false;
        }
        self.change.dirty |= dirty_before;
        Ok(outcomes)
    }

    fn look_up(&mut self, key: &Key) -> Result<(), StoreError> {
        if self.slots.contains_key(key) {
            return Ok(());
        }
        let held = match self.medium.items.get(key.as_str()) {
            Ok(None) => Held::Nothing,
            Ok(Some(bytes)) => match format::decode_head(&bytes) {
                Ok(head) => Held::Record(head),
                Err(error) => {
                    self.shared.note_corrupt(key, &error);
                    Held::Unreadable
                }
            },
            Err(fjall::Error::Storage(fjall::LsmError::ChecksumMismatch { .. })) => {
                // A write of the key heals it: reads find the newer table first.
                self.shared
                    .note_corrupt(key, &"its block's checksum does not match");
                Held::Unreadable
            }
            Err(error) => {
                self.shared.note_corrupt(key, &error);
                return Err(StoreError::Corrupt(error.to_string()));
            }
        };
        let slot = Slot {
            before: held,
            after: held,
            bytes: None,
            changed: false,
        };
        self.slots.insert(key.clone(), slot);
        Ok(())
    }

    fn merge(&mut self, item: Item) -> Outcome {
        let slot = self
            .slots
            .get_mut(&item.key)
            .expect("every key was looked up");
        let version = item.record.version;
        match slot.after.version() {
            Some(held) if held > version => return Outcome::Newer(held),
            Some(held) if held == version => return Outcome::Stored,
            _ => {}
        }
        slot.after = Held::Record(format::Head {
            version,
            tombstone: item.record.value.is_none(),
        });
        slot.bytes = Some(format::encode(&item.record));
        slot.changed = true;
        self.change.dirty = true;
        Outcome::Stored
    }

    fn drop_record(&mut self, key: &Key, version: Version) -> Outcome {
        let slot = self.slots.get_mut(key).expect("every key was looked up");
        match slot.after.version() {
            Some(held) if held != version => return Outcome::Newer(held),
            None => return Outcome::Stored,
            Some(_) => {}
        }
        slot.after = Held::Nothing;
        slot.bytes = None;
        slot.changed = true;
        self.change.dirty = true;
        Outcome::Stored
    }

    fn set_meta(&mut self, name: &'static str, value: Option<Bytes>) -> Outcome {
        assert!(
            !name.starts_with(format::OWN_NOTE),
            "a meta's name does not begin with a dot, got {name}"
        );
        let same = match self.metas.get(name) {
            Some(held) => *held == value,
            None => match self.medium.note(name) {
                Ok(held) => held.as_deref() == value.as_deref(),
                // Unreadable: written anew.
                Err(_) => false,
            },
        };
        if !same {
            self.metas.insert(name, value);
            self.change.dirty = true;
        }
        Outcome::Stored
    }

    /// Makes the group durable with one sync; does nothing when it changes nothing.
    pub fn write(&mut self) -> fjall::Result<()> {
        if !self.change.dirty {
            return Ok(());
        }
        self.wait_for_worker()?;
        let medium = self.medium;
        let mut batch = medium.batch();
        for (key, slot) in std::mem::take(&mut self.slots) {
            if !slot.changed {
                continue;
            }
            let (before, after) = (slot.before.counts(), slot.after.counts());
            self.change.items += after.0 - before.0;
            self.change.tombstones += after.1 - before.1;
            self.change.bytes += key.as_str().len() as u64;
            self.change_tree(&key, slot.before, slot.after);
            match slot.bytes {
                Some(bytes) => {
                    self.change.bytes += bytes.len() as u64;
                    batch.insert(&medium.items, key.as_str(), bytes);
                }
                None => batch.remove(&medium.items, key.as_str()),
            }
        }
        for (name, value) in std::mem::take(&mut self.metas) {
            match value {
                Some(value) => batch.insert(&medium.metas, name, &value[..]),
                None => batch.remove(&medium.metas, name),
            }
        }
        for (cell, digest) in &self.change.cells {
            medium.note_cell(&mut batch, *cell, *digest);
        }
        if let Some(high_water) = self.change.high_water {
            batch.insert(
                &medium.metas,
                format::HIGH_WATER,
                high_water.0.to_be_bytes(),
            );
        }
        let (items, tombstones) = {
            let status = self.shared.status();
            (
                status.items.saturating_add_signed(self.change.items),
                status
                    .tombstones
                    .saturating_add_signed(self.change.tombstones),
            )
        };
        if (self.change.items, self.change.tombstones) != (0, 0) {
            let counts = format::encode_counts(items, tombstones);
            batch.insert(&medium.metas, format::COUNTS, counts);
        }
        batch.commit()
    }

    /// Moves the key's cell of the hash tree on.
    fn change_tree(&mut self, key: &Key, before: Held, after: Held) {
        self.change.tree_lost |= before == Held::Unreadable;
        let cell = key.cell();
        let now = self.change.cells.entry(cell);
        let digest = now.or_insert_with(|| self.shared.tree().cell(cell));
        let of = |held: Held| {
            held.version()
                .map_or(0, |version| item_digest(key, version))
        };
        *digest = digest.wrapping_sub(of(before)).wrapping_add(of(after));
    }

    /// Lets the worker catch up before fjall would wait for it.
    fn wait_for_worker(&self) -> fjall::Result<()> {
        let medium = self.medium;
        while medium.items.sealed_memtable_count() >= SEALED_MEMTABLES_MAX
            || medium.metas.sealed_memtable_count() >= SEALED_MEMTABLES_MAX
        {
            medium.check()?;
            thread::sleep(SEALED_MEMTABLES_PAUSE);
        }
        Ok(())
    }
}
