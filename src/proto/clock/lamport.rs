//! The Lamport clock that `ts` members of JSON-RPC carry.
//!
//! It orders messages for clients that ask for it and nothing else: versions of items come from
//! the hybrid clock. It starts at zero with each start of the board.
//!
//! Source: Lamport 1978, "Time, Clocks, and the Ordering of Events", rules IR1 and IR2.

/// A Lamport clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lamport(u64);

impl Lamport {
    /// The time, without advancing it.
    pub fn now(self) -> u64 {
        self.0
    }

    /// Takes note of a message stamped `ts`: max(local, ts) + 1.
    pub fn receive(&mut self, ts: u64) -> u64 {
        self.0 = self.0.max(ts).saturating_add(1);
        self.0
    }

    /// Advances the clock for a message to send, and returns its stamp.
    pub fn send(&mut self) -> u64 {
        self.0 = self.0.saturating_add(1);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_stamp_is_later_than_all_seen_before(events in prop::collection::vec(
            prop::option::of(0u64..1 << 53), 1..40,
        )) {
            let mut clock = Lamport::default();
            let mut latest = 0;
            for event in events {
                let stamp = match event {
                    Some(ts) => {
                        latest = latest.max(ts);
                        clock.receive(ts)
                    }
                    None => clock.send(),
                };
                prop_assert!(stamp > latest);
                latest = stamp;
            }
            prop_assert_eq!(clock.now(), latest);
        }
    }
}
