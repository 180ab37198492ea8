//! The notebook of a drill: its journal, line by line on this machine's disk, and at the end in the repository.
//!
//! A line is on the disk before what follows it is done. If the runner dies, what it wrote until then is a journal without
//! an end, and its report says so.

use crate::chaos::{self, ReadBack, Witness};
use crate::clock::SharedClock;
use crate::error::{Context, Error, Kind, Result};
use crate::measure::{Instant, Interval};
use crate::report::journal::{Event, FILE, Guard, Healing, Line, Mark, PlannedVictim, text};
use async_trait::async_trait;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Writes a drill's journal.
#[derive(Clone)]
pub(super) struct Notebook {
    clock: SharedClock,
    path: PathBuf,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    file: File,
    lines: Vec<Noted>,
    /// So many of them are in the repository already.
    stored: usize,
    /// What chaos says about one victim becomes a sentence only with its name.
    victims: Vec<String>,
    fault: String,
    /// A line could not be written: a journal with a gap is not gone on with, for its report would say nothing of that.
    broken: bool,
    /// What is not proven to be put back, whether or not that could be written down.
    left: Vec<String>,
}

/// A line that is on the disk.
enum Noted {
    /// It is at hand, too.
    Here(Line),
    /// Probes and writes of a day are many, and nobody asks for them before the report: they lie only there, at this place.
    There { from: u64, length: usize },
}

impl Notebook {
    /// A new notebook in this folder, which must have none.
    pub(super) fn create(folder: &Path, clock: SharedClock) -> Result<Self> {
        let path = folder.join(FILE);
        let doing = || format!("making the drill's journal {}", path.display());
        let file = File::options().append(true).create_new(true).open(&path).context(Kind::Failed, doing)?;
        Ok(Self::of(file, path, clock))
    }

