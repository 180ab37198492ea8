//! Finds where a statement ends. It can stop after any byte and go on when more have come.
//!
//! The rules are those of PostgreSQL's lexical structure (manual, section 4.1) and of `psql` for the bodies of
//! `CREATE FUNCTION … BEGIN ATOMIC … END`, whose semicolons do not end the statement.

use memchr::memmem;

/// What the bytes at the scanner's place belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Between words.
    Plain,
    /// In a word or number that began here.
    Word { start: usize },
    /// In `'…'`.
    Quote { escapes: bool },
    /// In `"…"`.
    Identifier,
    /// In the tag of a dollar quote; here is its first `$`.
    Tag { start: usize },
    /// In a dollar quote whose tag, both `$` included, lies there.
    Dollar { tag: (usize, usize) },
    /// In `-- …`.
    LineComment,
    /// In `/* … */`, this deep.
    BlockComment { depth: u32 },
}

/// What a scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The statement ends before this place.
    End(usize),
    /// A backslash outside of quotes, at this place.
    Backslash(usize),
    /// More bytes are needed.
    More,
}

/// The state of reading one statement; positions count from its first byte.
#[derive(Debug)]
pub(super) struct Scan {
    mode: Mode,
    place: usize,
    parentheses: u32,
    words: Words,
    /// The kind of the quote that has just been closed: one that follows, after nothing or after white space with a
    /// line feed in it, continues the same literal.
    closed: Option<bool>,
    line_feed_since_closed: bool,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self {
            mode: Mode::Plain,
            place: 0,
            parentheses: 0,
            words: Words::default(),
            closed: None,
            line_feed_since_closed: false,
        }
    }

    /// What the statement would be cut off in, if nothing more came.
    pub(super) fn inside(&self) -> &'static str {
        match self.mode {
            Mode::Quote { .. } => "a quoted string",
            Mode::Identifier => "a quoted name",
            Mode::Dollar { .. } => "a dollar-quoted string",
            Mode::BlockComment { .. } => "a comment",
            _ => "a statement",
        }
    }

    /// Goes on through `text`, which begins with the statement's first byte and holds at least what it held before.
    /// `escapes` says whether plain quotes know backslashes.
    pub(super) fn run(&mut self, text: &[u8], escapes: bool) -> Found {
        while self.place < text.len() {
            let went_on = match self.mode {
                Mode::Plain => match self.plain(text, escapes) {
                    Step::On(on) => on,
                    Step::Found(found) => return found,
                },
                Mode::Word { start } => self.word(text, start, escapes),
                Mode::Quote { escapes } => self.quote(text, escapes),
                Mode::Identifier => self.jump(text, b'"'),
                Mode::Tag { start } => self.tag(text, start),
                Mode::Dollar { tag } => self.dollar(text, tag),
                Mode::LineComment => self.jump(text, b'\n'),
                Mode::BlockComment { depth } => self.block_comment(text, depth),
            };
            if !went_on {
                break;
            }
        }
        Found::More
    }

    /// One byte between words.
    fn plain(&mut self, text: &[u8], escapes: bool) -> Step {
        let byte = text[self.place];
        let next = text.get(self.place + 1).copied();
        match byte {
            b'\n' => self.line_feed_since_closed = true,
            b' ' | b'\t' | b'\r' | 0x0b | 0x0c => {}
            b'\'' => return self.open_quote(text, escapes),
            b'-' | b'/' | b'$' if next.is_none() => return Step::On(false),
            b'-' if next == Some(b'-') => self.mode = Mode::LineComment,
            b'/' if next == Some(b'*') => {
                self.mode = Mode::BlockComment { depth: 1 };
                self.place += 1;
            }
            _ => {
                self.closed = None;
                return self.significant(byte, next);
            }
        }
        self.place += 1;
        Step::On(true)
    }

    /// One byte that is neither white space, comment nor quote.
    fn significant(&mut self, byte: u8, next: Option<u8>) -> Step {
        match byte {
            b';' if self.parentheses == 0 && self.words.depth == 0 => return Step::Found(Found::End(self.place + 1)),
            b'\\' => return Step::Found(Found::Backslash(self.place)),
            b'(' => self.parentheses += 1,
            b')' => self.parentheses = self.parentheses.saturating_sub(1),
            b'"' => self.mode = Mode::Identifier,
            b'$' if next.is_some_and(|next| next == b'$' || begins_word(next)) => {
                self.mode = Mode::Tag { start: self.place };
            }
            byte if begins_word(byte) || byte.is_ascii_digit() => self.mode = Mode::Word { start: self.place },
            _ => {}
        }
        self.place += 1;
        Step::On(true)
    }

    /// Opens a quote that has no prefix.
    fn open_quote(&mut self, text: &[u8], escapes: bool) -> Step {
        let touches = self.place > 0 && text[self.place - 1] == b'\'';
        let continued = self.closed.filter(|_| touches || self.line_feed_since_closed);
        self.mode = Mode::Quote { escapes: continued.unwrap_or(escapes) };
        self.place += 1;
        Step::On(true)
    }

    /// A word or number: skips to its end and tells the tracker.
    fn word(&mut self, text: &[u8], start: usize, escapes: bool) -> bool {
        let rest = &text[self.place..];
        let Some(length) = rest.iter().position(|&byte| !continues_word(byte)) else {
            self.place = text.len();
            return false;
        };
        self.place += length;
        let word = &text[start..self.place];
        self.words.see(word, self.parentheses);
        self.mode = Mode::Plain;
        if text[self.place] == b'\'' {
            let escapes = match word {
                b"E" | b"e" => true,
                // Bit strings know no backslashes, whatever the setting.
                b"B" | b"b" | b"X" | b"x" => false,
                _ => escapes,
            };
            self.mode = Mode::Quote { escapes };
            self.place += 1;
        }
        true
    }

    /// Inside a quote: to its end, past each escape.
    fn quote(&mut self, text: &[u8], escapes: bool) -> bool {
        let rest = &text[self.place..];
        let found = if escapes { memchr::memchr2(b'\'', b'\\', rest) } else { memchr::memchr(b'\'', rest) };
        let Some(offset) = found else {
            self.place = text.len();
            return false;
        };
        self.place += offset;
        if text[self.place] == b'\\' {
            if self.place + 1 == text.len() {
                return false;
            }
            self.place += 2;
            return true;
        }
        self.place += 1;
        self.mode = Mode::Plain;
        self.closed = Some(escapes);
        self.line_feed_since_closed = false;
        true
    }

    /// To just behind the next `end`, then between words again.
    fn jump(&mut self, text: &[u8], end: u8) -> bool {
        let Some(offset) = memchr::memchr(end, &text[self.place..]) else {
            self.place = text.len();
            return false;
        };
        self.place += offset + 1;
        self.line_feed_since_closed |= end == b'\n';
        self.mode = Mode::Plain;
        true
    }

    /// The tag of a dollar quote.
    fn tag(&mut self, text: &[u8], start: usize) -> bool {
        let is_tag = |byte: u8| begins_word(byte) || byte.is_ascii_digit();
        let Some(length) = text[self.place..].iter().position(|&byte| !is_tag(byte)) else {
            self.place = text.len();
            return false;
        };
        self.place += length;
        self.mode = if text[self.place] == b'$' {
            self.place += 1;
            Mode::Dollar { tag: (start, self.place) }
        } else {
            // Not a quote after all, only a stray sign.
            Mode::Plain
        };
        true
    }

    /// Inside a dollar quote: to behind its closing tag.
    fn dollar(&mut self, text: &[u8], tag: (usize, usize)) -> bool {
        let needle = &text[tag.0..tag.1];
        if let Some(offset) = memmem::find(&text[self.place..], needle) {
            self.place += offset + needle.len();
            self.mode = Mode::Plain;
            return true;
        }
        // The last bytes may be the beginning of the closing tag.
        self.place = self.place.max((text.len() + 1).saturating_sub(needle.len()));
        false
    }

    /// Inside a block comment, which may hold others.
    fn block_comment(&mut self, text: &[u8], depth: u32) -> bool {
        match skip_block_comment(text, self.place, depth) {
            Ok(behind) => {
                self.place = behind;
                self.mode = Mode::Plain;
                true
            }
            Err((place, depth)) => {
                self.place = place;
                self.mode = Mode::BlockComment { depth };
                false
            }
        }
    }
}

