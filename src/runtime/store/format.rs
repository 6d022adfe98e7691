//! Bytes on flash: how a record and the store's own notes are laid out, and the format's version.
//!
//! It does not checksum: fjall keeps a 128-bit XXH3 over every block and every journal batch and
//! checks it at each read from the medium, so a second sum over the same bytes would only wear the
//! flash. What is left to catch here is a layout this version does not know.
//!
//! A record, under the key's UTF-8 bytes in keyspace `items`:
//!
//! ```text
//! offset  0  format, 0x01
//!         1  kind: 0 tombstone, 1 JSON, 2 bytes
//!         2  stamp, u64 big-endian
//!        10  node id, 32 bytes
//!        42  the value, to the end; a tombstone has none
//! ```
//!
//! Keyspace `metas`: a machine's values under their own names; the store's notes under names that
//! begin with a dot: `.hlc` (u64 big-endian, the high-water stamp), `.counts` (two u64 big-endian:
//! live items, tombstones) and `.t` with the two bytes of a cell's number (u128 big-endian, the
//! cell's digest in the hash tree; a cell without items has no note).
//!
//! Format 1 had no tree; it is added when such a store is opened.

use bytes::Bytes;

use crate::base::cell::Cell;
use crate::base::id::Id;
use crate::base::item::{Record, Value};
use crate::base::version::{Stamp, Version};

/// The version of everything below the store's directory; rises when an older program could not
/// read it.
pub const STORE_FORMAT: u32 = 2;
/// First byte of a record.
const RECORD_FORMAT: u8 = 0x01;
/// Bytes before the value.
const RECORD_HEAD_BYTES: usize = 42;
/// Name of the high-water note.
pub(super) const HIGH_WATER: &str = ".hlc";
/// Name of the note that counts items and tombstones.
pub(super) const COUNTS: &str = ".counts";
/// Name of the note a reopened store is probed with.
pub(super) const PROBE: &str = ".probe";
/// What the name of a cell's note begins with.
pub(super) const CELL: [u8; 2] = *b".t";
/// First character of the store's own notes.
pub(super) const OWN_NOTE: char = '.';

/// What is wrong with a record's bytes; the medium, or a newer program, is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormatError {
    /// It ends before its head does.
    #[error("a record has {RECORD_HEAD_BYTES} bytes at least; got {0}")]
    Short(usize),
    /// An unknown layout.
    #[error("a record begins with {RECORD_FORMAT}; got {0}")]
    Format(u8),
    /// An unknown kind, or a tombstone with a value.
    #[error("no record has kind {kind} and {value_bytes} bytes of value")]
    Kind {
        /// Its second byte.
        kind: u8,
        /// Bytes after the head.
        value_bytes: usize,
    },
}

/// Whether a record is a tombstone, and its version: what a comparison needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub version: Version,
    pub tombstone: bool,
}

/// Lays a record out.
pub(super) fn encode(record: &Record) -> Vec<u8> {
    let (kind, value): (u8, &[u8]) = match &record.value {
        None => (0, &[]),
        Some(Value::Json(bytes)) => (1, bytes),
        Some(Value::Binary(bytes)) => (2, bytes),
    };
    let mut out = Vec::with_capacity(RECORD_HEAD_BYTES + value.len());
    out.extend([RECORD_FORMAT, kind]);
    out.extend(record.version.stamp.0.to_be_bytes());
    out.extend(record.version.node.as_bytes());
    out.extend(value);
    out
}

/// Reads the head alone, copying no value.
///
/// # Errors
/// [`FormatError`] when the bytes are not a record.
pub(super) fn decode_head(bytes: &[u8]) -> Result<Head, FormatError> {
    if bytes.len() < RECORD_HEAD_BYTES {
        return Err(FormatError::Short(bytes.len()));
    }
    if bytes[0] != RECORD_FORMAT {
        return Err(FormatError::Format(bytes[0]));
    }
    let kind = bytes[1];
    let value_bytes = bytes.len() - RECORD_HEAD_BYTES;
    if kind > 2 || (kind == 0 && value_bytes > 0) {
        return Err(FormatError::Kind { kind, value_bytes });
    }
    let stamp = u64::from_be_bytes(bytes[2..10].try_into().expect("a slice of eight bytes"));
    let node = bytes[10..42].try_into().expect("a slice of 32 bytes");
    Ok(Head {
        version: Version {
            stamp: Stamp(stamp),
            node: Id::from_bytes(node),
        },
        tombstone: kind == 0,
    })
}

