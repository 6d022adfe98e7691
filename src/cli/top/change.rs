//! What changed in the ring between two polls, in words.

use std::collections::BTreeMap;

use super::poll::Poll;
use super::view::{Said, Tone};
use crate::cli::out::shown;
use crate::cli::shape::Node;

/// What a person would want to be told, boards first, in the order of their ids.
pub fn between(before: &Poll, after: &Poll) -> Vec<Said> {
    let mut changes = Vec::new();
    ring(before, after, &mut changes);
    boards(before, after, &mut changes);
    // Problems of another board are another's, and no change.
    if before.node.hash == after.node.hash {
        health(before, after, &mut changes);
    }
    changes
}

fn ring(before: &Poll, after: &Poll, changes: &mut Vec<Said>) {
    let (was, is) = (&before.cluster.id, &after.cluster.id);
    if let (Some(_), Some(_), true) = (was, is, was != is) {
        let text = "the ring has another id: rings met and became one";
        changes.push(Said::new(Tone::Warn, text));
    }
    let same = before.node.hash == after.node.hash;
    if same && before.node.state != after.node.state {
        let text = format!("the board that is asked is {}", shown(&after.node.state));
        changes.push(Said::new(Tone::Plain, text));
    }
}

fn boards(before: &Poll, after: &Poll, changes: &mut Vec<Said>) {
    let mut old: BTreeMap<&str, &Node> = BTreeMap::new();
    old.extend(before.cluster.nodes.iter().map(|n| (n.hash.as_str(), n)));
    for node in &after.cluster.nodes {
        let name = shown(&node.called());
        match old.remove(node.hash.as_str()) {
            None => changes.push(Said::new(Tone::Good, format!("{name} joined"))),
            Some(was) => board(&name, was, node, changes),
        }
        let uptime = |poll: &Poll| poll.boards.get(&node.hash).map(|stats| stats.uptime_ms);
        if let (Some(was), Some(is)) = (uptime(before), uptime(after))
            && is < was
        {
            changes.push(Said::new(Tone::Warn, format!("{name} restarted")));
        }
    }
    for node in old.values() {
        let text = format!("{} is out of the ring", shown(&node.called()));
        changes.push(Said::new(Tone::Warn, text));
    }
}

fn board(name: &str, was: &Node, is: &Node, changes: &mut Vec<Said>) {
    let mut say = |tone, text: String| changes.push(Said::new(tone, text));
    match (was.alive, is.alive) {
        (true, false) => say(Tone::Bad, format!("{name} is absent")),
        (false, true) => say(Tone::Good, format!("{name} is back")),
        _ => {}
    }
    match (was.suspect, is.suspect) {
        (false, true) if is.alive => say(Tone::Warn, format!("{name} is suspected")),
        (true, false) if is.alive && was.alive => {
            say(Tone::Good, format!("{name} is no longer suspected"));
        }
        _ => {}
    }
    if was.standing != is.standing && !is.standing.is_empty() {
        let text = match is.standing.as_str() {
            "member" => format!("{name} is a member"),
            other => format!("{name} is {}", shown(other)),
        };
        say(Tone::Plain, text);
    }
    if was.version != is.version
        && let Some(version) = &is.version
    {
        say(
            Tone::Plain,
            format!("{name} runs version {}", shown(version)),
        );
    }
    if was.address() != is.address()
        && let Some(address) = is.address()
    {
        say(Tone::Plain, format!("{name} is at {}", shown(&address)));
    }
}

fn health(before: &Poll, after: &Poll, changes: &mut Vec<Said>) {
    let (was, is) = (&before.stats, &after.stats);
    let news = |from: &[String], to: &[String]| -> Vec<String> {
        let known: Vec<String> = from.iter().map(|text| gist(text)).collect();
        let new = to.iter().filter(|text| !known.contains(&gist(text)));
        new.map(|text| shown(text)).collect()
    };
    for text in news(&was.problems, &is.problems) {
        changes.push(Said::new(Tone::Bad, format!("wrong: {text}")));
    }
    for text in news(&is.problems, &was.problems) {
        changes.push(Said::new(Tone::Good, format!("no longer wrong: {text}")));
    }
    if was.store != is.store {
        let text = format!("its store is {}", shown(&is.store));
        changes.push(Said::new(Tone::Warn, text));
    }
    match (was.safe_to_unplug, is.safe_to_unplug) {
        (false, true) => changes.push(Said::new(Tone::Good, "it is safe to unplug")),
        (true, false) => {
            let text = match is.unplug_reason.as_str() {
                "" => "it is not safe to unplug".to_owned(),
                reason => format!("it is not safe to unplug: {}", shown(reason)),
            };
            changes.push(Said::new(Tone::Warn, text));
        }
        _ => {}
    }
}

/// A problem without its numbers: times and counts in it change without it being another one.
fn gist(problem: &str) -> String {
    problem.chars().filter(|c| !c.is_ascii_digit()).collect()
}
