//! Which claims a namespace has, who uses them, and which of them can be read.

use super::{ANNOTATION, Account, group, users};
use crate::cluster::{ApiError, Cluster, Fault, Kind, Query};
use crate::error::{Error, Result};
use crate::snapshot::object;
use serde::Serialize;
use serde_json::Value;

/// A claim whose volume is to be saved, or why it is not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its labels.
    #[serde(skip)]
    pub labels: Value,
    /// The volume that it is bound to.
    #[serde(skip)]
    pub volume: Option<String>,
    /// The group of volumes that it is snapshot with, at one instant.
    #[serde(skip)]
    pub group: Option<String>,
    /// What becomes of it.
    #[serde(flatten)]
    pub of: Use,
}

/// How volumes are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::snapshot) enum By {
    /// Their files are read.
    Files,
    /// The storage snapshots them, whatever is in them.
    Storage,
}

/// What is known of who uses a claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "volume", content = "how")]
pub enum Use {
    /// Its files are read.
    Read {
        /// The node of the pod that uses it; none, if no pod does.
        node: Option<String>,
        /// The account of that pod.
        account: Account,
        /// Running pods that may write to it.
        writers: Vec<String>,
        /// What else that pod tolerates.
        #[serde(skip)]
        tolerations: Value,
        /// What its images are pulled with.
        #[serde(skip)]
        pull_secrets: Vec<String>,
    },
    /// Nothing of it is asked for, for this reason.
    LeftOut(String),
    /// It should be read and cannot be, for this reason.
    Cannot(String),
}

/// Looks at the claims of a namespace and at the pods that use them.
pub(in crate::snapshot) async fn plan(
    cluster: &Cluster,
    namespace: &str,
    selector: Option<&str>,
    kinds: &[Kind],
    by: By,
) -> Result<Vec<Claim>> {
    let kind = |name: &str| kinds.iter().find(|kind| kind.group_resource() == name);
    let (Some(claims), Some(pods)) = (kind("persistentvolumeclaims"), kind("pods")) else {
        return Err(Error::refused("looking at the volumes: claims and pods are not among the kinds that are saved")
            .hint("--volumes needs persistentvolumeclaims and pods; --include and --exclude must leave them in"));
    };
    let read = |why: ApiError| why.during(format!("looking at the volumes of namespace {namespace}"));
    let claims = all(cluster, Query { namespace: Some(namespace), labels: selector, ..Query::all(claims) }).await;
    let pods = all(cluster, Query { namespace: Some(namespace), ..Query::all(pods) }).await;
    let (claims, pods) = (claims.map_err(read)?, pods.map_err(read)?);
    let of_account = match by {
        By::Files => pulled_by_default(cluster, namespace).await.map_err(read)?,
        By::Storage => Vec::new(),
    };
    let mut claims: Vec<Claim> = claims.iter().map(|claim| judged(claim, &pods, by)).collect();
    for claim in &mut claims {
        if let Use::Read { pull_secrets, .. } = &mut claim.of {
            pull_secrets.extend(of_account.iter().cloned());
        }
    }
    Ok(claims)
}

/// What the account that movers run as pulls with: a pod that names some itself gets none of its account. Where nobody may
/// look, admission gives them to those that name none.
async fn pulled_by_default(cluster: &Cluster, namespace: &str) -> Result<Vec<String>, ApiError> {
    let kind = Kind { namespaced: true, ..Kind::known("", "v1", "serviceaccounts", "ServiceAccount") };
    match cluster.one(&kind, Some(namespace), users::DEFAULT).await {
        Err(why) if why.fault == Fault::Forbidden => Ok(Vec::new()),
        account => Ok(account?.map(|account| users::names(&account["imagePullSecrets"])).unwrap_or_default()),
    }
}

/// Everything that is asked for.
pub(super) async fn all(cluster: &Cluster, query: Query<'_>) -> Result<Vec<Value>, ApiError> {
    let mut listing = cluster.list(query);
    let mut found = Vec::new();
    while let Some(item) = listing.next().await? {
        found.extend(serde_json::from_slice::<Value>(&item).ok());
    }
    Ok(found)
}

fn judged(claim: &Value, pods: &[Value], by: By) -> Claim {
    let name = object::name(claim);
    let of = if object::annotation(claim, ANNOTATION) == Some("skip") {
        Use::LeftOut(format!("{ANNOTATION} says skip"))
    } else if claim["status"]["phase"] == "Pending" {
        Use::LeftOut("it is not bound to a volume, so nothing is in it".to_owned())
    } else if claim["status"]["phase"] != "Bound" {
        Use::Cannot("its volume is lost".to_owned())
    } else if by == By::Files && claim["spec"]["volumeMode"] == "Block" {
        Use::Cannot("it is a raw block device and has no files".to_owned())
    } else {
        used(name, pods)
    };
    let volume = claim["spec"]["volumeName"].as_str().map(str::to_owned);
    let group = group::of_claim(claim).map(str::to_owned);
    let labels = claim["metadata"]["labels"].clone();
    Claim { name: name.to_owned(), uid: object::uid(claim).to_owned(), labels, volume, group, of }
}

