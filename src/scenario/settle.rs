//! From the shape of a scenario to what it means.

use super::alerts;
use super::amounts::{Aim, Rate, Share, Victims};
use super::observers;
use super::overrides::{self, Override};
use super::raw::{Raw, RawCheck, RawObjectives, RawPlace, RawRecovery, RawTarget};
use super::theory;
use super::{
    Check, CheckHow, FaultWish, Guards, Limits, Load, Objectives, Place, Recovery, RecoveryBy, RtoEnds, Scenario,
    SteadyState, Step, Target,
};
use crate::error::Result;
use crate::id::Sha256;
use crate::measure::SteadyRule;
use crate::units::{Bytes, Span};
use crate::yaml::{self, Problem, suggestion};
use serde_saphyr::Spanned;
use std::time::Duration;

/// What the ways to come back are called.
const RECOVERIES: [&str; 4] = ["platform", "restore from latest-verified", "promote standby", "run command"];

/// The steady state is looked at for so long unless the file says otherwise: 300 probes tell 1 % of failures from none.
const STEADY_SPAN: Duration = Duration::from_secs(30);
/// Probes per second and stream.
const PROBES: Rate = Rate(10.0);
/// A probe that is not acknowledged by then has failed.
const DEADLINE: Duration = Duration::from_secs(1);
/// A recovery is awaited for twice its objective, so that a miss is measured and not only noticed; at least this long.
const WATCH_LEAST: Duration = Duration::from_mins(2);
/// What puts something back is not given up early: what it leaves half done needs a person.
const CLEANUP_LEAST: Duration = Duration::from_hours(1);
/// Longer than the control loops that could take a service down again: lease terms, health checks, rising servers.
const HOLD: Duration = Duration::from_secs(10);
/// One segment of the log, as servers cut it unless they are told otherwise: replayed within a second.
const REPLICA_LAG: Bytes = Bytes(16 << 20);
/// 43 minutes a month.
const AVAILABILITY: Share = Share(0.999);

/// Reads a scenario and everything that is wrong with it.
pub(super) fn examine(text: &str, overrides: &[Override]) -> Result<(Option<Scenario>, Vec<Problem>)> {
    let (raw, mut problems) = yaml::parse::<Raw>(text, "entry");
    if !problems.is_empty() || raw.is_none() || overrides.is_empty() {
        let scenario = raw.and_then(|raw| settle(raw, text, &mut problems));
        problems.sort_by_key(|problem| problem.line);
        return Ok((scenario, problems));
    }
    // What is replaced has no line of its own any more: such problems name no line.
    let replaced = overrides::apply(text, overrides)?;
    let (raw, again) = yaml::parse::<Raw>(&replaced, "entry");
    problems = again;
    let scenario = raw.and_then(|raw| settle(raw, &replaced, &mut problems)).map(without_lines);
    for problem in &mut problems {
        problem.line = None;
        // The line that is quoted is ours, not the user's.
        let text = problem.text.split(" (\"").next().unwrap_or_default();
        problem.text = format!("with --set: {text}");
    }
    Ok((scenario, problems))
}

/// The same without the lines of a text that nobody has.
fn without_lines(mut scenario: Scenario) -> Scenario {
    scenario.fault.line = None;
    let expected = match &mut scenario.target.place {
        Place::Processes(target) => target.expect.as_mut(),
        Place::Cluster(target) => target.expect.as_mut(),
    };
    let elsewhere = scenario.observers.iter_mut().filter_map(|observer| observer.expect.as_mut());
    expected.into_iter().chain(elsewhere).for_each(|expect| expect.line = None);
    scenario
}

fn objectives(raw: &RawObjectives) -> Objectives {
    Objectives {
        rto: raw.rto,
        rpo: raw.rpo,
        detection: raw.detection,
        redundancy: raw.redundancy,
        acknowledgement: raw.acknowledgement,
    }
}

