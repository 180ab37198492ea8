//! The observer on the wall clock, over real sockets, with the proxy in between.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at the first surprise")]
#![allow(
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::similar_names,
    reason = "tests show what they measured"
)]
#![allow(clippy::unchecked_time_subtraction, reason = "a clock that goes back should stop a test")]

mod observer_support;

use davit::chaos::proxy::{Conditions, Mode, Proxy};
use davit::clock::{SharedClock, SystemClock};
use davit::measure::{Answer, Interval, Sample};
use davit::probe::dns::DnsService;
use davit::probe::http::{Good, HttpService};
use davit::probe::observer::Stream;
use davit::probe::tcp::TcpService;
use davit::probe::{Ask, Connection, MemorySink, Observer, SharedService, StreamPlan, Tally};
use observer_support::measured::measured;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

const HOLD: Duration = Duration::from_secs(3);

/// A server that answers every request that ends in an empty line with this.
async fn server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut heard = Vec::new();
                while client.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {
                    if heard.ends_with(b"\r\n\r\n") {
                        heard.clear();
                        if client.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

fn proxy(upstream: SocketAddr, clock: &SharedClock) -> Proxy {
    Proxy::start("127.0.0.1:0".parse().unwrap(), &upstream.to_string(), clock.clone()).unwrap()
}

fn stream(name: &str, service: impl davit::probe::Service + 'static) -> Stream {
    let ask = Ask::Tcp { address: name.to_owned(), send: None, expect: None };
    let service: SharedService = Arc::new(service);
    Stream { plan: StreamPlan::new(name, ask), service }
}

fn http(address: SocketAddr, connection: Connection) -> HttpService {
    HttpService::new(&format!("http://{address}/health"), connection, Good::default()).unwrap()
}

/// Whether a request is answered.
async fn answers(address: SocketAddr) -> bool {
    let asked = async {
        let mut server = TcpStream::connect(address).await?;
        server.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
        server.read_u8().await
    };
    tokio::time::timeout(Duration::from_secs(1), asked).await.is_ok_and(|answer| answer.is_ok())
}

/// One outage of about this length; the bounds must allow what can have been.
async fn outage(seed: u64, mode: Mode, length: Duration) -> String {
    let clock = SystemClock::shared();
    let proxy = proxy(server(OK).await, &clock);
    let sink = MemorySink::new();
    let streams = vec![
        stream("fresh", http(proxy.address(), Connection::Fresh)),
        stream("pooled", http(proxy.address(), Connection::Pooled)),
    ];
    let observer = Observer::new("here", clock.clone(), sink.clone()).start(streams).unwrap();
    let phase = StdRng::seed_from_u64(seed).random_range(0..100);
    clock.sleep(Duration::from_millis(2_500 + phase)).await;
    let asked = clock.monotonic();
    proxy.set(Conditions::only(mode));
    let fault = Interval::new(asked, clock.monotonic());
    clock.sleep(length).await;
    let ending = clock.monotonic();
    proxy.set(Conditions::default());
    // The proxy's own tasks end it, and on a busy machine it takes them some time.
    while !answers(proxy.address()).await {
        clock.sleep(Duration::from_millis(1)).await;
    }
    let over = clock.monotonic();
    clock.sleep(HOLD + Duration::from_millis(1_500)).await;
    let recovery = || measured(&sink.observation().unwrap(), "fresh", fault, HOLD);
    while recovery().time().is_none() && clock.monotonic() < over + Duration::from_mins(1) {
        clock.sleep(Duration::from_millis(250)).await;
    }
    observer.stop().await.unwrap();
    let (seen, recovery) = (sink.observation().unwrap(), recovery());
    let Some(time) = recovery.time() else { panic!("seed {seed}, {mode:?}, {length:?}: {recovery:?}") };
    // It was over at some instant between `ending` and `over`, and had begun at some instant of `fault`.
    let least = ending - fault.high;
    assert!(time.high >= least, "seed {seed}, {mode:?}: {time} denies that it took {least:?}");
    let allowed = Duration::from_millis(40);
    let most = over - fault.low + allowed;
    assert!(time.low <= most, "seed {seed}, {mode:?}: {time}, but it took no more than {most:?}");
    format!("{mode:?} for {least:?}: {time}, {} stalls", seen.stalls.len())
}

async fn outages(seeds: std::ops::Range<u64>, longest_ms: u64) {
    let modes = [Mode::Refuse, Mode::Reset, Mode::BlackHole, Mode::Hold];
    let all = seeds.map(|seed| {
        let length = StdRng::seed_from_u64(seed + 500).random_range(200..longest_ms);
        tokio::spawn(outage(seed, modes[usize::try_from(seed).unwrap() % modes.len()], Duration::from_millis(length)))
    });
    for told in futures_util::future::try_join_all(all.collect::<Vec<_>>()).await.unwrap() {
        eprintln!("{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_outages_through_the_proxy_lie_within_their_bounds() {
    outages(0..4, 4_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make soak"]
async fn soak_twenty_real_outages_through_the_proxy_lie_within_their_bounds() {
    for begin in (0..20).step_by(5) {
        outages(begin..begin + 5, 60_000).await;
    }
}

/// Probes that were sent: on a busy machine the observer may have stood still now and then.
fn sent(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(|sample| sample.answer != Answer::NotSent)
}

/// Observes until each stream has sent some probes; gives what it saw.
async fn observe(streams: Vec<Stream>) -> Vec<Vec<Sample>> {
    observed(streams).await.0
}

/// The same, and the observer's own account.
async fn observed(streams: Vec<Stream>) -> (Vec<Vec<Sample>>, Tally) {
    let (clock, sink, count) = (SystemClock::shared(), MemorySink::new(), streams.len());
    let observer = Observer::new("here", clock.clone(), sink.clone()).start(streams).unwrap();
    let enough = || {
        let seen = sink.observation().unwrap().streams;
        seen.len() == count && seen.values().all(|series| sent(&series.samples).count() >= 5)
    };
    while !enough() {
        assert!(clock.monotonic() < Duration::from_mins(1), "too few probes: {:?}", sink.entries());
        clock.sleep(Duration::from_millis(100)).await;
    }
    let tally = observer.stop().await.unwrap();
    (sink.observation().unwrap().streams.into_values().map(|series| series.samples).collect(), tally)
}

fn all(samples: &[Sample], answer: &Answer) -> bool {
    sent(samples).count() >= 5 && sent(samples).all(|sample| sample.answer == *answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn http_probes_look_at_status_and_body_on_fresh_and_on_kept_connections() {
    let (good, bad) = (server(OK).await, server("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await);
    let clock = SystemClock::shared();
    let counted = proxy(good, &clock);
    let with = |address: SocketAddr, good: Good| {
        HttpService::new(&format!("http://{address}/health"), Connection::Fresh, good).unwrap()
    };
    let refused = |why: &str| Answer::Refused(why.to_owned());
    let (seen, tally) = observed(vec![
        stream("1 pooled", http(counted.address(), Connection::Pooled)),
        stream("2 bad status", http(bad, Connection::Fresh)),
        stream("3 bad status wanted", with(bad, Good { status: Some(503), contains: None })),
        stream("4 another body", with(good, Good { status: None, contains: Some("goodbye".to_owned()) })),
        stream("5 the right body", with(good, Good { status: None, contains: Some("hell".to_owned()) })),
    ])
    .await;
    let expected = [Answer::Good, refused("status 503"), Answer::Good, refused("another body"), Answer::Good];
    for (samples, answer) in seen.iter().zip(&expected) {
        assert!(all(samples, answer), "{answer:?}: {samples:?}");
    }
    // One connection serves a stream that keeps it, and one more each probe that is out while another one is.
    let out = u64::from(tally.streams["1 pooled"].out_at_most);
    assert!(counted.counters().accepted <= out, "{:?}, {out} out at most", counted.counters());
    assert!(HttpService::new("ftp://x", Connection::Fresh, Good::default()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_probes_listen_for_their_answer() {
    let good = server("+PONG\r\n").await;
    // Taken, so that nobody else gets it, and not listened at.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = taken.local_addr().unwrap();
    let ask = |address: SocketAddr, expect| TcpService::new(&address.to_string(), Some("PING\r\n\r\n"), Some(expect));
    let seen = observe(vec![
        stream("1", ask(good, "PONG")),
        stream("2", ask(nobody, "PONG")),
        stream("3", TcpService::new(&good.to_string(), None, None)),
    ])
    .await;
    assert!(all(&seen[0], &Answer::Good), "{:?}", seen[0]);
    assert!(all(&seen[1], &Answer::Refused("connection refused".to_owned())), "{:?}", seen[1]);
    assert!(all(&seen[2], &Answer::Good), "{:?}", seen[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dns_probes_compare_addresses() {
    use simple_dns::rdata::{A, RData};
    use simple_dns::{CLASS, Packet, PacketFlag, RCODE, ResourceRecord};
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Packet::parse(&buffer[..length]).unwrap();
            let mut answer = Packet::new_reply(question.id());
            answer.set_flags(PacketFlag::RESPONSE);
            let name = question.questions[0].qname.clone();
            if name.to_string() == "shop.test" {
                let address = RData::A(A { address: u32::from(std::net::Ipv4Addr::new(10, 1, 2, 3)) });
                answer.answers.push(ResourceRecord::new(name, CLASS::IN, 5, address));
            } else {
                *answer.rcode_mut() = RCODE::NameError;
            }
            socket.send_to(&answer.build_bytes_vec().unwrap(), from).await.unwrap();
        }
    });
    let ask = |name: &str, expect: &[&str]| {
        let expect: Vec<_> = expect.iter().map(|address| address.parse().unwrap()).collect();
        DnsService::new(name, Some(server), &expect)
    };
    let seen = observe(vec![
        stream("1", ask("shop.test", &[])),
        stream("2", ask("shop.test", &["10.1.2.3"])),
        stream("3", ask("shop.test", &["10.9.9.9"])),
        stream("4", ask("nobody.test", &[])),
    ])
    .await;
    let refused = |why: &str| Answer::Refused(why.to_owned());
    let expected = [Answer::Good, Answer::Good, refused("other addresses: 10.1.2.3"), refused("no such name")];
    for (samples, answer) in seen.iter().zip(&expected) {
        assert!(all(samples, answer), "{answer:?}: {samples:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_is_silence_and_not_a_lack_of_data() {
    let clock = SystemClock::shared();
    let proxy = proxy(server(OK).await, &clock);
    proxy.set(Conditions::only(Mode::BlackHole));
    let seen = observe(vec![stream("fresh", http(proxy.address(), Connection::Fresh))]).await;
    assert!(all(&seen[0], &Answer::Silent), "{:?}", seen[0]);
    // The kernel makes a connection before the proxy has accepted it.
    while proxy.counters().accepted < 5 {
        assert!(clock.monotonic() < Duration::from_mins(2), "{:?}", proxy.counters());
        clock.sleep(Duration::from_millis(20)).await;
    }
}
