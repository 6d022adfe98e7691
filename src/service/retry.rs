//! A request that is sent again runs once: the answers of a session's last writes are kept.
//!
//! A client that holds the key and got no answer cannot know whether its write was done; it sends
//! the same request again, with the same id, under a new number of its session. Such a request gets
//! the answer of the first, which may still be on its way. Another request under that id replaces
//! what was kept, so that only a repetition with nothing between is taken for one. Strangers have
//! no session, and nothing of theirs is kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::rpc::Answered;
use crate::base::limit;
use crate::base::time::Time;
use crate::security::rnd1::Party;

/// A session and the ids of its request.
type Key = (Party, String);
/// An answer, once it is there.
pub(super) type Place = Arc<OnceCell<Answered>>;

/// The answers that are kept.
#[derive(Debug, Default)]
pub(super) struct Retries {
    kept: BTreeMap<Key, Kept>,
    /// In the order they were first asked for.
    order: VecDeque<(Time, Key)>,
}

#[derive(Debug)]
struct Kept {
    body: [u8; 32],
    since: Time,
    place: Place,
}

impl Retries {
    /// The place of the answer to a request: that of the first, if this is the second.
    pub(super) fn place(&mut self, now: Time, key: Key, body: [u8; 32]) -> Place {
        while let Some((since, oldest)) = self.order.front()
            && (now.since(*since) > limit::RETRY_TIME_MAX
                || self.order.len() >= limit::RETRIES_KEPT_MAX)
        {
            if self.kept.get(oldest).is_some_and(|it| it.since == *since) {
                self.kept.remove(oldest);
            }
            self.order.pop_front();
        }
        if let Some(kept) = self.kept.get(&key).filter(|kept| kept.body == body) {
            return kept.place.clone();
        }
        let place = Place::default();
        let kept = Kept {
            body,
            since: now,
            place: place.clone(),
        };
        self.order.push_back((now, key.clone()));
        self.kept.insert(key, kept);
        place
    }

    /// Forgets an answer that is too large to keep.
    pub(super) fn forget(&mut self, key: &Key) {
        self.kept.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn same(a: &Place, b: &Place) -> bool {
        Arc::ptr_eq(a, b)
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_repetition_has_the_place_of_the_first() {
        let mut retries = Retries::default();
        let key = |session| ([session; 32], "1".to_owned());
        let first = retries.place(at(0), key(1), [1; 32]);
        assert!(same(&first, &retries.place(at(5), key(1), [1; 32])));
        assert!(
            !same(&first, &retries.place(at(5), key(2), [1; 32])),
            "another session"
        );
        assert!(
            !same(&first, &retries.place(at(5), key(1), [2; 32])),
            "another request"
        );
        assert!(
            !same(&first, &retries.place(at(5), key(1), [1; 32])),
            "after another one"
        );
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_time() {
        let mut retries = Retries::default();
        for number in 0..2 * limit::RETRIES_KEPT_MAX {
            retries.place(at(0), ([0; 32], number.to_string()), [0; 32]);
        }
        assert_eq!(retries.kept.len(), limit::RETRIES_KEPT_MAX);
        let late = at(1) + limit::RETRY_TIME_MAX;
        retries.place(late, ([1; 32], String::new()), [0; 32]);
        assert_eq!((retries.kept.len(), retries.order.len()), (1, 1));
    }
}
