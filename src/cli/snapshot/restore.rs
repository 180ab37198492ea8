//! `davit snapshot restore POINT`: plans, prints the plan, or executes exactly it.

use super::connect::cluster;
use super::from::{self, Source};
use crate::cli::args::{OnConflictArg, SnapshotRestoreArgs};
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::shell::Shell;
use crate::cluster::Cluster;
use crate::error::{Context, Error, Kind, Result};
use crate::humane::{counted, seconds};
use crate::journal::Progress;
use crate::snapshot::clean::Keep;
use crate::snapshot::load::Managers;
use crate::snapshot::map::{self, Mapping, Rules, Unresolved};
use crate::snapshot::object::Place;
use crate::snapshot::plan::{self, Action, Line, Mark, NEVER_DELETED, OnConflict, Options, Plan, Selector};
use crate::snapshot::restore::{self, Failure, Means, Prepared, RestoreReport};
use crate::snapshot::volumes::{self, Movers};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};

/// Lines of each sort that are shown; JSON has all of them.
const SHOWN: usize = 200;

/// Restores, or shows what that would do.
pub(super) async fn run(args: &SnapshotRestoreArgs, shell: &Shell) -> Result<Ended> {
    let managers = if args.keep_managers { Managers::Kept } else { Managers::Dropped };
    let source = from::read_with(&args.point, shell, managers).await?;
    let lacks = lacks(args, &source)?;
    let cluster = cluster(&args.cluster, shell)?;
    let mapping = mapping(args, &source)?;
    let mut options = options(args, &source, &mapping, &cluster).await?;
    let means = means(shell, cluster, usize::from(args.in_flight));
    if args.with_namespace {
        make_namespaces(&means, &source, &mapping, &options).await?;
    }
    let name = source.name.clone();
    let volumes = match &source.point {
        Some((repository, point)) if !args.no_volumes => {
            options.movers = Movers { image: args.mover_image.clone(), pull_secrets: args.mover_pull_secret.clone() };
            Some(volumes::stored(repository, point, options.movers.clone()).await?)
        }
        _ => None,
    };
    options.files = volumes.as_ref().map(volumes::Stored::claims).unwrap_or_default();
    let mut prepared = restore::prepare(&means, source.objects, &mapping, options).await?;
    let unmet = prepared.mapped.unmet.iter().find(|unmet| !unmet.is_for_others(&source.listed));
    if let (false, Some(unmet)) = (args.plan, unmet) {
        return Err(Error::input(unmet.text.clone()).hint(unmet.hint.clone()));
    }
    prepared
        .plan
        .warnings
        .extend(args.into.as_deref().and_then(|into| plan::mixed(&prepared.plan, &prepared.live, into)));
    for warning in &prepared.plan.warnings {
        shell.story.warn(warning.clone(), None);
    }
    if let Some(agreed) = &args.expect_plan {
        is_agreed(agreed, &prepared.plan.digest(&prepared.options), &name, &prepared.plan)?;
    }
    if args.plan {
        let digest = prepared.plan.digest(&prepared.options);
        restore::check(&means, &mut prepared).await?;
        return Ended::with(&Planned::of(name, digest, prepared, lacks));
    }
    if args.prune {
        agree_to_prune(args, &prepared, shell)?;
    }
    let report = restore::run_with(&means, &prepared, volumes.as_ref()).await?;
    Ended::with(&Restored { from: name, report, unresolved: prepared.mapped.unresolved, lacks })
}

/// Whether what would be done now is what somebody agreed to.
fn is_agreed(agreed: &str, digest: &str, name: &str, plan: &Plan) -> Result<()> {
    if agreed.len() != digest.len() || !agreed.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::input(format!("reading --expect-plan {agreed:?}: it is no digest of a plan"))
            .hint("--plan prints it (--output json: digest)"));
    }
    if agreed.eq_ignore_ascii_case(digest) {
        return Ok(());
    }
    let now = words(&plan.counts());
    Err(Error::refused(format!(
        "restoring {name}: what it would do is no longer what --expect-plan agreed to: by now it is {now}, digest {digest}"
    ))
    .hint("--plan with the same flags shows each line of it; what changes in the cluster, other flags, and what a restore in place did before it was interrupted make it another plan"))
}

