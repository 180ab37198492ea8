//! Names and strings as SQL wants them. Always quoted: a name that needs no quotes today may be a reserved word in
//! the next major version.

/// A name as a quoted identifier.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a string literal that means the same whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A schema and a name in it as a quoted, qualified identifier.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_keep_case_spaces_and_quotes() {
        assert_eq!(ident("Order \"Items\""), "\"Order \"\"Items\"\"\"");
        assert_eq!(qualified("public", "select"), "\"public\".\"select\"");
    }

    #[test]
    fn literals_escape_quotes_and_backslashes() {
        assert_eq!(literal("o'clock"), "'o''clock'");
        assert_eq!(literal(r"a\b'c"), r" E'a\\b''c'");
    }
}
