//! The reference model: what clients asked and were told, and therefore what they may be told.
//!
//! Each put has a value of its own, so that a value found names the put it came from. Within one
//! cluster, quorum operations that were not degraded behave like one register a key: no read goes
//! back behind a write that was acknowledged, or a read that was answered, before it was asked.
//! A write whose outcome is unknown may show or not, at any time. *Not found* is said only where
//! no acknowledged value can be. What is refused as not written never shows.

use bytes::Bytes;
use roundel::base::call::{Call, CallError, Consistency, Coverage, Reply, WriteOutcome};
use roundel::base::item::{Key, Value};
use roundel::base::member::ClusterId;
use roundel::base::time::Time;
use roundel::base::version::Version;

/// Names one operation.
pub type OperationId = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Put,
    Remove,
    Get,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Pending,
    /// A write with this version, or a read that found one.
    Done(Version),
    /// Nothing was there to remove or to get.
    Nothing,
    NotWritten,
    Unknown,
}

/// One operation of a client.
#[derive(Clone, Debug)]
pub struct Operation {
    pub key: usize,
    pub kind: Kind,
    pub consistency: Consistency,
    /// The cluster its board belonged to when it was asked, and still when it answered.
    pub cluster: Option<ClusterId>,
    pub asked: Time,
    pub answered: Option<Time>,
    pub fate: Fate,
    /// Every copy that counted was a copy of the roster.
    pub strict: bool,
}

/// Everything clients know.
#[derive(Debug, Default)]
pub struct Model {
    pub operations: Vec<Operation>,
    /// Boards were in rings that had nothing in common until the owner joined them: each may have
    /// forgotten by then that a key was removed which the other holds.
    pub were_apart: bool,
    by_key: Vec<Vec<OperationId>>,
}

/// What an acknowledged history demands of a key.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// The newest version that was acknowledged.
    pub version: Version,
    /// Whether it is a value.
    pub is_put: bool,
    /// A remove may have taken it since.
    pub may_be_removed: bool,
}

impl Model {
    pub fn new(keys: usize) -> Model {
        Model {
            operations: Vec::new(),
            were_apart: false,
            by_key: vec![Vec::new(); keys],
        }
    }

    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    pub fn key(index: usize) -> Key {
        Key::new(&format!("key{index}")).expect("it is short")
    }

    /// The call of an operation about to be asked; its number is returned with it.
    pub fn ask(&mut self, operation: Operation, length: usize) -> (OperationId, Call) {
        let id = self.operations.len();
        let key = Model::key(operation.key);
        let consistency = operation.consistency;
        let call = match operation.kind {
            Kind::Put => Call::Put {
                key,
                value: value(id, length),
                consistency,
            },
            Kind::Remove => Call::Remove { key, consistency },
            Kind::Get => Call::Get { key, consistency },
        };
        self.by_key[operation.key].push(id);
        self.operations.push(operation);
        (id, call)
    }

    /// The board that was asked is gone: nobody will say what became of it.
    pub fn abandon(&mut self, id: OperationId) {
        let operation = &mut self.operations[id];
        if operation.fate == Fate::Pending {
            operation.fate = Fate::Unknown;
        }
    }

    /// Takes an answer; an error says what the client should never have been told.
    pub fn answer(
        &mut self,
        id: OperationId,
        now: Time,
        cluster: Option<ClusterId>,
        result: &Result<Reply, CallError>,
    ) -> Result<(), String> {
        let operation = &mut self.operations[id];
        if operation.fate != Fate::Pending {
            return Ok(());
        }
        operation.answered = Some(now);
        if operation.cluster != cluster {
            operation.cluster = None;
        }
        let quorum = operation.consistency != Consistency::One;
        let strict = |coverage: &Coverage| quorum && !coverage.degraded && coverage.hinted == 0;
        match result {
            Ok(Reply::Written {
                version,
                existed,
                coverage,
                ..
            }) if operation.kind != Kind::Get => {
                operation.strict = strict(coverage) && operation.cluster.is_some();
                operation.fate = match operation.kind == Kind::Remove && !existed {
                    true => Fate::Nothing,
                    false => Fate::Done(*version),
                };
                match operation.fate {
                    Fate::Nothing => self.check_nothing(id),
                    _ => self.check_written(id),
                }
            }
            Ok(Reply::Value {
                value,
                version,
                coverage,
            }) => {
                operation.strict = strict(coverage) && operation.cluster.is_some();
                operation.fate = Fate::Done(*version);
                self.check_found(id, value)
            }
            Err(CallError::NotFound) => {
                operation.strict = quorum && operation.cluster.is_some();
                operation.fate = Fate::Nothing;
                self.check_nothing(id)
            }
            Err(CallError::Unavailable { outcome, .. }) => {
                operation.fate = match outcome {
                    Some(WriteOutcome::Unknown) => Fate::Unknown,
                    Some(WriteOutcome::NotWritten) | None => Fate::NotWritten,
                };
                Ok(())
            }
            other => Err(format!("no client should be told {other:?}")),
        }
    }

    /// Operations on the same key whose version was known, for certain, before `id` was asked.
    fn before(&self, id: OperationId) -> impl Iterator<Item = (&Operation, Version)> {
        let mine = &self.operations[id];
        let (asked, cluster) = (mine.asked, mine.cluster);
        self.by_key[mine.key].iter().filter_map(move |other| {
            let other = &self.operations[*other];
            let earlier = other.answered.is_some_and(|at| at < asked);
            match other.fate {
                Fate::Done(version) if earlier && other.strict && other.cluster == cluster => {
                    Some((other, version))
                }
                _ => None,
            }
        })
    }

