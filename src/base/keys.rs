//! What can be told of a cluster's keys: names and figures, never a key.

use std::fmt;
use std::time::Duration;

use super::access::Access;
use super::endpoint::{Name, SocketAddr};
use super::id::Id;

/// A key, named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    /// 16 hex digits, which only this key has.
    pub kid: String,
    /// Counts the cluster's keys.
    pub epoch: u32,
}

/// A board that would come in and holds no key of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskingView {
    /// Its id.
    pub id: Id,
    /// What it calls itself.
    pub name: Name,
    /// Where it is.
    pub endpoint: SocketAddr,
    /// It last asked so long ago.
    pub ago: Duration,
}

/// A one-time code that a board made, but for the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeView {
    /// It is void after this.
    pub left: Duration,
    /// Attempts that are left; 0: it is used up.
    pub attempts: u8,
}

/// Six digits that the boards of a ring show alike when nobody stands between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digits(u32);

impl Digits {
    /// The first eight bytes of a hash, big-endian, modulo a million.
    pub fn of(hash: &[u8; 32]) -> Self {
        let first = hash.first_chunk().expect("it is longer");
        Digits((u64::from_be_bytes(*first) % 1_000_000) as u32)
    }

    /// Six digits, with or without gaps; none: the text is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.split_whitespace().collect();
        let six = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
        six.then(|| digits.parse().ok().map(Digits)).flatten()
    }

    /// Without the gap, for programs: `123456`.
    pub fn plain(self) -> String {
        format!("{:06}", self.0)
    }
}

/// As people read them: `123 456`.
impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// How a ring stands with its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// It needs none: its owner has given or confirmed its key, it is open, or it has one board.
    Unneeded,
    /// It has none, for this reason.
    Unavailable(&'static str),
    /// These boards are waited for, by what they are called; empty: it is about to be drawn.
    Waiting(Vec<String>),
    /// Every board shows these.
    Complete(Digits),
}

impl Fingerprint {
    /// The digits, if there are any.
    pub fn digits(&self) -> Option<Digits> {
        match self {
            Fingerprint::Complete(digits) => Some(*digits),
            _ => None,
        }
    }

    /// Why there are none though they are needed.
    pub fn note(&self) -> Option<String> {
        match self {
            Fingerprint::Unneeded | Fingerprint::Complete(_) => None,
            Fingerprint::Unavailable(reason) => Some(format!("unavailable {reason}")),
            Fingerprint::Waiting(boards) if boards.is_empty() => {
                Some("about to be drawn".to_owned())
            }
            Fingerprint::Waiting(boards) => Some(format!("waits for {}", boards.join(", "))),
        }
    }
}

/// How a board stands with its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// How far the cluster keeps strangers out.
    pub access: Access,
    /// What is signed with.
    pub current: KeyName,
    /// What it replaced and is accepted still.
    pub previous: Option<KeyName>,
    /// What will replace it.
    pub next: Option<KeyName>,
    /// What is left of the pairing window.
    pub window: Duration,
    /// Boards of the ring, this one counted.
    pub members: usize,
    /// What all of them show.
    pub fingerprint: Fingerprint,
    /// Boards that would come in.
    pub asking: Vec<AskingView>,
    /// The one-time code that this board made, while it is valid or known to be used up.
    pub code: Option<CodeView>,
    /// Boards that are not let in again.
    pub revoked: Vec<Id>,
    /// Boards that have not said yet that they hold the next key.
    pub waiting: Vec<Id>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_back_as_they_are_shown() {
        let mut hash = [0; 32];
        for number in [0u64, 7, 999_999, 1_000_000, 12_345_678, u64::MAX] {
            hash[..8].copy_from_slice(&number.to_be_bytes());
            let digits = Digits::of(&hash);
            assert_eq!(Digits::parse(&digits.to_string()), Some(digits));
            assert_eq!(Digits::parse(&digits.plain()), Some(digits));
            assert_eq!(digits.plain().len(), 6);
        }
        hash[..8].copy_from_slice(&12_345_678u64.to_be_bytes());
        assert_eq!(Digits::of(&hash).to_string(), "345 678");
        for other in ["", "12345", "1234567", "12 34 5a", "+12345", "１２３４５６"] {
            assert_eq!(Digits::parse(other), None, "{other}");
        }
    }
}
