//! The services and their actions, each the JSON-RPC method it is.

use crate::base::call::{NodeState, Overview};
use crate::base::id::Id;
use crate::base::limit;
use crate::base::member::Standing;

use super::{Action, In, Kind, Out, Owner, Service, Source, Variable};

const STATES: &[&str] = &["unknown", "stop", "activating", "active", "terminating"];

/// A variable that only gives arguments their type.
const fn argument(name: &'static str, kind: Kind) -> Variable {
    Variable {
        name,
        kind,
        allowed: &[],
        range: None,
        event: None,
    }
}

/// A variable that subscribers are told of.
const fn evented(name: &'static str, kind: Kind, event: fn(&Overview) -> String) -> Variable {
    Variable {
        event: Some(event),
        ..argument(name, kind)
    }
}

const fn one_of(variable: Variable, allowed: &'static [&'static str]) -> Variable {
    Variable {
        allowed,
        ..variable
    }
}

const fn takes(name: &'static str, variable: &'static str, param: &'static str) -> In {
    In {
        name,
        variable,
        param,
    }
}

const fn gives(name: &'static str, variable: &'static str, member: &'static str) -> Out {
    Out {
        name,
        variable,
        source: Source::Member(member),
    }
}

const ID: Variable = argument("A_ARG_TYPE_Id", Kind::Text);
const KEY: Variable = argument("A_ARG_TYPE_Key", Kind::Text);
const NAME: Variable = argument("A_ARG_TYPE_Name", Kind::Text);
const ADDRESS: Variable = argument("A_ARG_TYPE_Address", Kind::Text);
const VERSION: Variable = argument("A_ARG_TYPE_Version", Kind::Text);
const COUNT: Variable = argument("A_ARG_TYPE_Count", Kind::Count);
const FLAG: Variable = argument("A_ARG_TYPE_Flag", Kind::Flag);
const JSON: Variable = argument("A_ARG_TYPE_Json", Kind::Json);

/// The services, those of the ring node first.
pub static SERVICES: &[Service] = &[RING, BUCKET, CLUSTER, ROUND];

const RING: Service = Service {
    owner: Owner::RingNode,
    domain: "roundel-org",
    name: "Ring",
    version: 1,
    path: "ring",
    variables: &[
        one_of(
            evented("State", Kind::Text, |overview| {
                overview.state.as_str().to_owned()
            }),
            STATES,
        ),
        evented("Predecessor", Kind::Text, |overview| {
            overview.predecessor.to_string()
        }),
        evented("Successor", Kind::Text, |overview| {
            let first = overview.successors.first();
            first.unwrap_or(&overview.id).to_string()
        }),
        ID,
        KEY,
        NAME,
        ADDRESS,
        VERSION,
        argument("A_ARG_TYPE_Port", Kind::Port),
        COUNT,
        FLAG,
        JSON,
        one_of(
            argument("A_ARG_TYPE_Mode", Kind::Text),
            &["orderly", "immediate"],
        ),
    ],
    actions: &[
        Action {
            name: "GetState",
            method: "get_node_state",
            doc: None,
            takes: &[],
            gives: &[
                gives("Id", ID.name, "hash"),
                gives("Name", NAME.name, "name"),
                gives("Cluster", NAME.name, "cluster"),
                gives("Version", VERSION.name, "version"),
                gives("Address", ADDRESS.name, "addr"),
                gives("Port", "A_ARG_TYPE_Port", "port"),
                gives("State", "State", "state"),
            ],
        },
        Action {
            name: "GetFingers",
            method: "get_ring_fingers",
            doc: None,
            takes: &[],
            gives: &[
                gives("Predecessor", "Predecessor", "predecessor/id"),
                gives("Successors", JSON.name, "successors"),
                gives("Fingers", JSON.name, "fingers"),
            ],
        },
        lookup("FindSuccessor", "find_ring_successor"),
        lookup("FindPredecessor", "find_ring_predecessor"),
        Action {
            name: "Join",
            method: "join_ring",
            doc: None,
            takes: &[takes("Sponsor", ADDRESS.name, "sponsoring_node")],
            gives: &[
                gives("Id", ID.name, "id"),
                gives("Predecessor", "Predecessor", "predecessor/id"),
                gives("Successors", JSON.name, "successors"),
            ],
        },
        Action {
            name: "Leave",
            method: "leave_ring",
            doc: None,
            takes: &[takes("Mode", "A_ARG_TYPE_Mode", "mode")],
            gives: &[
                gives("Transferred", COUNT.name, "transferred"),
                gives("To", JSON.name, "to"),
            ],
        },
    ],
};

