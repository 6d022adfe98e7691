//! The host's network interfaces: what there is, which of it discovery uses, and when it changes.
//!
//! Opens no UDP socket and sends nothing. Netlink is only the trigger: after any message, or a
//! lost one, the interfaces are read anew and compared. Source: rtnetlink(7), getifaddrs(3).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrStorage, bind,
    recv, socket,
};
use tokio::io::unix::AsyncFd;

use crate::proto::ssdp::link::{Group, LinkKey, Prefix};

/// Interfaces that belong to containers, bridges of them, tunnels and virtual machines: discovery
/// uses them only when they are named.
const SKIPPED: [&str; 6] = ["docker", "veth", "br-", "tun", "tap", "virbr"];

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Somebody switched it on.
    pub up: bool,
    /// It has a carrier.
    pub running: bool,
    /// It says that it can do multicast; loopback can without saying so.
    pub multicast: bool,
    /// It is the loopback interface.
    pub loopback: bool,
    /// Usable addresses, each with its prefix length, in the kernel's order.
    pub addresses: Vec<Prefix>,
}

/// An address that discovery uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// The kernel's index of its interface.
    pub index: u32,
    /// The interface's name.
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

/// Reads the interfaces.
///
/// # Errors
/// When the kernel refuses, which it does only for want of memory or descriptors.
pub fn list() -> io::Result<Vec<Interface>> {
    let unusable = unusable_addresses();
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    for entry in nix::ifaddrs::getifaddrs()? {
        // An interface that vanished meanwhile has no index.
        let Ok(index) = if_nametoindex(entry.interface_name.as_str()) else {
            continue;
        };
        let name = entry.interface_name;
        let interface = found.entry(name.clone()).or_insert_with(|| Interface {
            index,
            name,
            up: entry.flags.contains(InterfaceFlags::IFF_UP),
            running: entry.flags.contains(InterfaceFlags::IFF_RUNNING),
            multicast: entry.flags.contains(InterfaceFlags::IFF_MULTICAST),
            loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            addresses: Vec::new(),
        });
        let Some(address) = entry.address.as_ref().and_then(ip) else {
            continue;
        };
        let mask = entry.netmask.as_ref().and_then(ip);
        let bits = match mask {
            Some(IpAddr::V4(mask)) => u32::from(mask).count_ones() as u8,
            Some(IpAddr::V6(mask)) => u128::from(mask).count_ones() as u8,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        if !unusable.contains(&address) {
            interface.addresses.push(Prefix { address, bits });
        }
    }
    let mut interfaces: Vec<_> = found.into_values().collect();
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

/// IPv6 addresses that cannot be bound to yet, or that change by design: tentative, failed,
/// deprecated or temporary ones.
fn unusable_addresses() -> BTreeSet<IpAddr> {
    const TEMPORARY: u32 = 0x01;
    const FAILED: u32 = 0x08;
    const DEPRECATED: u32 = 0x20;
    const TENTATIVE: u32 = 0x40;
    let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    let unusable = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(4)?, 16).ok()?;
        let address = u128::from_str_radix(fields.first()?, 16).ok()?;
        let bad = flags & (TEMPORARY | FAILED | DEPRECATED | TENTATIVE) != 0;
        bad.then_some(IpAddr::V6(Ipv6Addr::from(address)))
    };
    table.lines().filter_map(unusable).collect()
}

impl Interface {
    /// Discovery runs on it: it is up, and named, or with none named one that a LAN is likely to
    /// be on.
    pub fn is_chosen(&self, names: &[String]) -> bool {
        if !names.is_empty() {
            return self.up && names.contains(&self.name);
        }
        let skipped = SKIPPED.iter().any(|prefix| self.name.starts_with(prefix));
        self.up && self.multicast && !self.loopback && !skipped
    }

