//! The janitor: undoes what runners left that were killed, from nothing but the intents in the repository.

use super::event::Witness;
use super::evidence::ReadBack;
use super::fault::Scene;
use super::heal::{Healed, Healing, heal_all};
use super::intent::{Intent, OpenIntent, open_intents};
use super::means::Means;
use super::run::take_lease;
use super::select::Victim;
use crate::error::{Error, Result};
use crate::id::RunId;
use std::collections::BTreeSet;

/// What the janitor did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Cleaned {
    /// Victim by victim; none if nothing was left.
    #[serde(flatten)]
    pub healing: Healing,
}

/// Undoes what is left of one run, or of all.
///
/// # Errors
/// Exit 3 if the runner lives: it heals itself. What could not be proven healed is no error here; see
/// [`Healing::result`].
pub async fn janitor(means: &Means, run: Option<&RunId>, witness: &dyn Witness) -> Result<Cleaned> {
    let left = |open: Vec<OpenIntent>| -> Vec<OpenIntent> {
        open.into_iter().filter(|intent| run.is_none_or(|run| intent.run == *run)).collect()
    };
    if left(open_intents(means).await?).is_empty() {
        return Ok(Cleaned::default());
    }
    let lease = take_lease(means).await?;
    // A runner that ended meanwhile closed its own.
    let open = left(open_intents(means).await?);
    let mut cleaned = Cleaned::default();
    for intent in open.into_iter().rev() {
        cleaned.healing.healed.extend(undo(means, intent, witness).await.healed);
    }
    let runs: BTreeSet<&RunId> = cleaned.healing.healed.iter().map(|healed| &healed.run).collect();
    for run in runs {
        if let Err(error) = super::ack::close(means, run).await {
            tracing::warn!("{error}");
        }
    }
    if let Err(error) = lease.release().await {
        tracing::warn!("{error}");
    }
    Ok(cleaned)
}

async fn undo(means: &Means, open: OpenIntent, witness: &dyn Witness) -> Healing {
    let OpenIntent { run, number, intent } = open;
    let stuck = |victim: Victim, why: String| Healing {
        healed: vec![Healed { run: run.clone(), number, victim, read_back: ReadBack::Not { why } }],
    };
    let intent = match intent {
        Ok(intent) => intent,
        Err(why) => return stuck(Victim::new("unknown", format!("the victim of intent {number} of run {run}")), why),
    };
    match undo_intent(means, &intent, witness).await {
        Ok(healing) => healing,
        Err(why) => stuck(intent.victim.clone(), why.to_string()),
    }
}

async fn undo_intent(means: &Means, intent: &Intent, witness: &dyn Witness) -> Result<Healing> {
    let target = intent.target()?;
    if let (true, Some(wanted)) = (target.kind().in_cluster(), &intent.cluster) {
        let is = means.cluster()?.uid().await?;
        if is != *wanted {
            return Err(Error::refused(format!("undoing {} in {target}: this is another cluster", intent.fault))
                .hint("--kubeconfig and --context say which one"));
        }
    }
    let fault = intent.fault()?;
    let scene =
        Scene { means, run: &intent.run, target: &target, parameters: &intent.parameters, duration: intent.duration() };
    Ok(heal_all(&scene, fault, &[(intent.number, &intent.prepared())], witness).await)
}
