//! `--modify FILE`: the user's own changes of objects on their way into a cluster.
//!
//! ```yaml
//! rules:
//!   - kind: deployments.apps          # *.apps, * are patterns too
//!     name: web-*                     # optional, as are labels and where
//!     labels: {app: web}
//!     where: [{path: /spec/replicas, value: 3}]
//!     patch: [{op: replace, path: /spec/replicas, value: 1}]
//!   - kind: services
//!     merge: {spec: {type: ClusterIP}}
//! ```

use super::super::object::{self, Saved};
use super::patch::{self, Operation, PatchError};
use crate::error::{Error, Result};
use crate::yaml::nearest;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;
use std::collections::{BTreeMap, BTreeSet};

/// No file has more rules than anybody can follow.
const RULES_MAX: usize = 1000;

/// Kinds whose whole name is one word: the core has no group, and gets no more kinds. Only those that a snapshot can have.
const WITHOUT_GROUP: [&str; 13] = [
    "configmaps",
    "endpoints",
    "limitranges",
    "namespaces",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "serviceaccounts",
    "services",
];

/// The rules of a file, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    file: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    line: u64,
    kind: String,
    name: Option<String>,
    labels: BTreeMap<String, String>,
    conditions: Vec<Condition>,
    change: Change,
}

#[derive(Debug, Clone, PartialEq)]
enum Change {
    Patch(Vec<Operation>),
    Merge(Value),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    path: String,
    value: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    rules: Vec<Spanned<RawRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    kind: Spanned<String>,
    name: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default, rename = "where")]
    conditions: Vec<Spanned<Condition>>,
    patch: Option<Vec<Spanned<Operation>>>,
    merge: Option<Spanned<Value>>,
}

impl Rules {
    /// Reads the text of a file.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
        let raw: RawRules = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let line = error.location().map(|location| location.line());
            let text = error.to_string();
            // The reader says the place once more at the end.
            let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
            wrong(file, line, what)
                .hint("a rule is {kind: deployments.apps, patch: [{op: replace, path: /spec/replicas, value: 1}]}")
        })?;
        if raw.rules.len() > RULES_MAX {
            return Err(wrong(file, None, format!("more than {RULES_MAX} rules")));
        }
        let rules = raw.rules.into_iter().map(|raw| rule(file, raw)).collect::<Result<_>>()?;
        Ok(Self { file: file.to_owned(), rules })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Applies every rule that means the object to its body; the lines of those that did.
    pub fn apply(&self, saved: &Saved, body: &mut Value) -> Result<Vec<u64>> {
        let mut met = Vec::new();
        for rule in &self.rules {
            if !rule.means(saved, body) {
                continue;
            }
            let before = body.clone();
            match &rule.change {
                Change::Merge(patch) => patch::merge(body, patch),
                Change::Patch(operations) => match patch::apply(body, operations) {
                    Ok(()) => {}
                    Err(PatchError::NotMeant) => continue,
                    Err(error) => {
                        let place = saved.identity.place();
                        return Err(wrong(&self.file, Some(rule.line), format!("the rule changing {place}: {error}")));
                    }
                },
            }
            if object::name(body) != object::name(&before) || object::namespace(body) != object::namespace(&before) {
                let place = saved.identity.place();
                return Err(wrong(
                    &self.file,
                    Some(rule.line),
                    format!("the rule gives {place} another name or namespace"),
                )
                .hint("--into names another namespace"));
            }
            met.push(rule.line);
        }
        Ok(met)
    }

    /// What is wrong with rules that met nothing, and what to look at: those with conditions on values apart, which may
    /// hold nowhere.
    pub(super) fn unmet(&self, met: &BTreeSet<u64>, kinds: &BTreeSet<String>) -> Vec<Unmet> {
        let unmet = self.rules.iter().filter(|rule| !met.contains(&rule.line) && !rule.is_conditional());
        let told = |rule: &Rule| {
            let text = format!("reading {}: line {}: the rule means no object of the snapshot", self.file, rule.line);
            let short =
                |kind: &'_ String| kind.split('.').next().filter(|word| means_kind(word, kind)).map(str::to_owned);
            let names: BTreeSet<String> = kinds.iter().cloned().chain(kinds.iter().filter_map(short)).collect();
            let is_there = kinds.iter().any(|kind| means_kind(&rule.kind, kind));
            let hint = if is_there {
                format!("it has {}, but none with that name and those labels", rule.kind)
            } else {
                match nearest(&rule.kind, names.iter().map(String::as_str)) {
                    Some(near) => format!("it has no {}; did you mean {near}?", rule.kind),
                    None => format!("it has no {}; davit snapshot show lists its kinds", rule.kind),
                }
            };
            Unmet { text, hint, kind: (!is_there).then(|| rule.kind.clone()) }
        };
        unmet.map(told).collect()
    }

    /// The lines of all rules.
    pub fn lines(&self) -> Vec<u64> {
        self.rules.iter().map(|rule| rule.line).collect()
    }
}

