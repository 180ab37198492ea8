//! The verification: plan into the scratch namespace, ask about everything, make what is inert, read back, remove.

use super::super::clean;
use super::super::diff::{self, Seen, Shape};
use super::super::map::{Mapping, patch};
use super::super::object::Saved;
use super::super::plan::{Action, Line, Options, Selector};
use super::super::restore::{Means, Prepared, prepare};
use super::checked::{Checked, Said};
use super::inert::{Treatment, treat};
use super::lost::Lost;
use super::make::make;
use super::scratch::Scratch;
use crate::cluster::{ApiError, Fault, Kind, Patch, Write};
use crate::error::{Error, Result};
use futures_util::StreamExt;
use serde_json::Value;

/// What is verified.
#[derive(Debug)]
pub struct Request {
    /// The objects of the snapshot.
    pub saved: Vec<Saved>,
    /// The namespace they are of.
    pub namespace: String,
    /// Name of the scratch namespace.
    pub scratch: String,
    /// Who makes it: a machine and a process.
    pub holder: String,
    /// Kinds that are made although they are not known to be inert.
    pub live: Vec<Selector>,
}

/// Verifies; the scratch namespace is removed whatever happens, and if it cannot be, that is the error.
pub async fn run(means: &Means, request: Request) -> Result<Checked> {
    let namespace = request
        .saved
        .iter()
        .find(|one| one.kind.group_resource() == "namespaces" && one.identity.name == request.namespace);
    let scratch =
        Scratch::make(means, (&request.scratch, &request.holder), namespace.map(|one| one.body.open()).as_ref())
            .await?;
    let checked = verify(means, request).await;
    // What was asked after that has no answer: no finding, whatever was found before.
    let stopped = means.cancel.is_cancelled();
    let too_old = scratch.is_too_old();
    let removed = scratch.remove().await;
    match (checked, removed) {
        (_, Err(stuck)) => Err(stuck),
        _ if stopped => {
            Err(Error::failed("verifying in a scratch namespace: the run was stopped, and nothing is proven"))
        }
        _ if too_old => Err(Error::undecided("verifying in a scratch namespace: it took longer than any run may")
            .hint("it took over 48 hours, and others may have taken its namespace for a leftover: try again")),
        (checked, Ok(())) => checked,
    }
}

async fn verify(means: &Means, request: Request) -> Result<Checked> {
    let Request { saved, namespace, scratch, live, .. } = request;
    // The namespace itself is the scratch one, which is there.
    let saved: Vec<Saved> = saved
        .into_iter()
        .filter(|one| one.kind.group_resource() != "namespaces" || one.identity.name != namespace)
        .collect();
    let mapping = Mapping { namespaces: [(namespace.clone(), scratch.clone())].into(), ..Mapping::default() };
    let options = Options {
        restore_derived: vec![Selector::parse("*")],
        manager: "davit-verify".to_owned(),
        proof_of: Some(namespace),
        ..Options::default()
    };
    let prepared = prepare(means, saved, &mapping, options).await?;
    let mut checked = Checked::default();
    let lost = Lost::default();
    let is_account = |line: &&Line| line.place.group_resource == "serviceaccounts";
    // Admission takes no pod whose account is not there, in a dry run either: accounts are made before anything else is
    // asked about. All others are asked about before any is made: a quota or a limit that is made would answer for the
    // server.
    let (accounts, others): (Vec<&Line>, Vec<&Line>) = prepared.plan.lines.iter().partition(is_account);
    for lines in [accounts, others] {
        let mut made = Vec::new();
        for (line, said) in ask(means, &prepared, lines, &lost).await {
            // The cluster has made the default accounts already.
            let takes = matches!(said, Said::Took)
                && !clean::is_default_account(&line.place.group_resource, &line.place.name)
                && line.place.namespace.as_deref() == Some(scratch.as_str());
            match takes.then(|| treat(&line.place, &line.body.open(), &live)) {
                Some((Treatment::Live, body)) => made.push((line, body)),
                _ => checked.note(&line.place, said),
            }
        }
        make(means, &prepared, made, &mut checked).await;
    }
    Ok(checked)
}

