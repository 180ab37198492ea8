//! Saving and restoring while something is wrong: answers that are lost, refused and late, an API server that is full or
//! killed, a store that fails, a runner that is killed at any of its requests. However often it takes, the end is the whole
//! namespace, and nothing but that is called a success.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a proxy waits, and a test measures")]
#![allow(unreachable_pub, dead_code, reason = "the modules of tests use parts of each other")]

mod cli_support;
mod control_support;
#[path = "snapshot_cases/generator.rs"]
mod generator;
mod support;

use cli_support::{Desk, Said};
use control_support::{ControlPlane, control_plane};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::faulty_proxy::{FaultyProxy, Misbehaviour};
use support::process::{Process, command};
use support::{free_port, wait_until};

/// A namespace of many kinds, saved; the desk that has its point.
fn saved(plane: &ControlPlane, name: &str, objects: usize) -> Desk {
    plane.namespace(name);
    let wanted = generator::list(&generator::objects(11, objects));
    plane.kubectl(&["create", "-n", name, "-f", "-"], &wanted).unwrap();
    let mut desk = Desk::with_repository();
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    let said = desk.davit(&["snapshot", "create", name]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    desk
}

/// The cluster by plain HTTP: something that misbehaves can stand in front of it.
struct Plain {
    port: u16,
    _kubectl: Process,
}

impl Plain {
    fn start(plane: &ControlPlane, program: &Path) -> Self {
        let port = free_port();
        let mut proxy = command(program, None, "KILL");
        proxy.arg("kubectl").arg("--kubeconfig").arg(plane.kubeconfig());
        proxy.args(["proxy", "--port", &port.to_string(), "--reject-paths", "^$"]);
        let process = Process::start(proxy, tempfile::tempfile().unwrap(), "-KILL");
        wait_until(30, "the plain proxy", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, _kubectl: process }
    }
}

fn program() -> PathBuf {
    let folders = std::fs::read_dir(support::cache()).unwrap().map(|entry| entry.unwrap().path().join("kubernetes"));
    let mut found: Vec<PathBuf> = folders.filter(|path| path.is_file()).collect();
    found.sort();
    found.pop().unwrap()
}

/// A kubeconfig for a server of plain HTTP.
fn kubeconfig(at: &Path, port: u16) -> String {
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "users": [{"name": "u", "user": {}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    let file = at.join(format!("plain-{port}"));
    std::fs::write(&file, config.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn restore(desk: &Desk, from: &str, to: &str, more: &[&str]) -> Said {
    desk.davit(&[&["snapshot", "restore", &format!("{from}@latest"), "--into", to][..], more].concat())
}

/// What is there is what was saved: a plan of the same restore has nothing to do.
fn whole(desk: &Desk, from: &str, to: &str) {
    let said = restore(desk, from, to, &["--plan"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let last = said.stdout.lines().last().unwrap();
    for word in ["create", "merge", "replace", "refuse"] {
        assert!(!last.contains(word), "{last}\n{}", said.stdout);
    }
}

/// Runs the same restore until it says it is done; what it says before that is never "done".
fn until_done(desk: &Desk, from: &str, to: &str, more: &[&str]) -> u32 {
    for turn in 1..=6 {
        let said = restore(desk, from, to, more);
        let told = format!("{}{}", said.stdout, said.stderr);
        match said.code {
            0 => {
                assert!(!said.stdout.contains("FAILED"), "{told}");
                return turn;
            }
            1 => assert!(said.stdout.contains("IN PART"), "{told}"),
            _ => assert!(said.stderr.contains("error:"), "{told}"),
        }
    }
    panic!("six turns were not enough");
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn answers_that_are_lost_cut_or_refused_end_in_the_whole_namespace() {
    let plane = control_plane();
    let desk = saved(plane, "lossy", 120);
    let plain = Plain::start(plane, &program());
    let proxy = FaultyProxy::start(plain.port);
    let config = kubeconfig(desk.path(), proxy.port);
    for (at, behaviour) in [
        Misbehaviour::ResetAfter { every: 9 },
        Misbehaviour::ResetBefore { every: 9 },
        Misbehaviour::Truncate { every: 11 },
        Misbehaviour::CutBody { every: 10 },
        Misbehaviour::Busy { from: 60, to: 90 },
        Misbehaviour::Busy { from: 100, to: 400 },
    ]
    .into_iter()
    .enumerate()
    {
        let to = format!("lossy-{at}");
        proxy.behave(behaviour);
        let turns = until_done(&desk, "lossy", &to, &["--kubeconfig", &config]);
        assert!(turns <= 3, "{behaviour:?} took {turns} turns");
        proxy.behave(Misbehaviour::None);
        whole(&desk, "lossy", &to);
    }
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_server_that_is_asked_too_much_is_saved_whole_all_the_same() {
    let plane = control_plane();
    let desk = saved(plane, "stormy", 120);
    let plain = Plain::start(plane, &program());
    let proxy = FaultyProxy::start(plain.port);
    let config = kubeconfig(desk.path(), proxy.port);
    let save = || desk.json(&["snapshot", "create", "stormy", "--kubeconfig", &config]);
    let (code, calm) = save();
    let asked = proxy.requests();
    assert_eq!(code, 0, "{calm:#}");
    proxy.behave(Misbehaviour::TooMany { every: 6 });
    let (code, stormy) = save();
    assert_eq!((code, &stormy["points"][0]["missing"]), (0, &json!([])), "{stormy:#}");
    assert!(proxy.requests() > asked + asked / 8, "{} requests, {asked} without a storm", proxy.requests());
    assert_eq!(stormy["points"][0]["objects"], calm["points"][0]["objects"]);
    proxy.behave(Misbehaviour::None);
    let points = desk.json(&["points"]).1;
    let ids: Vec<&str> =
        points["points"].as_array().unwrap().iter().map(|point| point["point"].as_str().unwrap()).collect();
    let said = desk.davit(&["snapshot", "diff", ids[0], ids[ids.len() - 1]]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_store_that_fails_while_it_is_read_leaves_the_cluster_as_it_was_or_whole() {
    let plane = control_plane();
    let server = support::s3::S3::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(server.plain_bucket("faults"));
    let proxy = FaultyProxy::start(server.port);
    let mut desk = Desk::new();
    let keys = desk.path().join("keys").display().to_string();
    for (name, value) in server.environment() {
        desk.set(name, &value);
    }
    desk.set("AWS_ENDPOINT_URL_S3", &format!("http://127.0.0.1:{}", proxy.port));
    desk.set("DAVIT_REPOSITORY", "s3://faults/davit").set("DAVIT_KEYS", &keys).set("DAVIT_RETRY_BUDGET", "2s");
    desk.set("KUBECONFIG", plane.kubeconfig().to_str().unwrap());
    plane.namespace("stored");
    plane.kubectl(&["create", "-n", "stored", "-f", "-"], &generator::list(&generator::objects(12, 60))).unwrap();
    for arguments in [&["init"][..], &["snapshot", "create", "stored"]] {
        let said = desk.davit(arguments);
        assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    }
    // Dead for good from some request on: before a single object is made, everything has been read.
    for from in [0, 3, 6, 9, 12, 20] {
        proxy.behave(Misbehaviour::Busy { from, to: u64::MAX });
        let to = format!("stored-{from}");
        let said = restore(&desk, "stored", &to, &[]);
        if said.code == 0 {
            proxy.behave(Misbehaviour::None);
            whole(&desk, "stored", &to);
        } else {
            assert!(plane.get(&["namespace", &to]).is_none(), "{}{}", said.stdout, said.stderr);
        }
    }
    for (at, behaviour) in [
        Misbehaviour::ResetAfter { every: 4 },
        Misbehaviour::Truncate { every: 3 },
        Misbehaviour::Busy { from: 2, to: 6 },
    ]
    .into_iter()
    .enumerate()
    {
        proxy.behave(behaviour);
        let to = format!("stored-again-{at}");
        until_done(&desk, "stored", &to, &[]);
        proxy.behave(Misbehaviour::None);
        whole(&desk, "stored", &to);
    }
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_store_that_fails_while_a_namespace_is_saved_never_gets_a_good_point_that_is_not_whole() {
    let mut world = Killing::of("unkept", 40);
    world.desk.set("DAVIT_RETRY_BUDGET", "2s");
    let good = |source: &str| {
        let (_, points) = world.desk.json(&["points"]);
        let of = points["points"].as_array().unwrap().iter().filter(|point| point["source"] == source).cloned();
        of.filter(|point| point["missing"] == 0).count()
    };
    let requests = world.counted(&world.store, &["snapshot", "create", "unkept", "--source", "counted"]);
    let (mut failed, step) = (0, requests.div_ceil(12));
    for from in (0..requests).step_by(usize::try_from(step).unwrap()) {
        let source = format!("unkept-{from}");
        world.store.behave(Misbehaviour::Busy { from, to: u64::MAX });
        let said = world.desk.davit(&["snapshot", "create", "unkept", "--source", &source]);
        world.store.behave(Misbehaviour::None);
        let told = format!("{}{}", said.stdout, said.stderr);
        // What a store that is gone is called in docs/operations.md: it failed, and what was begun is undone.
        assert!([0, 4].contains(&said.code), "dead from request {from}: {told}");
        assert!(said.code == 0 || said.stderr.contains("error:"), "{told}");
        failed += u32::from(said.code == 4);
        if said.code == 0 || good(&source) > 0 {
            // Whatever is signed is whole, also where its maker could not say so any more.
            let verified = world.desk.davit(&["snapshot", "verify", &format!("{source}@latest")]);
            assert_eq!(verified.code, 0, "dead from request {from}: {told}{}", verified.stdout);
        }
    }
    assert!(failed >= 6, "{failed} of twelve failed");
}

fn restoring(to: &str) -> [&str; 7] {
    ["snapshot", "restore", "killed@latest", "--into", to, "--in-flight", "2"]
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_runner_killed_anywhere_goes_on_and_never_had_called_it_done() {
    let world = Killing::of("killed", 150);
    let requests = world.counted(&world.api, &restoring("killed-whole"));
    let mut killed = 0;
    for turn in 0..7 {
        let to = format!("killed-{turn}");
        match world.killed_at(&world.api, (requests * turn / 7, false), &restoring(&to)) {
            Some(said) => {
                killed += 1;
                assert!(!said.contains("restored point"), "{said}");
            }
            // The last requests of a run may be fewer than they were; then what it said must be true without a second run.
            None => whole(&world.desk, "killed", &to),
        }
        assert_eq!(until_done(&world.desk, "killed", &to, &[]), 1, "the same command goes on at once");
        whole(&world.desk, "killed", &to);
    }
    assert!(killed >= 4, "{killed} were killed in time");
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_namespace_that_was_deleted_and_restored_is_saved_again_as_the_same_source() {
    let plane = control_plane();
    let desk = saved(plane, "returned", 12);
    plane.kubectl(&["delete", "namespace", "returned"], "").unwrap();
    let said = desk.davit(&["snapshot", "restore", "returned@latest"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let said = desk.davit(&["snapshot", "create", "returned"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("goes on as the same source"), "{}", said.stderr);
}

/// A namespace, a repository behind a server of S3, and something that can hold every request to either.
struct Killing {
    plane: &'static ControlPlane,
    desk: Desk,
    store: FaultyProxy,
    api: FaultyProxy,
    config: String,
    _server: support::s3::S3,
    _plain: Plain,
}

impl Killing {
    fn of(name: &str, objects: usize) -> Self {
        let plane = control_plane();
        let server = support::s3::S3::start();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(server.plain_bucket("killing"));
        let plain = Plain::start(plane, &program());
        let (store, api) = (FaultyProxy::start(server.port), FaultyProxy::start(plain.port));
        let mut desk = Desk::new();
        let keys = desk.path().join("keys").display().to_string();
        for (name, value) in server.environment() {
            desk.set(name, &value);
        }
        desk.set("AWS_ENDPOINT_URL_S3", &format!("http://127.0.0.1:{}", store.port));
        desk.set("DAVIT_REPOSITORY", "s3://killing/davit").set("DAVIT_KEYS", &keys).set("DAVIT_LEASE_TERM", "10s");
        let config = kubeconfig(desk.path(), api.port);
        desk.set("KUBECONFIG", &config);
        plane.namespace(name);
        let wanted = generator::list(&generator::objects(11, objects));
        plane.kubectl(&["create", "-n", name, "-f", "-"], &wanted).unwrap();
        for arguments in [&["init"][..], &["snapshot", "create", name]] {
            let said = desk.davit(arguments);
            assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
        }
        Self { plane, desk, store, api, config, _server: server, _plain: plain }
    }

    /// How many requests an undisturbed run sends.
    fn counted(&self, proxy: &FaultyProxy, arguments: &[&str]) -> u64 {
        proxy.behave(Misbehaviour::None);
        let said = self.desk.davit(arguments);
        assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
        proxy.requests()
    }

    /// Runs it until its request of this number is on its way (or was done, and its answer not given), and kills it
    /// there; what it had said by then, or nothing if it was done before.
    fn killed_at(&self, proxy: &FaultyProxy, (at, passed): (u64, bool), arguments: &[&str]) -> Option<String> {
        proxy.behave(Misbehaviour::Hold { at, passed });
        let mut command = self.desk.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut ended = false;
        wait_until(60, "the request that is held", || {
            ended = child.try_wait().unwrap().is_some();
            ended || proxy.holds()
        });
        child.kill().unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        child.wait().unwrap();
        proxy.behave(Misbehaviour::None);
        (!ended).then_some(said)
    }
}

/// A restore, killed at every `step`th of its requests.
fn killed_restores(name: &str, step: u64) {
    let world = Killing::of(name, 40);
    let point = format!("{name}@latest");
    let first = format!("{name}-whole");
    let requests = world.counted(&world.api, &["snapshot", "restore", &point, "--into", &first]);
    assert!(requests > 60, "{requests} requests");
    let mut killed = 0;
    for at in (0..requests).step_by(usize::try_from(step).unwrap()) {
        let to = format!("{name}-{at}");
        let arguments = ["snapshot", "restore", &point, "--into", &to];
        if let Some(said) = world.killed_at(&world.api, (at, (at / step).is_multiple_of(2)), &arguments) {
            killed += 1;
            assert!(!said.contains("restored"), "killed at request {at}: {said}");
        }
        assert_eq!(until_done(&world.desk, name, &to, &[]), 1, "request {at}: the same command goes on at once");
        whole(&world.desk, name, &to);
        world.plane.kubectl(&["delete", "namespace", &to, "--wait=false"], "").unwrap();
    }
    // The last ones of a run may be fewer than they were.
    assert!(killed * step + 2 * step >= requests, "{killed} of {requests} by {step}");
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_restore_killed_at_one_of_its_requests_goes_on() {
    killed_restores("held", 11);
}

#[test]
#[ignore = "soak: five minutes; a Kubernetes control plane"]
fn soak_a_restore_killed_at_any_of_its_requests_goes_on() {
    killed_restores("held-all", 1);
}

/// A snapshot, killed at every `step`th of its requests to the store and to the API server.
fn killed_snapshots(name: &str, step: u64) {
    let world = Killing::of(name, 60);
    let (mut killed, mut sources) = (0, Vec::new());
    for (word, proxy) in [("store", &world.store), ("api", &world.api)] {
        let source = format!("{name}-{word}");
        let requests = world.counted(proxy, &["snapshot", "create", name, "--source", &source]);
        assert!(requests > 20, "{requests} requests to the {word}");
        for at in (0..requests).step_by(usize::try_from(step).unwrap()) {
            // Each by a source of its own: none has to wait for the lease of the one that was killed before it.
            let source = format!("{name}-{word}-{at}");
            let arguments = ["snapshot", "create", name, "--source", &source];
            if let Some(said) = world.killed_at(proxy, (at, (at / step).is_multiple_of(2)), &arguments) {
                killed += 1;
                assert!(!said.contains("saved"), "killed at request {at} to the {word}: {said}");
                sources.push(source);
            }
        }
    }
    assert!(killed >= 4, "{killed} were killed in time");
    // Whatever there is by now is whole.
    let good = format!("{name}@latest");
    let check = || {
        let said = world.desk.davit(&["verify", "--all", "--depth", "stored"]);
        // A runner that is killed behind its signature leaves a point that is whole; the next run writes what is beside it.
        let beside = ["catalogue: it lacks point", "head: it is missing"];
        let damage = said.stdout.lines().filter(|line| line.contains("DAMAGE"));
        let other = damage.filter(|line| !beside.iter().any(|known| line.contains(known))).count();
        assert!(other == 0 && said.code <= 1, "{}{}", said.stdout, said.stderr);
        let points = world.desk.json(&["points"]).1["points"].as_array().unwrap().clone();
        for point in &points {
            let said = world.desk.davit(&["snapshot", "diff", point["point"].as_str().unwrap(), &good]);
            assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
        }
        points.len()
    };
    let before = check();
    // And the next run of each needs nobody: it waits until the lease of the dead one has run out, and saves.
    let chosen: Vec<&String> = sources.iter().step_by(sources.len().div_ceil(6)).collect();
    let desk = &world.desk;
    std::thread::scope(|scope| {
        for source in &chosen {
            scope.spawn(move || {
                let said = desk.davit(&["snapshot", "create", name, "--source", source]);
                assert_eq!(said.code, 0, "{source}: {}{}", said.stdout, said.stderr);
            });
        }
    });
    assert_eq!(check(), before + chosen.len());
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_snapshot_killed_at_one_of_its_requests_leaves_no_point_that_is_not_whole() {
    killed_snapshots("saver", 9);
}

#[test]
#[ignore = "soak: a minute or two; a Kubernetes control plane"]
fn soak_a_snapshot_killed_at_any_of_its_requests_leaves_no_point_that_is_not_whole() {
    killed_snapshots("saver-all", 1);
}

/// Starts a command, and kills the API server when its request of this number is on its way; the command goes on alone.
fn server_killed_at(plane: &ControlPlane, proxy: &FaultyProxy, at: u64, mut command: Command) -> Child {
    proxy.behave(Misbehaviour::Hold { at, passed: false });
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(60, "the request that is held", || proxy.holds());
    plane.kill_api();
    proxy.behave(Misbehaviour::None);
    child
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn an_api_server_killed_and_started_again_meanwhile_is_waited_for() {
    // Of its own: others need theirs.
    let plane = ControlPlane::start();
    let desk = saved(&plane, "fallen", 200);
    let plain = Plain::start(&plane, &program());
    let proxy = FaultyProxy::start(plain.port);
    let config = kubeconfig(desk.path(), proxy.port);
    let cases = [
        (30, &["snapshot", "create", "fallen"][..]),
        (100, &["snapshot", "restore", "fallen@latest", "--into", "risen"]),
    ];
    for (at, arguments) in cases {
        let child =
            server_killed_at(&plane, &proxy, at, desk.command(&[arguments, &["--kubeconfig", &config]].concat()));
        plane.start_api();
        let output = child.wait_with_output().unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {told}");
    }
    whole(&desk, "fallen", "risen");
    let said = desk.davit(&["snapshot", "diff", "fallen@latest", "--live"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
}

#[test]
#[ignore = "soak: a server that is gone is given a minute or two; a Kubernetes control plane"]
fn soak_an_api_server_that_is_gone_for_good_leaves_nothing_that_is_called_done() {
    let plane = ControlPlane::start();
    let desk = saved(&plane, "gone", 150);
    let plain = Plain::start(&plane, &program());
    let proxy = FaultyProxy::start(plain.port);
    let config = kubeconfig(desk.path(), proxy.port);
    let cut = |at: u64, arguments: &[&str]| {
        let child =
            server_killed_at(&plane, &proxy, at, desk.command(&[arguments, &["--kubeconfig", &config]].concat()));
        let output = child.wait_with_output().unwrap();
        plane.start_api();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let points = || desk.json(&["points"]).1["points"].as_array().unwrap().clone();
    let before = points();
    let good = before[0]["point"].as_str().unwrap().to_owned();
    let (code, said) = cut(30, &["snapshot", "create", "gone"]);
    assert!(code != 0 && (said.is_empty() || said.contains("INCOMPLETE")), "{code}: {said}");
    let incomplete = points().iter().filter(|point| point["missing"] != 0).count();
    assert_eq!((points().len(), incomplete), (before.len() + incomplete, usize::from(!said.is_empty())));
    let restore = ["snapshot", "restore", &good, "--into", "gone-copy"];
    let (code, said) = cut(90, &restore);
    assert!(code != 0 && (said.is_empty() || said.contains("restored IN PART")), "{code}: {said}");
    let said = desk.davit(&restore);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
}

/// Only a user who is no administrator is ever made to wait.
fn crowded(plane: &ControlPlane) -> String {
    plane.namespace("crowd");
    plane.apply(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: restorer, namespace: crowd}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: crowd}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n\
         subjects: [{kind: ServiceAccount, name: restorer, namespace: crowd}]\n---\n\
         apiVersion: flowcontrol.apiserver.k8s.io/v1\nkind: PriorityLevelConfiguration\nmetadata: {name: crowd}\n\
         spec: {type: Limited, limited: {nominalConcurrencyShares: 1, lendablePercent: 0, borrowingLimitPercent: 0, limitResponse: {type: Reject}}}\n---\n\
         apiVersion: flowcontrol.apiserver.k8s.io/v1\nkind: FlowSchema\nmetadata: {name: crowd}\n\
         spec:\n  priorityLevelConfiguration: {name: crowd}\n  matchingPrecedence: 2\n  distinguisherMethod: {type: ByUser}\n  rules:\n\
         \x20 - subjects: [{kind: ServiceAccount, serviceAccount: {name: restorer, namespace: crowd}}]\n\
         \x20   resourceRules: [{verbs: ['*'], apiGroups: ['*'], resources: ['*'], clusterScope: true, namespaces: ['*']}]\n",
    );
    plane.kubectl(&["create", "token", "restorer", "-n", "crowd", "--duration=1h"], "").unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn a_server_that_is_full_is_waited_for_and_not_overrun() {
    // Of its own: how many requests it takes is a setting of the whole server.
    let plane = ControlPlane::start();
    let desk = saved(&plane, "full", 400);
    let token = crowded(&plane);
    let config = std::fs::read_to_string(plane.kubeconfig()).unwrap().replace("davit-test-token", &token);
    let file = desk.path().join("crowded");
    std::fs::write(&file, config).unwrap();
    let refused = || {
        let metrics = plane.kubectl(&["get", "--raw", "/metrics"], "").unwrap();
        let lines = metrics.lines().filter(|line| line.starts_with("apiserver_flowcontrol_rejected_requests_total"));
        let of = lines.filter(|line| line.contains("priority_level=\"crowd\""));
        of.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    let turns = until_done(&desk, "full", "full-copy", &["--kubeconfig", file.to_str().unwrap(), "--in-flight", "64"]);
    let storm = refused();
    // How many depends on how fast this machine can ask.
    assert!(storm >= 1.0, "the server refused nothing: nothing was tried");
    // Sixty-four at once are refused at most until they were halved to what it takes; after that only now and then.
    assert!(storm <= 400.0, "the server had to refuse {storm} requests");
    assert!(turns <= 2, "{turns} turns");
    whole(&desk, "full", "full-copy");
}

/// Passes bytes on, each answer five seconds late.
fn late(upstream: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else { continue };
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to).ok());
            std::thread::spawn(move || {
                let (mut server, mut client, mut piece) = (server, client, vec![0; 1 << 16]);
                let mut last = std::time::Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
                while let Ok(read @ 1..) = server.read(&mut piece) {
                    // The pieces of one answer follow each other at once.
                    if last.elapsed() > Duration::from_millis(200) {
                        std::thread::sleep(Duration::from_secs(5));
                    }
                    last = std::time::Instant::now();
                    if client.write_all(&piece[..read]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

#[test]
#[ignore = "needs a Kubernetes control plane: make test"]
fn answers_that_are_five_seconds_late_are_answers() {
    let plane = control_plane();
    let desk = saved(plane, "late", 40);
    let plain = Plain::start(plane, &program());
    let config = kubeconfig(desk.path(), late(plain.port));
    assert_eq!(until_done(&desk, "late", "late-copy", &["--kubeconfig", &config, "--in-flight", "64"]), 1);
    whole(&desk, "late", "late-copy");
    let said = desk.davit(&["snapshot", "create", "late", "--kubeconfig", &config]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
}
