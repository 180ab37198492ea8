//! What a server serves now: asked anew for every run, because a kind that is a second old counts.
//!
//! A 200 proves nothing here: behind a dead API service the group is there and empty. So freshness, the conditions of
//! the API services and the custom resource definitions are looked at, and what does not agree is named.

use super::Cluster;
use super::fault::{ApiError, Fault};
use super::kind::Kind;
use super::list::Query;
use super::request::{Call, parse};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
/// How long a definition that was just made may take to be served, and how often that is looked at.
const NEW_KIND: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Groups whose kinds no definition makes: their versions hold the same fields.
const BUILT_IN: [&str; 23] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// What a server serves.
#[derive(Debug, Clone, Default)]
pub struct Discovered {
    /// Every kind, by group and plural.
    pub kinds: Vec<Kind>,
    /// What should be served and is not.
    pub unavailable: Vec<Unavailable>,
    /// What could not be asked and lessens what the rest proves.
    pub notes: Vec<String>,
}

/// Kinds that cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unavailable {
    /// The group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind, if it is known which.
    pub resource: Option<String>,
    /// Why.
    pub why: String,
}

#[derive(Deserialize)]
struct Groups {
    kind: String,
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Named,
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
    #[serde(default)]
    freshness: Option<String>,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(rename = "resource")]
    plural: String,
    #[serde(default)]
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: BTreeSet<String>,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    subresources: Vec<Subresource>,
}

