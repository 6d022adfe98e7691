//! What UPnP shows of a board: its device, services, actions, variables and icons.
//!
//! `table` is the one place that says which actions there are; the device description, the service
//! descriptions, SOAP (`service/control`), the events (`service/subscribe`) and the table in the
//! README come from it. An action is a method of the JSON-RPC table under another name: what it
//! does and who may do it is said there. Source: UDA 2.0 §2 and §4.3; Round's Zeroconf
//! specification for its service.

mod table;

use std::fmt::Write;

use bytes::Bytes;

use crate::base::call::Overview;
use crate::base::endpoint::Name;
use crate::base::id::Id;
use crate::service::method::Table;
use crate::wire::description::{self, Description, Icon};
use crate::wire::scpd::{self, DataType, Direction, Scpd};
use crate::wire::ssdp::ConfigId;

pub use table::SERVICES;

/// The icons, PNG, by their width and height.
const ICONS: [(u32, &[u8]); 2] = [
    (48, include_bytes!("icon_48.png")),
    (120, include_bytes!("icon_120.png")),
];

/// Which device a service belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The ring node.
    RingNode,
    /// Round's device, embedded in it.
    Round,
}

/// A service.
#[derive(Debug)]
pub struct Service {
    /// Whose it is.
    pub owner: Owner,
    /// The domain of its type.
    pub domain: &'static str,
    /// The name of its type, which ends its id.
    pub name: &'static str,
    /// Its version.
    pub version: u32,
    /// The name in its paths.
    pub path: &'static str,
    /// The evented first.
    pub variables: &'static [Variable],
    /// The actions.
    pub actions: &'static [Action],
}

/// How a value is written in SOAP, and what stands for it in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string; empty: left out, or null.
    Text,
    /// JSON as text; empty: left out.
    Json,
    /// A number; 0: left out, or null. Larger ones than fit are shown as the largest.
    Count,
    /// A port; 0: null.
    Port,
    /// true or false.
    Flag,
    /// Bytes, in JSON a string in base64; empty: left out.
    Bytes,
}

/// A state variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// How its values are written.
    pub kind: Kind,
    /// The only texts it takes; empty: any.
    pub allowed: &'static [&'static str],
    /// The least and the largest number it takes.
    pub range: Option<(u32, u32)>,
    /// Its value, when subscribers are told of it.
    pub event: Option<fn(&Overview) -> String>,
}

/// An argument that goes in: a parameter of the method.
#[derive(Clone, Copy, Debug)]
pub struct In {
    /// Its name.
    pub name: &'static str,
    /// The variable that gives its type.
    pub variable: &'static str,
    /// The method's parameter.
    pub param: &'static str,
}

