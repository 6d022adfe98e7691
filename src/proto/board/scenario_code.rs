//! Scenarios of one-time codes: boards that come in by one, and whoever would and does not.

use std::time::Duration;

use super::scenario_key::{current, is_one_ring};
use super::world::World;
use super::*;
use crate::base::code::JoinCode;
use crate::base::keys::{CodeView, KeyView};
use crate::base::limit;
use crate::proto::keyring::Admission;
use crate::proto::session::{Handshake, Step, Terms};
use crate::security::identity::Identity;
use crate::security::key::{ClusterKey, Keyring};
use crate::wire::frame::Frame;
use crate::wire::peer::{CodeStep, Door, Hello, Message};

const SECOND: Duration = Duration::from_secs(1);
/// A code is tried for at most 30 s.
const TRIED_MAX: Duration = Duration::from_secs(31);

/// Boards with a key of their owner's form a ring; the last one never had a key, and its window is
/// over.
fn ring_and_newcomer(count: usize) -> World {
    let mut world = World::new(count);
    (0..count - 1).for_each(|index| world.start(index));
    world.run_for(SECOND * 3);
    world.key = None;
    world.start(count - 1);
    world.kill(count - 1);
    world.start(count - 1);
    world.run_for(SECOND * 5);
    assert_eq!(world.overview(count - 1).members.len(), 1);
    world
}

fn make(world: &mut World, index: usize) -> JoinCode {
    match world.ask(index, Call::MakeCode) {
        Ok(Reply::Code { code, view }) => {
            assert_eq!((view.left, view.attempts), (limit::JOIN_CODE_TIME, 5));
            code
        }
        other => panic!("{other:?}"),
    }
}

fn state(world: &mut World, index: usize) -> KeyView {
    match world.ask(index, Call::KeyState) {
        Ok(Reply::Keys(view)) => *view,
        other => panic!("{other:?}"),
    }
}

fn attempts(world: &mut World, index: usize) -> Option<u8> {
    let code: Option<CodeView> = state(world, index).code;
    code.map(|code| code.attempts)
}

fn enter(world: &mut World, index: usize, code: &JoinCode) -> Result<Reply, CallError> {
    let code = code.clone();
    world.ask_within(index, Call::EnterCode { code }, TRIED_MAX)
}

/// A code that differs in its last digit.
fn other_than(code: &JoinCode) -> JoinCode {
    let mut text = code.text();
    let last = text.pop().unwrap();
    text.push(if last == '9' { '0' } else { '9' });
    text.parse().unwrap()
}

fn told(result: &Result<Reply, CallError>) -> String {
    match result {
        Err(error) => error.to_string(),
        Ok(reply) => panic!("it is refused, not {reply:?}"),
    }
}

#[test]
fn a_board_whose_window_is_over_comes_in_by_its_code() {
    let mut world = ring_and_newcomer(4);
    let code = make(&mut world, 1);
    let start = world.now;
    let reply = enter(&mut world, 3, &code).unwrap();
    let Reply::Keys(view) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(view.current.kid, current(&world, 0).to_string());
    assert!(world.now.since(start) < SECOND * 3);
    world.run_for(SECOND * 10);
    assert!(is_one_ring(&mut world, &[0, 1, 2, 3]));
    assert!(world.board(3).keys().is_confirmed());
    assert_eq!(attempts(&mut world, 1), None, "it is void");
    // It lets in no other.
    assert_eq!(world.board(1).keys().asking().count(), 0);
}

#[test]
fn a_board_in_its_window_comes_in_by_its_code() {
    let mut world = World::new(3);
    world.start(0);
    world.start(1);
    world.run_for(SECOND * 3);
    world.key = None;
    world.start(2);
    world.run_for(SECOND * 2);
    let code = make(&mut world, 0);
    enter(&mut world, 2, &code).unwrap();
    world.run_for(SECOND * 10);
    assert!(is_one_ring(&mut world, &[0, 1, 2]));
}

