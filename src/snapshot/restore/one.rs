//! One line of a plan, executed.

use super::super::body::Body;
use super::super::clean;
use super::super::diff::{self, Shape};
use super::super::map::patch as patches;
use super::super::object::{self, Place};
use super::super::plan::{Action, Line};
use super::{Kinds, Means, hint};
use crate::cluster::{ApiError, Delete, Fault, Kind, Patch, Write};
use crate::retry::{Policy, Retry, Retryable};
use serde_json::{Value, json};
use std::future::Future;
use std::time::Duration;

/// An answer that was lost, or a server that is busy: a few tries; whatever needs longer is tried in a later pass.
const TRIES: Policy = Policy {
    attempts: 4,
    first_pause: Duration::from_millis(200),
    longest_pause: Duration::from_secs(5),
    deadline: Duration::from_secs(30),
};

/// How long a deleted object may take to be gone before it is made anew.
const GONE: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done; the uid of the object, where it is there.
    Done(Option<String>),
    /// It is not done, for this reason.
    Failed {
        /// The reason, in the server's words where it has some.
        why: String,
        /// Whether it may work when more of the restore is done.
        again: bool,
        /// Whether the account may not do it.
        lacks: bool,
    },
}

impl Outcome {
    fn failed(line: &Line, error: &ApiError) -> Self {
        // What another object's absence explains may work later; a precondition that does not hold will not.
        let again = !matches!(error.fault, Fault::Conflict | Fault::Exists | Fault::Unauthorized | Fault::Gone);
        Self::Failed { why: hint::refusal(line, error), again, lacks: error.lacks().is_some() }
    }

    pub(super) fn diverged(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), again: false, lacks: false }
    }
}

/// What every line needs.
pub(super) struct Hands<'a> {
    pub(super) means: &'a Means,
    pub(super) manager: &'a str,
}