/// Where an argument that comes out is taken from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A member of the method's result, by its path: `cluster/name`; empty: all of it.
    Member(&'static str),
    /// Whether the result has that member.
    Has(&'static str),
    /// It is always this.
    Fixed(&'static str),
}

/// An argument that comes out.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    /// Its name.
    pub name: &'static str,
    /// The variable that gives its type.
    pub variable: &'static str,
    /// Where it is taken from.
    pub source: Source,
}

/// An action.
#[derive(Debug)]
pub struct Action {
    /// Its name.
    pub name: &'static str,
    /// The JSON-RPC method it is.
    pub method: &'static str,
    /// What it does, when it shows a part of what the method does.
    pub doc: Option<&'static str>,
    /// What goes in.
    pub takes: &'static [In],
    /// What comes out.
    pub gives: &'static [Out],
}

impl Kind {
    /// The type in a service description.
    pub fn data_type(self) -> DataType {
        match self {
            Kind::Text | Kind::Json => DataType::String,
            Kind::Count => DataType::Ui4,
            Kind::Port => DataType::Ui2,
            Kind::Flag => DataType::Boolean,
            Kind::Bytes => DataType::BinBase64,
        }
    }
}

impl Service {
    /// The service whose paths have this name.
    pub fn at(path: &str) -> Option<(usize, &'static Service)> {
        SERVICES.iter().enumerate().find(|(_, s)| s.path == path)
    }

    /// The action of that name.
    pub fn action(&self, name: &str) -> Option<&'static Action> {
        self.actions.iter().find(|action| action.name == name)
    }

    /// The variable of that name.
    ///
    /// # Panics
    /// When the table names a variable that the service does not have.
    pub fn variable(&self, name: &str) -> &'static Variable {
        let found = self.variables.iter().find(|v| v.name == name);
        found.expect("arguments name variables of their service")
    }

    /// Those that subscribers are told of.
    pub fn evented(&self) -> impl Iterator<Item = &'static Variable> {
        self.variables.iter().filter(|v| v.event.is_some())
    }

    fn listed(&self) -> description::Service {
        let (domain, name, path) = (self.domain, self.name, self.path);
        description::Service {
            service_type: ssdp_client::URN::Service(domain.into(), name.into(), self.version),
            service_id: format!("urn:{domain}:serviceId:{name}"),
            scpd_path: format!("/service/{path}/description.xml"),
            control_path: format!("/service/{path}/control"),
            event_path: format!("/service/{path}/event"),
        }
    }

    /// Its service description.
    pub fn scpd(&self, config_id: ConfigId) -> Scpd {
        let actions = self.actions.iter().map(|action| scpd::Action {
            name: action.name,
            arguments: {
                let takes = action.takes.iter().map(|argument| scpd::Argument {
                    name: argument.name,
                    direction: Direction::In,
                    variable: argument.variable,
                });
                let gives = action.gives.iter().map(|argument| scpd::Argument {
                    name: argument.name,
                    direction: Direction::Out,
                    variable: argument.variable,
                });
                takes.chain(gives).collect()
            },
        });
        let variables = self.variables.iter().map(|variable| scpd::Variable {
            name: variable.name,
            data_type: variable.kind.data_type(),
            evented: variable.event.is_some(),
            allowed: variable.allowed,
            range: variable.range,
        });
        Scpd {
            config_id,
            actions: actions.collect(),
            variables: variables.collect(),
        }
    }
}

/// The description of a board with everything that it serves.
///
/// Its configId is drawn from all documents, so that it changes when any of them does.
pub fn describe(node: &Id, name: &Name) -> Description {
    let mut description = Description::of_board(node, name);
    let of = |owner| {
        let own = SERVICES.iter().filter(move |s| s.owner == owner);
        own.map(Service::listed).collect::<Vec<_>>()
    };
    description.device.services = of(Owner::RingNode);
    for round in &mut description.device.devices {
        round.services = of(Owner::Round);
    }
    description.device.icons = ICONS
        .iter()
        .map(|(size, _)| Icon {
            size: *size,
            path: icon_path(*size),
        })
        .collect();
    description.draw_config_id(|unset| {
        let documents = SERVICES.iter().map(|service| service.scpd(unset).emit());
        documents.collect::<Vec<_>>().concat()
    });
    description
}

fn icon_path(size: u32) -> String {
    format!("/icon/{size}.png")
}

/// The icon at a path.
pub fn icon(path: &str) -> Option<Bytes> {
    let found = ICONS.iter().find(|(size, _)| icon_path(*size) == path);
    found.map(|(_, bytes)| Bytes::from_static(bytes))
}

/// The evented variables of each service, in the order of [`SERVICES`].
pub fn topics() -> Vec<Vec<&'static str>> {
    let names = |service: &'static Service| service.evented().map(|v| v.name).collect();
    SERVICES.iter().map(names).collect()
}

/// Their values.
pub fn values(overview: &Overview) -> Vec<Vec<String>> {
    let values = |service: &'static Service| {
        let events = service.evented().filter_map(|variable| variable.event);
        events.map(|event| event(overview)).collect()
    };
    SERVICES.iter().map(values).collect()
}

