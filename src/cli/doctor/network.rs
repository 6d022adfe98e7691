//! What a look at the network means, in words: interfaces, multicast, routes, port 1900, the
//! firewall.
//!
//! Pure: a report in, findings out. What the report could not see is not mentioned.

use super::Finding;
use crate::runtime::probe::{DiscoveryReport, Firewall, InterfaceReport, LinkReport, PortHolder};

/// Names listed in one finding.
const NAMES_MAX: usize = 4;
/// Our own processes, as the system names them.
const OWN_PROGRAM: &str = "roundel";

/// Everything the report says; `named` are the interfaces a person asked for.
pub(super) fn findings(report: &DiscoveryReport, named: &[String]) -> Vec<Finding> {
    let mut findings = missing(report, named);
    let chosen = || report.interfaces.iter().filter(|one| one.chosen);
    findings.extend(chosen().flat_map(interface));
    if chosen().next().is_none() && findings.is_empty() {
        findings.push(nothing_chosen(report));
    }
    if let Some(finding) = route(report, named) {
        findings.push(finding);
    }
    findings.extend(port(&report.port_holders));
    findings.extend(firewall(&report.firewall));
    findings
}

/// Interfaces a person named that are absent or down.
fn missing(report: &DiscoveryReport, named: &[String]) -> Vec<Finding> {
    let of = |name: &str| {
        report
            .interfaces
            .iter()
            .find(|one| one.interface.name == name)
    };
    let finding = |name: &String| match of(name) {
        None => Some(Finding::bad(
            format!("there is no interface {name}"),
            "`ip link` lists them",
        )),
        Some(one) if !one.chosen => Some(Finding::bad(
            format!("{name} is down"),
            format!("switch it on: ip link set {name} up"),
        )),
        Some(_) => None,
    };
    named.iter().filter_map(finding).collect()
}

fn nothing_chosen(report: &DiscoveryReport) -> Finding {
    let names = report
        .interfaces
        .iter()
        .map(|one| one.interface.name.clone());
    Finding::bad(
        format!(
            "no interface is up and looks like a LAN (there are: {})",
            listed(names.collect())
        ),
        "plug in the cable or join the radio network, or name one with --interface",
    )
}

fn interface(report: &InterfaceReport) -> Vec<Finding> {
    let interface = &report.interface;
    let name = &interface.name;
    if !interface.running {
        return vec![Finding::bad(
            format!("{name} has no link"),
            "plug in the cable, or join the radio network",
        )];
    }
    if !interface.multicast && !interface.loopback {
        return vec![Finding::bad(
            format!("{name} carries no multicast"),
            format!("switch it on: ip link set {name} multicast on"),
        )];
    }
    if report.links.is_empty() {
        return vec![Finding::bad(
            format!("{name} is up but has no address"),
            "wait for the router to give one, or see to DHCP on this board",
        )];
    }
    report.links.iter().map(|at| link(name, at)).collect()
}

fn link(name: &str, link: &LinkReport) -> Finding {
    let at = format!("{name} ({})", link.address);
    if let Some(error) = &link.error {
        return Finding::bad(
            format!("SSDP cannot be used on {at}: {error}"),
            "another program may keep port 1900 to itself: see below, and stop it or let it share",
        );
    }
    if !link.loops_back {
        return Finding::bad(
            format!("multicast sent on {at} does not come back to this board"),
            "a firewall on this board drops it: let UDP port 1900 in and out",
        );
    }
    match (link.heard.len(), link.answered.len()) {
        (0, 0) => Finding::odd(
            format!("nobody else was heard on {at}, and nobody answered a search"),
            "if others are there, a switch or an access point between does not pass multicast on: \
             look for IGMP snooping, client or AP isolation, a guest network",
        ),
        // Announcements are minutes apart: not to have heard one proves nothing.
        (0, answered) => Finding::good(format!("{} on {at}", answer(answered))),
        (heard, answered) => Finding::good(format!(
            "multicast comes through on {at}: heard {heard}, {}",
            answer(answered)
        )),
    }
}

