//! What the layers together mean.

use crate::backup::take::{EngineChoice, MOST_DEFAULT_JOBS, MinContent, XMIN_AGE_BUDGET};
use crate::config::environment::Environment;
use crate::config::problem::{self, Problem};
use crate::config::raw::{Databases, Exclude, ObjectLock, Raw, RawHook, RawSource};
use crate::config::setting::{Origin, Setting};
use crate::error::{Error, Result};
use crate::id::SourceName;
use crate::postgres::ConnInfo;
use crate::repository::lease::TERM;
use crate::retention::policy::Rules;
use crate::secret::{Secret, SecretRef};
use crate::units::{Bytes, Span};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// More at once than this only makes a server and a store slower.
const JOBS_MAX: u32 = 64;
/// A shorter lease is lost to one slow answer of the store; a longer one blocks a source for too long after a crash.
const LEASE_TERMS: std::ops::RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_hours(1);
/// Where settings are looked for when nobody says where.
const USUAL_FILES: [&str; 2] = ["davit.yaml", "/etc/davit/davit.yaml"];

/// What was said on the command line.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--repository`
    pub repository: Option<String>,
    /// `--keys`
    pub keys: Option<PathBuf>,
    /// `--jobs`
    pub jobs: Option<u32>,
    /// `--limit-rate`
    pub limit_rate: Option<Bytes>,
    /// `--lock-budget`
    pub lock_budget: Option<Span>,
    /// `--snapshot-budget`
    pub snapshot_budget: Option<Span>,
}

/// Everything that was settled.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings file, if there is one.
    pub file: Option<Setting<PathBuf>>,
    /// `s3://bucket/prefix`, or a directory.
    pub repository: Setting<String>,
    /// Where the keys are.
    pub keys: Setting<PathBuf>,
    /// Where this machine remembers the newest sequence numbers it saw.
    pub state: Setting<Option<PathBuf>>,
    /// Where throw-away servers are made; they need room for a whole database.
    pub scratch: Setting<PathBuf>,
    /// How many things are done at once.
    pub jobs: Setting<u32>,
    /// Most bytes per second that are read from a server, and most that go to and come from the store.
    pub limit_rate: Setting<Option<Bytes>>,
    /// How long an application may wait behind our locks.
    pub lock_budget: Setting<Span>,
    /// How long a snapshot may be held.
    pub snapshot_budget: Setting<Span>,
    /// For how long a call to the store that fails in passing is tried again; [`crate::retry::Policy::STORE`] by default.
    pub retry_budget: Setting<Option<Span>>,
    /// How long a runner that died keeps the next one of its source waiting.
    pub lease_term: Setting<Span>,
    /// How many transactions old a snapshot may become.
    pub xmin_age_budget: Setting<u64>,
    /// Directories with client programs, looked at before `PATH`.
    pub client_tools: Setting<Vec<PathBuf>>,
    /// Whether and how `init` has objects locked.
    pub object_lock: Setting<ObjectLock>,
    /// How long points are kept, for sources that do not say.
    pub retention: Setting<Rules>,
    /// What is backed up, by name.
    pub sources: BTreeMap<SourceName, Source>,
    /// Commands that run in pods around snapshots.
    pub hooks: Vec<Setting<RawHook>>,
    /// The environment they were read in.
    pub environment: Environment,
}

/// One source, with the values it inherits.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// Its line in the file.
    pub line: u64,
    /// Where its server is.
    pub url: Setting<SecretRef>,
    /// Which databases.
    pub databases: Setting<Databases>,
    /// What is left out.
    pub exclude: Setting<Exclude>,
    /// How rows are read.
    pub engine: Setting<EngineChoice>,
    /// Whether rows of unlogged tables are backed up.
    pub unlogged: Setting<bool>,
    /// What a point must hold at least.
    pub min_content: Setting<MinContent>,
    /// How many things are done at once.
    pub jobs: Setting<u32>,
    /// Most bytes per second.
    pub limit_rate: Setting<Option<Bytes>>,
    /// How long an application may wait behind our locks.
    pub lock_budget: Setting<Span>,
    /// How long a snapshot may be held.
    pub snapshot_budget: Setting<Span>,
    /// How many transactions old a snapshot may become.
    pub xmin_age_budget: Setting<u64>,
    /// How long its points are kept.
    pub retention: Setting<Rules>,
    /// SQL files that `verify --depth restored` runs.
    pub checks: Setting<Vec<PathBuf>>,
}

impl Settings {
    /// Settles all layers; the first problem is the error.
    pub fn load(overrides: &Overrides, environment: &Environment) -> Result<Self> {
        let (settings, problems) = Self::examine(overrides, environment)?;
        let count = problems.len();
        let Some(first) = problems.into_iter().next() else { return Ok(settings) };
        let file = settings.file.map(|file| file.value).unwrap_or_default();
        let error = first.into_error(&file);
        match (count, error.hint_text().is_some()) {
            (1, _) | (_, true) => Err(error),
            _ => Err(error.hint(format!("davit config check names all {count} problems"))),
        }
    }

