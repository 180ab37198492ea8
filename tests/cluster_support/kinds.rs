//! The kinds that the server serves.

/// A kind.
#[derive(Debug, Clone)]
pub struct KindDef {
    /// The group; empty for the core.
    pub group: String,
    /// Served versions, the preferred one first.
    pub versions: Vec<String>,
    /// At which version its objects are kept.
    pub storage: String,
    /// Fields of `spec` that a version does not know, and drops without a word.
    pub drops: Vec<(String, String)>,
    /// The plural.
    pub resource: String,
    /// The kind.
    pub kind: String,
    /// Whether it lies in namespaces.
    pub namespaced: bool,
    /// What may be done with it.
    pub verbs: Vec<String>,
    /// Whether a definition made it: then its items say what they are.
    pub custom: bool,
    /// Whether discovery shows it (a kind that was just made is not shown for a moment).
    pub shown: bool,
}

impl KindDef {
    /// A built-in kind at one version.
    pub fn new(group: &str, version: &str, resource: &str, kind: &str, namespaced: bool) -> Self {
        let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
        Self {
            group: group.to_owned(),
            versions: vec![version.to_owned()],
            storage: version.to_owned(),
            drops: Vec::new(),
            resource: resource.to_owned(),
            kind: kind.to_owned(),
            namespaced,
            verbs: verbs.map(str::to_owned).to_vec(),
            custom: false,
            shown: true,
        }
    }

    /// `deployments.apps`.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }
}

/// The kinds of every cluster.
pub(crate) fn usual() -> Vec<KindDef> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    const NET: &str = "networking.k8s.io";
    const HOOKS: &str = "admissionregistration.k8s.io";
    let table: [(&str, &str, &str, &str, bool); 31] = [
        ("", "v1", "namespaces", "Namespace", false),
        ("", "v1", "persistentvolumes", "PersistentVolume", false),
        ("", "v1", "nodes", "Node", false),
        ("", "v1", "configmaps", "ConfigMap", true),
        ("", "v1", "endpoints", "Endpoints", true),
        ("", "v1", "events", "Event", true),
        ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true),
        ("", "v1", "pods", "Pod", true),
        ("", "v1", "secrets", "Secret", true),
        ("", "v1", "serviceaccounts", "ServiceAccount", true),
        ("", "v1", "services", "Service", true),
        ("", "v1", "resourcequotas", "ResourceQuota", true),
        ("apps", "v1", "deployments", "Deployment", true),
        ("apps", "v1", "replicasets", "ReplicaSet", true),
        ("apps", "v1", "statefulsets", "StatefulSet", true),
        ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true),
        ("batch", "v1", "jobs", "Job", true),
        ("batch", "v1", "cronjobs", "CronJob", true),
        ("coordination.k8s.io", "v1", "leases", "Lease", true),
        ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true),
        ("events.k8s.io", "v1", "events", "Event", true),
        (NET, "v1", "ingresses", "Ingress", true),
        (NET, "v1", "ingressclasses", "IngressClass", false),
        (RBAC, "v1", "roles", "Role", true),
        (RBAC, "v1", "rolebindings", "RoleBinding", true),
        (RBAC, "v1", "clusterroles", "ClusterRole", false),
        (RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", false),
        ("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false),
        ("storage.k8s.io", "v1", "storageclasses", "StorageClass", false),
        (HOOKS, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", false),
        (HOOKS, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", false),
    ];
    let mut kinds: Vec<KindDef> = table
        .map(|(group, version, resource, kind, inside)| KindDef::new(group, version, resource, kind, inside))
        .into();
    if let Some(scalers) = kinds.iter_mut().find(|kind| kind.group == "autoscaling") {
        scalers.versions.push("v1".to_owned());
    }
    let mut bindings = KindDef::new("", "v1", "bindings", "Binding", true);
    bindings.verbs = vec!["create".to_owned()];
    kinds.push(bindings);
    kinds.push(KindDef::new(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        false,
    ));
    kinds.push(KindDef::new("apiregistration.k8s.io", "v1", "apiservices", "APIService", false));
    kinds
}
