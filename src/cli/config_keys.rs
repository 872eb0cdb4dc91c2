//! Every key of the configuration file.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::config::{Given, Settings};
use super::lanes;
use crate::base::{ClusterId, Limits};
use crate::node::Scaling;

/// A key of the file.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// Whole sentences; shown above the key.
    pub(super) help: &'static str,
    /// Shown, as a comment, while the key has no value.
    pub(super) example: &'static str,
    /// The value as TOML.
    pub(super) get: fn(&Settings) -> Option<String>,
    /// Takes a value, or says what is wrong with it.
    pub(super) set: fn(&mut Settings, Given) -> Result<(), String>,
}

/// The sections, in the order of the file.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("node", "The node: who it is and where it listens."),
    (
        "limits",
        "Bounds of the node. The defaults suit most machines; the relations between them are checked at the start.",
    ),
    (
        "scaling",
        "When a log that has a range of stripes gets more of them, or fewer. The same on all nodes: any of them may be the one that acts.",
    ),
];

/// A limit in bytes.
macro_rules! bytes {
    ($field:ident, $type:ty, $help:literal) => {
        Key {
            section: "limits",
            name: stringify!($field),
            help: $help,
            example: "",
            get: |settings| Some(write_size(u64::from(settings.limits.$field))),
            set: |settings, given| {
                settings.limits.$field = bounded::<$type>(size(&given)?)?;
                Ok(())
            },
        }
    };
}

/// A limit that is a plain number.
macro_rules! count {
    ($field:ident, $type:ty, $help:literal) => {
        Key {
            section: "limits",
            name: stringify!($field),
            help: $help,
            example: "",
            get: |settings| Some(settings.limits.$field.to_string()),
            set: |settings, given| {
                settings.limits.$field = bounded::<$type>(number(&given)?)?;
                Ok(())
            },
        }
    };
}

/// A limit that is a time, in whole units.
macro_rules! time {
    ($field:ident, $name:literal, $help:literal, $unit:literal, $from:ident, $to:ident) => {
        Key {
            section: "limits",
            name: $name,
            help: $help,
            example: "",
            get: |settings| Some(settings.limits.$field.$to().to_string()),
            set: |settings, given| match number(&given)? {
                0 => Err(concat!("it must be at least 1 ", $unit).to_owned()),
                units => {
                    settings.limits.$field = Duration::$from(u64::from(bounded::<u32>(units)?));
                    Ok(())
                }
            },
        }
    };
}

/// A time in milliseconds.
macro_rules! millis {
    ($field:ident, $name:literal, $help:literal) => {
        time!($field, $name, $help, "millisecond", from_millis, as_millis)
    };
}

/// A time in microseconds.
macro_rules! micros {
    ($field:ident, $name:literal, $help:literal) => {
        time!($field, $name, $help, "microsecond", from_micros, as_micros)
    };
}

/// A mark of scaling, as a whole number within a range.
macro_rules! mark {
    ($name:literal, $range:expr, $get:expr, $set:expr, $help:literal) => {
        Key {
            section: "scaling",
            name: $name,
            help: $help,
            example: "",
            get: |settings| {
                let get: fn(&Scaling) -> u32 = $get;
                Some(get(&settings.scaling).to_string())
            },
            set: |settings, given| {
                let set: fn(&mut Scaling, u32) = $set;
                set(&mut settings.scaling, within(number(&given)?, $range)?);
                Ok(())
            },
        }
    };
}

