//! `davit report drill|month|check`

use crate::cli::args::{OutputForm, ReportCheckArgs, ReportCommand, ReportDrillArgs, ReportMonthArgs};
use crate::cli::drill::state;
use crate::cli::exit::Exit;
use crate::cli::output::{self, Document, Ended};
use crate::cli::shell::Shell;
use crate::drill::{self, FileSeen, Still};
use crate::error::{Context, Error, Kind, Result};
use crate::journal::Progress;
use crate::report::month::{self, Month, Proof, Source};
use crate::report::render::{self, Form};
use crate::report::{DrillReport, MonthReport};
use crate::repository::{Depth, PointSummary, Repository};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Reports.
pub(super) async fn run(command: &ReportCommand, shell: &Shell) -> Result<Ended> {
    match command {
        ReportCommand::Drill(args) => of_drill(args, shell).await,
        ReportCommand::Month(args) => of_month(args, shell).await,
        ReportCommand::Check(args) => check(args, shell).await,
    }
}

async fn of_drill(args: &ReportDrillArgs, shell: &Shell) -> Result<Ended> {
    let run = args.run.parse()?;
    let repository = shell.repository(None).await?;
    let report = drill::rebuild(&repository, &run).await?;
    shown(&render::drill(&report, form(args.format.into(), shell))?)
}

async fn of_month(args: &ReportMonthArgs, shell: &Shell) -> Result<Ended> {
    let month: Month = args.month.parse()?;
    if month.span().0 > shell.clock.now() {
        return Err(Error::input(format!("reporting {month}: that month has not begun")));
    }
    let repository = shell.repository(None).await?;
    let report = gather(month, &repository, shell).await?;
    if let Some(directory) = &args.report {
        let forms = Form::ALL.into_iter().map(|form| Ok((form, render::month(&report, form)?)));
        let forms = forms.collect::<Result<Vec<_>>>()?;
        write_files(&repository, directory, &format!("month-{month}"), &format!("month {month}"), &forms)?;
    }
    shown(&render::month(&report, form(args.format.into(), shell))?)
}

/// `--output json` asks for the canonical form, as of every command.
fn form(asked: Form, shell: &Shell) -> Form {
    if shell.form == OutputForm::Json { Form::Json } else { asked }
}

fn shown(text: &str) -> Result<Ended> {
    output::print(text)?;
    Ok(Ended::silently(Exit::Done))
}

/// What the repository knows of drills and of recovery points.
async fn gather(month: Month, repository: &Repository, shell: &Shell) -> Result<MonthReport> {
    let mut drills: Vec<DrillReport> = repository.reports().await?;
    let without = drill::without_report(repository, &drills).await?;
    drills.extend(without);
    let mut sources: BTreeMap<String, Source> = BTreeMap::new();
    // A source that is set and has no recovery point is what somebody must see.
    for name in shell.settings.sources.keys() {
        sources.entry(name.to_string()).or_default();
    }
    for point in repository.points(None).await? {
        let source = sources.entry(point.source.to_string()).or_default();
        source.points.push((point.snapshot_time, point.end.bytes));
        newer(&mut source.restored, &point, Depth::Restored);
        newer(&mut source.stored, &point, Depth::Stored);
    }
    let sources: Vec<Source> = sources.into_iter().map(|(name, source)| Source { name, ..source }).collect();
    Ok(month::of(month, shell.clock.now(), &drills, &sources))
}

/// Keeps the newest verification at least this deep.
fn newer(kept: &mut Option<Proof>, point: &PointSummary, depth: Depth) {
    for verified in point.verified.iter().filter(|verified| verified.depth >= depth) {
        if kept.as_ref().is_none_or(|kept| kept.when < verified.when) {
            *kept = Some(Proof { point: point.point().to_string(), when: verified.when, ok: verified.ok });
        }
    }
}

/// Writes a report in some forms, each with its signature beside it.
pub(super) fn write_files(
    repository: &Repository,
    directory: &Path,
    name: &str,
    what: &str,
    forms: &[(Form, String)],
) -> Result<Vec<PathBuf>> {
    let doing = || format!("writing the report into {}", directory.display());
    std::fs::create_dir_all(directory).context(Kind::Failed, doing)?;
    let mut written = Vec::new();
    for (form, text) in forms {
        let path = directory.join(format!("{name}.{}", form.extension()));
        std::fs::write(&path, text).context(Kind::Failed, doing)?;
        let signature = repository.sign_file(text.as_bytes(), what)?;
        std::fs::write(signature_of(&path), signature).context(Kind::Failed, doing)?;
        written.push(path);
    }
    Ok(written)
}

fn signature_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    PathBuf::from(name)
}

async fn check(args: &ReportCheckArgs, shell: &Shell) -> Result<Ended> {
    let read = |path: &Path| std::fs::read(path).context(Kind::Input, || format!("reading {}", path.display()));
    let (bytes, path) = (read(&args.file)?, signature_of(&args.file));
    let signature =
        read(&path).map_err(|error| error.hint("a report's signature lies beside it, with .minisig at its end"))?;
    let signature = String::from_utf8(signature)
        .map_err(|_| Error::check(format!("reading {}: it is no signature", path.display())))?;
    let repository = shell.repository(None).await?;
    let what = repository.check_file(&bytes, &signature);
    let what = what.map_err(|error| error.during(format!("checking {}", args.file.display())))?;
    let files = raw_files(&bytes, &what, &repository, shell).await?;
    let changed: Vec<&str> =
        files.iter().flatten().filter(|file| file.is == Still::Changed).map(|file| file.name.as_str()).collect();
    if !changed.is_empty() {
        let file = args.file.display();
        return Err(Error::check(format!(
            "checking {file}: it is as it was signed, but not what it was made from: {} changed since",
            changed.join(", ")
        ))
        .hint("the repository keeps the lines of the journal: davit report drill RUN makes the report from them"));
    }
    Ended::with(&Checked { ok: true, file: args.file.display().to_string(), what, files })
}

/// What became of the files that a drill's report names; nothing for another report, and where this machine has none of them.
async fn raw_files(bytes: &[u8], what: &str, repository: &Repository, shell: &Shell) -> Result<Option<Vec<FileSeen>>> {
    let Some(Ok(run)) = what.strip_prefix("drill ").map(str::parse) else { return Ok(None) };
    let own = std::str::from_utf8(bytes).ok().and_then(|text| DrillReport::parse(text).ok());
    let report = match own {
        Some(report) => Some(report),
        // Every other form is made from the same journal.
        None => match drill::rebuild(repository, &run).await {
            Ok(report) => Some(report),
            // Files that nobody compares are no files that are unchanged.
            Err(error) => {
                shell.story.warn(
                    format!("what the report was made from was not compared: {error}"),
                    error.hint_text().map(str::to_owned),
                );
                None
            }
        },
    };
    report.map_or(Ok(None), |report| drill::files_of(&report, &state(shell)))
}

#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    file: String,
    what: String,
    /// What the report was made from, where this machine has it.
    files: Option<Vec<FileSeen>>,
}

impl Document for Checked {
    fn text(&self) -> String {
        let mut text = format!("{}: signed as the report of {}, and unchanged since\n", self.file, self.what);
        for FileSeen { name, is } in self.files.iter().flatten() {
            text.push_str(match is {
                Still::Missing => "  not here any more: ",
                Still::Unchanged | Still::Changed => "  as the report says: ",
            });
            text.push_str(name);
            text.push('\n');
        }
        text
    }
}
