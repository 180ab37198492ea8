//! Restoring: look at what is live, plan, ask the server about the plan, execute exactly that, and look again.
//!
//! Nothing here deletes a Namespace, a definition, a volume or a claim. Each create is one POST under the field manager
//! of this restore, which proves afterwards that an object is ours: so the same command goes on where it was
//! interrupted, and a POST whose answer was lost is not an error.

mod check;
mod fill;
mod hint;
mod kinds;
mod live;
mod managers;
mod one;
mod owners;
mod readback;
mod report;
mod run;
mod schema;
mod volume;

pub use check::check;
pub use kinds::Kinds;
pub use live::{Among, Looked, Seen, live_objects, look};
pub use report::{Failure, RestoreReport};
pub use run::{run, run_with};

use super::diff::{self, Schemas};
use super::map::{Mapped, Mapping};
use super::object::Saved;
use super::plan::{self, Live, Options, Plan};
use super::volumes::{self, Users};
use crate::clock::SharedClock;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::id::Sha256;
use crate::journal::SharedProgress;
use crate::repository::PointSummary;
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

/// Creates in flight; sixteen plain connections reach what one API server gives, and a few more hide its latency.
pub const IN_FLIGHT: usize = 32;

/// What a restore works with.
#[derive(Clone)]
pub struct Means {
    /// The cluster that is restored into.
    pub cluster: Cluster,
    /// Time.
    pub clock: SharedClock,
    /// Who is told.
    pub progress: SharedProgress,
    /// Ends what is under way.
    pub cancel: CancellationToken,
    /// How many changes are under way at once.
    pub in_flight: usize,
}

/// A plan and what it was made of.
#[derive(Debug)]
pub struct Prepared {
    /// What would be done.
    pub plan: Plan,
    /// What mapping did.
    pub mapped: Mapped,
    /// What the cluster serves.
    pub kinds: Kinds,
    /// What was live.
    pub live: Live,
    /// Schemas of custom kinds.
    pub schemas: Schemas,
    /// What was asked for.
    pub options: Options,
    /// The namespaces that are restored into.
    pub namespaces: BTreeSet<String>,
    /// The objects as they were saved and mapped; kept only where their managers get their fields back.
    pub saved: Vec<Saved>,
    /// Who will use the claims whose files come back.
    pub users: Users,
}

/// Maps the objects, looks at the cluster and plans; changes nothing.
pub async fn prepare(
    means: &Means,
    mut saved: Vec<Saved>,
    mapping: &Mapping,
    mut options: Options,
) -> Result<Prepared> {
    let mapped = mapping.apply(&mut saved)?;
    options.made_for = volumes::rewire(&mut saved);
    options.mapped_classes = mapping.storage_classes.values().cloned().collect();
    options.untold = plan::untold(&saved);
    check_places(&saved)?;
    let looked = live::look(means, &saved, &options).await?;
    let mut schemas = looked.schemas;
    schemas.extend(diff::schemas_of(&saved));
    let namespaces = saved.iter().filter_map(|one| one.identity.namespace.clone()).collect();
    let kept = if options.keep_managers { saved.clone() } else { Vec::new() };
    let users = Users::of(&saved, &options.files, &options.only);
    let mut plan = plan::plan(saved, &looked.live, &schemas, &options);
    plan.warnings.splice(0..0, looked.warnings);
    let unused = mapped.unused.iter().map(|flag| format!("{flag} met nothing"));
    plan.warnings.extend(unused);
    Ok(Prepared {
        plan,
        mapped,
        kinds: looked.kinds,
        live: looked.live,
        schemas,
        saved: kept,
        users,
        options,
        namespaces,
    })
}

/// Two objects that would go to one place: a mapping that folds two namespaces into one.
fn check_places(saved: &[Saved]) -> Result<()> {
    let mut places = BTreeSet::new();
    match saved.iter().find(|one| !places.insert(one.identity.place())) {
        None => Ok(()),
        Some(twice) => Err(Error::input(format!(
            "mapping the objects: two of them would be {} in {}",
            twice.identity.place(),
            twice.identity.namespace.as_deref().unwrap_or("the cluster")
        ))),
    }
}

/// What the field manager of every restore begins with.
pub const MANAGER: &str = "davit-";

/// What tells a point from every other one, for the field manager of its restores.
pub fn identity(point: &PointSummary) -> String {
    format!("{} {}", point.point(), point.link.manifest_sha256)
}

/// The field manager of a restore: the same command into the same place has the same, whenever it runs.
pub fn manager(parts: &[&str]) -> String {
    let text: Vec<String> = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
    format!("{MANAGER}{}", &Sha256::of(text.concat().as_bytes()).to_string()[..12])
}

#[cfg(test)]
mod tests {
    use super::manager;

    #[test]
    fn the_same_restore_has_the_same_manager_and_another_one_has_another() {
        assert_eq!(manager(&["a", "bc"]), manager(&["a", "bc"]));
        assert_ne!(manager(&["a", "bc"]), manager(&["ab", "c"]));
        assert!(manager(&["a"]).len() <= 128 && manager(&["a"]).starts_with("davit-"));
    }
}
