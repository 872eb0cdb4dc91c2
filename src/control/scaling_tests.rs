use super::*;
use crate::client::Stripes;

const MARKS: Scaling = Scaling {
    round: Duration::from_secs(10),
    high: 0.75,
    high_rounds: 3,
    waits: 4.0,
    low: 0.25,
    low_rounds: 6,
    rest: Duration::from_secs(30),
};

fn range(least: usize, most: usize) -> StripeRange {
    StripeRange { least: Stripes { count: least, sharded: false }, most }
}

/// A shard in which appends wait for as long as so many durable writes take, which are 100 us each.
fn shard(waits: f64) -> Load {
    let queueing = Duration::from_nanos((waits * 1e5) as u64);
    Load { busy: 0.95, queueing, disk: 0.3, write: Duration::from_micros(100), delayed: 0.0 }
}

/// A log of so many stripes whose busiest sequencer uses so much of a core; each number of stripes is another loglet.
fn sample(stripes: usize, busy: f64) -> Sample {
    Sample {
        loglet: LogletId { log: 1, version: stripes as u64, nonce: 0 },
        stripes,
        range: range(1, 8),
        room: 64,
        busiest: Sequenced { busy, shard: shard(0.4) },
        obstacle: None,
    }
}

/// How many stripes a log of 1..8 has after each round, begun with two, when it has to use so much of cores altogether in each, and every
/// decision is carried out before the next.
fn stripes_over(work: &[f64]) -> Vec<usize> {
    let (mut rounds, mut stripes) = (Rounds::new(), 2);
    let mut round = |work: &f64| {
        rounds.measured(sample(stripes, (work / stripes as f64).min(1.0)), &MARKS);
        stripes = rounds.wanted(sample(stripes, 0.0).loglet).unwrap_or(stripes);
        stripes
    };
    work.iter().map(&mut round).collect()
}

fn changes(stripes: &[usize]) -> Vec<usize> {
    let mut changes = stripes.to_vec();
    changes.dedup();
    changes
}

#[test]
fn stripes_follow_the_load() {
    let cases: [(&str, Vec<f64>, &[usize]); 8] = [
        ("calm", vec![0.8; 100], &[2]),
        ("rises", [vec![0.8; 10], vec![1.9; 4], vec![3.7; 10]].concat(), &[2, 4, 8]),
        ("rises step by step", (0..100).map(|round| f64::from(round) / 12.0).collect(), &[2, 1, 2, 4, 8]),
        ("falls", [vec![0.3; 20], vec![0.0; 20]].concat(), &[2, 1]),
        ("more than there may be", vec![100.0; 50], &[2, 4, 8]),
        ("a sawtooth over the high mark", [0.8, 1.3, 1.6, 1.9].repeat(30), &[2]),
        ("a sawtooth between both marks", [0.2, 1.0, 1.8, 1.0].repeat(30), &[2]),
        ("a spike now and then", [vec![2.0; 2], vec![1.0; 5]].concat().repeat(20), &[2]),
    ];
    for (name, work, expected) in cases {
        let stripes = stripes_over(&work);
        let (last, before) = (stripes.last().unwrap(), changes(&stripes));
        let all: Vec<usize> = if before[0] == 2 { before } else { [vec![2], before].concat() };
        assert_eq!(all, expected, "{name}: {stripes:?}");
        assert_eq!(last, expected.last().unwrap());
    }
}

/// Whatever the work is, and however much it wavers: what has grown does not shrink, and what has shrunk does not grow.
#[test]
fn no_steady_work_makes_a_log_flap() {
    let mut random = crate::base::Rng::with_seed(7);
    for tenths in 0..120 {
        let work: Vec<f64> = (0..400).map(|_| f64::from(tenths) / 10.0 * (0.85 + 0.3 * random.f64())).collect();
        let all = [vec![2], changes(&stripes_over(&work))].concat();
        let pairs = all.windows(2).filter(|pair| pair[0] != pair[1]);
        let ups: Vec<bool> = pairs.map(|pair| pair[1] > pair[0]).collect();
        assert!(ups.windows(2).all(|pair| pair[0] == pair[1]), "{tenths} tenths of a core: {all:?}");
    }
}

