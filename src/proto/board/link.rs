//! Links: streams to other boards, opened when there is something to say, believed after a hello.
//!
//! Two boards that open links to each other at once keep both; each sends on the newest one that
//! is up. Messages for a board whose link is not up yet wait in a bounded queue; when the link
//! cannot be had, whatever waited for that board fails at once instead of running into its
//! deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::key::Talk;
use super::outbox::{LinkCommand, LinkId, Route, Transmit};
use super::{Board, Phase, Timer};
use crate::base::call::Event;
use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::member::Contact;
use crate::base::rng::RngExt;
use crate::base::store::StoreId;
use crate::base::time::{Now, Time, WallTime};
use crate::proto::session::{Handshake, HandshakeError, Step, VERSIONS};
use crate::wire::frame::Frame;
use crate::wire::peer::{Hello, Message, MessageError, RingCall, RosterState};

/// How often idle links are looked for.
pub(super) const SWEEP_PERIOD: Duration = Duration::from_secs(30);

/// What the driver tells of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A stream this board asked for is open.
    Opened,
    /// Another board opened one; the id is the driver's, with [`LinkId::INCOMING`] set.
    Accepted {
        /// The other end.
        remote: SocketAddr,
    },
    /// A whole frame arrived.
    Frame(Frame),
    /// The stream is closed, or could not be opened.
    Closed,
}

#[derive(Debug)]
pub(super) enum State {
    Opening,
    Hello(Box<Handshake>),
    /// There is no key in common: only sealed keys and steps of a one-time code go this way, until
    /// the boards have agreed.
    Pairing(Id),
    Up(Id),
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) remote: SocketAddr,
    /// Opened to reach this board, if it was known.
    pub(super) wanted: Option<Id>,
    pub(super) state: State,
    /// Since the hello is over.
    pub(super) talk: Option<Talk>,
    used: Time,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: Vec<Transmit>,
    bytes: usize,
}

/// The links of a board.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) links: BTreeMap<LinkId, Link>,
    up: BTreeMap<Id, LinkId>,
    waiting: BTreeMap<Id, Waiting>,
    /// Addresses at which this very process answered.
    ourselves: Vec<SocketAddr>,
    /// How boards whose links are up introduced themselves.
    contacts: BTreeMap<Id, Contact>,
}

impl Links {
    pub(super) fn is_up(&self, id: &Id) -> bool {
        self.up.contains_key(id)
    }

    /// How the board at the other end introduced itself.
    pub(super) fn contact(&self, id: &Id) -> Option<Contact> {
        self.contacts.get(id).cloned()
    }

    /// The link that frames for a board go by.
    pub(super) fn link_to(&self, id: &Id) -> Option<LinkId> {
        self.up.get(id).copied()
    }

    pub(super) fn peers(&self) -> Vec<Id> {
        self.up.keys().copied().collect()
    }

    /// What the hello of a link left for what comes after it.
    pub(super) fn talk(&mut self, id: LinkId) -> Option<&mut Talk> {
        self.links.get_mut(&id)?.talk.as_mut()
    }

    pub(super) fn is_opening_to(&self, remote: &SocketAddr) -> bool {
        self.links
            .values()
            .any(|link| link.remote == *remote && !matches!(link.state, State::Up(_)))
    }

    pub(super) fn is_up_at(&self, remote: &SocketAddr) -> bool {
        let mut links = self.links.values();
        links.any(|link| link.remote == *remote && matches!(link.state, State::Up(_)))
    }

    pub(super) fn opening(&self) -> usize {
        self.links
            .values()
            .filter(|link| !matches!(link.state, State::Up(_)))
            .count()
    }

    pub(super) fn is_ourselves(&self, remote: &SocketAddr) -> bool {
        self.ourselves.contains(remote)
    }

    pub(super) fn check_invariants(&self) {
        for (peer, link) in &self.up {
            let state = self.links.get(link).map(|link| &link.state);
            assert!(
                matches!(state, Some(State::Up(id)) if id == peer),
                "an up link is open"
            );
        }
        assert!(self.links.len() <= limit::LINKS_MAX, "links are bounded");
    }
}

impl Board {
    /// Something happened to a stream.
    pub fn handle_link(&mut self, now: Now, id: LinkId, event: LinkEvent) {
        match event {
            LinkEvent::Opened => self.link_opened(now, id),
            LinkEvent::Accepted { remote } => self.link_accepted(now, id, remote),
            LinkEvent::Frame(frame) => self.link_frame(now, id, frame),
            LinkEvent::Closed => self.drop_link(now, id, false),
        }
        self.settle(now);
    }

