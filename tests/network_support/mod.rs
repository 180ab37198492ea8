//! A web service and a name server of this machine, as small as they can be.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a web service of ours says if nobody asks for something else.
pub const BODY: &str = "hello";

/// A web service that says 200 to every request, on as many connections as come. Its threads end with the test program.
pub struct Service {
    pub address: SocketAddr,
}

impl Service {
    pub fn start(host: &str) -> Self {
        Self::at(SocketAddr::new(host.parse().unwrap(), 0))
    }

    pub fn at(address: SocketAddr) -> Self {
        Self::saying(address, BODY)
    }

    /// One that is asked over TLS, on the IPv4 address of this machine, and shows this certificate.
    pub fn over_tls(certificate: &Path, key: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap());
        let config = Arc::new(config.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                std::thread::spawn(move || serve(StreamOwned::new(session, client), BODY));
            }
        });
        Self { address }
    }

    /// One whose answers have this body.
    pub fn saying(address: SocketAddr, body: &'static str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                std::thread::spawn(move || serve(client, body));
            }
        });
        Self { address }
    }
}

fn serve(mut client: impl Read + Write, body: &str) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = client.read(&mut piece) {
        heard.extend_from_slice(&piece[..read]);
        // Whoever says something else than HTTP is heard out, as servers do.
        if heard.ends_with(b"\r\n\r\n") {
            heard.clear();
            if client.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// A name server that knows one name.
pub struct Names {
    pub address: SocketAddr,
    says: Arc<Mutex<Ipv4Addr>>,
}

impl Names {
    pub fn start(name: &'static str, address: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let says = Arc::new(Mutex::new(address.parse().unwrap()));
        let truth = Arc::clone(&says);
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let Ok(question) = Packet::parse(&buffer[..length]) else { continue };
                let mut answer = Packet::new_reply(question.id());
                answer.set_flags(PacketFlag::RESPONSE);
                answer.questions.clone_from(&question.questions);
                let asked = &question.questions[0];
                if asked.qname.to_string() != name {
                    *answer.rcode_mut() = RCODE::NameError;
                } else if asked.qtype == QTYPE::TYPE(TYPE::A) {
                    let data = RData::A(A { address: u32::from(*truth.lock().unwrap()) });
                    answer.answers.push(ResourceRecord::new(asked.qname.clone(), CLASS::IN, 1, data));
                }
                drop(socket.send_to(&answer.build_bytes_vec().unwrap(), from));
            }
        });
        Self { address: at, says }
    }

    /// From now on the name leads here.
    pub fn says(&self, address: &str) {
        *self.says.lock().unwrap() = address.parse().unwrap();
    }
}

/// What a client hears of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    Address(String),
    NoName,
    Refusal,
}

/// Asks for the IPv4 address of a name, as a client does that has time.
pub fn ask(server: SocketAddr, name: &str) -> Heard {
    ask_for(server, name, Duration::from_mins(1))
}

/// The same where silence may be what there is.
pub fn ask_briefly(server: SocketAddr, name: &str) -> Heard {
    ask_for(server, name, Duration::from_millis(500))
}

fn ask_for(server: SocketAddr, name: &str, wait: Duration) -> Heard {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(wait)).unwrap();
    let mut packet = Packet::new_query(99);
    let name = Name::new(name).unwrap();
    packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false));
    socket.send_to(&packet.build_bytes_vec().unwrap(), server).unwrap();
    let mut buffer = [0; 1024];
    let Ok(length) = socket.recv(&mut buffer) else { return Heard::Nothing };
    let answer = Packet::parse(&buffer[..length]).unwrap();
    match (answer.rcode(), answer.answers.first().map(|record| &record.rdata)) {
        (RCODE::NoError, Some(RData::A(four))) => Heard::Address(Ipv4Addr::from(four.address).to_string()),
        (RCODE::NameError, _) => Heard::NoName,
        _ => Heard::Refusal,
    }
}
