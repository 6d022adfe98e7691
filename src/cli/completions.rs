//! `roundel completions`: what a shell needs to complete our verbs and flags.

use std::io::Write;

use super::failure::Failure;
use super::out::Out;

/// Arguments of `roundel completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:

  roundel completions bash > /etc/bash_completion.d/roundel
  roundel completions zsh > ~/.zfunc/_roundel
  roundel completions fish > ~/.config/fish/completions/roundel.fish")]
pub struct Args {
    /// Which shell.
    shell: clap_complete::Shell,
}

/// Prints the completions.
///
/// # Errors
/// [`Failure`] of writing.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "roundel", &mut script);
    Ok(out.write_all(&script)?)
}
