//! Filling a database: definitions, rows, what is built on rows, and whatever must not act on them while they come.

use super::apply::Applier;
use super::content::Chunks;
use super::crew::{self, Crew, Outcome};
use super::definitions::{Definition, Definitions, Turn};
use super::feed::Feed;
use super::large_objects::{self, LargeObjects};
use super::load::Supply;
use super::readback::{self, Difference};
use super::request::Proof;
use super::sequences::Drawn;
use super::site::{self, Site, failed};
use super::table::Table;
use super::work::{self, Shape, TableId};
use super::{routes, sequences};
use crate::backup::facts::SequenceValue;
use crate::error::{Error, Result};
use crate::journal::{Amount, SharedProgress, Stage};
use crate::rowsum::RowSum;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const DEFINITIONS: Stage = "definitions";
const FINISHING: Stage = "triggers";
const VIEWS: Stage = "views";

/// What to fill a database with.
pub(in crate::backup) struct Filling {
    pub(in crate::backup) definitions: Definitions,
    pub(in crate::backup) tables: Vec<Table>,
    /// The chunks of each table.
    pub(in crate::backup) rows: Vec<Chunks>,
    pub(in crate::backup) large_objects: Option<Chunks>,
    pub(in crate::backup) sequences: Vec<SequenceValue>,
    pub(in crate::backup) proof: Proof,
    pub(in crate::backup) jobs: usize,
    /// The tables are there and somebody else's.
    pub(in crate::backup) into_existing: bool,
    /// Nobody sees the database before all is in and was looked at.
    pub(in crate::backup) unseen: bool,
}

/// What was filled in.
#[derive(Debug, Default)]
pub(in crate::backup) struct Filled {
    pub(in crate::backup) rows: u64,
    /// Tables whose rows came back otherwise than they were sent.
    pub(in crate::backup) differing: Vec<Difference>,
    /// Large objects that came back otherwise.
    pub(in crate::backup) differing_objects: Vec<u32>,
    /// Sequences that do not stand where they were set.
    pub(in crate::backup) moved_sequences: Vec<sequences::Moved>,
    /// Tables whose first VACUUM will write their rows once more.
    pub(in crate::backup) not_frozen: Vec<String>,
    /// Foreign keys that do not hold without what was lost.
    pub(in crate::backup) weakened: Vec<String>,
    /// Those of them that cannot even be kept for new rows.
    pub(in crate::backup) not_made: Vec<String>,
    /// Large objects of which bytes may be lost.
    pub(in crate::backup) incomplete_objects: Vec<u32>,
}

/// What filling takes besides its content.
#[derive(Clone)]
pub(in crate::backup) struct Hands {
    pub(in crate::backup) site: Arc<Site>,
    pub(in crate::backup) feed: Arc<Feed>,
    pub(in crate::backup) progress: SharedProgress,
    pub(in crate::backup) cancel: CancellationToken,
}

impl Hands {
    /// Fills the database.
    pub(in crate::backup) async fn fill(&self, filling: Filling) -> Result<Filled> {
        let filled = tokio::select! {
            filled = self.in_order(filling) => filled,
            () = self.cancel.cancelled() => Err(super::was_stopped()),
        };
        if filled.is_err() {
            self.site.cancel().await;
        }
        filled
    }

    /// Reads tables back; gives their sums in their order.
    pub(in crate::backup) async fn read_back(&self, tables: Vec<Table>, jobs: usize) -> Result<Vec<RowSum>> {
        let graph = work::lay_out_readings(&tables, jobs);
        let none = vec![RowSum::default(); tables.len()];
        let crew = Arc::new(Crew {
            site: self.site.clone(),
            feed: self.feed.clone(),
            tables,
            supplies: Vec::new(),
            large_objects: LargeObjects::default(),
            unlooked: BTreeSet::new(),
            progress: self.progress.clone(),
            cancel: self.cancel.clone(),
            outcome: Outcome { sent: none.clone(), read: none, ..Outcome::default() }.into(),
            jobs,
        });
        crew.run(crew::schedule(graph)?).await?;
        Ok(crew.outcome.lock().unwrap_or_else(std::sync::PoisonError::into_inner).read.clone())
    }

