//! Addresses as requests name them: `ip:port`, or with a scheme in front as the seed writes them.
//!
//! Names are never looked up: boards speak numeric addresses to each other.

use crate::base::endpoint::SocketAddr;

/// How a reply is to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP over TCP.
    Tcp,
    /// One HTTP message a datagram.
    Udp,
}

/// An address with the transport it names, if it names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where.
    pub endpoint: SocketAddr,
    /// `httpu://` is UDP; `http://` and the seed's `tcp://` are TCP.
    pub transport: Option<Transport>,
}

impl Address {
    /// Reads `ip:port`, `http://ip:port`, `httpu://ip:port` or `tcp://ip:port`; a path may only
    /// be `/` or that of the seed's form, so that nobody can aim a reply at another one.
    pub fn parse(text: &str) -> Option<Self> {
        let (transport, rest) = match text.split_once("://") {
            None => (None, text),
            Some(("http" | "tcp", rest)) => (Some(Transport::Tcp), rest),
            Some(("httpu", rest)) => (Some(Transport::Udp), rest),
            Some(_) => return None,
        };
        let (endpoint, path) = rest.split_once('/').unwrap_or((rest, ""));
        let endpoint: SocketAddr = endpoint.parse().ok()?;
        (matches!(path, "" | "chord") && endpoint.port() != 0).then_some(Address {
            endpoint,
            transport,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_name_the_transport_and_other_texts_are_refused() {
        let read = |text| Address::parse(text).map(|a| (a.endpoint.to_string(), a.transport));
        let plain = "127.0.0.1:80".to_owned();
        assert_eq!(read("127.0.0.1:80"), Some((plain.clone(), None)));
        assert_eq!(
            read("http://127.0.0.1:80/chord"),
            Some((plain.clone(), Some(Transport::Tcp)))
        );
        assert_eq!(
            read("httpu://127.0.0.1:80/"),
            Some((plain, Some(Transport::Udp)))
        );
        assert!(read("tcp://[::1]:5555").is_some());
        for text in [
            "",
            "host:80",
            "127.0.0.1",
            "127.0.0.1:0",
            "ftp://127.0.0.1:80",
            "http://127.0.0.1:80/rpc",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
