//! `davit points`: what there is to restore.

use crate::backup::facts::kind;
use crate::cli::args::PointsArgs;
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended};
use crate::cli::shell::Shell;
use crate::cli::table::table;
use crate::cli::{foreign, runs};
use crate::error::Result;
use crate::humane::{age, bytes, count};
use crate::id::SourceName;
use crate::journal::Progress;
use crate::repository::manifest::{Amounts, End, PointKind};
use crate::repository::{Depth, PointSummary, Refusal, Unread, Verified};
use jiff::Timestamp;
use serde::Serialize;

/// Lists recovery points.
pub(super) async fn run(args: &PointsArgs, shell: &Shell) -> Result<Ended> {
    if let Some(url) = &args.foreign {
        return foreign::points(url, shell).await;
    }
    let source: Option<SourceName> = args.source.as_deref().map(str::parse).transpose()?;
    if args.runs {
        return runs::run(source.as_ref(), shell).await;
    }
    let repository = shell.repository(None).await?;
    let (points, refused) = match &source {
        Some(source) => {
            let (points, unread) = repository.points_and_unread(Some(source)).await?;
            (points, Unread::refusals(source, &unread))
        }
        None => repository.points_and_refusals().await?,
    };
    if points.is_empty()
        && let Some(refusal) = refused.first()
    {
        // Nothing else to show: this is the answer.
        return Err(refusal.error());
    }
    for refusal in &refused {
        shell.story.warn(refusal.message.clone(), refusal.hint.clone());
    }
    let now = shell.clock.now();
    if let Some(source) =
        source.as_ref().filter(|name| points.is_empty() && !shell.settings.sources.contains_key(*name))
    {
        return Err(repository.unknown_source(source).await?);
    }
    let points = points.iter().map(|point| PointRow::of(point, now)).collect();
    let source = source.map(|source| source.to_string());
    Ended::with(&Listed { repository: repository.store().describe(), points, refused, now, source })
}

#[derive(Debug, Serialize)]
struct Listed {
    repository: String,
    points: Vec<PointRow>,
    /// Sources whose points cannot be believed, and points that cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Refusal>,
    #[serde(skip)]
    now: Timestamp,
    #[serde(skip)]
    source: Option<String>,
}

impl Listed {
    /// What to say where there is nothing.
    fn nothing(&self) -> String {
        let Some(source) = &self.source else {
            return format!("no recovery points in {}; davit backup makes one\n", self.repository);
        };
        format!("no recovery points of {source} in {}; davit backup {source} makes one\n", self.repository)
    }
}

/// One recovery point in lists.
#[derive(Debug, Serialize)]
pub(super) struct PointRow {
    point: String,
    source: String,
    sequence: u64,
    time: Timestamp,
    age_seconds: i64,
    kind: PointKind,
    missing: u32,
    tables: Option<u32>,
    objects: u32,
    rows: u64,
    #[serde(flatten)]
    amounts: Amounts,
    seconds: f64,
    tier: Option<String>,
    hold: Option<String>,
    locked_until: Option<Timestamp>,
    verified: Option<Proof>,
}

/// What a verification found.
#[derive(Debug, Serialize)]
pub(super) struct Proof {
    depth: Depth,
    ok: bool,
    time: Timestamp,
}

impl PointRow {
    /// The row of a point, as of `now`.
    pub(super) fn of(point: &PointSummary, now: Timestamp) -> Self {
        let end = &point.end;
        Self {
            point: point.point().to_string(),
            source: point.source.to_string(),
            sequence: point.link.sequence,
            time: point.snapshot_time,
            age_seconds: now.duration_since(point.snapshot_time).as_secs(),
            kind: point.kind,
            missing: point.missing(),
            tables: if point.kind == PointKind::Database { tables_of(end) } else { None },
            objects: end.objects,
            rows: end.rows,
            amounts: end.amounts(),
            seconds: end.seconds,
            tier: point.tier.clone(),
            hold: point.hold.as_ref().map(|hold| hold.reason.clone()),
            locked_until: point.lock_until,
            verified: proof_of(point),
        }
    }

    fn cells(&self, now: Timestamp) -> [String; 9] {
        let verified = match &self.verified {
            _ if self.missing > 0 => format!("INCOMPLETE ({} missing)", self.missing),
            None => "never".to_owned(),
            Some(proof) => {
                let ago = age(proof.time, now);
                let depth = format!("{:?}", proof.depth).to_lowercase();
                if proof.ok { format!("{depth} {ago} ago") } else { format!("DAMAGED ({depth} {ago} ago)") }
            }
        };
        [
            self.source.clone(),
            self.point.clone(),
            age(self.time, now),
            count(self.rows),
            bytes(self.amounts.bytes_read),
            bytes(self.amounts.bytes_new),
            self.tier.clone().unwrap_or_else(|| "any".to_owned()),
            verified,
            self.hold.as_ref().map(|reason| format!("held: {reason}")).unwrap_or_default(),
        ]
    }
}

/// Tables with rows in a point. What one `pg_dump` wrote is one object, whatever is in it.
fn tables_of(end: &End) -> Option<u32> {
    let of_kind = |name: &str| end.kinds.get(name).copied();
    match of_kind(kind::DUMP) {
        Some(_) => None,
        None if end.kinds.is_empty() => None,
        None => Some(of_kind(kind::TABLE).unwrap_or_default()),
    }
}

/// What counts of the verifications of a point: damage that was found last, else the deepest good look.
fn proof_of(point: &PointSummary) -> Option<Proof> {
    let newest = point.verified.iter().max_by_key(|verified| verified.when);
    let bad = newest.filter(|verified| !verified.ok);
    let good = || point.verified.iter().filter(|verified| verified.ok).max_by_key(|verified| verified.depth);
    let proof = |verified: &Verified| Proof { depth: verified.depth, ok: verified.ok, time: verified.when };
    bad.or_else(good).map(proof)
}

impl Document for Listed {
    fn text(&self) -> String {
        if self.points.is_empty() {
            return self.nothing();
        }
        let titles = ["source", "point", ">age", ">rows", ">size", ">new", "tier", "verified", "hold"];
        table(titles, self.points.iter().map(|point| point.cells(self.now)))
    }

    fn exit(&self) -> Exit {
        self.refused.iter().map(|refusal| Exit::Not(refusal.kind)).fold(Exit::Done, Exit::worst)
    }
}
