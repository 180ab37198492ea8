//! The test cluster itself: a broken one, or one that forgives what real clusters do not, would make every other test
//! on it meaningless.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "tests measure time")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use support::cluster::{Cluster, Namespace};
use support::{s3, wait_until};

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn pods_on_three_nodes_answer_to_one_name() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("web");
    namespace.apply_fixture("web.yaml");
    namespace.wait_rollout("deployment/web");

    let nodes = namespace.kubectl("get pods -l app=web -o jsonpath={.items[*].spec.nodeName}");
    assert_eq!(nodes.split(' ').collect::<BTreeSet<_>>(), BTreeSet::from(["node-1", "node-2", "node-3"]));

    let url = format!("http://web.{}.svc.cluster.local/", namespace.name);
    let mut seen = BTreeSet::new();
    wait_until(60, "an answer of each of the three pods", || {
        // A node learns a moment after the rollout where a Service leads to.
        let answer = namespace.try_kubectl(&format!("exec deployment/web -- /service get {url}"));
        answer.status.success() && seen.insert(answer.stdout) && seen.len() == 3
    });
    // The short name, by the search list that pods get; and a name that nobody has.
    namespace.exec("deployment/web", &["/service", "get", "http://web/healthz"]);
    let unknown = namespace.try_kubectl("exec deployment/web -- /service resolve nobody");
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no such host"), "{unknown:?}");
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_claim_outlives_its_pod_and_is_full_when_it_is_full() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("claim");
    namespace.apply_fixture("postgres.yaml");
    namespace.wait_rollout("statefulset/postgres");
    namespace.psql("postgres-0", "CREATE TABLE kept AS SELECT 42 AS answer");
    let uid = || namespace.kubectl("get pod postgres-0 -o jsonpath={.metadata.uid}");
    let (before, node) = (uid(), node_of(&namespace.kubectl("get pod postgres-0 -o wide")));
    namespace.kubectl("delete pod postgres-0");
    namespace.wait_rollout("statefulset/postgres");
    assert_ne!(uid(), before);
    assert_eq!(node_of(&namespace.kubectl("get pod postgres-0 -o wide")), node);
    assert_eq!(namespace.psql("postgres-0", "SELECT answer FROM kept"), "42");

    // The claim asks for 256 MiB: 300 MiB do not fit, whatever the machine's disk has.
    let filled =
        namespace.try_kubectl("exec postgres-0 -- dd if=/dev/zero of=/data/filler bs=1M count=300 status=none");
    assert!(String::from_utf8_lossy(&filled.stderr).contains("No space left on device"), "{filled:?}");
    namespace.exec("postgres-0", &["rm", "/data/filler"]);

    // A claim that is deleted takes its volume with it.
    let volume = namespace.kubectl("get pvc data-postgres-0 -o jsonpath={.spec.volumeName}");
    let file = cluster.folder().join(&node).join(format!("lib/volumes/{volume}.img"));
    assert!(file.exists(), "{}", file.display());
    namespace.kubectl("delete statefulset/postgres pvc/data-postgres-0");
    wait_until(60, "the volume's end", || {
        !file.exists() && !cluster.try_kubectl(&format!("get persistentvolume {volume}")).status.success()
    });
}

