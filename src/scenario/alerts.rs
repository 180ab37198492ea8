//! The alerts that somebody expects of a fault, and who knows whether they fire.

use super::settle::line;
use crate::units::Span;
use crate::yaml::Problem;
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::time::Duration;

/// An alert that is to fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertWish {
    /// What reports call it.
    pub name: String,
    /// So long after the proven fault at most.
    pub within: Duration,
    /// Who knows whether it fires.
    pub how: AlertHow,
}

/// Who knows whether an alert fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertHow {
    /// A program that exits with 0 while it fires; what it prints last is what was seen.
    Command(Vec<String>),
    /// An Alertmanager.
    Alertmanager {
        /// Where it is, without a slash at the end.
        url: String,
        /// The labels that the alert has.
        labels: BTreeMap<String, String>,
    },
}

impl AlertHow {
    /// Who is asked, in a few words. Of a command only the program: the arguments may be anybody's.
    pub fn words(&self) -> String {
        match self {
            Self::Command(words) => format!("the program {}", words.first().map_or("", String::as_str)),
            Self::Alertmanager { labels, .. } => {
                let labels = labels.iter().map(|(name, value)| format!("{name}={value:?}"));
                format!("Alertmanager, {}", labels.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAlert {
    name: String,
    within: Span,
    #[serde(default)]
    command: Vec<String>,
    alertmanager: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// What the file says of alerts, and what is wrong with it.
pub(super) fn settle(raw: Vec<Spanned<RawAlert>>, problems: &mut Vec<Problem>) -> Vec<AlertWish> {
    let mut wishes: Vec<AlertWish> = Vec::new();
    for raw in raw {
        let at = line(&raw);
        let RawAlert { name, within, command, alertmanager, labels } = raw.value;
        let mut wrong = |text: String, hint: &str| problems.push(Problem::new(at, text, Some(hint.to_owned())));
        if name.trim().is_empty() {
            wrong("an alert has no name".to_owned(), "write `name: …`; reports call it so");
        } else if wishes.iter().any(|wish| wish.name == name) {
            wrong(format!("two alerts are called {name:?}"), "give each its own name; reports tell them apart by it");
        }
        if within.0.is_zero() {
            wrong(format!("the alert {name:?} has no time to fire"), "write `within: 2m`");
        }
        let asked = command.first().is_some_and(|program| !program.is_empty());
        let how = match (asked, alertmanager) {
            (true, None) if labels.is_empty() => AlertHow::Command(command),
            (false, Some(url)) if !labels.is_empty() => {
                if !url.starts_with("http://") && !url.starts_with("https://") {
                    wrong(format!("{url:?} is no URL of an Alertmanager"), "write `alertmanager: http://HOST:9093`");
                }
                AlertHow::Alertmanager { url: url.trim_end_matches('/').to_owned(), labels }
            }
            (false, Some(_)) => {
                wrong(
                    format!("the alert {name:?} says nothing by which an Alertmanager could find it"),
                    "write `labels: {alertname: NAME}` beside it",
                );
                continue;
            }
            _ => {
                wrong(
                    format!("nobody can be asked whether the alert {name:?} fires"),
                    "give it exactly one of `command`, or `alertmanager` with `labels`",
                );
                continue;
            }
        };
        wishes.push(AlertWish { name, within: within.0, how });
    }
    wishes
}
