//! What `--help` and the manual pages say beyond the options.

/// Of the program itself.
pub(super) const NAXOS: &str = "\
Examples:
  naxos dev                          three nodes and a log named `default`, under ./naxos-dev
  naxos append hello world           prints the positions
  naxos read --follow                every record, exactly as written
  naxos status                       what is wrong, then what is where
  naxos help serve                   everything about one command

Environment:
  NAXOS_CLUSTER  the cluster file of a command on a log, unless --cluster names another
  NOTIFY_SOCKET  where `serve` tells its service manager that it is ready
  TMPDIR         where `bench` makes its directory, if that is on a disk

Files:
  naxos-dev/cluster.json  where to find the cluster of `naxos dev`

Results are on standard output, everything else on standard error. With --json a result is one
object on one line.
";

/// Of `naxos dev`.
pub(super) const DEV: &str = "\
Examples:
  naxos dev
  naxos dev --dir /mnt/disk/try --nodes 5 --shards 2
  naxos --cluster /mnt/disk/try append hello

Ctrl-C ends all nodes and keeps their data; the next start goes on with it, on the same ports. A
node's log is NAME.log beside its directory.

Exit codes:
  0  ended by Ctrl-C, after all nodes
  1  a node cannot start, or none is left
  2  the directory is not usable, or holds a cluster of another size
";

/// Of `naxos serve`.
pub(super) const SERVE: &str = "\
Examples:
  naxos serve --dir /var/lib/naxos --cluster-id 7f3a --listen 10.0.0.1:4100 --admin 127.0.0.1:4101
  naxos serve --dir /var/lib/naxos --listen 10.0.0.4:4100 --join 10.0.0.1:4100,10.0.0.2:4100 --zone rack-2
  naxos serve --dir /var/lib/naxos --listen 10.0.0.1:4100 --bootstrap-expect 3 \\
      --peers 10.0.0.1:4100,10.0.0.2:4100,10.0.0.3:4100
  naxos serve --dir /var/lib/naxos --metastore file:/var/lib/naxos-registers
  naxos serve --dir /var/lib/naxos --device /dev/disk/by-id/nvme-example --cluster-id 7f3a
  naxos serve --config /etc/naxos/naxos.toml
  naxos serve --print-config > naxos.toml
  curl http://127.0.0.1:4101/healthz

Configuration:
  --print-config prints every key with its meaning and the values that would be used, and starts
  nothing. Flags override the file. An unknown key, a wrong value or limits that contradict each
  other end the start with the file's line.

Membership:
  With --join a node in an empty directory asks the cluster for its id, and becomes one of its nodes. With
  --bootstrap-expect N nodes begin one cluster, once all of them have answered, never two; without one of
  them they wait, and say so. Both may stay on the command line: a later start tells the cluster where
  the node is now. A directory of another cluster is refused. Without either, `naxos cluster init`
  begins a cluster.

Device:
  With --device the segments of the journals are on a disk or partition of their own; --dir keeps the
  identity, and both are named at each start. The first start formats the device. It is refused when it
  is mounted or in use, and when it carries anything: --destroy gives leave to lose that.

Admin endpoint:
  /metrics  Prometheus text; docs/OPERATING.md lists the names
  /status   the object that `naxos status --json` shows of this node
  /healthz  200 `ready`, or 503 `poisoned` or `unresponsive` with the shards and reasons

Signals:
  SIGTERM, SIGINT and SIGHUP stop the node in order; a second one ends it on the spot, which loses
  nothing acknowledged.

Environment:
  NOTIFY_SOCKET  READY=1 is sent there when the node answers, STOPPING=1 when it stops, as
                 systemd's Type=notify wants it

Exit codes:
  0  stopped by a signal
  1  it cannot start, or a shard has ended; the message says why
  2  an option, the configuration, the directory or the device is not usable
";

/// Of `naxos cluster`.
pub(super) const CLUSTER: &str = "\
Examples:
  naxos --cluster prod.json cluster init 10.0.0.1:4100 10.0.0.2:4100 10.0.0.3:4100
  naxos --cluster prod.json log create default
  naxos --cluster prod.json cluster find 10.0.0.2:4100

