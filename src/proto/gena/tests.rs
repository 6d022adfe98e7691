//! The publisher alone: no socket, no clock.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::rng::seeded;
use crate::wire::gena::Fields;
use crate::wire::xml::Element;

const MS: Duration = Duration::from_millis(1);
const RING: Topic = 0;
const BUCKET: Topic = 1;
const SUBSCRIBER: &str = "192.0.2.7:40000";

/// The machine, the time, and what it sent.
struct Bench {
    publisher: Publisher,
    now: Time,
    sent: Vec<Notify>,
    values: Vec<Vec<String>>,
}

impl Bench {
    fn new() -> Self {
        let topics = [vec!["State", "Successor"], vec!["ItemCount"]];
        Bench {
            publisher: Publisher::new(topics, seeded([3; 32], 0)),
            now: Time(5_000_000),
            sent: Vec::new(),
            values: vec![vec!["active".into(), "a".into()], vec!["0".into()]],
        }
    }

    fn ask(&mut self, topic: Topic, request: Request) -> Result<Granted, Refused> {
        self.ask_from(SUBSCRIBER, topic, request)
    }

    fn ask_from(&mut self, from: &str, topic: Topic, request: Request) -> Result<Granted, Refused> {
        let from = from.parse().unwrap();
        let ask = Ask {
            topic,
            from,
            request,
        };
        let granted = self.publisher.handle_ask(self.now, ask);
        self.drain();
        granted
    }

    fn subscribe(&mut self, topic: Topic, callback: &str) -> Result<Granted, Refused> {
        let request = Request::subscribe(Fields {
            nt: Some("upnp:event"),
            callback: Some(callback),
            timeout: Some("Second-300"),
            sid: None,
        });
        self.ask(topic, request.unwrap())
    }

    fn subscribed(&mut self, topic: Topic) -> Sid {
        self.subscribe(topic, "<http://192.0.2.7:80/n>")
            .unwrap()
            .sid
    }

    fn renew(&mut self, topic: Topic, sid: &Sid) -> Result<Granted, Refused> {
        let (sid, timeout) = (sid.clone(), "Second-300".parse().unwrap());
        self.ask(topic, Request::Renew { sid, timeout })
    }

    fn cancel(&mut self, topic: Topic, sid: &Sid) -> Result<Granted, Refused> {
        self.ask(topic, Request::Cancel { sid: sid.clone() })
    }

    fn set(&mut self, topic: Topic, variable: usize, value: &str) {
        self.values[topic][variable] = value.to_owned();
        self.look();
    }

    fn look(&mut self) {
        self.publisher.handle_values(self.now, self.values.clone());
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(notify) = self.publisher.poll_transmit() {
            self.sent.push(notify);
        }
        self.publisher.check_invariants();
    }

    /// Lets so much time go by, stopping at every deadline.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.publisher.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.publisher.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// What was sent since the last look, each taken by its subscriber.
    fn taken(&mut self) -> Vec<(u32, BTreeMap<String, String>)> {
        self.deliver(Outcome::Taken)
    }

    fn deliver(&mut self, outcome: Outcome) -> Vec<(u32, BTreeMap<String, String>)> {
        let mut events = Vec::new();
        while let Some(notify) = (!self.sent.is_empty()).then(|| self.sent.remove(0)) {
            let root = Element::parse(&notify.body).unwrap();
            let properties = root.children.iter().map(|property| {
                let variable = &property.children[0];
                (variable.name.clone(), variable.text.clone())
            });
            events.push((notify.seq, properties.collect()));
            self.publisher
                .handle_delivered(&notify.sid, notify.seq, outcome);
            self.drain();
        }
        events
    }
}

fn values<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.into()
}

#[test]
fn first_event_has_every_variable_and_comes_after_the_answer() {
    let mut bench = Bench::new();
    bench.subscribed(RING);
    bench.look();
    assert!(bench.sent.is_empty(), "the answer comes first");
    bench.run(limit::GENA_FIRST_DELAY);
    let all = values([("State", "active"), ("Successor", "a")]);
    assert_eq!(bench.taken(), [(0, all)]);
    bench.run(Duration::from_secs(60));
    assert!(bench.sent.is_empty(), "nothing changed");
}