    fn floor(&self, id: OperationId) -> Option<(&Operation, Version)> {
        self.before(id).max_by_key(|(_, version)| *version)
    }

    fn check_written(&self, id: OperationId) -> Result<(), String> {
        let mine = &self.operations[id];
        let Fate::Done(version) = mine.fate else {
            return Ok(());
        };
        match self.floor(id).filter(|_| mine.strict) {
            Some((earlier, floor)) if version <= floor => Err(format!(
                "written under {version:?}, not after {floor:?}: {mine:?} after {earlier:?}"
            )),
            _ => Ok(()),
        }
    }

    fn check_found(&self, id: OperationId, value: &Value) -> Result<(), String> {
        let mine = &self.operations[id];
        let put = put_of(value).filter(|put| {
            let put = self.operations.get(*put);
            put.is_some_and(|put| put.kind == Kind::Put && put.key == mine.key)
        });
        let Some(put) = put else {
            return Err(format!("a value that nobody put: {value:?} to {mine:?}"));
        };
        let put = &self.operations[put];
        if put.fate == Fate::NotWritten {
            return Err(format!(
                "a put that was refused as not written shows: {put:?} in {mine:?}"
            ));
        }
        if !mine.strict {
            return Ok(());
        }
        let Fate::Done(version) = mine.fate else {
            return Ok(());
        };
        if let Some((earlier, floor)) = self.floor(id)
            && version < floor
        {
            return Err(format!(
                "a read went back: {version:?} of {put:?} in {mine:?} after {floor:?} of \
                 {earlier:?}"
            ));
        }
        // A put to one copy, or in a ring that was another then, is unknown to whoever writes next:
        // the later by stamp stands.
        let superseded = self.before(id).find(|(other, _)| {
            let after = put.answered.is_some_and(|at| at < other.asked);
            let known = put.strict && put.cluster == other.cluster;
            after && known && other.kind != Kind::Get && matches!(put.fate, Fate::Done(_))
        });
        match superseded {
            Some((other, _)) => Err(format!(
                "a read found what was overwritten: {put:?} in {mine:?} after {other:?}"
            )),
            None => Ok(()),
        }
    }

    fn check_nothing(&self, id: OperationId) -> Result<(), String> {
        let mine = &self.operations[id];
        let Some((top, version)) = self.floor(id).filter(|_| mine.strict) else {
            return Ok(());
        };
        if top.kind == Kind::Remove || self.may_be_removed(mine.key, version, Some(id)) {
            return Ok(());
        }
        Err(format!(
            "nothing was found where a value is: {mine:?} after {top:?}"
        ))
    }

    /// Whether a remove other than `but` may have taken the value with this version.
    fn may_be_removed(&self, key: usize, version: Version, but: Option<OperationId>) -> bool {
        self.by_key[key].iter().any(|id| {
            let other = &self.operations[*id];
            let could = match other.fate {
                Fate::Pending | Fate::Unknown => true,
                Fate::Done(removed) => removed > version,
                Fate::Nothing | Fate::NotWritten => false,
            };
            Some(*id) != but && other.kind == Kind::Remove && could
        })
    }

    /// What acknowledged writes demand of a key, whatever cluster they were made in.
    pub fn demand(&self, key: usize) -> Option<Demand> {
        let writes = self.by_key[key].iter().filter_map(|id| {
            let operation = &self.operations[*id];
            match operation.fate {
                Fate::Done(version) if operation.kind != Kind::Get => Some((version, operation)),
                _ => None,
            }
        });
        let (version, top) = writes.max_by_key(|(version, _)| *version)?;
        Some(Demand {
            version,
            is_put: top.kind == Kind::Put,
            may_be_removed: self.may_be_removed(key, version, None),
        })
    }

    /// What a key reads at rest: everything acknowledged counts.
    pub fn check_at_rest(
        &self,
        key: usize,
        result: &Result<Reply, CallError>,
    ) -> Result<(), String> {
        let Some(demand) = self.demand(key) else {
            return Ok(());
        };
        match result {
            Ok(Reply::Value { version, .. }) if *version >= demand.version => Ok(()),
            Ok(Reply::Value { .. }) if self.were_apart && !demand.is_put => Ok(()),
            Ok(Reply::Value { version, .. }) => Err(format!(
                "key{key} went back at rest: {version:?}, acknowledged was {demand:?}"
            )),
            Err(CallError::NotFound) if !demand.is_put || demand.may_be_removed => Ok(()),
            other => Err(format!(
                "key{key} is lost at rest: {other:?}, acknowledged was {demand:?}"
            )),
        }
    }
}

/// A JSON string that begins with the put's number.
fn value(id: OperationId, length: usize) -> Value {
    let mut text = format!("\"{id}.");
    text.extend(std::iter::repeat_n('x', length));
    text.push('"');
    Value::Json(Bytes::from(text))
}

fn put_of(value: &Value) -> Option<OperationId> {
    let text = std::str::from_utf8(value.bytes()).ok()?;
    text.strip_prefix('"')?.split('.').next()?.parse().ok()
}
