//! A real PgBouncer in front of a test server.

use super::postgres::PgServer;
use super::process::{Process, command};
use super::{free_port, wait_until};
use std::path::Path;

/// A running pooler; it ends when this is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    directory: tempfile::TempDir,
    /// Its TCP port on 127.0.0.1.
    pub port: u16,
}

impl PgBouncer {
    /// Starts a pooler in `mode` (`transaction`, `session`) in front of `server`.
    pub fn start(server: &PgServer, mode: &str) -> Self {
        Self::start_with(server, mode, "")
    }

    /// Starts a pooler with further lines in its settings.
    pub fn start_with(server: &PgServer, mode: &str, extra: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("davit-test-pool").tempdir_in("/tmp").unwrap();
        let port = free_port();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {mode}\nmax_client_conn = 100\ndefault_pool_size = 20\n\
             ignore_startup_parameters = extra_float_digits,options\nadmin_users = postgres\n{extra}",
            server.port
        );
        // `auth_type = any` takes the name of the only user that each database entry may log in as.
        let settings = settings.replace("port={}", "").replace("\n[pgbouncer]", " user=postgres\n[pgbouncer]");
        let path = directory.path().join("pgbouncer.ini");
        std::fs::write(&path, settings).unwrap();
        if super::process::is_root() {
            let status =
                std::process::Command::new("chown").args(["-R", "postgres"]).arg(directory.path()).status().unwrap();
            assert!(status.success());
        }
        let mut pooler = command(Path::new("/usr/sbin/pgbouncer"), Some("postgres"), "KILL");
        pooler.arg(&path);
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let process = Process::start(pooler, log, "-TERM");
        wait_until(20, "the pooler listening", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, directory, port }
    }

    /// A URL to a database through the pooler.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}
