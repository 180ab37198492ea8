//! What saving ten thousand objects costs in memory: it must not grow with them.

#![allow(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod cli_support;
mod cluster_support;

use cluster_support::site::Site;
use serde_json::json;

/// The bar.
const MOST: u64 = 128 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_objects_of_mixed_sizes_fit_into_128_mebibytes() {
    let site = Site::with_a_shop().await;
    for n in 0..10_000_u32 {
        let (kind, bytes) = match n % 10 {
            0..=3 => ("configmaps", 2_000),
            4..=6 => ("secrets", 1_000),
            7 => ("deployments.apps", 6_000),
            8 => ("services", 1_500),
            _ => ("pods", 9_000),
        };
        // Text that does not shrink to nothing when it is compressed.
        let mut text = String::new();
        for m in 0..bytes / 8 {
            let number = n.wrapping_mul(2_654_435_761).wrapping_add(m * m);
            text.push_str(&davit::id::to_hex(&number.to_be_bytes()));
        }
        site.server.put(kind, json!({ "metadata": { "name": format!("o-{n:05}") }, "data": { "text": text } }));
    }
    for n in 0..40 {
        let large = "z".repeat(900_000);
        site.server
            .put("configmaps", json!({ "metadata": { "name": format!("large-{n}") }, "data": { "text": large } }));
    }
    let command = site.desk.command(&["snapshot", "create", "shop", "--output", "json"]);
    let (peak, status) = tokio::task::block_in_place(|| run_and_watch(command));
    assert!(status.success());
    assert!(peak > 0 && peak <= MOST, "{} MiB at its peak", peak >> 20);
    let shown = site.show();
    assert_eq!((&shown["complete"], &shown["objects"]), (&json!(true), &json!(10_040 + 6)), "{shown:#}");
}

/// Runs a program and reads the peak of its memory until it is gone.
#[expect(clippy::disallowed_methods, reason = "it polls a process that tells nobody")]
fn run_and_watch(mut command: std::process::Command) -> (u64, std::process::ExitStatus) {
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        if let Ok(text) = std::fs::read_to_string(format!("/proc/{}/status", child.id())) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak = peak.max(kib.unwrap_or(0) << 10);
        }
        if let Some(status) = child.try_wait().unwrap() {
            return (peak, status);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
