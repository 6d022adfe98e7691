//! The feed: what a board's page is told as it happens, as server-sent events.
//!
//! Start: the first page that listens has the runtime run [`Service::feed`]. Steady state: at each
//! event of the board, and twice a second, the board is looked at once for all pages; what changed
//! goes to each page's queue. Distress: a page whose queue is full is dropped; its browser comes
//! back by itself and is told everything anew. End: when nobody listens the feed returns, and
//! costs nothing until the next page; told to stop, it ends all streams.
//!
//! The messages, each with the JSON of the method it is named after: `node` (get_node_state),
//! `cluster` (get_cluster_state), `stats` (get_node_stats), `events` (get_node_events). A stream
//! begins with all four; then `cluster` comes when the ring has changed (and now and then for the
//! times in it), `events` when something happened, `node` and `stats` each second.
//!
//! Source: HTML Living Standard §9.2 (server-sent events).

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::base::call::{Event, MemberView, Overview};
use crate::base::limit;
use crate::base::time::Now;
use crate::service::destination::race;
use crate::service::method::{Outcome, shown};
use crate::service::{Board, Service};

/// A browser whose stream broke comes back after this, milliseconds.
const RETRY_MS: u64 = 1_000;
/// `stats` goes out at every so many looks.
const LOOKS_PER_STATS: u64 = 2;
/// `cluster` goes out at every so many looks, changed or not: it says since when, which moves on.
const LOOKS_PER_CLUSTER: u64 = 20;

/// Who listens.
#[derive(Debug, Default)]
pub(in crate::service) struct Feed {
    listeners: Mutex<Listeners>,
    stirred: Notify,
}

#[derive(Debug, Default)]
struct Listeners {
    streams: Vec<mpsc::Sender<Bytes>>,
    running: bool,
    stopped: bool,
    /// The last event that the page which started the feed was told of.
    told_event: u64,
}

/// One page's stream.
#[derive(Debug)]
pub struct Subscription {
    /// Its messages; the stream ends with them.
    pub messages: mpsc::Receiver<Bytes>,
    /// [`Service::feed`] is to be run: it does not yet.
    pub first: bool,
}

impl Feed {
    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream; `event` is the last one its opening tells of.
    fn subscribe(&self, opening: Bytes, event: u64) -> Option<Subscription> {
        let mut listeners = self.listeners();
        listeners.streams.retain(|stream| !stream.is_closed());
        if listeners.stopped || listeners.streams.len() >= limit::FEED_STREAMS_MAX {
            return None;
        }
        let (stream, messages) = mpsc::channel(limit::FEED_MESSAGES_MAX);
        stream
            .try_send(opening)
            .expect("a fresh queue takes a message");
        listeners.streams.push(stream);
        let first = !std::mem::replace(&mut listeners.running, true);
        if first {
            listeners.told_event = event;
        }
        Some(Subscription { messages, first })
    }

    /// Sends to each page that keeps up; false when none is left, and the feed is over.
    fn send(&self, message: &Bytes) -> bool {
        let mut listeners = self.listeners();
        listeners.streams.retain(|stream| match message.is_empty() {
            true => !stream.is_closed(),
            false => stream.try_send(message.clone()).is_ok(),
        });
        listeners.running = !listeners.streams.is_empty();
        listeners.running
    }

    fn stop(&self) {
        let mut listeners = self.listeners();
        listeners.stopped = true;
        listeners.streams.clear();
        drop(listeners);
        self.stirred.notify_one();
    }
}

/// What the pages were last told.
#[derive(Debug, Default)]
struct Told {
    looks: u64,
    ring: Option<(Vec<MemberView>, bool)>,
    event: u64,
}

/// The ring without what moves on by itself.
fn ring_of(overview: &Overview) -> (Vec<MemberView>, bool) {
    let still = |member: &MemberView| MemberView {
        for_time: Duration::ZERO,
        giving_up: None,
        ..member.clone()
    };
    (
        overview.members.iter().map(still).collect(),
        overview.settled,
    )
}

impl<B: Board> Service<B> {
    /// Something happened to the board: it is noted, and pages are told.
    pub fn happened(&self, now: Now, event: &Event) {
        self.facts().journal.note(now, event);
        self.shared.feed.stirred.notify_one();
    }

