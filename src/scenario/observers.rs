//! Who observes a drill besides the machine that runs it, and from where.

use super::settle::line;
use super::{Expect, Query};
use crate::secret::SecretRef;
use crate::yaml::Problem;
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::path::PathBuf;

/// Somebody else who watches the service from where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObserverWish {
    /// What reports call it.
    pub name: String,
    /// The pod in which it is begun; on this machine otherwise.
    pub pod: Option<ObserverPod>,
    /// The program that is begun and its arguments, such as `ssh`: its standard input and output are those of
    /// `davit observe --plan -`.
    pub command: Vec<String>,
    /// How the service is reached from there, where that is not the way of the target's `clients`.
    pub clients: Option<SecretRef>,
    /// The file, on the machine that runs the drill, with the roots that it trusts.
    pub ca: Option<PathBuf>,
    /// What it asks a database, where that is not the target's `query`.
    pub query: Option<Query>,
    /// What a good answer looks like, where that is not what the target's `expect` says.
    pub expect: Option<Expect>,
}

/// A pod to observe from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObserverPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name, or labels that it has.
    pub which: String,
    /// The container, where it has several.
    pub container: Option<String>,
}

impl ObserverPod {
    /// The labels, where it is not meant by its name: no name has any of the signs that labels need.
    pub fn labels(&self) -> Option<&str> {
        let of_names = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        (!self.which.chars().all(of_names)).then_some(self.which.as_str())
    }
}

impl ObserverWish {
    /// Where it is, in a few words. Of its command only the program: the arguments may be anybody's.
    pub fn place(&self) -> String {
        match &self.pod {
            Some(ObserverPod { namespace, which, .. }) => format!("in pod {namespace}/{which}"),
            None => format!("begun by {}", self.command.first().map_or("", String::as_str)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawObserver {
    name: String,
    pod: Option<String>,
    container: Option<String>,
    #[serde(default)]
    command: Vec<String>,
    clients: Option<SecretRef>,
    ca: Option<PathBuf>,
    query: Option<Query>,
    expect: Option<Expect>,
}

/// What is begun in a pod that has `davit` among its programs.
const IN_A_POD: [&str; 4] = ["davit", "observe", "--plan", "-"];

/// The longest name that leaves room for the rest of a line.
const NAME_MAX: usize = 40;

/// What the file says of observers, and what is wrong with it.
pub(super) fn settle(raw: Vec<Spanned<RawObserver>>, problems: &mut Vec<Problem>) -> Vec<ObserverWish> {
    let mut wishes: Vec<ObserverWish> = Vec::new();
    for raw in raw {
        let at = line(&raw);
        let RawObserver { name, pod, container, mut command, clients, ca, query, expect } = raw.value;
        let mut wrong = |text: String, hint: &str| problems.push(Problem::new(at, text, Some(hint.to_owned())));
        // Its streams and its log are named after it.
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) || name.starts_with('.') {
            wrong(
                format!("{name:?} is no name of an observer"),
                "use up to 40 small letters, digits, dots and dashes: `office`",
            );
        } else if wishes.iter().any(|wish| wish.name == name) {
            wrong(
                format!("two observers are called {name:?}"),
                "give each its own name; reports tell them apart by it",
            );
        }
        if pod.is_some() && command.is_empty() {
            command = IN_A_POD.map(str::to_owned).to_vec();
        }
        if command.first().is_none_or(String::is_empty) {
            wrong(
                format!("the observer {name:?} names neither a program nor a pod"),
                "write `command: [ssh, HOST, davit, observe, --plan, \"-\"]`, or `pod: NAMESPACE/NAME`",
            );
        }
        let place = pod.as_deref().map(|text| text.split_once('/').unwrap_or((text, "")));
        if place.is_some_and(|(namespace, which)| namespace.is_empty() || which.is_empty()) {
            wrong(
                format!("the pod of the observer {name:?} has no namespace or no name"),
                "write `pod: NAMESPACE/NAME`, or `pod: NAMESPACE/LABEL=VALUE`",
            );
        } else if place.is_none() && container.is_some() {
            wrong(
                format!("the observer {name:?} names a container and no pod"),
                "write `pod: NAMESPACE/NAME` beside it",
            );
        }
        let pod = place.map(|(namespace, which)| ObserverPod {
            namespace: namespace.to_owned(),
            which: which.to_owned(),
            container,
        });
        wishes.push(ObserverWish { name, pod, command, clients, ca, query, expect });
    }
    wishes
}
