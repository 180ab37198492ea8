//! Whether the API server would take a pod of ours into the helpers' namespace: asked by a dry run when a fault is planned.
//! Without its helper a fault could neither begin, nor be looked at afterwards.

use super::{Mode, Orders, manifest, scout};
use crate::chaos::cluster::pods;
use crate::chaos::fault::{Prepared, Scene};
use crate::chaos::guard::{Finding, GuardName};
use crate::chaos::means::Helper;
use crate::chaos::select::Victim;
use crate::cluster::{ApiError, Fault as ApiFault, Write};
use crate::error::Result;
use serde_json::{Value, json};

/// The server looked at the pod and did not like it.
const UNPROCESSABLE: u16 = 422;

/// What a person does once, so that there is room for helpers.
pub(super) fn made_by(helper: &Helper) -> String {
    let Helper { namespace, account, .. } = helper;
    format!(
        "kubectl create namespace {namespace}; kubectl label namespace {namespace} \
         pod-security.kubernetes.io/enforce=privileged; kubectl -n {namespace} create serviceaccount {account}"
    )
}

/// Whether a helper would be taken that is to run on the node of a victim; nothing where the account may not ask.
pub(in crate::chaos) async fn of_helper(scene: &Scene<'_>, victim: &Victim) -> Result<Option<Finding>> {
    // What runs nowhere needs no helper.
    let Some(orders) = Orders::gone(victim) else { return Ok(None) };
    let prepared = Prepared { victim: victim.clone(), prior: json!(orders), undo: String::new() };
    ask(scene, &manifest(scene, &prepared, &orders, Mode::Check)).await
}

/// The same for a pod that the scheduler is to turn away from a node.
pub(in crate::chaos) async fn of_scout(scene: &Scene<'_>, node: &str) -> Result<Option<Finding>> {
    ask(scene, &scout::manifest(scene, node)).await
}

async fn ask(scene: &Scene<'_>, pod: &Value) -> Result<Option<Finding>> {
    let (guard, helper) = (GuardName::Permission, &scene.means.helper);
    let namespace = &helper.namespace;
    let write = Write { dry_run: true, ..Write::default() };
    match scene.means.cluster()?.create(&pods(), Some(namespace), pod, write).await {
        Ok(_) => {
            Ok(Some(Finding::yes(guard, format!("the namespace {namespace} takes the pods that carry the fault"))))
        }
        Err(why) => match no_room(&why, namespace) {
            Some(Ok(seen)) => Ok(Some(Finding::yes(guard, seen))),
            Some(Err(no)) => Ok(Some(Finding::no(guard, no).made_by(made_by(helper)))),
            None if why.fault == ApiFault::Forbidden => Ok(None),
            None => Err(why.during(format!("asking whether {namespace} takes the pods that carry the fault"))),
        },
    }
}

/// What a refusal says about the namespace: that it will do all the same, or why not. Nothing where it is about something else.
fn no_room(why: &ApiError, namespace: &str) -> Option<Result<String, String>> {
    match why.fault {
        ApiFault::NotFound => {
            Some(Err(format!("there is no namespace {namespace}, in which the pods that carry the fault run")))
        }
        // What the account lacks is said verb by verb.
        ApiFault::Forbidden if why.lacks().is_some() => None,
        ApiFault::Forbidden => {
            Some(Err(format!("no pod that carries the fault may run in {namespace}: {}", why.message)))
        }
        ApiFault::Invalid if why.code == UNPROCESSABLE => {
            Some(Err(format!("no pod that carries the fault may run in {namespace}: {}", why.message)))
        }
        // Webhooks that know no dry run are asked in earnest only.
        ApiFault::Invalid => Some(Ok(format!(
            "whether {namespace} takes the pods that carry the fault shows only then: {}",
            why.message
        ))),
        _ => None,
    }
}
