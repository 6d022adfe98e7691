//! Codes by themselves: two machines and what goes between them.

use std::time::Duration;

use super::*;
use crate::base::rng::seeded;

const START: Time = Time::ZERO;

fn code(text: &str) -> JoinCode {
    text.parse().unwrap()
}

fn parties(newcomer: &str) -> Parties {
    Parties {
        newcomer: Id::of(newcomer.as_bytes()),
        member: Id::of(b"member"),
        context: *Id::of(format!("link of {newcomer}").as_bytes()).as_bytes(),
    }
}

fn member(text: &str) -> Codes {
    let mut codes = Codes::default();
    codes.make(START, code(text));
    codes
}

fn newcomer(text: &str) -> Codes {
    let mut codes = Codes::default();
    codes.enter(code(text));
    codes
}

/// A side of one link.
struct Side<'a> {
    codes: &'a mut Codes,
    parties: Parties,
    proof: Option<Proof>,
    rng: Rng,
}

impl<'a> Side<'a> {
    fn new(codes: &'a mut Codes, parties: Parties, seed: u8) -> Self {
        Side {
            codes,
            parties,
            proof: None,
            rng: seeded([seed; 32], 0),
        }
    }

    fn begin(&mut self) -> Option<CodeStep> {
        let (proof, step) = self.codes.begin(self.parties, &mut self.rng)?;
        self.proof = Some(proof);
        Some(step)
    }

    /// The proof is kept where the outcome holds one.
    fn handle(&mut self, now: Time, step: &CodeStep) -> Step {
        let proof = self.proof.take();
        self.codes
            .handle(now, self.parties, proof, step, &mut self.rng)
    }

    /// The step to send, where there is more to come.
    fn go_on(&mut self, now: Time, step: &CodeStep) -> CodeStep {
        match self.handle(now, step) {
            Step::Send(proof, step) => {
                self.proof = Some(proof);
                step
            }
            other => panic!("there is more to come, not {other:?}"),
        }
    }
}

/// The member's outcome of a newcomer's whole attempt at that time, and the newcomer's of it.
fn attempt(member: &mut Codes, newcomer: &mut Codes, now: Time, who: &str) -> (Step, Step) {
    let parties = parties(who);
    let (mut a, mut b) = (
        Side::new(newcomer, parties, 1),
        Side::new(member, parties, 2),
    );
    let share = a.begin().expect("it may be tried");
    let answer = match b.handle(now, &share) {
        Step::Send(proof, step) => {
            b.proof = Some(proof);
            step
        }
        Step::Refuse(word) => {
            let after = a.handle(now, &word);
            return (Step::Refuse(word), after);
        }
        other => panic!("a share is answered or refused, not {other:?}"),
    };
    let tag = a.go_on(now, &answer);
    let outcome = b.handle(now, &tag);
    let after = match &outcome {
        Step::LetIn(word) | Step::Refuse(word) => a.handle(now, word),
        other => panic!("a tag is judged, not {other:?}"),
    };
    (outcome, after)
}

fn left(step: &Step) -> u8 {
    match step {
        Step::Refuse(CodeStep::Refused { left }) => *left,
        other => panic!("it is refused, not {other:?}"),
    }
}

#[test]
fn the_right_code_lets_one_board_in_and_is_void() {
    let (mut b, mut a) = (member("1234-5678"), newcomer("12345678"));
    let (in_, proved) = attempt(&mut b, &mut a, START, "a");
    assert!(matches!(in_, Step::LetIn(CodeStep::Tag(_))), "{in_:?}");
    assert!(matches!(proved, Step::Proved), "{proved:?}");
    assert_eq!(a.proved(), Some(Id::of(b"member")));
    assert_eq!((b.view(START), b.is_open()), (None, false));
    let mut second = newcomer("12345678");
    let (refused, _) = attempt(&mut b, &mut second, START, "c");
    assert_eq!(left(&refused), 0);
    assert_eq!(second.verdict(), Some(Verdict::UsedUp));
}

