use std::net::SocketAddr;

use super::config::Member;
use super::header::{FrameError, Opcode};
use crate::base::{NodeId, Nonce, ProposerId, Version};

/// The number of a proposal ("Paxos Made Simple", section 2.2): totally ordered, and never used for two values of one instance, since
/// its proposer's name is part of it and a proposer never goes back to a round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Ballot {
    /// Compared first. 0 in the ballot that is below all others, which nobody proposes with.
    pub round: u64,
    /// Whose ballot it is.
    pub proposer: ProposerId,
}

impl Ballot {
    /// Below every ballot of a proposer: nothing is promised.
    pub const NONE: Self = Self { round: 0, proposer: ProposerId(0) };

    const BYTES: usize = 24;

    /// Appends the bytes that stand for it in frames and cells.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.round.to_le_bytes());
        out.extend_from_slice(&self.proposer.0.to_le_bytes());
    }
}

/// What an instance of Paxos decides: a version of a register, who decides the next one, and the value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Decision {
    /// The version, and the number of the instance that decides it.
    pub version: Version,
    /// By which the writer knows its own value again (P8).
    pub nonce: Nonce,
    /// The acceptors of the next instance, once this value is *decided* (P8 c): some, none twice.
    pub members: Vec<Member>,
    /// Opaque here.
    pub value: Vec<u8>,
}

impl Decision {
    /// Most members of a register: with an address of any length their names stay within a kilobyte or two.
    pub const MEMBERS_MAX: usize = 31;

    /// Whether a register may have these members: some, none twice, not too many.
    pub fn are_members(members: &[Member]) -> bool {
        let twice = |at: usize| members[..at].iter().any(|earlier| earlier.node == members[at].node);
        (1..=Self::MEMBERS_MAX).contains(&members.len()) && !(0..members.len()).any(twice)
    }

    /// Whether this node is an acceptor of the next instance, once this is decided.
    pub fn names(&self, node: NodeId) -> bool {
        self.members.iter().any(|member| member.node == node)
    }

    /// Appends the bytes that stand for it in frames and cells.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(Self::are_members(&self.members), "checked when the members were given");
        out.extend_from_slice(&self.version.0.to_le_bytes());
        out.extend_from_slice(&self.nonce.0.to_le_bytes());
        out.push(self.members.len() as u8);
        for member in &self.members {
            let address = member.address.to_string();
            out.extend_from_slice(&member.node.0.to_le_bytes());
            out.push(address.len() as u8);
            out.extend_from_slice(address.as_bytes());
        }
        let bytes = u32::try_from(self.value.len()).expect("values are far below 4 GiB");
        out.extend_from_slice(&bytes.to_le_bytes());
        out.extend_from_slice(&self.value);
    }
}

/// A value that an acceptor has accepted and, for all it knows, nobody has decided.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Vote {
    /// The ballot in which it was accepted last.
    pub ballot: Ballot,
    /// What was accepted.
    pub decision: Decision,
}

impl Vote {
    /// Appends the bytes that stand for it in frames and cells.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.ballot.encode(out);
        self.decision.encode(out);
    }
}

/// What is said about a register of the MetaStore. Instance i decides version i; who votes in it is named by the decided version before.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each variant's text explains its fields")]
pub enum RegisterMessage {
    /// Asks for the state of an instance, without preparing (P8 d). Answer: `State`, `Decided` or `Behind`.
    Query { instance: Version },
    /// Phase 1a. Answer: `Promised`, `Refused`, `Decided` or `Behind`.
    Prepare { instance: Version, ballot: Ballot },
    /// Phase 2a, in the instance of the decision's version. Answer: `Accepted`, `Refused`, `Decided` or `Behind`.
    Accept { ballot: Ballot, decision: Decision },
    /// A decision. Answer: `Learned`.
    Learn { decision: Decision },
    /// What was accepted in the instance, which is not known to be decided.
    State { instance: Version, accepted: Option<Vote> },
    /// Phase 1b: nothing below the ballot is accepted any more; what was accepted before.
    Promised { instance: Version, ballot: Ballot, accepted: Option<Vote> },
    /// Phase 2b.
    Accepted { instance: Version, ballot: Ballot },
    /// Another ballot has been promised in this instance.
    Refused { instance: Version, promised: Ballot },
    /// This is decided, and the instance asked about is not beyond it.
    Decided { decision: Decision },
    /// The acceptor lacks the decision before the instance asked about; `next` is the instance that it could vote in, 0 when it knows
    /// nothing of the register.
    Behind { instance: Version, next: Version },
    /// The acceptor holds a decision at or beyond the one that it was told; `version` is that one's.
    Learned { version: Version },
}

/// The header's numbers of a message about a register.
#[derive(Clone, Copy, Default)]
pub(super) struct RegisterNumbers {
    pub(super) aux: u64,
    pub(super) offset: u64,
    pub(super) count: u32,
}

