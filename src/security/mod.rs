//! L1: cryptographic primitives, wrapped so that the machines name values and not a library.

pub mod certificate;
pub mod identity;
