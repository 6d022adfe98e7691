//! How many connections each source has, and strangers have in all; and how often strangers shake
//! hands, which costs more than anything else that a stranger can ask for.
//!
//! Loopback and members of the ring are counted for nothing. A place is given back when it is
//! dropped. When all places are taken, a newcomer gets that of a connection which asks for nothing
//! at the moment (it has not sent its first request, or nothing since the last answer): the oldest
//! of the source that has the most. So whoever holds connections keeps nobody else out.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::base::endpoint::IpAddr;
use crate::base::limit;

use super::Options;

/// Tells whether an address is that of a member of the ring.
pub type MemberSource = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The strangers that are connected: one count for all listeners of a board.
#[derive(Clone, Default)]
pub struct Strangers(Arc<Mutex<Counts>>);

/// The count, and who is counted.
pub(super) struct Census {
    is_member: MemberSource,
    loopback_is_exempt: bool,
    per_source_max: usize,
    in_all_max: usize,
    strangers: Strangers,
}

#[derive(Default)]
struct Counts {
    of: HashMap<IpAddr, usize>,
    seats: BTreeMap<u64, Seat>,
    next: u64,
    /// When the second began in which handshakes are counted, and how many there were.
    handshakes: Option<(Instant, u32)>,
}

/// One counted connection.
struct Seat {
    source: IpAddr,
    /// Requests of it that are being answered.
    busy: u32,
    leave: Arc<Notify>,
}

/// A connection's place; an exempt source holds none. Dropping it gives it back.
pub struct Place(Option<Held>);

struct Held {
    strangers: Strangers,
    number: u64,
    leave: Arc<Notify>,
}

impl Strangers {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn remove(&mut self, number: u64) -> Option<Seat> {
        let seat = self.seats.remove(&number)?;
        if let Entry::Occupied(mut of_source) = self.of.entry(seat.source) {
            *of_source.get_mut() -= 1;
            if *of_source.get() == 0 {
                of_source.remove();
            }
        }
        Some(seat)
    }

    /// Sends one connection away that asks for nothing at the moment: the oldest of the source
    /// that has the most. False: all of them ask for something.
    fn make_room(&mut self) -> bool {
        let of_source = |seat: &Seat| self.of.get(&seat.source).copied().unwrap_or_default();
        let idle = || self.seats.iter().filter(|(_, seat)| seat.busy == 0);
        // Usually the first that is looked at: under a flood this runs for each connection.
        let most = self.of.values().copied().max().unwrap_or_default();
        let first = idle().find(|(_, seat)| of_source(seat) == most);
        let found = first
            .or_else(|| idle().max_by_key(|(number, seat)| (of_source(seat), Reverse(**number))));
        let Some(number) = found.map(|(number, _)| *number) else {
            return false;
        };
        if let Some(seat) = self.remove(number) {
            seat.leave.notify_one();
        }
        true
    }
}

impl Census {
    pub(super) fn new(options: &Options) -> Self {
        Census {
            is_member: options.is_member.clone(),
            loopback_is_exempt: options.loopback_is_exempt,
            per_source_max: options.connections_per_source_max,
            in_all_max: options.connections_max,
            strangers: options.strangers.clone(),
        }
    }

    fn exempts(&self, source: IpAddr) -> bool {
        (self.loopback_is_exempt && source.is_loopback()) || (self.is_member)(source)
    }

    /// That source may shake hands at `now`: strangers may so many times a second in all.
    pub(super) fn admit_handshake(&self, now: Instant, source: IpAddr) -> bool {
        if self.exempts(source.to_canonical()) {
            return true;
        }
        let mut counts = self.strangers.counts();
        let (second, number) = counts.handshakes.get_or_insert((now, 0));
        if now.duration_since(*second) >= Duration::from_secs(1) {
            (*second, *number) = (now, 0);
        }
        *number += 1;
        *number <= limit::TLS_HANDSHAKES_MAX
    }

    /// A place for one more connection of that source, if it may have one.
    pub(super) fn admit(&self, source: IpAddr) -> Option<Place> {
        let source = source.to_canonical();
        if self.exempts(source) {
            return Some(Place(None));
        }
        let mut counts = self.strangers.counts();
        let of_source = counts.of.get(&source).copied().unwrap_or_default();
        if of_source >= self.per_source_max {
            return None;
        }
        if counts.seats.len() >= self.in_all_max && !counts.make_room() {
            return None;
        }
        *counts.of.entry(source).or_default() += 1;
        counts.next += 1;
        let (number, leave) = (counts.next, Arc::new(Notify::new()));
        let seat = Seat {
            source,
            busy: 0,
            leave: leave.clone(),
        };
        counts.seats.insert(number, seat);
        let strangers = self.strangers.clone();
        Some(Place(Some(Held {
            strangers,
            number,
            leave,
        })))
    }
}

