//! Which roles a definition names, and the same definition with other roles: `--role-map a=b`.
//!
//! `pg_restore` cannot do it. Only statements in which a role can stand are looked at, and only at the places where
//! it can stand, so that a table called like a role keeps its name.

use crate::postgres::quote;
use crate::postgres::script::words::{Kind, Word, words};
use std::collections::{BTreeMap, BTreeSet};

/// Words that stand where a role does and are none.
const NO_ROLES: [&str; 5] = ["PUBLIC", "CURRENT_USER", "CURRENT_ROLE", "SESSION_USER", "DEFAULT"];

/// The roles that `statement` names.
pub(in crate::backup::restore) fn named(statement: &str) -> BTreeSet<String> {
    places(statement).into_iter().filter_map(|word| word.name()).collect()
}

/// `statement` with the roles replaced as `map` says.
pub(in crate::backup::restore) fn mapped(statement: &str, map: &BTreeMap<String, String>) -> String {
    let mut text = String::with_capacity(statement.len());
    let mut done = 0;
    for word in places(statement) {
        if let Some(other) = word.name().and_then(|name| map.get(&name)) {
            text.push_str(&statement[done..word.start]);
            text.push_str(&quote::ident(other));
            done = word.end();
        }
    }
    text.push_str(&statement[done..]);
    text
}

/// The words of `statement` that are names of roles, in order.
fn places(statement: &str) -> Vec<Word<'_>> {
    let words = words(statement);
    let Some(first) = words.first() else { return Vec::new() };
    let second_is = |keyword| words.get(1).is_some_and(|word| word.is(keyword));
    if first.is("GRANT") || first.is("REVOKE") {
        grant(&words)
    } else if first.is("ALTER") && second_is("DEFAULT") {
        let mut found = after_phrase(&words, &["FOR", "ROLE"]);
        found.extend(grant(&words));
        found
    } else if first.is("ALTER") && (second_is("ROLE") || second_is("USER")) || first.is("CREATE") && second_is("ROLE") {
        list(&words[2..])
    } else if first.is("ALTER") {
        owner(&words)
    } else if first.is("SET") && second_is("SESSION") {
        after_phrase(&words, &["SESSION", "AUTHORIZATION"])
    } else if first.is("CREATE") && second_is("POLICY") {
        policy(&words)
    } else if second_is("USER") && words.get(2).is_some_and(|word| word.is("MAPPING")) {
        after_phrase(&words, &["FOR"])
    } else {
        Vec::new()
    }
}

/// Grantees, and the grantor where it is named.
fn grant<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    // The last TO or FROM outside of parentheses: object names before it could be spelt like keywords only in quotes.
    let of_grantees = words.iter().rposition(|word| word.is("TO") || word.is("FROM"));
    let mut found = of_grantees.map_or(Vec::new(), |place| list(&words[place + 1..]));
    found.extend(after_phrase(words, &["GRANTED", "BY"]));
    let of_role = words.iter().any(|word| word.is("ON") || word.is("PRIVILEGES"));
    if !of_role {
        // GRANT a, b TO c: the granted ones are roles, too.
        found.extend(list(&words[1..]));
        found.sort_by_key(|word| word.start);
    }
    found
}

/// The new owner of `ALTER … OWNER TO role`, if it is one.
fn owner<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    let place = words.windows(2).rposition(|pair| pair[0].is("OWNER") && pair[1].is("TO"));
    place.map_or(Vec::new(), |place| list(&words[place + 2..]))
}

/// The roles of `CREATE POLICY … TO a, b USING (…)`.
fn policy<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    let end = words.iter().position(|word| word.is("USING") || word.is("WITH")).unwrap_or(words.len());
    let place = words[..end].iter().rposition(|word| word.is("TO"));
    place.map_or(Vec::new(), |place| list(&words[place + 1..]))
}

/// The roles that follow `phrase`.
fn after_phrase<'a>(words: &[Word<'a>], phrase: &[&str]) -> Vec<Word<'a>> {
    let matches = |window: &[Word<'_>]| window.iter().zip(phrase).all(|(word, keyword)| word.is(keyword));
    let place = words.windows(phrase.len()).position(matches);
    place.map_or(Vec::new(), |place| list(&words[place + phrase.len()..]))
}

/// Names joined by commas at the beginning of `words`.
fn list<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    let mut found = Vec::new();
    for pair in words.chunks(2) {
        let name = pair[0];
        let is_role = match name.kind {
            Kind::Quoted => true,
            Kind::Bare => !NO_ROLES.iter().any(|word| name.is(word)),
            _ => return found,
        };
        if is_role {
            found.push(name);
        }
        if !pair.get(1).is_some_and(|word| word.is_sign(",")) {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_map(statement: &str) -> String {
        let map = [("app", "new app"), ("ops", "ops2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        mapped(statement, &map.into_iter().collect())
    }

    #[test]
    fn each_place_where_a_role_stands_is_replaced() {
        let table = [
            ("ALTER TABLE public.app OWNER TO app;", "ALTER TABLE public.app OWNER TO \"new app\";"),
            (
                "GRANT SELECT ON TABLE public.app TO app WITH GRANT OPTION;",
                "GRANT SELECT ON TABLE public.app TO \"new app\" WITH GRANT OPTION;",
            ),
            (
                "REVOKE ALL ON FUNCTION public.f(app integer) FROM PUBLIC;",
                "REVOKE ALL ON FUNCTION public.f(app integer) FROM PUBLIC;",
            ),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA app GRANT SELECT ON TABLES  TO ops;",
                "ALTER DEFAULT PRIVILEGES FOR ROLE \"new app\" IN SCHEMA app GRANT SELECT ON TABLES  TO \"ops2\";",
            ),
            ("SET SESSION AUTHORIZATION ops;", "SET SESSION AUTHORIZATION \"ops2\";"),
            (
                "CREATE POLICY p ON public.app FOR SELECT TO app, ops USING ((a = ' TO app'::text));",
                "CREATE POLICY p ON public.app FOR SELECT TO \"new app\", \"ops2\" USING ((a = ' TO app'::text));",
            ),
            (
                "CREATE USER MAPPING FOR app SERVER app OPTIONS (secret 'app');",
                "CREATE USER MAPPING FOR \"new app\" SERVER app OPTIONS (secret 'app');",
            ),
            (
                "ALTER ROLE app IN DATABASE app SET search_path TO 'app';",
                "ALTER ROLE \"new app\" IN DATABASE app SET search_path TO 'app';",
            ),
            ("GRANT app TO ops GRANTED BY app;", "GRANT \"new app\" TO \"ops2\" GRANTED BY \"new app\";"),
            ("CREATE TABLE app (app app);", "CREATE TABLE app (app app);"),
        ];
        for (before, after) in table {
            assert_eq!(with_map(before), after);
        }
    }

    #[test]
    fn the_roles_a_statement_needs_are_named_once_and_public_is_none() {
        let roles = named("GRANT SELECT ON TABLE t TO app, \"Odd \"\"One\"\"\", PUBLIC GRANTED BY app;");
        assert_eq!(roles.into_iter().collect::<Vec<_>>(), ["Odd \"One\"", "app"]);
        assert!(named("CREATE POLICY p ON t TO PUBLIC USING (true);").is_empty());
    }
}
