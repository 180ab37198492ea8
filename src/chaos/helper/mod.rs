//! Helper pods: what carries a fault in another pod's world, where no API and no `exec` reaches.
//!
//! One per victim, on its node, in a namespace of their own that admits privileged pods. A helper knows from its own
//! orders what to undo and until when: started again, it heals first. Healing is a helper, too, so that it needs nothing
//! of the one that injected.

mod faults;
pub(super) mod fuse;
mod peers;
pub(super) mod room;
pub(super) mod scout;
mod what;

pub(super) use faults::FAULTS;

use super::evidence::{Proof, ReadBack};
use super::fault::{Place, Prepared, Rule, Scene};
use super::pod;
use super::select::Victim;
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
/// How long its effect may take to be seen by it.
const SEEN: Duration = Duration::from_mins(1);
const EXEC: Duration = Duration::from_secs(10);
/// What a helper that could not inject begins with, where the others say what they saw.
const REFUSED: &str = "refused: ";
/// How often a helper that has just started is spoken to.
const ATTEMPTS: u32 = 20;

/// What the helpers take in their own namespace, and what looking at the victims takes.
pub(super) const RBAC: [Rule; 4] = [
    fuse::RBAC,
    Rule { group: "", resource: "pods/exec", verbs: &["create", "get"], place: Place::Helper },
    pod::READS[0],
    pod::READS[1],
];

/// What a helper is told to do, noted in the intent.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Orders {
    /// As the script knows it.
    pub(super) what: String,
    /// The node.
    pub(super) node: String,
    /// The pod's address.
    pub(super) address: String,
    /// The container's id.
    pub(super) container: String,
    /// What else the script wants.
    pub(super) amount: String,
    pub(super) place: String,
    pub(super) floor: u32,
    pub(super) peers: String,
}

