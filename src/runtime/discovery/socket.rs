//! The sockets of a link: one hears the group, one has our own address.
//!
//! Sends and receives only; what the bytes mean is `proto/ssdp`. Source: UDA 2.0 §1.1, ip(7),
//! ipv6(7).
//!
//! The group's socket is bound to the group itself: a socket bound to the interface's address
//! hears no multicast, and one bound to the wildcard takes unicast from whoever bound before.
//! Other programs bind 1900 with either reuse option, so it sets both. The own socket is bound
//! without reuse: of several that share one address only the last gets its unicast. It allows
//! reuse once it is bound, so that a program started later can still bind the wildcard.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::task::{Context, Poll};

use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SetStruct;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use crate::base::rng::{Rng, RngExt};
use crate::proto::ssdp::Via;
use crate::proto::ssdp::link::{LinkKey, PORT};

/// The TTL and hop limit of multicast (UDA 2.0 §1.1.2).
const HOPS: u32 = 2;
/// The ports a device may announce as SEARCHPORT (UDA 2.0 §1.2.2).
const SEARCH_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// Ports tried before giving up.
const PORT_TRIES: usize = 32;

/// IP_MULTICAST_IF by index: no multicast route is needed, and two interfaces may share an address.
#[derive(Clone, Copy, Debug)]
struct MulticastInterface;

nix::setsockopt_impl!(
    MulticastInterface,
    libc::IPPROTO_IP,
    libc::IP_MULTICAST_IF,
    libc::ip_mreqn,
    SetStruct<'_, libc::ip_mreqn>
);

/// The sockets of one link.
#[derive(Debug)]
pub struct Pair {
    key: LinkKey,
    group: Option<UdpSocket>,
    own: UdpSocket,
    /// Where unicast searches reach us when 1900 was taken.
    pub search_port: Option<u16>,
}

impl Pair {
    /// Opens them; the group's only when `listens`.
    ///
    /// # Errors
    /// When the address is not there (yet), or every port is taken.
    pub fn open(key: LinkKey, address: IpAddr, listens: bool, rng: &mut Rng) -> io::Result<Self> {
        let group = listens.then(|| open_group(key)).transpose()?;
        let (own, search_port) = match open_own(key, address, PORT) {
            Ok(own) => (own, None),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let (own, port) = open_own_elsewhere(key, address, rng)?;
                (own, Some(port))
            }
            Err(error) => return Err(error),
        };
        Ok(Pair {
            key,
            group,
            own,
            search_port,
        })
    }

    /// Sends from our own address.
    ///
    /// # Errors
    /// As the kernel has it: no route, the interface is gone, the buffer is full.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        // Straight to the kernel: tokio's own call fails until its loop has run once, and the first
        // search of a start would be lost.
        SockRef::from(&self.own)
            .send_to(bytes, &to.into())
            .map(|_| ())
    }

    /// Receives what is there by either socket.
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<(Via, usize, SocketAddr)> {
        let sockets = [
            self.group.as_ref().map(|socket| (Via::Multicast, socket)),
            Some((Via::Unicast, &self.own)),
        ];
        for (via, socket) in sockets.into_iter().flatten() {
            let mut into = ReadBuf::new(buffer);
            // A pending ICMP error comes out of one receive; the next has data or nothing.
            for _ in 0..4 {
                match socket.poll_recv_from(cx, &mut into) {
                    Poll::Ready(Ok(from)) => return Poll::Ready((via, into.filled().len(), from)),
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    }

    /// Leaves the group and joins it again, which makes the switches hear of it.
    pub fn rejoin(&self) {
        let Some(group) = &self.group else { return };
        let socket = SockRef::from(group);
        let done = match self.key.group.ip() {
            IpAddr::V4(ip) => {
                let interface = InterfaceIndexOrAddress::Index(self.key.index);
                // Not being a member (the interface was gone meanwhile) is no reason not to join.
                let _ = socket.leave_multicast_v4_n(&ip, &interface);
                socket.join_multicast_v4_n(&ip, &interface)
            }
            IpAddr::V6(ip) => {
                let _ = socket.leave_multicast_v6(&ip, self.key.index);
                socket.join_multicast_v6(&ip, self.key.index)
            }
        };
        if let Err(error) = done {
            tracing::debug!(%error, index = self.key.index, "the group could not be joined again");
        }
    }
}

/// A socket that hears the link's group, shared with other programs.
///
/// # Errors
/// When another program took 1900 for itself, or the interface is gone.
pub fn open_group(key: LinkKey) -> io::Result<UdpSocket> {
    let ip = key.group.ip();
    let socket = open_socket(ip)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    match ip {
        IpAddr::V4(ip) => {
            socket.bind(&SocketAddr::from((ip, PORT)).into())?;
            socket.set_multicast_all_v4(false)?;
            let interface = InterfaceIndexOrAddress::Index(key.index);
            socket.join_multicast_v4_n(&ip, &interface)?;
        }
        IpAddr::V6(ip) => {
            socket.bind(&key.destination().into())?;
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&ip, key.index)?;
        }
    }
    UdpSocket::from_std(socket.into())
}

/// A socket with our own address that sends multicast by the link's interface.
///
/// # Errors
/// When the port is taken, or the address is not there (yet).
pub fn open_own(key: LinkKey, address: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = open_socket(address)?;
    let bind_to = match address {
        IpAddr::V4(ip) => {
            let interface = libc::ip_mreqn {
                imr_multiaddr: libc::in_addr { s_addr: 0 },
                imr_address: libc::in_addr {
                    s_addr: u32::from(ip).to_be(),
                },
                imr_ifindex: key.index as libc::c_int,
            };
            setsockopt(&socket, MulticastInterface, &interface)?;
            socket.set_multicast_ttl_v4(HOPS)?;
            socket.set_multicast_loop_v4(true)?;
            SocketAddr::V4(SocketAddrV4::new(ip, port))
        }
        IpAddr::V6(ip) => {
            socket.set_multicast_if_v6(key.index)?;
            socket.set_multicast_hops_v6(HOPS)?;
            socket.set_multicast_loop_v6(true)?;
            let zone = if ip.is_unicast_link_local() {
                key.index
            } else {
                0
            };
            SocketAddr::V6(SocketAddrV6::new(ip, port, 0, zone))
        }
    };
    socket.bind(&bind_to.into())?;
    socket.set_reuse_address(true)?;
    UdpSocket::from_std(socket.into())
}

fn open_own_elsewhere(
    key: LinkKey,
    address: IpAddr,
    rng: &mut Rng,
) -> io::Result<(UdpSocket, u16)> {
    for _ in 0..PORT_TRIES {
        let port = rng.random_range(SEARCH_PORTS);
        match open_own(key, address, port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            opened => return opened.map(|own| (own, port)),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn open_socket(address: IpAddr) -> io::Result<Socket> {
    let domain = match address {
        IpAddr::V4(_) => Domain::IPV4,
        IpAddr::V6(_) => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}