#[derive(Deserialize)]
struct ResponseKind {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct Subresource {
    subresource: String,
}

#[derive(Deserialize)]
struct Service {
    spec: ServiceSpec,
    #[serde(default)]
    status: Conditions,
}

#[derive(Deserialize)]
struct ServiceSpec {
    #[serde(default)]
    group: String,
    version: String,
    service: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Conditions {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Definition {
    metadata: Meta,
    spec: DefinitionSpec,
    #[serde(default)]
    status: Conditions,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
struct DefinitionSpec {
    group: String,
    names: Names,
    versions: Vec<DefinitionVersion>,
}

#[derive(Deserialize)]
struct Names {
    plural: String,
}

#[derive(Deserialize)]
struct DefinitionVersion {
    name: String,
    served: bool,
    storage: bool,
}

impl Cluster {
    /// Asks what is served, until every custom resource definition is, or should long have been.
    pub async fn discover(&self) -> Result<Discovered, ApiError> {
        let began = self.0.clock.monotonic();
        loop {
            let mut found = self.discover_once().await?;
            let missing = self.apply_definitions(&mut found).await?;
            let waited = self.0.clock.monotonic().saturating_sub(began);
            if missing.is_empty() || waited >= NEW_KIND {
                found.unavailable.extend(missing);
                self.look_at_services(&mut found).await?;
                found.unavailable.sort();
                found.unavailable.dedup_by(|one, other| {
                    (&one.group, &one.version, &one.resource) == (&other.group, &other.version, &other.resource)
                });
                return Ok(found);
            }
            self.0.clock.sleep(LOOK_AGAIN).await;
        }
    }

    async fn discover_once(&self) -> Result<Discovered, ApiError> {
        let mut found = Discovered::default();
        for root in ["/api", "/apis"] {
            let call = Call { accept: AGGREGATED, ..Call::get(root) };
            let body = self.read(&call).await?;
            let groups: Groups = parse(root, &body)?;
            if groups.kind != "APIGroupDiscoveryList" {
                let text = "the server does not know aggregated discovery; Kubernetes 1.27 and newer do";
                return Err(ApiError::new(Fault::Other, text));
            }
            groups.items.into_iter().for_each(|group| take_group(group, &mut found));
        }
        Ok(found)
    }

    /// Sets the storage versions of custom resources; gives the definitions that should be served and are not.
    async fn apply_definitions(&self, found: &mut Discovered) -> Result<Vec<Unavailable>, ApiError> {
        let kind = Kind::definitions();
        let mut listing = self.list(Query::all(&kind));
        let mut missing = Vec::new();
        loop {
            let definition: Definition = match listing.next().await {
                Ok(Some(item)) => parse("the list of custom resource definitions", &item)?,
                Ok(None) => return Ok(missing),
                Err(why) if matches!(why.fault, Fault::Forbidden | Fault::NotFound) => {
                    found.notes.push(format!("storage versions of custom resources are not known: {why}"));
                    found.unavailable.extend(found.kinds.iter().filter_map(unproven));
                    return Ok(Vec::new());
                }
                Err(why) => return Err(why),
            };
            missing.extend(apply_definition(&definition, found));
        }
    }

    /// Names the API services that are not available.
    async fn look_at_services(&self, found: &mut Discovered) -> Result<(), ApiError> {
        let kind = Kind::services();
        let mut listing = self.list(Query::all(&kind));
        loop {
            let service: Service = match listing.next().await {
                Ok(Some(item)) => parse("the list of API services", &item)?,
                Ok(None) => return Ok(()),
                Err(why) if matches!(why.fault, Fault::Forbidden | Fault::NotFound) => {
                    found.notes.push(format!("whether the API services are available is not known: {why}"));
                    return Ok(());
                }
                Err(why) => return Err(why),
            };
            let available = service.status.conditions.iter().find(|condition| condition.r#type == "Available");
            if service.spec.service.is_some() && available.is_none_or(|condition| condition.status != "True") {
                let words = available.map(|condition| condition.message.clone()).filter(|words| !words.is_empty());
                let why = words.unwrap_or_else(|| "nothing is known of it".to_owned());
                found.unavailable.push(Unavailable {
                    group: service.spec.group,
                    version: service.spec.version,
                    resource: None,
                    why: format!("its API service is not available: {why}"),
                });
            }
        }
    }
}

fn take_group(group: Group, found: &mut Discovered) {
    let name = group.metadata.name;
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    for version in group.versions {
        let stale = version.freshness.as_deref().is_some_and(|freshness| freshness != "Current");
        if stale {
            found.unavailable.push(Unavailable {
                group: name.clone(),
                version: version.version.clone(),
                resource: None,
                why: "the server that serves it does not answer; what is known of it is stale".to_owned(),
            });
        }
        for resource in version.resources {
            let known = kinds.entry(resource.plural.clone());
            known.and_modify(|kind| kind.served.push(version.version.clone())).or_insert_with(|| Kind {
                group: name.clone(),
                version: version.version.clone(),
                resource: resource.plural,
                kind: resource.response_kind.map(|kind| kind.kind).unwrap_or_default(),
                namespaced: resource.scope == "Namespaced",
                verbs: resource.verbs,
                short_names: resource.short_names,
                subresources: resource.subresources.into_iter().map(|sub| sub.subresource).collect(),
                served: vec![version.version.clone()],
                storage: None,
                custom: false,
            });
        }
    }
    found.kinds.extend(kinds.into_values());
}

/// A kind in several versions that may be a custom one, where nobody says which of them is stored.
fn unproven(kind: &Kind) -> Option<Unavailable> {
    if BUILT_IN.contains(&kind.group.as_str()) || kind.served.len() < 2 || !kind.namespaced {
        return None;
    }
    Some(Unavailable {
        group: kind.group.clone(),
        version: kind.version.clone(),
        resource: Some(kind.resource.clone()),
        why: format!("its definition may not be read; if it is not stored at {}, fields are lost in it", kind.version),
    })
}

/// Marks a custom kind, and reads it at its storage version: a list at another one silently drops fields.
fn apply_definition(definition: &Definition, found: &mut Discovered) -> Option<Unavailable> {
    let spec = &definition.spec;
    let known = found.kinds.iter_mut().find(|kind| kind.group == spec.group && kind.resource == spec.names.plural);
    let served: Vec<&str> = spec.versions.iter().filter(|version| version.served).map(|v| v.name.as_str()).collect();
    let storage = spec.versions.iter().find(|version| version.storage).map(|version| version.name.clone());
    let unavailable = |why: String| Unavailable {
        group: spec.group.clone(),
        version: storage.clone().unwrap_or_default(),
        resource: Some(spec.names.plural.clone()),
        why,
    };
    let Some(kind) = known else {
        if served.is_empty() {
            return Some(unavailable("its definition serves no version, so its objects cannot be read".to_owned()));
        }
        let refused = definition.status.conditions.iter().find(|c| c.r#type == "NamesAccepted" && c.status == "False");
        if refused.is_some() || definition.metadata.deletion_timestamp.is_some() {
            // It never came to be, or is going away: there is nothing of it to save.
            return None;
        }
        return Some(unavailable("its definition is there, but the server does not serve it".to_owned()));
    };
    kind.custom = true;
    if let Some(storage) = storage.as_ref().filter(|storage| kind.served.contains(storage)) {
        kind.version.clone_from(storage);
    }
    let missing = served.iter().find(|version| !kind.served.iter().any(|known| known == *version));
    let missing = missing.map(|version| format!("version {version} of its definition is not served"));
    kind.storage.clone_from(&storage);
    missing.map(unavailable)
}
