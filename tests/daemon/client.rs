//! The smallest HTTP client that serves: one request a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use crate::process::DEADLINE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// 200 and so on.
    pub status: u16,
    /// What follows the head, as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A fresh connection with a deadline on every read and write.
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, DEADLINE).expect("the board listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream
        .set_write_timeout(Some(DEADLINE))
        .expect("a deadline");
    stream
}

/// Writes bytes and reads until the board closes the connection.
///
/// # Panics
/// When it does not in time.
pub fn exchange(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(to);
    // It may close before it has read all of it.
    let _ = stream.write_all(bytes);
    read_to_end(&mut stream)
}

/// Reads until the board closes the connection; a reset is an end as well.
pub fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    match stream.read_to_end(&mut read) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("the board did not close within {DEADLINE:?}")
        }
        _ => read,
    }
}

/// Takes an HTTP answer apart.
pub fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("{head:?}")),
        body: body.to_owned(),
    }
}

/// Sends a head of these lines and a body.
pub fn request(to: SocketAddr, line: &str, fields: &[&str], body: &[u8]) -> Answer {
    let mut bytes = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    for field in fields {
        bytes += &format!("{field}\r\n");
    }
    bytes += &format!("Content-Length: {}\r\n\r\n", body.len());
    parse(&exchange(to, &[bytes.as_bytes(), body].concat()))
}

/// GET.
pub fn get(to: SocketAddr, path: &str) -> Answer {
    request(to, &format!("GET {path}"), &[&format!("Host: {to}")], b"")
}

/// POST of a body that claims to be JSON.
pub fn post(to: SocketAddr, body: &[u8]) -> Answer {
    let host = format!("Host: {to}");
    request(
        to,
        "POST /rpc",
        &[&host, "Content-Type: application/json"],
        body,
    )
}

/// Calls a method.
///
/// # Errors
/// The error object of the answer.
pub fn call(to: SocketAddr, method: &str, params: Value) -> Result<Value, Value> {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer = post(to, request.to_string().as_bytes()).json();
    match answer.get("error") {
        Some(error) => Err(error.clone()),
        None => Ok(answer["result"].clone()),
    }
}
