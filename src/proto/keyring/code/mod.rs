//! One-time codes: a member makes one, a person carries it to a new board, and whoever proves it is
//! given the key.
//!
//! ```text
//! newcomer                                     member
//!            ──────────── share ───────────▶   an attempt is spent
//!            ◀─────────── share ────────────
//!            ──────────── tag ─────────────▶   right: the code is void, the newcomer is let in
//!            ◀────── tag, or refused ───────   wrong: the attempt stays spent
//! ```
//!
//! Start: [`Codes::make`] on the member, [`Codes::enter`] on the newcomer. The stranger commits to
//! its guess before it learns anything, and the attempt is spent when the member's share goes out,
//! so that whoever breaks off has tried as well: [`limit::JOIN_CODE_ATTEMPTS`] guesses over all
//! links together. A newcomer shows its tag to as many boards at most, to each once: a false member
//! learns whether one guess of its own was right.
//!
//! End: a code is void once a board has proved it, [`limit::JOIN_CODE_TIME`] after it was made, or
//! when another is made; used up, it is remembered as that until then. It is in memory only, and
//! lives on the board that made it. What goes over the wire is `security/spake2`'s.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use crate::base::code::JoinCode;
use crate::base::id::Id;
use crate::base::keys::CodeView;
use crate::base::limit;
use crate::base::rng::{Rng, RngExt};
use crate::base::time::Time;
use crate::security::spake2::{Agreed, Exchange, Parties, RANDOM_BYTES, Role};
use crate::wire::peer::CodeStep;

/// The codes of one board: the one it made, and the one that was entered here.
#[derive(Debug, Default)]
pub struct Codes {
    serial: u64,
    made: Option<Made>,
    entered: Option<Entered>,
}

#[derive(Debug)]
struct Made {
    /// Exchanges under an older code end with it.
    serial: u64,
    /// None: every attempt is spent.
    code: Option<JoinCode>,
    until: Time,
    left: u8,
}

#[derive(Debug)]
struct Entered {
    /// Exchanges under an older code end with it.
    serial: u64,
    code: JoinCode,
    /// Boards that were shown a tag.
    shown: BTreeSet<Id>,
    proved: Option<Id>,
    verdict: Option<Verdict>,
}

/// How far a link is with proving a code.
#[derive(Debug)]
pub enum Proof {
    /// This newcomer has sent its share.
    Offered {
        /// Of which code.
        serial: u64,
        /// Its side.
        exchange: Box<Exchange>,
    },
    /// This newcomer has shown its tag.
    Shown {
        /// Of which code.
        serial: u64,
        /// What the member's tag is to be.
        agreed: Agreed,
    },
    /// This member has sent its share and awaits a tag.
    Awaiting {
        /// Of which code.
        serial: u64,
        /// What the tag is to be.
        agreed: Agreed,
    },
    /// This member has said its last word.
    Over,
}

/// What a step of the other side led to.
#[derive(Debug)]
pub enum Step {
    /// Send this and wait for more.
    Send(Proof, CodeStep),
    /// The newcomer has the code: send this, and let it in.
    LetIn(CodeStep),
    /// The member has the code that was entered: its key is to be taken.
    Proved,
    /// The newcomer is not let in: send this, and nothing after it.
    Refuse(CodeStep),
    /// The link has done, and is to be closed.
    End,
}

/// Why the code that was entered has not let this board in so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A board has another code; it says how many attempts are left, if it says anything.
    Wrong {
        /// Attempts.
        left: Option<u8>,
    },
    /// A board had a code when it was asked, and has none any more.
    UsedUp,
}

impl Codes {
    /// A code that this board made; it replaces the one before.
    pub fn make(&mut self, now: Time, code: JoinCode) {
        self.serial += 1;
        self.made = Some(Made {
            serial: self.serial,
            code: Some(code),
            until: now + limit::JOIN_CODE_TIME,
            left: limit::JOIN_CODE_ATTEMPTS,
        });
    }

    /// The code that this board made, in figures.
    pub fn view(&self, now: Time) -> Option<CodeView> {
        let made = self.made.as_ref().filter(|made| now < made.until)?;
        Some(CodeView {
            left: made.until.since(now),
            attempts: made.left,
        })
    }

    /// Newcomers may try: this board made a code that is not used up. Whether its time is over is
    /// looked at when one does.
    pub fn is_open(&self) -> bool {
        self.made.as_ref().is_some_and(|made| made.code.is_some())
    }

    /// A person entered a code here; it replaces the one before.
    pub fn enter(&mut self, code: JoinCode) {
        self.serial += 1;
        self.entered = Some(Entered {
            serial: self.serial,
            code,
            shown: BTreeSet::new(),
            proved: None,
            verdict: None,
        });
    }

    /// A code was entered here and is being tried, or was proved.
    pub fn is_entered(&self) -> bool {
        self.entered.is_some()
    }

    /// The entered code is not tried any more.
    pub fn leave_off(&mut self) {
        self.entered = None;
    }

    /// The board that proved to have the code that was entered.
    pub fn proved(&self) -> Option<Id> {
        self.entered.as_ref()?.proved
    }

    /// What came of the code that was entered, as far as a board said it.
    pub fn verdict(&self) -> Option<Verdict> {
        self.entered.as_ref()?.verdict
    }

    /// The entered code may be tried with this board: it has not been, and few others have.
    pub fn may_try(&self, member: &Id) -> bool {
        self.entered.as_ref().is_some_and(|entered| {
            entered.proved.is_none()
                && !entered.shown.contains(member)
                && entered.shown.len() < usize::from(limit::JOIN_CODE_ATTEMPTS)
        })
    }

