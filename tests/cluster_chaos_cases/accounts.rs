//! The account of faults: with exactly the roles that are printed it breaks and heals, and with one verb less nothing is begun.

use crate::stand::{Stand, inject, proven};
use crate::support::cluster::Cluster;
use crate::support::wait_until;
use serde_json::{Value, json};

/// Every verb of every role, with the role as it is without it.
fn each_taken_away(objects: &[Value]) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for object in objects.iter().filter(|object| object["rules"].is_array()) {
        for (at, rule) in object["rules"].as_array().unwrap().iter().enumerate() {
            for (number, verb) in rule["verbs"].as_array().unwrap().iter().enumerate() {
                let mut fewer = object.clone();
                fewer["rules"][at]["verbs"].as_array_mut().unwrap().remove(number);
                if fewer["rules"][at]["verbs"] == json!([]) {
                    fewer["rules"].as_array_mut().unwrap().remove(at);
                }
                let resource = rule["resources"][0].as_str().unwrap().to_owned();
                all.push((verb.as_str().unwrap().to_owned(), resource, fewer));
            }
        }
    }
    all
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn an_account_with_exactly_the_printed_roles_breaks_and_heals_and_with_one_verb_less_it_is_refused() {
    let cluster = Cluster::shared();
    let mut stand = Stand::with_web(&cluster, "account");
    let kubeconfig = stand.kubeconfig_of_account();
    let (app, helpers) = (stand.app.name.clone(), stand.helpers.name.clone());
    let user = format!("system:serviceaccount:{helpers}:{helpers}");
    let may = |verb: &str, resource: &str, object: &Value| {
        let (kind, part) = resource.split_once('/').unwrap_or((resource, ""));
        let (part, user) = (format!("--subresource={part}"), format!("--as={user}"));
        let mut arguments = vec!["auth", "can-i", verb, kind, &part, &user];
        if let Some(namespace) = object["metadata"]["namespace"].as_str() {
            arguments.extend(["--namespace", namespace]);
        }
        cluster.kubectl_command().args(arguments).output().unwrap().stdout.starts_with(b"yes")
    };
    let mut verbs = 0;
    for (fault, target, lift) in [
        ("container-kill", format!("{app}/pods/app=web"), "caps"),
        ("scale-to-zero", format!("{app}/deployment/web"), "quorum"),
    ] {
        let objects = stand.account(&[fault]);
        let rights = each_taken_away(&objects);
        for (verb, resource, fewer) in &rights {
            wait_until(20, &format!("{verb} {resource}"), || may(verb, resource, fewer));
        }
        stand.desk.set("KUBECONFIG", kubeconfig.to_str().unwrap());
        proven(&inject(&stand.desk, &helpers, fault, &target, &["--lift", lift]));
        stand.app.wait_rollout("deployment/web");
        for (verb, resource, fewer) in &rights {
            stand.apply_anywhere(&fewer.to_string());
            wait_until(20, &format!("no {verb} {resource}"), || !may(verb, resource, fewer));
            let more = ["--lift", lift, "--dry-run"];
            let (code, document) = inject(&stand.desk, &helpers, fault, &target, &more);
            let text = document.to_string();
            assert_eq!(code, 3, "{fault} without {verb} {resource}: {document:#}");
            assert!(text.contains(resource.split('/').next().unwrap()), "{fault} without {verb} {resource}: {text}");
            verbs += 1;
            let whole = objects
                .iter()
                .find(|object| object["kind"] == fewer["kind"] && object["metadata"] == fewer["metadata"]);
            stand.apply_anywhere(&whole.unwrap().to_string());
            wait_until(20, &format!("{verb} {resource} again"), || may(verb, resource, fewer));
        }
        assert_eq!(inject(&stand.desk, &helpers, fault, &target, &["--lift", lift, "--dry-run"]).0, 0);
        stand.desk.set("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
    }
    println!("{verbs} verbs, each of them needed");
}
