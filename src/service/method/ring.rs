//! The methods of the ring: the seed's ring messages, and remove_node (Round's name for striking
//! an absent board from the roster).
//!
//! What they do to the ring is `proto/ring`'s and `proto/roster`'s.

use serde::Serialize;

use crate::base::call::{Call, LeaveMode, Reply, Target};
use crate::base::id::Id;
use crate::base::item::Key;
use crate::service::Failure;

use super::argument::Args;
use super::shape::{FingerRow, Node, json, misplaced, nodes};
use super::{Method, Outcome, Param, Run, Scope, Takes};

const TARGET: &[Param] = &[
    Param::optional("key", "a key: who owns it"),
    Param::optional("id", "a point of the ring, 64 hex digits, in place of key"),
];
const LOOKUP: &str = "{id, name, address, alive, hops, path, point?, copies?}";

/// See the module.
pub(super) const METHODS: &[Method] = &[
    Method {
        name: "join_ring",
        aliases: &["join-ring"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[Param::required("sponsoring_node", "a member's ip:port")]),
        result: "{id, predecessor, successors}",
        doc: "Joins the ring of the board at that address.",
        run: Run::Board {
            call: |args| {
                Ok(Call::Join {
                    sponsor: args.address("sponsoring_node")?,
                })
            },
            result: |_, _, reply| joined(&reply),
        },
    },
    Method {
        name: "leave_ring",
        aliases: &["leave-ring"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[Param::optional("mode", "\"orderly\" or \"immediate\"")]),
        result: "{transferred, to}",
        doc: "Leaves the ring, by default after handing everything over.",
        run: Run::Board {
            call: leave,
            result: |_, _, reply| left(&reply),
        },
    },
    Method {
        name: "stabilize_ring",
        aliases: &["stabilize-ring"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[]),
        result: "{successor, successors, changed}",
        doc: "Runs one round of stabilisation now.",
        run: Run::Board {
            call: |_| Ok(Call::Stabilize),
            result: |_, _, reply| stabilized(&reply),
        },
    },
    Method {
        name: "init_ring_fingers",
        aliases: &["init-ring-fingers"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[]),
        result: "{count}",
        doc: "Computes every finger anew.",
        run: Run::Board {
            call: |_| Ok(Call::InitFingers),
            result: |_, _, reply| match reply {
                Reply::FingersInitialized { count } => json(&Count { count }),
                _ => Err(misplaced()),
            },
        },
    },
    Method {
        name: "fix_ring_fingers",
        aliases: &["fix-ring-fingers"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[]),
        result: "{index, finger: {index, start, id, address}}",
        doc: "Computes the next finger anew.",
        run: Run::Board {
            call: |_| Ok(Call::FixFingers),
            result: |_, _, reply| match reply {
                Reply::FingerFixed(finger) => json(&FingerFixed {
                    index: finger.index,
                    finger: FingerRow::from(&finger),
                }),
                _ => Err(misplaced()),
            },
        },
    },
    Method {
        name: "ring_notify",
        aliases: &["ring-notify"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[Param::required("node", "a board's ip:port")]),
        result: "{accepted, predecessor}",
        doc: "Tells this board that the one at that address believes to be its predecessor.",
        run: Run::Board {
            call: |args| {
                Ok(Call::Notify {
                    node: args.address("node")?,
                })
            },
            result: |_, _, reply| match &reply {
                Reply::Notified {
                    accepted,
                    predecessor,
                } => json(&Notified {
                    accepted: *accepted,
                    predecessor: predecessor.into(),
                }),
                _ => Err(misplaced()),
            },
        },
    },
    Method {
        name: "get_ring_fingers",
        aliases: &["get-ring-fingers"],
        reads: true,
        scope: Scope::Read,
        takes: Takes::Params(&[]),
        result: "{predecessor, successors, fingers: [{index, start, id, address}]}",
        doc: "Shows predecessor, successors and finger table.",
        run: Run::Board {
            call: |_| Ok(Call::Fingers),
            result: |_, _, reply| fingers(&reply),
        },
    },
    Method {
        name: "find_ring_successor",
        aliases: &["find-ring-successor"],
        reads: true,
        scope: Scope::Read,
        takes: Takes::Params(TARGET),
        result: LOOKUP,
        doc: "Finds the board that follows a point or owns a key; without either, this board's \
            own successor.",
        run: Run::Board {
            call: |args| target(args).map(Call::FindSuccessor),
            result: |_, args, reply| lookup(args, &reply),
        },
    },
    Method {
        name: "find_ring_predecessor",
        aliases: &["find-ring-predecessor"],
        reads: true,
        scope: Scope::Read,
        takes: Takes::Params(TARGET),
        result: LOOKUP,
        doc: "Finds the board before a point or a key; without either, this board's own \
            predecessor.",
        run: Run::Board {
            call: |args| target(args).map(Call::FindPredecessor),
            result: |_, args, reply| lookup(args, &reply),
        },
    },
    Method {
        name: "remove_node",
        aliases: &["remove-node"],
        reads: false,
        scope: Scope::Admin,
        takes: Takes::Params(&[Param::required("node", "a board's id, 64 hex digits")]),
        result: "{forgotten}",
        doc: "Strikes an absent board from the roster for good.",
        run: Run::Board {
            call: |args| {
                Ok(Call::Forget {
                    id: args.id_required("node")?,
                })
            },
            result: |_, args, reply| match reply {
                Reply::Done => json(&Forgotten {
                    forgotten: args.id_required("node")?,
                }),
                _ => Err(misplaced()),
            },
        },
    },
];