fn wrong(file: &str, line: Option<u64>, what: impl std::fmt::Display) -> Error {
    match line {
        Some(line) => Error::input(format!("reading {file}: line {line}: {what}")),
        None => Error::input(format!("reading {file}: {what}")),
    }
}

fn rule(file: &str, raw: Spanned<RawRule>) -> Result<Rule> {
    let line = raw.referenced.line();
    let raw = raw.value;
    let pointer = |line: u64, path: &str| {
        if path.is_empty() || path.starts_with('/') {
            return Ok(());
        }
        Err(wrong(file, Some(line), format!("the path {path:?} does not begin with a slash"))
            .hint("a path is /spec/replicas"))
    };
    if raw.kind.value.is_empty() {
        return Err(
            wrong(file, Some(raw.kind.referenced.line()), "the kind is empty").hint("a kind is deployments.apps")
        );
    }
    for condition in &raw.conditions {
        pointer(condition.referenced.line(), &condition.value.path)?;
    }
    let change = match (raw.patch, raw.merge) {
        (Some(operations), None) => {
            for operation in &operations {
                for path in operation.value.paths() {
                    pointer(operation.referenced.line(), path)?;
                }
            }
            Change::Patch(operations.into_iter().map(|operation| operation.value).collect())
        }
        (None, Some(merge)) if merge.value.is_object() => Change::Merge(merge.value),
        (None, Some(merge)) => return Err(wrong(file, Some(merge.referenced.line()), "a merge patch is a map")),
        _ => return Err(wrong(file, Some(line), "a rule has either patch or merge")),
    };
    let conditions = raw.conditions.into_iter().map(|condition| condition.value).collect();
    Ok(Rule { line, kind: raw.kind.value, name: raw.name, labels: raw.labels, conditions, change })
}

impl Rule {
    fn means(&self, saved: &Saved, body: &Value) -> bool {
        let labels = || self.labels.iter().all(|(key, value)| object::label(body, key) == Some(value));
        let conditions =
            || self.conditions.iter().all(|condition| body.pointer(&condition.path) == Some(&condition.value));
        means_kind(&self.kind, &saved.kind.group_resource())
            && self.name.as_ref().is_none_or(|name| matches(name, &saved.identity.name))
            && labels()
            && conditions()
    }

    /// Whether values decide what it means, and not only kinds, names and labels.
    fn is_conditional(&self) -> bool {
        let tests = |operation: &Operation| matches!(operation, Operation::Test { .. });
        !self.conditions.is_empty() || matches!(&self.change, Change::Patch(operations) if operations.iter().any(tests))
    }
}

/// A rule that could mean no object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// What is wrong with it.
    pub text: String,
    /// What to look at.
    pub hint: String,
    /// Its kind, where there is no object of it.
    kind: Option<String>,
}

impl Unmet {
    /// Whether it is written for objects that are not always there: rules may be shared by many namespaces.
    pub fn is_for_others(&self, known: &BTreeSet<String>) -> bool {
        self.kind.as_ref().is_some_and(|kind| known.iter().any(|known| means_kind(kind, known)))
    }
}

