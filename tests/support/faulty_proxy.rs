//! A TCP proxy in front of a server of plain HTTP (S3, or a Kubernetes behind `kubectl proxy`) that misbehaves on command.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long it waits for either side.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the proxy does to a connection or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Nothing: bytes pass.
    None,
    /// Every request from `from` to `to` (counted over the proxy's life) is answered 503.
    Busy {
        /// First request.
        from: u64,
        /// One past the last.
        to: u64,
    },
    /// Every `every`th request is answered 429, and told to come again in a second.
    TooMany {
        /// How often.
        every: u64,
    },
    /// Every `every`th request's connection is reset after the request went through: the outcome is unknown.
    ResetAfter {
        /// How often.
        every: u64,
    },
    /// Every `every`th request's connection is reset before the request went through.
    ResetBefore {
        /// How often.
        every: u64,
    },
    /// Every `every`th answer is cut in its middle.
    Truncate {
        /// How often.
        every: u64,
    },
    /// Every `every`th request with a body arrives at the server with half of it, and then the connection is gone.
    CutBody {
        /// How often.
        every: u64,
    },
    /// Every `every`th request with a body arrives at the server with one wrong bit.
    Scramble {
        /// How often.
        every: u64,
    },
    /// From this request on every answer is `ExpiredToken`.
    Expired {
        /// First request.
        from: u64,
    },
    /// Every request of this method (of any, if empty) is refused.
    Refuse {
        /// `PUT`, `DELETE`, …
        method: &'static str,
        /// The answer: `403 Forbidden`.
        status: &'static str,
        /// Its code: `AccessDenied`.
        code: &'static str,
    },
    /// From this request on every PUT is answered with "no space left".
    Full {
        /// First request.
        from: u64,
    },
    /// The request of this number, from 0, waits until the proxy behaves in another way or its client is gone.
    Hold {
        /// Which.
        at: u64,
        /// Whether it waits behind the server, done and without an answer, or before it.
        passed: bool,
    },
}

/// A running proxy; it stops accepting when dropped.
#[derive(Debug)]
pub struct FaultyProxy {
    /// Its TCP port on 127.0.0.1.
    pub port: u16,
    behaviour: Arc<Mutex<Misbehaviour>>,
    requests: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
    holds: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
}

/// What the threads of a proxy share.
#[derive(Clone)]
struct Shared {
    behaviour: Arc<Mutex<Misbehaviour>>,
    requests: Arc<AtomicU64>,
    holds: Arc<AtomicBool>,
}

impl FaultyProxy {
    /// Starts a proxy in front of `upstream`, a port on 127.0.0.1.
    pub fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            behaviour: Arc::new(Mutex::new(Misbehaviour::None)),
            requests: Arc::new(AtomicU64::new(0)),
            stopped: Arc::new(AtomicBool::new(false)),
            holds: Arc::new(AtomicBool::new(false)),
            connections: Arc::new(AtomicU64::new(0)),
        };
        let connections = Arc::clone(&proxy.connections);
        let shared = Shared {
            behaviour: Arc::clone(&proxy.behaviour),
            requests: Arc::clone(&proxy.requests),
            holds: Arc::clone(&proxy.holds),
        };
        let stopped = Arc::clone(&proxy.stopped);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let (shared, connections) = (shared.clone(), Arc::clone(&connections));
                connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    serve(&client, upstream, &shared);
                    connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        proxy
    }

    /// Changes what it does and counts requests from 0 again.
    pub fn behave(&self, behaviour: Misbehaviour) {
        let mut now = self.behaviour.lock().unwrap();
        *now = behaviour;
        self.requests.store(0, Ordering::SeqCst);
        self.holds.store(false, Ordering::SeqCst);
    }

    /// Whether the request that it is to hold is here.
    pub fn holds(&self) -> bool {
        self.holds.load(Ordering::SeqCst)
    }

    /// Whether nobody is connected: what a client had sent before it was killed has been done, or never will be.
    pub fn is_idle(&self) -> bool {
        self.connections.load(Ordering::SeqCst) == 0
    }

    /// How many requests it saw since its behaviour was last changed.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

/// One HTTP message: its head, and the body by `content-length` (both ends here send no other kind of request).
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

fn read_message(stream: &mut BufReader<TcpStream>, answers_head: bool) -> Option<Message> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 || head.len() > 64 * 1024 {
            return None;
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(|v| v.trim().to_owned()));
    let mut body = Vec::new();
    let bodiless = answers_head || text.starts_with("http/1.1 204") || text.starts_with("http/1.1 304");
    if header("transfer-encoding:").is_some_and(|value| value.contains("chunked")) && !bodiless {
        while !body.ends_with(b"0\r\n\r\n") {
            if stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            body.push(byte[0]);
        }
    } else if let (Some(length), false) = (header("content-length:"), bodiless) {
        if header("expect:").is_some_and(|value| value.contains("100-continue")) {
            stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        body.resize(length.parse().ok()?, 0);
        stream.read_exact(&mut body).ok()?;
    }
    Some(Message { head, body })
}