/// Every key, in the order of the file.
pub(super) const KEYS: &[Key] = &[
    Key {
        section: "node",
        name: "dir",
        help: "Where the node keeps its data: a directory on a disk, of this node alone. Required, here or as --dir.",
        example: "\"/var/lib/naxos\"",
        get: |settings| settings.dir.as_ref().map(|dir| write_text(&dir.to_string_lossy())),
        set: |settings, given| match text(&given)? {
            "" => Err("it is empty".to_owned()),
            dir => {
                settings.dir = Some(PathBuf::from(dir));
                Ok(())
            }
        },
    },
    Key {
        section: "node",
        name: "device",
        help: "A block device for the node's journals, instead of files in `dir`: a disk or a partition with nothing on it. It \
               belongs to\nthe node from its first start on, and is named at each.",
        example: "\"/dev/disk/by-id/nvme-example-part1\"",
        get: |settings| settings.device.as_ref().map(|device| write_text(&device.to_string_lossy())),
        set: |settings, given| match text(&given)? {
            "" => Err("it is empty".to_owned()),
            device => {
                settings.device = Some(PathBuf::from(device));
                Ok(())
            }
        },
    },
    Key {
        section: "node",
        name: "cluster_id",
        help: "The cluster that the node belongs to: up to 32 hexadecimal digits, the same for all its nodes.\nRequired, here or \
               as --cluster-id, unless the node joins others or begins a cluster with its peers.",
        example: "\"0123456789abcdef0123456789abcdef\"",
        get: |settings| settings.cluster_id.map(|id| write_text(&id.to_string())),
        set: |settings, given| {
            let id = text(&given)?.parse::<ClusterId>().map_err(|error| error.to_string())?;
            settings.cluster_id = Some(id);
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "join",
        help: "Come to the cluster that the nodes at these addresses belong to; one that answers is enough.",
        example: "[\"10.0.0.1:4100\", \"10.0.0.2:4100\"]",
        get: |settings| write_addresses(&settings.join),
        set: |settings, given| {
            settings.join = addresses(&given)?;
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "bootstrap_expect",
        help: "Begin a cluster of this many nodes, 1 to 31, all of which are started so and with the same peers and no or\n\
               the same cluster_id. Not together with join.",
        example: "3",
        get: |settings| settings.bootstrap_expect.map(|nodes| nodes.to_string()),
        set: |settings, given| match number(&given)? {
            nodes @ 1..=31 => {
                settings.bootstrap_expect = Some(nodes as u16);
                Ok(())
            }
            _ => Err("it must be 1 to 31".to_owned()),
        },
    },
    Key {
        section: "node",
        name: "peers",
        help: "The addresses of all nodes of bootstrap_expect, this one among them.",
        example: "[\"10.0.0.1:4100\", \"10.0.0.2:4100\", \"10.0.0.3:4100\"]",
        get: |settings| write_addresses(&settings.peers),
        set: |settings, given| {
            settings.peers = addresses(&given)?;
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "zone",
        help: "What the node fails together with, such as a rack: copies are spread over zones. With join or bootstrap_expect.",
        example: "\"rack-2\"",
        get: |settings| settings.zone.as_deref().map(write_text),
        set: |settings, given| match text(&given)? {
            "" => Err("it is empty".to_owned()),
            zone => {
                settings.zone = Some(zone.to_owned());
                Ok(())
            }
        },
    },
    Key {
        section: "node",
        name: "metastore",
        help: "Where the registers are kept that say which nodes and logs there are: \"paxos\", by the nodes, which is the default; or\n\
               \"file:DIR\", in files of this machine, for a cluster of one node, which begins it at its first start. Fixed then.",
        example: "\"paxos\"",
        get: |settings| settings.metastore.as_ref().map(|choice| write_text(&choice.to_string())),
        set: |settings, given| {
            settings.metastore = Some(text(&given)?.parse()?);
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "listen",
        help: "Address that clients and other nodes connect to; port 0 takes a free one.\nThere is no TLS yet: who reaches it can \
               read and write. Keep it on a network that you trust.",
        example: "",
        get: |settings| Some(write_text(&settings.listen.to_string())),
        set: |settings, given| {
            settings.listen = address(&given)?;
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "admin",
        help: "Address of the admin endpoint: /metrics, /status and /healthz over HTTP. Off while not set.\nIt has no \
               authentication; 127.0.0.1:4101 keeps it on this machine.",
        example: "\"127.0.0.1:4101\"",
        get: |settings| settings.admin.map(|admin| write_text(&admin.to_string())),
        set: |settings, given| {
            settings.admin = Some(address(&given)?);
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "shards",
        help: "Shards, 1 to 256: threads, each with a journal of its own. Fixed when the directory is made; one for each core \
               while\nnot set.",
        example: "2",
        get: |settings| settings.shards.map(|shards| shards.to_string()),
        set: |settings, given| match number(&given)? {
            shards @ 1..=256 => {
                settings.shards = Some(shards as u16);
                Ok(())
            }
            _ => Err("it must be 1 to 256".to_owned()),
        },
    },
    Key {
        section: "node",
        name: "pin",
        help: "Whether each shard is pinned to a core. Turn it off for several nodes on one machine.",
        example: "",
        get: |settings| Some(settings.pin.to_string()),
        set: |settings, given| {
            settings.pin = boolean(&given)?;
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "profile",
        help: "Whether it is measured where appends spend their time, for `naxos status --latency` and `naxos bench profile`.",
        example: "",
        get: |settings| Some(settings.limits.profile.to_string()),
        set: |settings, given| {
            settings.limits.profile = boolean(&given)?;
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "lanes",
        help: "On how many shards appends of one log may enter while it is sequenced here: 1 to 256, and not more than shards, or \"all\".",
        example: "",
        get: |settings| match settings.limits.lanes {
            Limits::LANES_ALL => Some(write_text(&lanes::text(Limits::LANES_ALL))),
            lanes => Some(lanes.to_string()),
        },
        set: |settings, given| {
            let given = match given {
                Given::Integer(number) => number.to_string(),
                other => text(&other)?.to_owned(),
            };
            settings.limits.lanes = lanes::parse(&given)?;
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "driver",
        help: "How to do input and output: \"uring\", \"epoll\", or \"auto\", which is io_uring, or epoll where io_uring is refused.",
        example: "",
        get: |settings| Some(write_text(&settings.driver.to_string())),
        set: |settings, given| {
            settings.driver = text(&given)?.parse()?;
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "allow_volatile",
        help: "Whether a directory in memory is accepted, where acknowledged records are lost with the power. For tests only.",
        example: "",
        get: |settings| Some(settings.allow_volatile.to_string()),
        set: |settings, given| {
            settings.allow_volatile = boolean(&given)?;
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "control",
        help: "Whether the node takes part in healing the cluster's logs: it replaces lost sequencers and LogServers, and restores\ncopies.",
        example: "",
        get: |settings| Some(settings.control.to_string()),
        set: |settings, given| {
            settings.control = boolean(&given)?;
            Ok(())
        },
    },
    Key {
        section: "node",
        name: "prepare_bytes",
        help: "Journal bytes to prepare at the start, over all shards, beyond the usual reserve: a size.",
        example: "\"1 GiB\"",
        get: |settings| settings.prepare_bytes.map(write_size),
        set: |settings, given| {
            settings.prepare_bytes = Some(size(&given)?);
            Ok(())
        },
    },
    bytes!(
        record_bytes_max,
        u32,
        "Largest record, in bytes. All nodes and clients of a cluster need the same, and the largest that was ever stored."
    ),
    bytes!(batch_bytes_max, u32, "Largest batch of records in one frame and one journal entry, in bytes."),
    count!(batch_records_max, u32, "Most records in one batch."),
    bytes!(
        frame_body_bytes_max,
        u32,
        "Largest frame body that is accepted, in bytes. At least 4 KiB above record_bytes_max and batch_bytes_max."
    ),
    bytes!(
        unit_bytes_max,
        u32,
        "Usual bound of one journal unit, which is one durable write, in bytes; a multiple of 4 KiB."
    ),
    count!(unit_depth, u32, "Journal units in flight at once on each journal: 1, 2 or 4."),
    count!(unit_queue_max, u32, "Closed units that wait for a place in flight; beyond it stores are put off."),
    bytes!(
        segment_bytes,
        u64,
        "Size of one journal segment, in bytes; a multiple of 4 KiB. Segments that exist keep the size they were made with."
    ),
    count!(
        segments_prepared,
        u32,
        "Prepared segments kept ready on each journal, at least 2. They take their space on the disk at once."
    ),
    count!(segments_max, u32, "Most segments of one journal: what it may take of the disk, in units of segment_bytes."),
    millis!(
        claim_delay,
        "claim_delay_ms",
        "How long a journal is idle, in milliseconds, before it notes on the disk that its last write was whole."
    ),
    bytes!(
        index_granularity_bytes,
        u32,
        "Journal bytes for each entry of the index in memory. Smaller reads less for one record and takes more memory."
    ),
    bytes!(
        early_window_bytes,
        u32,
        "Memory for records that come before what precedes them, for each loglet, in bytes."
    ),
    bytes!(
        sequencer_window_bytes,
        u32,
        "Memory of a loglet's sequencer for records that are not on all LogServers yet, in bytes. Appends wait when it is full."
    ),
    bytes!(
        sequencer_pool_bytes,
        u32,
        "Memory of all sequencers of a shard together, in bytes. Appends wait when it is used up."
    ),
    bytes!(
        early_pool_bytes,
        u32,
        "Memory of a shard for records that come before what precedes them, over all loglets, in bytes."
    ),
    count!(loglets_max, u32, "Most loglets of one shard; one more is refused."),
    bytes!(store_window_bytes, u32, "Bytes sent to one LogServer and not yet answered."),
    bytes!(outbound_bytes_max, u32, "Bytes queued on one connection before its peer's requests are no longer read."),
    bytes!(
        connection_pool_bytes,
        u32,
        "Memory of a shard for what its connections have received in part and not sent yet, in bytes. When it is used up, the\n\
         connection that holds most is closed."
    ),
    count!(
        connections_max,
        u32,
        "Most connections of the node, shared out among its shards. Each takes a file descriptor (LimitNOFILE in the unit)."
    ),
    bytes!(read_bytes_max, u32, "Largest answer to one read, in bytes of records."),
    bytes!(
        register_bytes_max,
        u32,
        "Largest value of a register of the MetaStore, in bytes; at least 4 KiB below frame_body_bytes_max."
    ),
    count!(reads_per_connection_max, u32, "Reads of one connection under way at once; further requests on it wait."),
    count!(reads_max, u32, "Reads of all connections of a shard under way at once; further ones wait in turn."),
    millis!(
        peer_timeout,
        "peer_timeout_ms",
        "How long, in milliseconds, a peer may be silent on the network before its connection is ended. Much longer than stall_ms."
    ),
    millis!(
        stall,
        "stall_ms",
        "How long, in milliseconds, appends may wait without progress before the sequencer gives up, and a stop waits for\npeers \
         that do not read."
    ),
    millis!(
        silence,
        "silence_ms",
        "How long, in milliseconds, a peer that owes an answer may say nothing before it is asked whether it is there. After five\ntimes \
         this it is taken for stopped, or cut off."
    ),
    micros!(
        known_tail_delay,
        "known_tail_delay_us",
        "How long a LogServer at whose tail nobody reads is not told that the log's end has moved, in microseconds: the next record tells it\n\
         as well. The longest that a read from there waits for a record that was just acknowledged."
    ),
    micros!(
        fill_patience_max,
        "fill_patience_max_us",
        "The longest, in microseconds, that a sequencer to which somebody appends waits for more records before it places no-ops, when other\n\
         stripes of a log are ahead of its own. It waits some times as\n\
         long as appends take."
    ),
    millis!(
        reconnect_delay,
        "reconnect_delay_ms",
        "Pause in milliseconds before a lost connection to another node is tried again; doubles up to 16 times this."
    ),
    mark!(
        "round_ms",
        Scaling::ROUND_MIN.as_millis() as u32..=u32::MAX,
        |scaling| millis(scaling.round),
        |scaling, millis| scaling.round = Duration::from_millis(millis.into()),
        "Over what time the load is measured, in milliseconds: a round, at least 1000."
    ),
    mark!(
        "busy_percent",
        1..=100,
        |scaling| percent(scaling.high),
        |scaling, percent| scaling.high = f64::from(percent) / 100.0,
        "A log is busy in a round when the shard of one of its sequencers has used so much of a core for it, in percent."
    ),
    mark!(
        "long_wait_writes",
        1..=u32::MAX,
        |scaling| scaling.waits as u32,
        |scaling, writes| scaling.waits = f64::from(writes),
        "It is busy as well when its appends wait there, on the average, for as long as so many durable writes take, and twice as many\n\
         sequencers would not be quiet."
    ),
    mark!(
        "busy_rounds",
        1..=u32::MAX,
        |scaling| scaling.high_rounds,
        |scaling, rounds| scaling.high_rounds = rounds,
        "Busy for so many rounds in succession, it gets twice as many stripes."
    ),
    mark!(
        "quiet_percent",
        0..=100,
        |scaling| percent(scaling.low),
        |scaling, percent| scaling.low = f64::from(percent) / 100.0,
        "A log is quiet in a round when none of its sequencers has used more of a core for it, in percent. Below half of busy_percent."
    ),
    mark!(
        "quiet_rounds",
        1..=u32::MAX,
        |scaling| scaling.low_rounds,
        |scaling, rounds| scaling.low_rounds = rounds,
        "Quiet for so many rounds in succession, it gets half as many stripes."
    ),
    mark!(
        "rest_ms",
        1..=u32::MAX,
        |scaling| millis(scaling.rest),
        |scaling, millis| scaling.rest = Duration::from_millis(millis.into()),
        "How long, in milliseconds, a log is left as it is after that, and before its stripes are spread over other nodes. Doubles with\n\
         each change in short succession, up to 64 times this."
    ),
];

/// As the file has them; what is given there fits.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn percent(share: f64) -> u32 {
    (share * 100.0).round() as u32
}

fn within(number: u64, range: RangeInclusive<u32>) -> Result<u32, String> {
    let (least, most) = range.clone().into_inner();
    match u32::try_from(number) {
        Ok(number) if range.contains(&number) => Ok(number),
        Ok(number) if number < least => Err(format!("it must be at least {least}")),
        _ => Err(format!("it must be at most {most}")),
    }
}

fn bounded<T: TryFrom<u64>>(number: u64) -> Result<T, String> {
    T::try_from(number).map_err(|_| format!("{number} is too large"))
}

fn text(given: &Given) -> Result<&str, String> {
    match given {
        Given::Text(text) => Ok(text),
        other => Err(format!("expected text in quotes, not {}", name(other))),
    }
}

fn boolean(given: &Given) -> Result<bool, String> {
    match given {
        Given::Boolean(holds) => Ok(*holds),
        other => Err(format!("expected true or false, not {}", name(other))),
    }
}

fn number(given: &Given) -> Result<u64, String> {
    match given {
        Given::Integer(number) => u64::try_from(*number).map_err(|_| format!("{number} is below zero")),
        other => Err(format!("expected a number, not {}", name(other))),
    }
}

fn address(given: &Given) -> Result<SocketAddr, String> {
    let text = text(given)?;
    text.parse().map_err(|_| format!("`{text}` is not an address with a port, such as 127.0.0.1:4100"))
}

fn addresses(given: &Given) -> Result<Vec<SocketAddr>, String> {
    match given {
        Given::List(list) if list.is_empty() => Err("it is empty".to_owned()),
        Given::List(list) => list.iter().map(address).collect(),
        other => Err(format!("expected addresses in brackets, not {}", name(other))),
    }
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn size(given: &Given) -> Result<u64, String> {
    let text = match given {
        Given::Integer(_) => return number(given),
        Given::Text(text) => text,
        other => return Err(format!("expected a size, such as 1048576 or \"1 MiB\", not {}", name(other))),
    };
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (text[..digits].parse::<u64>(), text[digits..].trim_start());
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match (number, factor) {
        (Ok(number), Some(factor)) => number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large")),
        _ => Err(format!("`{text}` is not a size: write bytes, such as 1048576, or \"1 MiB\" with KiB, MiB or GiB")),
    }
}

fn name(given: &Given) -> &'static str {
    match given {
        Given::Text(_) => "text",
        Given::Integer(_) => "a number",
        Given::Boolean(_) => "true or false",
        Given::List(_) => "a list",
        Given::Other(name) => name,
    }
}

fn write_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn write_addresses(addresses: &[SocketAddr]) -> Option<String> {
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    (!list.is_empty()).then(|| toml::Value::from(list).to_string())
}

/// With the largest unit that leaves a whole number.
fn write_size(bytes: u64) -> String {
    let (unit, factor) = UNITS.into_iter().find(|(_, factor)| bytes.is_multiple_of(*factor)).expect("one byte divides");
    if bytes == 0 || factor == 1 { bytes.to_string() } else { format!("\"{} {unit}\"", bytes / factor) }
}
