//! Redis, from Debian's redis-server: one process, its log synced with each write.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use tempfile::TempDir;

use crate::fault::Fault;
use crate::process::{Process, free_ports, installed};
use crate::row::Context;

/// A running server.
pub struct Redis {
    /// Its process.
    pub process: Process,
    /// Where it answers.
    pub address: SocketAddr,
    _dir: TempDir,
}

impl Redis {
    /// Starts one on an empty directory and waits for nothing.
    pub fn start(context: &Context) -> Result<Self, Fault> {
        let program = installed("redis-server", "redis-server")?;
        let [port] = free_ports::<1>()?;
        let dir = context.fresh("redis-")?;
        let port_text = port.to_string();
        let args = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port_text,
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
        ];
        Ok(Redis {
            process: Process::start(dir.path(), "redis", &program, args)?,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            _dir: dir,
        })
    }

    /// Waits until it answers a command.
    pub fn until_answers(&mut self) -> Result<(), Fault> {
        let address = self.address;
        self.process.until("it answers", |_| {
            let mut stream = TcpStream::connect(address).ok()?;
            stream.write_all(b"PING\r\n").ok()?;
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).ok()?;
            (&answer == b"+PONG\r\n").then_some(())
        })
    }
}
