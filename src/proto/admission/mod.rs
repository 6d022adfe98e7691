//! Admission: which requests of clients that hold the cluster's key are genuine and new.
//!
//! Owns no clock and draws nothing. Start: a board that started has no sessions and a secret of its
//! own, so what was recorded before is worthless. A client asks for a challenge, which costs the
//! board nothing to remember: it is the time and a tag over it. Steady state: the first request
//! with a valid tag under a session that begins with a young challenge opens the session; each
//! number of the session is taken once. Distress: whatever is wrong with a request is one and the
//! same [`Refused`], and leaves no trace; only holders of the key can fill the table, and when it
//! is full the session that was silent longest goes, unless its challenge is still young: with the
//! session gone, its first request could be replayed. End: a session ends with its key, or with
//! the board's start.
//!
//! ```text
//!            challenge           first valid tag            valid tag, new number
//!   (none) ─────────────▶ (none) ────────────────▶ open ◀─────────────╮
//!      ▲                                            │ ╰───────────────╯
//!      ╰──── displaced · key dropped · restart ─────╯
//! ```
//!
//! Source: the scheme is [`rnd1`](crate::security::rnd1)'s; RFC 4303 §3.4.3 (the window).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::limit;
use crate::base::time::Time;
use crate::security::hmac::MacKey;
use crate::security::key::{Keyring, Kid};
use crate::security::rnd1::{
    Awaited, CHALLENGE_BYTES, Canonical, Carriage, Credentials, Party, SessionKeys,
};
use crate::security::window::Window;

#[cfg(test)]
mod tests;

/// Bytes of a challenge that say when it was made.
const MADE_BYTES: usize = 8;

/// A request's fields, as far as its credentials do not say them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// How it came.
    pub carriage: Carriage,
    /// Its method.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Its Host field.
    pub host: &'a str,
    /// Its Content-Type; empty when there is none.
    pub content_type: &'a str,
}

/// The request is not genuine, or not new: nobody is told which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// The machine.
#[derive(Debug)]
pub struct Admission {
    board: Party,
    boot: u64,
    secret: MacKey,
    sessions: BTreeMap<Party, Session>,
}

#[derive(Debug)]
struct Session {
    kid: Kid,
    keys: Arc<SessionKeys>,
    window: Window,
    /// When its challenge was made.
    challenged: Time,
    /// When its last valid request came.
    heard: Time,
}

impl Admission {
    /// A board without sessions; `secret` is drawn anew at each start.
    pub fn new(board: Party, boot: u64, secret: &[u8; 32]) -> Self {
        Admission {
            board,
            boot,
            secret: MacKey::new(secret),
            sessions: BTreeMap::new(),
        }
    }

    /// A challenge, for whoever asks: the first half of a session's name.
    pub fn challenge(&self, now: Time) -> [u8; CHALLENGE_BYTES] {
        let made = now.0.to_be_bytes();
        let mut challenge = [0; CHALLENGE_BYTES];
        challenge[..MADE_BYTES].copy_from_slice(&made);
        challenge[MADE_BYTES..].copy_from_slice(&self.mark(&made));
        challenge
    }

    /// The request may be genuine, by what costs nothing to see: its body is worth reading.
    pub fn may_admit(&self, now: Time, keyring: &Keyring, shown: &Credentials) -> bool {
        keyring.find(&shown.kid).is_some()
            && shown.boot == self.boot
            && match self.sessions.get(&shown.session) {
                Some(session) => session.kid == shown.kid,
                None => self.challenged(now, &shown.session).is_some(),
            }
    }

    /// Checks a request and takes its number; its answer is awaited then, and can be proved.
    ///
    /// `digest` is of the body, and asked for only when the rest may be genuine.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed.
    pub fn admit(
        &mut self,
        now: Time,
        keyring: &Keyring,
        shown: &Credentials,
        asked: &Asked<'_>,
        digest: impl FnOnce() -> [u8; 32],
    ) -> Result<Awaited, Refused> {
        let key = keyring.find(&shown.kid).ok_or(Refused)?;
        if shown.boot != self.boot {
            return Err(Refused);
        }
        let (keys, challenged) = match self.sessions.get(&shown.session) {
            Some(session) if session.kid == shown.kid => (session.keys.clone(), None),
            Some(_) => return Err(Refused),
            None => {
                let made = self.challenged(now, &shown.session).ok_or(Refused)?;
                let keys = SessionKeys::derive(key, &shown.session, &self.board, self.boot);
                (Arc::new(keys), Some(made))
            }
        };
        let canonical = Canonical {
            carriage: asked.carriage,
            kid: shown.kid,
            session: shown.session,
            board: self.board,
            boot: self.boot,
            seq: shown.seq,
            method: asked.method,
            target: asked.target,
            host: asked.host,
            content_type: asked.content_type,
            digest: digest(),
            status: None,
        };
        if !canonical.verify(&keys, &shown.mac) {
            return Err(Refused);
        }
        match challenged {
            None => {
                let session = self.sessions.get_mut(&shown.session).ok_or(Refused)?;
                if !session.window.take(shown.seq) {
                    return Err(Refused);
                }
                session.heard = now;
            }
            Some(challenged) => {
                let mut window = Window::default();
                if !window.take(shown.seq) || !self.make_room(now) {
                    return Err(Refused);
                }
                let session = Session {
                    kid: shown.kid,
                    keys: keys.clone(),
                    window,
                    challenged,
                    heard: now,
                };
                self.sessions.insert(shown.session, session);
            }
        }
        Ok(Awaited::new(&canonical, keys))
    }

    /// When the challenge that a session's name begins with was made, if it was and is young.
    fn challenged(&self, now: Time, session: &Party) -> Option<Time> {
        let (made, rest) = session.split_first_chunk::<MADE_BYTES>()?;
        let time = Time(u64::from_be_bytes(*made));
        let genuine = rest.starts_with(&self.mark(made));
        (genuine && time <= now && now.since(time) <= limit::CHALLENGE_TIME_MAX).then_some(time)
    }

    fn mark(&self, made: &[u8; MADE_BYTES]) -> [u8; CHALLENGE_BYTES - MADE_BYTES] {
        let tag = self.secret.tag(&[made]);
        let mut mark = [0; CHALLENGE_BYTES - MADE_BYTES];
        mark.copy_from_slice(&tag[..CHALLENGE_BYTES - MADE_BYTES]);
        mark
    }

    /// There is room for one more session; displaces one when there must be.
    fn make_room(&mut self, now: Time) -> bool {
        if self.sessions.len() < limit::CLIENT_SESSIONS_MAX {
            return true;
        }
        let idle = self
            .sessions
            .iter()
            .filter(|(_, session)| now.since(session.challenged) > limit::CHALLENGE_TIME_MAX)
            .min_by_key(|(_, session)| session.heard)
            .map(|(name, _)| *name);
        idle.is_some_and(|name| self.sessions.remove(&name).is_some())
    }

    /// Sessions that are open; for tests and figures.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }
}
