//! Short questions and orders: tail and trim.

use anyhow::Context;
use serde_json::json;

use super::args::{Global, Trim};
use super::cluster_file::NamedLog;
use super::{exit, output};
use crate::base::LogPos;

pub(super) fn tail(global: &Global) -> anyhow::Result<()> {
    let NamedLog { name, log, session: _session } = NamedLog::open(global)?;
    let tail = log.check_tail().with_context(|| format!("tail of `{name}`"))?;
    if global.json {
        return output::json(&json!({ "log": name, "tail": tail }));
    }
    output::text(tail)
}

pub(super) fn trim(global: &Global, options: &Trim) -> anyhow::Result<()> {
    let NamedLog { name, log, session: _session } = NamedLog::open(global)?;
    let wanted = LogPos(options.point);
    let tail = log.check_tail().with_context(|| format!("tail of `{name}`"))?;
    if wanted > tail {
        return Err(exit::coded(
            exit::USAGE,
            format!("cannot trim `{name}` to {wanted}: it ends at {tail}, and only what is committed is trimmed"),
        ));
    }
    let point = log.trim(wanted).with_context(|| format!("trim `{name}`"))?;
    let printed = match global.json {
        true => output::json(&json!({ "log": name, "trim_point": point })),
        false => output::text(format_args!("`{name}` now begins at {point}")),
    };
    output::after(format_args!("`{name}` has been trimmed to {point}"), printed)
}
