//! A small log-structured store on a simulated disk: the store contract of `base/store.rs`.
//!
//! A group of batches becomes one entry of the log, which starts on a fresh sector: a head (magic,
//! sequence, length, sum, then keys, versions and where the values are) and from the next sector
//! on the values, each with a sum of its own. One flush makes the group durable, and only then is
//! anybody answered or any reader shown it. Opening walks the log up to the first head that does
//! not check; a last group whose values are torn is cut off. A head that checks behind that point
//! says that the log is damaged, not torn, and sets the mark of it. A value that fails its sum is
//! never served; a newer (or the same) write heals it. Nothing is compacted: a run is short.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use roundel::base::item::{Item, Key, Record, Value};
use roundel::base::store::{
    Batch, Change, Load, Loaded, META_DAMAGE, Outcome, StoreError, StoreId,
};
use roundel::base::tree::Tree;
use roundel::base::version::{Stamp, Version};
use serde::{Deserialize, Serialize};

use crate::dice::{Dice, mix_bytes};
use crate::disk::{Disk, SECTOR_BYTES};
use crate::mutant::Mutant;

const MAGIC: u64 = 0x726f_756e_6465_6c31;
/// Magic, sequence, lengths, the sum of the head before, sum.
const HEAD_BYTES: usize = 40;
/// Batches of one group commit.
pub const GROUP_BATCHES_MAX: usize = 64;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Extent {
    at: usize,
    length: usize,
    sum: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held {
    version: Version,
    /// None: a tombstone.
    value: Option<Extent>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Entry {
    Item(Key, Held),
    Drop(Key),
    Meta(String, Option<Extent>),
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Head {
    entries: Vec<Entry>,
    high_water: Option<Stamp>,
}

/// What opening finds, beside the items.
#[derive(Debug)]
pub struct Opened {
    pub metas: BTreeMap<String, Bytes>,
    pub high_water: Option<Stamp>,
}

/// The answers to one group.
pub type Answers = Vec<(StoreId, Result<Vec<Outcome>, StoreError>)>;

/// A group on its way to the medium.
#[derive(Debug, Default)]
struct Group {
    head: Head,
    staged: BTreeMap<Key, Option<Held>>,
    metas: BTreeMap<String, Option<Bytes>>,
    body: Vec<u8>,
    answers: Answers,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    index: BTreeMap<Key, Held>,
    metas: BTreeMap<String, Bytes>,
    high_water: Option<Stamp>,
    sequence: u64,
    /// The sum of the last head; part of the next one's, so that what an older life left behind
    /// on the disk is never taken for what follows.
    chain: u64,
    next_sector: usize,
    underway: Option<Group>,
    /// Opened anew after an error, it no longer had what it had flushed: the process must start
    /// anew as well.
    pub fell_back: bool,
    mutant: Mutant,
}

impl Store {
    /// Reads what is on the disk.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a meta value cannot be read.
    pub fn open(disk: &mut Disk, mutant: Mutant) -> Result<(Store, Opened), StoreError> {
        let mut store = Store {
            index: BTreeMap::new(),
            metas: BTreeMap::new(),
            high_water: None,
            sequence: 0,
            chain: 0,
            next_sector: 0,
            underway: None,
            fell_back: false,
            mutant,
        };
        let mut metas = BTreeMap::new();
        while let Some((head, end, chain)) = store.next_head(disk) {
            let is_last = end >= disk.sectors();
            let torn = head.entries.iter().any(|entry| match entry {
                Entry::Item(_, Held { value, .. }) | Entry::Meta(_, value) => value
                    .as_ref()
                    .is_some_and(|extent| read(disk, extent).is_none()),
                Entry::Drop(_) => false,
            });
            if torn && is_last {
                break;
            }
            for entry in head.entries {
                match entry {
                    Entry::Item(key, held) => drop(store.index.insert(key, held)),
                    Entry::Drop(key) => drop(store.index.remove(&key)),
                    Entry::Meta(name, extent) => drop(metas.insert(name, extent)),
                }
            }
            store.high_water = store.high_water.max(head.high_water);
            store.sequence += 1;
            store.next_sector = end;
            store.chain = chain;
        }
        disk.is_damaged |= store.is_damaged(disk);
        disk.truncate(store.next_sector);
        for (name, extent) in metas {
            if let Some(extent) = extent {
                let bytes = read(disk, &extent)
                    .ok_or_else(|| StoreError::Corrupt(format!("meta '{name}'")))?;
                store.metas.insert(name, Bytes::copy_from_slice(bytes));
            }
        }
        if disk.is_damaged {
            let mark = Bytes::from_static(b"log");
            store.metas.insert(META_DAMAGE.to_owned(), mark);
        }
        let opened = Opened {
            metas: store.metas.clone(),
            high_water: store.high_water,
        };
        Ok((store, opened))
    }

    fn next_head(&self, disk: &Disk) -> Option<(Head, usize, u64)> {
        let found = head_at(disk, self.next_sector)?;
        if found.sequence != self.sequence + 1 || found.before != self.chain {
            return None;
        }
        let head = postcard::from_bytes(found.bytes).ok()?;
        Some((head, found.end, found.sum))
    }

    /// A whole head lies behind the end of the log.
    fn is_damaged(&self, disk: &Disk) -> bool {
        let behind = self.next_sector + 1..disk.sectors();
        let mut found = behind.filter_map(|sector| head_at(disk, sector));
        found.any(|head| head.sequence > self.sequence + 1)
    }

    /// Answers a read.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn load(&self, disk: &Disk, load: &Load) -> Result<Loaded, StoreError> {
        match load {
            Load::Item(key) => {
                let held = self.index.get(key);
                held.map(|held| record(disk, held))
                    .transpose()
                    .map(Loaded::Item)
            }
            Load::Page {
                after,
                prefix,
                which,
                items_max,
                bytes_max,
            } => {
                let start = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                let range = self.index.range::<Key, _>((start, Bound::Unbounded));
                let wanted = range.filter(|(key, held)| {
                    key.as_str().starts_with(prefix) && which.wants(key, held.value.is_none())
                });
                Ok(page(disk, wanted, (*items_max, *bytes_max)))
            }
            Load::Tree => Ok(self.tree()),
        }
    }

    fn tree(&self) -> Loaded {
        let mut tree = Tree::default();
        for (key, held) in &self.index {
            tree.replace(key, None, Some(held.version));
        }
        let removed = self.index.values().filter(|held| held.value.is_none());
        let tombstones = removed.count() as u64;
        Loaded::Tree { tree, tombstones }
    }

    /// The version under a key, as far as it is durable and can be read.
    pub fn version(&self, disk: &Disk, key: &Key) -> Option<Version> {
        let held = self.index.get(key)?;
        let value = held.value.as_ref();
        let readable = value.is_none_or(|extent| read(disk, extent).is_some());
        readable.then_some(held.version)
    }

    /// The version the index has under a key, whether the medium kept it or not.
    pub fn claimed(&self, key: &Key) -> Option<Version> {
        self.index.get(key).map(|held| held.version)
    }

    /// Keys that are held, tombstones included.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.index.keys()
    }

    pub fn meta(&self, name: &str) -> Option<&Bytes> {
        self.metas.get(name)
    }

    pub fn is_busy(&self) -> bool {
        self.underway.is_some()
    }

    /// Writes a group into the disk's cache; [`Store::finish`] flushes and answers.
    pub fn begin(&mut self, disk: &mut Disk, batches: Vec<(StoreId, Batch)>) {
        let mut group = Group::default();
        for (id, batch) in batches {
            let answer = match disk.full && stores_value(&batch) {
                true => Err(StoreError::Full {
                    free_bytes: 1,
                    needed_bytes: 2,
                }),
                false => Ok(self.stage(disk, &mut group, batch)),
            };
            group.answers.push((id, answer));
        }
        group.head.high_water = group.head.high_water.max(self.high_water);
        self.lay_out(&mut group);
        self.write(disk, &group);
        self.underway = Some(group);
    }

    fn stage(&self, disk: &Disk, group: &mut Group, batch: Batch) -> Vec<Outcome> {
        group.head.high_water = group.head.high_water.max(batch.high_water);
        let mut outcomes = Vec::with_capacity(batch.changes.len());
        for change in batch.changes {
            outcomes.push(match change {
                Change::Merge(item) => self.stage_item(disk, group, item),
                Change::Drop { key, version } => {
                    let held = group.staged.get(&key).cloned();
                    let held = held.unwrap_or_else(|| self.index.get(&key).cloned());
                    if held.is_some_and(|held| held.version == version) {
                        group.staged.insert(key, None);
                    }
                    Outcome::Stored
                }
                Change::Meta { name, value } => {
                    group.metas.insert(name.to_owned(), value);
                    Outcome::Stored
                }
            });
        }
        outcomes
    }

    fn stage_item(&self, disk: &Disk, group: &mut Group, item: Item) -> Outcome {
        let Item { key, record } = item;
        let staged = group.staged.get(&key);
        let held = staged.map_or_else(|| self.index.get(&key), Option::as_ref);
        if let Some(held) = held {
            let readable = staged.is_some() || self::record(disk, held).is_ok();
            if held.version > record.version && readable && self.mutant != Mutant::WallClock {
                return Outcome::Newer(held.version);
            }
            if held.version == record.version && readable {
                return Outcome::Stored;
            }
        }
        if record.value.is_none() && self.mutant == Mutant::TombstonesDropped {
            group.staged.insert(key, None);
            return Outcome::Stored;
        }
        let value = record.value.map(|value| {
            let bytes = postcard::to_allocvec(&value).expect("a value has a layout");
            let extent = Extent {
                at: group.body.len(),
                length: bytes.len(),
                sum: mix_bytes(0, &bytes),
            };
            group.body.extend(bytes);
            extent
        });
        let version = record.version;
        group.staged.insert(key, Some(Held { version, value }));
        Outcome::Stored
    }

    /// Turns what was staged into the entries of a head. Where values lie is only known once the
    /// head's length is, so the head is sized with the widest positions first.
    fn lay_out(&mut self, group: &mut Group) {
        let mut metas = Vec::new();
        for (name, value) in &group.metas {
            let extent = value.as_ref().map(|bytes| {
                let at = group.body.len();
                group.body.extend_from_slice(bytes);
                Extent {
                    at,
                    length: bytes.len(),
                    sum: mix_bytes(0, bytes),
                }
            });
            metas.push(Entry::Meta(name.clone(), extent));
        }
        let items = group.staged.iter().map(|(key, held)| match held {
            Some(held) => Entry::Item(key.clone(), held.clone()),
            None => Entry::Drop(key.clone()),
        });
        group.head.entries = items.chain(metas).collect();
    }

    fn write(&mut self, disk: &mut Disk, group: &Group) {
        if group.head.entries.is_empty() && group.head.high_water == self.high_water {
            return;
        }
        let sized = postcard::to_allocvec(&group.head).expect("a head has a layout");
        // A position takes at most five bytes more than it does now.
        let room = HEAD_BYTES + sized.len() + 5 * group.head.entries.len();
        let body_sector = self.next_sector + room.div_ceil(SECTOR_BYTES);
        let base = body_sector * SECTOR_BYTES;
        let placed = Head {
            high_water: group.head.high_water,
            entries: group.head.entries.iter().map(|e| e.placed(base)).collect(),
        };
        let mut head = postcard::to_allocvec(&placed).expect("a head has a layout");
        head.resize(room - HEAD_BYTES, 0);
        let lengths = (head.len() as u64) << 32 | group.body.len() as u64;
        let sum = mix_bytes(self.chain ^ (self.sequence + 1) ^ lengths, &head);
        let mut bytes = Vec::with_capacity(room);
        for word in [MAGIC, self.sequence + 1, lengths, self.chain, sum] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(head);
        disk.write(self.next_sector, &bytes);
        disk.write(body_sector, &group.body);
    }

    /// Flushes the group under way and answers it. After an error the store has been opened
    /// anew, as on flash: whether the group is there is not known.
    pub fn finish(&mut self, disk: &mut Disk, dice: &mut Dice) -> Answers {
        let Some(mut group) = self.underway.take() else {
            return Vec::new();
        };
        if disk.flush(dice).is_err() {
            if let Ok((mut again, _)) = Store::open(disk, self.mutant) {
                again.fell_back = again.sequence < self.sequence;
                *self = again;
            }
            let unknown = |_| Err(StoreError::Indeterminate("EIO".into()));
            return group
                .answers
                .into_iter()
                .map(|(id, answer)| (id, answer.and_then(unknown)))
                .collect();
        }
        let start = self.next_sector;
        if let Some((head, end, chain)) = self.next_head(disk) {
            for entry in head.entries {
                match entry {
                    Entry::Item(key, held) => drop(self.index.insert(key, held)),
                    Entry::Drop(key) => drop(self.index.remove(&key)),
                    Entry::Meta(..) => {}
                }
            }
            self.sequence += 1;
            self.next_sector = end;
            self.chain = chain;
        }
        assert!(self.next_sector > start || group.staged.is_empty());
        self.high_water = group.head.high_water;
        for (name, value) in std::mem::take(&mut group.metas) {
            if name == META_DAMAGE {
                disk.is_damaged = false;
            }
            match value {
                Some(bytes) => drop(self.metas.insert(name, bytes)),
                None => drop(self.metas.remove(&name)),
            }
        }
        group.answers
    }
}

impl Entry {
    /// The same with positions counted from the start of the disk.
    fn placed(&self, base: usize) -> Entry {
        let place = |extent: &Extent| Extent {
            at: extent.at + base,
            ..extent.clone()
        };
        match self {
            Entry::Item(key, held) => Entry::Item(
                key.clone(),
                Held {
                    version: held.version,
                    value: held.value.as_ref().map(place),
                },
            ),
            Entry::Drop(key) => Entry::Drop(key.clone()),
            Entry::Meta(name, extent) => Entry::Meta(name.clone(), extent.as_ref().map(place)),
        }
    }
}

/// A head as it lies on the disk; it checks.
struct Found<'a> {
    sequence: u64,
    before: u64,
    bytes: &'a [u8],
    sum: u64,
    /// The sector after the group.
    end: usize,
}

