//! Objects by which Davit asks the storage for snapshots: a run makes them and takes them away again, and they are called
//! after it. They are in its point, because a restore needs them, but they say nothing about the namespace.

use super::csi::RUN_LABEL;
use crate::snapshot::object::{self, Saved};
use serde_json::Value;
use std::collections::BTreeSet;

const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
const CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";

/// The objects without those of that sort: `VolumeSnapshot`s of runs, and the contents that they name.
pub fn without_ours(objects: Vec<Saved>) -> Vec<Saved> {
    let mut contents = BTreeSet::new();
    for one in objects.iter().filter(|one| is_of(one, SNAPSHOTS)) {
        let body = one.body.open();
        if object::label(&body, RUN_LABEL).is_some() {
            let named = ["/status/boundVolumeSnapshotContentName", "/spec/source/volumeSnapshotContentName"];
            let named = named.iter().filter_map(|path| body.pointer(path).and_then(Value::as_str));
            contents.extend(named.map(str::to_owned));
        }
    }
    let ours = |one: &Saved| {
        let labelled = || object::label(&one.body.open(), RUN_LABEL).is_some();
        (is_of(one, SNAPSHOTS) && labelled())
            || (is_of(one, CONTENTS) && (contents.contains(&one.identity.name) || labelled()))
    };
    let ours: Vec<bool> = objects.iter().map(ours).collect();
    objects.into_iter().zip(ours).filter(|(_, ours)| !ours).map(|(one, _)| one).collect()
}

fn is_of(one: &Saved, kind: &str) -> bool {
    one.kind.group_resource() == kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::object::SavedKind;
    use serde_json::json;

    #[test]
    fn what_a_run_asked_for_goes_with_the_contents_that_it_names_and_nothing_else_does() {
        let saved = |kind: &str, name: &str, more: Value| {
            let (resource, group) = kind.split_once('.').unwrap_or((kind, ""));
            let kind = SavedKind {
                group: group.to_owned(),
                version: "v1".to_owned(),
                resource: resource.to_owned(),
                kind: String::new(),
                namespaced: kind != CONTENTS,
            };
            let mut body = json!({"metadata": {"name": name, "namespace": "shop"}});
            crate::snapshot::map::patch::merge(&mut body, &more);
            Saved::new(&kind, &body)
        };
        let run = json!({"metadata": {"labels": {RUN_LABEL: "r"}}});
        let mut bound = run.clone();
        bound["status"]["boundVolumeSnapshotContentName"] = json!("bound");
        let mut restored = run.clone();
        restored["spec"]["source"]["volumeSnapshotContentName"] = json!("restored");
        let theirs = json!({"status": {"boundVolumeSnapshotContentName": "theirs"}});
        let all = vec![
            saved(SNAPSHOTS, "davit-1", bound),
            saved(SNAPSHOTS, "davit-2", restored),
            saved(SNAPSHOTS, "theirs", theirs),
            saved(CONTENTS, "bound", json!({})),
            saved(CONTENTS, "restored", json!({})),
            saved(CONTENTS, "labelled", run.clone()),
            saved(CONTENTS, "theirs", json!({})),
            saved("configmaps", "bound", run),
        ];
        let left: Vec<String> = without_ours(all).iter().map(|one| one.identity.place().to_string()).collect();
        assert_eq!(left, [format!("{SNAPSHOTS}/theirs"), format!("{CONTENTS}/theirs"), "configmaps/bound".to_owned()]);
    }
}
