//! The board's keys at work: whom a hello lets in, keys given and taken on links, and the tags of
//! what goes out and comes in.
//!
//! A link whose boards hold a key in common is up, and its frames carry tags. One whose boards hold
//! none, but may come to hold one (`proto/keyring` says when), carries sealed keys only, and what
//! proves a one-time code (`code.rs`); whoever took a key keeps it, closes that link and comes
//! again. What is kept goes out by [`Board::poll_keyring`]; the driver answers with
//! [`Board::handle_keyring`].

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;

use super::link::State;
use super::outbox::{LinkCommand, LinkId, Route, Transmit};
use super::{Board, Phase, Timer};
use crate::base::call::{CallError, CallId};
use crate::base::endpoint::SocketAddr;
use crate::base::hint::{Hint, HintMac};
use crate::base::id::Id;
use crate::base::limit;
use crate::base::owner::Credential;
use crate::base::time::Now;
use crate::proto::keyring::{Admission, Kept, Keys, Taken, hint_mac};
use crate::proto::session::datagram::{Datagrams, Party};
use crate::proto::session::link::LinkKeys;
use crate::proto::session::{Believed, HandshakeError, SessionError, Terms};
use crate::security::key::Kid;
use crate::security::seal::Secret;
use crate::wire::frame::Frame;
use crate::wire::peer::{Door, Message};

/// Keys of another board remembered on a link.
const KIDS_MAX: usize = 16;
/// Frames that are never tagged: they make the keys of those that follow.
const PLAIN: [u8; 2] = [0x10, 0x11];

/// What a link's hello left for what comes after it.
#[derive(Debug)]
pub(super) struct Talk {
    keys: Option<LinkKeys>,
    admission: Admission,
    context: [u8; 32],
    share: [u8; 32],
    /// Keys that the other side holds, as far as this one knows.
    kids: Vec<[u8; 8]>,
    /// The one it signs with: a key it holds as the next or a replaced one is still to be told.
    current: Option<[u8; 8]>,
    /// Keys told on this link, and the next number of the other side's.
    told: u64,
    heard: u64,
    /// What this side said of itself with the last: in a ring.
    settled: bool,
    /// The key it told last, and whether it said that it is confirmed.
    last: Option<([u8; 8], bool)>,
    /// Where the other side listens.
    endpoint: SocketAddr,
    /// The owner's credential that was last told or heard.
    pub(super) owner: Option<Credential>,
}

impl Talk {
    /// Seals for the other side alone, with the number that goes beside it.
    pub(super) fn seal(&mut self, secret: &Secret, plain: &[u8]) -> Option<(u64, Vec<u8>)> {
        let number = self.told;
        let sealed = secret.seal(&self.share, &self.context, number, plain)?;
        self.told += 1;
        Some((number, sealed))
    }

    /// The other side told a key.
    fn note_key(&mut self, taken: &Taken) {
        let kid = taken.kid.0;
        if !taken.is_next {
            self.current = Some(kid);
        }
        if !self.kids.contains(&kid) && self.kids.len() < KIDS_MAX {
            self.kids.push(kid);
        }
    }

    /// Opens what the other side sealed; none: it is not that, or came out of turn.
    pub(super) fn open_sealed(
        &mut self,
        secret: &Secret,
        number: u64,
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let opened = match number == self.heard {
            true => secret.open(&self.share, &self.context, number, sealed),
            false => None,
        }?;
        self.heard += 1;
        Some(opened)
    }

    /// What is sealed or proved on this link is bound to, and how its other side came to be there.
    pub(super) fn context(&self) -> ([u8; 32], Admission) {
        (self.context, self.admission)
    }

    /// The other side is let in, or lets this one in: a key may go there once more.
    pub(super) fn admit(&mut self, admission: Admission) {
        self.admission = admission;
        self.last = None;
    }

    /// The frame as the other side sent it.
    pub(super) fn open(&mut self, frame: Frame) -> Result<Frame, SessionError> {
        match &mut self.keys {
            Some(keys) => keys.open(frame),
            None => Err(SessionError::Key),
        }
    }
}

/// Keyrings on their way to the file.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// Boards to be met again once it is there.
    again: VecDeque<(SocketAddr, Id)>,
    /// Keys to be confirmed to whoever gave them, once they are there.
    held: VecDeque<(LinkId, [u8; 8])>,
    /// Calls that changed the keys, answered once that is there.
    calls: Vec<CallId>,
    problem: Option<String>,
    /// Keyrings given to the driver and not answered.
    under_way: usize,
}

impl Keeping {
    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// Why the keyring is in memory only.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

impl Board {
    /// The board's keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What the keyring's file is to hold from here on; answered by [`Board::handle_keyring`].
    pub fn poll_keyring(&mut self) -> Option<Kept> {
        let kept = self.keys.poll_kept();
        self.keeping.under_way += usize::from(kept.is_some());
        kept
    }

