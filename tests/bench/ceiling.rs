//! The least that can be called a durable quorum put: JSON-RPC over hyper, each record in a log
//! that is synced once for all that wait, copies to two peers over TCP, an answer once two of the
//! three logs are synced.
//!
//! Deliberately absent: checksums, recovery, membership, placement, keys, versions. Nothing can be
//! read back after a restart; it shows what the machine, hyper and the sockets cost by themselves.
//!
//! On a link a record is the length of what follows (u32), the length of the key (u16), the key and
//! the value; what comes back is how many more records are synced (u32). Numbers are little-endian.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc as channel};

use crate::bare::{accept, event_loop, local};
use crate::fault::Fault;

/// Logs that must have a record before it is acknowledged.
const QUORUM: u32 = 2;
/// Records taken together at most.
const GROUP_MAX: usize = 1_024;
/// Bytes of a record's two lengths.
const LENGTHS_BYTES: usize = 6;
/// A peer that does not listen yet is tried again after this.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);

/// Who is told that a record is synced.
enum Waiting {
    /// A put of this server: one log more has it.
    Put(Arc<Semaphore>),
    /// The peer at the other end of this link.
    Peer(channel::UnboundedSender<u32>),
}

/// A record as it is written and sent.
type Record = Bytes;

type Store = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

#[derive(Clone)]
struct Server {
    store: Store,
    log: mpsc::Sender<(Record, Waiting)>,
    peers: Vec<channel::UnboundedSender<(Record, Arc<Semaphore>)>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    id: u64,
    method: &'a str,
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
struct Params<'a> {
    key: &'a str,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// Serves until it is killed.
pub fn serve(http: &str, link: &str, log: &Path, peers: &[String]) -> Result<(), Fault> {
    let (http, link) = (local(http.parse()?), local(link.parse()?));
    let file = OpenOptions::new().create(true).append(true).open(log)?;
    let (to_log, records) = mpsc::channel();
    thread::spawn(move || commit(&file, &records));
    event_loop(async move {
        let store = Store::default();
        let links = TcpListener::bind(link).await?;
        tokio::spawn(take_links(links, store.clone(), to_log.clone()));
        let mut to_peers = Vec::new();
        for peer in peers {
            let (to_peer, records) = channel::unbounded_channel();
            to_peers.push(to_peer);
            tokio::spawn(replicate(local(peer.parse()?).port(), records));
        }
        let server = Server {
            store,
            log: to_log,
            peers: to_peers,
        };
        let listener = TcpListener::bind(http).await?;
        accept(listener, move |request| server.clone().answer(request)).await
    })
}

/// Appends all that wait, syncs once, tells everybody; again.
fn commit(mut file: &File, records: &mpsc::Receiver<(Record, Waiting)>) {
    let mut bytes = Vec::new();
    while let Ok(first) = records.recv() {
        let rest = records.try_iter().take(GROUP_MAX - 1);
        let group: Vec<_> = std::iter::once(first).chain(rest).collect();
        bytes.clear();
        group
            .iter()
            .for_each(|(record, _)| bytes.extend_from_slice(record));
        file.write_all(&bytes).expect("the log takes the group");
        file.sync_data().expect("the log is synced");
        for (_, waiting) in group {
            match waiting {
                Waiting::Put(synced) => synced.add_permits(1),
                // A peer that is gone needs nothing.
                Waiting::Peer(link) => drop(link.send(1)),
            }
        }
    }
}

impl Server {
    async fn answer(self, request: Request<Incoming>) -> Bytes {
        let body = match request.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return refusal("the request broke off"),
        };
        let Ok(call) = serde_json::from_slice::<Call>(&body) else {
            return refusal("no call");
        };
        match (call.method, call.params.value) {
            ("put", Some(value)) => self.put(call.id, call.params.key, value).await,
            ("get", None) => self.get(call.id, call.params.key),
            _ => refusal("no such method"),
        }
    }

