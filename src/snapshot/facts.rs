//! What a manifest says about namespaces: the `details` of its header and its objects. Written by saving, read by
//! show, diff, restore and verify.

use super::object::SavedKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Kinds of objects in a namespace point (the `kind` of an object line).
pub mod kind {
    /// The objects of one kind, in packs: details are [`super::KindFacts`].
    pub const OBJECTS: &str = "objects";
    /// Cluster-scoped objects of one kind that the namespace leans on: details are [`super::KindFacts`].
    pub const RELATED: &str = "related";
    /// What was looked at and how it went: details are [`super::Coverage`]; one per point. No chunks.
    pub const COVERAGE: &str = "coverage";
    /// Something that should be in the point and is not: details are [`super::Missing`]. No chunks.
    pub const MISSING: &str = crate::repository::manifest::MISSING;
    /// The files of a claim's volume, as one stream: details are [`crate::snapshot::volumes::VolumeFacts`].
    pub const VOLUME: &str = "volume";
    /// What a command wrote to its stdout; the whole of a command point: details are [`super::OutputFacts`].
    pub const OUTPUT: &str = "output";
}

/// The details of a point's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointFacts {
    /// The namespace.
    pub namespace: String,
    /// Its uid.
    pub namespace_uid: String,
    /// The uid of the cluster's `kube-system` namespace; empty where the account may not see it.
    pub cluster_uid: String,
    /// The address of its API server.
    pub server: String,
    /// Its version, such as `v1.34.1`.
    pub server_version: String,
    /// What was to be saved.
    pub scope: Scope,
    /// The instant of all lists.
    pub resource_version: String,
}

/// What a point is to hold; it is complete or not relative to this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Cluster-scoped objects that the namespace leans on, too.
    pub with_cluster: bool,
    /// Only objects with these labels.
    pub selector: Option<String>,
    /// Only these kinds, if any are named.
    pub include: Vec<String>,
    /// Not these kinds.
    pub exclude: Vec<String>,
}

/// The objects of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindFacts {
    /// Which kind.
    #[serde(flatten)]
    pub saved: SavedKind,
    /// All versions that were served.
    pub served: Vec<String>,
    /// Whether a custom resource definition made the kind.
    pub custom: bool,
    /// A pack ends after an object whose name's hash is a multiple of this; carried over from point to point.
    pub cut_every: u32,
    /// What each pack holds, in order; a pack is two chunks, one after the other (one, in points of before).
    pub packs: Vec<PackFacts>,
}

/// One pack: the objects from one name to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackFacts {
    /// Name of the first object.
    pub first: String,
    /// Name of the last one.
    pub last: String,
    /// How many.
    pub objects: u32,
}

/// What was looked at and how it went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Every kind that was listed, in order of their names.
    pub kinds: Vec<KindCoverage>,
    /// Kinds that were left out by rule or by request, with the reason.
    pub left_out: BTreeMap<String, String>,
    /// What the commands of pods wrote, as points of their own.
    pub outputs: Vec<OutputPoint>,
    /// What was run before and after.
    pub hooks: Vec<HookOutcome>,
    /// Volumes whose files are in the point.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub volumes: Vec<super::volumes::VolumeFacts>,
    /// What lessens what this proves, in words.
    pub notes: Vec<String>,
}

/// How the list of one kind went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCoverage {
    /// `deployments.apps`.
    pub kind: String,
    /// The version it was read at.
    pub version: String,
    /// Whether these are cluster-scoped objects that the namespace leans on.
    pub related: bool,
    /// Objects saved.
    pub objects: u64,
    /// Of these, made by a controller that is in the point, too.
    pub derived: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were not saved, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub left_out: BTreeMap<String, u64>,
    /// The resource version of its list.
    pub resource_version: Option<String>,
    /// Whether that is the instant of the point.
    pub at_instant: bool,
    /// What was odd.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// Why it is not complete.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// Something that should be in the point and is not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Missing {
    /// What: a kind, a group, a hook, an output.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What a command wrote, as a point of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputPoint {
    /// Its source.
    pub source: String,
    /// Its point.
    pub point: String,
    /// The pod that ran the command.
    pub pod: String,
    /// Bytes.
    pub bytes: u64,
}

/// How a hook went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookOutcome {
    /// `before` or `after`.
    pub when: String,
    /// The pod.
    pub pod: String,
    /// Whether it ended well.
    pub ok: bool,
    /// How it ended, if not well.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
}

/// What is known of the output of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFacts {
    /// The namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container, if one was named.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
}
