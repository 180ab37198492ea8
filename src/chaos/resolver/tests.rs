//! Each way to answer, seen by a client.

use super::*;
use crate::clock::SystemClock;
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, RCODE, TYPE};
use std::net::Ipv4Addr;

/// Asks for the addresses of `name`, and waits as long as any machine may take for an answer.
async fn ask(server: SocketAddr, name: &str) -> Option<(RCODE, Vec<u8>)> {
    ask_for(server, name, Duration::from_mins(1)).await
}

/// Asks for the addresses of `name`; `None` where nobody answers in this time.
async fn ask_for(server: SocketAddr, name: &str, patience: Duration) -> Option<(RCODE, Vec<u8>)> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut packet = Packet::new_query(77);
    let name = Name::new(name).unwrap().into_owned();
    packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false));
    socket.send_to(&packet.build_bytes_vec().unwrap(), server).await.unwrap();
    let mut buffer = [0; 512];
    let received = tokio::time::timeout(patience, socket.recv(&mut buffer)).await.ok()?;
    let answer = Packet::parse(&buffer[..received.unwrap()]).unwrap();
    assert_eq!(answer.id(), 77);
    let last = |record: &simple_dns::ResourceRecord<'_>| match &record.rdata {
        simple_dns::rdata::RData::A(four) => Ipv4Addr::from(four.address).octets()[3],
        _ => 0,
    };
    Some((answer.rcode(), answer.answers.iter().map(last).collect()))
}

#[tokio::test]
async fn a_name_is_answered_rightly_wrongly_with_the_past_or_not_at_all() {
    let start = async |upstream| {
        Resolver::start("127.0.0.1:0".parse().unwrap(), upstream, SystemClock::shared()).await.unwrap()
    };
    // The name server that knows the truth is one of ours, too, told what to say.
    let truth = start("127.0.0.1:1".parse().unwrap()).await;
    let says = |last| Conditions {
        answering: Answering::Wrong(vec![Ipv4Addr::new(10, 0, 0, last).into()]),
        ..Conditions::default()
    };
    truth.set(says(1));
    let resolver = start(truth.address()).await;
    let at = resolver.address();
    assert_eq!(ask(at, "shop.test").await, Some((RCODE::NoError, vec![1])));

    resolver.set(says(9));
    assert_eq!(ask(at, "shop.test").await, Some((RCODE::NoError, vec![9])));
    let only = |answering| Conditions { answering, names: BTreeSet::from(["shop.test".to_owned()]) };
    resolver.set(only(Answering::NoName));
    assert_eq!(ask(at, "SHOP.test").await, Some((RCODE::NameError, vec![])));
    assert_eq!(ask(at, "other.test").await, Some((RCODE::NoError, vec![1])), "other names are not touched");
    resolver.set(only(Answering::Silent));
    assert_eq!(ask_for(at, "shop.test", Duration::from_millis(300)).await, None);

    // The name moves, and the resolver goes on telling where it was.
    truth.set(says(2));
    resolver.set(only(Answering::Stale));
    assert_eq!(ask(at, "shop.test").await, Some((RCODE::NoError, vec![1])));
    resolver.set(Conditions { answering: Answering::Stale, ..Conditions::default() });
    assert_eq!(ask(at, "never.asked").await, Some((RCODE::ServerFailure, vec![])));
    resolver.set(Conditions::default());
    assert_eq!(ask(at, "shop.test").await, Some((RCODE::NoError, vec![2])));
    let counters = resolver.counters();
    assert_eq!((counters.asked, counters.passed, counters.touched), (8, 3, 5));
}
