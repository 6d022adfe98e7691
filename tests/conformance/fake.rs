//! A board in memory and a server around it, for tests of the service alone.
//!
//! The bucket is a map, the ring is a list of members a test writes; a relay goes straight to the
//! service of another fake. It checks nothing the real board checks.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use roundel::base::access::{Access, Scope};
use roundel::base::call::{
    Call, CallError, Coverage, Finger, Health, MemberView, NodeRef, NodeState, Overview, Reply,
    Target,
};
use roundel::base::endpoint::SocketAddr;
use roundel::base::id::Id;
use roundel::base::item::{Item, Key, Record};
use roundel::base::keys::{CodeView, Digits, Fingerprint, KeyName, KeyView};
use roundel::base::member::{Cluster, ClusterId, RingMode, Standing};
use roundel::base::rng::seeded;
use roundel::base::version::{Stamp, Version};
use roundel::runtime::client::Connection;
use roundel::runtime::driver::Clock;
use roundel::runtime::gena;
use roundel::runtime::http::{FrameConnection, Options, handle_datagram, post_datagram, serve};
use roundel::runtime::owner::Keeper;
use roundel::runtime::update::Images;
use roundel::service::caller::{Entrance, Keys};
use roundel::service::method::Table;
use roundel::service::{Board, Facts, Service};
use serde_json::value::RawValue;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, watch};

/// A test fails when something takes longer.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A board in memory.
#[derive(Clone)]
pub struct Fake(Arc<Mutex<State>>);

/// What a test may set.
pub struct State {
    pub id: Id,
    pub endpoint: SocketAddr,
    pub members: Vec<MemberView>,
    pub items: BTreeMap<Key, Record>,
    pub stamp: u64,
    pub state: NodeState,
    pub store: String,
    /// Members that never answer a relay.
    pub silent: BTreeSet<Id>,
    /// Services of other fakes.
    pub others: BTreeMap<Id, Service<Fake>>,
    /// The next call fails so.
    pub failure: Option<CallError>,
    pub calls: Vec<Call>,
    /// Waits take their time, as the feed needs it.
    pub patient: bool,
}

impl Fake {
    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn answer(&self, call: &Call) -> Result<Reply, CallError> {
        let mut state = self.state();
        state.calls.push(call.clone());
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        match state.bucket(call)? {
            Some(reply) => Ok(reply),
            None => state.ring(call),
        }
    }
}

impl State {
    /// Answers what concerns items.
    fn bucket(&mut self, call: &Call) -> Result<Option<Reply>, CallError> {
        let coverage = Coverage {
            acks: 1,
            hinted: 0,
            degraded: false,
        };
        Ok(Some(match call {
            Call::Put { key, value, .. } => {
                let version = self.next_version();
                let record = Record {
                    version,
                    value: Some(value.clone()),
                };
                let existed = self.items.insert(key.clone(), record).is_some();
                Reply::Written {
                    node: self.id,
                    version,
                    existed,
                    coverage,
                }
            }
            Call::Remove { key, .. } => {
                let version = self.next_version();
                let existed = self.items.remove(key).is_some();
                Reply::Written {
                    node: self.id,
                    version,
                    existed,
                    coverage,
                }
            }
            Call::Get { key, .. } => {
                let record = self.items.get(key).ok_or(CallError::NotFound)?;
                let value = record.value.clone().ok_or(CallError::NotFound)?;
                Reply::Value {
                    value,
                    version: record.version,
                    coverage,
                }
            }
            Call::ListItems(page) | Call::ScanItems(page) => {
                let mut found = self.items.iter().filter(|(key, _)| {
                    key.as_str().starts_with(&page.prefix)
                        && page.after.as_ref().is_none_or(|after| *key > after)
                });
                let items: Vec<Item> = found
                    .by_ref()
                    .take(page.limit)
                    .map(|(key, record)| Item {
                        key: key.clone(),
                        record: record.clone(),
                    })
                    .collect();
                let more = found.next().is_some();
                let next = items.last().filter(|_| more).map(|item| item.key.clone());
                Reply::Page {
                    items,
                    next,
                    degraded: false,
                }
            }
            _ => return Ok(None),
        }))
    }

