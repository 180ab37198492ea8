//! Sequences stand where they stood: they know no transactions, so they are set last.

use crate::backup::facts::SequenceValue;
use crate::error::Result;
use crate::postgres::{Session, quote};

/// The stage's name in progress and report.
pub(super) const STAGE: &str = "sequences";

/// How many go in one statement.
const TOGETHER: usize = 500;

/// Sets all of them.
pub(super) async fn set(session: &Session, sequences: &[SequenceValue]) -> Result<()> {
    let sql = "SELECT pg_catalog.setval(name::regclass, value, called) \
               FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::bigint[]), pg_catalog.unnest($3::bool[])) AS s(name, value, called)";
    for some in sequences.chunks(TOGETHER) {
        let names: Vec<String> = some.iter().map(|s| quote::qualified(&s.schema, &s.name)).collect();
        let values: Vec<i64> = some.iter().map(|s| s.last_value).collect();
        let called: Vec<bool> = some.iter().map(|s| s.is_called).collect();
        session.rows("setting sequences", sql, &[&names, &values, &called]).await?;
    }
    Ok(())
}
