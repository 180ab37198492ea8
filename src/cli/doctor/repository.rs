//! The store and the repository in it.

use super::findings::Findings;
use super::{features, host};
use crate::cli::shell::Shell;
use crate::cli::{object_lock, runs};
use crate::humane::{age, counted};
use crate::id::SourceName;
use crate::repository::manifest::PointKind;
use crate::repository::{PointSummary, Repository};
use crate::store::{Features, SharedStore};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::path::Path;

/// Signatures of S3 requests are refused beyond a quarter of an hour; retention goes by the clock, too.
const SKEW_FAIL: SignedDuration = SignedDuration::from_mins(5);
const SKEW_WARN: SignedDuration = SignedDuration::from_secs(30);

/// Looks at the store and opens the repository.
pub(super) async fn look(findings: &mut Findings, shell: &Shell, with_keys: bool) -> Option<Repository> {
    let store = match shell.store(false).await {
        Ok(store) => store,
        Err(error) => {
            findings.error("store", &error);
            return None;
        }
    };
    clock(findings, &store, shell.clock.now()).await;
    let seen = match store.probe().await {
        Ok(seen) => {
            feature_lines(findings, &store.describe(), &seen);
            Some(seen)
        }
        Err(error) => {
            let detail = format!("trying out {}: {error}", store.describe());
            findings.fail("store", detail, "the account needs to list, read, write and delete there");
            None
        }
    };
    let place = Path::new(&shell.settings.repository.value);
    if place.is_dir() {
        host::room_in(findings, "room at the store", place, "for backups");
    }
    if !with_keys {
        return None;
    }
    match shell.repository(None).await {
        Ok(repository) => {
            charter(findings, shell, &repository);
            if let Some(seen) = &seen {
                features::compare(findings, repository.features(), seen, repository.settings().lock.is_some());
            }
            points(findings, shell, &repository).await;
            Some(repository)
        }
        Err(error) => {
            findings.error("repository", &error);
            None
        }
    }
}

async fn clock(findings: &mut Findings, store: &SharedStore, now: Timestamp) {
    match store.clock().await {
        Ok(Some(theirs)) => skew(findings, "clock of the store", theirs, now),
        Ok(None) => {}
        Err(error) => findings.fail("clock of the store", error.to_string(), "see whether the store can be reached"),
    }
}

/// Compares another clock with ours.
pub(super) fn skew(findings: &mut Findings, check: &str, theirs: Timestamp, ours: Timestamp) {
    const HINT: &str = "set this machine's clock by NTP (chrony, systemd-timesyncd)";
    let skew = theirs.duration_since(ours).abs();
    let detail = format!("{} s off ours", skew.as_secs());
    if skew >= SKEW_FAIL {
        findings.fail(check, detail, HINT);
    } else if skew >= SKEW_WARN {
        findings.warn(check, detail, HINT);
    } else {
        findings.ok(check, "agrees with ours");
    }
}

fn feature_lines(findings: &mut Findings, place: &str, features: &Features) {
    let mut can = vec!["reads and writes"];
    can.extend(features.put_if_absent.then_some("conditional writes"));
    can.extend(features.checksums.then_some("checksums"));
    can.extend(features.versioning.then_some("versions"));
    can.extend(features.object_lock.then_some("object lock"));
    if features.put_if_absent && features.put_if_match {
        findings.ok("store", format!("{place}: {}", can.join(", ")));
    } else {
        let detail = format!("{place} ignores conditions: two runners could overwrite each other");
        findings.fail("store", detail, "use a store with conditional writes (If-None-Match, If-Match)");
    }
    if let Some(retention) = &features.default_retention {
        findings.warn(
            "object lock",
            format!(
                "the bucket locks every new object for {retention}: leases, marks and journals as well, which pile up"
            ),
            "let davit lock what needs it (davit init --object-lock) and take the bucket's default away",
        );
    }
}