impl RegisterMessage {
    pub(super) fn encode_body(&self, out: &mut Vec<u8>) -> (Opcode, RegisterNumbers) {
        let none = RegisterNumbers::default();
        let of = |instance: Version| RegisterNumbers { aux: instance.0, ..none };
        match self {
            Self::Query { instance } => (Opcode::RegisterQuery, of(*instance)),
            Self::Prepare { instance, ballot } => {
                ballot.encode(out);
                (Opcode::RegisterPrepare, of(*instance))
            }
            Self::Accept { ballot, decision } => {
                ballot.encode(out);
                decision.encode(out);
                (Opcode::RegisterAccept, none)
            }
            Self::Learn { decision } => {
                decision.encode(out);
                (Opcode::RegisterLearn, none)
            }
            Self::State { instance, accepted } => {
                let count = encode_vote(accepted.as_ref(), out);
                (Opcode::RegisterState, RegisterNumbers { count, ..of(*instance) })
            }
            Self::Promised { instance, ballot, accepted } => {
                ballot.encode(out);
                let count = encode_vote(accepted.as_ref(), out);
                (Opcode::RegisterPromised, RegisterNumbers { count, ..of(*instance) })
            }
            Self::Accepted { instance, ballot } => {
                ballot.encode(out);
                (Opcode::RegisterAccepted, of(*instance))
            }
            Self::Refused { instance, promised } => {
                promised.encode(out);
                (Opcode::RegisterRefused, of(*instance))
            }
            Self::Decided { decision } => {
                decision.encode(out);
                (Opcode::RegisterDecided, none)
            }
            Self::Behind { instance, next } => {
                (Opcode::RegisterBehind, RegisterNumbers { offset: next.0, ..of(*instance) })
            }
            Self::Learned { version } => (Opcode::RegisterLearned, of(*version)),
        }
    }

    /// The message of a frame; none when the opcode is of no register.
    pub(super) fn decode(opcode: Opcode, numbers: RegisterNumbers, body: &[u8]) -> Option<Result<Self, FrameError>> {
        let malformed = FrameError::Malformed("a message about a register does not say what its opcode promises");
        Self::decode_body(opcode, numbers, body).map(|message| message.ok_or(malformed))
    }

    fn decode_body(opcode: Opcode, numbers: RegisterNumbers, body: &[u8]) -> Option<Option<Self>> {
        let instance = version(numbers.aux);
        let mut fields = Fields(body);
        let message = match opcode {
            Opcode::RegisterQuery => instance.map(|instance| Self::Query { instance }),
            Opcode::RegisterPrepare => {
                instance.zip(fields.ballot()).map(|(instance, ballot)| Self::Prepare { instance, ballot })
            }
            Opcode::RegisterAccept => fields.vote().map(|Vote { ballot, decision }| Self::Accept { ballot, decision }),
            Opcode::RegisterLearn => fields.decision().map(|decision| Self::Learn { decision }),
            Opcode::RegisterState => instance
                .zip(fields.vote_if(numbers.count))
                .map(|(instance, accepted)| Self::State { instance, accepted }),
            Opcode::RegisterPromised => match (instance, fields.ballot(), fields.vote_if(numbers.count)) {
                (Some(instance), Some(ballot), Some(accepted)) => Some(Self::Promised { instance, ballot, accepted }),
                _ => None,
            },
            Opcode::RegisterAccepted => {
                instance.zip(fields.ballot()).map(|(instance, ballot)| Self::Accepted { instance, ballot })
            }
            Opcode::RegisterRefused => {
                instance.zip(fields.ballot()).map(|(instance, promised)| Self::Refused { instance, promised })
            }
            Opcode::RegisterDecided => fields.decision().map(|decision| Self::Decided { decision }),
            Opcode::RegisterBehind => {
                instance.zip(version(numbers.offset)).map(|(instance, next)| Self::Behind { instance, next })
            }
            Opcode::RegisterLearned => instance.map(|version| Self::Learned { version }),
            _ => return None,
        };
        // What is left over was promised by no opcode.
        Some(message.filter(|_| fields.0.is_empty()))
    }
}

/// A version or a round that a counter can have reached; one more of it is a number still.
fn version(number: u64) -> Option<Version> {
    (number < 1 << 62).then_some(Version(number))
}

fn encode_vote(vote: Option<&Vote>, out: &mut Vec<u8>) -> u32 {
    vote.map_or(0, |vote| {
        vote.encode(out);
        1
    })
}

/// Bytes that are taken apart from their beginning; whoever takes more than there is gets nothing.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `bytes` bytes.
    pub fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        self.take(BYTES).map(|bytes| bytes.try_into().expect("as many as were asked for"))
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A ballot.
    pub fn ballot(&mut self) -> Option<Ballot> {
        let mut fields = Fields(self.take(Ballot::BYTES)?);
        let round = version(u64::from_le_bytes(fields.array()?))?.0;
        Some(Ballot { round, proposer: ProposerId(u128::from_le_bytes(fields.array()?)) })
    }

    /// A decision.
    pub fn decision(&mut self) -> Option<Decision> {
        let version = version(u64::from_le_bytes(self.array()?))?;
        let nonce = Nonce(u128::from_le_bytes(self.array()?));
        let count = usize::from(self.byte()?);
        let mut members = Vec::with_capacity(count.min(Decision::MEMBERS_MAX));
        for _ in 0..count {
            let node = NodeId(u128::from_le_bytes(self.array()?));
            let bytes = usize::from(self.byte()?);
            let address: SocketAddr = str::from_utf8(self.take(bytes)?).ok()?.parse().ok()?;
            members.push(Member { node, address });
        }
        let bytes = u32::from_le_bytes(self.array()?);
        let value = self.take(bytes as usize)?.to_vec();
        Decision::are_members(&members).then_some(Decision { version, nonce, members, value })
    }

    /// A vote.
    pub fn vote(&mut self) -> Option<Vote> {
        Some(Vote { ballot: self.ballot()?, decision: self.decision()? })
    }

    /// A vote where `count` is 1, none where it is 0.
    pub fn vote_if(&mut self, count: u32) -> Option<Option<Vote>> {
        match count {
            0 => Some(None),
            1 => self.vote().map(Some),
            _ => None,
        }
    }
}
