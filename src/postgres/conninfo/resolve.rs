//! From what was written, the service file, the environment and the defaults to one checked [`ConnInfo`].

use super::files::{self, PassFile};
use super::{ChannelBinding, ConnInfo, HostSpec, Keepalive, PgEnvironment, Roots, SslMode, Target, Tls, parameters};
use crate::error::{Error, Result};
use crate::postgres::account;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one host may take to answer, where nothing is said (libpq would wait for ever).
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where distributions put the server's Unix socket; the first that has one for our port is taken.
const SOCKET_DIRECTORIES: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

/// Where distributions keep all trusted roots in one file.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Silence is noticed after about two minutes: 30 s + 9 × 10 s.
pub(super) fn keepalive_defaults() -> Keepalive {
    Keepalive {
        on: true,
        idle: Duration::from_secs(30),
        interval: Duration::from_secs(10),
        count: 9,
        user_timeout: None,
    }
}

/// The parameters by name, explicit ones first, then the service's, then the environment's.
struct Parameters(BTreeMap<String, String>);

impl Parameters {
    fn gather(written: super::syntax::Pairs, env: &PgEnvironment) -> Result<Self> {
        let mut all: BTreeMap<String, String> = written.into_iter().collect();
        let from_env: BTreeMap<&str, &String> = parameters::of_environment()
            .filter_map(|(key, variable)| env.vars.get(variable).filter(|v| !v.is_empty()).map(|v| (key, v)))
            .collect();
        let service = all.get("service").or_else(|| from_env.get("service").copied()).cloned();
        if let Some(name) = service {
            let file = all.get("servicefile").or_else(|| from_env.get("servicefile").copied());
            for (key, value) in files::service(&name, &service_files(file, env))? {
                all.entry(key).or_insert(value);
            }
        }
        for (key, value) in from_env {
            parameters::known(key)?;
            all.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
        Ok(Self(all))
    }

    /// A parameter that is there and not empty; libpq treats empty ones as not given.
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn number(&self, key: &str) -> Result<Option<i64>> {
        self.get(key)
            .map(|value| {
                value
                    .trim()
                    .parse()
                    .map_err(|_| Error::input(format!("reading the database connection: {key} is not a whole number")))
            })
            .transpose()
    }

    fn seconds(&self, key: &str) -> Result<Option<Duration>> {
        // libpq takes zero and negative numbers as "the system's default" or "no limit".
        Ok(self.number(key)?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).map(Duration::from_secs))
    }

    fn one_of<T: Copy>(&self, key: &str, names: &[(&str, T)]) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        if let Some((_, wanted)) = names.iter().find(|(name, _)| *name == value) {
            return Ok(Some(*wanted));
        }
        let near = parameters::nearest(value, names.iter().map(|(name, _)| *name));
        let all = names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let error = Error::input(format!("reading the database connection: {key} cannot be {value:?}"));
        Err(match near {
            Some(near) => error.hint(format!("did you mean {key}={near}?")),
            None => error.hint(format!("{key} is one of {all}")),
        })
    }
}

fn service_files(named: Option<&String>, env: &PgEnvironment) -> Vec<PathBuf> {
    let mut files = Vec::new();
    match named {
        Some(file) => files.push(PathBuf::from(file)),
        None => files.extend(env.home.as_ref().map(|home| home.join(".pg_service.conf"))),
    }
    let directory = env.vars.get("PGSYSCONFDIR").map_or("/etc/postgresql-common", String::as_str);
    files.push(Path::new(directory).join("pg_service.conf"));
    files
}

