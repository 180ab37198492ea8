//! Faults of networks and names as a person injects them by hand: each as a client of the service meets it, with its proof,
//! and gone afterwards. Everything is on this machine's loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a client measures how long it waits")]

mod cli_support;
mod network_support;
mod support;

use cli_support::Desk;
use network_support::{Heard, Names, Service, ask, ask_briefly};
use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::free_port;

/// Injects a fault, looks at it once it is proven, ends it, and gives its document.
fn during(desk: &Desk, target: &str, fault: &str, set: &[String], look: impl FnOnce()) -> Value {
    let mut arguments = vec!["chaos", "inject", fault, "--target", target, "--for", "5m", "--output", "json"];
    arguments.extend(set.iter().flat_map(|set| ["--set", set.as_str()]));
    let mut command = desk.command(&arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut story = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    while !told.contains("PROVEN") {
        assert!(story.read_line(&mut told).unwrap() > 0, "{fault} ended before it was proven: {told}");
    }
    std::thread::spawn(move || story.lines().count());
    look();
    let (_, run) = told.split_once("the undo is durable: intents/").unwrap();
    assert_eq!(desk.davit(&["chaos", "stop", run.split('/').next().unwrap()]).code, 0);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{fault}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((document["proven"].as_bool(), document["ok"].as_bool()), (Some(true), Some(true)), "{document:#}");
    assert!(document["effective_seconds"]["high"].as_f64().unwrap() < 10.0, "{document:#}");
    assert_eq!(document["ending"]["ending"], "stopped");
    document
}

/// One request through the fault: what came back, and after how long.
fn request(at: SocketAddr, wait: Duration) -> (Result<String, ErrorKind>, Duration) {
    let began = Instant::now();
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&at, wait)?;
        stream.set_read_timeout(Some(wait))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n")?;
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..read]).into_owned())
    };
    (asked().map_err(|error| error.kind()), began.elapsed())
}

/// A desk, a service, a free address for the proxy, and the words that say so.
fn stage() -> (Desk, Service, SocketAddr, String) {
    let service = Service::start("127.0.0.1");
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    (Desk::with_repository(), service, listen, format!("listen={listen}"))
}

const SOON: Duration = Duration::from_millis(700);

/// After its time nothing of a fault is left, and nothing waits for the janitor.
fn gone(desk: &Desk, listen: SocketAddr, document: &Value) {
    assert_eq!(document["healed"][0]["read_back"], "nothing-to-undo", "{document:#}");
    assert!(document["healed"][0]["seen"].as_str().unwrap().contains("gone with it"), "{document:#}");
    assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
    assert!(TcpStream::connect(listen).is_err(), "the proxy is gone with its runner");
}

#[test]
fn a_slow_network_is_slow_and_a_narrow_one_is_narrow() {
    let (desk, service, listen, at) = stage();
    let target = format!("tcp://{}", service.address);
    let slow = [at.clone(), "latency=150".to_owned()];
    let document = during(&desk, &target, "network-latency", &slow, || {
        let (answer, took) = request(listen, Duration::from_secs(5));
        assert!(answer.unwrap().contains("200 OK") && took >= Duration::from_millis(300), "{took:?}");
    });
    assert!(document["proofs"][0]["seen"].as_str().unwrap().contains("a round trip takes"), "{document:#}");
    gone(&desk, listen, &document);

    let narrow = [at, "rate=2000".to_owned()];
    let document = during(&desk, &target, "network-bandwidth", &narrow, || {
        // 1,000 bytes there take half a second under 2,000 a second.
        let mut stream = TcpStream::connect(listen).unwrap();
        let began = Instant::now();
        stream.write_all(&[b'x'; 996]).unwrap();
        stream.write_all(b"\r\n\r\n").unwrap();
        let read = stream.read(&mut [0; 64]).unwrap();
        assert!(read > 0 && began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    });
    gone(&desk, listen, &document);
}

/// A server is slow for a moment whenever its machine is. That is no reason to wait for a fault that is there. The first of
/// its connections are the one that is held open and the first pair that is compared.
#[test]
fn latency_is_seen_at_a_server_whose_first_answers_were_late() {
    const LATE: Duration = Duration::from_secs(2);
    let (desk, _, listen, at) = stage();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, mut client) in server.incoming().flatten().enumerate() {
            std::thread::spawn(move || {
                let asked = client.read(&mut [0; 64]).unwrap_or_default();
                std::thread::sleep(if number <= 2 { LATE } else { Duration::ZERO });
                drop(client.write_all(&[b'N'][..asked.min(1)]));
            });
        }
    });
    let short = [at, "latency=20".to_owned()];
    let document = during(&desk, &format!("tcp://{address}"), "network-latency", &short, || {});
    let seen = document["proofs"][0]["seen"].as_str().unwrap();
    assert!(seen.contains("past the proxy"), "{seen}");
    gone(&desk, listen, &document);
}

