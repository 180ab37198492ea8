//! The rules, one object at a time, in the order in which they count.

use super::super::body::Body;
use super::super::clean::{self, Keep, path};
use super::super::diff::{self, Schemas, Shape};
use super::super::map::{self, patch};
use super::super::object::{self, Place, Saved};
use super::super::order;
use super::{Action, Line, Live, Mark, OnConflict, Options, additions, any_means, classes, gitops, volumes};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a line stops the whole restore.
pub(super) const EXISTS: &str = "it is there and differs";

const CLAIMS: &str = "persistentvolumeclaims";

/// Kinds that no mode deletes: with them the data of others would go.
pub const NEVER_DELETED: [&str; 4] =
    ["namespaces", "customresourcedefinitions.apiextensions.k8s.io", "persistentvolumes", "persistentvolumeclaims"];

/// What the rules look at besides the object at hand.
pub(super) struct Facts<'a> {
    live: &'a Live,
    schemas: &'a Schemas,
    options: &'a Options,
    keep: Keep,
    /// Who made each saved object, if that is saved, too.
    makers: Vec<Option<Place>>,
    /// Versions that definitions in the snapshot would serve.
    defined: BTreeMap<String, BTreeSet<String>>,
    volumes: volumes::Volumes,
    classes: classes::Classes,
    /// Kinds whose status is the user's.
    own_status: BTreeSet<String>,
}

impl<'a> Facts<'a> {
    pub(super) fn gather(saved: &[Saved], live: &'a Live, schemas: &'a Schemas, options: &'a Options) -> Self {
        let mut keep = options.keep.clone();
        let own_status = status_is_data(saved, live);
        keep.status.extend(own_status.iter().cloned());
        let with_status = saved.iter().filter(|one| any_means(&options.with_status, &one.identity.place()));
        keep.status.extend(with_status.map(|one| one.kind.group_resource()));
        let makers = order::makers(saved).into_iter().map(|maker| maker.map(|maker| maker.identity.place()));
        Self {
            live,
            schemas,
            options,
            keep,
            makers: makers.collect(),
            defined: defined(saved),
            volumes: volumes::Volumes::of(saved, live, options),
            classes: classes::Classes::of(saved, live, options),
            own_status,
        }
    }

    /// Whether the object is part of what the user asked for. A namespace that is not there is always needed.
    pub(super) fn is_wanted(&self, saved: &Saved) -> bool {
        let options = self.options;
        let place = saved.identity.place();
        options.only.is_empty()
            || any_means(&options.only, &place)
            || any_means(&options.include_cluster, &place)
            || (place.group_resource == "namespaces" && !self.live.objects.contains_key(&place))
    }

    /// The line of one object. Its body goes into the line: two copies of every object would be twice the memory.
    pub(super) fn line(&self, at: usize, saved: &mut Saved) -> Line {
        let place = saved.identity.place();
        let there = self.live.objects.get(&place);
        let mut line = Line {
            saved_uid: saved.identity.uid.clone(),
            related: saved.marks.related,
            ..Line::about(place, Arc::clone(&saved.kind), Action::Create, there.cloned())
        };
        let (mut body, there) = (std::mem::take(&mut saved.body).open(), there.map(Body::open));
        if let Some(why) = self.left(at, saved, &body) {
            line.action = Action::Leave(why);
            return line;
        }
        if let Some(why) = self.unserved(saved) {
            line.action = Action::Refuse(why);
            return line;
        }
        self.prepare(saved, (&mut body, there.as_ref()), &mut line);
        if line.action == Action::Create
            && let Some(there) = &there
        {
            if line.place.group_resource == CLAIMS {
                begin_as(there, &mut body);
            }
            self.meet(saved, there, &mut body, &mut line);
        }
        // For a claim that is left as it is nothing is done either.
        line.frees = line.frees.filter(|_| line.action.acts() || line.action == Action::Same);
        line.notes.extend(line.frees.as_ref().map(volumes::Freed::note));
        // A patch without metadata says nothing of who tracks the object that it changes.
        let shown = if object::metadata(&body).is_some() { Some(&body) } else { there.as_ref() };
        line.tracker = shown.and_then(|shown| gitops::tracked_by(shown, &self.live.applications));
        line.body = body.into();
        line
    }

