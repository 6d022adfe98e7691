//! Where the node's keys and its access state come from, and what callers are judged by.
//!
//! A key is that of the file the configuration names, else `cluster.key` in the data directory,
//! else the one in the keyring. A board without any draws one and pairs, and its cluster trusts the
//! LAN until the owner confirms the key.
//!
//! A file that cannot be used stops the start, unless the configuration is tolerant. Then the board
//! has what its owner has confirmed and the other files say; without that the key is withheld: it
//! is in a ring of its own that nobody else can enter, never in one that trusts the LAN.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use super::RunError;

use crate::base::problem::Problem;
use crate::config::Config;
use crate::proto::keyring::{Kept, Origin};
use crate::proto::ssdp::link::Prefix;
use crate::runtime::datadir::DataDir;
use crate::runtime::driver::Clock;
use crate::runtime::keyring;
use crate::security::key::{ClusterKey, KeyError};
use crate::service::caller::{Entrance, Keys};

/// The key's file in the data directory.
const KEY_FILE: &str = "cluster.key";
/// Bytes of a key file: its line and room for comments.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1_024;

/// Why a key file cannot be used; nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("the key file {} cannot be read: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It holds no key.
    #[error("{}: {source}; `roundel key new` makes one", .path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// An open cluster has no key.
    #[error(
        "open = true means no key, but there is {}: remove it and key_file, or open",
        .0.display()
    )]
    Open(PathBuf),
}

/// Reads a key file.
///
/// # Errors
/// [`KeyFileError`].
pub fn read_key(path: &Path) -> Result<ClusterKey, KeyFileError> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|source| KeyFileError::Io {
            path: path.to_owned(),
            source,
        })?;
    ClusterKey::from_text(&text).map_err(|source| KeyFileError::Form {
        path: path.to_owned(),
        source,
    })
}

impl KeyFileError {
    fn problem(&self) -> Problem {
        let of = |path: &Path, line, reason: &str, remedy| {
            Problem::of_file(&path.display().to_string(), line, reason, remedy)
        };
        match self {
            KeyFileError::Io { path, source } => {
                let reason = format!("the key file cannot be read: {source}");
                of(path, None, &reason, NEXT_OF_KEY)
            }
            KeyFileError::Form { path, source } => {
                let (line, reason) = match source {
                    KeyError::Empty => (None, source.to_string()),
                    KeyError::Form { line } => (Some(*line), NO_KEY_LINE.to_owned()),
                    KeyError::Second { line } => (
                        Some(*line),
                        "this is a second key; a file holds one".to_owned(),
                    ),
                };
                of(path, line, &reason, NEXT_OF_KEY)
            }
            KeyFileError::Open(path) => of(
                path,
                None,
                "open = true means no key, but here is one; the key is used",
                "remove the file, or open = true, and restart the board",
            ),
        }
    }
}

/// What a line of a key file is not.
const NO_KEY_LINE: &str = "this is not 'roundel-key-1 <epoch> <64 hex digits>'";
const NEXT_OF_KEY: &str = "put the cluster's key there (a copy of another board's file) and \
                           restart the board; until then it lets no stranger in";
const NEXT_OF_KEYRING: &str = "put that right and restart the board; until then it lets no \
                               stranger in and keeps no new key";

