//! The stream: bytes in, tokens out.

use super::comment::{self, Comment};
use super::scan::{Found, Scan, skip_block_comment};
use super::{CopyBegin, Directive, Fault, Limits, ScriptError, Statement, Toc, Token};
use super::{copy, directive, setting};
use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr_iter, memmem, memrchr};
use std::sync::Arc;

/// Reads a script as it comes; see the module's own words.
#[derive(Debug)]
pub struct Lexer {
    limits: Limits,
    /// What came and is not passed on yet; its first byte is where `state` begins.
    buffer: BytesMut,
    /// The line of the buffer's first byte.
    line: u64,
    state: State,
    finished: bool,
    toc: Option<Arc<Toc>>,
    /// What was told of the entry whose header comes next: its number and those of what it rests on.
    numbers: (Option<u32>, Vec<u32>),
    /// Whether plain quotes know backslashes (`standard_conforming_strings` is off).
    escapes: bool,
    restricted: Option<String>,
}

#[derive(Debug)]
enum State {
    /// Nothing has come.
    Start,
    /// Between statements; the first bytes of this length hold no line feed.
    Gap { searched: usize },
    /// In a comment between statements, read this far, this deep.
    Comment { place: usize, depth: u32 },
    /// In a statement.
    Statement(Scan),
    /// Behind the semicolon of a COPY statement, on its line.
    CopyLine,
    /// In rows; the first bytes of this length are part of one unfinished row.
    Rows { searched: usize },
}

/// What one step of reading led to.
enum Step {
    Token(Token),
    Again,
    More,
}

