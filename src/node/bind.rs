//! Which port and which addresses the node listens on.
//!
//! TCP and UDP share one number. Without a port in the configuration it is 38400 or the next
//! that is free for both. With only loopback interfaces named nothing but loopback is bound.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::RunError;
use crate::config::Config;
use crate::config::valid::PORT_DEFAULT;
use crate::runtime::udp::Udp;

/// Ports tried after the first.
const PORTS_TRIED_MAX: u16 = 200;
/// Connections the system queues before they are accepted (as far as it allows): one that finds no
/// place in the queue waits a second.
const BACKLOG: i32 = 4_096;

/// The sockets of a node.
pub struct Bound {
    /// IPv4, and IPv6 where there is any.
    pub listeners: Vec<TcpListener>,
    /// The same port.
    pub udp: Udp,
    /// A first address of this board; loopback until discovery knows better.
    pub endpoint: SocketAddr,
}

/// Binds the configured port, or the first free one.
pub fn bind(config: &Config) -> Result<Bound, RunError> {
    let loopback =
        !config.interfaces.is_empty() && config.interfaces.iter().all(|name| name == "lo");
    let address = match config.bind_addr {
        Some(address) => address,
        None if loopback => IpAddr::V4(Ipv4Addr::LOCALHOST),
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let first = config.port.unwrap_or(PORT_DEFAULT);
    let tries = if config.port.is_some() {
        1
    } else {
        PORTS_TRIED_MAX
    };
    let mut port = first;
    loop {
        match try_port(SocketAddr::new(address, port)) {
            Ok(bound) => return Ok(bound),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port < first + tries - 1 => {
                port += 1;
            }
            Err(source) => {
                return Err(RunError::Port {
                    port: first,
                    source,
                });
            }
        }
    }
}

fn try_port(address: SocketAddr) -> io::Result<Bound> {
    let udp = Udp::bind(address)?;
    let mut listeners = vec![listen(address)?];
    if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        listeners.extend(listen((Ipv6Addr::UNSPECIFIED, address.port()).into()).ok());
    }
    let ip = match address.ip().is_unspecified() {
        true => IpAddr::V4(Ipv4Addr::LOCALHOST),
        false => address.ip(),
    };
    Ok(Bound {
        listeners,
        udp,
        endpoint: SocketAddr::new(ip, address.port()),
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restarted board takes its port back although old connections linger.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