/// Where the board's keys come from at this start: the configuration, its keyring, a key in a
/// file, or nowhere, which opens the pairing window if `pairs`. With it, what is wrong with them
/// though the start goes on.
///
/// # Errors
/// [`RunError`], of a file that cannot be used; of the medium only, if the configuration is
/// tolerant.
pub(super) fn origin(
    directory: &DataDir,
    config: &Config,
    pairs: bool,
) -> Result<(Origin, Vec<Problem>), RunError> {
    let own = config.data.join(KEY_FILE);
    let path = match &config.key_file {
        Some(path) => Some(path.clone()),
        None => own.exists().then(|| own.clone()),
    };
    let mut problems = Vec::new();
    if let (true, Some(path)) = (config.open, &path) {
        suffer(
            config,
            &mut problems,
            KeyFileError::Open(path.clone()).into(),
        )?;
    }
    if config.open && path.is_none() {
        let open = Origin {
            open: true,
            ..Origin::default()
        };
        return Ok((open, problems));
    }
    let mut withheld = false;
    let mut given = None;
    if let Some(path) = path {
        match read_key(&path) {
            Ok(key) => given = Some(key),
            Err(error) => {
                suffer(config, &mut problems, error.into())?;
                withheld = true;
            }
        }
    }
    let mut kept = match kept(directory) {
        Ok(kept) => kept,
        Err(error) => {
            suffer(config, &mut problems, error)?;
            withheld = true;
            None
        }
    };
    if withheld && kept.as_ref().is_some_and(|kept| kept.confirmed) {
        // The owner's own word stands where a file says nothing.
        withheld = false;
    } else if withheld {
        kept = None;
    }
    let none = kept.is_none() && given.is_none();
    let origin = Origin {
        open: false,
        window: match pairs && !withheld {
            true => keyring::pairing_window(directory, none)?,
            false => Duration::ZERO,
        },
        withheld: withheld || (none && !pairs),
        kept,
        given,
    };
    Ok((origin, problems))
}

fn kept(directory: &DataDir) -> Result<Option<Kept>, RunError> {
    let text = keyring::read(directory)?;
    let kept = text.map(|text| Kept::from_text(&text)).transpose();
    kept.map_err(|source| RunError::Keyring {
        path: keyring::path(directory).display().to_string(),
        source,
    })
}

/// Goes on with a problem where the configuration is tolerant of it.
fn suffer(config: &Config, problems: &mut Vec<Problem>, error: RunError) -> Result<(), RunError> {
    let problem = match &error {
        _ if !config.tolerant || error.is_of_medium() => return Err(error),
        RunError::Key(error) => error.problem(),
        RunError::Keyring { path, source } => {
            Problem::of_file(path, None, &source.to_string(), NEXT_OF_KEYRING)
        }
        RunError::KeyringFile(error) => Problem {
            file: None,
            line: None,
            reason: error.to_string(),
            remedy: NEXT_OF_KEYRING.to_owned(),
        },
        _ => return Err(error),
    };
    problems.push(problem);
    Ok(())
}

/// The addresses on this board's links, as discovery last saw them.
#[derive(Clone, Debug, Default)]
pub(super) struct OnLink(Arc<RwLock<Vec<Prefix>>>);

impl OnLink {
    /// To be told at each change.
    pub(super) fn set(&self, prefixes: Vec<Prefix>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = prefixes;
    }

    fn has(&self, address: IpAddr) -> bool {
        let prefixes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        prefixes.iter().any(|prefix| prefix.contains(address))
    }
}

