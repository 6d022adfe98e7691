//! SSDP as one machine: the advertiser, the searcher and the cache of a board on all its links.
//!
//! Owns no socket, clock or random source. Start: no links, silence. [`Ssdp::handle_links`] tells
//! which links there are; each new one is advertised and searched on. Steady state: datagrams
//! come in by [`Ssdp::handle_datagram`], time by [`Ssdp::handle_timeout`]. Distress: nothing heard
//! is believed further than a hint, off-link sources are dropped, every table is bounded. End:
//! [`Ssdp::handle_stop`] says farewell on every link.
//!
//! Polling order after each `handle_*`: [`Ssdp::poll_transmit`] and [`Ssdp::poll_event`] until
//! empty, then [`Ssdp::poll_timeout`]. Source: UDA 2.0 §1.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

pub mod advertiser;
pub mod cache;
pub mod link;
pub mod searcher;

use crate::base::endpoint::Name;
use crate::base::hint::{Hint, HintMac};
use crate::base::id::Id;
use crate::base::limit;
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::wire::ssdp::{BootId, ByeBye, Location, Message, Text, Usn, Vendor};
use advertiser::{Advertiser, Profile};
use cache::{Cache, Entry, Sighting};
use link::{LinkKey, Links, PORT};
use searcher::Searcher;

/// Which of a link's two sockets a datagram came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// It was sent to the group.
    Multicast,
    /// It was sent to our own address.
    Unicast,
}

/// A datagram to send from a link's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// On which link.
    pub key: LinkKey,
    /// To whom.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

impl Transmit {
    /// Puts the parts together.
    pub fn new(key: LinkKey, to: SocketAddr, bytes: Vec<u8>) -> Self {
        Transmit { key, to, bytes }
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams that are no message of SSDP.
    pub malformed: u64,
    /// Datagrams from sources not on the link.
    pub off_link: u64,
    /// Datagrams read.
    pub received: u64,
    /// Datagrams sent.
    pub sent: u64,
}

/// How a board takes part.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is announced; with none the board is silent and answers nothing.
    pub profile: Option<Profile>,
    /// The BOOTID of this start.
    pub boot_id: BootId,
    /// Whether others' messages are heeded.
    pub listens: bool,
    /// The friendly name given in searches.
    pub friendly_name: Text,
    /// The software given in searches.
    pub user_agent: Text,
}

/// A board found by other means than a datagram of ours (the `ssdp-client` crate).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBoard {
    /// NODE.ROUNDEL.ORG.
    pub node: Id,
    /// CLUSTER.ROUNDEL.ORG.
    pub cluster: Name,
    /// BOOT.ROUNDEL.ORG.
    pub boot: Option<u64>,
    /// HINT.ROUNDEL.ORG.
    pub hint: Option<HintMac>,
    /// LOCATION.
    pub location: Location,
    /// USN.
    pub usn: Usn,
}

/// The machine; see the file's header.
#[derive(Debug)]
pub struct Ssdp {
    node: Option<Id>,
    listens: bool,
    links: Links,
    advertiser: Option<Advertiser>,
    searcher: Searcher,
    cache: Cache,
    rng: Rng,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Hint>,
    announced: bool,
    stats: Stats,
}

impl Ssdp {
    /// A board without links.
    pub fn new(settings: Settings, rng: Rng) -> Self {
        let node = settings.profile.as_ref().and_then(Profile::node);
        let advertiser = settings
            .profile
            .map(|profile| Advertiser::new(profile, settings.boot_id));
        Ssdp {
            node,
            listens: settings.listens,
            links: Links::new(),
            advertiser,
            searcher: Searcher::new(settings.friendly_name, settings.user_agent),
            cache: Cache::default(),
            rng,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            announced: false,
            stats: Stats::default(),
        }
    }

    /// Whether [`Ssdp::handle_links`] with these links needs a new BOOTID, which must be durable
    /// before the call: an address came or changed after the first announcement.
    pub fn needs_boot_id(&self, links: &Links) -> bool {
        let same = |key, address| {
            self.links
                .get(key)
                .is_some_and(|link| link.address == address)
        };
        self.announced && links.iter().any(|(key, link)| !same(key, link.address))
    }

