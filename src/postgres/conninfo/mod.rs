//! Where a database is and how to reach it, read as libpq reads it, so that what works with `psql` works here.

mod files;
pub(in crate::postgres) mod parameters;
mod past;
mod resolve;
mod syntax;

pub use past::past;

use crate::error::Result;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The environment as the shell read it; only variables whose names begin with `PG`, `USER` and `SSL_CERT_FILE` are
/// looked at.
#[derive(Debug, Clone, Default)]
pub struct PgEnvironment {
    /// The variables.
    pub vars: BTreeMap<String, String>,
    /// The home directory, for `.pgpass`, `.pg_service.conf` and `.postgresql/`.
    pub home: Option<PathBuf>,
}

/// One place where the server may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct HostSpec {
    /// A host name, an address, or the directory of a Unix socket (then it begins with `/`).
    pub(in crate::postgres) name: String,
    /// The address to use instead of looking the name up.
    pub(in crate::postgres) address: Option<IpAddr>,
    /// The port.
    pub(in crate::postgres) port: u16,
    /// The password for this place.
    pub(in crate::postgres) password: Option<Secret>,
}

impl HostSpec {
    /// Whether this is a Unix socket.
    pub(in crate::postgres) fn is_socket(&self) -> bool {
        self.name.starts_with('/')
    }

    /// The name that a certificate is held against; without one the address is.
    pub(in crate::postgres) fn tls_name(&self) -> String {
        match self.address {
            Some(address) if self.name.is_empty() => address.to_string(),
            _ => self.name.clone(),
        }
    }

    fn shown(&self) -> String {
        let name = if self.name.is_empty() {
            self.address.map(|a| a.to_string()).unwrap_or_default()
        } else {
            self.name.clone()
        };
        if name.contains(':') { format!("[{name}]:{}", self.port) } else { format!("{name}:{}", self.port) }
    }
}

/// How much of TLS is asked for; the names are libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::postgres) enum SslMode {
    /// Never.
    Disable,
    /// Only if the server refuses plain connections.
    Allow,
    /// If the server has it.
    Prefer,
    /// Always, without looking who is at the other end (unless a root certificate is there).
    Require,
    /// The certificate must come from a trusted root.
    VerifyCa,
    /// … and carry the name of the host.
    VerifyFull,
}

impl SslMode {
    const NAMES: [(&'static str, Self); 6] = [
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    /// libpq's name of it.
    pub(in crate::postgres) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, mode)| *mode == self).map_or("prefer", |(name, _)| name)
    }
}

/// Which certificates are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) enum Roots {
    /// None: the other end is not looked at.
    None,
    /// Those of the operating system, and the one file they are in, if there is one.
    System(Option<PathBuf>),
    /// Those in a file.
    File(PathBuf),
}

/// Everything about TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Tls {
    pub(in crate::postgres) mode: SslMode,
    pub(in crate::postgres) roots: Roots,
    /// Certificate and key that show the server who we are.
    pub(in crate::postgres) client: Option<(PathBuf, PathBuf)>,
    pub(in crate::postgres) revoked: Option<PathBuf>,
    pub(in crate::postgres) direct: bool,
    /// Lowest and highest version, where asked for: `true` stands for TLS 1.3.
    pub(in crate::postgres) only_1_3: bool,
    pub(in crate::postgres) only_1_2: bool,
}

/// Which servers of several will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum Target {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// When the network goes silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Keepalive {
    pub(in crate::postgres) on: bool,
    pub(in crate::postgres) idle: Duration,
    pub(in crate::postgres) interval: Duration,
    pub(in crate::postgres) count: u32,
    pub(in crate::postgres) user_timeout: Option<Duration>,
}

/// How to reach one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnInfo {
    pub(in crate::postgres) hosts: Vec<HostSpec>,
    pub(in crate::postgres) user: String,
    pub(in crate::postgres) database: String,
    pub(in crate::postgres) options: Option<String>,
    pub(in crate::postgres) tls: Tls,
    /// `None` waits for ever, as `connect_timeout=0` asks.
    pub(in crate::postgres) connect_timeout: Option<Duration>,
    pub(in crate::postgres) target: Target,
    pub(in crate::postgres) load_balance: bool,
    pub(in crate::postgres) channel_binding: ChannelBinding,
    pub(in crate::postgres) keepalive: Keepalive,
    /// Why there may be no password, for the moment when the server asks for one.
    pub(in crate::postgres) passfile_note: Option<String>,
}

/// Whether the password exchange must be bound to the TLS channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

impl ConnInfo {
    /// Reads a URL or key=value pairs, filled up from the service file, the environment and libpq's defaults.
    ///
    /// # Errors
    /// `Kind::Input` with a hint; the message never repeats what may be a password.
    pub fn parse(text: &str, env: &PgEnvironment) -> Result<Self> {
        resolve::resolve(syntax::pairs(text)?, env)
    }

    /// A server that listens on a Unix socket in `directory`; for servers of our own.
    pub fn socket(directory: &Path, port: u16, user: &str, password: &Secret, database: &str) -> Self {
        Self {
            hosts: vec![HostSpec {
                name: directory.display().to_string(),
                address: None,
                port,
                password: Some(password.clone()),
            }],
            user: user.to_owned(),
            database: database.to_owned(),
            options: None,
            tls: Tls {
                mode: SslMode::Disable,
                roots: Roots::None,
                client: None,
                revoked: None,
                direct: false,
                only_1_3: false,
                only_1_2: false,
            },
            connect_timeout: Some(resolve::CONNECT_TIMEOUT),
            target: Target::Any,
            load_balance: false,
            channel_binding: ChannelBinding::Disable,
            keepalive: resolve::keepalive_defaults(),
            passfile_note: None,
        }
    }

