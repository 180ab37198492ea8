//! `davit chaos status`

use super::means::means;
use crate::chaos::{OpenIntent, open_intents};
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
        page.line(format!("{} not proven undone", counted(self.open.len() as u64, "fault")));
        for open in &self.open {
            page.line(format!("  run {}{}", open.run, super::of_victim(open.number)));
            if let Some(why) = &open.damaged {
                page.line(format!("    its intent cannot be read: {why}"));
            }
            if let (Some(fault), Some(target), Some(since)) = (&open.fault, &open.target, open.since) {
                page.line(format!("    {fault} into {target}, {} ago", age(since, self.now)));
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