/// What callers are judged by.
pub(super) fn entrance(
    config: &Config,
    keys: watch::Receiver<Arc<Keys>>,
    on_link: &OnLink,
    clock: Clock,
) -> Entrance {
    let on_link = on_link.clone();
    Entrance {
        keys,
        loopback: config.loopback,
        soap_writes: config.soap_writes,
        on_link: Arc::new(move |address| on_link.has(address)),
        now: Arc::new(move || clock.now()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limit;
    use crate::security::key::Keyring;

    /// What a tolerant board finds in its data directory with these files.
    fn found(files: &[(&str, &str)], set: impl Fn(&mut Config)) -> (Origin, Vec<Problem>) {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::lock(temp.path()).unwrap();
        for (name, text) in files {
            let path = temp.path().join(name);
            crate::runtime::datadir::write_atomically(&path, text.as_bytes()).unwrap();
        }
        let mut config = Config::new(temp.path().to_owned());
        set(&mut config);
        if !files.is_empty() {
            let strict = origin(&directory, &config, config.pairs);
            config.tolerant = true;
            let (found, problems) = origin(&directory, &config, config.pairs).unwrap();
            assert_eq!(strict.is_err(), !problems.is_empty(), "{problems:?}");
            return (found, problems);
        }
        config.tolerant = true;
        origin(&directory, &config, config.pairs).unwrap()
    }

    fn key() -> ClusterKey {
        ClusterKey::new(3, [7; 32])
    }

    fn kept(confirmed: bool) -> String {
        let kept = Kept {
            keyring: Keyring::new(key()),
            confirmed,
            revoked: vec![],
        };
        kept.to_text().to_string()
    }

    #[test]
    fn no_key_file_pairs_and_one_that_is_no_key_never_does() {
        let (fresh, problems) = found(&[], |_| ());
        assert!(!fresh.withheld && problems.is_empty());
        assert_eq!(fresh.window, limit::PAIRING_TIME);
        for text in ["", "# nothing\n", "\nroundel-key-1 0 abc\n", "\u{0}"] {
            let (origin, problems) = found(&[(KEY_FILE, text)], |_| ());
            assert!(origin.withheld && !origin.open, "{text:?}");
            assert_eq!(origin.window, Duration::ZERO);
            assert_eq!(problems.len(), 1);
        }
        let (origin, problems) = found(&[(KEY_FILE, "# key\nx\n")], |_| ());
        assert!(
            origin.withheld && problems[0].line == Some(2),
            "{problems:?}"
        );
        assert!(
            problems[0].reason.starts_with("this is not"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_key_file_that_is_named_and_not_there_withholds_the_key() {
        let missing = |config: &mut Config| config.key_file = Some("/nowhere/cluster.key".into());
        let (origin, problems) = found(&[], missing);
        assert!(origin.withheld && origin.window.is_zero());
        assert!(
            problems[0]
                .to_string()
                .starts_with("/nowhere/cluster.key: ")
        );
    }

    #[test]
    fn confirmed_keyring_stands_where_the_file_says_nothing() {
        let (origin, problems) = found(&[(KEY_FILE, "x"), ("keyring", &kept(true))], |_| ());
        assert!(!origin.withheld && problems.len() == 1);
        assert_eq!(origin.kept.unwrap().keyring.current, key());
        // One that trusted the LAN does not, when its owner has tried to close it.
        let (origin, _) = found(&[(KEY_FILE, "x"), ("keyring", &kept(false))], |_| ());
        assert!(origin.withheld && origin.kept.is_none());
    }

    #[test]
    fn damaged_keyring_leaves_the_key_of_the_file_and_is_not_overwritten() {
        let files = [
            (KEY_FILE, key().to_text()),
            ("keyring", "rubbish".to_owned()),
        ];
        let files = [
            (files[0].0, files[0].1.as_str()),
            (files[1].0, files[1].1.as_str()),
        ];
        let (origin, problems) = found(&files, |_| ());
        assert_eq!(origin.given, Some(key()));
        assert!(origin.withheld && problems[0].to_string().contains("keyring"));
        let (origin, _) = found(&files[1..], |_| ());
        assert!(origin.withheld && origin.given.is_none() && origin.window.is_zero());
    }

    #[test]
    fn open_beside_a_key_is_not_open() {
        let text = key().to_text();
        let (origin, problems) = found(&[(KEY_FILE, &text)], |config| config.open = true);
        assert!(!origin.open && !origin.withheld && problems.len() == 1);
        assert_eq!(origin.given, Some(key()));
    }

    #[test]
    fn a_doubtful_configuration_founds_no_ring_with_strangers() {
        let (origin, _) = found(&[], |config| config.pairs = false);
        assert!(origin.withheld && origin.window.is_zero());
        let (origin, _) = found(&[("keyring", &kept(false))], |config| config.pairs = false);
        assert!(!origin.withheld && origin.kept.is_some() && origin.window.is_zero());
    }
}
