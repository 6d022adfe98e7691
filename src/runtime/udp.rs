//! The node's datagram sockets: one for IPv4, one for IPv6 where there is any, on the node's port.
//!
//! They carry HTTPU and frames; SSDP has sockets of its own (`runtime/discovery`).

use std::io;
use std::net::{Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

/// Room for bursts: 30 boards that probe at once.
const RECEIVE_BUFFER_BYTES: usize = 256 * 1_024;

/// The sockets.
#[derive(Debug)]
pub struct Udp {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Udp {
    /// Binds the address; with the unspecified IPv4 address, IPv6 as well where it is available.
    ///
    /// # Errors
    /// The system's, when the port is taken or the address is not this machine's.
    pub fn bind(address: SocketAddr) -> io::Result<Udp> {
        let first = bind(address)?;
        if address.is_ipv6() {
            return Ok(Udp {
                v4: None,
                v6: Some(first),
            });
        }
        let v6 = match address.ip().is_unspecified() {
            true => bind((Ipv6Addr::UNSPECIFIED, address.port()).into()).ok(),
            false => None,
        };
        Ok(Udp {
            v4: Some(first),
            v6,
        })
    }

    /// IPv6 datagrams are received.
    pub fn has_v6(&self) -> bool {
        self.v6.is_some()
    }

    /// Sends one datagram; what the network refuses is lost, as datagrams are.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        if let Some(socket) = socket
            && let Err(error) = SockRef::from(socket).send_to(bytes, &to.into())
        {
            tracing::trace!(%to, %error, "datagram not sent");
        }
    }

    /// Waits for a datagram.
    ///
    /// # Errors
    /// The system's; errors of earlier sends show up here and are to be passed over.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            match (&self.v4, &self.v6) {
                (Some(v4), Some(v6)) => {
                    tokio::select! {
                        ready = v4.readable() => ready?,
                        ready = v6.readable() => ready?,
                    }
                }
                (Some(one), None) | (None, Some(one)) => one.readable().await?,
                (None, None) => std::future::pending().await,
            }
            if let Some(received) = self.try_receive(buffer) {
                return Ok(received);
            }
        }
    }

    /// Takes a datagram that is there already.
    pub fn try_receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let sockets = [&self.v4, &self.v6];
        sockets
            .into_iter()
            .flatten()
            .find_map(|socket| socket.try_recv_from(buffer).ok())
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // Best effort: the system may allow less.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