/// What must be said, and may not be nothing.
fn said(raw: &Raw, problems: &mut Vec<Problem>) {
    for (what, said) in [("title", &raw.title), ("why", &raw.why)] {
        if said.value.trim().is_empty() {
            problems.push(Problem::new(line(said), format!("the {what} is empty"), None));
        }
    }
    if raw.objectives.rto == Aim::Within(Duration::ZERO) {
        let hint =
            "say how long an outage may be at most, or none: that there was none at all cannot be seen from outside";
        problems.push(Problem::new(None, "objectives.rto is no time at all".to_owned(), Some(hint.to_owned())));
    }
}

fn settle(raw: Raw, text: &str, problems: &mut Vec<Problem>) -> Option<Scenario> {
    let (found, rto) = (problems.len(), raw.objectives.rto);
    said(&raw, problems);
    let target = target(raw.target, problems);
    let (recovery, observers) = (recovery(raw.recovery, problems), observers::settle(raw.observers, problems));
    let (theory, alerts) = (theory::settle(raw.theory, problems), alerts::settle(raw.alerts, problems));
    let checks: Vec<Check> = raw.checks.into_iter().filter_map(|check| self::check(check, problems)).collect();
    let (target, recovery) = (target?, recovery?);
    let name = raw.fault.name.value.trim().to_owned();
    let hypothesis = raw.hypothesis.unwrap_or_else(|| hypothesis(&target.service, &name, rto, raw.objectives.rpo));
    let seconds = |span: Option<Span>, default: Duration| span.map_or(default, |span| span.0);
    let watch = match rto {
        Aim::Within(rto) => (rto * 2).max(WATCH_LEAST),
        Aim::None => WATCH_LEAST,
    };
    let scenario = Scenario {
        title: raw.title.value.trim().to_owned(),
        why: raw.why.value.trim().to_owned(),
        hypothesis,
        owner: raw.owner,
        objectives: objectives(&raw.objectives),
        target,
        steady_state: SteadyState {
            span: seconds(raw.steady_state.span, STEADY_SPAN),
            rule: SteadyRule {
                p95: raw.steady_state.p95.map(|span| span.0),
                p99: raw.steady_state.p99.map(|span| span.0),
                errors: raw.steady_state.errors.map(|share| share.0),
                throughput: raw.steady_state.throughput.map(|rate| rate.0),
            },
        },
        load: Load {
            probes: raw.load.probes.unwrap_or(PROBES),
            deadline: seconds(raw.load.deadline, DEADLINE),
            writes: raw.load.writes,
        },
        fault: FaultWish {
            line: line(&raw.fault.name),
            name,
            lasts: raw.fault.lasts.map(|span| span.0),
            victims: raw.fault.victims.unwrap_or(Victims::Count(1)),
            with: raw.fault.with,
        },
        recovery,
        observers,
        theory,
        alerts,
        checks,
        cleanup: raw.cleanup.into_iter().map(|step| Step { name: step.name, command: step.command }).collect(),
        guards: Guards {
            windows: raw.guards.windows,
            incident: raw.guards.incident,
            protect: raw.guards.protect,
            backup_age: raw.guards.backup_age.map(|age| age.0),
        },
        limits: Limits {
            watch: seconds(raw.limits.watch, watch),
            cleanup: seconds(raw.limits.cleanup, seconds(raw.limits.watch, watch).max(CLEANUP_LEAST)),
            // What the slowest loop has not looked at yet may still fall over.
            hold: seconds(raw.limits.hold, seconds(raw.limits.control_loop, HOLD).max(HOLD)),
            control_loop: seconds(raw.limits.control_loop, HOLD),
            abort_errors: raw.limits.abort_errors,
            abort_below: raw.limits.abort_below,
            abort_after: raw.limits.abort_after.map(|span| span.0),
            replica_lag: raw.limits.replica_lag.unwrap_or(REPLICA_LAG),
            availability: raw.limits.availability.unwrap_or(AVAILABILITY),
        },
        series: Sha256::of(text.as_bytes()),
    };
    (problems.len() == found).then_some(scenario)
}

