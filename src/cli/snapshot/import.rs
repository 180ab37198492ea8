//! `davit snapshot import velero URL|FILE`: what Velero left, and its schedules as they would be here.

use super::from::velero_name;
use crate::cli::args::{ImportVeleroArgs, SnapshotImportCommand};
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::shell::Shell;
use crate::cli::table::table;
use crate::error::{Context, Error, Kind, Result};
use crate::humane::{count, counted};
use crate::snapshot::velero::{self, Found, Opened, Translated, VolumeNote};
use crate::store;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Lists, shows or translates.
pub(super) async fn run(command: &SnapshotImportCommand, shell: &Shell) -> Result<Ended> {
    let SnapshotImportCommand::Velero(args) = command;
    if is_yaml(&args.from) {
        return translate(args);
    }
    let store = store::open(&args.from, &shell.store_options(false), shell.clock.clone()).await?;
    match &args.show {
        Some(name) => Ended::with(&Shown::of(velero::open(&store, name).await?)),
        None => Ended::with(&Listed { url: args.from.clone(), backups: velero::list(&store).await? }),
    }
}

/// Shows one backup, by where it is and its name.
pub(super) async fn show(url: &str, shell: &Shell) -> Result<Ended> {
    let (prefix, name) = velero_name(url)?;
    let store = store::open(prefix, &shell.store_options(false), shell.clock.clone()).await?;
    Ended::with(&Shown::of(velero::open(&store, name).await?))
}

fn is_yaml(from: &str) -> bool {
    let path = Path::new(from);
    !from.contains("://") && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn translate(args: &ImportVeleroArgs) -> Result<Ended> {
    if args.show.is_some() {
        return Err(Error::input(format!("reading {}: --show is for a bucket, not for a file", args.from)));
    }
    let text = std::fs::read_to_string(&args.from).context(Kind::Input, || format!("reading {}", args.from))?;
    Ended::with(&Schedules { schedules: velero::translate(&args.from, &text)? })
}

#[derive(Debug, Serialize)]
struct Listed {
    url: String,
    backups: Vec<Found>,
}

impl Document for Listed {
    fn text(&self) -> String {
        let mut page = Page::default();
        let row = |found: &Found| {
            [
                found.name.clone(),
                found.phase.clone(),
                found.started.clone().unwrap_or_default(),
                count(found.items),
                count(found.errors),
                found.namespaces.join(", "),
                found.unusable.as_ref().map(|why| format!("NOT USABLE: {why}")).unwrap_or_default(),
            ]
        };
        page.block(table(
            ["backup", "phase", "started", ">items", ">errors", "namespaces", ""],
            self.backups.iter().map(row),
        ));
        let usable = self.backups.iter().filter(|found| found.unusable.is_none()).count() as u64;
        page.line(format!(
            "{} can be restored: davit snapshot restore velero:{}/NAME",
            counted(usable, "backup"),
            self.url.trim_end_matches('/')
        ));
        page.text()
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    backup: Found,
    complete: bool,
    kinds: BTreeMap<String, u64>,
    errors_told: Vec<String>,
    volumes: Vec<VolumeNote>,
}

impl Shown {
    fn of(opened: Opened) -> Self {
        let mut kinds = BTreeMap::new();
        for one in &opened.objects {
            *kinds.entry(one.kind.group_resource()).or_insert(0) += 1;
        }
        Self {
            backup: opened.found,
            complete: opened.complete,
            kinds,
            errors_told: opened.errors,
            volumes: opened.volumes,
        }
    }
}

impl Document for Shown {
    fn text(&self) -> String {
        let mut page = Page::default();
        let complete = if self.complete { "complete, as far as Velero says" } else { "INCOMPLETE" };
        page.line(format!("{}: {}, {complete}", self.backup.name, self.backup.phase));
        page.block(table(
            ["kind", ">objects"],
            self.kinds.iter().map(|(kind, objects)| [kind.clone(), count(*objects)]),
        ));
        for error in &self.errors_told {
            page.line(format!("error: {error}"));
        }
        for volume in &self.volumes {
            page.line(format!("volume data of {} in {}: {}", volume.claim, volume.namespace, volume.kept));
        }
        page.text()
    }

    fn exit(&self) -> Exit {
        if self.complete { Exit::Done } else { Exit::Not(Kind::CheckFailed) }
    }
}

#[derive(Debug, Serialize)]
struct Schedules {
    schedules: Vec<Translated>,
}

impl Document for Schedules {
    fn text(&self) -> String {
        let mut page = Page::default();
        for one in &self.schedules {
            page.line(format!("{}:", one.name));
            page.line("  for the scheduler, cron or a CronJob as in deploy/base (davit.yaml has no schedules):");
            page.line(format!("    command: {}", one.command()));
            if let Some(cron) = &one.cron {
                let paused = if one.paused { " (paused)" } else { "" };
                page.line(format!("    cron: {cron} ({}){paused}", one.time_zone.as_deref().unwrap_or("UTC")));
            }
            page.line("  for davit.yaml:");
            for line in one.settings() {
                page.line(format!("    {line}"));
            }
            if one.namespaces.is_empty() {
                page.line("  every namespace was meant; name each one");
            }
            if !one.without_namespaces.is_empty() {
                page.line(format!("  but not the namespaces {}", one.without_namespaces.join(", ")));
            }
            for without in &one.without_equivalent {
                page.line(format!("  no equivalent: {}: {}", without.field, without.why));
            }
        }
        page.text()
    }
}
