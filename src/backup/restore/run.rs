//! Doing what the plan says: everything into a database that nobody knows yet, and its name at the very end.

use super::alike::{finishing, shape};
use super::content::Chunks;
use super::feed::Feed;
use super::fill::{Filled, Filling, Hands};
use super::globals::{Globals, Made};
use super::means::Means;
use super::plan::{Goal, Place, RestorePlan};
use super::report::RestoreReport;
use super::request::{Existing, Part, Wanted};
use super::selection::Selection;
use super::site::Site;
use super::unfinished::Unfinished;
use crate::backup::facts::{DatabaseFacts, StreamFacts};
use crate::backup::target::{Beside, Shape, Swapped, Target};
use crate::error::{Error, Kind, Result};
use crate::journal::{Recorder, SharedProgress};
use crate::postgres::ConnInfo;
use crate::repository::PointSummary;
use std::sync::Arc;

/// Restores as planned. On any failure the target is what it was.
pub async fn run(means: &Means, plan: RestorePlan) -> Result<RestoreReport> {
    let clock = means.repository.clock().clone();
    let start = clock.monotonic();
    let recorder = Recorder::new(clock.clone(), means.progress.clone());
    let means = Means { progress: recorder.clone(), ..means.clone() };
    let mut report = RestoreReport::new(&plan);
    // A script with a hole in it is another script.
    let feed = Feed::new(means.repository.clone(), plan.wanted.allow_damage && plan.dump.is_none());
    let RestorePlan { point, wanted, facts, selection, dump, globals, goal, without_password, .. } = plan;
    report.tables = match &dump {
        Some((facts, _)) => facts.tables.len() as u64,
        None => selection.tables.len() as u64,
    };
    let job = Job { means: &means, feed: feed.clone(), wanted, facts };
    let done = match goal {
        Goal::Beside(target) => Box::pin(job.beside(*target, globals, selection, dump)).await,
        Goal::InPlace(place) => Box::pin(job.in_place(&point, *place, selection)).await,
    };
    let Done { filled, swapped, notes } = done.map_err(as_failure)?;
    report.rows = filled.rows;
    report.lost = feed.lost();
    report.notes = notes;
    report.notes.extend(without_password);
    report.note_losses(&filled);
    report.weakened = filled.weakened;
    report.not_frozen = filled.not_frozen;
    if let Some(swapped) = swapped {
        report.note_swap(&swapped);
    }
    report.seconds = clock.monotonic().saturating_sub(start).as_secs_f64();
    report.phases = recorder.phases();
    Ok(report)
}

/// Whatever it was, it is undone: exit 4, unless undoing itself has failed.
fn as_failure(error: Error) -> Error {
    match error.kind() {
        Kind::CheckFailed | Kind::Undecided => error.as_kind(Kind::Failed),
        _ => error,
    }
}

struct Job<'a> {
    means: &'a Means,
    feed: Arc<Feed>,
    wanted: Wanted,
    facts: DatabaseFacts,
}

struct Done {
    filled: Filled,
    swapped: Option<Swapped>,
    notes: Vec<String>,
}

