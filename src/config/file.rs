//! The configuration file as written: TOML, every setting optional, unknown ones refused.
//!
//! This module knows names, types and lines; whether a value makes sense is
//! [`valid`](super::valid). The names follow Round's configuration where Round has them
//! (`bind_port`, `bind_addr`, `cluster`, `log_file`).

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// A setting with the bytes of the text it came from.
pub type Written<T> = Option<Spanned<T>>;

/// Each setting, its section before a dot, and what it takes in words for a person.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    (
        "name",
        "a text of letters, digits, '-', '_' and '.', at most 63: name = \"kitchen\"",
    ),
    (
        "cluster",
        "a text of letters, digits, '-', '_' and '.', at most 63: cluster = \"home\"",
    ),
    (
        "data",
        "the path of a directory: data = \"/var/lib/roundel\"",
    ),
    (
        "interfaces",
        "a list of interface names, empty for all: interfaces = [\"eth0\"]",
    ),
    (
        "port",
        "a number from 1 to 65535 but 1900: port = 38400; without it, 38400 or the next free",
    ),
    ("bind_port", "what port takes: bind_port = 38400"),
    (
        "bind_addr",
        "one of this board's addresses: bind_addr = \"192.168.1.20\"; without it, all of them",
    ),
    (
        "hosts",
        "a list of further host names clients may use, without port: hosts = [\"kitchen.lan\"]",
    ),
    (
        "open",
        "true (no key: whoever is on the LAN may join, read and write) or false: open = false",
    ),
    (
        "key_file",
        "the path of a cluster.key file: key_file = \"/etc/roundel/cluster.key\"",
    ),
    (
        "loopback",
        "\"read\", \"write\" or \"admin\": loopback = \"admin\"",
    ),
    ("soap_writes", "true or false: soap_writes = false"),
    ("structure", "\"chord\" or \"mesh\": structure = \"chord\""),
    (
        "ring_mode",
        "\"full\" or, for more than 1,024 boards, \"partial\": ring_mode = \"full\"",
    ),
    (
        "on_terminate",
        "\"leave\" (hand everything over) or \"stop\" (come back soon): on_terminate = \"leave\"",
    ),
    ("detector", "\"swim\" or \"phi\": detector = \"swim\""),
    (
        "grace_time_s",
        "seconds from 1 to 31536000: grace_time_s = 600",
    ),
    (
        "leave_timeout_s",
        "seconds from 1 to 3600: leave_timeout_s = 60",
    ),
    (
        "tombstone_age_s",
        "seconds from 1 to 86400: tombstone_age_s = 600",
    ),
    (
        "reply_delay_mean_ms",
        "milliseconds from 0 to 60000: reply_delay_mean_ms = 0",
    ),
    (
        "log_file",
        "what log.file takes: log_file = \"/var/log/roundel.log\"",
    ),
    ("ssdp", "a section: [ssdp]"),
    ("log", "a section: [log]"),
    ("ssdp.listen", "true or false: listen = true"),
    ("ssdp.search", "true or false: search = true"),
    ("ssdp.advertise", "true or false: advertise = true"),
    (
        "log.level",
        "\"error\", \"warn\", \"info\", \"debug\", \"trace\" or \"off\": level = \"info\"",
    ),
    ("log.format", "\"text\" or \"json\": format = \"text\""),
    (
        "log.file",
        "the path of a file: file = \"/var/log/roundel.log\"; without it, standard error",
    ),
];

/// The file as written.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct File {
    /// What people call the board.
    pub name: Written<String>,
    /// The cluster's name.
    pub cluster: Written<String>,
    /// Where the store is.
    pub data: Written<String>,
    /// The interfaces to use.
    pub interfaces: Written<Vec<String>>,
    /// The port, TCP and UDP.
    #[serde(alias = "bind_port")]
    pub port: Written<i64>,
    /// The address to listen on.
    pub bind_addr: Written<String>,
    /// Host names clients may use besides literal addresses and `*.local`.
    pub hosts: Written<Vec<String>>,
    /// Do without a key.
    pub open: Written<bool>,
    /// Where the cluster's key is.
    pub key_file: Written<String>,
    /// What a process on the board may do.
    pub loopback: Written<String>,
    /// SOAP actions may change something.
    pub soap_writes: Written<bool>,
    /// The routing strategy.
    pub structure: Written<String>,
    /// How the ring is computed, if this board founds it.
    pub ring_mode: Written<String>,
    /// When another board is taken for suspect.
    pub detector: Written<String>,
    /// Absent boards are given up after this, seconds.
    pub grace_time_s: Written<i64>,
    /// What a termination signal means.
    pub on_terminate: Written<String>,
    /// Longest hand-over, seconds.
    pub leave_timeout_s: Written<i64>,
    /// How long every board must have confirmed a removal before nothing is left of it, seconds.
    pub tombstone_age_s: Written<i64>,
    /// Mean of the exponential delay of replies, milliseconds.
    pub reply_delay_mean_ms: Written<i64>,
    /// Round's name for `log.file`.
    pub log_file: Written<String>,
    /// `[ssdp]`.
    #[serde(default)]
    pub ssdp: Ssdp,
    /// `[log]`.
    #[serde(default)]
    pub log: Log,
    /// The text, to turn bytes into lines.
    #[serde(skip)]
    text: String,
}

