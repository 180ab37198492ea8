//! Plays an SQL script into a database over our own connection, instead of `psql`: nothing but SQL is run, rows are
//! counted and summed on their way, the first error ends it with statement and line, and a script that does not reach
//! its end marker has not been restored.

mod about;
mod adjust;
mod encoding;
mod prelude;
mod rows;
mod script;
mod sender;
mod tolerance;

pub use prelude::Prelude;
pub use script::Script;

use crate::backup::facts::StreamedTable;
use crate::backup::restore::Adjust;
use crate::error::{Error, Result};
use crate::journal::{Amount, Progress};
use crate::postgres::Session;
use crate::postgres::script::{CopyBegin, Directive, DumpKind, Limits, Statement, Token};
use adjust::Adjusted;
use encoding::Encoding;
use prelude::Heard;
use rows::Filling;
use sender::Sender;
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

/// The stage of a script being played, for progress.
pub const STAGE: &str = "script";

/// How to play a script.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What the script is, for messages.
    pub name: String,
    /// How much of it may have to be held.
    pub limits: Limits,
    /// Accept a script without the comments of `pg_dump`, whose end cannot be told from a cut.
    pub unmarked: bool,
    /// What to change in the statements.
    pub adjust: Adjust,
}

/// What was played.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlayReport {
    /// Each table's rows as they went by, in the order of the script.
    pub tables: Vec<StreamedTable>,
    /// Rows of all tables.
    pub rows: u64,
    /// Statements sent, without the blocks of rows.
    pub statements: u64,
    /// Statements about the database itself, for the moment of the swap; `%DATABASE%` stands for its name.
    pub finishing: Vec<String>,
    /// What was passed over, in words.
    pub notes: Vec<String>,
}

/// Plays the dump of one database that `reader` gives into the database of `session`.
///
/// # Errors
///
/// Input if the script is truncated or no dump, Failed at the first statement the server refuses. What was played
/// until then stays in the database, which is why it should be a new one.
pub async fn play(
    reader: impl AsyncRead + Send + Unpin + 'static,
    session: &Session,
    options: &Options,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<PlayReport> {
    let mut script = Script::read(reader, options.limits, options.name.clone());
    let prelude = or_cancelled(session, cancel, Prelude::read(&mut script, None)).await?;
    play_on(&mut script, prelude, session, options, progress, cancel).await
}

/// The same from behind the head of the script, which says how the database has to be made.
pub async fn play_on(
    script: &mut Script,
    prelude: Prelude,
    session: &Session,
    options: &Options,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<PlayReport> {
    let sender = Sender::new(session, Encoding::Utf8);
    let adjust = Some(&options.adjust).filter(|adjust| adjust::is_needed(adjust));
    let player = Player { sender, prelude, adjust, progress, report: PlayReport::default(), complete: false };
    or_cancelled(session, cancel, player.run(script, options)).await
}

/// The outcome of `work`, unless the run is cancelled before; then the server is told, too.
async fn or_cancelled<T>(
    session: &Session,
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        outcome = work => outcome,
        () = cancel.cancelled() => {
            // The connection is closed next; a server that cannot be told notices that.
            let _told = session.cancel().await;
            Err(Error::failed("stopped on request"))
        }
    }
}

struct Player<'a> {
    sender: Sender<'a>,
    prelude: Prelude,
    /// What to change in the statements, if anything.
    adjust: Option<&'a Adjust>,
    progress: &'a dyn Progress,
    report: PlayReport,
    /// Whether the last thing seen was the end marker of a dump.
    complete: bool,
}

