//! Injection: lease, intents, effect, proof. Whatever fails after the first intent is healed before it is reported.

use super::event::{Event, Witness};
use super::evidence::Proof;
use super::fault::{Fault, Held, Prepared, Scene, find};
use super::guard::{self, GuardName};
use super::heal::{Healing, heal_all};
use super::helper::fuse;
use super::intent::{Intent, OpenIntent, open_intents};
use super::means::Means;
use super::plan::Plan;
use crate::error::{Error, Kind, Result};
use crate::id::RunId;
use crate::measure::Interval;
use crate::repository::lease::{Claim, Lease};
use futures_util::future::join_all;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A fault that was injected and must be healed. Dropping it leaves its intents open, for the janitor.
#[derive(Debug)]
#[must_use = "what was injected must be healed"]
pub struct Injection {
    pub(super) means: Means,
    pub(super) plan: Plan,
    pub(super) fault: &'static dyn Fault,
    pub(super) held: Vec<Held>,
    /// Victims from this number on were never touched.
    pub(super) begun: u32,
    pub(super) proofs: Vec<Proof>,
    pub(super) lease: Option<Lease>,
    /// Says that the lease is lost, whoever holds it.
    pub(super) lost: CancellationToken,
    /// When the first effect was asked for, on the monotonic clock: t0.
    pub requested: Duration,
}

/// Injects what was planned, under a lease of its own.
///
/// # Errors
/// Exit 3 if somebody else holds the lease or left an intent; exit 4 if it failed and what was begun is undone; exit 5 if
/// that is not proven.
pub async fn inject(means: &Means, plan: Plan, witness: &dyn Witness) -> Result<Injection> {
    witness.line(planned(&plan)).await?;
    let lease = take_lease(means, witness).await?;
    witness.line(Event::LeaseTaken { fence: lease.fence() }).await?;
    let lost = lease.lost().clone();
    let injected = begin(means, plan, witness, Some(lease), lost).await;
    injected.map_err(|(error, lease)| {
        drop(lease);
        error
    })
}

/// Injects what was planned in a drill that holds the lease itself.
///
/// # Errors
/// As [`inject`], and if the lease is lost.
pub async fn inject_in_drill(means: &Means, plan: Plan, witness: &dyn Witness, lease: &Lease) -> Result<Injection> {
    lease.check()?;
    witness.line(planned(&plan)).await?;
    begin(means, plan, witness, None, lease.lost().clone()).await.map_err(|(error, _)| error)
}

/// Takes the lease that drills, injections and the janitor share.
///
/// # Errors
/// Exit 3 if somebody else holds it: nothing was touched.
pub async fn take_lease(means: &Means, witness: &dyn Witness) -> Result<Lease> {
    let claim = Claim { name: super::LEASE.to_owned(), holder: means.holder.clone(), term: means.lease_term };
    let repository = &means.repository;
    if let Some(why) = Lease::wait_for(repository.store(), &means.clock, &claim).await? {
        witness.line(Event::Waiting { why }).await?;
    }
    let lease = Lease::acquire(repository.store(), &means.clock, &claim, &means.cancel).await;
    lease.map_err(|error| match error.kind() {
        Kind::Refused => error.during(format!("guard {}", GuardName::Lease)),
        _ => error,
    })
}

fn planned(plan: &Plan) -> Event {
    Event::Planned {
        run: plan.run.clone(),
        fault: plan.facts.name.to_owned(),
        target: plan.request.target.to_string(),
        seed: plan.seed.0,
        candidates: plan.candidates,
        victims: plan.victims(),
        phase: plan.phase,
        guards: plan.guards.clone(),
        cap: guard::caps(&plan.facts, &plan.request).to_string(),
        undo: plan.prepared.iter().map(|prepared| prepared.undo.clone()).collect(),
    }
}

type Begun = Result<Injection, (Error, Option<Lease>)>;

async fn begin(
    means: &Means,
    plan: Plan,
    witness: &dyn Witness,
    lease: Option<Lease>,
    lost: CancellationToken,
) -> Begun {
    let fault = match find(plan.facts.name) {
        Ok(fault) => fault,
        Err(error) => return Err((error, lease)),
    };
    let mut injection = Injection {
        means: means.clone(),
        fault,
        held: Vec::new(),
        begun: 0,
        proofs: Vec::new(),
        lease,
        lost,
        requested: means.clock.monotonic(),
        plan,
    };
    // Between the plan and the lease somebody else may have begun and died.
    let others = |open: Vec<OpenIntent>| -> Vec<OpenIntent> {
        // A drill has made its own table by now.
        open.into_iter().filter(|intent| intent.run != injection.plan.run).collect()
    };
    match open_intents(means).await.map(others) {
        Ok(open) if open.is_empty() => {}
        Ok(open) => {
            let what = format!(
                "guard {}: run {} left something that is not proven undone",
                GuardName::OpenIntent,
                open[0].run
            );
            return Err((Error::refused(what).hint("davit chaos janitor undoes it"), injection.give_back().await));
        }
        Err(error) => return Err((error.as_kind(Kind::Refused), injection.give_back().await)),
    }
    match injection.act(witness).await {
        Ok(()) => Ok(injection),
        Err(error) => {
            let untouched = injection.begun == 0;
            let healing = injection.heal(witness).await;
            let error = match healing.result() {
                Ok(()) => error,
                // What was asked for before the effect may be left, and nobody is the worse for it.
                Err(_) if untouched => error.during("before anything was injected").hint(
                    "the target is as it was; davit chaos janitor closes what may be left open, once the repository answers",
                ),
                Err(stuck) => stuck.during(format!("healing after this failed: {error}")),
            };
            Err((error, None))
        }
    }
}

