//! The boards heard: who, where, until when. Bounded, whatever is sent to it.
//!
//! Does not decide who belongs to the ring: it only hints. An entry begins with the first alive,
//! update or answer of a board on a link; is renewed by each later one; is marked by a farewell
//! but kept (a farewell is forgeable); is probed when its advertisement expires and dropped when
//! the probe is not answered. When the cache is full the longest silent entry of the source with
//! most entries gives way, so that one forger displaces only its own.
//! Source: UDA 2.0 §1.2.1, §1.2.2 (CACHE-CONTROL).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::link::LinkKey;
use crate::base::endpoint::Name;
use crate::base::hint::{Hint, HintKind, HintMac};
use crate::base::id::Id;
use crate::base::limit;
use crate::base::time::Time;
use crate::wire::ssdp::BootId;

/// What one message of a board said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Whose message.
    pub node: Id,
    /// Its cluster.
    pub cluster: Name,
    /// The count of its starts.
    pub boot: Option<u64>,
    /// What it says of its key.
    pub mac: Option<HintMac>,
    /// Its BOOTID from here on.
    pub boot_id: Option<BootId>,
    /// The address of its LOCATION.
    pub endpoint: SocketAddr,
    /// Where it is searched for by unicast.
    pub search: SocketAddr,
    /// Seconds for which this holds; none: as long as what was said before.
    pub max_age: Option<u32>,
}

/// A board as the cache knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it said last.
    pub sighting: Sighting,
    /// When.
    pub last_seen: Time,
    /// It said farewell and nothing since.
    pub farewell: bool,
    expires: Time,
    probed: bool,
    hinted: Time,
}

/// The machine; see the file's header.
#[derive(Debug, Default)]
pub struct Cache {
    entries: BTreeMap<(LinkKey, Id), Entry>,
    per_source: BTreeMap<IpAddr, usize>,
}

impl Cache {
    /// Every entry, in order.
    pub fn entries(&self) -> impl Iterator<Item = (LinkKey, &Entry)> {
        self.entries.iter().map(|((key, _), entry)| (*key, entry))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Remembers what was said; a hint comes out when it is news, or the last one is a while ago.
    pub fn handle_sighting(&mut self, now: Time, key: LinkKey, seen: Sighting) -> Option<Hint> {
        let mut seen = seen;
        let place = (key, seen.node);
        let known = self.entries.get(&place);
        seen.boot_id = seen
            .boot_id
            .or_else(|| known.and_then(|entry| entry.sighting.boot_id));
        let expires = match (seen.max_age, known) {
            (Some(seconds), _) => {
                let seconds = seconds.clamp(1, limit::SSDP_MAX_AGE_SECONDS_MAX);
                now + std::time::Duration::from_secs(u64::from(seconds))
            }
            (None, Some(entry)) => entry.expires,
            // An update of a board never heard of says nothing about how long it holds.
            (None, None) => return None,
        };
        let news = known.is_none_or(|entry| {
            entry.farewell
                || entry.sighting.endpoint != seen.endpoint
                || entry.sighting.cluster != seen.cluster
                || entry.sighting.boot != seen.boot
                || entry.sighting.boot_id != seen.boot_id
                || now.since(entry.hinted) >= limit::SSDP_HINT_INTERVAL_MIN
        });
        let hinted = match known {
            Some(entry) if !news => entry.hinted,
            _ => now,
        };
        let hint = news.then(|| hint(&seen, HintKind::Alive));
        self.remove(place);
        if self.entries.len() == limit::SSDP_CACHE_MAX {
            self.make_room();
        }
        *self.per_source.entry(seen.endpoint.ip()).or_default() += 1;
        let entry = Entry {
            sighting: seen,
            last_seen: now,
            farewell: false,
            expires,
            probed: false,
            hinted,
        };
        self.entries.insert(place, entry);
        hint
    }

    /// Marks a farewell; a hint comes out for the first one, when it came from the board's own
    /// address.
    pub fn handle_farewell(&mut self, key: LinkKey, node: Id, from: IpAddr) -> Option<Hint> {
        let entry = self.entries.get_mut(&(key, node))?;
        if entry.farewell || entry.sighting.endpoint.ip() != from {
            return None;
        }
        entry.farewell = true;
        Some(hint(&entry.sighting, HintKind::ByeBye))
    }

    /// Forgets what was heard on a link that goes.
    pub fn handle_link_down(&mut self, gone: LinkKey) {
        let places: Vec<_> = self.entries.keys().copied().collect();
        for place in places.into_iter().filter(|(key, _)| *key == gone) {
            self.remove(place);
        }
    }

    /// Drops what did not answer its probe; returns whom to probe.
    pub fn handle_timeout(&mut self, now: Time) -> Vec<(LinkKey, SocketAddr)> {
        let mut probes = Vec::new();
        let mut gone = Vec::new();
        for (place, entry) in &mut self.entries {
            if entry.expires > now {
                continue;
            }
            if entry.probed {
                gone.push(*place);
            } else {
                entry.probed = true;
                entry.expires = now + limit::SSDP_PROBE_TIME_MAX;
                probes.push((place.0, entry.sighting.search));
            }
        }
        gone.into_iter().for_each(|place| self.remove(place));
        probes
    }

    /// The next moment an entry expires.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.entries.values().map(|entry| entry.expires).min()
    }

    fn make_room(&mut self) {
        let crowd = self.per_source.iter().max_by_key(|(_, count)| **count);
        let (source, _) = crowd.expect("a full cache has a source");
        let oldest = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.sighting.endpoint.ip() == *source)
            .min_by_key(|(_, entry)| entry.last_seen);
        let (place, _) = oldest.expect("a source that is counted has entries");
        let place = *place;
        self.remove(place);
    }

    fn remove(&mut self, place: (LinkKey, Id)) {
        let Some(entry) = self.entries.remove(&place) else {
            return;
        };
        let source = entry.sighting.endpoint.ip();
        let count = self.per_source.get_mut(&source);
        let count = count.expect("each entry is counted for its source");
        *count -= 1;
        if *count == 0 {
            self.per_source.remove(&source);
        }
    }

    /// Panics when the bound is passed or the count of a source is wrong.
    pub fn check_invariants(&self) {
        assert!(self.entries.len() <= limit::SSDP_CACHE_MAX);
        assert_eq!(self.per_source.values().sum::<usize>(), self.entries.len());
        assert!(self.per_source.values().all(|count| *count > 0));
    }
}

fn hint(seen: &Sighting, kind: HintKind) -> Hint {
    Hint {
        endpoint: seen.endpoint,
        cluster: seen.cluster.clone(),
        node: seen.node,
        boot: seen.boot,
        mac: seen.mac,
        kind,
    }
}
