//! A namespace that is made for one verification and is gone after it, for certain or by name.

use super::super::object;
use super::super::restore::Means;
use crate::cluster::{Delete, Fault, Kind, Write};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Emptying a namespace takes the cluster some seconds; minutes with ten thousand objects.
const GONE: Duration = Duration::from_mins(5);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The label by which leftovers are found.
pub(super) const LABEL: &str = "davit.dev/scratch";

/// The scratch namespace of one run.
pub(super) struct Scratch<'a> {
    means: &'a Means,
    pub(super) name: String,
    uid: String,
}

impl<'a> Scratch<'a> {
    /// Makes it. Of the saved namespace only the pod security levels are taken over: its other labels would bring
    /// meshes and policies in.
    pub(super) async fn make(means: &'a Means, name: &str, saved: Option<&Value>) -> Result<Self> {
        let doing = || format!("making the scratch namespace {name}");
        let mut labels = Map::new();
        labels.insert(LABEL.to_owned(), json!("true"));
        let saved = saved.and_then(|body| object::metadata(body)?.get("labels")?.as_object());
        let levels = saved.into_iter().flatten().filter(|(key, _)| key.starts_with("pod-security.kubernetes.io/"));
        labels.extend(levels.map(|(key, value)| (key.clone(), value.clone())));
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        let made = means.cluster.create(&Kind::namespaces(), None, &body, Write::default()).await;
        let made = made.map_err(|why| why.during(doing()))?;
        Ok(Self { means, name: name.to_owned(), uid: object::uid(&made).to_owned() })
    }

    /// Removes it with everything in it, and waits until it is gone.
    pub(super) async fn remove(self) -> Result<()> {
        let cluster = &self.means.cluster;
        let kind = Kind::namespaces();
        let stuck = |why: String| {
            Error::new(crate::error::Kind::Stuck, format!("removing the scratch namespace {}: {why}", self.name))
                .hint(format!("kubectl delete namespace -l {LABEL}"))
        };
        let delete = Delete { uid: Some(&self.uid), propagation: Some("Background"), ..Delete::default() };
        match cluster.delete(&kind, (None, &self.name), delete, Write::default()).await {
            Ok(_) => {}
            Err(error) if error.fault == Fault::NotFound => return Ok(()),
            Err(error) => return Err(stuck(error.to_string())),
        }
        let clock = &self.means.clock;
        let began = clock.monotonic();
        loop {
            match cluster.one(&kind, None, &self.name).await {
                Ok(Some(there)) if object::uid(&there) == self.uid => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(stuck(error.to_string())),
            }
            if clock.monotonic().saturating_sub(began) > GONE {
                return Err(stuck("five minutes later it is still there".to_owned()));
            }
            clock.sleep(LOOK_AGAIN).await;
        }
    }
}
