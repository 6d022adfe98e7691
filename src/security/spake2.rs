//! Proof of a one-time code that tells the other side nothing but whether it has the same: SPAKE2
//! over edwards25519, confirmed by both.
//!
//! ```text
//! newcomer → member   X = x·B + w·M
//! member → newcomer   Y = y·B + w·N
//! K   = SPAKE2's key: SHA-256 of the code's hash, both ids' hashes, X, Y and the agreed point
//! keys = HKDF-SHA256(K, salt = context, info = "roundel code 1"), 64 bytes: a key for each side
//! newcomer → member   cA = HMAC(first key, newcomer ‖ member ‖ X ‖ Y ‖ context)
//! member → newcomer   cB = HMAC(second key, the same)
//! ```
//!
//! Whoever does not know the code and takes part once has tried one code and learns whether it was
//! right; nothing that went over the wire can be tried again later. `context` is the digest of both
//! hellos of the link: somebody in between has two links with two contexts, and so two keys.
//! An element of small order in a share helps nobody: it leaves the sender with more keys to try,
//! not with fewer codes.
//!
//! Sources: RFC 9382 §3.3, §4 (shares and confirmation); the group, the constants M and N and the
//! derivation of K are those of the `spake2` crate, which has none of the RFC's cipher suites. It
//! does not wipe what it holds; an exchange lasts seconds.

use rand_core::{CryptoRng, RngCore};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

use super::hkdf;
use super::hmac::{self, MacKey, Tag};
use crate::base::code::JoinCode;
use crate::base::id::Id;

const DOMAIN: &[u8] = b"roundel code 1";
/// Bytes of a share.
pub const SHARE_BYTES: usize = 32;
/// Random bytes that an exchange takes.
pub const RANDOM_BYTES: usize = 64;
/// The first byte of a share, as the library has it, by its sender; here the role says it.
const MARKS: [u8; 2] = [b'A', b'B'];

/// Which of the two a board is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It would come in; a person entered the code there.
    Newcomer,
    /// It made the code.
    Member,
}

/// Between whom, on which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties {
    /// Who would come in.
    pub newcomer: Id,
    /// Who made the code.
    pub member: Id,
    /// Digest of both hellos of their link.
    pub context: [u8; 32],
}

/// One side of an exchange that has its share and waits for the other's.
pub struct Exchange {
    role: Role,
    parties: Parties,
    share: [u8; SHARE_BYTES],
    spake: Spake2<Ed25519Group>,
}

/// What both sides have to show for it. The sides' tags are the same when their codes are.
#[derive(Clone, PartialEq, Eq)]
pub struct Agreed {
    role: Role,
    tags: [Tag; 2],
}

impl Exchange {
    /// Starts one side.
    pub fn new(
        role: Role,
        code: &JoinCode,
        parties: Parties,
        random: &Zeroizing<[u8; RANDOM_BYTES]>,
    ) -> Self {
        let password = Password::new(code.digits());
        let [a, b] = [&parties.newcomer, &parties.member].map(|id| Identity::new(id.as_bytes()));
        let rng = Drawn(&random[..]);
        let (spake, marked) = match role {
            Role::Newcomer => Spake2::start_a_with_rng(&password, &a, &b, rng),
            Role::Member => Spake2::start_b_with_rng(&password, &a, &b, rng),
        };
        let mut share = [0; SHARE_BYTES];
        share.copy_from_slice(&marked[1..]);
        Exchange {
            role,
            parties,
            share,
            spake,
        }
    }

    /// What the other side is sent.
    pub fn share(&self) -> [u8; SHARE_BYTES] {
        self.share
    }

    /// Takes the other side's share. None: it is none, or this side's own come back.
    pub fn agree(self, theirs: &[u8; SHARE_BYTES]) -> Option<Agreed> {
        if *theirs == self.share {
            return None;
        }
        let (x, y, mark) = match self.role {
            Role::Newcomer => (&self.share, theirs, MARKS[1]),
            Role::Member => (theirs, &self.share, MARKS[0]),
        };
        let mut marked = vec![mark];
        marked.extend_from_slice(theirs);
        let key = Zeroizing::new(self.spake.finish(&marked).ok()?);
        let Parties {
            newcomer,
            member,
            context,
        } = &self.parties;
        let mut keys = Zeroizing::new([0; 64]);
        hkdf::expand(&key, context, &[DOMAIN], &mut keys[..]);
        let transcript: [&[u8]; 5] = [newcomer.as_bytes(), member.as_bytes(), x, y, context];
        let (first, second) = keys.split_at(32);
        Some(Agreed {
            role: self.role,
            tags: [first, second].map(|key| MacKey::new(key).tag(&transcript)),
        })
    }
}

impl Agreed {
    /// What this side shows the other.
    pub fn mine(&self) -> Tag {
        self.tags[usize::from(self.role == Role::Member)]
    }

