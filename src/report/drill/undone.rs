//! When the fault was undone, where something undoes it: by the drill when its time was over, or when the drill was given up.

use super::facts::Facts;
use super::model::Moment;
use super::of::after;
use crate::measure::Interval;
use crate::report::words::since;

/// Between which instants the last of what was broken was put back; nothing where that is not proven, or nothing undoes it.
pub(super) fn undone(facts: &Facts<'_>) -> Option<Interval> {
    let whole = facts.undone.iter().all(|(_, healing)| healing.proven);
    let put_back = facts.undone.iter().filter(|(_, healing)| whole && !healing.nothing);
    put_back.map(|(at, _)| *at).max_by_key(|at| at.high)
}

/// The row of the timeline; nothing where nobody came to undo anything.
pub(super) fn moment(facts: &Facts<'_>) -> Option<Moment> {
    let (_, last) = facts.undone.last()?;
    let at = undone(facts);
    let evidence = match facts.undone.iter().find(|(_, healing)| !healing.proven) {
        Some((_, healing)) => format!("not proven: {}", healing.detail),
        None if at.is_none() => format!("nothing to undo: {}", last.detail),
        None => last.detail.clone(),
    };
    Some(Moment {
        symbol: "th".to_owned(),
        name: "fault undone".to_owned(),
        at: at.map(|at| since(at, facts.zero)),
        since_fault: at.zip(facts.fault()).map(|(at, fault)| after(at, fault)),
        wall: at.and_then(|at| facts.began.wall.checked_add(at.high.saturating_sub(facts.zero)).ok()),
        evidence,
    })
}
