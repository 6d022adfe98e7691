//! L1: cryptographic primitives, wrapped so that the machines name values and not a library.

pub mod certificate;
pub mod hex;
pub mod hkdf;
pub mod hmac;
pub mod identity;
pub mod key;
pub mod password;
pub mod rnd1;
pub mod seal;
pub mod spake2;
pub mod token;
pub mod window;
