//! The whole way: two scheduled jobs of `deploy/` save a database and its namespace; the namespace is deleted; from the bucket
//! and the keys alone both come back, with the same rows. The namespace is brought back by the job of `deploy/`, as the account
//! that is for it and with no right besides.

use super::deploy::{Davit, folder, way};
use crate::cli_support::Desk;
use crate::support::cluster::{Cluster, Namespace};
use crate::support::process::{Process, command};
use crate::support::{free_port, s3, wait_until};
use std::path::Path;

const TABLES: [&str; 2] = ["orders", "lines"];

const SHOP: &str = "CREATE TABLE orders(id bigint PRIMARY KEY, customer text NOT NULL, at timestamptz NOT NULL); \
    INSERT INTO orders SELECT n, 'customer ' || n % 997, '2026-01-01'::timestamptz + n * interval '1 minute' FROM generate_series(1, 20000) n; \
    CREATE TABLE lines(order_id bigint REFERENCES orders, item int, price numeric(10,2), PRIMARY KEY(order_id, item)); \
    INSERT INTO lines SELECT n, i, (n * 37 % 10000) / 100.0 FROM generate_series(1, 20000) n, generate_series(1, 3) i; \
    CREATE INDEX ON lines(price)";

/// Beside the database: what else a shop is made of.
const REST: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: payment}\nstringData: {key: swordfish}\n---\n\
    apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {colour: green}\n";