    /// The connection without its password, as a URL.
    pub fn describe(&self) -> String {
        let user = percent_encode(&self.user);
        let database = percent_encode(&self.database);
        match self.hosts.first() {
            Some(host) if host.is_socket() => {
                let directory = percent_encode(&host.name).replace("%2F", "/");
                format!("postgres://{user}@/{database}?host={directory}&port={}", host.port)
            }
            _ => {
                let hosts: Vec<_> = self.hosts.iter().map(HostSpec::shown).collect();
                format!("postgres://{user}@{}/{database}", hosts.join(","))
            }
        }
    }

    /// The name that a certificate of its first host is held against.
    pub(in crate::postgres) fn tls_name(&self) -> String {
        self.hosts.first().map(HostSpec::tls_name).unwrap_or_default()
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The hosts (or socket directories) with their ports, for messages.
    pub fn shown_hosts(&self) -> String {
        self.hosts.iter().map(HostSpec::shown).collect::<Vec<_>>().join(", ")
    }

    /// The same server, another database.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// The same server and database as another user with this password.
    #[must_use]
    pub fn with_user(&self, user: &str, password: Option<&Secret>) -> Self {
        let mut other = Self { user: user.to_owned(), ..self.clone() };
        for host in &mut other.hosts {
            host.password = password.cloned();
        }
        other
    }

    /// The same, with these settings for its sessions, given when they begin.
    #[must_use]
    pub fn with_settings(&self, settings: &[(&str, String)]) -> Self {
        let escaped = |value: &str| value.replace('\\', "\\\\").replace(' ', "\\ ");
        let own = settings.iter().map(|(name, value)| format!("-c {name}={}", escaped(value)));
        let all: Vec<String> = self.options.iter().cloned().chain(own).collect();
        Self { options: Some(all.join(" ")).filter(|all| !all.is_empty()), ..self.clone() }
    }

    /// Only the host at this place in the list.
    pub(in crate::postgres) fn pinned(&self, host: usize) -> Self {
        let hosts = self.hosts.get(host).cloned().into_iter().collect();
        Self { hosts, load_balance: false, ..self.clone() }
    }

    /// What `pg_dump` and its like need in their environment to reach the same database; never on a command line,
    /// where everybody on the machine can read it. For several hosts take the connection of a session, which
    /// knows where it is.
    pub fn child_environment(&self) -> Vec<(String, String)> {
        let mut vars = Vec::new();
        let mut set = |name: &str, value: String| vars.push((name.to_owned(), value));
        let join = |each: &dyn Fn(&HostSpec) -> String| self.hosts.iter().map(each).collect::<Vec<_>>().join(",");
        set("PGHOST", join(&|host| host.name.clone()));
        if self.hosts.iter().any(|host| host.address.is_some()) {
            set("PGHOSTADDR", join(&|host| host.address.map(|a| a.to_string()).unwrap_or_default()));
        }
        set("PGPORT", join(&|host| host.port.to_string()));
        set("PGUSER", self.user.clone());
        set("PGDATABASE", self.database.clone());
        if let Some(password) = self.hosts.iter().find_map(|host| host.password.as_ref()) {
            set("PGPASSWORD", password.reveal().to_owned());
        }
        // What the password file had to say was read already; it must not be asked again with other rules.
        set("PGPASSFILE", "/nonexistent/pgpass".into());
        set("PGSSLMODE", self.tls.mode.name().to_owned());
        match &self.tls.roots {
            Roots::None => {}
            // Clients before 16 do not know the word `system`, but all of them can read the file behind it.
            Roots::System(bundle) => {
                set(
                    "PGSSLROOTCERT",
                    bundle.as_ref().map_or_else(|| "system".into(), |file| file.display().to_string()),
                );
            }
            Roots::File(file) => set("PGSSLROOTCERT", file.display().to_string()),
        }
        if let Some((certificate, key)) = &self.tls.client {
            set("PGSSLCERT", certificate.display().to_string());
            set("PGSSLKEY", key.display().to_string());
        }
        if let Some(file) = &self.tls.revoked {
            set("PGSSLCRL", file.display().to_string());
        }
        if self.tls.direct {
            set("PGSSLNEGOTIATION", "direct".into());
        }
        if self.tls.only_1_3 {
            set("PGSSLMINPROTOCOLVERSION", "TLSv1.3".into());
        }
        if self.tls.only_1_2 {
            set("PGSSLMAXPROTOCOLVERSION", "TLSv1.2".into());
        }
        if let Some(options) = &self.options {
            set("PGOPTIONS", options.clone());
        }
        if self.channel_binding == ChannelBinding::Require {
            set("PGCHANNELBINDING", "require".into());
        }
        set("PGCONNECT_TIMEOUT", self.connect_timeout.map_or(0, |t| t.as_secs()).to_string());
        set("PGGSSENCMODE", "disable".into());
        vars
    }
}

/// A name as it stands in a URL.
pub(in crate::postgres) fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(encoded, "%{byte:02X}").unwrap_or_default();
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
