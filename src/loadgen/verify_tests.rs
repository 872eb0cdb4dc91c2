use super::*;

const SEED: u64 = 5;
const BYTES: usize = 40;

fn record(client: u64, sequence: u64) -> Vec<u8> {
    let mut out = Vec::new();
    RecordKey { seed: SEED, client, sequence }.write(BYTES, &mut out);
    out
}

/// Two clients that append in turns; every record but those in `failed` is acknowledged where it is put.
fn history(records: u64, failed: &[(u64, u64)]) -> (Vec<Ledger>, Vec<Vec<u8>>) {
    let mut ledgers = vec![Ledger::default(); 2];
    let mut log = Vec::new();
    for sequence in 0..records {
        for client in 0..2 {
            let ledger = &mut ledgers[client as usize];
            ledger.issue(0);
            if failed.contains(&(client, sequence)) {
                ledger.fail(sequence);
            } else {
                ledger.acknowledge(sequence, Offset(log.len() as u64), 0);
                log.push(record(client, sequence));
            }
        }
    }
    (ledgers, log)
}

fn check(ledgers: &[Ledger], log: &[Vec<u8>]) -> Verified {
    let mut checker = Checker::new(SEED, BYTES, ledgers);
    log.iter().for_each(|record| checker.record(record));
    checker.finish()
}

#[test]
fn a_faithful_log_is_verified() {
    let (ledgers, log) = history(100, &[]);
    let verified = check(&ledgers, &log);
    assert!(verified.holds());
    assert_eq!((verified.acked, verified.read_back), (200, 200));
}

#[test]
fn failed_appends_may_be_absent_or_present() {
    let (ledgers, mut log) = history(100, &[(0, 98), (0, 99)]);
    assert!(check(&ledgers, &log).holds());
    log.push(record(0, 99));
    let verified = check(&ledgers, &log);
    assert!(verified.holds());
    assert_eq!(verified.unacknowledged, 1);
}

#[test]
fn a_lost_record_is_missing() {
    let (ledgers, mut log) = history(100, &[]);
    log.pop();
    let verified = check(&ledgers, &log);
    assert_eq!((verified.missing, verified.corrupt, verified.duplicate), (1, 0, 0));
    assert!(!verified.holds());
}

#[test]
fn a_record_stored_twice_is_a_duplicate() {
    let (ledgers, mut log) = history(100, &[]);
    log.push(record(1, 3));
    assert_eq!(check(&ledgers, &log).duplicate, 1);
}

#[test]
fn a_changed_byte_is_corrupt_and_not_missing() {
    let (ledgers, mut log) = history(100, &[]);
    log[7][BYTES - 1] ^= 1;
    let verified = check(&ledgers, &log);
    assert_eq!((verified.missing, verified.corrupt, verified.read_back), (0, 1, 199));
    assert!(!verified.holds());
}

#[test]
fn records_of_nobody_are_corrupt() {
    let (ledgers, log) = history(10, &[]);
    for foreign in [record(2, 0), record(0, 10), vec![], vec![0; BYTES]] {
        let mut log = log.clone();
        log.push(foreign);
        assert_eq!(check(&ledgers, &log).corrupt, 1);
    }
}

#[test]
fn records_at_other_offsets_than_acknowledged_are_noticed() {
    let (ledgers, mut log) = history(10, &[]);
    log.swap(4, 6);
    let verified = check(&ledgers, &log);
    assert_eq!((verified.missing, verified.corrupt, verified.misplaced_clients), (0, 0, 1));
    assert!(!verified.holds());
}

/// As [`history`], of a log that is trimmed while it is appended to: what is below the trim point is forgotten.
fn trimmed_history(records: u64, trim_point: u64, failed: &[(u64, u64)]) -> (Vec<Ledger>, Vec<Vec<u8>>) {
    let (_, log) = history(records, failed);
    let mut ledgers = vec![Ledger::of_trimmed(10); 2];
    let mut end = 0;
    for (sequence, client) in (0..records).flat_map(|sequence| (0..2).map(move |client| (sequence, client))) {
        let ledger = &mut ledgers[client as usize];
        ledger.issue(0);
        if failed.contains(&(client, sequence)) {
            ledger.fail(sequence);
        } else {
            ledger.acknowledge(sequence, Offset(end), 0);
            end += 1;
        }
        ledger.forget_below(Offset((end / 10 * 10).min(trim_point)));
    }
    (ledgers, log[trim_point as usize..].to_vec())
}

