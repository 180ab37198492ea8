//! What a target says of itself: which environment it belongs to, whether faults may hit it, whether its data may be
//! destroyed. It says so inside itself, never in the scenario.

use super::{Finding, GuardName};
use crate::chaos::fault::Scene;
use crate::chaos::host::process;
use crate::chaos::request::Request;
use crate::chaos::select::Victim;
use crate::chaos::target::Target;
use crate::error::Result;
use crate::postgres::{Fault, classify};
use serde_json::Value;

/// The annotation by which a namespace or a node lets faults in; its value is `allowed`.
pub(super) const OPT_IN: &str = "davit.dev/chaos";
/// The annotation with the name of the environment.
pub(super) const ENVIRONMENT: &str = "davit.dev/environment";
/// The annotation by which data may be destroyed; its value is `true`.
pub(super) const DISPOSABLE: &str = "davit.dev/disposable";

/// What makes a database say which environment it is.
const MARK_DATABASE: &str = "CREATE SCHEMA davit; CREATE TABLE davit.environment (name text, disposable boolean); \
                             INSERT INTO davit.environment VALUES ('staging', false)";

/// Environments in which a target is named twice.
const PRODUCTION: [&str; 4] = ["production", "prod", "live", "prd"];

/// The variables of its environment by which a process says the same.
const PROCESS_OPT_IN: &str = "DAVIT_CHAOS";
const PROCESS_ENVIRONMENT: &str = "DAVIT_ENVIRONMENT";

/// What a target says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// What it is called, as it is typed again.
    pub(super) name: String,
    pub(super) environment: Option<String>,
    pub(super) opted_in: bool,
    pub(super) disposable: bool,
    /// What it should have said.
    pub(super) how: String,
}

impl Standing {
    /// Asks the target; `None` where there is nothing to ask.
    pub(super) async fn read(scene: &Scene<'_>) -> Result<Option<Self>> {
        match scene.target {
            Target::Database(_) => database(scene).await.map(Some),
            Target::Pods { namespace, .. } | Target::Namespace(namespace) => {
                let found = scene.means.cluster()?.namespace(namespace).await?;
                let how = format!("kubectl annotate namespace {namespace} {OPT_IN}=allowed {ENVIRONMENT}=staging");
                Ok(Some(of_annotations(namespace, &found, how)))
            }
            Target::Process(_) => Ok(Some(of_process(super::super::host::running(scene)?.pid))),
            // Nodes are many, and each victim is asked; for Davit's own way the request speaks.
            Target::Nodes { .. } | Target::Link(_) | Target::Resolver(_) => Ok(None),
        }
    }

    /// What a node says of itself: each of them is asked.
    pub(super) fn of_node(node: &Victim) -> Self {
        let name = node.facts["name"].as_str().unwrap_or_default();
        let how = format!("kubectl annotate node {name} {OPT_IN}=allowed {ENVIRONMENT}=staging");
        of_annotations(name, &serde_json::json!({ "metadata": node.facts }), how)
    }

    /// The guards that look at it.
    pub(super) fn ask(&self, request: &Request) -> Vec<Finding> {
        vec![self.opt_in(), self.environment(request), self.production(request)]
    }

    fn opt_in(&self) -> Finding {
        let why = if self.opted_in {
            format!("{} lets faults in", self.name)
        } else {
            format!("{} does not say that faults may hit it ({})", self.name, self.how)
        };
        Finding::of(GuardName::OptIn, self.opted_in, why)
    }

    fn environment(&self, request: &Request) -> Finding {
        let guard = GuardName::Environment;
        match (&self.environment, &request.environment) {
            (None, _) => {
                Finding::no(guard, format!("{} does not say which environment it is ({})", self.name, self.how))
            }
            (Some(is), Some(wanted)) if is != wanted => {
                Finding::no(guard, format!("{} is {is}, and {wanted} was meant", self.name))
            }
            (Some(is), _) => Finding::yes(guard, format!("{} is {is}", self.name)),
        }
    }

    fn production(&self, request: &Request) -> Finding {
        let guard = GuardName::Production;
        let Some(environment) = self.environment.as_ref() else {
            return Finding::yes(guard, "it does not say that it is production");
        };
        if !PRODUCTION.iter().any(|name| environment.eq_ignore_ascii_case(name)) {
            return Finding::yes(guard, format!("{environment} is not production"));
        }
        match &request.confirmed {
            Some(typed) if *typed == self.name => Finding::yes(guard, format!("{} was named twice", self.name)),
            Some(typed) => Finding::no(guard, format!("it is called {}, and {typed:?} was typed", self.name)),
            None => Finding::no(guard, format!("{} is {environment}: --confirm {}", self.name, self.name)),
        }
    }

    /// Whether its data may be destroyed.
    pub(super) fn disposable(&self) -> Finding {
        let not = if self.disposable { "" } else { "not " };
        Finding::of(GuardName::Disposable, self.disposable, format!("{} is {not}marked disposable", self.name))
    }
}

