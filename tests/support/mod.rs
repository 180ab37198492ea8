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
pub mod pki;
pub mod postgres;
pub mod process;
pub mod s3;
pub mod shop;

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// The folder that `tests/servers/install.sh` fills.
pub fn cache() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/cache.sh");
    let output = Command::new("bash").arg(script).output().expect("running cache.sh");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path in UTF-8").trim())
}

/// Ports for servers: below those that the kernel gives to outgoing connections, so that none takes one meanwhile, and
/// below those of Kubernetes services.
const PORTS: std::ops::Range<u16> = 10_240..30_000;

/// A TCP port of the loopback address that no other test uses, in this process or in another one, until this process ends.
pub fn free_port() -> u16 {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join(format!("davit-test-ports-{}", rustix::process::getuid().as_raw()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut held = HELD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (count, begin) = (PORTS.end - PORTS.start, std::process::id().wrapping_mul(131));
    for number in 0..u32::from(count) {
        let port = PORTS.start + u16::try_from(begin.wrapping_add(number) % u32::from(count)).unwrap();
        let file = File::options().create(true).append(true).open(folder.join(port.to_string())).unwrap();
        if file.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            held.push(file);
            return port;
        }
    }
    panic!("every port of {PORTS:?} is taken");
}

/// Asks `condition` until it holds; fails the test after `seconds`, and never before two minutes: the bound is for what will
/// not come, not for a machine that has much to do. Asking takes a third of the time: who looks by a command all the time
/// takes a core from what is waited for.
pub fn wait_until(seconds: u64, what: &str, mut condition: impl FnMut() -> bool) {
    let seconds = seconds.max(120);
    let start = std::time::Instant::now();
    loop {
        let looked = std::time::Instant::now();
        if condition() {
            return;
        }
        assert!(start.elapsed().as_secs() < seconds, "{what} did not happen within {seconds} s");
        std::thread::sleep((looked.elapsed() * 2).max(std::time::Duration::from_millis(20)));
    }
}
