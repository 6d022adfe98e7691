//! `roundel key token`: makes a token from the cluster's key; no board is asked.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::base::access::Scope;
use crate::cli::credential::key;
use crate::cli::failure::Failure;
use crate::cli::out::Out;
use crate::cli::run::data_default;
use crate::proto::clock::hybrid::UNSET_BELOW_MS;
use crate::proto::keyring::Kept;
use crate::runtime::keyring;
use crate::security::key::ClusterKey;
use crate::security::token::Token;

/// Arguments of `roundel key token`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every board of the cluster takes the token until it expires, or until the key has been rotated \
and the overlap is over. Show it as `--token`, ROUNDEL_TOKEN or `Authorization: Bearer TOKEN`, \
over TLS or on the board itself: elsewhere it is refused. It is a secret; anybody who has it is \
let in.")]
pub struct Args {
    /// What it allows: look, change items as well, or change the ring as well.
    #[arg(long, value_name = "SCOPE", value_parser = ["read", "write", "admin"])]
    scope: String,
    /// For how long: 45m, 12h, 30d or never.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = expiry)]
    expires: Expiry,
    /// The file with the cluster's key [default: the one the board of the data directory has].
    #[arg(long = "key", value_name = "FILE", env = "ROUNDEL_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// The data directory of a board with the key [default: as `roundel run`].
    #[arg(long, value_name = "DIR", conflicts_with = "key_file")]
    data: Option<PathBuf>,
    /// Print an object: token, scope, expires (seconds since 1970, or null).
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// How long a token holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    Never,
    After(Duration),
}

fn expiry(text: &str) -> Result<Expiry, String> {
    const FORM: &str = "a whole number of minutes, hours or days (45m, 12h, 30d), or 'never'";
    if text == "never" {
        return Ok(Expiry::Never);
    }
    let unit = text.chars().last().map(|unit| match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => 0,
    });
    let count = text.get(..text.len().saturating_sub(1));
    let count = count.and_then(|count| count.parse::<u32>().ok());
    match (count, unit) {
        (Some(count @ 1..), Some(unit @ 1..)) => {
            Ok(Expiry::After(Duration::from_secs(u64::from(count) * unit)))
        }
        _ => Err(FORM.to_owned()),
    }
}

/// Prints a token.
///
/// # Errors
/// [`Failure`] of usage without a key, or with a clock that is not set.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let key = match &args.key_file {
        Some(path) => key(path)?,
        None => own_key(&args.data.clone().or_else(data_default).unwrap_or_default())?,
    };
    let scope = Scope::from_word(&args.scope).expect("clap takes the words of scopes alone");
    let expires = match args.expires {
        Expiry::Never => None,
        Expiry::After(time) => Some((now()? + time).as_secs()),
    };
    let mut id = [0; 8];
    getrandom::fill(&mut id)
        .map_err(|error| Failure::failed(format!("the system has no random numbers: {error}")))?;
    let token = Token::new(&key, id, scope, expires).to_text();
    match args.json {
        true => {
            let all = json!({"token": token, "scope": scope.as_str(), "expires": expires});
            writeln!(out, "{all}")?;
        }
        false => writeln!(out, "{token}")?,
    }
    Ok(())
}

/// The key that the board with that data directory signs with, or the one it is to import.
fn own_key(data: &Path) -> Result<ClusterKey, Failure> {
    let path = data.join("keyring");
    let next = "make tokens where the cluster's key is: --key FILE, or --data DIR as its owner";
    let text =
        keyring::read_text(&path).map_err(|error| Failure::usage(error.to_string(), next))?;
    let Some(text) = text else {
        return key(&data.join("cluster.key"));
    };
    match Kept::from_text(&text) {
        Ok(kept) => Ok(kept.keyring.current),
        Err(error) => Err(Failure::usage(format!("{}: {error}", path.display()), next)),
    }
}

/// The time since 1970.
fn now() -> Result<Duration, Failure> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    match now.as_millis() < u128::from(UNSET_BELOW_MS) {
        false => Ok(now),
        true => Err(Failure::usage(
            "this machine's clock is not set, so a token that expires cannot be made",
            "set the clock, make it on another machine, or use --expires never",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        let after = |seconds| Ok(Expiry::After(Duration::from_secs(seconds)));
        assert_eq!(expiry("45m"), after(2_700));
        assert_eq!(expiry("12h"), after(43_200));
        assert_eq!(expiry("30d"), after(2_592_000));
        assert_eq!(expiry("never"), Ok(Expiry::Never));
        for bad in [
            "",
            "d",
            "0d",
            "-1d",
            "30",
            "1.5h",
            "30 d",
            "5000000000d",
            "3ß",
        ] {
            assert!(expiry(bad).unwrap_err().contains("30d"), "{bad}");
        }
    }
}
