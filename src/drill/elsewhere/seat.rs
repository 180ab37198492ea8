//! A pod to observe from: found when the drill is planned, and reached over our own connection to the cluster.

use super::process::Wire;
use crate::cluster::{Cluster, Exec, Kind, Query};
use crate::error::{Error, Result};
use crate::scenario::ObserverPod;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is on its way between the observer and whoever listens.
const PIPE: usize = 64 << 10;
/// No drill lasts longer; the observer ends with its input.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// A pod in which an observer is begun, as it was found.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// The container, where it has several.
    pub container: Option<String>,
    /// The node that it runs on.
    pub node: String,
}

impl Seat {
    /// Finds the pod: of several that have the labels the first by name, because a drill that is repeated should be watched
    /// from where it was.
    pub(in crate::drill) async fn find(cluster: &Cluster, wish: &ObserverPod) -> Result<Self> {
        let ObserverPod { namespace, which, container } = wish;
        let labels = which.contains('=').then_some(which.as_str());
        let kind = Kind::known("", "v1", "pods", "Pod");
        let mut listing = cluster.list(Query { namespace: Some(namespace), labels, ..Query::all(&kind) });
        let doing = || format!("looking for pod {namespace}/{which}");
        let mut ready = Vec::new();
        while let Some(bytes) = listing.next().await.map_err(|why| why.during(doing()))? {
            let pod: Value = serde_json::from_slice(&bytes).map_err(|why| Error::failed(doing()).because(why))?;
            ready.extend(Self::of(&pod, wish).filter(|_| is_ready(&pod)));
        }
        let found =
            ready.into_iter().filter(|seat| labels.is_some() || seat.pod == *which).min_by(|a, b| a.pod.cmp(&b.pod));
        found.map(|seat| Self { container: container.clone(), ..seat }).ok_or_else(|| {
            Error::refused(format!("{}: none is there that is ready", doing()))
                .hint("it runs an image that has davit, and something that stays, such as `sleep infinity`")
        })
    }

    fn of(pod: &Value, wish: &ObserverPod) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (pod, node) = (text(&pod["metadata"]["name"])?, text(&pod["spec"]["nodeName"])?);
        Some(Self { namespace: wish.namespace.clone(), pod, container: None, node })
    }

    /// Begins an observer in it.
    pub(super) fn begin(&self, cluster: &Cluster, command: &[String]) -> Wire {
        let (input, mut heard) = tokio::io::duplex(PIPE);
        let (mut saying, output) = tokio::io::duplex(PIPE);
        let (cluster, seat, command) = (cluster.clone(), self.clone(), command.to_vec());
        let end = tokio::spawn(async move {
            let exec = Exec {
                namespace: &seat.namespace,
                pod: &seat.pod,
                container: seat.container.as_deref(),
                command: &command,
                timeout: LONGEST,
                // Whoever stops the drill stops the drill, which then ends the observer as it should.
                insists: true,
            };
            let outcome = cluster.exec(&exec, Some(&mut heard), &mut saying).await;
            let program = exec.command.first().map_or("", String::as_str);
            match outcome {
                Ok(outcome) => format!("{program} in {}/{}: {outcome}", seat.namespace, seat.pod),
                Err(why) => why.during(format!("running {program} in {}/{}", seat.namespace, seat.pod)).to_string(),
            }
        });
        // What it says beside its lines comes with its end.
        Wire { input: Box::new(input), output: Box::new(output), said: Arc::new(Mutex::new(String::new())), end }
    }
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.any(|one| one["type"] == "Ready" && one["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_seat_is_a_pod_that_is_ready_and_stays() {
        let mut pod = json!({
            "metadata": { "name": "probe-1" }, "spec": { "nodeName": "node-2" },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        let wish = ObserverPod { namespace: "watch".to_owned(), which: "app=probe".to_owned(), container: None };
        let seat = Seat::of(&pod, &wish).unwrap();
        assert_eq!((seat.pod.as_str(), seat.node.as_str(), is_ready(&pod)), ("probe-1", "node-2", true));
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-24T01:00:00Z");
        assert!(!is_ready(&pod), "it is about to go");
        pod["spec"] = json!({});
        assert!(Seat::of(&pod, &wish).is_none(), "it runs nowhere yet");
    }
}
