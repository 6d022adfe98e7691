//! The methods of the bucket: put, get, remove, list_items and scan_items.
//!
//! What an operation means and how many copies must agree is `proto/replication`'s.

use bytes::Bytes;
use serde::Serialize;

use crate::base::call::{Call, PageRequest, Reply};
use crate::base::id::Id;
use crate::base::item::{Key, Value};
use crate::base::limit;
use crate::base::version::Version;
use crate::service::{Facts, Failure};
use crate::wire::jsonrpc::Code;

use super::argument::Args;
use super::shape::{Content, Covered, ItemRow, items, json, misplaced};
use super::{Method, Outcome, Param, Run, Scope, Takes};

const KEY: Param = Param::required("key", "text of 1 to 1,024 bytes");
const CONSISTENCY: Param = Param::optional("consistency", "\"one\", \"quorum\" or \"all\"");
const PAGE: &[Param] = &[
    Param::optional("prefix", "text"),
    Param::optional("limit", "1 to 1,000"),
    Param::optional("after", "a key"),
];

/// See the module.
pub(super) const METHODS: &[Method] = &[
    Method {
        name: "put",
        aliases: &[],
        reads: false,
        scope: Scope::Write,
        takes: Takes::Params(&[
            KEY,
            Param::optional("value", "any JSON"),
            CONSISTENCY,
            Param::optional("value_base64", "bytes in base64, in place of value"),
        ]),
        result: "{key, node, version, acks, hinted, degraded}",
        doc: "Stores a value under a key, on stable storage on as many copies as asked for.",
        run: Run::Board {
            call: |args| {
                Ok(Call::Put {
                    key: args.key_required("key")?,
                    value: value(args)?,
                    consistency: args.consistency()?,
                })
            },
            result: |_, args, reply| written(args, reply, false),
        },
    },
    Method {
        name: "get",
        aliases: &[],
        reads: true,
        scope: Scope::Read,
        takes: Takes::Params(&[KEY, CONSISTENCY]),
        result: "{key, value | value_base64, version, acks, hinted, degraded}",
        doc: "Reads the value under a key.",
        run: Run::Board {
            call: |args| {
                Ok(Call::Get {
                    key: args.key_required("key")?,
                    consistency: args.consistency()?,
                })
            },
            result: got,
        },
    },
    Method {
        name: "remove",
        aliases: &[],
        reads: false,
        scope: Scope::Write,
        takes: Takes::Params(&[KEY, CONSISTENCY]),
        result: "{key, node, removed, version, acks, hinted, degraded}",
        doc: "Removes a key; says whether it held a value.",
        run: Run::Board {
            call: |args| {
                Ok(Call::Remove {
                    key: args.key_required("key")?,
                    consistency: args.consistency()?,
                })
            },
            result: |_, args, reply| written(args, reply, true),
        },
    },
    Method {
        name: "list_items",
        aliases: &["list-items"],
        reads: true,
        scope: Scope::Read,
        takes: Takes::Params(PAGE),
        result: "{items: [{key, value | value_base64, version}], next}",
        doc: "Lists a page of the items this board holds, in key order.",
        run: Run::Board {
            call: |args| page_request(args).map(Call::ListItems),
            result: |_, _, reply| page(&reply, false),
        },
    },
    Method {
        name: "scan_items",
        aliases: &["scan-items"],
        reads: true,
        scope: Scope::Read,
        takes: Takes::Params(PAGE),
        result: "{items: [{key, value | value_base64, version}], next, degraded}",
        doc: "Lists a page of the items of the whole ring, in key order.",
        run: Run::Board {
            call: |args| page_request(args).map(Call::ScanItems),
            result: |_, _, reply| page(&reply, true),
        },
    },
];

/// Exactly one of `value` and `value_base64`.
fn value(args: &Args<'_>) -> Result<Value, Failure> {
    let value = match (args.raw("value"), args.base64("value_base64")?) {
        (Some(json), None) => Value::Json(Bytes::copy_from_slice(json.text().as_bytes())),
        (None, Some(bytes)) => Value::Binary(bytes),
        (None, None) => {
            return Err(Failure::params(
                "put needs parameter 'value' (any JSON) or 'value_base64' (bytes); add one",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Failure::params(
                "put takes 'value' or 'value_base64', not both; leave one out",
            ));
        }
    };
    let got = value.bytes().len();
    if got > limit::VALUE_BYTES_MAX {
        return Err(Failure::new(
            Code::TooLarge,
            format!(
                "the value has {got} bytes and at most {} fit; store it in several smaller pieces",
                limit::VALUE_BYTES_MAX
            ),
        ));
    }
    Ok(value)
}

fn page_request(args: &Args<'_>) -> Result<PageRequest, Failure> {
    Ok(PageRequest {
        prefix: args.prefix()?,
        after: args.key("after")?,
        limit: args
            .number("limit", 1, limit::PAGE_ITEMS_MAX)?
            .unwrap_or(limit::PAGE_ITEMS_MAX),
    })
}

#[derive(Serialize)]
struct Written {
    key: Key,
    node: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<bool>,
    version: Version,
    #[serde(flatten)]
    covered: Covered,
}

fn written(args: &Args<'_>, reply: Reply, remove: bool) -> Outcome {
    let Reply::Written {
        node,
        version,
        existed,
        coverage,
    } = reply
    else {
        return Err(misplaced());
    };
    json(&Written {
        key: args.key_required("key")?,
        node,
        removed: remove.then_some(existed),
        version,
        covered: coverage.into(),
    })
}

#[derive(Serialize)]
struct Got<'a> {
    key: Key,
    #[serde(flatten)]
    content: Content<'a>,
    version: Version,
    #[serde(flatten)]
    covered: Covered,
}

fn got(_: &Facts, args: &Args<'_>, reply: Reply) -> Outcome {
    let Reply::Value {
        value,
        version,
        coverage,
    } = reply
    else {
        return Err(misplaced());
    };
    json(&Got {
        key: args.key_required("key")?,
        content: Content::of(&value)?,
        version,
        covered: coverage.into(),
    })
}

#[derive(Serialize)]
struct Page<'a> {
    items: Vec<ItemRow<'a>>,
    next: Option<&'a Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<bool>,
}

fn page(reply: &Reply, scan: bool) -> Outcome {
    let Reply::Page {
        items: rows,
        next,
        degraded,
    } = reply
    else {
        return Err(misplaced());
    };
    json(&Page {
        items: items(rows)?,
        next: next.as_ref(),
        degraded: scan.then_some(*degraded),
    })
}
