//! How many connections the process's limit on open descriptors allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::base::Limits;

/// Descriptors that a node needs beside those of its connections and journals: for itself, and for each shard its ring, locks, links
/// and first segments.
const OF_NODE: u64 = 16;
const OF_SHARD: u64 = 16;
/// Fewer connections than this make no node.
const CONNECTIONS_MIN: u64 = 16;

/// Too few descriptors for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit of {limit} open descriptors is too low, {needed} are needed at least; raise it with `ulimit -n`, or \
     LimitNOFILE= in a systemd unit"
)]
pub struct TooFewDescriptors {
    /// The hard limit of the process.
    pub limit: u64,
    /// What a node of so many shards needs.
    pub needed: u64,
}

/// Raises the process's own limit on open descriptors as far as it may, and returns what it is then.
pub fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // It fails only where it is forbidden, and then the present limit is what there is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the process's own limit as far as it may, and returns how many of the wanted connections it allows, beside the
/// descriptors of `files` segments. Says so in the log when that is less.
///
/// # Errors
/// It does not allow a node at all.
pub(super) fn connections_allowed(limits: &Limits, shards: usize, files: u64) -> Result<u32, TooFewDescriptors> {
    let limit = raise_descriptors();
    let kept = OF_NODE + OF_SHARD * shards as u64;
    // Each segment of a journal keeps its file open; they come one by one, and connections do not get what they will need.
    allowed(limit, kept, files, limits.connections_max)
}

fn allowed(limit: u64, kept: u64, segments: u64, wanted: u32) -> Result<u32, TooFewDescriptors> {
    let needed = kept + CONNECTIONS_MIN;
    if limit < needed {
        return Err(TooFewDescriptors { limit, needed });
    }
    let rest = limit - kept;
    let allowed = u32::try_from(rest - segments.min(rest / 2)).unwrap_or(u32::MAX);
    if allowed < wanted {
        tracing::warn!(
            "the limit of {limit} open descriptors allows {allowed} connections instead of {wanted}; raise it with \
             `ulimit -n`, or LimitNOFILE= in a systemd unit"
        );
    }
    Ok(allowed.min(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_limit_does_not_allow_is_not_promised() {
        assert_eq!(allowed(1 << 20, 32, 512, 16 << 10), Ok(16 << 10));
        assert_eq!(allowed(20_000, 32, 512, 16 << 10), Ok(16 << 10));
        assert_eq!(allowed(4096, 32, 512, 16 << 10), Ok(3552));
        assert_eq!(allowed(1024, 32, 512, 16 << 10), Ok(496));
        assert_eq!(allowed(47, 32, 512, 16 << 10), Err(TooFewDescriptors { limit: 47, needed: 48 }));
    }
}
