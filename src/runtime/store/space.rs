//! Free space of the medium, asked for at most once a second, and the levels below which writes
//! are refused before they touch the store.
//!
//! It reserves nothing: others may fill the medium between two looks; the levels leave room for
//! that (fjall poisons itself at ENOSPC, so it must not come to it).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::base::limit;
use crate::base::store::StoreError;

/// A look at the medium is good for this long.
const LOOK_AGE_MAX: Duration = Duration::from_secs(1);

/// Bytes a byte may take at once: in the journal, in a table, and in the table that a compaction
/// makes of it before the older one goes.
const WRITE_AMPLIFICATION: u64 = 4;

/// Below how many free bytes what is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpaceLevels {
    /// Puts are refused below this many bytes,
    pub put_bytes_min: u64,
    /// or below this share of the medium (1 GiB at most), if that is more.
    pub put_percent_min: u64,
    /// Removes and notes are refused below this many bytes.
    pub remove_bytes_min: u64,
}

impl FreeSpaceLevels {
    /// Of a store that keeps a board's notes in memory: 2 MiB for all that is written.
    pub fn in_memory() -> Self {
        FreeSpaceLevels {
            put_bytes_min: limit::FREE_BYTES_MEMORY_MIN,
            put_percent_min: 0,
            remove_bytes_min: limit::FREE_BYTES_MEMORY_MIN,
        }
    }

    /// Bytes that must be free for a put on a medium of this size.
    fn put_bytes(&self, total_bytes: u64) -> u64 {
        let share_bytes = total_bytes / 100 * self.put_percent_min;
        self.put_bytes_min
            .max(share_bytes.min(limit::FREE_BYTES_PUT_SHARE_MAX))
    }
}

impl Default for FreeSpaceLevels {
    /// 96 MiB or 5 % (1 GiB at most), and 32 MiB.
    fn default() -> Self {
        FreeSpaceLevels {
            put_bytes_min: limit::FREE_BYTES_PUT_MIN,
            put_percent_min: 5,
            remove_bytes_min: limit::FREE_BYTES_REMOVE_MIN,
        }
    }
}

/// What a batch does to the medium in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It stores values.
    Put,
    /// Tombstones, drops and notes only.
    Remove,
}

/// Watches the medium a directory lies on.
pub(super) struct Space {
    path: PathBuf,
    levels: FreeSpaceLevels,
    looked: Option<Look>,
}

struct Look {
    at: Instant,
    free_bytes: u64,
    total_bytes: u64,
}

impl Space {
    pub fn new(path: PathBuf, levels: FreeSpaceLevels) -> Self {
        Space {
            path,
            levels,
            looked: None,
        }
    }

    /// Refuses what the medium has no room for.
    ///
    /// # Errors
    /// [`StoreError::Full`] below the level; [`StoreError::ReadOnly`] when the medium cannot even
    /// be asked. Nothing was written.
    pub fn admit(&mut self, kind: Kind) -> Result<(), StoreError> {
        if self.check(kind).is_ok() {
            return Ok(());
        }
        // What was noted since the last look is an upper bound; the medium has the last word.
        self.forget();
        self.check(kind)
    }

    fn check(&mut self, kind: Kind) -> Result<(), StoreError> {
        let levels = self.levels;
        let look = self.look()?;
        let needed_bytes = match kind {
            Kind::Put => levels.put_bytes(look.total_bytes),
            Kind::Remove => levels.remove_bytes_min,
        };
        if look.free_bytes < needed_bytes {
            return Err(StoreError::Full {
                free_bytes: look.free_bytes,
                needed_bytes,
            });
        }
        Ok(())
    }

    /// Free bytes; none when the medium cannot be asked.
    pub fn free_bytes(&mut self) -> Option<u64> {
        self.look().ok().map(|look| look.free_bytes)
    }

    /// Takes what a group wrote off the last look, and what tables and compactions will make
    /// of it.
    pub fn note_written(&mut self, bytes: u64) {
        if let Some(look) = &mut self.looked {
            look.free_bytes = look.free_bytes.saturating_sub(WRITE_AMPLIFICATION * bytes);
        }
    }

    /// Makes the next question look at the medium itself.
    pub fn forget(&mut self) {
        self.looked = None;
    }

    fn look(&mut self) -> Result<&Look, StoreError> {
        let fresh = |look: &Look| look.at.elapsed() < LOOK_AGE_MAX;
        if !self.looked.as_ref().is_some_and(fresh) {
            let medium = nix::sys::statvfs::statvfs(&self.path).map_err(|error| {
                StoreError::ReadOnly(format!(
                    "cannot ask for the free space of {}: {error}",
                    self.path.display()
                ))
            })?;
            // The counts' widths differ between 32- and 64-bit systems.
            #[allow(clippy::useless_conversion)]
            let block_bytes = u64::from(medium.fragment_size());
            #[allow(clippy::useless_conversion)]
            let blocks = |count| u64::from(count) * block_bytes;
            self.looked = Some(Look {
                at: Instant::now(),
                free_bytes: blocks(medium.blocks_available()),
                total_bytes: blocks(medium.blocks()),
            });
        }
        Ok(self.looked.as_ref().expect("a look was just taken"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(put_bytes_min: u64, remove_bytes_min: u64) -> Space {
        let levels = FreeSpaceLevels {
            put_bytes_min,
            put_percent_min: 0,
            remove_bytes_min,
        };
        Space::new(std::env::temp_dir(), levels)
    }

    #[test]
    fn puts_keep_a_share_of_the_medium_free_between_two_bounds() {
        let levels = FreeSpaceLevels::default();
        let (mib, gib) = (1_u64 << 20, 1_u64 << 30);
        assert_eq!(levels.put_bytes(64 * mib), 96 * mib);
        assert_eq!(levels.put_bytes(8 * gib), 8 * gib / 100 * 5);
        assert_eq!(levels.put_bytes(1_000 * gib), gib);
    }

    #[test]
    fn removes_go_on_where_puts_are_refused() {
        let mut space = space(u64::MAX, 0);
        let Err(StoreError::Full { needed_bytes, .. }) = space.admit(Kind::Put) else {
            panic!("a put needs more than any medium has");
        };
        assert_eq!(needed_bytes, u64::MAX);
        assert_eq!(space.admit(Kind::Remove), Ok(()));
    }

    #[test]
    fn what_was_written_makes_the_next_question_look_at_the_medium() {
        let mut space = space(0, 1);
        let free_bytes = space.free_bytes().unwrap();
        space.note_written(free_bytes / WRITE_AMPLIFICATION + 1);
        assert_eq!(space.free_bytes(), Some(0));
        assert_eq!(space.admit(Kind::Remove), Ok(()));
        assert!(space.free_bytes().unwrap() > 0);
    }
}
