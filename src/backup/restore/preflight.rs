//! Whether the target can take what the point holds: roles, tablespaces, extensions, version, room.
//!
//! Everything that is missing is told at once, before anything is changed.

use crate::backup::facts::ExtensionFacts;
use crate::error::{Error, Kind, Result};
use crate::postgres::Session;
use rustix::fs::statvfs;
use std::collections::{BTreeMap, BTreeSet};

/// Indexes and write-ahead log on top of the heap: a restore that runs out of room has only cost time, so a
/// low estimate will do.
const ROOM_FOR_ONE: u64 = 2;

/// What a restore needs at the target.
#[derive(Debug, Default)]
pub(in crate::backup) struct Needs {
    pub(in crate::backup) major: u32,
    pub(in crate::backup) roles: BTreeSet<String>,
    pub(in crate::backup) tablespaces: BTreeSet<String>,
    pub(in crate::backup) extensions: Vec<ExtensionFacts>,
    /// Bytes of heap.
    pub(in crate::backup) heap_bytes: u64,
}

/// What the target lacks, in words.
pub(in crate::backup) async fn missing(server: &Session, needs: &Needs) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    if server.major() < needs.major {
        missing.push(format!("the server is version {} and the source was {}", server.major(), needs.major));
    }
    let roles = names(server, "SELECT rolname::text FROM pg_catalog.pg_roles").await?;
    missing.extend(needs.roles.difference(&roles).map(|role| format!("role {role}")));
    let spaces = names(server, "SELECT spcname::text FROM pg_catalog.pg_tablespace").await?;
    missing.extend(needs.tablespaces.difference(&spaces).map(|space| format!("tablespace {space}")));
    missing.extend(missing_extensions(server, &needs.extensions).await?);
    missing.extend(missing_room(server, needs.heap_bytes).await?);
    Ok(missing)
}

/// Refuses if anything is missing.
pub(in crate::backup) fn refuse(missing: &[String], kind: Kind) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let has = |word: &str| missing.iter().any(|what| what.starts_with(word));
    let hint = if has("role ") {
        "--with-globals brings the roles, --role-map OLD=NEW gives what they own to others, \
         --no-owner and --no-privileges leave them out"
    } else if has("tablespace ") {
        "--with-globals brings tablespaces whose directories are there, --no-tablespaces leaves them out"
    } else if has("extension ") {
        "install the packages of these extensions on the target's server"
    } else {
        "restore into another server"
    };
    Err(Error::new(kind, format!("looking at the target: it lacks {}", missing.join(", "))).hint(hint))
}

async fn names(server: &Session, sql: &str) -> Result<BTreeSet<String>> {
    let rows = server.rows("looking at the target", sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// An extension is good in any version that is at least as new.
async fn missing_extensions(server: &Session, needed: &[ExtensionFacts]) -> Result<Vec<String>> {
    let rows = server
        .rows(
            "looking for extensions at the target",
            "SELECT name::text, version FROM pg_catalog.pg_available_extension_versions",
            &[],
        )
        .await?;
    let mut available: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &rows {
        available.entry(row.get(0)).or_default().push(row.get(1));
    }
    let lacks = |needed: &ExtensionFacts| {
        let Some(versions) = available.get(&needed.name) else { return Some(format!("extension {}", needed.name)) };
        let newest = versions.iter().max_by(|a, b| by_number(a).cmp(&by_number(b)))?;
        let good = versions.contains(&needed.version) || by_number(newest) >= by_number(&needed.version);
        (!good).then(|| format!("extension {} {} (it has {newest})", needed.name, needed.version))
    };
    Ok(needed.iter().filter_map(lacks).collect())
}

/// The numbers in a version, for comparing: 1.10 is newer than 1.9.
fn by_number(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Room can be known where the server's directory is on this machine.
async fn missing_room(server: &Session, heap_bytes: u64) -> Result<Option<String>> {
    let sql = "SELECT pg_catalog.current_setting('data_directory', true), pg_catalog.inet_server_addr() IS NULL \
               OR pg_catalog.inet_server_addr() <<= '127.0.0.0/8'";
    // Only some roles may see where the data are.
    let Ok(row) = server.row("looking for room at the target", sql, &[]).await else { return Ok(None) };
    let (directory, here): (Option<String>, bool) = (row.get(0), row.get(1));
    let Some(directory) = directory.filter(|_| here) else { return Ok(None) };
    let Ok(disk) = statvfs(&directory) else { return Ok(None) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = heap_bytes.saturating_mul(ROOM_FOR_ONE);
    let short = free < needed;
    Ok(short.then(|| format!("room: about {} MB are needed in {directory} and {} are free", needed >> 20, free >> 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(by_number("1.10") > by_number("1.9"));
        assert!(by_number("3.4.0dev") >= by_number("3.4.0"));
        assert!(by_number("2.0") < by_number("2.0.1"));
    }

    #[test]
    fn all_that_is_missing_is_told_at_once() {
        let missing = ["role a".to_owned(), "extension postgis".to_owned()];
        let error = refuse(&missing, Kind::Refused).unwrap_err();
        assert_eq!(error.to_string(), "looking at the target: it lacks role a, extension postgis");
        assert!(error.hint_text().unwrap().contains("--role-map"));
        assert!(refuse(&[], Kind::Refused).is_ok());
    }
}
