//! The error codes of JSON-RPC 2.0 §5.1 and of Round, their fixed texts and their HTTP statuses.
//!
//! Only codes this product answers are here; a code from another board is kept as a number.

/// What went wrong, as the wire numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// -32700: the bytes are not JSON.
    ParseError,
    /// -32600: the JSON is not a request.
    InvalidRequest,
    /// -32601: no such method.
    MethodNotFound,
    /// -32602: a parameter or member is missing, wrong, unknown or not supported.
    InvalidParams,
    /// -32603: an invariant of ours is broken.
    InternalError,
    /// -32000: `dest` names no board that is known.
    BadDestination,
    /// -32001: another board must be asked; the data says which.
    MovedPermanently,
    /// -32002: the caller may not do it, or its credentials are not valid.
    Unauthorized,
    /// -32003: too few boards answer, or there is no ring.
    Unavailable,
    /// -32004: the key, or the board, is not there.
    NotFound,
    /// -32005: a request, key, value or answer is too large.
    TooLarge,
}

impl Code {
    /// Every code, in the order of the protocol's table.
    pub const ALL: [Code; 11] = [
        Code::ParseError,
        Code::InvalidRequest,
        Code::MethodNotFound,
        Code::InvalidParams,
        Code::InternalError,
        Code::BadDestination,
        Code::MovedPermanently,
        Code::Unauthorized,
        Code::Unavailable,
        Code::NotFound,
        Code::TooLarge,
    ];

    /// The number on the wire.
    pub const fn number(self) -> i64 {
        self.row().0
    }

    /// The fixed text; what exactly was wrong is in the error's data.
    pub const fn message(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status of a single request that ended so.
    pub const fn status(self) -> u16 {
        self.row().2
    }

    /// The status for any number: another board may be newer than this one.
    pub fn status_of(number: i64) -> u16 {
        Code::ALL
            .into_iter()
            .find(|code| code.number() == number)
            .map_or(500, Code::status)
    }

    const fn row(self) -> (i64, &'static str, u16) {
        match self {
            Code::ParseError => (-32700, "Parse error", 400),
            Code::InvalidRequest => (-32600, "Invalid Request", 400),
            Code::MethodNotFound => (-32601, "Method not found", 404),
            Code::InvalidParams => (-32602, "Invalid params", 400),
            Code::InternalError => (-32603, "Internal error", 500),
            Code::BadDestination => (-32000, "Bad Destination", 400),
            Code::MovedPermanently => (-32001, "Moved Permanently", 307),
            Code::Unauthorized => (-32002, "Unauthorized", 401),
            Code::Unavailable => (-32003, "Unavailable", 503),
            Code::NotFound => (-32004, "Not Found", 404),
            Code::TooLarge => (-32005, "Too Large", 413),
        }
    }
}
