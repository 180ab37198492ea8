//! What a restore does not make, although the snapshot has it.

use super::*;

#[test]
fn what_a_controller_makes_is_left_to_it_unless_it_carries_data_or_is_asked_for() {
    let web = saved("deployments.apps", "web", json!({}));
    let set = saved("replicasets.apps", "web-1", owned_by(&web, true));
    let pod = saved("pods", "web-1-x", owned_by(&set, true));
    let secret = saved("secrets", "made", owned_by(&web, true));
    let all = [pod, set, secret, web];
    assert_eq!(
        told(&planned(&all, &cluster(&all, []), &options())),
        [
            "leave pods/web-1-x: replicasets.apps/web-1 makes it",
            "leave replicasets.apps/web-1: deployments.apps/web makes it",
            "create secrets/made",
            "create deployments.apps/web",
        ]
    );
    let asked = Options { restore_derived: vec![Selector::parse("pods")], ..options() };
    let plan = planned(&all, &cluster(&all, []), &asked);
    assert_eq!(told(&plan)[0], "create pods/web-1-x");
    assert_eq!(plan.lines[0].notes, ["its owner Replicaset web-1 is not restored; the reference is left out"]);
}

#[test]
fn what_the_cluster_writes_into_every_namespace_is_left_out() {
    let all = [
        saved("configmaps", "kube-root-ca.crt", json!({})),
        saved("configmaps", "istio-ca-root-cert", json!({})),
        saved("pods", "mirror", json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}})),
    ];
    let plan = planned(&all, &cluster(&all, []), &options());
    assert!(plan.lines.iter().all(|line| matches!(line.action, Action::Leave(_))), "{:?}", told(&plan));
}

#[test]
fn what_is_over_is_not_run_again_unless_it_is_named() {
    let done = json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}});
    let failed = json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}});
    let all = [
        saved("jobs.batch", "migrate", done),
        saved("jobs.batch", "broken", failed),
        saved("jobs.batch", "running", json!({"status": {"active": 1}})),
        saved("pods", "once", json!({"status": {"phase": "Succeeded"}})),
    ];
    let words = |plan: &Plan| plan.lines.iter().map(|line| line.action.word()).collect::<Vec<_>>();
    assert_eq!(words(&planned(&all, &cluster(&all, []), &options())), ["leave", "leave", "create", "leave"]);
    let named = Options { only: vec![Selector::parse("jobs.batch/migrate")], ..options() };
    assert_eq!(words(&planned(&all, &cluster(&all, []), &named)), ["create"]);
}

#[test]
fn default_accounts_are_merged_and_never_replaced() {
    let account = saved("serviceaccounts", "default", json!({"imagePullSecrets": [{"name": "registry"}]}));
    let there = live_of(&account, json!({"imagePullSecrets": [{"name": "other"}], "secrets": [{"name": "t"}]}));
    let all = [account];
    for on_conflict in [OnConflict::Fail, OnConflict::Skip, OnConflict::Replace] {
        let plan = planned(&all, &cluster(&all, [there.clone()]), &mode(on_conflict));
        assert_eq!(told(&plan), ["merge serviceaccounts/default"]);
        assert_eq!(plan.lines[0].body, json!({"imagePullSecrets": [{"name": "other"}, {"name": "registry"}]}));
    }
}

#[test]
fn a_token_secret_is_made_empty_without_the_old_uid_and_reported() {
    let token = saved(
        "secrets",
        "web-token",
        json!({"type": "kubernetes.io/service-account-token",
        "metadata": {"annotations": {"kubernetes.io/service-account.name": "web", "kubernetes.io/service-account.uid": "old"}},
        "data": {"token": "c2VjcmV0", "ca.crt": "Y2E="}}),
    );
    let all = [token];
    let plan = planned(&all, &cluster(&all, []), &options());
    let line = &plan.lines[0];
    assert_eq!(line.body.open()["metadata"]["annotations"], json!({"kubernetes.io/service-account.name": "web"}));
    assert!(line.body.open().get("data").is_none());
    assert_eq!(line.notes.len(), 1);
}

