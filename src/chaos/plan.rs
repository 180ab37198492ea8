//! What a run will do: candidates, victims, guards, and how each will be undone. Reads only.

use super::fault::{Class, Facts, Fault, Prepared, Scene, find};
use super::guard::{self, Allowed, Finding, GuardName};
use super::helper;
use super::means::Means;
use super::request::{Amount, Request};
use super::select::{self, Seed, Victim};
use crate::error::{Error, Kind, Result};
use crate::humane::counted;
use crate::id::RunId;
use std::time::Duration;

/// What will be done, if it is not refused in the last moment.
#[derive(Debug)]
pub struct Plan {
    /// The run.
    pub run: RunId,
    /// The fault.
    pub facts: Facts,
    /// What was asked for.
    pub request: Request,
    /// Where victims and phase came from.
    pub seed: Seed,
    /// How many could have been hit.
    pub candidates: usize,
    /// Who is hit, how it is now, and how it will be undone; in order.
    pub prepared: Vec<Prepared>,
    /// The guards that said yes, and those that were lifted.
    pub guards: Vec<Allowed>,
    /// How long injection waits at random.
    pub phase: Duration,
    /// Whether a fuse in the cluster will undo it if nobody else does.
    pub(super) fuse: bool,
    /// The cluster's uid, if it is about one.
    pub(super) cluster: Option<String>,
}

/// Decides what a request means now, and asks every guard. Nothing is changed.
///
/// # Errors
/// Exit 2 for what cannot be meant, exit 3 for what a guard refuses or what cannot be reached.
pub async fn plan(means: &Means, request: Request) -> Result<Plan> {
    make(means, request).await.map_err(|error| {
        // Nothing was touched, so whatever could not be read refuses.
        if error.kind() == Kind::Failed { error.as_kind(Kind::Refused) } else { error }
    })
}

async fn make(means: &Means, request: Request) -> Result<Plan> {
    let fault = find(&request.fault)?;
    let facts = fault.facts();
    check(&facts, &request)?;
    let run = request.run.clone().unwrap_or_else(|| RunId::at(means.clock.now()));
    let scene = Scene {
        means,
        run: &run,
        target: &request.target,
        parameters: &request.parameters,
        duration: request.duration,
    };
    let cluster = if request.target.kind().in_cluster() { Some(means.cluster()?.uid().await?) } else { None };
    // Who is not let in is not looked at any further.
    let mut guards = guard::judge(&request, guard::before(&scene, &facts, &request).await?)?;
    let candidates = fault.candidates(&scene).await?;
    if candidates.is_empty() {
        return Err(Error::refused(format!(
            "choosing victims in {}: there is nothing that {} could hit",
            request.target, facts.name
        ))
        .hint("a target that resolves to nothing is never a pass"));
    }
    let seed = request.seed.unwrap_or_else(Seed::random);
    let count = candidates.len();
    let victims = choose(fault, &request, seed, candidates)?;
    let mut findings = guard::after(&scene, fault, &request, count, &victims).await?;
    if !facts.rbac.is_empty() {
        findings.push(permission(&scene, &facts).await?);
    }
    guards.extend(guard::judge(&request, findings)?);
    let mut prepared = Vec::with_capacity(victims.len());
    for victim in victims {
        prepared.push(fault.prepare(&scene, victim).await?);
    }
    let phase = seed.phase(request.control_loop);
    let fuse = fault.proving(&scene)?.is_some() && helper::fuse::is_possible(&scene).await?;
    Ok(Plan { run, fuse, facts, seed, candidates: count, prepared, guards, phase, cluster, request })
}

fn check(facts: &Facts, request: &Request) -> Result<()> {
    if !facts.targets.contains(&request.target.kind()) {
        let kinds = facts.targets.iter().map(|kind| kind.word()).collect::<Vec<_>>().join(" or ");
        return Err(Error::input(format!("aiming {} at {}: it is for {kinds}", facts.name, request.target)));
    }
    request.parameters.check(facts)?;
    for parameter in facts.parameters.iter().filter(|parameter| parameter.default.is_none()) {
        request.parameters.needed(facts.name, parameter.name)?;
    }
    if request.duration.is_zero() && facts.class == Class::Reversible {
        return Err(Error::input(format!("injecting {} for no time at all", facts.name)).hint("--for 30s"));
    }
    Ok(())
}

fn choose(fault: &dyn Fault, request: &Request, seed: Seed, candidates: Vec<Victim>) -> Result<Vec<Victim>> {
    let count = candidates.len();
    let amount = if fault.facts().many { request.amount } else { Amount::All };
    let wanted = select::wanted(amount, count);
    let doing = || format!("choosing victims in {}", request.target);
    if wanted == 0 {
        return Err(Error::refused(format!("{}: that many of {count}, rounded down, is none", doing())));
    }
    if wanted > count {
        let there = if count == 1 { "is 1 candidate".to_owned() } else { format!("are {count} candidates") };
        return Err(Error::refused(format!("{}: {wanted} were asked for, and there {there}", doing()))
            .hint("fewer than asked for would prove less than asked for"));
    }
    Ok(select::choose(seed, candidates, wanted))
}

/// Whether the account may do in the cluster what the fault and its undo take.
async fn permission(scene: &Scene<'_>, facts: &Facts) -> Result<Finding> {
    let guard = GuardName::Permission;
    let rules: Vec<_> = facts.rbac.iter().copied().chain(scene.target.reads()).collect();
    let missing = super::cluster::missing(scene, &rules).await?;
    Ok(if missing.is_empty() {
        Finding::yes(guard, "the account may do all that the fault and its undo take")
    } else {
        Finding::no(guard, format!("the account may not {}", missing.join(", ")))
    })
}

impl Plan {
    /// What it will do, line by line: this is the dry run.
    pub fn lines(&self) -> Vec<String> {
        let Self { facts, request, .. } = self;
        let mut lines = vec![format!("{} ({}) into {}", facts.name, facts.class.word(), request.target)];
        if facts.class == Class::Reversible {
            lines.push(format!("for {} s, then undone", request.duration.as_secs_f64()));
        }
        lines.push(format!(
            "seed {}: {} of {}",
            self.seed.0,
            self.prepared.len(),
            counted(self.candidates as u64, "candidate")
        ));
        for Prepared { victim, undo, .. } in &self.prepared {
            lines.push(format!("hits {}; undo: {undo}", victim.shown));
        }
        if self.fuse {
            lines.push("a fuse in the cluster undoes it if nobody else does".to_owned());
        } else if facts.expires == helper::fuse::FUSE {
            lines.push(
                "no fuse: the namespace of helpers is not there; only this command and the janitor undo it".to_owned(),
            );
        }
        if !self.phase.is_zero() {
            lines.push(format!("after a pause of {:.1} s, drawn from the seed", self.phase.as_secs_f64()));
        }
        for Allowed { guard, seen, lifted } in &self.guards {
            lines.push(if *lifted {
                format!("guard {guard} LIFTED: {seen}")
            } else {
                format!("guard {guard}: {seen}")
            });
        }
        lines
    }

    /// Who is hit, in order.
    pub fn victims(&self) -> Vec<Victim> {
        self.prepared.iter().map(|prepared| prepared.victim.clone()).collect()
    }
}
