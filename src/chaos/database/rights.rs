//! What the login of a fault must be allowed in the database: asked before anything is touched, so that a fault does not
//! fail halfway for want of a right.

use super::table;
use crate::chaos::guard::{Finding, GuardName};
use crate::error::Result;
use crate::postgres::Session;
use crate::postgres::quote::{ident, literal};

/// Sessions in the view `a` that this login may not end: those of superusers, and those of roles that it is no member of.
const NOT_OURS: &str = "NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = current_user AND rolsuper) \
                        AND EXISTS (SELECT 1 FROM pg_catalog.pg_roles u WHERE u.oid = a.usesysid \
                            AND (u.rolsuper OR NOT pg_catalog.pg_has_role(u.oid, 'USAGE') \
                                 AND NOT pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')))";

/// One right.
pub(super) struct Right {
    /// An expression that is true for whoever has it.
    has: String,
    /// What it allows: `lock public.orders`.
    allows: String,
    /// How it is given.
    given: String,
}

/// To lock a table in any mode that keeps others out, and to ask for it as they do.
pub(super) async fn lock(session: &Session, name: &str) -> Result<Right> {
    // One of the three is enough for a lock; the proof asks for the table as a reader does.
    on_table(session, name, "UPDATE, DELETE, TRUNCATE", ("lock", "UPDATE")).await
}

/// To delete rows of a table, and to count them.
pub(super) async fn delete(session: &Session, name: &str) -> Result<Right> {
    on_table(session, name, "DELETE", ("delete rows of", "DELETE")).await
}

/// To do something with a table for which one of these is needed, and to read it.
async fn on_table(session: &Session, name: &str, one_of: &str, (does, given): (&str, &str)) -> Result<Right> {
    let table = table::find(session, name).await?;
    let may = |what: &str| format!("pg_catalog.has_table_privilege({}, '{what}')", table.oid);
    Ok(Right {
        has: format!("{} AND {}", may(one_of), may("SELECT")),
        allows: format!("{does} {}", table.quoted),
        given: format!("GRANT SELECT, {given} ON {} TO {}", table.quoted, who(session)),
    })
}

/// To drop a table.
pub(super) async fn drop_table(session: &Session, name: &str) -> Result<Right> {
    let table = table::find(session, name).await?;
    Ok(Right {
        has: format!(
            "(SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') OR pg_catalog.pg_has_role(n.nspowner, 'USAGE') \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {})",
            table.oid
        ),
        allows: format!("drop {}", table.quoted),
        given: format!("log in as its owner, or as a member of that role, not as {}", who(session)),
    })
}

/// To change what the database says of itself.
pub(super) fn own_database(session: &Session) -> Right {
    let database = session.conn().database();
    Right {
        has: format!(
            "(SELECT pg_catalog.pg_has_role(datdba, 'USAGE') FROM pg_catalog.pg_database WHERE datname = {})",
            literal(database)
        ),
        allows: format!("change settings of the database {database}"),
        given: format!("ALTER DATABASE {} OWNER TO {}, or log in as its owner", ident(database), who(session)),
    }
}

/// To call a function of the server.
pub(super) fn call(session: &Session, signature: &str) -> Right {
    let name = signature.split('(').next().unwrap_or(signature);
    Right {
        has: format!("pg_catalog.has_function_privilege({}, 'EXECUTE')", literal(&format!("pg_catalog.{signature}"))),
        allows: format!("call {name}"),
        given: format!("GRANT EXECUTE ON FUNCTION pg_catalog.{signature} TO {}, on the primary", who(session)),
    }
}

/// To see whose sessions there are: what others do is shown to few.
pub(super) fn see_sessions(session: &Session) -> Right {
    Right {
        has: "pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')".to_owned(),
        allows: "see the sessions of other roles".to_owned(),
        given: format!("GRANT pg_read_all_stats TO {}", who(session)),
    }
}

/// To end sessions: those that the condition on `pg_stat_activity a` is true for.
pub(super) fn end_sessions(session: &Session, condition: &str) -> Right {
    Right {
        has: format!("NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a WHERE {condition} AND {NOT_OURS})"),
        allows: "end all of these sessions".to_owned(),
        given: format!(
            "GRANT pg_signal_backend TO {}; sessions of superusers are ended by superusers alone",
            who(session)
        ),
    }
}

/// Everything.
pub(super) fn superuser() -> Right {
    Right {
        has: "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)".to_owned(),
        allows: "do what only a superuser may".to_owned(),
        given: "log in as a superuser".to_owned(),
    }
}

/// Asks the server for all of them.
pub(super) async fn ask(session: &Session, rights: &[Right]) -> Result<Finding> {
    let mut missing = Vec::new();
    for Right { has, allows, given } in rights {
        let sql = format!("SELECT coalesce({has}, false)");
        if !session.row("asking what the login may do", &sql, &[]).await?.get::<_, bool>(0) {
            missing.push(format!("{allows} ({given})"));
        }
    }
    let who = who(session);
    Ok(if missing.is_empty() {
        Finding::yes(GuardName::Permission, format!("{who} may do in the database what the fault and its undo take"))
    } else {
        Finding::no(GuardName::Permission, format!("{who} may not {}", missing.join(", nor ")))
    })
}

/// The role, as SQL writes it.
fn who(session: &Session) -> String {
    ident(session.conn().user())
}
