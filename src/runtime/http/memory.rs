//! What requests and answers may hold of the memory, and how many requests of strangers are carried
//! out at the same time.
//!
//! Members and loopback have a share and strangers another, so that nobody without a key keeps
//! these out. Nothing is measured: what a request may cost is told by its form.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::base::limit;
use crate::service::exchange::{Answer, Request};

use super::Place;

/// Smaller answers are not counted: connections are.
const HELD_KIB_MIN: usize = 16;
/// Why a large answer is not sent.
const ANSWERS_ARE_MANY: &str =
    "too many large answers wait to be read; read them, ask for less, or try again in a moment";
/// What may still be held. Strangers have a share of their own, which they cannot pass.
#[derive(Debug)]
pub struct Memory {
    exempt: Share,
    strangers: Share,
    /// Requests that strangers may still have carried out at the same time.
    light: Semaphore,
    /// The same of those whose answer is made of several.
    heavy: Semaphore,
}

/// KiB that may still be held.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) bodies: Semaphore,
    answers: Arc<Semaphore>,
}

impl Share {
    fn new(bodies_bytes: usize, answers_bytes: usize) -> Self {
        Share {
            bodies: Semaphore::new(bodies_bytes / 1_024),
            answers: Arc::new(Semaphore::new(answers_bytes / 1_024)),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            exempt: Share::new(limit::BODIES_BYTES_MAX, limit::ANSWERS_HELD_BYTES_MAX),
            strangers: Share::new(
                limit::STRANGERS_BODIES_BYTES_MAX,
                limit::STRANGERS_ANSWERS_HELD_BYTES_MAX,
            ),
            light: Semaphore::new(limit::STRANGERS_REQUESTS_MAX),
            heavy: Semaphore::new(limit::STRANGERS_HEAVY_REQUESTS_MAX),
        }
    }
}

impl Memory {
    pub(super) fn share(&self, place: &Place) -> &Share {
        match place.is_counted() {
            true => &self.strangers,
            false => &self.exempt,
        }
    }

    /// Waits until a request may be carried out; none: it took too long.
    pub(super) async fn work(
        &self,
        place: &Place,
        request: &Request,
    ) -> Option<SemaphorePermit<'_>> {
        let kind = match is_heavy(request) {
            true => &self.heavy,
            false => &self.light,
        };
        let free = kind.acquire_many(u32::from(place.is_counted()));
        timeout(limit::OPERATION_TIME_MAX, free).await.ok()?.ok()
    }

    /// Counts a large answer until all of it is sent or its connection has ended.
    ///
    /// # Errors
    /// When those that clients do not take leave no room for it, the reason.
    pub(super) fn hold(&self, mut answer: Answer, place: &Place) -> Result<Answer, &'static str> {
        let kib = answer.body.len() / 1_024;
        if kib < HELD_KIB_MIN {
            return Ok(answer);
        }
        let room = self.share(place).answers.clone();
        let wanted = u32::try_from(kib).unwrap_or(u32::MAX);
        let share = room.try_acquire_many_owned(wanted);
        let share = share.map_err(|_| ANSWERS_ARE_MANY)?;
        let body = std::mem::take(&mut answer.body);
        answer.body = Bytes::from_owner(HeldAnswer {
            body,
            _share: share,
        });
        Ok(answer)
    }
}

/// Its answer is made of several: it is a batch, or asks several boards.
fn is_heavy(request: &Request) -> bool {
    const DESTINATION: &[u8] = b"dest";
    let names = |text: &[u8]| text.windows(DESTINATION.len()).any(|it| it == DESTINATION);
    request.body.trim_ascii_start().starts_with(b"[")
        || names(request.target.as_bytes())
        || names(&request.body)
}

/// The bytes of an answer with their share of the memory.
struct HeldAnswer {
    body: Bytes,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for HeldAnswer {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::http::Options;
    use crate::runtime::http::census::Census;
    use std::net::Ipv4Addr;

    fn large() -> Answer {
        Answer::new(200, "application/json", vec![b' '; 1_024 * 1_024])
    }

    #[test]
    fn large_answers_of_strangers_leave_members_their_room() {
        let memory = Memory::default();
        let census = Census::new(&Options::new(|_| false));
        let stranger = census.admit(Ipv4Addr::new(192, 0, 2, 1).into()).unwrap();
        let held: Vec<_> = (0..8)
            .map(|_| memory.hold(large(), &stranger).unwrap())
            .collect();
        assert!(memory.hold(large(), &stranger).is_err(), "8 MiB are held");
        assert!(memory.hold(large(), &Place::exempt()).is_ok());
        let small = Answer::new(200, "application/json", "1");
        assert!(memory.hold(small, &stranger).is_ok());
        let bytes = held[0].body.clone();
        drop(held);
        let all = (0..7).map(|_| memory.hold(large(), &stranger).unwrap());
        assert_eq!(all.collect::<Vec<_>>().len(), 7);
        drop(bytes);
        assert!(memory.hold(large(), &stranger).is_ok());
    }
}
