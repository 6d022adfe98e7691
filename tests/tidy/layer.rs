//! What may import what: layers point strictly downward, strangers stay strangers.

use crate::Source;
use crate::lexer;
use crate::rule::at;

/// A layer's height; equal height and another name: strangers.
const LAYERS: [(&str, u32); 11] = [
    ("base", 0),
    ("wire", 10),
    ("security", 10),
    ("telemetry", 10),
    ("config", 10),
    ("proto", 20),
    ("script", 25),
    ("service", 30),
    ("runtime", 40),
    ("node", 50),
    ("cli", 60),
];

/// Which machine may name which other.
const MACHINES: [(&str, &[&str]); 6] = [
    ("ring", &["structure", "roster"]),
    ("placement", &["roster"]),
    ("replication", &["placement", "clock", "bucket"]),
    ("object", &["bucket"]),
    ("consensus", &["clock"]),
    // It joins the others.
    ("board", &["*"]),
];

/// Imports that do not point downward.
pub fn imports(source: &Source) -> Vec<String> {
    let own = source.module();
    let Some(top) = own.first() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (offset, path) in inner_paths(source, &own) {
        let Some(target) = path.first() else {
            continue;
        };
        let line = lexer::line(&source.code, offset);
        if let Some(what) = refuse_layer(top, target) {
            findings.push(at(source, line, what));
        } else if (top.as_str(), target.as_str()) == ("proto", "proto")
            && let (Some(from), Some(to)) = (own.get(1), path.get(1))
            && !may_know(from, to)
        {
            findings.push(at(
                source,
                line,
                format!("proto/{from} does not know proto/{to}"),
            ));
        }
    }
    findings
}

fn refuse_layer(from: &str, to: &str) -> Option<String> {
    let height = |name: &str| {
        let found = LAYERS.iter().find(|(layer, _)| *layer == name);
        found.map(|(_, height)| *height)
    };
    let Some(from_height) = height(from) else {
        return Some(format!("{from}/ has no place in the table of layers"));
    };
    // A name that is no layer is an item of the crate's root.
    let to_height = height(to)?;
    (from != to && to_height >= from_height)
        .then(|| format!("{from}/ imports {to}/: layers point strictly downward"))
}

fn may_know(from: &str, to: &str) -> bool {
    let friends = MACHINES.iter().find(|(machine, _)| *machine == from);
    from == to || friends.is_some_and(|(_, friends)| friends.contains(&to) || friends == &["*"])
}

/// Every path that names something of this crate, from its root, with where it is written.
fn inner_paths(source: &Source, own: &[String]) -> Vec<(usize, Vec<String>)> {
    let code = &source.code;
    let mut found = Vec::new();
    for word in ["crate", "roundel", "super"] {
        for offset in lexer::words(code, word) {
            let before = code[..offset].trim_end();
            if before.ends_with("::") || !code[offset + word.len()..].trim_start().starts_with("::")
            {
                continue;
            }
            let here = [own, &source.inline_modules(offset)[..]].concat();
            for path in lexer::paths(code, offset) {
                found.push((offset, resolve(&here, &path)));
            }
        }
    }
    found
}

/// A path as it is written in module `here`, from the crate's root.
fn resolve(here: &[String], path: &[String]) -> Vec<String> {
    let supers = path.iter().take_while(|name| *name == "super").count();
    match supers {
        0 => path[1..].to_vec(),
        _ => [&here[..here.len().saturating_sub(supers)], &path[supers..]].concat(),
    }
}
