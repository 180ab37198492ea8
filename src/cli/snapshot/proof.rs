//! `davit snapshot verify POINT --depth restored`: every chunk is read, then the proof in a scratch namespace.

use super::connect::cluster;
use super::from::{self, Source};
use super::restore::means;
use crate::backup::verify;
use crate::cli::args::SnapshotVerifyArgs;
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::restore::{damaged, means as reading};
use crate::cli::shell::Shell;
use crate::cluster::Cluster;
use crate::error::{Error, Kind, Result};
use crate::humane::{counted, seconds};
use crate::id::RunId;
use crate::journal::Progress;
use crate::repository::manifest::PointKind;
use crate::repository::{Check, Damage, Depth, Evidence, PointSummary, Repository};
use crate::snapshot::load::Managers;
use crate::snapshot::object::Place;
use crate::snapshot::plan::Selector;
use crate::snapshot::restore::IN_FLIGHT;
use crate::snapshot::verify::{ByReason, Checked, Request, run as restore_and_compare};
use crate::snapshot::verify::{leftovers, remove_leftover, scratch_name};
use serde::Serialize;

/// Objects of each sort that are shown.
const SHOWN: usize = 50;

/// Verifies one snapshot by restoring it.
pub(super) async fn run(args: &SnapshotVerifyArgs, shell: &Shell) -> Result<Ended> {
    let began = shell.clock.monotonic();
    let cluster = cluster(&args.cluster, shell)?;
    let live: Vec<Selector> = args.live.iter().map(|text| Selector::parse(text)).collect();
    let took = || shell.clock.monotonic().saturating_sub(began).as_secs_f64();
    if args.point.starts_with("velero:") {
        let source = from::read(&args.point, shell).await?;
        let mut proof = Proof::of(source.name.clone(), cluster.describe(), shell);
        proof.objects(source, &cluster, live, shell).await?;
        proof.decide(took());
        return Ended::with(&proof);
    }
    let (repository, point) = shell.point(&args.point).await?;
    point.must_be(PointKind::Namespace)?;
    let mut proof = Proof::of(from::name_of(&point), cluster.describe(), shell);
    // Files of volumes are restored by no proof, and objects are not if a chunk of them is damaged: all are read first.
    let stored = verify::look(&reading(repository.clone(), shell), &point, Depth::Stored).await?;
    (proof.chunks, proof.damage) = (stored.chunks, stored.damage);
    if proof.damage.is_empty() {
        let source = from::point(repository.clone(), point.clone(), Managers::Dropped).await?;
        proof.objects(source, &cluster, live, shell).await?;
    } else {
        proof.missing = from::missing(&repository, &point).await?;
    }
    proof.decide(took());
    proof.record(&repository, &point, shell).await;
    Ended::with(&proof)
}

/// Restores the objects into a scratch namespace and compares; what is told goes by what the cluster said.
pub(super) async fn objects(
    source: Source,
    cluster: &Cluster,
    (run, live): (&RunId, Vec<Selector>),
    shell: &Shell,
) -> Result<Checked> {
    let Some(namespace) = source.namespaces.first().filter(|_| source.namespaces.len() == 1).cloned() else {
        return Err(Error::input(format!("verifying {}: it is not of one namespace", source.name)));
    };
    let request = Request {
        saved: source.objects,
        namespace,
        scratch: scratch_name(run.as_str()),
        holder: shell.settings.environment.holder(),
        live,
    };
    restore_and_compare(&means(shell, cluster.clone(), IN_FLIGHT), request).await
}

/// What to type where a scratch namespace is left.
pub(in crate::cli) fn remove_hint(name: &str) -> String {
    format!("if nobody proves a snapshot there now: kubectl delete namespace {name}")
}

/// Names the scratch namespaces that are there, and takes away those that no proof can be using any more.
pub(super) async fn name_leftovers(cluster: &Cluster, shell: &Shell) {
    let now = shell.clock.now();
    let found = match leftovers(cluster).await {
        Ok(found) => found,
        Err(why) => {
            let text = format!("whether a proof that was killed left a scratch namespace is not known: {why}");
            return shell.story.warn(text, None);
        }
    };
    for one in &found {
        let told = one.told(now);
        if !one.is_over(now) {
            let text = format!("a proof that was killed may have left its scratch namespace: {told}");
            shell.story.warn(text, Some(remove_hint(&one.name)));
            continue;
        }
        match remove_leftover(cluster, one).await {
            Ok(()) => shell.story.note(format!("a scratch namespace goes that no proof can be using any more: {told}")),
            Err(why) => shell.story.warn(
                format!("a scratch namespace is left that no proof can be using any more: {told}: {why}"),
                Some(remove_hint(&one.name)),
            ),
        }
    }
}