#[test]
fn it_takes_rounds_in_succession_and_of_the_same_loglet() {
    let mut rounds = Rounds::new();
    let mut wanted = |stripes, busy: &[f64]| {
        busy.iter().for_each(|busy| drop(rounds.measured(sample(stripes, *busy), &MARKS)));
        rounds.wanted(sample(stripes, 0.0).loglet)
    };
    assert_eq!(wanted(2, &[0.75, 0.8, 0.74, 0.9, 0.9]), None);
    assert_eq!(wanted(2, &[0.9]), Some(4), "and 0.75 is busy");
    assert_eq!(wanted(4, &[0.9, 0.9]), None, "another loglet is to be measured first");
    assert_eq!(wanted(4, &[0.9]), Some(8));
    assert_eq!(wanted(8, &[0.25; 5]), None);
    assert_eq!(wanted(8, &[0.26, 0.1, 0.1, 0.1, 0.1, 0.1]), None);
    assert_eq!(wanted(8, &[0.1]), Some(4));
}

#[test]
fn what_was_decided_is_void_once_it_cannot_be_measured_or_is_another_loglet() {
    let mut rounds = Rounds::new();
    (0..3).for_each(|_| drop(rounds.measured(sample(2, 0.9), &MARKS)));
    let (now, next) = (sample(2, 0.9).loglet, sample(4, 0.9).loglet);
    assert_eq!((rounds.wanted(now), rounds.wanted(next)), (Some(4), None));
    rounds.interrupted();
    assert_eq!(rounds.wanted(now), None);
    (0..2).for_each(|_| drop(rounds.measured(sample(2, 0.9), &MARKS)));
    assert_eq!(rounds.wanted(now), None, "it begins anew");
    rounds.measured(sample(2, 0.9), &MARKS);
    assert_eq!(rounds.wanted(now), Some(4));
}

#[test]
fn it_stays_within_its_range_and_what_its_nodes_have_room_for() {
    let wanted = |stripes: usize, busy: f64, least: usize, most: usize, room: usize| {
        let mut rounds = Rounds::new();
        for _ in 0..MARKS.low_rounds {
            rounds.measured(Sample { range: range(least, most), room, ..sample(stripes, busy) }, &MARKS);
        }
        (rounds.wanted(sample(stripes, 0.0).loglet), rounds.last.unwrap().1)
    };
    let divide = |stripes, cause| (Some(stripes), Verdict::Divide(stripes, cause));
    assert_eq!(wanted(4, 0.9, 1, 6, 64), divide(6, Cause::Busy));
    assert_eq!(wanted(4, 0.9, 1, 8, 5), divide(5, Cause::Busy));
    assert_eq!(wanted(6, 0.9, 1, 6, 64), (None, Verdict::Most));
    assert_eq!(wanted(4, 0.9, 1, 8, 4), (None, Verdict::NoRoom(4, Cause::Busy)));
    assert_eq!(wanted(3, 0.1, 2, 8, 64), divide(2, Cause::Quiet));
    assert_eq!(wanted(2, 0.1, 2, 8, 64), (None, Verdict::Fewest));
    assert_eq!(wanted(5, 0.1, 1, 8, 64), divide(2, Cause::Quiet));
    assert_eq!(wanted(1, 0.0, 1, 8, 64), (None, Verdict::Fewest));
}

