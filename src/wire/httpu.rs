//! HTTP over UDP: one whole HTTP/1.x message a datagram, read from bytes and written to them.
//!
//! Requests and responses are read into types that hold only what the product uses: request line
//! or status, header fields in order, body. Chunked bodies are refused (a datagram delimits its
//! message). What a request means is `service`; SSDP has its own messages in `wire/ssdp.rs`.
//!
//! Source: UDA 2.0 §1 (HTTPU), RFC 9112 §2 to §6.

use std::fmt::Write;

use bytes::Bytes;

use crate::base::limit;

/// A request of one datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method: letters, as sent.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub minor: u8,
    /// Header fields in order, names as sent.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// A response of one datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 100 to 599.
    pub status: u16,
    /// Header fields in order, without Content-Length.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// Header fields in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of the only field of that name, whatever its case.
    ///
    /// # Errors
    /// [`HttpuError::Repeated`] when there are several.
    pub fn only(&self, name: &'static str) -> Result<Option<&str>, HttpuError> {
        let mut values = self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let first = values.next();
        match values.next() {
            Some(_) => Err(HttpuError::Repeated { name }),
            None => Ok(first.map(|(_, value)| value.as_str())),
        }
    }
}

/// Why a datagram is not a message we read; its sender is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpuError {
    /// Not an HTTP message at all: it is not answered.
    #[error("the datagram does not start with an HTTP message of this kind")]
    Foreign,
    /// It starts like a message and does not go on as one.
    #[error(
        "the datagram is not a whole HTTP/1.1 message: {0}; send head and body in one datagram"
    )]
    Malformed(&'static str),
    /// A field that may occur once occurs twice.
    #[error("header {name} occurs twice; send it once")]
    Repeated {
        /// Which one.
        name: &'static str,
    },
}

impl Request {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`HttpuError`]; only for [`HttpuError::Foreign`] the sender did not mean to ask anything.
    pub fn parse(datagram: &Bytes) -> Result<Self, HttpuError> {
        // A response must never be answered: two boards would answer each other for ever.
        if !starts_like_a_request(datagram) {
            return Err(HttpuError::Foreign);
        }
        let mut fields = [httparse::EMPTY_HEADER; limit::HEADERS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let head = head_length(request.parse(datagram))?;
        let headers = own(request.headers)?;
        Ok(Request {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            minor: request.version.unwrap_or_default(),
            body: body(datagram, head, &headers)?,
            headers,
        })
    }

    /// Writes the request with the length of its body. Reading it back gives the same request
    /// and that length, which counts among the 64 fields that are read.
    pub fn emit(&self) -> Vec<u8> {
        let line = format!("{} {} HTTP/1.{}", self.method, self.target, self.minor);
        emit(&line, &self.headers, &self.body)
    }
}

