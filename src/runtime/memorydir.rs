//! A working directory in memory, for a board whose data directory lies on a medium that is
//! read-only or fails.
//!
//! It holds what a data directory holds, and is gone when the power is. Its name follows from the
//! data directory's, so that a process that starts again finds it, and two boards of one machine
//! have one each. Which errors lead here, and what the board does without a medium, is the node's
//! to say.
//!
//! File systems in memory are open to everybody (`/dev/shm`), so nothing that lies there already
//! is believed but a directory that is no link, is this user's and that no other can read.

use std::env;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{self, Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::base::id::Id;
use crate::base::limit;

/// Why no directory in memory can be had.
#[derive(Debug, thiserror::Error)]
#[error("{}", spoken(.tried))]
pub struct MemoryDirError {
    /// Each directory that was tried, and what was wrong with it.
    tried: Vec<(PathBuf, Unfit)>,
}

/// What is wrong with one place.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is on a disk, or on nothing that says of itself to be in memory.
    #[error("not a file system in memory (tmpfs)")]
    NotInMemory,
    /// The medium has too little room.
    #[error(
        "{free_bytes} bytes free, {} needed",
        limit::MEMORY_DIRECTORY_BYTES_MIN
    )]
    Small {
        /// What is free.
        free_bytes: u64,
    },
    /// Somebody else may have put it there.
    #[error("exists and is not a private directory of this user")]
    Foreign,
    /// It cannot be made or looked at.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Makes the directory that stands in for `data`, or finds the one of an earlier start; its mode
/// is 0700. Looks in `$XDG_RUNTIME_DIR`, `/run` and `/dev/shm`, in this order.
///
/// # Errors
/// [`MemoryDirError`]; nothing was made.
pub fn make(data: &Path) -> Result<PathBuf, MemoryDirError> {
    let name = name_of(data);
    let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|path| path.is_absolute());
    let everybodys = ["/run", "/dev/shm"].map(PathBuf::from);
    let mut tried = Vec::new();
    for place in own.into_iter().chain(everybodys) {
        let directory = place.join(&name);
        match is_fit(&place).and_then(|()| make_private(&directory)) {
            Ok(()) => return Ok(directory),
            Err(unfit) => tried.push((directory, unfit)),
        }
    }
    Err(MemoryDirError { tried })
}

/// Names differ by data directory and user.
fn name_of(data: &Path) -> String {
    let whole = path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let digest = Id::of(whole.as_os_str().as_bytes()).to_string();
    format!("roundel-{}-{}", nix::unistd::geteuid(), &digest[..16])
}

fn is_fit(place: &Path) -> Result<(), Unfit> {
    let found = statfs(place).map_err(io::Error::from)?;
    if found.filesystem_type() != TMPFS_MAGIC {
        return Err(Unfit::NotInMemory);
    }
    // The widths of both differ between 32- and 64-bit systems.
    let block_bytes = u64::try_from(found.block_size()).unwrap_or(0);
    #[allow(clippy::useless_conversion)]
    let free_bytes = u64::from(found.blocks_available()).saturating_mul(block_bytes);
    match free_bytes >= limit::MEMORY_DIRECTORY_BYTES_MIN {
        true => Ok(()),
        false => Err(Unfit::Small { free_bytes }),
    }
}

fn make_private(directory: &Path) -> Result<(), Unfit> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    // Where others may write they may not rename what is not theirs, so what holds now goes on to.
    let found = fs::symlink_metadata(directory)?;
    let private = found.is_dir()
        && found.uid() == nix::unistd::geteuid().as_raw()
        && found.mode() & 0o077 == 0;
    match private {
        true => Ok(()),
        false => Err(Unfit::Foreign),
    }
}

fn spoken(tried: &[(PathBuf, Unfit)]) -> impl fmt::Display {
    let each = tried
        .iter()
        .map(|(path, unfit)| format!("{}: {unfit}", path.display()));
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn names_differ_by_data_directory_and_stay_the_same() {
        let name = name_of(Path::new("/var/lib/roundel"));
        assert_eq!(name, name_of(Path::new("/var/lib/roundel")));
        assert_ne!(name, name_of(Path::new("/var/lib/roundel2")));
        let here = env::current_dir().unwrap().join("data");
        assert_eq!(name_of(Path::new("data")), name_of(&here));
    }

    #[test]
    fn directory_is_private_and_found_again() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("a");
        make_private(&directory).unwrap();
        fs::write(directory.join("file"), b"kept").unwrap();
        make_private(&directory).unwrap();
        let mode = fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(fs::read(directory.join("file")).unwrap(), b"kept");
    }

    #[test]
    fn what_another_may_have_planted_is_not_used() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("target");
        make_private(&target).unwrap();
        let link = temp.path().join("link");
        symlink(&target, &link).unwrap();
        assert!(matches!(make_private(&link), Err(Unfit::Foreign)));
        let dangling = temp.path().join("dangling");
        symlink(temp.path().join("nowhere"), &dangling).unwrap();
        assert!(matches!(make_private(&dangling), Err(Unfit::Foreign)));
        assert!(!temp.path().join("nowhere").exists());
        let file = temp.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(make_private(&file), Err(Unfit::Foreign)));
        let open = temp.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(make_private(&open), Err(Unfit::Foreign)));
        if nix::unistd::geteuid().is_root() {
            let foreign = temp.path().join("foreign");
            make_private(&foreign).unwrap();
            std::os::unix::fs::chown(&foreign, Some(12_345), None).unwrap();
            assert!(matches!(make_private(&foreign), Err(Unfit::Foreign)));
        }
    }

    #[test]
    fn a_disk_is_no_place_in_memory() {
        assert!(matches!(
            is_fit(Path::new("/proc")),
            Err(Unfit::NotInMemory)
        ));
        assert!(matches!(is_fit(Path::new("/nowhere")), Err(Unfit::Io(_))));
    }
}