/// Long is what a durable write costs, some times over; with a slow disk appends wait longer, and need no other sequencer for that.
#[test]
fn appends_that_wait_long_make_a_log_busy() {
    let decided = |busy: f64, shard: Load| {
        let mut rounds = Rounds::new();
        let busiest = Sequenced { busy, shard };
        (0..MARKS.high_rounds).for_each(|_| drop(rounds.measured(Sample { busiest, ..sample(2, 0.0) }, &MARKS)));
        (rounds.wanted(sample(2, 0.0).loglet), rounds.reason(&MARKS))
    };
    let (wanted, reason) = decided(0.6, shard(4.5));
    assert_eq!(wanted, Some(4), "{reason}");
    assert!(reason.contains("because its appends wait long for 3 rounds"), "{reason}");
    assert!(reason.contains("waited 450 us there, which is 4.5 durable writes (4.0 is long)"), "{reason}");
    assert_eq!(decided(0.6, shard(3.9)).0, None);
    let slow = |load: Load| Load { write: load.write * 100, queueing: load.queueing * 100, ..load };
    assert_eq!((decided(0.6, slow(shard(3.9))).0, decided(0.6, slow(shard(4.5))).0), (None, Some(4)));
    assert_eq!(decided(0.6, Load { disk: DISK_FULL, ..shard(9.0) }).0, None, "the disk is what they wait for");
    let (wanted, reason) = decided(0.6, Load { delayed: 0.3, ..shard(9.0) });
    assert_eq!(wanted, None, "a core is what they wait for");
    assert!(
        reason.contains("its shard 0.95 in all and had none for 30 % of the time, appends waited 900 us"),
        "{reason}"
    );
    assert_eq!(decided(0.8, Load { delayed: 0.3, ..shard(9.0) }).0, Some(4), "that it is busy is not for that");
    assert_eq!(decided(0.6, Load { delayed: 0.05, ..shard(9.0) }).0, Some(4), "now and then everybody waits");
    let (wanted, reason) = decided(0.6, Load { write: Duration::ZERO, ..shard(9.0) });
    assert!(wanted.is_none() && reason.contains("waited 900 us there, 30 %"), "nothing to compare it with: {reason}");
    assert_eq!(decided(0.5, shard(100.0)).0, None, "others keep the shard busy: divided, it would be quiet");
    assert!(decided(0.8, shard(9.0)).1.contains("because it is busy for 3 rounds"));
}

/// The more there is to do, the longer the queue: what was divided for its queue is not put together for its quiet.
#[test]
fn no_steady_queue_makes_a_log_flap() {
    for hundredths in 1..800 {
        let (mut rounds, mut stripes, mut all) = (Rounds::new(), 2, vec![2]);
        for _ in 0..300 {
            let busy = (f64::from(hundredths) / 100.0 / stripes as f64).min(0.99);
            let busiest = Sequenced { busy, shard: shard(4.0 * busy / (1.0 - busy)) };
            rounds.measured(Sample { busiest, ..sample(stripes, 0.0) }, &MARKS);
            stripes = rounds.wanted(sample(stripes, 0.0).loglet).unwrap_or(stripes);
            all.push(stripes);
        }
        let changes = changes(&all);
        let ups: Vec<bool> = changes.windows(2).map(|pair| pair[1] > pair[0]).collect();
        assert!(ups.windows(2).all(|pair| pair[0] == pair[1]), "{hundredths}: {changes:?}");
    }
}

/// Whatever its load is, or stands in the way of more: somebody has asked for it.
#[test]
fn a_number_outside_the_range_is_corrected_in_the_next_round() {
    let told = |stripes: usize, busy: f64, (least, most): (usize, usize), room: usize| {
        let mut rounds = Rounds::new();
        let obstacle = Some(Obstacle::Shards);
        rounds.measured(Sample { range: range(least, most), room, obstacle, ..sample(stripes, busy) }, &MARKS);
        (rounds.wanted(sample(stripes, 0.0).loglet), rounds.reason(&MARKS))
    };
    for busy in [0.0, 0.5, 1.0] {
        for (stripes, within, expected) in [(1, (2, 4), 2), (6, (2, 4), 4), (3, (4, 8), 4)] {
            let (wanted, reason) = told(stripes, busy, within, 64);
            assert_eq!(wanted, Some(expected), "{reason}");
            let (least, most) = within;
            assert!(reason.contains(&format!("because it may have {least}..{most}")), "{reason}");
        }
        let (wanted, reason) = told(1, busy, (4, 8), 3);
        assert_eq!(wanted, None);
        assert!(reason.contains("because it may have 4..8 and its nodes have room for 3 stripes only"), "{reason}");
        assert_eq!(told(6, busy, (2, 4), 3).0, Some(4), "fewer always have room");
        assert_eq!(told(2, busy, (2, 4), 64).0, None);
    }
    let mut rounds = Rounds::new();
    rounds.measured(Sample { range: range(2, 8), ..sample(1, 0.5) }, &MARKS);
    rounds.measured(Sample { range: range(2, 8), ..sample(2, 0.5) }, &MARKS);
    assert!(rounds.reason(&MARKS).ends_with("got 2 stripes instead of 1 by its range"), "{}", rounds.reason(&MARKS));
}

