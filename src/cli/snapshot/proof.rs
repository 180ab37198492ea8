//! `davit snapshot verify POINT --depth restored`: the proof in a scratch namespace.

use super::connect::cluster;
use super::from;
use super::restore::means;
use crate::cli::args::SnapshotVerifyArgs;
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::shell::Shell;
use crate::error::{Error, Kind, Result};
use crate::humane::seconds;
use crate::id::RunId;
use crate::journal::Progress;
use crate::repository::{Check, Depth, Evidence};
use crate::snapshot::object::Place;
use crate::snapshot::plan::Selector;
use crate::snapshot::restore::IN_FLIGHT;
use crate::snapshot::verify::{self, Checked, Request};
use serde::Serialize;

/// Objects of each sort that are shown.
const SHOWN: usize = 50;

/// Verifies one snapshot by restoring it.
pub(super) async fn run(args: &SnapshotVerifyArgs, shell: &Shell) -> Result<Ended> {
    let source = from::read(&args.point, shell).await?;
    let Some(namespace) = source.namespaces.first().filter(|_| source.namespaces.len() == 1).cloned() else {
        return Err(Error::input(format!("verifying {}: it is not of one namespace", source.name)));
    };
    let run = RunId::at(shell.clock.now());
    let began = shell.clock.monotonic();
    let request = Request {
        saved: source.objects,
        namespace,
        // Names of namespaces have small letters only.
        scratch: format!("davit-verify-{}", run.as_str().to_lowercase()),
        live: args.live.iter().map(|text| Selector::parse(text)).collect(),
    };
    let cluster = cluster(&args.cluster, shell)?;
    let server = cluster.describe();
    let checked = verify::run(&means(shell, cluster, IN_FLIGHT), request).await?;
    let seconds = shell.clock.monotonic().saturating_sub(began).as_secs_f64();
    let mut proof = Proof { of: source.name, server, checked, missing: source.missing, evidence: None, seconds };
    if let Some((repository, point)) = &source.point {
        let evidence = Evidence {
            run,
            point: point.link.point.clone(),
            manifest_sha256: point.link.manifest_sha256,
            depth: Depth::Restored,
            ok: proof.is_ok(),
            when: shell.clock.now(),
            seconds,
            chunks: 0,
            damage: Vec::new(),
            checks: proof.checks(),
            tool: concat!("davit ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        match repository.record_evidence(point, &evidence).await {
            Ok(()) => proof.evidence = Some(evidence.run.to_string()),
            Err(error) => shell.story.warn(format!("the evidence could not be stored: {error}"), None),
        }
    }
    Ended::with(&proof)
}

#[derive(Debug, Serialize)]
struct Proof {
    of: String,
    server: String,
    #[serde(flatten)]
    checked: Checked,
    missing: Vec<String>,
    evidence: Option<String>,
    seconds: f64,
}

impl Proof {
    fn is_ok(&self) -> bool {
        self.checked.wrong.is_empty() && self.missing.is_empty()
    }

    /// What the evidence says: the three counts, and every object that is not as it was saved.
    fn checks(&self) -> Vec<Check> {
        let mut checks =
            vec![Check { name: "objects".to_owned(), ok: Some(self.is_ok()), detail: self.checked.counts() }];
        let wrong =
            |(place, why): &(Place, String)| Check { name: place.to_string(), ok: Some(false), detail: why.clone() };
        checks.extend(self.checked.wrong.iter().map(wrong));
        let missing = |what: &String| Check { name: "complete".to_owned(), ok: Some(false), detail: what.clone() };
        checks.extend(self.missing.iter().map(missing));
        for (why, places) in &self.checked.not_checked {
            let names: Vec<String> = places.iter().take(SHOWN).map(ToString::to_string).collect();
            checks.push(Check {
                name: "not checked".to_owned(),
                ok: None,
                detail: format!("{why}: {}", names.join(", ")),
            });
        }
        checks
    }
}

impl Document for Proof {
    fn text(&self) -> String {
        let mut page = Page::default();
        let verdict = if self.is_ok() { "restored and compared" } else { "NOT WELL at depth restored" };
        page.line(format!("{}  {verdict}", self.of));
        page.line(format!("  {} in {} on {}", self.checked.counts(), seconds(self.seconds), self.server));
        for (place, why) in self.checked.wrong.iter().take(SHOWN) {
            page.line(format!("  WRONG  {place}: {why}"));
        }
        for what in &self.missing {
            page.line(format!("  LACKS  {what}"));
        }
        for (why, places) in &self.checked.not_checked {
            page.line(format!("  not checked: {} because {why}", places.len()));
        }
        page.text()
    }

    fn exit(&self) -> Exit {
        if self.is_ok() { Exit::Done } else { Exit::Not(Kind::CheckFailed) }
    }
}
