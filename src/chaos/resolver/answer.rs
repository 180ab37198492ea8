//! Questions and the answers that are made up for them.

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE};
use std::collections::HashMap;
use std::net::IpAddr;

/// Made-up answers may be kept for so many seconds: short, so that the fault does not outlive itself in caches.
const TTL: u32 = 1;

/// No more answers than this are remembered.
const SEEN_MAX: usize = 10_000;

/// A question.
pub(super) struct Query {
    id: u16,
    recursion: bool,
    question: Question<'static>,
    /// The name asked for, in lower case.
    pub(super) name: String,
    kind: QTYPE,
}

impl Query {
    /// Reads a question; `None` where it is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let packet = Packet::parse(bytes).ok().filter(|packet| !packet.has_flags(PacketFlag::RESPONSE))?;
        let question = packet.questions.first()?.clone().into_owned();
        let (name, kind) = (question.qname.to_string().to_ascii_lowercase(), question.qtype);
        let recursion = packet.has_flags(PacketFlag::RECURSION_DESIRED);
        Some(Self { id: packet.id(), recursion, question, name, kind })
    }

    fn reply(&self) -> Packet<'static> {
        let mut reply = Packet::new_reply(self.id);
        reply.set_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_AVAILABLE);
        if self.recursion {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        reply.questions.push(self.question.clone());
        reply
    }

    /// Those of the addresses that are of the kind asked for.
    pub(super) fn with_addresses(&self, addresses: &[IpAddr]) -> Option<Vec<u8>> {
        let name = self.question.qname.clone();
        let mut reply = self.reply();
        for address in addresses {
            let data = match address {
                IpAddr::V4(four) if self.asks(TYPE::A) => RData::A(A { address: u32::from(*four) }),
                IpAddr::V6(six) if self.asks(TYPE::AAAA) => RData::AAAA(AAAA { address: u128::from(*six) }),
                _ => continue,
            };
            reply.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, TTL, data));
        }
        reply.build_bytes_vec().ok()
    }

    fn asks(&self, kind: TYPE) -> bool {
        self.kind == QTYPE::TYPE(kind) || self.kind == QTYPE::ANY
    }

    /// There is no such name.
    pub(super) fn without_name(&self) -> Option<Vec<u8>> {
        self.with_code(RCODE::NameError)
    }

    /// It could not be found out.
    pub(super) fn failed(&self) -> Option<Vec<u8>> {
        self.with_code(RCODE::ServerFailure)
    }

    fn with_code(&self, code: RCODE) -> Option<Vec<u8>> {
        let mut reply = self.reply();
        *reply.rcode_mut() = code;
        reply.build_bytes_vec().ok()
    }
}

/// What was answered before.
#[derive(Default)]
pub(super) struct Seen {
    answers: HashMap<(String, String), Vec<u8>>,
}

impl Seen {
    fn key(query: &Query) -> (String, String) {
        (query.name.clone(), format!("{:?}", query.kind))
    }

    /// Remembers an answer.
    pub(super) fn keep(&mut self, query: &Query, answer: &[u8]) {
        if self.answers.len() < SEEN_MAX {
            self.answers.insert(Self::key(query), answer.to_vec());
        }
    }

    /// The same answer for a new question.
    pub(super) fn again(&self, query: &Query) -> Option<Vec<u8>> {
        let mut answer = self.answers.get(&Self::key(query))?.clone();
        answer.get_mut(..2)?.copy_from_slice(&query.id.to_be_bytes());
        Some(answer)
    }
}