/// A way through Davit's own proxy and its own resolver can say nothing of themselves. Whoever led clients there let faults
/// in; whose clients they are is what the request says.
pub(super) fn of_our_own(target: &Target, request: &Request) -> Vec<Finding> {
    let (name, own) = match target {
        Target::Link(name) => (name, "proxy"),
        Target::Resolver(name) => (name, "resolver"),
        _ => return Vec::new(),
    };
    let let_in = Finding::yes(GuardName::OptIn, format!("only who was led through Davit's own {own} is hit"));
    let environment = request.environment.clone();
    vec![let_in, Standing { name: name.clone(), environment, ..Standing::default() }.production(request)]
}

/// What the annotations of an object say.
fn of_annotations(name: &str, object: &Value, how: String) -> Standing {
    let says = |key: &str| object["metadata"]["annotations"][key].as_str();
    Standing {
        name: name.to_owned(),
        environment: says(ENVIRONMENT).map(str::to_owned),
        opted_in: says(OPT_IN) == Some("allowed"),
        disposable: says(DISPOSABLE) == Some("true"),
        how,
    }
}

async fn database(scene: &Scene<'_>) -> Result<Standing> {
    let session = scene.session().await?;
    let name = session.conn().database().to_owned();
    let asked = session.client.query("SELECT name, coalesce(disposable, false) FROM davit.environment", &[]).await;
    let rows = match asked {
        Ok(rows) => rows,
        Err(error) if classify(&error) == Fault::Missing => Vec::new(),
        Err(error) => return Err(session.explain(&error, "reading davit.environment")),
    };
    session.close().await;
    let how = MARK_DATABASE.to_owned();
    match rows.as_slice() {
        [row] => {
            let (environment, disposable): (Option<String>, bool) = (row.get(0), row.get(1));
            Ok(Standing { name, environment, opted_in: true, disposable, how })
        }
        [] => Ok(Standing { name, how, ..Standing::default() }),
        // Two answers are none.
        _ => {
            Ok(Standing { name, how: "davit.environment must have exactly one row".to_owned(), ..Standing::default() })
        }
    }
}

/// What a process was told by whoever started it.
fn of_process(pid: i32) -> Standing {
    let says = |name| process::variable(pid, name);
    Standing {
        name: process::command_line(pid).into_iter().next().unwrap_or_default(),
        environment: says(PROCESS_ENVIRONMENT),
        opted_in: says(PROCESS_OPT_IN).as_deref() == Some("allowed"),
        disposable: false,
        how: format!("start it with {PROCESS_OPT_IN}=allowed {PROCESS_ENVIRONMENT}=staging in its environment"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(standing: &Standing, request: &Request) -> Vec<GuardName> {
        standing.ask(request).into_iter().filter(|found| found.says.is_err()).map(|found| found.guard).collect()
    }

    #[test]
    fn a_way_of_our_own_lets_faults_in_and_is_named_twice_for_users_of_production() {
        let target = || "tcp://shop:80".parse::<Target>().unwrap();
        let mut request = Request::new("partition", target());
        let refused = |request: &Request| {
            let found = of_our_own(&target(), request);
            assert_eq!((found[0].guard, found[0].says.is_ok()), (GuardName::OptIn, true));
            found.into_iter().filter(|found| found.says.is_err()).map(|found| found.guard).collect::<Vec<_>>()
        };
        assert_eq!(refused(&request), []);
        request.environment = Some("production".to_owned());
        assert_eq!(refused(&request), [GuardName::Production]);
        request.confirmed = Some("shop:80".to_owned());
        assert_eq!(refused(&request), []);
        assert_eq!(of_our_own(&"shop/pods".parse().unwrap(), &request), []);
    }

    #[test]
    fn silence_refuses_another_environment_refuses_and_production_is_named_twice() {
        let mut request = Request::new("pod-delete", "shop/pods".parse().unwrap());
        let of = |annotations: Value| {
            of_annotations("shop", &json!({"metadata": {"annotations": annotations}}), String::new())
        };
        let silent = of(Value::Null);
        assert_eq!(refused(&silent, &request), [GuardName::OptIn, GuardName::Environment]);
        assert!(silent.disposable().says.is_err());

        let staging = of(json!({OPT_IN: "allowed", ENVIRONMENT: "staging", DISPOSABLE: "true"}));
        assert_eq!(refused(&staging, &request), []);
        assert!(staging.disposable().says.is_ok());
        request.environment = Some("test".to_owned());
        assert_eq!(refused(&staging, &request), [GuardName::Environment]);

        let production = of(json!({OPT_IN: "allowed", ENVIRONMENT: "Production"}));
        request.environment = None;
        assert_eq!(refused(&production, &request), [GuardName::Production]);
        request.confirmed = Some("shopp".to_owned());
        assert_eq!(refused(&production, &request), [GuardName::Production]);
        request.confirmed = Some("shop".to_owned());
        assert_eq!(refused(&production, &request), []);
    }
}
