//! Who will use the claims of a point, and where that may run.
//!
//! Where a class waits for the first pod of a claim, its volume is made, for good, where that pod can be; and the first
//! pod of a claim whose files come back is the mover. So a mover goes where the pod can run that will use the claim, and
//! it names all claims of that pod: then it is the scheduler that looks for a place from which all of them can be had,
//! as it will for the pod. A second mover on the node of the first would come too late where no volume of the second
//! claim can be made there.

use crate::snapshot::object::{Place, Saved};
use crate::snapshot::plan::{Selector, any_means, has_ended, selects};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const CLAIMS: &str = "persistentvolumeclaims";
/// The account of pods that name none.
pub(super) const DEFAULT: &str = "default";
/// Where the pods of a workload are described, whoever defined its kind.
const TEMPLATES: [&str; 2] = ["/spec/template", "/spec/jobTemplate/spec/template"];

/// What a pod says of where it can run and what it pulls its image with.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Terms {
    pub(super) node_selector: Value,
    pub(super) node_affinity: Value,
    pub(super) tolerations: Value,
    /// What pods of one workload do not share: zones, nodes.
    pub(super) apart: Vec<String>,
    pub(super) pull_secrets: Vec<String>,
}

/// A pod that will be, with claims.
#[derive(Debug)]
struct User {
    /// What makes it; all pods of one object keep apart as it says.
    of: Place,
    claims: Vec<Place>,
    terms: Terms,
}

/// Who will use the claims.
#[derive(Debug, Default)]
pub struct Users {
    users: Vec<User>,
    /// Of a claim that nobody uses.
    nobody: Terms,
}

/// Claims that one mover fills.
#[derive(Debug, PartialEq)]
pub(in crate::snapshot) struct Set<'a> {
    /// Those that it fills.
    pub(in crate::snapshot) fill: Vec<&'a Place>,
    /// Others of the same pod, which must be had from where it runs, too.
    pub(super) beside: Vec<&'a str>,
    pub(super) terms: &'a Terms,
}

impl Users {
    /// Looks at the objects as they will be made; what has ended will be only where `only` names it. Nobody is looked for
    /// where no files come back.
    pub(in crate::snapshot) fn of(saved: &[Saved], files: &BTreeSet<String>, only: &[Selector]) -> Self {
        if files.is_empty() {
            return Self::default();
        }
        let is = |one: &&Saved, kind: &str| one.identity.group.is_empty() && one.identity.resource == kind;
        let claims: BTreeSet<Place> =
            saved.iter().filter(|one| is(one, CLAIMS)).map(|one| one.identity.place()).collect();
        let accounts = saved.iter().filter(|one| is(one, "serviceaccounts"));
        let accounts: BTreeMap<&str, Vec<String>> =
            accounts.map(|one| (one.identity.name.as_str(), names(&one.body.open()["imagePullSecrets"]))).collect();
        let mut users: Vec<(u8, User)> = Vec::new();
        for one in saved {
            let Some(namespace) = one.identity.namespace.as_deref() else { continue };
            let body = one.body.open();
            let place = one.identity.place();
            if has_ended(&place.group_resource, &body) && !any_means(only, &place) {
                continue;
            }
            let (rank, template) = match TEMPLATES.iter().find_map(|path| body.pointer(path)) {
                // What runs all the time says more of where a claim belongs than what runs now and then.
                Some(template) => (u8::from(one.identity.group == "batch"), template),
                // What a controller of the snapshot makes is there as well, after what makes it.
                None if place.group_resource == "pods" => (2, &body),
                None => continue,
            };
            let spec = &template["spec"];
            let terms = terms(template, &accounts);
            let named = spec["volumes"].as_array().into_iter().flatten();
            let named = named.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str());
            let shared: Vec<Place> = named.map(|name| Place::in_namespace(CLAIMS, namespace, name)).collect();
            let mut of_each = of_each(&body, &place, &claims);
            if of_each.is_empty() && !shared.is_empty() {
                of_each.insert(0, Vec::new());
            }
            users.extend(of_each.into_values().map(|own| {
                let claims = own.into_iter().chain(shared.iter().cloned()).collect();
                (rank, User { of: place.clone(), claims, terms: terms.clone() })
            }));
        }
        users.sort_by_key(|(rank, _)| *rank);
        let pull_secrets = accounts.get(DEFAULT).cloned().unwrap_or_default();
        Self {
            users: users.into_iter().map(|(_, user)| user).collect(),
            nobody: Terms { pull_secrets, ..Terms::default() },
        }
    }

    /// Who fills which of these claims: one mover for each pod that will use some that nobody before it did, those of one
    /// workload together. `is_there` tells of other claims.
    pub(in crate::snapshot) fn crews<'a>(
        &'a self,
        claims: impl IntoIterator<Item = &'a Place>,
        is_there: impl Fn(&Place) -> bool,
    ) -> Vec<Vec<Set<'a>>> {
        let mut open: BTreeSet<&'a Place> = claims.into_iter().collect();
        let mut crews: Vec<(Option<&Place>, Vec<Set<'a>>)> = Vec::new();
        for user in &self.users {
            let fill: Vec<&'a Place> = user.claims.iter().filter_map(|claim| open.take(claim)).collect();
            if fill.is_empty() {
                continue;
            }
            let beside = user.claims.iter().filter(|claim| !fill.contains(claim) && is_there(claim));
            let beside = beside.map(|claim| claim.name.as_str()).collect();
            let set = Set { fill, beside, terms: &user.terms };
            match crews.last_mut() {
                Some((Some(of), crew)) if **of == user.of => crew.push(set),
                _ => crews.push((Some(&user.of), vec![set])),
            }
        }
        let alone = |claim| vec![Set { fill: vec![claim], beside: Vec::new(), terms: &self.nobody }];
        crews.into_iter().map(|(_, crew)| crew).chain(open.into_iter().map(alone)).collect()
    }
}

