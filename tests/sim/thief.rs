//! A stolen card: the board is gone and revoked, and a copy of its card goes on living elsewhere,
//! on the machine's own code, with the old key. It asks, announces, writes and strikes as it likes.
//!
//! Two kinds: the card itself, or its keys under an identity nobody knows. An early theft is over
//! before the faults begin, so that the thief lives through all of them; a late one is at rest.
//! The thief starts once every board that is the owner's knows, as one that does not would take it
//! for the board it was.

use std::time::Duration;

use bytes::Bytes;
use roundel::base::call::{Call, Consistency};
use roundel::base::id::Id;
use roundel::base::item::Value;

use crate::campaign;
use crate::checker;
use crate::key::Step;
use crate::model::Model;
use crate::node::{Card, Power};
use crate::world::{Happening, World};

/// When a card is stolen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theft {
    Early,
    Late,
}

/// How far it is.
#[derive(Default)]
pub enum Thief {
    /// Nothing is stolen.
    #[default]
    None,
    /// The card is gone, and not everybody knows.
    Stolen(Box<Card>),
    /// It lives.
    Loose,
}

/// Between two steps of a theft, and of a thief.
const STEP: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));
/// A revoked board is out of every roster within this.
const OUT_WITHIN: Duration = Duration::from_secs(60);
/// Every copy that is due is there within this.
const COPIED_WITHIN: Duration = Duration::from_secs(60);
/// What no client ever puts.
const LOOT: &str = "\"stolen\"";

impl World {
    /// The next step of an early theft, or of a thief.
    pub fn thief_step(&mut self) {
        match std::mem::take(&mut self.keying.thief) {
            Thief::None => self.try_steal(),
            Thief::Stolen(card) => match self.knows_everybody(&card) {
                true => self.let_loose(*card),
                false => {
                    let id = card.id();
                    self.keying.thief = Thief::Stolen(card);
                    self.revoke(id);
                }
            },
            Thief::Loose => {
                self.keying.thief = Thief::Loose;
                self.thief_acts();
            }
        }
        let wait = self.keying.dice.duration(STEP);
        self.schedule(wait, Happening::Key(Step::Thief));
    }

    /// A card is taken from one ring of all; not where another board may lose its copies as well.
    fn try_steal(&mut self) {
        if let Some((_, gone)) = self.damaged
            && gone
        {
            return;
        }
        if checker::check_one_ring(self).is_err() {
            return;
        }
        let victim = match self.damaged {
            Some((node, _)) => Some(node).filter(|node| self.nodes[*node].is_up()),
            None => self.any_up(),
        };
        if let Some(victim) = victim {
            self.steal(victim);
        }
    }

    fn steal(&mut self, victim: usize) {
        self.tell(|| format!("the card of {victim} is stolen"));
        self.stop(victim, Power::Off);
        self.damaged = Some((victim, true));
        let node = &mut self.nodes[victim];
        node.retired = true;
        let mut card = node.card.clone();
        card.keyring = card.keyring.unbound();
        self.keying.thief = Thief::Stolen(Box::new(card));
    }

    fn revoke(&mut self, id: Id) {
        if let Some(node) = self.any_up() {
            self.keying.deeds.revoked += 1;
            self.ask_keys(node, Call::Rotate { without: Some(id) });
        }
    }

    /// Every board of the owner's that was ever on keeps that this one is revoked, and signs with
    /// another key than it has.
    fn knows_everybody(&self, stolen: &Card) -> bool {
        let id = stolen.id();
        let own = self
            .nodes
            .iter()
            .filter(|node| !node.retired && !node.thief);
        let mut files = own.map(|node| &node.card.keyring);
        files.all(|file| {
            let replaced = !file.signs_as(&stolen.keyring);
            file.kept.is_none() || (file.has_revoked(&id) && replaced)
        })
    }

    fn let_loose(&mut self, mut card: Card) {
        if self.keying.dice.coin() {
            // The card's keys under another identity: nothing says who it was.
            let keyring = std::mem::take(&mut card.keyring);
            card = self.fresh_card();
            card.given = None;
            card.keyring = keyring;
        }
        self.tell(|| format!("the thief is {}", card.id()));
        self.keying.deeds.thieves += 1;
        let spare = self.nodes.len() - 1;
        card.window_until = None;
        self.nodes[spare].insert(card, self.mutant);
        self.nodes[spare].retired = false;
        self.nodes[spare].thief = true;
        self.start(spare);
        self.keying.thief = Thief::Loose;
    }

    fn thief_acts(&mut self) {
        let spare = self.nodes.len() - 1;
        if !self.nodes[spare].is_up() {
            return self.start(spare);
        }
        let key = Model::key(self.keying.dice.below(self.model.keys()));
        let consistency = Consistency::One;
        let other = self.any_up().map(|node| self.nodes[node].card.id());
        let call = match (self.keying.dice.below(10), other) {
            (0..5, _) => Call::Put {
                key,
                value: Value::Json(Bytes::from_static(LOOT.as_bytes())),
                consistency,
            },
            (5..7, _) => Call::Remove { key, consistency },
            (7, Some(id)) => Call::Forget { id },
            (8, without) => Call::Rotate { without },
            _ => return self.stop(spare, Power::On),
        };
        self.tell(|| format!("the thief asks itself: {call:?}"));
        self.call(spare, call, None);
    }

    /// A theft at rest: the board is revoked, out within a minute, and comes to haunt.
    pub fn steal_late(&mut self) {
        let plan = self.keying.plan.as_ref();
        if plan.and_then(|plan| plan.theft) != Some(Theft::Late) {
            return;
        }
        // Rings that have just merged hold single copies.
        let asked = self.now;
        campaign::wait(self, asked + COPIED_WITHIN, |world| {
            checker::check_placed(world)?;
            checker::check_claimed(world)
        });
        self.try_steal();
        let Thief::Stolen(card) = &self.keying.thief else {
            return;
        };
        let card = card.clone();
        let id = card.id();
        self.revoke(id);
        let asked = self.now;
        campaign::wait(self, asked + OUT_WITHIN, |world| {
            check_out(world, &id)?;
            checker::check_one_ring(world)?;
            match world.knows_everybody(&card) {
                true => Ok(()),
                false => Err("not everybody keeps that the board is revoked".into()),
            }
        });
        self.thief_step();
    }
}

/// At rest the thief is no member anywhere.
pub fn check_outside(world: &World) -> Result<(), String> {
    match world.keying.thief {
        Thief::Loose => check_out(world, &world.nodes[world.nodes.len() - 1].card.id()),
        _ => Ok(()),
    }
}

/// No board of the owner's has this one in its roster.
fn check_out(world: &World, id: &Id) -> Result<(), String> {
    for node in world.up() {
        if world.nodes[node]
            .roster()
            .is_some_and(|roster| roster.has(id))
        {
            return Err(format!("board {node} has the revoked board in its roster"));
        }
    }
    Ok(())
}

/// Nobody speaks with the thief; a board that was away may still have it in its roster.
pub fn check_thief(world: &World) -> Result<(), String> {
    if !matches!(world.keying.thief, Thief::Loose) {
        return Ok(());
    }
    let spare = world.nodes.len() - 1;
    for node in world.up() {
        let Some(running) = &world.nodes[node].running else {
            continue;
        };
        for (link, (stream, side)) in &running.links {
            let there = world.network.end(*stream, 1 - side);
            if there.node == spare && running.board.is_proved(*link) {
                return Err(format!("board {node} lets the thief in"));
            }
        }
    }
    Ok(())
}
