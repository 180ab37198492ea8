//! The lines of a journal, sorted by what they are about.

use super::person::Person;
use crate::error::{Error, Result};
use crate::measure::remote::{Offset, Shift};
use crate::measure::{Attempt, Instant, Interval, Sample, Stall, Writes};
use crate::report::journal::{
    AlertSeen, Began, CheckSeen, Cut, Event, FileKept, Guard, Healing, LagSeen, Line, Observer, PackedRead,
    PackedSamples, PackedWrites, PlannedVictim, ReplicaSeen, Restored, Stage, Stream, Survival, Watched,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a journal says.
pub(super) struct Facts<'a> {
    pub(super) began: &'a Began,
    /// The offset of the first line.
    pub(super) zero: Duration,
    /// The offset of the last one.
    pub(super) last: Duration,
    pub(super) streams: Vec<(&'a Stream, Samples<'a>)>,
    /// Of the machine that ran the drill.
    pub(super) stalls: Vec<Stall>,
    pub(super) elsewhere: Vec<Elsewhere<'a>>,
    pub(super) guards: Vec<&'a Guard>,
    pub(super) planned: Option<Planned<'a>>,
    pub(super) touched: Vec<String>,
    pub(super) marks: BTreeMap<Instant, (Interval, &'a str)>,
    pub(super) unproven: Vec<&'a str>,
    pub(super) steps: Vec<Step<'a>>,
    pub(super) before: Option<(Duration, Duration)>,
    pub(super) after: Option<(Duration, Duration)>,
    pub(super) lag: Vec<LagSeen>,
    pub(super) attempts: Written<'a>,
    pub(super) ledger: bool,
    pub(super) reads: Vec<&'a PackedRead>,
    pub(super) replica: Option<&'a ReplicaSeen>,
    pub(super) survival: Option<&'a Survival>,
    pub(super) restored: Option<&'a Restored>,
    pub(super) alerts: Vec<&'a AlertSeen>,
    pub(super) checks: Vec<&'a CheckSeen>,
    /// Until when the service was seen to be less redundant than before.
    pub(super) degraded: Option<Duration>,
    /// Whether a person noticed, where that was looked for.
    pub(super) person: Option<Person<'a>>,
    /// Why the recovery that was drilled did not work, if it did not.
    pub(super) recovery_failed: Option<&'a str>,
    pub(super) aborted: Option<&'a str>,
    pub(super) healings: Vec<&'a Healing>,
    /// What became of the fault itself when it was undone, and between which instants that was.
    pub(super) undone: Vec<(Interval, &'a Healing)>,
    /// Since when it is being undone; nothing before that, and nothing once it is over.
    undoing: Option<Duration>,
    pub(super) surprises: Vec<String>,
    pub(super) files: &'a [FileKept],
    pub(super) ended: bool,
}

/// An observer elsewhere.
pub(super) struct Elsewhere<'a> {
    pub(super) observer: &'a Observer,
    /// How far its clock may be from what it is taken for at the fault; nothing where what it read contradicts itself.
    pub(super) error: Option<Duration>,
    /// When it stood still, on our clock.
    pub(super) stalls: Vec<Stall>,
    /// That it ended early.
    pub(super) cut: Option<&'a Cut>,
    watched: Option<&'a Watched>,
}

/// The plan of a fault.
pub(super) struct Planned<'a> {
    pub(super) candidates: u64,
    pub(super) victims: &'a [PlannedVictim],
    pub(super) cap: &'a str,
    pub(super) phase: Duration,
    pub(super) undo: &'a str,
}

/// Something that was done.
pub(super) struct Step<'a> {
    pub(super) what: &'a str,
    pub(super) from: Duration,
    pub(super) until: Duration,
    pub(super) ok: bool,
    pub(super) detail: &'a str,
}