    /// Settles all layers as far as they can be understood, and names every problem of the settings file.
    ///
    /// # Errors
    /// The file cannot be read, or a value from the environment or a flag is wrong.
    pub fn examine(overrides: &Overrides, environment: &Environment) -> Result<(Self, Vec<Problem>)> {
        let file = settings_file(overrides, environment)?;
        let (raw, mut problems) = match &file {
            None => (Raw::default(), Vec::new()),
            Some(file) => {
                let path = &file.value;
                let text = std::fs::read_to_string(path).map_err(|error| unreadable(file, error))?;
                let (raw, problems) = problem::parse(&text);
                (raw.unwrap_or_default(), problems)
            }
        };
        let layers = Layers { file: file.as_ref().map(|file| file.value.clone()), environment };
        let settings = layers.settle(overrides, raw, file, &mut problems)?;
        settings.judge(&mut problems);
        problems.sort_by_key(|problem| problem.line);
        Ok((settings, problems))
    }

    /// The source of this name; a near one is suggested.
    pub fn source(&self, name: &SourceName) -> Result<&Source> {
        if let Some(source) = self.sources.get(name) {
            return Ok(source);
        }
        let error = Error::input(format!("finding source {name}: the settings name no such source"));
        let known: Vec<&str> = self.sources.keys().map(SourceName::as_str).collect();
        let hint = problem::suggestion(name.as_str(), &known).unwrap_or_else(|| match &self.file {
            Some(file) => format!("{} names no sources; or give a postgres:// URL", file.value.display()),
            None => "there is no davit.yaml here; write one, or give a postgres:// URL".to_owned(),
        });
        Err(error.hint(hint))
    }

    /// Where relative paths of the settings file start.
    pub fn base(&self) -> PathBuf {
        let parent = self.file.as_ref().and_then(|file| file.value.parent()).map(Path::to_path_buf);
        parent.unwrap_or_default()
    }

    /// The URL of a source, fetched from where it is kept.
    pub fn url_of(&self, source: &Source) -> Result<Secret> {
        source.url.value.fetch(&format!("the URL of source {}", source.name), &self.environment, &self.base())
    }

    /// How to reach a source's server.
    pub fn connection_of(&self, source: &Source) -> Result<ConnInfo> {
        let url = self.url_of(source)?;
        ConnInfo::parse(url.reveal(), &self.environment.postgres())
            .map_err(|error| error.during(format!("reading the URL of source {}", source.name)))
    }

    /// What is well formed and still makes no sense.
    fn judge(&self, problems: &mut Vec<Problem>) {
        if let (Origin::File { line, .. }, Some(text)) = (&self.lease_term.origin, wrong_term(&self.lease_term.value)) {
            problems.push(Problem::new(Some(*line), text, None));
        }
        for Setting { value: hook, origin } in &self.hooks {
            if let (Origin::File { line, .. }, (None, None, None)) = (origin, (&hook.before, &hook.after, &hook.output))
            {
                let hint = Some("give it before, after or output".to_owned());
                problems.push(Problem::new(Some(*line), "a hook has no command".to_owned(), hint));
            }
        }
        let all = self.sources.values().map(|source| &source.jobs).chain([&self.jobs]);
        for jobs in all {
            if let (Origin::File { line, .. }, false) = (&jobs.origin, (1..=JOBS_MAX).contains(&jobs.value)) {
                let text = format!("jobs is {}, and must be between 1 and {JOBS_MAX}", jobs.value);
                let known = problems.iter().any(|known| known.line == Some(*line));
                if !known {
                    problems.push(Problem::new(Some(*line), text, None));
                }
            }
        }
    }
}

fn unreadable(file: &Setting<PathBuf>, error: std::io::Error) -> Error {
    let doing = format!("reading the settings in {}", file.value.display());
    let error = Error::input(doing).because(error);
    match &file.origin {
        Origin::Default => error,
        named => error.hint(format!("{named} names this file")),
    }
}

fn settings_file(overrides: &Overrides, environment: &Environment) -> Result<Option<Setting<PathBuf>>> {
    let flag = overrides.config.clone().map(|path| Setting::new(path, Origin::Flag("--config")));
    let var = environment.get("DAVIT_CONFIG")?.map(|path| Setting::new(path.into(), Origin::Env("DAVIT_CONFIG")));
    let usual = || USUAL_FILES.iter().map(PathBuf::from).find(|path| path.exists());
    Ok(flag.or(var).or_else(|| usual().map(|path| Setting::new(path, Origin::Default))))
}

/// The layers below the flags.
struct Layers<'a> {
    file: Option<PathBuf>,
    environment: &'a Environment,
}

