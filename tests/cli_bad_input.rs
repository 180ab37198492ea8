//! Bad input: a clear error, the right exit code, nothing changed. The texts are golden, because people read them at three
//! in the morning. What needs a server is in `cli_servers.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unused_self,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod cli_support;

use cli_support::Desk;
use std::os::unix::fs::PermissionsExt;

/// Runs each call, holds the desk to "nothing changed", and compares all texts with the reviewed ones.
fn refused(name: &str, desk: &Desk, calls: &[(&[&str], i32)]) {
    let before = desk.inventory();
    let mut transcript = String::new();
    for (arguments, code) in calls {
        let shown = desk.transcript(arguments);
        assert!(shown.ends_with(&format!("(exit {code})\n")), "{shown}");
        transcript.push_str(&shown);
        transcript.push('\n');
    }
    assert_eq!(desk.inventory(), before, "{name}: something was changed");
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "golden/errors", omit_expression => true }, {
        insta::assert_snapshot!(name, transcript);
    });
}

#[test]
fn a_mistyped_command_line_is_told_what_was_meant() {
    refused(
        "command-line",
        &Desk::new(),
        &[
            (&["bakcup", "shop"], 2),
            (&["points", "--repostory", "x"], 2),
            (&["backup"], 2),
            (&["backup", "shop", "--jobs", "0"], 2),
            (&["backup", "shop", "--tier", "fortnightly"], 2),
            (&["backup", "shop", "--limit-rate", "50"], 2),
            (&["restore", "shop@latest"], 2),
            (&["restore", "shop@latest", "--into", "postgres://h/d", "--create", "--replace", "d"], 2),
            (&["verify"], 2),
            (&["verify", "shop@latest", "--all"], 2),
            (&["verify", "shop@latest", "--depth", "deep"], 2),
            (&["key", "new"], 2),
            (&["config"], 2),
        ],
    );
}

