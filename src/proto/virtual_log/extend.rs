use std::collections::BTreeMap;
use std::fmt;

use super::chain::{Chain, Refusal};
use super::intent::{Intent, Wanted, WantedStripe};
use super::spec::LogletSpec;
use crate::base::mutants::{self, Mutant};
use crate::base::{Incarnation, IntentId, LogletId, NodeId, Offset};
use crate::wire::{Member, Sequencer};

/// What somebody wants to put in the place of the last loglet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Wish {
    /// The loglet that is to be replaced. The wish is void once that is not the last one (L7).
    pub replaces: LogletId,
    /// The configuration wanted.
    pub wanted: Wanted,
    /// Written into the chain before anything is sealed, so that somebody else finishes what its writer cannot (P15).
    pub intent: Option<Intent>,
}

/// A node, as its hello tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Host {
    /// Where it listens.
    pub member: Member,
    /// The present life of its process (P4).
    pub incarnation: Incarnation,
}

/// What is to be done next. Each step has one answer, and the next step follows from it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Ask these nodes, which are to sequence one stripe or several, which lives of them these are (P15); each answers by
    /// [`Extend::handle_host`], in any order.
    Ask(Vec<NodeId>),
    /// Create this loglet on a majority of its LogServers, and activate its sequencer, each stripe of it; [`Extend::handle_prepared`].
    Prepare(LogletSpec),
    /// Write this chain on the condition that the version before it is the newest; [`Extend::handle_written`].
    Write(Chain),
    /// Seal the loglet; [`Extend::handle_sealed`].
    Seal(LogletSpec),
    /// Find the tail of the sealed loglet; [`Extend::handle_tail`].
    CheckTail(LogletSpec),
    /// Read the chain; [`Extend::handle_fetched`].
    Fetch,
}

impl fmt::Display for Step {
    /// What is being done, as an error tells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(nodes) => {
                let nodes: Vec<_> = nodes.iter().map(NodeId::to_string).collect();
                write!(f, "asking for the present lives of nodes {}", nodes.join(", "))
            }
            Self::Prepare(loglet) => write!(f, "making loglet {}", loglet.id()),
            Self::Write(chain) => write!(f, "writing version {} of the chain", chain.version),
            Self::Seal(loglet) => write!(f, "sealing loglet {}", loglet.id()),
            Self::CheckTail(loglet) => write!(f, "finding the tail of loglet {}", loglet.id()),
            Self::Fetch => f.write_str("reading the chain"),
        }
    }
}

/// How a conditional write of the chain has ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Written {
    /// It is the newest version.
    Done,
    /// Another chain is, of this or a newer version.
    Conflict(Chain),
    /// Nobody knows.
    Unknown,
}

/// The end of an attempt.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// The loglet has been replaced as wished; this is the chain.
    Extended(Chain),
    /// Somebody else has replaced it.
    Overtaken(Chain),
    /// Another reconfiguration was written down first, and is to be finished before (P15).
    Pending(Intent),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum State {
    Intending,
    Asking,
    Preparing,
    Sealing,
    Tailing,
    Writing,
    Fetching,
    Over(Outcome),
}

/// One attempt to end the last loglet of a chain and put another behind it (Delos OSDI'20, section 3.3), without sockets or clock.
///
/// The new loglet is prepared first, so that the log stands still only for a seal, a checkTail and a conditional write. Any number of
/// clients may attempt it at once, and any of them may die between two steps: nothing before the last write can be seen by a
/// user of the log, except that appends wait, and whoever comes next finds the loglet sealed and does the same.
///
/// A step that fails has no answer: the attempt is dropped and another one made, with other nodes if need be.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Extend {
    chain: Chain,
    replaces: LogletId,
    wanted: Wanted,
    /// Our own, written or about to be.
    own: Option<Intent>,
    /// The intent that the new segment fulfils.
    fulfils: Option<IntentId>,
    /// Drawn by the caller, so that two attempts never make the same loglet.
    nonce: u64,
    /// Those that have said which lives these are.
    hosts: BTreeMap<NodeId, Host>,
    /// Made for the version after this chain's, so that what is deleted on the way does not take it along (P5).
    prepared: Option<LogletSpec>,
    /// Begun by an attempt that came to nothing, and as good as a new one where the same is wanted.
    spare: Option<LogletSpec>,
    /// Made for versions that others have written, or otherwise than it is wanted now.
    in_vain: Vec<LogletSpec>,
    tail: Option<Offset>,
    /// The chain has been read again because a loglet was gone.
    read_again: bool,
    state: State,
}

impl Extend {
    /// An attempt on the newest chain that is known. `nonce` is random.
    pub fn new(chain: Chain, wish: Wish, nonce: u64) -> Self {
        let Wish { replaces, wanted, intent } = wish;
        let mut extend = Self {
            chain,
            replaces,
            wanted,
            own: intent,
            fulfils: None,
            nonce,
            hosts: BTreeMap::new(),
            prepared: None,
            spare: None,
            in_vain: Vec::new(),
            tail: None,
            read_again: false,
            state: State::Asking,
        };
        extend.look();
        extend
    }

