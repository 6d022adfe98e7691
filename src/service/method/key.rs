//! The methods that have to do with the cluster's key: names and figures of it, whom it is given
//! to, and its replacement. A key itself never leaves by any of them; a one-time code does, where
//! nobody reads along ([`SECRET`]).

use std::borrow::Cow;

use serde::Serialize;

use crate::base::call::{Call, Reply};
use crate::base::endpoint::{Name, SocketAddr};
use crate::base::id::Id;
use crate::base::keys::{CodeView, Digits, KeyName, KeyView};
use crate::service::{Facts, Failure};

use super::argument::Args;
use super::shape::{FingerprintRow, json, misplaced};
use super::{Method, Outcome, Param, Run, Scope, Takes};

const RESULT: &str = "{access, kid, epoch, previous?, next?, window_s, members, \
                      fingerprint, fingerprint_note?, asking: [{id, name, addr, port, ago_s}], \
                      code?: {left_s, attempts}, revoked: […], waiting: […], tls_pin}";

/// Methods that take or tell a secret.
pub(super) const SECRET: [&str; 2] = ["make_join_code", "enter_join_code"];

/// See the module.
pub(super) const METHODS: &[Method] = &[
    Method {
        name: "get_key_state",
        aliases: &["get-key-state"],
        reads: true,
        scope: Scope::Read,
        takes: Takes::Params(&[]),
        result: RESULT,
        doc: "Shows which key this board signs with, by name, and which boards ask to come in.",
        run: Run::Board {
            call: |_| Ok(Call::KeyState),
            result: shown,
        },
    },
    Method {
        name: "accept_node",
        aliases: &["accept-node"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[Param::required("node", "a board's id, 64 hex digits")]),
        result: RESULT,
        doc: "Lets a board in that holds no key of the cluster: it is given the key, sealed.",
        run: Run::Board {
            call: |args| {
                Ok(Call::Accept {
                    id: args.id_required("node")?,
                })
            },
            result: shown,
        },
    },
    Method {
        name: "make_join_code",
        aliases: &["make-join-code"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[]),
        result: "{code, left_s, attempts}",
        doc: "Makes a code with which one board comes in, within ten minutes and five attempts; it \
              replaces the one before. Over TLS or on the board itself.",
        run: Run::Board {
            call: |_| Ok(Call::MakeCode),
            result: made,
        },
    },
    Method {
        name: "enter_join_code",
        aliases: &["enter-join-code"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[Param::required("code", "eight digits")]),
        result: RESULT,
        doc: "Has this board, which is alone and has no key of its owner's, come into the ring \
              whose member made the code; answers once it is in, or after 30 s. Over TLS or on \
              the board itself.",
        run: Run::Board {
            call: |args| {
                Ok(Call::EnterCode {
                    code: args.join_code("code")?,
                })
            },
            result: shown,
        },
    },
    Method {
        name: "confirm_cluster",
        aliases: &["confirm-cluster"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[Param::optional(
            "fingerprint",
            "the six digits that were compared; refused if there are others by now",
        )]),
        result: RESULT,
        doc: "Ends pairing: the boards of the ring, and nobody else, are given a new key; \
              strangers only read from then on, and no board comes in unasked.",
        run: Run::Board {
            call: |args| {
                let seen = args.text_of("fingerprint")?;
                let read = |text: Cow<'_, str>| {
                    Digits::parse(&text).ok_or_else(|| {
                        let reason =
                            "fingerprint must be six digits, as `get_key_state` shows them";
                        Failure::params(reason)
                    })
                };
                Ok(Call::Confirm {
                    seen: seen.map(read).transpose()?,
                })
            },
            result: shown,
        },
    },
    Method {
        name: "rotate_key",
        aliases: &["rotate-key"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[]),
        result: RESULT,
        doc: "Replaces the cluster's key once every board that is there holds the next; absent \
              boards are given it when they return.",
        run: Run::Board {
            call: |_| Ok(Call::Rotate { without: None }),
            result: shown,
        },
    },
    Method {
        name: "revoke_node",
        aliases: &["revoke-node"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[Param::required("node", "a board's id, 64 hex digits")]),
        result: RESULT,
        doc: "Replaces the cluster's key without a board, which is struck off and cannot come \
              back.",
        run: Run::Board {
            call: |args| {
                Ok(Call::Rotate {
                    without: Some(args.id_required("node")?),
                })
            },
            result: shown,
        },
    },
];

#[derive(Serialize)]
struct KeyRow<'a> {
    kid: &'a str,
    epoch: u32,
}

#[derive(Serialize)]
struct CodeRow {
    left_s: u64,
    attempts: u8,
}

/// The only answer that tells a secret.
#[derive(Serialize)]
struct MadeRow {
    code: String,
    #[serde(flatten)]
    view: CodeRow,
}

#[derive(Serialize)]
struct AskingRow<'a> {
    id: Id,
    name: &'a Name,
    addr: String,
    port: u16,
    ago_s: u64,
}

#[derive(Serialize)]
struct StateRow<'a> {
    access: &'static str,
    kid: &'a str,
    epoch: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<KeyRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<KeyRow<'a>>,
    window_s: u64,
    members: usize,
    #[serde(flatten)]
    fingerprint: FingerprintRow,
    asking: Vec<AskingRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<CodeRow>,
    revoked: &'a [Id],
    waiting: &'a [Id],
    /// SHA-256 of the public key of the board's certificate: its id.
    tls_pin: &'a Id,
}

fn row(key: &KeyName) -> KeyRow<'_> {
    KeyRow {
        kid: &key.kid,
        epoch: key.epoch,
    }
}

fn code_row(view: &CodeView) -> CodeRow {
    CodeRow {
        left_s: view.left.as_secs(),
        attempts: view.attempts,
    }
}

fn made(_: &Facts, _: &Args<'_>, reply: Reply) -> Outcome {
    let Reply::Code { code, view } = reply else {
        return Err(misplaced());
    };
    json(&MadeRow {
        code: code.text(),
        view: code_row(&view),
    })
}

fn shown(facts: &Facts, _: &Args<'_>, reply: Reply) -> Outcome {
    let Reply::Keys(view) = reply else {
        return Err(misplaced());
    };
    let KeyView {
        access,
        current,
        previous,
        next,
        window,
        members,
        fingerprint,
        asking,
        code,
        revoked,
        waiting,
    } = &*view;
    let place = |at: &SocketAddr| (at.ip().to_string(), at.port());
    let asking = asking.iter().map(|asking| {
        let (addr, port) = place(&asking.endpoint);
        AskingRow {
            id: asking.id,
            name: &asking.name,
            addr,
            port,
            ago_s: asking.ago.as_secs(),
        }
    });
    json(&StateRow {
        access: access.as_str(),
        kid: &current.kid,
        epoch: current.epoch,
        previous: previous.as_ref().map(row),
        next: next.as_ref().map(row),
        window_s: window.as_secs(),
        members: *members,
        fingerprint: FingerprintRow::new(fingerprint),
        asking: asking.collect(),
        code: code.as_ref().map(code_row),
        revoked,
        waiting,
        tls_pin: &facts.id,
    })
}
