//! Each condition, seen from both ends of real sockets.

#![allow(clippy::unchecked_time_subtraction, reason = "a clock that goes back should stop a test")]

use super::*;
use crate::clock::SystemClock;
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(10);

/// A server that sends back what it gets.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = client.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    address
}

async fn proxy() -> Proxy {
    Proxy::start("127.0.0.1:0".parse().unwrap(), &echo().await, SystemClock::shared()).unwrap()
}

async fn connected(proxy: &Proxy) -> TcpStream {
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(said(&mut client, "hello").await.unwrap(), "hello");
    client
}

/// What comes back for `text`, if it comes.
async fn said(client: &mut TcpStream, text: &str) -> std::io::Result<String> {
    client.write_all(text.as_bytes()).await?;
    heard(client, text.len()).await
}

async fn heard(client: &mut TcpStream, length: usize) -> std::io::Result<String> {
    let mut answer = vec![0; length];
    tokio::time::timeout(LONG, client.read_exact(&mut answer)).await.expect("an answer within ten seconds")?;
    Ok(String::from_utf8(answer).unwrap())
}

async fn silent(client: &mut TcpStream) -> bool {
    let mut byte = [0];
    tokio::time::timeout(SOON, client.read(&mut byte)).await.is_err()
}

#[tokio::test]
async fn a_closed_door_refuses_keeps_its_port_and_opens_again() {
    let proxy = proxy().await;
    let mut open = connected(&proxy).await;
    proxy.set(Conditions::only(Mode::Refuse));
    assert_eq!(open.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(TcpListener::bind(proxy.address()).await.is_err(), "the port is kept");
    proxy.set(Conditions::default());
    while TcpStream::connect(proxy.address()).await.is_err() {
        tokio::task::yield_now().await;
    }
    connected(&proxy).await;
    assert_eq!((proxy.counters().closed, proxy.counters().reset), (1, 1));
}

#[tokio::test]
async fn reset_and_cut_end_open_connections_and_new_ones_in_their_own_way() {
    let proxy = proxy().await;
    for (mode, reset) in [(Mode::Reset, true), (Mode::Cut, false)] {
        let mut open = connected(&proxy).await;
        proxy.set(Conditions::only(mode));
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        for client in [&mut open, &mut new] {
            match client.read(&mut [0]).await {
                Ok(0) => assert!(!reset, "{mode:?}"),
                Err(error) => assert!(reset && error.kind() == ErrorKind::ConnectionReset, "{mode:?}: {error}"),
                Ok(_) => panic!("{mode:?}: an answer"),
            }
        }
        proxy.set(Conditions::default());
        connected(&proxy).await;
    }
    assert!(proxy.counters().reset >= 2 && proxy.counters().cut >= 2, "{:?}", proxy.counters());
}

#[tokio::test]
async fn what_fell_into_a_black_hole_never_comes_and_what_was_held_does() {
    let proxy = proxy().await;
    let (mut talks, mut waits) = (connected(&proxy).await, connected(&proxy).await);
    proxy.set(Conditions::only(Mode::BlackHole));
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    for client in [&mut talks, &mut new] {
        client.write_all(b"lost").await.unwrap();
        assert!(silent(client).await);
    }
    proxy.set(Conditions::default());
    for client in [&mut talks, &mut new] {
        client.write_all(b"also lost").await.unwrap();
        assert!(silent(client).await, "a connection that lost something stays silent");
    }
    assert_eq!(said(&mut waits, "fine").await.unwrap(), "fine");
    assert!(proxy.counters().lost >= 4);

    proxy.set(Conditions::only(Mode::Hold));
    waits.write_all(b"one").await.unwrap();
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    new.write_all(b"two").await.unwrap();
    assert!(silent(&mut waits).await && silent(&mut new).await);
    proxy.set(Conditions::default());
    assert_eq!((heard(&mut waits, 3).await.unwrap(), heard(&mut new, 3).await.unwrap()), ("one".into(), "two".into()));
}

#[tokio::test]
async fn who_hangs_up_while_everything_is_held_never_reaches_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    let proxy = Proxy::start("127.0.0.1:0".parse().unwrap(), &upstream, SystemClock::shared()).unwrap();
    proxy.set(Conditions::only(Mode::Hold));
    let gone = 20;
    for _ in 0..gone {
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_all(b"anybody?").await.unwrap();
        client.shutdown().await.unwrap();
        // The proxy has let it go, too.
        assert_eq!(tokio::time::timeout(LONG, client.read(&mut [0])).await.unwrap().unwrap(), 0);
    }
    let mut waits = TcpStream::connect(proxy.address()).await.unwrap();
    waits.write_all(b"I do").await.unwrap();
    assert!(silent(&mut waits).await);
    proxy.set(Conditions::default());
    let (mut server, _) = listener.accept().await.unwrap();
    assert_eq!(heard(&mut server, 4).await.unwrap(), "I do", "it is the first one that the server hears");
    assert_eq!(proxy.counters().accepted, gone + 1);
}

