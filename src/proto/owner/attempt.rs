//! How often passwords and codes may be tried: a few at once, then one in an interval, of each
//! source and in all.
//!
//! Each bucket is one moment: that at which it is full again (the generic cell rate algorithm). A
//! source is an IPv4 address or the network of an IPv6 address, of which one host has 2^64.
//! Loopback has a bucket of its own and none of the common one, so that strangers cannot shut out
//! the owner who sits at the board.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use crate::base::endpoint::IpAddr;
use crate::base::limit;
use crate::base::time::Time;

/// The buckets.
#[derive(Debug, Default)]
pub struct Attempts {
    full_at: BTreeMap<IpAddr, Time>,
    all_full_at: Time,
}

/// So many at once, then one in an interval.
struct Rate {
    burst: u32,
    interval: Duration,
}

const OF_SOURCE: Rate = Rate {
    burst: limit::OWNER_ATTEMPTS_PER_SOURCE_MAX,
    interval: limit::OWNER_ATTEMPT_INTERVAL_PER_SOURCE,
};
const OF_ALL: Rate = Rate {
    burst: limit::OWNER_ATTEMPTS_MAX,
    interval: limit::OWNER_ATTEMPT_INTERVAL,
};

impl Rate {
    /// How long until there is one more attempt.
    fn wait(&self, now: Time, full_at: Time) -> Duration {
        let most = self.interval * (self.burst - 1);
        full_at.since(now).saturating_sub(most)
    }

    fn take(&self, now: Time, full_at: Time) -> Time {
        full_at.max(now) + self.interval
    }
}

impl Attempts {
    /// Takes one attempt.
    ///
    /// # Errors
    /// How long to wait for the next; nothing was taken.
    pub fn take(&mut self, now: Time, source: IpAddr) -> Result<(), Duration> {
        let source = network(source);
        let known = self.full_at.get(&source).copied().unwrap_or_default();
        let mut wait = OF_SOURCE.wait(now, known);
        if !source.is_loopback() {
            wait = wait.max(OF_ALL.wait(now, self.all_full_at));
        }
        if !wait.is_zero() {
            return Err(wait);
        }
        if !source.is_loopback() {
            self.all_full_at = OF_ALL.take(now, self.all_full_at);
        }
        self.full_at.insert(source, OF_SOURCE.take(now, known));
        if self.full_at.len() > limit::OWNER_SOURCES_MAX {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() > limit::OWNER_SOURCES_MAX {
            // So many in so short a time: the common bucket holds them.
            let soonest = self.full_at.iter().min_by_key(|(_, full_at)| **full_at);
            if let Some(source) = soonest.map(|(source, _)| *source) {
                self.full_at.remove(&source);
            }
        }
        Ok(())
    }

    /// A source that has shown that it knows the password is forgiven what it mistyped.
    pub fn forgive(&mut self, source: IpAddr) {
        self.full_at.remove(&network(source));
    }
}

fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(attempts: &mut Attempts, seconds: u64, source: &str) -> usize {
        let now = Time::ZERO + Duration::from_secs(seconds);
        let source = source.parse().unwrap();
        (0..100)
            .filter(|_| attempts.take(now, source).is_ok())
            .count()
    }

    #[test]
    fn a_source_has_a_few_at_once_then_one_in_its_interval() {
        let mut attempts = Attempts::default();
        assert_eq!(taken(&mut attempts, 0, "192.0.2.1"), 5);
        assert_eq!(taken(&mut attempts, 19, "192.0.2.1"), 0);
        assert_eq!(taken(&mut attempts, 20, "192.0.2.1"), 1);
        let now = Time::ZERO + Duration::from_secs(20);
        let wait = attempts.take(now, "192.0.2.1".parse().unwrap());
        assert_eq!(wait, Err(Duration::from_secs(20)));
        assert_eq!(taken(&mut attempts, 1_000, "192.0.2.1"), 5);
    }

    #[test]
    fn all_strangers_share_a_bucket_that_the_board_itself_does_not_use() {
        let mut attempts = Attempts::default();
        let sources = (1..50).map(|last| format!("192.0.2.{last}"));
        let all: usize = sources.map(|it| taken(&mut attempts, 0, &it)).sum();
        assert_eq!(all, 10);
        assert_eq!(taken(&mut attempts, 0, "127.0.0.1"), 5);
        assert_eq!(taken(&mut attempts, 5, "192.0.2.99"), 1);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let mut attempts = Attempts::default();
        assert_eq!(taken(&mut attempts, 0, "2001:db8::1"), 5);
        assert_eq!(taken(&mut attempts, 0, "2001:db8::ffff:1"), 0);
        assert_eq!(taken(&mut attempts, 0, "2001:db8:0:1::1"), 5);
    }

    #[test]
    fn sources_are_bounded() {
        let mut attempts = Attempts::default();
        for number in 0..2_000u64 {
            // As fast as the common bucket allows.
            let now = Time::ZERO + Duration::from_secs(5 * number);
            let [high, low] = (number as u16).to_be_bytes();
            let source = IpAddr::from([10, 0, high, low]);
            for _ in 0..5 {
                let _ = attempts.take(now, source);
            }
            assert!(attempts.full_at.len() <= limit::OWNER_SOURCES_MAX);
        }
    }
}
