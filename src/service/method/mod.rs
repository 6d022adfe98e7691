//! The method table: the one place that says which methods there are, what they take and answer.
//!
//! JSON-RPC, the GET form, the seed's `/chord` form and the reference page all come from it. A
//! method is two pure functions around one [`Call`] (or one function, when the answer is known
//! here); nothing in this module waits.
//!
//! Source: the thirteen messages of the Chord seed and Round's native methods.

mod argument;
mod bucket;
mod key;
mod ring;
mod shape;
mod state;
mod update;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::pin::Pin;

use serde_json::value::RawValue;

pub use crate::base::access::Scope;
pub use argument::Args;
pub(in crate::service) use shape::standing;
pub(in crate::service) use state::{events, shown};

use crate::base::call::{Call, Reply};
use crate::wire::jsonrpc::nearest;

use super::{Facts, Failure};

/// One JSON value, or why there is none.
pub type Outcome = Result<Box<RawValue>, Failure>;

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name in requests.
    pub name: &'static str,
    /// Its type, in words.
    pub kind: &'static str,
    /// It cannot be left out.
    pub required: bool,
}

impl Param {
    /// A parameter that must be given.
    pub const fn required(name: &'static str, kind: &'static str) -> Self {
        Param {
            name,
            kind,
            required: true,
        }
    }

    /// A parameter that may be left out (or null).
    pub const fn optional(name: &'static str, kind: &'static str) -> Self {
        Param {
            name,
            kind,
            required: false,
        }
    }
}

/// What a method takes.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// These, by name or in this order.
    Params(&'static [Param]),
    /// Anything.
    Anything,
}

/// How a method is carried out.
#[derive(Clone, Copy)]
pub enum Run {
    /// The board is asked.
    Board {
        /// What to ask it.
        call: fn(&Args<'_>) -> Result<Call, Failure>,
        /// What to make of the answer.
        result: fn(&Facts, &Args<'_>, Reply) -> Outcome,
    },
    /// The answer is known here.
    Here(fn(&Facts, &Args<'_>) -> Outcome),
    /// Files are written here; the answer comes when that is done.
    Later(fn(&Facts, &Args<'_>) -> Result<Later, Failure>),
}

/// An answer that is not there yet.
pub type Later = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A method.
#[derive(Clone, Copy)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Other names for it; a leading `_` is accepted on any name.
    pub aliases: &'static [&'static str],
    /// It changes nothing: GET may ask it.
    pub reads: bool,
    /// What a caller must be allowed to do.
    pub scope: Scope,
    /// What it takes.
    pub takes: Takes,
    /// The shape of its result, in words.
    pub result: &'static str,
    /// What it does, one sentence.
    pub doc: &'static str,
    /// How it is carried out.
    pub run: Run,
}

impl Method {
    /// It takes or tells a secret, so that it is carried out over TLS or on the board itself only,
    /// and never for another board.
    pub fn is_secret(&self) -> bool {
        key::SECRET.contains(&self.name)
    }
}

/// Methods by name.
#[derive(Clone)]
pub struct Table {
    names: BTreeMap<&'static str, Method>,
    methods: Vec<Method>,
}

impl Table {
    /// The product's methods.
    pub fn standard() -> Self {
        let each = [
            ring::METHODS,
            bucket::METHODS,
            state::METHODS,
            key::METHODS,
            update::METHODS,
        ];
        Table::of(each.concat())
    }

    /// A table of just these methods.
    ///
    /// # Panics
    /// When two of them share a name.
    pub fn of(methods: impl IntoIterator<Item = Method>) -> Self {
        let mut table = Table {
            names: BTreeMap::new(),
            methods: Vec::new(),
        };
        for method in methods {
            table.methods.push(method);
            for name in [method.name].iter().chain(method.aliases) {
                let before = table.names.insert(name, method);
                assert!(before.is_none(), "two methods are named {name}");
            }
        }
        table
    }

    /// The method of that name or alias.
    pub fn find(&self, name: &str) -> Option<&Method> {
        self.names
            .get(name)
            .or_else(|| self.names.get(name.strip_prefix('_')?))
    }

    /// The known name a misspelt one most resembles.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.methods.iter().map(|method| method.name))
    }

    /// Every method, in the order of the reference page.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The reference page's table, in Markdown.
    pub fn markdown(&self) -> String {
        let mut page = String::from(
            "| Method | Scope | Parameters | Result | What it does |\n|---|---|---|---|---|\n",
        );
        for method in &self.methods {
            let params = match method.takes {
                Takes::Anything => "anything".to_owned(),
                Takes::Params([]) => "–".to_owned(),
                Takes::Params(params) => params
                    .iter()
                    .map(|param| {
                        let optional = if param.required { "" } else { "?" };
                        format!("`{}`{optional}: {}", param.name, param.kind)
                    })
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            let get = if method.reads { "" } else { " (not by GET)" };
            writeln!(
                page,
                "| `{}`{get} | {} | {params} | `{}` | {} |",
                method.name, method.scope, method.result, method.doc
            )
            .expect("a String takes all that is written");
        }
        page.replace("\"|\"", "\"\\|\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_name_is_an_alias_and_a_leading_underscore_is_accepted() {
        let table = Table::standard();
        for name in [
            "join-ring",
            "leave-ring",
            "stabilize-ring",
            "init-ring-fingers",
            "fix-ring-fingers",
            "ring-notify",
            "get-ring-fingers",
            "find-ring-successor",
            "find-ring-predecessor",
            "put",
            "get",
            "remove",
            "list-items",
        ] {
            let method = table.find(name).unwrap();
            assert_eq!(method.name, name.replace('-', "_"));
            assert_eq!(
                table.find(&format!("_{}", method.name)).unwrap().name,
                method.name
            );
        }
        assert!(table.find("__put").is_none());
    }

    #[test]
    fn methods_that_change_something_are_not_open_to_get() {
        for method in Table::standard().methods() {
            assert_eq!(method.reads, method.scope == Scope::Read, "{}", method.name);
        }
    }

    #[test]
    fn the_reference_page_has_a_line_for_every_method() {
        let table = Table::standard();
        let page = table.markdown();
        assert_eq!(page.lines().count(), 2 + table.methods().len());
        assert!(page.contains("`put`"));
    }
}
