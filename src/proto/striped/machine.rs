use std::collections::{BTreeMap, VecDeque};

use super::Layout;
use super::append::Appends;
use super::filler::Filler;
use super::gather::{Gathering, Question};
use super::subscribe::Subscription;
use crate::base::mutants::{self, Mutant};
use crate::base::{Instant, LogletId, Offset};
use crate::proto::loglet::{LogletOp, LogletResult, OpId};

/// What a stripe is to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Ask {
    /// Carry out this operation.
    Op(LogletOp),
    /// Create the loglet on a majority and start its sequencer.
    Create,
    /// Delete the loglet, which this version of the chain does not name (P5).
    Delete {
        /// The version.
        chain_version: u64,
        /// The loglets that it names.
        live: Vec<LogletId>,
    },
}

/// What a striped loglet needs from its host. The answers go to [`StripedLoglet::handle_result`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Request {
    /// Of which stripe.
    pub stripe: usize,
    /// Names the request; [`LogletOp::Credit`] and [`LogletOp::Unsubscribe`] name their subscription.
    pub id: OpId,
    /// What to do.
    pub ask: Ask,
}

/// One loglet over several others, its stripes, which may be of any kind with contiguous offsets (RULES P6, L10).
///
/// An append goes to one stripe. That acknowledges it, and it is withheld here until everything before it on the other stripes is
/// committed as well: until then no order is decided. Where another stripe has nothing to commit, its sequencer is asked to fill it with
/// no-ops. The records of one append keep their order, and `ack(A) < invoke(B)` means that A is before B; two appends of one client
/// that are under way together may come in either order.
///
/// The host keeps a client for each stripe, carries out requests, tells results and each stripe's known tail, and afterwards takes the
/// results.
#[derive(Clone, Hash, Debug)]
pub struct StripedLoglet {
    pub(super) layout: Layout,
    pub(super) now: Instant,
    /// Of each stripe: reached by unsealed answers, and never by a sealed tail or a repair (P1, P6).
    known: Vec<Offset>,
    /// Everything below is filled on every stripe: the known tail of the whole.
    pub(super) filled: Offset,
    pub(super) appends: Appends,
    pub(super) filler: Filler,
    operations: BTreeMap<OpId, Gathering>,
    pub(super) subscriptions: BTreeMap<OpId, Subscription>,
    /// Which operation a request is for; appends and fillers know theirs.
    pub(super) owners: BTreeMap<OpId, OpId>,
    /// A stripe is sealed, or its sequencer is lost: nothing more is appended here, and every stripe is being sealed.
    pub(super) ended: bool,
    requests: VecDeque<Request>,
    pub(super) results: VecDeque<(OpId, LogletResult)>,
    next_request: u64,
}

impl StripedLoglet {
    /// Over so many stripes.
    pub fn new(stripes: usize) -> Self {
        let layout = Layout::new(stripes);
        Self {
            layout,
            now: Instant::from_nanos(0),
            known: vec![Offset::ZERO; stripes],
            filled: Offset::ZERO,
            appends: Appends::new(stripes),
            filler: Filler::new(stripes),
            operations: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            owners: BTreeMap::new(),
            ended: false,
            requests: VecDeque::new(),
            results: VecDeque::new(),
            next_request: 0,
        }
    }

    /// Appends go to these stripes alone, those of the appender's own core or node; fillers keep the others level.
    ///
    /// # Panics
    /// Without any.
    pub fn set_near(&mut self, stripes: Vec<usize>) {
        assert!(!stripes.is_empty() && stripes.iter().all(|stripe| *stripe < self.layout.stripes()), "{stripes:?}");
        self.appends.near = stripes;
    }

    /// Appends begin with another stripe for each appender: with the same one for all, that would be ahead of the others by what all have
    /// under way, again and again.
    pub fn begin_at(&mut self, turn: u64) {
        let near = &mut self.appends.near;
        let first = turn % near.len() as u64;
        near.rotate_left(first as usize);
    }

    /// How its offsets lie.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Everything below is filled on every stripe, by unsealed evidence (P1).
    pub fn known_tail(&self) -> Offset {
        self.filled
    }

    /// Appends that their stripes have not answered: those that are withheld are not among them.
    pub fn appends_under_way(&self) -> usize {
        self.appends.under_way()
    }

    pub(super) fn known_of(&self, stripe: usize) -> Offset {
        self.known[stripe]
    }

    /// Starts an operation, as [`crate::proto::loglet`] says.
    pub fn handle_op(&mut self, id: OpId, op: LogletOp, now: Instant) {
        self.now = now;
        match op {
            LogletOp::Append { records } => self.append(id, records),
            LogletOp::Subscribe { from, limit, credit } => self.subscribe(id, from, limit, credit),
            LogletOp::Credit { limit, bytes } => self.credit(id, limit, bytes),
            LogletOp::Unsubscribe => self.unsubscribe(id),
            LogletOp::CheckTail => self.gather(id, Question::Tail),
            LogletOp::Seal => {
                self.end_whole();
                self.gather(id, Question::Seal);
            }
            LogletOp::Trim { point, committed } => self.gather(id, Question::Trim { point, committed }),
            LogletOp::ReadNext { min, max, limit, bytes_max } => {
                self.gather(id, Question::Read { min, max, limit, bytes_max });
            }
            LogletOp::FillTo { offset } => self.gather(id, Question::Fill { offset }),
        }
        self.go_on();
    }

