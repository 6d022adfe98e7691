//! The database on the medium: made in one step, opened with the settings a small board needs,
//! read and written in the store's terms.
//!
//! It decides nothing about groups, failures or free space (`committer`, `space`). The directory:
//!
//! ```text
//! format   text: "roundel store 2\n"
//! damage   the log was found damaged, and how; until that is in the database as a note
//! db/      the database of fjall
//! db.new/  a database being made; removed at the next start when a power cut left it
//! ```

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use nix::fcntl::{Flock, FlockArg};

use super::format::{self, STORE_FORMAT};
use super::{journal, manifest};
use crate::base::cell::Cell;
use crate::base::item::Key;
use crate::base::store::META_DAMAGE;
use crate::base::tree::Tree;

/// Blocks of all tables held in memory, bytes: reads of a board are few and its memory is small.
const CACHE_BYTES: u64 = 256 * 1_024;
/// Writes held in memory before they become a table, bytes, each keyspace.
const MEMTABLE_BYTES: u64 = 1_024 * 1_024;
/// Journals on the medium, bytes: the least fjall takes, and what is replayed at start.
const JOURNALS_BYTES_MAX: u64 = 64 * 1_024 * 1_024;
/// Cells of the tree written in one batch.
const TREE_BATCH: usize = 1_024;
/// Table files held open.
const FILES_MAX: usize = 32;
/// What `st_blocks` counts in (POSIX leaves it open, Linux says 512 everywhere).
const BLOCK_BYTES: u64 = 512;
/// The file that says how the log was damaged.
const DAMAGE: &str = "damage";
/// What the format file begins with.
const FORMAT_MARK: &str = "roundel store ";

/// Why the store did not open. Nothing below the directory was changed, but for `Damaged`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no medium: the board runs without a store.
    #[error("this board has no data partition: it keeps nothing and serves what others keep")]
    NoMedium,
    /// Another process has it.
    #[error(
        "the data directory {} is in use by another roundel; stop that one, or give this one \
         another directory with --data",
        .0.display()
    )]
    InUse(PathBuf),
    /// A newer roundel wrote it.
    #[error(
        "the store in {} has format {got}, this roundel reads up to {STORE_FORMAT}; install the \
         newer roundel again, or give this one another directory with --data. Nothing was changed",
        .path.display()
    )]
    NewerFormat {
        /// Where.
        path: PathBuf,
        /// Its format.
        got: u32,
    },
    /// The image is tried, and an older one may be fallen back to.
    #[error(
        "the store in {} has format {got}, and an image on trial writes no other into it. Nothing \
         was changed",
        .path.display()
    )]
    OnTrial {
        /// Where.
        path: PathBuf,
        /// Its format.
        got: u32,
    },
    /// The format file is not ours.
    #[error(
        "{} is not a roundel store: its file `format` does not begin with \"{FORMAT_MARK}\"; give \
         another directory with --data. Nothing was changed",
        .0.display()
    )]
    Foreign(PathBuf),
    /// The medium cannot be written.
    #[error("the medium of {} is read-only: check the card (`dmesg`), replace it if it is worn out",
        .0.display())]
    ReadOnlyMedium(PathBuf),
    /// The medium answered with an error.
    #[error("the store in {} cannot be opened: {source}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// While it ran, its log turned out to be damaged.
    #[error(
        "the log of the store in {} was damaged while it ran: check the card (`dmesg`); start this \
         board again: it then takes its share anew from its neighbours",
        .0.display()
    )]
    FellBack(PathBuf),
    /// A file that says what the database consists of differs from its sum.
    #[error(
        "the store in {} is damaged ({} does not check): check the card (`dmesg`), move the \
         directory away and start again: this board then takes its share anew from its neighbours. \
         Nothing was changed",
        .path.display(),
        .file.display()
    )]
    DamagedFile {
        /// Where.
        path: PathBuf,
        /// Which of its files.
        file: PathBuf,
    },
    /// The database cannot be recovered.
    #[error(
        "the store in {} is damaged ({source}); move the directory away and start again: this \
         board then takes its share anew from its neighbours",
        .path.display()
    )]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What fjall said.
        source: fjall::Error,
    },
}

/// An open database. Dropping it closes it; every borrow of it must be gone by then.
pub(super) struct Medium {
    path: PathBuf,
    database: Database,
    pub items: Keyspace,
    pub metas: Keyspace,
    /// Its log was found damaged when it opened.
    pub is_newly_damaged: bool,
}

