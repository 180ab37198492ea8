//! A report in the form that its reader wants: text and Markdown and HTML for people, `JUnit` and OpenMetrics for machines.
//! Each comes from the canonical report and from nothing else.

mod html;
mod junit;
mod markdown;
mod openmetrics;
mod page;
mod text;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_junit;

use super::{DrillReport, MonthReport};
use crate::error::Result;

/// A form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a terminal.
    Text,
    /// For a pull request or a wiki.
    Markdown,
    /// One file that opens offline, prints, and reads on a phone.
    Html,
    /// The canonical one.
    Json,
    /// For a build server.
    Junit,
    /// For a monitoring system.
    OpenMetrics,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Json, Self::Html, Self::Markdown, Self::Text, Self::Junit, Self::OpenMetrics];

    /// How a file of this form ends.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Markdown => "md",
            Self::Html => "html",
            Self::Json => "json",
            Self::Junit => "xml",
            Self::OpenMetrics => "prom",
        }
    }
}

/// A drill's report in one form.
pub fn drill(report: &DrillReport, form: Form) -> Result<String> {
    Ok(match form {
        Form::Json => report.json()?,
        Form::Text => text::drill(report),
        Form::Markdown => markdown::drill(report),
        Form::Html => html::drill(report),
        Form::Junit => junit::drills(std::slice::from_ref(report)),
        Form::OpenMetrics => openmetrics::drills(std::slice::from_ref(report)),
    })
}

/// A month's report in one form.
pub fn month(report: &MonthReport, form: Form) -> Result<String> {
    Ok(match form {
        Form::Json => report.json()?,
        Form::Text => text::month(report),
        Form::Markdown => markdown::month(report),
        Form::Html => html::month(report),
        Form::Junit => junit::month(report),
        Form::OpenMetrics => openmetrics::month(report),
    })
}

/// The sign of a verdict, for readers who see no colours.
fn sign(verdict: Option<&str>) -> &'static str {
    match verdict {
        Some("met") => "✓",
        Some("missed") => "✗",
        Some("undecided") => "?",
        Some("invalid" | "aborted") => "∅",
        _ => "·",
    }
}

/// Text for HTML and XML, in elements and in attributes; what XML forbids is left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(c),
            c if c < ' ' || matches!(c, '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
