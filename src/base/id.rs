//! A point of the ring: 256 bits, compared as raw bytes, wrapping at 2^256.
//!
//! Boards, keys and the points a board is placed at are all [`Id`]s. This module has the
//! arithmetic Chord needs (Chord 2001 §4) and nothing else; who owns what is `proto/placement`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The namespace of every UDN this product makes (UUID version 5), fixed for good.
const UDN_NAMESPACE: uuid::Uuid = uuid::uuid!("6f1d3c5e-8a1b-4c70-9d52-726f756e6465");

/// A point of the ring: 32 raw bytes, big-endian, text form 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; Id::BYTES]);

impl Id {
    /// Bytes of an id.
    pub const BYTES: usize = 32;
    /// Bits of an id: Chord's m.
    pub const BITS: u32 = 256;
    /// The lowest point of the ring.
    pub const ZERO: Id = Id([0; Id::BYTES]);

    /// Takes the raw bytes as they are.
    pub const fn from_bytes(bytes: [u8; Id::BYTES]) -> Self {
        Id(bytes)
    }

    /// Hashes `bytes` onto the ring with SHA-256: a key's point, or a board's id from its public
    /// key.
    pub fn of(bytes: &[u8]) -> Self {
        Id(Sha256::digest(bytes).into())
    }

    /// The `index`-th point of a board: SHA-256(id ‖ u32be index).
    pub fn point(&self, index: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(index.to_be_bytes());
        Id(hash.finalize().into())
    }

    /// The raw bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; Id::BYTES] {
        &self.0
    }

    /// The first eight hex digits, for people and logs.
    pub fn short(&self) -> String {
        self.digits(&mut [0; 2 * Id::BYTES])[..8].to_owned()
    }

    /// Writes the text form into `buffer`: answers list hundreds of ids, and formatting each byte
    /// for itself took most of their time.
    fn digits<'b>(&self, buffer: &'b mut [u8; 2 * Id::BYTES]) -> &'b str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in buffer.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        std::str::from_utf8(buffer).expect("hex digits are ASCII")
    }

    /// self + 2^`exponent` modulo 2^256: the start of finger `exponent` (Chord 2001 Table 1).
    ///
    /// # Panics
    /// When `exponent` is not below 256.
    pub fn plus_power_of_two(&self, exponent: u32) -> Self {
        assert!(
            exponent < Id::BITS,
            "a finger's exponent is below {}",
            Id::BITS
        );
        let mut bytes = self.0;
        let mut position = Id::BYTES - 1 - (exponent / 8) as usize;
        let mut carry = 1u16 << (exponent % 8);
        loop {
            let sum = u16::from(bytes[position]) + carry;
            bytes[position] = sum as u8;
            carry = sum >> 8;
            if carry == 0 || position == 0 {
                return Id(bytes);
            }
            position -= 1;
        }
    }

    /// self lies in (a, b] going clockwise; a == b is the whole ring (ownership).
    pub fn is_in_half_open(&self, a: &Id, b: &Id) -> bool {
        match a.cmp(b) {
            std::cmp::Ordering::Less => a < self && self <= b,
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => a < self || self <= b,
        }
    }

    /// self lies in (a, b) going clockwise; a == b is all but a (notify and stabilise).
    pub fn is_in_open(&self, a: &Id, b: &Id) -> bool {
        match a.cmp(b) {
            std::cmp::Ordering::Less => a < self && self < b,
            std::cmp::Ordering::Equal => self != a,
            std::cmp::Ordering::Greater => a < self || self < b,
        }
    }

    /// The UDN of the board's root device (`embedded` false) or of its embedded Round device,
    /// without the `uuid:` prefix.
    pub fn udn(&self, embedded: bool) -> String {
        let mut name = self.0.to_vec();
        if embedded {
            name.push(0x01);
        }
        uuid::Uuid::new_v5(&UDN_NAMESPACE, &name)
            .hyphenated()
            .to_string()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits(&mut [0; 2 * Id::BYTES]))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// Why a text is not an id; the peer or the person who wrote it is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an id is 64 hex digits; got {got_length} characters{}",
    .bad.map(|c| format!(" with '{c}' among them")).unwrap_or_default()
)]
pub struct ParseIdError {
    got_length: usize,
    bad: Option<char>,
}

/// What no hex digit is worth.
const NO_DIGIT: u8 = 0xff;

