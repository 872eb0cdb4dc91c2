//! What clients asked and what they got, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};

use super::world::LOG;
use crate::base::{RegisterId, Version};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, OpId, Versioned};
use crate::wire::Decision;

/// What may be broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Rule {
    /// Two values were decided, told or read for one version.
    OneValue,
    /// A read, or a conflict with the newest version, missed what had been read or written before it began.
    Stale,
    /// A client was told an older version than before.
    WentBack,
    /// A write was told to be written, and another value is decided; or a value that was told not to be written is.
    WrongOutcome,
    /// A value was decided that nobody asked for on that condition.
    Invented,
    /// A core's own assertion.
    Assertion,
}

impl Rule {
    pub(super) const ALL: &[Self] =
        &[Self::OneValue, Self::Stale, Self::WentBack, Self::WrongOutcome, Self::Invented, Self::Assertion];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::OneValue => "one value for each version",
            Self::Stale => "reads are linearizable",
            Self::WentBack => "versions never go back",
            Self::WrongOutcome => "outcomes are what is decided",
            Self::Invented => "what is decided was asked for",
            Self::Assertion => "no assertion fails",
        }
    }
}

/// An operation that has begun.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Asked {
    client: usize,
    register: RegisterId,
    /// What it would write, and as which version.
    write: Option<(Version, Vec<u8>)>,
    /// The highest version that anybody had been told when it began.
    at_least: Version,
    ended: bool,
}

/// Operations, what they returned, and what was decided.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct History {
    asked: BTreeMap<OpId, Asked>,
    /// By register and version, as any acceptor or proposer holds it.
    decisions: BTreeMap<(RegisterId, Version), Decision>,
    /// The highest version that anybody has been told.
    told: BTreeMap<RegisterId, Version>,
    /// The highest version that each client has been told.
    seen: BTreeMap<(usize, RegisterId), Version>,
    /// Versions and values that were told to be written, and those that were told not to be.
    written: BTreeSet<(RegisterId, Version, Vec<u8>)>,
    unwritten: BTreeSet<(RegisterId, Version, Vec<u8>)>,
    /// What every register begins with.
    birth: Option<Decision>,
    /// Rules that have been broken.
    pub(super) broken: BTreeSet<Rule>,
    /// How the operations have ended.
    pub(super) endings: BTreeMap<&'static str, u32>,
}

impl History {
    pub(super) fn born(&mut self, birth: &Decision) {
        self.birth = Some(birth.clone());
    }

    pub(super) fn begin(&mut self, client: usize, id: OpId, op: &MetaStoreOp) {
        let register = op.register();
        let write = match op {
            MetaStoreOp::Read { .. } | MetaStoreOp::Prepare { .. } => None,
            MetaStoreOp::Write { expected, value, .. } => Some((expected.next(), value.clone())),
        };
        let at_least = self.told.get(&register).copied().unwrap_or_default();
        let before = self.asked.insert(id, Asked { client, register, write, at_least, ended: false });
        assert!(before.is_none(), "every operation has a number of its own");
    }

    /// The client is gone, and so is what it has been told.
    pub(super) fn abandon(&mut self, client: usize) {
        self.asked.values_mut().filter(|asked| asked.client == client).for_each(|asked| asked.ended = true);
        self.seen.retain(|(of, _), _| *of != client);
    }

    /// Whether the client has an operation under way.
    pub(super) fn is_busy(&self, client: usize) -> bool {
        self.asked.values().any(|asked| asked.client == client && !asked.ended)
    }

    /// The highest version that the client has been told.
    pub(super) fn seen(&self, client: usize, register: RegisterId) -> Version {
        self.seen.get(&(client, register)).copied().unwrap_or_default()
    }

    /// The highest version decided.
    pub(super) fn newest(&self, register: RegisterId) -> Version {
        self.decisions.keys().filter(|(of, _)| *of == register).map(|(_, version)| *version).max().unwrap_or_default()
    }

