//! `roundel import`: stores what an export wrote.
//!
//! Each line is a put of its own. A line that cannot be read or stored is named by its number
//! and the others go on; only a board that no longer answers ends the import.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::args::{ClientArgs, Consistency};
use super::failure::{Failure, Kind};
use super::out::{Out, note};
use super::progress::Progress;
use super::put::{Params, PutValue};
use super::rpc::{Client, RpcError};
use super::shape::Item;
use super::target;
use crate::base::limit;

/// Bytes of a line: a request and a version.
const LINE_BYTES_MAX: u64 = 2 * limit::MESSAGE_BYTES_MAX as u64;
/// Lines named one by one before the rest is only counted.
const NAMED_MAX: u64 = 20;

/// Arguments of `roundel import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line is {\"key\": …, \"value\": … or \"value_base64\": …}; a version is ignored: the items \
are written anew, over what is there. A bad line is named and left out, the others are stored; the \
exit code is then 1.")]
pub struct Args {
    /// Read this file [default: standard input].
    file: Option<PathBuf>,
    /// How many copies must have each item on stable storage [default: quorum].
    #[arg(long, value_name = "LEVEL")]
    consistency: Option<Consistency>,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[derive(Debug, Default)]
struct Count {
    stored: u64,
    failed: u64,
}

/// Stores the items and counts them.
///
/// # Errors
/// [`Failure`] of the file or the target; of the last call when the board no longer answers; of
/// failure when some line was left out.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let from: Box<dyn Read> = match args.file.as_ref().filter(|file| file.as_os_str() != "-") {
        None => Box::new(std::io::stdin().lock()),
        Some(path) => Box::new(std::fs::File::open(path).map_err(|error| {
            Failure::new(
                Kind::Failed,
                format!("{} cannot be read: {error}", path.display()),
                "check the name; `roundel export FILE` writes such a file",
            )
        })?),
    };
    let mut client = target::connect(&args.client).await?;
    let mut count = Count::default();
    let ended = store(BufReader::new(from), &mut client, &args, &mut count).await;
    if args.client.json {
        let counts = json!({"stored": count.stored, "failed": count.failed});
        writeln!(out, "{counts}")?;
    } else {
        writeln!(
            out,
            "{} items stored, {} left out",
            count.stored, count.failed
        )?;
    }
    ended?;
    if count.failed == 0 {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Failed,
        format!("{} lines were left out", count.failed),
        "correct the lines named above and import again; storing the others twice is harmless",
    ))
}

async fn store(
    mut from: impl BufRead,
    client: &mut Client,
    args: &Args,
    count: &mut Count,
) -> Result<(), Failure> {
    let mut progress = Progress::new("importing", "items", None);
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let read = (&mut from)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::failed(format!("line {number} cannot be read: {error}")))?;
        if read == 0 {
            break;
        }
        let result = match parse(&line) {
            Ok(None) => continue,
            Ok(Some(item)) => put(client, &item, args.consistency).await?,
            Err(why) => Err(why),
        };
        if !line.ends_with(b"\n") && read as u64 == LINE_BYTES_MAX {
            skip_line(&mut from).map_err(|error| {
                Failure::failed(format!("line {number} cannot be read: {error}"))
            })?;
        }
        match result {
            Ok(()) => count.stored += 1,
            Err(why) => {
                count.failed += 1;
                match count.failed {
                    1..NAMED_MAX => note(&format!("line {number} is left out: {why}")),
                    NAMED_MAX => note(&format!("line {number} is left out: {why}; and more")),
                    _ => {}
                }
            }
        }
        progress.advance(1);
    }
    Ok(())
}

/// Stores one item; the inner error is the item's, the outer one ends the import.
async fn put(
    client: &mut Client,
    item: &Item,
    consistency: Option<Consistency>,
) -> Result<Result<(), String>, Failure> {
    let params = Params {
        key: &item.key,
        value: PutValue {
            value: item.value.as_deref(),
            value_base64: item.value_base64.as_deref(),
        },
        consistency,
    };
    match client.call("put", &params).await {
        Ok(_) => Ok(Ok(())),
        Err(RpcError::Answer(answer)) => Ok(Err(answer.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Reads a line; a blank one is none.
fn parse(line: &[u8]) -> Result<Option<Item>, String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    if line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
        return Err("it is longer than any item".to_owned());
    }
    let item: Item = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match (&item.value, &item.value_base64) {
        (Some(_), None) => Ok(Some(item)),
        (None, Some(text)) if BASE64_STANDARD.decode(text).is_ok() => Ok(Some(item)),
        (None, Some(_)) => Err("value_base64 is not base64".to_owned()),
        _ => Err("it must have either value or value_base64".to_owned()),
    }
}

fn skip_line(from: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let available = from.fill_buf()?;
        let end = available.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(available.len(), |end| end + 1);
        let done = end.is_some() || used == 0;
        from.consume(used);
        if done {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_wrong_with_it() {
        let why = |line: &str| parse(line.as_bytes()).unwrap_err();
        assert!(why("{\"key\":\"k\"}").contains("either value"));
        assert!(why("{\"key\":\"k\",\"value\":1,\"value_base64\":\"\"}").contains("either value"));
        assert!(why("{\"key\":\"k\",\"value_base64\":\"?\"}").contains("not base64"));
        assert!(why("{\"value\":1}").contains("key"));
        assert!(why("hello").contains("expected"));
        assert!(parse(b"\xff").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn blank_lines_and_versions_are_passed_over() {
        assert!(parse(b" \r\n").unwrap().is_none());
        let item = parse(b"{\"key\":\"k\",\"value\":null,\"version\":\"v\"}\n").unwrap();
        assert_eq!(item.unwrap().value.unwrap().get(), "null");
    }

    #[test]
    fn the_rest_of_a_line_is_skipped_to_its_end() {
        let mut from = BufReader::with_capacity(4, &b"long line\nnext"[..]);
        skip_line(&mut from).unwrap();
        let mut rest = String::new();
        from.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "next");
        skip_line(&mut from).unwrap();
    }
}
