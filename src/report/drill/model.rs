//! What the report of a drill holds. Durations are seconds; offsets count from the drill's first journal line.

use super::alerts::AlertRow;
use super::replica::ReplicaRow;
use crate::id::{RunId, Sha256};
use crate::report::series::Series;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The report of one drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrillReport {
    /// See [`crate::report::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Always `drill`.
    pub kind: String,
    /// The drill.
    pub run: RunId,
    /// What came of it.
    pub verdict: Overall,
    /// What was drilled, by whom, with what.
    pub identity: Identity,
    /// Each objective beside what was measured.
    pub objectives: Vec<ObjectiveRow>,
    /// Normal, before and after.
    pub steady: SteadyReport,
    /// t0 to t10, as far as they are known.
    pub timeline: Vec<Moment>,
    /// The durations between them.
    pub phases: Vec<PhaseRow>,
    /// Whether a person noticed; nothing where that was not looked for.
    #[serde(default)]
    pub acknowledgement: Option<Acknowledgement>,
    /// Alerts that were expected, and what became of each.
    #[serde(default)]
    pub alerts: Vec<AlertRow>,
    /// Who observed, and what each of them saw. The worst of them decides.
    #[serde(default)]
    pub observers: Vec<ObserverRow>,
    /// What each stream of probes showed.
    pub streams: Vec<StreamRow>,
    /// Success rate, latency and acknowledged writes over time: the whole drill, and the time around the fault.
    pub series: Vec<Series>,
    /// What became of every write; nothing where none was made.
    pub integrity: Option<Integrity>,
    /// What the standby had of the writes at the end; nothing where none was known, or nothing was written.
    #[serde(default)]
    pub replica: Option<ReplicaRow>,
    /// The restore, where Davit made one.
    pub restore: Option<RestoreRow>,
    /// What else had to be true.
    pub checks: Vec<CheckRow>,
    /// Planned and touched.
    pub blast_radius: BlastRadius,
    /// What each guard said.
    pub guards: Vec<GuardRow>,
    /// Whether everything was put back.
    pub cleanup: Cleanup,
    /// What the drill cost of what is promised.
    pub error_budget: Option<Budget>,
    /// What was done, with times.
    pub steps: Vec<StepRow>,
    /// What was seen and not expected.
    pub surprises: Vec<String>,
    /// What follows from it.
    pub actions: Vec<Action>,
    /// Whether the run proves anything.
    pub validity: Validity,
    /// What it was made from; nothing in reports from before this was said.
    #[serde(default)]
    pub files: Vec<RawFile>,
}

/// What came of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overall {
    /// `met`, `missed`, `undecided` or `invalid`.
    pub word: String,
    /// One sentence.
    pub sentence: String,
    /// What the process ends with.
    pub exit_code: u8,
}

/// At least and at most so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Not less.
    pub low: f64,
    /// Not more.
    pub high: f64,
}

/// What was drilled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// What happens.
    pub title: String,
    /// Why anybody wants to know.
    pub why: String,
    /// What was expected.
    pub hypothesis: String,
    /// The scenario's file.
    pub scenario: String,
    /// Its hash: drills of one hash are one series.
    pub scenario_sha256: Sha256,
    /// Who looks after it.
    pub owner: Option<String>,
    /// What was broken.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The target in a few words.
    pub target: String,
    /// The fault.
    pub fault: String,
    /// How the service was to come back.
    pub recovery: String,
    /// `davit` and its version.
    pub tool: String,
    /// Where chance came from.
    pub seed: u64,
    /// Which one of how many.
    pub repetition: Option<(u32, u32)>,
    /// Who asked for it.
    pub operator: Option<String>,
    /// Who approved it: whoever typed the target's name again. Nothing where nobody did; only production asks for it.
    #[serde(default)]
    pub approver: Option<String>,
    /// When it began, by the observer's wall clock.
    pub began: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// Versions and settings of what was broken.
    pub versions: BTreeMap<String, String>,
}

