//! A PostgreSQL server of a chosen major, in a directory of its own.

use super::process::{Process, command, is_root};
use super::{cache, free_port, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The account that runs the servers when the tests run as root.
const ACCOUNT: &str = "postgres";

/// A running server; it ends and its directory goes when this is dropped.
#[derive(Debug)]
pub struct PgServer {
    process: Option<Process>,
    directory: tempfile::TempDir,
    bin: PathBuf,
    /// Its TCP port on 127.0.0.1; its Unix socket carries the same number.
    pub port: u16,
    /// Its major version.
    pub major: u32,
}

/// The directory with the server programs of a major.
pub fn bin_dir(major: u32) -> PathBuf {
    if major == 15 {
        return PathBuf::from("/usr/lib/postgresql/15/bin");
    }
    let prefix = format!("postgresql-{major}-");
    let folder = std::fs::read_dir(cache())
        .expect("the cache of test servers: run tests/servers/install.sh")
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&prefix));
    folder.unwrap_or_else(|| panic!("no PostgreSQL {major} in the cache: run tests/servers/install.sh")).join("bin")
}

/// The directory with all client tools of a major: 15, 16 or 18.
pub fn client_dir(major: u32) -> PathBuf {
    if major == 15 {
        return bin_dir(15);
    }
    let full = std::fs::read_dir(cache())
        .expect("the cache of test servers: run tests/servers/install.sh")
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("postgresql-full-"));
    full.expect("client tools in the cache").join(major.to_string()).join("bin")
}

fn run_as_account(program: &Path, arguments: &[&str]) {
    let output = command(program, Some(ACCOUNT), "KILL").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
}

fn give_to_account(path: &Path) {
    if is_root() {
        let status = Command::new("chown").arg("-R").arg(format!("{ACCOUNT}:{ACCOUNT}")).arg(path).status().unwrap();
        assert!(status.success());
    }
}

impl PgServer {
    /// Starts PostgreSQL 15, the one with every tool.
    pub fn start() -> Self {
        Self::start_with(15, &[])
    }

    /// Starts a server of `major` with further settings (`name=value`).
    pub fn start_with(major: u32, settings: &[&str]) -> Self {
        Self::start_in(Path::new("/tmp"), major, settings)
    }

    /// Starts a server whose directory lies in `parent`.
    pub fn start_in(parent: &Path, major: u32, settings: &[&str]) -> Self {
        let bin = bin_dir(major);
        let directory = tempfile::Builder::new().prefix("davit-test-pg").tempdir_in(parent).unwrap();
        give_to_account(directory.path());
        let data = directory.path().join("data");
        let data_text = data.to_str().unwrap().to_owned();
        run_as_account(
            &bin.join("initdb"),
            &["-D", &data_text, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--auth=trust", "--no-sync"],
        );
        let mut server = Self { process: None, directory, bin, port: free_port(), major };
        server.launch(settings);
        server
    }

    /// Starts a streaming standby of this server (version 15 only), with further settings.
    pub fn standby(&self, settings: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("davit-test-standby").tempdir_in("/tmp").unwrap();
        give_to_account(directory.path());
        let data = directory.path().join("data").to_str().unwrap().to_owned();
        let program = bin_dir(15).join("pg_basebackup");
        run_as_account(
            &program,
            &["-d", &self.url("postgres"), "-D", &data, "-R", "-X", "stream", "-c", "fast", "--no-sync"],
        );
        let mut standby =
            Self { process: None, directory, bin: self.bin.clone(), port: free_port(), major: self.major };
        standby.launch(settings);
        standby
    }

    /// Starts the stopped server again, with further settings.
    pub fn launch(&mut self, settings: &[&str]) {
        self.launch_with(settings, &[]);
    }

    /// The same, with variables in its environment.
    pub fn launch_with(&mut self, settings: &[&str], variables: &[(&str, &str)]) {
        let directory = self.directory.path().to_str().unwrap().to_owned();
        // That of a killed one says "ready", too.
        let pid_file = self.directory.path().join("data/postmaster.pid");
        std::fs::remove_file(&pid_file).ok();
        let mut postgres = command(&self.bin.join("postgres"), Some(ACCOUNT), "QUIT");
        postgres.current_dir("/tmp").envs(variables.iter().copied()).args(["-D", &format!("{directory}/data")]);
        let port = format!("port={}", self.port);
        let socket = format!("unix_socket_directories={directory}");
        let own =
            [&port, &socket, "listen_addresses=127.0.0.1", "fsync=off", "shared_buffers=128MB", "max_connections=100"];
        for setting in own.iter().chain(settings) {
            postgres.args(["-c", setting]);
        }
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        self.process = Some(Process::start(postgres, log, "-QUIT"));
        wait_until(60, "the server being ready", || {
            std::fs::read_to_string(&pid_file)
                .is_ok_and(|text| text.lines().nth(7).is_some_and(|l| l.trim() == "ready"))
        });
    }

    /// Stops it as a crash would (its data stay).
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// A command of the shell that starts it again after its processes were killed, and ends with its own process.
    pub fn start_command(&self) -> String {
        let (bin, directory) = (self.bin.display(), self.directory.path().display());
        let account = if is_root() { "setpriv --reuid postgres --regid postgres --init-groups " } else { "" };
        format!(
            "cd /tmp && rm -f {directory}/data/postmaster.pid {directory}/.s.PGSQL.* && {account}{bin}/pg_ctl -D {directory}/data -l {directory}/log.again -w \
             -o '-c port={} -c unix_socket_directories={directory} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=100' start",
            self.port
        )
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The directory of its Unix socket.
    pub fn socket_dir(&self) -> &Path {
        self.directory.path()
    }

    /// The server's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// A URL over TCP to a database as superuser `postgres`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs SQL with stock `psql`, stopping at the first error; gives what it printed (unaligned, tuples only).
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = self.psql_command(database).args(["-c", sql]).output().unwrap();
        assert!(output.status.success(), "psql: {}\n{sql}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A `psql` that is connected to a database and stops at the first error.
    pub fn psql_command(&self, database: &str) -> Command {
        let mut command = Command::new(bin_dir(15).join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database)]);
        command
    }
}
