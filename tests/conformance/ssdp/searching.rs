//! Searches and their answers (UDA 2.0 §1.3). Not what the searcher makes of an answer.

use super::*;

#[test]
fn multicast_search_without_a_valid_mx_is_met_with_silence() {
    let mut bench = Bench::settled(1);
    for mx in ["", "MX: 0\r\n", "MX: x\r\n", "MX: -1\r\n", "MX:\r\n"] {
        let lines = format!("{mx}ST: ssdp:all\r\n");
        assert_eq!(bench.answers(Via::Multicast, &lines), [], "{mx}");
    }
}

#[test]
fn malformed_search_is_met_with_silence() {
    let mut bench = Bench::settled(1);
    let sound = "M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n";
    for (from, to) in [
        ("\"", ""),
        ("MAN: \"ssdp:discover\"\r\n", ""),
        ("ST: ssdp:all\r\n", ""),
        ("ssdp:all", "ssdp"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("* HTTP", "/ HTTP"),
        ("M-SEARCH", "GET"),
    ] {
        bench.sent.clear();
        let text = sound.replace(from, to);
        assert_ne!(text, sound);
        bench.receive(Via::Multicast, "192.0.2.9:5000", text.as_bytes());
        bench.run(6 * SECOND);
        let answered =
            |(_, _, message): &(Time, Transmit, Message)| matches!(message, Message::Answer(_));
        assert!(!bench.sent.iter().any(answered), "{text}");
    }
}

#[test]
fn answers_are_spread_over_mx_and_mx_over_five_counts_as_five() {
    for (mx, seconds) in [(1, 1), (4, 4), (5, 5), (120, 5)] {
        let mut delays = Vec::new();
        for seed in 0..60 {
            let mut bench = Bench::settled(seed);
            let start = bench.now;
            let lines = format!("MX: {mx}\r\nST: upnp:rootdevice\r\n");
            bench.search(Via::Multicast, "192.0.2.9:5000", &lines);
            bench.run(seconds * SECOND);
            assert_eq!(bench.sent.len(), 1, "within {seconds} s");
            delays.push(bench.sent[0].0.since(start));
        }
        let middle = seconds * SECOND / 2;
        let late = delays.iter().filter(|delay| **delay > middle).count();
        assert!((15..=45).contains(&late), "{late} of 60 in the later half");
    }
}

#[test]
fn unicast_search_is_answered_at_once_with_or_without_mx() {
    for lines in [
        "ST: upnp:rootdevice\r\n",
        "MX: 5\r\nST: upnp:rootdevice\r\n",
    ] {
        let mut bench = Bench::settled(1);
        bench.search(Via::Unicast, "192.0.2.9:5000", lines);
        assert_eq!(bench.sent.len(), 1);
    }
}

#[test]
fn search_target_rules() {
    let mut bench = Bench::settled(1);
    let root = id("we").udn(false);
    let round = id("we").udn(true);
    let ring = |version| format!("urn:roundel-org:service:Ring:{version}");
    let cases = [
        ("upnp:rootdevice".to_owned(), Some(&root)),
        (format!("uuid:{root}"), Some(&root)),
        (format!("uuid:{}", root.to_uppercase()), Some(&root)),
        (format!("uuid:{round}"), Some(&round)),
        ("urn:roundel-org:device:RingNode:1".to_owned(), Some(&root)),
        (
            "urn:cybergarage-org:device:round:1".to_owned(),
            Some(&round),
        ),
        (ring(2), Some(&root)),
        (ring(1), Some(&root)),
        (ring(3), None),
        (ring(0), None),
        ("urn:roundel-org:device:RingNode:2".to_owned(), None),
        ("urn:roundel-org:service:RingNode:1".to_owned(), None),
        ("urn:schemas-upnp-org:device:Basic:1".to_owned(), None),
        (format!("uuid:{}", Id::ZERO.udn(false)), None),
        ("roku:ecp".to_owned(), None),
    ];
    for (st, udn) in cases {
        let lines = format!("MX: 1\r\nST: {st}\r\n");
        let expected = udn.map(|udn| match st.starts_with("uuid:") {
            true => (st.clone(), format!("uuid:{udn}")),
            false => (st.clone(), format!("uuid:{udn}::{st}")),
        });
        assert_eq!(
            Vec::from_iter(expected),
            bench.answers(Via::Multicast, &lines),
            "{st}"
        );
    }
    let all = bench.answers(Via::Multicast, "MX: 1\r\nST: ssdp:all\r\n");
    let usns: BTreeSet<_> = all.iter().map(|(_, usn)| usn.clone()).collect();
    assert_eq!((all.len(), usns), (6, usns_of_the_set()));
}

#[test]
fn answer_has_every_field() {
    let mut bench = Bench::settled(1);
    bench.search(Via::Unicast, "192.0.2.9:5000", "ST: upnp:rootdevice\r\n");
    let text = String::from_utf8(bench.sent[0].1.bytes.clone()).unwrap();
    for line in [
        "HTTP/1.1 200 OK",
        "Cache-Control: max-age=1800",
        "EXT: ",
        "Location: http://192.0.2.1:38400/description.xml",
        "Server: Linux/6 UPnP/2.0 roundel/0",
        "ST: upnp:rootdevice",
        "BOOTID.UPNP.ORG: 10",
        "CLUSTER.ROUNDEL.ORG: lab",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
}

#[test]
fn sources_that_are_not_on_the_link_are_dropped() {
    let mut bench = Bench::settled(1);
    bench.search(Via::Unicast, "198.51.100.9:5000", "ST: ssdp:all\r\n");
    bench.search(Via::Unicast, "192.0.2.9:0", "ST: ssdp:all\r\n");
    let far = Message::Alive(alive("far", "198.51.100.9:80")).emit();
    bench.receive(Via::Multicast, "198.51.100.9:1900", &far);
    assert_eq!((bench.sent.len(), bench.hints.len()), (0, 0));
    assert_eq!(bench.ssdp.stats().off_link, 3);
}

#[test]
fn answers_to_one_source_and_to_all_are_bounded() {
    let mut bench = Bench::settled(1);
    for _ in 0..1_000 {
        bench.search(Via::Unicast, "192.0.2.9:5000", "ST: upnp:rootdevice\r\n");
    }
    assert_eq!(
        bench.sent.len(),
        limit::SSDP_ANSWERS_PER_SOURCE_MAX as usize
    );
    for host in 10..200 {
        let from = format!("192.0.2.{host}:5000");
        for _ in 0..10 {
            bench.search(Via::Unicast, &from, "ST: upnp:rootdevice\r\n");
        }
    }
    assert_eq!(bench.sent.len(), limit::SSDP_ANSWERS_MAX as usize);
    bench.sent.clear();
    bench.run(SECOND);
    bench.search(Via::Unicast, "192.0.2.9:5000", "ST: upnp:rootdevice\r\n");
    assert_eq!(bench.sent.len(), 1, "a second later all is well");
}

#[test]
fn link_that_comes_up_is_searched_three_times_at_once() {
    let mut bench = Bench::new(1);
    let start = bench.now;
    bench.run(2 * SECOND);
    let searches: Vec<_> = bench
        .sent
        .iter()
        .filter_map(|(time, _, message)| match message {
            Message::Search(search) => Some((time.since(start), search)),
            _ => None,
        })
        .collect();
    assert_eq!(searches.len(), 3);
    assert_eq!(searches[0].0, Duration::ZERO);
    for (_, search) in searches {
        assert_eq!(search.mx.unwrap().get(), 1);
        assert_eq!(search.friendly_name.as_ref().unwrap().as_str(), "we");
        assert_eq!(search.st.to_string(), "urn:roundel-org:device:RingNode:1");
    }
}

#[test]
fn datagrams_of_other_programs_are_read() {
    for (what, text) in [
        (
            "gssdp-discover",
            "M-SEARCH * HTTP/1.1\r\nHost: 239.255.255.250:1900\r\nMan: \"ssdp:discover\"\r\n\
             ST: ssdp:all\r\nMX: 3\r\nUser-Agent: gssdp-discover GSSDP/1.6.3\r\n\r\n",
        ),
        (
            "async_upnp_client",
            "M-SEARCH * HTTP/1.1\r\nHOST:239.255.255.250:1900\r\nMAN:\"ssdp:discover\"\r\nMX:4\r\n\
             ST:upnp:rootdevice\r\n\r\n",
        ),
        (
            "ssdp-client",
            "M-SEARCH * HTTP/1.1\r\nHost:239.255.255.250:1900\r\nMan:\"ssdp:discover\"\r\n\
             ST: ssdp:all\r\nMX: 2\r\n\r\n",
        ),
    ] {
        let mut bench = Bench::settled(1);
        bench.receive(Via::Multicast, "192.0.2.9:5000", text.as_bytes());
        bench.run(5 * SECOND);
        assert!(!bench.sent.is_empty(), "{what} is answered");
    }
    for (what, text) in [
        (
            "minidlna",
            "NOTIFY * HTTP/1.1\r\nHOST:239.255.255.250:1900\r\nCACHE-CONTROL:max-age=1810\r\n\
             LOCATION:http://192.0.2.5:8200/rootDesc.xml\r\n\
             SERVER: Debian DLNADOC/1.50 UPnP/1.0 MiniDLNA/1.3.3\r\nNT:upnp:rootdevice\r\n\
             USN:uuid:4d696e69-444c-164e-9d41-0242ac110002::upnp:rootdevice\r\n\
             NTS:ssdp:alive\r\n\r\n",
        ),
        (
            "gssdp",
            "NOTIFY * HTTP/1.1\r\nHost: 239.255.255.250:1900\r\nCache-Control: max-age=1800\r\n\
             Location: http://192.0.2.5:4711/light.xml\r\n\
             Server: Linux/6.1 UPnP/1.0 GUPnP/1.6.3\r\n\
             NTS: ssdp:alive\r\nNT: urn:schemas-upnp-org:device:DimmableLight:1\r\n\
             USN: uuid:7f2a3c51-1d27-4c2b-8a70-0d1f5ad0b0f4::\
             urn:schemas-upnp-org:device:DimmableLight:1\r\n\
             BOOTID.UPNP.ORG: 1732168800\r\nCONFIGID.UPNP.ORG: 0\r\n\r\n",
        ),
        (
            "async_upnp_client",
            "HTTP/1.1 200 OK\r\nCACHE-CONTROL:max-age=1800\r\n\
             DATE:Fri, 21 Nov 2025 06:00:00 GMT\r\n\
             ST:upnp:rootdevice\r\nUSN:uuid:11111111-2222-3333-4444-555555555555::\
             upnp:rootdevice\r\nEXT:\r\nSERVER:Linux/6.1 UPnP/1.0 async-upnp-client/1.0\r\n\
             LOCATION:http://192.0.2.5:8000/device.xml\r\nBOOTID.UPNP.ORG:1\r\n\
             CONFIGID.UPNP.ORG:1\r\n\r\n",
        ),
    ] {
        assert!(Message::parse(text.as_bytes()).is_ok(), "{what}");
    }
}
