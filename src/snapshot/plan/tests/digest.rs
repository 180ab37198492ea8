//! What changes the digest of a plan, and what does not.

use super::*;

fn shop() -> Vec<Saved> {
    vec![
        saved("namespaces", "shop", json!({})),
        saved("clusterroles.rbac.authorization.k8s.io", "reader", json!({"rules": [{"verbs": ["list"]}]})),
        saved("configmaps", "settings", json!({"data": {"mode": "calm"}})),
        saved("secrets", "login", json!({"data": {"password": "aHVudGVyMg=="}})),
        saved("serviceaccounts", "default", json!({})),
    ]
}

fn digest(saved: &[Saved], live: &Live, options: &Options) -> String {
    planned(saved, live, options).digest(options)
}

fn by(manager: &str, at: u32) -> Value {
    let fields = json!([{"manager": manager, "operation": "Update"}]);
    json!({"metadata": {"managedFields": fields, "resourceVersion": at.to_string()}})
}

#[test]
fn the_same_plan_has_the_same_digest_whatever_the_order_and_the_versions_of_what_is_there() {
    let all = shop();
    let mut turned = shop();
    turned.reverse();
    let empty = cluster(&all, []);
    assert_eq!(digest(&all, &empty, &options()), digest(&turned, &empty, &options()));
    let merging = mode(OnConflict::Replace);
    let with = |at: u32, mode: &str| {
        let mut more = by("kubectl", at);
        more["data"] = json!({"mode": mode});
        digest(&all, &cluster(&all, [live_of(&all[2], more)]), &merging)
    };
    assert_eq!(with(1, "wild"), with(2, "wild"), "it was touched, and not changed");
    assert_ne!(with(1, "wild"), with(1, "tame"));
    assert_ne!(with(1, "wild"), digest(&all, &empty, &merging));
}

#[test]
fn what_would_be_done_otherwise_or_elsewhere_has_another_digest() {
    let all = shop();
    let empty = cluster(&all, []);
    let agreed = digest(&all, &empty, &options());
    let mut fewer = shop();
    fewer.truncate(3);
    let mut other = shop();
    other[2] = saved("configmaps", "settings", json!({"data": {"mode": "wild"}}));
    let elsewhere = Options { manager: "davit-2".to_owned(), ..options() };
    let managers = Options { keep_managers: true, ..options() };
    let files = Options { files: ["data".to_owned()].into(), ..options() };
    let by = |image: Option<&str>, secret: &[&str]| Options {
        movers: Movers {
            image: image.map(str::to_owned),
            pull_secrets: secret.iter().map(|name| (*name).to_owned()).collect(),
        },
        ..options()
    };
    let (image, secret) = (by(Some("other:1"), &[]), by(None, &["other"]));
    let mapped = Options { untold: untold(&all), ..options() };
    let mut all_others = vec![digest(&fewer, &empty, &options()), digest(&other, &empty, &options())];
    all_others.extend(
        [elsewhere, managers, files, image, secret, mapped].iter().map(|options| digest(&all, &empty, options)),
    );
    let differ = cluster(&all, [live_of(&all[2], json!({"data": {"mode": "wild"}}))]);
    for on_conflict in [OnConflict::Fail, OnConflict::Skip, OnConflict::Merge, OnConflict::Replace] {
        all_others.push(digest(&all, &differ, &mode(on_conflict)));
    }
    all_others.push(agreed);
    let each: BTreeSet<&String> = all_others.iter().collect();
    assert_eq!(each.len(), all_others.len(), "{all_others:#?}");
    // Another object of the same name is another thing to change.
    let again = cluster(&all, [live_of(&all[2], json!({"metadata": {"uid": "third"}, "data": {"mode": "wild"}}))]);
    assert_ne!(digest(&all, &differ, &mode(OnConflict::Replace)), digest(&all, &again, &mode(OnConflict::Replace)));
}

#[test]
fn what_the_same_restore_made_before_it_was_interrupted_is_still_part_of_the_plan() {
    let all = shop();
    let agreed = digest(&all, &cluster(&all, []), &options());
    let ours = [0, 1, 2].map(|at| live_of(&all[at], by(MANAGER, 9)));
    assert_eq!(digest(&all, &cluster(&all, ours), &options()), agreed);
    let account = live_of(&all[4], by("kube-controller-manager", 9));
    assert_eq!(digest(&all, &cluster(&all, [account]), &options()), agreed, "the cluster makes it at some moment");
    let theirs = [0, 1, 2].map(|at| live_of(&all[at], by("kubectl", 9)));
    assert_ne!(digest(&all, &cluster(&all, theirs), &options()), agreed);
}

#[test]
fn what_lines_only_name_is_told_as_it_was_mapped() {
    let all = shop();
    let mut turned = shop();
    turned.reverse();
    let told = untold(&all);
    assert_eq!(untold(&turned), told);
    let with = |at: usize, more: Value| {
        let mut all = shop();
        let mut body = all[at].body.open();
        super::super::super::map::patch::merge(&mut body, &more);
        all[at].body = body.into();
        untold(&all)
    };
    assert_ne!(with(0, json!({"metadata": {"labels": {"team": "other"}}})), told, "a namespace");
    assert_ne!(with(1, json!({"rules": [{"verbs": ["*"]}]})), told, "a role of the cluster");
    assert_ne!(with(4, json!({"imagePullSecrets": [{"name": "other"}]})), told, "the default account");
    assert_eq!(with(3, json!({"data": {"password": "MQ=="}})), told, "no value of a Secret");
}

#[test]
fn a_digest_says_nothing_of_what_is_in_a_secret_but_of_its_keys() {
    let mut all = shop();
    let with = |data: Value, all: &mut Vec<Saved>| {
        all[3] = saved("secrets", "login", json!({"data": data}));
        digest(all, &cluster(all, []), &options())
    };
    let one = with(json!({"password": "MQ=="}), &mut all);
    assert_eq!(with(json!({"password": "Mg=="}), &mut all), one);
    assert_ne!(with(json!({"pin": "MQ=="}), &mut all), one);
}
