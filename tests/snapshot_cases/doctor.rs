//! What the doctor says of a real cluster, to an account with the rights that deploy/ gives and to one that lacks some.

use crate::cli_support::Desk;
use crate::control_support::{ControlPlane, control_plane};
use crate::support::wait_until;
use crate::{csi, csi_groups};
use serde_json::{Value, json};

/// State and text of each line of a check.
fn lines(document: &Value, check: &str) -> Vec<(String, String)> {
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let checks = document["checks"].as_array().unwrap_or_else(|| panic!("{document:#}")).iter();
    checks
        .filter(|finding| finding["check"] == check)
        .map(|finding| (text(finding, "state"), text(finding, "detail")))
        .collect()
}

fn says(document: &Value, check: &str, state: &str, words: &str) {
    let lines = lines(document, check);
    assert!(lines.iter().any(|(of, detail)| of == state && detail.contains(words)), "{state} {words:?}: {lines:#?}");
}

/// A webhook that must be asked about configmaps in the namespace `ill`, by its service.
fn webhook(name: &str, service: &str) -> String {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": name},
        "webhooks": [{"name": "gone.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": service, "name": "gone"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ill"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]}]})
    .to_string()
}

const SERVER: &str = "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: v1.gone.example.com}\n\
    spec: {group: gone.example.com, version: v1, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true,\n\
    \x20 service: {namespace: ill, name: gone}}\n";

const CLASS: &str = "apiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshotClass\nmetadata: {name: fast}\n\
    driver: csi.davit.test\ndeletionPolicy: Delete\n";

#[test]
#[ignore = "needs a Kubernetes control plane, and Go for the published definitions: make test"]
fn what_would_stop_a_snapshot_or_a_restore_is_told_before() {
    // One of its own: what is broken here is seen by everybody.
    let plane = ControlPlane::start();
    csi::definitions(&plane);
    csi_groups::definitions(&plane, csi_groups::NEWEST);
    plane.namespace("ill");
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    let account = csi::account(&plane, &desk, "ill");
    let doctor = || desk.json(&["doctor", "--kubeconfig", &account, "--namespace", "ill"]);
    let (code, well) = doctor();
    assert_eq!(code, 0, "{well:#}");
    says(&well, "cluster", "ok", "Kubernetes v1.");
    says(&well, "kinds of the cluster", "ok", "every server that serves them answers");
    says(&well, "volume snapshots", "warn", "no driver has one class");
    says(&well, "volume snapshots", "ok", "no driver has one class for groups");
    for words in ["may list", "hooks", "--volumes files", "what --volumes csi", "groups of volumes with --volumes csi"]
    {
        says(&well, "saving ill", "ok", words);
    }
    says(&well, "restoring ill", "ok", "no webhook");
    // Without a cluster or a namespace nobody looks at one, though KUBECONFIG names one.
    let (_, unasked) = desk.json(&["doctor"]);
    assert_eq!(lines(&unasked, "cluster"), []);

    plane.apply(CLASS);
    csi_groups::class(&plane);
    plane.apply(SERVER);
    plane.await_object(&["apiservice", "v1.gone.example.com"], |service| {
        service["status"]["conditions"][0]["status"] == "False"
    });
    plane.apply(&webhook("blocks", "ill"));
    // Whether anybody is behind this one, the account may not see.
    plane.apply(&webhook("elsewhere", "kube-system"));
    plane.kubectl(&["delete", "role", "davit-storage-snapshots", "davit-volumes", "-n", "ill"], "").unwrap();
    let secrets = r#"[{"op": "replace", "path": "/rules", "value": [{"apiGroups": [""], "resources": ["configmaps", "pods"], "verbs": ["list"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]}]}]"#;
    plane.kubectl(&["patch", "clusterrole", "davit-backup-namespace", "--type", "json", "-p", secrets], "").unwrap();
    let mut ill = Value::Null;
    wait_until(30, "the rights to be gone", || {
        ill = doctor().1;
        lines(&ill, "saving ill").iter().all(|(state, _)| state != "ok")
    });
    assert_eq!(doctor().0, 1, "{ill:#}");
    says(&ill, "kinds of the cluster", "fail", "gone.example.com/v1 cannot be saved");
    for words in ["fast for csi.davit.test", "groups by class together for csi.davit.test"] {
        says(&ill, "volume snapshots", "ok", words);
    }
    says(&ill, "saving ill", "fail", "may not list ");
    says(&ill, "saving ill", "warn", "for --volumes files this account lacks create pods, delete pods");
    for (what, lacks) in [
        ("--volumes csi", "create volumesnapshots.snapshot.storage.k8s.io"),
        ("groups of volumes with --volumes csi", "create volumegroupsnapshots.groupsnapshot.storage.k8s.io"),
    ] {
        says(&ill, "saving ill", "warn", &format!("for {what} this account lacks {lacks}"));
    }
    let restoring = lines(&ill, "restoring ill");
    assert_eq!(restoring.len(), 1, "{restoring:#?}");
    says(&ill, "restoring ill", "fail", "gone.example.com of blocks lets in no configmaps");
    says(&ill, "webhooks", "warn", "whether anybody is behind the webhooks of kube-system is not known");
    let said = desk.davit(&["doctor", "--kubeconfig", &account, "--namespace", "ill"]);
    assert!(said.code == 1 && said.stdout.contains("FAIL  restoring ill"), "{}", said.stdout);

    // A hook that the settings have for the namespace needs what it could do without before, and names the namespace.
    desk.write("davit.yaml", "hooks:\n- {namespace: ill, pods: 'app=db', before: [sync]}\n");
    plane.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: db, namespace: ill, labels: {app: db}}\n\
        spec: {nodeSelector: {kubernetes.io/hostname: nowhere}, containers: [{name: a, image: none.invalid/a}]}\n",
    );
    desk.set("KUBECONFIG", &account);
    let (code, hooked) = desk.json(&["doctor"]);
    assert_eq!(code, 1, "{hooked:#}");
    says(&hooked, "saving ill", "fail", "for hooks this account lacks get pods/exec, create pods/exec");

    plane.kill_api();
    let (code, gone) = desk.json(&["doctor"]);
    assert_eq!(code, 1, "{gone:#}");
    assert_eq!(lines(&gone, "cluster").first().unwrap().0, "fail", "{gone:#}");
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn an_account_that_may_not_restore_is_told_which_rights_are_missing_and_nothing_is_changed() {
    let plane = control_plane();
    plane.namespace("powerless");
    let colour = ["create", "configmap", "colour", "-n", "powerless", "--from-literal=is=green"];
    plane.kubectl(&colour, "").unwrap();
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    let account = csi::account(plane, &desk, "powerless");
    let said = desk.davit(&["snapshot", "create", "powerless"]);
    assert_eq!(said.code, 0, "{said:?}");
    plane.kubectl(&["delete", "configmap", "colour", "-n", "powerless"], "").unwrap();
    let restore = ["snapshot", "restore", "powerless@latest", "--kubeconfig", &account];
    for (more, first) in
        [(&["--into", "powerless-copy"][..], "namespaces/powerless-copy"), (&[], "configmaps/colour in powerless")]
    {
        let said = desk.davit(&[&restore, more].concat());
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.stderr.contains(&format!("restoring {first}")), "{}", said.stderr);
        assert!(
            said.stderr.contains("nothing was changed") && said.stderr.contains("components/restore"),
            "{}",
            said.stderr
        );
    }
    assert!(plane.get(&["namespace", "powerless-copy"]).is_none());
    assert!(plane.get(&["configmap", "colour", "-n", "powerless"]).is_none());
}
