//! One request and its answer.

use super::kinds::KindDef;
use super::world::{Reaction, World};
use super::{Shared, exec};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Code, document, and `Retry-After`.
pub(crate) type Said = (u16, Value);

pub(crate) fn refusal(code: u16, reason: &str, message: &str) -> Said {
    (
        code,
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message }),
    )
}

pub(crate) async fn answer(
    request: Request<Incoming>,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> Result<Response<Body>, std::io::Error> {
    let line = format!("{} {}", request.method(), request.uri());
    let reaction = {
        let mut world = shared.world();
        world.log.push(line.clone());
        let reaction = world.fault(&line);
        if let Some(Reaction::After(act)) = reaction {
            act(&mut world);
        }
        reaction
    };
    let mut breaks_after = None;
    match reaction {
        Some(Reaction::Die) => {
            stop.cancel();
            return Err(std::io::Error::other("dead"));
        }
        Some(Reaction::Refuse(code, reason, after)) => {
            let (code, body) = refusal(code, reason, "scripted");
            return Ok(document(code, &body, after));
        }
        Some(Reaction::Forbid) => {
            let (code, body) = shared.world().forbidden(request.uri().path());
            return Ok(document(code, &body, 0));
        }
        Some(Reaction::Body(text)) => return Ok(Response::new(full(text))),
        Some(Reaction::Late(time)) => tokio::time::sleep(time).await,
        Some(Reaction::BreakAfter(bytes)) => breaks_after = Some(bytes),
        Some(Reaction::After(_)) | None => {}
    }
    let bearer = request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    if bearer != Some(format!("Bearer {}", shared.world().token)) {
        let (code, body) = refusal(401, "Unauthorized", "Unauthorized");
        return Ok(document(code, &body, 0));
    }
    if request.uri().path().ends_with("/exec") {
        return Ok(exec::begin(request, shared));
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let asked = query(uri.query().unwrap_or_default());
    let (code, body) = if method == Method::GET {
        shared.world().say(uri.path(), &asked)
    } else {
        let sent = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
        let mut sent: Value = serde_json::from_slice(&sent).unwrap_or_default();
        if let Some(manager) =
            asked.get("fieldManager").filter(|_| method == Method::POST && shared.world().names_managers)
        {
            sent["metadata"]["managedFields"] = json!([{ "manager": manager[0], "operation": "Update" }]);
        }
        shared.world().change(&method, uri.path(), asked.contains_key("dryRun"), sent)
    };
    let Some(bytes) = breaks_after else { return Ok(document(code, &body, 0)) };
    let text = body.to_string();
    let part = Bytes::copy_from_slice(&text.as_bytes()[..bytes.min(text.len())]);
    let parts = futures_util::stream::iter([Ok(Frame::data(part)), Err(std::io::Error::other("broken"))]);
    // The first part leaves before the connection breaks.
    let parts = parts.then(|part| async move {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        part
    });
    Ok(Response::new(StreamBody::new(parts).boxed_unsync()))
}

fn document(code: u16, body: &Value, retry_after: u64) -> Response<Body> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    if retry_after > 0 {
        response.headers_mut().insert("retry-after", retry_after.into());
    }
    response
}

pub(crate) fn query(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        found.entry(name.to_owned()).or_default().push(decode(value));
    }
    found
}

fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, tail @ ..]) => {
                let pair = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).unwrap(), 16).unwrap());
                rest = tail;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).unwrap()
}

