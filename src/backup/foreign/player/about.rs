//! Statements that are about a whole database. A dump names the database it was made of; what is restored has another
//! name until the swap, and a database of the old name may well be alive on the same server. So these statements are
//! never sent as they are.

use crate::backup::target::Shape;
use crate::postgres::script::words::{Word, words};

/// What a statement does to a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    /// Creates it like this.
    Create(Box<Shape>),
    /// Gives it an owner.
    Owner(String),
    /// Anything that can be done at the swap; `%DATABASE%` stands for the name.
    Finish(String),
    /// Drops it.
    Drop,
}

/// The database a statement is about, and what it does; `None` for all other statements.
pub(super) fn database(statement: &str) -> Option<(String, About)> {
    const FIRST: [&str; 7] = ["ALTER", "COMMENT", "CREATE", "DROP", "GRANT", "REVOKE", "SECURITY"];
    let first = statement.split(|letter: char| !letter.is_ascii_alphabetic()).next()?;
    // Nearly all statements end here, before anything is allocated.
    if !FIRST.iter().any(|word| first.eq_ignore_ascii_case(word)) || !mentions_database(statement) {
        return None;
    }
    let words = words(statement);
    let is = |place: usize, keyword: &str| words.get(place).is_some_and(|word| word.is(keyword));
    match () {
        () if is(0, "CREATE") && is(1, "DATABASE") => {
            Some((words.get(2)?.name()?, About::Create(Box::new(shape(&words[3..])))))
        }
        () if is(0, "DROP") && is(1, "DATABASE") => {
            let place = if is(2, "IF") { 4 } else { 2 };
            Some((words.get(place)?.name()?, About::Drop))
        }
        () if is(0, "ALTER") && is(1, "DATABASE") && is(3, "OWNER") && is(4, "TO") => {
            Some((words.get(2)?.name()?, About::Owner(words.get(5)?.name()?)))
        }
        () if is(0, "ALTER") && is(1, "DATABASE") => finish(statement, words.get(2)?),
        () if is(0, "COMMENT") && is(1, "ON") && is(2, "DATABASE") => finish(statement, words.get(3)?),
        () if is(0, "ALTER") && is(1, "ROLE") && is(3, "IN") && is(4, "DATABASE") => finish(statement, words.get(5)?),
        () if is(0, "GRANT") || is(0, "REVOKE") || is(0, "SECURITY") => {
            let place = words.windows(2).position(|pair| pair[0].is("ON") && pair[1].is("DATABASE"))?;
            finish(statement, words.get(place + 2)?)
        }
        () => None,
    }
}

fn mentions_database(statement: &str) -> bool {
    const WORD: &[u8] = b"DATABASE";
    statement.as_bytes().windows(WORD.len()).any(|part| part.eq_ignore_ascii_case(WORD))
}

fn finish(statement: &str, name: &Word<'_>) -> Option<(String, About)> {
    let with_place = format!("{}%DATABASE%{}", &statement[..name.start], &statement[name.end()..]);
    Some((name.name()?, About::Finish(with_place)))
}

