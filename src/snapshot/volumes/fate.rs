//! What becomes of a snapshot of the storage that a run of this repository had made: whether a point or another content
//! still needs it, and whether its run may still be under way.

use super::csi::{RUN_LABEL, contents};
use super::leftover::StorageSnapshot;
use crate::cluster::Kind;
use crate::snapshot::object;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Names of contents, and the run that each says it is of, by the snapshot of the storage that they stand for.
pub(super) type Standing = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// What it is decided by.
pub(super) struct Known {
    /// Points by the label of their run.
    pub(super) points: BTreeMap<String, String>,
    pub(super) handles: Standing,
    /// The same of groups.
    pub(super) groups: Standing,
    pub(super) oldest: Timestamp,
}

impl Known {
    pub(super) fn content(&self, body: &Value) -> StorageSnapshot {
        let name = object::name(body);
        let others = handle(body).and_then(|handle| self.handles.get(handle)).into_iter().flatten();
        let mut others = others.map(|(other, _)| other).filter(|other| *other != name);
        let why = match (self.made_by(body), others.next()) {
            (Ok(_), Some(other)) => Err(format!("the content {other} stands on the same snapshot of the storage")),
            (why, _) => why,
        };
        of(&contents(), body, why)
    }

    /// With the content of a group go the snapshots of all its members.
    pub(super) fn group_content(&self, kind: &Kind, body: &Value) -> StorageSnapshot {
        let (name, run) = (object::name(body), object::label(body, RUN_LABEL));
        let same = group_handle(body).and_then(|handle| self.groups.get(handle)).into_iter().flatten();
        let same = same.map(|(other, _)| other).filter(|other| *other != name);
        let members = member_handles(body).filter_map(|handle| self.handles.get(handle)).flatten();
        // Its own members go with it.
        let members = members.filter(|(_, of)| of.as_deref() != run).map(|(other, _)| other);
        let other = same.chain(members).next();
        let why = match (self.made_by(body), other) {
            (Ok(_), Some(other)) => Err(format!("the content {other} stands on a snapshot of the storage in it")),
            (why, _) => why,
        };
        of(kind, body, why)
    }

    /// What lives as long as the lists of its run. One that a restore made has another source.
    pub(super) fn begun(&self, kind: &Kind, body: &Value, source: &str) -> Option<StorageSnapshot> {
        body.pointer(source)?;
        let why = if self.is_old(body) {
            Ok("its run is over and left it behind".to_owned())
        } else {
            Err("its run may still be under way".to_owned())
        };
        Some(of(kind, body, why))
    }

    /// Why the run that made it needs it no more, or why it does.
    fn made_by(&self, body: &Value) -> Result<String, String> {
        let run = object::label(body, RUN_LABEL).unwrap_or_default();
        match self.points.get(run) {
            Some(point) => Err(format!("{point} needs it")),
            None if !self.is_old(body) => Err("its run may still be under way".to_owned()),
            None => Ok("no point names its run".to_owned()),
        }
    }

    fn is_old(&self, body: &Value) -> bool {
        let made = body.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
        made.and_then(|made| made.parse::<Timestamp>().ok()).is_some_and(|made| made < self.oldest)
    }
}

fn of(kind: &Kind, body: &Value, why: Result<String, String>) -> StorageSnapshot {
    StorageSnapshot {
        kind: kind.kind.clone(),
        namespace: object::namespace(body).map(str::to_owned),
        name: object::name(body).to_owned(),
        run: object::label(body, RUN_LABEL).unwrap_or_default().to_owned(),
        goes: why.is_ok(),
        why: why.unwrap_or_else(|why| why),
        uid: object::uid(body).to_owned(),
        at: kind.clone(),
    }
}

pub(super) fn standing(all: &[Value], handle: fn(&Value) -> Option<&str>) -> Standing {
    let mut standing = Standing::new();
    for body in all {
        if let Some(handle) = handle(body) {
            let run = object::label(body, RUN_LABEL).map(str::to_owned);
            standing.entry(handle.to_owned()).or_default().insert(object::name(body).to_owned(), run);
        }
    }
    standing
}

pub(super) fn handle(body: &Value) -> Option<&str> {
    let of = |path| body.pointer(path).and_then(Value::as_str);
    of("/status/snapshotHandle").or_else(|| of("/spec/source/snapshotHandle"))
}

pub(super) fn group_handle(body: &Value) -> Option<&str> {
    let of = |path| body.pointer(path).and_then(Value::as_str);
    of("/status/volumeGroupSnapshotHandle")
        .or_else(|| of("/spec/source/groupSnapshotHandles/volumeGroupSnapshotHandle"))
}

/// The snapshots of the storage in a group; v1beta1 has another name for their list.
fn member_handles(body: &Value) -> impl Iterator<Item = &str> {
    let lists = ["/status/volumeSnapshotInfoList", "/status/volumeSnapshotHandlePairList"];
    let members = lists.into_iter().filter_map(|list| body.pointer(list)?.as_array()).flatten();
    members.filter_map(|member| member["snapshotHandle"].as_str())
}

