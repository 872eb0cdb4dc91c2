//! Latency histograms of a point in HdrHistogram's interval log format, in nanoseconds: of each run the parts of its measured time, which
//! have its tag.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, IntervalLogWriterError, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use super::record::append_whole;

/// Before the number of the run's repeat.
const TAG: &str = "repeat-";

/// Latencies of a run, or of a part of it.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Which repeat of its point it is, from 1.
    pub repeat: u32,
    /// When it began.
    pub start: SystemTime,
    /// How long it was.
    pub duration: Duration,
    /// In nanoseconds.
    pub latency: Histogram<u64>,
}

/// Adds the intervals of one run to the end of a log; the first makes the file, with `comment` at its head.
///
/// # Errors
/// The file cannot be written.
pub fn append(path: &Path, comment: &str, intervals: &[Interval]) -> io::Result<()> {
    let Some(first) = intervals.first() else { return Ok(()) };
    let mut builder = IntervalLogWriterBuilder::new();
    if !path.exists() {
        builder.add_comment(comment).with_start_time(first.start);
    }
    let (mut text, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut writer = builder.begin_log_with(&mut text, &mut serializer)?;
    for interval in intervals {
        let tag = format!("{TAG}{}", interval.repeat);
        let since_epoch = interval.start.duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
        writer.write_histogram(&interval.latency, since_epoch, interval.duration, Tag::new(&tag)).map_err(|error| {
            match error {
                IntervalLogWriterError::IoError(error) => error,
                IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
            }
        })?;
    }
    append_whole(path, &text)
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HlogError {
    /// The file.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The text.
    #[error("interval {0} is not of the interval log format")]
    Format(usize),
    /// What is in it.
    #[error("the histogram of interval {0} cannot be decoded: {1}")]
    Histogram(usize, String),
    /// Whose it is.
    #[error("interval {0} has no tag {TAG}N, which says whose it is")]
    Tag(usize),
}

/// All intervals of a log.
///
/// # Errors
/// The first thing that is wrong, with the number of the interval, from 1.
pub fn read(path: &Path) -> Result<Vec<Interval>, HlogError> {
    let text = std::fs::read(path)?;
    let mut intervals = Vec::new();
    for entry in IntervalLogIterator::new(&text) {
        let number = intervals.len() + 1;
        let LogEntry::Interval(interval) = entry.map_err(|_| HlogError::Format(number))? else { continue };
        let repeat = interval.tag().and_then(|tag| tag.as_str().strip_prefix(TAG)?.parse().ok());
        let decode = |text: &str| -> Result<Histogram<u64>, String> {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| error.to_string())?;
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| error.to_string())
        };
        intervals.push(Interval {
            repeat: repeat.ok_or(HlogError::Tag(number))?,
            start: SystemTime::UNIX_EPOCH + interval.start_timestamp(),
            duration: interval.duration(),
            latency: decode(interval.encoded_histogram()).map_err(|why| HlogError::Histogram(number, why))?,
        });
    }
    Ok(intervals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadgen::generator::histogram;

    fn interval(repeat: u32, values: &[u64]) -> Interval {
        let mut latency = histogram();
        values.iter().for_each(|&value| latency.record(value).unwrap());
        let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250 + u64::from(repeat));
        Interval { repeat, start, duration: Duration::from_millis(300), latency }
    }

    #[test]
    fn intervals_are_read_back_as_they_were_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("point.hlog");
        let written = [interval(1, &[100_000, 250_000, 119_000_000_000]), interval(1, &[7]), interval(2, &[])];
        append(&path, "a point", &written[..2]).unwrap();
        append(&path, "a point", &written[2..]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#a point\n#[StartTime: 1700000000.251 "), "{text}");
        assert_eq!((text.lines().count(), text.matches("StartTime").count()), (5, 1), "{text}");
        assert!(text.lines().nth(2).unwrap().starts_with("Tag=repeat-1,1700000000.251,0.300,"), "{text}");
        let read = read(&path).unwrap();
        assert_eq!(read.len(), 3);
        for (read, written) in read.iter().zip(&written) {
            assert_eq!((read.repeat, read.duration), (written.repeat, written.duration));
            assert_eq!(read.latency, written.latency);
            assert!(read.start.duration_since(written.start).unwrap_or_default() < Duration::from_millis(1));
        }
    }

    #[test]
    fn damage_is_said_with_the_number_of_the_interval() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("point.hlog");
        append(&path, "", &[interval(1, &[100]), interval(2, &[200])]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let fault = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).unwrap_err().to_string()
        };
        assert!(fault(&text.replace("Tag=repeat-2,", "")).contains("interval 2 has no tag"));
        let cut = text.trim_end();
        assert!(fault(&format!("{}\n", &cut[..cut.len() - 24])).contains("interval 2 cannot be decoded"));
        assert!(fault("nonsense\n").contains("interval 1 is not"));
        assert!(read(Path::new("/nowhere.hlog")).unwrap_err().to_string().contains("cannot be read"));
    }
}
