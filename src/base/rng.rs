//! The random generator a machine is handed: seeded, so that a run can be repeated.

pub use rand::rngs::StdRng as Rng;
pub use rand::{RngExt, SeedableRng};

/// A generator for machine number `stream` of a run: the same seed and stream draw the same.
pub fn seeded(seed: [u8; 32], stream: u64) -> Rng {
    let mut bytes = seed;
    for (byte, other) in bytes.iter_mut().zip(stream.to_be_bytes()) {
        *byte ^= other;
    }
    Rng::from_seed(bytes)
}
