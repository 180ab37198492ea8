//! What is live where a restore goes, and what stands around it: classes, volumes, quotas, admission, Argo CD.

use super::super::body::Body;
use super::super::diff::{self, Schemas};
use super::super::noise::is_noise;
use super::super::object::{self, Place, Saved, SavedKind};
use super::super::plan::{self, Live, Options};
use super::{Kinds, Means};
use crate::cluster::{ApiError, Cluster, Fault, Kind, Query};
use crate::error::{Error, Result};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Lists under way at once: each may be a large answer.
const LISTS: usize = 8;

const NAMESPACES: &str = "namespaces";
const VOLUMES: &str = "persistentvolumes";
const CLAIMS: &str = "persistentvolumeclaims";
const QUOTAS: &str = "resourcequotas";
const CLASSES: &str = "storageclasses.storage.k8s.io";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const SLICES: &str = "endpointslices.discovery.k8s.io";
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
const APPLICATIONS: &str = "applications.argoproj.io";
const HOOKS: [&str; 2] = [
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
];

/// What was seen.
#[derive(Debug, Default)]
pub struct Looked {
    /// What a plan needs.
    pub live: Live,
    /// The kinds.
    pub kinds: Kinds,
    /// Schemas of live definitions.
    pub schemas: Schemas,
    /// What could not be seen.
    pub warnings: Vec<String>,
}

/// Looks at the cluster; changes nothing.
pub async fn look(means: &Means, saved: &[Saved], options: &Options) -> Result<Looked> {
    let cluster = &means.cluster;
    let discovered = cluster.discover().await.map_err(|why| why.during("asking the cluster what it serves"))?;
    let mut looked = Looked { kinds: Kinds::of(&discovered), ..Looked::default() };
    for missing in &discovered.unavailable {
        looked
            .warnings
            .push(format!("the cluster does not serve {}/{} now: {}", missing.group, missing.version, missing.why));
    }
    looked.live.kinds = looked.kinds.live();
    let there = namespaces(cluster, saved, &mut looked).await?;
    namespaced(cluster, saved, &there, options, &mut looked).await?;
    of_the_cluster(cluster, saved, &mut looked).await?;
    around(cluster, saved, &there, &mut looked).await?;
    Ok(looked)
}

/// Every object of a kind, whole, with its kind written in.
async fn all(cluster: &Cluster, kind: &Kind, namespace: Option<&str>) -> std::result::Result<Vec<Value>, ApiError> {
    each(cluster, Query { namespace, ..Query::all(kind) }, |body| body).await
}

/// What is made of each of them, one at a time.
async fn each<T>(
    cluster: &Cluster,
    query: Query<'_>,
    of: impl Fn(Value) -> T,
) -> std::result::Result<Vec<T>, ApiError> {
    let kind = query.kind;
    let mut listing = cluster.list(query);
    let mut objects = Vec::new();
    while let Some(bytes) = listing.next().await? {
        objects.push(of(kind.said_by(parsed(&bytes)?)));
    }
    Ok(objects)
}

fn parsed(bytes: &[u8]) -> std::result::Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|why| ApiError {
        fault: Fault::Other,
        code: 0,
        reason: String::new(),
        message: format!("an object of the list cannot be read: {why}"),
        retry_after: None,
        causes: Vec::new(),
    })
}

/// The namespaces that are restored into and are there; one that is going away is refused.
async fn namespaces(cluster: &Cluster, saved: &[Saved], looked: &mut Looked) -> Result<BTreeSet<String>> {
    let targets: BTreeSet<&str> = saved.iter().filter_map(|one| one.identity.namespace.as_deref()).collect();
    let kind = Kind::namespaces();
    let mut there = BTreeSet::new();
    for target in targets {
        let found = cluster
            .one(&kind, None, target)
            .await
            .map_err(|why| why.during(format!("looking at the namespace {target}")))?;
        let Some(body) = found else { continue };
        if object::is_terminating(&body) {
            return Err(Error::refused(format!("restoring into the namespace {target}: it is being deleted"))
                .hint("wait until it is gone, or name another one with --into"));
        }
        looked.live.objects.insert(Place::in_cluster(NAMESPACES, target), body.into());
        there.insert(target.to_owned());
    }
    Ok(there)
}

