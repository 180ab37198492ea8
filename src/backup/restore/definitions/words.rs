//! The words of one SQL statement with their places, as far as rewriting a role's name needs them.
//!
//! The statements come from `pg_restore`, one at a time and complete; where they end is the script lexer's business.

/// What kind of word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or an unquoted name.
    Bare,
    /// A quoted name.
    Quoted,
    /// A string, a number or a dollar quote.
    Literal,
    /// One sign.
    Sign,
}

/// One word and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) start: usize,
}

impl Word<'_> {
    /// Whether it is this keyword (upper case).
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Bare && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is this sign.
    pub(super) fn is_sign(&self, sign: &str) -> bool {
        self.kind == Kind::Sign && self.text == sign
    }

    /// Where it ends.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// The name it stands for, if it is one.
    pub(super) fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Bare => Some(self.text.to_lowercase()),
            Kind::Quoted => Some(self.text[1..self.text.len() - 1].replace("\"\"", "\"")),
            _ => None,
        }
    }
}

/// The words of a statement; comments and white space are left out.
pub(super) fn words(statement: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut place = 0;
    while place < statement.len() {
        let rest = &statement[place..];
        let (kind, length) = next(rest);
        if let Some(kind) = kind {
            words.push(Word { kind, text: &rest[..length], start: place });
        }
        place += length;
    }
    words
}

/// What stands at the beginning of `rest` (never empty) and how many bytes it takes; `None` is no word.
fn next(rest: &str) -> (Option<Kind>, usize) {
    let first = rest.chars().next().unwrap_or(' ');
    match first {
        c if c.is_ascii_whitespace() => (None, c.len_utf8()),
        '-' if rest.starts_with("--") => (None, rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => (None, rest.find("*/").map_or(rest.len(), |end| end + 2)),
        '\'' => (Some(Kind::Literal), quoted(rest, '\'', false)),
        'E' | 'e' if rest[1..].starts_with('\'') => (Some(Kind::Literal), 1 + quoted(&rest[1..], '\'', true)),
        '"' => (Some(Kind::Quoted), quoted(rest, '"', false)),
        '$' => dollar(rest),
        c if c.is_ascii_digit() => (Some(Kind::Literal), taken(rest, |c| c.is_ascii_alphanumeric() || c == '.')),
        c if in_name(c) => (Some(Kind::Bare), taken(rest, |c| in_name(c) || c.is_ascii_digit() || c == '$')),
        c => (Some(Kind::Sign), c.len_utf8()),
    }
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

/// How many bytes from the start satisfy `which`.
fn taken(rest: &str, which: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !which(c)).unwrap_or(rest.len())
}

/// The length of a quoted string; two quote signs stand for one inside.
fn quoted(rest: &str, sign: char, escapes: bool) -> usize {
    let mut signs = rest.char_indices().skip(1).peekable();
    while let Some((place, c)) = signs.next() {
        if c == '\\' && escapes {
            signs.next();
        } else if c == sign && signs.next_if(|(_, next)| *next == sign).is_none() {
            return place + 1;
        }
    }
    rest.len()
}

/// A dollar quote or a lone `$`.
fn dollar(rest: &str) -> (Option<Kind>, usize) {
    let tag = 1 + taken(&rest[1..], |c| in_name(c) || c.is_ascii_digit());
    if !rest[tag..].starts_with('$') {
        return (Some(Kind::Sign), 1);
    }
    let tag = &rest[..=tag];
    let end = rest[tag.len()..].find(tag).map_or(rest.len(), |place| place + 2 * tag.len());
    (Some(Kind::Literal), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(statement: &str) -> Vec<&str> {
        words(statement).iter().map(|word| word.text).collect()
    }

    #[test]
    fn quotes_comments_and_dollar_quotes_are_one_word_or_none() {
        let statement = "GRANT x ON \"a\"\"b\" -- to y\n TO E'it\\'s', 'a''b' /* z */ $f$ TO $$ q $f$;";
        assert_eq!(
            texts(statement),
            ["GRANT", "x", "ON", "\"a\"\"b\"", "TO", "E'it\\'s'", ",", "'a''b'", "$f$ TO $$ q $f$", ";"]
        );
    }

    #[test]
    fn a_name_is_what_the_server_would_make_of_it() {
        let words = words("Größe \"Größe \"\"π\"\"\"");
        assert_eq!(words[0].name().as_deref(), Some("größe"));
        assert_eq!(words[1].name().as_deref(), Some("Größe \"π\""));
    }
}
