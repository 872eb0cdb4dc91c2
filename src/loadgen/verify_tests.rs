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
