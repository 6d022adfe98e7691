//! Which board a client verb asks: `--node`, `ROUNDEL_NODE`, the one on this machine, or one
//! found over SSDP.
//!
//! Nothing is sent to the network unless nobody answers on this machine. Boards of two clusters
//! are never chosen between by chance.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpStream;

use super::args::ClientArgs;
use super::credential::Credential;
use super::failure::{Failure, Kind};
use super::rpc::Client;
use crate::base::id::Id;
use crate::config::valid::PORT_DEFAULT;
use crate::runtime::discovery::search;
use crate::wire::description::RING_NODE;
use crate::wire::ssdp::Target;

/// A board of this machine takes a connection within this.
const LOCAL_TIME_MAX: Duration = Duration::from_millis(500);

/// Answers to a search are collected for this: MX 1 and a slow network.
const SEARCH_TIME: Duration = Duration::from_secs(2);

/// A board that answered a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its id.
    pub id: Id,
    /// The name of its cluster.
    pub cluster: String,
    /// Where it answers.
    pub address: SocketAddr,
}

/// A client of the board that the arguments and the surroundings name.
///
/// # Errors
/// [`Failure`] when a name does not resolve, or no board or those of several clusters answer.
pub async fn connect(args: &ClientArgs) -> Result<Client, Failure> {
    if let Some(node) = args.node.as_deref().filter(|node| !node.is_empty()) {
        return client(args, resolve(node).await?);
    }
    let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT_DEFAULT);
    let tried = tokio::time::timeout(LOCAL_TIME_MAX, TcpStream::connect(local)).await;
    if let Ok(Ok(_)) = tried {
        return client(args, local);
    }
    let cluster = args.cluster.as_ref().map(|name| name.as_str());
    let found = discover(&args.interfaces, cluster).await;
    let found = found.map_err(|failure| match args.interfaces.is_empty() {
        true => Failure::new(
            Kind::Unavailable,
            format!(
                "no board answers on this machine ({local}), and {}",
                failure.what()
            ),
            "start one with `roundel run`, or name one with --node HOST:PORT",
        ),
        false => failure,
    })?;
    let pinned = found.iter().find(|board| args.tls.pins(&board.id));
    let address = pinned.map_or_else(|| choose(&found), |board| Ok(board.address))?;
    client(args, address)
}

/// A client of the board at that address, as the arguments have it: TLS, key or token.
///
/// # Errors
/// [`Failure`] of usage, of the key or the token.
pub fn client(args: &ClientArgs, address: SocketAddr) -> Result<Client, Failure> {
    let credential = Credential::of(args)?;
    credential.admit(address, args.tls)?;
    let client = Client::new(address).with_tls(args.tls);
    Ok(client.with_credential(credential))
}

/// The address a person wrote: an IP address or a host name, with or without a port.
///
/// # Errors
/// [`Failure`] of usage for text that is no address, of failure for a name nobody knows.
pub async fn resolve(text: &str) -> Result<SocketAddr, Failure> {
    let (host, port) = split(text)?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let unknown = |why: String| {
        Failure::new(
            Kind::Failed,
            format!("the name '{host}' has no address{why}"),
            "use the board's address instead; `roundel search` lists the boards of the LAN",
        )
    };
    let mut addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| unknown(format!(": {error}")))?;
    addresses.next().ok_or_else(|| unknown(String::new()))
}

/// Splits host and port; without a port it is the default one.
fn split(text: &str) -> Result<(&str, u16), Failure> {
    let refused = || {
        Failure::usage(
            format!("'{text}' is not the address of a board"),
            "write HOST:PORT, such as 192.168.1.20:38400, kitchen.local or [fe80::1]:38400",
        )
    };
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((text, PORT_DEFAULT));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or_else(refused)?)),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || !host.chars().all(legal) {
        return Err(refused());
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|p| *p != 0).ok_or_else(refused)?,
        None => PORT_DEFAULT,
    };
    Ok((host, port))
}

