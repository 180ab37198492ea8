//! The journal of a run that makes recovery points: kept in the repository, because a run that failed leaves nothing else
//! to read the next morning.

use crate::cli::shell::Shell;
use crate::error::{Kind, Result};
use crate::id::{RunId, SourceName};
use crate::journal::log::{Line, What};
use crate::journal::{Recorder, SharedProgress};
use crate::repository::Repository;
use crate::secret::redact;
use std::sync::Arc;
use std::time::Duration;

/// How long a run that is over may take to say so: the store may be what failed.
const LAST_WORD: Duration = Duration::from_secs(10);

/// The journal of one run.
pub(super) struct RunLog {
    repository: Repository,
    run: RunId,
    recorder: Arc<Recorder>,
    began: Duration,
    first: Line,
    /// Whether the first line is in the repository.
    begun: bool,
}

impl RunLog {
    /// A journal that is not kept yet: a run that is refused changes nothing.
    pub(super) fn new(verb: &str, source: &SourceName, repository: &Repository, shell: &Shell) -> Self {
        let (clock, now) = (&shell.clock, shell.clock.now());
        let what = What::RunBegan {
            verb: verb.to_owned(),
            source: source.clone(),
            holder: shell.settings.environment.holder(),
            tool: concat!("davit ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        Self {
            repository: repository.clone(),
            run: RunId::at(now),
            recorder: Recorder::new(clock.clone(), shell.progress()),
            began: clock.monotonic(),
            first: Line { at: now, what },
            begun: false,
        }
    }

    /// Keeps the first line, so that a run that is killed is known of, too.
    pub(super) async fn begin(&mut self) {
        self.put(0, std::slice::from_ref(&self.first)).await;
        self.begun = true;
    }

    /// The run.
    pub(super) fn run(&self) -> RunId {
        self.run.clone()
    }

    /// Who is to be told what happens.
    pub(super) fn progress(&self) -> SharedProgress {
        self.recorder.clone()
    }

    /// Keeps what was told and why the run failed. Of a run that made a point nothing stays, because the point says it
    /// all; nor of one that was refused or never began: then nothing was changed.
    pub(super) async fn end<T>(self, result: &Result<T>) {
        if !self.begun {
            return;
        }
        let failed = result.as_ref().err().filter(|error| !matches!(error.kind(), Kind::Input | Kind::Refused));
        let Some(error) = failed else { return self.repository.drop_events(&self.run, 1).await };
        let clock = self.repository.clock();
        let seconds = clock.monotonic().saturating_sub(self.began).as_secs_f64();
        let mut lines: Vec<Line> = self.recorder.events().iter().filter_map(Line::of).collect();
        let told = |text: &str| redact(text).into_owned();
        lines.push(Line {
            at: clock.now(),
            what: What::RunFailed {
                seconds,
                exit_code: error.kind().exit_code(),
                message: told(&error.to_string()),
                hint: error.hint_text().map(told),
            },
        });
        self.put(1, &lines).await;
    }

    /// The point does not depend on it: a journal that cannot be kept is told, and the run goes on.
    async fn put(&self, number: u64, lines: &[Line]) {
        if !self.repository.can_sign() {
            return;
        }
        match tokio::time::timeout(LAST_WORD, self.repository.put_events(&self.run, number, lines)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(run = %self.run, %error, "the journal was not kept"),
            Err(_) => tracing::debug!(run = %self.run, "the journal was not kept in time"),
        }
    }
}
