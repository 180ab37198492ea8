//! `dropped-table`: drops a table, as a migration in the wrong window does.

use super::{TARGETS, rights, table, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::select::Victim;
use crate::error::Result;
use async_trait::async_trait;
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(in crate::chaos) struct DroppedTable;

#[async_trait]
impl Fault for DroppedTable {
    fn facts(&self) -> Facts {
        Facts {
            name: "dropped-table",
            class: Class::Irreversible,
            targets: TARGETS,
            summary: "drops a table",
            needs: "to own the table; a database marked disposable; a fresh backup that was restored and compared",
            proof: "the catalogue does not know the table any more",
            heals: "not: the table is restored from the backup",
            expires: "never",
            parameters: &[
                Parameter { name: "table", default: None, what: "the table" },
                Parameter { name: "cascade", default: Some("false"), what: "also what depends on it" },
            ],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        let session = scene.session().await?;
        table::find(&session, scene.parameters.needed("dropped-table", "table")?).await?;
        session.close().await;
        whole(scene).await
    }

    async fn objections(&self, scene: &Scene<'_>, _victims: &[Victim]) -> Result<Vec<Finding>> {
        let session = scene.session().await?;
        let table = scene.parameters.needed("dropped-table", "table")?;
        let finding = rights::ask(&session, &[rights::drop_table(&session, table).await?]).await?;
        session.close().await;
        Ok(vec![finding])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let session = scene.session().await?;
        let table = table::find(&session, scene.parameters.needed("dropped-table", "table")?).await?;
        session.close().await;
        let undo = format!("nothing undoes it: {} is restored from the backup", table.quoted);
        Ok(Prepared { victim, prior: json!({ "table": table.quoted, "oid": table.oid }), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let name = prepared.prior["table"].as_str().unwrap_or_default();
        let cascade = if scene.parameters.read("cascade", false)? { " CASCADE" } else { "" };
        let session = scene.session().await?;
        let sql = format!("SET lock_timeout = '10s'; DROP TABLE {name}{cascade}");
        session.execute(&format!("dropping {name}"), &sql).await?;
        let lsn = table::lsn(&session).await?;
        session.close().await;
        Ok(Held::nothing().noting(json!({ "lsn": lsn })))
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, held: &Held, asked: Duration) -> Result<Proof> {
        let name = &prepared.prior["table"].as_str().unwrap_or_default().to_owned();
        let lsn = &held.notes["lsn"].as_str().unwrap_or_default().to_owned();
        let session = &scene.session().await?;
        let look = || async move {
            let gone = !table::is_there(session, name).await?;
            Ok(gone.then(|| format!("the catalogue does not know {name} any more; the log stood at {lsn}")))
        };
        scene.look(asked, SOON, "the table was still there", look).await
    }

    async fn heal(&self, _scene: &Scene<'_>, _prepared: &Prepared) -> Result<()> {
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let name = prepared.prior["table"].as_str().unwrap_or_default();
        let session = scene.session().await?;
        let there = table::is_there(&session, name).await?;
        let seen =
            if there { format!("there is a table {name}") } else { format!("{name} is gone until it is restored") };
        Ok(ReadBack::NothingToUndo { seen })
    }
}
