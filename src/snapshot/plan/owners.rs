//! References to owners, with the uid that each owner will have here.

use super::super::object::{self, Place, Saved};
use super::super::order::Order;
use super::{Action, Line, Live};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Where the uid of an owner comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerAt {
    /// The line of this number made it before.
    Before(usize),
    /// The line of this number makes it later; the reference is patched in then.
    Later(usize),
    /// It is live and has this uid.
    Live(String),
}

/// A reference to an owner, without its uid.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnerLink {
    /// Where the uid comes from.
    pub at: OwnerAt,
    /// The reference.
    pub reference: Value,
}

impl OwnerLink {
    /// The reference with a uid.
    pub fn with(&self, uid: &str) -> Value {
        let mut reference = self.reference.clone();
        if let Some(map) = reference.as_object_mut() {
            map.insert("uid".to_owned(), json!(uid));
        }
        reference
    }
}

/// Who owns what, as it was saved.
pub(super) struct Owned {
    /// The number of each object's line, by the uid it had.
    by_uid: HashMap<String, usize>,
    /// The references of each object.
    references: Vec<Vec<Value>>,
}

impl Owned {
    /// Of the saved objects of the lines, in the same order.
    pub(super) fn of(asked: &[&Saved]) -> Self {
        let references = |saved: &&Saved| {
            let body = saved.body.open();
            let all = object::metadata(&body).and_then(|metadata| metadata.get("ownerReferences")?.as_array());
            all.cloned().unwrap_or_default()
        };
        Self {
            by_uid: asked.iter().enumerate().map(|(at, saved)| (saved.identity.uid.clone(), at)).collect(),
            references: asked.iter().map(references).collect(),
        }
    }
}

/// Finds the owners of the objects that are made.
pub(super) fn link(lines: &mut [Line], saved: &Owned, live: &Live, order: &Order) {
    for at in 0..lines.len() {
        if !matches!(lines[at].action, Action::Create | Action::Recreate | Action::Same) {
            continue;
        }
        let mut found_owners = Vec::new();
        let mut notes = Vec::new();
        for reference in &saved.references[at] {
            let owner = saved.by_uid.get(reference["uid"].as_str().unwrap_or_default()).copied();
            let found = owner
                .and_then(|owner| place_of(owner, at, lines, order))
                .or_else(|| living(reference, &lines[at].place, live));
            match found {
                Some(place) => found_owners.push(OwnerLink { at: place, reference: without_uid(reference) }),
                None => {
                    notes.push(format!("its owner {} is not restored; the reference is left out", named(reference)));
                }
            }
        }
        lines[at].owners = found_owners;
        if lines[at].action != Action::Same {
            lines[at].notes.extend(notes);
        }
    }
}

fn place_of(owner: usize, child: usize, lines: &[Line], order: &Order) -> Option<OwnerAt> {
    match &lines[owner].action {
        Action::Create | Action::Recreate if order.before[child].contains(&owner) => Some(OwnerAt::Before(owner)),
        Action::Create | Action::Recreate => Some(OwnerAt::Later(owner)),
        Action::Refuse(_) | Action::Prune => None,
        _ => lines[owner].live.is_some().then(|| OwnerAt::Live(lines[owner].live_uid())),
    }
}

/// An owner that is not in the snapshot, but lives under its name where the object goes.
fn living(reference: &Value, owned: &Place, live: &Live) -> Option<OwnerAt> {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (api_version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
    let here = |place: &Place| place.name == name && (place.namespace.is_none() || place.namespace == owned.namespace);
    let mut named = live.objects.iter().filter(|(place, _)| here(place)).map(|(_, body)| body.open());
    let found =
        named.find(|body| body["kind"] == kind && body["apiVersion"] == api_version && !object::is_terminating(body));
    found.map(|body| OwnerAt::Live(object::uid(&body).to_owned()))
}

fn without_uid(reference: &Value) -> Value {
    let mut reference = reference.clone();
    if let Some(map) = reference.as_object_mut() {
        map.remove("uid");
    }
    reference
}

fn named(reference: &Value) -> String {
    let text = |field: &str| reference[field].as_str().unwrap_or_default().to_owned();
    format!("{} {}", text("kind"), text("name"))
}