    /// With what an attempt before has made, or begun to: where nobody can be reached for long, or nothing can be written, attempts follow one
    /// another, and would leave a loglet each.
    pub fn with_spare(mut self, spare: Option<LogletSpec>) -> Self {
        self.spare = spare;
        self.give_up_spare();
        self
    }

    /// What is to be done now; none when it is over.
    pub fn step(&self) -> Option<Step> {
        Some(match &self.state {
            State::Intending => {
                let intent = self.own.clone().expect("an intent is to be written");
                Step::Write(self.chain.intending(intent).expect("looked at before"))
            }
            State::Asking => Step::Ask(self.unasked()),
            State::Preparing => Step::Prepare(self.new_loglet().clone()),
            State::Sealing => Step::Seal(self.chain.last().loglet.clone()),
            State::Tailing => Step::CheckTail(self.chain.last().loglet.clone()),
            State::Writing => Step::Write(self.extended()),
            State::Fetching => Step::Fetch,
            State::Over(_) => return None,
        })
    }

    /// How it has ended.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            State::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// The loglets that have been made and are not in the chain. Once it is over nobody will put them there: they are to be deleted.
    pub fn left_over(&self) -> impl Iterator<Item = &LogletSpec> {
        let made = self.in_vain.iter().chain(&self.prepared).chain(&self.spare);
        made.filter(|loglet| self.chain.segment_of(loglet.id()).is_none())
    }

    /// The attempt is dropped: the loglet that another one may put into the chain, and those that nobody will.
    pub fn into_made(self) -> (Option<LogletSpec>, Vec<LogletSpec>) {
        (self.prepared.or(self.spare), self.in_vain)
    }

    /// The loglets of which a majority of LogServers is needed: there is no point in making one before these can be reached.
    pub fn needs(&self) -> impl Iterator<Item = &[Member]> {
        let old = self.chain.last().loglet.stripes().iter().map(|stripe| &stripe.log_servers[..]);
        let new = self.wanted.stripes().iter().map(|stripe| &stripe.log_servers[..]);
        new.chain(old.filter(|_| self.tail.is_none()))
    }

    /// The node has said which life of it this is.
    pub fn handle_host(&mut self, host: Host) {
        assert_eq!(self.state, State::Asking, "nobody was asked");
        assert!(self.wanted.sequencers().contains(&host.member.node), "who is to be a sequencer has answered");
        self.hosts.insert(host.member.node, host);
        if self.unasked().is_empty() {
            let new = self.mint();
            let spare = self.spare.take_if(|spare| is_same_but_named(spare, &new));
            self.in_vain.extend(self.spare.take());
            self.prepared = Some(spare.unwrap_or(new));
            self.state = State::Preparing;
        }
    }

    /// The new loglet is on a majority of its LogServers, and its sequencer runs.
    pub fn handle_prepared(&mut self) {
        assert_eq!(self.state, State::Preparing, "nothing was to be prepared");
        // Somebody's intent may have come to be known only after the tail.
        self.state = match self.tail {
            Some(_) => State::Writing,
            None if mutants::is(Mutant::InstallWithoutSeal) => State::Tailing,
            None => State::Sealing,
        };
    }

    /// The new loglet cannot be made; another one perhaps can.
    pub fn give_up_prepared(&mut self) {
        assert_eq!(self.state, State::Preparing, "nothing was to be prepared");
        self.in_vain.extend(self.prepared.take());
    }

    /// A majority of LogServers is sealed.
    pub fn handle_sealed(&mut self) {
        assert_eq!(self.state, State::Sealing, "nothing was to be sealed");
        self.state = State::Tailing;
    }

    /// The loglet that was asked is gone, or was before it could be made: there is a newer chain, which does not name it (P5). False: that has
    /// been read already, and it was no help.
    pub fn handle_gone(&mut self) -> bool {
        assert!(matches!(self.state, State::Preparing | State::Sealing | State::Tailing), "no loglet was asked");
        if std::mem::replace(&mut self.read_again, true) {
            return false;
        }
        if self.state == State::Preparing {
            self.in_vain.extend(self.prepared.take());
        }
        self.state = State::Fetching;
        true
    }

    /// The tail of the sealed loglet. It stays the same for this attempt, whatever others find: the first chain that is written decides.
    pub fn handle_tail(&mut self, tail: Offset) {
        assert_eq!(self.state, State::Tailing, "nobody asked for a tail");
        self.tail = Some(tail);
        self.state = State::Writing;
    }