#[test]
fn objects_of_the_cluster_that_are_there_are_compared_and_changed_only_when_they_are_named() {
    let role = saved("clusterroles.rbac.authorization.k8s.io", "reader", json!({"rules": [{"verbs": ["get"]}]}));
    let differs = live_of(&role, json!({"rules": [{"verbs": ["*"]}]}));
    let absent = saved("storageclasses.storage.k8s.io", "fast", json!({}));
    let hook = saved("validatingwebhookconfigurations.admissionregistration.k8s.io", "hook", json!({}));
    let all = [role, absent, hook];
    assert_eq!(
        told(&planned(&all, &cluster(&all, [differs.clone()]), &mode(OnConflict::Replace))),
        [
            "leave clusterroles.rbac.authorization.k8s.io/reader: it belongs to the cluster, is there and differs \
             (--include-cluster names it)",
            "create storageclasses.storage.k8s.io/fast",
            "leave validatingwebhookconfigurations.admissionregistration.k8s.io/hook: it is admission of the whole \
             cluster (--include-cluster names it)",
        ]
    );
    let named = Options { include_cluster: vec![Selector::parse("clusterroles/reader")], ..mode(OnConflict::Replace) };
    assert_eq!(
        told(&planned(&all, &cluster(&all, [differs]), &named))[0],
        "replace clusterroles.rbac.authorization.k8s.io/reader"
    );
}

#[test]
fn no_flag_is_named_that_changes_nothing_or_that_a_proof_has_not() {
    let provisioned = json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "csi"}},
        "spec": {"claimRef": {"namespace": "shop", "name": "data"}}});
    let volume = saved("persistentvolumes", "pv", provisioned);
    let differs = live_of(&volume, json!({"spec": {"claimRef": {"namespace": "copy"}}}));
    let role = saved("clusterroles.rbac.authorization.k8s.io", "reader", json!({"rules": [{"verbs": ["get"]}]}));
    let other = live_of(&role, json!({"rules": [{"verbs": ["*"]}]}));
    let over = saved("pods", "once", json!({"status": {"phase": "Succeeded"}}));
    let all = [volume, role, over];
    let live = cluster(&all, [differs, other]);
    assert_eq!(
        told(&planned(&all, &live, &options()))[0],
        "leave persistentvolumes/pv: it belongs to the cluster, is there and differs; a claim that is made gets a new one"
    );
    let proof = planned(&all, &live, &Options { proof_of: Some("shop".to_owned()), ..options() });
    assert_eq!(
        told(&proof)[1..],
        [
            "leave clusterroles.rbac.authorization.k8s.io/reader: it belongs to the cluster, is there and differs",
            "leave pods/once: it has ended; restoring it would run it again",
        ]
    );
}

#[test]
fn what_argo_cd_or_flux_tracks_is_reported_and_left_to_them_when_asked() {
    let labelled = |key: &str| json!({"metadata": {"labels": {key: "shop"}}});
    let all = [
        saved(
            "configmaps",
            "a",
            json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:shop/a"}}}),
        ),
        saved("configmaps", "b", labelled("argocd.argoproj.io/instance")),
        saved("configmaps", "c", labelled("app.kubernetes.io/instance")),
        saved("configmaps", "d", labelled("kustomize.toolkit.fluxcd.io/name")),
        saved("configmaps", "e", json!({})),
    ];
    let mut live = cluster(&all, []);
    let plan = planned(&all, &live, &options());
    assert_eq!(
        plan.warnings,
        [
            "Argo CD's application shop tracks 2 of the objects and may change or remove them (--skip-gitops leaves them to it)",
            "Flux's kustomization shop tracks 1 of the objects and may change or remove them (--skip-gitops leaves them to it)",
        ]
    );
    assert_eq!(plan.lines[0].notes, ["Argo CD's application shop tracks it and may change or remove it"]);
    live.applications.insert("shop".to_owned());
    let skipping = planned(&all, &live, &Options { skip_gitops: true, ..options() });
    let words: Vec<&str> = skipping.lines.iter().map(|line| line.action.word()).collect();
    assert_eq!(words, ["leave", "leave", "leave", "leave", "create"]);
    assert_eq!(skipping.warnings, Vec::<String>::new());
}

#[test]
fn what_argo_cd_took_over_since_it_was_saved_is_left_to_it_too() {
    let all = [saved("configmaps", "a", json!({"data": {"colour": "green"}}))];
    let taken = json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:shop/a"}},
        "data": {"colour": "red"}});
    let live = cluster(&all, [live_of(&all[0], taken)]);
    let skipping = Options { skip_gitops: true, ..mode(OnConflict::Replace) };
    assert_eq!(told(&planned(&all, &live, &skipping)), ["leave configmaps/a: Argo CD's application shop tracks it"]);
}