    /// Creates every stripe. Ends with `Done`, or with what the first stripe says that cannot be made.
    pub fn create(&mut self, id: OpId, now: Instant) {
        self.now = now;
        self.gather(id, Question::Create);
    }

    /// Deletes every stripe (P5). Ends with `Done`.
    pub fn delete(&mut self, id: OpId, chain_version: u64, live: Vec<LogletId>, now: Instant) {
        self.now = now;
        self.gather(id, Question::Delete { chain_version, live });
    }

    /// A stripe's answer to a request. A subscription has several.
    pub fn handle_result(&mut self, stripe: usize, id: OpId, result: LogletResult, now: Instant) {
        self.now = now;
        if let Some(at) = self.appends.position(stripe, id) {
            self.append_ended(stripe, at, result);
        } else if self.filler.is_asked(stripe, id) {
            self.fill_ended(stripe, result);
        } else if let Some(owner) = self.owners.get(&id).copied() {
            match self.subscriptions.contains_key(&owner) {
                true => self.stripe_brings(owner, stripe, result),
                false => self.answered(owner, stripe, id, result),
            }
        }
        self.go_on();
    }

    /// A stripe's known tail, which may have risen.
    pub fn handle_known_tail(&mut self, stripe: usize, known_tail: Offset, now: Instant) {
        if known_tail > self.known[stripe] {
            self.now = now;
            self.learn(stripe, known_tail);
            self.go_on();
        }
    }

    /// Notes how far a stripe is filled, by evidence that makes its known tail.
    pub(super) fn learn(&mut self, stripe: usize, known_tail: Offset) {
        self.known[stripe] = self.known[stripe].max(known_tail);
        self.filled = self.layout.tail(self.known.iter().copied());
    }

    /// The next request to a stripe.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// The next result.
    pub fn poll_result(&mut self) -> Option<(OpId, LogletResult)> {
        self.results.pop_front()
    }

    /// When to call [`StripedLoglet::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.fill_at().map(|at| (at, "striped loglet: a stripe holds others up"))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.go_on();
    }

    /// A stripe is sealed, or its sequencer lost: the whole ends with it (P6). The others are sealed, and what is withheld is settled by
    /// the chain's stop (P16).
    pub(super) fn end_whole(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        for stripe in 0..self.layout.stripes() {
            self.ask(stripe, Ask::Op(LogletOp::Seal));
        }
    }

    /// What can be told now is told, and who is waited for is asked.
    fn go_on(&mut self) {
        self.release_appends();
        self.merge_all();
        self.fill();
    }

    pub(super) fn ask(&mut self, stripe: usize, ask: Ask) -> OpId {
        self.next_request += 1;
        let id = OpId(self.next_request);
        self.requests.push_back(Request { stripe, id, ask });
        id
    }

    /// Tells a stripe's subscription something.
    pub(super) fn tell(&mut self, stripe: usize, id: OpId, op: LogletOp) {
        self.requests.push_back(Request { stripe, id, ask: Ask::Op(op) });
    }

    /// Asks all stripes that have something to do with it.
    fn gather(&mut self, id: OpId, question: Question) {
        let mut gathering = Gathering::new(question, self.layout.stripes());
        self.ask_all(id, &mut gathering);
        self.go_on_gathering(id, gathering);
    }

    fn ask_all(&mut self, id: OpId, gathering: &mut Gathering) {
        for stripe in 0..self.layout.stripes() {
            let Some(ask) = gathering.ask(stripe, self.layout) else { continue };
            let request = self.ask(stripe, ask);
            self.owners.insert(request, id);
            gathering.asked(stripe, request);
        }
    }

    fn answered(&mut self, id: OpId, stripe: usize, request: OpId, result: LogletResult) {
        self.owners.remove(&request);
        match &result {
            // Unsealed evidence, which the stripe's known tail need not tell before (P1).
            LogletResult::Tail { tail, sealed: false } => self.learn(stripe, *tail),
            LogletResult::Filled { known_tail, .. } => self.learn(stripe, *known_tail),
            LogletResult::Tail { tail, sealed: true } if mutants::is(Mutant::StripedFilledBySealedTail) => {
                self.learn(stripe, *tail);
            }
            _ => {}
        }
        let mut gathering = self.operations.remove(&id).expect("requests are forgotten with their operation");
        gathering.answer(stripe, result);
        self.go_on_gathering(id, gathering);
    }

    /// What has not been answered is not waited for any more.
    fn forget(&mut self, gathering: &Gathering) {
        for request in gathering.requests() {
            self.owners.remove(&request);
        }
    }

    fn go_on_gathering(&mut self, id: OpId, mut gathering: Gathering) {
        loop {
            if gathering.finds_the_end() {
                self.end_whole();
            }
            if let Some(next) = gathering.next_question() {
                self.forget(&gathering);
                gathering = Gathering::new(next, self.layout.stripes());
                self.ask_all(id, &mut gathering);
                continue;
            }
            let Some(result) = gathering.conclude(self.layout, self.filled) else {
                self.operations.insert(id, gathering);
                return;
            };
            self.forget(&gathering);
            return self.results.push_back((id, result));
        }
    }
}
