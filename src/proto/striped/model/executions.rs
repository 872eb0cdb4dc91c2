//! P6's executions, in the order in which the rule tells them.

use super::stripe::{Answer, FILLER};
use super::world::{Op, World};
use crate::base::mutants::{self, Mutant};
use crate::proto::loglet::{LogletOp, OpId};

/// Appends, reconfigurers, and what becomes of them.
struct Execution {
    world: World,
    endings: Vec<&'static str>,
}

fn is_append(op: &LogletOp) -> bool {
    matches!(op, LogletOp::Append { .. })
}

fn is_filler(op: &LogletOp) -> bool {
    matches!(op, LogletOp::FillTo { .. })
}

fn is_seal(op: &LogletOp) -> bool {
    *op == LogletOp::Seal
}

fn is_check(op: &LogletOp) -> bool {
    *op == LogletOp::CheckTail
}

impl Execution {
    fn new(clients: usize) -> Self {
        Self { world: World::new(2, clients), endings: Vec::new() }
    }

    fn start(&mut self, client: usize, op: Op) {
        self.world.start(client, op, &mut |ending| self.endings.push(ending));
    }

    fn request(&self, client: usize, stripe: usize, is_it: fn(&LogletOp) -> bool) -> Option<OpId> {
        let mut asked = self.world.clients[client].asked.iter().rev();
        asked.find_map(|(id, (of, asked))| (*of == stripe && is_it(&asked.op)).then_some(*id))
    }

    /// A stripe answers the client's newest request of this kind; returns whether there was one.
    fn answer(&mut self, client: usize, stripe: usize, is_it: fn(&LogletOp) -> bool, answer: Answer) -> bool {
        let Some(id) = self.request(client, stripe, is_it) else { return false };
        self.world.answer(client, id, answer, &mut |ending| self.endings.push(ending));
        true
    }

    /// Stripes answer these checkTails of a client: this tail each.
    fn tails(&mut self, client: usize, tails: [u64; 2]) {
        for (stripe, tail) in tails.into_iter().enumerate() {
            assert!(self.answer(client, stripe, is_check, Answer::Tail(tail)), "stripe {stripe} is asked");
        }
    }

    /// A checkTail finds that the loglet is sealed, and these tails.
    fn sealed_tails(&mut self, client: usize, tails: [u64; 2]) {
        self.start(client, Op::CheckTail);
        assert!(self.answer(client, 0, is_check, Answer::Tail(tails[0])));
        self.tails(client, tails);
    }

    /// Every stripe answers every seal.
    fn seal_all(&mut self, client: usize) {
        for stripe in 0..2 {
            while self.answer(client, stripe, is_seal, Answer::Plain) {}
        }
    }

    fn pass_deadline(&mut self, client: usize) {
        self.world.pass_deadline(client, &mut |ending| self.endings.push(ending));
    }

    /// Nothing that was promised is broken, and these are the endings so far.
    fn stands(&self, endings: &[&str]) -> bool {
        self.world.history.broken.is_empty() && self.endings == endings
    }
}

/// (a) A sealed stripe's tail, which another majority's repair has raised, releases nothing.
fn a_repaired_stripe() -> Execution {
    let mut run = Execution::new(3);
    run.start(0, Op::AppendTo(0, &[0]));
    run.start(0, Op::AppendTo(1, &[1]));
    (0..2).for_each(|stripe| assert!(run.answer(0, stripe, is_append, Answer::Take)));
    assert!(run.answer(0, 1, is_append, Answer::Plain), "L1 is acknowledged by its stripe, and withheld");
    run.start(1, Op::Seal);
    run.seal_all(1);
    run.sealed_tails(1, [0, 1]);
    run.start(2, Op::Seal);
    run.seal_all(2);
    run.sealed_tails(2, [1, 1]);
    // The appender hears of the repaired tail.
    run.sealed_tails(0, [1, 1]);
    run.start(1, Op::Install);
    run.start(2, Op::Install);
    assert!(run.answer(0, 0, is_append, Answer::Plain));
    run
}