    /// Somebody holds this for decided.
    pub(super) fn decided(&mut self, register: RegisterId, decision: &Decision) {
        match self.decisions.get(&(register, decision.version)) {
            Some(known) if known != decision => drop(self.broken.insert(Rule::OneValue)),
            Some(_) => {}
            None => {
                self.decisions.insert((register, decision.version), decision.clone());
                self.check_decision(register, decision);
            }
        }
    }

    fn check_decision(&mut self, register: RegisterId, decision: &Decision) {
        let fact = (register, decision.version, decision.value.clone());
        if decision.version == Version::BIRTH {
            if self.birth.as_ref() != Some(decision) {
                self.broken.insert(Rule::Invented);
            }
            return;
        }
        let wanted = |asked: &Asked| {
            asked.register == register
                && asked.write.as_ref().is_some_and(|(version, value)| (*version, value) == (fact.1, &fact.2))
        };
        if !self.asked.values().any(wanted) {
            self.broken.insert(Rule::Invented);
        }
        let other = self
            .written
            .iter()
            .any(|(of, version, value)| (*of, *version) == (register, decision.version) && *value != decision.value);
        if other || self.unwritten.contains(&fact) {
            self.broken.insert(Rule::WrongOutcome);
        }
    }

    pub(super) fn end(&mut self, id: OpId, result: &MetaStoreResult) {
        let Some(asked) = self.asked.get_mut(&id) else { return };
        assert!(!asked.ended, "an operation has one result");
        asked.ended = true;
        let Asked { client, register, write, at_least, .. } = asked.clone();
        let (ending, version) = match result {
            MetaStoreResult::Value(current) => {
                if current.version < at_least {
                    self.broken.insert(Rule::Stale);
                }
                self.told(register, current);
                ("read", Some(current.version))
            }
            MetaStoreResult::Prepared => ("prepared", None),
            MetaStoreResult::Written { version, .. } => {
                let (own, value) = write.clone().expect("only a write is written");
                if own != *version || own <= at_least {
                    self.broken.insert(Rule::WrongOutcome);
                }
                let decided = self.decisions.get(&(register, own));
                if decided.is_some_and(|decision| decision.value != value) {
                    self.broken.insert(Rule::WrongOutcome);
                }
                self.written.insert((register, own, value));
                ("written", Some(*version))
            }
            MetaStoreResult::Conflict(current) => {
                let (own, _) = write.clone().expect("only a write conflicts");
                // A version that is not there yet: what came back is the newest one.
                if current.version.next() == own || (current.version < own && current.version < at_least) {
                    self.broken.insert(Rule::Stale);
                }
                self.told(register, current);
                ("conflict", Some(current.version))
            }
            MetaStoreResult::Unknown => ("unknown", None),
            MetaStoreResult::Unavailable { .. } => ("unavailable", None),
            MetaStoreResult::TooLarge { .. } | MetaStoreResult::InvalidMembers | MetaStoreResult::UnknownRegister => {
                ("refused", None)
            }
        };
        *self.endings.entry(ending).or_default() += 1;
        if let (Some((own, value)), false) = (write, matches!(ending, "written" | "unknown")) {
            let decided = self.decisions.get(&(register, own));
            if decided.is_some_and(|decision| decision.value == value) {
                self.broken.insert(Rule::WrongOutcome);
            }
            self.unwritten.insert((register, own, value));
        }
        if let Some(version) = version {
            if version < self.seen(client, register) {
                self.broken.insert(Rule::WentBack);
            }
            self.seen.insert((client, register), version);
            let told = self.told.entry(register).or_default();
            *told = version.max(*told);
        }
    }

    /// Somebody was told this version.
    fn told(&mut self, register: RegisterId, current: &Versioned) {
        let Versioned { version, members, value } = current;
        let known = self.decisions.get(&(register, *version));
        if known.is_some_and(|known| (&known.members, &known.value) != (members, value)) {
            self.broken.insert(Rule::OneValue);
        }
    }

    /// For failure messages.
    pub(super) fn summary(&self) -> String {
        format!("broken {:?}, ended {:?}, newest {}", self.broken, self.endings, self.newest(LOG))
    }
}