#[test]
fn a_ring_that_nobody_confirmed_lets_in_by_code_in_its_window_and_after_it() {
    for wait in [SECOND * 3, limit::PAIRING_TIME + SECOND] {
        let mut world = World::new(3);
        world.key = None;
        world.start(0);
        world.start(1);
        world.run_for(wait);
        assert!(is_one_ring(&mut world, &[0, 1]));
        // A reboot has ended its own window.
        world.partition(&[&[0, 1], &[2]]);
        world.start(2);
        world.kill(2);
        world.start(2);
        world.run_for(SECOND);
        world.heal();
        world.announce(2);
        world.run_for(SECOND * 3);
        assert!(is_one_ring(&mut world, &[0, 1]));
        let code = make(&mut world, 1);
        enter(&mut world, 2, &code).unwrap();
        world.run_for(SECOND * 10);
        assert!(is_one_ring(&mut world, &[0, 1, 2]), "after {wait:?}");
    }
}

#[test]
fn wrong_codes_are_told_and_the_sixth_attempt_fails_even_if_it_is_right() {
    let mut world = ring_and_newcomer(3);
    let code = make(&mut world, 0);
    let wrong = other_than(&code);
    for left in (0..5).rev() {
        let start = world.now;
        let told = told(&enter(&mut world, 2, &wrong));
        let expected = match left {
            0 => "the code is wrong, and its attempts are used up".to_owned(),
            left => format!("the code is wrong, attempts left: {left}"),
        };
        assert!(told.starts_with(&expected), "{told}");
        assert!(told.contains("roundel key code"), "{told}");
        assert!(world.now.since(start) < SECOND * 4);
        assert_eq!(attempts(&mut world, 0), Some(left));
    }
    let refused = told(&enter(&mut world, 2, &code));
    assert!(
        refused.contains("none has a join code that holds"),
        "{refused}"
    );
    assert_eq!(world.overview(2).members.len(), 1);
    assert_ne!(current(&world, 2), current(&world, 0));
    // It asks as before, and a new code lets it in.
    let code = make(&mut world, 0);
    enter(&mut world, 2, &code).unwrap();
    world.run_for(SECOND * 10);
    assert!(is_one_ring(&mut world, &[0, 1, 2]));
}

#[test]
fn codes_of_two_boards_are_two_codes() {
    let mut world = ring_and_newcomer(4);
    let first = make(&mut world, 0);
    let mut second = make(&mut world, 2);
    while second == first {
        second = make(&mut world, 2);
    }
    enter(&mut world, 3, &second).unwrap();
    world.run_for(SECOND * 10);
    assert!(is_one_ring(&mut world, &[0, 1, 2, 3]));
    assert_eq!(attempts(&mut world, 2), None);
    // It may have been tried with the other board first.
    assert!(attempts(&mut world, 0).is_some_and(|left| left >= 4));
}

#[test]
fn a_code_that_was_made_after_it_was_entered_is_found() {
    let mut world = ring_and_newcomer(3);
    // What it will draw is not known before it does: this one never is.
    let call = world.call(
        2,
        Call::EnterCode {
            code: "0000-0000".parse().unwrap(),
        },
    );
    world.run_for(SECOND * 7);
    assert!(world.reply(call).is_none(), "it goes on asking");
    make(&mut world, 1);
    world.run_for(SECOND * 8);
    let reply = world.reply(call).expect("it was told");
    assert!(told(&reply).starts_with("the code is wrong"), "{reply:?}");
    assert_eq!(attempts(&mut world, 1), Some(4));
}

#[test]
fn a_board_that_restarts_has_forgotten_its_code() {
    let mut world = ring_and_newcomer(3);
    let code = make(&mut world, 0);
    world.kill(0);
    world.start(0);
    world.run_for(SECOND * 5);
    assert_eq!(attempts(&mut world, 0), None);
    let start = world.now;
    let refused = told(&enter(&mut world, 2, &code));
    assert!(
        refused.contains("none has a join code that holds"),
        "{refused}"
    );
    assert_eq!(world.now.since(start), limit::JOIN_CODE_TRIED_MAX);
    assert_eq!(world.overview(2).members.len(), 1);
}

#[test]
fn a_code_is_void_after_ten_minutes() {
    let mut world = ring_and_newcomer(3);
    let code = make(&mut world, 0);
    world.run_for(limit::JOIN_CODE_TIME - SECOND);
    assert_eq!(attempts(&mut world, 0), Some(5));
    world.run_for(SECOND);
    assert_eq!(attempts(&mut world, 0), None);
    assert!(!world.board(0).keys().codes.is_open());
    assert!(enter(&mut world, 2, &code).is_err());
}

