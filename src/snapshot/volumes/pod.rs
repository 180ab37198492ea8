//! A mover pod: made for one volume, used by exec, and gone afterwards whatever happened.

use super::{Account, LONGEST, MOVER_LABEL, pods};
use crate::clock::SharedClock;
use crate::cluster::{ApiError, Cluster, Delete, Exec, ExecOutcome, Fault, Write};
use crate::id::Sha256;
use serde_json::{Value, json};
use std::collections::BTreeSet;
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

/// What a mover pod is made of.
#[derive(Debug)]
pub(super) struct Spec<'a> {
    pub(super) namespace: &'a str,
    pub(super) claim: &'a str,
    pub(super) image: &'a str,
    pub(super) account: &'a Account,
    pub(super) node: Option<&'a str>,
    pub(super) tolerations: &'a Value,
    pub(super) read_only: bool,
    /// Which run it belongs to, as a label.
    pub(super) run: &'a str,
}

impl Spec<'_> {
    /// Of this run and this claim alone.
    fn name(&self) -> String {
        let text = format!("{} {} {}", self.run, self.claim, self.read_only);
        format!("davit-mover-{}", &Sha256::of(text.as_bytes()).to_string()[..16])
    }

    fn body(&self) -> Value {
        let mut context = json!(self.account);
        context["seccompProfile"] = json!({"type": "RuntimeDefault"});
        // A large volume is not gone through on each start; and what is read only must not get other owners.
        context["fsGroupChangePolicy"] = json!("OnRootMismatch");
        if self.account.run_as_user.is_some_and(|user| user != 0) {
            context["runAsNonRoot"] = json!(true);
        }
        let mut spec = json!({
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            // If the runner dies, the pod ends by itself.
            "activeDeadlineSeconds": LONGEST.as_secs(),
            "terminationGracePeriodSeconds": 0,
            "securityContext": context,
            "containers": [{
                "name": CONTAINER,
                "image": self.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["davit", "mover", "wait"],
                "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]}
                },
                "volumeMounts": [{"name": "volume", "mountPath": MOUNT, "readOnly": self.read_only}]
            }],
            "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": self.claim}}]
        });
        if let Some(node) = self.node {
            // By its label and not by its name: the scheduler still looks whether the pod fits there.
            spec["nodeSelector"] = json!({"kubernetes.io/hostname": node});
        }
        if self.tolerations.is_array() {
            spec["tolerations"] = self.tolerations.clone();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name(),
                "labels": {MOVER_LABEL: self.run, "app.kubernetes.io/name": "davit-mover"},
                "annotations": {"davit.dev/claim": self.claim}
            },
            "spec": spec
        })
    }
}

/// Names of mover pods that are there, or may be: what a stopped run takes away last.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct Open(Mutex<BTreeSet<String>>);

impl Open {
    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes away every pod that is still there; what cannot be taken away, in words.
    pub(in crate::snapshot) async fn close(&self, cluster: &Cluster, namespace: &str) -> Vec<String> {
        let names: Vec<String> = self.names().iter().cloned().collect();
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
        open.names().insert(name.clone());
        let mover = Self { cluster, namespace: spec.namespace, name, open };
        let made = cluster.create(&pods(), Some(spec.namespace), &spec.body(), Write::default()).await;
        if let Err(why) = made {
            // Whether it was made is not known after a lost answer.
            drop(mover.remove().await);
            return Err(format!("its mover pod cannot be made: {why}"));
        }
        match mover.await_start(clock).await {
            Ok(()) => Ok(mover),
            Err(why) => {
                let removed = mover.remove().await.err().map(|why| format!("; {why}")).unwrap_or_default();
                Err(format!("{why}{removed}"))
            }
        }
    }

    async fn await_start(&self, clock: &SharedClock) -> Result<(), String> {
        let began = clock.monotonic();
        loop {
            let found = self.cluster.one(&pods(), Some(self.namespace), &self.name).await;
            let pod = found.map_err(|why| format!("its mover pod cannot be looked at: {why}"))?;
            let Some(pod) = pod else { return Err("its mover pod was deleted by somebody".to_owned()) };
            let phase = pod["status"]["phase"].as_str().unwrap_or_default();
            let waits = why_waiting(&pod);
            match phase {
                "Running" => return Ok(()),
                "Failed" | "Succeeded" => return Err(format!("its mover pod ended at once: {waits}")),
                _ if HOPELESS.iter().any(|word| waits.starts_with(word)) => {
                    return Err(format!("its mover pod does not start: {waits}"));
                }
                _ if clock.monotonic().saturating_sub(began) > BEGUN => {
                    return Err(format!("its mover pod does not start within five minutes: {waits}"));
                }
                _ => clock.sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Runs the mover in the pod.
    pub(super) async fn run(
        &self,
        command: &[String],
        input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        output: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<ExecOutcome, ApiError> {
        let exec = Exec {
            namespace: self.namespace,
            pod: &self.name,
            container: Some(CONTAINER),
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

/// Goes on although the run was stopped: it undoes something. No other pod is ever called so.
async fn remove(cluster: &Cluster, namespace: &str, name: &str, open: &Open) -> Result<(), String> {
    let at = (Some(namespace), name);
    match cluster.insisting().delete(&pods(), at, Delete::default(), Write::default()).await {
        Err(why) if why.fault != Fault::NotFound => {
            Err(format!("the mover pod {name} is left behind and ends by itself: {why}"))
        }
        _ => {
            open.names().remove(name);
            Ok(())
        }
    }
}

/// Why a pod does not run yet, in the words of the scheduler or the kubelet.
fn why_waiting(pod: &Value) -> String {
    let waiting = &pod["status"]["containerStatuses"][0]["state"];
    for state in ["waiting", "terminated"] {
        if let Some(reason) = waiting[state]["reason"].as_str() {
            let message = waiting[state]["message"].as_str().unwrap_or_default();
            return format!("{reason}: {message}");
        }
    }
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut bad = conditions.filter(|one| one["status"] == "False").filter_map(|one| one["message"].as_str());
    bad.next().or(pod["status"]["message"].as_str()).unwrap_or("nobody says why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(account: &Account, node: Option<&'static str>) -> Value {
        let tolerations = Value::Null;
        let spec = Spec {
            namespace: "shop",
            claim: "data",
            image: "davit:1",
            account,
            node,
            tolerations: &tolerations,
            read_only: true,
            run: "r1",
        };
        spec.body()
    }

    #[test]
    fn a_mover_is_as_restricted_as_a_pod_can_be_and_runs_as_who_uses_the_claim() {
        let account = Account { run_as_user: Some(70), fs_group: Some(71), ..Account::default() };
        let pod = spec(&account, Some("node-2"));
        let (spec, container) = (&pod["spec"], &pod["spec"]["containers"][0]);
        assert_eq!(spec["securityContext"]["runAsUser"], 70);
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["fsGroup"], 71);
        assert!(spec["securityContext"]["runAsGroup"].is_null());
        assert_eq!(spec["nodeSelector"]["kubernetes.io/hostname"], "node-2");
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
        assert_eq!(container["volumeMounts"][0]["readOnly"], true);
        assert!(!pod.to_string().contains("secret"), "no key is ever mounted");
    }

    #[test]
    fn a_pod_that_waits_says_why() {
        let pulled = json!({"status": {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}}]}});
        assert_eq!(why_waiting(&pulled), "ErrImagePull: no such host");
        let unscheduled =
            json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]}});
        assert_eq!(why_waiting(&unscheduled), "0/3 nodes");
    }
}
