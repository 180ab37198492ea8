//! `davit snapshot create NAMESPACE…`: plans, prints the plan, and saves.

use super::connect;
use crate::cli::args::{ScopeArg, SnapshotCreateArgs, VolumesArg};
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::run_log::RunLog;
use crate::cli::shell::Shell;
use crate::cli::table::table;
use crate::cluster::{Cluster, Kind};
use crate::config::raw::RawHook;
use crate::error::{Error, Kind as Ending, Result};
use crate::humane::{bytes, count, counted, seconds, time};
use crate::journal::Progress;
use crate::repository::Repository;
use crate::retention::policy::Tier;
use crate::secret::redact;
use crate::snapshot::collect::{self, Hook, HookRule, Request, SnapshotPlan, SnapshotReport, When};
use crate::snapshot::facts::{Missing, Scope};
use crate::snapshot::volumes::{Claim, Use, Volumes};
use serde::Serialize;
use std::collections::BTreeMap;

/// Makes one recovery point of each namespace.
pub(super) async fn run(args: &SnapshotCreateArgs, shell: &Shell) -> Result<Ended> {
    if args.source.is_some() && args.namespaces.len() > 1 {
        return Err(Error::input("calling several namespaces by one --source")
            .hint("each becomes a source of its own name; or save them one by one"));
    }
    let cluster = connect::cluster(&args.cluster, shell)?;
    let repository = shell.repository(None).await?;
    // All plans come first: a wrong name among many is told before anything is saved.
    let mut plans = Vec::new();
    for namespace in &args.namespaces {
        plans.push(collect::plan(request(args, namespace, shell, &repository)?, &cluster).await?);
    }
    if args.dry_run {
        let plans = plans.iter().map(Planned::of).collect();
        return Ended::with(&Plans { dry_run: true, namespaces: plans });
    }
    let mut saved = Saved { complete: true, points: Vec::new(), failed: Vec::new(), worst: Exit::Done };
    for plan in &mut plans {
        shell.story.note(headline(plan, &cluster));
        save(plan, &repository, shell, &mut saved).await;
        if shell.stop.gently.is_cancelled() {
            break;
        }
    }
    // One namespace that failed is a failed command; among several the others count.
    match (saved.points.is_empty(), saved.failed.len()) {
        (true, 1) => Err(saved.failed.remove(0).error),
        _ => Ended::with(&saved),
    }
}

async fn save(plan: &mut SnapshotPlan, repository: &Repository, shell: &Shell, saved: &mut Saved) {
    let mut log = RunLog::new("snapshot", &plan.source, repository, shell);
    log.begin().await;
    plan.request.run = Some(log.run());
    let outcome = collect::run(plan, repository, log.progress(), &shell.stop.gently).await;
    log.end(&outcome).await;
    match outcome {
        Ok(report) => {
            if !report.complete {
                saved.complete = false;
                saved.worst = saved.worst.worst(Exit::Not(Ending::CheckFailed));
            }
            for warning in &report.warnings {
                shell.story.warn(warning.clone(), None);
            }
            saved.points.push(report);
        }
        Err(error) => {
            saved.complete = false;
            saved.worst = saved.worst.worst(Exit::Not(error.kind()));
            let namespace = plan.request.namespace.clone();
            let message = redact(&error.to_string()).into_owned();
            saved.failed.push(Failed { namespace, message, error });
        }
    }
}

fn request(args: &SnapshotCreateArgs, namespace: &str, shell: &Shell, repository: &Repository) -> Result<Request> {
    refuse_no_name(namespace)?;
    let mut request = Request::new(namespace);
    if let Some(source) = &args.source {
        request.source = source.parse()?;
    }
    request.scope = Scope {
        with_cluster: args.scope == ScopeArg::WithCluster,
        selector: args.selector.clone(),
        include: args.include.clone(),
        exclude: args.exclude.clone(),
    };
    let tier: Option<Tier> = args.tier.as_deref().map(str::parse).transpose()?;
    request.tier.clone_from(&args.tier);
    request.rebind = args.rebind;
    request.hooks = !args.no_hooks;
    request.volumes = match (args.volumes, &args.mover_image) {
        (VolumesArg::Files, Some(image)) => {
            Volumes::Files { image: image.clone(), pull_secrets: args.mover_pull_secret.clone() }
        }
        (VolumesArg::Csi, _) => Volumes::Csi,
        _ => Volumes::None,
    };
    request.rules = rules(namespace, shell);
    request.holder = shell.settings.environment.holder();
    request.lease_term = shell.settings.lease_term.value.0;
    if repository.settings().lock.is_some() {
        request.lock_until = shell.rules().of(&request.source).first_promise(shell.clock.now(), tier);
    }
    Ok(request)
}