/// One objective beside what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveRow {
    /// `recovery`, `rto`, `service`, `observers`, `rpo`, `integrity`, `replica`, `detection`, `redundancy`, `acknowledgement`,
    /// `alert`, `checks` or `steady-after`.
    pub key: String,
    /// What is measured.
    pub name: String,
    /// How it was measured.
    pub by: String,
    /// Who measured it, where that is an observer.
    #[serde(default)]
    pub observer: Option<String>,
    /// At most so many seconds; nothing where nothing was asked for.
    pub objective: Option<f64>,
    /// What was measured, with its error.
    pub actual: Option<Bounds>,
    /// `met`, `missed`, `undecided`, `invalid`, or nothing where nothing was asked for.
    pub verdict: Option<String>,
    /// In words.
    pub sentence: String,
}

/// Normal, before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SteadyReport {
    /// What had to hold, in words.
    pub rule: Vec<String>,
    /// What was seen before the fault.
    pub before: Vec<SteadyRow>,
    /// What was seen after the recovery.
    pub after: Vec<SteadyRow>,
    /// Why it was not met before, if it was not.
    pub missed_before: Vec<String>,
    /// Why it was not met after, if it was not.
    pub missed_after: Vec<String>,
}

/// What one stream showed in a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SteadyRow {
    /// The stream.
    pub stream: String,
    /// Probes sent.
    pub probes: u64,
    /// Those that failed.
    pub failures: u64,
    /// Milliseconds; nothing where the rank is a failure.
    pub p50_ms: Option<f64>,
    /// Milliseconds.
    pub p95_ms: Option<f64>,
    /// Milliseconds.
    pub p99_ms: Option<f64>,
    /// Answers in a second; acknowledged writes where a ledger was kept.
    pub per_second: f64,
}

/// A dated instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// `t0` to `t10`, `th` for the end of the fault where something undoes it, and `tm` for a person.
    pub symbol: String,
    /// Its word.
    pub name: String,
    /// When, since the drill began; nothing where it is not known.
    pub at: Option<Bounds>,
    /// The same counted from the proven fault, which may be before it.
    pub since_fault: Option<Bounds>,
    /// By the wall clock: a label.
    pub wall: Option<Timestamp>,
    /// What shows it, or why nothing does.
    pub evidence: String,
}

/// Whether a person noticed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Whether anybody said so.
    pub acknowledged: bool,
    /// Who: host and process.
    pub by: Option<String>,
    /// What they had to say.
    pub note: Option<String>,
    /// Between which of the drill's looks, since it began.
    pub at: Option<Bounds>,
    /// The same counted from the proven fault, which may be before it.
    pub since_fault: Option<Bounds>,
    /// What the clock of their machine read: a label.
    pub their_clock: Option<Timestamp>,
    /// In words.
    pub sentence: String,
}

/// A duration between two instants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseRow {
    /// Its name.
    pub name: String,
    /// From when, since the drill began.
    pub from: Bounds,
    /// Until when.
    pub until: Bounds,
    /// How long.
    pub length: Bounds,
    /// Whether it is a part of the recovery time.
    pub counts: bool,
    /// How long it can take by the settings of what was broken, where the scenario says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theory: Option<TheoryRow>,
}

/// How long a phase can take, and how that which was measured stands to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TheoryRow {
    /// At best and at worst.
    pub allowed: Bounds,
    /// `within`, `longer`, `shorter`, or `undecided` where the error of the measurement leaves it open.
    pub took: String,
    /// The settings that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// Somebody who observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObserverRow {
    /// Its name.
    pub name: String,
    /// Where it was.
    pub place: String,
    /// Seconds by which its clock may be off at the fault; nothing where what it read says nothing. The drill's own has none.
    pub clock_error: Option<f64>,
    /// Seconds that it stood still.
    pub stalled: f64,
    /// When its last probe was due, in seconds since the drill began.
    pub until: Option<f64>,
    /// Whether it observed until it was told to end.
    pub whole: bool,
    /// What its own figures say of the recovery time: the worst of its paths.
    pub verdict: Option<String>,
    /// The recovery time on that path.
    pub recovery_time: Option<Bounds>,
    /// In words.
    pub sentence: String,
}