impl Place {
    /// The place of a connection that nobody counts.
    pub fn exempt() -> Self {
        Place(None)
    }

    /// It is a stranger's.
    pub(super) fn is_counted(&self) -> bool {
        self.0.is_some()
    }

    /// Returns when the connection has to make room for another.
    pub(super) async fn leave(&self) {
        match &self.0 {
            Some(held) => held.leave.notified().await,
            None => std::future::pending().await,
        }
    }

    /// The connection makes room for nobody until what is returned is dropped.
    pub fn busy(&self) -> Busy<'_> {
        self.add_busy(1);
        Busy(self)
    }

    fn add_busy(&self, change: i32) {
        if let Some(held) = &self.0
            && let Some(seat) = held.strangers.counts().seats.get_mut(&held.number)
        {
            seat.busy = seat.busy.saturating_add_signed(change);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(held) = &self.0 {
            held.strangers.counts().remove(held.number);
        }
    }
}

/// A request that is being answered.
pub struct Busy<'a>(&'a Place);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.add_busy(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn strangers_shake_hands_so_often_a_second_and_members_at_will() {
        let census = Census::new(&Options::new(|source| source == address(9)));
        let start = Instant::now();
        let count = |now, last| {
            let tries = (0..1_000).filter(|_| census.admit_handshake(now, address(last)));
            tries.count()
        };
        assert_eq!(count(start, 1), 64);
        assert_eq!((count(start, 2), count(start, 9)), (0, 1_000));
        assert_eq!(count(start + Duration::from_secs(1), 2), 64);
    }

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn a_source_and_all_strangers_together_have_their_limits() {
        let mut options = Options::new(|source| source == address(9));
        (options.connections_per_source_max, options.connections_max) = (2, 3);
        let census = Census::new(&options);
        let first = census.admit(address(1)).unwrap();
        let second = census.admit(address(1)).unwrap();
        assert!(
            census.admit(address(1)).is_none(),
            "two are the most of one source"
        );
        let third = census.admit(address(2)).unwrap();
        let all_ask = (first.busy(), second.busy(), third.busy());
        assert!(
            census.admit(address(3)).is_none(),
            "three are the most in all"
        );
        drop(all_ask);
        assert!(census.admit(address(9)).is_some(), "a member is exempt");
        assert!(census.admit(Ipv4Addr::LOCALHOST.into()).is_some());
        drop(first);
        assert!(census.admit(address(3)).is_some());
        drop((second, third));
        assert!(
            census.strangers.counts().of.is_empty(),
            "sources are forgotten"
        );
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_idle_connection_of_whoever_has_the_most() {
        let mut options = Options::new(|_| false);
        options.connections_max = 4;
        let listeners = [Census::new(&options), Census::new(&options)];
        let of_honest = listeners[0].admit(address(1)).unwrap();
        let idle: Vec<_> = (0..3).map(|_| listeners[1].admit(address(2))).collect();
        let asks = idle[0].as_ref().unwrap().busy();
        let newcomer = listeners[1].admit(address(3)).unwrap();
        let left = |place: &Place| {
            let numbers: Vec<_> = options.strangers.counts().seats.keys().copied().collect();
            !numbers.contains(&place.0.as_ref().unwrap().number)
        };
        let left_of = |place: &Option<Place>| left(place.as_ref().unwrap());
        assert!(left_of(&idle[1]), "the oldest that asks for nothing");
        assert!(!left_of(&idle[0]) && !left_of(&idle[2]) && !left(&of_honest));
        drop(idle[1].as_ref().unwrap().busy());
        drop(asks);
        drop(idle);
        assert_eq!(options.strangers.counts().of[&address(1)], 1);
        assert_eq!(options.strangers.counts().seats.len(), 2);
        drop((of_honest, newcomer));
        assert!(options.strangers.counts().of.is_empty());
    }

    #[tokio::test]
    async fn who_has_to_leave_is_told() {
        let mut options = Options::new(|_| false);
        options.connections_max = 1;
        let census = Census::new(&options);
        let first = census.admit(address(1)).unwrap();
        let _second = census.admit(address(1)).unwrap();
        first.leave().await;
    }
}
