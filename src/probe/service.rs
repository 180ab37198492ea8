//! The thing that a stream asks.

use super::sink::SharedSink;
use crate::clock::SharedClock;
use crate::observation::Entry;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What came of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was acknowledged.
    Good,
    /// It was not, and this is why.
    Refused(String),
}

/// One probe under way.
#[derive(Clone)]
pub struct Ticket {
    /// Its number in the stream, from 0.
    pub number: u64,
    /// When it was sent.
    pub sent: Duration,
    /// Its deadline, from when it was sent.
    pub deadline: Duration,
    /// Cancelled when the deadline has passed. The verdict stands then; what is left is to let go of the connection, for
    /// which there is as much time again.
    pub give_up: CancellationToken,
    /// The clock of the observer.
    pub clock: SharedClock,
    pub(super) stream: Arc<str>,
    pub(super) sink: SharedSink,
}

impl Ticket {
    /// Writes down something that the server said beside its answer.
    pub fn notice(&self, code: &str, text: &str) {
        self.sink.put(&Entry::Notice {
            stream: self.stream.to_string(),
            at: self.clock.monotonic(),
            code: code.to_owned(),
            text: text.to_owned(),
        });
    }
}

/// Something that can be asked whether it is up. Probes of one stream run side by side.
#[async_trait]
pub trait Service: Send + Sync {
    /// Asks once. When [`Ticket::give_up`] is cancelled, lets go of the connection and returns; the reply does not count
    /// any more. Dropping the future must let go of it, too.
    async fn probe(&self, ticket: Ticket) -> Reply;
}

/// A service that is passed around.
pub type SharedService = Arc<dyn Service>;
