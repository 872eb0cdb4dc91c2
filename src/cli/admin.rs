//! Short questions and orders: tail, seal, trim.

use anyhow::Context;
use serde_json::json;

use super::args::{Global, Trim};
use super::cluster_file::Session;
use super::{exit, output};
use crate::base::Offset;

pub(super) fn tail(global: &Global) -> anyhow::Result<()> {
    let session = Session::open(global)?;
    let tail = session.log().check_tail().with_context(|| format!("tail of `{}`", session.log_name))?;
    if global.json {
        return output::json(&json!({ "log": session.log_name, "tail": tail.tail, "sealed": tail.sealed }));
    }
    output::text(format_args!("{} {}", tail.tail, if tail.sealed { "sealed" } else { "open" }))
}

pub(super) fn seal(global: &Global) -> anyhow::Result<()> {
    let session = Session::open(global)?;
    let log = session.log();
    log.seal().with_context(|| format!("seal `{}`", session.log_name))?;
    let tail = log.check_tail().with_context(|| format!("tail of the sealed `{}`", session.log_name))?.tail;
    if global.json {
        return output::json(&json!({ "log": session.log_name, "sealed": true, "tail": tail }));
    }
    output::text(format_args!("`{}` is sealed and ends at {tail}", session.log_name))
}

pub(super) fn trim(global: &Global, options: &Trim) -> anyhow::Result<()> {
    let session = Session::open(global)?;
    let wanted = Offset(options.point);
    let log = session.log();
    let tail = log.check_tail().with_context(|| format!("tail of `{}`", session.log_name))?.tail;
    if wanted > tail {
        return Err(exit::coded(
            exit::USAGE,
            format!(
                "cannot trim `{}` to {wanted}: it ends at {tail}, and only what is committed is trimmed",
                session.log_name
            ),
        ));
    }
    let point = log.trim(wanted).with_context(|| format!("trim `{}`", session.log_name))?;
    if global.json {
        return output::json(&json!({ "log": session.log_name, "trim_point": point }));
    }
    output::text(format_args!("`{}` now begins at {point}", session.log_name))
}
