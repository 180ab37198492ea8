//! Where objects come from: a recovery point of the repository, or a backup that Velero left.

use crate::cli::shell::Shell;
use crate::error::{Error, Result};
use crate::journal::Progress;
use crate::repository::{PointSummary, Repository};
use crate::snapshot::load::Managers;
use crate::snapshot::object::Saved;
use crate::snapshot::show::Shown;
use crate::snapshot::{load, restore, show, velero};
use crate::store;
use std::collections::BTreeSet;

/// Objects and what is known of them as a whole.
pub(super) struct Source {
    /// What it is called, for people.
    pub(super) name: String,
    /// What tells it from every other one, for the field manager.
    pub(super) identity: String,
    /// The namespaces whose objects they are.
    pub(super) namespaces: BTreeSet<String>,
    /// The objects.
    pub(super) objects: Vec<Saved>,
    /// Kinds of which every object is there.
    pub(super) covered: BTreeSet<String>,
    /// Kinds of which every object is there that the selector means, if there is one.
    pub(super) listed: BTreeSet<String>,
    /// The labels that objects must have to be in it.
    pub(super) selector: Option<String>,
    /// Whether it has every cluster-scoped object that its namespace leaned on.
    pub(super) with_cluster: bool,
    /// What is missing; nothing at all if it is complete.
    pub(super) missing: Vec<String>,
    /// The repository and the point, if it is one.
    pub(super) point: Option<(Repository, PointSummary)>,
}

/// Reads what the user named.
pub(super) async fn read(spec: &str, shell: &Shell) -> Result<Source> {
    read_with(spec, shell, Managers::Dropped).await
}

/// The same, perhaps with who set what.
pub(super) async fn read_with(spec: &str, shell: &Shell, managers: Managers) -> Result<Source> {
    match spec.strip_prefix("velero:") {
        Some(url) => from_velero(url, shell).await,
        None => from_point(spec, shell, managers).await,
    }
}

async fn from_point(spec: &str, shell: &Shell, managers: Managers) -> Result<Source> {
    let (repository, found) = shell.point(spec).await?;
    point(repository, found, managers).await
}

/// What a point is called, for people.
pub(super) fn name_of(point: &PointSummary) -> String {
    format!("point {} of {}", point.point(), point.source)
}

/// What a point lacks.
pub(super) async fn missing(repository: &Repository, point: &PointSummary) -> Result<Vec<String>> {
    Ok(lacks(&show::show(repository, point).await?))
}

fn lacks(shown: &Shown) -> Vec<String> {
    shown.missing.iter().map(|missing| format!("{}: {}", missing.what, missing.why)).collect()
}

/// Reads a point that was found already.
pub(super) async fn point(repository: Repository, point: PointSummary, managers: Managers) -> Result<Source> {
    let shown = show::show(&repository, &point).await?;
    let loaded = load::load(&repository, &point, managers).await?;
    let listed = shown.coverage.kinds.iter().filter(|kind| !kind.related && kind.error.is_none());
    let listed: BTreeSet<String> = listed.map(|kind| kind.kind.clone()).collect();
    let selector = shown.facts.scope.selector.clone();
    Ok(Source {
        name: name_of(&point),
        identity: restore::identity(&point),
        namespaces: [loaded.facts.namespace.clone()].into(),
        objects: loaded.objects,
        covered: if selector.is_none() { listed.clone() } else { BTreeSet::new() },
        listed,
        selector,
        with_cluster: shown.facts.scope.with_cluster,
        missing: lacks(&shown),
        point: Some((repository, point)),
    })
}

/// Where a backup of Velero lies, and its name.
pub(super) fn velero_name(url: &str) -> Result<(&str, &str)> {
    let parts = url.trim_end_matches('/').rsplit_once('/');
    parts.filter(|(prefix, name)| !name.is_empty() && !prefix.ends_with(":/")).ok_or_else(|| {
        Error::input(format!("reading velero:{url}: it names no backup")).hint("write velero:s3://bucket/prefix/NAME")
    })
}

async fn from_velero(url: &str, shell: &Shell) -> Result<Source> {
    let (prefix, name) = velero_name(url)?;
    let store = store::open(prefix, &shell.store_options(false), shell.clock.clone()).await?;
    let opened = velero::open(&store, name).await?;
    for volume in &opened.volumes {
        let claim = format!("{} in {}", volume.claim, volume.namespace);
        shell
            .story
            .warn(format!("the data of the claim {claim} are not in the archive; they are {}", volume.kept), None);
    }
    let namespaces: BTreeSet<String> = opened.objects.iter().filter_map(|one| one.identity.namespace.clone()).collect();
    // Velero does not say which kinds it listed, so what it does not have may have been there.
    Ok(Source {
        name: format!("Velero backup {name}"),
        identity: format!("velero {name} {}", opened.found.started.clone().unwrap_or_default()),
        namespaces,
        objects: opened.objects,
        covered: BTreeSet::new(),
        listed: BTreeSet::new(),
        selector: None,
        with_cluster: false,
        missing: if opened.complete { Vec::new() } else { told(&opened.errors) },
        point: None,
    })
}

fn told(errors: &[String]) -> Vec<String> {
    if errors.is_empty() { vec!["Velero called it PartiallyFailed".to_owned()] } else { errors.to_vec() }
}
