//! What may really exist in a scratch namespace, and what is taken from it so that nobody acts on it.
//!
//! An allow-list: a kind that is not on it is asked about (dry run) and never made. Labels and annotations of the
//! objects themselves all go: sidecars, reflectors, certificate and DNS controllers and Argo CD find objects of any
//! namespace by them. Selectors and pod templates stay, since no pod is ever made.

use super::super::clean::{self, path};
use super::super::object::Place;
use super::super::plan::{Selector, any_means};
use serde_json::{Value, json};

/// What is done with an object in a scratch namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It is made, inert, and read back.
    Live,
    /// It is only asked about.
    DryRun,
}

/// A kind that may be made, and the fields that make it inert.
struct Inert {
    kind: &'static str,
    set: &'static [(&'static [path::Step], Set)],
}

/// A value that is written.
#[derive(Clone, Copy)]
enum Set {
    Zero,
    True,
    ClusterIp,
    Nothing,
}

const NOTHING: &[(&[path::Step], Set)] = &[];

const INERT: &[Inert] = &[
    Inert { kind: "configmaps", set: NOTHING },
    Inert { kind: "secrets", set: NOTHING },
    Inert { kind: "serviceaccounts", set: NOTHING },
    Inert { kind: "roles.rbac.authorization.k8s.io", set: NOTHING },
    Inert { kind: "limitranges", set: NOTHING },
    Inert { kind: "resourcequotas", set: NOTHING },
    Inert { kind: "podtemplates", set: NOTHING },
    Inert { kind: "networkpolicies.networking.k8s.io", set: NOTHING },
    Inert { kind: "poddisruptionbudgets.policy", set: NOTHING },
    Inert { kind: "deployments.apps", set: &[(&["spec", "replicas"], Set::Zero)] },
    Inert { kind: "statefulsets.apps", set: &[(&["spec", "replicas"], Set::Zero)] },
    Inert { kind: "replicasets.apps", set: &[(&["spec", "replicas"], Set::Zero)] },
    Inert { kind: "replicationcontrollers", set: &[(&["spec", "replicas"], Set::Zero)] },
    Inert { kind: "jobs.batch", set: &[(&["spec", "suspend"], Set::True)] },
    Inert { kind: "cronjobs.batch", set: &[(&["spec", "suspend"], Set::True)] },
    Inert {
        kind: "services",
        set: &[
            (&["spec", "type"], Set::ClusterIp),
            (&["spec", "externalIPs"], Set::Nothing),
            (&["spec", "externalName"], Set::Nothing),
            (&["spec", "externalTrafficPolicy"], Set::Nothing),
            (&["spec", "healthCheckNodePort"], Set::Nothing),
            (&["spec", "loadBalancerIP"], Set::Nothing),
            (&["spec", "loadBalancerClass"], Set::Nothing),
            (&["spec", "loadBalancerSourceRanges"], Set::Nothing),
            (&["spec", "allocateLoadBalancerNodePorts"], Set::Nothing),
        ],
    },
];

/// Decides what is done with an object, and makes its body inert if it is to be made. `live` names further kinds
/// that the user wants made; they are made as they are, but for labels and annotations. Objects of the cluster are never
/// made: they would be seen outside the scratch namespace.
pub fn treat(place: &Place, body: &Value, live: &[Selector]) -> (Treatment, Value) {
    let mut body = body.clone();
    let known = INERT.iter().find(|inert| inert.kind == place.group_resource);
    if place.namespace.is_none() || (known.is_none() && !any_means(live, place)) || gives_rights(place, &body) {
        return (Treatment::DryRun, body);
    }
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove(field);
        }
    }
    for (steps, set) in known.map(|inert| inert.set).unwrap_or_default() {
        let value = match set {
            Set::Zero => json!(0),
            Set::True => json!(true),
            Set::ClusterIp => json!("ClusterIP"),
            Set::Nothing => Value::Null,
        };
        path::set(&mut body, steps, value);
    }
    if place.group_resource == "services" {
        without_node_ports(&mut body);
    }
    (Treatment::Live, body)
}