#[test]
fn a_board_with_a_code_to_try_takes_no_key_of_anybody_else() {
    let mut world = World::new(4);
    world.start(0);
    world.start(1);
    world.key = Some(ClusterKey::new(0, [8; 32]));
    world.start(2);
    world.run_for(SECOND * 3);
    world.key = None;
    world.start(3);
    world.kill(3);
    world.start(3);
    world.run_for(SECOND * 3);
    let code = make(&mut world, 0);
    // The false ring is there first, and would give its key at once.
    world.partition(&[&[0, 1], &[2, 3]]);
    let call = world.call(3, Call::EnterCode { code });
    let id = world.nodes[3].id;
    world.ask(2, Call::Accept { id }).unwrap();
    world.announce(2);
    world.run_for(SECOND * 6);
    assert_ne!(current(&world, 3), current(&world, 2));
    world.heal();
    world.run_for(SECOND * 15);
    world.reply(call).expect("it is answered").unwrap();
    world.run_for(SECOND * 10);
    assert!(is_one_ring(&mut world, &[0, 1, 3]));
}

#[test]
fn boards_that_have_a_key_of_their_owner_or_a_ring_enter_no_code() {
    let mut world = ring_and_newcomer(3);
    let code = make(&mut world, 0);
    let refused = told(&enter(&mut world, 1, &code));
    assert!(refused.contains("roundel key import"), "{refused}");
    assert_eq!(attempts(&mut world, 0), Some(5));
    let mut world = World::new(2);
    world.key = None;
    world.start_all();
    world.run_for(SECOND * 2);
    let refused = told(&enter(&mut world, 1, &code));
    assert!(refused.contains("a ring of 2 boards"), "{refused}");
}

/// Streams that somebody holds the ends of: what a board says on them, and whether it closed.
struct Hand {
    next: u64,
}

impl Hand {
    fn open(&mut self, world: &mut World, index: usize) -> (LinkId, Vec<Frame>) {
        self.next += 1;
        let link = LinkId(LinkId::INCOMING | 1 << 40 | self.next);
        let remote = SocketAddr::from(([10, 66, 0, 1], 40_000 + self.next as u16));
        let said = say(world, index, link, LinkEvent::Accepted { remote });
        (link, said.expect("it is open"))
    }
}

/// What the board says on that stream after that; none: it has closed it.
fn say(world: &mut World, index: usize, link: LinkId, event: LinkEvent) -> Option<Vec<Frame>> {
    let mut said = Some(Vec::new());
    world.with_board(index, |board, now| {
        board.handle_link(now, link, event);
        let (ours, others): (Vec<_>, Vec<_>) = std::mem::take(&mut board.out.transmits)
            .into_iter()
            .partition(|transmit| transmit.to == Route::Link(link));
        board.out.transmits = others.into();
        let bytes: Vec<Bytes> = ours.iter().filter_map(|it| board.seal(it)).collect();
        let frames = bytes.iter().map(|it| Frame::from_datagram(it).unwrap());
        let frames: Vec<Frame> = frames.collect();
        let closed = board.out.links.contains(&LinkCommand::Close(link));
        board.out.links.retain(|it| *it != LinkCommand::Close(link));
        said = (!closed).then_some(frames);
    });
    said
}

fn frame(message: &Message) -> Frame {
    Frame::from_datagram(&message.encode()).unwrap()
}

fn code_steps(frames: &[Frame]) -> Vec<CodeStep> {
    let messages = frames.iter().map(|it| Message::from_frame(it).unwrap());
    let steps = messages.filter_map(|message| match message {
        Message::Code(step) => Some(step),
        _ => None,
    });
    steps.collect()
}

/// Somebody with an identity of its own and no key says hello to a board, like to like but for the
/// door, and is at the end of a link without a key. What the board said last, unless it closed.
fn meet(
    world: &mut World,
    hand: &mut Hand,
    index: usize,
    stranger: &Identity,
    door: Door,
) -> Option<(LinkId, Vec<Frame>)> {
    let (link, said) = hand.open(world, index);
    let Ok(Message::Hello(theirs)) = Message::from_frame(&said[0]) else {
        panic!("a board says hello first")
    };
    let mut mine: Hello = theirs.clone();
    mine.nonce = [hand.next as u8; 32];
    mine.public_key = stranger.public_key().to_vec();
    mine.contact.id = stranger.id();
    mine.kids = vec![[9; 8]];
    mine.share = crate::security::seal::Secret::new([9; 32]).share();
    mine.door = door;
    let keyring = Keyring::new(ClusterKey::new(0, [9; 32]));
    let terms = Terms {
        signer: stranger,
        keyring: &keyring,
        admits: &|_, _| true,
    };
    let mut handshake = Handshake::new(mine);
    let Ok(Step::Send(ack)) = handshake.handle(Message::Hello(theirs), &terms) else {
        panic!("a hello is acknowledged")
    };
    let event = LinkEvent::Frame(frame(&handshake.first()));
    let said = say(world, index, link, event)?;
    for frame in said {
        let message = Message::from_frame(&frame).unwrap();
        let step = handshake.handle(message, &terms).unwrap();
        assert!(matches!(step, Step::Up(_)), "{step:?}");
    }
    let said = say(world, index, link, LinkEvent::Frame(frame(&ack)))?;
    Some((link, said))
}

