//! What can be used of a configuration file that is malformed, and what must not be.
//!
//! A board that nobody can log in to starts all the same, so that it can say what is wrong. Line by
//! line, what cannot be read is taken out, and each time why is remembered; the settings that
//! remain hold. Where what was taken out may have been a word on who may do what (text that is not
//! TOML, a name nobody knows, a value of such a setting), the board is never more open than the
//! file might have said: it is not `open`, the loopback and SOAP may not write, and without a key
//! it meets no strangers. Whom it listens to is not narrowed: it must be able to answer.

use std::ops::Range;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::file::line_of;
use super::{Config, ConfigError, File, Overrides};
use crate::base::access::Scope;
use crate::base::limit;

/// Settings that say who may reach the board or change something.
const GUARDS: &[&str] = &[
    "bind_addr",
    "cluster",
    "interfaces",
    "key_file",
    "loopback",
    "open",
    "soap_writes",
];

/// A file, less what is wrong with it.
#[derive(Debug)]
pub struct Salvage {
    /// The settings that hold.
    pub file: File,
    /// Why others do not, in the order they were found.
    pub errors: Vec<ConfigError>,
    /// What was taken out may have been a word on who may do what.
    pub is_doubtful: bool,
}

impl Salvage {
    /// Of the text of a file.
    pub fn of(text: &str) -> Self {
        let mut text = text.to_owned();
        let mut salvage = Salvage {
            file: File::default(),
            errors: Vec::new(),
            is_doubtful: false,
        };
        loop {
            let checked = File::parse(&text).and_then(|file| {
                Config::check(&file, Overrides::default(), PathBuf::new()).map(|_| file)
            });
            let error = match checked {
                Ok(file) => return Salvage { file, ..salvage },
                Err(error) => error,
            };
            salvage.is_doubtful |= match &error {
                ConfigError::Value { key, .. } => GUARDS.contains(key),
                _ => true,
            };
            let rest = without(&text, error.line());
            salvage.errors.push(error);
            match rest {
                Some(rest) if salvage.errors.len() < limit::CONFIG_PROBLEMS_MAX => text = rest,
                _ => {
                    salvage.is_doubtful = true;
                    return salvage;
                }
            }
        }
    }

    /// Of a file that cannot be read at all.
    pub fn of_nothing() -> Self {
        Salvage {
            file: File::default(),
            errors: Vec::new(),
            is_doubtful: true,
        }
    }
}

impl Config {
    /// Makes the board no more open than a file with other words in it could have.
    pub fn close(&mut self) {
        self.open = false;
        self.soap_writes = false;
        self.loopback = Scope::Read;
        self.pairs = false;
    }
}

/// The text with a line blank, and those the same setting goes on in; every other line keeps its
/// number. None: there is nothing on it.
fn without(text: &str, line: usize) -> Option<String> {
    let starts: Vec<usize> = std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .collect();
    let start = *starts.get(line.checked_sub(1)?)?;
    let setting = DeTable::parse(text)
        .ok()
        .and_then(|table| setting_on(text, table.get_ref(), line));
    let last = setting.map_or(start, |setting| setting.end.saturating_sub(1).max(start));
    let break_at = text.as_bytes()[last..]
        .iter()
        .position(|byte| *byte == b'\n');
    let end = break_at.map_or(text.len(), |at| last + at);
    let gone = &text[start..end];
    if gone.trim().is_empty() {
        return None;
    }
    let blank = "\n".repeat(gone.matches('\n').count());
    Some(format!("{}{blank}{}", &text[..start], &text[end..]))
}

