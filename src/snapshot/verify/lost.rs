//! Whom nobody asks again: a server that was given its time and did not answer is not waited for once more by each of ten
//! thousand objects.

use crate::cluster::{ApiError, Fault};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What did not answer, and in which words.
#[derive(Debug, Default)]
pub(super) struct Lost(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    server: Option<String>,
    kinds: BTreeMap<String, String>,
}

impl Lost {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why an object of this kind need not be asked about.
    pub(super) fn why(&self, kind: &str) -> Option<String> {
        let known = self.known();
        known.server.clone().or_else(|| known.kinds.get(kind).cloned())
    }

    /// Notes an answer that was waited for and did not come: of one kind where somebody answers, else of all.
    pub(super) fn note(&self, kind: &str, why: &ApiError) {
        let mut known = self.known();
        match why.fault {
            Fault::Unreachable | Fault::Unauthorized => known.server = Some(why.to_string()),
            // 500 is said at once, and of one object.
            Fault::TooMany | Fault::Unavailable if why.code != 500 => {
                known.kinds.insert(kind.to_owned(), why.to_string());
            }
            _ => {}
        }
    }
}
