//! Alerts that somebody expects of the fault: each is asked for once a second, from before the fault until it is known
//! whether it fired in time. Who is asked may hang: no answer is waited for longer than its deadline, and nothing else of a
//! drill waits for one.

use super::desk::Desk;
use super::recovery::ended;
use crate::error::{Error, Result};
use crate::measure::{Instant, Interval};
use crate::probe::Connection;
use crate::probe::http::{Good, HttpService};
use crate::report::journal::{AlertSeen, Event};
use crate::scenario::{AlertHow, AlertWish, RecoveryBy};
use crate::units::Span;
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);
/// How long one answer is waited for.
const ANSWER: Duration = Duration::from_secs(5);
/// An alert that fires this much after its time is known to be late.
const LATE: Duration = Duration::from_secs(1);

/// Asks until everything else is `over` and no alert has time left; writes down what became of each, and when the platform
/// noticed, where nothing else shows that.
pub(super) async fn watch(desk: &Desk<'_>, over: &CancellationToken) -> Result<()> {
    let wishes = &desk.script.scenario.alerts;
    let seen = join_all(wishes.iter().map(|wish| one(desk, wish, over))).await;
    for alert in &seen {
        desk.notebook.note(Event::Alert(alert.clone()))?;
    }
    over.cancelled().await;
    let Some(fault) = desk.fault() else { return Ok(()) };
    let by_platform = desk.script.scenario.recovery.by == RecoveryBy::Platform;
    let fired = seen.iter().filter_map(|alert| Some((alert.fired.filter(|at| at.high > fault.low)?, &alert.name)));
    match fired.min_by_key(|(at, _)| at.high) {
        Some((at, name)) if by_platform && !desk.notebook.has_mark(Instant::Detected) => {
            desk.notebook.mark(Instant::Detected, at, format!("the alert {name} fired"))
        }
        _ => Ok(()),
    }
}

/// What is known of one alert while it is asked for.
#[derive(Debug, Default)]
struct Known {
    /// When the last look began that saw it silent.
    silent: Option<Duration>,
    /// Since when it fires, and how that shows.
    fires: Option<(Interval, String)>,
    /// Why the last question had no answer.
    failed: Option<String>,
}

impl Known {
    fn take(&mut self, looked: Duration, answered: Duration, answer: Result<Option<String>>) {
        match answer {
            Ok(Some(evidence)) if self.fires.is_none() => {
                // Nobody looked before the first look.
                let since = Interval::new(self.silent.unwrap_or(Duration::ZERO).min(answered), answered);
                self.fires = Some((since, evidence));
            }
            Ok(Some(_)) => {}
            Ok(None) => (self.silent, self.fires) = (Some(looked), None),
            Err(error) => self.failed = Some(error.to_string()),
        }
    }
}

async fn one(desk: &Desk<'_>, wish: &AlertWish, over: &CancellationToken) -> AlertSeen {
    let clock = desk.means.clock();
    let mut known = Known::default();
    loop {
        let looked = desk.now();
        let answer = tokio::select! {
            answer = ask(&wish.how) => answer,
            () = clock.sleep(ANSWER) => Err(Error::failed(format!("no answer within {}", Span(ANSWER)))),
            () = desk.means.cancel().cancelled() => break,
        };
        known.take(looked, desk.now(), answer);
        let (fault, ended) = (desk.fault(), over.is_cancelled());
        // What fires before there is a fault may still end before it.
        let waits = match (&known.fires, fault) {
            (Some(_), Some(_)) => false,
            (None, Some(fault)) => !ended || desk.now() < fault.high + wish.within + LATE,
            (_, None) => !ended,
        };
        if !waits {
            break;
        }
        tokio::select! {
            () = clock.sleep((looked + EVERY).saturating_sub(desk.now())) => {}
            () = desk.means.cancel().cancelled() => break,
            // Where there was no fault nothing is waited for.
            () = over.cancelled(), if fault.is_none() => {}
        }
    }
    let (fired, evidence) = known.fires.map_or((None, String::new()), |(at, evidence)| (Some(at), evidence));
    let (within, how) = (wish.within, wish.how.words());
    AlertSeen { name: wish.name.clone(), within, how, silent: known.silent, fired, evidence, failed: known.failed }
}

/// What shows that it fires now; nothing where it does not.
async fn ask(how: &AlertHow) -> Result<Option<String>> {
    match how {
        AlertHow::Command(command) => {
            let (status, said) = ended(command).await?;
            Ok(status.success().then_some(said))
        }
        AlertHow::Alertmanager { url, labels } => {
            let doing = || "asking the Alertmanager".to_owned();
            let url = format!("{url}/api/v2/alerts?active=true{}", filters(labels));
            let good = Good { status: Some(200), contains: None };
            let service = HttpService::new(&url, Connection::Fresh, good)?;
            let body = service.fetch().await.map_err(|why| Error::failed(format!("{}: {why}", doing())))?;
            let alerts: Vec<Value> =
                serde_json::from_slice(&body).map_err(|why| Error::failed(doing()).because(why))?;
            Ok(alerts.first().map(evidence))
        }
    }
}

/// `&filter=alertname%3D%22Slow%22` for each label.
fn filters(labels: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        text.push_str("&filter=");
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        for byte in format!("{name}=\"{value}\"").bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
                text.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ignored = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// What an Alertmanager says of an alert, in a line.
fn evidence(alert: &Value) -> String {
    let labels = alert["labels"].as_object().into_iter().flatten();
    let labels = labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
    let labels = labels.collect::<Vec<_>>().join(", ");
    match alert["startsAt"].as_str() {
        Some(since) => format!("{labels}; since {since} by its own clock"),
        None => labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_alert_began_between_the_last_look_that_was_silent_and_the_first_that_was_not() {
        let mut known = Known::default();
        known.take(s(1), s(2), Ok(None));
        known.take(s(3), s(4), Err(Error::failed("no answer")));
        known.take(s(5), s(6), Ok(Some("fires".to_owned())));
        known.take(s(7), s(8), Ok(Some("still".to_owned())));
        assert_eq!(known.fires, Some((Interval::new(s(1), s(6)), "fires".to_owned())));
        // What was silent again begins anew.
        known.take(s(9), s(10), Ok(None));
        assert_eq!(known.fires, None);
        known.take(s(11), s(12), Ok(Some("again".to_owned())));
        assert_eq!(known.fires, Some((Interval::new(s(9), s(12)), "again".to_owned())));
    }

    #[test]
    fn labels_are_asked_for_as_an_alertmanager_reads_them() {
        let labels = [("alertname", "Slow \"logins\""), ("env", "a&b")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        assert_eq!(filters(&labels), "&filter=alertname%3D%22Slow%20%5C%22logins%5C%22%22&filter=env%3D%22a%26b%22");
    }
}
