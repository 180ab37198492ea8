//! `davit hold` and `davit release`

use crate::cli::args::{HoldArgs, ReleaseArgs};
use crate::cli::output::{Document, Ended};
use crate::cli::shell::Shell;
use crate::error::{Error, Result};
use serde::Serialize;

/// Pins a point.
pub(super) async fn hold(args: &HoldArgs, shell: &Shell) -> Result<Ended> {
    if args.reason.trim().is_empty() {
        return Err(
            Error::input("holding a point: the reason is empty").hint("say why, for whoever finds it in a year")
        );
    }
    let (repository, point) = shell.point(&args.point).await?;
    let hold = repository.hold(&point, args.reason.trim(), point.lock_until).await?;
    Ended::with(&Held { point: hold.point.to_string(), source: hold.source.to_string(), hold: Some(hold.reason) })
}

/// Takes the pin off a point.
pub(super) async fn release(args: &ReleaseArgs, shell: &Shell) -> Result<Ended> {
    let (repository, point) = shell.point(&args.point).await?;
    repository.release(&point).await?;
    Ended::with(&Held { point: point.point().to_string(), source: point.source.to_string(), hold: None })
}

#[derive(Debug, Serialize)]
struct Held {
    point: String,
    source: String,
    hold: Option<String>,
}

impl Document for Held {
    fn text(&self) -> String {
        match &self.hold {
            Some(reason) => format!("{} of {} is held: {reason}\n", self.point, self.source),
            None => format!("{} of {} is held no longer; retain may take it\n", self.point, self.source),
        }
    }
}
