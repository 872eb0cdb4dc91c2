//! Real nodes in one process, over real sockets and a real disk.

mod support;

use naxos::base::{Limits, Offset};
use naxos::client::{AppendError, Delivery, Event, Log, ReadResult, StopConflict};
use support::{Cluster, read_all, record};

fn append_all(log: &Log, records: impl Iterator<Item = Vec<u8>>) -> Vec<Offset> {
    let appends: Vec<_> = records.map(|record| log.append(&record)).collect();
    appends.into_iter().map(|append| append.wait().unwrap()).collect()
}

#[test]
fn records_are_acknowledged_in_order_and_read_back_exactly() {
    let cluster = Cluster::start(3, 1);
    let log = cluster.log();
    let offsets = append_all(&log, (0..5_000).map(|index| record(0, index)));
    assert_eq!(offsets, (0..5_000).map(Offset).collect::<Vec<_>>());
    let tail = log.check_tail().unwrap();
    assert_eq!((tail.tail, tail.sealed), (Offset(5_000), false));
    assert_eq!(read_all(&log, 0, 5_000), (0..5_000).map(|index| record(0, index)).collect::<Vec<_>>());
    assert!(matches!(log.read(Offset(5_000), Offset::MAX, 1000).unwrap(), ReadResult::NothingYet));
}

#[test]
fn empty_and_maximal_records_are_kept_and_larger_ones_refused() {
    let cluster = Cluster::start(3, 1);
    let log = cluster.log();
    let limit = support::small_limits().record_bytes_max as usize;
    let maximal = vec![7; limit];
    let offsets = append_all(&log, [Vec::new(), maximal.clone(), Vec::new()].into_iter());
    assert_eq!(offsets, [Offset(0), Offset(1), Offset(2)]);
    assert_eq!(read_all(&log, 0, 3), [Vec::new(), maximal, Vec::new()]);
    let error = log.append(&vec![7; limit + 1]).wait().unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { .. }));
}

#[test]
fn a_subscription_follows_the_log_and_ends_with_the_seal() {
    let cluster = Cluster::start(3, 1);
    let log = cluster.log();
    append_all(&log, (0..100).map(|index| record(0, index)));
    let mut subscription = log.subscribe(Offset(10));
    let mut seen = Vec::new();
    let take = |delivery: Delivery, seen: &mut Vec<Vec<u8>>| {
        assert_eq!(delivery.first().0, 10 + seen.len() as u64);
        seen.extend(delivery.records().map(<[u8]>::to_vec));
    };
    let appender = std::thread::spawn({
        let log = log.clone();
        move || append_all(&log, (100..300).map(|index| record(0, index)))
    });
    while seen.len() < 290 {
        match subscription.next().unwrap() {
            Event::Records(delivery) => take(delivery, &mut seen),
            other => panic!("{other:?}"),
        }
    }
    appender.join().unwrap();
    assert_eq!(seen, (10..300).map(|index| record(0, index)).collect::<Vec<_>>());
    log.seal().unwrap();
    assert!(matches!(subscription.next().unwrap(), Event::Sealed));
}

#[test]
fn a_sealed_log_refuses_appends_and_stays_readable_up_to_its_stop() {
    let cluster = Cluster::start(3, 1);
    let log = cluster.log();
    append_all(&log, (0..50).map(|index| record(0, index)));
    log.seal().unwrap();
    log.seal().unwrap();
    assert!(matches!(log.append(b"late").wait(), Err(AppendError::Sealed { .. })));
    let tail = log.check_tail().unwrap();
    assert_eq!((tail.tail, tail.sealed), (Offset(50), true));
    let reader = cluster.log();
    reader.set_stop(tail.tail).unwrap();
    reader.clone().set_stop(tail.tail).unwrap();
    let conflict = StopConflict { known: tail.tail, refused: Offset(51) };
    assert_eq!(reader.set_stop(Offset(51)).unwrap_err(), conflict);
    assert_eq!(read_all(&reader, 0, 50).len(), 50);
    assert!(matches!(reader.read(Offset(50), Offset::MAX, 1000).unwrap(), ReadResult::NothingYet));
}

#[test]
fn trimmed_records_are_gone_and_the_tail_stays() {
    let cluster = Cluster::start(3, 1);
    let log = cluster.log();
    append_all(&log, (0..200).map(|index| record(0, index)));
    assert_eq!(log.trim(Offset(150)).unwrap(), Offset(150));
    assert!(matches!(log.read(Offset(0), Offset(200), 1000).unwrap(), ReadResult::Trimmed(Offset(150))));
    assert_eq!(read_all(&log, 150, 200).len(), 50);
    assert_eq!(log.trim(Offset(10_000)).unwrap(), Offset(200), "clipped to what is committed");
    assert_eq!(log.check_tail().unwrap().tail, Offset(200));
}