fn charter(findings: &mut Findings, shell: &Shell, repository: &Repository) {
    let readers = counted(repository.readers().len() as u64, "reader");
    if repository.encrypted() {
        findings.ok("repository", format!("{}, encrypted to {readers}", repository.id()));
    } else {
        let detail = format!("{} is NOT encrypted: whoever reads the store reads every row", repository.id());
        findings.warn("repository", detail, "make an encrypted one with davit init in another place");
    }
    if let Some((what, next)) = object_lock::not_made(shell, repository) {
        findings.warn("object lock", what, next);
    }
    if repository.settings().lock.is_some() {
        let open = shell
            .settings
            .sources
            .values()
            .filter(|source| source.retention.value.first_promise(shell.clock.now(), None).is_none());
        for source in open {
            let detail = format!("no rule says how long points of {} stay, so they are not locked", source.name);
            findings.warn("object lock", detail, "give a term, such as retention: {daily: 30 days}");
        }
    }
}

async fn points(findings: &mut Findings, shell: &Shell, repository: &Repository) {
    let (points, refused) = match repository.points_and_refusals().await {
        Ok(answer) => answer,
        Err(error) => return findings.error("points", &error),
    };
    for refusal in &refused {
        let next = refusal.hint.clone().unwrap_or_else(|| format!("davit points {}", refusal.source));
        findings.fail(&format!("points of {}", refusal.source), refusal.message.clone(), next);
    }
    let now = shell.clock.now();
    let mut sources: Vec<_> = points.iter().map(|point| &point.source).collect();
    sources.extend(shell.settings.sources.keys());
    sources.sort();
    sources.dedup();
    last_runs(findings, repository, &points, now).await;
    // One point that cannot be read says nothing of how old the others are.
    let hidden = |name: &SourceName| refused.iter().any(|one| one.point.is_none() && one.source == *name);
    for source in sources.into_iter().filter(|name| !hidden(name)) {
        let of_source: Vec<&PointSummary> = points.iter().filter(|point| point.source == *source).collect();
        freshness(findings, source.as_str(), &of_source, now);
    }
}

/// Why a source has no newer point; one that is old does not say so itself.
async fn last_runs(findings: &mut Findings, repository: &Repository, points: &[PointSummary], now: Timestamp) {
    let failed = match runs::without_a_point(repository, None).await {
        Ok(runs) => runs,
        Err(error) => return findings.error("runs", &error),
    };
    let mut told = BTreeSet::new();
    for run in &failed {
        // Newest first: what failed before is history, and so is all that failed before a newer point.
        let newer = points.iter().any(|point| point.source == run.source && point.started >= run.began);
        if let (false, true, Some((why, hint))) = (newer, told.insert(&run.source), run.failure(now)) {
            let next = hint.map_or_else(|| format!("davit points {} --runs", run.source), str::to_owned);
            findings.warn(&format!("last run of {}", run.source), format!("it failed {why}"), next);
        }
    }
}

/// Newest first.
fn freshness(findings: &mut Findings, source: &str, points: &[&PointSummary], now: Timestamp) {
    let check = format!("points of {source}");
    let Some(newest) = points.first() else {
        return findings.warn(&check, "none", format!("davit backup {source}"));
    };
    let detail =
        format!("{}, the newest {} old", counted(points.len() as u64, "point"), age(newest.snapshot_time, now));
    match points.iter().find(|point| point.is_proven()) {
        Some(proven) => {
            let ago = age(proven.snapshot_time, now);
            findings.ok(&check, format!("{detail}, the newest proven one {ago}"));
        }
        None if newest.missing() > 0 => findings.warn(
            &check,
            format!("{detail} and incomplete: {} missing", newest.missing()),
            format!("davit snapshot show {source}@latest"),
        ),
        None if newest.kind == PointKind::Command => findings.ok(&check, detail),
        None => {
            let verb = if newest.kind == PointKind::Namespace { "snapshot verify" } else { "verify" };
            findings.warn(
                &check,
                format!("{detail}, none of them proven by a restore"),
                format!("davit {verb} {source}@latest --depth restored"),
            );
        }
    }
}
