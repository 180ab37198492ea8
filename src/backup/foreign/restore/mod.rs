//! Restores one foreign dump: look, plan, play into a database beside, swap it in.

mod fill;

use super::archive::{self, ToolPlaces};
use super::codec::{Codec, Content};
use super::globals::{self, Global, Made};
use super::player::{PlayReport, Prelude, Script};
use super::source::Source;
use crate::backup::facts::StreamedTable;
use crate::backup::restore::Adjust;
use crate::backup::target::{self, Leftover, Mode, Shape, Standing, Swapped, Target};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::journal::{Phase, Recorder, SharedProgress};
use crate::postgres::script::{DumpKind, Limits};
use crate::postgres::tools::Tools;
use crate::postgres::{ConnInfo, Session};
use fill::Stream;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// What is asked of a restore.
#[derive(Debug, Clone)]
pub struct Request {
    /// The target database.
    pub into: ConnInfo,
    /// What may stand there.
    pub mode: Mode,
    /// The database wanted from a cluster dump.
    pub database: Option<String>,
    /// Make the roles and tablespaces of a cluster dump that are missing.
    pub with_globals: bool,
    /// Take an archive, or a script without the comments of `pg_dump`, on the user's word.
    pub trust: bool,
    /// What to change in the dump's statements.
    pub adjust: Adjust,
    /// How much of a script may have to be held.
    pub limits: Limits,
    /// Where `pg_restore` is looked for, should it be needed.
    pub tools: ToolPlaces,
    /// Keep the database that is replaced, under another name.
    pub keep_replaced: bool,
}

/// What will be done.
#[derive(Debug)]
pub struct Plan {
    /// The dump.
    pub source: Source,
    /// How it is compressed.
    pub codec: Codec,
    /// What is inside.
    pub content: Content,
    /// What wrote it, if it says.
    pub kind: Option<DumpKind>,
    request: Request,
    target: Target,
    tools: Option<Tools>,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The dump.
    pub source: String,
    /// The database it is in now.
    pub database: String,
    /// Tables and their rows; the server counted as many as were sent.
    pub tables: Vec<StreamedTable>,
    /// Rows of all tables.
    pub rows: u64,
    /// Statements run.
    pub statements: u64,
    /// Roles that were made.
    pub roles_made: Vec<String>,
    /// The database that gave way, if it is still there: its name now.
    pub replaced_kept_as: Option<String>,
    /// What the reader should know, in words.
    pub notes: Vec<String>,
    /// How long it took.
    pub seconds: f64,
    /// How long each stage took; stages overlap.
    pub phases: Vec<Phase>,
}

/// Looks at the dump and at the target; changes nothing.
///
/// # Errors
///
/// Input if it is no dump, is empty or needs `--database`; refused if the target or the archive may not be used.
pub async fn plan(source: Source, request: Request) -> Result<Plan> {
    let opened = source.open().await?;
    let (codec, content) = (opened.codec, opened.content);
    let mut tools = None;
    let kind = if matches!(content, Content::Archive { .. }) {
        tools = Some(archive::tools(&opened, source.name(), request.trust, &request.tools)?);
        Some(DumpKind::Database)
    } else {
        let mut script = Script::read(opened.reader, request.limits, source.name());
        script.kind(request.database.is_some()).await?
    };
    if request.with_globals && kind != Some(DumpKind::Cluster) {
        return Err(Error::input(format!("{} holds no roles: it is not from pg_dumpall", source.name()))
            .hint("leave out --with-globals"));
    }
    let target = Target::plan(&request.into, request.mode.clone()).await?;
    Ok(Plan { source, codec, content, kind, request, target, tools })
}

impl Plan {
    /// The target's name.
    pub fn database(&self) -> &str {
        self.target.name()
    }

    /// What stands there now.
    pub fn standing(&self) -> Option<&Standing> {
        self.target.standing()
    }
}

