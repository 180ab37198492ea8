//! Writing out what a command in a pod wrote.

use crate::error::{Error, Result};
use crate::repository::manifest::{Line, PointKind};
use crate::repository::{FetchError, PointSummary, Repository};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Writes the output that a point holds; gives the number of bytes.
pub async fn write(repository: &Repository, point: &PointSummary, mut out: impl AsyncWrite + Unpin) -> Result<u64> {
    point.must_be(PointKind::Command)?;
    let doing = || format!("writing out point {}", point.point());
    let mut manifest = repository.read_point(&point.source, point.point()).await?;
    let mut bytes = 0;
    while let Some(line) = manifest.next().await? {
        let Line::Range(range) = line else { continue };
        for chunk in range.chunks {
            let plain = repository.fetch_chunk(&chunk).await.map_err(|why| match why {
                FetchError::Error(error) => error,
                FetchError::Damage(damage) => {
                    Error::check(format!("{}: chunk {} is damaged: {damage}", doing(), chunk.id))
                }
            })?;
            out.write_all(&plain).await.map_err(|why| Error::failed(doing()).because(why))?;
            bytes += plain.len() as u64;
        }
    }
    out.flush().await.map_err(|why| Error::failed(doing()).because(why))?;
    Ok(bytes)
}