/// A token secret would be filled with a token that works.
fn gives_rights(place: &Place, body: &Value) -> bool {
    place.group_resource == "secrets" && clean::is_token_secret(body)
}

fn without_node_ports(body: &mut Value) {
    let ports = body.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            port.remove("nodePort");
        }
    }
    // A Service that was only another name has no ports of its own, which this type needs.
    if body.pointer("/spec/ports").and_then(Value::as_array).is_none_or(Vec::is_empty)
        && body.pointer("/spec/clusterIP").is_none_or(|ip| ip != "None")
    {
        path::set(body, &["spec", "ports"], json!([{"port": 1, "protocol": "TCP", "targetPort": 1}]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "the literals of a test are values")]
    fn treated(kind: &str, body: Value) -> (Treatment, Value) {
        treat(&Place::in_namespace(kind, "scratch", "a"), &body, &[])
    }

    #[test]
    fn what_would_run_reach_out_or_be_found_is_made_inert() {
        let meta = json!({"name": "a", "labels": {"grafana_dashboard": "1"}, "annotations": {"reflector": "yes"}, "finalizers": ["x"]});
        let (how, body) = treated("deployments.apps", json!({"metadata": meta, "spec": {"replicas": 3}}));
        assert_eq!((how, body), (Treatment::Live, json!({"metadata": {"name": "a"}, "spec": {"replicas": 0}})));
        let (how, body) = treated("cronjobs.batch", json!({"metadata": meta, "spec": {"schedule": "* * * * *"}}));
        assert_eq!((how, body["spec"]["suspend"].clone()), (Treatment::Live, json!(true)));
        let service = json!({"metadata": meta, "spec": {"type": "LoadBalancer", "externalIPs": ["1.2.3.4"],
            "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30080}]}});
        let (_, body) = treated("services", service);
        assert_eq!(body["spec"]["type"], "ClusterIP");
        assert_eq!(body["spec"]["ports"], json!([{"port": 80}]));
        assert!(body["spec"]["externalIPs"].is_null() && body["spec"]["externalTrafficPolicy"].is_null());
        let (_, body) = treated(
            "services",
            json!({"metadata": meta, "spec": {"type": "ExternalName", "externalName": "db.example.com"}}),
        );
        assert!(body["spec"]["externalName"].is_null() && body["spec"]["ports"].is_array());
    }

    #[test]
    fn everything_else_is_only_asked_about() {
        for kind in [
            "ingresses.networking.k8s.io",
            "virtualservices.networking.istio.io",
            "clusters.postgresql.cnpg.io",
            "daemonsets.apps",
            "pods",
            "persistentvolumeclaims",
            "rolebindings.rbac.authorization.k8s.io",
            "horizontalpodautoscalers.autoscaling",
            "endpoints",
        ] {
            let body = json!({"metadata": {"labels": {"a": "b"}}});
            assert_eq!(treated(kind, body.clone()), (Treatment::DryRun, body), "{kind}");
        }
        let token = json!({"type": "kubernetes.io/service-account-token"});
        assert_eq!(treated("secrets", token).0, Treatment::DryRun);
        // Whoever names it: it would be seen outside the scratch namespace.
        for named in ["*", "clusterroles", "clusterroles.rbac.authorization.k8s.io/a"] {
            let place = Place::in_cluster("clusterroles.rbac.authorization.k8s.io", "a");
            assert_eq!(treat(&place, &json!({}), &[Selector::parse(named)]).0, Treatment::DryRun, "{named}");
        }
    }

    #[test]
    fn a_kind_that_the_user_names_is_made_but_found_by_nobody() {
        let place = Place::in_namespace("widgets.example.com", "scratch", "a");
        let body = json!({"metadata": {"name": "a", "labels": {"a": "b"}}, "spec": {"replicas": 3}});
        let (how, body) = treat(&place, &body, &[Selector::parse("widgets.example.com")]);
        assert_eq!((how, body), (Treatment::Live, json!({"metadata": {"name": "a"}, "spec": {"replicas": 3}})));
    }
}
