//! Keeps an update of the image until the system takes it, and reads what the system says of the
//! slots.
//!
//! The program may write no partition: an update is a file on the data partition, and root, which
//! alone reaches the slots, copies it and checks its signature anew (image/readme.md). Start: a
//! head whose signature holds and that fits the board opens `update.new`. Steady state: parts are
//! appended in their order and summed. End: a file of the right length and sum is synced and named
//! `update.ready`, which root looks for; any other is removed. A file that a power cut left is
//! replaced by the next upload.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::store::STORE_FORMAT;
use crate::base::id::Id;
use crate::base::limit;
use crate::security::identity;
use crate::service::update::{Ask, Image, Installer, LastUpdate, Refused, Taken, Taking};
use crate::wire::update::{HEAD_BYTES, Installed, SLOT_BYTES, Signed, Update};

/// What the image says of itself.
const RELEASE: &str = "etc/roundel-release";
/// Its public key, PEM of a SubjectPublicKeyInfo (RFC 7468).
const PUBLIC_KEY: &str = "etc/roundel/update.pub";
/// What the initramfs says: card, its partitions' prefix, slot.
const CARD: &str = "dev/.roundel-card";
/// It is there while the slot is tried.
const TRIAL: &str = "dev/.roundel-trial";
/// How the last update went, see [`LastUpdate::parse`]; written by root.
const OUTCOME: &str = "data/update";
/// Bytes of each of these files; more is none of them.
const FILE_BYTES_MAX: u64 = 4_096;
/// An update that is being sent, below the data directory.
const NEW: &str = "update.new";
/// A whole one, which root takes.
const READY: &str = "update.ready";

/// What a running image says of itself, and its key.
#[derive(Debug)]
struct Running {
    image: Image,
    installed: Installed,
    public_key: Option<Vec<u8>>,
}

impl Running {
    /// Of the system below `root`; none: it was not started from an image.
    fn read(root: &Path) -> Option<Self> {
        let card = text(&root.join(CARD))?;
        let slot = card.split_whitespace().nth(2)?.to_owned();
        let release = text(&root.join(RELEASE))?;
        let value = |name: &str| {
            let mut lines = release.lines().filter_map(|line| line.split_once('='));
            lines.find(|line| line.0 == name).map(|line| line.1)
        };
        let image = Image {
            board: value("BOARD")?.to_owned(),
            version: value("VERSION")?.to_owned(),
            commit: value("COMMIT")?.to_owned(),
            kernel: value("KERNEL")?.to_owned(),
            slot,
            trial: root.join(TRIAL).exists(),
            last_update: None,
        };
        let installed = Installed {
            board: image.board.clone(),
            version: image.version.parse().ok()?,
            built: value("BUILT")?.parse().ok()?,
            kernel: image.kernel.clone(),
            store: STORE_FORMAT,
        };
        Some(Running {
            image,
            installed,
            public_key: text(&root.join(PUBLIC_KEY)).and_then(|pem| read_pem(&pem)),
        })
    }

    /// The head of an update that is signed with this image's key.
    fn admit(&self, head: &[u8], downgrade: bool) -> Result<Update, Refused> {
        let key = self.public_key.as_ref().ok_or(Refused::NoKey)?;
        let signed = Signed::parse(head)?;
        let lines = signed.update.emit();
        if !identity::verify(key, lines.as_bytes(), &signed.signature) {
            return Err(Refused::Signature);
        }
        signed.update.admit(&self.installed, downgrade)?;
        Ok(signed.update)
    }
}

/// An update that is being sent.
struct Upload {
    update: Update,
    file: File,
    sum: Sha256,
    written: u64,
    touched: Instant,
}

/// Takes the updates of one board.
pub struct Images {
    root: PathBuf,
    running: Option<Running>,
    /// Where an update is kept; none: nothing can be.
    directory: Option<PathBuf>,
    upload: Mutex<Option<Upload>>,
}

impl Images {
    /// Of the system below `root` (`/` but in tests), whose updates wait in the data directory.
    pub fn new(root: &Path, directory: Option<&Path>) -> Arc<Self> {
        Arc::new(Images {
            root: root.to_owned(),
            running: Running::read(root),
            directory: directory.map(Path::to_owned),
            upload: Mutex::default(),
        })
    }

    /// One that root has not taken yet goes before what root says of others.
    fn last_update(&self) -> Option<LastUpdate> {
        let directory = self.directory.as_ref();
        let ready = directory.and_then(|it| File::open(it.join(READY)).ok());
        if let Some(file) = ready {
            let mut head = Vec::new();
            file.take(HEAD_BYTES as u64).read_to_end(&mut head).ok()?;
            return Some(LastUpdate {
                outcome: "waiting".to_owned(),
                version: Signed::parse(&head).ok()?.update.version.to_string(),
                reason: None,
            });
        }
        LastUpdate::parse(&text(&self.root.join(OUTCOME))?)
    }

