//! Healing: the same steps whether the runner heals what it injected or the janitor what somebody else did.

use super::event::{Event, Witness};
use super::evidence::ReadBack;
use super::fault::{Fault, Prepared, Scene};
use super::helper::fuse;
use super::intent::Undone;
use super::select::Victim;
use crate::error::{Error, Kind, Result};
use crate::id::RunId;
use serde::Serialize;
use std::time::Duration;

/// How long healing waits for its journal: a store that is out of reach must not keep a target broken.
const LINE: Duration = Duration::from_secs(5);

/// What became of one victim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Healed {
    /// The run.
    pub run: RunId,
    /// Number of the intent.
    pub number: u32,
    /// Who.
    pub victim: Victim,
    /// What was seen.
    #[serde(flatten)]
    pub read_back: ReadBack,
}

/// What became of all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[must_use = "healing that is not proven needs a person"]
pub struct Healing {
    /// Victim by victim.
    pub healed: Vec<Healed>,
}

impl Healing {
    /// Whether all were proven to be as before.
    pub fn is_proven(&self) -> bool {
        self.healed.iter().all(|healed| healed.read_back.is_good())
    }

    /// Exit 5, with every victim by name, unless all were proven to be as before.
    pub fn result(&self) -> Result<()> {
        let not: Vec<String> = self
            .healed
            .iter()
            .filter(|healed| !healed.read_back.is_good())
            .map(|healed| format!("{} ({})", healed.victim.shown, healed.read_back.text()))
            .collect();
        if not.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Stuck, format!("THE TARGET MAY STILL BE BROKEN: not proven healed: {}", not.join("; ")))
            .hint("davit chaos status shows how each is undone; davit chaos janitor tries again"))
    }
}

/// A line that must not stop what is healing.
pub(super) async fn tell(witness: &dyn Witness, event: Event) {
    match tokio::time::timeout(LINE, witness.line(event)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("the journal of the healing has a gap: {error}"),
        Err(_) => tracing::warn!("the journal of the healing has a gap: a line took too long"),
    }
}

/// Heals and reads back, victim by victim, the last one first; closes what is proven. Victims from number `begun` on are
/// known never to have been touched.
pub(super) async fn heal_all(
    scene: &Scene<'_>,
    fault: &dyn Fault,
    (prepared, begun): (&[(u32, &Prepared)], u32),
    witness: &dyn Witness,
) -> Healing {
    let mut healing = Healing::default();
    for (number, prepared) in prepared.iter().rev() {
        tell(witness, Event::Healing { number: *number }).await;
        let left = if *number < begun { None } else { fault.leave(scene, prepared).await.transpose() };
        let seen = match left {
            Some(left) => left.unwrap_or_else(|why| ReadBack::Not { why: format!("it could not be looked at: {why}") }),
            None => undo(scene, fault, *number, prepared).await,
        };
        let read_back = close(scene, *number, seen, witness).await;
        let victim = prepared.victim.clone();
        healing.healed.push(Healed { run: scene.run.clone(), number: *number, victim, read_back });
    }
    healing
}

async fn undo(scene: &Scene<'_>, fault: &dyn Fault, number: u32, prepared: &Prepared) -> ReadBack {
    if let Some(why) = prepared.elsewhere(&scene.means.machine) {
        return ReadBack::Not { why };
    }
    // What was read back counts; a heal that complained may have done enough.
    let complaint = fault.heal(scene, prepared).await.err();
    let fuse = match fault.proving(scene) {
        Ok(Some(_)) => fuse::extinguish(scene, number).await.err(),
        _ => None,
    };
    let read_back = fault.read_back(scene, prepared).await;
    let read_back = match (read_back, complaint) {
        (Ok(ReadBack::Not { why }), Some(complaint)) => {
            ReadBack::Not { why: format!("{why}; undoing it: {complaint}") }
        }
        (Ok(read_back), _) => read_back,
        (Err(why), None) => ReadBack::Not { why: format!("it could not be looked at: {why}") },
        (Err(why), Some(complaint)) => {
            ReadBack::Not { why: format!("it could not be looked at: {why}; undoing it: {complaint}") }
        }
    };
    match fuse {
        Some(why) if read_back.is_good() => ReadBack::Not { why: format!("{}, but {why}", read_back.text()) },
        _ => read_back,
    }
}

/// Closes the intent of what was read back as it was before.
async fn close(scene: &Scene<'_>, number: u32, read_back: ReadBack, witness: &dyn Witness) -> ReadBack {
    let at = scene.means.clock.monotonic();
    tell(witness, Event::ReadBack { number, read_back: read_back.clone(), at }).await;
    if !read_back.is_good() {
        tell(witness, Event::Stuck { number, why: read_back.text().to_owned() }).await;
        return read_back;
    }
    let undone = Undone {
        run: scene.run.clone(),
        number,
        seen: read_back.clone(),
        holder: scene.means.holder.clone(),
        when: scene.means.clock.now(),
    };
    match scene.means.repository.close_fault_intent(scene.run, number, &undone).await {
        Ok(()) => {
            if scene.target.kind().in_cluster() {
                super::copy::remove(scene.means, scene.run, number).await;
            }
            tell(witness, Event::Closed { number }).await;
            read_back
        }
        Err(why) => {
            let why = format!("it is healed, but its intent could not be closed: {why}");
            tell(witness, Event::Stuck { number, why: why.clone() }).await;
            ReadBack::Not { why }
        }
    }
}
