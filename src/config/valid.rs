//! The checked configuration: what the rest of the program may rely on.
//!
//! A [`Config`] comes from the file, overridden by the flags of the command line, over defaults
//! that need neither. Nothing here touches the system: an interface that does not exist is not
//! refused here, since it may appear later.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::file::{File, expected};
use super::{ConfigError, file};
use crate::base::access::Scope;
use crate::base::endpoint::Name;
use crate::base::limit;
use crate::base::member::RingMode;
use crate::base::problem::Problem;

/// The port when none is set; the next free one when it is taken.
pub const PORT_DEFAULT: u16 = 38_400;
/// The cluster's name when none is set.
pub const CLUSTER_DEFAULT: &str = "roundel";
/// SSDP's own port, never ours.
const PORT_SSDP: u16 = 1_900;
/// Bytes of a Linux interface's name (IFNAMSIZ less the terminator).
const INTERFACE_BYTES_MAX: usize = 15;
/// Bytes of a host name (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;
/// Seconds a hand-over may be allowed.
const LEAVE_SECONDS_MAX: i64 = 3_600;
/// Seconds of the grace time of an absent board: a year is for ever.
const GRACE_SECONDS_MAX: i64 = 31_536_000;
/// The longest wait before tombstones go: a day.
const TOMBSTONE_AGE_SECONDS_MAX: i64 = 86_400;
/// Milliseconds of the mean reply delay.
const REPLY_DELAY_MS_MAX: i64 = 60_000;

/// Everything a board is told before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What people call the board; none: [`spoken_name`](super::spoken_name) of its id.
    pub name: Option<Name>,
    /// Only boards of one cluster name meet.
    pub cluster: Name,
    /// The directory of the store and the identity key.
    pub data: PathBuf,
    /// The interfaces to use; empty: every one that looks like a LAN.
    pub interfaces: Vec<String>,
    /// TCP and UDP; none: [`PORT_DEFAULT`] or the next free one.
    pub port: Option<u16>,
    /// The address to listen on; none: all.
    pub bind_addr: Option<IpAddr>,
    /// Host names clients may use besides literal addresses and `*.local`; lower case.
    pub hosts: Vec<String>,
    /// The cluster has no key: whoever is on the LAN may join, read and write.
    pub open: bool,
    /// The file the cluster's key is read from at start; none: the data directory's, if any.
    pub key_file: Option<PathBuf>,
    /// What a process on the board itself may do without credentials.
    pub loopback: Scope,
    /// SOAP actions may change something.
    pub soap_writes: bool,
    /// The routing strategy.
    pub structure: Structure,
    /// How the ring is computed, if this board founds it.
    pub ring_mode: RingMode,
    /// When another board is taken for suspect.
    pub detector: Suspicion,
    /// A board absent for this long is given up, if a majority of the roster says so.
    pub grace_time: Duration,
    /// What SIGTERM means.
    pub on_terminate: OnTerminate,
    /// Longest hand-over before the board stops anyway.
    pub leave_timeout: Duration,
    /// How long every board must have confirmed a tombstone before it is collected.
    pub tombstone_age: Duration,
    /// Mean of the exponential delay of replies; zero: none.
    pub reply_delay_mean: Duration,
    /// Discovery.
    pub ssdp: SsdpConfig,
    /// Logs.
    pub log: LogConfig,
    /// A key that cannot be used does not stop the start.
    pub tolerant: bool,
    /// Without any key it opens the pairing window; else it draws a key that nobody else gets.
    pub pairs: bool,
    /// What is wrong with what this was made of; only with `tolerant`.
    pub problems: Vec<Problem>,
}

/// How a board finds others over SSDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SsdpConfig {
    /// Hear announcements.
    pub listen: bool,
    /// Look for others.
    pub search: bool,
    /// Announce this board and answer searches.
    pub advertise: bool,
}

