//! The files of the board's keys: the keyring, a key given in a file, and the mark of the pairing
//! window.
//!
//! It knows the text of none but the mark's. `keyring` is replaced whole (0600) each time the board
//! says so; a power cut leaves the old or the new one. `pairing` is written once, at the first
//! start without a key: which boot of the system that was, and until when by that boot's clock the
//! window is open. After another boot it is over.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::datadir::{DataDir, write_atomically};
use crate::base::limit;

/// Why the files cannot be used; they are as they were.
#[derive(Debug, thiserror::Error)]
pub enum KeyringFileError {
    /// Others may read it: they may know the cluster's key.
    #[error(
        "{} has mode {mode:o}, others may read the cluster's key; if nobody did, `chmod 600` it",
        .path.display()
    )]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is far too long, or no text.
    #[error(
        "{} is no keyring; restore it, or remove it: the board then needs a key anew",
        .0.display()
    )]
    Damaged(PathBuf),
    /// It cannot be read or written.
    #[error("{} cannot be used: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where the keyring lies.
pub fn path(directory: &DataDir) -> PathBuf {
    directory.path().join("keyring")
}

/// The keyring's text; none: there is no file.
///
/// # Errors
/// [`KeyringFileError`].
pub fn read(directory: &DataDir) -> Result<Option<Zeroizing<String>>, KeyringFileError> {
    let path = path(directory);
    let text = read_text(&path)?;
    if text.is_some() {
        let mode = fs::metadata(&path).map_err(|source| io_error(&path, source))?;
        let mode = mode.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyringFileError::Exposed { path, mode });
        }
    }
    Ok(text)
}

/// A small secret file's text; none: there is no such file.
///
/// # Errors
/// [`KeyringFileError`], but never that others may read it: a boot partition knows no owners.
pub fn read_text(path: &Path) -> Result<Option<Zeroizing<String>>, KeyringFileError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error(path, source)),
        Ok(found) if found.size() > limit::KEYRING_BYTES_MAX => {
            return Err(KeyringFileError::Damaged(path.to_owned()));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|source| io_error(path, source))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(_) => Err(KeyringFileError::Damaged(path.to_owned())),
    }
}

/// What is left of the pairing window; a board that never had a key (`fresh`) opens it here.
///
/// # Errors
/// [`KeyringFileError::Io`].
pub fn pairing_window(directory: &DataDir, fresh: bool) -> Result<Duration, KeyringFileError> {
    let path = directory.path().join("pairing");
    let (boot, uptime_s) = this_boot().map_err(|source| io_error(&path, source))?;
    let marked = read_text(&path)?;
    match marked.as_ref().and_then(|text| text.trim().split_once(' ')) {
        Some((at, until_s)) if at == boot => {
            let until_s: u64 = until_s.parse().unwrap_or(0);
            Ok(Duration::from_secs(until_s.saturating_sub(uptime_s)).min(limit::PAIRING_TIME))
        }
        None if fresh && marked.is_none() => {
            let until_s = uptime_s + limit::PAIRING_TIME.as_secs();
            let text = format!("{boot} {until_s}\n");
            write_atomically(&path, text.as_bytes()).map_err(|source| io_error(&path, source))?;
            Ok(limit::PAIRING_TIME)
        }
        _ => Ok(Duration::ZERO),
    }
}

/// Which boot of the system this is, and how many seconds ago it was; suspended ones count.
fn this_boot() -> io::Result<(String, u64)> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let uptime = fs::read_to_string("/proc/uptime")?;
    let seconds = uptime.split('.').next().and_then(|text| text.parse().ok());
    Ok((id.trim().to_owned(), seconds.unwrap_or(0)))
}

/// Writes keyrings one after the other, off the event loop: texts in, results out. Of several
/// that wait the last is written; each is answered.
pub fn writer(
    path: PathBuf,
) -> (
    mpsc::UnboundedSender<Zeroizing<String>>,
    mpsc::UnboundedReceiver<Result<(), String>>,
) {
    let (texts, mut waiting) = mpsc::unbounded_channel::<Zeroizing<String>>();
    let (results_in, results) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(mut text) = waiting.recv().await {
            let mut count = 1;
            while let Ok(later) = waiting.try_recv() {
                text = later;
                count += 1;
            }
            let path = path.clone();
            let write = move || write_atomically(&path, text.as_bytes());
            let result = match tokio::task::spawn_blocking(write).await {
                Ok(written) => written.map_err(|error| error.to_string()),
                Err(_) => Err("the write was abandoned".to_owned()),
            };
            for _ in 0..count {
                if results_in.send(result.clone()).is_err() {
                    return;
                }
            }
        }
    });
    (texts, results)
}

