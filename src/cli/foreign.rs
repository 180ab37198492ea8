//! Dumps that another tool left: `davit points --foreign URL` and `davit restore DUMP --into URL`.

use crate::backup::foreign::archive::ToolPlaces;
use crate::backup::foreign::restore::{self, Plan, Report, Request};
use crate::backup::foreign::{ForeignDump, Listing, Source, list};
use crate::backup::target::Mode;
use crate::cli::args::RestoreArgs;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::restore::adjust;
use crate::cli::shell::Shell;
use crate::cli::table::table;
use crate::error::{Error, Result};
use crate::humane::{age, bytes, counted, seconds};
use crate::journal::Phase;
use crate::postgres::script::Limits;
use jiff::Timestamp;
use serde::Serialize;
use std::path::Path;

/// Lists dumps.
pub(super) async fn points(url: &str, shell: &Shell) -> Result<Ended> {
    if !url.contains("://") && !Path::new(url).is_dir() {
        return Err(Error::input(format!("looking for dumps in {url}: no such directory"))
            .hint("name the directory or the s3:// URL that an earlier script wrote its dumps to"));
    }
    let listing = list(url, &shell.store_options(false), shell.clock.clone()).await?;
    Ended::with(&Listed { listing, now: shell.clock.now() })
}

#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    listing: Listing,
    #[serde(skip)]
    now: Timestamp,
}

impl Document for Listed {
    fn text(&self) -> String {
        let mut page = Page::default();
        let row = |dump: &ForeignDump| {
            [
                dump.url.clone(),
                age(dump.time, self.now),
                bytes(dump.bytes),
                dump.database.clone().unwrap_or_else(|| "?".to_owned()),
                dump.suspicious.clone().unwrap_or_default(),
            ]
        };
        if self.listing.dumps.is_empty() {
            page.line(format!("no dumps in {}", self.listing.url));
        } else {
            page.block(table(["dump", ">age", ">size", "database", "looks wrong"], self.listing.dumps.iter().map(row)));
        }
        if self.listing.others > 0 {
            page.line(format!("and {} that no dump is named like", counted(self.listing.others, "object")));
        }
        page.text()
    }
}

/// Refuses what only a point of ours can give.
fn refuse_points_only(args: &RestoreArgs) -> Result<()> {
    let given = [
        ("--table", !args.table.is_empty()),
        ("--schema-only", args.schema_only),
        ("--data-only", args.data_only),
        ("--allow-damage", args.allow_damage),
        ("--expect-seq", args.expect_seq.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => Err(Error::input(format!("restoring {}: {flag} does not apply to a dump", args.from))
            .hint("restore all of it into a new database, and copy what you need from there")),
    }
}

/// Restores a dump.
pub(super) async fn restore(args: &RestoreArgs, shell: &Shell) -> Result<Ended> {
    refuse_points_only(args)?;
    if !args.from.contains("://") && !Path::new(&args.from).exists() {
        return Err(Error::input(format!("looking for the dump {}: no such file", args.from))
            .hint("davit points --foreign DIRECTORY lists what is there"));
    }
    let settings = &shell.settings;
    let request = Request {
        into: shell.connection(&args.into)?,
        mode: match &args.replace {
            Some(named) => Mode::Replace { named: named.clone() },
            None if args.create => Mode::Create,
            None => Mode::Empty,
        },
        database: args.database.clone(),
        with_globals: args.with_globals,
        trust: args.trust,
        adjust: adjust(args)?,
        limits: Limits::default(),
        tools: ToolPlaces {
            directories: settings.client_tools.value.clone(),
            path: settings.environment.search_path(),
        },
        keep_replaced: true,
    };
    let source = Source::find(&args.from, &shell.store_options(false), shell.clock.clone()).await?;
    let plan = restore::plan(source, request).await?;
    if args.dry_run {
        return Ended::with(&Planned::of(&plan));
    }
    let report = restore::run(plan, &shell.clock, &shell.progress(), &shell.stop.gently).await?;
    Ended::with(&Restored::of(report))
}

#[derive(Debug, Serialize)]
struct Planned {
    dry_run: bool,
    dump: String,
    bytes: u64,
    codec: String,
    content: String,
    into: String,
    replaces: Option<String>,
}

impl Planned {
    fn of(plan: &Plan) -> Self {
        let replaced = |standing: &crate::backup::target::Standing| {
            format!(
                "a database of {} with {}",
                bytes(standing.bytes.unsigned_abs()),
                counted(standing.sessions.unsigned_abs(), "session")
            )
        };
        Self {
            dry_run: true,
            dump: plan.source.url.clone(),
            bytes: plan.source.meta.size,
            codec: format!("{:?}", plan.codec).to_lowercase(),
            content: plan.content.to_string(),
            into: plan.database().to_owned(),
            replaces: plan.standing().map(replaced),
        }
    }
}

impl Document for Planned {
    fn text(&self) -> String {
        let mut page = Page::default();
        page.line(format!("{}: {}, {} ({})", self.dump, self.content, bytes(self.bytes), self.codec));
        page.line(format!("would be played into a database beside {}, which then gets that name", self.into));
        if let Some(replaced) = &self.replaces {
            page.line(format!("in place of {replaced}"));
        }
        page.line("nothing was changed");
        page.text()
    }
}

#[derive(Debug, Serialize)]
struct Restored {
    point: Option<String>,
    tables: usize,
    verified: &'static str,
    #[serde(flatten)]
    report: Foreign,
}

/// The report of a dump, with its tables as a list of names and rows.
#[derive(Debug, Serialize)]
struct Foreign {
    source: String,
    database: String,
    table_rows: Vec<TableRows>,
    rows: u64,
    statements: u64,
    roles_made: Vec<String>,
    replaced_kept_as: Option<String>,
    notes: Vec<String>,
    seconds: f64,
    phases: Vec<Phase>,
}

#[derive(Debug, Serialize)]
struct TableRows {
    table: String,
    rows: u64,
}

impl Restored {
    fn of(report: Report) -> Self {
        let tables = report.tables.iter();
        let table_rows =
            tables.map(|table| TableRows { table: format!("{}.{}", table.schema, table.table), rows: table.rows.rows });
        let table_rows: Vec<TableRows> = table_rows.collect();
        Self {
            point: None,
            tables: table_rows.len(),
            verified: "sent",
            report: Foreign {
                source: report.source,
                database: report.database,
                table_rows,
                rows: report.rows,
                statements: report.statements,
                roles_made: report.roles_made,
                replaced_kept_as: report.replaced_kept_as,
                notes: report.notes,
                seconds: report.seconds,
                phases: report.phases,
            },
        }
    }
}

impl Document for Restored {
    fn text(&self) -> String {
        let report = &self.report;
        let mut page = Page::default();
        page.line(format!("restored {} into {}", report.source, report.database));
        page.line(format!(
            "  {}, {}, {} in {}",
            counted(self.tables as u64, "table"),
            counted(report.rows, "row"),
            counted(report.statements, "statement"),
            seconds(report.seconds)
        ));
        page.line("  the server counted as many rows as the dump holds; a dump has nothing else to compare with");
        if !report.roles_made.is_empty() {
            page.line(format!("  made the roles {}", report.roles_made.join(", ")));
        }
        if let Some(kept) = &report.replaced_kept_as {
            page.line(format!("  the database that was there is kept as {kept}"));
        }
        for note in &report.notes {
            page.line(format!("  note: {note}"));
        }
        page.text()
    }
}
