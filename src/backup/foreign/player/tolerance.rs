//! The few errors of a dump's statements that change nothing in a new database. Every other one ends the restore.

use tokio_postgres::error::SqlState;

/// Why this error of this statement does no harm; `None` if it may.
pub(super) fn harmless(statement: &str, code: &SqlState) -> Option<&'static str> {
    let begins = |head: &str| statement.get(..head.len()).is_some_and(|start| start.eq_ignore_ascii_case(head));
    let absent = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_OBJECT,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::UNDEFINED_COLUMN,
        SqlState::INVALID_SCHEMA_NAME,
    ];
    if (begins("DROP ") || begins("SELECT pg_catalog.lo_unlink(") || begins("ALTER ") && drops(statement))
        && absent.contains(code)
    {
        return Some("what it drops is not in a new database");
    }
    if begins("SET ") && *code == SqlState::UNDEFINED_OBJECT && is_no_timeout(statement) {
        return Some("this server does not know this timeout, so it has none");
    }
    if begins("CREATE SCHEMA public;") && *code == SqlState::DUPLICATE_SCHEMA {
        return Some("a new database has this schema");
    }
    if begins("COMMENT ON EXTENSION ") && *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return Some("only a comment, on an extension that belongs to somebody else");
    }
    None
}

/// `ALTER TABLE … DROP CONSTRAINT …;`, as `pg_dump --clean` writes it.
fn drops(statement: &str) -> bool {
    const LONGEST: usize = 1000;
    statement.len() < LONGEST && (statement.contains(" DROP CONSTRAINT ") || statement.contains(" DROP DEFAULT;"))
}

/// `SET some_timeout = 0;`
fn is_no_timeout(statement: &str) -> bool {
    statement.split_whitespace().nth(1).is_some_and(|name| name.ends_with("_timeout")) && statement.ends_with("= 0;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_nothing_in_a_new_database_is_harmless() {
        let yes = [
            ("DROP TABLE public.t;", SqlState::UNDEFINED_TABLE),
            ("ALTER TABLE ONLY public.t DROP CONSTRAINT t_pkey;", SqlState::UNDEFINED_TABLE),
            ("SET transaction_timeout = 0;", SqlState::UNDEFINED_OBJECT),
            ("CREATE SCHEMA public;", SqlState::DUPLICATE_SCHEMA),
            ("COMMENT ON EXTENSION plpgsql IS 'x';", SqlState::INSUFFICIENT_PRIVILEGE),
        ];
        let no = [
            ("CREATE TABLE public.t ();", SqlState::UNDEFINED_TABLE),
            ("ALTER TABLE public.t OWNER TO shop;", SqlState::UNDEFINED_OBJECT),
            ("DROP TABLE public.t;", SqlState::INSUFFICIENT_PRIVILEGE),
            ("SET default_tablespace = 'fast';", SqlState::UNDEFINED_OBJECT),
            ("SET transaction_timeout = 5;", SqlState::UNDEFINED_OBJECT),
            ("CREATE SCHEMA shop;", SqlState::DUPLICATE_SCHEMA),
            ("COMMENT ON TABLE t IS 'x';", SqlState::INSUFFICIENT_PRIVILEGE),
        ];
        assert!(yes.iter().all(|(statement, code)| harmless(statement, code).is_some()));
        for (statement, code) in no {
            assert_eq!(harmless(statement, &code), None, "{statement}");
        }
    }
}
