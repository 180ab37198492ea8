//! The person who is to notice the fault, and says so with `davit chaos ack` while the drill goes on.

use super::desk::{Desk, stopped};
use crate::chaos::{Ear, Heard};
use crate::error::Result;
use crate::measure::Interval;
use crate::report::journal::{Acknowledged, Event};
use crate::units::Span;
use std::time::Duration;
use tokio::sync::oneshot;

/// Whoever speaks this much after the time that was asked for is known to be too late.
const LATE: Duration = Duration::from_secs(1);

/// Listens until everything else is `over`, and where a time was asked for until it has passed; writes down who spoke, or
/// that nobody did.
pub(super) async fn watch(desk: &Desk<'_>, over: oneshot::Receiver<Option<Interval>>) -> Result<()> {
    let mut ear = Ear::new(&desk.means.chaos, &desk.script.run);
    let heard = tokio::select! {
        heard = ear.heard() => Ok(Some(heard)),
        () = patience(desk, over) => Ok(None),
    };
    let heard = match heard {
        Ok(None) => ear.close().await,
        heard => heard,
    };
    match heard {
        Ok(Some(Heard { noticed, at })) => {
            desk.means.progress.note(format!("{} noticed", noticed.by));
            let said = Acknowledged { at, by: noticed.by, note: noticed.note, when: noticed.when };
            desk.notebook.note(Event::Acknowledged(said))?;
        }
        Ok(None) => desk.notebook.note(Event::Unacknowledged { until: ear.not_yet() })?,
        Err(error) => {
            let what = format!("whether a person noticed could not be found out: {error}");
            desk.notebook.note(Event::Surprise { what })?;
        }
    }
    if desk.means.cancel().is_cancelled() { Err(stopped()) } else { Ok(()) }
}

/// Waits for the end of everything else; then, if somebody is to notice within a time, for the end of that.
async fn patience(desk: &Desk<'_>, over: oneshot::Receiver<Option<Interval>>) {
    let Ok(Some(fault)) = over.await else { return };
    let Some(wanted) = desk.script.scenario.objectives.acknowledgement.objective() else { return };
    let left = (fault.high + wanted.0 + LATE).saturating_sub(desk.now());
    if !left.is_zero() {
        let run = &desk.script.run;
        desk.means.progress.note(format!("waiting {} for somebody to notice: davit chaos ack {run}", Span(left)));
        // Somebody who says stop ends the drill elsewhere.
        drop(desk.sleep(left).await);
    }
}
