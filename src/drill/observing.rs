//! Probes and writes around a drill: begun before it, ended after it, and then written into its journal.

use super::desk::Desk;
use super::dial::{Open, Server};
use super::elsewhere::Watchers;
use super::plan::{Stream, writes};
use super::streams::{Database, streams};
use crate::chaos::Promised;
use crate::error::{Context, Error, Kind, Result};
use crate::observation::Observation;
use crate::postgres::connect;
use crate::postgres::conninfo::past;
use crate::probe::ledger::{Ledger, Table};
use crate::probe::load::{Load, LoadPlan};
use crate::probe::{FileSink, Observer, Running, SharedSink, Tee, sql};
use crate::report::journal::{self, Event, PackedSamples, StreamRole};
use crate::scenario::Rate;
use crate::secret::Secret;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Who observes: this process, beside the target or far from it.
pub(super) const OBSERVER: &str = "this machine";
/// Writers of a load: few connections, as a pool has them, and never so many that they are the outage.
const WRITERS: (u32, u32) = (4, 32);
/// One of them makes so many writes a second where a commit takes ten milliseconds.
const EACH: f64 = 100.0;
/// Probes of one line of the journal.
const SAMPLES_A_LINE: usize = 20_000;

/// Probes and writes under way.
pub(super) struct Observing {
    running: Option<Running>,
    elsewhere: Option<Watchers>,
    load: Option<Load>,
    ledger: Option<Arc<Ledger>>,
    log: PathBuf,
}

/// What is left when all is quiet: the ledger's table and its file.
#[derive(Default)]
pub(super) struct Kept {
    /// That the table will be taken away, which is durable before there is one.
    pub(super) promised: Option<Promised>,
    pub(super) table: Option<Table>,
    pub(super) ledger: Option<PathBuf>,
}

impl Observing {
    /// Begins observers elsewhere, makes the ledger's table, and begins to ask and to write. What is made is known to `kept`
    /// also where this fails.
    pub(super) async fn begin(desk: &Desk<'_>, kept: &mut Kept) -> Result<Self> {
        // Nothing is touched before everybody observes who should.
        let elsewhere = Watchers::begin(desk).await?;
        let (log, path) = (desk.folder.join("observed.jsonl"), desk.folder.join("ledger"));
        let mut ledger = None;
        if desk.is_database() && writes(&desk.script.scenario) {
            make_table(desk, kept).await?;
            ledger = Some(Ledger::create(&path, rand::random(), desk.means.clock().clone())?);
            kept.ledger = Some(path);
        }
        let written = ledger.clone().zip(kept.table.as_ref().map(|table| table.name().to_owned()));
        let database = if desk.is_database() {
            Some(Database { conn: desk.conn(&desk.script.access.clients)?, ledger: written })
        } else {
            None
        };
        let plans: Vec<_> = desk.script.streams.iter().map(|stream| stream.plan.clone()).collect();
        let asked = streams(&plans, database.as_ref()).await?;
        for stream in &desk.script.streams {
            desk.notebook.note(Event::Stream(facts(stream, OBSERVER)))?;
        }
        Watchers::introduce(desk)?;
        let sink: SharedSink = Arc::new(Tee(vec![FileSink::append(&log)?, desk.live.clone()]));
        let running = Observer::new(OBSERVER, desk.means.clock().clone(), sink).start(asked)?;
        let load = match (desk.script.scenario.load.writes, &ledger, &kept.table) {
            (Some(rate), Some(ledger), Some(table)) => write(desk, rate, ledger, table).await.map(Some),
            _ => Ok(None),
        };
        match load {
            Ok(load) => Ok(Self { running: Some(running), elsewhere: Some(elsewhere), load, ledger, log }),
            Err(error) => {
                // Nobody writes any more when the table is taken away.
                running.stop().await?;
                Err(error)
            }
        }
    }