/// Count and sum of each table, as PostgreSQL says.
fn sums(namespace: &Namespace<'_>) -> Vec<String> {
    let one = |table: &&str| {
        let sql = format!("SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {table} t");
        let arguments =
            ["psql", "-h", "/tmp", "-U", "postgres", "-d", "shop", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", &sql];
        namespace.exec("postgres-0", &arguments)
    };
    TABLES.iter().map(one).collect()
}

/// An overlay as a user writes one: where the store is, what is saved, and every minute instead of every night.
fn overlay(cluster: &Cluster, at: &Path, namespace: &str, bucket: &str) {
    let (base, restore) = (way(at, &folder().join("base")), way(at, &folder().join("components/restore")));
    let endpoint = "http://s3.kube-system:7070";
    let settings = std::fs::read_to_string(folder().join("base/davit.yaml")).unwrap();
    std::fs::write(
        at.join("davit.yaml"),
        settings.replace("s3://example-backups/davit", &format!("s3://{bucket}/davit")),
    )
    .unwrap();
    let binding = std::fs::read_to_string(folder().join("overlays/prod/binding.yaml")).unwrap();
    std::fs::write(at.join("binding.yaml"), binding.replace("namespace: shop", &format!("namespace: {namespace}")))
        .unwrap();
    let text = format!(
        r#"
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: ["{base}", binding.yaml]
components: ["{restore}"]
images: [{{name: davit, newName: davit.test/davit, newTag: "1"}}, {{name: registry.example/davit, newName: davit.test/davit, newTag: "1"}}]
configMapGenerator:
- {{name: davit-settings, namespace: davit, behavior: replace, files: [davit.yaml]}}
patches:
- target: {{kind: CronJob, name: (backup-database|snapshot-namespace)}}
  patch: |
    - {{op: replace, path: /spec/schedule, value: "* * * * *"}}
- target: {{kind: CronJob}}
  patch: |
    - {{op: add, path: /spec/jobTemplate/spec/template/spec/containers/0/env/-, value: {{name: AWS_ENDPOINT_URL_S3, value: "{endpoint}"}}}}
    - {{op: add, path: /spec/jobTemplate/spec/template/spec/containers/0/env/-, value: {{name: AWS_REGION, value: {region}}}}}
- target: {{kind: CronJob, name: snapshot-namespace}}
  patch: |
    - {{op: replace, path: /spec/jobTemplate/spec/template/spec/containers/0/args, value: [snapshot, create, {namespace}]}}
- target: {{kind: CronJob, name: restore-namespace}}
  patch: |
    - {{op: replace, path: /spec/jobTemplate/spec/template/spec/containers/0/args, value: [snapshot, restore, {namespace}@latest]}}
- target: {{kind: NetworkPolicy, name: davit-store-and-cluster}}
  patch: |
    - {{op: add, path: /spec/egress/1/ports/-, value: {{port: 7070, protocol: TCP}}}}
"#,
        region = s3::REGION,
    );
    std::fs::write(at.join("kustomization.yaml"), text).unwrap();
    let output = cluster.kubectl_command().args(["apply", "-k"]).arg(at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Whatever was applied goes again, so that the next test begins as this one did.
struct Applied<'a>(&'a Cluster, &'a Path);

impl Drop for Applied<'_> {
    fn drop(&mut self) {
        let arguments = ["delete", "--ignore-not-found", "--wait=false", "-k"];
        self.0.kubectl_command().args(arguments).arg(self.1).output().ok();
    }
}

fn secrets(cluster: &Cluster, desk: &Desk, namespace: &str) {
    let inside = ["--namespace", "davit", "create", "secret", "generic"];
    let url = format!("url=postgres://postgres@postgres.{namespace}.svc.cluster.local:5432/shop");
    let key = format!("writer.key={}", desk.path().join("keys/writer.key").display());
    let credentials =
        [format!("AWS_ACCESS_KEY_ID={}", s3::ACCESS_KEY), format!("AWS_SECRET_ACCESS_KEY={}", s3::SECRET_KEY)];
    for (name, from) in [
        ("davit-writer-key", vec!["--from-file", &key]),
        ("davit-database", vec!["--from-literal", &url]),
        ("davit-store", vec!["--from-literal", &credentials[0], "--from-literal", &credentials[1]]),
    ] {
        cluster.try_kubectl(&format!("--namespace davit delete secret {name}"));
        let made = cluster.kubectl_command().args(inside).arg(name).args(from).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

/// Waits until a scheduled job has ended well once, and keeps it from beginning again.
fn await_success(cluster: &Cluster, name: &str) {
    let of = |path: &str| {
        let line = format!("--namespace davit get jobs -l app.kubernetes.io/component={name} -o jsonpath={path}");
        cluster.kubectl(&line)
    };
    let mut failed = String::new();
    wait_until(150, &format!("the success of {name}"), || {
        failed = of("{.items[*].status.failed}");
        !failed.is_empty() || of("{.items[*].status.succeeded}").contains('1')
    });
    let logs = || {
        let line = format!("--namespace davit logs -l app.kubernetes.io/component={name} --tail=-1");
        String::from_utf8_lossy(&cluster.try_kubectl(&line).stdout).into_owned()
    };
    assert!(failed.is_empty(), "{}", logs());
    cluster.kubectl(&format!("--namespace davit patch cronjob {name} --patch {{\"spec\":{{\"suspend\":true}}}}"));
    // A second run may have begun meanwhile; the namespace must not go while it is looked at.
    wait_until(60, "the end of all its runs", || of("{.items[*].status.active}").is_empty());
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn two_cron_jobs_save_a_shop_and_from_bucket_and_keys_alone_it_comes_back() {
    let cluster = Cluster::shared();
    cluster.load_davit(Path::new(env!("CARGO_BIN_EXE_davit")));
    let _davit = Davit::alone(&cluster);
    let namespace = cluster.namespace("shop");
    let name = namespace.name.as_str();
    namespace.apply_fixture("postgres.yaml");
    namespace.apply_fixture("web.yaml");
    namespace.apply(REST);
    namespace.wait_rollout("statefulset/postgres");
    namespace.wait_rollout("deployment/web");
    namespace.psql("postgres-0", "CREATE DATABASE shop");
    namespace.exec(
        "postgres-0",
        &["psql", "-h", "/tmp", "-U", "postgres", "-d", "shop", "-Xq", "-v", "ON_ERROR_STOP=1", "-c", SHOP],
    );
    let before = sums(&namespace);

    // The repository is made elsewhere; only the writer's key goes into the cluster.
    let bucket = format!("shop-{name}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(s3::client_at(&cluster.s3_endpoint()).create_bucket().bucket(&bucket).send()).unwrap();
    let desk = desk_at(&cluster, &bucket);
    let said = desk.davit(&["init"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let at = tempfile::tempdir().unwrap();
    let _applied = Applied(&cluster, at.path());
    overlay(&cluster, at.path(), name, &bucket);
    secrets(&cluster, &desk, name);
    await_success(&cluster, "backup-database");
    await_success(&cluster, "snapshot-namespace");

    // The disaster.
    let uid = namespace.kubectl(&format!("get namespace {name} -o jsonpath={{.metadata.uid}}"));
    cluster.kubectl(&format!("delete namespace {name} --timeout=300s"));
    wait_until(60, "the end of its volume", || !cluster.kubectl("get persistentvolumes").contains(&format!("{name}/")));

    // From the bucket and the keys alone: first the namespace …
    restored_in_the_cluster(&cluster, &desk);
    assert_ne!(namespace.kubectl(&format!("get namespace {name} -o jsonpath={{.metadata.uid}}")), uid);
    namespace.wait_rollout("deployment/web");
    namespace.wait_rollout("statefulset/postgres");
    assert_eq!(namespace.kubectl("get secret payment -o jsonpath={.data.key}"), "c3dvcmRmaXNo");
    assert_eq!(namespace.kubectl("get configmap settings -o jsonpath={.data.colour}"), "green");
    // … whose database is new and empty, then its rows.
    let (port, _forwarded) = forward(&namespace);
    let url = format!("postgres://postgres@127.0.0.1:{port}/shop");
    let said = desk.davit(&["restore", "shop-db@latest", "--into", &url, "--create"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert_eq!(sums(&namespace), before);
}

/// Starts the job that restores, for which the reader's key comes and goes, and waits for its end.
fn restored_in_the_cluster(cluster: &Cluster, desk: &Desk) {
    let key = format!("reader.key={}", desk.path().join("keys/reader.key").display());
    let arguments = ["--namespace", "davit", "create", "secret", "generic", "davit-reader-key", "--from-file", &key];
    let made = cluster.kubectl_command().args(arguments).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let jobs = cluster.kubectl("--namespace davit get jobs -l app.kubernetes.io/component=restore-namespace -o name");
    assert_eq!(jobs, "", "it begins when somebody says so");
    cluster.kubectl("--namespace davit create job --from=cronjob/restore-namespace back");
    let status =
        |field: &str| cluster.kubectl(&format!("--namespace davit get job back -o jsonpath={{.status.{field}}}"));
    wait_until(120, "the end of the restore", || !status("succeeded").is_empty() || !status("failed").is_empty());
    let said = cluster.try_kubectl("--namespace davit logs -l job-name=back --tail=-1").stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(status("failed").is_empty() && said.contains("restored point"), "{said}");
    cluster.kubectl("--namespace davit delete secret davit-reader-key");
}

/// A desk with nothing but the way to the bucket; keys are made by `init`.
fn desk_at(cluster: &Cluster, bucket: &str) -> Desk {
    let mut desk = Desk::new();
    let keys = desk.path().join("keys").display().to_string();
    desk.set("DAVIT_REPOSITORY", &format!("s3://{bucket}/davit"))
        .set("DAVIT_KEYS", &keys)
        .set("AWS_ENDPOINT_URL_S3", &cluster.s3_endpoint())
        .set("AWS_REGION", s3::REGION)
        .set("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY)
        .set("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY)
        .set("AWS_EC2_METADATA_DISABLED", "true");
    desk
}

/// A port of this machine that leads to the database; it ends with what is given back.
fn forward(namespace: &Namespace<'_>) -> (u16, Process) {
    let port = free_port();
    let kubectl = namespace.kubectl_command();
    let mut forward = command(Path::new(kubectl.get_program()), None, "KILL");
    forward.args(kubectl.get_args()).args(["port-forward", "postgres-0", &format!("{port}:5432")]);
    let log = tempfile::tempfile().unwrap();
    let process = Process::start(forward, log, "-KILL");
    wait_until(30, "the forwarded port", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    (port, process)
}