    async fn in_order(&self, mut filling: Filling) -> Result<Filled> {
        let definitions = std::mem::take(&mut filling.definitions);
        let keys_first = self.before(&definitions, &mut filling).await?;
        let shape = Shape {
            jobs: filling.jobs,
            read_back: filling.proof == Proof::ReadBack,
            large_object_bytes: filling.large_objects.as_ref().map_or(0, |chunks| chunks.bytes),
            into_existing: filling.into_existing,
            keys_first,
        };
        let agenda = work::lay_out(&filling.tables, &definitions, shape);
        self.define(DEFINITIONS, agenda.early.iter().collect(), Who::Definer).await?;
        let crew = self.crew(&mut filling, agenda.unlooked);
        crew.run(crew::schedule(agenda.graph)?).await?;
        let mut filled = filled(&crew, shape.read_back);
        if !filled.differing.is_empty() {
            return Ok(filled);
        }
        if crew.large_objects.has_gaps() {
            let session = self.site.for_work().await?;
            filled.incomplete_objects = crew.large_objects.incomplete(&session).await?;
            session.close().await;
        }
        self.set_sequences(&filling.sequences).await?;
        self.after(&definitions, &agenda.late).await?;
        if let Some(chunks) = filling.large_objects.as_ref().filter(|_| shape.read_back) {
            let session = self.site.for_work().await?;
            filled.differing_objects = large_objects::differing(&session, &self.feed, chunks).await?;
            session.close().await;
        }
        // In a database that stays somebody may have drawn from one by now.
        if shape.read_back && !filling.into_existing && !filling.sequences.is_empty() {
            let session = self.site.for_work().await?;
            filled.moved_sequences = sequences::moved(&session, &filling.sequences, Drawn::by(&definitions)).await?;
            session.close().await;
        }
        Ok(filled)
    }

    /// Definitions that must be there before the rows. Gives whether foreign keys may be made now and looked at later.
    async fn before(&self, definitions: &Definitions, filling: &mut Filling) -> Result<bool> {
        self.define(DEFINITIONS, definitions.at(Turn::Before).collect(), Who::Definer).await?;
        let session = self.site.for_work().await?;
        routes::find(&session, &mut filling.tables).await?;
        // Rows that are lost may leave others without the ones they refer to; then each key is made as far as it holds.
        let whole = filling.unseen && !self.feed.allows_damage();
        let keys_first = whole && site::may_look_away(&session).await?;
        session.close().await;
        Ok(keys_first)
    }

    /// Whatever must not act on the rows while they come.
    async fn after(&self, definitions: &Definitions, late: &[Definition]) -> Result<()> {
        let is_check = |entry: &&Definition| entry.kind == "CHECK CONSTRAINT";
        let (checks, others): (Vec<_>, Vec<_>) = definitions.at(Turn::After).partition(is_check);
        self.define(FINISHING, late.iter().collect(), Who::Definer).await?;
        // A check looks at every row with the user's own code.
        self.define(FINISHING, checks, Who::Worker).await?;
        self.define(FINISHING, others, Who::Definer).await?;
        self.define(FINISHING, definitions.at(Turn::Privileges).collect(), Who::Definer).await?;
        self.fill_views(definitions).await?;
        self.define(FINISHING, definitions.at(Turn::Last).collect(), Who::Definer).await
    }