impl Response {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`HttpuError`].
    pub fn parse(datagram: &Bytes) -> Result<Self, HttpuError> {
        if !datagram.starts_with(b"HTTP/1.") {
            return Err(HttpuError::Foreign);
        }
        let mut fields = [httparse::EMPTY_HEADER; limit::HEADERS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let head = head_length(response.parse(datagram))?;
        let status = response.code.unwrap_or_default();
        if status < 100 {
            return Err(HttpuError::Malformed("its status is below 100"));
        }
        let mut headers = own(response.headers)?;
        let body = body(datagram, head, &headers)?;
        headers
            .0
            .retain(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
        Ok(Response {
            status,
            headers,
            body,
        })
    }

    /// Writes the response; the reason phrase is left empty but for the commonest. The length of
    /// its body counts among the 64 fields that are read.
    pub fn emit(&self) -> Vec<u8> {
        let line = format!("HTTP/1.1 {} {}", self.status, reason(self.status));
        emit(&line, &self.headers, &self.body)
    }
}

/// RFC 9110's phrase for the statuses this product answers.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}

fn starts_like_a_request(datagram: &[u8]) -> bool {
    let word = datagram
        .iter()
        .take(20)
        .position(|byte| *byte == b' ')
        .map(|end| &datagram[..end]);
    word.is_some_and(|word| {
        !word.is_empty() && word.iter().all(|b| b.is_ascii_uppercase() || *b == b'-')
    })
}

fn head_length(
    status: Result<httparse::Status<usize>, httparse::Error>,
) -> Result<usize, HttpuError> {
    match status {
        Ok(httparse::Status::Complete(length)) if length <= limit::HEAD_BYTES_MAX => Ok(length),
        Ok(httparse::Status::Complete(_)) => Err(HttpuError::Malformed("its head is too long")),
        Ok(httparse::Status::Partial) => Err(HttpuError::Malformed("its head has no end")),
        Err(httparse::Error::TooManyHeaders) => {
            Err(HttpuError::Malformed("it has more than 64 header fields"))
        }
        Err(_) => Err(HttpuError::Malformed("its head cannot be read")),
    }
}

fn own(fields: &[httparse::Header<'_>]) -> Result<Headers, HttpuError> {
    fields
        .iter()
        .map(|field| {
            let value = std::str::from_utf8(field.value)
                .map_err(|_| HttpuError::Malformed("a header is not UTF-8"))?;
            Ok((field.name.to_owned(), value.to_owned()))
        })
        .collect::<Result<_, _>>()
        .map(Headers)
}

fn body(datagram: &Bytes, head: usize, headers: &Headers) -> Result<Bytes, HttpuError> {
    if headers.only("transfer-encoding")?.is_some() {
        return Err(HttpuError::Malformed("a datagram has no transfer coding"));
    }
    let body = datagram.slice(head..);
    match headers.only("content-length")? {
        None => Ok(body),
        Some(length)
            if length.bytes().all(|b| b.is_ascii_digit()) && length.parse() == Ok(body.len()) =>
        {
            Ok(body)
        }
        Some(_) => Err(HttpuError::Malformed(
            "Content-Length is not the length of its body",
        )),
    }
}

fn emit(line: &str, headers: &Headers, body: &[u8]) -> Vec<u8> {
    let mut head = format!("{line}\r\n");
    for (name, value) in &headers.0 {
        if !name.eq_ignore_ascii_case("content-length") {
            write!(head, "{name}: {value}\r\n").expect("a String takes all that is written");
        }
    }
    write!(head, "Content-Length: {}\r\n\r\n", body.len())
        .expect("a String takes all that is written");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_headers() -> impl Strategy<Value = Headers> {
        let field = ("X-[A-Za-z]{1,12}", "[!-~]([ -~]{0,30}[!-~])?");
        prop::collection::vec(field, 0..8).prop_map(Headers)
    }

    fn any_body() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from)
    }

    #[test]
    fn a_status_below_100_is_refused() {
        for (status, good) in [
            ("000", false),
            ("013", false),
            ("099", false),
            ("100", true),
        ] {
            let datagram = Bytes::from(format!("HTTP/1.1 {status} \r\n\r\n"));
            assert_eq!(Response::parse(&datagram).is_ok(), good, "{status}");
        }
    }

    #[test]
    fn the_length_counts_among_the_fields() {
        let fields = |count: usize| "X-A: 1\r\n".repeat(count);
        for (count, length, good) in [
            (limit::HEADERS_MAX, "", true),
            (limit::HEADERS_MAX + 1, "", false),
            (limit::HEADERS_MAX - 1, "Content-Length: 0\r\n", true),
            (limit::HEADERS_MAX, "Content-Length: 0\r\n", false),
        ] {
            let response = Bytes::from(format!("HTTP/1.1 200 OK\r\n{}{length}\r\n", fields(count)));
            let request = Bytes::from(format!("GET / HTTP/1.1\r\n{}{length}\r\n", fields(count)));
            let refused = HttpuError::Malformed("it has more than 64 header fields");
            let (response, request) = (Response::parse(&response), Request::parse(&request));
            assert_eq!(
                response.as_ref().err(),
                (!good).then_some(&refused),
                "{count}"
            );
            assert_eq!(
                request.as_ref().err(),
                (!good).then_some(&refused),
                "{count}"
            );
            if !length.is_empty() && good {
                let (response, request) = (response.unwrap(), request.unwrap());
                let again = Response::parse(&response.emit().into());
                assert_eq!(again, Ok(response));
                assert_eq!(Request::parse(&request.emit().into()), Ok(request));
            }
        }
    }

    proptest! {
        #[test]
        fn a_request_written_is_read_back(
            method in "[A-Z]{3,9}", target in "/[a-z]{0,9}(\\?[a-z=&%0-9]{0,20})?",
            minor in 0u8..2, headers in any_headers(), body in any_body(),
        ) {
            let mut request = Request { method, target, minor, headers, body };
            let read = Request::parse(&request.emit().into()).unwrap();
            let length = ("Content-Length".to_owned(), request.body.len().to_string());
            request.headers.0.push(length);
            prop_assert_eq!(read, request);
        }

        #[test]
        fn a_response_written_is_read_back(
            status in 100u16..600, headers in any_headers(), body in any_body(),
        ) {
            let response = Response { status, headers, body };
            prop_assert_eq!(Response::parse(&response.emit().into()).unwrap(), response);
        }

        #[test]
        fn arbitrary_datagrams_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let _ = Request::parse(&bytes);
            let _ = Response::parse(&bytes);
        }
    }

    #[test]
    fn only_what_starts_like_a_request_is_one() {
        for text in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "\x01\x02",
            "",
            "post /rpc HTTP/1.1\r\n\r\n",
            "{}",
        ] {
            assert_eq!(
                Request::parse(&Bytes::from(text)),
                Err(HttpuError::Foreign),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_message_that_is_not_whole_is_refused() {
        for text in [
            "POST /rpc HTTP/1.1\r\nHost: a\r\n",
            "POST /rpc HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc",
            "POST /rpc HTTP/1.1\r\nContent-Length: 2\r\n\r\nabc",
            "POST /rpc HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
            "POST /rpc HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /rpc HTTP/2.0\r\n\r\n",
        ] {
            let error = Request::parse(&Bytes::from(text)).unwrap_err();
            assert!(
                matches!(error, HttpuError::Malformed(_)),
                "{text:?}: {error}"
            );
        }
        let twice = "POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(
            Request::parse(&Bytes::from(twice)),
            Err(HttpuError::Repeated {
                name: "content-length"
            })
        );
    }
}
