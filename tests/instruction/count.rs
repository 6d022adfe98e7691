//! Counting: this program runs itself under callgrind, once with a path repeated N times and once
//! 2N times; the difference is what N repetitions cost, without the start and the making ready.

use std::env;
use std::fs;
use std::process::Command;

use crate::path::{PATHS, Path};

/// Tells this program that it is the one that is counted: a path's name and how often.
const ORDER: &str = "ROUNDEL_INSTRUCTION";

/// Runs the path that this process was started for; false: it was started for none.
pub fn obey() -> bool {
    let Ok(order) = env::var(ORDER) else {
        return false;
    };
    let found = order.split_once(' ').and_then(|(name, times)| {
        let path = PATHS.iter().find(|path| path.name == name)?;
        Some((path, times.parse().ok()?))
    });
    let (path, times) = found.unwrap_or_else(|| panic!("{ORDER}={order}: no such path"));
    (path.run)(times);
    true
}

/// Instructions of one repetition.
///
/// # Panics
/// When valgrind is missing, or the path fails.
pub fn per_repetition(path: &Path, test: &str) -> u64 {
    let once = total(path, path.times, test);
    let twice = total(path, 2 * path.times, test);
    (twice - once) / u64::from(path.times)
}

fn total(path: &Path, times: u32, test: &str) -> u64 {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let out = directory.path().join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().expect("this program has a path"))
        // Alone, it is run by the main thread.
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        // What the environment holds lies on the stack and must not be measured with it.
        .env_clear()
        .env(ORDER, format!("{} {times}", path.name))
        .output()
        .unwrap_or_else(|error| panic!("valgrind runs ({error}); ./tests/run installs it"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {told}", path.name);
    let text = fs::read_to_string(&out).expect("callgrind has written its file");
    let line = text.lines().find_map(|line| line.strip_prefix("summary: "));
    let count = line.and_then(|count| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("callgrind's file has no summary: {told}"))
}

/// The line a tool says its version in.
pub fn version(tool: &str) -> String {
    let output = Command::new(tool).arg("--version").output();
    let output = output.unwrap_or_else(|error| panic!("{tool} runs ({error})"));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().unwrap_or_default().trim().to_owned()
}