    /// Answers everything else.
    fn ring(&self, call: &Call) -> Result<Reply, CallError> {
        let this = self.node();
        Ok(match call {
            Call::FindSuccessor(target) | Call::FindPredecessor(target) => Reply::Lookup {
                copies: match target {
                    Some(Target::Key(_)) => vec![this.clone()],
                    _ => Vec::new(),
                },
                path: vec![self.id],
                node: this,
                hops: 0,
            },
            Call::Fingers => Reply::Fingers {
                predecessor: this.clone(),
                successors: vec![this.clone()],
                fingers: (0..256).map(|index| self.finger(index)).collect(),
            },
            Call::Stabilize => Reply::Stabilized {
                successors: vec![this],
                changed: false,
            },
            Call::InitFingers => Reply::FingersInitialized { count: 256 },
            Call::FixFingers => Reply::FingerFixed(self.finger(7)),
            Call::Notify { node } => Reply::Notified {
                accepted: *node == self.endpoint,
                predecessor: this,
            },
            Call::Join { .. } => Reply::Joined {
                id: self.id,
                predecessor: this.clone(),
                successors: vec![this],
            },
            Call::Leave(_) => Reply::Left {
                transferred: 3,
                to: vec![self.id],
            },
            Call::Forget { id } if self.members.iter().any(|m| m.id == *id) => Reply::Done,
            Call::Forget { id } => return Err(CallError::UnknownNode(*id)),
            Call::MakeCode => Reply::Code {
                code: "1234-5678".parse().unwrap(),
                view: CodeView {
                    left: Duration::from_millis(599_900),
                    attempts: 5,
                },
            },
            Call::KeyState | Call::EnterCode { .. } => Reply::Keys(Box::new(self.keys())),
            Call::Overview => Reply::Overview(Box::new(self.overview())),
            Call::Relay { dest, .. } => return Err(CallError::UnknownNode(*dest)),
            Call::Confirm { .. } => return Err(CallError::Invalid("compare again".into())),
            other => panic!("{other:?} concerns items"),
        })
    }

    fn next_version(&mut self) -> Version {
        self.stamp += 1;
        Version {
            stamp: Stamp(self.stamp),
            node: self.id,
        }
    }

    fn node(&self) -> NodeRef {
        NodeRef {
            id: self.id,
            name: Some("fake".parse().unwrap()),
            endpoint: Some(self.endpoint),
            alive: true,
        }
    }

    fn finger(&self, index: u32) -> Finger {
        Finger {
            index,
            start: self.id.plus_power_of_two(index),
            node: self.node(),
        }
    }

    fn keys(&self) -> KeyView {
        KeyView {
            access: Access::Keyed,
            current: KeyName {
                kid: "0011223344556677".into(),
                epoch: 3,
            },
            previous: None,
            next: None,
            window: Duration::ZERO,
            members: 1,
            fingerprint: Fingerprint::Unneeded,
            asking: vec![],
            code: Some(CodeView {
                left: Duration::from_secs(7),
                attempts: 2,
            }),
            revoked: vec![],
            waiting: vec![],
        }
    }

    fn overview(&self) -> Overview {
        Overview {
            id: self.id,
            name: "fake".parse().unwrap(),
            endpoint: self.endpoint,
            cluster_name: "home".parse().unwrap(),
            cluster: Some(Cluster {
                id: ClusterId([7; 16]),
                name: "home".parse().unwrap(),
                copies: 3,
                points: 128,
                mode: RingMode::Full,
            }),
            state: self.state,
            boot: 4,
            uptime: Duration::from_millis(1_500),
            members: self.members.clone(),
            fingerprint: Fingerprint::Complete(Digits::of(&[1; 32])),
            settled: true,
            successors: vec![self.id],
            predecessor: self.id,
            health: Health {
                items: self.items.len() as u64,
                safe_to_unplug: true,
                store: self.store.clone(),
                ..Health::default()
            },
            counters: vec![("frames_sent", 12)],
        }
    }
}

