//! Objects that another tool puts back by itself: Argo CD and Flux.

use super::super::object;
use super::Line;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Who tracks an object, in words.
pub fn tracked_by(body: &Value, applications: &BTreeSet<String>) -> Option<String> {
    // `argocd.argoproj.io/tracking-id: application:group/kind:namespace/name`
    let by_annotation =
        object::annotation(body, "argocd.argoproj.io/tracking-id").map(|id| id.split(':').next().unwrap_or(id));
    let by_label = object::label(body, "argocd.argoproj.io/instance");
    // Many charts set this label too; it counts where an application has that name.
    let by_old_label = object::label(body, "app.kubernetes.io/instance").filter(|name| applications.contains(*name));
    if let Some(application) = by_annotation.or(by_label).or(by_old_label) {
        return Some(format!("Argo CD's application {application}"));
    }
    let flux = [("kustomize.toolkit.fluxcd.io/name", "kustomization"), ("helm.toolkit.fluxcd.io/name", "release")];
    flux.iter().find_map(|(key, what)| Some(format!("Flux's {what} {}", object::label(body, key)?)))
}

/// One warning for each tool that will have a say.
pub(super) fn warn(lines: &[Line]) -> Vec<String> {
    let mut by_tracker: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.action.acts()) {
        if let Some(tracker) = &line.tracker {
            *by_tracker.entry(tracker.as_str()).or_default() += 1;
        }
    }
    let warning = |(tracker, count)| {
        format!(
            "{tracker} tracks {count} of the objects and may change or remove them (--skip-gitops leaves them to it)"
        )
    };
    by_tracker.into_iter().map(warning).collect()
}
