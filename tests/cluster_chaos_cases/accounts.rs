//! The account of faults: with exactly the roles that are printed it breaks and heals, and with one verb less nothing is begun.

use crate::stand::{Stand, desk, inject, proven};
use crate::support::cluster::Cluster;
use crate::support::wait_until;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::thread;

/// An account that lacks one right of those that a fault needs.
struct Lacking {
    verb: String,
    resource: String,
    kubeconfig: PathBuf,
}

/// Every verb of every role, with all roles as they are without it.
fn each_taken_away(objects: &[Value]) -> Vec<(String, String, Vec<Value>)> {
    let mut all = Vec::new();
    for (which, object) in objects.iter().enumerate().filter(|(_, object)| object["rules"].is_array()) {
        for (at, rule) in object["rules"].as_array().unwrap().iter().enumerate() {
            for (number, verb) in rule["verbs"].as_array().unwrap().iter().enumerate() {
                let mut fewer = objects.to_vec();
                let rules = fewer[which]["rules"].as_array_mut().unwrap();
                rules[at]["verbs"].as_array_mut().unwrap().remove(number);
                rules.retain(|rule| rule["verbs"] != json!([]));
                let resource = rule["resources"][0].as_str().unwrap().to_owned();
                all.push((verb.as_str().unwrap().to_owned(), resource, fewer));
            }
        }
    }
    all
}

/// Makes an account for each right, which has all the others, and waits until the server knows that.
fn accounts(stand: &Stand<'_>, fault: &str, objects: &[Value]) -> Vec<Lacking> {
    let home = stand.helpers.name.as_str();
    let (mut items, mut names) = (Vec::new(), Vec::new());
    let rights = each_taken_away(objects);
    for (number, (.., fewer)) in rights.iter().enumerate() {
        let name = format!("{home}-{fault}-{number}");
        items.push(json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": home}}));
        for object in fewer {
            let mut own = object.clone();
            own["metadata"]["name"] = json!(name);
            own["metadata"]["labels"] = json!({ "davit.test/stand": home });
            if own["roleRef"].is_object() {
                own["roleRef"]["name"] = json!(name);
                own["subjects"][0]["name"] = json!(name);
            }
            items.push(own);
        }
        names.push(name);
    }
    stand.apply_anywhere(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    // The server learns of roles in the order in which they were made: who came last has all that it was given.
    let user = format!("--as=system:serviceaccount:{home}:{}", names.last().unwrap());
    let (missing, fewer) = rights.last().map(|(verb, resource, fewer)| ((verb, resource), fewer)).unwrap();
    for object in fewer.iter().filter(|object| object["rules"].is_array()) {
        for rule in object["rules"].as_array().unwrap() {
            let (verb, resource) = (rule["verbs"][0].as_str().unwrap(), rule["resources"][0].as_str().unwrap());
            let (kind, part) = resource.split_once('/').unwrap_or((resource, ""));
            let part = format!("--subresource={part}");
            let mut arguments = vec!["auth", "can-i", verb, kind, &part, &user];
            if let Some(namespace) = object["metadata"]["namespace"].as_str() {
                arguments.extend(["--namespace", namespace]);
            }
            wait_until(30, &format!("{verb} {resource} without {missing:?}"), || {
                stand.cluster.kubectl_command().args(&arguments).output().unwrap().stdout.starts_with(b"yes")
            });
        }
    }
    let lacking = rights.into_iter().zip(names).map(|((verb, resource, _), name)| {
        let kubeconfig = stand.desk.path().join(&name);
        std::fs::write(&kubeconfig, stand.helpers.kubeconfig_of(&name)).unwrap();
        Lacking { verb, resource, kubeconfig }
    });
    lacking.collect()
}

/// With exactly the roles that are printed a fault is injected, proven and healed; with any verb less it is refused beforehand,
/// and what is missing is named. Gives how many verbs there are.
pub fn each_verb_is_needed(stand: &mut Stand<'_>, fault: &str, target: &str, more: &[&str]) -> usize {
    let began = std::time::Instant::now();
    let kubeconfig = stand.kubeconfig_of_account();
    let helpers = stand.helpers.name.clone();
    // What an earlier fault needed is not this one's.
    for namespace in [&stand.app, &stand.helpers] {
        namespace.try_kubectl(&format!("delete role,rolebinding {helpers}"));
    }
    stand.cluster.try_kubectl(&format!("delete clusterrole,clusterrolebinding {helpers}"));
    let objects = stand.account(&[fault]);
    let all = accounts(stand, fault, &objects);
    let cluster = stand.cluster;
    stand.desk.set("KUBECONFIG", kubeconfig.to_str().unwrap());
    proven(&inject(&stand.desk, &helpers, fault, target, more));
    stand.app.wait_rollout("deployment/web");
    let more: Vec<&str> = more.iter().copied().chain(["--dry-run"]).collect();
    thread::scope(|scope| {
        for some in all.chunks(all.len().div_ceil(2)) {
            let (helpers, more) = (&helpers, &more);
            let mut desk = desk(cluster);
            scope.spawn(move || {
                for Lacking { verb, resource, kubeconfig } in some {
                    desk.set("KUBECONFIG", kubeconfig.to_str().unwrap());
                    let (code, document) = inject(&desk, helpers, fault, target, more);
                    let text = document.to_string();
                    assert_eq!(code, 3, "{fault} without {verb} {resource}: {document:#}");
                    let named = text.contains(resource.split('/').next().unwrap());
                    assert!(named, "{fault} without {verb} {resource}: {text}");
                }
            });
        }
    });
    assert_eq!(inject(&stand.desk, &helpers, fault, target, &more).0, 0);
    stand.desk.set("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
    println!("{fault}: {} verbs, each of them needed; {:.1} s", all.len(), began.elapsed().as_secs_f64());
    all.len()
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn an_account_with_exactly_the_printed_roles_breaks_and_heals_and_with_one_verb_less_it_is_refused() {
    let cluster = Cluster::shared();
    let mut stand = Stand::with_web(&cluster, "account");
    let pods = format!("{}/pods/app=web", stand.app.name);
    let deployment = format!("{}/deployment/web", stand.app.name);
    for (fault, target, more) in [
        ("container-kill", &pods, &["--lift", "caps"][..]),
        ("scale-to-zero", &deployment, &["--lift", "quorum"]),
        ("pod-delete", &pods, &["--lift", "caps"]),
        // A helper ends by itself soon after its time, and a busy machine gives it its turn late.
        ("pod-partition", &pods, &["--lift", "caps", "--for", "15s"]),
        ("cpu-pressure", &pods, &["--lift", "caps", "--for", "15s"]),
    ] {
        let verbs = each_verb_is_needed(&mut stand, fault, target, more);
        assert!(verbs > 3, "{fault}: {verbs}");
    }
}