impl Orders {
    /// Orders of a helper that waits until nothing of a pod runs on its node any more.
    pub(super) fn gone(victim: &Victim) -> Option<Self> {
        let empty = String::new;
        victim.facts["node"].as_str().map(|node| Self {
            what: "gone".to_owned(),
            node: node.to_owned(),
            address: empty(),
            container: empty(),
            amount: empty(),
            place: empty(),
            floor: 0,
            peers: empty(),
        })
    }
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
    let deadline = STARTED + scene.expiry() + DONE;
    let latest = scene.means.clock.now().as_second() + i64::try_from(STARTED.as_secs()).unwrap_or_default();
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
                // Kubernetes reads `$$` and `$(NAME)` itself, unless each sign is doubled.
                "command": ["/bin/sh", "-c", SCRIPT.replace('$', "$$")],
                "securityContext": { "privileged": true, "runAsUser": 0 },
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "env": [
                    pair("MODE", mode.word()), pair("WHAT", &orders.what), pair("MARK", &scene.mark()),
                    pair("POD", &prepared.victim.key), pair("ADDRESS", &orders.address),
                    pair("CONTAINER", &orders.container), pair("AMOUNT", &orders.amount), pair("WHERE", &orders.place),
                    pair("FLOOR", &orders.floor.to_string()), pair("PEERS", &orders.peers),
                    pair("LASTS", &scene.expiry().as_secs_f64().ceil().to_string()), pair("LATEST", &latest.to_string()),
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
            Err(why.during(doing).hint(room::made_by(&scene.means.helper)))
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
    // What holds a fault heals when it is told to end; the others have ended.
    let grace = if mode == Mode::Hold { None } else { Some(0) };
    let delete = Delete { grace_seconds: grace, ..Delete::default() };
    match scene.means.cluster()?.delete(&pods(), (Some(namespace), &name), delete, Write::default()).await {
        Ok(_) => {}
        Err(why) if why.fault == ApiFault::NotFound => return Ok(()),
        Err(why) => return Err(why.during(format!("deleting the helper pod {name}"))),
    }
    if scene.until(DONE, || async { Ok(now(scene, prepared, mode).await?.is_none()) }).await? {
        return Ok(());
    }
    Err(Error::failed(format!("deleting the helper pod {name}: it does not go")))
}

/// Starts the helper that will hold the fault, and waits until it runs. It does nothing before it gets the word.
pub(super) async fn arrive(scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
    start(scene, prepared, Mode::Hold).await?;
    let settled =
        || async { Ok(matches!(phase(scene, prepared).await?.as_str(), Some("Running" | "Succeeded" | "Failed"))) };
    if scene.until(STARTED, settled).await? && phase(scene, prepared).await? == "Running" {
        return Ok(());
    }
    Err(not_running(scene, prepared).await)
}

/// Takes a helper away that never got the word.
pub(super) async fn leave(scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
    remove(scene, prepared, Mode::Hold).await?;
    let seen = "nothing was begun: its helper never got the word, and there is none any more".to_owned();
    Ok(ReadBack::NothingToUndo { seen })
}

/// Gives the helper the word. Says when: before that nothing was done.
pub(super) async fn speak(scene: &Scene<'_>, prepared: &Prepared) -> Result<Duration> {
    let name = name(scene, prepared, Mode::Hold);
    for _ in 0..ATTEMPTS {
        let word = scene.means.clock.monotonic();
        if ask(scene, &name, &["touch", "/tmp/go"]).await.is_some() {
            return Ok(word);
        }
        scene.means.clock.sleep(Duration::from_millis(200)).await;
    }
    Err(not_running(scene, prepared).await)
}

/// What the server says of the helper that is to hold the fault.
async fn phase(scene: &Scene<'_>, prepared: &Prepared) -> Result<Value> {
    Ok(now(scene, prepared, Mode::Hold).await?.unwrap_or_default()["status"]["phase"].take())
}

async fn not_running(scene: &Scene<'_>, prepared: &Prepared) -> Error {
    let name = name(scene, prepared, Mode::Hold);
    match now(scene, prepared, Mode::Hold).await {
        Ok(last) => Error::failed(format!("starting the helper pod {name}: {}", why_not(&last.unwrap_or_default()))),
        Err(error) => error,
    }
}

/// What a node says of a helper that does not run, or ended before its time.
fn why_not(pod: &Value) -> String {
    let status = &pod["status"]["containerStatuses"][0];
    let said = [&status["lastState"]["terminated"], &status["state"]["terminated"], &status["state"]["waiting"]];
    let said = said.into_iter().find_map(|state| state["message"].as_str().or_else(|| state["reason"].as_str()));
    said.map_or_else(|| "it does not run".to_owned(), |said| said.trim().to_owned())
}

/// What a program in a helper printed; `None` if it cannot be asked yet, or says no.
async fn ask(scene: &Scene<'_>, pod: &str, words: &[&str]) -> Option<String> {
    let command: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let namespace = scene.means.helper.namespace.as_str();
    let exec = Exec { namespace, pod, container: None, command: &command, timeout: EXEC, insists: true };
    let mut said = Vec::new();
    let outcome = scene.means.cluster().ok()?.exec(&exec, None, &mut said).await.ok()?;
    outcome.is_success().then(|| String::from_utf8_lossy(&said).trim().to_owned())
}

/// What the helper has seen of its effect since it got the word.
pub(super) async fn evidence(scene: &Scene<'_>, prepared: &Prepared, word: Duration) -> Result<Proof> {
    let name = &name(scene, prepared, Mode::Hold);
    let look = || async move {
        if let Some(said) = ask(scene, name, &["cat", "/tmp/evidence"]).await.filter(|said| !said.is_empty()) {
            return match said.strip_prefix(REFUSED) {
                Some(why) => Err(Error::failed(format!("the helper pod {name} gave up: {why}"))),
                None => Ok(Some(said)),
            };
        }
        // One that was started again has healed, and does nothing more.
        let pod = now(scene, prepared, Mode::Hold).await?.unwrap_or_default();
        if pod["status"]["containerStatuses"][0]["lastState"]["terminated"].is_object() {
            return Err(Error::failed(format!("the helper pod {name} gave up: {}", why_not(&pod))));
        }
        Ok(None)
    };
    let proof = scene.look(word, SEEN, "the helper on the node saw no effect", look).await?;
    Ok(proof.since(word))
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

/// Takes away the helper that looked, if its runner could not.
pub(super) async fn forget(scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
    remove(scene, prepared, Mode::Check).await
}

/// Whether nothing of the victim runs on its node any more, as a helper there sees it.
pub(super) async fn ended_on_node(scene: &Scene<'_>, prepared: &Prepared) -> Result<bool> {
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
        // One whose image cannot be had never began.
        return Err(match pod.filter(|pod| pod["status"]["phase"] == "Pending") {
            Some(pod) => {
                Error::failed(format!("waiting for the helper pod {name}: it does not start: {}", why_not(&pod)))
                    .hint("--helper-image names an image that the node has or can pull")
            }
            None => Error::failed(format!("waiting for the helper pod {name}: it does not end")),
        });
    }
    remove(scene, prepared, mode).await?;
    Ok(well)
}
