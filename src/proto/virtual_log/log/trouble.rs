use std::time::Duration;

use super::super::contract::LogResult;
use super::super::intent::Wanted;
use super::super::rotation::{Seat, rotate};
use super::machine::{Kind, Purpose, VirtualLog};
use crate::base::{Instant, LogletId};
use crate::proto::loglet::OpId;
use crate::proto::metastore::contract::MetaStoreResult;
use crate::wire::{LogletConfig, Member, Sequencer};

/// The first pause between two reads of a chain that somebody else should be changing: what follows a seal takes one or two of these, and
/// appends wait for as long as it is not seen. Every second pause is twice as long as the one before.
const READ_PAUSE: Duration = Duration::from_millis(1);
const READ_DOUBLINGS_MAX: u32 = 7;
/// Whoever has sealed the loglet is about to put another behind it, and is waited for: that takes a few milliseconds, and on a busy disk
/// more than 25 once in a hundred times. Both at it is safe, but one of them works for nothing, and finds itself overtaken.
const SEALED_DELAY: Duration = Duration::from_millis(50);
/// Nobody needs to be at it when the sequencer was lost.
const LOST_DELAY: Duration = Duration::from_millis(5);
/// Pause before another try, and before candidates are looked at again.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// The delay before acting doubles with each extend of this client, and halves with each time of this length that passes without one
/// (L7): loglets that end as soon as they begin are replaced about once in it, and a single loss is answered at once.
const CALM: Duration = Duration::from_secs(1);
const DOUBLINGS_MAX: u32 = 7;

/// What shows that a loglet takes no appends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Sign {
    /// It says so.
    Sealed,
    /// Its sequencer cannot be reached, or has given it up.
    SequencerLost,
}

/// The last loglet takes no appends.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Trouble {
    /// Which loglet.
    pub loglet: LogletId,
    /// Since when this client knows.
    pub since: Instant,
    /// Whether it is sealed; otherwise its sequencer is lost.
    pub sealed: bool,
    /// Why the last try to replace it, or to read the chain, has failed.
    pub failure: Option<String>,
    read_at: Instant,
    reads: u32,
    /// When this client puts another loglet behind it, if nobody has done so before.
    act_at: Instant,
}

impl Trouble {
    /// When something is to be done about it; while an extend is under way that is only to look whether somebody else was faster.
    pub(super) fn next(&self, is_attempted: bool) -> Instant {
        if is_attempted { self.read_at } else { self.read_at.min(self.act_at) }
    }
}

/// How often this client has replaced loglets of late.
#[derive(Clone, Hash, Debug, Default)]
pub(super) struct Haste {
    /// How often the delay was doubled when the last extend had ended.
    doublings: u32,
    last: Option<Instant>,
    /// The loglet whose sequencer was tried again although it seemed lost.
    forgiven: Option<LogletId>,
}

impl Haste {
    /// How often the delay is doubled now.
    fn at(&self, now: Instant) -> u32 {
        let calm = self.last.map_or(0, |last| now.since(last).as_nanos() / CALM.as_nanos());
        self.doublings.saturating_sub(u32::try_from(calm).unwrap_or(u32::MAX))
    }
}

/// Why the MetaStore has not done what it was asked.
pub(super) fn reason(result: MetaStoreResult) -> String {
    match result {
        MetaStoreResult::Unavailable { reason } => format!("the MetaStore: {reason}"),
        MetaStoreResult::Unknown => "the MetaStore: a write has an unknown end".to_owned(),
        MetaStoreResult::TooLarge { limit, value } => {
            format!("the chain of {} bytes is larger than the MetaStore takes ({limit}): trim the log", value.len())
        }
        MetaStoreResult::UnknownRegister => "the MetaStore does not know the log's register".to_owned(),
        other => format!("the MetaStore answered with something else: {other:?}"),
    }
}

