//! The example settings are valid, complete, and mean what their comments say.

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
use std::path::Path;

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/davit.yaml");
    std::fs::read_to_string(path).unwrap()
}

/// A desk on which everything that the example refers to exists.
fn desk_of_the_example() -> Desk {
    let mut desk = Desk::new();
    for directory in ["checks", "secrets", "vault", "tools"] {
        std::fs::create_dir(desk.path().join(directory)).unwrap();
    }
    desk.write("checks/cloudflow.sql", "SELECT true");
    desk.write("secrets/ecotrack-url", "postgresql://davit:hunter2@postgres-primary-1/ecotrack\n");
    desk.write("vault/database", "export DATABASE_URL=\"postgresql://cloudcart:hunter2@postgres:5432/cloudcart\"\n");
    let path = |name: &str| desk.path().join(name).display().to_string();
    let text = example()
        .replace("/vault/secrets/database", &path("vault/database"))
        .replace("/usr/lib/postgresql/14/bin", &path("tools"));
    desk.write("davit.yaml", &text);
    desk.set(
        "CLOUDFLOW_DATABASE_URL",
        "postgres://cloudflow:hunter2@postgresql.cloudflow-prod.svc.cluster.local/cloudflow",
    );
    desk
}

#[test]
fn the_example_is_valid() {
    let said = desk_of_the_example().davit(&["config", "check"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "davit.yaml: fine, 3 sources\n"), "{}", said.stderr);
}

#[test]
fn what_a_schedule_of_velero_says_for_the_settings_is_valid_as_it_stands() {
    let desk = Desk::new();
    let schedule = "apiVersion: velero.io/v1
kind: Schedule
metadata: {name: nightly}
spec:
  schedule: 0 2 * * *
  template:
    includedNamespaces: [shop, pay]
    ttl: 100h0m0s
    hooks:
      resources:
      - name: freeze
        labelSelector: {matchLabels: {app: db}, matchExpressions: [{key: tier, operator: In, values: [a, b]}]}
        pre: [{exec: {command: [sh, -c, 'echo \"it: #1\"'], onError: Continue, timeout: 1m30s}}]
        post: [{exec: {container: db, command: [thaw]}}]
";
    desk.write("schedule.yaml", schedule);
    let said = desk.davit(&["snapshot", "import", "velero", "schedule.yaml"]).stdout;
    let scheduler = "  for the scheduler, cron or a CronJob as in deploy/base (davit.yaml has no schedules):\n    \
         command: davit snapshot create shop pay\n    cron: 0 2 * * * (UTC)\n";
    assert!(said.contains(scheduler), "{said}");
    let entry = said.lines().skip_while(|line| *line != "  for davit.yaml:").skip(1);
    let entry: Vec<&str> = entry.map_while(|line| line.strip_prefix("    ")).collect();
    desk.write("davit.yaml", &entry.join("\n"));
    let checked = desk.davit(&["config", "check"]);
    assert_eq!(checked.code, 0, "{}{}\n{said}", checked.stdout, checked.stderr);
    let shown = desk.davit(&["config", "show"]).stdout;
    assert!(shown.contains("keep within 100 hours") || shown.contains("keep within 100h"), "{shown}");
    assert_eq!(entry.iter().filter(|line| line.starts_with("- ")).count(), 4, "{entry:#?}");
}

#[test]
fn every_value_is_shown_with_its_source_and_no_password() {
    let mut desk = desk_of_the_example();
    desk.set("DAVIT_JOBS", "7");
    let said = desk.davit(&["config", "show", "--keys", "elsewhere"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(!said.stdout.contains("hunter2"), "{}", said.stdout);
    // The columns are as wide as the desk's path is long.
    let lines = said.stdout.lines().map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim));
    let shown: Vec<String> = lines.map(|cells| cells.collect::<Vec<_>>().join(" | ")).collect();
    let shown = shown.join("\n").replace(&desk.path().display().to_string(), "DESK");
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "golden", omit_expression => true }, {
        insta::assert_snapshot!("config-show", shown);
    });
}