#[tokio::test]
async fn what_is_held_may_fall_into_a_black_hole_afterwards() {
    let proxy = proxy().await;
    proxy.set(Conditions::only(Mode::Hold));
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    new.write_all(b"one").await.unwrap();
    assert!(silent(&mut new).await);
    proxy.set(Conditions::only(Mode::BlackHole));
    assert!(silent(&mut new).await);
    proxy.set(Conditions::default());
    assert!(silent(&mut new).await, "what it said is lost");
}

#[tokio::test]
async fn a_half_open_connection_is_silent_and_the_server_knows_that_it_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    let proxy = Proxy::start("127.0.0.1:0".parse().unwrap(), &upstream, SystemClock::shared()).unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    proxy.set(Conditions::only(Mode::HalfOpen));
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "the server's end is closed");
    client.write_all(b"anybody?").await.unwrap();
    assert!(silent(&mut client).await, "and the client is not told");
}

#[tokio::test]
async fn latency_and_a_slow_close_are_as_long_as_they_say() {
    let proxy = proxy().await;
    let clock = SystemClock::shared();
    let mut client = connected(&proxy).await;
    let (latency, jitter) = (Duration::from_millis(40), Duration::from_millis(20));
    proxy.set(Conditions { latency, jitter, ..Conditions::default() });
    let before = clock.monotonic();
    for number in 0..5_u8 {
        client.write_all(&[b'0' + number]).await.unwrap();
    }
    assert_eq!(heard(&mut client, 5).await.unwrap(), "01234", "the order stays");
    let took = clock.monotonic() - before;
    assert!(took >= latency * 2, "{took:?}");
    proxy.set(Conditions { close_delay: Duration::from_millis(100), ..Conditions::default() });
    let before = clock.monotonic();
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    let took = clock.monotonic() - before;
    assert!(took >= Duration::from_millis(200), "both directions close late: {took:?}");
}

#[tokio::test]
async fn bandwidth_is_shared_by_all_connections() {
    let proxy = proxy().await;
    let clock = SystemClock::shared();
    let mut clients = [connected(&proxy).await, connected(&proxy).await];
    proxy.set(Conditions { bandwidth: Some(200_000), ..Conditions::default() });
    let before = clock.monotonic();
    let text = "x".repeat(20_000);
    let [one, two] = &mut clients;
    let (one, two) = tokio::join!(said(one, &text), said(two, &text));
    assert_eq!((one.unwrap().len(), two.unwrap().len()), (20_000, 20_000));
    let took = clock.monotonic() - before;
    assert!(took >= Duration::from_millis(190), "40 kB at 200 kB/s: {took:?}");
}

#[tokio::test]
async fn new_connections_can_be_led_elsewhere() {
    let proxy = proxy().await;
    let mut old = connected(&proxy).await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.lead_to(&elsewhere.local_addr().unwrap().to_string());
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = elsewhere.accept().await.unwrap();
    server.write_all(b"here").await.unwrap();
    assert_eq!(heard(&mut new, 4).await.unwrap(), "here");
    assert_eq!(said(&mut old, "there").await.unwrap(), "there");
}
