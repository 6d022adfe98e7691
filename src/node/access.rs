//! Where the node's keys and its access state come from, and what callers are judged by.
//!
//! The key is that of the file the configuration names, else `cluster.key` in the data directory. A
//! cluster with a key is keyed, one whose configuration says `open = true` is open, and any other
//! trusts its LAN until it gets a key.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::base::access::Access;
use crate::config::Config;
use crate::proto::ssdp::link::Prefix;
use crate::runtime::driver::Clock;
use crate::security::key::{ClusterKey, KeyError, Keyring};
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

/// The keys and the access state that a board starts with.
pub(super) fn keys(config: &Config, data: &Path) -> Result<watch::Sender<Arc<Keys>>, KeyFileError> {
    let own = data.join(KEY_FILE);
    let path = match &config.key_file {
        Some(path) => Some(path.clone()),
        None => own.exists().then(|| own.clone()),
    };
    let keyring = match path {
        Some(path) if config.open => return Err(KeyFileError::Open(path)),
        Some(path) => Some(Keyring::new(read_key(&path)?)),
        None => None,
    };
    let access = match (&keyring, config.open) {
        (Some(_), _) => Access::Keyed,
        (None, true) => Access::Open,
        (None, false) => Access::Provisional,
    };
    Ok(watch::Sender::new(Arc::new(Keys { access, keyring })))
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
