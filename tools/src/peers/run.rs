//! The command from its beginning to its end, also when that comes early.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, bail};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use super::etcd::Etcd;
use super::measure::Bench;
use super::nats::Nats;
use super::naxos::Naxos;
use super::options::{Options, Shape, System};
use super::process::Missing;
use super::redis::Redis;
use super::row::{Row, table};
use super::zookeeper::Zookeeper;

/// File-system types without a disk, from the kernel's `include/uapi/linux/magic.h`.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Measures what was asked for. Whatever happens, nothing is left running, and nothing in the directory.
///
/// # Errors
/// Nothing could be measured, or something that was is not valid. Rows have been printed all the same.
pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let options = options.ordered();
    let kind = rustix::fs::statfs(&options.dir).with_context(|| format!("--dir {}", options.dir.display()))?.f_type;
    if IN_MEMORY.contains(&(kind as u64 & 0xffff_ffff)) {
        bail!("{} is in memory: name a directory on a disk with --dir", options.dir.display());
    }
    // Dropped last, when nobody writes to it any more.
    let scratch = tempfile::Builder::new().prefix("naxos-peers-").tempdir_in(&options.dir);
    let scratch = scratch.with_context(|| format!("cannot write to {}", options.dir.display()))?;
    let path = scratch.path().canonicalize()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(LocalSet::new().run_until(async {
        tokio::select! {
            // First of all, signals are taken over.
            biased;
            result = interrupted() => result,
            result = all(&options, &path) => result,
        }
    }));
    drop(runtime);
    let removed = scratch.close().context("cannot remove the temporary directory");
    result.and(removed)
}

/// An error once the program is asked to end.
async fn interrupted() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    bail!("interrupted")
}

async fn all(options: &Options, scratch: &Path) -> anyhow::Result<()> {
    let mut bench = Bench::new(options, scratch)?;
    let mut rows: Vec<Row> = Vec::new();
    let (mut missing, mut failed) = (Vec::new(), Vec::new());
    let mut merged = Vec::new();
    for round in 1..=options.rounds {
        for &system in &options.systems {
            if missing.contains(&system) {
                continue;
            }
            let before = rows.len();
            let result = one(&mut bench, system, &scratch.join(format!("{}-{round}", system.name())), &mut rows).await;
            rows[before..].iter().for_each(tell);
            if let Err(error) = result {
                eprintln!("{}, round {round}: {error:#}", system.name());
                if error.is::<Missing>() {
                    missing.push(system);
                } else if !failed.contains(&system.name()) {
                    failed.push(system.name());
                }
            }
            if round == options.rounds {
                for shape in &options.shapes {
                    let same = |row: &&Row| row.system == system.name() && row.shape == *shape;
                    let Some(row) = Row::of_rounds(rows.iter().filter(same).cloned().collect()) else { continue };
                    if options.json {
                        writeln!(io::stdout(), "{}", serde_json::to_string(&row)?)?;
                    }
                    merged.push(row);
                }
            }
        }
    }
    if !options.json {
        write!(io::stdout(), "{}", table(&merged))?;
    }
    if !failed.is_empty() {
        bail!("not everything was measured: {}", failed.join(", "));
    }
    if merged.is_empty() {
        bail!("nothing was measured");
    }
    if merged.iter().any(|row| !row.valid) {
        bail!("not every row is valid");
    }
    Ok(())
}

/// One round of one system.
async fn one(bench: &mut Bench<'_>, system: System, directory: &Path, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    fs::create_dir(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    match system {
        System::Naxos => naxos(bench, directory, rows).await?,
        System::Etcd => bench.round::<Etcd>(system, directory, rows).await?,
        System::Zookeeper => bench.round::<Zookeeper>(system, directory, rows).await?,
        System::Redis => bench.round::<Redis>(system, directory, rows).await?,
        System::Nats => bench.round::<Nats>(system, directory, rows).await?,
    }
    fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))
}

async fn naxos(bench: &mut Bench<'_>, directory: &Path, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let naxos = Naxos::find(bench.options)?;
    for &shape in &bench.options.shapes {
        let mut rate = None;
        if shape == Shape::OpenLoop {
            if bench.rate(System::Naxos).is_none() {
                let row = naxos.row(bench, directory, Shape::Batched, None).await?;
                bench.peak(System::Naxos, row.appends_per_s);
            }
            rate = bench.rate(System::Naxos);
        }
        let row = naxos.row(bench, directory, shape, rate).await?;
        if shape == Shape::Batched {
            bench.peak(System::Naxos, row.appends_per_s);
        }
        rows.push(row);
    }
    Ok(())
}

/// Says how it goes, to whoever waits.
fn tell(row: &Row) {
    let problem = row.problem.as_ref().map(|problem| format!("; not valid: {problem}")).unwrap_or_default();
    let (rate, p50, p99) = (row.appends_per_s, row.p50_us, row.p99_us);
    eprintln!("{} {}: {rate:.0} appends/s, p50 {p50:.1} us, p99 {p99:.1} us{problem}", row.system, row.shape.name());
}