/// What a stream of probes showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamRow {
    /// Its name.
    pub name: String,
    /// Whose path it is.
    pub path: String,
    /// Who asked.
    pub observer: String,
    /// What one probe is.
    pub what: String,
    /// Whether the recovery time is judged by it.
    pub judged: bool,
    /// Seconds between two probes.
    pub every: f64,
    /// Seconds until a probe has failed.
    pub deadline: f64,
    /// Probes due.
    pub due: u64,
    /// Acknowledged.
    pub good: u64,
    /// Refused or broken.
    pub refused: u64,
    /// Unanswered until the deadline.
    pub silent: u64,
    /// Due and not sent.
    pub not_sent: u64,
    /// Seconds that the observer stood still.
    pub stalled: f64,
    /// What failures said, and how often.
    pub said: BTreeMap<String, u64>,
    /// What it says about the recovery.
    pub recovery: String,
    /// From the proven fault to the restored service.
    pub recovery_time: Option<Bounds>,
    /// How wide that is, beside what the pace of its probes allows; nothing where no outage was measured, or one in part.
    #[serde(default)]
    pub error: Option<Width>,
    /// Every time it was down: since when (the drill's beginning) and for how long.
    pub down: Vec<(Bounds, Bounds)>,
}

/// How wide the bounds of a recovery time are, and how wide its probes allow them to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Width {
    /// From the lower bound to the upper one.
    pub measured: f64,
    /// Two periods, and what the proof of the fault leaves open: failures are seen, and answers come, at once.
    pub best: f64,
    /// Beside that a first failure that is silent, and a first answer that is late, until the deadline.
    pub worst: f64,
}

/// What became of every write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Integrity {
    /// Writes tried.
    pub attempted: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// Certainly not applied.
    pub failed: u64,
    /// Of unknown outcome.
    pub unknown: u64,
    /// Whole reads that were compared.
    pub reads: u64,
    /// Each class.
    pub classes: Vec<ClassRow>,
    /// `none`, `suffix`, `holes`, `beyond-fault` or `since-point`.
    pub shape: String,
    /// What the shape means.
    pub shape_means: String,
    /// The age of the oldest lost write at the fault.
    pub loss_seconds: Option<Bounds>,
    /// The age of the newest one, which says little.
    pub newest_lost_seconds: Option<f64>,
    /// Bytes of the log that the survivor did not have.
    pub loss_bytes: Option<u64>,
    /// Lost writes that were acknowledged after the fault.
    #[serde(default)]
    pub lost_after_fault: u64,
    /// Seconds between two acknowledged writes before the fault: no shorter loss can be seen.
    pub resolution_seconds: Option<f64>,
    /// The old history, the surviving one, and where they part.
    pub history: Option<String>,
    /// What comparing the ledger with the log gave.
    pub log_agrees: Option<bool>,
    /// In words.
    pub log: Option<String>,
    /// How sure "nothing was lost" is.
    pub confidence: Option<String>,
}

/// One class of writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassRow {
    /// Its word.
    pub class: String,
    /// What it means.
    pub means: String,
    /// How many.
    pub count: u64,
    /// Whether there may be any.
    pub fine: bool,
    /// Some of their ids.
    pub examples: Vec<u64>,
}

/// A restore within a drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreRow {
    /// The point.
    pub point: String,
    /// Its source.
    pub source: String,
    /// The instant it is of.
    pub snapshot_time: Timestamp,
    /// Rows restored; none of a namespace.
    pub rows: u64,
    /// Objects restored, of a namespace.
    #[serde(default)]
    pub objects: Option<u64>,
    /// Bytes restored.
    pub bytes: u64,
    /// How it was proven.
    pub proof: String,
    /// What it would take at today's size.
    pub forecast: Option<Forecast>,
}