/// Restores as planned. On any error the target is what it was, and nothing is left beside it.
pub async fn run(
    plan: Plan,
    clock: &SharedClock,
    progress: &SharedProgress,
    cancel: &CancellationToken,
) -> Result<Report> {
    let began = clock.monotonic();
    let recorder = Recorder::new(clock.clone(), progress.clone());
    let progress: &SharedProgress = &(recorder.clone() as SharedProgress);
    let mut stream = Stream::open(&plan, progress).await?;
    let prelude = stream.prelude(&plan.request, cancel).await?;
    let server = target::server_session(&plan.request.into).await?;
    let made = make_globals(&server, &prelude, &plan.request).await?;
    let restored = Box::pin(fill_and_swap(plan, stream, prelude, progress, cancel)).await;
    let (mut report, swapped) = match restored {
        Ok(restored) => restored,
        Err(error) => return Err(globals::undo_after(&server, made, error).await),
    };
    server.close().await;
    report.roles_made = made.roles;
    report.replaced_kept_as = swapped.kept;
    report.notes.extend(swapped.not_dropped.map(|why| format!("the replaced database could not be dropped: {why}")));
    report.seconds = clock.monotonic().saturating_sub(began).as_secs_f64();
    report.phases = recorder.phases();
    Ok(report)
}

async fn make_globals(server: &Session, prelude: &Prelude, request: &Request) -> Result<Made> {
    if !request.with_globals {
        return Ok(Made::default());
    }
    let text = |statement: &crate::postgres::script::Statement| Global {
        line: statement.line,
        text: String::from_utf8_lossy(&statement.text).into_owned(),
    };
    let globals: Vec<Global> = prelude.globals.iter().map(text).collect();
    globals::make(server, &globals, !request.adjust.no_tablespaces).await
}

/// The steps between which the target may be given up; each of them cleans up after itself.
async fn fill_and_swap(
    plan: Plan,
    stream: Stream,
    prelude: Prelude,
    progress: &SharedProgress,
    cancel: &CancellationToken,
) -> Result<(Report, Swapped)> {
    let Plan { source, request, target, .. } = plan;
    let shape = shape_of(&prelude, target.standing(), &request.adjust);
    // A dump that does not say how its database was goes into one like that which stands there.
    let mut finishing = match target.standing() {
        Some(standing) if prelude.shape.is_none() => standing.finishing.clone(),
        _ => Vec::new(),
    };
    let beside = target.begin(&shape).await?;
    let played = match fill::fill(&beside, stream, prelude, &request, progress, cancel).await {
        Ok(played) => played,
        Err(error) => return Err(beside.abandon_after(error).await),
    };
    finishing.extend(played.finishing.iter().cloned());
    let report = report(&source, beside.target(), played, beside.removed_leftovers());
    let swapped = beside.swap_in(&finishing, request.keep_replaced).await?;
    Ok((report, swapped))
}

fn shape_of(prelude: &Prelude, standing: Option<&Standing>, adjust: &Adjust) -> Shape {
    let mut shape = match (&prelude.shape, standing) {
        (Some(shape), _) => shape.clone(),
        // What stands there has its owner and tablespace on this server.
        (None, Some(standing)) => return standing.shape.clone(),
        (None, None) => Shape::default(),
    };
    shape.owner = shape.owner.filter(|_| !adjust.no_owner);
    shape.owner = shape.owner.map(|owner| adjust.role_map.get(&owner).cloned().unwrap_or(owner));
    shape.tablespace = shape.tablespace.filter(|_| !adjust.no_tablespaces);
    shape
}

fn report(source: &Source, database: &str, played: PlayReport, leftovers: &[Leftover]) -> Report {
    let mut notes = played.notes;
    notes.extend(leftovers.iter().map(|left| format!("dropped {}, which an earlier restore had left", left.name)));
    Report {
        source: source.url.clone(),
        database: database.to_owned(),
        rows: played.rows,
        tables: played.tables,
        statements: played.statements,
        roles_made: Vec::new(),
        replaced_kept_as: None,
        notes,
        seconds: 0.0,
        phases: Vec::new(),
    }
}