impl VirtualLog {
    /// A loglet has shown that it takes no appends.
    pub(super) fn suspect(&mut self, loglet: LogletId, sign: Sign) {
        if self.deleted || self.chain.as_ref().is_none_or(|chain| chain.last().loglet.id() != loglet) {
            return;
        }
        if let Some(trouble) = &mut self.trouble {
            trouble.sealed |= sign == Sign::Sealed;
            return;
        }
        let delay = match sign {
            Sign::Sealed => SEALED_DELAY,
            Sign::SequencerLost => LOST_DELAY,
        };
        let now = self.now;
        let act_at = now + self.delay(delay);
        let sealed = sign == Sign::Sealed;
        let trouble =
            Trouble { loglet, since: now, sealed, failure: None, read_at: now + READ_PAUSE, reads: 0, act_at };
        self.trouble = Some(trouble);
        self.read_chain();
    }

    /// A loglet of the chain has been deleted: the chain is an old one.
    pub(super) fn suspect_gone(&mut self, loglet: LogletId) {
        self.suspect(loglet, Sign::Sealed);
        if self.trouble.is_none() {
            let soon = self.now + READ_PAUSE;
            self.look_at = Some(self.look_at.map_or(soon, |at| at.min(soon)));
        }
    }

    /// Random between once and twice this, and longer after each extend in short succession (L7).
    fn delay(&mut self, base: Duration) -> Duration {
        let base = base * (1 << self.haste.at(self.now));
        base + Duration::from_nanos(self.random(base.as_nanos() as u64))
    }

    pub(super) fn note_extend(&mut self) {
        self.haste.doublings = (self.haste.at(self.now) + 1).min(DOUBLINGS_MAX);
        self.haste.last = Some(self.now);
    }

    pub(super) fn read_chain(&mut self) {
        if !self.is_asked(Purpose::Chain) {
            self.ask_metastore(Purpose::Chain, None);
        }
    }

    pub(super) fn chain_read(&mut self, result: MetaStoreResult) {
        let learned = match result {
            MetaStoreResult::Value(newest) | MetaStoreResult::Conflict(newest) => self.learn(newest),
            // An intent that could not be carried out is gone.
            MetaStoreResult::Written { .. } | MetaStoreResult::Unknown => return self.read_chain(),
            other => Err(reason(other)),
        };
        let asked = self.operations.iter().filter(|(_, operation)| matches!(operation.kind, Kind::Chain));
        let asked: Vec<OpId> = asked.map(|(id, _)| *id).collect();
        for id in asked {
            self.end(
                id,
                match (&learned, &self.chain) {
                    (Ok(()), Some(chain)) => LogResult::Chain(Box::new(chain.clone())),
                    (Err(reason), _) => LogResult::Unavailable { reason: reason.clone() },
                    (Ok(()), None) => unreachable!("it has just been learned"),
                },
            );
        }
        if self.deleted {
            return;
        }
        let Err(reason) = learned else {
            // Who follows a log that stands still looks again (L5).
            if !self.subscriptions.is_empty() {
                self.look_at.get_or_insert(self.now + self.limits.stall);
            }
            return;
        };
        match &mut self.trouble {
            Some(trouble) => trouble.failure = Some(reason),
            None if self.chain.is_none() => {
                // Said at once, and not only after a timeout: nobody may ever write it.
                let waiting = self.operations.iter().filter(|(_, operation)| !operation.busy);
                let waiting: Vec<OpId> = waiting.map(|(id, _)| *id).collect();
                for id in waiting {
                    self.end(id, LogResult::Unavailable { reason: reason.clone() });
                }
            }
            None => {}
        }
        if self.chain.is_none() && (self.appends.are_held() || !self.subscriptions.is_empty()) {
            self.look_at.get_or_insert(self.now + RETRY_DELAY);
        }
    }

    /// Reads the chain again while somebody else should be changing it.
    pub(super) fn look_around(&mut self) {
        let now = self.now;
        let Some(trouble) = self.trouble.as_mut().filter(|trouble| trouble.read_at <= now) else { return };
        trouble.reads += 1;
        trouble.read_at = now + READ_PAUSE * (1 << (trouble.reads / 2).min(READ_DOUBLINGS_MAX));
        self.read_chain();
    }

