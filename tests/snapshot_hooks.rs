//! Commands that run in pods before and after a snapshot, and those whose output is a source of its own.

#![allow(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod cli_support;
mod cluster_support;

use cluster_support::site::{Site, missing};
use cluster_support::{Command, Reaction};
use serde_json::{Value, json};
use std::time::Duration;

fn pod(name: &str, annotations: impl Into<Value>) -> Value {
    let annotations = annotations.into();
    json!({
        "metadata": { "name": name, "annotations": annotations },
        "spec": { "containers": [{ "name": "main" }, { "name": "side" }] },
        "status": { "phase": "Running" }
    })
}

async fn site(pods: &[Value], commands: &[(&str, Command)]) -> Site {
    let site = Site::with_a_shop().await;
    for pod in pods {
        site.server.put("pods", pod.clone());
    }
    for (name, command) in commands {
        site.server.world().commands.insert((*name).to_owned(), command.clone());
    }
    site
}

fn ran(site: &Site) -> Vec<String> {
    let world = site.server.world();
    world.ran.iter().map(|(pod, container, words)| format!("{pod}/{container}: {}", words.join(" "))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_before_the_instant_and_after_the_lists() {
    let ours = pod(
        "db-0",
        json!({ "davit.dev/pre-command": r#"["freeze","--all"]"#, "davit.dev/post-command": "thaw", "davit.dev/post-container": "side" }),
    );
    let theirs = pod(
        "old-0",
        json!({ "pre.hook.backup.velero.io/command": r#"["freeze","old"]"#, "post.hook.backup.velero.io/command": "thaw" }),
    );
    let site = site(&[ours, theirs], &[("freeze", Command::default()), ("thaw", Command::default())]).await;
    let (code, report) = site.save(&[]);
    assert_eq!((code, &report["complete"]), (0, &json!(true)), "{report:#}");
    // Hooks of one moment run side by side.
    let mut commands = ran(&site);
    let (before, after) = commands.split_at_mut(2);
    before.sort();
    after.sort();
    assert_eq!(commands, ["db-0/main: freeze --all", "old-0/main: freeze old", "db-0/side: thaw", "old-0/main: thaw"]);
    let log = site.server.requests();
    let at = |needle: &str| log.iter().position(|line| line.contains(needle)).unwrap();
    let last = |needle: &str| log.iter().rposition(|line| line.contains(needle)).unwrap();
    assert!(last("command=freeze") < at("resourceVersionMatch=Exact"), "{log:#?}");
    assert!(last("/namespaces/shop/configmaps") < at("command=thaw"), "{log:#?}");
    let (code, report) = site.save(&["--no-hooks"]);
    assert_eq!((code, report["hooks"].as_array().unwrap().len(), ran(&site).len()), (0, 0, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_makes_the_snapshot_incomplete_unless_it_may_fail() {
    let failing = Command { code: 3, stderr: "no such disk".to_owned(), ..Command::default() };
    let strict = pod("a", json!({ "davit.dev/pre-command": "freeze" }));
    let lenient = pod("b", json!({ "davit.dev/pre-command": "freeze", "davit.dev/pre-on-error": "continue" }));
    let slow = pod("c", json!({ "davit.dev/post-command": "sleep", "davit.dev/post-timeout": "1s" }));
    let mut stopped = pod("d", json!({ "davit.dev/pre-command": "freeze" }));
    stopped["status"]["phase"] = "Pending".into();
    let sleeping = Command { takes: Duration::from_mins(1), ..Command::default() };
    let site = site(&[strict, lenient, slow, stopped], &[("freeze", failing), ("sleep", sleeping)]).await;
    let (code, report) = site.save(&[]);
    let missing = missing(&report);
    assert_eq!((code, &report["complete"]), (1, &json!(false)));
    assert!(
        missing.contains("pod a") && missing.contains("ended with 3") && missing.contains("no such disk"),
        "{missing}"
    );
    assert!(missing.contains("pod c") && missing.contains("did not end within 1 s"), "{missing}");
    assert!(missing.contains("pod d") && missing.contains("does not run"), "{missing}");
    assert!(!missing.contains("pod b"), "{missing}");
    assert_eq!(report["hooks"].as_array().unwrap().len(), 4, "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_frozen_is_thawed_although_the_lists_failed() {
    let db = pod("db-0", json!({ "davit.dev/pre-command": "freeze", "davit.dev/post-command": "thaw" }));
    let site = site(&[db], &[("freeze", Command::default()), ("thaw", Command::default())]).await;
    // The paged list of the namespace is the one that asks for the instant: without it nothing can be saved.
    let instant = "namespaces?limit=500&fieldSelector=metadata.name%3Dshop";
    site.server.react(instant, 1, Reaction::Refuse(400, "BadRequest", 0));
    let said = site.davit(&["snapshot", "create", "shop"]);
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert_eq!(ran(&site), ["db-0/main: freeze", "db-0/main: thaw"]);
    assert!(site.davit(&["points"]).stdout.contains("no recovery points"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_a_command_is_a_source_of_its_own_byte_for_byte() {
    let bytes: Vec<u8> = (0..9_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let raft = Command { stdout: bytes.chunks(700_001).map(<[u8]>::to_vec).collect(), ..Command::default() };
    let vault =
        pod("vault-0", json!({ "davit.dev/output-command": r#"["vault","read"]"#, "davit.dev/output-name": "raft" }));
    let site = site(&[vault], &[("vault", raft)]).await;
    let (code, report) = site.save(&[]);
    assert_eq!(
        (code, report["outputs"][0]["source"].as_str(), &report["outputs"][0]["bytes"]),
        (0, Some("shop.raft"), &json!(9_000_000)),
        "{report:#}"
    );
    let output = tokio::task::block_in_place(|| site.desk.command(&["export", "shop.raft@latest"]).output().unwrap());
    assert!(output.status.success() && output.stdout == bytes, "{} bytes", output.stdout.len());
    let (code, verified) = site.json(&["verify", "shop.raft@latest"]);
    assert_eq!((code, &verified["ok"]), (0, &json!(true)));
    let said = site.davit(&["snapshot", "show", "shop.raft@latest"]);
    assert!(said.code == 2 && said.stderr.contains("davit export"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_empty_or_failed_makes_no_point() {
    let pods = [
        pod("quiet", json!({ "davit.dev/output-command": "nothing", "davit.dev/output-name": "quiet" })),
        pod(
            "allowed",
            json!({ "davit.dev/output-command": "nothing", "davit.dev/output-name": "allowed", "davit.dev/output-allow-empty": "true" }),
        ),
        pod("half", json!({ "davit.dev/output-command": "half", "davit.dev/output-name": "half" })),
    ];
    let half =
        Command { stdout: vec![b"half of it".to_vec()], code: 1, stderr: "disk full".to_owned(), ..Command::default() };
    let site = site(&pods, &[("nothing", Command::default()), ("half", half)]).await;
    let (code, report) = site.save(&[]);
    let missing = missing(&report);
    assert_eq!((code, report["outputs"].as_array().unwrap().len()), (1, 1), "{report:#}");
    assert!(missing.contains("quiet") && missing.contains("wrote nothing"), "{missing}");
    assert!(missing.contains("half") && missing.contains("disk full"), "{missing}");
    let (_, points) = site.json(&["points"]);
    let sources: Vec<&str> =
        points["points"].as_array().unwrap().iter().map(|point| point["source"].as_str().unwrap()).collect();
    assert!(
        sources.contains(&"shop.allowed") && !sources.contains(&"shop.half") && !sources.contains(&"shop.quiet"),
        "{sources:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_may_give_hooks_and_a_rule_that_finds_no_pod_is_refused() {
    let mut labelled = pod("redis-0", json!({}));
    labelled["metadata"]["labels"] = json!({ "app": "redis" });
    let saving = Command { stdout: vec![b"dump".to_vec()], ..Command::default() };
    let site = site(&[labelled, pod("other", json!({}))], &[("save", Command::default()), ("dump", saving)]).await;
    let hooks = |pods: &str| {
        format!(
            "hooks:\n- {{namespace: shop, pods: {pods}, container: side, before: [save, now], output: [dump], name: rdb, timeout: 5m}}\n- {{namespace: elsewhere, pods: app=x, before: [never]}}\n"
        )
    };
    site.desk.write("davit.yaml", &hooks("app=redis"));
    let (code, report) = site.save(&[]);
    assert_eq!((code, report["outputs"][0]["source"].as_str()), (0, Some("shop.rdb")), "{report:#}");
    assert_eq!(ran(&site), ["redis-0/side: save now", "redis-0/side: dump"]);
    site.desk.write("davit.yaml", "hooks:\n- {namespace: shop, pods: app=redis}\n");
    let said = site.davit(&["snapshot", "create", "shop"]);
    assert!(said.code == 2 && said.stderr.contains("line 2") && said.stderr.contains("no command"), "{}", said.stderr);
    site.desk.write("davit.yaml", &hooks("app=rediss"));
    let said = site.davit(&["snapshot", "create", "shop"]);
    assert!(said.code == 3 && said.stderr.contains("app=rediss"), "{}", said.stderr);
}
