//! SOAP 1.1 as UPnP uses it: a call of an action read from bytes; its answer or fault written.
//!
//! Names are compared by namespace, since prefixes vary; answers have the prefixes that control
//! points without a namespace parser look for. No header entry is understood: one that must be is
//! refused, others are skipped. What an action does is `service/device`. Source: UDA 2.0 §3.2,
//! SOAP 1.1 §4.2.3.

use std::fmt::Write;

use ssdp_client::URN;

use super::xml::{Element, XmlError, push_text};

const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const ENCODING: &str = "http://schemas.xmlsoap.org/soap/encoding/";
const ACTOR_NEXT: &str = "http://schemas.xmlsoap.org/soap/actor/next";
const CONTROL: &str = "urn:schemas-upnp-org:control-1-0";

/// An action that is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The service's type, of the version the caller knows.
    pub service: URN,
    /// The action.
    pub action: String,
    /// Names and values in the order they were sent, white space kept.
    pub arguments: Vec<(String, String)>,
}

/// Why a request is no call; the control point is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SoapError {
    /// Not a document we read.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The envelope is not as SOAP has it.
    #[error("{0} is missing or malformed")]
    Envelope(&'static str),
    /// SOAPACTION is missing, or names another action than the body.
    #[error("SOAPACTION is not \"service type#action\" of the action in the body")]
    Action,
    /// A header entry for us has to be understood, and is not.
    #[error("the SOAP header has an entry that must be understood, and none is; send none")]
    MustUnderstand,
}

/// A text that XML cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} has a character that XML cannot carry ({character:?})")]
pub struct Unwritable {
    /// Which argument.
    pub name: &'static str,
    /// The character.
    pub character: char,
}

impl Call {
    /// Reads the body of a control request with its SOAPACTION header.
    ///
    /// # Errors
    /// Says what is wrong with which of the two.
    pub fn parse(action: Option<&str>, body: &[u8]) -> Result<Self, SoapError> {
        let root = Element::parse_verbatim(body)?;
        if root.name != "Envelope" || root.namespace != ENVELOPE {
            return Err(SoapError::Envelope("the envelope"));
        }
        let mut header = root.child("Header").into_iter().flat_map(|it| &it.children);
        if header.any(must_be_understood) {
            return Err(SoapError::MustUnderstand);
        }
        let body = root.child("Body").ok_or(SoapError::Envelope("the body"))?;
        let [call] = body.children.as_slice() else {
            return Err(SoapError::Envelope("the one action in the body"));
        };
        let service: URN = call
            .namespace
            .parse()
            .map_err(|_| SoapError::Envelope("the action's namespace, a service type"))?;
        let expected = format!("{}#{}", call.namespace, call.name);
        let named = action.map(|text| text.trim().trim_matches('"'));
        if named != Some(expected.as_str()) {
            return Err(SoapError::Action);
        }
        let arguments = call.children.iter();
        Ok(Call {
            service,
            action: call.name.clone(),
            arguments: arguments
                .map(|argument| (argument.name.clone(), argument.text.clone()))
                .collect(),
        })
    }

