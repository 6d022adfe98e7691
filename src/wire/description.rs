//! The UPnP device description: what a board says it is, as XML and back.
//!
//! Does not fetch or serve anything, and knows no address: URLs are paths, so that one document
//! holds on every interface. Source: UDA 2.0 §2.3.

use ssdp_client::URN;

use super::ssdp::ConfigId;
use super::ssdp::head::decimal;
use super::xml::{Element, XmlError};
use crate::base::endpoint::Name;
use crate::base::id::Id;

/// The path at which a board serves its description.
pub const PATH: &str = "/description.xml";
/// The path at which a board serves its page.
pub const PRESENTATION_PATH: &str = "/presentation";
/// The type of the root device.
pub const RING_NODE: URN = URN::device("roundel-org", "RingNode", 1);
/// The type of the embedded device: Round's.
pub const ROUND: URN = URN::device("cybergarage-org", "round", 1);

const NAMESPACE: &str = "urn:schemas-upnp-org:device-1-0";
const MANUFACTURER: &str = "roundel";

/// A service of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its type.
    pub service_type: URN,
    /// `urn:…:serviceId:name`.
    pub service_id: String,
    /// Where its own description is; starts with `/`.
    pub scpd_path: String,
    /// Where it is called; starts with `/`.
    pub control_path: String,
    /// Where its events are subscribed to; starts with `/`.
    pub event_path: String,
}

/// A square icon, PNG with 24 bits of colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icon {
    /// Pixels of its width, and of its height.
    pub size: u32,
    /// Where it is; starts with `/`.
    pub path: String,
}

/// A device and those embedded in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its type.
    pub device_type: URN,
    /// What people call it; under 64 characters.
    pub friendly_name: String,
    /// What it is; may be empty.
    pub model_description: String,
    /// The model; under 32 characters.
    pub model_name: String,
    /// The model's version.
    pub model_number: String,
    /// A UUID, without `uuid:`.
    pub udn: String,
    /// Square PNG icons; those of other kinds are left out when a description is read.
    pub icons: Vec<Icon>,
    /// Those whose URLs answer.
    pub services: Vec<Service>,
    /// Embedded devices.
    pub devices: Vec<Device>,
    /// The page, when there is one; starts with `/`.
    pub presentation_path: Option<String>,
}

/// A description document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Equal to CONFIGID.UPNP.ORG of the advertisements.
    pub config_id: ConfigId,
    /// The root device.
    pub device: Device,
}

/// What a list of devices shows of one, foreign ones that keep few rules included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The root device's type, as it was written.
    pub device_type: String,
    /// What people call it, as it was written.
    pub friendly_name: String,
}

impl Summary {
    /// Reads a document of any version.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn parse(bytes: &[u8]) -> Result<Self, DescriptionError> {
        let root = Element::parse(bytes)?;
        let device = root
            .child("device")
            .ok_or(DescriptionError::Element("device"))?;
        Ok(Summary {
            device_type: need(device, "deviceType")?.to_owned(),
            friendly_name: need(device, "friendlyName")?.to_owned(),
        })
    }
}

/// Why a document is not a description; its device is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// Not a document we read.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// An element or attribute that must be there is not, or holds something else.
    #[error("{0} is missing or malformed")]
    Element(&'static str),
}

impl Description {
    /// The bare description of a board: the ring node, and Round's device in it. What they serve
    /// is added by `service/device`.
    ///
    /// The document depends on nothing but the two and the software's version.
    pub fn of_board(node: &Id, name: &Name) -> Self {
        let device = |device_type, udn, devices| Device {
            device_type,
            friendly_name: name.to_string(),
            model_description: "Finds its neighbours, forms a ring, keeps data".to_owned(),
            model_name: "roundel".to_owned(),
            model_number: env!("CARGO_PKG_VERSION").to_owned(),
            udn,
            icons: Vec::new(),
            services: Vec::new(),
            devices,
            presentation_path: None,
        };
        let round = device(ROUND, node.udn(true), Vec::new());
        let mut description = Description {
            config_id: ConfigId::default(),
            device: Device {
                presentation_path: Some(PRESENTATION_PATH.to_owned()),
                ..device(RING_NODE, node.udn(false), vec![round])
            },
        };
        description.draw_config_id(|_| Vec::new());
        description
    }

