//! Executes a plan: wave by wave, many at once in a wave, what fails once more when something else has succeeded.

use super::super::order::Tier;
use super::super::plan::{Action, Line, OwnerAt};
use super::super::volumes::Stored;
use super::one::{Hands, Outcome};
use super::report::{Failure, RestoreReport};
use super::{Kinds, Means, Prepared, fill, managers, owners, readback};
use crate::cluster::Kind;
use crate::error::{Error, Result};
use crate::humane::counted;
use crate::journal::Amount;
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A definition is served within a second; a server under load takes longer.
const ESTABLISHED: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Passes in which nothing succeeded before what is left is given up, and the pause before each.
const IDLE_PASSES: u32 = 3;
const PASS_PAUSE: Duration = Duration::from_secs(2);

const STAGE: &str = "objects";

/// What is known while a restore runs.
pub(super) struct Run<'a> {
    pub(super) means: &'a Means,
    pub(super) hands: Hands<'a>,
    pub(super) prepared: &'a Prepared,
    pub(super) kinds: Kinds,
    /// The uid of each line's object, once it is there.
    pub(super) uids: BTreeMap<usize, String>,
    /// Lines that were done.
    pub(super) done: Vec<usize>,
    /// Why lines are not done, and whether they may be yet.
    pub(super) failed: BTreeMap<usize, (String, bool)>,
    /// Lines that the account may not do, and that never failed in another way.
    lacking: BTreeSet<usize>,
    /// What else is worth knowing.
    pub(super) notes: Vec<String>,
}

/// Executes a prepared plan. Lines that fail are in the report; an error means that nothing was begun.
pub async fn run(means: &Means, prepared: &Prepared) -> Result<RestoreReport> {
    run_with(means, prepared, None).await
}

/// Executes a prepared plan, and brings the files of volumes back into the claims that it makes.
pub async fn run_with(means: &Means, prepared: &Prepared, volumes: Option<&Stored>) -> Result<RestoreReport> {
    refuse_conflicts(prepared)?;
    refuse_nowhere(prepared)?;
    let began = means.clock.monotonic();
    let acting = prepared.plan.acting().count() as u64;
    means.progress.began(STAGE, Amount::items(acting));
    let mut run = Run {
        means,
        hands: Hands { means, manager: &prepared.options.manager },
        prepared,
        kinds: prepared.kinds.clone(),
        uids: BTreeMap::new(),
        done: Vec::new(),
        failed: BTreeMap::new(),
        lacking: BTreeSet::new(),
        notes: Vec::new(),
    };
    run.waves(volumes).await;
    // Files that came back into a claim that was there have changed something, too.
    if volumes.is_none_or(Stored::is_empty) {
        run.refuse_powerless()?;
    }
    owners::patch_later(&mut run).await;
    if prepared.options.keep_managers {
        managers::give_back(&mut run).await;
    }
    means.progress.ended(STAGE, Amount::items(run.done.len() as u64));
    let mut diverged = readback::diverged(&run).await;
    let stopped = means.cancel.is_cancelled();
    if stopped {
        // Whoever was stopped while looking does not know what differs.
        diverged.clear();
    }
    let seconds = means.clock.monotonic().saturating_sub(began).as_secs_f64();
    Ok(RestoreReport { stopped, ..report(&run, diverged, seconds) })
}

fn refuse_conflicts(prepared: &Prepared) -> Result<()> {
    let named: Vec<String> = prepared.plan.conflicts().map(|line| Kinds::shown(&line.place)).collect();
    let Some(first) = named.first() else { return Ok(()) };
    let others = match named.len() - 1 {
        0 => String::new(),
        others => format!(" and {}", counted(others as u64, "other object")),
    };
    let differ = if others.is_empty() { "differs" } else { "differ" };
    Err(Error::refused(format!("restoring over what is there: {first}{others} {differ} from the snapshot"))
        .hint("--plan shows how; --on-conflict skip, merge or replace says what becomes of them, --into another namespace avoids them"))
}

fn refuse_nowhere(prepared: &Prepared) -> Result<()> {
    let Some((line, why)) = prepared.plan.nowhere().next() else { return Ok(()) };
    Err(Error::refused(format!("restoring {}: {why}", Kinds::shown(&line.place)))
        .hint("kubectl get storageclasses lists those that are there"))
}

