//! One-time codes at work: a member makes one, a board that is alone tries one it was told.
//!
//! Start: a person has a member make a code and enters it on the newcomer, which greets every board
//! of the cluster's name that it has heard of, and says at the hello that it has a code. Steady
//! state: a board with a code lets such a hello through, and the link, which has no key in common,
//! carries the steps of `proto/keyring/code` until the boards part or the newcomer is let in; what
//! follows is what follows on `accept_node`. Distress: a link that gets nowhere ends as one does
//! that never says hello, and there are few of these at once. End: the newcomer is in the ring, or
//! its caller is told what was wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use super::link::State;
use super::outbox::{LinkId, Route, Transmit};
use super::{Board, Phase, Timer};
use crate::base::call::{CallError, CallId, Reply};
use crate::base::code::JoinCode;
use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::time::{Now, Time};
use crate::proto::keyring::Admission;
use crate::proto::keyring::code::{Proof, Step, Verdict};
use crate::security::spake2::Parties;
use crate::wire::peer::{CodeStep, Door, Message};

/// How often a board that has a code to try looks how far it is.
const TRY_PERIOD: Duration = Duration::from_millis(250);
/// A board that heard nothing of a code is asked again after this: it may make one meanwhile.
const AGAIN_PERIOD: Duration = Duration::from_secs(5);
/// After a wrong code other boards have this long to turn out to have the right one.
const VERDICT_PATIENCE: Duration = Duration::from_secs(2);
/// Boards greeted at once.
const GREETS_MAX: usize = 32;

/// Links on which a code is proved, and the code that is being tried.
#[derive(Debug, Default)]
pub(super) struct Coding {
    links: BTreeMap<LinkId, Option<Proof>>,
    /// Boards of the cluster's name that may have a code; hints of boards that refuse a link are
    /// forgotten, and may not come again for minutes.
    heard: BTreeMap<Id, SocketAddr>,
    entering: Option<Entering>,
}

/// A call that ends when this board is in, or not.
#[derive(Debug)]
struct Entering {
    call: CallId,
    until: Time,
    greeted: BTreeMap<Id, Time>,
    /// Since when it is known that a board has another code.
    judged: Option<Time>,
}

fn invalid<T>(text: impl Into<String>) -> Result<T, CallError> {
    Err(CallError::Invalid(text.into()))
}

impl Board {
    /// The owner has this member make a code.
    pub(super) fn make_code(&mut self, now: Now) -> Result<Reply, CallError> {
        self.check_ring()?;
        if self.keys.is_open() {
            return invalid("this cluster is open: every board may join without a code");
        }
        if self.keys.codes.is_entered() {
            return invalid("a code is being tried on this board; wait until that has ended");
        }
        let code = JoinCode::draw(&mut self.rng);
        self.keys.codes.make(now.time, code.clone());
        self.arm_code(now);
        self.watch.count("codes_made");
        match self.keys.codes.view(now.time) {
            Some(view) => Ok(Reply::Code { code, view }),
            None => Err(CallError::Internal("a new code is void".into())),
        }
    }

    /// A person entered a code here.
    pub(super) fn enter_code(
        &mut self,
        now: Now,
        call: CallId,
        code: JoinCode,
    ) -> Result<Option<Reply>, CallError> {
        if self.keys.is_open() {
            return invalid(
                "this board is open, a code is of a ring with a key: take `open = true` out of \
                 its configuration and restart it",
            );
        }
        if self.keys.is_confirmed() {
            return invalid(
                "this board holds a key that its owner gave or confirmed, and takes no other by a \
                 code; `roundel key export` on a board of the ring and `roundel key import` here \
                 replace it",
            );
        }
        if !self.is_alone() {
            return invalid(format!(
                "this board is in a ring of {} boards; a code lets in a board that is alone",
                self.member_ids().len()
            ));
        }
        if !matches!(self.phase, Phase::Alone | Phase::Joined) {
            return Err(CallError::unavailable(
                "this board is starting, or has left; `roundel status` says more",
            ));
        }
        self.stop_trying(Err(CallError::unavailable(
            "another code was entered meanwhile; wait for that one",
        )));
        self.keys.codes.enter(code);
        self.coding.entering = Some(Entering {
            call,
            until: now.time + limit::JOIN_CODE_TRIED_MAX,
            greeted: BTreeMap::new(),
            judged: None,
        });
        self.code_due(now);
        Ok(None)
    }

