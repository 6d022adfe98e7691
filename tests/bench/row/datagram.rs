//! Row 7: calls of 200 bytes over UDP, 64 under way, against datagrams that are merely sent back.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use roundel::cli::bench::load::{Kind, Operation};
use roundel::security::hex;
use roundel::security::rnd1::Carriage;
use roundel::security::rnd1::client::{ClientSession, Received, Sent};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::bare::{Bare, event_loop};
use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::measure::take;
use crate::ours::{Access, Ring};
use crate::plain;
use crate::process::Process;
use crate::row::{Context, Row, in_turn};

const NUMBER: u32 = 7;
const CALLS: (&str, &str) = ("calls", "/s");
const P50: (&str, &str) = ("call p50", "ms");
const CPU: (&str, &str) = ("CPU of 1,000 calls", "s");

const CLIENTS: usize = 64;
/// A call without a MAC.
const CALL_BYTES: usize = 200;
/// On loopback a datagram that is not answered by then was lost.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 2_048;
/// What each call carries besides.
const FILLER: &str = "................................................................";

/// The row.
pub const ROW: Row = Row {
    numbers: &[NUMBER],
    name: "calls of 200 bytes over UDP, 64 under way",
    run,
    goals: &[
        Goal::at_least(NUMBER, CALLS.0, 0.5, "echo").when_quiet(),
        Goal::at_least(NUMBER, CALLS.0, 0.4, "echo")
            .of("roundel, MAC")
            .when_quiet(),
    ],
};

#[derive(Clone, Copy, Debug)]
enum System {
    Roundel { signed: bool },
    Echo,
}

fn run(context: &Context) -> Result<Vec<Figure>, Fault> {
    let systems = [
        ("roundel", System::Roundel { signed: false }),
        ("roundel, MAC", System::Roundel { signed: true }),
        ("echo", System::Echo),
    ];
    let mut figures = Figures::default();
    for rep in context.repetitions() {
        for (name, system) in in_turn(&systems, rep) {
            let taken = match system {
                System::Roundel { signed } => ours(context, *signed),
                System::Echo => {
                    let bare = Bare::echo(context)?;
                    load(context, bare.addresses[0], &bare.processes, || Ok(None))
                }
            };
            let taken = taken.map_err(|fault| fault.of(name))?;
            figures.add(NUMBER, name, CALLS, taken.per_second);
            figures.add(NUMBER, name, P50, taken.p50_ms);
            figures.add(NUMBER, name, CPU, taken.cpu_s_per_1000);
        }
    }
    Ok(figures.all())
}

fn ours(context: &Context, signed: bool) -> Result<crate::measure::Taken, Fault> {
    let mut ring = Ring::start(context, Access::Keyed, &crate::process::free_ports::<1>()?)?;
    ring.settle()?;
    let address = ring.addresses[0];
    let session = || match signed {
        false => Ok(None),
        true => session(address, &ring.key).map(Some),
    };
    load(context, address, &ring.processes, session)
}

fn load(
    context: &Context,
    address: SocketAddr,
    processes: &[Process],
    session: impl Fn() -> Result<Option<ClientSession>, Fault>,
) -> Result<crate::measure::Taken, Fault> {
    event_loop(async {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let socket = UdpSocket::bind("127.0.0.1:0").await?;
            socket.connect(address).await?;
            clients.push(Client {
                socket,
                host: address.to_string(),
                session: session()?,
                answer: [0; ANSWER_BYTES_MAX],
            });
        }
        Ok(take(context, clients, processes).await?.1)
    })
}

/// A session by the node's challenge, which it gives over TCP as well.
fn session(
    address: SocketAddr,
    key: &roundel::security::key::ClusterKey,
) -> Result<ClientSession, Fault> {
    let said: serde_json::Value = serde_json::from_slice(&plain::get(address, "/rnd1")?)?;
    let odd = || Fault::new(format!("{address} answers no challenge: {said}"));
    let board = said["to"].as_str().and_then(hex::decode).ok_or_else(odd)?;
    let nonce = said["nonce"]
        .as_str()
        .and_then(hex::decode)
        .ok_or_else(odd)?;
    let boot = said["boot"].as_u64().ok_or_else(odd)?;
    let mut own = [0; 16];
    getrandom::fill(&mut own)?;
    Ok(ClientSession::new(key, board, boot, nonce, own))
}

/// A socket of its own, one datagram under way.
struct Client {
    socket: UdpSocket,
    host: String,
    session: Option<ClientSession>,
    answer: [u8; ANSWER_BYTES_MAX],
}

impl Client {
    /// The datagram of call `id`, and the number under which it is signed.
    fn datagram(&mut self, id: u64) -> (Vec<u8>, u64) {
        let with = |filler: &str| {
            format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"echo\",\"params\":[\"{filler}\"]}}"
            )
        };
        let head = |length: usize, shown: &str| {
            format!(
                "POST /rpc HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{shown}\
                 Content-Length: {length}\r\n\r\n",
                self.host
            )
        };
        let full = with(FILLER);
        let spare = head(full.len(), "").len() + full.len() - CALL_BYTES;
        let body = with(&FILLER[spare.min(FILLER.len())..]);
        let (shown, seq) = match &mut self.session {
            None => (String::new(), 0),
            Some(session) => {
                let credentials = session.sign(&sent(&self.host), body.as_bytes());
                (format!("Authorization: {credentials}\r\n"), credentials.seq)
            }
        };
        let head = head(body.len(), &shown);
        ([head.as_bytes(), body.as_bytes()].concat(), seq)
    }

    /// The answer is one, of status 200, and proved if the call was.
    fn checks(&self, length: usize, seq: u64, sent_bytes: &[u8]) -> bool {
        let answer = &self.answer[..length];
        if answer == sent_bytes {
            return self.session.is_none();
        }
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(head)) = response.parse(answer) else {
            return false;
        };
        let field = |name: &str| {
            let mut fields = response.headers.iter();
            let found = fields.find(|field| field.name.eq_ignore_ascii_case(name));
            found.map_or("", |it| std::str::from_utf8(it.value).unwrap_or(""))
        };
        let received = Received {
            status: response.code.unwrap_or(0),
            content_type: field("content-type"),
            body: &answer[head..],
            proof: field("authentication-info"),
        };
        received.status == 200
            && self
                .session
                .as_ref()
                .is_none_or(|session| session.check(&sent(&self.host), seq, &received))
    }
}

fn sent(host: &str) -> Sent<'_> {
    Sent {
        carriage: Carriage::Httpu,
        method: "POST",
        target: "/rpc",
        host,
        content_type: "application/json",
    }
}

impl Operation for Client {
    type Error = io::Error;

    async fn once(&mut self, number: u64) -> io::Result<Kind> {
        let (datagram, seq) = self.datagram(number);
        self.socket.send(&datagram).await?;
        let received = timeout(ANSWER_TIME_MAX, self.socket.recv(&mut self.answer)).await;
        let length = received.map_err(|_| io::Error::other("a datagram was not answered"))??;
        match self.checks(length, seq, &datagram) {
            true => Ok(Kind::Read),
            false => Err(io::Error::other(format!(
                "no proper answer: {}",
                String::from_utf8_lossy(&self.answer[..length])
            ))),
        }
    }
}
