//! The methods that update the image of a board: its head, its bytes in parts, and the end.

use bytes::Bytes;

use crate::base::limit;
use crate::service::update::Ask;
use crate::service::{Facts, Failure};

use super::argument::Args;
use super::shape::json;
use super::{Later, Method, Param, Run, Scope, Takes};

const RESULT: &str = "{written, length}";

/// See the module.
pub(super) const METHODS: &[Method] = &[
    Method {
        name: "begin_update",
        aliases: &["begin-update"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[
            Param::required("head_base64", "the first 4,096 bytes of an update file"),
            Param::optional("downgrade", "true: it may be older than what runs"),
        ]),
        result: RESULT,
        doc: "Begins an update of the board's image, if its signature holds and it fits; one that \
              was begun before and left is given up.",
        run: Run::Later(|facts, args| {
            let head = bytes(args, "head_base64")?;
            let downgrade = args.raw("downgrade").filter(|value| !value.is_null());
            let downgrade = downgrade.map_or(Ok(false), |value| match value.text() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(Failure::params("parameter 'downgrade' is true or false")),
            })?;
            Ok(ask(facts, Ask::Begin { head, downgrade }))
        }),
    },
    Method {
        name: "write_update",
        aliases: &["write-update"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[
            Param::required("offset", "bytes of the root before these"),
            Param::required("bytes_base64", "at most 512 KiB that follow"),
        ]),
        result: RESULT,
        doc: "Keeps the next bytes of the update that was begun, beside what runs.",
        run: Run::Later(|facts, args| {
            let max = crate::wire::update::ROOT_BYTES_MAX;
            let offset = args.number("offset", 0, max as usize)?.unwrap_or_default() as u64;
            let bytes = bytes(args, "bytes_base64")?;
            Ok(ask(facts, Ask::Write { offset, bytes }))
        }),
    },
    Method {
        name: "finish_update",
        aliases: &["finish-update"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[]),
        result: RESULT,
        doc: "Checks the whole update and has it tried: the board restarts from its other slot, \
              and falls back by itself unless it is in its ring again.",
        run: Run::Later(|facts, _| Ok(ask(facts, Ask::Finish))),
    },
];

/// Bytes that cannot be left out, of a part's size at most.
fn bytes(args: &Args<'_>, name: &str) -> Result<Bytes, Failure> {
    let bytes = args.base64(name)?.unwrap_or_default();
    match bytes.len() {
        1..=limit::UPDATE_PART_BYTES_MAX => Ok(bytes),
        got => Err(Failure::params(format!(
            "parameter '{name}' has 1 to {} bytes; got {got}",
            limit::UPDATE_PART_BYTES_MAX
        ))),
    }
}

fn ask(facts: &Facts, ask: Ask) -> Later {
    let installer = facts.installer.clone();
    Box::pin(async move { json(&installer.ask(ask).await?) })
}
