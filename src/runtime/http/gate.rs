//! Whose HTTPU requests are answered: of strangers only those on a link of this board, and so many
//! a second of one source and in all.
//!
//! The source of a datagram can be forged: without a bound a board could be made to send to a
//! victim. What is on a link is told by the node, which knows when an interface changes.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::endpoint::IpAddr;
use crate::base::limit;
use crate::proto::ssdp::link::Prefix;

use super::MemberSource;

/// Counts anew each second. Its table is bounded by what it admits in one.
pub struct Gate {
    is_member: MemberSource,
    on_link: Vec<Prefix>,
    second: Instant,
    of: HashMap<IpAddr, u32>,
    in_all: u32,
}

impl Gate {
    /// A gate that members of the ring and loopback always pass, and nobody else until
    /// [`Gate::set_on_link`].
    pub fn new(is_member: MemberSource) -> Self {
        Gate {
            is_member,
            on_link: Vec::new(),
            second: Instant::now(),
            of: HashMap::new(),
            in_all: 0,
        }
    }

    /// The addresses on this board's links are these; to be told at each change.
    pub fn set_on_link(&mut self, prefixes: Vec<Prefix>) {
        self.on_link = prefixes;
    }

    /// A datagram of that source, received at `now`, is to be read and answered.
    pub fn admit(&mut self, now: Instant, source: IpAddr) -> bool {
        let source = source.to_canonical();
        if source.is_loopback() || (self.is_member)(source) {
            return true;
        }
        if !self.on_link.iter().any(|prefix| prefix.contains(source)) {
            return false;
        }
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.of.clear();
            self.in_all = 0;
        }
        if self.in_all >= limit::HTTPU_ANSWERS_MAX {
            return false;
        }
        let of_source = self.of.entry(source).or_default();
        if *of_source >= limit::HTTPU_ANSWERS_PER_SOURCE_MAX {
            return false;
        }
        *of_source += 1;
        self.in_all += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn a_source_and_all_strangers_are_answered_so_often_a_second() {
        let mut gate = Gate::new(Arc::new(|source| source == address(200)));
        gate.set_on_link(vec![Prefix {
            address: address(9),
            bits: 24,
        }]);
        let start = Instant::now();
        let admitted = |gate: &mut Gate, last: u8, now| {
            (0..2_000)
                .filter(|_| gate.admit(now, address(last)))
                .count()
        };
        assert_eq!(admitted(&mut gate, 1, start), 128);
        let others: usize = (2..20).map(|last| admitted(&mut gate, last, start)).sum();
        assert_eq!(others, 1_024 - 128);
        assert!(gate.of.len() <= 20);
        assert_eq!(admitted(&mut gate, 200, start), 2_000, "a member is exempt");
        let next = start + Duration::from_secs(1);
        assert_eq!(admitted(&mut gate, 1, next), 128);
    }

    #[test]
    fn strangers_beyond_the_links_are_not_answered() {
        let far = IpAddr::from(Ipv4Addr::new(198, 51, 100, 1));
        let mapped = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
        let mut gate = Gate::new(Arc::new(|source| source == address(200)));
        let now = Instant::now();
        assert!(!gate.admit(now, address(1)), "no link is known yet");
        gate.set_on_link(vec![Prefix {
            address: address(9),
            bits: 25,
        }]);
        assert!(gate.admit(now, address(1)) && gate.admit(now, mapped));
        assert!(!gate.admit(now, far) && !gate.admit(now, address(130)));
        assert!(gate.admit(now, address(200)), "a member beyond a router");
        assert!(gate.admit(now, Ipv4Addr::LOCALHOST.into()));
        gate.set_on_link(vec![]);
        assert!(!gate.admit(now, address(1)), "the link is gone");
    }
}
