//! Why a board cannot run: every error of a start or of the loop, in words that say what to do.

use std::net::SocketAddr;

use super::access::KeyFileError;
use crate::proto::keyring::KeptError;
use crate::runtime::datadir::{self, DataDirError};
use crate::runtime::identity::IdentityFileError;
use crate::runtime::keyring::KeyringFileError;
use crate::runtime::memorydir::MemoryDirError;
use crate::runtime::store::OpenError;
use crate::runtime::tls::TlsError;
use crate::security::identity::IdentityError;

/// Why a board could not start or had to stop; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The identity file cannot be used.
    #[error(transparent)]
    IdentityFile(#[from] IdentityFileError),
    /// The keyring's file cannot be used.
    #[error(transparent)]
    KeyringFile(#[from] KeyringFileError),
    /// The keyring's file is damaged.
    #[error(
        "{path}: {source}; restore it, or move it away: the board then needs the cluster's key \
         anew (`roundel key import`)"
    )]
    Keyring {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: KeptError,
    },
    /// The identity file is not a key.
    #[error(
        "{path}: {source}; put back the board's own file, or move the data directory away to \
         start as a new board"
    )]
    Identity {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: IdentityError,
    },
    /// The medium of the data directory is gone, and there is no memory to work in either.
    #[error(
        "{cause}; check the card (`dmesg`). To run without it a board needs a private directory \
         on a file system in memory, and none can be had: {source}"
    )]
    NoMemory {
        /// What is wrong with the data directory.
        cause: Box<RunError>,
        /// And with each place in memory.
        source: MemoryDirError,
    },
    /// The cluster's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// No port could be had.
    #[error("port {port} cannot be used: {source}; free it, or choose another with --port")]
    Port {
        /// The one asked for, or the first tried.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store cannot be opened; nothing in it was changed.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Another board runs with this one's card.
    #[error(
        "another board with this board's identity answers at {endpoint}: its card is a clone of \
         this one. Stop one of the two, then remove identity.pk8 and the rest of the clone's data \
         directory, so that it starts as a board of its own"
    )]
    ClonedCard {
        /// Where.
        endpoint: SocketAddr,
    },
    /// Something of the system that a board cannot do without.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The identity key cannot sign for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gave no random bytes.
    #[error("the system's random source failed; a board needs one")]
    NoEntropy,
}

impl RunError {
    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        1
    }

    /// The data directory lies on a medium that cannot be written.
    pub(super) fn is_of_medium(&self) -> bool {
        match self {
            RunError::DataDir(DataDirError::Io { source, .. })
            | RunError::IdentityFile(IdentityFileError::Io { source, .. })
            | RunError::KeyringFile(KeyringFileError::Io { source, .. })
            | RunError::System { source, .. } => datadir::is_of_medium(source),
            _ => false,
        }
    }
}

/// An error of the system, with what was tried.
pub(super) fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> RunError {
    move |source| RunError::System { what, source }
}