    /// Discovery heard of a board: it may be one that makes a code for this one.
    pub(super) fn note_for_code(&mut self, id: Id) {
        if self.keys.is_confirmed() || !self.is_alone() {
            return self.coding.heard.clear();
        }
        let heard = &mut self.coding.heard;
        if heard.len() >= limit::HINTS_MAX && !heard.contains_key(&id) {
            heard.pop_first();
        }
        if let Some(endpoint) = self.membership.hinted(&id) {
            heard.insert(id, endpoint);
        }
    }

    /// One more link on which a code is proved would not be one too many.
    pub(super) fn has_room_for_code(&mut self) -> bool {
        let links = &self.links.links;
        self.coding.links.retain(|id, _| links.contains_key(id));
        self.coding.links.len() < limit::JOIN_CODE_LINKS_MAX
    }

    /// The hello of this link is let through for a code's sake.
    pub(super) fn note_code_link(&mut self, id: LinkId) {
        self.coding.links.insert(id, None);
    }

    /// The hello of a link is over; a board with a code to try begins.
    pub(super) fn begin_code(&mut self, now: Now, id: LinkId, mine: Door) {
        let Some((parties, Admission::Code)) = self.parties(id, true) else {
            return;
        };
        if mine != Door::Code {
            return;
        }
        match self.keys.codes.begin(parties, &mut self.rng) {
            Some((proof, step)) => self.send_code(id, Some(proof), step),
            None => self.drop_link(now, id, true),
        }
    }

    /// The other side's step.
    pub(super) fn code_step(&mut self, now: Now, id: LinkId, step: &CodeStep) {
        let proof = self.coding.links.remove(&id).flatten();
        let mine = matches!(proof, Some(Proof::Offered { .. } | Proof::Shown { .. }));
        let Some((parties, _)) = self.parties(id, mine) else {
            return;
        };
        let codes = &mut self.keys.codes;
        match codes.handle(now.time, parties, proof, step, &mut self.rng) {
            Step::Send(proof, step) => self.send_code(id, Some(proof), step),
            Step::LetIn(_) if self.keys.is_revoked(&parties.newcomer) => {
                self.drop_link(now, id, true);
            }
            Step::LetIn(step) => {
                self.send_code(id, None, step);
                self.let_in(id, parties.newcomer);
            }
            Step::Proved => {
                tracing::debug!(member = %parties.member.short(), "the join code was right");
                if let Some(talk) = self.links.talk(id) {
                    talk.admit(Admission::Asked);
                }
            }
            Step::Refuse(step) => {
                let newcomer = parties.newcomer.short();
                tracing::debug!(%newcomer, "a join code was tried that does not hold");
                self.watch.count("codes_refused");
                self.send_code(id, Some(Proof::Over), step);
            }
            Step::End => self.drop_link(now, id, true),
        }
        self.note_verdict(now);
    }

    /// A newcomer has proved the code: it is given the key as if its id had been accepted.
    fn let_in(&mut self, id: LinkId, newcomer: Id) {
        tracing::debug!(newcomer = %newcomer.short(), "a board comes in by its join code");
        self.watch.count("codes_proved");
        self.keys.accept(newcomer);
        if let Some(talk) = self.links.talk(id) {
            talk.admit(Admission::Accepted);
        }
        self.tell_key(id, true);
    }

    /// A link is gone, perhaps without a last word.
    pub(super) fn code_link_gone(&mut self, now: Now, id: LinkId) {
        if let Some(Some(proof)) = self.coding.links.remove(&id) {
            self.keys.codes.closed(&proof);
            self.note_verdict(now);
        }
    }

    fn note_verdict(&mut self, now: Now) {
        let judged = matches!(self.keys.codes.verdict(), Some(Verdict::Wrong { .. }));
        if let Some(entering) = self.coding.entering.as_mut().filter(|_| judged) {
            entering.judged.get_or_insert(now.time);
        }
    }

    /// A code is void, or one is being tried.
    pub(super) fn code_due(&mut self, now: Now) {
        self.keys.codes.handle_timeout(now.time);
        self.try_code(now);
        self.arm_code(now);
    }

    fn arm_code(&mut self, now: Now) {
        let trying = self.coding.entering.as_ref();
        let trying = trying.map(|_| now.time + TRY_PERIOD);
        let due = self.keys.codes.poll_timeout().into_iter().chain(trying);
        if let Some(due) = due.min() {
            self.rearm(due, Timer::Code);
        }
    }