impl World {
    fn say(&mut self, path: &str, query: &BTreeMap<String, Vec<String>>) -> Said {
        match path {
            "/version" => return (200, json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.1" })),
            "/api" => return (200, self.discovery(true)),
            "/apis" => {
                let said = self.discovery(false);
                self.hidden_for = self.hidden_for.saturating_sub(1);
                if self.hidden_for == 0 {
                    self.kinds.iter_mut().for_each(|kind| kind.shown = true);
                }
                return (200, said);
            }
            _ => {}
        }
        let Some((kind, version, namespace, name)) = self.meant(path) else {
            return refusal(404, "NotFound", "the server could not find the requested resource");
        };
        match name {
            Some(name) => match self.get(&kind.group_resource(), namespace, name) {
                Some(object) => (200, converted(&kind, version, object, true)),
                None => refusal(404, "NotFound", &format!("{} \"{name}\" not found", kind.resource)),
            },
            None => self.list(&kind, version, namespace, query),
        }
    }

    /// In the words of the server's authorisation.
    fn forbidden(&self, path: &str) -> Said {
        let (kind, ..) = self.meant(path).unwrap();
        let (resource, group) = (kind.group_resource(), kind.group);
        let why = format!(
            "{resource} is forbidden: User \"eva\" cannot create resource \"{}\" in API group \"{group}\"",
            kind.resource
        );
        refusal(403, "Forbidden", &why)
    }

    /// Kind, version, namespace and name of a path.
    pub(super) fn meant<'a>(&self, path: &'a str) -> Option<(KindDef, &'a str, &'a str, Option<&'a str>)> {
        let words: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match words.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, resource, name) = match rest {
            ["namespaces", namespace, resource] => (*namespace, *resource, None),
            ["namespaces", namespace, resource, name] => (*namespace, *resource, Some(*name)),
            [resource, name] => ("", *resource, Some(*name)),
            [resource] => ("", *resource, None),
            _ => return None,
        };
        let found = self.kinds.iter().find(|kind| kind.group == group && kind.resource == resource);
        let kind = found.filter(|kind| kind.versions.iter().any(|served| served == version))?.clone();
        Some((kind, version, namespace, name))
    }

    fn discovery(&self, core: bool) -> Value {
        let mut groups: Vec<&str> = Vec::new();
        for kind in self.kinds.iter().filter(|kind| kind.group.is_empty() == core && kind.shown) {
            if !groups.contains(&kind.group.as_str()) {
                groups.push(&kind.group);
            }
        }
        groups.extend(self.stale.iter().map(|(group, _)| group.as_str()).filter(|_| !core));
        let items: Vec<Value> = groups.iter().map(|group| self.group(group)).collect();
        json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items })
    }

    fn group(&self, group: &str) -> Value {
        let of_group: Vec<&KindDef> = self.kinds.iter().filter(|kind| kind.group == group && kind.shown).collect();
        let mut versions: Vec<&str> = Vec::new();
        for version in of_group.iter().flat_map(|kind| &kind.versions) {
            if !versions.contains(&version.as_str()) {
                versions.push(version);
            }
        }
        versions.extend(self.stale.iter().filter(|(of, _)| of == group).map(|(_, version)| version.as_str()));
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| {
                let served = of_group.iter().filter(|kind| kind.versions.iter().any(|served| served == version));
                let resources: Vec<Value> = served
                    .map(|kind| {
                        json!({
                            "resource": kind.resource,
                            "responseKind": { "group": "", "version": "", "kind": kind.kind },
                            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
                            "verbs": kind.verbs,
                            "subresources": [{ "subresource": "status", "verbs": ["get", "patch", "update"] }]
                        })
                    })
                    .collect();
                let stale = self.stale.iter().any(|(of, old)| of == group && old == version);
                json!({ "version": version, "freshness": if stale { "Stale" } else { "Current" }, "resources": resources })
            })
            .collect();
        json!({ "metadata": { "name": group }, "versions": versions })
    }

    fn list(&self, kind: &KindDef, version: &str, namespace: &str, query: &BTreeMap<String, Vec<String>>) -> Said {
        let get = |name: &str| query.get(name).map(|values| values[0].as_str());
        if !kind.verbs.iter().any(|verb| verb == "list") {
            return refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
        }
        let (instant, from) = match (get("continue"), get("resourceVersion")) {
            (Some(token), _) => {
                let (instant, from) = token.split_once(':').unwrap();
                (instant.parse().unwrap(), from.parse().unwrap())
            }
            (None, Some("0")) => panic!("resourceVersion=0 may be answered from a stale cache: never ask so"),
            (None, Some(exact)) => {
                assert_eq!(get("resourceVersionMatch"), Some("Exact"));
                (exact.parse().unwrap(), 0)
            }
            (None, None) => (self.now(), 0),
        };
        if instant < self.compacted {
            return refusal(410, "Expired", "The resourceVersion for the provided list is too old.");
        }
        if get("labelSelector").is_some_and(|labels| labels.split(',').any(|pair| !pair.contains('='))) {
            return refusal(400, "BadRequest", "unable to parse requirement");
        }
        let limit: usize = get("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
        let of_kind = kind.group_resource();
        let wanted = self
            .at(&of_kind, namespace, instant)
            .filter(|object| {
                let name = object["metadata"]["name"].as_str().unwrap();
                get("fieldSelector").is_none_or(|field| field == format!("metadata.name={name}"))
            })
            .filter(|object| get("labelSelector").is_none_or(|labels| selected(object, labels)));
        let mut page: Vec<Value> = Vec::new();
        let mut more = false;
        for object in wanted.skip(from) {
            more = page.len() == limit;
            if more {
                break;
            }
            page.push(converted(kind, version, object.clone(), kind.custom));
        }
        let mut metadata = json!({ "resourceVersion": instant.to_string() });
        if more {
            metadata["continue"] = format!("{instant}:{}", from + limit).into();
        }
        (200, json!({ "kind": format!("{}List", kind.kind), "apiVersion": "v1", "metadata": metadata, "items": page }))
    }
}

fn selected(object: &Value, labels: &str) -> bool {
    labels.split(',').all(|pair| {
        let (key, value) = pair.split_once('=').unwrap();
        object["metadata"]["labels"][key] == value
    })
}

/// An object as a version of its kind shows it: what that version does not know is not there.
fn converted(kind: &KindDef, version: &str, mut object: Value, says_what_it_is: bool) -> Value {
    for (of, field) in kind.drops.iter().filter(|(of, _)| of == version) {
        assert_eq!(of, version);
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove(field);
        }
    }
    if says_what_it_is {
        let group = if kind.group.is_empty() { String::new() } else { format!("{}/", kind.group) };
        object["apiVersion"] = format!("{group}{version}").into();
        object["kind"] = kind.kind.clone().into();
    }
    object
}