fn answer(count: usize) -> String {
    match count {
        1 => "1 device answers".to_owned(),
        count => format!("{count} devices answer"),
    }
}

/// By which way multicast leaves when no interface is named; none is needed.
fn route(report: &DiscoveryReport, named: &[String]) -> Option<Finding> {
    if !named.is_empty() {
        return None;
    }
    let address = report.primary_address?;
    let has = |one: &&InterfaceReport| {
        let mut addresses = one.interface.addresses.iter();
        addresses.any(|prefix| prefix.address == address)
    };
    let by = report.interfaces.iter().find(has);
    match by {
        Some(one) if !one.chosen => Some(Finding::odd(
            format!(
                "multicast is routed by {}, where no LAN is expected",
                one.interface.name
            ),
            format!(
                "if it is one, name it: roundel run --interface {}",
                one.interface.name
            ),
        )),
        Some(one) => Some(Finding::good(format!(
            "multicast is routed by {}",
            one.interface.name
        ))),
        None => None,
    }
}

/// Other programs on port 1900; sharing it is usual.
fn port(holders: &[PortHolder]) -> Option<Finding> {
    let others = holders
        .iter()
        .filter(|holder| holder.program.as_deref() != Some(OWN_PROGRAM));
    let mut names: Vec<String> = others
        .map(|holder| match &holder.program {
            Some(program) => program.clone(),
            None => format!("a program of user {}", holder.uid),
        })
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return None;
    }
    Some(Finding::odd(
        format!("port 1900 is shared with {}", listed(names)),
        "this works as long as each of them shares it; if boards do not answer, stop them and \
         ask again",
    ))
}

fn firewall(firewall: &Firewall) -> Vec<Finding> {
    let next = "see that UDP port 1900, and the board's port by TCP and UDP, are let in";
    let mut findings = Vec::new();
    if !firewall.iptables.is_empty() {
        let tables = listed(firewall.iptables.clone());
        findings.push(Finding::odd(format!("iptables is in use ({tables})"), next));
    }
    match &firewall.nft_drops {
        Some(rules) if !rules.is_empty() => {
            let found = format!("the firewall drops packets: {}", listed(rules.clone()));
            findings.push(Finding::odd(found, next));
        }
        Some(_) if firewall.iptables.is_empty() => {
            findings.push(Finding::good("no firewall rule drops packets"));
        }
        _ => {}
    }
    findings
}

/// The first few, and that there are more.
fn listed(mut names: Vec<String>) -> String {
    let more = names.len() > NAMES_MAX;
    names.truncate(NAMES_MAX);
    let list = names.join(", ");
    match (more, list.is_empty()) {
        (true, _) => format!("{list}, and more"),
        (false, true) => "none".to_owned(),
        (false, false) => list,
    }
}