fn used(claim: &str, pods: &[Value]) -> Use {
    let mut users: Vec<(&Value, &str, bool)> = pods.iter().filter_map(|pod| mounts(pod, claim)).collect();
    // Among several the running one: its node is where the volume is.
    users.sort_by_key(|(pod, _, _)| (pod["status"]["phase"] != "Running", object::name(pod).to_owned()));
    let running = users.iter().filter(|(pod, _, writes)| *writes && pod["status"]["phase"] == "Running");
    let writers = running.map(|(pod, _, _)| object::name(pod).to_owned()).collect();
    let first = users.first();
    let runs = |pod: &&Value| ["Running", "Pending"].iter().any(|phase| pod["status"]["phase"] == *phase);
    let pod = first.map(|(pod, _, _)| *pod);
    Use::Read {
        node: pod.filter(runs).and_then(|pod| pod["spec"]["nodeName"].as_str()).map(str::to_owned),
        account: first.map(|(pod, volume, _)| account(pod, volume)).unwrap_or_default(),
        writers,
        tolerations: pod.map(|pod| pod["spec"]["tolerations"].clone()).unwrap_or_default(),
        pull_secrets: pod.map(|pod| users::names(&pod["spec"]["imagePullSecrets"])).unwrap_or_default(),
    }
}

/// The volume of a pod that is this claim, and whether any of its containers may write to it.
fn mounts<'a>(pod: &'a Value, claim: &str) -> Option<(&'a Value, &'a str, bool)> {
    let volumes = pod["spec"]["volumes"].as_array()?;
    let volume = volumes.iter().find(|volume| volume["persistentVolumeClaim"]["claimName"] == claim)?;
    let name = volume["name"].as_str()?;
    let whole = volume["persistentVolumeClaim"]["readOnly"] != true;
    let of = |field: &'static str| containers(pod).flat_map(move |one| one[field].as_array().into_iter().flatten());
    // A raw block device is no mount, and is always given for writing.
    let writes = of("volumeMounts").any(|mount| mount["name"] == name && mount["readOnly"] != true)
        || of("volumeDevices").any(|device| device["name"] == name);
    Some((pod, name, whole && writes))
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let of = |field: &str| pod["spec"][field].as_array().into_iter().flatten();
    of("containers").chain(of("initContainers"))
}

/// Whom the container that mounts the volume runs as: what the container says wins over what the pod says.
fn account(pod: &Value, volume: &str) -> Account {
    let context = &pod["spec"]["securityContext"];
    let mut account: Account = serde_json::from_value(context.clone()).unwrap_or_default();
    let mounts = |one: &&Value| {
        one["volumeMounts"].as_array().is_some_and(|mounts| mounts.iter().any(|mount| mount["name"] == volume))
    };
    if let Some(container) = containers(pod).find(mounts) {
        let own = &container["securityContext"];
        account.run_as_user = own["runAsUser"].as_i64().or(account.run_as_user);
        account.run_as_group = own["runAsGroup"].as_i64().or(account.run_as_group);
    }
    account
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(name: &str, phase: &str, more: &Value) -> Value {
        let mut claim = json!({"metadata": {"name": name, "uid": "u"}, "spec": {}, "status": {"phase": phase}});
        crate::snapshot::map::patch::merge(&mut claim, more);
        claim
    }

    fn pod(name: &str, phase: &str, read_only: bool) -> Value {
        json!({"metadata": {"name": name}, "status": {"phase": phase}, "spec": {
            "nodeName": "node-2",
            "securityContext": {"runAsUser": 70, "fsGroup": 71, "supplementalGroups": [72], "seccompProfile": {"type": "x"}},
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
            "containers": [{"name": "other"}, {"name": "db", "securityContext": {"runAsUser": 80},
                "volumeMounts": [{"name": "v", "mountPath": "/d", "readOnly": read_only}]}]}})
    }

    #[test]
    fn the_running_pod_says_as_whom_and_where_and_whether_it_writes() {
        let pods =
            [pod("a-done", "Succeeded", false), pod("b-runs", "Running", false), pod("c-reads", "Running", true)];
        let Use::Read { node, account, writers, .. } = judged(&claim("data", "Bound", &json!({})), &pods, By::Files).of
        else {
            panic!("it is read")
        };
        assert_eq!((node.as_deref(), writers), (Some("node-2"), vec!["b-runs".to_owned()]));
        let wanted =
            Account { run_as_user: Some(80), fs_group: Some(71), supplemental_groups: vec![72], run_as_group: None };
        assert_eq!(account, wanted);
        let Use::Read { node, writers, .. } = judged(&claim("data", "Bound", &json!({})), &pods[..1], By::Files).of
        else {
            panic!("it is read")
        };
        assert_eq!((node, writers), (None, vec![]), "a pod that has ended holds nothing");
    }

    #[test]
    fn what_is_not_read_has_its_reason() {
        let of = |phase: &str, more: Value| judged(&claim("data", phase, &more), &[], By::Files).of;
        assert!(matches!(of("Pending", json!({})), Use::LeftOut(_)));
        assert!(matches!(of("Lost", json!({})), Use::Cannot(_)));
        assert!(matches!(of("Bound", json!({"spec": {"volumeMode": "Block"}})), Use::Cannot(_)));
        let skip = json!({"metadata": {"annotations": {"davit.dev/volume": "skip"}}});
        assert_eq!(of("Bound", skip), Use::LeftOut("davit.dev/volume says skip".to_owned()));
        assert!(matches!(of("Bound", json!({})), Use::Read { node: None, .. }));
    }

    #[test]
    fn the_storage_snapshots_raw_block_devices_too_and_knows_who_writes_to_them() {
        let mut pod = pod("db", "Running", true);
        pod["spec"]["containers"][0]["volumeDevices"] = json!([{"name": "v", "devicePath": "/dev/xvda"}]);
        let block = claim("data", "Bound", &json!({"spec": {"volumeMode": "Block"}}));
        let Use::Read { writers, .. } = judged(&block, &[pod], By::Storage).of else { panic!("it is snapshot") };
        assert_eq!(writers, ["db"]);
    }
}
