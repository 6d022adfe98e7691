//! Properties and tables of the SSDP messages.

use proptest::prelude::*;

use super::*;

fn targets() -> impl Strategy<Value = Target> {
    prop_oneof![
        Just(Target::ALL),
        Just(Target::ROOT_DEVICE),
        "[0-9a-f-]{1,40}".prop_map(|uuid| Target::uuid(&uuid)),
        (
            "[a-z-]{1,20}",
            "[A-Za-z0-9]{1,20}",
            any::<u32>(),
            any::<bool>()
        )
            .prop_map(|(domain, typ, version, device)| {
                let kind = if device { "device" } else { "service" };
                format!("urn:{domain}:{kind}:{typ}:{version}")
                    .parse()
                    .unwrap()
            }),
        "[a-t]{1,9}:[a-z]{1,9}".prop_filter_map("read as another kind", |text| text.parse().ok()),
    ]
}

fn texts() -> impl Strategy<Value = Text> {
    "[ -~\u{e4}\u{6f22}]{1,40}"
        .prop_filter_map("leading or trailing space", |text| text.parse().ok())
}

fn usns() -> impl Strategy<Value = Usn> {
    ("[0-9a-f-]{1,40}", targets()).prop_map(|(uuid, target)| Usn::new(&uuid, &target))
}

fn hosts() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
    ]
}

fn locations() -> impl Strategy<Value = Location> {
    (hosts(), "/[!-~]{0,40}").prop_map(|(host, path)| Location::new(host, &path))
}

fn counts() -> impl Strategy<Value = Counters> {
    any::<(Option<u32>, Option<u32>)>().prop_map(|(boot_id, config_id)| Counters {
        boot_id: boot_id.map(BootId::new),
        config_id: config_id.map(ConfigId::new),
    })
}

fn vendors() -> BoxedStrategy<Vendor> {
    (
        prop::option::of("[A-Za-z0-9_.-]{1,63}"),
        any::<Option<[u8; 32]>>(),
        any::<Option<u64>>(),
        any::<Option<[u8; 16]>>(),
    )
        .prop_map(|(cluster, node, boot, hint)| Vendor {
            cluster: cluster.map(|name| name.parse().unwrap()),
            node: node.map(Id::from_bytes),
            boot,
            hint: hint.map(HintMac),
        })
        // The messages' strategies are large values; a test's stack is not.
        .boxed()
}

fn ports() -> impl Strategy<Value = Option<u16>> {
    prop::option::of(1u16..)
}

prop_compose! {
    fn searches()(
        host in prop::option::of(hosts()),
        mx: Option<NonZeroU32>,
        st in targets(),
        friendly_name in prop::option::of(texts()),
        user_agent in prop::option::of(texts()),
    ) -> Message {
        Message::Search(Search { host, mx, st, friendly_name, user_agent })
    }
}

prop_compose! {
    fn alives()(
        host in hosts(), max_age: u32, location in locations(), nt in targets(),
        server in prop::option::of(texts()), usn in usns(), counters in counts(),
        search_port in ports(), vendor in vendors(),
    ) -> Message {
        Message::Alive(Alive {
            host, max_age, location, nt, server, usn, counters, search_port, vendor,
        })
    }
}

prop_compose! {
    fn answers()(
        max_age: u32, location in locations(), server in prop::option::of(texts()),
        st in targets(), usn in usns(), counters in counts(), search_port in ports(),
        vendor in vendors(),
    ) -> Message {
        Message::Answer(Answer {
            max_age, location, server, st, usn, counters, search_port, vendor,
        })
    }
}

prop_compose! {
    fn farewells()(
        host in hosts(), nt in targets(), usn in usns(), counters in counts(),
        vendor in vendors(),
    ) -> Message {
        Message::ByeBye(ByeBye { host, nt, usn, counters, vendor })
    }
}

prop_compose! {
    fn updates()(
        host in hosts(), location in locations(), nt in targets(), usn in usns(),
        counters in counts(), next in 0..=BootId::MAX, search_port in ports(),
        vendor in vendors(),
    ) -> Message {
        let next_boot_id = BootId::new(next);
        Message::Update(Update {
            host, location, nt, usn, counters, next_boot_id, search_port, vendor,
        })
    }
}

proptest! {
    #[test]
    fn every_message_is_read_back(
        message in prop_oneof![searches(), alives(), answers(), farewells(), updates()],
    ) {
        prop_assert_eq!(Message::parse(&message.emit()), Ok(message));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
        let _ = Message::parse(&bytes);
    }

    #[test]
    fn no_damage_makes_the_parser_panic(
        message in prop_oneof![searches(), alives(), answers(), farewells(), updates()],
        at: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
    ) {
        let mut bytes = message.emit();
        let (at, cut) = (at.index(bytes.len()), cut.index(bytes.len()));
        let _ = Message::parse(&bytes[..cut]);
        bytes[at] = byte;
        let _ = Message::parse(&bytes);
    }
}

const SEARCH: &str = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\
                      MAN: \"ssdp:discover\"\r\nMX: 2\r\nST: ssdp:all\r\n\r\n";
const ALIVE: &str = "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\
                     CACHE-CONTROL: max-age=1800\r\nLOCATION: http://192.0.2.7:80/d.xml\r\n\
                     NT: upnp:rootdevice\r\nNTS: ssdp:alive\r\nSERVER: a/1 UPnP/2.0 b/1\r\n\
                     USN: uuid:ab::upnp:rootdevice\r\nBOOTID.UPNP.ORG: 1\r\n\
                     CONFIGID.UPNP.ORG: 2\r\n\r\n";

