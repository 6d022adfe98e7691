//! Whose key is taken, and when it is not any more.

use std::time::Duration;

use super::{Admission, Keys, Origin};
use crate::base::time::Time;
use crate::security::key::ClusterKey;

/// Keys of a board in its pairing window, drawn from this byte.
fn pairing(byte: u8) -> Keys {
    let origin = Origin {
        window: Duration::from_secs(600),
        ..Origin::default()
    };
    Keys::new(origin, Time::ZERO, [[byte; 32], [byte + 1; 32]])
}

fn stranger() -> Keys {
    let origin = Origin {
        given: Some(ClusterKey::new(7, [9; 32])),
        ..Origin::default()
    };
    Keys::new(origin, Time::ZERO, [[0; 32], [1; 32]])
}

#[test]
fn a_window_link_made_before_the_owner_confirmed_changes_nothing_after() {
    let offer = stranger().offer(true, false);
    let mut before = pairing(1);
    let taken = before.take(Time::ZERO, &offer, Admission::Window, false);
    assert!(
        taken.is_some_and(|taken| taken.is_news),
        "the LAN is trusted so far"
    );
    let mut keys = pairing(1);
    let own = keys.keyring().current.clone();
    assert!(keys.confirm());
    for settled in [false, true] {
        let taken = keys.take(Time::ZERO, &offer, Admission::Window, settled);
        assert!(taken.is_some_and(|taken| !taken.is_news));
    }
    assert_eq!(keys.keyring().current, own);
    // A member's word on a later key is taken, as in a rotation.
    let taken = keys.take(Time::ZERO, &offer, Admission::Member, false);
    assert!(taken.is_some_and(|taken| taken.is_news));
}
