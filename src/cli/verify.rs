//! `davit verify POINT|--all`: proves that points are whole and can be restored.

use crate::backup::verify::{self, Request, SqlCheck, Verdict, Verification, VerifyReport, Which, sample};
use crate::cli::args::{DepthArg, VerifyArgs};
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::restore::{damaged, means};
use crate::cli::shell::Shell;
use crate::cli::snapshot::connect::cluster;
use crate::cli::snapshot::prover::Prover;
use crate::error::{Context, Kind, Result};
use crate::humane::{bytes, counted, seconds};
use crate::id::SourceName;
use crate::repository::manifest::PointKind;
use crate::repository::{Damage, Depth, PointSpec, Repository};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Damage is listed up to here; the rest is a number (JSON has all of it).
const DAMAGE_SHOWN: usize = 20;

/// Verifies one point or all.
pub(super) async fn run(args: &VerifyArgs, shell: &Shell) -> Result<Ended> {
    let spec: Option<PointSpec> = args.point.as_deref().map(str::parse).transpose()?;
    let depth = match args.depth {
        DepthArg::Listed => Depth::Listed,
        DepthArg::Stored => Depth::Stored,
        DepthArg::Restored => Depth::Restored,
    };
    let which = spec.clone().map_or(Which::All, Which::Point);
    let mut request = Request::new(which, depth);
    request.sample = args.sample.as_deref().map(sample).transpose()?;
    request.into = args.into.as_ref().map(|url| shell.connection(url)).transpose()?;
    request.scratch_dir.clone_from(&shell.settings.scratch.value);
    for file in &args.check {
        request.checks.push(read_check(file)?);
    }
    let repository = shell.repository(None).await?;
    if depth == Depth::Restored {
        request.own_checks = own_checks(spec.as_ref(), &repository, shell).await?;
    }
    if args.cluster.kubeconfig.is_some() || args.cluster.context.is_some() {
        // Whoever names a cluster means it: one that cannot be meant is no reason to look less deeply.
        drop(cluster(&args.cluster, shell)?);
    }
    let prover = Prover::new(&args.cluster, repository.clone(), shell);
    let verification = verify::run_with(&means(repository, shell), &request, Some(&prover)).await?;
    match spec {
        Some(_) => ended(verification),
        None => Ended::with(&All { ok: verification.ok(), verification }),
    }
}

/// The end of a command that verified one point.
pub(super) fn ended(verification: Verification) -> Result<Ended> {
    match verification {
        Verification { mut points, .. } if points.len() == 1 => Ended::with(&One(points.remove(0))),
        verification => Ended::with(&All { ok: verification.ok(), verification }),
    }
}

/// The checks that the settings name: those of the point's source, or of every source.
async fn own_checks(
    spec: Option<&PointSpec>,
    repository: &Repository,
    shell: &Shell,
) -> Result<BTreeMap<SourceName, Vec<SqlCheck>>> {
    let with_checks = || shell.settings.sources.values().filter(|source| !source.checks.value.is_empty());
    let only = match spec {
        // Without checks nobody needs to know which source it is.
        Some(spec) if with_checks().next().is_some() => Some(repository.resolve(spec).await?.source),
        _ => None,
    };
    let wanted = with_checks().filter(|source| only.as_ref().is_none_or(|only| *only == source.name));
    wanted
        .map(|source| Ok((source.name.clone(), source.checks.value.iter().map(read_check).collect::<Result<_>>()?)))
        .collect()
}

fn read_check(file: &PathBuf) -> Result<SqlCheck> {
    let sql = std::fs::read_to_string(file).context(Kind::Input, || format!("reading the check {}", file.display()))?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(SqlCheck { name, sql })
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct One(VerifyReport);

impl Document for One {
    fn text(&self) -> String {
        let mut page = Page::default();
        report(&mut page, &self.0);
        page.text()
    }

    fn exit(&self) -> Exit {
        exit_of(self.0.verdict)
    }
}

const fn exit_of(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Ok => Exit::Done,
        Verdict::Undecided => Exit::Not(Kind::Undecided),
        Verdict::Failed => Exit::Not(Kind::CheckFailed),
    }
}

