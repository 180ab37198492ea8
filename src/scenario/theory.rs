//! How long a phase of the recovery can take by the settings of what is broken: what was measured is drawn beside it.

use super::settle::line;
use crate::measure::instants::PHASE_NAMES;
use crate::units::Span;
use crate::yaml::{Problem, suggestion};
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::time::Duration;

/// Between which durations a phase lies if everything keeps its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theory {
    /// The phase, one of [`PHASE_NAMES`].
    pub phase: String,
    /// At best.
    pub best: Duration,
    /// At worst.
    pub worst: Duration,
    /// The settings that it comes from.
    pub because: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTheory {
    phase: String,
    best: Option<Span>,
    worst: Span,
    because: Option<String>,
}

/// What the file says of phases, and what is wrong with it.
pub(super) fn settle(raw: Vec<Spanned<RawTheory>>, problems: &mut Vec<Problem>) -> Vec<Theory> {
    let mut all: Vec<Theory> = Vec::new();
    for raw in raw {
        let at = line(&raw);
        let RawTheory { phase, best, worst, because } = raw.value;
        let mut wrong = |text: String, hint: Option<String>| problems.push(Problem::new(at, text, hint));
        if !PHASE_NAMES.contains(&phase.as_str()) {
            wrong(format!("no phase of a recovery is called {phase:?}"), suggestion(&phase, &PHASE_NAMES));
        } else if all.iter().any(|theory| theory.phase == phase) {
            wrong(format!("the phase {phase:?} is there twice"), Some("say once how long it can take".to_owned()));
        }
        let best = best.map_or(Duration::ZERO, |best| best.0);
        if worst.0 < best || worst.0.is_zero() {
            let hint = "write `best: 2s, worst: 40s`; without `best` it may take no time at all";
            wrong(format!("the phase {phase:?} can at worst not be shorter than at best"), Some(hint.to_owned()));
        }
        all.push(Theory { phase, best, worst: worst.0, because });
    }
    all
}
