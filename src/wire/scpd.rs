//! Service descriptions (SCPD): a service's actions and state variables, written as XML.
//!
//! Is not read back: nothing here asks other devices' services. Which services there are is
//! `service/device`. Source: UDA 2.0 §2.5.

use super::ssdp::ConfigId;
use super::xml::Element;

const NAMESPACE: &str = "urn:schemas-upnp-org:service-1-0";

/// The type of a state variable, of those that UDA 2.0 §2.5.2 allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// An unsigned number of 2 bytes.
    Ui2,
    /// An unsigned number of 4 bytes.
    Ui4,
    /// `1` or `0`; `true`, `yes`, `false` and `no` are read too.
    Boolean,
    /// Text.
    String,
    /// Bytes.
    BinBase64,
}

impl DataType {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            DataType::Ui2 => "ui2",
            DataType::Ui4 => "ui4",
            DataType::Boolean => "boolean",
            DataType::String => "string",
            DataType::BinBase64 => "bin.base64",
        }
    }
}

/// Which way an argument goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the device.
    In,
    /// To the control point.
    Out,
}

/// An argument of an action.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// Which way it goes.
    pub direction: Direction,
    /// The state variable that gives its type.
    pub variable: &'static str,
}

/// An action.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its name.
    pub name: &'static str,
    /// Those in before those out.
    pub arguments: Vec<Argument>,
}

/// A state variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name; `A_ARG_TYPE_…` when it only gives arguments their type.
    pub name: &'static str,
    /// Its type.
    pub data_type: DataType,
    /// Subscribers are told of it.
    pub evented: bool,
    /// The only texts it takes; empty: any.
    pub allowed: &'static [&'static str],
    /// The least and the largest number it takes.
    pub range: Option<(u32, u32)>,
}

/// A service description.
#[derive(Clone, Debug)]
pub struct Scpd {
    /// Equal to that of the device description.
    pub config_id: ConfigId,
    /// The actions.
    pub actions: Vec<Action>,
    /// The variables.
    pub variables: Vec<Variable>,
}

impl Scpd {
    /// The document.
    pub fn emit(&self) -> Vec<u8> {
        let list = |name| Element::new(NAMESPACE, name);
        let version = list("specVersion").leaf("major", "2").leaf("minor", "0");
        let actions = self.actions.iter().map(action);
        let variables = self.variables.iter().map(variable);
        list("scpd")
            .attribute("configId", self.config_id.get())
            .with(version)
            .with(actions.fold(list("actionList"), Element::with))
            .with(variables.fold(list("serviceStateTable"), Element::with))
            .emit()
    }
}

fn action(action: &Action) -> Element {
    let element = Element::new(NAMESPACE, "action").leaf("name", action.name);
    // An empty list is against the schema.
    if action.arguments.is_empty() {
        return element;
    }
    let arguments = action.arguments.iter().map(|argument| {
        let direction = match argument.direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        Element::new(NAMESPACE, "argument")
            .leaf("name", argument.name)
            .leaf("direction", direction)
            .leaf("relatedStateVariable", argument.variable)
    });
    let list = Element::new(NAMESPACE, "argumentList");
    element.with(arguments.fold(list, Element::with))
}

fn variable(variable: &Variable) -> Element {
    let evented = if variable.evented { "yes" } else { "no" };
    let mut element = Element::new(NAMESPACE, "stateVariable")
        .attribute("sendEvents", evented)
        .leaf("name", variable.name)
        .leaf("dataType", variable.data_type.as_str());
    if !variable.allowed.is_empty() {
        let list = Element::new(NAMESPACE, "allowedValueList");
        let values = variable.allowed.iter();
        element = element.with(values.fold(list, |list, value| list.leaf("allowedValue", value)));
    }
    if let Some((minimum, maximum)) = variable.range {
        let range = Element::new(NAMESPACE, "allowedValueRange")
            .leaf("minimum", &minimum.to_string())
            .leaf("maximum", &maximum.to_string());
        element = element.with(range);
    }
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_has_actions_arguments_and_variables_in_order() {
        let argument = |name, direction| Argument {
            name,
            direction,
            variable: "Depth",
        };
        let variable = |name, evented| Variable {
            name,
            data_type: DataType::Ui4,
            evented,
            allowed: &[],
            range: Some((0, 9)),
        };
        let document = Scpd {
            config_id: ConfigId::new(7),
            actions: vec![
                Action {
                    name: "Dive",
                    arguments: vec![
                        argument("To", Direction::In),
                        argument("At", Direction::Out),
                    ],
                },
                Action {
                    name: "Rise",
                    arguments: Vec::new(),
                },
            ],
            variables: vec![variable("Depth", true)],
        }
        .emit();
        let root = Element::parse(&document).unwrap();
        assert_eq!(root.attribute_text("configId"), Some("7"));
        let actions = &root.child("actionList").unwrap().children;
        let arguments = &actions[0].child("argumentList").unwrap().children;
        let directions: Vec<_> = arguments
            .iter()
            .map(|argument| argument.child_text("direction").unwrap())
            .collect();
        assert_eq!(directions, ["in", "out"]);
        assert!(actions[1].child("argumentList").is_none());
        let variable = &root.child("serviceStateTable").unwrap().children[0];
        assert_eq!(variable.attribute_text("sendEvents"), Some("yes"));
        let range = variable.child("allowedValueRange").unwrap();
        assert_eq!(range.child_text("maximum"), Some("9"));
    }
}