#[derive(Serialize)]
struct Count {
    count: usize,
}

#[derive(Serialize)]
struct FingerFixed {
    index: u32,
    finger: FingerRow,
}

#[derive(Serialize)]
struct Notified<'a> {
    accepted: bool,
    predecessor: Node<'a>,
}

#[derive(Serialize)]
struct Forgotten {
    forgotten: Id,
}

fn leave(args: &Args<'_>) -> Result<Call, Failure> {
    match args.text_of("mode")?.as_deref() {
        None | Some("orderly") => Ok(Call::Leave(LeaveMode::Orderly)),
        Some("immediate") => Ok(Call::Leave(LeaveMode::Immediate)),
        Some(_) => Err(Failure::params(
            "parameter 'mode' is \"orderly\" or \"immediate\"; leave it out for \"orderly\"",
        )),
    }
}

fn target(args: &Args<'_>) -> Result<Option<Target>, Failure> {
    match (args.id("id")?, args.key("key")?) {
        (None, None) => Ok(None),
        (Some(id), None) => Ok(Some(Target::Id(id))),
        (None, Some(key)) => Ok(Some(Target::Key(key))),
        (Some(_), Some(_)) => Err(Failure::params(
            "a lookup takes 'id' or 'key', not both; leave one out",
        )),
    }
}

fn lookup(args: &Args<'_>, reply: &Reply) -> Outcome {
    #[derive(Serialize)]
    struct Lookup<'a> {
        #[serde(flatten)]
        node: Node<'a>,
        hops: usize,
        path: &'a [Id],
        #[serde(skip_serializing_if = "Option::is_none")]
        point: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none")]
        copies: Option<Vec<Node<'a>>>,
    }
    let Reply::Lookup {
        node,
        path,
        hops,
        copies,
    } = reply
    else {
        return Err(misplaced());
    };
    let key = args.key("key")?;
    json(&Lookup {
        node: node.into(),
        hops: *hops,
        path,
        point: key.as_ref().map(Key::point),
        copies: key.is_some().then(|| nodes(copies)),
    })
}

fn joined(reply: &Reply) -> Outcome {
    #[derive(Serialize)]
    struct Joined<'a> {
        id: Id,
        predecessor: Node<'a>,
        successors: Vec<Node<'a>>,
    }
    match reply {
        Reply::Joined {
            id,
            predecessor,
            successors,
        } => json(&Joined {
            id: *id,
            predecessor: predecessor.into(),
            successors: nodes(successors),
        }),
        _ => Err(misplaced()),
    }
}

fn left(reply: &Reply) -> Outcome {
    #[derive(Serialize)]
    struct Left<'a> {
        transferred: u64,
        to: &'a [Id],
    }
    match reply {
        Reply::Left { transferred, to } => json(&Left {
            transferred: *transferred,
            to,
        }),
        _ => Err(misplaced()),
    }
}

fn stabilized(reply: &Reply) -> Outcome {
    #[derive(Serialize)]
    struct Stabilized<'a> {
        successor: Option<Node<'a>>,
        successors: Vec<Node<'a>>,
        changed: bool,
    }
    match reply {
        Reply::Stabilized {
            successors,
            changed,
        } => json(&Stabilized {
            successor: successors.first().map(Node::from),
            successors: nodes(successors),
            changed: *changed,
        }),
        _ => Err(misplaced()),
    }
}

fn fingers(reply: &Reply) -> Outcome {
    #[derive(Serialize)]
    struct Fingers<'a> {
        predecessor: Node<'a>,
        successors: Vec<Node<'a>>,
        fingers: Vec<FingerRow>,
    }
    match reply {
        Reply::Fingers {
            predecessor,
            successors,
            fingers,
        } => json(&Fingers {
            predecessor: predecessor.into(),
            successors: nodes(successors),
            fingers: fingers.iter().map(FingerRow::from).collect(),
        }),
        _ => Err(misplaced()),
    }
}