/// `3 create, 1 same`
fn words(counts: &BTreeMap<&'static str, u64>) -> String {
    let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    counts.join(", ")
}

/// What a restore works with.
pub(super) fn means(shell: &Shell, cluster: Cluster, in_flight: usize) -> Means {
    Means {
        cluster,
        clock: shell.clock.clone(),
        progress: shell.progress(),
        cancel: shell.stop.gently.clone(),
        in_flight,
    }
}

fn lacks(args: &SnapshotRestoreArgs, source: &Source) -> Result<Vec<String>> {
    if source.missing.is_empty() || args.plan || args.allow_incomplete {
        return Ok(source.missing.clone());
    }
    let (first, more) = (&source.missing[0], source.missing.len() - 1);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Err(Error::refused(format!("restoring {}: it is incomplete: {first}{more}", source.name))
        .hint("--allow-incomplete restores what is there"))
}

fn mapping(args: &SnapshotRestoreArgs, source: &Source) -> Result<Mapping> {
    let mut mapping = Mapping::default();
    if let Some(into) = &args.into {
        let mut namespaces = source.namespaces.iter();
        let (Some(only), None) = (namespaces.next(), namespaces.next()) else {
            let all: Vec<&str> = source.namespaces.iter().map(String::as_str).collect();
            return Err(Error::input(format!(
                "restoring {} --into {into}: it has the namespaces {}",
                source.name,
                all.join(", ")
            ))
            .hint("--into is for a snapshot of one namespace"));
        };
        if !is_namespace_name(into) {
            return Err(Error::input(format!("reading --into {into:?}: no namespace can be called so"))
                .hint("small letters, digits and hyphens, at most 63"));
        }
        mapping.namespaces.insert(only.clone(), into.clone());
    }
    for text in &args.map_storage_class {
        let (from, to) = map::pair("--map-storage-class", text)?;
        mapping.storage_classes.insert(from, to);
    }
    for text in &args.map_image {
        mapping.images.push(map::pair("--map-image", text)?);
    }
    if let Some(file) = &args.modify {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file).context(Kind::Input, || format!("reading {shown}"))?;
        mapping.rules = Rules::parse(&shown, &text)?;
    }
    Ok(mapping)
}

/// RFC 1123, as the API server checks it.
fn is_namespace_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !name.is_empty()
        && name.len() <= 63
        && name.chars().all(|c| inner(c) || c == '-')
        && name.starts_with(inner)
        && name.ends_with(inner)
}

/// A name that was mistyped would otherwise do nothing, and the restore would end with 0. Names are those of the plan, so those
/// that objects get. A kind of which the point could have had objects, and has none, is no mistake.
fn refuse_unknown(args: &SnapshotRestoreArgs, source: &Source, mapping: &Mapping) -> Result<()> {
    let is_there = |text: &str| {
        let selector = Selector::parse(text);
        source.objects.iter().any(|one| selector.means(&mapping.goes_to(one.identity.place())))
            || source.listed.iter().any(|kind| selector.means_all_of(kind))
    };
    let flags = [
        ("--only", &args.only),
        ("--include-cluster", &args.include_cluster),
        ("--restore-derived", &args.restore_derived),
        ("--recreate", &args.recreate),
    ];
    for (flag, texts) in flags {
        if let Some(unknown) = texts.iter().find(|text| !is_there(text)) {
            return Err(Error::input(format!("reading {flag} {unknown}: {} has nothing of that name", source.name))
                .hint("--plan without it names all that it has, such as deployments.apps/web"));
        }
    }
    Ok(())
}

