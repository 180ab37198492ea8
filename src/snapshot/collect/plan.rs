//! What a snapshot will list, and what it will not: reads, decides, changes nothing.

use super::hooks::{self, Hook};
use super::request::Request;
use super::rules;
use crate::cluster::{ApiError, Cluster, Fault, Kind, Query, Unavailable, namespace_identity};
use crate::error::{Error, Kind as Ending, Result};
use crate::id::SourceName;
use crate::snapshot::facts::Missing;
use crate::snapshot::restore;
use crate::snapshot::volumes::{self, By, Claim, Volumes};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A name is suggested if it is this near.
const NEAR: usize = 3;

/// A snapshot that was decided and not begun.
#[derive(Debug)]
pub struct SnapshotPlan {
    /// What was asked for.
    pub request: Request,
    /// The source.
    pub source: SourceName,
    /// What the source is bound to.
    pub identity: String,
    /// The server.
    pub cluster: Cluster,
    /// Its version.
    pub server_version: String,
    /// The uid of its `kube-system` namespace.
    pub cluster_uid: String,
    /// The namespace's uid.
    pub namespace_uid: String,
    /// The field managers of restores that made the namespace or changed it.
    pub restored_by: BTreeSet<String>,
    /// The kinds that are listed.
    pub kinds: Vec<Kind>,
    /// The cluster-scoped kinds, of which related objects are taken.
    pub cluster_kinds: Vec<Kind>,
    /// Kinds that are not listed, with the reason.
    pub left_out: BTreeMap<String, String>,
    /// What cannot be seen, and makes the snapshot incomplete.
    pub unavailable: Vec<Unavailable>,
    /// What lessens what the rest proves.
    pub notes: Vec<String>,
    /// Commands to run in pods.
    pub hooks: Vec<Hook>,
    /// Claims whose volumes are saved, or why they are not.
    pub claims: Vec<Claim>,
}

impl SnapshotPlan {
    /// What cannot be seen, in the words of what is missing.
    pub fn unseen(&self) -> Vec<Missing> {
        let words = |one: &Unavailable| Missing {
            what: match &one.resource {
                Some(resource) => format!("{resource}.{}", one.group),
                None => format!("everything of {}/{}", one.group, one.version),
            },
            why: one.why.clone(),
        };
        self.unavailable.iter().map(words).collect()
    }
}

