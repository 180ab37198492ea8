//! What a store's failure means to the person at the terminal: its kind, and what to try next.

use super::StoreError;
use crate::error::{Error, Kind, Result};

impl StoreError {
    /// This failure as an [`Error`] while `doing` something, with the next step to try.
    pub fn explain(self, doing: impl Into<String>) -> Error {
        let error = Error::new(self.kind(), doing);
        let error = match self.next_step() {
            Some(hint) => error.hint(hint),
            None => error,
        };
        error.because(self)
    }

    /// Which exit code it leads to, if nothing was changed before it.
    fn kind(&self) -> Kind {
        match self {
            Self::NoStore(_) | Self::Unsupported(_) | Self::BadKey(_) | Self::Misconfigured(_) => Kind::Input,
            Self::Denied { .. } | Self::Locked(_) => Kind::Refused,
            _ => Kind::Failed,
        }
    }

    fn next_step(&self) -> Option<String> {
        match self {
            Self::NoStore(_) => Some("check the name of the repository; `davit init` makes a new one".to_owned()),
            Self::Denied { action, target } if action.starts_with("s3:") => {
                Some(format!("grant {action} on {target} to the credentials in use"))
            }
            Self::Denied { target, .. } => Some(format!("check owner and mode of {target}")),
            Self::Locked(_) => Some("wait for the lock to end; a compliance lock cannot be taken away".to_owned()),
            Self::Full(_) => Some("make room or raise the quota, then run the same command again".to_owned()),
            Self::OutcomeUnknown { .. } | Self::Unavailable { .. } => {
                Some("run the same command again; what is stored already is not sent twice".to_owned())
            }
            _ => None,
        }
    }
}

/// Adds what was being done to a store's failure, keeping its kind and hint.
pub trait StoreContext<T> {
    /// Turns a failure into an [`Error`] while `doing` something.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T> StoreContext<T> for Result<T, StoreError> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.explain(doing()))
    }
}
