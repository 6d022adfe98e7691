//! GENA as one machine: who subscribed to which service's events, and what each is to be sent.
//!
//! Owns no socket, clock or source of values, and delivers nothing itself. Start: no subscription,
//! nothing to do and no deadline. A subscription is granted a SID and a time; a moment later its
//! first event (SEQ 0) carries every variable of the service. Steady state:
//! [`Publisher::handle_values`] says what the values are; a variable that changed is told to every
//! subscriber of its service at once, or when 0.2 s have passed since it was told last. Distress:
//! an event that reaches none of its subscriber's URLs is lost and SEQ shows the gap; after a few
//! in a row, or when the subscriber disowns the SID, the subscription ends, and a slow subscriber
//! loses its oldest event. End: cancelled, expired or dropped; with the last one gone there is
//! nothing to do again.
//!
//! ```text
//!            subscribe            first event            change
//!   (none) ───────────▶ granted ─────────────▶ told ◀───────────╮
//!      ▲                   │                    │ ╰──────────────╯
//!      ╰──── cancel · expiry · failures · disowned ──────────────
//! ```
//!
//! Polling order after each `handle_*`: [`Publisher::poll_transmit`] until empty, then
//! [`Publisher::poll_timeout`]. Source: UDA 2.0 §4.1 (subscriptions), §4.3 (events).

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::base::limit;
use crate::base::rng::{Rng, RngExt};
use crate::base::time::Time;
use crate::wire::gena::{Request, Sid, Timeout, property_set};
use crate::wire::ssdp::Location;

#[cfg(test)]
mod tests;

/// Names a service by its place in what [`Publisher::new`] was given.
pub type Topic = usize;

/// A request of a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// At which service.
    pub topic: Topic,
    /// Who asks.
    pub from: SocketAddr,
    /// What.
    pub request: Request,
}

/// What a subscriber is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Under which name.
    pub sid: Sid,
    /// For so long; 0: it is cancelled.
    pub seconds: u32,
}

/// Why a request is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The subscriber's mistake: events go to the one who asked and to nobody else.
    #[error("CALLBACK names another address than yours; events are sent to whoever subscribes")]
    Stranger,
    /// The subscriber's mistake, or it came too late.
    #[error("no such subscription; it was cancelled or has expired, subscribe again")]
    Unknown,
    /// Nobody's mistake.
    #[error(
        "{max} subscriptions are all there can be; try again later",
        max = limit::GENA_SUBSCRIPTIONS_MAX
    )]
    Full,
    /// The subscriber's host has its share: one host does not keep the others out.
    #[error(
        "your host has {max} subscriptions, all that one may have; cancel one, or let one expire",
        max = limit::GENA_SUBSCRIPTIONS_PER_SOURCE_MAX
    )]
    Crowded,
    /// The board is stopping.
    #[error("the board is stopping; subscribe to another")]
    Stopping,
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The subscriber's address, with the zone it was heard in.
    pub to: SocketAddr,
    /// The path there.
    pub path: String,
}

/// An event to deliver to one URL; its outcome is told by [`Publisher::handle_delivered`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Of which subscription.
    pub sid: Sid,
    /// Its number.
    pub seq: u32,
    /// Where to.
    pub to: Callback,
    /// The property set.
    pub body: Bytes,
}

/// What became of a [`Notify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The subscriber took it.
    Taken,
    /// No answer in time, or one that is no success.
    Failed,
    /// The subscriber knows no such subscription (412).
    Disowned,
}

/// An event that waits.
#[derive(Clone, Debug)]
struct Event {
    seq: u32,
    body: Bytes,
}

/// An event on its way.
#[derive(Debug)]
struct Flight {
    event: Event,
    /// The URL that is tried.
    tried: usize,
    /// It was handed out; the outcome is not known yet.
    sent: bool,
}

#[derive(Debug)]
struct Subscription {
    topic: Topic,
    /// The host it was asked from, and where its events go.
    source: IpAddr,
    callbacks: Vec<Callback>,
    expires: Time,
    /// When the first event is due; none once it was made.
    first_at: Option<Time>,
    seq: u32,
    queue: VecDeque<Event>,
    flight: Option<Flight>,
    failures: u32,
}

impl Subscription {
    fn push(&mut self, body: Bytes) {
        if self.queue.len() == limit::GENA_QUEUE_MAX {
            self.queue.pop_front();
        }
        let seq = self.seq;
        self.queue.push_back(Event { seq, body });
        // 0 is the first event's alone (UDA 2.0 §4.3.2).
        self.seq = seq.checked_add(1).unwrap_or(1);
    }
}

/// A variable of a service.
#[derive(Debug)]
struct Variable {
    name: &'static str,
    value: Option<String>,
    /// The value that subscribers know, and since when.
    told: Option<(String, Time)>,
}

impl Variable {
    fn changed(&self) -> bool {
        self.value.as_ref() != self.told.as_ref().map(|(value, _)| value)
    }

