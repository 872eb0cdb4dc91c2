use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::{NodeInfo, OpError};
use crate::base::Incarnation;
use crate::base::{ClusterId, Instant, Limits, LogletId, NodeId, RegisterId};
use crate::io::op::{Op, Outcome};
use crate::net::{Closed, Link, LinkEvent};
use crate::wire::{Hello, Message, RegisterMessage, Role};

/// How an errand answers.
#[derive(Debug)]
pub(super) enum ErrandReply {
    Hello(SyncSender<Result<NodeInfo, OpError>>),
    Status(SyncSender<Result<Vec<u8>, OpError>>),
    Register(SyncSender<Result<RegisterMessage, OpError>>),
}

/// What an errand asks, once the node has said who it is.
#[derive(Debug)]
pub(super) enum Question {
    /// Nothing more.
    Hello,
    /// Its status.
    Status,
    /// Something about a register, of a node of this cluster.
    Register(ClusterId, RegisterId, Box<RegisterMessage>),
}

/// One question to one node, on a connection of its own.
#[derive(Debug)]
pub(super) struct Errand {
    address: SocketAddr,
    link: Link,
    deadline: Instant,
    /// Who has found nobody listening until then, and nothing else, need not wait longer for a status.
    refused_until: Instant,
    /// Whether every attempt so far has found nobody listening, one of them at least.
    refused: Option<bool>,
    question: Question,
    reply: Option<ErrandReply>,
    last_failure: String,
    /// What has come of a status on this connection.
    status: Vec<u8>,
}

/// Most bytes of a status that is taken in.
const STATUS_BYTES_MAX: usize = 256 << 20;
/// So long a node may take to start again while it is asked for its status.
const REFUSED: Duration = Duration::from_secs(1);

impl Errand {
    pub(super) fn new(
        address: SocketAddr,
        question: Question,
        reply: ErrandReply,
        limits: &Limits,
        now: Instant,
    ) -> Self {
        let (cluster, route) = match &question {
            Question::Register(cluster, ..) => (*cluster, RegisterId::ROUTE),
            Question::Hello | Question::Status => (ClusterId(0), LogletId::default()),
        };
        let anybody = NodeId(0);
        let hello =
            Hello { cluster, node: NodeId(0), incarnation: Incarnation(0), to: anybody, role: Role::Client, route };
        let link = Link::new(address, hello, None, limits);
        let deadline = now + limits.operation_timeout;
        Self {
            address,
            link,
            deadline,
            refused_until: now + REFUSED,
            refused: None,
            question,
            reply: Some(reply),
            last_failure: "it has not answered".to_owned(),
            status: Vec::new(),
        }
    }

    pub(super) fn handle(&mut self, outcome: Outcome, bytes: &[u8], now: Instant) {
        let mut answer = None;
        let mut ask = false;
        let mut failure = None;
        let (status, refused) = (&mut self.status, &mut self.refused);
        self.link.handle(outcome, bytes, now, |event| match event {
            LinkEvent::Up(hello) if matches!(self.question, Question::Hello) => {
                let Hello { cluster, node, incarnation, role, .. } = hello;
                let info = NodeInfo { cluster, node, incarnation, sequences_only: role == Role::Sequencer };
                answer = Some(Ok(Answer::Hello(info)));
            }
            LinkEvent::Open => *refused = Some(false),
            LinkEvent::Up(_) => ask = true,
            LinkEvent::Message(Message::Register { message, .. }) => answer = Some(Ok(Answer::Register(message))),
            LinkEvent::Message(Message::Reject { detail: reason, .. } | Message::Unavailable { reason, .. }) => {
                answer = Some(Err(Failure::Said(reason.to_owned())));
            }
            LinkEvent::Message(Message::StatusReport { json, left, .. }) => {
                status.extend_from_slice(json);
                if left == 0 {
                    answer = Some(Ok(Answer::Status(std::mem::take(status))));
                } else if status.len() > STATUS_BYTES_MAX {
                    answer = Some(Err(Failure::Unreadable("a status without an end".to_owned())));
                }
            }
            LinkEvent::Message(_) => {}
            LinkEvent::Down(reason @ Closed::Frame(_)) => answer = Some(Err(Failure::Unreadable(reason.to_string()))),
            LinkEvent::Down(reason @ (Closed::Refused { .. } | Closed::OutOfPlace(_))) => {
                answer = Some(Err(Failure::Said(reason.to_string())));
            }
            LinkEvent::Down(reason) => {
                let nobody = matches!(reason, Closed::Network(error) if error.kind() == ErrorKind::ConnectionRefused);
                *refused = Some(refused.unwrap_or(true) && nobody);
                failure = Some(reason.to_string());
            }
        });
        if let Some(failure) = failure {
            self.last_failure = failure;
        }
        if ask {
            self.status.clear();
        }
        if ask && let Some(connection) = self.link.connection() {
            match &self.question {
                Question::Hello => {}
                Question::Status => connection.send(&Message::Status { request: 1 }),
                Question::Register(_, register, message) => {
                    connection.send(&Message::Register { request: 1, register: *register, message: message.clone() });
                }
            }
        }
        if let Some(answer) = answer {
            self.answer(answer);
        }
    }

