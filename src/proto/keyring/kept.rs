//! The keyring as its file holds it: text, a line for each thing.
//!
//! ```text
//! roundel-keyring-1
//! confirmed no
//! current 0 <64 hex>
//! previous 0 <64 hex>        at most one; next likewise
//! revoked <64 hex>           any number
//! ```

use std::fmt::Write;

use zeroize::Zeroizing;

use crate::base::id::Id;
use crate::base::limit;
use crate::security::hex;
use crate::security::key::{ClusterKey, Keyring};

const MARK: &str = "roundel-keyring-1";

/// What a board keeps of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The keys.
    pub keyring: Keyring,
    /// The owner gave the key, or has confirmed it.
    pub confirmed: bool,
    /// Boards that are not let in again.
    pub revoked: Vec<Id>,
}

/// Why a file is not a keyring; the medium or whoever wrote to it is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeptError {
    /// Another first line.
    #[error("it does not begin with '{MARK}'")]
    Mark,
    /// A line of another form.
    #[error("line {line} is damaged")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// No current key.
    #[error("it holds no current key")]
    NoKey,
}

impl Kept {
    /// The file's text; wiped when dropped.
    pub fn to_text(&self) -> Zeroizing<String> {
        let ring = &self.keyring;
        let mut text = Zeroizing::new(String::with_capacity(512 + 80 * self.revoked.len()));
        let confirmed = if self.confirmed { "yes" } else { "no" };
        let _ = writeln!(text, "{MARK}\nconfirmed {confirmed}");
        let keys = [
            ("current", Some(&ring.current)),
            ("previous", ring.previous.as_ref()),
            ("next", ring.next.as_ref()),
        ];
        for (role, key) in keys {
            if let Some(key) = key {
                let secret = Zeroizing::new(hex::encode(key.secret()));
                let _ = writeln!(text, "{role} {} {}", key.epoch(), *secret);
            }
        }
        for id in &self.revoked {
            let _ = writeln!(text, "revoked {id}");
        }
        text
    }

    /// Reads what [`Kept::to_text`] wrote.
    ///
    /// # Errors
    /// [`KeptError`]; it never repeats what a line holds.
    pub fn from_text(text: &str) -> Result<Self, KeptError> {
        let mut lines = (1..).zip(text.lines());
        if lines.next().map(|(_, line)| line) != Some(MARK) {
            return Err(KeptError::Mark);
        }
        let (mut current, mut previous, mut next) = (None, None, None);
        let mut confirmed = false;
        let mut revoked = Vec::new();
        for (line, content) in lines {
            let damaged = KeptError::Line { line };
            let (role, rest) = content.split_once(' ').ok_or(damaged)?;
            let place = match role {
                "confirmed" => {
                    confirmed = rest == "yes";
                    continue;
                }
                "revoked" if revoked.len() < limit::REVOKED_MAX => {
                    revoked.push(rest.parse().map_err(|_| damaged)?);
                    continue;
                }
                "current" => &mut current,
                "previous" => &mut previous,
                "next" => &mut next,
                _ => return Err(damaged),
            };
            let (epoch, secret) = rest.split_once(' ').ok_or(damaged)?;
            let epoch = epoch.parse().map_err(|_| damaged)?;
            let secret = hex::decode(secret).ok_or(damaged)?;
            *place = Some(ClusterKey::new(epoch, secret));
        }
        Ok(Kept {
            keyring: Keyring {
                previous,
                current: current.ok_or(KeptError::NoKey)?,
                next,
            },
            confirmed,
            revoked,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let [previous, current, next] = [1, 2, 3].map(|n| ClusterKey::new(n, [n as u8; 32]));
        Kept {
            keyring: Keyring {
                previous: Some(previous),
                current,
                next: Some(next),
            },
            confirmed: true,
            revoked: vec![Id::of(b"a"), Id::of(b"b")],
        }
    }

    #[test]
    fn keyring_is_read_back() {
        let whole = kept();
        assert_eq!(Kept::from_text(&whole.to_text()), Ok(whole.clone()));
        let mut one = whole;
        one.keyring = Keyring::new(one.keyring.current.clone());
        (one.confirmed, one.revoked) = (false, vec![]);
        assert_eq!(Kept::from_text(&one.to_text()), Ok(one));
    }

    #[test]
    fn cut_or_damaged_keyring_is_refused() {
        let text = kept().to_text();
        let two: Vec<&str> = text.lines().take(2).collect();
        assert_eq!(Kept::from_text(&two.join("\n")), Err(KeptError::NoKey));
        assert_eq!(Kept::from_text(""), Err(KeptError::Mark));
        let short = text.replace(&"02".repeat(32), &"02".repeat(31));
        assert_eq!(Kept::from_text(&short), Err(KeptError::Line { line: 3 }));
        let foreign = format!("{}else 1\n", *text);
        assert_eq!(Kept::from_text(&foreign), Err(KeptError::Line { line: 8 }));
    }
}