fn head_at(disk: &Disk, sector: usize) -> Option<Found<'_>> {
    let at = sector * SECTOR_BYTES;
    let word = |index: usize| -> Option<u64> {
        let bytes = disk.read(at + index * 8, 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    if word(0)? != MAGIC {
        return None;
    }
    let (sequence, lengths, before, sum) = (word(1)?, word(2)?, word(3)?, word(4)?);
    let (head_length, body_length) = ((lengths >> 32) as usize, lengths as u32 as usize);
    let bytes = disk.read(at + HEAD_BYTES, head_length)?;
    let head_sectors = (HEAD_BYTES + head_length).div_ceil(SECTOR_BYTES);
    let body_sectors = body_length.div_ceil(SECTOR_BYTES);
    (mix_bytes(before ^ sequence ^ lengths, bytes) == sum).then_some(Found {
        sequence,
        before,
        bytes,
        sum,
        end: sector + head_sectors + body_sectors,
    })
}

fn stores_value(batch: &Batch) -> bool {
    let stores = |c: &Change| matches!(c, Change::Merge(item) if item.record.value.is_some());
    batch.changes.iter().any(stores)
}

fn read<'a>(disk: &'a Disk, extent: &Extent) -> Option<&'a [u8]> {
    let bytes = disk.read(extent.at, extent.length)?;
    (mix_bytes(0, bytes) == extent.sum).then_some(bytes)
}

