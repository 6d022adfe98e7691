//! Instructions that the hot paths cost, counted by callgrind and compared with the counts that
//! are kept in `counts.toml`: a change of more than two per cent either way fails.
//!
//! Counts, not times: they are the same on a busy machine. Valgrind shows every x86-64 processor
//! that has AVX2 as one and the same, so that what chooses by the processor (the hashes, the
//! string functions) chooses alike; other processors have no counts. They hold for one compiler
//! and one lock file, and are renewed with these:
//!
//! ```text
//! ROUNDEL_RENEW=1 ./tests/run instruction
//! ```
//!
//! What is counted with a path is the little that repeats it: the making of a request's text, and
//! for boards in memory the maps that stand for their media.

#[path = "../conformance/fake.rs"]
#[allow(dead_code)]
mod fake;

mod count;
mod kept;
mod path;
mod ring;

use kept::{Kept, RENEW, change_percent};
use path::PATHS;

/// The test that runs itself under callgrind.
const COUNTED: &str = "hot_paths_cost_the_instructions_that_are_kept";

/// Bytes of hex digits.
fn hex(line: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit") as u8;
    let pairs = line.as_bytes().chunks(2);
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// Valgrind shows processors without AVX2 as another model.
fn has_counts() -> bool {
    #[cfg(target_arch = "x86_64")]
    let known = std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let known = false;
    known
}

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "a release build is counted: ./tests/run instruction"
)]
fn hot_paths_cost_the_instructions_that_are_kept() {
    if count::obey() {
        return;
    }
    assert!(
        has_counts(),
        "counts are kept for x86-64 with AVX2 only, which this machine is not; run it elsewhere"
    );
    let fresh = Kept {
        compiler: count::version("rustc"),
        valgrind: count::version("valgrind"),
        instructions: PATHS
            .iter()
            .map(|path| (path.name.to_owned(), count::per_repetition(path, COUNTED)))
            .collect(),
    };
    let renew = std::env::var_os(RENEW).is_some();
    let before = Kept::read();
    for (name, count) in &fresh.instructions {
        let kept = before.as_ref().ok();
        match kept.and_then(|kept| kept.instructions.get(name)) {
            Some(kept) => println!("{name}: {count} ({:+.2} %)", change_percent(*kept, *count)),
            None => println!("{name}: {count}"),
        }
    }
    if renew {
        fresh.write();
        return;
    }
    let before = before.unwrap_or_else(|error| panic!("tests/instruction/counts.toml: {error}"));
    let found = before.differences(&fresh);
    assert!(
        found.is_empty(),
        "{}\nwhen this is meant, keep the fresh counts: {RENEW}=1 ./tests/run instruction",
        found.join("\n")
    );
}
