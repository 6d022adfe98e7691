//! The counts that are kept beside this test, and how fresh ones compare with them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

/// Counts may be off by so many of a hundred, either way.
const TOLERANCE_PERCENT: u64 = 2;

/// How to keep fresh counts.
pub const RENEW: &str = "ROUNDEL_RENEW";

/// What `counts.toml` holds.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What made the program that was counted.
    pub compiler: String,
    /// What counted.
    pub valgrind: String,
    /// Instructions of one repetition, by path.
    pub instructions: BTreeMap<String, u64>,
}

fn file() -> PathBuf {
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    package.join("tests/instruction/counts.toml")
}

impl Kept {
    /// Reads the file.
    ///
    /// # Errors
    /// In words.
    pub fn read() -> Result<Self, String> {
        let text = fs::read_to_string(file()).map_err(|error| error.to_string())?;
        toml::from_str(&text).map_err(|error| error.to_string())
    }

    /// Writes the file.
    pub fn write(&self) {
        fs::write(file(), self.text()).expect("the sources can be written to");
    }

    fn text(&self) -> String {
        let Kept {
            compiler, valgrind, ..
        } = self;
        let mut text = format!(
            "# Instructions of a repetition of each hot path: x86-64 with AVX2, release build.\n\
             # Written by {RENEW}=1 ./tests/run instruction\n\
             compiler = \"{compiler}\"\nvalgrind = \"{valgrind}\"\n\n[instructions]\n"
        );
        for (name, count) in &self.instructions {
            writeln!(text, "{name} = {count}").expect("a String takes all that is written");
        }
        text
    }

    /// What differs in fresh counts, a sentence each.
    pub fn differences(&self, fresh: &Kept) -> Vec<String> {
        let mut found = Vec::new();
        for (name, count) in &fresh.instructions {
            let Some(kept) = self.instructions.get(name) else {
                found.push(format!("{name}: {count} instructions, none are kept"));
                continue;
            };
            if 100 * count.abs_diff(*kept) > TOLERANCE_PERCENT * kept {
                let percent = change_percent(*kept, *count);
                found.push(format!(
                    "{name}: {count} instructions, {kept} are kept ({percent:+.1} %)"
                ));
            }
        }
        let gone = self.instructions.keys();
        let gone = gone.filter(|name| !fresh.instructions.contains_key(*name));
        found.extend(gone.map(|name| format!("{name}: counts are kept, there is no such path")));
        if !found.is_empty() {
            let tools = [
                ("the compiler", &self.compiler, &fresh.compiler),
                ("valgrind", &self.valgrind, &fresh.valgrind),
            ];
            let other = tools.into_iter().filter(|(_, kept, fresh)| kept != fresh);
            found.extend(other.map(|(tool, kept, fresh)| {
                format!("{tool} is another: {fresh:?}, the counts were kept with {kept:?}")
            }));
        }
        found
    }
}

/// By how many of a hundred `count` is above `kept`.
pub fn change_percent(kept: u64, count: u64) -> f64 {
    (count as f64 / kept as f64 - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(counts: &[(&str, u64)]) -> Kept {
        let pair = |(name, count): &(&str, u64)| ((*name).to_owned(), *count);
        Kept {
            compiler: "rustc 1".into(),
            valgrind: "valgrind-3".into(),
            instructions: counts.iter().map(pair).collect(),
        }
    }

    #[test]
    fn two_percent_either_way_pass_and_three_do_not() {
        let before = kept(&[("parse", 10_000)]);
        for count in [9_800, 10_000, 10_200] {
            assert!(before.differences(&kept(&[("parse", count)])).is_empty());
        }
        for (count, change) in [(9_700, "-3.0 %"), (10_300, "+3.0 %")] {
            let found = before.differences(&kept(&[("parse", count)]));
            assert!(found.len() == 1 && found[0].contains(change), "{found:?}");
        }
    }

    #[test]
    fn path_without_a_count_and_count_without_a_path_are_differences() {
        let found = kept(&[("old", 1)]).differences(&kept(&[("new", 1)]));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn other_compiler_is_named_where_counts_differ() {
        let mut fresh = kept(&[("parse", 200)]);
        fresh.compiler = "rustc 2".into();
        let found = kept(&[("parse", 100)]).differences(&fresh);
        assert!(found[1].contains("\"rustc 2\""), "{found:?}");
        let before = kept(&[("parse", 200)]);
        assert!(before.differences(&fresh).is_empty());
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let before = kept(&[("a", 1), ("b", 2)]);
        assert_eq!(toml::from_str::<Kept>(&before.text()).unwrap(), before);
    }
}