    /// When the change may be told; none when there is none.
    fn due(&self) -> Option<Time> {
        self.changed().then(|| {
            let told = self.told.as_ref();
            told.map_or(Time::ZERO, |(_, at)| *at + limit::GENA_EVENT_INTERVAL_MIN)
        })
    }
}

/// The machine; see the file's header.
#[derive(Debug)]
pub struct Publisher {
    topics: Vec<Vec<Variable>>,
    subscriptions: BTreeMap<Sid, Subscription>,
    rng: Rng,
}

impl Publisher {
    /// A publisher of services with these evented variables.
    pub fn new(topics: impl IntoIterator<Item = Vec<&'static str>>, rng: Rng) -> Self {
        let variable = |name| Variable {
            name,
            value: None,
            told: None,
        };
        let topics = topics.into_iter();
        Publisher {
            topics: topics
                .map(|names| names.into_iter().map(variable).collect())
                .collect(),
            subscriptions: BTreeMap::new(),
            rng,
        }
    }

    /// Nobody subscribes: values need not be looked at, and there is no deadline.
    pub fn is_idle(&self) -> bool {
        self.subscriptions.is_empty()
    }

    /// The subscription has not ended: an event on its way to it is still wanted.
    pub fn has(&self, sid: &Sid) -> bool {
        self.subscriptions.contains_key(sid)
    }

    /// Carries out a request.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    ///
    /// # Panics
    /// When there is no such topic.
    pub fn handle_ask(&mut self, now: Time, ask: Ask) -> Result<Granted, Refused> {
        self.expire(now);
        let Ask {
            topic,
            from,
            request,
        } = ask;
        assert!(topic < self.topics.len(), "a service of this publisher");
        match request {
            Request::Subscribe { callbacks, timeout } => {
                self.subscribe(now, topic, from, &callbacks, timeout)
            }
            Request::Renew { sid, timeout } => {
                let known = self.subscriptions.get_mut(&sid);
                let known = known.filter(|known| known.topic == topic);
                let seconds = timeout.seconds();
                known.ok_or(Refused::Unknown)?.expires = now + span(seconds);
                Ok(Granted { sid, seconds })
            }
            Request::Cancel { sid } => {
                let known = self.subscriptions.get(&sid);
                if known.is_none_or(|known| known.topic != topic) {
                    return Err(Refused::Unknown);
                }
                self.subscriptions.remove(&sid);
                Ok(Granted { sid, seconds: 0 })
            }
        }
    }

    fn subscribe(
        &mut self,
        now: Time,
        topic: Topic,
        from: SocketAddr,
        callbacks: &[Location],
        timeout: Timeout,
    ) -> Result<Granted, Refused> {
        let own = from.ip().to_canonical();
        if callbacks.iter().any(|url| url.address().ip() != own) {
            return Err(Refused::Stranger);
        }
        let taken = self.subscriptions.values();
        let taken = taken.filter(|known| known.source == own).count();
        if taken >= limit::GENA_SUBSCRIPTIONS_PER_SOURCE_MAX {
            return Err(Refused::Crowded);
        }
        if self.subscriptions.len() >= limit::GENA_SUBSCRIPTIONS_MAX {
            return Err(Refused::Full);
        }
        let callback = |url: &Location| {
            // The subscriber's own address keeps the zone that a URL cannot carry.
            let mut to = from;
            if from.ip() != own {
                to.set_ip(own);
            }
            to.set_port(url.address().port());
            let path = url.path().to_owned();
            Callback { to, path }
        };
        let sid = Sid::new(self.rng.random());
        let seconds = timeout.seconds();
        let subscription = Subscription {
            topic,
            source: own,
            callbacks: callbacks.iter().map(callback).collect(),
            expires: now + span(seconds),
            first_at: Some(now + limit::GENA_FIRST_DELAY),
            seq: 0,
            queue: VecDeque::new(),
            flight: None,
            failures: 0,
        };
        self.subscriptions.insert(sid.clone(), subscription);
        Ok(Granted { sid, seconds })
    }

    /// Takes the values there are, each service's in the order of its variables.
    ///
    /// # Panics
    /// When they are not as many as there are variables.
    pub fn handle_values(&mut self, now: Time, values: Vec<Vec<String>>) {
        assert_eq!(values.len(), self.topics.len(), "values of every service");
        for (topic, values) in self.topics.iter_mut().zip(values) {
            assert_eq!(values.len(), topic.len(), "a value of every variable");
            for (variable, value) in topic.iter_mut().zip(values) {
                variable.value = Some(value);
            }
        }
        self.handle_timeout(now);
    }

