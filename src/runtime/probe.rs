//! Looks at what discovery depends on: interfaces, routes, port 1900, multicast, the firewall.
//!
//! Plain data for `roundel doctor`, which puts it into words; changes nothing and joins nothing
//! beyond the time it listens. What this user may not read is left out. Source: UDA 2.0 §1.3,
//! proc(5).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::process::Stdio;
use std::task::Poll;
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout, timeout_at};

use super::discovery::search::primary_address;
use super::discovery::socket::{open_group, open_own};
use super::discovery::{first_of, software};
use super::link::{self, Interface};
use crate::base::limit;
use crate::proto::ssdp::link::{LinkKey, PORT};
use crate::wire::ssdp::{Message, Search, Target};

/// Sources listed for one link.
const SOURCES_MAX: usize = 256;
/// Lines of a rule set that are listed.
const RULES_MAX: usize = 32;
/// A firewall's program has this long to list its rules.
const RULES_TIME_MAX: Duration = Duration::from_secs(2);

/// Everything that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryReport {
    /// Every interface of the host.
    pub interfaces: Vec<InterfaceReport>,
    /// IPv4 routes that cover the group, best first.
    pub routes: Vec<Route>,
    /// The address multicast leaves from when no interface is named.
    pub primary_address: Option<IpAddr>,
    /// Sockets of any program on UDP port 1900.
    pub port_holders: Vec<PortHolder>,
    /// What filters packets.
    pub firewall: Firewall,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceReport {
    /// Flags and addresses.
    pub interface: Interface,
    /// Discovery runs on it.
    pub chosen: bool,
    /// Each group on it; none when it is not chosen.
    pub links: Vec<LinkReport>,
}

/// One group on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// Our address on it.
    pub address: IpAddr,
    /// Why the sockets could not be opened or the search not sent.
    pub error: Option<String>,
    /// Our own multicast came back.
    pub loops_back: bool,
    /// Others whose multicast was heard, with the number of datagrams.
    pub heard: BTreeMap<IpAddr, u32>,
    /// Others who answered a search, with the number of datagrams.
    pub answered: BTreeMap<IpAddr, u32>,
}

/// A route that covers the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface it goes by.
    pub interface: String,
    /// The destination network.
    pub destination: Ipv4Addr,
    /// Its prefix length; 0 is the default route.
    pub bits: u8,
    /// The lowest counts.
    pub metric: u32,
}

/// A socket on UDP port 1900.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHolder {
    /// What it is bound to.
    pub address: Ipv4Addr,
    /// Whose it is.
    pub uid: u32,
    /// The program, when this user may see it.
    pub program: Option<String>,
}

/// What filters packets, as far as this user may see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    /// Tables of the old iptables that are loaded.
    pub iptables: Vec<String>,
    /// Lines of the nftables rule set that drop or reject; none when it cannot be read.
    pub nft_drops: Option<Vec<String>>,
}

/// Looks at everything, listening on the chosen interfaces for `listen`.
///
/// # Errors
/// When the interfaces cannot be read; all else is part of the report.
pub async fn probe(interfaces: &[String], listen: Duration) -> io::Result<DiscoveryReport> {
    let deadline = Instant::now() + listen;
    // Looked at first, so that our own sockets are not among the holders.
    let port_holders = port_holders();
    let mut reports = Vec::new();
    let mut listeners = Vec::new();
    for interface in link::list()? {
        let chosen = interface.is_chosen(interfaces);
        let mut links = Vec::new();
        let made = if chosen {
            interface.links(true, |_| None)
        } else {
            Vec::new()
        };
        for (key, address) in made {
            let mut report = LinkReport {
                address,
                error: None,
                loops_back: false,
                heard: BTreeMap::new(),
                answered: BTreeMap::new(),
            };
            match Listener::open(key, address, (reports.len(), links.len())) {
                Ok(listener) => listeners.push(listener),
                Err(error) => report.error = Some(error.to_string()),
            }
            links.push(report);
        }
        reports.push(InterfaceReport {
            interface,
            chosen,
            links,
        });
    }
    let firewall = firewall().await;
    let collect = async {
        loop {
            let (index, by_group, from) = receive(&listeners).await;
            let listener = &listeners[index];
            let report = &mut reports[listener.place.0].links[listener.place.1];
            report.count(by_group, from, listener.address);
        }
    };
    let _: Result<std::convert::Infallible, _> = timeout_at(deadline, collect).await;
    Ok(DiscoveryReport {
        interfaces: reports,
        routes: routes(),
        primary_address: primary_address(),
        port_holders,
        firewall,
    })
}

