//! The linter: rules for device and service descriptions that no control point checks, each with a
//! name.
//!
//! Reads the XML itself, not the product's types, so that what the product leaves out is seen. Does
//! not fetch anything. Rules that came with UDA 1.1 are not asked of a document of 1.0.
//! Source: UDA 2.0 §2.3 (descriptions) and §2.5 (SCPD).

use std::collections::BTreeSet;

use roundel::wire::xml::Element;

const DEVICE: &str = "urn:schemas-upnp-org:device-1-0";
const SERVICE: &str = "urn:schemas-upnp-org:service-1-0";
const CONFIG_ID_MAX: u32 = 16_777_215;

const NUMBERS: [&str; 14] = [
    "ui1",
    "ui2",
    "ui4",
    "ui8",
    "i1",
    "i2",
    "i4",
    "i8",
    "int",
    "r4",
    "r8",
    "number",
    "fixed.14.4",
    "float",
];
const OTHER_TYPES: [&str; 12] = [
    "char",
    "string",
    "date",
    "dateTime",
    "dateTime.tz",
    "time",
    "time.tz",
    "boolean",
    "bin.base64",
    "bin.hex",
    "uri",
    "uuid",
];

/// Every rule's name.
pub const RULES: [&str; 38] = [
    "well-formed",
    "root-namespace",
    "spec-version",
    "config-id",
    "config-id-equal",
    "url-base",
    "url-form",
    "device-type",
    "friendly-name",
    "manufacturer",
    "model-name",
    "model-text-length",
    "udn",
    "udn-unique",
    "icon",
    "empty-list",
    "service-type",
    "service-id",
    "service-id-name",
    "service-id-unique",
    "service-url",
    "service-url-unique",
    "event-url",
    "name-form",
    "action-unique",
    "argument-unique",
    "argument-direction",
    "argument-order",
    "argument-retval",
    "related-variable",
    "state-table",
    "variable-unique",
    "data-type",
    "send-events",
    "argument-type-evented",
    "argument-type-used",
    "allowed-values",
    "allowed-range",
];

/// A rule that a document breaks, and where.
pub struct Finding {
    pub rule: &'static str,
    what: String,
}

impl std::fmt::Debug for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn check(&mut self, holds: bool, rule: &'static str, what: impl std::fmt::Display) {
        assert!(RULES.contains(&rule), "{rule} is listed");
        if !holds {
            let what = what.to_string();
            self.0.push(Finding { rule, what });
        }
    }
}

/// What a device description says that its service descriptions must agree with.
pub struct Service {
    pub scpd_url: String,
    pub event_url: String,
    pub config_id: Option<u32>,
}

/// Checks a device description; the services it lists.
pub fn description(bytes: &[u8]) -> (Vec<Finding>, Vec<Service>) {
    let mut findings = Findings::default();
    let mut services = Vec::new();
    let Some(root) = read(bytes, ("root", DEVICE), &mut findings) else {
        return (findings.0, services);
    };
    let is_1_0 = is_1_0(&root);
    let config_id = config_id(&root, is_1_0, &mut findings);
    let base = root.child("URLBase").is_some();
    findings.check(!base || is_1_0, "url-base", "URLBase is of UDA 1.0");
    let mut reader = Reader {
        findings,
        relative: base,
        config_id,
        udns: BTreeSet::new(),
        urls: BTreeSet::new(),
        services: Vec::new(),
    };
    match root.child("device") {
        Some(device) => reader.device(device),
        None => reader
            .findings
            .check(false, "device-type", "there is no device"),
    }
    services.append(&mut reader.services);
    (reader.findings.0, services)
}

struct Reader {
    findings: Findings,
    /// There is a base for relative URLs.
    relative: bool,
    config_id: Option<u32>,
    udns: BTreeSet<String>,
    urls: BTreeSet<String>,
    services: Vec<Service>,
}

impl Reader {
    fn device(&mut self, device: &Element) {
        let text = |name| device.child_text(name).unwrap_or_default();
        let (kind, udn, name) = (text("deviceType"), text("UDN"), text("friendlyName"));
        let findings = &mut self.findings;
        findings.check(is_urn(kind, "device"), "device-type", kind);
        findings.check((1..64).contains(&chars(name)), "friendly-name", name);
        let model = text("modelName");
        findings.check((1..32).contains(&chars(model)), "model-name", model);
        let maker = text("manufacturer");
        findings.check((1..64).contains(&chars(maker)), "manufacturer", maker);
        for (name, max) in [
            ("modelDescription", 128),
            ("modelNumber", 32),
            ("serialNumber", 64),
        ] {
            findings.check(chars(text(name)) < max, "model-text-length", name);
        }
        findings.check(is_udn(udn), "udn", udn);
        findings.check(self.udns.insert(udn.to_owned()), "udn-unique", udn);
        for list in ["iconList", "serviceList", "deviceList"] {
            let empty = device
                .child(list)
                .is_some_and(|list| list.children.is_empty());
            findings.check(!empty, "empty-list", list);
        }
        if let Some(url) = device.child_text("presentationURL") {
            self.url(url);
        }
        for icon in children(device, "iconList", "icon") {
            self.icon(icon);
        }
        let mut ids = BTreeSet::new();
        for service in children(device, "serviceList", "service") {
            self.service(service, &mut ids);
        }
        for embedded in children(device, "deviceList", "device") {
            self.device(embedded);
        }
    }