    /// The write has ended.
    pub fn handle_written(&mut self, written: Written) {
        match written {
            Written::Unknown => self.state = State::Fetching,
            Written::Conflict(chain) => self.learn(chain),
            Written::Done => {
                let chain = match &self.state {
                    State::Intending => {
                        let intent = self.own.clone().expect("it has been written");
                        self.chain.intending(intent).expect("it has been written")
                    }
                    State::Writing => self.extended(),
                    other => panic!("nothing was to be written: {other:?}"),
                };
                self.learn(chain);
            }
        }
    }

    /// The newest chain.
    pub fn handle_fetched(&mut self, chain: Chain) {
        assert_eq!(self.state, State::Fetching, "nothing was to be fetched");
        self.learn(chain);
    }

    fn learn(&mut self, chain: Chain) {
        // A conflict may tell of a version that is older than what has been read meanwhile.
        if chain.version >= self.chain.version {
            self.chain = chain;
        }
        self.look();
    }

    /// Goes on from the chain as it is now. A tail that has been found stays good as long as the same loglet is the last one (P15).
    fn look(&mut self) {
        let own = self.own.as_ref().map(|intent| intent.id);
        if self.chain.last().loglet.id() != self.replaces {
            let fulfilled = own.is_some_and(|id| self.chain.has_fulfilled(id));
            let is_ours = |loglet: &LogletSpec| self.chain.segment_of(loglet.id()).is_some();
            let won = fulfilled || self.prepared.as_ref().is_some_and(is_ours);
            let chain = self.chain.clone();
            self.state = State::Over(if won { Outcome::Extended(chain) } else { Outcome::Overtaken(chain) });
            return;
        }
        match &self.chain.intent {
            Some(pending) if Some(pending.id) == own => self.fulfils = own,
            // Two wishes written down at once: the second one waits.
            Some(pending) if own.is_some() => {
                self.state = State::Over(Outcome::Pending(pending.clone()));
                return;
            }
            // Who has no wish of his own that is written down carries out what is.
            Some(pending) if self.fulfils != Some(pending.id) => {
                self.fulfils = Some(pending.id);
                self.wanted = pending.wanted.clone();
            }
            Some(_) => {}
            None if own.is_some() && self.fulfils != own => {
                self.state = State::Intending;
                return;
            }
            // It has been given up by somebody, who could not carry it out. What is wanted is as good as anything.
            None => self.fulfils = None,
        }
        let version = self.chain.version + 1;
        self.in_vain.extend(self.prepared.take_if(|loglet| loglet.id().version != version));
        self.give_up_spare();
        // Who has answered before may have begun another life meanwhile.
        self.hosts.clear();
        self.state = match (&self.prepared, self.tail) {
            (None, _) => State::Asking,
            (Some(_), None) => State::Sealing,
            (Some(_), Some(_)) => State::Writing,
        };
    }

    fn give_up_spare(&mut self) {
        let version = self.chain.version + 1;
        self.in_vain.extend(self.spare.take_if(|loglet| loglet.id().version != version));
    }

    fn new_loglet(&self) -> &LogletSpec {
        self.prepared.as_ref().expect("made from what the hosts said")
    }

    fn extended(&self) -> Chain {
        let tail = self.tail.expect("found before");
        let next = self.chain.extended(self.replaces, tail, self.new_loglet().clone(), self.fulfils);
        let next = next.unwrap_or_else(|refusal: Refusal| panic!("looked at before: {refusal}"));
        // Also of a wish of one's own that somebody has given up: what is wanted is carried out all the same.
        let fulfilled = self.own.as_ref().or(self.chain.intent.as_ref().filter(|_| self.fulfils.is_some()));
        Chain { stripes: fulfilled.and_then(|intent| intent.stripes).or(next.stripes), ..next }
    }

    /// The nodes that are still to say which lives these are, each once however many stripes it is to sequence.
    fn unasked(&self) -> Vec<NodeId> {
        self.wanted.sequencers().into_iter().filter(|node| !self.hosts.contains_key(node)).collect()
    }

    /// A loglet that was never made before: the nonce is of this attempt, which makes one for each version at most.
    fn mint(&self) -> LogletSpec {
        let id = LogletId { log: self.replaces.log, version: self.chain.version + 1, nonce: self.nonce };
        let stripe = |WantedStripe { sequencer, log_servers }: &WantedStripe| {
            let Host { member: Member { node, address }, incarnation } = self.hosts[&sequencer.node];
            (Sequencer { node, incarnation, address }, log_servers.clone())
        };
        LogletSpec::new(id, self.wanted.stripes().iter().map(stripe))
    }
}

fn is_same_but_named(one: &LogletSpec, other: &LogletSpec) -> bool {
    let stripes = |loglet: &LogletSpec| {
        loglet.stripes().iter().map(|stripe| (stripe.sequencer, stripe.log_servers.clone())).collect::<Vec<_>>()
    };
    stripes(one) == stripes(other)
}