impl Board for Fake {
    // Boxed: a relay runs another fake's service within this one's.
    #[allow(refining_impl_trait)]
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Reply, CallError>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            if let Call::Relay { dest, request } = &call {
                let (silent, other) = {
                    let state = this.state();
                    (state.silent.contains(dest), state.others.get(dest).cloned())
                };
                if silent {
                    std::future::pending::<()>().await;
                }
                if let Some(other) = other {
                    return Ok(Reply::Relayed(other.handle_relayed(request.clone()).await));
                }
            }
            this.answer(&call)
        })
    }

    /// Bounds end at once unless the board is patient, so that tests of silence are quick; drawn
    /// delays are not waited for.
    async fn sleep(&self, duration: Duration) {
        let patient = self.state().patient;
        match patient {
            true => tokio::time::sleep(duration).await,
            false => tokio::task::yield_now().await,
        }
    }
}

/// A member line of that id and address.
pub fn member(id: Id, endpoint: SocketAddr, alive: bool) -> MemberView {
    MemberView {
        id,
        name: Some("fake".parse().unwrap()),
        endpoint: Some(endpoint),
        version: Some("0.1.0".into()),
        standing: Standing::Member,
        alive,
        suspect: false,
        for_time: Duration::from_millis(250),
        boot: 4,
        giving_up: None,
    }
}

/// A served fake board: TCP and UDP of one port number on loopback.
pub struct Served {
    pub board: Fake,
    pub service: Service<Fake>,
    pub at: SocketAddr,
    pub frames: mpsc::Receiver<FrameConnection>,
    pub stop: watch::Sender<bool>,
    /// Tells the publisher of events that the board may have changed.
    pub changed: watch::Sender<()>,
}

/// What a test may change before the board is served.
pub struct Setup {
    pub id: Id,
    pub table: Table,
    pub options: Options,
    pub facts: Box<dyn FnOnce(&mut Facts)>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            id: Id::of(b"fake"),
            table: Table::standard(),
            options: Options::new(|_| false),
            facts: Box::new(|_| {}),
        }
    }
}

/// Serves a fake board as the product would.
pub async fn served() -> Served {
    served_with(Setup::default()).await
}

/// A fake board and its service, of which nothing is bound or served.
pub struct Alone {
    pub board: Fake,
    pub service: Service<Fake>,
    /// Tells the publisher of events that the board may have changed.
    pub changed: watch::Sender<()>,
}

/// Makes a fake board and its service; needs a runtime for the publisher of events.
pub fn alone(setup: Setup, at: SocketAddr) -> Alone {
    let board = Fake(Arc::new(Mutex::new(State {
        id: setup.id,
        endpoint: at,
        members: vec![member(setup.id, at, true)],
        items: BTreeMap::new(),
        stamp: 0,
        state: NodeState::Active,
        store: "open".into(),
        silent: BTreeSet::new(),
        others: BTreeMap::new(),
        failure: None,
        calls: Vec::new(),
        patient: false,
    })));
    let (changed, changes) = watch::channel(());
    let mut facts = Facts {
        id: setup.id,
        name: "fake".parse().unwrap(),
        version: "0.1.0".into(),
        endpoint: at,
        cluster_name: "home".parse().unwrap(),
        boot: 4,
        config: RawValue::from_string(r#"{"cluster":"home"}"#.into()).unwrap(),
        problems: Arc::default(),
        medium: None,
        hosts: vec!["boards.example".into()],
        description_xml: Arc::new(|local| Bytes::from(format!("<root>{local}</root>"))),
        config_id: Default::default(),
        server: "Linux/0 UPnP/2.0 roundel/0".into(),
        publisher: gena::start(board.clone(), changes, seeded([2; 32], 0)),
        // Nobody owns it, and nothing can be kept there.
        owner: Keeper::new(Path::new("/nowhere")).unwrap(),
        // It was not started from an image.
        installer: Images::new(Path::new("/nowhere"), None),
        discovered: Arc::new(|| {
            let far = "192.0.2.9:38400".parse().unwrap();
            vec![("barn".parse().unwrap(), Id::of(b"far"), far)]
        }),
        memory_bytes: Arc::new(|| Some(9_000_000)),
        written_bytes: Arc::new(|| Some(70_000)),
        journal: Arc::default(),
        entrance: Entrance {
            keys: watch::Sender::new(Arc::new(Keys {
                access: Access::Provisional,
                keyring: None,
            }))
            .subscribe(),
            loopback: Scope::Admin,
            soap_writes: true,
            on_link: Arc::new(|_| true),
            now: {
                let clock = Clock::start();
                Arc::new(move || clock.now())
            },
        },
        reply_delay_mean_ms: 0,
        seed: [1; 32],
    };
    (setup.facts)(&mut facts);
    let service = Service::with_table(board.clone(), facts, setup.table);
    Alone {
        board,
        service,
        changed,
    }
}

/// Serves a fake board.
pub async fn served_with(mut setup: Setup) -> Served {
    let (tcp, udp) = bind().await;
    let at = tcp.local_addr().unwrap();
    let options = std::mem::replace(&mut setup.options, Options::new(|_| false));
    let Alone {
        board,
        service,
        changed,
    } = alone(setup, at);
    let (frames_in, frames) = mpsc::channel(4);
    let (stop, stopped) = watch::channel(false);
    let (posts_in, posts) = mpsc::channel(4);
    let serving = serve(
        tcp,
        service.clone(),
        frames_in,
        Some(posts_in),
        options,
        stopped,
    );
    tokio::spawn(serving);
    tokio::spawn(serve_udp(udp, service.clone(), at, posts));
    Served {
        board,
        service,
        at,
        frames,
        stop,
        changed,
    }
}

/// TCP and UDP sockets of the same port.
async fn bind() -> (TcpListener, UdpSocket) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (tcp, udp);
        }
    }
}

