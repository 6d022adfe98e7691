//! The network: which paths work, how long things take, and streams that keep their order.
//!
//! A frame on a path that is cut waits, as TCP would send it again: it arrives some time after
//! the path is back, everything after it behind it. Nothing here knows what a frame means.

use std::time::Duration;

use roundel::base::time::Time;
use roundel::proto::board::{LinkEvent, LinkId};

use crate::dice::Dice;
use crate::fault::Faults;

/// One end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub node: usize,
    /// Which life of the node.
    pub life: u64,
    pub link: LinkId,
}

/// What waits on one direction of a stream.
#[derive(Debug, Default)]
struct Flow {
    last: Time,
    parked: Vec<LinkEvent>,
    parked_since: Time,
    closing: bool,
}

/// A stream; direction `i` leads to end `i`.
#[derive(Debug)]
struct Stream {
    ends: [End; 2],
    flows: [Flow; 2],
}

/// Names a stream; never used twice.
pub type StreamId = usize;

/// What is to be handed to one end of a stream, and when.
#[derive(Debug)]
pub struct Arrival {
    pub at: Time,
    pub stream: StreamId,
    pub side: usize,
    pub event: LinkEvent,
}

/// Every path and stream.
#[derive(Debug)]
pub struct Network {
    nodes: usize,
    cut: Vec<bool>,
    streams: Vec<Stream>,
}

impl Network {
    pub fn new(nodes: usize) -> Network {
        Network {
            nodes,
            cut: vec![false; nodes * nodes],
            streams: Vec::new(),
        }
    }

    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut[from * self.nodes + to]
    }

    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut[from * self.nodes + to] = true;
    }

    pub fn end(&self, stream: StreamId, side: usize) -> End {
        self.streams[stream].ends[side]
    }

    /// When the copies of one datagram arrive; none when it is lost.
    pub fn datagram(
        &self,
        faults: &Faults,
        dice: &mut Dice,
        (from, to): (usize, usize),
    ) -> [Option<Duration>; 2] {
        if self.is_cut(from, to) || dice.chance(faults.loss) {
            return [None, None];
        }
        let way = |dice: &mut Dice| {
            let held_up = match dice.chance(faults.reordering) {
                true => dice.duration(faults.held_up),
                false => Duration::ZERO,
            };
            Some(dice.duration(faults.delay) + held_up)
        };
        let first = way(dice);
        let second = dice.chance(faults.duplication).then(|| way(dice)).flatten();
        [first, second]
    }

    /// A stream between two ends.
    pub fn open(&mut self, ends: [End; 2]) -> StreamId {
        let flows = [Flow::default(), Flow::default()];
        self.streams.push(Stream { ends, flows });
        self.streams.len() - 1
    }

    /// Sends an event (a frame, or the end) towards `side`, behind what was sent before.
    pub fn send(
        &mut self,
        faults: &Faults,
        dice: &mut Dice,
        now: Time,
        (stream, side): (StreamId, usize),
        event: LinkEvent,
    ) -> Option<Arrival> {
        let open = &mut self.streams[stream];
        let (from, to) = (open.ends[1 - side].node, open.ends[side].node);
        let flow = &mut open.flows[side];
        if flow.closing {
            return None;
        }
        flow.closing = event == LinkEvent::Closed;
        if self.cut[from * self.nodes + to] || !flow.parked.is_empty() {
            if flow.parked.is_empty() {
                flow.parked_since = now;
            }
            flow.parked.push(event);
            return None;
        }
        let stall = match dice.chance(faults.stall) {
            true => Duration::from_millis(200 << dice.below(3)),
            false => Duration::ZERO,
        };
        let at = (now + dice.duration(faults.delay) + stall).max(flow.last);
        flow.last = at;
        Some(Arrival {
            at,
            stream,
            side,
            event,
        })
    }

    /// Every path works again: what waited arrives when TCP tries again, which it does the later
    /// the longer it has been waiting.
    pub fn heal(&mut self, dice: &mut Dice, now: Time) -> Vec<Arrival> {
        self.cut.fill(false);
        let mut arrivals = Vec::new();
        for (stream, open) in self.streams.iter_mut().enumerate() {
            for (side, flow) in open.flows.iter_mut().enumerate() {
                if flow.parked.is_empty() {
                    continue;
                }
                let waited = now.since(flow.parked_since).min(Duration::from_secs(60));
                let wait = dice.duration((Duration::from_millis(5), waited.max(WAIT_MIN)));
                flow.last = flow.last.max(now + wait);
                for event in flow.parked.drain(..) {
                    arrivals.push(Arrival {
                        at: flow.last,
                        stream,
                        side,
                        event,
                    });
                }
            }
        }
        arrivals
    }

    /// Streams of this life of a node, and the side it is at.
    pub fn streams_of(&self, node: usize, life: u64) -> Vec<(StreamId, usize)> {
        let mut found = Vec::new();
        for (stream, open) in self.streams.iter().enumerate() {
            for (side, end) in open.ends.iter().enumerate() {
                if (end.node, end.life) == (node, life) {
                    found.push((stream, side));
                }
            }
        }
        found
    }
}

/// TCP waits at least this long before it tries again.
const WAIT_MIN: Duration = Duration::from_millis(200);
