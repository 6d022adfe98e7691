//! One search, and what was found: for the command line, and the active search of discovery.
//!
//! Keeps nothing between searches and announces nothing. With interfaces named each of them is
//! searched by a socket of ours; with none the `ssdp-client` crate searches on the primary route,
//! bounded from outside since its timeout counts from the last datagram. Source: UDA 2.0 §1.3.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket};
use std::num::NonZeroU32;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::socket::open_own;
use crate::base::endpoint::Name;
use crate::base::id::Id;
use crate::base::limit;
use crate::proto::ssdp::link::{Group, Link, LinkKey, PORT};
use crate::runtime::link;
use crate::wire::ssdp::{Answer, Location, Message, Search, Target, Text, Usn};

/// Between the searches of one round.
const REPEAT_DELAY: Duration = Duration::from_millis(300);

/// A device that answered a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where its description is; its host is the address the answer came from.
    pub location: Location,
    /// Under which name it answered.
    pub usn: Usn,
    /// What it answered to.
    pub st: Target,
    /// Its software, as it says.
    pub server: Option<String>,
    /// CLUSTER.ROUNDEL.ORG.
    pub cluster: Option<Name>,
    /// NODE.ROUNDEL.ORG.
    pub node: Option<Id>,
    /// BOOT.ROUNDEL.ORG.
    pub boot: Option<u64>,
}

impl From<Answer> for Found {
    fn from(answer: Answer) -> Self {
        Found {
            location: answer.location,
            usn: answer.usn,
            st: answer.st,
            server: answer.server.map(|server| server.to_string()),
            cluster: answer.vendor.cluster,
            node: answer.vendor.node,
            boot: answer.vendor.boot,
        }
    }
}

/// Searches for `target` and collects answers for `wait`.
///
/// With no interface named and no multicast route, every interface that discovery would choose is
/// searched. Each device, service and address is listed once, in order of the USN.
///
/// # Errors
/// When the interfaces cannot be read, or a named one does not exist, is down or has no address.
pub async fn search(
    interfaces: &[String],
    target: &Target,
    wait: Duration,
) -> io::Result<Vec<Found>> {
    let deadline = Instant::now() + wait;
    let mut found = Collected::default();
    if interfaces.is_empty() && primary_address().is_some() {
        search_primary(target, wait, &mut |item| found.add(item)).await;
    } else {
        search_links(interfaces, target, deadline, &mut found).await?;
    }
    Ok(found.0.into_values().collect())
}

/// What was found, once each.
#[derive(Default)]
struct Collected(BTreeMap<(String, String, SocketAddr), Found>);

impl Collected {
    fn add(&mut self, found: Found) {
        if self.0.len() < limit::SSDP_FOUND_MAX {
            let address = found.location.address();
            let key = (found.usn.to_string(), found.st.to_string(), address);
            self.0.entry(key).or_insert(found);
        }
    }
}

