//! `pg_restore` as a printer: an archive goes in, SQL comes out. It never talks to a server.

use super::Section;
use crate::backup::restore::request::Adjust;
use crate::error::{Context, Error, Kind, Result};
use crate::postgres::tools::{Tool, Tools};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};
use tokio_util::sync::CancellationToken;

const DOING: &str = "rendering the definitions";

/// Renders one half of an archive of definitions, each entry with its number and what it rests on.
pub(in crate::backup::restore) async fn render(
    tools: &Tools,
    archive: &Bytes,
    section: Section,
    adjust: &Adjust,
    cancel: &CancellationToken,
) -> Result<Vec<u8>> {
    let tool = Tool::new(&tools.program("pg_restore"), DOING).args(arguments(section, adjust)).fed();
    let mut running = tool.spawn()?;
    let (stdin, stdout) = (running.stdin.take(), running.stdout.take());
    // Both at once: a pipe that nobody empties would stop the program.
    let both = async { tokio::join!(feed(stdin, archive), drain(stdout)) };
    let (fed, script) = tokio::select! {
        both = both => both,
        () = cancel.cancelled() => (Ok(()), Ok(Vec::new())),
    };
    running.finish(cancel).await.map_err(|error| {
        Error::new(error.kind(), without_report(&error.to_string()))
            .hint("the archive is signed, so look at the version of pg_restore first")
    })?;
    fed.and(script).context(Kind::Failed, || DOING.to_owned())
}

fn arguments(section: Section, adjust: &Adjust) -> Vec<&'static str> {
    // Verbose, because only then each entry is printed with its number and what it rests on.
    let mut arguments = vec!["--verbose", "--file=-"];
    arguments.push(match section {
        Section::PreData => "--section=pre-data",
        Section::PostData => "--section=post-data",
    });
    let chosen = [
        (adjust.no_owner, "--no-owner"),
        (adjust.no_privileges, "--no-privileges"),
        (adjust.no_tablespaces, "--no-tablespaces"),
    ];
    arguments.extend(chosen.into_iter().filter(|(wanted, _)| *wanted).map(|(_, argument)| argument));
    arguments
}

async fn feed(stdin: Option<ChildStdin>, archive: &Bytes) -> std::io::Result<()> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    match stdin.write_all(archive).await {
        // It has read all it wants: its exit status says whether that was enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

async fn drain(stdout: Option<ChildStdout>) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(mut stdout) = stdout {
        stdout.read_to_end(&mut all).await?;
    }
    Ok(all)
}

/// What a program said, without its report of every entry.
fn without_report(said: &str) -> String {
    let is_news = |line: &&str| !line.contains("pg_restore: creating ") && !line.contains("pg_restore: executing ");
    said.split("; ").filter(is_news).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pg_restore_says_of_each_entry_is_no_part_of_an_error() {
        let said =
            "rendering: pg_restore exited with 1; pg_restore: creating TABLE \"t\"; pg_restore: error: end of file";
        assert_eq!(without_report(said), "rendering: pg_restore exited with 1; pg_restore: error: end of file");
    }

    #[test]
    fn what_is_not_wanted_is_left_to_pg_restore_to_leave_out() {
        let adjust = Adjust { no_owner: true, no_tablespaces: true, ..Adjust::default() };
        let arguments = arguments(Section::PostData, &adjust);
        assert_eq!(arguments, ["--verbose", "--file=-", "--section=post-data", "--no-owner", "--no-tablespaces"]);
    }
}
