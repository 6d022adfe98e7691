//! The file that holds the board's identity key.
//!
//! It knows nothing of keys: it keeps the bytes that `security` makes and reads.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::datadir::{DataDir, write_atomically};

/// More bytes than any PKCS #8 document of a P-256 key has.
const KEY_FILE_BYTES_MAX: u64 = 4_096;

/// Why the key cannot be had; the file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFileError {
    /// Others may read it: it may be known to them.
    #[error(
        "{} has mode {mode:o}, others may read this board's key; if nobody did, \
         `chmod 600` it, else remove it: the board is then a new one",
        .path.display()
    )]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is empty or far too long.
    #[error(
        "{} has {got_bytes} bytes, which is no key; restore it, or remove it: the board is then a \
         new one",
        .path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Its length.
        got_bytes: u64,
    },
    /// It cannot be read or written.
    #[error("{} cannot be used: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads the key, or on the first start makes it with `generate` and keeps it (0600, whole or not
/// at all).
///
/// # Errors
/// [`IdentityFileError`]; an existing file is never changed.
pub fn read_or_create(
    directory: &DataDir,
    generate: impl FnOnce() -> Vec<u8>,
) -> Result<Vec<u8>, IdentityFileError> {
    let path = directory.path().join("identity.pk8");
    match fs::metadata(&path) {
        Ok(metadata) => read(&path, &metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let bytes = generate();
            write_atomically(&path, &bytes).map_err(|source| io_error(&path, source))?;
            Ok(bytes)
        }
        Err(source) => Err(io_error(&path, source)),
    }
}

fn read(path: &Path, metadata: &fs::Metadata) -> Result<Vec<u8>, IdentityFileError> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityFileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    if metadata.size() == 0 || metadata.size() > KEY_FILE_BYTES_MAX {
        return Err(IdentityFileError::Damaged {
            path: path.to_owned(),
            got_bytes: metadata.size(),
        });
    }
    fs::read(path).map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> IdentityFileError {
    IdentityFileError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_made_at_the_first_start_is_read_back_at_the_next() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::lock(temp.path()).unwrap();
        let made = read_or_create(&directory, || vec![1, 2, 3]).unwrap();
        let read = read_or_create(&directory, || panic!("there is a key")).unwrap();
        assert_eq!((made, read), (vec![1, 2, 3], vec![1, 2, 3]));
        let mode = fs::metadata(temp.path().join("identity.pk8"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn key_that_others_may_read_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::lock(temp.path()).unwrap();
        let path = temp.path().join("identity.pk8");
        fs::write(&path, b"key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_or_create(&directory, || panic!("there is a key")).unwrap_err();
        assert!(error.to_string().contains("mode 640"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"key");
    }

    #[test]
    fn empty_key_file_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::lock(temp.path()).unwrap();
        write_atomically(&temp.path().join("identity.pk8"), b"").unwrap();
        let error = read_or_create(&directory, || panic!("there is a file")).unwrap_err();
        assert!(matches!(
            error,
            IdentityFileError::Damaged { got_bytes: 0, .. }
        ));
    }
}
