//! A namespace that is made for one verification and is gone after it, for certain or by name.
//!
//! Only the process that made it knows when it is done with it. If that is killed, the namespace stays, and nobody who finds
//! it can know that nobody uses it any more: taken from under a proof, it would make a good point look bad. So whoever comes
//! next names it; and it goes when it is older than any proof may be that counts.

use super::super::object;
use super::super::restore::Means;
use crate::cluster::{ApiError, Cluster, Delete, Fault, Kind, Query, Write};
use crate::error::{Error, Result};
use crate::humane::age;
use crate::repository::intent::LONGEST_RUN;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Emptying a namespace takes the cluster some seconds; minutes with ten thousand objects.
const GONE: Duration = Duration::from_mins(5);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The label by which leftovers are found.
pub(super) const LABEL: &str = "davit.dev/scratch";
const LABEL_ANY: &str = "davit.dev/scratch=true";
/// Who made it: a machine and a process.
const HOLDER: &str = "davit.dev/holder";
/// What the name of each of them begins with; the run follows.
const PREFIX: &str = "davit-verify-";

/// What the scratch namespace of a run is called. Names of namespaces have small letters only.
pub fn scratch_name(run: &str) -> String {
    format!("{PREFIX}{}", run.to_lowercase())
}

/// A scratch namespace that is there while nobody who looks at it uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its name.
    pub name: String,
    uid: String,
    holder: Option<String>,
    made: Option<Timestamp>,
    is_going: bool,
}

impl Leftover {
    fn of(body: &Value) -> Self {
        let metadata = &body["metadata"];
        Self {
            name: object::name(body).to_owned(),
            uid: object::uid(body).to_owned(),
            holder: object::annotation(body, HOLDER).map(str::to_owned),
            made: metadata["creationTimestamp"].as_str().and_then(|time| time.parse().ok()),
            is_going: object::is_terminating(body),
        }
    }

    /// Whether no proof that counts can use it any more. What only carries the label may be somebody else's.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let ours = self.name.starts_with(PREFIX) && self.holder.is_some();
        let longest = SignedDuration::try_from(LONGEST_RUN).unwrap_or(SignedDuration::MAX);
        ours && !self.is_going && self.made.is_some_and(|made| now.duration_since(made) > longest)
    }

    /// What it is, in words: `davit-verify-01abc, 3 hours old, of run 01abc (eva-laptop, process 7)`.
    pub fn told(&self, now: Timestamp) -> String {
        let age = self.made.map_or_else(|| "of unknown age".to_owned(), |made| format!("made {} ago", age(made, now)));
        let run = self.name.strip_prefix(PREFIX).unwrap_or("unknown");
        let by = self.holder.as_ref().map(|holder| format!(" ({holder})")).unwrap_or_default();
        let going = if self.is_going { ", being deleted" } else { "" };
        format!("{}, {age} by run {run}{by}{going}", self.name)
    }
}

/// Finds every scratch namespace of the cluster, whoever made it.
pub async fn leftovers(cluster: &Cluster) -> Result<Vec<Leftover>, ApiError> {
    let kind = Kind::namespaces();
    let mut listing = cluster.list(Query { labels: Some(LABEL_ANY), ..Query::all(&kind) });
    let mut found = Vec::new();
    while let Some(item) = listing.next().await? {
        found.extend(serde_json::from_slice::<Value>(&item).ok().map(|body| Leftover::of(&body)));
    }
    Ok(found)
}

