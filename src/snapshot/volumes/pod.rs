//! A mover pod: made for one volume, or for those of one pod, used by exec, and gone afterwards whatever happened.

use super::users::Terms;
use super::{Account, LONGEST, MOVER_LABEL, pods};
use crate::clock::SharedClock;
use crate::cluster::{ApiError, Cluster, Delete, Exec, ExecOutcome, Fault, Write};
use crate::id::Sha256;
use crate::repository::intent::LONGEST_RUN;
use crate::snapshot::object;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Where the volume is in the pod.
pub(super) const MOUNT: &str = "/volume";
const CONTAINER: &str = "mover";
/// A volume may have to be made and attached before the pod begins.
const BEGUN: Duration = Duration::from_mins(5);
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// What a kubelet says of an image that will not come.
const HOPELESS: [&str; 5] =
    ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError"];

/// A claim in a mover pod, and whom its files are read or made as.
#[derive(Debug)]
pub(super) struct Mount<'a> {
    pub(super) claim: &'a str,
    pub(super) account: &'a Account,
}

/// What a mover pod is made of.
#[derive(Debug)]
pub(super) struct Spec<'a> {
    pub(super) namespace: &'a str,
    /// A container for each of them: they may have different accounts.
    pub(super) mounts: Vec<Mount<'a>>,
    /// Claims that must be had from where it runs, and that nothing in it touches.
    pub(super) beside: &'a [&'a str],
    pub(super) image: &'a str,
    /// The one node on which it runs.
    pub(super) node: Option<&'a str>,
    pub(super) terms: &'a Terms,
    /// What its image is pulled with.
    pub(super) pull_secrets: Vec<String>,
    pub(super) read_only: bool,
    /// Which run it belongs to, as a label.
    pub(super) run: &'a str,
}

impl Spec<'_> {
    fn claims(&self) -> String {
        let claims: Vec<&str> = self.mounts.iter().map(|mount| mount.claim).collect();
        claims.join(" ")
    }

    /// Of this run and these claims alone.
    fn name(&self) -> String {
        let text = format!("{} {} {}", self.run, self.claims(), self.read_only);
        format!("davit-mover-{}", &Sha256::of(text.as_bytes()).to_string()[..16])
    }

    fn body(&self) -> Value {
        let count = u32::try_from(self.mounts.len()).unwrap_or(u32::MAX);
        let longest = LONGEST.saturating_mul(count).min(LONGEST_RUN);
        let claims = self.mounts.iter().map(|mount| mount.claim).chain(self.beside.iter().copied());
        let volume = |(number, claim)| json!({"name": volume(number), "persistentVolumeClaim": {"claimName": claim}});
        let mut spec = json!({
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            // If the runner dies, the pod ends by itself.
            "activeDeadlineSeconds": longest.as_secs(),
            "terminationGracePeriodSeconds": 0,
            "securityContext": self.groups(),
            "containers": self.mounts.iter().enumerate().map(|(number, one)| self.container(number, one)).collect::<Vec<_>>(),
            // One that no container mounts is not mounted, but the scheduler looks from where it can be had.
            "volumes": claims.enumerate().map(volume).collect::<Vec<_>>()
        });
        self.place(&mut spec);
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name(),
                "labels": {MOVER_LABEL: self.run, "app.kubernetes.io/name": "davit-mover"},
                "annotations": {"davit.dev/claim": self.claims()}
            },
            "spec": spec
        })
    }

    fn container(&self, number: usize, mount: &Mount<'_>) -> Value {
        let mut context = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}
        });
        let Account { run_as_user, run_as_group, .. } = mount.account;
        for (field, id) in [("runAsUser", run_as_user), ("runAsGroup", run_as_group)] {
            if let Some(id) = id {
                context[field] = json!(id);
            }
        }
        if run_as_user.is_some_and(|user| user != 0) {
            context["runAsNonRoot"] = json!(true);
        }
        json!({
            "name": container(number),
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["davit", "mover", "wait"],
            "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
            "securityContext": context,
            "volumeMounts": [{"name": volume(number), "mountPath": MOUNT, "readOnly": self.read_only}]
        })
    }

    /// The groups, which a pod has as a whole: one owns the volumes, and files of all of them can be given to all.
    fn groups(&self) -> Value {
        let owns = self.mounts.iter().find_map(|mount| mount.account.fs_group);
        let others = self.mounts.iter().flat_map(|mount| {
            let account = mount.account;
            account.fs_group.into_iter().filter(|group| Some(*group) != owns).chain(account.supplemental_groups.clone())
        });
        let others: BTreeSet<i64> = others.collect();
        // A large volume is not gone through on each start; and what is read only must not get other owners.
        let mut context =
            json!({"seccompProfile": {"type": "RuntimeDefault"}, "fsGroupChangePolicy": "OnRootMismatch"});
        if let Some(group) = owns {
            context["fsGroup"] = json!(group);
        }
        if !others.is_empty() {
            context["supplementalGroups"] = json!(others);
        }
        context
    }

    /// What somebody can do about a pod for which there is no place. One that saves runs where the volume is.
    fn hint(&self, pod: &Value) -> &'static str {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        let mut placed = conditions.filter(|one| one["type"] == "PodScheduled");
        if placed.any(|one| one["status"] == "False") && !self.read_only {
            " (hint: --modify changes where the pod may run that will use its claims, and so where its mover may)"
        } else {
            ""
        }
    }

    fn place(&self, spec: &mut Value) {
        let terms = self.terms;
        if !terms.node_selector.is_null() {
            spec["nodeSelector"] = terms.node_selector.clone();
        }
        if let Some(node) = self.node {
            // By its label and not by its name: the scheduler still looks whether the pod fits there.
            spec["nodeSelector"]["kubernetes.io/hostname"] = json!(node);
        }
        if !terms.node_affinity.is_null() {
            spec["affinity"]["nodeAffinity"] = terms.node_affinity.clone();
        }
        if terms.tolerations.is_array() {
            spec["tolerations"] = terms.tolerations.clone();
        }
        // The labels of its pod would make Services lead to it, so it keeps apart by its own; and it only prefers to: it is
        // better to have the files back where one pod of several cannot run than not to have them.
        let apart = terms.apart.iter().map(|topology| {
            let term = json!({"labelSelector": {"matchLabels": {MOVER_LABEL: self.run}}, "topologyKey": topology});
            json!({"weight": 100, "podAffinityTerm": term})
        });
        let apart: Vec<Value> = apart.collect();
        if !apart.is_empty() {
            spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = json!(apart);
        }
        if !self.pull_secrets.is_empty() {
            let secrets = self.pull_secrets.iter().map(|name| json!({"name": name}));
            spec["imagePullSecrets"] = secrets.collect();
        }
    }
}

