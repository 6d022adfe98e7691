//! etcd, from Debian's etcd-server: three members on loopback, their best client and their gateway.
//!
//! The best client is gRPC with few connections that many clients share, one to each member. The
//! gateway takes the same calls as JSON over HTTP, which is the like of our own protocol.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::http::uri::PathAndQuery;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roundel::cli::bench::exchange::{Ask, Exchange};
use roundel::cli::bench::load::{Kind, Operation};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::bare::local;
use crate::fault::Fault;
use crate::measure::{KEYS, key, value};
use crate::plain;
use crate::process::{Process, free_ports, installed};
use crate::row::Context;

/// The gateway's path of a put.
const GATEWAY_PUT: &str = "/v3/kv/put";

/// Three running members.
pub struct Etcd {
    /// Their processes.
    pub processes: Vec<Process>,
    /// Where they answer clients, gRPC and gateway alike.
    pub addresses: Vec<SocketAddr>,
    _dir: TempDir,
}

impl Etcd {
    /// Starts three members on empty directories and waits for nothing.
    pub fn start(context: &Context) -> Result<Self, Fault> {
        let program = installed("etcd", "etcd-server")?;
        let dir = context.fresh("etcd-")?;
        let ports = free_ports::<6>()?;
        let (clients, peers) = ports.split_at(3);
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let all = peers.iter().enumerate();
        let all: Vec<_> = all
            .map(|(index, port)| format!("m{index}={}", url(port)))
            .collect();
        let mut processes = Vec::new();
        for index in 0..3 {
            let name = format!("m{index}");
            let (client, peer) = (url(&clients[index]), url(&peers[index]));
            let args = [
                ("--name", name.as_str()),
                ("--data-dir", &name),
                ("--listen-client-urls", &client),
                ("--advertise-client-urls", &client),
                ("--listen-peer-urls", &peer),
                ("--initial-advertise-peer-urls", &peer),
                ("--initial-cluster", &all.join(",")),
                ("--initial-cluster-state", "new"),
                ("--logger", "zap"),
                ("--log-level", "error"),
            ];
            let args = args.iter().flat_map(|(flag, value)| [*flag, *value]);
            processes.push(Process::start(dir.path(), &name, &program, args)?);
        }
        Ok(Etcd {
            processes,
            addresses: clients.iter().copied().map(local).collect(),
            _dir: dir,
        })
    }

    /// Waits until a put at the first member is committed.
    pub fn until_durable(&mut self) -> Result<(), Fault> {
        let address = self.addresses[0];
        let put = json!({"key": BASE64_STANDARD.encode("first"),
            "value": BASE64_STANDARD.encode("durable")});
        let put = put.to_string();
        self.processes[0].until("a put is committed", |_| {
            plain::post(address, GATEWAY_PUT, put.as_bytes()).ok()
        })?;
        Ok(())
    }

    /// Starts three members and waits until each of them commits puts.
    pub fn ready(context: &Context) -> Result<Self, Fault> {
        let mut etcd = Etcd::start(context)?;
        for _ in 0..3 {
            etcd.until_durable()?;
            etcd.addresses.rotate_left(1);
            etcd.processes.rotate_left(1);
        }
        Ok(etcd)
    }

    /// Clients of the best kind: they share a connection to each member.
    pub async fn clients(&self, count: usize, call: Call) -> Result<Vec<Client>, Fault> {
        let mut channels = Vec::new();
        for address in &self.addresses {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
            channels.push(endpoint.connect().await?);
        }
        let client = |index: usize| Client {
            grpc: Grpc::new(channels[index % channels.len()].clone()),
            call,
            random: StdRng::seed_from_u64(index as u64),
        };
        Ok((0..count).map(client).collect())
    }

    /// Clients of the gateway, each with a connection of its own.
    pub async fn gateway_clients(&self, count: usize) -> Result<Vec<GatewayClient>, Fault> {
        let mut clients = Vec::new();
        for index in 0..count {
            let address = self.addresses[index % self.addresses.len()];
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            clients.push(GatewayClient {
                exchange: Exchange::new(stream, address.to_string()),
                random: StdRng::seed_from_u64(index as u64),
            });
        }
        Ok(clients)
    }
}

/// What a client calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Puts of random keys.
    Put,
    /// Puts of every key, in order.
    Fill,
    /// Linearizable reads of random keys.
    Get,
}

/// A gRPC client.
pub struct Client {
    grpc: Grpc<Channel>,
    call: Call,
    random: StdRng,
}

/// `etcdserverpb.PutRequest`, as far as it is used.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `etcdserverpb.PutResponse`; its header is not looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

/// `etcdserverpb.RangeRequest`: one key, linearizable unless it says otherwise.
#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

/// `etcdserverpb.RangeResponse`: how many there are, and what they are.
#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

/// `mvccpb.KeyValue`, as far as it is used.
#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The connection.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// The call.
    #[error(transparent)]
    Status(#[from] Box<tonic::Status>),
    /// A key that was put is not there, or its value is not.
    #[error("etcd lacks a key that was put")]
    Lacks,
    /// The gateway's connection.
    #[error(transparent)]
    Gateway(#[from] std::io::Error),
    /// The gateway refused.
    #[error("the gateway answers {0}")]
    Refused(u16),
}

impl Client {
    /// The same connection for other calls.
    pub fn for_call(mut self, call: Call) -> Self {
        self.call = call;
        self
    }

    async fn unary<Q, A>(&mut self, path: &'static str, request: Q) -> Result<A, EtcdError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.grpc.ready().await?;
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<Q, A>::default();
        let answer = self
            .grpc
            .unary(tonic::Request::new(request), path, codec)
            .await;
        Ok(answer.map_err(Box::new)?.into_inner())
    }

    async fn put(&mut self, number: usize) -> Result<Kind, EtcdError> {
        let put = PutRequest {
            key: key(number).into_bytes(),
            value: value(self.random.random()).into_bytes(),
        };
        let _: PutResponse = self.unary("/etcdserverpb.KV/Put", put).await?;
        Ok(Kind::Write)
    }

    async fn get(&mut self, number: usize) -> Result<Kind, EtcdError> {
        let range = RangeRequest {
            key: key(number).into_bytes(),
        };
        let found: RangeResponse = self.unary("/etcdserverpb.KV/Range", range).await?;
        match found.kvs.first().is_some_and(|it| !it.value.is_empty()) {
            true => Ok(Kind::Read),
            false => Err(EtcdError::Lacks),
        }
    }
}

impl Operation for Client {
    type Error = EtcdError;

    async fn once(&mut self, number: u64) -> Result<Kind, EtcdError> {
        let random = self.random.random_range(0..KEYS);
        match self.call {
            Call::Put => self.put(random).await,
            Call::Fill => self.put(number as usize % KEYS).await,
            Call::Get => self.get(random).await,
        }
    }
}

/// A client that puts through the gateway.
pub struct GatewayClient {
    exchange: Exchange<TcpStream>,
    random: StdRng,
}

impl Operation for GatewayClient {
    type Error = EtcdError;

    async fn once(&mut self, _: u64) -> Result<Kind, EtcdError> {
        let key = BASE64_STANDARD.encode(key(self.random.random_range(0..KEYS)));
        let value = BASE64_STANDARD.encode(value(self.random.random()));
        let body = format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}");
        let ask = Ask {
            method: "POST",
            target: GATEWAY_PUT,
            shown: None,
            body: body.as_bytes(),
        };
        match self.exchange.ask(ask).await?.status {
            200 => Ok(Kind::Write),
            status => Err(EtcdError::Refused(status)),
        }
    }
}
