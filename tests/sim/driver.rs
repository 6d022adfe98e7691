//! What `runtime/driver.rs` does, in this world: it hands the machine what arrives and carries
//! out what it asks. A transmit that must follow a store is held until that store has returned,
//! and dropped if it failed. The mutants that lie in the driver's place are here as well.

use std::time::Duration;

use bytes::Bytes;
use roundel::base::call::{Call, Event};
use roundel::base::endpoint::SocketAddr;
use roundel::base::limit;
use roundel::base::store::{Batch, Change, Load, LoadId};
use roundel::base::version::Version;
use roundel::proto::board::{Answer, LinkCommand, LinkEvent, LinkId, Route, Transmit};
use roundel::wire::frame::Frame;
use roundel::wire::peer::{Message, WriteResult};

use crate::mutant::Mutant;
use crate::network::{Arrival, End, StreamId};
use crate::node::Power;
use crate::store::GROUP_BATCHES_MAX;
use crate::world::{Happening, World};

/// The types of frames that begin a link; the second is a signature.
const HELLO: u8 = 0x10;
const HELLO_ACK: u8 = 0x11;
/// Bytes before a frame's payload.
const FRAME_HEADER_BYTES: usize = 8;
/// A read of the store takes this long.
const LOAD_TIME: (Duration, Duration) = (Duration::from_micros(20), Duration::from_micros(400));
/// A request that is repeated comes after this.
const REPEATED_AFTER: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(8));

impl World {
    /// Carries out everything the machine has asked for.
    pub fn carry_out(&mut self, index: usize) {
        loop {
            let Some(running) = &mut self.nodes[index].running else {
                return;
            };
            let board = &mut running.board;
            if let Some((id, batch)) = board.poll_store() {
                running.storing.insert(id);
                running.batches.push_back((id, batch));
                self.commit(index);
            } else if let Some((id, load)) = board.poll_load() {
                let wait = self.dice.duration(LOAD_TIME);
                let life = self.life_of(index);
                self.schedule(wait, Happening::Loaded(index, life, id, load));
            } else if let Some(command) = board.poll_link() {
                self.link(index, command);
            } else if let Some(transmit) = board.poll_transmit() {
                match transmit.after.filter(|id| running.storing.contains(id)) {
                    Some(id) => running.held.entry(id).or_default().push(transmit),
                    None => self.transmit(index, transmit),
                }
            } else if let Some(kept) = board.poll_keyring() {
                self.keep_keyring(index, kept);
            } else if let Some(answer) = board.poll_reply() {
                self.answered(index, answer);
            } else if let Some(relayed) = board.poll_relayed() {
                let now = self.clock_of(index);
                let running = self.nodes[index].running.as_mut().expect("it runs");
                let answer = Some(relayed.request);
                running.board.handle_relayed(now, relayed.token, answer);
            } else if let Some(event) = board.poll_event() {
                self.event(index, event);
            } else {
                break;
            }
        }
        let Some(running) = &mut self.nodes[index].running else {
            return;
        };
        let due = running.board.poll_timeout();
        if due != running.due || running.wake.is_none() {
            running.due = due;
            let lag = self.faults.timer_lag;
            running.wake = due.map(|due| due.max(self.now) + self.dice.duration(lag));
        }
    }

    /// Starts the next group, unless one is on its way.
    fn commit(&mut self, index: usize) {
        let mutant = self.mutant;
        let wall = self.clock_of(index).wall.0;
        let node = &mut self.nodes[index];
        let Some(running) = &mut node.running else {
            return;
        };
        let Ok(store) = &mut node.store else {
            return;
        };
        if store.is_busy() || running.batches.is_empty() {
            return;
        }
        let count = running.batches.len().min(GROUP_BATCHES_MAX);
        let mut group: Vec<_> = running.batches.drain(..count).collect();
        if mutant == Mutant::WallClock {
            for (_, batch) in &mut group {
                restamp_batch(batch, |version| node.lies.restamp(version, wall));
            }
        }
        let disk = &mut node.card.disk;
        store.begin(disk, group);
        let wait = self.dice.duration(self.faults.flush) + disk.slowness;
        disk.fails_next_flush = self.dice.chance(self.faults.flush_error);
        let life = node.life;
        self.schedule(wait, Happening::Flushed(index, life));
    }

    /// The group under way is flushed: it is answered, and the next one starts.
    pub fn flushed(&mut self, index: usize, life: u64) {
        let now = self.clock_of(index);
        let node = &mut self.nodes[index];
        if node.life != life || node.running.is_none() {
            return;
        }
        let Ok(store) = &mut node.store else {
            return;
        };
        let answers = store.finish(&mut node.card.disk, &mut self.dice);
        if store.fell_back {
            self.stop(index, Power::On);
            self.start(index);
            return;
        }
        for (id, result) in answers {
            self.note(id.0 << 1 | u64::from(result.is_ok()));
            let Some(running) = &mut self.nodes[index].running else {
                return;
            };
            running.storing.remove(&id);
            let held = running.held.remove(&id).unwrap_or_default();
            if result.is_ok() {
                for transmit in held {
                    self.transmit(index, transmit);
                }
            }
            if let Some(running) = &mut self.nodes[index].running {
                running.board.handle_stored(now, id, result);
            }
            self.touched(index);
        }
        self.commit(index);
    }

