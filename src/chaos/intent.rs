//! The intent: what undoing one fault takes, durable in the repository before the effect.

use super::database::ledger_table::{self, LedgerTable};
use super::fault::{Fault, Prepared, Scene, find};
use super::means::{Helper, Means};
use super::parameters::Parameters;
use super::target::Target;
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::secret::redact;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// The newest format this build reads and the only one it writes.
const FORMAT: u32 = 1;

/// What undoing one fault on one victim takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// 1.
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// Its number within the run.
    pub number: u32,
    /// The fault.
    pub fault: String,
    /// The target as it reads back. It holds a password only where records are sealed.
    target: String,
    /// What the fault was told.
    pub parameters: Parameters,
    /// How long it was to last, in milliseconds.
    duration_milliseconds: u64,
    /// Who is hit.
    pub victim: super::Victim,
    /// How it was before.
    pub prior: Value,
    /// What undoing does, in words.
    pub undo: String,
    /// The uid of the cluster it is in, if it is in one.
    pub cluster: Option<String>,
    /// Where its helper pods run, and which they are, if it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
    /// Who put it.
    pub holder: String,
    /// When, by the runner's wall clock: a label.
    pub began: Timestamp,
    /// `davit` and its version.
    pub tool: String,
}

/// That a fault was undone, and what was seen then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// The run.
    pub run: RunId,
    /// Number of the intent.
    pub number: u32,
    /// What was seen.
    pub seen: super::ReadBack,
    /// Who looked.
    pub holder: String,
    /// When.
    pub when: Timestamp,
}

/// An intent that is not closed.
#[derive(Debug, Clone)]
pub struct OpenIntent {
    /// Its run.
    pub run: RunId,
    /// Its number.
    pub number: u32,
    /// What it says; an error where it cannot be read, which leaves it open.
    pub intent: Result<Intent, String>,
}

impl OpenIntent {
    /// Whether it is about a fault. What a drill has made for itself is undone like one, and is nothing that anybody would
    /// notice, or could end early.
    pub fn is_fault(&self) -> bool {
        ledger_table::is_fault(self.number)
    }
}

impl Intent {
    /// The intent of one victim.
    pub(super) fn new(
        scene: &Scene<'_>,
        fault: &str,
        number: u32,
        prepared: &Prepared,
        cluster: Option<String>,
    ) -> Self {
        let means = scene.means;
        let sealed = means.repository.encrypted();
        let target = scene.target.text();
        let target = match scene.target {
            Target::Database(_) if !sealed => without_password(target.reveal()),
            _ => target.reveal().to_owned(),
        };
        let keep =
            |value: &str| if sealed || !value.contains("://") { value.to_owned() } else { without_password(value) };
        Self {
            format: FORMAT,
            run: scene.run.clone(),
            number,
            fault: fault.to_owned(),
            target,
            parameters: scene.parameters.iter().map(|(name, value)| (name, keep(value))).collect(),
            duration_milliseconds: u64::try_from(scene.duration.as_millis()).unwrap_or(u64::MAX),
            victim: prepared.victim.clone(),
            prior: prepared.prior.clone(),
            undo: prepared.undo.clone(),
            helper: scene.target.kind().in_cluster().then(|| means.helper.clone()),
            cluster,
            holder: means.holder.clone(),
            began: means.clock.now(),
            tool: concat!("davit ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The target, without a password.
    pub fn target_shown(&self) -> String {
        redact(&self.target).into_owned()
    }

    /// The target.
    pub fn target(&self) -> Result<Target> {
        self.target.parse()
    }

    /// How long it was to last.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_milliseconds)
    }

    /// What the fault wants back.
    pub(super) fn prepared(&self) -> Prepared {
        Prepared { victim: self.victim.clone(), prior: self.prior.clone(), undo: self.undo.clone() }
    }

    /// The fault.
    pub(super) fn fault(&self) -> Result<&'static dyn Fault> {
        if self.format != FORMAT {
            let what = format!("its format is {}, this davit knows {FORMAT}", self.format);
            return Err(Error::failed(format!("reading intent {} of run {}: {what}", self.number, self.run)));
        }
        if self.fault == ledger_table::NAME {
            return Ok(&LedgerTable);
        }
        find(&self.fault)
    }
}

/// The URL without what stands between the user and the host.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        let kept = url.split_whitespace().filter(|pair| !pair.starts_with("password="));
        return kept.collect::<Vec<_>>().join(" ");
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, query)) => {
            let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("password=")).collect();
            if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
        }
        None => path.to_owned(),
    };
    format!("{scheme}://{authority}{path}")
}

/// All intents that are not closed, in order. One that cannot be read is open.
pub async fn open_intents(means: &Means) -> Result<Vec<OpenIntent>> {
    let repository = &means.repository;
    let mut open = Vec::new();
    for listed in repository.fault_intents().await? {
        let (run, number) = (listed.run, listed.number);
        if listed.undone {
            let undone: Option<Undone> = repository.fault_undone(&run, number).await?;
            if undone.is_some_and(|undone| undone.run == run && undone.number == number && undone.seen.is_good()) {
                continue;
            }
        }
        let intent: Result<Intent> = repository.fault_intent(&run, number).await;
        let intent = match intent {
            Ok(intent) if intent.run == run && intent.number == number => Ok(intent),
            Ok(_) => Err("it is about another fault".to_owned()),
            Err(why) => Err(why.to_string()),
        };
        open.push(OpenIntent { run, number, intent });
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_records_are_not_sealed_no_password_is_kept() {
        for (with, without) in [
            ("postgres://eva:hunter2@db:5432/shop?x=1", "postgres://eva@db:5432/shop?x=1"),
            ("postgres://db/shop", "postgres://db/shop"),
            ("postgres://db/shop?password=hunter2", "postgres://db/shop"),
            ("host=db password=hunter2 user=eva", "host=db user=eva"),
        ] {
            assert_eq!(without_password(with), without);
        }
    }
}
