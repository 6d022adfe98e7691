//! Says that the board is here, that its address changes, that it goes, and answers searches.
//!
//! Does not listen to others and believes nothing. The story of one link: the first set of
//! advertisements after a random 0 to 100 ms, repeated twice a few hundred ms apart; then a set
//! at a random moment before half of max-age has gone, for as long as the link stays; when the
//! address set changes, an update with the old and the next BOOTID; in the end a byebye for each
//! thing announced. Searches are answered from the same table of what is announced, within a
//! bound for each source and one for all.
//! Source: UDA 2.0 §1.2.2 (alive), §1.2.3 (byebye), §1.2.4 (update), §1.3.3 (answers).

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ssdp_client::{SearchTarget, URN};

use super::link::{Link, LinkKey, Links};
use super::{Transmit, Via};
use crate::base::hint::HintMac;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::rng::{Rng, RngExt};
use crate::base::time::Time;
use crate::wire::description::{Description, Device};
use crate::wire::ssdp::{
    Alive, Answer, BootId, ByeBye, ConfigId, Counters, Location, Search, Target, Text, Update, Usn,
    Vendor,
};

/// Longest wait before a link's first set.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Between the sets that are sent more than once, milliseconds: where thirty boards start together
/// a set is thousands of datagrams on one LAN, which are not to fall together with their hellos.
const REPEAT_DELAY: std::ops::Range<u64> = 300..500;

/// What the board announces about itself.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The cluster, the id and the count of starts, in every message.
    pub vendor: Vendor,
    /// OS/version UPnP/2.0 roundel/version.
    pub server: Text,
    /// The port of every LOCATION.
    pub http_port: u16,
    /// The path of every LOCATION.
    pub path: String,
    config_id: ConfigId,
    items: Vec<(Target, Usn)>,
}

impl Profile {
    /// Lists the 3+2d+k things to announce from the description (UDA 2.0 tables 1-1 to 1-3).
    pub fn new(
        description: &Description,
        vendor: Vendor,
        server: Text,
        http_port: u16,
        path: &str,
    ) -> Self {
        let root = &description.device;
        let mut items = vec![(
            Target::ROOT_DEVICE,
            Usn::new(&root.udn, &Target::ROOT_DEVICE),
        )];
        push_device(&mut items, root);
        Profile {
            vendor,
            server,
            http_port,
            path: path.to_owned(),
            config_id: description.config_id,
            items,
        }
    }

    /// Everything announced.
    pub fn items(&self) -> &[(Target, Usn)] {
        &self.items
    }

    /// The board's id, when it announces one.
    pub fn node(&self) -> Option<Id> {
        self.vendor.node
    }
}

fn push_device(items: &mut Vec<(Target, Usn)>, device: &Device) {
    let mut push = |target: Target| {
        let usn = Usn::new(&device.udn, &target);
        items.push((target, usn));
    };
    push(Target::uuid(&device.udn));
    push(Target::urn(device.device_type.clone()));
    // Of the services of one type, only the highest version is announced (UDA 2.0 §1.2.2).
    let mut newest: BTreeMap<(String, String), URN> = BTreeMap::new();
    for service in &device.services {
        let urn = &service.service_type;
        let kind = (urn.domain_name().to_owned(), urn.typ().to_owned());
        let known = newest.entry(kind).or_insert_with(|| urn.clone());
        if urn.version() > known.version() {
            *known = urn.clone();
        }
    }
    newest.into_values().for_each(|urn| push(Target::urn(urn)));
    for embedded in &device.devices {
        push_device(items, embedded);
    }
}

/// What is due at a moment.
#[derive(Clone, Debug)]
enum Task {
    /// A set of advertisements, and so many more of this round.
    Sets { key: LinkKey, left: u32 },
    /// The answers to a search.
    Answer {
        key: LinkKey,
        to: SocketAddr,
        items: Vec<(Target, Usn)>,
    },
}

/// The machine; see the file's header.
#[derive(Debug)]
pub struct Advertiser {
    profile: Profile,
    boot_id: BootId,
    tasks: BTreeMap<(Time, u64), Task>,
    task_count: u64,
    pace: Pace,
}

impl Advertiser {
    /// What announcements say of the board's key from here on.
    pub fn set_hint(&mut self, hint: Option<HintMac>) {
        self.profile.vendor.hint = hint;
    }

    /// Announces `profile` under `boot_id`; silent until a link comes.
    pub fn new(profile: Profile, boot_id: BootId) -> Self {
        Advertiser {
            profile,
            boot_id,
            tasks: BTreeMap::new(),
            task_count: 0,
            pace: Pace::default(),
        }
    }

