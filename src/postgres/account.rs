//! Accounts of the operating system, read from `/etc/passwd`: who we are, and as whom a throw-away server may run.

use std::path::PathBuf;

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Its name.
    pub(super) name: String,
    /// Its user id.
    pub(super) uid: u32,
    /// Its group id.
    pub(super) gid: u32,
    /// Its home directory.
    pub(super) home: PathBuf,
}

/// The account this process runs as.
pub(super) fn own() -> Option<Account> {
    let uid = rustix::process::geteuid().as_raw();
    all().into_iter().find(|account| account.uid == uid)
}

fn all() -> Vec<Account> {
    std::fs::read_to_string("/etc/passwd").map(|text| text.lines().filter_map(parse).collect()).unwrap_or_default()
}

fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = PathBuf::from(fields.nth(1)?);
    Some(Account { name, uid, gid, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd_is_read() {
        let account = parse("postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash").unwrap();
        assert_eq!((account.uid, account.gid), (101, 104));
        assert_eq!(account.home, PathBuf::from("/var/lib/postgresql"));
        assert_eq!(parse("# nothing"), None);
    }
}