    /// Materialised views, filled one after another: one may look at another.
    async fn fill_views(&self, definitions: &Definitions) -> Result<()> {
        let views: Vec<&Definition> = definitions.at(Turn::Fill).collect();
        if views.is_empty() {
            return Ok(());
        }
        self.progress.began(VIEWS, Amount::items(views.len() as u64));
        let session = self.site.for_work().await?;
        // As at the source: a view holds what its owner may see.
        session.execute("preparing to fill views", "SET row_security = on").await?;
        let relations = definitions.relations();
        for view in &views {
            super::stopped(&self.cancel)?;
            for statement in &view.statements {
                let done = session.client.batch_execute(statement).await;
                done.map_err(|error| failed(&session, &error, &view.describe(), statement))?;
            }
            if let Some(key) = view.needs.iter().find_map(|need| relations.get(need)) {
                session.execute(&format!("analysing {key}"), &format!("ANALYZE {}", key.sql())).await?;
            }
            self.progress.advanced(VIEWS, Amount::items(1));
        }
        session.close().await;
        self.progress.ended(VIEWS, Amount::items(views.len() as u64));
        Ok(())
    }

    async fn define(&self, stage: Stage, definitions: Vec<&Definition>, who: Who) -> Result<()> {
        if definitions.is_empty() {
            return Ok(());
        }
        let amount = Amount::items(definitions.len() as u64);
        self.progress.began(stage, amount);
        let session = match who {
            Who::Definer => self.site.for_definitions().await?,
            Who::Worker => self.site.for_work().await?,
        };
        Applier::new(&session, &self.progress, stage, (&self.cancel, self.site.made())).run(&definitions).await?;
        session.close().await;
        self.progress.ended(stage, amount);
        Ok(())
    }

    async fn set_sequences(&self, all: &[SequenceValue]) -> Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        let amount = Amount::items(all.len() as u64);
        self.progress.began(sequences::STAGE, amount);
        let session = self.site.for_work().await?;
        sequences::set(&session, all).await?;
        session.close().await;
        self.progress.ended(sequences::STAGE, amount);
        Ok(())
    }

    fn crew(&self, filling: &mut Filling, unlooked: BTreeSet<TableId>) -> Arc<Crew> {
        let tables = std::mem::take(&mut filling.tables);
        let supplies = filling.rows.iter().map(|chunks| Supply::of(&chunks.name, &chunks.ranges)).collect();
        let none = vec![RowSum::default(); tables.len()];
        let outcome = Outcome { sent: none.clone(), read: none, ..Outcome::default() };
        Arc::new(Crew {
            site: self.site.clone(),
            feed: self.feed.clone(),
            tables,
            supplies,
            large_objects: LargeObjects::new(filling.large_objects.as_ref()),
            unlooked,
            progress: self.progress.clone(),
            cancel: self.cancel.clone(),
            outcome: outcome.into(),
            jobs: filling.jobs,
        })
    }
}

/// Which role runs something.
#[derive(Clone, Copy)]
enum Who {
    Definer,
    Worker,
}

fn filled(crew: &Crew, read_back: bool) -> Filled {
    let outcome = crew.outcome.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let name = |table: &usize| crew.tables[*table].key.to_string();
    Filled {
        rows: outcome.sent.iter().map(|sum| sum.rows).sum(),
        differing: if read_back { readback::compare(&crew.tables, &outcome.sent, &outcome.read) } else { Vec::new() },
        differing_objects: Vec::new(),
        moved_sequences: Vec::new(),
        not_frozen: outcome.not_frozen.iter().map(name).collect(),
        weakened: outcome.weakened,
        not_made: outcome.not_made,
        incomplete_objects: Vec::new(),
    }
}

impl Filled {
    /// An error that names what came back otherwise than it was sent.
    pub(in crate::backup) fn must_be_same(&self) -> Result<()> {
        let tables = self.differing.iter().map(|found| {
            format!("{} was sent {} rows and has {}, or others", found.table.key, found.sent.rows, found.read.rows)
        });
        let objects = self.differing_objects.iter().map(|oid| format!("large object {oid} has other bytes"));
        let sequences = self.moved_sequences.iter().map(|moved| format!("sequence {moved}"));
        let all: Vec<String> = tables.chain(objects).chain(sequences).collect();
        if all.is_empty() {
            return Ok(());
        }
        Err(Error::failed(format!("reading the restored database back: {}", all.join("; ")))
            .hint("something at the target changes rows while they are written: a rule, a trigger, another session"))
    }
}
