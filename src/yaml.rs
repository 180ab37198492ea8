//! Files that people write in YAML: every problem with its line, and the nearest name for a misspelt one.

use crate::error::Error;
use serde::de::DeserializeOwned;
use serde_saphyr::{DeserializeError, MessageFormatter, UserMessageFormatter};
use std::fmt;
use std::path::Path;

/// No file has more problems than anybody reads.
const PROBLEMS_MAX: usize = 50;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its line, from 1.
    pub line: Option<u64>,
    /// What is wrong: lower case, no full stop, no secret.
    pub text: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem somewhere in the file.
    pub fn new(line: Option<u64>, text: impl Into<String>, hint: Option<String>) -> Self {
        Self { line, text: text.into(), hint }
    }

    /// The same problem with this hint, unless it has a better one.
    #[must_use]
    pub fn or_hint(mut self, hint: String) -> Self {
        self.hint.get_or_insert(hint);
        self
    }

    /// The problem as the error of a command that could not read `file`.
    pub fn into_error(self, file: &Path) -> Error {
        let error = Error::input(format!("reading {}: {self}", file.display()));
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// The name nearest to `wrong`, if one is near enough to be what was meant.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let measured = known.into_iter().map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name));
    let (distance, name) = measured.min_by_key(|(distance, _)| *distance)?;
    // A third of the letters may be wrong; more than that is another word.
    (distance <= name.chars().count().max(3) / 3).then_some(name)
}

/// The hint for a name that is not known: the nearest one, or all of them.
pub fn suggestion(wrong: &str, known: &[&str]) -> Option<String> {
    match nearest(wrong, known.iter().copied()) {
        Some(near) => Some(format!("did you mean {near:?}?")),
        None if known.is_empty() => None,
        None => Some(format!("what can stand here: {}", known.join(", "))),
    }
}

/// Reads a file whose entries are called `word`s; what could be understood (nothing of an empty file), and everything
/// that is wrong with the rest.
///
/// The YAML reader stops at the first problem, so the entry it stopped at is blanked out and the rest is read again.
pub fn parse<T: DeserializeOwned>(text: &str, word: &str) -> (Option<T>, Vec<Problem>) {
    let mut problems = Vec::new();
    let whole: Vec<&str> = text.lines().collect();
    let mut lines = whole.clone();
    loop {
        let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
        let attempt = lines.join("\n");
        let error = match serde_saphyr::from_str_with_options::<Option<T>>(&attempt, options) {
            Ok(read) => return (read, problems),
            Err(error) => error,
        };
        let (problem, blank) = understand(&error, &lines, word);
        let line = problem.line;
        if lines != whole && lacks_outermost(error.without_snippet(), line, &whole) {
            return (None, problems);
        }
        if !follows_from_blanks(error.without_snippet(), line, &whole, &lines) {
            problems.push(problem);
        }
        let blanked = blank && line.is_some_and(|line| blank_entry(&mut lines, line));
        if !blanked || problems.len() == PROBLEMS_MAX {
            return (None, problems);
        }
    }
}

/// The problem behind an error of the reader, and whether the file can be read further without that entry.
fn understand(error: &DeserializeError, lines: &[&str], word: &str) -> (Problem, bool) {
    let error = error.without_snippet();
    let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
    match error {
        DeserializeError::SerdeUnknownField { field, expected, .. } => {
            let line = line_of_key(lines, line, field).or(line);
            let text = format!("there is no {word} {field:?}{}", shown(lines, line, field));
            (Problem::new(line, text, suggestion(field, expected)), true)
        }
        DeserializeError::SerdeUnknownVariant { variant, expected, .. } => {
            let text = format!("{variant:?} is not among what can stand here");
            (Problem::new(line, text, suggestion(variant, expected)), true)
        }
        DeserializeError::SerdeMissingField { field, .. } => {
            (Problem::new(line, format!("the {word} {field:?} is missing"), None), true)
        }
        DeserializeError::SerdeInvalidType { unexpected, expected, .. } => {
            let found = unexpected.split_whitespace().next().unwrap_or("something else");
            (Problem::new(line, format!("{expected} belongs here, not a value of type {found}"), None), true)
        }
        DeserializeError::InvalidScalar { ty, .. } => {
            let wanted = if ty.starts_with(['u', 'i']) { "a whole number" } else { ty };
            (Problem::new(line, format!("{wanted} belongs here"), None), true)
        }
        DeserializeError::InvalidBooleanStrict { .. } => (Problem::new(line, "true or false belongs here", None), true),
        DeserializeError::Unexpected { expected, .. } => {
            let wanted = match *expected {
                "mapping start" => "a block of `name: value` lines",
                "sequence start" => "a list",
                other => other,
            };
            (Problem::new(line, format!("{wanted} belongs here"), None), true)
        }
        DeserializeError::Message { .. } => (Problem::new(line, plain_text(error), None), true),
        _ => (Problem::new(line, plain_text(error), None), false),
    }
}

