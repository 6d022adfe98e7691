//! Who may come in: the rows of the threat table that concern callers, a test named after each, on
//! the service alone and through the datagram's door.

mod code;
mod key;
mod stranger;
mod token;
mod udp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roundel::base::access::{Access, Scope};
use roundel::base::call::Call;
use roundel::base::endpoint::SocketAddr;
use roundel::base::time::{Now, Time, WallTime};
use roundel::security::hex;
use roundel::security::key::{ClusterKey, Keyring};
use roundel::security::rnd1::Carriage;
use roundel::security::rnd1::client::{ClientSession, Received, Sent};
use roundel::service::caller::Keys;
use roundel::service::exchange::{Answer, Request, Seal, Transport};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::fake::{Alone, Setup, alone};
use crate::upnp::{AT, FROM, header, request};

const JSON: (&str, &str) = ("Content-Type", "application/json");
/// A wall clock that is set: 2026-06-01.
const SET_MS: u64 = 1_780_272_000_000;

pub fn key(byte: u8) -> ClusterKey {
    ClusterKey::new(0, [byte; 32])
}

/// A board without sockets, with clocks and keys that a test holds.
pub struct House {
    pub alone: Alone,
    pub keys: watch::Sender<Arc<Keys>>,
    pub micros: Arc<AtomicU64>,
    pub wall_ms: Arc<AtomicU64>,
}

/// Of a cluster with key 1.
pub fn keyed() -> House {
    house(Access::Keyed, Some(Keyring::new(key(1))), |_| {})
}

pub fn house(
    access: Access,
    keyring: Option<Keyring>,
    set: impl FnOnce(&mut roundel::service::Facts) + 'static,
) -> House {
    let keys = watch::Sender::new(Arc::new(Keys { access, keyring }));
    let micros = Arc::new(AtomicU64::new(10_000_000));
    let wall_ms = Arc::new(AtomicU64::new(SET_MS));
    let (of, wall_of) = (micros.clone(), wall_ms.clone());
    let receiver = keys.subscribe();
    let setup = Setup {
        facts: Box::new(move |facts| {
            facts.entrance.keys = receiver;
            facts.entrance.now = Arc::new(move || Now {
                time: Time(of.load(Ordering::Relaxed)),
                wall: WallTime(wall_of.load(Ordering::Relaxed)),
            });
            set(facts);
        }),
        ..Setup::default()
    };
    House {
        alone: alone(setup, AT.parse().unwrap()),
        keys,
        micros,
        wall_ms,
    }
}

impl House {
    pub async fn answer(&self, request: &Request) -> Answer {
        self.alone.service.handle(request).await.sealed(false)
    }

    /// Calls that changed something, carried out so far.
    pub fn writes(&self) -> usize {
        let state = self.alone.board.state();
        let writes = |call: &&Call| {
            matches!(
                call,
                Call::Put { .. } | Call::Remove { .. } | Call::Join { .. } | Call::Leave(_)
            )
        };
        state.calls.iter().filter(writes).count()
    }
}

/// A document posted by a stranger on the LAN.
pub fn posted(body: &Value) -> Request {
    request("POST", "/rpc", &[JSON], &body.to_string())
}

pub fn put(id: u64, key: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "put", "params": {"key": key, "value": 1}})
}

pub fn get(id: u64, key: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "get", "params": {"key": key}})
}

/// The same from a process on the board itself.
pub fn from_here(mut request: Request) -> Request {
    request.from = SocketAddr::new(request.local.ip(), 50_000);
    request
}

/// Status, code and reason of a refusal.
pub fn refusal(answer: &Answer) -> (u16, i64, String) {
    let body = std::str::from_utf8(&answer.body).unwrap();
    crate::fake::error_of(answer.status, body)
}

/// Asserts -32002, with a next step.
pub fn assert_unauthorised(answer: &Answer) {
    let (status, code, reason) = refusal(answer);
    assert_eq!((status, code), (401, -32002), "{reason}");
    assert!(reason.contains("; "), "{reason} says no next step");
}

/// A client on the LAN that holds a key.
pub struct Client {
    session: ClientSession,
    transport: Transport,
    host: String,
}

impl Client {
    pub async fn begin(house: &House, key: &ClusterKey, transport: Transport) -> Client {
        let answer = house.answer(&request("GET", "/rnd1", &[], "")).await;
        assert_eq!(answer.status, 200);
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        let (board, challenge) = (hex::decode(&text("to")), hex::decode(&text("nonce")));
        let boot = said["boot"].as_u64().unwrap();
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut own = [0; 16];
        own[..8].copy_from_slice(&number);
        Client {
            session: ClientSession::new(key, board.unwrap(), boot, challenge.unwrap(), own),
            transport,
            host: AT.to_owned(),
        }
    }

    /// A request with its credentials as a header.
    pub fn ask(&mut self, method: &str, target: &str, content_type: &str, body: &str) -> Request {
        let shown = self.sign(method, target, content_type, body);
        let mut fields = vec![("Authorization", shown.as_str())];
        if !content_type.is_empty() {
            fields.push(("Content-Type", content_type));
        }
        let mut request = request(method, target, &fields, body);
        request.transport = self.transport;
        request
    }

    /// Bytes of the text of the next credentials.
    pub fn text_bytes(&self) -> usize {
        self.session.text_bytes()
    }

    /// The credentials of the next request.
    pub fn sign(&mut self, method: &str, target: &str, content_type: &str, body: &str) -> String {
        let host = self.host.clone();
        let carriage = self.carriage();
        let sent = Sent {
            carriage,
            method,
            target,
            host: &host,
            content_type,
        };
        self.session.sign(&sent, body.as_bytes()).to_string()
    }

    fn carriage(&self) -> Carriage {
        match self.transport {
            Transport::Tcp => Carriage::Http,
            Transport::Udp => Carriage::Httpu,
        }
    }

    /// A document with its credentials as a header.
    pub fn post(&mut self, body: &Value) -> Request {
        self.ask("POST", "/rpc", "application/json", &body.to_string())
    }

    /// The answer is the board's to that request.
    pub fn checks(&self, request: &Request, answer: &Answer) -> bool {
        let fields = request.fields.as_ref().unwrap();
        let content_type = fields.content_type.as_deref().unwrap_or_default();
        let shown = fields.authorization.as_deref().unwrap();
        let seq = shown
            .split("seq=")
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap();
        let received = Received {
            status: answer.status,
            content_type: answer.content_type,
            body: &answer.body,
            proof: header(answer, Seal::FIELD).unwrap_or_default(),
        };
        let sent = Sent {
            carriage: self.carriage(),
            method: &request.method,
            target: &request.target,
            host: &self.host,
            content_type,
        };
        self.session.check(&sent, seq.parse().unwrap(), &received)
    }
}

#[test]
fn the_callers_of_these_tests_are_strangers_on_the_lan() {
    let (from, at): (SocketAddr, SocketAddr) = (FROM.parse().unwrap(), AT.parse().unwrap());
    assert!(!from.ip().is_loopback() && from.ip() != at.ip());
    assert_eq!(Scope::ALL.len(), 3);
}
