//! A result in words: the numbers of the JSON object, and what they mean.

use std::fmt::{self, Display, Formatter};

use super::report::Report;
use super::verify::Verified;

/// Shows a [`Report`] for people.
pub struct Explained<'a>(pub &'a Report);

impl Display for Explained<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let (latency, floor) = (&report.latency_us, &report.floor_us);
        let load = match (report.inflight, report.offered_per_s) {
            (Some(inflight), _) => format!("{} x {inflight} in flight", report.clients),
            (None, Some(rate)) => {
                format!("{} appends/s offered over {}", count(rate), counted(report.clients, "connection"))
            }
            (None, None) => String::new(),
        };
        writeln!(
            f,
            "{}, {}quorum {}, {} B records, {load}, {} s{}",
            counted(report.nodes, "node"),
            match (report.stripes, report.idle_stripes) {
                (1, _) => String::new(),
                (stripes, 0) => format!("{stripes} stripes, "),
                (stripes, idle) => format!("{stripes} stripes ({idle} of them idle), "),
            },
            report.quorum,
            report.record_bytes,
            report.seconds,
            match report.sequencer {
                "node" => "",
                "embedded" => ", the sequencer on the client's thread",
                _ => ", the sequencer in the client's process",
            }
        )?;
        writeln!(f, "  throughput  {} appends/s, {}/s", count(report.appends_per_s), bytes(report.bytes_per_s))?;
        writeln!(
            f,
            "  latency     p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
            micros(latency.p50),
            micros(latency.p90),
            micros(latency.p99),
            micros(latency.p999),
            micros(latency.max)
        )?;
        writeln!(
            f,
            "              p50 is {:.1}x the floor: {} of {} and a durable 4 KiB write on a quorum, {}",
            report.p50_over_floor,
            if floor.round_trips == 1 { "one round trip" } else { "two round trips" },
            micros(floor.rtt_p50),
            micros(floor.dsync_p50)
        )?;
        writeln!(
            f,
            "  disk        {:.0} % of what {} here, {}/s each",
            report.disk_share * 100.0,
            match report.nodes {
                1 => "1 durable copy reaches".to_owned(),
                copies => format!("{copies} durable copies written at once reach"),
            },
            bytes(report.disk_3copy_bytes_per_s)
        )?;
        if let Some(device) = report.device {
            writeln!(
                f,
                "              {} flushes, {} written ({:.1} bytes for each payload byte), by all on this machine",
                count(device.flushes as f64),
                bytes(device.written_bytes as f64),
                device.written_bytes as f64 / (report.bytes_per_s * report.seconds).max(1.0)
            )?;
        }
        if let Some(fillers) = report.fillers {
            let (records, share) = (count(fillers.records as f64), fillers.share_of_bytes * 100.0);
            writeln!(f, "  fillers     {records} no-ops kept the stripes level, {share:.2} % of what was stored")?;
        }
        if let (Some(records), Some(unit)) = (report.records_per_frame_mean, report.unit_bytes_mean) {
            writeln!(f, "  batching    {records:.1} records a frame, {} a durable write", bytes(unit))?;
        }
        let nanos = |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.0} ns"));
        match report.cpu.server_ns_per_append {
            None => {
                writeln!(f, "  processor   {} an append, all in one process", nanos(report.cpu.client_ns_per_append))?
            }
            server => writeln!(
                f,
                "  processor   client {}, all servers {} an append",
                nanos(report.cpu.client_ns_per_append),
                nanos(server)
            )?,
        }
        writeln!(f, "{}", verification(&report.verified))?;
        self.remarks(f)
    }
}

/// What reading everything back has shown, in a line.
pub fn verification(verified: &Verified) -> String {
    if verified.holds() && verified.trimmed > 0 {
        return format!(
            "  verified    the last {} of {} acknowledged records were read back and are equal; the others were trimmed",
            verified.read_back, verified.acked
        );
    }
    if verified.holds() {
        return format!("  verified    all {} acknowledged records were read back and are equal", verified.acked);
    }
    format!(
        "  VERIFICATION FAILED: of {} acknowledged records {} are missing; {} corrupt, {} twice, {} with records at other \
         offsets",
        verified.acked,
        verified.missing,
        verified.corrupt,
        verified.duplicate,
        counted(verified.misplaced_clients, "client")
    )
}

