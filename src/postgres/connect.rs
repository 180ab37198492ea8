//! Reaching a server: hosts in turn, addresses in turn, TLS as asked, and each failure told apart.

use super::conninfo::{ChannelBinding, ConnInfo, HostSpec, SslMode, Target, parameters};
use super::fault::{self, Fault};
use super::session::Session;
use super::socket::{Place, Socket};
use super::tap::{Tap, TapControl, TapTls};
use super::tls;
use crate::error::{Error, Kind, Result};
use rand::seq::SliceRandom;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres::Config;
use tokio_postgres::config::{
    ChannelBinding as DriverBinding, SslMode as DriverMode, SslNegotiation as DriverNegotiation,
};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Opens a session that the server's `pg_stat_activity` shows as `davit/<purpose>`.
pub async fn connect(conn: &ConnInfo, purpose: &str) -> Result<Session> {
    let tls = tls::connector(&conn.tls)?;
    let mut order: Vec<usize> = (0..conn.hosts.len()).collect();
    if conn.load_balance {
        order.shuffle(&mut rand::rng());
    }
    let targets: &[Target] = match conn.target {
        Target::PreferStandby => &[Target::Standby, Target::Any],
        _ => std::slice::from_ref(&conn.target),
    };
    let mut failures = Vec::new();
    for target in targets {
        for host in &order {
            match one_host(&conn.pinned(*host), *target, purpose, &tls).await {
                Ok(session) => return Ok(session),
                // The next host may be up; but none of them will like a wrong password better.
                Err(failure) if failure.another_host_may_do => failures.push(failure.error),
                Err(failure) => return Err(with_nearest_database(conn, failure, &tls).await),
            }
        }
    }
    Err(all_failed(conn, failures))
}

/// The same, for those who act on what a failure means: that of the last host that was tried.
pub async fn try_connect(conn: &ConnInfo, purpose: &str) -> std::result::Result<Session, (Fault, Error)> {
    let tls = tls::connector(&conn.tls).map_err(|error| (Fault::Tls, error))?;
    let target = if conn.target == Target::PreferStandby { Target::Any } else { conn.target };
    let mut last = (Fault::Other, Error::input(format!("connecting to {}: there is no host", conn.describe())));
    for host in 0..conn.hosts.len() {
        match one_host(&conn.pinned(host), target, purpose, &tls).await {
            Ok(session) => return Ok(session),
            Err(failure) => last = (failure.fault, failure.error),
        }
    }
    Err(last)
}

struct Failure {
    error: Error,
    fault: Fault,
    another_host_may_do: bool,
}

impl Failure {
    /// A failure that another host may not have.
    fn passing(error: Error) -> Self {
        Self { error, fault: Fault::Other, another_host_may_do: true }
    }
}

fn all_failed(conn: &ConnInfo, mut failures: Vec<Error>) -> Error {
    let Some(last) = failures.pop() else {
        return Error::input(format!("connecting to {}: no host is left", conn.describe()));
    };
    if failures.is_empty() {
        return last;
    }
    let each = failures.iter().chain([&last]).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Error::new(last.kind(), format!("connecting to {}: no host would do: {each}", conn.describe()))
        .hint(last.hint_text().unwrap_or("check each host"))
}

/// Tries each address of one host.
async fn one_host(
    conn: &ConnInfo,
    target: Target,
    purpose: &str,
    tls: &MakeRustlsConnect,
) -> std::result::Result<Session, Failure> {
    let doing = format!("connecting to {}", conn.describe());
    let Some(host) = conn.hosts.first() else {
        return Err(Failure::passing(Error::input(format!("{doing}: there is no host"))));
    };
    let mut last = Failure::passing(Error::input(format!("{doing}: the host has no address")));
    for address in addresses(host, &doing).await? {
        let session = match within(conn, attempt(conn, host, address, purpose, tls)).await {
            Some(Ok(session)) => session,
            Some(Err(trouble)) => {
                last = trouble.explain(conn, &doing);
                if !last.another_host_may_do {
                    return Err(last);
                }
                continue;
            }
            None => {
                let error = Error::failed(format!("{doing}: no answer in time"))
                    .hint("a firewall that drops packets looks like this; connect_timeout sets how long to wait");
                last = Failure::passing(error);
                continue;
            }
        };
        let Some(why) = unsuitable(&session, target) else { return Ok(session) };
        session.close().await;
        let error = Error::refused(format!("{doing}: {why}")).hint("target_session_attrs says which server is wanted");
        last = Failure::passing(error);
    }
    Err(last)
}