    /// A page's stream, with what it is told first in its queue; none when there are too many, or
    /// the board is stopping.
    pub async fn listen(&self) -> Option<Subscription> {
        let mut text = format!("retry: {RETRY_MS}\n\n");
        if let Some(overview) = self.overview_soon().await {
            self.tell(&mut text, &["node", "cluster", "stats"], &overview);
        }
        let event = self.tell_events(&mut text, 0).unwrap_or_default();
        self.shared.feed.subscribe(text.into(), event)
    }

    /// Feeds the pages until none listens.
    pub async fn feed(&self) {
        let feed = &self.shared.feed;
        let mut told = Told {
            event: feed.listeners().told_event,
            ..Told::default()
        };
        loop {
            let stirred = feed.stirred.notified();
            if race(stirred, self.sleep(limit::FEED_INTERVAL))
                .await
                .is_some()
            {
                self.sleep(limit::FEED_GATHER).await;
            }
            let message = self.look(&mut told).await;
            if !feed.send(&message) {
                return;
            }
        }
    }

    /// Ends every stream, and lets none begin.
    pub fn stop_feed(&self) {
        self.shared.feed.stop();
    }

    /// What has changed since the pages were last told; may be empty.
    async fn look(&self, told: &mut Told) -> Bytes {
        let mut text = String::new();
        if let Some(overview) = self.overview_soon().await {
            told.looks += 1;
            let ring = Some(ring_of(&overview));
            if ring != told.ring || told.looks.is_multiple_of(LOOKS_PER_CLUSTER) {
                told.ring = ring;
                self.tell(&mut text, &["cluster"], &overview);
            }
            if told.looks.is_multiple_of(LOOKS_PER_STATS) {
                self.tell(&mut text, &["node", "stats"], &overview);
            }
        }
        if let Some(number) = self.tell_events(&mut text, told.event) {
            told.event = number;
        }
        text.into()
    }

    fn tell(&self, text: &mut String, names: &[&str], overview: &Overview) {
        for name in names {
            write_message(text, name, shown(name, self.facts(), overview));
        }
    }

    /// The events after that number; returns the last one's.
    fn tell_events(&self, text: &mut String, after: u64) -> Option<u64> {
        let entries = self.facts().journal.after(after);
        let last = entries.last()?.number;
        write_message(text, "events", crate::service::method::events(&entries));
        Some(last)
    }
}

/// A result that cannot be written is left out: the next look tries again.
fn write_message(text: &mut String, name: &str, data: Outcome) {
    if let Ok(data) = data {
        // JSON as it is written here has no line breaks, so that one data line takes all of it.
        write!(text, "event: {name}\ndata: {}\n\n", data.get())
            .expect("a String takes all that is written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_does_not_read_is_dropped_and_the_others_go_on() {
        let feed = Feed::default();
        let mut reading = feed.subscribe("opening".into(), 0).unwrap();
        let slow = feed.subscribe("opening".into(), 0).unwrap();
        assert!(reading.first && !slow.first);
        let mut read = 0;
        for _ in 0..limit::FEED_MESSAGES_MAX * 2 {
            assert!(feed.send(&Bytes::from_static(b"message")));
            while reading.messages.try_recv().is_ok() {
                read += 1;
            }
        }
        assert_eq!(read, limit::FEED_MESSAGES_MAX * 2 + 1);
        assert_eq!(feed.listeners().streams.len(), 1);
        assert_eq!(slow.messages.len(), limit::FEED_MESSAGES_MAX);
    }

    #[test]
    fn streams_are_bounded_and_a_place_is_free_again_when_a_page_is_gone() {
        let feed = Feed::default();
        let mut streams: Vec<_> = (0..limit::FEED_STREAMS_MAX)
            .map(|_| feed.subscribe("opening".into(), 0).unwrap())
            .collect();
        assert!(feed.subscribe("opening".into(), 0).is_none());
        streams.pop();
        assert!(feed.subscribe("opening".into(), 0).is_some());
    }

    #[test]
    fn a_feed_without_pages_ends_and_begins_again_with_the_next() {
        let feed = Feed::default();
        let page = feed.subscribe("opening".into(), 0).unwrap();
        drop(page);
        assert!(!feed.send(&Bytes::new()));
        assert!(feed.subscribe("opening".into(), 0).unwrap().first);
        feed.stop();
        assert!(feed.subscribe("opening".into(), 0).is_none());
    }
}
