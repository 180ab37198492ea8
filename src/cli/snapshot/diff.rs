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
use crate::snapshot::restore::{self, Among};
use crate::snapshot::volumes::without_ours;
use serde::Serialize;
use std::collections::BTreeSet;

/// Compares.
pub(super) async fn run(args: &SnapshotDiffArgs, shell: &Shell) -> Result<Ended> {
    let mut left = from::read(&args.left, shell).await?;
    left.objects = without_ours(left.objects);
    let (right, objects, unseen) = if let Some(right) = &args.right {
        let right = from::read(right, shell).await?;
        let missing = right.missing.iter().map(|what| format!("{} lacks {what}", right.name)).collect();
        (right.name, right.objects, missing)
    } else {
        let cluster = cluster(&args.cluster, shell)?;
        let among = Among { kinds: &left.listed, namespaces: &left.namespaces, selector: left.selector.as_deref() };
        let live = restore::live_objects(&cluster, &left.objects, &among).await?;
        (format!("{} now", cluster.describe()), live.objects, live.unseen)
    };
    let objects = without_ours(objects);
    // Objects outside the namespace are compared where both sides have them: each side has only what it needed.
    let places: BTreeSet<_> = objects.iter().map(|one| one.identity.place()).collect();
    let Source { name, objects: left_objects, missing, .. } = left;
    let of_left: BTreeSet<_> = left_objects.iter().map(|one| one.identity.place()).collect();
    let both = |one: &Saved, other: &BTreeSet<_>| {
        one.kind.namespaced || args.right.is_none() || other.contains(&one.identity.place())
    };
    let left_objects: Vec<Saved> = left_objects.into_iter().filter(|one| both(one, &places)).collect();
    let objects: Vec<Saved> = objects.into_iter().filter(|one| both(one, &of_left)).collect();
    let schemas = schemas_of(left_objects.iter().chain(&objects));
    let diff = compare_sets(&left_objects, &objects, &schemas, &Keep::default());
    let lacks = missing.iter().map(|what| format!("{name} lacks {what}"));
    let unseen = lacks.chain(unseen).collect();
    Ended::with(&Compared { left: name, right, diff, unseen })
}

#[derive(Debug, Serialize)]
struct Compared {
    left: String,
    right: String,
    #[serde(flatten)]
    diff: Diff,
    unseen: Vec<String>,
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
        let (same, others) = (counted(self.diff.same, "object"), counted(self.diff.objects.len() as u64, "object"));
        page.line(match (self.diff.is_same(), self.unseen.is_empty()) {
            (true, true) => format!("{same}, no difference"),
            (true, false) => format!("{same}, no difference among what could be compared"),
            (false, _) => format!("{others} differ, {same} the same"),
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
