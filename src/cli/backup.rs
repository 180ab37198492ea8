//! `davit backup SOURCE|URL`: plans, prints the plan, and takes the backup.

use crate::backup::facts::Engine;
use crate::backup::take::{self, BackupPlan, BackupReport, Databases, Request, TablePlan};
use crate::cli::args::BackupArgs;
use crate::cli::object_lock;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::run_log::RunLog;
use crate::cli::shell::Shell;
use crate::cli::table::table;
use crate::config::Source;
use crate::config::raw;
use crate::error::Result;
use crate::humane::{bytes, count, counted, seconds, time};
use crate::id::SourceName;
use crate::journal::Progress;
use crate::postgres::ConnInfo;
use crate::repository::Repository;
use crate::retention::policy::Tier;
use crate::secret::{Secret, redact};
use serde::Serialize;

/// Makes one recovery point.
pub(super) async fn run(args: &BackupArgs, shell: &Shell) -> Result<Ended> {
    let mut request = request(args, shell)?;
    let repository = shell.repository_at(request.limit_rate).await?;
    if repository.settings().lock.is_some() {
        let tier: Option<Tier> = args.tier.as_deref().map(str::parse).transpose()?;
        request.lock_until = shell.rules().of(&request.source).first_promise(shell.clock.now(), tier);
    }
    if args.dry_run {
        let plan = plan(request, &repository, shell.progress().as_ref(), shell).await?;
        return Ended::with(&Planned { dry_run: true, plan });
    }
    let mut log = RunLog::new("backup", &request.source, &repository, shell);
    request.run = Some(log.run());
    let outcome = take(request, &repository, &mut log, shell).await;
    log.end(&outcome).await;
    Ended::with(&Taken(outcome?))
}

async fn plan(request: Request, repository: &Repository, progress: &dyn Progress, shell: &Shell) -> Result<BackupPlan> {
    let mut plan = take::plan(request, repository).await?;
    plan.warnings.extend(object_lock::not_made(shell, repository).map(|(what, next)| format!("{what} ({next})")));
    for warning in &plan.warnings {
        progress.warn(warning.clone(), None);
    }
    Ok(plan)
}

async fn take(request: Request, repository: &Repository, log: &mut RunLog, shell: &Shell) -> Result<BackupReport> {
    let progress = log.progress();
    let plan = plan(request, repository, progress.as_ref(), shell).await?;
    progress.note(headline(&plan));
    if repository.encrypted() && repository.can_read_rows() {
        let text = "reader.key is on this machine, too: whoever takes it over reads every backup; keep it elsewhere";
        progress.note(text.to_owned());
    }
    log.begin().await;
    take::run(plan, repository, progress, &shell.stop.gently).await
}

/// What is asked for: a source of the settings with the flags over it, or a URL.
fn request(args: &BackupArgs, shell: &Shell) -> Result<Request> {
    let mut request = match named_source(&args.source) {
        Some(name) => of_source(shell.source(name)?, shell)?,
        None => of_url(&args.source, shell)?,
    };
    if let Some(engine) = args.engine {
        request.engine = engine.into();
    }
    for (flags, patterns) in
        [(&args.exclude_table, &mut request.exclude), (&args.exclude_rows, &mut request.exclude_rows)]
    {
        for flag in flags {
            patterns.push(flag.parse()?);
        }
    }
    request.tier.clone_from(&args.tier);
    request.rebind = args.rebind;
    request.allow_empty = args.allow_empty;
    Ok(request)
}

/// The text, if it is the name of a source and not a URL.
fn named_source(text: &Secret) -> Option<&str> {
    Some(text.reveal()).filter(|text| !text.contains("://") && !text.contains('='))
}

fn of_url(url: &Secret, shell: &Shell) -> Result<Request> {
    if redact(url.reveal()) != url.reveal() {
        shell.story.warn(
            "the password in the URL can be seen by everybody on this machine who lists processes".to_owned(),
            Some("put it into PGPASSFILE, or name the source in davit.yaml".to_owned()),
        );
    }
    let connection = shell.connection(url)?;
    let source = SourceName::from_database(connection.database());
    let settings = &shell.settings;
    let mut request = on_this_machine(Request::new(source, connection), shell);
    request.jobs = Some(settings.jobs.value as usize);
    request.limit_rate = settings.limit_rate.value.map(|rate| rate.0);
    request.lock_budget = settings.lock_budget.value.0;
    request.snapshot_budget = settings.snapshot_budget.value.0;
    request.xmin_age_budget = settings.xmin_age_budget.value;
    Ok(request)
}