/// One datagram after the other, so that a test sees silence by the order of answers.
async fn serve_udp(
    socket: UdpSocket,
    service: Service<Fake>,
    at: SocketAddr,
    mut posts: mpsc::Receiver<roundel::service::exchange::Post>,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            Some(post) = posts.recv() => {
                let datagram = post_datagram(&post).unwrap();
                socket.send_to(&datagram, post.to).await.unwrap();
                continue;
            }
        };
        let Ok((length, from)) = received else {
            continue;
        };
        let datagram = Bytes::copy_from_slice(&buffer[..length]);
        let outgoing = handle_datagram(&service, &datagram, from, at).await;
        if let Some(answer) = outgoing.answer {
            socket.send_to(&answer, from).await.unwrap();
        }
        if let Some(post) = outgoing.post {
            let datagram = post_datagram(&post).unwrap();
            socket.send_to(&datagram, post.to).await.unwrap();
        }
    }
}

impl Served {
    /// Posts JSON to /rpc over TCP.
    pub async fn rpc(&self, body: &str) -> (u16, String) {
        self.post("/rpc", "application/json", body).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: &str) -> (u16, String) {
        let mut connection = Connection::new(self.at);
        let body = Bytes::copy_from_slice(body.as_bytes());
        let (status, body) = connection
            .post(path, content_type, body, DEADLINE)
            .await
            .unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let (status, body) = Connection::new(self.at).get(path, DEADLINE).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The result of a method that is expected to succeed.
    pub async fn result(&self, method: &str, params: serde_json::Value) -> serde_json::Value {
        let request = serde_json::json!({
            "jsonrpc": "2.0", "method": method, "params": params, "id": 1,
        });
        let (status, body) = self.rpc(&request.to_string()).await;
        let mut answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 200, "{method}: {body}");
        answer["result"].take()
    }

    /// Status and error of a method that is expected to fail; checks that the reason is told.
    pub async fn error(&self, method: &str, params: serde_json::Value) -> (u16, i64, String) {
        let request = serde_json::json!({
            "jsonrpc": "2.0", "method": method, "params": params, "id": 1,
        });
        let (status, body) = self.rpc(&request.to_string()).await;
        error_of(status, &body)
    }
}

/// Status, code and reason of an error answer.
pub fn error_of(status: u16, body: &str) -> (u16, i64, String) {
    let answer: serde_json::Value = serde_json::from_str(body).unwrap();
    let code = answer["error"]["code"]
        .as_i64()
        .unwrap_or_else(|| panic!("{body}"));
    let reason = answer["error"]["data"]["reason"].as_str();
    let reason = reason.unwrap_or_else(|| panic!("{body} gives no reason"));
    (status, code, reason.to_owned())
}