impl Injection {
    /// Intents, effect, proof.
    async fn act(&mut self, witness: &dyn Witness) -> Result<()> {
        self.put_intents(witness).await?;
        self.wait_for_phase().await?;
        for (number, prepared) in (0u32..).zip(&self.plan.prepared) {
            self.light(number, prepared).await?;
        }
        self.arrive().await?;
        self.requested = self.means.clock.monotonic();
        let mut asked = Vec::new();
        for (number, prepared) in (0u32..).zip(&self.plan.prepared) {
            let at = self.means.clock.monotonic();
            witness.line(Event::Injecting { number, at }).await?;
            asked.push(self.means.clock.monotonic());
            self.begun = number + 1;
            let held = self.fault.inject(&self.scene(), prepared).await?;
            self.held.push(held);
            witness.line(Event::Injected { number }).await?;
        }
        let scene = self.scene();
        let looks = self.plan.prepared.iter().zip(&self.held).zip(&asked);
        let looks = looks.map(|((prepared, held), asked)| self.fault.proof(&scene, prepared, held, *asked));
        let proofs = join_all(looks).await;
        for (number, proof) in (0u32..).zip(proofs) {
            let proof = proof.unwrap_or_else(|why| Proof::Unproven { why: why.to_string() });
            witness.line(Event::Proof { number, proof: proof.clone() }).await?;
            self.proofs.push(proof);
        }
        Ok(())
    }

    async fn put_intents(&self, witness: &dyn Witness) -> Result<()> {
        let scene = self.scene();
        for (number, prepared) in (0u32..).zip(&self.plan.prepared) {
            let intent = Intent::new(&scene, self.plan.facts.name, number, prepared, self.plan.cluster.clone());
            let object = self.means.repository.put_fault_intent(&self.plan.run, number, &intent).await?;
            super::copy::put(&self.means, &intent).await;
            witness.line(Event::IntentDurable { number, object: object.to_string() }).await?;
        }
        Ok(())
    }

    /// Whatever would stay for ever gets a fuse before it is there.
    async fn light(&self, number: u32, prepared: &Prepared) -> Result<()> {
        let (scene, plan) = (self.scene(), &self.plan);
        let Some(proving) = self.fault.proving(&scene)? else { return Ok(()) };
        if !plan.fuse {
            return Ok(());
        }
        let intent = Intent::new(&scene, plan.facts.name, number, prepared, plan.cluster.clone());
        fuse::light(&scene, &intent, proving + scene.expiry()).await
    }

    /// All carriers at once: a fault that waits for the last of them begins at one moment.
    async fn arrive(&self) -> Result<()> {
        let scene = self.scene();
        let arrivals = self.plan.prepared.iter().map(|prepared| self.fault.arrive(&scene, prepared));
        join_all(arrivals).await.into_iter().collect()
    }

    async fn wait_for_phase(&self) -> Result<()> {
        if self.plan.phase.is_zero() {
            return Ok(());
        }
        let not_yet = |why: &str| Err(Error::failed(format!("waiting to inject: {why}")));
        tokio::select! {
            biased;
            () = self.means.cancel.cancelled() => not_yet("interrupted"),
            () = self.lost.cancelled() => not_yet("the lease was lost: another run may begin"),
            why = self.told_to_stop() => not_yet(&why),
            () = self.means.clock.sleep(self.plan.phase) => Ok(()),
        }
    }

    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            means: &self.means,
            run: &self.plan.run,
            target: &self.plan.request.target,
            parameters: &self.plan.request.parameters,
            duration: self.plan.request.duration,
        }
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        &self.plan.run
    }

    /// What was planned.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Victim by victim, whether the fault is proven to have taken effect.
    pub fn proofs(&self) -> &[Proof] {
        &self.proofs
    }

    /// t1: when the fault took effect on the first victim, between which instants. `None` if it is unproven for any
    /// victim: what is measured then is invalid.
    pub fn effective(&self) -> Option<Interval> {
        let proven: Option<Vec<Interval>> =
            self.proofs.iter().map(|proof| proof.evidence().map(|evidence| evidence.effective)).collect();
        let proven = proven.filter(|proven| !proven.is_empty())?;
        let low = proven.iter().map(|interval| interval.low).min()?;
        let high = proven.iter().map(|interval| interval.high).min()?;
        Some(Interval::new(low, high))
    }

    /// Undoes everything, reads back, closes the intents and gives the lease back. What is not proven to be healed stays
    /// open, and [`Healing::result`] says so.
    pub async fn heal(mut self, witness: &dyn Witness) -> Healing {
        let held = std::mem::take(&mut self.held);
        drop(held);
        let prepared: Vec<(u32, &Prepared)> = (0u32..).zip(&self.plan.prepared).collect();
        let healing = heal_all(&self.scene(), self.fault, (&prepared, self.begun), witness).await;
        // In a drill the run goes on, and its drill says when it is over.
        if let Some(lease) = self.lease.take() {
            if let Err(error) = super::ack::close(&self.means, &self.plan.run).await {
                tracing::warn!("{error}");
            }
            match lease.release().await {
                Ok(()) => super::heal::tell(witness, Event::LeaseReleased).await,
                Err(error) => tracing::warn!("{error}"),
            }
        }
        healing
    }

    /// Nothing was begun: the next runner need not wait.
    async fn give_back(&mut self) -> Option<Lease> {
        if let Some(lease) = self.lease.take()
            && let Err(error) = lease.release().await
        {
            tracing::warn!("{error}");
        }
        None
    }
}