/// Everything of the saved kinds (and, for pruning, of all that the snapshot covers) in the namespaces that are there.
async fn namespaced(
    cluster: &Cluster,
    saved: &[Saved],
    there: &BTreeSet<String>,
    options: &Options,
    looked: &mut Looked,
) -> Result<()> {
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    let mut add = |saved: Option<&SavedKind>, name: &str| {
        let kind = match saved {
            Some(saved) => looked.kinds.saved(saved),
            None => looked.kinds.get(name).cloned(),
        };
        if let Some(kind) = kind.filter(|kind| kind.namespaced && kind.verbs.contains("list"))
            && kind.served.contains(&kind.version)
        {
            kinds.entry(name.to_owned()).or_insert(kind);
        }
    };
    for one in saved.iter().filter(|one| one.kind.namespaced) {
        add(Some(&one.kind), &one.kind.group_resource());
    }
    add(None, QUOTAS);
    if options.prune {
        options.covered.iter().for_each(|name| add(None, name));
        // What owns a claim is not pruned, so claims are looked at whether or not the snapshot has any.
        add(None, CLAIMS);
    }
    let lists = there.iter().flat_map(|namespace| kinds.iter().map(move |(name, kind)| (namespace, name, kind)));
    let lists = futures_util::stream::iter(lists).map(|(namespace, name, kind)| async move {
        let named = |body: Value| (object::name(&body).to_owned(), Body::from(body));
        let objects = each(cluster, Query { namespace: Some(namespace), ..Query::all(kind) }, named).await;
        let objects = objects.map_err(|why| why.during(format!("listing {name} in the namespace {namespace}")))?;
        Ok::<_, Error>((namespace, name, objects))
    });
    let mut lists = lists.buffer_unordered(LISTS);
    while let Some((namespace, name, objects)) = lists.try_next().await? {
        for (own, body) in objects {
            looked.live.objects.insert(Place::in_namespace(name, namespace, &own), body);
        }
    }
    Ok(())
}

/// The cluster-scoped objects that the snapshot has too.
async fn of_the_cluster(cluster: &Cluster, saved: &[Saved], looked: &mut Looked) -> Result<()> {
    let mut wanted: Vec<(Place, Kind)> = Vec::new();
    for one in saved.iter().filter(|one| !one.kind.namespaced && one.kind.group_resource() != NAMESPACES) {
        if let Some(kind) = looked.kinds.saved(&one.kind).filter(|kind| kind.served.contains(&kind.version)) {
            wanted.push((one.identity.place(), kind));
        }
    }
    // The live definition says what a status is, and how lists of the kind are matched.
    let custom: BTreeSet<String> =
        saved.iter().filter(|one| one.kind.group.contains('.')).map(|one| one.kind.group_resource()).collect();
    for name in custom.iter().filter(|name| looked.kinds.get(name).is_some_and(|kind| kind.custom)) {
        let place = Place::in_cluster(DEFINITIONS, name);
        if !wanted.iter().any(|(other, _)| *other == place) {
            wanted.push((place, Kind::definitions()));
        }
    }
    let gets = futures_util::stream::iter(wanted).map(|(place, kind)| async move {
        let found = cluster.one(&kind, None, &place.name).await;
        (place, kind, found)
    });
    let mut gets = gets.buffer_unordered(LISTS);
    let mut definitions = Vec::new();
    while let Some((place, kind, found)) = gets.next().await {
        match found {
            Ok(Some(body)) => {
                if place.group_resource == DEFINITIONS {
                    definitions.push(Saved::new(SavedKind::from(&kind), &body));
                }
                looked.live.objects.insert(place, body.into());
            }
            Ok(None) => {}
            Err(why) if why.fault == Fault::Forbidden => {
                looked.warnings.push(format!("whether {place} is there could not be looked at: {}", why.message));
            }
            Err(why) => return Err(why.during(format!("looking at {place}"))),
        }
    }
    looked.schemas = diff::schemas_of(&definitions);
    Ok(())
}