/// A lookup by key, by id, or with both empty of this board's own neighbour.
const fn lookup(name: &'static str, method: &'static str) -> Action {
    const TAKES: &[In] = &[takes("Key", KEY.name, "key"), takes("Id", ID.name, "id")];
    const GIVES: &[Out] = &[
        gives("NodeId", ID.name, "id"),
        gives("Name", NAME.name, "name"),
        gives("Address", ADDRESS.name, "address"),
        gives("Alive", FLAG.name, "alive"),
        gives("Hops", COUNT.name, "hops"),
        gives("Path", JSON.name, "path"),
    ];
    Action {
        name,
        method,
        doc: None,
        takes: TAKES,
        gives: GIVES,
    }
}

const CONSISTENCY: &str = "A_ARG_TYPE_Consistency";

const BUCKET: Service = Service {
    owner: Owner::RingNode,
    domain: "roundel-org",
    name: "Bucket",
    version: 1,
    path: "bucket",
    variables: &[
        evented("ItemCount", Kind::Count, |overview| {
            count(overview.health.items)
        }),
        ID,
        KEY,
        VERSION,
        COUNT,
        FLAG,
        JSON,
        argument("A_ARG_TYPE_Bytes", Kind::Bytes),
        Variable {
            range: Some((0, limit::PAGE_ITEMS_MAX as u32)),
            ..argument("A_ARG_TYPE_Limit", Kind::Count)
        },
        one_of(argument(CONSISTENCY, Kind::Text), &["quorum", "one", "all"]),
    ],
    actions: &[
        Action {
            name: "Put",
            method: "put",
            doc: None,
            takes: &[
                takes("Key", KEY.name, "key"),
                takes("Value", JSON.name, "value"),
                takes("ValueBytes", "A_ARG_TYPE_Bytes", "value_base64"),
                takes("Consistency", CONSISTENCY, "consistency"),
            ],
            gives: &[
                gives("Node", ID.name, "node"),
                gives("Version", VERSION.name, "version"),
                gives("Acks", COUNT.name, "acks"),
                gives("Hinted", COUNT.name, "hinted"),
                gives("Degraded", FLAG.name, "degraded"),
            ],
        },
        Action {
            name: "Get",
            method: "get",
            doc: None,
            takes: &[
                takes("Key", KEY.name, "key"),
                takes("Consistency", CONSISTENCY, "consistency"),
            ],
            gives: &[
                gives("Value", JSON.name, "value"),
                gives("ValueBytes", "A_ARG_TYPE_Bytes", "value_base64"),
                Out {
                    name: "IsBytes",
                    variable: FLAG.name,
                    source: Source::Has("value_base64"),
                },
                gives("Version", VERSION.name, "version"),
                gives("Acks", COUNT.name, "acks"),
                gives("Degraded", FLAG.name, "degraded"),
            ],
        },
        Action {
            name: "Remove",
            method: "remove",
            doc: None,
            takes: &[
                takes("Key", KEY.name, "key"),
                takes("Consistency", CONSISTENCY, "consistency"),
            ],
            gives: &[
                gives("Removed", FLAG.name, "removed"),
                gives("Node", ID.name, "node"),
                gives("Version", VERSION.name, "version"),
                gives("Acks", COUNT.name, "acks"),
                gives("Hinted", COUNT.name, "hinted"),
                gives("Degraded", FLAG.name, "degraded"),
            ],
        },
        Action {
            name: "ListItems",
            method: "list_items",
            doc: None,
            takes: &[
                takes("Prefix", KEY.name, "prefix"),
                takes("After", KEY.name, "after"),
                takes("Limit", "A_ARG_TYPE_Limit", "limit"),
            ],
            gives: &[
                gives("Items", JSON.name, "items"),
                gives("Next", KEY.name, "next"),
            ],
        },
    ],
};

