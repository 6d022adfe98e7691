//! HMAC-SHA256 (RFC 2104) over messages given in parts, with tags compared in constant time.
//!
//! A [`MacKey`] holds the two hash states of its key, so that it is made once a session and a tag
//! costs the message's blocks and two more.

use ring::hmac;
use subtle::ConstantTimeEq;

/// Bytes of a tag; it is never truncated.
pub const TAG_BYTES: usize = 32;

/// A tag.
pub type Tag = [u8; TAG_BYTES];

/// A key made ready for use. It is not printed.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl MacKey {
    /// Makes a key of any length ready; 32 random bytes are meant.
    pub fn new(secret: &[u8]) -> Self {
        MacKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The tag of the parts, one after the other. Parts of variable length need a length prefix
    /// by their caller.
    pub fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let tag = context.sign();
        let mut bytes = [0; TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// The tag is that of the parts. Takes the same time wherever it differs.
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        equal(&self.tag(parts), tag)
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(…)")
    }
}

/// Both are the same bytes; the time it takes depends on the lengths alone.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::hex;

    /// RFC 4231 §4.2 to §4.8 (key, data, HMAC-SHA-256); case 5 is truncated to 128 bits there.
    #[test]
    fn rfc_4231_vectors_hold() {
        let vectors: [(Vec<u8>, Vec<u8>, &str); 7] = [
            (
                vec![0x0b; 20],
                b"Hi There".to_vec(),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 20],
                vec![0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                (1..=25).collect(),
                vec![0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
            (
                vec![0x0c; 20],
                b"Test With Truncation".to_vec(),
                "a3b6167473100ee06e0c796c2955552b",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                vec![0xaa; 131],
                b"This is a test using a larger than block-size key and a larger than \
                  block-size data. The key needs to be hashed before being used by the HMAC \
                  algorithm."
                    .to_vec(),
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (case, (key, data, expected)) in vectors.into_iter().enumerate() {
            let tag = hex::encode(&MacKey::new(&key).tag(&[&data]));
            assert!(tag.starts_with(expected), "case {}: {tag}", case + 1);
        }
    }

    #[test]
    fn parts_are_one_message_and_a_changed_tag_is_refused() {
        let key = MacKey::new(&[7; 32]);
        let tag = key.tag(&[b"one", b"two"]);
        assert!(key.verify(&[b"onetwo"], &tag));
        for bit in 0..8 * TAG_BYTES {
            let mut forged = tag;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verify(&[b"onetwo"], &forged));
        }
        assert!(!key.verify(&[b"onetwo"], &tag[..31]));
    }
}
