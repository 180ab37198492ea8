//! The two settings that change how a script is read.

/// Encodings for clients only, in every spelling PostgreSQL takes, letters and digits alone.
const HIDING: [&str; 17] = [
    "BIG5",
    "WIN950",
    "WINDOWS950",
    "GB18030",
    "GBK",
    "WIN936",
    "WINDOWS936",
    "JOHAB",
    "SJIS",
    "MSKANJI",
    "SHIFTJIS",
    "WIN932",
    "WINDOWS932",
    "SHIFTJIS2004",
    "UHC",
    "WIN949",
    "WINDOWS949",
];

/// Name (lower case) and value (unquoted) of a `SET name = value;`.
pub(super) fn read(text: &[u8]) -> Option<(String, String)> {
    // Long ones are not settings, and there may be gigabytes of other statements.
    if text.len() > 200 || !text.get(..4)?.eq_ignore_ascii_case(b"set ") {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?.trim_end_matches(';').replace('=', " = ");
    let mut words = text.split_ascii_whitespace().skip(1).peekable();
    words.next_if(|word| word.eq_ignore_ascii_case("session") || word.eq_ignore_ascii_case("local"));
    let name = words.next()?.to_ascii_lowercase();
    words.next_if(|word| *word == "=" || word.eq_ignore_ascii_case("to"))?;
    let value = words.collect::<Vec<_>>().join(" ");
    Some((name, value.trim_matches('\'').to_owned()))
}

/// Whether a boolean setting is off, in the spellings the server knows.
pub(super) fn is_off(value: &str) -> bool {
    ["off", "false", "no", "0", "f", "n"].iter().any(|off| value.eq_ignore_ascii_case(off))
}

/// Whether this encoding has letters whose second byte may look like a quote or a backslash (PostgreSQL manual,
/// section 24.3: those that are not allowed as server encodings).
pub(super) fn hides_quotes(encoding: &str) -> bool {
    let plain: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    HIDING.contains(&plain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_as_the_server_reads_it() {
        let read = |text: &str| read(text.as_bytes());
        let expect = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(read("SET client_encoding = 'LATIN1';"), expect("client_encoding", "LATIN1"));
        assert_eq!(
            read("set session Standard_Conforming_Strings to off;"),
            expect("standard_conforming_strings", "off")
        );
        assert_eq!(read("SET x='y';"), expect("x", "y"));
        assert_eq!(read("SELECT 1;"), None);
        assert_eq!(read("SET ROLE shop;"), None);
    }

    #[test]
    fn encodings_with_hidden_quotes_are_known_in_every_spelling() {
        assert!(["SJIS", "shift_jis_2004", "Big5", "GB18030", "uhc"].iter().all(|name| hides_quotes(name)));
        assert!(!["UTF8", "LATIN1", "EUC_JP", "SQL_ASCII", "WIN1252"].iter().any(|name| hides_quotes(name)));
    }
}
