//! Observers elsewhere: begun before anything is touched, heard while they watch, and written into the journal at the end.
//!
//! ```text
//! process   a program whose standard input and output lead to `davit observe --plan -`
//! seat      a pod in which that is begun, over our own connection to the cluster
//! talk      what is said to it (orders, questions for its clock) and the reading of what it says
//! feed      what it said: its log in a file, its samples on our clock for those who wait, the looks at its clock
//! ```

mod feed;
mod process;
mod seat;
mod talk;

use super::desk::{Desk, LOOK};
use super::observing::{facts, put_seen};
use super::plan::Elsewhere;
use crate::error::{Context, Error, Kind, Result};
use crate::probe::FileSink;
use crate::probe::sink::Sink;
use crate::report::journal::{Cut, Event, Observer, Watched};
use feed::Feed;
pub(super) use seat::Seat;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use talk::Talk;

/// So long an observer may take until it observes: a connection, a look at its database, a first probe.
const BEGINS: Duration = Duration::from_secs(30);
/// So long its last lines may take, beyond what its probes wait for their deadlines.
const ENDS: Duration = Duration::from_secs(10);

/// All of them.
pub(super) struct Watchers(Vec<Watcher>);

struct Watcher {
    name: String,
    feed: Arc<Feed>,
    log: PathBuf,
    sink: Arc<FileSink>,
    talk: Talk,
}

impl Watchers {
    /// Begins them, and returns when each of them observes and has said what its clock reads.
    ///
    /// # Errors
    /// Where one of them does not; the others end with it.
    pub(super) async fn begin(desk: &Desk<'_>) -> Result<Self> {
        let failed = |observer: &Elsewhere, error: Error| {
            let hint = match observer.seat {
                Some(_) => "its container must have `davit` on its path; `container` says which one it is of several",
                None => "its program must run `davit observe --plan -`, its standard input and output being ours",
            };
            error.during(format!("beginning the observer {}", observer.wish.name)).hint(hint)
        };
        let observers = &desk.script.elsewhere;
        let begin = |observer: &Elsewhere| Watcher::begin(desk, observer).map_err(|error| failed(observer, error));
        let watchers = Self(observers.iter().map(begin).collect::<Result<_>>()?);
        for (watcher, observer) in watchers.0.iter().zip(observers) {
            watcher.observes(desk).await.map_err(|error| failed(observer, error))?;
        }
        Ok(watchers)
    }

    /// Writes into the journal who they are and what they ask.
    pub(super) fn introduce(desk: &Desk<'_>) -> Result<()> {
        for observer in &desk.script.elsewhere {
            let name = &observer.wish.name;
            desk.notebook.note(Event::Observer(Observer { name: name.clone(), place: observer.place() }))?;
            for stream in &observer.streams {
                desk.notebook.note(Event::Stream(facts(stream, name)))?;
            }
        }
        Ok(())
    }

    /// Ends them, and writes what they saw into the journal.
    pub(super) async fn end(self, desk: &Desk<'_>) -> Result<()> {
        for watcher in &self.0 {
            watcher.feed.close();
            watcher.talk.close();
        }
        for watcher in self.0 {
            watcher.end(desk).await?;
        }
        Ok(())
    }
}

impl Watcher {
    fn begin(desk: &Desk<'_>, observer: &Elsewhere) -> Result<Self> {
        let name = observer.wish.name.clone();
        let log = desk.folder.join(format!("observed-{name}.jsonl"));
        let sink = FileSink::append(&log)?;
        let streams = observer.streams.iter().map(|stream| stream.plan.name.clone()).collect();
        let feed = Arc::new(Feed::new(&name, streams, desk.means.clock().clone(), desk.live.clone(), sink.clone()));
        let wire = match &observer.seat {
            Some(seat) => seat.begin(desk.means.chaos.cluster()?, &observer.wish.command),
            None => process::begin(&observer.wish.command)?,
        };
        let talk = Talk::begin(observer, wire, &feed, desk.means.clock())?;
        Ok(Self { name, feed, log, sink, talk })
    }

    /// Waits until it has begun and its clock is known.
    async fn observes(&self, desk: &Desk<'_>) -> Result<()> {
        let until = desk.now() + BEGINS;
        while !self.feed.observes() {
            if let Some(cut) = self.feed.cut() {
                let how = self.talk.how_it_ended().await;
                return Err(Error::failed(format!("{}{how}", cut.why)));
            }
            if desk.now() >= until {
                let said = self.talk.said();
                return Err(Error::failed(format!("it says nothing for {}{said}", crate::units::Span(BEGINS))));
            }
            desk.sleep(LOOK).await?;
        }
        Ok(())
    }

    async fn end(self, desk: &Desk<'_>) -> Result<()> {
        let patience = desk.script.scenario.load.deadline * 2 + ENDS;
        if !self.talk.over(patience).await {
            self.feed.over("it did not end when it was told to");
        }
        let how = self.talk.how_it_ended().await;
        let sink = self.sink.clone();
        let flushed = tokio::task::spawn_blocking(move || sink.flush()).await;
        flushed.context(Kind::Failed, || format!("writing {}", self.log.display()))??;
        // A log that cannot be read says as little as one that was cut off.
        let read = put_seen(desk, &self.log);
        let unreadable = read.as_ref().err().map(ToString::to_string);
        let cut = self.feed.cut().map(|cut| Cut { why: format!("{}{how}", cut.why), ..cut });
        let cut = cut.or(unreadable.map(|why| Cut { at: desk.now(), why }));
        if let Some(cut) = &cut {
            desk.means.progress.warn(format!("the observer {} ended early: {}", self.name, cut.why), None);
        }
        let stalls = read.map(|seen| seen.stalls).unwrap_or_default();
        let looks = self.feed.looks();
        desk.notebook.note(Event::Watched(Box::new(Watched { observer: self.name, looks, stalls, cut })))
    }
}