    /// The answer: all out arguments in the order of the service description, in the namespace of
    /// the version that was asked.
    ///
    /// # Errors
    /// [`Unwritable`] names the argument.
    pub fn answer(&self, arguments: &[(&'static str, String)]) -> Result<String, Unwritable> {
        let mut out = opening();
        let (service, action) = (&self.service, &self.action);
        write!(out, "<u:{action}Response xmlns:u=\"{service}\">")
            .expect("a String takes all that is written");
        for (name, value) in arguments {
            write!(out, "\n<{name}>").expect("a String takes all that is written");
            push_text(&mut out, value).map_err(|character| Unwritable { name, character })?;
            write!(out, "</{name}>").expect("a String takes all that is written");
        }
        write!(out, "\n</u:{action}Response>").expect("a String takes all that is written");
        out.push_str(CLOSING);
        Ok(out)
    }
}

/// A UPnPError (UDA 2.0 §3.2.5); characters that XML cannot carry are left out of its text.
pub fn fault(code: u16, description: &str) -> String {
    let mut out = opening();
    write!(
        out,
        "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>\
         <UPnPError xmlns=\"{CONTROL}\"><errorCode>{code}</errorCode><errorDescription>"
    )
    .expect("a String takes all that is written");
    for c in description.chars() {
        // A fault must not fail.
        let _ = push_text(&mut out, c.encode_utf8(&mut [0; 4]));
    }
    out.push_str("</errorDescription></UPnPError></detail></s:Fault>");
    out.push_str(CLOSING);
    out
}

/// The fault for a header entry that has to be understood; it has no detail, since the body was
/// not looked at (SOAP 1.1 §4.4).
pub fn must_understand_fault() -> String {
    format!(
        "{}<s:Fault><faultcode>s:MustUnderstand</faultcode><faultstring>{}</faultstring></s:Fault>\
         {CLOSING}",
        opening(),
        SoapError::MustUnderstand
    )
}

/// An entry for the first that reads it (SOAP 1.1 §4.2.2) which may not be skipped.
fn must_be_understood(entry: &Element) -> bool {
    let of_soap = |name| entry.qualified_text(ENVELOPE, name).map(str::trim);
    let ours = of_soap("actor").is_none_or(|actor| actor.is_empty() || actor == ACTOR_NEXT);
    ours && matches!(of_soap("mustUnderstand"), Some("1" | "true"))
}

const CLOSING: &str = "\n</s:Body></s:Envelope>\n";

fn opening() -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<s:Envelope xmlns:s=\"{ENVELOPE}\" \
         s:encodingStyle=\"{ENCODING}\"><s:Body>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RING: &str = "urn:roundel-org:service:Ring:1";

    fn request(body: &str) -> String {
        format!(
            "<?xml version='1.0'?><SOAP:Envelope xmlns:SOAP='{ENVELOPE}'>\
             <SOAP:Header/><SOAP:Body>{body}</SOAP:Body></SOAP:Envelope>"
        )
    }

    fn call() -> Call {
        Call {
            service: RING.parse().unwrap(),
            action: "FindSuccessor".to_owned(),
            arguments: Vec::new(),
        }
    }

    #[test]
    fn call_is_read_whatever_its_prefixes_are() {
        let action = format!("\"{RING}#FindSuccessor\"");
        let expected = Call {
            arguments: vec![
                ("Key".to_owned(), " lamp<".to_owned()),
                ("Id".to_owned(), String::new()),
            ],
            ..call()
        };
        for body in [
            format!(
                "<u:FindSuccessor xmlns:u='{RING}'><Key> lamp&lt;</Key><Id/></u:FindSuccessor>"
            ),
            format!(
                "<FindSuccessor xmlns='{RING}'><Key xmlns=''> lamp<![CDATA[<]]></Key><Id></Id>\
                 </FindSuccessor>"
            ),
        ] {
            let read = Call::parse(Some(&action), request(&body).as_bytes());
            assert_eq!(read.as_ref(), Ok(&expected), "{body}");
        }
    }

    #[test]
    fn what_is_no_call_is_refused() {
        let named = format!("{RING}#Leave");
        let leave = format!("<u:Leave xmlns:u='{RING}'/>");
        let read = |action: Option<&str>, text: &str| Call::parse(action, text.as_bytes());
        assert!(read(Some(&named), &request(&leave)).is_ok());
        for action in [
            None,
            Some(""),
            Some("Leave"),
            Some("urn:x:service:Ring:1#Leave"),
        ] {
            assert_eq!(read(action, &request(&leave)), Err(SoapError::Action));
        }
        let bomb = format!("<!DOCTYPE a [<!ENTITY x 'y'>]>{}", &request(&leave)[21..]);
        let deep = request(&("<a>".repeat(31) + &"</a>".repeat(31)));
        let long = request(&format!("<a>{}</a>", "x".repeat(64 * 1_024)));
        for (text, expected) in [
            (bomb, SoapError::Xml(XmlError::DocType)),
            (deep, SoapError::Xml(XmlError::TooDeep)),
            (
                long.clone(),
                SoapError::Xml(XmlError::TooLong { got: long.len() }),
            ),
            ("<a".to_owned(), SoapError::Xml(XmlError::Malformed)),
            ("<a/>".to_owned(), SoapError::Envelope("the envelope")),
            (
                request(&leave).replace("SOAP:Body", "SOAP:Torso"),
                SoapError::Envelope("the body"),
            ),
            (
                request(""),
                SoapError::Envelope("the one action in the body"),
            ),
            (
                request(&leave.repeat(2)),
                SoapError::Envelope("the one action in the body"),
            ),
            (
                request("<Leave/>"),
                SoapError::Envelope("the action's namespace, a service type"),
            ),
        ] {
            assert_eq!(read(Some(&named), &text), Err(expected), "{text:.200}");
        }
    }

    #[test]
    fn header_entries_that_must_be_understood_are_refused() {
        let named = format!("{RING}#Leave");
        let with = |entry: &str| {
            let text = request(&format!("<u:Leave xmlns:u='{RING}'/>"));
            text.replace(
                "<SOAP:Header/>",
                &format!("<SOAP:Header>{entry}</SOAP:Header>"),
            )
        };
        let read = |entry: &str| Call::parse(Some(&named), with(entry).as_bytes());
        let next = format!("SOAP:actor='{ACTOR_NEXT}'");
        for entry in [
            "<t:T xmlns:t='x' SOAP:mustUnderstand='1'>5</t:T>".to_owned(),
            format!("<a/><T {next} SOAP:mustUnderstand='1'/>"),
            format!("<T xmlns:e='{ENVELOPE}' e:mustUnderstand=' 1 '/>"),
        ] {
            assert_eq!(read(&entry), Err(SoapError::MustUnderstand), "{entry}");
        }
        for entry in [
            "<t:T xmlns:t='x'>5</t:T>",
            "<T SOAP:mustUnderstand='0'/>",
            "<T mustUnderstand='1'/>",
            "<T xmlns:e='other' e:mustUnderstand='1'/>",
            "<T><U SOAP:mustUnderstand='1'/></T>",
            "<T SOAP:actor='urn:other' SOAP:mustUnderstand='1'/>",
        ] {
            assert!(read(entry).is_ok(), "{entry}");
        }
        let text = must_understand_fault();
        let root = Element::parse(text.as_bytes()).unwrap();
        let fault = root.child("Body").and_then(|body| body.child("Fault"));
        let fault = fault.unwrap();
        let names: Vec<_> = fault.children.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["faultcode", "faultstring"]);
        assert_eq!(fault.children[0].text, "s:MustUnderstand");
    }