/// The report could not be made at all.
pub(super) fn unseen(error: &std::io::Error) -> Finding {
    Finding::bad(
        format!("the interfaces cannot be read: {error}"),
        "ask again as root",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use super::*;
    use crate::cli::doctor::Level;
    use crate::proto::ssdp::link::Prefix;
    use crate::runtime::link::Interface;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn link_report() -> LinkReport {
        let other = IpAddr::from([10, 0, 0, 2]);
        LinkReport {
            address: ADDRESS,
            error: None,
            loops_back: true,
            heard: BTreeMap::from([(other, 2)]),
            answered: BTreeMap::from([(other, 1)]),
        }
    }

    fn interface_report(name: &str) -> InterfaceReport {
        InterfaceReport {
            interface: Interface {
                index: 2,
                name: name.to_owned(),
                up: true,
                running: true,
                multicast: true,
                loopback: false,
                addresses: vec![Prefix {
                    address: ADDRESS,
                    bits: 24,
                }],
            },
            chosen: true,
            links: vec![link_report()],
        }
    }

    fn report(interfaces: Vec<InterfaceReport>) -> DiscoveryReport {
        DiscoveryReport {
            interfaces,
            routes: Vec::new(),
            primary_address: Some(ADDRESS),
            port_holders: Vec::new(),
            firewall: Firewall {
                iptables: Vec::new(),
                nft_drops: Some(Vec::new()),
            },
        }
    }

    /// Level and words of the first finding.
    fn first(report: &DiscoveryReport, named: &[&str]) -> (Level, String) {
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        let finding = findings(report, &named).remove(0);
        assert_eq!(finding.next.is_none(), finding.level == Level::Good);
        (finding.level, finding.found)
    }

    fn first_with(change: impl FnOnce(&mut InterfaceReport)) -> (Level, String) {
        let mut one = interface_report("eth0");
        change(&mut one);
        first(&report(vec![one]), &[])
    }

    #[test]
    fn a_network_that_is_well_has_only_good_findings() {
        let all = findings(&report(vec![interface_report("eth0")]), &[]);
        assert!(
            all.iter().all(|finding| finding.level == Level::Good),
            "{all:?}"
        );
        assert!(
            all[0].found.contains("comes through on eth0 (10.0.0.1)"),
            "{all:?}"
        );
    }

    #[test]
    fn what_is_wrong_with_an_interface_is_named() {
        let (level, found) = first_with(|one| one.interface.running = false);
        assert_eq!((level, found.as_str()), (Level::Bad, "eth0 has no link"));
        let (level, found) = first_with(|one| one.interface.multicast = false);
        assert_eq!(
            (level, found.as_str()),
            (Level::Bad, "eth0 carries no multicast")
        );
        let (level, found) = first_with(|one| one.links.clear());
        assert_eq!(
            (level, found.as_str()),
            (Level::Bad, "eth0 is up but has no address")
        );
        let (level, found) = first_with(|one| one.links[0].error = Some("in use".to_owned()));
        assert!(level == Level::Bad && found.contains("in use"), "{found}");
        let (level, found) = first_with(|one| one.links[0].loops_back = false);
        assert!(
            level == Level::Bad && found.contains("does not come back"),
            "{found}"
        );
    }

    #[test]
    fn silence_is_told_from_not_having_heard_an_announcement() {
        let (level, found) = first_with(|one| one.links[0].heard.clear());
        let all_well = level == Level::Good && found.contains("1 device answers");
        assert!(all_well, "{found}");
        let (level, found) = first_with(|one| {
            one.links[0].heard.clear();
            one.links[0].answered.clear();
        });
        assert!(
            level == Level::Odd && found.contains("nobody else"),
            "{found}"
        );
    }

    #[test]
    fn interfaces_that_are_not_there_or_not_chosen_are_named() {
        let (level, found) = first(&report(vec![interface_report("eth0")]), &["eth1"]);
        assert_eq!(
            (level, found.as_str()),
            (Level::Bad, "there is no interface eth1")
        );
        let mut down = interface_report("eth0");
        down.chosen = false;
        let (level, found) = first(&report(vec![down.clone()]), &["eth0"]);
        assert_eq!((level, found.as_str()), (Level::Bad, "eth0 is down"));
        let (level, found) = first(&report(vec![down]), &[]);
        assert!(
            level == Level::Bad && found.contains("there are: eth0"),
            "{found}"
        );
    }

    #[test]
    fn other_programs_and_rules_are_listed_but_our_own_are_not() {
        let holder = |program: Option<&str>| PortHolder {
            address: [0, 0, 0, 0].into(),
            uid: 7,
            program: program.map(str::to_owned),
        };
        assert!(port(&[holder(Some("roundel"))]).is_none());
        let found = port(&[holder(Some("minidlnad")), holder(None)])
            .unwrap()
            .found;
        assert!(found.contains("a program of user 7, minidlnad"), "{found}");
        let rules = Firewall {
            iptables: vec!["filter".to_owned()],
            nft_drops: Some(vec!["policy drop;".to_owned(); 9]),
        };
        let found = firewall(&rules);
        assert_eq!(found.len(), 2);
        assert!(
            found[1].found.ends_with("policy drop;, and more"),
            "{found:?}"
        );
    }
}
