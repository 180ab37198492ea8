//! A probe that asks for the addresses of a name.

use super::service::{Reply, Service, Ticket};
use super::transport::said;
use async_trait::async_trait;
use rand::RngExt;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::UdpSocket;

/// Answers over UDP are not longer than this.
const ANSWER_MAX: usize = 4096;

/// Asks a name server, or whom this machine asks.
#[derive(Debug, Clone)]
pub struct DnsService {
    name: String,
    server: Option<SocketAddr>,
    expect: BTreeSet<IpAddr>,
}

impl DnsService {
    /// Asks `server` (or whom this machine asks) for `name`; with `expect`, no other addresses are good.
    pub fn new(name: &str, server: Option<SocketAddr>, expect: &[IpAddr]) -> Self {
        Self { name: name.to_owned(), server, expect: expect.iter().copied().collect() }
    }

    async fn ask(&self) -> Result<(), String> {
        let found = if let Some(server) = self.server {
            self.ask_server(server).await?
        } else {
            let found = tokio::net::lookup_host((self.name.as_str(), 0)).await.map_err(|error| said(&error))?;
            // A name server is asked for the kinds that are expected, and whom this machine asks tells all of them.
            let (fours, sixes) = self.kinds();
            let asked = |address: &IpAddr| self.expect.is_empty() || if address.is_ipv4() { fours } else { sixes };
            found.map(|address| address.ip()).filter(asked).collect()
        };
        self.judge(&found)
    }

    /// Whether addresses of four bytes are asked for, and of sixteen.
    fn kinds(&self) -> (bool, bool) {
        let sixes = self.expect.iter().any(IpAddr::is_ipv6);
        (!sixes || self.expect.iter().any(IpAddr::is_ipv4), sixes)
    }

    fn judge(&self, found: &BTreeSet<IpAddr>) -> Result<(), String> {
        if found.is_empty() {
            return Err("no address".to_owned());
        }
        if !self.expect.is_empty() && *found != self.expect {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            return Err(format!("other addresses: {}", found.join(", ")));
        }
        Ok(())
    }

    async fn ask_server(&self, server: SocketAddr) -> Result<BTreeSet<IpAddr>, String> {
        let (fours, sixes) = self.kinds();
        addresses_of(server, &self.name, fours, sixes).await
    }
}

/// The addresses of a name, of these families, as a name server tells them.
pub(super) async fn addresses_of(
    server: SocketAddr,
    name: &str,
    fours: bool,
    sixes: bool,
) -> Result<BTreeSet<IpAddr>, String> {
    let own: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0)).await.map_err(|error| said(&error))?;
    socket.connect(server).await.map_err(|error| said(&error))?;
    let (mut found, mut refused) = (BTreeSet::new(), None);
    for kind in [fours.then_some(TYPE::A), sixes.then_some(TYPE::AAAA)].into_iter().flatten() {
        let id = rand::rng().random();
        let question = question(id, name, kind)?;
        socket.send(&question).await.map_err(|error| said(&error))?;
        match answer(&socket, id).await {
            Ok(addresses) => found.extend(addresses),
            Err(why) => refused = Some(why),
        }
    }
    // Addresses of one family are enough to go on with.
    refused.filter(|_| found.is_empty()).map_or(Ok(found), Err)
}

fn question(id: u16, name: &str, kind: TYPE) -> Result<Vec<u8>, String> {
    let name = Name::new(name).map_err(|error| error.to_string())?;
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().map_err(|error| error.to_string())
}

/// Waits for the answer to the question of this id; others are not for us.
async fn answer(socket: &UdpSocket, id: u16) -> Result<Vec<IpAddr>, String> {
    let mut buffer = vec![0; ANSWER_MAX];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(|error: io::Error| said(&error))?;
        let Ok(packet) = Packet::parse(&buffer[..length]) else { continue };
        if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
            continue;
        }
        return match packet.rcode() {
            RCODE::NoError => Ok(addresses(&packet)),
            RCODE::NameError => Err("no such name".to_owned()),
            other => Err(format!("the name server said {other:?}")),
        };
    }
}

fn addresses(packet: &Packet<'_>) -> Vec<IpAddr> {
    let address = |data: &RData<'_>| match data {
        RData::A(four) => Some(IpAddr::from(Ipv4Addr::from(four.address))),
        RData::AAAA(six) => Some(IpAddr::from(Ipv6Addr::from(six.address))),
        _ => None,
    };
    packet.answers.iter().filter_map(|record| address(&record.rdata)).collect()
}

#[async_trait]
impl Service for DnsService {
    async fn probe(&self, ticket: Ticket) -> Reply {
        tokio::select! {
            biased;
            asked = self.ask() => asked.map_or_else(Reply::Refused, |()| Reply::Good),
            () = ticket.give_up.cancelled() => Reply::Refused("given up".to_owned()),
        }
    }
}