async fn options(args: &SnapshotRestoreArgs, source: &Source, mapping: &Mapping, cluster: &Cluster) -> Result<Options> {
    let selectors = |texts: &[String]| texts.iter().map(|text| Selector::parse(text)).collect::<Vec<_>>();
    if let Some(never) = args.recreate.iter().find(|kind| NEVER_DELETED.iter().any(|never| names(never, kind))) {
        return Err(Error::input(format!("reading --recreate {never}: no restore ever deletes one"))
            .hint("--on-conflict merge or replace changes it in place, as far as the server allows"));
    }
    refuse_unknown(args, source, mapping)?;
    if args.prune && source.covered.is_empty() {
        return Err(Error::refused(format!(
            "pruning by {}: it does not say of which kinds it has every object",
            source.name
        )));
    }
    let cluster_uid = cluster.uid().await?;
    let into = args.into.clone().unwrap_or_default();
    Ok(Options {
        on_conflict: match args.on_conflict {
            OnConflictArg::Fail => OnConflict::Fail,
            OnConflictArg::Skip => OnConflict::Skip,
            OnConflictArg::Merge => OnConflict::Merge,
            OnConflictArg::Replace => OnConflict::Replace,
        },
        recreate: selectors(&args.recreate),
        prune: args.prune,
        only: selectors(&args.only),
        include_cluster: selectors(&args.include_cluster),
        restore_derived: selectors(&args.restore_derived),
        keep: Keep { node_ports: args.keep_node_ports, ..Keep::default() },
        with_status: selectors(&args.with_status),
        skip_gitops: args.skip_gitops,
        keep_managers: args.keep_managers,
        manager: restore::manager(&[&source.identity, &cluster_uid, &into]),
        covered: source.covered.clone(),
        ..Options::default()
    })
}

fn names(kind: &str, typed: &str) -> bool {
    kind == typed || kind.split('.').next() == Some(typed)
}

/// Makes the namespaces, and nothing else, so that the server can be asked about what goes into them.
async fn make_namespaces(means: &Means, source: &Source, mapping: &Mapping, options: &Options) -> Result<()> {
    let only = Options { only: vec![Selector::parse("namespaces")], prune: false, ..options.clone() };
    let namespaces = source.objects.iter().filter(|one| one.kind.group_resource() == "namespaces").cloned().collect();
    let plain = Mapping { namespaces: mapping.namespaces.clone(), ..Mapping::default() };
    let prepared = restore::prepare(means, namespaces, &plain, only).await?;
    let report = restore::run(means, &prepared).await?;
    match report.failed.first() {
        Some(failed) => Err(Error::failed(format!("making the namespace {}: {}", failed.place.name, failed.why))),
        None => Ok(()),
    }
}

