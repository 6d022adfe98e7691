//! Keeps SECURITY.md honest: every row of its tables ends with the tests that show it, the tests
//! are there, and the constants that it names are bounds of the product.

use std::collections::BTreeSet;

use crate::Source;

const LIMITS: &str = "src/base/limit.rs";

/// What is wrong with the tables of `document`, whose tests and bounds stand in `sources`.
pub fn tables(document: &str, sources: &[Source]) -> Vec<String> {
    let tests: BTreeSet<&str> = sources.iter().flat_map(tests).collect();
    let limits = sources.iter().filter(|source| source.path == LIMITS);
    let limits: BTreeSet<&str> = limits.flat_map(|source| constants(&source.code)).collect();
    let mut found = Vec::new();
    let mut column = None;
    for (line, text) in (1..).zip(document.lines()) {
        let at = |what: String| format!("SECURITY.md:{line}: {what}");
        let Some(cells) = cells(text) else {
            column = None;
            continue;
        };
        let Some(column) = column else {
            // The head of a table.
            column = cells.iter().position(|cell| *cell == "Shown by");
            if column.is_none() {
                found.push(at("the table has no column \"Shown by\"".into()));
                column = Some(usize::MAX);
            }
            continue;
        };
        if column == usize::MAX || cells.iter().all(|cell| cell.trim_matches('-').is_empty()) {
            continue;
        }
        let shown = cells.get(column).copied().unwrap_or_default();
        if names(shown).next().is_none() {
            found.push(at(format!("\"{}\" names no test", cells[0])));
        }
        let missing = names(shown).filter(|name| !tests.contains(name));
        found.extend(missing.map(|name| at(format!("there is no test `{name}`"))));
        let others = cells
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != column);
        let bounds = others.flat_map(|(_, cell)| names(cell));
        let unknown = bounds.filter(|name| name.ends_with("_MAX") || name.ends_with("_MIN"));
        let unknown = unknown.filter(|name| !limits.contains(name));
        found.extend(unknown.map(|name| at(format!("{LIMITS} has no `{name}`"))));
    }
    found
}

/// The cells of a table's row; none: the line is none.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// What stands between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Names of a file's test functions.
fn tests(source: &Source) -> impl Iterator<Item = &str> {
    let marked = ["#[test]", "#[tokio::test"]
        .into_iter()
        .flat_map(|mark| source.code.match_indices(mark));
    marked.filter_map(|(place, _)| {
        let (_, after) = source.code[place..].split_once("fn ")?;
        after.split('(').next()
    })
}

fn constants(code: &str) -> impl Iterator<Item = &str> {
    let named = code.split("pub const ").skip(1);
    named.filter_map(|after| after.split(':').next())
}

const HEAD: &str = "| It | Keyed | Shown by |\n|---|---|---|\n";

fn source(path: &str, text: &str) -> Source {
    Source::new(path, text)
}

#[test]
fn a_row_without_a_test_or_with_one_that_is_not_there_is_found() {
    let sources = [
        source(
            "tests/a.rs",
            "//! A.\n#[test]\nfn one() {}\n#[tokio::test]\nasync fn two() {}\nfn helper() {}\n",
        ),
        source(LIMITS, "//! B.\npub const A_MAX: usize = 1;\n"),
    ];
    let found = |rows: &str| tables(&format!("text\n\n{HEAD}{rows}\ntext\n"), &sources);
    assert_eq!(found("| a `A_MAX` | no | `one`, `two` |\n"), [""; 0]);
    for (row, what) in [
        ("| a | no | |\n", "names no test"),
        ("| a | no |\n", "names no test"),
        ("| a | no | `three` |\n", "no test `three`"),
        ("| a | no | `helper` |\n", "no test `helper`"),
        ("| a `B_MAX` | no | `one` |\n", "no `B_MAX`"),
    ] {
        let found = found(row);
        assert_eq!(found.len(), 1, "{row}{found:?}");
        assert!(
            found[0].starts_with("SECURITY.md:5: ") && found[0].contains(what),
            "{found:?}"
        );
    }
    let bare = tables("| It | Keyed |\n|---|---|\n| a | no |\n", &sources);
    assert_eq!(bare.len(), 1, "{bare:?}");
}