/// Reads a whole record.
///
/// # Errors
/// [`FormatError`] when the bytes are not a record.
pub(super) fn decode(bytes: &[u8]) -> Result<Record, FormatError> {
    let head = decode_head(bytes)?;
    let value = || Bytes::copy_from_slice(&bytes[RECORD_HEAD_BYTES..]);
    Ok(Record {
        version: head.version,
        value: match bytes[1] {
            0 => None,
            1 => Some(Value::Json(value())),
            _ => Some(Value::Binary(value())),
        },
    })
}

/// Lays the counts note out: live items, tombstones.
pub(super) fn encode_counts(items: u64, tombstones: u64) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&items.to_be_bytes());
    out[8..].copy_from_slice(&tombstones.to_be_bytes());
    out
}

/// Reads the counts note; none when it is not one.
pub(super) fn decode_counts(bytes: &[u8]) -> Option<(u64, u64)> {
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let (items, tombstones) = bytes.split_at(8);
    Some((decode_u64(items)?, decode_u64(tombstones)?))
}

/// Name of a cell's note.
pub(super) fn cell_name(cell: Cell) -> [u8; 4] {
    let [high, low] = cell.0.to_be_bytes();
    [CELL[0], CELL[1], high, low]
}

/// Reads a cell's note; none when it is another note.
pub(super) fn decode_cell(name: &[u8], bytes: &[u8]) -> Option<(Cell, u128)> {
    let number = name.strip_prefix(&CELL)?.try_into().ok()?;
    let digest = bytes.try_into().ok()?;
    Some((
        Cell(u16::from_be_bytes(number)),
        u128::from_be_bytes(digest),
    ))
}

/// Reads a big-endian u64; none when it is not eight bytes.
pub(super) fn decode_u64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn record_is_read_back_as_it_was_written(
            stamp: u64, node: [u8; 32], kind in 0u8..3, value: Vec<u8>
        ) {
            let value = Bytes::from(value);
            let record = Record {
                version: Version { stamp: Stamp(stamp), node: Id::from_bytes(node) },
                value: match kind {
                    0 => None,
                    1 => Some(Value::Json(value)),
                    _ => Some(Value::Binary(value)),
                },
            };
            let bytes = encode(&record);
            prop_assert_eq!(decode_head(&bytes).unwrap().version, record.version);
            prop_assert_eq!(decode_head(&bytes).unwrap().tombstone, record.value.is_none());
            prop_assert_eq!(decode(&bytes).unwrap(), record);
        }

        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes: Vec<u8>) {
            if let Ok(record) = decode(&bytes) {
                prop_assert_eq!(encode(&record), bytes);
            }
        }

        #[test]
        fn cell_is_read_back(cell: u16, digest: u128) {
            let name = cell_name(Cell(cell));
            prop_assert_eq!(decode_cell(&name, &digest.to_be_bytes()), Some((Cell(cell), digest)));
            prop_assert_eq!(decode_cell(HIGH_WATER.as_bytes(), &digest.to_be_bytes()), None);
        }

        #[test]
        fn counts_are_read_back(items: u64, tombstones: u64) {
            let bytes = encode_counts(items, tombstones);
            prop_assert_eq!(decode_counts(&bytes), Some((items, tombstones)));
            prop_assert_eq!(decode_counts(&bytes[1..]), None);
        }
    }

    #[test]
    fn layout_on_flash_is_the_documented_one() {
        let record = Record {
            version: Version {
                stamp: Stamp(0x0102),
                node: Id::from_bytes([7; 32]),
            },
            value: Some(Value::Json(Bytes::from_static(b"\"x\""))),
        };
        let mut expected = vec![1, 1, 0, 0, 0, 0, 0, 0, 1, 2];
        expected.extend([7; 32]);
        expected.extend(b"\"x\"");
        assert_eq!(encode(&record), expected);
    }
}
