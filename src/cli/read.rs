//! `naxos read`: records out, as they were appended.

use std::io::{self, BufWriter, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

use super::args::{Global, Read as Options};
use super::cluster_file::NamedLog;
use super::{exit, output};
use crate::base::{Limits, LogPos};
use crate::client::{Delivery, Event, ReadResult, VirtualLog};

/// Pause before a server that has not caught up yet is asked again.
const RETRY: Duration = Duration::from_millis(5);

pub(super) fn run(global: &Global, options: &Options) -> anyhow::Result<()> {
    let NamedLog { name, log, session: _session } = NamedLog::open(global)?;
    let mut reader = Reader {
        next: LogPos(options.from.unwrap_or(0)),
        wanted: options.count.unwrap_or(u64::MAX),
        from_oldest: options.from.is_none(),
        format: match (global.json, options.raw) {
            (true, _) => Format::Json,
            (_, true) => Format::Raw,
            _ => Format::Lines,
        },
        out: BufWriter::with_capacity(256 << 10, io::stdout().lock()),
    };
    let context = || format!("read `{name}`");
    if options.follow {
        return reader.follow(&log).with_context(context);
    }
    let tail = log.check_tail().with_context(|| format!("tail of `{name}`"))?;
    let timeout = Duration::from_secs_f64(global.timeout);
    let mut moved = Instant::now();
    while reader.next < tail && reader.wanted > 0 {
        let end = LogPos(reader.next.0.saturating_add(reader.wanted)).min(tail);
        match log.read(reader.next, end, Limits::default().read_bytes_max).with_context(context)? {
            ReadResult::Records(delivery) => {
                reader.write(&delivery)?;
                moved = Instant::now();
            }
            ReadResult::Trimmed(point) => reader.trimmed(point)?,
            ReadResult::NothingYet if moved.elapsed() > timeout => {
                return Err(exit::coded(
                    exit::UNAVAILABLE,
                    format!("{}: no server had position {} within {} s", context(), reader.next, global.timeout),
                ));
            }
            ReadResult::NothingYet => thread::sleep(RETRY),
        }
    }
    reader.out.flush()?;
    Ok(())
}

enum Format {
    Lines,
    Raw,
    Json,
}

struct Reader<W: Write> {
    next: LogPos,
    /// How many more records are wanted.
    wanted: u64,
    /// Whether to begin at the oldest record kept, wherever that is.
    from_oldest: bool,
    format: Format,
    out: W,
}

impl<W: Write> Reader<W> {
    fn follow(&mut self, log: &VirtualLog) -> anyhow::Result<()> {
        let mut subscription = log.subscribe(self.next);
        while self.wanted > 0 {
            match subscription.next()? {
                Event::Records(delivery) => {
                    self.write(&delivery)?;
                    self.out.flush()?;
                }
                Event::Trimmed(point) => {
                    self.trimmed(point)?;
                    // It may be long until a record comes whose position would tell.
                    output::note(format_args!("the records before {point} are left out: they have been trimmed"));
                    // The old one has ended.
                    subscription = log.subscribe(self.next);
                }
                Event::Sealed => unreachable!("a log does not end"),
            }
        }
        self.out.flush()?;
        Ok(())
    }

    fn trimmed(&mut self, point: LogPos) -> anyhow::Result<()> {
        if !self.from_oldest {
            self.out.flush()?;
            return Err(exit::coded(
                exit::TRIMMED,
                format!("position {} has been trimmed; the oldest record kept is {point}", self.next),
            ));
        }
        self.next = self.next.max(point);
        Ok(())
    }

    fn write(&mut self, delivery: &Delivery<LogPos>) -> anyhow::Result<()> {
        self.from_oldest = false;
        let next = self.next;
        for (position, record) in delivery.entries().filter(|(position, _)| *position >= next) {
            if self.wanted == 0 {
                break;
            }
            self.write_record(position, record)?;
            self.wanted -= 1;
        }
        self.next = next.max(delivery.end());
        Ok(())
    }

    fn write_record(&mut self, position: LogPos, record: &[u8]) -> anyhow::Result<()> {
        match self.format {
            Format::Raw => self.out.write_all(record)?,
            Format::Lines => {
                self.out.write_all(record)?;
                self.out.write_all(b"\n")?;
            }
            Format::Json => {
                let object = match std::str::from_utf8(record) {
                    Ok(text) => json!({ "position": position, "text": text }),
                    Err(_) => json!({ "position": position, "hex": hex(record) }),
                };
                serde_json::to_writer(&mut self.out, &object).map_err(io::Error::from)?;
                self.out.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, record: &[u8]) -> Vec<u8> {
        let mut reader = Reader { next: LogPos(7), wanted: 1, from_oldest: false, format, out: Vec::new() };
        reader.write_record(LogPos(7), record).unwrap();
        reader.out
    }

    #[test]
    fn records_come_out_byte_for_byte() {
        assert_eq!(written(Format::Lines, b"a\xff"), b"a\xff\n");
        assert_eq!(written(Format::Raw, b""), b"");
        assert_eq!(written(Format::Json, b"a\"b"), b"{\"position\":7,\"text\":\"a\\\"b\"}\n");
        assert_eq!(written(Format::Json, b"\xff\x01"), b"{\"hex\":\"ff01\",\"position\":7}\n");
    }
}