/// The worth of a hex digit of either case.
const VALUES: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

fn value_of(digit: u8) -> u8 {
    VALUES[usize::from(digit)]
}

impl FromStr for Id {
    type Err = ParseIdError;

    /// Reads 64 hex digits of either case.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let refused = || ParseIdError {
            got_length: text.chars().count(),
            bad: text.chars().find(|c| !c.is_ascii_hexdigit()),
        };
        if text.len() != 2 * Id::BYTES {
            return Err(refused());
        }
        let mut bytes = [0; Id::BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let (high, low) = (value_of(pair[0]), value_of(pair[1]));
            *byte = high << 4 | low;
            if high == NO_DIGIT || low == NO_DIGIT {
                return Err(refused());
            }
        }
        Ok(Id(bytes))
    }
}

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.digits(&mut [0; 2 * Id::BYTES]))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            Ok(Id(<[u8; Id::BYTES]>::deserialize(deserializer)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn small(value: u8) -> Id {
        let mut bytes = [0; 32];
        bytes[31] = value;
        Id(bytes)
    }

    #[test]
    fn power_of_two_wraps_at_the_top_of_the_ring() {
        assert_eq!(Id([0xff; 32]).plus_power_of_two(0), Id::ZERO);
        assert_eq!(small(0xff).plus_power_of_two(0).as_bytes()[30..], [1, 0]);
        assert_eq!(Id::ZERO.plus_power_of_two(255).as_bytes()[0], 0x80);
    }

    #[test]
    fn udn_of_the_embedded_device_differs() {
        let id = Id::of(b"board");
        assert_ne!(id.udn(false), id.udn(true));
        assert_eq!(id.udn(false).len(), 36);
    }

    #[test]
    fn bad_text_says_what_was_wrong() {
        assert!(
            "12".parse::<Id>()
                .unwrap_err()
                .to_string()
                .contains("got 2 characters")
        );
        assert!(
            "x".repeat(64)
                .parse::<Id>()
                .unwrap_err()
                .to_string()
                .contains("'x'")
        );
    }

    proptest! {
        #[test]
        fn text_form_is_read_back_in_either_case(bytes: [u8; 32]) {
            let id = Id(bytes);
            prop_assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
            prop_assert_eq!(id.to_string().to_uppercase().parse::<Id>().unwrap(), id);
            let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(id.to_string(), &expected[..]);
            prop_assert_eq!(id.short(), &expected[..8]);
            prop_assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{expected}\""));
        }

        #[test]
        fn text_with_one_wrong_character_is_refused(
            bytes: [u8; 32],
            position in 0usize..64,
            wrong in any::<char>().prop_filter("no digit", |c| !c.is_ascii_hexdigit()),
        ) {
            let mut text = Id(bytes).to_string();
            text.replace_range(position..=position, &wrong.to_string());
            prop_assert_eq!(text.parse::<Id>().unwrap_err().bad, Some(wrong));
        }

        #[test]
        fn half_open_interval_agrees_with_walking_clockwise(a: u8, b: u8, x: u8) {
            // Walk from a+1 to b inclusive; a == b walks the whole ring.
            let distance = |from: u8, to: u8| u16::from(to.wrapping_sub(from).wrapping_sub(1)) + 1;
            let expected = distance(a, x) <= distance(a, b);
            prop_assert_eq!(wide(x).is_in_half_open(&wide(a), &wide(b)), expected);
        }

        #[test]
        fn open_interval_is_the_half_open_one_without_its_end(a: u8, b: u8, x: u8) {
            let expected = if a == b {
                x != a
            } else {
                wide(x).is_in_half_open(&wide(a), &wide(b)) && x != b
            };
            prop_assert_eq!(wide(x).is_in_open(&wide(a), &wide(b)), expected);
        }

        #[test]
        fn every_point_lies_on_exactly_one_side(a: [u8; 32], b: [u8; 32], x: [u8; 32]) {
            let (a, b, x) = (Id(a), Id(b), Id(x));
            if a != b {
                prop_assert_ne!(x.is_in_half_open(&a, &b), x.is_in_half_open(&b, &a));
            }
        }
    }

    /// Spreads a small ring of 256 points over the top byte, so that wrap-around is exercised.
    fn wide(value: u8) -> Id {
        let mut bytes = [0; 32];
        bytes[0] = value;
        Id(bytes)
    }
}