fn stranger() -> Identity {
    Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap()
}

#[test]
fn whoever_is_in_between_both_comes_in_at_neither_and_spends_the_attempts() {
    let mut world = ring_and_newcomer(3);
    world.partition(&[&[0, 1], &[2]]);
    let code = make(&mut world, 0);
    let (mut hand, between) = (Hand { next: 0 }, stranger());
    for left in (0..5).rev() {
        world.call(2, Call::EnterCode { code: code.clone() });
        let (to_newcomer, said) =
            meet(&mut world, &mut hand, 2, &between, Door::Shut).expect("a newcomer tries");
        let (to_member, _) =
            meet(&mut world, &mut hand, 0, &between, Door::Code).expect("a code is under way");
        // Each side's steps are passed on to the other as they are.
        let mut steps = code_steps(&said);
        assert!(matches!(steps[..], [CodeStep::Share(_)]), "{steps:?}");
        let mut passed = Vec::new();
        let mut ends = [(0, to_member), (2, to_newcomer)].into_iter().cycle();
        while let [step] = &steps[..] {
            passed.push(step.clone());
            let (index, link) = ends.next().unwrap();
            let event = LinkEvent::Frame(frame(&Message::Code(step.clone())));
            let Some(said) = say(&mut world, index, link, event) else {
                break;
            };
            let none_is_a_key = |it: &Frame| it.kind != 0x1a;
            assert!(said.iter().all(none_is_a_key), "no key goes out");
            steps = code_steps(&said);
        }
        let [
            CodeStep::Share(_),
            CodeStep::Share(_),
            CodeStep::Tag(_),
            CodeStep::Refused { left: now_left },
        ] = passed[..]
        else {
            panic!("{passed:?}")
        };
        assert_eq!(now_left, left);
        assert_eq!(attempts(&mut world, 0), Some(left));
    }
    assert_eq!(meet(&mut world, &mut hand, 0, &between, Door::Code), None);
    // The code is used up for its owner as well.
    world.heal();
    assert!(enter(&mut world, 2, &code).is_err());
    assert_ne!(current(&world, 2), current(&world, 0));
}

/// Carries what two boards say to each other, with one bit of one step of the code changed.
/// The steps that were passed on.
fn carry(world: &mut World, hand: &mut Hand, flip: Option<(usize, usize)>) -> usize {
    carry_until(world, hand, flip, |_, _| ())
}

/// The same; something may happen before each step, by its number.
fn carry_until(
    world: &mut World,
    hand: &mut Hand,
    flip: Option<(usize, usize)>,
    mut before: impl FnMut(&mut World, usize),
) -> usize {
    let (to_member, hello_of_member) = hand.open(world, 0);
    let (to_newcomer, hello_of_newcomer) = hand.open(world, 1);
    let ends = [(0, to_member), (1, to_newcomer)];
    let mut queue = std::collections::VecDeque::new();
    queue.extend(hello_of_member.into_iter().map(|frame| (1, frame)));
    queue.extend(hello_of_newcomer.into_iter().map(|frame| (0, frame)));
    let mut passed = 0;
    while let Some((to, mut frame)) = queue.pop_front() {
        if frame.kind == 0x1e {
            before(world, passed);
            if let Some((step, bit)) = flip.filter(|(step, _)| *step == passed) {
                let mut payload = frame.payload.to_vec();
                payload[(bit / 8) % frame.payload.len()] ^= 1 << (bit % 8);
                frame.payload = payload.into();
                assert_eq!(step, passed);
            }
            passed += 1;
        }
        let (index, link) = ends[to];
        match say(world, index, link, LinkEvent::Frame(frame)) {
            Some(said) => queue.extend(said.into_iter().map(|frame| (1 - to, frame))),
            None => {
                let (index, link) = ends[1 - to];
                say(world, index, link, LinkEvent::Closed);
                break;
            }
        }
    }
    passed
}

