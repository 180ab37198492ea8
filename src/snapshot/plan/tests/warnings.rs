//! Quotas and webhooks: what dry runs of single objects do not tell.

use super::*;

fn quota(hard: Value, used: Value) -> (Place, Value) {
    let quota =
        saved("resourcequotas", "team", json!({"spec": {"hard": hard}, "status": {"hard": hard, "used": used}}));
    live_of(&quota, json!({}))
}

#[test]
fn a_quota_that_leaves_room_for_one_refuses_the_second() {
    let all = [saved("secrets", "a", json!({})), saved("secrets", "b", json!({})), saved("configmaps", "c", json!({}))];
    let live = cluster(&all, [quota(json!({"secrets": "3", "count/configmaps": "9"}), json!({"secrets": "2"}))]);
    assert_eq!(
        told(&planned(&all, &live, &options())),
        ["create secrets/a", "refuse secrets/b: the quota team leaves room for 0 of secrets", "create configmaps/c"]
    );
}

#[test]
fn storage_and_ports_are_summed_as_the_server_does() {
    let claim = |name: &str| {
        saved(
            "persistentvolumeclaims",
            name,
            json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}}),
        )
    };
    let service =
        saved("services", "lb", json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}}));
    let all = [claim("a"), claim("b"), service];
    let hard = json!({"requests.storage": "1536Mi", "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "5", "services.nodeports": "1"});
    let told = told(&planned(&all, &cluster(&all, [quota(hard, json!({}))]), &options()));
    assert_eq!(
        told,
        [
            "create persistentvolumeclaims/a",
            "refuse persistentvolumeclaims/b: the quota team leaves room for 536870912 of requests.storage",
            "refuse services/lb: the quota team leaves room for 1 of services.nodeports",
        ]
    );
}

#[test]
fn pods_that_controllers_could_not_make_are_told_before() {
    let container = json!({"resources": {"requests": {"cpu": "300m"}}});
    let web = saved(
        "deployments.apps",
        "web",
        json!({"spec": {"replicas": 4, "template": {"spec": {"containers": [container]}}}}),
    );
    let all = [web];
    let live = cluster(&all, [quota(json!({"pods": "3", "requests.cpu": "1"}), json!({"pods": "1"}))]);
    assert_eq!(
        planned(&all, &live, &options()).warnings,
        [
            "workloads want 4 of pods, but the quota team leaves room for 2",
            "workloads want 1200m of requests.cpu, but the quota team leaves room for 1",
        ]
    );
}

#[test]
fn a_webhook_that_fails_closed_with_nobody_behind_it_is_named() {
    let configuration = |policy: &str, selector: Value| {
        json!({"metadata": {"name": "policy"}, "webhooks": [{"name": "check.example.com", "failurePolicy": policy,
            "namespaceSelector": selector, "clientConfig": {"service": {"namespace": "guard", "name": "hook"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["configmaps"]}]}]})
    };
    let all = [
        saved("namespaces", "shop", json!({"metadata": {"labels": {"team": "a"}}})),
        saved("configmaps", "c", json!({})),
        saved("secrets", "s", json!({})),
    ];
    let warned = |configuration: Value, ready: bool| {
        let mut live = cluster(&all, []);
        live.webhooks = dead_webhooks(&[configuration], |namespace, name| {
            assert_eq!((namespace, name), ("guard", "hook"));
            ready
        });
        planned(&all, &live, &options()).warnings
    };
    let told = "the webhook check.example.com of policy will refuse 1 of the objects: its service hook in guard has no \
                endpoint that is ready";
    assert_eq!(warned(configuration("Fail", json!({})), false), [told]);
    assert_eq!(warned(configuration("Fail", json!({"matchLabels": {"team": "a"}})), false), [told]);
    let none = Vec::<String>::new();
    // The server reads a star behind the slash as the objects themselves, too.
    for (resource, means) in
        [("configmaps/*", true), ("*/*", true), ("*", true), ("configmaps/status", false), ("*/status", false)]
    {
        let mut configuration = configuration("Fail", json!({}));
        configuration["webhooks"][0]["rules"][0]["resources"] = json!([resource]);
        assert_eq!(!warned(configuration, false).is_empty(), means, "{resource}");
    }
    assert_eq!(warned(configuration("Fail", json!({})), true), none);
    assert_eq!(warned(configuration("Ignore", json!({})), false), none);
    for selector in [
        json!({"matchLabels": {"team": "b"}}),
        json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["shop"]}]}),
        json!({"matchExpressions": [{"key": "x", "operator": "Exists"}]}),
    ] {
        assert_eq!(warned(configuration("Fail", selector), false), none);
    }
}
