//! What is made of others' messages: hints, a bounded memory, nothing more. Not what is sent.

use roundel::base::hint::HintMac;

use super::*;

#[test]
fn alive_update_and_answer_hint_and_a_farewell_hints_once() {
    let mut bench = Bench::settled(1);
    let from = "192.0.2.8:1900";
    let sound = alive("they", "192.0.2.8:38400");
    bench.receive(Via::Multicast, from, &Message::Alive(sound.clone()).emit());
    let expected = Hint {
        endpoint: "192.0.2.8:38400".parse().unwrap(),
        cluster: "lab".parse().unwrap(),
        node: id("they"),
        boot: Some(7),
        mac: Some(HintMac([9; 16])),
        kind: HintKind::Alive,
    };
    assert_eq!(bench.hints, std::slice::from_ref(&expected));
    bench.receive(Via::Multicast, from, &Message::Alive(sound).emit());
    assert_eq!(bench.hints.len(), 1, "nothing new so soon");
    let farewell = format!(
        "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: upnp:rootdevice\r\n\
         NTS: ssdp:byebye\r\nUSN: uuid:{}\r\nNODE.ROUNDEL.ORG: {}\r\n\r\n",
        id("they").udn(false),
        id("they"),
    );
    bench.receive(Via::Multicast, "192.0.2.9:1900", farewell.as_bytes());
    assert_eq!(bench.hints.len(), 1, "not from another's address");
    bench.receive(Via::Multicast, from, farewell.as_bytes());
    bench.receive(Via::Multicast, from, farewell.as_bytes());
    let kind = HintKind::ByeBye;
    assert_eq!(bench.hints[1..], [Hint { kind, ..expected }]);
    assert_eq!(bench.ssdp.heard().count(), 1, "a farewell evicts nobody");
}

#[test]
fn advertisement_that_contradicts_itself_is_not_believed() {
    type Damage = fn(&mut Alive);
    let cases: [(&str, Damage); 5] = [
        ("another host in LOCATION", |alive| {
            alive.location = "http://192.0.2.9:80/".parse().unwrap();
        }),
        ("a UDN not of the node", |alive| {
            alive.usn = Usn::new(&id("x").udn(false), &Target::ROOT_DEVICE);
        }),
        ("port 0", |alive| {
            alive.location = "http://192.0.2.8:0/".parse().unwrap();
        }),
        ("no node", |alive| alive.vendor.node = None),
        ("no cluster", |alive| alive.vendor.cluster = None),
    ];
    for (what, damage) in cases {
        let mut bench = Bench::settled(1);
        let mut message = alive("they", "192.0.2.8:80");
        damage(&mut message);
        bench.receive(
            Via::Multicast,
            "192.0.2.8:1900",
            &Message::Alive(message).emit(),
        );
        assert_eq!(bench.hints, [], "{what}");
    }
    let mut bench = Bench::settled(1);
    let message = Message::Alive(alive("they", "192.0.2.8:80")).emit();
    bench.receive(Via::Unicast, "192.0.2.8:1900", &message);
    assert_eq!(bench.hints, [], "an advertisement by unicast");
}

#[test]
fn own_voice_is_not_a_hint_but_a_clone_is() {
    let mut bench = Bench::settled(1);
    let ours = Message::Alive(alive("we", "192.0.2.1:38400")).emit();
    bench.receive(Via::Multicast, "192.0.2.1:1900", &ours);
    assert_eq!(bench.hints, []);
    let clone = Message::Alive(alive("we", "192.0.2.5:38400")).emit();
    bench.receive(Via::Multicast, "192.0.2.5:1900", &clone);
    assert_eq!(bench.hints.len(), 1);
}

#[test]
fn expired_board_is_probed_and_forgotten_only_without_an_answer() {
    for answers in [true, false] {
        let mut bench = Bench::settled(1);
        let mut message = alive("they", "192.0.2.8:80");
        (message.max_age, message.search_port) = (10, Some(50_000));
        bench.receive(
            Via::Multicast,
            "192.0.2.8:1900",
            &Message::Alive(message.clone()).emit(),
        );
        bench.run(Duration::from_millis(10_500));
        let to = "192.0.2.8:50000".parse().unwrap();
        let probes = bench
            .sent
            .iter()
            .filter(|(_, transmit, _)| transmit.to == to);
        assert_eq!(probes.count(), 1);
        assert_eq!(bench.ssdp.heard().count(), 1);
        if answers {
            let answer = Message::Answer(roundel::wire::ssdp::Answer {
                max_age: 1_800,
                location: message.location,
                server: None,
                st: message.nt,
                usn: message.usn,
                counters: message.counters,
                search_port: None,
                vendor: message.vendor,
            });
            bench.receive(Via::Unicast, "192.0.2.8:50000", &answer.emit());
        }
        bench.run(5 * SECOND);
        assert_eq!(bench.ssdp.heard().count(), usize::from(answers));
    }
}

#[test]
fn ten_thousand_forged_advertisements_stay_bounded_and_displace_no_neighbour() {
    let mut bench = Bench::settled(1);
    let genuine = Message::Alive(alive("they", "192.0.2.8:80")).emit();
    bench.receive(Via::Multicast, "192.0.2.8:1900", &genuine);
    for number in 0..10_000 {
        let forged = Message::Alive(alive(&format!("forged-{number}"), "192.0.2.66:80")).emit();
        let from = "192.0.2.66:1900".parse().unwrap();
        bench
            .ssdp
            .handle_datagram(bench.now, (KEY, Via::Multicast), from, &forged);
        while bench.ssdp.poll_event().is_some() {}
    }
    bench.ssdp.check_invariants();
    assert_eq!(bench.ssdp.heard().count(), limit::SSDP_CACHE_MAX);
    let kept = |(_, entry): (LinkKey, &roundel::proto::ssdp::cache::Entry)| {
        entry.sighting.node == id("they")
    };
    assert!(bench.ssdp.heard().any(kept));
}