#[test]
fn the_example_names_every_setting_there_is() {
    let desk = Desk::new();
    desk.write("davit.yaml", "zzz: 1\nsources: {shop: {url: x, zzz: 1}}\nretention: {zzz: 1}\n");
    let said = desk.davit(&["config", "check"]);
    let hints = said.stdout.lines().filter_map(|line| line.trim().strip_prefix("hint: what can stand here: "));
    let known: Vec<&str> = hints.flat_map(|hint| hint.split(", ")).collect();
    assert!(known.len() > 20, "{}", said.stdout);
    // The example's rules use one spelling of each idea.
    let elsewhere = ["hourly", "yearly"];
    let example = example();
    for name in known {
        assert!(example.contains(&format!("{name}:")) || elsewhere.contains(&name), "{name} is not in the example");
    }
}

/// The five systems that Davit is made for: file, source, repository, rules, where its URL is.
const SYSTEMS: [[&str; 5]; 5] = [
    [
        "cloudflow",
        "cloudflow",
        "s3://cloudflow-db-backups/davit",
        "daily 30 days, weekly 90 days, monthly 1 year",
        "postgres://cloudflow@postgresql.cloudflow-prod.svc.cluster.local:5432/cloudflow",
    ],
    [
        "ecotrack",
        "ecotrack",
        "s3://ecotrack-backups/davit",
        "daily 30 days, monthly 1 year",
        "{file: DESK/postgres-cluster-superuser/uri}",
    ],
    ["cicd", "myapp", "s3://myapp-database-backups/davit/prod", "daily 30 days", "{env: MYAPP_BACKUP_URL}"],
    [
        "covetpy",
        "covetpy",
        "s3://covet-database-backups/davit",
        "hourly 48 hours, daily 30 days, monthly 1 year",
        "{env: COVETPY_BACKUP_URL}",
    ],
    [
        "cloudcart",
        "cloudcart",
        "s3://cloudcart-backups/davit",
        "daily 14 days, weekly 8 weeks, keep last 3",
        "{dotenv: DESK/database, key: DATABASE_URL}",
    ],
];

#[test]
fn the_settings_of_the_five_reference_systems_are_valid_and_mean_what_those_systems_need() {
    for [system, source, repository, rules, url] in SYSTEMS {
        let mut desk = Desk::new();
        let path = desk.path().display().to_string();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/examples/{system}.yaml"));
        let text = std::fs::read_to_string(file).unwrap();
        desk.write("davit.yaml", &text.replace("/etc/davit", &path).replace("/vault/secrets", &path));
        for directory in ["checks", "postgres-cluster-superuser"] {
            std::fs::create_dir(desk.path().join(directory)).unwrap();
        }
        desk.write("checks/covetpy.sql", "SELECT true");
        desk.write("postgres-cluster-superuser/uri", "postgresql://postgres:hunter2@postgres-cluster-rw:5432/app");
        desk.write("database", "export DATABASE_URL=\"postgresql://cloudcart:hunter2@postgres:5432/cloudcart\"\n");
        desk.set(
            "MYAPP_BACKUP_URL",
            "postgres://davit:hunter2@myapp.rds.amazonaws.com/myapp?sslmode=verify-full&sslrootcert=system",
        );
        desk.set("COVETPY_BACKUP_URL", "postgres://davit:hunter2@covet-aurora.rds.amazonaws.com/covetpy");
        let said = desk.davit(&["config", "check"]);
        assert_eq!(said.stdout, "davit.yaml: fine, 1 source\n", "{system}: {}", said.stderr);
        let (_, shown) = desk.json(&["config", "show"]);
        let value = |name: &str| {
            let found = shown["settings"].as_array().unwrap().iter().find(|row| row["name"] == name);
            let found = found.unwrap_or_else(|| panic!("{system}: {name} is not shown"));
            found["value"].as_str().unwrap().replace(&path, "DESK")
        };
        assert_eq!(value("repository"), repository, "{system}");
        assert_eq!(value(&format!("sources.{source}.retention")), rules, "{system}");
        assert_eq!(value(&format!("sources.{source}.url")), url, "{system}");
        assert!(!shown.to_string().contains("hunter2"), "{system}: {shown}");
    }
}
