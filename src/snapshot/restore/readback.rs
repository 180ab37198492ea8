//! After a restore: is what is there what was sent?

use super::super::diff::{self, Shape};
use super::super::object::{self, Place};
use super::super::plan::{Action, Line};
use super::super::slim;
use super::report::Failure;
use super::run::Run;
use crate::cluster::Query;
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Lists under way at once.
const LISTS: usize = 4;

/// Changes of one object that are told; the whole of them is `davit snapshot diff`.
const CHANGES_SHOWN: usize = 3;

/// Lists every kind that was restored and compares each object that this restore made or changed. What controllers
/// added is no divergence; what is missing or another value is.
pub(super) async fn diverged(run: &Run<'_>) -> Vec<Failure> {
    let lines = &run.prepared.plan.lines;
    let acted: BTreeMap<&Place, &Line> = run
        .done
        .iter()
        .map(|at| &lines[*at])
        .filter(|line| matches!(line.action, Action::Create | Action::Replace | Action::Recreate | Action::Merge))
        .map(|line| (&line.place, line))
        .collect();
    let lists: BTreeSet<(&str, Option<&str>)> =
        acted.keys().map(|place| (place.group_resource.as_str(), place.namespace.as_deref())).collect();
    let lists = lists.into_iter().map(|(name, namespace)| compare(run, &acted, name, namespace));
    let mut lists = futures_util::stream::iter(lists).buffer_unordered(LISTS);
    let mut diverged = Vec::new();
    while let Some(found) = lists.next().await {
        diverged.extend(found);
    }
    diverged.sort_by(|one, other| one.place.cmp(&other.place));
    diverged
}

async fn compare(run: &Run<'_>, acted: &BTreeMap<&Place, &Line>, name: &str, namespace: Option<&str>) -> Vec<Failure> {
    let ours =
        || acted.iter().filter(|(place, _)| place.group_resource == name && place.namespace.as_deref() == namespace);
    let all = |why: &str| ours().map(|(place, _)| Failure { place: (*place).clone(), why: why.to_owned() }).collect();
    let Some(kind) = ours().next().and_then(|(_, line)| run.kinds.saved(&line.kind)) else {
        return all("it could not be looked at again: the cluster no longer serves its kind");
    };
    let mut seen = BTreeSet::new();
    let mut diverged = Vec::new();
    let mut listing = run.means.cluster.list(Query { namespace, ..Query::all(&kind) });
    loop {
        let bytes = match listing.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break,
            Err(why) => return all(&format!("it could not be looked at again: {why}")),
        };
        let Ok(body) = slim::read(&bytes) else { continue };
        let place = Place {
            group_resource: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: object::name(&body).to_owned(),
        };
        let Some(line) = acted.get(&place) else { continue };
        seen.insert(place.clone());
        // A list does not tell the kinds of its elements.
        if let Some(why) = differs(run, line, &kind.said_by(body)) {
            diverged.push(Failure { place, why });
        }
    }
    for (place, _) in ours().filter(|(place, _)| !seen.contains(place)) {
        diverged.push(Failure { place: (*place).clone(), why: "it was made and is gone again".to_owned() });
    }
    diverged
}

fn differs(run: &Run<'_>, line: &Line, there: &Value) -> Option<String> {
    if object::is_terminating(there) {
        return Some("it was made and is being deleted".to_owned());
    }
    let key = (line.place.group_resource.clone(), line.kind.version.clone());
    let shape = Shape::of(&line.kind.group, run.prepared.schemas.get(&key));
    let mut keep = run.prepared.options.keep.clone();
    keep.status.remove(&line.place.group_resource);
    let changes = diff::compare(&line.place.group_resource, shape, &line.body.open(), there, &keep);
    let told: Vec<String> = changes
        .iter()
        .filter(|change| change.left != diff::Seen::Absent)
        .take(CHANGES_SHOWN)
        .map(ToString::to_string)
        .collect();
    (!told.is_empty()).then(|| format!("it is not what was sent: {}", told.join("; ")))
}
