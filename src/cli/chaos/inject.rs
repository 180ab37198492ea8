//! `davit chaos inject`

use super::journal::Journal;
use super::means::{target, with_cluster};
use crate::chaos::{
    self, Allowed, Amount, Condition, Ear, Ending, Event, Healed, Healing, Heard, Incident, Injection, Noticed, Plan,
    Proof, Request, Seed, Victim, Window, Witness,
};
use crate::cli::args::ChaosInjectArgs;
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::shell::Shell;
use crate::error::{Error, Kind, Result};
use crate::journal::Progress;
use crate::measure::Interval;
use jiff::Timestamp;
use serde::Serialize;

/// Injects one fault.
pub(super) async fn run(args: &ChaosInjectArgs, shell: &Shell) -> Result<Ended> {
    let request = request(args, shell)?;
    let must = request.target.kind().in_cluster();
    // What cannot be meant is said before anything is opened.
    chaos::find(&request.fault)?;
    let means = with_cluster(shell, &args.helper, must).await?;
    let plan = chaos::plan(&means, request).await?;
    if args.dry_run {
        return Ended::with(&Injected::planned(&plan));
    }
    for line in plan.lines() {
        shell.story.note(line);
    }
    let mut injected = Injected::planned(&plan);
    injected.dry_run = false;
    let keep = (means.repository.clone(), plan.run.clone());
    let journal = Journal::new(Some(keep), shell.clock.clone(), shell.story.clone());
    let injection = chaos::inject(&means, plan, &journal).await?;
    injected.proofs = injection.proofs().to_vec();
    let (run, requested) = (injection.run().clone(), injection.requested);
    let since = |interval: Interval| Seconds {
        low: interval.low.saturating_sub(requested).as_secs_f64(),
        high: interval.high.saturating_sub(requested).as_secs_f64(),
    };
    injected.effective = injection.effective().map(since);
    let mut ear = Ear::new(&means, &run);
    let mut heard = None;
    // What is not proven is over at once: there is nothing to watch.
    if injected.effective.is_some() {
        let (ending, noticed) = watch(&injection, &mut ear, &journal).await;
        injected.ending = Some(ending);
        heard = noticed;
    }
    let healing = injection.heal(&journal).await;
    if heard.is_none() {
        // Somebody may have spoken up behind the last look; nothing must wait for that before the target is healed.
        heard = ear.close().await.inspect_err(|error| tracing::warn!("{error}")).unwrap_or_default();
        if let Some(heard) = &heard {
            note(heard, &journal).await;
        }
    }
    injected.acknowledged = heard.map(|Heard { noticed, at }| Acknowledged {
        by: noticed.by,
        note: noticed.note,
        when: noticed.when,
        seconds: since(at),
    });
    injected.ended(healing, shell);
    Ended::with(&injected)
}

/// Waits for the fault's end, and writes down meanwhile whether a person noticed it.
async fn watch(injection: &Injection, ear: &mut Ear<'_>, journal: &Journal) -> (Ending, Option<Heard>) {
    let mut watched = Box::pin(injection.watch(journal, std::future::pending()));
    let heard = tokio::select! {
        ending = &mut watched => return (ending, None),
        heard = ear.heard() => heard,
    };
    note(&heard, journal).await;
    (watched.await, Some(heard))
}

/// Writes down that a person noticed. A line that could not be written must not keep the fault from its end.
async fn note(heard: &Heard, journal: &Journal) {
    let Noticed { by, note, .. } = heard.noticed.clone();
    if let Err(error) = journal.line(Event::Acknowledged { by, note, at: heard.at }).await {
        tracing::warn!("{error}");
    }
}

fn request(args: &ChaosInjectArgs, shell: &Shell) -> Result<Request> {
    let mut request = Request::new(&args.fault, target(&args.target, shell)?).lasting(args.lasts.0);
    for pair in &args.set {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Error::input(format!("reading --set {pair:?}: it has no =")).hint("write --set tables=public.orders")
        })?;
        request.parameters.set(name.trim(), value);
    }
    request.seed = args.seed.map(Seed);
    request.amount = args.amount.parse::<Amount>()?;
    (request.max_count, request.max_percent) = (args.max_count, args.max_percent);
    request.environment.clone_from(&args.environment);
    request.confirmed.clone_from(&args.confirm);
    request.windows = args.window.iter().map(|text| text.parse::<Window>()).collect::<Result<_>>()?;
    let command = args.incident_command.clone().map(Incident::Command);
    request.incident = command
        .or_else(|| args.incident_file.clone().map(Incident::File))
        .or_else(|| args.incident_url.clone().map(Incident::Url));
    request.protected = args.protect.iter().cloned().collect();
    request.backup_age = args.backup_age.0;
    request.lifted = args.lift.iter().map(|name| name.parse()).collect::<Result<_>>()?;
    request.abort = args.abort_unless.iter().cloned().map(Condition::Unless).collect();
    request.abort.extend(args.abort_below.map(Condition::ReadyBelow));
    request.abort.extend(args.abort_after.map(|span| Condition::LongerThan(span.0)));
    request.control_loop = args.control_loop.map(|span| span.0).unwrap_or_default();
    Ok(request)
}