#[test]
fn first_event_waits_for_values() {
    let mut bench = Bench::new();
    bench.subscribed(BUCKET);
    bench.run(Duration::from_secs(1));
    assert!(bench.sent.is_empty());
    bench.look();
    assert_eq!(bench.taken(), [(0, values([("ItemCount", "0")]))]);
}

#[test]
fn change_is_told_alone_and_to_its_service_only() {
    let mut bench = Bench::new();
    let ring = bench.subscribed(RING);
    bench.subscribed(BUCKET);
    bench.look();
    bench.run(100 * MS);
    assert_eq!(bench.taken().len(), 2);
    bench.run(200 * MS);
    bench.set(RING, 1, "b");
    assert!(bench.sent.iter().all(|notify| notify.sid == ring));
    assert_eq!(bench.taken(), [(1, values([("Successor", "b")]))]);
}

#[test]
fn variable_is_told_at_most_every_fifth_of_a_second() {
    let mut bench = Bench::new();
    bench.subscribed(BUCKET);
    bench.look();
    bench.run(Duration::from_secs(1));
    bench.taken();
    let mut told = Vec::new();
    for change in 1..=100 {
        bench.set(BUCKET, 0, &change.to_string());
        told.extend(bench.taken());
        bench.run(10 * MS);
        told.extend(bench.taken());
    }
    bench.run(Duration::from_secs(1));
    told.extend(bench.taken());
    assert!(
        (5..=7).contains(&told.len()),
        "{} in one second",
        told.len()
    );
    let numbers: Vec<_> = told.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (1..=told.len() as u32).collect::<Vec<_>>());
    assert_eq!(
        told.last().unwrap().1["ItemCount"],
        "100",
        "the last is told"
    );
}

#[test]
fn value_that_comes_back_before_it_was_told_is_not_told() {
    let mut bench = Bench::new();
    bench.subscribed(BUCKET);
    bench.look();
    bench.run(Duration::from_secs(1));
    bench.taken();
    bench.set(BUCKET, 0, "1");
    bench.taken();
    bench.set(BUCKET, 0, "2");
    bench.set(BUCKET, 0, "1");
    bench.run(Duration::from_secs(1));
    assert!(bench.sent.is_empty());
}

#[test]
fn subscription_ends_at_its_time_unless_it_is_renewed() {
    let mut bench = Bench::new();
    let sid = bench.subscribed(RING);
    bench.run(299 * 1_000 * MS);
    assert_eq!(bench.renew(RING, &sid).unwrap().seconds, 300);
    bench.run(299 * 1_000 * MS);
    assert!(!bench.publisher.is_idle());
    bench.run(2_000 * MS);
    assert!(bench.publisher.is_idle());
    assert_eq!(
        bench.publisher.poll_timeout(),
        None,
        "no timer without subscribers"
    );
    assert_eq!(bench.renew(RING, &sid), Err(Refused::Unknown));
}

#[test]
fn cancelled_subscription_is_told_nothing_more() {
    let mut bench = Bench::new();
    let sid = bench.subscribed(RING);
    bench.look();
    assert_eq!(bench.cancel(BUCKET, &sid), Err(Refused::Unknown));
    assert_eq!(bench.renew(BUCKET, &sid), Err(Refused::Unknown));
    assert_eq!(bench.cancel(RING, &sid).unwrap().seconds, 0);
    assert_eq!(bench.cancel(RING, &sid), Err(Refused::Unknown));
    bench.run(Duration::from_secs(1));
    assert!(bench.sent.is_empty());
}

#[test]
fn next_subscriber_is_told_nothing_that_was_true_long_ago() {
    let mut bench = Bench::new();
    let sid = bench.subscribed(BUCKET);
    bench.look();
    bench.cancel(BUCKET, &sid).unwrap();
    assert!(!bench.publisher.has(&sid));
    bench.publisher.handle_timeout(bench.now);
    bench.subscribed(BUCKET);
    bench.run(Duration::from_secs(1));
    assert!(bench.sent.is_empty(), "no value is known");
    bench.set(BUCKET, 0, "7");
    assert_eq!(bench.taken(), [(0, values([("ItemCount", "7")]))]);
}