fn plain_text(error: &DeserializeError) -> String {
    UserMessageFormatter.format_message(error).trim_end_matches('.').to_owned()
}

/// The reader points at the value or the mapping; the key is in this line or near it.
fn line_of_key(lines: &[&str], reported: Option<u64>, key: &str) -> Option<u64> {
    let reported = usize::try_from(reported?).ok()?;
    let holds = |at: &usize| lines.get(at.wrapping_sub(1)).is_some_and(|line| line.contains(key));
    let back = (1..=reported).rev().find(holds);
    let found = if holds(&reported) { Some(reported) } else { back };
    found.and_then(|line| u64::try_from(line).ok())
}

/// The line up to the misspelt key, in parentheses. What follows the key may be a secret and is not shown.
fn shown(lines: &[&str], line: Option<u64>, key: &str) -> String {
    let text = line.and_then(|line| usize::try_from(line).ok()).and_then(|line| lines.get(line - 1));
    let cut = text.and_then(|text| text.find(key).map(|at| text[..at + key.len()].trim_start()));
    cut.map(|cut| format!(" (\"{}: …\")", crate::secret::redact(cut))).unwrap_or_default()
}

/// Empties the entry that begins in `line`: that line and those below it that are indented more. Fails where it
/// would not help, because the line is empty already or holds a mapping in braces.
fn blank_entry(lines: &mut [&str], line: u64) -> bool {
    let Some(at) = usize::try_from(line).ok().and_then(|line| line.checked_sub(1)) else { return false };
    let Some(first) = lines.get(at).filter(|text| !text.trim().is_empty()) else { return false };
    let is_entry = !first.trim_start().starts_with(['{', '[', '}', ']']) && first.contains(':');
    let indent = indentation(first);
    if !is_entry {
        return false;
    }
    lines[at] = "";
    for below in &mut lines[at + 1..] {
        if !below.trim().is_empty() && indentation(below) <= indent {
            break;
        }
        *below = "";
    }
    true
}

/// Whether an outermost entry is missing: after one was blanked out that proves nothing, and all others have been read.
fn lacks_outermost(error: &DeserializeError, line: Option<u64>, whole: &[&str]) -> bool {
    let at = line.and_then(|line| usize::try_from(line).ok()).and_then(|line| line.checked_sub(1));
    let outermost = at.and_then(|at| whole.get(at)).is_none_or(|text| indentation(text) == 0);
    matches!(error, DeserializeError::SerdeMissingField { .. }) && outermost
}

/// Whether something is missing only because it, or all of its block, was blanked out for another problem.
fn follows_from_blanks(error: &DeserializeError, line: Option<u64>, whole: &[&str], lines: &[&str]) -> bool {
    let about_absence =
        matches!(error, DeserializeError::SerdeMissingField { .. } | DeserializeError::Unexpected { .. });
    let at = line.and_then(|line| usize::try_from(line).ok()).and_then(|line| line.checked_sub(1));
    let (true, Some(at)) = (about_absence, at) else { return false };
    // The reader names the block's header or one of its lines; both lead to the header.
    let Some(indent) = whole.get(at).map(|text| indentation(text)) else { return false };
    let outer = |above: &usize| !whole[*above].trim().is_empty() && indentation(whole[*above]) < indent;
    let header = match error {
        DeserializeError::SerdeMissingField { .. } => (0..at).rev().find(outer).unwrap_or(at),
        _ => at,
    };
    let indent = indentation(whole[header]);
    let inside = (header + 1..whole.len()).take_while(|below| {
        let text = whole[*below];
        text.trim().is_empty() || indentation(text) > indent
    });
    inside.into_iter().any(|below| lines[below].is_empty() && !whole[below].trim().is_empty())
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}
