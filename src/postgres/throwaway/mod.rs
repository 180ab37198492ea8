//! A PostgreSQL server that exists for one proof or one demonstration: made in seconds, reached only through a Unix
//! socket in a private directory, run by an account that owns nothing of value, and gone without a trace afterwards.

mod place;
mod process;

pub use place::remove_leftovers;
pub use process::Egress;

use super::account::{self, Account};
use super::connect::connect;
use super::conninfo::ConnInfo;
use super::tools::{Tool, Tools, Version};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::retry::{Policy, Retry, Retryable};
use crate::secret::Secret;
use place::Place;
use process::{Sandbox, ServerProcess};
use rand::RngExt;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Accounts that may run a server of root's, the first that is there. `nobody` comes before `postgres`, which on a
/// database host owns the very data that a restored dump must not reach.
const ACCOUNTS: [&str; 3] = ["nobody", "postgres", "daemon"];

/// How long a server may take until it answers.
const READY: Policy = Policy {
    attempts: 2000,
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(200),
    deadline: Duration::from_mins(1),
};

/// The server's settings: fast and forgetful, and open to nobody.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("port", "5432"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "2GB"),
    ("autovacuum", "off"),
    ("max_connections", "50"),
    ("max_locks_per_transaction", "256"),
    ("restart_after_crash", "off"),
    ("logging_collector", "off"),
    ("log_min_messages", "warning"),
    ("jit", "off"),
];

/// The locale of the cluster (each database may still have its own).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locale {
    /// `UTF8`, …
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// `libc`, `icu` or `builtin`.
    pub provider: String,
    /// The locale of `icu` or `builtin`.
    pub provider_locale: Option<String>,
}

impl Default for Locale {
    fn default() -> Self {
        Self {
            encoding: "UTF8".into(),
            collate: "C".into(),
            ctype: "C".into(),
            provider: "libc".into(),
            provider_locale: None,
        }
    }
}

/// What kind of server is wanted.
#[derive(Debug, Clone)]
pub struct ThrowawayOptions {
    /// The programs, from [`Tools::find_server`].
    pub tools: Tools,
    /// Where its directory is made.
    pub parent: PathBuf,
    /// The cluster's locale.
    pub locale: Locale,
    /// The name of its only superuser; not one that a restored database may bring along.
    pub superuser: String,
    /// Its password; a fresh one unless somebody needs the same for several servers.
    pub password: Option<Secret>,
    /// `shared_buffers`, in MiB.
    pub shared_buffers_mib: u32,
    /// So much room must be free before anything is made.
    pub room_bytes: u64,
    /// Further settings; they win over ours.
    pub settings: Vec<(String, String)>,
    /// The account to run it when we are root; by default `nobody`, else `postgres`.
    pub account: Option<String>,
    /// For waiting.
    pub clock: SharedClock,
    /// Ends the making of it.
    pub cancel: CancellationToken,
}

impl ThrowawayOptions {
    /// The usual server, of these programs, below this directory.
    pub fn new(tools: Tools, parent: &Path, clock: SharedClock, cancel: CancellationToken) -> Self {
        Self {
            tools,
            parent: parent.to_owned(),
            locale: Locale::default(),
            superuser: "davit".into(),
            password: None,
            shared_buffers_mib: 128,
            room_bytes: 256 << 20,
            settings: Vec::new(),
            account: None,
            clock,
            cancel,
        }
    }
}

/// A running throw-away server. `stop` ends it and says if that failed; dropping it ends it, too, and if davit is
/// killed the server ends by itself.
#[derive(Debug)]
pub struct Server {
    // In this order: the process ends before its directory goes.
    process: ServerProcess,
    place: Place,
    conn: ConnInfo,
    egress: Egress,
    account: Account,
    version: Version,
}