    /// The keyring is in its file, or why it is not.
    pub fn handle_keyring(&mut self, now: Now, result: Result<(), String>) {
        if result.is_err() {
            self.rearm(now.time + limit::KEYRING_AGAIN_TIME, Timer::Keep);
        }
        self.keeping.problem = result.err();
        self.keeping.under_way = self.keeping.under_way.saturating_sub(1);
        if self.keeping.is_idle() {
            self.meet_all_again(now);
            self.say_held();
            self.rekey_held(now, self.me, [0; 8]);
            self.answer_kept(now);
        }
        self.settle(now);
    }

    /// A medium that refused the keyring may take it by now.
    pub(super) fn keep_due(&mut self) {
        if self.keeping.problem.is_some() {
            self.keys.keep_again();
        }
    }

    /// Answers a call with how the keys stand, once the keyring's file holds them: what the owner
    /// was told is not taken back by a power cut.
    pub(super) fn answer_once_kept(&mut self, now: Now, call: CallId) {
        if self.keeping.problem.is_some() {
            self.keys.keep_again();
        }
        self.keeping.calls.push(call);
        self.answer_kept(now);
    }

    fn answer_kept(&mut self, now: Now) {
        if !self.keeping.is_idle() || self.keys.is_unkept() {
            return;
        }
        for call in std::mem::take(&mut self.keeping.calls) {
            let result = match self.keeping.problem() {
                None => Ok(self.key_state(now)),
                Some(problem) => Err(CallError::unavailable(format!(
                    "it is in force, but this board could not keep it and forgets it at its next \
                     start: {problem}; put that right and ask again"
                ))),
            };
            self.out.answer(call, result);
        }
    }

    /// A transmit as it goes out at this moment: the sequence of a link is that in which frames
    /// leave. None: its link is gone, or nobody there could verify it.
    pub fn seal(&mut self, transmit: &Transmit) -> Option<Bytes> {
        let bytes = &transmit.bytes;
        match transmit.to {
            Route::Link(id) => {
                let link = self.links.links.get_mut(&id)?;
                let keys = link.talk.as_mut().and_then(|talk| talk.keys.as_mut());
                match keys.filter(|_| !PLAIN.contains(&bytes[1])) {
                    Some(keys) => Some(keys.seal(bytes)),
                    None => Some(bytes.clone()),
                }
            }
            Route::Datagram(_, id) => {
                let to = self.party(&id)?;
                let key = &self.keys.keyring().current;
                Some(self.datagrams.seal(to, key, bytes))
            }
        }
    }

    /// What this board's announcements say of its key; none in an open cluster.
    pub fn hint_mac(&self) -> Option<HintMac> {
        let key = &self.keys.keyring().current;
        let name = &self.settings.cluster_name;
        (!self.keys.is_open()).then(|| hint_mac(key, &self.me, name))
    }

    /// An announcement that is not worth a link: its sender shows none of this board's keys, is
    /// not in the roster, and would not be let in.
    pub(super) fn is_passed_over(&mut self, now: Now, hint: &Hint) -> bool {
        let closed = matches!(self.door(now), Door::Shut | Door::Closed) && !self.keys.is_open();
        if !closed || self.is_member(&hint.node) || hint.node == self.me {
            return false;
        }
        let keys = &mut self.keys.keyring().keys();
        let shown = keys.any(|key| Some(hint_mac(key, &hint.node, &hint.cluster)) == hint.mac);
        if !shown {
            self.watch.count("hints_of_strangers");
        }
        !shown
    }

    /// A member's datagram, if it verifies; from whatever address it comes.
    pub(super) fn open_datagram(&mut self, bytes: &[u8]) -> Option<(Id, Message)> {
        let frame = Frame::from_datagram(bytes).ok()?;
        let from = Datagrams::sender(&frame).filter(|id| self.is_member(id))?;
        let party = self.party(&from)?;
        let opened = self.datagrams.open(party, self.keys.keyring(), frame);
        match opened {
            Ok(frame) => Some((from, Message::from_frame(&frame).ok()?)),
            Err(error) => {
                self.frame_refused(error);
                if error == SessionError::Full {
                    let roster = self.roster.as_ref();
                    let is_member = |id: &Id| roster.is_some_and(|roster| roster.has(id));
                    self.datagrams.retain(is_member);
                }
                None
            }
        }
    }

    fn party(&self, id: &Id) -> Option<Party> {
        let known = self.roster.as_ref().and_then(|roster| roster.contact(id));
        let contact = known.or_else(|| self.routing.contact(id))?;
        Some(Party {
            id: *id,
            life: contact.life,
        })
    }

