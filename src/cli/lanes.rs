//! On how many shards of its sequencer's node appends of one loglet may enter: a number, or `all`.

use super::exit;
use crate::base::Limits;

const ALL: &str = "all";
/// As many as a node may have shards.
const MOST: u32 = 256;

/// Reads a number of lanes.
pub(super) fn parse(text: &str) -> Result<u32, String> {
    match text.parse() {
        _ if text == ALL => Ok(Limits::LANES_ALL),
        Ok(lanes @ 1..=MOST) => Ok(lanes),
        _ => Err(format!("it must be 1 to {MOST}, or `{ALL}`")),
    }
}

/// As [`parse`] reads it.
pub(super) fn text(lanes: u32) -> String {
    if lanes == Limits::LANES_ALL { ALL.to_owned() } else { lanes.to_string() }
}

/// Refuses more lanes than nodes of a benchmark have shards.
pub(super) fn check(lanes: u32, shards: u16) -> anyhow::Result<()> {
    match lanes {
        lanes if lanes == Limits::LANES_ALL || lanes <= shards.into() => Ok(()),
        lanes => Err(exit::coded(
            exit::USAGE,
            format!(
                "--lanes {lanes} needs as many shards: there are --shards {shards}; `all` takes as many as there are"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_a_number_or_all() {
        for given in ["1", "2", "256", "all"] {
            assert_eq!(text(parse(given).unwrap()), given);
        }
        for given in ["0", "257", "-1", "two", "", "ALL"] {
            assert!(parse(given).is_err(), "{given}");
        }
    }

    #[test]
    fn more_lanes_than_shards_are_refused() {
        assert!(check(Limits::LANES_ALL, 1).is_ok() && check(2, 2).is_ok());
        assert!(check(3, 2).unwrap_err().to_string().contains("--shards 2"));
    }
}
