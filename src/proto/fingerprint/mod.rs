//! The fingerprint machine: boards that paired by themselves come to show the same six digits.
//!
//! ```text
//! members change ──1 s of calm──▶ committed ──everybody's commitment──▶ revealed
//!                                                                          │ everybody's mark
//!                        complete ◀──everybody has the same outcome── outcome told
//!
//! a second commitment of a board, another outcome or a higher round heard ──▶ anew
//! ```
//!
//! Start: once the set of members S has stood for [`SETTLE_TIME`], the board draws a fresh mark of
//! 16 bytes and publishes a commitment to it. It reveals the mark only when it has a commitment of
//! every member, and tells the outcome, a hash over all marks in the order of the ids, when it has
//! these. The digits are shown once everybody has told the same outcome: no board is left behind
//! with others.
//!
//! ```text
//! set        = SHA-256("roundel members 1" ‖ ids in order)
//! commitment = SHA-256("roundel mark 1" ‖ set ‖ kid ‖ round ‖ id ‖ mark)
//! outcome    = SHA-256("roundel fingerprint 1" ‖ set ‖ kid ‖ round ‖ (id ‖ mark)…)
//! ```
//!
//! The digits are the outcome's first eight bytes modulo a million. Steady state: nothing is sent
//! once all is complete. Distress: each second a board asks whom it lacks something of; whoever is
//! asked answers with its own. A board that started anew draws another mark for the same S: the
//! others see a second commitment or another outcome, and begin the next round, which everybody
//! that hears of it joins. So a restart gives new digits everywhere. An absent member is waited
//! for. End: the owner confirms the ring, or it has one board only.
//!
//! Why it holds: somebody in between shows two boards A and B two rings of its own, and wants them
//! to show the same digits. All that it adds to what A sees is fixed, by A's first-come record of
//! commitments, before A reveals its mark, which it cannot know; likewise for B. Say A reveals
//! first: what B will show depends on B's mark alone then, evenly over a million. It can hold its
//! own marks back and force a round anew when it dislikes what it would come to, or change the
//! set; each is one more try. So each draw, for whatever reason, takes one of
//! [`limit::FINGERPRINT_DRAWS_MAX`] that come back one in [`limit::FINGERPRINT_DRAW_TIME`]. Draws
//! are fresh each time and nothing is remembered of earlier rounds: what was revealed then says
//! nothing about what comes.
//!
//! It shows that the boards see one set of identities. It does not show that nobody else holds the
//! key: that is why the owner's word replaces it (`board/rotation.rs`). It does not run in mode
//! `partial`, where no board knows the set, nor among more than
//! [`limit::FINGERPRINT_MEMBERS_MAX`] boards, which nobody compares by eye.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::base::id::Id;
use crate::base::keys::Digits;
use crate::base::limit;
use crate::base::rng::{Rng, RngExt};
use crate::base::time::Time;
use crate::security::key::Kid;
use crate::wire::peer::mark::{Mark, Note};

/// The members stand for so long before a mark is drawn: thirty boards form a ring in 0.8 s.
pub const SETTLE_TIME: Duration = Duration::from_secs(1);
/// What is lacking is asked for this often.
const ASK_TIME: Duration = Duration::from_secs(1);

/// Whose fingerprint it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Every board of the ring, in the order of their ids.
    pub members: Vec<Id>,
    /// The name of their key.
    pub kid: Kid,
}

/// What it is about so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing to compare.
    Idle,
    /// These have not sent what they are to send; empty: the draw is yet to come.
    Waiting(Vec<Id>),
    /// Everybody shows these.
    Complete(Digits),
}

/// The fingerprint of the ring of one board.
#[derive(Debug)]
pub struct Fingerprint {
    me: Id,
    rng: Rng,
    draws: Draws,
    group: Option<(Group, [u8; 32])>,
    /// The members have changed: no mark is drawn before.
    settled_at: Time,
    /// The round that is to be begun as soon as a draw is to be had.
    wanted: Option<u32>,
    round: Option<Round>,
    ask_at: Time,
    transmits: VecDeque<(Id, Note)>,
    news: Option<Digits>,
    refused: u64,
}

/// Draws that are left.
#[derive(Debug)]
struct Draws {
    left: u32,
    /// One comes back then, unless all are there.
    next: Time,
}

/// One exchange of marks.
#[derive(Debug)]
struct Round {
    number: u32,
    /// This board's.
    mark: Mark,
    /// The first of each board; this board's own among them.
    commitments: BTreeMap<Id, [u8; 32]>,
    /// Those that open them; this board's own once it is revealed.
    marks: BTreeMap<Id, Mark>,
    /// What each came to; this board's own once every mark is there.
    outcomes: BTreeMap<Id, [u8; 32]>,
    digits: Option<Digits>,
}

impl Draws {
    fn refill(&mut self, now: Time) {
        while self.left < limit::FINGERPRINT_DRAWS_MAX && now >= self.next {
            self.left += 1;
            self.next = self.next + limit::FINGERPRINT_DRAW_TIME;
        }
    }

