//! Which kinds and which objects are never saved, as tables with their reasons.

use crate::cluster::Kind;
use crate::snapshot::facts::Scope;
use crate::snapshot::noise::NEVER;
use memchr::memmem;

/// Objects that a controller makes from others without owning them: kind, what is written in them, reason.
const MADE_BY_CONTROLLERS: [(&str, &str, &str); 7] = [
    ("pods", r#""davit.dev/mover":"#, "a mover pod of davit"),
    // Made again it would ask for a new snapshot, of empty volumes; its members come back by themselves.
    (
        "volumegroupsnapshots.groupsnapshot.storage.k8s.io",
        r#""davit.dev/run":"#,
        "a group of snapshots of volumes that davit asked for",
    ),
    ("endpoints", r#""endpoints.kubernetes.io/managed-by":"endpoint-controller""#, "made by the endpoint controller"),
    ("endpoints", r#""endpoints.kubernetes.io/last-change-trigger-time":"#, "made by the endpoint controller"),
    ("endpoints", r#""control-plane.alpha.kubernetes.io/leader":"#, "a lease in the form of endpoints"),
    (
        "endpointslices.discovery.k8s.io",
        r#""endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io""#,
        "made by the endpoint slice controller",
    ),
    (
        "endpointslices.discovery.k8s.io",
        r#""endpointslice.kubernetes.io/managed-by":"endpointslicemirroring-controller.k8s.io""#,
        "made by the endpoint slice controller",
    ),
];

/// Why a kind in the namespace is not listed; `None` if it is.
pub(super) fn left_out(kind: &Kind, scope: &Scope) -> Option<String> {
    let name = kind.group_resource();
    if let Some((_, reason)) = NEVER.iter().find(|(never, _)| *never == name) {
        return Some((*reason).to_owned());
    }
    for (verb, reason) in [("list", "it cannot be listed"), ("create", "it cannot be created: a server computes it")] {
        if !kind.verbs.contains(verb) {
            return Some(reason.to_owned());
        }
    }
    if !scope.include.is_empty() && !scope.include.iter().any(|wanted| names(kind, wanted)) {
        return Some("not among the kinds asked for".to_owned());
    }
    scope
        .exclude
        .iter()
        .find(|excluded| names(kind, excluded))
        .map(|excluded| format!("left out by --exclude {excluded}"))
}

/// Whether a word of `--include` or `--exclude` means this kind; `*.group` means a whole group.
pub(super) fn names(kind: &Kind, word: &str) -> bool {
    match word.strip_prefix("*.") {
        Some(group) => kind.group == group,
        None => kind.answers_to(word),
    }
}

/// Whether a group that cannot be seen, or a kind of it, matters for what is asked for. Of a whole group a word of `--include`
/// means a part that is wanted; what `--exclude` says of one kind says nothing of the others that nobody sees.
pub(super) fn group_matters(group: &str, resource: Option<&str>, scope: &Scope) -> bool {
    let means = |word: &String, whole: bool| match word.split_once('.') {
        Some(("*", of)) => of == group,
        Some((kind, of)) => of == group && resource.map_or(whole, |resource| resource == kind),
        None => resource == Some(word.as_str()),
    };
    let included = scope.include.is_empty() || scope.include.iter().any(|word| means(word, true));
    included && !scope.exclude.iter().any(|word| means(word, false))
}

/// Why an object is not saved; `None` if it is. `item` is JSON as the server writes it, without blanks.
pub(super) fn object_left_out(kind: &str, item: &[u8]) -> Option<&'static str> {
    let rules = MADE_BY_CONTROLLERS.iter().filter(|(of, _, _)| *of == kind);
    let mut rules = rules.filter(|(_, mark, _)| memmem::find(item, mark.as_bytes()).is_some());
    rules.next().map(|(_, _, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, resource: &str, verbs: &[&str]) -> Kind {
        let mut kind = Kind::namespaces();
        (kind.group, kind.resource, kind.namespaced) = (group.to_owned(), resource.to_owned(), true);
        kind.verbs = verbs.iter().map(|verb| (*verb).to_owned()).collect();
        kind
    }

    #[test]
    fn every_kind_that_is_left_out_has_its_reason() {
        let all = ["list", "create", "get"];
        let scope = Scope { exclude: vec!["secrets".to_owned(), "*.example.com".to_owned()], ..Scope::default() };
        let reason = |kind: Kind| left_out(&kind, &scope);
        assert_eq!(reason(kind("", "configmaps", &all)), None);
        assert!(reason(kind("", "events", &all)).unwrap().contains("never"));
        assert!(reason(kind("coordination.k8s.io", "leases", &all)).unwrap().contains("never"));
        assert!(reason(kind("metrics.k8s.io", "pods", &["list", "get"])).unwrap().contains("computes"));
        assert!(reason(kind("", "bindings", &["create"])).unwrap().contains("listed"));
        assert!(reason(kind("", "secrets", &all)).unwrap().contains("--exclude secrets"));
        assert!(reason(kind("example.com", "widgets", &all)).unwrap().contains("*.example.com"));
        let only = Scope { include: vec!["secrets".to_owned()], ..Scope::default() };
        assert!(left_out(&kind("", "configmaps", &all), &only).unwrap().contains("asked for"));
    }

    #[test]
    fn endpoints_that_a_person_made_are_saved() {
        let made =
            br#"{"metadata":{"name":"web","labels":{"endpoints.kubernetes.io/managed-by":"endpoint-controller"}}}"#;
        assert!(object_left_out("endpoints", made).is_some());
        assert!(object_left_out("configmaps", made).is_none());
        assert!(object_left_out("endpoints", br#"{"metadata":{"name":"outside"}}"#).is_none());
        let slice =
            br#"{"metadata":{"labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io"}}}"#;
        assert!(object_left_out("endpointslices.discovery.k8s.io", slice).is_some());
    }

    #[test]
    fn a_group_that_cannot_be_seen_matters_unless_it_is_outside_the_scope() {
        let scope = |include: &[&str], exclude: &[&str]| Scope {
            include: include.iter().map(|word| (*word).to_owned()).collect(),
            exclude: exclude.iter().map(|word| (*word).to_owned()).collect(),
            ..Scope::default()
        };
        assert!(group_matters("example.com", None, &scope(&[], &[])));
        assert!(!group_matters("example.com", None, &scope(&[], &["*.example.com"])));
        assert!(!group_matters("example.com", None, &scope(&["secrets"], &[])));
        assert!(group_matters("example.com", None, &scope(&["widgets.example.com"], &[])));
        // The group has other kinds, of which nobody knows anything now.
        assert!(group_matters("example.com", None, &scope(&[], &["widgets.example.com"])));
        assert!(!group_matters("example.com", Some("widgets"), &scope(&[], &["widgets.example.com"])));
        assert!(group_matters("example.com", Some("gadgets"), &scope(&[], &["widgets.example.com"])));
    }
}
