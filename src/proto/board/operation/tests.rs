//! Attempts of one operation: an answer counts for the attempt it answers and for no other.

use super::*;
use crate::base::call::Call;
use crate::proto::board::world::World;

/// Attempts after which the number of an attempt once came round again.
const ROUND: u32 = 256;

/// A ring of three in which board 0 hears no copy, and a put under way there.
fn put_nobody_answers() -> (World, CallId, u64) {
    let mut world = World::new(3);
    world.start_all();
    world.converge(&[0, 1, 2], Duration::from_secs(4));
    world.run_for(Duration::from_secs(1));
    for copy in [1, 2] {
        world.lag.insert((copy, 0), Duration::from_secs(10));
    }
    let put = Call::Put {
        key: Key::new("k").unwrap(),
        value: Value::Json("1".into()),
        consistency: Consistency::Quorum,
    };
    let call = world.call(0, put);
    let running = &world.board(0).operations.running;
    let id = *running.keys().next().expect("the put runs");
    (world, call, id)
}

fn attempt(world: &World, id: u64) -> u32 {
    world.board(0).operations.running[&id].attempt
}

/// A copy's answer to one attempt reaches board 0.
fn answer(world: &mut World, copy: usize, tag: u64, result: WriteResult) {
    let from = world.nodes[copy].id;
    world.with_board(0, |board, now| board.write_answered(now, from, tag, result));
}

/// Rosters differ at a copy, are exchanged, and the put begins anew.
fn begin_anew(world: &mut World, id: u64) {
    let last = tag(id, attempt(world, id));
    answer(world, 2, last, WriteResult::OtherView);
    world.with_board(0, |board, now| board.operation_again(now, id));
}

#[test]
fn answer_to_an_attempt_of_long_ago_acknowledges_nothing() {
    let (mut world, call, id) = put_nobody_answers();
    let first = attempt(&world, id);
    for _ in 0..ROUND {
        begin_anew(&mut world, id);
    }
    assert_eq!(attempt(&world, id), first + ROUND);
    answer(&mut world, 1, tag(id, first), WriteResult::Stored);
    world.run_for(Duration::from_millis(5));
    assert!(world.reply(call).is_none(), "no copy has the last attempt");
    answer(&mut world, 1, tag(id, first + ROUND), WriteResult::Stored);
    world.run_for(Duration::from_millis(5));
    assert!(matches!(world.reply(call), Some(Ok(Reply::Written { .. }))));
}

#[test]
fn put_out_of_attempts_is_unknown_at_the_end_of_its_time() {
    let (mut world, call, id) = put_nobody_answers();
    world.with_board(0, |board, _| {
        let operation = board.operations.running.get_mut(&id);
        operation.expect("the put runs").attempt = ATTEMPTS_MAX;
    });
    begin_anew(&mut world, id);
    assert_eq!(attempt(&world, id), ATTEMPTS_MAX);
    world.run_for(limit::OPERATION_TIME_MAX);
    assert!(matches!(
        world.reply(call),
        Some(Err(CallError::Unavailable {
            outcome: Some(WriteOutcome::Unknown),
            ..
        }))
    ));
}
