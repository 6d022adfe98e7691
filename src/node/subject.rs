//! Whom the board's certificate names: the names and addresses under which its owner opens the
//! page.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{RunError, Start};
use crate::base::endpoint::Name;
use crate::config::Config;
use crate::runtime::certificate::Issuer;
use crate::runtime::link::{self, Interface};
use crate::security::certificate::Subject;
use crate::security::identity::Identity;

/// Names and addresses of one certificate: beyond them it would not fit a handshake's first flight.
const NAMES_MAX: usize = 32;

/// Makes the certificates of the board that starts.
///
/// # Errors
/// [`RunError::Tls`] for a key that rustls does not take.
pub(super) fn issuer(start: &Start, config: &Config, name: &Name) -> Result<Issuer, RunError> {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let host = host.to_string_lossy().into_owned();
    let local = |name: &str| match name.contains('.') {
        true => name.to_owned(),
        false => format!("{name}.local"),
    };
    let names = [
        "localhost".to_owned(),
        local(name.as_str()),
        local(&host),
        host,
    ];
    let names = names.into_iter().chain(config.hosts.iter().cloned());
    let subject = Subject {
        name: name.to_string(),
        hosts: names.filter(|it| is_host(it)).take(NAMES_MAX).collect(),
        addresses: addresses(config, &link::list().unwrap_or_default()),
    };
    let identity =
        Identity::from_pkcs8(&start.document).expect("the same document was read before");
    let directory = start.directory.path();
    Ok(Issuer::new(
        (identity, &start.document),
        directory,
        subject,
    )?)
}

/// The addresses at which the board answers; those of one link only cannot stand in a certificate.
pub(super) fn addresses(config: &Config, interfaces: &[Interface]) -> BTreeSet<IpAddr> {
    let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    if let Some(address) = config.bind_addr.filter(|address| !address.is_unspecified()) {
        return [address].into();
    }
    let named = |name: &String| config.interfaces.is_empty() || config.interfaces.contains(name);
    let used = interfaces.iter().filter(|it| named(&it.name));
    let all = used.flat_map(|it| &it.addresses);
    let usable = all.map(|it| it.address).filter(|address| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    });
    loopback.into_iter().chain(usable).take(NAMES_MAX).collect()
}

/// The text can stand in a certificate as a name.
fn is_host(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.len() <= 253 && text.chars().all(legal)
}
