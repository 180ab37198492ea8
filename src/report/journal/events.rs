//! The lines of a drill's journal.

use super::pack::{PackedRead, PackedSamples};
use crate::id::{RunId, Sha256};
use crate::measure::remote::Look;
use crate::measure::{Instant, Interval, Stall, SteadyRule};
use crate::observation::PackedWrites;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// One line: when on the observer's clock, and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Nanoseconds on the observer's monotonic clock.
    #[serde(with = "nanos")]
    pub at: Duration,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The drill began. Always the first line.
    Began(Box<Began>),
    /// A part of the drill began.
    Stage(Stage),
    /// A stream of probes is about to be asked.
    Stream(Stream),
    /// An observer elsewhere has begun. Its clock is its own, and so are the times of its samples.
    Observer(Observer),
    /// What an observer elsewhere leaves when it has ended, beside its samples.
    Watched(Box<Watched>),
    /// What a guard said.
    Guard(Guard),
    /// Who will be hit, and how.
    Planned {
        /// How many matched.
        candidates: u64,
        /// Who was drawn.
        victims: Vec<PlannedVictim>,
        /// The most that could be hit.
        cap: String,
        /// How long the injection waited within the slowest control loop.
        #[serde(with = "nanos")]
        phase: Duration,
        /// How the fault is undone.
        undo: String,
    },
    /// What was really hit.
    Touched {
        /// In the words of the plan.
        victims: Vec<String>,
    },
    /// An instant was dated, with its evidence.
    Mark(Mark),
    /// The fault could not be proven to have taken effect.
    Unproven {
        /// What was looked for and not seen.
        why: String,
    },
    /// A step of the recovery, the way back or the runbook.
    Step {
        /// What was done.
        what: String,
        /// When it began.
        #[serde(with = "nanos")]
        from: Duration,
        /// Whether it worked.
        ok: bool,
        /// What was seen.
        detail: String,
    },
    /// The window in which the steady state was looked at.
    Steady {
        /// Before the fault, or after the recovery.
        after: bool,
        /// From when.
        #[serde(with = "nanos")]
        from: Duration,
        /// Until when.
        #[serde(with = "nanos")]
        until: Duration,
    },
    /// Probes of one stream.
    Samples {
        /// The stream's name.
        stream: String,
        /// What they saw.
        samples: PackedSamples,
    },
    /// When the observer stood still.
    Stalls(Vec<Stall>),
    /// How far the standby was behind its primary.
    Lag(Vec<LagSeen>),
    /// Writes and what became of them.
    Writes(PackedWrites),
    /// A whole read of what was written, after the recovery.
    Read(PackedRead),
    /// What the standby had of what was written, at the end.
    Replica(ReplicaSeen),
    /// Which history survived.
    Survival(Survival),
    /// A restore of a recovery point, with its phases.
    Restored(Box<Restored>),
    /// What became of an alert that was expected.
    Alert(AlertSeen),
    /// Something that had to be true at the end.
    Check(CheckSeen),
    /// The recovery that was drilled did not work.
    RecoveryFailed {
        /// Why.
        why: String,
    },
    /// The drill was ended early.
    Aborted {
        /// Why.
        why: String,
    },
    /// The service was less redundant than before, until somebody last looked.
    Degraded {
        /// When that was.
        #[serde(with = "nanos")]
        until: Duration,
    },
    /// A person said that they noticed the fault.
    Acknowledged(Acknowledged),
    /// Nobody had said so.
    Unacknowledged {
        /// Until when.
        #[serde(with = "nanos")]
        until: Duration,
    },
    /// What was looked at after one thing was undone.
    Healing(Healing),
    /// What was seen and not expected.
    Surprise {
        /// A sentence.
        what: String,
    },
    /// The files beside the journal, as they are when nothing more is written into them.
    Files(Vec<FileKept>),
    /// Nothing more follows.
    Ended,
}

/// A file beside the journal: the ledger, or what an observer saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileKept {
    /// Its name in the folder of the drill.
    pub name: String,
    /// How many lines it has.
    pub lines: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Of them.
    pub sha256: Sha256,
}

/// The parts of a drill, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Is everything there, and may it be done.
    Preflight,
    /// Normal, before.
    SteadyBefore,
    /// The fault.
    Fault,
    /// The way back.
    Recovery,
    /// Long enough to believe it.
    Hold,
    /// What was written is compared with what is there.
    Verification,
    /// What was broken is put back.
    Healing,
    /// Normal, after.
    SteadyAfter,
}

