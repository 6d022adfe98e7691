//! A simulated block device: sectors of 512 bytes behind a cache that only a flush empties.
//!
//! At a power cut each sector still in the cache is written or lost by the toss of a coin, so that
//! unsynced writes are lost, torn between sectors and reordered. A device that lies says it has
//! flushed and has not. Rot flips one bit of what was durable. It knows nothing of records.

use std::time::Duration;

use crate::dice::Dice;

/// Bytes that are written whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// The device did not do what it was asked (EIO).
#[derive(Debug, PartialEq, Eq)]
pub struct MediumError;

/// One device.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// What a read sees: the cache over the platter.
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors in the cache, in the order they were written.
    dirty: Vec<usize>,
    /// Says it has flushed and has not.
    pub lies: bool,
    /// The mark of a store that found its log damaged; kept apart from the log.
    pub is_damaged: bool,
    /// Others have filled it: puts are refused before they reach it.
    pub full: bool,
    /// A flush takes this much longer.
    pub slowness: Duration,
    /// The next flush fails.
    pub fails_next_flush: bool,
}

impl Disk {
    /// Writes whole sectors into the cache.
    pub fn write(&mut self, sector: usize, bytes: &[u8]) {
        let start = sector * SECTOR_BYTES;
        let sectors = bytes.len().div_ceil(SECTOR_BYTES);
        let end = start + sectors * SECTOR_BYTES;
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[start..start + bytes.len()].copy_from_slice(bytes);
        self.seen[start + bytes.len()..end].fill(0);
        self.dirty.extend(sector..sector + sectors);
    }

    pub fn read(&self, at: usize, length: usize) -> Option<&[u8]> {
        self.seen.get(at..at + length)
    }

    pub fn sectors(&self) -> usize {
        self.seen.len() / SECTOR_BYTES
    }

    /// Empties the cache.
    pub fn flush(&mut self, dice: &mut Dice) -> Result<(), MediumError> {
        if std::mem::take(&mut self.fails_next_flush) {
            // What the kernel does with pages it could not write: some are written, all are clean.
            self.lose_cache(dice);
            return Err(MediumError);
        }
        if !self.lies {
            for sector in std::mem::take(&mut self.dirty) {
                self.write_through(sector);
            }
        }
        Ok(())
    }

    /// Everything from this sector on is given up.
    pub fn truncate(&mut self, sector: usize) {
        self.seen.truncate(sector * SECTOR_BYTES);
        self.durable.truncate(sector * SECTOR_BYTES);
        self.dirty.retain(|dirty| *dirty < sector);
    }

    /// The power goes.
    pub fn cut_power(&mut self, dice: &mut Dice) {
        self.lose_cache(dice);
    }

    fn lose_cache(&mut self, dice: &mut Dice) {
        for sector in std::mem::take(&mut self.dirty) {
            if dice.coin() {
                self.write_through(sector);
            }
        }
        self.seen.clone_from(&self.durable);
    }

    fn write_through(&mut self, sector: usize) {
        let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
        if self.durable.len() < range.end {
            self.durable.resize(range.end, 0);
        }
        self.durable[range.clone()].copy_from_slice(&self.seen[range]);
    }

    /// One bit of what is durable flips.
    pub fn rot(&mut self, dice: &mut Dice) {
        if self.durable.is_empty() {
            return;
        }
        let at = dice.below(self.durable.len());
        let bit = 1 << dice.below(8);
        self.durable[at] ^= bit;
        self.seen[at] ^= bit;
    }
}