/// The address from which the primary route sends multicast; nothing is sent to learn it.
pub fn primary_address() -> Option<IpAddr> {
    let socket = StdUdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect((Group::V4.ip(), PORT)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// The MX whose answers come well within `wait`.
fn mx_of(wait: Duration) -> u64 {
    wait.as_secs()
        .saturating_sub(1)
        .clamp(1, limit::SSDP_MX_SECONDS_MAX)
}

/// Searches by the `ssdp-client` crate, twice since datagrams get lost, and hands on what is
/// sound. Answers that the crate takes for errors (one without SERVER) are skipped.
pub async fn search_primary(target: &Target, wait: Duration, take: &mut (dyn FnMut(Found) + Send)) {
    let deadline = Instant::now() + wait;
    let mx = mx_of(wait) as usize;
    let mut streams = Vec::new();
    for round in 0..2 {
        if round > 0 {
            let until = (Instant::now() + REPEAT_DELAY).min(deadline);
            tokio::time::sleep_until(until).await;
        }
        match ssdp_client::search(target.kind(), wait, mx, None).await {
            Ok(stream) => streams.push(Some(Box::pin(stream))),
            Err(error) => tracing::debug!(%error, "the primary route takes no search"),
        }
    }
    loop {
        let next = poll_fn(|cx| {
            let mut open = false;
            for slot in &mut streams {
                let Some(stream) = slot else { continue };
                match stream.as_mut().poll_next(cx) {
                    Poll::Ready(Some(item)) => return Poll::Ready(Some(item)),
                    Poll::Ready(None) => *slot = None,
                    Poll::Pending => open = true,
                }
            }
            if open {
                Poll::Pending
            } else {
                Poll::Ready(None)
            }
        });
        match timeout_at(deadline, next).await {
            Ok(Some(Ok(response))) => {
                if let Some(found) = found_by_crate(&response) {
                    take(found);
                }
            }
            Ok(Some(Err(error))) => tracing::trace!(%error, "an answer was skipped"),
            Ok(None) | Err(_) => return,
        }
    }
}

fn found_by_crate(response: &ssdp_client::SearchResponse) -> Option<Found> {
    let extra = |name| response.extra_header(name);
    Some(Found {
        location: response.location().parse().ok()?,
        usn: response.usn().parse().ok()?,
        st: response.search_target().to_string().parse().ok()?,
        server: response
            .server()
            .parse::<Text>()
            .ok()
            .map(|server| server.to_string()),
        cluster: extra("CLUSTER.ROUNDEL.ORG").and_then(|text| text.parse().ok()),
        node: extra("NODE.ROUNDEL.ORG").and_then(|text| text.parse().ok()),
        boot: extra("BOOT.ROUNDEL.ORG").and_then(|text| text.parse().ok()),
    })
}

/// Searches each interface by a socket of ours.
async fn search_links(
    interfaces: &[String],
    target: &Target,
    deadline: Instant,
    found: &mut Collected,
) -> io::Result<()> {
    let sockets = open_links(interfaces)?;
    let wait = deadline.saturating_duration_since(Instant::now());
    for round in 0..limit::SSDP_REPEATS {
        for (key, _, socket) in &sockets {
            let to = key.destination();
            let message = Search {
                host: Some(SocketAddr::new(to.ip(), to.port())),
                mx: NonZeroU32::new(mx_of(wait) as u32),
                st: target.clone(),
                friendly_name: "roundel".parse().ok(),
                user_agent: super::software().parse().ok(),
            };
            if let Err(error) = socket.send_to(&message.emit(), to).await {
                tracing::debug!(%error, index = key.index, "the search could not be sent");
            }
        }
        let last = round + 1 == limit::SSDP_REPEATS;
        let until = match last {
            true => deadline,
            false => (Instant::now() + REPEAT_DELAY).min(deadline),
        };
        let collect = async {
            loop {
                let (index, from, bytes) = receive(&sockets).await;
                let on_link = sockets[index].1.is_on_link(from.ip());
                if let Ok(Message::Answer(answer)) = Message::parse(&bytes)
                    && on_link
                    && answer.location.address().ip() == from.ip()
                {
                    found.add(answer.into());
                }
            }
        };
        // The collector runs until the time is up.
        let _: Result<std::convert::Infallible, _> = timeout_at(until, collect).await;
    }
    Ok(())
}

type SearchSocket = (LinkKey, Link, UdpSocket);

fn open_links(names: &[String]) -> io::Result<Vec<SearchSocket>> {
    let interfaces = link::list()?;
    for name in names {
        if !interfaces.iter().any(|interface| interface.name == *name) {
            let text = format!("there is no interface '{name}'; `ip link` lists them");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
    }
    let mut sockets = Vec::new();
    for interface in interfaces.iter().filter(|one| one.is_chosen(names)) {
        for (key, address) in interface.links(true, |_| None) {
            let link = Link {
                address,
                search_port: None,
                prefixes: interface.addresses.clone(),
                searches: true,
            };
            match open_own(key, address, 0) {
                Ok(socket) => sockets.push((key, link, socket)),
                Err(error) => tracing::debug!(%error, %address, "no socket for a search"),
            }
        }
    }
    if sockets.is_empty() {
        let text = "no interface to search on is up and has an address; `ip address` shows them";
        return Err(io::Error::new(io::ErrorKind::NetworkDown, text));
    }
    Ok(sockets)
}

async fn receive(sockets: &[SearchSocket]) -> (usize, SocketAddr, Vec<u8>) {
    let mut buffer = vec![0; limit::HEAD_BYTES_MAX];
    poll_fn(|cx| {
        for (index, (_, _, socket)) in sockets.iter().enumerate() {
            let mut into = ReadBuf::new(&mut buffer);
            for _ in 0..4 {
                match socket.poll_recv_from(cx, &mut into) {
                    Poll::Ready(Ok(from)) => {
                        return Poll::Ready((index, from, into.filled().to_vec()));
                    }
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    })
    .await
}