fn io_error(path: &Path, source: io::Error) -> KeyringFileError {
    KeyringFileError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, DataDir) {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::lock(temp.path()).unwrap();
        (temp, directory)
    }

    #[tokio::test]
    async fn the_last_keyring_is_in_the_file_and_private() {
        let (_temp, directory) = directory();
        assert!(read(&directory).unwrap().is_none());
        let (texts, mut results) = writer(path(&directory));
        for number in 0..5 {
            texts.send(Zeroizing::new(format!("{number}"))).unwrap();
        }
        drop(texts);
        while let Some(result) = results.recv().await {
            result.unwrap();
        }
        assert_eq!(read(&directory).unwrap().unwrap().as_str(), "4");
        let mode = |mode| {
            fs::set_permissions(path(&directory), fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o640);
        let error = read(&directory).unwrap_err().to_string();
        assert!(error.contains("mode 640"), "{error}");
        mode(0o600);
        fs::write(path(&directory), [0xff, 0xfe]).unwrap();
        assert!(matches!(
            read(&directory),
            Err(KeyringFileError::Damaged(_))
        ));
    }

    #[test]
    fn window_opens_once_and_a_reboot_ends_it() {
        let (_temp, at) = directory();
        assert_eq!(pairing_window(&at, false).unwrap(), Duration::ZERO);
        assert_eq!(pairing_window(&at, true).unwrap(), limit::PAIRING_TIME);
        let again = pairing_window(&at, true).unwrap();
        assert!(again > Duration::ZERO && again <= limit::PAIRING_TIME);
        let mark = at.path().join("pairing");
        let text = fs::read_to_string(&mark).unwrap();
        let (boot, until) = text.trim().split_once(' ').unwrap();
        fs::write(&mark, format!("another-boot {until}\n")).unwrap();
        assert_eq!(pairing_window(&at, true).unwrap(), Duration::ZERO);
        fs::write(&mark, format!("{boot} 0\n")).unwrap();
        assert_eq!(pairing_window(&at, true).unwrap(), Duration::ZERO);
        fs::write(&mark, "").unwrap();
        assert_eq!(pairing_window(&at, true).unwrap(), Duration::ZERO);
    }

    #[test]
    fn keyring_broken_off_at_any_step_is_the_old_one_or_the_new_one() {
        use crate::proto::keyring::Kept;
        use crate::security::key::{ClusterKey, Keyring};
        let (_temp, at) = directory();
        let [old, new] = [1, 2].map(|epoch| Kept {
            keyring: Keyring::new(ClusterKey::new(epoch, [epoch as u8; 32])),
            confirmed: epoch == 2,
            revoked: vec![],
        });
        let texts = [old.to_text(), new.to_text()];
        for before in [None, Some(&old)] {
            let bytes = before.map(|_| texts[0].as_bytes());
            super::super::datadir::break_off(
                &path(&at),
                bytes,
                texts[1].as_bytes(),
                |is_new, what| {
                    let read = read(&at)
                        .unwrap()
                        .map(|text| Kept::from_text(&text).unwrap());
                    let expected = if is_new { Some(&new) } else { before };
                    assert_eq!(read.as_ref(), expected, "{what}");
                },
            );
        }
    }

    #[test]
    fn mark_of_the_window_broken_off_at_any_step_opens_no_second_one() {
        let (_temp, at) = directory();
        let mark = at.path().join("pairing");
        pairing_window(&at, true).unwrap();
        let whole = fs::read(&mark).unwrap();
        let boot = String::from_utf8(whole).unwrap();
        let boot = boot.split_once(' ').unwrap().0.to_owned();
        let (over, left) = (format!("{boot} 0\n"), format!("{boot} 99999999999\n"));
        super::super::datadir::break_off(
            &mark,
            Some(over.as_bytes()),
            left.as_bytes(),
            |is_new, what| {
                let window = pairing_window(&at, true).unwrap();
                assert_eq!(window > Duration::ZERO, is_new, "{what}");
            },
        );
    }
}