/// `[ssdp]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Ssdp {
    /// Hear announcements.
    pub listen: Written<bool>,
    /// Look for others.
    pub search: Written<bool>,
    /// Announce this board and answer searches.
    pub advertise: Written<bool>,
}

/// `[log]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Log {
    /// The least important level that is logged.
    pub level: Written<String>,
    /// Lines for people or for machines.
    pub format: Written<String>,
    /// Where to.
    pub file: Written<String>,
}

impl File {
    /// Reads the text of a configuration file; empty text is an empty configuration.
    ///
    /// # Errors
    /// [`ConfigError`] for text that is not TOML, unknown names, values of another type.
    pub fn parse(text: &str) -> Result<File, ConfigError> {
        let syntax = |error: toml::de::Error| ConfigError::Syntax {
            line: error.span().map_or(0, |span| line_of(text, span.start)),
            message: error.message().to_owned(),
        };
        let table = DeTable::parse(text).map_err(syntax)?;
        refuse_unknown(text, table.get_ref())?;
        let mut file: File = toml::from_str(text).map_err(|error| {
            let place = error
                .span()
                .and_then(|span| setting_at(table.get_ref(), "", span));
            match place {
                Some((key, value)) => wrong_value(text, key, value),
                None => syntax(error),
            }
        })?;
        text.clone_into(&mut file.text);
        Ok(file)
    }

    /// The line a setting is on, counted from 1.
    pub(super) fn line<T>(&self, written: &Spanned<T>) -> usize {
        line_of(&self.text, written.span().start)
    }

    /// A setting's value as written, shortened to one readable line.
    pub(super) fn excerpt<T>(&self, written: &Spanned<T>) -> String {
        excerpt(&self.text, written.span())
    }
}

/// What a setting takes; `key` has its section: `log.level`.
pub(super) fn expected(key: &'static str) -> &'static str {
    SETTINGS
        .iter()
        .find(|(known, _)| *known == key)
        .map(|(_, takes)| *takes)
        .expect("every key that is checked is in the table of settings")
}

fn section_of(key: &str) -> &str {
    key.split_once('.').map_or("", |(section, _)| section)
}

fn full_name(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

/// The line a byte is on, counted from 1.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    text.as_bytes()[..byte.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

fn excerpt(text: &str, span: std::ops::Range<usize>) -> String {
    let written = text.get(span).unwrap_or_default();
    let line = written.lines().next().unwrap_or_default();
    let short: String = line.chars().take(48).collect();
    if short.len() < written.len() {
        short + "…"
    } else {
        short
    }
}

/// Walks every key; the first that no section has is refused, with the nearest that it has.
fn refuse_unknown(text: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
    let has = |name: &str| table.keys().find(|key| key.get_ref().as_ref() == name);
    if let (Some(_), Some(alias)) = (has("port"), has("bind_port")) {
        return Err(ConfigError::Twice {
            line: line_of(text, alias.span().start),
            key: "port",
            alias: "bind_port",
        });
    }
    for (key, value) in table.iter() {
        refuse_unknown_key(text, "", key)?;
        let section = key.get_ref().as_ref();
        if let (true, DeValue::Table(inner)) = (is_section(section), value.get_ref()) {
            for key in inner.keys() {
                refuse_unknown_key(text, section, key)?;
            }
        }
    }
    Ok(())
}

fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|(key, _)| section_of(key) == name)
}

