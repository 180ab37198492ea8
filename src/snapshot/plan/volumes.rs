//! Volumes: which are made, which are provisioned anew, and which must not be touched.

use super::super::object::{self, Place, Saved};
use super::super::restore::MANAGER;
use super::decide::is_others;
use super::{Line, Live, Options};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const EMPTY: &str = "its volume is provisioned anew and is empty";

/// What becomes of the volume that a claim names.
pub(super) enum OfClaim {
    /// The claim keeps it; the volume has to be freed for it where it still waits for one that is gone.
    Kept(Option<Freed>),
    /// The claim gets a new one; what is in that, if its storage puts nothing into it.
    Anew(Option<&'static str>),
    /// The claim would never be bound.
    Refused(String),
}

/// A live volume that still waits for a claim that is gone, and is freed for the one of that name that a line is about. Its
/// data are what they were; without that the claim would stay pending for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freed {
    /// The volume.
    pub volume: String,
    /// Its uid.
    pub uid: String,
    /// The uid of the claim that is gone.
    pub of: String,
}

impl Freed {
    /// What is done, in words.
    pub(super) fn note(&self) -> String {
        let Self { volume, of, .. } = self;
        format!(
            "its volume {volume} with its data still waits for the claim of this name that is gone (uid {of}): \
             a PATCH of persistentvolumes/{volume} takes that uid off, and this claim gets it"
        )
    }

    /// What a person types who does it.
    pub fn by_hand(&self) -> String {
        let volume = &self.volume;
        format!(r#"kubectl patch pv {volume} --type=json -p '[{{"op":"remove","path":"/spec/claimRef/uid"}}]'"#)
    }
}

/// What is known of volumes, saved and live.
pub(super) struct Volumes {
    saved: BTreeMap<String, Value>,
    live: BTreeMap<String, Value>,
    /// What lies behind live volumes, and which volume that is.
    behind: BTreeMap<String, String>,
    /// Claims of the snapshot, by the volume that they name.
    claimed: BTreeSet<String>,
    /// Claims that begin with what a snapshot of the storage holds.
    beginning: BTreeSet<Place>,
    /// The namespace that the plan is a proof of.
    proof_of: Option<String>,
}

impl Volumes {
    pub(super) fn of(saved: &[Saved], live: &Live, options: &Options) -> Self {
        let volume = |one: &&Saved| one.kind.group_resource() == "persistentvolumes";
        let claim = |one: &&Saved| one.kind.group_resource() == "persistentvolumeclaims";
        let named = |body: &Value| Some(body.pointer("/spec/volumeName")?.as_str()?.to_owned());
        let behind = live.volumes.iter().filter_map(|body| Some((behind(body)?, object::name(body).to_owned())));
        let beginning = options.made_for.values().filter(|claim| !is_others(live, options, claim));
        Self {
            saved: saved.iter().filter(volume).map(|one| (one.identity.name.clone(), one.body.open())).collect(),
            live: live.volumes.iter().map(|body| (object::name(body).to_owned(), body.clone())).collect(),
            behind: behind.collect(),
            claimed: saved.iter().filter(claim).filter_map(|one| named(&one.body.open())).collect(),
            beginning: beginning.cloned().collect(),
            proof_of: options.proof_of.clone(),
        }
    }

    /// Why a saved volume is not made.
    pub(super) fn why_not(&self, saved: &Saved, body: &Value) -> Option<String> {
        let other = behind(body).and_then(|behind| self.behind.get(&behind));
        if let Some(other) = other.filter(|other| **other != saved.identity.name) {
            return Some(format!("what is behind it already backs the volume {other}"));
        }
        if is_provisioned(body) {
            return Some("its class provisions a new one; its data come back from a snapshot of the volume".to_owned());
        }
        if !self.claimed.contains(&saved.identity.name) {
            return Some("no claim of the snapshot uses it".to_owned());
        }
        let claim = bound_to(body).filter(|claim| self.beginning.contains(claim))?;
        Some(format!("{claim} gets a new volume, which begins with its snapshot"))
    }

