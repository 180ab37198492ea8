//! Owner references that had to wait for their owner, and those of an interrupted run.

use super::super::body::Body;
use super::super::object;
use super::super::plan::{Action, Line, OwnerAt};
use super::one::Hands;
use super::run::Run;
use futures_util::StreamExt;
use serde_json::{Value, json};

/// Patches the references in whose owners came later.
pub(super) async fn patch_later(run: &mut Run<'_>) {
    let lines = &run.prepared.plan.lines;
    let wait = |line: &Line| line.owners.iter().any(|link| matches!(link.at, OwnerAt::Later(_)));
    let mut work = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        // An object that was made by this restore before it was interrupted may still wait for its owner.
        let resumed = line.action == Action::Same && line.is_managed_by(run.hands.manager);
        let made = matches!(line.action, Action::Create | Action::Recreate) && wait(line);
        let (true, Some(uid)) = (resumed || made, run.uids.get(&at)) else { continue };
        let references = run.owners_now(at);
        let there = line.live.as_ref().filter(|_| resumed).map(Body::open).unwrap_or_default();
        let there = object::owners(&there);
        let missing = references.iter().any(|one| !there.iter().any(|other| one["uid"] == other.uid));
        if missing && !references.is_empty() {
            work.push((at, uid.clone(), references));
        }
    }
    let (hands, kinds) = (&run.hands, &run.kinds);
    let patches = work.into_iter().map(|(at, uid, references)| async move {
        let line = &lines[at];
        let Some(kind) = kinds.saved(&line.kind) else { return (at, None) };
        (at, patch(hands, &kind, line, &uid, references).await)
    });
    let mut patches = futures_util::stream::iter(patches).buffer_unordered(run.means.in_flight.max(1));
    let mut failed = Vec::new();
    while let Some((at, why)) = patches.next().await {
        failed.extend(why.map(|why| (at, why)));
    }
    drop(patches);
    for (at, why) in failed {
        run.failed.insert(at, (format!("it is there, but without its owner: {why}"), false));
    }
    // A reference whose owner did not come is told with the object that lacks it.
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.action.acts()) {
        let lacks = line.owners.iter().any(|link| match &link.at {
            OwnerAt::Before(owner) | OwnerAt::Later(owner) => !run.uids.contains_key(owner),
            OwnerAt::Live(_) => false,
        });
        if lacks && !run.failed.contains_key(&at) {
            run.failed.insert(at, ("it is there, but its owner was not restored".to_owned(), false));
        }
    }
}

async fn patch(
    hands: &Hands<'_>,
    kind: &crate::cluster::Kind,
    line: &Line,
    uid: &str,
    references: Vec<Value>,
) -> Option<String> {
    // The uid is a precondition: an object that was made anew meanwhile is not ours to change.
    let body = json!({"metadata": {"uid": uid, "ownerReferences": Value::Array(references)}});
    hands.patch(kind, &line.place, &body).await.err().map(|error| error.to_string())
}
