//! XML documents, bounded: bytes to a small tree of elements and back.
//!
//! Deliberately not a general XML library: no mixed content, no comments or processing
//! instructions in the tree, no DOCTYPE and so no entity of a sender's own. Names are compared by
//! namespace, since prefixes vary. Source: UDA 2.0 §2.3, XML 1.0, Namespaces in XML 1.0.

use quick_xml::XmlVersion;
use quick_xml::escape::{escape, partial_escape, unescape};
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{NamespaceResolver, Prefix, ResolveResult};
use quick_xml::reader::NsReader;

use crate::base::limit;

/// What the prefix `xml` stands for; no other prefix does (Namespaces in XML 1.0 §3).
const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
/// What the prefix `xmlns` stands for; no element has it and no other prefix does (likewise).
const XMLNS_NAMESPACE: &str = "http://www.w3.org/2000/xmlns/";

/// An element: its attributes, and either text or children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// The namespace's name; empty for none.
    pub namespace: String,
    /// The local name.
    pub name: String,
    /// Attributes without a namespace, in order.
    pub attributes: Vec<(String, String)>,
    /// Attributes of a namespace, in order: the namespace's name, the local name, the value. Those
    /// whose prefix nobody has declared are left out.
    pub qualified: Vec<(String, String, String)>,
    /// Its text, white space at both ends left out; empty when there are children.
    pub text: String,
    /// Its children, in order.
    pub children: Vec<Element>,
}

/// Why bytes are not a document we read; the sender is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// More than 64 KiB.
    #[error(
        "an XML document of {got} bytes is too long; at most {max} are read",
        max = limit::XML_BYTES_MAX
    )]
    TooLong {
        /// Its bytes.
        got: usize,
    },
    /// Nested more than 32 deep.
    #[error("an XML document is at most {max} deep", max = limit::XML_DEPTH_MAX)]
    TooDeep,
    /// It has a DOCTYPE, through which entities come in.
    #[error("a DOCTYPE is refused")]
    DocType,
    /// Not UTF-8.
    #[error("the document is not UTF-8")]
    Encoding,
    /// A character that XML cannot carry, not even as a reference (XML 1.0 §2.2).
    #[error("an XML document cannot carry the character U+{:04X}; leave it out", u32::from(*.0))]
    Character(char),
    /// Not well formed, or an entity or prefix is unknown.
    #[error("the document is not well formed")]
    Malformed,
}

impl Element {
    /// An element of a namespace, without content.
    pub fn new(namespace: &str, name: &str) -> Self {
        Element {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Element::default()
        }
    }

