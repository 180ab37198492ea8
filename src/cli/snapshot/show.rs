//! `davit snapshot show POINT`: what a recovery point holds and lacks. No object is opened, so nothing of a Secret shows.

use super::create::missing;
use crate::cli::args::SnapshotShowArgs;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::shell::Shell;
use crate::cli::table::table;
use crate::error::Result;
use crate::humane::{bytes, count, counted, time};
use crate::snapshot::facts::{KindCoverage, Scope};
use crate::snapshot::show::{self, Shown};
use serde::Serialize;

/// Shows a point.
pub(super) async fn run(args: &SnapshotShowArgs, shell: &Shell) -> Result<Ended> {
    if let Some(url) = args.point.strip_prefix("velero:") {
        return super::import::show(url, shell).await;
    }
    let (repository, point) = shell.point(&args.point).await?;
    let shown = show::show(&repository, &point).await?;
    Ended::with(&Coverage { shown, all: args.all })
}

#[derive(Debug, Serialize)]
struct Coverage {
    #[serde(flatten)]
    shown: Shown,
    #[serde(skip)]
    all: bool,
}

impl Document for Coverage {
    fn text(&self) -> String {
        let (shown, coverage) = (&self.shown, &self.shown.coverage);
        let facts = &shown.facts;
        let mut page = Page::default();
        let incomplete = if shown.complete { "complete" } else { "INCOMPLETE" };
        page.line(format!("{} of {}, {incomplete}", shown.point, shown.source));
        page.line(format!("  namespace {} of {} ({})", facts.namespace, facts.server, facts.server_version));
        page.line(format!("  as of {}, resource version {}", time(shown.snapshot_time), facts.resource_version));
        page.line(format!("  scope: {}", scope(&facts.scope)));
        page.line(format!("  {}, {}\n", counted(shown.objects, "object"), bytes(shown.end.bytes)));
        let told = |kind: &&KindCoverage| {
            self.all || kind.objects > 0 || kind.error.is_some() || kind.note.is_some() || !kind.left_out.is_empty()
        };
        let rows: Vec<_> = coverage.kinds.iter().filter(told).collect();
        let empty = coverage.kinds.len() - rows.len();
        page.block(table(
            ["kind", "version", ">objects", ">derived", ">bytes", "resource version", ""],
            rows.into_iter().map(row),
        ));
        if empty > 0 {
            page.line(format!("and {} without objects", counted(empty as u64, "kind")));
        }
        for (kind, reason) in &coverage.left_out {
            page.line(format!("left out: {kind}: {reason}"));
        }
        for hook in &coverage.hooks {
            let ended = hook.detail.as_deref().unwrap_or("well");
            page.line(format!("hook {} in pod {}: {ended}", hook.when, hook.pod));
        }
        for output in &coverage.outputs {
            page.line(format!("output of pod {}: point {} of {}", output.pod, output.point, output.source));
        }
        for volume in &coverage.volumes {
            let (files, size) = (counted(volume.moved.entries, "file"), bytes(volume.moved.bytes));
            page.line(format!("volume of claim {}: {files}, {size}", volume.claim));
        }
        for note in &coverage.notes {
            page.line(format!("note: {note}"));
        }
        missing(&mut page, &shown.missing);
        page.text()
    }
}

fn row(kind: &KindCoverage) -> [String; 7] {
    let mut words: Vec<String> = Vec::new();
    words.extend(kind.related.then(|| "related".to_owned()));
    words.extend(kind.error.as_ref().map(|why| format!("NOT COMPLETE: {why}")));
    words.extend((kind.error.is_none() && !kind.at_instant).then(|| "of an instant of its own".to_owned()));
    words.extend(kind.left_out.iter().map(|(reason, objects)| format!("{objects} left out: {reason}")));
    words.extend(kind.note.clone());
    [
        kind.kind.clone(),
        kind.version.clone(),
        count(kind.objects),
        count(kind.derived),
        bytes(kind.bytes),
        kind.resource_version.clone().unwrap_or_default(),
        words.join("; "),
    ]
}

fn scope(scope: &Scope) -> String {
    let mut words = vec![if scope.with_cluster { "with-cluster" } else { "namespace" }.to_owned()];
    words.extend(scope.selector.as_ref().map(|selector| format!("only {selector}")));
    words.extend((!scope.include.is_empty()).then(|| format!("only {}", scope.include.join(", "))));
    words.extend((!scope.exclude.is_empty()).then(|| format!("without {}", scope.exclude.join(", "))));
    words.join("; ")
}