#[test]
fn what_would_be_in_vain_is_not_done_and_said() {
    let obstacles = [
        (Obstacle::Cores { machine: "10.0.0.1".to_owned(), used: 1.9, cores: 2 }, "1.90 of the 2 of 10.0.0.1"),
        (Obstacle::Shards, "all shards that could take a stripe"),
        (Obstacle::Disk(0.95), "disks take no more (95 %"),
    ];
    for (obstacle, text) in obstacles {
        let mut rounds = Rounds::new();
        let told = |rounds: &mut Rounds, busy| {
            rounds.measured(Sample { obstacle: Some(obstacle.clone()), ..sample(2, busy) }, &MARKS)
        };
        let verdicts: Vec<_> = (0..5).map(|_| told(&mut rounds, 0.9)).collect();
        let in_vain = Some(Verdict::InVain(obstacle.clone()));
        assert_eq!(verdicts, [Some(Verdict::Stay), None, in_vain, None, None], "each is said once");
        let reason = rounds.reason(&MARKS);
        assert!(reason.contains(text) && reason.contains("used 0.90 of a core"), "{reason}");
        (0..6).for_each(|_| drop(told(&mut rounds, 0.1)));
        assert_eq!(rounds.wanted(sample(2, 0.0).loglet), Some(1), "it is no obstacle to fewer");
    }
}

#[test]
fn the_reason_has_the_numbers_and_the_last_change() {
    let mut rounds = Rounds::new();
    assert!(rounds.reason(&MARKS).contains("have not been measured"));
    rounds.measured(sample(1, 0.5), &MARKS);
    assert!(rounds.reason(&MARKS).starts_with("1 stripe of 1..8, not scaled"), "{}", rounds.reason(&MARKS));
    (0..3).for_each(|_| drop(rounds.measured(sample(2, 0.93), &MARKS)));
    let reason = rounds.reason(&MARKS);
    assert!(reason.starts_with("2 stripes of 1..8, to have 4 stripes, because it is busy for 3 rounds"), "{reason}");
    assert!(reason.contains("0.93 of a core") && reason.contains("shard 0.95 in all"), "{reason}");
    assert!(reason.contains("waited 40 us there, which is 0.4 durable writes (4.0 is long)"), "{reason}");
    rounds.measured(sample(4, 0.5), &MARKS);
    let reason = rounds.reason(&MARKS);
    assert!(reason.starts_with("4 stripes of 1..8, not scaled, because it is neither busy nor quiet"), "{reason}");
    assert!(reason.ends_with("got 4 stripes instead of 2 at 0.93"), "{reason}");
}

#[test]
fn marks_that_contradict_each_other_are_refused_by_name() {
    assert_eq!((Scaling::default().check(), MARKS.check()), (Ok(()), Ok(())));
    let cases = [
        (Scaling { round: Duration::from_millis(999), ..MARKS }, "round_ms"),
        (Scaling { high_rounds: 0, ..MARKS }, "busy_rounds"),
        (Scaling { low_rounds: 0, ..MARKS }, "quiet_rounds"),
        (Scaling { waits: 0.0, ..MARKS }, "long_wait_writes"),
        (Scaling { low: MARKS.high / 2.0, ..MARKS }, "quiet_percent"),
        (Scaling { high: f64::NAN, ..MARKS }, "quiet_percent"),
    ];
    for (marks, name) in cases {
        let why = marks.check().unwrap_err().to_string();
        assert!(why.contains(name), "{why}");
    }
}