#[cfg(test)]
mod tests {
    use super::super::csi::snapshots;
    use super::*;
    use serde_json::json;

    fn content(name: &str, run: &str, made: &str, handle: &str) -> Value {
        json!({"metadata": {"name": name, "uid": "u", "creationTimestamp": made, "labels": {RUN_LABEL: run}},
            "status": {"snapshotHandle": handle}})
    }

    #[test]
    fn only_what_no_point_and_nothing_else_needs_goes_and_not_before_its_run_must_be_over() {
        let (old, young) = ("2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
        let all = [
            content("needed", "r1", old, "s1"),
            content("free", "r2", old, "s2"),
            content("young", "r3", young, "s3"),
            content("shared", "r4", old, "s4"),
            json!({"metadata": {"name": "restored"}, "spec": {"source": {"snapshotHandle": "s4"}}}),
        ];
        let points = [("r1".to_owned(), "shop-1".to_owned())].into();
        let known = Known {
            points,
            handles: standing(&all, handle),
            groups: Standing::new(),
            oldest: "2026-01-03T00:00:00Z".parse().unwrap(),
        };
        let fates: Vec<_> = all[..4].iter().map(|body| known.content(body)).map(|one| (one.goes, one.why)).collect();
        assert_eq!(
            fates,
            [
                (false, "shop-1 needs it".to_owned()),
                (true, "no point names its run".to_owned()),
                (false, "its run may still be under way".to_owned()),
                (false, "the content restored stands on the same snapshot of the storage".to_owned()),
            ]
        );
    }

    #[test]
    fn a_group_goes_with_its_members_and_not_while_another_content_stands_on_one_of_them() {
        let old = "2026-01-01T00:00:00Z";
        let group = |name: &str, run: &str, list: &str, handles: [&str; 2]| {
            json!({"metadata": {"name": name, "uid": "u", "creationTimestamp": old, "labels": {RUN_LABEL: run}},
                "status": {"volumeGroupSnapshotHandle": format!("g-{name}"),
                    list: [{"snapshotHandle": handles[0]}, {"snapshotHandle": handles[1]}]}})
        };
        let (infos, pairs) = ("volumeSnapshotInfoList", "volumeSnapshotHandlePairList");
        let mut groups = vec![
            group("needed", "r1", infos, ["s1", "s2"]),
            group("free", "r2", infos, ["s3", "s4"]),
            group("restored", "r3", infos, ["s5", "s6"]),
            group("restored-beta1", "r4", pairs, ["s7", "s8"]),
            group("twice", "r5", infos, ["s9", "s10"]),
        ];
        groups.push(json!({"metadata": {"name": "by-hand"}, "spec": {"source": {"groupSnapshotHandles": {"volumeGroupSnapshotHandle": "g-twice"}}}}));
        let all = [
            content("member", "r2", old, "s3"),
            json!({"metadata": {"name": "copy-1"}, "spec": {"source": {"snapshotHandle": "s6"}}}),
            json!({"metadata": {"name": "copy-2"}, "spec": {"source": {"snapshotHandle": "s7"}}}),
        ];
        let known = Known {
            points: [("r1".to_owned(), "shop-1".to_owned())].into(),
            handles: standing(&all, handle),
            groups: standing(&groups, group_handle),
            oldest: "2026-01-03T00:00:00Z".parse().unwrap(),
        };
        let kind = Kind::known(
            "groupsnapshot.storage.k8s.io",
            "v1",
            "volumegroupsnapshotcontents",
            "VolumeGroupSnapshotContent",
        );
        let fates: Vec<_> =
            groups[..5].iter().map(|body| known.group_content(&kind, body)).map(|one| (one.goes, one.why)).collect();
        let stands = |on: &str| (false, format!("the content {on} stands on a snapshot of the storage in it"));
        let free = (true, "no point names its run".to_owned());
        let needed = (false, "shop-1 needs it".to_owned());
        assert_eq!(fates, [needed, free, stands("copy-1"), stands("copy-2"), stands("by-hand")]);
    }

    #[test]
    fn a_volume_snapshot_goes_when_its_run_left_it_behind_and_never_if_a_restore_made_it() {
        let known = Known {
            points: BTreeMap::new(),
            handles: Standing::new(),
            groups: Standing::new(),
            oldest: "2026-01-03T00:00:00Z".parse().unwrap(),
        };
        let path = "/spec/source/persistentVolumeClaimName";
        let snapshot = |body: &Value| known.begun(&snapshots(), body, path);
        let body = |source: Value, made: &str| json!({"metadata": {"name": "s", "namespace": "shop", "creationTimestamp": made}, "spec": {"source": source}});
        let claim = json!({"persistentVolumeClaimName": "data"});
        assert!(snapshot(&body(claim.clone(), "2026-01-01T00:00:00Z")).unwrap().goes);
        assert!(!snapshot(&body(claim, "2026-01-04T00:00:00Z")).unwrap().goes);
        let content = json!({"volumeSnapshotContentName": "c"});
        assert_eq!(snapshot(&body(content, "2026-01-01T00:00:00Z")), None);
    }
}