impl Lexer {
    /// A lexer at the beginning of a script.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            line: 1,
            state: State::Start,
            finished: false,
            toc: None,
            numbers: (None, Vec::new()),
            escapes: false,
            restricted: None,
        }
    }

    /// Takes the next bytes of the script. Ask for tokens until there are none before pushing more: what is pushed
    /// is held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that the script ends here.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The line that is being read, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The next token; `None` if more bytes are needed, or, after [`finish`](Self::finish), at the end.
    ///
    /// # Errors
    ///
    /// The script holds something no dump has, or ends inside of something. After an error nothing more can be read.
    pub fn next_token(&mut self) -> Result<Option<Token>, ScriptError> {
        loop {
            let step = match &mut self.state {
                State::Start => self.start(),
                State::Gap { searched } => {
                    let searched = *searched;
                    self.gap(searched)?
                }
                State::Comment { place, depth } => {
                    let (place, depth) = (*place, *depth);
                    self.block_comment(place, depth)?
                }
                State::Statement(_) => self.statement()?,
                State::CopyLine => self.copy_line()?,
                State::Rows { searched } => {
                    let searched = *searched;
                    self.rows(searched)?
                }
            };
            match step {
                Step::Token(token) => return Ok(Some(token)),
                Step::Again => {}
                Step::More => return Ok(None),
            }
        }
    }

    /// Skips the byte order mark some editors put before a script.
    fn start(&mut self) -> Step {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if self.buffer.len() < MARK.len() && MARK.starts_with(&self.buffer) && !self.finished {
            return Step::More;
        }
        if self.buffer.starts_with(MARK) {
            self.take(MARK.len());
        }
        self.state = State::Gap { searched: 0 };
        Step::Again
    }

    /// White space, comments and directives between statements.
    fn gap(&mut self, searched: usize) -> Result<Step, ScriptError> {
        if searched == 0 {
            let blank = self.buffer.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != 0x0b);
            self.take(blank.unwrap_or(self.buffer.len()));
        }
        match (self.buffer.first(), self.buffer.get(1)) {
            (None, _) => Ok(Step::More),
            (Some(b'-' | b'/'), None) if !self.finished => Ok(Step::More),
            (Some(b'-'), Some(b'-')) => {
                let Some(line) = self.whole_line(searched, "a comment")? else { return Ok(Step::More) };
                Ok(self.comment(&line))
            }
            (Some(b'/'), Some(b'*')) => {
                self.state = State::Comment { place: 2, depth: 1 };
                Ok(Step::Again)
            }
            (Some(b'\\'), _) => {
                let at = self.line;
                let Some(line) = self.whole_line(searched, "a backslash command")? else { return Ok(Step::More) };
                self.directive(&line, at).map(Step::Token)
            }
            _ => {
                self.state = State::Statement(Scan::new());
                Ok(Step::Again)
            }
        }
    }

    /// The line at the front of the buffer without its end, if it is there in full.
    fn whole_line(&mut self, searched: usize, what: &'static str) -> Result<Option<Bytes>, ScriptError> {
        let end = memchr(b'\n', &self.buffer[searched..]).map(|offset| searched + offset);
        let end = if self.finished { end.or(Some(self.buffer.len())) } else { end };
        let Some(end) = end else {
            self.check_held(what)?;
            self.state = State::Gap { searched: self.buffer.len() };
            return Ok(None);
        };
        let mut line = self.take(end);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        self.state = State::Gap { searched: 0 };
        Ok(Some(line))
    }

    fn comment(&mut self, line: &[u8]) -> Step {
        let token = match comment::read(line) {
            Comment::Other => return Step::Again,
            Comment::Id(id) => {
                self.numbers = (Some(id), Vec::new());
                return Step::Again;
            }
            Comment::Needs(needs) => {
                self.numbers.1 = needs;
                return Step::Again;
            }
            Comment::Toc(mut toc) => {
                (toc.id, toc.needs) = std::mem::take(&mut self.numbers);
                self.toc = Some(Arc::new(toc));
                return Step::Again;
            }
            Comment::Begin(kind) => Token::Begin(kind),
            Comment::Section(database) => Token::Section(database),
            Comment::End(kind) => Token::EndMarker(kind),
        };
        self.toc = None;
        Step::Token(token)
    }

    fn directive(&mut self, line: &[u8], at: u64) -> Result<Token, ScriptError> {
        let fail = |what| ScriptError { line: at, what };
        let directive = directive::read(line).map_err(fail)?;
        let refuse = |text: &str| Err(fail(Fault::Directive(text.to_owned())));
        match &directive {
            Directive::Unrestrict(key) => {
                if self.restricted.as_ref() != Some(key) {
                    return refuse("\\unrestrict without the \\restrict of the same key");
                }
                self.restricted = None;
            }
            _ if self.restricted.is_some() => return refuse("a backslash command before \\unrestrict"),
            Directive::Restrict(key) => self.restricted = Some(key.clone()),
            // A new session: its settings are the server's again, and a dump says at once if they should not be.
            Directive::Connect(_) => (self.escapes, self.toc) = (false, None),
            Directive::Encoding(_) => {}
        }
        Ok(Token::Directive(directive))
    }

    fn block_comment(&mut self, place: usize, depth: u32) -> Result<Step, ScriptError> {
        match skip_block_comment(&self.buffer, place, depth) {
            Ok(behind) => {
                self.take(behind);
                self.state = State::Gap { searched: 0 };
                Ok(Step::Again)
            }
            Err(_) if self.finished => Err(self.fault(Fault::CutShort("a comment"))),
            Err((place, depth)) => {
                self.check_held("a comment")?;
                self.state = State::Comment { place, depth };
                Ok(Step::More)
            }
        }
    }

    fn statement(&mut self) -> Result<Step, ScriptError> {
        let State::Statement(scan) = &mut self.state else { return Ok(Step::Again) };
        match scan.run(&self.buffer, self.escapes) {
            Found::End(length) => {
                if length > self.limits.held_bytes_max {
                    return Err(self.too_long("a statement"));
                }
                let line = self.line;
                let text = self.take(length);
                self.state = State::Gap { searched: 0 };
                self.whole_statement(text, line).map(Step::Token)
            }
            Found::Backslash(place) => {
                let rest = &self.buffer[place..];
                let Some(length) = memchr(b'\n', rest).or(self.finished.then_some(rest.len())) else {
                    self.check_held("a backslash command")?;
                    return Ok(Step::More);
                };
                let line = self.line + line_feeds(&self.buffer[..place]);
                Err(ScriptError { line, what: Fault::Command(directive::shown(&rest[..length])) })
            }
            Found::More if self.finished => {
                let inside = scan.inside();
                Err(self.fault(Fault::CutShort(inside)))
            }
            Found::More => {
                self.check_held("a statement")?;
                Ok(Step::More)
            }
        }
    }

    /// Looks at a statement that is there in full.
    fn whole_statement(&mut self, text: Bytes, line: u64) -> Result<Token, ScriptError> {
        let fail = |what| ScriptError { line, what };
        if let Some(head) = copy::head(&text).map_err(fail)? {
            self.state = State::CopyLine;
            let first_row_line = self.line + 1;
            let (table, columns, toc) = (head.table, head.columns, self.toc.clone());
            return Ok(Token::CopyBegin(CopyBegin { statement: text, table, columns, line, first_row_line, toc }));
        }
        if let Some((name, value)) = setting::read(&text) {
            if name == "standard_conforming_strings" {
                self.escapes = setting::is_off(&value);
            } else if name == "client_encoding" && setting::hides_quotes(&value) {
                return Err(fail(Fault::Encoding(value)));
            }
        }
        Ok(Token::Statement(Statement { text, line, toc: self.toc.clone() }))
    }

    /// Skips to the line after the COPY statement, where its rows begin.
    fn copy_line(&mut self) -> Result<Step, ScriptError> {
        let blank = self.buffer.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
        match blank.map(|place| (place, self.buffer[place])) {
            Some((place, b'\n')) => {
                self.take(place + 1);
                self.state = State::Rows { searched: 0 };
                Ok(Step::Again)
            }
            Some(_) => Err(self.fault(Fault::Copy("something follows it on its line".to_owned()))),
            None if self.finished => Err(self.fault(Fault::CutShort("the rows of a table"))),
            None => Ok(Step::More),
        }
    }

    /// Whole rows, or the end of them. The buffer begins with a row.
    fn rows(&mut self, searched: usize) -> Result<Step, ScriptError> {
        if let Some(behind) = self.end_of_rows(0) {
            self.take(behind);
            self.state = State::Gap { searched: 0 };
            return Ok(Step::Token(Token::CopyEnd));
        }
        // A row may be long and come in many pieces; none of them is looked at twice.
        let from = searched.saturating_sub(2);
        let end = memmem::find_iter(&self.buffer[from..], b"\n\\.")
            .map(|offset| from + offset + 1)
            .find(|&place| self.buffer.len() < place + 4 || self.end_of_rows(place).is_some());
        let within = end.unwrap_or(self.buffer.len());
        match memrchr(b'\n', &self.buffer[from.min(within)..within]) {
            Some(offset) => {
                let rows = self.take(from + offset + 1);
                self.state = State::Rows { searched: 0 };
                Ok(Step::Token(Token::CopyRows(copy::without_carriage_returns(rows))))
            }
            None if self.finished => Err(self.fault(Fault::CutShort("the rows of a table"))),
            None => {
                self.check_held("a row")?;
                self.state = State::Rows { searched: self.buffer.len() };
                Ok(Step::More)
            }
        }
    }

    /// If the line at `place` is `\.`, the place behind it; `None` also while that cannot be told yet.
    fn end_of_rows(&self, place: usize) -> Option<usize> {
        match self.buffer[place..].strip_prefix(b"\\.")? {
            [b'\n', ..] => Some(place + 3),
            [b'\r', b'\n', ..] => Some(place + 4),
            [] | [b'\r'] if self.finished => Some(self.buffer.len()),
            _ => None,
        }
    }

    /// Takes bytes off the front of the buffer.
    fn take(&mut self, length: usize) -> Bytes {
        let taken = self.buffer.split_to(length).freeze();
        self.line += line_feeds(&taken);
        taken
    }

    fn check_held(&self, what: &'static str) -> Result<(), ScriptError> {
        if self.buffer.len() > self.limits.held_bytes_max { Err(self.too_long(what)) } else { Ok(()) }
    }

    fn too_long(&self, what: &'static str) -> ScriptError {
        self.fault(Fault::TooLong { what, limit: self.limits.held_bytes_max })
    }

    fn fault(&self, what: Fault) -> ScriptError {
        ScriptError { line: self.line, what }
    }
}

fn line_feeds(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}
