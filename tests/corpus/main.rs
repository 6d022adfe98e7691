//! Replays the corpora of the fuzz targets: inputs that once found something, and seeds of every
//! kind of message. A directory here for each target of `tests/fuzz/target.rs`.

use std::fs;
use std::path::Path;

#[path = "../fuzz/target.rs"]
mod target;

#[test]
fn every_target_has_a_corpus_and_bears_all_of_it() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (name, run) in target::TARGETS {
        let directory = corpora.join(name);
        let entries = fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut inputs: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            println!("{}", input.display());
            run(&fs::read(&input).expect("it can be read"));
        }
    }
}
