//! The `naxos` program: a cluster on this machine, a node, operations on logs, data directories, the simulator, and the benchmark.

mod admin;
mod append;
mod args;
mod bench;
mod bench_chain;
mod bench_cluster;
mod bench_failover;
mod bench_plan;
mod bench_read;
mod bench_reconfigure;
mod bench_rig;
mod bench_virtualization;
mod cluster;
mod cluster_file;
mod config;
mod config_keys;
mod dev;
mod directory;
mod exit;
mod help;
mod inspect;
mod interrupt;
mod log;
mod man;
mod notify;
mod orphan;
mod output;
mod program;
mod progress;
mod read;
mod serve;
mod sim;
mod status;
mod status_table;
mod supervisor;

pub use program::main;