impl Medium {
    /// Opens the store below `path`, making it when there is none. May take a second after heavy
    /// use: the journal is replayed. With `keep_format` one of an older format is left alone.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed unless it is `Damaged`.
    pub fn open(path: &Path, keep_format: bool) -> Result<Self, OpenError> {
        fs::create_dir_all(path).map_err(|error| io_error(path, error))?;
        let found = check_format(path)?;
        if let Some(got) = found.filter(|got| keep_format && *got != STORE_FORMAT) {
            let path = path.to_owned();
            return Err(OpenError::OnTrial { path, got });
        }
        if found.is_none() {
            create(path)?;
        }
        mend(path)?;
        let mut medium = Medium::open_database(path, &path.join("db"))?;
        let taken = medium.take_damage(path);
        medium.is_newly_damaged = taken.map_err(|error| database_error(path, error))?;
        if found.is_some_and(|format| format < STORE_FORMAT) {
            let added = medium.write_tree(&medium.scan_tree());
            added.map_err(|error| database_error(path, error))?;
            write_format(path)?;
        }
        Ok(medium)
    }

    fn open_database(path: &Path, database_path: &Path) -> Result<Self, OpenError> {
        let fail = |error| database_error(path, error);
        let database = Database::builder(database_path)
            .cache_size(CACHE_BYTES)
            .worker_threads(1)
            .max_cached_files(Some(FILES_MAX))
            .max_journaling_size(JOURNALS_BYTES_MAX)
            // Every batch says its own durability.
            .manual_journal_persist(true)
            .open()
            .map_err(fail)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        Ok(Medium {
            items: database.keyspace("items", options).map_err(fail)?,
            metas: database.keyspace("metas", options).map_err(fail)?,
            database,
            path: path.to_owned(),
            is_newly_damaged: false,
        })
    }

    /// What the damage file says becomes the mark among the metas.
    /// Whether there was one.
    fn take_damage(&self, path: &Path) -> fjall::Result<bool> {
        let file = path.join(DAMAGE);
        let reason = match fs::read(&file) {
            Ok(reason) => reason,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        // Tree and counts were written with groups that may be gone.
        self.write_tree(&self.scan_tree())?;
        let mut batch = self.batch();
        batch.remove(&self.metas, format::COUNTS);
        batch.insert(&self.metas, META_DAMAGE, reason);
        batch.commit()?;
        fs::remove_file(&file)?;
        Ok(true)
    }

    /// A batch that is on stable storage when its commit has returned.
    pub fn batch(&self) -> fjall::OwnedWriteBatch {
        self.database
            .batch()
            .durability(Some(PersistMode::SyncData))
    }

    /// Fails when an earlier write failed, in a worker's flush too.
    pub fn check(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::Buffer)
    }

    /// Bytes that the store's files take of the medium, each of their blocks counted. fjall's own
    /// figure leaves the journal out that is written to, which on a young board is all there is.
    pub fn disk_bytes(&self) -> u64 {
        taken_bytes(&self.path)
    }

    /// A note's bytes.
    pub fn note(&self, name: &str) -> fjall::Result<Option<fjall::Slice>> {
        self.metas.get(name)
    }

    /// The hash tree as its notes say.
    pub fn tree(&self) -> fjall::Result<Tree> {
        let mut tree = Tree::default();
        for guard in self.metas.prefix(format::CELL) {
            let (name, bytes) = guard.into_inner()?;
            if let Some((cell, digest)) = format::decode_cell(&name, &bytes) {
                tree.set(cell, digest);
            }
        }
        Ok(tree)
    }

    /// The hash tree by reading every record that can be read; for a store that has none or whose
    /// tree counts records that cannot be read.
    pub fn scan_tree(&self) -> Tree {
        let mut tree = Tree::default();
        for guard in self.items.iter() {
            let Ok((key, bytes)) = guard.into_inner() else {
                break;
            };
            let key = std::str::from_utf8(&key)
                .ok()
                .and_then(|k| Key::new(k).ok());
            let head = format::decode_head(&bytes).ok();
            if let (Some(key), Some(head)) = (key, head) {
                tree.replace(&key, None, Some(head.version));
            }
        }
        tree
    }

    /// Makes this tree the one on the medium.
    pub fn write_tree(&self, tree: &Tree) -> fjall::Result<()> {
        let present = self.tree()?;
        let cells = (0..=u16::MAX).map(Cell);
        let changed: Vec<Cell> = cells
            .filter(|cell| present.cell(*cell) != tree.cell(*cell))
            .collect();
        for cells in changed.chunks(TREE_BATCH) {
            let mut batch = self.batch();
            for cell in cells {
                self.note_cell(&mut batch, *cell, tree.cell(*cell));
            }
            batch.commit()?;
        }
        Ok(())
    }

