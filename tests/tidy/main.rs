//! Keeps the sources in the shape the style guide asks for: layers, banned calls, headers,
//! lengths, leftovers, dead files. It reads the tree as it lies there, needs no history, and each
//! rule is shown to catch what it is for.

mod layer;
mod lexer;
mod planted;
mod rule;
mod security;

use std::fs;
use std::path::Path;

/// A file of the tree.
pub struct Source {
    /// From the package's root, with slashes.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Without comments and literals.
    pub code: String,
    /// Parts of it are compiled for tests alone.
    tests: Vec<std::ops::Range<usize>>,
    /// All of it is.
    test_file: bool,
    modules: Vec<lexer::Module>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = lexer::code(text);
        let modules = lexer::modules(&code);
        let test = |module: &&lexer::Module| module.test && module.inline;
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            tests: modules
                .iter()
                .filter(test)
                .map(|module| module.span.clone())
                .collect(),
            test_file: false,
            modules,
            code,
        }
    }

    /// The module the file is, from the crate's root; empty for the root itself and for tests.
    pub fn module(&self) -> Vec<String> {
        let Some(path) = self.path.strip_prefix("src/") else {
            return Vec::new();
        };
        let path = path.strip_suffix(".rs").expect("a source ends in .rs");
        let path = path.strip_suffix("/mod").unwrap_or(path);
        match path {
            "lib" | "main" => Vec::new(),
            _ => path.split('/').map(str::to_owned).collect(),
        }
    }

    /// The top-level directory or file below src/.
    pub fn top(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or("");
        path.split(['/', '.']).next().unwrap_or("")
    }

    /// Names of the inline modules around a place.
    pub fn inline_modules(&self, offset: usize) -> Vec<String> {
        let around = |module: &&lexer::Module| module.inline && module.span.contains(&offset);
        self.modules
            .iter()
            .filter(around)
            .map(|module| module.name.clone())
            .collect()
    }

    /// The place is compiled for tests alone.
    pub fn is_test(&self, offset: usize) -> bool {
        self.test_file || self.tests.iter().any(|span| span.contains(&offset))
    }
}

/// Marks files that a `#[cfg(test)] mod x;` leads to, and all below them.
fn mark_test_files(sources: &mut [Source]) {
    let mut stems = Vec::new();
    for source in &*sources {
        let (directory, name) = source
            .path
            .rsplit_once('/')
            .expect("a source has a directory");
        let stem = match name.strip_suffix(".rs").expect("a source ends in .rs") {
            "mod" | "lib" | "main" => directory.to_owned(),
            stem => format!("{directory}/{stem}"),
        };
        for module in source
            .modules
            .iter()
            .filter(|module| module.test && !module.inline)
        {
            stems.push(format!("{stem}/{}", module.name));
        }
    }
    for source in sources {
        let below = |stem: &String| {
            let rest = source.path.strip_prefix(stem.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        if stems.iter().any(below) {
            source.test_file = true;
        }
    }
}

/// Everything that is wrong.
fn findings(mut sources: Vec<Source>) -> Vec<String> {
    mark_test_files(&mut sources);
    let rules = [
        rule::header,
        rule::file_length,
        rule::columns,
        rule::function_length,
        rule::leftovers,
        rule::unwrap,
        rule::purity,
        layer::imports,
    ];
    let each = |source| rules.iter().flat_map(move |rule| rule(source));
    let mut found: Vec<_> = sources.iter().flat_map(each).collect();
    found.extend(rule::dead_files(&sources));
    found
}

fn read_tree(root: &Path, directory: &str, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(root.join(directory)) else {
        return;
    };
    for entry in entries {
        let entry = entry.expect("the tree can be read");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = format!("{directory}/{name}");
        if entry.file_type().expect("the tree can be read").is_dir() {
            read_tree(root, &path, sources);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("a source is UTF-8");
            sources.push(Source::new(&path, &text));
        }
    }
}

#[test]
fn sources_are_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    read_tree(root, "src", &mut sources);
    read_tree(root, "tests", &mut sources);
    assert!(sources.len() > 20, "only {} sources found", sources.len());
    for source in &sources {
        let lines = source.text.lines().count();
        if lines > rule::FILE_LINES_LOOK {
            println!("{}: {lines} lines, worth another look", source.path);
        }
    }
    let document = root.join("SECURITY.md");
    let document = fs::read_to_string(document).expect("SECURITY.md is there");
    let promises = security::tables(&document, &sources);
    let mut found = findings(sources);
    found.extend(promises);
    assert!(
        found.is_empty(),
        "{} findings:\n{}",
        found.len(),
        found.join("\n")
    );
}