fn container(number: usize) -> String {
    if number == 0 { CONTAINER.to_owned() } else { format!("{CONTAINER}-{number}") }
}

fn volume(number: usize) -> String {
    format!("volume-{number}")
}

/// Mover pods that are there, or may be, by their names: what a stopped run takes away last. Their uids, once they are known.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct Open(Mutex<BTreeMap<String, Option<String>>>);

impl Open {
    fn pods(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uid(&self, name: &str) -> Option<String> {
        self.pods().get(name).cloned().flatten()
    }

    /// Takes away every pod that is still there; what cannot be taken away, in words.
    pub(in crate::snapshot) async fn close(&self, cluster: &Cluster, namespace: &str) -> Vec<String> {
        let names: Vec<String> = self.pods().keys().cloned().collect();
        let mut left = Vec::new();
        for name in names {
            left.extend(remove(cluster, namespace, &name, self).await.err());
        }
        left
    }
}

/// A mover pod that runs.
pub(super) struct Mover<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    name: String,
    open: &'a Open,
}

impl<'a> Mover<'a> {
    /// Makes the pod and waits until it runs. Why it does not, in words.
    pub(super) async fn start(
        cluster: &'a Cluster,
        clock: &SharedClock,
        spec: &Spec<'a>,
        open: &'a Open,
    ) -> Result<Self, String> {
        let name = spec.name();
        open.pods().insert(name.clone(), None);
        let mover = Self { cluster, namespace: spec.namespace, name, open };
        let (kind, body) = (pods(), spec.body());
        let post = || cluster.make(&kind, Some(spec.namespace), &body, Write::default());
        let mut made = post().await;
        if made.as_ref().is_err_and(|why| why.fault == Fault::Exists) {
            // Of a run of the same command that was killed; or that goes on, and then finds its mover gone.
            mover.clear(clock).await?;
            made = post().await;
        }
        match made {
            Ok(uid) => drop(open.pods().insert(mover.name.clone(), (!uid.is_empty()).then_some(uid))),
            Err(why) => {
                // Whether it was made is not known after a lost answer; what was there before is another run's.
                if why.fault == Fault::Exists {
                    open.pods().remove(&mover.name);
                }
                drop(mover.remove().await);
                return Err(format!("its mover pod cannot be made: {why}"));
            }
        }
        match mover.await_start(clock, spec).await {
            Ok(()) => Ok(mover),
            Err(why) => {
                let removed = mover.remove().await.err().map(|why| format!("; {why}")).unwrap_or_default();
                Err(format!("{why}{removed}"))
            }
        }
    }

