//! Short questions and orders: tail, seal, trim, status.

use anyhow::Context;
use serde_json::{Value, json};

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

/// Asks every node; fails with "unavailable" after the report when one does not answer.
pub(super) fn status(global: &Global) -> anyhow::Result<()> {
    let session = Session::open(global)?;
    let answers: Vec<_> =
        session.file.nodes.iter().map(|entry| (entry, session.client.status(entry.address))).collect();
    let silent = answers.iter().filter(|(_, answer)| answer.is_err()).count();
    if global.json {
        let nodes = answers.iter().map(|(entry, answer)| match answer {
            Ok(status) => json!({ "node": entry.node, "address": entry.address, "up": true, "status": status }),
            Err(error) => {
                json!({ "node": entry.node, "address": entry.address, "up": false, "error": error.to_string() })
            }
        });
        let nodes: Vec<Value> = nodes.collect();
        let logs: Vec<_> = session.file.logs.keys().collect();
        output::json(&json!({
            "cluster": session.file.cluster, "default_log": session.file.default_log, "logs": logs, "nodes": nodes
        }))?;
    } else {
        output::text(format_args!("cluster {}", session.file.cluster))?;
        for (entry, answer) in &answers {
            match answer {
                Ok(status) => {
                    output::text(format_args!("node {} on {}: up", entry.node, entry.address))?;
                    lines(status, 2)?;
                }
                Err(error) => output::text(format_args!("node {} on {}: DOWN: {error}", entry.node, entry.address))?,
            }
        }
        for name in session.file.logs.keys() {
            let mark = if *name == session.file.default_log { " (default)" } else { "" };
            output::text(format_args!("log `{name}`{mark}"))?;
        }
    }
    match silent {
        0 => Ok(()),
        _ => Err(exit::coded(exit::UNAVAILABLE, format!("{silent} of {} nodes do not answer", answers.len()))),
    }
}

/// A status document as indented lines.
fn lines(value: &Value, indent: usize) -> anyhow::Result<()> {
    let entries: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in entries {
        let pad = " ".repeat(indent);
        match value {
            Value::Object(_) | Value::Array(_) => {
                output::text(format_args!("{pad}{name}:"))?;
                lines(value, indent + 2)?;
            }
            Value::String(text) => output::text(format_args!("{pad}{name}: {text}"))?,
            other => output::text(format_args!("{pad}{name}: {other}"))?,
        }
    }
    Ok(())
}
