//! The files of volumes: into the claims that this restore made, and into no others.

use super::super::plan::Action;
use super::super::volumes::{self, Into, Stored};
use super::run::Run;
use crate::humane::{bytes, counted};

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
    let mut whole = true;
    for at in claims {
        let place = &lines[at].place;
        let into = Into {
            cluster: &run.means.cluster,
            clock: &run.means.clock,
            namespace: place.namespace.as_deref().unwrap_or_default(),
            claim: &place.name,
            run: manager,
        };
        match volumes::fill(&into, stored).await {
            Ok(moved) if moved.left_alone => {
                run.notes.push(format!("{place}: its volume holds files already and was left as it is"));
            }
            Ok(moved) => {
                let files = counted(moved.entries, "file");
                run.notes.push(format!("{place}: {files} are back in its volume, {}", bytes(moved.bytes)));
                if moved.unset > 0 {
                    let examples = moved.examples.join("; ");
                    run.notes.push(format!(
                        "{place}: {} could not be set: {examples}",
                        counted(moved.unset, "owner, mode or attribute")
                    ));
                }
            }
            Err(why) => {
                whole = false;
                let why = format!("the files of its volume are not back: {why}; nothing that uses it was begun");
                run.failed.insert(at, (why, false));
            }
        }
    }
    whole
}
