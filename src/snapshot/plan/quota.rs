//! Quotas, summed by us: each dry run of the server looks at one object and does not count the others.

use super::super::object::Place;
use super::super::quantity::Quantity;
use super::{Action, Line, Live};
use serde_json::Value;
use std::collections::BTreeMap;

/// What objects take of a quota, in thousandths.
type Amounts = BTreeMap<String, i128>;

/// Refuses the lines that live quotas leave no room for, and tells of pods that controllers will not be able to make.
pub(super) fn limit(lines: &mut [Line], live: &Live) -> Vec<String> {
    let mut warnings = Vec::new();
    for (place, quota) in live.objects.iter().filter(|(place, _)| place.group_resource == "resourcequotas") {
        let quota = &quota.open();
        let scoped = |field: &str| quota.pointer(field).is_some_and(|value| !value.is_null());
        if scoped("/spec/scopes") || scoped("/spec/scopeSelector") {
            warnings.push(format!("the quota {} counts only some pods; it was not summed", place.name));
            continue;
        }
        warnings.extend(one(place, quota, lines));
    }
    warnings
}

fn one(place: &Place, quota: &Value, lines: &mut [Line]) -> Vec<String> {
    let hard = amounts(quota.pointer("/status/hard").or_else(|| quota.pointer("/spec/hard")));
    let mut used = amounts(quota.pointer("/status/used"));
    let here = |line: &Line| line.place.namespace == place.namespace && line.action == Action::Create;
    for line in lines.iter_mut().filter(|line| here(line)) {
        let takes = takes(&line.place.group_resource, &line.body.open());
        let full = takes.iter().find_map(|(what, amount)| {
            let (limit, used) = (*hard.get(what)?, used.get(what).copied().unwrap_or_default());
            (used + amount > limit).then(|| (what.clone(), limit - used))
        });
        if let Some((what, left)) = full {
            let left = shown(left.max(0));
            line.action = Action::Refuse(format!("the quota {} leaves room for {left} of {what}", place.name));
            continue;
        }
        for (what, amount) in takes {
            *used.entry(what).or_default() += amount;
        }
    }
    let mut pods = Amounts::new();
    for line in lines.iter().filter(|line| here(line)) {
        for (what, amount) in pods_of(&line.place.group_resource, &line.body.open()) {
            *pods.entry(what).or_default() += amount;
        }
    }
    let short = pods.iter().filter_map(|(what, wanted)| {
        let (limit, used) = (*hard.get(what)?, used.get(what).copied().unwrap_or_default());
        (used + wanted > limit).then(|| {
            let (wanted, left) = (shown(*wanted), shown((limit - used).max(0)));
            format!("workloads want {wanted} of {what}, but the quota {} leaves room for {left}", place.name)
        })
    });
    short.collect()
}

fn amounts(value: Option<&Value>) -> Amounts {
    let map = value.and_then(Value::as_object);
    let amount = |value: &Value| Quantity::parse(value.as_str()?)?.thousandths();
    map.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), amount(value)?))).collect()
}

/// Thousandths as people write them.
fn shown(thousandths: i128) -> String {
    if thousandths % 1000 == 0 { (thousandths / 1000).to_string() } else { format!("{thousandths}m") }
}

/// What an object takes of a quota when it is made.
fn takes(kind: &str, body: &Value) -> Amounts {
    const ONE: i128 = 1000;
    let mut takes = Amounts::from([(format!("count/{kind}"), ONE)]);
    let plain = [
        "pods",
        "services",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "resourcequotas",
    ];
    if plain.contains(&kind) {
        takes.insert(kind.to_owned(), ONE);
    }
    match kind {
        "services" => {
            let ports = body.pointer("/spec/ports").and_then(Value::as_array).map_or(0, Vec::len);
            let ports = i128::try_from(ports).unwrap_or(i128::MAX / ONE) * ONE;
            match body.pointer("/spec/type").and_then(Value::as_str) {
                Some("LoadBalancer") => {
                    takes
                        .extend([("services.loadbalancers".to_owned(), ONE), ("services.nodeports".to_owned(), ports)]);
                }
                Some("NodePort") => drop(takes.insert("services.nodeports".to_owned(), ports)),
                _ => {}
            }
        }
        "persistentvolumeclaims" => {
            let size = amounts(body.pointer("/spec/resources/requests")).get("storage").copied().unwrap_or_default();
            takes.insert("requests.storage".to_owned(), size);
            if let Some(class) = body.pointer("/spec/storageClassName").and_then(Value::as_str) {
                takes.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), size);
                takes.insert(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), ONE);
            }
        }
        "pods" => add(&mut takes, body.get("spec"), 1),
        _ => {}
    }
    takes
}