/// Asks the server about every object, and compares its answer with what was saved.
async fn ask<'a>(means: &Means, prepared: &Prepared, lines: Vec<&'a Line>, lost: &Lost) -> Vec<(&'a Line, Said)> {
    let asked = lines.into_iter().map(|line| async move {
        let said = match &line.action {
            Action::Create | Action::Merge => match lost.why(&line.place.group_resource) {
                Some(why) => Said::Open(why),
                None => dry_run(means, prepared, line, lost).await,
            },
            // It was listed a moment ago and is what was saved.
            Action::Same => Said::Took,
            Action::Leave(why) => Said::Unasked(why.clone()),
            Action::Refuse(why) => refused(line, why),
            other => Said::Open(format!("it would be a {}", other.word())),
        };
        (line, said)
    });
    futures_util::stream::iter(asked).buffer_unordered(means.in_flight.max(1)).collect().await
}

/// What the rules of a restore refuse could not be restored, unless what stands in the way is of the scratch namespace.
fn refused(line: &Line, why: &str) -> Said {
    if line.live.is_some() && line.place.namespace.is_some() {
        return Said::Unasked("something in the cluster puts one of its own into every namespace".to_owned());
    }
    Said::Wrong(format!("it could not be restored: {why}"))
}

async fn dry_run(means: &Means, prepared: &Prepared, line: &Line, lost: &Lost) -> Said {
    let Some(kind) = prepared.kinds.saved(&line.kind) else {
        // Its definition is in the snapshot, and a proof makes nothing that belongs to the cluster.
        return Said::Open("its definition is not in the cluster: a proof where it is can ask about it".to_owned());
    };
    match put_to_the_server(means, prepared, line, &kind).await {
        Ok(answer) => differs(prepared, line, &line.body.open(), &answer).map_or(Said::Took, Said::Wrong),
        // The accounts of a namespace appear while we ask; whatever else does was made by somebody, too.
        Err(why) if why.fault == Fault::Exists => match line.action {
            Action::Create if clean::is_default_account(&line.place.group_resource, &line.place.name) => Said::Took,
            _ => Said::Unasked("something in the cluster puts one of its own into every namespace".to_owned()),
        },
        Err(why) => {
            lost.note(&line.place.group_resource, &why);
            Said::of_refusal(&why, "")
        }
    }
}

async fn put_to_the_server(means: &Means, prepared: &Prepared, line: &Line, kind: &Kind) -> Result<Value, ApiError> {
    let write = Write { dry_run: true, field_manager: Some(&prepared.options.manager), subresource: None };
    let (namespace, name) = (line.place.namespace.as_deref(), line.place.name.as_str());
    match line.action {
        Action::Merge => means.cluster.patch(kind, (namespace, name), Patch::Merge, &line.body, write).await,
        _ => means.cluster.create(kind, namespace, &line.body, write).await,
    }
}

/// What is another value than was saved, or missing. What the server adds is no difference.
pub(super) fn differs(prepared: &Prepared, line: &Line, wanted: &Value, there: &Value) -> Option<String> {
    let key = (line.place.group_resource.clone(), line.kind.version.clone());
    let shape = Shape::of(&line.kind.group, prepared.schemas.get(&key));
    let mut wanted = wanted.clone();
    patch::merge(&mut wanted, &serde_json::json!({"apiVersion": null, "kind": null}));
    let changes = diff::compare(&line.place.group_resource, shape, &wanted, there, &prepared.options.keep);
    let told: Vec<String> =
        changes.iter().filter(|change| change.left != Seen::Absent).map(ToString::to_string).collect();
    (!told.is_empty()).then(|| format!("it came back as something else: {}", told.join("; ")))
}