/// Checks and completes what was written.
pub(super) fn resolve(written: super::syntax::Pairs, env: &PgEnvironment) -> Result<ConnInfo> {
    let given = Parameters::gather(written, env)?;
    if given.get("gssencmode") == Some("require") {
        return Err(Error::input("reading the database connection: gssencmode=require is not supported")
            .hint("use sslmode=verify-full for an encrypted connection"));
    }
    let user = match given.get("user") {
        Some(user) => user.to_owned(),
        None => own_name(env)?,
    };
    let database = given.get("dbname").unwrap_or(&user).to_owned();
    let passfile = given
        .get("passfile")
        .map(PathBuf::from)
        .or_else(|| env.home.as_ref().map(|home| home.join(".pgpass")))
        .map_or(PassFile::Absent, |path| PassFile::read(&path));
    let written_password = given.get("password").map(Secret::new);
    let mut hosts = hosts(&given)?;
    for host in &mut hosts {
        host.password = written_password
            .clone()
            .or_else(|| passfile.password(&names_in_passfile(host), host.port, &database, &user));
    }
    let connect_timeout = match given.number("connect_timeout")? {
        None => Some(CONNECT_TIMEOUT),
        Some(seconds) if seconds <= 0 => None,
        // As libpq: one second is too easily missed by rounding.
        Some(seconds) => Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(2).max(2))),
    };
    Ok(ConnInfo {
        tls: tls(&given, env)?,
        target: target(&given)?,
        load_balance: given.one_of("load_balance_hosts", &[("disable", false), ("random", true)])?.unwrap_or(false),
        channel_binding: given
            .one_of(
                "channel_binding",
                &[
                    ("disable", ChannelBinding::Disable),
                    ("prefer", ChannelBinding::Prefer),
                    ("require", ChannelBinding::Require),
                ],
            )?
            .unwrap_or(ChannelBinding::Prefer),
        keepalive: keepalive(&given)?,
        options: given.get("options").map(str::to_owned),
        passfile_note: match passfile {
            PassFile::Ignored(why) if written_password.is_none() => {
                Some(format!("the password file was ignored: {why}"))
            }
            _ => None,
        },
        hosts,
        user,
        database,
        connect_timeout,
    })
}

fn own_name(env: &PgEnvironment) -> Result<String> {
    account::own().map(|account| account.name).or_else(|| env.vars.get("USER").cloned()).ok_or_else(|| {
        Error::input("reading the database connection: no user is given, and this process has no account")
            .hint("add user=… or set PGUSER")
    })
}

fn hosts(given: &Parameters) -> Result<Vec<HostSpec>> {
    let list = |key: &str| given.get(key).map(|v| v.split(',').map(str::trim).collect::<Vec<_>>()).unwrap_or_default();
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = names.len().max(addresses.len()).max(1);
    let fits = |n: usize| n == 0 || n == count;
    if !fits(names.len()) || !fits(addresses.len()) || (!fits(ports.len()) && ports.len() != 1) {
        return Err(Error::input(format!(
            "reading the database connection: {} hosts, {} addresses and {} ports do not go together",
            names.len(),
            addresses.len(),
            ports.len()
        ))
        .hint("give one port for all hosts, or one for each"));
    }
    (0..count)
        .map(|i| {
            let port = match ports.get(i).or_else(|| ports.first().filter(|_| ports.len() == 1)) {
                None | Some(&"") => 5432,
                Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                    Error::input("reading the database connection: the port is not a number from 1 to 65535")
                })?,
            };
            let address = match addresses.get(i) {
                None | Some(&"") => None,
                Some(text) => Some(text.parse().map_err(|_| {
                    Error::input(format!("reading the database connection: hostaddr {text:?} is not an IP address"))
                        .hint("a host name goes into host")
                })?),
            };
            let name = match names.get(i) {
                Some(name) if name.starts_with('@') => {
                    return Err(Error::input(
                        "reading the database connection: abstract Unix sockets are not supported",
                    ));
                }
                Some(name) if !name.is_empty() => (*name).to_owned(),
                _ if address.is_some() => String::new(),
                _ => default_socket_directory(port),
            };
            Ok(HostSpec { name, address, port, password: None })
        })
        .collect()
}

fn default_socket_directory(port: u16) -> String {
    let has_socket = |dir: &&str| Path::new(dir).join(format!(".s.PGSQL.{port}")).exists();
    SOCKET_DIRECTORIES.into_iter().find(has_socket).unwrap_or(SOCKET_DIRECTORIES[0]).to_owned()
}

/// As libpq: a socket in the default directory goes by the name of localhost.
fn names_in_passfile(host: &HostSpec) -> Vec<&str> {
    if SOCKET_DIRECTORIES.contains(&host.name.as_str()) { vec![&host.name, "localhost"] } else { vec![&host.name] }
}