/// `None` when the time for one address is over.
async fn within<T>(conn: &ConnInfo, attempt: impl Future<Output = T>) -> Option<T> {
    match conn.connect_timeout {
        Some(limit) => tokio::time::timeout(limit, attempt).await.ok(),
        None => Some(attempt.await),
    }
}

/// Why one address would not do.
enum Trouble {
    Socket(io::Error),
    Driver(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(error)
    }
}

impl Trouble {
    fn explain(self, conn: &ConnInfo, doing: &str) -> Failure {
        match self {
            Self::Driver(error) => of_driver(conn, doing, &error),
            Self::Socket(error) => {
                let (fault, error) = fault::explain_socket(error, doing);
                Failure { error, fault, another_host_may_do: true }
            }
        }
    }
}

fn of_driver(conn: &ConnInfo, doing: &str, error: &tokio_postgres::Error) -> Failure {
    let fault = fault::classify(error);
    let mut explained = fault::explain(error, doing);
    if fault == Fault::NoPassword
        && let Some(note) = &conn.passfile_note
    {
        explained = explained.hint(note.clone());
    }
    if fault == Fault::Tls {
        explained = explained.hint(tls_hint(conn, error));
    }
    let another_host_may_do =
        matches!(fault, Fault::Refused | Fault::Timeout | Fault::TooMany | Fault::Starting | Fault::Gone);
    Failure { error: explained, fault, another_host_may_do }
}

fn tls_hint(conn: &ConnInfo, error: &tokio_postgres::Error) -> String {
    let said = fault::said(error);
    if said.contains("does not support TLS") {
        return "the server has ssl=off: turn it on there, or use sslmode=prefer if the network is trusted".into();
    }
    if said.contains("NotValidForName") || said.contains("not valid for name") {
        return "the certificate carries another name (only its subjectAltName counts): use that name as host, with \
                hostaddr for the address, or sslmode=verify-ca"
            .into();
    }
    if said.contains("UnknownIssuer") {
        return "the certificate was not issued by a root in sslrootcert".into();
    }
    if said.contains("Expired") || said.contains("expired") {
        return "the certificate has expired: renew it on the server, or check this machine's clock".into();
    }
    format!("sslmode={} was asked for", conn.tls.mode.name())
}

fn unsuitable(session: &Session, target: Target) -> Option<&'static str> {
    let facts = &session.facts;
    match target {
        Target::ReadWrite if facts.read_only => Some("the server takes no writes"),
        Target::ReadOnly if !facts.read_only => Some("the server takes writes"),
        Target::Primary if facts.standby => Some("the server is a standby"),
        Target::Standby if !facts.standby => Some("the server is not a standby"),
        _ => None,
    }
}

/// `None` is a Unix socket.
async fn addresses(host: &HostSpec, doing: &str) -> std::result::Result<Vec<Option<IpAddr>>, Failure> {
    if host.is_socket() {
        return Ok(vec![None]);
    }
    if let Some(address) = host.address {
        return Ok(vec![Some(address)]);
    }
    let found = tokio::net::lookup_host((host.name.as_str(), host.port)).await;
    match found {
        Ok(found) => {
            let mut addresses: Vec<_> = found.map(|address| Some(address.ip())).collect();
            addresses.dedup();
            Ok(addresses)
        }
        Err(cause) => {
            // getaddrinfo says "Temporary failure" where asking again may help; anything else is a wrong name.
            let kind = if cause.to_string().contains("emporary") { Kind::Failed } else { Kind::Input };
            let error = Error::new(kind, format!("{doing}: the host {} is not known", host.name))
                .because(cause)
                .hint("check the spelling of the host, and whether this machine can resolve it");
            Err(Failure::passing(error))
        }
    }
}

/// One address: TLS and plain in the order libpq takes them.
async fn attempt(
    conn: &ConnInfo,
    host: &HostSpec,
    address: Option<IpAddr>,
    purpose: &str,
    tls: &MakeRustlsConnect,
) -> std::result::Result<Session, Trouble> {
    let place = place(conn, host, address);
    let modes: &[DriverMode] = match conn.tls.mode {
        // TLS does not exist on Unix sockets, and libpq does not ask for it there.
        _ if address.is_none() => &[DriverMode::Disable],
        SslMode::Disable => &[DriverMode::Disable],
        SslMode::Allow => &[DriverMode::Disable, DriverMode::Require],
        SslMode::Prefer => &[DriverMode::Prefer, DriverMode::Disable],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[DriverMode::Require],
    };
    let (last, before) = modes.split_last().unwrap_or((&DriverMode::Require, &[]));
    for mode in before {
        let config = driver_config(conn, host, address, purpose, *mode);
        match open(conn, &place, &config, tls).await {
            // pg_hba.conf may allow one kind of connection and not the other; a failed handshake is no bar to plain.
            Err(Trouble::Driver(error)) if matches!(fault::classify(&error), Fault::NotAllowed | Fault::Tls) => {}
            outcome => return outcome,
        }
    }
    open(conn, &place, &driver_config(conn, host, address, purpose, *last), tls).await
}