    /// Draws the configId from the document itself and from the `others` that share it, each as it
    /// is with the configId they are given, so that it changes when a document does.
    pub fn draw_config_id(&mut self, others: impl FnOnce(ConfigId) -> Vec<u8>) {
        self.config_id = ConfigId::default();
        let documents = [self.emit(), others(self.config_id)].concat();
        let [a, b, c, ..] = *Id::of(&documents).as_bytes();
        self.config_id = ConfigId::new(u32::from_be_bytes([0, a, b, c]));
    }

    /// The document.
    pub fn emit(&self) -> Vec<u8> {
        let version = Element::new(NAMESPACE, "specVersion")
            .leaf("major", "2")
            .leaf("minor", "0");
        Element::new(NAMESPACE, "root")
            .attribute("configId", self.config_id.get())
            .with(version)
            .with(self.device.element())
            .emit()
    }

    /// Reads a document of UDA 1.0, 1.1 or 2.0; what this product has no use for is left out.
    ///
    /// # Errors
    /// Says what is missing or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, DescriptionError> {
        let root = Element::parse(bytes)?;
        if root.name != "root" || root.namespace != NAMESPACE {
            return Err(DescriptionError::Element("root"));
        }
        let config_id = match root.attribute_text("configId") {
            None => ConfigId::default(),
            Some(text) => decimal(text)
                .filter(|value| *value <= u64::from(ConfigId::MAX))
                .map(|value| ConfigId::new(value as u32))
                .ok_or(DescriptionError::Element("configId"))?,
        };
        let device = root
            .child("device")
            .ok_or(DescriptionError::Element("device"))?;
        Ok(Description {
            config_id,
            device: Device::read(device)?,
        })
    }
}

impl Device {
    fn element(&self) -> Element {
        let mut device = Element::new(NAMESPACE, "device")
            .leaf("deviceType", &self.device_type.to_string())
            .leaf("friendlyName", &self.friendly_name)
            .leaf("manufacturer", MANUFACTURER)
            .leaf("modelDescription", &self.model_description)
            .leaf("modelName", &self.model_name)
            .leaf("modelNumber", &self.model_number)
            .leaf("UDN", &format!("uuid:{}", self.udn));
        // An empty list is against the schema: the element is there with a first entry only.
        if !self.icons.is_empty() {
            let list = Element::new(NAMESPACE, "iconList");
            let icons = self.icons.iter().map(Icon::element);
            device = device.with(icons.fold(list, Element::with));
        }
        if !self.services.is_empty() {
            let list = Element::new(NAMESPACE, "serviceList");
            let services = self.services.iter().map(Service::element);
            device = device.with(services.fold(list, Element::with));
        }
        if !self.devices.is_empty() {
            let list = Element::new(NAMESPACE, "deviceList");
            let devices = self.devices.iter().map(Device::element);
            device = device.with(devices.fold(list, Element::with));
        }
        match &self.presentation_path {
            Some(path) => device.leaf("presentationURL", path),
            None => device,
        }
    }

