//! The workers of a restore: each has a session of its own and takes whatever may be done next.

use super::apply::Applier;
use super::definitions::Definition;
use super::feed::Feed;
use super::graph::{Schedule, TaskId, Turn};
use super::large_objects::LargeObjects;
use super::load::{Loader, Supply};
use super::readback::Reader;
use super::references;
use super::site::{Site, failed};
use super::stages::{self, Stages};
use super::table::Table;
use super::work::{Steps, TableId, Work};
use crate::error::{Error, Result};
use crate::journal::{Amount, SharedProgress};
use crate::postgres::Session;
use crate::rowsum::RowSum;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What all workers share.
pub(super) struct Crew {
    pub(super) site: Arc<Site>,
    pub(super) feed: Arc<Feed>,
    pub(super) tables: Vec<Table>,
    /// The ranges of each table that nobody has taken.
    pub(super) supplies: Vec<Arc<Supply>>,
    pub(super) large_objects: LargeObjects,
    /// Tables whose foreign keys must not look at each row as it comes.
    pub(super) unlooked: BTreeSet<TableId>,
    pub(super) progress: SharedProgress,
    pub(super) cancel: CancellationToken,
    pub(super) outcome: Mutex<Outcome>,
    pub(super) jobs: usize,
}

/// What came of the work.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    /// What each table was sent.
    pub(super) sent: Vec<RowSum>,
    /// What was read back of it.
    pub(super) read: Vec<RowSum>,
    /// Tables whose rows are not frozen: their first VACUUM will write them once more.
    pub(super) not_frozen: Vec<TableId>,
    /// Foreign keys that do not hold without what was lost.
    pub(super) weakened: Vec<String>,
    /// Those of them that cannot even be kept for new rows.
    pub(super) not_made: Vec<String>,
}

/// The schedule, and a bell that rings when something ended.
struct Board {
    schedule: Mutex<Schedule<Work>>,
    bell: watch::Sender<()>,
    stages: Stages,
}

