//! The world: nodes, a network and a clock, stepped one happening at a time.
//!
//! Everything is drawn from one seed, so that the same seed gives the same world; the sum over
//! everything that happened (`trace`) shows it. Only signatures are left out of the sum: ECDSA
//! draws from the system. Broken invariants panic; the campaign catches that and prints the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use bytes::Bytes;
use roundel::base::call::{Call, CallId, Overview, Reply};
use roundel::base::endpoint::SocketAddr;
use roundel::base::hint::{Hint, HintKind};
use roundel::base::id::Id;
use roundel::base::store::{Load, LoadId};
use roundel::base::time::{Now, Time, WallTime};
use roundel::proto::board::{LinkEvent, LinkId};

use crate::checker::{self, Placements};
use crate::dice::{Dice, mix, mix_bytes};
use crate::fault::{Fault, Faults};
use crate::key::{Keying, Step};
use crate::model::{Model, OperationId};
use crate::mutant::Mutant;
use crate::network::{Arrival, End, Network};
use crate::node::{Card, Node, Power, identities};

/// The true wall clock when a world begins.
const WALL_START_MS: u64 = 1_790_000_000_000;
/// The world is looked at as a whole after so many steps.
const STEPS_PER_LOOK: u64 = 100;
/// Datagrams a stopped process has room for; more are dropped by its system.
const BACKLOG_MAX: usize = 128;

/// What is going to happen.
#[derive(Debug)]
pub enum Happening {
    Datagram {
        to: End,
        bytes: Bytes,
    },
    Stream(Arrival),
    /// Something the driver itself has for one link: opened, refused, or a lie.
    Link(End, LinkEvent),
    Loaded(usize, u64, LoadId, Load),
    /// The flush under way on a node is done.
    Flushed(usize, u64),
    Hint {
        about: usize,
        to: usize,
    },
    Search(usize, u64),
    Fault(Fault),
    /// What follows from a mischief; nothing does once all is calm.
    Consequence(Fault),
    /// The next fault is to be drawn.
    Mischief,
    /// A client asks something.
    Client,
    /// A request arrives once more.
    Again(usize, Call),
    /// Something happens to keys.
    Key(Step),
    /// The write of a keyring under way on a node is done.
    KeyringWritten(usize, u64),
}

#[derive(Debug)]
struct Scheduled {
    at: Time,
    sequence: u64,
    happening: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// One world.
pub struct World {
    pub now: Time,
    pub dice: Dice,
    pub faults: Faults,
    pub network: Network,
    pub nodes: Vec<Node>,
    pub model: Model,
    pub mutant: Mutant,
    /// Identities whose cards are lost for good.
    pub lost: Vec<Id>,
    /// Zave's invariants hold from here on.
    pub watches_ring: bool,
    /// The board that suffered damage to what it held, and whether that was for good.
    pub damaged: Option<(usize, bool)>,
    /// Clients ask, and faults are drawn.
    pub clients: bool,
    pub mischief: bool,
    /// What keys do, and dice of their own.
    pub keying: Keying,
    /// What rosters have been seen to place where.
    pub placements: Placements,
    pub trace: u64,
    pub steps: u64,
    /// Prints what happens.
    pub verbose: bool,
    /// The last answer to a call of the world's own.
    pub replies: Vec<(CallId, Result<Reply, roundel::base::call::CallError>)>,
    /// Identities used so far, in this world's order.
    deck: Vec<usize>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    next_call: u64,
    next_incoming: u64,
}

impl World {
    /// A world in which nothing has started yet. One more place than there are nodes is kept, for
    /// the clone of a card.
    pub fn new(seed: u64, faults: Faults, mutant: Mutant) -> World {
        let mut dice = Dice::new(seed);
        let places = faults.nodes + 1;
        let mut deck: Vec<usize> = (0..identities().len()).collect();
        dice.shuffle(&mut deck);
        let mut world = World {
            now: Time::ZERO,
            network: Network::new(places),
            nodes: Vec::new(),
            model: Model::new(faults.keys),
            mutant,
            lost: Vec::new(),
            watches_ring: false,
            damaged: None,
            clients: false,
            mischief: false,
            keying: Keying::new(seed),
            placements: Placements::default(),
            trace: seed,
            steps: 0,
            verbose: false,
            replies: Vec::new(),
            deck,
            queue: BinaryHeap::new(),
            sequence: 0,
            next_call: 0,
            next_incoming: 0,
            dice,
            faults,
        };
        for index in 0..places {
            let card = world.fresh_card();
            let retired = index == world.faults.nodes;
            let mut node = Node::new(card, World::address(index, 0), retired);
            // Boards have no clock of their own: each is off by a little.
            node.clock_off_ms = world.dice.between(0, 4_000) as i64 - 2_000;
            world.nodes.push(node);
        }
        world
    }