/// The board to ask among those that answered: any, if all are of one cluster.
///
/// # Errors
/// [`Failure`] when nobody answered, or boards of several clusters did.
pub fn choose(found: &[Found]) -> Result<SocketAddr, Failure> {
    let mut clusters: BTreeMap<&str, SocketAddr> = BTreeMap::new();
    for board in found {
        clusters.entry(&board.cluster).or_insert(board.address);
    }
    let mut each = clusters.iter();
    match (each.next(), each.next()) {
        (None, _) => Err(Failure::new(
            Kind::Unavailable,
            "no board answers, neither on this machine nor on the LAN",
            "start one with `roundel run`, name one with --node HOST:PORT, or ask `roundel \
             doctor` why none is seen",
        )),
        (Some((_, address)), None) => Ok(*address),
        _ => {
            let list = clusters
                .iter()
                .map(|(name, address)| format!("{name} (at {address})"))
                .collect::<Vec<_>>()
                .join(", ");
            Err(Failure::new(
                Kind::Failed,
                format!("boards of several clusters answer: {list}"),
                "say which one with --cluster NAME, or name a board with --node HOST:PORT",
            ))
        }
    }
}

/// Looks for boards over SSDP: on these interfaces, or with none as the system routes.
///
/// The only place of the command line that searches the network; each board is listed once.
///
/// # Errors
/// [`Failure`] when an interface cannot be used.
pub async fn discover(interfaces: &[String], cluster: Option<&str>) -> Result<Vec<Found>, Failure> {
    let searched = search(interfaces, &Target::urn(RING_NODE), SEARCH_TIME).await;
    let answers = searched.map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!("the LAN cannot be searched: {error}"),
            "name a board with --node HOST:PORT, or ask `roundel doctor` about the network",
        )
    })?;
    let mut boards: BTreeMap<(String, Id), Found> = BTreeMap::new();
    for answer in answers {
        let (Some(cluster), Some(id)) = (answer.cluster, answer.node) else {
            continue;
        };
        let found = Found {
            id,
            cluster: cluster.to_string(),
            address: answer.location.address(),
        };
        boards.entry((found.cluster.clone(), id)).or_insert(found);
    }
    let wanted = |board: &Found| cluster.is_none_or(|cluster| board.cluster == cluster);
    Ok(boards.into_values().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cluster: &str, last: u8) -> Found {
        Found {
            id: Id::of(&[last]),
            cluster: cluster.to_owned(),
            address: SocketAddr::from(([10, 0, 0, last], 38_400)),
        }
    }

    #[test]
    fn boards_of_one_cluster_are_as_good_as_each_other() {
        let chosen = choose(&[found("home", 1), found("home", 2)]).unwrap();
        assert_eq!(chosen.to_string(), "10.0.0.1:38400");
    }

    #[test]
    fn boards_of_two_clusters_are_listed_and_refused() {
        let refused = choose(&[found("home", 1), found("lab", 2), found("home", 3)]).unwrap_err();
        assert_eq!(refused.exit_code(), 1);
        assert!(refused.what().contains("home (at 10.0.0.1:38400)"));
        assert!(refused.what().contains("lab (at 10.0.0.2:38400)"));
    }

    #[test]
    fn nobody_is_unavailable() {
        assert_eq!(choose(&[]).unwrap_err().exit_code(), 4);
    }

    #[test]
    fn a_port_may_be_left_out() {
        assert_eq!(split("10.0.0.1").unwrap(), ("10.0.0.1", 38_400));
        assert_eq!(split("kitchen.local:5").unwrap(), ("kitchen.local", 5));
        assert_eq!(split("::1").unwrap(), ("::1", 38_400));
        assert_eq!(split("[::1]").unwrap(), ("::1", 38_400));
        assert_eq!(split("[::1]:7").unwrap(), ("::1", 7));
    }

    #[test]
    fn text_that_is_no_address_is_a_usage_error() {
        for text in [
            "",
            ":5",
            "a:",
            "a:b",
            "a:70000",
            "a:0",
            "a b:5",
            "[::1]x",
            "http://a:5",
        ] {
            assert_eq!(split(text).unwrap_err().exit_code(), 2, "{text}");
        }
    }
}
