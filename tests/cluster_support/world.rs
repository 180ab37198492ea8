//! What the server holds: kinds, objects with their history, and how it is to misbehave.

use super::exec::Command;
use super::kinds::{KindDef, usual};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How requests are answered.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// With a refusal: code and reason, and `Retry-After` if it is not 0.
    Refuse(u16, &'static str, u64),
    /// With a refusal of the server's own, because the account may not make such objects.
    Forbid,
    /// With 200 and these bytes.
    Body(&'static str),
    /// As usual, but the connection breaks after so many bytes of the body.
    BreakAfter(usize),
    /// As usual, after a while.
    Late(Duration),
    /// As usual, after this has been done.
    After(fn(&mut World)),
    /// Not at all: the server dies.
    Die,
}

/// Requests that are answered in another way.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What method and path contain.
    pub needle: String,
    /// How many of them.
    pub times: usize,
    /// How.
    pub reaction: Reaction,
}

/// Kind, namespace and name.
pub(crate) type Key = (String, String, String);

/// What the server holds.
pub struct World {
    /// The kinds.
    pub kinds: Vec<KindDef>,
    /// Groups and versions (`example.com/v1`) that discovery calls stale.
    pub stale: Vec<(String, String)>,
    /// Requests that are answered in another way.
    pub faults: Vec<Fault>,
    /// Every request.
    pub log: Vec<String>,
    /// What runs in pods, by its first word.
    pub commands: BTreeMap<String, Command>,
    /// Commands that were run: pod, container, words.
    pub ran: Vec<(String, String, Vec<String>)>,
    /// The request of this number, from 1, is the last one: the server dies of it.
    pub dies_at: Option<usize>,
    /// Instants before this one are forgotten.
    pub compacted: u64,
    /// The only token that is let in.
    pub token: String,
    /// Discovery answers in which hidden kinds stay hidden; then they are shown.
    pub hidden_for: usize,
    /// Whether an object says who made it, as with a real server.
    pub names_managers: bool,
    now: u64,
    objects: BTreeMap<Key, Vec<(u64, Option<Value>)>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            kinds: usual(),
            stale: Vec::new(),
            faults: Vec::new(),
            log: Vec::new(),
            commands: BTreeMap::new(),
            ran: Vec::new(),
            dies_at: None,
            compacted: 0,
            token: "valid".to_owned(),
            hidden_for: 0,
            names_managers: false,
            now: 1000,
            objects: BTreeMap::new(),
        }
    }

    /// The current resource version.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Creates or replaces an object; gives its uid.
    pub fn put(&mut self, kind: &str, mut object: Value) -> String {
        let def =
            self.kinds.iter().find(|def| def.group_resource() == kind).unwrap_or_else(|| panic!("no {kind}")).clone();
        self.now += 1;
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let namespace = match (def.namespaced, object["metadata"]["namespace"].as_str()) {
            (false, _) => String::new(),
            (true, namespace) => namespace.unwrap_or("shop").to_owned(),
        };
        if def.namespaced {
            object["metadata"]["namespace"] = namespace.clone().into();
        }
        let uid = object["metadata"]["uid"].as_str().map_or_else(|| format!("uid-{}", self.now), str::to_owned);
        object["metadata"]["uid"] = uid.clone().into();
        object["metadata"]["resourceVersion"] = self.now.to_string().into();
        let history = self.objects.entry((kind.to_owned(), namespace, name)).or_default();
        history.push((self.now, Some(object)));
        uid
    }

    /// Deletes an object.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        self.now += 1;
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.objects.get_mut(&key).unwrap().push((self.now, None));
    }

    /// Deletes every object of a namespace.
    pub(super) fn empty(&mut self, namespace: &str) {
        self.now += 1;
        for ((_, of, _), history) in &mut self.objects {
            if of == namespace {
                history.push((self.now, None));
            }
        }
    }

    /// An object as it is now.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let history = self.objects.get(&(kind.to_owned(), namespace.to_owned(), name.to_owned()))?;
        history.last().and_then(|(_, object)| object.clone())
    }

    /// Everything of a kind that ever was in a namespace, as it was first.
    pub fn ever(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let of_kind = self.objects.iter().filter(|((of, inside, _), _)| of == kind && inside == namespace);
        of_kind.filter_map(|(_, history)| history.iter().find_map(|(_, object)| object.clone())).collect()
    }

    /// The objects of a kind as they were at an instant, in the order of their names.
    pub(crate) fn at<'a>(&'a self, kind: &'a str, namespace: &'a str, instant: u64) -> impl Iterator<Item = &'a Value> {
        let of_kind = self.objects.range((kind.to_owned(), String::new(), String::new())..);
        let of_kind = of_kind.take_while(move |((of, _, _), _)| of == kind);
        let inside = of_kind.filter(move |((_, of, _), _)| namespace.is_empty() || of == namespace);
        inside.filter_map(move |(_, history)| {
            let then = history.iter().rev().find(|(version, _)| *version <= instant);
            then.and_then(|(_, object)| object.as_ref())
        })
    }

    /// Makes a custom kind and its definition.
    pub fn define(&mut self, mut def: KindDef) {
        def.custom = true;
        let versions: Vec<Value> = def
            .versions
            .iter()
            .map(|version| json!({ "name": version, "served": true, "storage": *version == def.storage }))
            .collect();
        let definition = json!({
            "metadata": { "name": def.group_resource() },
            "spec": {
                "group": def.group, "scope": "Namespaced", "versions": versions,
                "names": { "plural": def.resource, "kind": def.kind }
            },
            "status": { "conditions": [{ "type": "Established", "status": "True" }] }
        });
        self.kinds.push(def);
        self.put("customresourcedefinitions.apiextensions.k8s.io", definition);
    }

    /// Takes the first fault that fits.
    pub(crate) fn fault(&mut self, line: &str) -> Option<Reaction> {
        if self.dies_at.is_some_and(|deadly| self.log.len() >= deadly) {
            return Some(Reaction::Die);
        }
        let found = self.faults.iter().position(|fault| fault.times > 0 && line.contains(&fault.needle))?;
        self.faults[found].times -= 1;
        Some(self.faults[found].reaction.clone())
    }
}
