//! `davit chaos status`

use super::means::means;
use crate::chaos::{OpenIntent, is_fault, open_intents};
use crate::cli::exit::Exit;
use crate::cli::output::{Document, Ended, Page};
use crate::cli::shell::Shell;
use crate::error::{Kind, Result};
use crate::humane::{age, counted};
use jiff::Timestamp;
use serde::Serialize;

/// Shows the intents that are not closed.
pub(super) async fn run(shell: &Shell) -> Result<Ended> {
    let means = means(shell).await?;
    let open = open_intents(&means).await?.into_iter().map(Open::of).collect();
    Ended::with(&Status { open, now: shell.clock.now() })
}

#[derive(Debug, Serialize)]
struct Status {
    open: Vec<Open>,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Debug, Serialize)]
struct Open {
    run: String,
    number: u32,
    fault: Option<String>,
    target: Option<String>,
    victim: Option<String>,
    undo: Option<String>,
    holder: Option<String>,
    since: Option<Timestamp>,
    damaged: Option<String>,
}

impl Open {
    fn of(open: OpenIntent) -> Self {
        let (run, number) = (open.run.to_string(), open.number);
        match open.intent {
            Ok(intent) => Self {
                run,
                number,
                target: Some(intent.target_shown()),
                fault: Some(intent.fault),
                victim: Some(intent.victim.shown),
                undo: Some(intent.undo),
                holder: Some(intent.holder),
                since: Some(intent.began),
                damaged: None,
            },
            Err(why) => Self {
                run,
                number,
                fault: None,
                target: None,
                victim: None,
                undo: None,
                holder: None,
                since: None,
                damaged: Some(why),
            },
        }
    }
}

impl Document for Status {
    fn text(&self) -> String {
        let mut page = Page::default();
        if self.open.is_empty() {
            page.line("no fault is injected, and none is left");
            return page.text();
        }
        match self.open.iter().filter(|open| is_fault(open.number)).count() as u64 {
            0 => {
                page.line("no fault is injected; what a drill made for itself is there: it is under way, or was killed")
            }
            faults => page.line(format!("{} not proven undone", counted(faults, "fault"))),
        };
        for open in &self.open {
            page.line(format!("  run {}{}", open.run, super::of_victim(open.number)));
            if let Some(why) = &open.damaged {
                page.line(format!("    its intent cannot be read: {why}"));
            }
            if let (Some(fault), Some(target), Some(since)) = (&open.fault, &open.target, open.since) {
                let what =
                    if is_fault(open.number) { format!("{fault} into") } else { "made for itself in".to_owned() };
                page.line(format!("    {what} {target}, {} ago", age(since, self.now)));
            }
            for (name, text) in [("hits", &open.victim), ("undo", &open.undo), ("by", &open.holder)] {
                if let Some(text) = text {
                    page.line(format!("    {name}: {text}"));
                }
            }
        }
        page.line("davit chaos stop RUN ends one whose runner lives; davit chaos janitor undoes the others");
        page.text()
    }

    fn exit(&self) -> Exit {
        if self.open.is_empty() { Exit::Done } else { Exit::Not(Kind::CheckFailed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_drill_made_for_itself_is_not_called_a_fault() {
        let open = |number: u32, fault: &str| Open {
            run: "20261121T031200Z-k3f9ab".to_owned(),
            number,
            fault: Some(fault.to_owned()),
            target: Some("postgres://eva@db/shop".to_owned()),
            victim: Some("it".to_owned()),
            undo: Some("drop it".to_owned()),
            holder: Some("davit on db-1".to_owned()),
            since: Some(Timestamp::UNIX_EPOCH),
            damaged: None,
        };
        let text = |open: Vec<Open>| Status { open, now: Timestamp::UNIX_EPOCH }.text();
        let table = || open(1_000_000, "ledger-table");
        let alone = text(vec![table()]);
        assert!(alone.starts_with("no fault is injected; what a drill made for itself is there"), "{alone}");
        assert!(alone.contains("    made for itself in postgres://eva@db/shop, "), "{alone}");
        let both = text(vec![open(0, "lock-storm"), table()]);
        assert!(both.starts_with("1 fault not proven undone\n"), "{both}");
        assert!(both.contains("    lock-storm into postgres://eva@db/shop, "), "{both}");
    }
}
