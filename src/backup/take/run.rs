//! Taking a backup: the whole of it, step by step. Nothing counts before the last one, the signature.

use super::buffers::Buffers;
use super::chunker::CHUNK_BYTES;
use super::crew::Crew;
use super::database::{self, Common, Taken};
use super::definitions::dump_globals;
use super::outlet::Outlet;
use super::pace::Rate;
use super::plan::BackupPlan;
use super::report::BackupReport;
use super::request::MinContent;
use super::stream;
use super::work::recorded_grids;
use crate::backup::facts::{Engine, PointFacts, StreamFacts, kind};
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::journal::{Amount, Progress, Recorder, SharedProgress};
use crate::repository::lease::{Claim, Lease};
use crate::repository::manifest::{ObjectLine, PointKind};
use crate::repository::{BeginPoint, Committed, PointWriter, Repository};
use jiff::Timestamp;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The stage in which the point is begun and what it may use again is looked up.
const PREPARE: &str = "prepare";
/// The stage in which manifest and signature are written.
const COMMIT: &str = "commit";
/// The stage in which what was just written is looked for.
const CHECK: &str = "check";

/// Buffers per reader: one fills while the other one is sealed and stored.
const BUFFERS_PER_JOB: usize = 2;

/// Takes the backup that `plan` describes.
///
/// # Errors
/// Whatever went wrong first. Then nothing is committed, what was stored is used by the next run, and every query of
/// ours has been cancelled on the server.
pub async fn run(
    plan: BackupPlan,
    repository: &Repository,
    progress: SharedProgress,
    cancel: &CancellationToken,
) -> Result<BackupReport> {
    let clock = repository.clock();
    let recorder = Recorder::new(Arc::clone(clock), progress);
    let began = clock.monotonic();
    let claim = Claim::of_source(&plan.source, &plan.request.holder, plan.request.lease_term);
    if let Some(words) = Lease::wait_for(repository.store(), clock, &claim).await? {
        recorder.note(words);
    }
    let lease = Lease::acquire(repository.store(), clock, &claim, cancel).await?;
    let run = Run { plan: &plan, repository, recorder: &recorder, began };
    let outcome = tokio::select! {
        outcome = Box::pin(run.take(cancel)) => outcome,
        () = lease.lost().cancelled() => Err(lease.loss().during(format!("backing up {}", plan.source))),
    };
    let mut warnings = Vec::new();
    lease.release_or_warn(&mut warnings).await;
    let mut report = outcome?;
    report.warnings.extend(warnings);
    Ok(report)
}

struct Run<'a> {
    plan: &'a BackupPlan,
    repository: &'a Repository,
    recorder: &'a Arc<Recorder>,
    began: Duration,
}

/// What was read of all databases.
#[derive(Debug, Clone, Copy, Default)]
struct Content {
    snapshot_time: Option<Timestamp>,
    tables: u64,
    sequences: u64,
    xmin_age_max: u64,
    held_max: Duration,
}

impl Content {
    fn add(&mut self, taken: &Taken) {
        self.snapshot_time.get_or_insert(taken.snapshot_time);
        self.tables += taken.tables;
        self.sequences += taken.sequences;
        self.xmin_age_max = self.xmin_age_max.max(taken.xmin_age_max);
        self.held_max = self.held_max.max(taken.held);
    }
}