impl Run<'_> {
    /// Executes wave after wave. Files are back in their volumes before anything runs that uses them: an application
    /// that finds its volume empty makes itself at home in it. Accounts and Secrets are there before: movers run as the
    /// one, and their image may be pulled with the other.
    async fn waves(&mut self, volumes: Option<&Stored>) {
        let mut unfilled = volumes.filter(|volumes| !volumes.is_empty());
        for (tier, wave) in &self.prepared.plan.waves {
            if *tier > Tier::Configuration
                && let Some(volumes) = unfilled.take()
                && !fill::fill(self, volumes).await
            {
                return;
            }
            self.wave(*tier, wave).await;
            if self.means.cancel.is_cancelled() {
                return;
            }
        }
        if let Some(volumes) = unfilled
            && !fill::fill(self, volumes).await
        {
            return;
        }
        self.last_passes().await;
    }

    /// Executes the lines of a wave, and again those that failed while others succeed.
    async fn wave(&mut self, tier: Tier, wave: &[usize]) {
        let acts = |at: &usize| {
            let action = &self.prepared.plan.lines[*at].action;
            action.acts() || *action == Action::Same
        };
        let mut open: Vec<usize> = wave.iter().copied().filter(acts).collect();
        self.spare(&mut open);
        while !open.is_empty() {
            let before = open.len();
            open = self.pass(&open).await;
            if tier == Tier::Definitions {
                self.await_definitions().await;
            }
            // A pass without any success will have no better next one.
            if open.len() == before || self.means.cancel.is_cancelled() {
                break;
            }
        }
    }

    /// Nothing is pruned by a restore that is not whole: what is there may be all that is left.
    fn spare(&mut self, open: &mut Vec<usize>) {
        let lines = &self.prepared.plan.lines;
        let whole = self.failed.is_empty() && !lines.iter().any(|line| matches!(line.action, Action::Refuse(_)));
        if whole {
            return;
        }
        let failed = &mut self.failed;
        open.retain(|at| {
            let prunes = lines[*at].action == Action::Prune;
            if prunes {
                failed.insert(*at, ("not pruned, because other objects could not be restored".to_owned(), false));
            }
            !prunes
        });
    }

    /// What failed in its wave may succeed at the end: a webhook whose pods run by now, a kind that is served by now.
    async fn last_passes(&mut self) {
        let mut idle = 0;
        while idle < IDLE_PASSES && !self.means.cancel.is_cancelled() {
            let open: Vec<usize> = self.failed.iter().filter(|(_, (_, again))| *again).map(|(at, _)| *at).collect();
            if open.is_empty() {
                return;
            }
            self.means.clock.sleep(PASS_PAUSE).await;
            self.discover().await;
            idle = if self.pass(&open).await.len() < open.len() { 0 } else { idle + 1 };
        }
    }

    /// Executes lines side by side; those that failed and may succeed later.
    async fn pass(&mut self, lines: &[usize]) -> Vec<usize> {
        let width = self.means.in_flight.max(1);
        let (hands, kinds, plan) = (&self.hands, &self.kinds, &self.prepared.plan);
        let work = lines.iter().map(|at| {
            let owners = self.owners_now(*at);
            async move { (*at, hands.execute(&plan.lines[*at], kinds, owners).await) }
        });
        let mut work = futures_util::stream::iter(work).buffer_unordered(width);
        let mut outcomes = Vec::new();
        while let Some(outcome) = work.next().await {
            if matches!(outcome.1, Outcome::Done(_)) && plan.lines[outcome.0].action.acts() {
                self.means.progress.advanced(STAGE, Amount::items(1));
            }
            outcomes.push(outcome);
        }
        drop(work);
        let mut open = Vec::new();
        for (at, outcome) in outcomes {
            match outcome {
                Outcome::Done(uid) => {
                    self.failed.remove(&at);
                    self.lacking.remove(&at);
                    self.done.push(at);
                    if let Some(uid) = uid {
                        self.uids.insert(at, uid);
                    }
                }
                Outcome::Failed { why, again, lacks } => {
                    let before = self.failed.insert(at, (why, again));
                    // One that once failed in another way may have been done all the same.
                    if lacks && before.is_none() {
                        self.lacking.insert(at);
                    } else if !lacks {
                        self.lacking.remove(&at);
                    }
                    if again {
                        open.push(at);
                    }
                }
            }
        }
        open
    }

    /// An account that may do nothing of it is no restore in part: nothing was begun, and what is missing are its rights.
    fn refuse_powerless(&self) -> Result<()> {
        let lines = &self.prepared.plan.lines;
        let acted = self.done.iter().any(|at| lines[*at].action.acts());
        // One that failed half way may have changed something all the same.
        let in_one_step = |line: &Line| {
            matches!(line.action, Action::Create | Action::Merge | Action::Replace) && line.frees.is_none()
        };
        let acted = acted || !self.failed.keys().all(|at| in_one_step(&lines[*at]) && self.is_powerless(*at));
        // Without its namespace everything in it fails, too.
        let first = self.lacking.iter().min_by_key(|at| lines[**at].place.namespace.is_some());
        let first = first.and_then(|at| Some((at, self.failed.get(at)?)));
        let (Some((at, (why, _))), false, false) = (first, acted, self.means.cancel.is_cancelled()) else {
            return Ok(());
        };
        let others = match self.failed.len() - 1 {
            0 => String::new(),
            others => format!(" (and {} like it)", counted(others as u64, "other object")),
        };
        Err(Error::refused(format!("restoring {}{others}; nothing was changed: {why}", Kinds::shown(&lines[*at].place)))
            .hint("deploy/components/restore has the account and the rights that a restore needs; davit doctor --namespace asks for them"))
    }

    /// Whether a line that failed has changed nothing for certain: the right is missing for it, or for the namespace that it
    /// would be in; or its kind is not served, so nothing was sent. An answer that was lost says nothing.
    fn is_powerless(&self, at: usize) -> bool {
        let (lines, line) = (&self.prepared.plan.lines, &self.prepared.plan.lines[at]);
        let is_its_namespace = |other: &Line| {
            other.action == Action::Create
                && other.place.group_resource == "namespaces"
                && line.place.namespace.as_ref() == Some(&other.place.name)
        };
        self.lacking.contains(&at)
            || self.lacking.iter().any(|other| is_its_namespace(&lines[*other]))
            || (self.prepared.kinds.saved(&line.kind).is_none() && self.kinds.saved(&line.kind).is_none())
    }

    /// The references to owners whose uid is known.
    pub(super) fn owners_now(&self, at: usize) -> Vec<Value> {
        let links = self.prepared.plan.lines[at].owners.iter();
        let known = links.filter_map(|link| match &link.at {
            OwnerAt::Before(owner) | OwnerAt::Later(owner) => self.uids.get(owner).map(|uid| link.with(uid)),
            OwnerAt::Live(uid) => Some(link.with(uid)),
        });
        known.collect()
    }

    /// Waits until the definitions that were made are established; then the cluster is asked again what it serves.
    async fn await_definitions(&mut self) {
        let kind = Kind::definitions();
        let clock = &self.means.clock;
        let began = clock.monotonic();
        let made = self.done.iter().map(|at| &self.prepared.plan.lines[*at]);
        let made: Vec<&str> = made
            .filter(|line| line.action.acts() && line.place.group_resource == kind.group_resource())
            .map(|line| line.place.name.as_str())
            .collect();
        for name in made {
            while !self.means.cancel.is_cancelled() && clock.monotonic().saturating_sub(began) < ESTABLISHED {
                let there = self.means.cluster.one(&kind, None, name).await;
                if there.is_ok_and(|there| there.is_some_and(|body| is_established(&body))) {
                    break;
                }
                clock.sleep(LOOK_AGAIN).await;
            }
        }
        self.discover().await;
    }

    /// Asks what is served now; if that fails, what was known goes on to count.
    async fn discover(&mut self) {
        match self.means.cluster.discover().await {
            Ok(discovered) => self.kinds = Kinds::of(&discovered),
            Err(error) => self.means.progress.warn(format!("asking the cluster again what it serves: {error}"), None),
        }
    }
}

