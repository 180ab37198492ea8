//! What the standby had of the writes at the end.

use super::facts::Facts;
use crate::humane::{bytes, count, counted};
use crate::report::journal::{Differing, ReplicaSeen, ReplicaState};
use crate::report::words::{seconds, secs};
use serde::{Deserialize, Serialize};

/// So many ids of a kind help to find them; more only fill a page.
const EXAMPLES: usize = 10;

/// What the standby had of the writes at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaRow {
    /// `converged`, `differs`, `behind`, `none` (it was promoted) or `not known`.
    pub word: String,
    /// Whether it has what the writer has, once it has replayed all of it; nothing where that was not found out.
    pub converged: Option<bool>,
    /// Seconds that it took to find out.
    pub seconds: f64,
    /// Rows that it has.
    pub rows: Option<u64>,
    /// Rows of the writer that it does not have, or not as they are there.
    pub missing: u64,
    /// Rows that it has and the writer does not.
    pub extra: u64,
    /// Some of the ids that differ.
    pub examples: Vec<u64>,
    /// Bytes of the writer's log that it had not replayed when it was no longer waited for.
    pub behind_bytes: Option<u64>,
    /// In words.
    pub sentence: String,
}

impl ReplicaRow {
    /// `; some of their ids: 7, 8`
    pub fn ids(&self) -> String {
        let ids: Vec<String> = self.examples.iter().map(u64::to_string).collect();
        if ids.is_empty() { String::new() } else { format!("; some of their ids: {}", ids.join(", ")) }
    }
}

/// What the report says of it; nothing where no standby was known, or nothing was written.
pub(super) fn row(facts: &Facts<'_>) -> Option<ReplicaRow> {
    let ReplicaSeen { from, until, state } = facts.replica?;
    let waited = secs(until.saturating_sub(*from));
    let none = ReplicaRow {
        word: String::new(),
        converged: None,
        seconds: waited,
        rows: None,
        missing: 0,
        extra: 0,
        examples: Vec::new(),
        behind_bytes: None,
        sentence: String::new(),
    };
    Some(match state {
        ReplicaState::Read { rows, missing, extra } if missing.count + extra.count == 0 => ReplicaRow {
            word: "converged".to_owned(),
            converged: Some(true),
            rows: Some(*rows),
            sentence: format!(
                "the standby has {} of the ledger, as the writer has them ({} until it had replayed them and was read)",
                counted(*rows, "row"),
                seconds(waited)
            ),
            ..none
        },
        ReplicaState::Read { rows, missing, extra } => ReplicaRow {
            word: "differs".to_owned(),
            converged: Some(false),
            rows: Some(*rows),
            missing: missing.count,
            extra: extra.count,
            examples: examples(missing, extra),
            sentence: format!(
                "the standby has replayed all and has other rows: {} of the writer's are not there, {} are only there",
                count(missing.count),
                count(extra.count)
            ),
            ..none
        },
        ReplicaState::Behind { bytes: behind, streams } => {
            let how = if *streams { "though it streams" } else { "and nothing streams to it" };
            ReplicaRow {
                word: "behind".to_owned(),
                converged: Some(false),
                behind_bytes: Some(*behind),
                sentence: format!(
                    "the standby had not replayed {} of the writer's log after {}, {how}: its rows were not compared",
                    bytes(*behind),
                    seconds(waited)
                ),
                ..none
            }
        }
        ReplicaState::Promoted => ReplicaRow {
            word: "none".to_owned(),
            sentence: "the standby is a primary now: there is no replica left to compare".to_owned(),
            ..none
        },
        ReplicaState::Unknown { why } => ReplicaRow {
            word: "not known".to_owned(),
            sentence: format!("the standby could not be compared: {why}"),
            ..none
        },
    })
}

fn examples(missing: &Differing, extra: &Differing) -> Vec<u64> {
    let mut ids: Vec<u64> = missing.ids.iter().chain(&extra.ids).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(EXAMPLES);
    ids
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::super::tests::{Made, stored_is_the_same};
    use super::*;
    use crate::report::DrillReport;
    use crate::report::journal::{Event, Line};
    use crate::report::render::{Form, drill};

    fn report(state: ReplicaState) -> DrillReport {
        let mut lines = Made::default().journal();
        let at = lines[lines.len() - 1].at;
        let seen = ReplicaSeen { from: at, until: at + std::time::Duration::from_secs(2), state };
        lines.insert(lines.len() - 1, Line { at, event: Event::Replica(seen) });
        stored_is_the_same(&lines);
        of(&lines).unwrap()
    }

    #[test]
    fn a_standby_that_has_other_rows_is_a_miss_and_every_form_for_people_says_what_it_has() {
        let differing = |ids: &[u64]| Differing { count: ids.len() as u64, ids: ids.to_vec() };
        let read = |missing: &[u64], extra: &[u64]| ReplicaState::Read {
            rows: 900,
            missing: differing(missing),
            extra: differing(extra),
        };
        for (state, word, converged, verdict) in [
            (read(&[], &[]), "converged", Some(true), "met"),
            (read(&[7, 8], &[8]), "differs", Some(false), "missed"),
            (ReplicaState::Behind { bytes: 4_096, streams: true }, "behind", Some(false), "met"),
            (ReplicaState::Promoted, "none", None, "met"),
            (ReplicaState::Unknown { why: "nobody is there".to_owned() }, "not known", None, "met"),
        ] {
            let report = report(state);
            let row = report.replica.clone().unwrap();
            assert_eq!((row.word.as_str(), row.converged), (word, converged), "{row:?}");
            assert_eq!(report.verdict.word, verdict, "{:?}", report.verdict);
            for form in [Form::Text, Form::Markdown, Form::Html, Form::Json] {
                assert!(drill(&report, form).unwrap().contains("he standby "), "{form:?} {word}");
            }
            assert_eq!(row.examples, if word == "differs" { vec![7, 8] } else { vec![] });
        }
        assert_eq!(Made::default().report().replica, None);
    }
}
