//! The rows, a line each, and what they are given.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::argument::Args;
use crate::fault::Fault;
use crate::figure::Figure;
use crate::goal::Goal;

mod datagram;
mod forming;
mod gap;
mod get;
mod idle;
mod kill;
mod lookup;
mod parse;
mod put;
mod share;
mod size;
mod start;

/// A measurement that gives the figures of one or more rows of the table of goals.
pub struct Row {
    /// Their numbers there.
    pub numbers: &'static [u32],
    /// What is measured.
    pub name: &'static str,
    /// Measures it; an error of any system fails the row.
    pub run: fn(&Context) -> Result<Vec<Figure>, Fault>,
    /// What must be reached.
    pub goals: &'static [Goal],
}

/// Every row, in the order in which they run.
pub const ROWS: &[Row] = &[
    put::MANY_CLIENTS,
    put::ONE_CLIENT,
    get::ROW,
    datagram::ROW,
    idle::ROW,
    forming::ROW,
    kill::ROW,
    gap::ROW,
    lookup::ROW,
    size::ROW,
    start::ROW,
    parse::ROW,
    share::ROW,
];

/// What a row needs to know.
pub struct Context {
    /// How often each system is measured.
    pub reps: u32,
    /// How long a load lasts.
    pub time: Duration,
    /// How long idle nodes are watched.
    pub idle: Duration,
    /// The roundel that is measured.
    pub binary: PathBuf,
    /// This program, which is also the bare servers.
    pub own: PathBuf,
    data: TempDir,
}

impl Context {
    /// Makes the directory for the data of this run.
    pub fn new(args: &Args) -> Result<Self, Fault> {
        std::fs::create_dir_all(&args.out)
            .map_err(|error| Fault::from(error).of(args.out.display()))?;
        let data = tempfile::Builder::new()
            .prefix("data-")
            .tempdir_in(&args.out)?;
        Ok(Context {
            reps: args.reps,
            time: Duration::from_secs(args.seconds),
            idle: Duration::from_secs(args.idle_seconds),
            // Servers run in directories of their own.
            binary: args
                .binary
                .canonicalize()
                .map_err(|error| Fault::from(error).of(args.binary.display()))?,
            own: std::env::current_exe()?,
            data,
        })
    }

    /// The directory below which all data lies.
    pub fn dir(&self) -> &Path {
        self.data.path()
    }

    /// A directory nobody has used, removed with the value.
    pub fn fresh(&self, name: &str) -> Result<TempDir, Fault> {
        let made = tempfile::Builder::new().prefix(name).tempdir_in(self.dir());
        made.map_err(Fault::from)
    }

    /// Numbers of the repetitions; each is said on standard error as it begins.
    pub fn repetitions(&self) -> impl Iterator<Item = usize> {
        let reps = self.reps as usize;
        (0..reps).inspect(move |rep| eprintln!("  repetition {} of {reps}", rep + 1))
    }
}

/// The systems in the order of a repetition: each begins as often as the others.
pub fn in_turn<T>(systems: &[T], rep: usize) -> impl Iterator<Item = &T> {
    let (after, before) = systems.split_at(rep % systems.len().max(1));
    before.iter().chain(after)
}

impl Row {
    /// `1, 2, 8`.
    pub fn spoken_numbers(&self) -> String {
        let numbers = self.numbers.iter().map(u32::to_string);
        numbers.collect::<Vec<_>>().join(", ")
    }
}

/// The rows of these numbers, or all.
///
/// # Errors
/// A number that no row has.
pub fn chosen(numbers: &[u32]) -> Result<Vec<&'static Row>, Fault> {
    let known = |number: &&u32| ROWS.iter().any(|row| row.numbers.contains(number));
    if let Some(unknown) = numbers.iter().find(|number| !known(number)) {
        return Err(Fault::new(format!(
            "there is no row {unknown}; --list shows them"
        )));
    }
    let wanted =
        |row: &&Row| numbers.is_empty() || row.numbers.iter().any(|it| numbers.contains(it));
    Ok(ROWS.iter().filter(wanted).collect())
}