    pub fn loaded(&mut self, index: usize, life: u64, id: LoadId, load: &Load) {
        let now = self.clock_of(index);
        let node = &mut self.nodes[index];
        let (true, Some(running)) = (node.life == life, &mut node.running) else {
            return;
        };
        let result = match &node.store {
            Ok(store) => store.load(&node.card.disk, load),
            Err(error) => Err(error.clone()),
        };
        let sum = id.0 << 1 | u64::from(result.is_ok());
        running.board.handle_loaded(now, id, result);
        self.note(sum);
        self.touched(index);
    }

    fn link(&mut self, index: usize, command: LinkCommand) {
        match command {
            LinkCommand::Open(id, to) => self.open(index, id, to),
            LinkCommand::Close(id) => {
                let running = self.nodes[index].running.as_mut();
                if let Some((stream, side)) = running.and_then(|r| r.links.remove(&id)) {
                    self.send_stream((stream, 1 - side), LinkEvent::Closed);
                }
            }
        }
    }

    /// Connecting: answered after a round trip, refused at once by a system without the process,
    /// or met by silence.
    fn open(&mut self, index: usize, link: LinkId, to: SocketAddr) {
        let here = End {
            node: index,
            life: self.life_of(index),
            link,
        };
        let target = self.at(&to).filter(|to| {
            let cut = self.network.is_cut(index, *to) || self.network.is_cut(*to, index);
            self.nodes[*to].power == Power::On && !cut
        });
        let way = self.dice.duration(self.faults.delay) + self.dice.duration(self.faults.delay);
        let Some(target) = target else {
            self.schedule(
                limit::LINK_OPEN_TIME_MAX,
                Happening::Link(here, LinkEvent::Closed),
            );
            return;
        };
        if !self.nodes[target].is_up() {
            self.schedule(way, Happening::Link(here, LinkEvent::Closed));
            return;
        }
        let there = End {
            node: target,
            life: self.life_of(target),
            link: self.draw_incoming(),
        };
        let stream = self.network.open([here, there]);
        let remote = self.nodes[index].endpoint;
        for (end, side) in [(here, 0), (there, 1)] {
            if let Some(running) = &mut self.nodes[end.node].running {
                running.links.insert(end.link, (stream, side));
            }
        }
        self.send_stream((stream, 1), LinkEvent::Accepted { remote });
        self.send_stream((stream, 0), LinkEvent::Opened);
    }

    /// Something reaches an end of a stream. Where the process is another one than the stream was
    /// made with, the system answers with a reset.
    pub fn stream_arrived(&mut self, arrival: Arrival) {
        let Arrival {
            stream,
            side,
            event,
            ..
        } = arrival;
        let end = self.network.end(stream, side);
        let node = &self.nodes[end.node];
        let known = match &node.running {
            Some(running) => node.life == end.life && running.links.contains_key(&end.link),
            None => false,
        };
        if !known {
            if node.power == Power::On && event != LinkEvent::Closed {
                self.send_stream((stream, 1 - side), LinkEvent::Closed);
            }
            return;
        }
        self.link_event(end, event);
    }

    pub fn link_event(&mut self, end: End, event: LinkEvent) {
        let now = self.clock_of(end.node);
        if self.nodes[end.node].life != end.life {
            return;
        }
        let mut hello = false;
        match &event {
            LinkEvent::Frame(frame) => {
                hello = [HELLO, HELLO_ACK].contains(&frame.kind);
                if frame.kind != HELLO_ACK {
                    self.note_bytes(&frame.payload);
                }
                self.record_frame(end, frame);
            }
            LinkEvent::Accepted { remote } => self.record_beginning(end, *remote),
            _ => {}
        }
        let Some(running) = &mut self.nodes[end.node].running else {
            return;
        };
        if event == LinkEvent::Closed {
            running.links.remove(&end.link);
        }
        running.board.handle_link(now, end.link, event);
        self.touched(end.node);
        if hello {
            self.may_die_in_hello(end.node);
        }
    }

    fn seal(&mut self, index: usize, transmit: &Transmit) -> Option<Bytes> {
        self.nodes[index].running.as_mut()?.board.seal(transmit)
    }

    fn transmit(&mut self, index: usize, mut transmit: Transmit) {
        match transmit.to {
            Route::Datagram(to, _) => {
                if let Some(bytes) = self.seal(index, &transmit) {
                    self.send_datagram(index, to, &bytes);
                }
            }
            Route::Link(link) => {
                let running = self.nodes[index].running.as_ref();
                let Some((stream, side)) = running.and_then(|r| r.links.get(&link).copied()) else {
                    return;
                };
                if self.mutant == Mutant::QuorumSkipped
                    && self.forge((stream, side), &transmit.bytes)
                {
                    return;
                }
                if self.mutant == Mutant::WallClock {
                    transmit.bytes = self.restamp_frame(index, transmit.bytes);
                }
                self.check_held(index, &transmit);
                if let Some(bytes) = self.seal(index, &transmit) {
                    let frame = frame_of(&bytes);
                    self.send_stream((stream, 1 - side), LinkEvent::Frame(frame));
                }
            }
        }
    }

