//! GENA: a subscriber's request read, asked of whoever keeps the subscriptions, and answered.
//!
//! Keeps no subscription itself (`proto/gena`). Source: UDA 2.0 §4.1.

use crate::proto::gena::{Ask, Refused, Topic};
use crate::wire::gena::{self, GenaError};

use super::exchange::{Answer, Fields, Request};
use super::{Board, Service};

impl<B: Board> Service<B> {
    /// Answers SUBSCRIBE and UNSUBSCRIBE at a service's event URL.
    pub(super) async fn subscribe(
        &self,
        topic: Topic,
        request: &Request,
        fields: &Fields,
    ) -> Answer {
        let given = gena::Fields {
            nt: fields.nt.as_deref(),
            callback: fields.callback.as_deref(),
            timeout: fields.timeout.as_deref(),
            sid: fields.sid.as_deref(),
        };
        let cancels = request.method == "UNSUBSCRIBE";
        let read = match cancels {
            true => gena::Request::unsubscribe(given),
            false => gena::Request::subscribe(given),
        };
        let asked = match read {
            Ok(asked) => asked,
            Err(error) => return self.refuse_with(status_of(error), &error.to_string()),
        };
        let ask = Ask {
            topic,
            from: request.from,
            request: asked,
        };
        match (self.facts().publisher)(ask).await {
            Ok(_) if cancels => Answer::silent(200),
            Ok(granted) => Answer::silent(200)
                .with("Server", &self.facts().server)
                .with("Sid", granted.sid.to_string())
                .with("Timeout", format!("Second-{}", granted.seconds)),
            Err(refused) => {
                let status = match refused {
                    Refused::Stranger | Refused::Unknown => 412,
                    Refused::Full | Refused::Crowded | Refused::Stopping => 503,
                };
                self.refuse_with(status, &refused.to_string())
            }
        }
    }
}

/// UDA 2.0 table 4-4.
fn status_of(error: GenaError) -> u16 {
    match error {
        GenaError::Incompatible => 400,
        GenaError::Sid | GenaError::Nt | GenaError::Callback | GenaError::Timeout => 412,
    }
}