/// What the evidence says of objects: the three counts, every object that is not as it was saved, and what is open.
pub(super) fn checks(checked: &Checked) -> Vec<Check> {
    let mut checks = vec![Check { name: "objects".to_owned(), ok: checked.ok(), detail: checked.counts() }];
    let wrong =
        |(place, why): &(Place, String)| Check { name: place.to_string(), ok: Some(false), detail: why.clone() };
    checks.extend(checked.wrong.iter().map(wrong));
    let open = |detail: String| Check { name: "undecided".to_owned(), ok: None, detail };
    checks.extend(told(&checked.undecided).map(open));
    checks
}

/// Why objects are not known of, and the names of some.
pub(super) fn told(reasons: &ByReason) -> impl Iterator<Item = String> {
    reasons.iter().map(|(why, places)| {
        let names: Vec<String> = places.iter().take(SHOWN).map(ToString::to_string).collect();
        format!("{why}: {}", names.join(", "))
    })
}

#[derive(Debug, Serialize)]
struct Proof {
    #[serde(skip)]
    run: RunId,
    of: String,
    server: String,
    /// Nothing where it could not be decided.
    ok: Option<bool>,
    chunks: u64,
    damage: Vec<Damage>,
    #[serde(flatten)]
    checked: Checked,
    missing: Vec<String>,
    evidence: Option<String>,
    seconds: f64,
}

impl Proof {
    fn of(of: String, server: String, shell: &Shell) -> Self {
        let (checked, damage, missing) = (Checked::default(), Vec::new(), Vec::new());
        let run = RunId::at(shell.clock.now());
        Self { run, of, server, ok: None, chunks: 0, damage, checked, missing, evidence: None, seconds: 0.0 }
    }

    async fn objects(&mut self, source: Source, cluster: &Cluster, live: Vec<Selector>, shell: &Shell) -> Result<()> {
        self.missing.clone_from(&source.missing);
        name_leftovers(cluster, shell).await;
        self.checked = objects(source, cluster, (&self.run, live), shell).await?;
        Ok(())
    }

    fn decide(&mut self, seconds: f64) {
        let whole = self.missing.is_empty() && self.damage.is_empty();
        self.ok = if whole { self.checked.ok() } else { Some(false) };
        self.seconds = seconds;
    }

    async fn record(&mut self, repository: &Repository, point: &PointSummary, shell: &Shell) {
        let missing = |what: &String| Check { name: "complete".to_owned(), ok: Some(false), detail: what.clone() };
        let unasked = |detail: String| Check { name: "not checked".to_owned(), ok: None, detail };
        let mut found = if self.damage.is_empty() { checks(&self.checked) } else { Vec::new() };
        found.extend(self.missing.iter().map(missing));
        found.extend(told(&self.checked.not_checked).map(unasked));
        let evidence = Evidence {
            run: self.run.clone(),
            point: point.link.point.clone(),
            manifest_sha256: point.link.manifest_sha256,
            depth: Depth::Restored,
            ok: self.ok == Some(true),
            when: shell.clock.now(),
            seconds: self.seconds,
            chunks: self.chunks,
            damage: self.damage.clone(),
            checks: found,
            tool: concat!("davit ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        match repository.record_evidence(point, &evidence).await {
            Ok(()) => self.evidence = Some(evidence.run.to_string()),
            Err(error) => shell.story.warn(format!("the evidence could not be stored: {error}"), None),
        }
    }
}

impl Document for Proof {
    fn text(&self) -> String {
        let mut page = Page::default();
        let verdict = match self.ok {
            Some(true) => "restored and compared",
            Some(false) if !self.damage.is_empty() => "DAMAGED: it was not restored",
            Some(false) => "NOT WELL at depth restored",
            None => "UNDECIDED at depth restored: not everything could be asked about",
        };
        page.line(format!("{}  {verdict}", self.of));
        if self.chunks > 0 {
            page.line(format!("  {} read", counted(self.chunks, "chunk")));
        }
        for one in self.damage.iter().take(SHOWN) {
            page.line(format!("  DAMAGE  {}", damaged(one)));
        }
        if self.damage.is_empty() {
            page.line(format!("  {} in {} on {}", self.checked.counts(), seconds(self.seconds), self.server));
        }
        for (place, why) in self.checked.wrong.iter().take(SHOWN) {
            page.line(format!("  WRONG  {place}: {why}"));
        }
        for what in &self.missing {
            page.line(format!("  LACKS  {what}"));
        }
        for (why, places) in &self.checked.undecided {
            page.line(format!(
                "  UNDECIDED  {} could not be asked about: {why}",
                counted(places.len() as u64, "object")
            ));
        }
        for (why, places) in &self.checked.not_checked {
            page.line(format!("  not checked: {} because {why}", places.len()));
        }
        page.text()
    }

    fn exit(&self) -> Exit {
        match self.ok {
            Some(true) => Exit::Done,
            Some(false) => Exit::Not(Kind::CheckFailed),
            None => Exit::Not(Kind::Undecided),
        }
    }
}