/// What the pods that a controller makes of an object take.
fn pods_of(kind: &str, body: &Value) -> Amounts {
    let number = |path: &str| body.pointer(path).and_then(Value::as_i64).map(i128::from);
    let (copies, spec) = match kind {
        "deployments.apps" | "statefulsets.apps" | "replicasets.apps" | "replicationcontrollers" => {
            (number("/spec/replicas").unwrap_or(1), body.pointer("/spec/template/spec"))
        }
        "jobs.batch" if body.pointer("/spec/suspend") != Some(&Value::Bool(true)) => {
            let all = number("/spec/completions").unwrap_or(1);
            (number("/spec/parallelism").unwrap_or(1).min(all), body.pointer("/spec/template/spec"))
        }
        _ => return Amounts::new(),
    };
    let mut takes = Amounts::new();
    if copies > 0 {
        takes.insert("pods".to_owned(), copies * 1000);
        takes.insert("count/pods".to_owned(), copies * 1000);
        add(&mut takes, spec, copies);
    }
    takes
}

/// Adds what `copies` pods ask for.
fn add(takes: &mut Amounts, spec: Option<&Value>, copies: i128) {
    for (what, amount) in spec.map(pod).unwrap_or_default() {
        *takes.entry(what).or_default() += amount * copies;
    }
}

/// What one pod asks for: its containers and the sidecars together, or one that runs before them and asks for more, beside the
/// sidecars that run by then.
fn pod(spec: &Value) -> Amounts {
    let of = |field: &str| spec.get(field).and_then(Value::as_array).into_iter().flatten();
    let (mut sidecars, mut before) = (Amounts::new(), Amounts::new());
    for container in of("initContainers") {
        let asked = asked(container);
        if container["restartPolicy"] == "Always" {
            plus(&mut sidecars, asked);
            continue;
        }
        let mut then = sidecars.clone();
        plus(&mut then, asked);
        for (what, amount) in then {
            let most = before.entry(what).or_default();
            *most = amount.max(*most);
        }
    }
    let mut all = sidecars;
    of("containers").for_each(|container| plus(&mut all, asked(container)));
    for (what, amount) in before {
        let most = all.entry(what).or_default();
        *most = amount.max(*most);
    }
    all
}

fn plus(sum: &mut Amounts, more: Amounts) {
    for (what, amount) in more {
        *sum.entry(what).or_default() += amount;
    }
}

/// What one container asks for, as quotas call it.
fn asked(container: &Value) -> Amounts {
    let mut asked = Amounts::new();
    for (field, prefix) in [("requests", "requests."), ("limits", "limits.")] {
        for (what, amount) in amounts(container.pointer(&format!("/resources/{field}"))) {
            if field == "requests" && ["cpu", "memory"].contains(&what.as_str()) {
                asked.insert(what.clone(), amount);
            }
            asked.insert(format!("{prefix}{what}"), amount);
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_takes_what_runs_at_once_and_what_runs_before_where_that_is_more() {
        let cpu = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut beside = cpu("50m");
        beside["restartPolicy"] = json!("Always");
        let spec = json!({
            "initContainers": [cpu("300m"), beside, cpu("270m")],
            "containers": [cpu("100m"), cpu("100m")],
        });
        // 270 beside the sidecar is more than 300 before it, and more than all that stays.
        assert_eq!(pod(&spec), Amounts::from([("cpu".to_owned(), 320), ("requests.cpu".to_owned(), 320)]));
        let small = json!({"initContainers": [cpu("10m")], "containers": [cpu("1"), cpu("500m")]});
        assert_eq!(pod(&small)["requests.cpu"], 1500);
    }
}