    /// Adds a cell's note to a batch.
    pub fn note_cell(&self, batch: &mut fjall::OwnedWriteBatch, cell: Cell, digest: u128) {
        let name = format::cell_name(cell);
        match digest {
            0 => batch.remove(&self.metas, name),
            _ => batch.insert(&self.metas, name, digest.to_be_bytes()),
        }
    }

    /// Counts live items and tombstones by reading every record, up to the first block that
    /// cannot be read; for a store whose count is lost.
    pub fn count(&self) -> (u64, u64) {
        let (mut items, mut tombstones) = (0, 0);
        for guard in self.items.iter() {
            let Ok(bytes) = guard.value() else {
                break;
            };
            match format::decode_head(&bytes) {
                Ok(head) if head.tombstone => tombstones += 1,
                _ => items += 1,
            }
        }
        (items, tombstones)
    }
}

/// Bytes of the blocks of everything below a directory. What is gone by the time it is looked at
/// counts for nothing: the worker removes tables and journals meanwhile.
fn taken_bytes(directory: &Path) -> u64 {
    let mut bytes = 0;
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let entries = fs::read_dir(directory).into_iter().flatten();
        for entry in entries.filter_map(Result::ok) {
            let Ok(facts) = entry.metadata() else {
                continue;
            };
            bytes += facts.blocks() * BLOCK_BYTES;
            if facts.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    bytes
}

/// Looks through manifests and journals before the database does; see there.
fn mend(path: &Path) -> Result<(), OpenError> {
    let database = path.join("db");
    let fail = |error| io_error(path, error);
    // What somebody who has it open writes at this moment looks torn.
    let Ok(lock) = fs::File::open(database.join("lock")) else {
        return Ok(());
    };
    let Ok(_lock) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else {
        return Ok(());
    };
    let note = |reason: &str| {
        crate::runtime::datadir::write_atomically(&path.join(DAMAGE), reason.as_bytes())
    };
    if let Some(file) = manifest::find_damage(&database).map_err(fail)? {
        return Err(OpenError::DamagedFile {
            path: path.to_owned(),
            file,
        });
    }
    let mended = journal::mend(&database, note).map_err(fail)?;
    if let Some(damage) = mended.damage {
        tracing::warn!(
            damage,
            "the log of the store is damaged; check the card (`dmesg`)"
        );
    }
    if mended.torn_bytes > 0 {
        tracing::info!(
            bytes = mended.torn_bytes,
            "a write that was never answered was cut off"
        );
    }
    Ok(())
}

/// Checks the format file; none when there is no store yet.
fn check_format(path: &Path) -> Result<Option<u32>, OpenError> {
    let text = match fs::read_to_string(path.join("format")) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if path.join("db").exists() {
                return Err(OpenError::Foreign(path.to_owned()));
            }
            return Ok(None);
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(OpenError::Foreign(path.to_owned()));
        }
        Err(error) => return Err(io_error(path, error)),
    };
    let version = text.strip_prefix(FORMAT_MARK).map(str::trim_end);
    match version.and_then(|version| version.parse::<u32>().ok()) {
        None | Some(0) => Err(OpenError::Foreign(path.to_owned())),
        Some(got) if got > STORE_FORMAT => Err(OpenError::NewerFormat {
            path: path.to_owned(),
            got,
        }),
        // The file is written first, the database is renamed into its place last.
        Some(format) => Ok(path.join("db").exists().then_some(format)),
    }
}

/// Makes the database beside its place and renames it there, so that a power cut leaves a whole
/// one or none: fjall does not open what it had half made.
fn create(path: &Path) -> Result<(), OpenError> {
    let fail = |error| io_error(path, error);
    let new = path.join("db.new");
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    write_format(path)?;
    drop(Medium::open_database(path, &new)?);
    fs::rename(&new, path.join("db")).map_err(fail)?;
    fs::File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(fail)
}

fn write_format(path: &Path) -> Result<(), OpenError> {
    let mark = format!("{FORMAT_MARK}{STORE_FORMAT}\n");
    crate::runtime::datadir::write_atomically(&path.join("format"), mark.as_bytes())
        .map_err(|error| io_error(path, error))
}

fn io_error(path: &Path, error: io::Error) -> OpenError {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnlyMedium(path.to_owned()),
        _ => OpenError::Io {
            path: path.to_owned(),
            source: error,
        },
    }
}

fn database_error(path: &Path, error: fjall::Error) -> OpenError {
    match error {
        fjall::Error::Locked => OpenError::InUse(path.to_owned()),
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            io_error(path, error)
        }
        source => OpenError::Damaged {
            path: path.to_owned(),
            source,
        },
    }
}

/// The medium had no room left.
pub(super) fn is_full(error: &fjall::Error) -> bool {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded
            )
        }
        _ => false,
    }
}