fn node_of(wide: &str) -> String {
    wide.split_whitespace().find(|word| word.starts_with("node-")).unwrap().to_owned()
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn davit_in_a_pod_reaches_the_s3_server() {
    let cluster = Cluster::shared();
    cluster.load_davit(Path::new(env!("CARGO_BIN_EXE_davit")));
    let namespace = cluster.namespace("s3");
    let bucket = format!("smoke-{}", namespace.name);
    let client = s3::client_at(&cluster.s3_endpoint());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(client.create_bucket().bucket(&bucket).send()).unwrap();

    // As a user's pod should be: no root, nothing writable but a scratch volume.
    namespace.apply(&format!(
        r#"
apiVersion: batch/v1
kind: Job
metadata: {{name: init}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: davit
        image: davit.test/davit:1
        imagePullPolicy: Never
        args: [init]
        env:
        - {{name: DAVIT_REPOSITORY, value: "s3://{bucket}/davit"}}
        - {{name: DAVIT_KEYS, value: /keys}}
        - {{name: AWS_ENDPOINT_URL_S3, value: "http://s3.kube-system:7070"}}
        - {{name: AWS_REGION, value: {region}}}
        - {{name: AWS_ACCESS_KEY_ID, value: {access}}}
        - {{name: AWS_SECRET_ACCESS_KEY, value: {secret}}}
        securityContext: {{readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        volumeMounts: [{{name: keys, mountPath: /keys}}]
      volumes: [{{name: keys, emptyDir: {{}}}}]
"#,
        region = s3::REGION,
        access = s3::ACCESS_KEY,
        secret = s3::SECRET_KEY,
    ));
    wait_until(60, "the end of the job", || {
        !namespace.kubectl("get job init -o jsonpath={.status.succeeded}{.status.failed}").is_empty()
    });
    let succeeded = namespace.kubectl("get job init -o jsonpath={.status.succeeded}");
    assert_eq!(succeeded, "1", "{}", namespace.kubectl("logs job/init"));
    let objects = runtime.block_on(client.list_objects_v2().bucket(&bucket).send()).unwrap();
    assert!(objects.contents().iter().any(|object| object.key() == Some("davit/davit.json")), "{objects:?}");
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_lost_node_is_missed_and_comes_back_with_what_was_committed() {
    let cluster = Cluster::alone();
    let namespace = cluster.namespace("lost");
    namespace.apply_fixture("web.yaml");
    namespace.apply_fixture("postgres.yaml");
    namespace.wait_rollout("statefulset/postgres");
    namespace.wait_rollout("deployment/web");
    let name = node_of(&namespace.kubectl("get pod postgres-0 -o wide"));
    let node: u32 = name.strip_prefix("node-").unwrap().parse().unwrap();
    namespace.psql("postgres-0", "CREATE TABLE kept AS SELECT 42 AS answer");
    write_unflushed(&namespace);
    let shims = processes_with("containerd-shim", &cluster.name, &name);
    assert!(shims > 1, "the node runs pods: {shims}");

    cluster.power_off(node);
    assert_eq!(processes_with("", &cluster.name, &name), 0);
    wait_until(40, "the control plane missing the node", || !cluster.node_is_ready(node));
    // The Deployment's pod moves after the five seconds of its toleration …
    wait_until(60, "three pods on the two other nodes", || {
        let ready = namespace.kubectl("get deployment web -o jsonpath={.status.readyReplicas}");
        let pods = namespace.kubectl("get pods -l app=web --no-headers -o wide");
        let alive = pods.lines().filter(|line| line.contains(" Running "));
        ready == "3" && alive.filter(|line| !line.contains(&name)).count() == 3
    });
    // … while the database's pod, deleted by force, has nowhere else to go: its volume is on the lost node.
    namespace.kubectl("delete pod postgres-0 --force --grace-period=0");
    wait_until(20, "the pod made again, waiting", || {
        let pod = namespace.try_kubectl("get pod postgres-0 -o jsonpath={.status.conditions[*].message}");
        String::from_utf8_lossy(&pod.stdout).contains("node affinity")
    });

    cluster.power_on(node);
    namespace.wait_rollout("statefulset/postgres");
    assert_eq!(namespace.psql("postgres-0", "SELECT answer FROM kept"), "42");
    // Written, and never flushed: a power failure takes it. Whoever calls `sync` on this machine just then flushes this
    // volume, too, so that one of three failures has to show it.
    let was_lost = || {
        namespace.psql("postgres-0", "SELECT coalesce((pg_stat_file('/data/unflushed', true)).size, 0) < 8388608")
            == "t"
    };
    let lost = (0..3).any(|_| {
        if was_lost() {
            return true;
        }
        write_unflushed(&namespace);
        cluster.power_off(node);
        wait_until(40, "the control plane missing the node again", || !cluster.node_is_ready(node));
        cluster.power_on(node);
        namespace.wait_rollout("statefulset/postgres");
        was_lost()
    });
    assert!(lost, "three losses were too kind");
}

fn write_unflushed(namespace: &Namespace<'_>) {
    namespace.exec("postgres-0", &["rm", "-f", "/data/unflushed"]);
    namespace.exec("postgres-0", &["dd", "if=/dev/urandom", "of=/data/unflushed", "bs=1M", "count=8", "status=none"]);
}

/// How many processes of a node, whose command line contains a text, there are.
fn processes_with(text: &str, cluster: &str, node: &str) -> usize {
    let group = format!("/davit-{cluster}/{node}/");
    std::fs::read_dir("/proc")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| std::fs::read_to_string(path.join("cgroup")).is_ok_and(|groups| groups.contains(&group)))
        .filter(|path| std::fs::read_to_string(path.join("cmdline")).is_ok_and(|line| line.contains(text)))
        .count()
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_network_policy_keeps_out_whom_it_does_not_name() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("policy");
    namespace.apply_fixture("web.yaml");
    for (name, may) in [("friend", "enter"), ("stranger", "knock"), ("captive", "nothing"), ("guest", "outside")] {
        let run = format!("run {name} --labels may={may} --image davit.test/service:1 --image-pull-policy Never");
        namespace.kubectl(&run);
    }
    namespace.kubectl("wait pod --all --for condition=Ready --timeout 180s");
    namespace.wait_rollout("deployment/web");
    let reaches =
        |pod: &str| namespace.try_kubectl(&format!("exec {pod} -- /service get http://web/")).status.success();
    for pod in ["friend", "stranger", "captive", "guest"] {
        wait_until(30, "an answer to each, without a policy", || reaches(pod));
    }
    namespace.apply_fixture("policies.yaml");
    wait_until(30, "the stranger being kept out", || !reaches("stranger"));
    wait_until(30, "an answer to the friend", || reaches("friend"));
    wait_until(30, "the captive being held", || !reaches("captive"));
    // A name is resolved, so the captive is held by the policy and not by a broken network.
    namespace.exec("captive", &["/service", "resolve", "web"]);
    // The web pods let all in again, and the guest does not get out to them, but to a server outside, which wants a key.
    namespace.kubectl("delete networkpolicy nothing-enters some-enter");
    wait_until(30, "the stranger being let in again", || reaches("stranger"));
    wait_until(30, "the guest being kept in", || !reaches("guest"));
    let outside = namespace.try_kubectl("exec guest -- /service get http://s3.kube-system:7070/");
    assert!(String::from_utf8_lossy(&outside.stderr).contains("403 Forbidden"), "{outside:?}");
    namespace.kubectl("delete networkpolicy --all");
    wait_until(30, "the guest getting out again", || reaches("guest"));
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_second_cluster_runs_beside_the_first_and_ends_with_its_killed_owner() {
    let first = Cluster::shared();
    let name = format!("{}-b", first.name);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/cluster.sh");
    let lease = first.folder().with_file_name(format!("{name}.lease"));
    let mut owner = Command::new("bash")
        .args(["-c", r#"exec 9>>"$1" && flock -s 9 && "$2" up "$3" && read -r _"#, "owner"])
        .args([lease.as_os_str(), script.as_os_str(), name.as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("three nodes ready"), "{line}");

    let second = Cluster::named(&name);
    let count = |cluster: &Cluster| cluster.kubectl("get nodes -o name").lines().count();
    assert_eq!((count(&first), count(&second)), (3, 3));
    assert_ne!(first.s3_endpoint(), second.s3_endpoint());
    let namespace = second.namespace("beside");
    namespace.apply_fixture("web.yaml");
    namespace.wait_rollout("deployment/web");
    assert!(!first.try_kubectl(&format!("get namespace {}", namespace.name)).status.success(), "two clusters, not one");
    assert!(second.script("left", &[]).contains("control group"), "what is running is seen");

    // A node behind a cut cable is missed like a lost one, but what runs there goes on.
    second.script("node", &["3", "cut"]);
    wait_until(40, "the control plane missing the node", || !second.node_is_ready(3));
    assert!(processes_with("/service", &name, "node-3") > 0);
    second.script("node", &["3", "mend"]);
    wait_until(40, "the node's return", || second.node_is_ready(3));
    // A killed API server is started again, and knows what it knew.
    second.script("kill", &["control", "apiserver"]);
    wait_until(40, "the API server's return", || namespace.try_kubectl("get deployment web").status.success());

    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until(60, "the second cluster's end", || second.script("left", &[]).is_empty());
    assert_eq!(count(&first), 3);
}
