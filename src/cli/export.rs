//! `davit export POINT > dump.sql`: the result on stdout is SQL, or what a command in a pod wrote, so what was written is
//! told on stderr.

use crate::backup::foreign::export::{self, ExportReport};
use crate::cli::args::{ExportArgs, OutputForm};
use crate::cli::exit::Exit;
use crate::cli::output::{self, Ended};
use crate::cli::shell::Shell;
use crate::error::Result;
use crate::humane::{bytes, counted};
use crate::journal::Progress;
use crate::repository::manifest::PointKind;
use crate::snapshot;
use serde::Serialize;

/// What a command in a pod had written, written out again.
#[derive(Debug, Serialize)]
struct Output {
    point: String,
    source: String,
    bytes: u64,
}

/// Writes a point as SQL, or as the bytes that a command wrote.
pub(super) async fn run(args: &ExportArgs, shell: &Shell) -> Result<Ended> {
    let (repository, point) = shell.point(&args.point).await?;
    let stdout = tokio::io::stdout();
    if point.kind == PointKind::Command {
        let written = snapshot::output::write(&repository, &point, stdout).await?;
        let exported = Output { point: point.point().to_string(), source: point.source.to_string(), bytes: written };
        match shell.form {
            OutputForm::Text => shell.story.note(format!("exported {} of point {}", bytes(written), exported.point)),
            OutputForm::Json => shell.story.note(output::json(&exported)?.trim_end().to_owned()),
        }
        return Ok(Ended::silently(Exit::Done));
    }
    point.must_be(PointKind::Database)?;
    let progress = shell.progress();
    let database = args.database.as_deref();
    let written = export::run(&repository, &point, database, stdout, progress.as_ref(), &shell.stop.gently).await?;
    match shell.form {
        OutputForm::Text => shell.story.note(sentence(&written)),
        OutputForm::Json => shell.story.note(output::json(&written)?.trim_end().to_owned()),
    }
    Ok(Ended::silently(Exit::Done))
}

fn sentence(written: &ExportReport) -> String {
    let (tables, rows) = (counted(written.tables, "table"), counted(written.rows, "row"));
    format!("exported {} of point {}: {tables}, {rows}, {}", written.database, written.point, bytes(written.bytes))
}