/// Seconds since the effect was asked for.
#[derive(Debug, Clone, Copy, Serialize)]
struct Seconds {
    low: f64,
    high: f64,
}

/// That a person noticed.
#[derive(Debug, Serialize)]
struct Acknowledged {
    by: String,
    note: Option<String>,
    when: Timestamp,
    seconds: Seconds,
}

#[derive(Debug, Serialize)]
struct Injected {
    dry_run: bool,
    run: String,
    fault: String,
    class: &'static str,
    target: String,
    seed: u64,
    candidates: usize,
    victims: Vec<Victim>,
    undo: Vec<String>,
    guards: Vec<Allowed>,
    phase_seconds: f64,
    proven: Option<bool>,
    effective_seconds: Option<Seconds>,
    proofs: Vec<Proof>,
    acknowledged: Option<Acknowledged>,
    ending: Option<Ending>,
    healed: Vec<Healed>,
    ok: bool,
    #[serde(skip)]
    lines: Vec<String>,
    #[serde(skip)]
    effective: Option<Seconds>,
    #[serde(skip)]
    exit: Option<Kind>,
}

impl Injected {
    fn planned(plan: &Plan) -> Self {
        Self {
            dry_run: true,
            run: plan.run.to_string(),
            fault: plan.facts.name.to_owned(),
            class: plan.facts.class.word(),
            target: plan.request.target.to_string(),
            seed: plan.seed.0,
            candidates: plan.candidates,
            victims: plan.victims(),
            undo: plan.prepared.iter().map(|prepared| prepared.undo.clone()).collect(),
            guards: plan.guards.clone(),
            phase_seconds: plan.phase.as_secs_f64(),
            proven: None,
            effective_seconds: None,
            proofs: Vec::new(),
            acknowledged: None,
            ending: None,
            healed: Vec::new(),
            ok: true,
            lines: plan.lines(),
            effective: None,
            exit: None,
        }
    }

    fn ended(&mut self, healing: Healing, shell: &Shell) {
        self.proven = Some(self.effective.is_some());
        self.effective_seconds = self.effective;
        self.exit = match (healing.result(), &self.ending) {
            (Err(stuck), _) => {
                shell.story.failure(&stuck);
                Some(Kind::Stuck)
            }
            (Ok(()), _) if self.effective.is_none() => Some(Kind::Undecided),
            (Ok(()), Some(Ending::Aborted { .. })) => Some(Kind::CheckFailed),
            // A signal ended the run, not the person who asked for the fault's end.
            (Ok(()), Some(Ending::Stopped { .. })) if shell.stop.gently.is_cancelled() => Some(Kind::Failed),
            _ => None,
        };
        self.healed = healing.healed;
        self.ok = self.exit.is_none();
    }
}

impl Document for Injected {
    fn text(&self) -> String {
        let mut page = Page::default();
        if self.dry_run {
            for line in &self.lines {
                page.line(line);
            }
            page.line("nothing was changed (dry run)");
            return page.text();
        }
        page.line(format!("run {}: {} into {}, seed {}", self.run, self.fault, self.target, self.seed));
        match &self.effective {
            Some(Seconds { low, high }) => {
                page.line(format!("  proven to have taken effect {low:.3} to {high:.3} s after it was asked for"));
            }
            None => drop(page.line("  NOT PROVEN to have taken effect: whatever was measured is invalid")),
        }
        for proof in &self.proofs {
            page.line(match proof {
                Proof::Proven(evidence) => format!("  evidence: {}", evidence.seen),
                Proof::Unproven { why } => format!("  no evidence: {why}"),
            });
        }
        if let Some(Acknowledged { by, note, seconds: Seconds { low, high }, .. }) = &self.acknowledged {
            let note = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            page.line(format!("  a person noticed {low:.3} to {high:.3} s after it was asked for, {by}{note}"));
        }
        match &self.ending {
            Some(Ending::Aborted { why }) => drop(page.line(format!("  aborted: {why}"))),
            Some(Ending::Stopped { how }) => drop(page.line(format!("  stopped by {how}"))),
            Some(Ending::TimeUp) | None => {}
        }
        for healed in &self.healed {
            let word = if healed.read_back.is_good() { "healed" } else { "NOT HEALED" };
            page.line(format!("  {word}: {}: {}", healed.victim.shown, healed.read_back.text()));
        }
        page.text()
    }

    fn exit(&self) -> Exit {
        self.exit.map_or(Exit::Done, Exit::Not)
    }
}
