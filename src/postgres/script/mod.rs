//! Reads what `pg_dump`, `pg_dumpall` and `pg_restore -f -` print, as a stream and without running anything.
//!
//! `psql` gives a dump the power of the machine it runs on (`\!`, `\copy`, `\i`); this lexer gives it none. Bytes go
//! in as they come, [`Token`]s come out: statements, blocks of rows, the few directives a dump needs, and the
//! comments that say what the next statement is about. Any other backslash command ends the reading with its line.
//! Rows are passed on as they come, so a table of any size needs little memory; one statement or one row is held
//! whole, within [`Limits`]. Pure: it knows no server and no file.

mod comment;
mod copy;
mod directive;
mod entries;
mod lexer;
mod scan;
mod setting;
pub mod words;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use copy::TableName;
pub use entries::{Entry, entries};
pub use lexer::Lexer;

use crate::error::Error;
use bytes::Bytes;
use std::sync::Arc;

/// What a script is made of, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A dump begins here, says its first comment.
    Begin(DumpKind),
    /// In a cluster dump: the part of this database begins.
    Section(String),
    /// One statement.
    Statement(Statement),
    /// Rows of a table follow.
    CopyBegin(CopyBegin),
    /// Whole rows in COPY text format, each ended by a line feed.
    CopyRows(Bytes),
    /// The rows of the table are complete.
    CopyEnd,
    /// A backslash command that dumps are allowed.
    Directive(Directive),
    /// A dump is complete, says its last comment.
    EndMarker(DumpKind),
}

/// What wrote the script, as its comments say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpKind {
    /// `pg_dump` or `pg_restore`: one database.
    Database,
    /// `pg_dumpall`: roles, tablespaces and many databases.
    Cluster,
}

/// One SQL statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// From its first word to its semicolon; in the encoding the script declares.
    pub text: Bytes,
    /// The line it begins on, from 1.
    pub line: u64,
    /// What the comment before it says.
    pub toc: Option<Arc<Toc>>,
}

impl Statement {
    /// Name (lower case) and value (unquoted) if this is `SET name = value`.
    pub fn setting(&self) -> Option<(String, String)> {
        setting::read(&self.text)
    }
}

/// The head of a block of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyBegin {
    /// `COPY … FROM stdin;`
    pub statement: Bytes,
    /// The table.
    pub table: TableName,
    /// The columns, unquoted; empty for a table without columns and where the script names none.
    pub columns: Vec<String>,
    /// The line the statement begins on.
    pub line: u64,
    /// The line of the first row.
    pub first_row_line: u64,
    /// What the comment before it says.
    pub toc: Option<Arc<Toc>>,
}

/// A backslash command that dumps are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// `\restrict KEY`: no command but the matching `\unrestrict` until then.
    Restrict(String),
    /// `\unrestrict KEY`
    Unrestrict(String),
    /// `\connect NAME`: what follows is for this database.
    Connect(String),
    /// `\encoding NAME`: how `psql` should read the `\connect` after it; newer dumps have it before odd names.
    Encoding(String),
}

/// The comment `pg_dump` puts before each entry: `-- Name: x; Type: INDEX; Schema: public; Owner: o`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toc {
    /// What it is called: `orders`, `orders_pkey`, `add(integer, integer)`, `TABLE orders` for a comment on it.
    pub name: String,
    /// `TABLE`, `INDEX`, `TABLE DATA`, `FK CONSTRAINT`, …
    pub kind: String,
    /// Its schema, where it has one.
    pub schema: Option<String>,
    /// Its owner, where it has one.
    pub owner: Option<String>,
    /// Its number in the archive, which `pg_restore --verbose` tells.
    pub id: Option<u32>,
    /// Numbers of the entries it rests on, which `pg_restore --verbose` tells.
    pub needs: Vec<u32>,
}

/// How much of a script may have to be held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest statement, row or comment.
    pub held_bytes_max: usize,
}

impl Default for Limits {
    /// PostgreSQL itself takes no statement and no row over 1 GiB.
    fn default() -> Self {
        Self { held_bytes_max: 1 << 30 }
    }
}

/// Why a script cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScriptError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong there.
    pub what: Fault,
}

/// What is wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A backslash command that no dump needs.
    #[error("backslash command {0:?} is not allowed in a dump")]
    Command(String),
    /// A directive in a place or form that no dump has.
    #[error("{0}")]
    Directive(String),
    /// Something is longer than the limit.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// What.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The script ends inside of something.
    #[error("the script ends inside {0}")]
    CutShort(&'static str),
    /// A `COPY … FROM stdin` of a form no dump has.
    #[error("cannot read this COPY statement: {0}")]
    Copy(String),
    /// Text in an encoding whose letters may contain quotes and backslashes.
    #[error("the dump is in encoding {0}, whose letters may contain quote signs")]
    Encoding(String),
    /// Rows where only definitions are expected.
    #[error("rows of {0} among definitions")]
    Rows(String),
    /// Text that is not UTF-8 where it must be.
    #[error("text that is not UTF-8")]
    NotUtf8,
}

impl From<ScriptError> for Error {
    fn from(error: ScriptError) -> Self {
        let hint = match &error.what {
            Fault::Command(_) => Some("davit runs SQL only; if the script is yours and needs this, run it with psql"),
            Fault::CutShort(_) => {
                Some("the dump is truncated: take an older one, or copy it again from where it was made")
            }
            Fault::Encoding(_) => Some("make the dump with pg_dump --encoding=UTF8"),
            _ => None,
        };
        let error = Self::input("reading the dump").because(error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