    /// Why the object is not restored at all.
    fn left(&self, at: usize, saved: &Saved, body: &Value) -> Option<String> {
        let place = saved.identity.place();
        let kind = place.group_resource.as_str();
        let named = any_means(&self.options.only, &place);
        if let Some(why) = clean::made_by_the_cluster(kind, body) {
            return Some(why.to_owned());
        }
        if let Some(maker) = &self.makers[at]
            && !order::carries_data(kind)
            && !named
            && !any_means(&self.options.restore_derived, &place)
        {
            return Some(format!("{maker} makes it"));
        }
        if let Some(claim) = self.options.made_for.get(&place)
            && !named
            && is_others(self.live, self.options, claim)
        {
            return Some(format!("{claim} is there and keeps its volume; only a new one would begin with it"));
        }
        if object::annotation(body, "kubernetes.io/config.mirror").is_some() {
            return Some("a kubelet makes it from a file".to_owned());
        }
        if !named && has_ended(kind, body) {
            return Some(format!("it has ended; restoring it would run it again{}", self.flag("--only names it")));
        }
        if self.options.skip_gitops {
            // What took it over since it was saved counts as well: the live object says so, and the saved one cannot.
            let there = self.live.objects.get(&place).map(Body::open);
            let tracked = |body: &Value| gitops::tracked_by(body, &self.live.applications);
            if let Some(tracker) = there.as_ref().and_then(tracked).or_else(|| tracked(body)) {
                return Some(format!("{tracker} tracks it"));
            }
        }
        let included = any_means(&self.options.include_cluster, &place);
        if saved.kind.group == "admissionregistration.k8s.io" && !included {
            return Some(format!("it is admission of the whole cluster{}", self.flag("--include-cluster names it")));
        }
        if !saved.kind.namespaced && !included && self.live.objects.contains_key(&place) {
            let differs = !self.differences(saved, body).is_empty();
            let how = match (differs, kind) {
                (false, _) => "is equal".to_owned(),
                // No flag changes it: its claim has it, or gets another one.
                (true, "persistentvolumes") if volumes::is_provisioned(body) => {
                    "differs; a claim that is made gets a new one".to_owned()
                }
                (true, _) => format!("differs{}", self.flag("--include-cluster names it")),
            };
            return Some(format!("it belongs to the cluster, is there and {how}"));
        }
        None
    }

    /// What else could be asked for, in words; of a proof nothing can.
    fn flag(&self, words: &str) -> String {
        if self.options.proof_of.is_some() { String::new() } else { format!(" ({words})") }
    }

    fn differences(&self, saved: &Saved, body: &Value) -> Vec<diff::Change> {
        let Some(live) = self.live.objects.get(&saved.identity.place()) else { return Vec::new() };
        let kind = saved.kind.group_resource();
        diff::compare(&kind, self.shape(saved), &live.open(), body, &self.keep)
    }

