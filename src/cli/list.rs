//! `roundel list` (what the board itself holds) and `roundel scan` (what the ring holds).

use std::io::Write;

use super::args::ClientArgs;
use super::failure::Failure;
use super::out::{Out, note, shortened, shown};
use super::pages::{Method, Pages};
use super::progress::Progress;
use super::shape::Item;
use super::target;

/// Columns of a key before the value begins, at least.
const KEY_WIDTH: usize = 24;

/// Arguments of `roundel list` and `roundel scan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints a line for each item, key and value; with --json an object for each. To a terminal long \
values are shortened; `roundel export` writes everything.")]
pub struct Args {
    /// Only keys that start with this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// At most so many items [default: all].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Prints the items page by page.
///
/// # Errors
/// [`Failure`] of the target or a call; what was printed before is complete up to there.
pub async fn run(args: Args, method: Method, out: &mut Out) -> Result<(), Failure> {
    let mut client = target::connect(&args.client).await?;
    let mut pages = Pages::new(method, args.prefix, args.limit);
    let mut progress = Progress::new("reading", "keys", None).unless(out.is_terminal);
    let width = out.is_terminal.then(|| out.width());
    let mut count = 0;
    while let Some(items) = pages.next(&mut client).await? {
        for item in &items {
            if args.client.json {
                writeln!(out, "{}", item.to_line())?;
            } else {
                writeln!(out, "{}", line(item, width))?;
            }
        }
        out.flush()?;
        count += items.len();
        progress.advance(items.len() as u64);
    }
    drop(progress);
    if count == 0 && !args.client.json {
        note("there are no such keys");
    }
    if pages.degraded {
        note("a board is absent: some keys may be missing; `roundel nodes` shows which");
    }
    Ok(())
}

/// Key and value on one line; bytes are counted, not shown.
fn line(item: &Item, width: Option<usize>) -> String {
    let value = match (&item.value, &item.value_base64) {
        (Some(json), _) => json.get().split_whitespace().collect::<Vec<_>>().join(" "),
        (None, Some(text)) => format!("<{} bytes>", bytes_of(text)),
        (None, None) => String::new(),
    };
    let key = shown(&item.key);
    let value = shown(&value);
    match width {
        None => format!("{key}\t{value}"),
        Some(width) => {
            let blanks = KEY_WIDTH.saturating_sub(key.chars().count());
            shortened(&format!("{key}{}  {value}", " ".repeat(blanks)), width)
        }
    }
}

/// Bytes that a base64 text stands for.
fn bytes_of(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> Item {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn items_are_lines_whatever_is_in_them() {
        let text = item("{\"key\":\"a\\nb\",\"value\":{\n  \"x\": 1}}");
        assert_eq!(line(&text, None), "a\\nb\t{ \"x\": 1}");
        let bytes = item("{\"key\":\"k\",\"value_base64\":\"AAEC/w==\"}");
        assert_eq!(line(&bytes, None), "k\t<4 bytes>");
    }

    #[test]
    fn a_line_fits_the_terminal() {
        let long = item(&format!(
            "{{\"key\":\"k\",\"value\":\"{}\"}}",
            "x".repeat(500)
        ));
        assert_eq!(line(&long, Some(80)).chars().count(), 80);
    }
}
