//! The task behind events: the clock, the values and the connections for the publisher machine.
//!
//! Decides nothing about subscriptions (`proto/gena`) and knows no variable (`service/device`).
//! While nobody subscribes it waits for a request and for nothing else: no timer, no look at the
//! board. With a subscriber it looks at the board when something changed, at most as often as a
//! variable may be told. Each event is delivered by a task of its own, of which a subscription has
//! one at a time; when the subscription ends it is given up. It ends when the service does.
//! Source: UDA 2.0 §4.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::client::Connection;
use crate::base::call::{Call, Reply};
use crate::base::limit;
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::proto::gena::{Ask, Granted, Notify, Outcome, Publisher, Refused};
use crate::service::{self, Board, device};
use crate::wire::gena::Sid;

/// A subscriber's answer to an event says nothing: more than this ends the connection.
const ANSWER_BYTES_MAX: usize = 4 * 1_024;
/// A board that gives no overview is asked again after this.
const RETRY_DELAY: Duration = Duration::from_secs(1);

type Asked = (Ask, oneshot::Sender<Result<Granted, Refused>>);

/// Starts the task; what is returned is for the service. `changes` says when values may differ.
pub fn start<B: Board>(board: B, changes: watch::Receiver<()>, rng: Rng) -> service::Publisher {
    let (asks, asked) = mpsc::channel(limit::GENA_REQUESTS_MAX);
    let (done, outcomes) = mpsc::unbounded_channel();
    let task = Task {
        board,
        changes,
        asked,
        done,
        outcomes,
        publisher: Publisher::new(device::topics(), rng),
        deliveries: BTreeMap::new(),
        start: Instant::now(),
        look_at: None,
        looked: None,
    };
    tokio::spawn(task.run());
    std::sync::Arc::new(move |ask| {
        let asks = asks.clone();
        Box::pin(async move {
            let (answer, granted) = oneshot::channel();
            let sent = asks.send((ask, answer)).await;
            sent.map_err(|_| Refused::Stopping)?;
            granted.await.map_err(|_| Refused::Stopping)?
        })
    })
}

struct Task<B> {
    board: B,
    changes: watch::Receiver<()>,
    asked: mpsc::Receiver<Asked>,
    done: mpsc::UnboundedSender<(Sid, u32, Outcome)>,
    outcomes: mpsc::UnboundedReceiver<(Sid, u32, Outcome)>,
    publisher: Publisher,
    /// Events on their way, by subscription.
    deliveries: BTreeMap<Sid, AbortHandle>,
    start: Instant,
    /// When the board is to be looked at.
    look_at: Option<Instant>,
    looked: Option<Instant>,
}

impl<B: Board> Task<B> {
    async fn run(mut self) {
        loop {
            let deadline = self.deadline();
            let idle = self.publisher.is_idle();
            tokio::select! {
                asked = self.asked.recv() => match asked {
                    Some(asked) => self.ask(asked),
                    None => return,
                },
                changed = self.changes.changed(), if !idle => match changed {
                    Ok(()) => self.want_look(),
                    Err(_) => return,
                },
                Some((sid, seq, outcome)) = self.outcomes.recv() => {
                    tracing::trace!(%sid, seq, ?outcome, "an event went out");
                    self.deliveries.remove(&sid);
                    self.publisher.handle_delivered(&sid, seq, outcome);
                }
                () = wait(deadline) => {}
            }
            if self.look_at.is_some_and(|at| at <= Instant::now()) {
                self.look().await;
            }
            self.publisher.handle_timeout(self.now());
            self.deliver();
        }
    }

    /// Begins what is to be delivered and gives up what nobody waits for any more: whoever
    /// subscribes and cancels in turn must not leave connections behind.
    fn deliver(&mut self) {
        let publisher = &self.publisher;
        self.deliveries.retain(|sid, delivery| {
            let wanted = publisher.has(sid);
            if !wanted {
                delivery.abort();
            }
            wanted
        });
        while let Some(notify) = self.publisher.poll_transmit() {
            let sid = notify.sid.clone();
            let delivery = tokio::spawn(deliver(notify, self.done.clone()));
            self.deliveries.insert(sid, delivery.abort_handle());
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.publisher.is_idle() {
            return None;
        }
        let machine = self.publisher.poll_timeout();
        let machine = machine.map(|time| self.start + Duration::from_micros(time.0));
        [machine, self.look_at].into_iter().flatten().min()
    }

    fn ask(&mut self, (ask, answer): Asked) {
        let was_idle = self.publisher.is_idle();
        let granted = self.publisher.handle_ask(self.now(), ask);
        if was_idle && granted.is_ok() {
            // What changed before is part of what the first look shows.
            self.changes.mark_unchanged();
            self.look_at = Some(Instant::now());
        }
        // A subscriber that has gone is found out by its first event.
        let _ = answer.send(granted);
    }

    fn want_look(&mut self) {
        let now = Instant::now();
        let next = self.looked.map(|at| at + limit::GENA_EVENT_INTERVAL_MIN);
        self.look_at
            .get_or_insert(next.map_or(now, |next| next.max(now)));
    }

    async fn look(&mut self) {
        self.look_at = None;
        if self.publisher.is_idle() {
            return;
        }
        self.looked = Some(Instant::now());
        match self.board.call(Call::Overview).await {
            Ok(Reply::Overview(overview)) => {
                let now = self.now();
                self.publisher.handle_values(now, device::values(&overview));
            }
            other => {
                tracing::debug!(?other, "no overview for events");
                self.look_at = Some(Instant::now() + RETRY_DELAY);
            }
        }
    }
}

async fn wait(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn deliver(notify: Notify, done: mpsc::UnboundedSender<(Sid, u32, Outcome)>) {
    let outcome = send(&notify).await;
    // The publisher has ended when nobody takes it.
    let _ = done.send((notify.sid, notify.seq, outcome));
}

async fn send(notify: &Notify) -> Outcome {
    let method = Method::from_bytes(b"NOTIFY").expect("a method of letters");
    let (sid, seq) = (notify.sid.to_string(), notify.seq.to_string());
    let fields = [
        ("Content-Type", "text/xml; charset=\"utf-8\""),
        ("NT", "upnp:event"),
        ("NTS", "upnp:propchange"),
        ("SID", sid.as_str()),
        ("SEQ", seq.as_str()),
        ("Connection", "close"),
    ];
    let body: Bytes = notify.body.clone();
    let mut connection = Connection::bounded(notify.to.to, ANSWER_BYTES_MAX);
    let time_max = limit::GENA_DELIVERY_TIME_MAX;
    let sent = connection.ask(method, &notify.to.path, &fields, body, time_max);
    match sent.await {
        Ok((200..=299, _)) => Outcome::Taken,
        Ok((412, _)) => Outcome::Disowned,
        Ok((status, _)) => {
            tracing::debug!(to = %notify.to.to, status, "an event was not taken");
            Outcome::Failed
        }
        Err(error) => {
            tracing::debug!(to = %notify.to.to, %error, "an event was not taken");
            Outcome::Failed
        }
    }
}
