//! `naxos bench paper`: what the publication of Delos ("Virtual Consensus in Delos", OSDI'20) has measured, measured here.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::args::{self, Driver, Global, Place, Site};
use super::bench_plan::{journal_bytes, plan};
use super::bench_rig::Ran;
use super::interrupt::Interrupt;
use super::load_args::Load;
use super::result_file::ResultFile;
use super::{bench_paper_converged, bench_paper_rotating, bench_paper_stripes, exit, output};
use crate::base::Limits;
use crate::loadgen::floor::Floor;
use crate::loadgen::generator::Plan;
use crate::loadgen::machine::commit;

/// LogServers of the smallest log in every experiment.
pub(super) const COPIES: u16 = 3;
/// Segments in hand while the space of the load before is on its way back.
const SEGMENTS_IN_HAND: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Experiment {
    /// Throughput over the number of stripes
    Stripes,
    /// Sequencers that rotate over 5, 7 and 9 nodes, against one on the same nodes
    Rotating,
    /// Clients in the processes of the nodes, against clients outside
    Converged,
}

#[derive(Debug, Clone, Args)]
pub(super) struct PaperOptions {
    /// Which one [default: all, one after the other]
    #[arg(value_enum, value_name = "EXPERIMENT")]
    experiment: Option<Experiment>,
    /// Measured time of each load
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = args::seconds)]
    seconds: f64,
    /// Load before the measured time
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = args::seconds)]
    warm_up: f64,
    /// How often each log is loaded, in turn with the others; the medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(super) rounds: u16,
    /// Size of every record; at least 24, which tell where it comes from
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub(super) record_bytes: usize,
    /// Connections; of `converged` there is one for each node
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(super) clients: u32,
    /// Appends in flight on each connection
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    inflight: u32,
    /// The most nodes that a log is put on
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(3..=15))]
    pub(super) nodes_max: u16,
    /// Give each node a network of its own with a link of so many megabits a second, in namespaces: needs root; of `stripes` and `rotating`
    #[arg(long, value_name = "MBIT_PER_S", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) link_mbit: Option<u32>,
    /// Journal bytes of each node to prepare before the loads [default: estimated from the floor]
    #[arg(long, value_name = "BYTES")]
    prepare_bytes: Option<u64>,
    /// Write the result and a picture of each experiment into this directory, made if need be
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    driver: Driver,
    #[command(flatten)]
    place: Place,
}

impl PaperOptions {
    /// The load on a cluster of so many nodes.
    pub(super) fn load(&self, nodes: u16) -> Load {
        let site = Site { nodes, driver: self.driver, place: self.place.clone() };
        Load {
            warm_up: self.warm_up,
            record_bytes: self.record_bytes,
            clients: self.clients,
            inflight: self.inflight,
            prepare_bytes: self.prepare_bytes,
            ..Load::plain(self.seconds, site)
        }
    }

    /// Journal bytes of each node for one load after the other, each of which is trimmed when it has been read back. A log on few of the
    /// nodes has more of the disk than the floor says, which is that of all of them: the segments in hand are for that as well.
    pub(super) fn journal_bytes(&self, plan: &Plan, clients: u32, floor: &Floor) -> u64 {
        journal_bytes(plan, clients, floor) + SEGMENTS_IN_HAND * Limits::default().segment_bytes
    }
}

/// What an experiment has come to.
pub(super) struct Figure {
    pub(super) name: &'static str,
    /// The content of `paper-NAME.json`.
    pub(super) report: Value,
    pub(super) text: String,
    pub(super) svg: String,
    pub(super) valid: bool,
}

impl Figure {
    /// Puts the object together: what it is about, where it ran, and what it found.
    pub(super) fn report(
        name: &'static str,
        options: &PaperOptions,
        ran: &Ran,
        found: Value,
        valid: bool,
    ) -> anyhow::Result<Value> {
        let mut report = json!({
            "schema": 1,
            "bench": "paper",
            "experiment": name,
            "publication": "Virtual Consensus in Delos (OSDI'20)",
            "seconds": options.seconds,
            "rounds": options.rounds,
            "record_bytes": options.record_bytes,
            "inflight": options.inflight,
            "link_mbit": options.link_mbit,
            "valid": valid,
        });
        let object = report.as_object_mut().expect("it was made as one");
        for part in [found, serde_json::to_value(ran)?] {
            let Value::Object(part) = part else { anyhow::bail!("{part} is no part of a report") };
            object.extend(part);
        }
        // Each log has one of its own.
        object.remove("quorum");
        Ok(report)
    }
}

/// What every experiment here has in another way than the publication.
pub(super) fn differences(options: &PaperOptions, ran: &Ran, more: &[&str]) -> Vec<String> {
    let machine = &ran.machine;
    let network = match options.link_mbit {
        None => "over its loopback".to_owned(),
        Some(rate) => {
            format!("over a bridge between namespaces, on links that let {rate} Mbit/s pass to and from each node")
        }
    };
    let mut notes = vec![
        format!(
            "One machine: all {} nodes and the load share {} cores ({}), and what they say to each other goes {network}. Published \
             figures are of servers with a network between them: shapes and ratios can be compared, absolute numbers cannot.",
            ran.nodes, machine.cores, machine.cpu
        ),
        format!(
            "One disk: the copies of all nodes are written to the same one ({}, write cache: {}), so that more nodes share what it gives.",
            machine.disk, machine.write_cache
        ),
        match ran.durability {
            "volatile" => "Durability: none, the directory is in memory.".to_owned(),
            _ => "Durability: an append is acknowledged when a majority of its stripe's LogServers has written it to the disk \
                  (O_DIRECT, RWF_DSYNC)."
                .to_owned(),
        },
        format!("Records of {} B; the publication appends 1 KB.", options.record_bytes),
    ];
    notes.extend(more.iter().map(|&note| note.to_owned()));
    notes
}

