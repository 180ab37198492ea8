//! A value and where it came from.

use std::fmt;
use std::path::PathBuf;

/// Who set a value. Later ones win: default, file, environment, flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// The settings file, in this line.
    File {
        /// The file.
        path: PathBuf,
        /// The line of the value.
        line: u64,
    },
    /// An environment variable.
    Env(&'static str),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value that was settled, and who set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Who set it.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// A value and who set it.
    pub const fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// The first candidate that is there, else the default.
    pub fn first_of<const N: usize>(candidates: [Option<Self>; N], default: T) -> Self {
        candidates.into_iter().flatten().next().unwrap_or(Self::new(default, Origin::Default))
    }

    /// The same origin with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: change(self.value), origin: self.origin }
    }
}