fn is_established(body: &Value) -> bool {
    let conditions = body.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == "Established" && one["status"] == "True")
}

fn report(run: &Run<'_>, diverged: Vec<Failure>, seconds: f64) -> RestoreReport {
    let lines = &run.prepared.plan.lines;
    let mut report =
        RestoreReport { seconds, diverged, manager: run.prepared.options.manager.clone(), ..RestoreReport::default() };
    let done: BTreeSet<usize> = run.done.iter().copied().collect();
    for at in &done {
        match &lines[*at].action {
            Action::Create => report.created += 1,
            Action::Merge => report.merged += 1,
            Action::Replace => report.replaced += 1,
            Action::Recreate => report.recreated += 1,
            Action::Prune => {
                report.pruned += 1;
                report.pruned_objects.push(lines[*at].place.clone());
            }
            _ => report.same += 1,
        }
    }
    for (at, line) in lines.iter().enumerate() {
        let shown = |why: &str| Failure { place: line.place.clone(), why: why.to_owned() };
        match &line.action {
            Action::Leave(why) => report.left.push(shown(why)),
            Action::Refuse(why) => report.failed.push(shown(why)),
            _ => {}
        }
        match run.failed.get(&at) {
            Some((why, _)) => report.failed.push(shown(why)),
            None if line.action.acts() && !done.contains(&at) => {
                report.failed.push(shown("the run was stopped before it; the same command goes on"));
            }
            None => report.notes.extend(line.notes.iter().map(|note| format!("{}: {note}", line.place))),
        }
    }
    report.notes.extend(run.notes.iter().cloned());
    report
}
