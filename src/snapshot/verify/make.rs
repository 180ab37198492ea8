//! Makes the objects that do nothing by themselves, and reads all of them back.

use super::super::map::patch;
use super::super::object::{self, Place};
use super::super::order::Tier;
use super::super::plan::Line;
use super::super::restore::{Means, Prepared};
use super::checked::{Checked, Said};
use super::run::differs;
use crate::cluster::{ApiError, Fault, Query, Write};
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Lists under way at once.
const LISTS: usize = 4;

type Made<'a> = BTreeMap<&'a Place, (&'a Line, Value)>;

/// Makes the inert objects tier by tier, and reads all of them back.
pub(super) async fn make(means: &Means, prepared: &Prepared, objects: Vec<(&Line, Value)>, checked: &mut Checked) {
    let tier = |line: &Line| Tier::of(&line.kind.group, &line.kind.resource);
    let mut tiers: BTreeMap<_, Vec<(&Line, Value)>> = BTreeMap::new();
    for (line, body) in objects {
        tiers.entry(tier(line)).or_default().push((line, body));
    }
    let mut made = Made::new();
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
                Err(why) => {
                    checked.note(&line.place, Said::of_refusal(&why, "the dry run was accepted, but not the object: "));
                }
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

async fn read_back(means: &Means, prepared: &Prepared, made: Made<'_>, checked: &mut Checked) {
    let kinds: BTreeSet<&String> = made.keys().map(|place| &place.group_resource).collect();
    let made_ref = &made;
    let lists = kinds.into_iter().map(|name| async move {
        let some = made_ref.iter().find(|(place, _)| place.group_resource == *name);
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
        let said = match lists.get(&place.group_resource) {
            Some(Ok(found)) => match found.get(&place.name).map(|there| differs(prepared, line, body, there)) {
                Some(None) => {
                    checked.live += 1;
                    continue;
                }
                Some(Some(why)) => Said::Wrong(why),
                None => Said::Wrong("it was made and is gone again".to_owned()),
            },
            Some(Err(why)) => Said::Open(format!("it was made, but could not be read back: {why}")),
            None => Said::Open("it was made, but not looked at".to_owned()),
        };
        checked.note(place, said);
    }
}