#[test]
fn of_two_boards_that_try_at_once_one_comes_in() {
    let (mut b, mut one, mut two) = (
        member("1234-5678"),
        newcomer("1234-5678"),
        newcomer("1234-5678"),
    );
    let mut first = Side::new(&mut one, parties("one"), 1);
    let mut second = Side::new(&mut two, parties("two"), 2);
    let mut proofs = Vec::new();
    let mut tags = Vec::new();
    for side in [&mut first, &mut second] {
        let mut here = Side::new(&mut b, side.parties, 3);
        let share = side.begin().unwrap();
        let answer = here.go_on(START, &share);
        proofs.push(here.proof.take());
        tags.push(side.go_on(START, &answer));
    }
    let mut outcomes = Vec::new();
    for ((proof, tag), who) in proofs.into_iter().zip(&tags).zip(["one", "two"]) {
        let mut here = Side::new(&mut b, parties(who), 3);
        here.proof = proof;
        outcomes.push(here.handle(START, tag));
    }
    assert!(matches!(outcomes[0], Step::LetIn(_)));
    assert_eq!(left(&outcomes[1]), 0);
}

#[test]
fn exactly_five_wrong_codes_use_it_up() {
    let mut b = member("1234-5678");
    for (spent, who) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        assert!(b.is_open(), "after {spent}");
        let mut wrong = newcomer("0000-0000");
        let (refused, _) = attempt(&mut b, &mut wrong, START, who);
        let now_left = 4 - spent as u8;
        assert_eq!(left(&refused), now_left);
        let said = Verdict::Wrong {
            left: Some(now_left),
        };
        assert_eq!(wrong.verdict(), Some(said));
    }
    assert!(!b.is_open());
    assert_eq!(b.view(START).unwrap().attempts, 0, "the owner sees it");
    let mut right = newcomer("1234-5678");
    assert_eq!(left(&attempt(&mut b, &mut right, START, "f").0), 0);
    assert_eq!(right.proved(), None);
}

#[test]
fn the_fifth_attempt_may_be_the_right_one() {
    let mut b = member("1234-5678");
    for who in ["a", "b", "c", "d"] {
        attempt(&mut b, &mut newcomer("0000-0000"), START, who);
    }
    let (in_, _) = attempt(&mut b, &mut newcomer("1234-5678"), START, "e");
    assert!(matches!(in_, Step::LetIn(_)), "{in_:?}");
}

#[test]
fn whoever_breaks_off_has_tried() {
    let mut b = member("1234-5678");
    for _ in 0..5 {
        let mut a = newcomer("0000-0000");
        let share = Side::new(&mut a, parties("a"), 1).begin().unwrap();
        let mut here = Side::new(&mut b, parties("a"), 2);
        here.go_on(START, &share);
    }
    let (refused, _) = attempt(&mut b, &mut newcomer("1234-5678"), START, "c");
    assert_eq!(left(&refused), 0);
}

#[test]
fn what_is_no_share_is_no_attempt() {
    let mut b = member("1234-5678");
    let no_point = (0..=255u8).map(|first| {
        let mut share = [0x5a; 32];
        share[0] = first;
        share
    });
    let mut ended = 0;
    for share in no_point {
        let mut fresh = member("1234-5678");
        let mut here = Side::new(&mut fresh, parties("a"), 2);
        if matches!(here.handle(START, &CodeStep::Share(share)), Step::End) {
            ended += 1;
            let mut here = Side::new(&mut b, parties("a"), 2);
            here.handle(START, &CodeStep::Share(share));
        }
    }
    assert!(ended > 50, "{ended}");
    assert_eq!(b.view(START).unwrap().attempts, 5);
}

#[test]
fn it_holds_for_exactly_ten_minutes() {
    let end = START + limit::JOIN_CODE_TIME;
    let before = Time(end.0 - 1);
    let mut b = member("1234-5678");
    assert_eq!(b.poll_timeout(), Some(end));
    b.handle_timeout(before);
    assert_eq!(b.view(before).unwrap().left, Duration::from_micros(1));
    let (refused, _) = attempt(&mut b, &mut newcomer("1234-5678"), end, "a");
    assert_eq!(left(&refused), 0);
    let (in_, _) = attempt(&mut b, &mut newcomer("1234-5678"), before, "b");
    assert!(matches!(in_, Step::LetIn(_)), "{in_:?}");
    // A tag that comes too late is refused as well, and the code is wiped.
    let mut b = member("1234-5678");
    let mut a = newcomer("1234-5678");
    let (mut there, mut here) = (
        Side::new(&mut a, parties("a"), 1),
        Side::new(&mut b, parties("a"), 2),
    );
    let share = there.begin().unwrap();
    let answer = here.go_on(before, &share);
    let tag = there.go_on(before, &answer);
    assert_eq!(left(&here.handle(end, &tag)), 0);
    b.handle_timeout(end);
    assert_eq!((b.view(end), b.is_open()), (None, false));
    assert_eq!(b.poll_timeout(), None);
}