impl Job<'_> {
    /// Into a new database, which takes the target's name at the end.
    async fn beside(
        &self,
        target: Target,
        globals: Option<Globals>,
        selection: Selection,
        dump: Option<(StreamFacts, Chunks)>,
    ) -> Result<Done> {
        let shape = shape(&self.facts, &self.wanted);
        let server = target.server().conn().clone();
        // Its owner and its tablespace may have to be made first, and it holds the note of what is made.
        let bare = Shape { owner: None, tablespace: None, ..shape.clone() };
        let beside = target.begin(if globals.is_some() { &bare } else { &shape }).await?;
        let (earlier, notes) = match Box::pin(self.leftovers(&beside)).await {
            Ok(known) => known,
            Err(error) => return Err(beside.abandon_after(error).await),
        };
        let made = match &globals {
            None => Made::default(),
            Some(globals) => match Box::pin(self.bring(&beside, globals, &earlier)).await {
                Ok(made) => made,
                Err(error) => return Err(beside.abandon_after(error).await),
            },
        };
        let settled = if globals.is_some() { beside.take_shape(&shape).await } else { Ok(()) };
        let outcome = match settled {
            Ok(()) => self.fill_and_swap(beside, selection, dump).await,
            Err(error) => Err(beside.abandon_after(error).await),
        };
        match outcome {
            Ok(done) => Ok(Done { notes, ..done }),
            Err(error) if made == Made::default() => Err(error),
            Err(error) => Err(Box::pin(self.take_back(&server, made, error)).await),
        }
    }

    /// What killed restores into this target have left beside their databases, which are dropped by now.
    async fn leftovers(&self, beside: &Beside) -> Result<(Made, Vec<String>)> {
        let mut earlier = Made::default();
        for left in beside.removed_leftovers() {
            self.means.progress.note(format!("dropped {}, which an earlier restore had left", left.name));
            let noted = left.note.as_deref().and_then(|note| serde_json::from_str::<Made>(note).ok());
            earlier.add(noted.unwrap_or_default());
        }
        earlier.keep_present(beside.server()).await?;
        let notes = earlier.describe().map(|what| {
            format!("{what} came with an earlier restore, which was killed; they are as in its backup, and stay")
        });
        Ok((earlier, notes.into_iter().collect()))
    }

    /// Makes roles and tablespaces; what is made is noted before, should this run be killed.
    async fn bring(&self, beside: &Beside, globals: &Globals, earlier: &Made) -> Result<Made> {
        let mut note = globals.lacking(beside.server()).await?;
        note.add(earlier.clone());
        let note = serde_json::to_string(&note).map_err(|error| Error::failed("noting what is made").because(error))?;
        beside.note(&note).await?;
        globals.bring(beside.server(), &self.means.progress, &earlier.tablespaces).await
    }

    async fn take_back(&self, server: &ConnInfo, made: Made, error: Error) -> Error {
        match super::unfinished::writing(server).await {
            Ok(session) => made.undo_after(&session, error).await,
            Err(lost) => error
                .during(format!("roles stay that were made, because the server is gone: {lost}"))
                .as_kind(Kind::Stuck),
        }
    }

    async fn fill_and_swap(
        &self,
        beside: Beside,
        selection: Selection,
        dump: Option<(StreamFacts, Chunks)>,
    ) -> Result<Done> {
        let site = Arc::new(Site::new(beside.conn().clone()).reading_as(&self.facts.session_settings));
        let filled = match dump {
            Some((facts, chunks)) => {
                let (wanted, hands) = (&self.wanted, self.hands(site));
                hands.play(&facts, &chunks, &wanted.adjust, wanted.proof, self.means.workers()).await
            }
            None => self.hands(site).fill(Filling { unseen: true, ..self.filling(selection, false) }).await,
        };
        let filled = match filled.and_then(|filled| filled.must_be_same().map(|()| filled)) {
            Ok(filled) => filled,
            Err(error) => return Err(beside.abandon_after(error).await),
        };
        let keep = matches!(self.wanted.existing, Existing::Replace(_));
        let swapped = beside.swap_in(&finishing(&self.facts, &self.wanted), keep).await?;
        Ok(Done { filled, swapped: Some(swapped), notes: Vec::new() })
    }

    /// Into a database that is there: only what was not in it before, so that it can be taken away again.
    async fn in_place(&self, point: &PointSummary, place: Place, selection: Selection) -> Result<Done> {
        let Place { conn, undo, left } = place;
        let conn = &conn;
        let note = undo.note(point, self.means.repository.clock().now());
        let settled: Vec<String> = left
            .iter()
            .filter(|left| left.is_settled_by(&undo.tables()))
            .map(|left| left.schema().to_owned())
            .collect();
        let unfinished = Box::pin(Unfinished::begin(conn, &note, &settled)).await?;
        let rows_only = self.wanted.part == Part::Rows;
        let site = Site::new(conn.clone()).reading_as(&self.facts.session_settings).holding(unfinished.lock());
        let site = Arc::new(if rows_only { site.silent() } else { site });
        let tables = selection.tables.clone();
        let filling = self.filling(selection, rows_only);
        let filled = self.hands(site.clone()).fill(filling).await;
        let checked = match filled {
            Ok(filled) => self.check_in_place(&site, filled, &tables, rows_only).await,
            Err(error) => Err(error),
        };
        match checked {
            Ok(filled) => {
                // All is in and proven; a note that stays is a blemish, not a failure.
                let statement = unfinished.statement();
                let stays =
                    |error: Error| format!("the note of this restore stays in the database ({error}): {statement}");
                let notes = Box::pin(unfinished.end(conn)).await.err().map(stays).into_iter().collect();
                Ok(Done { filled, swapped: None, notes })
            }
            Err(error) => Err(Box::pin(undo.after(conn, (unfinished, site.made()), error)).await),
        }
    }

    async fn check_in_place(
        &self,
        site: &Site,
        filled: Filled,
        tables: &[super::table::Table],
        rows_only: bool,
    ) -> Result<Filled> {
        filled.must_be_same()?;
        let session = site.for_work().await?;
        if rows_only && self.feed.lost().is_empty() {
            // Foreign keys did not look while the rows came.
            super::references::must_hold(&session, tables).await?;
        }
        // Until here nothing waited for the disk.
        let sql = "SET synchronous_commit = on; SELECT pg_catalog.pg_logical_emit_message(true, 'davit', 'restored')";
        session.execute("making the restore durable", sql).await?;
        session.close().await;
        Ok(filled)
    }

    fn hands(&self, site: Arc<Site>) -> Hands {
        let progress = self.means.progress.clone() as SharedProgress;
        self.feed.tell(&progress);
        Hands { site, feed: self.feed.clone(), progress, cancel: self.means.cancel.clone() }
    }

    fn filling(&self, selection: Selection, into_existing: bool) -> Filling {
        Filling {
            definitions: selection.definitions,
            tables: selection.tables,
            rows: selection.rows,
            large_objects: selection.large_objects,
            sequences: selection.sequences,
            proof: self.wanted.proof,
            jobs: self.means.workers(),
            into_existing,
            unseen: false,
        }
    }
}
