//! A cluster: what it serves, and whether a namespace of it could be saved and restored.

use super::findings::Findings;
use crate::cli::args::{ClusterArgs, DoctorArgs};
use crate::cli::shell::Shell;
use crate::cli::snapshot::{connect, create, proof};
use crate::cluster::{ApiError, Cluster, Discovered, Kind, group_resource};
use crate::error::Result;
use crate::humane::counted;
use crate::snapshot::collect::{self, Request, SnapshotPlan};
use crate::snapshot::plan::{DeadWebhook, Options};
use crate::snapshot::restore::{IN_FLIGHT, Looked, Means, look as look_around};
use crate::snapshot::verify::leftovers;
use crate::snapshot::volumes;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const CHECK: &str = "cluster";
const KINDS: &str = "kinds of the cluster";
const STORAGE: &str = "volume snapshots";
const WEBHOOKS: &str = "webhooks";
const SCRATCH: &str = "scratch namespaces";
const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
const GROUP_SNAPSHOTS: &str = "volumegroupsnapshots.groupsnapshot.storage.k8s.io";
/// Kinds that are named in one line.
const SHOWN: usize = 8;

/// A verb, a group, and a kind that may name a part; whether it is needed in the namespace, or in the cluster.
type Right = (&'static str, &'static str, &'static str, bool);

/// What a part of a snapshot changes while it is made.
struct Wish {
    what: &'static str,
    component: &'static str,
    rights: &'static [Right],
}

const EXEC: [Right; 2] = [("get", "", "pods/exec", true), ("create", "", "pods/exec", true)];
const HOOKS: Wish = Wish { what: "hooks", component: "hooks", rights: &EXEC };
const FILES: Wish = Wish {
    what: "--volumes files",
    component: "volumes",
    rights: &[("create", "", "pods", true), ("delete", "", "pods", true), EXEC[0], EXEC[1]],
};
const CSI: Wish = Wish {
    what: "--volumes csi",
    component: "volumes",
    rights: &[
        ("create", "snapshot.storage.k8s.io", "volumesnapshots", true),
        ("delete", "snapshot.storage.k8s.io", "volumesnapshots", true),
        ("patch", "snapshot.storage.k8s.io", "volumesnapshotcontents", false),
    ],
};
const GROUPS: Wish = Wish {
    what: "groups of volumes with --volumes csi",
    component: "volumes",
    rights: &[
        ("create", "groupsnapshot.storage.k8s.io", "volumegroupsnapshots", true),
        ("delete", "groupsnapshot.storage.k8s.io", "volumegroupsnapshots", true),
        ("patch", "snapshot.storage.k8s.io", "volumesnapshots", true),
        ("patch", "groupsnapshot.storage.k8s.io", "volumegroupsnapshotcontents", false),
        ("list", "groupsnapshot.storage.k8s.io", "volumegroupsnapshotclasses", false),
    ],
};

/// The namespaces to look at; nothing where no cluster is meant.
pub(super) fn meant(args: &DoctorArgs, shell: &Shell) -> Option<BTreeSet<String>> {
    let named = args.cluster.kubeconfig.is_some() || args.cluster.context.is_some();
    if let Some(namespace) = &args.namespace {
        return Some([namespace.clone()].into());
    }
    if args.source.is_some() {
        return named.then(BTreeSet::new);
    }
    let hooks = shell.settings.hooks.iter().map(|hook| hook.value.namespace.clone());
    let namespaces: BTreeSet<String> = hooks.collect();
    (named || !namespaces.is_empty()).then_some(namespaces)
}

/// Looks at the cluster, and at these namespaces.
pub(super) async fn look(findings: &mut Findings, shell: &Shell, args: &ClusterArgs, namespaces: &BTreeSet<String>) {
    let cluster = match connect::cluster(args, shell) {
        Ok(cluster) => cluster,
        Err(error) => return findings.error(CHECK, &error),
    };
    match cluster.version().await {
        Ok(version) => findings.ok(CHECK, format!("{}: Kubernetes {}", cluster.describe(), version.git)),
        Err(why) => return findings.error(CHECK, &why.during(format!("asking {} who it is", cluster.describe()))),
    }
    let found = match cluster.discover().await {
        Ok(found) => found,
        Err(why) => return findings.error(KINDS, &why.during("asking the cluster what it serves")),
    };
    served(findings, &found);
    let knows = |name: &str| found.kinds.iter().any(|kind| kind.group_resource() == name);
    snapshots_of_the_storage(findings, &cluster, knows(SNAPSHOTS)).await;
    if knows(GROUP_SNAPSHOTS) {
        groups_of_volumes(findings, &cluster).await;
    }
    left_by_proofs(findings, &cluster, shell).await;
    let storage = [(SNAPSHOTS, &CSI), (GROUP_SNAPSHOTS, &GROUPS)].into_iter().filter(|(kind, _)| knows(kind));
    let storage: Vec<&Wish> = storage.map(|(_, wish)| wish).collect();
    let around = match around(shell, &cluster).await {
        Ok(around) => around,
        Err(error) => return findings.error(WEBHOOKS, &error),
    };
    let unseen = around.warnings.iter().filter(|warning| warning.contains("webhooks"));
    unseen.for_each(|why| findings.warn(WEBHOOKS, why.clone(), "bind the role davit-backup-cluster to this account"));
    if namespaces.is_empty() {
        let names: Vec<&str> = around.live.webhooks.iter().map(|webhook| webhook.name.as_str()).collect();
        match names.as_slice() {
            [] => findings.ok(WEBHOOKS, "none that must be asked has nobody behind it"),
            names => findings.warn(
                WEBHOOKS,
                format!("nobody is behind {}, and without them nothing is let in", some(names)),
                "--namespace NAMESPACE says what that keeps out of one",
            ),
        }
    }
    for namespace in namespaces {
        inside(findings, shell, &cluster, namespace, &storage).await;
        keeping_out(findings, &cluster, namespace, &found.kinds, &around.live.webhooks).await;
    }
}

/// What the cluster serves, and what it should.
fn served(findings: &mut Findings, found: &Discovered) {
    for one in &found.unavailable {
        let what = match &one.resource {
            Some(resource) => group_resource(&one.group, resource),
            None => format!("everything of {}/{}", one.group, one.version),
        };
        findings.fail(
            KINDS,
            format!("{what} cannot be saved: {}", one.why),
            "until that is well snapshots are incomplete, unless --exclude leaves it out",
        );
    }
    for note in &found.notes {
        findings.warn(KINDS, note.clone(), "bind the role davit-backup-cluster to this account");
    }
    if found.unavailable.is_empty() {
        let kinds = counted(found.kinds.len() as u64, "kind");
        findings.ok(KINDS, format!("{kinds}, and every server that serves them answers"));
    }
}

/// Whether storage could be asked for snapshots.
async fn snapshots_of_the_storage(findings: &mut Findings, cluster: &Cluster, known: bool) {
    if !known {
        return findings.ok(STORAGE, "the cluster knows none, so --volumes csi cannot be used there");
    }
    match volumes::snapshot_classes(cluster).await {
        Err(why) => findings.warn(STORAGE, why, "without --volumes csi it is not needed"),
        Ok(classes) if classes.is_empty() => findings.warn(
            STORAGE,
            "no driver has one class that is meant, so --volumes csi cannot be used there",
            "make a VolumeSnapshotClass, or mark one as the default",
        ),
        Ok(classes) => findings.ok(STORAGE, format!("by class {}", of_drivers(&classes))),
    }
}

/// Whether storage could be asked for snapshots of several volumes at one instant.
async fn groups_of_volumes(findings: &mut Findings, cluster: &Cluster) {
    match volumes::group_classes(cluster).await {
        None => {}
        Some(Err(why)) => findings.warn(STORAGE, why, "without groups of volumes it is not needed"),
        Some(Ok(classes)) if classes.is_empty() => {
            findings.ok(STORAGE, "no driver has one class for groups, so volumes share no instant there");
        }
        Some(Ok(classes)) => findings.ok(STORAGE, format!("groups by class {}", of_drivers(&classes))),
    }
}

fn of_drivers(classes: &BTreeMap<String, String>) -> String {
    let classes: Vec<String> = classes.iter().map(|(driver, class)| format!("{class} for {driver}")).collect();
    classes.join(", ")
}

/// What proofs that were killed have left.
async fn left_by_proofs(findings: &mut Findings, cluster: &Cluster, shell: &Shell) {
    let now = shell.clock.now();
    match leftovers(cluster).await {
        Err(why) => findings.warn(
            SCRATCH,
            format!("whether a proof that was killed left one is not known: {why}"),
            "bind the role davit-backup-cluster to this account",
        ),
        Ok(found) if found.is_empty() => findings.ok(SCRATCH, "no proof that was killed left one"),
        Ok(found) => found.iter().for_each(|one| {
            let told = one.told(now);
            let hint = if one.is_over(now) {
                "the next davit snapshot verify --depth restored takes it away".to_owned()
            } else {
                proof::remove_hint(&one.name)
            };
            findings.warn(SCRATCH, format!("a proof that was killed may have left {told}"), hint);
        }),
    }
}

async fn around(shell: &Shell, cluster: &Cluster) -> Result<Looked> {
    let means = Means {
        cluster: cluster.clone(),
        clock: shell.clock.clone(),
        progress: shell.progress(),
        cancel: shell.stop.gently.clone(),
        in_flight: IN_FLIGHT,
    };
    look_around(&means, &[], &Options::default()).await
}

/// Plans a snapshot that is not made, and asks what this account may not do of it.
async fn inside(findings: &mut Findings, shell: &Shell, cluster: &Cluster, namespace: &str, storage: &[&Wish]) {
    let check = format!("saving {namespace}");
    let mut request = Request::new(namespace);
    request.rules = create::rules(namespace, shell);
    let plan = match collect::plan(request, cluster).await {
        Ok(plan) => plan,
        Err(error) => return findings.error(&check, &error),
    };
    match plan.unlisted().await {
        Err(why) => return findings.error(&check, &why.during("asking what this account may list")),
        Ok(lacks) if lacks.is_empty() => {
            let kinds = counted(plan.kinds.len() as u64, "kind");
            findings.ok(&check, format!("this account may list {kinds} in it, and what they lean on"));
        }
        Ok(lacks) => findings.fail(
            &check,
            format!("this account may not list {}: snapshots are incomplete", some(&lacks)),
            "bind it the roles of deploy/base: davit-backup-namespace there, davit-backup-cluster in the cluster",
        ),
    }
    let mut wishes = vec![(&HOOKS, !plan.hooks.is_empty()), (&FILES, false)];
    wishes.extend(storage.iter().map(|wish| (*wish, false)));
    for (wish, is_needed) in wishes {
        match lacking(&plan, wish).await {
            Err(why) => return findings.error(&check, &why.during("asking what this account may do")),
            Ok(lacks) => told(findings, &check, wish, &lacks, is_needed),
        }
    }
}

/// What of its rights this account does not have.
async fn lacking(plan: &SnapshotPlan, wish: &Wish) -> std::result::Result<Vec<String>, ApiError> {
    let mut lacks = Vec::new();
    for (verb, group, resource, inside) in wish.rights {
        let namespace = inside.then_some(plan.request.namespace.as_str());
        if !plan.cluster.may(verb, (group, resource), namespace).await? {
            lacks.push(format!("{verb} {}", group_resource(group, resource)));
        }
    }
    Ok(lacks)
}

fn told(findings: &mut Findings, check: &str, wish: &Wish, lacks: &[String], is_needed: bool) {
    let what = wish.what;
    if lacks.is_empty() {
        return findings.ok(check, format!("this account may do what {what} takes"));
    }
    let detail = format!("for {what} this account lacks {}", some(lacks));
    let hint = format!("deploy/components/{} has it", wish.component);
    if is_needed {
        findings.fail(check, detail, hint);
    } else {
        findings.warn(check, detail, format!("{hint}; it is not needed otherwise"));
    }
}

/// Webhooks with nobody behind them, as far as they stand before this namespace.
async fn keeping_out(
    findings: &mut Findings,
    cluster: &Cluster,
    namespace: &str,
    kinds: &[Kind],
    webhooks: &[DeadWebhook],
) {
    let check = format!("restoring {namespace}");
    let body = match cluster.one(&Kind::namespaces(), None, namespace).await {
        Ok(body) => body.unwrap_or(Value::Null),
        Err(why) => return findings.error(&check, &why.during(format!("looking at the namespace {namespace}"))),
    };
    let inside = || kinds.iter().filter(|kind| kind.namespaced && kind.verbs.contains("create"));
    let mut free = true;
    for webhook in webhooks {
        let kept = inside().filter(|kind| webhook.keeps_out(kind, (namespace, &body)));
        let kept: Vec<String> = kept.map(Kind::group_resource).collect();
        if !kept.is_empty() {
            free = false;
            findings.fail(
                &check,
                format!("the webhook {} lets in no {}: {}", webhook.name, some(&kept), webhook.why),
                "bring back what answers it, or delete its configuration before a restore",
            );
        }
    }
    if free {
        findings.ok(&check, "no webhook with nobody behind it stands before it");
    }
}

/// Some names, and how many there are besides.
fn some<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
