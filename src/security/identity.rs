//! A board's identity: an ECDSA P-256 key pair and the id derived from it.
//!
//! The private key never leaves this type but as the PKCS#8 document the runtime keeps on flash.
//! Signatures are ASN.1 DER over SHA-256 (FIPS 186-4); public keys travel as the DER
//! SubjectPublicKeyInfo (RFC 5480), whose SHA-256 is the board's id.

use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair, UnparsedPublicKey};

use crate::base::id::Id;

/// DER of SubjectPublicKeyInfo for an uncompressed P-256 point, up to the point itself.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed P-256 point: 0x04 ‖ x ‖ y.
const POINT_BYTES: usize = 65;

/// Why an identity cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The document is not a P-256 key in PKCS#8; the file was damaged or replaced.
    #[error("not a P-256 private key in PKCS#8 form ({0})")]
    BadKey(String),
    /// The system gave no random bytes.
    #[error("the system's random source failed")]
    NoEntropy,
}

/// Signs for one board.
pub trait Signer: Send {
    /// The board's id: SHA-256 of [`Signer::public_key`].
    fn id(&self) -> Id;
    /// DER SubjectPublicKeyInfo, 91 bytes.
    fn public_key(&self) -> &[u8];
    /// Signs `message`; ASN.1 DER, at most 72 bytes.
    fn sign(&self, message: &[u8]) -> Vec<u8>;
}

/// A board's key pair.
pub struct Identity {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    public_key: Vec<u8>,
    id: Id,
}

impl Identity {
    /// Draws a new key pair and returns its PKCS#8 document, to be kept with mode 0600.
    ///
    /// # Errors
    /// [`IdentityError::NoEntropy`].
    pub fn generate() -> Result<Vec<u8>, IdentityError> {
        let document = EcdsaKeyPair::generate_pkcs8(
            &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            &SystemRandom::new(),
        )
        .map_err(|_| IdentityError::NoEntropy)?;
        Ok(document.as_ref().to_vec())
    }

    /// Reads a key pair from its PKCS#8 document.
    ///
    /// # Errors
    /// [`IdentityError::BadKey`].
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, IdentityError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(
            &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            document,
            &random,
        )
        .map_err(|error| IdentityError::BadKey(error.to_string()))?;
        let mut public_key = SPKI_PREFIX.to_vec();
        public_key.extend_from_slice(pair.public_key().as_ref());
        let id = Id::of(&public_key);
        Ok(Identity {
            pair,
            random,
            public_key,
            id,
        })
    }
}

impl Signer for Identity {
    fn id(&self) -> Id {
        self.id
    }

    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair
            .sign(&self.random, message)
            .expect("signing fails only without entropy, which was there when the key was read")
            .as_ref()
            .to_vec()
    }
}

/// Checks `signature` over `message` against a DER SubjectPublicKeyInfo; false for anything wrong.
pub fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    match public_key.strip_prefix(&SPKI_PREFIX[..]) {
        Some(point) if point.len() == POINT_BYTES => {
            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, point)
                .verify(message, signature)
                .is_ok()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_verifies_and_any_change_is_refused() {
        let identity = Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap();
        let signature = identity.sign(b"hello");
        assert_eq!(identity.public_key().len(), 91);
        assert_eq!(identity.id(), Id::of(identity.public_key()));
        assert!(verify(identity.public_key(), b"hello", &signature));
        assert!(!verify(identity.public_key(), b"hellp", &signature));
        assert!(!verify(&identity.public_key()[1..], b"hello", &signature));
        let mut forged = signature.clone();
        forged[10] ^= 1;
        assert!(!verify(identity.public_key(), b"hello", &forged));
    }

    #[test]
    fn damaged_key_file_is_refused() {
        let mut document = Identity::generate().unwrap();
        document.truncate(40);
        assert!(matches!(
            Identity::from_pkcs8(&document),
            Err(IdentityError::BadKey(_))
        ));
    }
}
