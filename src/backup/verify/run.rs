//! The verification of one point or of all.

use super::report::{Verdict, Verification, VerifyReport};
use super::request::{Request, Which};
use super::{checks, evidence, objects, restored};
use crate::backup::restore::{Means, stopped};
use crate::error::{Error, Kind, Result};
use crate::humane::counted;
use crate::id::RunId;
use crate::journal::Recorder;
use crate::repository::manifest::PointKind;
use crate::repository::{Check, Depth, PointSummary};
use std::collections::BTreeSet;

/// Verifies what is asked, and records the evidence beside each point.
///
/// # Errors
///
/// Only what kept it from looking. What it found wrong, or could not decide, is in the report.
pub async fn run(means: &Means, request: &Request) -> Result<Verification> {
    request.must_be_consistent()?;
    for check in request.all_checks() {
        // A check that cannot be read is bad input, and told before anything is restored.
        checks::statements(check)?;
    }
    let clock = means.repository.clock().clone();
    let start = clock.monotonic();
    let mut verification = Verification::default();
    let points = match &request.which {
        Which::Point(spec) => vec![means.repository.resolve(spec).await?],
        Which::All => {
            verification.damage = damage_beside_points(means).await?;
            means.repository.points(None).await?
        }
    };
    if points.is_empty() && verification.damage.is_empty() {
        // Where nothing was looked at, nothing is known to be well.
        let place = means.repository.store().describe();
        return Err(Error::undecided(format!("verifying all points of {place}: there is none to look at")).hint(
            "is it the right repository? davit config show says where its place is from; davit backup makes a point",
        ));
    }
    let listing = means.repository.listing_of_chunks().await?;
    for point in &points {
        stopped(&means.cancel)?;
        let report = Box::pin(one(means, request, point, &listing)).await?;
        verification.points.push(report);
    }
    verification.seconds = clock.monotonic().saturating_sub(start).as_secs_f64();
    Ok(verification)
}

/// Chains and holds: what is wrong with a repository although each point may be whole.
async fn damage_beside_points(means: &Means) -> Result<Vec<crate::repository::Damage>> {
    let sources: BTreeSet<_> = means.repository.sources().await?.into_iter().collect();
    let mut damage = Vec::new();
    for source in sources {
        damage.extend(means.repository.check_chain(&source).await?.damage);
    }
    Ok(damage)
}

async fn one(
    means: &Means,
    request: &Request,
    point: &PointSummary,
    listing: &crate::repository::index::ChunkListing,
) -> Result<VerifyReport> {
    let clock = means.repository.clock().clone();
    let (start, run) = (clock.monotonic(), RunId::at(clock.now()));
    let recorder = Recorder::new(clock.clone(), means.progress.clone());
    let means = Means { progress: recorder.clone(), ..means.clone() };
    let mut report = blank(point, request);
    let depth = match (request.depth, point.kind) {
        // Restoring reads every chunk and checks more than its bytes.
        (Depth::Restored, PointKind::Database) => Depth::Listed,
        (depth, _) => depth,
    };
    objects::look(&means, point, depth, request.sample, listing, &mut report).await?;
    if point.missing() > 0 {
        report.checks.push(Check {
            name: "complete".to_owned(),
            ok: Some(false),
            detail: format!("{} that should be in it and are not", counted(u64::from(point.missing()), "thing")),
        });
    }
    let is_database = point.kind == PointKind::Database;
    if request.depth == Depth::Restored && !is_database {
        report.checks.push(Check {
            name: "restore".to_owned(),
            ok: None,
            detail: "it is no database: only its objects' SHA-256 were compared here".to_owned(),
        });
    } else if request.depth == Depth::Restored && report.damage.is_empty() {
        match Box::pin(restored::prove(&means, request, point, &mut report)).await {
            Ok(()) => {}
            // What this machine lacks is no verdict on the backup.
            Err(error) if error.kind() == Kind::Undecided => report.checks.push(undecided(&error)),
            Err(error) if error.kind() == Kind::CheckFailed => report.checks.push(failed(&error)),
            Err(error) => return Err(error),
        }
    }
    report.decide();
    report.seconds = clock.monotonic().saturating_sub(start).as_secs_f64();
    report.phases = recorder.phases();
    evidence::record(&means, point, &run, &mut report).await;
    Ok(report)
}

fn blank(point: &PointSummary, request: &Request) -> VerifyReport {
    VerifyReport {
        point: point.point().clone(),
        source: point.source.clone(),
        depth: request.depth,
        ok: false,
        verdict: Verdict::Undecided,
        damage: Vec::new(),
        checks: Vec::new(),
        chunks: 0,
        bytes: 0,
        sample: request.sample,
        tables: 0,
        rows: 0,
        seconds: 0.0,
        phases: Vec::new(),
        evidence: None,
    }
}

fn undecided(error: &Error) -> Check {
    let hint = error.hint_text().map_or(String::new(), |hint| format!(" (hint: {hint})"));
    Check { name: "restore".to_owned(), ok: None, detail: format!("{error}{hint}") }
}

fn failed(error: &Error) -> Check {
    Check { name: "restore".to_owned(), ok: Some(false), detail: error.to_string() }
}