impl LinkReport {
    fn count(&mut self, by_group: bool, from: SocketAddr, own: SocketAddr) {
        if from.ip() == own.ip() && from.port() == own.port() {
            self.loops_back = true;
            return;
        }
        let sources = match by_group {
            true => &mut self.heard,
            false => &mut self.answered,
        };
        if sources.len() < SOURCES_MAX || sources.contains_key(&from.ip()) {
            *sources.entry(from.ip()).or_default() += 1;
        }
    }
}

/// The two sockets of a link while it is looked at.
struct Listener {
    group: UdpSocket,
    own: UdpSocket,
    address: SocketAddr,
    /// Interface and link of the report.
    place: (usize, usize),
}

impl Listener {
    /// Opens the sockets and sends one search, which every device answers.
    fn open(key: LinkKey, address: IpAddr, place: (usize, usize)) -> io::Result<Self> {
        let group = open_group(key)?;
        let own = open_own(key, address, 0)?;
        let to = key.destination();
        let search = Search {
            host: Some(SocketAddr::new(to.ip(), to.port())),
            mx: NonZeroU32::new(1),
            st: Target::ROOT_DEVICE,
            friendly_name: "roundel".parse().ok(),
            user_agent: software().parse().ok(),
        };
        // A socket that was just opened is writable; the kernel's errors are the report's.
        let socket = socket2::SockRef::from(&own);
        socket.send_to(&search.emit(), &to.into())?;
        Ok(Listener {
            address: own.local_addr()?,
            group,
            own,
            place,
        })
    }
}

/// The next SSDP message: which listener, whether by the group's socket, from whom.
async fn receive(listeners: &[Listener]) -> (usize, bool, SocketAddr) {
    let mut buffer = vec![0; limit::HEAD_BYTES_MAX];
    first_of(|cx| {
        for (index, listener) in listeners.iter().enumerate() {
            for (by_group, socket) in [(true, &listener.group), (false, &listener.own)] {
                let mut into = ReadBuf::new(&mut buffer);
                while let Poll::Ready(result) = socket.poll_recv_from(cx, &mut into) {
                    let message = Message::parse(into.filled());
                    match (result, message) {
                        (Ok(from), Ok(_)) => return Poll::Ready((index, by_group, from)),
                        _ => into.clear(),
                    }
                }
            }
        }
        Poll::Pending
    })
    .await
}

/// A table of this thread's network namespace; empty when it cannot be read.
fn table(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default()
}

fn routes() -> Vec<Route> {
    let mut routes: Vec<_> = table("route").lines().filter_map(route).collect();
    routes.sort_by_key(|route| (std::cmp::Reverse(route.bits), route.metric));
    routes
}

/// Reads a line of the route table: interface, destination, gateway, flags, reference count, use,
/// metric, mask; addresses are in the host's byte order.
fn route(line: &str) -> Option<Route> {
    const UP: u32 = 0x1;
    const REJECT: u32 = 0x200;
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let hex = |index: usize| u32::from_str_radix(fields.get(index)?, 16).ok();
    let (destination, flags, mask) = (hex(1)?, hex(3)?, hex(7)?);
    let group = u32::from_ne_bytes(Ipv4Addr::new(239, 255, 255, 250).octets());
    let covers = group & mask == destination;
    let usable = flags & UP != 0 && flags & REJECT == 0;
    (covers && usable).then_some(Route {
        interface: fields.first()?.to_string(),
        destination: Ipv4Addr::from(destination.to_ne_bytes()),
        bits: mask.count_ones() as u8,
        metric: fields.get(6)?.parse().ok()?,
    })
}

