//! The files of a namespace's volumes: a mover pod streams them over exec, and the runner cuts the stream into chunks.
//!
//! The pod holds no key and no credentials of the store. It runs as the account of the pod that uses the claim, on its
//! node, and reads only; what that account cannot read makes the snapshot incomplete.

mod claims;
mod classes;
pub(super) mod csi;
mod cut;
mod fate;
mod fill;
mod group;
mod leftover;
mod members;
mod ours;
mod pod;
mod rewire;
mod take;
mod users;

pub use claims::{Claim, Use};
pub use fill::{Movers, Stored, stored};
pub use group::{LABEL as GROUP_LABEL, VELERO_LABEL as VELERO_GROUP_LABEL};
pub use leftover::{StorageSnapshot, leftovers, remove};
pub use ours::without_ours;
pub use users::Users;

pub(super) use claims::{By, plan};
pub(super) use csi::RUN_LABEL;
pub(super) use fill::{Into, fill};
pub(super) use pod::Open;
pub(super) use rewire::rewire;
pub(super) use take::{Means, Taken, take};

use crate::cluster::{Cluster, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How the volumes of a namespace are saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Volumes {
    /// Not at all: their claims are saved, and what lies in them is not.
    #[default]
    None,
    /// Their files, by a mover pod of this image.
    Files {
        /// The image; it has `davit`.
        image: String,
        /// Secrets of the namespace that it is pulled with, beside those of who uses a claim.
        pull_secrets: Vec<String>,
    },
    /// By snapshots that the storage makes.
    Csi,
}

/// On a claim: `skip` leaves its volume out.
pub const ANNOTATION: &str = "davit.dev/volume";
/// The label of mover pods, which no snapshot saves.
pub const MOVER_LABEL: &str = "davit.dev/mover";

/// What is known of a volume whose files are in a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFacts {
    /// The claim.
    pub claim: String,
    /// Its uid.
    pub claim_uid: String,
    /// The image of the mover.
    pub image: String,
    /// Secrets of the namespace that it was pulled with, because somebody named them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// The account that its files were read as.
    #[serde(flatten)]
    pub account: Account,
    /// Pods that might write while it was read: what was saved is as after a crash.
    pub writers: Vec<String>,
    /// What the mover said.
    pub moved: super::mover::Moved,
}

/// Whom a pod runs as, as far as files are concerned; in the words of a pod's security context.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Account {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// Its first group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<i64>,
    /// The group that the volume is given to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<i64>,
    /// Further groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supplemental_groups: Vec<i64>,
}

/// Volumes can be large; a mover that hangs ends some time.
const LONGEST: Duration = Duration::from_hours(12);

/// The class that `--volumes csi` uses for each driver, or why it cannot be used at all.
pub async fn snapshot_classes(cluster: &Cluster) -> Result<BTreeMap<String, String>, String> {
    classes::classes(cluster).await
}

/// The class that `--volumes csi` uses for groups of volumes of each driver, or why there can be none; nothing where the
/// cluster does not know groups.
pub async fn group_classes(cluster: &Cluster) -> Option<Result<BTreeMap<String, String>, String>> {
    match group::served(cluster).await {
        Ok(kinds) => Some(group::classes(cluster, &kinds?).await),
        Err(why) => Some(Err(why.to_string())),
    }
}

/// Pods, before anything was discovered.
fn pods() -> Kind {
    Kind { resource: "pods".to_owned(), kind: "Pod".to_owned(), namespaced: true, ..Kind::namespaces() }
}