#[test]
fn p6_a_a_repair_acknowledges_nothing() {
    let endings =
        [["sealed"; 4].as_slice(), &["given an offset", "sealed", "installed", "overtaken", "given an offset"]];
    let run = a_repaired_stripe();
    assert!(run.stands(&endings.concat()), "{:?} {:?}", run.endings, run.world.history);
    assert_eq!(run.world.history.stop, Some(0));
    mutants::select(Some(Mutant::StripedFilledBySealedTail));
    let broken = a_repaired_stripe();
    mutants::select(None);
    assert!(!broken.world.history.broken.is_empty());
}

/// (b) Somebody's seal has reached stripe 1 alone, and a roll-forward has asked stripe 0 before that acknowledges its first record.
fn a_half_sealed_loglet() -> Execution {
    let mut run = Execution::new(3);
    run.start(0, Op::AppendTo(0, &[0]));
    assert!(run.answer(0, 0, is_append, Answer::Take));
    run.start(1, Op::Seal);
    assert!(run.answer(1, 1, is_seal, Answer::Plain));
    run.world.end(1);
    run.start(2, Op::CheckTail);
    run.tails(2, [0, 0]);
    assert!(run.answer(0, 0, is_append, Answer::Plain), "it is open");
    run.seal_all(2);
    if run.request(2, 0, is_check).is_some() {
        run.tails(2, [1, 0]);
    }
    run.start(2, Op::Install);
    run
}

#[test]
fn p6_b_tails_of_open_and_sealed_stripes_say_nothing_together() {
    let run = a_half_sealed_loglet();
    assert!(run.stands(&["appended", "sealed", "installed"]), "{:?} {:?}", run.endings, run.world.history);
    assert_eq!((run.world.history.acknowledged, run.world.history.stop), (1, Some(1)));
    mutants::select(Some(Mutant::StripedTailFromMixedSeals));
    let broken = a_half_sealed_loglet();
    mutants::select(None);
    assert!(!broken.world.history.broken.is_empty());
}

/// (c) Those who wait for one stripe do not add up there, so that the others never lag behind it.
#[test]
fn p6_c_fillers_of_several_clients_do_not_chase_each_other() {
    let mut run = Execution::new(2);
    for (client, number) in [(0, &[0]), (1, &[1])] {
        run.start(client, Op::AppendTo(1, number));
        assert!(run.answer(client, 1, is_append, Answer::Take));
    }
    for client in [0, 1] {
        assert!(run.answer(client, 1, is_append, Answer::Plain));
        run.pass_deadline(client);
        assert!(run.answer(client, 0, is_filler, Answer::Take));
    }
    (0..2).for_each(|client| assert!(run.answer(client, 0, is_filler, Answer::Plain)));
    assert!(run.stands(&["appended", "appended"]), "{:?} {:?}", run.endings, run.world.history);
    assert_eq!((&run.world.stripes[0].given, &run.world.stripes[1].given), (&vec![FILLER; 2], &vec![0, 1]));
    assert!(run.world.clients.iter().all(|client| client.asked.is_empty()), "nobody lags");
    assert!((0..2).all(|client| !run.world.has_deadline(client)));
}

/// (d) A filler that is answered by nobody, or refused, hangs nobody, though every other stripe is healthy.
#[test]
fn p6_d_a_filler_without_an_answer_ends_the_whole() {
    for is_sealed in [false, true] {
        let mut run = Execution::new(2);
        run.start(0, Op::AppendTo(1, &[0]));
        assert!(run.answer(0, 1, is_append, Answer::Take));
        assert!(run.answer(0, 1, is_append, Answer::Plain));
        run.pass_deadline(0);
        if is_sealed {
            run.start(1, Op::Seal);
            assert!(run.answer(1, 0, is_seal, Answer::Plain));
            run.world.end(1);
        }
        let answer = if is_sealed { Answer::Plain } else { Answer::Lose };
        assert!(run.answer(0, 0, is_filler, answer));
        assert!(run.stands(&["given an offset"]), "{:?} {:?}", run.endings, run.world.history);
        run.seal_all(0);
        assert!(run.world.stripes.iter().all(|stripe| stripe.sealed), "what is left of it is ended");
        run.start(0, Op::AppendTo(1, &[1]));
        assert!(run.stands(&["given an offset", "not stored"]), "{:?}", run.endings);
    }
}