The nodes run already (`naxos serve`), with one cluster id. Every one of them has to answer, and none
may have begun another cluster: no second one can come of it. Doing it again, also after it was cut
short, ends the same.

Exit codes:
  0  done
  1  a node belongs to another cluster, or has begun one with other nodes
  2  wrong usage
  4  a node does not answer
";

/// Of `naxos node`.
pub(super) const NODE: &str = "\
Examples:
  naxos node list
  naxos node drain 3f9a
  naxos node remove 10.0.0.4:4100

`drain` marks the node, gives the registers that it keeps to others, and lets the logs that append to it
go on without it. It says what is still there: records of loglets that have ended. `remove` is
refused until nothing names the node. A node that is gone for ever leaves in the same way. One that was
removed and is started again with --join joins again: stop it before.

Exit codes:
  0  done
  1  something could not be moved; do it again
  2  wrong usage: an unknown node, one that is in use or not drained, or the last one for a log's replicas
  4  a majority of the nodes that are needed cannot be reached
";

/// Of `naxos append`.
pub(super) const APPEND: &str = "\
Examples:
  naxos append hello world
  naxos append --from records.txt
  dmesg | naxos append --log default

Prints the position of each record, in order, once it is on stable storage on a majority of the nodes
of its loglet. While the log is being reconfigured, appends wait; if a sequencer is lost before it
has answered, a record may be in the log twice.

Exit codes:
  0  everything was acknowledged
  1  an append failed, or positions could not be written; the message says what was appended
  2  wrong usage
  4  a majority cannot be reached; what was not acknowledged may be in the log or not
  8  no majority has disk space left
";

/// Of `naxos read`.
pub(super) const READ: &str = "\
Examples:
  naxos read
  naxos read --from 1000 --count 10 --json
  naxos read --follow

Without --from it begins at the oldest record kept; with --follow, standard error says what that leaves
out. Later it leaves nothing out: if what comes next is trimmed before it was read, that is an error.

Exit codes:
  0  done
  1  failed
  2  wrong usage
  4  no node that has the records can be reached
  5  the records asked for have been trimmed
";

/// Of `naxos tail`.
pub(super) const TAIL: &str = "\
Examples:
  naxos tail
  naxos --json tail

Prints the first position that is not in the log. Every append acknowledged before is below it.

Exit codes:
  0  done
  2  wrong usage
  4  a majority of the nodes cannot be reached
";

/// Of `naxos log`.
pub(super) const LOG: &str = "\
Examples:
  naxos log create orders --replicas 3
  naxos log create wide --stripes 4
  naxos log create wider --stripes 2 --sharded
  naxos log create elastic --stripes 1..4
  naxos log list
  naxos log show orders
  naxos log reconfigure orders
  naxos log reconfigure orders --sequencer 3f9a --log-servers 3f9a,71c0,e552
  naxos log reconfigure orders --expect-version 7
  naxos log reconfigure orders --to striped:4
  naxos log reconfigure orders --to striped:2..8
  naxos log reconfigure orders --to native
  naxos log seal orders
  naxos log delete orders --yes

A log is a chain of loglets, kept in the MetaStore of the nodes. `reconfigure` ends the last one and
puts another behind it, while the log is used: a clone with the same nodes, or what is asked for. A
reconfiguration that its writer cannot finish is finished by whoever appends next. `delete` cut short
goes on when it is done again; appends of clients that have the log open fail after their time limit.

A loglet is native, with one sequencer, or goes over K stripes, each with a sequencer of its own: on the
same nodes, or with --sharded each on nodes of its own, of which there have to be K times as many. Of
MIN..MAX stripes it begins with the fewest; then the nodes choose, by how busy its sequencers are, and
`naxos why` has their last decision.

Exit codes:
  0  done
  1  somebody else has changed the chain at the same time, or a change is pending; nothing was done
  2  wrong usage: an unknown log or node, a name that is taken, replicas or stripes that the nodes do not allow
  4  a majority of the nodes cannot be reached
