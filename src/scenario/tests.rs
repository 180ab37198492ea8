//! Scenario files as people write them, right and wrong.

use super::*;

const GOOD: &str = "\
title: The primary crashes
why: it happens
objectives: {rto: 15m, rpo: 5m}
target:
  service: shop
  environment: test
  processes:
    clients: postgres://app@127.0.0.1/shop
fault:
  name: primary-crash
recovery: platform
";

fn problems(text: &str) -> String {
    let (_, problems) = examine(text, &[]).unwrap();
    let with_hint = |problem: &Problem| match &problem.hint {
        Some(hint) => format!("{problem}; {hint}"),
        None => problem.to_string(),
    };
    problems.iter().map(with_hint).collect::<Vec<_>>().join("\n")
}

fn with(overrides: &[&str]) -> Result<Scenario> {
    let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
    read(GOOD, Path::new("shop.yaml"), &overrides)
}

#[test]
fn a_small_scenario_says_what_it_leaves_out() {
    let scenario = read(GOOD, Path::new("shop.yaml"), &[]).unwrap();
    assert_eq!(scenario.objectives.rto, Aim::Within(Duration::from_mins(15)));
    assert_eq!(scenario.recovery.by, RecoveryBy::Platform);
    assert_eq!(scenario.limits.watch, Duration::from_mins(30));
    assert_eq!(scenario.limits.cleanup, Duration::from_hours(1), "whatever puts something back has its own time");
    assert_eq!(with(&["limits.watch=2h"]).unwrap().limits.cleanup, Duration::from_hours(2));
    assert_eq!(with(&["limits.cleanup=5m"]).unwrap().limits.cleanup, Duration::from_mins(5));
    assert_eq!(
        scenario.hypothesis,
        "if primary-crash strikes, then shop is restored within 15m and loses no more than 5m of acknowledged writes"
    );
}