    fn read(element: &Element) -> Result<Self, DescriptionError> {
        let udn = need(element, "UDN")?;
        let list = |name| {
            let children = element.child(name).map(|list| list.children.as_slice());
            children.unwrap_or_default().iter()
        };
        Ok(Device {
            device_type: need_urn(element, "deviceType")?,
            friendly_name: need(element, "friendlyName")?.to_owned(),
            model_description: optional(element, "modelDescription"),
            model_name: optional(element, "modelName"),
            model_number: optional(element, "modelNumber"),
            udn: udn
                .strip_prefix("uuid:")
                .ok_or(DescriptionError::Element("UDN"))?
                .to_owned(),
            icons: list("iconList").filter_map(Icon::read).collect(),
            services: list("serviceList")
                .filter(|child| child.name == "service")
                .map(Service::read)
                .collect::<Result<_, _>>()?,
            devices: list("deviceList")
                .filter(|child| child.name == "device")
                .map(Device::read)
                .collect::<Result<_, _>>()?,
            presentation_path: element.child_text("presentationURL").map(str::to_owned),
        })
    }
}

impl Icon {
    fn element(&self) -> Element {
        let size = self.size.to_string();
        Element::new(NAMESPACE, "icon")
            .leaf("mimetype", "image/png")
            .leaf("width", &size)
            .leaf("height", &size)
            .leaf("depth", "24")
            .leaf("url", &self.path)
    }

    fn read(element: &Element) -> Option<Self> {
        let size = element.child_text("width")?;
        let png = element.child_text("mimetype") == Some("image/png");
        let square = png && element.child_text("height") == Some(size);
        Some(Icon {
            size: size.parse().ok().filter(|_| square)?,
            path: element.child_text("url")?.to_owned(),
        })
    }
}

impl Service {
    fn element(&self) -> Element {
        Element::new(NAMESPACE, "service")
            .leaf("serviceType", &self.service_type.to_string())
            .leaf("serviceId", &self.service_id)
            .leaf("SCPDURL", &self.scpd_path)
            .leaf("controlURL", &self.control_path)
            .leaf("eventSubURL", &self.event_path)
    }

    fn read(element: &Element) -> Result<Self, DescriptionError> {
        Ok(Service {
            service_type: need_urn(element, "serviceType")?,
            service_id: need(element, "serviceId")?.to_owned(),
            scpd_path: need(element, "SCPDURL")?.to_owned(),
            control_path: need(element, "controlURL")?.to_owned(),
            event_path: optional(element, "eventSubURL"),
        })
    }
}

fn need<'a>(element: &'a Element, name: &'static str) -> Result<&'a str, DescriptionError> {
    element
        .child_text(name)
        .ok_or(DescriptionError::Element(name))
}

fn need_urn(element: &Element, name: &'static str) -> Result<URN, DescriptionError> {
    let text = need(element, name)?;
    text.parse().map_err(|_| DescriptionError::Element(name))
}

