//! A plan as one short text: whoever agreed to a plan can have exactly that one executed, or nothing.
//!
//! What is asked of the server (marks), warnings and resource versions are not in it: they say how the cluster was at a
//! moment, and preconditions hold every line to that anyway. What this very restore made before it was interrupted counts as
//! still to be made, so that the same command goes on.

use super::super::clean;
use super::super::object::{Place, Saved};
use super::{Action, Line, Options, Plan};
use crate::id::Sha256;
use serde_json::{Value, json};

impl Plan {
    /// The SHA-256 of its lines, in any order, and of what decides how they are executed.
    pub fn digest(&self, options: &Options) -> String {
        let head = json!({
            "digest": 1,
            // The point, the cluster and the namespace.
            "restore": options.manager,
            "keep_managers": options.keep_managers,
            "files": options.files,
            "movers": {"image": options.movers.image, "pull_secrets": options.movers.pull_secrets},
            "untold": options.untold,
        });
        let mut lines: Vec<String> =
            self.lines.iter().map(|line| canonical(line, &options.manager).to_string()).collect();
        lines.sort_unstable();
        let mut text = head.to_string();
        for line in &lines {
            text.push('\n');
            text.push_str(&Sha256::of(line.as_bytes()).to_string());
        }
        Sha256::of(text.as_bytes()).to_string()
    }
}

/// The SHA-256 of the objects whose bodies no line of a digest tells, as `--modify` and the mappings made them: a point and
/// those flags alone decide it, whatever is there.
pub fn untold(mapped: &[Saved]) -> String {
    let is_untold = |one: &&Saved| {
        !one.kind.namespaced || clean::is_default_account(&one.kind.group_resource(), &one.identity.name)
    };
    let each = mapped.iter().filter(is_untold).map(|one| {
        let Place { group_resource, namespace, name } = one.identity.place();
        let all = json!({"kind": group_resource, "namespace": namespace, "name": name, "body": one.body.open()});
        Sha256::of(all.to_string().as_bytes()).to_string()
    });
    let mut each: Vec<String> = each.collect();
    each.sort_unstable();
    Sha256::of(each.concat().as_bytes()).to_string()
}

fn canonical(line: &Line, manager: &str) -> Value {
    let Place { group_resource, namespace, name } = &line.place;
    let mut all = json!({"kind": group_resource, "version": line.kind.version, "namespace": namespace, "name": name});
    if clean::is_default_account(group_resource, name) {
        // The cluster makes it a moment after its namespace, before or after a plan looks.
        return all;
    }
    let ours = !manager.is_empty() && line.is_managed_by(manager);
    let of_cluster = namespace.is_none();
    let made = match &line.action {
        Action::Create => true,
        Action::Same => ours,
        Action::Leave(_) => ours && of_cluster,
        _ => false,
    };
    match &line.action {
        // What belongs to the cluster and is there by now is only compared, so it has no body to tell.
        _ if made && of_cluster => all["action"] = json!(Action::Create.word()),
        _ if made => acting(&mut all, line, Action::Create.word()),
        Action::Merge | Action::Replace | Action::Recreate => {
            acting(&mut all, line, line.action.word());
            all["uid"] = json!(line.live_uid());
            all["changes"] = line.changes.iter().map(ToString::to_string).collect();
        }
        Action::Prune => {
            all["action"] = json!(line.action.word());
            all["uid"] = json!(line.live_uid());
        }
        Action::Create | Action::Same | Action::Leave(_) | Action::Refuse(_) => {
            all["action"] = json!(line.action.word());
            all["why"] = json!(line.action.why());
        }
    }
    if let Some(freed) = &line.frees {
        all["frees"] = json!({"volume": freed.volume, "uid": freed.uid, "of": freed.of});
    }
    all
}

fn acting(all: &mut Value, line: &Line, word: &str) {
    let mut body = line.body.open();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    all["action"] = json!(word);
    all["body"] = if line.place.group_resource == "secrets" { keys(&body) } else { body };
    all["status"] = json!(line.status);
}

/// Of a Secret its keys only: a digest stands in logs, and from it short values could be guessed.
fn keys(body: &Value) -> Value {
    let of = |field: &str| body[field].as_object().map(|data| data.keys().cloned().collect::<Vec<_>>());
    json!({"data": of("data"), "stringData": of("stringData"), "type": body["type"]})
}