/// Decides what a snapshot of the namespace holds.
pub async fn plan(request: Request, cluster: &Cluster) -> Result<SnapshotPlan> {
    let doing = || format!("looking at namespace {} of {}", request.namespace, cluster.describe());
    let version = cluster.version().await.map_err(|why| why.during(doing()))?;
    let mut notes = Vec::new();
    let cluster_uid = match cluster.uid().await {
        // Whoever administers one namespace sees no other; its own uid tells it from every other one.
        Err(error) if error.kind() == Ending::Refused && !request.scope.with_cluster => {
            notes.push(format!("which cluster it is could not be asked: {error}"));
            String::new()
        }
        uid => uid?,
    };
    let namespace = cluster.namespace(&request.namespace).await?;
    refuse_terminating(&namespace, &request.namespace)?;
    let namespace_uid = namespace["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let found =
        cluster.discover().await.map_err(|why| why.during(format!("asking {} what it serves", cluster.describe())))?;
    notes.extend(found.notes);
    refuse_unknown_kinds(&request, &found.kinds, &found.unavailable)?;
    let (inside, outside): (Vec<Kind>, Vec<Kind>) = found.kinds.into_iter().partition(|kind| kind.namespaced);
    let mut kinds = Vec::new();
    let mut left_out = BTreeMap::new();
    for kind in inside {
        match rules::left_out(&kind, &request.scope) {
            Some(reason) => drop(left_out.insert(kind.group_resource(), reason)),
            None => kinds.push(kind),
        }
    }
    kinds.sort_by_key(Kind::group_resource);
    try_selector(&request, cluster, &kinds).await?;
    let mut unavailable = found.unavailable;
    unavailable.retain(|one| rules::group_matters(&one.group, one.resource.as_deref(), &request.scope));
    let mut commands = Vec::new();
    if request.hooks {
        commands.extend(hooks::ruled(cluster, &request, &kinds).await?);
        commands.extend(hooks::declared(cluster, &request, &kinds).await?);
    }
    let claims = match &request.volumes {
        Volumes::None => Vec::new(),
        by @ (Volumes::Files { .. } | Volumes::Csi) => {
            let by = if matches!(by, Volumes::Csi) { By::Storage } else { By::Files };
            volumes::plan(cluster, &request.namespace, request.scope.selector.as_deref(), &kinds, by).await?
        }
    };
    Ok(SnapshotPlan {
        source: request.source.clone(),
        identity: namespace_identity(&namespace_uid, &cluster_uid),
        cluster: cluster.clone(),
        server_version: version.git,
        cluster_uid,
        namespace_uid,
        restored_by: restores(&namespace),
        kinds,
        cluster_kinds: outside,
        left_out,
        unavailable,
        notes,
        hooks: commands,
        claims,
        request,
    })
}

/// Every restore writes under a field manager of its own.
fn restores(namespace: &Value) -> BTreeSet<String> {
    let entries = namespace["metadata"]["managedFields"].as_array().into_iter().flatten();
    let managers = entries.filter_map(|entry| entry["manager"].as_str());
    managers.filter(|manager| manager.starts_with(restore::MANAGER)).map(str::to_owned).collect()
}

pub(super) fn refuse_terminating(namespace: &Value, name: &str) -> Result<()> {
    if namespace["metadata"]["deletionTimestamp"].is_null() && namespace["status"]["phase"] != "Terminating" {
        return Ok(());
    }
    Err(Error::refused(format!("saving namespace {name}: it is being deleted, and its objects are going away"))
        .hint("an earlier point has what it held: davit points"))
}

/// Every word of `--include` and `--exclude` must mean something: a typing error would save less than was meant.
fn refuse_unknown_kinds(request: &Request, kinds: &[Kind], unavailable: &[Unavailable]) -> Result<()> {
    for word in request.scope.include.iter().chain(&request.scope.exclude) {
        let group = word.split_once('.').map(|(_, group)| group);
        let known = kinds.iter().any(|kind| kind.namespaced && rules::names(kind, word))
            || unavailable.iter().any(|one| group == Some(one.group.as_str()));
        if known {
            continue;
        }
        let error = Error::input(format!("choosing kinds: this cluster serves no kind {word:?} in namespaces"));
        let inside = kinds.iter().filter(|kind| kind.namespaced);
        let names = inside.flat_map(|kind| [kind.resource.clone(), kind.group_resource()]);
        let distance = |name: &String| strsim::levenshtein(name, &word.to_ascii_lowercase());
        return Err(match names.min_by_key(distance).filter(|name| distance(name) <= NEAR) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("kubectl api-resources --namespaced lists the kinds"),
        });
    }
    Ok(())
}

/// A selector that the server cannot read is told here, and not kind by kind.
async fn try_selector(request: &Request, cluster: &Cluster, kinds: &[Kind]) -> Result<()> {
    let (Some(selector), Some(kind)) = (&request.scope.selector, kinds.first()) else { return Ok(()) };
    let query = Query { namespace: Some(&request.namespace), labels: Some(selector), ..Query::all(kind) };
    match cluster.list(query).next().await {
        Err(why) if why.fault == Fault::Invalid => {
            let doing = format!("reading {selector:?} as a selector of labels");
            Err(Error::input(doing).because(why).hint("as for kubectl: app=web,tier!=cache"))
        }
        _ => Ok(()),
    }
}

/// Whether an error of a list means that its instant, and not the kind, is the trouble.
pub(super) fn is_about_the_instant(why: &ApiError) -> bool {
    // An aggregated server may know no resource versions, and then calls them invalid; or it counts its own, and waits in vain
    // for that of another store.
    matches!(why.fault, Fault::Gone | Fault::Invalid | Fault::Interrupted) || why.is_ahead()
}