    fn answer(&mut self, answer: Result<Answer, Failure>) {
        let error = |failure: Failure| match failure {
            Failure::Said(reason) => OpError::Unavailable { reason: format!("{}: {reason}", self.address) },
            Failure::Unreadable(reason) => OpError::Unreadable { reason: format!("{}: {reason}", self.address) },
        };
        // Whoever asked may have gone; then the answer has no use.
        match (self.reply.take(), answer) {
            (Some(ErrandReply::Hello(reply)), Ok(Answer::Hello(info))) => drop(reply.try_send(Ok(info))),
            (Some(ErrandReply::Status(reply)), Ok(Answer::Status(json))) => drop(reply.try_send(Ok(json))),
            (Some(ErrandReply::Register(reply)), Ok(Answer::Register(message))) => drop(reply.try_send(Ok(*message))),
            (Some(ErrandReply::Register(reply)), Err(reason)) => drop(reply.try_send(Err(error(reason)))),
            (Some(ErrandReply::Hello(reply)), Err(reason)) => drop(reply.try_send(Err(error(reason)))),
            (Some(ErrandReply::Status(reply)), Err(reason)) => drop(reply.try_send(Err(error(reason)))),
            (unanswered, _) => self.reply = unanswered,
        }
        if self.reply.is_none() {
            self.link.set_wanted(false);
        }
    }

    pub(super) fn poll_op(&mut self, now: Instant) -> Option<Op> {
        if self.reply.is_some() && self.deadline() <= now {
            self.answer(Err(Failure::Said(self.last_failure.clone())));
        }
        self.link.poll_op(now)
    }

    fn deadline(&self) -> Instant {
        let is_refused = self.refused == Some(true) && matches!(self.question, Question::Status);
        if is_refused { self.deadline.min(self.refused_until) } else { self.deadline }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.reply.as_ref().map(|_| self.deadline());
        [deadline, self.link.poll_timeout()].into_iter().flatten().min()
    }

    /// Nobody waits for the answer any more.
    pub(super) fn close(&mut self) {
        self.reply = None;
        self.link.set_wanted(false);
    }

    pub(super) fn is_over(&self) -> bool {
        self.reply.is_none() && self.link.is_at_rest()
    }
}

/// Why there is no answer.
enum Failure {
    /// In the node's words, or the network's.
    Said(String),
    /// There is one, which cannot be read.
    Unreadable(String),
}

enum Answer {
    Hello(NodeInfo),
    Status(Vec<u8>),
    Register(Box<RegisterMessage>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::mpsc::{Receiver, sync_channel};

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    /// Asks where nobody listens; each attempt ends so. Returns when there was an answer.
    fn asked(status: bool, error: io::ErrorKind) -> u64 {
        let limits = Limits { operation_timeout: Duration::from_secs(10), ..Limits::default() };
        let address = ([127, 0, 0, 1], 9).into();
        let ((hello, hello_is), (reply, status_is)) = (sync_channel(1), sync_channel(1));
        let (question, reply) = match status {
            true => (Question::Status, ErrandReply::Status(reply)),
            false => (Question::Hello, ErrandReply::Hello(hello)),
        };
        let mut errand = Errand::new(address, question, reply, &limits, at(0));
        fn is_failure<T>(answer: &Receiver<Result<T, OpError>>) -> bool {
            matches!(answer.try_recv(), Ok(Err(OpError::Unavailable { .. })))
        }
        for millis in 0.. {
            while let Some(op) = errand.poll_op(at(millis)) {
                assert!(matches!(op, Op::Connect { .. }));
                errand.handle(Outcome::Failed(error.into()), b"", at(millis));
            }
            if is_failure(&status_is) || is_failure(&hello_is) {
                return millis;
            }
            assert!(errand.poll_timeout().is_some_and(|next| next > at(millis)));
        }
        unreachable!("it ends with its time")
    }

    #[test]
    fn where_nobody_listens_a_status_is_not_waited_for() {
        assert_eq!(asked(true, ErrorKind::ConnectionRefused), 1000, "it may be starting again");
        assert_eq!(asked(true, ErrorKind::TimedOut), 10_000, "it may be there");
        assert_eq!(asked(false, ErrorKind::ConnectionRefused), 10_000, "who looks for a node that starts waits");
    }
}
