//! A whole script of definitions, as its entries.

use super::{Fault, Lexer, Limits, ScriptError, Statement, Toc, Token};
use std::sync::Arc;

/// The statements under one `-- Name: …` comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the comment says; `None` for the settings at the head of the script.
    pub toc: Option<Toc>,
    /// Each from its first word to its semicolon.
    pub statements: Vec<String>,
}

/// Splits a script of definitions, as `pg_restore -f -` renders it, into its entries.
///
/// Settings that stand after an entry (`SET default_tablespace = …`) are written for what comes next, so they
/// become the first statements of the next entry.
///
/// # Errors
///
/// The script cannot be read, is not UTF-8, or holds rows.
pub fn entries(script: &[u8], limits: Limits) -> Result<Vec<Entry>, ScriptError> {
    let mut lexer = Lexer::new(limits);
    lexer.push(script);
    lexer.finish();
    let mut gathered = Gathered { entries: Vec::new(), toc: None, settings: Vec::new() };
    while let Some(token) = lexer.next_token()? {
        match token {
            Token::Statement(statement) => gathered.statement(&statement)?,
            Token::CopyBegin(copy) => {
                return Err(ScriptError { line: copy.line, what: Fault::Rows(copy.table.to_string()) });
            }
            _ => {}
        }
    }
    Ok(gathered.entries)
}

struct Gathered {
    entries: Vec<Entry>,
    /// The comment of the last entry; told from an equal one by identity.
    toc: Option<Arc<Toc>>,
    /// Settings that wait for the entry they are meant for.
    settings: Vec<String>,
}

impl Gathered {
    fn statement(&mut self, statement: &Statement) -> Result<(), ScriptError> {
        let not_utf8 = |_| ScriptError { line: statement.line, what: Fault::NotUtf8 };
        let text = String::from_utf8(statement.text.to_vec()).map_err(not_utf8)?;
        let same = match (&self.toc, &statement.toc) {
            (Some(last), Some(this)) => Arc::ptr_eq(last, this),
            (None, None) => !self.entries.is_empty(),
            _ => false,
        };
        if same && self.toc.is_some() && is_for_the_next(&text) {
            self.settings.push(text);
            return Ok(());
        }
        if !same {
            self.toc.clone_from(&statement.toc);
            let toc = statement.toc.as_deref().cloned();
            self.entries.push(Entry { toc, statements: Vec::new() });
        }
        if let Some(entry) = self.entries.last_mut() {
            entry.statements.append(&mut self.settings);
            entry.statements.push(text);
        }
        Ok(())
    }
}

/// Whether `pg_dump` writes this before the comment of the entry it is meant for.
fn is_for_the_next(statement: &str) -> bool {
    ["SET default_tablespace ", "SET default_table_access_method ", "SET search_path "]
        .iter()
        .any(|setting| statement.starts_with(setting))
}