    /// Takes one. False: none is left.
    fn take(&mut self, now: Time) -> bool {
        self.refill(now);
        if self.left == limit::FINGERPRINT_DRAWS_MAX {
            self.next = now + limit::FINGERPRINT_DRAW_TIME;
        }
        let any = self.left > 0;
        self.left -= u32::from(any);
        any
    }

    /// When one can be had.
    fn due(&self) -> Time {
        match self.left {
            0 => self.next,
            _ => Time::ZERO,
        }
    }
}

impl Fingerprint {
    /// None yet.
    pub fn new(me: Id, rng: Rng) -> Self {
        Fingerprint {
            me,
            rng,
            draws: Draws {
                left: limit::FINGERPRINT_DRAWS_MAX,
                next: Time::ZERO,
            },
            group: None,
            settled_at: Time::ZERO,
            wanted: None,
            round: None,
            ask_at: Time::ZERO,
            transmits: VecDeque::new(),
            news: None,
            refused: 0,
        }
    }

    /// The ring has these members and this key; none: there is nothing to compare.
    pub fn handle_group(&mut self, now: Time, group: Option<Group>) {
        let group = group.filter(|it| it.members.len() > 1);
        if self.group.as_ref().map(|(group, _)| group) == group.as_ref() {
            return;
        }
        self.wanted = group.as_ref().map(|_| 0);
        self.settled_at = now + SETTLE_TIME;
        self.abandon();
        self.group = group.map(|group| {
            let set = set_digest(&group.members);
            (group, set)
        });
    }

    /// A member sent what it has.
    pub fn handle_note(&mut self, now: Time, from: &Id, note: &Note) {
        let Some((group, set)) = &self.group else {
            return;
        };
        let member = group.members.binary_search(from).is_ok() && *from != self.me;
        if note.set != *set || note.kid != group.kid.0 || !member {
            // Its view of the ring is another, for now.
            return;
        }
        if note.round > limit::FINGERPRINT_ROUND_MAX {
            self.refused += 1;
            return;
        }
        let current = self.round.as_ref().map(|round| round.number);
        if current.is_none_or(|number| note.round > number) {
            self.want(now, note.round);
        }
        match &mut self.round {
            Some(round) if round.number == note.round => {}
            Some(_) if note.want => return self.answer(from),
            _ => return,
        }
        if !self.take_commitment(from, &note.commitment) {
            // It started anew, and forgot what it had drawn.
            self.refused += 1;
            return self.want(now, note.round.saturating_add(1));
        }
        self.take_mark(from, note.mark);
        if let (Some(outcome), Some(round)) = (note.outcome, &mut self.round) {
            round.outcomes.insert(*from, outcome);
        }
        // A step ahead tells everybody all there is to tell.
        if !self.advance(now) && note.want {
            self.answer(from);
        }
    }

    /// Time passes.
    pub fn handle_timeout(&mut self, now: Time) {
        self.begin(now);
        if self.is_asking() && now >= self.ask_at {
            self.ask_at = now + ASK_TIME;
            for id in self.lacking() {
                self.transmits.push_back((id, self.note(true)));
            }
        }
    }

