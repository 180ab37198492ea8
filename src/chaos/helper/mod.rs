//! Helper pods: what carries a fault in another pod's world, where no API and no `exec` reaches.
//!
//! One per victim, on its node, in a namespace of their own that admits privileged pods. A helper knows from its own
//! orders what to undo and until when: started again, it heals first. Healing is a helper, too, so that it needs nothing
//! of the one that injected.

mod faults;

pub(super) use faults::FAULTS;

use super::evidence::Proof;
use super::fault::{Place, Prepared, Rule, Scene};
use crate::chaos::cluster::{meta, pods};
use crate::cluster::{Delete, Exec, Fault as ApiFault, Write};
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::time::Duration;

const SCRIPT: &str = include_str!("script.sh");
/// How long a helper may take to start: its image may have to be pulled.
const STARTED: Duration = Duration::from_mins(2);
/// How long healing or looking may take.
const DONE: Duration = Duration::from_mins(2);
const EXEC: Duration = Duration::from_secs(10);

/// What the helpers take in their own namespace.
pub(super) const RBAC: [Rule; 3] = [
    Rule { group: "", resource: "pods", verbs: &["get", "list", "create", "delete"], place: Place::Helper },
    Rule { group: "", resource: "pods/exec", verbs: &["create", "get"], place: Place::Helper },
    Rule { group: "", resource: "pods", verbs: &["get", "list"], place: Place::Target },
];

/// What a helper is told to do, noted in the intent.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Orders {
    /// As the script knows it.
    pub(super) what: String,
    /// The node.
    pub(super) node: String,
    /// The container's id.
    pub(super) container: String,
    /// What else the script wants.
    pub(super) amount: String,
    pub(super) place: String,
    pub(super) peer: String,
    /// When it heals by itself, in seconds since 1970.
    pub(super) until: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Hold,
    Heal,
    Check,
}

impl Mode {
    const fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Heal => "heal",
            Self::Check => "check",
        }
    }
}

fn name(scene: &Scene<'_>, prepared: &Prepared, mode: Mode) -> String {
    let victim = &blake3::hash(prepared.victim.key.as_bytes()).to_hex()[..8];
    format!("davit-{}-{victim}-{}", scene.run.as_str().to_lowercase(), mode.word())
}

fn manifest(scene: &Scene<'_>, prepared: &Prepared, orders: &Orders, mode: Mode) -> Value {
    let helper = &scene.means.helper;
    let deadline = scene.expiry() + DONE;
    let pair = |name: &str, value: &str| json!({ "name": name, "value": value });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name(scene, prepared, mode),
            "namespace": helper.namespace,
            "labels": { "app.kubernetes.io/managed-by": "davit", "davit.dev/run": scene.run, "davit.dev/mode": mode.word() },
        },
        "spec": {
            "nodeName": orders.node,
            "hostPID": true,
            "restartPolicy": if mode == Mode::Hold { "OnFailure" } else { "Never" },
            "activeDeadlineSeconds": deadline.as_secs(),
            "terminationGracePeriodSeconds": 15,
            "automountServiceAccountToken": false,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "helper",
                "image": helper.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-c", SCRIPT],
                "securityContext": { "privileged": true, "runAsUser": 0 },
                "env": [
                    pair("MODE", mode.word()), pair("WHAT", &orders.what), pair("MARK", &scene.mark()),
                    pair("CONTAINER", &orders.container), pair("AMOUNT", &orders.amount), pair("WHERE", &orders.place),
                    pair("PEER", &orders.peer), pair("UNTIL", &orders.until.to_string()),
                ],
            }],
        },
    })
}

/// Starts a helper; one that is there already is the same.
async fn start(scene: &Scene<'_>, prepared: &Prepared, mode: Mode) -> Result<()> {
    let orders: Orders = prepared.prior()?;
    let body = manifest(scene, prepared, &orders, mode);
    let answer =
        scene.means.cluster()?.create(&pods(), Some(&scene.means.helper.namespace), &body, Write::default()).await;
    match answer {
        Err(why) if why.fault != ApiFault::Exists => {
            let doing = format!("starting a helper pod in {}", scene.means.helper.namespace);
            let hint = "the namespace must exist and admit privileged pods (docs/chaos.md)";
            Err(why.during(doing).hint(hint))
        }
        _ => Ok(()),
    }
}