    fn url(&mut self, url: &str) {
        let absolute = url.starts_with('/') || url.starts_with("http://");
        let graphic = url.bytes().all(|byte| byte.is_ascii_graphic());
        let formed = graphic && (absolute || self.relative);
        self.findings.check(formed, "url-form", url);
    }

    fn icon(&mut self, icon: &Element) {
        let text = |name| icon.child_text(name).unwrap_or_default();
        let numbers = ["width", "height", "depth"].map(|name| text(name).parse::<u32>().is_ok());
        let kind = text("mimetype").starts_with("image/");
        let formed = numbers == [true; 3] && kind && !text("url").is_empty();
        self.findings.check(formed, "icon", text("url"));
        self.url(text("url"));
    }

    fn service(&mut self, service: &Element, ids: &mut BTreeSet<String>) {
        let text = |name| service.child_text(name).unwrap_or_default();
        let (kind, id) = (text("serviceType"), text("serviceId"));
        self.findings
            .check(is_urn(kind, "service"), "service-type", kind);
        let parts: Vec<_> = id.split(':').collect();
        let formed = matches!(parts[..], ["urn", domain, "serviceId", name]
            if !domain.is_empty() && !name.is_empty());
        self.findings.check(formed, "service-id", id);
        // The ids of the forum's own services are set by their standards (WANIPConn1).
        let standard = parts.get(1) == Some(&"upnp-org");
        let named = id.rsplit(':').next() == kind.split(':').nth(3);
        self.findings
            .check(standard || named, "service-id-name", id);
        self.findings
            .check(ids.insert(id.to_owned()), "service-id-unique", id);
        for name in ["SCPDURL", "controlURL", "eventSubURL"] {
            let url = text(name);
            let there = !url.is_empty() || (name == "eventSubURL" && service.child(name).is_some());
            self.findings.check(there, "service-url", name);
            if url.is_empty() {
                continue;
            }
            self.url(url);
            // Services of one type may share a description, never a control or event URL.
            if name != "SCPDURL" {
                let unique = self.urls.insert(format!("{name} {url}"));
                self.findings.check(unique, "service-url-unique", url);
            }
        }
        self.services.push(Service {
            scpd_url: text("SCPDURL").to_owned(),
            event_url: text("eventSubURL").to_owned(),
            config_id: self.config_id,
        });
    }
}

/// Checks a service description against what the device description says of the service.
pub fn scpd(bytes: &[u8], service: &Service) -> Vec<Finding> {
    let mut findings = Findings::default();
    let Some(root) = read(bytes, ("scpd", SERVICE), &mut findings) else {
        return findings.0;
    };
    let config_id = config_id(&root, is_1_0(&root), &mut findings);
    let shown = format!("{config_id:?} and {:?}", service.config_id);
    findings.check(config_id == service.config_id, "config-id-equal", shown);
    let variables: Vec<_> = children(&root, "serviceStateTable", "stateVariable").collect();
    findings.check(!variables.is_empty(), "state-table", "there is no variable");
    let mut names = BTreeSet::new();
    for variable in &variables {
        check_variable(variable, &mut findings);
        let name = variable.child_text("name").unwrap_or_default();
        findings.check(names.insert(name), "variable-unique", name);
    }
    let actions = root.child("actionList");
    let empty = actions.is_some_and(|list| list.children.is_empty());
    findings.check(!empty, "empty-list", "actionList");
    let mut used = BTreeSet::new();
    let mut actions = BTreeSet::new();
    for action in children(&root, "actionList", "action") {
        let name = action.child_text("name").unwrap_or_default();
        findings.check(actions.insert(name), "action-unique", name);
        findings.check(is_name(name), "name-form", name);
        used.extend(check_arguments(action, &names, &mut findings));
    }
    for name in names.iter().filter(|name| name.starts_with("A_ARG_TYPE_")) {
        findings.check(used.contains(*name), "argument-type-used", name);
    }
    let evented = variables.iter().any(|variable| is_evented(variable));
    let told = !service.event_url.is_empty();
    findings.check(
        evented == told,
        "event-url",
        "an event URL and evented variables go together",
    );
    findings.0
}

/// Checks the arguments of an action; the variables they name.
fn check_arguments<'a>(
    action: &'a Element,
    variables: &BTreeSet<&str>,
    findings: &mut Findings,
) -> Vec<&'a str> {
    let of = action.child_text("name").unwrap_or_default();
    let empty = action
        .child("argumentList")
        .is_some_and(|list| list.children.is_empty());
    findings.check(!empty, "empty-list", format!("argumentList of {of}"));
    let (mut names, mut related) = (BTreeSet::new(), Vec::new());
    let mut outs = 0;
    for argument in children(action, "argumentList", "argument") {
        let text = |name| argument.child_text(name).unwrap_or_default();
        let what = format!("{of}: {}", text("name"));
        findings.check(names.insert(text("name")), "argument-unique", &what);
        findings.check(is_name(text("name")), "name-form", &what);
        match text("direction") {
            "in" => findings.check(outs == 0, "argument-order", &what),
            "out" => outs += 1,
            _ => findings.check(false, "argument-direction", &what),
        }
        let first_out = text("direction") == "out" && outs == 1;
        let returned = argument.child("retval").is_some();
        findings.check(!returned || first_out, "argument-retval", &what);
        let variable = text("relatedStateVariable");
        findings.check(variables.contains(variable), "related-variable", &what);
        related.push(variable);
    }
    related
}

