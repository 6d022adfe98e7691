//! Argon2id over a password, as a PHC string.
//!
//! The cost is one of those that OWASP's Password Storage Cheat Sheet calls equal, with the least
//! memory: 7 MiB are there beside everything else on a board of 512 MB. It takes a board's core for
//! up to a second, so that callers run one at a time, away from the event loop. Sources: RFC 9106;
//! PHC string format, as the reference implementation prints it.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::hmac::equal;

/// Bytes of a salt, to be drawn anew for each hash.
pub const SALT_BYTES: usize = 16;

const HASH_BYTES: usize = 32;
const MEMORY_KIB: u32 = 7 * 1_024;
const PASSES: u32 = 5;
/// No hash of ours costs more; another board's could be meant to keep this one busy.
const MEMORY_KIB_MAX: u32 = 4 * MEMORY_KIB;
const PASSES_MAX: u32 = 4 * PASSES;

/// Why a password cannot be hashed or checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The text is no argon2id hash, or one that costs more than ours may.
    #[error("the kept hash of the password is damaged, or of a newer release")]
    Damaged,
    /// The system has no memory for it.
    #[error("there is not enough memory to check a password")]
    Memory,
}

/// The hash of a password.
///
/// # Errors
/// [`PasswordError::Memory`].
pub fn hash(password: &str, salt: [u8; SALT_BYTES]) -> Result<String, PasswordError> {
    let output = run(password, &salt, MEMORY_KIB, PASSES)?;
    Ok(format!(
        "$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(output)
    ))
}

/// The password is the one of this hash; the comparison takes the same time wherever they differ.
///
/// # Errors
/// [`PasswordError`].
pub fn verify(password: &str, phc: &str) -> Result<bool, PasswordError> {
    let (memory_kib, passes, salt, expected) = parse(phc).ok_or(PasswordError::Damaged)?;
    let output = run(password, &salt, memory_kib, passes)?;
    Ok(equal(&output, &expected))
}

/// The text is a hash that [`verify`] takes.
pub fn is_hash(phc: &str) -> bool {
    parse(phc).is_some()
}

fn parse(phc: &str) -> Option<(u32, u32, Vec<u8>, Vec<u8>)> {
    let mut parts = phc.strip_prefix("$argon2id$v=19$")?.split('$');
    let cost = parts.next()?.strip_prefix("m=")?.strip_suffix(",p=1")?;
    let (memory_kib, passes) = cost.split_once(",t=")?;
    let (memory_kib, passes) = (memory_kib.parse().ok()?, passes.parse().ok()?);
    let mut bytes = || STANDARD_NO_PAD.decode(parts.next()?).ok();
    let (salt, output) = (bytes()?, bytes()?);
    let legal = (8..=MEMORY_KIB_MAX).contains(&memory_kib)
        && (1..=PASSES_MAX).contains(&passes)
        && salt.len() == SALT_BYTES
        && output.len() == HASH_BYTES
        && parts.next().is_none();
    legal.then_some((memory_kib, passes, salt, output))
}

fn run(
    password: &str,
    salt: &[u8],
    memory_kib: u32,
    passes: u32,
) -> Result<[u8; HASH_BYTES], PasswordError> {
    let params =
        Params::new(memory_kib, passes, 1, Some(HASH_BYTES)).map_err(|_| PasswordError::Damaged)?;
    let mut output = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut output)
        .map_err(|_| PasswordError::Memory)?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_fits_its_hash_alone() {
        let phc = hash("correct horse", [7; SALT_BYTES]).unwrap();
        assert!(
            is_hash(&phc) && phc.len() <= crate::base::limit::OWNER_HASH_BYTES_MAX,
            "{phc}"
        );
        assert_eq!(verify("correct horse", &phc), Ok(true));
        assert_eq!(verify("correct horsf", &phc), Ok(false));
        assert_eq!(verify("", &phc), Ok(false));
    }

    /// Made with `printf password | argon2 roundelroundel16 -id -t 2 -k 64 -p 1 -l 32 -e`.
    #[test]
    fn hash_of_the_reference_implementation_is_verified() {
        let phc = "$argon2id$v=19$m=64,t=2,p=1$cm91bmRlbHJvdW5kZWwxNg$7XCO2j1eig+uCy0FYWpALYk4egrJQKp3dJTJSBU+yqQ";
        assert_eq!(verify("password", phc), Ok(true));
        assert_eq!(verify("Password", phc), Ok(false));
    }

    #[test]
    fn text_that_is_no_hash_or_costs_too_much_is_damaged() {
        let phc = hash("password", [0; SALT_BYTES]).unwrap();
        let costly = phc.replace("m=7168", "m=4000000");
        let endless = phc.replace("t=5", "t=4000000");
        let short = &phc[..phc.len() - 4];
        let other = phc.replace("argon2id", "argon2i");
        for text in [
            "",
            "$",
            &costly,
            &endless,
            short,
            &other,
            &format!("{phc}$"),
        ] {
            assert_eq!(
                verify("password", text),
                Err(PasswordError::Damaged),
                "{text}"
            );
        }
    }
}