const CLUSTER: Service = Service {
    owner: Owner::RingNode,
    domain: "roundel-org",
    name: "Cluster",
    version: 1,
    path: "cluster",
    variables: &[
        evented("MemberCount", Kind::Count, |overview| {
            count(overview.members.len() as u64)
        }),
        evented("Layout", Kind::Text, layout),
        ID,
        NAME,
        COUNT,
        FLAG,
        JSON,
        one_of(argument("A_ARG_TYPE_State", Kind::Text), STATES),
        argument("A_ARG_TYPE_Text", Kind::Text),
    ],
    actions: &[
        Action {
            name: "GetNodes",
            method: "get_cluster_state",
            doc: None,
            takes: &[],
            gives: &[
                gives("Cluster", NAME.name, "cluster/name"),
                gives("ClusterId", ID.name, "cluster/id"),
                gives("Copies", COUNT.name, "cluster/copies"),
                gives("Settled", FLAG.name, "cluster/settled"),
                gives("Nodes", JSON.name, "cluster/nodes"),
            ],
        },
        Action {
            name: "GetStats",
            method: "get_node_stats",
            doc: None,
            takes: &[],
            gives: &[
                gives("State", "A_ARG_TYPE_State", "state"),
                gives("Items", COUNT.name, "items"),
                gives("UnderReplicated", COUNT.name, "under_replicated"),
                gives("SafeToUnplug", FLAG.name, "safe_to_unplug"),
                gives("UnplugReason", "A_ARG_TYPE_Text", "unplug_reason"),
                gives("Problems", JSON.name, "problems"),
                gives("Stats", JSON.name, ""),
            ],
        },
    ],
};

const fn fixed(name: &'static str, variable: &'static str, text: &'static str) -> Out {
    Out {
        name,
        variable,
        source: Source::Fixed(text),
    }
}

/// Names of actions, arguments and variables are Round's.
const ROUND: Service = Service {
    owner: Owner::Round,
    domain: "cybergarage-org",
    name: "round",
    version: 1,
    path: "round",
    variables: &[
        // A board's address changes with its lease.
        evented("Address", Kind::Text, |overview| {
            overview.endpoint.ip().to_string()
        }),
        evented("Port", Kind::Port, |overview| {
            overview.endpoint.port().to_string()
        }),
        argument("Name", Kind::Text),
        argument("Version", Kind::Text),
        argument("Protocol", Kind::Text),
        argument("Path", Kind::Text),
    ],
    actions: &[
        Action {
            name: "GetProductInfo",
            method: "get_node_state",
            doc: Some("Says which product this is."),
            takes: &[],
            gives: &[
                fixed("ProductName", "Name", "roundel"),
                gives("ProductVersion", "Version", "version"),
            ],
        },
        Action {
            name: "GetConnectionInfo",
            method: "get_node_state",
            doc: Some("Says where JSON-RPC is answered."),
            takes: &[],
            gives: &[
                gives("Address", "Address", "addr"),
                gives("Port", "Port", "port"),
                fixed("Protocol", "Protocol", "http"),
                fixed("Path", "Path", "/rpc"),
            ],
        },
    ],
};

fn count(value: u64) -> String {
    u32::try_from(value).unwrap_or(u32::MAX).to_string()
}

/// 16 hex digits that change when the copies' places may: with the cluster, its boards and where
/// they stand.
fn layout(overview: &Overview) -> String {
    let mut text = match &overview.cluster {
        Some(cluster) => format!("{} {} {}", cluster.id, cluster.copies, cluster.points),
        None => String::new(),
    };
    for member in &overview.members {
        let standing = match member.standing {
            Standing::Joining => 'j',
            Standing::Member => 'm',
            Standing::Leaving => 'v',
            Standing::Left => 'l',
            Standing::Forgotten => 'f',
            Standing::Diskless => 'd',
        };
        text.push_str(&format!(" {}{standing}", member.id));
    }
    Id::of(text.as_bytes()).to_string()[..16].to_owned()
}

/// Every state a board can be in is listed.
const _: () = {
    let last = NodeState::Terminating as usize;
    assert!(STATES.len() == last + 1);
};
