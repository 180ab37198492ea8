//! The backslash commands a dump may have; everything else `psql` knows is refused.

use super::{Directive, Fault};

/// Reads one backslash line.
pub(super) fn read(line: &[u8]) -> Result<Directive, Fault> {
    let text = std::str::from_utf8(line).map_err(|_| Fault::Command(shown(line)))?.trim_end();
    let (command, argument) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let argument = argument.trim();
    let odd = || Fault::Directive(format!("cannot read {:?}", shown(line)));
    match command {
        "\\restrict" => key(argument).map(Directive::Restrict).ok_or_else(odd),
        "\\unrestrict" => key(argument).map(Directive::Unrestrict).ok_or_else(odd),
        "\\encoding" => key(argument).map(Directive::Encoding).ok_or_else(odd),
        "\\connect" => database(argument).map(Directive::Connect).ok_or_else(odd),
        _ => Err(Fault::Command(shown(line))),
    }
}

/// The beginning of a line, for a message.
pub(super) fn shown(line: &[u8]) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    String::from_utf8_lossy(line).trim_end().chars().take(SHOWN_CHARS_MAX).collect()
}

fn key(text: &str) -> Option<String> {
    let plain = !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
    plain.then(|| text.to_owned())
}

/// `name`, `"odd name"`, or `-reuse-previous=on "dbname='very odd name'"`.
fn database(text: &str) -> Option<String> {
    match text.strip_prefix("-reuse-previous=on ") {
        Some(rest) => connection_value(quoted(rest.trim())?.strip_prefix("dbname=")?),
        None => quoted(text),
    }
}

/// A word of `psql`: bare, or in double quotes with `""` for a quote.
fn quoted(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else {
        let bare = !text.is_empty() && !text.contains([' ', '\t', '"', '\'', '\\', '`', ':']);
        return bare.then(|| text.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let plain = inner.replace("\"\"", "");
    (!plain.contains('"')).then(|| inner.replace("\"\"", "\""))
}

/// The value in a connection string: bare, or in single quotes with a backslash before quotes and backslashes.
fn connection_value(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('\'') else { return (!text.contains(' ')).then(|| text.to_owned()) };
    let mut value = String::new();
    let mut letters = inner.strip_suffix('\'')?.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => value.push(letters.next()?),
            '\'' => return None,
            _ => value.push(letter),
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_connected_to_in_every_form_pg_dumpall_writes() {
        let connect = |name: &str| Ok(Directive::Connect(name.to_owned()));
        assert_eq!(read(b"\\connect odd"), connect("odd"));
        assert_eq!(read(b"\\connect \"Mixed \"\"Case\""), connect("Mixed \"Case"));
        assert_eq!(read(b"\\connect -reuse-previous=on \"dbname='we \\'ird'\""), connect("we 'ird"));
        assert_eq!(read(b"\\connect -reuse-previous=on \"dbname='a\\\\b'\""), connect("a\\b"));
        assert!(matches!(read(b"\\connect - shop"), Err(Fault::Directive(_))));
        assert!(matches!(read(b"\\connect `id`"), Err(Fault::Directive(_))));
    }

    #[test]
    fn commands_with_power_are_refused() {
        for line in ["\\! id", "\\i /etc/passwd", "\\copy t from x", "\\g |sh", "\\gexec", "\\.", "\\restrictx a", "\\"]
        {
            assert_eq!(read(line.as_bytes()), Err(Fault::Command(line.to_owned())), "{line}");
        }
    }
}
