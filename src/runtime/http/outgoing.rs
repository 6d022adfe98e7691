//! The body of a response: all of it at once, or a page's feed as it comes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// What is sent after the head.
#[derive(Debug)]
pub(super) enum Outbound {
    /// All there is; none once it was taken.
    Whole(Option<Bytes>),
    /// Messages until their sender is gone.
    Feed(mpsc::Receiver<Bytes>),
}

impl Outbound {
    /// A body of known length.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Outbound::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut *self {
            Outbound::Whole(bytes) => Poll::Ready(bytes.take()),
            Outbound::Feed(messages) => messages.poll_recv(context),
        };
        bytes.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Outbound::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outbound::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Outbound::Feed(_) => SizeHint::default(),
        }
    }
}