    /// Ends writes and probes, in this order, and writes what was seen into the journal.
    pub(super) async fn end(mut self, desk: &Desk<'_>) -> Result<()> {
        if let Some(load) = self.load.take() {
            load.stop().await?;
        }
        if let Some(running) = self.running.take() {
            running.stop().await?;
        }
        if let Some(ledger) = self.ledger.take() {
            ledger.sync()?;
        }
        let seen = put_seen(desk, &self.log)?;
        if !seen.whole {
            return Err(Error::failed("reading what the observer saw: its log was cut off"));
        }
        for (stream, _, code, text) in seen.notices.iter().take(20) {
            desk.notebook.note(Event::Surprise { what: format!("a server said on {stream}: {code} {text}") })?;
        }
        desk.notebook.note(Event::Stalls(seen.stalls))?;
        match self.elsewhere.take() {
            Some(elsewhere) => elsewhere.end(desk).await,
            None => Ok(()),
        }
    }
}

/// Makes the ledger's table, once its undo is where a janitor finds it.
async fn make_table(desk: &Desk<'_>, kept: &mut Kept) -> Result<()> {
    let (session, name) = (desk.client().await?, table_name(desk));
    let (table, way) = (Table::known(&name)?, lasting(desk).await?);
    kept.promised = Some(Promised::before(&desk.means.chaos, &desk.script.run, &table, &way).await?);
    kept.table = Some(Table::create(&Open(session), &name).await?);
    Ok(())
}

/// The way to the table that is there without this process, too: our own proxy ends with it.
async fn lasting(desk: &Desk<'_>) -> Result<Secret> {
    let (clients, means) = (&desk.script.access.clients, &desk.means.chaos);
    for (to, proxy) in &means.proxies {
        if let Some(way) = past(clients.reveal(), &means.postgres, proxy.address(), to).await? {
            return Ok(way);
        }
    }
    Ok(clients.clone())
}

/// Writes the samples of a log into the journal; gives what else is in it. A day of probes is not held in memory as a whole.
pub(super) fn put_seen(desk: &Desk<'_>, log: &Path) -> Result<Observation> {
    let file = File::open(log).context(Kind::Failed, || format!("reading {}", log.display()))?;
    let put = |seen: &mut Observation, least: usize| -> Result<()> {
        for (name, series) in seen.streams.iter_mut().filter(|(_, series)| series.samples.len() >= least) {
            let samples = PackedSamples::of(&series.samples);
            series.samples.clear();
            desk.notebook.note(Event::Samples { stream: name.clone(), samples })?;
        }
        Ok(())
    };
    let (from, until) = (Duration::ZERO, Duration::MAX);
    let log = BufReader::new(file);
    let mut seen = Observation::read_along(log, from, until, |seen| put(seen, SAMPLES_A_LINE))?;
    put(&mut seen, 1)?;
    Ok(seen)
}

/// What a journal says of a stream.
pub(super) fn facts(stream: &Stream, observer: &str) -> journal::Stream {
    journal::Stream {
        name: stream.plan.name.clone(),
        path: stream.path.to_owned(),
        observer: observer.to_owned(),
        what: stream.plan.describe(),
        role: if stream.judged { StreamRole::Judged } else { StreamRole::Shown },
        every: stream.plan.every,
        deadline: stream.plan.deadline,
    }
}

/// The run in the letters that a table may have.
pub(super) fn table_name(desk: &Desk<'_>) -> String {
    desk.script.run.as_str().to_lowercase()
}

/// How many connections such a load has.
pub(super) fn writers(rate: Rate) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is between 0 and 100,000")]
    let wanted = (rate.0 / EACH).ceil() as u32;
    wanted.clamp(WRITERS.0, WRITERS.1)
}

async fn write(desk: &Desk<'_>, rate: Rate, ledger: &Arc<Ledger>, table: &Table) -> Result<Load> {
    let conn = desk.conn(&desk.script.access.clients)?;
    let major = connect(&conn, "drill").await?.major();
    let (patience, writers) = (desk.script.scenario.load.deadline * 2, writers(rate));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is between 0 and 100,000")]
    let rate = rate.0.ceil() as u32;
    let plan = LoadPlan {
        rate,
        writers,
        patience,
        dial: Server::shared(conn),
        settings: sql::settings(patience, major),
        table: table.name().to_owned(),
    };
    Load::start(plan, Arc::clone(ledger), desk.means.clock().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_has_as_many_connections_as_it_takes_and_never_very_many() {
        assert_eq!([0.5, 400.0, 401.0, 1_000.0, 100_000.0].map(|rate| writers(Rate(rate))), [4, 4, 5, 10, 32]);
    }
}
