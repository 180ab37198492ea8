//! The verification: plan into the scratch namespace, ask about everything, make what is inert, read back, remove.

use super::super::clean;
use super::super::diff::{self, Seen, Shape};
use super::super::map::{Mapping, patch};
use super::super::object::{self, Place, Saved};
use super::super::plan::{Action, Line, Options, Selector};
use super::super::restore::{Means, Prepared, prepare};
use super::inert::{Treatment, treat};
use super::scratch::Scratch;
use crate::cluster::{ApiError, Fault, Query, Write};
use crate::error::Result;
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Lists under way at once.
const LISTS: usize = 4;

/// What is verified.
#[derive(Debug)]
pub struct Request {
    /// The objects of the snapshot.
    pub saved: Vec<Saved>,
    /// The namespace they are of.
    pub namespace: String,
    /// Name of the scratch namespace.
    pub scratch: String,
    /// Kinds that are made although they are not known to be inert.
    pub live: Vec<Selector>,
}

/// What was seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Checked {
    /// Objects that were made, read back and are what was saved.
    pub live: u64,
    /// Objects that the server took in a dry run, as they were saved.
    pub dry_run: u64,
    /// Objects that could not be asked about, by reason.
    pub not_checked: BTreeMap<String, Vec<Place>>,
    /// Objects that the server refused, or that came back as something else.
    pub wrong: Vec<(Place, String)>,
}

impl Checked {
    /// How many objects were not checked.
    pub fn unchecked(&self) -> u64 {
        self.not_checked.values().map(|places| places.len() as u64).sum()
    }

    /// `120 live, 14 dry-run, 3 not checked`
    pub fn counts(&self) -> String {
        format!("{} live, {} dry-run, {} not checked", self.live, self.dry_run, self.unchecked())
    }

    fn skip(&mut self, place: &Place, why: impl Into<String>) {
        self.not_checked.entry(why.into()).or_default().push(place.clone());
    }
}

/// What the server said to one object.
enum Said {
    Took,
    Wrong(String),
    Unasked(String),
}

/// Verifies; the scratch namespace is removed whatever happens, and if it cannot be, that is the error.
pub async fn run(means: &Means, request: Request) -> Result<Checked> {
    let namespace = request
        .saved
        .iter()
        .find(|one| one.kind.group_resource() == "namespaces" && one.identity.name == request.namespace);
    let scratch = Scratch::make(means, &request.scratch, namespace.map(|one| one.body.open()).as_ref()).await?;
    let checked = verify(means, request).await;
    let removed = scratch.remove().await;
    match (checked, removed) {
        (_, Err(stuck)) => Err(stuck),
        (checked, Ok(())) => checked,
    }
}

async fn verify(means: &Means, request: Request) -> Result<Checked> {
    let Request { saved, namespace, scratch, live } = request;
    // The namespace itself is the scratch one, which is there.
    let saved: Vec<Saved> = saved
        .into_iter()
        .filter(|one| one.kind.group_resource() != "namespaces" || one.identity.name != namespace)
        .collect();
    let mapping = Mapping { namespaces: [(namespace, scratch.clone())].into(), ..Mapping::default() };
    let options = Options {
        restore_derived: vec![Selector::parse("*")],
        manager: "davit-verify".to_owned(),
        ..Options::default()
    };
    let prepared = prepare(means, saved, &mapping, options).await?;
    let mut checked = Checked::default();
    let mut made = Vec::new();
    // All are asked about before any is made: a quota or a limit that is made would answer for the server.
    for (line, said) in ask(means, &prepared).await {
        match said {
            Said::Unasked(why) => checked.skip(&line.place, why),
            Said::Wrong(why) => checked.wrong.push((line.place.clone(), why)),
            // The cluster has made the default accounts already.
            Said::Took if clean::is_default_account(&line.place.group_resource, &line.place.name) => {
                checked.dry_run += 1;
            }
            Said::Took => match treat(&line.place, &line.body.open(), &live) {
                (Treatment::Live, body) if line.place.namespace.as_deref() == Some(scratch.as_str()) => {
                    made.push((line, body));
                }
                _ => checked.dry_run += 1,
            },
        }
    }
    make(means, &prepared, made, &mut checked).await;
    Ok(checked)
}

/// Asks the server about every object, and compares its answer with what was saved.
async fn ask<'a>(means: &Means, prepared: &'a Prepared) -> Vec<(&'a Line, Said)> {
    let asked = prepared.plan.lines.iter().map(|line| async move {
        let said = match &line.action {
            Action::Create => dry_run(means, prepared, line).await,
            // The default accounts of the scratch namespace are there already; merging into them is a dry run too.
            Action::Merge | Action::Same => Said::Took,
            Action::Leave(why) | Action::Refuse(why) => Said::Unasked(why.clone()),
            other => Said::Unasked(format!("it would be a {}", other.word())),
        };
        (line, said)
    });
    futures_util::stream::iter(asked).buffer_unordered(means.in_flight.max(1)).collect().await
}

