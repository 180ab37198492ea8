//! Custom-format archives: `pg_restore` turns them into SQL, fed from the stream and read as a stream, and the player
//! plays that. The archive never reaches a database by another way, and nothing is written to a disk.

use super::codec::{Content, Opened, explain};
use crate::error::{Error, Result};
use crate::postgres::tools::{Running, Tool, Tools};
use std::io;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Where PostgreSQL's programs are looked for.
#[derive(Debug, Clone, Default)]
pub struct ToolPlaces {
    /// Directories the user named.
    pub directories: Vec<PathBuf>,
    /// The text of `PATH`.
    pub path: Option<String>,
}

/// The `pg_restore` for an archive, if it may read this one.
///
/// # Errors
///
/// Refused without `trust`, or if the only `pg_restore` there is has a known hole.
pub fn tools(opened: &Opened, name: &str, trust: bool, places: &ToolPlaces) -> Result<Tools> {
    let Content::Archive { format } = opened.content else {
        return Err(Error::input(format!("{name} is not an archive")));
    };
    if !trust {
        return Err(Error::refused(format!(
            "{name} is a custom-format archive, which pg_restore has to read, and no signature says who made it"
        ))
        .hint("if you know where it comes from, say so with --trust"));
    }
    let tools = Tools::find(major_for(format), &places.directories, places.path.as_deref())?;
    match tools.archive_hole() {
        None => Ok(tools),
        Some(hole) => Err(Error::refused(format!("{name} is not read: {hole}"))
            .hint("update the PostgreSQL client tools on this machine")),
    }
}

/// The first major whose `pg_restore` reads archives of format `1.format`.
fn major_for(format: u8) -> u32 {
    match format {
        ..=14 => 14,
        15 => 16,
        _ => 17,
    }
}

/// An archive that is being turned into SQL.
pub(super) struct Rendering {
    child: Running,
    feeding: JoinHandle<io::Result<()>>,
}

impl Rendering {
    /// Starts `pg_restore`; what it prints is the script.
    pub(super) fn begin(
        tools: &Tools,
        archive: impl AsyncRead + Send + Unpin + 'static,
        name: &str,
    ) -> Result<(Self, ChildStdout)> {
        let doing = format!("reading the archive {name}");
        let tool = Tool::new(&tools.program("pg_restore"), &doing).arg("--file=-").fed();
        let mut child = tool.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::failed(format!("{doing}: pg_restore has no pipes")));
        };
        let feeding = tokio::spawn(feed(archive, stdin));
        Ok((Self { child, feeding }, stdout))
    }

    /// After the script was read: the archive must have been whole and `pg_restore` content with it.
    ///
    /// `played` is the outcome so far and `read_to_end` whether the script was: then a fault of the archive or of
    /// `pg_restore` explains a failure better than what it led to.
    pub(super) async fn end<T>(
        self,
        played: Result<T>,
        read_to_end: bool,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<T> {
        let Self { child, feeding } = self;
        if played.is_err() && !read_to_end {
            // A statement failed; nobody reads on.
            feeding.abort();
            return played;
        }
        if played.is_err() && !feeding.is_finished() {
            // It gave up before the archive's end.
            feeding.abort();
            return child.finish(cancel).await.and(played);
        }
        match feeding.await {
            Ok(Ok(())) => child.finish(cancel).await.and(played),
            Ok(Err(error)) => Err(explain(error).during(name.to_owned())),
            Err(_) => played.and(Err(Error::failed(format!("reading the archive {name}: the reader stopped")))),
        }
    }
}

/// Feeds the archive to `pg_restore`. It may stop reading before the last byte; the rest must be whole all the same.
async fn feed(mut archive: impl AsyncRead + Unpin, mut stdin: ChildStdin) -> io::Result<()> {
    let mut piece = vec![0; 256 << 10];
    let mut listening = true;
    loop {
        let read = archive.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        // Whether it had enough or has failed, its exit status will tell.
        listening = listening && stdin.write_all(&piece[..read]).await.is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::foreign::codec::open;
    use crate::error::Kind;
    use std::io::Cursor;

    #[tokio::test]
    async fn an_archive_nobody_vouches_for_is_refused_before_any_program_sees_it() {
        let opened = open(Cursor::new(b"PGDMP\x01\x0e\0\x04\x08".to_vec()), "x.dump").await.unwrap();
        let error = tools(&opened, "x.dump", false, &ToolPlaces::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.hint_text().unwrap().contains("--trust"));
    }

    #[test]
    fn a_newer_archive_needs_a_newer_reader() {
        assert_eq!([13, 14, 15, 16, 17].map(major_for), [14, 14, 16, 17, 17]);
    }
}
