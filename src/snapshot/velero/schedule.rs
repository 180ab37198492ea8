//! `Schedule` and `Backup` objects of Velero as input: what they would be here, and what has no equivalent, field by
//! field. Nothing is dropped silently: a field that is not known is named too.

use super::hooks::{self, HookHere};
use crate::error::{Error, Result};
use crate::snapshot::volumes::VELERO_GROUP_LABEL;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A field that has no equivalent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Untranslated {
    /// `spec.template.snapshotMoveData`
    pub field: String,
    /// Why, and what to do instead.
    pub why: String,
}

/// What a Velero object would be here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Translated {
    /// Its name.
    pub name: String,
    /// When it runs, in five fields; nothing for a single backup.
    pub cron: Option<String>,
    /// The time zone of that.
    pub time_zone: Option<String>,
    /// Whether it is paused.
    pub paused: bool,
    /// Namespaces; none at all means every one.
    pub namespaces: Vec<String>,
    /// Namespaces that are left out.
    pub without_namespaces: Vec<String>,
    /// Kinds; none at all means every one.
    pub include: Vec<String>,
    /// Kinds that are left out.
    pub exclude: Vec<String>,
    /// Label selector.
    pub selector: Option<String>,
    /// How long each point is kept, as `keep_within` of the settings.
    pub keep_within: String,
    /// Whether cluster-scoped objects come along.
    pub scope: Option<String>,
    /// How volumes are saved: `csi` or `files`.
    pub volumes: Option<String>,
    /// Entries of `hooks` of the settings.
    pub hooks: Vec<HookHere>,
    /// Fields without an equivalent.
    pub without_equivalent: Vec<Untranslated>,
}

impl Translated {
    /// What goes into `davit.yaml` as it stands. A line of JSON is a line of YAML.
    pub fn settings(&self) -> Vec<String> {
        let mut lines = vec![
            "# of every source that does not say otherwise".to_owned(),
            format!("retention: {{keep_within: {}}}", self.keep_within),
        ];
        if !self.hooks.is_empty() {
            lines.push("hooks:".to_owned());
            lines
                .extend(self.hooks.iter().map(|hook| format!("- {}", serde_json::to_string(hook).unwrap_or_default())));
        }
        lines
    }

    /// The command of one run, for each namespace that is named.
    pub fn command(&self) -> String {
        let mut words = vec!["davit snapshot create".to_owned()];
        words.extend(self.namespaces.iter().cloned());
        for (flag, values) in [("--include", &self.include), ("--exclude", &self.exclude)] {
            if !values.is_empty() {
                words.push(format!("{flag} {}", values.join(",")));
            }
        }
        if let Some(selector) = &self.selector {
            words.push(format!("--selector '{selector}'"));
        }
        if let Some(scope) = &self.scope {
            words.push(format!("--scope {scope}"));
        }
        match self.volumes.as_deref() {
            Some("files") => words.push("--volumes files --mover-image IMAGE".to_owned()),
            Some(other) => words.push(format!("--volumes {other}")),
            None => {}
        }
        words.join(" ")
    }
}

/// Translates every `Schedule` and `Backup` of a YAML text.
pub fn translate(file: &str, yaml: &str) -> Result<Vec<Translated>> {
    let doing = || format!("reading {file} as Schedule or Backup of Velero");
    let mut all = Vec::new();
    for text in documents(yaml) {
        let document: Option<Value> =
            serde_saphyr::from_str(&text).map_err(|error| Error::input(doing()).because(error.to_string()))?;
        let Some(document) = document else { continue };
        if !document.is_object() {
            return Err(Error::input(format!("{}: a document in it is no object", doing())));
        }
        if document.get("kind").and_then(Value::as_str) == Some("List") {
            let items = document.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            all.extend(items);
        } else {
            all.push(document);
        }
    }
    if all.is_empty() {
        return Err(Error::input(format!("{}: nothing is in it", doing())));
    }
    all.iter().map(|document| one(document).map_err(|error| error.during(doing()))).collect()
}

