//! Writing down what was seen, signed and beside the point.

use super::report::VerifyReport;
use crate::backup::restore::Means;
use crate::id::RunId;
use crate::repository::{Check, Depth, Evidence, PointSummary, layout};

/// Records the evidence of a report. Credentials may allow reading only: then the report says so, and stands.
pub(super) async fn record(means: &Means, point: &PointSummary, run: &RunId, report: &mut VerifyReport) {
    let repository = &means.repository;
    if !repository.can_sign() {
        let hint = "a key that signs records it: the writer key, or a reader key that holds the root key";
        means.progress.warn("no key at hand signs the evidence".to_owned(), Some(hint.to_owned()));
        return;
    }
    let evidence = of(report, point, run, repository.clock().now());
    match repository.record_evidence(point, &evidence).await {
        Ok(()) => report.evidence = Some(layout::evidence(&point.source, point.point(), run).to_string()),
        Err(error) => {
            let hint = error.hint_text().map(str::to_owned);
            means.progress.warn(format!("the evidence was not recorded: {error}"), hint);
        }
    }
}

fn of(report: &VerifyReport, point: &PointSummary, run: &RunId, when: jiff::Timestamp) -> Evidence {
    let mut checks = report.checks.clone();
    let mut depth = report.depth;
    if let Some(share) = report.sample {
        // What holds for all chunks is that they are there; the rest holds for those that were drawn.
        depth = Depth::Listed;
        let detail = format!("the bytes of {} chunks were read, drawn with a share of {share}", report.chunks);
        checks.push(Check { name: "sample".to_owned(), ok: Some(true), detail });
    }
    let noted = |detail: &String| Check { name: "note".to_owned(), ok: None, detail: detail.clone() };
    checks.extend(report.notes.iter().map(noted));
    Evidence {
        run: run.clone(),
        point: point.point().clone(),
        manifest_sha256: point.link.manifest_sha256,
        depth,
        ok: report.ok,
        when,
        seconds: report.seconds,
        chunks: report.chunks,
        damage: report.damage.clone(),
        checks,
        tool: format!("davit {}", env!("CARGO_PKG_VERSION")),
    }
}
