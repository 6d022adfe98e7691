//! `roundel key new`, `import` and `export`: files that hold the cluster's key; no board is asked.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::credential::key;
use crate::cli::failure::Failure;
use crate::cli::out::Out;
use crate::cli::run::data_default;
use crate::proto::keyring::Kept;
use crate::runtime::datadir::write_atomically;
use crate::runtime::keyring::read_text;
use crate::security::key::ClusterKey;

/// Arguments of `roundel key new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Put a copy into the data directory of each board as cluster.key (`roundel key import`), or on the \
card's image, before it starts for the first time: the boards then form a ring that nobody without \
the key joins or writes to. Whoever reads the file is a member.")]
pub struct NewArgs {
    /// Where to; an existing file is never replaced.
    #[arg(value_name = "FILE", default_value = "cluster.key")]
    file: PathBuf,
}

/// Arguments of `roundel key import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The board takes the key at its next start, and then belongs to the cluster of that key alone.")]
pub struct ImportArgs {
    /// The file with the key.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The board's data directory [default: as `roundel run`].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Arguments of `roundel key export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads the current key from the board's data directory, as only its user may. Whoever reads the \
file is a member.")]
pub struct ExportArgs {
    /// Where to; an existing file is never replaced [default: standard output].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The board's data directory [default: as `roundel run`].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

fn directory(given: &Option<PathBuf>) -> PathBuf {
    given.clone().or_else(data_default).unwrap_or_default()
}

fn create(path: &Path, key: &ClusterKey) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(key.to_text().as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::usage(
            format!("{} exists", path.display()),
            "name another file, or remove it if no board needs its key",
        ),
        _ => Failure::failed(format!("{} cannot be written: {error}", path.display())),
    })
}

/// Makes a key.
///
/// # Errors
/// [`Failure`] of usage for a file that exists.
pub fn new(args: &NewArgs, out: &mut Out) -> Result<(), Failure> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| Failure::failed(format!("the system has no random numbers: {error}")))?;
    let key = ClusterKey::new(0, secret);
    create(&args.file, &key)?;
    writeln!(out, "{}: key {}", args.file.display(), key.kid())?;
    Ok(())
}

/// Puts a key where a board looks for it.
///
/// # Errors
/// [`Failure`] of usage for a file that holds no key.
pub fn import(args: &ImportArgs, out: &mut Out) -> Result<(), Failure> {
    let key = key(&args.file)?;
    let path = directory(&args.data).join("cluster.key");
    write_atomically(&path, key.to_text().as_bytes()).map_err(|error| {
        Failure::failed(format!(
            "{} cannot be written: {error}; say where the board's data is with --data DIR",
            path.display()
        ))
    })?;
    let kid = key.kid();
    writeln!(
        out,
        "{}: key {kid}; start the board (again)",
        path.display()
    )?;
    Ok(())
}

/// Writes the current key of a board to a file.
///
/// # Errors
/// [`Failure`] of usage where there is no keyring.
pub fn export(args: &ExportArgs, out: &mut Out) -> Result<(), Failure> {
    let path = directory(&args.data).join("keyring");
    let none = || {
        Failure::usage(
            format!("{}: there is no keyring", path.display()),
            "say where the board's data is with --data DIR; open clusters have no key",
        )
    };
    let text = read_text(&path).map_err(|error| Failure::failed(error.to_string()))?;
    let kept = Kept::from_text(&text.ok_or_else(none)?)
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    let key = &kept.keyring.current;
    match &args.file {
        Some(file) => {
            create(file, key)?;
            writeln!(out, "{}: key {}", file.display(), key.kid())?;
        }
        None => write!(out, "{}", key.to_text())?,
    }
    Ok(())
}