    fn shape(&self, saved: &Saved) -> Shape<'_> {
        let key = (saved.kind.group_resource(), saved.kind.version.clone());
        Shape::of(&saved.kind.group, self.schemas.get(&key))
    }

    /// Why the cluster would not take the kind.
    fn unserved(&self, saved: &Saved) -> Option<String> {
        let kind = saved.kind.group_resource();
        let version = saved.kind.api_version();
        if self.defined.get(&kind).is_some_and(|versions| versions.contains(&saved.kind.version))
            && !self.live.kinds.contains_key(&kind)
        {
            return None;
        }
        match self.live.kinds.get(&kind) {
            None if saved.kind.group.contains('.') && !saved.kind.group.ends_with(".k8s.io") => {
                Some(format!("the cluster has no {kind}: its definition is neither there nor in the snapshot"))
            }
            None => Some(format!("the cluster has no {kind}")),
            Some(live) if !live.versions.contains(&saved.kind.version) => {
                let served: Vec<&str> = live.versions.iter().map(String::as_str).collect();
                let served = served.join(", ");
                let defined = self.defined.get(&kind).is_some_and(|versions| versions.contains(&saved.kind.version));
                let way = format!(
                    " (--include-cluster customresourcedefinitions/{kind} --on-conflict merge brings the point's definition; then the same restore again)"
                );
                let way = if defined { way.as_str() } else { "" };
                Some(format!("the cluster does not serve {version}; of {kind} it serves {served}{way}"))
            }
            Some(live) if !live.creatable => Some(format!("the cluster does not let anybody make {kind}")),
            Some(_) => None,
        }
    }

    /// Makes of the body what is sent when the object is made.
    fn prepare(&self, saved: &Saved, (body, there): (&mut Value, Option<&Value>), line: &mut Line) {
        let kind = line.place.group_resource.clone();
        let mut keep = self.keep.clone();
        match kind.as_str() {
            CLAIMS => {
                let of = self.volumes.of_claim(saved, body, there);
                line.notes.extend(volumes::words(line, body, self.options, &of));
                match of {
                    volumes::OfClaim::Kept(frees) => {
                        keep.volume = true;
                        line.frees = frees;
                    }
                    volumes::OfClaim::Anew(_) => self.provision(body, line),
                    volumes::OfClaim::Refused(why) => line.action = Action::Refuse(why),
                }
            }
            "persistentvolumes" => {
                if let Some(why) = self.volumes.why_not(saved, body) {
                    line.action = Action::Leave(why);
                }
                // Whatever happens to the claim, the data of a volume that we made a way to are not deleted with it.
                if line.live.is_none() {
                    path::set(body, &["spec", "persistentVolumeReclaimPolicy"], json!("Retain"));
                }
            }
            "secrets" if clean::is_token_secret(body) => {
                line.notes.push("the cluster puts a new token into it; holders of the old one must be told".to_owned());
            }
            _ => self.provision(body, line),
        }
        let returns = any_means(&self.options.with_status, &line.place) && !self.own_status.contains(&kind);
        if returns {
            line.status = body.get("status").cloned();
            keep.status.remove(&kind);
        }
        let tracker = gitops::tracked_by(body, &self.live.applications);
        clean::clean(&kind, body, &keep);
        path::set(body, &["apiVersion"], json!(saved.kind.api_version()));
        path::set(body, &["kind"], json!(saved.kind.kind));
        if let Some(tracker) = tracker {
            line.notes.push(format!("{tracker} tracks it and may change or remove it"));
        }
    }

    /// Whether the class that a claim or a template of claims names is there, if it is made.
    fn provision(&self, body: &mut Value, line: &mut Line) {
        if line.live.is_some() {
            return;
        }
        let kind = line.place.group_resource.as_str();
        let named = map::classes(kind, body);
        if let Some(why) = self.classes.refusal(&named) {
            line.action = Action::Refuse(why);
        } else if kind == CLAIMS {
            line.notes.extend(self.classes.note(named.first().map(String::as_str)));
        }
    }

    /// What is done with an object that is there.
    fn meet(&self, saved: &Saved, there: &Value, body: &mut Value, line: &mut Line) {
        let kind = line.place.group_resource.clone();
        let shape = self.shape(saved);
        line.changes = diff::compare(&kind, shape, there, body, &self.keep);
        let holds = diff::holds(&kind, shape, body, there, &self.keep);
        let manager = &self.options.manager;
        // What the server and its controllers add to an object that this restore made is no difference.
        let ours = !manager.is_empty()
            && holds
            && object::is_managed_by(there, manager)
            && !additions::by_others(&kind, shape, there, &line.changes, manager);
        if object::is_terminating(there) {
            line.action = Action::Refuse("it is being deleted; try again when it is gone".to_owned());
        } else if line.changes.is_empty() || ours {
            line.action = Action::Same;
            line.changes.clear();
        } else if clean::is_default_account(&kind, &line.place.name) {
            merge(shape, there, (body, line), holds);
        } else if any_means(&self.options.recreate, &line.place) && !NEVER_DELETED.contains(&kind.as_str()) {
            line.action = Action::Recreate;
            line.mark = Mark::Recreate;
        } else {
            match self.options.on_conflict {
                OnConflict::Fail => line.action = Action::Refuse(EXISTS.to_owned()),
                OnConflict::Skip => {
                    line.action = Action::Leave("it is there and differs (--on-conflict skip)".to_owned());
                }
                OnConflict::Merge => merge(shape, there, (body, line), holds),
                OnConflict::Replace => replace(&kind, there, (body, line)),
            }
        }
    }
}

