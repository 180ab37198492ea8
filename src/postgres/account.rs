//! Accounts of the operating system, read from `/etc/passwd`: who we are, and as whom a throw-away server may run.

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Its name.
    pub(super) name: String,
    /// Its user id.
    pub(super) uid: u32,
    /// Its group id.
    pub(super) gid: u32,
}

/// Whether this process is root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The account of this name.
pub(super) fn named(name: &str) -> Option<Account> {
    all().into_iter().find(|account| account.name == name)
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
    Some(Account { name, uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd_is_read() {
        let account = parse("postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash").unwrap();
        assert_eq!((account.uid, account.gid), (101, 104));
        assert_eq!(parse("# nothing"), None);
    }
}
