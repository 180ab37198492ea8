//! `davit snapshot diff POINT [POINT|--live]`: what differs, object by object.

use super::connect::cluster;
use super::from::{self, Source};
use crate::cli::args::SnapshotDiffArgs;
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::shell::Shell;
use crate::error::{Kind, Result};
use crate::humane::counted;
use crate::snapshot::clean::Keep;
use crate::snapshot::diff::{Diff, compare_sets, schemas_of};
use crate::snapshot::object::Saved;
use crate::snapshot::plan::is_provisioned;
use crate::snapshot::restore::{self, Among};
use crate::snapshot::volumes::without_ours;
use serde::Serialize;
use std::collections::BTreeSet;

/// Compares.
pub(super) async fn run(args: &SnapshotDiffArgs, shell: &Shell) -> Result<Ended> {
    let mut left = from::read(&args.left, shell).await?;
    left.objects = without_ours(left.objects);
    let (right, objects, unseen, with_cluster) = if let Some(right) = &args.right {
        let right = from::read(right, shell).await?;
        let missing = right.missing.iter().map(|what| format!("{} lacks {what}", right.name)).collect();
        (right.name, right.objects, missing, right.with_cluster)
    } else {
        let cluster = cluster(&args.cluster, shell)?;
        let among = Among { kinds: &left.listed, namespaces: &left.namespaces, selector: left.selector.as_deref() };
        let live = restore::live_objects(&cluster, &left.objects, &among).await?;
        // What of the cluster the point has is looked for; what it does not have is not.
        (format!("{} now", cluster.describe()), live.objects, live.unseen, false)
    };
    let objects = without_ours(objects);
    let places: BTreeSet<_> = objects.iter().map(|one| one.identity.place()).collect();
    let Source { name, objects: left_objects, missing, with_cluster: left_with_cluster, .. } = left;
    let of_left: BTreeSet<_> = left_objects.iter().map(|one| one.identity.place()).collect();
    // Objects outside the namespace came or went where each side has all that it leaned on; else they are compared where
    // both sides have them.
    let whole = left_with_cluster && with_cluster;
    let both = |one: &Saved, other: &BTreeSet<_>| {
        one.kind.namespaced || args.right.is_none() || whole || other.contains(&one.identity.place())
    };
    let notes = not_looked_for(left_with_cluster, args.right.is_some().then_some(with_cluster));
    // A volume that was provisioned for its claim went with it, and a claim that came back has another one: a restore makes
    // neither, so neither is a difference. One that went from under a claim that still names it is a loss.
    let named = named_volumes(&objects);
    let went = |one: &Saved| {
        one.kind.group_resource() == "persistentvolumes"
            && !places.contains(&one.identity.place())
            && !named.contains(&one.identity.name)
            && is_provisioned(&one.body.open())
    };
    let came = |one: &Saved| {
        one.kind.group_resource() == "persistentvolumes"
            && !of_left.contains(&one.identity.place())
            && is_provisioned(&one.body.open())
    };
    let left_objects: Vec<Saved> = left_objects.into_iter().filter(|one| both(one, &places) && !went(one)).collect();
    let objects: Vec<Saved> = objects.into_iter().filter(|one| both(one, &of_left) && !came(one)).collect();
    let schemas = schemas_of(left_objects.iter().chain(&objects));
    let diff = compare_sets(&left_objects, &objects, &schemas, &Keep::default());
    let lacks = missing.iter().map(|what| format!("{name} lacks {what}"));
    let unseen = lacks.chain(unseen).collect();
    Ended::with(&Compared { left: name, right, diff, unseen, notes })
}

/// Which sort of difference nobody looked for. `right` says whether the other point has what it leaned on, if it is one.
fn not_looked_for(left: bool, right: Option<bool>) -> Vec<String> {
    let words = match (left, right) {
        (true, None) => {
            "objects of the cluster that refer to the namespace since then, such as a new ClusterRoleBinding, are not looked \
             for; a new point has them, and a diff of both points tells them"
        }
        (true, Some(false)) | (false, Some(true)) => {
            "objects of the cluster are compared only where both have them: one of the two does not have all that its \
             namespace leaned on"
        }
        _ => return Vec::new(),
    };
    vec![words.to_owned()]
}

/// The volumes that claims name.
fn named_volumes(objects: &[Saved]) -> BTreeSet<String> {
    let claims = objects.iter().filter(|one| one.kind.group_resource() == "persistentvolumeclaims");
    claims.filter_map(|one| Some(one.body.open().pointer("/spec/volumeName")?.as_str()?.to_owned())).collect()
}

#[derive(Debug, Serialize)]
struct Compared {
    left: String,
    right: String,
    #[serde(flatten)]
    diff: Diff,
    unseen: Vec<String>,
    notes: Vec<String>,
}

impl Document for Compared {
    fn text(&self) -> String {
        let mut page = Page::default();
        page.line(format!("- {}", self.left));
        page.line(format!("+ {}", self.right));
        for line in self.diff.lines() {
            page.line(line);
        }
        for line in &self.unseen {
            page.line(format!("not compared: {line}"));
        }
        for note in &self.notes {
            page.line(format!("note: {note}"));
        }
        let (same, others) = (counted(self.diff.same, "object"), counted(self.diff.objects.len() as u64, "object"));
        page.line(match (self.diff.is_same(), self.unseen.is_empty()) {
            (true, true) => format!("{same}, no difference"),
            (true, false) => format!("{same}, no difference among what could be compared"),
            (false, _) => {
                let differ = if self.diff.objects.len() == 1 { "differs" } else { "differ" };
                format!("{others} {differ}, {same} the same")
            }
        });
        page.text()
    }

    fn exit(&self) -> Exit {
        match (self.diff.is_same(), self.unseen.is_empty()) {
            (true, true) => Exit::Done,
            (false, _) => Exit::Not(Kind::CheckFailed),
            // What could not be looked at may differ.
            (true, false) => Exit::Not(Kind::Undecided),
        }
    }
}