#[test]
fn nobody_but_the_subscriber_is_sent_events() {
    let mut bench = Bench::new();
    for callback in [
        "<http://192.0.2.8:80/n>",
        "<http://127.0.0.1:80/n>",
        "<http://192.0.2.7:80/n><http://192.0.2.8:80/n>",
        "<http://[2001:db8::1]/n>",
    ] {
        let refused = bench.subscribe(RING, callback);
        assert_eq!(refused, Err(Refused::Stranger), "{callback}");
    }
    assert!(bench.publisher.is_idle());
}

#[test]
fn callback_keeps_the_zone_and_an_embedded_address_is_the_address() {
    let mut bench = Bench::new();
    for (from, callback, expected) in [
        ("[fe80::7%3]:9", "<http://[fe80::7]:80/n>", "[fe80::7%3]:80"),
        (
            "[::ffff:192.0.2.7]:9",
            "<http://192.0.2.7:81/n>",
            "192.0.2.7:81",
        ),
    ] {
        let request = Request::subscribe(Fields {
            nt: Some("upnp:event"),
            callback: Some(callback),
            ..Fields::default()
        });
        let ask = Ask {
            topic: BUCKET,
            from: from.parse().unwrap(),
            request: request.unwrap(),
        };
        let sid = bench.publisher.handle_ask(bench.now, ask).unwrap().sid;
        bench.look();
        bench.run(100 * MS);
        let notify = bench.sent.pop().unwrap();
        assert_eq!(notify.to.to, expected.parse().unwrap());
        bench.cancel(BUCKET, &sid).unwrap();
    }
}

#[test]
fn thirty_two_subscriptions_are_all_and_an_ended_one_makes_room() {
    let mut bench = Bench::new();
    let mut of_host = |host: usize| {
        let callback = format!("<http://192.0.2.{host}:80/n>");
        let request = Request::subscribe(Fields {
            nt: Some("upnp:event"),
            callback: Some(&callback),
            timeout: Some("Second-300"),
            sid: None,
        });
        bench.ask_from(&format!("192.0.2.{host}:40000"), RING, request.unwrap())
    };
    let sids: Vec<_> = (0..32).map(|n| of_host(1 + n % 4).unwrap().sid).collect();
    assert_eq!(of_host(5), Err(Refused::Full));
    bench.cancel(RING, &sids[9]).unwrap();
    assert!(bench.subscribe(RING, "<http://192.0.2.7:80/n>").is_ok());
    bench.publisher.check_invariants();
}

#[test]
fn one_host_has_eight_subscriptions_at_most() {
    let mut bench = Bench::new();
    let sids: Vec<_> = (0..8).map(|n| bench.subscribed(n % 2)).collect();
    let callback = "<http://192.0.2.7:81/other>";
    assert_eq!(bench.subscribe(RING, callback), Err(Refused::Crowded));
    // What it has can be renewed, and one that ended makes room.
    bench.renew(1, &sids[1]).unwrap();
    bench.cancel(RING, &sids[0]).unwrap();
    assert!(bench.subscribe(RING, callback).is_ok());
    bench.publisher.check_invariants();
}

#[test]
fn urls_are_tried_in_order_for_each_event() {
    let mut bench = Bench::new();
    bench
        .subscribe(BUCKET, "<http://192.0.2.7:81/a><http://192.0.2.7:82/b>")
        .unwrap();
    bench.look();
    bench.run(300 * MS);
    let port = |bench: &Bench| {
        bench
            .sent
            .iter()
            .map(|n| n.to.to.port())
            .collect::<Vec<_>>()
    };
    assert_eq!(port(&bench), [81]);
    let first = bench.sent.remove(0);
    bench
        .publisher
        .handle_delivered(&first.sid, first.seq, Outcome::Failed);
    bench.drain();
    assert_eq!(port(&bench), [82]);
    assert_eq!(bench.sent[0].seq, 0, "it is the same event");
    assert_eq!(bench.taken().len(), 1);
    bench.set(BUCKET, 0, "1");
    assert_eq!(port(&bench), [81], "the next begins with the first URL");
}

#[test]
fn subscriber_that_takes_nothing_is_dropped_after_three_events() {
    let mut bench = Bench::new();
    let sid = bench.subscribed(BUCKET);
    bench.look();
    for change in 1..=3 {
        assert!(!bench.publisher.is_idle());
        bench.run(300 * MS);
        assert_eq!(bench.deliver(Outcome::Failed).len(), 1);
        bench.set(BUCKET, 0, &change.to_string());
    }
    assert!(bench.publisher.is_idle());
    assert_eq!(bench.renew(BUCKET, &sid), Err(Refused::Unknown));
}

