//! What every part of a running drill has at hand.

use super::hold::hold_probes;
use super::live::Live;
use super::means::{Means, make_private};
use super::notebook::Notebook;
use super::plan::Script;
use crate::error::{Error, Result};
use crate::measure::{Hold, Instant, Interval, Steady};
use crate::postgres::{ConnInfo, Session, connect};
use crate::report::journal::{Aims, Began, Event, FORMAT, ScenarioFacts, Stage, Theory};
use crate::scenario::{RtoEnds, Scenario};
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The error budget is one of 30 days.
const BUDGET_DAYS: u32 = 30;
/// How often something that will come true soon is looked for.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// A drill under way.
pub(super) struct Desk<'a> {
    pub(super) means: &'a Means,
    pub(super) script: Script,
    pub(super) notebook: Notebook,
    pub(super) live: Arc<Live>,
    pub(super) folder: PathBuf,
    /// When the fault took effect, once it is proven.
    fault: OnceLock<Interval>,
}

impl<'a> Desk<'a> {
    /// Makes the folder and the journal, and writes its first line.
    pub(super) fn open(
        means: &'a Means,
        script: Script,
        versions: BTreeMap<String, String>,
        seed: u64,
    ) -> Result<Self> {
        let folder = means.folder_of(&script.run);
        make_private(&folder)?;
        let notebook = Notebook::create(&folder, means.clock().clone())?;
        let desk = Self { means, script, notebook, live: Live::new(), folder, fault: OnceLock::new() };
        desk.notebook.note(Event::Began(Box::new(desk.began(versions, seed))))?;
        Ok(desk)
    }

    fn began(&self, versions: BTreeMap<String, String>, seed: u64) -> Began {
        let Scenario { objectives, target, limits, steady_state, recovery, .. } = &self.script.scenario;
        let scenario = &self.script.scenario;
        let aim = |aim: crate::scenario::Aim| aim.objective().map(|objective| objective.0);
        Began {
            format: FORMAT,
            run: self.script.run.clone(),
            repetition: self.script.choices.repetition,
            tool: concat!("davit ", env!("CARGO_PKG_VERSION")).to_owned(),
            seed,
            operator: self.means.operator.clone(),
            confirmed: self.script.choices.confirmed.clone(),
            wall: self.means.clock().now(),
            scenario: ScenarioFacts {
                file: self.script.file.clone(),
                sha256: scenario.series,
                title: scenario.title.clone(),
                why: scenario.why.clone(),
                hypothesis: scenario.hypothesis.clone(),
                owner: scenario.owner.clone(),
                service: target.service.clone(),
                environment: target.environment.clone(),
                target: target.place.describe(),
                fault: super::plan::fault_of(&self.script.scenario).to_owned(),
                recovery: recovery.by.words(),
                ends_validated: recovery.by.ends_validated(),
                ends_with: recovery.by.command().filter(|_| recovery.rto_ends == RtoEnds::Command),
                unasked: self.script.unasked(),
                writes: self.script.writes(),
                theory: theory(scenario),
            },
            aims: Aims {
                rto: aim(objectives.rto),
                rpo: aim(objectives.rpo),
                detection: aim(objectives.detection),
                redundancy: aim(objectives.redundancy),
                acknowledgement: aim(objectives.acknowledgement),
            },
            steady: steady_state.rule,
            hold: limits.hold,
            hold_probes: hold_probes(&self.script.scenario),
            availability: (limits.availability.0, BUDGET_DAYS),
            versions,
        }
    }

    /// The fault is proven to have taken effect.
    pub(super) fn struck(&self, at: Interval, evidence: String) -> Result<()> {
        self.notebook.mark(Instant::Effective, at, evidence)?;
        self.fault.get_or_init(|| at);
        Ok(())
    }

    /// When the fault took effect; nothing before that is proven.
    pub(super) fn fault(&self) -> Option<Interval> {
        self.fault.get().copied()
    }

    /// The rule that confirms a recovery, for a stream that was like this before.
    pub(super) fn hold(&self, steady: Steady) -> Hold {
        Hold { span: self.script.scenario.limits.hold, probes: hold_probes(&self.script.scenario), steady }
    }

    /// A part of the drill begins.
    pub(super) fn stage(&self, stage: Stage, words: &str) -> Result<()> {
        self.means.progress.note(format!("{}: {words}", stage.word()));
        self.notebook.note(Event::Stage(stage))
    }

    pub(super) fn now(&self) -> Duration {
        self.means.clock().monotonic()
    }

    /// Waits; ends early, with an error, where somebody says stop.
    pub(super) async fn sleep(&self, span: Duration) -> Result<()> {
        tokio::select! {
            () = self.means.clock().sleep(span) => Ok(()),
            () = self.means.cancel().cancelled() => Err(stopped()),
        }
    }

    /// What a URL leads to.
    pub(super) fn conn(&self, url: &Secret) -> Result<ConnInfo> {
        ConnInfo::parse(url.reveal(), &self.means.chaos.postgres)
    }

    /// A session of ours through the path of clients.
    pub(super) async fn client(&self) -> Result<Session> {
        connect(&self.conn(&self.script.access.clients)?, "drill").await
    }

    /// Whether clients speak to a database.
    pub(super) fn is_database(&self) -> bool {
        let url = self.script.access.clients.reveal();
        url.starts_with("postgres://")
            || url.starts_with("postgresql://")
            || (!url.contains("://") && url.contains('='))
    }

    /// Tries until it works, or the time is over.
    pub(super) async fn until<T, F, Fut>(&self, limit: Duration, mut attempt: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let began = self.now();
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) if self.now().saturating_sub(began) >= limit => return Err(error),
                Err(_) => self.sleep(LOOK).await?,
            }
        }
    }
}

/// Somebody said stop.
pub(super) fn stopped() -> Error {
    Error::failed("running the drill: it was stopped")
}

/// What the scenario says of phases, as a report keeps it.
fn theory(scenario: &Scenario) -> Vec<Theory> {
    let each = scenario.theory.iter().map(|theory| Theory {
        phase: theory.phase.clone(),
        best: theory.best,
        worst: theory.worst,
        because: theory.because.clone(),
    });
    each.collect()
}