fn hypothesis(service: &str, fault: &str, rto: Aim, rpo: Aim) -> String {
    let mut parts = Vec::new();
    if let Aim::Within(rto) = rto {
        parts.push(format!("{service} is restored within {}", Span(rto)));
    }
    if let Aim::Within(rpo) = rpo {
        parts.push(format!("loses no more than {} of acknowledged writes", Span(rpo)));
    }
    if parts.is_empty() {
        parts.push(format!("{service} comes back"));
    }
    format!("if {fault} strikes, then {}", parts.join(" and "))
}

fn target(raw: Spanned<RawTarget>, problems: &mut Vec<Problem>) -> Option<Target> {
    let at = line(&raw);
    let RawTarget { service, environment, place, processes, cluster } = raw.value;
    let mut wrong = |text: &str, hint: &str| {
        problems.push(Problem::new(at, text, Some(hint.to_owned())));
        None
    };
    let place = match (place, processes, cluster) {
        (Some(RawPlace::Processes), Some(processes), _) | (None, Some(processes), None) => Place::Processes(processes),
        (Some(RawPlace::Cluster), _, Some(cluster)) | (None, None, Some(cluster)) => Place::Cluster(cluster),
        (None, Some(_), Some(_)) => {
            return wrong(
                "the target is described both as processes and in a cluster",
                "say which one it is with `in: processes` or `in: cluster`",
            );
        }
        (_, None, None) => {
            return wrong("the target does not say where it runs", "add a block `processes:` or `cluster:`");
        }
        (Some(_), _, _) => {
            return wrong("`in` names a place that the target does not describe", "add that block, or change `in`");
        }
    };
    Some(Target { service, environment, place })
}

fn recovery(raw: Spanned<RawRecovery>, problems: &mut Vec<Problem>) -> Option<Recovery> {
    let at = line(&raw);
    let RawRecovery { by, source, tables, decision, command, into, provision, rto_ends } = raw.value;
    let words = by.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut wrong = |text: String, hint: Option<String>| {
        problems.push(Problem::new(at, text, hint));
        None
    };
    let by = match words.as_str() {
        "platform" => RecoveryBy::Platform,
        "promote standby" => RecoveryBy::Promote,
        "run command" if command.is_empty() => {
            let hint = "write `command: [program, argument]` beside `by`".to_owned();
            return wrong("recovery by `run command` names no command".to_owned(), Some(hint));
        }
        "run command" => RecoveryBy::Command(command),
        other => match (other.strip_prefix("restore from "), source) {
            (Some(point), Some(source)) => {
                RecoveryBy::Restore { point: point.to_owned(), source, tables, into, provision }
            }
            (Some(_), None) => {
                let hint = "write `source: NAME` beside `by`, a source of davit.yaml".to_owned();
                return wrong("recovery by a restore does not say of which source".to_owned(), Some(hint));
            }
            (None, _) => {
                return wrong(format!("{other:?} is no way to recover"), suggestion(other, &RECOVERIES));
            }
        },
    };
    let rto_ends = rto_ends.unwrap_or_default();
    if rto_ends == RtoEnds::Command && by.command().is_none() {
        let text = format!("recovery by `{}` has no command with which the recovery time could end", by.words());
        return wrong(text, Some("leave `rto_ends` out, or write `by: run command`".to_owned()));
    }
    Some(Recovery { by, decision: decision.map_or(Duration::ZERO, |span| span.0), rto_ends })
}

fn check(raw: Spanned<RawCheck>, problems: &mut Vec<Problem>) -> Option<Check> {
    let at = line(&raw);
    let RawCheck { name, sql, http, status, command } = raw.value;
    let how = match (sql, http, command) {
        (Some(sql), None, None) => CheckHow::Sql(sql),
        (None, Some(url), None) => CheckHow::Http { url, status: status.unwrap_or(200) },
        (None, None, Some(command)) if !command.is_empty() => CheckHow::Command(command),
        _ => {
            let hint = Some("give it exactly one of sql, http and command".to_owned());
            problems.push(Problem::new(at, format!("the check {name:?} cannot be made"), hint));
            return None;
        }
    };
    Some(Check { name, how })
}

/// Where the file says it.
pub(super) fn line<T>(spanned: &Spanned<T>) -> Option<u64> {
    Some(spanned.defined.line()).filter(|line| *line > 0)
}
