//! `davit restore POINT|DUMP --into URL`: plans, prints the plan, and restores.

use crate::backup::restore::{
    self, Adjust, Existing, Means, Part, PlanSummary, PlannedTable, Proof, RestoreReport, Wanted,
};
use crate::cli::args::{ProofArg, RestoreArgs};
use crate::cli::exit::Exit;
use crate::cli::foreign;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::shell::Shell;
use crate::cli::table::table;
use crate::error::Result;
use crate::humane::{bytes, count, counted, seconds};
use crate::journal::Progress;
use crate::repository::{Damage, PointSpec, Repository};
use serde::Serialize;
use std::path::Path;

/// Restores a point or a dump.
pub(super) async fn run(args: &RestoreArgs, shell: &Shell) -> Result<Ended> {
    if is_dump(&args.from) {
        return foreign::restore(args, shell).await;
    }
    let spec: PointSpec = args.from.parse()?;
    let into = shell.connection(&args.into)?;
    let wanted = wanted(args)?;
    let repository = shell.repository(args.expect_seq).await?;
    let means = means(repository, shell);
    let plan = restore::plan(&means, &spec, &into, wanted).await?;
    let summary = plan.summary();
    for warning in &summary.warnings {
        shell.story.warn(warning.clone(), None);
    }
    if args.dry_run {
        return Ended::with(&Planned { dry_run: true, plan: summary });
    }
    shell.story.note(headline(&summary));
    let report = restore::run(&means, plan).await?;
    Ended::with(&Restored(report))
}

/// What verbs that read points work with.
pub(super) fn means(repository: Repository, shell: &Shell) -> Means {
    let settings = &shell.settings;
    Means {
        repository,
        tool_dirs: settings.client_tools.value.clone(),
        path: settings.environment.search_path(),
        jobs: settings.jobs.value as usize,
        progress: shell.progress(),
        cancel: shell.stop.gently.clone(),
    }
}

/// Whether the user named a dump and not a point: points have no slash in their names, and dumps a file's.
fn is_dump(from: &str) -> bool {
    const ENDINGS: [&str; 7] = [".sql", ".gz", ".zst", ".dump", ".pgdump", ".backup", ".tar"];
    from.contains('/') || ENDINGS.iter().any(|ending| from.ends_with(ending)) || Path::new(from).is_file()
}

/// What to change in the definitions.
pub(super) fn adjust(args: &RestoreArgs) -> Result<Adjust> {
    let mut adjust = Adjust {
        no_owner: args.no_owner,
        no_privileges: args.no_privileges,
        no_tablespaces: args.no_tablespaces,
        ..Adjust::default()
    };
    for pair in &args.role_map {
        adjust.map_role(pair)?;
    }
    Ok(adjust)
}

fn wanted(args: &RestoreArgs) -> Result<Wanted> {
    Ok(Wanted {
        database: args.database.clone(),
        tables: args.table.clone(),
        part: match (args.schema_only, args.data_only) {
            (true, _) => Part::Definitions,
            (_, true) => Part::Rows,
            _ => Part::Whole,
        },
        adjust: adjust(args)?,
        existing: match &args.replace {
            Some(name) => Existing::Replace(name.clone()),
            None if args.create => Existing::Create,
            None => Existing::Fill,
        },
        proof: match args.proof {
            ProofArg::Sent => Proof::Sent,
            ProofArg::ReadBack => Proof::ReadBack,
        },
        with_globals: args.with_globals,
        allow_damage: args.allow_damage,
    })
}

fn headline(plan: &PlanSummary) -> String {
    let (tables, rows) = (counted(plan.tables, "table"), counted(plan.rows, "row"));
    format!("{} from point {} of {}: {tables}, {rows}, {}", plan.how, plan.point, plan.source, bytes(plan.bytes))
}

#[derive(Debug, Serialize)]
struct Planned {
    dry_run: bool,
    #[serde(flatten)]
    plan: PlanSummary,
}

impl Document for Planned {
    fn text(&self) -> String {
        let mut page = Page::default();
        page.line(headline(&self.plan));
        for (number, step) in self.plan.steps.iter().enumerate() {
            page.line(format!("{:>3}. {step}", number + 1));
        }
        if !self.plan.table_rows.is_empty() {
            let row = |table: &PlannedTable| {
                [table.table.clone(), count(table.rows), table.bytes.map_or_else(|| "?".to_owned(), bytes)]
            };
            page.line("");
            page.block(table(["table", ">rows", ">size"], self.plan.table_rows.iter().map(row)));
        }
        for damage in &self.plan.lost {
            page.line(format!("lost: {}", damaged(damage)));
        }
        page.line("nothing was changed");
        page.text()
    }
}

/// `public.orders, rows 3 to 17: its object is missing (chunks/ab/…)`, counted from 1 as people count.
pub(super) fn damaged(damage: &Damage) -> String {
    let object = damage.table.as_deref().unwrap_or(&damage.object);
    let rows = match damage.rows {
        Some((first, end)) if first < end => format!(", rows {} to {}", count(first + 1), count(end)),
        Some(_) => ", part of one row".to_owned(),
        None => String::new(),
    };
    format!("{object}{rows}: {} ({})", damage.what, damage.chunk)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Restored(RestoreReport);

impl Document for Restored {
    fn text(&self) -> String {
        let report = &self.0;
        let mut page = Page::default();
        page.line(format!("restored point {} of {} into {}", report.point, report.source, report.into));
        let (tables, rows) = (counted(report.tables, "table"), counted(report.rows, "row"));
        page.line(format!("  {tables}, {rows} in {}", seconds(report.seconds)));
        page.line(match report.verified {
            Proof::Sent => "  proof sent: every chunk's sum is right, and the server counted every row",
            Proof::ReadBack => "  proof read back: every table's rows were read back and are those of the backup",
        });
        if let Some(kept) = &report.kept {
            page.line(format!("  the database that was there is kept as {kept}; drop it when you are sure"));
            page.line("  the next backup of it wants --rebind, once: it is another database than the one of the backups so far");
        }
        for damage in &report.lost {
            page.line(format!("  LOST  {}", damaged(damage)));
        }
        for name in &report.weakened {
            page.line(format!("  foreign key {name} holds for new rows only"));
        }
        for note in &report.notes {
            page.line(format!("  note: {note}"));
        }
        page.text()
    }

    fn exit(&self) -> Exit {
        self.0.kind().map_or(Exit::Done, Exit::Not)
    }
}
