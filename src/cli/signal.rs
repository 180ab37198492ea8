//! Ctrl-C and SIGTERM: the first one ends a command cleanly, a second one ends it at once.

use crate::error::{Context, Kind, Result};
use crate::journal::SharedProgress;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What signals ask for.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Stop working, undo what is begun, and end.
    pub gently: CancellationToken,
    /// Let go of everything now.
    pub at_once: CancellationToken,
}

/// Listens for signals as long as the process runs; `stays` is what a command leaves as far as it came, if it does.
pub(super) fn listen(progress: SharedProgress, stays: Option<&'static str>) -> Result<Stop> {
    let doing = || "listening for signals".to_owned();
    let mut interrupt = signal(SignalKind::interrupt()).context(Kind::Failed, doing)?;
    let mut terminate = signal(SignalKind::terminate()).context(Kind::Failed, doing)?;
    let mut hangup =
        if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup()).context(Kind::Failed, doing)?) };
    let stop = Stop::default();
    let heard = stop.clone();
    tokio::spawn(async move {
        loop {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hung_up => {}
            }
            if heard.gently.is_cancelled() {
                heard.at_once.cancel();
            } else {
                heard.gently.cancel();
                let what = stays.unwrap_or("stopping, and undoing what was begun");
                progress.note(format!("{what}; once more to let go at once"));
            }
        }
    });
    Ok(stop)
}

/// `nohup` asks for hang-ups to be ignored, and listening for them would undo that.
fn hangup_is_ignored() -> bool {
    const SIGHUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & SIGHUP != 0)
}
