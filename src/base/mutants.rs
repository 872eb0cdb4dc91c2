//! Rules broken on purpose, so that a test can show that the checkers notice.
//!
//! Compiled in only for this crate's own unit tests and with the feature `mutants`, and inert until one is selected. A selection
//! belongs to its thread, so that tests side by side do not see each other's, and a run with one stays deterministic.

macro_rules! mutants {
    ($($variant:ident, $name:literal, $rule:literal, $breaks:literal;)*) => {
        /// A rule that can be broken.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Mutant {
            $(
                #[doc = $breaks]
                $variant,
            )*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name that selects it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The rule that it breaks.
            pub const fn rule(self) -> &'static str {
                match self {
                    $(Self::$variant => $rule,)*
                }
            }

            /// What is done wrong.
            pub const fn breaks(self) -> &'static str {
                match self {
                    $(Self::$variant => $breaks,)*
                }
            }
        }
    };
}

mutants! {
    AckBeforeDurable, "ack-before-durable", "P2", "A LogServer counts records that are still on their way to the disk.";
    AckAfterSeal, "ack-after-seal", "P2", "A sealed LogServer still takes what the sequencer stores, and answers success.";
    SealCheckBeforeTail, "seal-check-before-tail", "checkTail", "A checkTail counts a sealed answer's tail for a server that was open when asked first.";
    WaitForKnownTail, "wait-for-known-tail", "checkTail", "A checkTail returns open as soon as one server, sealed or not, tells a known tail that a repair may have raised.";
    RepairRaisesKnownTail, "repair-raises-known-tail", "P1", "A repair raises the known tail of the server that it repairs.";
    NoRepair, "no-repair", "checkTail", "A checkTail of sealed servers returns the largest tail without repairing the others.";
    SequencerResumes, "sequencer-resumes", "P4", "Another life of the sequencer's process goes on with the loglet, and LogServers take its stores.";
    SequencerStartsTwice, "sequencer-starts-twice", "P4", "A process sequences a loglet again that it has ended.";
    QuorumMinusOne, "quorum-minus-one", "P12", "One LogServer less than a majority is enough.";
    StoreEarlyArrivals, "store-early-arrivals", "L6", "A store that comes before its predecessor goes to the disk at once.";
    LocalTailFromKnownTailOnly, "local-tail-from-known-tail-only", "P3", "The local tail leaves out what is stored here.";
    SealedBeforeDurable, "sealed-before-durable", "P2", "A LogServer says sealed before its seal is durable.";
    TrimForgetsTail, "trim-forgets-tail", "P3", "The local tail leaves out the trim point.";
    FillBeforeCommitted, "fill-before-committed", "P1", "A sequencer answers a fill as soon as its no-ops are given out.";
    RecreateDeletedLoglet, "recreate-deleted-loglet", "P5", "A LogServer creates a loglet again that it has deleted.";
    WriteWithoutDsync, "write-without-dsync", "durability", "Writes are complete when the disk's cache has them.";
    AppendBehindTornTail, "append-behind-torn-tail", "P9", "A new life names the last whole unit as the end of the one before, torn units in front of it or not.";
    AcceptAfterTornUnit, "accept-after-torn-unit", "P9", "Recovery drops a torn unit alone, and takes what is behind it.";
    PartialHead, "partial-head", "P9", "Recovery begins from a head that lacks its end.";
    SkipUnitChecksum, "skip-unit-checksum", "P9", "The journal takes units, entry tables and records for whole without looking at their checksums.";
    RetryAfterFlushError, "retry-after-flush-error", "fail-stop", "The journal goes on after a failed write as if it had succeeded.";
    AcceptorForgetsInstance, "acceptor-forgets-instance", "P8", "An acceptor that is told a decision drops the instances up to it, and does not keep the decision.";
    PaxosForgetsPromise, "paxos-forgets-promise", "P8", "An acceptor does not write down what it has promised.";
    VoteBeforeDurable, "vote-before-durable", "P8", "An acceptor answers before its cell is durable.";
    AcceptIgnoresPromise, "accept-ignores-promise", "P8", "An acceptor accepts in a ballot below the one that it has promised.";
    IgnoreAcceptedValue, "ignore-accepted-value", "P8", "A proposer proposes its own value, whatever the promises say was accepted before.";
    MembersFromUndecided, "members-from-undecided", "P8", "A proposer takes a value that one acceptor has accepted for decided, with its members.";
    ReadWithoutQuorum, "read-without-quorum", "P8", "A read returns as soon as one acceptor has nothing accepted.";
    ReadEndsAtFinished, "read-ends-at-finished", "P8", "A read that had to finish an instance returns its value, without asking about the next one.";
    WrittenWithoutNonce, "written-without-nonce", "P8", "A write is successful when the version after the expected one is decided, whoever wrote it.";
    ReadPastStop, "read-past-stop", "P1", "A client of a log reads a closed segment without regard to its stop.";
    InstallWithoutSeal, "install-without-seal", "extend", "An extend takes the tail of the last loglet without sealing it.";
    StaleIntent, "stale-intent", "P15", "An extend leaves the intent in the chain.";
    ModifyOpenSegment, "modify-open-segment", "P7", "The last segment, which has no stop, gets other LogServers, with copies of what is known to be committed.";
    BootstrapTwice, "bootstrap-twice", "P8", "A node that holds the beginning of a cluster takes another one in its place.";
    AckBeforeLowerFilled, "ack-before-lower-filled", "P6", "A striped append is acknowledged as soon as its own stripe has acknowledged it.";
    StripedFilledBySealedTail, "striped-filled-by-sealed-tail", "P6", "The tail of a sealed stripe releases what is withheld.";
    StripedTailFromMixedSeals, "striped-tail-from-mixed-seals", "P6", "A checkTail puts tails of sealed and of open stripes together.";
    FillerPastSeal, "filler-past-seal", "P6", "A filler that a sealed stripe has refused counts as done.";
    SealOneStripe, "seal-one-stripe", "P6", "A seal ends when the first stripe is sealed.";
    ForgetSealOnRestart, "forget-seal-on-restart", "P2", "A restarted LogServer takes a sealed loglet for open.";
}

#[cfg(any(test, feature = "mutants"))]
thread_local! {
    static SELECTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Selects what is broken from now on in this thread; none, to begin with.
#[cfg(any(test, feature = "mutants"))]
pub fn select(mutant: Option<Mutant>) {
    SELECTED.set(mutant);
}

/// Whether this rule is to be broken now.
#[cfg(any(test, feature = "mutants"))]
pub fn is(mutant: Mutant) -> bool {
    SELECTED.get() == Some(mutant)
}

/// There is nothing to select in this build.
///
/// # Panics
/// A mutant was asked for.
#[cfg(not(any(test, feature = "mutants")))]
pub fn select(mutant: Option<Mutant>) {
    assert!(mutant.is_none(), "this build has no mutants: it needs the feature `mutants`");
}

/// Whether this rule is to be broken now: never in this build.
#[cfg(not(any(test, feature = "mutants")))]
#[inline(always)]
pub const fn is(_: Mutant) -> bool {
    false
}
