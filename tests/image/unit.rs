//! The unit tests on the boards' architectures, under emulation.

use std::process::Command;
use std::time::Instant;

use crate::guest;
use crate::wait;

/// Cases of each property: an emulated processor has a tenth of the speed.
const CASES: &str = "32";

fn run(architecture: &str) {
    let tests = guest::cross(&[architecture, "--test"]);
    let emulator = match architecture {
        "armv7" => "qemu-arm",
        _ => "qemu-aarch64",
    };
    let start = Instant::now();
    let output = Command::new(emulator)
        .arg(tests)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PROPTEST_CASES", CASES)
        .output()
        .unwrap_or_else(|error| {
            panic!("{emulator} runs ({error}); ./tests/run installs it");
        });
    let said = String::from_utf8_lossy(&output.stdout);
    let from = said.find("\nfailures:").unwrap_or(0);
    let counts = said.lines().rfind(|line| line.starts_with("test result:"));
    assert!(output.status.success(), "{}", &said[from..]);
    let counts = counts.unwrap_or_else(|| panic!("{said}"));
    assert!(!counts.contains(" 0 passed"), "{counts}");
    println!("{architecture}, {:.0?}: {counts}", start.elapsed());
}

#[test]
fn the_unit_tests_pass_on_the_boards_architectures() {
    run("aarch64");
    if wait::is_long() {
        run("armv7");
    }
}