/// From `place`, which is `depth` comments deep: the place behind the outermost one, or how far the text goes.
pub(super) fn skip_block_comment(text: &[u8], mut place: usize, mut depth: u32) -> Result<usize, (usize, u32)> {
    while let Some(offset) = memchr::memchr2(b'*', b'/', &text[place..]) {
        place += offset;
        let Some(&next) = text.get(place + 1) else { return Err((place, depth)) };
        match (text[place], next) {
            (b'*', b'/') if depth == 1 => return Ok(place + 2),
            (b'*', b'/') => depth -= 1,
            (b'/', b'*') => depth = depth.saturating_add(1),
            _ => {
                place += 1;
                continue;
            }
        }
        place += 2;
    }
    Err((text.len(), depth))
}

/// What one byte between words led to.
enum Step {
    /// Whether the scan can go on.
    On(bool),
    Found(Found),
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// The words that tell a routine with a body in SQL.
#[derive(Debug, Default)]
struct Words {
    head: Head,
    after_begin: bool,
    /// How many `BEGIN ATOMIC` and `CASE` are open.
    depth: u32,
}

/// How much of `CREATE [OR REPLACE] FUNCTION` has been seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Head {
    #[default]
    Start,
    Create,
    Or,
    Replace,
    Routine,
    Other,
}

impl Words {
    fn see(&mut self, word: &[u8], parentheses: u32) {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword.as_bytes());
        self.head = match self.head {
            Head::Start if is("create") => Head::Create,
            Head::Create if is("or") => Head::Or,
            Head::Or if is("replace") => Head::Replace,
            Head::Create | Head::Replace if is("function") || is("procedure") => Head::Routine,
            Head::Routine => {
                if self.depth == 0 {
                    self.depth = u32::from(self.after_begin && parentheses == 0 && is("atomic"));
                    self.after_begin = parentheses == 0 && is("begin");
                } else if is("case") {
                    self.depth += 1;
                } else if is("end") {
                    self.depth -= 1;
                }
                Head::Routine
            }
            _ => Head::Other,
        };
    }
}
