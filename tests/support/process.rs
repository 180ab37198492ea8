//! A child process that ends with its owner.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// A server process. A thread of its own starts it and waits for it: the kernel's "signal on parent death" fires
/// when the *thread* that started the child ends, and test threads end early.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    signal: &'static str,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Whether these tests run as root, where PostgreSQL needs another account.
pub fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

/// `setpriv` in front of a program: it dies with us, and runs as `account` when we are root.
pub fn command(program: &std::path::Path, account: Option<&str>, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    if let (Some(account), true) = (account, is_root()) {
        command.args(["--reuid", account, "--regid", account, "--init-groups"]);
    }
    command.args(["--pdeathsig", signal]).arg(program);
    command
}

impl Process {
    /// Starts `command`; `signal` ends it.
    pub fn start(mut command: Command, log: std::fs::File, signal: &'static str) -> Self {
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let (tell_pid, pid) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut child: Child = command.spawn().expect("starting a server");
            tell_pid.send(child.id()).unwrap();
            // Ends when the sender is dropped.
            stopped.recv().unwrap_err();
            let pid = child.id().to_string();
            if child.try_wait().unwrap().is_none() {
                Command::new("kill").args([signal, &pid]).status().unwrap();
            }
            let start = std::time::Instant::now();
            while child.try_wait().unwrap().is_none() {
                if start.elapsed().as_secs() > 10 {
                    child.kill().unwrap();
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        });
        let pid = pid.recv().expect("the server's process id");
        Self { pid, signal, stop: Some(stop), thread: Some(thread) }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