    /// The BOOTID of the messages.
    pub fn boot_id(&self) -> BootId {
        self.boot_id
    }

    /// Begins a round of sets on a link, leaving off any round under way.
    pub fn handle_link_up(&mut self, now: Time, key: LinkKey, rng: &mut Rng) {
        self.drop_tasks(key);
        let delay = Duration::from_micros(rng.random_range(0..=FIRST_DELAY.as_micros() as u64));
        let left = limit::SSDP_REPEATS - 1;
        self.schedule(now + delay, Task::Sets { key, left });
    }

    /// Says farewell on a link that goes: its socket may still work.
    pub fn handle_link_down(&mut self, key: LinkKey, out: &mut VecDeque<Transmit>) {
        self.drop_tasks(key);
        for (nt, usn) in &self.profile.items {
            let message = ByeBye {
                host: plain(key.destination()),
                nt: nt.clone(),
                usn: usn.clone(),
                counters: self.counters(),
                vendor: self.profile.vendor.clone(),
            };
            out.push_back(Transmit::new(key, key.destination(), message.emit()));
        }
    }

    /// Takes a new BOOTID, telling the links that stay (UDA 2.0 §1.2.4).
    pub fn handle_boot_id(
        &mut self,
        next: BootId,
        links: &Links,
        stays: &[LinkKey],
        out: &mut VecDeque<Transmit>,
    ) {
        for key in stays {
            let Some(link) = links.get(key) else { continue };
            for (nt, usn) in &self.profile.items {
                let message = Update {
                    host: plain(key.destination()),
                    location: self.location(link),
                    nt: nt.clone(),
                    usn: usn.clone(),
                    counters: self.counters(),
                    next_boot_id: next,
                    search_port: link.search_port,
                    vendor: self.profile.vendor.clone(),
                };
                out.push_back(Transmit::new(*key, key.destination(), message.emit()));
            }
        }
        self.boot_id = next;
    }

    /// Answers a search: at once when it came to our own address, else after a random part of MX.
    ///
    /// Silent when nothing matches, a multicast search has no MX, or the source asks too much.
    pub fn handle_search(
        &mut self,
        now: Time,
        (key, via): (LinkKey, Via),
        from: SocketAddr,
        search: &Search,
        rng: &mut Rng,
    ) {
        let delay = match (via, search.mx) {
            (Via::Unicast, _) => Duration::ZERO,
            (Via::Multicast, None) => return,
            (Via::Multicast, Some(mx)) => {
                let seconds = u64::from(mx.get()).min(limit::SSDP_MX_SECONDS_MAX);
                Duration::from_micros(rng.random_range(0..=seconds * 1_000_000))
            }
        };
        let items: Vec<_> = self
            .profile
            .items
            .iter()
            .filter_map(|item| matching(item, &search.st))
            .collect();
        let answers = u32::try_from(items.len()).expect("the items of a description are few");
        if answers > 0 && self.pace.admits(now, from, answers) {
            let to = from;
            self.schedule(now + delay, Task::Answer { key, to, items });
        }
    }

    /// Carries out what is due.
    pub fn handle_timeout(
        &mut self,
        now: Time,
        links: &Links,
        rng: &mut Rng,
        out: &mut VecDeque<Transmit>,
    ) {
        while let Some(entry) = self.tasks.first_entry() {
            if entry.key().0 > now {
                return;
            }
            match entry.remove() {
                Task::Sets { key, left } => self.send_set(now, key, left, links, rng, out),
                Task::Answer { key, to, items } => self.send_answers(key, to, items, links, out),
            }
        }
    }

