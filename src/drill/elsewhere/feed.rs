//! What an observer elsewhere says: kept as it is in a file, and put on our clock for those who wait for it.

use crate::clock::SharedClock;
use crate::drill::live::Live;
use crate::error::{Error, Result};
use crate::measure::remote::{Look, Offset, Shift};
use crate::observation::{Entry, FORMAT, Sample, Stall};
use crate::probe::FileSink;
use crate::probe::sink::Sink;
use crate::report::journal::Cut;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// As long as the drill runs, the last so many looks tell what the clock reads; the report has all of them.
const RECENT: usize = 60;

/// An observer says something several times a second. One that is silent for so long is not waited for any more; what it
/// still says is taken, and whether it was whole is decided when it has ended.
const SILENCE: Duration = Duration::from_secs(15);

/// What came from one observer.
pub(super) struct Feed {
    observer: String,
    /// What it was told to ask.
    streams: Vec<String>,
    clock: SharedClock,
    live: Arc<Live>,
    log: Arc<FileSink>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Questions that are not answered yet: when they were asked.
    asked: BTreeMap<u64, Duration>,
    questions: u64,
    looks: Vec<Look>,
    /// From its clock to ours, as far as it is known by now.
    shift: Option<Shift>,
    began: bool,
    /// It said that it ended as it was told to.
    ended: bool,
    /// It was told to end.
    closed: bool,
    /// When something was last heard.
    heard: Duration,
    cut: Option<Cut>,
}

impl Feed {
    /// Nothing heard yet.
    pub(super) fn new(
        observer: &str,
        streams: Vec<String>,
        clock: SharedClock,
        live: Arc<Live>,
        log: Arc<FileSink>,
    ) -> Self {
        Self { observer: observer.to_owned(), streams, clock, live, log, state: Mutex::default() }
    }

    /// A question for its clock, as its line. It counts as asked now, before it is sent.
    pub(super) fn question(&self) -> String {
        let mut state = self.state();
        state.questions += 1;
        let (number, now) = (state.questions, self.clock.monotonic());
        state.asked.insert(number, now);
        if state.began && now.saturating_sub(state.heard) > SILENCE {
            self.live.lost(&self.observer);
        }
        format!("{number}\n")
    }

    /// Takes one line.
    ///
    /// # Errors
    /// Where it is none of an observer: then nothing that follows is believed.
    pub(super) fn take(&self, line: &[u8]) -> Result<()> {
        let at = self.clock.monotonic();
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let entry: Entry = serde_json::from_slice(line).map_err(|_| {
            let line: String = String::from_utf8_lossy(line).chars().take(80).collect();
            Error::failed(format!("it said something that no observer says: {line}"))
        })?;
        let shift = {
            let mut state = self.state();
            state.heard = at;
            match &entry {
                Entry::Began { format, .. } if *format > FORMAT => {
                    return Err(Error::failed(format!("it writes format {format}, and this is an older Davit")));
                }
                // A journal tells of each stream what it is; of others it could not.
                Entry::Began { streams, .. } if !streams.iter().all(|stream| self.streams.contains(&stream.name)) => {
                    return Err(Error::failed("it watches something else than it was told"));
                }
                Entry::Began { .. } => state.began = true,
                Entry::Ended { .. } => state.ended = true,
                Entry::Look { question, at: theirs } => self.answered(&mut state, question, *theirs, at),
                _ => {}
            }
            state.shift
        };
        if let Some(entry) = shift.and_then(|shift| on_our_clock(&entry, shift)) {
            self.live.heard(&self.observer, &entry);
        }
        self.log.put(&entry);
        Ok(())
    }

    /// A question was answered: its clock is known a little better.
    fn answered(&self, state: &mut State, question: &str, theirs: Duration, answered: Duration) {
        let Some(asked) = question.parse().ok().and_then(|number: u64| state.asked.remove(&number)) else { return };
        state.looks.push(Look { asked, answered, theirs });
        let recent = &state.looks[state.looks.len().saturating_sub(RECENT)..];
        // A clock that was stepped is not followed: the report says that it dates nothing.
        if let Some(offset) = Offset::at(recent, answered) {
            state.shift = Some(offset.shift());
            self.live.dated(&self.observer, offset.error());
        }
    }

    /// It is told to end; from now on an end is none that came too early.
    pub(super) fn close(&self) {
        self.state().closed = true;
    }

    /// Nothing more will be heard.
    pub(super) fn over(&self, why: &str) {
        let mut state = self.state();
        if !(state.closed && state.ended) && state.cut.is_none() {
            state.cut = Some(Cut { at: state.heard, why: why.to_owned() });
            self.live.lost(&self.observer);
        }
    }

    /// Whether it has begun and its clock is known.
    pub(super) fn observes(&self) -> bool {
        let state = self.state();
        state.began && state.shift.is_some() && state.cut.is_none()
    }

