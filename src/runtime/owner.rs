//! Keeps the owner's credential: the file, the clock, the entropy and the thread that hashes.
//!
//! One hash runs at a time and few wait for it, so that strangers cannot take the board's cores.
//! What is allowed is `proto/owner`.
//!
//! ```text
//! owner   `roundel-owner-1 VERSION HASH` and a line feed; mode 0600
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::datadir::write_atomically;
use crate::base::endpoint::IpAddr;
use crate::base::limit;
use crate::base::owner::Credential;
use crate::base::time::Time;
use crate::proto::owner::{CODE_BYTES, Owner, Refused, TOKEN_BYTES, Token, check_length};
use crate::security::password::{self, PasswordError, SALT_BYTES};
use crate::service::owner::{Ask, Begun, Desk, DeskError};

const FORMAT: &str = "roundel-owner-1";
/// Bytes of the file: format, a version of twenty digits, a hash.
const FILE_BYTES_MAX: u64 = 64 + limit::OWNER_HASH_BYTES_MAX as u64;

/// The credential and the sessions of one board.
pub struct Keeper {
    owner: Mutex<Owner>,
    path: PathBuf,
    start: Instant,
    /// The hash under way.
    hashing: tokio::sync::Mutex<()>,
    /// Who may wait for it.
    waiting: Semaphore,
    changed: watch::Sender<Option<Credential>>,
}

impl Keeper {
    /// Reads the credential of a data directory. A damaged file is as good as none: the code from
    /// the console, or another board, replaces it.
    ///
    /// # Errors
    /// [`DeskError::NoEntropy`].
    pub fn new(directory: &Path) -> Result<Arc<Self>, DeskError> {
        let path = directory.join("owner");
        let kept = match read(&path) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(
                    path = %path.display(), %error,
                    "the owner's password cannot be read; claim the board anew"
                );
                None
            }
        };
        let (changed, _) = watch::channel(kept.clone());
        Ok(Arc::new(Keeper {
            owner: Mutex::new(Owner::new(kept, random::<CODE_BYTES>()?)),
            path,
            start: Instant::now(),
            hashing: tokio::sync::Mutex::default(),
            waiting: Semaphore::new(limit::OWNER_WAITING_MAX),
            changed,
        }))
    }

    /// The credential, whenever it changes.
    pub fn changes(&self) -> watch::Receiver<Option<Credential>> {
        self.changed.subscribe()
    }

    /// The ring's credential, as the board says: a newer one replaces ours, and ours may count for
    /// less. Blocks while the file is written.
    ///
    /// # Errors
    /// [`DeskError::Storage`], [`PasswordError::Damaged`]; ours stands.
    pub fn adopt(&self, theirs: Credential) -> Result<(), DeskError> {
        if !self.owner().is_to_replace(&theirs) {
            return Ok(());
        }
        if !theirs.is_bounded() || !password::is_hash(&theirs.phc) {
            return Err(PasswordError::Damaged.into());
        }
        self.keep(theirs)
    }

    fn owner(&self) -> MutexGuard<'_, Owner> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    async fn begin(self: Arc<Self>, source: IpAddr, ask: Ask) -> Result<Token, DeskError> {
        self.owner().attempt(self.now(), source)?;
        let _place = self.waiting.try_acquire().map_err(|_| DeskError::Busy)?;
        let _alone = self.hashing.lock().await;
        match ask {
            Ask::LogIn { password } => self.check(password).await?,
            Ask::Claim { code, password } => {
                self.owner().check_claim(self.now(), &code, &password)?;
                self.clone().set(password).await?;
            }
            Ask::Change {
                password,
                new_password,
            } => {
                check_length(&new_password)?;
                self.check(password).await?;
                self.clone().set(new_password).await?;
            }
        }
        let token = random::<TOKEN_BYTES>()?;
        self.owner().begin(self.now(), source, &token);
        Ok(token)
    }

    /// The password is the owner's.
    async fn check(&self, password: String) -> Result<(), DeskError> {
        let phc = self.owner().hash()?.to_owned();
        if password.len() > limit::PASSWORD_BYTES_MAX {
            return Err(Refused::WrongPassword.into());
        }
        let verified = tokio::task::spawn_blocking(move || password::verify(&password, &phc));
        match verified.await.map_err(|_| DeskError::Busy)?? {
            true => Ok(()),
            false => Err(Refused::WrongPassword.into()),
        }
    }

    /// Makes it the owner's.
    async fn set(self: Arc<Self>, password: String) -> Result<(), DeskError> {
        let salt = random::<SALT_BYTES>()?;
        let set = move || {
            let phc = password::hash(&password, salt)?;
            let credential = self.owner().next(phc);
            self.keep(credential)
        };
        let set = tokio::task::spawn_blocking(set).await;
        set.map_err(|_| DeskError::Busy)?
    }

    /// On flash first: what is lost in a power cut must not have let anybody in.
    fn keep(&self, credential: Credential) -> Result<(), DeskError> {
        let text = format!("{FORMAT} {} {}\n", credential.version, credential.phc);
        write_atomically(&self.path, text.as_bytes())
            .map_err(|error| DeskError::Storage(error.kind()))?;
        self.owner().handle_kept(credential.clone());
        self.changed.send_replace(Some(credential));
        Ok(())
    }
}

impl Desk for Keeper {
    fn is_claimed(&self) -> bool {
        self.owner().is_claimed()
    }

    fn is_in_session(&self, token: &Token) -> bool {
        self.owner().is_in_session(self.now(), token)
    }

    fn log_out(&self, token: &Token) {
        self.owner().log_out(token);
    }

    fn code(&self) -> Result<String, DeskError> {
        let random = random()?;
        Ok(self.owner().code(self.now(), random))
    }

    fn ask(self: Arc<Self>, source: IpAddr, ask: Ask) -> Begun {
        Box::pin(self.begin(source, ask))
    }
}

fn random<const N: usize>() -> Result<[u8; N], DeskError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| DeskError::NoEntropy)?;
    Ok(bytes)
}

/// The credential of a file; none when there is no file.
fn read(path: &Path) -> io::Result<Option<Credential>> {
    let bytes = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(_) => fs::read_to_string(path)?,
    };
    let parse = || {
        let rest = bytes
            .strip_suffix('\n')?
            .strip_prefix(FORMAT)?
            .strip_prefix(' ')?;
        let (version, phc) = rest.split_once(' ')?;
        let version = version.parse().ok()?;
        password::is_hash(phc).then(|| Credential {
            version,
            phc: phc.to_owned(),
        })
    };
    match parse() {
        Some(credential) => Ok(Some(credential)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_broken_off_at_any_step_is_the_old_one_or_the_new_one() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("owner");
        let phc = password::hash("correct horse battery", [7; SALT_BYTES]).unwrap();
        let [old, new] = [1, 2].map(|version| Credential {
            version,
            phc: phc.clone(),
        });
        let text = |it: &Credential| format!("{FORMAT} {} {}\n", it.version, it.phc);
        for before in [None, Some(&old)] {
            let bytes = before.map(text);
            let bytes = bytes.as_ref().map(String::as_bytes);
            super::super::datadir::break_off(
                &path,
                bytes,
                text(&new).as_bytes(),
                |is_new, what| {
                    let expected = if is_new { Some(&new) } else { before };
                    assert_eq!(read(&path).unwrap().as_ref(), expected, "{what}");
                },
            );
        }
    }
}