/// Whether the object is there, and not because this restore made it before it was interrupted.
pub(super) fn is_others(live: &Live, options: &Options, place: &Place) -> bool {
    let manager = &options.manager;
    let there = live.objects.get(place);
    there.is_some_and(|there| manager.is_empty() || !object::is_managed_by(&there.open(), manager))
}

/// What a claim began with says how it came to be, not what it is, and never changes: that is as the live one has it.
fn begin_as(there: &Value, body: &mut Value) {
    let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for field in ["dataSource", "dataSourceRef"] {
        match there.pointer(&format!("/spec/{field}")) {
            Some(source) => drop(spec.insert(field.to_owned(), source.clone())),
            None => drop(spec.remove(field)),
        }
    }
}

fn merge(shape: Shape<'_>, there: &Value, (body, line): (&mut Value, &mut Line), holds: bool) {
    let merged = diff::merged(shape, there, body);
    match patch::addition(there, &merged).filter(|_| !holds) {
        Some(patch) => {
            line.action = Action::Merge;
            *body = patch;
        }
        None => line.action = Action::Same,
    }
}

fn replace(kind: &str, there: &Value, (body, line): (&mut Value, &mut Line)) {
    line.action = Action::Replace;
    clean::carry_over(kind, body, there);
    // The owners of a live object are not the snapshot's business, and without its version we might undo a change
    // that came after the plan.
    for field in ["ownerReferences", "resourceVersion", "uid"] {
        if let Some(value) = object::metadata(there).and_then(|metadata| metadata.get(field)) {
            path::set(body, &["metadata", field], value.clone());
        }
    }
}

/// Whether a pod or a Job is over.
pub(in crate::snapshot) fn has_ended(kind: &str, body: &Value) -> bool {
    let conditions = || body.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    match kind {
        "pods" => {
            let phase = body.pointer("/status/phase").and_then(Value::as_str);
            matches!(phase, Some("Succeeded" | "Failed"))
        }
        "jobs.batch" => {
            conditions().any(|one| (one["type"] == "Complete" || one["type"] == "Failed") && one["status"] == "True")
        }
        _ => false,
    }
}

/// The versions that definitions in the snapshot serve, by the group-resource that they define.
fn defined(saved: &[Saved]) -> BTreeMap<String, BTreeSet<String>> {
    let mut defined: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in saved.iter().filter(|one| one.identity.resource == "customresourcedefinitions") {
        let body = one.body.open();
        let versions = body.pointer("/spec/versions").and_then(Value::as_array);
        let served = versions.into_iter().flatten().filter(|version| version["served"] == true);
        let names = served.filter_map(|version| version["name"].as_str().map(str::to_owned));
        defined.entry(one.identity.name.clone()).or_default().extend(names);
    }
    defined
}

/// Custom kinds whose status is no subresource: then it is the user's, like any other field.
fn status_is_data(saved: &[Saved], live: &Live) -> BTreeSet<String> {
    const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
    let plain = |body: &Value| {
        let versions = body.pointer("/spec/versions").and_then(Value::as_array);
        versions.is_some_and(|all| all.iter().all(|version| version.pointer("/subresources/status").is_none()))
    };
    let in_snapshot = saved.iter().filter(|one| one.kind.group_resource() == DEFINITIONS && plain(&one.body.open()));
    let in_cluster =
        live.objects.iter().filter(|(place, body)| place.group_resource == DEFINITIONS && plain(&body.open()));
    let in_cluster: Vec<&Place> = in_cluster.map(|(place, _)| place).collect();
    in_snapshot
        .map(|one| one.identity.name.clone())
        .chain(in_cluster.into_iter().map(|place| place.name.clone()))
        .collect()
}
