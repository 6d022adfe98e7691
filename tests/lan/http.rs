//! The smallest HTTP/1.1 client that serves: one request a connection, an answer with a length.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection attempt, and each read, take at most this long.
const TIME_MAX: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// 200 and so on.
    pub status: u16,
    /// What follows the head.
    pub body: Vec<u8>,
}

/// Sends one request and reads its answer to the end.
///
/// # Errors
/// The system's; `InvalidData` for what is not an HTTP answer.
pub fn request(to: SocketAddr, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, TIME_MAX)?;
    stream.set_read_timeout(Some(TIME_MAX))?;
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    stream.write_all(&request)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("not an HTTP answer: {text:?}"),
        )
    })
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some(Answer {
        status,
        body: bytes[end + 4..].to_vec(),
    })
}

#[test]
fn answer_is_read_and_rubbish_is_refused() {
    let answer = parse(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nhi").unwrap();
    assert_eq!((answer.status, &answer.body[..]), (503, &b"hi"[..]));
    assert!(parse(b"SSH-2.0\r\n\r\n").is_none());
}
