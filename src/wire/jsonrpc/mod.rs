//! JSON-RPC 2.0 messages with Round's members: bytes to valid requests and responses, and back.
//!
//! One pass over the bytes checks the grammar, the depth and that no object names a member twice,
//! and cuts the envelope into borrowed pieces; ids, params and values stay the characters that
//! were sent. What a method means is `service/method`; nothing here runs anything.
//!
//! Source: JSON-RPC 2.0 specification (2013-01-04), RFC 8259, RFC 7493 §2.3 (no duplicate names).

mod code;
mod digest;
mod query;
mod request;
mod response;
mod scan;

pub use code::Code;
pub use digest::digest_member;
pub use query::{Query, QueryError};
pub use request::{Dest, Invalid, Message, Params, Request, nearest};
pub use response::{ErrorObject, Response, ResponseError};
pub use scan::{Fault, Json};