#[test]
fn a_fault_that_cannot_be_meant_is_refused_before_anything_is_opened() {
    const NOWHERE: &str = "postgres://postgres@127.0.0.1:1/shop";
    let inject = |more: &[&'static str]| [&["chaos", "inject"], more].concat();
    refused(
        "chaos",
        &Desk::with_repository(),
        &[
            (&["chaos"], 2),
            (&["chaos", "list", "lock-strom"], 2),
            (&["chaos", "rbac"], 2),
            (&["chaos", "rbac", "pod-delet"], 2),
            (&inject(&["lock-storm"]), 2),
            (&inject(&["lock-strom", "--target", NOWHERE]), 2),
            (&inject(&["lock-storm", "--target", "shop/widget/x"]), 2),
            (&inject(&["lock-storm", "--target", "shop"]), 2),
            (&inject(&["lock-storm", "--target", "tcp://db:5432"]), 2),
            (&inject(&["lock-storm", "--target", NOWHERE]), 2),
            (&inject(&["lock-storm", "--target", NOWHERE, "--set", "tables"]), 2),
            (&inject(&["lock-storm", "--target", NOWHERE, "--set", "tabels=orders"]), 2),
            (&inject(&["lock-storm", "--target", NOWHERE, "--set", "tables=orders", "--for", "0s"]), 2),
            (&inject(&["lock-storm", "--target", NOWHERE, "--set", "tables=orders"]), 3),
            (&inject(&["backend-kill", "--target", NOWHERE, "--amount", "0"]), 2),
            (&inject(&["backend-kill", "--target", NOWHERE, "--max-percent", "200"]), 2),
            (&inject(&["backend-kill", "--target", NOWHERE, "--lift", "everything"]), 2),
            (&inject(&["dropped-table", "--target", NOWHERE, "--lift", "disposable"]), 2),
            (&inject(&["backend-kill", "--target", NOWHERE, "--window", "sometimes"]), 2),
            (&inject(&["backend-kill", "--target", NOWHERE, "--window", "Mon 09:00-10:00 Mars/Olympus"]), 2),
            (&inject(&["pod-delete", "--target", "shop/pods"]), 2),
            (&["chaos", "stop", "yesterday"], 2),
            (&["chaos", "janitor", "--run", "yesterday"], 2),
            (&["chaos", "ack", "yesterday"], 2),
            (&["chaos", "ack"], 2),
            (&["chaos", "status"], 0),
            (&["chaos", "janitor"], 0),
        ],
    );
}

#[test]
fn flags_that_contradict_each_other_or_cannot_be_read_are_refused_before_anything_is_touched() {
    const URL: &str = "postgres://nowhere.invalid/shop";
    const RESTORE: [&str; 4] = ["restore", "shop@latest", "--into", URL];
    let restore = |more: &[&'static str]| [&RESTORE, more].concat();
    refused(
        "flags",
        &Desk::with_repository(),
        &[
            (&restore(&["--schema-only", "--data-only"]), 2),
            (&restore(&["--role-map", "eva"]), 2),
            (&restore(&["--proof", "maybe"]), 2),
            (&restore(&["--expect-seq", "many"]), 2),
            (&["verify", "shop@latest", "--sample", "200%"], 2),
            (&["verify", "shop@latest", "--sample", "some"], 2),
            (&["verify", "shop@latest", "--check", "nowhere.sql"], 2),
            (&["backup", URL, "--lock-budget", "soon"], 2),
            (&["backup", URL, "--exclude-table", "a.b.c"], 2),
            (&["backup", URL, "--exclude-rows", "public."], 2),
            (&["backup", ""], 2),
            (&["points", "shop", "--foreign", "old"], 2),
            (&["points", "--foreign", "nowhere"], 2),
            (&["init", "--repository", "new", "--plain", "--reader", "age1x"], 2),
            (&["init", "--repository", "new", "--reader", "age1x"], 2),
            (&["key", "rotate", "--rewrap", "--add-reader", "age1x"], 2),
            (&["key", "rotate", "--add-reader", "age1x"], 2),
            (&["demo", "--directory", "."], 2),
            (&["demo", "--output", "json"], 2),
            (&["completions", "bash", "--output", "json"], 2),
            (&["completions", "cmd"], 2),
        ],
    );
}

#[test]
fn a_password_among_wrong_arguments_is_not_shown() {
    let desk = Desk::new();
    for arguments in [
        &["points", "shop", "postgres://eva:hunter2@db/shop"][..],
        &["backup", "mysql://eva:hunter2@db/shop"],
        &["backup", "postgres://eva:hunter2@db:port/shop"],
        &["restore", "shop@latest", "--into", "postgres:/eva:hunter2@db/shop"],
        &["restore", "shop@latest", "--into", "host=nowhere.invalid password=hunter2 nonsense=1"],
    ] {
        let said = desk.davit(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.stderr);
        assert!(!said.stderr.contains("hunter2") && !said.stdout.contains("hunter2"), "{arguments:?}: {}", said.stderr);
    }
}

#[test]
fn wrong_settings_are_named_with_their_line() {
    let desk = Desk::with_repository();
    desk.write("davit.yaml", "repositry: ./davit-repository\nsources:\n  shop:\n    url: {env: SHOP_URL}\n    retention:\n      dayly: 30 days\n");
    desk.write("typed.yaml", "jobs: many\nlock_budget: 30\nsources:\n  shop:\n    url: postgres://db/shop\n    databases: shop\n    retention: {daily: 30 fortnights}\n");
    desk.write("rules.yaml", "object_lock: legal\nretention:\n  daily: -3 days\n  weekly: 0\n  monthly: 1 yaer\n  time_zone: Mars/Olympus\n  cron: 0 1 * * *\nsources:\n  Shop/EU:\n    url: x\n  shop:\n    url: x\n    engine: paralel\n    databases: []\n    unlogged: maybe\n    exclude: {tables: [a.b.c]}\n    min_content: {rows: lots}\n");
    desk.write("secrets.yaml", "sources:\n  env:\n    url: {env: SHOP_URL}\n  file:\n    url: {file: nowhere}\n  agent:\n    url: {dotenv: agent, key: DATABASE_URL}\n  both:\n    url: {env: A, file: b}\n");
    desk.write("agent", "export REDIS_URL=redis://redis\n");
    desk.write("empty.yaml", "jobs: 2\n");
    desk.write("broken.yaml", "sources:\n  shop: [\n");
    refused(
        "settings",
        &desk,
        &[
            (&["points"], 2),
            (&["config", "check"], 2),
            (&["config", "check", "--config", "typed.yaml"], 2),
            (&["config", "check", "--config", "rules.yaml"], 2),
            (&["config", "check", "--config", "secrets.yaml"], 2),
            (&["config", "check", "--config", "empty.yaml"], 2),
            (&["config", "check", "--config", "broken.yaml"], 2),
            (&["points", "--config", "nowhere.yaml"], 2),
            (&["backup", "env", "--config", "secrets.yaml"], 2),
            (&["backup", "shop", "--config", "empty.yaml"], 2),
            (&["backup", "shopp", "--config", "typed.yaml"], 2),
        ],
    );
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, arguments) in [
        ("DAVIT_JOBS", "many", &["points"][..]),
        ("DAVIT_LIMIT_RATE", "fast", &["points"]),
        ("DAVIT_LOG", "=,=", &["points"]),
        ("DAVIT_LOG_FORMAT", "xml", &["points"]),
        ("DAVIT_CONFIG", "/nowhere/davit.yaml", &["points"]),
    ] {
        let mut desk = Desk::new();
        let said = desk.set(name, value).davit(arguments);
        assert_eq!(said.code, 2, "{name}: {}", said.stderr);
        assert!(said.stderr.contains(name) || said.stderr.contains(value), "{name}: {}", said.stderr);
        assert!(desk.inventory().is_empty());
    }
}

#[test]
fn a_place_that_is_no_repository_is_told_apart() {
    let desk = Desk::with_repository();
    desk.write("file", "not a directory");
    std::fs::create_dir(desk.path().join("empty")).unwrap();
    refused(
        "no-repository",
        &desk,
        &[
            (&["points", "--repository", "nowhere"], 2),
            (&["points", "--repository", "empty"], 2),
            (&["points", "--repository", "file"], 2),
            (&["init", "--repository", "file"], 2),
            (&["init"], 3),
            (&["init", "--repository", "new"], 3),
            (&["points", "--repository", "ftp://host/dir"], 2),
            (&["points", "--repository", "s3://"], 2),
            (&["points", "--keys", "nowhere"], 2),
            (&["points", "--keys", "empty"], 2),
        ],
    );
}

#[test]
fn a_repository_in_which_there_is_nothing_is_not_called_well() {
    let desk = Desk::with_repository();
    let all = ["verify", "--all", "--depth", "stored"];
    let said = desk.davit(&all);
    assert_eq!((said.code, said.stdout.as_str()), (6, ""), "{}", said.stderr);
    assert!(said.stderr.contains("there is none to look at") && said.stderr.contains("hint: "), "{}", said.stderr);
    assert_eq!(desk.json(&all).1["error"]["kind"], "undecided");
    // This machine has seen points of a source of which nothing is left.
    let memory = std::fs::read_dir(desk.path().join(".local/state/davit")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(memory, r#"{"counter":1,"sources":{"shop":7}}"#).unwrap();
    // A sweep that cannot be sure has failed; what was taken with the points may still need the chunks.
    for (arguments, code) in
        [(&all[..], 3), (&["points"], 3), (&["points", "shop"], 3), (&["retain"], 3), (&["sweep"], 4)]
    {
        let said = desk.davit(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
        let lost = "checking shop: nothing of it is there any more, but number 7 was seen here before";
        assert!(said.stderr.contains(lost), "{arguments:?}: {}", said.stderr);
    }
}

#[test]
fn a_point_that_is_not_there_is_told_apart_from_what_is_no_point() {
    refused(
        "no-point",
        &Desk::with_repository(),
        &[
            (&["hold", "shop@latest", "--reason", "why"], 2),
            (&["hold", "20261120T010000Z-k3f9ab", "--reason", "why"], 2),
            (&["hold", "yesterday", "--reason", "why"], 2),
            (&["hold", "shop@yesterday", "--reason", "why"], 2),
            (&["hold", "shop@latest", "--reason", " "], 2),
            (&["release", "shop@latest"], 2),
            (&["restore", "shop@latest", "--into", "postgres://nowhere.invalid/shop"], 2),
            (&["restore", "shop@latest", "--into", "mysql://nowhere.invalid/shop"], 2),
            (&["restore", "shop@latest", "--into", "shop"], 2),
            (&["restore", "./nowhere/shop.sql.gz", "--into", "postgres://nowhere.invalid/shop", "--create"], 2),
            (&["restore", "./nowhere/shop.sql.gz", "--into", "postgres://nowhere.invalid/shop", "--table", "a.b"], 2),
            (&["points", "no/source"], 2),
        ],
    );
}

#[test]
fn keys_that_others_can_read_or_that_belong_elsewhere_are_refused() {
    let desk = Desk::with_repository();
    let keys = |name: &str| desk.path().join("davit-keys").join(name);
    for name in ["reader.key", "writer.key"] {
        std::fs::set_permissions(keys(name), std::fs::Permissions::from_mode(0o644)).unwrap();
        let said = desk.davit(&["points"]);
        assert_eq!(said.code, 3, "{name}: {}", said.stderr);
        assert!(said.stderr.contains("chmod 600") && said.stderr.contains(name), "{name}: {}", said.stderr);
        std::fs::set_permissions(keys(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    let stranger = Desk::with_repository();
    let theirs = stranger.path().join("davit-keys");
    let said = desk.davit(&["points", "--keys", theirs.to_str().unwrap()]);
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("repository"), "{}", said.stderr);
}

#[test]
fn with_json_a_failure_is_one_document_on_stdout_and_the_text_on_stderr() {
    let desk = Desk::new();
    for (arguments, kind, code) in [
        (&["points"][..], "input", 2),
        (&["points", "--repostory", "x"], "input", 2),
        (&["hold", "yesterday", "--reason", "why"], "input", 2),
        (&["demo"], "input", 2),
        (&["completions", "bash"], "input", 2),
        (&["config", "show", "--config", "nowhere.yaml"], "input", 2),
    ] {
        let (exit, document) = desk.json(arguments);
        assert_eq!(exit, code, "{document}");
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["error"]["kind"], kind);
        assert_eq!(document["error"]["exit_code"], code);
        assert!(!document["error"]["message"].as_str().unwrap().is_empty());
    }
}

#[test]
fn a_check_of_bad_settings_is_its_own_document_and_a_failed_export_leaves_stdout_alone() {
    let desk = Desk::with_repository();
    desk.write("davit.yaml", "jobz: 1\n");
    let (code, document) = desk.json(&["config", "check"]);
    assert_eq!((code, &document["ok"]), (2, &serde_json::json!(false)), "{document:#}");
    assert_eq!(document["problems"][0]["hint"], "did you mean \"jobs\"?");
    std::fs::remove_file(desk.path().join("davit.yaml")).unwrap();
    let said = desk.davit(&["export", "shop@latest", "--output", "json"]);
    assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{}", said.stderr);
    assert!(said.stderr.contains("\"schema_version\": 1"), "{}", said.stderr);
}