/// Takes one away that is over; the cluster empties it meanwhile.
pub async fn remove_leftover(cluster: &Cluster, one: &Leftover) -> Result<(), ApiError> {
    let delete = Delete { uid: Some(&one.uid), propagation: Some("Background"), ..Delete::default() };
    match cluster.delete(&Kind::namespaces(), (None, &one.name), delete, Write::default()).await {
        Err(why) if why.fault != Fault::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// The scratch namespace of one run.
pub(super) struct Scratch<'a> {
    means: &'a Means,
    pub(super) name: String,
    uid: String,
    began: Duration,
}

impl<'a> Scratch<'a> {
    /// Makes it. Of the saved namespace only the pod security levels are taken over: its other labels would bring
    /// meshes and policies in.
    pub(super) async fn make(means: &'a Means, (name, holder): (&str, &str), saved: Option<&Value>) -> Result<Self> {
        let began = means.clock.monotonic();
        let doing = || format!("making the scratch namespace {name}");
        let mut labels = Map::new();
        labels.insert(LABEL.to_owned(), json!("true"));
        let saved = saved.and_then(|body| object::metadata(body)?.get("labels")?.as_object());
        let levels = saved.into_iter().flatten().filter(|(key, _)| key.starts_with("pod-security.kubernetes.io/"));
        labels.extend(levels.map(|(key, value)| (key.clone(), value.clone())));
        let body = json!({"apiVersion": "v1", "kind": "Namespace", 
            "metadata": {"name": name, "labels": labels, "annotations": {HOLDER: holder}}});
        if means.cancel.is_cancelled() {
            return Err(Error::failed(format!("{}: the run was stopped", doing())));
        }
        // Whoever stops the run meanwhile would else never know whether it is there.
        let cluster = means.cluster.insisting();
        let made = cluster.create(&Kind::namespaces(), None, &body, Write::default()).await;
        let made = made.map_err(|why| why.during(doing()))?;
        Ok(Self { means, name: name.to_owned(), uid: object::uid(&made).to_owned(), began })
    }

    /// Whether it may have been taken away meanwhile, as one of a run that was killed: then what was found in it is no finding.
    pub(super) fn is_too_old(&self) -> bool {
        self.means.clock.monotonic().saturating_sub(self.began) >= LONGEST_RUN
    }

    /// Removes it with everything in it, and waits until it is gone: also where the run was stopped, because copies of
    /// Secrets are in it.
    pub(super) async fn remove(self) -> Result<()> {
        let cluster = self.means.cluster.insisting();
        let kind = Kind::namespaces();
        let stuck = |why: String| {
            Error::new(crate::error::Kind::Stuck, format!("removing the scratch namespace {}: {why}", self.name))
                .hint(format!("kubectl delete namespace {}", self.name))
        };
        let delete = Delete { uid: Some(&self.uid), propagation: Some("Background"), ..Delete::default() };
        match cluster.delete(&kind, (None, &self.name), delete, Write::default()).await {
            Ok(_) => {}
            Err(error) if error.fault == Fault::NotFound => return Ok(()),
            Err(error) => return Err(stuck(error.to_string())),
        }
        let clock = &self.means.clock;
        let began = clock.monotonic();
        loop {
            match cluster.one(&kind, None, &self.name).await {
                Ok(Some(there)) if object::uid(&there) == self.uid => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(stuck(error.to_string())),
            }
            if clock.monotonic().saturating_sub(began) > GONE {
                return Err(stuck("five minutes later it is still there".to_owned()));
            }
            clock.sleep(LOOK_AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_over_when_no_proof_may_be_as_old_and_not_before() {
        let now: Timestamp = "2026-03-04T12:00:00Z".parse().unwrap();
        let of = |made: &str, more: Value| {
            let mut body = json!({"metadata": {"name": "davit-verify-01abc", "uid": "u", "creationTimestamp": made,
                "annotations": {HOLDER: "laptop, process 7"}}});
            crate::snapshot::map::patch::merge(&mut body, &more);
            Leftover::of(&body)
        };
        let young = of("2026-03-02T12:00:01Z", json!({}));
        assert!(!young.is_over(now) && of("2026-03-02T11:59:59Z", json!({})).is_over(now));
        let going = of("2026-03-01T00:00:00Z", json!({"metadata": {"deletionTimestamp": "2026-03-02T00:00:00Z"}}));
        assert!(!going.is_over(now) && going.told(now).ends_with("being deleted"));
        let old = "2026-03-01T00:00:00Z";
        for theirs in [json!({"name": "theirs"}), json!({"annotations": null})] {
            assert!(!of(old, json!({"metadata": theirs})).is_over(now), "the label alone makes it nobody's to delete");
        }
        assert!(!of("", json!({})).is_over(now), "what says nothing of its age is named only");
        assert_eq!(
            of("2026-03-04T09:00:00Z", json!({})).told(now),
            "davit-verify-01abc, made 3 h ago by run 01abc (laptop, process 7)"
        );
    }
}
