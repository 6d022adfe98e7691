//! Looks for boards: a search on each link when it comes up, when asked to, and now and then.
//!
//! Does not judge answers; that is the cache's. A round is three searches a few hundred ms apart;
//! after it a single search at long, random intervals finds boards whose advertisements were
//! lost (two LANs joined later, a switch that forgot the group). The interval grows with the
//! number of boards heard, so that answers on the LAN grow no faster than boards.
//! Source: UDA 2.0 §1.3.2.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::Transmit;
use super::link::{LinkKey, Links};
use crate::base::limit;
use crate::base::rng::{Rng, RngExt};
use crate::base::time::Time;
use crate::wire::description::RING_NODE;
use crate::wire::ssdp::{Search, Target, Text};

/// Between the searches of one round, milliseconds.
const REPEAT_DELAY: std::ops::Range<u64> = 250..500;
/// Boards whose answers fit one second of MX.
const BOARDS_PER_MX_SECOND: usize = 128;

/// The machine; see the file's header.
#[derive(Debug)]
pub struct Searcher {
    friendly_name: Text,
    user_agent: Text,
    /// When each link searches next, and how many of its round are left.
    due: BTreeMap<LinkKey, (Time, u32)>,
}

impl Searcher {
    /// Searches under a friendly name; silent until a link comes.
    pub fn new(friendly_name: Text, user_agent: Text) -> Self {
        Searcher {
            friendly_name,
            user_agent,
            due: BTreeMap::new(),
        }
    }

    /// Begins a round on a link.
    pub fn handle_link_up(&mut self, now: Time, key: LinkKey) {
        self.due.insert(key, (now, limit::SSDP_REPEATS - 1));
    }

    /// Leaves a link.
    pub fn handle_link_down(&mut self, key: LinkKey) {
        self.due.remove(&key);
    }

    /// Begins a round on every link.
    pub fn handle_search(&mut self, now: Time) {
        for due in self.due.values_mut() {
            *due = (now, limit::SSDP_REPEATS - 1);
        }
    }

    /// Asks one board, which answers at once (UDA 2.0 §1.3.2, unicast).
    pub fn probe(&self, key: LinkKey, to: SocketAddr, out: &mut VecDeque<Transmit>) {
        let message = self.message(SocketAddr::new(to.ip(), to.port()), None);
        out.push_back(Transmit::new(key, to, message.emit()));
    }

    /// Carries out what is due.
    pub fn handle_timeout(
        &mut self,
        now: Time,
        links: &Links,
        heard: usize,
        rng: &mut Rng,
        out: &mut VecDeque<Transmit>,
    ) {
        let mx_max = limit::SSDP_MX_SECONDS_MAX as usize;
        let mx = (heard / BOARDS_PER_MX_SECOND + 1).min(mx_max) as u32;
        let mut sent = Vec::new();
        for (key, (time, left)) in &mut self.due {
            if *time > now {
                continue;
            }
            if links.get(key).is_some_and(|link| link.searches) {
                sent.push(*key);
            }
            (*time, *left) = match left.checked_sub(1) {
                Some(left) => {
                    let delay = Duration::from_millis(rng.random_range(REPEAT_DELAY));
                    (now + delay, left)
                }
                None => (now + interval(heard, rng), 0),
            };
        }
        for key in sent {
            let to = key.destination();
            let host = SocketAddr::new(to.ip(), to.port());
            let message = self.message(host, NonZeroU32::new(mx));
            out.push_back(Transmit::new(key, to, message.emit()));
        }
    }

    /// The next moment something is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due.values().map(|(time, _)| *time).min()
    }

    fn message(&self, host: SocketAddr, mx: Option<NonZeroU32>) -> Search {
        Search {
            host: Some(host),
            mx,
            st: Target::urn(RING_NODE),
            friendly_name: Some(self.friendly_name.clone()),
            user_agent: Some(self.user_agent.clone()),
        }
    }

    /// Panics when a link that is there never searches, or the other way round.
    pub fn check_invariants(&self, links: &Links) {
        assert!(
            self.due.keys().eq(links.keys()),
            "each link searches, no other"
        );
    }
}

/// How long an idle board waits before it searches again, `heard` boards being known: between
/// half and all of a second for each board, within bounds.
pub fn interval(heard: usize, rng: &mut Rng) -> Duration {
    let seconds = Duration::from_secs(heard as u64).clamp(
        limit::SSDP_SEARCH_INTERVAL_MIN,
        limit::SSDP_SEARCH_INTERVAL_MAX,
    );
    let ms = seconds.as_millis() as u64;
    Duration::from_millis(rng.random_range(ms / 2..ms))
}