fn check_variable(variable: &Element, findings: &mut Findings) {
    let text = |name| variable.child_text(name).unwrap_or_default();
    let (name, kind) = (text("name"), text("dataType"));
    findings.check(is_name(name), "name-form", name);
    let number = NUMBERS.contains(&kind);
    let legal = number || OTHER_TYPES.contains(&kind);
    findings.check(legal, "data-type", format!("{name}: {kind}"));
    let events = variable.attribute_text("sendEvents");
    let known = matches!(events, None | Some("yes" | "no"));
    findings.check(known, "send-events", name);
    let is_type = name.starts_with("A_ARG_TYPE_");
    findings.check(
        !is_type || !is_evented(variable),
        "argument-type-evented",
        name,
    );
    if let Some(list) = variable.child("allowedValueList") {
        let values: Vec<_> = list
            .children
            .iter()
            .map(|value| value.text.as_str())
            .collect();
        let unique = values.iter().collect::<BTreeSet<_>>().len() == values.len();
        let filled = !values.is_empty() && values.iter().all(|value| !value.is_empty());
        let default = variable.child_text("defaultValue");
        let defaulted = default.is_none_or(|value| values.contains(&value));
        let formed = kind == "string" && unique && filled && defaulted;
        findings.check(formed, "allowed-values", name);
    }
    if let Some(range) = variable.child("allowedValueRange") {
        let bound = |name| {
            range
                .child_text(name)
                .and_then(|text| text.parse::<f64>().ok())
        };
        let ordered = match (bound("minimum"), bound("maximum")) {
            (Some(minimum), Some(maximum)) => minimum < maximum,
            _ => false,
        };
        findings.check(number && ordered, "allowed-range", name);
    }
}

fn read(bytes: &[u8], root: (&str, &str), findings: &mut Findings) -> Option<Element> {
    match Element::parse(bytes) {
        Err(error) => {
            findings.check(false, "well-formed", error);
            None
        }
        Ok(element) => {
            let found = (element.name.as_str(), element.namespace.as_str());
            findings.check(found == root, "root-namespace", format!("{found:?}"));
            let version = element.child("specVersion");
            let part = |name| version.and_then(|version| version.child_text(name));
            let formed = matches!(
                (part("major"), part("minor")),
                (Some("1"), Some("0" | "1")) | (Some("2"), Some("0"))
            );
            findings.check(formed, "spec-version", format!("{:?}", part("major")));
            (found == root).then_some(element)
        }
    }
}

fn is_1_0(root: &Element) -> bool {
    let version = root.child("specVersion");
    let part = |name| version.and_then(|version| version.child_text(name));
    (part("major"), part("minor")) == (Some("1"), Some("0"))
}

/// The document's configId; UDA 1.0 has none.
fn config_id(root: &Element, is_1_0: bool, findings: &mut Findings) -> Option<u32> {
    let text = root.attribute_text("configId");
    let id = text
        .and_then(|text| text.parse().ok())
        .filter(|id| *id <= CONFIG_ID_MAX);
    let formed = id.is_some() || (is_1_0 && text.is_none());
    findings.check(formed, "config-id", format!("{text:?}"));
    id
}

fn children<'a>(
    of: &'a Element,
    list: &str,
    name: &'static str,
) -> impl Iterator<Item = &'a Element> {
    let children = of.child(list).map(|list| list.children.as_slice());
    let children = children.unwrap_or_default().iter();
    children.filter(move |child| child.name == name)
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

fn is_evented(variable: &Element) -> bool {
    // Without the attribute it is `yes` (UDA 2.0 §2.5); common devices mean `no` by leaving it out.
    variable.attribute_text("sendEvents") == Some("yes")
}

/// `urn:domain:KIND:name:version`.
fn is_urn(text: &str, kind: &str) -> bool {
    let parts: Vec<_> = text.split(':').collect();
    matches!(parts[..], ["urn", domain, found, name, version]
        if found == kind
            && !domain.is_empty()
            && (1..=64).contains(&name.len())
            && version.parse::<u32>().is_ok_and(|version| version > 0))
}

/// `uuid:` and five groups of hex digits.
fn is_udn(text: &str) -> bool {
    let groups: Vec<_> = text
        .strip_prefix("uuid:")
        .unwrap_or_default()
        .split('-')
        .collect();
    let hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(hex)
}

/// Letters, digits and underscores, a digit not first.
fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(legal) && !text.starts_with(|c: char| c.is_ascii_digit())
}
