//! How fast items are handed over: as fast as they are taken while no client waits, and at a
//! bounded rate of bytes while some do, so that restoring copies never starves clients.
//!
//! A bucket of bytes (a leaky bucket as a meter, ITU-T I.371): sending takes from it, time fills
//! it. An item larger than what is in it may be sent when the bucket is full, and the debt is paid
//! by waiting, so that every item gets its turn.

use crate::base::limit;
use crate::base::time::Time;

/// Bytes a board sends in hand-overs.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What was sent ahead of the rate, as time: the bucket is empty until then.
    paid_until: Time,
    client: Option<Time>,
}

impl Pace {
    /// A client's operation touched this board.
    pub(super) fn note_client(&mut self, now: Time) {
        self.client = Some(now);
    }

    /// Clients are being served, or were a moment ago.
    pub(super) fn is_shared(&self, now: Time) -> bool {
        let recent = |at: Time| now.since(at) < limit::HANDOVER_CLIENT_TIME;
        self.client.is_some_and(recent)
    }

    /// Takes so many bytes, or says when they can be had.
    pub(super) fn take(&mut self, now: Time, bytes: usize) -> Result<(), Time> {
        if !self.is_shared(now) {
            self.paid_until = now;
            return Ok(());
        }
        let burst = time_of(limit::HANDOVER_BURST_BYTES);
        if self.paid_until > now + burst {
            // It can be had once the debt is down to a burst.
            return Err(Time(self.paid_until.0 - burst.as_micros() as u64));
        }
        self.paid_until = self.paid_until.max(now) + time_of(bytes as u64);
        Ok(())
    }
}

fn time_of(bytes: u64) -> std::time::Duration {
    std::time::Duration::from_micros(bytes * 1_000_000 / limit::HANDOVER_BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn without_clients_there_is_no_bound() {
        let mut pace = Pace::default();
        assert!((0..1_000).all(|_| pace.take(Time(5), 1_000_000).is_ok()));
    }

    #[test]
    fn with_clients_bytes_are_sent_at_the_rate_after_a_burst() {
        let mut pace = Pace::default();
        let (item, seconds) = (10_000, 10);
        let (mut now, mut sent) = (Time(0), 0);
        while now < Time(seconds * 1_000_000) {
            pace.note_client(now);
            match pace.take(now, item) {
                Ok(()) => sent += item as u64,
                Err(at) => {
                    assert!(at > now);
                    now = at;
                }
            }
        }
        let rate = limit::HANDOVER_BYTES_PER_SECOND * seconds;
        assert!(sent >= rate, "{sent} bytes in {seconds} s");
        let slack = limit::HANDOVER_BURST_BYTES + 2 * item as u64;
        assert!(sent <= rate + slack, "{sent} bytes in {seconds} s");
    }

    #[test]
    fn largest_item_gets_its_turn_and_the_rate_holds_after_it() {
        let mut pace = Pace::default();
        pace.note_client(Time(0));
        assert!(pace.take(Time(0), limit::VALUE_BYTES_MAX).is_ok());
        let at = pace.take(Time(0), 1).unwrap_err();
        let waited = at.since(Time(0)) + time_of(limit::HANDOVER_BURST_BYTES);
        let due = time_of(limit::VALUE_BYTES_MAX as u64);
        assert!(waited >= due - Duration::from_millis(1), "{waited:?}");
        pace.note_client(at);
        assert!(pace.take(at, 1).is_ok());
    }

    #[test]
    fn a_while_after_the_last_client_the_bound_ends() {
        let mut pace = Pace::default();
        pace.note_client(Time(0));
        assert!(pace.is_shared(Time(1)));
        assert!(!pace.is_shared(Time(0) + limit::HANDOVER_CLIENT_TIME));
    }
}
