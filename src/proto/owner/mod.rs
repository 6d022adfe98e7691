//! The owner of the page: claimed once with a code, then known by a password, and by a session
//! while the browser is open.
//!
//! Start: nobody owns the board, and a code is drawn for its console. Whoever enters it chooses the
//! password and is the owner. Steady state: the password opens sessions, which end by themselves
//! when unused, or all at once when the password changes. Distress: attempts are counted
//! ([`attempt`]) before anything else is looked at; who forgot the password draws a new code on the
//! board itself, and claims it anew. Another board of the ring may know a newer password
//! ([`Owner::is_newer`]). End: none; sessions die with the process.
//!
//! ```text
//!            claim (code)               log in (password)
//! unclaimed ─────────────▶ claimed ◀──────────────────────▶ session
//!      ╰──── adopt ───────▶   │  claim (new code), change, adopt: all sessions end
//! ```
//!
//! Passwords are hashed by the caller, away from its event loop: the machine says whether an
//! attempt is allowed and takes the outcome. Session tokens are kept as their hashes, so that
//! finding one tells nothing about the others.

mod attempt;
mod code;

use std::collections::BTreeMap;

pub use code::{CODE_BYTES, Code};

use crate::base::endpoint::IpAddr;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::owner::Credential;
use crate::base::time::Time;

use attempt::Attempts;

/// Random bytes of a session's token.
pub const TOKEN_BYTES: usize = 32;

/// What a browser shows to be in a session.
pub type Token = [u8; TOKEN_BYTES];

/// Why the owner is not let in; each says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Attempts are used up; the client is to blame.
    #[error("too many attempts; try again in {seconds} s")]
    TooMany {
        /// When there is one more.
        seconds: u64,
    },
    /// There is no password yet.
    #[error(
        "nobody has claimed this board yet; claim it with the code from its console \
         (`roundel key owner-code` on the board prints it)"
    )]
    Unclaimed,
    /// It is not the password.
    #[error(
        "the password is wrong; try again, or set a new one with the code that \
         `roundel key owner-code` prints on the board"
    )]
    WrongPassword,
    /// It is not the code.
    #[error(
        "the code is wrong or has run out; `roundel key owner-code` on the board prints the one \
         that holds"
    )]
    WrongCode,
    /// The password is too short or too long.
    #[error(
        "a password has {min} to {max} bytes, this one {got}; choose another",
        min = limit::PASSWORD_BYTES_MIN,
        max = limit::PASSWORD_BYTES_MAX
    )]
    Length {
        /// Its bytes.
        got: usize,
    },
    /// There is no such session.
    #[error("nobody is logged in here, or not any more; log in first")]
    NoSession,
}

/// The machine.
#[derive(Debug, Default)]
pub struct Owner {
    credential: Option<Credential>,
    code: Option<Code>,
    /// When the code runs out; none: it holds until it is used.
    code_until: Option<Time>,
    sessions: BTreeMap<Id, Session>,
    attempts: Attempts,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    begun: Time,
    used: Time,
}

impl Session {
    fn is_over(&self, now: Time) -> bool {
        now.since(self.used) >= limit::OWNER_SESSION_IDLE_MAX
            || now.since(self.begun) >= limit::OWNER_SESSION_TIME_MAX
    }
}

impl Owner {
    /// The owner as kept on flash; without one, whoever enters the code of these bytes.
    pub fn new(credential: Option<Credential>, random: [u8; CODE_BYTES]) -> Self {
        Owner {
            code: credential.is_none().then(|| Code::new(random)),
            credential,
            ..Owner::default()
        }
    }

    /// Somebody owns the board.
    pub fn is_claimed(&self) -> bool {
        self.credential.is_some()
    }

    /// What is to be kept, and passed to the other boards.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// The code that claims the board; drawn from these bytes unless one holds. Only ever to be
    /// shown on the board itself.
    pub fn code(&mut self, now: Time, random: [u8; CODE_BYTES]) -> String {
        let holds = self.code_until.is_none_or(|until| now < until);
        if !holds || self.code.is_none() {
            self.code = Some(Code::new(random));
            self.code_until = Some(now + limit::OWNER_CODE_TIME_MAX);
        }
        self.code.as_ref().map(Code::text).unwrap_or_default()
    }

