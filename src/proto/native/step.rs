use super::check_tail::CheckTail;
use super::create::Create;
use super::delete::Delete;
use super::fill::Fill;
use super::link::{Key, Shared};
use super::read::Read;
use super::restore::Restore;
use super::seal::Seal;
use super::subscribe::Subscribe;
use super::trim::Trim;
use crate::base::{Instant, Offset};
use crate::proto::loglet::{LogletResult, OpId};
use crate::wire::Message;

/// What an operation may use while it takes a step.
pub(super) struct Context<'a> {
    pub(super) shared: &'a mut Shared,
    pub(super) key: Key,
    pub(super) id: OpId,
    pub(super) now: Instant,
}

/// An operation in progress. Inputs only note what has been heard; [`Step::drive`] asks what is to be asked next and says when
/// it is over. It is called after every input and whenever connections, pauses or the seal have changed.
pub(super) trait Step {
    fn drive(&mut self, context: &mut Context<'_>) -> Option<LogletResult>;

    /// An answer to a request of this operation.
    fn answer(&mut self, context: &mut Context<'_>, link: usize, request: u64, message: &Message<'_>);

    /// What was asked of this peer will not be answered.
    fn lost(&mut self, link: usize);

    /// A LogServer has said that it is sealed, with this local tail, to whomever.
    fn sealed(&mut self, _server: usize, _tail: Offset) {}

    /// A LogServer could not do what was asked for want of space; it will be asked again.
    fn no_space(&mut self, _server: usize) {}

    /// When to be driven although nothing happens.
    fn timeout(&self, _shared: &Shared) -> Option<(Instant, &'static str)> {
        None
    }

    /// What it waits for, for people.
    fn missing(&self, shared: &Shared) -> String;
}

/// An operation, by kind.
#[derive(Clone, Hash, Debug)]
pub(super) enum Kind {
    CheckTail(CheckTail),
    Create(Create),
    Delete(Delete),
    Fill(Fill),
    Read(Read),
    Restore(Restore),
    Seal(Seal),
    Subscribe(Subscribe),
    Trim(Trim),
}

/// An operation of the caller's.
#[derive(Clone, Hash, Debug)]
pub(super) struct Operation {
    pub(super) id: OpId,
    /// When it fails with `Unavailable`; a subscription never does, and a copy and a fill know by themselves.
    pub(super) deadline: Option<Instant>,
    pub(super) kind: Kind,
}

impl Operation {
    pub(super) fn step(&mut self) -> &mut dyn Step {
        match &mut self.kind {
            Kind::CheckTail(step) => step,
            Kind::Create(step) => step,
            Kind::Delete(step) => step,
            Kind::Fill(step) => step,
            Kind::Read(step) => step,
            Kind::Restore(step) => step,
            Kind::Seal(step) => step,
            Kind::Subscribe(step) => step,
            Kind::Trim(step) => step,
        }
    }

    pub(super) fn view(&self) -> &dyn Step {
        match &self.kind {
            Kind::CheckTail(step) => step,
            Kind::Create(step) => step,
            Kind::Delete(step) => step,
            Kind::Fill(step) => step,
            Kind::Read(step) => step,
            Kind::Restore(step) => step,
            Kind::Seal(step) => step,
            Kind::Subscribe(step) => step,
            Kind::Trim(step) => step,
        }
    }
}