    /// Adds an attribute.
    pub fn attribute(mut self, name: &str, value: impl ToString) -> Self {
        self.attributes.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds a child of the same namespace that holds `text`.
    pub fn leaf(mut self, name: &str, text: &str) -> Self {
        let mut child = Element::new(&self.namespace, name);
        child.text = text.trim().to_owned();
        self.children.push(child);
        self
    }

    /// Adds a child.
    pub fn with(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    /// The first child of this element's namespace with that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children
            .iter()
            .find(|child| child.name == name && child.namespace == self.namespace)
    }

    /// The text of the first child with that name.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// The value of an attribute.
    pub fn attribute_text(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of an attribute of a namespace.
    pub fn qualified_text(&self, namespace: &str, name: &str) -> Option<&str> {
        let mut known = self.qualified.iter();
        let found = known.find(|(of, key, _)| of == namespace && key == name);
        found.map(|(_, _, value)| value.as_str())
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Says which bound or rule the document breaks.
    pub fn parse(bytes: &[u8]) -> Result<Element, XmlError> {
        Element::read(bytes, Builder::default())
    }

    /// As [`Element::parse`], but the text of elements without children stays as it was sent, its
    /// white space included: values that somebody wants back.
    ///
    /// # Errors
    /// As [`Element::parse`].
    pub fn parse_verbatim(bytes: &[u8]) -> Result<Element, XmlError> {
        let builder = Builder {
            verbatim: true,
            ..Builder::default()
        };
        Element::read(bytes, builder)
    }

    fn read(bytes: &[u8], mut builder: Builder) -> Result<Element, XmlError> {
        if bytes.len() > limit::XML_BYTES_MAX {
            return Err(XmlError::TooLong { got: bytes.len() });
        }
        let text = carried(std::str::from_utf8(bytes).map_err(|_| XmlError::Encoding)?)?;
        let mut reader = NsReader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        reader.config_mut().expand_empty_elements = true;
        loop {
            match reader.read_event().map_err(|_| XmlError::Malformed)? {
                Event::Start(start) => builder.open(element(reader.resolver(), &start)?)?,
                Event::End(_) => builder.close()?,
                Event::Text(text) => builder.text(&text.xml10_content())?,
                Event::CData(data) => builder.text(&data.xml10_content())?,
                Event::GeneralRef(entity) => {
                    let found = match entity.resolve_char_ref() {
                        Ok(Some(c)) => Some(c),
                        Ok(None) => predefined(&entity.xml10_content()),
                        Err(_) => None,
                    };
                    let mut buffer = [0; 4];
                    let found = found.ok_or(XmlError::Malformed)?;
                    builder.text(carried(found.encode_utf8(&mut buffer))?)?;
                }
                Event::DocType(_) => return Err(XmlError::DocType),
                Event::Eof => return builder.root.ok_or(XmlError::Malformed),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
    }

    /// The document, UTF-8, with its declaration.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
        self.write(&mut out, "", 0);
        out.into_bytes()
    }

    fn write(&self, out: &mut String, namespace: &str, depth: usize) {
        for _ in 0..depth {
            out.push(' ');
        }
        // The namespace of `xml` cannot be declared: what is declared around the element stays.
        let (prefix, inner) = match self.namespace == XML_NAMESPACE {
            true => ("xml:", namespace),
            false => ("", self.namespace.as_str()),
        };
        out.push('<');
        out.push_str(prefix);
        out.push_str(&self.name);
        if inner != namespace {
            push_attribute(out, "xmlns", inner);
        }
        for (name, value) in &self.attributes {
            push_attribute(out, name, value);
        }
        for (at, (namespace, name, value)) in self.qualified.iter().enumerate() {
            if namespace == XML_NAMESPACE {
                push_attribute(out, &format!("xml:{name}"), value);
                continue;
            }
            push_attribute(out, &format!("xmlns:n{at}"), namespace);
            push_attribute(out, &format!("n{at}:{name}"), value);
        }
        if self.text.is_empty() && self.children.is_empty() {
            out.push_str("/>\n");
            return;
        }
        out.push('>');
        if self.children.is_empty() {
            out.push_str(&partial_escape(self.text.as_str()));
        } else {
            out.push('\n');
            for child in &self.children {
                child.write(out, inner, depth + 1);
            }
            for _ in 0..depth {
                out.push(' ');
            }
        }
        out.push_str("</");
        out.push_str(prefix);
        out.push_str(&self.name);
        out.push_str(">\n");
    }
}

fn push_attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    // White space other than a blank would be read back as one (XML 1.0 §3.3.3).
    for piece in escape(value).split_inclusive(['\t', '\n']) {
        match piece.as_bytes().last() {
            Some(b'\t') => out.push_str(&format!("{}&#9;", &piece[..piece.len() - 1])),
            Some(b'\n') => out.push_str(&format!("{}&#10;", &piece[..piece.len() - 1])),
            _ => out.push_str(piece),
        }
    }
    out.push('"');
}

/// Appends `text` so that a reader finds it again, line ends included.
///
/// # Errors
/// The first character that XML cannot carry (XML 1.0 §2.2); `out` may have been appended to.
pub fn push_text(out: &mut String, text: &str) -> Result<(), char> {
    for c in text.chars() {
        match c {
            _ if !is_carried(c) => return Err(c),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\r' => out.push_str("&#13;"),
            _ => out.push(c),
        }
    }
    Ok(())
}

/// Whether XML can carry it (XML 1.0 §2.2, Char).
fn is_carried(c: char) -> bool {
    !matches!(c, '\0'..'\t' | '\u{b}' | '\u{c}' | '\u{e}'..' ' | '\u{fffe}' | '\u{ffff}')
}

/// The text, all of which XML can carry; the parser lets through what it cannot.
fn carried(text: &str) -> Result<&str, XmlError> {
    match text.chars().find(|c| !is_carried(*c)) {
        Some(c) => Err(XmlError::Character(c)),
        None => Ok(text),
    }
}

fn predefined(entity: &str) -> Option<char> {
    match entity {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => None,
    }
}

/// A namespace's name, which is the value of an attribute. The parser knows the reserved names
/// only as they are mostly written, and lets the default namespace be one.
fn name_of(prefix: Option<Prefix<'_>>, written: &str) -> Result<String, XmlError> {
    let name = unescape(written).map_err(|_| XmlError::Malformed)?;
    let is_xml = prefix.is_some_and(|prefix| prefix.is_xml());
    if name == XMLNS_NAMESPACE || (name == XML_NAMESPACE) != is_xml {
        return Err(XmlError::Malformed);
    }
    Ok(carried(&name)?.to_owned())
}

/// A local name; the parser lets through what could not be written again (Namespaces in XML 1.0,
/// NCName; beyond ASCII more is taken than there).
fn checked_name(name: &str) -> Result<String, XmlError> {
    let begins = |c: char| c.is_alphabetic() || c == '_';
    let beyond = |c: char| !c.is_ascii() && !c.is_whitespace() && !c.is_control();
    let goes_on = |c: char| c.is_alphanumeric() || "-._".contains(c) || beyond(c);
    match name.starts_with(begins) && name.chars().all(goes_on) {
        true => Ok(name.to_owned()),
        false => Err(XmlError::Malformed),
    }
}

fn element(resolver: &NamespaceResolver, start: &BytesStart<'_>) -> Result<Element, XmlError> {
    let (namespace, local_name) = resolver.resolve_element(start.name());
    let namespace = match namespace {
        ResolveResult::Bound(namespace) => name_of(start.name().prefix(), namespace.0)?,
        ResolveResult::Unbound => String::new(),
        ResolveResult::Unknown(_) => return Err(XmlError::Malformed),
    };
    let local_name = checked_name(local_name.into_inner())?;
    let (mut attributes, mut qualified) = (Vec::new(), Vec::new());
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| XmlError::Malformed)?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|_| XmlError::Malformed)?;
        let value = carried(&value)?.to_owned();
        let (namespace, name) = resolver.resolve_attribute(attribute.key);
        let name = checked_name(name.into_inner())?;
        match namespace {
            ResolveResult::Unbound => attributes.push((name, value)),
            ResolveResult::Bound(of) => {
                let of = name_of(attribute.key.prefix(), of.0)?;
                qualified.push((of, name, value));
            }
            ResolveResult::Unknown(_) => {}
        }
    }
    Ok(Element {
        namespace,
        name: local_name,
        attributes,
        qualified,
        ..Element::default()
    })
}

