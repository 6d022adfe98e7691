//! Somebody who records what passes and sends it again, later, also to boards that started anew.
//!
//! Whatever is sent again must count as refused: a datagram is dropped, a frame within a link ends
//! that link, and the frames that once began a link begin none.

use bytes::Bytes;
use roundel::base::endpoint::SocketAddr;
use roundel::proto::board::{LinkEvent, LinkId};
use roundel::wire::frame::Frame;

use crate::key::Step;
use crate::network::End;
use crate::world::{Happening, World};

/// Things of each kind that are remembered.
const KEPT_MAX: usize = 48;
/// One in so many is recorded.
const RECORDED_PER_MILLION: u32 = 20_000;
/// Frames of a link from its beginning.
const BEGINNING_FRAMES: usize = 4;

/// What was recorded: to which board it went.
#[derive(Debug, Default)]
pub struct Recorded {
    datagrams: Vec<(usize, Bytes)>,
    frames: Vec<(usize, Frame)>,
    beginnings: Vec<Beginning>,
}

/// The first frames that a board heard on a link.
#[derive(Clone, Debug)]
struct Beginning {
    end: End,
    remote: SocketAddr,
    frames: Vec<Frame>,
}

impl World {
    fn records(&mut self) -> bool {
        let active = self
            .keying
            .plan
            .as_ref()
            .is_some_and(|plan| plan.replay.is_some());
        active && self.keying.dice.chance(RECORDED_PER_MILLION)
    }

    fn place<T>(&mut self, kept: impl Fn(&mut Recorded) -> &mut Vec<T>, what: T) {
        let at = self.keying.dice.below(KEPT_MAX);
        let kept = kept(&mut self.keying.recorded);
        match kept.get_mut(at) {
            Some(place) => *place = what,
            None => kept.push(what),
        }
    }

    fn dropped(&mut self, node: usize) -> u64 {
        let counters = self.overview(node).map(|overview| overview.counters);
        let mut counters = counters.into_iter().flatten();
        let found = counters.find(|(name, _)| *name == "datagrams_dropped");
        found.map_or(0, |(_, count)| count)
    }

    /// Hands a datagram to a board; some that are believed are recorded.
    pub fn hand_datagram(&mut self, node: usize, bytes: &Bytes) {
        let now = self.clock_of(node);
        let before = self.records().then(|| self.dropped(node));
        let running = self.nodes[node].running.as_mut();
        running.expect("it runs").board.handle_datagram(now, bytes);
        if let Some(before) = before
            && self.dropped(node) == before
        {
            self.place(|recorded| &mut recorded.datagrams, (node, bytes.clone()));
        }
    }

    /// A frame reaches a board.
    pub fn record_frame(&mut self, end: End, frame: &Frame) {
        if self
            .keying
            .plan
            .as_ref()
            .is_none_or(|plan| plan.replay.is_none())
        {
            return;
        }
        if let Some(begun) = self
            .keying
            .recorded
            .beginnings
            .iter_mut()
            .find(|it| it.end == end)
            && begun.frames.len() < BEGINNING_FRAMES
        {
            begun.frames.push(frame.clone());
        }
        if self.records() {
            self.place(|recorded| &mut recorded.frames, (end.node, frame.clone()));
        }
    }

    /// Another board has connected to this one.
    pub fn record_beginning(&mut self, end: End, remote: SocketAddr) {
        let active = self
            .keying
            .plan
            .as_ref()
            .is_some_and(|plan| plan.replay.is_some());
        if active && self.keying.dice.below(8) == 0 {
            let frames = Vec::new();
            let begun = Beginning {
                end,
                remote,
                frames,
            };
            self.place(|recorded| &mut recorded.beginnings, begun);
        }
    }

    /// Something recorded is sent again.
    ///
    /// # Panics
    /// When it is believed.
    pub fn replay(&mut self) {
        let interval = self.keying.plan.as_ref().and_then(|plan| plan.replay);
        let wait = interval.expect("a plan says when");
        let wait = self.keying.dice.duration(wait);
        self.schedule(wait, Happening::Key(Step::Replay));
        match self.keying.dice.below(4) {
            0 | 1 => self.replay_datagram(),
            2 => self.replay_beginning(),
            _ => self.replay_frame(),
        }
    }

    fn takes_now(&self, node: usize) -> bool {
        self.nodes[node].is_up() && self.nodes[node].paused_until <= self.now
    }

    fn replay_datagram(&mut self) {
        let Keyed { dice, recorded } = self.keyed();
        let Some((node, bytes)) = dice.pick(&recorded.datagrams) else {
            return;
        };
        if !self.takes_now(node) {
            return;
        }
        let before = self.dropped(node);
        let now = self.clock_of(node);
        let running = self.nodes[node].running.as_mut();
        running.expect("it runs").board.handle_datagram(now, &bytes);
        let refused = self.dropped(node) - before;
        self.keying.deeds.replayed += 1;
        assert_eq!(
            refused, 1,
            "board {node} believes a datagram that was sent again"
        );
        self.touched(node);
    }

    /// Slipped into a link that is up, as by somebody on its path.
    fn replay_frame(&mut self) {
        let Keyed { dice, recorded } = self.keyed();
        let Some((node, frame)) = dice.pick(&recorded.frames) else {
            return;
        };
        if !self.takes_now(node) {
            return;
        }
        let running = self.nodes[node].running.as_ref().expect("it runs");
        let links = running
            .links
            .keys()
            .filter(|link| running.board.is_proved(**link));
        let links: Vec<LinkId> = links.copied().collect();
        let Some(link) = self.keying.dice.pick(&links) else {
            return;
        };
        self.play(node, link, LinkEvent::Frame(frame));
        self.keying.deeds.replayed += 1;
        let running = self.nodes[node].running.as_ref();
        let proved = running.is_some_and(|running| running.board.is_proved(link));
        assert!(!proved, "board {node} believes a frame that was sent again");
        self.touched(node);
    }

    fn replay_beginning(&mut self) {
        let Keyed { dice, recorded } = self.keyed();
        let Some(begun) = dice.pick(&recorded.beginnings) else {
            return;
        };
        let node = begun.end.node;
        if !self.takes_now(node) || begun.frames.is_empty() {
            return;
        }
        let link = self.draw_incoming();
        let remote = begun.remote;
        self.play(node, link, LinkEvent::Accepted { remote });
        for frame in begun.frames {
            self.play(node, link, LinkEvent::Frame(frame));
            let running = self.nodes[node].running.as_ref();
            let proved = running.is_some_and(|running| running.board.is_proved(link));
            assert!(!proved, "board {node} begins a link that was begun before");
        }
        self.keying.deeds.replayed += 1;
        self.play(node, link, LinkEvent::Closed);
        self.touched(node);
    }

    fn play(&mut self, node: usize, link: LinkId, event: LinkEvent) {
        let now = self.clock_of(node);
        self.note(link.0);
        if let Some(running) = &mut self.nodes[node].running {
            running.board.handle_link(now, link, event);
        }
    }

    fn keyed(&mut self) -> Keyed<'_> {
        Keyed {
            dice: &mut self.keying.dice,
            recorded: &self.keying.recorded,
        }
    }
}

/// Dice beside what they choose from.
struct Keyed<'a> {
    dice: &'a mut crate::dice::Dice,
    recorded: &'a Recorded,
}