/// The README's table of actions, in Markdown.
pub fn markdown(methods: &Table) -> String {
    let mut page = String::from(
        "| Service | Action | In | Out | Method | What it does |\n|---|---|---|---|---|---|\n",
    );
    let names = |names: Vec<&str>| match names.is_empty() {
        true => "–".to_owned(),
        false => names.join(", "),
    };
    for service in SERVICES {
        for action in service.actions {
            let method = methods.find(action.method).map(|method| method.doc);
            writeln!(
                page,
                "| {}:{} | {} | {} | {} | `{}` | {} |",
                service.name,
                service.version,
                action.name,
                names(action.takes.iter().map(|argument| argument.name).collect()),
                names(action.gives.iter().map(|argument| argument.name).collect()),
                action.method,
                action.doc.or(method).unwrap_or_default(),
            )
            .expect("a String takes all that is written");
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::method::Takes;

    #[test]
    fn every_action_is_a_method_with_these_parameters() {
        let methods = Table::standard();
        for service in SERVICES {
            for action in service.actions {
                let what = format!("{}:{}", service.name, action.name);
                let method = methods.find(action.method).expect(&what);
                let Takes::Params(params) = method.takes else {
                    panic!("{what} takes named parameters");
                };
                for argument in action.takes {
                    let known = params.iter().any(|param| param.name == argument.param);
                    assert!(known, "{what} passes {} on", argument.name);
                }
                for param in params.iter().filter(|param| param.required) {
                    let given = action.takes.iter().any(|a| a.param == param.name);
                    assert!(given, "{what} lacks {}", param.name);
                }
                let variables = action.takes.iter().map(|a| a.variable);
                for name in variables.chain(action.gives.iter().map(|a| a.variable)) {
                    assert!(service.variables.iter().any(|v| v.name == name), "{name}");
                }
            }
        }
    }

    #[test]
    fn variables_of_ours_that_are_not_evented_are_named_as_argument_types() {
        for service in SERVICES.iter().filter(|s| s.owner == Owner::RingNode) {
            for variable in service.variables {
                let prefixed = variable.name.starts_with("A_ARG_TYPE_");
                // A state that an action reads need not be evented.
                assert_eq!(prefixed, variable.event.is_none(), "{}", variable.name);
                let used = service.actions.iter().any(|action| {
                    let takes = action.takes.iter().map(|a| a.variable);
                    let mut all = takes.chain(action.gives.iter().map(|a| a.variable));
                    all.any(|name| name == variable.name)
                });
                assert!(
                    used || variable.event.is_some(),
                    "{} is used",
                    variable.name
                );
            }
        }
    }

    #[test]
    fn config_id_changes_with_any_document() {
        let describe = |name: &str| describe(&Id::of(b"board"), &name.parse().unwrap());
        assert_eq!(describe("kitchen"), describe("kitchen"));
        assert_ne!(describe("kitchen").config_id, describe("hall").config_id);
        let bare = Description::of_board(&Id::of(b"board"), &"kitchen".parse().unwrap());
        let drawn = |scpd: &[u8]| {
            let mut description = bare.clone();
            description.draw_config_id(|_| scpd.to_vec());
            description.config_id
        };
        assert_ne!(drawn(b"one service"), drawn(b"another"));
    }

    #[test]
    fn every_service_has_something_to_tell() {
        // Without it the event URL must be empty, and strict clients subscribe there all the same.
        assert!(topics().iter().all(|topic| !topic.is_empty()));
    }

    #[test]
    fn icons_are_png_of_the_size_they_say() {
        for (size, _) in ICONS {
            let bytes = icon(&icon_path(size)).unwrap();
            assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
            assert_eq!(&bytes[16..20], size.to_be_bytes());
            assert_eq!(&bytes[20..24], size.to_be_bytes());
        }
        assert!(icon("/icon/49.png").is_none());
    }
}