fn refuse_unknown_key(
    text: &str,
    section: &str,
    key: &Spanned<std::borrow::Cow<'_, str>>,
) -> Result<(), ConfigError> {
    let written = full_name(section, key.get_ref());
    let known = || {
        SETTINGS
            .iter()
            .map(|(key, _)| *key)
            .filter(|key| section_of(key) == section)
    };
    if known().any(|name| name == written) {
        return Ok(());
    }
    let nearest = known()
        .map(|name| (strsim::damerau_levenshtein(&written, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + (name.len() - section.len()) / 3)
        .map(|(_, name)| name);
    Err(ConfigError::UnknownKey {
        line: line_of(text, key.span().start),
        key: written.chars().take(80).collect(),
        nearest,
    })
}

/// The setting whose value covers `span`, and that value's bytes.
fn setting_at(
    table: &DeTable<'_>,
    section: &str,
    span: std::ops::Range<usize>,
) -> Option<(&'static str, std::ops::Range<usize>)> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref().as_ref();
        if let (true, DeValue::Table(inner)) = (section.is_empty(), value.get_ref()) {
            let found = setting_at(inner, name, span.clone());
            if found.is_some() {
                return found;
            }
        }
        let covered = value.span().start <= span.start && span.end <= value.span().end;
        let full = full_name(section, name);
        let (known, _) = SETTINGS.iter().find(|(known, _)| *known == full)?;
        covered.then(|| (*known, value.span()))
    })
}

fn wrong_value(text: &str, key: &'static str, span: std::ops::Range<usize>) -> ConfigError {
    ConfigError::Value {
        line: line_of(text, span.start),
        key,
        got: excerpt(text, span),
        expected: expected(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        File::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn empty_text_is_an_empty_configuration() {
        let file = File::parse("# nothing\n").unwrap();
        assert!(file.name.is_none() && file.ssdp.listen.is_none());
    }

    #[test]
    fn an_unknown_key_names_the_nearest_and_the_line() {
        let said = refused("name = \"a\"\n\nclutser = \"home\"\n");
        assert!(said.starts_with("line 3: 'clutser'"), "{said}");
        assert!(said.contains("did you mean 'cluster'"), "{said}");
        let said = refused("[ssdp]\nlisten = true\nadvertize = false\n");
        assert!(said.starts_with("line 3: 'ssdp.advertize'"), "{said}");
        assert!(said.contains("'ssdp.advertise'"), "{said}");
    }

    #[test]
    fn a_key_near_to_nothing_gets_no_guess() {
        let said = refused("wonderful_flying_machine = 1\n");
        assert!(
            said.contains("remove it") && !said.contains("mean"),
            "{said}"
        );
    }

    #[test]
    fn a_value_of_another_type_says_what_the_key_takes() {
        let said = refused("name = \"a\"\nport = \"abc\"\n");
        assert!(said.starts_with("line 2: port = \"abc\""), "{said}");
        assert!(said.contains("1 to 65535"), "{said}");
        let said = refused("[log]\nlevel = 3\n");
        assert!(said.starts_with("line 2: log.level = 3"), "{said}");
        let said = refused("interfaces = [\"eth0\", 5]\n");
        assert!(said.starts_with("line 1: interfaces = "), "{said}");
        let said = refused("log = 5\n");
        assert!(said.contains("a section: [log]"), "{said}");
        let said = refused("name = [\n \"a\",\n]\n");
        assert!(said.starts_with("line 1: name = [… is"), "{said}");
    }

    #[test]
    fn every_setting_of_the_table_is_read() {
        for (key, takes) in SETTINGS.iter().filter(|(key, _)| !is_section(key)) {
            let (section, name) = (section_of(key), key.rsplit('.').next().unwrap());
            let example = takes
                .rsplit(": ")
                .next()
                .unwrap()
                .split(';')
                .next()
                .unwrap();
            assert!(example.starts_with(name), "{name}: {takes}");
            let head = if section.is_empty() {
                String::new()
            } else {
                format!("[{section}]\n")
            };
            let file = File::parse(&format!("{head}{example}\n")).unwrap();
            let nothing = format!("{:?}", File::parse("").unwrap());
            let without_text = File {
                text: String::new(),
                ..file
            };
            assert_ne!(format!("{without_text:?}"), nothing, "{name} is ignored");
        }
    }

    #[test]
    fn text_that_is_not_toml_names_the_line() {
        assert!(refused("name = \"a\"\nport 5\n").starts_with("line 2: this is not TOML"));
        assert!(refused("name = \"a\"\nname = \"b\"\n").starts_with("line 2: "));
    }

    #[test]
    fn a_setting_and_its_other_name_are_refused_together() {
        let said = refused("port = 1\nbind_port = 2\n");
        assert!(said.contains("keep one of them"), "{said}");
    }
}
