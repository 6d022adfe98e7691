//! The linter tried on documents in the manner of well known devices: those that are right pass,
//! and each rule has a document that breaks it.

use std::collections::BTreeSet;

use super::lint::{self, Finding, RULES, Service};

const MEDIA_SERVER: &str = include_str!("document/media_server.xml");
const CONTENT_DIRECTORY: &str = include_str!("document/content_directory.xml");
const GATEWAY: &str = include_str!("document/gateway.xml");
const CONNECTION: &str = include_str!("document/wan_ip_connection.xml");
const BRIDGE: &str = include_str!("document/bridge.xml");
const CAMERA: &str = include_str!("document/camera.xml");
const TELEVISION: &str = include_str!("document/television.xml");

fn service(config_id: Option<u32>) -> Service {
    Service {
        scpd_url: "/scpd.xml".to_owned(),
        event_url: "/event".to_owned(),
        config_id,
    }
}

fn description(text: &str) -> Vec<Finding> {
    lint::description(text.as_bytes()).0
}

fn scpd(text: &str) -> Vec<Finding> {
    let config_id = text.contains("configId").then_some(1_337);
    lint::scpd(text.as_bytes(), &service(config_id))
}

fn rules(findings: &[Finding]) -> BTreeSet<&'static str> {
    findings.iter().map(|finding| finding.rule).collect()
}

#[test]
fn documents_of_well_known_devices_pass() {
    for text in [MEDIA_SERVER, GATEWAY, BRIDGE] {
        let findings = description(text);
        assert!(findings.is_empty(), "{findings:?}");
    }
    for text in [CONTENT_DIRECTORY, CONNECTION] {
        let findings = scpd(text);
        assert!(findings.is_empty(), "{findings:?}");
    }
    let (_, services) = lint::description(GATEWAY.as_bytes());
    let urls: Vec<_> = services
        .iter()
        .map(|service| service.scpd_url.as_str())
        .collect();
    assert_eq!(urls, ["/L3F.xml", "/WANCfg.xml", "/WANIPCn.xml"]);
}

#[test]
fn everything_wrong_with_a_document_is_found() {
    let expected = [
        "device-type",
        "friendly-name",
        "model-name",
        "service-id-name",
        "service-url",
        "udn",
        "url-form",
    ];
    assert_eq!(rules(&description(CAMERA)), expected.into());
    let expected = [
        "argument-order",
        "data-type",
        "event-url",
        "name-form",
        "related-variable",
        "send-events",
    ];
    assert_eq!(rules(&scpd(TELEVISION)), expected.into());
}

/// A rule, a document that keeps it, and the change that breaks it.
type Broken = (&'static str, &'static str, &'static str, &'static str);

const DESCRIPTIONS: [Broken; 23] = [
    ("well-formed", GATEWAY, "</root>", ""),
    ("well-formed", GATEWAY, "<root ", "<!DOCTYPE root><root "),
    ("root-namespace", GATEWAY, "device-1-0", "device-1-1"),
    ("spec-version", GATEWAY, "<minor>1</minor>", ""),
    ("spec-version", GATEWAY, "<major>1<", "<major>3<"),
    ("config-id", GATEWAY, "configId=\"1337\"", ""),
    ("config-id", GATEWAY, "\"1337\"", "\"16777216\""),
    (
        "url-base",
        GATEWAY,
        "<device>\n  <deviceType>urn:schemas-upnp-org:device:Int",
        "<URLBase>http://192.168.1.1/</URLBase><device><deviceType>urn:schemas-upnp-org:device:Int",
    ),
    (
        "url-form",
        MEDIA_SERVER,
        "/ctl/ContentDir",
        "ctl/ContentDir",
    ),
    ("url-form", MEDIA_SERVER, "/icons/sm.png", "/icons/sm 1.png"),
    (
        "device-type",
        GATEWAY,
        "device:WANDevice:2",
        "device:WANDevice:new",
    ),
    (
        "friendly-name",
        GATEWAY,
        "<friendlyName>WANDevice</friendlyName>",
        "",
    ),
    (
        "manufacturer",
        GATEWAY,
        "<manufacturer>OpenWRT</manufacturer>",
        "",
    ),
    (
        "model-name",
        BRIDGE,
        "hue bridge 2015",
        "hue bridge 2015 with a very long name",
    ),
    (
        "model-text-length",
        GATEWAY,
        "20231212",
        "of the twelfth of December of 2023",
    ),
    ("udn", BRIDGE, "2f402f80-", "bridge-"),
    ("udn-unique", GATEWAY, "3e4f2a8b7c61", "3e4f2a8b7c60"),
    (
        "icon",
        MEDIA_SERVER,
        "<depth>24</depth><url>/icons/sm",
        "<url>/icons/sm",
    ),
    ("empty-list", BRIDGE, "</device>", "<serviceList/></device>"),
    (
        "service-type",
        GATEWAY,
        "service:WANIPConnection:2",
        "service:WANIPConnection",
    ),
    (
        "service-id",
        GATEWAY,
        "serviceId:WANIPConn1",
        "service:WANIPConn1",
    ),
    (
        "service-id-name",
        MEDIA_SERVER,
        "serviceId:X_MS_Media",
        "serviceId:Media",
    ),
    (
        "service-id-unique",
        MEDIA_SERVER,
        "serviceId:ConnectionManager",
        "serviceId:ContentDirectory",
    ),
];