impl Explained<'_> {
    fn remarks(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        if report.durability != "quorum-dsync" {
            writeln!(f, "  NOT DURABLE: the directory is in memory; acknowledged records are lost with the power")?;
        }
        if report.io_wq_ops > 0 {
            let what = if report.io_wq_method == "tracefs" { "operations" } else { "worker threads" };
            writeln!(f, "  io_uring handed {} {what} to worker threads; the append path wants none", report.io_wq_ops)?;
        }
        if let Some(waits @ 1..) = report.ran_out_of_prepared {
            writeln!(
                f,
                "  prepared space ran out {}: the run measures its preparation too (--prepare-bytes)",
                counted(waits, "time")
            )?;
        }
        if let Some(trim) = report.trim {
            let segments = |name: &str, segments: Option<u64>, all: Option<u64>| match segments.zip(all) {
                Some((segments, all)) => format!("{} {name} ({})", counted(segments, "segment"), bytes(all as f64)),
                None => format!("? segments {name}"),
            };
            writeln!(
                f,
                "  trimmed     behind {}, {}: {}, {}, all nodes together{}",
                bytes(trim.behind_bytes as f64),
                counted(trim.trims, "time"),
                segments("recycled", trim.segments_recycled, trim.recycled_bytes),
                segments("newly prepared", trim.segments_prepared, trim.prepared_bytes),
                if trim.is_steady() { "" } else { ": NOT A STEADY STATE; a longer run, or more prepared space" }
            )?;
        }
        if let Some(history) = &report.history {
            writeln!(
                f,
                "  history     {}, {} and {}, checked in {} s: {}",
                counted(history.appends, "append"),
                counted(history.tails, "tail"),
                counted(history.reads, "read"),
                history.seconds,
                if history.violations.is_empty() { "every rule holds" } else { "RULES ARE BROKEN" }
            )?;
            for violation in &history.violations {
                writeln!(f, "              {}: {}", violation.invariant, violation.detail)?;
            }
        }
        if let Some(error) = &report.first_error {
            writeln!(f, "  {} failed; the first: {error}", counted(report.failed, "append"))?;
        }
        if report.valid {
            return Ok(());
        }
        let breaks_rules = report.history.as_ref().is_some_and(|history| !history.violations.is_empty());
        let is_steady = report.trim.is_none_or(|trim| trim.is_steady());
        if report.failed == 0 && report.verified.holds() && !breaks_rules && is_steady {
            writeln!(
                f,
                "  INVALID: the generator fell behind its own timetable (p99 {} late); offer less, or use more cores",
                micros(report.generator_lag_us.unwrap_or(0.0))
            )
        } else {
            writeln!(f, "  INVALID: see above")
        }
    }
}

/// So many of something with a regular plural: `1 node`, `3 nodes`.
pub fn counted(count: impl Display, name: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {name}{plural}")
}

/// Microseconds, or milliseconds from ten thousand on.
pub fn micros(value: f64) -> String {
    if value >= 10_000.0 { format!("{:.1} ms", value / 1e3) } else { format!("{value:.0} us") }
}

/// With k, M or G.
pub fn count(value: f64) -> String {
    scaled(value, 1000.0, ["", " k", " M", " G"])
}

/// With KiB, MiB or GiB.
pub fn bytes(value: f64) -> String {
    scaled(value, 1024.0, [" B", " KiB", " MiB", " GiB"])
}

fn scaled(value: f64, step: f64, names: [&str; 4]) -> String {
    let (mut value, mut index) = (value, 0);
    while value >= step && index < 3 {
        value /= step;
        index += 1;
    }
    if index == 0 { format!("{value:.0}{}", names[0]) } else { format!("{value:.2}{}", names[index]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_scaled_for_reading() {
        assert_eq!(count(950.0), "950");
        assert_eq!(count(1_500_000.0), "1.50 M");
        assert_eq!(bytes(4096.0), "4.00 KiB");
        assert_eq!(micros(80.4), "80 us");
        assert_eq!(micros(12_345.0), "12.3 ms");
        assert_eq!([0, 1, 2].map(|nodes| counted(nodes, "node")), ["0 nodes", "1 node", "2 nodes"]);
    }
}