impl Crew {
    /// Does all of the work.
    pub(super) async fn run(self: &Arc<Self>, schedule: Schedule<Work>) -> Result<()> {
        let stages = Stages::new(schedule.all(), &self.tables, &self.progress);
        let board = Arc::new(Board { schedule: Mutex::new(schedule), bell: watch::Sender::new(()), stages });
        let mut workers = JoinSet::new();
        for _ in 0..self.jobs {
            let (crew, board) = (self.clone(), board.clone());
            workers.spawn(async move { crew.worker(&board).await });
        }
        let mut outcome = Ok(());
        while let Some(ended) = workers.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(Error::failed("working on the restore").because(error)));
            if outcome.is_ok() && ended.is_err() {
                // What the others run on the server is cancelled before their sessions end with them.
                self.site.cancel().await;
                workers.abort_all();
                outcome = ended;
            }
        }
        outcome
    }

    async fn worker(&self, board: &Board) -> Result<()> {
        let session = self.site.for_work().await?;
        let mut bell = board.bell.subscribe();
        loop {
            // Seen before looking: whatever ends after the look rings the bell anew.
            bell.mark_unchanged();
            let (turn, spare) = {
                let mut schedule = lock(&board.schedule);
                let turn = schedule.next();
                (turn, self.jobs.saturating_sub(schedule.could_run()))
            };
            match turn {
                Turn::Done => break,
                Turn::Wait => tokio::select! {
                    _rung = bell.changed() => {}
                    () = self.cancel.clone().cancelled_owned() => {}
                },
                Turn::Do(id) => {
                    self.perform(board, id, &session, spare).await?;
                    lock(&board.schedule).done(id);
                    board.bell.send_replace(());
                }
            }
            super::stopped(&self.cancel)?;
        }
        session.close().await;
        Ok(())
    }

    async fn perform(&self, board: &Board, id: TaskId, session: &Session, spare: usize) -> Result<()> {
        let work = lock(&board.schedule).work(id).clone();
        board.stages.begin(&work);
        tokio::select! {
            done = self.work(&work, session, spare) => done?,
            () = self.cancel.clone().cancelled_owned() => return Err(super::was_stopped()),
        }
        board.stages.end(&work);
        Ok(())
    }

    async fn work(&self, work: &Work, session: &Session, spare: usize) -> Result<()> {
        match work {
            Work::Load { tables, freeze } => {
                self.look_away(session, tables).await?;
                self.load(session, tables, *freeze).await?;
                self.look_again(session, tables).await
            }
            Work::LoadShare { table } => {
                self.look_away(session, &[*table]).await?;
                self.share(session, *table).await?;
                self.look_again(session, &[*table]).await
            }
            Work::LargeObjects => self.large_objects.load(session, &self.feed, &self.progress).await,
            Work::Build(steps) => {
                // Alone at the end of a table, a build may use the cores that nobody else does.
                let sql = format!("SET max_parallel_maintenance_workers = {spare}");
                session.execute("preparing to build an index", &sql).await?;
                self.define(session, std::slice::from_ref(steps)).await
            }
            Work::Define(all) => self.define(session, all).await,
            Work::Reference(all) => self.reference(session, all).await,
            Work::Hold { table, name } => {
                references::must_hold_now(session, &self.tables[*table].key, name, spare).await?;
                self.progress.advanced(stages::FOREIGN_KEYS, Amount::items(1));
                Ok(())
            }
            Work::Analyze { tables } => self.analyze(session, tables).await,
            Work::ReadBack { tables, part } => self.read_back(session, tables, *part).await,
        }
    }

    fn loader<'a>(&'a self, session: &'a Session) -> Loader<'a> {
        Loader { session, feed: &self.feed, progress: &self.progress, made: self.site.notes_rows() }
    }

    /// Rows of these tables come without a look at what they refer to, if that is looked at later.
    async fn look_away(&self, session: &Session, tables: &[TableId]) -> Result<()> {
        if !tables.iter().any(|table| self.unlooked.contains(table)) {
            return Ok(());
        }
        session.execute("preparing to load", "SET session_replication_role = replica").await
    }

    async fn look_again(&self, session: &Session, tables: &[TableId]) -> Result<()> {
        if !tables.iter().any(|table| self.unlooked.contains(table)) {
            return Ok(());
        }
        session.execute("tidying up a session", "RESET session_replication_role").await
    }

    async fn share(&self, session: &Session, table: TableId) -> Result<()> {
        let sent = self.loader(session).share(&self.tables[table], &self.supplies[table]).await?;
        let mut outcome = lock(&self.outcome);
        outcome.sent[table] += sent;
        if !outcome.not_frozen.contains(&table) {
            outcome.not_frozen.push(table);
        }
        Ok(())
    }

    async fn load(&self, session: &Session, tables: &[TableId], freeze: bool) -> Result<()> {
        let with_rows: Vec<(&Table, &Arc<Supply>)> =
            tables.iter().map(|table| (&self.tables[*table], &self.supplies[*table])).collect();
        let sent = self.loader(session).tables(&with_rows, freeze).await?;
        let mut outcome = lock(&self.outcome);
        for (table, sent) in tables.iter().zip(sent) {
            outcome.sent[*table] += sent;
        }
        Ok(())
    }

    async fn define(&self, session: &Session, all: &[Steps]) -> Result<()> {
        let mut applier = Applier::new(session, &self.progress, stages::INDEXES, (&self.cancel, self.site.made()));
        applier.run(&definitions(all)).await?;
        // The next piece of work on this session knows nothing of what was set.
        session.execute("tidying up a session", "RESET default_tablespace; RESET default_table_access_method").await
    }

    async fn reference(&self, session: &Session, all: &[Steps]) -> Result<()> {
        let lossy = !self.feed.lost().is_empty();
        if !lossy {
            let mut applier =
                Applier::new(session, &self.progress, stages::FOREIGN_KEYS, (&self.cancel, self.site.made()));
            return applier.run(&definitions(all)).await;
        }
        for steps in all {
            self.reference_lossy(session, &steps.definition).await?;
            self.progress.advanced(stages::FOREIGN_KEYS, Amount::items(1));
        }
        Ok(())
    }

    /// A foreign key over tables that may lack rows: where it does not hold, it is made for new rows only.
    async fn reference_lossy(&self, session: &Session, definition: &Definition) -> Result<()> {
        for statement in &definition.statements {
            let Err(error) = session.client.batch_execute(statement).await else { continue };
            let explained = failed(session, &error, &definition.describe(), statement);
            let violated = error.code().is_some_and(|code| code.code() == "23503");
            let weaker = statement.trim_end().strip_suffix(';').filter(|_| violated);
            let Some(weaker) = weaker else { return Err(explained) };
            let weaker = format!("{weaker} NOT VALID;");
            match session.client.batch_execute(&weaker).await {
                Ok(()) => lock(&self.outcome).weakened.push(definition.describe()),
                // Those of partitioned tables, before version 18.
                Err(error) if error.code().is_some_and(|code| ["0A000", "42809"].contains(&code.code())) => {
                    lock(&self.outcome).not_made.push(definition.describe());
                }
                Err(error) => return Err(failed(session, &error, &definition.describe(), &weaker)),
            }
        }
        Ok(())
    }

    async fn analyze(&self, session: &Session, tables: &[TableId]) -> Result<()> {
        let names: Vec<String> = tables.iter().map(|table| self.tables[*table].sql()).collect();
        let sql = format!("ANALYZE {}", names.join(", "));
        let done = session.client.batch_execute(&sql).await;
        done.map_err(|error| failed(session, &error, "analysing", &sql))?;
        self.progress.advanced(stages::ANALYZE, Amount::items(tables.len() as u64));
        Ok(())
    }

    async fn read_back(&self, session: &Session, tables: &[TableId], part: (u32, u32)) -> Result<()> {
        let reader = Reader { session, progress: &self.progress };
        let read = match (part, tables) {
            ((_, 0 | 1), _) | (_, [] | [_, _, ..]) => {
                let tables: Vec<&Table> = tables.iter().map(|table| &self.tables[*table]).collect();
                reader.tables(&tables).await?
            }
            ((part, of), [table]) => vec![reader.part(&self.tables[*table], part, of).await?],
        };
        let mut outcome = lock(&self.outcome);
        for (table, read) in tables.iter().zip(read) {
            outcome.read[*table] += read;
        }
        Ok(())
    }
}

fn definitions(all: &[Steps]) -> Vec<&Definition> {
    all.iter().map(|steps| &steps.definition).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The schedule of a graph that has no circle.
pub(super) fn schedule(graph: super::graph::Graph<Work>) -> Result<Schedule<Work>> {
    Schedule::new(graph).ok_or_else(|| Error::failed("laying out the work: something in the archive needs itself"))
}
