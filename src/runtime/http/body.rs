//! Reading a request's body: at most so large, at least so fast, and not too many at once.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::base::limit;

/// A body, and the share of memory it holds until it is dropped.
pub(super) struct Held<'a> {
    /// All of it.
    pub(super) bytes: Bytes,
    _share: SemaphorePermit<'a>,
}

/// How slowly a client may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Before its first byte.
    pub(super) grace: Duration,
    /// From then on.
    pub(super) bytes_per_second_min: u64,
}

impl Pace {
    /// The time that so many bytes may have taken.
    fn earned(&self, bytes: usize) -> Duration {
        let ms = bytes as u64 * 1_000 / self.bytes_per_second_min.max(1);
        Duration::from_millis(ms)
    }
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// The client's request is too large.
    #[error("the body is larger than {max} bytes; send less at a time",
        max = limit::MESSAGE_BYTES_MAX)]
    TooLarge,
    /// The client sends too slowly.
    #[error("the body came too slowly; try again on a better connection")]
    TooSlow,
    /// The connection broke, or the chunks are malformed.
    #[error("the body ended before its length; send all of it")]
    Broken,
    /// Other clients' bodies hold all the memory there is for them.
    #[error("too many large requests at once; try again in a moment")]
    Busy,
}

/// Reads a whole body. `memory` counts KiB.
pub(super) async fn read(
    mut body: Incoming,
    memory: &Semaphore,
    pace: Pace,
) -> Result<Held<'_>, BodyError> {
    if body.size_hint().lower() > limit::MESSAGE_BYTES_MAX as u64 {
        return Err(BodyError::TooLarge);
    }
    let start = Instant::now();
    let mut share = memory.try_acquire_many(0).map_err(|_| BodyError::Busy)?;
    let mut bytes = BytesMut::new();
    loop {
        let deadline = start + pace.grace + pace.earned(bytes.len());
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > limit::MESSAGE_BYTES_MAX {
            return Err(BodyError::TooLarge);
        }
        if bytes.is_empty() && body.is_end_stream() {
            // The usual request came with its head: nothing is copied.
            return hold(data, share, memory);
        }
        bytes.extend_from_slice(&data);
        grow(&mut share, memory, bytes.len())?;
    }
    hold(bytes.freeze(), share, memory)
}

fn hold<'a>(
    bytes: Bytes,
    mut share: SemaphorePermit<'a>,
    memory: &'a Semaphore,
) -> Result<Held<'a>, BodyError> {
    grow(&mut share, memory, bytes.len())?;
    Ok(Held {
        bytes,
        _share: share,
    })
}

fn grow<'a>(
    share: &mut SemaphorePermit<'a>,
    memory: &'a Semaphore,
    bytes: usize,
) -> Result<(), BodyError> {
    let missing = bytes.div_ceil(1_024) - share.num_permits().min(bytes.div_ceil(1_024));
    let more = u32::try_from(missing).map_err(|_| BodyError::TooLarge)?;
    share.merge(memory.try_acquire_many(more).map_err(|_| BodyError::Busy)?);
    Ok(())
}