/// The backup of a source as the settings describe it.
pub(super) fn of_source(source: &Source, shell: &Shell) -> Result<Request> {
    let connection: ConnInfo = shell.settings.connection_of(source)?;
    let mut request = on_this_machine(Request::new(source.name.clone(), connection), shell);
    request.databases = match &source.databases.value {
        raw::Databases::OfUrl => Databases::Connected,
        raw::Databases::List(names) => Databases::Listed(names.clone()),
        raw::Databases::All => Databases::All,
    };
    request.engine = source.engine.value;
    request.exclude.clone_from(&source.exclude.value.tables);
    request.exclude_rows.clone_from(&source.exclude.value.rows);
    request.include_unlogged = source.unlogged.value;
    request.min_content = source.min_content.value;
    request.jobs = Some(source.jobs.value as usize);
    request.limit_rate = source.limit_rate.value.map(|rate| rate.0);
    request.lock_budget = source.lock_budget.value.0;
    request.snapshot_budget = source.snapshot_budget.value.0;
    request.xmin_age_budget = source.xmin_age_budget.value;
    Ok(request)
}

fn on_this_machine(mut request: Request, shell: &Shell) -> Request {
    request.tool_dirs.clone_from(&shell.settings.client_tools.value);
    request.path = shell.settings.environment.search_path();
    request.holder = shell.settings.environment.holder();
    request.lease_term = shell.settings.lease_term.value.0;
    request
}

fn headline(plan: &BackupPlan) -> String {
    let tables = counted(plan.tables() as u64, "table");
    let engine = match plan.engine {
        Engine::Parallel => format!("{} read at once", counted(plan.jobs as u64, "connection")),
        Engine::Stream => "one pg_dump".to_owned(),
    };
    // A server that has never analyzed its tables does not know; zero would be a lie.
    let size = match plan.bytes_estimate() {
        0 => String::new(),
        size => format!(" of about {}", bytes(size)),
    };
    format!("backing up {} from {}: {tables}{size}, {engine}", plan.source, plan.server)
}

#[derive(Debug, Serialize)]
struct Planned {
    dry_run: bool,
    #[serde(flatten)]
    plan: BackupPlan,
}

impl Document for Planned {
    fn text(&self) -> String {
        let mut page = Page::default();
        page.line(headline(&self.plan));
        if let Some(reason) = &self.plan.engine_reason {
            page.line(format!("  engine: {reason}"));
        }
        for database in &self.plan.databases {
            page.line(format!("\ndatabase {}", database.database));
            let row = |table: &TablePlan| {
                let rows = table.rows_estimate.map_or_else(|| "?".to_owned(), count);
                let read = table.not_read.clone().unwrap_or_else(|| counted(u64::from(table.ranges), "range"));
                [table.table.clone(), rows, bytes(table.bytes_estimate), read]
            };
            page.block(table(["table", ">rows, about", ">size", "read as"], database.tables.iter().map(row)));
            let others = [(database.sequences, "sequence"), (database.large_objects, "large object")];
            for (number, name) in others.into_iter().filter(|(number, _)| *number > 0) {
                page.line(format!("and {}", counted(number as u64, name)));
            }
            for missing in &database.not_included {
                page.line(format!("not included: {missing}"));
            }
        }
        page.line("\nnothing was changed");
        page.text()
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Taken(BackupReport);

impl Document for Taken {
    fn text(&self) -> String {
        let report = &self.0;
        let mut page = Page::default();
        page.line(format!("backed up {} as {}", report.source, report.point));
        page.line(format!(
            "  {}, {}, {} in {}",
            counted(report.tables, "table"),
            counted(report.rows, "row"),
            bytes(report.amounts.bytes_read),
            seconds(report.seconds)
        ));
        page.stored(&report.amounts);
        page.line(format!("  as of {}, sequence number {}", time(report.snapshot_time), report.sequence));
        for warning in &report.warnings {
            page.line(format!("  warning: {warning}"));
        }
        page.line(format!("next: davit verify {}@latest --depth restored", report.source));
        page.text()
    }
}
