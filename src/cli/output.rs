//! What goes to stdout: the result, once, as text or as one JSON document. Documented in `docs/json.md`.

use crate::cli::args::OutputForm;
use crate::cli::exit::Exit;
use crate::error::{Context, Error, Kind, Result};
use crate::humane::{bytes, count, counted};
use crate::repository::manifest::Amounts;
use crate::secret::redact;
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// Raised when a field changes its meaning or goes away; new fields do not raise it.
pub const SCHEMA_VERSION: u32 = 1;

/// The result of a command.
pub trait Document: Serialize {
    /// The result for people.
    fn text(&self) -> String;

    /// How the command ended.
    fn exit(&self) -> Exit {
        Exit::Done
    }
}

/// A document in both forms, and how its command ended.
#[derive(Debug)]
pub struct Ended {
    json: String,
    text: String,
    exit: Exit,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema_version: u32,
    #[serde(flatten)]
    body: &'a T,
}

/// What is printed for a failed command, where a document is expected.
#[derive(Serialize)]
struct Failure<'a> {
    error: ErrorDocument<'a>,
}

/// A failure as a document.
#[derive(Serialize)]
struct ErrorDocument<'a> {
    kind: &'static str,
    exit_code: u8,
    message: String,
    hint: Option<&'a str>,
}

impl Ended {
    /// A command that ended with a document.
    pub fn with<D: Document>(document: &D) -> Result<Self> {
        Ok(Self { json: json(document)?, text: document.text(), exit: document.exit() })
    }

    /// A command that wrote its result itself.
    pub const fn silently(exit: Exit) -> Self {
        Self { json: String::new(), text: String::new(), exit }
    }

    /// Prints the document in the form asked for.
    pub fn print(&self, form: OutputForm) -> Result<Exit> {
        print(match form {
            OutputForm::Text => &self.text,
            OutputForm::Json => &self.json,
        })?;
        Ok(self.exit)
    }
}

/// The one JSON document of a result.
pub fn json<T: Serialize>(body: &T) -> Result<String> {
    let versioned = Versioned { schema_version: SCHEMA_VERSION, body };
    let mut text =
        serde_json::to_string_pretty(&versioned).context(Kind::Failed, || "writing the result as JSON".to_owned())?;
    text.push('\n');
    Ok(text)
}

/// The JSON document of a failure.
pub fn failure(error: &Error) -> Result<String> {
    json(&Failure {
        error: ErrorDocument {
            kind: kind_name(error.kind()),
            exit_code: error.kind().exit_code(),
            message: redact(&error.to_string()).into_owned(),
            hint: error.hint_text(),
        },
    })
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::CheckFailed => "check-failed",
        Kind::Input => "input",
        Kind::Refused => "refused",
        Kind::Failed => "failed",
        Kind::Stuck => "stuck",
        Kind::Undecided => "undecided",
    }
}

/// A text that grows line by line.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Adds a line.
    pub fn line(&mut self, line: impl AsRef<str>) -> &mut Self {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
        self
    }

    /// How much a new point takes.
    pub fn stored(&mut self, amounts: &Amounts) -> &mut Self {
        self.line(format!(
            "  stored {}, of which {} are new ({} of {})",
            bytes(amounts.bytes_stored),
            bytes(amounts.bytes_new),
            count(amounts.chunks_new),
            counted(amounts.chunks, "chunk")
        ))
    }

    /// Adds lines that end in a line end already.
    pub fn block(&mut self, block: impl AsRef<str>) -> &mut Self {
        self.0.push_str(block.as_ref());
        self
    }

    /// The text.
    pub fn text(self) -> String {
        self.0
    }
}

/// Writes to stdout. A reader that went away (`davit points | head`) has what it wanted.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context(Kind::Failed, || "writing the result to stdout".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_a_document_too_and_shows_no_password() {
        let error = Error::refused("connecting to postgres://eva:hunter2@db/shop: no").hint("try again");
        insta::assert_snapshot!(failure(&error).unwrap(), @r#"
        {
          "schema_version": 1,
          "error": {
            "kind": "refused",
            "exit_code": 3,
            "message": "connecting to postgres://eva:…@db/shop: no",
            "hint": "try again"
          }
        }
        "#);
    }
}