#[test]
fn a_minority_may_be_missing_and_catches_up() {
    let mut cluster = Cluster::start(3, 1);
    let log = cluster.log();
    append_all(&log, (0..500).map(|index| record(0, index)));
    let address = cluster.stop(2);
    append_all(&log, (500..1_500).map(|index| record(0, index)));
    cluster.restart(2, address);
    append_all(&log, (1_500..2_000).map(|index| record(0, index)));
    // The restarted server alone with one other must be able to hold up a majority.
    cluster.stop(1);
    append_all(&log, (2_000..2_500).map(|index| record(0, index)));
    assert_eq!(log.check_tail().unwrap().tail, Offset(2_500));
    assert_eq!(read_all(&log, 0, 2_500).len(), 2_500);
}

#[test]
fn the_sequencers_node_may_be_lost_and_everything_acknowledged_is_read() {
    let mut cluster = Cluster::start(3, 1);
    let log = cluster.log();
    append_all(&log, (0..700).map(|index| record(0, index)));
    let address = cluster.stop(0);
    assert!(log.append(b"nobody sequences").wait().is_err());
    cluster.restart(0, address);
    let error = log.append(b"another life").wait().unwrap_err();
    assert!(matches!(error, AppendError::SequencerLost { .. }), "a restarted sequencer never resumes: {error}");
    let survivor = cluster.log();
    survivor.seal().unwrap();
    let tail = survivor.check_tail().unwrap();
    assert!(tail.sealed);
    survivor.set_stop(tail.tail).unwrap();
    assert_eq!(read_all(&survivor, 0, 700), (0..700).map(|index| record(0, index)).collect::<Vec<_>>());
}

#[test]
fn loglets_find_their_home_among_several_shards_and_keep_it() {
    let mut cluster = Cluster::start(3, 3);
    let nodes: Vec<_> = cluster.nodes.iter().map(|node| node.as_ref().unwrap()).collect();
    let configs: Vec<_> = (10..16)
        .map(|nonce| {
            let mut config = cluster.config.clone();
            config.id.nonce = nonce;
            config.sequencer.incarnation = nodes[0].incarnation();
            config
        })
        .collect();
    for (writer, config) in configs.iter().enumerate() {
        cluster.client.create(config, support::CLUSTER).unwrap();
        let log = cluster.client.open(config, support::CLUSTER);
        append_all(&log, (0..100).map(|index| record(writer as u64, index)));
    }
    for node in 0..3 {
        let address = cluster.stop(node);
        cluster.restart(node, address);
    }
    for (writer, config) in configs.iter().enumerate() {
        let log = cluster.client.open(config, support::CLUSTER);
        log.seal().unwrap();
        let tail = log.check_tail().unwrap();
        assert_eq!((tail.tail, tail.sealed), (Offset(100), true));
        log.set_stop(tail.tail).unwrap();
        assert_eq!(read_all(&log, 0, 100)[42], record(writer as u64, 42));
    }
}

#[test]
fn status_covers_every_shard() {
    for shards in [1, 2] {
        let cluster = Cluster::start(1, shards);
        let address = cluster.nodes[0].as_ref().unwrap().address();
        let status = cluster.client.status(address).unwrap();
        assert_eq!(status["shards"].as_array().unwrap().len(), shards);
        assert_eq!(status["durability"], "quorum-dsync");
    }
}

/// A node may have a thousand loglets, and a status is read by whoever takes only small frames.
#[test]
fn a_status_that_is_longer_than_a_frame_comes_in_parts() {
    let cluster = Cluster::start(1, 2);
    let loglets = 60;
    for version in 2..=loglets {
        let mut config = cluster.config.clone();
        config.id.version = version;
        cluster.client.create(&config, support::CLUSTER).unwrap();
        cluster.client.open(&config, support::CLUSTER).append(b"a record").wait().unwrap();
    }
    let (frame, record) = (64 << 10, 16 << 10);
    let small = support::client_with(Limits {
        record_bytes_max: record,
        batch_bytes_max: record,
        register_bytes_max: record,
        frame_body_bytes_max: frame,
        ..support::small_limits()
    });
    let status = small.status(cluster.addresses()[0]).unwrap();
    assert!(status.to_string().len() > frame as usize, "it is too short to be divided");
    let shards = status["shards"].as_array().unwrap().iter();
    let told: usize = shards.map(|shard| shard["loglets"].as_array().unwrap().len()).sum();
    assert_eq!(told as u64, loglets);
}
