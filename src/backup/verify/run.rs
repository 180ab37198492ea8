//! The verification of one point or of all.

use super::elsewhere::{self, Nobody, Prove};
use super::report::{Verdict, Verification, VerifyReport};
use super::request::{Request, Which};
use super::{checks, evidence, objects, restored};
use crate::backup::restore::{Means, stopped};
use crate::error::{Error, Kind, Result};
use crate::humane::counted;
use crate::id::RunId;
use crate::journal::Recorder;
use crate::repository::manifest::PointKind;
use crate::repository::{Check, Depth, PointSummary, Refusal};
use std::collections::BTreeSet;

/// Verifies what is asked, and records the evidence beside each point.
///
/// # Errors
///
/// Only what kept it from looking. What it found wrong, or could not decide, is in the report.
pub async fn run(means: &Means, request: &Request) -> Result<Verification> {
    run_with(means, request, None::<&Nobody>).await
}

/// The same, where something is at hand that restores points of namespaces.
pub async fn run_with(means: &Means, request: &Request, prover: Option<&impl Prove>) -> Result<Verification> {
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
            // In this order: a listing mends the catalogue whose damage is to be told.
            damage_beside_points(means, &mut verification).await?;
            let (points, refused) = means.repository.points_and_refusals().await?;
            tell(&mut verification, refused);
            points
        }
    };
    if points.is_empty() && verification.damage.is_empty() {
        if let Some(refusal) = verification.refused.first() {
            return Err(refusal.error());
        }
        // Where nothing was looked at, nothing is known to be well.
        let place = means.repository.store().describe();
        return Err(Error::undecided(format!("verifying all points of {place}: there is none to look at")).hint(
            "is it the right repository? davit config show says where its place is from; davit backup makes a point",
        ));
    }
    let listing = means.repository.listing_of_chunks().await?;
    for point in &points {
        stopped(&means.cancel)?;
        let report = Box::pin(one(means, (request, prover), point, &listing)).await?;
        verification.points.push(report);
    }
    verification.decide();
    verification.seconds = clock.monotonic().saturating_sub(start).as_secs_f64();
    Ok(verification)
}

/// What is not among the points that are looked at one by one: a damaged manifest is damage, whatever else is refused.
fn tell(verification: &mut Verification, refused: Vec<Refusal>) {
    let told: BTreeSet<_> = verification.refused.iter().map(|refusal| refusal.source.clone()).collect();
    for refusal in refused {
        match refusal.damage() {
            Some(damage) if verification.damage.iter().any(|known| known.chunk == damage.chunk) => {}
            Some(damage) => verification.damage.push(damage),
            None if told.contains(&refusal.source) => {}
            None => verification.refused.push(refusal),
        }
    }
}

/// Looks at the chunks of one point, and records nothing: what is to be restored is read first.
pub async fn look(means: &Means, point: &PointSummary, depth: Depth) -> Result<VerifyReport> {
    let mut report = blank(point, depth);
    let listing = means.repository.listing_of_chunks().await?;
    objects::look(means, point, depth, None, &listing, &mut report).await?;
    report.decide();
    Ok(report)
}

/// Chains, holds and journals: what is wrong with a repository although each point may be whole.
async fn damage_beside_points(means: &Means, verification: &mut Verification) -> Result<()> {
    for source in means.repository.sources().await?.into_iter().collect::<BTreeSet<_>>() {
        match means.repository.check_chain(&source).await {
            Ok(chain) => verification.damage.extend(chain.damage),
            // What is there of it is not what was seen before; that says nothing of the others.
            Err(error) if error.kind() == Kind::Refused => verification.refused.push(Refusal::of(source, &error)),
            Err(error) => return Err(error),
        }
    }
    verification.damage.extend(means.repository.damaged_events().await?);
    Ok(())
}

async fn one(
    means: &Means,
    (request, prover): (&Request, Option<&impl Prove>),
    point: &PointSummary,
    listing: &crate::repository::index::ChunkListing,
) -> Result<VerifyReport> {
    let clock = means.repository.clock().clone();
    let (start, run) = (clock.monotonic(), RunId::at(clock.now()));
    let recorder = Recorder::new(clock.clone(), means.progress.clone());
    let means = Means { progress: recorder.clone(), ..means.clone() };
    let mut report = VerifyReport { sample: request.sample, ..blank(point, request.depth) };
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
    if request.depth == Depth::Restored {
        restore(&means, (request, prover), point, &mut report).await?;
    }
    report.decide();
    report.seconds = clock.monotonic().saturating_sub(start).as_secs_f64();
    report.phases = recorder.phases();
    evidence::record(&means, point, &run, &mut report).await;
    Ok(report)
}

async fn restore(
    means: &Means,
    (request, prover): (&Request, Option<&impl Prove>),
    point: &PointSummary,
    report: &mut VerifyReport,
) -> Result<()> {
    if point.kind != PointKind::Database {
        elsewhere::prove(prover, point, report).await?;
        // What nobody could be asked about any more is no finding, and leaves no evidence.
        return stopped(&means.cancel);
    }
    if !report.damage.is_empty() {
        return Ok(());
    }
    match Box::pin(restored::prove(means, request, point, report)).await {
        Ok(()) => {}
        // What this machine lacks is no verdict on the backup.
        Err(error) if error.kind() == Kind::Undecided => report.checks.push(undecided(&error)),
        Err(error) if error.kind() == Kind::CheckFailed => report.checks.push(failed(&error)),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn blank(point: &PointSummary, depth: Depth) -> VerifyReport {
    VerifyReport {
        point: point.point().clone(),
        source: point.source.clone(),
        kind: point.kind,
        depth,
        ok: false,
        verdict: Verdict::Undecided,
        damage: Vec::new(),
        checks: Vec::new(),
        notes: Vec::new(),
        fell_short: false,
        chunks: 0,
        bytes: 0,
        sample: None,
        tables: 0,
        rows: 0,
        seconds: 0.0,
        phases: Vec::new(),
        evidence: None,
    }
}

pub(super) fn undecided(error: &Error) -> Check {
    let hint = error.hint_text().map_or(String::new(), |hint| format!(" (hint: {hint})"));
    Check { name: "restore".to_owned(), ok: None, detail: format!("{error}{hint}") }
}

pub(super) fn failed(error: &Error) -> Check {
    Check { name: "restore".to_owned(), ok: Some(false), detail: error.to_string() }
}
