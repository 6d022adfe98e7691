//! Bearer tokens: what a script shows in place of the cluster's key.
//!
//! A token says by itself what it grants and until when, under a tag that every board of the
//! cluster can check; nothing is kept of it anywhere. It ends with its time, or with the key it
//! was made under: when a rotation's overlap is over. Its text is `roundel-token-1.` and the
//! base64url, without padding, of
//!
//! ```text
//! kid 8 ‖ id 8 ‖ scope u8 (0 read, 1 write, 2 admin) ‖ expires u64be ‖ tag 32
//! ```
//!
//! `expires` is in seconds since 1970, 0: never. The tag is HMAC-SHA256 of all before it under a
//! key derived from the cluster's. The id tells tokens apart and is for people and logs.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::hex;
use super::hmac::{MacKey, TAG_BYTES, Tag};
use super::key::{ClusterKey, Keyring, Kid};
use crate::base::access::Scope;
use crate::base::time::WallTime;

/// What every token begins with.
const MARK: &str = "roundel-token-1.";
/// Bytes before the tag.
const CLAIM_BYTES: usize = 8 + 8 + 1 + 8;

/// What a token grants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token {
    kid: Kid,
    id: [u8; 8],
    scope: Scope,
    /// Seconds since 1970.
    expires: Option<u64>,
    tag: Tag,
}

/// Why a token grants nothing; its bearer is to blame, but for `Unset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token, not this cluster's, or changed: which of them is not told.
    #[error("the token is not one of this cluster's; make one with `roundel key token`")]
    Foreign,
    /// Its time is over.
    #[error("the token has expired; make a new one with `roundel key token`")]
    Expired,
    /// Whether its time is over cannot be known.
    #[error(
        "the board's clock is not set, so the token may have expired; set the clock, or use --key"
    )]
    Unset,
}

impl Token {
    /// Makes a token under a key; `id` is to be random, `expires` in seconds since 1970.
    pub fn new(key: &ClusterKey, id: [u8; 8], scope: Scope, expires: Option<u64>) -> Self {
        let mut token = Token {
            kid: key.kid(),
            id,
            scope,
            expires: expires.map(|seconds| seconds.max(1)),
            tag: [0; TAG_BYTES],
        };
        token.tag = mac_key(key).tag(&[&token.claim()]);
        token
    }

    /// What the text grants at this time, checked against the keys of the board. A clock below
    /// `unset_below` was never set.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn check(
        text: &str,
        keyring: &Keyring,
        now: WallTime,
        unset_below: WallTime,
    ) -> Result<Scope, TokenError> {
        let token = Token::parse(text).ok_or(TokenError::Foreign)?;
        let key = keyring.find(&token.kid).ok_or(TokenError::Foreign)?;
        if !mac_key(key).verify(&[&token.claim()], &token.tag) {
            return Err(TokenError::Foreign);
        }
        match token.expires {
            Some(_) if now < unset_below => Err(TokenError::Unset),
            Some(expires) if now.0 / 1_000 >= expires => Err(TokenError::Expired),
            _ => Ok(token.scope),
        }
    }

    /// Reads the text without checking it.
    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(MARK)?).ok()?;
        let (claim, tag) = bytes.split_at_checked(CLAIM_BYTES)?;
        let (kid, rest) = claim.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk()?;
        let (scope, rest) = rest.split_first()?;
        let expires = u64::from_be_bytes(rest.try_into().ok()?);
        Some(Token {
            kid: Kid(*kid),
            id: *id,
            scope: *Scope::ALL.get(usize::from(*scope))?,
            expires: Some(expires).filter(|seconds| *seconds != 0),
            tag: tag.try_into().ok()?,
        })
    }

    /// Tells it from others.
    pub fn id(&self) -> String {
        hex::encode(&self.id)
    }

    fn claim(&self) -> [u8; CLAIM_BYTES] {
        let mut claim = [0; CLAIM_BYTES];
        claim[..8].copy_from_slice(&self.kid.0);
        claim[8..16].copy_from_slice(&self.id);
        claim[16] = self.scope as u8;
        claim[17..].copy_from_slice(&self.expires.unwrap_or_default().to_be_bytes());
        claim
    }

    /// The text a bearer shows. It is a secret.
    pub fn to_text(&self) -> String {
        let bytes = [&self.claim()[..], &self.tag].concat();
        format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Token({}, {}, {:?})",
            self.id(),
            self.scope,
            self.expires
        )
    }
}

fn mac_key(key: &ClusterKey) -> MacKey {
    MacKey::new(&key.derive(&[b"roundel token"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUILT: WallTime = WallTime(1_000_000);
    const EXPIRES: u64 = 2_000;

    fn key(byte: u8) -> ClusterKey {
        ClusterKey::new(0, [byte; 32])
    }

    fn check(text: &str, ms: u64) -> Result<Scope, TokenError> {
        Token::check(text, &Keyring::new(key(1)), WallTime(ms), BUILT)
    }

    #[test]
    fn a_token_grants_its_scope_until_it_expires() {
        for scope in Scope::ALL {
            let text = Token::new(&key(1), [7; 8], scope, Some(EXPIRES)).to_text();
            assert_eq!(check(&text, 1_999_999), Ok(scope));
            assert_eq!(check(&text, 2_000_000), Err(TokenError::Expired));
        }
    }

    #[test]
    fn an_unset_clock_refuses_tokens_that_expire_and_no_others() {
        let expiring = Token::new(&key(1), [7; 8], Scope::Read, Some(EXPIRES)).to_text();
        assert_eq!(check(&expiring, 5), Err(TokenError::Unset));
        let lasting = Token::new(&key(1), [7; 8], Scope::Read, None).to_text();
        assert_eq!(check(&lasting, 5), Ok(Scope::Read));
    }

    #[test]
    fn a_token_ends_with_the_key_it_was_made_under() {
        let text = Token::new(&key(1), [7; 8], Scope::Admin, None).to_text();
        let mut keyring = Keyring::new(key(2));
        let checked = |keyring: &Keyring| Token::check(&text, keyring, BUILT, BUILT);
        assert_eq!(checked(&keyring), Err(TokenError::Foreign));
        keyring.previous = Some(key(1));
        assert_eq!(checked(&keyring), Ok(Scope::Admin));
    }

    proptest! {
        #[test]
        fn flipping_any_bit_of_a_token_is_refused(bit in 0..8 * (CLAIM_BYTES + TAG_BYTES)) {
            let token = Token::new(&key(1), [7; 8], Scope::Read, Some(EXPIRES));
            let mut bytes = [&token.claim()[..], &token.tag].concat();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let text = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes));
            prop_assert_eq!(check(&text, 1_500_000), Err(TokenError::Foreign));
        }

        #[test]
        fn any_text_is_refused(text in "(roundel-token-1.)?[ -~]{0,90}") {
            prop_assert_eq!(check(&text, 1_500_000), Err(TokenError::Foreign));
        }
    }
}