impl Server {
    /// Makes a cluster and starts it; it answers when this returns.
    ///
    /// # Errors
    /// `Kind::Undecided`, by name, where this machine lacks a locale or the room; `Kind::Refused` where no account can
    /// run it.
    pub async fn start(options: ThrowawayOptions) -> Result<Self> {
        let account = choose_account(options.account.as_deref())?;
        sweep(options.parent.clone()).await;
        let place = Place::make(&options.parent, &account)?;
        // On any failure, or if this is given up half-way, first the process goes and then the place.
        let (process, conn, egress) = Self::start_in(&place, &account, &options).await?;
        Ok(Self { process, place, conn, egress, account, version: options.tools.version() })
    }

    async fn start_in(
        place: &Place,
        account: &Account,
        options: &ThrowawayOptions,
    ) -> Result<(ServerProcess, ConnInfo, Egress)> {
        place.need_room(options.room_bytes)?;
        let password = options.password.clone().unwrap_or_else(fresh_password);
        make_cluster(place, account, options, &password).await?;
        let sandbox = Sandbox::probe(account);
        let mut process = sandbox.start(
            &options.tools.program("postgres"),
            &place.data(),
            &arguments(place, options),
            &place.log(),
        )?;
        let conn = ConnInfo::socket(&place.socket(), 5432, &options.superuser, &password, "postgres");
        await_ready(&mut process, place, &conn, options).await?;
        Ok((process, conn, sandbox.egress))
    }

    /// How to reach it as its superuser, in the database `postgres`.
    pub fn conn(&self) -> &ConnInfo {
        &self.conn
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether it can reach a network.
    pub fn egress(&self) -> &Egress {
        &self.egress
    }

    /// The account it runs as.
    pub fn account(&self) -> &str {
        &self.account.name
    }

    /// Whether it runs as ourselves (we are not root), so that code in a restored database could read our files if it
    /// broke out of its role.
    pub fn shares_our_account(&self) -> bool {
        !account::is_root()
    }

    /// Its data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.place.data()
    }

    /// Its postmaster's process id.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        log_tail(&self.place)
    }

    /// Ends it and removes all it left.
    ///
    /// # Errors
    /// `Kind::Stuck` if its directory could not be removed.
    pub async fn stop(self) -> Result<()> {
        let ended = tokio::task::spawn_blocking(move || {
            let mut server = self;
            server.process.end();
            server.place.remove()
        });
        ended.await.map_err(|error| Error::failed("stopping a throw-away server").because(error))?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.end();
        if let Err(error) = self.place.remove() {
            tracing::error!("{error}");
        }
    }
}

/// Ending a leftover server may take seconds, in which nothing else may stand still.
async fn sweep(parent: PathBuf) {
    match tokio::task::spawn_blocking(move || remove_leftovers(&parent)).await {
        Ok(removed) => {
            for leftover in removed {
                tracing::info!("removed the throw-away server in {} that a killed run left", leftover.display());
            }
        }
        Err(error) => tracing::warn!("looking for leftover servers: {error}"),
    }
}

fn choose_account(wanted: Option<&str>) -> Result<Account> {
    let doing = "choosing an account for a throw-away server";
    if !account::is_root() {
        return account::own().ok_or_else(|| {
            Error::refused(format!("{doing}: this process has no account in /etc/passwd, and initdb wants one"))
                .hint("run as an account that exists, or add one with this user id")
        });
    }
    let found = match wanted {
        Some(name) => account::named(name),
        None => ACCOUNTS.into_iter().find_map(account::named),
    };
    found.filter(|account| account.uid != 0).ok_or_else(|| {
        let name = wanted.unwrap_or("nobody");
        Error::refused(format!("{doing}: there is no unprivileged account {name}, and PostgreSQL does not run as root"))
            .hint("name an existing account, or run davit as one")
    })
}

/// A password that nobody guesses.
pub fn fresh_password() -> Secret {
    Secret::new(format!("{:032x}{:032x}", rand::rng().random::<u128>(), rand::rng().random::<u128>()))
}

