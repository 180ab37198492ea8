//! A pod to observe from: found when the drill is planned, and reached over our own connection to the cluster.

use super::process::Wire;
use crate::chaos::cluster::{is_ready, list, pods};
use crate::cluster::{Cluster, Exec};
use crate::error::{Error, Kind, Result};
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
    /// Finds the pod, and asks whether something may be begun in it.
    ///
    /// # Errors
    /// Exit 3, whatever the reason: nothing was touched.
    pub(in crate::drill) async fn find(cluster: &Cluster, wish: &ObserverPod) -> Result<Self> {
        let doing = || format!("looking for pod {}/{}", wish.namespace, wish.which);
        let pods = list(cluster, &pods(), Some(&wish.namespace), wish.labels()).await;
        let pods = pods.map_err(|why| why.during(doing()).as_kind(Kind::Refused))?;
        let seat = Self::choose(&pods, wish).ok_or_else(|| {
            Error::refused(format!("{}: none is there that is ready", doing()))
                .hint("it runs an image that has davit, and something that stays, such as `sleep infinity`")
        })?;
        // Which of the two is asked for depends on the server's version.
        for verb in ["get", "create"] {
            let may = cluster.may(verb, ("", "pods/exec"), Some(&wish.namespace)).await;
            if !may.map_err(|why| why.during(doing()).as_kind(Kind::Refused))? {
                return Err(Error::refused(format!("{}: this account may not begin anything in it", doing()))
                    .hint(format!("allow it to get and create pods/exec in {}", wish.namespace)));
            }
        }
        Ok(seat)
    }

    /// Of several pods that have the labels the first by name, because a drill that is repeated should be watched from where
    /// it was.
    fn choose(pods: &[Value], wish: &ObserverPod) -> Option<Self> {
        let seats = pods.iter().filter(|pod| is_ready(pod)).filter_map(|pod| Self::of(pod, wish));
        seats.filter(|seat| wish.labels().is_some() || seat.pod == wish.which).min_by(|a, b| a.pod.cmp(&b.pod))
    }

    fn of(pod: &Value, wish: &ObserverPod) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (pod, node) = (text(&pod["metadata"]["name"])?, text(&pod["spec"]["nodeName"])?);
        Some(Self { namespace: wish.namespace.clone(), pod, container: wish.container.clone(), node })
    }

    /// Where it is, in a few words.
    pub(in crate::drill) fn place(&self) -> String {
        format!("in pod {}/{} on {}", self.namespace, self.pod, self.node)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, ready: bool) -> Value {
        let ready = if ready { "True" } else { "False" };
        json!({
            "metadata": { "name": name }, "spec": { "nodeName": format!("node-of-{name}") },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        })
    }

    #[test]
    fn a_seat_is_the_pod_that_is_named_or_the_first_that_is_ready() {
        let wish = |which: &str| ObserverPod {
            namespace: "watch".to_owned(),
            which: which.to_owned(),
            container: Some("tools".to_owned()),
        };
        let mut pods = vec![pod("probe-3", true), pod("probe-1", false), pod("probe-2", true)];
        let chosen = |pods: &[Value], which: &str| Seat::choose(pods, &wish(which)).map(|seat| seat.pod);
        assert_eq!(chosen(&pods, "app=probe").as_deref(), Some("probe-2"));
        assert_eq!(chosen(&pods, "app in (probe, watch)").as_deref(), Some("probe-2"));
        assert_eq!(chosen(&pods, "probe-3").as_deref(), Some("probe-3"));
        assert_eq!(chosen(&pods, "probe-1"), None, "it is not ready");
        assert_eq!(chosen(&pods, "probe"), None, "nobody is called that");
        pods[2]["metadata"]["deletionTimestamp"] = json!("2026-01-24T01:00:00Z");
        let seat = Seat::choose(&pods, &wish("app=probe")).unwrap();
        assert_eq!(seat.place(), "in pod watch/probe-3 on node-of-probe-3", "the other one is about to go");
        assert_eq!(seat.container.as_deref(), Some("tools"));
        pods[0]["spec"] = json!({});
        assert_eq!(chosen(&pods, "app=probe"), None, "it runs nowhere yet");
    }
}
