//! The executions that P8 is there for, each on the joined cores.

use super::world::{Event, LOG, World, birth, node, write};
use crate::base::{NodeId, RegisterId, Version};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, OpId, Versioned};
use crate::wire::{Message, RegisterMessage};

const READ: MetaStoreOp = MetaStoreOp::Read { register: LOG };

impl World {
    fn perform(&mut self, client: usize, id: u64, op: MetaStoreOp) -> MetaStoreResult {
        self.start(client, OpId(id), op);
        self.finish(OpId(id))
    }

    fn must_write(&mut self, client: usize, id: u64, expected: u64, nodes: &[u128]) {
        let result = self.perform(client, id, write(LOG, id, Version(expected), nodes));
        assert!(matches!(result, MetaStoreResult::Written { .. }), "{result:?}");
    }

    fn read(&mut self, client: usize, id: u64) -> Versioned {
        match self.perform(client, id, READ) {
            MetaStoreResult::Value(value) => value,
            other => panic!("a read returned {other:?}"),
        }
    }

    /// Lets happen whatever can until a request of this kind is next to arrive at the node.
    fn until_request(&mut self, client: usize, to: NodeId, is_wanted: fn(&RegisterMessage) -> bool) {
        for _ in 0..1000 {
            let arrives = |event: &Event| matches!(self.next_request(*event), Some(Message::Register { message, .. }) if is_wanted(&message));
            let held = |event: &Event| *event == Event::Forth(client, to) && arrives(event);
            let events = self.possible();
            // Requests of the kind wait everywhere, so that the first to arrive is chosen by the test.
            match events.iter().find(|event| !(matches!(event, Event::Forth(of, _) if *of == client) && arrives(event)))
            {
                Some(event) => self.happen(*event),
                None => return assert!(events.iter().any(held), "no such request"),
            }
        }
        panic!("no such request");
    }

    fn is_safe(&self) {
        assert!(self.history.broken.is_empty(), "{}", self.history.summary());
    }
}

fn is_accept(message: &RegisterMessage) -> bool {
    matches!(message, RegisterMessage::Accept { .. })
}

/// Two clients with different views of the cluster create a log of one name. Both write the root register, and its decision is what
/// the log's register begins with, for both.
#[test]
fn p8_a_a_log_created_twice_has_one_register() {
    const FOO: RegisterId = RegisterId(9);
    for (first, second) in [(0, 1), (1, 0)] {
        let mut world = World::new(6, &[1, 2, 3], 2);
        let views: [&[u128]; 2] = [&[1, 2, 3], &[4, 5, 6]];
        let winner = world.perform(first, 1, write(LOG, first as u64, Version(0), views[0]));
        assert!(matches!(winner, MetaStoreResult::Written { .. }));
        let loser = world.perform(second, 2, write(LOG, second as u64, Version(0), views[0]));
        let MetaStoreResult::Conflict(root) = loser else { panic!("{loser:?}") };
        let named = views[root.value[0] as usize - usize::from(b'0')];
        for client in [0, 1] {
            world.clients[client].open(FOO, birth(named), world.now);
        }
        let ids = [3, 4].map(|id| {
            world.start(id as usize - 3, OpId(id), write(FOO, id, Version(0), named));
            OpId(id)
        });
        world.settle();
        let written = world.results.iter().filter(|(id, result)| {
            ids.contains(id) && matches!(result, MetaStoreResult::Written { version: Version(1), .. })
        });
        assert_eq!(written.count(), 1, "one chain");
        world.is_safe();
    }
}

/// A client with an old version asks members that have dropped the instance after it: it is told the decision that they hold instead.
#[test]
fn p8_b_a_client_with_an_old_version_finds_the_newest() {
    let mut world = World::new(6, &[1, 2, 3], 2);
    for version in 0..20 {
        let nodes: &[u128] = if version < 15 { &[1, 2, 3] } else { &[4, 5, 6] };
        world.must_write(0, 100 + version, version, nodes);
    }
    world.cut(1, node(3));
    // Also from a majority of them that has been restarted since.
    for number in [1, 2] {
        world.crash(node(number), 0);
        world.restart(node(number));
    }
    let late = world.perform(1, 1, write(LOG, 1, Version(0), &[1, 2, 3]));
    assert!(matches!(late, MetaStoreResult::Conflict(Versioned { version, .. }) if version > Version(0)), "{late:?}");
    assert_eq!(world.read(1, 2).version, Version(20));
    world.is_safe();
}

/// A value with other members is accepted by one acceptor and never decided: its members decide nothing.
#[test]
fn p8_c_members_of_an_undecided_value_form_no_quorum() {
    let mut world = World::new(6, &[1, 2, 3], 3);
    world.cut(0, node(3));
    world.start(0, OpId(1), write(LOG, 1, Version(0), &[4, 5, 6]));
    world.until_request(0, node(1), is_accept);
    world.cut(0, node(2));
    while world.possible().contains(&Event::Forth(0, node(1))) {
        world.happen(Event::Forth(0, node(1)));
    }
    world.happen(Event::Land(node(1)));
    world.cut(0, node(1));
    // One reader asks the acceptor that has it and one that has not; a writer does without it.
    world.cut(1, node(3));
    world.cut(2, node(1));
    world.start(1, OpId(2), READ);
    world.start(2, OpId(3), write(LOG, 3, Version(0), &[1, 2, 3]));
    for _ in 0..3000 {
        if let Some(event) = world.possible().last().copied() {
            world.happen(event);
        } else if let Some((client, _)) =
            world.due().into_iter().filter(|(client, _)| *client > 0).min_by_key(|due| due.1)
        {
            world.pass_deadline(client);
        }
    }
    world.heal();
    world.settle();
    world.is_safe();
    assert!(world.read(2, 4).version >= Version(1));
    world.is_safe();
}