    fn of(file: File, path: PathBuf, clock: SharedClock) -> Self {
        let (victims, fault) = (Vec::new(), String::new());
        let inner = Inner { file, lines: Vec::new(), stored: 0, victims, fault, broken: false, left: Vec::new() };
        Self { clock, path, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Writes a line, stamped now; it is on the disk when this returns.
    pub(super) fn note(&self, event: Event) -> Result<()> {
        self.note_at(self.clock.monotonic(), event)
    }

    /// Writes a line about an instant that is known.
    pub(super) fn note_at(&self, at: Duration, event: Event) -> Result<()> {
        let line = Line { at, event };
        let text = text(&line)?;
        if let Event::Healing(Healing { proven: false, what, detail, .. }) = &line.event {
            self.is_left(what, detail);
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let doing = || format!("writing the drill's journal {}", self.path.display());
        if inner.broken {
            return Err(Error::failed(format!("{}: a line before this one could not be written", doing())));
        }
        inner.broken = true;
        let from = inner.file.metadata().context(Kind::Failed, doing)?.len();
        inner.file.write_all(text.as_bytes()).context(Kind::Failed, doing)?;
        inner.file.sync_data().context(Kind::Failed, doing)?;
        inner.broken = false;
        inner.lines.push(match line.event {
            Event::Samples { .. } | Event::Writes(_) => Noted::There { from, length: text.len() },
            _ => Noted::Here(line),
        });
        Ok(())
    }

    /// Remembers what is not proven to be put back.
    fn is_left(&self, what: &str, why: &str) {
        let left = format!("{what} ({why})");
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.left.contains(&left) {
            inner.left.push(left);
        }
    }

    /// Dates an instant.
    pub(super) fn mark(&self, instant: Instant, at: Interval, evidence: impl Into<String>) -> Result<()> {
        self.note(Event::Mark(Mark { instant, at, evidence: evidence.into() }))
    }

    /// Whether somebody has dated an instant.
    pub(super) fn has_mark(&self, instant: Instant) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |line: &Line| matches!(&line.event, Event::Mark(mark) if mark.instant == instant);
        inner.lines.iter().any(|noted| matches!(noted, Noted::Here(line) if is_it(line)))
    }

    /// Tells what was done since `from`.
    pub(super) fn step(&self, what: &str, from: Duration, outcome: &Result<String>) -> Result<()> {
        let (ok, detail) = match outcome {
            Ok(detail) => (true, detail.clone()),
            Err(error) => (false, error.to_string()),
        };
        self.note(Event::Step { what: what.to_owned(), from, ok, detail })
    }

    /// Everything written so far, to be stored and reported.
    pub(super) fn lines(&self) -> Result<Vec<Line>> {
        let doing = || format!("reading the drill's journal {}", self.path.display());
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = File::open(&self.path).context(Kind::Failed, doing)?;
        let mut there = |from: u64, length: usize| {
            let mut text = vec![0; length];
            file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(&mut text)).context(Kind::Failed, doing)?;
            serde_json::from_slice(&text).map_err(|why| Error::failed(doing()).because(why))
        };
        let line = |noted: &Noted| match noted {
            Noted::Here(line) => Ok(line.clone()),
            Noted::There { from, length } => there(*from, *length),
        };
        inner.lines.iter().map(line).collect()
    }

    /// So many lines are in the repository now.
    pub(super) fn is_stored(&self, lines: usize) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).stored = lines;
    }

    /// How many lines are in the repository.
    pub(super) fn stored(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).stored
    }

    /// The first of all victims and the fault, in words.
    fn said(&self, number: u32) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let victim = usize::try_from(number).ok().and_then(|at| inner.victims.get(at)).cloned().unwrap_or_default();
        format!("{} of {victim}", inner.fault)
    }

    fn heard(&self, event: chaos::Event) -> Result<()> {
        match event {
            chaos::Event::Planned { fault, victims, candidates, phase, guards, cap, mut undo, .. } => {
                {
                    let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                    inner.victims = victims.iter().map(|victim| victim.shown.clone()).collect();
                    inner.fault.clone_from(&fault);
                }
                for guard in guards {
                    let (name, detail) = (guard.guard.word().to_owned(), guard.seen);
                    self.note(Event::Guard(Guard { name, allowed: !guard.lifted, lifted: guard.lifted, detail }))?;
                }
                let victim =
                    |victim: &chaos::Victim| PlannedVictim { name: victim.shown.clone(), key: victim.key.clone() };
                // Many victims are often undone in the same way.
                undo.dedup();
                self.note(Event::Planned {
                    candidates: candidates as u64,
                    victims: victims.iter().map(victim).collect(),
                    cap,
                    phase,
                    undo: undo.join("; "),
                })
            }
            chaos::Event::Injecting { number: 0, at } => {
                self.mark(Instant::Requested, Interval::exact(at), format!("{} asked for", self.said(0)))
            }
            chaos::Event::Proof { number, proof: chaos::Proof::Unproven { why } } => {
                self.note(Event::Unproven { why: format!("{}: {why}", self.said(number)) })
            }
            chaos::Event::Proof { number, proof: chaos::Proof::Proven(_) } => {
                let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                let victim = usize::try_from(number).ok().and_then(|at| inner.victims.get(at)).cloned();
                drop(inner);
                self.note(Event::Touched { victims: victim.into_iter().collect() })
            }
            chaos::Event::Aborting { why } => self.note(Event::Aborted { why }),
            chaos::Event::ReadBack { number, read_back, .. } => self.note(Event::Healing(Healing {
                nothing: matches!(read_back, ReadBack::NothingToUndo { .. }),
                what: self.said(number),
                proven: read_back.is_good(),
                detail: read_back.text().to_owned(),
            })),
            chaos::Event::Stuck { number, why } => {
                self.is_left(&self.said(number), &why);
                Ok(())
            }
            // What is left is told by the lines before and after it.
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Witness for Notebook {
    async fn line(&self, event: chaos::Event) -> Result<()> {
        self.heard(event)
    }
}

impl std::fmt::Debug for Notebook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notebook({})", self.path.display())
    }
}

