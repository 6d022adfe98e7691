//! Updates of the image: what whoever keeps the card is asked, and what it refuses.
//!
//! An update comes in parts over JSON-RPC, so that every way to prove oneself, and the bounds of
//! a request, hold for it as for all else. Nothing here trusts a byte of it: the signature is
//! checked by the runtime before the first is kept, and again by the system before it is started.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::wire::jsonrpc::Code;
use crate::wire::update::{Unfit, UpdateError};

use super::Failure;

/// What is asked, in this order: one `Begin`, all bytes by `Write`, one `Finish`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Take an update with this head.
    Begin {
        /// Its first 4,096 bytes.
        head: Bytes,
        /// It may be older than what runs.
        downgrade: bool,
    },
    /// Keep a part of its root.
    Write {
        /// Bytes of the root before it.
        offset: u64,
        /// The part.
        bytes: Bytes,
    },
    /// All of it was sent: check it, and have it tried.
    Finish,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Bytes of the root that are kept.
    pub written: u64,
    /// Bytes that it has.
    pub length: u64,
}

/// What a board that was started from an image says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The board's name, as `image/build.sh` takes it.
    pub board: String,
    /// The image's version.
    pub version: String,
    /// Its commit.
    pub commit: String,
    /// Its kernel.
    pub kernel: String,
    /// The slot it was started from, `a` or `b`.
    pub slot: String,
    /// It is tried, and not found good yet.
    pub trial: bool,
    /// How the last update went.
    pub last_update: Option<LastUpdate>,
}

/// How an update went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastUpdate {
    /// `waiting` for the system to take it, `trying`, `good`, `back`: the board fell back to what
    /// ran before, `refused`: it was not tried.
    pub outcome: String,
    /// The update's version.
    pub version: String,
    /// Why it was refused or fell back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl LastUpdate {
    /// Reads `OUTCOME VERSION [REASON]`, a line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim_end().splitn(3, ' ').map(str::to_owned);
        let (outcome, version) = (words.next()?, words.next()?);
        let known = ["waiting", "trying", "good", "back", "refused"];
        known.contains(&outcome.as_str()).then(|| LastUpdate {
            outcome,
            version,
            reason: words.next(),
        })
    }
}

/// Why an update is not taken; the slot that runs is as it was in every case.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The program was installed some other way.
    #[error("this board was not started from an image; update its package")]
    NoImage,
    /// The image has no public key.
    #[error(
        "this board's image was built without a signing key and takes no updates; write its \
             card anew, built with --sign"
    )]
    NoKey,
    /// Nothing can be kept.
    #[error("this board has no data partition to keep an update on; write its card anew")]
    Diskless,
    /// The head is none.
    #[error("this is no update file: {0}; take one of image/build.sh --sign")]
    Head(#[from] UpdateError),
    /// The signature does not hold.
    #[error("the update is not signed with the key of this board's image; nothing was written")]
    Signature,
    /// It does not fit this board.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Another upload is under way, or an update waits or is tried.
    #[error("{0}; try again in a minute")]
    Busy(&'static str),
    /// No update was begun, or it was given up.
    #[error("no update was begun here; begin with its head (begin_update)")]
    NotBegun,
    /// A part that does not follow the one before.
    #[error("the next part begins at byte {expected}, not {got}; go on from there")]
    Offset {
        /// Where it begins.
        expected: u64,
        /// Where it was said to.
        got: u64,
    },
    /// More bytes than the head says.
    #[error("the update has {length} bytes; leave out what comes after")]
    TooLong {
        /// What the head says.
        length: u64,
    },
    /// Not all of it came.
    #[error("{written} of {length} bytes came; send the others first")]
    Incomplete {
        /// Bytes that came.
        written: u64,
        /// What the head says.
        length: u64,
    },
    /// The bytes are not those that were signed.
    #[error("the update was damaged on its way or in its file; copy the file anew and try again")]
    Damaged,
    /// It could not be kept.
    #[error("the update could not be kept ({0}); free some room or check the card")]
    Storage(std::io::ErrorKind),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::Busy(_) | Refused::Storage(_) => Code::Unavailable,
            Refused::Signature => Code::Unauthorized,
            Refused::TooLong { .. } => Code::TooLarge,
            _ => Code::InvalidParams,
        };
        Failure::new(code, refused.to_string())
    }
}

/// How far it is, when that is on the medium.
pub type Taking = Pin<Box<dyn Future<Output = Result<Taken, Refused>> + Send>>;

/// Whoever keeps the card: the runtime, since that takes files and threads.
pub trait Installer: Send + Sync {
    /// The image; none: the board was not started from one.
    fn image(&self) -> Option<Image>;
    /// Goes on with an update; dropping the future undoes nothing.
    fn ask(self: Arc<Self>, ask: Ask) -> Taking;
}