    /// Begins to try the entered code on a link; none: it is not to be tried there.
    pub fn begin(&self, parties: Parties, rng: &mut Rng) -> Option<(Proof, CodeStep)> {
        let entered = self.entered.as_ref()?;
        if !self.may_try(&parties.member) {
            return None;
        }
        let exchange = Exchange::new(Role::Newcomer, &entered.code, parties, &draw(rng));
        let share = CodeStep::Share(exchange.share());
        let proof = Proof::Offered {
            serial: entered.serial,
            exchange: Box::new(exchange),
        };
        Some((proof, share))
    }

    /// A step of the other side, with how far the link is. `parties` have this board as the member
    /// where there is no proof yet.
    pub fn handle(
        &mut self,
        now: Time,
        parties: Parties,
        proof: Option<Proof>,
        step: &CodeStep,
        rng: &mut Rng,
    ) -> Step {
        match (proof, step) {
            (None, CodeStep::Share(share)) => self.answer(now, parties, share, rng),
            (Some(Proof::Awaiting { serial, agreed }), CodeStep::Tag(tag)) => {
                self.judge(now, serial, &agreed, tag)
            }
            (Some(Proof::Offered { serial, exchange }), CodeStep::Share(share)) => {
                self.show(parties.member, serial, *exchange, share)
            }
            (Some(Proof::Shown { serial, agreed }), CodeStep::Tag(tag)) => {
                self.conclude(parties.member, serial, &agreed, tag)
            }
            (Some(Proof::Shown { serial, .. }), CodeStep::Refused { left }) => {
                self.note(serial, Verdict::Wrong { left: Some(*left) })
            }
            (Some(Proof::Offered { serial, .. }), CodeStep::Refused { .. }) => {
                self.note(serial, Verdict::UsedUp)
            }
            // Out of turn.
            _ => Step::End,
        }
    }

    /// The link of this proof was closed. A member that refuses says so first, but the word may be
    /// lost.
    pub fn closed(&mut self, proof: &Proof) {
        if let Proof::Shown { serial, .. } = proof {
            self.note(*serial, Verdict::Wrong { left: None });
        }
    }

    /// Wipes the code whose time is over.
    pub fn handle_timeout(&mut self, now: Time) {
        self.made.take_if(|made| now >= made.until);
    }

    /// When [`Codes::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.made.as_ref().map(|made| made.until)
    }

    /// The member's answer to a share: its own, for an attempt.
    fn answer(&mut self, now: Time, parties: Parties, share: &[u8; 32], rng: &mut Rng) -> Step {
        let refused = Step::Refuse(CodeStep::Refused { left: 0 });
        let Some(made) = self.made.as_mut().filter(|made| now < made.until) else {
            return refused;
        };
        let Some(code) = &made.code else {
            return refused;
        };
        let exchange = Exchange::new(Role::Member, code, parties, &draw(rng));
        let mine = exchange.share();
        // What is no share tries nothing, and is told nothing.
        let Some(agreed) = exchange.agree(share) else {
            return Step::End;
        };
        made.left -= 1;
        if made.left == 0 {
            made.code = None;
        }
        let serial = made.serial;
        Step::Send(Proof::Awaiting { serial, agreed }, CodeStep::Share(mine))
    }

    /// The member's judgement of a tag.
    fn judge(&mut self, now: Time, serial: u64, agreed: &Agreed, tag: &[u8; 32]) -> Step {
        let made = self.made.as_ref();
        let made = made.filter(|made| made.serial == serial && now < made.until);
        let Some(left) = made.map(|made| made.left) else {
            return Step::Refuse(CodeStep::Refused { left: 0 });
        };
        if !agreed.is_theirs(tag) {
            return Step::Refuse(CodeStep::Refused { left });
        }
        self.made = None;
        Step::LetIn(CodeStep::Tag(agreed.mine()))
    }

    /// The newcomer has the member's share: it shows its tag.
    fn show(&mut self, member: Id, serial: u64, exchange: Exchange, share: &[u8; 32]) -> Step {
        if !self.may_try(&member) {
            return Step::End;
        }
        let Some(entered) = self.entered.as_mut().filter(|it| it.serial == serial) else {
            return Step::End;
        };
        let Some(agreed) = exchange.agree(share) else {
            return Step::End;
        };
        entered.shown.insert(member);
        let tag = CodeStep::Tag(agreed.mine());
        Step::Send(Proof::Shown { serial, agreed }, tag)
    }

    /// The member's tag: only one that has the code lets this board in.
    fn conclude(&mut self, member: Id, serial: u64, agreed: &Agreed, tag: &[u8; 32]) -> Step {
        if !agreed.is_theirs(tag) {
            return self.note(serial, Verdict::Wrong { left: None });
        }
        match &mut self.entered {
            Some(entered) if entered.serial == serial && entered.proved.is_none() => {
                entered.proved = Some(member);
                Step::Proved
            }
            _ => Step::End,
        }
    }

    fn note(&mut self, serial: u64, verdict: Verdict) -> Step {
        if let Some(entered) = self.entered.as_mut().filter(|it| it.serial == serial) {
            // What a board said is worth more than its silence.
            let told = |it: &Verdict| matches!(it, Verdict::Wrong { left: Some(_) });
            if !entered.verdict.as_ref().is_some_and(told) || told(&verdict) {
                entered.verdict = Some(verdict);
            }
        }
        Step::End
    }
}

fn draw(rng: &mut Rng) -> Zeroizing<[u8; RANDOM_BYTES]> {
    Zeroizing::new(rng.random())
}

#[cfg(test)]
mod tests;
