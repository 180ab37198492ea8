//! What a fault is aimed at, as a person writes it.

use super::fault::{Place, Rule};
use crate::error::{Error, Result};
use crate::secret::{Secret, redact};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What kinds of things faults are aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A database, by its URL.
    Database,
    /// Pods of one namespace.
    Pods,
    /// Nodes of a cluster.
    Nodes,
    /// A namespace of a cluster, with everything in it.
    Namespace,
    /// The way from a client to a server, through Davit's proxy.
    Link,
    /// A resolver of names in the path of a process.
    Resolver,
    /// A process of this machine.
    Process,
}

/// Which pods of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodChoice {
    /// All of them.
    All,
    /// The one of this name.
    Named(String),
    /// Those with these labels (a Kubernetes selector).
    Labels(String),
    /// Those of a workload: plural kind and name, such as `deployments` and `web`.
    Workload {
        /// `deployments`, `statefulsets`, `daemonsets` or `replicasets`.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// What a fault is aimed at.
///
/// | written | is |
/// |---|---|
/// | `postgres://user@host/database` | a database |
/// | `NAMESPACE/pods`, `NAMESPACE/pod/NAME`, `NAMESPACE/pods/app=web`, `NAMESPACE/deployment/NAME` | pods |
/// | `node/NAME`, `nodes/LABEL=VALUE`, `nodes/running:NAMESPACE/app=web` | nodes |
/// | `namespace/NAME` | a namespace with everything in it |
/// | `tcp://HOST:PORT` | the way to a server |
/// | `dns://NAME` | a name as a process resolves it |
/// | `pid:/run/NAME.pid` | the process of this machine whose number is in that file |
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// A database.
    Database(Secret),
    /// Pods.
    Pods {
        /// Their namespace.
        namespace: String,
        /// Which of them.
        choice: PodChoice,
    },
    /// Nodes: by name, or by a Kubernetes selector.
    Nodes {
        /// The one of this name.
        name: Option<String>,
        /// Those with these labels.
        labels: Option<String>,
    },
    /// A namespace, by its name.
    Namespace(String),
    /// `host:port` behind Davit's proxy.
    Link(String),
    /// A name.
    Resolver(String),
    /// The file with the number of a process.
    Process(PathBuf),
}

impl Target {
    /// What kind of thing it is.
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Database(_) => TargetKind::Database,
            Self::Pods { .. } => TargetKind::Pods,
            Self::Nodes { .. } => TargetKind::Nodes,
            Self::Namespace(_) => TargetKind::Namespace,
            Self::Link(_) => TargetKind::Link,
            Self::Resolver(_) => TargetKind::Resolver,
            Self::Process(_) => TargetKind::Process,
        }
    }

    /// The namespace that it lies in, or is.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Pods { namespace, .. } | Self::Namespace(namespace) => Some(namespace),
            _ => None,
        }
    }

    /// What finding it takes of a cluster, besides what its faults take anyway.
    pub fn reads(&self) -> Option<Rule> {
        match self {
            Self::Pods { choice: PodChoice::Workload { kind, .. }, .. } => {
                Some(Rule { group: "apps", resource: plural(kind)?, verbs: &["get"], place: Place::Target })
            }
            Self::Nodes { labels: Some(labels), .. } if labels.starts_with(RUNNING) => {
                Some(Rule { group: "", resource: "pods", verbs: &["list"], place: Place::Cluster })
            }
            _ => None,
        }
    }

    /// The text that reads back as this target, with its password if it has one.
    pub fn text(&self) -> Secret {
        Secret::new(match self {
            Self::Database(url) => url.reveal().to_owned(),
            Self::Pods { namespace, choice } => match choice {
                PodChoice::All => format!("{namespace}/pods"),
                PodChoice::Named(name) => format!("{namespace}/pod/{name}"),
                PodChoice::Labels(labels) => format!("{namespace}/pods/{labels}"),
                PodChoice::Workload { kind, name } => format!("{namespace}/{}/{name}", singular(kind)),
            },
            Self::Nodes { name: Some(name), .. } => format!("node/{name}"),
            Self::Nodes { labels: Some(labels), .. } => format!("nodes/{labels}"),
            Self::Nodes { .. } => "nodes".to_owned(),
            Self::Namespace(name) => format!("namespace/{name}"),
            Self::Link(place) => format!("tcp://{place}"),
            Self::Resolver(name) => format!("dns://{name}"),
            Self::Process(file) => format!("pid:{}", file.display()),
        })
    }
}

/// What marks labels as those of pods, where nodes are meant.
pub(super) const RUNNING: &str = "running:";

const WORKLOADS: [(&str, &str, &str); 4] = [
    ("deployment", "deployments", "deploy"),
    ("statefulset", "statefulsets", "sts"),
    ("daemonset", "daemonsets", "ds"),
    ("replicaset", "replicasets", "rs"),
];

fn singular(plural: &str) -> &str {
    WORKLOADS.iter().find(|(_, name, _)| *name == plural).map_or(plural, |(one, _, _)| one)
}