    pub(super) fn frame_refused(&mut self, error: SessionError) {
        self.watch.count(match error {
            SessionError::Key => "frames_of_unknown_key",
            SessionError::Tag => "frames_with_bad_tag",
            SessionError::Replay => "frames_replayed",
            SessionError::Full => "sessions_full",
        });
    }

    /// The names of this board's keys, the one it signs with first.
    pub(super) fn kids(&self) -> Vec<[u8; 8]> {
        self.keys.keyring().keys().map(|key| key.kid().0).collect()
    }

    /// It is in a ring of others.
    pub(super) fn is_alone(&self) -> bool {
        let roster = self.roster.as_ref().filter(|_| self.phase == Phase::Joined);
        roster.is_none_or(|roster| roster.members().count() <= 1)
    }

    pub(super) fn door(&self, now: Now) -> Door {
        self.keys.door(now.time, self.is_alone())
    }

    /// The next message of a hello.
    pub(super) fn link_hello(&mut self, now: Now, id: LinkId, message: Message) {
        let Some(link) = self.links.links.get_mut(&id) else {
            return;
        };
        let remote = link.remote;
        let State::Hello(mut handshake) = std::mem::replace(&mut link.state, State::Opening) else {
            return;
        };
        let hello = match &message {
            Message::Hello(hello) => Some(hello.clone()),
            _ => None,
        };
        let door = handshake.mine().door;
        let room = self.has_room_for_code();
        let proving = Cell::new(false);
        let step = handshake.handle(
            message,
            &Terms {
                signer: self.signer.as_ref(),
                keyring: self.keys.keyring(),
                admits: &|hello, key| {
                    let member = self.is_member(&hello.contact.id);
                    let how = self.keys.admission(hello, key, door, member);
                    proving.set(room && how == Some(Admission::Code));
                    proving.get() || how.is_some_and(|how| how != Admission::Code)
                },
            },
        );
        if proving.get() {
            self.note_code_link(id);
        }
        if let (Err(HandshakeError::Key), Some(hello)) = (&step, hello) {
            let endpoint = SocketAddr::new(remote.ip(), hello.contact.endpoint.port());
            self.keys.note_asking(now.time, &hello, endpoint);
        }
        if let Some(link) = self.links.links.get_mut(&id) {
            link.state = State::Hello(handshake);
        }
        self.hello_step(now, id, step);
    }

    pub(super) fn is_member(&self, id: &Id) -> bool {
        self.roster.as_ref().is_some_and(|roster| roster.has(id))
    }

    /// The hello is over: the link is up, or the two may come to hold one key.
    pub(super) fn link_believed(&mut self, now: Now, id: LinkId, believed: Believed) {
        let Believed {
            hello,
            keys,
            context,
        } = believed;
        let peer = hello.contact.id;
        let Some(link) = self.links.links.get(&id) else {
            return;
        };
        let State::Hello(handshake) = &link.state else {
            return;
        };
        let endpoint = SocketAddr::new(link.remote.ip(), hello.contact.endpoint.port());
        let door = handshake.mine().door;
        let kid = keys.as_ref().map(LinkKeys::kid);
        let key = kid.and_then(|kid| self.keys.keyring().find(&kid));
        let member = self.is_member(&peer);
        let Some(admission) = self.keys.admission(&hello, key, door, member) else {
            // The keys have changed since its hello.
            return self.drop_link(now, id, true);
        };
        let up = keys.is_some();
        if let Some(link) = self.links.links.get_mut(&id) {
            link.talk = Some(Talk {
                keys,
                admission,
                context,
                share: hello.share,
                kids: hello.kids.clone(),
                current: hello.kids.first().copied(),
                told: 0,
                heard: 0,
                settled: false,
                last: None,
                endpoint,
                owner: None,
            });
            if !up {
                link.state = State::Pairing(peer);
            }
        }
        let unconfirmed = hello.door != Door::Shut;
        if up {
            self.keys.came_in(&peer);
            self.link_up(now, id, hello);
        }
        self.tell_key(id, unconfirmed);
        if up {
            self.tell_owner(id, &peer);
        }
        self.begin_code(now, id, door);
    }

    /// Gives the current key to a board that lacks it, or the owner's word for it.
    pub(super) fn tell_key(&mut self, id: LinkId, unconfirmed: bool) {
        let settled = self.phase == Phase::Joined;
        let next = self.rotation.is_some();
        let Some(link) = self.links.links.get_mut(&id) else {
            return;
        };
        let Some(talk) = link.talk.as_mut() else {
            return;
        };
        let kid = self.keys.keyring().current.kid().0;
        let news = talk.current != Some(kid) || (unconfirmed && self.keys.is_confirmed());
        let next = next && talk.keys.is_some();
        let said = Some((kid, self.keys.is_confirmed()));
        if !(next || news && talk.last != said)
            || matches!(talk.admission, Admission::Asked | Admission::Code)
            || self.keys.is_open()
        {
            return;
        }
        talk.settled = settled;
        talk.last = said;
        let offer = self.keys.offer(settled, next);
        let secret = self.keys.secret();
        let Some((number, sealed)) = talk.seal(secret, &offer) else {
            return self.watch.count("shares_refused");
        };
        if talk.keys.is_some() && !next {
            talk.kids.push(kid);
        }
        self.out.transmits.push_back(Transmit {
            to: Route::Link(id),
            bytes: Message::Rekey { number, sealed }.encode(),
            after: None,
        });
    }