    /// What becomes of the volume that a claim names; `there` is the live claim of that name.
    pub(super) fn of_claim(&self, claim: &Saved, body: &Value, there: Option<&Value>) -> OfClaim {
        let place = claim.identity.place();
        if self.beginning.contains(&place) {
            return self.of_beginning(&place, body);
        }
        let Some(name) = body.pointer("/spec/volumeName").and_then(Value::as_str) else {
            return OfClaim::Anew(None);
        };
        let empty = || OfClaim::Anew(Some(EMPTY));
        let class = body.pointer("/spec/storageClassName").and_then(Value::as_str).unwrap_or_default();
        if let Some(live) = self.live.get(name) {
            return match bound_to(live) {
                None => OfClaim::Kept(None),
                Some(by) if by == place => self.of_its_own(live, (there, class)),
                Some(_) if !class.is_empty() && is_provisioned(live) => empty(),
                // What is proven beside the original asks about the claim without its volume: that one is in use.
                Some(by) if self.is_original(&by, claim) => OfClaim::Anew(None),
                Some(by) => OfClaim::Refused(format!(
                    "its volume {name} is bound to {by} in {}",
                    by.namespace.as_deref().unwrap_or_default()
                )),
            };
        }
        match self.saved.get(name) {
            // A volume that came along is made, unless something keeps it from being made.
            Some(saved) if !is_provisioned(saved) => match behind(saved).and_then(|behind| self.behind.get(&behind)) {
                Some(other) => {
                    OfClaim::Refused(format!("what is behind its volume {name} already backs the volume {other}"))
                }
                None => OfClaim::Kept(None),
            },
            _ if class.is_empty() => OfClaim::Refused(format!(
                "its volume {name} is neither there nor in the snapshot, and it has no class that provisions one"
            )),
            _ => empty(),
        }
    }

    /// A claim begins with a snapshot only in a volume that is made for it: to one that it names, or that waits for it, it
    /// would be bound as that is, and nobody would look at the snapshot. The volume of before stays, with its data.
    fn of_beginning(&self, claim: &Place, body: &Value) -> OfClaim {
        let waits = |live: &&Value| bound_to(live).as_ref() == Some(claim) && !is_bound(live);
        if let Some(volume) = self.live.values().find(waits).map(object::name) {
            return OfClaim::Refused(format!(
                "the volume {volume} waits for a claim of this name, and this one would get it as it is instead of a new one \
                 that begins with its snapshot"
            ));
        }
        if body.pointer("/spec/storageClassName").and_then(Value::as_str) == Some("") {
            return OfClaim::Refused(
                "it begins with a snapshot, and has no class that makes a volume of one (--modify gives it one)"
                    .to_owned(),
            );
        }
        OfClaim::Anew(None)
    }

    /// What becomes of a volume that names this very claim, or one of its name that is gone.
    fn of_its_own(&self, live: &Value, (there, class): (Option<&Value>, &str)) -> OfClaim {
        let volume = object::name(live);
        let text = |path: &str| live.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let of = text("/spec/claimRef/uid");
        let waits = there.is_none_or(|there| {
            object::uid(there) != of && there.pointer("/spec/volumeName").and_then(Value::as_str) == Some(volume)
        });
        // A proof never touches a volume.
        if of.is_empty() || !waits || self.proof_of.is_some() {
            return OfClaim::Kept(None);
        }
        let policy = text("/spec/persistentVolumeReclaimPolicy");
        if policy == "Retain" && !object::is_terminating(live) {
            let (volume, uid, of) = (volume.to_owned(), object::uid(live).to_owned(), of.to_owned());
            return OfClaim::Kept(Some(Freed { volume, uid, of }));
        }
        // What is behind it is being deleted, or was.
        match there {
            Some(_) => OfClaim::Kept(None),
            None if !class.is_empty() && is_provisioned(live) => OfClaim::Anew(Some(EMPTY)),
            None if object::is_terminating(live) => OfClaim::Refused(format!("its volume {volume} is being deleted")),
            None => OfClaim::Refused(format!(
                "its volume {volume} still waits for the claim of this name that is gone, and its reclaim policy {policy} has its \
                 data deleted: if they are there, set it to Retain, and the same command frees it (hint: kubectl patch pv \
                 {volume} -p '{{\"spec\":{{\"persistentVolumeReclaimPolicy\":\"Retain\"}}}}')"
            )),
        }
    }

