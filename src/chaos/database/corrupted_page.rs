//! `corrupted-page`: writes nonsense over one page of a table's file, as a failing disk does.

use super::{TARGETS, local, rights, table, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::guard::Finding;
use crate::chaos::select::Victim;
use crate::error::{Context, Error, Kind, Result};
use crate::postgres::{self, classify};
use async_trait::async_trait;
use serde_json::json;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

const PAGE: u64 = 8192;
const SOON: Duration = Duration::from_secs(30);
/// Longer than a page's header, which no such header can be: it is found with and without checksums.
const NONSENSE: [u8; 64] = [0xa5; 64];

#[derive(Debug)]
pub(in crate::chaos) struct CorruptedPage;

#[async_trait]
impl Fault for CorruptedPage {
    fn facts(&self) -> Facts {
        Facts {
            name: "corrupted-page",
            class: Class::Irreversible,
            targets: TARGETS,
            summary: "writes nonsense over one page of a table's file; the table is rewritten before (VACUUM FULL), so that no \
                      good copy of the page is left in memory",
            needs: "to run on the server's machine, as root or as its account; a superuser; a database marked disposable; a \
                    fresh backup that was restored and compared",
            proof: "reading the table fails with SQLSTATE XX001",
            heals: "not: the table is restored from the backup",
            expires: "never",
            parameters: &[
                Parameter { name: "table", default: None, what: "the table" },
                Parameter { name: "page", default: Some("0"), what: "which page, counted from 0" },
            ],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        let session = scene.session().await?;
        let table = table::find(&session, scene.parameters.needed("corrupted-page", "table")?).await?;
        let page: i64 = scene.parameters.read("page", 0)?;
        let sql = "SELECT pg_catalog.pg_relation_size($1::oid) / 8192";
        let pages: i64 = session.row("asking for the size of a table", sql, &[&table.oid]).await?.get(0);
        session.close().await;
        if (0..pages).contains(&page) { whole(scene).await } else { Ok(Vec::new()) }
    }

    async fn objections(&self, scene: &Scene<'_>, _victims: &[Victim]) -> Result<Vec<Finding>> {
        let session = scene.session().await?;
        let finding = rights::ask(&session, &[rights::superuser()]).await?;
        session.close().await;
        Ok(vec![finding])
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let session = scene.session().await?;
        let server = local::find(&session).await?;
        let table = table::find(&session, scene.parameters.needed("corrupted-page", "table")?).await?;
        session.close().await;
        let page: i64 = scene.parameters.read("page", 0)?;
        let undo = format!("nothing undoes it: {} is restored from the backup", table.quoted);
        let prior = json!({ "table": table.quoted, "oid": table.oid, "page": page, "data": server.data });
        Ok(Prepared { victim, prior, undo })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let prior = &prepared.prior;
        let (name, page) = (prior["table"].as_str().unwrap_or_default(), prior["page"].as_u64().unwrap_or_default());
        let session = scene.session().await?;
        session.execute("limiting the wait for a table", "SET lock_timeout = '10s'").await?;
        session.execute(&format!("rewriting {name}"), &format!("VACUUM (FULL) {name}")).await?;
        session.execute("writing everything to disk", "CHECKPOINT").await?;
        let sql = "SELECT pg_catalog.pg_relation_filepath($1::oid), pg_catalog.pg_relation_size($1::oid) / 8192";
        let oid: u32 = prior["oid"].as_u64().and_then(|oid| oid.try_into().ok()).unwrap_or_default();
        let row = session.row("asking for a table's file", sql, &[&oid]).await?;
        let (file, pages): (String, i64) = (row.get(0), row.get(1));
        session.close().await;
        if u64::try_from(pages).unwrap_or_default() <= page {
            return Err(Error::failed(format!("damaging page {page} of {name}: rewritten, it has only {pages}")));
        }
        let path = Path::new(prior["data"].as_str().unwrap_or_default()).join(file);
        let doing = || format!("writing nonsense into {}", path.display());
        let written = OpenOptions::new().write(true).open(&path).and_then(|file| {
            file.write_all_at(&NONSENSE, page * PAGE)?;
            file.sync_all()
        });
        written.context(Kind::Failed, doing)?;
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let name = &prepared.prior["table"].as_str().unwrap_or_default().to_owned();
        let session = &scene.session().await?;
        let look = || async move {
            let read = session.client.batch_execute(&format!("SELECT count(*) FROM {name}")).await;
            Ok(match read {
                Err(error) if classify(&error) == postgres::Fault::Corrupted => Some(postgres::fault::said(&error)),
                _ => None,
            })
        };
        scene.look(asked, SOON, "the table could still be read", look).await
    }

    async fn heal(&self, _scene: &Scene<'_>, _prepared: &Prepared) -> Result<()> {
        Ok(())
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let name = prepared.prior["table"].as_str().unwrap_or_default();
        let session = scene.session().await?;
        let read = session.client.batch_execute(&format!("SELECT count(*) FROM {name}")).await;
        let seen = match read {
            Ok(()) => format!("{name} can be read"),
            Err(_) => format!("{name} cannot be read until it is restored"),
        };
        Ok(ReadBack::NothingToUndo { seen })
    }
}