const MORE_DESCRIPTIONS: [Broken; 4] = [
    // What that device really says, one character too many.
    (
        "model-name",
        MEDIA_SERVER,
        ">MiniDLNA<",
        ">Windows Media Connect compatible<",
    ),
    (
        "service-url",
        GATEWAY,
        "<eventSubURL>/evt/IPConn</eventSubURL>",
        "",
    ),
    ("service-url", GATEWAY, "/ctl/IPConn", ""),
    (
        "service-url-unique",
        GATEWAY,
        "/ctl/IPConn",
        "/ctl/CmnIfCfg",
    ),
];

const SCPDS: [Broken; 22] = [
    ("root-namespace", CONNECTION, "service-1-0", "device-1-0"),
    ("config-id-equal", CONNECTION, "\"1337\"", "\"1338\""),
    (
        "empty-list",
        CONTENT_DIRECTORY,
        "<name>GetSystemUpdateID</name>",
        "<name>X</name><argumentList/></action><action><name>GetSystemUpdateID</name>",
    ),
    (
        "name-form",
        CONTENT_DIRECTORY,
        "<name>Browse</name>",
        "<name>2Browse</name>",
    ),
    ("name-form", CONNECTION, "NewProtocol", "New.Protocol"),
    (
        "action-unique",
        CONTENT_DIRECTORY,
        "GetSystemUpdateID",
        "Browse",
    ),
    (
        "argument-unique",
        CONTENT_DIRECTORY,
        "<name>StartingIndex",
        "<name>ObjectID",
    ),
    (
        "argument-direction",
        CONNECTION,
        "<s:direction>in<",
        "<s:direction>IN<",
    ),
    (
        "argument-order",
        CONTENT_DIRECTORY,
        "<name>BrowseFlag</name><direction>in",
        "<name>BrowseFlag</name><direction>out",
    ),
    (
        "argument-retval",
        CONNECTION,
        "<s:name>NewProtocol</s:name>",
        "<s:name>NewProtocol</s:name><s:retval/>",
    ),
    (
        "related-variable",
        CONTENT_DIRECTORY,
        "<relatedStateVariable>A_ARG_TYPE_Index",
        "<relatedStateVariable>A_ARG_TYPE_Indices",
    ),
    (
        "variable-unique",
        CONTENT_DIRECTORY,
        "ContainerUpdateIDs",
        "SystemUpdateID",
    ),
    (
        "data-type",
        CONTENT_DIRECTORY,
        "<dataType>ui4",
        "<dataType>u32",
    ),
    (
        "data-type",
        CONNECTION,
        "<s:dataType>ui2",
        "<s:dataType>UI2",
    ),
    (
        "send-events",
        CONTENT_DIRECTORY,
        "sendEvents=\"no\"",
        "sendEvents=\"0\"",
    ),
    (
        "argument-type-evented",
        CONTENT_DIRECTORY,
        "\"no\"><name>A_ARG_TYPE_Result",
        "\"yes\"><name>A_ARG_TYPE_Result",
    ),
    (
        "argument-type-used",
        CONTENT_DIRECTORY,
        "Variable>A_ARG_TYPE_Result",
        "Variable>x",
    ),
    (
        "argument-type-used",
        CONTENT_DIRECTORY,
        "<stateVariable sendEvents=\"no\"><name>A_ARG_TYPE_Count",
        "<stateVariable><name>A_ARG_TYPE_Old</name><dataType>i4</dataType></stateVariable>\
         <stateVariable><name>A_ARG_TYPE_Count",
    ),
    (
        "allowed-values",
        CONTENT_DIRECTORY,
        "BrowseMetadata",
        "BrowseDirectChildren",
    ),
    (
        "allowed-values",
        CONNECTION,
        "<s:defaultValue>TCP",
        "<s:defaultValue>SCTP",
    ),
    (
        "allowed-range",
        CONNECTION,
        "<s:minimum>0<",
        "<s:minimum>604800<",
    ),
    (
        "event-url",
        CONNECTION,
        "sendEvents=\"yes\"",
        "sendEvents=\"no\"",
    ),
];

#[test]
fn each_rule_has_a_document_that_breaks_it() {
    let mut broken = BTreeSet::new();
    let mut check = |(rule, sound, from, to): Broken, found: fn(&str) -> Vec<Finding>| {
        let text = sound.replace(from, to);
        assert_ne!(text, sound, "{rule}: {from} must be there to be replaced");
        let findings = found(&text);
        assert!(
            rules(&findings).contains(rule),
            "{rule} by {to}: {findings:?}"
        );
        broken.insert(rule);
    };
    for broken in DESCRIPTIONS.into_iter().chain(MORE_DESCRIPTIONS) {
        check(broken, description);
    }
    for broken in SCPDS {
        let config_id: fn(&str) -> Vec<Finding> = match broken.0 {
            "config-id-equal" => |text| lint::scpd(text.as_bytes(), &service(Some(1_337))),
            _ => scpd,
        };
        check(broken, config_id);
    }
    let cut = CONTENT_DIRECTORY
        .split("<serviceStateTable>")
        .next()
        .unwrap();
    let without = format!("{cut}<serviceStateTable/></scpd>");
    assert!(rules(&scpd(&without)).contains("state-table"));
    broken.insert("state-table");
    assert_eq!(broken, RULES.into(), "every rule was broken");
}
