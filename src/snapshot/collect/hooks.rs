//! Commands that run in pods before and after the lists, and commands whose output is a source of its own.
//!
//! Pods declare them by annotations: `davit.dev/pre-command`, `davit.dev/post-command`, `davit.dev/output-command`,
//! each with `-container`, `-timeout` and `-on-error` (`fail` or `continue`) beside it, and for outputs `-name` and
//! `-allow-empty`. Velero's `pre.hook.backup.velero.io/command` and the like mean the same. A command is a JSON list
//! of words, or one word: no shell takes it apart.

use super::request::Request;
use crate::cluster::{Cluster, Exec, Fault, Kind, Query};
use crate::error::{Error, Result};
use crate::snapshot::facts::{HookOutcome, Missing};
use memchr::memmem;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// What Velero gives a hook; so do we.
const TIMEOUT: Duration = Duration::from_secs(30);
/// An output may be gigabytes.
const OUTPUT_TIMEOUT: Duration = Duration::from_hours(1);
/// Hooks that run side by side.
const SIDE_BY_SIDE: usize = 8;

/// When a command runs, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Before the lists.
    Before,
    /// After the lists, whatever came of them.
    After,
    /// Its output is stored, as the source of this name below the namespace's.
    Output {
        /// The last part of the source's name.
        name: String,
        /// Whether no output at all is well.
        allow_empty: bool,
    },
}

/// What a failed command means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The snapshot is incomplete.
    #[default]
    Fail,
    /// It is noted.
    Continue,
}

/// A command in a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// When.
    pub when: When,
    /// What its failure means.
    pub on_error: OnError,
    /// How long it may take.
    #[serde(rename = "timeout_seconds", serialize_with = "seconds")]
    pub timeout: Duration,
    /// Whether the pod runs.
    pub running: bool,
}

fn seconds<S: serde::Serializer>(timeout: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(timeout.as_secs())
}

/// Commands for all pods with some labels, as the settings give them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRule {
    /// Which pods, by their labels.
    pub pods: String,
    /// The container; the pod's default one if not said.
    pub container: Option<String>,
    /// What runs when; an output without a name is called by its pod.
    pub commands: Vec<(When, Vec<String>)>,
    /// What a failure means.
    pub on_error: OnError,
    /// How long each may take.
    pub timeout: Option<Duration>,
}

/// The hooks that the settings give.
pub(super) async fn ruled(cluster: &Cluster, request: &Request, kinds: &[Kind]) -> Result<Vec<Hook>> {
    let Some(pods) = kinds.iter().find(|kind| kind.group_resource() == "pods") else { return Ok(Vec::new()) };
    let mut hooks = Vec::new();
    for rule in &request.rules {
        let query = Query { namespace: Some(&request.namespace), labels: Some(&rule.pods), ..Query::all(pods) };
        let doing = || format!("looking for pods {} that hooks run in", rule.pods);
        let (mut listing, before) = (cluster.list(query), hooks.len());
        while let Some(item) = listing.next().await.map_err(|why| why.during(doing()))? {
            hooks.extend(of_rule(rule, &item)?);
        }
        if hooks.len() == before {
            return Err(Error::refused(format!("{}: there is none", doing())).hint(
                "hooks of davit.yaml must find their pods: a forgotten one would thaw nothing and save nothing",
            ));
        }
    }
    Ok(hooks)
}

fn of_rule(rule: &HookRule, pod: &[u8]) -> Result<Vec<Hook>> {
    let pod: Value = serde_json::from_slice(pod).map_err(|why| Error::failed("reading a pod").because(why))?;
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let hook = |(when, command): &(When, Vec<String>)| {
        let when = match when {
            When::Output { name: of, allow_empty } if of.is_empty() => {
                When::Output { name: name.to_owned(), allow_empty: *allow_empty }
            }
            when => when.clone(),
        };
        Hook {
            pod: name.to_owned(),
            container: rule.container.clone().or_else(|| default_container(&pod)),
            command: command.clone(),
            timeout: rule.timeout.unwrap_or(if matches!(when, When::Output { .. }) { OUTPUT_TIMEOUT } else { TIMEOUT }),
            when,
            on_error: rule.on_error,
            running: pod["status"]["phase"] == "Running",
        }
    };
    Ok(rule.commands.iter().map(hook).collect())
}

