//! What the bench is told.

use std::path::PathBuf;

use clap::Parser;

/// Measures roundel against its peers and against bare servers, on this machine.
///
/// Systems take turns, each on a fresh data directory. Prints medians with the least and the most,
/// and how each goal is met; writes report.json and report.svg. Ends with 1 when a row failed.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --", max_term_width = 100)]
pub struct Args {
    /// Numbers of rows [default: all]; --list shows them.
    pub rows: Vec<u32>,
    /// List the rows and end.
    #[arg(long)]
    pub list: bool,
    /// How often each system is measured.
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub reps: u32,
    /// How long each load lasts.
    #[arg(long, value_name = "S", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// How long idle nodes are watched; a busy machine's, half as long.
    #[arg(long, value_name = "S", default_value_t = 600,
          value_parser = clap::value_parser!(u64).range(10..=3_600))]
    pub idle_seconds: u64,
    /// Where the reports go, and the data while it runs (a real disk, not memory).
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"),
          "/target/bench"))]
    pub out: PathBuf,
    /// Measure this roundel. Cargo's own is built with what the bench needs besides, and unwinds;
    /// tests/bench/run names the one that is released.
    #[arg(long, value_name = "FILE", env = "ROUNDEL_BINARY",
          default_value = env!("CARGO_BIN_EXE_roundel"))]
    pub binary: PathBuf,
    /// Show the changes against an earlier report.json.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// The commit that is measured, for the report.
    #[arg(long, value_name = "HASH", env = "ROUNDEL_COMMIT", default_value = "")]
    pub commit: String,
    /// Cargo says so.
    #[arg(long, hide = true)]
    pub bench: bool,
}
