//! `roundel run`: reads the configuration, starts the log and hands over to the node.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::failure::{Failure, Kind};
use super::{log, tolerant};
use crate::base::endpoint::Name;
use crate::base::member::RingMode;
use crate::config::{Config, File, Overrides};

/// Where a system service keeps its data.
const DATA_OF_SYSTEM: &str = "/var/lib/roundel";
/// Bytes of a configuration file; more is a mistake.
const CONFIG_BYTES_MAX: u64 = 1_024 * 1_024;

/// Arguments of `roundel run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs no configuration: the board finds the others of its cluster on the LAN and joins them. It \
prints one line, `ready name=… id=… http=http://ADDR:PORT …`, once it serves; logs go to standard \
error (RUST_LOG=debug for more). SIGTERM makes it hand over and leave.")]
pub struct Args {
    /// Read this TOML file; flags override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep store and identity here [default: /var/lib/roundel, or under XDG_DATA_HOME].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use this interface only; may be repeated.
    #[arg(long = "interface", value_name = "IF")]
    interfaces: Vec<String>,
    /// Serve on this port, TCP and UDP [default: 38400 or the next free one].
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Meet only boards of this cluster [default: roundel].
    #[arg(long, value_name = "NAME")]
    cluster: Option<Name>,
    /// Read the cluster's key from this file [default: cluster.key in the data directory].
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// When this board founds the ring: "full", or "partial" for more than 1,024 boards; a board
    /// that joins takes the ring's mode [default: full].
    #[arg(long, value_name = "MODE", value_parser = ["full", "partial"])]
    ring_mode: Option<String>,
    /// What people call this board [default: two words from its id].
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Delay replies by an exponentially distributed time with this mean, to try slow networks.
    #[arg(long, value_name = "MS")]
    reply_delay_mean_ms: Option<u64>,
    /// Start even if the configuration or the key file cannot be used: with what can be, never more
    /// open than they might have said; the problems are in `roundel status`.
    #[arg(long, requires = "data")]
    tolerant: bool,
    /// Show what start scripts wrote to this file, a problem a line, among the problems.
    #[arg(long, value_name = "FILE", requires = "tolerant")]
    problems: Option<PathBuf>,
    /// Stop when standard input closes: the demo's boards do not outlive it.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// Runs a board until it is told to stop.
///
/// # Errors
/// [`Failure`] of usage for a configuration that is refused; the node's own failures.
pub fn run(args: Args) -> Result<(), Failure> {
    let stop_with_stdin = args.stop_with_stdin;
    let mut config = configure(args)?;
    match log::start(&config.log) {
        Err(failure) if config.tolerant && config.log.file.is_some() => {
            tolerant::without_log(&mut config, &failure);
            log::start(&config.log)?;
        }
        started => started?,
    }
    if stop_with_stdin {
        std::thread::spawn(stop_when_stdin_closes);
    }
    crate::node::run(config)
        .map_err(|error| Failure::new(Kind::Node(error.exit_code()), error.to_string(), ""))
}

/// Waits for the end of standard input, then asks this process to stop in an orderly way.
fn stop_when_stdin_closes() {
    // An input that cannot be read has closed as well.
    let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    // Our own process takes our own signal.
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM);
}

fn configure(args: Args) -> Result<Config, Failure> {
    let default = match &args.data {
        Some(data) => Some(data.clone()),
        None => data_default(),
    };
    let flags = Overrides {
        data: args.data,
        interfaces: args.interfaces,
        port: args.port,
        cluster: args.cluster,
        name: args.name,
        key_file: args.key_file,
        ring_mode: args.ring_mode.as_deref().and_then(RingMode::from_word),
        reply_delay_mean_ms: args.reply_delay_mean_ms,
    };
    let default = default.unwrap_or_default();
    if args.tolerant {
        let file = args.config.as_deref();
        return tolerant::configure(file, args.problems.as_deref(), (flags, default))
            .map_err(|error| Failure::usage(format!("the command line: {error}"), NEXT_OF_CONFIG));
    }
    let (file, called) = match &args.config {
        None => (File::default(), "the command line".to_owned()),
        Some(path) => (read(path)?, path.display().to_string()),
    };
    let config = Config::check(&file, flags, default)
        .map_err(|error| Failure::usage(format!("{called}: {error}"), NEXT_OF_CONFIG))?;
    if config.data.as_os_str().is_empty() {
        return Err(Failure::usage(
            "there is no home directory to keep the data in",
            "say where with --data DIR",
        ));
    }
    Ok(config)
}

const NEXT_OF_CONFIG: &str = "correct it and start again; nothing was changed";

fn read(path: &Path) -> Result<File, Failure> {
    let text = text_of(path).map_err(|error| {
        Failure::usage(
            format!("{} cannot be read: {error}", path.display()),
            "check the path; without --config every setting has a default",
        )
    })?;
    File::parse(&text)
        .map_err(|error| Failure::usage(format!("{}, {error}", path.display()), NEXT_OF_CONFIG))
}

/// The text of a configuration file.
///
/// # Errors
/// The system's; `InvalidData` for what is no text.
pub(super) fn text_of(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(CONFIG_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The system's data directory if it is ours to write, else the user's.
pub(super) fn data_default() -> Option<PathBuf> {
    use nix::unistd::{AccessFlags, access, geteuid};
    let of_system = geteuid().is_root() || access(DATA_OF_SYSTEM, AccessFlags::W_OK).is_ok();
    data_of(
        of_system,
        std::env::var_os("XDG_DATA_HOME"),
        std::env::var_os("HOME"),
    )
}

/// XDG Base Directory Specification: a relative path is ignored.
fn data_of(of_system: bool, xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    if of_system {
        return Some(PathBuf::from(DATA_OF_SYSTEM));
    }
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    xdg.and_then(absolute)
        .or_else(|| {
            home.and_then(absolute)
                .map(|home| home.join(".local/share"))
        })
        .map(|data| data.join("roundel"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_to_the_system_or_to_the_user() {
        let of = |system, xdg: Option<&str>, home: Option<&str>| {
            data_of(system, xdg.map(Into::into), home.map(Into::into))
                .map(|path| path.display().to_string())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of(true, Some("/x"), None), some("/var/lib/roundel"));
        assert_eq!(of(false, Some("/x"), Some("/h")), some("/x/roundel"));
        assert_eq!(
            of(false, Some("x"), Some("/h")),
            some("/h/.local/share/roundel")
        );
        assert_eq!(of(false, Some(""), None), None);
    }
}