fn default_container(pod: &Value) -> Option<String> {
    let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    default.or_else(|| pod["spec"]["containers"][0]["name"].as_str()).map(str::to_owned)
}

/// The hooks that pods of the namespace declare.
pub(super) async fn declared(cluster: &Cluster, request: &Request, kinds: &[Kind]) -> Result<Vec<Hook>> {
    let Some(pods) = kinds.iter().find(|kind| kind.group_resource() == "pods") else { return Ok(Vec::new()) };
    let query =
        Query { namespace: Some(&request.namespace), labels: request.scope.selector.as_deref(), ..Query::all(pods) };
    let mut listing = cluster.list(query);
    let mut hooks = Vec::new();
    loop {
        let item = match listing.next().await {
            Ok(Some(item)) => item,
            Ok(None) => return Ok(hooks),
            // The snapshot itself will name what it cannot list.
            Err(why) if why.fault == Fault::Forbidden => return Ok(hooks),
            Err(why) => return Err(why.during("looking for hooks that pods declare")),
        };
        let declares = |mark: &str| memmem::find(&item, mark.as_bytes()).is_some();
        if declares("\"davit.dev/") || declares(".hook.backup.velero.io/") {
            hooks.extend(of_pod(&item)?);
        }
    }
}

/// The hooks that one pod declares.
fn of_pod(pod: &[u8]) -> Result<Vec<Hook>> {
    let doing = "reading the annotations of a pod";
    let pod: Value = serde_json::from_slice(pod).map_err(|why| Error::failed(doing).because(why))?;
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let annotations: BTreeMap<&str, &str> = pod["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect();
    let mut hooks = Vec::new();
    for (when, ours, velero) in [
        ("pre", "davit.dev/pre-", Some("pre.hook.backup.velero.io/")),
        ("post", "davit.dev/post-", Some("post.hook.backup.velero.io/")),
        ("output", "davit.dev/output-", None),
    ] {
        let prefixes = [Some(ours), velero];
        let mut prefixes = prefixes.into_iter().flatten();
        // Who declares both means ours: a pod may be saved by Velero, too.
        let declared =
            prefixes.find_map(|prefix| Some((prefix, *annotations.get(format!("{prefix}command").as_str())?)));
        let Some((prefix, command)) = declared else { continue };
        let get = |what: &str| annotations.get(format!("{prefix}{what}").as_str()).copied();
        hooks.push(hook(&pod, &name, when, command, &get)?);
    }
    Ok(hooks)
}

fn hook<'a>(pod: &Value, name: &str, when: &str, command: &str, get: &dyn Fn(&str) -> Option<&'a str>) -> Result<Hook> {
    let doing = |what: &str| format!("reading the {what} of the {when} hook of pod {name}");
    let timeout = match get("timeout") {
        None if when == "output" => OUTPUT_TIMEOUT,
        None => TIMEOUT,
        Some(text) => {
            text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok()).ok_or_else(
                || Error::input(format!("{}: {text:?} is no length of time", doing("timeout"))).hint("write 30s or 5m"),
            )?
        }
    };
    let on_error = match get("on-error").map(str::to_ascii_lowercase).as_deref() {
        None | Some("fail") => OnError::Fail,
        Some("continue") => OnError::Continue,
        Some(other) => {
            return Err(Error::input(format!("{}: {other:?}", doing("on-error"))).hint("write fail or continue"));
        }
    };
    let when = match when {
        "pre" => When::Before,
        "post" => When::After,
        _ => When::Output {
            name: get("name").unwrap_or(name).to_owned(),
            allow_empty: get("allow-empty").is_some_and(|text| text == "true"),
        },
    };
    Ok(Hook {
        pod: name.to_owned(),
        container: get("container").map(str::to_owned).or_else(|| default_container(pod)),
        command: words(command),
        when,
        on_error,
        timeout,
        running: pod["status"]["phase"] == "Running",
    })
}

/// A JSON list of words, or one word.
fn words(command: &str) -> Vec<String> {
    serde_json::from_str(command).unwrap_or_else(|_| vec![command.to_owned()])
}

/// What running hooks gave.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub(super) outcomes: Vec<HookOutcome>,
    pub(super) missing: Vec<Missing>,
}