/// The claims that a `StatefulSet` makes for each of its pods, by the number of the pod.
fn of_each(body: &Value, place: &Place, claims: &BTreeSet<Place>) -> BTreeMap<u32, Vec<Place>> {
    let mut of_each: BTreeMap<u32, Vec<Place>> = BTreeMap::new();
    let templates = body.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    for template in templates.into_iter().flatten() {
        let name = template["metadata"]["name"].as_str().unwrap_or_default();
        let begins = format!("{name}-{}-", place.name);
        for claim in claims.iter().filter(|claim| claim.namespace == place.namespace) {
            if let Some(number) = claim.name.strip_prefix(&begins).and_then(|number| number.parse().ok()) {
                of_each.entry(number).or_default().push(claim.clone());
            }
        }
    }
    of_each
}

fn terms(template: &Value, accounts: &BTreeMap<&str, Vec<String>>) -> Terms {
    let spec = &template["spec"];
    let mut pull_secrets = names(&spec["imagePullSecrets"]);
    // A pod that names some gets none of its account.
    for account in [spec["serviceAccountName"].as_str().unwrap_or(DEFAULT), DEFAULT] {
        pull_secrets.extend(accounts.get(account).into_iter().flatten().cloned());
    }
    Terms {
        node_selector: spec["nodeSelector"].clone(),
        node_affinity: spec["affinity"]["nodeAffinity"].clone(),
        tolerations: spec["tolerations"].clone(),
        apart: apart(template),
        pull_secrets: once(pull_secrets),
    }
}

/// Topologies over which a pod keeps apart from others of its own workload.
fn apart(template: &Value) -> Vec<String> {
    let labels = template["metadata"]["labels"].as_object().into_iter().flatten();
    let labels: BTreeMap<String, String> =
        labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    let spec = &template["spec"];
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let anti = &spec["affinity"]["podAntiAffinity"];
    let mut all = list(&anti["requiredDuringSchedulingIgnoredDuringExecution"]);
    let preferred = list(&anti["preferredDuringSchedulingIgnoredDuringExecution"]);
    all.extend(preferred.into_iter().map(|one| one["podAffinityTerm"].clone()));
    all.extend(list(&spec["topologySpreadConstraints"]));
    let own = all.iter().filter(|one| one["labelSelector"].is_object() && selects(&one["labelSelector"], &labels));
    once(own.filter_map(|one| one["topologyKey"].as_str().map(str::to_owned)).collect())
}

