//! Alive, update and byebye: when, how often and with what (UDA 2.0 §1.2). Not who believes it.

use roundel::wire::ssdp::ConfigId;

use super::*;

#[test]
fn first_set_comes_within_100_ms_and_three_times() {
    let mut first_delays = BTreeSet::new();
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        let start = bench.now;
        bench.run(5 * SECOND);
        let alives = bench.alives();
        let times: Vec<_> = alives.iter().map(|(time, _)| *time).collect();
        let moments: BTreeSet<_> = times.iter().copied().collect();
        let moments: Vec<_> = moments.into_iter().collect();
        assert_eq!((alives.len(), moments.len()), (3 * 6, 3));
        assert!(moments[0].since(start) <= 100 * MS);
        for pair in moments.windows(2) {
            let gap = pair[1].since(pair[0]);
            assert!((200 * MS..=500 * MS).contains(&gap), "{gap:?}");
        }
        for set in alives.chunks(6) {
            let usns: BTreeSet<_> = set.iter().map(|(_, alive)| alive.usn.to_string()).collect();
            assert_eq!(usns, usns_of_the_set());
        }
        first_delays.insert(moments[0].since(start));
    }
    assert!(first_delays.len() > 40, "the delay is random");
}

#[test]
fn sets_are_refreshed_before_half_of_max_age() {
    let mut bench = Bench::new(1);
    bench.run(Duration::from_secs(24 * 3_600));
    let times: BTreeSet<_> = bench.alives().iter().map(|(time, _)| *time).collect();
    let times: Vec<_> = times.into_iter().collect();
    let half = Duration::from_secs(900);
    assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) < half));
    assert!(times.len() < 3 * 24 * 8, "and not much more often");
}

#[test]
fn advertisement_has_every_field() {
    let mut bench = Bench::new(1);
    bench.run(SECOND);
    let (_, transmit, _) = bench
        .sent
        .iter()
        .find(|(_, _, message)| matches!(message, Message::Alive(_)))
        .unwrap();
    assert_eq!(transmit.to, "239.255.255.250:1900".parse().unwrap());
    let text = String::from_utf8(transmit.bytes.clone()).unwrap();
    let config = description().config_id.get();
    for line in [
        "NOTIFY * HTTP/1.1",
        "Host: 239.255.255.250:1900",
        "Cache-Control: max-age=1800",
        "Location: http://192.0.2.1:38400/description.xml",
        "NT: upnp:rootdevice",
        "NTS: ssdp:alive",
        "Server: Linux/6 UPnP/2.0 roundel/0",
        "BOOTID.UPNP.ORG: 10",
        &format!("CONFIGID.UPNP.ORG: {config}"),
        "CLUSTER.ROUNDEL.ORG: lab",
        &format!("NODE.ROUNDEL.ORG: {}", id("we")),
        "BOOT.ROUNDEL.ORG: 7",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
    assert!(text.ends_with("\r\n\r\n"));
    assert!(!text.contains("SEARCHPORT"));
    assert!(config <= ConfigId::MAX);
}

#[test]
fn search_port_is_announced_when_1900_was_taken() {
    let mut bench = Bench::idle(1);
    let mut other = link("192.0.2.1");
    other.search_port = Some(50_000);
    bench
        .ssdp
        .handle_links(bench.now, Links::from([(KEY, other)]), None);
    bench.run(SECOND);
    assert!(
        bench
            .alives()
            .iter()
            .all(|(_, alive)| alive.search_port == Some(50_000))
    );
}

#[test]
fn ipv6_host_and_location_show_no_zone() {
    let mut bench = Bench::idle(1);
    let group = Group::V6Link;
    let key = LinkKey { index: 2, group };
    bench.links(&[(key, "fe80::1")], None);
    bench.run(SECOND);
    let (_, alive) = bench.alives()[0];
    assert_eq!(alive.host.to_string(), "[ff02::c]:1900");
    assert_eq!(
        alive.location.to_string(),
        "http://[fe80::1]:38400/description.xml"
    );
    let SocketAddr::V6(to) = bench.sent[0].1.to else {
        panic!("IPv6 goes to IPv6");
    };
    assert_eq!(to.scope_id(), 2);
}

#[test]
fn stop_says_farewell_for_the_full_set_and_is_silent_then() {
    let mut bench = Bench::settled(1);
    bench.ssdp.handle_stop();
    bench.drain();
    let usns: BTreeSet<_> = bench
        .sent
        .iter()
        .map(|(_, _, message)| match message {
            Message::ByeBye(message) => message.usn.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(usns, usns_of_the_set());
    bench.sent.clear();
    bench.search(Via::Unicast, "192.0.2.9:5000", "ST: ssdp:all\r\n");
    bench.run(Duration::from_secs(3_600));
    assert_eq!(bench.sent, []);
}

#[test]
fn new_interface_is_an_update_on_the_others_and_then_an_alive() {
    let mut bench = Bench::settled(1);
    let links = [(KEY, "192.0.2.1"), (OTHER, "198.51.100.1")];
    let wanted: Links = links.iter().map(|(key, text)| (*key, link(text))).collect();
    assert!(bench.ssdp.needs_boot_id(&wanted));
    bench.links(&links, Some(11));
    let updates: Vec<_> = bench
        .sent
        .iter()
        .filter_map(|(_, transmit, message)| match message {
            Message::Update(update) => Some((transmit.key, update)),
            _ => None,
        })
        .collect();
    assert_eq!(updates.len(), 6);
    for (key, update) in updates {
        assert_eq!(key, KEY);
        assert_eq!(update.counters.boot_id, Some(BootId::new(10)));
        assert_eq!(update.next_boot_id, BootId::new(11));
    }
    bench.run(5 * SECOND);
    let alives = bench.alives();
    assert_eq!(alives.len(), 3 * 6, "on the new link only");
    for (_, alive) in alives {
        assert_eq!(alive.counters.boot_id, Some(BootId::new(11)));
        assert!(alive.location.to_string().contains("198.51.100.1"));
    }
}

#[test]
fn changed_address_is_a_farewell_and_an_alive_under_the_next_boot_id() {
    let mut bench = Bench::settled(1);
    bench.links(&[(KEY, "192.0.2.77")], Some(11));
    let farewells = bench.sent.iter().filter(|(_, _, message)| {
        matches!(message, Message::ByeBye(message)
            if message.counters.boot_id == Some(BootId::new(10)))
    });
    assert_eq!(farewells.count(), 6);
    bench.run(5 * SECOND);
    assert!(bench.alives().iter().all(|(_, alive)| {
        alive.counters.boot_id == Some(BootId::new(11))
            && alive.location.to_string().contains("192.0.2.77")
    }));
}

#[test]
fn first_interface_needs_no_new_boot_id() {
    let bench = Bench::idle(1);
    let links = Links::from([(KEY, link("192.0.2.1"))]);
    assert!(!bench.ssdp.needs_boot_id(&links));
    let bench = Bench::settled(1);
    assert!(!bench.ssdp.needs_boot_id(&links), "nothing changed");
    assert!(
        !bench.ssdp.needs_boot_id(&Links::new()),
        "an interface that goes"
    );
}

#[test]
fn idle_machine_does_not_wake_more_than_every_few_seconds() {
    let mut bench = Bench::settled(1);
    let mut wakes = 0;
    let end = bench.now + Duration::from_secs(600);
    while let Some(due) = bench.ssdp.poll_timeout().filter(|due| *due <= end) {
        bench.ssdp.handle_timeout(due);
        wakes += 1;
    }
    assert!(wakes < 600 / 5, "{wakes} in ten minutes");
}
