//! `davit demo` from its first line to its last, and what remains when it is interrupted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and the bar is in wall time"
)]

mod cli_support;
mod support;

use cli_support::Desk;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::wait_until;

/// `nobody` on every Linux we know.
const NOBODY: u32 = 65534;

/// What the demo left below the directory for temporary files.
fn leftovers(temporary: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Command lines of processes that name the directory: servers, and davit's own throw-away ones.
fn running_in(directory: &Path) -> Vec<String> {
    let name = directory.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    let lines = processes.filter_map(|path| std::fs::read(path).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains("postgres") && line.contains(name)).collect()
}

fn desk() -> (Desk, tempfile::TempDir) {
    let mut desk = Desk::new();
    // A socket's path is short, and the server's account must be able to enter.
    let temporary = tempfile::Builder::new().prefix("dd").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(temporary.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    desk.set("TMPDIR", temporary.path().to_str().unwrap());
    // Whatever the caller's shell says of other repositories must play no part.
    desk.set("DAVIT_REPOSITORY", "/nowhere").set("DAVIT_KEYS", "/nowhere").set("PGDATABASE", "nowhere");
    (desk, temporary)
}

/// The same call as an account without rights, if we are root: a newcomer on a laptop is none.
fn as_a_normal_user(desk: &Desk, temporary: &Path, arguments: &[&str]) -> Command {
    let command = desk.command(arguments);
    if !support::process::is_root() {
        return command;
    }
    // The caller's build directory may be closed to others.
    let program = temporary.join("davit");
    std::fs::copy(env!("CARGO_BIN_EXE_davit"), &program).unwrap();
    chown(temporary, Some(NOBODY), Some(NOBODY)).unwrap();
    chown(desk.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut other = Command::new("setpriv");
    let id = NOBODY.to_string();
    other.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(program).args(arguments);
    other.current_dir(desk.path()).env_clear().stdin(Stdio::null());
    other.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    other
}

/// The words of a text without those that differ from run to run: numbers, ids, times, and the name of a kept database.
fn lasting(text: &str) -> Vec<String> {
    let differs = |word: &&str| word.contains(|c: char| c.is_ascii_digit()) || word.starts_with("shop_was_");
    let line = |line: &str| line.split_whitespace().filter(|word| !differs(word)).collect::<Vec<_>>().join(" ");
    text.lines().map(line).filter(|line| !line.is_empty()).collect()
}

/// Holds the README's excerpt to what the demo really prints.
fn the_readme_shows(stdout: &str) {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let excerpt = readme.split("```text\n").find(|block| block.starts_with("2. ")).unwrap();
    let (shown, printed) = (lasting(excerpt.split("```").next().unwrap()), lasting(stdout));
    let start = printed.iter().position(|line| *line == shown[0]).unwrap();
    for (shown, printed) in shown.iter().zip(&printed[start..]) {
        assert_eq!(shown, printed, "left: the README, right: the demo");
    }
    assert!(shown.len() > 40 && printed.len() >= start + shown.len(), "{}", shown.len());
}

#[test]
#[ignore = "needs a PostgreSQL server installation: make test"]
fn the_demo_of_a_normal_user_ends_well_and_leaves_only_its_directory() {
    let first = Instant::now();
    let (desk, temporary, said, took) = loop {
        let (desk, temporary) = desk();
        let start = Instant::now();
        let said = as_a_normal_user(&desk, temporary.path(), &["demo", "--directory", "here"]).output().unwrap();
        // A drill that finds its service unsteady leaves it alone: on a machine that is busy elsewhere that is right.
        let unsteady = said.status.code() != Some(0) && String::from_utf8_lossy(&said.stdout).contains("steady state");
        if !unsteady || first.elapsed() > Duration::from_mins(4) {
            break (desk, temporary, said, start.elapsed());
        }
    };
    let (stdout, stderr) = (String::from_utf8(said.stdout).unwrap(), String::from_utf8_lossy(&said.stderr));
    assert_eq!(said.status.code(), Some(0), "{stdout}\n{stderr}");
    // 20 s where it has two cores to itself; here other tests run beside it, on a machine that may be slower.
    assert!(took < Duration::from_mins(4), "it took {took:?}");
    for expected in [
        "DROP TABLE orders",
        "proof read back",
        "restored: every row",
        "DAMAGE  public.orders, rows",
        "daily 30 days, weekly 90 days, monthly 1 year",
        "Now your own database",
    ] {
        assert!(stdout.contains(expected), "{expected}:\n{stdout}");
    }
    // Piped, it is plain text.
    assert!(!stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'), "{stdout}\n{stderr}");
    // Only lines that name an object of the store, or give every reason why a point goes, are longer than a window; and
    // the tables of a drill, which name processes and what proves their end.
    let (before_the_drill, drill) = stdout.split_once("9. Drill").unwrap();
    assert!(drill.contains("✓ MET: shop restored"), "{drill}");
    for line in before_the_drill.lines().filter(|line| !line.contains("chunks/") && !line.contains("  GOES  ")) {
        assert!(line.chars().count() <= 130, "{line}");
    }
    the_readme_shows(&stdout);
    let left: Vec<PathBuf> = leftovers(temporary.path()).into_iter().filter(|path| !path.ends_with("davit")).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    // What it left is a repository like any other, and the damage it made is healed.
    let mut again = desk.command(&["verify", "--all", "--depth", "stored", "--config", "here/davit.yaml"]);
    let again = again.env_remove("DAVIT_REPOSITORY").env_remove("DAVIT_KEYS").output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stderr));
}

/// Signals the demo when it prints `step` (`after` such as `$ davit verify`), as `kill` or as a terminal does.
fn interrupted(signal: &str, whole_group: bool, step: &str) {
    let (desk, temporary) = desk();
    let mut command = desk.command(&["demo", "--directory", "here"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child: Child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(step)), "the demo never came to {step:?}");
    assert!(!running_in(temporary.path()).is_empty(), "its server is running");
    let target = if whole_group { format!("-{}", child.id()) } else { child.id().to_string() };
    assert!(Command::new("kill").args([signal, "--", &target]).status().unwrap().success());
    lines.for_each(drop);
    let mut story = String::new();
    child.stderr.take().unwrap().read_to_string(&mut story).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4), "{signal} at {step:?}: {story}");
    assert!(story.contains("stopped") && story.contains("/here"), "{signal} at {step:?}: {story}");
    // A process that was killed is seen until it has had its last turn.
    wait_until(20, "the end of its servers", || running_in(temporary.path()).is_empty());
    assert_eq!(leftovers(temporary.path()), Vec::<PathBuf>::new(), "{signal} at {step:?}");
}

#[test]
#[ignore = "needs a PostgreSQL server installation: make test"]
fn a_demo_that_is_interrupted_at_any_step_ends_its_servers_and_names_its_directory() {
    interrupted("-INT", true, "A throw-away PostgreSQL");
    interrupted("-TERM", false, "$ davit backup");
    interrupted("-INT", true, "$ davit restore");
    // This one has a throw-away server of its own.
    interrupted("-TERM", false, "$ davit verify");
}