/// Runs the hooks of one moment. A hook that fails is in what is given back.
pub(super) async fn run(cluster: &Cluster, namespace: &str, hooks: &[Hook], when: &When) -> Ran {
    use futures_util::StreamExt;
    let hooks = hooks.iter().filter(|hook| hook.when == *when);
    let mut done = futures_util::stream::iter(hooks)
        .map(|hook| async move { (hook, one(cluster, namespace, hook).await) })
        .buffered(SIDE_BY_SIDE);
    let moment = if *when == When::Before { "before" } else { "after" };
    let mut ran = Ran::default();
    while let Some((hook, failed)) = done.next().await {
        if let Some(why) = failed.as_ref().filter(|_| hook.on_error == OnError::Fail) {
            ran.missing.push(Missing { what: format!("hook {moment} in pod {}", hook.pod), why: why.clone() });
        }
        let (ok, pod) = (failed.is_none(), hook.pod.clone());
        ran.outcomes.push(HookOutcome { when: moment.to_owned(), pod, ok, detail: failed });
    }
    ran
}

/// Runs one hook; gives why it failed.
async fn one(cluster: &Cluster, namespace: &str, hook: &Hook) -> Option<String> {
    if !hook.running {
        return Some("the pod does not run".to_owned());
    }
    let exec = exec_of(namespace, hook);
    match cluster.exec(&exec, None, &mut tokio::io::sink()).await {
        Ok(outcome) if outcome.is_success() => None,
        Ok(outcome) => Some(outcome.to_string()),
        Err(why) => Some(why.to_string()),
    }
}

pub(super) fn exec_of<'a>(namespace: &'a str, hook: &'a Hook) -> Exec<'a> {
    Exec {
        namespace,
        pod: &hook.pod,
        container: hook.container.as_deref(),
        command: &hook.command,
        timeout: hook.timeout,
        // What was frozen is thawed even if the run was stopped meanwhile.
        insists: hook.when == When::After,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(annotations: &Value) -> Vec<u8> {
        let pod = json!({
            "metadata": { "name": "db-0", "annotations": annotations },
            "spec": { "containers": [{ "name": "postgres" }, { "name": "proxy" }] },
            "status": { "phase": "Running" }
        });
        serde_json::to_vec(&pod).unwrap()
    }

    #[test]
    fn hooks_of_velero_are_honoured_with_their_defaults() {
        let found = of_pod(&pod(&json!({
            "pre.hook.backup.velero.io/command": r#"["/sbin/fsfreeze","--freeze","/data"]"#,
            "pre.hook.backup.velero.io/container": "proxy",
            "pre.hook.backup.velero.io/timeout": "3m",
            "pre.hook.backup.velero.io/on-error": "Continue",
            "post.hook.backup.velero.io/command": "/bin/thaw it"
        })))
        .unwrap();
        let (before, after) = (&found[0], &found[1]);
        assert_eq!(before.command, ["/sbin/fsfreeze", "--freeze", "/data"]);
        assert_eq!((before.container.as_deref(), before.timeout), (Some("proxy"), Duration::from_mins(3)));
        assert_eq!((&before.when, before.on_error), (&When::Before, OnError::Continue));
        assert_eq!(after.command, ["/bin/thaw it"], "no shell takes a command apart");
        assert_eq!((after.container.as_deref(), after.timeout), (Some("postgres"), TIMEOUT));
        assert_eq!((&after.when, after.on_error), (&When::After, OnError::Fail));
    }

    #[test]
    fn our_own_annotation_wins_and_an_output_has_a_name() {
        let found = of_pod(&pod(&json!({
            "davit.dev/pre-command": "ours",
            "pre.hook.backup.velero.io/command": "theirs",
            "davit.dev/output-command": r#"["vault","read","-format=raw","sys/storage/raft/snapshot"]"#,
            "davit.dev/output-name": "raft"
        })))
        .unwrap();
        assert_eq!(found[0].command, ["ours"]);
        assert_eq!(found[1].when, When::Output { name: "raft".to_owned(), allow_empty: false });
    }

    #[test]
    fn a_wrong_annotation_is_named_with_its_pod() {
        for (key, value) in [("davit.dev/pre-timeout", "soon"), ("davit.dev/pre-on-error", "ignore")] {
            let error = of_pod(&pod(&json!({ "davit.dev/pre-command": "x", key: value }))).unwrap_err();
            assert!(error.to_string().contains("db-0") && error.to_string().contains(value), "{error}");
            assert_eq!(error.kind().exit_code(), 2);
        }
    }
}