impl<'a> Facts<'a> {
    /// Sorts a journal.
    pub(super) fn of(journal: &'a [Line]) -> Result<Self> {
        let first = journal.first().and_then(|line| match &line.event {
            Event::Began(began) => Some((line.at, began.as_ref())),
            _ => None,
        });
        let Some((zero, began)) = first else {
            return Err(Error::failed("making a drill's report: its journal does not begin with a beginning"));
        };
        if began.format > crate::report::journal::FORMAT {
            return Err(Error::input(format!("reading a drill's journal: its format is {}", began.format))
                .hint("a newer Davit wrote it: read it with that one"));
        }
        let last = journal.last().map_or(zero, |line| line.at);
        let mut facts = Self {
            began,
            zero,
            last,
            streams: Vec::new(),
            stalls: Vec::new(),
            elsewhere: Vec::new(),
            guards: Vec::new(),
            planned: None,
            touched: Vec::new(),
            marks: BTreeMap::new(),
            unproven: Vec::new(),
            steps: Vec::new(),
            before: None,
            after: None,
            lag: Vec::new(),
            attempts: Written::default(),
            ledger: false,
            reads: Vec::new(),
            replica: None,
            survival: None,
            restored: None,
            alerts: Vec::new(),
            checks: Vec::new(),
            degraded: None,
            person: None,
            recovery_failed: None,
            aborted: None,
            healings: Vec::new(),
            undone: Vec::new(),
            undoing: None,
            surprises: Vec::new(),
            files: &[],
            ended: false,
        };
        for line in journal {
            facts.take(line)?;
        }
        facts.date_elsewhere();
        Ok(facts)
    }

    fn take(&mut self, line: &'a Line) -> Result<()> {
        match &line.event {
            // What is put back after the comparison is the drill's own.
            Event::Stage(Stage::Verification) => self.undoing = None,
            Event::Stage(Stage::Healing) => self.undoing = Some(line.at),
            Event::Began(_) | Event::Stage(_) => {}
            Event::Observer(observer) => {
                self.elsewhere.push(Elsewhere { observer, error: None, stalls: Vec::new(), cut: None, watched: None });
            }
            Event::Watched(watched) => {
                let whose = self.elsewhere.iter_mut().find(|one| one.observer.name == watched.observer);
                let whose = whose.ok_or_else(|| {
                    let name = &watched.observer;
                    Error::failed(format!("reading a drill's journal: it never said who the observer {name:?} is"))
                })?;
                (whose.cut, whose.watched) = (watched.cut.as_ref(), Some(watched.as_ref()));
            }
            Event::Stream(stream) => self.streams.push((stream, Samples::default())),
            Event::Guard(guard) => self.guards.push(guard),
            Event::Planned { candidates, victims, cap, phase, undo } => {
                self.planned = Some(Planned { candidates: *candidates, victims, cap, phase: *phase, undo });
            }
            Event::Touched { victims } => self.touched.extend(victims.iter().cloned()),
            Event::Mark(mark) => drop(self.marks.insert(mark.instant, (mark.at, &mark.evidence))),
            Event::Unproven { why } => self.unproven.push(why),
            Event::Step { what, from, ok, detail } => {
                self.steps.push(Step { what, from: *from, until: line.at, ok: *ok, detail });
            }
            Event::Steady { after: false, from, until } => self.before = Some((*from, *until)),
            Event::Steady { after: true, from, until } => self.after = Some((*from, *until)),
            Event::Samples { stream, samples } => {
                let known = self.streams.iter_mut().find(|(known, _)| known.name == *stream);
                let (_, kept) = known.ok_or_else(|| {
                    Error::failed(format!("reading a drill's journal: it never said what the stream {stream:?} is"))
                })?;
                kept.packed.push(samples);
            }
            Event::Stalls(stalls) => self.stalls.extend(stalls),
            Event::Lag(seen) => self.lag.extend(seen),
            Event::Writes(writes) => {
                self.ledger = true;
                self.attempts.packed.push(writes);
            }
            Event::Read(read) => self.reads.push(read),
            Event::Replica(seen) => self.replica = Some(seen),
            Event::Survival(survival) => self.survival = Some(survival),
            Event::Restored(restored) => self.restored = Some(restored),
            Event::Alert(alert) => self.alerts.push(alert),
            Event::Check(check) => self.checks.push(check),
            Event::RecoveryFailed { why } => self.recovery_failed = Some(why),
            Event::Aborted { why } => self.aborted = Some(why),
            Event::Degraded { until } => self.degraded = Some(*until),
            // The first one counts.
            Event::Acknowledged(said) => {
                if !matches!(self.person, Some(Person::Said(_))) {
                    self.person = Some(Person::Said(said));
                }
            }
            Event::Unacknowledged { until } => drop(self.person.get_or_insert(Person::Nobody { until: *until })),
            Event::Healing(healing) => {
                self.undone.extend(self.undoing.map(|since| (Interval::new(since, line.at), healing)));
                self.healings.push(healing);
            }
            Event::Surprise { what } => self.surprises.push(what.clone()),
            Event::Files(files) => self.files = files,
            Event::Ended => self.ended = true,
        }
        Ok(())
    }

