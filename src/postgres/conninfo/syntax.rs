//! The two ways to write a connection: `postgres://…` and `key=value …`, read as libpq reads them.
//!
//! No message repeats the text it complains about: a mistyped URL is where passwords leak.

use super::parameters;
use crate::error::{Error, Result};

/// What was written, in order; a later mention of a key wins.
pub(super) type Pairs = Vec<(String, String)>;

const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];
const HOW_TO_WRITE: &str =
    "write postgres://user@host:5432/database, or key=value pairs such as \"host=db dbname=shop\"";
const ENCODE: &str =
    "characters such as / @ : # ? % in a user name or password must be percent-encoded (@ is %40, / is %2F)";

/// Splits a connection text into its parameters.
pub(super) fn pairs(text: &str) -> Result<Pairs> {
    let text = text.trim();
    if let Some(rest) = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        return url(rest);
    }
    if let Some((scheme, _)) = text.split_once("://").filter(|(before, _)| !before.contains(['=', ' '])) {
        return Err(wrong_scheme(scheme));
    }
    if text.is_empty() || text.contains('=') {
        return key_values(text);
    }
    Err(Error::input("reading the database connection: this is neither a postgres:// URL nor key=value pairs")
        .hint(HOW_TO_WRITE))
}

fn wrong_scheme(scheme: &str) -> Error {
    let error = |hint: String| {
        // Whoever forgets the scheme may have a password before the first "://"; a scheme is short and plain.
        let plain = scheme.len() <= 24 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.:".contains(c));
        let shown = if plain { scheme } else { "…" };
        Error::input(format!("reading the database URL: the scheme {shown}:// is not PostgreSQL's")).hint(hint)
    };
    let lower = scheme.to_ascii_lowercase();
    if lower.starts_with("jdbc:") {
        return error("leave out jdbc: and give the user before the host: postgres://user@host/database".into());
    }
    if lower.starts_with("postgres") && lower.contains('+') {
        return error("leave out the driver: postgres://…".into());
    }
    if strsim::damerau_levenshtein(&lower, "postgres") <= 3 || strsim::damerau_levenshtein(&lower, "postgresql") <= 3 {
        return error("did you mean postgres://…?".into());
    }
    error(HOW_TO_WRITE.into())
}

fn url(rest: &str) -> Result<Pairs> {
    let mut pairs = Pairs::new();
    // As libpq: credentials end at the first @ before any slash, so a ? in a password does no harm.
    let head = rest.split_once('/').map_or(rest, |(head, _)| head);
    let rest = match head.split_once('@') {
        Some((credentials, _)) => {
            let (user, password) = credentials.split_once(':').map_or((credentials, None), |(u, p)| (u, Some(p)));
            push_part(&mut pairs, "user", user)?;
            push_part(&mut pairs, "password", password.unwrap_or_default())?;
            rest.get(credentials.len() + 1..).unwrap_or_default()
        }
        None => rest,
    };
    let (before_query, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
    let (hosts, database) = before_query.split_once('/').map_or((before_query, None), |(a, b)| (a, Some(b)));
    if hosts.contains('@') || database.is_some_and(|name| name.contains('@')) {
        return Err(Error::input("reading the database URL: there is an @ where none belongs").hint(ENCODE));
    }
    let (names, ports) = host_list(hosts)?;
    if !names.iter().all(String::is_empty) {
        pairs.push(("host".into(), names.join(",")));
    }
    if !ports.iter().all(String::is_empty) {
        pairs.push(("port".into(), ports.join(",")));
    }
    push_part(&mut pairs, "dbname", database.unwrap_or_default())?;
    if let Some(query) = query {
        pairs.extend(query_parameters(query)?);
    }
    Ok(pairs)
}

fn push_part(pairs: &mut Pairs, key: &str, encoded: &str) -> Result<()> {
    if !encoded.is_empty() {
        pairs.push((key.into(), percent_decode(encoded, key)?));
    }
    Ok(())
}

/// `a:1,[::1]:2,c` as names and ports.
fn host_list(text: &str) -> Result<(Vec<String>, Vec<String>)> {
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for item in text.split(',') {
        let (name, port) = if let Some(inside) = item.strip_prefix('[') {
            let (address, after) = inside.split_once(']').ok_or_else(|| {
                Error::input("reading the database URL: an IPv6 address is not closed")
                    .hint("write it as [::1], with the port after the bracket")
            })?;
            let port = match after.strip_prefix(':') {
                Some(port) => port,
                None if after.is_empty() => "",
                None => {
                    return Err(Error::input("reading the database URL: unexpected text after an IPv6 address"));
                }
            };
            (address, port)
        } else {
            item.split_once(':').unwrap_or((item, ""))
        };
        names.push(percent_decode(name, "host")?);
        let port = percent_decode(port, "port")?;
        if !port.is_empty() && port.parse::<u16>().is_err() {
            return Err(Error::input("reading the database URL: the port is not a number up to 65535").hint(ENCODE));
        }
        ports.push(port);
    }
    Ok((names, ports))
}

fn query_parameters(query: &str) -> Result<Pairs> {
    let mut pairs = Pairs::new();
    for item in query.split('&').filter(|item| !item.is_empty()) {
        let Some((key, value)) = item.split_once('=') else {
            return Err(Error::input("reading the database URL: a parameter after ? has no value").hint(ENCODE));
        };
        let key = percent_decode(key, "a parameter's name")?;
        // What stands for a name may be a piece of a password: only a known one is repeated.
        let shown = if parameters::known(&key).is_ok() { key.as_str() } else { "a parameter" };
        let value = percent_decode(value, shown)?;
        // What JDBC writes and libpq accepts.
        if key == "ssl" && value == "true" {
            pairs.push(("sslmode".into(), "require".into()));
            continue;
        }
        parameters::known(&key)?;
        pairs.push((key, value));
    }
    Ok(pairs)
}

fn percent_decode(text: &str, what: &str) -> Result<String> {
    let broken = || {
        Error::input(format!("reading the database URL: {what} holds a % that is not followed by two hex digits"))
            .hint("a % itself is written %25")
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok()).ok_or_else(broken)?;
        let byte = u8::from_str_radix(digits, 16).map_err(|_| broken())?;
        if byte == 0 || digits.starts_with('+') {
            return Err(broken());
        }
        bytes.push(byte);
        rest = tail.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| Error::input(format!("reading the database URL: {what} is not UTF-8")))
}

