//! What is inside a pod, as the host of all nodes sees it.

use crate::support::wait_until;
use std::collections::BTreeSet;
use std::process::Command;

/// Everything inside a pod that a helper could leave: processes and whether they are stopped, rules of its network,
/// ballast in its folders. The test sees the processes of all nodes.
pub fn inside(uid: &str) -> String {
    let mut seen = BTreeSet::new();
    let mut network = None;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let folder = entry.path();
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap_or_default();
        let Ok(groups) = std::fs::read_to_string(folder.join("cgroup")) else { continue };
        if !groups.contains(uid) {
            continue;
        }
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        let state = stat.rsplit(") ").next().unwrap_or_default().chars().next();
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        let ours = environment.contains("DAVIT_CARRIER=");
        let ballast = std::fs::read_dir(folder.join("root/tmp")).into_iter().flatten().flatten();
        let ballast = ballast.filter(|file| file.file_name().to_string_lossy().starts_with("davit-chaos-")).count();
        let name = String::from_utf8_lossy(&read("comm")).trim().to_owned();
        seen.insert(format!("{name} stopped {} ours {ours} ballast {ballast}", state == Some('T')));
        network.get_or_insert_with(|| folder.join("ns/net"));
    }
    for table in ["filter", "nat"] {
        let Some(network) = &network else { break };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", network.display())).args(["iptables", "-t", table, "-S"]);
        let said = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
        seen.extend(said.lines().filter(|line| !line.starts_with("-P")).map(str::to_owned));
    }
    seen.into_iter().collect::<Vec<_>>().join("\n")
}

/// Breaks something in a thread of its own, sees that the pod's inside changes meanwhile, and that it is as before
/// afterwards; gives what the fault's own proof saw.
pub fn seen_inside(uid: &str, breaks: impl FnOnce() -> String + Send) -> String {
    let before = inside(uid);
    assert!(!before.is_empty(), "the pod {uid} runs here");
    let seen = std::thread::scope(|scope| {
        let broken = scope.spawn(breaks);
        wait_until(60, "the inside of the pod being changed", || broken.is_finished() || inside(uid) != before);
        assert!(!broken.is_finished(), "nothing inside the pod was seen to change");
        broken.join().unwrap()
    });
    wait_until(10, "the inside of the pod as before", || inside(uid) == before);
    seen
}
