//! Privileges and settings of a database as statements. `%DATABASE%` stands for its quoted name, because a restore
//! makes it under another one first.

use crate::postgres::quote::{ident, literal};

/// What stands for the database's quoted name.
pub(super) const PLACEHOLDER: &str = "%DATABASE%";

/// Settings whose value is a list of quoted names (`GUC_LIST_QUOTE`); each item is quoted by itself, as `pg_dump` does.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// One privilege of `aclexplode`, with names instead of oids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// `None` is PUBLIC.
    pub(super) grantee: Option<String>,
    /// `CONNECT`, `TEMPORARY`, `CREATE`.
    pub(super) privilege: String,
    pub(super) grantable: bool,
}

/// Statements that lead from the privileges of a new database of `owner` to these.
pub(super) fn grants(owner: &str, grants: &[Grant]) -> Vec<String> {
    let mut statements = vec![
        format!("REVOKE ALL ON DATABASE {PLACEHOLDER} FROM PUBLIC"),
        format!("REVOKE ALL ON DATABASE {PLACEHOLDER} FROM {}", ident(owner)),
    ];
    let mut done: Vec<(&Option<String>, bool)> = Vec::new();
    for grant in grants {
        let who = (&grant.grantee, grant.grantable);
        if done.contains(&who) {
            continue;
        }
        done.push(who);
        let same = grants.iter().filter(|other| (&other.grantee, other.grantable) == who);
        let privileges: Vec<&str> = same.map(|other| other.privilege.as_str()).collect();
        let to = grant.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), ident);
        let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
        statements.push(format!("GRANT {} ON DATABASE {PLACEHOLDER} TO {to}{option}", privileges.join(", ")));
    }
    statements
}

/// `ALTER … SET` for one entry of `pg_db_role_setting.setconfig`; `role` is `None` for the database itself.
pub(super) fn setting(role: Option<&str>, entry: &str) -> Option<String> {
    let (name, value) = entry.split_once('=')?;
    let whom = match role {
        Some(role) => format!("ALTER ROLE {} IN DATABASE {PLACEHOLDER}", ident(role)),
        None => format!("ALTER DATABASE {PLACEHOLDER}"),
    };
    let value = if LISTS.contains(&name.to_ascii_lowercase().as_str()) {
        let items: Vec<String> = list(value).iter().map(|item| literal(item).trim_start().to_owned()).collect();
        if items.is_empty() { "''".to_owned() } else { items.join(", ") }
    } else {
        literal(value).trim_start().to_owned()
    };
    // A name such as `myapp.tenant` has two parts, each quoted by itself.
    let name = name.split('.').map(ident).collect::<Vec<_>>().join(".");
    Some(format!("{whom} SET {name} TO {value}"))
}

/// The items of a list of names, some of them in double quotes.
fn list(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
        let Some(first) = chars.next() else { return items };
        let mut item = String::new();
        if first == '"' {
            while let Some(c) = chars.next() {
                if c == '"' && chars.next_if_eq(&'"').is_none() {
                    break;
                }
                item.push(c);
            }
        } else {
            item.push(first);
            while let Some(c) = chars.next_if(|c| *c != ',') {
                item.push(c);
            }
            item.truncate(item.trim_end().len());
        }
        items.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(grantee: Option<&str>, privilege: &str, grantable: bool) -> Grant {
        Grant { grantee: grantee.map(str::to_owned), privilege: privilege.into(), grantable }
    }

    #[test]
    fn privileges_become_statements_per_role() {
        let all = [
            grant(None, "CONNECT", false),
            grant(Some("own\"er"), "CREATE", false),
            grant(Some("own\"er"), "CONNECT", false),
            grant(Some("app"), "CONNECT", true),
        ];
        assert_eq!(
            grants("own\"er", &all),
            [
                "REVOKE ALL ON DATABASE %DATABASE% FROM PUBLIC",
                "REVOKE ALL ON DATABASE %DATABASE% FROM \"own\"\"er\"",
                "GRANT CONNECT ON DATABASE %DATABASE% TO PUBLIC",
                "GRANT CREATE, CONNECT ON DATABASE %DATABASE% TO \"own\"\"er\"",
                "GRANT CONNECT ON DATABASE %DATABASE% TO \"app\" WITH GRANT OPTION",
            ]
        );
    }

    #[test]
    fn settings_are_quoted_by_their_kind() {
        let of_database = |entry| setting(None, entry).unwrap();
        assert_eq!(
            of_database("search_path=\"$user\", public, \"odd \"\"name\""),
            "ALTER DATABASE %DATABASE% SET \"search_path\" TO '$user', 'public', 'odd \"name'"
        );
        assert_eq!(of_database("search_path="), "ALTER DATABASE %DATABASE% SET \"search_path\" TO ''");
        assert_eq!(of_database("DateStyle=ISO, DMY"), "ALTER DATABASE %DATABASE% SET \"DateStyle\" TO 'ISO, DMY'");
        assert_eq!(
            of_database("app.motto=a=b'c\\"),
            "ALTER DATABASE %DATABASE% SET \"app\".\"motto\" TO E'a=b''c\\\\'"
        );
        assert_eq!(
            setting(Some("App"), "work_mem=64MB").unwrap(),
            "ALTER ROLE \"App\" IN DATABASE %DATABASE% SET \"work_mem\" TO '64MB'"
        );
    }
}