    /// Puts another loglet behind the last one, when it is time and nobody has.
    pub(super) fn act(&mut self) {
        let now = self.now;
        let is_due = self.trouble.as_ref().is_some_and(|trouble| trouble.act_at <= now);
        if !is_due || self.attempt.is_some() {
            return;
        }
        let (loglet, sealed) = {
            let trouble = self.trouble.as_mut().expect("looked at above");
            trouble.act_at = now + RETRY_DELAY;
            (trouble.loglet, trouble.sealed)
        };
        let lives = self.last().loglet.sequencers().all(|sequencer| self.lives(sequencer));
        // A connection may be lost although its other end is well. One more try tells (L7).
        if !sealed && lives && self.haste.forgiven != Some(loglet) {
            self.haste.forgiven = Some(loglet);
            self.trouble = None;
            return self.go_on_all();
        }
        self.roll_forward();
    }

    /// Whether a sequencer's node answers, in the life that sequences.
    fn lives(&self, sequencer: Sequencer) -> bool {
        self.hosts.get(&sequencer.node).is_some_and(|host| host.incarnation == sequencer.incarnation)
    }

    /// A clone of the last loglet, whose stripes are sequenced by nodes that answer: the present ones if the loglet was sealed for another
    /// reason than the loss of one, else any other one before it, those that sequence the fewest first. None if some stripe has nobody.
    pub(super) fn clone_wanted(&self) -> Option<Wanted> {
        let loglet = &self.last().loglet;
        let lost = self.trouble.as_ref().is_some_and(|trouble| !trouble.sealed);
        // Where all of them seem to be well, nobody knows which one was lost.
        let all_live = loglet.sequencers().all(|sequencer| self.lives(sequencer));
        let answers = |member: &Member| self.hosts.contains_key(&member.node);
        let seat = |stripe: &LogletConfig| {
            let present = stripe.sequencer.member();
            let accused = lost && (all_live || !self.lives(stripe.sequencer));
            let place = stripe.log_servers.iter().position(|member| member.node == present.node).unwrap_or(0);
            let (before, from) = stripe.log_servers.split_at(place);
            let others = from.iter().chain(before).copied().filter(|member| member.node != present.node).collect();
            Seat { kept: Some(present).filter(|present| !accused && answers(present)), others, last: Some(present) }
        };
        let seats: Vec<Seat> = loglet.stripes().iter().map(seat).collect();
        Some(Wanted::like(loglet, rotate(&seats, answers)?))
    }

    /// The nodes that are to be connected with, so that it is known who answers.
    pub fn wanted_hosts(&self) -> Vec<Member> {
        let wishes = self.operations.values().filter_map(|operation| match &operation.kind {
            Kind::Extend(op) => Some(&op.wanted),
            _ => None,
        });
        let wished: Vec<_> = wishes.collect();
        let Some(chain) =
            self.chain.as_ref().filter(|_| self.trouble.is_some() || self.attempt.is_some() || !wished.is_empty())
        else {
            return Vec::new();
        };
        let loglet = &chain.last().loglet;
        let sequencers = loglet.sequencers().map(|sequencer| sequencer.member());
        let wanted = wished.into_iter().flatten().chain(chain.intent.as_ref().map(|intent| &intent.wanted));
        let wanted = wanted.flat_map(Wanted::members);
        let mut hosts: Vec<Member> = loglet.log_servers().chain(wanted).chain(sequencers).collect();
        hosts.sort_unstable_by_key(|member| member.node);
        hosts.dedup_by_key(|member| member.node);
        hosts
    }

    /// For people: what an operation waits for.
    pub(super) fn why(&self) -> String {
        let Some(trouble) = &self.trouble else {
            let no_chain = "the log's chain could not be read in time";
            return if self.chain.is_none() { no_chain } else { "it took too long" }.to_owned();
        };
        let what = if trouble.sealed { "is sealed" } else { "has lost its sequencer" };
        let since = self.now.since(trouble.since).as_millis();
        let why = trouble.failure.as_deref().unwrap_or("nobody has put another one behind it");
        format!("loglet {} {what} since {since} ms, and {why}", trouble.loglet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haste_grows_with_extends_and_is_forgotten_in_calm_times() {
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let mut haste = Haste::default();
        assert_eq!(haste.at(at(0)), 0);
        haste.doublings = 5;
        haste.last = Some(at(1000));
        assert_eq!([1000, 1999, 2000, 4500, 6000, 99_000].map(|ms| haste.at(at(ms))), [5, 5, 4, 2, 0, 0]);
    }
}
