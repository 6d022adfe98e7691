//! One HTTP request over a connection of its own, for what is asked now and then: not for loads.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::fault::Fault;

/// An answer comes within this.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Posts JSON; the body of the answer.
///
/// # Errors
/// No connection, no answer in time, or not status 200.
pub fn post(address: SocketAddr, path: &str, body: &[u8]) -> Result<Vec<u8>, Fault> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    exchange(address, &[head.as_bytes(), body].concat())
}

/// Gets what is there.
///
/// # Errors
/// As [`post`].
pub fn get(address: SocketAddr, path: &str) -> Result<Vec<u8>, Fault> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    exchange(address, head.as_bytes())
}

fn exchange(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.ok_or_else(|| Fault::new(format!("{address} answers no HTTP")))?;
    let body = answer.split_off(end + 4);
    match answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(body),
        false => Err(Fault::new(format!(
            "{address} answers {}",
            String::from_utf8_lossy(&body)
        ))),
    }
}
