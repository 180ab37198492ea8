//! The settings under which rows are read and written: the same text for the same value, whatever the server, the
//! database or the role has set otherwise.

use super::Session;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Each setting and the value it must show when read back. They are recorded with the backup.
const SETTINGS: &[(&str, &str)] = &[
    // Fails loudly where row security would hide rows.
    ("row_security", "off"),
    // No object of a user's schema can step in for one of PostgreSQL's.
    ("search_path", ""),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("xmloption", "content"),
    ("quote_all_identifiers", "off"),
    ("standard_conforming_strings", "on"),
    // Rows come in the order of the heap, so the same rows make the same chunks.
    ("synchronize_seqscans", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
];

/// Settings that came with a later version or a minor release; set where the server has them.
const WHERE_KNOWN: &[(&str, &str)] = &[
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    // Keeps a table that was swapped for a view from running code as us (CVE-2024-7348); as pg_dump does.
    ("restrict_nonsystem_relation_kind", "view, foreign-table"),
];

/// The client encoding for a database: UTF8, except where bytes have no known meaning and must pass as they are.
pub fn client_encoding(database_encoding: &str) -> &str {
    match database_encoding {
        "SQL_ASCII" => "SQL_ASCII",
        _ => "UTF8",
    }
}

/// Sets everything that decides how rows look as text, reads it back, and gives what was read for the manifest.
pub async fn prepare_data_session(session: &Session) -> Result<BTreeMap<String, String>> {
    let doing = "preparing a session for reading rows";
    let known: Vec<&str> = WHERE_KNOWN.iter().map(|(name, _)| *name).collect();
    let facts = session
        .row(
            doing,
            "SELECT pg_catalog.current_setting('server_encoding'), \
             ARRAY(SELECT name FROM pg_catalog.pg_settings WHERE name = ANY ($1))",
            &[&known],
        )
        .await?;
    let (encoding, present): (String, Vec<String>) = (facts.get(0), facts.get(1));
    let encoding = client_encoding(&encoding).to_owned();
    let mut wanted: Vec<(&str, &str)> = SETTINGS.to_vec();
    wanted.extend(WHERE_KNOWN.iter().filter(|(name, _)| present.iter().any(|known| known == name)));
    wanted.push(("client_encoding", &encoding));
    let (names, values): (Vec<&str>, Vec<&str>) = wanted.iter().copied().unzip();
    session
        .rows(
            doing,
            "SELECT pg_catalog.set_config(name, value, false) FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS s(name, value)",
            &[&names, &values],
        )
        .await?;
    // A second statement: what a pooler does not keep is seen here.
    let rows = session
        .rows(
            doing,
            "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.unnest($1::text[]) AS s(name)",
            &[&names],
        )
        .await?;
    let read: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (name, value) in &wanted {
        let found = read.get(*name).map(String::as_str).unwrap_or_default();
        if !same(name, value, found) {
            return Err(Error::refused(format!("{doing}: {name} was set to {value:?} but reads {found:?}"))
                .hint("a connection pooler does not keep session settings: connect to PostgreSQL itself"));
        }
    }
    Ok(read)
}

/// Lists may be shown with other spacing, and an empty search path as quotes.
fn same(name: &str, wanted: &str, found: &str) -> bool {
    let plain = |text: &str| text.replace([' ', '"'], "");
    match name {
        "search_path" | "DateStyle" | "restrict_nonsystem_relation_kind" => plain(wanted) == plain(found),
        _ => wanted == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_databases_without_an_encoding_are_read_as_bytes() {
        assert_eq!(client_encoding("SQL_ASCII"), "SQL_ASCII");
        assert_eq!(client_encoding("LATIN1"), "UTF8");
    }

    #[test]
    fn a_read_back_value_may_differ_in_spacing_only() {
        assert!(same("search_path", "", "\"\""));
        assert!(same("DateStyle", "ISO, YMD", "ISO,YMD"));
        assert!(!same("DateStyle", "ISO, YMD", "ISO, DMY"));
        assert!(!same("TimeZone", "UTC", "Europe/Vienna"));
    }
}
