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

/// Refuses more lanes than nodes of a benchmark have shards, and lanes of a sequencer that is on no shard of a node.
pub(super) fn check(lanes: u32, shards: u16, is_embedded: bool) -> anyhow::Result<()> {
    match lanes {
        1 => Ok(()),
        lanes if is_embedded => Err(exit::coded(
            exit::USAGE,
            format!(
                "--lanes {} means nothing with --embedded-sequencer: lanes are on the shards of the sequencer's node, and that one \
                 has a single thread",
                text(lanes)
            ),
        )),
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
        assert!(check(Limits::LANES_ALL, 1, false).is_ok() && check(2, 2, false).is_ok());
        assert!(check(3, 2, false).unwrap_err().to_string().contains("--shards 2"));
    }

    #[test]
    fn a_sequencer_in_the_process_of_the_load_has_no_lanes() {
        assert!(check(1, 4, true).is_ok());
        for lanes in [2, Limits::LANES_ALL] {
            let error = check(lanes, 4, true).unwrap_err().to_string();
            assert!(error.contains("--embedded-sequencer") && error.contains(&text(lanes)), "{error}");
        }
    }
}