/// The hooks that the settings have for a namespace.
pub(in crate::cli) fn rules(namespace: &str, shell: &Shell) -> Vec<HookRule> {
    let hooks = shell.settings.hooks.iter().map(|hook| &hook.value).filter(|hook| hook.namespace == namespace);
    hooks.map(rule).collect()
}

fn rule(hook: &RawHook) -> HookRule {
    let output = When::Output { name: hook.name.clone().unwrap_or_default(), allow_empty: hook.allow_empty };
    let commands = [(When::Before, &hook.before), (When::After, &hook.after), (output, &hook.output)];
    HookRule {
        pods: hook.pods.clone(),
        container: hook.container.clone(),
        commands: commands.into_iter().filter_map(|(when, command)| Some((when, command.clone()?))).collect(),
        on_error: hook.on_error,
        timeout: hook.timeout.map(|timeout| timeout.0),
    }
}

/// Names of namespaces are DNS labels; anything else is a typing error and never asked for.
fn refuse_no_name(namespace: &str) -> Result<()> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inside = namespace.chars().all(|c| letter(c) || c == '-');
    if inside && namespace.len() <= 63 && namespace.starts_with(letter) && namespace.ends_with(letter) {
        return Ok(());
    }
    Err(Error::input(format!("reading {namespace:?} as the name of a namespace"))
        .hint("a name is lower-case letters, digits and '-', and at most 63 long"))
}

fn headline(plan: &SnapshotPlan, cluster: &Cluster) -> String {
    let kinds = counted(plan.kinds.len() as u64, "kind");
    let own_name = plan.source.as_str() == plan.request.namespace;
    let source = if own_name { String::new() } else { format!(" as {}", plan.source) };
    format!(
        "saving namespace {}{source} from {} ({}): {kinds}",
        plan.request.namespace,
        cluster.describe(),
        plan.server_version
    )
}

#[derive(Debug, Serialize)]
struct Plans {
    dry_run: bool,
    namespaces: Vec<Planned>,
}

/// A plan in the words of its document.
#[derive(Debug, Serialize)]
struct Planned {
    namespace: String,
    source: String,
    server: String,
    server_version: String,
    identity: String,
    scope: Scope,
    kinds: Vec<PlannedKind>,
    left_out: BTreeMap<String, String>,
    missing: Vec<Missing>,
    notes: Vec<String>,
    hooks: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<Claim>,
    /// Whether the storage snapshots the volumes, or their files are read.
    #[serde(skip)]
    storage: bool,
    #[serde(skip)]
    headline: String,
}

#[derive(Debug, Serialize)]
struct PlannedKind {
    kind: String,
    version: String,
    served: Vec<String>,
    custom: bool,
}

impl Planned {
    fn of(plan: &SnapshotPlan) -> Self {
        let kind = |kind: &Kind| PlannedKind {
            kind: kind.group_resource(),
            version: kind.version.clone(),
            served: kind.served.clone(),
            custom: kind.custom,
        };
        Self {
            namespace: plan.request.namespace.clone(),
            source: plan.source.to_string(),
            server: plan.cluster.describe(),
            server_version: plan.server_version.clone(),
            identity: plan.identity.clone(),
            scope: plan.request.scope.clone(),
            kinds: plan.kinds.iter().map(kind).collect(),
            left_out: plan.left_out.clone(),
            missing: plan.unseen(),
            notes: plan.notes.clone(),
            hooks: plan.hooks.clone(),
            volumes: plan.claims.clone(),
            storage: matches!(plan.request.volumes, Volumes::Csi),
            headline: headline(plan, &plan.cluster),
        }
    }
}