    /// The board at the other end of a stream has proved who it is.
    pub fn is_proved(&self, id: LinkId) -> bool {
        let link = self.links.links.get(&id);
        link.is_some_and(|link| matches!(link.state, State::Up(_)))
    }

    /// Sends to a board, opening a link first when there is none.
    pub(super) fn send(&mut self, now: Now, to: &Id, message: &Message) {
        self.send_after(now, to, message, None);
    }

    /// Sends once the store has returned.
    pub(super) fn send_after(
        &mut self,
        now: Now,
        to: &Id,
        message: &Message,
        after: Option<StoreId>,
    ) {
        let bytes = message.encode();
        if let Some(link) = self.links.up.get(to).copied() {
            if let Some(open) = self.links.links.get_mut(&link) {
                open.used = now.time;
            }
            self.out.transmits.push_back(Transmit {
                to: Route::Link(link),
                bytes,
                after,
            });
            return;
        }
        let Some(endpoint) = self.endpoint_of(to) else {
            self.peer_failed(now, to);
            return;
        };
        let waiting = self.links.waiting.entry(*to).or_default();
        if waiting.bytes + bytes.len() > limit::LINK_QUEUE_BYTES_MAX {
            self.watch.count("link_queue_full");
            return;
        }
        waiting.bytes += bytes.len();
        // The route is filled in when the link is up.
        let to_be = Route::Datagram(endpoint, *to);
        waiting.messages.push(Transmit {
            to: to_be,
            bytes,
            after,
        });
        if !self
            .links
            .links
            .values()
            .any(|link| link.wanted == Some(*to))
        {
            self.open_link(now, endpoint, Some(*to));
        }
    }

    /// Opens a link to an address, unless one is on its way.
    pub(super) fn open_link(&mut self, now: Now, remote: SocketAddr, wanted: Option<Id>) {
        if self.links.is_opening_to(&remote) || self.links.links.len() >= limit::LINKS_MAX {
            return;
        }
        let id = LinkId(self.out.draw());
        let link = Link {
            remote,
            wanted,
            state: State::Opening,
            talk: None,
            used: now.time,
        };
        self.links.links.insert(id, link);
        self.out.links.push_back(LinkCommand::Open(id, remote));
        self.arm(now.time + limit::LINK_OPEN_TIME_MAX, Timer::LinkOpen(id));
    }

    /// Connects to a member that has nothing to be sent yet.
    pub(super) fn connect(&mut self, now: Now, id: &Id) {
        if let Some(endpoint) = self.endpoint_of(id) {
            self.open_link(now, endpoint, Some(*id));
        }
    }

    fn endpoint_of(&self, id: &Id) -> Option<SocketAddr> {
        let contact = self.roster.as_ref().and_then(|roster| roster.contact(id));
        contact
            .or_else(|| self.routing.contact(id))
            .map(|contact| contact.endpoint)
            .or_else(|| self.membership.hinted(id))
    }

    fn hello(&mut self, now: Now) -> Handshake {
        Handshake::new(Hello {
            versions: VERSIONS.to_vec(),
            nonce: self.rng.random(),
            public_key: self.signer.public_key().to_vec(),
            cluster_name: self.settings.cluster_name.clone(),
            cluster: match self.phase {
                Phase::Joined => self.roster.as_ref().map(|roster| roster.cluster().clone()),
                _ => None,
            },
            established_ms: self.membership.established_ms(now.time),
            high_water: self.clock.high_water(),
            wall_ms: now.wall.0,
            view: self.knowledge(),
            doubtful: self.is_doubtful(),
            kids: self.kids(),
            share: self.keys.secret().share(),
            door: self.door(now),
            contact: self.my_contact(),
        })
    }

    fn greet_on(&mut self, now: Now, id: LinkId) {
        let handshake = self.hello(now);
        let bytes = handshake.first().encode();
        if let Some(link) = self.links.links.get_mut(&id) {
            link.state = State::Hello(Box::new(handshake));
            self.out.transmits.push_back(Transmit {
                to: Route::Link(id),
                bytes,
                after: None,
            });
        }
    }

    fn link_opened(&mut self, now: Now, id: LinkId) {
        self.greet_on(now, id);
    }

    fn link_accepted(&mut self, now: Now, id: LinkId, remote: SocketAddr) {
        if self.links.links.len() >= limit::LINKS_MAX || self.phase == Phase::Starting {
            self.out.links.push_back(LinkCommand::Close(id));
            return;
        }
        let link = Link {
            remote,
            wanted: None,
            state: State::Opening,
            talk: None,
            used: now.time,
        };
        self.links.links.insert(id, link);
        self.greet_on(now, id);
        self.arm(now.time + limit::LINK_OPEN_TIME_MAX, Timer::LinkOpen(id));
    }