fn record(disk: &Disk, held: &Held) -> Result<Record, StoreError> {
    let value = match &held.value {
        None => None,
        Some(extent) => {
            let bytes = read(disk, extent).ok_or_else(|| StoreError::Corrupt("sum".into()))?;
            let value: Value = postcard::from_bytes(bytes)
                .map_err(|error| StoreError::Corrupt(error.to_string()))?;
            Some(value)
        }
    };
    Ok(Record {
        version: held.version,
        value,
    })
}

/// A page of these items.
fn page<'a>(
    disk: &Disk,
    wanted: impl Iterator<Item = (&'a Key, &'a Held)>,
    (items_max, bytes_max): (usize, usize),
) -> Loaded {
    let mut items: Vec<Item> = Vec::new();
    let mut bytes = 0;
    for (key, held) in wanted {
        // What cannot be read is left out, as on flash.
        let Ok(record) = record(disk, held) else {
            continue;
        };
        bytes += key.as_str().len() + record.value.as_ref().map_or(0, |v| v.bytes().len());
        if items.len() >= items_max || (bytes > bytes_max && !items.is_empty()) {
            let next = items.last().map(|item| item.key.clone());
            return Loaded::Page { items, next };
        }
        items.push(Item {
            key: key.clone(),
            record,
        });
    }
    Loaded::Page { items, next: None }
}