fn check_trimmed(ledgers: &[Ledger], trim_point: u64, log: &[Vec<u8>]) -> Verified {
    let mut checker = Checker::trimmed(SEED, BYTES, ledgers, Offset(trim_point));
    log.iter().for_each(|record| checker.record(record));
    checker.finish()
}

#[test]
fn what_is_trimmed_is_counted_and_what_is_left_is_verified() {
    let (ledgers, log) = trimmed_history(100, 150, &[]);
    let verified = check_trimmed(&ledgers, 150, &log);
    assert!(verified.holds());
    assert_eq!((verified.acked, verified.trimmed, verified.read_back), (200, 150, 50));
}

#[test]
fn a_record_that_is_lost_above_the_trim_point_is_missing() {
    let (ledgers, log) = trimmed_history(100, 150, &[]);
    for gone in [0, 25, 49] {
        let mut log = log.clone();
        log.remove(gone);
        let verified = check_trimmed(&ledgers, 150, &log);
        assert!(verified.missing == 1 && !verified.holds(), "{verified:?}");
    }
}

#[test]
fn a_trimmed_record_that_comes_again_is_a_duplicate() {
    let (ledgers, mut log) = trimmed_history(100, 150, &[]);
    log.push(record(0, 74));
    assert_eq!(check_trimmed(&ledgers, 150, &log).duplicate, 1);
}

#[test]
fn records_in_another_order_above_the_trim_point_are_noticed() {
    let (ledgers, mut log) = trimmed_history(100, 150, &[]);
    log.swap(4, 6);
    assert_eq!(check_trimmed(&ledgers, 150, &log).misplaced_clients, 1);
}

#[test]
fn a_client_of_which_everything_was_trimmed_has_nothing_to_be_found() {
    let silent: Vec<_> = (40..100).map(|sequence| (1, sequence)).collect();
    let (ledgers, mut log) = trimmed_history(100, 130, &silent);
    let verified = check_trimmed(&ledgers, 130, &log);
    assert!(verified.holds());
    assert_eq!((verified.acked, verified.trimmed, verified.read_back), (140, 130, 10));
    // Its failed append may be there, and what was trimmed may not.
    log.push(record(1, 40));
    assert_eq!(check_trimmed(&ledgers, 130, &log).unacknowledged, 1);
    log.push(record(1, 39));
    assert_eq!(check_trimmed(&ledgers, 130, &log).duplicate, 1);
}

#[test]
fn offsets_may_have_gaps_and_come_in_the_order_of_clients() {
    let mut ledgers = vec![Ledger::default(); 2];
    let offset = |client, sequence| Offset(100 + 7 * (2 * sequence + client));
    for sequence in 0..10 {
        for client in 0..2 {
            ledgers[client as usize].issue(0);
            ledgers[client as usize].acknowledge(sequence, offset(client, sequence), 0);
        }
    }
    let verified = |shift: u64| {
        let mut checker = Checker::new(SEED, BYTES, &ledgers);
        for (client, sequence) in (0..2).flat_map(|client| (0..10).map(move |sequence| (client, sequence))) {
            checker.record_at(Offset(offset(client, sequence).0 + shift), &record(client, sequence));
        }
        checker.finish()
    };
    assert!(verified(0).holds());
    assert_eq!(verified(1).misplaced_clients, 2);
}

#[test]
fn a_gap_does_not_take_memory_without_bound() {
    let mut seen = Seen::default();
    for sequence in 1..AHEAD_MAX as u64 + 10 {
        assert!(seen.insert(sequence));
        assert!(seen.ahead.len() <= AHEAD_MAX);
    }
    assert!(!seen.insert(5));
}
