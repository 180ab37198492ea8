//! The files of volumes: into the claims that this restore made, and into no others.

use super::super::mover::Moved;
use super::super::object::Place;
use super::super::plan::Action;
use super::super::volumes::{self, Into, Stored};
use super::run::Run;
use crate::humane::{bytes, counted};
use std::collections::{BTreeMap, BTreeSet};

const CLAIMS: &str = "persistentvolumeclaims";

/// Fills every claim that was made; false if one of them is not whole, and nothing after it should begin.
pub(super) async fn fill(run: &mut Run<'_>, stored: &Stored) -> bool {
    let lines = &run.prepared.plan.lines;
    let manager = &run.prepared.options.manager;
    // One that an interrupted run of this restore made is equal by now; another one has data of its own.
    let ours = |at: &usize| match &lines[*at].action {
        Action::Create => true,
        Action::Same => lines[*at].is_managed_by(manager),
        _ => false,
    };
    let claims = run.done.iter().copied().filter(|at| lines[*at].place.group_resource == CLAIMS && ours(at));
    let claims: Vec<usize> = claims.filter(|at| stored.has(&lines[*at].place.name)).collect();
    let places: BTreeMap<&Place, usize> = claims.iter().map(|at| (&lines[*at].place, *at)).collect();
    let into = Into { cluster: &run.means.cluster, clock: &run.means.clock, run: manager, stored };
    let done: BTreeSet<&Place> = run.done.iter().map(|at| &lines[*at].place).collect();
    let is_there = |place: &Place| done.contains(place) || run.prepared.live.objects.contains_key(place);
    let mut filled = Vec::new();
    for crew in run.prepared.users.crews(places.keys().copied(), is_there) {
        filled.extend(volumes::fill(&into, &crew, is_there).await);
    }
    let mut whole = true;
    for (place, moved) in filled {
        match moved {
            Ok(moved) => told(place, &moved, &mut run.notes),
            Err(why) => {
                whole = false;
                let why = format!("the files of its volume are not back: {why}; nothing that uses it was begun");
                run.failed.extend(places.get(place).map(|at| (*at, (why, false))));
            }
        }
    }
    whole
}

fn told(place: &Place, moved: &Moved, notes: &mut Vec<String>) {
    if moved.left_alone {
        return notes.push(format!("{place}: its volume holds files already and was left as it is"));
    }
    let files = counted(moved.entries, "file");
    notes.push(format!("{place}: {files} are back in its volume, {}", bytes(moved.bytes)));
    if moved.unset > 0 {
        let examples = moved.examples.join("; ");
        notes.push(format!(
            "{place}: {} could not be set: {examples}",
            counted(moved.unset, "owner, mode or attribute")
        ));
    }
}
