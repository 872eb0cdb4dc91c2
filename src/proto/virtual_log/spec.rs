use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::{LogletId, NodeId};
use crate::proto::striped::Layout;
use crate::wire::{LogletConfig, Member, Sequencer};

/// The loglet of a chain segment. Written as JSON, so that an operator can read it: a native one as its configuration.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogletSpec {
    /// A NativeLoglet.
    Native(LogletConfig),
    /// A StripedLoglet over some of them.
    Striped(StripedConfig),
}

/// The static configuration of a StripedLoglet. Sequencers and LogServers know its stripes and nothing of the whole.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripedConfig {
    /// The loglet.
    pub id: LogletId,
    /// What it is made of, two or more; each is named after the whole ([`LogletId::stripe`]).
    pub stripes: Vec<LogletConfig>,
}

impl LogletSpec {
    /// A loglet over as many stripes as there are sequencers with their LogServers: a native one over one.
    ///
    /// # Panics
    /// Of none, or more than [`Layout::STRIPES_MAX`].
    pub fn new(id: LogletId, stripes: impl IntoIterator<Item = (Sequencer, Vec<Member>)>) -> Self {
        let named = |(stripe, (sequencer, log_servers))| LogletConfig { id: id.stripe(stripe), sequencer, log_servers };
        let mut stripes: Vec<LogletConfig> = stripes.into_iter().enumerate().map(named).collect();
        assert!((1..=Layout::STRIPES_MAX).contains(&stripes.len()), "a loglet of {} stripes", stripes.len());
        match stripes.len() {
            1 => Self::Native(LogletConfig { id, ..stripes.remove(0) }),
            _ => Self::Striped(StripedConfig { id, stripes }),
        }
    }

    /// Its name in the chain.
    pub fn id(&self) -> LogletId {
        match self {
            Self::Native(config) => config.id,
            Self::Striped(config) => config.id,
        }
    }

    /// What its sequencers and LogServers know; a native one is its own only stripe.
    pub fn stripes(&self) -> &[LogletConfig] {
        match self {
            Self::Native(config) => std::slice::from_ref(config),
            Self::Striped(config) => &config.stripes,
        }
    }

    pub(super) fn stripe_mut(&mut self, stripe: usize) -> &mut LogletConfig {
        match self {
            Self::Native(config) => std::slice::from_mut(config).get_mut(stripe),
            Self::Striped(config) => config.stripes.get_mut(stripe),
        }
        .expect("one of its stripes")
    }

    /// The first stripe: of a native one, all there is.
    pub fn first(&self) -> &LogletConfig {
        self.stripes().first().expect("a loglet has stripes")
    }

    /// How its offsets lie on the stripes.
    pub fn layout(&self) -> Layout {
        Layout::new(self.stripes().len())
    }

    /// Which stripe a sequencer or LogServer knows by this name.
    pub fn stripe_of(&self, id: LogletId) -> Option<usize> {
        self.stripes().iter().position(|stripe| stripe.id == id)
    }

    /// All names that are used up by it: its own, and those of its stripes.
    pub fn names(&self) -> impl Iterator<Item = LogletId> {
        let whole = matches!(self, Self::Striped(_)).then(|| self.id());
        whole.into_iter().chain(self.stripes().iter().map(|stripe| stripe.id))
    }

    /// Its sequencers, one for each stripe.
    pub fn sequencers(&self) -> impl Iterator<Item = Sequencer> {
        self.stripes().iter().map(|stripe| stripe.sequencer)
    }

    /// The LogServers of all stripes in their order; one that several have is named for each.
    pub fn log_servers(&self) -> impl Iterator<Item = Member> {
        self.stripes().iter().flat_map(|stripe| stripe.log_servers.iter().copied())
    }

    /// The nodes that it names, each once.
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        let sequencers = self.sequencers().map(|sequencer| sequencer.node);
        sequencers.chain(self.log_servers().map(|member| member.node)).collect()
    }

    /// Whether the node stores a stripe of it.
    pub fn stores_on(&self, node: NodeId) -> bool {
        self.log_servers().any(|member| member.node == node)
    }

    /// Whether it has several stripes, and no node stores two of them.
    pub fn is_sharded(&self) -> bool {
        let stored: BTreeSet<NodeId> = self.log_servers().map(|member| member.node).collect();
        self.stripes().len() > 1 && stored.len() == self.log_servers().count()
    }

    /// What every loglet obeys, however it has come here.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if let Self::Striped(StripedConfig { id, stripes }) = self {
            if !(2..=Layout::STRIPES_MAX).contains(&stripes.len()) {
                return Err("a loglet has too few or too many stripes");
            }
            if stripes.iter().enumerate().any(|(stripe, config)| config.id != id.stripe(stripe)) {
                return Err("a stripe does not have the name of its place");
            }
        }
        let mut names: Vec<NodeId> = Vec::new();
        for stripe in self.stripes() {
            names.clear();
            names.extend(stripe.log_servers.iter().map(|member| member.node));
            names.sort_unstable();
            if names.is_empty() || names.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err("a segment has no LogServers, or one twice");
            }
        }
        Ok(())
    }
}

impl From<&LogletConfig> for LogletSpec {
    fn from(config: &LogletConfig) -> Self {
        Self::Native(config.clone())
    }
}

impl From<&LogletSpec> for LogletSpec {
    fn from(spec: &LogletSpec) -> Self {
        spec.clone()
    }
}

impl From<LogletConfig> for LogletSpec {
    fn from(config: LogletConfig) -> Self {
        Self::Native(config)
    }
}
