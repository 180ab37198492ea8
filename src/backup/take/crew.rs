//! Everybody who works on one backup, and how they stop together: the first failure ends all, and every query that is
//! under way is cancelled on the server.

use crate::error::Error;
use crate::postgres::session::{Canceller, Session};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The workers of one run.
#[derive(Clone)]
pub(crate) struct Crew(Arc<Inner>);

struct Inner {
    stop: CancellationToken,
    failure: Mutex<Option<Error>>,
    cancellers: Mutex<Vec<Canceller>>,
    tasks: TaskTracker,
}

impl Crew {
    /// A crew that also stops when `cancel` says so.
    pub(crate) fn new(cancel: &CancellationToken) -> Self {
        Self(Arc::new(Inner {
            stop: cancel.child_token(),
            failure: Mutex::new(None),
            cancellers: Mutex::new(Vec::new()),
            tasks: TaskTracker::new(),
        }))
    }

    /// The token that stops everybody.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Ends the run because of `error`; what fails after the first failure is only its echo.
    pub(crate) fn fail(&self, error: Error) {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.0.stop.cancel();
    }

    /// From now on a stop cancels this session's queries, too.
    pub(crate) fn joins(&self, session: &Session) {
        self.0.cancellers.lock().unwrap_or_else(PoisonError::into_inner).push(session.canceller());
    }

    /// The tasks of this crew; [`Crew::work`] waits for all of them.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// Does `work` and waits for the tasks it left; a stop ends it at once.
    pub(crate) async fn work<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let whole = async {
            let done = work.await;
            self.0.tasks.close();
            if done.is_ok() {
                self.0.tasks.wait().await;
            }
            done
        };
        // The failure is what a task said first; that the work around it was stopped is its echo.
        let outcome = tokio::select! {
            biased;
            () = self.0.stop.cancelled() => Err(Error::failed("the backup was stopped")),
            outcome = whole => outcome,
        };
        let failure = self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        let outcome = failure.map_or(outcome, Err);
        if outcome.is_err() {
            self.0.stop.cancel();
            self.cancel_queries().await;
            // Nothing is stored after this returns.
            self.0.tasks.close();
            self.0.tasks.wait().await;
        }
        outcome
    }

    async fn cancel_queries(&self) {
        let cancellers = std::mem::take(&mut *self.0.cancellers.lock().unwrap_or_else(PoisonError::into_inner));
        let sent = futures_util::future::join_all(cancellers.iter().map(Canceller::cancel)).await;
        for error in sent.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "a query could not be cancelled; its connection is closed");
        }
    }
}