    proptest! {
        #[test]
        fn every_answer_says_what_was_put_into_it(
            values in prop::collection::vec("[ -~\r\n\t\u{e4}\u{1f600}]{0,40}", 0..5),
        ) {
            const NAMES: [&str; 5] = ["A", "B", "C", "D", "E"];
            let arguments: Vec<_> = NAMES.into_iter().zip(values).collect();
            let text = call().answer(&arguments).unwrap();
            let root = Element::parse_verbatim(text.as_bytes()).unwrap();
            let answer = &root.child("Body").unwrap().children[0];
            prop_assert_eq!((answer.name.as_str(), answer.namespace.as_str()),
                ("FindSuccessorResponse", RING));
            let read: Vec<_> =
                answer.children.iter().map(|a| (a.name.as_str(), a.text.clone())).collect();
            prop_assert_eq!(read, arguments);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>, text in "[<>/&;!a=\"' #\\[\\]-]{0,60}") {
            let _ = Call::parse(Some(&text), &bytes);
            let _ = Call::parse(None, request(&text).as_bytes());
        }
    }

    #[test]
    fn what_xml_cannot_carry_is_named_in_an_answer_and_left_out_of_a_fault() {
        let unwritable = call().answer(&[("Next", "a\u{1}b".to_owned())]);
        let expected = Unwritable {
            name: "Next",
            character: '\u{1}',
        };
        assert_eq!(unwritable, Err(expected));
        let text = fault(600, "no </errorDescription> \u{0}of mine");
        let root = Element::parse(text.as_bytes()).unwrap();
        let fault = root
            .child("Body")
            .and_then(|body| body.child("Fault"))
            .unwrap();
        let detail = fault.children.iter().find(|child| child.name == "detail");
        let error = &detail.unwrap().children[0];
        assert_eq!(
            (error.name.as_str(), error.namespace.as_str()),
            ("UPnPError", CONTROL)
        );
        assert_eq!(error.child_text("errorCode"), Some("600"));
        assert_eq!(
            error.child_text("errorDescription"),
            Some("no </errorDescription> of mine")
        );
    }
}