/// The bytes of the value that begins on a line, or whose name does.
fn setting_on(text: &str, table: &DeTable<'_>, line: usize) -> Option<Range<usize>> {
    table.iter().find_map(|(key, value)| {
        let inner = match value.get_ref() {
            DeValue::Table(inner) => setting_on(text, inner, line),
            _ => None,
        };
        let (name, value) = (key.span(), value.span());
        let begins = |at: usize| line_of(text, at) == line;
        inner.or_else(|| (begins(name.start) || begins(value.start)).then_some(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(salvage: &Salvage) -> Vec<usize> {
        salvage.errors.iter().map(ConfigError::line).collect()
    }

    fn checked(salvage: &Salvage) -> Config {
        Config::check(&salvage.file, Overrides::default(), PathBuf::new()).unwrap()
    }

    #[test]
    fn a_whole_file_is_used_whole() {
        let salvage = Salvage::of("name = \"a\"\nopen = true\n");
        assert!(salvage.errors.is_empty() && !salvage.is_doubtful);
        assert!(checked(&salvage).open);
    }

    #[test]
    fn each_error_has_its_line_and_the_other_settings_hold() {
        let text = "name = \"kitchen\"\nport 5\nclutser = \"x\"\ncluster = \"home\"\n\
                    grace_time_s = 0\nhosts = [\n  \"a b\",\n  \"c\",\n]\nkey_file = \"/k\"\n\
                    [log]\nlevel = 3\nformat = \"json\"\n";
        let salvage = Salvage::of(text);
        assert_eq!(lines(&salvage), [2, 3, 12, 6, 5], "{salvage:?}");
        assert!(salvage.is_doubtful);
        let config = checked(&salvage);
        assert_eq!(config.name.unwrap().as_str(), "kitchen");
        assert_eq!(config.cluster.as_str(), "home");
        assert_eq!(config.key_file.unwrap(), PathBuf::from("/k"));
        assert_eq!(config.log.format, crate::config::LogFormat::Json);
        assert!(config.hosts.is_empty());
    }

    #[test]
    fn only_what_may_be_a_word_on_access_casts_doubt() {
        for text in [
            "port = \"x\"",
            "name = 5",
            "log = 5",
            "[log]\nlevel = \"loud\"",
        ] {
            assert!(!Salvage::of(text).is_doubtful, "{text}");
        }
        for text in [
            "key_file = 5",
            "cluster = \"a b\"",
            "open = 1",
            "loopback = \"none\"",
            "keyfile = \"/k\"",
            "key_file \"/k\"",
            "port = 1\nbind_port = 2",
            "interfaces = [\"much-too-long-a-name\"]",
        ] {
            let salvage = Salvage::of(text);
            assert!(salvage.is_doubtful, "{text}");
            assert!(!salvage.errors.is_empty(), "{text}");
        }
    }

    #[test]
    fn a_file_of_nothing_but_errors_is_not_used() {
        let text = "a b\n".repeat(100) + "name = \"kitchen\"\nopen = true\n";
        let salvage = Salvage::of(&text);
        assert_eq!(salvage.errors.len(), limit::CONFIG_PROBLEMS_MAX);
        assert!(salvage.is_doubtful && salvage.file.name.is_none());
        assert!(!checked(&salvage).open);
    }

    #[test]
    fn any_text_ends_in_settings_that_can_be_checked() {
        let pieces = [
            "[",
            "]",
            "\"",
            "'''",
            "\n",
            "open = true",
            "port = 1",
            "log",
            "=",
            "{",
            "}",
            "\u{0}",
            "é",
            "[ssdp]",
            "#",
            "\\",
            "key_file = \"/k\"",
            ".",
            ",",
            "\r",
        ];
        let mut state = 1_u32;
        for _ in 0..2_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(pieces[(state >> 16) as usize % pieces.len()]);
            }
            let salvage = Salvage::of(&text);
            checked(&salvage);
            assert_eq!(
                salvage.errors.is_empty(),
                File::parse(&text).is_ok(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn closed_is_closed() {
        let file = File::parse("open = true\nsoap_writes = true\n").unwrap();
        let mut config = Config::check(&file, Overrides::default(), PathBuf::new()).unwrap();
        assert!(config.pairs);
        config.close();
        assert!(!config.open && !config.soap_writes && !config.pairs);
        assert_eq!(config.loopback, Scope::Read);
    }
}
