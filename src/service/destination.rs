//! Requests for other boards: where to ask instead, passing on, one at random, every one.
//!
//! A request for another board is answered with where that board is (-32001) unless it asks to be
//! passed on. Several boards' answers come as one result; a silent board is an entry of its own.
//! In mode `partial` "one at random" and "every one" are of the neighbourhood.
//! Only the board that a client asked spreads a request: a relayed one is for one board only. What
//! the client may do is judged before a request is passed on, and goes with it: a board runs for
//! another what that board's caller may do, not what the board itself may.
//!
//! Source: Round's `dest`.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::access::{Caller, Scope};
use crate::base::call::{Call, CallError, MemberView, Reply, Target};
use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::member::RingMode;
use crate::base::rng::RngExt;
use crate::wire::jsonrpc::{Code, Dest, Json, Request, Response};

use super::method::Outcome;
use super::{Board, Failure, Service};

/// Room for the envelope of a relayed request in a frame.
const RELAY_BYTES_MAX: usize = limit::MESSAGE_BYTES_MAX - 1_024;

/// The data of -32001.
#[derive(Serialize)]
struct Moved {
    reason: String,
    hash: Id,
    addr: String,
    port: u16,
    location: String,
}

/// One board's entry in the answer of all.
#[derive(Serialize)]
struct Entry {
    dest: Id,
    #[serde(flatten)]
    outcome: EntryOutcome,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum EntryOutcome {
    Result(Box<RawValue>),
    Error(Box<RawValue>),
}

impl EntryOutcome {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Ok(result) => EntryOutcome::Result(result),
            Err(failure) => {
                let mut text = String::new();
                failure.error_object().emit_to(&mut text);
                let error = RawValue::from_string(text).expect("an error object is valid JSON");
                EntryOutcome::Error(error)
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            EntryOutcome::Result(text) | EntryOutcome::Error(text) => text.get().len(),
        }
    }
}

impl<B: Board> Service<B> {
    /// Runs a client's request wherever it is meant to run.
    pub(super) async fn outcome(&self, request: &Request<'_>, caller: Caller) -> Outcome {
        if request.granted.is_some() && !matches!(caller, Caller::Relayed(_)) {
            return Err(Failure::params(
                "member 'granted' is of boards among themselves; leave it out",
            ));
        }
        match request.dest {
            Dest::Here => self.here(request, caller).await,
            Dest::Node(id) if id == self.facts().id => self.here(request, caller).await,
            Dest::Node(id) => self.elsewhere(id, request, caller).await,
            Dest::Random => self.anywhere(request, caller).await,
            Dest::All => self.everywhere(request, caller).await,
        }
    }

    /// Runs a request that another board passed on.
    pub(super) async fn outcome_relayed(&self, request: &Request<'_>) -> Outcome {
        self.refuse_secret(&request.method)?;
        match request.dest {
            Dest::Random | Dest::All => Err(Failure::new(
                Code::BadDestination,
                "only the board a client asked can ask several; name one board as dest",
            )),
            // A board that does not say what its caller may do passes on reads only.
            _ => {
                let caller = Caller::Relayed(request.granted.unwrap_or(Scope::Read));
                self.outcome(request, caller).await
            }
        }
    }

    async fn elsewhere(&self, id: Id, request: &Request<'_>, caller: Caller) -> Outcome {
        let overview = self.overview().await?;
        let members = &overview.members;
        let member = members
            .iter()
            .find(|member| member.id == id && member.standing.belongs());
        let mode = overview.cluster.as_ref().map(|cluster| cluster.mode);
        let Some(member) = member else {
            let partial = mode == Some(RingMode::Partial);
            return match partial.then(|| self.beyond(id)) {
                Some(found) => match found.await? {
                    _ if request.forward => self.pass_on(id, request, caller).await,
                    endpoint => Err(moved(id, endpoint)),
                },
                None => Err(unknown(id)),
            };
        };
        if request.forward {
            return self.pass_on(id, request, caller).await;
        }
        match member.endpoint.filter(|_| member.alive) {
            None => Err(silent(id)),
            Some(endpoint) => Err(moved(id, endpoint)),
        }
    }

    /// Where a board is that is no neighbour, in mode `partial`.
    async fn beyond(&self, id: Id) -> Result<SocketAddr, Failure> {
        let lookup = Call::FindSuccessor(Some(Target::Id(id)));
        match self.board.call(lookup).await? {
            Reply::Lookup { node, .. } if node.id == id => node.endpoint.ok_or_else(|| silent(id)),
            _ => Err(unknown(id)),
        }
    }

    async fn anywhere(&self, request: &Request<'_>, caller: Caller) -> Outcome {
        let overview = self.overview().await?;
        let alive: Vec<Id> = overview
            .members
            .iter()
            .filter(|member| member.alive && member.standing.belongs())
            .map(|member| member.id)
            .collect();
        if alive.is_empty() {
            return self.here(request, caller).await;
        }
        let id = alive[self.rng().random_range(0..alive.len())];
        if id == self.facts().id {
            self.here(request, caller).await
        } else {
            self.pass_on(id, request, caller).await
        }
    }