fn answer(client: &mut TcpStream, is_head: bool, status: &str, code: &str) {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>");
    let again = if status.starts_with("429") { "retry-after: 1\r\n" } else { "" };
    let head =
        format!("HTTP/1.1 {status}\r\n{again}content-type: application/xml\r\ncontent-length: {}\r\n\r\n", body.len());
    // The answer to a HEAD has no body, whatever its length says.
    let body = if is_head { "" } else { &body };
    client.write_all(format!("{head}{body}").as_bytes()).ok();
}

/// What the proxy answers itself.
fn own_answer(now: Misbehaviour, number: u64, head: &[u8]) -> Option<(&'static str, &'static str)> {
    match now {
        Misbehaviour::Busy { from, to } if (from..to).contains(&number) => Some(("503 Slow Down", "SlowDown")),
        Misbehaviour::TooMany { every } if number % every == every - 1 => {
            Some(("429 Too Many Requests", "TooManyRequests"))
        }
        Misbehaviour::Expired { from } if number >= from => Some(("403 Forbidden", "ExpiredToken")),
        Misbehaviour::Full { from } if number >= from && head.starts_with(b"PUT") => {
            Some(("507 Insufficient Storage", "InsufficientStorage"))
        }
        Misbehaviour::Refuse { method, status, code } if head.starts_with(method.as_bytes()) => Some((status, code)),
        _ => None,
    }
}

/// What is sent on of a request's body; false if the connection ends behind it.
fn passed_on(now: Misbehaviour, number: u64, body: &mut Vec<u8>) -> bool {
    let nth = |every: u64| number % every == every - 1 && !body.is_empty();
    match now {
        Misbehaviour::CutBody { every } if nth(every) => {
            body.truncate(body.len() / 2);
            false
        }
        Misbehaviour::Scramble { every } if nth(every) => {
            let middle = body.len() / 2;
            body[middle] ^= 1;
            true
        }
        _ => true,
    }
}

/// Keeps a request until it may go on; false if its client went away before.
fn held(client: &TcpStream, shared: &Shared, this: Misbehaviour) -> bool {
    shared.holds.store(true, Ordering::SeqCst);
    client.set_read_timeout(Some(Duration::from_millis(5))).ok();
    while *shared.behaviour.lock().unwrap() == this {
        // A client that is gone is the end of its stream; one that waits says nothing for five milliseconds.
        match client.peek(&mut [0]) {
            Ok(0) => return false,
            Ok(_) => std::thread::yield_now(),
            Err(why) if matches!(why.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return false,
        }
    }
    client.set_read_timeout(Some(PATIENCE)).ok();
    true
}

fn serve(client: &TcpStream, upstream: u16, shared: &Shared) {
    let (Ok(reader), Ok(mut client)) = (client.try_clone(), client.try_clone()) else { return };
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)) else { return };
    let Ok(replies) = server.try_clone() else { return };
    for stream in [&reader, &replies] {
        stream.set_read_timeout(Some(PATIENCE)).ok();
        stream.set_nodelay(true).ok();
    }
    let (mut reader, mut replies) = (BufReader::new(reader), BufReader::new(replies));
    while let Some(mut request) = read_message(&mut reader, false) {
        let is_head = request.head.starts_with(b"HEAD");
        // The number belongs to the behaviour: both change together.
        let (number, now) = {
            let now = shared.behaviour.lock().unwrap();
            (shared.requests.fetch_add(1, Ordering::SeqCst), *now)
        };
        let nth = |every: u64| number % every == every - 1;
        if matches!(now, Misbehaviour::Hold { at, passed: false } if at == number) && !held(&client, shared, now) {
            break;
        }
        if let Some((status, code)) = own_answer(now, number, &request.head) {
            answer(&mut client, is_head, status, code);
            continue;
        }
        if matches!(now, Misbehaviour::ResetBefore { every } if nth(every)) {
            break;
        }
        // The prototype of a continuation is answered here, so it is not asked for upstream.
        let head = String::from_utf8_lossy(&request.head).replace("expect: 100-continue\r\n", "");
        let whole = passed_on(now, number, &mut request.body);
        if server.write_all(head.as_bytes()).and_then(|()| server.write_all(&request.body)).is_err() {
            break;
        }
        if !whole {
            break;
        }
        let Some(reply) = read_message(&mut replies, is_head) else { break };
        match now {
            Misbehaviour::ResetAfter { every } if nth(every) => break,
            Misbehaviour::Hold { at, passed: true } if at == number && !held(&client, shared, now) => break,
            Misbehaviour::Truncate { every } if nth(every) && !reply.body.is_empty() => {
                client.write_all(&reply.head).ok();
                client.write_all(&reply.body[..reply.body.len() / 2]).ok();
                break;
            }
            _ => {}
        }
        if client.write_all(&reply.head).and_then(|()| client.write_all(&reply.body)).is_err() {
            break;
        }
    }
    client.shutdown(Shutdown::Both).ok();
    server.shutdown(Shutdown::Both).ok();
}