/// The name of each namespace that loses objects, typed twice: by now the list of what goes was printed.
fn agree_to_prune(args: &SnapshotRestoreArgs, prepared: &Prepared, shell: &Shell) -> Result<()> {
    let mut goes: BTreeMap<&str, Vec<&Place>> = BTreeMap::new();
    for line in prepared.plan.lines.iter().filter(|line| line.action == Action::Prune) {
        goes.entry(line.place.namespace.as_deref().unwrap_or_default()).or_default().push(&line.place);
    }
    for (namespace, places) in goes {
        let count = counted(places.len() as u64, "object");
        let refused = |why: &str| {
            Error::refused(format!("pruning {count} from {namespace}: {why}"))
                .hint(format!("--plan lists them; --yes-prune {namespace} agrees"))
        };
        match &args.yes_prune {
            // Whoever looks on, or reads the log afterwards, finds what went.
            Some(agreed) if agreed == namespace => {
                for place in &places {
                    shell.story.note(format!("  prune {place} in {namespace}"));
                }
                continue;
            }
            Some(agreed) => return Err(refused(&format!("--yes-prune names {agreed}"))),
            None if !std::io::stdin().is_terminal() => return Err(refused("nobody is here to agree")),
            None => {}
        }
        let mut stderr = anstream::stderr();
        for place in &places {
            drop(writeln!(stderr, "  prune {place} in {namespace}"));
        }
        for again in ["", " again"] {
            drop(write!(stderr, "{count} will be deleted. Type {namespace}{again}: "));
            drop(stderr.flush());
            let mut typed = String::new();
            let read = std::io::stdin().lock().read_line(&mut typed);
            read.context(Kind::Refused, || "reading the answer".to_owned())?;
            if typed.trim() != namespace {
                return Err(refused("another name was typed"));
            }
        }
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct Planned {
    from: String,
    digest: String,
    plan: Plan,
    counts: BTreeMap<&'static str, u64>,
    unresolved: Vec<Unresolved>,
    lacks: Vec<String>,
}

impl Planned {
    fn of(from: String, digest: String, prepared: Prepared, lacks: Vec<String>) -> Self {
        let counts = prepared.plan.counts();
        Self { from, digest, plan: prepared.plan, counts, unresolved: prepared.mapped.unresolved, lacks }
    }
}

impl Document for Planned {
    fn text(&self) -> String {
        let mut page = Page::default();
        page.line(format!("what a restore of {} would do", self.from));
        for line in self.plan.lines.iter().take(SHOWN) {
            page.line(shown(line));
            for change in &line.changes {
                page.line(format!("      {change}"));
            }
            for note in &line.notes {
                page.line(format!("      note: {note}"));
            }
        }
        more(&mut page, self.plan.lines.len());
        unresolved(&mut page, &self.unresolved);
        for what in &self.lacks {
            page.line(format!("the snapshot lacks {what}"));
        }
        page.line(format!("digest {}; --expect-plan with it restores exactly this, or nothing", self.digest));
        page.line(format!("{}; nothing was changed", words(&self.counts)));
        page.text()
    }

    fn exit(&self) -> Exit {
        let refused = self
            .plan
            .lines
            .iter()
            .any(|line| matches!(line.action, Action::Refuse(_)) || matches!(line.mark, Mark::Refused(_)));
        if refused { Exit::Not(Kind::CheckFailed) } else { Exit::Done }
    }
}

/// `  create    deployments.apps/web  checked`
fn shown(line: &Line) -> String {
    let mark = match &line.mark {
        Mark::None => String::new(),
        Mark::Checked => "  checked".to_owned(),
        Mark::Unchecked(why) => format!("  unchecked: {why}"),
        Mark::Refused(why) => format!("  refused: {why}"),
        Mark::Recreate => "  recreate: deleted first, with its uid as a condition".to_owned(),
    };
    let why = line.action.why().map(|why| format!("  {why}")).unwrap_or_default();
    format!("  {:<9} {}{why}{mark}", line.action.word(), line.place)
}

fn more(page: &mut Page, lines: usize) {
    if let Some(more) = lines.checked_sub(SHOWN).filter(|more| *more > 0) {
        page.line(format!("  and {} more; --output json lists them all", counted(more as u64, "object")));
    }
}

fn unresolved(page: &mut Page, unresolved: &[Unresolved]) {
    for one in unresolved.iter().take(SHOWN) {
        page.line(format!("  left as it is: {} {} names {}", one.place, one.path, one.names));
    }
    more(page, unresolved.len());
}

#[derive(Debug, Serialize)]
struct Restored {
    from: String,
    #[serde(flatten)]
    report: RestoreReport,
    unresolved: Vec<Unresolved>,
    lacks: Vec<String>,
}

impl Document for Restored {
    fn text(&self) -> String {
        let report = &self.report;
        let mut page = Page::default();
        let whole = report.kind().is_none() && self.lacks.is_empty();
        let done = match (report.stopped, whole) {
            (true, _) => "STOPPED restoring",
            (false, true) => "restored",
            (false, false) => "restored IN PART",
        };
        page.line(format!("{done} {} in {}", self.from, seconds(report.seconds)));
        let counts = [
            (report.created, "created"),
            (report.merged, "merged"),
            (report.replaced, "replaced"),
            (report.recreated, "recreated"),
            (report.pruned, "pruned"),
            (report.same, "there already"),
            (report.left.len() as u64, "left"),
        ];
        let counts: Vec<String> =
            counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        page.line(format!(
            "  {}",
            if counts.is_empty() { "nothing was there to do".to_owned() } else { counts.join(", ") }
        ));
        if report.stopped {
            page.line("  what was made stays, and was not looked at again; the same command goes on");
        }
        failures(&mut page, "FAILED", &report.failed);
        failures(&mut page, "DIFFERS", &report.diverged);
        for what in &self.lacks {
            page.line(format!("  LACKS  {what}"));
        }
        for note in report.notes.iter().take(SHOWN) {
            page.line(format!("  note: {note}"));
        }
        more(&mut page, report.notes.len());
        unresolved(&mut page, &self.unresolved);
        page.text()
    }

    fn exit(&self) -> Exit {
        let lacks = (!self.lacks.is_empty()).then_some(Kind::CheckFailed);
        self.report.kind().or(lacks).map_or(Exit::Done, Exit::Not)
    }
}

fn failures(page: &mut Page, word: &str, failures: &[Failure]) {
    for one in failures.iter().take(SHOWN) {
        page.line(format!("  {word}  {}: {}", one.place, one.why));
    }
    more(page, failures.len());
}
