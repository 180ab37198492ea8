//! `disk-full`: fills the server's disk with a file of our own.

use super::local::{self, Local};
use super::{TARGETS, whole};
use crate::chaos::evidence::{Proof, ReadBack};
use crate::chaos::fault::{Class, Facts, Fault, Held, Parameter, Prepared, Scene};
use crate::chaos::host::{Machine, fuse};
use crate::chaos::select::Victim;
use crate::error::{Context, Error, Kind, Result};
use crate::humane::bytes;
use crate::postgres::{self, classify};
use async_trait::async_trait;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the server may take to meet the end of its disk.
const FULL: Duration = Duration::from_secs(20);
const MEBI: u64 = 1 << 20;
/// A file system gives a little more or less than it says.
const SLACK: u64 = MEBI;

#[derive(Debug)]
pub(in crate::chaos) struct DiskFull;

#[derive(Debug, Serialize, Deserialize)]
struct Prior {
    ballast: PathBuf,
    size: u64,
    free: u64,
    leave: u64,
    /// The machine; intents of older versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<Machine>,
}

#[async_trait]
impl Fault for DiskFull {
    fn facts(&self) -> Facts {
        Facts {
            name: "disk-full",
            class: Class::Reversible,
            targets: TARGETS,
            summary: "fills the server's disk with a file of our own; the server may end itself when it cannot write its log",
            needs: "to run on the server's machine, as root or as its account; a login that may read data_directory",
            proof: "the file system is full, and the server says SQLSTATE 53100",
            heals: "the file is deleted",
            expires: "a helper process on the machine deletes the file",
            parameters: &[
                Parameter { name: "directory", default: Some(""), what: "where the file goes [the data directory]" },
                Parameter { name: "leave", default: Some("1"), what: "MiB that are left free" },
                Parameter {
                    name: "most",
                    default: Some("10240"),
                    what: "MiB that are written at most; refused if it takes more",
                },
            ],
            rbac: &[],
            many: false,
        }
    }

    async fn candidates(&self, scene: &Scene<'_>) -> Result<Vec<Victim>> {
        whole(scene).await
    }

    async fn prepare(&self, scene: &Scene<'_>, victim: Victim) -> Result<Prepared> {
        let session = scene.session().await?;
        let Local { data, .. } = local::find(&session).await?;
        session.close().await;
        let leave = scene.parameters.read::<u64>("leave", 1)? * MEBI;
        let most = scene.parameters.read::<u64>("most", 10_240)? * MEBI;
        let directory = scene.parameters.get("directory").filter(|text| !text.is_empty()).map_or(data, PathBuf::from);
        let free = free(&directory)?;
        let size = free.saturating_sub(leave);
        let doing = || format!("filling the disk of {}", directory.display());
        if size > most {
            let hint = format!("--set most={} allows it", size / MEBI + 1);
            return Err(Error::refused(format!(
                "{}: it takes {}, and {} are allowed",
                doing(),
                bytes(size),
                bytes(most)
            ))
            .hint(hint));
        }
        if size == 0 {
            return Err(Error::refused(format!("{}: it is full already", doing())));
        }
        let ballast = directory.join(format!("davit-{}", scene.mark()));
        let undo = format!("delete {} ({})", ballast.display(), bytes(size));
        let machine = Some(scene.means.machine.clone());
        Ok(Prepared { victim, prior: json!(Prior { ballast, size, free, leave, machine }), undo })
    }