/// The lines of [`differences`] for a terminal.
pub(super) fn listed(notes: &[String]) -> String {
    let lines: Vec<String> = notes.iter().map(|note| format!("- {note}")).collect();
    format!("what differs from the publication:\n{}", lines.join("\n"))
}

/// A directory for results; one that was made for them goes with them if they do not come.
struct OutDirectory {
    path: PathBuf,
    made: bool,
}

impl OutDirectory {
    fn prepare(path: &Path) -> anyhow::Result<Self> {
        let made = match fs::create_dir(path) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => false,
            Err(error) => return Err(exit::coded(exit::USAGE, format!("cannot make {}: {error}", path.display()))),
        };
        Ok(Self { path: path.to_owned(), made })
    }
}

impl Drop for OutDirectory {
    fn drop(&mut self) {
        if self.made {
            // Refused where results are in it, which is as it should be.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// The files of one experiment.
struct OutFiles {
    json: ResultFile,
    svg: ResultFile,
}

impl OutFiles {
    fn prepare(out: &OutDirectory, experiment: Experiment) -> anyhow::Result<Self> {
        let file = |kind| ResultFile::prepare(&out.path.join(format!("paper-{}.{kind}", experiment.name())));
        Ok(Self { json: file("json")?, svg: file("svg")? })
    }

    fn write(self, figure: &Figure) -> anyhow::Result<()> {
        self.json.write(|out| writeln!(out, "{}", figure.report))?;
        self.svg.write(|out| out.write_all(figure.svg.as_bytes()))
    }
}

impl Experiment {
    const ALL: [Self; 3] = [Self::Stripes, Self::Rotating, Self::Converged];

    fn name(self) -> &'static str {
        match self {
            Self::Stripes => bench_paper_stripes::NAME,
            Self::Rotating => bench_paper_rotating::NAME,
            Self::Converged => bench_paper_converged::NAME,
        }
    }

    /// Refuses what cannot be measured, before anything starts.
    fn check(self, options: &PaperOptions) -> anyhow::Result<()> {
        plan(&options.load(options.nodes_max))?;
        match self {
            Self::Converged if options.link_mbit.is_some() => Err(exit::coded(
                exit::USAGE,
                "--link-mbit goes with `stripes` or `rotating`: the clients of `converged` are in the processes of nodes, which share a network",
            )),
            Self::Rotating => bench_paper_rotating::check(options.nodes_max),
            Self::Stripes | Self::Converged => Ok(()),
        }
    }

    fn measure(self, options: &PaperOptions, interrupt: &Interrupt) -> anyhow::Result<Figure> {
        match self {
            Self::Stripes => bench_paper_stripes::run(options, interrupt),
            Self::Rotating => bench_paper_rotating::run(options, interrupt),
            Self::Converged => bench_paper_converged::run(options, interrupt),
        }
    }
}

pub(super) fn run(global: &Global, options: &PaperOptions) -> anyhow::Result<()> {
    let experiments = options.experiment.map_or(Experiment::ALL.to_vec(), |one| vec![one]);
    experiments.iter().try_for_each(|experiment| experiment.check(options))?;
    let out = options.out.as_deref().map(OutDirectory::prepare).transpose()?;
    // Behind the directory, so that they go before it does.
    let files = experiments.iter().filter_map(|&experiment| Some(OutFiles::prepare(out.as_ref()?, experiment)));
    let files = files.collect::<anyhow::Result<Vec<_>>>()?;
    let interrupt = Interrupt::install()?;
    let measure = |experiment: &Experiment| experiment.measure(options, &interrupt);
    let figures = experiments.iter().map(measure).collect::<anyhow::Result<Vec<Figure>>>()?;
    files.into_iter().zip(&figures).try_for_each(|(files, figure)| files.write(figure))?;
    let valid = figures.iter().all(|figure| figure.valid);
    if global.json {
        let mut object = json!({ "schema": 1, "bench": "paper", "valid": valid, "commit": commit() });
        figures.into_iter().for_each(|figure| object[figure.name] = figure.report);
        output::json(&object)?;
    } else {
        let texts: Vec<String> = figures.into_iter().map(|figure| figure.text).collect();
        output::text(texts.join("\n\n"))?;
    }
    exit::verdict(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_made_goes_unless_there_are_results_in_it() {
        let place = tempfile::tempdir().unwrap();
        let made = place.path().join("made");
        drop(OutDirectory::prepare(&made).unwrap());
        assert!(!made.exists());
        let out = OutDirectory::prepare(&made).unwrap();
        fs::write(made.join("result"), "x").unwrap();
        drop(out);
        assert!(made.join("result").exists());
        let there = place.path().join("there");
        fs::create_dir(&there).unwrap();
        drop(OutDirectory::prepare(&there).unwrap());
        assert!(there.exists(), "it was there before");
        assert!(
            OutDirectory::prepare(&made.join("result")).is_err() && OutDirectory::prepare(&there.join("a/b")).is_err()
        );
    }
}