    /// That it ended before it was told to, if it did.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.state().cut.clone()
    }

    /// What its clock read whenever it was asked.
    pub(super) fn looks(&self) -> Vec<Look> {
        self.state().looks.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What those who wait want to know, on our clock.
fn on_our_clock(entry: &Entry, shift: Shift) -> Option<Entry> {
    match entry {
        Entry::Sample { stream, due, sent, ended, answer } => {
            let sample = Sample { due: *due, sent: *sent, ended: *ended, answer: answer.clone() };
            Some(Entry::sample(stream, &shift.sample(sample)))
        }
        Entry::Stall { from, until } => {
            let Stall { from, until } = shift.stall(Stall { from: *from, until: *until });
            Some(Entry::Stall { from, until })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SimClock};
    use crate::observation::Answer;
    use crate::probe::{Ask, StreamPlan};
    use jiff::Timestamp;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn feed(folder: &std::path::Path) -> (Feed, SimClock, Arc<Live>) {
        let (clock, live) = (SimClock::at(Timestamp::UNIX_EPOCH), Live::new());
        let log = FileSink::append(&folder.join("log")).unwrap();
        let streams = vec!["office/tcp".to_owned()];
        (Feed::new("office", streams, Arc::new(clock.clone()), live.clone(), log), clock, live)
    }

    fn say(feed: &Feed, entry: &Entry) {
        feed.take(entry.line().trim_end().as_bytes()).unwrap();
    }

    /// It has begun, and its clock reads 100 seconds more than ours.
    fn begin(feed: &Feed, clock: &SimClock) {
        let (wall, at) = (Timestamp::UNIX_EPOCH, ms(100_000));
        say(feed, &Entry::Began { format: FORMAT, observer: "office".to_owned(), wall, at, streams: Vec::new() });
        assert!(!feed.observes(), "its clock is not known");
        let question = feed.question().trim().to_owned();
        clock.advance(ms(10));
        let at = clock.monotonic() + ms(99_995);
        say(feed, &Entry::Look { question, at });
    }

    #[test]
    fn what_it_sees_is_on_our_clock_as_soon_as_its_own_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let (feed, clock, live) = feed(folder.path());
        begin(&feed, &clock);
        assert!(feed.observes());
        let (due, stream) = (ms(103_000), "office/tcp");
        let sample = Sample { due, sent: due, ended: due + ms(4), answer: Answer::Good };
        say(&feed, &Entry::sample(stream, &sample));
        let first = live.first_good(&[stream.to_owned()], ms(2_900)).unwrap();
        assert!(first.abs_diff(ms(3_004)) < ms(1), "{first:?}");
        assert_eq!((live.first_good(&[stream.to_owned()], ms(3_100)), feed.looks().len()), (None, 1));
    }

    #[test]
    fn only_an_end_that_was_asked_for_and_said_is_no_early_one() {
        let folder = tempfile::tempdir().unwrap();
        let (told, clock, live) = feed(folder.path());
        begin(&told, &clock);
        told.close();
        say(&told, &Entry::Ended { at: ms(104_000) });
        told.over("nothing more came from it");
        assert_eq!((told.cut(), live.is_lost("office/tcp")), (None, false));
        for (closed, ended) in [(true, false), (false, true), (false, false)] {
            let folder = tempfile::tempdir().unwrap();
            let (feed, clock, live) = feed(folder.path());
            begin(&feed, &clock);
            if ended {
                say(&feed, &Entry::Ended { at: ms(104_000) });
            }
            if closed {
                feed.close();
            }
            feed.over("nothing more came from it");
            assert!(feed.cut().is_some() && live.is_lost("office/tcp"), "{closed} {ended}");
            assert!(!feed.observes());
        }
    }

    #[test]
    fn who_is_silent_for_long_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (feed, clock, live) = feed(folder.path());
        begin(&feed, &clock);
        clock.advance(ms(14_000));
        feed.question();
        assert!(!live.is_lost("office/tcp"));
        clock.advance(ms(2_000));
        feed.question();
        assert!(live.is_lost("office/tcp") && feed.cut().is_none());
    }

    #[test]
    fn what_no_observer_says_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (feed, _, _) = feed(folder.path());
        let error = feed.take(b"Permission denied (publickey).").unwrap_err();
        assert!(error.to_string().ends_with("no observer says: Permission denied (publickey)."), "{error}");
        let facts = StreamPlan::new("mine", Ask::Tcp { address: String::new(), send: None, expect: None }).facts();
        let (wall, at) = (Timestamp::UNIX_EPOCH, ms(1));
        let began = Entry::Began { format: FORMAT, observer: "office".to_owned(), wall, at, streams: vec![facts] };
        assert!(feed.take(began.line().trim_end().as_bytes()).is_err() && !feed.observes());
    }
}
