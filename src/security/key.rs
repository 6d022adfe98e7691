//! The key of a cluster: what every board of it holds and nobody else, and the ring of its epochs.
//!
//! A [`ClusterKey`] is 32 random bytes and the number of its epoch; its [`Kid`] names it in the
//! open. A [`Keyring`] holds the key that is signed with (`current`), the one before it, which
//! boards that have been away still hold, and the next one while a rotation is under way. Keys are
//! wiped when dropped, compared in constant time and never printed; they leave only as the text of
//! a `cluster.key` file. Nothing here draws random bytes.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::{hex, hmac};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// First word of the line that a `cluster.key` file consists of.
pub const KEY_MARK: &str = "roundel-key-1";

/// Names a key: the first 8 bytes of SHA-256("kid" ‖ key). Tells nothing about the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Kid(pub [u8; 8]);

/// A cluster's key of one epoch.
#[derive(Clone)]
pub struct ClusterKey {
    epoch: u32,
    secret: [u8; KEY_BYTES],
    kid: Kid,
}

/// The keys a board holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    /// What `current` replaced; accepted still.
    pub previous: Option<ClusterKey>,
    /// What this board signs with.
    pub current: ClusterKey,
    /// What will replace `current`; accepted already.
    pub next: Option<ClusterKey>,
}

/// Why text is not a key; whoever wrote the file is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No line but comments and blank ones.
    #[error("it holds no key; expected one line '{KEY_MARK} <epoch> <64 hex digits>'")]
    Empty,
    /// The line has another form.
    #[error("line {line} is not '{KEY_MARK} <epoch> <64 hex digits>'")]
    Form {
        /// Counted from 1.
        line: usize,
    },
    /// A second key follows.
    #[error("line {line} is a second key; a file holds one")]
    Second {
        /// Counted from 1.
        line: usize,
    },
}

impl ClusterKey {
    /// A key of these bytes, which are to be random.
    pub fn new(epoch: u32, secret: [u8; KEY_BYTES]) -> Self {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(b"kid")
            .chain_update(secret)
            .finalize()
            .into();
        let mut kid = [0; 8];
        kid.copy_from_slice(&digest[..8]);
        ClusterKey {
            epoch,
            secret,
            kid: Kid(kid),
        }
    }

    /// Counts the keys of a cluster; the higher is the newer.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Its name.
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// The key itself, for derivation, sealing and the keyring's file.
    pub fn secret(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }

    /// A key for one purpose, which the words of `info` name (RFC 5869 with an empty salt).
    pub fn derive(&self, info: &[&[u8]]) -> [u8; 32] {
        super::hkdf::derive(&self.secret, &[], info)
    }

    /// The line of a `cluster.key` file, with its end: `roundel-key-1 <epoch> <64 hex>`.
    pub fn to_text(&self) -> String {
        format!("{KEY_MARK} {} {}\n", self.epoch, hex::encode(&self.secret))
    }

    /// Reads a `cluster.key` file: one line as [`ClusterKey::to_text`] writes it; blank lines and
    /// lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// [`KeyError`], with the line; it never repeats what the line holds.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let mut found = None;
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            if found.is_some() {
                return Err(KeyError::Second { line });
            }
            let mut words = content.split_ascii_whitespace();
            let key = (words.next() == Some(KEY_MARK))
                .then(|| Self::from_words(&mut words))
                .flatten()
                .filter(|_| words.next().is_none());
            found = Some(key.ok_or(KeyError::Form { line })?);
        }
        found.ok_or(KeyError::Empty)
    }

    fn from_words<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let epoch = words.next()?.parse().ok()?;
        let secret = hex::decode(words.next()?)?;
        Some(ClusterKey::new(epoch, secret))
    }
}

impl Drop for ClusterKey {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl PartialEq for ClusterKey {
    fn eq(&self, other: &Self) -> bool {
        self.epoch == other.epoch && hmac::equal(&self.secret, &other.secret)
    }
}

impl Eq for ClusterKey {}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKey({}, epoch {})", self.kid, self.epoch)
    }
}

impl Keyring {
    /// A ring of one key.
    pub fn new(current: ClusterKey) -> Self {
        Keyring {
            previous: None,
            current,
            next: None,
        }
    }

    /// Every key that is accepted, the one that is signed with first.
    pub fn keys(&self) -> impl Iterator<Item = &ClusterKey> {
        [&self.current]
            .into_iter()
            .chain(&self.next)
            .chain(&self.previous)
    }

    /// The key of this name.
    pub fn find(&self, kid: &Kid) -> Option<&ClusterKey> {
        self.keys().find(|key| key.kid == *kid)
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for Kid {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        hex::decode(text).map(Kid).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_file_is_read_back_with_its_comments() {
        let key = ClusterKey::new(3, [0xab; 32]);
        let text = format!("# the key of home\n\n  {}", key.to_text());
        assert_eq!(ClusterKey::from_text(&text), Ok(key.clone()));
        assert_eq!(
            key.to_text(),
            format!("roundel-key-1 3 {}\n", "ab".repeat(32))
        );
        assert_eq!(key.kid().to_string().parse(), Ok(key.kid()));
    }

    #[test]
    fn anything_else_is_refused_with_its_line() {
        let line = ClusterKey::new(0, [1; 32]).to_text();
        let form = |line| Err(KeyError::Form { line });
        assert_eq!(ClusterKey::from_text("# nothing\n"), Err(KeyError::Empty));
        assert_eq!(ClusterKey::from_text(&line[..70]), form(1));
        assert_eq!(
            ClusterKey::from_text(&format!("\n{} x", line.trim())),
            form(2)
        );
        assert_eq!(ClusterKey::from_text(&line.replace(" 0 ", " -1 ")), form(1));
        assert_eq!(
            ClusterKey::from_text(&line.replace("key-1", "key-2")),
            form(1)
        );
        let two = line.repeat(2);
        assert_eq!(
            ClusterKey::from_text(&two),
            Err(KeyError::Second { line: 2 })
        );
    }

    #[test]
    fn keys_are_found_by_name_and_never_printed() {
        let [old, now, next] = [1, 2, 3].map(|n| ClusterKey::new(n, [n as u8; 32]));
        let mut ring = Keyring::new(now.clone());
        assert_eq!(ring.find(&now.kid()), Some(&now));
        assert_eq!(ring.find(&old.kid()), None);
        (ring.previous, ring.next) = (Some(old.clone()), Some(next.clone()));
        assert_eq!(ring.find(&old.kid()), Some(&old));
        assert_eq!(ring.keys().next(), Some(&now));
        let printed = format!("{ring:?}");
        assert!(!printed.contains("0202"), "{printed}");
        assert!(printed.contains(&now.kid().to_string()), "{printed}");
    }
}
