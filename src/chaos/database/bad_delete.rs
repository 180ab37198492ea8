//! `bad-delete`: deletes rows of a table, as a statement with a wrong WHERE does.

use super::{TARGETS, rights, table, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::select::Victim;
use crate::error::{Error, Result};
use crate::postgres::Session;
use async_trait::async_trait;
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(in crate::chaos) struct BadDelete;

#[async_trait]
impl Fault for BadDelete {
    fn facts(&self) -> Facts {
        Facts {
            name: "bad-delete",
            class: Class::Irreversible,
            targets: TARGETS,
            summary: "deletes rows of a table",
            needs: "SELECT and DELETE on the table; a database marked disposable; a fresh backup that was restored and compared",
            proof: "rows that were counted before are not there any more",
            heals: "not: the rows are restored from the backup",
            expires: "never",
            parameters: &[
                Parameter { name: "table", default: None, what: "the table" },
                Parameter { name: "where", default: Some("true"), what: "which rows, as SQL" },
            ],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        let session = scene.session().await?;
        let table = table::find(&session, scene.parameters.needed("bad-delete", "table")?).await?;
        let rows = count(&session, &table.quoted, condition(scene)).await?;
        session.close().await;
        // A statement that hits nothing would prove nothing.
        if rows == 0 { Ok(Vec::new()) } else { whole(scene).await }
    }

    async fn objections(&self, scene: &Scene<'_>, _victims: &[Victim]) -> Result<Vec<Finding>> {
        let session = scene.session().await?;
        let table = scene.parameters.needed("bad-delete", "table")?;
        let finding = rights::ask(&session, &[rights::delete(&session, table).await?]).await?;
        session.close().await;
        Ok(vec![finding])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let session = scene.session().await?;
        let table = table::find(&session, scene.parameters.needed("bad-delete", "table")?).await?;
        let rows = count(&session, &table.quoted, condition(scene)).await?;
        session.close().await;
        let undo = format!("nothing undoes it: {rows} rows of {} are restored from the backup", table.quoted);
        Ok(Prepared { victim, prior: json!({ "table": table.quoted, "rows": rows }), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let name = prepared.prior["table"].as_str().unwrap_or_default();
        let session = scene.session().await?;
        session.execute("limiting the wait for rows", "SET lock_timeout = '10s'").await?;
        let sql = format!("DELETE FROM {name} WHERE {}", condition(scene));
        let deleted = session.client.execute(sql.as_str(), &[]).await;
        let deleted = deleted.map_err(|error| session.explain(&error, format!("deleting rows of {name}")))?;
        let lsn = table::lsn(&session).await?;
        session.close().await;
        if deleted == 0 {
            return Err(Error::failed(format!("deleting rows of {name}: it had none any more")));
        }
        Ok(Held::nothing().noting(json!({ "lsn": lsn, "deleted": deleted })))
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, held: &Held, asked: Duration) -> Result<Proof> {
        let name = &prepared.prior["table"].as_str().unwrap_or_default().to_owned();
        let notes = &held.notes;
        let session = &scene.session().await?;
        let look = || async move {
            let left = count(session, name, condition(scene)).await?;
            let (deleted, lsn) = (&notes["deleted"], notes["lsn"].as_str().unwrap_or_default());
            Ok((left == 0).then(|| format!("{deleted} rows of {name} are gone; the log stood at {lsn}")))
        };
        scene.look(asked, SOON, "rows were still there", look).await
    }

    async fn heal(&self, _scene: &Scene<'_>, _prepared: &Prepared) -> Result<()> {
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let name = prepared.prior["table"].as_str().unwrap_or_default();
        let session = scene.session().await?;
        let rows =
            if table::is_there(&session, name).await? { count(&session, name, condition(scene)).await? } else { 0 };
        Ok(ReadBack::NothingToUndo {
            seen: format!("{rows} such rows are in {name}; there were {}", prepared.prior["rows"]),
        })
    }
}

fn condition<'a>(scene: &Scene<'a>) -> &'a str {
    scene.parameters.get("where").filter(|text| !text.trim().is_empty()).unwrap_or("true")
}

async fn count(session: &Session, table: &str, condition: &str) -> Result<i64> {
    let sql = format!("SELECT count(*) FROM {table} WHERE {condition}");
    let counted = session.row(&format!("counting rows of {table}"), &sql, &[]).await;
    let needs = format!("the login needs SELECT and DELETE on {table}");
    Ok(counted.map_err(|error| error.hint(needs))?.get(0))
}
