//! Statements as a restore wants them: without owners, privileges or tablespaces, or with other roles.

use crate::backup::restore::{Adjust, with_roles};
use crate::postgres::script::words::words;

/// What becomes of a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Adjusted {
    /// It is sent as it is.
    Same,
    /// This is sent in its place.
    Changed(String),
    /// It is left out.
    LeftOut,
}

/// Whether `adjust` changes anything at all.
pub(super) fn is_needed(adjust: &Adjust) -> bool {
    *adjust != Adjust::default()
}

/// One statement of a dump, as `adjust` wants it. `pg_dump` gives owners, privileges and tablespaces in statements of
/// their own, so whole statements can be left out.
pub(super) fn adjusted(adjust: &Adjust, statement: &str) -> Adjusted {
    let begins = |head: &str| statement.get(..head.len()).is_some_and(|start| start.eq_ignore_ascii_case(head));
    let privileges = begins("GRANT ") || begins("REVOKE ") || begins("ALTER DEFAULT PRIVILEGES ");
    let authorization = begins("SET SESSION AUTHORIZATION ") || begins("RESET SESSION AUTHORIZATION");
    if adjust.no_privileges && (privileges || authorization) {
        return Adjusted::LeftOut;
    }
    if adjust.no_owner && (authorization || begins("ALTER ") && gives_an_owner(statement)) {
        return Adjusted::LeftOut;
    }
    if adjust.no_tablespaces && begins("SET default_tablespace = ") {
        return Adjusted::Changed("SET default_tablespace = '';".to_owned());
    }
    if adjust.role_map.is_empty() || begins("INSERT ") {
        return Adjusted::Same;
    }
    let changed = with_roles(statement, &adjust.role_map);
    if changed == statement { Adjusted::Same } else { Adjusted::Changed(changed) }
}

/// `ALTER … OWNER TO role;`, where the role is the last word.
fn gives_an_owner(statement: &str) -> bool {
    let mut words = words(statement);
    if words.last().is_some_and(|word| word.is_sign(";")) {
        words.pop();
    }
    matches!(words.as_slice(), [.., owner, to, role] if owner.is("OWNER") && to.is("TO") && role.name().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_privileges_and_tablespaces_go_and_nothing_else() {
        let nothing = Adjust { no_owner: true, no_privileges: true, no_tablespaces: true, ..Adjust::default() };
        for gone in [
            "ALTER TABLE public.t OWNER TO shop;",
            "ALTER FUNCTION public.f(a integer) OWNER TO \"Odd \"\" Role; OWNER TO x\";",
            "ALTER LARGE OBJECT 7 OWNER TO shop;",
            "GRANT SELECT ON TABLE public.t TO shop;",
            "REVOKE ALL ON SCHEMA public FROM PUBLIC;",
            "ALTER DEFAULT PRIVILEGES FOR ROLE shop GRANT SELECT ON TABLES TO app;",
            "SET SESSION AUTHORIZATION shop;",
            "RESET SESSION AUTHORIZATION;",
        ] {
            assert_eq!(adjusted(&nothing, gone), Adjusted::LeftOut, "{gone}");
        }
        for stays in [
            "COMMENT ON TABLE t IS 'ALTER TABLE t OWNER TO shop;';",
            "ALTER TABLE t ADD CONSTRAINT c CHECK ((x <> ' OWNER TO x'::text));",
            "CREATE TABLE t (a int);",
        ] {
            assert_eq!(adjusted(&nothing, stays), Adjusted::Same, "{stays}");
        }
        let changed = adjusted(&nothing, "SET default_tablespace = fast;");
        assert_eq!(changed, Adjusted::Changed("SET default_tablespace = '';".into()));
    }

    #[test]
    fn a_role_is_replaced_where_it_is_a_role() {
        let mut mapping = Adjust::default();
        mapping.map_role("shop=new shop").unwrap();
        let owner = adjusted(&mapping, "ALTER TABLE public.shop OWNER TO shop;");
        assert_eq!(owner, Adjusted::Changed("ALTER TABLE public.shop OWNER TO \"new shop\";".into()));
        assert_eq!(adjusted(&mapping, "CREATE TABLE shop (shop int);"), Adjusted::Same);
        assert!(!is_needed(&Adjust::default()) && is_needed(&mapping));
    }
}
