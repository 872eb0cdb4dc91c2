use std::collections::BTreeMap;

use super::history::{Before, History, Rule};
use super::stripe::{Answer, Asked, Stripe, records};
use crate::base::{Instant, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};
use crate::proto::striped::{Ask, Layout, Request, StripedLoglet};

/// What a client does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    /// Appends these numbers as one batch. Appends, and a seal, begin beside appends that are under way.
    Append(&'static [u8]),
    /// The same at a stripe of the client's own.
    AppendTo(usize, &'static [u8]),
    CheckTail,
    Seal,
    /// Writes the sealed tail that it has found into the chain, if there is none.
    Install,
    FillTo(u64),
    /// Reads everything, as far as it knows it to be committed.
    Read,
    /// Reads everything below the stop, once there is one.
    ReadClosed,
    /// Follows from the beginning on.
    Subscribe,
}

impl Op {
    fn is_append(self) -> bool {
        matches!(self, Self::Append(_) | Self::AppendTo(..))
    }
}

/// An operation that has not ended.
#[derive(Clone, Copy, Hash, Debug)]
struct UnderWay {
    before: Before,
    is_append: bool,
    knows_stop: bool,
}

#[derive(Clone, Hash, Debug)]
pub(super) struct Client {
    pub(super) core: StripedLoglet,
    now: Instant,
    /// Its requests to stripes, by their number.
    pub(super) asked: BTreeMap<OpId, (usize, Asked)>,
    under_way: BTreeMap<OpId, UnderWay>,
    started: usize,
    /// What it knows to be committed.
    committed: u64,
    /// The last sealed tail that it has found.
    candidate: Option<u64>,
    /// What a subscription has brought, and that it has not ended.
    delivered: Option<u64>,
    is_gone: bool,
}

/// Stripes, clients of the whole, and what they were told.
#[derive(Clone, Hash, Debug)]
pub(super) struct World {
    pub(super) layout: Layout,
    pub(super) stripes: Vec<Stripe>,
    pub(super) clients: Vec<Client>,
    pub(super) history: History,
}

impl World {
    pub(super) fn new(stripes: usize, clients: usize) -> Self {
        let client = Client {
            core: StripedLoglet::new(stripes),
            now: Instant::from_nanos(1),
            asked: BTreeMap::new(),
            under_way: BTreeMap::new(),
            started: 0,
            committed: 0,
            candidate: None,
            delivered: None,
            is_gone: false,
        };
        Self {
            layout: Layout::new(stripes),
            stripes: vec![Stripe::default(); stripes],
            clients: vec![client; clients],
            history: History::default(),
        }
    }

    pub(super) fn started(&self, client: usize) -> usize {
        self.clients[client].started
    }

    /// Whether the client can start this now.
    pub(super) fn may_start(&self, client: usize, op: Op) -> bool {
        let state = &self.clients[client];
        let is_beside = |under_way: &UnderWay| (op.is_append() || op == Op::Seal) && under_way.is_append;
        let waits = op == Op::ReadClosed && self.history.stop.is_none();
        !state.is_gone && !waits && state.under_way.values().all(is_beside)
    }

    /// Starts an operation, whose number is that of how many were started before; returns what it shows at once.
    pub(super) fn start(&mut self, client: usize, op: Op, reached: &mut impl FnMut(&'static str)) {
        let (stop, before) = (self.history.stop, self.history.begin());
        let state = &mut self.clients[client];
        state.started += 1;
        let id = OpId(state.started as u64);
        let (limit, max) = (Offset(state.committed), Offset::MAX);
        let read = |limit| LogletOp::ReadNext { min: Offset::ZERO, max, limit, bytes_max: 1000 };
        let contract = match op {
            Op::Append(numbers) => LogletOp::Append { records: records(numbers) },
            Op::AppendTo(stripe, numbers) => {
                state.core.set_near(vec![stripe]);
                LogletOp::Append { records: records(numbers) }
            }
            Op::CheckTail => LogletOp::CheckTail,
            Op::Seal => LogletOp::Seal,
            Op::FillTo(offset) => LogletOp::FillTo { offset: Offset(offset) },
            Op::Read => read(limit),
            Op::ReadClosed => read(Offset(stop.expect("it waits for one"))),
            Op::Subscribe => {
                state.delivered = Some(0);
                LogletOp::Subscribe { from: Offset::ZERO, limit, credit: u32::MAX }
            }
            Op::Install => {
                if let Some(candidate) = state.candidate {
                    reached(if stop.is_none() { "installed" } else { "overtaken" });
                    self.history.stop.get_or_insert(candidate);
                }
                return self.check();
            }
        };
        if op != Op::Subscribe {
            let knows_stop = op == Op::ReadClosed;
            state.under_way.insert(id, UnderWay { before, is_append: op.is_append(), knows_stop });
        }
        state.core.handle_op(id, contract, state.now);
        self.settle(client, reached);
    }

    /// Answers that stripes may give to this client's requests.
    pub(super) fn answers(&self, client: usize) -> impl Iterator<Item = (OpId, Answer)> {
        let asked = self.clients[client].asked.iter();
        asked.flat_map(|(id, (stripe, asked))| {
            self.stripes[*stripe].answers(asked).into_iter().map(|answer| (*id, answer))
        })
    }

    /// A stripe answers a request, or has gone on with it.
    pub(super) fn answer(&mut self, client: usize, id: OpId, answer: Answer, reached: &mut impl FnMut(&'static str)) {
        let state = &mut self.clients[client];
        let (index, asked) = state.asked.get_mut(&id).expect("it was asked");
        let (index, stripe) = (*index, &mut self.stripes[*index]);
        if matches!(answer, Answer::Take | Answer::TakeOne | Answer::TakeSealed) {
            asked.taken = Some(stripe.take(&asked.op, answer));
            return self.check();
        }
        let result = stripe.answer(asked, answer);
        let goes_on = matches!((&asked.op, answer), (LogletOp::Subscribe { .. }, Answer::Below(_)));
        if !goes_on {
            state.asked.remove(&id);
        }
        state.core.handle_result(index, id, result, state.now);
        self.settle(client, reached);
    }

    /// Known tails that the client may hear of next, by stripe.
    pub(super) fn known_tails(&self, client: usize) -> impl Iterator<Item = (usize, u64)> {
        let state = &self.clients[client];
        let cares = !state.under_way.is_empty() || state.delivered.is_some();
        let stripes = self.stripes.iter().enumerate().filter(move |_| cares);
        stripes.flat_map(|(index, stripe)| {
            // The sequencer may have counted what nobody was told of.
            let end = if stripe.sealed { stripe.committed } else { stripe.given.len() as u64 };
            (state.core.known_of(index).0 + 1..=end).map(move |tail| (index, tail))
        })
    }

    /// The client hears of a stripe's known tail.
    pub(super) fn hear(&mut self, client: usize, index: usize, tail: u64, reached: &mut impl FnMut(&'static str)) {
        let (state, stripe) = (&mut self.clients[client], &mut self.stripes[index]);
        stripe.committed = stripe.committed.max(tail);
        state.core.handle_known_tail(index, Offset(tail), state.now);
        self.settle(client, reached);
    }

    pub(super) fn has_deadline(&self, client: usize) -> bool {
        let state = &self.clients[client];
        !state.is_gone && state.core.poll_timeout().is_some()
    }

    /// The client's next deadline passes.
    pub(super) fn pass_deadline(&mut self, client: usize, reached: &mut impl FnMut(&'static str)) {
        let state = &mut self.clients[client];
        let (deadline, _) = state.core.poll_timeout().expect("it has one");
        assert!(deadline > state.now, "no timer is due twice");
        state.now = deadline;
        state.core.handle_timeout(deadline);
        self.settle(client, reached);
    }

    pub(super) fn is_gone(&self, client: usize) -> bool {
        self.clients[client].is_gone
    }

    /// The client's process ends. Requests that have taken offsets keep them.
    pub(super) fn end(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.is_gone = true;
        state.asked.clear();
        state.under_way.clear();
        state.delivered = None;
    }

    /// Nothing more happens by itself: everything has to have ended.
    pub(super) fn is_settled(&self) -> bool {
        self.clients.iter().all(|client| {
            let is_followed = client.delivered.is_none_or(|delivered| delivered >= self.history.acknowledged);
            client.under_way.is_empty() && is_followed
        })
    }

    /// Takes what the core has to say.
    fn settle(&mut self, client: usize, reached: &mut impl FnMut(&'static str)) {
        loop {
            let state = &mut self.clients[client];
            // Whenever this answer comes, it says the same.
            let is_sealed = |stripe: usize| self.stripes[stripe].sealed;
            let sealed = state.asked.iter().find(|(_, (stripe, it))| it.op == LogletOp::Seal && is_sealed(*stripe));
            if let Some(Request { stripe, id, ask }) = state.core.poll_request() {
                let Ask::Op(op) = ask else { unreachable!("no program creates or deletes") };
                match (op, state.asked.get_mut(&id)) {
                    (LogletOp::Credit { limit: raised, .. }, Some((_, asked))) => {
                        let LogletOp::Subscribe { limit, .. } = &mut asked.op else { panic!("credit for {asked:?}") };
                        *limit = raised.max(*limit);
                    }
                    (LogletOp::Unsubscribe, _) => drop(state.asked.remove(&id)),
                    (op, None) => drop(state.asked.insert(id, (stripe, Asked { op, taken: None }))),
                    (op, Some(asked)) => panic!("{op:?} for {asked:?}"),
                }
            } else if let Some((id, stripe)) = sealed.map(|(id, (stripe, _))| (*id, *stripe)) {
                state.asked.remove(&id);
                state.core.handle_result(stripe, id, LogletResult::Sealed, state.now);
            } else if let Some((id, result)) = state.core.poll_result() {
                self.ended(client, id, &result, reached);
            } else {
                break;
            }
        }
        self.check();
    }

    fn ended(&mut self, client: usize, id: OpId, result: &LogletResult, reached: &mut impl FnMut(&'static str)) {
        let (layout, stripes, history) = (self.layout, &self.stripes, &mut self.history);
        let state = &mut self.clients[client];
        let Some(UnderWay { before, knows_stop, .. }) = state.under_way.get(&id).copied() else {
            let delivered = state.delivered.expect("nothing else is under way");
            match result {
                LogletResult::Records { first, records } => {
                    assert_eq!(first.0, delivered, "each offset once, in order");
                    state.delivered = Some(delivered + u64::from(records.count));
                    history.read((*first, records), false, layout, stripes);
                    reached("delivered");
                }
                LogletResult::SubscriptionEnded { sealed: true } => state.delivered = None,
                other => panic!("not of a subscription: {other:?}"),
            }
            return;
        };
        state.under_way.remove(&id);
        if let LogletResult::Records { first, records } = result {
            assert_eq!(*first, Offset::ZERO, "it begins where it was asked to");
            history.read((*first, records), knows_stop, layout, stripes);
            return reached(if knows_stop { "read below the stop" } else { "read" });
        }
        match result {
            LogletResult::Appended { first, stride, records } => {
                let end = first.0 + u64::from(records.count - 1) * u64::from(*stride) + 1;
                state.committed = state.committed.max(end);
            }
            LogletResult::Tail { tail, sealed: false } => state.committed = state.committed.max(tail.0),
            LogletResult::Tail { tail, sealed: true } => state.candidate = Some(tail.0),
            _ => {}
        }
        reached(history.judge(before, result, layout, stripes));
    }

    fn check(&mut self) {
        let known = self.clients.iter().map(|client| client.core.known_tail().0).max().unwrap_or(0);
        self.history.check(known, &self.stripes);
    }

    /// An assertion has failed on the way to the state after this one.
    pub(super) fn fail(&mut self, rule: Rule) {
        self.history.broken.insert(rule);
    }
}