    /// When [`Fingerprint::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let begin = self.wanted.map(|_| self.settled_at.max(self.draws.due()));
        let ask = self.is_asking().then_some(self.ask_at);
        begin.into_iter().chain(ask).min()
    }

    /// What to send to whom, by whatever may be lost on the way.
    pub fn poll_transmit(&mut self) -> Option<(Id, Note)> {
        self.transmits.pop_front()
    }

    /// Digits that everybody shows from now on, once.
    pub fn poll_complete(&mut self) -> Option<Digits> {
        self.news.take()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        match (&self.group, &self.round) {
            (None, _) => Progress::Idle,
            (Some(_), None) => Progress::Waiting(Vec::new()),
            (Some(_), Some(round)) => match round.digits {
                Some(digits) => Progress::Complete(digits),
                None => Progress::Waiting(self.lacking()),
            },
        }
    }

    /// Second commitments of a board, marks that opened none, other outcomes, impossible rounds.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// A round from this number on is to be begun.
    fn want(&mut self, now: Time, number: u32) {
        if number > limit::FINGERPRINT_ROUND_MAX {
            return;
        }
        self.wanted = self.wanted.max(Some(number));
        self.abandon();
        self.begin(now);
    }

    fn abandon(&mut self) {
        self.round = None;
        self.news = None;
        self.transmits.clear();
    }

    /// Draws a mark, if that is wanted and due.
    fn begin(&mut self, now: Time) {
        let Some((group, set)) = &self.group else {
            return;
        };
        let Some(number) = self.wanted.filter(|_| now >= self.settled_at) else {
            return;
        };
        if !self.draws.take(now) {
            return;
        }
        self.wanted = None;
        let mark = self.rng.random();
        let context = Context {
            set,
            kid: &group.kid,
            round: number,
        };
        let commitment = context.commitment(&self.me, &mark);
        self.round = Some(Round {
            number,
            mark,
            commitments: BTreeMap::from([(self.me, commitment)]),
            marks: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            digits: None,
        });
        self.tell_all(now, true);
    }

    /// The board's first commitment of this round. False: it is another than the first.
    fn take_commitment(&mut self, from: &Id, commitment: &[u8; 32]) -> bool {
        let Some(round) = &mut self.round else {
            return false;
        };
        *round.commitments.entry(*from).or_insert(*commitment) == *commitment
    }

    fn take_mark(&mut self, from: &Id, mark: Option<Mark>) {
        let (Some((group, set)), Some(round)) = (&self.group, &mut self.round) else {
            return;
        };
        let Some(mark) = mark.filter(|_| !round.marks.contains_key(from)) else {
            return;
        };
        let context = Context {
            set,
            kid: &group.kid,
            round: round.number,
        };
        if round.commitments.get(from) == Some(&context.commitment(from, &mark)) {
            round.marks.insert(*from, mark);
        } else {
            self.refused += 1;
        }
    }

    /// Reveals this board's mark once every commitment is there, tells the outcome once every mark
    /// is, and shows the digits once everybody came to it. True: everybody was told more.
    fn advance(&mut self, now: Time) -> bool {
        let (Some((group, set)), Some(round)) = (&self.group, &mut self.round) else {
            return false;
        };
        let count = group.members.len();
        if round.commitments.len() < count || round.digits.is_some() {
            return false;
        }
        let mut ahead = round.marks.insert(self.me, round.mark).is_none();
        if round.marks.len() == count {
            let context = Context {
                set,
                kid: &group.kid,
                round: round.number,
            };
            let outcome = context.outcome(&round.marks);
            ahead |= round.outcomes.insert(self.me, outcome).is_none();
            if round.outcomes.values().any(|other| *other != outcome) {
                // Somebody had drawn with another mark of a board that started anew.
                self.refused += 1;
                let next = round.number.saturating_add(1);
                self.want(now, next);
                return true;
            }
            if round.outcomes.len() == count {
                let digits = Digits::of(&outcome);
                round.digits = Some(digits);
                self.news = Some(digits);
            }
        }
        if ahead {
            self.tell_all(now, false);
        }
        ahead
    }

    /// Everybody is told what this board has, and asked for what they have if `want`.
    fn tell_all(&mut self, now: Time, want: bool) {
        let others = self.group.iter().flat_map(|(group, _)| &group.members);
        let others: Vec<Id> = others.filter(|id| **id != self.me).copied().collect();
        for id in others {
            self.transmits.push_back((id, self.note(want)));
        }
        self.ask_at = now + ASK_TIME;
    }

    fn answer(&mut self, to: &Id) {
        let note = self.note(false);
        self.transmits.push_back((*to, note));
    }

    /// What this board says in the round that is under way.
    fn note(&self, want: bool) -> Note {
        let (group, set) = self.group.as_ref().expect("a round has a group");
        let round = self.round.as_ref().expect("it is in a round");
        Note {
            set: *set,
            kid: group.kid.0,
            round: round.number,
            commitment: round.commitments[&self.me],
            mark: round.marks.get(&self.me).copied(),
            outcome: round.outcomes.get(&self.me).copied(),
            want,
        }
    }

    fn is_asking(&self) -> bool {
        self.round.as_ref().is_some_and(|it| it.digits.is_none())
    }

    /// Other members that this board waits for: for commitments, then marks, then outcomes.
    fn lacking(&self) -> Vec<Id> {
        let (Some((group, _)), Some(round)) = (&self.group, &self.round) else {
            return Vec::new();
        };
        let count = group.members.len();
        let lacks = |id: &&Id| {
            if round.commitments.len() < count {
                !round.commitments.contains_key(id)
            } else if round.marks.len() < count {
                !round.marks.contains_key(id)
            } else {
                !round.outcomes.contains_key(id)
            }
        };
        let others = group.members.iter().filter(|id| **id != self.me);
        others.filter(lacks).copied().collect()
    }
}

/// What every hash of a round begins with.
struct Context<'a> {
    set: &'a [u8; 32],
    kid: &'a Kid,
    round: u32,
}

impl Context<'_> {
    /// Every field is of a fixed length: no two inputs look alike.
    fn hash(&self, domain: &[u8]) -> Sha256 {
        let mut hash = Sha256::new();
        hash.update(domain);
        hash.update(self.set);
        hash.update(self.kid.0);
        hash.update(self.round.to_be_bytes());
        hash
    }

    fn commitment(&self, id: &Id, mark: &Mark) -> [u8; 32] {
        let hash = self.hash(b"roundel mark 1");
        hash.chain_update(id.as_bytes())
            .chain_update(mark)
            .finalize()
            .into()
    }

    fn outcome(&self, marks: &BTreeMap<Id, Mark>) -> [u8; 32] {
        let mut hash = self.hash(b"roundel fingerprint 1");
        for (id, mark) in marks {
            hash.update(id.as_bytes());
            hash.update(mark);
        }
        hash.finalize().into()
    }
}

/// Names a set of boards, which are in the order of their ids.
fn set_digest(members: &[Id]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"roundel members 1");
    for id in members {
        hash.update(id.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