impl Stage {
    /// The word of a report.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::SteadyBefore => "steady state before",
            Self::Fault => "fault",
            Self::Recovery => "recovery",
            Self::Hold => "hold",
            Self::Verification => "verification",
            Self::Healing => "healing",
            Self::SteadyAfter => "steady state after",
        }
    }
}

/// What was known when the drill began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Began {
    /// See [`super::FORMAT`].
    pub format: u32,
    /// The drill.
    pub run: RunId,
    /// Which one of how many, where it is repeated.
    pub repetition: Option<(u32, u32)>,
    /// `davit` and its version.
    pub tool: String,
    /// Where victims and phase come from.
    pub seed: u64,
    /// Who asked for it.
    pub operator: Option<String>,
    /// The name of the target, where the operator typed it again, as a production target asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<String>,
    /// What the wall clock read when the monotonic one read `at` of this line.
    pub wall: Timestamp,
    /// The scenario.
    pub scenario: ScenarioFacts,
    /// What is wanted.
    pub aims: Aims,
    /// What normal is.
    pub steady: SteadyRule,
    /// How long the service must behave before it counts as restored.
    pub hold: Duration,
    /// At least so many probes within it.
    pub hold_probes: u64,
    /// The availability that is promised, and over how many days.
    pub availability: (f64, u32),
    /// Versions and settings of what is broken.
    pub versions: BTreeMap<String, String>,
}

/// The scenario of a drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioFacts {
    /// Its file.
    pub file: String,
    /// Its hash: drills of one hash are one series.
    pub sha256: Sha256,
    /// What happens.
    pub title: String,
    /// Why.
    pub why: String,
    /// What is expected.
    pub hypothesis: String,
    /// Who looks after what it shows.
    pub owner: Option<String>,
    /// What is broken.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The target in a few words, without a secret.
    pub target: String,
    /// The fault.
    pub fault: String,
    /// How the service is to come back.
    pub recovery: String,
    /// Whether the recovery time ends when the data are validated.
    pub ends_validated: bool,
    /// The step that must have ended well within the recovery time, too, where one must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_with: Option<String>,
    /// Tables that the fault strikes and that no probe asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unasked: Option<String>,
    /// How many writes a second were to be made, those of probes among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<f64>,
    /// How long phases can take by the settings of what is broken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub theory: Vec<Theory>,
}

/// Between which durations a phase lies if everything keeps its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Theory {
    /// The phase.
    pub phase: String,
    /// At best.
    pub best: Duration,
    /// At worst.
    pub worst: Duration,
    /// The settings that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What is wanted; nothing where it does not apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aims {
    /// Until the service is restored.
    pub rto: Option<Duration>,
    /// Of acknowledged writes lost.
    pub rpo: Option<Duration>,
    /// Until the system notices.
    pub detection: Option<Duration>,
    /// Until it is as redundant as before.
    pub redundancy: Option<Duration>,
    /// Until a person says that they noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledgement: Option<Duration>,
}

/// One stream of probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Whose it is: two observers of one path have their own streams of one path.
    pub path: String,
    /// Who asks.
    pub observer: String,
    /// What one probe is.
    pub what: String,
    /// What it counts for.
    pub role: StreamRole,
    /// Between two probes.
    #[serde(with = "nanos")]
    pub every: Duration,
    /// When a probe has failed.
    #[serde(with = "nanos")]
    pub deadline: Duration,
}

/// An observer elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observer {
    /// Its name, which its streams carry.
    pub name: String,
    /// Where it is, in a few words.
    pub place: String,
}

/// What an observer elsewhere leaves when it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Its name.
    pub observer: String,
    /// What its clock read when it was asked, between two readings of ours.
    pub looks: Vec<Look>,
    /// When it stood still, on its own clock.
    pub stalls: Vec<Stall>,
    /// That it ended before it was told to: what came later is not known.
    pub cut: Option<Cut>,
}

/// An end that came too early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// When it was last heard of, on our clock.
    #[serde(with = "nanos")]
    pub at: Duration,
    /// What is known of why.
    pub why: String,
}

/// How far a standby was behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LagSeen {
    /// When it was asked.
    #[serde(with = "nanos")]
    pub at: Duration,
    /// What it had not replayed of its primary's log.
    pub bytes: Option<u64>,
    /// By how many milliseconds what it showed was old.
    pub millis: Option<u64>,
}