    /// Takes the links there are: farewell on those that went or changed their address, an update
    /// on those that stay when there is a new BOOTID, advertisements and searches on the new.
    ///
    /// # Panics
    /// When there are more links than the limit, which the caller keeps.
    pub fn handle_links(&mut self, now: Time, links: Links, boot_id: Option<BootId>) {
        assert!(links.len() <= limit::SSDP_LINKS_MAX);
        let stays = |key: &LinkKey, before: &Links| match (before.get(key), links.get(key)) {
            (Some(old), Some(new)) => old.address == new.address,
            _ => false,
        };
        let (staying, gone): (Vec<_>, Vec<_>) = self
            .links
            .keys()
            .copied()
            .partition(|key| stays(key, &self.links));
        for key in gone {
            if let Some(advertiser) = &mut self.advertiser {
                advertiser.handle_link_down(key, &mut self.transmits);
            }
            self.searcher.handle_link_down(key);
            self.cache.handle_link_down(key);
        }
        self.links = links;
        if let (Some(advertiser), Some(next)) = (&mut self.advertiser, boot_id) {
            advertiser.handle_boot_id(next, &self.links, &staying, &mut self.transmits);
        }
        let keys: Vec<_> = self.links.keys().copied().collect();
        for key in keys.into_iter().filter(|key| !staying.contains(key)) {
            self.handle_rejoin(now, key);
        }
        self.announced |= !self.links.is_empty();
    }

    /// Advertises and searches on a link anew: its carrier came back.
    pub fn handle_rejoin(&mut self, now: Time, key: LinkKey) {
        if !self.links.contains_key(&key) {
            return;
        }
        if let Some(advertiser) = &mut self.advertiser {
            advertiser.handle_link_up(now, key, &mut self.rng);
        }
        self.searcher.handle_link_up(now, key);
        self.handle_timeout(now);
    }

    /// What announcements say of the board's key from here on.
    pub fn set_hint(&mut self, hint: Option<HintMac>) {
        if let Some(advertiser) = &mut self.advertiser {
            advertiser.set_hint(hint);
        }
    }

    /// Begins a round of searches on every link.
    pub fn handle_search(&mut self, now: Time) {
        self.searcher.handle_search(now);
        self.handle_timeout(now);
    }

    /// Takes a datagram.
    pub fn handle_datagram(
        &mut self,
        now: Time,
        place: (LinkKey, Via),
        from: SocketAddr,
        bytes: &[u8],
    ) {
        self.stats.received += 1;
        let (key, via) = place;
        let Some(link) = self.links.get(&key) else {
            return;
        };
        if !link.is_on_link(from.ip()) || from.port() == 0 {
            self.stats.off_link += 1;
            return;
        }
        let Ok(message) = Message::parse(bytes) else {
            self.stats.malformed += 1;
            return;
        };
        match (message, via) {
            (Message::Search(search), _) => {
                if let Some(advertiser) = &mut self.advertiser {
                    advertiser.handle_search(now, place, from, &search, &mut self.rng);
                    self.handle_timeout(now);
                }
            }
            (Message::Alive(m), Via::Multicast) => {
                let said = Said::new(m.usn, m.vendor, m.counters.boot_id, m.search_port);
                self.hear(now, key, from, said, &m.location, Some(m.max_age));
            }
            (Message::Update(m), Via::Multicast) => {
                let said = Said::new(m.usn, m.vendor, Some(m.next_boot_id), m.search_port);
                self.hear(now, key, from, said, &m.location, None);
            }
            (Message::Answer(m), Via::Unicast) => {
                let said = Said::new(m.usn, m.vendor, m.counters.boot_id, m.search_port);
                self.hear(now, key, from, said, &m.location, Some(m.max_age));
            }
            (Message::ByeBye(message), Via::Multicast) => self.hear_farewell(key, from, &message),
            // An advertisement is multicast and an answer is not: anything else is a forgery.
            _ => self.stats.malformed += 1,
        }
    }

    /// Takes a board that the `ssdp-client` crate found: it must be on one of the links.
    pub fn handle_found(&mut self, now: Time, found: FoundBoard) {
        let source = found.location.address();
        let on_link =
            |(key, link): (&LinkKey, &link::Link)| link.is_on_link(source.ip()).then_some(*key);
        let Some(key) = self.links.iter().find_map(on_link) else {
            self.stats.off_link += 1;
            return;
        };
        let vendor = Vendor {
            cluster: Some(found.cluster),
            node: Some(found.node),
            boot: found.boot,
            hint: found.hint,
        };
        let said = Said::new(found.usn, vendor, None, None);
        let seconds = limit::SSDP_MAX_AGE_SECONDS;
        self.hear_board(now, key, source, said, &found.location, Some(seconds));
    }