/// Whether a pattern means a kind; `deployments` is enough, but `services` are those of the core and no others.
pub fn means_kind(pattern: &str, group_resource: &str) -> bool {
    matches(pattern, group_resource)
        || (Some(pattern) == group_resource.split('.').next() && !WITHOUT_GROUP.contains(&pattern))
}

/// Whether a pattern, in which `*` stands for any characters, is all of `text`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pattern.rsplit_once('*').map(|(_, last)| last) else { return rest.is_empty() };
    let middle: Vec<&str> = parts.collect();
    for part in &middle[..middle.len().saturating_sub(1)] {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::super::super::object::SavedKind;
    use super::*;
    use serde_json::json;

    /// What the rules make of an object, and the lines of those that changed it.
    fn applied(rules: &Rules, saved: &Saved) -> Result<(Vec<u64>, Value)> {
        let mut body = saved.body.open();
        Ok((rules.apply(saved, &mut body)?, body["spec"].take()))
    }

    fn deployment(name: &str, replicas: u64) -> Saved {
        let kind = SavedKind {
            group: "apps".into(),
            version: "v1".into(),
            resource: "deployments".into(),
            kind: "Deployment".into(),
            namespaced: true,
        };
        let body = json!({"metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}},
            "spec": {"replicas": replicas}});
        Saved::new(&kind, &body)
    }

    #[test]
    fn rules_change_what_they_mean_and_nothing_else() {
        let rules = Rules::parse(
            "modify.yaml",
            "rules:\n\
             - kind: '*.apps'\n  name: web-*\n  labels: {app: web}\n  where: [{path: /spec/replicas, value: 3}]\n\
             \x20 patch: [{op: replace, path: /spec/replicas, value: 1}]\n\
             - kind: deployments.apps\n  merge: {spec: {paused: true}}\n",
        )
        .unwrap();
        let told = |name: &str, replicas| applied(&rules, &deployment(name, replicas)).unwrap();
        assert_eq!(told("web-1", 3), (vec![2, 7], json!({"replicas": 1, "paused": true})));
        assert_eq!(told("web-1", 2), (vec![7], json!({"replicas": 2, "paused": true})));
        assert_eq!(told("api", 3).0, [7]);
        assert_eq!(rules.lines(), [2, 7]);
    }

    #[test]
    fn a_rule_that_means_nothing_is_told_with_what_it_could_mean_and_one_that_changes_nothing_is_not() {
        let rules = Rules::parse(
            "m.yaml",
            "rules:\n- kind: deployments\n  merge: {spec: {replicas: 2}}\n- kind: deploymnets\n  merge: {spec: {paused: true}}\n\
             - kind: deployments\n  name: wbe\n  merge: {}\n- kind: deployments.apps\n  where: [{path: /spec/replicas, value: 9}]\n\
             \x20 merge: {}\n- kind: deployments.apps\n  patch: [{op: test, path: /spec/replicas, value: 9}]\n\
             - kind: jobs\n  merge: {}\n",
        )
        .unwrap();
        let (met, spec) = applied(&rules, &deployment("web", 2)).unwrap();
        assert_eq!((met.as_slice(), spec), (&[2][..], json!({"replicas": 2})));
        let kinds = ["deployments.apps".to_owned(), "secrets".to_owned()].into();
        let told = rules.unmet(&met.into_iter().collect(), &kinds);
        let known = ["jobs.batch".to_owned(), "secrets".to_owned()].into();
        let others: Vec<&str> =
            told.iter().filter(|one| one.is_for_others(&known)).map(|one| one.hint.as_str()).collect();
        assert_eq!(others, ["it has no jobs; davit snapshot show lists its kinds"], "a kind that has no object here");
        let told: Vec<(&str, &str)> = told.iter().map(|one| (one.text.as_str(), one.hint.as_str())).collect();
        assert_eq!(
            told,
            [
                (
                    "reading m.yaml: line 4: the rule means no object of the snapshot",
                    "it has no deploymnets; did you mean deployments?"
                ),
                (
                    "reading m.yaml: line 6: the rule means no object of the snapshot",
                    "it has deployments, but none with that name and those labels"
                ),
                (
                    "reading m.yaml: line 14: the rule means no object of the snapshot",
                    "it has no jobs; davit snapshot show lists its kinds"
                ),
            ]
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let told: Vec<String> = [
            "rules:\n- kind: pods\n  patch: [{op: spin, path: /a}]\n",
            "rules:\n- kind: pods\n  patch:\n  - {op: remove, path: /a}\n  - {op: remove, path: a}\n",
            "rules:\n- kind: pods\n",
            "rules:\n- kind: pods\n  merge: 3\n",
            "rules:\n- kind: pods\n  nam: x\n  merge: {}\n",
            "rules:\n- kind: ''\n  merge: {}\n",
            "rules:\n- kind: pods\n  where:\n  - {path: x, value: 1}\n  merge: {}\n",
            "rules: [\n",
        ]
        .iter()
        .map(|text| Rules::parse("m.yaml", text).unwrap_err().to_string())
        .collect();
        for error in &told {
            assert!(error.starts_with("reading m.yaml: line "), "{error}");
        }
        insta::assert_snapshot!(told.join("\n"), @r#"
        reading m.yaml: line 3: unknown variant `spin`, expected one of add, remove, replace, move, copy, test
        reading m.yaml: line 5: the path "a" does not begin with a slash
        reading m.yaml: line 2: a rule has either patch or merge
        reading m.yaml: line 3: a merge patch is a map
        reading m.yaml: line 3: unknown field `nam`, expected one of kind, name, labels, where, patch, merge
        reading m.yaml: line 2: the kind is empty
        reading m.yaml: line 4: the path "x" does not begin with a slash
        reading m.yaml: line 1: unclosed bracket '['
        "#);
    }

    #[test]
    fn an_operation_that_cannot_be_done_names_the_rule_and_the_object() {
        let rules =
            Rules::parse("m.yaml", "rules:\n\n- kind: '*'\n  patch: [{op: remove, path: /spec/paused}]\n").unwrap();
        let error = applied(&rules, &deployment("web", 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "reading m.yaml: line 3: the rule changing deployments.apps/web: operation 1: nothing is at /spec/paused"
        );
        let renaming = Rules::parse("m.yaml", "rules:\n- kind: '*'\n  merge: {metadata: {name: other}}\n").unwrap();
        let error = applied(&renaming, &deployment("web", 1)).unwrap_err();
        assert!(error.to_string().contains("line 2: the rule gives deployments.apps/web another name"), "{error}");
    }

    #[test]
    fn a_word_that_is_a_whole_kind_means_no_other_kind_of_that_word() {
        for (pattern, kind) in [
            ("services", "services"),
            ("deployments", "deployments.apps"),
            ("nodes", "nodes.longhorn.io"),
            ("services.serving.knative.dev", "services.serving.knative.dev"),
            ("services*", "services.serving.knative.dev"),
        ] {
            assert!(means_kind(pattern, kind), "{pattern} {kind}");
        }
        for (pattern, kind) in [
            ("services", "services.serving.knative.dev"),
            ("pods", "pods.metrics.k8s.io"),
            ("deployments.apps", "deployments"),
            ("deployment", "deployments.apps"),
        ] {
            assert!(!means_kind(pattern, kind), "{pattern} {kind}");
        }
        let rules = Rules::parse("m.yaml", "rules:\n- kind: services\n  merge: {spec: {type: ClusterIP}}\n").unwrap();
        let kind = |group: &str| SavedKind {
            group: group.into(),
            version: "v1".into(),
            resource: "services".into(),
            kind: "Service".into(),
            namespaced: true,
        };
        let body = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {}});
        let (core, custom) = (Saved::new(kind(""), &body), Saved::new(kind("serving.knative.dev"), &body));
        assert_eq!(applied(&rules, &core).unwrap(), (vec![2], json!({"type": "ClusterIP"})));
        assert_eq!(applied(&rules, &custom).unwrap(), (vec![], json!({})));
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text) in
            [("*", ""), ("*", "x"), ("a*", "a"), ("a*c", "abbc"), ("*b*", "abc"), ("a*a", "aa"), ("x", "x")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*a", "a"), ("x", "xy"), ("*.apps", "deployments.app"), ("a*b*c", "acb"), ("", "x")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