/// The options of `CREATE DATABASE`: a keyword, perhaps `=`, a value.
fn shape(options: &[Word<'_>]) -> Shape {
    let mut shape = Shape::default();
    let options: Vec<&Word<'_>> = options.iter().filter(|word| !word.is_sign("=") && !word.is("WITH")).collect();
    for pair in options.windows(2) {
        let value = || Some(value(pair[1]));
        match pair[0].text.to_ascii_uppercase().as_str() {
            "OWNER" => shape.owner = pair[1].name(),
            "ENCODING" => shape.encoding = value(),
            "LOCALE" => (shape.collate, shape.ctype) = (value(), value()),
            "LC_COLLATE" => shape.collate = value(),
            "LC_CTYPE" => shape.ctype = value(),
            "LOCALE_PROVIDER" => shape.locale_provider = pair[1].name(),
            "ICU_LOCALE" | "BUILTIN_LOCALE" => shape.provider_locale = value(),
            "ICU_RULES" => shape.icu_rules = value(),
            "TABLESPACE" => shape.tablespace = pair[1].name(),
            _ => {}
        }
    }
    shape
}

fn value(word: &Word<'_>) -> String {
    let text = word.text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    text.map_or_else(|| word.text.to_owned(), |text| text.replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finishing(statement: &str) -> Option<(String, String)> {
        match database(statement)? {
            (name, About::Finish(text)) => Some((name, text)),
            _ => None,
        }
    }

    #[test]
    fn every_statement_about_a_database_is_told_and_its_name_made_a_place() {
        for (statement, with_place) in [
            ("ALTER DATABASE \"o d\" SET work_mem TO '5MB';", "ALTER DATABASE %DATABASE% SET work_mem TO '5MB';"),
            ("COMMENT ON DATABASE \"o d\" IS 'ON DATABASE x';", "COMMENT ON DATABASE %DATABASE% IS 'ON DATABASE x';"),
            ("GRANT ALL ON DATABASE \"o d\" TO app;", "GRANT ALL ON DATABASE %DATABASE% TO app;"),
            (
                "REVOKE CONNECT,TEMPORARY ON DATABASE \"o d\" FROM PUBLIC;",
                "REVOKE CONNECT,TEMPORARY ON DATABASE %DATABASE% FROM PUBLIC;",
            ),
            ("ALTER ROLE app IN DATABASE \"o d\" SET x TO 'y';", "ALTER ROLE app IN DATABASE %DATABASE% SET x TO 'y';"),
            ("SECURITY LABEL FOR p ON DATABASE \"o d\" IS 'l';", "SECURITY LABEL FOR p ON DATABASE %DATABASE% IS 'l';"),
        ] {
            assert_eq!(finishing(statement), Some(("o d".to_owned(), with_place.to_owned())));
        }
        assert_eq!(database("ALTER DATABASE odd OWNER TO \"Ü\";"), Some(("odd".into(), About::Owner("Ü".into()))));
        assert_eq!(database("DROP DATABASE IF EXISTS odd;"), Some(("odd".into(), About::Drop)));
    }

    #[test]
    fn other_statements_are_left_alone() {
        for statement in [
            "COMMENT ON TABLE t IS 'ON DATABASE x';",
            "GRANT SELECT ON TABLE database TO app;",
            "CREATE TABLE database (a int);",
            "ALTER ROLE app SET database TO 'x';",
            "INSERT INTO t VALUES ('DROP DATABASE x');",
        ] {
            assert_eq!(database(statement), None, "{statement}");
        }
    }

    #[test]
    fn a_database_is_created_as_it_was() {
        let read = |statement: &str| match database(statement) {
            Some((_, About::Create(shape))) => *shape,
            other => panic!("{other:?}"),
        };
        let shape = read(
            "CREATE DATABASE odd WITH TEMPLATE = template0 ENCODING = 'LATIN1' LOCALE_PROVIDER = icu LOCALE = 'C.UTF-8' \
             ICU_LOCALE = 'de-AT' ICU_RULES = '&a < ''b' TABLESPACE = \"fast Disk\";",
        );
        assert_eq!((shape.encoding.as_deref(), shape.ctype.as_deref()), (Some("LATIN1"), Some("C.UTF-8")));
        assert_eq!((shape.locale_provider.as_deref(), shape.provider_locale.as_deref()), (Some("icu"), Some("de-AT")));
        assert_eq!((shape.icu_rules.as_deref(), shape.tablespace.as_deref()), (Some("&a < 'b"), Some("fast Disk")));
        let old =
            read("CREATE DATABASE odd WITH TEMPLATE = template0 OWNER = shop ENCODING = 'UTF8' LC_COLLATE = 'C';");
        assert_eq!((old.owner.as_deref(), old.collate.as_deref(), old.ctype), (Some("shop"), Some("C"), None));
    }
}
