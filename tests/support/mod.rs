//! Real servers for the tests: PostgreSQL of every supported major, an S3 server, a pooler.
//!
//! They come from `tests/servers/install.sh`, listen on loopback or a Unix socket only, and end with the test that
//! started them, also when its process is killed.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a broken test server should stop the test")]
#![allow(clippy::disallowed_methods, reason = "tests read their environment and poll with a bound")]

pub mod cluster;
pub mod faulty_proxy;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod s3;
pub mod shop;

use std::path::PathBuf;
use std::process::Command;

/// The folder that `tests/servers/install.sh` fills.
pub fn cache() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/cache.sh");
    let output = Command::new("bash").arg(script).output().expect("running cache.sh");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path in UTF-8").trim())
}

/// A TCP port of the loopback address that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks `condition` every 20 ms until it holds; fails the test after `seconds`.
pub fn wait_until(seconds: u64, what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed().as_secs() < seconds, "{what} did not happen within {seconds} s");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