    /// The links it makes: one for each group, with the address in use. An address of `current`
    /// stays in use while the interface has it.
    pub fn links(
        &self,
        ipv6: bool,
        current: impl Fn(&LinkKey) -> Option<IpAddr>,
    ) -> Vec<(LinkKey, IpAddr)> {
        let mut links: BTreeMap<LinkKey, IpAddr> = BTreeMap::new();
        for prefix in &self.addresses {
            // Loopback has no IPv6 multicast of its own.
            if prefix.address.is_ipv6() && (!ipv6 || self.loopback) {
                continue;
            }
            let group = Group::of(prefix.address);
            let index = self.index;
            let key = LinkKey { index, group };
            let known = current(&key) == Some(prefix.address);
            let address = links.entry(key).or_insert(prefix.address);
            if known {
                *address = prefix.address;
            }
        }
        links.into_iter().collect()
    }
}

/// Watches for changes of interfaces and addresses.
#[derive(Debug)]
pub struct Monitor {
    fd: AsyncFd<OwnedFd>,
}

impl Monitor {
    /// Subscribes to the kernel's link and address groups; needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel has no netlink or no descriptor is left.
    pub fn open() -> io::Result<Self> {
        const LINK: u32 = 0x1;
        const IPV4_IFADDR: u32 = 0x10;
        const IPV6_IFADDR: u32 = 0x100;
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        let groups = NetlinkAddr::new(0, LINK | IPV4_IFADDR | IPV6_IFADDR);
        bind(fd.as_raw_fd(), &groups)?;
        // SAFETY: the AsyncFd owns the descriptor, which stays open until it is dropped.
        let fd = unsafe { AsyncFd::register(fd) }?;
        Ok(Monitor { fd })
    }

    /// Returns when something may have changed; messages that got lost count as a change.
    ///
    /// # Errors
    /// When the socket itself fails.
    pub async fn changed(&self) -> io::Result<()> {
        let mut buffer = [0; 8_192];
        loop {
            let mut guard = self.fd.readable().await?;
            let mut changed = false;
            loop {
                match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(_) | Err(Errno::ENOBUFS) => changed = true,
                    Err(Errno::EAGAIN) => break guard.clear_ready(),
                    Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if changed {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str) -> Interface {
        Interface {
            index: 3,
            name: name.to_owned(),
            up: true,
            running: true,
            multicast: true,
            loopback: false,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn default_choice_leaves_out_what_is_not_a_lan() {
        for name in ["eth0", "end0", "wlan0", "enp3s0", "br0"] {
            assert!(interface(name).is_chosen(&[]), "{name}");
        }
        for name in ["docker0", "veth1a", "br-12", "tun0", "tap0", "virbr0"] {
            assert!(!interface(name).is_chosen(&[]), "{name}");
            assert!(interface(name).is_chosen(&[name.to_owned()]), "{name}");
        }
    }

    #[test]
    fn loopback_is_used_only_when_it_is_named() {
        let mut lo = interface("lo");
        (lo.loopback, lo.multicast) = (true, false);
        assert!(!lo.is_chosen(&[]));
        assert!(lo.is_chosen(&["lo".to_owned()]));
        lo.up = false;
        assert!(!lo.is_chosen(&["lo".to_owned()]));
    }

    #[test]
    fn each_group_has_one_address_and_keeps_it() {
        let mut eth = interface("eth0");
        let texts = ["192.0.2.1", "192.0.2.2", "fe80::1", "fd00::1"];
        eth.addresses = texts
            .map(|text| Prefix {
                address: text.parse().unwrap(),
                bits: 24,
            })
            .to_vec();
        let used = |kept: Option<&str>, ipv6| {
            let kept = kept.map(|text| text.parse().unwrap());
            let links = eth.links(ipv6, |key| kept.filter(|_| key.group == Group::V4));
            let texts = links.into_iter().map(|(_, address)| address.to_string());
            texts.collect::<Vec<_>>()
        };
        assert_eq!(used(None, true), ["192.0.2.1", "fe80::1", "fd00::1"]);
        assert_eq!(used(Some("192.0.2.2"), false), ["192.0.2.2"]);
        assert_eq!(used(Some("192.0.2.9"), false), ["192.0.2.1"]);
    }

    #[test]
    fn this_host_has_a_loopback_interface() {
        let interfaces = list().unwrap();
        let lo = interfaces
            .iter()
            .find(|interface| interface.loopback)
            .unwrap();
        let home: IpAddr = "127.0.0.1".parse().unwrap();
        assert!(lo.addresses.contains(&Prefix {
            address: home,
            bits: 8
        }));
    }
}