/// The open elements, outermost first, and the root once it is closed.
#[derive(Default)]
struct Builder {
    open: Vec<Element>,
    root: Option<Element>,
    /// White space at the ends of texts is kept.
    verbatim: bool,
}

impl Builder {
    fn open(&mut self, element: Element) -> Result<(), XmlError> {
        if self.root.is_some() {
            return Err(XmlError::Malformed);
        }
        if self.open.len() == limit::XML_DEPTH_MAX {
            return Err(XmlError::TooDeep);
        }
        self.open.push(element);
        Ok(())
    }

    fn close(&mut self) -> Result<(), XmlError> {
        let mut element = self.open.pop().ok_or(XmlError::Malformed)?;
        if !element.children.is_empty() {
            element.text.clear();
        } else if !self.verbatim {
            element.text = element.text.trim().to_owned();
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(XmlError::Malformed),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn namespaces() -> impl Strategy<Value = String> {
        prop_oneof![9 => "[a-z:/.]{0,9}", 1 => Just(XML_NAMESPACE.to_owned())]
    }

    fn leaves() -> impl Strategy<Value = Element> {
        (
            namespaces(),
            "[A-Za-z][A-Za-z0-9_]{0,9}",
            prop::collection::btree_map("[a-w][a-z]{0,5}", "[ -~\t\n\u{e4}]{0,9}", 0..3),
            prop::collection::vec(("[a-z:/.]{1,9}", "[a-w][a-z]{0,5}", "[ -~\t]{0,9}"), 0..3),
            prop::option::of("[a-w][a-z]{0,5}"),
            "[ -~\r\n\t\u{6f22}]{0,20}",
        )
            .prop_map(|(namespace, name, attributes, others, xml, text)| Element {
                namespace,
                name,
                attributes: attributes.into_iter().collect(),
                qualified: xml
                    .map(|name| (XML_NAMESPACE.to_owned(), name, "1".to_owned()))
                    .into_iter()
                    .chain(others)
                    .collect(),
                text: text.trim().to_owned(),
                children: Vec::new(),
            })
    }

    fn trees() -> impl Strategy<Value = Element> {
        leaves().prop_recursive(4, 20, 4, |inner| {
            (leaves(), prop::collection::vec(inner, 1..4)).prop_map(|(mut element, children)| {
                element.text.clear();
                element.children = children;
                element
            })
        })
    }

    #[test]
    fn names_that_could_not_be_written_again_are_refused() {
        for text in [
            "<a><\n/></a>",
            "<a b=\"1\" !=\"2\"/>",
            "<1/>",
            "<a-\u{7f}/>",
        ] {
            assert_eq!(
                Element::parse(text.as_bytes()),
                Err(XmlError::Malformed),
                "{text:?}"
            );
        }
        let read = Element::parse("<_é-1.x ü=\"1\"/>".as_bytes()).unwrap();
        assert_eq!(read.name, "_é-1.x");
    }

    #[test]
    fn characters_that_xml_cannot_carry_are_refused() {
        for (text, c) in [
            ("<a>\u{8}</a>", '\u{8}'),
            ("<a>&#8;</a>", '\u{8}'),
            ("<a>&#xFFFE;</a>", '\u{fffe}'),
            ("<a><![CDATA[\u{12}]]></a>", '\u{12}'),
            ("<a b='\u{1b}'/>", '\u{1b}'),
            ("<a b='&#x1b;'/>", '\u{1b}'),
            ("<a xmlns='&#31;'/>", '\u{1f}'),
            ("<a \0='1'/>", '\0'),
            ("<a><!--\u{ffff}--></a>", '\u{ffff}'),
        ] {
            let refused = Err(XmlError::Character(c));
            assert_eq!(Element::parse(text.as_bytes()), refused, "{text:?}");
            assert_eq!(push_text(&mut String::new(), &c.to_string()), Err(c));
        }
        let every = "<a>b\t\u{7f}\u{85}\u{d7ff}\u{e000}\u{fffd}\u{10ffff}&#9;&#10;&#13;c</a>";
        let read = Element::parse(every.as_bytes()).unwrap();
        let text = "b\t\u{7f}\u{85}\u{d7ff}\u{e000}\u{fffd}\u{10ffff}\t\n\rc";
        assert_eq!(read.text, text);
        assert_eq!(Element::parse(&read.emit()), Ok(read));
    }

    #[test]
    fn the_namespace_of_xml_is_written_with_its_own_prefix() {
        let text = "<a xmlns='urn:x' xml:lang='en'><xml:b><c xml:lang='de'/></xml:b></a>";
        let read = Element::parse(text.as_bytes()).unwrap();
        assert_eq!(read.qualified_text(XML_NAMESPACE, "lang"), Some("en"));
        assert_eq!(read.children[0].namespace, XML_NAMESPACE);
        assert_eq!(read.children[0].children[0].namespace, "urn:x");
        assert_eq!(Element::parse(&read.emit()), Ok(read));
    }

    #[test]
    fn reserved_namespaces_are_refused_however_they_are_written() {
        for text in [
            "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
            "<a xmlns:q='http://www.w3.org/XML/1998/namespace'/>",
            "<q:a xmlns:q='http://www.w3.org/XML/1998/namespac&#101;'/>",
            "<a xml:b='1' q:b='1' xmlns:q='http://www.w3.org/XML/1998/namespac&#101;'/>",
            "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
            "<q:a xmlns:q='http://www.w3.org/2000/xmlns&#47;'/>",
            "<xmlns:a/>",
        ] {
            let read = Element::parse(text.as_bytes());
            assert_eq!(read, Err(XmlError::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_tree_is_read_back(tree in trees()) {
            let bytes = tree.emit();
            prop_assert_eq!(Element::parse(&bytes), Ok(tree));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>, text in "[<>/&;!a=\"' \\[\\]-]{0,60}") {
            let _ = Element::parse(&bytes);
            let _ = Element::parse(text.as_bytes());
        }
    }

    #[test]
    fn prefixes_do_not_matter() {
        let plain = Element::parse(b"<a xmlns='urn:x'><b>1</b></a>").unwrap();
        let prefixed = Element::parse(
            b"\xef\xbb\xbf<?xml version='1.0'?><q:a xmlns:q='urn:x'><q:b>1</q:b></q:a>",
        );
        assert_eq!(prefixed, Ok(plain));
    }

    #[test]
    fn white_space_is_kept_where_it_is_asked_for() {
        let text = b"<a> <b> x&#13;\n</b> </a>";
        let read = Element::parse_verbatim(text).unwrap();
        assert_eq!(read.child_text("b"), Some(" x\r\n"));
        assert_eq!(read.text, "");
        let read = Element::parse(text).unwrap();
        assert_eq!(read.child_text("b"), Some("x"));
    }

    #[test]
    fn refusals() {
        let deep = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        let bomb = "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>";
        for (text, expected) in [
            (bomb, XmlError::DocType),
            ("<a>&x;</a>", XmlError::Malformed),
            ("<a>&#xFFFFFFFF;</a>", XmlError::Malformed),
            ("<a>", XmlError::Malformed),
            ("<a></b>", XmlError::Malformed),
            ("<a/><b/>", XmlError::Malformed),
            ("<a/>text", XmlError::Malformed),
            ("<q:a/>", XmlError::Malformed),
            ("<a b='1' b='2'/>", XmlError::Malformed),
            ("", XmlError::Malformed),
        ] {
            assert_eq!(Element::parse(text.as_bytes()), Err(expected), "{text}");
        }
        assert_eq!(Element::parse(b"<a>\xff</a>"), Err(XmlError::Encoding));
        assert!(Element::parse(deep(limit::XML_DEPTH_MAX).as_bytes()).is_ok());
        let too_deep = deep(limit::XML_DEPTH_MAX + 1);
        assert_eq!(Element::parse(too_deep.as_bytes()), Err(XmlError::TooDeep));
        let got = limit::XML_BYTES_MAX + 1;
        let long = vec![b' '; got];
        assert_eq!(Element::parse(&long), Err(XmlError::TooLong { got }));
    }
}