impl Document for Plans {
    fn text(&self) -> String {
        let mut page = Page::default();
        for plan in &self.namespaces {
            page.line(&plan.headline);
            let row = |kind: &PlannedKind| {
                let others: Vec<&str> =
                    kind.served.iter().filter(|version| **version != kind.version).map(String::as_str).collect();
                [kind.kind.clone(), kind.version.clone(), others.join(", ")]
            };
            page.block(table(["kind", "read at", "also served"], plan.kinds.iter().map(row)));
            for hook in &plan.hooks {
                page.line(format!("would run in pod {}: {}", hook.pod, hook_words(hook)));
            }
            for claim in &plan.volumes {
                page.line(format!("volume of claim {}: {}", claim.name, volume_words(claim, plan.storage)));
            }
            for (kind, reason) in &plan.left_out {
                page.line(format!("left out: {kind}: {reason}"));
            }
            missing(&mut page, &plan.missing);
            for note in &plan.notes {
                page.line(format!("note: {note}"));
            }
        }
        page.line("\nnothing was changed");
        page.text()
    }

    fn exit(&self) -> Exit {
        let seen = self.namespaces.iter().all(|plan| plan.missing.is_empty());
        if seen { Exit::Done } else { Exit::Not(Ending::CheckFailed) }
    }
}

fn volume_words(claim: &Claim, storage: bool) -> String {
    match &claim.of {
        Use::Read { .. } if storage => match &claim.group {
            Some(group) => {
                format!("its storage would snapshot it, at one instant with the others of the group {group}")
            }
            None => "its storage would snapshot it".to_owned(),
        },
        Use::Read { node: Some(node), .. } => format!("its files would be read on {node}"),
        Use::Read { node: None, .. } => "its files would be read; no pod uses it".to_owned(),
        Use::LeftOut(why) => format!("left out: {why}"),
        Use::Cannot(why) => format!("MISSING: {why}"),
    }
}

fn hook_words(hook: &Hook) -> String {
    let when = match &hook.when {
        When::Before => "before: ".to_owned(),
        When::After => "after: ".to_owned(),
        When::Output { name, .. } => format!("its output becomes {name}: "),
    };
    format!("{when}{}", hook.command.join(" "))
}

/// What is missing, in the words of a page.
pub(super) fn missing(page: &mut Page, missing: &[Missing]) {
    for one in missing {
        page.line(format!("MISSING  {}: {}", one.what, one.why));
    }
}

#[derive(Debug, Serialize)]
struct Saved {
    complete: bool,
    points: Vec<SnapshotReport>,
    failed: Vec<Failed>,
    #[serde(skip)]
    worst: Exit,
}

#[derive(Debug, Serialize)]
struct Failed {
    namespace: String,
    message: String,
    #[serde(skip)]
    error: Error,
}

impl Document for Saved {
    fn text(&self) -> String {
        let mut page = Page::default();
        for report in &self.points {
            saved(&mut page, report);
        }
        for failed in &self.failed {
            page.line(format!("FAILED  namespace {}: {}", failed.namespace, failed.message));
        }
        page.text()
    }

    fn exit(&self) -> Exit {
        self.worst
    }
}

fn saved(page: &mut Page, report: &SnapshotReport) {
    let incomplete = if report.complete { "" } else { ", INCOMPLETE" };
    page.line(format!("saved namespace {} as {}{incomplete}", report.namespace, report.point));
    let kinds = report.kinds.iter().filter(|kind| kind.objects > 0).count() as u64;
    page.line(format!(
        "  {} of {} ({} derived, {} related), {} in {}",
        counted(report.objects, "object"),
        counted(kinds, "kind"),
        count(report.derived),
        count(report.related),
        bytes(report.amounts.bytes_read),
        seconds(report.seconds)
    ));
    page.stored(&report.amounts);
    let (at, version) = (time(report.snapshot_time), &report.resource_version);
    page.line(format!("  as of {at}, resource version {version}, sequence number {}", report.sequence));
    for output in &report.outputs {
        page.line(format!("  output of {}: {} as {}", output.pod, bytes(output.bytes), output.source));
    }
    for volume in &report.volumes {
        let (files, size) = (counted(volume.moved.entries, "file"), bytes(volume.moved.bytes));
        page.line(format!("  volume of {}: {files}, {size}", volume.claim));
    }
    for (reason, objects) in &report.left_out {
        page.line(format!("  left out: {} {reason}", counted(*objects, "object")));
    }
    missing(page, &report.missing);
    page.line(format!("next: davit snapshot show {}@latest", report.source));
}
