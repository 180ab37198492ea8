//! The one error type above the edges, and the table of exit codes.
//!
//! An edge (store, postgres) has its own small enum with the variants a caller acts on. Everything
//! above speaks [`Error`]: what kind of failure it is (which decides the exit code), what was being
//! done to which thing, why it failed, and what to try next.

use std::error::Error as StdError;
use std::fmt;

/// How a run ended, as scripts and Kubernetes Job policies see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Done, but an objective was missed or a check failed.
    CheckFailed,
    /// Bad input or settings; nothing was changed.
    Input,
    /// Refused by a guard or a preflight; nothing was changed.
    Refused,
    /// Failed; what was begun is undone.
    Failed,
    /// A person is needed: cleanup could not be proven.
    Stuck,
    /// It could not be decided.
    Undecided,
}

impl Kind {
    /// The process exit code of this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::CheckFailed => 1,
            Self::Input => 2,
            Self::Refused => 3,
            Self::Failed => 4,
            Self::Stuck => 5,
            Self::Undecided => 6,
        }
    }
}

/// A failure: what was being done, to which thing, why it did not work, and what to try.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    doing: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of anything above the edges.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of `kind` while `doing` something to a named thing (lower case, no full stop).
    pub fn new(kind: Kind, doing: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, doing: doing.into(), hint: None, source: None }))
    }

    /// Bad input or settings: exit 2.
    pub fn input(doing: impl Into<String>) -> Self {
        Self::new(Kind::Input, doing)
    }

    /// A guard or preflight said no: exit 3.
    pub fn refused(doing: impl Into<String>) -> Self {
        Self::new(Kind::Refused, doing)
    }

    /// It failed and what was begun is undone: exit 4.
    pub fn failed(doing: impl Into<String>) -> Self {
        Self::new(Kind::Failed, doing)
    }

    /// A check failed: exit 1.
    pub fn check(doing: impl Into<String>) -> Self {
        Self::new(Kind::CheckFailed, doing)
    }

    /// It could not be decided: exit 6.
    pub fn undecided(doing: impl Into<String>) -> Self {
        Self::new(Kind::Undecided, doing)
    }

    /// Adds the next step to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Wraps this error in what was being done around it; kind and hint stay.
    #[must_use]
    pub fn during(self, doing: impl Into<String>) -> Self {
        let kind = self.kind();
        let hint = self.0.hint.clone();
        let mut outer = Self::new(kind, doing).because(self);
        outer.0.hint = hint;
        outer
    }

    /// The same error under another kind.
    #[must_use]
    pub fn as_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The next step to try, if one is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    /// The failure and its causes on one line; the hint is left to whoever prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.doing)?;
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
            // An `Error` prints its own causes; anything else leaves that to its caller.
            if !source.is::<Self>() {
                let mut cause = source.source();
                while let Some(next) = cause {
                    write!(f, ": {next}")?;
                    cause = next.source();
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        if let Some(hint) = &self.0.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Adds what was being done to the error of a lower layer.
pub trait Context<T> {
    /// Turns a failure into an [`Error`] of `kind` while `doing` something.
    fn context(self, kind: Kind, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, kind: Kind, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::new(kind, doing()).because(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let table = [
            (Kind::CheckFailed, 1),
            (Kind::Input, 2),
            (Kind::Refused, 3),
            (Kind::Failed, 4),
            (Kind::Stuck, 5),
            (Kind::Undecided, 6),
        ];
        for (kind, code) in table {
            assert_eq!(kind.exit_code(), code, "{kind:?}");
        }
    }

    #[test]
    fn the_text_reads_from_what_was_done_to_the_root_cause_once() {
        let cause = std::io::Error::other("connection reset");
        let error = Error::failed("putting chunk 7").because(cause).hint("try again");
        let outer = error.during("backing up orders");
        assert_eq!(outer.to_string(), "backing up orders: putting chunk 7: connection reset");
        assert_eq!(outer.hint_text(), Some("try again"));
        assert_eq!(outer.kind(), Kind::Failed);
    }
}
