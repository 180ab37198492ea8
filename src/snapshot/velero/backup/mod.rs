//! Velero's backups in a bucket: which there are, which may be restored, and what is in one.

use super::super::noise::is_noise;
use super::super::object::Saved;
use super::archive::read_archive;
use super::tar::Limits;
use crate::error::{Error, Result};
use crate::store::{ObjectKey, SharedStore, StoreContext, StoreError};
use crate::yaml::nearest;
use async_compression::tokio::bufread::GzipDecoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use tokio::io::AsyncReadExt;

/// Velero itself unpacks side files up to this size.
const SIDE_BYTES_MAX: u64 = 1 << 30;

/// No description of a backup is larger.
const DESCRIPTION_BYTES_MAX: u64 = 16 << 20;

/// What `velero-backup.json` says, as far as it is used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Description {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    included_namespaces: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: String,
    version: Option<u64>,
    format_version: String,
    start_timestamp: Option<String>,
    completion_timestamp: Option<String>,
    expiration: Option<String>,
    errors: u64,
    warnings: u64,
    progress: Progress,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Progress {
    items_backed_up: u64,
}

/// A backup that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// How it ended, in Velero's words.
    pub phase: String,
    /// When it began.
    pub started: Option<String>,
    /// When it ended.
    pub completed: Option<String>,
    /// When Velero means to delete it.
    pub expires: Option<String>,
    /// The namespaces it was asked for.
    pub namespaces: Vec<String>,
    /// Objects, as Velero counted them (it counts those that failed too).
    pub items: u64,
    /// Errors it counted.
    pub errors: u64,
    /// Warnings it counted.
    pub warnings: u64,
    /// Why it cannot be restored.
    pub unusable: Option<String>,
}

/// Volume data that Velero kept somewhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeNote {
    /// The claim.
    pub claim: String,
    /// Its namespace.
    pub namespace: String,
    /// Where the data are, in words.
    pub kept: String,
}

/// A backup that was read.
#[derive(Debug)]
pub struct Opened {
    /// What it says of itself.
    pub found: Found,
    /// Its objects.
    pub objects: Vec<Saved>,
    /// What could not be read.
    pub volumes: Vec<VolumeNote>,
    /// What Velero wrote down as errors, in its words.
    pub errors: Vec<String>,
    /// Group-resources of which every object was saved, as far as Velero's own list says.
    pub complete: bool,
}

/// Lists the backups below a Velero prefix.
pub async fn list(store: &SharedStore) -> Result<Vec<Found>> {
    let doing = || "listing the Velero backups".to_owned();
    let names = store.folders("backups/").await.map_err(|error| Error::failed(doing()).because(error))?;
    if names.is_empty() {
        return Err(Error::input("listing the Velero backups: there is no folder backups/ here")
            .hint("name the bucket and prefix of Velero's BackupStorageLocation"));
    }
    let mut found = Vec::new();
    for name in names {
        found.push(describe(store, &name).await?);
    }
    Ok(found)
}

/// Reads one backup: its objects, and what is not among them.
pub async fn open(store: &SharedStore, name: &str) -> Result<Opened> {
    let doing = format!("reading the Velero backup {name}");
    let found = describe(store, name).await.map_err(|error| error.during(doing.clone()))?;
    if found.unusable.is_some() {
        is_there(store, name, &doing).await?;
    }
    if let Some(why) = &found.unusable {
        return Err(Error::refused(format!("{doing}: {why}"))
            .hint("davit snapshot import velero lists those that can be restored"));
    }
    let key = key(name, &format!("{name}.tar.gz"))?;
    let reading = store.read(&key, None).await.doing(|| doing.clone())?;
    let read = read_archive(reading.body, Limits::default()).await;
    let mut contents = read.map_err(|error| error.during(doing.clone()))?;
    let listed: Option<BTreeMap<String, Vec<String>>> = side(store, name, "resource-list.json.gz").await?;
    let volumes: Option<Vec<Value>> = side(store, name, "volumeinfo.json.gz").await?;
    let results: Option<Value> = side(store, name, "results.gz").await?;
    let mut errors: Vec<String> = results.as_ref().map(|results| texts(results.get("errors"))).unwrap_or_default();
    let missing = missing(&contents.objects, listed.as_ref());
    errors.extend(missing.iter().map(|place| format!("{place} is in Velero's list but not in its archive")));
    // Velero saves what controllers make as well; brought back, it would stand in their way.
    contents.objects.retain(|one| !is_noise(&one.kind.group_resource(), &one.body.open()));
    let complete = errors.is_empty() && found.phase == "Completed";
    Ok(Opened {
        found,
        objects: contents.objects,
        volumes: volumes.iter().flatten().map(volume).collect(),
        errors,
        complete,
    })
}

/// A name that nothing is stored under was typed wrongly.
async fn is_there(store: &SharedStore, name: &str, doing: &str) -> Result<()> {
    let names = store.folders("backups/").await.map_err(|error| Error::failed(doing.to_owned()).because(error))?;
    if names.iter().any(|one| one == name) {
        return Ok(());
    }
    let hint = match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => "davit snapshot import velero lists those that are there".to_owned(),
    };
    Err(Error::input(format!("{doing}: there is none of that name")).hint(hint))
}