/// `key = value` pairs; values may be quoted, a backslash makes the next character plain.
fn key_values(text: &str) -> Result<Pairs> {
    let mut pairs = Pairs::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(Error::input("reading the database connection: a word is not followed by =")
                .hint("a value with spaces is written in single quotes; \\' is a quote inside it"));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let value = value(&mut chars)?;
        parameters::known(&key)?;
        pairs.push((key, value));
    }
}

fn value(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String> {
    let quoted = chars.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match chars.next() {
            None if quoted => {
                return Err(Error::input("reading the database connection: a quoted value is not closed"));
            }
            Some('\'') if quoted => return Ok(value),
            Some('\\') => value.extend(chars.next()),
            Some(c) if !quoted && c.is_whitespace() => return Ok(value),
            None => return Ok(value),
            Some(c) => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        pairs(text).unwrap()
    }

    fn expect(text: &str, wanted: &[(&str, &str)]) {
        let wanted: Vec<_> = wanted.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(read(text), wanted, "{text}");
    }

    #[test]
    fn urls_are_split_as_libpq_splits_them() {
        expect("postgres://", &[]);
        expect("postgresql://localhost", &[("host", "localhost")]);
        expect(
            "postgres://me:p%40ss%2Fword@db.example:5433/shop?sslmode=require",
            &[
                ("user", "me"),
                ("password", "p@ss/word"),
                ("host", "db.example"),
                ("port", "5433"),
                ("dbname", "shop"),
                ("sslmode", "require"),
            ],
        );
        expect("postgres://[2001:db8::1]:7/x", &[("host", "2001:db8::1"), ("port", "7"), ("dbname", "x")]);
        expect("postgres://a:1,b/x", &[("host", "a,b"), ("port", "1,"), ("dbname", "x")]);
        expect("postgres:///x?host=/run/pg&port=6", &[("dbname", "x"), ("host", "/run/pg"), ("port", "6")]);
        expect("postgres://%2Frun%2Fpg/x", &[("host", "/run/pg"), ("dbname", "x")]);
        expect("postgres://h/x?ssl=true", &[("host", "h"), ("dbname", "x"), ("sslmode", "require")]);
    }

    #[test]
    fn key_value_pairs_may_be_quoted_and_escaped() {
        expect(
            "host=db  dbname = 'my shop' password='it\\'s \\\\'",
            &[("host", "db"), ("dbname", "my shop"), ("password", "it's \\")],
        );
        expect("password=a\\ b user=''", &[("password", "a b"), ("user", "")]);
    }

    #[test]
    fn a_broken_url_is_explained_without_showing_a_password() {
        for text in [
            "postgre://me:hunter2@db/x",
            "jdbc:postgresql://db/x?password=hunter2",
            "postgresql+psycopg2://me:hunter2@db/x",
            "me:hunter2@db://x",
            "postgres://me:hunter2/@db/x",
            "postgres://me:hun@ter2@db/x",
            "postgres://me:hunter2%@db/x",
            "postgres://db/x?password=hunter2&sslmod=require",
            "postgres://[::1/hunter2",
            "hunter2",
            "host=db password='hunter2",
            "host=db hunter2",
        ] {
            let error = pairs(text).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Input, "{text}");
            assert!(!format!("{error:?}").contains("ter2"), "{text}: {error:?}");
        }
    }

    #[test]
    fn near_misses_are_named() {
        assert_eq!(pairs("postgre://h").unwrap_err().hint_text(), Some("did you mean postgres://…?"));
        let error = pairs("postgres://h/x?sslmod=require").unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean sslmode?"));
    }
}