impl Run<'_> {
    /// Begin, read, check, commit, look for what was written.
    async fn take(&self, cancel: &CancellationToken) -> Result<BackupReport> {
        let progress: SharedProgress = self.recorder.clone();
        progress.began(PREPARE, Amount::default());
        let writer = Arc::new(self.begin().await?);
        progress.ended(PREPARE, Amount::items(writer.known_chunks() as u64));
        let outcome = Box::pin(self.fill(&writer, cancel)).await;
        let content = match outcome {
            Ok(content) => content,
            Err(error) => {
                // If we die here, the next run sees an intent without a signature, and uses what was stored.
                writer.abandon().await?;
                return Err(error);
            }
        };
        progress.began(COMMIT, Amount::default());
        let seconds = self.repository.clock().monotonic().saturating_sub(self.began).as_secs_f64();
        let committed = writer.commit(seconds).await?;
        progress.ended(COMMIT, Amount::items(1));
        progress.began(CHECK, Amount { items: committed.end.chunks, rows: 0, bytes: 0 });
        self.repository.check_committed(&self.plan.source, &committed).await?;
        progress.ended(CHECK, Amount::items(committed.end.chunks));
        Ok(self.report(&writer, committed, content))
    }

    async fn begin(&self) -> Result<PointWriter> {
        let (plan, now) = (self.plan, self.repository.clock().now());
        let run = plan.request.run.clone().unwrap_or_else(|| RunId::at(now));
        let mut begin = BeginPoint::new(plan.source.clone(), PointKind::Database, plan.identity.clone(), run, now);
        begin.rebind = plan.request.rebind;
        begin.tier.clone_from(&plan.request.tier);
        begin.lock_until = plan.request.lock_until;
        begin.details = self.facts()?;
        self.repository.begin(begin).await
    }

    fn facts(&self) -> Result<serde_json::Value> {
        let plan = self.plan;
        let facts = PointFacts {
            engine: plan.engine,
            engine_reason: plan.engine_reason.clone(),
            server_version_num: plan.server_version_num,
            client_version: plan.client_version.clone(),
            standby: plan.standby,
            system_identifier: plan.system_identifier.clone(),
            databases: plan.databases.iter().map(|database| database.database.clone()).collect(),
            passwords_hidden: plan.passwords_hidden,
        };
        serde_json::to_value(facts).map_err(|error| Error::failed("describing the point").because(error))
    }

    /// Reads everything into the point.
    async fn fill(&self, writer: &Arc<PointWriter>, cancel: &CancellationToken) -> Result<Content> {
        self.refuse_lost_tables(writer)?;
        let plan = self.plan;
        let clock = self.repository.clock();
        let crew = Crew::new(cancel);
        let buffers = Buffers::new(plan.jobs.max(2) * BUFFERS_PER_JOB, CHUNK_BYTES);
        let outlet = Outlet::new(Arc::clone(writer), buffers, crew.clone(), self.recorder.clone());
        let common = Common {
            request: &plan.request,
            tools: &plan.tools,
            jobs: plan.jobs,
            standby: plan.standby,
            rate: plan.request.limit_rate.map(|rate| Rate::new(rate, Arc::clone(clock))),
            grids: recorded_grids(writer.previous_objects()),
            clock: Arc::clone(clock),
            outlet,
        };
        let content = crew.work(Box::pin(self.read(&common, writer))).await?;
        check_content(&plan.request.min_content, &content, writer)?;
        Ok(content)
    }

    async fn read(&self, common: &Common<'_>, writer: &PointWriter) -> Result<Content> {
        let mut content = Content::default();
        for database in &self.plan.databases {
            let first = content.snapshot_time.is_none();
            let announce = |taken: Timestamp| if first { writer.set_snapshot(taken, self.facts()?) } else { Ok(()) };
            let taken = match self.plan.engine {
                Engine::Parallel => Box::pin(database::take(common, &database.conn, announce)).await,
                Engine::Stream => Box::pin(stream::take(common, &database.conn, announce)).await,
            };
            let taken = match taken {
                Err(error) if self.plan.databases.len() > 1 => {
                    Err(error.during(format!("backing up database {}", database.database)))
                }
                taken => taken,
            };
            content.add(&taken?);
        }
        dump_globals(&common.outlet, common.tools, &self.plan.conn, !self.plan.passwords_hidden).await?;
        common.outlet.settled().await;
        Ok(content)
    }

    /// A source that had tables and has none is a wrong database more often than a wish.
    fn refuse_lost_tables(&self, writer: &PointWriter) -> Result<()> {
        let had: usize = writer.previous_objects().iter().map(tables_in).sum();
        let request = &self.plan.request;
        if had == 0 || request.allow_empty || self.plan.tables() > 0 {
            return Ok(());
        }
        let source = &self.plan.source;
        Err(Error::refused(format!("backing up {source}: its last point has {had} tables, and now there is none"))
            .hint("is this the right database? --allow-empty backs it up as it is"))
    }

    fn report(&self, writer: &PointWriter, committed: Committed, content: Content) -> BackupReport {
        let plan = self.plan;
        let end = &committed.end;
        let mut warnings = plan.warnings.clone();
        warnings.extend(committed.warnings);
        BackupReport {
            point: committed.point,
            source: plan.source.clone(),
            run: writer.run().clone(),
            sequence: committed.sequence,
            manifest_sha256: committed.manifest_sha256.to_string(),
            snapshot_time: content.snapshot_time.unwrap_or(Timestamp::UNIX_EPOCH),
            engine: plan.engine,
            engine_reason: plan.engine_reason.clone(),
            databases: plan.databases.iter().map(|database| database.database.clone()).collect(),
            tables: content.tables,
            rows: end.rows,
            sequences: content.sequences,
            amounts: end.amounts(),
            seconds: self.repository.clock().monotonic().saturating_sub(self.began).as_secs_f64(),
            phases: self.recorder.phases(),
            jobs: plan.jobs,
            snapshot_seconds_max: content.held_max.as_secs_f64(),
            xmin_age_max: content.xmin_age_max,
            verified_listed: true,
            warnings,
        }
    }
}

/// How many tables an object of an earlier point holds.
fn tables_in(object: &ObjectLine) -> usize {
    match object.kind.as_str() {
        kind::TABLE => 1,
        kind::DUMP => StreamFacts::deserialize(&object.details).map_or(0, |facts| facts.tables.len()),
        _ => 0,
    }
}

/// Refuses to commit a point that holds less than it must.
fn check_content(least: &MinContent, content: &Content, writer: &PointWriter) -> Result<()> {
    let totals = writer.totals();
    let counts = [
        ("tables", content.tables, least.tables),
        ("rows", totals.rows, least.rows),
        ("bytes", totals.bytes, least.bytes),
    ];
    match counts.iter().find(|(_, found, wanted)| found < wanted) {
        None => Ok(()),
        Some((what, found, wanted)) => {
            Err(Error::failed(format!("checking the content: {found} {what}, and at least {wanted} were expected"))
                .hint("nothing was committed; is this the right database, and the right user?"))
        }
    }
}