    fn is_original(&self, by: &Place, claim: &Saved) -> bool {
        self.proof_of.is_some() && by.namespace == self.proof_of && by.name == claim.identity.name
    }
}

/// What will be in the volume of a claim. Files are put into volumes that the restore makes, and into no others; one that
/// an interrupted run of it made is made by it.
pub(super) fn words(line: &Line, body: &Value, options: &Options, of: &OfClaim) -> Option<String> {
    let (anew, is_kept) = match of {
        OfClaim::Kept(_) => (None, true),
        OfClaim::Anew(anew) => (*anew, false),
        OfClaim::Refused(_) => return None,
    };
    let ours = !options.manager.is_empty() && line.is_managed_by(&options.manager);
    // One that keeps its volume began with that once, and will not again.
    let begins = body.pointer("/spec/dataSource/name").and_then(Value::as_str).filter(|_| !is_kept);
    match (line.live.is_some() && !ours, options.files.contains(&line.place.name), begins) {
        (true, true, _) => {
            let left = "it is there, so its volume is left as it is; --into another namespace restores its files";
            Some(match other_restore(line, &options.manager) {
                // Its mark lies in the volume, where only a mover sees it.
                Some(other) => format!(
                    "{left}; another restore ({other}) wrote it: if that was interrupted, files are missing, and only the same command with the same point goes on with them"
                ),
                None => left.to_owned(),
            })
        }
        (true, false, _) if options.made_for.values().any(|claim| *claim == line.place) => Some(
            "it is there, so its volume is left as it is; --into another namespace makes one that begins with its snapshot"
                .to_owned(),
        ),
        (true, false, _) => None,
        (false, true, _) => Some("its files are put back into its volume, unless that holds files already".to_owned()),
        (false, false, Some(snapshot)) => Some(format!("its volume begins with what the snapshot {snapshot} holds")),
        (false, false, None) => anew.map(str::to_owned),
    }
}

/// Another restore that made or changed what is there.
fn other_restore(line: &Line, own: &str) -> Option<String> {
    let there = line.live.as_ref()?.open();
    let entries = object::metadata(&there)?.get("managedFields")?.as_array()?;
    let mut managers = entries.iter().filter_map(|entry| entry.get("manager")?.as_str());
    managers.find(|manager| manager.starts_with(MANAGER) && *manager != own).map(str::to_owned)
}

/// The claim that a live volume is bound to.
fn bound_to(volume: &Value) -> Option<Place> {
    let claim = volume.pointer("/spec/claimRef").filter(|claim| claim.is_object())?;
    let text = |field: &str| claim.get(field).and_then(Value::as_str).unwrap_or_default();
    Some(Place::in_namespace("persistentvolumeclaims", text("namespace"), text("name")))
}

/// Whether a volume is of one claim, by its uid, and of no other one of that name.
pub(super) fn is_bound(volume: &Value) -> bool {
    volume.pointer("/spec/claimRef/uid").and_then(Value::as_str).is_some_and(|uid| !uid.is_empty())
}

/// Whether a provisioner made the volume for a claim.
pub fn is_provisioned(volume: &Value) -> bool {
    object::annotation(volume, "pv.kubernetes.io/provisioned-by").is_some()
}

/// What is behind a volume, as something that two volumes must not share.
fn behind(volume: &Value) -> Option<String> {
    const OTHERS: [(&str, &[&str]); 9] = [
        ("awsElasticBlockStore", &["volumeID"]),
        ("gcePersistentDisk", &["pdName"]),
        ("azureDisk", &["diskURI"]),
        ("azureFile", &["secretNamespace", "shareName"]),
        ("nfs", &["server", "path"]),
        ("iscsi", &["targetPortal", "iqn", "lun"]),
        ("fc", &["targetWWNs", "lun"]),
        ("cephfs", &["monitors", "path"]),
        ("rbd", &["monitors", "pool", "image"]),
    ];
    let spec = volume.get("spec")?.as_object()?;
    if let Some(csi) = spec.get("csi") {
        return Some(format!("csi {} {}", csi.get("driver")?, csi.get("volumeHandle")?));
    }
    for (source, fields) in OTHERS {
        if let Some(value) = spec.get(source) {
            let parts: Vec<String> =
                fields.iter().map(|field| value.get(*field).unwrap_or(&Value::Null).to_string()).collect();
            return Some(format!("{source} {}", parts.join(" ")));
        }
    }
    // A path on a node is another one on another node.
    for source in ["local", "hostPath"] {
        if let Some(path) = spec.get(source).and_then(|value| value.get("path")) {
            let node = spec.get("nodeAffinity").unwrap_or(&Value::Null);
            return Some(format!("{source} {path} {node}"));
        }
    }
    None
}
