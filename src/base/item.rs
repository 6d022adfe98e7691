//! Keys, values and the records that hold them.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::id::Id;
use super::limit;
use super::version::Version;

/// A key: UTF-8, 1 to 1,024 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(std::sync::Arc<str>);

impl Key {
    /// Checks the length.
    ///
    /// # Errors
    /// [`KeyError`] when it is empty or too long.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() || text.len() > limit::KEY_BYTES_MAX {
            return Err(KeyError { got: text.len() });
        }
        Ok(Key(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the key lies on the ring: the start of its cell.
    pub fn point(&self) -> Id {
        self.cell().start()
    }

    /// The cell the SHA-256 of its bytes lies in.
    pub fn cell(&self) -> Cell {
        Cell::of(&Id::of(self.0.as_bytes()))
    }
}

/// A key of no bytes or of too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to {max} bytes of UTF-8; got {got}", max = limit::KEY_BYTES_MAX)]
pub struct KeyError {
    /// Its length in bytes.
    pub got: usize,
}

impl TryFrom<String> for Key {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        Key::new(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.0.as_ref().to_owned()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// A value as it was received: the text of any JSON value, or bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// JSON text, never re-encoded.
    Json(Bytes),
    /// Raw bytes (`value_base64` on the wire).
    Binary(Bytes),
}

impl Value {
    /// Its bytes, of either kind.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Value::Json(bytes) | Value::Binary(bytes) => bytes,
        }
    }
}

/// What is stored under a key: a version and a value, or a tombstone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which write this is.
    pub version: Version,
    /// The value; none is a tombstone: the key was removed.
    pub value: Option<Value>,
}

/// A record with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The key.
    pub key: Key,
    /// What is under it.
    pub record: Record,
}

impl Item {
    /// Bytes of the key and the value.
    pub fn bytes(&self) -> usize {
        let value = self.record.value.as_ref();
        self.key.as_str().len() + value.map_or(0, |value| value.bytes().len())
    }
}