    /// Carries out what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        let out = &mut self.transmits;
        if let Some(advertiser) = &mut self.advertiser {
            advertiser.handle_timeout(now, &self.links, &mut self.rng, out);
        }
        let heard = self.cache.len();
        self.searcher
            .handle_timeout(now, &self.links, heard, &mut self.rng, out);
        for (key, to) in self.cache.handle_timeout(now) {
            self.searcher.probe(key, to, out);
        }
    }

    /// Says farewell on every link, twice since datagrams get lost; the machine is then silent.
    pub fn handle_stop(&mut self) {
        let keys: Vec<_> = self.links.keys().copied().collect();
        if let Some(advertiser) = &mut self.advertiser {
            for key in keys.iter().chain(&keys) {
                advertiser.handle_link_down(*key, &mut self.transmits);
            }
        }
        keys.iter()
            .for_each(|key| self.searcher.handle_link_down(*key));
        self.links.clear();
        self.advertiser = None;
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.transmits.pop_front()?;
        self.stats.sent += 1;
        Some(transmit)
    }

    /// The next hint.
    pub fn poll_event(&mut self) -> Option<Hint> {
        self.events.pop_front()
    }

    /// When [`Ssdp::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let advertiser = self.advertiser.as_ref().and_then(Advertiser::poll_timeout);
        [
            advertiser,
            self.searcher.poll_timeout(),
            self.cache.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The boards heard, this one left out.
    pub fn heard(&self) -> impl Iterator<Item = (LinkKey, &Entry)> {
        self.cache.entries()
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The links there are.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// A random wait before the next search by other means, as the searcher would choose it.
    pub fn search_interval(&mut self) -> Duration {
        searcher::interval(self.cache.len(), &mut self.rng)
    }

    /// Panics when an invariant of a part is broken.
    pub fn check_invariants(&self) {
        if let Some(advertiser) = &self.advertiser {
            advertiser.check_invariants(&self.links);
        }
        self.searcher.check_invariants(&self.links);
        self.cache.check_invariants();
    }

    /// Believes LOCATION only where it names the datagram's own source.
    fn hear(
        &mut self,
        now: Time,
        key: LinkKey,
        from: SocketAddr,
        said: Said,
        location: &Location,
        max_age: Option<u32>,
    ) {
        if self.listens && location.address().ip() == from.ip() {
            self.hear_board(now, key, from, said, location, max_age);
        }
    }

    fn hear_board(
        &mut self,
        now: Time,
        key: LinkKey,
        from: SocketAddr,
        said: Said,
        location: &Location,
        max_age: Option<u32>,
    ) {
        let (Some(node), Some(cluster)) = (said.vendor.node, said.vendor.cluster) else {
            return;
        };
        let uuid = said.usn.uuid();
        let genuine = uuid == node.udn(false) || uuid == node.udn(true);
        let port = location.address().port();
        if !genuine || port == 0 || self.is_own(node, from) {
            return;
        }
        let seen = Sighting {
            node,
            cluster,
            boot: said.vendor.boot,
            mac: said.vendor.hint,
            boot_id: said.boot_id,
            endpoint: with_port(from, port),
            search: with_port(from, said.search_port.unwrap_or(PORT)),
            max_age,
        };
        self.events
            .extend(self.cache.handle_sighting(now, key, seen));
    }

    fn hear_farewell(&mut self, key: LinkKey, from: SocketAddr, message: &ByeBye) {
        let Some(node) = message.vendor.node else {
            return;
        };
        if self.listens && !self.is_own(node, from) {
            let hint = self.cache.handle_farewell(key, node, from.ip());
            self.events.extend(hint);
        }
    }

    /// Our id from our own address; from another address it may be a cloned card.
    fn is_own(&self, node: Id, from: SocketAddr) -> bool {
        Some(node) == self.node && self.links.values().any(|link| link.address == from.ip())
    }
}

/// What alive, update and answer have in common.
struct Said {
    usn: Usn,
    vendor: Vendor,
    boot_id: Option<BootId>,
    search_port: Option<u16>,
}

impl Said {
    fn new(usn: Usn, vendor: Vendor, boot_id: Option<BootId>, search_port: Option<u16>) -> Self {
        Said {
            usn,
            vendor,
            boot_id,
            search_port,
        }
    }
}

/// The same host, zone included, at another port.
fn with_port(address: SocketAddr, port: u16) -> SocketAddr {
    let mut address = address;
    address.set_port(port);
    if let SocketAddr::V6(v6) = &mut address {
        v6.set_flowinfo(0);
    }
    address
}