async fn dry_run(means: &Means, prepared: &Prepared, line: &Line) -> Said {
    let Some(kind) = prepared.kinds.saved(&line.kind) else {
        return Said::Unasked("its definition is not in the cluster".to_owned());
    };
    let write = Write { dry_run: true, field_manager: Some(&prepared.options.manager), subresource: None };
    match means.cluster.create(&kind, line.place.namespace.as_deref(), &line.body, write).await {
        Ok(answer) => differs(prepared, line, &line.body.open(), &answer).map_or(Said::Took, Said::Wrong),
        Err(why) if is_no_answer(&why) => Said::Unasked(why.to_string()),
        // The accounts of a namespace appear while we ask.
        Err(why) if why.fault == Fault::Exists => Said::Took,
        Err(why) => Said::Wrong(why.to_string()),
    }
}

/// Whether a refusal says nothing about the object: nobody could be asked.
fn is_no_answer(why: &ApiError) -> bool {
    matches!(why.fault, Fault::Unreachable | Fault::Unavailable | Fault::TooMany | Fault::Unauthorized)
        || why.message.contains("does not support dry run")
}

/// What is another value than was saved, or missing. What the server adds is no difference.
fn differs(prepared: &Prepared, line: &Line, wanted: &Value, there: &Value) -> Option<String> {
    let key = (line.place.group_resource.clone(), line.kind.version.clone());
    let shape = Shape::of(&line.kind.group, prepared.schemas.get(&key));
    let mut wanted = wanted.clone();
    patch::merge(&mut wanted, &serde_json::json!({"apiVersion": null, "kind": null}));
    let changes = diff::compare(&line.place.group_resource, shape, &wanted, there, &prepared.options.keep);
    let told: Vec<String> =
        changes.iter().filter(|change| change.left != Seen::Absent).map(ToString::to_string).collect();
    (!told.is_empty()).then(|| format!("it came back as something else: {}", told.join("; ")))
}

/// Makes the inert objects tier by tier, and reads all of them back.
async fn make(means: &Means, prepared: &Prepared, objects: Vec<(&Line, Value)>, checked: &mut Checked) {
    let tier = |line: &Line| super::super::order::Tier::of(&line.kind.group, &line.kind.resource);
    let mut tiers: BTreeMap<_, Vec<(&Line, Value)>> = BTreeMap::new();
    for (line, body) in objects {
        tiers.entry(tier(line)).or_default().push((line, body));
    }
    let mut made: BTreeMap<&Place, (&Line, Value)> = BTreeMap::new();
    for (_, wave) in tiers {
        let posts = wave.into_iter().map(|(line, body)| async move {
            let Some(kind) = prepared.kinds.saved(&line.kind) else { return (line, body, Ok(())) };
            let write = Write { field_manager: Some(&prepared.options.manager), ..Write::default() };
            let sent = without_nulls(&body);
            let posted = means.cluster.create(&kind, line.place.namespace.as_deref(), &sent, write).await;
            let posted = match posted {
                Err(why) if why.fault == Fault::Exists => Ok(()),
                other => other.map(drop),
            };
            (line, body, posted)
        });
        let mut posts = futures_util::stream::iter(posts).buffer_unordered(means.in_flight.max(1));
        while let Some((line, body, posted)) = posts.next().await {
            match posted {
                Ok(()) => drop(made.insert(&line.place, (line, body))),
                Err(why) => checked
                    .wrong
                    .push((line.place.clone(), format!("the dry run was accepted, but not the object: {why}"))),
            }
        }
    }
    read_back(means, prepared, made, checked).await;
}

fn without_nulls(body: &Value) -> Value {
    let mut clean = Value::Object(serde_json::Map::new());
    patch::merge(&mut clean, body);
    clean
}

async fn read_back(means: &Means, prepared: &Prepared, made: BTreeMap<&Place, (&Line, Value)>, checked: &mut Checked) {
    let kinds: BTreeSet<&String> = made.keys().map(|place| &place.group_resource).collect();
    let made_ref = &made;
    let lists = kinds.into_iter().map(|name| async move {
        let made = made_ref;
        let some = made.iter().find(|(place, _)| place.group_resource == *name);
        let (namespace, kind) = some
            .map(|(place, (line, _))| (place.namespace.clone(), prepared.kinds.saved(&line.kind)))
            .unwrap_or_default();
        let mut found = BTreeMap::new();
        let Some(kind) = kind else { return (name, Ok(found)) };
        let mut listing = means.cluster.list(Query { namespace: namespace.as_deref(), ..Query::all(&kind) });
        loop {
            match listing.next().await {
                Ok(Some(bytes)) => {
                    if let Ok(body) = serde_json::from_slice::<Value>(&bytes) {
                        found.insert(object::name(&body).to_owned(), body);
                    }
                }
                Ok(None) => return (name, Ok(found)),
                Err(why) => return (name, Err(why)),
            }
        }
    });
    let lists: BTreeMap<&String, Result<BTreeMap<String, Value>, ApiError>> =
        futures_util::stream::iter(lists).buffer_unordered(LISTS).collect().await;
    for (place, (line, body)) in &made {
        match lists.get(&place.group_resource) {
            Some(Ok(found)) => match found.get(&place.name).map(|there| differs(prepared, line, body, there)) {
                Some(None) => checked.live += 1,
                Some(Some(why)) => checked.wrong.push(((*place).clone(), why)),
                None => checked.wrong.push(((*place).clone(), "it was made and is gone again".to_owned())),
            },
            Some(Err(why)) => checked.skip(place, format!("it was made, but could not be read back: {why}")),
            None => checked.skip(place, "it was made, but not looked at"),
        }
    }
}