#[test]
fn every_misspelt_entry_is_named_with_its_line_and_the_nearest_one() {
    let text = GOOD.replace("objectives", "objektives").replace("service", "servic").replace("  name", "  nam");
    insta::assert_snapshot!(problems(&text), @r#"
    line 3: there is no entry "objektives" ("objektives: …"); did you mean "objectives"?
    line 5: there is no entry "servic" ("servic: …"); did you mean "service"?
    line 10: there is no entry "nam" ("nam: …"); did you mean "name"?
    "#);
}

#[test]
fn an_objective_that_is_missing_negative_or_unreachable_is_named() {
    let zero = problems(&GOOD.replace("15m", "0s"));
    assert!(zero.starts_with("objectives.rto is no time at all; say how long"), "{zero}");
    assert_eq!(
        with(&["objectives.rpo=0s"]).unwrap().objectives.rpo,
        Aim::Within(Duration::ZERO),
        "no loss can be seen"
    );
    insta::assert_snapshot!(problems(&GOOD.replace("{rto: 15m, rpo: 5m}", "{rto: 15m}")), @r#"line 3: the entry "rpo" is missing"#);
    insta::assert_snapshot!(problems(&GOOD.replace("15m", "-15m")), @r#"line 3: "-15m" is not an objective; write it as 15m or 4h, or none where it does not apply"#);
}

#[test]
fn a_recovery_that_nobody_knows_or_that_lacks_something_is_named() {
    insta::assert_snapshot!(problems(&GOOD.replace("recovery: platform", "recovery: promote stanby")), @r#"line 11: "promote stanby" is no way to recover; did you mean "promote standby"?"#);
    insta::assert_snapshot!(problems(&GOOD.replace("recovery: platform", "recovery: restore from latest")), @"line 11: recovery by a restore does not say of which source; write `source: NAME` beside `by`, a source of davit.yaml");
    insta::assert_snapshot!(problems(&GOOD.replace("recovery: platform", "recovery: {by: run command}")), @"line 11: recovery by `run command` names no command; write `command: [program, argument]` beside `by`");
}

#[test]
fn a_target_that_runs_nowhere_or_in_two_places_is_named() {
    let nowhere = GOOD.replace("  processes:\n    clients: postgres://app@127.0.0.1/shop\n", "");
    insta::assert_snapshot!(problems(&nowhere), @"line 5: the target does not say where it runs; add a block `processes:` or `cluster:`");
    let two = GOOD.replace("  processes:", "  cluster: {clients: http://shop, namespace: shop}\n  processes:");
    insta::assert_snapshot!(problems(&two), @"line 5: the target is described both as processes and in a cluster; say which one it is with `in: processes` or `in: cluster`");
}

#[test]
fn observers_that_cannot_be_told_apart_or_not_begun_are_named() {
    let watched = |list: &str| format!("{GOOD}observers:\n{list}");
    let good =
        watched("  - {name: office, command: [ssh, web-3, davit, observe, --plan, \"-\"], clients: http://shop/}\n");
    let scenario = read(&good, Path::new("shop.yaml"), &[]).unwrap();
    assert_eq!(scenario.observers[0].place(), "begun by ssh");
    let inside = watched("  - {name: inside, pod: watch/app=probe, container: tools}\n");
    let inside = &read(&inside, Path::new("shop.yaml"), &[]).unwrap().observers[0];
    assert_eq!((inside.place().as_str(), inside.command[0].as_str()), ("in pod watch/app=probe", "davit"));
    assert_eq!(inside.pod.as_ref().unwrap().container.as_deref(), Some("tools"));
    for (list, said) in [
        (
            "  - {name: Our Office, command: [ssh]}\n",
            "line 13: \"Our Office\" is no name of an observer; use up to 40 small",
        ),
        (
            "  - {name: a, command: [ssh]}\n  - {name: a, command: [ssh]}\n",
            "line 14: two observers are called \"a\"; give",
        ),
        (
            "  - {name: a, command: []}\n",
            "line 13: the observer \"a\" names neither a program nor a pod; write `command: [ssh, ",
        ),
        (
            "  - {name: a, pod: probe}\n",
            "line 13: the pod of the observer \"a\" has no namespace or no name; write `pod: NAMESPACE/NAME`",
        ),
        ("  - {name: a, pod: watch/}\n", "has no namespace or no name"),
        (
            "  - {name: a, container: c, command: [ssh]}\n",
            "line 13: the observer \"a\" names a container and no pod; write",
        ),
        ("  - {name: a, comand: [ssh]}\n", "did you mean \"command\"?"),
    ] {
        let found = problems(&watched(list));
        assert!(found.contains(said), "{found}");
    }
}

#[test]
fn values_are_replaced_from_the_command_line() {
    let scenario =
        with(&["objectives.rto=1m", "load.writes=100/s", "recovery.decision=2s", "fault.with.signal=9"]).unwrap();
    assert_eq!(scenario.objectives.rto, Aim::Within(Duration::from_mins(1)));
    assert_eq!(scenario.load.writes, Some(Rate(100.0)));
    assert_eq!((scenario.recovery.by, scenario.recovery.decision), (RecoveryBy::Platform, Duration::from_secs(2)));
    assert_eq!(scenario.fault.with["signal"], 9);
    let error = with(&["objektives.rto=1m"]).unwrap_err();
    assert_eq!(error.to_string(), "reading shop.yaml: with --set: there is no entry \"objektives\"");
    assert_eq!(error.hint_text(), Some("did you mean \"objectives\"?"));
    assert!("rto".parse::<Override>().unwrap_err().contains("objectives.rto=5m"));
}

#[test]
fn what_is_expected_of_an_answer_is_read_and_what_makes_no_sense_is_named_with_its_line() {
    let text =
        |expect: &str| GOOD.replace("app@127.0.0.1/shop\n", &format!("app@127.0.0.1/shop\n    expect: {expect}\n"));
    let expect = |said: &str| {
        let scenario = read(&text(said), Path::new("shop.yaml"), &[]).unwrap();
        scenario.target.place.expect().unwrap().clone()
    };
    let http = Expected::Http { status: Some(200), body: Some("ok".to_owned()) };
    assert_eq!(expect("{status: 200, body: ok}"), Expect { line: Some(9), answer: http });
    let tcp = Expected::Tcp { send: Some("PING\r\n".to_owned()), reply: "+PONG".to_owned() };
    assert_eq!(expect(r#"{send: "PING\r\n", reply: +PONG}"#).answer, tcp);
    let addresses = vec!["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
    assert_eq!(expect("{addresses: [10.0.0.5, 'fd00::5']}").answer, Expected::Dns { addresses });
    for (wrong, said) in [
        ("{}", "it is not said what is expected"),
        ("{stauts: 200}", "did you mean \"status\"?"),
        ("{status: 99}", "99 is no status of HTTP"),
        ("{status: ok}", "a whole number belongs here"),
        ("{body: ''}", "\"body\" that is expected is empty"),
        ("{send: PING}", "write `reply: …` beside `send`"),
        ("{status: 200, reply: ok}", "one answer cannot be all of this"),
        ("{send: PING, status: 200}", "one answer cannot be all of this"),
        ("{addresses: []}", "no address is expected"),
        ("{addresses: [10.0.0]}", "\"10.0.0\" is no address"),
    ] {
        let found = problems(&text(wrong));
        assert!(found.starts_with("line 9: ") && found.contains(said), "{wrong}: {found}");
    }
    // What is replaced is in no line of the file.
    let set = ["target.processes.expect.status=200", "fault.name=primary-crash"].map(|set| set.parse().unwrap());
    let scenario = read(GOOD, Path::new("shop.yaml"), &set).unwrap();
    assert_eq!((scenario.target.place.expect().unwrap().line, scenario.fault.line), (None, None));
}

#[test]
fn an_empty_file_and_a_missing_one_say_what_to_do() {
    let error = read("# nothing\n", Path::new("x.yaml"), &[]).unwrap_err();
    assert_eq!(error.to_string(), "reading x.yaml: it is empty");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pod-kill.yaml"), GOOD).unwrap();
    let error = load(&folder.path().join("pod-kil.yaml"), &[]).unwrap_err();
    assert!(error.hint_text().unwrap().ends_with("pod-kill.yaml?"), "{error:?}");
    assert_eq!(error.kind().exit_code(), 2);
}

#[test]
fn every_scenario_of_the_project_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let scenario = load(&path, &[]).unwrap();
        assert!(scenario.owner.is_some() && scenario.why.len() > 60, "{}", path.display());
        count += 1;
    }
    assert!(count >= 14, "{count}");
}

#[test]
fn alerts_say_who_knows_of_them_and_within_which_time() {
    let good = format!(
        "{GOOD}alerts:\n  - {{name: pager, within: 2m, command: [check-alert, pager]}}\n  - {{name: Slow, within: 90s, alertmanager: \
         'http://127.0.0.1:9093/', labels: {{alertname: Slow}}}}\n"
    );
    let alerts = read(&good, Path::new("shop.yaml"), &[]).unwrap().alerts;
    assert_eq!((alerts[0].within, alerts[0].how.words().as_str()), (Duration::from_mins(2), "the program check-alert"));
    let AlertHow::Alertmanager { url, labels } = &alerts[1].how else { panic!("{alerts:?}") };
    assert_eq!((url.as_str(), labels["alertname"].as_str()), ("http://127.0.0.1:9093", "Slow"));
    let wrong = |alert: &str| problems(&format!("{GOOD}alerts:\n  - {alert}\n"));
    for (alert, text) in [
        ("{name: a, within: 2m, comand: [x]}", "there is no entry \"comand\""),
        ("{name: a, within: 2m, comand: [x]}", "did you mean \"command\"?"),
        ("{name: a, command: [x]}", "the entry \"within\" is missing"),
        ("{name: a, within: 0s, command: [x]}", "has no time to fire"),
        ("{name: a, within: 2m}", "nobody can be asked whether the alert \"a\" fires"),
        ("{name: a, within: 2m, command: [x], alertmanager: 'http://b'}", "exactly one of `command`"),
        ("{name: a, within: 2m, alertmanager: 'http://b'}", "labels: {alertname: NAME}"),
        ("{name: a, within: 2m, alertmanager: b, labels: {c: d}}", "is no URL of an Alertmanager"),
        ("{name: a, within: 2m, command: [x]}\n  - {name: a, within: 1m, command: [y]}", "two alerts are called \"a\""),
    ] {
        let said = wrong(alert);
        assert!(said.contains(text), "{alert}: {said}");
    }
}

#[test]
fn phases_are_called_as_reports_call_them_and_can_take_as_long_as_at_best() {
    let good = format!(
        "{GOOD}theory:\n  - {{phase: failover, best: 2s, worst: 40s, because: ttl}}\n  - {{phase: routing, worst: 5s}}\n"
    );
    let theory = read(&good, Path::new("shop.yaml"), &[]).unwrap().theory;
    assert_eq!((theory[0].best, theory[0].worst), (Duration::from_secs(2), Duration::from_secs(40)));
    assert_eq!((theory[1].best, theory[1].because.as_deref()), (Duration::ZERO, None));
    for (theory, text) in [
        ("{phase: failovr, worst: 5s}", "no phase of a recovery is called \"failovr\""),
        ("{phase: failovr, worst: 5s}", "did you mean \"failover\"?"),
        ("{phase: failover, best: 5s, worst: 4s}", "can at worst not be shorter than at best"),
        ("{phase: failover, worst: 0s}", "can at worst not be shorter than at best"),
        ("{phase: failover, best: 4s}", "the entry \"worst\" is missing"),
        ("{phase: failover, worst: 4s}\n  - {phase: failover, worst: 5s}", "the phase \"failover\" is there twice"),
    ] {
        let said = problems(&format!("{GOOD}theory:\n  - {theory}\n"));
        assert!(said.contains(text), "{theory}: {said}");
    }
}