/// The names in a list of references.
pub(super) fn names(references: &Value) -> Vec<String> {
    let all = references.as_array().into_iter().flatten();
    all.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect()
}

/// Each of them once, in the order in which they came first.
pub(super) fn once(all: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    all.into_iter().filter(|one| seen.insert(one.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::object::SavedKind;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "the literals of a test are values")]
    fn saved(group_resource: &str, name: &str, more: Value) -> Saved {
        let mut body = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": name, "namespace": "shop"}});
        crate::snapshot::map::patch::merge(&mut body, &more);
        Saved::new(SavedKind::of_body(group_resource, true, &body), &body)
    }

    #[expect(clippy::needless_pass_by_value, reason = "the literals of a test are values")]
    fn mounts(claims: &[&str], more: Value) -> Value {
        let volumes: Vec<Value> =
            claims.iter().map(|claim| json!({"persistentVolumeClaim": {"claimName": claim}})).collect();
        let mut spec = json!({"volumes": volumes});
        crate::snapshot::map::patch::merge(&mut spec, &more);
        json!({"spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": spec}}})
    }

    fn places(names: &[&str]) -> BTreeSet<Place> {
        names.iter().map(|name| Place::in_namespace(CLAIMS, "shop", name)).collect()
    }

    fn shown(crews: &[Vec<Set<'_>>]) -> Vec<Vec<(Vec<String>, Vec<String>)>> {
        let own = |set: &Set<'_>| {
            let fill = set.fill.iter().map(|place| place.name.clone()).collect();
            (fill, set.beside.iter().map(|name| (*name).to_owned()).collect())
        };
        crews.iter().map(|crew| crew.iter().map(own).collect()).collect()
    }

    fn of(saved: &[Saved], open: &[&str]) -> Vec<Vec<(Vec<String>, Vec<String>)>> {
        let users = Users::of(saved, &["data".to_owned()].into(), &[]);
        let open = places(open);
        shown(&users.crews(&open, |claim| claim.name != "gone"))
    }

    #[test]
    fn claims_of_one_pod_are_filled_by_one_mover_and_those_that_nobody_uses_by_one_each() {
        let web = saved("deployments.apps", "web", mounts(&["b", "a", "there", "gone"], json!({})));
        let other = saved("deployments.apps", "other", mounts(&["a", "c"], json!({})));
        let wanted = vec![
            vec![(vec!["b".to_owned(), "a".to_owned()], vec!["there".to_owned()])],
            vec![(vec!["c".to_owned()], vec!["a".to_owned()])],
            vec![(vec!["unused".to_owned()], vec![])],
        ];
        assert_eq!(of(&[web, other], &["a", "b", "c", "unused"]), wanted);
    }

    #[test]
    fn each_pod_of_a_stateful_set_has_a_mover_of_its_own_and_they_are_one_crew() {
        let mut body = mounts(&["shared"], json!({}));
        body["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}}, {"metadata": {"name": "wal"}}]);
        let claims = ["data-db-0", "wal-db-0", "data-db-10", "wal-db-10", "data-db-x", "shared"];
        let mut all: Vec<Saved> = claims.iter().map(|name| saved(CLAIMS, name, json!({}))).collect();
        all.push(saved("statefulsets.apps", "db", body));
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let wanted = vec![
            vec![
                (owned(&["data-db-0", "wal-db-0", "shared"]), vec![]),
                (owned(&["data-db-10", "wal-db-10"]), owned(&["shared"])),
            ],
            vec![(owned(&["data-db-x"]), vec![])],
        ];
        assert_eq!(of(&all, &claims), wanted);
    }

    #[test]
    fn what_runs_all_the_time_is_asked_before_jobs_and_pods() {
        let pod =
            saved("pods", "web-1", mounts(&["a"], json!({"nodeSelector": {"of": "pod"}}))["spec"]["template"].clone());
        let job = saved("jobs.batch", "job", mounts(&["a"], json!({"nodeSelector": {"of": "job"}})));
        let custom = saved("rollouts.argoproj.io", "web", mounts(&["a"], json!({"nodeSelector": {"of": "custom"}})));
        let who = |all: &[Saved]| {
            let users = Users::of(all, &["a".to_owned()].into(), &[]);
            let open = places(&["a"]);
            let crews = users.crews(&open, |_| true);
            crews[0][0].terms.node_selector["of"].as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(who(&[pod.clone(), job.clone(), custom]), "custom");
        assert_eq!(who(&[pod.clone(), job]), "job");
        assert_eq!(who(&[pod]), "pod", "one whose maker nobody can read says it itself");
    }

    #[test]
    fn what_has_ended_decides_nothing_unless_it_is_to_run_again() {
        let ended = |kind: &str, name: &str, body: Value, status: Value| {
            let mut body = body;
            body["status"] = status;
            saved(kind, name, body)
        };
        let ssd = |claims: &[&str]| mounts(claims, json!({"nodeSelector": {"disk": "gone"}}));
        let all = [
            ended(
                "jobs.batch",
                "import",
                ssd(&["a", "b"]),
                json!({"conditions": [{"type": "Complete", "status": "True"}]}),
            ),
            ended("pods", "once", ssd(&["a", "b"])["spec"]["template"].clone(), json!({"phase": "Succeeded"})),
            saved("cronjobs.batch", "nightly", json!({"spec": {"jobTemplate": mounts(&["b"], json!({}))}})),
        ];
        let (files, open) = (["a".to_owned()].into(), places(&["a", "b"]));
        let alone = |name: &str| vec![(vec![name.to_owned()], vec![])];
        let users = Users::of(&all, &files, &[]);
        let crews = users.crews(&open, |_| true);
        assert_eq!(shown(&crews), [alone("b"), alone("a")]);
        assert!(crews.iter().all(|crew| crew[0].terms == &Terms::default()), "{crews:?}");
        let users = Users::of(&all, &files, &[Selector::parse("jobs.batch/import")]);
        assert_eq!(users.crews(&open, |_| true)[0][0].terms.node_selector["disk"], "gone");
    }

    #[test]
    fn a_mover_takes_over_where_its_pod_may_run_how_it_keeps_apart_and_whose_secrets_pull() {
        let own = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"});
        let others = json!({"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "rack"});
        let spread = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "host"});
        let more = json!({
            "nodeSelector": {"disk": "ssd"},
            "affinity": {"nodeAffinity": {"x": 1}, "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [own.clone(), others],
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": own}]}},
            "topologySpreadConstraints": [spread],
            "tolerations": [{"key": "db"}],
            "imagePullSecrets": [{"name": "own"}],
            "serviceAccountName": "web"
        });
        let account =
            |name: &str, secret: &str| saved("serviceaccounts", name, json!({"imagePullSecrets": [{"name": secret}]}));
        let all = [
            saved("deployments.apps", "web", mounts(&["a"], more)),
            account("web", "of-web"),
            account("default", "of-all"),
        ];
        let users = Users::of(&all, &["a".to_owned()].into(), &[]);
        let open = places(&["a", "unused"]);
        let crews = users.crews(&open, |_| true);
        let wanted = Terms {
            node_selector: json!({"disk": "ssd"}),
            node_affinity: json!({"x": 1}),
            tolerations: json!([{"key": "db"}]),
            apart: vec!["zone".to_owned(), "host".to_owned()],
            pull_secrets: ["own", "of-web", "of-all"].map(str::to_owned).to_vec(),
        };
        assert_eq!(crews[0][0].terms, &wanted);
        assert_eq!(crews[1][0].terms, &Terms { pull_secrets: vec!["of-all".to_owned()], ..Terms::default() });
    }

    #[test]
    fn nobody_is_looked_for_where_no_files_come_back() {
        let users = Users::of(&[saved("deployments.apps", "web", mounts(&["a"], json!({})))], &BTreeSet::new(), &[]);
        assert!(users.users.is_empty());
    }
}
