//! Histograms of intervals in HdrHistogram's text format, which its tools for every language read and plot.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};

use crate::base::Stage;
use crate::client::AppendProfile;

/// The log's largest values are in milliseconds; the histograms are in nanoseconds.
const MAX_VALUE_DIVISOR: f64 = 1e6;
/// The tag of the whole append, beside those of the stages.
const WHOLE: &str = "whole";

/// A part of a load.
#[derive(Debug, Clone)]
pub struct Interval {
    /// Since the load's start.
    pub from: Duration,
    /// Since the load's start.
    pub to: Duration,
    /// Of the appends that were acknowledged in it.
    pub profile: AppendProfile,
}

/// Writes a line for each stage, and one for the whole append, of each interval in which something was acknowledged.
///
/// # Errors
/// It cannot be written.
pub fn write(out: &mut impl Write, start: SystemTime, comment: &str, intervals: &[Interval]) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment(comment).with_base_time(start).with_start_time(start);
    builder.with_max_value_divisor(MAX_VALUE_DIVISOR);
    let mut log = builder.begin_log_with(out, &mut serializer)?;
    for Interval { from, to, profile } in intervals.iter().filter(|interval| !interval.profile.whole().is_empty()) {
        let stages = Stage::ALL.map(|stage| (stage.name(), profile.stage(stage)));
        for (name, histogram) in stages.into_iter().chain([(WHOLE, profile.whole())]) {
            let tag = Tag::new(name).expect("names of stages have no blanks and commas");
            log.write_histogram(histogram, *from, to.saturating_sub(*from), Some(tag)).map_err(
                |error| match error {
                    IntervalLogWriterError::IoError(error) => error,
                    IntervalLogWriterError::SerializeError(error) => io::Error::other(error.to_string()),
                },
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::profile_of;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    /// Read by the format's own reader: who wrote it does not matter.
    #[test]
    fn what_is_written_is_read_back_stage_by_stage() {
        let interval = |from, nanos: &[u64]| Interval {
            from: Duration::from_secs(from),
            to: Duration::from_secs(from + 1),
            profile: profile_of(nanos),
        };
        let intervals = [interval(1, &[1000, 3000]), interval(2, &[]), interval(3, &[5_000_000])];
        let mut text = Vec::new();
        write(&mut text, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000), "a comment", &intervals).unwrap();
        let mut found = Vec::new();
        for entry in IntervalLogIterator::new(&text) {
            let LogEntry::Interval(interval) = entry.unwrap() else { continue };
            let bytes = decoded(interval.encoded_histogram());
            let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
            let tag = interval.tag().unwrap().as_str().to_owned();
            found.push((interval.start_timestamp().as_secs(), interval.duration().as_secs(), tag, histogram));
        }
        let lines = Stage::ALL.len() + 1;
        assert_eq!(found.len(), 2 * lines, "nothing for the interval without appends");
        let names: Vec<_> = found[..lines].iter().map(|(_, _, tag, _)| tag.as_str()).collect();
        assert_eq!(names[..lines - 1], Stage::ALL.map(Stage::name));
        assert_eq!(names[lines - 1], WHOLE);
        let (from, took, _, whole) = &found[lines - 1];
        assert_eq!((*from, *took, whole.len()), (1, 1, 2));
        assert!((2990..=3010).contains(&whole.max()));
        assert_eq!(found[lines].0, 3);
    }

    /// Base64, in the usual alphabet.
    fn decoded(text: &str) -> Vec<u8> {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digit = |byte: u8| ALPHABET.iter().position(|letter| *letter == byte).map(|digit| digit as u32);
        let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
        for digit in text.bytes().map_while(digit) {
            (bits, held) = (bits << 6 | digit, held + 6);
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
            }
        }
        bytes
    }
}
