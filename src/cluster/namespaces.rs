//! A namespace by its name, and the one that was meant where there is none of it.

use super::{Cluster, Kind, Query};
use crate::error::{Error, Result};
use serde_json::Value;

/// A name is suggested if it is this near.
const NEAR: usize = 3;

impl Cluster {
    /// The namespace of a name.
    ///
    /// # Errors
    /// Exit 2 if there is none: a typing error is told with the name that is nearest.
    pub async fn namespace(&self, name: &str) -> Result<Value> {
        let doing = || format!("finding namespace {name} in {}", self.describe());
        match self.one(&Kind::namespaces(), None, name).await {
            Ok(Some(namespace)) => Ok(namespace),
            Ok(None) => {
                let error = Error::input(format!("{}: there is none of that name", doing()));
                Err(match self.nearest_namespace(name).await {
                    Some(near) => error.hint(format!("did you mean {near}?")),
                    None => error.hint("kubectl get namespaces lists them"),
                })
            }
            Err(why) => Err(why.during(doing())),
        }
    }

    async fn nearest_namespace(&self, name: &str) -> Option<String> {
        let kind = Kind::namespaces();
        let mut listing = self.list(Query::all(&kind));
        let mut nearest: Option<(usize, String)> = None;
        while let Ok(Some(item)) = listing.next().await {
            let value: Value = serde_json::from_slice(&item).ok()?;
            let known = value["metadata"]["name"].as_str()?.to_owned();
            let distance = strsim::levenshtein(&known, name);
            let close = distance <= NEAR || known.contains(name) || name.contains(&known);
            if close && nearest.as_ref().is_none_or(|(best, _)| distance < *best) {
                nearest = Some((distance, known));
            }
        }
        nearest.map(|(_, name)| name)
    }
}
