//! Versions of items: a hybrid-logical-clock stamp and the board that drew it.
//!
//! A version orders writes by cause and breaks ties by board id, so any two writes are ordered
//! the same way everywhere. Advancing the clock is `proto/clock/hybrid.rs`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::{Id, ParseIdError};

/// A hybrid stamp: 48 bits of milliseconds since 1970 ‖ 16 bits of counter (HLC, Kulkarni 2014).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Joins milliseconds since 1970 (the low 48 bits count) and a counter.
    pub const fn new(wall_ms: u64, counter: u16) -> Self {
        Stamp(wall_ms << 16 | counter as u64)
    }

    /// The physical part, milliseconds since 1970.
    pub const fn wall_ms(self) -> u64 {
        self.0 >> 16
    }

    /// The logical part.
    pub const fn counter(self) -> u16 {
        self.0 as u16
    }

    /// The next stamp: counter + 1, carrying into the milliseconds.
    pub const fn next(self) -> Self {
        Stamp(self.0.saturating_add(1))
    }
}

/// The version of an item; text `hhhhhhhhhhhhhhhh-<64 hex id>`, since numbers pass 2^53.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// When, by cause.
    pub stamp: Stamp,
    /// The board that drew the stamp; breaks ties.
    pub node: Id,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.stamp.0, self.node)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.stamp.0, self.node.short())
    }
}

/// Why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseVersionError {
    /// The part before the dash is not 16 hex digits.
    #[error("a version is 16 hex digits, a dash and an id; the stamp reads '{0}'")]
    Stamp(String),
    /// The part after the dash is not an id.
    #[error("a version is 16 hex digits, a dash and an id: {0}")]
    Node(#[from] ParseIdError),
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        let (stamp, node) = text.split_once('-').unwrap_or((text, ""));
        let bad = || ParseVersionError::Stamp(stamp.chars().take(32).collect());
        if stamp.len() != 16 || !stamp.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let stamp = u64::from_str_radix(stamp, 16).map_err(|_| bad())?;
        Ok(Version {
            stamp: Stamp(stamp),
            node: node.parse()?,
        })
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.stamp.0.to_be_bytes(), self.node).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            let (stamp, node) = <([u8; 8], Id)>::deserialize(deserializer)?;
            Ok(Version {
                stamp: Stamp(u64::from_be_bytes(stamp)),
                node,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_binary_forms_are_read_back(stamp: u64, node: [u8; 32]) {
            let version = Version { stamp: Stamp(stamp), node: Id::from_bytes(node) };
            prop_assert_eq!(version.to_string().parse::<Version>().unwrap(), version);
            let bytes = postcard::to_allocvec(&version).unwrap();
            prop_assert_eq!(bytes.len(), 40);
            prop_assert_eq!(postcard::from_bytes::<Version>(&bytes).unwrap(), version);
        }

        #[test]
        fn stamp_keeps_its_parts(wall_ms in 0u64..1 << 48, counter: u16) {
            let stamp = Stamp::new(wall_ms, counter);
            prop_assert_eq!((stamp.wall_ms(), stamp.counter()), (wall_ms, counter));
            prop_assert!(stamp.next() > stamp);
        }
    }

    #[test]
    fn numbers_without_a_board_are_refused() {
        assert!("0000000000000001".parse::<Version>().is_err());
        assert!("+000000000000001-".parse::<Version>().is_err());
    }
}