    /// Counts an attempt at a password or code.
    ///
    /// # Errors
    /// [`Refused::TooMany`].
    pub fn attempt(&mut self, now: Time, source: IpAddr) -> Result<(), Refused> {
        let taken = self.attempts.take(now, source);
        taken.map_err(|wait| Refused::TooMany {
            seconds: wait.as_millis().div_ceil(1_000) as u64,
        })
    }

    /// Whether this code may set this password.
    ///
    /// # Errors
    /// [`Refused::Length`], [`Refused::WrongCode`].
    pub fn check_claim(&self, now: Time, code: &str, password: &str) -> Result<(), Refused> {
        check_length(password)?;
        let holds = self.code_until.is_none_or(|until| now < until);
        match &self.code {
            Some(known) if holds && known.is(code) => Ok(()),
            _ => Err(Refused::WrongCode),
        }
    }

    /// The hash that a password is to be checked against.
    ///
    /// # Errors
    /// [`Refused::Unclaimed`].
    pub fn hash(&self) -> Result<&str, Refused> {
        let credential = self.credential.as_ref().ok_or(Refused::Unclaimed)?;
        Ok(&credential.phc)
    }

    /// The credential that a new hash makes; it counts once it is kept ([`Owner::handle_kept`]).
    pub fn next(&self, phc: String) -> Credential {
        let version = self.credential.as_ref().map_or(0, |it| it.version) + 1;
        Credential { version, phc }
    }

    /// The password has changed and its hash is kept: the code is used up, every session is over.
    pub fn handle_kept(&mut self, credential: Credential) {
        self.credential = Some(credential);
        self.code = None;
        self.code_until = None;
        self.sessions.clear();
    }

    /// Whether this credential of another board replaces ours.
    pub fn is_newer(&self, theirs: &Credential) -> bool {
        self.credential.as_ref().is_none_or(|ours| theirs > ours)
    }

    /// The owner has proved who they are: a session begins, and the source is forgiven.
    pub fn begin(&mut self, now: Time, source: IpAddr, token: &Token) {
        self.attempts.forgive(source);
        self.expire(now);
        if self.sessions.len() >= limit::OWNER_SESSIONS_MAX {
            let oldest = self.sessions.iter().min_by_key(|(_, it)| it.used);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.sessions.remove(&oldest);
            }
        }
        let session = Session {
            begun: now,
            used: now,
        };
        self.sessions.insert(Id::of(token), session);
    }

    /// The token is of a session that lasts; asking prolongs it.
    pub fn is_in_session(&mut self, now: Time, token: &Token) -> bool {
        self.expire(now);
        match self.sessions.get_mut(&Id::of(token)) {
            Some(session) => {
                session.used = now;
                true
            }
            None => false,
        }
    }

    /// Ends a session.
    pub fn log_out(&mut self, token: &Token) {
        self.sessions.remove(&Id::of(token));
    }

    /// Sessions that last.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn expire(&mut self, now: Time) {
        self.sessions.retain(|_, session| !session.is_over(now));
    }
}