    /// Takes away the pod of another run that is called so, and waits until it is gone.
    async fn clear(&self, clock: &SharedClock) -> Result<(), String> {
        let began = clock.monotonic();
        let mut first = None;
        loop {
            let there = self.cluster.one(&pods(), Some(self.namespace), &self.name).await;
            let there = there.map_err(|why| format!("the mover pod of another run cannot be looked at: {why}"))?;
            let Some(uid) = there.as_ref().map(object::uid) else { return Ok(()) };
            match &first {
                None => {
                    take_away(self.cluster, self.namespace, &self.name, Some(uid)).await?;
                    first = Some(uid.to_owned());
                }
                Some(first) if first != uid => return Ok(()),
                Some(_) if clock.monotonic().saturating_sub(began) > BEGUN => {
                    return Err(format!("the mover pod {} of another run does not go", self.name));
                }
                Some(_) => clock.sleep(LOOK_AGAIN).await,
            }
        }
    }

    async fn await_start(&self, clock: &SharedClock, spec: &Spec<'_>) -> Result<(), String> {
        let began = clock.monotonic();
        loop {
            let found = self.cluster.one(&pods(), Some(self.namespace), &self.name).await;
            let pod = found.map_err(|why| format!("its mover pod cannot be looked at: {why}"))?;
            let uid = self.open.uid(&self.name);
            let ours = |pod: &Value| uid.as_deref().is_none_or(|uid| object::uid(pod) == uid);
            let Some(pod) = pod.filter(ours) else { return Err("its mover pod was deleted by somebody".to_owned()) };
            let phase = pod["status"]["phase"].as_str().unwrap_or_default();
            let waits = why_waiting(&pod);
            match phase {
                "Running" if all_run(&pod) => return Ok(()),
                "Failed" | "Succeeded" => return Err(format!("its mover pod ended at once: {waits}")),
                _ if HOPELESS.iter().any(|word| waits.starts_with(word)) => {
                    return Err(format!("its mover pod does not start: {waits}"));
                }
                _ if clock.monotonic().saturating_sub(began) > BEGUN => {
                    let hint = spec.hint(&pod);
                    return Err(format!("its mover pod does not start within five minutes: {waits}{hint}"));
                }
                _ => clock.sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Runs the mover at one of its claims.
    pub(super) async fn run(
        &self,
        claim: usize,
        command: &[String],
        input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        output: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<ExecOutcome, ApiError> {
        let container = container(claim);
        let exec = Exec {
            namespace: self.namespace,
            pod: &self.name,
            container: Some(&container),
            command,
            timeout: LONGEST,
            insists: false,
        };
        self.cluster.exec(&exec, input, output).await
    }

    /// Takes the pod away.
    pub(super) async fn remove(&self) -> Result<(), String> {
        remove(self.cluster, self.namespace, &self.name, self.open).await
    }
}

/// Takes away the pod that was made, and not the one that another run of the same restore has put in its place.
async fn remove(cluster: &Cluster, namespace: &str, name: &str, open: &Open) -> Result<(), String> {
    if !open.pods().contains_key(name) {
        return Ok(());
    }
    take_away(cluster, namespace, name, open.uid(name).as_deref()).await?;
    open.pods().remove(name);
    Ok(())
}

/// Goes on although the run was stopped: it undoes something.
async fn take_away(cluster: &Cluster, namespace: &str, name: &str, uid: Option<&str>) -> Result<(), String> {
    let delete = Delete { uid, ..Delete::default() };
    match cluster.insisting().delete(&pods(), (Some(namespace), name), delete, Write::default()).await {
        // Another uid is there by now: this one is gone.
        Err(why) if why.fault == Fault::Conflict && uid.is_some() => Ok(()),
        Err(why) if why.fault != Fault::NotFound => {
            Err(format!("the mover pod {name} is left behind and ends by itself: {why}"))
        }
        _ => Ok(()),
    }
}

/// A pod is called running as soon as one of its containers is.
fn all_run(pod: &Value) -> bool {
    statuses(pod).all(|one| one["state"]["running"].is_object())
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["status"]["containerStatuses"].as_array().into_iter().flatten()
}

/// Why a pod does not run yet, in the words of the scheduler or the kubelet.
fn why_waiting(pod: &Value) -> String {
    for state in ["waiting", "terminated"] {
        for one in statuses(pod).map(|one| &one["state"][state]) {
            if let Some(reason) = one["reason"].as_str() {
                let message = one["message"].as_str().unwrap_or_default();
                return format!("{reason}: {message}");
            }
        }
    }
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut bad = conditions.filter(|one| one["status"] == "False").filter_map(|one| one["message"].as_str());
    bad.next().or(pod["status"]["message"].as_str()).unwrap_or("nobody says why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(mounts: &[(&'a str, &'a Account)], node: Option<&'a str>, terms: &'a Terms) -> Spec<'a> {
        Spec {
            namespace: "shop",
            mounts: mounts.iter().map(|(claim, account)| Mount { claim, account }).collect(),
            beside: &["there"],
            image: "davit:1",
            node,
            terms,
            pull_secrets: terms.pull_secrets.clone(),
            read_only: true,
            run: "r1",
        }
    }

    fn spec(mounts: &[(&str, &Account)], node: Option<&str>, terms: &Terms) -> Value {
        of(mounts, node, terms).body()
    }

    #[test]
    fn a_mover_is_as_restricted_as_a_pod_can_be_and_runs_as_who_uses_the_claim() {
        let account = Account { run_as_user: Some(70), fs_group: Some(71), ..Account::default() };
        let pod = spec(&[("data", &account)], Some("node-2"), &Terms::default());
        let (spec, container) = (&pod["spec"], &pod["spec"]["containers"][0]);
        assert_eq!(container["securityContext"]["runAsUser"], 70);
        assert_eq!(container["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["fsGroup"], 71);
        assert!(container["securityContext"]["runAsGroup"].is_null());
        assert_eq!(spec["nodeSelector"], json!({"kubernetes.io/hostname": "node-2"}));
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
        assert_eq!(container["volumeMounts"][0]["readOnly"], true);
        assert!(!pod.to_string().contains("ecret"), "no key is ever mounted");
        let ends = |claims: usize| {
            let pod = self::spec(&vec![("data", &account); claims], None, &Terms::default());
            pod["spec"]["activeDeadlineSeconds"].as_u64().unwrap() / 3600
        };
        assert_eq!([1, 2, 4, 40].map(ends), [12, 24, 48, 48], "a time for each claim, and no more than a run may take");
    }

    #[test]
    fn claims_of_one_pod_share_a_mover_that_reaches_the_others_of_that_pod_too() {
        let one = Account { run_as_user: Some(70), fs_group: Some(71), ..Account::default() };
        let other =
            Account { run_as_user: Some(0), fs_group: Some(72), supplemental_groups: vec![9], ..Account::default() };
        let terms = Terms {
            node_selector: json!({"disk": "ssd"}),
            node_affinity: json!({"x": 1}),
            tolerations: json!([{"key": "db"}]),
            apart: vec!["zone".to_owned()],
            pull_secrets: vec!["pull".to_owned()],
        };
        let pod = spec(&[("data", &one), ("wal", &other)], Some("node-2"), &terms);
        let spec = &pod["spec"];
        let claims: Vec<&Value> = spec["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|volume| &volume["persistentVolumeClaim"]["claimName"])
            .collect();
        assert_eq!(claims, ["data", "wal", "there"]);
        let users: Vec<&Value> =
            [0, 1].iter().map(|at| &spec["containers"][at]["securityContext"]["runAsUser"]).collect();
        assert_eq!(users, [&json!(70), &json!(0)]);
        assert_eq!(spec["containers"][1]["volumeMounts"][0]["name"], spec["volumes"][1]["name"]);
        assert!(spec["containers"][2].is_null(), "what is there already is in no container");
        assert_eq!(
            (&spec["securityContext"]["fsGroup"], &spec["securityContext"]["supplementalGroups"]),
            (&json!(71), &json!([9, 72]))
        );
        assert_eq!(spec["nodeSelector"], json!({"disk": "ssd", "kubernetes.io/hostname": "node-2"}));
        assert_eq!(
            (&spec["affinity"]["nodeAffinity"], &spec["tolerations"]),
            (&json!({"x": 1}), &json!([{"key": "db"}]))
        );
        let apart = &spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"];
        assert_eq!(
            (&apart["topologyKey"], &apart["labelSelector"]["matchLabels"]),
            (&json!("zone"), &json!({MOVER_LABEL: "r1"}))
        );
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "pull"}]));
    }

    #[test]
    fn a_pod_that_waits_says_why() {
        let pulled = json!({"status": {"containerStatuses": [{"state": {"running": {}}},
            {"state": {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}}]}});
        assert_eq!((why_waiting(&pulled).as_str(), all_run(&pulled)), ("ErrImagePull: no such host", false));
        let unscheduled =
            json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]}});
        assert_eq!(why_waiting(&unscheduled), "0/3 nodes");
        let terms = Terms::default();
        let hints = |pod: &Value, read_only| Spec { read_only, ..of(&[], None, &terms) }.hint(pod).contains("--modify");
        assert_eq!(
            (hints(&unscheduled, false), hints(&unscheduled, true), hints(&pulled, false)),
            (true, false, false)
        );
    }
}
