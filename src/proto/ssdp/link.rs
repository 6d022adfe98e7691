//! A place on which discovery runs: one interface and one multicast group, with our address.
//!
//! Owns no socket: the runtime keeps a pair of sockets for each [`LinkKey`]. Source: UDA 2.0
//! §1.1, annex A.2 (IPv6 groups).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The port of SSDP.
pub const PORT: u16 = 1900;

/// A multicast group of SSDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// 239.255.255.250.
    V4,
    /// ff02::c, for link-local addresses.
    V6Link,
    /// ff05::c, for all other IPv6 addresses.
    V6Site,
}

impl Group {
    /// The group's address.
    pub fn ip(self) -> IpAddr {
        match self {
            Group::V4 => IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)),
            Group::V6Link => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc)),
            Group::V6Site => IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xc)),
        }
    }

    /// The group that an interface's address speaks to.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Group::V4,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Group::V6Link,
            IpAddr::V6(_) => Group::V6Site,
        }
    }
}

/// Names a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey {
    /// The interface's index.
    pub index: u32,
    /// The group.
    pub group: Group,
}

impl LinkKey {
    /// Where to send what is for the group, with the interface as the zone for IPv6.
    pub fn destination(self) -> SocketAddr {
        match self.group.ip() {
            IpAddr::V4(ip) => SocketAddr::V4(SocketAddrV4::new(ip, PORT)),
            IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, PORT, 0, self.index)),
        }
    }
}

/// The addresses an interface reaches without a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Any address of it.
    pub address: IpAddr,
    /// Leading bits that all of them share.
    pub bits: u8,
}

impl Prefix {
    /// The address lies within.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differing = u32::from(ours) ^ u32::from(theirs);
                differing.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differing = u128::from(ours) ^ u128::from(theirs);
                differing.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

/// A link as it is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Our address on it: the host of every LOCATION sent on it.
    pub address: IpAddr,
    /// Where unicast searches reach us when 1900 was taken.
    pub search_port: Option<u16>,
    /// What counts as on-link.
    pub prefixes: Vec<Prefix>,
    /// Whether the searcher searches on it.
    pub searches: bool,
}

impl Link {
    /// The source is on this link, or is this host.
    pub fn is_on_link(&self, source: IpAddr) -> bool {
        match source {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => self.address.is_ipv6(),
            _ => self.prefixes.iter().any(|prefix| prefix.contains(source)),
        }
    }
}

/// Every link, in order.
pub type Links = BTreeMap<LinkKey, Link>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_counts_leading_bits() {
        let prefix = |text: &str, bits| Prefix {
            address: text.parse().unwrap(),
            bits,
        };
        for (prefix, address, inside) in [
            (prefix("192.0.2.9", 24), "192.0.2.200", true),
            (prefix("192.0.2.9", 24), "192.0.3.9", false),
            (prefix("192.0.2.9", 32), "192.0.2.9", true),
            (prefix("192.0.2.9", 0), "8.8.8.8", true),
            (prefix("192.0.2.9", 0), "fe80::1", false),
            (prefix("fd00::1", 64), "fd00::ffff", true),
            (prefix("fd00::1", 64), "fd00:1::1", false),
        ] {
            assert_eq!(
                prefix.contains(address.parse().unwrap()),
                inside,
                "{address}"
            );
        }
    }
}
