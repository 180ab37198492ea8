//! `davit chaos rbac FAULT…`: the roles that faults need, and nothing more.

use crate::chaos::{self, Place, Rule, Target};
use crate::cli::args::ChaosRbacArgs;
use crate::cli::output::{Document, Ended};
use crate::error::Result;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Prints the roles.
pub(super) fn run(args: &ChaosRbacArgs) -> Result<Ended> {
    let mut rules: BTreeMap<Place, BTreeMap<(&str, &str), BTreeSet<&str>>> = BTreeMap::new();
    let target = args.target.as_deref().map(str::parse::<Target>).transpose()?;
    let mut needed: Vec<Rule> = target.as_ref().and_then(Target::reads).into_iter().collect();
    for name in &args.faults {
        needed.extend(chaos::find(name)?.facts().rbac);
    }
    for Rule { group, resource, verbs, place } in needed {
        rules.entry(place).or_default().entry((group, resource)).or_default().extend(verbs);
    }
    if !rules.is_empty() {
        // Which cluster this is, and what the namespace says of itself.
        rules.entry(Place::Cluster).or_default().entry(("", "namespaces")).or_default().extend(["get"]);
    }
    let namespace = target.as_ref().and_then(Target::namespace).unwrap_or(&args.namespace);
    let objects: Vec<Value> =
        rules.into_iter().flat_map(|(place, rules)| role(args, namespace, place, &rules)).collect();
    Ended::with(&Roles { faults: args.faults.clone(), objects })
}

fn role(
    args: &ChaosRbacArgs,
    target: &str,
    place: Place,
    rules: &BTreeMap<(&str, &str), BTreeSet<&str>>,
) -> [Value; 2] {
    let (kind, namespace) = match place {
        Place::Target => ("Role", Some(target)),
        Place::Helper => ("Role", Some(args.helper_namespace.as_str())),
        Place::Heartbeats => ("Role", Some(chaos::HEARTBEATS)),
        Place::Cluster => ("ClusterRole", None),
    };
    let mut meta = json!({ "name": args.account });
    if let Some(namespace) = namespace {
        meta["namespace"] = json!(namespace);
    }
    let rule = |((group, resource), verbs): (&(&str, &str), &BTreeSet<&str>)| json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs });
    let rules: Vec<Value> = rules.iter().map(rule).collect();
    let home = args.account_namespace.as_deref().unwrap_or(&args.helper_namespace);
    let api = "rbac.authorization.k8s.io/v1";
    [
        json!({ "apiVersion": api, "kind": kind, "metadata": meta, "rules": rules }),
        json!({
            "apiVersion": api, "kind": format!("{kind}Binding"), "metadata": meta,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": args.account },
            "subjects": [{ "kind": "ServiceAccount", "name": args.account, "namespace": home }],
        }),
    ]
}

#[derive(Debug, Serialize)]
struct Roles {
    faults: Vec<String>,
    objects: Vec<Value>,
}

impl Document for Roles {
    fn text(&self) -> String {
        if self.objects.is_empty() {
            return "# these faults need no role in a cluster; davit chaos list FAULT says what they need\n".to_owned();
        }
        // JSON is YAML, and a stream of documents is what kubectl applies.
        let documents = self.objects.iter().filter_map(|object| serde_saphyr::to_string(object).ok());
        documents.fold(String::new(), |all, text| all + "---\n" + &text)
    }
}
