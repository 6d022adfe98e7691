//! Streams to other boards: a task each that cuts what arrives into frames and writes what the
//! board sends.
//!
//! Until the board at the other end has proved who it is ([`Writer::trust`]) no more is read than a
//! hello takes, and events wait while the driver has many: a stranger fills no memory.
//!
//! Dropping a stream's [`Writer`] ends it after what was queued has been written. What waits to be
//! written is bounded; a board too slow to take it loses the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use crate::base::endpoint::SocketAddr;
use crate::base::limit;
use crate::proto::board::LinkId;
use crate::wire::frame::{self, Frame};

/// Bytes read at a time; most frames are smaller.
const READ_BYTES: usize = 4_096;
/// The same of a stranger, who sends a hello and no more.
const STRANGERS_READ_BYTES: usize = 512;
/// Bytes gathered for one write.
const WRITE_BYTES: usize = 64 * 1_024;
/// A buffer that grew beyond this is given back once it is empty.
const BUFFER_KEPT_BYTES: usize = 64 * 1_024;

/// What a stream tells the driver.
#[derive(Debug)]
pub enum StreamEvent {
    /// The connection is there; give it to [`run`].
    Opened(TcpStream),
    /// A whole frame.
    Frame(Frame),
    /// It has ended, or could not be opened.
    Closed,
}

/// Where streams tell what happens; it is bounded, and a full one makes them wait.
pub type Events = mpsc::Sender<(LinkId, StreamEvent)>;

/// The sending end of a stream.
#[derive(Debug)]
pub struct Writer {
    queue: Option<mpsc::UnboundedSender<Bytes>>,
    waiting: Arc<AtomicUsize>,
    trusted: watch::Sender<bool>,
    /// Dropped together with the writer of a stream that is not open yet.
    _cancel: Option<oneshot::Sender<()>>,
}

impl Writer {
    /// The board at the other end has proved who it is: it may send large frames.
    pub fn trust(&self) {
        self.trusted.send_replace(true);
    }

    /// Queues a frame. False: more waits than the other side takes, and the stream is to be
    /// given up.
    pub fn send(&self, bytes: Bytes) -> bool {
        let Some(queue) = &self.queue else {
            return true;
        };
        let length = bytes.len();
        let waiting = self.waiting.fetch_add(length, Ordering::Relaxed) + length;
        waiting <= limit::LINK_QUEUE_BYTES_MAX && queue.send(bytes).is_ok()
    }
}

/// Connects; the events say how that went.
pub fn open(id: LinkId, to: SocketAddr, events: Events) -> Writer {
    let (cancel, cancelled) = oneshot::channel();
    tokio::spawn(async move {
        let connect = tokio::time::timeout(limit::LINK_OPEN_TIME_MAX, TcpStream::connect(to));
        tokio::select! {
            connected = connect => {
                let event = match connected {
                    Ok(Ok(socket)) => StreamEvent::Opened(socket),
                    _ => StreamEvent::Closed,
                };
                let _ = events.send((id, event)).await;
            }
            _ = cancelled => {}
        }
    });
    Writer {
        queue: None,
        waiting: Arc::default(),
        trusted: watch::channel(false).0,
        _cancel: Some(cancel),
    }
}

/// Runs an open stream.
pub fn run(id: LinkId, socket: TcpStream, events: Events) -> Writer {
    // Without it a small frame waits for the acknowledgement of the one before.
    let _ = socket.set_nodelay(true);
    let (queue, queued) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let left = waiting.clone();
    let (trusted, trust) = watch::channel(false);
    let (read_half, write_half) = socket.into_split();
    tokio::spawn(async move {
        tokio::select! {
            () = read(id, read_half, &events, trust) => {}
            () = write(write_half, queued, left) => {}
        }
        let _ = events.send((id, StreamEvent::Closed)).await;
    });
    Writer {
        queue: Some(queue),
        waiting,
        trusted,
        _cancel: None,
    }
}

async fn read(
    id: LinkId,
    mut socket: OwnedReadHalf,
    events: &Events,
    mut trust: watch::Receiver<bool>,
) {
    let mut buffer = BytesMut::new();
    loop {
        if buffer.len() >= limit::HELLO_BYTES_MAX && trust.wait_for(|it| *it).await.is_err() {
            return;
        }
        let trusted = *trust.borrow();
        buffer.reserve(if trusted {
            READ_BYTES
        } else {
            STRANGERS_READ_BYTES
        });
        match socket.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        loop {
            match frame::take(&mut buffer) {
                Ok(Some(frame)) => {
                    if events.send((id, StreamEvent::Frame(frame))).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "stream refused");
                    return;
                }
            }
        }
        if buffer.is_empty() && buffer.capacity() > BUFFER_KEPT_BYTES {
            buffer = BytesMut::new();
        }
    }
}

async fn write(
    mut socket: OwnedWriteHalf,
    mut queued: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<AtomicUsize>,
) {
    while let Some(first) = queued.recv().await {
        let mut length = first.len();
        let sent = match queued.try_recv() {
            Err(_) => socket.write_all(&first).await,
            Ok(second) => {
                let mut gathered = BytesMut::from(&first[..]);
                length += second.len();
                gathered.extend_from_slice(&second);
                while gathered.len() < WRITE_BYTES
                    && let Ok(more) = queued.try_recv()
                {
                    length += more.len();
                    gathered.extend_from_slice(&more);
                }
                socket.write_all(&gathered).await
            }
        };
        waiting.fetch_sub(length, Ordering::Relaxed);
        if sent.is_err() {
            return;
        }
    }
    let _ = socket.shutdown().await;
}
