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
use crate::postgres::{Fault as Refusal, try_connect};
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
    let lease = take_lease(means, witness).await?;
    // A runner that ended meanwhile closed its own.
    let open = left(open_intents(means).await?);
    let mut cleaned = Cleaned::default();
    for intent in in_turn(open) {
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

/// The last first; but what a drill has made for itself waits for its faults: it may be out of reach because of them.
fn in_turn(mut open: Vec<OpenIntent>) -> Vec<OpenIntent> {
    open.reverse();
    open.sort_by_key(|intent| !intent.is_fault());
    open
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
    let means = &means.with_helper_of(intent.helper.as_ref());
    let scene =
        Scene { means, run: &intent.run, target: &target, parameters: &intent.parameters, duration: intent.duration() };
    // Nothing tells how far its runner came.
    let all = [(intent.number, &intent.prepared())];
    let mut healing = heal_all(&scene, fault, (&all, u32::MAX), witness).await;
    if !healing.is_proven() && is_locked_out(&scene).await {
        for healed in &mut healing.healed {
            if let ReadBack::Not { why } = &mut healed.read_back {
                why.push_str("; the intent holds no password: PGPASSFILE or PGPASSWORD gives it");
            }
        }
    }
    Ok(healing)
}

/// Whether the server wants a password that the intent does not hold, because records are not sealed.
async fn is_locked_out(scene: &Scene<'_>) -> bool {
    if scene.means.repository.encrypted() {
        return false;
    }
    let Ok(conn) = scene.database() else { return false };
    match try_connect(&conn, "chaos").await {
        Ok(session) => {
            session.close().await;
            false
        }
        Err((fault, _)) => matches!(fault, Refusal::NoPassword | Refusal::Password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::database::ledger_table;

    #[test]
    fn faults_are_undone_before_what_their_drills_made_and_the_last_first() {
        let open = |run: &str, number: u32| OpenIntent {
            run: run.parse().unwrap(),
            number,
            intent: Err("it does not matter".to_owned()),
        };
        let (first, second) = ("20261121T031200Z-k3f9ab", "20261122T031200Z-k3f9ab");
        let table = ledger_table::NUMBER;
        let listed = vec![open(first, 0), open(first, 1), open(first, table), open(second, 0), open(second, table)];
        let turn: Vec<(String, u32)> =
            in_turn(listed).into_iter().map(|intent| (intent.run.to_string(), intent.number)).collect();
        let turn: Vec<(&str, u32)> = turn.iter().map(|(run, number)| (run.as_str(), *number)).collect();
        assert_eq!(turn, [(second, 0), (first, 1), (first, 0), (second, table), (first, table)]);
    }
}
