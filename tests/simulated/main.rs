//! The production shard and client reactor over the simulated driver: whole clusters in one thread, in virtual time, with
//! crashes, partitions and broken disks at moments drawn from a seed. A failure names its seed, which repeats it exactly.
#![allow(unreachable_pub, reason = "helpers of a test binary")]

mod cluster;
mod crashes;
mod disk_faults;
mod full_disk;
mod same_seed;
mod silence;
mod stalls;
mod tokens;
mod virtual_log;
mod writer;
