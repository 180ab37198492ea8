//! `COPY table (columns) FROM stdin;` and the rows behind it.

use super::Fault;
use bytes::Bytes;
use std::fmt;

/// A table as a script names it, unquoted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// Its schema, where the script gives one.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for TableName {
    /// For messages; not quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// What a COPY statement says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) table: TableName,
    pub(super) columns: Vec<String>,
}

/// Reads a statement as the head of rows that follow it; `None` if it is any other statement.
pub(super) fn head(text: &[u8]) -> Result<Option<Head>, Fault> {
    let is_copy = text.len() > 4 && text[..4].eq_ignore_ascii_case(b"copy") && !text[4].is_ascii_alphanumeric();
    if !is_copy {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(text);
    let odd = || Fault::Copy(text.chars().take(200).collect());
    let words = words(&text[4..]).ok_or_else(odd)?;
    let from_stdin = words.windows(2).any(|pair| pair[0].is("from") && pair[1].is("stdin"));
    if !from_stdin {
        return Ok(None);
    }
    parse(&words).map(Some).ok_or_else(odd)
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Bare(String),
    Quoted(String),
    Sign(char),
}

impl Word {
    fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Bare(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn is_sign(&self, sign: char) -> bool {
        *self == Self::Sign(sign)
    }

    /// As a name: what is not quoted is folded to lower case.
    fn name(&self) -> Option<String> {
        match self {
            Self::Bare(word) => Some(word.to_lowercase()),
            Self::Quoted(name) => Some(name.clone()),
            Self::Sign(_) => None,
        }
    }
}

/// Words, quoted names and signs; `None` for a quote that does not end.
fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '\'' {
            let (word, behind) = quoted(&rest[1..], first)?;
            words.push(Word::Quoted(word));
            rest = behind;
        } else {
            let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
            let length = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
            let length = if length == 0 { first.len_utf8() } else { length };
            words.push(if is_part(first) { Word::Bare(rest[..length].to_owned()) } else { Word::Sign(first) });
            rest = &rest[length..];
        }
        rest = rest.trim_start();
    }
    Some(words)
}

/// The text up to a single quote sign, doubled ones made single, and what is behind.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once(quote)?;
        word.push_str(part);
        let Some(more) = behind.strip_prefix(quote) else { return Some((word, behind)) };
        word.push(quote);
        rest = more;
    }
}

/// `[schema .] table [( column, … )] FROM stdin`; what follows is left to the server.
fn parse(words: &[Word]) -> Option<Head> {
    let first = words.first()?.name()?;
    let (table, mut place) = if words.get(1)?.is_sign('.') {
        (TableName { schema: Some(first), name: words.get(2)?.name()? }, 3)
    } else {
        (TableName { schema: None, name: first }, 1)
    };
    let mut columns = Vec::new();
    if words.get(place)?.is_sign('(') {
        loop {
            columns.push(words.get(place + 1)?.name()?);
            place += 2;
            match words.get(place)? {
                Word::Sign(',') => {}
                Word::Sign(')') => break,
                _ => return None,
            }
        }
        place += 1;
    }
    (words.get(place)?.is("from") && words.get(place + 1)?.is("stdin")).then_some(Head { table, columns })
}

/// The rows with plain line feeds. A dump that went through another system may have carriage returns before them;
/// those that belong to a value are written as `\r`, so nothing is lost, and the row sums stay what they were.
pub(super) fn without_carriage_returns(rows: Bytes) -> Bytes {
    if memchr::memmem::find(&rows, b"\r\n").is_none() {
        return rows;
    }
    let mut plain = Vec::with_capacity(rows.len());
    for row in rows.split_inclusive(|&byte| byte == b'\n') {
        match row.strip_suffix(b"\r\n") {
            Some(row) => {
                plain.extend_from_slice(row);
                plain.push(b'\n');
            }
            None => plain.extend_from_slice(row),
        }
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Option<String>, String, Vec<String>)> {
        head(text.as_bytes()).unwrap().map(|head| (head.table.schema, head.table.name, head.columns))
    }

    #[test]
    fn table_and_columns_are_read_unquoted() {
        let (schema, name, columns) =
            read("COPY \"we\"\"ird\".\"a.b (\" (id, \"Mixed, Case\", \"f\"\"\") FROM stdin;").unwrap();
        assert_eq!((schema.unwrap().as_str(), name.as_str()), ("we\"ird", "a.b ("));
        assert_eq!(columns, ["id", "Mixed, Case", "f\""]);
        assert_eq!(read("COPY public.nocols  FROM stdin;"), Some((Some("public".into()), "nocols".into(), vec![])));
        assert_eq!(read("copy Orders(ID) from STDIN with (null 'x');").unwrap().1, "orders");
    }

    #[test]
    fn a_copy_that_has_no_rows_behind_it_is_a_statement_like_others() {
        assert_eq!(read("COPY t TO '/tmp/x';"), None);
        assert_eq!(read("COPY t FROM 'stdin';"), None);
        assert_eq!(read("COPYRIGHT;"), None);
        assert!(head(b"COPY (SELECT 1) FROM stdin;").is_err());
    }
}
