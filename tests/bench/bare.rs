//! The bare servers this program is when it is started as `bare …`: what the machine can do.
//!
//! - `hello PORT`: hyper answers every request with the same result.
//! - `echo PORT`: a datagram goes back as it came.
//! - `ceiling PORT LINK DATA PEER PEER`: see [`crate::ceiling`].

use std::convert::Infallible;
use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::ceiling;
use crate::fault::Fault;
use crate::process::{Process, free_ports};
use crate::row::Context;

/// Makes this program a bare server.
pub const WORD: &str = "bare";
/// Bytes of a datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// As long as the result of a get.
const HELLO: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"key\":\"bench/0000000001\",\
    \"value\":\"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcde\
    fghijklmnopqrstuv\",\"version\":\"0000018f3c5d7e80-00000001-28cb9b87\"}}";

/// Bare servers of one kind.
pub struct Bare {
    /// Their processes.
    pub processes: Vec<Process>,
    /// Where they answer.
    pub addresses: Vec<SocketAddr>,
    _dir: TempDir,
}

impl Bare {
    /// Starts three that answer HTTP with a constant.
    pub fn hello(context: &Context) -> Result<Self, Fault> {
        let ports = free_ports::<3>()?;
        let args = ports.map(|port| vec!["hello".to_owned(), port.to_string()]);
        let mut bare = Bare::start(context, &ports, &args)?;
        bare.until_open()?;
        Ok(bare)
    }

    /// Starts three that keep what is put on two of them, and do nothing else.
    pub fn ceiling(context: &Context) -> Result<Self, Fault> {
        let ports = free_ports::<6>()?;
        let (http, links) = ports.split_at(3);
        let args = [0, 1, 2].map(|index| {
            let peers = (0..3).filter(|peer| *peer != index).map(|peer| links[peer]);
            let mut args = vec!["ceiling".to_owned()];
            args.extend([http[index], links[index]].iter().map(u16::to_string));
            args.push(format!("log-{index}"));
            args.extend(peers.map(|port| port.to_string()));
            args
        });
        let mut bare = Bare::start(context, http, &args)?;
        bare.until_open()?;
        Ok(bare)
    }

    /// Starts one that sends datagrams back; it can be asked when this returns.
    pub fn echo(context: &Context) -> Result<Self, Fault> {
        let ports = free_ports::<1>()?;
        let args = [vec!["echo".to_owned(), ports[0].to_string()]];
        let mut bare = Bare::start(context, &ports, &args)?;
        bare.processes[0].until("it has its port", |process| {
            process.printed().contains("ready").then_some(())
        })?;
        Ok(bare)
    }

    fn start(context: &Context, ports: &[u16], args: &[Vec<String>]) -> Result<Self, Fault> {
        let dir = context.fresh("bare-")?;
        let mut processes = Vec::new();
        for (index, args) in args.iter().enumerate() {
            let name = format!("{}-{}", args[0], index + 1);
            let args = std::iter::once(WORD).chain(args.iter().map(String::as_str));
            processes.push(Process::start(dir.path(), &name, &context.own, args)?);
        }
        Ok(Bare {
            processes,
            addresses: ports.iter().copied().map(local).collect(),
            _dir: dir,
        })
    }

    fn until_open(&mut self) -> Result<(), Fault> {
        for (process, address) in self.processes.iter_mut().zip(&self.addresses) {
            process.until_open(*address)?;
        }
        Ok(())
    }
}

/// A port of loopback.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Serves until it is killed.
pub fn main(args: &[String]) -> ExitCode {
    let served = match args {
        [word, port] if word == "hello" => hello(port),
        [word, port] if word == "echo" => echo(port),
        [word, http, link, log, peers @ ..] if word == "ceiling" => {
            ceiling::serve(http, link, Path::new(log), peers)
        }
        _ => Err(Fault::new(format!("no bare server is called {args:?}"))),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// The event loop of a bare server: one thread, as few wake-ups as can be.
pub fn event_loop<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

fn hello(port: &str) -> Result<(), Fault> {
    let address = local(port.parse()?);
    event_loop(async move {
        let listener = TcpListener::bind(address).await?;
        accept(listener, |_| async { Bytes::from_static(HELLO.as_bytes()) }).await
    })
}

/// Answers each request with the JSON that `answer` makes of it.
pub async fn accept<A, F>(listener: TcpListener, answer: A) -> Result<(), Fault>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Bytes> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answered = answer(request);
            async move {
                let mut response = Response::new(Full::new(answered.await));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                Ok::<_, Infallible>(response)
            }
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // A client that goes is no error.
            let _ = serving.await;
        });
    }
}

fn echo(port: &str) -> Result<(), Fault> {
    let socket = UdpSocket::bind(local(port.parse()?))?;
    println!("ready");
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (length, from) = socket.recv_from(&mut datagram)?;
        socket.send_to(&datagram[..length], from)?;
    }
}
