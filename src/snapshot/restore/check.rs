//! Asks the server about a plan, line by line, without changing anything.

use super::super::object;
use super::super::plan::{Action, Line, Mark};
use super::{Means, Prepared, schema};
use crate::cluster::{ApiError, Delete, Kind, Patch, Write};
use crate::error::Result;
use futures_util::StreamExt;

const NAMESPACES: &str = "namespaces";

/// Fills the marks of a plan. What cannot be asked, because a namespace or a definition is not there yet, is held
/// against the schema of the snapshot's definition where there is one.
pub async fn check(means: &Means, prepared: &mut Prepared) -> Result<()> {
    let marks = {
        let prepared = &*prepared;
        let lines = prepared.plan.lines.iter().enumerate().filter(|(_, line)| line.action.acts());
        let asked = lines.map(|(at, line)| async move { (at, mark(means, prepared, line).await) });
        let asked = futures_util::stream::iter(asked).buffer_unordered(means.in_flight.max(1));
        asked.collect::<Vec<_>>().await
    };
    for (at, mark) in marks {
        prepared.plan.lines[at].mark = mark;
    }
    Ok(())
}

async fn mark(means: &Means, prepared: &Prepared, line: &Line) -> Mark {
    if line.action == Action::Recreate {
        return Mark::Recreate;
    }
    let there =
        |name: &str| prepared.live.objects.keys().any(|place| place.group_resource == NAMESPACES && place.name == name);
    let kind = prepared.kinds.saved(&line.kind);
    let missing = match (&kind, line.place.namespace.as_deref()) {
        (None, _) => Some("its definition is not there yet".to_owned()),
        (_, Some(namespace)) if !there(namespace) => Some(format!("the namespace {namespace} is not there yet")),
        _ => None,
    };
    match (kind, missing) {
        (Some(kind), None) => match dry_run(means, prepared, line, &kind).await {
            Ok(()) => Mark::Checked,
            Err(error) => Mark::Refused(error.to_string()),
        },
        (_, missing) => {
            let key = (line.place.group_resource.clone(), line.kind.version.clone());
            let problems =
                prepared.schemas.get(&key).map(|known| schema::problems(known, &line.body)).unwrap_or_default();
            let missing = missing.unwrap_or_default();
            match problems.first() {
                Some(problem) => Mark::Refused(format!("by the schema of its definition: {problem}")),
                None if prepared.schemas.contains_key(&key) => {
                    Mark::Unchecked(format!("{missing}; it fits the schema of its definition"))
                }
                None => Mark::Unchecked(missing),
            }
        }
    }
}

async fn dry_run(means: &Means, prepared: &Prepared, line: &Line, kind: &Kind) -> Result<(), ApiError> {
    let cluster = &means.cluster;
    let (namespace, name) = (line.place.namespace.as_deref(), line.place.name.as_str());
    let write = Write { dry_run: true, field_manager: Some(&prepared.options.manager), subresource: None };
    match &line.action {
        Action::Create => cluster.create(kind, namespace, &line.body, write).await.map(drop),
        Action::Merge => cluster.patch(kind, (namespace, name), Patch::Merge, &line.body, write).await.map(drop),
        Action::Replace => cluster.replace(kind, namespace, name, &line.body, write).await.map(drop),
        Action::Prune => {
            let uid = line.live.as_ref().map(object::uid).filter(|uid| !uid.is_empty());
            let delete = Delete { uid, propagation: Some("Background"), ..Delete::default() };
            cluster.delete(kind, (namespace, name), delete, write).await.map(drop)
        }
        _ => Ok(()),
    }
}
