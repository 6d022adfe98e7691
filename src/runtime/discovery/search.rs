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
use crate::base::hint::HintMac;
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
    /// HINT.ROUNDEL.ORG.
    pub hint: Option<HintMac>,
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
            hint: answer.vendor.hint,
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
        let mut take = |from: SocketAddr, answer: Answer| {
            if answer.location.address().ip() == from.ip() {
                found.add(answer.into());
            }
        };
        search_links(interfaces, target, deadline, &mut take).await?;
    }
    Ok(found.0.into_values().collect())
}

/// A root device of any kind that answered a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDevice {
    /// Its UDN, without `uuid:`.
    pub udn: String,
    /// Where it says its description is.
    pub location: Location,
    /// Its software, as it says.
    pub server: Option<String>,
    /// Where its description may be fetched from; none when LOCATION is not at the address the
    /// answer came from: whoever answers could have others asked otherwise.
    pub fetch_from: Option<SocketAddr>,
}

/// Searches for root devices of any kind on each interface and collects answers for `wait`.
///
/// Every interface is searched by a socket of ours, since what may be fetched depends on whom an
/// answer came from. Each device is listed once, with the address that can be fetched from if it
/// has one, IPv4 before IPv6, in order of its UDN.
///
/// # Errors
/// As for [`search`].
pub async fn search_devices(interfaces: &[String], wait: Duration) -> io::Result<Vec<FoundDevice>> {
    let mut found: BTreeMap<String, FoundDevice> = BTreeMap::new();
    let mut take = |from: SocketAddr, answer: Answer| {
        let device = found_device(from, answer);
        let rank = |device: &FoundDevice| (device.fetch_from.is_none(), device.fetch_from);
        let full = found.len() >= limit::SSDP_FOUND_MAX;
        match found.get_mut(&device.udn) {
            Some(known) if rank(&device) < rank(known) => *known = device,
            Some(_) => {}
            None if full => {}
            None => drop(found.insert(device.udn.clone(), device)),
        }
    };
    let deadline = Instant::now() + wait;
    search_links(interfaces, &Target::ROOT_DEVICE, deadline, &mut take).await?;
    Ok(found.into_values().collect())
}

fn found_device(from: SocketAddr, answer: Answer) -> FoundDevice {
    let address = answer.location.address();
    // The sender's address has the zone that a URL cannot carry.
    let mut at = from;
    at.set_port(address.port());
    FoundDevice {
        udn: answer.usn.uuid().to_owned(),
        server: answer.server.map(|server| server.to_string()),
        fetch_from: (address.ip() == from.ip()).then_some(at),
        location: answer.location,
    }
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
        hint: extra("HINT.ROUNDEL.ORG").and_then(|text| text.parse().ok()),
    })
}

/// Searches each interface by a socket of ours; hands on what came from its link.
async fn search_links(
    interfaces: &[String],
    target: &Target,
    deadline: Instant,
    take: &mut (dyn FnMut(SocketAddr, Answer) + Send),
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
                {
                    take(from, answer);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(from: &str, location: &str) -> FoundDevice {
        let text = format!(
            "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\nLOCATION: {location}\r\n\
             SERVER: a\r\nST: upnp:rootdevice\r\nUSN: uuid:x::upnp:rootdevice\r\n\r\n"
        );
        let Ok(Message::Answer(answer)) = Message::parse(text.as_bytes()) else {
            panic!("{text} is an answer");
        };
        found_device(from.parse().unwrap(), answer)
    }

    #[test]
    fn description_is_fetched_only_from_whoever_answered() {
        for (from, location, fetched) in [
            (
                "192.0.2.7:1900",
                "http://192.0.2.7:80/d.xml",
                Some("192.0.2.7:80"),
            ),
            ("192.0.2.7:1900", "http://192.0.2.8:80/d.xml", None),
            ("192.0.2.7:1900", "http://127.0.0.1:80/d.xml", None),
            (
                "[fe80::7%3]:1900",
                "http://[fe80::7]:81/d.xml",
                Some("[fe80::7%3]:81"),
            ),
            ("[fe80::7%3]:1900", "http://[fe80::8]:81/d.xml", None),
        ] {
            let expected = fetched.map(|text| text.parse().unwrap());
            assert_eq!(answer(from, location).fetch_from, expected, "{location}");
        }
    }
}