    /// The next moment something is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.tasks.first_key_value().map(|((time, _), _)| *time)
    }

    fn send_set(
        &mut self,
        now: Time,
        key: LinkKey,
        left: u32,
        links: &Links,
        rng: &mut Rng,
        out: &mut VecDeque<Transmit>,
    ) {
        let link = links.get(&key).expect("a link that goes takes its tasks");
        for (nt, usn) in &self.profile.items {
            let message = Alive {
                host: plain(key.destination()),
                max_age: limit::SSDP_MAX_AGE_SECONDS,
                location: self.location(link),
                nt: nt.clone(),
                server: Some(self.profile.server.clone()),
                usn: usn.clone(),
                counters: self.counters(),
                search_port: link.search_port,
                vendor: self.profile.vendor.clone(),
            };
            out.push_back(Transmit::new(key, key.destination(), message.emit()));
        }
        let (delay, left) = match left {
            0 => {
                let half = u64::from(limit::SSDP_MAX_AGE_SECONDS) * 1_000 / 2;
                (rng.random_range(half / 2..half), limit::SSDP_REPEATS - 1)
            }
            _ => (rng.random_range(REPEAT_DELAY), left - 1),
        };
        self.schedule(now + Duration::from_millis(delay), Task::Sets { key, left });
    }

    fn send_answers(
        &mut self,
        key: LinkKey,
        to: SocketAddr,
        items: Vec<(Target, Usn)>,
        links: &Links,
        out: &mut VecDeque<Transmit>,
    ) {
        let link = links.get(&key).expect("a link that goes takes its tasks");
        for (st, usn) in items {
            let message = Answer {
                max_age: limit::SSDP_MAX_AGE_SECONDS,
                location: self.location(link),
                server: Some(self.profile.server.clone()),
                st,
                usn,
                counters: self.counters(),
                search_port: link.search_port,
                vendor: self.profile.vendor.clone(),
            };
            out.push_back(Transmit::new(key, to, message.emit()));
        }
    }

    fn location(&self, link: &Link) -> Location {
        let address = SocketAddr::new(link.address, self.profile.http_port);
        Location::new(address, &self.profile.path)
    }

    fn counters(&self) -> Counters {
        Counters {
            boot_id: Some(self.boot_id),
            config_id: Some(self.profile.config_id),
        }
    }

    fn schedule(&mut self, at: Time, task: Task) {
        self.task_count += 1;
        self.tasks.insert((at, self.task_count), task);
    }

    fn drop_tasks(&mut self, gone: LinkKey) {
        self.tasks.retain(|_, task| match task {
            Task::Sets { key, .. } | Task::Answer { key, .. } => *key != gone,
        });
    }

    /// Panics when a link has not exactly one round of sets, or more waits than the pace allows.
    pub fn check_invariants(&self, links: &Links) {
        for key in links.keys() {
            let rounds = self
                .tasks
                .values()
                .filter(|task| matches!(task, Task::Sets { key: of, .. } if of == key));
            assert_eq!(rounds.count(), 1, "a link has one round of sets");
        }
        let seconds_max = limit::SSDP_MX_SECONDS_MAX as usize + 1;
        let answers_max = limit::SSDP_ANSWERS_MAX as usize * seconds_max;
        assert!(self.tasks.len() <= links.len() + answers_max);
    }
}

/// HOST never shows a zone.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

/// The answer that an announced thing gives to a search: a type of a lower version than ours is
/// answered with the version asked for (UDA 2.0 §1.3.3).
fn matching((target, usn): &(Target, Usn), st: &Target) -> Option<(Target, Usn)> {
    let urn = |ours: &URN, asked: &URN| {
        let same = matches!(
            (ours, asked),
            (URN::Device(..), URN::Device(..)) | (URN::Service(..), URN::Service(..))
        );
        same && ours.domain_name() == asked.domain_name()
            && ours.typ() == asked.typ()
            && (1..=ours.version()).contains(&asked.version())
    };
    let matches = match (target.kind(), st.kind()) {
        (_, SearchTarget::All) => return Some((target.clone(), usn.clone())),
        (SearchTarget::RootDevice, SearchTarget::RootDevice) => true,
        (SearchTarget::UUID(ours), SearchTarget::UUID(asked)) => ours.eq_ignore_ascii_case(asked),
        (SearchTarget::URN(ours), SearchTarget::URN(asked)) => urn(ours, asked),
        _ => false,
    };
    matches.then(|| (st.clone(), Usn::new(usn.uuid(), st)))
}

/// Counts the answers of the current second, in all and for each source.
#[derive(Debug, Default)]
struct Pace {
    second: u64,
    total: u32,
    sources: BTreeMap<SocketAddr, u32>,
}

impl Pace {
    /// Counts the answers unless they would pass a bound; then none of them is sent.
    fn admits(&mut self, now: Time, from: SocketAddr, answers: u32) -> bool {
        let second = now.0 / 1_000_000;
        if second != self.second {
            *self = Pace {
                second,
                ..Pace::default()
            };
        }
        // Programs of this host share one address; each counts for itself.
        let source = match from.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => from,
            ip => SocketAddr::new(ip, 0),
        };
        let used = self.sources.get(&source).copied().unwrap_or_default();
        let admitted = used + answers <= limit::SSDP_ANSWERS_PER_SOURCE_MAX
            && self.total + answers <= limit::SSDP_ANSWERS_MAX;
        if admitted {
            self.total += answers;
            self.sources.insert(source, used + answers);
        }
        admitted
    }
}
