//! Large objects: their bytes as lines of oid, offset and hexadecimal bytes. That they exist, and whose they are, is in
//! the archive of definitions.

use super::item::Item;
use super::outlet::{Object, Outlet};
use crate::backup::facts::kind;
use crate::error::{Error, Result};
use crate::postgres::catalog::{self, LargeObjects};
use crate::postgres::session::Session;
use std::sync::Arc;

/// Bytes per line: 128 pages of `pg_largeobject`, of which half a megabyte of hexadecimal becomes.
pub(super) const PIECE: u32 = 256 * 1024;

/// Objects are read in ranges of so many oids, aligned to 0, so that a new object moves no cut.
const OIDS_BITS: u32 = 12;

/// The reading of all large objects of a database.
#[derive(Debug)]
pub(crate) struct LargeObjectWork {
    pub(crate) object: Arc<Object>,
    /// The numbers of the ranges in which there are objects.
    ranges: Vec<u32>,
    bytes: u64,
}

/// The statement that reads the objects of the oids from `first` to `last`: every byte that a reader of the object would
/// see, so that it gives the same lines wherever the objects were written in whatever pieces. Privileges are those of
/// each object.
pub fn copy_statement(first: u32, last: u32) -> String {
    format!(
        "COPY (SELECT m.oid, p.place, p.bytes FROM ( \
             SELECT oid FROM pg_catalog.pg_largeobject_metadata WHERE oid >= {first} AND oid <= {last} ORDER BY oid \
         ) m CROSS JOIN LATERAL ( \
             WITH RECURSIVE piece(place, bytes) AS ( \
                 SELECT 0::bigint, pg_catalog.lo_get(m.oid, 0, {PIECE}) \
                 UNION ALL SELECT place + {PIECE}, pg_catalog.lo_get(m.oid, place + {PIECE}, {PIECE}) FROM piece \
                 WHERE pg_catalog.length(bytes) = {PIECE} \
             ) SELECT place, bytes FROM piece WHERE pg_catalog.length(bytes) > 0 \
         ) p) TO STDOUT"
    )
}

impl LargeObjectWork {
    /// Plans the reading of the large objects of a database; `None` if it has none.
    pub(crate) async fn plan(session: &Session, outlet: &Outlet) -> Result<Option<Self>> {
        let found = catalog::large_objects(session).await?;
        refuse_unreadable(&found)?;
        if found.oids.is_empty() {
            return Ok(None);
        }
        let mut ranges: Vec<u32> = found.oids.iter().map(|oid| oid >> OIDS_BITS).collect();
        ranges.dedup();
        let sql = "SELECT pg_catalog.pg_relation_size('pg_catalog.pg_largeobject')";
        let bytes: i64 = session.row("measuring large objects", sql, &[]).await?.get(0);
        let object = outlet.object(kind::LARGE_OBJECTS, "large objects");
        Ok(Some(Self { object, ranges, bytes: u64::try_from(bytes).unwrap_or_default() }))
    }

    pub(crate) fn parts(&self) -> u32 {
        u32::try_from(self.ranges.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn item(&self, part: u32) -> Item {
        let range = self.ranges.get(part as usize).copied().unwrap_or_default();
        let first = range << OIDS_BITS;
        let last = first | ((1 << OIDS_BITS) - 1);
        let pages = Some((u64::from(first), u64::from(last) + 1));
        Item { sql: copy_statement(first, last), object: Arc::clone(&self.object), pages }
    }
}

/// A large object that we may not read would be missing from the backup.
pub(crate) fn refuse_unreadable(found: &LargeObjects) -> Result<()> {
    match found.unreadable.as_slice() {
        [] => Ok(()),
        [first, others @ ..] => {
            let more = if others.is_empty() { String::new() } else { format!(" and {} others", others.len()) };
            Err(Error::refused(format!("reading large objects: no privilege on large object {first}{more}"))
                .hint("back up as their owner or a superuser, or GRANT SELECT ON LARGE OBJECT"))
        }
    }
}