    /// Another board told its key.
    pub(super) fn rekeyed(&mut self, now: Now, id: LinkId, number: u64, sealed: &[u8]) {
        let Some(talk) = self.links.links.get_mut(&id).and_then(|l| l.talk.as_mut()) else {
            return;
        };
        let secret = self.keys.secret();
        let opened = talk.open_sealed(secret, number, sealed);
        let Some(offer) = opened.map(zeroize::Zeroizing::new) else {
            self.watch.count("keys_malformed");
            return self.drop_link(now, id, true);
        };
        let (how, settled) = (talk.admission, talk.settled);
        let settled = settled || how == Admission::Member && self.phase == Phase::Joined;
        let (before, confirmed) = (self.kids(), self.keys.is_confirmed());
        let Some(taken) = self.keys.take(now.time, &offer, how, settled) else {
            self.watch.count("keys_malformed");
            return self.drop_link(now, id, true);
        };
        let kid = taken.kid;
        if let Some(talk) = self.links.links.get_mut(&id).and_then(|l| l.talk.as_mut()) {
            talk.note_key(&taken);
        }
        if taken.is_news {
            self.watch.count("keys_taken");
            // In a rotation whoever began it tells everybody by itself.
            let known = before.contains(&kid.0) || self.keys.keyring().current.kid() != kid;
            match known && confirmed == self.keys.is_confirmed() {
                true => self.keys_moved(now),
                false => self.keys_changed(now),
            }
        }
        if self.keys.keyring().find(&kid).is_some() {
            self.keeping.held.push_back((id, kid.0));
            self.say_held();
        }
        if taken.is_news {
            return;
        }
        if self.meet_again(id) && self.keeping.is_idle() {
            self.meet_all_again(now);
        }
    }

    /// A link that carries keys only has done what it was for once both hold one: they are to meet
    /// again. False: it has not.
    fn meet_again(&mut self, id: LinkId) -> bool {
        let kid = self.keys.keyring().current.kid().0;
        let Some(link) = self.links.links.get(&id) else {
            return false;
        };
        match (&link.state, &link.talk) {
            (State::Pairing(peer), Some(talk)) if talk.kids.contains(&kid) => {
                self.keeping.again.push_back((talk.endpoint, *peer));
                self.links.links.remove(&id);
                self.out.links.push_back(LinkCommand::Close(id));
                self.out.transmits.retain(|it| it.to != Route::Link(id));
                true
            }
            _ => false,
        }
    }

    /// Tells who gave them the keys that are in the file.
    fn say_held(&mut self) {
        let keeping = &self.keeping;
        if !keeping.is_idle() || keeping.problem.is_some() || self.keys.is_unkept() {
            return;
        }
        while let Some((id, kid)) = self.keeping.held.pop_front() {
            let link = self.links.links.get(&id);
            // Another board's next key may have taken its place before it was written.
            let holds = self.keys.keyring().find(&Kid(kid)).is_some();
            if holds && matches!(link.map(|link| &link.state), Some(State::Up(_))) {
                self.out.transmits.push_back(Transmit {
                    to: Route::Link(id),
                    bytes: Message::Rekeyed { kid }.encode(),
                    after: None,
                });
            }
        }
    }

    fn meet_all_again(&mut self, now: Now) {
        while let Some((endpoint, id)) = self.keeping.again.pop_front() {
            if !self.links.is_up(&id) {
                self.open_link(now, endpoint, Some(id));
            }
        }
    }

    /// Everybody this board is linked with hears of its key, or is met again under it.
    pub(super) fn pass_on_key(&mut self) {
        let links = self.links.links.iter();
        let links: Vec<LinkId> = links.map(|(id, _)| *id).collect();
        for id in links {
            if !self.meet_again(id) {
                self.tell_key(id, true);
            }
        }
    }

    pub(super) fn drop_stale_links(&mut self, now: Now) {
        let keyring = self.keys.keyring();
        let stale = |talk: &Talk| {
            let kid = talk.keys.as_ref().map(LinkKeys::kid);
            kid.is_some_and(|kid| keyring.find(&kid).is_none())
        };
        let links = self.links.links.iter();
        let stale: Vec<LinkId> = links
            .filter(|(_, link)| link.talk.as_ref().is_some_and(stale))
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            self.drop_link(now, id, true);
        }
    }
}
