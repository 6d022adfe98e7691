//! `roundel man`: the manual pages.

use std::io::Write;
use std::path::PathBuf;

use super::failure::{Failure, Kind};
use super::out::{Out, note};

/// Arguments of `roundel man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:

  roundel man | man -l -
  roundel man --out /usr/local/share/man/man1")]
pub struct Args {
    /// Write a page for the program and one for each verb into this directory.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints the page, or writes all of them.
///
/// # Errors
/// [`Failure`] of writing.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let command = super::command();
    let Some(dir) = &args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return Ok(out.write_all(&page)?);
    };
    let unwritable = |error: std::io::Error| {
        Failure::new(
            Kind::Failed,
            format!("{} cannot be written: {error}", dir.display()),
            "choose a directory this user may write",
        )
    };
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(command, dir))
        .map_err(unwritable)?;
    note(&format!("the pages are in {}", dir.display()));
    Ok(())
}