fn port_holders() -> Vec<PortHolder> {
    let table = table("udp");
    let found: Vec<_> = table.lines().filter_map(holder).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let programs = programs();
    let named = found.into_iter().map(|(mut holder, inode)| {
        holder.program = programs.get(&inode).cloned();
        holder
    });
    named.collect()
}

/// Reads a line of the UDP table whose local port is 1900, with the socket's inode.
fn holder(line: &str) -> Option<(PortHolder, u64)> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    if u16::from_str_radix(port, 16).ok()? != PORT {
        return None;
    }
    let address = u32::from_str_radix(address, 16).ok()?;
    let holder = PortHolder {
        address: Ipv4Addr::from(address.to_ne_bytes()),
        uid: fields.get(7)?.parse().ok()?,
        program: None,
    };
    Some((holder, fields.get(9)?.parse().ok()?))
}

/// The program that has each socket, by inode, as far as this user may see.
fn programs() -> BTreeMap<u64, String> {
    let mut programs = BTreeMap::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        for descriptor in descriptors.flatten() {
            let Ok(target) = std::fs::read_link(descriptor.path()) else {
                continue;
            };
            let target = target.to_string_lossy();
            let inode = target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'))
                .and_then(|inode| inode.parse().ok());
            if let Some(inode) = inode {
                programs.insert(inode, name.trim().to_owned());
            }
        }
    }
    programs
}

async fn firewall() -> Firewall {
    let iptables = table("ip_tables_names")
        .lines()
        .map(str::to_owned)
        .collect();
    let mut nft = tokio::process::Command::new("nft");
    nft.args(["list", "ruleset"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = match timeout(RULES_TIME_MAX, nft.output()).await {
        Ok(Ok(output)) if output.status.success() => Some(output.stdout),
        _ => None,
    };
    Firewall {
        iptables,
        nft_drops: output.map(|stdout| drops(&String::from_utf8_lossy(&stdout))),
    }
}

/// The lines of a rule set that drop or reject.
fn drops(rules: &str) -> Vec<String> {
    let words = |line: &&str| {
        line.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word == "drop" || word == "reject")
    };
    let lines = rules.lines().filter(words).take(RULES_MAX);
    lines.map(|line| line.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_that_cover_the_group_are_read() {
        let default =
            route("eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0").unwrap();
        assert_eq!((default.bits, default.metric), (0, 100));
        let multicast = route("lo\t000000E0\t00000000\t0001\t0\t0\t0\t000000F0\t0\t0\t0").unwrap();
        assert_eq!((multicast.interface.as_str(), multicast.bits), ("lo", 4));
        let lan = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        let rejected = "eth0\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0";
        let heading = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask";
        for line in [lan, rejected, heading, "", "eth0"] {
            assert_eq!(route(line), None, "{line}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn holders_of_port_1900_are_read() {
        let line = "  12: FAFFFFEF:076C 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                    1000        0 4711 2 0000000000000000 0";
        let (holder, inode) = holder(line).unwrap();
        assert_eq!(holder.address, Ipv4Addr::new(239, 255, 255, 250));
        assert_eq!((holder.uid, inode), (1_000, 4_711));
        assert_eq!(super::holder(&line.replace("076C", "076D")), None);
        assert_eq!(super::holder(""), None);
    }

    #[test]
    fn dropping_rules_are_listed() {
        let rules = "table inet f {\n chain input {\n  policy drop;\n  tcp dport 22 accept\n  \
                     udp dport 1900 reject\n  iifname \"dropbox0\" accept\n }\n}\n";
        assert_eq!(drops(rules), ["policy drop;", "udp dport 1900 reject"]);
    }
}