/// A password may be of that length.
///
/// # Errors
/// [`Refused::Length`].
pub fn check_length(password: &str) -> Result<(), Refused> {
    let got = password.len();
    match (limit::PASSWORD_BYTES_MIN..=limit::PASSWORD_BYTES_MAX).contains(&got) {
        true => Ok(()),
        false => Err(Refused::Length { got }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SOURCE: [u8; 4] = [192, 0, 2, 1];

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn claimed() -> Owner {
        let mut owner = Owner::new(None, [0; CODE_BYTES]);
        owner.handle_kept(owner.next("hash".into()));
        owner
    }

    #[test]
    fn board_is_claimed_once_with_its_code() {
        let mut owner = Owner::new(None, [0; CODE_BYTES]);
        assert_eq!(owner.code(at(0), [1; CODE_BYTES]), "0000-0000");
        assert_eq!(owner.hash(), Err(Refused::Unclaimed));
        let wrong = owner.check_claim(at(1), "0000-0001", "password");
        assert_eq!(wrong, Err(Refused::WrongCode));
        let short = owner.check_claim(at(1), "0000-0000", "short");
        assert_eq!(short, Err(Refused::Length { got: 5 }));
        assert_eq!(owner.check_claim(at(1), "0000-0000", "password"), Ok(()));
        owner.handle_kept(owner.next("hash".into()));
        assert_eq!((owner.is_claimed(), owner.hash()), (true, Ok("hash")));
        let again = owner.check_claim(at(1), "0000-0000", "password");
        assert_eq!(again, Err(Refused::WrongCode), "the code is used up");
    }

    #[test]
    fn forgotten_password_is_replaced_with_a_code_that_runs_out() {
        let mut owner = claimed();
        owner.begin(at(0), SOURCE.into(), &[1; TOKEN_BYTES]);
        let code = owner.code(at(100), [3; CODE_BYTES]);
        assert_eq!(owner.code(at(699), [4; CODE_BYTES]), code, "while it holds");
        assert_eq!(owner.check_claim(at(699), &code, "password"), Ok(()));
        let late = owner.check_claim(at(700), &code, "password");
        assert_eq!(late, Err(Refused::WrongCode));
        assert_ne!(owner.code(at(700), [4; CODE_BYTES]), code);
        owner.handle_kept(owner.next("other".into()));
        assert_eq!(owner.credential().map(|it| it.version), Some(2));
        assert!(!owner.is_in_session(at(701), &[1; TOKEN_BYTES]));
    }

    #[test]
    fn sessions_end_when_unused_when_old_and_when_logged_out() {
        let mut owner = claimed();
        let token = [7; TOKEN_BYTES];
        owner.begin(at(0), SOURCE.into(), &token);
        assert!(!owner.is_in_session(at(1), &[8; TOKEN_BYTES]));
        assert!(owner.is_in_session(at(1_799), &token), "asking prolongs it");
        assert!(owner.is_in_session(at(3_598), &token));
        assert!(!owner.is_in_session(at(3_598 + 1_800), &token), "unused");
        owner.begin(at(10_000), SOURCE.into(), &token);
        let hours = 12 * 3_600;
        for later in (0..hours).step_by(1_000) {
            assert!(owner.is_in_session(at(10_000 + later), &token));
        }
        assert!(!owner.is_in_session(at(10_000 + hours), &token), "old");
        owner.begin(at(60_000), SOURCE.into(), &token);
        owner.log_out(&token);
        assert!(!owner.is_in_session(at(60_000), &token));
    }

    #[test]
    fn sessions_are_bounded_and_the_one_unused_for_longest_gives_way() {
        let mut owner = claimed();
        let token = |number: u64| *Id::of(&number.to_be_bytes()).as_bytes();
        for number in 0..1_000 {
            owner.begin(at(number), SOURCE.into(), &token(number));
            assert!(owner.is_in_session(at(number), &token(0)) || number == 0);
            assert!(owner.sessions() <= limit::OWNER_SESSIONS_MAX);
        }
        assert!(owner.is_in_session(at(1_000), &token(999)));
        assert!(!owner.is_in_session(at(1_000), &token(500)));
    }

    #[test]
    fn of_two_credentials_the_later_counts_and_boards_agree_which() {
        let owner = claimed();
        let other = |version, phc: &str| Credential {
            version,
            phc: phc.into(),
        };
        assert!(owner.is_newer(&other(2, "a")) && owner.is_newer(&other(1, "hasi")));
        assert!(!owner.is_newer(&other(1, "hash")) && !owner.is_newer(&other(1, "a")));
        assert!(Owner::new(None, [0; CODE_BYTES]).is_newer(&other(0, "")));
    }

    #[test]
    fn who_proved_the_password_is_forgiven_what_was_mistyped() {
        let mut owner = claimed();
        let source = SOURCE.into();
        while owner.attempt(at(0), source).is_ok() {}
        let refused = owner.attempt(at(0), source);
        assert_eq!(refused, Err(Refused::TooMany { seconds: 20 }));
        owner.begin(at(0), source, &[1; TOKEN_BYTES]);
        assert_eq!(owner.attempt(at(0), source), Ok(()));
    }
}
