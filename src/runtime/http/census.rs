//! How many connections each source has, and strangers have in all; and how often strangers shake
//! hands, which costs more than anything else that a stranger can ask for.
//!
//! Loopback and members of the ring are counted for nothing. A place is given back when it is
//! dropped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::endpoint::IpAddr;
use crate::base::limit;

use super::Options;

/// Tells whether an address is that of a member of the ring.
pub type MemberSource = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The count.
pub(super) struct Census {
    is_member: MemberSource,
    loopback_is_exempt: bool,
    per_source_max: usize,
    in_all_max: usize,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    of: HashMap<IpAddr, usize>,
    in_all: usize,
    /// When the second began in which handshakes are counted, and how many there were.
    handshakes: Option<(Instant, u32)>,
}

/// A connection's place; none is held by an exempt source.
pub(super) struct Place(Option<(Arc<Mutex<Counts>>, IpAddr)>);

impl Census {
    pub(super) fn new(options: &Options) -> Self {
        Census {
            is_member: options.is_member.clone(),
            loopback_is_exempt: options.loopback_is_exempt,
            per_source_max: options.connections_per_source_max,
            in_all_max: options.connections_max,
            counts: Arc::default(),
        }
    }

    fn exempts(&self, source: IpAddr) -> bool {
        (self.loopback_is_exempt && source.is_loopback()) || (self.is_member)(source)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That source may shake hands at `now`: strangers may so many times a second in all.
    pub(super) fn admit_handshake(&self, now: Instant, source: IpAddr) -> bool {
        if self.exempts(source.to_canonical()) {
            return true;
        }
        let mut counts = self.counts();
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
        let mut counts = self.counts();
        if counts.in_all >= self.in_all_max {
            return None;
        }
        let of_source = counts.of.entry(source).or_default();
        if *of_source >= self.per_source_max {
            return None;
        }
        *of_source += 1;
        counts.in_all += 1;
        Some(Place(Some((self.counts.clone(), source))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((counts, source)) = &self.0 else {
            return;
        };
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.in_all -= 1;
        if let Entry::Occupied(mut of_source) = counts.of.entry(*source) {
            *of_source.get_mut() -= 1;
            if *of_source.get() == 0 {
                of_source.remove();
            }
        }
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
        let _second = census.admit(address(1)).unwrap();
        assert!(
            census.admit(address(1)).is_none(),
            "two are the most of one source"
        );
        let _third = census.admit(address(2)).unwrap();
        assert!(
            census.admit(address(3)).is_none(),
            "three are the most in all"
        );
        assert!(census.admit(address(9)).is_some(), "a member is exempt");
        assert!(census.admit(Ipv4Addr::LOCALHOST.into()).is_some());
        drop(first);
        assert!(census.admit(address(3)).is_some());
        drop((_second, _third));
        assert!(
            census.counts.lock().unwrap().of.is_empty(),
            "sources are forgotten"
        );
    }
}