";

/// Of `naxos why`.
pub(super) const WHY: &str = "\
Examples:
  naxos why
  naxos why orders --json | jq '.findings[].cause'

Reads the chain of the log, and asks every node that it names. One finding a line: what it blocks, the
cause, since when if that is known, and the remedy. What blocks nothing now, such as a LogServer that
is missing while a majority is there, comes last. It changes nothing.

Exit codes:
   0  nothing blocks the log
   2  wrong usage, or there is no such log
   4  the cluster cannot be found
  10  appends or reads are blocked
";

/// Of `naxos trim`.
pub(super) const TRIM: &str = "\
Examples:
  naxos trim 1000
  naxos trim \"$(naxos tail)\"

Records below the position can be gone at once; their space comes back segment by segment, and loglets
that lie wholly below it leave the chain.

Exit codes:
  0  done
  2  wrong usage, or a position beyond the end of the log
  4  a majority of the nodes cannot be reached
";

/// Of `naxos status`.
pub(super) const STATUS: &str = "\
Examples:
  naxos status
  naxos status --json | jq '.nodes[].status.shards[].journal.failure'
  naxos status --latency
  naxos status --latency --seconds 10

Shows first what is wrong and what it means, one line each, then the nodes, the loglets and the
sequencers. With --json everything that the nodes know of themselves; docs/OPERATING.md names the
fields.

With --latency it shows where appends spend their time, which docs/PERFORMANCE.md explains: the stages
on the node that sequences them, what the LogServers need for their own stores, how long the sequencers
wait for each of them, and the slowest appends of the last minute or two with whose answer was last.
Percentiles are upper bounds within a factor of 1.5; `naxos bench profile` has exact ones.

Exit codes:
  0  every node answered; there may be problems all the same
  2  wrong usage
  4  a node does not answer; the others are shown
";

/// Of `naxos inspect`.
pub(super) const INSPECT: &str = "\
Examples:
  naxos inspect /var/lib/naxos
  naxos inspect naxos-dev/node-1 --segments --loglets
  naxos inspect naxos-dev/node-1 --units --segment 3
  naxos inspect /var/lib/naxos --device /dev/nvme1n1
  naxos inspect --json /var/lib/naxos | jq .findings

docs/INSPECT.md explains every finding and the fields of the JSON object.

Exit codes:
  0  intact, or with notices only
  1  a file cannot be read, or is too large
  2  wrong usage, not a data directory, not the device of this node, or a node is running on it
     (--live looks all the same)
  7  damaged
";

/// Of `naxos bench`.
pub(super) const BENCH: &str = "\
Examples:
  naxos bench
  naxos bench append --clients 1 --inflight 1
  naxos bench append --clients 1 --inflight 1 --embedded-sequencer
  naxos bench append --rate 10000 --record-bytes 1024 --json
  naxos bench profile --clients 64 --inflight 1 --svg stages.svg --hlog stages.hlog
  naxos bench append --cores 0-1:2-7
  naxos bench append --trim-behind 1073741824 --seconds 60
  naxos bench sweep tools/matrices/example.toml
  naxos bench tail --rate 1000
  naxos bench reconfigure --rounds 50
  naxos bench failover
  naxos bench stall --stop 5
  naxos bench virtualization --pairs 100
  naxos bench chain --segments 100
  naxos bench paper stripes --out figures
  naxos bench floor

Environment:
  TMPDIR  where the directory is made, if that is on a disk

Exit codes:
    0  done, and everything was read back
    1  failed
    2  wrong usage
    6  it ran, and its result is not valid; the report says why
  130  interrupted
";

/// Of `naxos bench sweep`.
pub(super) const SWEEP: &str = "\
Examples:
  naxos bench sweep tools/matrices/example.toml --dry-run
  naxos bench sweep tools/matrices/example.toml
  naxos bench sweep matrix.toml --cores 0-3:4-15 --dir /mnt/nvme --machine big-one
  naxos-tools report bench-results/big-one/2026-01-31-0123456789ab
  naxos-tools compare-records bench-results/big-one/2026-01-31-0123456789ab bench-results/big-one/2026-02-01-89ab01234567