/// The helper of a mode as it is now.
async fn now(scene: &Scene<'_>, prepared: &Prepared, mode: Mode) -> Result<Option<Value>> {
    let (namespace, name) = (scene.means.helper.namespace.as_str(), name(scene, prepared, mode));
    match scene.means.cluster()?.get(&pods(), Some(namespace), &name).await {
        Ok(pod) => Ok(Some(pod)),
        Err(why) if why.fault == ApiFault::NotFound => Ok(None),
        Err(why) => Err(why.during(format!("looking at the helper pod {name}"))),
    }
}

/// Takes a helper away and waits until its node says that it ended.
async fn remove(scene: &Scene<'_>, prepared: &Prepared, mode: Mode) -> Result<()> {
    let (namespace, name) = (scene.means.helper.namespace.as_str(), name(scene, prepared, mode));
    match scene.means.cluster()?.delete(&pods(), (Some(namespace), &name), Delete::default(), Write::default()).await {
        Ok(_) => {}
        Err(why) if why.fault == ApiFault::NotFound => return Ok(()),
        Err(why) => return Err(why.during(format!("deleting the helper pod {name}"))),
    }
    if scene.until(DONE, || async { Ok(now(scene, prepared, mode).await?.is_none()) }).await? {
        return Ok(());
    }
    Err(Error::failed(format!("deleting the helper pod {name}: it does not go")))
}

/// Starts the helper that holds the fault.
pub(super) async fn hold(scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
    start(scene, prepared, Mode::Hold).await?;
    let mut last = Value::Null;
    let clock = &scene.means.clock;
    let began = clock.monotonic();
    while clock.monotonic().saturating_sub(began) < STARTED {
        last = now(scene, prepared, Mode::Hold).await?.unwrap_or_default();
        match last["status"]["phase"].as_str() {
            Some("Running" | "Succeeded") => return Ok(()),
            Some("Failed") => break,
            _ => clock.sleep(Duration::from_millis(200)).await,
        }
    }
    let waits = &last["status"]["containerStatuses"][0]["state"];
    Err(Error::failed(format!(
        "starting the helper pod {}: it does not run: {waits}",
        name(scene, prepared, Mode::Hold)
    )))
}

/// What the helper has seen of its effect.
pub(super) async fn evidence(scene: &Scene<'_>, prepared: &Prepared, asked: Duration) -> Result<Proof> {
    let cluster = scene.means.cluster()?;
    let (namespace, name) = (scene.means.helper.namespace.as_str(), &name(scene, prepared, Mode::Hold));
    let command = &["cat".to_owned(), "/tmp/evidence".to_owned()];
    let look = || async move {
        let exec = Exec { namespace, pod: name, container: None, command, timeout: EXEC, insists: true };
        let mut said = Vec::new();
        // A helper that is just starting cannot be asked yet.
        match cluster.exec(&exec, None, &mut said).await {
            Ok(outcome) if outcome.is_success() => {
                let text = String::from_utf8_lossy(&said).trim().to_owned();
                Ok((!text.is_empty()).then_some(text))
            }
            _ => Ok(None),
        }
    };
    scene.look(asked, Duration::from_mins(1), "the helper on the node saw no effect", look).await
}

/// Takes the holder away and has another helper undo what is left.
pub(super) async fn heal(scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
    remove(scene, prepared, Mode::Hold).await?;
    run(scene, prepared, Mode::Heal).await.map(drop)
}

/// Has a helper look whether anything is left; `false` if there is.
pub(super) async fn is_clean(scene: &Scene<'_>, prepared: &Prepared) -> Result<bool> {
    if now(scene, prepared, Mode::Hold).await?.is_some() {
        return Ok(false);
    }
    run(scene, prepared, Mode::Check).await
}

/// Runs a helper to its end; whether it ended well.
async fn run(scene: &Scene<'_>, prepared: &Prepared, mode: Mode) -> Result<bool> {
    remove(scene, prepared, mode).await?;
    start(scene, prepared, mode).await?;
    let ended = || async {
        let phase = now(scene, prepared, mode).await?;
        Ok(phase.is_none_or(|pod| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))))
    };
    let done = scene.until(DONE, ended).await?;
    let pod = now(scene, prepared, mode).await?;
    let well = done && pod.as_ref().is_some_and(|pod| pod["status"]["phase"] == "Succeeded");
    if !done {
        let name = pod.as_ref().map(|pod| meta(pod, "name").to_owned()).unwrap_or_default();
        return Err(Error::failed(format!("waiting for the helper pod {name}: it does not end")));
    }
    remove(scene, prepared, mode).await?;
    Ok(well)
}
