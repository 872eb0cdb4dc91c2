//! `naxos append`: records in, positions out.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, StdoutLock, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel, sync_channel};
use std::thread;

use anyhow::Context;
use serde_json::json;

use super::args::{Append as Options, Global};
use super::cluster_file::NamedLog;
use super::{exit, output};
use crate::base::{Limits, LogPos};
use crate::client;

/// Appends whose positions have not been printed; the client bounds the bytes, this bounds the handles.
const IN_FLIGHT: usize = 16 << 10;

pub(super) fn run(global: &Global, options: &Options) -> anyhow::Result<()> {
    let NamedLog { name, log, session: _session } = NamedLog::open(global)?;
    let (sender, receiver) = sync_channel(IN_FLIGHT);
    let (end, ended) = channel();
    let lines = !global.json;
    let (fed, printed) = thread::scope(|scope| {
        let printer = scope.spawn(move || Printer::new(lines, end).run(&receiver));
        // The printer leaves when an append fails, which closes the channel, and ends this when nobody takes the positions: then its error
        // is the one that counts.
        let goes_on = || ended.try_recv() == Err(TryRecvError::Empty);
        let fed = for_each_record(options, |record| Ok(goes_on() && sender.send(log.append(record)).is_ok()));
        drop(sender);
        (fed, printer.join().expect("the printer does not panic"))
    });
    let (summary, mut printed) = printed.with_context(|| format!("append to `{}`", name))?;
    if global.json && fed.is_ok() {
        let (first, last) = summary.range.unzip();
        printed = output::json(&json!({ "log": name, "appended": summary.appended, "first": first, "last": last }));
    }
    output::after(summary.told(&name), printed)?;
    fed
}

#[derive(Default)]
struct Summary {
    appended: u64,
    range: Option<(LogPos, LogPos)>,
}

impl Summary {
    fn add(&mut self, position: LogPos) {
        self.appended += 1;
        self.range = Some((self.range.map_or(position, |(first, _)| first), position));
    }

    fn told(&self, log: &str) -> String {
        match (self.appended, self.range) {
            (_, None) => format!("nothing has been appended to `{log}`"),
            (1, Some((position, _))) => format!("the record has been appended to `{log}` at {position}"),
            (count, Some((first, last))) => {
                format!("{count} records have been appended to `{log}`, the first at {first} and the last at {last}")
            }
        }
    }
}

/// Waits for appends in order of issue, and prints each position on a line. The output is flushed whenever there is nothing to
/// wait for, so that somebody who types sees every answer.
struct Printer<W: Write> {
    out: W,
    lines: bool,
    /// Dropped to have no more appends.
    end: Option<Sender<()>>,
    printed: io::Result<()>,
    summary: Summary,
}

impl Printer<BufWriter<StdoutLock<'static>>> {
    fn new(lines: bool, end: Sender<()>) -> Self {
        let out = BufWriter::new(io::stdout().lock());
        Self { out, lines, end: Some(end), printed: Ok(()), summary: Summary::default() }
    }
}

impl<W: Write> Printer<W> {
    /// Until there are no more appends or one of them fails. Says what was appended, and whether all of it was printed.
    fn run(mut self, appends: &Receiver<client::LogAppend>) -> anyhow::Result<(Summary, anyhow::Result<()>)> {
        loop {
            let append = match appends.try_recv() {
                Ok(append) => append,
                Err(TryRecvError::Empty) => {
                    self.print(W::flush);
                    let Ok(append) = appends.recv() else { break };
                    append
                }
                Err(TryRecvError::Disconnected) => break,
            };
            match append.wait() {
                Ok(position) => {
                    if self.lines {
                        self.print(|out| writeln!(out, "{position}"));
                    }
                    self.summary.add(position);
                }
                Err(error) => {
                    self.print(W::flush);
                    let context = format!("after {} acknowledged records", self.summary.appended);
                    return Err(error).context(context);
                }
            }
        }
        self.print(W::flush);
        Ok((self.summary, self.printed.map_err(Into::into)))
    }

    /// What is under way when this fails is waited for all the same, so that its end is known; nothing new is begun.
    fn print(&mut self, write: impl FnOnce(&mut W) -> io::Result<()>) {
        if self.printed.is_ok() {
            self.printed = write(&mut self.out);
            if self.printed.is_err() {
                self.end = None;
            }
        }
    }
}

/// Hands over the records of the arguments, the file or standard input, until there are no more or `take` says false.
fn for_each_record(options: &Options, mut take: impl FnMut(&[u8]) -> anyhow::Result<bool>) -> anyhow::Result<()> {
    if !options.records.is_empty() {
        for record in options.records.iter().map(OsString::as_os_str).map(OsStrExt::as_bytes) {
            if !take(record)? {
                break;
            }
        }
        return Ok(());
    }
    match options.from.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => {
            let file = open_records(path)
                .map_err(|error| exit::coded(exit::USAGE, format!("cannot read {}: {error}", path.display())))?;
            for_each_line(BufReader::new(file), take).with_context(|| format!("{}", path.display()))
        }
        None => for_each_line(io::stdin().lock(), take).context("standard input"),
    }
}

/// A directory can be opened and not read, so that it would be noticed only after the log has been.
fn open_records(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// A record is a line without its newline; every other byte belongs to it. The last line needs no newline.
fn for_each_line(mut input: impl BufRead, mut take: impl FnMut(&[u8]) -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let limit = u64::from(Limits::default().record_bytes_max);
    let (mut line, mut number) = (Vec::new(), 0u64);
    loop {
        line.clear();
        number += 1;
        // One byte for the newline, so that a longer line is noticed before it takes memory.
        if (&mut input).take(limit + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() as u64 > limit {
            return Err(exit::coded(
                exit::FAILURE,
                format!(
                    "line {number} is longer than a record may be, {limit} bytes; the lines before it were appended"
                ),
            ));
        }
        if !take(&line)? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(input: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        for_each_line(input, |record| {
            records.push(record.to_vec());
            Ok(true)
        })
        .unwrap();
        records
    }

    #[test]
    fn lines_are_records_without_their_newline() {
        assert_eq!(records(b"a\n\n b\r\n\xff"), [&b"a"[..], b"", b" b\r", b"\xff"]);
        assert!(records(b"").is_empty());
    }

    #[test]
    fn a_line_over_the_limit_is_refused_with_its_number() {
        let limit = Limits::default().record_bytes_max as usize;
        let input = [b"a\n".as_slice(), &vec![b'x'; limit + 1]].concat();
        let error = for_each_line(&input[..], |_| Ok(true)).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert_eq!(records(&vec![b'x'; limit])[0].len(), limit);
    }
}