/// What has a say in a restore without being part of it. An account that may not look at it restores all the same.
async fn around(cluster: &Cluster, saved: &[Saved], there: &BTreeSet<String>, looked: &mut Looked) -> Result<()> {
    let has = |name: &str| saved.iter().any(|one| one.kind.group_resource() == name);
    if has(VOLUMES) || has(CLAIMS) {
        let volumes = optional(cluster, VOLUMES, None, looked, "volumes may be used twice").await?;
        looked.live.volumes = volumes.unwrap_or_default();
    }
    if looked.kinds.get(CLASSES).is_some() && (has(CLAIMS) || has("statefulsets.apps")) {
        let without = "whether claims name one that is not there is not known";
        let classes = optional(cluster, CLASSES, None, looked, without).await?;
        let default = |body: &Value| object::annotation(body, DEFAULT_CLASS) == Some("true");
        let named = |body: &Value| (object::name(body).to_owned(), default(body));
        looked.live.classes = classes.map(|classes| classes.iter().map(named).collect());
    }
    let mut hooks = Vec::new();
    for name in HOOKS {
        let listed = optional(cluster, name, None, looked, "webhooks that refuse are not named before").await?;
        hooks.extend(listed.unwrap_or_default());
    }
    let mut ready: BTreeSet<(String, String)> = BTreeSet::new();
    let services: BTreeSet<String> = hooks.iter().flat_map(services_of).collect();
    // Whoever may not see who is behind a webhook does not know that nobody is.
    let mut unseen: BTreeSet<String> = BTreeSet::new();
    for namespace in &services {
        let without = format!("whether anybody is behind the webhooks of {namespace} is not known");
        let Some(slices) = optional(cluster, SLICES, Some(namespace), looked, &without).await? else {
            unseen.insert(namespace.clone());
            continue;
        };
        for slice in slices {
            if has_ready_endpoint(&slice)
                && let Some(service) = object::label(&slice, "kubernetes.io/service-name")
            {
                ready.insert((namespace.clone(), service.to_owned()));
            }
        }
    }
    looked.live.webhooks = plan::dead_webhooks(&hooks, |namespace, name| {
        unseen.contains(namespace) || ready.contains(&(namespace.to_owned(), name.to_owned()))
    });
    if !there.is_empty() || looked.kinds.get(APPLICATIONS).is_some() {
        let applications =
            optional(cluster, APPLICATIONS, None, looked, "objects that Argo CD tracks by label are not recognised")
                .await?;
        looked.live.applications =
            applications.unwrap_or_default().iter().map(|body| object::name(body).to_owned()).collect();
    }
    Ok(())
}

fn services_of(configuration: &Value) -> Vec<String> {
    let webhooks = configuration.get("webhooks").and_then(Value::as_array);
    let namespace = |webhook: &Value| Some(webhook.pointer("/clientConfig/service/namespace")?.as_str()?.to_owned());
    webhooks.into_iter().flatten().filter_map(namespace).collect()
}

fn has_ready_endpoint(slice: &Value) -> bool {
    let endpoints = slice.get("endpoints").and_then(Value::as_array);
    // An unknown state counts as ready (EndpointConditions of discovery.k8s.io/v1).
    endpoints.into_iter().flatten().any(|one| one.pointer("/conditions/ready") != Some(&Value::Bool(false)))
}

/// A list without which the restore is only less well warned; nothing where it may not be had.
async fn optional(
    cluster: &Cluster,
    name: &str,
    namespace: Option<&str>,
    looked: &mut Looked,
    without: &str,
) -> Result<Option<Vec<Value>>> {
    let Some(kind) = looked.kinds.get(name).cloned() else { return Ok(Some(Vec::new())) };
    match all(cluster, &kind, namespace).await {
        Ok(objects) => Ok(Some(objects)),
        Err(why) if matches!(why.fault, Fault::Forbidden | Fault::NotFound) => {
            looked.warnings.push(format!("{name} could not be listed, so {without}: {}", why.message));
            Ok(None)
        }
        Err(why) => Err(why.during(format!("listing {name}"))),
    }
}

/// Live objects to compare a snapshot with.
#[derive(Debug, Default)]
pub struct Seen {
    /// The objects.
    pub objects: Vec<Saved>,
    /// What could not be looked at.
    pub unseen: Vec<String>,
}

