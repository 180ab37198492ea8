//! The hooks of a Velero `Schedule` or `Backup` as `hooks` of `davit.yaml`. What one of them says that cannot be said
//! there is named.

use super::schedule::{Untranslated, labels, seconds, texts};
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value};

/// One entry of `hooks` of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookHere {
    /// The namespace.
    pub namespace: String,
    /// Which pods of it, by their labels.
    pub pods: String,
    /// Which container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What runs before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Vec<String>>,
    /// What runs after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    /// What a failure means.
    pub on_error: String,
    /// How long a command may take.
    pub timeout: String,
}

/// What became of the hooks.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    pub(super) here: Vec<HookHere>,
    pub(super) without: Vec<Untranslated>,
}

const INSTEAD: &str =
    "annotate the pods, pre.hook.backup.velero.io/… is honoured as it is; or write hooks of davit.yaml";

/// Translates `spec.hooks`; `namespaces` are those of the backup.
pub(super) fn translate(field: &str, value: &Value, namespaces: &[String]) -> Result<Hooks> {
    let mut hooks = Hooks::default();
    let resources = value.get("resources").and_then(Value::as_array);
    let resources = resources.ok_or_else(|| Error::input(format!("{field} has no list of resources")))?;
    for (at, resource) in resources.iter().enumerate() {
        let field = format!("{field}.resources[{at}]");
        let mut without = |field: String, why: &str| hooks.without.push(Untranslated { field, why: why.to_owned() });
        let Some(resource) = resource.as_object() else {
            without(field, INSTEAD);
            continue;
        };
        for (name, value) in resource {
            let known = ["name", "includedNamespaces", "labelSelector", "pre", "post"].contains(&name.as_str());
            let pods = name == "includedResources" && value == &serde_json::json!(["pods"]);
            if !known && !pods && value.as_array().is_none_or(|list| !list.is_empty()) {
                without(format!("{field}.{name}"), INSTEAD);
            }
        }
        let Some(Value::Object(selector)) = resource.get("labelSelector") else {
            without(field, "without labelSelector it is of every pod; a hook of davit.yaml names pods by their labels");
            continue;
        };
        let pods = labels(&format!("{field}.labelSelector"), selector)?;
        let own = resource.get("includedNamespaces").map(|list| texts(&field, list)).transpose()?.unwrap_or_default();
        let own: Vec<String> = own.into_iter().filter(|name| name != "*").collect();
        let of = if own.is_empty() { namespaces } else { &own };
        if of.is_empty() {
            without(field, "it is of every namespace; a hook of davit.yaml names one");
            continue;
        }
        for (phase, before) in [("pre", true), ("post", false)] {
            let list = resource.get(phase).and_then(Value::as_array).into_iter().flatten();
            for (number, hook) in list.enumerate() {
                match exec(hook) {
                    Some(exec) => hooks.here.extend(of.iter().map(|namespace| exec.here(namespace, &pods, before))),
                    None => hooks
                        .without
                        .push(Untranslated { field: format!("{field}.{phase}[{number}]"), why: INSTEAD.to_owned() }),
                }
            }
        }
    }
    Ok(hooks)
}

struct Exec {
    container: Option<String>,
    command: Vec<String>,
    on_error: String,
    timeout: String,
}

/// Reads a hook that is a command in a pod, with nothing about it that is not known.
fn exec(hook: &Value) -> Option<Exec> {
    let exec = hook.as_object().filter(|hook| hook.len() == 1)?.get("exec")?.as_object()?;
    let text = |exec: &Map<String, Value>, name: &str| exec.get(name).and_then(Value::as_str).map(str::to_owned);
    if exec.keys().any(|name| !["container", "command", "onError", "timeout"].contains(&name.as_str())) {
        return None;
    }
    let command = exec.get("command")?.as_array()?;
    let command = command.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
    Some(Exec {
        container: text(exec, "container"),
        command,
        // Velero's defaults.
        on_error: text(exec, "onError").unwrap_or_else(|| "Fail".to_owned()).to_lowercase(),
        // The settings have one number and one unit.
        timeout: seconds(text(exec, "timeout").as_deref().unwrap_or("30s"))
            .filter(|all| *all > 0)
            .map(|all| format!("{all}s"))?,
    })
}

impl Exec {
    fn here(&self, namespace: &str, pods: &str, before: bool) -> HookHere {
        let command = |wanted: bool| (before == wanted).then(|| self.command.clone());
        HookHere {
            namespace: namespace.to_owned(),
            pods: pods.to_owned(),
            container: self.container.clone(),
            before: command(true),
            after: command(false),
            on_error: self.on_error.clone(),
            timeout: self.timeout.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn commands_become_entries_of_the_settings_and_the_rest_is_named() {
        let db = json!({"name": "db", "labelSelector": {"matchLabels": {"app": "db"}}, "includedResources": ["pods"],
            "pre": [{"exec": {"container": "pg", "command": ["psql", "-c", "CHECKPOINT"], "onError": "Continue", "timeout": "1m30s"}}],
            "post": [{"exec": {"command": ["thaw"]}}, {"init": {}}]});
        let every = json!({"name": "every", "pre": [{"exec": {"command": ["sync"]}}]});
        let hooks = translate("spec.hooks", &json!({"resources": [db, every]}), &["shop".to_owned()]).unwrap();
        let here: Vec<String> = hooks.here.iter().map(|hook| serde_json::to_string(hook).unwrap()).collect();
        assert_eq!(
            here,
            [
                r#"{"namespace":"shop","pods":"app=db","container":"pg","before":["psql","-c","CHECKPOINT"],"on_error":"continue","timeout":"90s"}"#,
                r#"{"namespace":"shop","pods":"app=db","after":["thaw"],"on_error":"fail","timeout":"30s"}"#,
            ]
        );
        let fields: Vec<&str> = hooks.without.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["spec.hooks.resources[0].post[1]", "spec.hooks.resources[1]"]);
        assert!(translate("spec.hooks", &json!({"resources": 1}), &[]).is_err());
    }
}
