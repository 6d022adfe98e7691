//! When one board takes another for suspect: the strategy, behind one trait.
//!
//! A strategy makes this board's own suspicions from what it hears and from probes that failed.
//! What several boards' suspicions amount to is `vote.rs`. The implementations, `swim.rs` and
//! `phi.rs`, are named in `node/registry.rs` alone.

use std::time::Duration;

use crate::base::id::Id;
use crate::base::time::Time;

/// A way to suspect boards.
pub trait Strategy: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;
    /// One of the same kind that has heard nobody yet.
    fn fresh(&self) -> Box<dyn Strategy>;
    /// Something came from the board: an answer, a packet of its own, a frame on a link.
    fn heard(&mut self, now: Time, board: &Id);
    /// A probe of the board, direct and through others, was not answered in its time.
    fn unanswered(&mut self, now: Time, board: &Id);
    /// The board is down, is a member no more, or shows a newer incarnation.
    fn forget(&mut self, board: &Id);
    /// The next board that is suspect. It is returned again as long as it stays so, with a pause
    /// between, so that a vote that was lost on the way is cast again.
    fn poll_suspect(&mut self, now: Time) -> Option<Id>;
    /// A suspicion has so long to be refuted before votes may hold the board down.
    fn patience(&self) -> Duration;
    /// When [`Strategy::poll_suspect`] is due although nothing happened.
    fn poll_timeout(&self) -> Option<Time>;
}
