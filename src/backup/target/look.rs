//! Looking at the target: does it exist, is it empty, may we.

use super::shape::finishing_of_standing;
use super::{Mode, NAME_BYTES_MAX, Shape, Standing};
use crate::error::{Error, Result};
use crate::postgres::{ConnInfo, Session, catalog, connect};

/// Objects a user made, a few of them by name. What belongs to an extension is not counted, nor what every table brings
/// along: its indexes, its row type and the array of it.
const OBJECTS: &str = "
    WITH spaces AS (
        SELECT oid, nspname FROM pg_catalog.pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    ), objects(class, id, what) AS (
        SELECT 'pg_catalog.pg_class'::regclass, c.oid, nspname || '.' || relname
        FROM pg_catalog.pg_class c JOIN spaces n ON n.oid = relnamespace
        WHERE relkind NOT IN ('i', 'I', 't')
        UNION ALL
        SELECT 'pg_catalog.pg_proc'::regclass, p.oid, nspname || '.' || proname || '()'
        FROM pg_catalog.pg_proc p JOIN spaces n ON n.oid = pronamespace
        UNION ALL
        SELECT 'pg_catalog.pg_type'::regclass, t.oid, nspname || '.' || typname
        FROM pg_catalog.pg_type t JOIN spaces n ON n.oid = typnamespace
        WHERE typrelid = 0 AND typcategory <> 'A'
        UNION ALL
        SELECT 'pg_catalog.pg_namespace'::regclass, oid, 'schema ' || nspname FROM spaces WHERE nspname <> 'public'
        UNION ALL
        SELECT 'pg_catalog.pg_largeobject'::regclass, oid, 'large object ' || oid
        FROM pg_catalog.pg_largeobject_metadata
    )
    SELECT what::text, pg_catalog.count(*) OVER ()
    FROM objects
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend WHERE classid = class AND objid = id AND deptype = 'e')
    ORDER BY class <> 'pg_catalog.pg_class'::regclass, what
    LIMIT 3";

/// Whether the name can be a target at all, and was repeated where it must be.
pub(super) fn name_is_allowed(name: &str, mode: &Mode) -> Result<()> {
    if let Mode::Replace { named } = mode
        && named != name
    {
        return Err(Error::input(format!("--replace names {named:?}, but --into leads to database {name:?}"))
            .hint("both must name the database whose place the restored one takes"));
    }
    if matches!(name, "template0" | "template1") {
        return Err(Error::refused(format!("{name} is PostgreSQL's own")).hint("restore into a database of your own"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::input(format!("the database name {name:?} is longer than {NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Whether the role may create databases.
pub(super) async fn may_create_databases(admin: &Session) -> Result<()> {
    let doing = "looking whether databases may be created";
    if admin.is_standby() {
        return Err(Error::refused("the target server is a standby").hint("restore into a primary"));
    }
    let sql = "SELECT rolcreatedb OR rolsuper, rolname::text FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let row = admin.row(doing, sql, &[]).await?;
    if row.get(0) {
        return Ok(());
    }
    let role: String = row.get(1);
    Err(Error::refused(format!("role {role} may not create databases, and a restore goes into a new one first"))
        .hint(format!("ALTER ROLE {role} CREATEDB, or use another role")))
}

/// What stands under a name.
pub(super) async fn standing(admin: &Session, name: &str) -> Result<Option<Standing>> {
    let Some(shape) = Shape::of(admin, name).await? else { return Ok(None) };
    let sql = "SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE datname = $1::text), \
               CASE WHEN pg_catalog.has_database_privilege($1::text, 'CONNECT') \
               THEN pg_catalog.pg_database_size($1::text::name) ELSE 0 END";
    let row = admin.row(&format!("looking at database {name}"), sql, &[&name]).await?;
    Ok(Some(Standing { shape, sessions: row.get(0), bytes: row.get(1), extensions: Vec::new(), finishing: Vec::new() }))
}

/// What only a session in the database itself can see.
pub(super) async fn inside(conn: &ConnInfo, standing: &mut Standing) -> Result<()> {
    let session = Box::pin(connect(conn, "restore")).await?;
    let facts = catalog::database_facts(&session).await?;
    let extensions = catalog::extensions(&session).await?;
    session.close().await;
    standing.finishing = finishing_of_standing(&facts);
    standing.extensions = extensions.into_iter().map(|found| found.name).filter(|name| name != "plpgsql").collect();
    Ok(())
}

/// Refuses a database in which somebody made anything.
pub(super) async fn must_be_empty(conn: &ConnInfo) -> Result<()> {
    let session = Box::pin(connect(conn, "restore")).await?;
    let name = conn.database();
    let rows = session.rows(&format!("looking what is in database {name}"), OBJECTS, &[]).await?;
    session.close().await;
    let Some(first) = rows.first() else { return Ok(()) };
    let count: i64 = first.get(1);
    let named: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let more = if count > 3 { format!(" and {} more", count - 3) } else { String::new() };
    Err(Error::refused(format!("database {name} is not empty: {}{more}", named.join(", ")))
        .hint(format!("restore into a new database with --create, or replace this one with --replace {name}")))
}
