//! HKDF-SHA256 (RFC 5869): session and purpose keys from a secret.

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Extracts from `secret` with `salt` and expands with `info` (its parts, one after the other).
///
/// Parts of `info` that vary in length need a length prefix by their caller.
pub fn derive(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    expand(secret, salt, info, &mut out);
    out
}

/// As [`derive`], for `out` of at most 255 × 32 bytes.
///
/// # Panics
/// When `out` is longer.
pub fn expand(secret: &[u8], salt: &[u8], info: &[&[u8]], out: &mut [u8]) {
    let pseudorandom = Salt::new(HKDF_SHA256, salt).extract(secret);
    pseudorandom
        .expand(info, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("no caller asks for more than 255 blocks");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::hex;

    fn check(secret: &[u8], salt: &[u8], info: &[u8], expected: &str) {
        let mut out = vec![0; expected.len() / 2];
        expand(secret, salt, &[info], &mut out);
        assert_eq!(hex::encode(&out), expected);
    }

    /// RFC 5869 appendix A.1 to A.3.
    #[test]
    fn rfc_5869_vectors_hold() {
        let range = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
        check(
            &[0x0b; 22],
            &range(0x00, 0x0c),
            &range(0xf0, 0xf9),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        );
        check(
            &range(0x00, 0x4f),
            &range(0x60, 0xaf),
            &range(0xb0, 0xff),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c\
             59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
             cc30c58179ec3e87c14c01d5c1f3434f1d87",
        );
        check(
            &[0x0b; 22],
            &[],
            &[],
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        );
    }

    #[test]
    fn info_in_parts_is_info_whole() {
        assert_eq!(
            derive(b"secret", b"salt", &[b"ab", b"c"]),
            derive(b"secret", b"salt", &[b"abc"])
        );
    }
}