/// The documents of a YAML stream.
fn documents(yaml: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in yaml.lines() {
        if line == "---" || line.starts_with("--- ") {
            documents.push(String::new());
        } else if let Some(last) = documents.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    documents.retain(|text| text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')));
    documents
}

fn one(document: &Value) -> Result<Translated> {
    let text = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let kind = text("/kind");
    if !text("/apiVersion").starts_with("velero.io/") || !["Schedule", "Backup"].contains(&kind) {
        return Err(Error::input(format!("{:?} of {:?} is neither", kind, text("/apiVersion"))).hint(
            "a Schedule or Backup of velero.io/v1 is wanted; a Restore has no equivalent: see davit snapshot restore",
        ));
    }
    let name = text("/metadata/name").to_owned();
    // What Velero does without a ttl.
    let translated = Translated { name, keep_within: "30 days".to_owned(), ..Translated::default() };
    let mut fields = Fields { translated, hooks: None };
    let empty = Map::new();
    let spec = document.get("spec").and_then(Value::as_object).unwrap_or(&empty);
    if kind == "Schedule" {
        for (name, value) in spec.iter().filter(|(name, _)| name.as_str() != "template") {
            fields.of_schedule(name, value)?;
        }
        let template = spec.get("template").and_then(Value::as_object).unwrap_or(&empty);
        for (name, value) in template {
            fields.of_backup("spec.template.", name, value)?;
        }
    } else {
        for (name, value) in spec {
            fields.of_backup("spec.", name, value)?;
        }
    }
    fields.finish()
}

struct Fields {
    translated: Translated,
    /// The field and its value.
    hooks: Option<(String, Value)>,
}

impl Fields {
    fn without(&mut self, field: impl Into<String>, why: &str) {
        self.translated.without_equivalent.push(Untranslated { field: field.into(), why: why.to_owned() });
    }

    fn of_schedule(&mut self, name: &str, value: &Value) -> Result<()> {
        match (name, value) {
            (_, Value::Null) => {}
            ("schedule", Value::String(cron)) => self.cron(cron)?,
            ("paused", Value::Bool(paused)) => self.translated.paused = *paused,
            ("skipImmediately", _) => {
                self.without("spec.skipImmediately", "a schedule never runs at once because it is new");
            }
            ("useOwnerReferencesInBackup", _) => {
                self.without(
                    "spec.useOwnerReferencesInBackup",
                    "points are not objects of the cluster and need no owner",
                );
            }
            (other, _) => self.without(format!("spec.{other}"), "this field is not known"),
        }
        Ok(())
    }

    fn cron(&mut self, text: &str) -> Result<()> {
        let (zone, cron) = match text.trim().strip_prefix("CRON_TZ=").or_else(|| text.trim().strip_prefix("TZ=")) {
            Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
            None => ("UTC", text.trim()),
        };
        let cron = match cron.trim() {
            "@hourly" => "0 * * * *".to_owned(),
            "@daily" | "@midnight" => "0 0 * * *".to_owned(),
            "@weekly" => "0 0 * * 0".to_owned(),
            "@monthly" => "0 0 1 * *".to_owned(),
            "@yearly" | "@annually" => "0 0 1 1 *".to_owned(),
            every if every.starts_with("@every") => {
                self.without(
                    "spec.schedule",
                    "@every counts from the last run; write five fields, such as 0 */6 * * *",
                );
                return Ok(());
            }
            five if five.split_whitespace().count() == 5 => five.to_owned(),
            other => return Err(Error::input(format!("spec.schedule is {other:?}, not five fields"))),
        };
        self.translated.cron = Some(cron);
        self.translated.time_zone = Some(zone.to_owned());
        Ok(())
    }

    fn of_backup(&mut self, prefix: &str, name: &str, value: &Value) -> Result<()> {
        let field = format!("{prefix}{name}");
        let out = &mut self.translated;
        match (name, value) {
            ("hooks", Value::Object(map)) if map.values().all(is_empty) => {}
            // Translated last, when the namespaces are known.
            ("hooks", Value::Object(_)) => self.hooks = Some((field, value.clone())),
            ("defaultVolumesToFsBackup" | "defaultVolumesToRestic", Value::Bool(true)) => {
                out.volumes = Some("files".to_owned());
            }
            // What is saved as files needs no snapshot of the storage.
            ("snapshotVolumes", Value::Bool(true)) => {
                out.volumes.get_or_insert_with(|| "csi".to_owned());
            }
            (
                "snapshotVolumes" | "defaultVolumesToFsBackup" | "defaultVolumesToRestic" | "snapshotMoveData",
                Value::Bool(false),
            ) => {}
            // What Velero looks at by default says here, too, which volumes are snapshot at one instant.
            ("volumeGroupSnapshotLabelKey", Value::String(label))
                if ["", VELERO_GROUP_LABEL].contains(&label.as_str()) => {}
            (_, value) if name != "ttl" && is_empty(value) => {}
            ("includedNamespaces", _) => {
                out.namespaces = texts(&field, value)?.into_iter().filter(|name| name != "*").collect();
            }
            ("excludedNamespaces", _) => out.without_namespaces = texts(&field, value)?,
            ("includedResources" | "includedNamespaceScopedResources", _) => {
                out.include.extend(texts(&field, value)?.into_iter().filter(|name| name != "*"));
            }
            ("excludedResources" | "excludedNamespaceScopedResources", _) => out.exclude.extend(texts(&field, value)?),
            ("labelSelector", Value::Object(selector)) => out.selector = Some(labels(&field, selector)?),
            ("ttl", Value::String(ttl)) => out.keep_within = term(&field, ttl)?,
            ("includeClusterResources", Value::Bool(yes)) => {
                out.scope = Some(if *yes { "with-cluster" } else { "namespace" }.to_owned());
            }
            ("excludedClusterScopedResources", _) => {
                let (all, some): (Vec<_>, Vec<_>) = texts(&field, value)?.into_iter().partition(|name| name == "*");
                out.exclude.extend(some);
                if !all.is_empty() {
                    out.scope = Some("namespace".to_owned());
                }
            }
            _ => {
                if name == "includedClusterScopedResources" {
                    out.scope = Some("with-cluster".to_owned());
                }
                self.without(field, why_not(name));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Translated> {
        if let Some((field, value)) = self.hooks.take() {
            let found = hooks::translate(&field, &value, &self.translated.namespaces)?;
            self.translated.hooks = found.here;
            self.translated.without_equivalent.extend(found.without);
        }
        Ok(self.translated)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Why a field of a backup has no equivalent.
fn why_not(name: &str) -> &'static str {
    match name {
        "storageLocation" => "--repository or davit.yaml says where points go",
        "volumeSnapshotLocations" => "snapshots are made by the driver of the volume's class",
        "snapshotMoveData" | "datamover" => {
            "--volumes csi leaves the data in the storage; --volumes files puts the files into the repository"
        }
        "csiSnapshotTimeout" | "itemOperationTimeout" => "each step has its own limit",
        "orLabelSelectors" => "one selector is possible; make one snapshot for each",
        "orderedResources" => "the whole snapshot is of one instant",
        "resourcePolicy" => "choose with --include and --exclude",
        "includedClusterScopedResources" => {
            "what the namespace leans on comes along with --scope with-cluster; what belongs to no namespace does not"
        }
        "uploaderConfig" => "--jobs says how much runs at once",
        "volumeGroupSnapshotLabelKey" => {
            "the label of a group of volumes is davit.dev/volume-group or velero.io/volume-group: give its claims one"
        }
        "backupType" => "every snapshot is a full one that stores only what is new",
        "metadata" => "points carry no labels",
        _ => "this field is not known",
    }
}

pub(super) fn texts(field: &str, value: &Value) -> Result<Vec<String>> {
    let list =
        value.as_array().map(|list| list.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
    list.flatten().ok_or_else(|| Error::input(format!("{field} is no list of names")))
}

/// A label selector as the command line writes it.
pub(super) fn labels(field: &str, selector: &Map<String, Value>) -> Result<String> {
    let wrong = || Error::input(format!("{field} is no label selector"));
    if selector.keys().any(|name| !["matchLabels", "matchExpressions"].contains(&name.as_str())) {
        return Err(wrong());
    }
    let exact = selector.get("matchLabels").cloned().unwrap_or_else(|| Value::Object(Map::new()));
    let exact: BTreeMap<String, String> = serde_json::from_value(exact).map_err(|_| wrong())?;
    let mut parts: Vec<String> = exact.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if let Some(expressions) = selector.get("matchExpressions") {
        for expression in expressions.as_array().ok_or_else(wrong)? {
            parts.push(self::expression(expression).ok_or_else(wrong)?);
        }
    }
    Ok(parts.join(","))
}

fn expression(expression: &Value) -> Option<String> {
    let key = expression.get("key")?.as_str()?;
    let values = || -> Option<String> {
        let values = expression.get("values")?.as_array()?;
        Some(values.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(","))
    };
    match expression.get("operator")?.as_str()? {
        "In" => Some(format!("{key} in ({})", values()?)),
        "NotIn" => Some(format!("{key} notin ({})", values()?)),
        "Exists" => Some(key.to_owned()),
        "DoesNotExist" => Some(format!("!{key}")),
        _ => None,
    }
}

/// A duration of Go (`720h0m0s`) in the words of the settings.
fn term(field: &str, text: &str) -> Result<String> {
    let wrong = || Error::input(format!("{field} is {text:?}, not a length of time")).hint("it looks like 720h0m0s");
    Ok(match seconds(text).ok_or_else(wrong)? {
        // To Velero nothing is not "for ever" and not "at once", but its default.
        0 => "30 days".to_owned(),
        whole if whole.is_multiple_of(86_400) => format!("{} days", whole / 86_400),
        other => format!("{} hours", other.div_ceil(3600)),
    })
}

/// The whole seconds of a duration of Go.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let mut seconds = 0u64;
    let mut digits = String::new();
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let number: u64 = digits.parse().ok()?;
        digits.clear();
        seconds = number.checked_mul(unit).and_then(|more| seconds.checked_add(more))?;
    }
    (digits.is_empty() || text == "0").then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOUDFLOW: &str = "\
apiVersion: velero.io/v1
kind: Schedule
metadata:
  name: cloudflow-daily-backup
  namespace: velero
spec:
  schedule: \"0 2 * * *\"
  template:
    includedNamespaces:
      - cloudflow
    ttl: 720h0m0s
    snapshotVolumes: true
    storageLocation: default
";

    #[test]
    fn a_daily_schedule_becomes_one_here_and_what_has_no_equivalent_is_named() {
        let all = translate("schedule.yaml", CLOUDFLOW).unwrap();
        insta::assert_json_snapshot!(all, @r#"
        [
          {
            "name": "cloudflow-daily-backup",
            "cron": "0 2 * * *",
            "time_zone": "UTC",
            "paused": false,
            "namespaces": [
              "cloudflow"
            ],
            "without_namespaces": [],
            "include": [],
            "exclude": [],
            "selector": null,
            "keep_within": "30 days",
            "scope": null,
            "volumes": "csi",
            "hooks": [],
            "without_equivalent": [
              {
                "field": "spec.template.storageLocation",
                "why": "--repository or davit.yaml says where points go"
              }
            ]
          }
        ]
        "#);
        assert_eq!(all[0].command(), "davit snapshot create cloudflow --volumes csi");
    }

    #[test]
    fn every_field_is_translated_or_named() {
        let yaml = "\
# two documents
---
apiVersion: velero.io/v1
kind: Schedule
metadata: {name: s}
spec:
  schedule: CRON_TZ=Europe/Berlin 30 1 * * 0
  paused: true
  skipImmediately: true
  brandNew: 1
  template:
    hooks: {resources: []}
    metadata: {}
    includedNamespaces: ['*']
    excludedNamespaces: [kube-system]
    includedResources: [deployments, secrets]
    excludedResources: [events]
    labelSelector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: NotIn, values: [a, b]}, {key: x, operator: Exists}]}
    includedClusterScopedResources: ['*']
    excludedClusterScopedResources: [storageclasses]
    defaultVolumesToFsBackup: true
    snapshotVolumes: true
    ttl: 36h30m0s
    snapshotMoveData: true
    orLabelSelectors: [{matchLabels: {a: b}}]
    somethingNew: {}
    somethingElse: 3
---
apiVersion: velero.io/v1
kind: Backup
metadata: {name: b}
spec: {includedNamespaces: [shop], ttl: 0s, includeClusterResources: false, defaultVolumesToFsBackup: false,
  hooks: {resources: [{name: x, pre: [{exec: {command: [sync]}}]}, {name: y, labelSelector: {matchLabels: {app: db}}, post: [{exec: {command: [thaw]}}]}]}}
";
        let all = translate("two.yaml", yaml).unwrap();
        let named: Vec<&str> = all[0].without_equivalent.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(
            named,
            [
                "spec.brandNew",
                "spec.skipImmediately",
                "spec.template.includedClusterScopedResources",
                "spec.template.orLabelSelectors",
                "spec.template.snapshotMoveData",
                "spec.template.somethingElse"
            ]
        );
        assert_eq!(
            (all[0].cron.as_deref(), all[0].time_zone.as_deref(), all[0].paused),
            (Some("30 1 * * 0"), Some("Europe/Berlin"), true)
        );
        assert_eq!(all[0].without_namespaces, ["kube-system"]);
        assert_eq!(all[0].keep_within, "37 hours");
        assert_eq!(
            all[0].command(),
            "davit snapshot create --include deployments,secrets --exclude storageclasses,events \
             --selector 'app=web,tier notin (a,b),x' --scope with-cluster --volumes files --mover-image IMAGE"
        );
        assert_eq!((all[1].keep_within.as_str(), all[1].cron.as_deref()), ("30 days", None));
        assert_eq!(all[1].without_equivalent[0].field, "spec.hooks.resources[0]");
        assert_eq!((all[1].hooks.len(), all[1].hooks[0].namespace.as_str()), (1, "shop"));
        assert_eq!(all[1].command(), "davit snapshot create shop --scope namespace");
    }

    #[test]
    fn the_label_of_volume_groups_is_veleros_own_or_named() {
        let of = |label: &str| {
            let text = "apiVersion: velero.io/v1\nkind: Backup\nmetadata: {name: b}\nspec: {volumeGroupSnapshotLabelKey: LABEL}\n";
            translate("b.yaml", &text.replace("LABEL", label)).unwrap().remove(0).without_equivalent
        };
        assert_eq!(of("velero.io/volume-group"), []);
        assert_eq!(of("''"), []);
        let other = of("example.com/group").remove(0);
        assert_eq!(other.field, "spec.volumeGroupSnapshotLabelKey");
        assert!(other.why.contains("davit.dev/volume-group"), "{}", other.why);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for (yaml, what) in [
            ("", "nothing is in it"),
            ("kind: Pod\napiVersion: v1\n", "\"Pod\" of \"v1\" is neither"),
            ("- 1\n", "a document in it is no object"),
            ("apiVersion: velero.io/v1\nkind: Schedule\nspec: {schedule: 'daily'}\n", "not five fields"),
            ("apiVersion: velero.io/v1\nkind: Backup\nspec: {ttl: forever}\n", "not a length of time"),
            ("apiVersion: velero.io/v1\nkind: Backup\nspec: {ttl: 10}\n", ""),
            ("apiVersion: velero.io/v1\nkind: Backup\nspec: {includedNamespaces: shop}\n", "is no list of names"),
            ("a: [\n", "reading x.yaml"),
        ] {
            match translate("x.yaml", yaml) {
                Err(error) => assert!(error.to_string().contains(what), "{yaml}: {error}"),
                Ok(all) => assert_eq!(all[0].without_equivalent[0].field, "spec.ttl", "{yaml}"),
            }
        }
    }
}
