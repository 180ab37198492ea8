//! What the doctor found, line by line.

use crate::cli::exit::Exit;
use crate::cli::output::{Document, Page};
use crate::error::{Error, Kind};
use crate::humane::counted;
use crate::secret::redact;
use serde::Serialize;

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It works, and somebody should know.
    Warn,
    /// A backup or a restore will fail.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    check: String,
    state: State,
    detail: String,
    hint: Option<String>,
}

/// Everything that was looked at.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    checks: Vec<Finding>,
}

impl Findings {
    /// It is as it should be.
    pub(super) fn ok(&mut self, check: &str, detail: impl Into<String>) {
        self.add(check, State::Ok, detail, None);
    }

    /// It works, and somebody should know.
    pub(super) fn warn(&mut self, check: &str, detail: impl Into<String>, hint: impl Into<String>) {
        self.add(check, State::Warn, detail, Some(hint.into()));
    }

    /// It will not work.
    pub(super) fn fail(&mut self, check: &str, detail: impl Into<String>, hint: impl Into<String>) {
        self.add(check, State::Fail, detail, Some(hint.into()));
    }

    /// It will not work, and the error says why.
    pub(super) fn error(&mut self, check: &str, error: &Error) {
        let hint = error.hint_text().map(|hint| redact(hint).into_owned());
        self.add(check, State::Fail, redact(&error.to_string()).into_owned(), hint);
    }

    fn add(&mut self, check: &str, state: State, detail: impl Into<String>, hint: Option<String>) {
        self.checks.push(Finding { check: check.to_owned(), state, detail: detail.into(), hint });
    }

    fn count(&self, state: State) -> u64 {
        self.checks.iter().filter(|finding| finding.state == state).count() as u64
    }
}

impl Document for Findings {
    fn text(&self) -> String {
        let widest = self.checks.iter().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
        let mut page = Page::default();
        for finding in &self.checks {
            let state = match finding.state {
                State::Ok => "ok  ",
                State::Warn => "warn",
                State::Fail => "FAIL",
            };
            page.line(format!("{state}  {:widest$}  {}", finding.check, finding.detail));
            if let Some(hint) = &finding.hint {
                page.line(format!("      {:widest$}  -> {hint}", ""));
            }
        }
        let (failed, warned) = (self.count(State::Fail), self.count(State::Warn));
        page.line(match (failed, warned) {
            (0, 0) => "\nall is well".to_owned(),
            (0, _) => format!("\nworks, with {}", counted(warned, "warning")),
            _ => format!("\n{} failed, {}", counted(failed, "check"), counted(warned, "warning")),
        });
        page.text()
    }

    fn exit(&self) -> Exit {
        if self.count(State::Fail) == 0 { Exit::Done } else { Exit::Not(Kind::CheckFailed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_check_is_exit_1_and_warnings_are_not() {
        let mut findings = Findings::default();
        findings.ok("keys", "writer.key");
        findings.warn("reader key", "it is here", "move it away");
        assert_eq!(findings.exit(), Exit::Done);
        findings.error("source shop", &Error::input("connecting to postgres://eva:hunter2@db/shop: no such host"));
        assert_eq!(findings.exit(), Exit::Not(Kind::CheckFailed));
        insta::assert_snapshot!(findings.text(), @"
        ok    keys         writer.key
        warn  reader key   it is here
                           -> move it away
        FAIL  source shop  connecting to postgres://eva:…@db/shop: no such host

        1 check failed, 1 warning
        ");
    }
}