#[test]
fn a_cut_a_reset_and_a_closed_door_are_told_to_the_client_each_in_its_way() {
    let (desk, service, listen, at) = stage();
    let target = format!("tcp://{}", service.address);
    for (fault, evidence) in
        [("network-cut", "closed"), ("network-reset", "was reset"), ("network-refuse", "was refused")]
    {
        let document = during(&desk, &target, fault, std::slice::from_ref(&at), || {
            let (answer, took) = request(listen, Duration::from_mins(1));
            let fits = match fault {
                // What was sent into a connection that is closed may be answered by a reset.
                "network-cut" => {
                    matches!(&answer, Ok(text) if text.is_empty())
                        || matches!(answer, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
                }
                "network-reset" => matches!(answer, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)),
                _ => answer == Err(ErrorKind::ConnectionRefused),
            };
            assert!(fits && took < Duration::from_secs(30), "{fault}: {answer:?} after {took:?}");
        });
        assert!(document["proofs"][0]["seen"].as_str().unwrap().contains(evidence), "{document:#}");
        gone(&desk, listen, &document);
    }
}

#[test]
fn a_black_hole_and_a_half_open_connection_are_silence() {
    let (desk, service, listen, at) = stage();
    let target = format!("tcp://{}", service.address);
    for fault in ["network-black-hole", "network-half-open"] {
        let document = during(&desk, &target, fault, std::slice::from_ref(&at), || {
            let (answer, took) = request(listen, SOON);
            assert!(matches!(answer, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{fault}: {answer:?}");
            assert!(took >= SOON, "{fault}: {took:?}");
        });
        assert!(document["proofs"][0]["seen"].as_str().unwrap().contains("no answer in 2 s"), "{document:#}");
        // The instant of the fault is known no better than this, and with it every recovery time.
        assert!(document["effective_seconds"]["high"].as_f64().unwrap() < 9.0, "{document:#}");
        gone(&desk, listen, &document);
    }
}

#[test]
fn the_end_of_a_connection_is_late_and_an_answer_is_not() {
    let (desk, service, listen, at) = stage();
    let target = format!("tcp://{}", service.address);
    let set = [at, "delay=2000".to_owned()];
    let late = Duration::from_millis(1_900);
    let document = during(&desk, &target, "network-slow-close", &set, || {
        let mut stream = TcpStream::connect(listen).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let began = Instant::now();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        assert!(began.elapsed() >= late, "{:?}", began.elapsed());
        let quick = (0..10).any(|_| {
            let (answer, took) = request(listen, Duration::from_mins(1));
            answer.unwrap().contains("200 OK") && took < late
        });
        assert!(quick, "every answer was late");
    });
    gone(&desk, listen, &document);
}

#[test]
fn a_name_is_answered_wrongly_with_the_past_or_not_at_all() {
    let desk = Desk::with_repository();
    let names = Names::start("shop.test", "10.0.0.1");
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let common = [format!("listen={listen}"), format!("upstream={}", names.address)];
    let with = |more: &[&str]| [&common[..], &more.iter().map(|more| (*more).to_owned()).collect::<Vec<_>>()].concat();
    let cases: [(&str, Vec<String>, Heard, &str); 4] = [
        ("dns-wrong", with(&["addresses=192.0.2.9"]), Heard::Address("192.0.2.9".to_owned()), "192.0.2.9"),
        ("dns-silent", with(&[]), Heard::Nothing, "silence"),
        ("dns-stale", with(&["before=192.0.2.7"]), Heard::Address("192.0.2.7".to_owned()), "192.0.2.7"),
        // Without being told, the past is what was answered right before, though the truth has moved on.
        ("dns-stale", with(&[]), Heard::Address("10.0.0.1".to_owned()), "10.0.0.1"),
    ];
    for (fault, set, wanted, evidence) in cases {
        names.says("10.0.0.1");
        let document = during(&desk, "dns://shop.test", fault, &set, || {
            names.says("10.0.0.2");
            let asking = if wanted == Heard::Nothing { ask_briefly } else { ask };
            assert_eq!(asking(listen, "shop.test"), wanted, "{fault}");
            assert_eq!(ask(listen, "other.test"), Heard::NoName, "other names are not touched: {fault}");
        });
        assert!(document["proofs"][0]["seen"].as_str().unwrap().contains(evidence), "{document:#}");
        assert_eq!(document["healed"][0]["read_back"], "nothing-to-undo");
        assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
        assert_eq!(ask_briefly(listen, "shop.test"), Heard::Nothing, "the name server is gone with its runner");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_before_a_port_is_opened() {
    let desk = Desk::with_repository();
    let listen = format!("listen=127.0.0.1:{}", free_port());
    for (fault, target, set, text) in [
        ("network-cut", "tcp://127.0.0.1:1", &[][..], "listen"),
        ("network-cut", "tcp://127.0.0.1:1", &["listen=nowhere"], "nowhere"),
        ("network-cut", "tcp://nowhere", &[&listen], "target"),
        ("network-latency", "tcp://127.0.0.1:1", &[&listen, "latency=soon"], "a whole number"),
        ("dns-silent", "dns://shop.test", &[], "listen=127.0.0.1:5300"),
        ("dns-wrong", "dns://shop.test", &[&listen, "upstream=127.0.0.1:53"], "addresses is missing"),
        ("dns-wrong", "dns://shop.test", &[&listen, "addresses=here"], "as an address"),
        ("dns-stale", "tcp://127.0.0.1:1", &[&listen], "it is for a name"),
    ] {
        let mut arguments = vec!["chaos", "inject", fault, "--target", target];
        arguments.extend(set.iter().flat_map(|set: &&str| ["--set", *set]));
        let said = desk.davit(&arguments);
        assert_eq!(said.code, 2, "{fault} {set:?}: {}", said.stderr);
        assert!(said.stderr.contains(text), "{fault} {set:?}: {}", said.stderr);
    }
    // Nothing is left of them.
    assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
}

#[test]
fn a_closed_window_refuses_and_a_fault_that_takes_too_long_in_all_is_put_back() {
    let (desk, service, listen, at) = stage();
    let target = format!("tcp://{}", service.address);
    let cut = |more: &[&str]| {
        let cut = ["chaos", "inject", "network-cut", "--target", &target, "--set", &at, "--for", "5m"];
        desk.davit(&[&cut[..], more].concat())
    };
    // Neither today nor a neighbour of it, however long this takes.
    let day = jiff::Zoned::now().weekday().wrapping_add(3);
    let window = format!("{} 00:00-23:59 UTC", &format!("{day:?}")[..3]);
    let closed = cut(&["--window", &window]);
    assert!(closed.code == 3 && closed.stderr.contains("guard window"), "{closed:?}");
    let long = cut(&["--window", &window, "--lift", "window", "--abort-after", "1s"]);
    assert_eq!(long.code, 1, "{long:?}");
    assert!(format!("{}{}", long.stdout, long.stderr).contains("it took longer than 1"), "{long:?}");
    assert!(TcpStream::connect(listen).is_err(), "the proxy is gone with its runner");
    assert_eq!(desk.davit(&["chaos", "status"]).code, 0);
}

#[test]
fn a_fault_that_nobody_can_see_is_not_proven_and_proves_nothing() {
    let desk = Desk::with_repository();
    let at = format!("listen=127.0.0.1:{}", free_port());
    let arguments = ["chaos", "inject", "dns-wrong", "--target", "dns://shop.test", "--for", "1s"];
    let set = [at.as_str(), "upstream=127.0.0.1:1", "addresses=192.0.2.9"];
    // A wrong answer needs no truth: it is proven also where the other name server is dead.
    let mut all = arguments.to_vec();
    all.extend(set.iter().flat_map(|set| ["--set", *set]));
    let said = desk.davit(&all);
    assert_eq!(said.code, 0, "{}", said.stderr);
    // The past of a name that nobody ever answered is none.
    let mut all = vec!["chaos", "inject", "dns-stale", "--target", "dns://shop.test", "--for", "1s"];
    all.extend(set[..2].iter().flat_map(|set| ["--set", *set]));
    let said = desk.davit(&all);
    assert_eq!(said.code, 6, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("NOT PROVEN"), "{}", said.stdout);
}