    fn link_frame(&mut self, now: Now, id: LinkId, frame: Frame) {
        let Some(link) = self.links.links.get_mut(&id) else {
            return;
        };
        link.used = now.time;
        let frame = match (&link.state, &mut link.talk) {
            (State::Up(_), Some(talk)) => match talk.open(frame) {
                Ok(frame) => frame,
                Err(error) => {
                    tracing::debug!(remote = %link.remote, %error, "link refused");
                    self.frame_refused(error);
                    self.drop_link(now, id, true);
                    return;
                }
            },
            _ => frame,
        };
        let message = match (Message::from_frame(&frame), &link.state) {
            (Ok(message), _) => message,
            (Err(MessageError::Kind { kind }), State::Up(_)) => {
                let text = format!("frame type {kind:#04x} is not known here");
                let bytes = Message::Error { kind, text }.encode();
                self.out.transmits.push_back(Transmit {
                    to: Route::Link(id),
                    bytes,
                    after: None,
                });
                return;
            }
            (Err(error), _) => {
                tracing::debug!(remote = %link.remote, %error, "link refused");
                self.watch.count("frames_malformed");
                self.drop_link(now, id, true);
                return;
            }
        };
        match &mut link.state {
            State::Up(peer) => {
                let peer = *peer;
                self.detector.heard(now.time, &peer);
                match message {
                    Message::Rekey { number, sealed } => self.rekeyed(now, id, number, &sealed),
                    Message::Owner { number, sealed } => {
                        self.owner_heard(now, id, peer, (number, &sealed));
                    }
                    Message::Rekeyed { kid } => self.rekey_held(now, peer, kid),
                    message => self.handle_message(now, peer, message),
                }
            }
            State::Pairing(_) => match message {
                Message::Rekey { number, sealed } => self.rekeyed(now, id, number, &sealed),
                Message::Code(step) => self.code_step(now, id, &step),
                _ => self.drop_link(now, id, true),
            },
            State::Hello(_) => self.link_hello(now, id, message),
            State::Opening => self.drop_link(now, id, true),
        }
    }

    pub(super) fn hello_step(&mut self, now: Now, id: LinkId, step: Result<Step, HandshakeError>) {
        match step {
            Ok(Step::Send(message)) => {
                let bytes = message.encode();
                self.out.transmits.push_back(Transmit {
                    to: Route::Link(id),
                    bytes,
                    after: None,
                });
            }
            Ok(Step::Up(believed)) => self.link_believed(now, id, *believed),
            Err(error) => {
                let Some(link) = self.links.links.get(&id) else {
                    return;
                };
                tracing::debug!(remote = %link.remote, %error, "hello refused");
                if error == HandshakeError::Ourselves && id.0 & LinkId::INCOMING == 0 {
                    let remote = link.remote;
                    self.links.ourselves.push(remote);
                    if self.links.ourselves.len() > 64 {
                        self.links.ourselves.remove(0);
                    }
                }
                self.watch.count("hellos_refused");
                self.drop_link(now, id, true);
            }
        }
    }

    pub(super) fn link_up(&mut self, now: Now, id: LinkId, hello: Hello) {
        let peer = hello.contact.id;
        let Some(link) = self.links.links.get_mut(&id) else {
            return;
        };
        let remote = link.remote;
        if peer == self.me {
            if let State::Hello(handshake) = &link.state {
                let mine = handshake.mine();
                // Both ends compare the same two hellos, so exactly one of them yields.
                let (ours, other) = (mine.contact.life, hello.contact.life);
                let yields = (mine.established_ms, ours) < (hello.established_ms, other);
                self.out.events.push_back(Event::ClonedCard {
                    endpoint: remote,
                    yields,
                });
                if !yields {
                    self.outlast_clone(now, &hello.contact);
                }
            }
            self.drop_link(now, id, true);
            return;
        }
        let wanted = link.wanted.replace(peer);
        link.state = State::Up(peer);
        if let Some(other) = self.links.up.insert(peer, id) {
            self.tell_of_twin(other, &hello.contact);
        }
        self.links.contacts.insert(peer, hello.contact.clone());
        self.others.note(now.time, peer, WallTime(hello.wall_ms));
        if !self.is_future(now, hello.high_water) {
            self.clock.hear(hello.high_water);
        }
        if let Some(waiting) = self.links.waiting.remove(&peer) {
            for transmit in waiting.messages {
                self.out.transmits.push_back(Transmit {
                    to: Route::Link(id),
                    ..transmit
                });
            }
        }
        if let Some(other) = wanted.filter(|other| *other != peer) {
            // Another board answers at that address: the one looked for is elsewhere.
            self.links.waiting.remove(&other);
            self.peer_failed(now, &other);
        }
        self.peer_up(now, remote, hello);
    }

