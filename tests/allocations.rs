//! After warm-up, an append allocates nothing on the servers, on either driver. Counted by an allocator that looks at the
//! shards' threads, and those that write for them, only.

mod support;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use naxos::base::{Limits, LogletId};
use naxos::client::{Client, ClientOptions, Log};
use naxos::io::DriverChoice;
use naxos::node::{SequencerConfig, SequencerNode};
use naxos::wire::LogletConfig;
use support::counting::Counting;
use support::{CLUSTER, Cluster, small_limits};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// None until this thread's name has been looked at.
    static IS_SERVER: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Whether this thread carries out appends on a server, by its name, without allocating.
fn is_server() -> bool {
    IS_SERVER
        .try_with(|cached| {
            if let Some(known) = cached.get() {
                return known;
            }
            let mut name = [0u8; 16];
            // SAFETY: PR_GET_NAME writes at most 16 bytes.
            #[expect(unsafe_code, reason = "the standard library's thread name may allocate")]
            unsafe {
                libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr());
            }
            // A thread allocates before it is named; only a name of ours is final.
            let known = name.starts_with(b"naxos-shard") || name.starts_with(b"naxos-write");
            if known {
                cached.set(Some(true));
            }
            known
        })
        .unwrap_or(false)
}

fn count() {
    if is_server() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(count);

#[test]
fn appends_allocate_nothing_on_the_servers_after_warm_up() {
    // One after the other: they share the counter.
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let cluster = Cluster::start_on(driver, 3, 1);
        appends_allocate_nothing_on(driver, &[cluster.log()]);
        // The same with the sequencer in the client's process, whose thread counts as a server's.
        let config = SequencerConfig { driver, limits: small_limits(), ..SequencerConfig::new(CLUSTER) };
        let sequencer = SequencerNode::start(config).unwrap();
        let id = LogletId { nonce: 2, ..cluster.config.id };
        let config = LogletConfig { id, sequencer: sequencer.sequencer(), ..cluster.config.clone() };
        let collocated = Some(sequencer.collocated());
        let options = ClientOptions { limits: small_limits(), driver, collocated, ..ClientOptions::default() };
        let client = Client::start(options).unwrap();
        client.create(&config, CLUSTER).unwrap();
        appends_allocate_nothing_on(driver, &[client.open(&config, CLUSTER)]);
    }
    let limits = Limits { lanes: 2, ..small_limits() };
    let cluster = Cluster::start_with(DriverChoice::Uring, 3, 2, limits);
    appends_allocate_nothing_on(DriverChoice::Uring, &[cluster.log(), cluster.log()]);
}

/// Of several, each appends on a lane of its own.
fn appends_allocate_nothing_on(driver: DriverChoice, logs: &[Log]) {
    const APPENDS: u64 = 2_000;
    let (lanes, log) = (logs.len(), |number: u64| &logs[number as usize % logs.len()]);
    let append_one_by_one = |count: u64| {
        for number in 0..count {
            log(number).append(&[1; 100]).wait().unwrap();
        }
    };
    let append_pipelined = |count: u64| {
        let appends: Vec<_> = (0..count).map(|number| log(number).append(&[1; 100])).collect();
        for append in appends {
            append.wait().unwrap();
        }
    };
    append_one_by_one(1_000);
    append_pipelined(20_000);

    let before = ALLOCATIONS.load(Ordering::Relaxed);
    assert!(before > 0, "the counter works");
    append_one_by_one(APPENDS);
    append_pipelined(APPENDS);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    // What is left is amortised growth: index points, one for 64 KiB of journal, and segments rolling over. How much of it there is depends
    // on how appends share units: 0.006 to 0.011 of an append on a busy machine.
    let per_append = allocations as f64 / (3 * 2 * APPENDS) as f64;
    println!("{driver}, {lanes} lanes: {allocations} allocations on three servers for {} appends", 2 * APPENDS);
    // What one lane has early for want of another's range is held in memory that grows now and then.
    assert!(
        per_append < 0.02 * lanes as f64,
        "{driver}, {lanes} lanes: {allocations} allocations for {} appends on three servers",
        2 * APPENDS
    );
}
