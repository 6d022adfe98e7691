//! What a connection begins with, read into little memory until it is whole, and then read again by
//! whoever speaks the protocol.
//!
//! Buffers of a whole protocol are made for clients that have asked for something: who sends a byte
//! now and then, or nothing more, costs a few hundred bytes. Nothing is checked here but where the
//! head of a request or the first record of TLS ends; whatever cannot become either goes on as it
//! is, for its own protocol to refuse.
//!
//! Source: RFC 9112 §2.1 and §2.2, RFC 8446 §5.1.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::base::limit;

/// Bytes of memory a connection begins with; most heads are smaller.
const FIRST_BYTES: usize = 512;
/// Bytes before a TLS record's content.
const RECORD_HEADER_BYTES: usize = 5;

/// A stream of which the first bytes were read, and are read again.
#[derive(Debug)]
pub struct Opened<S> {
    first: Bytes,
    stream: S,
}

impl<S> Opened<S> {
    /// Nothing of it has been read.
    pub fn fresh(stream: S) -> Self {
        Opened {
            first: Bytes::new(),
            stream,
        }
    }
}

/// Waits for the head of a request to be whole; the caller bounds the time.
///
/// # Errors
/// The stream's.
pub async fn head<S: AsyncRead + Unpin>(stream: S) -> io::Result<Opened<S>> {
    whole(stream, ends_head).await
}

/// Waits for the first record of TLS to be whole; the caller bounds the time.
///
/// # Errors
/// The stream's.
pub async fn record<S: AsyncRead + Unpin>(stream: S) -> io::Result<Opened<S>> {
    whole(stream, |bytes, _| match bytes {
        // No record of any TLS there is.
        [_, major, ..] if *major != 3 => true,
        [_, _, _, high, low, ..] => {
            bytes.len() >= RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    })
    .await
}

/// Reads until `is_whole`, which is given all bytes and how many it has seen before; or until the
/// client ends, or sends more than a head may have.
async fn whole<S: AsyncRead + Unpin>(
    mut stream: S,
    is_whole: impl Fn(&[u8], usize) -> bool,
) -> io::Result<Opened<S>> {
    let mut first = BytesMut::with_capacity(FIRST_BYTES);
    loop {
        let seen = first.len();
        let ended = stream.read_buf(&mut first).await? == 0;
        if ended || first.len() >= limit::HEAD_BYTES_MAX || is_whole(&first, seen) {
            let first = first.freeze();
            return Ok(Opened { first, stream });
        }
        if first.len() == first.capacity() {
            first.reserve(first.len());
        }
    }
}

/// An empty line ends a head; a first line that is none of a request's ends the wait. Line ends
/// before the first line are passed over.
fn ends_head(bytes: &[u8], seen: usize) -> bool {
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte));
    let Some(start) = start else {
        return false;
    };
    let from = seen.saturating_sub(2).max(start);
    let new = bytes.iter().enumerate().skip(from);
    for (place, _) in new.filter(|(_, byte)| **byte == b'\n') {
        if matches!(&bytes[place + 1..], [b'\n', ..] | [b'\r', b'\n', ..]) {
            return true;
        }
        let is_first = !bytes[start..place].contains(&b'\n');
        let mut fields = [];
        let mut request = httparse::Request::new(&mut fields);
        if is_first && request.parse(&bytes[start..=place]).is_err() {
            return true;
        }
    }
    false
}

impl<S: AsyncRead + Unpin> AsyncRead for Opened<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let length = this.first.len().min(buffer.remaining());
        buffer.put_slice(&this.first[..length]);
        this.first.advance(length);
        if this.first.is_empty() {
            this.first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opened<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::time::timeout;

    use super::*;

    /// Whether a head is whole, of bytes that come in pieces of this size.
    fn ends(bytes: &[u8], piece: usize) -> Option<usize> {
        let ends = (piece..bytes.len() + piece).step_by(piece);
        let mut ends = ends.map(|end| end.min(bytes.len()));
        ends.find(|end| ends_head(&bytes[..*end], end.saturating_sub(piece)))
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\n\n",
            "GET / HTTP/1.1\nHost: a\n\r\n",
            "\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(ends(head.as_bytes(), 1), Some(head.len()), "{head:?}");
        }
        for begun in [
            "\r\n\r\n",
            "GET / HTTP/1.1\r\n",
            "GET /",
            "A: b\r",
            "GET / HTTP/1.1\r\nA: b\r\n",
        ] {
            assert_eq!(ends(begun.as_bytes(), 1), None, "{begun:?}");
        }
    }

    #[test]
    fn a_first_line_of_nothing_known_is_not_waited_with() {
        for line in [
            "GET\r\n",
            "GET / HTTP/9.9\r\n",
            "G\0T / HTTP/1.1\r\n",
            "a b c d\n",
        ] {
            assert_eq!(ends(line.as_bytes(), 1), Some(line.len()), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_a_head_comes_do_not_matter(
            text in "[\r\n]{0,3}(GET / HTTP/1.1)?[a:\r\n]{0,30}",
            piece in 1usize..9,
        ) {
            let (byte, pieces) = (ends(text.as_bytes(), 1), ends(text.as_bytes(), piece));
            // A larger piece may hold more than the head.
            let rounded = byte.map(|end| end.next_multiple_of(piece).min(text.len()));
            prop_assert_eq!(pieces, rounded);
        }
    }

    #[tokio::test]
    async fn what_was_read_is_read_again_and_the_rest_after_it() {
        let (mut client, server) = tokio::io::duplex(64);
        let writing = tokio::spawn(async move {
            for piece in [&b"GET / HTTP/1.1\r\n"[..], b"A: b\r", b"\n\r\nbo", b"dy"] {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client
        });
        let mut opened = head(server).await.unwrap();
        drop(writing.await.unwrap());
        let mut text = String::new();
        opened.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "GET / HTTP/1.1\r\nA: b\r\n\r\nbody");
    }

    #[tokio::test]
    async fn a_long_head_goes_on_before_its_end() {
        let (mut client, server) = tokio::io::duplex(64 * 1_024);
        let line = b"GET / HTTP/1.1\r\nA: ";
        client.write_all(line).await.unwrap();
        let rest = vec![b'a'; limit::HEAD_BYTES_MAX - line.len() - 1];
        client.write_all(&rest).await.unwrap();
        let soon = Duration::from_millis(50);
        let reading = head(server);
        tokio::pin!(reading);
        assert!(timeout(soon, reading.as_mut()).await.is_err(), "it waits");
        client.write_all(b"a").await.unwrap();
        let opened = timeout(soon, reading).await.unwrap().unwrap();
        assert_eq!(opened.first.len(), limit::HEAD_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_record_is_whole_when_its_length_is_there() {
        let (mut client, server) = tokio::io::duplex(1_024);
        client.write_all(b"\x16\x03\x01\x00\x03ab").await.unwrap();
        let soon = Duration::from_millis(50);
        let reading = record(server);
        tokio::pin!(reading);
        assert!(timeout(soon, reading.as_mut()).await.is_err(), "it waits");
        client.write_all(b"c").await.unwrap();
        let opened = timeout(soon, reading).await.unwrap().unwrap();
        assert_eq!(&opened.first[..], b"\x16\x03\x01\x00\x03abc");
        client.write_all(b"\x16\0").await.unwrap();
        let opened = timeout(soon, record(opened.stream)).await.unwrap().unwrap();
        assert_eq!(&opened.first[..], b"\x16\0");
    }
}