impl Layers<'_> {
    fn settle(
        &self,
        overrides: &Overrides,
        raw: Raw,
        file: Option<Setting<PathBuf>>,
        problems: &mut Vec<Problem>,
    ) -> Result<Settings> {
        let jobs = Setting::first_of(
            [flag("--jobs", overrides.jobs), self.env("DAVIT_JOBS")?, self.of_file(raw.jobs)],
            default_jobs(),
        );
        let limit_rate = Setting::first_of(
            [
                flag("--limit-rate", overrides.limit_rate.map(Some)),
                self.env("DAVIT_LIMIT_RATE")?.map(|rate| rate.map(Some)),
                self.of_file(raw.limit_rate).map(|rate| rate.map(Some)),
            ],
            None,
        );
        let lock_budget = Setting::first_of(
            [flag("--lock-budget", overrides.lock_budget), self.of_file(raw.lock_budget)],
            Span(Duration::from_secs(30)),
        );
        let snapshot_budget = Setting::first_of(
            [flag("--snapshot-budget", overrides.snapshot_budget), self.of_file(raw.snapshot_budget)],
            Span(Duration::from_hours(12)),
        );
        let retry_budget = Setting::first_of(
            [
                self.env("DAVIT_RETRY_BUDGET")?.map(|budget| budget.map(Some)),
                self.of_file(raw.retry_budget).map(|budget| budget.map(Some)),
            ],
            None,
        );
        let xmin_age_budget = Setting::first_of([self.of_file(raw.xmin_age_budget)], XMIN_AGE_BUDGET);
        let retention = Setting::first_of([self.of_file(raw.retention)], Rules::default());
        let inherited = Inherited { jobs, limit_rate, lock_budget, snapshot_budget, xmin_age_budget, retention };
        Ok(Settings {
            repository: Setting::first_of(
                [
                    flag("--repository", overrides.repository.clone()),
                    self.env("DAVIT_REPOSITORY")?,
                    self.of_file(raw.repository).map(|url| url.map(|url| self.located(&url))),
                ],
                "./davit-repository".to_owned(),
            ),
            keys: Setting::first_of(
                [
                    flag("--keys", overrides.keys.clone()),
                    self.env("DAVIT_KEYS")?,
                    self.of_file(raw.keys).map(|path| path.map(|path| self.beside(&path))),
                ],
                PathBuf::from("./davit-keys"),
            ),
            state: Setting::first_of(
                [
                    self.env("DAVIT_STATE")?.map(|path| path.map(Some)),
                    self.of_file(raw.state).map(|path| path.map(|path| Some(self.beside(&path)))),
                ],
                self.default_state(),
            ),
            scratch: self.scratch(raw.scratch)?,
            retry_budget,
            lease_term: Setting::first_of([self.lease_term()?, self.of_file(raw.lease_term)], Span(TERM)),
            client_tools: Setting::first_of([self.of_file(raw.client_tools)], Vec::new()),
            object_lock: Setting::first_of([self.of_file(raw.object_lock)], ObjectLock::Off),
            sources: self.sources(raw.sources, &inherited, problems),
            jobs: inherited.jobs,
            limit_rate: inherited.limit_rate,
            lock_budget: inherited.lock_budget,
            snapshot_budget: inherited.snapshot_budget,
            xmin_age_budget: inherited.xmin_age_budget,
            retention: inherited.retention,
            hooks: self.hooks(raw.hooks),
            environment: self.environment.clone(),
            file,
        })
    }

    fn sources(
        &self,
        raw: BTreeMap<String, Spanned<RawSource>>,
        inherited: &Inherited,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<SourceName, Source> {
        let mut sources = BTreeMap::new();
        for (name, source) in raw {
            match name.parse::<SourceName>() {
                Ok(name) => drop(sources.insert(name.clone(), self.source(name, source, inherited))),
                Err(error) => {
                    let hint = error.hint_text().map(str::to_owned);
                    problems.push(Problem::new(Some(source.defined.line()), error.to_string(), hint));
                }
            }
        }
        sources
    }

    fn source(&self, name: SourceName, raw: Spanned<RawSource>, inherited: &Inherited) -> Source {
        let line = raw.defined.line();
        let raw = raw.value;
        let url = Setting::new(raw.url.value, self.line(raw.url.defined.line()));
        let checks = self.only(raw.checks, Vec::new());
        Source {
            name,
            line,
            url,
            databases: self.only(raw.databases, Databases::default()),
            exclude: self.only(raw.exclude, Exclude::default()),
            engine: self.only(raw.engine, EngineChoice::default()),
            unlogged: self.only(raw.unlogged, true),
            min_content: self.only(raw.min_content, MinContent::default()),
            jobs: self.own(raw.jobs, &inherited.jobs),
            limit_rate: self.own_option(raw.limit_rate, &inherited.limit_rate),
            lock_budget: self.own(raw.lock_budget, &inherited.lock_budget),
            snapshot_budget: self.own(raw.snapshot_budget, &inherited.snapshot_budget),
            xmin_age_budget: self.own(raw.xmin_age_budget, &inherited.xmin_age_budget),
            retention: self.own(raw.retention, &inherited.retention),
            checks: checks.map(|paths| paths.iter().map(|path| self.beside(path)).collect()),
        }
    }

    /// A source's own value, unless a flag or the environment said otherwise.
    fn own<T: Clone>(&self, own: Option<Spanned<T>>, inherited: &Setting<T>) -> Setting<T> {
        match (&inherited.origin, self.of_file(own)) {
            (Origin::Default | Origin::File { .. }, Some(own)) => own,
            _ => inherited.clone(),
        }
    }

    fn own_option<T: Clone>(&self, own: Option<Spanned<T>>, inherited: &Setting<Option<T>>) -> Setting<Option<T>> {
        match (&inherited.origin, self.of_file(own)) {
            (Origin::Default | Origin::File { .. }, Some(own)) => own.map(Some),
            _ => inherited.clone(),
        }
    }

    /// What only a source can say.
    fn only<T>(&self, own: Option<Spanned<T>>, default: T) -> Setting<T> {
        Setting::first_of([self.of_file(own)], default)
    }

    fn line(&self, line: u64) -> Origin {
        self.file.clone().map_or(Origin::Default, |path| Origin::File { path, line })
    }

    fn of_file<T>(&self, value: Option<Spanned<T>>) -> Option<Setting<T>> {
        let path = self.file.clone()?;
        value.map(|value| Setting::new(value.value, Origin::File { path, line: value.defined.line() }))
    }

    fn env<T: FromStr>(&self, name: &'static str) -> Result<Option<Setting<T>>>
    where
        T::Err: std::fmt::Display,
    {
        let Some(text) = self.environment.get(name)? else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(Setting::new(value, Origin::Env(name)))),
            Err(why) => Err(Error::input(format!("reading the environment variable {name}: {why}"))),
        }
    }

    fn hooks(&self, raw: Vec<Spanned<RawHook>>) -> Vec<Setting<RawHook>> {
        raw.into_iter().filter_map(|hook| self.of_file(Some(hook))).collect()
    }

    fn lease_term(&self) -> Result<Option<Setting<Span>>> {
        let name = "DAVIT_LEASE_TERM";
        let term: Option<Setting<Span>> = self.env(name)?;
        match term.as_ref().and_then(|term| wrong_term(&term.value)) {
            Some(text) => Err(Error::input(format!("reading the environment variable {name}: {text}"))),
            None => Ok(term),
        }
    }

    /// `TMPDIR` is meant for everybody, so what is written for Davit wins.
    fn scratch(&self, raw: Option<Spanned<PathBuf>>) -> Result<Setting<PathBuf>> {
        let file = self.of_file(raw).map(|path| path.map(|path| self.beside(&path)));
        Ok(Setting::first_of([self.env("DAVIT_SCRATCH")?, file, self.env("TMPDIR")?], PathBuf::from("/tmp")))
    }

    /// A path of the file starts beside the file, wherever the command was called.
    fn beside(&self, path: &Path) -> PathBuf {
        self.file.as_ref().and_then(|file| file.parent()).map_or_else(|| path.to_owned(), |base| base.join(path))
    }

    fn located(&self, repository: &str) -> String {
        if repository.contains("://") {
            return repository.to_owned();
        }
        self.beside(Path::new(repository)).display().to_string()
    }

    fn default_state(&self) -> Option<PathBuf> {
        let state = self.environment.path("XDG_STATE_HOME");
        let state = state.or_else(|| self.environment.home().map(|home| home.join(".local/state")));
        state.map(|state| state.join("davit"))
    }
}

/// What is wrong with the length of a lease, if anything is.
fn wrong_term(term: &Span) -> Option<String> {
    let text = || format!("lease_term is {term}, and must be between 3s and 1h");
    (!LEASE_TERMS.contains(&term.0)).then(text)
}

/// What sources take over unless they say otherwise.
struct Inherited {
    jobs: Setting<u32>,
    limit_rate: Setting<Option<Bytes>>,
    lock_budget: Setting<Span>,
    snapshot_budget: Setting<Span>,
    xmin_age_budget: Setting<u64>,
    retention: Setting<Rules>,
}

fn flag<T>(name: &'static str, value: Option<T>) -> Option<Setting<T>> {
    value.map(|value| Setting::new(value, Origin::Flag(name)))
}

/// One worker per core; more than a few need more memory than is promised.
fn default_jobs() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores.min(MOST_DEFAULT_JOBS)).unwrap_or(1)
}
