//! Sequences stand where they stood: they know no transactions, so they are set last, and read back at the very end.

use super::definitions::{Definitions, Turn};
use crate::backup::facts::SequenceValue;
use crate::error::Result;
use crate::postgres::{Session, quote};
use std::fmt;

/// The stage's name in progress and report.
pub(super) const STAGE: &str = "sequences";

/// How many go in one statement.
const TOGETHER: usize = 500;

/// How many are asked for in one statement.
const ASKED_TOGETHER: usize = 100;

/// A sequence that does not stand where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backup) struct Moved {
    recorded: SequenceValue,
    found: (i64, bool),
}

/// What may draw from sequences between the hour they are set and the one they are read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backup) enum Drawn {
    /// Nothing.
    Nothing,
    /// Materialised views that were filled: a sequence may have gone on, and no number is handed out twice by that.
    ByViews,
}

impl Drawn {
    /// By what these definitions fill.
    pub(in crate::backup) fn by(definitions: &Definitions) -> Self {
        if definitions.at(Turn::Fill).next().is_some() { Self::ByViews } else { Self::Nothing }
    }

    fn allows(self, recorded: &SequenceValue, found: (i64, bool), increment: i64) -> bool {
        let place = |(value, called): (i64, bool)| {
            let number = i128::from(value);
            (if increment < 0 { -number } else { number }, called)
        };
        let stood = (recorded.last_value, recorded.is_called);
        found == stood || (self == Self::ByViews && place(found) > place(stood))
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |(value, called): (i64, bool)| {
            let next = if called { "" } else { ", not handed out yet" };
            format!("{value}{next}")
        };
        let SequenceValue { schema, name, last_value, is_called } = &self.recorded;
        let (stood, stands) = (place((*last_value, *is_called)), place(self.found));
        write!(f, "{}: it stood at {stood} and stands at {stands}", quote::qualified(schema, name))
    }
}

/// Reads them back; gives those that do not stand where they stood.
pub(in crate::backup) async fn moved(
    session: &Session,
    sequences: &[SequenceValue],
    drawn: Drawn,
) -> Result<Vec<Moved>> {
    let mut moved = Vec::new();
    for some in sequences.chunks(ASKED_TOGETHER) {
        let ask = |(number, s): (usize, &SequenceValue)| {
            let name = quote::qualified(&s.schema, &s.name);
            format!(
                "SELECT {number}, s.last_value, s.is_called, p.seqincrement FROM {name} s, pg_catalog.pg_sequence p \
                 WHERE p.seqrelid = {}::pg_catalog.regclass",
                quote::literal(&name)
            )
        };
        let sql = some.iter().enumerate().map(ask).collect::<Vec<_>>().join(" UNION ALL ");
        let rows = session.rows("reading sequences back", &sql, &[]).await?;
        for row in &rows {
            let (number, found, increment): (i32, (i64, bool), i64) =
                (row.get(0), (row.get(1), row.get(2)), row.get(3));
            let recorded = usize::try_from(number).ok().and_then(|number| some.get(number));
            let recorded = recorded.filter(|recorded| !drawn.allows(recorded, found, increment));
            moved.extend(recorded.map(|recorded| Moved { recorded: recorded.clone(), found }));
        }
    }
    Ok(moved)
}

/// Sets all of them.
pub(super) async fn set(session: &Session, sequences: &[SequenceValue]) -> Result<()> {
    let sql = "SELECT pg_catalog.setval(name::regclass, value, called) \
               FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::bigint[]), pg_catalog.unnest($3::bool[])) AS s(name, value, called)";
    for some in sequences.chunks(TOGETHER) {
        let names: Vec<String> = some.iter().map(|s| quote::qualified(&s.schema, &s.name)).collect();
        let values: Vec<i64> = some.iter().map(|s| s.last_value).collect();
        let called: Vec<bool> = some.iter().map(|s| s.is_called).collect();
        session.rows("setting sequences", sql, &[&names, &values, &called]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_filled_views_may_have_drawn_from_a_sequence_and_never_back() {
        let recorded =
            |last_value, is_called| SequenceValue { schema: "public".into(), name: "s".into(), last_value, is_called };
        let stood = recorded(5, true);
        for (drawn, found, increment, allowed) in [
            (Drawn::Nothing, (5, true), 1, true),
            (Drawn::Nothing, (6, true), 1, false),
            (Drawn::Nothing, (5, false), 1, false),
            (Drawn::ByViews, (6, true), 1, true),
            (Drawn::ByViews, (4, true), 1, false),
            (Drawn::ByViews, (5, false), 1, false),
            (Drawn::ByViews, (4, true), -1, true),
        ] {
            assert_eq!(drawn.allows(&stood, found, increment), allowed, "{drawn:?} {found:?} {increment}");
        }
        let moved = Moved { recorded: recorded(1, false), found: (9, true) };
        assert_eq!(moved.to_string(), "\"public\".\"s\": it stood at 1, not handed out yet and stands at 9");
    }
}
