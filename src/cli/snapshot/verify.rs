//! `davit snapshot verify POINT`: proves that a recovery point is whole.

use crate::backup::verify::{self, Request, Which};
use crate::cli::args::{SnapshotDepthArg, SnapshotVerifyArgs};
use crate::cli::output::Ended;
use crate::cli::restore::means;
use crate::cli::shell::Shell;
use crate::cli::verify::ended;
use crate::error::{Error, Result};
use crate::repository::Depth;
use crate::repository::manifest::PointKind;

/// Verifies one snapshot.
pub(super) async fn run(args: &SnapshotVerifyArgs, shell: &Shell) -> Result<Ended> {
    let depth = match args.depth {
        SnapshotDepthArg::Listed => Depth::Listed,
        SnapshotDepthArg::Stored => Depth::Stored,
        SnapshotDepthArg::Restored => return super::proof::run(args, shell).await,
    };
    if args.point.starts_with("velero:") {
        let why = format!("verifying {}: Velero says of no byte what it should be", args.point);
        return Err(Error::input(why).hint("--depth restored puts its objects to a cluster"));
    }
    let (repository, point) = shell.point(&args.point).await?;
    point.must_be(PointKind::Namespace)?;
    let request = Request::new(Which::Point(args.point.parse()?), depth);
    ended(verify::run(&means(repository, shell), &request).await?)
}