Matrix:
  seconds, warm_up, repeats, prepare_bytes, and one [[load]] or more. Each [[load]] has lists, every combination of
  which is a point: nodes, shards, drivers, record_bytes, clients, and inflight (closed loops), rates
  (open loops: appends a second, or \"50% of the peak\") or both. What is left out is as in `bench append`.
  An unknown field, an empty list, a value that `bench append` refuses, or a point that is there twice
  ends the sweep before it has begun.

Results:
  manifest.json, results.csv with a row for each run, and a log of latency histograms for each point, with
  an interval for each run. All points are run once, then all again. A run that fails is a row with its
  error. Ctrl-C keeps the runs that have ended, and marks the directory as incomplete. Earlier
  results are never written to. docs/PERFORMANCE.md says how to read it all.

Exit codes:
    0  done, and every run is valid
    1  results cannot be written; what was written before is there
    2  wrong usage, or a matrix that cannot be run
    6  done, and a run has failed or is not valid
  130  interrupted
";

/// Of `naxos bench paper`.
pub(super) const PAPER: &str = "\
Examples:
  naxos bench paper
  naxos bench paper stripes --out figures
  naxos bench paper rotating --seconds 3 --rounds 7 --json
  sudo naxos bench paper rotating --link-mbit 1000

Experiments, after \"Virtual Consensus in Delos\" (OSDI'20):
  stripes    appends a second over the number of stripes: with nodes of their own, three for each, and
             with sequencers that rotate over three nodes
  rotating   sequencers that rotate over 5, 7 and 9 nodes, against one sequencer on the same nodes, and
             the bytes that each sends
  converged  three clients that append and read at the tail, each with a log that its node sequences: in the
             process of the nodes, or in another

Everything is a closed loop on logs without a chain, on one cluster for each experiment (converged has
two), and is read back. In each round every log is loaded once, in an order that turns around from round to round; the
medians count. Three nodes for each stripe, and nodes beyond --nodes-max, are left out.

Nodes reach each other over the loopback, whose limit is the processors. With --link-mbit each has a network
namespace of its own, whose link is limited in both directions, as that of a machine is; the load's is not.

Results:
  --json has one object with a member for each experiment. --out gets paper-NAME.json and paper-NAME.svg
  of each, once all have ended. Every result names what differs from the publication.

Exit codes:
    0  done, and everything was read back
    1  failed
    2  wrong usage, or no room on the disk
    6  it ran, and its result is not valid; the report says why
  130  interrupted; nothing is left
";

/// Of `naxos sim`.
pub(super) const SIM: &str = "\
Examples:
  naxos sim --seeds 1000
  naxos sim --seeds 20 --ops 20000 --profile crash --json
  naxos sim --seeds 1000 --profile reconfigure
  naxos sim --seed 17 --trace

Profiles:
  calm     nothing goes wrong
  network  latencies, resets, partitions, one-way cuts, slow links
  disk     errors, rot, lost and misdirected writes, full and slow disks, a disk replaced by a
           blank one
  crash    crashes with torn writes, restarts, pauses, clocks that drift
  chaos    everything
  reconfigure
           a log with its chain in the nodes, reconfigured and trimmed while clients end,
           nodes crash and the network is bad
  striped  the same, with loglets of one stripe to three
  mixed    chaos for even seeds, reconfigure and striped for every other odd one

The same seed and the same options give the same run, byte for byte. docs/TESTING.md has the faults,
the invariants, and what is not covered.

Exit codes:
    0  no invariant was violated
    2  wrong usage
    9  an invariant was violated; the report gives the command that repeats it
  130  interrupted; what was done is reported
";

/// Of `naxos man`.
pub(super) const MAN: &str = "\
Examples:
  naxos man /usr/local/share/man/man1
  naxos man . && man ./naxos-serve.1

Exit codes:
  0  done
  1  a page cannot be written
";
