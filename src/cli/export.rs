//! `roundel export`: everything the ring holds, as JSON lines.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::args::ClientArgs;
use super::failure::{Failure, Kind};
use super::out::{Out, note};
use super::pages::{Method, Pages};
use super::progress::Progress;
use super::rpc::Client;
use super::target;

/// Arguments of `roundel export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line is {\"key\": …, \"value\": … or \"value_base64\": …, \"version\": …}. A file appears \
under its name only once it is whole. Ends with exit code 4 when a board was absent, so that \
items may be missing.

  roundel export backup.jsonl
  roundel export --prefix lamp/ | gzip > lamps.jsonl.gz")]
pub struct Args {
    /// Write here [default: standard output].
    file: Option<PathBuf>,
    /// Only keys that start with this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Writes the items.
///
/// # Errors
/// [`Failure`] of the target, a call or the file; of kind unavailable when items may be missing.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let mut client = target::connect(&args.client).await?;
    let mut pages = Pages::new(Method::Scan, args.prefix, None);
    let count = match args.file.as_deref().filter(|file| *file != Path::new("-")) {
        None => copy(&mut pages, &mut client, out).await?,
        Some(path) => {
            let part = part_of(path);
            let failed = |error: std::io::Error| unwritable(path, &error);
            let mut file = BufWriter::new(File::create(&part).map_err(failed)?);
            let copied = match copy(&mut pages, &mut client, &mut file).await {
                Ok(count) => file
                    .into_inner()
                    .map_err(std::io::IntoInnerError::into_error)
                    .and_then(|file| file.sync_all())
                    .and_then(|()| std::fs::rename(&part, path))
                    .map(|()| count)
                    .map_err(failed),
                Err(failure) => Err(failure),
            };
            if copied.is_err() {
                // The failure that is reported matters more than a leftover.
                let _ = std::fs::remove_file(&part);
            }
            copied?
        }
    };
    if !args.client.json {
        note(&format!("{count} items written"));
    }
    if pages.degraded {
        return Err(Failure::new(
            Kind::Unavailable,
            "a board was absent: some items may be missing from what was written",
            "bring the board back (`roundel nodes` shows which) and export again",
        ));
    }
    Ok(())
}

async fn copy(pages: &mut Pages, client: &mut Client, to: &mut impl Write) -> Result<u64, Failure> {
    let mut progress = Progress::new("exporting", "items", None);
    let mut count = 0;
    while let Some(items) = pages.next(client).await? {
        for item in &items {
            writeln!(to, "{}", item.to_line())?;
        }
        count += items.len() as u64;
        progress.advance(items.len() as u64);
    }
    Ok(count)
}

/// The name of a file that is not whole yet.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Kind::Failed,
        format!("{} cannot be written: {error}", path.display()),
        "make room or choose another place; what was there before is untouched",
    )
}