impl Player<'_> {
    async fn run(mut self, script: &mut Script, options: &Options) -> Result<PlayReport> {
        self.progress.began(STAGE, Amount::default());
        let outcome = self.tokens(script).await;
        outcome.map_err(|error| error.during(format!("restoring {}", options.name)))?;
        // The rest is of other databases, but the stream must be whole.
        script.drain().await?;
        self.must_be_complete(options)?;
        self.progress.ended(STAGE, Amount { items: self.sender.sent(), rows: self.report.rows, bytes: 0 });
        let mut report = self.report;
        report.statements = self.sender.sent();
        report.notes = self.sender.notes();
        report.finishing = self.prelude.finishing(self.adjust);
        Ok(report)
    }

    async fn tokens(&mut self, script: &mut Script) -> Result<()> {
        for statement in std::mem::take(&mut self.prelude.settings) {
            self.statement(&statement).await?;
        }
        let of_cluster = self.prelude.kind == Some(DumpKind::Cluster);
        while let Some(token) = script.next().await? {
            match token {
                Token::Statement(statement) => self.statement(&statement).await?,
                Token::CopyBegin(head) => self.table(script, head).await?,
                Token::EndMarker(DumpKind::Database) => self.complete = true,
                // With settings of the database pg_dump connects once more, so that they are in force; ours wait for
                // the swap.
                Token::Directive(Directive::Connect(name)) if self.prelude.database.as_ref() == Some(&name) => {}
                Token::Section(_) | Token::EndMarker(DumpKind::Cluster) | Token::Directive(Directive::Connect(_))
                    if of_cluster =>
                {
                    break;
                }
                Token::Directive(Directive::Connect(name)) => {
                    return Err(Error::input(format!("a \\connect to {name} in a dump of another database"))
                        .hint("a dump of several databases begins with the comment of pg_dumpall"));
                }
                // Rows are read by `table`; the rest says nothing here.
                _ => {}
            }
        }
        self.sender.flush().await
    }

    async fn statement(&mut self, statement: &Statement) -> Result<()> {
        if let Some((name, value)) = statement.setting() {
            if name == "client_encoding" {
                // Our sessions speak UTF-8, whatever the script does.
                self.sender.set_encoding(Encoding::named(&value));
                return Ok(());
            }
        } else {
            self.complete = false;
        }
        let database = self.prelude.database.clone();
        match self.prelude.hear(statement, database.as_deref()) {
            Heard::NotAboutADatabase => {}
            Heard::Kept => return Ok(()),
            Heard::MadeOrDropped | Heard::OfAnother(_) => return Err(out_of_place(statement)),
        }
        self.progress.advanced(STAGE, Amount::items(1));
        let Some(adjust) = self.adjust else { return self.sender.send(statement, None).await };
        let text = self.sender.encoding().utf8(self.sender.session(), &statement.text, statement.line).await?;
        match adjust::adjusted(adjust, &text) {
            Adjusted::Same => self.sender.send(statement, None).await,
            Adjusted::Changed(text) => self.sender.send(statement, Some(text)).await,
            Adjusted::LeftOut => Ok(()),
        }
    }

    async fn table(&mut self, script: &mut Script, head: CopyBegin) -> Result<()> {
        self.complete = false;
        self.sender.flush().await?;
        let session = self.sender.session();
        let sql = self.sender.encoding().copy(session, &head.statement, head.line).await?;
        let mut filling = Filling::begin(session, sql, head).await?;
        loop {
            match script.next().await? {
                Some(Token::CopyRows(rows)) => {
                    let bytes = rows.len() as u64;
                    let rows = filling.rows(rows).await?;
                    self.progress.advanced(STAGE, Amount::rows(rows, bytes));
                }
                Some(Token::CopyEnd) => break,
                // The lexer gives nothing else inside of a block.
                Some(_) | None => return Err(Error::failed("reading a block of rows: it did not end")),
            }
        }
        let table = filling.end().await?;
        self.report.rows += table.rows.rows;
        self.report.tables.push(table);
        Ok(())
    }

    fn must_be_complete(&self, options: &Options) -> Result<()> {
        if self.complete {
            return Ok(());
        }
        match self.prelude.kind {
            Some(_) => Err(Error::input(format!("{} is truncated: its end marker is missing", options.name))
                .hint("pg_dump failed before it was done, or a copy was cut; take an older one")),
            None if options.unmarked => Ok(()),
            None => Err(Error::input(format!(
                "{} has neither the head nor the end marker of pg_dump, so nothing tells whether it is whole",
                options.name
            ))
            .hint("if you know that it is, say so with --trust")),
        }
    }
}

fn out_of_place(statement: &Statement) -> Error {
    let text = sender::shown(&String::from_utf8_lossy(&statement.text));
    Error::input(format!("line {}: a statement about a database of its own: {text}", statement.line))
        .hint("no dump has this here; look into it before you trust any of it")
}