/// What a stream counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamRole {
    /// The path of users: the recovery time is judged by it.
    Judged,
    /// Shown beside, such as reads, which may survive.
    Shown,
}

/// What a guard said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Its name.
    pub name: String,
    /// Whether it said yes.
    pub allowed: bool,
    /// Whether it was lifted for this run.
    pub lifted: bool,
    /// What it looked at.
    pub detail: String,
}

/// One of those that will be hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedVictim {
    /// For people.
    pub name: String,
    /// What tells it from all others.
    pub key: String,
}

/// A dated instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which.
    pub instant: Instant,
    /// When.
    pub at: Interval,
    /// What shows it.
    pub evidence: String,
}

/// That a person noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Between which of the drill's looks they said so, on its own clock.
    pub at: Interval,
    /// Who: host and process.
    pub by: String,
    /// What they had to say.
    pub note: Option<String>,
    /// When they said so by the clock of their machine: a label.
    pub when: Timestamp,
}

/// What the standby had of what was written, at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSeen {
    /// When it was first asked.
    #[serde(with = "nanos")]
    pub from: Duration,
    /// When that was known.
    #[serde(with = "nanos")]
    pub until: Duration,
    /// What it had.
    pub state: ReplicaState,
}

/// What the standby had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicaState {
    /// It had replayed all, and was read.
    Read {
        /// Its rows.
        rows: u64,
        /// Those of the writer that it did not have.
        missing: Differing,
        /// Those that only it had.
        extra: Differing,
    },
    /// It had not replayed all when it was no longer waited for.
    Behind {
        /// How much was left.
        bytes: u64,
        /// Whether somebody sent it more.
        streams: bool,
    },
    /// It was no standby any more.
    Promoted,
    /// Nobody knows.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Rows that differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    /// How many ids.
    pub count: u64,
    /// The first of them.
    pub ids: Vec<u64>,
}

/// Which history survived the fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survival {
    /// The timeline before.
    pub before: Option<u32>,
    /// The timeline that survived.
    pub after: Option<u32>,
    /// Where it left the old one.
    pub fork: Option<u64>,
    /// The transactions that the old log shows committed after the fork, where it could be read.
    pub old_commits: Option<Vec<u32>>,
}

/// A restore within a drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    /// The point.
    pub point: String,
    /// Its source.
    pub source: String,
    /// The instant the point is of.
    pub snapshot_time: Timestamp,
    /// How long its parts took.
    pub phases: Vec<RestorePhase>,
    /// Rows; none where a namespace was restored.
    pub rows: u64,
    /// Objects, where a namespace was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes that the newest point of the source has of the same; 0 where that is not known.
    pub bytes_today: u64,
    /// How it was proven.
    pub proof: String,
    /// Whether what the ledger wrote is among what was restored: then the ledger says what was lost, to the write.
    pub ledger_covered: bool,
    /// The tables that were restored, where it was not all of them: everything else stayed as it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
}

/// One part of a restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestorePhase {
    /// Its word.
    pub name: String,
    /// From when.
    #[serde(with = "nanos")]
    pub from: Duration,
    /// Until when.
    #[serde(with = "nanos")]
    pub until: Duration,
    /// Bytes it worked on, where that says something.
    pub bytes: u64,
}

/// What became of an alert that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertSeen {
    /// Its name.
    pub name: String,
    /// So long after the fault at most it was to fire.
    #[serde(with = "nanos")]
    pub within: Duration,
    /// Who was asked, in a few words.
    pub how: String,
    /// When the last question began whose answer was that it does not fire; nothing where there was none.
    pub silent: Option<Duration>,
    /// Between which two looks it began to fire, before the fault or after it.
    pub fired: Option<Interval>,
    /// What shows that it fired.
    pub evidence: String,
    /// Why a question had no answer: the last one of these.
    pub failed: Option<String>,
}

/// Something that had to be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSeen {
    /// Its name.
    pub name: String,
    /// `true`, `false`, or nothing where it could not be found out.
    pub ok: Option<bool>,
    /// What was seen.
    pub detail: String,
}

/// What was looked at after one thing was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healing {
    /// That nothing undoes it, or that nothing was there to undo: what was seen is how it stands, and not that it is as before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nothing: bool,
    /// What was undone.
    pub what: String,
    /// Whether it is proven to be as before.
    pub proven: bool,
    /// What was seen.
    pub detail: String,
}

/// Durations as whole nanoseconds, which 64 bits hold for 584 years.
mod nanos {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}