// Long function: one row for each way in which a message can be wrong.
#[test]
fn malformed_messages_say_what_is_wrong() {
    use ParseError::{Incomplete, Invalid, Missing, NotHttp, Start, Twice};
    let twice = "ST: ssdp:all\r\nST: ssdp:all\r\n";
    for (base, from, to, expected) in [
        (SEARCH, "HTTP/1.1", "HTTP/1.0", Start),
        (SEARCH, "HTTP/1.1", "HTTP/2.0", NotHttp),
        (SEARCH, "M-SEARCH *", "M-SEARCH /", Start),
        (SEARCH, "M-SEARCH", "GET", Start),
        (SEARCH, "\"ssdp:discover\"", "ssdp:discover", Invalid("MAN")),
        (SEARCH, "MAN: \"ssdp:discover\"\r\n", "", Missing("MAN")),
        (SEARCH, "ST: ssdp:all\r\n", "", Missing("ST")),
        (SEARCH, "ST: ssdp:all", "ST: nonsense", Invalid("ST")),
        (SEARCH, "ST: ssdp:all\r\n", twice, Twice("ST")),
        (SEARCH, "\r\n\r\n", "\r\n", Incomplete),
        (
            SEARCH,
            "HOST: 239.255.255.250:1900",
            "HOST: tv.local",
            Invalid("Host"),
        ),
        (SEARCH, "HOST: 239", "HO ST: 239", NotHttp),
        (ALIVE, "ssdp:alive", "ssdp:dead", Invalid("NTS")),
        (ALIVE, "NTS: ssdp:alive\r\n", "", Missing("NTS")),
        (ALIVE, "max-age=1800", "no-cache", Invalid("Cache-Control")),
        (
            ALIVE,
            "max-age=1800",
            "max-age=-1",
            Invalid("Cache-Control"),
        ),
        (ALIVE, "http://192", "https://192", Invalid("Location")),
        (ALIVE, "uuid:ab", "ab", Invalid("USN")),
        (
            ALIVE,
            "BOOTID.UPNP.ORG: 1",
            "BOOTID.UPNP.ORG: x",
            Invalid("BOOTID.UPNP.ORG"),
        ),
        (
            ALIVE,
            "BOOTID.UPNP.ORG: 1",
            "BOOTID.UPNP.ORG: 2147483648",
            Invalid("BOOTID.UPNP.ORG"),
        ),
        (
            ALIVE,
            "G: 2\r\n",
            "G: 16777216\r\n",
            Invalid("CONFIGID.UPNP.ORG"),
        ),
        (
            ALIVE,
            "G: 2\r\n",
            "G: 2\r\nNODE.ROUNDEL.ORG: 12\r\n",
            Invalid("NODE.ROUNDEL.ORG"),
        ),
        (
            ALIVE,
            "G: 2\r\n",
            "G: 2\r\nBOOT.ROUNDEL.ORG: +1\r\n",
            Invalid("BOOT.ROUNDEL.ORG"),
        ),
        (
            ALIVE,
            "G: 2\r\n",
            "G: 2\r\nCLUSTER.ROUNDEL.ORG: a b\r\n",
            Invalid("CLUSTER.ROUNDEL.ORG"),
        ),
        (
            ALIVE,
            "G: 2\r\n",
            "G: 2\r\nSEARCHPORT.UPNP.ORG: 0\r\n",
            Invalid("SEARCHPORT.UPNP.ORG"),
        ),
    ] {
        let text = base.replace(from, to);
        assert_ne!(text, base, "{from} must be there to be replaced");
        assert_eq!(Message::parse(text.as_bytes()), Err(expected), "{text}");
    }
    assert_eq!(
        Message::parse(&[b'a'; 20_000]),
        Err(ParseError::TooLong { got: 20_000 })
    );
    let crowd = "A: b\r\n".repeat(65) + "\r\n";
    let crowded = SEARCH.replace("\r\n\r\n", &("\r\n".to_owned() + &crowd));
    assert_eq!(Message::parse(crowded.as_bytes()), Err(NotHttp));
    assert_eq!(Message::parse(b""), Err(Incomplete));
    assert_eq!(Message::parse(b"HTTP/1.1 404 No\r\n\r\n"), Err(Start));
}

#[test]
fn mx_that_is_no_positive_number_is_none() {
    for mx in ["0", "-1", "x", "", "1.5", "+2"] {
        let text = SEARCH.replace("MX: 2", &format!("MX: {mx}"));
        let Ok(Message::Search(search)) = Message::parse(text.as_bytes()) else {
            panic!("{text} is a search");
        };
        assert_eq!(search.mx, None, "{mx}");
    }
}

#[test]
fn max_age_is_found_among_other_directives() {
    for value in [
        "max-age=9",
        "max-age = 9",
        "no-cache, MAX-AGE=\"9\"",
        "public,max-age=9 ,x=y",
    ] {
        let text = ALIVE.replace("max-age=1800", value);
        let Ok(Message::Alive(alive)) = Message::parse(text.as_bytes()) else {
            panic!("{text} is an alive");
        };
        assert_eq!(alive.max_age, 9);
    }
}

#[test]
fn header_names_are_read_in_any_case() {
    let lower = ALIVE.replace("LOCATION", "location").replace("USN", "uSn");
    assert_eq!(
        Message::parse(lower.as_bytes()),
        Message::parse(ALIVE.as_bytes())
    );
}
