//! The pure parts of the bench: medians, judgements and the drawing. What they are fed is measured
//! by `cargo bench`, which Cargo does not test.

#[path = "../bench/drawing.rs"]
mod drawing;
#[path = "../bench/figure.rs"]
mod figure;
#[path = "../bench/goal.rs"]
mod goal;

use figure::{Figure, Figures, find, spoken};
use goal::{Goal, Judgement};

const PUTS: (&str, &str) = ("puts", "/s");

/// Figures of row 1: ours and the peer's.
fn figures(ours: &[f64], peers: &[f64]) -> Vec<Figure> {
    let mut figures = Figures::default();
    for sample in ours {
        figures.add(1, "roundel", PUTS, *sample);
    }
    for sample in peers {
        figures.add(1, "etcd & <co>", PUTS, *sample);
    }
    figures.all()
}

#[test]
fn the_median_is_the_middle_and_knows_no_order() {
    let figures = figures(&[9.0, 1.0, 5.0], &[4.0, 1.0, 2.0, 3.0]);
    let odd = figures[0].summary().expect("there are samples");
    assert_eq!((odd.median, odd.min, odd.max), (5.0, 1.0, 9.0));
    let even = figures[1].summary().expect("there are samples");
    assert_eq!((even.median, even.min, even.max), (2.5, 1.0, 4.0));
    assert_eq!(figures.len(), 2);
}

#[test]
fn a_ratio_of_medians_meets_or_misses_its_goal() {
    let figures = figures(&[300.0, 160.0, 10.0], &[100.0, 100.0, 1.0]);
    for (goal, judgement) in [
        (
            Goal::at_least(1, "puts", 1.6, "etcd & <co>"),
            Judgement::Met,
        ),
        (
            Goal::at_least(1, "puts", 1.7, "etcd & <co>"),
            Judgement::Missed,
        ),
        (Goal::at_most(1, "puts", 1.6, "etcd & <co>"), Judgement::Met),
        (
            Goal::at_most(1, "puts", 1.5, "etcd & <co>"),
            Judgement::Missed,
        ),
        (Goal::within(1, "puts", 160.0), Judgement::Met),
        (Goal::within(1, "puts", 159.0), Judgement::Missed),
    ] {
        for goal in [goal, goal.when_quiet()] {
            assert_eq!(goal.judge(&figures, true).judgement, judgement, "{goal:?}");
        }
    }
}

#[test]
fn a_busy_machine_leaves_times_unjudged_and_nothing_else() {
    let figures = figures(&[1.0], &[100.0]);
    let goal = Goal::at_least(1, "puts", 1.6, "etcd & <co>");
    assert_eq!(goal.judge(&figures, false).judgement, Judgement::Missed);
    let timed = goal.when_quiet().judge(&figures, false);
    assert_eq!(timed.judgement, Judgement::NotJudged);
    assert_eq!(timed.reached, Some(0.01));
}

#[test]
fn what_was_not_measured_is_neither_met_nor_missed() {
    let figures = figures(&[5.0], &[]);
    for goal in [
        Goal::at_least(1, "puts", 0.0, "etcd & <co>"),
        Goal::at_least(2, "puts", 0.0, "roundel"),
        Goal::at_most(1, "puts", 9.0, "roundel").of("another"),
    ] {
        assert_eq!(goal.judge(&figures, true).judgement, Judgement::Unmeasured);
    }
    assert!(find(&figures, 1, "roundel", "gets").is_none());
}

#[test]
fn a_peer_that_gave_zero_is_no_divisor() {
    let figures = figures(&[5.0], &[0.0]);
    let judged = Goal::at_least(1, "puts", 1.0, "etcd & <co>").judge(&figures, true);
    assert_eq!(judged.judgement, Judgement::Unmeasured);
}

#[test]
fn numbers_are_said_with_the_digits_that_count() {
    for (value, words) in [
        (1_234_567.0, "1,234,567"),
        (-1_234.0, "-1,234"),
        (999.6, "1,000"),
        (123.4, "123"),
        (12.34, "12.3"),
        (0.5, "0.50"),
        (0.0123, "0.0123"),
        (0.0, "0.00"),
    ] {
        assert_eq!(spoken(value), words);
    }
}

/// Start tags of an SVG by name, all of them closed, and its text.
fn read(svg: &str) -> (Vec<String>, String) {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_str(svg);
    let (mut names, mut text, mut depth) = (Vec::new(), String::new(), 0);
    loop {
        match reader.read_event().expect("it is well formed") {
            Event::Start(tag) => {
                depth += 1;
                names.push(tag.name().as_ref().to_owned());
            }
            Event::Empty(tag) => {
                names.push(tag.name().as_ref().to_owned());
            }
            Event::End(_) => depth -= 1,
            Event::Text(part) => text.push_str(part.as_ref()),
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    (names, text)
}

#[test]
fn the_drawing_is_well_formed_and_has_a_bar_for_each_system() {
    let mut all = figures(&[100.0, 300.0, 200.0], &[50.0]);
    let mut alone = Figures::default();
    alone.add(2, "roundel", ("only ours", "s"), 1.0);
    all.extend(alone.all());
    let (names, text) = read(&drawing::svg(&all, "two & <more> cores"));
    let count = |name: &str| names.iter().filter(|it| *it == name).count();
    // One is the page.
    assert_eq!((count("rect"), count("line")), (3, 2));
    assert!(text.contains("200") && text.contains("puts"));
    assert!(!text.contains("only ours"), "nothing to compare with");
}

#[test]
fn a_drawing_of_nothing_is_a_drawing() {
    let (names, _) = read(&drawing::svg(&[], ""));
    assert_eq!(names.iter().filter(|it| *it == "rect").count(), 1);
    let zero = figures(&[0.0], &[0.0]);
    assert!(!drawing::svg(&zero, "").contains("NaN"));
}
