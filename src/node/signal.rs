//! The signals that end a board: SIGTERM and SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{RunError, system};

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from here on.
    ///
    /// # Errors
    /// The system's, when it gives no notice of signals.
    pub(super) fn new() -> Result<Signals, RunError> {
        let listen = |kind| signal(kind).map_err(system("signals cannot be received"));
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of either.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
