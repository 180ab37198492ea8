//! What a refusal of a change in place leaves to do.

use super::super::plan::{Action, Line, NEVER_DELETED};
use crate::cluster::{ApiError, Fault};

/// How a server says that a field never changes; each kind has its own words for it.
const NEVER_CHANGES: [&str; 5] =
    ["immutable", "updates to", "may not change", "cannot change", "is not allowed to be changed"];

/// The server's refusal of a line, with what makes the object anew where a field of it never changes.
pub(super) fn refusal(line: &Line, error: &ApiError) -> String {
    let in_place = matches!(line.action, Action::Merge | Action::Replace);
    let never = NEVER_DELETED.contains(&line.place.group_resource.as_str());
    let fixed = error.fault == Fault::Invalid && NEVER_CHANGES.iter().any(|words| error.message.contains(words));
    if in_place && fixed && !never {
        return format!("{error} (hint: --recreate {} deletes it and makes it anew)", line.place);
    }
    error.to_string()
}