    /// Takes what became of an event.
    pub fn handle_delivered(&mut self, sid: &Sid, seq: u32, outcome: Outcome) {
        // It may have been cancelled or have expired meanwhile.
        let Some(subscription) = self.subscriptions.get_mut(sid) else {
            return;
        };
        let Some(flight) = subscription.flight.as_mut() else {
            return;
        };
        if flight.event.seq != seq || !flight.sent {
            return;
        }
        match outcome {
            Outcome::Taken => {
                subscription.flight = None;
                subscription.failures = 0;
            }
            Outcome::Failed if flight.tried + 1 < subscription.callbacks.len() => {
                flight.tried += 1;
                flight.sent = false;
            }
            Outcome::Failed => {
                subscription.flight = None;
                subscription.failures += 1;
                if subscription.failures >= limit::GENA_FAILURES_MAX {
                    self.subscriptions.remove(sid);
                }
            }
            Outcome::Disowned => {
                self.subscriptions.remove(sid);
            }
        }
    }

    /// Carries out what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.expire(now);
        if self.is_idle() {
            // Whoever subscribes next is told everything, and nothing that was true long ago.
            for variable in self.topics.iter_mut().flatten() {
                variable.value = None;
                variable.told = None;
            }
            return;
        }
        for topic in 0..self.topics.len() {
            self.tell_changes(now, topic);
        }
        self.tell_first(now);
    }

    /// Tells a service's changes that are due to those who had their first event.
    fn tell_changes(&mut self, now: Time, topic: Topic) {
        let due: Vec<_> = self.topics[topic]
            .iter_mut()
            .filter(|variable| variable.due().is_some_and(|at| at <= now))
            .collect();
        if due.is_empty() {
            return;
        }
        let mut values = Vec::with_capacity(due.len());
        for variable in due {
            let value = variable.value.clone().expect("what is due has a value");
            variable.told = Some((value.clone(), now));
            values.push((variable.name, value));
        }
        let body = Bytes::from(property_set(
            values.iter().map(|(name, value)| (*name, value.as_str())),
        ));
        let told = self
            .subscriptions
            .values_mut()
            .filter(|subscription| subscription.topic == topic && subscription.first_at.is_none());
        told.for_each(|subscription| subscription.push(body.clone()));
    }

    fn tell_first(&mut self, now: Time) {
        for subscription in self.subscriptions.values_mut() {
            if subscription.first_at.is_none_or(|at| at > now) {
                continue;
            }
            let topic = &self.topics[subscription.topic];
            let values: Option<Vec<_>> = topic
                .iter()
                .map(|variable| Some((variable.name, variable.value.as_deref()?)))
                .collect();
            if let Some(values) = values {
                subscription.first_at = None;
                subscription.push(property_set(values).into());
            }
        }
    }

    fn expire(&mut self, now: Time) {
        self.subscriptions
            .retain(|_, subscription| subscription.expires > now);
    }

    /// The next event to deliver: at most one at a time to each subscriber.
    pub fn poll_transmit(&mut self) -> Option<Notify> {
        self.subscriptions.iter_mut().find_map(|(sid, it)| {
            if it.flight.is_none() {
                it.flight = it.queue.pop_front().map(|event| Flight {
                    event,
                    tried: 0,
                    sent: false,
                });
            }
            let flight = it.flight.as_mut().filter(|flight| !flight.sent)?;
            flight.sent = true;
            Some(Notify {
                sid: sid.clone(),
                seq: flight.event.seq,
                to: it.callbacks[flight.tried].clone(),
                body: flight.event.body.clone(),
            })
        })
    }

    /// When [`Publisher::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let known = |topic: &Topic| self.topics[*topic].iter().all(|v| v.value.is_some());
        let subscriptions = self.subscriptions.values().flat_map(|subscription| {
            // Without values a first event waits for them, not for a time.
            let first = subscription.first_at.filter(|_| known(&subscription.topic));
            [Some(subscription.expires), first]
        });
        let variables = self.topics.iter().flatten().map(Variable::due);
        let variables = variables.filter(|_| !self.is_idle());
        subscriptions.chain(variables).flatten().min()
    }

    /// Panics when a bound is passed or a subscription contradicts itself.
    pub fn check_invariants(&self) {
        assert!(self.subscriptions.len() <= limit::GENA_SUBSCRIPTIONS_MAX);
        let mut taken = BTreeMap::<IpAddr, usize>::new();
        for subscription in self.subscriptions.values() {
            *taken.entry(subscription.source).or_default() += 1;
            assert!((1..=limit::GENA_CALLBACKS_MAX).contains(&subscription.callbacks.len()));
            assert!(subscription.queue.len() <= limit::GENA_QUEUE_MAX);
            assert!(subscription.failures < limit::GENA_FAILURES_MAX);
            if subscription.first_at.is_some() {
                assert!(subscription.seq == 0 && subscription.queue.is_empty());
            }
        }
        let most = taken.values().max().copied().unwrap_or_default();
        assert!(most <= limit::GENA_SUBSCRIPTIONS_PER_SOURCE_MAX);
    }
}

fn span(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}