fn target(given: &Parameters) -> Result<Target> {
    let names = [
        ("any", Target::Any),
        ("read-write", Target::ReadWrite),
        ("read-only", Target::ReadOnly),
        ("primary", Target::Primary),
        ("standby", Target::Standby),
        ("prefer-standby", Target::PreferStandby),
    ];
    Ok(given.one_of("target_session_attrs", &names)?.unwrap_or(Target::Any))
}

fn keepalive(given: &Parameters) -> Result<Keepalive> {
    let defaults = keepalive_defaults();
    Ok(Keepalive {
        on: given.number("keepalives")? != Some(0),
        idle: given.seconds("keepalives_idle")?.unwrap_or(defaults.idle),
        interval: given.seconds("keepalives_interval")?.unwrap_or(defaults.interval),
        count: given
            .number("keepalives_count")?
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0)
            .unwrap_or(defaults.count),
        user_timeout: given
            .number("tcp_user_timeout")?
            .and_then(|ms| u64::try_from(ms).ok())
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis),
    })
}

fn tls(given: &Parameters, env: &PgEnvironment) -> Result<Tls> {
    let in_home = |file: &str| env.home.as_ref().map(|home| home.join(".postgresql").join(file));
    let system = given.get("sslrootcert") == Some("system");
    let default_mode = if system { SslMode::VerifyFull } else { SslMode::Prefer };
    let mode = given.one_of("sslmode", &SslMode::NAMES)?.unwrap_or(default_mode);
    if system && mode != SslMode::VerifyFull {
        return Err(Error::input(format!(
            "reading the database connection: sslmode={} is too weak for sslrootcert=system",
            mode.name()
        ))
        .hint("anyone can have a certificate from a public authority: use sslmode=verify-full"));
    }
    let existing = |path: Option<PathBuf>| path.filter(|path| path.exists());
    let roots = match given.get("sslrootcert") {
        Some("system") => {
            let named = env.vars.get("SSL_CERT_FILE").map(PathBuf::from);
            Roots::System(named.or_else(existing_bundle))
        }
        Some(file) => Roots::File(PathBuf::from(file)),
        None => existing(in_home("root.crt")).map_or(Roots::None, Roots::File),
    };
    if mode >= SslMode::VerifyCa && roots == Roots::None {
        return Err(Error::input(format!(
            "reading the database connection: sslmode={} needs to know which certificates to trust",
            mode.name()
        ))
        .hint("add sslrootcert=FILE, or sslrootcert=system for the authorities that this machine trusts"));
    }
    let certificate = given.get("sslcert").map(PathBuf::from).or_else(|| existing(in_home("postgresql.crt")));
    let key = given.get("sslkey").map(PathBuf::from).or_else(|| existing(in_home("postgresql.key")));
    let version = |key: &str| given.one_of(key, &[("TLSv1", 10_u8), ("TLSv1.1", 11), ("TLSv1.2", 12), ("TLSv1.3", 13)]);
    let (lowest, highest) = (version("ssl_min_protocol_version")?, version("ssl_max_protocol_version")?);
    if highest.is_some_and(|highest| highest < 12 || lowest.is_some_and(|lowest| lowest > highest)) {
        return Err(Error::input(
            "reading the database connection: no TLS version is left: davit speaks TLS 1.2 and 1.3",
        ));
    }
    Ok(Tls {
        mode,
        roots,
        client: match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(certificate), None) => {
                return Err(Error::input(format!(
                    "reading the database connection: there is no key for the certificate {}",
                    certificate.display()
                ))
                .hint("add sslkey=FILE"));
            }
            _ => None,
        },
        revoked: given.get("sslcrl").map(PathBuf::from).or_else(|| existing(in_home("root.crl"))),
        direct: given.one_of("sslnegotiation", &[("postgres", false), ("direct", true)])?.unwrap_or(false),
        only_1_3: lowest == Some(13),
        only_1_2: highest == Some(12),
    })
}

fn existing_bundle() -> Option<PathBuf> {
    BUNDLES.iter().map(PathBuf::from).find(|path| path.exists())
}
