//! Where the node's keys and its access state come from, and what callers are judged by.
//!
//! A key is that of the file the configuration names, else `cluster.key` in the data directory,
//! else the one in the keyring. A board without any draws one and pairs, and its cluster trusts the
//! LAN until the owner confirms the key.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::RunError;

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

/// Where the board's keys come from at this start: the configuration, its keyring, a key in a
/// file, or nowhere, which opens the pairing window.
///
/// # Errors
/// [`RunError`], of a file that cannot be used.
pub(super) fn origin(directory: &DataDir, config: &Config) -> Result<Origin, RunError> {
    let own = config.data.join(KEY_FILE);
    let path = match &config.key_file {
        Some(path) => Some(path.clone()),
        None => own.exists().then(|| own.clone()),
    };
    let given = match path {
        Some(path) if config.open => return Err(KeyFileError::Open(path).into()),
        Some(path) => Some(read_key(&path)?),
        None => None,
    };
    if config.open {
        return Ok(Origin {
            open: true,
            ..Origin::default()
        });
    }
    let damaged = |source| RunError::Keyring {
        path: keyring::path(directory).display().to_string(),
        source,
    };
    let text = keyring::read(directory)?;
    let kept = text.map(|text| Kept::from_text(&text).map_err(damaged));
    let kept = kept.transpose()?;
    let fresh = kept.is_none() && given.is_none();
    Ok(Origin {
        open: false,
        window: keyring::pairing_window(directory, fresh)?,
        kept,
        given,
    })
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