/// Where logs go and what is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`; RUST_LOG overrides it.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
    /// None: standard error.
    pub file: Option<PathBuf>,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The routing strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Chord's fingers.
    Chord,
    /// Neighbours addressed as +1, +2, ….
    Mesh,
}

/// When another board is taken for suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// After an unanswered probe.
    Swim,
    /// When it is silent for longer than its past makes likely.
    Phi,
}

/// What a termination signal means to the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTerminate {
    /// Hand everything over and leave the roster.
    Leave,
    /// Stop and keep the place in the roster: the board will be back.
    Stop,
}

/// What the flags of the command line say; each overrides the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--interface`, each.
    pub interfaces: Vec<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--cluster`.
    pub cluster: Option<Name>,
    /// `--name`.
    pub name: Option<Name>,
    /// `--key-file`.
    pub key_file: Option<PathBuf>,
    /// `--ring-mode`.
    pub ring_mode: Option<RingMode>,
    /// `--reply-delay-mean-ms`.
    pub reply_delay_mean_ms: Option<u64>,
}

impl Config {
    /// What a board without a file and without flags does.
    pub fn new(data: PathBuf) -> Self {
        Config {
            name: None,
            cluster: CLUSTER_DEFAULT
                .parse()
                .expect("the default cluster's name is a name"),
            data,
            interfaces: Vec::new(),
            port: None,
            bind_addr: None,
            hosts: Vec::new(),
            open: false,
            key_file: None,
            loopback: Scope::Admin,
            soap_writes: false,
            structure: Structure::Chord,
            ring_mode: RingMode::Full,
            detector: Suspicion::Swim,
            grace_time: limit::GRACE_TIME,
            on_terminate: OnTerminate::Leave,
            leave_timeout: limit::LEAVE_TIME_MAX,
            tombstone_age: limit::TOMBSTONE_AGE,
            reply_delay_mean: Duration::ZERO,
            ssdp: SsdpConfig {
                listen: true,
                search: true,
                advertise: true,
            },
            log: LogConfig {
                level: "info".to_owned(),
                format: LogFormat::Text,
                file: None,
            },
            tolerant: false,
            pairs: true,
            problems: Vec::new(),
        }
    }

    /// A termination signal means to leave the ring.
    pub fn leaves(&self) -> bool {
        self.on_terminate == OnTerminate::Leave
    }

    /// Checks what was written and lays the flags over it. `data_default` stands where neither
    /// says a data directory.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first value its setting cannot take.
    pub fn check(
        file: &File,
        flags: Overrides,
        data_default: PathBuf,
    ) -> Result<Config, ConfigError> {
        let mut config = Config::new(data_default);
        config.take_identity(file)?;
        config.take_network(file)?;
        config.take_access(file)?;
        config.take_behaviour(file)?;
        config.take_log(file)?;
        config.take_flags(flags)?;
        Ok(config)
    }

    fn take_identity(&mut self, file: &File) -> Result<(), ConfigError> {
        if let Some(name) = take(file, "name", &file.name, |text: &String| name(text))? {
            self.name = Some(name);
        }
        if let Some(cluster) = take(file, "cluster", &file.cluster, |text: &String| name(text))? {
            self.cluster = cluster;
        }
        if let Some(data) = take(file, "data", &file.data, |text: &String| path(text))? {
            self.data = data;
        }
        Ok(())
    }

    fn take_network(&mut self, file: &File) -> Result<(), ConfigError> {
        if let Some(names) = take(file, "interfaces", &file.interfaces, |names: &Vec<_>| {
            names
                .iter()
                .map(|name: &String| interface(name))
                .collect::<Option<Vec<_>>>()
        })? {
            self.interfaces = without_repeats(names);
        }
        if let Some(port) = take(file, "port", &file.port, |n: &i64| port(*n))? {
            self.port = Some(port);
        }
        if let Some(address) = take(file, "bind_addr", &file.bind_addr, |text: &String| {
            text.parse::<IpAddr>().ok().filter(|a| !a.is_multicast())
        })? {
            self.bind_addr = Some(address).filter(|address| !address.is_unspecified());
        }
        if let Some(hosts) = take(file, "hosts", &file.hosts, |hosts: &Vec<_>| {
            hosts
                .iter()
                .map(|name: &String| host(name))
                .collect::<Option<Vec<_>>>()
        })? {
            self.hosts = without_repeats(hosts);
        }
        let ssdp = &file.ssdp;
        let get = |written: &file::Written<bool>| written.as_ref().is_none_or(|on| *on.get_ref());
        self.ssdp = SsdpConfig {
            listen: get(&ssdp.listen),
            search: get(&ssdp.search),
            advertise: get(&ssdp.advertise),
        };
        Ok(())
    }

    fn take_access(&mut self, file: &File) -> Result<(), ConfigError> {
        let is = |written: &file::Written<bool>| written.as_ref().is_some_and(|it| *it.get_ref());
        self.open = is(&file.open);
        self.soap_writes = is(&file.soap_writes);
        self.key_file = take(file, "key_file", &file.key_file, |text: &String| path(text))?;
        if let Some(scope) = take(file, "loopback", &file.loopback, |text: &String| {
            Scope::from_word(text)
        })? {
            self.loopback = scope;
        }
        Ok(())
    }

    fn take_behaviour(&mut self, file: &File) -> Result<(), ConfigError> {
        if let Some(structure) = take(file, "structure", &file.structure, |text: &String| {
            Structure::from_word(text)
        })? {
            self.structure = structure;
        }
        if let Some(mode) = take(file, "ring_mode", &file.ring_mode, |text: &String| {
            RingMode::from_word(text)
        })? {
            self.ring_mode = mode;
        }
        if let Some(choice) = take(file, "detector", &file.detector, |text: &String| {
            Suspicion::from_word(text)
        })? {
            self.detector = choice;
        }
        if let Some(seconds) = take(file, "grace_time_s", &file.grace_time_s, |n: &i64| {
            within(*n, 1..=GRACE_SECONDS_MAX)
        })? {
            self.grace_time = Duration::from_secs(seconds);
        }
        if let Some(choice) = take(file, "on_terminate", &file.on_terminate, |text: &String| {
            OnTerminate::from_word(text)
        })? {
            self.on_terminate = choice;
        }
        if let Some(seconds) = take(file, "leave_timeout_s", &file.leave_timeout_s, |n: &i64| {
            within(*n, 1..=LEAVE_SECONDS_MAX)
        })? {
            self.leave_timeout = Duration::from_secs(seconds);
        }
        if let Some(seconds) = take(file, "tombstone_age_s", &file.tombstone_age_s, |n: &i64| {
            within(*n, 1..=TOMBSTONE_AGE_SECONDS_MAX)
        })? {
            self.tombstone_age = Duration::from_secs(seconds);
        }
        if let Some(ms) = take(
            file,
            "reply_delay_mean_ms",
            &file.reply_delay_mean_ms,
            |n: &i64| within(*n, 0..=REPLY_DELAY_MS_MAX),
        )? {
            self.reply_delay_mean = Duration::from_millis(ms);
        }
        Ok(())
    }

    fn take_log(&mut self, file: &File) -> Result<(), ConfigError> {
        if let Some(level) = take(file, "log.level", &file.log.level, |text: &String| {
            ["error", "warn", "info", "debug", "trace", "off"]
                .contains(&text.as_str())
                .then(|| text.clone())
        })? {
            self.log.level = level;
        }
        if let Some(format) = take(
            file,
            "log.format",
            &file.log.format,
            |text: &String| match text.as_str() {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            },
        )? {
            self.log.format = format;
        }
        if let (Some(alias), Some(_)) = (&file.log_file, &file.log.file) {
            return Err(ConfigError::Twice {
                line: file.line(alias),
                key: "log.file",
                alias: "log_file",
            });
        }
        let short = take(file, "log_file", &file.log_file, |text: &String| path(text))?;
        self.log.file =
            take(file, "log.file", &file.log.file, |text: &String| path(text))?.or(short);
        Ok(())
    }

    fn take_flags(&mut self, flags: Overrides) -> Result<(), ConfigError> {
        let refused = |key: &'static str, got: String| ConfigError::Value {
            line: 0,
            key,
            got,
            expected: expected(key),
        };
        self.data = flags.data.unwrap_or_else(|| std::mem::take(&mut self.data));
        self.name = flags.name.or_else(|| self.name.take());
        self.ring_mode = flags.ring_mode.unwrap_or(self.ring_mode);
        self.key_file = flags.key_file.or_else(|| self.key_file.take());
        if let Some(cluster) = flags.cluster {
            self.cluster = cluster;
        }
        if let Some(number) = flags.port {
            let checked = port(i64::from(number));
            self.port = Some(checked.ok_or_else(|| refused("port", number.to_string()))?);
        }
        if !flags.interfaces.is_empty() {
            let checked = flags.interfaces.iter().map(|name| {
                interface(name).ok_or_else(|| refused("interfaces", format!("{name:?}")))
            });
            self.interfaces = without_repeats(checked.collect::<Result<_, _>>()?);
        }
        if let Some(ms) = flags.reply_delay_mean_ms {
            let checked = i64::try_from(ms)
                .ok()
                .and_then(|ms| within(ms, 0..=REPLY_DELAY_MS_MAX));
            let ms = checked.ok_or_else(|| refused("reply_delay_mean_ms", ms.to_string()))?;
            self.reply_delay_mean = Duration::from_millis(ms);
        }
        Ok(())
    }

    /// The effective settings, for `get_node_config`: the names and shapes of the file, `null`
    /// where the board decides by itself.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name,
            "cluster": self.cluster,
            "data": self.data.to_string_lossy(),
            "interfaces": self.interfaces,
            "port": self.port,
            "bind_addr": self.bind_addr,
            "hosts": self.hosts,
            "open": self.open,
            "key_file": self.key_file.as_ref().map(|path| path.to_string_lossy()),
            "loopback": self.loopback.as_str(),
            "soap_writes": self.soap_writes,
            "structure": self.structure.as_str(),
            "ring_mode": self.ring_mode.as_str(),
            "detector": self.detector.as_str(),
            "grace_time_s": self.grace_time.as_secs(),
            "on_terminate": self.on_terminate.as_str(),
            "leave_timeout_s": self.leave_timeout.as_secs(),
            "tombstone_age_s": self.tombstone_age.as_secs(),
            "reply_delay_mean_ms":
                u64::try_from(self.reply_delay_mean.as_millis()).unwrap_or(u64::MAX),
            "ssdp": {
                "listen": self.ssdp.listen,
                "search": self.ssdp.search,
                "advertise": self.ssdp.advertise,
            },
            "log": {
                "level": self.log.level,
                "format": match self.log.format {
                    LogFormat::Text => "text",
                    LogFormat::Json => "json",
                },
                "file": self.log.file.as_ref().map(|path| path.to_string_lossy()),
            },
        })
    }
}

impl Structure {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Structure::Chord => "chord",
            Structure::Mesh => "mesh",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Structure::Chord, Structure::Mesh]
            .into_iter()
            .find(|known| known.as_str() == word)
    }
}

impl Suspicion {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Suspicion::Swim => "swim",
            Suspicion::Phi => "phi",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Suspicion::Swim, Suspicion::Phi]
            .into_iter()
            .find(|known| known.as_str() == word)
    }
}

impl OnTerminate {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            OnTerminate::Leave => "leave",
            OnTerminate::Stop => "stop",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [OnTerminate::Leave, OnTerminate::Stop]
            .into_iter()
            .find(|known| known.as_str() == word)
    }
}

/// The value of a setting, checked; none when it is not written.
fn take<T, U>(
    file: &File,
    key: &'static str,
    written: &Option<Spanned<T>>,
    check: impl FnOnce(&T) -> Option<U>,
) -> Result<Option<U>, ConfigError> {
    let Some(written) = written else {
        return Ok(None);
    };
    match check(written.get_ref()) {
        Some(value) => Ok(Some(value)),
        None => Err(ConfigError::Value {
            line: file.line(written),
            key,
            got: file.excerpt(written),
            expected: expected(key),
        }),
    }
}

fn name(text: &str) -> Option<Name> {
    text.parse().ok()
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

fn port(number: i64) -> Option<u16> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0 && *port != PORT_SSDP)
}

fn within(number: i64, range: std::ops::RangeInclusive<i64>) -> Option<u64> {
    range
        .contains(&number)
        .then(|| u64::try_from(number).expect("no range here starts below zero"))
}

fn interface(name: &str) -> Option<String> {
    let fits = (1..=INTERFACE_BYTES_MAX).contains(&name.len());
    let clean = name
        .bytes()
        .all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    (fits && clean && name != "." && name != "..").then(|| name.to_owned())
}

fn host(name: &str) -> Option<String> {
    let fits = (1..=HOST_BYTES_MAX).contains(&name.len());
    let clean = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    (fits && clean).then(|| name.to_ascii_lowercase())
}

fn without_repeats(names: Vec<String>) -> Vec<String> {
    let mut kept = Vec::with_capacity(names.len());
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, ConfigError> {
        let file = File::parse(text)?;
        Config::check(&file, Overrides::default(), PathBuf::from("/default"))
    }

    #[test]
    fn nothing_written_is_the_default() {
        let config = check("").unwrap();
        assert_eq!(config, Config::new(PathBuf::from("/default")));
        assert_eq!(config.cluster.as_str(), "roundel");
        assert!(config.ssdp.listen && config.ssdp.search && config.ssdp.advertise);
    }

    #[test]
    fn every_setting_is_taken() {
        let config = check(
            "name = \"kitchen\"\ncluster = \"home\"\ndata = \"/d\"\n\
             interfaces = [\"eth0\", \"wlan0\", \"eth0\"]\nbind_port = 4000\n\
             bind_addr = \"::1\"\nhosts = [\"Kitchen.lan\"]\nstructure = \"mesh\"\n\
             open = true\nkey_file = \"/k\"\nloopback = \"read\"\nsoap_writes = true\n\
             ring_mode = \"partial\"\n\
             detector = \"phi\"\ngrace_time_s = 30\n\
             on_terminate = \"stop\"\nleave_timeout_s = 5\ntombstone_age_s = 6\n\
             reply_delay_mean_ms = 7\nlog_file = \"/l\"\n\
             [ssdp]\nlisten = false\nsearch = false\nadvertise = false\n\
             [log]\nlevel = \"debug\"\nformat = \"json\"\n",
        )
        .unwrap();
        let expected = serde_json::json!({
            "name": "kitchen", "cluster": "home", "data": "/d",
            "interfaces": ["eth0", "wlan0"], "port": 4000, "bind_addr": "::1",
            "hosts": ["kitchen.lan"], "open": true, "key_file": "/k", "loopback": "read",
            "soap_writes": true, "structure": "mesh", "ring_mode": "partial",
            "detector": "phi",
            "grace_time_s": 30, "on_terminate": "stop",
            "leave_timeout_s": 5, "tombstone_age_s": 6, "reply_delay_mean_ms": 7,
            "ssdp": {"listen": false, "search": false, "advertise": false},
            "log": {"level": "debug", "format": "json", "file": "/l"},
        });
        assert_eq!(config.to_json(), expected);
    }

    #[test]
    fn a_value_out_of_bounds_says_what_is_possible() {
        for (text, hint) in [
            ("name = \"\"", "at most 63"),
            ("name = \"two words\"", "letters, digits"),
            ("cluster = \"a/b\"", "letters, digits"),
            ("data = \"\"", "a directory"),
            ("interfaces = [\"\"]", "interface names"),
            ("interfaces = [\"a-name-much-too-long\"]", "interface names"),
            ("interfaces = [\"../x\"]", "interface names"),
            ("port = 0", "1 to 65535"),
            ("port = 65536", "1 to 65535"),
            ("port = -1", "1 to 65535"),
            ("port = 1900", "but 1900"),
            ("bind_addr = \"here\"", "addresses"),
            ("bind_addr = \"239.255.255.250\"", "addresses"),
            ("hosts = [\"a:80\"]", "without port"),
            ("key_file = \"\"", "cluster.key"),
            ("loopback = \"none\"", "\"admin\""),
            ("structure = \"star\"", "\"chord\" or \"mesh\""),
            ("ring_mode = \"half\"", "\"partial\""),
            ("on_terminate = \"exit\"", "\"leave\""),
            ("leave_timeout_s = 0", "1 to 3600"),
            ("detector = \"guess\"", "\"swim\" or \"phi\""),
            ("grace_time_s = 0", "1 to 31536000"),
            ("tombstone_age_s = 0", "1 to 86400"),
            ("reply_delay_mean_ms = -1", "0 to 60000"),
            ("log_file = \"\"", "log.file"),
            ("log.level = \"loud\"", "\"info\""),
            ("log.format = \"xml\"", "\"json\""),
            ("log.file = \"\"", "a file"),
        ] {
            let said = check(text).unwrap_err().to_string();
            assert!(said.starts_with("line 1: "), "{text}: {said}");
            assert!(
                said.contains(hint) && said.contains("is not possible"),
                "{text}: {said}"
            );
        }
    }

    #[test]
    fn all_addresses_is_the_same_as_none() {
        assert_eq!(check("bind_addr = \"0.0.0.0\"").unwrap().bind_addr, None);
    }

    #[test]
    fn flags_override_the_file() {
        let file = File::parse(
            "name = \"a\"\ncluster = \"b\"\ndata = \"/c\"\ninterfaces = [\"d\"]\nport = 5\n\
             reply_delay_mean_ms = 6\n",
        )
        .unwrap();
        let flags = Overrides {
            data: Some(PathBuf::from("/z")),
            interfaces: vec!["y".to_owned()],
            port: Some(9),
            cluster: Some("x".parse().unwrap()),
            name: Some("w".parse().unwrap()),
            key_file: Some(PathBuf::from("/k")),
            ring_mode: Some(RingMode::Partial),
            reply_delay_mean_ms: Some(8),
        };
        let config = Config::check(&file, flags, PathBuf::new()).unwrap();
        assert_eq!(config.data, PathBuf::from("/z"));
        assert_eq!(config.interfaces, ["y"]);
        assert_eq!((config.port, config.cluster.as_str()), (Some(9), "x"));
        assert_eq!(config.name.unwrap().as_str(), "w");
        assert_eq!(config.ring_mode, RingMode::Partial);
        assert_eq!(config.key_file, Some(PathBuf::from("/k")));
        assert_eq!(config.reply_delay_mean, Duration::from_millis(8));
    }

    #[test]
    fn a_bad_flag_is_refused_without_a_line() {
        let flags = Overrides {
            port: Some(1_900),
            ..Overrides::default()
        };
        let refused = Config::check(&File::default(), flags, PathBuf::new()).unwrap_err();
        assert!(refused.to_string().starts_with("port = 1900 is not"));
    }

    #[test]
    fn both_names_of_the_log_file_are_refused_together() {
        let said = check("log_file = \"/a\"\nlog.file = \"/b\"\n")
            .unwrap_err()
            .to_string();
        assert!(said.contains("keep one of them"), "{said}");
    }
}