    async fn put(&self, id: u64, key: &str, value: &RawValue) -> Bytes {
        let value = value.get().as_bytes();
        let record = record(key.as_bytes(), value);
        locked(&self.store).insert(key.as_bytes().to_vec(), value.to_vec());
        let synced = Arc::new(Semaphore::new(0));
        for peer in &self.peers {
            // A peer that is gone leaves two others.
            let _ = peer.send((record.clone(), synced.clone()));
        }
        let sent = self.log.send((record, Waiting::Put(synced.clone())));
        sent.expect("the log's thread lives as long as the server");
        let quorum = synced.acquire_many(QUORUM).await;
        quorum.expect("nobody closes it").forget();
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"acks\":{QUORUM}}}}}").into()
    }

    fn get(&self, id: u64, key: &str) -> Bytes {
        match locked(&self.store).get(key.as_bytes()) {
            None => refusal("not found"),
            Some(value) => {
                let head = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"value\":");
                [head.as_bytes(), value, b"}}"].concat().into()
            }
        }
    }
}

fn locked(store: &Store) -> MutexGuard<'_, HashMap<Vec<u8>, Vec<u8>>> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refusal(why: &str) -> Bytes {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{{\"code\":-32000,\"message\":\"{why}\"}}}}"
    )
    .into()
}

fn record(key: &[u8], value: &[u8]) -> Record {
    let key_length = u16::try_from(key.len()).expect("keys here have 16 bytes");
    let length = u32::try_from(2 + key.len() + value.len()).expect("values here are short");
    let mut record = Vec::with_capacity(LENGTHS_BYTES + key.len() + value.len());
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(&key_length.to_le_bytes());
    record.extend_from_slice(key);
    record.extend_from_slice(value);
    record.into()
}

/// Sends records to a peer, and counts what it has synced.
async fn replicate(port: u16, mut records: channel::UnboundedReceiver<(Record, Arc<Semaphore>)>) {
    let stream = loop {
        match TcpStream::connect(local(port)).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(CONNECT_PAUSE).await,
        }
    };
    // Without it records wait for more of them.
    let _ = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    let waiting = Arc::new(Mutex::new(VecDeque::new()));
    tokio::spawn(count_synced(reader, waiting.clone()));
    let (mut group, mut bytes) = (Vec::new(), Vec::new());
    while records.recv_many(&mut group, GROUP_MAX).await > 0 {
        bytes.clear();
        for (record, synced) in group.drain(..) {
            bytes.extend_from_slice(&record);
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push_back(synced);
        }
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn count_synced(mut reader: OwnedReadHalf, waiting: Arc<Mutex<VecDeque<Arc<Semaphore>>>>) {
    while let Ok(count) = reader.read_u32_le().await {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(count as usize);
        waiting
            .drain(..count)
            .for_each(|synced| synced.add_permits(1));
    }
}

async fn take_links(listener: TcpListener, store: Store, log: mpsc::Sender<(Record, Waiting)>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let (to_writer, synced) = channel::unbounded_channel();
        tokio::spawn(tell_synced(writer, synced));
        tokio::spawn(take_records(reader, store.clone(), log.clone(), to_writer));
    }
}

async fn tell_synced(mut writer: OwnedWriteHalf, mut synced: channel::UnboundedReceiver<u32>) {
    let mut group = Vec::new();
    while synced.recv_many(&mut group, GROUP_MAX).await > 0 {
        let count: u32 = group.drain(..).sum();
        if writer.write_all(&count.to_le_bytes()).await.is_err() {
            return;
        }
    }
}

async fn take_records(
    mut reader: OwnedReadHalf,
    store: Store,
    log: mpsc::Sender<(Record, Waiting)>,
    to_writer: channel::UnboundedSender<u32>,
) {
    let mut received = bytes::BytesMut::new();
    while let Ok(1..) = reader.read_buf(&mut received).await {
        while let Some(length) = received.first_chunk::<4>() {
            let length = 4 + u32::from_le_bytes(*length) as usize;
            if received.len() < length {
                break;
            }
            let record = received.split_to(length).freeze();
            let key_length = u16::from_le_bytes([record[4], record[5]]) as usize;
            let (key, value) = record[LENGTHS_BYTES..].split_at(key_length);
            locked(&store).insert(key.to_vec(), value.to_vec());
            if log
                .send((record, Waiting::Peer(to_writer.clone())))
                .is_err()
            {
                return;
            }
        }
    }
}
