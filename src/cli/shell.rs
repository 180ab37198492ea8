//! What every command has at hand: settings, clock, story, and the way to the store, the repository and servers.

use crate::cli::args::OutputForm;
use crate::cli::signal::Stop;
use crate::clock::SharedClock;
use crate::config::{Settings, Source};
use crate::error::{Error, Result};
use crate::journal::SharedProgress;
use crate::postgres::ConnInfo;
use crate::repository::{Keys, OpenContext, PointSummary, Repository};
use crate::retention::RulesBySource;
use crate::retry::Policy;
use crate::secret::Secret;
use crate::store::{self, OpenOptions, SharedStore};
use crate::telemetry::Story;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What every command has at hand.
pub struct Shell {
    /// What was settled.
    pub settings: Settings,
    /// Form of the result.
    pub form: OutputForm,
    /// Time.
    pub clock: SharedClock,
    /// Who tells the story.
    pub story: Arc<Story>,
    /// What signals ask for.
    pub stop: Stop,
}

impl Shell {
    /// The listener that verbs send their events to.
    pub fn progress(&self) -> SharedProgress {
        self.story.clone()
    }

    /// Opens the store of the repository; `create` makes a directory that is not there.
    pub async fn store(&self, create: bool) -> Result<SharedStore> {
        self.store_with(&self.store_options(create)).await
    }

    async fn store_with(&self, options: &OpenOptions) -> Result<SharedStore> {
        store::open(&self.settings.repository.value, options, self.clock.clone()).await
    }

    /// How stores are opened.
    pub fn store_options(&self, create: bool) -> OpenOptions {
        OpenOptions {
            limit_bytes_per_second: self.settings.limit_rate.value.map(|rate| rate.0),
            create,
            retry: self.settings.retry_budget.value.map_or(Policy::STORE, |budget| Policy::within(budget.0)),
            cancel: self.stop.gently.clone(),
            ..OpenOptions::default()
        }
    }

    /// Opens the repository with the keys that are here.
    pub async fn repository(&self, expect_seq: Option<u64>) -> Result<Repository> {
        self.open(&self.store_options(false), expect_seq).await
    }

    /// The same, with a rate of its own: most bytes per second to and from the store.
    pub async fn repository_at(&self, limit_rate: Option<u64>) -> Result<Repository> {
        let options = OpenOptions { limit_bytes_per_second: limit_rate, ..self.store_options(false) };
        self.open(&options, None).await
    }

    /// The same for a command that undoes something when it is stopped: only letting go at once closes it.
    pub async fn repository_for_healing(&self) -> Result<Repository> {
        let options = OpenOptions { cancel: self.stop.at_once.clone(), ..self.store_options(false) };
        self.open_until(&options, None, self.stop.at_once.clone()).await
    }

    async fn open(&self, options: &OpenOptions, expect_seq: Option<u64>) -> Result<Repository> {
        self.open_until(options, expect_seq, self.stop.gently.clone()).await
    }

    async fn open_until(
        &self,
        options: &OpenOptions,
        expect_seq: Option<u64>,
        cancel: CancellationToken,
    ) -> Result<Repository> {
        let keys = Keys::load(&self.settings.keys.value)?;
        let store = self.store_with(options).await?;
        let context =
            OpenContext { clock: self.clock.clone(), cancel, state_dir: self.settings.state.value.clone(), expect_seq };
        Repository::open(store, keys, context).await
    }

    /// Opens the repository and finds a point in it by what the user wrote.
    pub async fn point(&self, spec: &str) -> Result<(Repository, PointSummary)> {
        let spec = spec.parse()?;
        let repository = self.repository(None).await?;
        let point = repository.resolve(&spec).await?;
        Ok((repository, point))
    }

    /// What the user wrote as a server.
    pub fn connection(&self, text: &Secret) -> Result<ConnInfo> {
        let text = text.reveal();
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            Some("postgres" | "postgresql") => ConnInfo::parse(text, &self.settings.environment.postgres()),
            None if text.contains('=') => ConnInfo::parse(text, &self.settings.environment.postgres()),
            Some(other) => Err(Error::input(format!("reading a database URL: unknown scheme {other:?}"))
                .hint("a database is postgres://user@host/database")),
            // Only a plain word is shown back: anything else may be a URL with a typing error and a password.
            None if text.chars().all(|c| c.is_alphanumeric() || "._-".contains(c)) => {
                Err(Error::input(format!("reading {text:?} as a database"))
                    .hint("a database is postgres://user@host/database"))
            }
            None => Err(Error::input("reading a database URL: it has no scheme")
                .hint("a database is postgres://user@host/database")),
        }
    }

    /// The retention rules of every source.
    pub fn rules(&self) -> RulesBySource {
        let own = self.settings.sources.values().map(|source| (source.name.clone(), source.retention.value.clone()));
        RulesBySource { others: Some(self.settings.retention.value.clone()), sources: own.collect() }
    }

    /// A source of the settings, by what the user wrote.
    pub fn source(&self, name: &str) -> Result<&Source> {
        self.settings.source(&name.parse()?)
    }
}
