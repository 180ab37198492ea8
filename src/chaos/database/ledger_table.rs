//! The table that a drill keeps its ledger in: no fault, but it is left in the target like one where the drill is killed. So its
//! undo is durable before the table is made, and whoever undoes faults undoes it the same way.

use super::{TARGETS, whole};
use crate::chaos::event::NoWitness;
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Prepared, Scene};
use crate::chaos::heal::heal_all;
use crate::chaos::intent::Intent;
use crate::chaos::means::Means;
use crate::chaos::parameters::Parameters;
use crate::chaos::select::Victim;
use crate::chaos::target::Target;
use crate::error::{Error, Kind, Result};
use crate::id::RunId;
use crate::probe::ledger::Table;
use crate::secret::Secret;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// What an intent calls it. It is in no list of faults: only a drill makes it.
pub(in crate::chaos) const NAME: &str = "ledger-table";

/// The number of its intent, which no victim has.
pub(in crate::chaos) const NUMBER: u32 = 1_000_000;

#[derive(Debug)]
pub(in crate::chaos) struct LedgerTable;

/// What undoing it takes.
#[derive(Debug, Serialize, Deserialize)]
struct Prior {
    /// The run in the letters that a table may have.
    table_of: String,
}

/// A table that will be taken away again, also if whoever makes it is killed.
#[derive(Debug)]
pub struct Promised {
    run: RunId,
    target: Target,
    prepared: Prepared,
}

/// Whether an intent of this number is about a fault, and not about what its drill has made.
pub(crate) const fn is_fault(number: u32) -> bool {
    number != NUMBER
}

impl Promised {
    /// Makes the undo durable. Nothing is in the target yet.
    ///
    /// # Errors
    /// Where it cannot be: then nothing may be made.
    pub async fn before(means: &Means, run: &RunId, table: &Table, clients: &Secret) -> Result<Self> {
        let victim = Victim::new(table.name(), format!("the ledger's table {}", table.name()));
        let undo = format!("drop {}, if it is the one of this run", table.name());
        let prepared = Prepared { victim, prior: json!(Prior { table_of: table.run().to_owned() }), undo };
        let promised = Self { run: run.clone(), target: Target::Database(clients.clone()), prepared };
        let none = Parameters::default();
        let intent = Intent::new(&promised.scene(means, &none), NAME, NUMBER, &promised.prepared, None);
        means.repository.put_fault_intent(run, NUMBER, &intent).await?;
        Ok(promised)
    }

    /// The table's name, ready for SQL.
    pub fn table(&self) -> &str {
        &self.prepared.victim.key
    }

    /// Takes the table away, looks, and closes the intent; gives what was seen.
    ///
    /// # Errors
    /// `Kind::Stuck` where it is not proven to be gone: the janitor tries again.
    pub async fn keep(&self, means: &Means) -> Result<String> {
        let none = Parameters::default();
        let scene = self.scene(means, &none);
        let healing = heal_all(&scene, &LedgerTable, (&[(NUMBER, &self.prepared)], u32::MAX), &NoWitness).await;
        let seen = healing.healed.first().map(|healed| healed.read_back.clone());
        match seen {
            Some(seen) if seen.is_good() => Ok(seen.text().to_owned()),
            other => {
                let why = other.map_or_else(|| "nobody looked".to_owned(), |seen| seen.text().to_owned());
                let name = self.table();
                Err(Error::new(Kind::Stuck, format!("removing the table {name} from the target: {why}"))
                    .hint(format!("davit chaos janitor tries again; by hand: DROP TABLE {name}")))
            }
        }
    }

    fn scene<'a>(&'a self, means: &'a Means, parameters: &'a Parameters) -> Scene<'a> {
        Scene { means, run: &self.run, target: &self.target, parameters, duration: Duration::ZERO }
    }
}

#[async_trait]
impl Fault for LedgerTable {
    fn facts(&self) -> Facts {
        Facts {
            name: NAME,
            class: Class::Reversible,
            targets: TARGETS,
            summary: "a table in which a drill keeps its ledger",
            needs: "to have made it",
            proof: "the catalogue knows it",
            heals: "it is dropped",
            expires: "never",
            parameters: &[],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        whole(scene).await
    }

    async fn prepare(&self, _scene: &Scene<'_>, _victim: Victim) -> Result<Prepared> {
        Err(of_a_drill())
    }

    async fn inject(&self, _scene: &Scene<'_>, _prepared: &Prepared) -> Result<Held> {
        Err(of_a_drill())
    }

    async fn proof(&self, _scene: &Scene<'_>, _prepared: &Prepared, _held: &Held, _asked: Duration) -> Result<Proof> {
        Err(of_a_drill())
    }

    /// Which server it stands on need not be asked: a table of this name with the mark of this run is the run's own, also on
    /// the server that took over, or in the database that was put in the place of the broken one.
    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        let table = table(prepared)?;
        let session = scene.session().await?;
        let removed = session.texts(&format!("dropping {}", table.name()), &table.removal()).await;
        session.close().await;
        removed.map(drop)
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let table = table(prepared)?;
        let session = scene.session().await?;
        let seen = session.texts("looking for the ledger's table", &table.presence()).await;
        session.close().await;
        Ok(match seen?.into_iter().flatten().next().flatten() {
            None => ReadBack::AsBefore { seen: "it is gone".to_owned() },
            Some(mark) if mark.is_empty() => ReadBack::Not {
                why: format!("{} is there, and its comment does not say that it is ours", table.name()),
            },
            Some(mark) => ReadBack::Not { why: format!("{} is still there ({mark})", table.name()) },
        })
    }
}

fn table(prepared: &Prepared) -> Result<Table> {
    let prior: Prior = prepared.prior()?;
    Table::known(&prior.table_of)
}

fn of_a_drill() -> Error {
    Error::failed("making the table of a ledger: only a drill does")
}