fn plural(word: &str) -> Option<&'static str> {
    WORKLOADS.iter().find(|(one, many, short)| [*one, *many, *short].contains(&word)).map(|(_, many, _)| *many)
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const FORMS: &str = "a target is postgres://user@host/database, NAMESPACE/pods, NAMESPACE/pod/NAME, \
                             NAMESPACE/pods/app=web, NAMESPACE/deployment/NAME, node/NAME, nodes/LABEL=VALUE, namespace/NAME, \
                             tcp://HOST:PORT, dns://NAME or pid:/run/NAME.pid";
        let stranger = || Error::input(format!("reading the target {:?}", redact(text))).hint(FORMS);
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme {
                "postgres" | "postgresql" => Ok(Self::Database(Secret::new(text))),
                "tcp"
                    if rest
                        .rsplit_once(':')
                        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) =>
                {
                    Ok(Self::Link(rest.to_owned()))
                }
                "dns" if !rest.is_empty() => Ok(Self::Resolver(rest.to_owned())),
                _ => Err(stranger()),
            };
        }
        if let Some(file) = text.strip_prefix("pid:").filter(|file| !file.is_empty()) {
            return Ok(Self::Process(file.into()));
        }
        if text.split_whitespace().next().is_some_and(|first| first.contains('=') && !first.contains('/')) {
            // `host=… dbname=…`, as libpq reads it.
            return Ok(Self::Database(Secret::new(text)));
        }
        let parts: Vec<&str> = text.splitn(3, '/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(stranger());
        }
        match parts.as_slice() {
            ["nodes"] => Ok(Self::Nodes { name: None, labels: None }),
            ["namespace", name] => Ok(Self::Namespace((*name).to_owned())),
            ["node", name] => Ok(Self::Nodes { name: Some((*name).to_owned()), labels: None }),
            ["nodes", ..] => Ok(Self::Nodes { name: None, labels: Some(parts[1..].join("/")) }),
            [namespace, "pods"] => Ok(pods(namespace, PodChoice::All)),
            [namespace, "pod", name] => Ok(pods(namespace, PodChoice::Named((*name).to_owned()))),
            [namespace, "pods", labels] => Ok(pods(namespace, PodChoice::Labels((*labels).to_owned()))),
            [namespace, word, name] => {
                let kind = plural(word).ok_or_else(stranger)?.to_owned();
                Ok(pods(namespace, PodChoice::Workload { kind, name: (*name).to_owned() }))
            }
            _ => Err(stranger()),
        }
    }
}

fn pods(namespace: &str, choice: PodChoice) -> Target {
    Target::Pods { namespace: namespace.to_owned(), choice }
}

impl fmt::Display for Target {
    /// Without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(self.text().reveal()))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl TargetKind {
    /// Whether such a thing is in a cluster.
    pub const fn in_cluster(self) -> bool {
        matches!(self, Self::Pods | Self::Nodes | Self::Namespace)
    }

    /// In words.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Database => "a database",
            Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::Namespace => "a namespace",
            Self::Link => "the way to a server",
            Self::Resolver => "a name that a process resolves",
            Self::Process => "a process of this machine",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_back_and_shows_no_password() {
        for text in [
            "postgres://eva:hunter2@db:5432/shop",
            "shop/pods",
            "shop/pod/web-0",
            "shop/pods/app=web",
            "shop/deployment/web",
            "node/node-1",
            "nodes/topology.kubernetes.io/zone=a",
            "nodes/running:shop/app=web,tier in (edge)",
            "namespace/shop",
            "tcp://127.0.0.1:5432",
            "dns://db.shop.svc",
            "pid:/run/shop api.pid",
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.text().reveal(), text);
            assert!(!format!("{target} {target:?}").contains("hunter2"));
        }
        let short: Target = "shop/sts/db".parse().unwrap();
        assert_eq!(short.to_string(), "shop/statefulset/db");
    }

    #[test]
    fn only_what_is_found_through_something_else_takes_rights_for_that() {
        let reads = |text: &str| text.parse::<Target>().unwrap().reads().map(|rule| (rule.resource, rule.place));
        assert_eq!(reads("shop/deploy/web"), Some(("deployments", Place::Target)));
        assert_eq!(reads("shop/statefulset/db"), Some(("statefulsets", Place::Target)));
        assert_eq!(reads("nodes/running:shop/app=web"), Some(("pods", Place::Cluster)));
        for text in ["shop/pods", "shop/pod/web-0", "shop/pods/app=web", "nodes/zone=a", "node/one", "namespace/shop"] {
            assert_eq!(reads(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_told_what_one_looks_like() {
        for text in ["", "shop", "shop/", "/pods", "shop/widget/x", "tcp://nowhere", "s3://bucket", "dns://", "pid:"] {
            let error = text.parse::<Target>().unwrap_err();
            assert_eq!(error.kind().exit_code(), 2, "{text}");
            assert!(error.hint_text().unwrap().contains("NAMESPACE/pods"));
        }
    }
}