    fn try_code(&mut self, now: Now) {
        let Some(entering) = &self.coding.entering else {
            return;
        };
        let waited = |since: Time| now.time.since(since) >= VERDICT_PATIENCE;
        let proved = self.keys.codes.proved().is_some();
        let over = now.time >= entering.until || (!proved && entering.judged.is_some_and(waited));
        if !self.is_alone() {
            let reply = match proved {
                true => Ok(self.key_state(now)),
                false => invalid(
                    "this board came into a ring by itself before the code was proved; `roundel \
                     nodes` shows which",
                ),
            };
            self.stop_trying(reply);
        } else if over {
            self.stop_trying(Err(self.why_not_in(proved)));
        } else if !proved {
            self.greet_for_code(now);
        }
    }

    /// Opens links to boards of the cluster's name that may have the code.
    fn greet_for_code(&mut self, now: Now) {
        let Some(entering) = &self.coding.entering else {
            return;
        };
        let codes = &self.keys.codes;
        let due = |id: &Id| {
            let last = entering.greeted.get(id);
            codes.may_try(id) && last.is_none_or(|at| now.time.since(*at) >= AGAIN_PERIOD)
        };
        let to_greet = self.coding.heard.iter().filter(|(id, _)| due(id));
        let to_greet: Vec<(Id, SocketAddr)> = to_greet.map(|(id, at)| (*id, *at)).collect();
        for (id, endpoint) in to_greet {
            let busy = self.links.is_opening_to(&endpoint) || self.links.is_up(&id);
            if busy || self.links.opening() >= GREETS_MAX {
                continue;
            }
            if let Some(entering) = &mut self.coding.entering {
                entering.greeted.insert(id, now.time);
            }
            self.open_link(now, endpoint, Some(id));
        }
    }

    fn stop_trying(&mut self, reply: Result<Reply, CallError>) {
        if let Some(entering) = self.coding.entering.take() {
            self.keys.codes.leave_off();
            self.out.answer(entering.call, reply);
        }
    }

    /// What a person is told whose code has not let this board in.
    fn why_not_in(&self, proved: bool) -> CallError {
        const ANOTHER: &str = "make another with `roundel key code` on a board of the ring";
        let cluster = &self.settings.cluster_name;
        let heard = self.coding.heard.len();
        let text = match self.keys.codes.verdict() {
            _ if proved => {
                return CallError::unavailable(
                    "the code was right, and the ring has not taken this board in yet; `roundel \
                     status` says how far it is",
                );
            }
            Some(Verdict::Wrong { left: Some(0) }) => {
                format!("the code is wrong, and its attempts are used up; {ANOTHER}")
            }
            Some(Verdict::Wrong { left: Some(left) }) => format!(
                "the code is wrong, attempts left: {left}; compare it with what was shown, or \
                 {ANOTHER}"
            ),
            Some(Verdict::Wrong { left: None }) => format!(
                "a board had a code, did not take this one and did not say why; compare it with \
                 what was shown, or {ANOTHER}"
            ),
            Some(Verdict::UsedUp) => format!("the code is used up or void; {ANOTHER}"),
            None if heard == 0 => {
                return CallError::unavailable(format!(
                    "no board of cluster '{cluster}' was heard; `roundel doctor` says what this \
                     board hears"
                ));
            }
            None => {
                return CallError::unavailable(format!(
                    "of {heard} boards heard of cluster '{cluster}' none has a join code that \
                     holds: it is void after ten minutes, five attempts or one board; {ANOTHER}"
                ));
            }
        };
        CallError::Invalid(text)
    }

    /// Between whom a link's code is proved, and how its other side came to be there.
    fn parties(&mut self, id: LinkId, newcomer: bool) -> Option<(Parties, Admission)> {
        let State::Pairing(peer) = self.links.links.get(&id)?.state else {
            return None;
        };
        let (context, admission) = self.links.talk(id)?.context();
        let (newcomer, member) = match newcomer {
            true => (self.me, peer),
            false => (peer, self.me),
        };
        let parties = Parties {
            newcomer,
            member,
            context,
        };
        Some((parties, admission))
    }

    fn send_code(&mut self, id: LinkId, proof: Option<Proof>, step: CodeStep) {
        self.coding.links.insert(id, proof);
        self.out.transmits.push_back(Transmit {
            to: Route::Link(id),
            bytes: Message::Code(step).encode(),
            after: None,
        });
    }
}