/// What a restore would take at another size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Bytes of the newest point.
    pub bytes: u64,
    /// From the fault to usable.
    pub seconds: f64,
    /// What it rests on.
    pub rests_on: String,
}

/// Something that had to be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRow {
    /// Its name.
    pub name: String,
    /// `true`, `false`, or nothing where it could not be found out.
    pub ok: Option<bool>,
    /// What was seen.
    pub detail: String,
}

/// Planned and touched.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BlastRadius {
    /// How many matched.
    pub candidates: u64,
    /// Who was to be hit.
    pub planned: Vec<String>,
    /// Who was hit.
    pub touched: Vec<String>,
    /// The most that could be hit.
    pub cap: String,
    /// How long the injection waited within the slowest control loop.
    pub phase: Option<f64>,
    /// How the fault is undone.
    pub undo: String,
}

/// What a guard said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardRow {
    /// Its name.
    pub name: String,
    /// `allowed`, `refused` or `lifted`.
    pub said: String,
    /// What it looked at.
    pub detail: String,
}

/// Whether everything was put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleanup {
    /// Whether it is proven.
    pub proven: bool,
    /// In words.
    pub sentence: String,
    /// What was looked at.
    pub healed: Vec<HealingRow>,
}

/// What was looked at after one thing was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealingRow {
    /// What was undone.
    pub what: String,
    /// Whether nothing of it is left to undo.
    pub proven: bool,
    /// That nothing undoes it, or nothing was there to undo: what was seen is how it stands, and not that it is as before.
    #[serde(default)]
    pub nothing_to_undo: bool,
    /// What was seen.
    pub detail: String,
}

/// What a drill cost of what is promised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// The availability promised.
    pub availability: f64,
    /// Over so many days.
    pub days: u32,
    /// Seconds that may be down in them.
    pub budget_seconds: f64,
    /// Seconds that users were down in this drill.
    pub down_seconds: Bounds,
    /// The share of the budget that is, had every request failed meanwhile.
    pub burned: Bounds,
    /// How much of what users asked failed meanwhile; nothing where nobody was down.
    #[serde(default)]
    pub affected: Option<Affected>,
}

/// How much of what users asked failed while the worst of their paths was down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Affected {
    /// Requests that were sent meanwhile, on every path by which the recovery time is judged.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// The share of the requests that is.
    pub share: f64,
    /// The share of the budget: seconds down, times this share.
    pub burned: Bounds,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// What.
    pub what: String,
    /// When it began, since the drill did.
    pub at: f64,
    /// How long it took.
    pub seconds: f64,
    /// Whether it worked.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
}

/// Something that somebody has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// `now`, `high` or `normal`.
    pub severity: String,
    /// What.
    pub what: String,
    /// Whose it is.
    pub owner: Option<String>,
    /// The day, in UTC, on which it is to be done; nothing in reports from before there was one.
    #[serde(default)]
    pub due: Option<Date>,
    /// The scenario that shows whether it helped.
    pub retest: String,
}

/// Whether a run proves anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// `valid`, `invalid` or `aborted`.
    pub word: String,
    /// Whether the drill came to its end; otherwise it was killed, or is still under way, and nobody knows what it left.
    #[serde(default = "finished")]
    pub finished: bool,
    /// Why it is not valid.
    pub why: Vec<String>,
    /// What the figures do not say.
    pub limits: Vec<String>,
}

/// Reports are stored when a drill has ended, so those from before this was said are of drills that have.
const fn finished() -> bool {
    true
}

/// A file that a report was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawFile {
    /// Its name in the folder of the drill, on the machine that ran it.
    pub name: String,
    /// How many lines it has.
    pub lines: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Of them.
    pub sha256: Sha256,
}
