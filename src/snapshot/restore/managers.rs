//! `--keep-managers`: tools that wrote their fields by server-side apply own them again, so that their next apply
//! changes and removes what it did before. Fields that were written in other ways stay without an owner.

use super::super::object::{self, Place, Saved};
use super::super::plan::{Action, Line};
use super::run::Run;
use crate::cluster::{ApiError, Fault, Kind, Patch, Write};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What a manager applied.
struct Applied {
    manager: String,
    fields: Value,
}

/// Gives every object that this restore made back to those who applied it.
pub(super) async fn give_back(run: &mut Run<'_>) {
    let saved: BTreeMap<Place, &Saved> = run.prepared.saved.iter().map(|one| (one.identity.place(), one)).collect();
    let lines = &run.prepared.plan.lines;
    // One that an interrupted run of this restore made still carries our name.
    let resumed = |line: &Line| line.action == Action::Same && line.is_managed_by(&run.prepared.options.manager);
    let ours = |line: &Line| matches!(line.action, Action::Create | Action::Recreate) || resumed(line);
    let made = run.done.iter().filter(|at| ours(&lines[**at]));
    let work: Vec<(usize, Vec<Applied>)> = made
        .filter_map(|at| Some((*at, applied(&saved.get(&lines[*at].place)?.body.open()))))
        .filter(|(_, applied)| !applied.is_empty())
        .collect();
    let run_now = &*run;
    let work = work.into_iter().map(|(at, applied)| async move {
        let line = &lines[at];
        let why = match run_now.kinds.saved(&line.kind) {
            Some(kind) => one(run_now, &kind, line, &applied).await.err().map(|error| error.to_string()),
            None => None,
        };
        (at, why)
    });
    let outcomes: Vec<(usize, Option<String>)> =
        futures_util::stream::iter(work).buffer_unordered(run_now.means.in_flight.max(1)).collect().await;
    for (at, why) in outcomes {
        if let Some(why) = why {
            run.failed.insert(at, (format!("it is there, but its field managers are not: {why}"), false));
        }
    }
}

fn applied(body: &Value) -> Vec<Applied> {
    let managers = object::metadata(body).and_then(|metadata| metadata.get("managedFields")?.as_array());
    let of = |entry: &Value| {
        let whole = entry.get("subresource").and_then(Value::as_str).is_none_or(str::is_empty);
        let manager = entry.get("manager")?.as_str()?.to_owned();
        let fields = entry.get("fieldsV1")?.clone();
        (whole && entry.get("operation")? == "Apply").then_some(Applied { manager, fields })
    };
    managers.into_iter().flatten().filter_map(of).collect()
}

async fn one(run: &Run<'_>, kind: &Kind, line: &Line, applied: &[Applied]) -> Result<(), ApiError> {
    let (cluster, hands) = (&run.means.cluster, &run.hands);
    let at = (line.place.namespace.as_deref(), line.place.name.as_str());
    let (wanted, mut there) = (line.body.open(), Value::Null);
    for one in applied {
        let mut body = owned(&wanted, &one.fields).unwrap_or_else(|| json!({}));
        super::super::map::patch::merge(
            &mut body,
            &json!({"apiVersion": kind.api_version(), "kind": kind.kind,
                "metadata": {"name": line.place.name, "namespace": line.place.namespace}}),
        );
        let write = Write { field_manager: Some(&one.manager), ..Write::default() };
        there = hands.settle(|| cluster.patch(kind, at, Patch::Apply { force: true }, &body, write)).await?;
    }
    // As long as this restore owns the fields too, nobody else's apply removes one.
    let Some(mine) = own_entry_of(&there, hands.manager) else { return Ok(()) };
    let own_entry = format!("/metadata/managedFields/{mine}");
    let patch = json!([
        {"op": "test", "path": format!("{own_entry}/manager"), "value": run.hands.manager},
        {"op": "remove", "path": own_entry}
    ]);
    let write = Write { field_manager: Some(run.hands.manager), ..Write::default() };
    match hands.settle(|| cluster.patch(kind, at, Patch::Json, &patch, write)).await {
        // It went through before, and that answer was lost.
        Err(why) if why.fault == Fault::Invalid => {
            let there = cluster.get(kind, at.0, at.1).await?;
            own_entry_of(&there, hands.manager).map_or(Ok(()), |_| Err(why))
        }
        answer => answer.map(drop),
    }
}

/// Where in the list of managers this restore stands.
fn own_entry_of(there: &Value, manager: &str) -> Option<usize> {
    let managers = object::metadata(there)?.get("managedFields")?.as_array()?;
    managers.iter().position(|entry| entry["manager"] == manager)
}

/// The part of `value` that a set of fields (`FieldsV1` of the API) names.
fn owned(value: &Value, fields: &Value) -> Option<Value> {
    let fields = fields.as_object()?;
    if fields.is_empty() {
        return Some(value.clone());
    }
    match value {
        Value::Object(map) => {
            let mut part = Map::new();
            for (key, inner) in fields {
                let Some(name) = key.strip_prefix("f:") else { continue };
                if let Some(found) = map.get(name).and_then(|value| owned(value, inner)) {
                    part.insert(name.to_owned(), found);
                }
            }
            Some(Value::Object(part))
        }
        Value::Array(list) => {
            let mut part = Vec::new();
            for (key, inner) in fields {
                if let Some(keys) =
                    key.strip_prefix("k:").and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok())
                {
                    let fits = |element: &&Value| keys.iter().all(|(name, value)| element.get(name) == Some(value));
                    if let Some(element) = list.iter().find(fits) {
                        let mut found = owned(element, inner).unwrap_or_else(|| json!({}));
                        if let Some(found) = found.as_object_mut() {
                            found.extend(keys.clone());
                        }
                        part.push(found);
                    }
                } else if let Some(value) =
                    key.strip_prefix("v:").and_then(|text| serde_json::from_str::<Value>(text).ok())
                    && list.contains(&value)
                {
                    part.push(value);
                }
            }
            Some(Value::Array(part))
        }
        other => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_manager_are_cut_out_of_the_object() {
        let body = json!({"metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]}, "spec": {"replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "containers": [{"name": "web", "image": "w:1", "tty": true}, {"name": "log", "image": "l:1"}]}});
        let fields = json!({"f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {"v:\"x\"": {}, "v:\"gone\"": {}}},
            "f:spec": {"f:replicas": {}, "f:selector": {}, "f:absent": {},
                "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}}, "k:{\"name\":\"gone\"}": {".": {}}}}});
        assert_eq!(
            owned(&body, &fields).unwrap(),
            json!({"metadata": {"labels": {"a": "1"}, "finalizers": ["x"]}, "spec": {"replicas": 3,
                "selector": {"matchLabels": {"app": "web"}}, "containers": [{"name": "web", "image": "w:1"}]}})
        );
    }

    #[test]
    fn only_those_who_applied_the_object_itself_are_given_their_fields() {
        let body = json!({"metadata": {"managedFields": [
            {"manager": "argocd", "operation": "Apply", "fieldsV1": {"f:spec": {}}},
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {}}},
            {"manager": "status", "operation": "Apply", "subresource": "status", "fieldsV1": {}}]}});
        let names: Vec<String> = applied(&body).into_iter().map(|one| one.manager).collect();
        assert_eq!(names, ["argocd"]);
    }
}