    /// The address of a place, and its next ones when it moves.
    pub fn address(index: usize, moves: u8) -> SocketAddr {
        SocketAddr::from((
            [10, moves, (index / 250) as u8, (index % 250) as u8 + 1],
            38400,
        ))
    }

    /// A card with an identity nobody has had.
    pub fn fresh_card(&mut self) -> Card {
        let index = self.deck.pop().expect("there are identities for a run");
        Card::new(identities()[index].clone())
    }

    /// Everything starts within the spread of the options.
    pub fn start_all(&mut self) {
        for index in 0..self.faults.nodes {
            let spread = (Duration::ZERO, self.faults.start_spread);
            let wait = self.dice.duration(spread);
            self.schedule(wait, Happening::Fault(Fault::Start(index)));
        }
    }

    pub fn schedule(&mut self, after: Duration, happening: Happening) {
        self.schedule_at(self.now + after, happening);
    }

    pub fn schedule_at(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled {
            at,
            sequence: self.sequence,
            happening,
        }));
    }

    /// Boards that run and are the owner's.
    pub fn up(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|index| self.nodes[*index].is_up() && !self.nodes[*index].thief)
            .collect()
    }

    /// Both clocks as a node reads them.
    pub fn clock_of(&self, index: usize) -> Now {
        let wall = WALL_START_MS + self.now.0 / 1_000;
        Now {
            time: self.now,
            wall: WallTime(wall.saturating_add_signed(self.nodes[index].clock_off_ms)),
        }
    }

    /// The node that is reached at an address.
    pub fn at(&self, endpoint: &SocketAddr) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.endpoint == *endpoint)
    }

    pub fn life_of(&self, index: usize) -> u64 {
        self.nodes[index].life
    }

    pub fn draw_call(&mut self) -> CallId {
        self.next_call += 1;
        CallId(self.next_call)
    }

    /// The name the next call will have.
    pub fn coming_call(&self) -> CallId {
        CallId(self.next_call + 1)
    }

    pub fn draw_incoming(&mut self) -> LinkId {
        self.next_incoming += 1;
        LinkId(LinkId::INCOMING | self.next_incoming)
    }

    /// Adds to the sum over everything.
    pub fn note(&mut self, what: u64) {
        self.trace = mix(self.trace, what);
    }

    pub fn note_bytes(&mut self, bytes: &[u8]) {
        self.trace = mix_bytes(self.trace, bytes);
    }

    pub fn tell(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            println!("{:>12.6} {}", self.now.0 as f64 / 1e6, what());
        }
    }

    /// A stopped process goes on before its time; what waited for it comes now.
    pub fn resume(&mut self, node: usize) {
        let paused = self.nodes[node].paused_until;
        if paused <= self.now {
            return;
        }
        self.nodes[node].paused_until = self.now;
        let now = self.now;
        let waiting = std::mem::take(&mut self.queue).into_iter();
        self.queue = waiting
            .map(|Reverse(scheduled)| match scheduled.at == paused {
                true => Reverse(Scheduled {
                    at: now,
                    ..scheduled
                }),
                false => Reverse(scheduled),
            })
            .collect();
    }

    /// Runs until nothing is due before `until`.
    pub fn run_until(&mut self, until: Time) {
        while self.step(until) {}
        self.now = until;
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// One happening; false when none is due by `until`.
    fn step(&mut self, until: Time) -> bool {
        let queued = self.queue.peek().map(|Reverse(next)| next.at);
        let mut waking: Option<(Time, usize)> = None;
        for (index, node) in self.nodes.iter().enumerate() {
            let wake = node.running.as_ref().and_then(|running| running.wake);
            if let Some(at) = wake.map(|at| at.max(node.paused_until))
                && waking.is_none_or(|(earliest, _)| at < earliest)
            {
                waking = Some((at, index));
            }
        }
        let next = match (queued, waking) {
            (Some(queued), Some((wake, _))) => queued.min(wake),
            (Some(queued), None) => queued,
            (None, Some((wake, _))) => wake,
            (None, None) => return false,
        };
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        match waking {
            Some((at, index)) if queued.is_none_or(|queued| at < queued) => self.wake(index),
            _ => {
                if let Some(Reverse(scheduled)) = self.queue.pop() {
                    self.happen(scheduled.happening);
                }
            }
        }
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_PER_LOOK)
            && let Err(broken) = checker::check_world(self)
        {
            panic!("{broken}");
        }
        true
    }

    fn wake(&mut self, index: usize) {
        let now = self.clock_of(index);
        self.note(index as u64);
        let Some(running) = &mut self.nodes[index].running else {
            return;
        };
        running.wake = None;
        if let Some(due) = running.due.take() {
            running.board.handle_lag(now, now.time.since(due));
        }
        running.board.handle_timeout(now);
        self.touched(index);
    }

    /// A machine was given something: its invariants hold, and what it asks is carried out.
    pub fn touched(&mut self, index: usize) {
        if let Some(running) = &self.nodes[index].running {
            running.board.check_invariants();
        }
        self.carry_out(index);
    }

    /// Whether what is on its way to a life of a node still arrives; a stopped process takes it
    /// later.
    fn arrives(&mut self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].is_up()
    }

    fn happen(&mut self, happening: Happening) {
        let stopped = match &happening {
            Happening::Datagram { to, .. } => Some(to.node),
            Happening::Stream(arrival) => Some(self.network.end(arrival.stream, arrival.side).node),
            Happening::Link(end, _) => Some(end.node),
            Happening::Loaded(node, ..)
            | Happening::Flushed(node, _)
            | Happening::KeyringWritten(node, _) => Some(*node),
            Happening::Hint { to, .. } => Some(*to),
            Happening::Again(node, _) | Happening::Search(node, _) => Some(*node),
            Happening::Fault(_)
            | Happening::Consequence(_)
            | Happening::Mischief
            | Happening::Key(_)
            | Happening::Client => None,
        };
        let until = stopped.map_or(Time::ZERO, |node| self.nodes[node].paused_until);
        if until > self.now {
            if let (Happening::Datagram { .. }, Some(node)) = (&happening, stopped) {
                self.nodes[node].backlog += 1;
                if self.nodes[node].backlog > BACKLOG_MAX {
                    return;
                }
            }
            self.schedule_at(until, happening);
            return;
        }
        match happening {
            Happening::Datagram { to, bytes } => {
                if self.arrives(to.node, to.life) {
                    self.note_bytes(&bytes);
                    self.hand_datagram(to.node, &bytes);
                    self.touched(to.node);
                }
            }
            Happening::Stream(arrival) => self.stream_arrived(arrival),
            Happening::Link(end, event) => self.link_event(end, event),
            Happening::Loaded(node, life, id, load) => self.loaded(node, life, id, &load),
            Happening::Flushed(node, life) => self.flushed(node, life),
            Happening::Hint { about, to } => self.hinted(about, to),
            Happening::Search(node, life) => self.search(node, life),
            Happening::Fault(fault) => self.apply(fault),
            Happening::Consequence(fault) if self.mischief => self.apply(fault),
            Happening::Consequence(_) => {}
            Happening::Mischief => self.mischief(),
            Happening::Client => self.client(),
            Happening::Key(step) => self.key_step(&step),
            Happening::KeyringWritten(node, life) => self.keyring_written(node, life),
            Happening::Again(node, call) => {
                if self.nodes[node].is_up() {
                    self.call(node, call, None);
                }
            }
        }
    }

    /// Hands a call to a board; its answer goes to the model, or to `replies`.
    pub fn call(&mut self, index: usize, call: Call, operation: Option<OperationId>) -> CallId {
        let id = self.draw_call();
        let now = self.clock_of(index);
        self.note(id.0);
        let running = self.nodes[index]
            .running
            .as_mut()
            .expect("a board that runs is asked");
        if let Some(operation) = operation {
            running.waiting.insert(id, operation);
        }
        running.board.handle_call(now, id, call);
        self.touched(index);
        id
    }

    /// Calls and waits for the answer; none if there is none in time.
    pub fn ask(
        &mut self,
        index: usize,
        call: Call,
        time_max: Duration,
    ) -> Option<Result<Reply, roundel::base::call::CallError>> {
        let id = self.call(index, call, None);
        let until = self.now + time_max;
        loop {
            if let Some(at) = self.replies.iter().position(|(other, _)| *other == id) {
                return Some(self.replies.swap_remove(at).1);
            }
            if self.now >= until || !self.step(until) {
                self.now = until;
                return None;
            }
        }
    }

    pub fn overview(&mut self, index: usize) -> Option<Overview> {
        let call = self.call(index, Call::Overview, None);
        let at = self.replies.iter().position(|(other, _)| *other == call)?;
        match self.replies.swap_remove(at).1 {
            Ok(Reply::Overview(overview)) => Some(*overview),
            _ => None,
        }
    }

    /// Discovery: the board tells that it is there, and hears who else is.
    fn search(&mut self, index: usize, life: u64) {
        if !self.arrives(index, life) {
            return;
        }
        for other in 0..self.nodes.len() {
            if other == index || !self.nodes[other].is_up() {
                continue;
            }
            for (about, to) in [(index, other), (other, index)] {
                if !self.network.is_cut(about, to) && !self.dice.chance(self.faults.hint_loss) {
                    let wait = self.dice.duration(self.faults.hint_delay);
                    self.schedule(wait, Happening::Hint { about, to });
                }
            }
        }
        let wait = self.dice.duration(self.faults.search);
        self.schedule(wait, Happening::Search(index, life));
    }

    fn hinted(&mut self, about: usize, to: usize) {
        if !self.nodes[to].is_up() || !self.nodes[about].is_up() {
            return;
        }
        let hint = Hint {
            endpoint: self.nodes[about].endpoint,
            cluster: "home".parse().expect("a name"),
            node: self.nodes[about].card.id(),
            boot: None,
            mac: self.nodes[about].hint_mac(),
            kind: HintKind::Alive,
        };
        let now = self.clock_of(to);
        self.note((about << 8 | to) as u64);
        if let Some(running) = &mut self.nodes[to].running {
            running.board.handle_hint(now, &hint);
        }
        self.touched(to);
    }

    /// A process starts, tells so three times, and searches from then on.
    pub fn start(&mut self, index: usize) {
        if self.nodes[index].is_up() || self.nodes[index].retired {
            return;
        }
        self.check_promised(index);
        let now = self.clock_of(index);
        let kind = (index, self.faults.ring_mode);
        self.nodes[index].start(kind, now, &mut self.dice, self.mutant);
        self.nodes[index].card.disk.lies |= self.mutant == Mutant::SyncSkipped;
        let life = self.nodes[index].life;
        for wait_ms in [0, 200, 700] {
            let wait = Duration::from_millis(wait_ms + self.dice.between(0, 100));
            self.schedule(wait, Happening::Search(index, life));
        }
        self.touched(index);
    }

    /// A process ends. Its system closes its streams unless the power went.
    pub fn stop(&mut self, index: usize, power: Power) {
        let streams = self.network.streams_of(index, self.nodes[index].life);
        self.break_off_keyring(index, power);
        for operation in self.nodes[index].stop(power, &mut self.dice, self.mutant) {
            self.model.abandon(operation);
        }
        if power == Power::On {
            for (stream, side) in streams {
                self.send_stream((stream, 1 - side), LinkEvent::Closed);
            }
        }
    }

    pub fn send_stream(&mut self, to: (usize, usize), event: LinkEvent) {
        let arrival = self
            .network
            .send(&self.faults, &mut self.dice, self.now, to, event);
        if let Some(arrival) = arrival {
            self.schedule_at(arrival.at, Happening::Stream(arrival));
        }
    }
}