#[test]
fn a_flipped_bit_of_any_step_lets_nobody_in() {
    let mut world = ring_and_newcomer(2);
    world.partition(&[&[0], &[1]]);
    let mut hand = Hand { next: 0 };
    let before = current(&world, 1);
    // A step is its kind and 32 bytes; the first ones are tried bit by bit.
    let bits = (0..16).chain((16..33 * 8).step_by(13));
    for (step, bit) in (0..4).flat_map(|step| bits.clone().map(move |bit| (step, bit))) {
        let code = make(&mut world, 0);
        world.call(1, Call::EnterCode { code });
        let passed = carry(&mut world, &mut hand, Some((step, bit)));
        assert!(passed > step, "step {step} was sent");
        assert_eq!(current(&world, 1), before, "step {step}, bit {bit}");
        assert_eq!(world.board(1).keys().codes.proved(), None);
        // Only the last step comes after the newcomer's proof.
        assert_eq!(attempts(&mut world, 0).is_none(), step == 3);
    }
    let code = make(&mut world, 0);
    world.call(1, Call::EnterCode { code });
    assert_eq!(carry(&mut world, &mut hand, None), 4);
    assert_eq!(
        current(&world, 1),
        current(&world, 0),
        "untouched, it is in"
    );
}

/// Whoever holds a key that was replaced would have a whole link, not one for steps of a code.
#[test]
fn a_replaced_key_and_a_code_to_try_are_no_way_in() {
    let mut world = ring_and_newcomer(3);
    make(&mut world, 0);
    let (_, said) = Hand { next: 0 }.open(&mut world, 1);
    let Ok(Message::Hello(mut hello)) = Message::from_frame(&said[0]) else {
        panic!("a board says hello first")
    };
    hello.contact.id = stranger().id();
    hello.door = Door::Code;
    world.ask(0, Call::Rotate { without: None }).unwrap();
    let keys = world.board(0).keys();
    let replaced = keys.keyring().previous.as_ref();
    assert!(replaced.is_some());
    let admission = |key| keys.admission(&hello, key, Door::Shut, false);
    assert_eq!(admission(replaced), None);
    assert_eq!(admission(None), Some(Admission::Code));
}

#[test]
fn a_board_revoked_while_it_proves_a_code_is_not_let_in() {
    let mut world = ring_and_newcomer(2);
    world.partition(&[&[0], &[1]]);
    let code = make(&mut world, 0);
    world.call(1, Call::EnterCode { code });
    let id = world.nodes[1].id;
    let mut hand = Hand { next: 0 };
    let revoked = carry_until(&mut world, &mut hand, None, |world, passed| {
        if passed == 2 {
            let without = Some(id);
            world.ask(0, Call::Rotate { without }).unwrap();
        }
    });
    assert_eq!(revoked, 3, "the newcomer's tag is the last step");
    assert_ne!(current(&world, 1), current(&world, 0));
    assert_eq!(world.board(1).keys().codes.proved(), None);
}

#[test]
fn strangers_with_codes_to_try_are_few_and_cost_nothing_that_lasts() {
    let mut world = ring_and_newcomer(2);
    let (mut hand, stranger) = (Hand { next: 0 }, stranger());
    // Nobody has made a code.
    assert_eq!(meet(&mut world, &mut hand, 0, &stranger, Door::Code), None);
    make(&mut world, 0);
    for _ in 0..limit::JOIN_CODE_LINKS_MAX {
        meet(&mut world, &mut hand, 0, &stranger, Door::Code).expect("there is room");
    }
    assert_eq!(meet(&mut world, &mut hand, 0, &stranger, Door::Code), None);
    // A hello that says something else is refused as ever.
    for door in [Door::Asks, Door::Window, Door::Closed, Door::Shut] {
        assert_eq!(meet(&mut world, &mut hand, 0, &stranger, door), None);
    }
    assert_eq!(attempts(&mut world, 0), Some(5), "none has tried");
    world.run_for(limit::LINK_OPEN_TIME_MAX + SECOND);
    assert!(world.board(0).links.opening() <= 1);
    meet(&mut world, &mut hand, 0, &stranger, Door::Code).expect("there is room again");
    assert!(world.board(0).keys().asking().count() <= 2);
}