    /// The other side has the same code. Takes the same time wherever the tag differs.
    pub fn is_theirs(&self, tag: &Tag) -> bool {
        hmac::equal(&self.tags[usize::from(self.role == Role::Newcomer)], tag)
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exchange(…)")
    }
}

impl std::fmt::Debug for Agreed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Agreed(…)")
    }
}

/// Bytes that were drawn already, in the form the library asks for: it takes one scalar's.
struct Drawn<'a>(&'a [u8]);

impl RngCore for Drawn<'_> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        let (now, later) = self.0.split_at(out.len());
        out.copy_from_slice(now);
        self.0 = later;
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Drawn<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parties() -> Parties {
        Parties {
            newcomer: Id::of(b"newcomer"),
            member: Id::of(b"member"),
            context: [3; 32],
        }
    }

    fn side(role: Role, code: &str, parties: Parties) -> Exchange {
        let random = match role {
            Role::Newcomer => [1; RANDOM_BYTES],
            Role::Member => [2; RANDOM_BYTES],
        };
        Exchange::new(role, &code.parse().unwrap(), parties, &random.into())
    }

    /// Both sides' tags, and whether each is taken by the other.
    fn run(newcomer: Exchange, member: Exchange) -> ([Tag; 2], [bool; 2]) {
        let (x, y) = (newcomer.share(), member.share());
        let (a, b) = (newcomer.agree(&y).unwrap(), member.agree(&x).unwrap());
        let tags = [a.mine(), b.mine()];
        (tags, [b.is_theirs(&tags[0]), a.is_theirs(&tags[1])])
    }

    #[test]
    fn the_same_code_agrees_and_any_other_does_not() {
        let code = "1234-5678";
        let a = side(Role::Newcomer, code, parties());
        let b = side(Role::Member, code, parties());
        let (tags, taken) = run(a, b);
        assert_eq!(taken, [true, true]);
        assert_ne!(tags[0], tags[1], "a tag sent back is not the other side's");
        for other in ["1234-5679", "0234-5678", "8765-4321"] {
            let a = side(Role::Newcomer, other, parties());
            let b = side(Role::Member, code, parties());
            let (_, taken) = run(a, b);
            assert_eq!(taken, [false, false], "{other}");
        }
    }

    #[test]
    fn other_boards_and_other_links_do_not_agree() {
        let code = "1234-5678";
        let other = Id::of(b"in between");
        let changed = [
            Parties {
                newcomer: other,
                ..parties()
            },
            Parties {
                member: other,
                ..parties()
            },
            Parties {
                context: [4; 32],
                ..parties()
            },
        ];
        for theirs in changed {
            let a = side(Role::Newcomer, code, parties());
            let (_, taken) = run(a, side(Role::Member, code, theirs));
            assert_eq!(taken, [false, false], "{theirs:?}");
        }
    }

    #[test]
    fn a_share_that_comes_back_is_refused_and_one_of_the_wrong_side_proves_nothing() {
        let code = "1234-5678";
        let a = side(Role::Newcomer, code, parties());
        let own = a.share();
        assert_eq!(a.agree(&own), None);
        let a = side(Role::Newcomer, code, parties());
        let random = [9; RANDOM_BYTES].into();
        let twin = Exchange::new(Role::Newcomer, &code.parse().unwrap(), parties(), &random);
        let (x, y) = (a.share(), twin.share());
        let (a, twin) = (a.agree(&y).unwrap(), twin.agree(&x).unwrap());
        assert!(!a.is_theirs(&twin.mine()) && !twin.is_theirs(&a.mine()));
    }

    #[test]
    fn what_is_no_point_is_refused() {
        // Half of all strings are no y-coordinate of the curve.
        let refused = (0..=255u8).filter(|first| {
            let mut share = [0x5a; SHARE_BYTES];
            share[0] = *first;
            side(Role::Member, "1234-5678", parties())
                .agree(&share)
                .is_none()
        });
        let refused = refused.count();
        assert!((64..192).contains(&refused), "{refused}");
    }

    #[test]
    fn any_flipped_bit_of_a_share_or_a_tag_is_refused() {
        let code = "1234-5678";
        let sides = || {
            let a = side(Role::Newcomer, code, parties());
            (a, side(Role::Member, code, parties()))
        };
        for bit in 0..8 * SHARE_BYTES {
            let (a, b) = sides();
            let (x, mut y) = (a.share(), b.share());
            y[bit / 8] ^= 1 << (bit % 8);
            let b = b.agree(&x).unwrap();
            let taken = a.agree(&y).is_some_and(|a| b.is_theirs(&a.mine()));
            assert!(!taken, "share bit {bit}");
        }
        let (a, b) = sides();
        let (x, y) = (a.share(), b.share());
        let (a, b) = (a.agree(&y).unwrap(), b.agree(&x).unwrap());
        for bit in 0..8 * hmac::TAG_BYTES {
            let mut tag = a.mine();
            tag[bit / 8] ^= 1 << (bit % 8);
            assert!(!b.is_theirs(&tag), "tag bit {bit}");
        }
    }
}