    /// Carries it out; blocks while the medium is written.
    fn take(&self, ask: Ask) -> Result<Taken, Refused> {
        let running = self.running.as_ref().ok_or(Refused::NoImage)?;
        let directory = self.directory.as_ref().ok_or(Refused::Diskless)?;
        let upload = self.upload.lock();
        let mut upload = upload.unwrap_or_else(PoisonError::into_inner);
        match ask {
            Ask::Begin { head, downgrade } => {
                let update = running.admit(&head, downgrade)?;
                let busy = |upload: &Upload| upload.touched.elapsed() < limit::UPDATE_IDLE_MAX;
                if upload.as_ref().is_some_and(busy) {
                    return Err(Refused::Busy("another update is being sent"));
                }
                if running.image.trial && self.root.join(TRIAL).exists() {
                    return Err(Refused::Busy("the image that runs is being tried"));
                }
                if directory.join(READY).exists() {
                    return Err(Refused::Busy("an update is about to be tried"));
                }
                let mut file = File::create(directory.join(NEW)).map_err(of_storage)?;
                let head = &head[..HEAD_BYTES];
                file.write_all(head).map_err(of_storage)?;
                let begun = upload.insert(Upload {
                    update,
                    file,
                    sum: Sha256::new(),
                    written: 0,
                    touched: Instant::now(),
                });
                Ok(begun.taken())
            }
            Ask::Write { offset, bytes } => {
                let begun = upload.as_mut().ok_or(Refused::NotBegun)?;
                match begun.write(offset, &bytes) {
                    // What is in the file is unknown from here on.
                    Err(Refused::Storage(kind)) => {
                        *upload = None;
                        let _ = fs::remove_file(directory.join(NEW));
                        Err(Refused::Storage(kind))
                    }
                    told => told,
                }
            }
            Ask::Finish => {
                let begun = upload.take().ok_or(Refused::NotBegun)?;
                let (written, length) = (begun.written, begun.update.length);
                if written < length {
                    *upload = Some(begun);
                    return Err(Refused::Incomplete { written, length });
                }
                let finished = begun.finish(directory);
                if finished.is_err() {
                    let _ = fs::remove_file(directory.join(NEW));
                }
                finished
            }
        }
    }
}

impl Installer for Images {
    fn image(&self) -> Option<Image> {
        let image = self.running.as_ref()?.image.clone();
        Some(Image {
            trial: image.trial && self.root.join(TRIAL).exists(),
            last_update: self.last_update(),
            ..image
        })
    }

    fn ask(self: Arc<Self>, ask: Ask) -> Taking {
        Box::pin(async move {
            let taken = tokio::task::spawn_blocking(move || self.take(ask)).await;
            taken.unwrap_or(Err(Refused::Storage(ErrorKind::Other)))
        })
    }
}

impl Upload {
    fn taken(&self) -> Taken {
        Taken {
            written: self.written,
            length: self.update.length,
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<Taken, Refused> {
        let (expected, length) = (self.written, self.update.length);
        if offset != expected {
            let got = offset;
            return Err(Refused::Offset { expected, got });
        }
        if bytes.len() as u64 > length - expected {
            return Err(Refused::TooLong { length });
        }
        self.file.write_all(bytes).map_err(of_storage)?;
        self.sum.update(bytes);
        self.written += bytes.len() as u64;
        self.touched = Instant::now();
        Ok(self.taken())
    }

    fn finish(self, directory: &Path) -> Result<Taken, Refused> {
        let taken = self.taken();
        if Id::from_bytes(self.sum.finalize().into()) != self.update.sha256 {
            return Err(Refused::Damaged);
        }
        self.file.sync_all().map_err(of_storage)?;
        drop(self.file);
        fs::rename(directory.join(NEW), directory.join(READY)).map_err(of_storage)?;
        let directory = File::open(directory).map_err(of_storage)?;
        directory.sync_all().map_err(of_storage)?;
        Ok(taken)
    }
}

/// Why a slot may not be started.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// Which.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// What is in it is not to be started here.
    #[error("{path}: {refused}")]
    Refused {
        /// Which.
        path: String,
        /// Why.
        refused: Refused,
    },
}

/// Checks a slot, or an update's file: the head's signature with the key of the image that runs,
/// whether it fits this board (it may be older), and the sum of the root. For root, before a slot
/// is started.
///
/// # Errors
/// [`CheckError`].
pub fn check(system: &Path, path: &Path) -> Result<Update, CheckError> {
    let shown = path.display().to_string();
    let of_io = |source| CheckError::Io {
        path: shown.clone(),
        source,
    };
    let refuse = |refused| CheckError::Refused {
        path: shown.clone(),
        refused,
    };
    let running = Running::read(system).ok_or_else(|| refuse(Refused::NoImage))?;
    let mut file = File::open(path).map_err(of_io)?;
    let size = file.seek(SeekFrom::End(0)).map_err(of_io)?;
    // A slot has its head at its end, a file in front.
    let (head_at, root_at) = match size == SLOT_BYTES {
        true => (SLOT_BYTES - HEAD_BYTES as u64, 0),
        false => (0, HEAD_BYTES as u64),
    };
    let mut head = vec![0; HEAD_BYTES];
    file.seek(SeekFrom::Start(head_at)).map_err(of_io)?;
    file.read_exact(&mut head).map_err(of_io)?;
    let update = running.admit(&head, true).map_err(refuse)?;
    file.seek(SeekFrom::Start(root_at)).map_err(of_io)?;
    let (mut sum, mut left) = (Sha256::new(), update.length);
    let mut piece = vec![0; 64 * 1_024];
    while left > 0 {
        let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let part = &mut piece[..wanted];
        file.read_exact(part).map_err(of_io)?;
        sum.update(&*part);
        left -= part.len() as u64;
    }
    match Id::from_bytes(sum.finalize().into()) == update.sha256 {
        true => Ok(update),
        false => Err(refuse(Refused::Damaged)),
    }
}

fn of_storage(error: io::Error) -> Refused {
    Refused::Storage(error.kind())
}

/// A small file of text; none: it is not there, or none of ours.
fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The bytes of a PEM document of one part.
fn read_pem(pem: &str) -> Option<Vec<u8>> {
    let inner = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    let inner = inner.strip_suffix("-----END PUBLIC KEY-----")?;
    STANDARD
        .decode(inner.split_whitespace().collect::<String>())
        .ok()
}

#[cfg(test)]
mod tests;