#[test]
fn another_code_replaces_it_and_ends_what_is_under_way() {
    let (mut b, mut a) = (member("1234-5678"), newcomer("1234-5678"));
    let mut there = Side::new(&mut a, parties("a"), 1);
    let share = there.begin().unwrap();
    let mut here = Side::new(&mut b, parties("a"), 2);
    let answer = here.go_on(START, &share);
    let tag = there.go_on(START, &answer);
    let proof = here.proof.take();
    b.make(START, code("8765-4321"));
    let mut here = Side::new(&mut b, parties("a"), 2);
    here.proof = proof;
    assert_eq!(left(&here.handle(START, &tag)), 0);
    assert_eq!(b.view(START).unwrap().attempts, 5, "the new one is whole");
    let (refused, _) = attempt(&mut b, &mut newcomer("1234-5678"), START, "b");
    assert_eq!(left(&refused), 4);
    let (in_, _) = attempt(&mut b, &mut newcomer("8765-4321"), START, "c");
    assert!(matches!(in_, Step::LetIn(_)), "{in_:?}");
}

#[test]
fn a_newcomer_shows_a_tag_to_each_board_once_and_to_five_at_most() {
    let mut a = newcomer("1234-5678");
    for number in 0..5 {
        let parties = Parties {
            member: Id::of(&[number]),
            ..parties("a")
        };
        // A false member: it has a code, but not this one.
        let mut b = member("0000-0000");
        let (mut there, mut here) = (Side::new(&mut a, parties, 1), Side::new(&mut b, parties, 2));
        let share = there.begin().expect("it may be tried");
        let answer = here.go_on(START, &share);
        there.go_on(START, &answer);
        assert!(!a.may_try(&parties.member), "once a board");
        assert!(Side::new(&mut a, parties, 1).begin().is_none());
    }
    let sixth = Parties {
        member: Id::of(b"sixth"),
        ..parties("a")
    };
    assert!(Side::new(&mut a, sixth, 1).begin().is_none());
    a.enter(code("1234-5678"));
    assert!(Side::new(&mut a, sixth, 1).begin().is_some());
}

#[test]
fn steps_out_of_turn_and_false_members_end_the_link() {
    let mut b = member("1234-5678");
    for step in [CodeStep::Tag([0; 32]), CodeStep::Refused { left: 3 }] {
        let mut here = Side::new(&mut b, parties("a"), 2);
        assert!(matches!(here.handle(START, &step), Step::End), "{step:?}");
    }
    assert_eq!(b.view(START).unwrap().attempts, 5);
    // A member that has not shown the code is none, whatever it says.
    let mut a = newcomer("1234-5678");
    let mut there = Side::new(&mut a, parties("a"), 1);
    there.begin().unwrap();
    assert!(matches!(
        there.handle(START, &CodeStep::Tag([0; 32])),
        Step::End
    ));
    let share = there.begin().unwrap();
    let mut here = Side::new(&mut b, parties("a"), 2);
    let answer = here.go_on(START, &share);
    let tag = there.go_on(START, &answer);
    // Its own tag, sent back.
    assert!(matches!(there.handle(START, &tag), Step::End));
    assert_eq!(a.proved(), None);
    assert_eq!(a.verdict(), Some(Verdict::Wrong { left: None }));
}

#[test]
fn a_code_entered_anew_ends_what_the_one_before_began() {
    let (mut b, mut a) = (member("1234-5678"), newcomer("1234-5678"));
    let (in_, tag, proof) = {
        let mut there = Side::new(&mut a, parties("a"), 1);
        let share = there.begin().unwrap();
        let mut here = Side::new(&mut b, parties("a"), 2);
        let answer = here.go_on(START, &share);
        let tag = there.go_on(START, &answer);
        let in_ = here.handle(START, &tag);
        (in_, tag, there.proof.take())
    };
    let Step::LetIn(word) = in_ else {
        panic!("{tag:?} is right")
    };
    a.enter(code("8765-4321"));
    let mut there = Side::new(&mut a, parties("a"), 1);
    there.proof = proof;
    assert!(matches!(there.handle(START, &word), Step::End));
    assert_eq!((a.proved(), a.verdict()), (None, None));
}
