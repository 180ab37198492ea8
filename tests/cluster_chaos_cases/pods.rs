//! Faults of pods: what the API server takes, and what helper pods carry into a pod's world.

use crate::inside::{inside, seen_inside};
use crate::stand::{Stand, inject, patient_desk, proven, refused};
use crate::support::cluster::Cluster;
use crate::support::wait_until;
use std::thread;

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn pods_are_deleted_evicted_and_taken_away_and_their_controller_makes_others() {
    let cluster = Cluster::shared();
    let stand = Stand::with_web(&cluster, "gone");
    let web = || stand.pods("app=web");
    for (fault, seen) in [("pod-delete", "is gone"), ("pod-force-delete", "no process of it runs")] {
        let before = web();
        assert!(stand.broken(fault, "deployment/web", &["--seed", "7"]).contains(seen));
        assert!(web().iter().any(|pod| !before.contains(pod)) || web().len() < 3, "{fault}");
        stand.app.wait_rollout("deployment/web");
    }
    let budget = |least: u32| {
        stand.app.apply(&format!(
            "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: web}}\n\
             spec: {{minAvailable: {least}, selector: {{matchLabels: {{app: web}}}}}}\n"
        ));
        wait_until(30, "the budget being counted", || {
            stand.app.kubectl("get pdb web -o jsonpath={.status.disruptionsAllowed}") == (3 - least).to_string()
        });
    };
    budget(3);
    let before = web();
    refused(&stand.inject("pod-evict", "pods/app=web", &[]), "disruption-budget");
    assert_eq!(web(), before);
    budget(2);
    assert!(stand.broken("pod-evict", "pods/app=web", &[]).contains("is gone"));
    stand.app.wait_rollout("deployment/web");

    refused(&stand.inject("scale-to-zero", "deployment/web", &[]), "quorum");
    // Without an account for it no fuse is lit, and without a fuse nothing is done.
    let (code, document) = stand.inject("scale-to-zero", "deployment/web", &["--lift", "quorum"]);
    assert!(code == 3 && document.to_string().contains("starting the fuse"), "{document:#}");
    assert_eq!(web().len(), 3);
    stand.account(&["scale-to-zero"]);
    assert!(stand.broken("scale-to-zero", "deployment/web", &["--lift", "quorum"]).contains("no pod of web is left"));
    stand.app.wait_rollout("deployment/web");
    stand.no_helper_is_left();
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_container_is_killed_from_its_node_and_stopped_until_its_pod_is_not_ready() {
    let cluster = Cluster::shared();
    let stand = Stand::with_web(&cluster, "stopped");
    let [(first, name), (second, other), ..] = &stand.pods("app=web")[..] else { panic!("no pods") };
    let restarts =
        || stand.app.kubectl(&format!("get pod {name} -o jsonpath={{.status.containerStatuses[0].restartCount}}"));
    assert_eq!(restarts(), "0");
    let before = inside(first);
    assert!(stand.broken("container-kill", &format!("pod/{name}"), &[]).contains("ended at"));
    wait_until(30, "the container being started again, once", || restarts() == "1");
    wait_until(30, "the same processes", || inside(first) == before);
    // A signal that its program handles.
    let term = ["--set", "signal=TERM"];
    assert!(stand.broken("container-kill", &format!("pod/{other}"), &term).contains("with 0"));

    wait_until(30, "all being ready", || {
        stand.app.kubectl("get deployment web -o jsonpath={.status.readyReplicas}") == "3"
    });
    let seen = seen_inside(second, || stand.broken("pod-unready", &format!("pod/{other}"), &["--for", "15s"]));
    assert!(seen.contains("are stopped, and the pod is not ready"), "{seen}");
    let all_ready = || stand.app.kubectl("get deployment web -o jsonpath={.status.readyReplicas}") == "3";
    wait_until(30, "its being ready again", all_ready);

    // Fewer are left than somebody asked for: it is put back long before its time.
    let (code, document) = stand.inject("pod-unready", "pods/app=web", &["--for", "10m", "--abort-below", "3"]);
    assert!(code == 1 && document.to_string().contains("2 pods are ready, and 3 must be"), "{document:#}");
    assert_eq!(document["healed"][0]["read_back"], "as-before", "{document:#}");
    wait_until(30, "all being ready again", all_ready);
    stand.no_helper_is_left();
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn pressure_is_put_into_the_victims_own_control_group_and_is_gone_afterwards() {
    let cluster = Cluster::shared();
    let stand = Stand::with_web(&cluster, "pressed");
    let pods = stand.pods("app=web");
    let cases = [
        ("cpu-pressure", "amount=1", "1 busy processes in the container's control group"),
        ("memory-pressure", "amount=32", "a process in the container's control group holds"),
        ("disk-pressure", "amount=16", "16777216 bytes of ballast lie in the container"),
    ];
    thread::scope(|scope| {
        for ((fault, amount, seen), (uid, name)) in cases.into_iter().zip(&pods) {
            let stand = &stand;
            scope.spawn(move || {
                // A repository of its own, so that three faults may be under way at once.
                let desk = patient_desk(stand.cluster);
                let target = format!("{}/pod/{name}", stand.app.name);
                let said = seen_inside(uid, || {
                    // A busy machine gives the pod its turn late.
                    let more = ["--set", amount, "--for", "15s"];
                    proven(&inject(&desk, &stand.helpers.name, fault, &target, &more))
                });
                assert!(said.contains(seen), "{said}");
            });
        }
    });
    // The floor is left free, and what cannot be had is not begun.
    let (code, document) = stand.inject("disk-pressure", &format!("pod/{}", pods[0].1), &["--set", "amount=1048576"]);
    assert!(code == 6 && document.to_string().contains("are left alone"), "{document:#}");
    stand.no_helper_is_left();
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_pods_network_is_cut_or_slow_for_whom_it_was_asked_and_for_nobody_afterwards() {
    let cluster = Cluster::shared();
    let stand = Stand::with_web(&cluster, "apart");
    for (name, label) in [("friend", "friend"), ("stranger", "stranger")] {
        let run = format!("run {name} --labels who={label} --image davit.test/service:1 --image-pull-policy Never");
        stand.app.kubectl(&run);
    }
    stand.app.kubectl("wait pod --all --for condition=Ready --timeout 300s");
    let (uid, name) = stand.pods("app=web")[0].clone();
    let address = stand.app.kubectl(&format!("get pod {name} -o jsonpath={{.status.podIP}}"));
    let reaches = |who: &str| {
        let line = format!("exec {who} -- /service get http://{address}:8080/healthz");
        stand.app.try_kubectl(&line).status.success()
    };
    assert!(reaches("friend") && reaches("stranger"));
    let target = format!("pod/{name}");
    thread::scope(|scope| {
        let cut =
            scope.spawn(|| stand.broken("pod-partition", &target, &["--set", "peers=who=stranger", "--for", "15s"]));
        // Somebody has to knock for a packet to be dropped.
        wait_until(60, "the stranger being cut off", || cut.is_finished() || !reaches("stranger"));
        assert!(!cut.is_finished() && reaches("friend"));
        assert!(cut.join().unwrap().contains("packets were dropped by our own chain"));
    });
    wait_until(10, "the stranger being let in again", || reaches("stranger"));

    // From everybody: its own node's probes are what is dropped.
    let seen = seen_inside(&uid, || stand.broken("pod-partition", &target, &["--for", "15s"]));
    assert!(seen.contains("packets were dropped"), "{seen}");
    wait_until(30, "its being ready again", || {
        stand.app.kubectl("get deployment web -o jsonpath={.status.readyReplicas}") == "3"
    });
    let slow = ["--set", "port=8080", "--set", "latency=300", "--for", "15s"];
    let seen = seen_inside(&uid, || stand.broken("pod-latency", &target, &slow));
    assert!(seen.contains("new connections were led through the proxy"), "{seen}");
    assert!(reaches("friend"));
    stand.no_helper_is_left();
}