fn optional(element: &Element, name: &str) -> String {
    element.child_text(name).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn urns() -> impl Strategy<Value = URN> {
        ("[a-z-]{1,9}", "[A-Za-z]{1,9}", any::<u32>())
            .prop_map(|(domain, typ, version)| URN::Device(domain.into(), typ.into(), version))
    }

    fn services() -> impl Strategy<Value = Service> {
        (urns(), "/[a-z]{0,9}", "/[a-z]{0,9}", "/[a-z]{0,9}").prop_map(
            |(service_type, scpd_path, control_path, event_path)| Service {
                service_id: format!("urn:{}:serviceId:{}", service_type.domain_name(), "X"),
                service_type,
                scpd_path,
                control_path,
                event_path,
            },
        )
    }

    fn texts() -> impl Strategy<Value = String> {
        "[ -~\u{e4}]{1,30}".prop_map(|text| text.trim().to_owned())
    }

    fn devices() -> impl Strategy<Value = Device> {
        let single = (
            urns(),
            (texts(), texts(), texts(), texts()),
            "[0-9a-f-]{36}",
            prop::collection::vec(services(), 0..3),
            prop::collection::vec((1u32..999, "/[a-z]{0,9}"), 0..2),
            prop::option::of("/[a-z]{0,9}"),
        )
            .prop_map(
                |(device_type, texts, udn, services, icons, presentation_path)| Device {
                    device_type,
                    friendly_name: texts.0,
                    model_description: texts.1,
                    model_name: texts.2,
                    model_number: texts.3,
                    udn,
                    icons: icons
                        .into_iter()
                        .map(|(size, path)| Icon { size, path })
                        .collect(),
                    services,
                    devices: Vec::new(),
                    presentation_path,
                },
            );
        single.prop_recursive(2, 6, 3, |inner| {
            (inner.clone(), prop::collection::vec(inner, 0..3)).prop_map(|(mut device, devices)| {
                device.devices = devices;
                device
            })
        })
    }

    proptest! {
        #[test]
        fn every_description_is_read_back(device in devices(), config in 0..=ConfigId::MAX) {
            let description = Description { config_id: ConfigId::new(config), device };
            prop_assert_eq!(Description::parse(&description.emit()), Ok(description));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[ -~]{0,200}") {
            let _ = Description::parse(text.as_bytes());
        }
    }

    fn board(name: &str) -> Description {
        Description::of_board(&Id::of(b"board"), &name.parse().unwrap())
    }

    #[test]
    fn board_shows_the_ring_node_with_round_embedded() {
        let text = String::from_utf8(board("kitchen").emit()).unwrap();
        for part in [
            "<deviceType>urn:roundel-org:device:RingNode:1</deviceType>",
            "<deviceType>urn:cybergarage-org:device:round:1</deviceType>",
            "<friendlyName>kitchen</friendlyName>",
            "xmlns=\"urn:schemas-upnp-org:device-1-0\"",
            "<major>2</major>",
            "<presentationURL>/presentation</presentationURL>",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        for part in ["URLBase", "serviceList"] {
            assert!(!text.contains(part), "{part} in {text}");
        }
        let longest = board(&"n".repeat(63));
        assert!(longest.device.friendly_name.len() < 64);
        assert!(longest.device.model_name.len() < 32);
        assert_ne!(longest.device.udn, longest.device.devices[0].udn);
    }

    #[test]
    fn config_id_changes_with_the_document_only() {
        assert_eq!(board("kitchen"), board("kitchen"));
        assert_ne!(board("kitchen").config_id, board("hall").config_id);
        assert_ne!(board("kitchen").config_id, ConfigId::default());
        let text = String::from_utf8(board("kitchen").emit()).unwrap();
        let attribute = format!("configId=\"{}\"", board("kitchen").config_id.get());
        assert!(text.contains(&attribute));
    }

    #[test]
    fn summary_is_read_of_devices_that_keep_few_rules() {
        let text = "<root><device><deviceType>urn:x:device:Cam</deviceType>\
                    <friendlyName> \u{1f4f7} &lt;b&gt; </friendlyName></device></root>";
        let summary = Summary::parse(text.as_bytes()).unwrap();
        assert_eq!(summary.device_type, "urn:x:device:Cam");
        assert_eq!(summary.friendly_name, "\u{1f4f7} <b>");
        let error = Summary::parse(b"<root><device/></root>");
        assert_eq!(error, Err(DescriptionError::Element("deviceType")));
    }

    #[test]
    fn description_without_what_must_be_there_is_refused() {
        let sound = String::from_utf8(board("kitchen").emit()).unwrap();
        for (from, to, expected) in [
            ("<root", "<Root", None),
            ("device-1-0", "device-9-0", Some("root")),
            ("configId=\"", "configId=\"9999999999", Some("configId")),
            ("<UDN>uuid:", "<UDN>", Some("UDN")),
            ("friendlyName", "name", Some("friendlyName")),
            (
                "urn:roundel-org:device:RingNode:1",
                "RingNode",
                Some("deviceType"),
            ),
        ] {
            let text = sound.replace(from, to);
            assert_ne!(text, sound, "{from} must be there to be replaced");
            let error = match expected {
                Some(name) => DescriptionError::Element(name),
                None => DescriptionError::Xml(XmlError::Malformed),
            };
            assert_eq!(Description::parse(text.as_bytes()), Err(error), "{text}");
        }
    }
}
