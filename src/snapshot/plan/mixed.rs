//! A namespace that is there already, with objects of its own, when a snapshot is restored into it.

use super::super::clean;
use super::super::object::{self, Place};
use super::{Live, Plan};
use crate::humane::counted;
use serde_json::Value;
use std::collections::BTreeSet;

/// Tells of objects that are in the namespace and not in the snapshot: what is restored comes to stand among them. What a
/// controller made and what an interrupted run of the same restore made are no strangers.
pub fn mixed(plan: &Plan, live: &Live, namespace: &str) -> Option<String> {
    let planned: BTreeSet<&Place> = plan.lines.iter().filter(|line| !prunes(line)).map(|line| &line.place).collect();
    let stranger = |place: &Place, body: &Value| {
        clean::made_by_the_cluster(&place.group_resource, body).is_none()
            && !clean::is_default_account(&place.group_resource, &place.name)
            && !object::owners(body).iter().any(|owner| owner.controller)
    };
    let here = live.objects.iter().filter(|(place, _)| place.namespace.as_deref() == Some(namespace));
    let strangers: Vec<&Place> = here
        .filter(|(place, body)| stranger(place, &body.open()) && !planned.contains(place))
        .map(|(place, _)| place)
        .collect();
    let first = strangers.first()?;
    let stay = if plan.lines.iter().any(prunes) { "--prune removes what it may" } else { "they stay" };
    Some(format!(
        "the namespace {namespace} is there already and has {} that the snapshot does not have, {first} among them; {stay}, and what is restored \
         comes to stand beside them (hint: --into a namespace that is not there yet keeps the two apart)",
        counted(strangers.len() as u64, "object")
    ))
}

fn prunes(line: &super::Line) -> bool {
    line.action == super::Action::Prune
}