    async fn everywhere(&self, request: &Request<'_>, caller: Caller) -> Outcome {
        let overview = self.overview().await?;
        let mut boards: Vec<(Id, bool)> = overview
            .members
            .iter()
            .filter(|member| member.standing.belongs())
            .map(|member: &MemberView| (member.id, member.alive))
            .collect();
        if !boards.iter().any(|(id, _)| *id == self.facts().id) {
            boards.push((self.facts().id, true));
            boards.sort();
        }
        let answers = boards.iter().map(|(id, alive)| async move {
            if *id == self.facts().id {
                self.here(request, caller).await
            } else if *alive {
                self.pass_on(*id, request, caller).await
            } else {
                Err(silent(*id))
            }
        });
        let mut bytes = 0;
        let mut entries = Vec::with_capacity(boards.len());
        for ((id, _), outcome) in boards.iter().zip(join_all(answers).await) {
            let mut outcome = EntryOutcome::of(outcome);
            bytes += outcome.bytes();
            if bytes > limit::ANSWERS_BYTES_MAX {
                outcome = EntryOutcome::of(Err(Failure::new(
                    Code::TooLarge,
                    "the answers of all boards are too large together; ask the boards one by one",
                )));
            }
            entries.push(Entry { dest: *id, outcome });
        }
        to_raw_value(&entries).map_err(|error| CallError::Internal(error.to_string()).into())
    }

    /// Has one other board run the request, and waits for its answer within bounds.
    async fn pass_on(&self, id: Id, request: &Request<'_>, caller: Caller) -> Outcome {
        self.permit_request(request, caller)?;
        self.refuse_secret(&request.method)?;
        if request.hops >= limit::FORWARD_HOPS_MAX {
            return Err(Failure::new(
                Code::BadDestination,
                "the request was passed on 8 times and did not arrive; ask the board directly",
            ));
        }
        let text = Request {
            method: request.method.clone(),
            params_text: request.params_text,
            id: request.id,
            ts: request.ts.map(|_| self.clock().send()),
            dest: Dest::Node(id),
            forward: true,
            hops: request.hops + 1,
            granted: Some(self.granted(caller)),
            ..Request::default()
        }
        .emit();
        if text.len() > RELAY_BYTES_MAX {
            return Err(Failure::new(
                Code::TooLarge,
                "the request is too large to be passed on; ask the board directly",
            ));
        }
        let call = self.board.call(Call::Relay {
            dest: id,
            request: Bytes::from(text),
        });
        match race(call, self.board.sleep(limit::RELAY_TIME_MAX)).await {
            None => Err(silent(id)),
            Some(Err(CallError::UnknownNode(id))) => Err(unknown(id)),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(Reply::Relayed(None))) if request.id.is_none() => Ok(RawValue::NULL.to_owned()),
            Some(Ok(Reply::Relayed(Some(answer)))) => self.take_over(request, &answer),
            Some(Ok(_)) => Err(silent(id)),
        }
    }

    /// Another board's answer as the outcome here.
    fn take_over(&self, request: &Request<'_>, answer: &[u8]) -> Outcome {
        let response = Response::parse(answer).map_err(|error| {
            CallError::Internal(format!("another board's answer cannot be read: {error}"))
        })?;
        if let (Some(_), Some(ts)) = (request.ts, response.ts) {
            self.clock().receive(ts);
        }
        match response.outcome {
            Ok(result) => Ok(Json::to_raw(result)),
            Err(error) => Err(Failure::relayed(&error)),
        }
    }
}

fn unknown(id: Id) -> Failure {
    Failure::new(Code::BadDestination, CallError::UnknownNode(id).to_string())
}

fn silent(id: Id) -> Failure {
    let reason = format!("board {id} does not answer; wait, or see `roundel nodes`");
    Failure::absent(&reason, id)
}

fn moved(id: Id, endpoint: SocketAddr) -> Failure {
    let location = format!("http://{endpoint}/rpc");
    Failure::with(
        Code::MovedPermanently,
        &Moved {
            reason: format!("the request is for another board; ask {location}, or add forward"),
            hash: id,
            addr: endpoint.ip().to_string(),
            port: endpoint.port(),
            location,
        },
    )
}

/// The first future's output, or none when the second ends before it.
pub(super) async fn race<T>(
    work: impl Future<Output = T>,
    bound: impl Future<Output = ()>,
) -> Option<T> {
    let (mut work, mut bound) = (pin!(work), pin!(bound));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => bound.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Runs futures together and returns their outputs in order.
async fn join_all<T, F: Future<Output = T>>(futures: impl Iterator<Item = F>) -> Vec<T> {
    enum Slot<T, F> {
        Running(Pin<Box<F>>),
        Done(T),
    }
    let mut slots: Vec<Slot<T, F>> = futures.map(|f| Slot::Running(Box::pin(f))).collect();
    poll_fn(|context| {
        let mut running = false;
        for slot in &mut slots {
            if let Slot::Running(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *slot = Slot::Done(output),
                    Poll::Pending => running = true,
                }
            }
        }
        if running {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    slots
        .into_iter()
        .filter_map(|slot| match slot {
            Slot::Done(output) => Some(output),
            Slot::Running(_) => None,
        })
        .collect()
}
