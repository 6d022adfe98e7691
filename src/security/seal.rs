//! Sealing for one board: X25519 (RFC 7748) agreement, HKDF-SHA256, ChaCha20-Poly1305 (RFC 8439).
//!
//! ```text
//! shared = X25519(own secret, other's share)
//! key    = HKDF-SHA256(shared, salt = context,
//!                      info = "roundel seal 1" ‖ from's share ‖ to's share)
//! sealed = ChaCha20-Poly1305(key, nonce, plain, additional data = context)
//! ```
//!
//! Both shares live for one start of their board and come from the generator that machines are
//! handed. That a share belongs to an identity is the caller's to know: hellos carry shares and
//! are signed (`proto/session`), and `context` is the digest of both. A key's direction is in its
//! derivation, so that a nonce counts one side's messages of one link.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroize;

use super::hkdf;

const DOMAIN: &[u8] = b"roundel seal 1";
/// Bytes of a share.
pub const SHARE_BYTES: usize = 32;

/// A board's secret of this start.
pub struct Secret {
    secret: StaticSecret,
    share: [u8; SHARE_BYTES],
}

impl Secret {
    /// From 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        let secret = StaticSecret::from(random);
        let share = PublicKey::from(&secret).to_bytes();
        Secret { secret, share }
    }

    /// What the others need to seal for this board.
    pub fn share(&self) -> [u8; SHARE_BYTES] {
        self.share
    }

    /// Seals `plain` for the board with the other share. `nonce` is never repeated with the same
    /// context. None: the share is one of the few that agree on nothing.
    pub fn seal(
        &self,
        to: &[u8; SHARE_BYTES],
        context: &[u8],
        nonce: u64,
        plain: &[u8],
    ) -> Option<Vec<u8>> {
        let key = self.key(to, context, (&self.share, to))?;
        let mut bytes = plain.to_vec();
        key.seal_in_place_append_tag(counted(nonce), Aad::from(context), &mut bytes)
            .ok()?;
        Some(bytes)
    }

    /// Opens what the board with the other share sealed for this one; none: it is not that.
    pub fn open(
        &self,
        from: &[u8; SHARE_BYTES],
        context: &[u8],
        nonce: u64,
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let key = self.key(from, context, (from, &self.share))?;
        let mut bytes = sealed.to_vec();
        let length = key
            .open_in_place(counted(nonce), Aad::from(context), &mut bytes)
            .ok()?
            .len();
        bytes.truncate(length);
        Some(bytes)
    }

    fn key(
        &self,
        other: &[u8; SHARE_BYTES],
        context: &[u8],
        (from, to): (&[u8; SHARE_BYTES], &[u8; SHARE_BYTES]),
    ) -> Option<LessSafeKey> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*other));
        if !shared.was_contributory() {
            return None;
        }
        let mut key = hkdf::derive(shared.as_bytes(), context, &[DOMAIN, from, to]);
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?;
        key.zeroize();
        Some(LessSafeKey::new(unbound))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn counted(nonce: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&nonce.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::hex;

    /// RFC 7748 §6.1.
    #[test]
    fn rfc_7748_vector_holds() {
        let read = |text: &str| hex::decode::<32>(text).unwrap();
        let bob = Secret::new(read(
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ));
        assert_eq!(
            bob.share(),
            read("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
        let alice = read("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let shared = bob.secret.diffie_hellman(&PublicKey::from(alice));
        assert_eq!(
            hex::encode(shared.as_bytes()),
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
        );
    }

    #[test]
    fn only_the_board_it_was_sealed_for_opens_it() {
        let [a, b, c] = [1, 2, 3].map(|n| Secret::new([n; 32]));
        let sealed = a.seal(&b.share(), b"link", 0, b"the key").unwrap();
        assert_eq!(b.open(&a.share(), b"link", 0, &sealed).unwrap(), b"the key");
        assert_eq!(c.open(&a.share(), b"link", 0, &sealed), None);
        assert_eq!(b.open(&c.share(), b"link", 0, &sealed), None);
        assert_eq!(b.open(&a.share(), b"another", 0, &sealed), None);
        assert_eq!(b.open(&a.share(), b"link", 1, &sealed), None);
        // It is not taken for one of the other direction.
        assert_eq!(a.open(&b.share(), b"link", 0, &sealed), None);
        for bit in 0..8 * sealed.len() {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(b.open(&a.share(), b"link", 0, &forged), None);
        }
    }

    #[test]
    fn shares_that_agree_on_nothing_are_refused() {
        let a = Secret::new([1; 32]);
        assert_eq!(a.seal(&[0; 32], b"", 0, b"the key"), None);
    }
}