async fn make_cluster(place: &Place, account: &Account, options: &ThrowawayOptions, password: &Secret) -> Result<()> {
    let locale = &options.locale;
    let doing = "making a throw-away server";
    let file = place.secret_file(password.reveal(), account)?;
    let mut initdb = Tool::new(&options.tools.program("initdb"), doing)
        .arg("-D")
        .arg(place.data())
        .args(["-U", &options.superuser, "--auth-local=scram-sha-256", "--auth-host=reject", "--no-sync"])
        .args(["--no-instructions", "--locale=C", "-E", &locale.encoding])
        .arg(format!("--pwfile={}", file.path().display()))
        .args([format!("--lc-collate={}", locale.collate), format!("--lc-ctype={}", locale.ctype)]);
    if locale.provider != "libc" {
        initdb = initdb.arg(format!("--locale-provider={}", locale.provider));
        if let Some(name) = &locale.provider_locale {
            initdb = initdb.arg(format!("--{}-locale={name}", locale.provider));
        }
    }
    if account::is_root() {
        initdb = initdb.account(account);
    }
    let running = initdb.spawn()?;
    let finished = running.finish(&options.cancel).await;
    finished.map(drop).map_err(|error| explain_initdb(error, options))
}

/// What this machine lacks is no verdict on a backup: exit 6, by name.
fn explain_initdb(error: Error, options: &ThrowawayOptions) -> Error {
    let said = error.to_string();
    let locale = &options.locale;
    if ["invalid locale", "could not open collator", "locale settings", "unrecognized locale provider"]
        .iter()
        .any(|text| said.contains(text))
    {
        let names: Vec<&str> = [Some(&locale.collate), Some(&locale.ctype), locale.provider_locale.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        return Error::undecided(format!(
            "making a throw-away server: this machine or this version lacks the locale {} ({})",
            names.join(" / "),
            locale.provider
        ))
        .because(error)
        .hint("install it (Debian: locale-gen or localedef; glibc-langpack-* on RPM systems)");
    }
    if said.contains("No space left") {
        return Error::undecided(format!("making a throw-away server: no room in {}", options.parent.display()))
            .because(error);
    }
    if said.contains("ermission denied") {
        return error.hint("the account that runs it must be able to read PostgreSQL's programs");
    }
    error
}

fn arguments(place: &Place, options: &ThrowawayOptions) -> Vec<String> {
    let own = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let more = [
        ("unix_socket_directories".to_owned(), place.socket().display().to_string()),
        ("shared_buffers".to_owned(), format!("{}MB", options.shared_buffers_mib)),
    ];
    own.chain(more)
        .chain(options.settings.iter().cloned())
        .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")])
        .collect()
}

struct NotYet {
    error: Error,
    retry: Retry,
}

impl Retryable for NotYet {
    fn retry(&self) -> Retry {
        self.retry
    }
}

async fn await_ready(
    process: &mut ServerProcess,
    place: &Place,
    conn: &ConnInfo,
    options: &ThrowawayOptions,
) -> Result<()> {
    let process = std::sync::Mutex::new(process);
    let attempt = |_| async {
        let ended = process.lock().unwrap_or_else(std::sync::PoisonError::into_inner).ended();
        if let Some(status) = ended {
            let error = Error::failed(format!("starting a throw-away server: it ended with {status}"))
                .because(log_tail(place).trim().replace('\n', "; "));
            return Err(NotYet { error: no_room(error, options), retry: Retry::Never });
        }
        match connect(conn, "ready").await {
            Ok(session) => {
                session.close().await;
                Ok(())
            }
            Err(error) => Err(NotYet { error, retry: Retry::Later }),
        }
    };
    let ready = READY.run(&*options.clock, &options.cancel, attempt).await;
    if options.cancel.is_cancelled() {
        return Err(Error::failed("starting a throw-away server: cancelled"));
    }
    ready.map_err(|not_yet| not_yet.error.during("waiting for a throw-away server"))
}

fn no_room(error: Error, options: &ThrowawayOptions) -> Error {
    if error.to_string().contains("No space left") {
        return Error::undecided(format!("starting a throw-away server: no room in {}", options.parent.display()))
            .because(error);
    }
    error
}

fn log_tail(place: &Place) -> String {
    let text = std::fs::read(place.log()).unwrap_or_default();
    let from = text.len().saturating_sub(4096);
    String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned()
}

impl fmt::Display for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("without a network"),
            Self::Open(why) => write!(f, "not cut off from the network ({why})"),
        }
    }
}