/// What a snapshot was taken of.
#[derive(Debug, Clone, Copy)]
pub struct Among<'a> {
    /// Kinds that it would have everything of.
    pub kinds: &'a BTreeSet<String>,
    /// The namespaces.
    pub namespaces: &'a BTreeSet<String>,
    /// The labels that objects must have, if not all were meant.
    pub selector: Option<&'a str>,
}

/// The live objects of every kind that the snapshot has, or is known to have none of: those in its namespaces, and
/// the cluster-scoped ones that it has too. What a snapshot leaves out by rule is left out here.
pub async fn live_objects(cluster: &Cluster, saved: &[Saved], among: &Among<'_>) -> Result<Seen> {
    let discovered = cluster.discover().await.map_err(|why| why.during("asking the cluster what it serves"))?;
    let kinds = Kinds::of(&discovered);
    let mut seen = Seen::default();
    let mut wanted: BTreeMap<String, Option<Kind>> = BTreeMap::new();
    for one in saved.iter().filter(|one| one.kind.namespaced) {
        wanted.entry(one.kind.group_resource()).or_insert_with(|| kinds.saved(&one.kind));
    }
    for name in among.kinds {
        wanted.entry(name.clone()).or_insert_with(|| kinds.get(name).cloned());
    }
    let mut lists = Vec::new();
    for (name, kind) in wanted {
        match kind {
            Some(kind) => {
                lists.extend(among.namespaces.iter().map(|namespace| (name.clone(), kind.clone(), namespace)));
            }
            None if saved.iter().any(|one| one.kind.group_resource() == name) => {
                seen.unseen.push(format!("the cluster has no {name}"));
            }
            None => {}
        }
    }
    let lists = futures_util::stream::iter(lists).map(|(name, kind, namespace)| async move {
        let query = Query { namespace: Some(namespace), labels: among.selector, ..Query::all(&kind) };
        let objects = of_a_kind(cluster, &name, query, saved).await;
        (name, objects)
    });
    let mut lists = lists.buffer_unordered(LISTS);
    while let Some((name, objects)) = lists.next().await {
        match objects {
            Ok(objects) => seen.objects.extend(objects),
            Err(why) => seen.unseen.push(format!("{name}: {why}")),
        }
    }
    let mut looked = Looked { kinds, ..Looked::default() };
    of_the_cluster(cluster, saved, &mut looked).await?;
    seen.unseen.extend(looked.warnings);
    // Live namespaces among the saved objects are looked at like everything else of the cluster.
    for one in saved.iter().filter(|one| !one.kind.namespaced) {
        let place = one.identity.place();
        let there = match place.group_resource.as_str() {
            NAMESPACES => cluster
                .one(&Kind::namespaces(), None, &place.name)
                .await
                .map_err(|why| why.during(format!("looking at {place}")))?,
            _ => looked.live.objects.remove(&place).map(|body| body.open()),
        };
        seen.objects.extend(there.map(|body| Saved::new(Arc::clone(&one.kind), &body)));
    }
    Ok(seen)
}

/// The live objects of a kind: those that a selector means, and those that were saved, whatever their labels are by now.
async fn of_a_kind(
    cluster: &Cluster,
    name: &str,
    query: Query<'_>,
    saved: &[Saved],
) -> std::result::Result<Vec<Saved>, ApiError> {
    let (kind, namespace) = (Arc::new(SavedKind::from(query.kind)), query.namespace);
    let heard = |body: Value| (!is_noise(name, &body)).then(|| Saved::new(Arc::clone(&kind), &body));
    let objects = each(cluster, query.clone(), heard).await?;
    let mut objects: Vec<Saved> = objects.into_iter().flatten().collect();
    if query.labels.is_some() {
        let is_of = |one: &&Saved| {
            (&one.kind.group, &one.kind.resource) == (&kind.group, &kind.resource)
                && one.identity.namespace.as_deref() == namespace
        };
        let mut missing: BTreeSet<&str> = saved.iter().filter(is_of).map(|one| one.identity.name.as_str()).collect();
        for one in &objects {
            missing.remove(one.identity.name.as_str());
        }
        if !missing.is_empty() {
            let heard =
                |body: Value| missing.contains(object::name(&body)).then(|| Saved::new(Arc::clone(&kind), &body));
            objects.extend(each(cluster, Query { labels: None, ..query }, heard).await?.into_iter().flatten());
        }
    }
    Ok(objects)
}