    /// A board whose link is up introduced itself once more. If that was from another address, the
    /// board at the older link may be running with a cloned card: it is told, and asks there.
    fn tell_of_twin(&mut self, older: LinkId, twin: &Contact) {
        let moved =
            (self.links.contacts.get(&twin.id)).is_some_and(|c| c.endpoint != twin.endpoint);
        let Some(roster) = self.roster.as_ref().filter(|_| moved) else {
            return;
        };
        let state = RosterState {
            cluster: roster.cluster().clone(),
            entries: vec![],
            contacts: vec![twin.clone()],
        };
        let digest = roster.knowledge();
        let call = self.out.draw();
        let body = RingCall::Roster { state, digest };
        self.out.transmits.push_back(Transmit {
            to: Route::Link(older),
            bytes: Message::RingCall { call, body }.encode(),
            after: None,
        });
    }

    pub(super) fn link_open_late(&mut self, now: Now, id: LinkId) {
        let state = self.links.links.get(&id).map(|link| &link.state);
        if matches!(
            state,
            Some(State::Opening | State::Hello(_) | State::Pairing(_))
        ) {
            self.drop_link(now, id, true);
        }
    }

    pub(super) fn sweep_links(&mut self, now: Now) {
        let idle: Vec<LinkId> = self
            .links
            .links
            .iter()
            .filter(|(_, link)| now.time.since(link.used) >= limit::LINK_IDLE_MAX)
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.drop_link(now, id, true);
        }
        let wanted: Vec<Id> = self
            .links
            .links
            .values()
            .filter_map(|link| link.wanted)
            .collect();
        self.links.waiting.retain(|id, _| wanted.contains(id));
        self.links
            .contacts
            .retain(|id, _| self.links.up.contains_key(id));
        self.arm(now.time + SWEEP_PERIOD, Timer::LinkIdle);
    }

    /// Forgets a link; `close` when the driver still has it.
    pub(super) fn drop_link(&mut self, now: Now, id: LinkId, close: bool) {
        let Some(link) = self.links.links.remove(&id) else {
            return;
        };
        self.code_link_gone(now, id);
        if close {
            self.out.links.push_back(LinkCommand::Close(id));
        }
        self.out
            .transmits
            .retain(|transmit| transmit.to != Route::Link(id) || close);
        let peer = match link.state {
            // The other side has taken a key, and comes again under it.
            State::Pairing(_) if !close => return,
            State::Up(peer) => Some(peer),
            _ => link.wanted,
        };
        let Some(peer) = peer else {
            self.probe_failed(now, link.remote);
            return;
        };
        if self.links.up.get(&peer) == Some(&id) {
            self.links.up.remove(&peer);
            let other = self
                .links
                .links
                .iter()
                .find(|(_, l)| matches!(l.state, State::Up(p) if p == peer));
            if let Some((other, _)) = other {
                self.links.up.insert(peer, *other);
            }
        }
        let replaced = self.links.links.values().any(|l| l.wanted == Some(peer));
        if !self.links.is_up(&peer) && !replaced {
            self.links.waiting.remove(&peer);
            self.peer_failed(now, &peer);
        }
    }

    /// Closes the links to a board that is down: a stream that stalls would not say so itself.
    pub(super) fn drop_link_to(&mut self, now: Now, peer: &Id) {
        let links = self.links.links.iter();
        let to_peer = links.filter(|(_, l)| matches!(l.state, State::Up(id) if id == *peer));
        let ids: Vec<LinkId> = to_peer.map(|(id, _)| *id).collect();
        for id in ids {
            self.drop_link(now, id, true);
        }
    }

    /// Closes every link, for a board that leaves at once.
    pub(super) fn drop_links(&mut self, now: Now) {
        let all: Vec<LinkId> = self.links.links.keys().copied().collect();
        for id in all {
            self.drop_link(now, id, true);
        }
    }

    /// Bytes waiting for links that are not up.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.links
            .waiting
            .values()
            .map(|waiting| waiting.bytes)
            .sum()
    }

    pub(super) fn send_relayed(&mut self, now: Now, to: &Id, call: u64, answer: Option<Bytes>) {
        use crate::wire::peer::RingReply;
        self.send(
            now,
            to,
            &Message::RingReply {
                call,
                body: RingReply::Relayed(answer),
            },
        );
    }
}