#[test]
fn sequence_advances_although_an_event_was_lost() {
    let mut bench = Bench::new();
    bench.subscribed(BUCKET);
    bench.look();
    bench.run(300 * MS);
    assert_eq!(bench.deliver(Outcome::Failed)[0].0, 0);
    bench.set(BUCKET, 0, "1");
    assert_eq!(bench.taken()[0].0, 1);
}

#[test]
fn subscriber_that_disowns_its_subscription_is_dropped_at_once() {
    let mut bench = Bench::new();
    bench.subscribed(BUCKET);
    bench.look();
    bench.run(300 * MS);
    bench.deliver(Outcome::Disowned);
    assert!(bench.publisher.is_idle());
}

#[test]
fn slow_subscriber_holds_few_events_and_sees_the_gap() {
    let mut bench = Bench::new();
    bench.subscribed(BUCKET);
    bench.look();
    for change in 1..=30 {
        bench.run(200 * MS);
        bench.set(BUCKET, 0, &change.to_string());
    }
    assert_eq!(bench.sent.len(), 1, "one event at a time");
    let numbers: Vec<_> = bench.taken().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(numbers.len(), 1 + limit::GENA_QUEUE_MAX);
    assert!(numbers[1] > 1 && numbers.is_sorted());
}

#[test]
fn sequence_wraps_to_one() {
    let mut bench = Bench::new();
    let sid = bench.subscribed(BUCKET);
    bench.look();
    bench.run(300 * MS);
    bench.taken();
    bench.publisher.subscriptions.get_mut(&sid).unwrap().seq = u32::MAX;
    bench.set(BUCKET, 0, "1");
    bench.run(300 * MS);
    bench.set(BUCKET, 0, "2");
    let numbers: Vec<_> = bench.taken().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(numbers, [u32::MAX, 1]);
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe(Topic),
    Renew(usize),
    Cancel(usize),
    Set(Topic, u8),
    Run(u16),
    Deliver(Outcome),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0usize..2).prop_map(Step::Subscribe),
        (0usize..40).prop_map(Step::Renew),
        (0usize..40).prop_map(Step::Cancel),
        (0usize..2, any::<u8>()).prop_map(|(topic, value)| Step::Set(topic, value)),
        (0u16..2_000).prop_map(Step::Run),
        prop_oneof![
            4 => Just(Outcome::Taken),
            2 => Just(Outcome::Failed),
            1 => Just(Outcome::Disowned),
        ]
        .prop_map(Step::Deliver),
    ]
}

proptest! {
    /// Whatever happens, each subscriber sees SEQ 0 first and rise after it, bounds hold, and
    /// there is a deadline if and only if there is a subscriber.
    #[test]
    fn subscribers_see_rising_numbers(steps in prop::collection::vec(steps(), 1..80)) {
        let mut bench = Bench::new();
        let mut sids: Vec<(Topic, Sid)> = Vec::new();
        let mut last: BTreeMap<Sid, u32> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Subscribe(topic) => {
                    if let Ok(granted) = bench.subscribe(topic, "<http://192.0.2.7/n>") {
                        sids.push((topic, granted.sid));
                    }
                }
                Step::Renew(at) => if let Some((topic, sid)) = sids.get(at).cloned() {
                    let _ = bench.renew(topic, &sid);
                },
                Step::Cancel(at) => if let Some((topic, sid)) = sids.get(at).cloned() {
                    let _ = bench.cancel(topic, &sid);
                },
                Step::Set(topic, value) => bench.set(topic, 0, &value.to_string()),
                Step::Run(ms) => bench.run(Duration::from_millis(ms.into())),
                Step::Deliver(outcome) => {
                    for notify in std::mem::take(&mut bench.sent) {
                        let before = last.insert(notify.sid.clone(), notify.seq);
                        match before {
                            None => prop_assert_eq!(notify.seq, 0),
                            Some(before) => prop_assert!(notify.seq > before),
                        }
                        bench.publisher.handle_delivered(&notify.sid, notify.seq, outcome);
                        bench.drain();
                    }
                }
            }
            prop_assert_eq!(bench.publisher.poll_timeout().is_none(), bench.publisher.is_idle());
        }
    }
}
