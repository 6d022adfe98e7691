//! The data directory: one process at a time, mode 0700, and files that are whole or absent.
//!
//! What lies in it belongs to others: `identity` and `counters` beside this file, `store/`.
//!
//! ```text
//! lock          held by the process that runs
//! identity.pk8  the board's key          counters   starts so far
//! store/        the flash store
//! certificate.der  what TLS clients are shown
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A data directory that this process alone has, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be had; its content is as it was.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error(
        "the data directory {} is in use by another roundel; stop that one, or give this one \
         another directory with --data",
        .0.display()
    )]
    InUse(PathBuf),
    /// It cannot be made or written.
    #[error("the data directory {} cannot be used: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DataDir {
    /// Makes the directory when there is none, takes others' rights from it, and locks it.
    ///
    /// # Errors
    /// [`DataDirError`]: in use, or not writable.
    pub fn lock(path: &Path) -> Result<Self, DataDirError> {
        let fail = |source| DataDirError::Io {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(fail)?;
        let mode = fs::metadata(path).map_err(fail)?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(fail)?;
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDir {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the flash store lies.
    pub fn store_path(&self) -> PathBuf {
        self.path.join("store")
    }
}

/// The error is of a medium that is gone or can only be read: no other directory of it would do.
pub fn is_of_medium(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ReadOnlyFilesystem
        || error.raw_os_error() == Some(nix::errno::Errno::EIO as i32)
}

/// Replaces a file (mode 0600) so that a power cut leaves the old bytes or the new ones.
///
/// # Errors
/// The system's; the old file is still in place, unless only the directory's sync failed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_owned();
    name.push(".new");
    let new = directory.join(name);
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    // One that was left behind by other hands may be anybody's to read.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

/// A replacement that is broken off after each of its steps; `look` is told whether the new bytes
/// are to be read.
#[cfg(test)]
pub(super) fn break_off(
    path: &Path,
    old: Option<&[u8]>,
    bytes: &[u8],
    mut look: impl FnMut(bool, &str),
) {
    let new = path.with_extension("new");
    let _ = fs::remove_file(path);
    if let Some(old) = old {
        write_atomically(path, old).expect("the directory is ours");
    }
    look(false, "nothing is done");
    for length in [0, 1, bytes.len() / 2, bytes.len() - 1, bytes.len()] {
        fs::write(&new, &bytes[..length]).expect("the directory is ours");
        look(false, &format!("{length} bytes are written"));
    }
    // The next start replaces what was left behind.
    write_atomically(path, bytes).expect("the directory is ours");
    assert!(!new.exists());
    look(true, "it is renamed");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn directory_is_made_for_its_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b");
        let directory = DataDir::lock(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(directory.store_path(), path.join("store"));
    }

    #[test]
    fn rights_of_others_are_taken_away() {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
        DataDir::lock(temp.path()).unwrap();
        assert_eq!(mode(temp.path()), 0o700);
    }

    #[test]
    fn directory_in_use_is_refused_until_it_is_free() {
        let temp = tempfile::tempdir().unwrap();
        let first = DataDir::lock(temp.path()).unwrap();
        let error = DataDir::lock(temp.path()).unwrap_err().to_string();
        assert!(error.contains(temp.path().to_str().unwrap()), "{error}");
        assert!(error.contains("--data"), "{error}");
        drop(first);
        DataDir::lock(temp.path()).unwrap();
    }

    #[test]
    fn only_what_the_medium_says_is_of_the_medium() {
        let error = |errno| io::Error::from_raw_os_error(errno as i32);
        use nix::errno::Errno;
        assert!(
            [Errno::EROFS, Errno::EIO]
                .map(error)
                .iter()
                .all(is_of_medium)
        );
        let others = [Errno::EACCES, Errno::ENOTDIR, Errno::ENOSPC, Errno::EEXIST];
        assert!(!others.map(error).iter().any(is_of_medium));
    }

    #[test]
    fn file_is_replaced_whole_and_private() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        // What a power cut left behind does not get in the way.
        fs::write(temp.path().join("file.new"), b"half").unwrap();
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