    async fn inject(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<Held> {
        let Prior { ballast, leave, .. } = prepared.prior()?;
        fuse::light(&scene.mark(), scene.expiry(), r#"rm -f -- "$1""#, &[ballast.display().to_string()]).await?;
        let filled = tokio::task::spawn_blocking(move || fill(&ballast, leave)).await;
        filled.context(Kind::Failed, || "filling a disk".to_owned())??;
        Ok(Held::nothing())
    }

    async fn proof(&self, scene: &Scene<'_>, prepared: &Prepared, _held: &Held, asked: Duration) -> Result<Proof> {
        let Prior { ballast, leave, .. } = prepared.prior()?;
        let directory = &ballast.parent().unwrap_or(Path::new("/")).to_path_buf();
        let own = scene.parameters.get("directory").is_none_or(str::is_empty);
        let look = || async move {
            let left = free(directory)?;
            if left > leave + SLACK {
                return Ok(None);
            }
            let full = format!("{} are free in {}", bytes(left), directory.display());
            if !own {
                return Ok(Some(full));
            }
            Ok(refused(scene, leave).await?.map(|said| format!("{full}, and the server says: {said}")))
        };
        scene.look(asked, FULL, "the server did not meet the end of its disk", look).await
    }

    async fn heal(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<()> {
        let Prior { ballast, .. } = prepared.prior()?;
        match std::fs::remove_file(&ballast) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::failed(format!("deleting {}", ballast.display())).because(why));
            }
            _ => {}
        }
        fuse::extinguish(&scene.mark())
    }

    async fn read_back(&self, scene: &Scene<'_>, prepared: &Prepared) -> Result<ReadBack> {
        let Prior { ballast, leave, .. } = prepared.prior()?;
        if ballast.exists() {
            return Ok(ReadBack::Not { why: format!("{} is still there", ballast.display()) });
        }
        let directory = ballast.parent().unwrap_or(Path::new("/"));
        let left = free(directory)?;
        if left <= leave {
            return Ok(ReadBack::Not { why: format!("the file is deleted, and still only {} are free", bytes(left)) });
        }
        // A server that could not write its log has ended itself and replays it.
        let answers =
            scene.until(FULL, || async { Ok(postgres::try_connect(&scene.database()?, "chaos").await.is_ok()) });
        Ok(if answers.await? {
            ReadBack::AsBefore {
                seen: format!("{} is gone, {} are free, and the server answers", ballast.display(), bytes(left)),
            }
        } else {
            ReadBack::Not { why: "the disk has room again, and the server does not answer".to_owned() }
        })
    }
}

/// Bytes that an ordinary account may still write.
fn free(directory: &Path) -> Result<u64> {
    let told =
        statvfs(directory).context(Kind::Failed, || format!("looking at the disk of {}", directory.display()))?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Makes the file and lets it grow until no more than `leave` is free.
fn fill(ballast: &Path, leave: u64) -> Result<()> {
    let doing = || format!("filling the disk with {}", ballast.display());
    let directory = ballast.parent().unwrap_or(Path::new("/"));
    let file = OpenOptions::new().write(true).create_new(true).open(ballast).context(Kind::Failed, doing)?;
    let mut size = 0;
    loop {
        let more = free(directory)?.saturating_sub(leave);
        if more < SLACK / 4 {
            return Ok(());
        }
        match fallocate(&file, FallocateFlags::empty(), size, more) {
            Ok(()) => size += more,
            // The file system needs a part of it for its own books.
            Err(rustix::io::Errno::NOSPC) if more > MEBI => {
                let less = more - more / 16;
                fallocate(&file, FallocateFlags::empty(), size, less).context(Kind::Failed, doing)?;
                size += less;
            }
            Err(rustix::io::Errno::NOSPC) => return Ok(()),
            Err(why) => return Err(Error::failed(doing()).because(why)),
        }
    }
}

/// What the server says when it is asked to store a little more than is free; `None` if it could.
async fn refused(scene: &Scene<'_>, leave: u64) -> Result<Option<String>> {
    let rows = (leave + 8 * SLACK) / 1000;
    let Ok(session) = postgres::try_connect(&scene.database()?, "chaos").await else {
        // A server that ended itself because of its log is full, but did not say so to us.
        return Ok(None);
    };
    let sql = format!(
        "BEGIN; CREATE TEMPORARY TABLE davit_full ON COMMIT DROP AS \
         SELECT pg_catalog.repeat('x', 1000) FROM pg_catalog.generate_series(1, {rows}); ROLLBACK"
    );
    let tried = session.client.batch_execute(&sql).await;
    Ok(match tried {
        Err(error) if classify(&error) == postgres::Fault::DiskFull => Some(postgres::fault::said(&error)),
        _ => None,
    })
}
