//! Asks the server about a plan, line by line, without changing anything.

use super::super::plan::{Action, Line, Mark};
use super::{Means, Prepared, hint, schema, volume};
use crate::cluster::{ApiError, Delete, Kind, Patch, Write};
use crate::error::{Error, Result};
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::BTreeMap;

/// Documents that are read side by side: each may be a megabyte.
const DOCUMENTS: usize = 4;
const NAMESPACES: &str = "namespaces";

/// Fills the marks of a plan. What cannot be asked, because a namespace or a definition is not there yet, is held
/// against the schema of the snapshot's definition where there is one.
pub async fn check(means: &Means, prepared: &mut Prepared) -> Result<()> {
    let documents = documents(means, prepared).await;
    let marks = {
        let (prepared, documents) = (&*prepared, &documents);
        let is_asked = |line: &Line| line.action.acts() || line.frees.is_some();
        let lines = prepared.plan.lines.iter().enumerate().filter(|(_, line)| is_asked(line));
        let asked = lines.map(|(at, line)| async move { (at, mark(means, prepared, line, documents).await) });
        let asked = futures_util::stream::iter(asked).buffer_unordered(means.in_flight.max(1));
        asked.collect::<Vec<_>>().await
    };
    if means.cancel.is_cancelled() {
        return Err(Error::failed("asking the server about the plan: the run was stopped"));
    }
    for (at, mark) in marks {
        prepared.plan.lines[at].mark = mark;
    }
    Ok(())
}

/// The server's own schemas of built-in kinds, by group and version, where a namespace is not there yet.
type Documents = BTreeMap<String, Value>;

async fn documents(means: &Means, prepared: &Prepared) -> Documents {
    let absent = |line: &&Line| line.action.acts() && missing(prepared, line).is_some();
    let kinds = prepared.plan.lines.iter().filter(absent).filter_map(|line| prepared.kinds.saved(&line.kind));
    let kinds: BTreeMap<String, Kind> =
        kinds.filter(|kind| !kind.custom).map(|kind| (kind.api_version(), kind)).collect();
    let asked = kinds.into_iter().map(|(version, kind)| async move { (version, means.cluster.openapi(&kind).await) });
    let mut asked = futures_util::stream::iter(asked).buffer_unordered(DOCUMENTS);
    let mut documents = Documents::new();
    while let Some((version, document)) = asked.next().await {
        // A server that gives none leaves its lines unchecked, as they say.
        documents.extend(document.ok().map(|document| (version, document)));
    }
    documents
}

/// What keeps the server from being asked about a line.
fn missing(prepared: &Prepared, line: &Line) -> Option<String> {
    let there =
        |name: &str| prepared.live.objects.keys().any(|place| place.group_resource == NAMESPACES && place.name == name);
    match (prepared.kinds.saved(&line.kind), line.place.namespace.as_deref()) {
        (None, _) => Some("its definition is not there yet".to_owned()),
        (_, Some(namespace)) if !there(namespace) => Some(format!("the namespace {namespace} is not there yet")),
        _ => None,
    }
}

/// What the server's own schema has against a line of a built-in kind; nothing at all where it has no schema.
fn by_document(documents: &Documents, kind: &Kind, line: &Line) -> Option<Vec<String>> {
    let document = documents.get(&kind.api_version())?;
    let schema = schema::of_kind(document, kind)?;
    Some(schema::problems_in(document, schema, &line.body.open()))
}

async fn mark(means: &Means, prepared: &Prepared, line: &Line, documents: &Documents) -> Mark {
    if line.action == Action::Recreate {
        return Mark::Recreate;
    }
    if let (Some(freed), Some(kind)) = (&line.frees, prepared.kinds.get("persistentvolumes"))
        && let Err(error) = volume::ask(&means.cluster, freed, kind, &prepared.options.manager).await
    {
        return if error.is_verdict() {
            Mark::Refused(volume::refusal(freed, &error))
        } else {
            Mark::Unchecked(format!("the server could not be asked: {error}"))
        };
    }
    let kind = prepared.kinds.saved(&line.kind);
    match (kind, missing(prepared, line)) {
        (Some(kind), None) => match dry_run(means, prepared, line, &kind).await {
            Ok(()) => Mark::Checked,
            Err(error) if error.is_verdict() => Mark::Refused(hint::refusal(line, &error)),
            Err(error) => Mark::Unchecked(format!("the server could not be asked: {error}")),
        },
        (kind, missing) => {
            let known = kind.filter(|kind| !kind.custom).and_then(|kind| by_document(documents, &kind, line));
            if let Some(known) = known {
                return match known.first() {
                    Some(problem) => Mark::Refused(format!("by the server's schema: {problem}")),
                    None => Mark::Unchecked(format!("{}; it fits the server's schema", missing.unwrap_or_default())),
                };
            }
            let key = (line.place.group_resource.clone(), line.kind.version.clone());
            let problems =
                prepared.schemas.get(&key).map(|known| schema::problems(known, &line.body.open())).unwrap_or_default();
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
            let uid = Some(line.live_uid()).filter(|uid| !uid.is_empty());
            let delete = Delete { uid: uid.as_deref(), propagation: Some("Background"), ..Delete::default() };
            cluster.delete(kind, (namespace, name), delete, write).await.map(drop)
        }
        _ => Ok(()),
    }
}