fn place(conn: &ConnInfo, host: &HostSpec, address: Option<IpAddr>) -> Place {
    match address {
        None => Place::Unix(Path::new(&host.name).join(format!(".s.PGSQL.{}", host.port))),
        Some(address) => Place::Tcp(SocketAddr::new(address, host.port), conn.keepalive.clone()),
    }
}

async fn open(
    conn: &ConnInfo,
    place: &Place,
    config: &Config,
    tls: &MakeRustlsConnect,
) -> std::result::Result<Session, Trouble> {
    // The tap on the socket sees messages unless TLS is spoken, and then the one above it does.
    let (lower, upper) = (Arc::new(TapControl::default()), Arc::new(TapControl::default()));
    let socket = Tap::new(place.open().await.map_err(Trouble::Socket)?, Arc::clone(&lower));
    let asks =
        config.get_ssl_mode() != DriverMode::Disable && config.get_ssl_negotiation() == DriverNegotiation::Postgres;
    let socket = if asks { socket.after_answer() } else { socket };
    let Ok(connector) = MakeTlsConnect::<Tap<Socket>>::make_tls_connect(&mut tls.clone(), &conn.tls_name());
    let connector = TapTls::new(connector, Arc::clone(&lower), Arc::clone(&upper));
    let (client, connection) = config.connect_raw(socket, connector).await?;
    let tap = if lower.is_idle() { upper } else { lower };
    Ok(Session::start(client, connection, conn.clone(), place.clone(), tls.clone(), tap).await?)
}

fn driver_config(conn: &ConnInfo, host: &HostSpec, address: Option<IpAddr>, purpose: &str, mode: DriverMode) -> Config {
    let mut config = Config::new();
    config.user(&conn.user).dbname(&conn.database).port(host.port).ssl_mode(mode);
    config.application_name(format!("davit/{purpose}"));
    match address {
        None => config.host_path(&host.name),
        // The name is what the certificate is held against; without one the address is.
        Some(address) if host.name.is_empty() => config.host(address.to_string()).hostaddr(address),
        Some(address) => config.host(&host.name).hostaddr(address),
    };
    if let Some(password) = &host.password {
        config.password(password.reveal());
    }
    if let Some(options) = &conn.options {
        config.options(options);
    }
    if conn.tls.direct && mode == DriverMode::Require {
        config.ssl_negotiation(DriverNegotiation::Direct);
    }
    config.channel_binding(match conn.channel_binding {
        ChannelBinding::Disable => DriverBinding::Disable,
        ChannelBinding::Prefer => DriverBinding::Prefer,
        ChannelBinding::Require => DriverBinding::Require,
    });
    config.keepalives(conn.keepalive.on);
    config.keepalives_idle(conn.keepalive.idle).keepalives_interval(conn.keepalive.interval);
    config.keepalives_retries(conn.keepalive.count);
    if let Some(limit) = conn.keepalive.user_timeout {
        config.tcp_user_timeout(limit);
    }
    config
}

/// For a missing database, looks at the others on the server for what was meant.
async fn with_nearest_database(conn: &ConnInfo, failure: Failure, tls: &MakeRustlsConnect) -> Error {
    if failure.fault != Fault::NoDatabase {
        return failure.error;
    }
    for other in ["postgres", "template1"].into_iter().filter(|other| *other != conn.database) {
        for host in 0..conn.hosts.len() {
            let elsewhere = conn.pinned(host).with_database(other);
            let Ok(session) = one_host(&elsewhere, Target::Any, "look", tls).await else { continue };
            let listed = session
                .texts("listing databases", "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1")
                .await;
            session.close().await;
            let names: Vec<String> = listed.unwrap_or_default().into_iter().flatten().flatten().collect();
            if let Some(near) = parameters::nearest(&conn.database, names.iter().map(String::as_str)) {
                return failure.error.hint(format!("did you mean the database {near}?"));
            }
            let shown: Vec<&str> =
                names.iter().map(String::as_str).filter(|n| !n.starts_with("template")).take(10).collect();
            return failure.error.hint(format!("the server has: {}", shown.join(", ")));
        }
    }
    failure.error
}