async fn describe(store: &SharedStore, name: &str) -> Result<Found> {
    let broken = |why: String| Found {
        name: name.to_owned(),
        phase: String::new(),
        started: None,
        completed: None,
        expires: None,
        namespaces: Vec::new(),
        items: 0,
        errors: 0,
        warnings: 0,
        unusable: Some(why),
    };
    let key = key(name, "velero-backup.json")?;
    let meta = match store.head(&key, None).await {
        Ok(meta) => meta,
        Err(StoreError::NotFound(_)) => {
            return Ok(broken("it has no velero-backup.json: it was never finished".to_owned()));
        }
        Err(error) => return Err(Error::failed(format!("reading {key}")).because(error)),
    };
    if meta.size > DESCRIPTION_BYTES_MAX {
        return Ok(broken(format!("its velero-backup.json has {} bytes", meta.size)));
    }
    let object = store.get(&key, None).await.doing(|| format!("reading {key}"))?;
    let description: Description = match serde_json::from_slice(&object.body) {
        Ok(description) => description,
        Err(error) => return Ok(broken(format!("its velero-backup.json cannot be read: {error}"))),
    };
    let Description { metadata, spec, status } = description;
    let unusable = unusable(name, &metadata, &status);
    Ok(Found {
        name: name.to_owned(),
        phase: status.phase,
        started: status.start_timestamp,
        completed: status.completion_timestamp,
        expires: status.expiration,
        namespaces: spec.included_namespaces.unwrap_or_default(),
        items: status.progress.items_backed_up,
        errors: status.errors,
        warnings: status.warnings,
        unusable,
    })
}

fn unusable(name: &str, metadata: &Metadata, status: &Status) -> Option<String> {
    if metadata.name != name {
        return Some(format!("its velero-backup.json is of another backup, {:?}", metadata.name));
    }
    if !["Completed", "PartiallyFailed"].contains(&status.phase.as_str()) {
        let phase = if status.phase.is_empty() { "no phase" } else { &status.phase };
        return Some(format!("it did not come to its end: {phase}"));
    }
    let format = if status.format_version.is_empty() {
        format!("{}", status.version.unwrap_or(1))
    } else {
        status.format_version.clone()
    };
    let major = format.trim_start_matches('v').split('.').next().unwrap_or_default().parse::<u64>();
    if major == Ok(1) { None } else { Some(format!("its format {format} is not known")) }
}

fn key(backup: &str, file: &str) -> Result<ObjectKey> {
    ObjectKey::new(format!("backups/{backup}/{file}"))
        .map_err(|_| Error::input(format!("reading {backup:?} as the name of a Velero backup")))
}

/// A side file; Velero leaves out those that would be empty.
async fn side<T: serde::de::DeserializeOwned>(store: &SharedStore, name: &str, what: &str) -> Result<Option<T>> {
    let key = key(name, &format!("{name}-{what}"))?;
    let doing = || format!("reading {key}");
    let reading = match store.read(&key, None).await {
        Ok(reading) => reading,
        Err(StoreError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(Error::failed(doing()).because(error)),
    };
    let mut text = Vec::new();
    let decoder = GzipDecoder::new(tokio::io::BufReader::new(reading.body));
    decoder
        .take(SIDE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .await
        .map_err(|error| Error::check(doing()).because(error))?;
    if text.len() as u64 > SIDE_BYTES_MAX {
        return Err(Error::check(format!("{}: it unpacks to more than {SIDE_BYTES_MAX} bytes", doing())));
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| Error::check(doing()).because(error))
}

/// Every text in a tree of Velero's results.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(list)) => list.iter().flat_map(|one| texts(Some(one))).collect(),
        Some(Value::Object(map)) => map.values().flat_map(|one| texts(Some(one))).collect(),
        _ => Vec::new(),
    }
}

/// What Velero's list (`apps/v1/Deployment` → `shop/web`) names and the archive does not have.
fn missing(objects: &[Saved], listed: Option<&BTreeMap<String, Vec<String>>>) -> Vec<String> {
    let named = |one: &Saved| match &one.identity.namespace {
        Some(namespace) => format!("{namespace}/{}", one.identity.name),
        None => one.identity.name.clone(),
    };
    let there: HashSet<(&str, String)> = objects.iter().map(|one| (one.kind.kind.as_str(), named(one))).collect();
    let has = |kind: &str, name: &str| there.contains(&(kind.rsplit('/').next().unwrap_or_default(), name.to_owned()));
    let all = listed.into_iter().flatten().flat_map(|(kind, names)| names.iter().map(move |name| (kind, name)));
    all.filter(|(kind, name)| !has(kind, name)).map(|(kind, name)| format!("{kind} {name}")).collect()
}

fn volume(info: &Value) -> VolumeNote {
    let text = |field: &str| info.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let handle = |path: &str| info.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kept = if info.get("skipped") == Some(&Value::Bool(true)) {
        format!("nowhere: Velero skipped it ({})", text("skippedReason"))
    } else if info.get("snapshotDataMoved") == Some(&Value::Bool(true)) {
        format!("in Velero's kopia repository, snapshot {}", handle("/snapshotDataMovementInfo/snapshotHandle"))
    } else {
        match text("backupMethod").as_str() {
            "CSISnapshot" => {
                format!(
                    "in a snapshot of {}: {}",
                    handle("/csiSnapshotInfo/driver"),
                    handle("/csiSnapshotInfo/snapshotHandle")
                )
            }
            "NativeSnapshot" => {
                format!("in a snapshot of the provider: {}", handle("/nativeSnapshotInfo/snapshotHandle"))
            }
            "PodVolumeBackup" => {
                format!("in Velero's kopia repository, snapshot {}", handle("/pvbInfo/snapshotHandle"))
            }
            other => format!("in a way that is not known: {other:?}"),
        }
    };
    VolumeNote { claim: text("pvcName"), namespace: text("pvcNamespace"), kept }
}

#[cfg(test)]
mod tests;
