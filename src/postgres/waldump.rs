//! What the write-ahead log of a stopped server says about its commits, read with stock `pg_waldump`; and where a
//! timeline forked.

use crate::error::{Context, Error, Kind, Result};
use crate::observation::{parse_lsn, show_lsn};
use std::path::Path;
use std::process::Stdio;

/// One committed transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit {
    /// Its number, without the epoch.
    pub xid: u32,
    /// Where its commit record begins.
    pub lsn: u64,
}

/// How the log ends: there is always a record after the last one that is none.
const ENDS: [&str; 2] = ["error in WAL record at", "could not find a valid record after"];

/// The transactions whose commit stands at or after `from` in this `pg_wal`, in the order of the log. The server must be
/// stopped, or dead.
///
/// # Errors
/// Where the program does not run or stops before the end of the log.
pub async fn commits_since(program: &Path, wal: &Path, timeline: u32, from: u64) -> Result<Vec<Commit>> {
    let doing = || format!("reading the log in {} from {} on", wal.display(), show_lsn(from));
    let output = tokio::process::Command::new(program)
        .arg("--path")
        .arg(wal)
        .args(["--rmgr", "Transaction", "--timeline", &timeline.to_string(), "--start", &show_lsn(from)])
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context(Kind::Failed, doing)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && !ENDS.iter().any(|end| said.contains(end)) {
        return Err(Error::failed(doing()).because(said.trim().replace('\n', "; ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(commit).collect())
}

/// Reads `rmgr: Transaction len (rec/tot): 34/ 34, tx: 738, lsn: 0/01547D98, prev 0/01547D60, desc: COMMIT 2026-…`.
fn commit(line: &str) -> Option<Commit> {
    let after = |label: &str| line.split_once(label).map(|(_, rest)| rest.trim_start());
    if !after("desc: ")?.starts_with("COMMIT") {
        return None;
    }
    let word = |label: &str| after(label)?.split(',').next();
    Some(Commit { xid: word(", tx:")?.trim().parse().ok()?, lsn: parse_lsn(word("lsn:")?)? })
}

/// Where each timeline before this one ended, from the text of a `.history` file: timeline and position.
pub fn forks(history: &str) -> Vec<(u32, u64)> {
    let fork = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, parse_lsn(words.next()?)?))
    };
    history.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(fork).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_read_and_everything_else_is_not() {
        let line = "rmgr: Transaction len (rec/tot):     34/    34, tx:        738, lsn: 0/01547D98, prev 0/01547D60, \
                    desc: COMMIT 2026-11-21 21:00:00.000000 UTC";
        assert_eq!(commit(line), Some(Commit { xid: 738, lsn: 0x154_7D98 }));
        assert_eq!(commit(&line.replace("COMMIT", "ABORT")), None);
        assert_eq!(commit(""), None);
    }

    #[test]
    fn forks_are_read_as_the_server_writes_them() {
        let history = "# a comment\n1\t0/3000158\tno recovery target specified\n\n2\t0/50000A0\tbefore 2026\n";
        assert_eq!(forks(history), [(1, 0x300_0158), (2, 0x500_00A0)]);
    }
}