/// An error with the place of the journal, for whoever has to find out what happened. Where there is no report nobody reads in
/// it what is not proven to be put back: then that is the error, whatever else failed.
pub(super) fn with_journal(error: Error, notebook: &Notebook) -> Error {
    let left = notebook.inner.lock().unwrap_or_else(PoisonError::into_inner).left.join("; ");
    if !left.is_empty() && error.kind() != Kind::Stuck {
        let broken = format!("THE TARGET MAY STILL BE BROKEN: not proven to be put back: {left}");
        let hint = format!(
            "davit chaos status shows what is open; davit chaos janitor tries again; what happened is in {}",
            notebook.path.display()
        );
        return error.during(broken).as_kind(Kind::Stuck).hint(hint);
    }
    match error.hint_text() {
        Some(_) => error,
        None => error.hint(format!("what happened is in {}", notebook.path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SimClock, SystemClock};
    use crate::observation::{Answer, Attempt, Outcome, Sample};
    use crate::report::journal::{PackedSamples, PackedWrites};

    /// A notebook on a disk that is full.
    fn on_a_full_disk() -> Notebook {
        let path = PathBuf::from("/dev/full");
        let file = File::options().append(true).open(&path).unwrap();
        let notebook = Notebook::of(file, path, Arc::new(SimClock::at(jiff::Timestamp::UNIX_EPOCH)));
        let mut inner = notebook.inner.lock().unwrap();
        (inner.victims, inner.fault) = (vec!["backend 7".to_owned()], "lock-storm".to_owned());
        drop(inner);
        notebook
    }

    #[test]
    fn a_journal_with_a_gap_is_not_gone_on_with() {
        let notebook = on_a_full_disk();
        notebook.note(Event::Ended).unwrap_err();
        // There is room again.
        notebook.inner.lock().unwrap().file = tempfile::tempfile().unwrap();
        assert!(notebook.note(Event::Ended).unwrap_err().to_string().contains("a line before this one"));
        assert!(notebook.lines().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_not_put_back_needs_a_person_also_where_it_cannot_be_written_down() {
        let healing = |proven| {
            let (what, detail) = ("put back".to_owned(), "exit status: 1".to_owned());
            Event::Healing(Healing { nothing: false, what, proven, detail })
        };
        let ended = |notebook: &Notebook| with_journal(notebook.note(Event::Ended).unwrap_err(), notebook);

        let notebook = on_a_full_disk();
        assert_eq!(notebook.note(healing(true)).unwrap_err().kind(), Kind::Failed);
        assert_eq!(ended(&notebook).kind(), Kind::Failed, "everything is put back");
        assert_eq!(notebook.note(healing(false)).unwrap_err().kind(), Kind::Failed);
        let error = ended(&notebook);
        assert_eq!(error.kind(), Kind::Stuck);
        let text = error.to_string();
        assert!(text.contains("put back (exit status: 1)") && text.contains("writing the drill's journal"), "{text}");
        assert!(error.hint_text().unwrap().contains("janitor"));

        // The faults themselves are told by whoever heals them, and the lines of that may be lost.
        let notebook = on_a_full_disk();
        let not = ReadBack::Not { why: "it is still locked".to_owned() };
        drop(notebook.line(chaos::Event::ReadBack { number: 0, read_back: not, at: Duration::ZERO }).await);
        assert!(ended(&notebook).to_string().contains("lock-storm of backend 7 (it is still locked)"));
        let notebook = on_a_full_disk();
        let why = "its intent could not be closed".to_owned();
        notebook.line(chaos::Event::Stuck { number: 0, why }).await.unwrap();
        assert_eq!(ended(&notebook).kind(), Kind::Stuck);
    }

    #[test]
    fn what_is_many_lies_only_on_the_disk_and_comes_back_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let notebook = Notebook::create(folder.path(), SystemClock::shared()).unwrap();
        let at = Duration::from_millis;
        let sample = Sample { due: at(1), sent: at(2), ended: at(3), answer: Answer::Refused("no: \u{e9}".to_owned()) };
        let (lsn, xid, outcome) = (Some((7, 9)), Some(700), Outcome::Ok);
        let write =
            Attempt { id: 3, payload: u64::MAX, invoked: at(4), ended: at(5), outcome, timeline: Some(1), lsn, xid };
        let events = [
            Event::Surprise { what: "a line".to_owned() },
            Event::Samples { stream: "sql".to_owned(), samples: PackedSamples::of(&[sample]) },
            Event::Degraded { until: at(6) },
            Event::Writes(PackedWrites::of([write])),
            Event::Ended,
        ];
        let lines = (10..).zip(events).map(|(number, event)| Line { at: at(number), event }).collect::<Vec<_>>();
        for line in &lines {
            notebook.note_at(line.at, line.event.clone()).unwrap();
        }
        let inner = notebook.inner.lock().unwrap();
        let here: Vec<bool> = inner.lines.iter().map(|noted| matches!(noted, Noted::Here(_))).collect();
        drop(inner);
        assert_eq!(here, [true, false, true, false, true]);
        assert_eq!(notebook.lines().unwrap(), lines);
    }
}
