//! The suite over the cores joined in memory, under many orders of events.

use super::suite::{MetaStoreUnderTest, metastore_conformance};
use super::world::{LOG, OTHER, World};
use crate::base::{RegisterId, Rng};
use crate::proto::metastore::contract::{MetaStoreOp, MetaStoreResult, OpId};
use crate::proto::metastore::testing::members;
use crate::wire::Member;

const SEEDS: u64 = 40;

struct Joined {
    world: World,
    random: Rng,
}

impl MetaStoreUnderTest for Joined {
    fn start(&mut self, client: usize, id: OpId, op: MetaStoreOp) {
        self.world.start(client, id, op);
    }

    fn finish(&mut self, id: OpId) -> MetaStoreResult {
        loop {
            if let Some(at) = self.world.results.iter().position(|(of, _)| *of == id) {
                return self.world.results.remove(at).expect("just found").1;
            }
            let events = self.world.possible();
            if events.is_empty() {
                let (client, _) = self.world.due().into_iter().min_by_key(|(_, at)| *at).expect("something is due");
                self.world.pass_deadline(client);
            } else {
                self.world.happen(events[self.random.usize(..events.len())]);
            }
        }
    }

    fn registers(&self) -> [RegisterId; 2] {
        [LOG, OTHER]
    }

    fn memberships(&self) -> [Vec<Member>; 2] {
        [members(&[1, 2, 3]), members(&[3, 4, 5, 6, 7])]
    }

    fn value_bytes_max(&self) -> usize {
        self.world.limits().register_bytes_max as usize
    }

    fn restart(&mut self) -> bool {
        let nodes: Vec<_> = self.world.nodes.keys().copied().collect();
        nodes.iter().for_each(|node| self.world.crash(*node, 0));
        nodes.iter().for_each(|node| self.world.restart(*node));
        true
    }
}

#[test]
fn the_joined_cores_are_a_metastore() {
    for seed in 0..SEEDS {
        metastore_conformance(|| Joined { world: World::new(7, &[1, 2, 3], 2), random: Rng::with_seed(seed) });
    }
}