/// A register moves away from its first members, who hear nothing of it, and goes on. A reader that knows no better asks them, and finishes
/// the version that they have accepted.
pub(super) fn read_after_a_move() -> World {
    let mut world = World::new(6, &[1, 2, 3], 2);
    world.cut(0, node(3));
    world.cut(1, node(3));
    for (id, expected) in [(1, 0), (2, 1)] {
        world.start(0, OpId(id), write(LOG, id, Version(expected), &[4, 5, 6]));
        let is_news = |message: &Message<'_>| match message {
            Message::Register { message, .. } => {
                matches!(**message, RegisterMessage::Learn { ref decision } if decision.version > Version(0))
            }
            _ => false,
        };
        while !world.results.iter().any(|(ended, _)| *ended == OpId(id)) {
            let is_held = |event: &Event| {
                let to_old = matches!(event, Event::Forth(_, to) if *to < node(4));
                to_old && world.next_request(*event).is_some_and(|message| is_news(&message))
            };
            let event = world.possible().into_iter().find(|event| !is_held(event));
            world.happen(event.expect("the members of the next version are there"));
        }
    }
    [1, 2].into_iter().for_each(|old| world.cut(0, node(old)));
    world.start(1, OpId(3), READ);
    world.settle();
    world
}

#[test]
fn p8_a_read_goes_on_from_what_it_finished() {
    let world = read_after_a_move();
    world.is_safe();
    let (_, MetaStoreResult::Value(newest)) = world.results.back().expect("the read has ended") else {
        panic!("{:?}", world.results);
    };
    assert_eq!(newest.version, Version(2));
}

/// A read beside a writer that has been promised takes no ballot, so the writer is not refused.
#[test]
fn p8_d_a_read_does_not_stop_a_writer() {
    let mut world = World::new(3, &[1, 2, 3], 2);
    world.start(0, OpId(1), write(LOG, 1, Version(0), &[1, 2, 3]));
    world.until_request(0, node(1), is_accept);
    // Everything but the writer's requests goes on, until the read ends.
    world.start(1, OpId(2), READ);
    while !world.results.iter().any(|(id, _)| *id == OpId(2)) {
        let events = world.possible();
        let of_reader = events.into_iter().find(|event| match event {
            Event::Connect(client, _) | Event::Forth(client, _) | Event::Back(client, _) => *client == 1,
            Event::Land(_) => true,
        });
        let event = of_reader.expect("the read needs nobody else");
        if let Some(Message::Register { message, .. }) = world.next_request(event) {
            let prepares = matches!(*message, RegisterMessage::Prepare { .. } | RegisterMessage::Accept { .. });
            assert!(!prepares, "{message:?}");
        }
        world.happen(event);
    }
    assert!(
        matches!(world.results.pop_front(), Some((_, MetaStoreResult::Value(Versioned { version, .. }))) if version == Version(0))
    );
    let begin = world.now;
    assert!(matches!(world.finish(OpId(1)), MetaStoreResult::Written { .. }));
    assert_eq!(world.now, begin, "without a pause");
    world.is_safe();
}

/// A write is two round trips: each acceptor gets one question of each phase, and no time passes.
#[test]
fn a_write_alone_takes_two_round_trips() {
    let mut world = World::new(3, &[1, 2, 3], 1);
    world.must_write(0, 1, 0, &[1, 2, 3]);
    let mut asked = Vec::new();
    world.start(0, OpId(2), write(LOG, 2, Version(1), &[1, 2, 3]));
    while let Some(event) = world.possible().first().copied() {
        if let (Event::Forth(_, to), Some(Message::Register { request: 1.., message, .. })) =
            (event, world.next_request(event))
            && to == node(1)
        {
            asked.push(*message);
        }
        world.happen(event);
    }
    assert!(matches!(asked[..], [RegisterMessage::Prepare { .. }, RegisterMessage::Accept { .. }]), "{asked:?}");
    assert_eq!(world.now, crate::base::Instant::ORIGIN);
}

/// An acceptor that lost its cells has no vote, and a register with a majority of others goes on and replaces it (P10).
#[test]
fn p10_a_register_goes_on_without_an_acceptor_that_lost_its_cells() {
    let mut world = World::new(4, &[1, 2, 3], 2);
    world.must_write(0, 1, 0, &[1, 2, 3]);
    world.crash(node(1), 0);
    let state = world.nodes.get_mut(&node(1)).expect("known");
    state.cells.durable.values_mut().for_each(Vec::clear);
    world.restart(node(1));
    assert!(world.nodes[&node(1)].acceptor.is_retired());
    world.must_write(1, 2, 1, &[2, 3, 4]);
    world.crash(node(3), 0);
    world.must_write(0, 3, 2, &[2, 3, 4]);
    // The one that is retired does not stand in for another.
    world.restart(node(3));
    assert_eq!(world.read(1, 4).version, Version(3));
    world.is_safe();
}
