//! The same connection past a listener of this machine that will not be there for ever.

use super::{ConnInfo, HostSpec, PgEnvironment, percent_encode, syntax};
use crate::error::Result;
use crate::secret::Secret;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// The text of the connection that goes to `to` (`host:port`) wherever the one that is written goes to `listen`, an address
/// of this machine; nothing where it does not go there.
///
/// # Errors
/// Where what is written is no connection.
pub async fn past(text: &str, env: &PgEnvironment, listen: SocketAddr, to: &str) -> Result<Option<Secret>> {
    let conn = ConnInfo::parse(text, env)?;
    let (to, to_port) = to.rsplit_once(':').unwrap_or((to, "5432"));
    let to = to.trim_matches(['[', ']']);
    let (mut names, mut addresses, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    let mut found = false;
    for host in &conn.hosts {
        let goes_there = goes_to(host, listen).await;
        found |= goes_there;
        let (name, address) = match (goes_there, host.address) {
            (false, address) => (host.name.as_str(), address.map(|address| address.to_string()).unwrap_or_default()),
            // The name is what a certificate is held against: it stays where an address was written beside it.
            (true, Some(_)) if to.parse::<IpAddr>().is_ok() => (host.name.as_str(), to.to_owned()),
            (true, _) => (to, String::new()),
        };
        names.push(name);
        addresses.push(address);
        ports.push(if goes_there { to_port.to_owned() } else { host.port.to_string() });
    }
    if !found {
        return Ok(None);
    }
    let mut pairs = syntax::pairs(text)?;
    pairs.retain(|(key, _)| !["host", "hostaddr", "port"].contains(&key.as_str()));
    for (key, value) in [("host", names.join(",")), ("hostaddr", addresses.join(",")), ("port", ports.join(","))] {
        if value.chars().any(|c| c != ',') {
            pairs.push((key.to_owned(), value));
        }
    }
    let pairs = pairs.iter().map(|(key, value)| format!("{key}={}", percent_encode(value)));
    Ok(Some(Secret::new(format!("postgres:///?{}", pairs.collect::<Vec<_>>().join("&")))))
}

async fn goes_to(host: &HostSpec, listen: SocketAddr) -> bool {
    if host.is_socket() || host.port != listen.port() {
        return false;
    }
    let addresses: Vec<IpAddr> = match host.address {
        Some(address) => vec![address],
        None => match tokio::net::lookup_host((host.name.as_str(), host.port)).await {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(_) => Vec::new(),
        },
    };
    let is_it = |address: IpAddr| address == listen.ip() || listen.ip().is_unspecified() && is_own(address);
    addresses.into_iter().any(is_it)
}

/// Whether it is an address of this machine: nobody can listen at another one.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn around(text: &str, listen: &str) -> Option<String> {
        let env = PgEnvironment::default();
        let way = past(text, &env, listen.parse().unwrap(), "10.0.0.7:5432").await.unwrap();
        way.map(|way| {
            let conn = ConnInfo::parse(way.reveal(), &env).unwrap();
            assert_eq!((conn.user(), conn.database()), ("app", "shop"), "{}", way.reveal());
            format!("{} {:?}", conn.shown_hosts(), conn.hosts.iter().map(|host| host.address).collect::<Vec<_>>())
        })
    }

    #[tokio::test]
    async fn whoever_goes_to_a_listener_of_this_machine_is_led_past_it_however_it_is_written() {
        let direct = Some("10.0.0.7:5432 [None]".to_owned());
        for (text, listen) in [
            ("postgres://app@127.0.0.1:6432/shop", "127.0.0.1:6432"),
            ("postgres://app:a%20%3Fb@localhost:6432/shop?sslmode=prefer", "127.0.0.1:6432"),
            ("host=127.0.0.1 port=6432 user=app dbname=shop password='a b'", "127.0.0.1:6432"),
            ("postgres://app@127.0.0.1:6432/shop", "0.0.0.0:6432"),
            ("postgres://app@[::1]:6432/shop", "[::1]:6432"),
        ] {
            assert_eq!(around(text, listen).await, direct, "{text} {listen}");
        }
        // A certificate is still held against the name.
        let named = "host=db.shop.test hostaddr=127.0.0.1 port=6432 user=app dbname=shop";
        assert_eq!(around(named, "127.0.0.1:6432").await.unwrap(), "db.shop.test:5432 [Some(10.0.0.7)]");
        // Of several hosts only the one.
        let several = "postgres://app@10.0.0.8:5433,127.0.0.1:6432/shop";
        assert_eq!(around(several, "127.0.0.1:6432").await.unwrap(), "10.0.0.8:5433, 10.0.0.7:5432 [None, None]");
    }

    #[tokio::test]
    async fn whoever_goes_elsewhere_is_not_led_anywhere() {
        for (text, listen) in [
            ("postgres://app@127.0.0.1:5432/shop", "127.0.0.1:6432"),
            ("postgres://app@192.0.2.1:6432/shop", "127.0.0.1:6432"),
            ("postgres://app@192.0.2.1:6432/shop", "0.0.0.0:6432"),
            ("postgres://app@/shop?host=/run/postgresql&port=6432", "127.0.0.1:6432"),
        ] {
            assert_eq!(around(text, listen).await, None, "{text} {listen}");
        }
    }
}