    fn send_datagram(&mut self, index: usize, to: SocketAddr, bytes: &Bytes) {
        let Some(target) = self.at(&to).filter(|to| self.nodes[*to].is_up()) else {
            return;
        };
        let path = (index, target);
        let copies = self.network.datagram(&self.faults, &mut self.dice, path);
        let end = End {
            node: target,
            life: self.life_of(target),
            link: LinkId(0),
        };
        for wait in copies.into_iter().flatten() {
            let bytes = bytes.clone();
            self.schedule(wait, Happening::Datagram { to: end, bytes });
        }
    }

    fn answered(&mut self, index: usize, answer: Answer) {
        self.note(answer.call.0 << 1 | u64::from(answer.result.is_ok()));
        let running = self.nodes[index].running.as_mut().expect("it runs");
        let cluster = running.cluster;
        let Some(operation) = running.waiting.remove(&answer.call) else {
            self.keys_answered(index, answer.call, &answer.result);
            self.replies.push((answer.call, answer.result));
            return;
        };
        self.tell(|| format!("{index} answers {operation}: {:?}", answer.result));
        let now = self.now;
        if let Err(broken) = self.model.answer(operation, now, cluster, &answer.result) {
            panic!("{broken}");
        }
    }

    fn event(&mut self, index: usize, event: Event) {
        self.tell(|| format!("{index} {event:?}"));
        let Some(running) = &mut self.nodes[index].running else {
            return;
        };
        match event {
            Event::Founded(cluster) | Event::Joined(cluster) => {
                running.cluster = Some(cluster);
                running.departed = false;
            }
            Event::Merged { survivor, .. } => running.cluster = Some(survivor),
            Event::ClonedCard { yields: true, .. } => {
                self.nodes[index].retired = true;
                self.stop(index, Power::On);
            }
            Event::Departed => {
                running.departed = true;
                self.nodes[index].card.may_lack_key = true;
            }
            Event::NodeDown(id) if self.mutant == Mutant::PlacementByLiveness => {
                self.call(index, Call::Forget { id }, None);
            }
            _ => {}
        }
    }

    /// A request that is repeated without anybody noticing.
    pub fn repeat(&mut self, index: usize, call: &Call) {
        if self.mutant == Mutant::Duplicates && !matches!(call, Call::Get { .. }) {
            let wait = self.dice.duration(REPEATED_AFTER);
            self.schedule(wait, Happening::Again(index, call.clone()));
        }
    }

    /// Acknowledges a write in the copy's name; true when the write is not to be sent.
    fn forge(&mut self, (stream, side): (StreamId, usize), bytes: &Bytes) -> bool {
        let Ok(Message::ReplicaWrite(write)) = Message::from_frame(&frame_of(bytes)) else {
            return false;
        };
        if write.hint || self.dice.coin() {
            return false;
        }
        let ack = Message::WriteAck {
            operation: write.operation,
            result: WriteResult::Stored,
        };
        // It comes from the copy's own driver, which has its keys.
        let there = self.network.end(stream, 1 - side);
        if self.nodes[there.node].life != there.life {
            return false;
        }
        let acknowledged = Transmit {
            to: Route::Link(there.link),
            bytes: ack.encode(),
            after: None,
        };
        let Some(sealed) = self.seal(there.node, &acknowledged) else {
            return false;
        };
        let frame = frame_of(&sealed);
        self.send_stream((stream, side), LinkEvent::Frame(frame));
        true
    }

    /// Replaces the stamp of a write this board draws by its wall clock's.
    fn restamp_frame(&mut self, index: usize, bytes: Bytes) -> Bytes {
        let Ok(Message::ReplicaWrite(mut write)) = Message::from_frame(&frame_of(&bytes)) else {
            return bytes;
        };
        let wall = self.clock_of(index).wall.0;
        let node = &mut self.nodes[index];
        let version = write.item.record.version;
        write.item.record.version = node.lies.restamp(version, wall);
        Message::ReplicaWrite(write).encode()
    }
}

fn restamp_batch(batch: &mut Batch, mut restamp: impl FnMut(Version) -> Version) {
    for change in &mut batch.changes {
        match change {
            Change::Merge(item) => item.record.version = restamp(item.record.version),
            Change::Drop { version, .. } => *version = restamp(*version),
            Change::Meta { .. } => {}
        }
    }
}

/// The frame a transmit is, without copying it.
fn frame_of(bytes: &Bytes) -> Frame {
    Frame {
        kind: bytes[1],
        payload: bytes.slice(FRAME_HEADER_BYTES..),
    }
}