    /// Puts what was seen elsewhere on our clock. One shift for all of an observer's readings, that of the fault: what it
    /// dates counts from there, and its own clock has measured the rest.
    fn date_elsewhere(&mut self) {
        let when = self.fault().map_or(self.zero, |fault| fault.low + fault.width() / 2);
        for one in &mut self.elsewhere {
            let looks = one.watched.map_or(&[][..], |watched| &watched.looks);
            let offset = Offset::at(looks, when);
            one.error = offset.map(|offset| offset.error());
            // Where it dates nothing it is still drawn, at about where it was.
            let shift = offset.or_else(|| Offset::at(looks.get(..1)?, when)).map_or(Shift::default(), |at| at.shift());
            let stalls = one.watched.map_or(&[][..], |watched| &watched.stalls);
            one.stalls = stalls.iter().map(|stall| shift.stall(*stall)).collect();
            for (_, samples) in self.streams.iter_mut().filter(|(stream, _)| stream.observer == one.observer.name) {
                samples.shift = shift;
            }
        }
    }

    /// The observer of a stream, if it is elsewhere.
    pub(super) fn elsewhere(&self, stream: &Stream) -> Option<&Elsewhere<'a>> {
        self.elsewhere.iter().find(|one| one.observer.name == stream.observer)
    }

    /// When the observer of a stream stood still.
    pub(super) fn stalls(&self, stream: &Stream) -> &[Stall] {
        self.elsewhere(stream).map_or(&self.stalls, |one| &one.stalls)
    }

    /// When the fault was proven to take effect.
    pub(super) fn fault(&self) -> Option<Interval> {
        self.marks.get(&Instant::Effective).map(|(at, _)| *at)
    }
}

impl Elsewhere<'_> {
    /// Why not all is known that it could have seen; nothing where it is.
    pub(super) fn open(&self) -> Option<String> {
        match (self.cut, self.error) {
            (_, None) => Some("its clock was stepped, or never read: nothing that it saw can be dated".to_owned()),
            (Some(_), _) => Some("it ended early, and what came later is not known".to_owned()),
            (None, Some(_)) => None,
        }
    }
}

/// The samples of a stream, still packed: a day of them is unpacked one at a time, as often as somebody looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples<'a> {
    packed: Vec<&'a PackedSamples>,
    /// From the clock of its observer to ours.
    shift: Shift,
}

impl Samples<'_> {
    /// One after another, in the order in which they ended.
    pub(super) fn iter(&self) -> impl Iterator<Item = Sample> {
        self.packed.iter().flat_map(|packed| packed.samples()).map(|sample| self.shift.sample(sample))
    }

    /// How many they are.
    pub(super) fn count(&self) -> u64 {
        self.packed.iter().map(|packed| packed.count()).sum()
    }
}

/// The writes of a ledger, still packed.
#[derive(Debug, Clone, Default)]
pub(super) struct Written<'a> {
    packed: Vec<&'a PackedWrites>,
}

impl Written<'_> {
    /// How many they are.
    pub(super) fn count(&self) -> u64 {
        self.packed.iter().map(|packed| packed.count()).sum()
    }
}

impl Writes for Written<'_> {
    fn each(&self) -> Box<dyn Iterator<Item = Attempt> + '_> {
        Box::new(self.packed.iter().flat_map(|packed| packed.writes()))
    }
}