#[derive(Debug, Serialize)]
struct All {
    ok: bool,
    #[serde(flatten)]
    verification: Verification,
}

impl Document for All {
    fn text(&self) -> String {
        let mut page = Page::default();
        for point in &self.verification.points {
            report(&mut page, point);
        }
        if !self.verification.damage.is_empty() {
            page.line("beside the points:");
            damage(&mut page, &self.verification.damage);
        }
        for refusal in &self.verification.refused {
            page.line(format!("REFUSED  {}", refusal.message));
            if let Some(hint) = &refusal.hint {
                page.line(format!("  {hint}"));
            }
        }
        let bad = self.verification.points.iter().filter(|point| !point.ok).count();
        let points = counted(self.verification.points.len() as u64, "point");
        let took = seconds(self.verification.seconds);
        page.line(match (bad, self.ok) {
            (0, true) => format!("{points}, all well, in {took}"),
            (0, false) => format!("{points} well, but not all beside them, in {took}"),
            _ => format!("{points}, {bad} of them not well, in {took}"),
        });
        page.text()
    }

    fn exit(&self) -> Exit {
        self.verification.kind().map_or(Exit::Done, Exit::Not)
    }
}

/// One point, in a few lines.
fn report(page: &mut Page, point: &VerifyReport) {
    let depth = match point.depth {
        Depth::Listed => "listed: every object is there with its size",
        Depth::Stored if point.sample.is_some() => {
            "stored, a sample: the SHA-256 of the chunks drawn is right; it counts as listed"
        }
        Depth::Stored => "stored: every object's SHA-256 is right",
        Depth::Restored if point.kind == PointKind::Namespace => {
            "restored: every object was put to a cluster and compared"
        }
        Depth::Restored => "restored: every row was restored, read back and compared",
    };
    let verdict = match point.verdict {
        Verdict::Ok => depth.to_owned(),
        Verdict::Undecided if point.fell_short => {
            "UNDECIDED: every object's SHA-256 is right, but it was not restored".to_owned()
        }
        Verdict::Undecided => {
            format!("UNDECIDED at depth {:?}: not everything could be looked at", point.depth).to_lowercase()
        }
        Verdict::Failed => format!("DAMAGED at depth {}", format!("{:?}", point.depth).to_lowercase()),
    };
    page.line(format!("{} of {}  {verdict}", point.point, point.source));
    let objects = point.checks.iter().find(|check| check.name == "objects");
    let looked = match point.depth {
        Depth::Restored if point.kind == PointKind::Namespace => {
            objects.map_or_else(|| "no object was restored".to_owned(), |check| check.detail.clone())
        }
        Depth::Restored => format!("{}, {}", counted(point.tables, "table"), counted(point.rows, "row")),
        _ => format!("{}, {}", counted(point.chunks, "chunk"), bytes(point.bytes)),
    };
    page.line(format!("  {looked} in {}", seconds(point.seconds)));
    damage(page, &point.damage);
    for check in point.checks.iter().filter(|check| check.ok != Some(true)) {
        let state = if check.ok == Some(false) { "FAILED" } else { "undecided" };
        page.line(format!("  {state}  {}: {}", check.name, check.detail));
    }
    for note in &point.notes {
        page.line(format!("  {note}"));
    }
    let passed = point.checks.iter().filter(|check| check.ok == Some(true)).count() as u64;
    if passed > 0 {
        page.line(format!("  {} passed", counted(passed, "check")));
    }
    if point.evidence.is_none() {
        page.line("  the evidence could not be stored beside the point");
    }
}

fn damage(page: &mut Page, found: &[Damage]) {
    for one in found.iter().take(DAMAGE_SHOWN) {
        page.line(format!("  DAMAGE  {}", damaged(one)));
    }
    if let Some(more) = found.len().checked_sub(DAMAGE_SHOWN).filter(|more| *more > 0) {
        page.line(format!("  and {} more; --output json lists them all", counted(more as u64, "damaged chunk")));
    }
}
