//! What the manifests say, and that a server takes them.

use super::deploy::{Davit, all, folder, one, pod, render, way};
use crate::support::cluster::Cluster;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn every_overlay_renders_and_every_pod_of_it_is_restricted() {
    let cluster = Cluster::shared();
    for overlay in ["base", "overlays/dev", "overlays/prod"] {
        let manifests = render(&cluster, &folder().join(overlay));
        let enforced = &one(&manifests, "Namespace", "davit")["metadata"]["labels"];
        assert_eq!(enforced["pod-security.kubernetes.io/enforce"], "restricted");
        let jobs: BTreeSet<&str> =
            all(&manifests, "CronJob").map(|job| job["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(jobs, BTreeSet::from(["backup-database", "snapshot-namespace"]), "{overlay}");
        for job in all(&manifests, "CronJob") {
            restricted(job, overlay);
        }
        // No secret is in a manifest: only the name of one.
        assert_eq!(all(&manifests, "Secret").count(), 0, "{overlay}");
        let accounts: BTreeSet<&str> =
            all(&manifests, "ServiceAccount").map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(accounts, BTreeSet::from(["davit-backup", "davit-drill", "davit-restore"]));
    }
}

fn restricted(job: &Value, overlay: &str) {
    let spec = &pod(job)["spec"];
    let name = format!("{overlay}: {}", job["metadata"]["name"]);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{name}");
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
    assert_eq!(spec["restartPolicy"], "Never", "{name}");
    assert_eq!(job["spec"]["concurrencyPolicy"], "Forbid", "{name}");
    // The reader's key is never mounted where backups are made.
    let restores = spec["serviceAccountName"] == "davit-restore";
    assert_eq!(spec.to_string().contains("reader"), restores, "{name}");
    let architectures = spec.pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0/values");
    assert_eq!(architectures, Some(&json!(["amd64", "arm64"])), "{name}");
    for container in spec["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{name}");
        for of in ["requests", "limits"] {
            let memory = container["resources"][of]["memory"].as_str().unwrap();
            let mebibytes: u32 = memory.strip_suffix("Mi").unwrap().parse().unwrap();
            assert!(mebibytes <= 256, "{name}: {memory}");
        }
    }
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_restore_in_the_cluster_begins_when_somebody_says_so_and_has_its_own_account_and_keys() {
    let cluster = Cluster::shared();
    for overlay in ["base", "overlays/dev", "overlays/prod"] {
        let at = tempfile::tempdir().unwrap();
        let (whole, part) =
            (way(at.path(), &folder().join(overlay)), way(at.path(), &folder().join("components/restore")));
        let text = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: ['{whole}']\ncomponents: ['{part}']\n"
        );
        std::fs::write(at.path().join("kustomization.yaml"), text).unwrap();
        let manifests = render(&cluster, at.path());
        let job = one(&manifests, "CronJob", "restore-namespace");
        restricted(job, overlay);
        assert_eq!(job["spec"]["suspend"], true, "nothing is restored by itself");
        let spec = &pod(job)["spec"];
        assert_eq!(
            (&spec["serviceAccountName"], &spec["automountServiceAccountToken"]),
            (&json!("davit-restore"), &json!(true))
        );
        let image = spec["containers"][0]["image"].as_str().unwrap();
        let saver = &pod(one(&manifests, "CronJob", "snapshot-namespace"))["spec"];
        assert_eq!(saver["containers"][0]["image"], image);
        // The settings of the overlay, under the name that they have there.
        assert_eq!(spec["volumes"][0], saver["volumes"][0]);
        let binding = one(&manifests, "ClusterRoleBinding", "davit-restore");
        assert_eq!(binding["subjects"][0]["name"], "davit-restore");
    }
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn an_overlay_says_how_it_reaches_the_store_and_only_the_snapshot_has_a_token() {
    let cluster = Cluster::shared();
    let dev = render(&cluster, &folder().join("overlays/dev"));
    let prod = render(&cluster, &folder().join("overlays/prod"));
    let role = &one(&prod, "ServiceAccount", "davit-backup")["metadata"]["annotations"]["eks.amazonaws.com/role-arn"];
    assert!(role.as_str().unwrap().starts_with("arn:aws:iam::"));
    for job in all(&prod, "CronJob") {
        assert!(pod(job)["spec"]["containers"][0]["envFrom"].is_null(), "a role and no static credentials");
    }
    for job in all(&dev, "CronJob") {
        assert_eq!(pod(job)["spec"]["containers"][0]["envFrom"][0]["secretRef"]["name"], "davit-store");
        assert_eq!(
            (&job["spec"]["suspend"], &job["spec"]["jobTemplate"]["spec"]["parallelism"]),
            (&json!(true), &json!(1))
        );
    }
    for manifests in [&dev, &prod] {
        let token = |name: &str| pod(one(manifests, "CronJob", name))["spec"]["automountServiceAccountToken"].clone();
        assert_eq!((token("backup-database"), token("snapshot-namespace")), (json!(false), json!(true)));
        let nothing = &one(manifests, "NetworkPolicy", "davit-nothing")["spec"];
        assert_eq!(nothing["podSelector"], json!({}));
        assert_eq!(nothing["policyTypes"], json!(["Ingress", "Egress"]));
        // Saving lists, and nothing else.
        for role in all(manifests, "ClusterRole") {
            for rule in role["rules"].as_array().unwrap() {
                assert_eq!(rule["verbs"], json!(["list"]), "{}", role["metadata"]["name"]);
            }
        }
    }
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_server_takes_every_manifest_as_it_is() {
    let cluster = Cluster::shared();
    let _davit = Davit::alone(&cluster);
    cluster.try_kubectl("create namespace shop");
    cluster.kubectl("create namespace davit");
    for overlay in ["overlays/dev", "overlays/prod"] {
        let path = folder().join(overlay);
        let arguments = ["apply", "--dry-run=server", "--validate=strict", "-k"];
        let output = cluster.kubectl_command().args(arguments).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("would violate"), "{overlay}: {said}");
    }
    let components = ["hooks/hooks", "volumes/volumes", "restore/restore", "restore/restore-namespace", "sweep/sweep"];
    for component in components.map(|name| format!("{name}.yaml")) {
        let path = folder().join("components").join(&component);
        let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f"];
        let output = cluster.kubectl_command().args(arguments).arg(&path).output().unwrap();
        assert!(output.status.success(), "{component}: {}", String::from_utf8_lossy(&output.stderr));
    }
    cluster.kubectl("delete namespace shop --wait=false");
}