impl Hands<'_> {
    fn write(&self) -> Write<'_> {
        Write { field_manager: Some(self.manager), ..Write::default() }
    }

    /// Executes a line; `owners` are the references that can be written now.
    pub(super) async fn execute(&self, line: &Line, kinds: &Kinds, owners: Vec<Value>) -> Outcome {
        if self.means.cancel.is_cancelled() {
            return Outcome::diverged("the run was stopped before it; the same command goes on");
        }
        let Some(kind) = kinds.saved(&line.kind) else {
            let why = format!("the cluster has no {}", line.place.group_resource);
            return Outcome::Failed { why, again: true, lacks: false };
        };
        if let Some(outcome) = self.free(line, kinds).await {
            return outcome;
        }
        let outcome = match &line.action {
            Action::Create => self.create(&kind, line, owners).await,
            Action::Merge => self.merge(&kind, line).await,
            Action::Replace => self.replace(&kind, line).await,
            Action::Recreate => self.recreate(&kind, line, owners).await,
            Action::Prune => self.prune(&kind, line).await,
            Action::Same | Action::Leave(_) | Action::Refuse(_) => {
                Ok(Outcome::Done(line.live.is_some().then(|| line.live_uid())))
            }
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return Outcome::failed(line, &error),
        };
        match (&outcome, &line.status) {
            (Outcome::Done(_), Some(status)) => self.status(&kind, &line.place, status).await.unwrap_or(outcome),
            _ => outcome,
        }
    }

    async fn create(&self, kind: &Kind, line: &Line, owners: Vec<Value>) -> Result<Outcome, ApiError> {
        let place = &line.place;
        let mut body = line.body.clone();
        if !owners.is_empty() {
            body.change(|body| clean::path::set(body, &["metadata", "ownerReferences"], Value::Array(owners)));
        }
        let (cluster, namespace) = (&self.means.cluster, place.namespace.as_deref());
        match self.settle(|| cluster.make(kind, namespace, &body, self.write())).await {
            Ok(uid) => Ok(Outcome::Done(Some(uid))),
            Err(error) if error.fault == Fault::Exists => self.meet(kind, line).await,
            // Whether it was made is not known: its name settles that.
            Err(error) if is_open(&error) => match self.get(kind, place).await {
                Ok(Some(there)) if self.is_ours(line, &there) => {
                    Ok(Outcome::Done(Some(object::uid(&there).to_owned())))
                }
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Makes a change until its answer comes, or it has been tried often enough. Whether an earlier try went through, the
    /// last answer says: a name that is taken, a version that moved on, an object that is gone.
    pub(super) async fn settle<T, F, Fut>(&self, change: F) -> Result<T, ApiError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, ApiError>>,
    {
        let attempt = |_| async { change().await.map_err(Unsettled) };
        let settled = TRIES.run(self.means.clock.as_ref(), &self.means.cancel, attempt).await;
        settled.map_err(|Unsettled(error)| error)
    }

    async fn get(&self, kind: &Kind, place: &Place) -> Result<Option<Value>, ApiError> {
        match self.means.cluster.get(kind, place.namespace.as_deref(), &place.name).await {
            Ok(there) => Ok(Some(there)),
            Err(why) if why.fault == Fault::NotFound => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// Whether an object is the one this restore made: its manager's entry and an equal body prove it.
    fn is_ours(&self, line: &Line, there: &Value) -> bool {
        let shape = Shape::of(&line.kind.group, None);
        object::is_managed_by(there, self.manager)
            && diff::holds(&line.place.group_resource, shape, &line.body.open(), there, &clean::Keep::default())
    }

    /// An object of the name is there, which the plan did not know.
    async fn meet(&self, kind: &Kind, line: &Line) -> Result<Outcome, ApiError> {
        let place = &line.place;
        let Some(there) = self.get(kind, place).await? else {
            let why = "it was there for a moment and is gone".to_owned();
            return Ok(Outcome::Failed { why, again: true, lacks: false });
        };
        let uid = object::uid(&there).to_owned();
        if self.is_ours(line, &there) {
            return Ok(Outcome::Done(Some(uid)));
        }
        let wanted = line.body.open();
        // The cluster makes the accounts of a new namespace a moment after it.
        if clean::is_default_account(&place.group_resource, &place.name) {
            let merged = diff::merged(Shape::BuiltIn, &there, &wanted);
            if let Some(patch) = patches::addition(&there, &merged) {
                self.patch(kind, place, &patch).await?;
            }
            return Ok(Outcome::Done(Some(uid)));
        }
        let shape = Shape::of(&line.kind.group, None);
        if diff::compare(&place.group_resource, shape, &there, &wanted, &clean::Keep::default()).is_empty() {
            return Ok(Outcome::Done(Some(uid)));
        }
        Ok(Outcome::diverged("an object of this name appeared after the plan was made"))
    }

    pub(super) async fn patch(&self, kind: &Kind, place: &Place, patch: &Value) -> Result<Value, ApiError> {
        let at = (place.namespace.as_deref(), place.name.as_str());
        self.settle(|| self.means.cluster.patch(kind, at, Patch::Merge, patch, self.write())).await
    }

    async fn merge(&self, kind: &Kind, line: &Line) -> Result<Outcome, ApiError> {
        let wanted = line.body.open();
        let mut patch = wanted.clone();
        if let Some(live) = line.live.as_ref().map(Body::open) {
            // Only the object that was planned for, as it was then.
            clean::path::set(&mut patch, &["metadata", "uid"], json!(object::uid(&live)));
            if let Some(version) = object::resource_version(&live) {
                clean::path::set(&mut patch, &["metadata", "resourceVersion"], json!(version));
            }
        }
        let (kept, shape) = (clean::Keep::default(), Shape::of(&line.kind.group, None));
        let holds = |there: &Value| diff::holds(&line.place.group_resource, shape, &wanted, there, &kept);
        self.changed(kind, line, self.patch(kind, &line.place, &patch).await, holds).await
    }

    async fn replace(&self, kind: &Kind, line: &Line) -> Result<Outcome, ApiError> {
        let (cluster, namespace, name) = (&self.means.cluster, line.place.namespace.as_deref(), &line.place.name);
        let put = self.settle(|| cluster.replace(kind, namespace, name, &line.body, self.write())).await;
        let (kept, shape) = (clean::Keep::default(), Shape::of(&line.kind.group, None));
        let same = |there: &Value| {
            diff::compare(&line.place.group_resource, shape, &line.body.open(), there, &kept).is_empty()
        };
        self.changed(kind, line, put, same).await
    }

    /// What became of a change in place. The version that it was made for has moved on also where the change went through
    /// and its answer was lost: then what is there is what was wanted.
    async fn changed(
        &self,
        kind: &Kind,
        line: &Line,
        answer: Result<Value, ApiError>,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Result<Outcome, ApiError> {
        let error = match answer {
            Ok(there) => return Ok(Outcome::Done(Some(object::uid(&there).to_owned()))),
            Err(error) if error.fault == Fault::Conflict || is_open(&error) => error,
            Err(error) => return Err(error),
        };
        let planned = line.live_uid();
        match self.get(kind, &line.place).await {
            Ok(Some(there)) if object::uid(&there) == planned && is_wanted(&there) => Ok(Outcome::Done(Some(planned))),
            _ if error.fault == Fault::Conflict => Ok(Outcome::diverged("it was changed after the plan was made")),
            _ => Err(error),
        }
    }

    /// What the object owns is set free, not deleted: its new self takes it over, or gets its reference back from us.
    async fn recreate(&self, kind: &Kind, line: &Line, owners: Vec<Value>) -> Result<Outcome, ApiError> {
        let old = line.live_uid();
        if let Some(outcome) = self.delete(kind, line, &old, "Orphan").await? {
            return Ok(outcome);
        }
        let clock = &self.means.clock;
        let began = clock.monotonic();
        while self.get(kind, &line.place).await?.is_some_and(|there| object::uid(&there) == old) {
            if clock.monotonic().saturating_sub(began) > GONE {
                return Ok(Outcome::diverged(
                    "it was deleted, but a minute later it is still there; what holds it back is in its finalizers",
                ));
            }
            if self.means.cancel.is_cancelled() {
                return Ok(Outcome::diverged("it was deleted; the run was stopped before it was made anew"));
            }
            clock.sleep(LOOK_AGAIN).await;
        }
        self.create(kind, line, owners).await
    }

    async fn prune(&self, kind: &Kind, line: &Line) -> Result<Outcome, ApiError> {
        let uid = line.live_uid();
        Ok(self.delete(kind, line, &uid, "Background").await?.unwrap_or(Outcome::Done(None)))
    }

    /// Deletes the object of this uid; an outcome only if that is not what is there.
    async fn delete(&self, kind: &Kind, line: &Line, uid: &str, how: &str) -> Result<Option<Outcome>, ApiError> {
        let place = &line.place;
        if uid.is_empty() || super::super::plan::NEVER_DELETED.contains(&place.group_resource.as_str()) {
            return Ok(Some(Outcome::diverged("it is not deleted: no uid is known, or its kind is never deleted")));
        }
        let at = (place.namespace.as_deref(), place.name.as_str());
        let delete = Delete { uid: Some(uid), propagation: Some(how), ..Delete::default() };
        match self.settle(|| self.means.cluster.delete(kind, at, delete, Write::default())).await {
            Ok(_) => Ok(None),
            Err(error) if error.fault == Fault::NotFound => Ok(None),
            Err(error) if error.fault == Fault::Conflict => {
                Ok(Some(Outcome::diverged("it is another object than the one that was planned for")))
            }
            Err(error) => Err(error),
        }
    }

    async fn status(&self, kind: &Kind, place: &Place, status: &Value) -> Option<Outcome> {
        let at = (place.namespace.as_deref(), place.name.as_str());
        let write = Write { subresource: Some("status"), ..self.write() };
        let patch = json!({ "status": status });
        let patched = self.settle(|| self.means.cluster.patch(kind, at, Patch::Merge, &patch, write)).await;
        patched.err().map(|error| Outcome::diverged(format!("its status did not come back: {error}")))
    }
}

/// Whether something was done is not known.
const fn is_open(error: &ApiError) -> bool {
    matches!(error.fault, Fault::Unreachable | Fault::Unavailable)
}

/// A change: tried again also when its answer was lost, because the name, the uid, the version or our manager settles
/// what happened.
struct Unsettled(ApiError);

impl Retryable for Unsettled {
    fn retry(&self) -> Retry {
        self.0.retry()
    }

    fn pause(&self) -> Option<Duration> {
        self.0.pause()
    }
}
